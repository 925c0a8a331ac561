//! HTML2Header: hidden inputs of an HTML part that stand for special headers.
//!
//! A small scanner over the decoded bytes of one part: tags `<input …>` outside of comments, nothing else of HTML. Must not
//! know which part is signed, or what the values mean.

use std::ops::Range;

use super::name::SpecialName;
use super::rules::HtmlInputs;
use crate::report::mime;

/// Most octets of a decoded part that are searched.
pub(super) const HTML_MAX: usize = 2 * 1_024 * 1_024;
/// Most inputs of one part.
const INPUTS_MAX: usize = 200;
/// Most octets of one tag.
const TAG_MAX: usize = 4 * 1_024;
/// Tags without an end after which no more is searched.
const TORN_MAX: usize = 50;

/// What an input stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    One(SpecialName),
    /// An attribute of the recipient, by its written name.
    Attribute(String),
}

/// One hidden input that stands for a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// The whole tag, within the decoded bytes.
    pub(super) range: Range<usize>,
    /// The id as written, for the error view.
    pub(super) id: String,
    pub(super) meaning: Meaning,
    pub(super) value: String,
}

/// Every input that stands for a header, in order.
pub(super) fn find(html: &[u8], charset: Option<&str>, ids: &HtmlInputs) -> Vec<Input> {
    let html = &html[..html.len().min(HTML_MAX)];
    let mut found = Vec::new();
    let (mut at, mut torn) = (0, 0);
    while let Some(open) = memchr::memchr(b'<', &html[at..]) {
        let start = at + open;
        let rest = &html[start..];
        if rest.starts_with(b"<!--") {
            let Some(end) = memchr::memmem::find(&rest[4..], b"-->") else { break };
            at = start + 4 + end + 3;
            continue;
        }
        at = start + 1;
        let is_input = rest.get(..6).is_some_and(|head| head.eq_ignore_ascii_case(b"<input"));
        if !is_input || !rest.get(6).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'/') {
            continue;
        }
        let Some((attributes, length)) = attributes(&rest[6..rest.len().min(TAG_MAX)]) else {
            // A tag without its end costs a search each: whoever writes many gets none.
            torn += 1;
            if torn > TORN_MAX {
                break;
            }
            continue;
        };
        at = start + 6 + length;
        if let Some((id, meaning, value)) = meaning(&attributes, charset, ids) {
            found.push(Input { range: start..at, id, meaning, value });
            if found.len() >= INPUTS_MAX {
                break;
            }
        }
    }
    found
}

/// Attributes of a tag: names in lowercase with their raw values.
type Attributes<'a> = Vec<(String, &'a [u8])>;

/// The attributes of a tag, and the octets up to and with `>`; `None` when the tag does not end.
fn attributes(text: &[u8]) -> Option<(Attributes<'_>, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'/').count();
        if *text.get(at)? == b'>' {
            return Some((found, at + 1));
        }
        let name_end = at + text[at..].iter().position(|byte| ends_name(*byte))?;
        // A stray `=` is a name of its own, so that the scan goes on.
        let name_end = name_end.max(at + 1);
        let name = String::from_utf8_lossy(&text[at..name_end]).to_ascii_lowercase();
        let blanks = text[name_end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        if *text.get(name_end + blanks)? != b'=' {
            found.push((name, &b""[..]));
            at = name_end;
            continue;
        }
        let from = name_end + blanks + 1;
        let from = from + text[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let (value, end) = match *text.get(from)? {
            quote @ (b'"' | b'\'') => {
                let length = memchr::memchr(quote, &text[from + 1..])?;
                (&text[from + 1..from + 1 + length], from + length + 2)
            }
            _ => {
                let length = text[from..].iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
                (&text[from..from + length], from + length)
            }
        };
        found.push((name, value));
        at = end;
    }
}

fn ends_name(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/')
}

fn meaning(
    attributes: &[(String, &[u8])],
    charset: Option<&str>,
    ids: &HtmlInputs,
) -> Option<(String, Meaning, String)> {
    let get = |name: &str| {
        let raw = attributes.iter().find(|(written, _)| written == name).map(|(_, value)| *value)?;
        Some(entities(&mime::decode(raw, charset)))
    };
    if !get("type").is_some_and(|kind| kind.trim().eq_ignore_ascii_case("hidden")) {
        return None;
    }
    let id = get("id")?;
    let value = get("value").unwrap_or_default();
    let named = [
        (&ids.delivery_id, SpecialName::DeliveryType),
        (&ids.delivery_label, SpecialName::DeliveryLabel),
        (&ids.external_id, SpecialName::ExternalId),
        (&ids.external_description, SpecialName::ExternalDescription),
        (&ids.primary_key, SpecialName::PrimaryKey),
    ];
    if let Some((_, name)) = named.into_iter().find(|(wanted, _)| wanted.as_deref() == Some(id.trim())) {
        return Some((id, Meaning::One(name), value));
    }
    // This id cannot be renamed.
    let is_recipient = ids.takes_recipient && id.trim() == "clabRecipient";
    is_recipient.then(|| (id, Meaning::Attribute(get("name").unwrap_or_default()), value))
}

/// The entities that a value needs; others stay as they are.
fn entities(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&apos;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", " ")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(html: &str) -> Vec<(String, Meaning, String)> {
        let found = find(html.as_bytes(), None, &HtmlInputs::default());
        found.iter().for_each(|input| {
            assert!(html[input.range.clone()].starts_with('<') && html[input.range.clone()].ends_with('>'))
        });
        found.into_iter().map(|input| (input.id, input.meaning, input.value)).collect()
    }

    #[test]
    fn hidden_inputs_are_found() {
        let one = |id: &str, name, value: &str| (id.to_owned(), Meaning::One(name), value.to_owned());
        for (html, wanted) in [
            (
                "<input type=\"hidden\" id=\"clabDeliveryId\" value=\"17\">",
                vec![one("clabDeliveryId", SpecialName::DeliveryType, "17")],
            ),
            (
                "<INPUT TYPE=hidden ID=clabExternalId VALUE=5/>",
                vec![one("clabExternalId", SpecialName::ExternalId, "5/")],
            ),
            (
                "a<input\n value='x &amp; y' id='clabExternalDesc' type='hidden' />b",
                vec![one("clabExternalDesc", SpecialName::ExternalDescription, "x & y")],
            ),
            (
                "<input type=hidden id=clabRecipient name=RequestType value=\"a>b\">",
                vec![("clabRecipient".to_owned(), Meaning::Attribute("RequestType".to_owned()), "a>b".to_owned())],
            ),
            (
                "<!-- <input type=hidden id=clabDeliveryId value=1> --><input type=hidden id=clabPrimaryKey value=2>",
                vec![one("clabPrimaryKey", SpecialName::PrimaryKey, "2")],
            ),
            ("<input type=text id=clabDeliveryId value=1>", vec![]),
            ("<input type=hidden id=other value=1><inputs type=hidden id=clabDeliveryId value=1>", vec![]),
            ("<input type=hidden id=clabDeliveryId value=1", vec![]),
            ("<input type=hidden id=clabDeliveryId value=\"1>", vec![]),
            ("<!-- <input type=hidden id=clabDeliveryId value=1>", vec![]),
            (
                "<input = type=hidden disabled id = clabDeliveryId value>",
                vec![one("clabDeliveryId", SpecialName::DeliveryType, "")],
            ),
        ] {
            assert_eq!(inputs(html), wanted, "{html}");
        }
    }

    #[test]
    fn ids_are_renamed_and_ignored_singly() {
        let html = b"<input type=hidden id=dlv value=3><input type=hidden id=clabExternalId value=4>";
        let ids = HtmlInputs { delivery_id: Some("dlv".to_owned()), external_id: None, ..HtmlInputs::default() };
        let found = find(html, None, &ids);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].meaning.clone(), found[0].value.as_str()), (Meaning::One(SpecialName::DeliveryType), "3"));
    }
}
