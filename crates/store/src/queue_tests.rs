//! What the queue promises, on both databases: nothing lost, nothing twice, every rule asked at the mark.

use postrider_domain::event::EventKind;
use postrider_domain::gate::Withheld;
use postrider_domain::id::{CampaignId, DeliveryId, NodeId};
use postrider_domain::outcome::{AttemptResult, Outcome};
use postrider_domain::queue::Ledger;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::schedule::Schedule;
use postrider_domain::stream::{InDoubtPolicy, Stream};
use postrider_domain::suppression::SuppressionReason;

use crate::campaign_run::Due;
use crate::db::Lane;
use crate::error::StoreError;
use crate::mark::{MarkAnswer, MarkRefused};
use crate::queue_rig::{Rig, SITE, attempt, freeze_all, message};
use crate::settle::Next;
use crate::site::{DomainState, MailDomain};
use crate::sql::{args, sql};
use crate::store::Store;
use crate::testing::{TestStore, open_both, open_sqlite, write_book};

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

async fn balanced(rig: &Rig<'_>) -> Ledger {
    let counted = rig.store.recount(rig.book.workspace, rig.book.campaign).await.unwrap();
    let counters = rig.store.ledger_counts(rig.book.workspace, rig.book.campaign).await.unwrap();
    assert!(counted.balances(), "{counted:?}");
    assert_eq!(counters, counted);
    counted
}

async fn all_events(store: &Store, node: NodeId) -> Vec<crate::event::Event> {
    let mut all = Vec::new();
    loop {
        let page = store.events_after(node, all.last().map_or(0, |e: &crate::event::Event| e.seq), 7).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test]
async fn deferred_twice_then_accepted_is_three_of_three() {
    for store in open_both("thrice").await {
        let rig = Rig::start(&store, 3, &policy()).await;
        let delivery = rig.deliveries().await[1];
        let first = store.now();
        for n in 1..=3 {
            assert_eq!(rig.mark(delivery).await, MarkAnswer::Granted);
            let mut word = rig.word(delivery, Next::Later { ready_at: store.now() + 2_000 });
            if n < 3 {
                let a = word.attempt.as_mut().unwrap();
                (a.result, a.code, a.text) = (AttemptResult::Deferred, Some(451), format!("try {n}\r\nlater"));
            } else {
                word.next = Next::Done(Outcome::Accepted);
            }
            rig.writer.settle(word).unwrap();
            rig.writer.flush().await.unwrap();
            store.clock.advance(2_000);
            if n < 3 {
                let row = rig.rows().await.into_iter().find(|r| r.1.delivery == delivery).unwrap().1;
                assert_eq!(
                    (row.attempts, row.max_attempts, row.first_try_at),
                    (n, 3, Some(first)),
                    "same Date each time"
                );
                assert_eq!(row.link_key, Some(1));
            }
        }
        let row = store
            .read()
            .await
            .unwrap()
            .one(
                sql!(
                    "SELECT outcome, attempts, last_result, last_text, vars, first_try_at FROM delivery WHERE id = $1"
                ),
                args![delivery],
            )
            .await
            .unwrap();
        assert_eq!(row.text("outcome").unwrap(), "accepted");
        assert_eq!(row.int("attempts").unwrap(), 3);
        assert_eq!(row.text("last_result").unwrap(), "accepted");
        assert_eq!(row.bytes_opt("vars").unwrap_or_default(), None, "the variables go with the outcome");
        assert_eq!(row.int("first_try_at").unwrap(), first);
        let rows = store
            .read()
            .await
            .unwrap()
            .all(sql!("SELECT n, text, code FROM attempt WHERE delivery_id = $1 ORDER BY id"), args![delivery])
            .await
            .unwrap();
        let n: Vec<i64> = rows.iter().map(|r| r.int("n").unwrap()).collect();
        assert_eq!(n, [1, 2, 3]);
        assert_eq!(rows[0].text("text").unwrap(), "try 1  later", "no line break from outside is kept");
        let ledger = balanced(&rig).await;
        assert_eq!((ledger.frozen, ledger.accepted, ledger.queued), (3, 1, 2));
        let kinds: Vec<EventKind> = all_events(&store, rig.node.id).await.iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [EventKind::Deferred, EventKind::Deferred, EventKind::Accepted]);
    }
}

#[tokio::test]
async fn keys_are_those_of_the_first_mark_also_after_an_attempt_that_got_no_connection() {
    for store in open_both("keys").await {
        let rig = Rig::start(&store, 1, &policy()).await;
        let delivery = rig.deliveries().await[0];
        let first = store.now();
        rig.settle(delivery, Next::Later { ready_at: first }).await;
        for key in [7, 8] {
            store.clock.advance(1_000);
            let mut request = rig.request(delivery);
            (request.dkim_key, request.link_key) = (Some(postrider_domain::id::DkimKeyId(key)), key as u8);
            assert_eq!(rig.writer.mark(request).await.unwrap(), MarkAnswer::Granted);
            rig.settle(delivery, Next::Later { ready_at: first }).await;
            let row = rig.rows().await.remove(0).1;
            assert_eq!(
                (row.first_try_at, row.dkim_key.map(|k| k.get()), row.link_key),
                (Some(first), Some(7), Some(7))
            );
        }
    }
}

#[tokio::test]
async fn many_at_once_share_commits_and_each_is_counted_once() {
    for store in open_both("many").await {
        let rig = Rig::start(&store, 400, &policy()).await;
        let deliveries = rig.deliveries().await;
        let answers = futures_join(deliveries.iter().map(|d| rig.mark(*d))).await;
        assert!(answers.iter().all(|a| *a == MarkAnswer::Granted));
        assert_eq!(balanced(&rig).await.in_doubt, 400);
        for (i, delivery) in deliveries.iter().enumerate() {
            let next = match i % 4 {
                0 => Next::Done(Outcome::Accepted),
                1 => Next::Done(Outcome::Rejected),
                2 => Next::Later { ready_at: store.now() + 5 },
                _ => Next::Done(Outcome::Withheld(Withheld::Unrenderable)),
            };
            rig.writer.settle(rig.word(*delivery, next)).unwrap();
        }
        rig.writer.flush().await.unwrap();
        let ledger = balanced(&rig).await;
        assert_eq!((ledger.accepted, ledger.rejected, ledger.queued, ledger.withheld), (100, 100, 100, 100));
        assert_eq!(rig.writer.stale_settles(), 0);
        let events = all_events(&store, rig.node.id).await;
        let numbers: Vec<i64> = events.iter().map(|e| e.seq).collect();
        assert_eq!(numbers, (1..=400).collect::<Vec<_>>(), "no number is left out, and the order is theirs");
        // Said again, nothing changes: the rows are gone.
        rig.settle(deliveries[0], Next::Done(Outcome::Rejected)).await;
        assert_eq!(rig.writer.stale_settles(), 1);
        assert_eq!(balanced(&rig).await, ledger);
    }
}

/// Waits for all at once, without another crate.
async fn futures_join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut ready = true;
        for (future, out) in &mut pending {
            if out.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *out = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().map(|(_, out)| out.unwrap()).collect()
}

async fn change(store: &TestStore, statement: crate::sql::Sql, args: Vec<crate::sql::Value>) {
    let mut tx = store.begin(Lane::Web).await.unwrap();
    assert!(tx.execute(statement, args).await.unwrap() > 0, "the change found its row");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_mark_asks_consent_suppression_address_and_erasure_again() {
    for store in open_both("gate").await {
        let rig = Rig::start(&store, 6, &policy()).await;
        let rows = rig.rows().await;
        let contact = |i: usize| rows[i].1.contact.unwrap();
        change(&store, sql!("UPDATE consent SET state = 'withdrawn' WHERE contact_id = $1"), args![contact(0)]).await;
        change(&store, sql!("UPDATE contact SET address_state = 'null_mx' WHERE id = $1"), args![contact(1)]).await;
        change(&store, sql!("UPDATE contact SET erased_at = 1 WHERE id = $1"), args![contact(2)]).await;
        let insert = sql!(
            "INSERT INTO suppression (id, workspace_id, digest, domain, reason, scope, source, since, until) \
             VALUES ($1, $2, $3, $4, $5, 'all', 'test', 1, $6)"
        );
        let digest = store.digest(&rows[3].1.mailbox_norm);
        let none: Option<String> = None;
        change(
            &store,
            insert,
            args![1i64, rig.book.workspace, digest, none.clone(), "no_such_mailbox", Option::<i64>::None],
        )
        .await;
        // A suppression that has ended withholds nobody.
        let digest = store.digest(&rows[4].1.mailbox_norm);
        change(&store, insert, args![2i64, rig.book.workspace, digest, none, "manual", Some(store.now())]).await;
        let wanted = [
            MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Withdrawn)),
            MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Unmailable)),
            MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Erased)),
            MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Suppressed)),
            MarkAnswer::Granted,
        ];
        let looks = store.last_look(&rig.deliveries().await).await.unwrap();
        for (i, wanted) in wanted.iter().enumerate() {
            let (_, row) = &rows[i];
            assert_eq!(rig.mark(row.delivery).await, *wanted, "row {i} ({})", store.kind);
            let (_, facts) = looks.iter().find(|(d, _)| *d == row.delivery).unwrap();
            let may = postrider_domain::gate::may_send(facts);
            let told = match wanted {
                MarkAnswer::Refused(MarkRefused::Withheld(reason)) => Err(*reason),
                _ => Ok(()),
            };
            assert_eq!(may, told, "the last look says what the mark says");
        }
        // A whole domain.
        let insert_domain = sql!(
            "INSERT INTO suppression (id, workspace_id, digest, domain, reason, scope, source, since) \
             VALUES (3, $1, $2, $3, 'manual', 'marketing', 'test', 1)"
        );
        let domain = rows[5].1.domain.as_str();
        change(&store, insert_domain, args![rig.book.workspace, store.digest(&format!("@{domain}")), domain]).await;
        assert_eq!(
            rig.mark(rows[5].1.delivery).await,
            MarkAnswer::Refused(MarkRefused::Withheld(Withheld::Suppressed))
        );
        // A refused mark leaves the row as it was; the engine settles it.
        let lease = rig.lanes[0].clone();
        rig.writer.withhold(&rows[0].1, &lease, Withheld::Withdrawn).unwrap();
        rig.writer.flush().await.unwrap();
        let ledger = balanced(&rig).await;
        assert_eq!((ledger.withheld, ledger.in_doubt), (1, 1));
        let counts = store.campaign_counts(rig.book.workspace, rig.book.campaign).await.unwrap();
        assert_eq!(counts["withheld:withdrawn"], 1);
        assert_eq!(counts.get("attempts"), None, "withholding is no attempt");
    }
}

#[tokio::test]
async fn a_dead_mailbox_is_suppressed_with_its_bounce_and_kept_out_of_the_next_campaign() {
    for store in open_both("dead").await {
        let rig = Rig::start(&store, 3, &policy()).await;
        let rows = rig.rows().await;
        assert_eq!(rig.mark(rows[0].1.delivery).await, MarkAnswer::Granted);
        let mut word = rig.word(rows[0].1.delivery, Next::Done(Outcome::Rejected));
        word.suppress = Some(SuppressionReason::NoSuchMailbox);
        rig.writer.settle(word).unwrap();
        // Refused for a fault about us: nobody is suppressed.
        rig.settle(rows[1].1.delivery, Next::Done(Outcome::Rejected)).await;
        let found = store
            .read()
            .await
            .unwrap()
            .all(sql!("SELECT scope, reason, mailbox_norm, delivery_id FROM suppression"), args![])
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text("mailbox_norm").unwrap(), rows[0].1.mailbox_norm);
        assert_eq!(found[0].int("delivery_id").unwrap(), rows[0].1.delivery.get());
        let kinds: Vec<EventKind> = all_events(&store, rig.node.id).await.iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [EventKind::Rejected, EventKind::Suppressed, EventKind::Rejected]);
        // The same audience again.
        change(&store, sql!("UPDATE campaign SET state = 'scheduled' WHERE id = $1"), args![rig.book.campaign]).await;
        let mut freezer = store.begin_freeze(rig.book.campaign, rig.node, Some(SITE.into())).await.unwrap();
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), 2);
        let counts = store.campaign_counts(rig.book.workspace, rig.book.campaign).await.unwrap();
        assert_eq!(counts["excluded:suppressed"], 1);
    }
}

#[tokio::test]
async fn pause_stop_suspension_hold_and_a_full_disk_refuse_marks_at_once() {
    for store in open_both("rules").await {
        let rig = Rig::start(&store, 6, &policy()).await;
        let deliveries = rig.deliveries().await;
        let (workspace, campaign) = (rig.book.workspace, rig.book.campaign);
        assert_eq!(rig.mark(deliveries[0]).await, MarkAnswer::Granted);
        store.pause_campaign(workspace, campaign).await.unwrap();
        assert_eq!(rig.mark(deliveries[1]).await, MarkAnswer::Refused(MarkRefused::CampaignNotSending));
        store.resume_campaign(workspace, campaign).await.unwrap();
        change(&store, sql!("UPDATE workspace SET suspended_at = 1 WHERE id = $1"), args![workspace]).await;
        assert_eq!(rig.mark(deliveries[1]).await, MarkAnswer::Refused(MarkRefused::WorkspaceSuspended));
        change(&store, sql!("UPDATE workspace SET suspended_at = NULL WHERE id = $1"), args![workspace]).await;
        assert_eq!(
            store.hold_deliveries(workspace, &deliveries[..2], "look").await.unwrap(),
            1,
            "not the one in doubt"
        );
        assert_eq!(rig.mark(deliveries[1]).await, MarkAnswer::Refused(MarkRefused::Held));
        rig.writer.pretend_no_space(true);
        assert_eq!(rig.mark(deliveries[2]).await, MarkAnswer::Refused(MarkRefused::NoSpace));
        rig.settle(deliveries[2], Next::Later { ready_at: store.now() }).await;
        assert_eq!(balanced(&rig).await.held, 1, "settles go on without room");
        rig.writer.pretend_no_space(false);
        assert!(matches!(store.cancel_slice(rig.node.id, campaign, 10).await, Err(StoreError::Conflict { .. })));
        store.stop_campaign(workspace, campaign).await.unwrap();
        assert_eq!(rig.mark(deliveries[3]).await, MarkAnswer::Refused(MarkRefused::CampaignNotSending));
        let first = store.cancel_slice(rig.node.id, campaign, 2).await.unwrap();
        assert_eq!((first.rows, first.left), (2, true));
        let second = store.cancel_slice(rig.node.id, campaign, 100).await.unwrap();
        assert_eq!((second.rows, second.left), (3, true), "the one in doubt is its owner's");
        rig.settle(deliveries[0], Next::Done(Outcome::Accepted)).await;
        let last = store.cancel_slice(rig.node.id, campaign, 100).await.unwrap();
        assert_eq!((last.rows, last.left), (0, false));
        let ledger = balanced(&rig).await;
        assert_eq!((ledger.accepted, ledger.cancelled, ledger.held, ledger.queued), (1, 5, 0, 0));
        assert!(store.running_campaigns().await.unwrap().is_empty());
        assert!(store.my_lanes(rig.node).await.unwrap().is_empty(), "closed lanes are nobody's");
    }
}

#[tokio::test]
async fn a_campaign_ends_when_its_last_row_has_its_outcome() {
    for store in open_both("finish").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let deliveries = rig.deliveries().await;
        rig.settle(deliveries[0], Next::Done(Outcome::Expired)).await;
        assert!(!store.finish_if_empty(rig.book.campaign).await.unwrap());
        rig.settle(deliveries[1], Next::Done(Outcome::Accepted)).await;
        assert!(store.finish_if_empty(rig.book.campaign).await.unwrap());
        assert!(!store.finish_if_empty(rig.book.campaign).await.unwrap(), "once");
        assert!(matches!(
            store.resume_campaign(rig.book.workspace, rig.book.campaign).await,
            Err(StoreError::Conflict { .. })
        ));
    }
}

/// What a killed process leaves is resolved by the next one, as the policy says, and counted.
#[tokio::test]
async fn a_crash_between_mark_and_settle_follows_the_policy() {
    for mut store in open_both("crash").await {
        for policy_word in InDoubtPolicy::ALL {
            let policy = RetryPolicy { in_doubt: *policy_word, ..policy() };
            let (workspace, campaign, deliveries, first_try) = {
                let rig = Rig::start(&store, 5, &policy).await;
                let deliveries = rig.deliveries().await;
                for d in &deliveries[..3] {
                    assert_eq!(rig.mark(*d).await, MarkAnswer::Granted);
                }
                rig.settle(deliveries[0], Next::Done(Outcome::Accepted)).await;
                (rig.book.workspace, rig.book.campaign, deliveries, store.now())
            };
            store.kill_and_reopen().await;
            store.clock.advance(60_000);
            let node = store.register_node().await.unwrap();
            let resolved = store.resolve_in_doubt(node).await.unwrap();
            assert_eq!(resolved.resent + resolved.assumed + resolved.held, 2, "{policy_word} ({})", store.kind);
            assert_eq!(store.resolve_in_doubt(node).await.unwrap(), Default::default(), "once");
            let ledger = store.recount(workspace, campaign).await.unwrap();
            assert_eq!(ledger, store.ledger_counts(workspace, campaign).await.unwrap());
            assert_eq!((ledger.frozen, ledger.accepted, ledger.in_doubt), (5, 1, 0));
            let lanes = store.my_lanes(node).await.unwrap();
            let lane = lanes.iter().find(|l| l.campaign == Some(campaign)).unwrap();
            let ready = store.read_lane(lane.lane, None, store.now(), 500).await.unwrap();
            let counts = store.campaign_counts(workspace, campaign).await.unwrap();
            match policy_word {
                InDoubtPolicy::Resend => {
                    assert_eq!((ready.len(), resolved.resent, counts["in_doubt_resent"]), (4, 2, 2));
                    let again = ready.iter().find(|r| r.delivery == deliveries[1]).unwrap();
                    assert_eq!(again.first_try_at, Some(first_try), "the same Date, key and tokens go again");
                    assert_eq!(again.attempts, 0, "a doubt uses up no attempt of the policy");
                }
                InDoubtPolicy::Assume => assert_eq!((ready.len(), ledger.assumed), (2, 2)),
                InDoubtPolicy::Hold => {
                    assert_eq!((ready.len(), ledger.held), (2, 2));
                    assert_eq!(store.release_held(workspace, campaign, 100).await.unwrap(), 2);
                    assert_eq!(store.read_lane(lane.lane, None, store.now(), 500).await.unwrap().len(), 4);
                }
            }
            let doubts = store
                .read()
                .await
                .unwrap()
                .one(
                    sql!("SELECT count(*) AS n FROM attempt WHERE campaign_id = $1 AND doubt IS NOT NULL AND result = 'broken'"),
                    args![campaign],
                )
                .await
                .unwrap();
            assert_eq!(doubts.int("n").unwrap(), 2);
        }
    }
}

#[tokio::test]
async fn a_process_that_was_replaced_can_neither_mark_nor_settle() {
    for store in open_both("fence").await {
        let rig = Rig::start(&store, 3, &policy()).await;
        let deliveries = rig.deliveries().await;
        assert_eq!(rig.mark(deliveries[0]).await, MarkAnswer::Granted);
        let next = store.register_node().await.unwrap();
        assert!(matches!(rig.writer.mark(rig.request(deliveries[1])).await, Err(StoreError::Fatal(_))));
        assert!(matches!(
            rig.writer.settle(rig.word(deliveries[0], Next::Done(Outcome::Accepted))),
            Err(StoreError::Fatal(_))
        ));
        assert!(matches!(store.beat(rig.node).await, Err(StoreError::Fatal(_))));
        assert!(matches!(rig.writer.failed().await, StoreError::Fatal(_)));
        store.beat(next).await.unwrap();
        assert_eq!(store.resolve_in_doubt(next).await.unwrap().resent, 1);
    }
}

#[tokio::test]
async fn a_lane_that_was_given_back_fences_what_was_still_in_the_air() {
    for store in open_both("giveback").await {
        let rig = Rig::start(&store, 2, &policy()).await;
        let deliveries = rig.deliveries().await;
        let lanes: Vec<_> = rig.lanes.iter().map(|l| l.lane).collect();
        assert_eq!(store.release_lanes(rig.node, &lanes).await.unwrap(), 1);
        assert_eq!(rig.mark(deliveries[0]).await, MarkAnswer::Refused(MarkRefused::LaneLost));
        let again = store.lease_lanes(rig.node).await.unwrap();
        assert_eq!((again.new.len(), again.surplus), (1, 0));
        assert_eq!(rig.mark(deliveries[0]).await, MarkAnswer::Refused(MarkRefused::LaneLost), "the old epoch is dead");
        rig.settle(deliveries[0], Next::Done(Outcome::Accepted)).await;
        assert_eq!(rig.writer.stale_settles(), 1);
        assert_eq!(balanced(&rig).await.queued, 2);
    }
}

#[tokio::test]
async fn a_single_message_is_durable_when_it_is_accepted_and_opt_outs_do_not_bind_it() {
    for mut store in open_both("single").await {
        let workspace;
        let taken = {
            let rig = Rig::start(&store, 1, &policy()).await;
            workspace = rig.book.workspace;
            let new = message(&store, workspace, &["a@d1.example", "b@d2.example"]);
            rig.writer.accept_message(new.clone()).await.unwrap();
            // The same again, as after a lost answer: refused by its own key, and alone.
            let other = message(&store, workspace, &["c@d1.example"]);
            let (again, good) = tokio::join!(rig.writer.accept_message(new.clone()), rig.writer.accept_message(other));
            assert!(again.unwrap_err().is_unique_violation());
            good.unwrap();
            new
        };
        store.kill_and_reopen().await;
        assert_eq!(store.message_bytes(workspace, taken.id).await.unwrap(), taken.bytes);
        assert_eq!(store.message(workspace, taken.id).await.unwrap().subject, "Receipt");
        let other = postrider_domain::id::WorkspaceId(workspace.get() + 1);
        assert!(matches!(store.message_bytes(other, taken.id).await, Err(StoreError::NotFound { .. })));
        let node = store.register_node().await.unwrap();
        store.lease_lanes(node).await.unwrap();
        let lanes = store.my_lanes(node).await.unwrap();
        let lane = lanes.iter().find(|l| l.campaign.is_none()).unwrap();
        assert_eq!((lane.stream, lane.site.as_str()), (Stream::Transactional, "unresolved"));
        let rows = store.read_lane(lane.lane, None, store.now(), 500).await.unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows.iter().filter(|r| r.message == Some(taken.id)).count(), 2);
        let counts = store.message_counts(workspace).await.unwrap();
        assert_eq!(counts["frozen"], 3);
    }
}

#[tokio::test]
async fn unresolved_rows_move_to_the_lane_of_their_site() {
    for store in open_both("sites").await {
        let book = write_book(&store, 40, &policy()).await.unwrap();
        let node = store.register_node().await.unwrap();
        let known = |name: &str, site: Option<&str>, state| MailDomain {
            name: name.into(),
            site: site.map(Into::into),
            state,
            resolved_at: 1,
            look_again_at: 2,
            nxdomain_since: (state == DomainState::NxDomain).then_some(store.now()),
        };
        store.remember_domains(&[known("d0.example", Some("big"), DomainState::Found)]).await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, None).await.unwrap();
        freeze_all(&mut freezer).await;
        freezer.finish().await.unwrap();
        let lanes = store.lease_lanes(node).await.unwrap().new;
        let mut sites: Vec<&str> = lanes.iter().map(|l| l.site.as_str()).collect();
        sites.sort_unstable();
        assert_eq!(sites, ["big", "unresolved"], "what is known at freezing needs no second step");
        let unresolved = lanes.iter().find(|l| l.site == "unresolved").unwrap();
        store
            .remember_domains(&[
                known("d1.example", Some("big"), DomainState::Found),
                known("d2.example", Some("small"), DomainState::Found),
                known("d3.example", None, DomainState::NxDomain),
            ])
            .await
            .unwrap();
        let (mut cursor, mut moved) = (None, 0);
        for _ in 0..100 {
            let step = store.move_resolved(node, unresolved, cursor, 7).await.unwrap();
            moved += step.rows;
            cursor = step.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(moved, 8);
        store.lease_lanes(node).await.unwrap();
        let mut counts = Vec::new();
        for lane in store.my_lanes(node).await.unwrap() {
            let rows = store.read_lane(lane.lane, None, i64::MAX, 500).await.unwrap();
            counts.push((lane.site.clone(), rows.len()));
        }
        counts.sort();
        assert_eq!(counts, [("big".into(), 8), ("small".into(), 4), ("unresolved".into(), 28)]);
        let since = store.mail_domains(&["d3.example".into()]).await.unwrap()["d3.example"].nxdomain_since;
        store.clock.advance(3_600_000);
        store.remember_domains(&[known("d3.example", None, DomainState::NxDomain)]).await.unwrap();
        let d3 = &store.mail_domains(&["d3.example".into()]).await.unwrap()["d3.example"];
        assert_eq!(d3.nxdomain_since, since, "the first look counts");
    }
}

#[tokio::test]
async fn a_reader_goes_forward_by_cursor_and_sees_what_was_put_back() {
    for store in open_both("cursor").await {
        let rig = Rig::start(&store, 10, &policy()).await;
        let lane = rig.lanes[0].lane;
        let first = store.read_lane(lane, None, store.now(), 4).await.unwrap();
        let second = store.read_lane(lane, first.last().map(|r| r.cursor()), store.now(), 4).await.unwrap();
        let third = store.read_lane(lane, second.last().map(|r| r.cursor()), store.now(), 4).await.unwrap();
        let mut all: Vec<DeliveryId> =
            [&first, &second, &third].iter().flat_map(|p| p.iter().map(|r| r.delivery)).collect();
        assert_eq!(all.len(), 10);
        all.dedup();
        assert_eq!(all.len(), 10);
        assert!(store.read_lane(lane, None, store.now() - 1, 4).await.unwrap().is_empty(), "not before their time");
        assert_eq!(rig.mark(all[9]).await, MarkAnswer::Granted);
        rig.settle(all[9], Next::Later { ready_at: store.now() + 1_000 }).await;
        let cursor = third.last().map(|r| r.cursor());
        assert!(store.read_lane(lane, cursor, store.now(), 4).await.unwrap().is_empty());
        store.clock.advance(1_000);
        assert_eq!(store.read_lane(lane, cursor, store.now(), 4).await.unwrap()[0].delivery, all[9]);
        let ready = store.lanes_ready_at(&[lane]).await.unwrap();
        assert_eq!(ready, [(lane, store.now() - 1_000)]);
    }
}

#[tokio::test]
async fn due_campaigns_respect_undo_and_not_later_than() {
    for store in open_both("due").await {
        let book = write_book(&store, 1, &policy()).await.unwrap();
        let (w, c) = (book.workspace, book.campaign);
        assert_eq!(store.due_campaigns(store.now()).await.unwrap(), [Due::Freeze(c)]);
        store.start_campaign(w, c, store.now() + 60_000).await.unwrap();
        assert!(store.due_campaigns(store.now() + 59_999).await.unwrap().is_empty(), "the undo window");
        assert_eq!(store.due_campaigns(store.now() + 60_000).await.unwrap(), [Due::Freeze(c)]);
        store.unschedule_campaign(w, c).await.unwrap();
        assert!(store.due_campaigns(i64::MAX).await.unwrap().is_empty());
        let schedule =
            Schedule { local: "2026-11-21T14:00".into(), zone: "Europe/Rome".into(), not_later_than_minutes: Some(30) };
        store.schedule_campaign(w, c, &schedule).await.unwrap();
        let at = schedule.instant().unwrap();
        assert!(store.due_campaigns(at - 1).await.unwrap().is_empty());
        assert_eq!(store.due_campaigns(at).await.unwrap(), [Due::Freeze(c)]);
        assert_eq!(store.due_campaigns(at + 31 * 60_000).await.unwrap(), [Due::Miss(c)]);
        store.miss_campaign(c).await.unwrap();
        assert!(store.due_campaigns(i64::MAX).await.unwrap().is_empty());
        let other = postrider_domain::id::WorkspaceId(w.get() + 1);
        assert!(matches!(store.start_campaign(other, c, 0).await, Err(StoreError::NotFound { .. })));
        assert!(matches!(store.start_campaign(w, CampaignId(1), 0).await, Err(StoreError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_full_disk_under_a_commit_ends_the_writer() {
    let store = open_sqlite("full").await;
    let rig = Rig::start(&store, 200, &policy()).await;
    let deliveries = rig.deliveries().await;
    {
        // No further page may be taken from the disk.
        let crate::db::Db::Sqlite { gate, .. } = &store.inner.db else { panic!("SQLite") };
        let mut held = gate.acquire(Lane::Web).await.unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(held.connection()).await.unwrap();
        let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::query(limit).execute(held.connection()).await.unwrap();
    }
    for delivery in &deliveries {
        let mut word = rig.word(*delivery, Next::Done(Outcome::Accepted));
        word.attempt.as_mut().unwrap().text = "x".repeat(900);
        if rig.writer.settle(word).is_err() {
            break;
        }
    }
    assert!(matches!(rig.writer.flush().await, Err(StoreError::Fatal(_))));
    assert!(
        matches!(rig.writer.mark(rig.request(deliveries[0])).await, Err(StoreError::Fatal(_))),
        "nothing is promised any more"
    );
    assert!(matches!(rig.writer.failed().await, StoreError::Fatal(_)));
    let counted = store.recount(rig.book.workspace, rig.book.campaign).await.unwrap();
    assert!(counted.balances() && counted.queued > 0, "{counted:?}");
}

#[tokio::test]
async fn a_settle_that_cannot_be_written_takes_nobody_with_it() {
    for store in open_both("replay").await {
        let rig = Rig::start(&store, 20, &policy()).await;
        let deliveries = rig.deliveries().await;
        // A trigger refuses one attempt, so the merged statement fails as a whole.
        refuse_text(&store, "poison").await;
        for (i, delivery) in deliveries.iter().enumerate() {
            let mut word = rig.word(*delivery, Next::Done(Outcome::Accepted));
            if i == 7 {
                word.attempt = Some(crate::settle::AttemptRecord { text: "poison".into(), ..attempt(store.now()) });
            }
            rig.writer.settle(word).unwrap();
        }
        rig.writer.flush().await.unwrap();
        let ledger = balanced(&rig).await;
        assert_eq!((ledger.accepted, ledger.queued), (19, 1), "{}", store.kind);
    }
}

async fn refuse_text(store: &TestStore, text: &str) {
    match &store.inner.db {
        crate::db::Db::Sqlite { gate, .. } => {
            let mut held = gate.acquire(Lane::Web).await.unwrap();
            let trigger = format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON attempt WHEN new.text = '{text}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            );
            sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(held.connection()).await.unwrap();
        }
        crate::db::Db::Postgres { web, .. } => {
            let check = format!("ALTER TABLE attempt ADD CONSTRAINT refuse CHECK (text <> '{text}')");
            sqlx::query(sqlx::AssertSqlSafe(check)).execute(web).await.unwrap();
        }
    }
}
