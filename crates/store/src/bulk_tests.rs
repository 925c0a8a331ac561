//! What is done to all contacts that match, revisions of contacts, and what pages filter, on both databases.

use postrider_domain::contact::Attributes;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;

use crate::actor::ActorKind;
use crate::audit::AuditFilter;
use crate::book_rig::{BY, contact, grant, place};
use crate::contact::{ContactChange, ContactFilter};
use crate::contact_bulk::{BulkAct, BulkDone};
use crate::error::StoreError;
use crate::page::PageRequest;
use crate::queue_rig::Rig;
use crate::testing::open_both;

#[tokio::test]
async fn all_that_match_go_onto_a_list_and_off_it() {
    for store in open_both("bulk").await {
        let home = place(&store, "Home").await;
        let theirs = place(&store, "Theirs").await;
        for i in 0..30 {
            contact(&store, home, &format!("Anna{i}@example.org")).await;
        }
        contact(&store, home, "bruno@example.org").await;
        contact(&store, theirs, "anna99@example.org").await;
        let target = store.create_list(home.workspace, &BY, "Annas", "").await.unwrap().id;
        let all = |text: &str, list| ContactFilter { mailbox_prefix: Some(text.into()), list };
        let anna = all("aNNa", None);
        assert_eq!(store.count_all_contacts(home.workspace, &anna).await.unwrap(), 30, "{}", store.kind);
        let bulk = async |filter: &ContactFilter, act, expected| {
            store.bulk_members(home.workspace, &BY, filter, act, expected).await
        };
        assert!(matches!(bulk(&anna, BulkAct::Join(target), 29).await, Err(StoreError::Conflict { .. })));
        assert_eq!(store.list(home.workspace, target).await.unwrap().members, 0, "another number: nothing is done");
        assert_eq!(bulk(&anna, BulkAct::Join(target), 30).await.unwrap(), BulkDone { matched: 30, changed: 30 });
        assert_eq!(bulk(&anna, BulkAct::Join(target), 30).await.unwrap().changed, 0);
        assert_eq!(store.list(home.workspace, target).await.unwrap().members, 30);
        // Of the members only.
        let some = all("anna1", Some(target));
        assert_eq!(bulk(&some, BulkAct::Leave(target), 11).await.unwrap().changed, 11);
        assert_eq!(store.list(home.workspace, target).await.unwrap().members, 19);
        let rest = ContactFilter { mailbox_prefix: None, list: Some(target) };
        assert_eq!(store.count_all_contacts(home.workspace, &rest).await.unwrap(), 19);
        assert!(matches!(bulk(&anna, BulkAct::Join(theirs.list), 30).await, Err(StoreError::NotFound { .. })));
        let acts = AuditFilter { action: Some("list.add_matching".into()), ..AuditFilter::default() };
        let lines = store.find_audit(home.workspace, &acts, &PageRequest::first(10)).await.unwrap().items;
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].detail["added"], 30);
        let none = all("a\u{0}", None);
        assert_eq!(store.count_all_contacts(home.workspace, &none).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_contact_is_not_changed_from_an_old_revision() {
    for store in open_both("revs").await {
        let home = place(&store, "Home").await;
        let id = contact(&store, home, "anna@example.org").await;
        assert_eq!(store.contact(home.workspace, id).await.unwrap().rev, 1);
        let change = |rev, name: &str| ContactChange {
            rev,
            attributes: Some(Attributes::from([("name".to_owned(), name.into())])),
            ..ContactChange::default()
        };
        let changed = store.change_contact(home.workspace, &BY, id, change(Some(1), "Anna")).await.unwrap();
        assert_eq!(changed.rev, 2);
        let late = store.change_contact(home.workspace, &BY, id, change(Some(1), "Late")).await;
        assert!(matches!(late, Err(StoreError::Conflict { .. })));
        let now = store.contact(home.workspace, id).await.unwrap();
        assert_eq!((now.rev, now.attributes["name"].as_str()), (2, Some("Anna")), "{}", store.kind);
        store.change_contact(home.workspace, &BY, id, change(None, "Anne")).await.unwrap();
        // Consents beside the contacts.
        let other = contact(&store, home, "bruno@example.org").await;
        grant(&store, home, id).await;
        let found = store.consents_of_many(home.workspace, &[id, other]).await.unwrap();
        assert_eq!(
            found.iter().map(|(c, p, s)| (*c, *p, s.as_str())).collect::<Vec<_>>(),
            [(id, home.purpose, "granted")]
        );
    }
}

#[tokio::test]
async fn the_audit_is_filtered() {
    for store in open_both("audited").await {
        let home = place(&store, "Home").await;
        let id = contact(&store, home, "anna@example.org").await;
        let at = store.now();
        store.clock.advance(1_000);
        let list = store.create_list(home.workspace, &BY, "More", "").await.unwrap().id;
        let count = async |filter: AuditFilter| {
            let mut n = 0;
            let mut page = PageRequest::first(2);
            loop {
                let found = store.find_audit(home.workspace, &filter, &page).await.unwrap();
                n += found.items.len();
                if found.next.is_none() {
                    return n;
                }
                page = page.after(found.next);
            }
        };
        let all = count(AuditFilter::default()).await;
        assert!(all >= 3);
        assert_eq!(count(AuditFilter { object: Some(id.to_string()), ..Default::default() }).await, 1);
        assert_eq!(count(AuditFilter { action: Some("list.".into()), ..Default::default() }).await, 2);
        assert_eq!(
            count(AuditFilter {
                action: Some("list.create".into()),
                object: Some(list.to_string()),
                ..Default::default()
            })
            .await,
            1
        );
        assert_eq!(count(AuditFilter { from: Some(at + 1), ..Default::default() }).await, 1);
        assert_eq!(count(AuditFilter { until: Some(at + 1), ..Default::default() }).await, all - 1);
        assert_eq!(count(AuditFilter { actor_kind: Some(ActorKind::Console), ..Default::default() }).await, all);
        assert_eq!(count(AuditFilter { actor_kind: Some(ActorKind::Key), ..Default::default() }).await, 0);
        assert_eq!(count(AuditFilter { actor: Some("acc_x".into()), ..Default::default() }).await, 0);
        assert_eq!(count(AuditFilter { action: Some("\u{0}".into()), ..Default::default() }).await, 0);
    }
}

#[tokio::test]
async fn people_of_a_campaign_are_found_by_mailbox() {
    for store in open_both("findrows").await {
        let rig = Rig::start(&store, 60, &RetryPolicy::preset("rehearsal").unwrap()).await;
        let book = &rig.book;
        let find = async |text: &str, status| {
            let mut names = Vec::new();
            let mut page = PageRequest::first(4);
            loop {
                let found = store.find_deliveries(book.workspace, book.campaign, text, status, &page).await.unwrap();
                names.extend(found.items.into_iter().map(|row| row.mailbox));
                if found.next.is_none() {
                    return names;
                }
                page = page.after(found.next);
            }
        };
        let found = find("PERSON1", None).await;
        assert_eq!(found.len(), 11, "{}: {found:?}", store.kind);
        assert!(found.is_sorted());
        assert_eq!(find("person1@", None).await.len(), 1);
        assert_eq!(find("person", Some(ReportStatus::Queued)).await.len(), 60);
        assert_eq!(find("person", Some(ReportStatus::Sent)).await.len(), 0);
        assert_eq!(find("nobody", None).await.len(), 0);
        assert_eq!(store.bounces(book.workspace, book.campaign).await.unwrap(), []);
    }
}
