//! What a host said, dug out of a line of prose: basic code, enhanced status, and the step at which it said so.
//!
//! Must not know what the codes mean for a recipient.

use std::sync::LazyLock;

use regex::Regex;

use super::text::{cut, one_line};
use crate::reply::EnhancedStatus;
use crate::stage::Stage;

/// A code with something of a reply before and after it: not a year, not a port, not a part of an address.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?:^|[\s:;'"(<>#=,|\]])([245][0-9]{2})(?:[\s,:'-]|$)"#).expect("a test compiles it")
});
static STATUS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^0-9.])([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[^0-9.]|\.(?:[^0-9]|$)|$)")
        .expect("a test compiles it")
});

/// How much of a text is searched, in octets.
const SEARCHED: usize = 4 * 1_024;

/// The basic code: of a refusal if there is one.
pub(super) fn code(text: &str) -> Option<u16> {
    let text = cut(text, SEARCHED);
    let mut positive = None;
    let mut at = 0;
    // The blank after one code may be the blank before the next.
    while let Some(found) = CODE.captures_at(text, at) {
        let group = found.get(1).expect("the pattern has a group");
        at = group.end();
        let Ok(code) = group.as_str().parse::<u16>() else { continue };
        let unit = text[at..].trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        let counts = ["seconds", "minutes", "hours", "days", "messages", "bytes", "kb", "mb", "recipients"];
        if counts.contains(&unit.to_ascii_lowercase().as_str()) {
            continue;
        }
        // 421 to 599: beyond that no host uses a code.
        match code {
            200..=299 => positive = positive.or(Some(code)),
            400..=599 => return Some(code),
            _ => {}
        }
    }
    positive
}

/// The enhanced status: the first that is no success, else the first.
pub(super) fn status(text: &str) -> Option<EnhancedStatus> {
    let text = cut(text, SEARCHED);
    let read = |found: regex::Captures<'_>| {
        let number = |at: usize| found.get(at).and_then(|group| group.as_str().parse::<u16>().ok());
        let class = u8::try_from(number(1)?).ok()?;
        Some(EnhancedStatus::new(class, number(2)?, number(3)?))
    };
    let all: Vec<EnhancedStatus> = STATUS.captures_iter(text).filter_map(read).take(20).collect();
    let failures = || all.iter().filter(|status| status.class != 2);
    // `5.0.0 … 5.1.1`: the one that says more.
    failures()
        .find(|status| (status.subject, status.detail) != (0, 0))
        .or_else(|| failures().next())
        .or(all.first())
        .copied()
}

/// Words that name the step; looked for in lowercase.
const STEPS: &[(&str, Stage)] = &[
    ("in reply to end of data", Stage::Dot),
    ("after end of data", Stage::Dot),
    ("failed after i sent the message", Stage::Dot),
    ("after sending message body", Stage::Dot),
    ("[message_body]", Stage::Dot),
    ("[end_of_data]", Stage::Dot),
    ("[data_end]", Stage::Dot),
    ("in reply to rcpt to", Stage::Rcpt),
    ("in response to the rcpt to command", Stage::Rcpt),
    ("in response to rcpt to", Stage::Rcpt),
    ("after rcpt to", Stage::Rcpt),
    ("does not like recipient", Stage::Rcpt),
    ("did not like our rcpt to", Stage::Rcpt),
    ("[rcpt_to]", Stage::Rcpt),
    ("for rcpt to response", Stage::Rcpt),
    ("following rcpt command", Stage::Rcpt),
    ("rejected recipient <", Stage::Rcpt),
    ("while sending rcpt to", Stage::Rcpt),
    ("while sending mail from", Stage::Mail),
    ("while sending end of data", Stage::Dot),
    ("following mail command", Stage::Mail),
    ("following data command", Stage::Data),
    ("in reply to mail from", Stage::Mail),
    ("in response to the mail from command", Stage::Mail),
    ("in response to mail from", Stage::Mail),
    ("after mail from", Stage::Mail),
    ("did not like our mail from", Stage::Mail),
    ("but sender was rejected", Stage::Mail),
    ("[mail_from]", Stage::Mail),
    ("in reply to data command", Stage::Data),
    ("did not like our data", Stage::Data),
    ("after data", Stage::Data),
    ("in reply to ehlo", Stage::Ehlo),
    ("in reply to helo", Stage::Ehlo),
    ("in response to the ehlo", Stage::Ehlo),
    ("in response to the helo", Stage::Ehlo),
    ("after ehlo", Stage::Ehlo),
    ("after helo", Stage::Ehlo),
    ("did not like our ehlo", Stage::Ehlo),
    ("but greeting failed", Stage::Greeting),
    ("refused to talk to me", Stage::Greeting),
    ("initial connection", Stage::Greeting),
    ("initial server greeting", Stage::Greeting),
    ("after initial banner", Stage::Greeting),
    ("[connect]", Stage::Greeting),
];

/// The step at which the host said it, when the text tells.
pub(super) fn stage(text: &str) -> Option<Stage> {
    let text = one_line(cut(text, SEARCHED)).to_ascii_lowercase();
    STEPS.iter().filter_map(|(words, stage)| text.find(words).map(|at| (at, *stage))).min().map(|(_, stage)| stage)
}

/// The step by a transcript: `>>> RCPT To:<…>` before `<<< 550 …`.
///
/// `>>> DATA` tells nothing: who pipelines reads the answer to RCPT after having sent DATA.
pub(super) fn stage_of_transcript(text: &str, code: Option<u16>) -> Option<Stage> {
    let mut last = None;
    for line in cut(text, SEARCHED).lines() {
        let line = line.trim();
        let line = line.strip_prefix("Sent").or_else(|| line.strip_prefix("Received")).unwrap_or(line).trim_start();
        if let Some(command) = line.strip_prefix(">>>") {
            let command = cut(command.trim_start(), 4).to_ascii_uppercase();
            last = match command.as_str() {
                "RCPT" => Some(Stage::Rcpt),
                "MAIL" => Some(Stage::Mail),
                "EHLO" | "HELO" => Some(Stage::Ehlo),
                "." => Some(Stage::Dot),
                _ => None,
            };
        } else if let Some(reply) = line.strip_prefix("<<<") {
            let said = reply.trim_start().get(..3).and_then(|digits| digits.parse::<u16>().ok());
            let refusal = said.is_some_and(|said| said >= 400);
            if refusal && (code.is_none() || said == code) {
                return last;
            }
        }
    }
    None
}

/// The words of a host in one line, without what the reporting host added behind them.
pub(super) fn words(text: &str) -> String {
    let line = one_line(text);
    let said = line.rfind(" (in reply to ").map_or(line.as_str(), |at| &line[..at]);
    let quoting = ["error that the other server returned was: ", "gave this error: "];
    let said = quoting.iter().find_map(|words| said.split_once(words)).map_or(said, |(_, quoted)| quoted);
    cut(said, super::DIAGNOSTIC_MAX).to_owned()
}

/// Every line `<<< CODE…` of a transcript, joined: the whole of a reply of which a report quotes the first line only.
pub(super) fn whole_reply(text: &str, code: u16) -> Option<String> {
    let wanted = code.to_string();
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some(reply) = line.trim().strip_prefix("<<<") else { continue };
        let reply = reply.trim_start();
        if reply.starts_with(&wanted) {
            lines.push(reply);
            if reply.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
    }
    (!lines.is_empty()).then(|| one_line(&lines.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_in_prose() {
        for (text, wanted) in [
            ("host mx.example.org[192.0.2.1] said: 550 5.1.1 unknown", Some(550)),
            ("550-5.7.1 first", Some(550)),
            ("Remote Server returned '554 5.4.1 x'", Some(554)),
            ("connect to example.org[203.0.113.225]:25: Connection timed out", None),
            ("unable to deliver in 840 minutes.<421 4.4.2 Connection timed out>", Some(421)),
            ("tried 500 messages", None),
            ("host mx.example.org said: 550\n    User unknown", Some(550)),
            ("ERROR_CODE :550, ERROR_CODE :Requested", Some(550)),
            ("220-x 421 4.2.1 refused", Some(421)),
            ("250 2.0.0 ok", Some(250)),
            ("on 29 Apr 2009 23:34:45 +0900", None),
            ("#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##", Some(550)),
        ] {
            assert_eq!(code(text), wanted, "{text}");
        }
    }

    #[test]
    fn statuses_in_prose() {
        for (text, wanted) in [
            ("550 5.1.1 unknown", Some("5.1.1")),
            ("Sorry. (#5.1.1)", Some("5.1.1")),
            ("4.4.7.", Some("4.4.7")),
            ("host 5.1.1.1 said", None),
            ("192.0.2.5.1.1", None),
            ("5.0.0 x 5.7.26 y", Some("5.7.26")),
            ("2.0.0 x", Some("2.0.0")),
        ] {
            assert_eq!(status(text).map(|status| status.to_string()).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn steps() {
        assert_eq!(stage("x (in reply to end of DATA\n command)"), Some(Stage::Dot));
        assert_eq!(stage("192.0.2.1 does not like recipient."), Some(Stage::Rcpt));
        let session = "... while talking to mx:\n>>> RCPT To:<a@b>\n<<< 550 5.1.1 no\n>>> QUIT\n<<< 221 bye";
        assert_eq!(stage_of_transcript(session, Some(550)), Some(Stage::Rcpt));
        assert_eq!(stage_of_transcript(">>> DATA\n<<< 550 no", None), None);
        assert_eq!(whole_reply("<<< 552-5.7.0 a\n<<< 552 5.7.0 b\n<<< 552 c", 552).unwrap(), "552-5.7.0 a 552 5.7.0 b");
    }
}
