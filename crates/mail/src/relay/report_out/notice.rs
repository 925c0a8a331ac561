//! The part of a report that people read: what happened, to whom, what the other host said, what to do.
//!
//! Must not hold anything that the machine's part does not say, except advice.

use super::{DsnAction, DsnFacts, DsnRecipient};
use crate::header;
use crate::report::text::{cut, one_line};
use crate::stage::Stage;

/// Most octets of the subject that are repeated.
const SUBJECT_MAX: usize = 200;

/// The worst that happened to one of the recipients.
fn action(facts: &DsnFacts<'_>) -> DsnAction {
    facts.recipients.iter().map(|recipient| recipient.action).min().unwrap_or(DsnAction::Failed)
}

pub(super) fn subject(facts: &DsnFacts<'_>) -> String {
    let subject = one_line(facts.subject);
    let subject = cut(&subject, SUBJECT_MAX);
    let what = match action(facts) {
        DsnAction::Failed => "Not delivered",
        DsnAction::Delayed => "Delayed",
        DsnAction::Relayed => "Passed on",
    };
    if subject.is_empty() { format!("{what}: your message") } else { format!("{what}: {subject}") }
}

pub(super) fn text(facts: &DsnFacts<'_>) -> String {
    let mut out = format!("This is the mail system at {}.\r\n\r\n", facts.reporting_mta);
    out.push_str(match action(facts) {
        DsnAction::Failed => "Your message was not delivered to one or more recipients. It will not be tried again.\r\n",
        DsnAction::Delayed => "Your message has not been delivered yet. You need not send it again.\r\n",
        DsnAction::Relayed => {
            "Your message was passed on to a system that does not report what becomes of it. No further report will come.\r\n"
        }
    });
    for recipient in facts.recipients {
        out.push_str("\r\n");
        push_recipient(recipient, &mut out);
    }
    out.push_str("\r\n");
    let subject = one_line(facts.subject);
    if !subject.is_empty() {
        out.push_str(&format!("Subject: {}\r\n", cut(&subject, SUBJECT_MAX)));
    }
    out.push_str(&format!("Accepted: {}\r\n", header::date(facts.arrival_ms)));
    out.push_str(&format!("Code: {}\r\n", one_line(facts.code)));
    out
}

fn push_recipient(recipient: &DsnRecipient<'_>, out: &mut String) {
    out.push_str(&format!("<{}>\r\n", recipient.mailbox.wire()));
    if let Some(said) = recipient.diagnostic {
        let said = one_line(said);
        let said = cut(&said, super::DIAGNOSTIC_MAX);
        let step = recipient.stage.and_then(step).map(|step| format!(" (in reply to {step})")).unwrap_or_default();
        match recipient.remote_mta {
            Some(host) => out.push_str(&format!("    The host {} said: {said}{step}\r\n", one_line(host))),
            None => out.push_str(&format!("    {said}{step}\r\n")),
        }
    }
    match (recipient.action, recipient.will_retry_until_ms) {
        (DsnAction::Delayed, Some(until)) => {
            out.push_str(&format!("    It will be tried until {}.\r\n", header::date(until)));
        }
        (DsnAction::Delayed, None) => out.push_str("    It will be tried again.\r\n"),
        (DsnAction::Failed, _) => out.push_str(&format!("    What to do: {}\r\n", advice(recipient))),
        (DsnAction::Relayed, _) => {}
    }
}

/// The command that a host answered.
fn step(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Resolve | Stage::Connect | Stage::Tls | Stage::Greeting | Stage::Auth => None,
        Stage::Ehlo => Some("EHLO"),
        Stage::Mail => Some("MAIL FROM"),
        Stage::Rcpt => Some("RCPT TO"),
        Stage::Data => Some("DATA command"),
        Stage::Dot => Some("end of DATA"),
    }
}

fn advice(recipient: &DsnRecipient<'_>) -> &'static str {
    let status = recipient.status;
    match (status.subject, status.detail) {
        (1, 1..=6 | 10) => "check the address for a mistake, or ask the recipient for the right one.",
        (2, 1) => "the mailbox is closed; reach the recipient in another way.",
        (2, 2) => "the mailbox is full; try again in a few days, or reach the recipient in another way.",
        (2, 3) | (3, 4) => {
            "the message is too large; send it without attachments, or put them where they can be fetched."
        }
        (4, 6) => "the message went round in a loop; tell your administrator.",
        (4, _) => "the recipient's system could not be reached in time; send the message again later.",
        (6, 7) => "the recipient's system does not take addresses beyond ASCII; use another address.",
        (6, _) => "the message is not built as the recipient's system wants it; tell your administrator.",
        (7, _) => "the recipient's system does not take this message from us; tell your administrator, who sees why.",
        _ => "if you do not know what the words above mean, pass this report on to your administrator.",
    }
}
