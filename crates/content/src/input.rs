//! What callers hand in and get back: plain values, no behaviour.
//!
//! Must not know how a template is compiled or a message is put together.

use std::collections::BTreeSet;

use postrider_domain::campaign::{Draft, Finding};
use postrider_domain::id::DeliveryId;
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use serde_json::{Map, Value};

use crate::compiled::Compiled;

/// Who sends: the workspace's facts that every marketing message carries (LAW-40).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    /// Controller's name.
    pub controller_name: String,
    /// Postal address; line breaks separate its lines.
    pub postal_address: String,
    /// Privacy notice link; empty for none.
    pub privacy_url: String,
}

/// One text of a campaign and what must be known to compile it.
#[derive(Debug, Clone, Copy)]
pub struct CompileInput<'a> {
    /// The text as people wrote it.
    pub draft: &'a Draft,
    /// Marketing texts get a footer and list headers, transactional ones do not.
    pub stream: Stream,
    /// Who sends.
    pub sender: &'a Sender,
    /// Names of the contact attributes that exist in the workspace: any other name is an error.
    pub attributes: &'a BTreeSet<String>,
}

/// What came of compiling.
#[derive(Debug, Clone)]
pub struct Compilation {
    /// Everything wrong or doubtful, with field, line and column where known.
    pub findings: Vec<Finding>,
    /// The version; `None` when a finding is an error.
    pub compiled: Option<Compiled>,
}

/// One recipient, as the text sees it.
#[derive(Debug, Clone, Copy)]
pub struct RecipientView<'a> {
    /// The recipient's mailbox.
    pub mailbox: &'a Mailbox,
    /// Values of the attributes that the version uses; others are ignored, missing ones are empty.
    pub vars: &'a Map<String, Value>,
    /// This recipient's unsubscribe page.
    pub unsubscribe_url: &'a str,
    /// This recipient's preference page.
    pub preferences_url: &'a str,
    /// This recipient's hosted copy, where the workspace has them.
    pub hosted_url: Option<&'a str>,
}

/// What the headers of one message need; every field is fixed at the first try and kept (DESIGN section 4).
#[derive(Debug, Clone, Copy)]
pub struct MessageFacts<'a> {
    /// The delivery; the boundary is a function of it.
    pub delivery: DeliveryId,
    /// Message-ID with its angle brackets.
    pub message_id: &'a str,
    /// Time of the first try, milliseconds UTC; becomes Date.
    pub date_ms: i64,
    /// List headers; needed by marketing versions, never written for transactional ones (RF-33).
    pub list: Option<ListFacts<'a>>,
}

/// List headers of a marketing message (RFC 2369, 2919, 8058).
#[derive(Debug, Clone, Copy)]
pub struct ListFacts<'a> {
    /// List-Id without angle brackets, e.g. `news.42.example.org`.
    pub list_id: &'a str,
    /// One-click address: https (http only on a loopback host).
    pub unsubscribe_url: &'a str,
    /// Mailbox whose local part carries the token (SR-18), without `mailto:`.
    pub unsubscribe_mailbox: &'a str,
    /// Feedback-ID value, e.g. `cmp_…:wsp_…:marketing:postrider`.
    pub feedback_id: &'a str,
}

/// A message as people see it: for previews and hosted copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Subject.
    pub subject: String,
    /// HTML part; `None` when the text was written as plain text.
    pub html: Option<String>,
    /// Text part, lines ended by `\n`.
    pub text: String,
}

/// A message that is written for one occasion, without template: `POST /messages` and test sends of it.
#[derive(Debug, Clone, Copy)]
pub struct SingleMessage<'a> {
    /// From display name; empty for none.
    pub from_name: &'a str,
    /// From.
    pub from: &'a Mailbox,
    /// Recipients shown in To; at least one.
    pub to: &'a [Mailbox],
    /// Reply-To.
    pub reply_to: Option<&'a Mailbox>,
    /// Subject.
    pub subject: &'a str,
    /// Text part; `None`: derived from the HTML.
    pub text: Option<&'a str>,
    /// HTML part; `None`: a message with text only.
    pub html: Option<&'a str>,
    /// Message-ID with its angle brackets.
    pub message_id: &'a str,
    /// Date, milliseconds UTC.
    pub date_ms: i64,
    /// Number that the boundary is made from (the message's id).
    pub number: i64,
}
