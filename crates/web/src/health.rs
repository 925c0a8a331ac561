//! What machines ask: is the process alive, is it ready, what does it count, what can the API do.
//!
//! Must not know: what is measured.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::{Known, LocalAdmin};
use crate::client::Client;
use crate::problem::Problem;
use crate::rule::Rule;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/healthz",
        Rule::Public,
        Op::new("health", "healthz", "Whether the process is alive").gives_content(200, "text/plain", "It is."),
        healthz,
    );
    api.add(
        Method::GET,
        "/readyz",
        Rule::Public,
        Op::new("health", "readyz", "Whether the process can do its work").gives_content(
            200,
            "text/plain",
            "It can; otherwise 503 says what is missing.",
        ),
        readyz,
    );
    api.add(
        Method::GET,
        "/metrics",
        Rule::Public,
        Op::new("health", "metrics", "Counters in the format of Prometheus")
            .about("For requests from this machine without a proxy between; others need a key with the scope `admin`.")
            .gives_content(200, "text/plain", "The counters. No label names a recipient."),
        metrics,
    );
    api.add(
        Method::GET,
        "/api/v1/openapi.json",
        Rule::Public,
        Op::new("health", "openapi", "This description").gives_content(200, "application/json", "OpenAPI 3.1."),
        openapi,
    );
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(web): State<Web>) -> Result<&'static str, Problem> {
    (web.config().ready)()
        .map_err(|missing| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready_yet", missing))?;
    web.store().setup_state().await?;
    Ok("ready\n")
}

async fn metrics(State(web): State<Web>, client: Client, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let near = parts.extensions.get::<LocalAdmin>().is_some() || client.is_local();
    if !near {
        let known = web.identify(&parts).await?.ok_or_else(Problem::unauthenticated)?;
        let admin = match &known {
            Known::Local => true,
            Known::Identity(identity) => identity.grants.iter().any(|g| g.scopes.contains(&Scope::Admin)),
        };
        if !admin {
            return Err(Problem::forbidden("metrics need the scope `admin`, or a request from the server itself"));
        }
    }
    let text = (web.config().metrics)();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

async fn openapi(State(web): State<Web>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], web.openapi()).into_response()
}
