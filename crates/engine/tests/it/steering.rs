//! Steering: each action and each scope through the engine, what becomes of the rows, restart, expiry and two nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::{CampaignId, DeliveryId, QueueRuleId};
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::shaping::HoldReason;
use postrider_domain::steering::{NewSteerRule, SteerAction, SteerPace, SteerScope};
use postrider_domain::stream::Stream;
use postrider_engine::WaitingFor;
use postrider_mail::Stage;
use postrider_store::page::PageRequest;
use postrider_store::steering::{QueueRule, RulesOf, Sweep};
use postrider_store::suppression::SuppressionFilter;

use crate::on_both;
use crate::rig::{CONSOLE, Rig, mx_route, rehearsal};

on_both!(
    each_scope_suspends_what_it_names_and_lets_the_rest_go,
    a_domain_that_waits_does_not_block_its_neighbours,
    a_cancel_in_the_middle_leaves_nothing_and_loses_nothing,
    a_bounce_of_a_site_spares_the_others,
    held_until_released,
    rerouted_and_back,
    a_speed_is_kept,
    a_rule_ends_by_the_clock,
    a_restart_forgets_no_rule,
    a_sweep_that_was_killed_is_finished,
);

async fn set(rig: &Rig, new: NewSteerRule) -> QueueRule {
    rig.store.set_queue_rule(Some(rig.workspace), &CONSOLE, &new, None).await.expect("a rule")
}

fn new(action: SteerAction, scope: SteerScope) -> NewSteerRule {
    NewSteerRule::of(action, scope, "they asked us to")
}

async fn end(rig: &Rig, rule: QueueRuleId) {
    rig.store.end_queue_rule(Some(rig.workspace), &CONSOLE, rule).await.expect("it ends");
}

/// Messages that the world has taken.
fn copies(rig: &Rig) -> usize {
    usize::try_from(rig.world.record().copies()).unwrap()
}

/// Waits until nothing is left to be done or undone of a rule.
async fn settled(rig: &Rig, rule: QueueRuleId) -> QueueRule {
    rig.until("the rule to be settled", || async {
        rig.store.queue_rule(rig.workspace, rule).await.unwrap().settled_at.is_some()
    })
    .await;
    rig.store.queue_rule(rig.workspace, rule).await.unwrap()
}

fn of_campaign(campaign: CampaignId) -> SteerScope {
    SteerScope { campaign: Some(campaign), ..SteerScope::default() }
}

async fn statuses(rig: &Rig, campaign: CampaignId) -> BTreeMap<String, ReportStatus> {
    rig.report(campaign).await.into_iter().map(|(mailbox, row)| (mailbox, row.0)).collect()
}

async fn waits_for(rig: &Rig, delivery: DeliveryId) -> String {
    let holds = rig.store.holds(rig.workspace, &[delivery]).await.expect("holds");
    holds.get(&delivery).map_or(String::new(), |hold| {
        assert_eq!(hold.reason, HoldReason::Rule, "{}", hold.sentence());
        hold.sentence()
    })
}

async fn id_of(rig: &Rig, campaign: CampaignId, mailbox: &str) -> DeliveryId {
    rig.rows(campaign).await.into_iter().find(|r| r.mailbox == mailbox).expect("its row").id
}

async fn each_scope_suspends_what_it_names_and_lets_the_rest_go(rig: Rig) {
    let people = ["a@mail1.test", "b@mail1.test", "c@mail2.test", "d@tenant1.shared.test", "e@tenant2.shared.test"];
    rig.people(&people).await;
    let engine = rig.engine().await;
    let all = SteerScope::default;
    let text = |t: &str| Some(t.to_owned());
    // Who waits, by the letters of their mailboxes.
    let table: Vec<(SteerScope, &str)> = vec![
        (all(), "abcde"),
        (SteerScope { stream: Some(Stream::Marketing), ..all() }, "abcde"),
        (SteerScope { stream: Some(Stream::Transactional), ..all() }, ""),
        (SteerScope { sending_domain: text("news.example.org"), ..all() }, "abcde"),
        (SteerScope { sending_domain: text("example.org"), ..all() }, ""),
        (SteerScope { source: text("direct"), ..all() }, "abcde"),
        (SteerScope { source: text("elsewhere"), ..all() }, ""),
        (SteerScope { site: text("mail1.test"), ..all() }, "ab"),
        (SteerScope { site: text("shared.test"), ..all() }, "de"),
        (SteerScope { domain: text("tenant1.shared.test"), ..all() }, "d"),
        (SteerScope { domain: text("tenant1.shared.test"), site: text("mail1.test"), ..all() }, ""),
        // The placeholders of a campaign and of a delivery of its own.
        (SteerScope { campaign: Some(CampaignId(0)), ..all() }, "abcde"),
        (SteerScope { delivery: Some(DeliveryId(0)), ..all() }, "c"),
    ];
    let mut before = 0;
    for (scope, waiting) in table {
        let campaign = rig.draft(rehearsal(), None).await;
        let everything = set(&rig, new(SteerAction::Suspend, of_campaign(campaign))).await;
        rig.start(campaign).await;
        rig.until("the audience", || async { rig.rows(campaign).await.len() == people.len() }).await;
        rig.until_state(campaign, CampaignState::Sending).await;
        let mut scope = scope;
        if scope.delivery.is_some() {
            scope.delivery = Some(id_of(&rig, campaign, "c@mail2.test").await);
        }
        let about = scope.words();
        let rule = if scope.campaign.is_some() {
            everything
        } else {
            let rule = set(&rig, new(SteerAction::Suspend, scope)).await;
            end(&rig, everything.rule.id).await;
            rule
        };
        let expected = people.len() - waiting.len();
        rig.until(&about, || async { copies(&rig) == before + expected }).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(copies(&rig), before + expected, "{about}");
        for row in rig.rows(campaign).await {
            let waits = waiting.contains(&row.mailbox[..1]);
            assert_eq!(row.status == ReportStatus::Queued, waits, "{about}: {} is {}", row.mailbox, row.status);
            if waits {
                let why = waits_for(&rig, row.id).await;
                assert!(why.contains("suspended by the console: they asked us to"), "{about}: {why}");
            }
        }
        if waiting.len() == people.len() {
            rig.until("the reason", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::Rule) }).await;
        }
        end(&rig, rule.rule.id).await;
        rig.until_state(campaign, CampaignState::Done).await;
        before += people.len();
        assert_eq!(copies(&rig), before, "{about}");
        assert!(rig.rows(campaign).await.iter().all(|r| r.attempt == 1), "{about}: waiting is no attempt");
    }
    engine.shutdown(Duration::from_secs(10)).await;
}

/// Two domains of one provider lie in one lane; more rows of the one wait than are read at a time.
async fn a_domain_that_waits_does_not_block_its_neighbours(mut rig: Rig) {
    rig.limits.rows_per_lane = 8;
    let waiting: Vec<String> = (0..60).map(|n| format!("p{n}@tenant1.shared.test")).collect();
    let going: Vec<String> = (0..10).map(|n| format!("q{n}@tenant2.shared.test")).collect();
    let people: Vec<&str> = waiting.iter().chain(&going).map(String::as_str).collect();
    rig.people(&people).await;
    let scope = SteerScope { domain: Some("tenant1.shared.test".into()), ..SteerScope::default() };
    let rule = set(&rig, new(SteerAction::Suspend, scope)).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the neighbours", || async { copies(&rig) == going.len() }).await;
    assert!(waiting.iter().all(|mailbox| rig.world.seen(mailbox).is_empty()));
    end(&rig, rule.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert_eq!((copies(&rig), rig.world.record().duplicate_counts().0), (70, 0));
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn slow_crowd(rig: &Rig) -> Vec<String> {
    let people: Vec<String> = (0..200).map(|n| format!("p{n}+slow@mail{}.test", n % 4)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    people
}

fn patient() -> RetryPolicy {
    RetryPolicy { timeout_ms: Some(8_000), ..rehearsal() }
}

async fn a_cancel_in_the_middle_leaves_nothing_and_loses_nothing(rig: Rig) {
    slow_crowd(&rig).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until("some messages", || async { copies(&rig) > 10 }).await;
    let cancel = set(&rig, new(SteerAction::Cancel, of_campaign(campaign))).await;
    let over = settled(&rig, cancel.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.queued, ledger.accepted + ledger.cancelled), (0, 200), "{ledger:?}");
    assert!(ledger.cancelled > 50, "{ledger:?}");
    assert_eq!(over.done, ledger.cancelled);
    assert_eq!(ledger.accepted, i64::try_from(copies(&rig)).unwrap(), "what left is accounted for");
    assert_eq!(rig.world.record().duplicate_counts().0, 0);
    engine.shutdown(Duration::from_secs(20)).await;
}

async fn a_bounce_of_a_site_spares_the_others(rig: Rig) {
    let people: Vec<String> = (0..40).map(|n| format!("p{n}@mail{}.test", 1 + n % 2)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let campaign = rig.draft(rehearsal(), None).await;
    let suspend = set(&rig, new(SteerAction::Suspend, of_campaign(campaign))).await;
    let engine = rig.engine().await;
    rig.start(campaign).await;
    let scope = SteerScope { site: Some("mail1.test".into()), campaign: Some(campaign), ..SteerScope::default() };
    let speed = NewSteerRule { pace: Some(SteerPace(1)), ..new(SteerAction::Speed, of_campaign(campaign)) };
    let speed = set(&rig, speed).await;
    end(&rig, suspend.rule.id).await;
    rig.until("their sites", || async {
        rig.store.count_concerned(Some(rig.workspace), SteerAction::Bounce, &scope).await.unwrap() > 15
    })
    .await;
    let mut bounce = new(SteerAction::Bounce, scope);
    bounce.text = "withdrawn by the sender".into();
    let bounce = set(&rig, bounce).await;
    settled(&rig, bounce.rule.id).await;
    end(&rig, speed.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    let mut bounced = 0;
    for (mailbox, (status, _, _, detail)) in rig.report(campaign).await {
        if mailbox.ends_with("@mail2.test") {
            assert_eq!(status, ReportStatus::Sent, "{mailbox}");
        } else if status == ReportStatus::Bounced {
            assert_eq!(detail, "withdrawn by the sender");
            assert!(rig.world.seen(&mailbox).is_empty(), "{mailbox} was written to");
            bounced += 1;
        }
    }
    assert!(bounced > 15, "{bounced}");
    assert_eq!(rig.ledger(campaign).await.rejected, bounced);
    let suppressed = rig.store.suppressions(rig.workspace, &SuppressionFilter::default(), &PageRequest::first(9)).await;
    assert_eq!(suppressed.unwrap().items.len(), 0, "nobody is suppressed");
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn held_until_released(rig: Rig) {
    let people = ["a@mail1.test", "b@mail1.test", "c@mail2.test"];
    rig.people(&people).await;
    let scope = SteerScope { domain: Some("mail1.test".into()), ..SteerScope::default() };
    // Set before anything is there: what comes is held when it is read.
    let hold = set(&rig, new(SteerAction::Hold, scope)).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the held ones", || async { rig.ledger(campaign).await.held == 2 }).await;
    rig.until("the other one", || async { rig.ledger(campaign).await.accepted == 1 }).await;
    let by = statuses(&rig, campaign).await;
    assert_eq!((by["a@mail1.test"], by["c@mail2.test"]), (ReportStatus::Held, ReportStatus::Sent));
    let held = rig.rows(campaign).await.into_iter().find(|r| r.status == ReportStatus::Held).unwrap();
    assert!(waits_for(&rig, held.id).await.contains("held by the console: they asked us to"));
    assert_eq!(held.next_at, None);
    end(&rig, hold.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert_eq!(copies(&rig), 3);
    settled(&rig, hold.rule.id).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn rerouted_and_back(rig: Rig) {
    let mut other = mx_route();
    other.name = "Other".into();
    // So slow that whatever goes by it stays in the queue.
    other.per_day = 1;
    let other = rig.store.add_route(rig.workspace, &CONSOLE, &other, None).await.unwrap().id;
    let people: Vec<String> = (0..20).map(|n| format!("p{n}@mail{}.test", 1 + n % 2)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = rig.engine().await;
    let scope = SteerScope { domain: Some("mail1.test".into()), ..SteerScope::default() };
    let reroute = set(&rig, NewSteerRule { route: Some(other), ..new(SteerAction::Reroute, scope) }).await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("what is not concerned, and one", || async { copies(&rig) == 11 }).await;
    rig.until("the limit of the other route", || async {
        engine.waiting().iter().any(|w| w.reason == WaitingFor::DailyLimit)
    })
    .await;
    assert_eq!(copies(&rig), 11);
    end(&rig, reroute.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert_eq!(copies(&rig), 20, "the rest went by its own route");
    assert_eq!(rig.world.record().duplicate_counts().0, 0);
    settled(&rig, reroute.rule.id).await;
    rig.ledger(campaign).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

/// Five a second to one domain, on a hand-wound clock; the other domain is not slowed down.
async fn a_speed_is_kept(rig: Rig) {
    let slow: Vec<String> = (0..25).map(|n| format!("p{n}@mail1.test")).collect();
    let fast: Vec<String> = (0..25).map(|n| format!("p{n}@mail2.test")).collect();
    rig.people(&slow.iter().chain(&fast).map(String::as_str).collect::<Vec<_>>()).await;
    let scope = SteerScope { domain: Some("mail1.test".into()), ..SteerScope::default() };
    let speed = NewSteerRule { pace: Some(SteerPace(5_000)), ..new(SteerAction::Speed, scope) };
    set(&rig, speed).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    let to = |rig: &Rig, people: &[String]| people.iter().filter(|m| !rig.world.seen(m).is_empty()).count();
    rig.until("those without a speed", || async { to(&rig, &fast) == 25 }).await;
    assert!(to(&rig, &slow) <= 3, "{} at once", to(&rig, &slow));
    rig.until("the reason", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::Speed) }).await;
    let (mut sent, begun) = (BTreeMap::new(), rig.store.now());
    while rig.store.campaign(rig.workspace, campaign).await.unwrap().state != CampaignState::Done {
        tokio::time::sleep(Duration::from_millis(30)).await;
        sent.insert(rig.store.now(), to(&rig, &slow));
        rig.store.clock.advance(100);
        assert!(rig.store.now() - begun < 120_000, "never done: {sent:?}");
    }
    for (at, n) in &sent {
        let before = sent.range(..=at - 1_000).next_back().map_or(0, |(_, n)| *n);
        assert!(n - before <= 7, "{} messages within one second: {sent:?}", n - before);
    }
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_rule_ends_by_the_clock(rig: Rig) {
    rig.people(&["a@mail1.test"]).await;
    let suspend = new(SteerAction::Suspend, SteerScope::default());
    let rule = set(&rig, NewSteerRule { until: Some(rig.store.now() + 60_000), ..suspend }).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the reason", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::Rule) }).await;
    rig.store.clock.advance(59_000);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(copies(&rig), 0);
    rig.store.clock.advance(1_000);
    rig.until_state(campaign, CampaignState::Done).await;
    let over = settled(&rig, rule.rule.id).await;
    assert_eq!(over.end_reason.as_deref(), Some("expired"));
    let audit = rig.store.audit(rig.workspace, &PageRequest::first(50)).await.unwrap().items;
    assert_eq!(audit.iter().filter(|l| l.action == "queue.expired").count(), 1);
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_restart_forgets_no_rule(mut rig: Rig) {
    rig.people(&["a@mail1.test", "b@mail2.test"]).await;
    let scope = SteerScope { site: Some("mail1.test".into()), ..SteerScope::default() };
    let rule = set(&rig, new(SteerAction::Suspend, scope)).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("the other one", || async { copies(&rig) == 1 }).await;
    drop(engine);
    rig.store.kill_and_reopen().await;
    let engine = rig.engine().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(copies(&rig), 1);
    let open = rig.store.queue_rules(rig.workspace, RulesOf::Open, &PageRequest::first(9)).await.unwrap().items;
    assert_eq!(open.len(), 1);
    end(&rig, rule.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert_eq!(copies(&rig), 2);
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_sweep_that_was_killed_is_finished(mut rig: Rig) {
    let people: Vec<String> = (0..300).map(|n| format!("p{n}@mail{}.test", n % 4)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let campaign = rig.draft(rehearsal(), None).await;
    let suspend = set(&rig, new(SteerAction::Suspend, of_campaign(campaign))).await;
    let engine = rig.engine().await;
    rig.start(campaign).await;
    rig.until_state(campaign, CampaignState::Sending).await;
    drop(engine);
    let cancel = set(&rig, new(SteerAction::Cancel, of_campaign(campaign))).await;
    {
        let node = rig.store.register_node().await.unwrap();
        let mut sweep = Sweep::of_rule(&rig.store, node.id, &cancel).await.unwrap().unwrap();
        assert!((1..300).contains(&sweep.next().await.unwrap().rows));
    }
    rig.store.kill_and_reopen().await;
    let partly = rig.ledger(campaign).await;
    assert!(partly.cancelled > 0 && partly.queued > 0, "{partly:?}");
    end(&rig, suspend.rule.id).await;
    let engine = rig.engine().await;
    let over = settled(&rig, cancel.rule.id).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert_eq!((rig.ledger(campaign).await.cancelled, over.done), (300, 300));
    assert_eq!(copies(&rig), 0, "nothing left after the cancel");
    engine.shutdown(Duration::from_secs(10)).await;
}

/// RCPT commands that the world has seen.
fn named(rig: &Rig, people: &[String]) -> usize {
    people.iter().map(|m| rig.world.seen(m).iter().filter(|s| s.stage == Stage::Rcpt).count()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_obey_within_a_second() {
    let rig = Rig::postgres("steer_two_nodes").await;
    let people = slow_crowd(&rig).await;
    let other = rig.store.second_node().await;
    let (one, two) = (rig.engine().await, rig.engine_on(&other).await);
    let campaign = rig.campaign(patient()).await;
    rig.until("some messages", || async { copies(&rig) > 10 }).await;
    let suspend = set(&rig, new(SteerAction::Suspend, of_campaign(campaign))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = named(&rig, &people);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(named(&rig, &people), before, "no new RCPT a second after the commit");
    assert_eq!(rig.ledger(campaign).await.in_doubt, 0, "what was marked ahead was put back");
    end(&rig, suspend.rule.id).await;
    rig.until("some more", || async { copies(&rig) > 40 }).await;
    let cancel = set(&rig, new(SteerAction::Cancel, of_campaign(campaign))).await;
    settled(&rig, cancel.rule.id).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.queued, ledger.accepted + ledger.cancelled), (0, 200), "{ledger:?}");
    assert_eq!(ledger.accepted, i64::try_from(copies(&rig)).unwrap());
    assert_eq!(rig.world.record().duplicate_counts().0, 0);
    one.shutdown(Duration::from_secs(20)).await;
    two.shutdown(Duration::from_secs(20)).await;
}
