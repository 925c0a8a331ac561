//! Contacts of the book. Deleting one is erasure: only a keyed digest of the mailbox stays (GDPR 17).

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::consent::ConsentState;
use postrider_domain::contact::{AddressMark, AddressState, Attributes};
use postrider_domain::id::{ContactId, ListId, PurposeId};
use postrider_mail::mailbox::{Mailbox, is_disposable, is_role_account, typo_hint};
use postrider_store::StoreError;
use postrider_store::contact::{AddressCheck, Contact, ContactChange, ContactFilter, NewContact};
use serde_json::{Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, listing, paging};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::ContactsRead);
    let write = Rule::Scope(Scope::ContactsWrite);
    api.add(
        Method::GET,
        "/api/v1/contacts",
        read,
        Op::new("contacts", "list_contacts", "The contacts of the workspace")
            .about("Newest first; by mailbox with `search`, by id with `list`.")
            .query::<ContactQuery>()
            .gives_page::<ContactView>("Contacts."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/contacts",
        write,
        Op::new("contacts", "create_contact", "Add a contact")
            .about("It is not mailable before its consent is recorded. The domain is looked up later, by the engine.")
            .takes::<ContactInput>(json!({
                "mailbox": "Carla@example.org", "attributes": { "first_name": "Carla" }, "language": "it", "source": "shop"
            }))
            .gives::<ContactView>(201, "The contact.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/contacts/{contact}",
        read,
        Op::new("contacts", "get_contact", "One contact").gives::<ContactView>(200, "The contact."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/contacts/{contact}",
        write,
        Op::new("contacts", "change_contact", "Change a contact")
            .about("Fields that are not named stay. An attribute with the value null is taken away; others stay.")
            .takes::<ContactPatch>(json!({ "attributes": { "first_name": "Carla Maria" }, "zone": "Europe/Rome" }))
            .gives::<ContactView>(200, "The contact as it is now."),
        change,
    );
    api.add(
        Method::DELETE,
        "/api/v1/contacts/{contact}",
        write,
        Op::new("contacts", "erase_contact", "Erase a contact")
            .about("The mailbox, its attributes and the evidence go; a keyed digest stays, so that it is not written to again.")
            .gives_nothing("It is erased."),
        erase,
    );
    api.add(
        Method::GET,
        "/api/v1/contacts/{contact}/lists",
        read,
        Op::new("contacts", "contact_lists", "The lists that a contact is on").gives_list::<ContactList>("Lists."),
        lists,
    );
}

/// Which contacts are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ContactQuery {
    /// Mailboxes that begin with this text.
    search: Option<String>,
    /// Members of this list only.
    #[param(value_type = Option<s::ListId>)]
    list: Option<ListId>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// A contact to be added.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ContactInput {
    /// The mailbox; its spelling is kept.
    mailbox: String,
    /// Texts, numbers, true or false by name (a-z, 0-9, _).
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Attributes,
    /// IANA zone.
    zone: Option<String>,
    /// Language tag (BCP 47).
    language: Option<String>,
    /// Where it comes from, in words.
    source: Option<String>,
    /// Lists that it joins.
    #[serde(default)]
    #[schema(value_type = Vec<s::ListId>)]
    lists: Vec<ListId>,
}

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ContactPatch {
    /// The revision that was looked at; with another one stored, nothing is changed (409 `outdated`).
    rev: Option<i64>,
    /// Another mailbox.
    mailbox: Option<String>,
    /// Attributes to set; null takes one away.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Attributes>,
    /// Another zone; null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    zone: Option<Option<String>>,
    /// Another language; null takes it away.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    language: Option<Option<String>>,
}

/// Tells a null from a field that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    <Option<String> as serde::Deserialize>::deserialize(deserializer).map(Some)
}

/// A contact.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct ContactView {
    /// Its id.
    #[schema(value_type = s::ContactId)]
    id: ContactId,
    /// The mailbox as it was spelt.
    mailbox: String,
    /// Attributes by name.
    #[schema(value_type = Object)]
    attributes: Value,
    /// IANA zone.
    zone: Option<String>,
    /// Language tag.
    language: Option<String>,
    /// What the look at the domain found.
    #[schema(value_type = s::AddressState)]
    address_state: AddressState,
    /// `role`, `disposable`, `typo`.
    marks: Vec<String>,
    /// The domain that was probably meant.
    hint: Option<String>,
    /// Where it came from.
    source: Option<String>,
    /// When it came into the book.
    created_at: Time,
    /// When it changed last.
    updated_at: Time,
    /// Give it back with a change, so that nothing is overwritten that somebody else wrote meanwhile.
    rev: i64,
    /// What was said for each purpose of which anything is known.
    consents: Vec<ConsentMark>,
}

/// How a consent of a contact stands.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct ConsentMark {
    /// The purpose.
    #[schema(value_type = s::PurposeId)]
    purpose: PurposeId,
    /// How it stands.
    #[schema(value_type = s::ConsentState)]
    state: ConsentState,
}

impl ContactView {
    /// Fills in the consents of contacts that are shown.
    async fn with_consents(web: &Web, caller: &Caller, views: &mut [ContactView]) -> Result<(), Problem> {
        let ids: Vec<ContactId> = views.iter().map(|view| view.id).collect();
        for (contact, purpose, state) in web.store().consents_of_many(caller.workspace, &ids).await? {
            if let Some(view) = views.iter_mut().find(|view| view.id == contact) {
                view.consents.push(ConsentMark { purpose, state });
            }
        }
        Ok(())
    }

    async fn whole(web: &Web, caller: &Caller, contact: Contact) -> Result<axum::Json<ContactView>, Problem> {
        let mut views = [ContactView::from(contact)];
        ContactView::with_consents(web, caller, &mut views).await?;
        let [view] = views;
        Ok(axum::Json(view))
    }
}

impl From<Contact> for ContactView {
    fn from(c: Contact) -> ContactView {
        ContactView {
            id: c.id,
            mailbox: c.mailbox,
            attributes: c.attributes.into_iter().collect::<serde_json::Map<_, _>>().into(),
            zone: c.zone,
            language: c.language,
            address_state: c.address_state,
            marks: c.marks.iter().map(ToString::to_string).collect(),
            hint: c.hint,
            source: c.source,
            created_at: Time(c.created_at),
            updated_at: Time(c.updated_at),
            rev: c.rev,
            consents: Vec::new(),
        }
    }
}

/// A list that a contact is on.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ContactList {
    /// Its id.
    #[schema(value_type = s::ListId)]
    id: ListId,
    /// Its name.
    name: String,
}

impl From<(ListId, String)> for ContactList {
    fn from((id, name): (ListId, String)) -> ContactList {
        ContactList { id, name }
    }
}

/// Reads a mailbox that a person wrote.
pub fn mailbox(text: &str) -> Result<Mailbox, Problem> {
    Mailbox::parse(text.trim()).map_err(|error| Problem::refused(format!("the mailbox is not usable: {error}")))
}

/// What can be said about a mailbox without DNS; the engine looks at the domain later.
pub fn check(mailbox: &Mailbox) -> AddressCheck {
    let mut marks = Vec::new();
    if is_role_account(mailbox.local()) {
        marks.push(AddressMark::Role);
    }
    if is_disposable(mailbox.domain()) {
        marks.push(AddressMark::Disposable);
    }
    let hint = typo_hint(mailbox.domain());
    if hint.is_some() {
        marks.push(AddressMark::Typo);
    }
    AddressCheck { state: AddressState::Unchecked, marks, hint: hint.map(str::to_owned) }
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<ContactQuery>) -> Listed<ContactView> {
    let page = paging(query.limit, query.cursor)?;
    let filter = ContactFilter { mailbox_prefix: query.search.filter(|s| !s.is_empty()), list: query.list };
    let mut page = listing(web.store().contacts(caller.workspace, &filter, &page).await?);
    ContactView::with_consents(&web, &caller, &mut page.items).await?;
    Ok(page)
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<ContactInput>) -> Result<Response, Problem> {
    let mailbox = mailbox(&input.mailbox)?;
    let found = check(&mailbox);
    let new = NewContact {
        mailbox,
        attributes: input.attributes,
        zone: input.zone,
        language: input.language,
        address_state: found.state,
        marks: found.marks,
        hint: found.hint,
        source: input.source,
        lists: input.lists,
    };
    let made = web.store().create_contact(caller.workspace, &caller.actor, new).await?;
    Ok((StatusCode::CREATED, axum::Json(ContactView::from(made))).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ContactId>,
) -> Result<axum::Json<ContactView>, Problem> {
    let contact = web.store().contact(caller.workspace, id).await?;
    ContactView::whole(&web, &caller, contact).await
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ContactId>,
    Json(input): Json<ContactPatch>,
) -> Result<axum::Json<ContactView>, Problem> {
    let mailbox = input.mailbox.as_deref().map(mailbox).transpose()?;
    let change = ContactChange {
        rev: input.rev,
        mailbox: mailbox.map(|mailbox| {
            let found = check(&mailbox);
            (mailbox, found)
        }),
        attributes: input.attributes,
        zone: input.zone,
        language: input.language,
    };
    match web.store().change_contact(caller.workspace, &caller.actor, id, change).await {
        Ok(changed) => ContactView::whole(&web, &caller, changed).await,
        Err(StoreError::Conflict { message }) => {
            let present = web.store().contact(caller.workspace, id).await?;
            if input.rev.is_none_or(|rev| rev == present.rev) {
                return Err(StoreError::Conflict { message }.into());
            }
            let present = ContactView::whole(&web, &caller, present).await?.0;
            Err(Problem::outdated(
                "somebody else, or an import, changed this contact in the meantime: nothing was overwritten. `current` is \
                 what is stored now; repeat the change with its `rev`",
                serde_json::to_value(present).map_err(|_| Problem::internal())?,
            ))
        }
        Err(error) => Err(error.into()),
    }
}

async fn erase(State(web): State<Web>, caller: Caller, Path(id): Path<ContactId>) -> Result<StatusCode, Problem> {
    web.store().erase_contact(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn lists(State(web): State<Web>, caller: Caller, Path(id): Path<ContactId>) -> Listed<ContactList> {
    Ok(crate::page::whole(web.store().lists_of(caller.workspace, id).await?))
}
