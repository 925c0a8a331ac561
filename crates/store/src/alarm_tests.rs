//! Alarms, breakers, bounce rules and complaints, on both databases.

use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSettings, AlarmSeverity, Wrong};
use postrider_domain::bounce::BounceClass;
use postrider_domain::campaign::CampaignState;
use postrider_domain::id::WorkspaceId;
use postrider_domain::outcome::{AttemptResult, Outcome};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::suppression::SuppressionReason;
use postrider_mail::Stage;
use postrider_mail::mailbox::{DomainName, Mailbox};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::alarm::AlarmState;
use crate::breaker::SiteBreaker;
use crate::domain::NewDkimKey;
use crate::error::StoreError;
use crate::page::PageRequest;
use crate::queue_rig::{Rig, attempt, message};
use crate::report::AttemptsOf;
use crate::secret::SecretBytes;
use crate::settle::{AttemptRecord, Next, RuleUsed, Settle};
use crate::suppression::{NewSuppression, Whom};
use crate::testing::{open_both, open_postgres, write_book};

const BY: Actor = Actor::Console;

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

fn wrong(level: i64) -> Wrong {
    Wrong { severity: AlarmSeverity::Warning, level, facts: json!({ "level": level, "reply": "550 \u{0}no" }) }
}

async fn workspace(store: &Store) -> WorkspaceId {
    write_book(store, 1, &policy()).await.unwrap().workspace
}

async fn listed(store: &Store, workspace: WorkspaceId, states: &[AlarmState]) -> Vec<AlarmKind> {
    let page = store.alarms(workspace, states, &PageRequest::first(50)).await.unwrap();
    page.items.iter().map(|a| a.kind).collect()
}

#[tokio::test]
async fn an_alarm_is_raised_once_seen_by_its_workspace_acknowledged_and_resolved_once() {
    for store in open_both("alarms").await {
        let (mine, other) = (workspace(&store).await, workspace(&store).await);
        let bounces = AlarmKey::of(mine, AlarmKind::Bounces, "cmp_x\u{0}");
        let disk = AlarmKey::of_installation(AlarmKind::Disk, "main");
        let id = store.raise_alarm(&bounces, &wrong(1)).await.unwrap().expect("new");
        store.clock.advance(5);
        assert_eq!(store.raise_alarm(&bounces, &wrong(1)).await.unwrap(), None, "it is open already");
        assert_eq!(store.alarm(mine, id).await.unwrap().last_seen_at, store.now());
        store.raise_alarm(&disk, &wrong(0)).await.unwrap().expect("new");
        let theirs = AlarmKey::of(other, AlarmKind::Bounces, "cmp_x\u{0}");
        store.raise_alarm(&theirs, &wrong(1)).await.unwrap().expect("another workspace's");
        assert_eq!(listed(&store, mine, AlarmState::ALL).await, [AlarmKind::Disk, AlarmKind::Bounces]);
        assert_eq!(store.open_alarms().await.unwrap().len(), 3);
        assert!(matches!(store.alarm(other, id).await, Err(StoreError::NotFound { .. })));
        let foreign = store.acknowledge_alarm(other, &BY, id).await;
        assert!(matches!(foreign, Err(StoreError::NotFound { .. })), "{foreign:?}");

        let known = store.acknowledge_alarm(mine, &BY, id).await.unwrap();
        assert_eq!((known.state(), known.acknowledged_by.as_deref()), (AlarmState::Acknowledged, Some("console")));
        assert_eq!(store.acknowledge_alarm(mine, &BY, id).await.unwrap(), known, "once is enough");
        assert_eq!(listed(&store, mine, &[AlarmState::Open]).await, [AlarmKind::Disk]);
        // Worse by a step: it is new again, and only the first node hears so.
        assert!(store.worsen_alarm(id, &bounces, &wrong(2)).await.unwrap());
        assert!(!store.worsen_alarm(id, &bounces, &wrong(2)).await.unwrap());
        assert_eq!(store.alarm(mine, id).await.unwrap().state(), AlarmState::Open);

        let seen = store.alarm(mine, id).await.unwrap().last_seen_at;
        store.clock.advance(5);
        store.touch_alarm(id, Some(&json!({ "n": 1 }))).await.unwrap();
        assert!(!store.resolve_alarm_unless_seen(id, &bounces, seen).await.unwrap(), "seen since");
        assert!(store.resolve_alarm_unless_seen(id, &bounces, store.now()).await.unwrap());
        assert!(!store.resolve_alarm_unless_seen(id, &bounces, store.now()).await.unwrap(), "once");
        assert!(store.resolve_alarm(&disk).await.unwrap() && !store.resolve_alarm(&disk).await.unwrap());
        assert_eq!(listed(&store, mine, &[AlarmState::Resolved]).await, [AlarmKind::Disk, AlarmKind::Bounces]);
        let over = store.acknowledge_alarm(mine, &BY, id).await;
        assert!(matches!(over, Err(StoreError::Conflict { .. })), "{over:?}");
        // The same may come again, as another alarm.
        let again = store.raise_alarm(&bounces, &wrong(1)).await.unwrap().expect("new");
        assert_ne!(again, id);
        let audit = store.audit(mine, &PageRequest::first(10)).await.unwrap().items;
        assert_eq!(audit.iter().filter(|l| l.action == "alarm.acknowledge").count(), 1);
        assert_eq!(store.forget_alarms(10).await.unwrap(), 0);
        store.clock.advance(401 * 86_400_000);
        assert_eq!(store.forget_alarms(10).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn two_nodes_raise_and_resolve_the_same_alarm_once() {
    let first = open_postgres("alarm_nodes").await;
    let second = first.second_node().await;
    for round in 0..20 {
        let key = AlarmKey::of_installation(AlarmKind::Dns, format!("n{round}"));
        let warning = wrong(0);
        let (a, b) = tokio::join!(first.raise_alarm(&key, &warning), second.raise_alarm(&key, &warning));
        let ids: Vec<_> = [a.unwrap(), b.unwrap()].into_iter().flatten().collect();
        assert_eq!(ids.len(), 1, "raised once");
        let seen = first.open_alarms().await.unwrap().remove(0).last_seen_at;
        let (a, b) = tokio::join!(
            first.resolve_alarm_unless_seen(ids[0], &key, seen),
            second.resolve_alarm_unless_seen(ids[0], &key, seen)
        );
        assert!(a.unwrap() ^ b.unwrap(), "resolved once");
    }
}

#[tokio::test]
async fn an_alarm_pauses_its_campaign_until_a_person_lets_it_go_on() {
    for store in open_both("alarm_pause").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
        store.count_complaints(workspace, Some(campaign), 2).await.unwrap();
        store.count_complaints(workspace, Some(campaign), 1).await.unwrap();
        let fares = store.campaign_fares().await.unwrap();
        assert_eq!((fares.len(), fares[0].campaign, fares[0].rates.complaints), (1, campaign, 3));

        let key = AlarmKey::of(workspace, AlarmKind::Complaints, campaign.to_string());
        let id = store.raise_alarm(&key, &wrong(1)).await.unwrap().unwrap();
        assert_eq!(store.paused_because(workspace, campaign).await.unwrap(), None);
        assert!(store.pause_by_alarm(id, workspace, campaign, &json!({})).await.unwrap());
        assert!(!store.pause_by_alarm(id, workspace, campaign, &json!({})).await.unwrap(), "it is paused already");
        assert_eq!(store.paused_because(workspace, campaign).await.unwrap().unwrap().id, id);
        let waiting = store.waiting_campaigns().await.unwrap();
        assert_eq!(
            waiting.iter().map(|w| (w.campaign, w.state)).collect::<Vec<_>>(),
            [(campaign, CampaignState::Paused)]
        );
        let lines = store.audit(workspace, &PageRequest::first(5)).await.unwrap().items;
        let line = lines.iter().find(|l| l.action == "campaign.pause").expect("in the audit");
        assert_eq!((line.actor_kind.as_str(), &line.detail["alarm"]), ("engine", &json!(id)));

        store.resume_campaign(workspace, campaign).await.unwrap();
        assert_eq!(store.paused_because(workspace, campaign).await.unwrap(), None);
        store.pause_campaign(workspace, campaign).await.unwrap();
        assert_eq!(store.waiting_campaigns().await.unwrap(), [], "a person who pauses knows it");
    }
}

async fn signing_domain(store: &Store, workspace: WorkspaceId, name: &str) {
    let key = NewDkimKey {
        selector: "s1".into(),
        algorithm: "rsa2048".into(),
        private: SecretBytes::new(vec![1, 2, 3]),
        public_txt: "v=DKIM1; p=x".into(),
    };
    let domain = |name: &str| DomainName::parse(name).unwrap();
    store.add_domain(workspace, &BY, &domain(name), &domain(&format!("b.{name}")), key).await.unwrap();
}

#[tokio::test]
async fn settings_are_checked_kept_and_told_to_the_audit_without_mailboxes() {
    for store in open_both("alarm_settings").await {
        let mine = workspace(&store).await;
        signing_domain(&store, mine, "example.org").await;
        assert_eq!(store.alarm_settings(mine).await.unwrap(), AlarmSettings::default());
        let wanted = AlarmSettings {
            to: vec!["ann@example.net".into()],
            from: "alarm@example.org".into(),
            ..AlarmSettings::default()
        };
        for bad in [
            AlarmSettings { from: "alarm@elsewhere.example".into(), ..wanted.clone() },
            AlarmSettings { from: String::new(), ..wanted.clone() },
            AlarmSettings { to: vec!["nobody".into()], ..wanted.clone() },
        ] {
            let refused = store.put_alarm_settings(mine, &BY, &bad).await;
            assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
        }
        let stranger = AlarmSettings { route: Some(postrider_domain::id::RouteId(5)), ..wanted.clone() };
        let refused = store.put_alarm_settings(mine, &BY, &stranger).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
        store.put_alarm_settings(mine, &BY, &wanted).await.unwrap();
        assert_eq!(store.alarm_settings(mine).await.unwrap(), wanted);
        assert_eq!(store.all_alarm_settings().await.unwrap(), [(mine, wanted)]);
        let audit = store.audit(mine, &PageRequest::first(5)).await.unwrap().items;
        let line = audit.iter().find(|l| l.action == "alarm_settings.set").unwrap();
        assert!(!line.detail.to_string().contains("ann@"), "{}", line.detail);
    }
}

#[tokio::test]
async fn a_mail_tells_each_alarm_once_when_it_is_raised_and_once_when_it_is_over() {
    for store in open_both("alarm_told").await {
        let (mine, other) = (workspace(&store).await, workspace(&store).await);
        let key = AlarmKey::of(mine, AlarmKind::Bounces, "a");
        let disk = AlarmKey::of_installation(AlarmKind::Dns, "main");
        let one = store.raise_alarm(&key, &wrong(1)).await.unwrap().unwrap();
        let two = store.raise_alarm(&disk, &wrong(1)).await.unwrap().unwrap();
        let raised = async |workspace, installation| {
            let untold = store.untold_alarms(workspace, installation).await.unwrap();
            untold.raised.iter().map(|a| a.id).collect::<Vec<_>>()
        };
        assert_eq!(raised(mine, false).await, [one]);
        assert_eq!(raised(mine, true).await, [one, two]);
        assert_eq!(raised(other, false).await, []);
        let mail = |n: usize| message(&store, mine, &[["a@example.net", "b@example.net"][n]]);
        assert!(store.tell_alarms(&[one, two], &[], &mail(0), None).await.unwrap());
        assert!(!store.tell_alarms(&[one], &[], &mail(1), None).await.unwrap(), "another node was faster");
        let untold = store.untold_alarms(mine, true).await.unwrap();
        assert_eq!((untold.raised.len(), untold.mails_of_hour, untold.last_mail_at), (0, 1, Some(store.now())));
        let counts = store.message_counts(mine).await.unwrap();
        assert_eq!(counts["frozen"], 1, "one mail, and nothing of the second");

        store.clock.advance(1_000);
        store.resolve_alarm(&key).await.unwrap();
        let ended = store.untold_alarms(mine, true).await.unwrap().ended;
        assert_eq!(ended.iter().map(|a| a.id).collect::<Vec<_>>(), [one]);
        assert!(store.tell_alarms(&[], &[one], &mail(1), None).await.unwrap());
        let untold = store.untold_alarms(mine, true).await.unwrap();
        assert_eq!((untold.ended.len(), untold.mails_of_hour), (0, 2));
        // What was over before anybody was told is no news.
        let brief = AlarmKey::of(mine, AlarmKind::Bounces, "brief");
        store.raise_alarm(&brief, &wrong(1)).await.unwrap();
        store.resolve_alarm(&brief).await.unwrap();
        let untold = store.untold_alarms(mine, true).await.unwrap();
        assert_eq!((untold.raised.len(), untold.ended.len()), (0, 0));
    }
}

/// Refuses a delivery for good at RCPT and suppresses its mailbox.
async fn deny(rig: &Rig<'_>, delivery: postrider_domain::id::DeliveryId) {
    rig.mark(delivery).await;
    let refused = AttemptRecord {
        stage: Stage::Rcpt,
        result: AttemptResult::Rejected,
        code: Some(550),
        text: "550 5.1.1 no such user".into(),
        class: Some(BounceClass::InvalidRecipient),
        rule: Some(RuleUsed { id: "status.5.1.1".into(), version: "2026-11-22+ours".into() }),
        ..attempt(rig.store.now())
    };
    let word = rig.word(delivery, Next::Done(Outcome::Rejected));
    let word = Settle { attempt: Some(refused), suppress: Some(SuppressionReason::NoSuchMailbox), ..word };
    rig.writer.settle(word).unwrap();
    rig.writer.flush().await.unwrap();
}

#[tokio::test]
async fn a_breaker_is_kept_and_what_it_saw_too_late_can_be_taken_back() {
    for store in open_both("breaker").await {
        let rig = Rig::start(&store, 3, &policy()).await;
        let workspace = rig.book.workspace;
        let deliveries = rig.deliveries().await;
        deny(&rig, deliveries[0]).await;
        deny(&rig, deliveries[1]).await;
        let attempts =
            store.attempts(workspace, AttemptsOf::Delivery(deliveries[0]), &PageRequest::first(5)).await.unwrap();
        let row = &attempts.items[0];
        assert_eq!((row.rule.as_deref(), row.rules.as_deref()), (Some("status.5.1.1"), Some("2026-11-22+ours")));

        let breaker = |until, suspects: &[usize]| SiteBreaker {
            site: "gmx".into(),
            since: store.now(),
            until,
            unknown: 30,
            answers: 30,
            reply: "550 \u{0}5.1.1".into(),
            suspects: suspects.iter().map(|n| deliveries[*n]).collect(),
            believed_at: None,
        };
        let now = store.now();
        store.open_breaker(&breaker(now + 10, &[0])).await.unwrap();
        // Another node tripped, too: its suspects add up, and the later end counts.
        store.open_breaker(&breaker(now + 5, &[1, 0])).await.unwrap();
        let kept = store.site_breakers().await.unwrap();
        assert_eq!((kept.len(), kept[0].until, kept[0].suspects.as_slice()), (1, now + 10, &deliveries[..2]));

        let stranger = write_book(&store, 1, &policy()).await.unwrap().workspace;
        assert_eq!(store.take_back_suppressions(stranger, &BY, "gmx").await.unwrap(), 0, "only one's own");
        // A complaint that came since stays, whatever the delivery.
        let mailbox = Mailbox::parse("person1@d1.example").unwrap();
        let complaint = NewSuppression {
            whom: Whom::Mailbox(mailbox.clone()),
            reason: SuppressionReason::Complaint,
            scope: None,
            source: "report".into(),
            until: None,
            delivery: None,
        };
        store.suppress(workspace, &BY, complaint).await.unwrap();
        let before =
            store.suppressions(workspace, &Default::default(), &PageRequest::first(10)).await.unwrap().items.len();
        assert_eq!(store.take_back_suppressions(workspace, &BY, "gmx").await.unwrap(), 2);
        let after = store.suppressions(workspace, &Default::default(), &PageRequest::first(10)).await.unwrap().items;
        assert_eq!(
            (after.len() + 2, after.iter().any(|s| s.reason == SuppressionReason::NoSuchMailbox)),
            (before, false)
        );
        assert_eq!(store.take_back_suppressions(workspace, &BY, "gmx").await.unwrap(), 0);
        let nobody = store.take_back_suppressions(workspace, &BY, "gmail").await;
        assert!(matches!(nobody, Err(StoreError::NotFound { .. })), "{nobody:?}");

        store.believe_site(workspace, &BY, "gmx").await.unwrap();
        assert!(matches!(store.believe_site(workspace, &BY, "gmx").await, Err(StoreError::NotFound { .. })), "once");
        store.close_breaker("gmx").await.unwrap();
        assert!(store.site_breakers().await.unwrap()[0].believed_at.is_some(), "other nodes have still to learn it");
        // It trips anew: what was believed counts no more.
        store.open_breaker(&breaker(now + 50, &[])).await.unwrap();
        let kept = store.site_breakers().await.unwrap().remove(0);
        assert_eq!((kept.believed_at, kept.suspects.len()), (None, 0));
        store.close_breaker("gmx").await.unwrap();
        assert_eq!(store.site_breakers().await.unwrap(), []);
        let acts = store.audit(workspace, &PageRequest::first(20)).await.unwrap().items;
        let acts: Vec<&str> = acts.iter().map(|l| l.action.as_str()).filter(|a| a.starts_with("breaker.")).collect();
        assert_eq!(acts, ["breaker.believe", "breaker.take_back", "breaker.take_back"]);
    }
}

const RULES: &str = "version = \"ours\"\n[[rule]]\nid = \"ours.fishing\"\nclass = \"C4\"\npatterns = [\"gone fishing\"]\n\
                     source = \"our observation\"\nyes = [\"550 gone fishing\"]\nno = [\"550 gone\"]\n";

#[tokio::test]
async fn rules_of_a_workspace_are_tried_before_they_are_kept() {
    for store in open_both("own_rules").await {
        let mine = workspace(&store).await;
        assert_eq!(store.bounce_rules(mine).await.unwrap(), None);
        store.put_bounce_rules(mine, &BY, RULES).await.unwrap();
        let bad = store.put_bounce_rules(mine, &BY, &RULES.replace("550 gone fishing", "550 at home")).await;
        let Err(StoreError::Refused { message }) = bad else { panic!("{bad:?}") };
        assert!(message.contains("ours.fishing") && message.contains("at home"), "{message}");
        assert_eq!(store.bounce_rules(mine).await.unwrap().unwrap().text, RULES, "those before stay");
        assert_eq!(store.bounce_rule_times().await.unwrap(), [(mine, store.now())]);
        store.delete_bounce_rules(mine, &BY).await.unwrap();
        assert!(matches!(store.delete_bounce_rules(mine, &BY).await, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_node_tells_its_clock_with_its_signs_of_life() {
    let first = open_postgres("clocks").await;
    let second = first.second_node().await;
    let node = second.register_node().await.unwrap();
    assert_eq!(first.other_clocks().await.unwrap(), []);
    second.beat(node).await.unwrap();
    let seen = first.other_clocks().await.unwrap();
    assert_eq!((seen.len(), seen[0].clock_at), (1, first.now()));
    assert_eq!(second.other_clocks().await.unwrap(), []);
}
