//! How well bounces are read: on our own samples always, on a public collection where it lies beside the repository.

mod score;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use postrider_domain::bounce::report::judge_report;
use postrider_domain::bounce::{BounceClass, BounceConsequence, RuleBook};
use postrider_mail::report::{Action, DIAGNOSTIC_MAX, RECIPIENTS_MAX, ReportKind, read};

use score::{Row, Score, rows, score};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The book from the files of the repository, not from the binary: both are the same, a test below says so.
fn book() -> RuleBook {
    let read = |name: &str| std::fs::read_to_string(repository().join("rules").join(name)).unwrap();
    RuleBook::read(&read("bounces.toml"), &read("bounces-providers.toml"), None).unwrap()
}

fn map() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(repository().join("rules/corpus-map.toml")).unwrap();
    let mut all: BTreeMap<String, BTreeMap<String, Vec<String>>> = toml::from_str(&text).unwrap();
    all.remove("reasons").unwrap()
}

/// The collection: `POSTRIDER_CORPUS`, else beside the repository.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("POSTRIDER_CORPUS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| repository().join("../shared/corpus/bounces"));
    folder.join("expected.tsv").exists().then_some(folder)
}

/// Samples of our own that imitate what hosts write; they are in the repository, so that this test always runs.
fn own() -> PathBuf {
    repository().join("crates/domain/tests/bounces")
}

/// Two halves of the collection, by a hash of the file's name: rules were written with one before the eyes only.
fn is_first_half(row: &Row) -> bool {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, row.file.as_bytes());
    hash.as_ref()[0] % 2 == 0
}

/// A table of docs/bounces.md between its marks.
fn documented(name: &str) -> String {
    let docs = std::fs::read_to_string(repository().join("docs/bounces.md")).unwrap();
    let (_, rest) = docs.split_once(&format!("<!-- {name} -->\n")).unwrap_or_else(|| panic!("docs: no mark {name}"));
    rest.split_once("<!-- end -->").expect("docs: no end mark").0.trim().to_owned()
}

/// The documented row of a score is the computed one; the faults are shown when it is not.
fn compare(score: &Score) {
    let faults = score.faults.join("\n  ");
    assert!(score.holds(), "{} fell under a bar:\n{}\n  {faults}", score.name, score.line());
    assert!(
        documented("scores").lines().any(|line| line == score.line()),
        "docs/bounces.md does not have this row, which is what the rules do now:\n{}\n  {faults}",
        score.line()
    );
}

#[test]
fn our_own_samples_are_read() {
    let folder = own();
    let all = rows(&folder);
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "eml"));
    assert!(files.count() >= 60, "at least 60 samples");
    let score = score("our own samples", &book(), &map(), &folder, &all);
    assert!(score.faults.is_empty(), "{}", score.faults.join("\n"));
    compare(&score);
}

#[test]
fn the_collection_is_read() {
    let Some(folder) = corpus() else {
        println!("skipped: the collection of bounces is not beside the repository; set POSTRIDER_CORPUS to its folder");
        return;
    };
    let (book, map) = (book(), map());
    let all: Vec<Row> = rows(&folder);
    let (first, second): (Vec<Row>, Vec<Row>) = all.iter().cloned().partition(is_first_half);
    let mut lacking = Vec::new();
    let sets = [("first half", &first), ("second half", &second), ("all", &all)];
    for (name, rows) in sets.map(|(name, rows)| (format!("collection, {name}"), rows)) {
        let score = score(&name, &book, &map, &folder, rows);
        println!("{}", score.line());
        if !documented("scores").lines().any(|line| line == score.line()) {
            lacking.push(score.line());
        }
        if name.ends_with("all") {
            let faults = score.faults.join("\n  ");
            println!("  {faults}");
            assert!(score.holds(), "the collection fell under a bar:\n{}\n  {faults}", score.line());
        }
    }
    assert!(lacking.is_empty(), "docs/bounces.md does not have these rows:\n{}", lacking.join("\n"));
}

#[test]
fn the_table_of_classes_in_the_docs_is_that_of_the_code() {
    let mut table = String::from("| class | word | about | hard | 4yz | 5yz |\n|---|---|---|---|---|---|\n");
    for class in BounceClass::ALL {
        let facts = class.facts();
        let hard = if facts.hard { "yes" } else { "no" };
        let last = if facts.try_again { format!("{}, tried again", facts.at_last) } else { facts.at_last.to_string() };
        let _ =
            writeln!(table, "| {} | `{class}` | {} | {hard} | {} | {last} |", facts.code, facts.about, facts.passing);
    }
    assert_eq!(documented("classes"), table.trim());
}

#[test]
fn kinds_are_told_apart() {
    for (name, kind) in [
        ("arf-abuse", ReportKind::Arf),
        ("ses-complaint", ReportKind::Arf),
        ("mdn-displayed", ReportKind::Mdn),
        ("vacation", ReportKind::AutoReply),
        ("vacation-by-subject", ReportKind::AutoReply),
        ("opt-out", ReportKind::OptOut),
        ("human", ReportKind::Other),
        ("html-only", ReportKind::Dsn),
        ("exim-retry", ReportKind::Dsn),
    ] {
        let report = read(&std::fs::read(own().join(format!("{name}.eml"))).unwrap());
        assert_eq!(report.kind, kind, "{name}");
    }
}

/// What the handling of news needs beside the verdict: who, which message, which delivery.
#[test]
fn a_report_tells_which_message_it_is_about() {
    let report = |name: &str| read(&std::fs::read(own().join(format!("{name}.eml"))).unwrap());
    let dsn = report("dsn-delayed");
    assert_eq!(dsn.envelope_id.as_deref(), Some("env-dsn-delayed"));
    assert_eq!(dsn.reporting_mta.as_deref(), Some("mail.example.org"));
    assert_eq!(dsn.original.message_id.as_deref(), Some("dsn-delayed@example.org"));
    assert_eq!(dsn.original.return_path.as_deref(), Some("b-k7f2q9xw3m@bounce.example.org"));
    assert_eq!(dsn.recipients[0].action, Some(Action::Delayed));
    assert!(dsn.recipients[0].will_retry_until.is_some());
    assert_eq!(report("qmail-unknown").original.message_id.as_deref(), Some("q@example.org"));
    assert_eq!(report("vacation").original.message_id.as_deref(), Some("v@example.org"));
    let arf = report("arf-abuse");
    assert_eq!(arf.feedback.unwrap().original_mail_from.as_deref(), Some("b-k7f2q9xw3m@bounce.example.org"));
    let mdn = report("mdn-displayed").disposition.unwrap();
    assert_eq!((mdn.action_mode.as_str(), mdn.kind.as_str()), ("manual-action", "displayed"));
    assert_eq!(mdn.original_message_id.as_deref(), Some("mdn@example.org"));
}

/// BC-9: whatever a report of delay or a 4.x.x says, nobody is suppressed; and a complaint by a machine is none.
#[test]
fn delays_and_complaints() {
    let judged = |name: &str| judge_report(&book(), &read(&std::fs::read(own().join(format!("{name}.eml"))).unwrap()));
    let delayed = &judged("dsn-delayed-unknown")[0];
    assert_eq!((delayed.permanent, delayed.consequence), (false, BounceConsequence::Retry));
    assert_eq!(judged("arf-abuse")[0].class, Some(BounceClass::Complaint));
    assert_eq!(judged("arf-not-spam")[0].class, None);
    assert_eq!(judged("opt-out")[0].class, Some(BounceClass::Unsubscribe));
}

/// Every sample, cut and mangled at random: no panic, and no more than the bounds allow.
#[test]
fn mangled_reports_are_read_without_harm() {
    let mut folders = vec![own()];
    folders.extend(corpus());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let pieces: [&[u8]; 8] = [b"\n\n", b"@", b"\xff\xfe", b"=?utf-8?B?", b"<", b"--", b": 550 5.1.1 ", b"\0"];
    let until = Instant::now() + Duration::from_secs(4);
    let files: Vec<PathBuf> =
        folders.iter().flat_map(|f| std::fs::read_dir(f).unwrap()).map(|e| e.unwrap().path()).collect();
    let mut count = 0;
    while Instant::now() < until {
        let mut bytes = std::fs::read(&files[next() % files.len()]).unwrap();
        for _ in 0..1 + next() % 20 {
            let at = next() % bytes.len().max(1);
            match next() % 4 {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = next() as u8,
                2 => drop(bytes.splice(at..at, pieces[next() % pieces.len()].iter().copied())),
                _ => {
                    let end = (at + next() % 300).min(bytes.len());
                    let copied = bytes[at..end].to_vec();
                    bytes.extend(copied);
                }
            }
        }
        let report = read(&bytes);
        assert!(report.recipients.len() <= RECIPIENTS_MAX);
        assert!(report.recipients.iter().all(|one| one.diagnostic.len() <= DIAGNOSTIC_MAX));
        count += 1;
    }
    assert!(count > 100, "{count}");
}

/// The worst that a megabyte can hold is read in well under the time that a host waits.
#[test]
fn hostile_megabytes_are_read_in_time() {
    let head = "From: MAILER-DAEMON@x\nSubject: failure notice\nX-Failed-Recipients: a@b\n";
    for body in [
        "Content-Type: message/rfc822\n\n",
        "a@b.example: 550 5.1.1 no\n",
        "<<< 550-x\n",
        "@@@@@@@@",
        "<",
        "\"",
        "=?",
        "Final-Recipient: rfc822; a@b\nAction: failed\n\n",
        "> x\n",
        "5.1.1 550 ",
    ] {
        for kind in ["text/plain", "text/html", "multipart/report; report-type=delivery-status; boundary=b"] {
            let message = format!("{head}Content-Type: {kind}\n\n--b\n{}", body.repeat(1_048_576 / body.len()));
            let started = Instant::now();
            let report = read(message.as_bytes());
            judge_report(RuleBook::built_in(), &report);
            assert!(started.elapsed() < Duration::from_secs(10), "{body:?} {kind}: {:?}", started.elapsed());
        }
    }
}
