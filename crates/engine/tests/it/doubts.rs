//! What is done when nobody knows whether a message arrived, when a process dies while it freezes, and when the store
//! can no longer be trusted.

use std::time::Duration;

use postrider_domain::campaign::CampaignState;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::InDoubtPolicy;

use crate::limits::single;
use crate::on_both;
use crate::rig::{Rig, rehearsal};

on_both!(
    assume_takes_a_lost_reply_for_acceptance,
    hold_waits_for_a_person,
    a_kill_while_freezing_makes_the_audience_anew,
    an_engine_whose_epoch_is_gone_says_so,
    a_receipt_arrives_signed_and_once,
);

fn policy(in_doubt: InDoubtPolicy) -> RetryPolicy {
    RetryPolicy { in_doubt, ..rehearsal() }
}

async fn assume_takes_a_lost_reply_for_acceptance(rig: Rig) {
    rig.people(&["a@keep-dot.test", "b@mail1.test", "c@unknown.test"]).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(policy(InDoubtPolicy::Assume)).await;
    rig.until_done_winding(campaign, 400).await;
    let report = rig.report(campaign).await;
    assert_eq!((report["a@keep-dot.test"].0, report["a@keep-dot.test"].1), (ReportStatus::Assumed, 1));
    assert_eq!(report["b@mail1.test"].0, ReportStatus::Sent);
    assert_eq!(report["c@unknown.test"].0, ReportStatus::Bounced);
    assert_eq!(rig.world.record().copies(), 2, "sent once, whatever became of it");
    assert_eq!(rig.ledger(campaign).await.assumed, 1);
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn hold_waits_for_a_person(mut rig: Rig) {
    rig.people(&["a@keep-dot.test", "b@mail1.test"]).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(policy(InDoubtPolicy::Hold)).await;
    rig.until("both to be sent", || async { rig.world.record().copies() == 2 }).await;
    rig.until("the doubt", || async {
        let ledger = rig.store.ledger_counts(rig.workspace, campaign).await.unwrap();
        (ledger.accepted, ledger.in_doubt) == (1, 1)
    })
    .await;
    drop(engine);
    rig.store.kill_and_reopen().await;
    let engine = rig.engine().await;
    rig.until("the hold", || async { rig.store.recount(rig.workspace, campaign).await.unwrap().held == 1 }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.world.record().copies(), 2, "nothing is sent again by itself");
    rig.ledger(campaign).await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_kill_while_freezing_makes_the_audience_anew(mut rig: Rig) {
    let people: Vec<String> = (0..300).map(|n| format!("p{n}@mail{}.test", n % 3)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut engine = rig.engine().await;
    let campaign = rig.draft(rehearsal(), None).await;
    rig.start(campaign).await;
    for _ in 0..3 {
        // Wherever this hits: before, while or after freezing.
        tokio::time::sleep(Duration::from_millis(60)).await;
        drop(engine);
        rig.store.kill_and_reopen().await;
        engine = rig.engine().await;
    }
    rig.until_done_winding(campaign, 200).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.frozen, ledger.accepted), (300, 300));
    assert_eq!((rig.world.record().pairs(), rig.world.record().duplicate_counts().1), (300, 0));
    engine.shutdown(Duration::from_secs(10)).await;
}

/// REL-8, REL-11: a process that was taken over stops by itself and says why.
async fn an_engine_whose_epoch_is_gone_says_so(rig: Rig) {
    rig.people(&["a@mail1.test"]).await;
    let engine = rig.engine().await;
    assert!(engine.readiness().check().is_ok());
    rig.store.register_node().await.expect("somebody else runs as this node");
    let why = tokio::time::timeout(Duration::from_secs(10), engine.failed()).await.expect("noticed within seconds");
    assert!(why.contains("another process"), "{why}");
    assert!(engine.readiness().check().is_err());
    let campaign = rig.campaign(rehearsal()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.store.campaign(rig.workspace, campaign).await.unwrap().state, CampaignState::Scheduled);
    assert_eq!(rig.world.record().copies(), 0);
}

async fn a_receipt_arrives_signed_and_once(rig: Rig) {
    let engine = rig.engine().await;
    let delivery = single(&rig, &engine, "buyer@mail3.test").await;
    rig.until("the receipt", || async { rig.world.record().copies() == 1 }).await;
    rig.until("its report", || async {
        rig.store.delivery(rig.workspace, delivery).await.unwrap().status == ReportStatus::Sent
    })
    .await;
    let kept = rig.world.kept();
    let text = String::from_utf8_lossy(&kept[0].bytes).into_owned();
    assert!(text.starts_with("DKIM-Signature:") && text.contains("d=news.example.org"), "{text}");
    assert!(!text.contains("\r\nList-"), "a receipt has no list headers (RF-33)");
    engine.shutdown(Duration::from_secs(10)).await;
}
