//! Samples of whole replies, the laws that no rule may break, and each rule against its own samples.

use postrider_mail::reply::{EnhancedStatus, Reply};
use postrider_mail::stage::Stage;

use super::rules::Rule;
use super::*;

/// `550 5.1.1 text`, or several lines `550-5.1.1 text`.
pub(crate) fn reply(text: &str) -> Reply {
    let mut lines = Vec::new();
    let (mut code, mut enhanced) = (0, None);
    for line in text.lines() {
        code = line[..3].parse().unwrap();
        let rest = line.get(4..).unwrap_or_default();
        let first = rest.split(' ').next().unwrap_or_default();
        match EnhancedStatus::parse(first) {
            Some(status) => {
                enhanced = enhanced.or(Some(status));
                lines.push(rest[first.len()..].trim_start().to_owned());
            }
            None => lines.push(rest.to_owned()),
        }
    }
    Reply { code, enhanced, lines }
}

fn judged(stage: Stage, text: &str) -> Verdict {
    judge_reply(RuleBook::built_in(), stage, None, &reply(text))
}

#[test]
fn samples() {
    use AttemptResult::{Deferred, Rejected};
    let dead = Some(SuppressionReason::NoSuchMailbox);
    for (stage, line, result, class, suppress) in [
        (Stage::Rcpt, "550 5.1.1 user unknown", Rejected, "C1", dead),
        (Stage::Rcpt, "550 no such user here", Rejected, "C1", dead),
        (Stage::Rcpt, "550 5.2.1 The account is disabled", Rejected, "C2", None),
        (Stage::Rcpt, "551 5.1.6 recipient no longer on server", Rejected, "C3", Some(SuppressionReason::Disabled)),
        (Stage::Rcpt, "552 5.2.2 mailbox full", Rejected, "C4", None),
        (Stage::Rcpt, "556 5.1.10 Recipient address has null MX", Rejected, "C5", None),
        (Stage::Rcpt, "451 4.7.1 greylisted, try again later", Deferred, "C7", None),
        (Stage::Rcpt, "450 4.1.1 unknown for now", Deferred, "C1", None),
        (Stage::Rcpt, "550 5.7.1 relay access denied", Rejected, "C13", None),
        (Stage::Rcpt, "550 5.1.1 blocked using zen.spamhaus.org", Rejected, "C9", None),
        // A text about our speed overrules the status: tried again, never suppressed.
        (Stage::Rcpt, "550 5.2.1 ReceivingRatePerm", Deferred, "C8", None),
        (Stage::Greeting, "554 5.7.1 you are blocked", Rejected, "C9", None),
        (Stage::Greeting, "554 go away", Rejected, "C9", None),
        (Stage::Mail, "550 5.1.1 user unknown", Rejected, "C12", None),
        (Stage::Mail, "550 5.1.2 domain not found", Rejected, "C12", None),
        (Stage::Dot, "550 5.1.1 user unknown", Rejected, "C13", None),
        (Stage::Dot, "550 5.7.26 unauthenticated mail", Rejected, "C12", None),
        (Stage::Dot, "550 5.7.515 access denied", Rejected, "C12", None),
        (Stage::Rcpt, "554 Max message per connection", Deferred, "C16", None),
        (Stage::Mail, "421 4.7.28 unusual rate", Deferred, "C8", None),
        (Stage::Rcpt, "550 5.7.1 something new", Rejected, "C21", None),
    ] {
        let v = judged(stage, line);
        let seen = (v.attempt_result(), v.class.unwrap().code(), v.proof(stage));
        assert_eq!(seen, (result, class, suppress), "{stage:?} {line}: {}", v.rule);
    }
}

#[test]
fn a_positive_reply_has_no_class() {
    let v = judged(Stage::Dot, "250 2.0.0 user unknown, but taken");
    assert_eq!((v.class, v.attempt_result()), (None, AttemptResult::Accepted));
}

/// The stage, the site and the reply of a sample line.
fn sample<'a>(rule: &'a Rule, line: &'a str) -> (Option<Stage>, Option<&'a str>, Reply) {
    let (stage, text) = match line.split_once('|') {
        Some(("report", text)) => (None, text),
        Some(("words", text)) => {
            let words = Reply { code: 0, enhanced: None, lines: vec![text.to_owned()] };
            return (None, rule.site.as_deref().filter(|_| !rule.anywhere), words);
        }
        Some((stage, text)) => (Some(Stage::parse(stage).unwrap_or_else(|| panic!("{}: {line}", rule.id))), text),
        None => (Some(Stage::Rcpt), line),
    };
    (stage, rule.site.as_deref().filter(|_| !rule.anywhere), reply(text))
}

#[test]
fn every_rule_is_reached_by_its_samples_and_leaves_the_others_alone() {
    let wrong = super::sample::faults(RuleBook::built_in(), |_| true);
    let wrong: Vec<String> = wrong.into_iter().map(|(rule, fault)| format!("{rule}: {fault}")).collect();
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn nothing_but_rcpt_ever_suppresses() {
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Rcpt) {
        for (_, rule) in RuleBook::built_in().rules() {
            for line in &rule.yes {
                let (_, site, reply) = sample(rule, line);
                let v = judge_reply(RuleBook::built_in(), stage, site, &reply);
                assert_eq!(v.proof(stage), None, "{stage:?} {line}");
            }
        }
    }
}

#[test]
fn a_temporary_reply_never_suppresses() {
    for (_, rule) in RuleBook::built_in().rules() {
        for line in &rule.yes {
            let (stage, site, mut reply) = sample(rule, line);
            reply.code = 450;
            reply.enhanced = reply.enhanced.map(|s| EnhancedStatus::new(4, s.subject, s.detail));
            let v = judge_reply(RuleBook::built_in(), stage.unwrap_or(Stage::Rcpt), site, &reply);
            assert!(!v.permanent && v.proof(Stage::Rcpt).is_none(), "{line}: {v:?}");
            assert_ne!(v.consequence, BounceConsequence::SuppressMailbox, "{line}");
        }
    }
}

#[test]
fn an_operators_rule_comes_first_and_is_refused_with_its_name_when_wrong() {
    let own = r#"
        version = "ours"
        [[rule]]
        id = "ours.gone"
        class = "C2"
        patterns = ["user unknown"]
        source = "our observation"
        yes = ["550 user unknown"]
        no = ["550 user known"]
    "#;
    let book = RuleBook::new(Some(own)).unwrap();
    let v = judge_reply(&book, Stage::Dot, None, &reply("550 5.1.1 user unknown"));
    assert_eq!((v.rule.as_str(), v.class.unwrap().code()), ("ours.gone", "C2"));
    assert!(book.version().ends_with("+ours"));
    for (find, put, want) in [
        ("class = \"C2\"", "class = \"C22\"", "no class"),
        ("[\"user unknown\"]", "[\"(user\"]", "compile"),
        ("[\"user unknown\"]", "[\"User unknown\"]", "ours.gone"),
        ("[\"550 user known\"]", "[]", "negative sample"),
        ("\"our observation\"", "\"\"", "source"),
        ("id = \"ours.gone\"", "id = \"ours.gone\"\nsite = \"nobody\"", "list of sites"),
        ("id = \"ours.gone\"", "id = \"ours.gone\"\nstages = [\"rctp\"]", "no stage"),
    ] {
        let fault = RuleBook::new(Some(&own.replace(find, put))).unwrap_err().to_string();
        assert!(fault.contains(want), "{put}: {fault}");
    }
}

#[test]
fn rules_of_an_operator_must_do_what_their_samples_say_and_the_first_file_wins() {
    let own = |id: &str, class: &str, yes: &str, no: &str| {
        format!(
            "version = \"{id}\"\n[[rule]]\nid = \"{id}\"\nclass = \"{class}\"\npatterns = [\"gone fishing\"]\n\
             source = \"our observation\"\nyes = [{yes:?}]\nno = [{no:?}]\n"
        )
    };
    let good = own("ours", "C4", "550 5.1.1 gone fishing", "550 5.1.1 user unknown");
    let theirs = own("theirs", "C2", "report|550 gone fishing", "words|x")
        .replace("gone fishing\"]\nsource", "gone .ishing\"]\nsource");
    let book = RuleBook::with_own(&[&good]).unwrap();
    let v = judge_reply(&book, Stage::Rcpt, None, &reply("550 5.1.1 gone fishing"));
    assert_eq!((v.rule.as_str(), v.class.unwrap().code(), v.proof(Stage::Rcpt)), ("ours", "C4", None));
    assert_eq!(book.rule("ours").map(|(origin, _)| origin), Some(Origin::Operator));
    assert_eq!(book.rule("status.5.1.1").map(|(origin, _)| origin), None);
    let both = RuleBook::with_own(&[&good, &theirs]).unwrap();
    assert_eq!(judge_reply(&both, Stage::Rcpt, None, &reply("550 gone fishing")).rule, "ours");
    let turned = RuleBook::with_own(&[&theirs, &good]).unwrap();
    assert_eq!(judge_reply(&turned, Stage::Rcpt, None, &reply("550 gone fishing")).rule, "theirs");
    assert!(turned.version().ends_with("+theirs+ours"), "{}", turned.version());
    for (text, want) in [
        (own("x", "C4", "550 something else", "550 y"), "is caught by"),
        (own("x", "C4", "550 gone fishing", "551 gone fishing too"), "should not be caught"),
        (own("x", "C4", "é5", "550 y"), "is no reply"),
        (own("x", "C4", "nowhere|550 gone fishing", "550 y"), "is no reply"),
        (good.replace("[\"gone fishing\"]", "[\"gone fishing\", \"never\"]"), "no sample reaches"),
        (own("x y", "C4", "550 gone fishing", "550 y"), "visible ASCII"),
        ("version = 1".to_owned(), "read the bounce rules"),
        ("#".repeat(300_000), "longer than"),
    ] {
        let fault = RuleBook::with_own(&[&text]).unwrap_err().to_string();
        assert!(fault.contains(want), "{want}: {fault}");
    }
}

#[test]
fn hostile_texts_are_read_in_no_time() {
    let book = RuleBook::built_in();
    let started = std::time::Instant::now();
    for seed in ["a", "user ", "(((((", "spam blocked user ", "5.7.1 ", "\u{130}", "mailbox mailbox is is "] {
        let text = seed.repeat(200_000 / seed.len());
        for stage in [None, Some(Stage::Rcpt), Some(Stage::Dot)] {
            classify(book, &Refusal { stage, code: Some(550), status: None, text: &text, site: None, delayed: false });
        }
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
