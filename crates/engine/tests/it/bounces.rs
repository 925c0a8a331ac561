//! Soft bounces through a running engine: counted once a delivery, reset by a success, suppressed at the limit.

use std::time::Duration;

use postrider_domain::bounce::soft::SoftLimits;
use postrider_domain::campaign::CampaignState;
use postrider_domain::consent::ConsentState;
use postrider_domain::suppression::SuppressionReason;
use postrider_mail::mailbox::Mailbox;

use crate::on_both;
use crate::rig::{CONSOLE, Rig, rehearsal};

on_both!(a_full_mailbox_is_left_alone_after_its_limit_and_a_success_before_resets_it);

const WHO: &str = "ann@mail1.test";
const DAY: i64 = 86_400_000;

async fn counted(rig: &Rig) -> i64 {
    let found = rig.store.soft_bounces(rig.workspace, &Mailbox::parse(WHO).unwrap()).await.unwrap();
    found.map_or(0, |found| found.count.bounces)
}

/// A campaign to everybody; whether it went to the one.
async fn mailing(rig: &Rig, host: &str) -> bool {
    assert!(rig.world.behave("mail1.test", host), "{host}");
    let before = rig.world.seen(WHO).len();
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 500).await;
    rig.until_state(campaign, CampaignState::Done).await;
    rig.world.seen(WHO).len() > before
}

async fn a_full_mailbox_is_left_alone_after_its_limit_and_a_success_before_resets_it(rig: Rig) {
    let contact = rig.people(&[WHO]).await.remove(0);
    let limits = SoftLimits { bounces: 3, campaigns: 3, days: 0, ..SoftLimits::default() };
    rig.store.put_bounce_settings(rig.workspace, &CONSOLE, &limits).await.unwrap();
    let engine = rig.engine().await;
    for n in 1..=2 {
        assert!(mailing(&rig, "full").await);
        assert_eq!(counted(&rig).await, n);
    }
    // Refused for now until the attempts were used up, and refused for what it says: nothing about the mailbox.
    assert!(mailing(&rig, "defer").await && mailing(&rig, "block-data").await);
    assert_eq!(counted(&rig).await, 2);
    assert!(mailing(&rig, "accept").await);
    assert_eq!(counted(&rig).await, 0, "a success takes the count away");

    for _ in 0..3 {
        assert!(mailing(&rig, "full").await);
    }
    let mailbox = Mailbox::parse(WHO).unwrap();
    let found = rig.store.check_suppression(rig.workspace, &mailbox).await.unwrap().remove(0);
    assert_eq!(found.reason, SuppressionReason::BounceLimit);
    let evidence = found.evidence.expect("why");
    assert_eq!((evidence.count.bounces, evidence.count.campaigns, evidence.trail.len()), (3, 3, 3));
    let consents = rig.store.consents(rig.workspace, contact).await.unwrap();
    assert!(consents.iter().all(|consent| consent.state == ConsentState::Granted));
    // Nobody is in the audience of the next one, until its time is over.
    assert!(!mailing(&rig, "accept").await);
    rig.store.clock.advance(90 * DAY);
    assert!(mailing(&rig, "accept").await);
    engine.shutdown(Duration::from_secs(10)).await;
}
