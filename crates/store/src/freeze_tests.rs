//! Freezing, on both databases: one snapshot, each recipient once, a partial set is never sent.

use postrider_domain::campaign::Audience;
use postrider_domain::gate::Withheld;
use postrider_domain::id::{ContactId, ListId};
use postrider_domain::retry::RetryPolicy;

use crate::db::Lane;
use crate::error::StoreError;
use crate::queue_rig::{SITE, freeze_all, frozen};
use crate::read::to_json;
use crate::sql::{args, sql};
use crate::testing::{Book, TestStore, open_both, write_book};

async fn second_list(store: &TestStore, book: &Book, members: &[ContactId], exclude: bool) -> ListId {
    let list = ListId(store.next_id());
    let mut tx = store.begin(Lane::Web).await.unwrap();
    tx.execute(
        sql!("INSERT INTO list (id, workspace_id, name, description, created_at) VALUES ($1, $2, 'Two', '', 0)"),
        args![list, book.workspace],
    )
    .await
    .unwrap();
    for contact in members {
        tx.execute(
            sql!("INSERT INTO membership (list_id, contact_id, added_at) VALUES ($1, $2, 0)"),
            args![list, *contact],
        )
        .await
        .unwrap();
    }
    let mut audience = Audience { include: vec![book.list], exclude: vec![], purpose: Some(book.purpose) };
    if exclude { &mut audience.exclude } else { &mut audience.include }.push(list);
    tx.execute(
        sql!("UPDATE campaign SET audience = {jsonb $2} WHERE id = $1"),
        args![book.campaign, to_json(&audience)],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    list
}

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

#[tokio::test]
async fn lists_in_minus_lists_out_each_contact_once_each_reason_counted() {
    for store in open_both("freeze").await {
        let book = write_book(&store, 30, &policy()).await.unwrap();
        second_list(&store, &book, &book.contacts[..8], false).await;
        let mut tx = store.begin(Lane::Web).await.unwrap();
        for (i, state) in [(0, "withdrawn"), (1, "requested")] {
            tx.execute(sql!("UPDATE consent SET state = $2 WHERE contact_id = $1"), args![book.contacts[i], state])
                .await
                .unwrap();
        }
        tx.execute(sql!("DELETE FROM consent WHERE contact_id = $1"), args![book.contacts[2]]).await.unwrap();
        tx.execute(sql!("UPDATE contact SET address_state = 'no_mail_server' WHERE id = $1"), args![book.contacts[3]])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let node = store.register_node().await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        assert_eq!(freezer.total(), 30);
        // Joined later: the snapshot does not know it.
        write_book(&store, 1, &policy()).await.unwrap();
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), 26);
        let counts = store.campaign_counts(book.workspace, book.campaign).await.unwrap();
        for (reason, n) in [
            (Withheld::Withdrawn, 1),
            (Withheld::ConsentPending, 1),
            (Withheld::NoConsent, 1),
            (Withheld::Unmailable, 1),
            (Withheld::Duplicate, 8),
        ] {
            assert_eq!(counts.get(&format!("excluded:{reason}")), Some(&n), "{reason} ({})", store.kind);
        }
        let ledger = store.recount(book.workspace, book.campaign).await.unwrap();
        assert_eq!((ledger.frozen, ledger.queued), (26, 26));
        let row = store
            .read()
            .await
            .unwrap()
            .one(
                sql!("SELECT {json vars} AS vars FROM delivery WHERE campaign_id = $1 AND contact_id = $2"),
                args![book.campaign, book.contacts[5]],
            )
            .await
            .unwrap();
        let vars: serde_json::Value = crate::read::json(&row, "vars").unwrap();
        assert_eq!(vars, serde_json::json!({"name": "Person 5"}), "only what the version uses");
    }
}

#[tokio::test]
async fn an_excluded_list_leaves_its_contacts_out() {
    for store in open_both("exclude").await {
        let book = write_book(&store, 10, &policy()).await.unwrap();
        second_list(&store, &book, &book.contacts[2..6], true).await;
        let node = store.register_node().await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), 6);
    }
}

#[tokio::test]
async fn a_partial_set_is_dropped_and_made_again() {
    for mut store in open_both("partial").await {
        let book = write_book(&store, 50, &policy()).await.unwrap();
        let node = store.register_node().await.unwrap();
        {
            let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
            let page = freezer.next_page(20).await.unwrap();
            let rows: Vec<_> = page.into_iter().map(frozen).collect();
            freezer.insert(&rows, &[(book.contacts[40], Withheld::NoConsent)]).await.unwrap();
            assert!(matches!(store.begin_freeze(book.campaign, node, None).await, Err(StoreError::Conflict { .. })));
            assert!(store.lease_lanes(node).await.unwrap().new.is_empty(), "nothing of it can be handed out");
        }
        store.kill_and_reopen().await;
        let node = store.register_node().await.unwrap();
        assert_eq!(store.due_campaigns(store.now()).await.unwrap(), [crate::campaign_run::Due::Freeze(book.campaign)]);
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), 50);
        let ledger = store.recount(book.workspace, book.campaign).await.unwrap();
        assert_eq!(ledger, store.ledger_counts(book.workspace, book.campaign).await.unwrap());
        assert_eq!((ledger.frozen, ledger.queued), (50, 50));
        let counts = store.campaign_counts(book.workspace, book.campaign).await.unwrap();
        assert_eq!(counts.get("excluded:no_consent"), None, "exclusions of the partial set went with it");
    }
}

#[tokio::test]
async fn a_stop_ends_the_freezing_and_a_recipient_is_never_stored_twice() {
    for store in open_both("stopfreeze").await {
        let book = write_book(&store, 20, &policy()).await.unwrap();
        let node = store.register_node().await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        let rows: Vec<_> = freezer.next_page(10).await.unwrap().into_iter().map(frozen).collect();
        freezer.insert(&rows, &[]).await.unwrap();
        freezer.insert(&rows[..5], &[]).await.unwrap();
        // Another contact with the mailbox of one that is in.
        let mut same = rows[0].clone();
        same.contact = book.contacts[15];
        freezer.insert(&[same], &[]).await.unwrap();
        let ledger = store.recount(book.workspace, book.campaign).await.unwrap();
        assert_eq!(ledger.frozen, 10);
        store.stop_campaign(book.workspace, book.campaign).await.unwrap();
        assert!(matches!(freezer.insert(&rows[..1], &[]).await, Err(StoreError::Conflict { .. })));
        assert!(matches!(freezer.finish().await, Err(StoreError::Conflict { .. })));
        let cancelled = store.cancel_slice(node.id, book.campaign, 1_000).await.unwrap();
        assert_eq!((cancelled.rows, cancelled.left), (10, false));
        let ledger = store.recount(book.workspace, book.campaign).await.unwrap();
        assert_eq!(ledger, store.ledger_counts(book.workspace, book.campaign).await.unwrap());
        assert_eq!((ledger.frozen, ledger.cancelled), (10, 10));
    }
}
