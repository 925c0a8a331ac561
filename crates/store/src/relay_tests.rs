//! Credentials, what a message of the relay carries, what was refused, and bodies that go, on both databases.

use postrider_domain::gate::Withheld;
use postrider_domain::id::WorkspaceId;
use postrider_domain::outcome::Outcome;
use postrider_domain::relay::{CredentialKind, CredentialSettings, RefusedFor};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::Stream;

use crate::actor::Actor;
use crate::error::StoreError;
use crate::message::NewMessage;
use crate::page::PageRequest;
use crate::queue_rig::{Rig, message};
use crate::relay_message::{RecipientFacts, RelayFacts};
use crate::relay_note::NewRelayNote;
use crate::settle::{Next, Settle};
use crate::testing::{open_both, write_book};

const BY: Actor = Actor::Console;

fn named(name: &str) -> CredentialSettings {
    CredentialSettings { name: name.into(), from_domains: vec!["EXAMPLE.org".into()], ..CredentialSettings::default() }
}

#[tokio::test]
async fn a_credential_opens_with_its_password_until_it_is_renewed_or_revoked() {
    for store in open_both("credential").await {
        let policy = RetryPolicy::preset("rehearsal").unwrap();
        let ours = write_book(&store, 1, &policy).await.unwrap().workspace;
        let theirs = write_book(&store, 1, &policy).await.unwrap().workspace;
        let (made, secret) = store.create_credential(ours, &BY, CredentialKind::Password, named("shop")).await.unwrap();
        assert_eq!(made.settings.from_domains, ["example.org"], "in the form in which they are compared");
        let secret = secret.unwrap();
        let opens = async |password: &str| store.entries().await.unwrap().iter().any(|entry| entry.opens(password));
        assert!(opens(secret.reveal()).await && !opens("wrong").await && !opens("").await);
        let shown = format!("{:?}", store.credentials(ours).await.unwrap());
        assert!(!shown.contains(secret.reveal()), "the password is kept nowhere");
        // Another workspace sees and touches nothing.
        assert!(store.credentials(theirs).await.unwrap().is_empty());
        assert!(matches!(store.credential(theirs, made.id).await, Err(StoreError::NotFound { .. })));
        assert!(matches!(store.renew_password(theirs, &BY, made.id).await, Err(StoreError::NotFound { .. })));
        assert!(matches!(store.revoke_credential(theirs, &BY, made.id).await, Err(StoreError::NotFound { .. })));

        let changed = store.put_credential(ours, &BY, made.id, 1, named("till")).await.unwrap();
        assert_eq!((changed.settings.name.as_str(), changed.rev), ("till", 2));
        let late = store.put_credential(ours, &BY, made.id, 1, named("late")).await;
        assert!(matches!(late, Err(StoreError::Conflict { .. })), "{late:?}");
        let next = store.renew_password(ours, &BY, made.id).await.unwrap();
        assert!(opens(next.reveal()).await && !opens(secret.reveal()).await);
        store.credential_used(made.id).await.unwrap();
        let used = store.credential(ours, made.id).await.unwrap();
        assert!(used.first_message_at.is_some() && used.first_message_at == used.last_used_at);
        assert_eq!(store.revoke_credential(ours, &BY, made.id).await.unwrap(), 0);
        assert!(!opens(next.reveal()).await);
        assert!(store.credential(ours, made.id).await.unwrap().revoked_at.is_some());

        // An address alone is bound; wrong settings say what to do.
        let loose = store.create_credential(ours, &BY, CredentialKind::Address, named("address")).await;
        assert!(matches!(&loose, Err(StoreError::Refused { message }) if message.contains("networks")), "{loose:?}");
        let bound = CredentialSettings { networks: vec!["192.0.2.0/24".into()], ..named("address") };
        let (address, none) = store.create_credential(ours, &BY, CredentialKind::Address, bound).await.unwrap();
        assert!(none.is_none() && address.username.is_none());
        let lost = CredentialSettings { route: Some(postrider_domain::id::RouteId(7)), ..named("lost") };
        let lost = store.create_credential(ours, &BY, CredentialKind::Password, lost).await;
        assert!(matches!(&lost, Err(StoreError::Refused { message }) if message.contains("route")), "{lost:?}");
    }
}

fn handed_in(store: &crate::Store, workspace: WorkspaceId, facts: RelayFacts, to: &[&str]) -> NewMessage {
    let mut new = message(store, workspace, to);
    let recipients = new.recipients.iter().take(1);
    let recipients = recipients
        .map(|r| RecipientFacts { delivery: r.delivery, notify: Some("NEVER".into()), orcpt: None })
        .collect();
    new.relay = Some(Box::new(RelayFacts { recipients, ..facts }));
    new
}

#[tokio::test]
async fn what_a_message_carried_is_kept_the_first_label_stays_and_a_revoked_credential_holds_its_queue() {
    for store in open_both("relay_message").await {
        let policy = RetryPolicy::preset("rehearsal").unwrap();
        let rig = Rig::start(&store, 1, &policy).await;
        let workspace = rig.book.workspace;
        let (made, _) = store.create_credential(workspace, &BY, CredentialKind::Password, named("shop")).await.unwrap();
        let facts = |label: &str| RelayFacts {
            credential: Some(made.id),
            client: "192.0.2.1".into(),
            size: 1_234,
            reverse_path: Some("app@example.org".into()),
            delivery_type: 77,
            label: Some(label.into()),
            external_id: Some(u64::MAX),
            tags: vec!["a".into()],
            ..RelayFacts::default()
        };
        let first = handed_in(&store, workspace, facts("Orders"), &["anna@example.net", "bert@example.net"]);
        let (first_id, second) = (first.id, handed_in(&store, workspace, facts("Later"), &["carl@example.net"]));
        rig.writer.accept_message(first).await.unwrap();
        rig.writer.accept_message(second).await.unwrap();
        let kept = store.relay_facts(workspace, first_id).await.unwrap().unwrap();
        assert_eq!((kept.credential, kept.size, kept.delivery_type), (Some(made.id), 1_234, 77));
        assert_eq!(kept.external_id.as_deref(), Some("18446744073709551615"));
        assert_eq!(kept.tags.as_deref(), Some(&["a".to_owned()][..]));
        let types = store.delivery_types(workspace).await.unwrap();
        assert_eq!(types.len(), 1);
        assert_eq!(
            (types[0].number, types[0].label.as_deref(), types[0].stream),
            (77, Some("Orders"), Stream::Transactional)
        );

        assert_eq!(store.revoke_credential(workspace, &BY, made.id).await.unwrap(), 3, "what waits is held");
        assert_eq!(store.revoke_credential(workspace, &BY, made.id).await.unwrap(), 0, "once");
    }
}

#[tokio::test]
async fn refusals_are_counted_by_the_hour_and_belong_to_their_workspace() {
    for store in open_both("relay_note").await {
        let policy = RetryPolicy::preset("rehearsal").unwrap();
        let ours = write_book(&store, 1, &policy).await.unwrap().workspace;
        let theirs = write_book(&store, 1, &policy).await.unwrap().workspace;
        let note = |workspace, detail: &str| NewRelayNote {
            workspace,
            credential: None,
            reason: RefusedFor::FromDomain,
            client: "192.0.2.1".into(),
            detail: detail.into(),
            reply: "550 5.7.1 no".into(),
        };
        store
            .note_refusals(&[(note(Some(ours), "a"), 2), (note(Some(theirs), "a"), 1), (note(None, "a"), 5)])
            .await
            .unwrap();
        store.note_refusals(&[(note(Some(ours), "a"), 3), (note(Some(ours), "b"), 1)]).await.unwrap();
        let seen = async |strangers| {
            let page = store.relay_notes(ours, strangers, &PageRequest::default()).await.unwrap();
            page.items.iter().map(|n| (n.note.detail.clone(), n.count)).collect::<Vec<_>>()
        };
        assert_eq!(seen(false).await, [("b".to_owned(), 1), ("a".to_owned(), 5)]);
        assert_eq!(seen(true).await.len(), 3);
        let page = store.relay_notes(ours, true, &PageRequest::first(2)).await.unwrap();
        let rest = store.relay_notes(ours, true, &PageRequest::first(2).after(page.next)).await.unwrap();
        assert_eq!((page.items.len(), rest.items.len(), rest.next), (2, 1, None));
        assert_eq!(store.forget_relay_notes(100).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn bytes_go_a_day_after_they_came_once_nothing_waits_for_them() {
    for store in open_both("bodies").await {
        let policy = RetryPolicy::preset("rehearsal").unwrap();
        let rig = Rig::start(&store, 1, &policy).await;
        let workspace = rig.book.workspace;
        let new = message(&store, workspace, &["anna@example.net", "bert@example.net"]);
        let (id, deliveries) = (new.id, new.recipients.iter().map(|r| r.delivery).collect::<Vec<_>>());
        rig.writer.accept_message(new).await.unwrap();
        store.lease_lanes(rig.node).await.unwrap();
        let lanes = store.my_lanes(rig.node).await.unwrap();
        let lane = lanes.iter().find(|lease| lease.campaign.is_none()).unwrap();
        store.clock.advance(2 * 86_400_000);
        for (at, delivery) in deliveries.into_iter().enumerate() {
            assert_eq!(store.forget_bodies(10).await.unwrap(), 0, "{at} of 2 are done");
            let (lane, lane_epoch) = (lane.lane, lane.epoch);
            let next = Next::Done(Outcome::Withheld(Withheld::Suppressed));
            let word = Settle { delivery, lane, lane_epoch, attempt: None, next, suppress: None, soft: None };
            rig.writer.settle(word).unwrap();
            rig.writer.flush().await.unwrap();
        }
        assert!(store.message_bytes(workspace, id).await.is_ok());
        assert_eq!(store.forget_bodies(10).await.unwrap(), 1);
        assert!(store.message_bytes(workspace, id).await.is_err());
        assert!(store.message(workspace, id).await.is_ok(), "what happened to it stays");
    }
}
