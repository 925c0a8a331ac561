//! Reports about TLS to other domains: each domain and day once, by mail or https, whoever makes them.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use postrider_engine::TlsReportConfig;
use postrider_fetch::{FetchPolicy, Fetcher};
use postrider_mail::base64_lines;
use postrider_mail::mailbox::Mailbox;
use postrider_store::tls_report::ReportState;
use postrider_store::transport::{TlsResult, day_of};
use rustls::RootCertStore;

use crate::on_both;
use crate::policies::{Loopback, host_named};
use crate::rig::Rig;

on_both!(every_domain_that_asks_gets_one_report_a_day);

const HOUR: i64 = 3_600_000;

fn counted(day: i64, domain: &str, result: &str, n: i64) -> TlsResult {
    let (domain, result) = (domain.to_owned(), result.to_owned());
    TlsResult { day, mx_host: format!("mx.{domain}"), domain, policy: "sts".into(), result, n }
}

async fn every_domain_that_asks_gets_one_report_a_day(mut rig: Rig) {
    let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (port, root, asked) = host_named("reports.example", answer).await;
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let policy = FetchPolicy {
        allow: vec!["127.0.0.0/8".parse().expect("a range")],
        ports: vec![port],
        timeout: Duration::from_secs(5),
        ..FetchPolicy::default()
    };
    rig.tls_reports = Some(TlsReportConfig {
        from: Mailbox::parse("tls@news.example.org").expect("a mailbox"),
        organization: "Test S.r.l.".into(),
        contact: "postmaster@news.example.org".into(),
        fetcher: Fetcher::new(policy).with_roots(roots).with_resolver(Arc::new(Loopback)),
    });
    let day = day_of(rig.store.now());
    let node = rig.store.register_node().await.expect("a node");
    let domains = ["mail1.test", "mail2.test", "mail3.test", "mail4.test", "mail5.test", "mail6.test"];
    let mut lines: Vec<TlsResult> = domains.iter().map(|name| counted(day, name, "success", 3)).collect();
    lines.push(counted(day, "mail1.test", "certificate-expired", 2));
    rig.store.count_tls(node, &lines).await.expect("counted");
    let tell = |domain: &str, text: &str| rig.world.publish_txt(&format!("_smtp._tls.{domain}"), text);
    tell("mail1.test", "v=TLSRPTv1; rua=mailto:tls@mail1.test");
    tell("mail2.test", &format!("v=TLSRPTv1; rua=https://reports.example:{port}/in"));
    tell("mail4.test", "v=TLSRPTv1; rua=mailto:a@mail4.test");
    tell("mail4.test", "v=TLSRPTv1; rua=mailto:b@mail4.test");
    tell("mail5.test", "v=TLSRPTv1; rua=ftp://mail5.test/");
    // Another port than the policy of the client allows: refused before anything is sent.
    tell("mail6.test", "v=TLSRPTv1; rua=https://127.0.0.1:25/");

    let engine = rig.engine().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.store.tls_reports(0).await.expect("rows"), [], "the day is not over");
    // From noon to five in the morning: all reports of the day are due.
    rig.store.clock.advance(17 * HOUR);
    let done = async || {
        let rows = rig.store.tls_reports(0).await.expect("rows");
        // Six domains, three places; one of them is tried again later.
        rows.len() == 9 && rows.iter().filter(|row| row.state == ReportState::Due).count() == 1
    };
    rig.until("every report has been looked at", done).await;
    rig.until("the mail has come", async || !rig.world.kept().is_empty()).await;
    engine.shutdown(Duration::from_secs(10)).await;

    let states = |domain: &str| {
        let domain = domain.to_owned();
        let store = rig.store.clone();
        async move {
            let rows = store.tls_reports(0).await.expect("rows");
            rows.into_iter().filter(|row| row.report.domain == domain).map(|row| row.state).collect::<Vec<_>>()
        }
    };
    use ReportState::{Due, NotWanted, Placed, Sent};
    for (domain, wanted) in [
        ("mail1.test", vec![Placed, Sent]),
        ("mail2.test", vec![Placed, Sent]),
        ("mail3.test", vec![NotWanted]),
        ("mail4.test", vec![NotWanted]),
        ("mail5.test", vec![NotWanted]),
        ("mail6.test", vec![Placed, Due]),
    ] {
        assert_eq!(states(domain).await, wanted, "{domain}");
    }
    {
        let asked = asked.lock().expect("no panic");
        assert_eq!(asked.len(), 1);
        let head = asked[0].to_ascii_lowercase();
        assert!(head.starts_with("post /in http/1.1\r\n") && head.contains("application/tlsrpt+gzip"), "{head}");
    }
    let mail = rig.world.kept();
    assert_eq!(mail.len(), 1);
    let text = String::from_utf8_lossy(&mail[0].bytes).into_owned();
    assert!(text.contains("DKIM-Signature:") && text.contains("d=news.example.org"), "{text}");
    assert!(text.contains("report-type=\"tlsrpt\"") && text.contains("TLS-Report-Domain: mail1.test"), "{text}");
    let packed = text.rsplit("json.gz\"\r\n\r\n").next().expect("a part").split("\r\n--").next().expect("a body");
    let packed = base64_lines::decode(packed.as_bytes()).expect("base64");
    let mut json = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut json).expect("gzip");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let summary = &json["policies"][0]["summary"];
    assert_eq!(summary["total-successful-session-count"], 3);
    assert_eq!(summary["total-failure-session-count"], 2);

    // Whoever comes later the same day finds nothing to do.
    let engine = rig.engine().await;
    for _ in 0..5 {
        rig.store.clock.advance(40_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rig.world.kept().len(), 1, "mailed once");
    assert_eq!(asked.lock().expect("no panic").len(), 1, "posted once");
    engine.shutdown(Duration::from_secs(10)).await;
}
