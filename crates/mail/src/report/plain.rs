//! Bounces that follow no standard: prose, with the mailbox and what a host said somewhere in it.
//!
//! One reader for all: a line that introduces a mailbox opens a block, the lines below belong to it until the next one.
//! That covers qmail, Exim, Postfix without its report, sendmail's transcript, Exchange, Notes, OpenSMTPD, Gmail, GMX,
//! Yahoo, Zoho and many small programs. Must not know what the words mean.

use super::mime::{Entity, split_line};
use super::text::{cut, one_line};
use super::{Action, Original, RECIPIENTS_MAX, Report, ReportKind, ReportedRecipient, address, spoken};

/// Most octets of text that are searched for blocks.
const TEXT_MAX: usize = 64 * 1_024;
/// Most octets of one block.
const BLOCK_MAX: usize = 4 * 1_024;

/// What stands below one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) mailbox: String,
    pub(super) text: String,
}

/// The text for people: every plain part, else HTML, without quoting marks of a forwarded mail.
pub(super) fn text_of(entity: &Entity<'_>) -> String {
    let join = |kind: &str| {
        let mut text = String::new();
        for part in entity.parts.iter().filter(|part| part.kind == kind) {
            if text.len() < TEXT_MAX {
                text.push_str(cut(&part.text, TEXT_MAX));
                text.push('\n');
            }
        }
        text
    };
    let mut text = join("text/plain");
    if text.trim().is_empty() {
        text = join("text/html");
    }
    if text.trim().is_empty() {
        text = join("multipart/report") + &join("multipart/mixed");
    }
    let quoted = text.lines().filter(|line| line.starts_with("> ")).take(5).count();
    if quoted < 5 {
        return text;
    }
    text.lines().flat_map(|line| [line.strip_prefix('>').unwrap_or(line), "\n"]).collect()
}

/// Lines after which the copy of the original message follows, in lowercase, without rules and bars.
const RETURNED: &[&str] = &[
    "original message",
    "the original message follows",
    "the header of the original message",
    "this is a copy of",
    "returned message",
    "unsent message",
    "undelivered message",
    "message header follow",
    "message headers follow",
    "message text follows",
    "start of returned message",
    "the body of the message",
    "below this line is",
    "below is a copy of",
    "included is a copy",
    "enclosed is a copy",
    "here is a copy",
    "a copy of the original",
    "a copy of your message",
    "copy of the original",
    "your original message",
    "the following is a copy",
    "the first part of the message",
    "header of the original",
    "headers of the original",
    "text of your message",
    "returned mail follows",
    "message d'origine",
    "urspr\u{fc}ngliche nachricht",
    "messaggio originale",
];

/// The notice, and the returned message below it.
pub(super) fn split(text: &str) -> (&str, &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        let at = text.len() - rest.len();
        let bare = line.trim_matches(|c: char| c.is_whitespace() || "-|=_*+#>".contains(c));
        let lower = cut(bare, 64).to_lowercase();
        let seen = !text[..at].trim().is_empty();
        if seen
            && RETURNED.iter().any(|words| lower.starts_with(words))
            && bare.len() < 120
            && !ends_a_sentence_about_time(&lower)
        {
            return (&text[..at], after);
        }
        let lower = cut(line, 16).to_ascii_lowercase();
        let header = ["received: ", "return-path:", "message-id:", "mime-version:", "dkim-signature:"];
        if seen && header.iter().any(|name| lower.starts_with(name)) {
            return (&text[..at], rest);
        }
        rest = after;
    }
    (text, "")
}

/// "The original message was received at …" opens sendmail's notices.
fn ends_a_sentence_about_time(lower: &str) -> bool {
    lower.contains(" was received") || lower.contains(" was sent") || lower.contains("was not delivered")
}

/// Words before a mailbox after which it is the one that failed.
const LEADS: &[&str] = &[
    "recipient",
    "recipient:",
    "recipients:",
    "recipient address:",
    "recipient(s):",
    "address:",
    "rcpt to:",
    "rcpt:",
    "user",
    "user:",
    "mailbox",
    "mailbox:",
    "account",
    "mail to",
    "message to",
    "email to",
    "e-mail to",
    "delivery to",
    "deliver to",
    "delivered to",
    "deliver mail to",
    "delivering your mail to",
    "deliver your message to",
    "sent to",
    "addressed to",
    "intended for",
    "following address:",
    "following recipient:",
    "failed recipient:",
    "failed address:",
    "rejected recipient",
    "delivered to:",
    "unable to deliver message to",
    "undeliverable to:",
    "unknown user:",
    "allowed size:",
    "for user",
    "to user",
    "undeliverable to",
    ">>>",
    "-",
    "*",
    "=>",
    "(expanded from",
];

/// The mailbox that a line introduces, and what the line says of it.
fn introduced(line: &str) -> Option<(String, &str)> {
    let found = address::find(line)?;
    let lead = line[..found.start].trim().trim_end_matches(['<', '"', '\'', '(', '[']).trim().to_lowercase();
    let after = line[found.end..].trim_start_matches(['>', '"', '\'', ')', ']', ':', ',', ';', ' ', '\t', '.']);
    let known = lead.is_empty() || LEADS.iter().any(|words| lead == *words || lead.ends_with(&format!(" {words}")));
    let transcript = lead.starts_with(">>>") && lead != ">>>" || lead.starts_with("<<<") || lead.starts_with("...");
    let ours =
        ["sender", "from", "mail from"].iter().any(|word| lead.ends_with(word) || lead.ends_with(&format!("{word}:")));
    // Words before the mailbox may be all that is said: `Unknown user: ann@example.org`.
    let words = if lead.contains(char::is_alphabetic) { line } else { after };
    (known && !transcript && !ours).then_some((found.mailbox, words))
}

/// A line that ends a block: the title of the next section.
fn is_title(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("---") || line.starts_with("===") || line.starts_with("***") || line.starts_with("|---")
}

/// The blocks of a notice, one a mailbox. Our own mailbox, to which the report went, opens none.
pub(super) fn blocks(entity: &Entity<'_>, notice: &str) -> Vec<Block> {
    let to = entity.fields.get("to").and_then(address::find).map(|found| found.mailbox);
    let from = entity.fields.get("from").and_then(address::find).map(|found| found.mailbox);
    let about = |mailbox: &str| {
        let same = |other: &Option<String>| other.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(mailbox));
        !same(&to) && !same(&from) && !mailbox.to_ascii_lowercase().starts_with("mailer-daemon@")
    };
    let mut found: Vec<Block> = Vec::new();
    let mut current: Option<usize> = None;
    // Exim indents what belongs to a mailbox; the first line that is not indented closes the block.
    let (mut indented, mut filled) = (false, false);
    for line in cut(notice, TEXT_MAX).lines() {
        let inset = line.starts_with([' ', '\t']);
        let left = indented && filled && !inset && !line.trim().is_empty();
        if left || is_title(line) {
            current = None;
        }
        if is_title(line) {
            continue;
        }
        if let Some((mailbox, rest)) = introduced(line).filter(|(mailbox, _)| about(mailbox)) {
            let known = found.iter().position(|block| block.mailbox.eq_ignore_ascii_case(&mailbox));
            let at = match known {
                Some(at) => at,
                None if found.len() >= RECIPIENTS_MAX => break,
                None => {
                    found.push(Block { mailbox, text: String::new() });
                    found.len() - 1
                }
            };
            push(&mut found[at].text, rest);
            current = Some(at);
            (indented, filled) = (inset, false);
        } else if let Some(at) = current {
            filled |= inset && !line.trim().is_empty();
            push(&mut found[at].text, line);
        }
    }
    found
}

fn push(text: &mut String, line: &str) {
    if text.len() + line.len() < BLOCK_MAX && !line.trim().is_empty() && !text.contains(line.trim()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line.trim());
    }
}

/// The whole notice in one line, for what the blocks do not tell.
pub(super) fn context(notice: &str) -> String {
    let line = one_line(cut(notice, BLOCK_MAX));
    cut(&line, BLOCK_MAX).to_owned()
}

pub(super) fn read(entity: &Entity<'_>, original: &Original) -> Option<Report> {
    let text = text_of(entity);
    let (notice, _) = split(&text);
    if !is_bounce(entity, notice) {
        return None;
    }
    let mut blocks = blocks(entity, notice);
    let failed: Vec<String> = entity
        .fields
        .all("x-failed-recipients")
        .flat_map(|value| value.split(','))
        .filter_map(address::find)
        .map(|found| found.mailbox)
        .take(RECIPIENTS_MAX)
        .collect();
    if !failed.is_empty() {
        // Exim and Gmail say whom it is about; other mailboxes in the text are decoration.
        let mut named: Vec<Block> = Vec::new();
        let lone = failed.len() == 1 && blocks.len() == 1;
        for mailbox in failed {
            let text = blocks
                .iter()
                .find(|block| lone || block.mailbox.eq_ignore_ascii_case(&mailbox))
                .map(|block| block.text.clone())
                .unwrap_or_default();
            if !named.iter().any(|block| block.mailbox.eq_ignore_ascii_case(&mailbox)) {
                named.push(Block { mailbox, text });
            }
        }
        blocks = named;
    }
    if blocks.is_empty() {
        blocks.extend(anybody(notice, original).map(|mailbox| Block { mailbox, text: String::new() }));
    }
    let single = blocks.len() == 1;
    let delayed = is_delay(entity, notice);
    let recipients: Vec<ReportedRecipient> =
        blocks.into_iter().map(|block| recipient(block, notice, single, delayed)).collect();
    if recipients.is_empty() {
        return None;
    }
    Some(Report { recipients, ..Report::new(ReportKind::Dsn, original.clone()) })
}

/// The mailbox when no line introduces one: in a sentence, else that to which the returned message went.
fn anybody(notice: &str, original: &Original) -> Option<String> {
    let sentence = notice.lines().filter(|line| !line.to_ascii_lowercase().contains("from")).find_map(address::find);
    original.to.clone().or(sentence.map(|found| found.mailbox))
}

fn recipient(block: Block, notice: &str, single: bool, delayed: bool) -> ReportedRecipient {
    let told = if block.text.trim().is_empty() && single { notice } else { block.text.as_str() };
    let wider = if single { notice } else { told };
    let code = spoken::code(told).or_else(|| spoken::code(wider));
    let whole = code.and_then(|code| spoken::whole_reply(wider, code)).unwrap_or_default();
    let line = one_line(told);
    // Where a transcript quotes the host, its words are worth more than the prose around them.
    let quoted = block.text.trim().is_empty() && !whole.is_empty();
    let diagnostic = if quoted || whole.len() > line.len() { whole } else { line };
    let step = || spoken::stage_of_transcript(wider, code).or_else(|| spoken::stage(wider));
    ReportedRecipient {
        mailbox: Some(block.mailbox),
        action: Some(if delayed { Action::Delayed } else { Action::Failed }),
        status: spoken::status(told).or_else(|| spoken::status(wider)),
        code,
        diagnostic: spoken::words(&diagnostic),
        stage: spoken::stage(told).or_else(step),
        context: context(wider),
        ..ReportedRecipient::default()
    }
}

/// Senders of bounces, in the From field.
const SENDERS: &[&str] = &[
    "mailer-daemon",
    "mailer daemon",
    "mail-daemon",
    "maildaemon",
    "postmaster",
    "post_master",
    "mail delivery",
    "mail administrator",
    "mail system",
    "system administrator",
    "internet mail delivery",
    "mdaemon",
    "delivery subsystem",
    "mailerdaemon",
    "bounce@",
    "bounces@",
    "noreply-dsn",
    "interscan",
    "mailmarshal",
    "mail deliverer",
    "daemon@",
];

/// Subjects of bounces.
const SUBJECTS: &[&str] = &[
    "undeliver",
    "non-deliver",
    "nondeliver",
    "non deliver",
    "delivery status",
    "delivery fail",
    "delivery report",
    "delivery notif",
    "delivery problem",
    "delivery error",
    "delivery delay",
    "delivery has failed",
    "failed delivery",
    "failed mail",
    "failure notice",
    "failure delivery",
    "mail delivery",
    "mail failure",
    "mail failed",
    "mail system error",
    "mail error",
    "mail status",
    "returned mail",
    "return mail",
    "returned to sender",
    "returned message",
    "returning message",
    "could not be delivered",
    "could not send",
    "couldn't be delivered",
    "cannot send message",
    "can't be delivered",
    "cannot be delivered",
    "not delivered",
    "unable to deliver",
    "undelivrable",
    "message rejected",
    "message delayed",
    "warning: could not",
    "mta-blocked",
    "unzustellbar",
    "unzustellbare",
    "nicht zugestellt",
    "non remis",
    "non recapitabile",
    "mancata consegna",
    "mancato recapito",
    "zwrot wiadomo",
    "nie dostarczono",
    "no se puede entregar",
    "no entregado",
    "n\u{e3}o entregue",
    "delivery-status",
    "\u{914d}\u{4fe1}",
    "\u{9000}\u{4fe1}",
];

/// Words of bounces in their text.
const PHRASES: &[&str] = &[
    "could not be delivered",
    "couldn't be delivered",
    "cannot be delivered",
    "can't be delivered",
    "could not deliver",
    "couldn't deliver",
    "not be delivered",
    "was not delivered",
    "unable to deliver",
    "wasn't able to deliver",
    "undeliverable",
    "delivery failed",
    "delivery has failed",
    "delivery to the following",
    "did not reach the following",
    "failed to deliver",
    "failed permanently",
    "permanent error",
    "permanent fatal error",
    "fatal error",
    "error message below",
    "error was encountered",
    "error delivering",
    "error occurred while attempting to deliver",
    "occurred while trying to deliver",
    "trouble delivering",
    "recipients were affected",
    "did not receive this message",
    "delivery errors",
    "could not be sent",
    "server message",
    "transcript of session",
    "delivery problems",
    "has been delayed",
    "returned to sender",
    "user unknown",
    "unknown user",
    "failed addresses",
    "failure reasons",
    "rejected by",
    "non-delivery",
];

/// Two of: a bounce's sender, subject, words, no way back, a refusal's code. An `X-Failed-Recipients` suffices.
fn is_bounce(entity: &Entity<'_>, notice: &str) -> bool {
    let fields = &entity.fields;
    if fields.has("x-failed-recipients") {
        return true;
    }
    let from = super::text::decode_words(fields.get("from").unwrap_or_default()).to_lowercase();
    let subject = entity.subject().to_lowercase();
    let text = cut(notice, 8 * 1_024).to_lowercase();
    let sender = SENDERS.iter().any(|words| from.contains(words)) || from.contains("<>");
    let titled = SUBJECTS.iter().any(|words| subject.contains(words));
    let worded = PHRASES.iter().any(|words| text.contains(words));
    let no_way_back = fields.get("return-path").is_some_and(|path| path.trim().trim_matches(['<', '>']).is_empty());
    let coded = spoken::code(notice).is_some_and(|code| code >= 400);
    let marks = [sender, titled, worded, no_way_back, coded];
    // Somebody who asks about a bounce writes in the same words: a machine must be behind it.
    let machine = sender || no_way_back || fields.has("auto-submitted");
    let forwarded = titled && worded && coded;
    marks.iter().filter(|mark| **mark).count() >= 2 && machine || forwarded
}

/// A warning that more tries follow.
fn is_delay(entity: &Entity<'_>, notice: &str) -> bool {
    let subject = entity.subject().to_lowercase();
    let text = cut(notice, 4 * 1_024).to_lowercase();
    let words = [
        "delayed",
        "(delay)",
        "warning message only",
        "will be retried",
        "will keep trying",
        "still being retried",
        "will continue to try",
    ];
    let last = ["has been in the queue too long", "giving up", "given up", "failed permanently"];
    words.iter().any(|words| subject.contains(words) || text.contains(words))
        && !last.iter().any(|words| text.contains(words))
}
