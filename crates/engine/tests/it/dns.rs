//! The DNS table: what DNS says about a recipient's domain, and what becomes of the first attempt. docs/dns.md holds the
//! same table.

use std::fmt::Write as _;
use std::path::Path;

use postrider_domain::campaign::CampaignState;
use postrider_domain::outcome::ReportStatus;

use crate::rig::{Rig, rehearsal};

/// What DNS says, the simulated domain that says it, and what becomes of the first attempt.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    ("an MX record and an A record", "mail1.test", "accepted"),
    ("two MX hosts, nobody listens at the first", "multi.test", "accepted"),
    ("five MX hosts, only the last listens", "last5.test", "accepted"),
    ("60 MX hosts", "large.test", "accepted"),
    ("60 MX hosts, only the last listens", "last60.test", "waits"),
    ("an MX host with an AAAA record only", "v6.test", "accepted"),
    ("an MX host with A and AAAA, nobody listens at A", "dual.test", "accepted"),
    ("NODATA for MX, an A record", "implicit.test", "accepted"),
    ("the domain is an alias", "cname.test", "accepted"),
    ("a chain of two aliases", "chain2.test", "accepted"),
    ("a chain of 20 aliases", "chain20.test", "waits an hour"),
    ("an alias of itself", "loop.test", "waits an hour"),
    ("the MX host is an alias", "mxcname.test", "accepted"),
    ("SERVFAIL", "servfail.test", "waits"),
    ("bogus: a validating resolver says SERVFAIL", "bogus.test", "waits"),
    ("REFUSED", "dns-refused.test", "waits"),
    ("no answer in time", "dns-never.test", "waits"),
    ("an MX host without an address", "noaddress.test", "waits"),
    ("NXDOMAIN", "nxdomain.test", "waits an hour"),
    ("NODATA for MX, A and AAAA", "nodata.test", "waits an hour"),
    ("null MX", "nullmx.test", "fails 5.1.10"),
    ("an MX host with a private address", "private.test", "fails 5.4.4"),
];

const HOUR: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dns_says_decides_about_the_first_attempt() {
    let mut rig = Rig::sqlite("dns").await;
    rig.times.nxdomain_second_look_ms = HOUR;
    let people: Vec<String> = ROWS.iter().map(|(_, domain, _)| format!("ann@{domain}")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_state(campaign, CampaignState::Sending).await;
    // Nobody winds the clock, so that no second attempt comes.
    let (rig, people) = (&rig, &people);
    rig.until("every domain has its first attempt", || async move {
        let rows = rig.rows(campaign).await;
        rows.len() == people.len() && rows.iter().all(|row| row.attempt > 0 || row.outcome_at.is_some())
    })
    .await;
    let rows = rig.rows(campaign).await;
    let (mut wrong, mut table) = (Vec::new(), String::from("| DNS says | the first attempt |\n|---|---|\n"));
    for (what, domain, expected) in ROWS {
        let row = rows.iter().find(|row| row.mailbox == format!("ann@{domain}")).expect("a row");
        let last = rig.attempts(row.id).await.pop().expect("an attempt");
        let found = match row.status {
            ReportStatus::Sent => "accepted".to_owned(),
            ReportStatus::Bounced => format!("fails {}", last.enhanced.as_deref().unwrap_or("without a status")),
            ReportStatus::Queued if row.next_at.is_some_and(|at| at >= last.at + HOUR) => "waits an hour".to_owned(),
            ReportStatus::Queued => "waits".to_owned(),
            other => other.to_string(),
        };
        assert_eq!(row.attempt, 1, "{domain}");
        let _ = writeln!(table, "| {what} | {found} |");
        if found != *expected {
            wrong.push(format!("{what} ({domain}): {found} and not {expected}; {}", row.detail));
        }
    }
    engine.shutdown(std::time::Duration::from_secs(5)).await;
    assert!(wrong.is_empty(), "wrong:\n{}", wrong.join("\n"));
    compare("docs/dns.md", "table", &table);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_hosts_in_front_are_passed_by_the_next_attempts() {
    let rig = Rig::sqlite("dead-hosts").await;
    rig.people(&["ann@last25.test"]).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 200).await;
    let rows = rig.rows(campaign).await;
    engine.shutdown(std::time::Duration::from_secs(5)).await;
    // Ten addresses an attempt: 24 that are dead take two attempts and a half.
    assert_eq!((rows[0].status, rows[0].attempt), (ReportStatus::Sent, 3), "{}", rows[0].detail);
}

/// Compares a part of a page with what the test has made; with UPDATE_TABLES=1 writes it there.
fn compare(page: &str, part: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = std::fs::read_to_string(&path).expect("the page");
    let (begin, end) = (format!("<!-- {part}: made by a test -->\n"), format!("<!-- {part}: end -->"));
    let from = text.find(&begin).expect("the mark before the table") + begin.len();
    let to = from + text[from..].find(&end).expect("the mark after the table");
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, [&text[..from], made, &text[to..]].concat()).expect("written");
        return;
    }
    assert_eq!(&text[from..to], made, "{page} is not up to date: run the test once with UPDATE_TABLES=1");
}
