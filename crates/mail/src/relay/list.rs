//! The fields that a marketing message of the relay carries for one recipient (RFC 2369, 2919, 8058), SR-19.
//!
//! Must not know consent or tokens: the caller asks for them or does not.

use thiserror::Error;

use crate::mailbox::Mailbox;

/// Longest one-click address in octets: a line holds 998.
const URL_MAX: usize = 800;

/// Why the fields of a recipient cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ListError {
    /// Blanks, brackets, control characters, or too long.
    #[error("write the List-Id: it must be visible ASCII of at most 255 characters, such as news.example.org")]
    ListId,
    /// No https address.
    #[error(
        "write List-Unsubscribe: the address must begin with https:// and be visible ASCII of at most 800 characters"
    )]
    Url,
    /// A mailbox that no mailto: can carry as it is.
    #[error("write List-Unsubscribe: the mailbox must be plain ASCII")]
    Mailbox,
    /// Blanks, control characters, or too long.
    #[error("write the Feedback-ID: it must be visible ASCII of at most 255 characters")]
    FeedbackId,
}

/// How a recipient gets off the list.
#[derive(Debug, Clone, Copy)]
pub struct ListFacts<'a> {
    /// `news.example.org`, the same for every message of the kind.
    pub list_id: &'a str,
    /// The one-click address, `https://`; `http://` only to this machine.
    pub unsubscribe_url: &'a str,
    /// Where the mail goes that does the same.
    pub unsubscribe_mailbox: &'a Mailbox,
}

/// The fields of one recipient; nothing is written for what is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerRecipient<'a> {
    /// Only for marketing (SR-19).
    pub list: Option<ListFacts<'a>>,
    /// `campaign:customer:kind:sender`, as Google reads it.
    pub feedback_id: Option<&'a str>,
}

/// The header block to put before the rewritten message, seven bits, each field with its CRLF.
///
/// # Errors
/// [`ListError`].
pub fn per_recipient(facts: &PerRecipient<'_>) -> Result<Vec<u8>, ListError> {
    let mut out = Vec::with_capacity(512);
    if let Some(list) = facts.list {
        write_list(&list, &mut out)?;
    }
    if let Some(feedback_id) = facts.feedback_id {
        if !is_token(feedback_id, 255) {
            return Err(ListError::FeedbackId);
        }
        push(&["Feedback-ID: ", feedback_id], &mut out);
    }
    Ok(out)
}

fn write_list(list: &ListFacts<'_>, out: &mut Vec<u8>) -> Result<(), ListError> {
    if !is_token(list.list_id, 255) {
        return Err(ListError::ListId);
    }
    // RFC 8058 3.1 wants https; http only where no packet leaves the machine.
    let begins = ["https://", "http://127.", "http://localhost", "http://[::1]"];
    if !begins.iter().any(|begin| list.unsubscribe_url.starts_with(begin)) || !is_token(list.unsubscribe_url, URL_MAX) {
        return Err(ListError::Url);
    }
    let mailbox = list.unsubscribe_mailbox.wire();
    if !mailbox.is_ascii() || mailbox.contains([',', '?', '&', '%', '"', '<', '>']) {
        return Err(ListError::Mailbox);
    }
    // RFC 2369 2: a comma would begin the next address.
    let url = list.unsubscribe_url.replace(',', "%2C");
    push(&["List-Id: <", list.list_id, ">"], out);
    push(&["List-Unsubscribe: <", &url, ">,"], out);
    push(&[" <mailto:", &mailbox, ">"], out);
    push(&["List-Unsubscribe-Post: List-Unsubscribe=One-Click"], out);
    Ok(())
}

/// Visible ASCII without angle brackets: can be neither folded nor broken out of.
fn is_token(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}

fn push(pieces: &[&str], out: &mut Vec<u8>) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_whole_or_not_at_all() {
        let mailbox = Mailbox::parse("u-x@example.org").unwrap();
        let list = ListFacts {
            list_id: "news.example.org",
            unsubscribe_url: "https://e.example/u/a,b",
            unsubscribe_mailbox: &mailbox,
        };
        let block = per_recipient(&PerRecipient { list: Some(list), feedback_id: Some("1:2:news:pr") }).unwrap();
        assert_eq!(
            String::from_utf8(block).unwrap(),
            "List-Id: <news.example.org>\r\nList-Unsubscribe: <https://e.example/u/a%2Cb>,\r\n <mailto:u-x@example.org>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: 1:2:news:pr\r\n"
        );
        assert_eq!(per_recipient(&PerRecipient::default()), Ok(Vec::new()));
        let with = |list: ListFacts<'_>| per_recipient(&PerRecipient { list: Some(list), feedback_id: None });
        assert_eq!(with(ListFacts { unsubscribe_url: "http://e.example/", ..list }), Err(ListError::Url));
        assert_eq!(with(ListFacts { unsubscribe_url: "https://e.example/\r\nX: y", ..list }), Err(ListError::Url));
        assert_eq!(with(ListFacts { list_id: "a b", ..list }), Err(ListError::ListId));
        let odd = Mailbox::parse("\"a,b\"@example.org").unwrap();
        assert_eq!(with(ListFacts { unsubscribe_mailbox: &odd, ..list }), Err(ListError::Mailbox));
        let feedback = PerRecipient { list: None, feedback_id: Some("a b") };
        assert_eq!(per_recipient(&feedback), Err(ListError::FeedbackId));
    }
}
