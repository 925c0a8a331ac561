//! Saved views of the contacts, the attributes that exist, and how many contacts there are: what the table of contacts needs.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::{ListId, ViewId};
use postrider_store::contact::ContactFilter;
use postrider_store::saved_view::SavedView;
use serde_json::{Map, Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::ContactsRead);
    let write = Rule::Scope(Scope::ContactsWrite);
    api.add(
        Method::GET,
        "/api/v1/views",
        read,
        Op::new("contacts", "list_views", "The saved views of the contacts").gives_list::<ViewView>("By name."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/views",
        write,
        Op::new("contacts", "create_view", "Save a view of the contacts")
            .takes::<ViewInput>(json!({ "name": "Readers at example.org", "query": { "search": "anna" } }))
            .gives::<ViewView>(201, "The view.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/views/{view}",
        read,
        Op::new("contacts", "get_view", "One saved view").gives::<ViewView>(200, "The view."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/views/{view}",
        write,
        Op::new("contacts", "change_view", "Change name or query of a saved view")
            .takes::<ViewPatch>(json!({ "name": "Readers" }))
            .gives::<ViewView>(200, "The view as it is now."),
        change,
    );
    api.add(
        Method::DELETE,
        "/api/v1/views/{view}",
        write,
        Op::new("contacts", "delete_view", "Delete a saved view; its contacts stay").gives_nothing("It is gone."),
        delete,
    );
    api.add(
        Method::GET,
        "/api/v1/attributes",
        read,
        Op::new("contacts", "list_attributes", "The names of the attributes that contacts have")
            .about("From the newest and the oldest thousand contacts and the columns of the newest imports.")
            .gives::<AttributesView>(200, "Names and how common they are."),
        attributes,
    );
    api.add(
        Method::GET,
        "/api/v1/contacts/count",
        read,
        Op::new("contacts", "count_contacts", "How many contacts a listing would show")
            .query::<CountQuery>()
            .gives::<CountView>(200, "The number."),
        count,
    );
}

/// A view to be saved.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ViewInput {
    /// Its name, unique in the workspace.
    name: String,
    /// The filters, in a form of the caller's own: at most 16 KiB.
    #[schema(value_type = Object)]
    query: Map<String, Value>,
}

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ViewPatch {
    /// Another name.
    name: Option<String>,
    /// Another query.
    #[schema(value_type = Option<Object>)]
    query: Option<Map<String, Value>>,
}

/// A saved view.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ViewView {
    /// Its id.
    #[schema(value_type = s::ViewId)]
    id: ViewId,
    /// Its name.
    name: String,
    /// The filters.
    #[schema(value_type = Object)]
    query: Map<String, Value>,
    /// When it was made.
    created_at: Time,
    /// When it was changed last.
    updated_at: Time,
}

impl From<SavedView> for ViewView {
    fn from(v: SavedView) -> ViewView {
        ViewView {
            id: v.id,
            name: v.name,
            query: v.query,
            created_at: Time(v.created_at),
            updated_at: Time(v.updated_at),
        }
    }
}

/// The attributes that contacts have.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct AttributesView {
    /// Contacts that were looked at; shares are of these.
    sampled: i64,
    /// The attributes, the most common first.
    items: Vec<AttributeView>,
}

/// An attribute.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct AttributeView {
    /// Its name, as texts use it.
    name: String,
    /// The share of the sampled contacts that have a value, 0 to 1.
    share: f64,
}

/// Which contacts are counted: the filters of the listing.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct CountQuery {
    /// Mailboxes that begin with this text.
    search: Option<String>,
    /// Members of this list only.
    #[param(value_type = Option<s::ListId>)]
    list: Option<ListId>,
    /// Whether all are counted however many there are, as an act on all of them needs it.
    exact: Option<bool>,
}

/// How many contacts there are.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct CountView {
    /// The number.
    count: i64,
    /// Whether there may be more: a search stops counting at 100,000.
    at_least: bool,
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<ViewView> {
    Ok(whole(web.store().views(caller.workspace).await?))
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<ViewInput>) -> Result<Response, Problem> {
    let made = web.store().create_view(caller.workspace, &caller.actor, &input.name, &input.query).await?;
    Ok((StatusCode::CREATED, axum::Json(ViewView::from(made))).into_response())
}

async fn get(State(web): State<Web>, caller: Caller, Path(id): Path<ViewId>) -> Result<axum::Json<ViewView>, Problem> {
    Ok(axum::Json(web.store().view(caller.workspace, id).await?.into()))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ViewId>,
    Json(input): Json<ViewPatch>,
) -> Result<axum::Json<ViewView>, Problem> {
    let view = web
        .store()
        .change_view(caller.workspace, &caller.actor, id, input.name.as_deref(), input.query.as_ref())
        .await?;
    Ok(axum::Json(view.into()))
}

async fn delete(State(web): State<Web>, caller: Caller, Path(id): Path<ViewId>) -> Result<StatusCode, Problem> {
    web.store().delete_view(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn attributes(State(web): State<Web>, caller: Caller) -> Result<axum::Json<AttributesView>, Problem> {
    let found = web.store().attributes(caller.workspace).await?;
    let of = f64::from(u32::try_from(found.sampled.max(1)).unwrap_or(u32::MAX));
    let share = |n: i64| f64::from(u32::try_from(n).unwrap_or(0)) / of;
    let mut items: Vec<AttributeView> =
        found.with_value.into_iter().map(|(name, n)| AttributeView { name, share: share(n) }).collect();
    items.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    Ok(axum::Json(AttributesView { sampled: found.sampled, items }))
}

async fn count(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<CountQuery>,
) -> Result<axum::Json<CountView>, Problem> {
    let filter = ContactFilter { mailbox_prefix: query.search, list: query.list };
    if query.exact == Some(true) {
        let count = web.store().count_all_contacts(caller.workspace, &filter).await?;
        return Ok(axum::Json(CountView { count, at_least: false }));
    }
    let found = web.store().count_contacts(caller.workspace, &filter).await?;
    Ok(axum::Json(CountView { count: found.count, at_least: found.at_least }))
}
