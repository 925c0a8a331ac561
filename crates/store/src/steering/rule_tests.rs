//! Rules and their sweeps, on both databases: what is concerned, what becomes of it, and that the ledger stays equal.

use postrider_domain::id::{DeliveryId, MessageId, RouteId};
use postrider_domain::outcome::{Outcome, ReportStatus};
use postrider_domain::queue::Ledger;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::shaping::HoldReason;
use postrider_domain::steering::{NewSteerRule, SteerAction, SteerPace, SteerScope};
use postrider_domain::stream::Stream;

use super::{HELD_AT, QueueRule, RulesOf, Sweep};
use crate::actor::Actor;
use crate::error::StoreError;
use crate::lane::UNRESOLVED;
use crate::mark::{MarkAnswer, MarkRefused, MarkRequest};
use crate::page::PageRequest;
use crate::queue_rig::{Rig, SITE, message};
use crate::report::DeliveriesOf;
use crate::settle::Next;
use crate::sql::{args, sql};
use crate::store::Store;
use crate::suppression::SuppressionFilter;
use crate::testing::open_both;

const BY: Actor = Actor::Console;

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

fn new(action: SteerAction, scope: SteerScope) -> NewSteerRule {
    let mut new = NewSteerRule::of(action, scope, "they asked us to");
    if action == SteerAction::Bounce {
        new.text = "withdrawn by the sender".into();
    }
    new
}

fn of_campaign(rig: &Rig<'_>) -> SteerScope {
    SteerScope { campaign: Some(rig.book.campaign), ..SteerScope::default() }
}

async fn set(rig: &Rig<'_>, new: &NewSteerRule) -> QueueRule {
    rig.store.set_queue_rule(Some(rig.book.workspace), &BY, new, None).await.unwrap()
}

async fn open(store: &Store, rule: &QueueRule) -> Option<QueueRule> {
    store.open_queue_rules().await.unwrap().into_iter().find(|r| r.rule.id == rule.rule.id)
}

/// One whole sweep of a rule as it is now; whether something is left.
async fn sweep(rig: &Rig<'_>, rule: &QueueRule) -> (u64, bool) {
    let Some(rule) = open(rig.store, rule).await else { return (0, false) };
    let Some(mut sweep) = Sweep::of_rule(rig.store, rig.node.id, &rule).await.unwrap() else { return (0, false) };
    let mut rows = 0;
    loop {
        let slice = sweep.some(3).await.unwrap();
        rows += slice.rows;
        if slice.over {
            return (rows, sweep.is_something_left());
        }
    }
}

async fn ledger(rig: &Rig<'_>) -> Ledger {
    let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
    let counted = rig.store.ledger_counts(workspace, campaign).await.unwrap();
    assert_eq!(counted, rig.store.recount(workspace, campaign).await.unwrap(), "counters and rows");
    assert!(counted.balances(), "{counted:?}");
    counted
}

async fn statuses(rig: &Rig<'_>, status: ReportStatus) -> Vec<(DeliveryId, String)> {
    let of = DeliveriesOf::Campaign(rig.book.campaign, None);
    let page = rig.store.deliveries(rig.book.workspace, of, &PageRequest::first(500)).await.unwrap();
    page.items.into_iter().filter(|r| r.status == status).map(|r| (r.id, r.detail)).collect()
}

#[tokio::test]
async fn a_cancel_ends_what_was_there_and_nothing_that_is_marked_or_comes_later() {
    for store in open_both("steer_cancel").await {
        let rig = Rig::start(&store, 10, &policy()).await;
        let deliveries = rig.deliveries().await;
        assert_eq!(rig.mark(deliveries[0]).await, MarkAnswer::Granted);
        store.hold_deliveries(rig.book.workspace, &deliveries[1..3], "look").await.unwrap();
        let cancel = set(&rig, &new(SteerAction::Cancel, of_campaign(&rig))).await;
        assert_eq!((cancel.expected, cancel.done), (10, 0));
        assert_eq!(sweep(&rig, &cancel).await, (9, true), "the marked one is its owner's");
        let counted = ledger(&rig).await;
        assert_eq!((counted.cancelled, counted.queued, counted.in_doubt, counted.held), (9, 1, 1, 0));
        // It comes back ready and is still concerned.
        rig.settle(deliveries[0], Next::Later { ready_at: store.now() }).await;
        assert_eq!(sweep(&rig, &cancel).await, (1, false));
        assert_eq!(open(&store, &cancel).await.unwrap().done, 10);
        assert!(store.queue_rule_settled(cancel.rule.id).await.unwrap());
        assert!(!store.queue_rule_settled(cancel.rule.id).await.unwrap(), "once");
        assert!(open(&store, &cancel).await.is_none());
        assert_eq!(ledger(&rig).await.cancelled, 10);
        let events = store.events_after(rig.node.id, 0, 500).await.unwrap();
        let cancelled: Vec<_> =
            events.iter().filter(|e| e.kind == postrider_domain::event::EventKind::Cancelled).collect();
        assert_eq!(cancelled.len(), 10, "one event each");
        assert!(cancelled.iter().all(|e| e.campaign == Some(rig.book.campaign) && e.contact.is_some()));
        assert!(events.windows(2).all(|w| w[1].seq == w[0].seq + 1), "no number is left out");
        // What comes later is not concerned.
        let message = accept(&rig, &["later@example.com"]).await;
        let all = set(&rig, &new(SteerAction::Cancel, SteerScope::default())).await;
        let after = accept(&rig, &["still-later@example.com"]).await;
        assert_eq!(sweep(&rig, &all).await, (1, false));
        let of = |message| DeliveriesOf::Message(message);
        let status = async |message| {
            store.deliveries(rig.book.workspace, of(message), &PageRequest::first(9)).await.unwrap().items[0].status
        };
        assert_eq!((status(message).await, status(after).await), (ReportStatus::Cancelled, ReportStatus::Queued));
    }
}

#[tokio::test]
async fn a_bounce_ends_with_the_words_of_the_operator_and_suppresses_nobody() {
    for store in open_both("steer_bounce").await {
        let rig = Rig::start(&store, 4, &policy()).await;
        let deliveries = rig.deliveries().await;
        let refused = deliveries[0];
        assert_eq!(rig.mark(refused).await, MarkAnswer::Granted);
        rig.settle(refused, Next::Done(Outcome::Rejected)).await;
        let bounce = set(&rig, &new(SteerAction::Bounce, of_campaign(&rig))).await;
        assert_eq!(sweep(&rig, &bounce).await, (3, false));
        assert_eq!(ledger(&rig).await.rejected, 4);
        let fares = store.campaign_fares().await.unwrap();
        let rates = fares.iter().find(|f| f.campaign == rig.book.campaign).expect("it is under way").rates;
        assert_eq!((rates.accepted, rates.rejected), (0, 1), "only what a host refused says how the campaign fares");
        let rows = statuses(&rig, ReportStatus::Bounced).await;
        assert_eq!(rows.len(), 4);
        let by_hand = |(id, _): &&(DeliveryId, String)| *id != refused;
        assert!(rows.iter().filter(by_hand).all(|(_, text)| text == "withdrawn by the sender"), "{rows:?}");
        let suppressed = store
            .suppressions(rig.book.workspace, &SuppressionFilter::default(), &PageRequest::first(10))
            .await
            .unwrap()
            .items;
        assert_eq!(suppressed.len(), 0);
    }
}

#[tokio::test]
async fn every_mark_after_the_commit_of_a_rule_is_judged_by_it() {
    for store in open_both("steer_mark").await {
        let rig = Rig::start(&store, 4, &policy()).await;
        let deliveries = rig.deliveries().await;
        let judged_by = store.queue_rules_gen().await.unwrap();
        let request = MarkRequest { rules: judged_by, ..rig.request(deliveries[0]) };
        let suspend = set(&rig, &new(SteerAction::Suspend, of_campaign(&rig))).await;
        let refused = MarkAnswer::Refused(MarkRefused::RulesChanged);
        assert_eq!(rig.writer.mark(request).await.unwrap(), refused);
        let newer = store.queue_rules_gen().await.unwrap();
        assert!(newer > judged_by);
        let request = MarkRequest { rules: newer, ..rig.request(deliveries[0]) };
        assert_eq!(rig.writer.mark(request).await.unwrap(), MarkAnswer::Granted, "whoever knows the rule has asked it");
        store.end_queue_rule(Some(rig.book.workspace), &BY, suspend.rule.id).await.unwrap();
        let request = MarkRequest { rules: newer, ..rig.request(deliveries[1]) };
        assert_eq!(rig.writer.mark(request).await.unwrap(), refused, "the end of a rule is a change, too");
        let again = store.end_queue_rule(Some(rig.book.workspace), &BY, suspend.rule.id).await;
        assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    }
}

#[tokio::test]
async fn a_hold_keeps_rows_until_it_ends_and_a_release_takes_what_nobody_holds() {
    for store in open_both("steer_hold").await {
        let rig = Rig::start(&store, 6, &policy()).await;
        let deliveries = rig.deliveries().await;
        let workspace = rig.book.workspace;
        store.hold_deliveries(workspace, &deliveries[..2], "by hand").await.unwrap();
        let hold = set(&rig, &new(SteerAction::Hold, of_campaign(&rig))).await;
        assert_eq!(hold.expected, 4, "those that are held already are not counted");
        assert_eq!(sweep(&rig, &hold).await, (4, false));
        let counted = ledger(&rig).await;
        assert_eq!((counted.held, counted.queued), (6, 0));
        assert_eq!(rig.rows().await.len(), 0, "a reader passes over none of them");
        let holds = store.holds(workspace, &deliveries).await.unwrap();
        assert_eq!(holds[&deliveries[0]].reason, HoldReason::Held);
        assert_eq!(holds[&deliveries[5]].detail, "held by the console: they asked us to");
        assert!(holds[&deliveries[5]].sentence().contains("since"), "{}", holds[&deliveries[5]].sentence());
        let rows = statuses(&rig, ReportStatus::Held).await;
        assert_eq!(rows.len(), 6);
        // Held by hand: released. Held by a rule that stands: not.
        let release = new(SteerAction::Release, of_campaign(&rig));
        assert_eq!(store.count_concerned(Some(workspace), SteerAction::Release, &release.scope).await.unwrap(), 2);
        let release = set(&rig, &release).await;
        assert_eq!(sweep(&rig, &release).await, (2, false));
        assert_eq!(ledger(&rig).await.held, 4);
        // What comes while it stands is held when it is read.
        let arrived: Vec<DeliveryId> = deliveries[..2].to_vec();
        assert_eq!(store.hold_by_rule(&hold.rule, &arrived).await.unwrap(), 2);
        assert_eq!(ledger(&rig).await.held, 6);
        store.end_queue_rule(Some(workspace), &BY, hold.rule.id).await.unwrap();
        assert_eq!(store.hold_by_rule(&hold.rule, &arrived).await.unwrap(), 0, "it stands no more");
        assert_eq!(sweep(&rig, &hold).await, (6, false), "its own rows go");
        let counted = ledger(&rig).await;
        assert_eq!((counted.held, counted.queued), (0, 6));
        assert!(rig.rows().await.iter().all(|(_, row)| row.ready_at < HELD_AT));
    }
}

#[tokio::test]
async fn a_reroute_moves_rows_and_its_end_moves_them_back() {
    for store in open_both("steer_route").await {
        let mut rig = Rig::start(&store, 5, &policy()).await;
        let route = add_route(&rig).await;
        let mut reroute = new(SteerAction::Reroute, of_campaign(&rig));
        reroute.route = Some(route);
        let reroute = set(&rig, &reroute).await;
        assert_eq!(sweep(&rig, &reroute).await, (5, false));
        assert_eq!(sweep(&rig, &reroute).await, (0, false), "they are there");
        store.lease_lanes(rig.node).await.unwrap();
        rig.see_lanes().await;
        let rows = rig.rows().await;
        assert_eq!(rows.len(), 5);
        let there = |rig: &Rig<'_>| {
            let lane = rows[0].0;
            rig.lanes.iter().find(|l| l.lane == lane).unwrap().clone()
        };
        let lane = there(&rig);
        assert_eq!((lane.route, lane.site.as_str()), (Some(route), UNRESOLVED), "a smarthost's site says nothing");
        assert_eq!(ledger(&rig).await.queued, 5);
        store.end_queue_rule(Some(rig.book.workspace), &BY, reroute.rule.id).await.unwrap();
        assert_eq!(sweep(&rig, &reroute).await, (5, false));
        store.lease_lanes(rig.node).await.unwrap();
        rig.see_lanes().await;
        for (lane, _) in rig.rows().await {
            assert_eq!(rig.lanes.iter().find(|l| l.lane == lane).unwrap().route, None);
        }
    }
}

async fn accept(rig: &Rig<'_>, to: &[&str]) -> MessageId {
    let message = message(rig.store, rig.book.workspace, to);
    let id = message.id;
    rig.writer.accept_message(message).await.unwrap();
    id
}

async fn add_route(rig: &Rig<'_>) -> RouteId {
    let settings = serde_json::json!({
        "name": "Another", "kind": "mx", "host": "", "port": 0, "tls": "opportunistic", "username": "", "per_second": 0,
        "per_day": 0, "connections": 4, "accept_any_certificate": false, "exclusion": "campaign",
    });
    let settings = serde_json::from_value(settings).unwrap();
    rig.store.add_route(rig.book.workspace, &BY, &settings, None).await.unwrap().id
}

#[tokio::test]
async fn each_scope_counts_what_it_names() {
    for store in open_both("steer_scopes").await {
        let rig = Rig::start(&store, 6, &policy()).await;
        let workspace = rig.book.workspace;
        let message = accept(&rig, &["a@one.example", "b@two.example"]).await;
        let single =
            store.deliveries(workspace, DeliveriesOf::Message(message), &PageRequest::first(9)).await.unwrap().items;
        let all = SteerScope::default;
        let text = |t: &str| Some(t.to_owned());
        let table = [
            (all(), 8),
            (of_campaign(&rig), 6),
            (SteerScope { stream: Some(Stream::Transactional), ..all() }, 2),
            (SteerScope { site: text(SITE), ..all() }, 6),
            (SteerScope { site: text("nowhere"), ..all() }, 0),
            (SteerScope { domain: text("one.example"), ..all() }, 1),
            (SteerScope { domain: text("one.example"), site: text(SITE), ..all() }, 0),
            // Its own message says so; the rig's campaign has an empty draft.
            (SteerScope { sending_domain: text("example.org"), ..all() }, 2),
            (SteerScope { sending_domain: text("ample.org"), ..all() }, 0),
            (SteerScope { message: Some(message), ..all() }, 2),
            (SteerScope { delivery: Some(single[0].id), ..all() }, 1),
            (SteerScope { delivery: Some(single[0].id), stream: Some(Stream::Marketing), ..all() }, 0),
        ];
        for (scope, want) in table {
            let counted = store.count_concerned(Some(workspace), SteerAction::Cancel, &scope).await.unwrap();
            assert_eq!(counted, want, "{} ({})", scope.words(), store.kind);
        }
        assert_eq!(store.count_concerned(None, SteerAction::Cancel, &all()).await.unwrap(), 8);
        let one = SteerScope { delivery: Some(single[0].id), ..all() };
        let cancel = set(&rig, &new(SteerAction::Cancel, one)).await;
        assert_eq!(sweep(&rig, &cancel).await, (1, false));
        let by_domain =
            set(&rig, &new(SteerAction::Cancel, SteerScope { sending_domain: text("example.org"), ..all() })).await;
        assert_eq!(sweep(&rig, &by_domain).await, (1, false));
        assert_eq!(ledger(&rig).await.queued, 6, "the campaign's are untouched");
        let found = store.sending_domains(&[single[0].id]).await.unwrap();
        assert_eq!(found[&single[0].id], "example.org");
    }
}

#[tokio::test]
async fn rules_are_checked_audited_listed_and_end_by_the_clock() {
    for store in open_both("steer_rules").await {
        let rig = Rig::start(&store, 3, &policy()).await;
        let workspace = rig.book.workspace;
        let other = crate::testing::write_book(&store, 1, &policy()).await.unwrap();
        let mine = Some(workspace);
        let suspend =
            NewSteerRule { until: Some(store.now() + 60_000), ..new(SteerAction::Suspend, of_campaign(&rig)) };
        let stands = store.set_queue_rule(mine, &BY, &suspend, None).await.unwrap();
        let twice = store.set_queue_rule(mine, &BY, &suspend, None).await;
        assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
        let foreign = store.set_queue_rule(Some(other.workspace), &BY, &suspend, None).await;
        assert!(matches!(foreign, Err(StoreError::NotFound { .. })), "{foreign:?}");
        let gone = store.end_queue_rule(Some(other.workspace), &BY, stands.rule.id).await;
        assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
        let outdated = store.set_queue_rule(mine, &BY, &new(SteerAction::Cancel, of_campaign(&rig)), Some(2)).await;
        let Err(StoreError::Conflict { message }) = outdated else { panic!("{outdated:?}") };
        assert!(message.contains("3 deliveries"), "{message}");
        let nothing = store.set_queue_rule(mine, &BY, &new(SteerAction::Reroute, SteerScope::default()), None).await;
        assert!(matches!(nothing, Err(StoreError::Refused { .. })), "{nothing:?}");
        let narrow = store.set_queue_rule(None, &BY, &new(SteerAction::Suspend, of_campaign(&rig)), None).await;
        assert!(matches!(narrow, Err(StoreError::Refused { .. })), "{narrow:?}");

        // For everybody: shown to each workspace, ended by none.
        let speed = NewSteerRule { pace: Some(SteerPace(2_500)), ..new(SteerAction::Speed, SteerScope::default()) };
        let everywhere = store.set_queue_rule(None, &BY, &speed, None).await.unwrap();
        let page = PageRequest::first(10);
        let listed = store.queue_rules(other.workspace, RulesOf::Open, &page).await.unwrap().items;
        assert_eq!(listed.iter().map(|r| r.rule.id).collect::<Vec<_>>(), [everywhere.rule.id]);
        assert_eq!(listed[0].rule.pace.map(SteerPace::per_second), Some(2.5));
        let theirs = store.end_queue_rule(Some(other.workspace), &BY, everywhere.rule.id).await;
        assert!(matches!(theirs, Err(StoreError::Refused { .. })), "{theirs:?}");

        assert_eq!(store.expire_queue_rules().await.unwrap().len(), 0, "not yet");
        store.clock.advance(60_000);
        let ended = store.expire_queue_rules().await.unwrap();
        assert_eq!(ended.iter().map(|r| r.rule.id).collect::<Vec<_>>(), [stands.rule.id]);
        assert_eq!(store.expire_queue_rules().await.unwrap().len(), 0, "once");
        let past = store.queue_rules(workspace, RulesOf::Past, &page).await.unwrap().items;
        assert_eq!((past.len(), past[0].end_reason.as_deref()), (1, Some("expired")));
        let audit = store.audit(workspace, &page).await.unwrap().items;
        let acts: Vec<&str> = audit.iter().map(|l| l.action.as_str()).filter(|a| a.starts_with("queue.")).collect();
        assert_eq!(acts, ["queue.expired", "queue.suspend"]);
    }
}

#[tokio::test]
async fn a_sweep_that_is_broken_off_is_taken_up_again_and_counts_each_row_once() {
    for store in open_both("steer_broken").await {
        let rig = Rig::start(&store, 40, &policy()).await;
        let cancel = set(&rig, &new(SteerAction::Cancel, of_campaign(&rig))).await;
        {
            let mut first = Sweep::of_rule(&store, rig.node.id, &cancel).await.unwrap().unwrap();
            assert_eq!(first.some(13).await.unwrap().rows, 13);
            // The process ends here.
        }
        assert_eq!(ledger(&rig).await.cancelled, 13);
        assert_eq!(sweep(&rig, &cancel).await, (27, false));
        assert_eq!(open(&store, &cancel).await.unwrap().done, 40);
        let counted = ledger(&rig).await;
        assert_eq!((counted.cancelled, counted.queued), (40, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_that_sweep_the_same_rule_end_each_row_once() {
    let a = crate::testing::open_postgres("steer_race").await;
    let b = a.second_node().await;
    let nb = b.register_node().await.unwrap();
    let rig = Rig::start(&a, 300, &policy()).await;
    let deliveries = rig.deliveries().await;
    let cancel = set(&rig, &new(SteerAction::Cancel, of_campaign(&rig))).await;
    let one = async |store: &Store, node| {
        let mut rows = 0;
        for _ in 0..50 {
            let mut sweep = Sweep::of_rule(store, node, &cancel).await.unwrap().unwrap();
            while !{
                let slice = sweep.some(20).await.unwrap();
                rows += slice.rows;
                slice.over
            } {}
            if !sweep.is_something_left() {
                break;
            }
        }
        rows
    };
    // A settle comes in between.
    assert_eq!(rig.mark(deliveries[7]).await, MarkAnswer::Refused(MarkRefused::RulesChanged));
    let (ra, rb) = tokio::join!(one(&a, rig.node.id), one(&b, nb.id));
    assert_eq!(ra + rb, 300);
    let counted = ledger(&rig).await;
    assert_eq!((counted.cancelled, counted.queued), (300, 0));
    rig.settle(deliveries[3], Next::Done(Outcome::Accepted)).await;
    assert_eq!(ledger(&rig).await.cancelled, 300, "an outcome never changes");
    let n = a
        .read()
        .await
        .unwrap()
        .one(sql!("SELECT count(*) AS n FROM event WHERE kind = 'cancelled'"), args![])
        .await
        .unwrap();
    assert_eq!(n.int("n").unwrap(), 300);
}
