//! Counts what was found, what was told apart hard or not, and which classes were right.

use std::collections::BTreeMap;
use std::path::Path;

use postrider_domain::bounce::report::judge_report;
use postrider_domain::bounce::{About, RuleBook, Verdict};
use postrider_mail::report::{ReportedRecipient, read};

/// One expected report.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) file: String,
    pub(crate) number: usize,
    pub(crate) status: String,
    pub(crate) reply: String,
    pub(crate) reason: String,
    pub(crate) hard: bool,
}

/// The rows of a folder's `expected.tsv`.
pub(crate) fn rows(folder: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        Row {
            file: cells[0].to_owned(),
            number: cells[1].parse().unwrap(),
            status: cells[2].to_owned(),
            reply: cells[3].to_owned(),
            reason: cells[4].to_owned(),
            hard: cells[5] == "1",
        }
    };
    text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(row).collect()
}

/// The counts.
#[derive(Debug, Default)]
pub(crate) struct Score {
    pub(crate) name: String,
    pub(crate) total: usize,
    pub(crate) found: usize,
    pub(crate) hard_right: usize,
    pub(crate) class_right: usize,
    /// Texts about us or about load that were taken for proof of a dead address.
    pub(crate) false_hard: usize,
    pub(crate) faults: Vec<String>,
}

impl Score {
    fn share(&self, count: usize) -> f64 {
        count as f64 * 100.0 / self.total.max(1) as f64
    }

    /// The row of the table in docs/bounces.md.
    pub(crate) fn line(&self) -> String {
        format!(
            "| {} | {} | {:.1} % | {:.1} % | {:.1} % | {} |",
            self.name,
            self.total,
            self.share(self.found),
            self.share(self.hard_right),
            self.share(self.class_right),
            self.false_hard
        )
    }

    /// The bars that it must not fall under.
    pub(crate) fn holds(&self) -> bool {
        self.share(self.found) >= 98.0
            && self.share(self.hard_right) >= 98.0
            && self.share(self.class_right) >= 90.0
            && self.false_hard == 0
    }
}

/// Reasons that are about us, the content or load: none of them may ever look like a dead address.
const NOT_THE_RECIPIENT: &[&str] = &[
    "authfailure",
    "badreputation",
    "blocked",
    "contenterror",
    "exceedlimit",
    "emailtoolarge",
    "expired",
    "mesgtoobig",
    "networkerror",
    "norelaying",
    "notcompliantrfc",
    "policyviolation",
    "ratelimited",
    "rejected",
    "requireptr",
    "securityerror",
    "spamdetected",
    "speeding",
    "syntaxerror",
    "systemerror",
    "systemfull",
    "toomanyconn",
    "virusdetected",
];

pub(crate) fn score(
    name: &str,
    book: &RuleBook,
    map: &BTreeMap<String, Vec<String>>,
    folder: &Path,
    rows: &[Row],
) -> Score {
    let mut score = Score { name: name.to_owned(), ..Score::default() };
    for row in rows {
        score.total += 1;
        let report = read(&std::fs::read(folder.join(&row.file)).unwrap());
        let verdicts = judge_report(book, &report);
        let Some((verdict, recipient)) = verdicts.get(row.number - 1).zip(report.recipients.get(row.number - 1)) else {
            score.faults.push(format!(
                "{} {}: no report {} ({})",
                row.file,
                row.number,
                row.reason,
                report.kind.as_str()
            ));
            continue;
        };
        score.found += 1;
        count(&mut score, row, verdict, recipient, map);
    }
    score
}

fn count(
    score: &mut Score,
    row: &Row,
    verdict: &Verdict,
    recipient: &ReportedRecipient,
    map: &BTreeMap<String, Vec<String>>,
) {
    let class = verdict.class.map_or("none", |class| class.code());
    let hard_right = verdict.hard == row.hard;
    let class_right = map.get(&row.reason).is_some_and(|classes| classes.iter().any(|known| known == class));
    score.hard_right += usize::from(hard_right);
    score.class_right += usize::from(class_right);
    let false_hard = verdict.hard && NOT_THE_RECIPIENT.contains(&row.reason.as_str());
    score.false_hard += usize::from(false_hard);
    assert!(!verdict.hard || matches!(verdict.about, About::Recipient | About::Domain));
    if !hard_right || !class_right {
        score.faults.push(format!(
            "{}{}{} {} {}: wanted {} {} {}, got {class} by {} [{:?} {:?} {:?}] {:?}",
            if hard_right { "" } else { "HARD " },
            if false_hard { "FALSE " } else { "" },
            row.file,
            row.number,
            recipient.mailbox.as_deref().unwrap_or("-"),
            row.reason,
            row.status,
            row.reply,
            verdict.rule,
            recipient.stage,
            recipient.code,
            recipient.status.map(|status| status.to_string()),
            recipient.diagnostic.chars().take(160).collect::<String>(),
        ));
    }
}
