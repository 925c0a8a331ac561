//! Must show 8: two engine processes on one PostgreSQL send together, and one takes over from the other.

use crate::harness::{Sim, Site, people};
use crate::{postgres_url, torture};
use std::time::{Duration, Instant};

#[test]
fn two_nodes_share_the_work_and_the_survivor_takes_over() {
    let contacts = if torture() { 40_000 } else { 6_000 };
    let sim = Sim::start(9, &[]);
    let url = postgres_url("nodes");
    let mut one = Site::new(&sim, &url);
    let mut two = Site::new(&sim, &url);
    for (site, name) in [(&mut one, "one"), (&mut two, "two")] {
        site.set("POSTRIDER_NODE_NAME", name);
        site.set("POSTRIDER_NODE_DEAD_MS", "3000");
    }
    // Both nodes must know the installation's secrets: the second starts with the first's key file.
    one.serve();
    one.furnish();
    std::fs::copy(one.data.path().join("master.key"), two.data.path().join("master.key")).expect("the key file");
    two.serve();
    one.import(&people(contacts));
    one.brake(if torture() { 2_000 } else { 400 });
    let campaign = one.draft("Two nodes", "rehearsal");
    one.run(&["campaign", "start", &campaign, "--no-undo"]);
    // Killed in the middle of its work, however long freezing took.
    let until = Instant::now() + Duration::from_secs(120);
    while one.report(&campaign)["by_node"]["two"].as_i64().unwrap_or(0) < contacts as i64 / 20 {
        let report = one.report(&campaign);
        assert!(report["state"] != "done" && Instant::now() < until, "the second node has nothing to do: {report}");
        std::thread::sleep(Duration::from_millis(100));
    }
    two.kill();
    let report = one.wait_done(&campaign, 300);
    assert_eq!(report["ledger"]["accepted"].as_u64(), Some(contacts as u64), "{report}");
    assert_eq!(sim.stat("messages"), contacts as i64, "nobody is missing");
    assert_eq!(sim.stat("different_bytes"), 0);
    let nodes = report["by_node"].as_object().expect("by_node");
    assert_eq!(nodes.values().filter(|n| n.as_i64() > Some(0)).count(), 2, "both sent: {report}");
}

#[test]
fn a_second_server_on_the_same_folder_is_told_so() {
    let sim = Sim::start(10, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    let (code, _, err) = site.try_run(&["serve"]);
    assert_ne!(code, Some(0));
    assert!(err.contains("in use by process"), "{err}");
}
