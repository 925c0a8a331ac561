//! API keys: made once, shown once, revoked at once (SEC-71).

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::ApiKeyId;
use postrider_store::api_key::{ApiKey, NewApiKey};
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
    let rule = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/keys",
        rule,
        Op::new("keys", "list_keys", "The keys of the workspace, revoked ones included")
            .gives_list::<KeyView>("The keys, newest first; never the secret."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/keys",
        rule,
        Op::new("keys", "create_key", "Make a key")
            .about(
                "The secret is shown in this answer only. Not repeatable by `Idempotency-Key`: the secret is not kept.",
            )
            .takes::<KeyInput>(json!({ "name": "shop", "scopes": ["send"] }))
            .gives::<NewKey>(201, "The key and its secret.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::DELETE,
        "/api/v1/keys/{key}",
        rule,
        Op::new("keys", "revoke_key", "Revoke a key at once").gives_nothing("It does not work any more."),
        revoke,
    );
}

/// A key to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyInput {
    /// A name for people.
    name: String,
    /// What it may do; nothing when empty.
    #[serde(default)]
    #[schema(value_type = Vec<s::Scope>)]
    scopes: Vec<Scope>,
    /// When it ends by itself.
    expires_at: Option<Time>,
}

/// A key without its secret.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct KeyView {
    /// Its id.
    #[schema(value_type = s::ApiKeyId)]
    id: ApiKeyId,
    /// Its name.
    name: String,
    /// The first letters of the secret.
    prefix: String,
    /// What it may do.
    #[schema(value_type = Vec<s::Scope>)]
    scopes: Vec<Scope>,
    /// When it was made.
    created_at: Time,
    /// When it ends by itself.
    expires_at: Option<Time>,
    /// When it was used last, to the minute.
    last_used_at: Option<Time>,
    /// When it was revoked.
    revoked_at: Option<Time>,
    /// The account or key that made it.
    created_by: Option<String>,
}

/// A new key with its secret.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct NewKey {
    #[serde(flatten)]
    key: KeyView,
    /// The secret: nobody can read it again.
    secret: String,
}

impl From<ApiKey> for KeyView {
    fn from(k: ApiKey) -> KeyView {
        KeyView {
            id: k.id,
            name: k.name,
            prefix: k.prefix,
            scopes: k.scopes,
            created_at: Time(k.created_at),
            expires_at: k.expires_at.map(Time),
            last_used_at: k.last_used_at.map(Time),
            revoked_at: k.revoked_at.map(Time),
            created_by: k.created_by.filter(|by| !by.is_empty()),
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<KeyView> {
    Ok(whole(web.store().keys(caller.workspace).await?))
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<KeyInput>) -> Result<Response, Problem> {
    let new = NewApiKey { name: input.name, scopes: input.scopes, expires_at: input.expires_at.map(|t| t.0) };
    let (key, secret) = web.store().create_key(caller.workspace, &caller.actor, new).await?;
    let answer = NewKey { key: key.into(), secret: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

async fn revoke(State(web): State<Web>, caller: Caller, Path(id): Path<ApiKeyId>) -> Result<StatusCode, Problem> {
    web.store().revoke_key(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
