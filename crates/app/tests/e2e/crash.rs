//! Must show 2: `kill -9` at random moments loses nothing, and repeats only what was in doubt, byte for byte.

use crate::harness::{Sim, Site, people, tail};
use crate::{postgres_url, seed, torture};
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn counts() -> (usize, usize) {
    if torture() { (100_000, 10) } else { (5_000, 5) }
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn killed(database_url: &str) {
    let (contacts, kills) = counts();
    let mut dice = Dice(seed() | 1);
    let sim = Sim::start(7, &[]);
    let mut site = Site::new(&sim, database_url);
    site.serve();
    site.furnish();
    let imported = site.import(&people(contacts));
    assert_eq!(number(&imported, "created"), contacts as i64);
    // Without a brake the small campaign would be over before the second kill.
    site.brake(if torture() { 0 } else { 600 });
    let campaign = site.draft("Crash", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    for n in 0..kills {
        std::thread::sleep(Duration::from_millis(200 + dice.below(if torture() { 6_000 } else { 1_000 })));
        site.kill();
        println!("kill {} of {kills} after {} accepted", n + 1, sim.stat("accepted"));
        site.serve();
    }
    let report = site.wait_done(&campaign, 1_200);
    let ledger = &report["ledger"];
    let stats = sim.ask("STATS");
    let duplicates = sim.ask("DUPLICATES");
    println!("ledger {ledger}; sim {stats}; duplicates {}", duplicates["count"]);
    assert_eq!(number(ledger, "frozen"), contacts as i64);
    assert_eq!(number(ledger, "accepted"), contacts as i64, "everybody got it: {report}\n{}", tail(&site.log_text()));
    assert_eq!(number(&stats, "messages"), contacts as i64, "nobody is missing at the other side");
    let doubted: HashSet<String> = site.run(&["campaign", "doubted", &campaign])["mailboxes"]
        .as_array()
        .expect("mailboxes")
        .iter()
        .map(|v| v.as_str().expect("text").to_owned())
        .collect();
    assert_eq!(duplicates["different_bytes"], 0, "a repeated message has the same bytes: {duplicates}");
    for duplicate in duplicates["pairs"].as_array().expect("pairs") {
        let recipient = duplicate["recipient"].as_str().expect("recipient");
        assert!(doubted.contains(recipient), "{recipient} got a message twice but was never in doubt");
    }
    // DNS of the story's domain is not what receivers ask for, and the doctor says so; all else has to be well.
    let (_, out, err) = site.try_run(&["doctor"]);
    let doctor: Value = serde_json::from_str(out.trim()).unwrap_or_else(|e| panic!("`{out}` {err}: {e}"));
    let bad = |c: &&Value| c["state"] == "bad" && c["code"].is_null();
    let checks = doctor["checks"].as_array().expect("checks");
    assert!(checks.len() > 3 && !checks.iter().any(|c| bad(&c)), "{doctor}");
}

fn ended(database_url: &str) {
    let (contacts, stops) = counts();
    let mut dice = Dice(seed() | 1);
    let sim = Sim::start(8, &[]);
    let mut site = Site::new(&sim, database_url);
    site.serve();
    site.furnish();
    site.import(&people(contacts));
    site.brake(if torture() { 0 } else { 600 });
    let campaign = site.draft("Rolling restarts", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    for _ in 0..stops {
        std::thread::sleep(Duration::from_millis(200 + dice.below(900)));
        assert_eq!(site.terminate(), Some(0), "an orderly stop exits with 0:\n{}", tail(&site.log_text()));
        site.serve();
    }
    let report = site.wait_done(&campaign, 1_200);
    let stats = sim.ask("STATS");
    assert_eq!(number(&report["ledger"], "accepted"), contacts as i64);
    assert_eq!(number(&stats, "messages"), contacts as i64);
    assert_eq!(number(&stats, "accepted"), contacts as i64, "an orderly stop repeats nothing: {stats}");
    let doubted = site.run(&["campaign", "doubted", &campaign]);
    assert_eq!(doubted["mailboxes"].as_array().map(Vec::len), Some(0), "an orderly stop leaves nothing in doubt");
}

#[test]
fn kill_nine_loses_nobody_on_sqlite() {
    killed("");
}

#[test]
fn kill_nine_loses_nobody_on_postgres() {
    killed(&postgres_url("crash_kill"));
}

#[test]
fn sigterm_repeats_nobody_on_sqlite() {
    ended("");
}

#[test]
fn sigterm_repeats_nobody_on_postgres() {
    ended(&postgres_url("crash_term"));
}
