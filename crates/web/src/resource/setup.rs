//! First-run set-up: the code from the console makes the first workspace and its administrator (SEC-80).

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::id::{AccountId, WorkspaceId};
use postrider_store::account::NewAccount;
use postrider_store::workspace::{FirstPurposes, NewWorkspace};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::client::Client;
use crate::input::Json;
use crate::problem::Problem;
use crate::resource::workspace::WorkspaceInput;
use crate::rule::Rule;
use crate::schema::{self as s, Password};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::POST,
        "/api/v1/setup",
        Rule::Setup,
        Op::new("setup", "set_up", "Make the first workspace and its administrator")
            .about("Works once, with the code that the server printed on its console. Until then no other route of the API answers.")
            .takes::<SetupInput>(json!({
                "code": "0123456789abcdefghjk",
                "administrator": { "mailbox": "anna@example.org", "name": "Anna", "password": "correct horse battery" },
                "workspace": { "name": "Bakery", "public_url": "https://mail.example.org" }
            }))
            .gives::<SetupAnswer>(201, "The administrator may log in."),
        set_up,
    );
}

/// What the set-up needs.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupInput {
    /// The code from the console.
    #[schema(value_type = Password)]
    code: Password,
    /// The first account.
    administrator: AccountInput,
    /// The first workspace; it begins with one purpose of each kind.
    workspace: WorkspaceInput,
}

/// A person who may log in.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountInput {
    /// The mailbox that the person logs in with.
    mailbox: String,
    /// The name.
    #[serde(default)]
    name: String,
    /// The password: 12 characters or more.
    #[schema(value_type = Password)]
    password: Password,
}

/// What the set-up made.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct SetupAnswer {
    /// The administrator.
    #[schema(value_type = s::AccountId)]
    account: AccountId,
    /// The workspace.
    #[schema(value_type = s::WorkspaceId)]
    workspace: WorkspaceId,
}

async fn set_up(State(web): State<Web>, client: Client, Json(input): Json<SetupInput>) -> Result<Response, Problem> {
    if !web.log_ins().may_try(client.ip) {
        return Err(super::session::too_many());
    }
    let administrator = NewAccount {
        mailbox: input.administrator.mailbox,
        name: input.administrator.name,
        password: input.administrator.password.0,
    };
    let workspace = NewWorkspace { purposes: FirstPurposes::OneOfEachKind, ..input.workspace.into_new() };
    let made = web.store().finish_setup(&input.code.0, administrator, workspace).await;
    if made.is_err() {
        web.log_ins().failed(client.ip);
    }
    let (account, workspace) = made?;
    Ok((StatusCode::CREATED, axum::Json(SetupAnswer { account, workspace })).into_response())
}
