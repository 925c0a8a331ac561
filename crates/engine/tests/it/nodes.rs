//! Two engines on one PostgreSQL: both send, nobody gets it twice, and a dead one's lanes go to the other.

use std::time::Duration;

use postrider_domain::retry::RetryPolicy;

use crate::rig::{Rig, rehearsal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_share_a_campaign() {
    let rig = Rig::postgres("two_engines").await;
    let people: Vec<String> = (0..240).map(|n| format!("p{n}+slow@mail{}.test", n % 8)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let other = rig.store.second_node().await;
    let (one, two) = (rig.engine().await, rig.engine_on(&other).await);
    let campaign = rig.campaign(RetryPolicy { timeout_ms: Some(8_000), ..rehearsal() }).await;
    rig.until_done_winding(campaign, 50).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 240);
    assert_eq!((rig.world.record().pairs(), rig.world.record().copies()), (240, 240), "nobody twice");
    let mut nodes = std::collections::BTreeMap::new();
    for row in rig.rows(campaign).await.iter().take(120) {
        let attempts = rig.attempts(row.id).await;
        *nodes.entry(attempts[0].id.get() & 0xff).or_insert(0) += 1;
    }
    assert_eq!(nodes.len(), 2, "both send: {nodes:?}");
    one.shutdown(Duration::from_secs(20)).await;
    two.shutdown(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_of_a_dead_node_are_taken_over() {
    let rig = Rig::postgres("take_over").await;
    let people: Vec<String> = (0..160).map(|n| format!("p{n}+slow@mail{}.test", n % 8)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let other = rig.store.second_node().await;
    let (one, two) = (rig.engine().await, rig.engine_on(&other).await);
    let campaign = rig.campaign(RetryPolicy { timeout_ms: Some(8_000), ..rehearsal() }).await;
    rig.until("some messages", || async { rig.world.record().copies() > 20 }).await;
    drop(two);
    drop(other);
    rig.until_done_winding(campaign, 100).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.accepted, ledger.in_doubt), (160, 0));
    assert_eq!(rig.world.record().pairs(), 160, "nobody is missing");
    assert_eq!(rig.world.record().duplicate_counts().1, 0, "equal bytes, whichever node sends");
    one.shutdown(Duration::from_secs(20)).await;
}
