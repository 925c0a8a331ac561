//! TLS as recipient domains ask for it, from the look-up of a policy to the attempt's row and the counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_domain::campaign::CampaignState;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::route::TlsDemand;
use postrider_engine::{PolicyFault, PolicySource, TransportConfig};
use postrider_smtp::BoxFuture;
use postrider_smtp::dane::{Dane, DaneRecords, Tlsa};
use postrider_smtp::dnssec::{MxSecurity, SecureLookup};
use postrider_store::transport::{StsRow, day_of};

use crate::on_both;
use crate::rig::{CONSOLE, Rig, rehearsal};

on_both!(each_domain_gets_what_it_asks_for, a_policy_stands_until_its_time_is_over);

/// Policy files by domain; what is not in it cannot be fetched.
#[derive(Default)]
struct Files {
    texts: Mutex<HashMap<String, String>>,
    fetched: AtomicUsize,
}

impl Files {
    fn put(&self, domain: &str, mode: &str, mx: &str, max_age: u32) {
        let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {max_age}\n");
        self.texts.lock().unwrap().insert(domain.to_owned(), text);
    }

    fn take_away(&self, domain: &str) {
        self.texts.lock().unwrap().remove(domain);
    }
}

impl PolicySource for Files {
    fn fetch<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<String, PolicyFault>> {
        Box::pin(async move {
            self.fetched.fetch_add(1, Ordering::Relaxed);
            let text = self.texts.lock().unwrap().get(domain).cloned();
            text.ok_or_else(|| PolicyFault::Fetch("the web host answered 404".to_owned()))
        })
    }
}

/// Signed are `tls-good.test`, whose host has a record of another key, and `tls-broken.test`, which does not verify.
struct Signed;

impl SecureLookup for Signed {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, MxSecurity> {
        Box::pin(async move {
            match domain {
                "dane.tls-good.test" => MxSecurity::Secure,
                "bogus.tls-good.test" => MxSecurity::Failed("the validating resolver answered Server Failure".into()),
                _ => MxSecurity::Insecure,
            }
        })
    }

    fn tlsa<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Dane> {
        let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
        let records = DaneRecords { base: host.to_owned(), records: vec![record] };
        Box::pin(async move { Dane::Records(Arc::new(records)) })
    }
}

async fn each_domain_gets_what_it_asks_for(mut rig: Rig) {
    let files = Arc::new(Files::default());
    for (domain, mode, mx) in [
        ("tls-good.test", "enforce", "*.tls-good.test"),
        ("shop.tls.test", "enforce", "*.shop.tls.test"),
        ("other.tls-good.test", "enforce", "mx.elsewhere.test"),
        ("tls-expired.test", "testing", "*.tls-expired.test"),
        ("tenant2.shared.test", "enforce", "*.shared.test"),
    ] {
        files.put(domain, mode, mx, 86_400);
        rig.world.publish_txt(&format!("_mta-sts.{domain}"), "v=STSv1; id=1");
    }
    rig.world.publish_txt("_mta-sts.tls-wrong.test", "v=STSv1; id=1"); // and no file
    for (domain, demand) in [("mail8.test", TlsDemand::Verified), ("mail9.test", TlsDemand::RequireTls)] {
        rig.store.set_tls_rule(rig.workspace, &CONSOLE, domain, demand, "test").await.unwrap();
    }
    rig.transport =
        TransportConfig { policies: Some(files.clone()), secure: Some(Arc::new(Signed)), ..TransportConfig::default() };
    let cases = [
        ("a@tls.test", true, "unauthenticated", "self-signed and no policy: it gets the mail"),
        ("b@tls-good.test", true, "MTA-STS enforce", "listed, and a good certificate"),
        ("c@shop.tls.test", false, "4.7.5", "listed, and self-signed"),
        ("d@other.tls-good.test", false, "4.7.5", "not listed"),
        ("e@tls-expired.test", true, "unauthenticated: MTA-STS testing", "testing never blocks"),
        ("f@tls-wrong.test", true, "unauthenticated", "a policy that cannot be fetched is none"),
        ("g@tenant1.shared.test", true, "clear: not offered", "no policy"),
        ("h@tenant2.shared.test", false, "4.7.4", "the same host under another domain's policy"),
        ("i@mail8.test", false, "4.7.4", "a rule"),
        ("j@mail9.test", false, "5.7.30", "REQUIRETLS"),
        ("k@dane.tls-good.test", false, "4.7.5", "no TLSA record names the certificate"),
        ("l@bogus.tls-good.test", false, "4.7.5", "DNSSEC that does not verify"),
        ("m@tls-refused.test", true, "clear: offered and then refused", "STARTTLS is answered with 454"),
    ];
    rig.people(&cases.map(|(mailbox, ..)| mailbox)).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_state(campaign, CampaignState::Sending).await;
    let all = &rig;
    all.until("every mailbox has its first attempt", || async move {
        let rows = all.rows(campaign).await;
        rows.len() == cases.len() && rows.iter().all(|row| row.attempt > 0)
    })
    .await;
    for row in rig.rows(campaign).await {
        let (_, sent, says, why) = cases.iter().find(|case| case.0 == row.mailbox).expect("a case");
        let attempt = rig.attempts(row.id).await.pop().expect("an attempt");
        let wanted = match (sent, says) {
            (true, _) => ReportStatus::Sent,
            (false, says) if says.starts_with('5') => ReportStatus::Bounced,
            (false, _) => ReportStatus::Queued,
        };
        assert_eq!(row.status, wanted, "{}: {why}: {}", row.mailbox, attempt.text);
        if *sent {
            assert!(attempt.tls.contains(says), "{}: {why}: {:?}", row.mailbox, attempt.tls);
        } else {
            assert_eq!(attempt.enhanced.as_deref(), Some(*says), "{}: {why}: {}", row.mailbox, attempt.text);
            assert!(rig.world.seen(&row.mailbox).is_empty(), "{}: nothing on the wire", row.mailbox);
        }
    }
    engine.shutdown(Duration::from_secs(5)).await;

    let day = day_of(rig.store.now());
    let results = rig.store.tls_results(day, day, None).await.unwrap();
    for (domain, policy, result) in [
        ("tls.test", "no-policy-found", "success"),
        ("tls-good.test", "sts", "success"),
        ("shop.tls.test", "sts", "certificate-not-trusted"),
        ("other.tls-good.test", "sts", "validation-failure"),
        ("tls-expired.test", "sts", "certificate-expired"),
        ("tls-wrong.test", "sts", "sts-policy-fetch-error"),
        ("tenant1.shared.test", "no-policy-found", "starttls-not-supported"),
        ("tenant2.shared.test", "sts", "starttls-not-supported"),
        ("dane.tls-good.test", "tlsa", "validation-failure"),
        ("bogus.tls-good.test", "tlsa", "dnssec-invalid"),
    ] {
        let found = results.iter().any(|r| (&*r.domain, &*r.policy, &*r.result) == (domain, policy, result));
        assert!(found, "{domain} {policy} {result} in {results:#?}");
    }
}

/// Enforced once, a policy holds although its TXT record and its file are gone; after max_age nothing holds any more.
async fn a_policy_stands_until_its_time_is_over(mut rig: Rig) {
    let files = Arc::new(Files::default());
    let kept = StsRow {
        domain: "tls.test".into(),
        policy_id: "1".into(),
        mode: "enforce".into(),
        mx: vec!["*.tls.test".into()],
        max_age: 3_600,
        fetched_at: rig.store.now(),
    };
    rig.store.keep_sts_policy(&kept).await.unwrap();
    let over = StsRow { domain: "x.tls.test".into(), fetched_at: rig.store.now() - 3_600_001, ..kept.clone() };
    rig.store.keep_sts_policy(&over).await.unwrap();
    // A new id whose file cannot be fetched changes nothing either.
    rig.world.publish_txt("_mta-sts.y.tls.test", "v=STSv1; id=2");
    let renewed = StsRow { domain: "y.tls.test".into(), mx: vec!["*.y.tls.test".into()], ..kept };
    rig.store.keep_sts_policy(&renewed).await.unwrap();
    // A new id with a new file does.
    rig.world.publish_txt("_mta-sts.z.tls.test", "v=STSv1; id=2");
    rig.store.keep_sts_policy(&StsRow { domain: "z.tls.test".into(), ..renewed }).await.unwrap();
    files.put("z.tls.test", "none", "*.z.tls.test", 60);
    files.put("gone.tls.test", "enforce", "*.gone.tls.test", 60);
    files.take_away("gone.tls.test");
    rig.transport = TransportConfig { policies: Some(files.clone()), ..TransportConfig::default() };
    rig.people(&["a@tls.test", "b@x.tls.test", "c@y.tls.test", "d@z.tls.test", "e@gone.tls.test"]).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_state(campaign, CampaignState::Sending).await;
    let all = &rig;
    all.until("every mailbox has its first attempt", || async move {
        let rows = all.rows(campaign).await;
        rows.len() == 5 && rows.iter().all(|row| row.attempt > 0)
    })
    .await;
    let report = rig.report(campaign).await;
    for (mailbox, status) in [
        ("a@tls.test", ReportStatus::Queued),
        ("b@x.tls.test", ReportStatus::Sent),
        ("c@y.tls.test", ReportStatus::Queued),
        ("d@z.tls.test", ReportStatus::Sent),
        ("e@gone.tls.test", ReportStatus::Sent),
    ] {
        assert_eq!(report[mailbox].0, status, "{mailbox}: {}", report[mailbox].3);
    }
    let fetched = files.fetched.load(Ordering::Relaxed);
    assert_eq!(fetched, 2, "only who shows a new id is asked for a file, once");
    assert_eq!(rig.store.sts_policy("z.tls.test").await.unwrap().unwrap().mode, "none");
    assert_eq!(rig.store.sts_policy("y.tls.test").await.unwrap().unwrap().policy_id, "1");
    engine.shutdown(Duration::from_secs(5)).await;
}
