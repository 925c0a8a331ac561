//! What a person at a terminal meets: imports that are killed and resumed, pause, stop, schedules, clear errors.

use crate::harness::{Sim, Site, people};
use crate::{seed, torture};
use std::fmt::Write as _;
use std::time::Duration;

#[test]
fn an_import_that_is_killed_half_way_ends_as_if_nothing_had_happened() {
    let rows = if torture() { 1_000_000 } else { 30_000 };
    let sim = Sim::start(12, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    let mut csv = String::from("email,first_name\n");
    for n in 0..rows {
        if n % 100 == 3 {
            let _ = writeln!(csv, "not a mailbox {n},Bad");
        } else {
            let _ = writeln!(csv, "person{n}@mail{}.test,Name {n}", 1 + n % 20);
        }
    }
    let file = site.data.path().join("big.csv");
    std::fs::write(&file, &csv).expect("written");
    let path = file.to_str().expect("utf-8");
    let import = site.run(&[
        "import",
        path,
        "--list",
        "Everyone",
        "--source",
        "story",
        "--basis",
        "consent",
        "--given-at",
        "2026-01-01",
        "--purpose",
        "News",
        "--no-wait",
    ]);
    let id = import["id"].as_str().expect("id").to_owned();
    let wait = if torture() { 4_000 } else { 150 };
    std::thread::sleep(Duration::from_millis(wait + seed() % 200));
    site.kill();
    site.serve();
    let done = site.run(&["import-status", &id, "--wait"]);
    let bad = (0..rows).filter(|n| n % 100 == 3).count() as u64;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(done["created"].as_u64(), Some(rows as u64 - bad), "{done}");
    assert_eq!(done["refused"]["bad_mailbox"].as_u64(), Some(bad), "{done}");
    assert_eq!(done["updated"], 0, "{done}");
    assert_eq!(done["unchanged"], 0, "{done}");
    let peak = site.peak_rss_bytes();
    println!("peak memory of the server: {peak} bytes");
    assert!(peak < 200 << 20, "memory stays flat: {peak} bytes");
}

#[test]
fn pause_holds_within_a_second_and_stop_accounts_for_the_rest() {
    let sim = Sim::start(13, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    site.import(&people(6_000));
    let campaign = site.draft("Pause", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    let accepted = |sim: &Sim| sim.stat("accepted");
    while accepted(&sim) < 100 {
        std::thread::sleep(Duration::from_millis(10));
    }
    site.run(&["campaign", "pause", &campaign]);
    std::thread::sleep(Duration::from_secs(1));
    let held = accepted(&sim);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(accepted(&sim), held, "nothing leaves a second after the pause");
    assert!(held < 6_000, "the pause came in the middle");
    site.run(&["campaign", "resume", &campaign]);
    while accepted(&sim) < held + 100 {
        std::thread::sleep(Duration::from_millis(10));
    }
    site.run(&["campaign", "stop", &campaign]);
    std::thread::sleep(Duration::from_secs(1));
    let stopped = accepted(&sim);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(accepted(&sim), stopped, "nothing leaves a second after the stop");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let report = site.report(&campaign);
        let ledger = &report["ledger"];
        if ledger["queued"] == 0 {
            assert_eq!(ledger["accepted"].as_i64(), Some(stopped), "{report}");
            assert_eq!(ledger["cancelled"].as_i64(), Some(6_000 - stopped), "{report}");
            break;
        }
        assert!(std::time::Instant::now() < until, "{report}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(sim.stat("duplicates"), 0);
}

#[test]
fn a_single_message_passes_a_running_campaign() {
    let sim = Sim::start(14, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    site.import(&people(8_000));
    let key = site.run(&["key", "create", "--name", "app", "--scope", "send", "campaigns:read"]);
    let bearer = format!("Bearer {}", key["secret"].as_str().expect("shown once"));
    let campaign = site.draft("Big one", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    while sim.stat("accepted") < 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let body = r#"{"from":"shop@story.test","to":["one@mail3.test"],"subject":"Your code","text":"4711"}"#;
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Idempotency-Key", "k1")];
    let (status, first) = site.http_request("POST", "/api/v1/messages", &headers, body).expect("answered");
    assert_eq!(status, 202, "{first}");
    let (status, second) = site.http_request("POST", "/api/v1/messages", &headers, body).expect("answered");
    assert_eq!((status, &second), (202, &first), "the same key is the same message");
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while sim.tries("one@mail3.test") < 1 {
        assert!(std::time::Instant::now() < until, "the message passes the campaign");
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = site.report(&campaign);
    assert!(report["ledger"]["queued"].as_i64() > Some(0), "the campaign was still running: {report}");
    site.run(&["campaign", "stop", &campaign]);
}

#[test]
fn a_draft_that_lacks_things_is_told_all_of_them() {
    let sim = Sim::start(15, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    let body = site.data.path().join("bad.html");
    std::fs::write(&body, "<p>Hello {{ frist_name }}</p>").expect("written");
    let made = site.run(&[
        "campaign",
        "create",
        "--name",
        "Bad",
        "--from",
        "news@elsewhere.test",
        "--subject",
        "Re: hello",
        "--body",
        body.to_str().expect("utf-8"),
        "--list",
        "Everyone",
        "--purpose",
        "News",
    ]);
    let id = made["id"].as_str().expect("drafts always save");
    let (code, out, err) = site.try_run(&["campaign", "start", id]);
    assert_ne!(code, Some(0));
    let said = format!("{out}{err}");
    for words in ["frist_name", "line 1", "elsewhere.test", "nobody would get"] {
        assert!(
            said.contains(words) || (words == "elsewhere.test" && said.contains("not a sending domain")),
            "{words}: {said}"
        );
    }
}
