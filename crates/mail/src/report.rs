//! News about a message of ours that comes as a message: delivery reports, complaints, dispositions, auto-replies.
//!
//! Reads RFC 3464 in multipart/report (RFC 6522), ARF (RFC 5965), MDN (RFC 8098), auto-replies (RFC 3834), wishes to be
//! left out by mail, and the many bounces that follow no standard. Pure and bounded: whatever the bytes, no panic, no
//! recursion, time linear in the size. Who sent it and whether it is true is not known here: only a valid token of ours
//! makes a report believable.

mod address;
mod arf;
mod dsn;
pub(crate) mod mime;
mod notice;
mod original;
mod plain;
mod ses;
mod spoken;
pub(crate) mod text;

use crate::reply::EnhancedStatus;
use crate::stage::Stage;

pub use mime::{BODY_MAX, PARTS_MAX};
pub use original::Original;

/// Most bytes of a message that are read; what follows is the copy of the original message.
pub const SIZE_MAX: usize = 1_024 * 1_024;
/// Most recipients of one report.
pub const RECIPIENTS_MAX: usize = 1_000;
/// Most octets of a diagnostic text that are kept.
pub const DIAGNOSTIC_MAX: usize = 1_024;

/// What kind of news a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportKind {
    /// A report of delivery, standard or not: failed, delayed, delivered, relayed, expanded.
    Dsn,
    /// A complaint or another feedback report.
    Arf,
    /// What became of the message in the recipient's hands.
    Mdn,
    /// A machine answered on behalf of a person.
    AutoReply,
    /// A person wants no more of it, by mail.
    OptOut,
    /// Something else; for a human.
    Other,
}

impl ReportKind {
    /// Every kind.
    pub const ALL: [ReportKind; 6] = [
        ReportKind::Dsn,
        ReportKind::Arf,
        ReportKind::Mdn,
        ReportKind::AutoReply,
        ReportKind::OptOut,
        ReportKind::Other,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReportKind::Dsn => "dsn",
            ReportKind::Arf => "arf",
            ReportKind::Mdn => "mdn",
            ReportKind::AutoReply => "auto_reply",
            ReportKind::OptOut => "opt_out",
            ReportKind::Other => "other",
        }
    }
}

/// What a delivery report says became of the message (RFC 3464 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It will not be delivered.
    Failed,
    /// Not yet; this never suppresses (BC-9).
    Delayed,
    /// It lies in the mailbox.
    Delivered,
    /// It went to a host that reports nothing.
    Relayed,
    /// It went to several mailboxes behind this one.
    Expanded,
}

impl Action {
    /// The word of the standard.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }

    /// Reads the word, whatever its case; a comment may follow.
    pub fn parse(word: &str) -> Option<Action> {
        let word = word.trim_start();
        let end = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
        let is = |name: &str| word[..end].eq_ignore_ascii_case(name);
        [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded]
            .into_iter()
            .find(|action| is(action.as_str()))
            .or_else(|| is("failure").then_some(Action::Failed))
            .or_else(|| is("expired").then_some(Action::Failed))
    }
}

/// What a report says about one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportedRecipient {
    /// The mailbox as the report writes it (Final-Recipient); not checked, and never longer than 320 octets.
    pub mailbox: Option<String>,
    /// The mailbox that we wrote to, when the report tells both (Original-Recipient, RFC 3461 ORCPT).
    pub original_mailbox: Option<String>,
    /// What became of it.
    pub action: Option<Action>,
    /// The enhanced status: that of the host's reply if there is one, else the report's own.
    pub status: Option<EnhancedStatus>,
    /// The basic code of the host's reply.
    pub code: Option<u16>,
    /// The words about it, in one line.
    pub diagnostic: String,
    /// At which step the host said so.
    pub stage: Option<Stage>,
    /// The host that said so.
    pub remote_mta: Option<String>,
    /// Until when the reporting host goes on trying, as it writes it.
    pub will_retry_until: Option<String>,
    /// The notice around it, in one line of at most 4 KiB: for what the diagnostic does not tell.
    pub context: String,
}

/// What a feedback report says (RFC 5965 3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Feedback {
    /// `abuse`, `fraud`, `virus`, `not-spam`, `auth-failure`, `opt-out`, `other`, in lowercase.
    pub kind: String,
    /// The source of the report, as it names itself.
    pub user_agent: Option<String>,
    /// The address from which the message came to the reporter.
    pub source_ip: Option<String>,
    /// The mailbox to which it went, often redacted (RFC 6590).
    pub original_rcpt_to: Vec<String>,
    /// The reverse-path with which it came; may hold our token.
    pub original_mail_from: Option<String>,
}

/// What a disposition notification says (RFC 8098 3.2.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disposition {
    /// `manual-action` or `automatic-action`, in lowercase.
    pub action_mode: String,
    /// `mdn-sent-manually` or `mdn-sent-automatically`, in lowercase.
    pub sending_mode: String,
    /// `displayed`, `deleted`, `dispatched`, `processed`, in lowercase.
    pub kind: String,
    /// Modifiers such as `error`, in lowercase.
    pub modifiers: Vec<String>,
    /// The mailbox whose reader it is.
    pub final_recipient: Option<String>,
    /// The Message-ID of the message, without its angle brackets.
    pub original_message_id: Option<String>,
}

/// One message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its kind.
    pub kind: ReportKind,
    /// One entry for each recipient that it speaks of; empty for kinds that name none.
    pub recipients: Vec<ReportedRecipient>,
    /// Original-Envelope-Id (RFC 3461 ENVID), as sent.
    pub envelope_id: Option<String>,
    /// The host that wrote the report.
    pub reporting_mta: Option<String>,
    /// What it returns of our message.
    pub original: Original,
    /// The fields of a feedback report.
    pub feedback: Option<Feedback>,
    /// The fields of a disposition notification.
    pub disposition: Option<Disposition>,
}

impl Report {
    fn new(kind: ReportKind, original: Original) -> Report {
        Report {
            kind,
            recipients: Vec::new(),
            envelope_id: None,
            reporting_mta: None,
            original,
            feedback: None,
            disposition: None,
        }
    }
}

/// Reads a message; of more than [`SIZE_MAX`] bytes only the beginning.
pub fn read(message: &[u8]) -> Report {
    let mut bytes = &message[..message.len().min(SIZE_MAX)];
    // A report may be wrapped in a forwarded message; two wrappings are looked through, no more.
    let mut last = None;
    for _ in 0..3 {
        let entity = mime::read(bytes);
        // A report within a message that is none: the inner one knows more.
        if let Some(inner) = entity.embedded.filter(|inner| !is_report(&entity) && is_report(&mime::read(inner))) {
            bytes = inner;
            continue;
        }
        let report = of_entity(&entity);
        if report.kind != ReportKind::Other {
            return report;
        }
        last.get_or_insert(report);
        let Some(inner) = entity.embedded else { break };
        bytes = inner;
    }
    last.unwrap_or_else(|| of_entity(&mime::read(bytes)))
}

fn is_report(entity: &mime::Entity<'_>) -> bool {
    let kind = entity.fields.get("content-type").unwrap_or_default();
    mime::ContentType::read(kind).kind == "multipart/report"
}

/// The standards first, then what is known of single services, then the texts.
fn of_entity(entity: &mime::Entity<'_>) -> Report {
    let original = original::find(entity);
    if let Some(report) = arf::read(entity, &original) {
        return report;
    }
    if let Some(report) = notice::disposition(entity, &original) {
        return report;
    }
    if let Some(report) = dsn::read(entity, &original) {
        return report;
    }
    if let Some(report) = ses::read(entity, &original) {
        return report;
    }
    if let Some(report) = plain::read(entity, &original) {
        return report;
    }
    notice::read(entity, &original)
}
