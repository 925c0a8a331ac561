//! What the pages ask for, on both databases: counts before sending, curves, kept texts, templates, views, roles.

use std::collections::BTreeMap;

use postrider_domain::access::Role;
use postrider_domain::campaign::{Audience, Draft, Objective};
use postrider_domain::consent::PurposeKind;
use postrider_domain::gate::Withheld;
use postrider_domain::outcome::Outcome;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::{ExclusionPolicy, RouteSettings};
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use postrider_mail::mailbox::DomainName;

use crate::account::NewAccount;
use crate::book_rig::{BY, contact, grant, mailbox, place, row, running_import};
use crate::campaign::NewCampaign;
use crate::contact::ContactFilter;
use crate::db::Lane;
use crate::error::StoreError;
use crate::import_slice::SliceProgress;
use crate::page::PageRequest;
use crate::queue_rig::{Rig, SITE, freeze_all};
use crate::read::to_json;
use crate::route::PasswordChange;
use crate::secret::Secret;
use crate::settle::Next;
use crate::sql::{args, sql};
use crate::suppression::{NewSuppression, Whom};
use crate::template::{NewTemplate, TemplateChange};
use crate::testing::{TestStore, open_both, write_book};

fn policy() -> RetryPolicy {
    RetryPolicy::preset("rehearsal").unwrap()
}

async fn run(store: &TestStore, statement: crate::sql::Sql, args: Vec<crate::sql::Value>) {
    let mut tx = store.begin(Lane::Web).await.unwrap();
    tx.execute(statement, args).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_count_on_the_button_is_what_freezing_then_does() {
    for store in open_both("button").await {
        let book = write_book(&store, 60, &policy()).await.unwrap();
        let w = book.workspace;
        // A second list in that overlaps, and one out.
        let (more, out) = (
            store.create_list(w, &BY, "More", "").await.unwrap().id,
            store.create_list(w, &BY, "Out", "").await.unwrap().id,
        );
        store.add_members(w, &BY, more, &book.contacts[..7]).await.unwrap();
        store.add_members(w, &BY, out, &book.contacts[5..9]).await.unwrap();
        let audience = Audience { include: vec![book.list, more], exclude: vec![out], purpose: Some(book.purpose) };
        run(
            &store,
            sql!("UPDATE campaign SET audience = {jsonb $2} WHERE id = $1"),
            args![book.campaign, to_json(&audience)],
        )
        .await;
        for (i, state) in [(10, "withdrawn"), (11, "requested"), (12, "refused"), (20, "withdrawn")] {
            run(&store, sql!("UPDATE consent SET state = $2 WHERE contact_id = $1"), args![book.contacts[i], state])
                .await;
        }
        run(&store, sql!("DELETE FROM consent WHERE contact_id = $1"), args![book.contacts[13]]).await;
        run(&store, sql!("UPDATE contact SET address_state = 'null_mx' WHERE id = $1"), args![book.contacts[14]]).await;
        let suppress = async |whom, scope, until| {
            let new = NewSuppression {
                whom,
                reason: SuppressionReason::Manual,
                scope: Some(scope),
                source: "test".into(),
                until,
                delivery: None,
            };
            store.suppress(w, &BY, new).await.unwrap().id
        };
        let person = |i: usize| Whom::Mailbox(mailbox(&format!("person{i}@d{}.example", i % 10)));
        suppress(person(15), SuppressionScope::Marketing, None).await;
        suppress(person(16), SuppressionScope::All, None).await;
        // Suppressed and without consent: one reason only. On the list out: none.
        suppress(person(20), SuppressionScope::Marketing, None).await;
        suppress(person(6), SuppressionScope::Marketing, None).await;
        suppress(person(17), SuppressionScope::Marketing, Some(store.now() + 1)).await;
        suppress(Whom::Domain(DomainName::parse("d9.example").unwrap()), SuppressionScope::Marketing, None).await;
        // Both by itself and with its domain.
        suppress(person(19), SuppressionScope::Marketing, None).await;
        // Of an erased person only the digest is left.
        let nameless = suppress(person(18), SuppressionScope::Marketing, None).await;
        run(&store, sql!("UPDATE suppression SET mailbox_norm = NULL WHERE id = $1"), args![nameless]).await;
        store.clock.advance(10);

        let count = store.audience_count(w, book.campaign).await.unwrap();
        let node = store.register_node().await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        assert_eq!(count.named, freezer.total() as i64, "{}", store.kind);
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), count.recipients, "{} {count:?}", store.kind);
        let frozen: BTreeMap<Withheld, i64> = store
            .campaign_counts(w, book.campaign)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|(name, n)| Some((Withheld::parse(name.strip_prefix("excluded:")?)?, n)))
            .collect();
        assert_eq!(count.excluded, frozen, "{}", store.kind);
        assert_eq!(count.excluded[&Withheld::Suppressed], 10, "four by name, six with their domain");
        assert_eq!(count.excluded[&Withheld::Duplicate], 7);
        assert!(matches!(
            store.audience_count(place(&store, "Other").await.workspace, book.campaign).await,
            Err(StoreError::NotFound { .. })
        ));
    }
}

#[tokio::test]
async fn a_route_may_leave_out_whoever_opted_out_of_anything() {
    for store in open_both("global").await {
        let book = write_book(&store, 12, &policy()).await.unwrap();
        let w = book.workspace;
        let mut settings: RouteSettings =
            serde_json::from_str(r#"{"name": "mx", "kind": "mx", "tls": "opportunistic"}"#).unwrap();
        assert_eq!(settings.exclusion, ExclusionPolicy::Campaign, "as routes from before had it");
        let route = store.add_route(w, &BY, &settings, None).await.unwrap().id;
        let other = store.create_purpose(w, &BY, PurposeKind::Commercial, "Offers").await.unwrap().id;
        let tracking = store.create_purpose(w, &BY, PurposeKind::Tracking, "Tracking").await.unwrap().id;
        for (contact, purpose) in [(book.contacts[0], other), (book.contacts[1], other), (book.contacts[2], tracking)] {
            run(
                &store,
                sql!(
                    "INSERT INTO consent (contact_id, purpose_id, workspace_id, state, since, ledger_seq) \
                     VALUES ($1, $2, $3, 'withdrawn', 0, 0)"
                ),
                args![contact, purpose, w],
            )
            .await;
        }
        assert_eq!(store.audience_count(w, book.campaign).await.unwrap().recipients, 12);
        settings.exclusion = ExclusionPolicy::Global;
        store.change_route(w, &BY, route, &settings, PasswordChange::Keep).await.unwrap();
        let count = store.audience_count(w, book.campaign).await.unwrap();
        assert_eq!((count.recipients, count.excluded[&Withheld::Withdrawn]), (10, 2), "{}", store.kind);
        let node = store.register_node().await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), 10, "{}", store.kind);
    }
}

#[tokio::test]
async fn nobody_named_is_nobody_counted() {
    for store in open_both("nobody").await {
        let book = write_book(&store, 3, &policy()).await.unwrap();
        run(
            &store,
            sql!("UPDATE campaign SET audience = {jsonb $2} WHERE id = $1"),
            args![book.campaign, to_json(&Audience::default())],
        )
        .await;
        let count = store.audience_count(book.workspace, book.campaign).await.unwrap();
        assert_eq!((count.named, count.recipients, count.excluded.len()), (0, 0, 0));
    }
}

#[tokio::test]
async fn the_curve_says_when_what_happened() {
    for store in open_both("curve").await {
        let rig = Rig::start(&store, 6, &policy()).await;
        let (w, c) = (rig.book.workspace, rig.book.campaign);
        assert_eq!(store.series(w, c).await.unwrap().points, []);
        let ids = rig.deliveries().await;
        let begin = store.now();
        rig.settle(ids[0], Next::Done(Outcome::Accepted)).await;
        rig.settle(ids[1], Next::Done(Outcome::Accepted)).await;
        rig.settle(ids[2], Next::Later { ready_at: begin + 60_000 }).await;
        store.clock.advance(5 * 60_000);
        rig.settle(ids[2], Next::Done(Outcome::Rejected)).await;
        rig.settle(ids[3], Next::Done(Outcome::Expired)).await;
        let series = store.series(w, c).await.unwrap();
        assert_eq!(series.minutes, 1);
        assert_eq!(series.points.len(), 2, "{series:?}");
        let (a, b) = (series.points[0], series.points[1]);
        assert_eq!((a.accepted, a.deferred, a.rejected, a.expired), (2, 1, 0, 0), "{}", store.kind);
        assert_eq!((b.accepted, b.deferred, b.rejected, b.expired), (0, 0, 1, 1), "{}", store.kind);
        assert_eq!(a.at, begin - begin % 60_000);
        assert_eq!(b.at - a.at, 5 * 60_000);
        let sum =
            |points: &[crate::series::Moment]| points.iter().map(|p| p.accepted + p.rejected + p.expired).sum::<i64>();
        assert_eq!(sum(&store.quarters(w, begin - 86_400_000).await.unwrap()), 4);
        assert_eq!(sum(&store.quarters(w, begin + 86_400_000).await.unwrap()), 0);
        // Days later the stretches are wider, and still few.
        store.clock.advance(3 * 86_400_000);
        rig.settle(ids[4], Next::Done(Outcome::Accepted)).await;
        let series = store.series(w, c).await.unwrap();
        assert!(series.minutes >= 36 && series.points.len() <= 3, "{series:?}");
        assert_eq!(sum(&series.points), 5);
        let other = place(&store, "Other").await.workspace;
        assert!(store.series(other, c).await.is_err());
        assert_eq!(store.quarters(other, 0).await.unwrap(), []);
    }
}

fn letter(subject: &str) -> Draft {
    Draft { subject: subject.into(), body: format!("<p>{subject}</p>"), ..Draft::default() }
}

async fn campaign(store: &TestStore, workspace: postrider_domain::id::WorkspaceId) -> postrider_domain::id::CampaignId {
    let new = NewCampaign {
        name: "Letter".into(),
        objective: Objective::Information,
        audience: Audience::default(),
        policy: None,
        route: None,
        draft: letter("one"),
    };
    store.create_campaign(workspace, &BY, new).await.unwrap().id
}

#[tokio::test]
async fn each_saved_text_is_kept_and_old_ones_thin_out() {
    for store in open_both("history").await {
        let w = place(&store, "Home").await.workspace;
        let id = campaign(&store, w).await;
        let variant = store.variants(w, id).await.unwrap()[0].id;
        for i in 2..=30 {
            store.clock.advance(2_000);
            store.change_variant(w, &BY, variant, i - 1, &letter(&format!("text {i}"))).await.unwrap();
        }
        let kept = store.revisions(w, variant).await.unwrap();
        let revs: Vec<i64> = kept.iter().map(|r| r.rev).collect();
        assert_eq!(revs[..10], [30, 29, 28, 27, 26, 25, 24, 23, 22, 21], "{}", store.kind);
        assert!(revs.len() < 13, "{revs:?}");
        assert_eq!(kept[0].subject, "text 30");
        assert!(kept[0].size > 20);
        assert_eq!(store.revision(w, variant, 25).await.unwrap().draft, letter("text 25"));
        let thinned = (1..=30).find(|rev| !revs.contains(rev)).unwrap();
        assert!(matches!(store.revision(w, variant, thinned).await, Err(StoreError::NotFound { .. })));
        let other = place(&store, "Other").await.workspace;
        assert!(matches!(store.revision(other, variant, 30).await, Err(StoreError::NotFound { .. })));
        assert_eq!(store.revisions(other, variant).await.unwrap(), []);
        store.delete_campaign(w, &BY, id).await.unwrap();
    }
}

#[tokio::test]
async fn templates_have_languages_and_a_group_has_each_once() {
    for store in open_both("template").await {
        let (w, other) = (place(&store, "Home").await.workspace, place(&store, "Other").await.workspace);
        let new = |language: &str, group| NewTemplate {
            name: "Letter".into(),
            language: language.into(),
            group,
            draft: letter(language),
        };
        let en = store.create_template(w, &BY, new("en", None)).await.unwrap();
        let it = store.create_template(w, &BY, new("it", Some(en.row.id))).await.unwrap();
        let pl = store.create_template(w, &BY, new("pl", Some(it.row.id))).await.unwrap();
        assert_eq!((it.row.group, pl.row.group), (en.row.id, en.row.id));
        let again = store.create_template(w, &BY, new("it", Some(en.row.id))).await;
        assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
        let foreign = store.create_template(other, &BY, new("de", Some(en.row.id))).await;
        assert!(matches!(foreign, Err(StoreError::NotFound { .. })));
        store.create_template(w, &BY, new("en", None)).await.unwrap();
        let listed = store.templates(w, Some(pl.row.id), &PageRequest::first(10)).await.unwrap();
        assert_eq!(listed.items.iter().map(|t| t.id).collect::<Vec<_>>(), [pl.row.id, it.row.id, en.row.id]);
        assert_eq!(store.templates(w, None, &PageRequest::first(10)).await.unwrap().items.len(), 4);
        let change = TemplateChange { draft: Some(letter("new")), ..TemplateChange::default() };
        let changed = store.change_template(w, &BY, it.row.id, 1, change.clone()).await.unwrap();
        assert_eq!((changed.row.rev, changed.row.subject.as_str(), changed.draft), (2, "new", letter("new")));
        assert!(matches!(
            store.change_template(w, &BY, it.row.id, 1, change.clone()).await,
            Err(StoreError::Conflict { .. })
        ));
        assert!(store.change_template(other, &BY, it.row.id, 2, change).await.is_err());
        let clash = TemplateChange { language: Some("en".into()), ..TemplateChange::default() };
        assert!(matches!(store.change_template(w, &BY, it.row.id, 2, clash).await, Err(StoreError::Conflict { .. })));
        let renamed = TemplateChange { name: Some("Lettera".into()), ..TemplateChange::default() };
        let renamed = store.change_template(w, &BY, it.row.id, 2, renamed).await.unwrap();
        assert_eq!((renamed.row.name.as_str(), renamed.draft), ("Lettera", letter("new")));
        // The group outlives its first template.
        store.delete_template(w, &BY, en.row.id).await.unwrap();
        assert!(store.delete_template(other, &BY, it.row.id).await.is_err());
        assert_eq!(store.template(w, it.row.id).await.unwrap().row.group, en.row.id);
    }
}

#[tokio::test]
async fn views_are_named_once_and_contacts_counted_as_listed() {
    for store in open_both("views").await {
        let (home, other) = (place(&store, "Home").await, place(&store, "Other").await);
        let query = serde_json::json!({ "search": "an" }).as_object().unwrap().clone();
        let view = store.create_view(home.workspace, &BY, "Ann", &query).await.unwrap();
        assert!(matches!(
            store.create_view(home.workspace, &BY, "Ann", &query).await,
            Err(StoreError::Conflict { .. })
        ));
        store.create_view(other.workspace, &BY, "Ann", &query).await.unwrap();
        let second = store.create_view(home.workspace, &BY, "Bea", &query).await.unwrap();
        assert!(store.change_view(home.workspace, &BY, second.id, Some("Ann"), None).await.is_err());
        assert!(store.change_view(other.workspace, &BY, second.id, Some("Cec"), None).await.is_err());
        let changed = store.change_view(home.workspace, &BY, second.id, Some("Cec"), None).await.unwrap();
        assert_eq!((changed.name.as_str(), &changed.query), ("Cec", &query));
        assert_eq!(store.views(home.workspace).await.unwrap().len(), 2);
        store.delete_view(home.workspace, &BY, view.id).await.unwrap();
        assert!(store.delete_view(home.workspace, &BY, view.id).await.is_err());

        for who in ["anna@example.org", "andrea@example.org", "bruno@example.org"] {
            contact(&store, home, who).await;
        }
        contact(&store, other, "anita@example.org").await;
        let count = async |prefix: Option<&str>, list| {
            let filter = ContactFilter { mailbox_prefix: prefix.map(str::to_owned), list };
            store.count_contacts(home.workspace, &filter).await.unwrap().count
        };
        assert_eq!(count(None, None).await, 3);
        assert_eq!(count(Some("AN"), None).await, 2);
        assert_eq!(count(Some("an"), Some(home.list)).await, 2);
        assert_eq!(count(None, Some(home.list)).await, 3);
        let filter = ContactFilter { mailbox_prefix: None, list: Some(other.list) };
        assert!(store.count_contacts(home.workspace, &filter).await.is_err());
        let known = store.attributes(home.workspace).await.unwrap();
        assert_eq!((known.sampled, known.with_value["name"]), (3, 3), "{}", store.kind);
    }
}

#[tokio::test]
async fn a_dry_run_meets_the_book_without_touching_it() {
    for store in open_both("meet").await {
        let home = place(&store, "Home").await;
        contact(&store, home, "anna@example.org").await;
        let import = running_import(&store, home).await;
        let rows = [row(1, "carl@example.net", "Como")];
        store.upsert_rows(&import, &rows, &[], SliceProgress { from: 0, to: 10 }).await.unwrap();
        let new = NewSuppression {
            whom: Whom::Mailbox(mailbox("dora@example.org")),
            reason: SuppressionReason::OptOut,
            scope: None,
            source: "test".into(),
            until: None,
            delivery: None,
        };
        store.suppress(home.workspace, &BY, new).await.unwrap();
        let asked: Vec<(String, String)> =
            ["anna@example.org", "carl@example.net", "dora@example.org", "new@example.org"]
                .iter()
                .map(|m| (mailbox(m).normalised(), mailbox(m).domain().as_str().to_owned()))
                .collect();
        let met = store.meet(home.workspace, &asked).await.unwrap();
        assert_eq!((met.known, met.suppressed), (2, 1), "{}", store.kind);
        let other = place(&store, "Other").await.workspace;
        let met = store.meet(other, &asked).await.unwrap();
        assert_eq!((met.known, met.suppressed), (0, 0));
    }
}

#[tokio::test]
async fn the_last_administrator_keeps_the_role() {
    for store in open_both("lastadmin").await {
        let w = place(&store, "Home").await.workspace;
        let account = |name: &str| NewAccount {
            mailbox: format!("{name}@example.org"),
            name: name.into(),
            password: Secret::new("correct horse battery".to_owned()),
        };
        let ann = store.create_account(w, &BY, account("ann"), Role::Administrator).await.unwrap();
        let demote = store.set_role(w, &BY, "ann@example.org", Role::Viewer).await;
        assert!(matches!(&demote, Err(StoreError::Conflict { message }) if message.contains("first")), "{demote:?}");
        assert!(matches!(store.remove_role(w, &BY, ann).await, Err(StoreError::Conflict { .. })));
        store.create_account(w, &BY, account("bob"), Role::Editor).await.unwrap();
        assert!(store.set_role(w, &BY, "ann@example.org", Role::Viewer).await.is_err(), "an editor does not count");
        store.set_role(w, &BY, "bob@example.org", Role::Administrator).await.unwrap();
        store.set_role(w, &BY, "ann@example.org", Role::Viewer).await.unwrap();
        // A disabled account administers nothing.
        store.set_role(w, &BY, "ann@example.org", Role::Administrator).await.unwrap();
        store.disable_account("ann@example.org").await.unwrap();
        assert!(store.set_role(w, &BY, "bob@example.org", Role::Editor).await.is_err());
        // Who is no administrator can always go.
        store.remove_role(w, &BY, ann).await.unwrap();
    }
}

#[tokio::test]
async fn the_first_page_knows_what_is_there() {
    for store in open_both("home").await {
        let home = place(&store, "Home").await;
        let facts = store.home(home.workspace).await.unwrap();
        assert!(!facts.has_route && !facts.has_consent && !facts.has_campaign && facts.contacts == 0);
        let person = contact(&store, home, "anna@example.org").await;
        grant(&store, home, person).await;
        campaign(&store, home.workspace).await;
        let import = running_import(&store, home).await;
        store.stop_import(home.workspace, &BY, import.id).await.unwrap();
        let facts = store.home(home.workspace).await.unwrap();
        assert!(facts.has_consent && facts.has_campaign && !facts.has_sent && facts.contacts == 1, "{}", store.kind);
        assert_eq!(facts.imports.iter().map(|i| i.id).collect::<Vec<_>>(), [import.id]);
        assert!(store.home(place(&store, "Other").await.workspace).await.unwrap().imports.is_empty());
    }
}
