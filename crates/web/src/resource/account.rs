//! Accounts: people who may log in, with their role in the workspace.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::{Role, Scope};
use postrider_domain::id::AccountId;
use postrider_store::StoreError;
use postrider_store::account::{Account, NewAccount};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::{Caller, Person};
use crate::input::{Json, Path};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::resource::session::Ended;
use crate::rule::Rule;
use crate::schema::{self as s, Password, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let rule = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/accounts",
        rule,
        Op::new("accounts", "list_accounts", "The accounts that have a role in the workspace")
            .gives_list::<AccountView>("The accounts."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/accounts",
        rule,
        Op::new("accounts", "create_account", "Make an account with a role in the workspace")
            .takes::<NewAccountInput>(json!({
                "mailbox": "bruno@example.org", "name": "Bruno", "password": "correct horse battery", "role": "editor"
            }))
            .gives::<AccountView>(201, "The account.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::PUT,
        "/api/v1/accounts",
        rule,
        Op::new("accounts", "set_role", "Give an existing account a role in the workspace, or another role")
            .about("Its sessions end, so that the next log-in has the new rights.")
            .takes::<RoleInput>(json!({ "mailbox": "bruno@example.org", "role": "viewer" }))
            .gives::<AccountView>(200, "The account."),
        set_role,
    );
    api.add(
        Method::PUT,
        "/api/v1/accounts/{account}/password",
        Rule::LocalOnly,
        Op::new("accounts", "reset_password", "Set somebody's password, from the command line on the server")
            .about("Sessions end, keys that the account made are revoked, waits and blocks are lifted.")
            .takes::<ResetInput>(json!({ "password": "correct horse battery" }))
            .gives_nothing("It is set."),
        reset,
    );
    api.add(
        Method::DELETE,
        "/api/v1/accounts/{account}/sessions",
        rule,
        Op::new("accounts", "end_account_sessions", "Log an account out everywhere")
            .gives::<Ended>(200, "How many sessions ended."),
        end_sessions,
    );
    api.add(
        Method::GET,
        "/api/v1/accounts/{account}",
        rule,
        Op::new("accounts", "get_account", "One account").gives::<AccountView>(200, "The account."),
        get,
    );
    api.add(
        Method::DELETE,
        "/api/v1/accounts/{account}",
        rule,
        Op::new("accounts", "remove_account", "Take an account's role in the workspace away")
            .about("Its sessions end and the keys that it made here are revoked.")
            .gives_nothing("It has no role here any more."),
        remove,
    );
}

/// An account to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccountInput {
    /// The mailbox that the person logs in with.
    mailbox: String,
    /// The name.
    #[serde(default)]
    name: String,
    /// The password: 12 characters or more.
    #[schema(value_type = Password)]
    password: Password,
    /// The role in the workspace.
    #[schema(value_type = s::Role)]
    role: Role,
}

/// A role for the account of a mailbox.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RoleInput {
    /// The account's mailbox.
    mailbox: String,
    /// The role in the workspace.
    #[schema(value_type = s::Role)]
    role: Role,
}

/// A new password.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetInput {
    /// The password: 12 characters or more.
    #[schema(value_type = Password)]
    password: Password,
}

/// An account as the workspace sees it.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct AccountView {
    /// Its id.
    #[schema(value_type = s::AccountId)]
    id: AccountId,
    /// The mailbox that the person logs in with.
    mailbox: String,
    /// The name.
    name: String,
    /// The role in this workspace.
    #[schema(value_type = s::Role)]
    role: Role,
    /// When it was made.
    created_at: Time,
    /// When it was disabled.
    disabled_at: Option<Time>,
}

impl From<Account> for AccountView {
    fn from(a: Account) -> AccountView {
        AccountView {
            id: a.id,
            mailbox: a.mailbox,
            name: a.name,
            role: a.role,
            created_at: Time(a.created_at),
            disabled_at: a.disabled_at.map(Time),
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<AccountView> {
    Ok(whole(web.store().accounts(caller.workspace).await?))
}

async fn create(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<NewAccountInput>,
) -> Result<Response, Problem> {
    let new = NewAccount { mailbox: input.mailbox, name: input.name, password: input.password.0 };
    let id = web.store().create_account(caller.workspace, &caller.actor, new, input.role).await?;
    let view = AccountView::from(web.store().account(caller.workspace, id).await?);
    Ok((StatusCode::CREATED, axum::Json(view)).into_response())
}

async fn set_role(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<RoleInput>,
) -> Result<axum::Json<AccountView>, Problem> {
    let id = web.store().set_role(caller.workspace, &caller.actor, &input.mailbox, input.role).await?;
    Ok(axum::Json(web.store().account(caller.workspace, id).await?.into()))
}

/// The account of a path: it must have a role in the workspace of the caller, or in any for the command line.
async fn find(web: &Web, person: &Person, id: AccountId) -> Result<Account, Problem> {
    for workspace in web.store().workspaces().await? {
        if person.known.workspaces().is_some_and(|mine| !mine.contains(&workspace.id)) {
            continue;
        }
        match web.store().account(workspace.id, id).await {
            Ok(account) => return Ok(account),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::not_found("account"))
}

async fn reset(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<AccountId>,
    Json(input): Json<ResetInput>,
) -> Result<StatusCode, Problem> {
    let account = find(&web, &person, id).await?;
    web.store().reset_password(&account.mailbox, &input.password.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_sessions(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<AccountId>,
) -> Result<axum::Json<Ended>, Problem> {
    web.store().account(caller.workspace, id).await?;
    let ended = web.store().end_sessions(&caller.actor, id).await?;
    Ok(axum::Json(Ended { ended }))
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<AccountId>,
) -> Result<axum::Json<AccountView>, Problem> {
    Ok(axum::Json(web.store().account(caller.workspace, id).await?.into()))
}

async fn remove(State(web): State<Web>, caller: Caller, Path(id): Path<AccountId>) -> Result<StatusCode, Problem> {
    web.store().remove_role(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
