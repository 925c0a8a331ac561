//! Our own reports to the submitter: failed, delayed, relayed (RFC 3464 in multipart/report of RFC 6522, RF-42).
//!
//! Seven bits only, headers of the message unless more was asked for. Must not decide who gets one: no report goes to a null
//! reverse-path, to somebody who did not authenticate, or twice for one state. Send it from the null reverse-path.

use super::block;
use super::seven_bit;
use crate::command::{Return, xtext_decode};
use crate::header;
use crate::mailbox::{DomainName, Mailbox};
use crate::message_id;
use crate::qp;
use crate::reply::EnhancedStatus;
use crate::report::text::one_line;
use crate::stage::Stage;

mod notice;
#[cfg(test)]
mod tests;

/// Most octets of a message that is returned whole.
pub const FULL_MAX: usize = 1_024 * 1_024;
/// Most octets of its header that are returned.
const HEADERS_MAX: usize = 64 * 1_024;
/// Most octets of what a host said.
const DIAGNOSTIC_MAX: usize = 900;

/// What became of the message for one recipient; a delivery itself is never confirmed by us (RF-40).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DsnAction {
    /// It will not be delivered.
    Failed,
    /// Not yet; more tries follow.
    Delayed,
    /// It went to a host that reports nothing, and a report of success was asked for.
    Relayed,
}

impl DsnAction {
    /// The word of RFC 3464 2.3.3.
    pub const fn as_str(self) -> &'static str {
        match self {
            DsnAction::Failed => "failed",
            DsnAction::Delayed => "delayed",
            DsnAction::Relayed => "relayed",
        }
    }
}

/// One recipient of the report.
#[derive(Debug, Clone, Copy)]
pub struct DsnRecipient<'a> {
    /// The forward-path.
    pub mailbox: &'a Mailbox,
    /// ORCPT as it came: type, semicolon, xtext.
    pub orcpt: Option<&'a str>,
    /// What became of it.
    pub action: DsnAction,
    /// Why, as RFC 3463 says it.
    pub status: EnhancedStatus,
    /// The host that said so, by name.
    pub remote_mta: Option<&'a str>,
    /// What it said (code, status and words), or our own words; cut at 900 octets.
    pub diagnostic: Option<&'a str>,
    /// At which step.
    pub stage: Option<Stage>,
    /// When it was tried last, in milliseconds since 1970 UTC.
    pub last_attempt_ms: Option<i64>,
    /// Until when tries follow, in milliseconds since 1970 UTC.
    pub will_retry_until_ms: Option<i64>,
}

/// Everything that a report tells.
#[derive(Debug, Clone, Copy)]
pub struct DsnFacts<'a> {
    /// Who reports, such as `mailer-daemon@relay.example`.
    pub from: &'a Mailbox,
    /// The reverse-path of the message.
    pub to: &'a Mailbox,
    /// This host.
    pub reporting_mta: &'a DomainName,
    /// A number of its own, for the boundary.
    pub number: i64,
    /// The Message-ID of the report, with its angle brackets.
    pub message_id: &'a str,
    /// When it is written, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// ENVID of the message, decoded.
    pub envelope_id: Option<&'a str>,
    /// When the message was accepted, in milliseconds since 1970 UTC.
    pub arrival_ms: i64,
    /// The code that was answered then.
    pub code: &'a str,
    /// Subject of the message, decoded.
    pub subject: &'a str,
    /// Message-ID of the message, with its angle brackets.
    pub original_message_id: Option<&'a str>,
    /// The recipients, all with the same action for one report a state.
    pub recipients: &'a [DsnRecipient<'a>],
    /// What to return of the message (RET); the header unless asked otherwise.
    pub returned: Return,
    /// The message.
    pub message: &'a [u8],
}

/// The whole report, unsigned: CRLF, seven bits.
pub fn compose_dsn(facts: &DsnFacts<'_>) -> Vec<u8> {
    let third = returned(facts);
    let boundary = (0..=u8::MAX)
        .map(|n| message_id::boundary(facts.number, n))
        .find(|boundary| memchr::memmem::find(&third, boundary.as_bytes()).is_none())
        .unwrap_or_else(|| message_id::boundary(facts.at_ms, 0));
    let mut out = Vec::with_capacity(third.len() + 4_096);
    write_header(facts, &boundary, &mut out);
    start_part(&boundary, &mut out);
    out.extend_from_slice(
        b"Content-Description: Notification\r\nContent-Type: text/plain; charset=utf-8\r\n\
          Content-Transfer-Encoding: quoted-printable\r\n\r\n",
    );
    qp::encode(notice::text(facts).as_bytes(), &mut out);
    start_part(&boundary, &mut out);
    out.extend_from_slice(b"Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n");
    write_status(facts, &mut out);
    start_part(&boundary, &mut out);
    out.extend_from_slice(&third);
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

fn start_part(boundary: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
}

fn write_header(facts: &DsnFacts<'_>, boundary: &str, out: &mut Vec<u8>) {
    mailbox("From", Some("Mail Delivery System"), facts.from, out);
    mailbox("To", None, facts.to, out);
    let subject = notice::subject(facts);
    if header::text("Subject", &subject, out).is_err() {
        out.extend_from_slice(b"Subject: Report about your message\r\n");
    }
    field("Date", &header::date(facts.at_ms), out);
    field("Message-ID", facts.message_id, out);
    // RFC 3834 5: no machine may answer this.
    out.extend_from_slice(b"Auto-Submitted: auto-replied\r\n");
    if let Some(id) = facts.original_message_id.filter(|id| id.starts_with('<') && id.ends_with('>')) {
        field("In-Reply-To", id, out);
        field("References", id, out);
    }
    out.extend_from_slice(
        format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n \
             boundary=\"{boundary}\"\r\n\r\nThis is a report in the format of RFC 3464.\r\n"
        )
        .as_bytes(),
    );
}

/// An address field in seven bits; a mailbox in UTF-8 stands in the envelope only.
fn mailbox(name: &str, display: Option<&str>, mailbox: &Mailbox, out: &mut Vec<u8>) {
    if mailbox.needs_smtputf8() || header::mailbox_list(name, &[(display, mailbox)], out).is_err() {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": undisclosed-recipients:;\r\n");
    }
}

/// A field of ASCII; one that cannot be written is left out.
fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    // A value that does not fit is no fact that the reader could use.
    let _ = header::raw(name, value, out);
}

/// The groups of RFC 3464 2: the message first, then each recipient.
fn write_status(facts: &DsnFacts<'_>, out: &mut Vec<u8>) {
    field("Reporting-MTA", &format!("dns; {}", facts.reporting_mta), out);
    if let Some(envelope_id) = facts.envelope_id.filter(|id| !id.is_empty()) {
        field("Original-Envelope-Id", envelope_id, out);
    }
    field("Arrival-Date", &header::date(facts.arrival_ms), out);
    for recipient in facts.recipients {
        out.extend_from_slice(b"\r\n");
        if let Some(original) = recipient.orcpt.and_then(original_recipient) {
            field("Original-Recipient", &original, out);
        }
        field("Final-Recipient", &address(&recipient.mailbox.wire()), out);
        field("Action", recipient.action.as_str(), out);
        field("Status", &recipient.status.to_string(), out);
        if let Some(host) = recipient.remote_mta {
            field("Remote-MTA", &format!("dns; {}", ascii(host)), out);
        }
        if let Some(said) = recipient.diagnostic {
            let said = ascii(said);
            let is_reply = said.get(..3).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
            let kind = if is_reply { "smtp" } else { "x-postrider" };
            field("Diagnostic-Code", &format!("{kind}; {said}"), out);
        }
        if let Some(at) = recipient.last_attempt_ms {
            field("Last-Attempt-Date", &header::date(at), out);
        }
        if let Some(until) = recipient.will_retry_until_ms.filter(|_| recipient.action == DsnAction::Delayed) {
            field("Will-Retry-Until", &header::date(until), out);
        }
    }
}

/// `rfc822; ann@example.org`, or the escaped form of RFC 6533 3 for a mailbox in UTF-8.
fn address(wire: &str) -> String {
    if wire.is_ascii() {
        return format!("rfc822; {wire}");
    }
    let mut out = String::from("utf-8; ");
    for c in wire.chars() {
        if c.is_ascii_graphic() && !matches!(c, '\\' | '+' | '=') {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
        }
    }
    out
}

/// ORCPT, decoded (RFC 3464 2.3.1); `None` when it says nothing.
fn original_recipient(orcpt: &str) -> Option<String> {
    let (kind, text) = orcpt.split_once(';')?;
    if kind.eq_ignore_ascii_case("utf-8") {
        // It came in the form that this field has, if no byte is beyond ASCII.
        return text.is_ascii().then(|| format!("utf-8; {text}"));
    }
    let text = xtext_decode(text).filter(|text| !text.trim().is_empty())?;
    if text.is_ascii() { Some(format!("{kind}; {text}")) } else { Some(address(&text)) }
}

/// One line of ASCII: other characters as `\x{E9}`, cut at 900 octets, pieces that can be folded.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        if out.len() >= DIAGNOSTIC_MAX {
            break;
        }
        if c.is_ascii() && !c.is_ascii_control() {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
        }
    }
    out
}

/// The third part with its header: the message if it was asked for, is small enough and fits into seven bits, else its
/// header.
fn returned(facts: &DsnFacts<'_>) -> Vec<u8> {
    let whole = match facts.returned {
        Return::Full if facts.message.len() <= FULL_MAX => seven_bit::downgrade_to_seven_bit(facts.message).ok(),
        Return::Full | Return::Headers => None,
    };
    let mut out = Vec::new();
    if let Some(message) = whole {
        out.extend_from_slice(b"Content-Description: Undelivered message\r\nContent-Type: message/rfc822\r\n\r\n");
        out.extend_from_slice(&message);
        return out;
    }
    let message = &facts.message[..facts.message.len().min(HEADERS_MAX)];
    let block = block::scan(message, 0..message.len());
    let header = &message[block.start..block.end];
    out.extend_from_slice(b"Content-Description: Header of the message\r\nContent-Type: text/rfc822-headers");
    if seven_bit::is_dirty(header) {
        let charset = if std::str::from_utf8(header).is_ok() { "utf-8" } else { "unknown-8bit" };
        out.extend_from_slice(
            format!("; charset={charset}\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n").as_bytes(),
        );
        qp::encode(header, &mut out);
    } else {
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(header);
    }
    out
}
