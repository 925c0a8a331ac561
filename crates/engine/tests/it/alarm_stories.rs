//! Each kind of alarm through a running engine: raised once when it is wrong, resolved once when it is over.
//!
//! What is wrong is made wrong where it would be: in DNS, on the disk, in the database, at the clock, at a host.

use std::time::Duration;

use postrider_domain::alarm::{AlarmKind, AlarmSeverity};
use postrider_domain::id::CampaignId;
use postrider_domain::retry::RetryPolicy;
use postrider_engine::Engine;
use postrider_store::StoreError;
use postrider_store::alarm::{Alarm, AlarmState};
use postrider_store::certificate::NewCertificate;
use postrider_store::page::PageRequest;

use crate::domains::{check, good_domain, good_host, set};
use crate::on_both;
use crate::rig::Rig;

on_both!(
    a_resolver_that_is_gone_is_told_until_it_is_back,
    a_database_that_refuses_is_told_until_it_answers,
    a_host_that_has_lost_its_tls_is_told_until_it_has_it_again,
    a_site_that_blocks_us_is_told_until_it_was_calm_for_an_hour,
    a_certificate_that_ends_is_told_twice_and_over_when_it_is_renewed,
    a_full_disk_is_told_and_nothing_is_sent_until_there_is_room,
    a_clock_that_was_set_is_told_for_an_hour,
    a_sending_domain_that_turned_red_is_told_until_it_is_green,
);

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn patient() -> RetryPolicy {
    RetryPolicy { timeout_ms: Some(700), ..RetryPolicy::preset("marketing").expect("a preset") }
}

async fn alarms(rig: &Rig, kind: AlarmKind) -> Vec<Alarm> {
    let page = rig.store.alarms(rig.workspace, AlarmState::ALL, &PageRequest::first(100)).await.unwrap();
    page.items.into_iter().filter(|alarm| alarm.kind == kind).collect()
}

async fn states(rig: &Rig, kind: AlarmKind) -> Vec<AlarmState> {
    alarms(rig, kind).await.iter().map(Alarm::state).collect()
}

/// Waits for the one alarm of a kind.
async fn raised(rig: &Rig, kind: AlarmKind) -> Alarm {
    rig.until(&format!("{kind} is raised"), || async { states(rig, kind).await == [AlarmState::Open] }).await;
    alarms(rig, kind).await.remove(0)
}

/// Winds the clock by `step` milliseconds after each look until the one alarm of a kind is over; how long after it was seen
/// last, by the hand-wound clock.
async fn over(rig: &Rig, engine: &Engine, kind: AlarmKind, step: i64) -> i64 {
    for _ in 0..60 {
        if states(rig, kind).await == [AlarmState::Resolved] {
            let alarm = alarms(rig, kind).await.remove(0);
            return alarm.resolved_at.expect("over") - alarm.last_seen_at;
        }
        rig.store.clock.advance(step);
        // A look that had begun before may not know the time yet.
        rig.looks(engine, 2).await;
    }
    panic!("{kind} is not over: {:?}", alarms(rig, kind).await);
}

/// Several looks more: nothing is raised again.
async fn stays(rig: &Rig, engine: &Engine, kind: AlarmKind, state: AlarmState) {
    for _ in 0..4 {
        rig.store.clock.advance(MINUTE / 4);
        rig.looks(engine, 2).await;
    }
    assert_eq!(states(rig, kind).await, [state], "{kind}");
}

/// Sends to these mailboxes and waits until each was tried.
async fn send(rig: &Rig, mailboxes: &[&str]) -> CampaignId {
    rig.people(mailboxes).await;
    let campaign = rig.campaign(patient()).await;
    rig.until("everybody was tried", || async {
        let rows = rig.rows(campaign).await;
        rows.len() >= mailboxes.len() && rows.iter().all(|row| row.attempt > 0 || row.outcome_at.is_some())
    })
    .await;
    campaign
}

async fn a_resolver_that_is_gone_is_told_until_it_is_back(rig: Rig) {
    let people: Vec<String> = (0..12).map(|n| format!("ann@mail{n}.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (engine, dns) = rig.engine_with_switch().await;
    dns.go();
    let campaign = rig.campaign(patient()).await;
    let alarm = raised(&rig, AlarmKind::Dns).await;
    assert_eq!((alarm.severity, alarm.workspace), (AlarmSeverity::Critical, None));
    assert!(alarm.facts["questions"].as_i64().is_some_and(|n| n >= 10), "{}", alarm.facts);
    stays(&rig, &engine, AlarmKind::Dns, AlarmState::Open).await;
    dns.come_back();
    rig.until_done_winding(campaign, MINUTE).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 12, "a resolver that is gone is nobody's fault");
    let calm = over(&rig, &engine, AlarmKind::Dns, MINUTE).await;
    // The deliveries wound the clock faster than anybody looks.
    assert!((5 * MINUTE..30 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::Dns, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_database_that_refuses_is_told_until_it_answers(rig: Rig) {
    let engine = rig.engine().await;
    rig.looks(&engine, 2).await;
    assert_eq!(states(&rig, AlarmKind::Database).await, []);
    // Three errors within a minute; one look alone makes as many.
    rig.store.hide_table("site_breaker").await;
    let alarm = raised(&rig, AlarmKind::Database).await;
    assert_eq!((alarm.severity, alarm.subject.as_str()), (AlarmSeverity::Critical, "main"));
    assert!(alarm.facts["why"].as_str().is_some_and(|why| why.contains("could not")), "{}", alarm.facts);
    stays(&rig, &engine, AlarmKind::Database, AlarmState::Open).await;
    rig.store.show_table("site_breaker").await;
    let calm = over(&rig, &engine, AlarmKind::Database, MINUTE).await;
    assert!((5 * MINUTE..8 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::Database, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_host_that_has_lost_its_tls_is_told_until_it_has_it_again(mut rig: Rig) {
    // Each message finds the host as it is now, by a connection of its own.
    rig.times.idle_close = Duration::from_millis(20);
    let to = |n: usize| format!("p{n}@mail1.test");
    assert!(rig.world.behave("mail1.test", "tls"));
    let (engine, dns) = rig.engine_with_switch().await;
    send(&rig, &[&to(1)]).await;
    rig.looks(&engine, 3).await;
    assert_eq!(states(&rig, AlarmKind::TlsLost).await, [], "it has TLS");
    assert!(rig.world.behave("mail1.test", "accept"));
    dns.forget();
    send(&rig, &[&to(2)]).await;
    let alarm = raised(&rig, AlarmKind::TlsLost).await;
    assert_eq!((alarm.severity, alarm.subject.as_str()), (AlarmSeverity::Warning, "mx1.mail1.test"));
    assert_eq!(alarm.facts["domain"], "mail1.test");
    dns.forget();
    send(&rig, &[&to(3)]).await;
    stays(&rig, &engine, AlarmKind::TlsLost, AlarmState::Open).await;
    assert!(rig.world.behave("mail1.test", "tls"));
    dns.forget();
    send(&rig, &[&to(4)]).await;
    let calm = over(&rig, &engine, AlarmKind::TlsLost, MINUTE).await;
    assert!((10 * MINUTE..15 * MINUTE).contains(&calm), "good news count after ten minutes: {calm}");
    stays(&rig, &engine, AlarmKind::TlsLost, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_site_that_blocks_us_is_told_until_it_was_calm_for_an_hour(rig: Rig) {
    let engine = rig.engine().await;
    let people: Vec<String> = (0..6).map(|n| format!("p{n}@block-mail.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let campaign = rig.campaign(patient()).await;
    let alarm = raised(&rig, AlarmKind::Block).await;
    assert_eq!(alarm.severity, AlarmSeverity::Critical);
    assert!(alarm.facts["reply"].as_str().is_some_and(|reply| reply.starts_with("550")), "{}", alarm.facts);
    // Nobody is tried again, whether all were refused already or some wait until the site may be asked again.
    match rig.store.stop_campaign(rig.workspace, campaign).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => {}
        Err(error) => panic!("could not stop the campaign: {error}"),
    }
    stays(&rig, &engine, AlarmKind::Block, AlarmState::Open).await;
    let calm = over(&rig, &engine, AlarmKind::Block, 10 * MINUTE).await;
    assert!((HOUR..HOUR + 20 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::Block, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_certificate_that_ends_is_told_twice_and_over_when_it_is_renewed(rig: Rig) {
    let engine = rig.engine().await;
    // As another node keeps it that reads its own files.
    let keep = async |days: i64| {
        let new = NewCertificate {
            place: "files elsewhere".into(),
            names: vec!["mail.example.org".into()],
            chain: String::new(),
            key: None,
            not_before: rig.store.now(),
            not_after: rig.store.now() + days * DAY,
        };
        rig.store.keep_certificate(&new).await.unwrap();
    };
    keep(60).await;
    rig.looks(&engine, 3).await;
    assert_eq!(states(&rig, AlarmKind::Certificate).await, []);
    rig.store.clock.advance(40 * DAY);
    let alarm = raised(&rig, AlarmKind::Certificate).await;
    assert_eq!((alarm.severity, alarm.facts["days"].as_i64()), (AlarmSeverity::Warning, Some(21)));
    stays(&rig, &engine, AlarmKind::Certificate, AlarmState::Open).await;
    rig.store.clock.advance(14 * DAY);
    rig.until("it is critical", || async {
        alarms(&rig, AlarmKind::Certificate).await.iter().all(|alarm| alarm.severity == AlarmSeverity::Critical)
    })
    .await;
    stays(&rig, &engine, AlarmKind::Certificate, AlarmState::Open).await;
    keep(90).await;
    let calm = over(&rig, &engine, AlarmKind::Certificate, MINUTE).await;
    assert!((MINUTE..4 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::Certificate, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_full_disk_is_told_and_nothing_is_sent_until_there_is_room(rig: Rig) {
    let engine = rig.engine().await;
    rig.store.disk.leave(4 << 30);
    let alarm = raised(&rig, AlarmKind::Disk).await;
    assert_eq!((alarm.severity, alarm.facts["free_mib"].as_i64()), (AlarmSeverity::Critical, Some(4_096)));
    rig.people(&["ann@mail1.test"]).await;
    let campaign = rig.campaign(patient()).await;
    stays(&rig, &engine, AlarmKind::Disk, AlarmState::Open).await;
    assert_eq!(rig.world.seen("ann@mail1.test").len(), 0, "nothing is sent without room");
    rig.store.disk.leave(50 << 30);
    rig.until_done_winding(campaign, 1_000).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 1);
    let calm = over(&rig, &engine, AlarmKind::Disk, MINUTE).await;
    assert!((5 * MINUTE..8 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::Disk, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_clock_that_was_set_is_told_for_an_hour(rig: Rig) {
    let engine = rig.engine().await;
    rig.looks(&engine, 2).await;
    // Time that passes is no jump.
    rig.store.clock.advance(2 * HOUR);
    rig.looks(&engine, 2).await;
    assert_eq!(states(&rig, AlarmKind::Clock).await, []);
    rig.store.clock.set_wall(rig.store.now() + 10 * MINUTE);
    let alarm = raised(&rig, AlarmKind::Clock).await;
    assert_eq!((alarm.severity, alarm.facts["seconds"].as_i64()), (AlarmSeverity::Warning, Some(600)));
    stays(&rig, &engine, AlarmKind::Clock, AlarmState::Open).await;
    let calm = over(&rig, &engine, AlarmKind::Clock, 10 * MINUTE).await;
    assert!((HOUR..HOUR + 20 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::Clock, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_sending_domain_that_turned_red_is_told_until_it_is_green(rig: Rig) {
    good_host(&rig);
    let own = rig.store.domains(rig.workspace).await.unwrap().remove(0);
    let key = own.keys[0].public_txt.clone();
    good_domain(&rig, &own.name, &own.return_path_host, &key);
    let (engine, dns) = rig.engine_with_switch().await;
    let first = check(&rig, own.id).await;
    assert_eq!(first["state"], "green", "{first}");
    assert_eq!(states(&rig, AlarmKind::DomainRed).await, []);
    // The key's record is gone; looks come each hour.
    let record = format!("s1._domainkey.{}", own.name);
    set(&rig, &record, &[]);
    dns.forget();
    rig.until("it is seen", || async {
        rig.store.clock.advance(10 * MINUTE);
        states(&rig, AlarmKind::DomainRed).await == [AlarmState::Open]
    })
    .await;
    let alarm = alarms(&rig, AlarmKind::DomainRed).await.remove(0);
    assert_eq!((alarm.workspace, alarm.subject.as_str()), (Some(rig.workspace), own.name.as_str()));
    assert_eq!(alarm.facts["code"], "dkim_missing", "{}", alarm.facts);
    stays(&rig, &engine, AlarmKind::DomainRed, AlarmState::Open).await;
    set(&rig, &record, &[("TXT", &key)]);
    dns.forget();
    let calm = over(&rig, &engine, AlarmKind::DomainRed, MINUTE).await;
    assert!((10 * MINUTE..30 * MINUTE).contains(&calm), "{calm}");
    stays(&rig, &engine, AlarmKind::DomainRed, AlarmState::Resolved).await;
    engine.shutdown(Duration::from_secs(10)).await;
}
