//! The unsubscribe macro link of the drop-in kind, in the decoded bytes of a text part, and the placeholder that takes its
//! place until a delivery has a URL.
//!
//! Must not know tokens: the caller says what stands there.

use std::ops::Range;

use memchr::memmem;

use crate::qp;

const BEGIN: &[u8] = b"$#subscription_url_base#$/unsubscribe/wfc/";
const MIDDLE: &[u8] = b"/d/${encoded_user_data}$/k/${form_verification_code}$";
/// Longest form code in octets.
const FORM_MAX: usize = 64;
/// Most links of one part.
const LINKS_MAX: usize = 100;

/// One macro link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroLink {
    /// The code of the form, as the link names it: letters, digits, `_` and `-`.
    pub form: String,
}

/// Every macro link with its range.
pub(super) fn find(text: &[u8]) -> Vec<(Range<usize>, MacroLink)> {
    let mut found = Vec::new();
    for start in memmem::find_iter(text, BEGIN) {
        let from = start + BEGIN.len();
        let is_code = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let length = text[from..].iter().take(FORM_MAX + 1).take_while(|byte| is_code(byte)).count();
        let after = from + length;
        if length == 0 || length > FORM_MAX || !text[after..].starts_with(MIDDLE) {
            continue;
        }
        let end = after + MIDDLE.len();
        let end = end + usize::from(text.get(end) == Some(&b'/'));
        let form = String::from_utf8_lossy(&text[from..after]).into_owned();
        found.push((start..end, MacroLink { form }));
        if found.len() >= LINKS_MAX {
            break;
        }
    }
    found
}

/// Whether a part may hold a link: cheap, wrong only towards yes.
pub(super) fn may_hold(raw: &[u8]) -> bool {
    memmem::find(raw, b"$#").is_some()
}

/// The message with `url` wherever `placeholder` stands. In quoted-printable parts, where [`super::rewrite`] puts it on a
/// line of its own between soft breaks, the URL is encoded and broken as needed.
///
/// `placeholder` must be what [`super::Additions::unsubscribe_url`] gave, at most 72 characters and hard to guess: an author
/// who knew it could have it replaced inside of a signed part.
pub fn fill_placeholder(message: &[u8], placeholder: &str, url: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + url.len() * 2);
    if placeholder.is_empty() {
        out.extend_from_slice(message);
        return out;
    }
    let mut copied = 0;
    for at in memmem::find_iter(message, placeholder) {
        let end = at + placeholder.len();
        let quoted = message[..at].ends_with(qp::SOFT_BREAK) && message[end..].starts_with(qp::SOFT_BREAK);
        out.extend_from_slice(&message[copied..at]);
        if quoted {
            qp::encode_segment(url.as_bytes(), 0, &mut out);
        } else {
            out.extend_from_slice(url.as_bytes());
        }
        copied = end;
    }
    out.extend_from_slice(&message[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str =
        "$#subscription_url_base#$/unsubscribe/wfc/5-a_B/d/${encoded_user_data}$/k/${form_verification_code}$/";

    #[test]
    fn links_are_found_whole() {
        let text = format!("a {LINK} b {} c", LINK.trim_end_matches('/'));
        let found = find(text.as_bytes());
        assert_eq!(found.len(), 2);
        assert_eq!(&text[found[0].0.clone()], LINK);
        assert_eq!(found[1].1.form, "5-a_B");
        assert!(may_hold(text.as_bytes()));
        for broken in [&LINK[..LINK.len() - 4], &LINK.replace("5-a_B", ""), &LINK.replace("5-a_B", &"x".repeat(65))] {
            assert!(find(broken.as_bytes()).is_empty(), "{broken}");
        }
    }

    #[test]
    fn placeholders_are_filled() {
        let url = format!("https://cs.example.com/u/{}=", "x".repeat(80));
        let filled = fill_placeholder(b"a =\r\nHOLE=\r\n b HOLE c", "HOLE", &url);
        let text = String::from_utf8(filled).unwrap();
        assert!(text.ends_with(&format!(" b {url} c")));
        let decoded = qp::decode(text.split(" b ").next().unwrap().as_bytes()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), format!("a {url}"));
        assert_eq!(fill_placeholder(b"x", "", "y"), b"x");
    }
}
