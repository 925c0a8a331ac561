//! Consent, its ledger and the opt-out, on both databases; races on PostgreSQL.

use postrider_domain::consent::{ConsentState, LedgerKind};
use postrider_domain::id::{ContactId, PurposeId};
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};

use crate::actor::Actor;
use crate::book_rig::{BY, Place, consent, contact, evidence, grant, mailbox, place};
use crate::consent::NewConsent;
use crate::db::Lane;
use crate::opt_out::{OptOut, OptOutAnswer, OptOutRoad, OutOf};
use crate::page::PageRequest;
use crate::sql::{args, sql};
use crate::suppression::{NewSuppression, SuppressionFilter, Whom};
use crate::testing::{open_both, open_postgres};
use crate::{Store, StoreError};

fn opt_out(contact: ContactId, out_of: OutOf) -> OptOut {
    OptOut { contact, out_of, delivery: None, road: OptOutRoad::OneClick, ip: None, agent: Some("a\r\nb".into()) }
}

async fn state(store: &Store, at: Place, contact: ContactId) -> Option<ConsentState> {
    let all = store.consents(at.workspace, contact).await.unwrap();
    all.iter().find(|c| c.purpose == at.purpose).map(|c| c.state)
}

#[tokio::test]
async fn a_grant_needs_evidence_and_a_withdrawal_needs_none() {
    for store in open_both("grant").await {
        let home = place(&store, "Home").await;
        let ann = contact(&store, home, "ann@example.org").await;
        let good = consent(&store, home, ann, ConsentState::Granted);
        let no_source = NewConsent { evidence: crate::book_rig::evidence(&store), ..good.clone() };
        let mut cases = vec![NewConsent { wording: None, ..good.clone() }];
        for spoil in [0, 1, 2] {
            let mut bad = no_source.clone();
            match spoil {
                0 => bad.evidence.source = " ".into(),
                1 => bad.evidence.basis = None,
                _ => bad.evidence.method = "a\nb".into(),
            }
            cases.push(bad);
        }
        for bad in cases {
            let refused = store.record_consent(home.workspace, &BY, bad.clone()).await;
            assert!(matches!(refused, Err(StoreError::Refused { .. })), "{bad:?}");
        }
        assert_eq!(state(&store, home, ann).await, None);
        store.record_consent(home.workspace, &BY, good.clone()).await.unwrap();
        let entry = &store.ledger_entries(home.workspace, Some(ann), &PageRequest::first(9)).await.unwrap().items[0];
        assert_eq!((entry.kind, entry.contact), (LedgerKind::Granted, Some(ann)));
        let (id, hash) = entry.evidence.clone().unwrap().wording.unwrap();
        assert_eq!((id, hash.len()), (home.wording.to_string(), 64));

        store.clock.advance(1_000);
        store.record_consent(home.workspace, &BY, consent(&store, home, ann, ConsentState::Withdrawn)).await.unwrap();
        assert_eq!(state(&store, home, ann).await, Some(ConsentState::Withdrawn));
        let stale = store.record_consent(home.workspace, &BY, good).await;
        assert!(matches!(stale, Err(StoreError::Refused { .. })), "an old agreement does not undo a withdrawal");
        store.clock.advance(1_000);
        grant(&store, home, ann).await;
        assert_eq!(state(&store, home, ann).await, Some(ConsentState::Granted));
        assert!(store.verify_ledger(home.workspace).await.unwrap().is_whole());
    }
}

#[tokio::test]
async fn an_opt_out_counts_once_whatever_road_it_comes_by() {
    for store in open_both("optout").await {
        let home = place(&store, "Home").await;
        let ann = contact(&store, home, "ann@example.org").await;
        grant(&store, home, ann).await;
        let out = || opt_out(ann, OutOf::Purpose(home.purpose));
        let entries = async || store.verify_ledger(home.workspace).await.unwrap().entries;
        assert_eq!(store.opt_out(home.workspace, &Actor::Person, out()).await.unwrap(), OptOutAnswer::Recorded);
        assert_eq!(state(&store, home, ann).await, Some(ConsentState::Withdrawn));
        assert_eq!(entries().await, 2);
        for road in [OptOutRoad::OneClick, OptOutRoad::Page, OptOutRoad::Mailto, OptOutRoad::Api] {
            let again = OptOut { road, ..out() };
            assert_eq!(store.opt_out(home.workspace, &Actor::Person, again).await.unwrap(), OptOutAnswer::AlreadyOut);
        }
        assert_eq!(entries().await, 2, "repeating it writes nothing");
        let all = opt_out(ann, OutOf::Everything);
        assert_eq!(store.opt_out(home.workspace, &Actor::Person, all.clone()).await.unwrap(), OptOutAnswer::Recorded);
        assert_eq!(store.opt_out(home.workspace, &Actor::Person, all).await.unwrap(), OptOutAnswer::AlreadyOut);
        let suppressed = store.check_suppression(home.workspace, &mailbox("ANN@example.org")).await.unwrap();
        assert_eq!(suppressed[0].reason, SuppressionReason::OptOut);
        assert!(store.lift_suppression(home.workspace, &BY, suppressed[0].id).await.is_err(), "only the person");

        // Nobody there: an answer like any other.
        for gone in [opt_out(ContactId(7), OutOf::Everything), opt_out(ann, OutOf::Purpose(PurposeId(7)))] {
            assert_eq!(store.opt_out(home.workspace, &Actor::Person, gone).await.unwrap(), OptOutAnswer::Unknown);
        }
        // Never asked and opts out: recorded as withdrawn, so that no import grants it later.
        let bob = contact(&store, home, "bob@example.org").await;
        let out = opt_out(bob, OutOf::Purpose(home.purpose));
        assert_eq!(store.opt_out(home.workspace, &Actor::Person, out).await.unwrap(), OptOutAnswer::Recorded);
        assert_eq!(state(&store, home, bob).await, Some(ConsentState::Withdrawn));

        // The person agrees anew: the own objection goes, a fault of the mailbox stays (LAW-32).
        let dead = NewSuppression {
            whom: Whom::Mailbox(mailbox("ann@example.org")),
            reason: SuppressionReason::NoSuchMailbox,
            scope: None,
            source: "session".into(),
            until: None,
            delivery: None,
        };
        store.suppress(home.workspace, &BY, dead).await.unwrap();
        store.clock.advance(1_000);
        let anew = consent(&store, home, ann, ConsentState::Granted);
        store.record_consent(home.workspace, &Actor::Person, anew).await.unwrap();
        let left = store.check_suppression(home.workspace, &mailbox("ann@example.org")).await.unwrap();
        assert_eq!(left.iter().map(|s| s.reason).collect::<Vec<_>>(), [SuppressionReason::NoSuchMailbox]);
    }
}

#[tokio::test]
async fn suppressions_are_found_listed_ended_and_lifted() {
    for store in open_both("suppress").await {
        let home = place(&store, "Home").await;
        let new = |whom, reason, until| NewSuppression {
            whom,
            reason,
            scope: None,
            source: "desk".into(),
            until,
            delivery: None,
        };
        let ann = mailbox("Ann@Example.org");
        let first = store
            .suppress(
                home.workspace,
                &BY,
                new(Whom::Mailbox(ann.clone()), SuppressionReason::Manual, Some(store.now() + 10)),
            )
            .await
            .unwrap();
        assert_eq!(first.scope, SuppressionScope::Marketing);
        store.clock.advance(10);
        assert!(store.check_suppression(home.workspace, &ann).await.unwrap().is_empty(), "over");
        let again = store
            .suppress(home.workspace, &BY, new(Whom::Mailbox(ann.clone()), SuppressionReason::OptOut, None))
            .await
            .unwrap();
        assert_eq!((again.id, again.reason), (first.id, SuppressionReason::OptOut), "made anew in the same row");
        let same = store
            .suppress(home.workspace, &BY, new(Whom::Mailbox(ann.clone()), SuppressionReason::Manual, None))
            .await
            .unwrap();
        assert_eq!(same.reason, SuppressionReason::OptOut, "what is in force stays");
        let domain = store
            .suppress(home.workspace, &BY, new(Whom::Domain(ann.domain().clone()), SuppressionReason::Manual, None))
            .await
            .unwrap();
        assert_eq!(store.check_suppression(home.workspace, &ann).await.unwrap().len(), 2, "mailbox and domain");
        let listed = async |filter: SuppressionFilter| {
            store.suppressions(home.workspace, &filter, &PageRequest::first(500)).await.unwrap().items.len()
        };
        assert_eq!(listed(SuppressionFilter::default()).await, 2);
        assert_eq!(listed(SuppressionFilter { mailbox: Some(ann.clone()), reason: None }).await, 2);
        assert_eq!(
            listed(SuppressionFilter { mailbox: Some(ann.clone()), reason: Some(SuppressionReason::Manual) }).await,
            1
        );
        assert_eq!(listed(SuppressionFilter { mailbox: None, reason: Some(SuppressionReason::OptOut) }).await, 1);
        store.lift_suppression(home.workspace, &BY, domain.id).await.unwrap();
        assert_eq!(listed(SuppressionFilter::default()).await, 1);
    }
}

/// Ways to tamper with a chain of five entries; each must be seen.
async fn tamper(store: &Store, way: usize) -> &'static str {
    let mut tx = store.begin(Lane::Web).await.unwrap();
    let (what, statement) = [
        ("a payload", sql!("UPDATE ledger SET payload = replace(payload, 'sign-up', 'signed') WHERE seq = 3")),
        ("a column", sql!("UPDATE ledger SET kind = 'refused' WHERE seq = 3")),
        ("a time", sql!("UPDATE ledger SET at = at - 1 WHERE seq = 3")),
        ("a contact", sql!("UPDATE ledger SET contact_id = contact_id + 1 WHERE seq = 3")),
        ("a mac", sql!("UPDATE ledger SET mac = commitment WHERE seq = 3")),
        ("a commitment", sql!("UPDATE ledger SET commitment = mac WHERE seq = 3")),
        ("an erasure without its entry", sql!("UPDATE ledger SET payload = NULL, salt = NULL WHERE seq = 3")),
        ("half an erasure", sql!("UPDATE ledger SET salt = NULL WHERE seq = 3")),
        ("a hole", sql!("DELETE FROM ledger WHERE seq = 3")),
        ("a cut tail", sql!("DELETE FROM ledger WHERE seq = 5")),
        ("another head", sql!("UPDATE ledger_head SET count = count + 1 WHERE seq = 5")),
        ("a consent that nobody gave", sql!("UPDATE consent SET state = 'granted' WHERE state = 'withdrawn'")),
    ][way];
    assert!(tx.execute(statement, args![]).await.unwrap() > 0, "{what} changed nothing");
    tx.commit().await.unwrap();
    what
}

#[tokio::test]
async fn the_ledger_sees_every_change() {
    for way in 0..12 {
        let kinds =
            if way == 0 { open_both("ledger").await } else { vec![crate::testing::open_sqlite("ledger").await] };
        for store in kinds {
            let home = place(&store, "Home").await;
            for n in 0..5 {
                let person = contact(&store, home, &format!("p{n}@example.org")).await;
                let state = if n == 4 { ConsentState::Withdrawn } else { ConsentState::Granted };
                store.record_consent(home.workspace, &BY, consent(&store, home, person, state)).await.unwrap();
            }
            let before = store.verify_ledger(home.workspace).await.unwrap();
            assert!(before.is_whole() && before.entries == 5, "{before:?}");
            let what = tamper(&store, way).await;
            let after = store.verify_ledger(home.workspace).await.unwrap();
            assert!(!after.is_whole(), "{what} was not seen on {}", store.kind);
        }
    }
}

#[tokio::test]
async fn a_chain_cut_back_with_its_head_no_longer_fits_the_sealed_head() {
    for store in open_both("heads").await {
        let home = place(&store, "Home").await;
        let ann = contact(&store, home, "ann@example.org").await;
        grant(&store, home, ann).await;
        store.clock.advance(1);
        store.record_consent(home.workspace, &BY, consent(&store, home, ann, ConsentState::Withdrawn)).await.unwrap();
        store.seal_ledger_heads().await.unwrap();
        assert!(store.verify_ledger(home.workspace).await.unwrap().is_whole());
        let mut tx = store.begin(Lane::Web).await.unwrap();
        tx.execute(sql!("DELETE FROM ledger WHERE seq = 2"), args![]).await.unwrap();
        tx.execute(
            sql!(
                "UPDATE ledger_head SET seq = 1, count = 1, hash = (SELECT l.mac FROM ledger l \
                 WHERE l.workspace_id = ledger_head.workspace_id AND l.seq = 1)"
            ),
            args![],
        )
        .await
        .unwrap();
        tx.execute(sql!("UPDATE consent SET state = 'granted', ledger_seq = 1"), args![]).await.unwrap();
        tx.commit().await.unwrap();
        let report = store.verify_ledger(home.workspace).await.unwrap();
        assert_eq!(report.faults.len(), 1, "only the sealed head knows: {report:?}");
        assert!(report.faults[0].contains("sealed outside"), "{report:?}");
    }
}

#[tokio::test]
async fn many_writers_make_one_chain() {
    let store = open_postgres("chain").await;
    let home = place(&store, "Home").await;
    let second = store.second_node().await;
    let mut tasks = Vec::new();
    for n in 0..24 {
        let store = if n % 2 == 0 { Store::clone(&store) } else { second.clone() };
        tasks.push(tokio::spawn(async move {
            let person = contact(&store, home, &format!("p{n}@example.org")).await;
            for _ in 0..4 {
                let mut new = consent(&store, home, person, ConsentState::Granted);
                new.evidence = evidence(&store);
                store.record_consent(home.workspace, &BY, new).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let report = store.verify_ledger(home.workspace).await.unwrap();
    assert!(report.is_whole() && report.entries == 96, "{report:?}");
    assert_eq!(store.contact_count(home.workspace).await.unwrap(), 24, "counters of two nodes are summed");
    assert_eq!(store.list(home.workspace, home.list).await.unwrap().members, 24);
}

#[tokio::test]
async fn two_opt_outs_at_once_are_one() {
    let store = open_postgres("optrace").await;
    let home = place(&store, "Home").await;
    let second = store.second_node().await;
    for round in 0..8 {
        let ann = contact(&store, home, &format!("ann{round}@example.org")).await;
        grant(&store, home, ann).await;
        let out = || opt_out(ann, OutOf::Everything);
        let (a, b) = tokio::join!(
            store.opt_out(home.workspace, &Actor::Person, out()),
            second.opt_out(home.workspace, &Actor::Person, out())
        );
        let mut answers = [a.unwrap(), b.unwrap()];
        answers.sort_by_key(|a| *a != OptOutAnswer::Recorded);
        assert_eq!(answers, [OptOutAnswer::Recorded, OptOutAnswer::AlreadyOut]);
    }
    let report = store.verify_ledger(home.workspace).await.unwrap();
    assert!(report.is_whole() && report.entries == 16, "{report:?}");
}
