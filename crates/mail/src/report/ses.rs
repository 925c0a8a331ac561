//! Notifications of Amazon SES, which come as JSON in a mail of its notification service.
//!
//! Must not trust them more than any other report.

use serde_json::Value;

use super::mime::Entity;
use super::text::{cut, one_line};
use super::{
    Action, DIAGNOSTIC_MAX, Feedback, Original, RECIPIENTS_MAX, Report, ReportKind, ReportedRecipient, address, spoken,
};
use crate::reply::EnhancedStatus;

pub(super) fn read(entity: &Entity<'_>, original: &Original) -> Option<Report> {
    let text = entity.part(&["text/plain"])?;
    let start = text.find('{')?;
    if !text[..start].trim().is_empty() || !text.contains("ificationType\"") && !text.contains("\"eventType\"") {
        return None;
    }
    // Hosts on the way break long lines with `!`, a line end and a blank.
    let text = text[start..].replace("!\r\n ", "").replace("!\n ", "").replace(['\r', '\n'], "");
    let value = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next()?.ok()?;
    let word = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let kind = word(&value, "notificationType").or_else(|| word(&value, "eventType"))?;
    let mut original = original.clone();
    let header = value["mail"]["headers"].as_array().into_iter().flatten();
    let said =
        header.into_iter().find(|h| h["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("message-id")));
    original.message_id =
        said.and_then(|h| h["value"].as_str()).and_then(super::original::message_id).or(original.message_id);
    original.return_path = value["mail"]["source"].as_str().and_then(address::of_field).or(original.return_path);
    match kind.as_str() {
        "Bounce" => Some(bounce(&value["bounce"], original)),
        "Delivery" => Some(delivery(&value["delivery"], original)),
        "Complaint" => Some(complaint(&value["complaint"], original)),
        _ => None,
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().take(RECIPIENTS_MAX)
}

fn mailbox(value: &Value) -> Option<String> {
    value.as_str().and_then(address::of_field)
}

fn bounce(value: &Value, original: Original) -> Report {
    let recipients = list(&value["bouncedRecipients"])
        .map(|one| {
            let said = one["diagnosticCode"].as_str().unwrap_or_default();
            let said = said.split_once(';').filter(|(kind, _)| kind.len() < 8).map_or(said, |(_, said)| said);
            let subtype = value["bounceSubType"].as_str().unwrap_or_default();
            let diagnostic = if said.is_empty() { subtype } else { said };
            let own = one["status"].as_str().and_then(|status| EnhancedStatus::parse(status.trim()));
            ReportedRecipient {
                mailbox: mailbox(&one["emailAddress"]),
                action: one["action"].as_str().and_then(Action::parse).or(Some(Action::Failed)),
                status: spoken::status(said).or(own),
                code: spoken::code(said),
                diagnostic: cut(&one_line(diagnostic), DIAGNOSTIC_MAX).to_owned(),
                ..ReportedRecipient::default()
            }
        })
        .collect();
    let reporting_mta = value["reportingMTA"].as_str().map(dsn_name);
    Report { recipients, reporting_mta, ..Report::new(ReportKind::Dsn, original) }
}

fn delivery(value: &Value, original: Original) -> Report {
    let said = value["smtpResponse"].as_str().unwrap_or_default();
    let recipients = list(&value["recipients"])
        .map(|one| ReportedRecipient {
            mailbox: mailbox(one),
            action: Some(Action::Relayed),
            status: spoken::status(said),
            code: spoken::code(said),
            diagnostic: cut(&one_line(said), DIAGNOSTIC_MAX).to_owned(),
            ..ReportedRecipient::default()
        })
        .collect();
    let reporting_mta = value["reportingMTA"].as_str().map(dsn_name);
    Report { recipients, reporting_mta, ..Report::new(ReportKind::Dsn, original) }
}

fn complaint(value: &Value, original: Original) -> Report {
    let kind = value["complaintFeedbackType"].as_str().unwrap_or("abuse").to_ascii_lowercase();
    let mailboxes: Vec<String> =
        list(&value["complainedRecipients"]).filter_map(|one| mailbox(&one["emailAddress"])).collect();
    let recipients = mailboxes
        .iter()
        .map(|mailbox| ReportedRecipient {
            mailbox: Some(mailbox.clone()),
            diagnostic: kind.clone(),
            ..ReportedRecipient::default()
        })
        .collect();
    let feedback = Feedback {
        kind,
        user_agent: value["userAgent"].as_str().map(str::to_owned),
        original_rcpt_to: mailboxes,
        ..Feedback::default()
    };
    Report { recipients, feedback: Some(feedback), ..Report::new(ReportKind::Arf, original) }
}

/// `dns; host` without its kind.
fn dsn_name(value: &str) -> String {
    value.split_once(';').map_or(value, |(_, name)| name).trim().to_owned()
}
