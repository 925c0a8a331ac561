//! What stands before every handler: the route's access rule, then the replay of repeated requests.
//!
//! Must not know: any single resource.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Web;
use crate::api::Retry;
use crate::caller::{Caller, Person};
use crate::client::Client;
use crate::idempotency::{self, Asker};
use crate::rule::Rule;

/// What the guard of one route knows.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Who may call.
    pub rule: Rule,
    /// What repeated requests get.
    pub retry: Retry,
}

/// Runs before a handler.
pub async fn guard(with: Guard, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let web = parts.extensions.get::<Web>().cloned().expect("`outer::wrap` puts the state into every request");
    let client = parts.extensions.get::<Client>().cloned().unwrap_or_default();
    if let Err(problem) = web.admit(with.rule, &mut parts, client).await {
        return problem.into_response();
    }
    let asker = match parts.extensions.get::<Caller>() {
        Some(caller) => Some(Asker::from(caller)),
        None => parts.extensions.get::<Person>().map(Asker::from),
    };
    let request = Request::from_parts(parts, body);
    match (with.retry, asker) {
        (Retry::Replay, Some(asker)) => match idempotency::replay(&web, &asker, request, next).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        },
        (Retry::Replay | Retry::Plain | Retry::ReplayByHandler, _) => next.run(request).await,
    }
}
