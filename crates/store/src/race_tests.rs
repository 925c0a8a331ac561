//! Every transaction that two nodes may run, run by two nodes at once on PostgreSQL.
//!
//! SQLite has one writer and shows none of this; here two stores with connections of their own meet in one database.

use std::collections::{BTreeMap, HashSet};

use postrider_domain::id::{DeliveryId, LaneId};
use postrider_domain::outcome::Outcome;
use postrider_domain::retry::RetryPolicy;

use crate::error::StoreError;
use crate::mark::{MarkAnswer, MarkRefused, MarkRequest};
use crate::node::{DeadNodes, Node};
use crate::queue_rig::{Rig, SITE, attempt, freeze_all};
use crate::settle::{Next, Settle};
use crate::site::{DomainState, MailDomain};
use crate::store::Store;
use crate::testing::{TestStore, open_postgres, write_book};
use crate::writer::QueueWriter;

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

/// A campaign whose domains lie in ten sites, so that there are lanes to share.
async fn many_lanes(store: &TestStore, n: usize, node: Node) -> crate::testing::Book {
    let book = write_book(store, n, &policy()).await.unwrap();
    let domains: Vec<MailDomain> = (0..10)
        .map(|i| MailDomain {
            name: format!("d{i}.example"),
            site: Some(format!("s{i}")),
            state: DomainState::Found,
            resolved_at: 0,
            look_again_at: 0,
            nxdomain_since: None,
        })
        .collect();
    store.remember_domains(&domains).await.unwrap();
    let mut freezer = store.begin_freeze(book.campaign, node, None).await.unwrap();
    freeze_all(&mut freezer).await;
    freezer.finish().await.unwrap();
    book
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_share_the_lanes_and_own_none_together() {
    let a = open_postgres("share").await;
    let b = a.second_node().await;
    let (na, nb) = (a.register_node().await.unwrap(), b.register_node().await.unwrap());
    many_lanes(&a, 100, na).await;
    let (la, lb) = tokio::join!(a.lease_lanes(na), b.lease_lanes(nb));
    let (la, lb) = (la.unwrap(), lb.unwrap());
    let ids = |l: &crate::lane::Leased| l.new.iter().map(|l| l.lane).collect::<HashSet<LaneId>>();
    assert!(ids(&la).is_disjoint(&ids(&lb)));
    // Whoever was blocked by the other's locks gets its share at the next round.
    a.lease_lanes(na).await.unwrap();
    b.lease_lanes(nb).await.unwrap();
    assert_eq!(a.my_lanes(na).await.unwrap().len(), 5);
    assert_eq!(b.my_lanes(nb).await.unwrap().len(), 5);
    // A third node comes: somebody has too many.
    let c = a.second_node().await;
    let nc = c.register_node().await.unwrap();
    let surplus = a.lease_lanes(na).await.unwrap().surplus;
    assert_eq!(surplus, 1);
    let lane = a.my_lanes(na).await.unwrap()[0].lane;
    a.release_lanes(na, &[lane]).await.unwrap();
    assert_eq!(c.lease_lanes(nc).await.unwrap().new[0].lane, lane);
    a.retire_node(na).await.unwrap();
    b.lease_lanes(nb).await.unwrap();
    c.lease_lanes(nc).await.unwrap();
    assert_eq!(b.my_lanes(nb).await.unwrap().len() + c.my_lanes(nc).await.unwrap().len(), 10);
}

/// Marks and settles rows of its lanes as fast as it can, until it is told otherwise.
async fn work(store: Store, node: Node, writer: QueueWriter) -> Vec<DeliveryId> {
    let mut granted = Vec::new();
    let mut idle = 0;
    while idle < 3 {
        if store.lease_lanes(node).await.is_err() {
            return granted;
        }
        let mut any = false;
        for lease in store.my_lanes(node).await.unwrap() {
            let rows = store.read_lane(lease.lane, None, i64::MAX, 20).await.unwrap();
            for row in rows {
                let request = MarkRequest {
                    delivery: row.delivery,
                    lane: lease.lane,
                    lane_epoch: lease.epoch,
                    first_try_at: 1,
                    dkim_key: None,
                    link_key: 1,
                    rules: 0,
                };
                match writer.mark(request).await {
                    Ok(MarkAnswer::Granted) => {
                        any = true;
                        granted.push(row.delivery);
                        let done = Settle {
                            delivery: row.delivery,
                            lane: lease.lane,
                            lane_epoch: lease.epoch,
                            attempt: Some(attempt(1)),
                            next: Next::Done(Outcome::Accepted),
                            suppress: None,
                            soft: None,
                        };
                        if writer.settle(done).is_err() {
                            return granted;
                        }
                    }
                    Ok(MarkAnswer::Refused(_)) => {}
                    Err(_) => return granted,
                }
            }
        }
        idle = if any { 0 } else { idle + 1 };
        let _ = writer.flush().await;
    }
    granted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_send_to_nobody_twice_and_both_send() {
    let a = open_postgres("both").await;
    let b = a.second_node().await;
    let (na, nb) = (a.register_node().await.unwrap(), b.register_node().await.unwrap());
    let book = many_lanes(&a, 400, na).await;
    let (wa, wb) = (a.queue_writer(na), b.queue_writer(nb));
    let first = tokio::spawn(work(Store::clone(&a), na, wa.clone()));
    let second = tokio::spawn(work(b.clone(), nb, wb.clone()));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
    let all: HashSet<DeliveryId> = first.iter().chain(&second).copied().collect();
    assert_eq!((first.len() + second.len(), all.len()), (400, 400));
    let ledger = a.recount(book.workspace, book.campaign).await.unwrap();
    assert_eq!((ledger.accepted, ledger.queued), (400, 0));
    assert_eq!(ledger, a.ledger_counts(book.workspace, book.campaign).await.unwrap());
    assert_eq!(wa.stale_settles() + wb.stale_settles(), 0);
    let (fa, fb) = tokio::join!(a.finish_if_empty(book.campaign), b.finish_if_empty(book.campaign));
    assert_eq!(u8::from(fa.unwrap()) + u8::from(fb.unwrap()), 1, "one of the two ends the campaign");
    // Events of each node have every number.
    for node in [na, nb] {
        let mut seen = 0;
        while let Some(last) = a.events_after(node.id, seen, 500).await.unwrap().last() {
            let page = a.events_after(node.id, seen, 500).await.unwrap();
            assert_eq!(page.len() as i64, last.seq - seen);
            seen = last.seq;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_taken_for_dead_in_the_middle_of_its_work_harms_nobody() {
    let a = open_postgres("takeover").await;
    let b = a.second_node().await;
    let (na, nb) = (a.register_node().await.unwrap(), b.register_node().await.unwrap());
    let book = many_lanes(&a, 400, na).await;
    a.lease_lanes(na).await.unwrap();
    let wa = a.queue_writer(na);
    let working = tokio::spawn(work(Store::clone(&a), na, wa));
    let seen = loop {
        let ledger = a.recount(book.workspace, book.campaign).await.unwrap();
        if ledger.accepted > 50 {
            break b.nodes().await.unwrap().into_iter().find(|n| n.id == na.id).unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert!(b.take_over(&seen, nb).await.unwrap() > 0);
    let resolved = b.resolve_in_doubt(nb).await.unwrap();
    let zombie = working.await.unwrap();
    assert!(matches!(a.beat(na).await, Err(StoreError::Fatal(_))));
    let wb = b.queue_writer(nb);
    let rest = work(b.clone(), nb, wb).await;
    let ledger = b.recount(book.workspace, book.campaign).await.unwrap();
    assert_eq!((ledger.accepted, ledger.queued, ledger.in_doubt), (400, 0, 0));
    assert_eq!(ledger, b.ledger_counts(book.workspace, book.campaign).await.unwrap());
    let mut times: BTreeMap<DeliveryId, usize> = BTreeMap::new();
    for delivery in zombie.iter().chain(&rest) {
        *times.entry(*delivery).or_default() += 1;
    }
    let twice = times.values().filter(|n| **n > 1).count();
    assert!(twice as u64 <= resolved.resent, "{twice} went twice, {} were in doubt", resolved.resent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_take_over_one_wins_and_a_beat_saves() {
    let a = open_postgres("overover").await;
    let (b, c) = (a.second_node().await, a.second_node().await);
    let na = a.register_node().await.unwrap();
    let (nb, nc) = (b.register_node().await.unwrap(), c.register_node().await.unwrap());
    many_lanes(&a, 50, na).await;
    a.lease_lanes(na).await.unwrap();
    let mut watch = DeadNodes::new(1_000);
    assert!(watch.look(nb.id, &b.nodes().await.unwrap(), 0).is_empty());
    let dead = watch.look(nb.id, &b.nodes().await.unwrap(), 1_000);
    let seen = dead.iter().find(|n| n.id == na.id).unwrap();
    a.beat(na).await.unwrap();
    assert_eq!(b.take_over(seen, nb).await.unwrap(), 0, "it lives after all");
    let seen = b.nodes().await.unwrap().into_iter().find(|n| n.id == na.id).unwrap();
    let (ob, oc) = tokio::join!(b.take_over(&seen, nb), c.take_over(&seen, nc));
    let (ob, oc) = (ob.unwrap(), oc.unwrap());
    assert!((ob == 0) != (oc == 0), "{ob} and {oc}");
    // Two that take each other for dead: at most one of them is.
    let nodes = b.nodes().await.unwrap();
    let (sb, sc) = (nodes.iter().find(|n| n.id == nb.id).unwrap(), nodes.iter().find(|n| n.id == nc.id).unwrap());
    let (ob, oc) = tokio::join!(b.take_over(sc, nb), c.take_over(sb, nc));
    assert!(ob.is_ok() != oc.is_ok(), "{ob:?} and {oc:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_two_freezes() {
    let a = open_postgres("freezers").await;
    let b = a.second_node().await;
    let (na, nb) = (a.register_node().await.unwrap(), b.register_node().await.unwrap());
    let book = write_book(&a, 30, &policy()).await.unwrap();
    let (fa, fb) = tokio::join!(
        a.begin_freeze(book.campaign, na, Some(SITE.into())),
        b.begin_freeze(book.campaign, nb, Some(SITE.into()))
    );
    assert!(fa.is_ok() != fb.is_ok());
    let (mut freezer, winner) = match (fa, fb) {
        (Ok(f), _) => (f, na),
        (_, Ok(f)) => (f, nb),
        (Err(a), Err(b)) => panic!("{a} and {b}"),
    };
    let rows: Vec<_> = freezer.next_page(20).await.unwrap().into_iter().map(crate::queue_rig::frozen).collect();
    freezer.insert(&rows, &[]).await.unwrap();
    // The winner dies; the other takes over and makes the set again; the dead one can add nothing.
    let (alive, me) = if winner == na { (b.clone(), nb) } else { (Store::clone(&a), na) };
    let seen = alive.nodes().await.unwrap().into_iter().find(|n| n.id == winner.id).unwrap();
    alive.take_over(&seen, me).await.unwrap();
    assert!(matches!(freezer.insert(&rows, &[]).await, Err(StoreError::Fatal(_))));
    let mut again = alive.begin_freeze(book.campaign, me, Some(SITE.into())).await.unwrap();
    freeze_all(&mut again).await;
    assert_eq!(again.finish().await.unwrap(), 30);
    assert_eq!(a.recount(book.workspace, book.campaign).await.unwrap().frozen, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_cancel_release_and_hold_count_each_row_once() {
    let a = open_postgres("cancelrace").await;
    let b = a.second_node().await;
    let nb = b.register_node().await.unwrap();
    let rig = Rig::start(&a, 300, &policy()).await;
    let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
    let deliveries = rig.deliveries().await;
    let (ha, hb) = tokio::join!(
        a.hold_deliveries(workspace, &deliveries[..100], "x"),
        b.hold_deliveries(workspace, &deliveries[..100], "x")
    );
    assert_eq!(ha.unwrap() + hb.unwrap(), 100);
    let (ra, rb) = tokio::join!(a.release_held(workspace, campaign, 60), b.release_held(workspace, campaign, 60));
    assert!(ra.unwrap() + rb.unwrap() <= 100);
    a.stop_campaign(workspace, campaign).await.unwrap();
    let one = async |store: &Store, node| {
        let mut rows = 0;
        for _ in 0..100 {
            let slice = store.cancel_slice(node, campaign, 20).await.unwrap();
            rows += slice.rows;
            if !slice.left {
                break;
            }
        }
        rows
    };
    let (ca, cb) = tokio::join!(one(&a, rig.node.id), one(&b, nb.id));
    assert_eq!(ca + cb, 300);
    let ledger = a.recount(workspace, campaign).await.unwrap();
    assert_eq!((ledger.cancelled, ledger.queued, ledger.held), (300, 0, 0));
    assert_eq!(ledger, a.ledger_counts(workspace, campaign).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_between_marks_loses_nobody() {
    let a = open_postgres("stoprace").await;
    let b = a.second_node().await;
    let rig = Rig::start(&a, 200, &policy()).await;
    let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
    let working = tokio::spawn(work(Store::clone(&a), rig.node, rig.writer.clone()));
    loop {
        if a.recount(workspace, campaign).await.unwrap().accepted > 20 {
            break;
        }
        tokio::task::yield_now().await;
    }
    b.stop_campaign(workspace, campaign).await.unwrap();
    while b.cancel_slice(b.node(), campaign, 10).await.unwrap().left {}
    let granted = working.await.unwrap();
    rig.writer.flush().await.unwrap();
    let ledger = a.recount(workspace, campaign).await.unwrap();
    assert_eq!(ledger.accepted, granted.len() as i64, "what was granted was sent, nothing else");
    assert_eq!((ledger.accepted + ledger.cancelled, ledger.queued), (200, 0));
    assert_eq!(ledger, a.ledger_counts(workspace, campaign).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn actions_on_one_campaign_come_one_after_the_other() {
    let a = open_postgres("actions").await;
    let b = a.second_node().await;
    let rig = Rig::start(&a, 1, &policy()).await;
    let (w, c) = (rig.book.workspace, rig.book.campaign);
    for _ in 0..10 {
        let (p, q) = tokio::join!(a.pause_campaign(w, c), b.pause_campaign(w, c));
        assert!(p.is_ok() != q.is_ok());
        let (p, q) = tokio::join!(a.resume_campaign(w, c), b.resume_campaign(w, c));
        assert!(p.is_ok() != q.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lanes_and_domains_are_made_once_whoever_is_first() {
    let a = open_postgres("lanesonce").await;
    let b = a.second_node().await;
    let (na, nb) = (a.register_node().await.unwrap(), b.register_node().await.unwrap());
    let book = write_book(&a, 1, &policy()).await.unwrap();
    let (wa, wb) = (a.queue_writer(na), b.queue_writer(nb));
    for round in 0..10 {
        let message = |store: &Store| {
            let mut m = crate::queue_rig::message(store, book.workspace, &["x@d1.example"]);
            m.site = format!("site{round}");
            m
        };
        let (ra, rb) = tokio::join!(wa.accept_message(message(&a)), wb.accept_message(message(&b)));
        ra.unwrap();
        rb.unwrap();
        let domain = |n: usize| MailDomain {
            name: format!("x{n}.example"),
            site: Some("s".into()),
            state: DomainState::Found,
            resolved_at: 0,
            look_again_at: 0,
            nxdomain_since: None,
        };
        let up: Vec<_> = (0..50).map(domain).collect();
        let down: Vec<_> = (0..50).rev().map(domain).collect();
        let (ra, rb) = tokio::join!(a.remember_domains(&up), b.remember_domains(&down));
        ra.unwrap();
        rb.unwrap();
    }
    a.lease_lanes(na).await.unwrap();
    b.lease_lanes(nb).await.unwrap();
    let mut sites: Vec<String> = Vec::new();
    for lane in a.my_lanes(na).await.unwrap().into_iter().chain(b.my_lanes(nb).await.unwrap()) {
        assert_eq!(a.read_lane(lane.lane, None, i64::MAX, 10).await.unwrap().len(), 2);
        sites.push(lane.site);
    }
    sites.sort();
    let all = sites.len();
    sites.dedup();
    assert_eq!((all, sites.len()), (10, 10));
    let counts = a.message_counts(book.workspace).await.unwrap();
    assert_eq!(counts["frozen"], 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_moves_is_marked_in_one_lane_only() {
    let a = open_postgres("moverace").await;
    let book = write_book(&a, 100, &policy()).await.unwrap();
    let node = a.register_node().await.unwrap();
    let mut freezer = a.begin_freeze(book.campaign, node, None).await.unwrap();
    freeze_all(&mut freezer).await;
    freezer.finish().await.unwrap();
    let lane = a.lease_lanes(node).await.unwrap().new.remove(0);
    let writer = a.queue_writer(node);
    let rows = a.read_lane(lane.lane, None, i64::MAX, 500).await.unwrap();
    let domains: Vec<MailDomain> = (0..10)
        .map(|i| MailDomain {
            name: format!("d{i}.example"),
            site: Some("s".into()),
            state: DomainState::Found,
            resolved_at: 0,
            look_again_at: 0,
            nxdomain_since: None,
        })
        .collect();
    a.remember_domains(&domains).await.unwrap();
    let marking = async {
        let mut granted = 0;
        for row in &rows {
            let request = MarkRequest {
                delivery: row.delivery,
                lane: lane.lane,
                lane_epoch: lane.epoch,
                first_try_at: 1,
                dkim_key: None,
                link_key: 1,
                rules: 0,
            };
            match writer.mark(request).await.unwrap() {
                MarkAnswer::Granted => granted += 1,
                MarkAnswer::Refused(why) => assert_eq!(why, MarkRefused::NotReady),
            }
        }
        granted
    };
    let moving = async {
        let (mut moved, mut cursor) = (0, None);
        loop {
            let step = a.move_resolved(node, &lane, cursor, 5).await.unwrap();
            moved += step.rows;
            cursor = step.next;
            if cursor.is_none() {
                return moved;
            }
        }
    };
    let (granted, moved) = tokio::join!(marking, moving);
    assert_eq!(granted + moved, 100);
    assert_eq!(a.recount(book.workspace, book.campaign).await.unwrap().in_doubt, granted as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_starts_of_one_name_leave_one_node() {
    let a = open_postgres("samename").await;
    let (one, two) = tokio::join!(a.register_node(), a.register_node());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.epoch, two.epoch);
    let (x, y) = tokio::join!(a.beat(one), a.beat(two));
    assert!(x.is_ok() != y.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ring_is_heard_on_the_other_node() {
    let a = open_postgres("bell").await;
    let b = a.second_node().await;
    let rig = Rig::start(&a, 1, &policy()).await;
    let mut heard = b.bell().listen();
    // The first ring may come before the other one listens: pausing and resuming rings again and again.
    for _ in 0..50 {
        a.pause_campaign(rig.book.workspace, rig.book.campaign).await.unwrap();
        a.resume_campaign(rig.book.workspace, rig.book.campaign).await.unwrap();
        let wait = tokio::time::timeout(std::time::Duration::from_millis(200), async {
            while heard.recv().await != Ok(crate::bell::Topic::Campaign) {}
        });
        if wait.await.is_ok() {
            return;
        }
    }
    panic!("nothing was heard");
}
