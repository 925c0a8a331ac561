//! Reports of RFC 3464, also when their parts are mislabelled, when groups lack their empty line, and when the fields
//! stand in plain text.
//!
//! Must not know what a status means.

use super::mime::{Entity, Fields, split_line};
use super::text::cut;
use super::{Action, Original, RECIPIENTS_MAX, Report, ReportKind, ReportedRecipient, address, plain, spoken};
use crate::reply::EnhancedStatus;

pub(super) fn read(entity: &Entity<'_>, original: &Original) -> Option<Report> {
    let labelled = entity.part(&["message/delivery-status", "message/global-delivery-status"]);
    let notice = plain::text_of(entity);
    let (notice, _) = plain::split(&notice);
    let in_text;
    let status = match labelled.filter(|text| has_recipient(text)) {
        Some(text) => text,
        None => {
            in_text = fields_in_text(notice)?;
            in_text.as_str()
        }
    };
    let groups = groups(status);
    let message = groups.iter().find(|group| !is_recipient(group));
    let per_message =
        |name: &str| groups.iter().find_map(|group| group.get(name)).map(|value| cut(value, 998).to_owned());
    let mut recipients: Vec<ReportedRecipient> =
        groups.iter().filter(|group| is_recipient(group)).map(recipient).collect();
    recipients.truncate(RECIPIENTS_MAX);
    if recipients.is_empty() {
        return None;
    }
    let blocks = plain::blocks(entity, notice);
    for recipient in &mut recipients {
        enrich(recipient, notice, &blocks);
    }
    let reporting_mta = message.and_then(|fields| fields.get("reporting-mta")).map(name);
    Some(Report {
        recipients,
        envelope_id: per_message("original-envelope-id"),
        reporting_mta,
        ..Report::new(ReportKind::Dsn, original.clone())
    })
}

fn is_recipient(group: &Fields) -> bool {
    ["final-recipient", "original-recipient", "x-actual-recipient"].iter().any(|name| group.has(name))
}

fn has_recipient(text: &str) -> bool {
    ["final-recipient:", "original-recipient:", "x-actual-recipient:"]
        .iter()
        .any(|name| super::text::find_ignore_case(text, name).is_some())
}

/// Groups of fields; a field that comes a second time begins a new group even without an empty line.
fn groups(text: &str) -> Vec<Fields> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && found.len() < RECIPIENTS_MAX * 2 {
        let (fields, after) = Fields::read(rest);
        let moved = after.len() < rest.len();
        rest = if moved { after } else { split_line(rest).1 };
        if !fields.is_empty() {
            found.extend(fields.split_at_repeats(&["final-recipient", "original-recipient", "action", "status"]));
        }
    }
    found
}

/// Fields of a report among prose, from the first that is one.
fn fields_in_text(notice: &str) -> Option<String> {
    const NAMES: &[&str] = &[
        "reporting-mta:",
        "arrival-date:",
        "received-from-mta:",
        "original-envelope-id:",
        "final-recipient:",
        "original-recipient:",
        "action:",
        "status:",
        "remote-mta:",
        "diagnostic-code:",
        "last-attempt-date:",
        "will-retry-until:",
    ];
    if !has_recipient(notice) {
        return None;
    }
    let mut out = String::new();
    let mut inside = false;
    for line in notice.lines() {
        let line = line.trim();
        let lower = cut(line, 24).to_ascii_lowercase();
        let field = NAMES.iter().any(|name| lower.starts_with(name));
        if field {
            inside = true;
            out.push_str(line);
            out.push('\n');
        } else if line.is_empty() {
            out.push('\n');
            inside = false;
        } else if inside {
            out.push(' ');
            out.push_str(line);
            out.push('\n');
        }
    }
    let has_status = super::text::find_ignore_case(&out, "status:").is_some();
    let has_action = super::text::find_ignore_case(&out, "action:").is_some();
    (has_recipient(&out) && (has_status || has_action)).then_some(out)
}

/// `dns; host (comment)` without kind and comment.
fn name(value: &str) -> String {
    let value = value.split_once(';').map_or(value, |(_, name)| name);
    cut(value.split('(').next().unwrap_or_default().trim(), 255).to_owned()
}

/// The words of a Diagnostic-Code without their kind.
fn words(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, words)) if !kind.trim().contains(' ') && kind.len() <= 24 => words.trim(),
        _ => value.trim(),
    }
}

fn recipient(group: &Fields) -> ReportedRecipient {
    let mailbox = |name: &str| group.get(name).and_then(address::of_field);
    let actual = mailbox("final-recipient").or_else(|| mailbox("x-actual-recipient"));
    let original = mailbox("original-recipient");
    let said = group.all("diagnostic-code").map(words).find(|words| !words.is_empty()).unwrap_or_default();
    let own = group.get("status").unwrap_or_default();
    let own_status =
        EnhancedStatus::parse(own.split([' ', '(', ';']).next().unwrap_or_default()).or_else(|| spoken::status(own));
    // A status may carry its meaning as a comment.
    let comment = own.split_once('(').map(|(_, comment)| comment.trim_end_matches(')')).unwrap_or_default();
    let diagnostic = if said.is_empty() { comment } else { said };
    ReportedRecipient {
        mailbox: actual.or_else(|| original.clone()),
        original_mailbox: original,
        action: group.get("action").and_then(Action::parse),
        status: spoken::status(said).or(own_status),
        code: spoken::code(said),
        diagnostic: spoken::words(diagnostic),
        stage: spoken::stage(said),
        remote_mta: group.get("remote-mta").map(name).filter(|name| !name.is_empty()),
        will_retry_until: group.get("will-retry-until").map(|value| cut(value, 64).to_owned()),
        context: String::new(),
    }
}

/// What the part for people tells beyond the fields: the step, the whole of a long reply, the words when the fields
/// have none.
fn enrich(recipient: &mut ReportedRecipient, notice: &str, blocks: &[plain::Block]) {
    let own = recipient.mailbox.as_deref().unwrap_or_default();
    let also = recipient.original_mailbox.as_deref().unwrap_or_default();
    let block = blocks
        .iter()
        .find(|block| block.mailbox.eq_ignore_ascii_case(own) || block.mailbox.eq_ignore_ascii_case(also))
        .or(if blocks.len() == 1 { blocks.first() } else { None });
    let told = block.map(|block| block.text.as_str()).unwrap_or_default();
    if recipient.diagnostic.is_empty() && !told.is_empty() {
        recipient.diagnostic = spoken::words(told);
    }
    if recipient.code.is_none() {
        recipient.code = spoken::code(told);
        let blanket = recipient.status.is_none_or(|status| (status.subject, status.detail) == (0, 0));
        if blanket {
            recipient.status = spoken::status(told).or(recipient.status);
        }
    }
    if let Some(code) = recipient.code
        && let Some(whole) = spoken::whole_reply(notice, code)
        && whole.len() > recipient.diagnostic.len()
    {
        recipient.diagnostic = spoken::words(&whole);
    }
    let step = || spoken::stage(told).or_else(|| spoken::stage_of_transcript(notice, recipient.code));
    recipient.stage = recipient.stage.or_else(step);
    if blocks.len() <= 1 {
        recipient.stage = recipient.stage.or_else(|| spoken::stage(notice));
    }
    recipient.context = plain::context(notice);
}
