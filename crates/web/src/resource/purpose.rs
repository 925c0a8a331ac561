//! Purposes, and the wordings that people agreed to; wordings are never changed, only followed by another version.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::consent::PurposeKind;
use postrider_domain::id::{PurposeId, WordingId};
use postrider_store::purpose::{Purpose, Wording};
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
    let write = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/purposes",
        read,
        Op::new("purposes", "list_purposes", "The purposes of the workspace")
            .gives_list::<PurposeView>("The purposes."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/purposes",
        write,
        Op::new("purposes", "create_purpose", "Make a purpose")
            .takes::<PurposeInput>(json!({ "kind": "newsletter", "name": "Monthly letter" }))
            .gives::<PurposeView>(201, "The purpose.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/purposes/{purpose}",
        read,
        Op::new("purposes", "get_purpose", "One purpose").gives::<PurposeView>(200, "The purpose."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/purposes/{purpose}",
        write,
        Op::new("purposes", "rename_purpose", "Give a purpose another name")
            .takes::<PurposePatch>(json!({ "name": "Our letter" }))
            .gives::<PurposeView>(200, "The purpose as it is now."),
        rename,
    );
    api.add(
        Method::GET,
        "/api/v1/purposes/{purpose}/wordings",
        read,
        Op::new("purposes", "list_wordings", "The wordings of a purpose").gives_list::<WordingView>("Newest first."),
        wordings,
    );
    api.add(
        Method::POST,
        "/api/v1/purposes/{purpose}/wordings",
        write,
        Op::new("purposes", "add_wording", "Write a new version of the wording")
            .takes::<WordingInput>(json!({ "language": "en", "text": "I agree that the bakery sends me its letter." }))
            .gives::<WordingView>(201, "The wording.")
            .retry(Retry::Replay),
        add_wording,
    );
}

/// A purpose to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PurposeInput {
    /// What it is for.
    #[schema(value_type = s::PurposeKind)]
    kind: PurposeKind,
    /// Its name, as people see it on the preference page.
    name: String,
}

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PurposePatch {
    /// Another name.
    name: String,
}

/// A wording to be added.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct WordingInput {
    /// Language tag (BCP 47).
    language: String,
    /// The full text that people agree to.
    text: String,
}

/// A purpose.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct PurposeView {
    /// Its id.
    #[schema(value_type = s::PurposeId)]
    id: PurposeId,
    /// What it is for.
    #[schema(value_type = s::PurposeKind)]
    kind: PurposeKind,
    /// Its name.
    name: String,
    /// When it was made.
    created_at: Time,
}

/// One version of a wording.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct WordingView {
    /// Its id.
    #[schema(value_type = s::WordingId)]
    id: WordingId,
    /// 1, 2, 3 … within the purpose.
    version: i64,
    /// Language tag.
    language: String,
    /// The full text.
    text: String,
    /// SHA-256 of the text, in hex; the ledger names it.
    text_hash: String,
    /// When it was written.
    created_at: Time,
}

impl From<Purpose> for PurposeView {
    fn from(p: Purpose) -> PurposeView {
        PurposeView { id: p.id, kind: p.kind, name: p.name, created_at: Time(p.created_at) }
    }
}

impl From<Wording> for WordingView {
    fn from(w: Wording) -> WordingView {
        WordingView {
            id: w.id,
            version: w.version,
            language: w.language,
            text: w.text,
            text_hash: w.text_hash,
            created_at: Time(w.created_at),
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<PurposeView> {
    Ok(whole(web.store().purposes(caller.workspace).await?))
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<PurposeInput>) -> Result<Response, Problem> {
    let made = web.store().create_purpose(caller.workspace, &caller.actor, input.kind, &input.name).await?;
    Ok((StatusCode::CREATED, axum::Json(PurposeView::from(made))).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<PurposeId>,
) -> Result<axum::Json<PurposeView>, Problem> {
    Ok(axum::Json(web.store().purpose(caller.workspace, id).await?.into()))
}

async fn rename(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<PurposeId>,
    Json(input): Json<PurposePatch>,
) -> Result<axum::Json<PurposeView>, Problem> {
    Ok(axum::Json(web.store().rename_purpose(caller.workspace, &caller.actor, id, &input.name).await?.into()))
}

async fn wordings(State(web): State<Web>, caller: Caller, Path(id): Path<PurposeId>) -> Listed<WordingView> {
    Ok(whole(web.store().wordings(caller.workspace, id).await?))
}

async fn add_wording(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<PurposeId>,
    Json(input): Json<WordingInput>,
) -> Result<Response, Problem> {
    let made = web.store().add_wording(caller.workspace, &caller.actor, id, &input.language, &input.text).await?;
    Ok((StatusCode::CREATED, axum::Json(WordingView::from(made))).into_response())
}
