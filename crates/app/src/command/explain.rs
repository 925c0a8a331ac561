//! `postrider explain`: what a reply or a bounce means, by the same rules as the engine: those of the operator's file, then those
//! that ship. Needs no server, so rules that a workspace set through the API are not asked.
//!
//! Wiring only: reading is done in `mail`, judging in `domain`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use postrider_domain::bounce::report::judge_report;
use postrider_domain::bounce::{About, BounceClass, BounceConsequence, Origin, RuleBook, Verdict, judge_reply};
use postrider_mail::report::{self, Report, ReportKind, ReportedRecipient};
use postrider_mail::{EnhancedStatus, Reply, Stage};
use serde_json::{Map, Value, json};

use super::Show;
use crate::cli::ExplainArgs;

/// Explains each argument; one line each for programs. The exit code is 1 when one of them could not be read.
/// `configured` is the file of rules that the settings name, if they can be read.
pub fn run(show: Show, args: &ExplainArgs, configured: anyhow::Result<Option<PathBuf>>) -> anyhow::Result<ExitCode> {
    let Some(stage) = Stage::parse(&args.stage.to_ascii_lowercase()) else {
        let known: Vec<&str> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
        bail!("could not understand --stage {}: it is one of {}", args.stage, known.join(", "));
    };
    let own = rules(args, configured)?;
    let book = own.as_ref().unwrap_or(RuleBook::built_in());
    let site = args.site.as_deref().and_then(|site| book.site_of(site));
    if let (Some(name), None) = (&args.site, site) {
        let known: Vec<&str> = book.sites().collect();
        eprintln!("postrider: no rules for the site {name}; there are some for {}", known.join(", "));
    }
    let mut all_read = true;
    for what in &args.what {
        let explained = match reply(what) {
            Some(reply) => Ok(of_reply(show, book, stage, site, &reply)),
            None => file(what).map(|bytes| of_message(show, book, what, &bytes)),
        };
        match explained {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("postrider: {error:#}");
                all_read = false;
            }
        }
    }
    Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rules of the file that was named here, or in the settings; `None` for those that ship.
fn rules(args: &ExplainArgs, configured: anyhow::Result<Option<PathBuf>>) -> anyhow::Result<Option<RuleBook>> {
    let path = match (&args.rules, configured) {
        (Some(path), _) => path.clone(),
        (None, Ok(Some(path))) => path,
        (None, Ok(None)) => return Ok(None),
        (None, Err(error)) => {
            eprintln!("postrider: the settings cannot be read, so only the rules that ship are asked: {error:#}");
            return Ok(None);
        }
    };
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("could not read the rules in {}", path.display()))?;
    RuleBook::with_own(&[&text]).map(Some).map_err(|error| anyhow::anyhow!("could not {error} (in {})", path.display()))
}

/// A reply begins with a code; everything else names a file.
fn reply(text: &str) -> Option<Reply> {
    let mut lines = Vec::new();
    let (mut code, mut enhanced) = (0, None);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.trim();
        let own: u16 = line.get(..3).and_then(|digits| digits.parse().ok()).filter(|own| (200..600).contains(own))?;
        let rest = match line.as_bytes().get(3) {
            None => "",
            Some(b' ' | b'-') => &line[4..],
            Some(_) => return None,
        };
        code = own;
        let rest = rest.trim_start();
        let first = rest.split(' ').next().unwrap_or_default();
        let text = match EnhancedStatus::parse(first) {
            Some(status) => {
                enhanced = enhanced.or(Some(status));
                rest[first.len()..].trim_start()
            }
            None => rest,
        };
        lines.push(text.to_owned());
    }
    (code > 0).then_some(Reply { code, enhanced, lines })
}

/// At most what the reader looks at; `-` is standard input.
fn file(name: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = report::SIZE_MAX as u64;
    if name == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes).context("could not read standard input")?;
    } else {
        let wrong =
            || format!("could not read {name}: it is no reply (which begins with a code such as 550) and no file");
        let file = std::fs::File::open(name).with_context(wrong)?;
        file.take(most).read_to_end(&mut bytes).with_context(wrong)?;
    }
    if bytes.trim_ascii().is_empty() {
        bail!("could not explain {name}: it is empty");
    }
    Ok(bytes)
}

fn of_reply(show: Show, book: &RuleBook, stage: Stage, site: Option<&str>, reply: &Reply) -> String {
    let verdict = judge_reply(book, stage, site, reply);
    match show {
        Show::Json => Value::Object(facts(&verdict)).to_string(),
        Show::Text => {
            format!("{}\n{}\n  rules: version {}", sentence(&verdict), listed(book, &verdict), book.version())
        }
    }
}

fn of_message(show: Show, book: &RuleBook, name: &str, bytes: &[u8]) -> String {
    let report = report::read(bytes);
    let verdicts = judge_report(book, &report);
    let pairs = verdicts.iter().zip(&report.recipients);
    match show {
        Show::Json => {
            let reports: Vec<Value> = pairs.map(|(verdict, recipient)| of_recipient(verdict, recipient)).collect();
            json!({ "kind": report.kind.as_str(), "reports": reports }).to_string()
        }
        Show::Text => {
            let mut text = format!("{name}: {}", kind_words(&report));
            for (verdict, recipient) in pairs {
                let mailbox = recipient.mailbox.as_deref().unwrap_or("a mailbox that is not named");
                text.push_str(&format!("\n{}: {}\n{}", plain(mailbox), sentence(verdict), listed(book, verdict)));
                if !recipient.diagnostic.is_empty() {
                    text.push_str(&format!("\n  said: {}", plain(&recipient.diagnostic)));
                }
            }
            text
        }
    }
}

/// The six facts, as the issue of the interface names them.
fn facts(verdict: &Verdict) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("class".to_owned(), json!(verdict.class.map_or("none", BounceClass::code)));
    map.insert("hard".to_owned(), json!(verdict.hard));
    map.insert("permanent".to_owned(), json!(verdict.permanent));
    map.insert("about".to_owned(), json!(verdict.about.as_str()));
    map.insert("consequence".to_owned(), json!(verdict.consequence.as_str()));
    map.insert("rule".to_owned(), json!(verdict.rule));
    map
}

fn of_recipient(verdict: &Verdict, recipient: &ReportedRecipient) -> Value {
    let mut map = facts(verdict);
    map.insert("mailbox".to_owned(), json!(recipient.mailbox));
    map.insert("action".to_owned(), json!(recipient.action.map(report::Action::as_str)));
    map.insert("status".to_owned(), json!(recipient.status.map(|status| status.to_string())));
    map.insert("reply".to_owned(), json!(recipient.code));
    Value::Object(map)
}

/// Text of strangers on a terminal: without control characters.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

fn kind_words(report: &Report) -> &'static str {
    match report.kind {
        ReportKind::Dsn => "a report of delivery",
        ReportKind::Arf => "a complaint or another feedback report",
        ReportKind::Mdn => "a disposition notification",
        ReportKind::AutoReply => "an automatic answer",
        ReportKind::OptOut => "a wish to be left out",
        ReportKind::Other => "no report; for a human to read",
    }
}

fn listed(book: &RuleBook, verdict: &Verdict) -> String {
    let source = match book.rule(&verdict.rule) {
        Some((Origin::Operator, rule)) => format!("\n  source: a rule of yours; {}", plain(&rule.source)),
        Some((Origin::Provider | Origin::Text, rule)) => format!("\n  source: {}", plain(&rule.source)),
        None => String::new(),
    };
    let class = verdict.class.map_or_else(|| "none".to_owned(), |class| format!("{} {}", class.code(), class.as_str()));
    format!(
        "  class: {class}\n  hard: {}\n  permanent: {}\n  about: {}\n  consequence: {}\n  rule: {}{source}",
        verdict.hard, verdict.permanent, verdict.about, verdict.consequence, verdict.rule
    )
}

/// One plain sentence.
fn sentence(verdict: &Verdict) -> String {
    let Some(class) = verdict.class else { return "Nothing was refused.".to_owned() };
    let what = match class {
        BounceClass::InvalidRecipient => "The mailbox does not exist",
        BounceClass::DisabledRecipient => "The mailbox is disabled",
        BounceClass::MovedRecipient => "The mailbox has moved",
        BounceClass::MailboxFull => "The mailbox is full",
        BounceClass::BadDomain => "The domain takes no mail",
        BounceClass::UnreachableHost => "The host could not be reached",
        BounceClass::Transient => "The host has a passing trouble, or wants us to wait",
        BounceClass::RateLimited => "We are too fast for this provider",
        BounceClass::BlockedIp => "Our address is blocked",
        BounceClass::BlockedDomain => "Our domain, a link or our kind of mail is blocked",
        BounceClass::SpamContent => "The content is taken for spam or malware",
        BounceClass::AuthFailed => "Our authentication, name or sender address is not accepted",
        BounceClass::RecipientPolicy => "The recipient's side does not want it",
        BounceClass::TooBig => "The message is too big, or carries a kind of attachment that is not taken",
        BounceClass::Protocol => "The host finds a fault in protocol or format",
        BounceClass::TooMany => "Too many recipients or connections at once",
        BounceClass::Expired => "It was tried until the time was up, or is delayed",
        BounceClass::AutoReply => "A machine answered on behalf of a person",
        BounceClass::Complaint => "The recipient complained",
        BounceClass::Unsubscribe => "The recipient wants no more of it",
        BounceClass::Unknown => "Nobody knows what this means",
    };
    let then = match verdict.consequence {
        BounceConsequence::None => "nothing follows beyond the end of this delivery",
        BounceConsequence::Retry => "it is tried again",
        BounceConsequence::HoldSite => "everything for this provider waits",
        BounceConsequence::HoldDomain => "mail for this domain waits",
        BounceConsequence::CountSoft => "it counts as one soft event",
        BounceConsequence::SuppressMailbox => {
            "the mailbox is suppressed, if our own session or a valid token proves it"
        }
        BounceConsequence::Alarm => "an alarm is raised, since this is about us",
    };
    let then = match (verdict.consequence, verdict.about) {
        (BounceConsequence::Alarm, About::Content) => "an alarm is raised, since this is about what we send",
        _ => then,
    };
    format!("{what}; {then}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(stage: Stage, site: Option<&str>, text: &str) -> Value {
        let reply = reply(text).unwrap();
        serde_json::from_str(&of_reply(Show::Json, RuleBook::built_in(), stage, site, &reply)).unwrap()
    }

    #[test]
    fn a_reply_has_the_six_keys() {
        assert_eq!(
            explained(Stage::Rcpt, None, "550 5.1.1 No such user here"),
            json!({
                "class": "C1", "hard": true, "permanent": true, "about": "recipient",
                "consequence": "suppress_mailbox", "rule": "text.unknown-mailbox",
            })
        );
        let v = explained(Stage::Dot, Some("gmail"), "550-5.7.26 Unauthenticated email\n550 5.7.26 x");
        assert_eq!((v["class"].as_str(), v["hard"].as_bool()), (Some("C12"), Some(false)));
        assert_eq!(explained(Stage::Dot, None, "250 2.0.0 ok")["class"], "none");
    }

    #[test]
    fn a_file_has_its_kind_and_reports() {
        let message = b"From: MAILER-DAEMON@example.org\r\nSubject: failure notice\r\n\r\n\
            Hi. This is the qmail-send program at example.org.\r\nI wasn't able to deliver your message.\r\n\
            <ann@example.net>:\r\n192.0.2.1 does not like recipient.\r\nRemote host said: 550 5.1.1 no such user\r\n";
        let text = of_message(Show::Json, RuleBook::built_in(), "x", message);
        let v: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(v["kind"], "dsn");
        let one = &v["reports"][0];
        let mut keys: Vec<&String> = one.as_object().unwrap().keys().collect();
        keys.sort();
        let wanted =
            ["about", "action", "class", "consequence", "hard", "mailbox", "permanent", "reply", "rule", "status"];
        assert_eq!(keys, wanted);
        assert_eq!(
            (&one["mailbox"], &one["reply"], &one["status"]),
            (&json!("ann@example.net"), &json!(550), &json!("5.1.1"))
        );
        assert!(!text.contains('\n'), "one object a line");
    }

    #[test]
    fn what_is_no_reply_is_a_file() {
        for text in ["550.eml", "a.eml", "99 x", "700 x", "5500 x", ""] {
            assert!(reply(text).is_none(), "{text}");
        }
        assert!(file("/nowhere/x.eml").unwrap_err().to_string().contains("no file"));
    }

    #[test]
    fn people_get_a_sentence_and_no_control_characters() {
        let shown = of_reply(Show::Text, RuleBook::built_in(), Stage::Rcpt, None, &reply("552 5.2.2 full").unwrap());
        assert!(shown.starts_with("The mailbox is full; it counts as one soft event."), "{shown}");
        assert_eq!(plain("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
