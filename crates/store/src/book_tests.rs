//! The rest of the book on both databases: other workspaces, pages, revisions, secrets, idempotency, inquiries.

use std::time::Duration;

use postrider_domain::campaign::{Audience, Draft, Objective};
use postrider_domain::consent::{ConsentState, PurposeKind};
use postrider_domain::contact::Attributes;
use postrider_domain::id::ContactId;
use postrider_domain::route::{RouteKind, RouteSettings, TlsMode};
use postrider_domain::suppression::SuppressionReason;
use postrider_mail::mailbox::DomainName;
use serde_json::json;

use crate::actor::Actor;
use crate::api_key::NewApiKey;
use crate::bell::Topic;
use crate::book_rig::{BY, consent, contact, mailbox, place, running_import};
use crate::campaign::{CampaignChange, NewCampaign, NewVersion};
use crate::contact::{ContactChange, ContactFilter, NewContact};
use crate::domain::NewDkimKey;
use crate::idempotency::{Once, OnceRequest};
use crate::opt_out::{OptOut, OptOutAnswer, OptOutRoad, OutOf};
use crate::page::PageRequest;
use crate::relay::Quota;
use crate::report::{AttemptsOf, DeliveriesOf};
use crate::route::PasswordChange;
use crate::secret::{Secret, SecretBytes};
use crate::suppression::{NewSuppression, Whom};
use crate::testing::open_both;
use crate::workspace::WorkspaceChange;
use crate::{Result, Store, StoreError};

fn smarthost() -> RouteSettings {
    RouteSettings {
        name: "Relay".into(),
        kind: RouteKind::Smarthost,
        host: "relay.example.net".into(),
        port: 587,
        tls: TlsMode::Required,
        username: "us".into(),
        connections: 4,
        ..RouteSettings::default()
    }
}

fn key(selector: &str) -> NewDkimKey {
    NewDkimKey {
        selector: selector.into(),
        algorithm: "rsa2048".into(),
        private: SecretBytes::new(b"a private key".to_vec()),
        public_txt: "v=DKIM1; k=rsa; p=AAAA".into(),
    }
}

fn campaign(audience: Audience) -> NewCampaign {
    NewCampaign {
        name: "Spring".into(),
        objective: Objective::Information,
        audience,
        policy: None,
        route: None,
        draft: Draft { subject: "Hello {{ name }}".into(), ..Draft::default() },
    }
}

fn gone<T: std::fmt::Debug>(what: &str, answer: Result<T>) {
    assert!(matches!(answer, Err(StoreError::NotFound { .. })), "{what} let a stranger in: {answer:?}");
}

#[tokio::test]
async fn ids_of_another_workspace_are_not_found_in_any_function() {
    for store in open_both("tenant").await {
        let (mine, theirs) = (place(&store, "Mine").await, place(&store, "Theirs").await);
        let w = mine.workspace;
        // What they have.
        let person = contact(&store, theirs, "ann@example.org").await;
        let own = contact(&store, mine, "bob@example.org").await;
        let import = running_import(&store, theirs).await;
        let domain = store
            .add_domain(
                theirs.workspace,
                &BY,
                &DomainName::parse("example.com").unwrap(),
                &DomainName::parse("b.example.com").unwrap(),
                key("s1"),
            )
            .await
            .unwrap();
        let route =
            store.add_route(theirs.workspace, &BY, &smarthost(), Some(&Secret::new("swordfish".into()))).await.unwrap();
        let (api_key, _) = store
            .create_key(theirs.workspace, &BY, NewApiKey { name: "k".into(), scopes: vec![], expires_at: None })
            .await
            .unwrap();
        let new = NewSuppression {
            whom: Whom::Mailbox(mailbox("z@example.org")),
            reason: SuppressionReason::Manual,
            scope: None,
            source: String::new(),
            until: None,
            delivery: None,
        };
        let suppression = store.suppress(theirs.workspace, &BY, new).await.unwrap();
        let audience = Audience { include: vec![theirs.list], exclude: vec![], purpose: Some(theirs.purpose) };
        let mail = store.create_campaign(theirs.workspace, &BY, campaign(audience)).await.unwrap();
        let variant = store.variants(theirs.workspace, mail.id).await.unwrap().remove(0);
        let compiled = || NewVersion { renderer: 1, hash: vec![1], compiled: vec![2], uses: vec![] };
        let version = store.save_version(theirs.workspace, variant.id, compiled()).await.unwrap();
        let inquiry = store.ask(Some(theirs.workspace), "dns_check", &json!({}), 1_000).await.unwrap();
        let page = PageRequest::first(10);
        let filter = ContactFilter { list: Some(theirs.list), mailbox_prefix: None };

        gone("contact", store.contact(w, person).await);
        gone("change_contact", store.change_contact(w, &BY, person, ContactChange::default()).await);
        gone("erase_contact", store.erase_contact(w, &BY, person).await);
        gone("contacts of a list", store.contacts(w, &filter, &page).await);
        let strange = NewContact { lists: vec![theirs.list], ..NewContact::of(mailbox("c@example.org")) };
        gone("create_contact", store.create_contact(w, &BY, strange).await);
        gone("list", store.list(w, theirs.list).await);
        gone("change_list", store.change_list(w, &BY, theirs.list, Some("x"), None).await);
        gone("delete_list", store.delete_list(w, &BY, theirs.list).await);
        gone("add_members", store.add_members(w, &BY, theirs.list, &[own]).await);
        gone("add_members, contact", store.add_members(w, &BY, mine.list, &[person]).await);
        gone("remove_members", store.remove_members(w, &BY, theirs.list, &[person]).await);
        gone("lists_of", store.lists_of(w, person).await);
        gone("purpose", store.purpose(w, theirs.purpose).await);
        gone("rename_purpose", store.rename_purpose(w, &BY, theirs.purpose, "x").await);
        gone("add_wording", store.add_wording(w, &BY, theirs.purpose, "en", "x").await);
        gone("wordings", store.wordings(w, theirs.purpose).await);
        gone("wording", store.wording(w, theirs.wording).await);
        gone("consents", store.consents(w, person).await);
        gone(
            "record_consent",
            store.record_consent(w, &BY, consent(&store, theirs, person, ConsentState::Granted)).await,
        );
        let mixed =
            crate::consent::NewConsent { contact: own, ..consent(&store, theirs, person, ConsentState::Granted) };
        gone("record_consent, purpose", store.record_consent(w, &BY, mixed).await);
        let mixed = crate::consent::NewConsent {
            wording: Some(theirs.wording),
            ..consent(&store, mine, own, ConsentState::Granted)
        };
        gone("record_consent, wording", store.record_consent(w, &BY, mixed).await);
        gone("import", store.import(w, import.id).await);
        gone("stop_import", store.stop_import(w, &BY, import.id).await);
        gone("resume_import", store.resume_import(w, &BY, import.id).await);
        gone("refused_rows", store.refused_rows(w, import.id, &page).await);
        for (list, consent) in [(theirs.list, Default::default()), (mine.list, import.consent.clone())] {
            let mut new = crate::import::NewImport { file_name: "a.csv".into(), consent, ..Default::default() };
            new.mapping.lists = vec![list];
            gone("create_import", store.create_import(w, &BY, new).await);
        }
        gone("domain", store.domain(w, domain.id).await);
        gone("rotate_dkim_key", store.rotate_dkim_key(w, &BY, domain.id, key("s2")).await);
        gone("domain_checked", store.domain_checked(w, domain.id, &json!({})).await);
        gone("remove_domain", store.remove_domain(w, &BY, domain.id).await);
        gone("signing_key_by_id", store.signing_key_by_id(w, domain.keys[0].id).await);
        assert!(store.signing_key(w, "example.com").await.unwrap().is_none());
        gone("route", store.route(w, route.id).await);
        gone("change_route", store.change_route(w, &BY, route.id, &smarthost(), PasswordChange::Clear).await);
        gone("make_default_route", store.make_default_route(w, &BY, route.id).await);
        gone("remove_route", store.remove_route(w, &BY, route.id).await);
        gone("route_secret", store.route_secret(w, route.id).await);
        gone("take_quota", store.take_quota(&Quota::Route(w, route.id), 1, 1, 1).await);
        gone("revoke_key", store.revoke_key(w, &BY, api_key.id).await);
        gone("suppression", store.suppression(w, suppression.id).await);
        gone("lift_suppression", store.lift_suppression(w, &BY, suppression.id).await);
        gone("campaign", store.campaign(w, mail.id).await);
        gone("change_campaign", store.change_campaign(w, &BY, mail.id, mail.rev, CampaignChange::default()).await);
        gone("delete_campaign", store.delete_campaign(w, &BY, mail.id).await);
        gone("copy_campaign", store.copy_campaign(w, &BY, mail.id, "x").await);
        let routed = NewCampaign { route: Some(route.id), ..campaign(Audience::default()) };
        gone("create_campaign, route", store.create_campaign(w, &BY, routed).await);
        gone("variants", store.variants(w, mail.id).await);
        gone("variant", store.variant(w, variant.id).await);
        gone("change_variant", store.change_variant(w, &BY, variant.id, variant.rev, &Draft::default()).await);
        gone("save_version", store.save_version(w, variant.id, compiled()).await);
        gone("version", store.version(w, version).await);
        assert!(store.latest_version(w, variant.id).await.unwrap().is_none());
        gone("launch_facts", store.launch_facts(w, mail.id, &Draft::default()).await);
        gone("campaign_report", store.campaign_report(w, mail.id).await);
        gone("timeouts", store.timeouts(w, mail.id).await);
        gone("exclusions", store.exclusions(w, mail.id, &page).await);
        gone("deliveries", store.deliveries(w, DeliveriesOf::Campaign(mail.id, None), &page).await);
        gone("deliveries of a person", store.deliveries(w, DeliveriesOf::Contact(person), &page).await);
        gone("attempts", store.attempts(w, AttemptsOf::Campaign(mail.id), &page).await);
        gone("timeline", store.timeline(w, person, 10).await);
        gone("answer_of", store.answer_of(Some(w), inquiry).await);
        let out = OptOut {
            contact: person,
            out_of: OutOf::Everything,
            delivery: None,
            road: OptOutRoad::Page,
            ip: None,
            agent: None,
        };
        assert_eq!(store.opt_out(w, &Actor::Person, out).await.unwrap(), OptOutAnswer::Unknown);
        assert!(store.contact_by_mailbox(w, &mailbox("ann@example.org")).await.unwrap().is_none());
        assert!(store.ledger_entries(w, Some(person), &page).await.unwrap().items.is_empty());

        // And nothing of theirs changed.
        assert_eq!(store.contact(theirs.workspace, person).await.unwrap().mailbox, "ann@example.org");
        assert_eq!(store.list(theirs.workspace, theirs.list).await.unwrap().members, 1);
        assert_eq!(store.route_secret(theirs.workspace, route.id).await.unwrap().unwrap().reveal(), "swordfish");
        assert_eq!(store.lists(w).await.unwrap().len(), 1);
        assert_eq!(store.domains(w).await.unwrap().len() + store.routes(w).await.unwrap().len(), 0);
        assert!(store.imports(w, &page).await.unwrap().items.is_empty());
        assert!(store.campaigns(w, None, &page).await.unwrap().items.is_empty());
        assert!(store.audit(w, &page).await.unwrap().items.iter().all(|l| l.object != person.to_string()));
    }
}

/// Reads every page of a listing.
async fn all(store: &Store, place: crate::book_rig::Place, filter: &ContactFilter, limit: u32) -> Vec<ContactId> {
    let mut ids = Vec::new();
    let mut page = PageRequest::first(limit);
    loop {
        let got = store.contacts(place.workspace, filter, &page).await.unwrap();
        assert!(got.items.len() <= limit as usize);
        ids.extend(got.items.iter().map(|c| c.id));
        if got.next.is_none() {
            return ids;
        }
        page = page.after(got.next);
    }
}

#[tokio::test]
async fn pages_of_any_size_show_everybody_once() {
    for store in open_both("pages").await {
        let home = place(&store, "Home").await;
        let mut made = Vec::new();
        for text in [
            "ann@example.org",
            "Anna@example.org",
            "bob@example.org",
            "an_a@example.org",
            "an%@example.org",
            "çelik@example.org",
            "\u{10FFFD}z@example.org",
        ] {
            made.push(contact(&store, home, text).await);
        }
        let prefix = |text: &str| ContactFilter { mailbox_prefix: Some(text.into()), list: None };
        for limit in 1..9 {
            let newest: Vec<_> = made.iter().rev().copied().collect();
            assert_eq!(all(&store, home, &ContactFilter::default(), limit).await, newest);
            assert_eq!(
                all(&store, home, &ContactFilter { list: Some(home.list), mailbox_prefix: None }, limit).await,
                made
            );
            // Byte order: % before _ before letters; case is ignored.
            assert_eq!(
                all(&store, home, &prefix("AN"), limit).await,
                [made[4], made[3], made[0], made[1]],
                "{}",
                store.kind
            );
            assert_eq!(all(&store, home, &prefix("an_"), limit).await, [made[3]]);
            assert_eq!(all(&store, home, &prefix("Ç"), limit).await, [made[5]]);
            assert_eq!(all(&store, home, &prefix("\u{10FFFD}"), limit).await, [made[6]]);
        }
        assert!(all(&store, home, &prefix("a\0b"), 5).await.is_empty(), "no database error for a NUL");
        let both = ContactFilter { list: Some(home.list), mailbox_prefix: Some("bob".into()) };
        assert_eq!(all(&store, home, &both, 5).await, [made[2]]);
    }
}

#[tokio::test]
async fn a_contact_keeps_its_spelling_and_is_known_by_its_normal_form() {
    for store in open_both("contacts").await {
        let home = place(&store, "Home").await;
        let id = contact(&store, home, "Ann.Lee@Example.ORG").await;
        assert_eq!(store.contact(home.workspace, id).await.unwrap().mailbox, "Ann.Lee@example.org");
        let again = store.create_contact(home.workspace, &BY, NewContact::of(mailbox("ann.lee@example.org"))).await;
        assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
        let change = ContactChange {
            attributes: Some(Attributes::from([("name".into(), json!(null)), ("age".into(), json!(40))])),
            zone: Some(Some("Europe/Rome".into())),
            ..ContactChange::default()
        };
        let after = store.change_contact(home.workspace, &BY, id, change).await.unwrap();
        assert_eq!(after, store.contact(home.workspace, id).await.unwrap());
        assert_eq!(after.attributes, Attributes::from([("age".to_owned(), json!(40))]));
        for bad in [
            ContactChange { zone: Some(Some("Mars/Base".into())), ..ContactChange::default() },
            ContactChange { language: Some(Some("i t".into())), ..ContactChange::default() },
            ContactChange {
                attributes: Some(Attributes::from([("a".into(), json!("x\r\ny"))])),
                ..ContactChange::default()
            },
        ] {
            assert!(matches!(
                store.change_contact(home.workspace, &BY, id, bad).await,
                Err(StoreError::Refused { .. })
            ));
        }
        let other = contact(&store, home, "bob@example.org").await;
        let check = crate::contact::AddressCheck {
            state: postrider_domain::contact::AddressState::NullMx,
            marks: vec![],
            hint: None,
        };
        let taken = ContactChange {
            mailbox: Some((mailbox("ANN.lee@example.org"), check.clone())),
            ..ContactChange::default()
        };
        assert!(matches!(
            store.change_contact(home.workspace, &BY, other, taken).await,
            Err(StoreError::Conflict { .. })
        ));
        let moved = ContactChange { mailbox: Some((mailbox("bob@example.net"), check)), ..ContactChange::default() };
        assert_eq!(store.change_contact(home.workspace, &BY, other, moved).await.unwrap().domain, "example.net");
    }
}

#[tokio::test]
async fn lists_count_their_members_and_go_without_their_contacts() {
    for store in open_both("lists").await {
        let home = place(&store, "Home").await;
        let list = store.create_list(home.workspace, &BY, "Second", "for tests").await.unwrap().id;
        let mut people = Vec::new();
        for n in 0..5 {
            people.push(contact(&store, home, &format!("p{n}@example.org")).await);
        }
        assert_eq!(store.add_members(home.workspace, &BY, list, &people).await.unwrap(), 5);
        assert_eq!(store.add_members(home.workspace, &BY, list, &[people[0], people[0]]).await.unwrap(), 0);
        assert_eq!(store.remove_members(home.workspace, &BY, list, &people[..2]).await.unwrap(), 2);
        assert_eq!(store.remove_members(home.workspace, &BY, list, &people[..2]).await.unwrap(), 0);
        assert_eq!(store.list(home.workspace, list).await.unwrap().members, 3);
        assert_eq!(store.lists_of(home.workspace, people[4]).await.unwrap().len(), 2);
        store.delete_list(home.workspace, &BY, list).await.unwrap();
        assert_eq!(store.lists(home.workspace).await.unwrap().iter().map(|l| l.members).collect::<Vec<_>>(), [5]);
        assert_eq!(store.contact_count(home.workspace).await.unwrap(), 5);
    }
}

#[tokio::test]
async fn wordings_are_versions_and_workspaces_check_their_fields() {
    for store in open_both("wordings").await {
        let home = place(&store, "Home").await;
        let second = store.add_wording(home.workspace, &BY, home.purpose, "it", "Accetto.\nDavvero.").await.unwrap();
        assert_eq!((second.version, second.text_hash.len()), (2, 64));
        let versions: Vec<_> =
            store.wordings(home.workspace, home.purpose).await.unwrap().iter().map(|w| w.version).collect();
        assert_eq!(versions, [2, 1]);
        assert!(store.add_wording(home.workspace, &BY, home.purpose, "it", " ").await.is_err());
        let kinds: Vec<_> = store.purposes(home.workspace).await.unwrap().iter().map(|p| p.kind).collect();
        assert_eq!(kinds, PurposeKind::ALL);

        let change = |change: WorkspaceChange| store.change_workspace(home.workspace, &BY, change);
        for bad in [
            WorkspaceChange { public_url: Some("ftp://x".into()), ..Default::default() },
            WorkspaceChange { privacy_url: Some("https://x/\"><script>".into()), ..Default::default() },
            WorkspaceChange { time_zone: Some("Mars".into()), ..Default::default() },
            WorkspaceChange { controller_name: Some("a\r\nBcc: b".into()), ..Default::default() },
            WorkspaceChange { undo_seconds: Some(-1), ..Default::default() },
            WorkspaceChange { settings: Some(json!({"a": "\0"})), ..Default::default() },
        ] {
            let answer = change(bad.clone()).await;
            assert!(matches!(answer, Err(StoreError::Refused { .. })), "{bad:?}: {answer:?}");
        }
        let settings = json!({"deep": {"er": [1, 2.5, "ü"]}});
        let good = WorkspaceChange { hosted_copies: Some(true), settings: Some(settings), ..Default::default() };
        let after = change(good).await.unwrap();
        assert_eq!(store.workspace(home.workspace).await.unwrap(), after);
        assert_eq!(after.public_url, "https://mail.example.org", "no slash at the end");
    }
}

#[tokio::test]
async fn link_keys_rotate_and_old_links_still_verify() {
    use postrider_mail::token::OptOutToken;
    for store in open_both("linkkeys").await {
        let home = place(&store, "Home").await;
        let token = OptOutToken { workspace: home.workspace.get(), contact: 2, purpose: 3, delivery: 4 };
        let old = token.encode(&store.link_keys(home.workspace).await.unwrap().current);
        for _ in 0..3 {
            store.rotate_link_keys(home.workspace, &BY).await.unwrap();
        }
        let keys = store.link_keys(home.workspace).await.unwrap();
        assert_eq!((keys.current.id(), keys.retired.len()), (4, 3));
        assert_eq!(OptOutToken::decode(&old, &keys), Some(token), "a link made three rotations ago (LAW-43)");
        let other = place(&store, "Other").await;
        assert_eq!(OptOutToken::decode(&old, &store.link_keys(other.workspace).await.unwrap()), None);
    }
}

#[tokio::test]
async fn two_people_do_not_overwrite_each_other() {
    for store in open_both("revs").await {
        let home = place(&store, "Home").await;
        let audience = Audience { include: vec![home.list], exclude: vec![], purpose: Some(home.purpose) };
        let mail = store.create_campaign(home.workspace, &BY, campaign(audience.clone())).await.unwrap();
        let watched = Topic::Live { workspace: home.workspace, what: format!("campaign:{}", mail.id) };
        let mut rings = store.bell().listen();
        let renamed = CampaignChange { name: Some("Summer".into()), ..CampaignChange::default() };
        let after = store.change_campaign(home.workspace, &BY, mail.id, mail.rev, renamed.clone()).await.unwrap();
        assert_eq!((after.name.as_str(), after.rev, after.audience), ("Summer", mail.rev + 1, audience));
        let stale = store.change_campaign(home.workspace, &BY, mail.id, mail.rev, renamed).await;
        assert!(matches!(stale, Err(StoreError::Conflict { .. })));
        let variant = store.variants(home.workspace, mail.id).await.unwrap().remove(0);
        let draft = Draft { body: "unfinished {{".into(), ..Draft::default() };
        let saved = store.change_variant(home.workspace, &BY, variant.id, variant.rev, &draft).await.unwrap();
        assert_eq!((rings.try_recv(), rings.try_recv()), (Ok(watched.clone()), Ok(watched)), "name, then text");
        assert_eq!(saved.draft, draft, "drafts always save");
        assert!(store.change_variant(home.workspace, &BY, variant.id, variant.rev, &draft).await.is_err(), "stale");
        let nul = Draft { subject: "a\0".into(), ..Draft::default() };
        assert!(matches!(
            store.change_variant(home.workspace, &BY, variant.id, saved.rev, &nul).await,
            Err(StoreError::Refused { .. })
        ));

        let version =
            |n: u8| NewVersion { renderer: 1, hash: vec![n], compiled: vec![n; 9], uses: vec!["name".into()] };
        let first = store.save_version(home.workspace, variant.id, version(1)).await.unwrap();
        assert_eq!(store.save_version(home.workspace, variant.id, version(1)).await.unwrap(), first, "kept once");
        let second = store.save_version(home.workspace, variant.id, version(2)).await.unwrap();
        assert_eq!(store.latest_version(home.workspace, variant.id).await.unwrap(), Some(second));
        assert_eq!(store.version(home.workspace, first).await.unwrap().compiled, [1; 9]);

        let copy = store.copy_campaign(home.workspace, &BY, mail.id, "Copy").await.unwrap();
        assert_eq!(copy.copied_from, Some(mail.id));
        assert_eq!(store.variants(home.workspace, copy.id).await.unwrap()[0].draft, draft);
        store.start_campaign(home.workspace, mail.id, store.now()).await.unwrap();
        let late = store.change_variant(home.workspace, &BY, variant.id, saved.rev, &draft).await;
        assert!(matches!(late, Err(StoreError::Conflict { .. })), "no longer a draft");
        assert!(store.delete_campaign(home.workspace, &BY, mail.id).await.is_err());
        store.delete_campaign(home.workspace, &BY, copy.id).await.unwrap();
        assert_eq!(store.campaigns(home.workspace, None, &PageRequest::first(9)).await.unwrap().items.len(), 1);
    }
}

#[tokio::test]
async fn the_facts_for_a_launch_are_what_is_there() {
    for store in open_both("launch").await {
        let home = place(&store, "Home").await;
        let audience = Audience { include: vec![home.list], exclude: vec![], purpose: Some(home.purpose) };
        let mail = store.create_campaign(home.workspace, &BY, campaign(audience)).await.unwrap();
        let draft = Draft { from_mailbox: "news@example.com".into(), ..Draft::default() };
        let facts = async || store.launch_facts(home.workspace, mail.id, &draft).await.unwrap();
        let bare = facts().await;
        assert!(!bare.from_domain_signs && !bare.has_route && bare.purpose_is_usable);
        assert_eq!((bare.lists_found, bare.lists_named, bare.recipients), (1, 1, Some(0)));
        let name = DomainName::parse("example.com").unwrap();
        store.add_domain(home.workspace, &BY, &name, &name, key("s1")).await.unwrap();
        store.add_route(home.workspace, &BY, &smarthost(), None).await.unwrap();
        let ann = contact(&store, home, "ann@example.org").await;
        assert_eq!(facts().await.recipients, Some(0), "on the list, but did not agree");
        crate::book_rig::grant(&store, home, ann).await;
        let full = facts().await;
        assert!(full.from_domain_signs && full.has_route);
        assert_eq!(full.recipients, None, "somebody; how many is known at freezing");
    }
}

#[tokio::test]
async fn secrets_are_sealed_and_the_right_one_comes_back() {
    for store in open_both("secrets").await {
        let home = place(&store, "Home").await;
        let name = DomainName::parse("example.com").unwrap();
        let domain = store.add_domain(home.workspace, &BY, &name, &name, key("s1")).await.unwrap();
        assert!(matches!(
            store.add_domain(home.workspace, &BY, &name, &name, key("s2")).await,
            Err(StoreError::Conflict { .. })
        ));
        for bad in ["", "A", "a.b", "a b"] {
            assert!(store.rotate_dkim_key(home.workspace, &BY, domain.id, key(bad)).await.is_err(), "{bad}");
        }
        assert!(store.rotate_dkim_key(home.workspace, &BY, domain.id, key("s1")).await.is_err(), "taken");
        let first = store.signing_key(home.workspace, "example.com").await.unwrap().unwrap();
        assert_eq!((first.selector.as_str(), first.private.reveal()), ("s1", b"a private key".as_slice()));
        let after = store.rotate_dkim_key(home.workspace, &BY, domain.id, key("s2")).await.unwrap();
        assert_eq!(after.keys.iter().filter(|k| k.retired_at.is_none()).count(), 1);
        assert_eq!(store.signing_key(home.workspace, "example.com").await.unwrap().unwrap().selector, "s2");
        assert_eq!(
            store.signing_key_by_id(home.workspace, first.id).await.unwrap().selector,
            "s1",
            "retries keep their key"
        );
        store.domain_checked(home.workspace, domain.id, &json!({"spf": "pass"})).await.unwrap();
        assert_eq!(store.domain(home.workspace, domain.id).await.unwrap().checked, Some(json!({"spf": "pass"})));
        store.remove_domain(home.workspace, &BY, domain.id).await.unwrap();

        let secret = Secret::new("swordfish".into());
        let one = store.add_route(home.workspace, &BY, &smarthost(), Some(&secret)).await.unwrap();
        let two = store.add_route(home.workspace, &BY, &smarthost(), None).await.unwrap();
        assert!(one.is_default && !two.is_default && one.has_password && !two.has_password);
        assert!(!format!("{one:?} {secret:?}").contains("swordfish"));
        let renamed = RouteSettings { name: "Other".into(), ..smarthost() };
        let kept = store.change_route(home.workspace, &BY, one.id, &renamed, PasswordChange::Keep).await.unwrap();
        assert!(kept.has_password);
        let moved = RouteSettings { host: "evil.example.net".into(), ..smarthost() };
        let moved = store.change_route(home.workspace, &BY, one.id, &moved, PasswordChange::Keep).await.unwrap();
        assert!(!moved.has_password, "a password does not follow to another host");
        store.make_default_route(home.workspace, &BY, two.id).await.unwrap();
        assert_eq!(store.default_route(home.workspace).await.unwrap().unwrap().id, two.id);
        let refusal = async |id| match store.remove_route(home.workspace, &BY, id).await {
            Err(StoreError::Conflict { message }) => message,
            other => panic!("{}: {other:?}", store.kind),
        };
        assert!(refusal(two.id).await.contains("default"), "mail without a route of its own leaves by it");
        let named = NewCampaign {
            name: "June".into(),
            objective: Objective::Information,
            audience: Audience::default(),
            policy: None,
            route: Some(one.id),
            draft: Draft::default(),
        };
        let named = store.create_campaign(home.workspace, &BY, named).await.unwrap().id;
        assert!(refusal(one.id).await.contains("the draft “June” names it"));
        store.delete_campaign(home.workspace, &BY, named).await.unwrap();
        store.make_default_route(home.workspace, &BY, one.id).await.unwrap();
        store.remove_route(home.workspace, &BY, two.id).await.unwrap();
        assert_eq!(store.default_route(home.workspace).await.unwrap().unwrap().id, one.id);
        let quota = async |n| store.take_quota(&Quota::Route(home.workspace, one.id), 1, n, 10).await.unwrap();
        assert_eq!((quota(6).await, quota(6).await, quota(6).await), (6, 4, 0));
        assert_eq!(store.take_quota(&Quota::Route(home.workspace, one.id), 2, 6, 10).await.unwrap(), 6, "a new day");
    }
}

#[tokio::test]
async fn a_request_is_carried_out_once_and_answered_twice() {
    for store in open_both("once").await {
        let (home, other) = (place(&store, "Home").await, place(&store, "Other").await);
        let request =
            |hash: u8| OnceRequest { key: "k-1".into(), method: "POST".into(), path: "/x".into(), hash: vec![hash] };
        let begin = async |w, hash| store.begin_once(w, &request(hash)).await.unwrap();
        assert_eq!(begin(home.workspace, 1).await, Once::Fresh);
        assert_eq!(begin(home.workspace, 1).await, Once::Running);
        assert_eq!(begin(other.workspace, 1).await, Once::Fresh, "keys are each workspace's own");
        store.finish_once(home.workspace, "k-1", 201, b"{\"id\":1}").await.unwrap();
        assert_eq!(begin(home.workspace, 1).await, Once::Replay { status: 201, body: b"{\"id\":1}".to_vec() });
        assert_eq!(begin(home.workspace, 2).await, Once::Mismatch);
        store.abandon_once(other.workspace, "k-1").await.unwrap();
        assert_eq!(begin(other.workspace, 2).await, Once::Fresh);
        store.clock.advance(60_001);
        assert_eq!(begin(other.workspace, 2).await, Once::Fresh, "its process died");
        store.clock.advance(24 * 3_600_000 + 1);
        assert_eq!(begin(home.workspace, 2).await, Once::Fresh, "a day later the key is free");
        assert_eq!(store.forget_answers(100).await.unwrap(), 1);
        for bad in ["", "a b", "ä", "a\0"] {
            let bad = OnceRequest { key: bad.into(), ..request(1) };
            assert!(matches!(store.begin_once(home.workspace, &bad).await, Err(StoreError::Refused { .. })));
        }
    }
}

#[tokio::test]
async fn a_question_is_taken_once_and_its_answer_is_heard() {
    for store in open_both("inquiry").await {
        let home = place(&store, "Home").await;
        let asked = store.ask(Some(home.workspace), "route_test", &json!({"route": 1}), 15_000).await.unwrap();
        let engine = Store::clone(&store);
        let (answer, ()) =
            tokio::join!(store.wait_for_answer(Some(home.workspace), asked, Duration::from_secs(10)), async {
                let taken = engine.take_inquiry().await.unwrap().unwrap();
                assert_eq!((taken.id, taken.kind.as_str()), (asked, "route_test"));
                assert!(engine.take_inquiry().await.unwrap().is_none(), "taken once");
                engine.answer(asked, &json!({"ok": true, "said": "a\0b"})).await.unwrap();
                engine.answer(asked, &json!({"ok": false})).await.unwrap();
            });
        assert_eq!(answer.unwrap().unwrap()["ok"], true, "the first answer counts");
        let asked = store.ask(None, "x", &json!({}), 10).await.unwrap();
        assert_eq!(store.wait_for_answer(None, asked, Duration::from_millis(5)).await.unwrap(), None);
        store.clock.advance(11);
        assert!(store.take_inquiry().await.unwrap().is_none(), "nobody waits any more");
    }
}
