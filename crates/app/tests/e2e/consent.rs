//! Must show 3 and 4: the four cases of the seeds, consent, and one-click unsubscribe over real HTTP.

use crate::harness::{Sim, Site, people};
use crate::postgres_url;
use serde_json::Value;

fn row_of<'a>(report: &'a Value, mailbox: &str) -> &'a Value {
    report["rows"]
        .as_array()
        .and_then(|rows| rows.iter().find(|r| r["mailbox"].as_str().is_some_and(|m| m.starts_with(mailbox))))
        .unwrap_or_else(|| panic!("a row of {mailbox} in {report}"))
}

fn cases(database_url: &str) {
    let sim = Sim::start(3, &[]);
    let mut site = Site::new(&sim, database_url);
    site.serve();
    site.furnish();
    site.import(
        "email,first_name\nfine@mail1.test,Ada\ntwice@defer2.test,Bo\nsilent@never.test,Cy\ngone@unknown.test,Di\nwall@block-connect.test,Ed\n\
         rude@block-mail.test,Fy\npicky@block-data.test,Gi\n",
    );
    let campaign = site.draft("Cases", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    site.wait_done(&campaign, 60);
    let report = site.run(&["campaign", "report", &campaign, "--rows", "50"]);
    for (mailbox, status, tries) in [
        ("fine@", "SENT", "1 of 3"),
        ("twice@", "SENT", "3 of 3"),
        ("silent@", "TIMEOUT", "3 of 3"),
        ("gone@", "BOUNCED", "1 of 3"),
        ("wall@", "BOUNCED", "1 of 3"),
        ("rude@", "BOUNCED", "1 of 3"),
        ("picky@", "BOUNCED", "1 of 3"),
    ] {
        let row = row_of(&report, mailbox);
        assert_eq!((row["status"].as_str(), row["attempts"].as_str()), (Some(status), Some(tries)), "{mailbox}: {row}");
    }
    assert!(
        row_of(&report, "silent@")["detail"].as_str().is_some_and(|d| d.contains("unable to reach remote mail server"))
    );
    for mailbox in ["wall@", "rude@", "picky@"] {
        assert!(
            row_of(&report, mailbox)["detail"].as_str().is_some_and(|d| d.contains("5.7.")),
            "{}",
            row_of(&report, mailbox)
        );
    }
    // 5.1.1 at RCPT is proof, 5.7.x is about us: one suppression, before the next campaign starts.
    let again = site.draft("Again", "rehearsal");
    site.run(&["campaign", "start", &again, "--no-undo"]);
    let report = site.wait_done(&again, 60);
    assert_eq!(report["excluded"]["suppressed"], 1, "{report}");
    assert_eq!(report["ledger"]["frozen"], 6, "{report}");
}

#[test]
fn deferred_silent_dead_and_blocked_end_as_the_seeds_say_on_sqlite() {
    cases("");
}

#[test]
fn deferred_silent_dead_and_blocked_end_as_the_seeds_say_on_postgres() {
    cases(&postgres_url("cases"));
}

#[test]
fn without_consent_nothing_reaches_the_wire() {
    let sim = Sim::start(4, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    let file = site.data.path().join("bare.csv");
    std::fs::write(&file, "email,first_name\nbare@mail1.test,Bea\n").expect("written");
    site.run(&["import", file.to_str().expect("utf-8"), "--list", "Everyone"]);
    site.import("email,first_name\nasked@mail2.test,Al\n");
    let campaign = site.draft("Consent", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    let report = site.wait_done(&campaign, 60);
    assert_eq!(report["excluded"]["no_consent"], 1, "{report}");
    assert_eq!(report["ledger"]["accepted"], 1, "{report}");
    assert_eq!(sim.stat("transactions"), 1, "not even a MAIL FROM");
}

/// The one-click link of the only message that the simulated world has.
fn link(sim: &Sim) -> (String, String) {
    let message = sim.ask("LAST 1");
    let text = message["messages"][0]["text"].as_str().expect("text").replace("\r\n ", "").replace("\r\n\t", "");
    let line = text.lines().find(|l| l.starts_with("List-Unsubscribe:")).expect("List-Unsubscribe").to_owned();
    let url = line.split(['<', '>']).find(|p| p.starts_with("http")).expect("an http link").to_owned();
    let path = url.splitn(4, '/').nth(3).map(|p| format!("/{p}")).expect("a path");
    (url, path)
}

#[test]
fn one_click_works_without_cookies_and_reading_changes_nothing() {
    let sim = Sim::start(5, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    site.import("email,first_name\nreader@mail1.test,Rea\n");
    let campaign = site.draft("Link", "rehearsal");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    site.wait_done(&campaign, 60);
    let (url, path) = link(&sim);
    assert!(url.contains(&site.http.to_string()), "host names come from public_url, not from Host: {url}");
    for method in ["GET", "HEAD", "OPTIONS"] {
        let (status, body) = site.http_request(method, &path, &[], "").expect("answered");
        // OPTIONS may be refused; what matters is that it changes nothing.
        assert!((200..300).contains(&status) || method == "OPTIONS" && status == 405, "{method} {status} {body}");
    }
    let next = |name: &str| {
        let campaign = site.draft(name, "rehearsal");
        site.run(&["campaign", "start", &campaign, "--no-undo"]);
        site.wait_done(&campaign, 60)
    };
    assert_eq!(next("After reading")["ledger"]["accepted"], 1, "GET, HEAD and OPTIONS change nothing");
    let form = "application/x-www-form-urlencoded";
    for n in 0..path.len() - 3 {
        let at = n + 3;
        let mut other = path.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        let (status, _) = site
            .http_request("POST", &other, &[("Content-Type", form)], "List-Unsubscribe=One-Click")
            .expect("answered");
        assert_eq!(status, 404, "byte {at} changed");
    }
    assert_eq!(next("After forgeries")["ledger"]["accepted"], 1);
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    for (kind, body) in [("multipart/form-data; boundary=b", multipart), (form, "List-Unsubscribe=One-Click")] {
        for _ in 0..3 {
            let (status, _) = site.http_request("POST", &path, &[("Content-Type", kind)], body).expect("answered");
            assert_eq!(status, 200, "{kind}");
        }
    }
    let campaign = site.draft("After opting out", "rehearsal");
    let (code, out, err) = site.try_run(&["campaign", "start", &campaign, "--no-undo"]);
    assert!(code != Some(0), "nobody is left to write to: {out} {err}");
    assert!(format!("{out}{err}").contains("nobody would get this campaign"), "{out} {err}");
}

#[test]
fn who_opts_out_during_the_run_gets_no_mail_from_after_the_commit() {
    let sim = Sim::start(6, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    site.import("email,first_name\nfirst@mail1.test,First\n");
    let first = site.draft("First", "rehearsal");
    site.run(&["campaign", "start", &first, "--no-undo"]);
    site.wait_done(&first, 60);
    let (_, path) = link(&sim);
    // The same person is deferred in the second campaign and opts out between two tries.
    site.import(&people(3));
    sim.ask("BEHAVE mail1.test defer");
    let second = site.draft("Second", "rehearsal");
    site.run(&["campaign", "start", &second, "--no-undo"]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while sim.tries("first@mail1.test") < 2 {
        assert!(std::time::Instant::now() < until, "the first try of the second campaign never came");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let (status, _) = site.http_request("POST", &path, &form, "List-Unsubscribe=One-Click").expect("answered");
    assert_eq!(status, 200);
    let before = sim.tries("first@mail1.test");
    let report = site.wait_done(&second, 60);
    assert_eq!(report["ledger"]["withheld"], 1, "{report}");
    assert_eq!(sim.tries("first@mail1.test"), before, "no MAIL FROM after the commit");
    let rows = site.run(&["campaign", "report", &second, "--rows", "100", "--status", "WITHHELD"]);
    assert!(row_of(&rows, "first@")["detail"].as_str().is_some_and(|d| d.contains("withdrawn")), "{rows}");
}
