//! What surrounds all routes: the set-up gate, security headers, one log line a request, and the last answers (404, 405, panics).
//!
//! Must not know: any single resource. Logs hold method, route, status and time; never queries, bodies or tokens.

use std::any::Any;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::Web;
use crate::caller::LocalAdmin;
use crate::client::Client;
use crate::problem::Problem;

/// Paths that answer before set-up is done.
const BEFORE_SETUP: &[&str] = &["/api/v1/setup", "/healthz", "/readyz"];

/// The router with everything around it.
pub fn wrap(router: axum::Router<Web>, web: Web) -> axum::Router {
    router
        .method_not_allowed_fallback(not_allowed)
        .fallback(fallback)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(web.clone(), around))
        .with_state(web)
}

async fn around(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let started = web.config().clock.monotonic_ms();
    let method = request.method().clone();
    let client = Client::of(request.headers(), request.extensions(), &web.config().trusted_proxies);
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let local = request.extensions().get::<LocalAdmin>().is_some();
    let path = request.uri().path();
    // The files of the admin application say nothing about this server, and set-up begins in it.
    let early = local
        || BEFORE_SETUP.contains(&path)
        // A certificate is there before anybody types a password.
        || path.starts_with(crate::https::CHALLENGES)
        || (matched.is_none() && !path.starts_with("/api/"));
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(web.clone());
    let open = if early { Ok(true) } else { web.is_set_up().await };
    let mut response = match open {
        Ok(true) => next.run(request).await,
        Ok(false) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_set_up",
            "Postrider is not set up yet: use the code that the server printed on its console, at POST /api/v1/setup",
        )
        .into_response(),
        Err(problem) => problem.into_response(),
    };
    harden(&mut response);
    tracing::info!(
        method = %method,
        // The pattern, not the path: paths of public pages hold tokens.
        route = matched.as_deref().unwrap_or("-"),
        status = response.status().as_u16(),
        ms = web.config().clock.monotonic_ms() - started,
        "request"
    );
    response
}

/// Headers that every answer has; a handler that set one itself keeps it.
fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

async fn not_allowed(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{method} is not possible here: the header `Allow` and GET /api/v1/openapi.json say what is"),
    )
}

/// The admin application; everything else is not found.
async fn fallback(State(web): State<Web>, request: Request) -> Response {
    let path = request.uri().path();
    if matches!(*request.method(), Method::GET | Method::HEAD) && !path.starts_with("/api/") {
        let wanted = path.trim_start_matches('/');
        let file = web.config().assets.get(wanted).filter(|_| !wanted.is_empty());
        // Addresses inside the application are its own business: they get its first page.
        let is_page = !wanted.rsplit('/').next().unwrap_or_default().contains('.');
        let asset = file.or_else(|| if is_page { web.config().assets.get("index.html") } else { None });
        if let Some(asset) = asset {
            return crate::page::asset(&request, asset);
        }
    }
    Problem::new(StatusCode::NOT_FOUND, "no_route", "there is nothing here: GET /api/v1/openapi.json lists every route")
        .into_response()
}

/// A panic in a handler: its text may hold anything, so neither the answer nor this log line repeats it.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked; the panic hook has said where");
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn boom() -> &'static str {
        panic!("planted-secret")
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_details_and_the_next_request_works() {
        let store = postrider_store::testing::open_sqlite("panic").await;
        let folder = std::env::temp_dir();
        let config = crate::WebConfig::new((*store).clone(), std::sync::Arc::new(store.clock.clone()), folder);
        let mut api = crate::api::Api::default();
        let op = crate::api::Op::new("test", "boom", "Panics");
        api.add(Method::GET, "/boom", crate::rule::Rule::Public, op, boom);
        let router = wrap(api.finish().0, crate::web(config, bytes::Bytes::new()));
        for _ in 0..2 {
            let mut request = Request::builder().uri("/boom").body(Body::empty()).expect("a request");
            request.extensions_mut().insert(LocalAdmin);
            let response = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(response.status().as_u16(), 500);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert!(!String::from_utf8_lossy(&body).contains("planted"), "{body:?}");
        }
    }
}
