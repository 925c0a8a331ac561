//! What a report returns of our own message: enough of its header to know which one it was.
//!
//! Must not believe it: anybody can write these fields. Only a token in them that verifies proves anything.

use super::mime::{Entity, Fields};
use super::plain;
use super::text::cut;

/// Fields of the returned message, as they stand there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Original {
    /// Message-ID without its angle brackets; for an answer the In-Reply-To.
    pub message_id: Option<String>,
    /// Return-Path without its angle brackets: may hold our token.
    pub return_path: Option<String>,
    /// The mailbox in To.
    pub to: Option<String>,
    /// The mailbox in From.
    pub from: Option<String>,
    /// List-Unsubscribe as written: may hold our token.
    pub list_unsubscribe: Option<String>,
    /// Feedback-ID or CFBL-Feedback-ID (RFC 9477) as written.
    pub feedback_id: Option<String>,
}

impl Original {
    /// Nothing was returned.
    pub fn is_empty(&self) -> bool {
        *self == Original::default()
    }
}

const EMBEDDED: &[&str] = &[
    "message/rfc822",
    "message/global",
    "text/rfc822-headers",
    "text/rfc822-header",
    "message/rfc822-headers",
    "message/global-headers",
    "message/partial",
];

pub(super) fn find(entity: &Entity<'_>) -> Original {
    let embedded = entity.part(EMBEDDED).map(|text| of_fields(&Fields::read(text.trim_start()).0));
    let mut original = embedded.filter(|original| !original.is_empty()).unwrap_or_else(|| {
        let text = plain::text_of(entity);
        let (_, returned) = plain::split(&text);
        let (fields, _) = Fields::read(returned.trim_start());
        of_fields(&fields)
    });
    if original.message_id.is_none() {
        original.message_id = entity.fields.get("in-reply-to").and_then(message_id);
    }
    original
}

fn of_fields(fields: &Fields) -> Original {
    let mailbox = |name: &str| fields.get(name).and_then(super::address::find).map(|found| found.mailbox);
    let text = |name: &str| fields.get(name).map(|value| cut(value, 998).to_owned());
    Original {
        message_id: fields.get("message-id").and_then(message_id),
        return_path: mailbox("return-path"),
        to: mailbox("to"),
        from: mailbox("from"),
        list_unsubscribe: text("list-unsubscribe"),
        feedback_id: text("cfbl-feedback-id").or_else(|| text("feedback-id")),
    }
}

/// A Message-ID without angle brackets.
pub(super) fn message_id(value: &str) -> Option<String> {
    let value = value.trim();
    let inside = value.split_once('<').map_or(value, |(_, rest)| rest.split('>').next().unwrap_or_default());
    let inside = cut(inside.trim(), 998);
    (!inside.is_empty() && !inside.contains(char::is_whitespace)).then(|| inside.to_owned())
}
