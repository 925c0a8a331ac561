//! Steering by the command line, through a server: suspend, look, show, cancel; a kill in the middle of a cancel.

use crate::harness::{Sim, Site, people};
use serde_json::Value;
use std::time::{Duration, Instant};

fn until(what: &str, mut test: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !test() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn rule(site: &Site, id: &str) -> Value {
    let open = site.run(&["queue", "rules"]);
    let past = site.run(&["queue", "rules", "--past"]);
    let all = open.as_array().into_iter().chain(past.as_array()).flatten().cloned().collect::<Vec<_>>();
    all.into_iter().find(|r| r["id"] == id).unwrap_or_else(|| panic!("no rule {id}: {open} {past}"))
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

#[test]
fn a_queue_is_steered_from_the_command_line() {
    let sim = Sim::start(11, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    site.import(&people(300));
    let campaign = site.draft("Spring", "rehearsal");

    // What is wrong is said before anything happens.
    for (words, say) in [
        (&["queue", "suspend", "--reason", "x"][..], "--campaign"),
        (&["queue", "suspend", "--campaign", "Nobody", "--reason", "x"], "Nobody"),
        (&["queue", "suspend", "--everything", "--for", "2", "--reason", "x"], "2h"),
        (&["queue", "speed", "--everything", "--per-second", "0", "--reason", "x"], "suspend"),
        (&["queue", "resume", "--everything"], "queue rules"),
        (&["queue", "show", "nobody"], "dlv_"),
        (&["queue", "cancel", "--campaign", "Spring", "--yes"], "--reason"),
    ] {
        let (code, out, err) = site.try_run(words);
        assert!(code != Some(0) && (err.contains(say) || out.contains(say)), "{words:?}: {code:?} {out} {err}");
    }

    let suspend = site.run(&["queue", "suspend", "--campaign", "Spring", "--for", "2h", "--reason", "a wrong price"]);
    assert_eq!(suspend["state"], "stands");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    until("the audience", || site.report(&campaign)["state"] == "sending");
    until("the site", || {
        let sites = site.run(&["queue", "list"]);
        sites.as_array().is_some_and(|s| s.iter().any(|r| r["flows"][0]["hold"]["reason"] == "queue_rule"))
    });
    assert_eq!(sim.stat("messages"), 0, "nothing leaves");
    let rows = site.run(&["campaign", "report", &campaign, "--rows", "1"]);
    let one = rows["rows"][0]["id"].as_str().unwrap_or_else(|| panic!("a row in {rows}")).to_owned();
    let shown = site.run(&["queue", "show", &one]);
    let why = shown[0]["delivery"]["waiting_for"]["sentence"].as_str().expect("a reason").to_owned();
    assert!(why.contains("suspended by the console: a wrong price") && why.contains("until"), "{why}");

    // One of them is cancelled by itself; then the rest, which is counted first.
    let cancelled = site.run(&["queue", "cancel", "--delivery", &one, "--reason", "asked for it", "--yes"]);
    until("one cancel", || rule(&site, &id(&cancelled["rule"]))["state"] == "over");
    let counted = site.run(&["queue", "cancel", "--campaign", "Spring"]);
    assert_eq!((&counted["deliveries"], &counted["rule"]), (&Value::from(299), &Value::Null));
    assert_eq!(site.report(&campaign)["ledger"]["cancelled"], 1, "counting cancels nothing");
    let all = site.run(&["queue", "cancel", "--campaign", "Spring", "--reason", "a wrong price", "--yes"]);
    // As if the machine lost its power now.
    site.kill();
    site.serve();
    until("the cancel", || rule(&site, &id(&all["rule"]))["state"] == "over");
    let report = site.wait_done(&campaign, 60);
    assert_eq!((&report["ledger"]["cancelled"], &report["ledger"]["queued"]), (&Value::from(300), &Value::from(0)));
    assert_eq!(sim.stat("messages"), 0);
    let resumed = site.run(&["queue", "resume", &id(&suspend)]);
    assert_eq!(resumed["ended"][0]["end_reason"], "ended");

    // Held, looked at, released; and slowly.
    let second = site.draft("Second", "rehearsal");
    site.run(&["queue", "hold", "--campaign", "Second", "--reason", "look first"]);
    site.run(&["campaign", "start", &second, "--no-undo"]);
    until("all held", || site.report(&second)["ledger"]["held"] == 300);
    site.run(&["queue", "speed", "--campaign", "Second", "--per-second", "20", "--reason", "gently"]);
    let released = site.run(&["queue", "release", "--campaign", "Second"]);
    assert_eq!(released["ended"].as_array().map(Vec::len), Some(1), "{released}");
    until("some", || sim.stat("messages") > 5);
    let (begun, before) = (Instant::now(), sim.stat("messages"));
    std::thread::sleep(Duration::from_secs(2));
    let rate = (sim.stat("messages") - before) as f64 / begun.elapsed().as_secs_f64();
    assert!((10.0..=30.0).contains(&rate), "{rate} a second");
    site.run(&["queue", "resume", "--campaign", "Second"]);
    let report = site.wait_done(&second, 60);
    assert_eq!(report["ledger"]["accepted"], 300);
    assert_eq!(sim.stat("messages"), 300);
    assert_eq!(site.terminate(), Some(0));
}
