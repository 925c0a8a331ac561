//! Lists: fixed memberships. Being on a list is not consent.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::{ContactId, ListId};
use postrider_store::list::List;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path};
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
        "/api/v1/lists",
        read,
        Op::new("lists", "list_lists", "The lists of the workspace").gives_list::<ListView>("The lists, oldest first."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/lists",
        write,
        Op::new("lists", "create_list", "Make a list")
            .takes::<ListInput>(json!({ "name": "Regulars", "description": "Who buys each week" }))
            .gives::<ListView>(201, "The list.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/lists/{list}",
        read,
        Op::new("lists", "get_list", "One list").gives::<ListView>(200, "The list."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/lists/{list}",
        write,
        Op::new("lists", "change_list", "Change name or description")
            .takes::<ListPatch>(json!({ "name": "Regular guests" }))
            .gives::<ListView>(200, "The list as it is now."),
        change,
    );
    api.add(
        Method::DELETE,
        "/api/v1/lists/{list}",
        write,
        Op::new("lists", "delete_list", "Delete a list; its contacts stay").gives_nothing("It is gone."),
        delete,
    );
    api.add(
        Method::POST,
        "/api/v1/lists/{list}/members",
        write,
        Op::new("lists", "add_members", "Put contacts on the list")
            .takes::<Members>(json!({ "contacts": [] }))
            .gives::<Changed>(200, "How many were not on it before.")
            .retry(Retry::Replay),
        add,
    );
    api.add(
        Method::DELETE,
        "/api/v1/lists/{list}/members",
        write,
        Op::new("lists", "remove_members", "Take contacts off the list")
            .takes::<Members>(json!({ "contacts": [] }))
            .gives::<Changed>(200, "How many were on it."),
        remove,
    );
}

/// A list to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ListInput {
    /// Its name.
    name: String,
    /// What it is for.
    #[serde(default)]
    description: String,
}

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ListPatch {
    /// Another name.
    name: Option<String>,
    /// Another description.
    description: Option<String>,
}

/// Contacts.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Members {
    /// Their ids, at most 1,000 at once.
    #[schema(value_type = Vec<s::ContactId>)]
    contacts: Vec<ContactId>,
}

/// How many changed.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct Changed {
    /// The number of contacts.
    changed: u64,
}

/// A list.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ListView {
    /// Its id.
    #[schema(value_type = s::ListId)]
    id: ListId,
    /// Its name.
    name: String,
    /// What it is for.
    description: String,
    /// How many contacts are on it.
    members: i64,
    /// When it was made.
    created_at: Time,
}

impl From<List> for ListView {
    fn from(l: List) -> ListView {
        ListView {
            id: l.id,
            name: l.name,
            description: l.description,
            members: l.members,
            created_at: Time(l.created_at),
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<ListView> {
    Ok(whole(web.store().lists(caller.workspace).await?))
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<ListInput>) -> Result<Response, Problem> {
    let made = web.store().create_list(caller.workspace, &caller.actor, &input.name, &input.description).await?;
    Ok((StatusCode::CREATED, axum::Json(ListView::from(made))).into_response())
}

async fn get(State(web): State<Web>, caller: Caller, Path(id): Path<ListId>) -> Result<axum::Json<ListView>, Problem> {
    Ok(axum::Json(web.store().list(caller.workspace, id).await?.into()))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ListId>,
    Json(input): Json<ListPatch>,
) -> Result<axum::Json<ListView>, Problem> {
    let list = web
        .store()
        .change_list(caller.workspace, &caller.actor, id, input.name.as_deref(), input.description.as_deref())
        .await?;
    Ok(axum::Json(list.into()))
}

async fn delete(State(web): State<Web>, caller: Caller, Path(id): Path<ListId>) -> Result<StatusCode, Problem> {
    web.store().delete_list(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ListId>,
    Json(input): Json<Members>,
) -> Result<axum::Json<Changed>, Problem> {
    let changed = web.store().add_members(caller.workspace, &caller.actor, id, &input.contacts).await?;
    Ok(axum::Json(Changed { changed }))
}

async fn remove(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ListId>,
    Json(input): Json<Members>,
) -> Result<axum::Json<Changed>, Problem> {
    let changed = web.store().remove_members(caller.workspace, &caller.actor, id, &input.contacts).await?;
    Ok(axum::Json(Changed { changed }))
}
