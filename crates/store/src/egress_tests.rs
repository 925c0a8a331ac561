//! Sources, pools, warm-up, hosts of a route and what lets a campaign start, on both databases.

use postrider_domain::campaign::Draft;
use postrider_domain::egress::{Member, PoolChoice, PoolSettings, SourceSettings, SourceState};
use postrider_domain::id::{PoolId, SourceId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::{RelayHost, RouteKind, RouteSettings, Signing, TlsMode};
use postrider_domain::warmup::{Allowed, DAY_MS, WarmUp, day_of};

use crate::actor::Actor;
use crate::error::{Result, StoreError};
use crate::page::PageRequest;
use crate::relay::Quota;
use crate::route::PasswordChange;
use crate::secret::Secret;
use crate::testing::{open_both, write_book};

const BY: Actor = Actor::Console;

fn source(name: &str, ip: &str) -> SourceSettings {
    SourceSettings {
        name: name.into(),
        ipv4: Some(ip.parse().unwrap()),
        ipv6: None,
        ehlo_name: format!("{name}.example.org"),
        node: None,
        state: SourceState::Active,
        per_second: 0,
        per_hour: 0,
        per_day: 0,
        warm_up: None,
    }
}

fn pool(name: &str, sources: &[SourceId]) -> PoolSettings {
    let members = sources.iter().map(|source| Member { source: *source, weight: 1 }).collect();
    PoolSettings { name: name.into(), members, workspaces: None }
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T>, part: &str) {
    match result {
        Err(StoreError::Refused { message } | StoreError::Conflict { message }) => {
            assert!(message.contains(part), "{message}");
        }
        other => panic!("{other:?} instead of a refusal with {part:?}"),
    }
}

#[tokio::test]
async fn sources_and_pools_are_kept_apart_and_nothing_in_use_goes_away() {
    for store in open_both("egress").await {
        let (ours, theirs) = {
            let a = write_book(&store, 1, &RetryPolicy::preset("rehearsal").unwrap()).await.unwrap().workspace;
            let b = write_book(&store, 1, &RetryPolicy::preset("rehearsal").unwrap()).await.unwrap().workspace;
            (a, b)
        };
        let one = store.add_egress_source(&BY, &source("one", "192.0.2.1")).await.unwrap();
        let two = store.add_egress_source(&BY, &source("two", "192.0.2.2")).await.unwrap();
        says(store.add_egress_source(&BY, &source("ONE", "192.0.2.3")).await, "another source has the name");
        says(store.add_egress_source(&BY, &source("three", "192.0.2.1")).await, "has the address 192.0.2.1");
        says(store.change_egress_source(&BY, two.id, &source("two", "192.0.2.1")).await, "has the address");
        says(store.add_egress_pool(&BY, &pool("p", &[SourceId(7)])).await, "there is no source");
        let both = store.add_egress_pool(&BY, &pool("both", &[one.id, two.id])).await.unwrap();
        says(store.add_egress_pool(&BY, &pool("Both", &[one.id])).await, "another pool has the name");
        assert_eq!(store.egress_pools().await.unwrap(), std::slice::from_ref(&both));
        assert_eq!(store.egress_source(two.id).await.unwrap(), two);
        // A route of ours.
        let by = |pool| RouteSettings {
            name: "pooled".into(),
            egress: PoolChoice { pool: Some(pool), rules: vec![] },
            ..RouteSettings::default()
        };
        says(store.add_route(ours, &BY, &by(PoolId(7)), None).await, "there is no pool");
        store.add_route(ours, &BY, &RouteSettings::default(), None).await.unwrap();
        let route = store.add_route(ours, &BY, &by(both.id), None).await.unwrap();
        let closed = PoolSettings { workspaces: Some(vec![theirs]), ..both.settings.clone() };
        says(store.change_egress_pool(&BY, both.id, &closed).await, "the route \u{201c}pooled\u{201d}");
        let only_ours = PoolSettings { workspaces: Some(vec![ours]), ..both.settings.clone() };
        store.change_egress_pool(&BY, both.id, &only_ours).await.unwrap();
        says(store.add_route(theirs, &BY, &by(both.id), None).await, "that the workspace may use");
        // Nothing in use goes away.
        says(store.remove_egress_pool(&BY, both.id).await, "leaves by it");
        says(store.remove_egress_source(&BY, one.id).await, "the pool \u{201c}both\u{201d}");
        store.remove_route(ours, &BY, route.id).await.unwrap();
        store.remove_egress_pool(&BY, both.id).await.unwrap();
        says(store.remove_egress_source(&BY, one.id).await, "it is active");
        let drained = SourceSettings { state: SourceState::Draining, ..source("one", "192.0.2.1") };
        store.change_egress_source(&BY, one.id, &drained).await.unwrap();
        store.remove_egress_source(&BY, one.id).await.unwrap();
        assert!(matches!(store.remove_egress_source(&BY, one.id).await, Err(StoreError::NotFound { .. })));
        assert_eq!(store.egress_sources().await.unwrap(), std::slice::from_ref(&two));
        // What nodes find wrong.
        let node = store.register_node().await.unwrap();
        store.tell_egress_trouble(node, &[(two.id, "not here".into())]).await.unwrap();
        let since = store.egress_trouble().await.unwrap()[0].since;
        store.clock.advance(1_000);
        store.tell_egress_trouble(node, &[(two.id, "still not here".into())]).await.unwrap();
        let told = store.egress_trouble().await.unwrap();
        assert_eq!((told[0].problem.as_str(), told[0].since), ("still not here", since));
        store.tell_egress_trouble(node, &[]).await.unwrap();
        assert_eq!(store.egress_trouble().await.unwrap(), []);
    }
}

#[tokio::test]
async fn weights_are_set_and_audited() {
    for store in open_both("weights").await {
        let book = write_book(&store, 1, &RetryPolicy::preset("rehearsal").unwrap()).await.unwrap();
        assert_eq!(store.workspace_weights().await.unwrap().len(), 0);
        store.set_workspace_weight(&BY, book.workspace, 5).await.unwrap();
        assert_eq!(store.workspace_weights().await.unwrap()[&book.workspace], 5);
        says(store.set_workspace_weight(&BY, book.workspace, 0).await, "1 to 1000");
        assert!(matches!(store.set_workspace_weight(&BY, WorkspaceId(7), 2).await, Err(StoreError::NotFound { .. })));
        store.set_campaign_weight(book.workspace, &BY, book.campaign, 3).await.unwrap();
        let foreign = store.set_campaign_weight(WorkspaceId(7), &BY, book.campaign, 3).await;
        assert!(matches!(foreign, Err(StoreError::NotFound { .. })));
        says(store.set_campaign_weight(book.workspace, &BY, book.campaign, 1_001).await, "1 to 1000");
        let audit = store.audit(book.workspace, &PageRequest::first(10)).await.unwrap().items;
        let acts: Vec<&str> = audit.iter().map(|l| l.action.as_str()).filter(|a| a.ends_with(".weight")).collect();
        assert_eq!(acts, ["campaign.weight", "workspace.weight"]);
    }
}

#[tokio::test]
async fn a_warm_up_is_granted_in_pieces_moved_on_by_days_and_paused() {
    for store in open_both("warm_up").await {
        let warm = WarmUp { since: 0, plan: vec![300, 600] };
        let settings = SourceSettings { warm_up: Some(warm), ..source("new", "192.0.2.1") };
        let id = store.add_egress_source(&BY, &settings).await.unwrap().id;
        let day = async |site: &str| {
            let mut sum = 0;
            loop {
                let grant = store.take_warm_up(id, site).await.unwrap();
                assert_eq!(grant.before, sum);
                if grant.granted == 0 {
                    return (grant.allowed, grant.step, sum);
                }
                assert!(grant.granted <= 6, "a hundredth at a time: {grant:?}");
                sum += grant.granted;
            }
        };
        assert_eq!(day("google").await, (Allowed::Day(300), 0, 300));
        assert_eq!(store.take_warm_up(id, "yahoo").await.unwrap().before, 0, "each site by itself");
        store.clock.advance(DAY_MS);
        assert_eq!(day("google").await, (Allowed::Day(600), 1, 600));
        assert_eq!(store.take_warm_up(id, "yahoo").await.unwrap().step, 0, "hardly used: the first day again");
        // A block.
        let until = store.pause_warm_up(id, "google", "550 blocked\r\nfor good").await.unwrap();
        assert_eq!(until, Some(store.now() + DAY_MS));
        let again = store.pause_warm_up(id, "google", "another one").await.unwrap();
        assert_eq!(again, until, "what was on its way");
        assert!(matches!(store.take_warm_up(id, "google").await.unwrap().allowed, Allowed::Paused(_)));
        let row = store.warm_ups(id).await.unwrap().remove(0);
        assert_eq!((row.reason.as_str(), row.state.step), ("550 blockedfor good", 0));
        // A person ends it; the day of the pause counts its messages.
        let nowhere = store.resume_warm_up(&BY, id, "wp\0").await;
        assert!(matches!(nowhere, Err(StoreError::NotFound { .. })), "{nowhere:?}");
        store.resume_warm_up(&BY, id, "google").await.unwrap();
        assert!(matches!(store.resume_warm_up(&BY, id, "google").await, Err(StoreError::NotFound { .. })));
        assert_eq!(day_of(store.now()), store.take_warm_up(id, "google").await.unwrap().day);
        // Ended, and begun anew.
        store.change_egress_source(&BY, id, &source("new", "192.0.2.1")).await.unwrap();
        assert_eq!(store.take_warm_up(id, "google").await.unwrap().allowed, Allowed::Warm);
        assert_eq!(store.pause_warm_up(id, "google", "block").await.unwrap(), None);
        assert!(store.take_warm_up(SourceId(7), "google").await.is_err());
    }
}

#[tokio::test]
async fn days_are_shared_by_name() {
    for store in open_both("quotas").await {
        let book = write_book(&store, 1, &RetryPolicy::preset("rehearsal").unwrap()).await.unwrap();
        let id = store.add_egress_source(&BY, &source("one", "192.0.2.1")).await.unwrap().id;
        let route = store.default_route(book.workspace).await.unwrap();
        let route = match route {
            Some(route) => route.id,
            None => store.add_route(book.workspace, &BY, &RouteSettings::default(), None).await.unwrap().id,
        };
        for quota in
            [Quota::Source(id), Quota::Host(book.workspace, route, "a.test"), Quota::Route(book.workspace, route)]
        {
            let take = async |n| store.take_quota(&quota, 1, n, 10).await.unwrap();
            assert_eq!((take(6).await, take(6).await, take(6).await), (6, 4, 0), "{quota:?}");
        }
        assert!(store.take_quota(&Quota::Host(WorkspaceId(7), route, "a.test"), 1, 1, 1).await.is_err());
        assert!(store.take_quota(&Quota::Source(SourceId(7)), 1, 1, 1).await.is_err());
    }
}

#[tokio::test]
async fn passwords_and_proofs_stay_with_their_host() {
    for store in open_both("relay").await {
        let book = write_book(&store, 1, &RetryPolicy::preset("rehearsal").unwrap()).await.unwrap();
        let host = |name: &str, user: &str| RelayHost {
            host: name.into(),
            port: 587,
            username: user.into(),
            priority: 0,
            weight: 1,
            per_second: 0,
            per_hour: 0,
            per_day: 0,
        };
        let settings = RouteSettings {
            name: "relays".into(),
            kind: RouteKind::Smarthost,
            tls: TlsMode::Required,
            hosts: vec![host("a.test", "us"), host("b.test", "us")],
            signing: Signing::Relay,
            ..RouteSettings::default()
        };
        let direct = store.add_route(book.workspace, &BY, &RouteSettings::default(), None).await.unwrap().id;
        let route = store.add_route(book.workspace, &BY, &settings, None).await.unwrap().id;
        let draft = Draft { from_mailbox: "info@news.example.org".into(), ..Draft::default() };
        let unproved =
            async || store.launch_facts(book.workspace, book.campaign, &draft).await.unwrap().relay_is_unproved;
        assert!(!unproved().await, "by the direct route we sign");
        store.make_default_route(book.workspace, &BY, route).await.unwrap();
        assert!(unproved().await);
        for (name, secret) in [("a.test", "secret of a"), ("b.test", "secret of b")] {
            let set = PasswordChange::Set(Secret::new(secret.into()));
            store.set_host_password(book.workspace, &BY, route, name, set).await.unwrap();
        }
        let nowhere = PasswordChange::Set(Secret::new("x".into()));
        says(store.set_host_password(book.workspace, &BY, route, "c.test", nowhere).await, "no host \"c.test\"");
        let secrets = store.host_secrets(book.workspace, route).await.unwrap();
        assert_eq!((secrets["a.test"].reveal(), secrets["b.test"].reveal()), ("secret of a", "secret of b"));
        assert_eq!(store.host_secrets(WorkspaceId(7), route).await.unwrap().len(), 0);
        let proof = ("news.example.org", "example.org", "rel1");
        store.keep_relay_proof(book.workspace, &BY, route, proof).await.unwrap();
        assert!(!unproved().await);
        assert!(store.keep_relay_proof(WorkspaceId(7), &BY, route, proof).await.is_err());
        // A limit changes: everything stays.
        let slower = RouteSettings { per_second: 5, ..settings.clone() };
        store.change_route(book.workspace, &BY, route, &slower, PasswordChange::Keep).await.unwrap();
        assert_eq!(store.hosts_with_password(book.workspace, route).await.unwrap(), ["a.test", "b.test"]);
        assert_eq!(store.relay_proofs(book.workspace, route).await.unwrap().len(), 1);
        // An account changes: its password goes, and what was proved with it.
        let other = RouteSettings { hosts: vec![host("a.test", "them"), host("b.test", "us")], ..settings };
        store.change_route(book.workspace, &BY, route, &other, PasswordChange::Keep).await.unwrap();
        assert_eq!(store.hosts_with_password(book.workspace, route).await.unwrap(), ["b.test"]);
        assert_eq!(store.relay_proofs(book.workspace, route).await.unwrap(), []);
        assert!(unproved().await, "the proof was another relay's");
        store.make_default_route(book.workspace, &BY, direct).await.unwrap();
        store.remove_route(book.workspace, &BY, route).await.unwrap();
    }
}
