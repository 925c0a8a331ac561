//! Report rows, totals, timeline and the facts for `doctor`, on both databases.

use postrider_domain::bounce::BounceClass;
use postrider_domain::gate::Withheld;
use postrider_domain::id::DeliveryId;
use postrider_domain::outcome::{AttemptResult, Outcome, ReportStatus};
use postrider_domain::retry::RetryPolicy;

use crate::actor::Actor;
use crate::db::Lane;
use crate::mark::MarkAnswer;
use crate::opt_out::{OptOut, OptOutAnswer, OptOutRoad, OutOf};
use crate::page::PageRequest;
use crate::queue_rig::{Rig, attempt};
use crate::report::{AttemptsOf, DeliveriesOf};
use crate::settle::{AttemptRecord, Next};
use crate::testing::open_both;
use crate::timeline::TimelineEntry;

/// One delivery for each word of the report, in the order of the words below.
async fn every_status(rig: &Rig<'_>) -> Vec<(DeliveryId, ReportStatus)> {
    let rows = rig.deliveries().await;
    let tried = |result, text: &str| Some(AttemptRecord { result, text: text.into(), ..attempt(rig.store.now()) });
    let fates = [
        (ReportStatus::Sent, tried(AttemptResult::Accepted, "250 ok"), Next::Done(Outcome::Accepted)),
        (ReportStatus::Bounced, tried(AttemptResult::Rejected, "550 5.1.1 no"), Next::Done(Outcome::Rejected)),
        (ReportStatus::Timeout, tried(AttemptResult::Broken, "no answer"), Next::Done(Outcome::Expired)),
        (ReportStatus::Expired, tried(AttemptResult::Deferred, "451 later"), Next::Done(Outcome::Expired)),
        (ReportStatus::Withheld, None, Next::Done(Outcome::Withheld(Withheld::Suppressed))),
        (
            ReportStatus::Queued,
            tried(AttemptResult::Deferred, "451 later"),
            Next::Later { ready_at: rig.store.now() + 9 },
        ),
    ];
    let mut made = Vec::new();
    for (delivery, (status, attempt, next)) in rows.iter().zip(fates) {
        let mut word = rig.word(*delivery, next);
        word.attempt = attempt;
        rig.writer.settle(word).unwrap();
        made.push((*delivery, status));
    }
    rig.writer.flush().await.unwrap();
    assert_eq!(rig.mark(rows[6]).await, MarkAnswer::Granted);
    made.push((rows[6], ReportStatus::InDoubt));
    made
}

#[tokio::test]
async fn each_row_says_when_what_why_and_which_attempt_of_how_many() {
    for store in open_both("rows").await {
        let rig = Rig::start(&store, 8, &RetryPolicy::preset("rehearsal").unwrap()).await;
        let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
        let made = every_status(&rig).await;
        for (delivery, status) in &made {
            let row = store.delivery(workspace, *delivery).await.unwrap();
            assert_eq!((row.status, row.of), (*status, 3), "{}", store.kind);
            let tried = !matches!(status, ReportStatus::Withheld | ReportStatus::InDoubt);
            assert_eq!((row.attempt, row.sent_at), (i64::from(tried), tried.then(|| store.now())));
            let want = match status {
                ReportStatus::Sent => "250 ok",
                ReportStatus::Bounced => "550 5.1.1 no",
                ReportStatus::Timeout => "no answer",
                ReportStatus::Withheld => "suppressed",
                ReportStatus::InDoubt => "",
                _ => "451 later",
            };
            assert_eq!(row.detail, want, "{status}");
            let only = store
                .deliveries(workspace, DeliveriesOf::Campaign(campaign, Some(*status)), &PageRequest::first(50))
                .await
                .unwrap();
            let ids: Vec<_> = only.items.iter().map(|r| r.id).collect();
            assert!(ids.contains(delivery) && only.items.iter().all(|r| r.status == *status), "{status}: {only:?}");
        }
        for limit in 1..10 {
            let mut seen = Vec::new();
            let mut page = PageRequest::first(limit);
            loop {
                let got = store.deliveries(workspace, DeliveriesOf::Campaign(campaign, None), &page).await.unwrap();
                seen.extend(got.items.iter().map(|r| r.contact.unwrap()));
                if got.next.is_none() {
                    break;
                }
                page = page.after(got.next);
            }
            assert_eq!(seen, rig.book.contacts, "everybody once, limit {limit}");
        }
        let report = store.campaign_report(workspace, campaign).await.unwrap();
        assert!(report.ledger.balances());
        assert_eq!((report.ledger.frozen, report.ledger.queued, report.ledger.in_doubt), (8, 3, 1));
        assert_eq!((report.ledger.expired, report.attempts, report.withheld["suppressed"]), (2, 5, 1));
        assert_eq!(store.timeouts(workspace, campaign).await.unwrap(), 1);
        // Nobody judged it: it counts as unknown, and the number leads to its row.
        assert_eq!(store.bounces(workspace, campaign).await.unwrap(), [(BounceClass::Unknown, 1)]);
        let bounced = async |class| {
            let of = DeliveriesOf::Bounced(campaign, class);
            store.deliveries(workspace, of, &PageRequest::first(9)).await.unwrap().items
        };
        assert_eq!(bounced(BounceClass::Unknown).await.iter().map(|r| r.id).collect::<Vec<_>>(), [made[1].0]);
        assert_eq!(bounced(BounceClass::MailboxFull).await.len(), 0);
        let attempts = store.attempts(workspace, AttemptsOf::Campaign(campaign), &PageRequest::first(3)).await.unwrap();
        assert!(attempts.items.len() == 3 && attempts.next.is_some());
        let one = store.attempts(workspace, AttemptsOf::Delivery(made[1].0), &PageRequest::first(3)).await.unwrap();
        assert_eq!((one.items.len(), one.items[0].text.as_str(), one.items[0].code), (1, "550 5.1.1 no", Some(250)));
        let mut tx = store.begin(Lane::Web).await.unwrap();
        store.begin_ledger(&mut tx, workspace).await.unwrap();
        tx.commit().await.unwrap();
        let facts = store.doctor().await.unwrap();
        assert!(facts.campaigns.iter().all(|c| c.balances() && c.agrees()), "{facts:?}");
        assert_eq!((facts.unsettled, facts.in_doubt, facts.held), (3, 1, 0));
    }
}

#[tokio::test]
async fn a_persons_page_shows_what_happened_newest_first_and_counts_the_opt_out() {
    for store in open_both("timeline").await {
        let rig = Rig::start(&store, 2, &RetryPolicy::preset("rehearsal").unwrap()).await;
        let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
        let mut tx = store.begin(Lane::Web).await.unwrap();
        store.begin_ledger(&mut tx, workspace).await.unwrap();
        tx.commit().await.unwrap();
        let delivery = rig.deliveries().await[0];
        store.clock.advance(1_000);
        rig.settle(delivery, Next::Done(Outcome::Accepted)).await;
        let contact = store.delivery(workspace, delivery).await.unwrap().contact.unwrap();
        store.clock.advance(1_000);
        let out = OptOut {
            contact,
            out_of: OutOf::Everything,
            delivery: Some(delivery),
            road: OptOutRoad::OneClick,
            ip: None,
            agent: None,
        };
        assert_eq!(store.opt_out(workspace, &Actor::Person, out.clone()).await.unwrap(), OptOutAnswer::Recorded);
        assert_eq!(store.opt_out(workspace, &Actor::Person, out).await.unwrap(), OptOutAnswer::AlreadyOut);
        assert_eq!(store.campaign_report(workspace, campaign).await.unwrap().opt_outs, 1, "counted once");
        let entries = store.timeline(workspace, contact, 50).await.unwrap();
        assert!(entries.windows(2).all(|w| w[0].at() >= w[1].at()));
        let words: Vec<&str> = entries
            .iter()
            .map(|entry| match entry {
                TimelineEntry::Created { .. } => "created",
                TimelineEntry::Consent { .. } => "consent",
                TimelineEntry::Suppressed { .. } => "suppressed",
                TimelineEntry::Delivery { .. } => "delivery",
                TimelineEntry::Attempt { .. } => "attempt",
            })
            .collect();
        for word in ["created", "consent", "suppressed", "delivery", "attempt"] {
            assert_eq!(words.iter().filter(|w| **w == word).count(), 1, "{word} in {words:?}");
        }
        assert_eq!(words.last(), Some(&"created"));
        assert_eq!(store.timeline(workspace, contact, 2).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_page_of_a_campaign_is_read_along_its_index_once_there_are_statistics() {
    use sqlx::{Connection, Row};
    let store = crate::testing::open_postgres("plan").await;
    let rig = Rig::start(&store, 5_000, &RetryPolicy::preset("rehearsal").unwrap()).await;
    let mut c = sqlx::PgConnection::connect(&store.url()).await.unwrap();
    sqlx::query("ANALYZE").execute(&mut c).await.unwrap();
    let (workspace, campaign) = (rig.book.workspace.get(), rig.book.campaign.get());
    let source = include_str!("delivery_pages.rs");
    for (name, outcome) in [("deliveries_by_contact", None), ("deliveries_open", Some("'QUEUED'"))] {
        let body = &source[source.find(&format!("fn {name}(")).unwrap()..];
        let body = &body[body.find("\"SELECT").unwrap() + 1..];
        let statement = body[..body.find('"').unwrap()].replace("\\\n", " ");
        let limit = if outcome.is_some() { ("$5", "101") } else { ("$4", "101") };
        let statement = statement
            .replace(limit.0, limit.1)
            .replace("$4", outcome.unwrap_or("0"))
            .replace("$3", "0")
            .replace("$2", &campaign.to_string())
            .replace("$1", &workspace.to_string());
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN {statement}"))).fetch_all(&mut c).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan on delivery") && !plan.contains("Sort"), "{name}:\n{plan}");
    }
}
