//! Feedback reports (RFC 5965), also those whose parts carry the wrong type.
//!
//! Must not decide what a complaint leads to.

use super::address;
use super::mime::{Entity, Fields};
use super::text::cut;
use super::{Action, Feedback, Original, Report, ReportKind, ReportedRecipient};

pub(super) fn read(entity: &Entity<'_>, original: &Original) -> Option<Report> {
    let fields =
        entity.part(&["message/feedback-report"]).map(|text| Fields::read(text.trim_start()).0).or_else(|| {
            // Some senders label the part as text, or forget its type.
            let inside = |text: &str| {
                let (fields, _) = Fields::read(text.trim_start());
                (fields.has("feedback-type") && fields.has("user-agent")).then_some(fields)
            };
            entity.parts.iter().filter(|part| part.kind.starts_with("text/")).find_map(|part| inside(&part.text))
        });
    let is_feedback = |value: &str| super::text::find_ignore_case(value, "report-type=feedback-report").is_some();
    let said = entity.fields.get("content-type").is_some_and(|value| is_feedback(&value.replace(['"', ' '], "")));
    let fields = match fields {
        Some(fields) => fields,
        None if said => Fields::default(),
        None => return hotmail(entity, original),
    };
    let text = |name: &str| fields.get(name).map(|value| cut(value, 998).to_owned());
    let feedback = Feedback {
        kind: fields.get("feedback-type").unwrap_or("abuse").trim().to_ascii_lowercase(),
        user_agent: text("user-agent"),
        source_ip: text("source-ip"),
        original_rcpt_to: fields
            .all("original-rcpt-to")
            .filter_map(address::of_field)
            .take(super::RECIPIENTS_MAX)
            .collect(),
        original_mail_from: fields.get("original-mail-from").and_then(address::of_field),
    };
    Some(report(feedback, original, &fields))
}

/// Microsoft's junk reports are a plain message around the original, by a fixed sender.
fn hotmail(entity: &Entity<'_>, original: &Original) -> Option<Report> {
    let from = entity.fields.get("from").unwrap_or_default().to_ascii_lowercase();
    let subject = entity.subject().to_ascii_lowercase();
    let fits = (from.contains("staff@hotmail.com") || from.contains("staff@outlook.com"))
        && subject.starts_with("complaint about message from");
    if !fits {
        return None;
    }
    let mailbox = entity.fields.get("x-hmxmroriginalrecipient").and_then(address::of_field);
    let feedback =
        Feedback { kind: "abuse".to_owned(), original_rcpt_to: mailbox.into_iter().collect(), ..Feedback::default() };
    Some(report(feedback, original, &Fields::default()))
}

fn report(feedback: Feedback, original: &Original, fields: &Fields) -> Report {
    let removal = || fields.get("removal-recipient").and_then(address::of_field);
    let mut mailboxes: Vec<Option<String>> = feedback.original_rcpt_to.iter().cloned().map(Some).collect();
    if mailboxes.is_empty() {
        mailboxes.push(removal().or_else(|| original.to.clone()));
    }
    let recipients = mailboxes
        .into_iter()
        .map(|mailbox| ReportedRecipient {
            mailbox,
            action: None::<Action>,
            diagnostic: feedback.kind.clone(),
            ..ReportedRecipient::default()
        })
        .collect();
    Report {
        recipients,
        reporting_mta: fields.get("reporting-mta").map(str::to_owned),
        envelope_id: fields.get("original-envelope-id").map(str::to_owned),
        feedback: Some(feedback),
        ..Report::new(ReportKind::Arf, original.clone())
    }
}
