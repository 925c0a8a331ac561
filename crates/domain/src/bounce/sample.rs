//! Rules against their own samples: those that ship in a test, those of an operator whenever they are loaded.
//!
//! A sample is a reply at RCPT, or `STAGE|REPLY`, `report|REPLY` (no step known), `words|TEXT` (no code). Lines may be written
//! by anybody, so nothing here panics. Must not know where rules come from.

use postrider_mail::reply::{EnhancedStatus, Reply};
use postrider_mail::stage::Stage;

use super::rules::{Origin, Rule, RuleBook};
use super::{Refusal, classify};

/// What a sample says.
struct Sample<'a> {
    stage: Option<Stage>,
    site: Option<&'a str>,
    reply: Reply,
}

/// What is wrong with the rules of these origins: the rule, and the sample with what became of it.
pub(super) fn faults(book: &RuleBook, of: impl Fn(Origin) -> bool) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for (_, rule) in book.rules().filter(|(origin, _)| of(*origin)) {
        let mut texts = Vec::new();
        let samples = rule.yes.iter().map(|line| (line, true)).chain(rule.no.iter().map(|line| (line, false)));
        for (line, wanted) in samples {
            let Some(sample) = read(rule, line) else {
                wrong.push((
                    rule.id.clone(),
                    format!("the sample {line:?} is no reply: write `550 5.1.1 text`, `STAGE|550 text`, `report|550 text` or `words|text`"),
                ));
                continue;
            };
            let text = sample.reply.text();
            let said = Refusal {
                stage: sample.stage,
                code: Some(sample.reply.code).filter(|code| *code > 0),
                status: sample.reply.enhanced,
                text: &text,
                site: sample.site,
                delayed: false,
            };
            let caught = classify(book, &said).rule;
            match (wanted, caught == rule.id) {
                (true, false) => wrong.push((rule.id.clone(), format!("the sample {line:?} is caught by {caught}"))),
                (false, true) => {
                    wrong.push((rule.id.clone(), format!("the sample {line:?} should not be caught")));
                }
                (true, true) | (false, false) => {}
            }
            if wanted {
                texts.push(text.to_lowercase());
            }
        }
        for pattern in &rule.patterns {
            // The book has compiled it already, so this compiles.
            let reached = regex::Regex::new(pattern).is_ok_and(|one| texts.iter().any(|text| one.is_match(text)));
            if !reached {
                wrong.push((rule.id.clone(), format!("no sample reaches the pattern {pattern:?}")));
            }
        }
    }
    wrong
}

fn read<'a>(rule: &'a Rule, line: &str) -> Option<Sample<'a>> {
    let site = rule.site.as_deref().filter(|_| !rule.anywhere);
    let (stage, text) = match line.split_once('|') {
        Some(("report", text)) => (None, text),
        Some(("words", text)) => {
            return Some(Sample {
                stage: None,
                site,
                reply: Reply { code: 0, enhanced: None, lines: vec![text.to_owned()] },
            });
        }
        Some((stage, text)) => (Some(Stage::parse(stage)?), text),
        None => (Some(Stage::Rcpt), line),
    };
    Some(Sample { stage, site, reply: reply(text)? })
}

/// `550 5.1.1 text`, or several lines `550-5.1.1 text`.
fn reply(text: &str) -> Option<Reply> {
    let mut lines = Vec::new();
    let (mut code, mut enhanced) = (0, None);
    for line in text.lines() {
        code = line.get(..3)?.parse().ok().filter(|code| (200..600).contains(code))?;
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
    (code > 0).then_some(Reply { code, enhanced, lines })
}
