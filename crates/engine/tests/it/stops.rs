//! Pausing, stopping, ending in order, being killed, and people who opt out while a campaign runs.

use std::time::{Duration, Instant};

use postrider_domain::campaign::CampaignState;
use postrider_domain::consent::ConsentState;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::schedule::Schedule;
use postrider_domain::stream::InDoubtPolicy;
use postrider_mail::Stage;

use crate::on_both;
use crate::rig::{Rig, rehearsal};

on_both!(
    pause_and_resume_within_a_second,
    stop_cancels_the_rest_and_the_ledger_balances,
    an_orderly_stop_leaves_nothing_in_doubt,
    a_kill_loses_nothing_and_repeats_only_what_was_in_doubt,
    who_opts_out_during_the_run_gets_nothing_after_the_commit,
    nor_does_it_with_marks_one_by_one,
    a_schedule_fires_once_and_not_too_late,
);

/// 200 recipients of a host that takes its time.
async fn slow_crowd(rig: &Rig) -> Vec<String> {
    let people: Vec<String> = (0..200).map(|n| format!("p{n}+slow@mail{}.test", n % 4)).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    people
}

fn patient() -> RetryPolicy {
    RetryPolicy { timeout_ms: Some(8_000), ..rehearsal() }
}

async fn pause_and_resume_within_a_second(rig: Rig) {
    slow_crowd(&rig).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until("some messages", || async { rig.world.record().copies() > 10 }).await;
    rig.store.pause_campaign(rig.workspace, campaign).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let named = trace_of(&rig).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(trace_of(&rig).await, named, "no new RCPT a second after the pause");
    let ledger = rig.ledger(campaign).await;
    assert_eq!(ledger.in_doubt, 0, "what was marked ahead was put back");
    rig.store.resume_campaign(rig.workspace, campaign).await.unwrap();
    rig.until_done_winding(campaign, 200).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 200);
    assert_eq!(rig.world.record().duplicate_counts().0, 0);
    engine.shutdown(Duration::from_secs(20)).await;
}

/// RCPT commands that the world has seen, over the crowd.
async fn trace_of(rig: &Rig) -> usize {
    (0..200)
        .map(|n| {
            rig.world.seen(&format!("p{n}+slow@mail{}.test", n % 4)).iter().filter(|s| s.stage == Stage::Rcpt).count()
        })
        .sum()
}

async fn stop_cancels_the_rest_and_the_ledger_balances(rig: Rig) {
    slow_crowd(&rig).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until("some messages", || async { rig.world.record().copies() > 10 }).await;
    rig.store.stop_campaign(rig.workspace, campaign).await.unwrap();
    rig.until("the end", || async { rig.store.campaign(rig.workspace, campaign).await.unwrap().finished_at.is_some() })
        .await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!(ledger.queued, 0, "{ledger:?}");
    assert!(ledger.cancelled > 50 && ledger.accepted >= 10, "{ledger:?}");
    assert_eq!(ledger.accepted, i64::try_from(rig.world.record().copies()).unwrap());
    engine.shutdown(Duration::from_secs(20)).await;
}

async fn an_orderly_stop_leaves_nothing_in_doubt(rig: Rig) {
    slow_crowd(&rig).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until("some messages", || async { rig.world.record().copies() > 10 }).await;
    let report = engine.shutdown(Duration::from_secs(30)).await;
    assert_eq!((report.left, report.trouble), (0, None));
    let ledger = rig.ledger(campaign).await;
    assert_eq!(ledger.in_doubt, 0, "{ledger:?}");
    assert_eq!(ledger.accepted, i64::try_from(rig.world.record().copies()).unwrap(), "every reply was settled");
    let again = rig.engine().await;
    rig.until_done_winding(campaign, 200).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 200);
    assert_eq!(rig.world.record().duplicate_counts().0, 0, "nobody got it twice");
    again.shutdown(Duration::from_secs(20)).await;
}

async fn a_kill_loses_nothing_and_repeats_only_what_was_in_doubt(mut rig: Rig) {
    slow_crowd(&rig).await;
    let mut engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    let mut in_doubt = 0;
    for kill in 1..=3 {
        let goal = rig.world.record().copies() + 15;
        rig.until("some messages", || async { rig.world.record().copies() >= goal }).await;
        drop(engine);
        rig.store.kill_and_reopen().await;
        in_doubt += rig.store.recount(rig.workspace, campaign).await.unwrap().in_doubt;
        engine = rig.engine().await;
        assert!(kill < 4);
    }
    rig.until_done_winding(campaign, 200).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.frozen, ledger.accepted), (200, 200), "{ledger:?}");
    assert_eq!(rig.world.record().pairs(), 200, "nobody is missing");
    let (repeated, different) = rig.world.record().duplicate_counts();
    assert_eq!(different, 0, "a repeated message has the same bytes");
    assert!(i64::try_from(repeated).unwrap() <= in_doubt, "{repeated} repeated, {in_doubt} were in doubt");
    let counts = rig.store.campaign_counts(rig.workspace, campaign).await.unwrap();
    assert!(in_doubt > 0, "a kill of a slow crowd leaves doubts, else this test shows nothing");
    assert_eq!(counts.get("in_doubt_resent").copied().unwrap_or(0), in_doubt, "{counts:?}");
    engine.shutdown(Duration::from_secs(20)).await;
}

/// LAW-21, SR-17: no MAIL FROM after the commit of a withdrawal, whatever the policy says about doubts.
async fn who_opts_out_during_the_run_gets_nothing_after_the_commit(rig: Rig) {
    opt_out_during(&rig, InDoubtPolicy::Resend).await;
}

async fn nor_does_it_with_marks_one_by_one(rig: Rig) {
    opt_out_during(&rig, InDoubtPolicy::Assume).await;
}

async fn opt_out_during(rig: &Rig, in_doubt: InDoubtPolicy) {
    let people: Vec<String> = (0..120).map(|n| format!("p{n}+slow@mail{}.test", n % 4)).collect();
    let ids = rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (engine, notes) = rig.engine_noting().await;
    let campaign = rig.campaign(RetryPolicy { in_doubt, ..patient() }).await;
    rig.until("some messages", || async { rig.world.record().copies() > 5 }).await;
    let mut committed = Vec::new();
    for (mailbox, id) in people.iter().zip(&ids).skip(1).step_by(2) {
        rig.consent(*id, ConsentState::Withdrawn).await;
        // Later than the commit by what it takes to tell us.
        committed.push((mailbox.clone(), Instant::now()));
    }
    rig.until_done_winding(campaign, 300).await;
    let report = rig.report(campaign).await;
    let notes = notes.lock().unwrap().clone();
    let mut withheld = 0;
    for (mailbox, at) in &committed {
        let late = notes.iter().find(|(named, moment)| named == mailbox && moment > at);
        assert!(late.is_none(), "{mailbox} was named {:?} after the commit", late.map(|(_, moment)| *moment - *at));
        match report[mailbox].0 {
            ReportStatus::Withheld => {
                withheld += 1;
                assert!(!notes.iter().any(|(named, _)| named == mailbox), "{mailbox} is withheld, and was named");
            }
            ReportStatus::Sent => {}
            other => panic!("{mailbox}: {other}"),
        }
    }
    assert!(withheld > 15, "{withheld} of {}", committed.len());
    assert_eq!(rig.ledger(campaign).await.withheld, withheld);
    engine.shutdown(Duration::from_secs(20)).await;
}

async fn a_schedule_fires_once_and_not_too_late(rig: Rig) {
    rig.people(&["a@mail1.test"]).await;
    let engine = rig.engine().await;
    // The hand-wound clock begins at 12:00 UTC, which is 13:00 in Rome.
    let at = |local: &str, guard| Schedule {
        local: local.into(),
        zone: "Europe/Rome".into(),
        not_later_than_minutes: guard,
    };
    let on_time = rig.draft(rehearsal(), None).await;
    rig.store.schedule_campaign(rig.workspace, on_time, &at("2026-11-21T13:30", Some(30))).await.unwrap();
    let missed = rig.draft(rehearsal(), None).await;
    rig.store.schedule_campaign(rig.workspace, missed, &at("2026-11-21T12:00", Some(30))).await.unwrap();
    rig.until_state(missed, CampaignState::Missed).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.world.record().copies(), 0, "nothing leaves before its time");
    rig.store.clock.advance(31 * 60_000);
    rig.until_state(on_time, CampaignState::Done).await;
    assert_eq!(rig.world.record().copies(), 1);
    engine.shutdown(Duration::from_secs(10)).await;
}
