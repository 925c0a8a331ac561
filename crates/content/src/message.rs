//! Headers and MIME of a message: each singleton once, in a fixed order (SR-10, SR-21, SR-22, RF-30, RF-33).
//!
//! Must not know templates: parts come encoded.

use postrider_mail::{Mailbox, header, message_id};

use crate::error::{RenderError, SingleError};
use crate::input::{ListFacts, MessageFacts, SingleMessage};

/// Headers that are the same for every recipient of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedHeaders {
    from: Vec<u8>,
    reply_to: Vec<u8>,
}

/// Shape of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// text/plain alone.
    Text,
    /// multipart/alternative: text, then HTML.
    Alternative,
}

const TEXT_HEADERS: &[u8] =
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
const HTML_HEADERS: &[u8] =
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";

impl FixedHeaders {
    /// Writes From and Reply-To.
    ///
    /// # Errors
    /// A name that cannot stand in a header.
    pub fn new(
        from_name: &str,
        from: &Mailbox,
        reply_to: Option<&Mailbox>,
    ) -> Result<FixedHeaders, header::HeaderError> {
        let mut fixed = FixedHeaders { from: Vec::new(), reply_to: Vec::new() };
        header::mailbox_list("From", &[(Some(from_name), from)], &mut fixed.from)?;
        if let Some(reply_to) = reply_to {
            header::mailbox_list("Reply-To", &[(None, reply_to)], &mut fixed.reply_to)?;
        }
        Ok(fixed)
    }

    /// Writes all headers up to MIME-Version.
    ///
    /// # Errors
    /// A fact that cannot stand in its header.
    pub fn write(
        &self,
        to: &Mailbox,
        subject: &str,
        facts: &MessageFacts<'_>,
        list: Option<&ListFacts<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        out.extend_from_slice(&self.from);
        write_to(std::slice::from_ref(to), out)?;
        header::text("Subject", subject, out)?;
        write_date(facts.date_ms, out);
        write_message_id(facts.message_id, out).ok_or(RenderError::Fact("the Message-ID"))?;
        out.extend_from_slice(&self.reply_to);
        if let Some(list) = list {
            write_list(list, out)?;
        }
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        Ok(())
    }
}

/// To. A mailbox with letters beyond ASCII before the @ cannot stand in a 7-bit header (RFC 6532), so a message to
/// one names nobody: an empty group (RFC 5322 3.4) is the 7-bit form of that.
pub fn write_to(to: &[Mailbox], out: &mut Vec<u8>) -> Result<(), header::HeaderError> {
    if to.iter().any(Mailbox::needs_smtputf8) {
        out.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
        return Ok(());
    }
    let all: Vec<(Option<&str>, &Mailbox)> = to.iter().map(|mailbox| (None, mailbox)).collect();
    header::mailbox_list("To", &all, out)
}

/// Date.
pub fn write_date(at_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(header::date(at_ms).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Message-ID; `None` when it is none, and nothing was written.
pub fn write_message_id(id: &str, out: &mut Vec<u8>) -> Option<()> {
    let inner = id.strip_prefix('<')?.strip_suffix('>')?;
    let (left, right) = inner.split_once('@')?;
    if left.is_empty() || right.is_empty() || right.contains('@') || !is_token(inner) || inner.len() > 900 {
        return None;
    }
    out.extend_from_slice(b"Message-ID: ");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b"\r\n");
    Some(())
}

/// Visible ASCII without blanks and angle brackets: can be neither folded nor broken out of.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'<' | b'>'))
}

fn write_list(list: &ListFacts<'_>, out: &mut Vec<u8>) -> Result<(), RenderError> {
    let check = |text: &str, longest: usize, what: &'static str| {
        if is_token(text) && text.len() <= longest { Ok(()) } else { Err(RenderError::Fact(what)) }
    };
    check(list.list_id, 255, "the List-Id")?;
    check(list.unsubscribe_url, 800, "the one-click address")?;
    check(list.unsubscribe_mailbox, 254, "the unsubscribe mailbox")?;
    check(list.feedback_id, 255, "the Feedback-ID")?;
    // RFC 8058 3.1 wants https; http only where no packet leaves the machine.
    let is_https = list.unsubscribe_url.starts_with("https://");
    let is_loopback =
        ["http://127.", "http://localhost", "http://[::1]"].iter().any(|start| list.unsubscribe_url.starts_with(start));
    if !is_https && !is_loopback {
        return Err(RenderError::Fact("the one-click address (it needs https://), or it"));
    }
    // RFC 2369 2: a comma inside of an address would begin the next one. A mailbox that is no plain one is no mailto.
    let mut url = String::with_capacity(list.unsubscribe_url.len());
    for c in list.unsubscribe_url.chars() {
        match c {
            ',' => url.push_str("%2C"),
            c => url.push(c),
        }
    }
    if list.unsubscribe_mailbox.contains([',', '?', '&', '%', '"']) || !list.unsubscribe_mailbox.contains('@') {
        return Err(RenderError::Fact("the unsubscribe mailbox"));
    }
    push_line(&["List-Id: <", list.list_id, ">"], out);
    push_line(&["List-Unsubscribe: <", &url, ">,"], out);
    push_line(&[" <mailto:", list.unsubscribe_mailbox, ">"], out);
    push_line(&["List-Unsubscribe-Post: List-Unsubscribe=One-Click"], out);
    push_line(&["Feedback-ID: ", list.feedback_id], out);
    Ok(())
}

fn push_line(pieces: &[&str], out: &mut Vec<u8>) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes Content-Type, the empty line and what stands before the text part; gives the boundary.
pub fn start_body(body: Body, number: i64, out: &mut Vec<u8>) -> String {
    match body {
        Body::Text => {
            out.extend_from_slice(TEXT_HEADERS);
            String::new()
        }
        Body::Alternative => {
            // It holds `=_`, which no quoted-printable part can.
            let boundary = message_id::boundary(number, 0);
            push_line(&["Content-Type: multipart/alternative;"], out);
            push_line(&[" boundary=\"", &boundary, "\""], out);
            push_line(&[""], out);
            push_line(&["--", &boundary], out);
            out.extend_from_slice(TEXT_HEADERS);
            boundary
        }
    }
}

/// Ends the text part and begins the HTML part.
pub fn start_html(boundary: &str, out: &mut Vec<u8>) {
    push_line(&["\r\n--", boundary], out);
    out.extend_from_slice(HTML_HEADERS);
}

/// Ends the last part.
pub fn end_body(boundary: &str, out: &mut Vec<u8>) {
    push_line(&["\r\n--", boundary, "--"], out);
}

impl FixedHeaders {
    /// Writes all headers of a single message up to MIME-Version.
    ///
    /// # Errors
    /// A field that cannot stand in its header.
    pub fn write_single(&self, single: &SingleMessage<'_>, out: &mut Vec<u8>) -> Result<(), SingleError> {
        out.extend_from_slice(&self.from);
        write_to(single.to, out)?;
        header::text("Subject", single.subject, out)?;
        write_date(single.date_ms, out);
        write_message_id(single.message_id, out).ok_or(SingleError::Fact("the Message-ID"))?;
        out.extend_from_slice(&self.reply_to);
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        Ok(())
    }
}
