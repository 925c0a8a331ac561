//! Messages that no host failed to deliver: dispositions, automatic answers, wishes to be left out.
//!
//! Must not know bounces; those have been looked for before.

use super::address;
use super::mime::{Entity, Fields};
use super::original::message_id;
use super::text::one_line;
use super::{Disposition, Original, Report, ReportKind, ReportedRecipient};

/// A disposition notification (RFC 8098).
pub(super) fn disposition(entity: &Entity<'_>, original: &Original) -> Option<Report> {
    let text = entity.part(&["message/disposition-notification", "message/global-disposition-notification"])?;
    let (fields, _) = Fields::read(text.trim_start());
    let said = one_line(fields.get("disposition").unwrap_or_default()).to_ascii_lowercase();
    let (modes, kinds) = said.split_once(';').unwrap_or(("", said.as_str()));
    let (action_mode, sending_mode) = modes.split_once('/').unwrap_or((modes, ""));
    let (kind, modifiers) = kinds.split_once('/').unwrap_or((kinds, ""));
    let words =
        |text: &str| text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect();
    let final_recipient = fields.get("final-recipient").and_then(address::of_field);
    let disposition = Disposition {
        action_mode: action_mode.trim().to_owned(),
        sending_mode: sending_mode.trim().to_owned(),
        kind: kind.trim().to_owned(),
        modifiers: words(modifiers),
        final_recipient: final_recipient.clone(),
        original_message_id: fields.get("original-message-id").and_then(message_id),
    };
    let mut original = original.clone();
    original.message_id = disposition.original_message_id.clone().or(original.message_id);
    let recipient = ReportedRecipient {
        mailbox: final_recipient,
        original_mailbox: fields.get("original-recipient").and_then(address::of_field),
        diagnostic: disposition.kind.clone(),
        ..ReportedRecipient::default()
    };
    Some(Report {
        recipients: vec![recipient],
        disposition: Some(disposition),
        reporting_mta: fields.get("reporting-ua").map(str::to_owned),
        ..Report::new(ReportKind::Mdn, original)
    })
}

/// Subjects that mean "unsubscribe" when they are all that is said.
const OPT_OUT: &[&str] = &[
    "unsubscribe",
    "unsub",
    "opt-out",
    "opt out",
    "optout",
    "remove",
    "stop",
    "cancel subscription",
    "disiscrivimi",
    "cancellami",
    "disiscrizione",
    "cancella iscrizione",
    "d\u{e9}sinscription",
    "d\u{e9}sabonnement",
    "abmelden",
    "abbestellen",
    "wypisz",
    "rezygnacja",
    "baja",
    "darse de baja",
];

/// The news of a message that is no report: its recipient entry stands for the one who wrote it.
pub(super) fn read(entity: &Entity<'_>, original: &Original) -> Report {
    let kind = kind(entity);
    let mailbox = entity.fields.get("from").and_then(address::find).map(|found| found.mailbox);
    let recipients = match kind {
        ReportKind::AutoReply | ReportKind::OptOut => {
            vec![ReportedRecipient { mailbox, ..ReportedRecipient::default() }]
        }
        ReportKind::Dsn | ReportKind::Arf | ReportKind::Mdn | ReportKind::Other => Vec::new(),
    };
    Report { recipients, ..Report::new(kind, original.clone()) }
}

fn kind(entity: &Entity<'_>) -> ReportKind {
    // A mail program that unsubscribes for its reader marks the message as automatic, too.
    if is_opt_out(entity) {
        ReportKind::OptOut
    } else if is_automatic(entity) {
        ReportKind::AutoReply
    } else {
        ReportKind::Other
    }
}

fn is_opt_out(entity: &Entity<'_>) -> bool {
    let subject = entity.subject().trim().trim_end_matches(['.', '!']).to_lowercase();
    let subject = subject.strip_prefix("re:").unwrap_or(&subject).trim();
    if OPT_OUT.contains(&subject) || subject.starts_with("unsubscribe ") && subject.len() < 80 {
        return true;
    }
    let to = entity.fields.get("to").and_then(address::find).map(|found| found.mailbox.to_ascii_lowercase());
    to.is_some_and(|to| {
        ["unsubscribe", "unsub-", "unsub+", "opt-out", "optout"].iter().any(|word| to.starts_with(word))
    })
}

/// Subjects of answers by machines, at their beginning.
const AUTOMATIC: &[&str] = &[
    "auto:",
    "auto reply",
    "auto-reply",
    "autoreply",
    "auto response",
    "auto-response",
    "automatic reply",
    "automatic response",
    "automated reply",
    "out of office",
    "out of the office",
    "out-of-office",
    "vacation",
    "on vacation",
    "away from my",
    "i am away",
    "i'm away",
    "risposta automatica",
    "risposta automatica:",
    "fuori ufficio",
    "assente",
    "automatische antwort",
    "abwesenheit",
    "abwesenheitsnotiz",
    "r\u{e9}ponse automatique",
    "absence du bureau",
    "absence",
    "respuesta autom\u{e1}tica",
    "fuera de la oficina",
    "odpowied\u{17a} automatyczna",
    "autoodpowied\u{17a}",
    "resposta autom\u{e1}tica",
    "automatisch antwoord",
    "automatiskt svar",
    "autosvar",
    "\u{81ea}\u{52d5}\u{5fdc}\u{7b54}",
    "\u{81ea}\u{52a8}\u{56de}\u{590d}",
];

/// RFC 3834 5 and the fields that came before it.
fn is_automatic(entity: &Entity<'_>) -> bool {
    let lower = |name: &str| entity.fields.get(name).map(|value| value.trim().to_ascii_lowercase());
    if lower("auto-submitted").is_some_and(|value| !value.starts_with("no")) {
        return true;
    }
    let marked =
        ["x-autoreply", "x-autorespond", "x-autoresponder", "x-autogenerated", "x-vacation", "x-mail-autoreply"];
    if marked.iter().any(|name| entity.fields.has(name)) {
        return true;
    }
    if lower("x-auto-response-suppress").is_some() && lower("in-reply-to").is_some() {
        return true;
    }
    if lower("precedence").is_some_and(|value| value.starts_with("auto_reply") || value.starts_with("auto-reply")) {
        return true;
    }
    let subject = entity.subject().to_lowercase();
    let subject = subject.trim().trim_start_matches("re:").trim();
    AUTOMATIC.iter().any(|words| subject.starts_with(words))
}
