//! What makes a sender or a subject suspicious to the large providers (SR-26). Must not know templates.

use postrider_domain::campaign::{Draft, Finding};
use postrider_mail::Mailbox;

use crate::limits;

/// Domains whose owners forbid others to send for them: mail from there fails DMARC or is refused.
const FREEMAIL: [&str; 16] = [
    "gmail.com",
    "googlemail.com",
    "yahoo.com",
    "ymail.com",
    "rocketmail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "aol.com",
    "icloud.com",
    "me.com",
    "mac.com",
    "gmx.de",
    "web.de",
    "mail.ru",
];

/// Marks that look like a badge of a verified sender.
const BADGES: [char; 8] = ['✓', '✔', '✅', '☑', '🔵', '🛡', '⭐', '🏅'];

/// Checks From and Reply-To; gives the mailboxes where they are usable.
pub fn sender(draft: &Draft, findings: &mut Vec<Finding>) -> (Option<Mailbox>, Option<Mailbox>) {
    let from = mailbox(&draft.from_mailbox, "from_mailbox", "bad_from", "From", findings);
    let reply_to = if draft.reply_to.trim().is_empty() {
        None
    } else {
        mailbox(&draft.reply_to, "reply_to", "bad_reply_to", "Reply-To", findings)
    };
    if let Some(from) = &from {
        let domain = from.domain().as_str();
        let yahoo = domain.strip_prefix("yahoo.").is_some_and(|country| !country.is_empty());
        if FREEMAIL.contains(&domain) || yahoo {
            findings.push(Finding::error(
                "freemail_from",
                "from_mailbox",
                format!("{domain} lets only its own servers send for it: use a mailbox of your own domain"),
            ));
        }
    }
    name(draft, findings);
    (from, reply_to)
}

fn mailbox(text: &str, field: &str, code: &str, header: &str, findings: &mut Vec<Finding>) -> Option<Mailbox> {
    match Mailbox::parse(text.trim()) {
        Ok(mailbox) if mailbox.needs_smtputf8() => {
            findings.push(Finding::error(
                code,
                field,
                format!(
                    "the {header} mailbox has letters beyond ASCII before the @, which many hosts refuse: use another"
                ),
            ));
            None
        }
        Ok(mailbox) => Some(mailbox),
        Err(error) => {
            findings.push(Finding::error(code, field, format!("the {header} mailbox is not usable: {error}")));
            None
        }
    }
}

fn name(draft: &Draft, findings: &mut Vec<Finding>) {
    let name = draft.from_name.trim();
    if postrider_mail::header::has_control(name) {
        findings.push(Finding::error(
            "control_character",
            "from_name",
            "the From name holds a line break or control character: remove it",
        ));
    }
    if name.len() > limits::LINE_BYTES {
        findings.push(Finding::error(
            "too_long",
            "from_name",
            format!("the From name is longer than {} bytes: shorten it", limits::LINE_BYTES),
        ));
    }
    if name.contains("{{") || name.contains("{%") || name.contains("{#") {
        findings.push(Finding::error(
            "template_in_from_name",
            "from_name",
            "the From name is the same for everybody: the large providers do not accept the recipient's name there; remove the variable",
        ));
    }
    if name.contains(BADGES) {
        findings.push(Finding::warning(
            "badge_in_from_name",
            "from_name",
            "a sign that looks like a badge in the From name makes providers suspicious: remove it",
        ));
    }
    if name.contains('@') {
        findings.push(Finding::warning(
            "mailbox_in_from_name",
            "from_name",
            "a mailbox as From name looks like a disguise: write your name",
        ));
    }
    let (from, subject) = (fold(name), fold(&draft.subject));
    let shares = subject.chars().count() >= 8 && from.contains(&subject);
    if shares || name.contains('%') || name.contains('!') {
        findings.push(Finding::warning(
            "subject_in_from_name",
            "from_name",
            "the From name should name the sender, not the subject or an offer",
        ));
    }
}

/// Looks at the subject as it is written.
pub fn subject(draft: &Draft, findings: &mut Vec<Finding>) {
    let lower = draft.subject.trim_start().to_lowercase();
    let prefix =
        ["re:", "fwd:", "fw:", "aw:", "wg:", "antw:", "sv:", "vs:", "rif:", "odp:", "tr:", "rv:", "enc:", "res:"]
            .into_iter()
            .find(|prefix| lower.starts_with(prefix));
    if let Some(prefix) = prefix {
        findings.push(
            Finding::warning(
                "reply_subject",
                "subject",
                format!(
                    "the subject begins with `{prefix}` but answers nothing, which providers take for deceit: remove it"
                ),
            )
            .at(1, 1),
        );
    }
    let letters: Vec<char> = draft.subject.chars().filter(|c| c.is_alphabetic()).collect();
    if letters.len() >= 12 && letters.iter().all(|c| c.is_uppercase()) {
        findings.push(Finding::warning(
            "loud_subject",
            "subject",
            "the subject is written in capitals only: write it as a sentence",
        ));
    }
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
