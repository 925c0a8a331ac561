//! Must show 10: `postrider doctor` against a lab zone with twelve planted faults names all twelve and no other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Sim, Site};

const SPF: &str = "v=spf1 a:sender.test ~all";
const DMARC: &str = "v=DMARC1; p=none; rua=mailto:dmarc@example.org";

/// Replaces all records of a name.
fn set(sim: &Sim, name: &str, records: &[(&str, &str)]) {
    sim.ask(&format!("WITHDRAW {name}"));
    for (kind, value) in records {
        let said = sim.ask(&format!("RECORD {name} {kind} {value}"));
        assert_eq!(said["ok"], true, "{name} {kind} {value}: {said}");
    }
}

/// The lines about DNS that are amiss, as (domain, code), and the exit code.
fn amiss(site: &Site) -> (Option<i32>, BTreeSet<(String, String)>) {
    let (exit, out, err) = site.try_run(&["doctor"]);
    let doctor: Value = serde_json::from_str(out.trim()).unwrap_or_else(|e| panic!("`{out}` {err}: {e}"));
    let mut found = BTreeSet::new();
    for line in doctor["checks"].as_array().expect("checks") {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        if matches!(text("light").as_str(), "red" | "amber") {
            assert!(!text("detail").is_empty(), "{line}");
            assert!(found.insert((text("domain"), text("code"))), "told twice: {line}");
        }
    }
    (exit, found)
}

#[test]
fn the_doctor_names_twelve_planted_faults_and_no_other() {
    let sim = Sim::start(10, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    let workspace = ["workspace", "create", "--name", "Lab", "--controller", "Lab Ltd", "--address", "1 Road, Milano"];
    let urls = ["--public-url", "https://clicks.test", "--privacy-url", "https://clicks.test/privacy", "--zone", "UTC"];
    site.run(&[&workspace[..], &urls[..]].concat());
    site.run(&["route", "add", "direct", "--kind", "mx", "--default"]);
    set(&sim, "sender.test", &[("A", "192.0.2.10"), ("TXT", "v=spf1 a -all")]);
    set(&sim, "10.2.0.192.in-addr.arpa", &[("PTR", "sender.test")]);
    set(&sim, "clicks.test", &[("A", "192.0.2.20")]);
    let mut keys = Vec::new();
    for n in 1..=10 {
        let name = format!("d{n}.test");
        let made = site.run(&["domain", "add", &name]);
        let records = made["records"].as_array().expect("records");
        let key = records.iter().find(|r| r["name"].as_str().is_some_and(|n| n.contains("_domainkey"))).expect("a key");
        let text = |field: &str| key[field].as_str().expect("text").to_owned();
        set(&sim, &name, &[("SOA", "")]);
        set(&sim, &format!("bounces.{name}"), &[("MX", "10 clicks.test"), ("TXT", SPF)]);
        set(&sim, &format!("_dmarc.{name}"), &[("TXT", DMARC)]);
        set(&sim, &text("name"), &[("TXT", &text("value"))]);
        keys.push((text("name"), text("value")));
    }
    assert_eq!(amiss(&site), (Some(0), BTreeSet::new()), "a clean zone has no fault");
    site.kill();

    let mut planted = BTreeSet::new();
    let mut plant = |domain: &str, code: &str, name: &str, records: &[(&str, &str)]| {
        set(&sim, name, records);
        planted.insert((domain.to_owned(), code.to_owned()));
    };
    let mx = ("MX", "10 clicks.test");
    let eleven = format!("v=spf1 {} ~all", ["a:sender.test"; 11].join(" "));
    plant("d1.test", "spf_twice", "bounces.d1.test", &[mx, ("TXT", SPF), ("TXT", "v=spf1 -all")]);
    plant("d2.test", "spf_too_many_lookups", "bounces.d2.test", &[mx, ("TXT", &eleven)]);
    plant("d3.test", "dkim_missing", &keys[2].0, &[]);
    plant("d4.test", "dkim_other_key", &keys[3].0, &[("TXT", &keys[0].1)]);
    plant("d5.test", "dmarc_missing", "_dmarc.d5.test", &[]);
    plant("d6.test", "dmarc_twice", "_dmarc.d6.test", &[("TXT", DMARC), ("TXT", "v=DMARC1; p=reject")]);
    plant("d7.test", "return_path_no_zone", "d7.test", &[("A", "192.0.2.30")]);
    plant("d8.test", "return_path_no_host", "bounces.d8.test", &[("TXT", SPF)]);
    plant("d9.test", "spf_plus_all", "bounces.d9.test", &[mx, ("TXT", "v=spf1 +all")]);
    plant("d9.test", "dkim_revoked", &keys[8].0, &[("TXT", "v=DKIM1; p=")]);
    // What all domains share is told with the first of them in order of names, and what is this host's with none.
    plant("d1.test", "public_host_missing", "clicks.test", &[]);
    plant("", "ptr_missing", "10.2.0.192.in-addr.arpa", &[]);
    assert_eq!(planted.len(), 12);
    site.serve();
    assert_eq!(amiss(&site), (Some(1), planted));
}
