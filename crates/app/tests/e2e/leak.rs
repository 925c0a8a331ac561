//! Must show 10: addresses and secrets planted everywhere are in no log line and no metric.

use crate::harness::{Sim, Site};

#[test]
fn planted_addresses_and_secrets_reach_neither_logs_nor_metrics() {
    let sim = Sim::start(11, &[]);
    let mut site = Site::new(&sim, "");
    site.set("POSTRIDER_LOG", "debug");
    site.serve();
    site.furnish();
    let secret = "s3cret-plant-9471";
    let password = site.data.path().join("password");
    std::fs::write(&password, secret).expect("written");
    let file = password.to_str().expect("utf-8");
    site.run(&[
        "route",
        "add",
        "smart",
        "--kind",
        "smarthost",
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--tls",
        "none",
        "--username",
        "planted-name",
        "--password-file",
        file,
    ]);
    let key = site.run(&["key", "create", "--name", "plant", "--scope", "contacts:read"]);
    let key = key["secret"].as_str().expect("shown once").to_owned();
    site.import("email,first_name\nplanted-person@mail1.test,Planted Name\nplanted-gone@unknown.test,X\nplanted-late@defer2.test,Y\nplanted bad,Z\n");
    let campaign = site.draft("Leaks", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    site.wait_done(&campaign, 60);
    let bearer = format!("Bearer {key}");
    let (status, body) =
        site.http_request("GET", "/api/v1/contacts", &[("Authorization", &bearer)], "").expect("answered");
    assert_eq!(status, 200, "{body}");
    let routes = site.run(&["route", "list"]).to_string();
    let (_, metrics) = site.http_request("GET", "/metrics", &[], "").expect("answered");
    assert!(metrics.contains("postrider"), "{metrics}");
    assert_ne!(site.terminate(), None);
    let log = site.log_text();
    assert!(log.lines().count() > 10, "something was logged");
    for plant in ["planted-person", "planted-gone", "planted-late", "Planted Name", secret, key.as_str()] {
        for (place, text) in [("log", &log), ("metrics", &metrics), ("routes", &routes)] {
            assert!(!text.contains(plant), "{plant} is in the {place}");
        }
    }
    assert!(log.contains("p***@"), "mailboxes appear shortened");
}
