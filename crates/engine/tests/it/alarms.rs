//! Alarms from end to end: a site that denies everybody, a campaign that bounces, mail to administrators.

use std::time::Duration;

use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSettings, AlarmSeverity, Wrong};
use postrider_domain::campaign::CampaignState;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;
use postrider_store::alarm::{Alarm, AlarmState};
use postrider_store::page::PageRequest;
use postrider_store::suppression::SuppressionFilter;
use serde_json::json;

use crate::on_both;
use crate::rig::{CONSOLE, Rig};

on_both!(
    a_site_that_denies_everybody_is_held_and_nobody_more_is_suppressed,
    a_person_who_believes_the_site_lets_it_go_on,
    too_many_bounces_pause_the_campaign_once,
    administrators_are_told_once_and_together,
    rules_of_a_workspace_come_first_and_stay_with_the_attempt,
);

const MINUTE: i64 = 60_000;

/// The usual gaps, and time-outs that a test can wait for.
fn patient() -> RetryPolicy {
    RetryPolicy { timeout_ms: Some(700), ..RetryPolicy::preset("marketing").expect("a preset") }
}

async fn alarms(rig: &Rig, kind: AlarmKind) -> Vec<Alarm> {
    let page = rig.store.alarms(rig.workspace, AlarmState::ALL, &PageRequest::first(100)).await.unwrap();
    page.items.into_iter().filter(|alarm| alarm.kind == kind).collect()
}

pub(crate) async fn states(rig: &Rig, kind: AlarmKind) -> Vec<AlarmState> {
    alarms(rig, kind).await.iter().map(Alarm::state).collect()
}

async fn suppressed(rig: &Rig) -> usize {
    let page = PageRequest::first(500);
    rig.store.suppressions(rig.workspace, &SuppressionFilter::default(), &page).await.unwrap().items.len()
}

async fn people(rig: &Rig, mailboxes: Vec<String>) {
    rig.people(&mailboxes.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn a_site_that_denies_everybody_is_held_and_nobody_more_is_suppressed(mut rig: Rig) {
    people(&rig, (0..150).map(|n| format!("p{n}@mail1.test")).collect()).await;
    assert!(rig.world.behave("mail1.test", "unknown"));
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until("the alarm", || async { states(&rig, AlarmKind::MassUnknown).await == [AlarmState::Open] }).await;
    let kept = rig.store.site_breakers().await.unwrap().remove(0);
    assert_eq!((kept.site.as_str(), kept.suspects.len()), ("mail1.test", 29));
    rig.until("every answer is settled", || async {
        rig.store.recount(rig.workspace, campaign).await.unwrap().in_doubt == 0
    })
    .await;
    assert_eq!((suppressed(&rig).await, rig.ledger(campaign).await.rejected), (29, 29));
    let asked = |rig: &Rig| (0..150).map(|n| rig.world.seen(&format!("p{n}@mail1.test")).len()).sum::<usize>();
    let before = asked(&rig);
    assert!(before < 150, "not everybody was asked: {before}");
    let waiting = rig.rows(campaign).await.into_iter().find(|r| r.status == ReportStatus::Queued && r.attempt == 1);
    let attempt = rig.attempts(waiting.expect("somebody who was not believed").id).await.remove(0);
    assert_eq!((attempt.rule.as_deref(), attempt.code), (Some("breaker.mass_unknown"), Some(550)));

    // A restart forgets nothing, and asks nobody.
    engine.shutdown(Duration::from_secs(10)).await;
    drop(engine);
    rig.store.kill_and_reopen().await;
    let engine = rig.engine().await;
    rig.store.clock.advance(10 * MINUTE);
    rig.looks(&engine, 3).await;
    assert_eq!(asked(&rig), before, "held");
    assert_eq!(states(&rig, AlarmKind::MassUnknown).await, [AlarmState::Open], "raised once");

    // The hold is over, and the site is as it was: some trials, and held again.
    rig.store.clock.advance(21 * MINUTE);
    rig.until("trials and another hold", || async {
        rig.store.site_breakers().await.unwrap().first().is_some_and(|b| b.until > kept.until)
    })
    .await;
    rig.until("every answer is settled", || async {
        rig.store.recount(rig.workspace, campaign).await.unwrap().in_doubt == 0
    })
    .await;
    assert!(asked(&rig) <= before + 16, "{} after {before}", asked(&rig));
    assert_eq!((suppressed(&rig).await, rig.ledger(campaign).await.rejected), (29, 29));
    let back = rig.store.take_back_suppressions(rig.workspace, &CONSOLE, "mail1.test").await.unwrap();
    assert_eq!((back, suppressed(&rig).await), (29, 0));

    // The site is well again: everything that waited is delivered.
    assert!(rig.world.behave("mail1.test", "accept"));
    rig.until_done_winding(campaign, MINUTE).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.accepted, ledger.rejected, suppressed(&rig).await), (121, 29, 0));
    rig.until("the end of the alarm", || async {
        states(&rig, AlarmKind::MassUnknown).await == [AlarmState::Resolved]
    })
    .await;
    assert_eq!(rig.store.site_breakers().await.unwrap(), []);
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_person_who_believes_the_site_lets_it_go_on(rig: Rig) {
    people(&rig, (0..60).map(|n| format!("p{n}@mail1.test")).collect()).await;
    assert!(rig.world.behave("mail1.test", "unknown"));
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until("the alarm", || async { states(&rig, AlarmKind::MassUnknown).await == [AlarmState::Open] }).await;
    rig.store.believe_site(rig.workspace, &CONSOLE, "mail1.test").await.unwrap();
    rig.until_done_winding(campaign, MINUTE).await;
    assert_eq!((rig.ledger(campaign).await.rejected, suppressed(&rig).await), (60, 60));
    rig.until("the end of the alarm", || async {
        states(&rig, AlarmKind::MassUnknown).await == [AlarmState::Resolved]
    })
    .await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn too_many_bounces_pause_the_campaign_once(rig: Rig) {
    // A fifth of them do not exist, spread over four sites that answer slowly.
    let tag = |n: usize| if n.is_multiple_of(5) { "unknown" } else { "slow" };
    people(&rig, (0..400).map(|n| format!("p{n}+{}@mail{}.test", tag(n), n % 4)).collect()).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(patient()).await;
    rig.until_state(campaign, CampaignState::Paused).await;
    let because = rig.store.paused_because(rig.workspace, campaign).await.unwrap().expect("an alarm");
    assert_eq!((because.kind, because.subject.clone()), (AlarmKind::Bounces, campaign.to_string()));
    assert!(
        because.sentence().contains("of the messages of campaign “Test” were refused for good"),
        "{}",
        because.sentence()
    );
    rig.until("both alarms", || async { states(&rig, AlarmKind::CampaignPaused).await == [AlarmState::Open] }).await;

    // A person lets it go on: the same rate does not pause it again.
    rig.store.resume_campaign(rig.workspace, campaign).await.unwrap();
    // What was refused its mark by the pause is looked at again a second later.
    rig.until_done_winding(campaign, 1_000).await;
    rig.until("the pause is over", || async {
        states(&rig, AlarmKind::CampaignPaused).await == [AlarmState::Resolved]
    })
    .await;
    assert_eq!(states(&rig, AlarmKind::Bounces).await, [AlarmState::Open], "its bounces are still what they are");
    let text = engine.metrics().text();
    assert!(text.contains("postrider_alarm{kind=\"bounces\",severity=\"critical\"} 1"), "{text}");
    // A day after its end nobody can do anything about it any more.
    rig.store.clock.advance(25 * 60 * MINUTE);
    rig.until("the end of the alarm", || async {
        rig.store.clock.advance(MINUTE);
        states(&rig, AlarmKind::Bounces).await == [AlarmState::Resolved]
    })
    .await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn administrators_are_told_once_and_together(rig: Rig) {
    let engine = rig.engine().await;
    let settings = AlarmSettings {
        to: vec!["ops@mail2.test".into()],
        from: "alarm@news.example.org".into(),
        ..AlarmSettings::default()
    };
    rig.store.put_alarm_settings(rig.workspace, &CONSOLE, &settings).await.unwrap();
    let wrong = Wrong { severity: AlarmSeverity::Critical, level: 0, facts: json!({ "name": "north" }) };
    let key = |subject: &str| AlarmKey::of(rig.workspace, AlarmKind::SourceMissing, subject);
    rig.store.raise_alarm(&key("a"), &wrong).await.unwrap();
    let mails =
        || rig.world.kept().into_iter().map(|k| String::from_utf8_lossy(&k.bytes).into_owned()).collect::<Vec<_>>();
    rig.until("the first mail", || async { mails().len() == 1 }).await;
    let first = mails().remove(0);
    assert!(
        first.contains("Subject: =?utf-8?Q?Alarm=3A_The_egress_source") && first.contains("To: ops@mail2.test"),
        "{first}"
    );
    assert!(first.contains("What to do: Give the machine this address again"), "{first}");

    // What comes within the minute goes together, with what is over; what is about the route itself is only shown.
    rig.store.raise_alarm(&key("b"), &wrong).await.unwrap();
    rig.store.raise_alarm(&key("c"), &wrong).await.unwrap();
    rig.store.raise_alarm(&key(&format!("route:{}", rig.route)), &wrong).await.unwrap();
    rig.store.resolve_alarm(&key("a")).await.unwrap();
    rig.looks(&engine, 3).await;
    assert_eq!(mails().len(), 1, "not within the minute");
    rig.store.clock.advance(MINUTE + 1);
    rig.until("the second mail", || async { mails().len() == 2 }).await;
    assert!(mails()[1].contains("Subject: 2 alarms, 1 resolved"), "{}", mails()[1]);
    for _ in 0..5 {
        rig.store.clock.advance(MINUTE + 1);
        rig.looks(&engine, 2).await;
    }
    assert_eq!(mails().len(), 2, "each is told once");
    let untold: Vec<_> =
        alarms(&rig, AlarmKind::SourceMissing).await.into_iter().filter(|a| a.told_at.is_none()).collect();
    assert_eq!(untold.iter().map(|a| a.subject.as_str()).collect::<Vec<_>>(), [format!("route:{}", rig.route)]);
    engine.shutdown(Duration::from_secs(10)).await;
}

/// The simulated host says "mailbox full" for good; the workspace knows that its hosts mean "gone".
async fn rules_of_a_workspace_come_first_and_stay_with_the_attempt(rig: Rig) {
    let rules = "version = \"house\"\n[[rule]]\nid = \"house.full-is-gone\"\nclass = \"C1\"\nstatus = [\"5.2.2\"]\n\
                 source = \"our observation\"\nyes = [\"552 5.2.2 full\"]\nno = [\"550 5.1.1 nobody\"]\n";
    rig.store.put_bounce_rules(rig.workspace, &CONSOLE, rules).await.unwrap();
    rig.people(&["a+full@mail1.test", "b+unknown@mail1.test"]).await;
    let engine = rig.engine().await;
    // The rules are read before the first look of the look-out.
    rig.looks(&engine, 1).await;
    let campaign = rig.campaign(patient()).await;
    rig.until_done_winding(campaign, 300).await;
    let mut found = Vec::new();
    for row in rig.rows(campaign).await {
        let attempt = rig.attempts(row.id).await.remove(0);
        let own = attempt.rules.as_deref().is_some_and(|version| version.ends_with("+house"));
        found.push((row.mailbox, attempt.rule.unwrap_or_default(), own));
    }
    found.sort();
    assert_eq!(found[0], ("a+full@mail1.test".into(), "house.full-is-gone".into(), true));
    assert!(found[1].2 && found[1].1 != "house.full-is-gone", "{:?}", found[1]);
    assert_eq!(suppressed(&rig).await, 2);
    engine.shutdown(Duration::from_secs(10)).await;
}
