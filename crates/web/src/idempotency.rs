//! `Idempotency-Key`: a request that creates or sends is carried out once, and its answer is given again for a day.
//!
//! Must not know: any single resource.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use postrider_domain::id::WorkspaceId;
use postrider_store::actor::Actor;
use postrider_store::idempotency::{Once, OnceRequest};

use crate::Web;
use crate::caller::{Caller, Person};
use crate::input::{MAX_JSON, collect};
use crate::problem::Problem;

/// The header.
const HEADER: &str = "idempotency-key";
/// Says that an answer is a stored one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A key that was begun; handlers that complete it in their own transaction find it in the request's extensions and put
/// [`Completed`] into their answer's.
#[derive(Debug, Clone)]
pub struct Key(pub String);

/// In the extensions of an answer: the store has kept it already.
#[derive(Debug, Clone, Copy)]
pub struct Completed;

/// Who repeats a request, and where.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    workspace: WorkspaceId,
    actor: Actor,
}

impl From<&Caller> for Asker {
    fn from(caller: &Caller) -> Asker {
        Asker { workspace: caller.workspace, actor: caller.actor }
    }
}

impl From<&Person> for Asker {
    /// For routes that work in no workspace: their keys are kept under a number that no workspace has.
    fn from(person: &Person) -> Asker {
        Asker { workspace: WorkspaceId(0), actor: person.known.actor() }
    }
}

/// What to do with a request that has a key.
pub enum Begun {
    /// Carry it out.
    Fresh,
    /// It was carried out: this is its answer.
    Replay(Response),
}

/// The key of a request.
///
/// # Errors
/// 422 for one that is too long or has other characters.
pub fn key(headers: &HeaderMap) -> Result<Option<Key>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > 200 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::refused("the Idempotency-Key should be 1 to 200 visible ASCII characters, e.g. a UUID"));
    }
    Ok(Some(Key(text.to_owned())))
}

/// Begins a request; `said` is what the caller asked for, beside method and path.
///
/// # Errors
/// 422 when the key stands for another request, 409 when the same request is being carried out.
pub async fn begin(
    web: &Web,
    asker: &Asker,
    key: &Key,
    method: &Method,
    path: &str,
    said: &[u8],
) -> Result<Begun, Problem> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    // Who asks is part of the request: two callers of one workspace must not see each other's answers.
    digest.update(format!("{:?}\n", asker.actor).as_bytes());
    digest.update(said);
    let request = OnceRequest {
        key: key.0.clone(),
        method: method.to_string(),
        path: path.to_owned(),
        hash: digest.finish().as_ref().to_vec(),
    };
    match web.store().begin_once(asker.workspace, &request).await? {
        Once::Fresh => Ok(Begun::Fresh),
        Once::Replay { status, body } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
            let headers =
                [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (REPLAYED, HeaderValue::from_static("true"))];
            Ok(Begun::Replay((status, headers, body).into_response()))
        }
        Once::Mismatch => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key_reused",
            "this Idempotency-Key was used for another request: choose a new key",
        )),
        Once::Running => Err(Problem::new(
            StatusCode::CONFLICT,
            "still_running",
            "the request with this Idempotency-Key is still being carried out: ask again in a few seconds",
        )),
    }
}

/// Keeps the answer.
///
/// # Errors
/// The database fails.
pub async fn finish(web: &Web, asker: &Asker, key: &Key, status: StatusCode, body: &[u8]) -> Result<(), Problem> {
    Ok(web.store().finish_once(asker.workspace, &key.0, status.as_u16(), body).await?)
}

/// Forgets a request that changed nothing, so that it can be tried again with the same key.
///
/// # Errors
/// The database fails.
pub async fn forget(web: &Web, asker: &Asker, key: &Key) -> Result<(), Problem> {
    Ok(web.store().abandon_once(asker.workspace, &key.0).await?)
}

/// Runs a handler once for each key.
///
/// # Errors
/// As [`begin`].
pub async fn replay(web: &Web, asker: &Asker, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let body = collect(body, MAX_JSON).await?;
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    match begin(web, asker, &key, &parts.method, &path, &body).await? {
        Begun::Replay(response) => return Ok(response),
        Begun::Fresh => {}
    }
    parts.extensions.insert(key.clone());
    let response = next.run(Request::from_parts(parts, body.into())).await;
    if response.extensions().get::<Completed>().is_some() {
        return Ok(response);
    }
    if !response.status().is_success() {
        // Nothing was done: the same key may try again, with a corrected request too.
        forget(web, asker, &key).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Problem::internal())?.to_bytes();
    finish(web, asker, &key, parts.status, &body).await?;
    Ok(Response::from_parts(parts, body.into()))
}
