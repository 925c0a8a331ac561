//! Our own limits and those of the other side: pace, day, connections; who goes first.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_content::{SingleMessage, compose_single};
use postrider_domain::campaign::CampaignState;
use postrider_domain::id::DeliveryId;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteSettings;
use postrider_domain::stream::{Stream, TlsWish};
use postrider_engine::{Engine, WaitingFor};
use postrider_mail::mailbox::Mailbox;
use postrider_store::message::{NewMessage, Recipient};
use postrider_store::route::PasswordChange;

use crate::on_both;
use crate::rig::{CONSOLE, Rig, mx_route, rehearsal};

on_both!(
    connections_are_reused_and_their_ends_cost_nothing,
    a_pace_is_kept,
    a_day_is_kept_and_the_rest_leaves_after_midnight,
    transactional_mail_goes_first,
    campaigns_share_a_site,
    few_connections_are_enough,
);

/// 421 after some messages, and silent closing: every message is accepted at its first attempt.
async fn connections_are_reused_and_their_ends_cost_nothing(rig: Rig) {
    let mut people = Vec::new();
    for domain in ["close3", "exhaust3", "nopipe", "tls", "helo"] {
        people.extend((0..20).map(|n| format!("p{n}@{domain}.test")));
    }
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    // A machine that is too busy to give signs of life puts messages back for half a second of this clock.
    rig.until_done_winding(campaign, 50).await;
    for (mailbox, row) in rig.report(campaign).await {
        assert_eq!((row.0, row.1), (ReportStatus::Sent, 1), "{mailbox}: {row:?}");
    }
    let stats = rig.world.stats();
    assert!(stats.connections < 100, "reused: {} connections for 100 messages", stats.connections);
    assert_eq!(rig.world.record().copies(), 100);
    engine.shutdown(Duration::from_secs(10)).await;
}

/// 20 messages a second on a hand-wound clock: no second of it sees more.
async fn a_pace_is_kept(rig: Rig) {
    change_route(&rig, RouteSettings { per_second: 20, ..mx_route() }).await;
    let people: Vec<String> = (0..50).map(|n| format!("p{n}@mail1.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the first message", || async { rig.world.record().copies() > 0 }).await;
    let (mut sent, mut waited) = (BTreeMap::new(), false);
    let begun = rig.store.now();
    while rig.store.campaign(rig.workspace, campaign).await.unwrap().state != CampaignState::Done {
        waited |= engine.waiting().iter().any(|w| w.reason == WaitingFor::Pace);
        tokio::time::sleep(Duration::from_millis(30)).await;
        sent.insert(rig.store.now(), rig.world.record().copies());
        rig.store.clock.advance(100);
        assert!(rig.store.now() - begun < 60_000, "never done");
    }
    for (at, copies) in &sent {
        let before = sent.range(..=at - 1_000).next_back().map_or(0, |(_, n)| *n);
        assert!(copies - before <= 23, "{} messages within one second: {sent:?}", copies - before);
    }
    assert!(waited, "the reason could be asked");
    assert!(rig.rows(campaign).await.iter().all(|r| r.attempt == 1), "waiting for our own limits is no attempt");
    engine.shutdown(Duration::from_secs(10)).await;
}

/// Seeds, case 18: a daily limit of 30 and a list of 40; the rest leaves after midnight in the workspace's zone.
async fn a_day_is_kept_and_the_rest_leaves_after_midnight(rig: Rig) {
    change_route(&rig, RouteSettings { per_day: 30, ..mx_route() }).await;
    let people: Vec<String> = (0..40).map(|n| format!("p{n}@mail1.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the day's messages", || async { rig.world.record().copies() >= 30 }).await;
    rig.until("the reason", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::DailyLimit) }).await;
    // 12:00 UTC is 13:00 in Rome: ten hours later it is still the same day there.
    for _ in 0..10 {
        rig.store.clock.advance(3_600_000);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(rig.world.record().copies(), 30);
    rig.store.clock.advance(2 * 3_600_000);
    rig.until("the first of the rest", || async { rig.world.record().copies() > 30 }).await;
    // Not in a burst: thirty a day is one in 48 minutes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(rig.world.record().copies() <= 32, "{}", rig.world.record().copies());
    for _ in 0..12 {
        rig.store.clock.advance(3_000_000);
        // Long enough for a connection that waits to end and for another one to ask.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    rig.until("the rest", || async { rig.world.record().copies() == 40 }).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert!(rig.rows(campaign).await.iter().all(|r| (r.status, r.attempt) == (ReportStatus::Sent, 1)));
    engine.shutdown(Duration::from_secs(10)).await;
}

/// A receipt overtakes a campaign that has hundreds of messages waiting at the same slow host.
async fn transactional_mail_goes_first(rig: Rig) {
    change_route(&rig, RouteSettings { connections: 2, ..mx_route() }).await;
    let people: Vec<String> = (0..150).map(|n| format!("p{n}@slow.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let policy = RetryPolicy { timeout_ms: Some(5_000), ..rehearsal() };
    let campaign = rig.campaign(policy).await;
    rig.until("the campaign to be on its way", || async { rig.world.record().copies() > 2 }).await;
    single(&rig, &engine, "receipt@slow.test").await;
    rig.until("the receipt", || async { !rig.world.seen("receipt@slow.test").is_empty() }).await;
    let before = rig.world.record().copies();
    assert!(before < 100, "{before} messages of the campaign went before the receipt");
    rig.store.stop_campaign(rig.workspace, campaign).await.unwrap();
    engine.shutdown(Duration::from_secs(20)).await;
}

/// Two campaigns at one site: the small one is not behind the large one.
async fn campaigns_share_a_site(rig: Rig) {
    change_route(&rig, RouteSettings { connections: 1, ..mx_route() }).await;
    let people: Vec<String> = (0..200).map(|n| format!("p{n}@mail1.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (first, second) = (rig.draft(rehearsal(), None).await, rig.draft(rehearsal(), None).await);
    let engine = rig.engine().await;
    rig.start(first).await;
    rig.until("the first campaign", || async { rig.world.record().copies() > 0 }).await;
    rig.start(second).await;
    rig.until_state(first, CampaignState::Done).await;
    // The second one is still on its way: counters alone, since rows are counted at another moment.
    let sent = rig.store.ledger_counts(rig.workspace, second).await.unwrap().accepted;
    assert!(sent > 10, "{sent} of the second campaign had left when the first was done");
    rig.until_state(second, CampaignState::Done).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

/// A host that takes two connections at a time: we learn it, and everybody gets the message in the end.
async fn few_connections_are_enough(rig: Rig) {
    let people: Vec<String> = (0..60).map(|n| format!("p{n}@limit2.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let policy = RetryPolicy { max_attempts: 20, gaps_ms: vec![1_000], ..rehearsal() };
    let campaign = rig.campaign(policy).await;
    rig.until_done_winding(campaign, 500).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 60);
    assert_eq!(rig.world.record().copies(), 60);
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn change_route(rig: &Rig, settings: RouteSettings) {
    rig.store.change_route(rig.workspace, &CONSOLE, rig.route, &settings, PasswordChange::Keep).await.expect("changed");
}

/// Takes one transactional message.
pub async fn single(rig: &Rig, engine: &Engine, to: &str) -> DeliveryId {
    single_wishing(rig, engine, to, None).await
}

/// Takes one transactional message whose sender has a wish about TLS.
pub async fn single_wishing(rig: &Rig, engine: &Engine, to: &str, tls: Option<TlsWish>) -> DeliveryId {
    let (from, mailbox) = (Mailbox::parse("info@news.example.org").unwrap(), Mailbox::parse(to).unwrap());
    let (message, delivery) = (rig.store.new_message_id(), rig.store.new_delivery_id());
    let bytes = compose_single(&SingleMessage {
        from_name: "Shop",
        from: &from,
        to: std::slice::from_ref(&mailbox),
        reply_to: None,
        subject: "Your receipt",
        text: Some("Thank you.\n"),
        html: None,
        message_id: &format!("<{}@news.example.org>", message.get()),
        date_ms: rig.store.now(),
        number: message.get(),
    })
    .unwrap();
    let new = NewMessage {
        id: message,
        workspace: rig.workspace,
        stream: Stream::Transactional,
        from_mailbox: from.wire(),
        subject: "Your receipt".into(),
        bytes,
        recipients: vec![Recipient {
            delivery,
            mailbox: mailbox.wire(),
            mailbox_norm: mailbox.normalised(),
            domain: mailbox.domain().as_str().into(),
            contact: None,
        }],
        api_key: None,
        test_of: None,
        version: None,
        max_attempts: 35,
        expires_at: None,
        site: "unresolved".into(),
        tls,
        answer: None,
        relay: None,
    };
    engine.writer().expect("a sending engine").accept_message(new).await.expect("taken");
    delivery
}
