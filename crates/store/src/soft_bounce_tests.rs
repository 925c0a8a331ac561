//! Soft bounces on both databases: counted, reset, suppressed for a time; a simulated year against a model; two nodes at once.

use std::collections::BTreeMap;

use postrider_domain::bounce::BounceClass;
use postrider_domain::bounce::soft::{SoftCount, SoftLimit, SoftLimits};
use postrider_domain::consent::ConsentState;
use postrider_domain::event::EventKind;
use postrider_domain::gate::Withheld;
use postrider_domain::id::{CampaignId, DeliveryId, WorkspaceId};
use postrider_domain::outcome::{AttemptResult, Outcome};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use postrider_mail::mailbox::Mailbox;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};

use crate::actor::Actor;
use crate::db::Lane;
use crate::error::StoreError;
use crate::lane::LaneLease;
use crate::mark::{MarkAnswer, MarkRefused, MarkRequest};
use crate::node::Node;
use crate::queue_rig::{Rig, SITE, attempt, freeze_all};
use crate::settle::{Next, Settle};
use crate::soft_bounce::SoftBounces;
use crate::sql::{args, sql};
use crate::store::Store;
use crate::suppression::{NewSuppression, Suppression, SuppressionFilter, Whom};
use crate::testing::{TestStore, open_both, open_postgres};
use crate::writer::QueueWriter;

const BY: Actor = Actor::Console;
const DAY: i64 = 86_400_000;
const FULL: BounceClass = BounceClass::MailboxFull;

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

/// Plants deliveries and settles them: the engine's part in short.
struct Sender<'s> {
    store: &'s Store,
    writer: QueueWriter,
    lane: LaneLease,
    workspace: WorkspaceId,
}

impl<'s> Sender<'s> {
    fn of(rig: &Rig<'s>) -> Sender<'s> {
        Sender {
            store: rig.store,
            writer: rig.writer.clone(),
            lane: rig.lanes[0].clone(),
            workspace: rig.book.workspace,
        }
    }

    /// A delivery that is ready, of a campaign or of a single message.
    async fn plant(&self, to: &str, campaign: Option<i64>) -> DeliveryId {
        let id = DeliveryId(self.store.next_id());
        let stream = if campaign.is_some() { "marketing" } else { "transactional" };
        let domain = to.rsplit('@').next().unwrap();
        let mut tx = self.store.begin(Lane::Web).await.unwrap();
        tx.execute(
            sql!(
                "INSERT INTO delivery (id, workspace_id, campaign_id, mailbox, mailbox_norm, domain, digest, stream, tracking, \
                 attempts, max_attempts) VALUES ($1, $2, $3, $4, $4, $5, $6, $7, 'none', 0, 3)"
            ),
            args![id, self.workspace, campaign, to, domain, self.store.digest(to), stream],
        )
        .await
        .unwrap();
        tx.execute(
            sql!(
                "INSERT INTO queue (delivery_id, lane_id, workspace_id, ready_at, attempts) VALUES ($1, $2, $3, $4, 0)"
            ),
            args![id, self.lane.lane, self.workspace, self.store.now()],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        id
    }

    fn hand_over(&self, delivery: DeliveryId, outcome: Outcome, soft: Option<BounceClass>) {
        let mut made = attempt(self.store.now());
        if outcome != Outcome::Accepted {
            (made.result, made.code, made.class) = (AttemptResult::Rejected, Some(552), soft);
        }
        let word = Settle {
            delivery,
            lane: self.lane.lane,
            lane_epoch: self.lane.epoch,
            attempt: Some(made),
            next: Next::Done(outcome),
            suppress: None,
            soft,
        };
        self.writer.settle(word).unwrap();
    }

    async fn bounce(&self, to: &str, campaign: Option<i64>) -> DeliveryId {
        let delivery = self.plant(to, campaign).await;
        self.hand_over(delivery, Outcome::Rejected, Some(FULL));
        self.writer.flush().await.unwrap();
        delivery
    }

    async fn succeed(&self, to: &str) {
        let delivery = self.plant(to, None).await;
        self.hand_over(delivery, Outcome::Accepted, None);
        self.writer.flush().await.unwrap();
    }

    async fn counted(&self, to: &str) -> Option<SoftBounces> {
        self.store.soft_bounces(self.workspace, &mailbox(to)).await.unwrap()
    }

    async fn bounces(&self, to: &str) -> i64 {
        self.counted(to).await.map_or(0, |found| found.count.bounces)
    }

    async fn suppressed(&self, to: &str) -> Vec<Suppression> {
        self.store.check_suppression(self.workspace, &mailbox(to)).await.unwrap()
    }

    async fn mark(&self, delivery: DeliveryId) -> MarkAnswer {
        let request = MarkRequest {
            delivery,
            lane: self.lane.lane,
            lane_epoch: self.lane.epoch,
            first_try_at: self.store.now(),
            dkim_key: None,
            link_key: 1,
            rules: 0,
        };
        self.writer.mark(request).await.unwrap()
    }
}

/// Five bounces of three campaigns over a fortnight, the last of them now.
async fn to_the_limit(store: &TestStore, sender: &Sender<'_>, to: &str, first_campaign: i64) -> Vec<DeliveryId> {
    let mut made = Vec::new();
    for (n, campaign) in [Some(0), None, Some(1), None, Some(2)].into_iter().enumerate() {
        if n > 0 {
            store.clock.advance(14 * DAY / 4);
        }
        made.push(sender.bounce(to, campaign.map(|n: i64| first_campaign + n)).await);
    }
    made
}

#[tokio::test]
async fn soft_bounces_are_counted_by_mailbox_and_workspace_and_forgotten_by_a_success() {
    for store in open_both("soft").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let sender = Sender::of(&rig);
        let (who, other) = ("full@d1.example", "other@d1.example");
        let first = sender.bounce(who, Some(71)).await;
        store.clock.advance(DAY);
        let second = sender.bounce(who, None).await;
        let elsewhere = Sender { workspace: WorkspaceId(store.next_id()), ..Sender::of(&rig) };
        elsewhere.bounce(who, Some(75)).await;
        let found = sender.counted(who).await.unwrap();
        let now = store.now();
        assert_eq!(found.count, SoftCount { bounces: 2, campaigns: 1, first_at: now - DAY, last_at: now });
        let trail: Vec<_> = found.trail.iter().map(|b| (b.delivery(), b.campaign(), b.class(), b.at())).collect();
        assert_eq!(
            trail,
            [(first, Some(CampaignId(71)), FULL, now - DAY), (second, None, FULL, now)],
            "{}: a count names where it came from",
            store.kind
        );
        assert_eq!((sender.bounces(other).await, elsewhere.bounces(who).await), (0, 1));

        // What is about us, and a refusal that is tried again, count nothing.
        let refused = sender.plant(who, Some(72)).await;
        sender.hand_over(refused, Outcome::Rejected, None);
        sender.writer.flush().await.unwrap();
        assert_eq!(sender.bounces(who).await, 2);

        // Several in one batch, two of the same mailbox.
        let batch =
            [sender.plant(who, Some(73)).await, sender.plant(who, Some(74)).await, sender.plant(other, Some(73)).await];
        for delivery in batch {
            sender.hand_over(delivery, Outcome::Expired, Some(FULL));
        }
        sender.writer.flush().await.unwrap();
        let count = sender.counted(who).await.unwrap().count;
        assert_eq!((count.bounces, count.campaigns, sender.bounces(other).await), (4, 3, 1), "{}", store.kind);

        sender.succeed(who).await;
        assert_eq!((sender.counted(who).await, sender.bounces(other).await), (None, 1), "BC-5");
        assert_eq!(elsewhere.bounces(who).await, 1, "a success is the workspace's own");
        // An assumed delivery proves nothing.
        let doubtful = sender.plant(other, None).await;
        sender.hand_over(doubtful, Outcome::Assumed, None);
        sender.writer.flush().await.unwrap();
        assert_eq!(sender.bounces(other).await, 1);
    }
}

#[tokio::test]
async fn a_mailbox_at_its_limit_is_left_alone_for_ninety_days_and_its_consent_stays() {
    for store in open_both("limit").await {
        let mut rig = Rig::start(&store, 3, &policy()).await;
        let who = rig.rows().await[0].1.mailbox_norm.clone();
        let contact = rig.rows().await[0].1.contact.unwrap();
        let sender = Sender::of(&rig);
        let deliveries = to_the_limit(&store, &sender, &who, 500).await;
        let now = store.now();
        let found = sender.suppressed(&who).await;
        assert_eq!(found.len(), 1, "{}", store.kind);
        let suppression = &found[0];
        assert_eq!(
            (suppression.reason, suppression.scope, suppression.source.as_str(), suppression.until),
            (SuppressionReason::BounceLimit, SuppressionScope::Marketing, "session", Some(now + 90 * DAY))
        );
        assert_eq!((suppression.mailbox.as_ref(), suppression.delivery), (Some(&who), Some(deliveries[4])));
        let evidence = suppression.evidence.as_ref().unwrap();
        assert_eq!((evidence.limit, evidence.count.bounces, evidence.count.campaigns), (SoftLimit::ManyBounces, 5, 3));
        assert_eq!(evidence.trail.iter().map(|b| b.delivery()).collect::<Vec<_>>(), deliveries);
        assert!(evidence.sentence().starts_with("5 soft bounces (5 × mailbox_full) of 3 campaigns"));
        assert_eq!(sender.counted(&who).await, None, "it begins anew");
        let events = store.events_after(rig.node.id, 0, 500).await.unwrap();
        let told: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Suppressed).collect();
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].delivery, told[0].data.as_ref().unwrap()["bounces"].as_i64()),
            (Some(deliveries[4]), Some(5))
        );

        // Not unsubscribed: the consent is what it was, and single messages go on.
        let consents = store.consents(rig.book.workspace, contact).await.unwrap();
        assert!(consents.iter().all(|c| c.state == ConsentState::Granted), "{consents:?}");
        let marketing = rig.rows().await.iter().find(|(_, row)| row.mailbox_norm == who).unwrap().1.delivery;
        let withheld = MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Suppressed));
        assert_eq!(rig.mark(marketing).await, withheld);
        let looks = store.last_look(&[marketing]).await.unwrap();
        assert_eq!(postrider_domain::gate::may_send(&looks[0].1), Err(Withheld::Suppressed));
        let single = sender.plant(&who, None).await;
        assert_eq!(sender.mark(single).await, MarkAnswer::Granted);

        // The last millisecond binds, the next does not: at the mark, the last look and the freeze.
        let again = async |rig: &mut Rig<'_>| {
            let mut tx = store.begin(Lane::Web).await.unwrap();
            tx.execute(sql!("UPDATE campaign SET state = 'scheduled' WHERE id = $1"), args![rig.book.campaign])
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let mut freezer = store.begin_freeze(rig.book.campaign, rig.node, Some(SITE.into())).await.unwrap();
            freeze_all(&mut freezer).await;
            freezer.finish().await.unwrap()
        };
        store.clock.advance(90 * DAY - 1);
        assert_eq!(rig.mark(marketing).await, withheld);
        assert_eq!(again(&mut rig).await, 2);
        store.clock.advance(1);
        assert!(sender.suppressed(&who).await.is_empty());
        assert_eq!(again(&mut rig).await, 3, "{}: the audience has it again", store.kind);
        rig.see_lanes().await;
        let marketing = rig.rows().await.iter().find(|(_, row)| row.mailbox_norm == who).unwrap().1.delivery;
        assert_eq!(rig.mark(marketing).await, MarkAnswer::Granted);

        // One bounce more is one, and a limit that is reached again takes the place of the one that has ended.
        sender.bounce(&who, Some(600)).await;
        assert_eq!((sender.bounces(&who).await, sender.suppressed(&who).await.len()), (1, 0));
        sender.succeed(&who).await;
        to_the_limit(&store, &sender, &who, 700).await;
        let second = sender.suppressed(&who).await.remove(0);
        assert_eq!((second.id, second.since), (suppression.id, store.now()));

        // What has ended is shown for three months, and then deleted.
        let all = async || {
            let page = crate::page::PageRequest::first(10);
            store.suppressions(rig.book.workspace, &SuppressionFilter::default(), &page).await.unwrap().items.len()
        };
        store.clock.advance(180 * DAY);
        assert_eq!((store.forget_bounces(100).await.unwrap(), all().await), (0, 1));
        store.clock.advance(1);
        assert_eq!((store.forget_bounces(100).await.unwrap(), all().await), (1, 0));
    }
}

#[tokio::test]
async fn settings_of_a_workspace_say_when_how_long_and_what_is_covered() {
    for store in open_both("soft_settings").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let sender = Sender::of(&rig);
        let workspace = rig.book.workspace;
        assert_eq!(store.bounce_settings(workspace).await.unwrap(), SoftLimits::default());
        let nonsense = SoftLimits { bounces: 0, ..SoftLimits::default() };
        let refused = store.put_bounce_settings(workspace, &BY, &nonsense).await;
        assert!(
            matches!(refused, Err(StoreError::Refused { ref message }) if message.contains("`bounces`")),
            "{refused:?}"
        );
        // As vtenext has it: three on three mailings, until a person releases it.
        let wanted = SoftLimits {
            bounces: 3,
            campaigns: 3,
            days: 0,
            suppress_days: None,
            scope: SuppressionScope::All,
            ..SoftLimits::default()
        };
        assert_eq!(store.put_bounce_settings(workspace, &BY, &wanted).await.unwrap(), wanted);
        assert_eq!(store.bounce_settings(workspace).await.unwrap(), wanted);
        let who = "three@d1.example";
        sender.bounce(who, Some(81)).await;
        sender.bounce(who, Some(82)).await;
        sender.succeed(who).await;
        for campaign in [83, 84] {
            sender.bounce(who, Some(campaign)).await;
        }
        assert!(sender.suppressed(who).await.is_empty(), "a success before the third");
        sender.bounce(who, Some(85)).await;
        let found = sender.suppressed(who).await.remove(0);
        assert_eq!((found.until, found.scope), (None, SuppressionScope::All));
        let single = sender.plant(who, None).await;
        let answer = sender.mark(single).await;
        assert_eq!(answer, MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Suppressed)));

        // Released by hand, it is mailable, and counts from nothing.
        sender.bounce(who, Some(86)).await;
        store.lift_suppression(workspace, &BY, found.id).await.unwrap();
        assert_eq!((sender.suppressed(who).await.len(), sender.counted(who).await), (0, None));
        assert_eq!(sender.mark(single).await, MarkAnswer::Granted);

        // Seven weeks, three tries, no campaign at all.
        store.put_bounce_settings(workspace, &BY, &SoftLimits::default()).await.unwrap();
        let slow = "slow@d1.example";
        sender.bounce(slow, None).await;
        store.clock.advance(20 * DAY);
        sender.bounce(slow, None).await;
        store.clock.advance(29 * DAY);
        sender.bounce(slow, None).await;
        let evidence = sender.suppressed(slow).await.remove(0).evidence.unwrap();
        assert_eq!((evidence.limit, evidence.count.campaigns), (SoftLimit::LongFailing, 0));

        // Switched off, they are counted all the same.
        let off = SoftLimits { enabled: false, ..wanted };
        store.put_bounce_settings(workspace, &BY, &off).await.unwrap();
        for campaign in 90..95 {
            sender.bounce("off@d1.example", Some(campaign)).await;
        }
        assert!(sender.suppressed("off@d1.example").await.is_empty());
        assert_eq!(sender.bounces("off@d1.example").await, 5);
        // A count that nothing is added to for more than a year is forgotten.
        store.clock.advance(401 * DAY);
        store.forget_bounces(100).await.unwrap();
        assert_eq!(sender.bounces("off@d1.example").await, 0);
    }
}

#[tokio::test]
async fn what_the_person_said_does_not_end_with_what_the_mailbox_did() {
    for store in open_both("soft_person").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let sender = Sender::of(&rig);
        let who = "gone@d1.example";
        to_the_limit(&store, &sender, who, 500).await;
        let said = |who: &str| NewSuppression {
            whom: Whom::Mailbox(mailbox(who)),
            reason: SuppressionReason::OptOut,
            scope: None,
            source: "page".into(),
            until: None,
            delivery: None,
        };
        store.suppress(rig.book.workspace, &BY, said(who)).await.unwrap();
        store.clock.advance(91 * DAY);
        let found = sender.suppressed(who).await;
        assert_eq!(found.iter().map(|s| (s.reason, s.until)).collect::<Vec<_>>(), [(SuppressionReason::OptOut, None)]);
        assert_eq!(found[0].evidence, None);
        // Of a limit that lasts for good, too.
        let for_good = SoftLimits { suppress_days: None, ..SoftLimits::default() };
        store.put_bounce_settings(rig.book.workspace, &BY, &for_good).await.unwrap();
        let other = "quiet@d1.example";
        to_the_limit(&store, &sender, other, 550).await;
        store.suppress(rig.book.workspace, &BY, said(other)).await.unwrap();
        assert_eq!(sender.suppressed(other).await[0].reason, SuppressionReason::OptOut);
        // And the other way round: a limit does not take the place of what the person said.
        to_the_limit(&store, &sender, who, 600).await;
        assert_eq!(sender.suppressed(who).await[0].reason, SuppressionReason::OptOut);
        let events = store.events_after(rig.node.id, 0, 500).await.unwrap();
        assert_eq!(events.iter().filter(|e| e.kind == EventKind::Suppressed).count(), 2, "told only where it was done");
    }
}

#[tokio::test]
async fn an_erased_person_leaves_no_count_and_no_evidence() {
    for store in open_both("soft_erased").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let sender = Sender::of(&rig);
        let rows = rig.rows().await;
        let (one, two) = (rows[0].1.clone(), rows[1].1.clone());
        to_the_limit(&store, &sender, &one.mailbox_norm, 500).await;
        sender.bounce(&two.mailbox_norm, Some(900)).await;
        // In the air during the erasure: the delivery has no digest any more when it bounces.
        let late = two.delivery;
        for row in [&one, &two] {
            store.erase_contact(rig.book.workspace, &BY, row.contact.unwrap()).await.unwrap();
        }
        sender.hand_over(late, Outcome::Rejected, Some(FULL));
        sender.writer.flush().await.unwrap();
        let mut reader = store.read().await.unwrap();
        let left = reader.all(sql!("SELECT id FROM soft_bounce"), args![]).await.unwrap().len();
        let rows = reader
            .all(sql!("SELECT reason, until, {json evidence} AS evidence FROM suppression ORDER BY id"), args![])
            .await
            .unwrap();
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                let evidence = row.text_opt("evidence").unwrap();
                (row.text("reason").unwrap(), row.int_opt("until").unwrap(), evidence)
            })
            .collect();
        let erased = ("erased".to_owned(), None, None);
        assert_eq!((left, found), (0, vec![erased.clone(), erased]), "{}", store.kind);
    }
}

/// What happens to one mailbox on one day.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Nothing is sent.
    Quiet,
    /// The day's campaign is refused softly.
    Soft,
    /// A single message is refused softly.
    SoftSingle,
    /// The day's campaign is taken.
    Taken,
    /// The day's campaign is refused for a reason about us.
    AboutUs,
}

/// The documented rule, told by a whole history instead of counts.
#[derive(Debug, Default)]
struct Model {
    /// Soft bounces since the last success or suppression: when, and whether of a campaign.
    history: Vec<(i64, bool)>,
    suppressed_until: Option<i64>,
}

impl Model {
    fn suppressed(&self, now: i64) -> bool {
        self.suppressed_until.is_some_and(|until| now < until)
    }

    fn bounce(&mut self, now: i64, of_campaign: bool) {
        self.history.push((now, of_campaign));
        let lasted = now - self.history[0].0;
        let campaigns = self.history.iter().filter(|(_, of_campaign)| *of_campaign).count();
        let many = self.history.len() >= 5 && campaigns >= 3 && lasted >= 14 * DAY;
        let long = self.history.len() >= 3 && lasted >= 49 * DAY;
        if many || long {
            if !self.suppressed(now) {
                self.suppressed_until = Some(now + 90 * DAY);
            }
            self.history.clear();
        }
    }
}

#[tokio::test]
async fn a_simulated_year_of_bounces_is_as_documented() {
    let fates = proptest::sample::select(vec![
        Fate::Quiet,
        Fate::Soft,
        Fate::Soft,
        Fate::Soft,
        Fate::Soft,
        Fate::SoftSingle,
        Fate::AboutUs,
        Fate::Taken,
    ]);
    // A mailing each one to twelve days, to four mailboxes; successes are rare for the last two.
    let days = proptest::collection::vec((1i64..=12, proptest::array::uniform4(fates)), 60);
    let mut runner = TestRunner::new(Config::default());
    let (mut limits, mut ends) = (0, 0);
    for store in open_both("soft_year").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let sender = Sender::of(&rig);
        for case in 0..6 {
            let plan = days.new_tree(&mut runner).unwrap().current();
            eprintln!("{} {case} {plan:?}", store.kind);
            let who: Vec<String> = (0..4).map(|n| format!("p{case}x{n}@d1.example")).collect();
            let mut models: Vec<Model> = (0..4).map(|_| Model::default()).collect();
            let (begun, mut campaign) = (store.now(), 1_000 * (case + 1));
            for (wait, fates) in plan {
                store.clock.advance(wait * DAY);
                if store.now() - begun > 365 * DAY {
                    break;
                }
                campaign += 1;
                let now = store.now();
                let mut batch = Vec::new();
                for (n, fate) in fates.into_iter().enumerate() {
                    let (to, model) = (&who[n], &mut models[n]);
                    if model.suppressed_until.is_some_and(|until| until <= now) {
                        model.suppressed_until = None;
                        ends += 1;
                    }
                    // The last two hardly ever take anything.
                    let fate = match fate {
                        Fate::Taken if n >= 2 && wait > 2 => Fate::Soft,
                        Fate::Quiet | Fate::Soft | Fate::SoftSingle | Fate::Taken | Fate::AboutUs => fate,
                    };
                    let bound = !sender.suppressed(to).await.is_empty();
                    assert_eq!(bound, model.suppressed(now), "{to} on day {}", (now - begun) / DAY);
                    let (outcome, soft, of_campaign) = match fate {
                        Fate::Quiet => continue,
                        Fate::SoftSingle => (Outcome::Rejected, Some(FULL), false),
                        // Campaigns leave out who is suppressed.
                        Fate::Soft | Fate::Taken | Fate::AboutUs if bound => continue,
                        Fate::Soft => (Outcome::Expired, Some(FULL), true),
                        Fate::Taken => (Outcome::Accepted, None, true),
                        Fate::AboutUs => (Outcome::Rejected, None, true),
                    };
                    batch.push((sender.plant(to, of_campaign.then_some(campaign)).await, outcome, soft));
                    match (outcome, soft) {
                        (Outcome::Accepted, _) => model.history.clear(),
                        (_, Some(_)) => {
                            let before = model.suppressed(now);
                            model.bounce(now, of_campaign);
                            limits += i32::from(!before && model.suppressed(now));
                        }
                        (_, None) => {}
                    }
                }
                for (delivery, outcome, soft) in batch {
                    sender.hand_over(delivery, outcome, soft);
                }
                sender.writer.flush().await.unwrap();
                for (to, model) in who.iter().zip(&models) {
                    let counted = sender.counted(to).await.map(|found| found.count);
                    let wanted = model.history.last().map(|(last_at, _)| SoftCount {
                        bounces: model.history.len() as i64,
                        campaigns: model.history.iter().filter(|(_, of_campaign)| *of_campaign).count() as i64,
                        first_at: model.history[0].0,
                        last_at: *last_at,
                    });
                    assert_eq!(counted, wanted, "{} {to} on day {}", store.kind, (now - begun) / DAY);
                    let until = sender.suppressed(to).await.first().and_then(|s| s.until);
                    assert_eq!(until, model.suppressed_until.filter(|until| now < *until), "{to}");
                }
            }
        }
    }
    assert!(limits > 20 && ends > 10, "the year was too kind: {limits} limits, {ends} ends");
}

/// Lanes of two nodes that send to the same mailboxes.
async fn two_senders<'s>(a: &'s TestStore, b: &'s Store) -> (Node, Sender<'s>, Node, Sender<'s>) {
    let rig = Rig::start(a, 2, &policy()).await;
    let (first, na) = (Sender::of(&rig), rig.node);
    let nb = b.register_node().await.unwrap();
    let lane = a.next_id();
    let mut tx = a.begin(Lane::Web).await.unwrap();
    tx.execute(
        sql!(
            "INSERT INTO lane (id, workspace_id, campaign_id, stream, site, part, owner, epoch, next_at, closed, route_id) \
             VALUES ($1, $2, NULL, 'transactional', 'other', 0, $3, 1, 0, FALSE, NULL)"
        ),
        args![lane, rig.book.workspace, nb.id],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let lane = b.my_lanes(nb).await.unwrap().into_iter().find(|l| l.lane.get() == lane).unwrap();
    let second = Sender { store: b, writer: b.queue_writer(nb), lane, workspace: rig.book.workspace };
    (na, first, nb, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_count_the_same_mailboxes_without_losing_one() {
    let a = open_postgres("soft_race").await;
    let b = a.second_node().await;
    let (na, first, nb, second) = two_senders(&a, &b).await;
    let patient = SoftLimits { bounces: 50, campaigns: 50, ..SoftLimits::default() };
    a.put_bounce_settings(first.workspace, &BY, &patient).await.unwrap();
    let who: Vec<String> = (0..12).map(|n| format!("p{n}@d1.example")).collect();
    // Each node in its own order, all of them in the air at once.
    let send = async |sender: &Sender<'_>, order: Vec<&String>| {
        let mut ready = Vec::new();
        for to in order {
            ready.push(sender.plant(to, None).await);
        }
        ready
    };
    for _ in 0..10 {
        let (one, two) = tokio::join!(send(&first, who.iter().collect()), send(&second, who.iter().rev().collect()));
        for (sender, ready) in [(&first, one), (&second, two)] {
            for delivery in ready {
                sender.hand_over(delivery, Outcome::Rejected, Some(FULL));
            }
        }
        let (one, two) = tokio::join!(first.writer.flush(), second.writer.flush());
        one.unwrap();
        two.unwrap();
    }
    let mut counts = BTreeMap::new();
    for to in &who {
        let found = first.counted(to).await.unwrap();
        assert_eq!(found.trail.len(), 20);
        *counts.entry(found.count.bounces).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([(20, 12)]));

    // Four of five are there; both nodes bring one more at once: one suppression, and the other begins a new count.
    let usual = SoftLimits { bounces: 21, campaigns: 0, days: 0, ..SoftLimits::default() };
    a.put_bounce_settings(first.workspace, &BY, &usual).await.unwrap();
    let (one, two) = tokio::join!(send(&first, who.iter().collect()), send(&second, who.iter().rev().collect()));
    for (sender, ready) in [(&first, one), (&second, two)] {
        for delivery in ready {
            sender.hand_over(delivery, Outcome::Rejected, Some(FULL));
        }
    }
    let (one, two) = tokio::join!(first.writer.flush(), second.writer.flush());
    one.unwrap();
    two.unwrap();
    for to in &who {
        let found = first.suppressed(to).await;
        let bounces: Vec<_> = found.iter().map(|s| s.evidence.as_ref().unwrap().count.bounces).collect();
        assert_eq!((bounces, first.bounces(to).await), (vec![21], 1), "{to}");
    }
    let mut told = 0;
    for node in [na, nb] {
        let events = a.events_after(node.id, 0, 2_000).await.unwrap();
        told += events.iter().filter(|e| e.kind == EventKind::Suppressed).count();
    }
    assert_eq!(told, 12, "each is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn successes_and_bounces_that_cross_on_two_nodes_end_somewhere_and_block_nobody() {
    let a = open_postgres("soft_cross").await;
    let b = a.second_node().await;
    let (_, first, _, second) = two_senders(&a, &b).await;
    let who: Vec<String> = (0..8).map(|n| format!("p{n}@d1.example")).collect();
    for round in 0..15 {
        for to in &who {
            first.bounce(to, None).await;
        }
        let mut ready = Vec::new();
        for (n, to) in who.iter().enumerate() {
            let taken = n % 2 == round % 2;
            let fate = |taken: bool| {
                if taken { (Outcome::Accepted, None) } else { (Outcome::Rejected, Some(FULL)) }
            };
            ready.push((&first, first.plant(to, None).await, fate(taken)));
            ready.push((&second, second.plant(to, None).await, fate(!taken)));
        }
        for (sender, delivery, (outcome, soft)) in ready {
            sender.hand_over(delivery, outcome, soft);
        }
        let (one, two) = tokio::join!(first.writer.flush(), second.writer.flush());
        one.unwrap();
        two.unwrap();
        for to in &who {
            let left = first.bounces(to).await;
            assert!(left <= 1, "{to}: {left}, though it took a message");
        }
    }
    assert_eq!(first.writer.stale_settles() + second.writer.stale_settles(), 0);
    let mut reader = a.read().await.unwrap();
    let unsettled = sql!("SELECT count(*) AS n FROM delivery WHERE campaign_id IS NULL AND outcome IS NULL");
    assert_eq!(reader.one(unsettled, args![]).await.unwrap().int("n").unwrap(), 0);
}
