//! How well single replies are read: some hundred of them in the words of many hosts, in `tests/bounces/replies.tsv`.

use postrider_domain::bounce::{RuleBook, judge_reply};
use postrider_mail::{EnhancedStatus, Reply, Stage};

use crate::bounces::repository;

/// Classes in which the address, or its domain, cannot work.
const HARD: [&str; 3] = ["C1", "C3", "C5"];

/// A reply of one line, the enhanced status apart from its text as the client has it.
fn parse(text: &str) -> Option<Reply> {
    let (code, rest) = text.split_at_checked(3)?;
    let rest = rest.get(1..)?;
    let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
    match EnhancedStatus::parse(first) {
        Some(status) => Some(Reply::new(code.parse().ok()?, Some(status), after)),
        None => Some(Reply::new(code.parse().ok()?, None, rest)),
    }
}

#[test]
fn replies_of_many_hosts_are_read() {
    let file = repository().join("crates/domain/tests/bounces/replies.tsv");
    let text = std::fs::read_to_string(file).unwrap();
    let (mut asked, mut right, mut hard_right, mut faults) = (0, 0, 0, Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [stage, reply, classes] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("three columns: {line}") };
        let stage = Stage::parse(stage).unwrap_or_else(|| panic!("a stage: {line}"));
        let wanted: Vec<&str> = classes.split(',').collect();
        let parsed = parse(reply).unwrap_or_else(|| panic!("a reply: {line}"));
        let verdict = judge_reply(RuleBook::built_in(), stage, None, &parsed);
        let class = verdict.class.map_or("none", |class| class.code());
        asked += 1;
        right += usize::from(wanted.contains(&class));
        let may_be_hard = wanted.iter().any(|class| HARD.contains(class));
        let may_be_soft = wanted.iter().any(|class| !HARD.contains(class));
        hard_right += usize::from(if verdict.hard { may_be_hard } else { may_be_soft });
        if !wanted.contains(&class) {
            faults.push(format!("{class} by {}, not {classes}: {stage:?} {reply}", verdict.rule));
        }
        // The one fault that costs an address: what is about us or about load, taken for a dead mailbox.
        assert!(may_be_hard || !verdict.hard, "{reply} is taken for a dead address by {}", verdict.rule);
    }
    println!("{asked} replies, class right {right}, hard or not right {hard_right}");
    assert!(
        asked > 400 && right * 100 >= asked * 98 && hard_right * 100 >= asked * 99,
        "{right}/{hard_right} of {asked}:\n{}",
        faults.join("\n")
    );
}
