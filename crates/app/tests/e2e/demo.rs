//! Must show 1: the demo balances, loses nobody, repeats nobody, and shows every status.

use crate::harness::POSTRIDER;
use crate::torture;
use serde_json::Value;
use std::process::Command;

#[test]
fn the_demo_balances_and_shows_every_status() {
    let contacts = if torture() { "2000" } else { "400" };
    let data = tempfile::tempdir().expect("a folder");
    let done = Command::new(POSTRIDER)
        .args(["demo", "--contacts", contacts, "--exit", "--json", "--data"])
        .arg(data.path())
        .output()
        .expect("the binary is built");
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{out}\n{err}");
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    let n = |field: &str| last[field].as_i64().unwrap_or_else(|| panic!("{field} in {last}"));
    assert_eq!(n("recipients"), n("accepted") + n("bounced") + n("expired") + n("withheld") + n("in_doubt"));
    assert_eq!((n("lost"), n("duplicates"), n("in_doubt")), (0, 0, 0), "{last}");
    assert!(n("accepted") > 0 && n("bounced") > 0 && n("expired") > 0, "{last}");
    assert!(n("attempts") > n("recipients"), "retries happened: {last}");
    assert!(last["excluded"].as_object().is_some_and(|e| e.values().any(|v| v.as_i64() > Some(0))), "{last}");
    for field in ["seconds", "messages_per_second", "peak_rss_bytes"] {
        assert!(last[field].as_f64().is_some_and(|v| v > 0.0), "{field}: {last}");
    }
    let report = format!("{out}{err}");
    for status in ["SENT", "TIMEOUT", "BOUNCED", "EXPIRED", "3 of 3", "1 of 3", "2 of 3"] {
        assert!(report.contains(status), "{status} is in the report:\n{report}");
    }
}
