//! What rules of the queue name does not go away under them, and what they cannot name, on both databases.

use postrider_domain::alarm::AlarmSettings;
use postrider_domain::egress::{Member, PoolChoice, PoolSettings, SourceSettings, SourceState};
use postrider_domain::id::{RouteId, SourceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteSettings;
use postrider_domain::steering::{NewSteerRule, SteerAction, SteerPace, SteerScope};

use super::Sweep;
use crate::Store;
use crate::actor::Actor;
use crate::error::{Result, StoreError};
use crate::queue_rig::Rig;
use crate::route::PasswordChange;
use crate::testing::{open_both, open_postgres, write_book};

const BY: Actor = Actor::Console;

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

fn named(name: &str) -> RouteSettings {
    RouteSettings { name: name.into(), ..RouteSettings::default() }
}

fn from(source: impl ToString) -> SteerScope {
    SteerScope { source: Some(source.to_string()), ..SteerScope::default() }
}

fn source(name: &str, ip: &str) -> SourceSettings {
    SourceSettings {
        name: name.into(),
        ipv4: Some(ip.parse().unwrap()),
        ipv6: None,
        ehlo_name: format!("{name}.example.org"),
        node: None,
        state: SourceState::Draining,
        per_second: 0,
        per_hour: 0,
        per_day: 0,
        warm_up: None,
    }
}

fn reroute(route: RouteId) -> NewSteerRule {
    NewSteerRule {
        route: Some(route),
        ..NewSteerRule::of(SteerAction::Reroute, SteerScope::default(), "we are listed")
    }
}

#[track_caller]
fn conflicts<T: std::fmt::Debug>(result: Result<T>, parts: &[&str]) {
    let Err(StoreError::Conflict { message }) = result else {
        panic!("{result:?} instead of a conflict with {parts:?}")
    };
    for part in parts {
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

#[track_caller]
fn refuses<T: std::fmt::Debug>(result: Result<T>, part: &str) {
    match result {
        Err(StoreError::Refused { message }) => assert!(message.contains(part), "{message}"),
        other => panic!("{other:?} instead of a refusal with {part:?}"),
    }
}

async fn sweep_and_settle(rig: &Rig<'_>, store: &Store) {
    for open in store.open_queue_rules().await.unwrap() {
        if let Some(mut sweep) = Sweep::of_rule(store, rig.node.id, &open).await.unwrap() {
            while !sweep.some(50).await.unwrap().over {}
        }
        if open.ended_at.is_some() {
            store.queue_rule_settled(open.rule.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_route_stays_while_a_rule_or_the_mail_about_alarms_names_it() {
    for store in open_both("named_route").await {
        let rig = Rig::start(&store, 4, &policy()).await;
        let workspace = rig.book.workspace;
        let ours = Some(workspace);
        let default = store.add_route(workspace, &BY, &named("first"), None).await.unwrap();
        assert!(default.is_default);
        conflicts(store.remove_route(workspace, &BY, default.id).await, &["default"]);
        let other = store.add_route(workspace, &BY, &named("other"), None).await.unwrap().id;

        let rule = store.set_queue_rule(ours, &BY, &reroute(other), None).await.unwrap().rule.id;
        let removed = store.remove_route(workspace, &BY, other).await;
        conflicts(removed, &[&rule.to_string(), "rerouted by the console: we are listed", "queue resume"]);
        sweep_and_settle(&rig, &store).await;
        store.end_queue_rule(ours, &BY, rule).await.unwrap();
        conflicts(store.remove_route(workspace, &BY, other).await, &["on their way back"]);
        sweep_and_settle(&rig, &store).await;

        // Named as a source, by this workspace and by another one, which has no say.
        let suspend = NewSteerRule::of(SteerAction::Suspend, from(other), "slow");
        let stranger = write_book(&store, 1, &policy()).await.unwrap().workspace;
        store.set_queue_rule(Some(stranger), &BY, &suspend, None).await.unwrap();
        let rule = store.set_queue_rule(ours, &BY, &suspend, None).await.unwrap().rule.id;
        conflicts(store.remove_route(workspace, &BY, other).await, &[&rule.to_string()]);
        store.end_queue_rule(ours, &BY, rule).await.unwrap();

        let told_by = |route| AlarmSettings { route, ..AlarmSettings::default() };
        store.put_alarm_settings(workspace, &BY, &told_by(Some(other))).await.unwrap();
        conflicts(store.remove_route(workspace, &BY, other).await, &["the mail about alarms", "postrider alarms mail"]);
        store.put_alarm_settings(workspace, &BY, &told_by(None)).await.unwrap();

        store.remove_route(workspace, &BY, other).await.unwrap();
        let gone = store.set_queue_rule(ours, &BY, &reroute(other), None).await;
        assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    }
}

#[tokio::test]
async fn an_egress_source_stays_while_a_rule_names_it() {
    for store in open_both("named_source").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let ours = Some(rig.book.workspace);
        let one = store.add_egress_source(&BY, &source("one", "192.0.2.1")).await.unwrap().id;
        let suspend = NewSteerRule::of(SteerAction::Suspend, from(one), "listed");
        let rule = store.set_queue_rule(ours, &BY, &suspend, None).await.unwrap().rule.id;
        conflicts(store.remove_egress_source(&BY, one).await, &[&rule.to_string(), "suspended by the console: listed"]);
        store.end_queue_rule(ours, &BY, rule).await.unwrap();
        store.remove_egress_source(&BY, one).await.unwrap();
        let gone = store.set_queue_rule(ours, &BY, &suspend, None).await;
        assert!(matches!(gone, Err(StoreError::NotFound { what: "egress source" })), "{gone:?}");
        for id in [SourceId(7).to_string(), "src_nobody".into()] {
            let nobody = NewSteerRule::of(SteerAction::Suspend, from(id), "x");
            let nobody = store.set_queue_rule(None, &BY, &nobody, None).await;
            assert!(matches!(nobody, Err(StoreError::NotFound { .. })), "{nobody:?}");
        }
    }
}

#[tokio::test]
async fn what_is_asked_before_the_hand_out_cannot_name_a_source_of_a_pool() {
    for store in open_both("named_early").await {
        let rig = Rig::start(&store, 5, &policy()).await;
        let workspace = rig.book.workspace;
        let ours = Some(workspace);
        let one = store.add_egress_source(&BY, &source("one", "192.0.2.1")).await.unwrap().id;
        let pool =
            PoolSettings { name: "p".into(), members: vec![Member { source: one, weight: 1 }], workspaces: None };
        let pool = store.add_egress_pool(&BY, &pool).await.unwrap().id;
        for action in
            [SteerAction::Hold, SteerAction::Cancel, SteerAction::Bounce, SteerAction::Release, SteerAction::Reroute]
        {
            let mut new = NewSteerRule::of(action, from(one), "x");
            refuses(store.set_queue_rule(ours, &BY, &new, None).await, "only `suspend` and `speed`");
            refuses(store.count_concerned(ours, action, &new.scope).await, "only `suspend` and `speed`");
            new.scope = from(pool);
            refuses(store.set_queue_rule(ours, &BY, &new, None).await, "is a pool");
        }
        let suspend = |source| NewSteerRule::of(SteerAction::Suspend, from(source), "x");
        refuses(store.set_queue_rule(ours, &BY, &suspend(pool.to_string()), None).await, "is a pool");
        store.set_queue_rule(ours, &BY, &suspend(one.to_string()), None).await.unwrap();
        let pace = Some(SteerPace(1_000));
        let speed = NewSteerRule { pace, ..NewSteerRule::of(SteerAction::Speed, from(one), "x") };
        store.set_queue_rule(ours, &BY, &speed, None).await.unwrap();

        // What is known before still works, and means no mail of a pool.
        let route = store.add_route(workspace, &BY, &named("first"), None).await.unwrap().id;
        let direct = async || store.count_concerned(ours, SteerAction::Cancel, &from("direct")).await.unwrap();
        assert_eq!(direct().await, 5);
        let pooled = RouteSettings { egress: PoolChoice { pool: Some(pool), rules: vec![] }, ..named("first") };
        store.change_route(workspace, &BY, route, &pooled, PasswordChange::Keep).await.unwrap();
        assert_eq!(direct().await, 0, "{:?}: it leaves by the pool", store.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_route_is_removed_or_named_by_a_rule_and_never_both() {
    let a = open_postgres("named_race").await;
    let b = a.second_node().await;
    let rig = Rig::start(&a, 1, &policy()).await;
    let workspace = rig.book.workspace;
    a.add_route(workspace, &BY, &named("first"), None).await.unwrap();
    for round in 0..12 {
        let route = a.add_route(workspace, &BY, &named("other"), None).await.unwrap().id;
        let rule = reroute(route);
        let (set, removed) =
            tokio::join!(a.set_queue_rule(Some(workspace), &BY, &rule, None), b.remove_route(workspace, &BY, route));
        match (set, removed) {
            (Ok(set), Err(StoreError::Conflict { .. })) => {
                a.end_queue_rule(Some(workspace), &BY, set.rule.id).await.unwrap();
                a.queue_rule_settled(set.rule.id).await.unwrap();
            }
            (Err(StoreError::NotFound { .. }), Ok(())) => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
}
