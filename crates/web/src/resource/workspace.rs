//! Workspaces: the organisations of the installation and their settings.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::WorkspaceId;
use postrider_store::workspace::{FirstPurposes, NewWorkspace, Workspace, WorkspaceChange};
use serde_json::{Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::{Caller, Person};
use crate::input::{Json, Path};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/workspaces",
        Rule::AnyKey,
        Op::new("workspaces", "list_workspaces", "The workspaces that I may see")
            .gives_list::<WorkspaceView>("The workspaces."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/workspaces",
        Rule::LocalOnly,
        Op::new("workspaces", "create_workspace", "Make a workspace")
            .about("From the command line on the server only. Give somebody a role in it with PUT /api/v1/accounts.")
            .takes::<WorkspaceInput>(json!({ "name": "Bakery", "public_url": "https://mail.example.org" }))
            .gives::<WorkspaceView>(201, "The workspace, with one purpose of each kind.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/workspaces/{workspace}",
        Rule::AnyKey,
        Op::new("workspaces", "get_workspace", "One workspace").gives::<WorkspaceView>(200, "The workspace."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/workspaces/{workspace}",
        Rule::Scope(Scope::Admin),
        Op::new("workspaces", "change_workspace", "Change settings of a workspace")
            .about("Fields that are not named stay as they are.")
            .takes::<WorkspacePatch>(json!({ "postal_address": "Via Roma 1, Torino", "undo_seconds": 0 }))
            .gives::<WorkspaceView>(200, "The workspace as it is now."),
        change,
    );
}

/// A workspace to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceInput {
    /// The name that operators see.
    name: String,
    /// The controller (GDPR 4(7)), as every marketing message names it.
    #[serde(default)]
    controller_name: String,
    /// The controller's postal address.
    #[serde(default)]
    postal_address: String,
    /// Link to the privacy notice.
    #[serde(default)]
    privacy_url: String,
    /// IANA zone in which reports show times; UTC when empty.
    #[serde(default)]
    time_zone: String,
    /// Where the public pages are reached, e.g. `https://mail.example.org`; links in messages begin with it.
    #[serde(default)]
    public_url: String,
}

impl WorkspaceInput {
    /// The store's form, without purposes.
    pub fn into_new(self) -> NewWorkspace {
        NewWorkspace {
            name: self.name,
            controller_name: self.controller_name,
            postal_address: self.postal_address,
            privacy_url: self.privacy_url,
            time_zone: self.time_zone,
            public_url: self.public_url,
            purposes: FirstPurposes::None,
        }
    }
}

/// What changes in a workspace.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct WorkspacePatch {
    /// The name that operators see.
    name: Option<String>,
    /// The controller.
    controller_name: Option<String>,
    /// The controller's postal address.
    postal_address: Option<String>,
    /// Link to the privacy notice.
    privacy_url: Option<String>,
    /// IANA zone.
    time_zone: Option<String>,
    /// Where the public pages are reached.
    public_url: Option<String>,
    /// Other settings; replaces the whole object.
    #[schema(value_type = Option<Object>)]
    settings: Option<serde_json::Map<String, Value>>,
    /// Seconds in which a start can be taken back, 0 to 86400.
    undo_seconds: Option<i64>,
    /// Whether messages can be read in a browser.
    hosted_copies: Option<bool>,
}

/// A workspace.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct WorkspaceView {
    /// Its id.
    #[schema(value_type = s::WorkspaceId)]
    id: WorkspaceId,
    /// The name that operators see.
    name: String,
    /// The controller.
    controller_name: String,
    /// The controller's postal address.
    postal_address: String,
    /// Link to the privacy notice.
    privacy_url: String,
    /// IANA zone in which reports show times.
    time_zone: String,
    /// Where the public pages are reached.
    public_url: String,
    /// Other settings.
    #[schema(value_type = Object)]
    settings: Value,
    /// Seconds in which a start can be taken back.
    undo_seconds: i64,
    /// Whether messages can be read in a browser.
    hosted_copies: bool,
    /// Its share where several workspaces draw on the same limits; PUT …/weight sets it.
    weight: u32,
    /// Since when nothing is sent for the workspace.
    suspended_at: Option<Time>,
    /// When it was made.
    created_at: Time,
}

impl From<Workspace> for WorkspaceView {
    fn from(w: Workspace) -> WorkspaceView {
        WorkspaceView {
            id: w.id,
            name: w.name,
            controller_name: w.controller_name,
            postal_address: w.postal_address,
            privacy_url: w.privacy_url,
            time_zone: w.time_zone,
            public_url: w.public_url,
            settings: w.settings,
            undo_seconds: w.undo_seconds,
            hosted_copies: w.hosted_copies,
            weight: w.weight,
            suspended_at: w.suspended_at.map(Time),
            created_at: Time(w.created_at),
        }
    }
}

async fn list(State(web): State<Web>, person: Person) -> Listed<WorkspaceView> {
    let Some(mine) = person.known.workspaces() else {
        return Ok(whole(web.store().workspaces().await?));
    };
    let mut found = Vec::new();
    for id in mine {
        found.push(web.store().workspace(id).await?);
    }
    Ok(whole(found))
}

async fn create(
    State(web): State<Web>,
    person: Person,
    Json(input): Json<WorkspaceInput>,
) -> Result<Response, Problem> {
    let new = NewWorkspace { purposes: FirstPurposes::OneOfEachKind, ..input.into_new() };
    let made = web.store().create_workspace(&person.known.actor(), new).await?;
    Ok((StatusCode::CREATED, axum::Json(WorkspaceView::from(made))).into_response())
}

async fn get(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<WorkspaceId>,
) -> Result<axum::Json<WorkspaceView>, Problem> {
    if person.known.workspaces().is_some_and(|mine| !mine.contains(&id)) {
        return Err(Problem::not_found("workspace"));
    }
    Ok(axum::Json(web.store().workspace(id).await?.into()))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<WorkspacePatch>,
) -> Result<axum::Json<WorkspaceView>, Problem> {
    let change = WorkspaceChange {
        name: input.name,
        controller_name: input.controller_name,
        postal_address: input.postal_address,
        privacy_url: input.privacy_url,
        time_zone: input.time_zone,
        public_url: input.public_url,
        settings: input.settings.map(Value::Object),
        undo_seconds: input.undo_seconds,
        hosted_copies: input.hosted_copies,
    };
    // The workspace of the caller is the one of the path: `caller` chose it from there.
    Ok(axum::Json(web.store().change_workspace(caller.workspace, &caller.actor, change).await?.into()))
}
