//! For tests of the book: a workspace with a list, a purpose and a wording, and short ways to fill it.
//!
//! Must not assert anything.

use postrider_domain::consent::{ConsentState, Evidence, LegalBasis, PurposeKind};
use postrider_domain::contact::{AddressState, Attributes};
use postrider_domain::id::{ContactId, ListId, PurposeId, WordingId, WorkspaceId};
use postrider_domain::import::{ImportConsent, Mapping};
use postrider_mail::mailbox::Mailbox;

use crate::Store;
use crate::actor::Actor;
use crate::consent::NewConsent;
use crate::contact::NewContact;
use crate::import::{Import, NewImport};
use crate::import_slice::ImportRow;
use crate::workspace::{FirstPurposes, NewWorkspace};

/// Who acts in tests.
pub(crate) const BY: Actor = Actor::Console;

/// A workspace to work in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) workspace: WorkspaceId,
    pub(crate) list: ListId,
    pub(crate) purpose: PurposeId,
    pub(crate) wording: WordingId,
}

/// A new workspace with list, purpose and wording.
pub(crate) async fn place(store: &Store, name: &str) -> Place {
    let new = NewWorkspace {
        name: name.into(),
        controller_name: format!("{name} Ltd"),
        public_url: "https://mail.example.org/".into(),
        purposes: FirstPurposes::OneOfEachKind,
        ..NewWorkspace::default()
    };
    let workspace = store.create_workspace(&BY, new).await.unwrap().id;
    let list = store.create_list(workspace, &BY, "All", "").await.unwrap().id;
    let purposes = store.purposes(workspace).await.unwrap();
    let purpose = purposes.iter().find(|p| p.kind == PurposeKind::Newsletter).unwrap().id;
    let wording = store.wordings(workspace, purpose).await.unwrap()[0].id;
    Place { workspace, list, purpose, wording }
}

pub(crate) fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

/// A contact on the list.
pub(crate) async fn contact(store: &Store, place: Place, text: &str) -> ContactId {
    let mut new = NewContact::of(mailbox(text));
    new.lists = vec![place.list];
    new.attributes = Attributes::from([("name".to_owned(), serde_json::json!("Ann"))]);
    store.create_contact(place.workspace, &BY, new).await.unwrap().id
}

/// Evidence that is good enough to grant.
pub(crate) fn evidence(store: &Store) -> Evidence {
    Evidence {
        source: "sign-up form".into(),
        basis: Some(LegalBasis::Consent),
        given_at: Some(store.now()),
        method: "page".into(),
        page: Some("https://example.org/join".into()),
        ..Evidence::default()
    }
}

/// A consent to record.
pub(crate) fn consent(store: &Store, place: Place, contact: ContactId, state: ConsentState) -> NewConsent {
    NewConsent { contact, purpose: place.purpose, state, wording: Some(place.wording), evidence: evidence(store) }
}

/// Grants.
pub(crate) async fn grant(store: &Store, place: Place, contact: ContactId) {
    let new = consent(store, place, contact, ConsentState::Granted);
    store.record_consent(place.workspace, &BY, new).await.unwrap();
}

/// An import that claims consent, running here.
pub(crate) async fn running_import(store: &Store, place: Place) -> Import {
    let new = NewImport {
        file_path: "imports/1.csv".into(),
        file_name: "people.csv".into(),
        size: 1_000_000,
        mapping: Mapping { lists: vec![place.list], ..Mapping::default() },
        consent: ImportConsent {
            source: "old newsletter".into(),
            basis: Some(LegalBasis::Consent),
            given_at: Some(store.now() - 86_400_000),
            purpose: Some(place.purpose),
            wording: Some(place.wording),
        },
    };
    store.create_import(place.workspace, &BY, new).await.unwrap();
    store.next_import(&[]).await.unwrap().unwrap()
}

/// A row of a file.
pub(crate) fn row(n: i64, text: &str, city: &str) -> ImportRow {
    let mailbox = mailbox(text);
    ImportRow {
        row: n,
        mailbox: mailbox.wire(),
        mailbox_norm: mailbox.normalised(),
        domain: mailbox.domain().as_str().to_owned(),
        attributes: Attributes::from([("city".to_owned(), serde_json::json!(city))]),
        zone: None,
        language: None,
        address_state: AddressState::Mailable,
        marks: Vec::new(),
        hint: None,
    }
}
