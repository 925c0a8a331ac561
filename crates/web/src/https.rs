//! Sends requests in clear to https, but for what must be answered in clear: proofs of our names and the looks of machines.
//!
//! Must not know TLS. Names come from the certificate, never from the request: a `Host` that it does not name leads to its
//! first name.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// The names of the present certificate; none while there is no certificate.
pub type Names = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Answered in clear.
const IN_CLEAR: &[&str] = &["/healthz", "/readyz", "/metrics"];
/// Answered in clear, with everything below.
pub(crate) const CHALLENGES: &str = "/.well-known/acme-challenge/";

#[derive(Clone)]
struct Sender {
    names: Names,
    port: u16,
}

/// Puts the redirect around a router that is served in clear; `port` is the one of https. While there is no certificate
/// everything is answered as before.
pub fn redirect(router: axum::Router, names: Names, port: u16) -> axum::Router {
    router.layer(from_fn_with_state(Sender { names, port }, send))
}

async fn send(State(sender): State<Sender>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let names = (sender.names)();
    let Some(first) = names.first() else { return next.run(request).await };
    if IN_CLEAR.contains(&path) || path.starts_with(CHALLENGES) {
        return next.run(request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        // What it carried was readable on the way already; a redirect would only hide that.
        return Problem::new(StatusCode::FORBIDDEN, "https_only", "ask over https: this was sent in clear")
            .into_response();
    }
    let asked = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let asked = asked.rsplit_once(':').map_or(asked, |(host, _)| host);
    let name = names.iter().find(|name| name.eq_ignore_ascii_case(asked)).unwrap_or(first);
    let port = if sender.port == 443 { String::new() } else { format!(":{}", sender.port) };
    let rest = request.uri().path_and_query().map_or("/", |rest| rest.as_str());
    match HeaderValue::try_from(format!("https://{name}{port}{rest}")) {
        Ok(target) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, target)]).into_response(),
        Err(_) => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use tower::ServiceExt;

    async fn ask(method: &str, path: &str, host: &str, names: &'static [&'static str]) -> (u16, String) {
        let router = axum::Router::default().fallback(async || "clear");
        let names: Names = Arc::new(move || names.iter().map(|name| (*name).to_owned()).collect());
        let request = Request::builder().method(method).uri(path).header(header::HOST, host);
        let request = request.body(Body::empty()).expect("a request");
        let answer = redirect(router, names, 8443).oneshot(request).await.expect("an answer");
        let location = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        (answer.status().as_u16(), location.to_owned())
    }

    #[tokio::test]
    async fn requests_in_clear_are_sent_to_a_name_of_the_certificate() {
        const NAMES: &[&str] = &["mail.example.org", "news.example.org"];
        let to = |text: &str| (308, text.to_owned());
        for (method, path, host, names, want) in [
            ("GET", "/a?b=c", "mail.example.org", NAMES, to("https://mail.example.org:8443/a?b=c")),
            ("HEAD", "/", "News.Example.org:80", NAMES, to("https://news.example.org:8443/")),
            ("GET", "/", "evil.example", NAMES, to("https://mail.example.org:8443/")),
            ("GET", "//evil.example/", "mail.example.org", NAMES, to("https://mail.example.org:8443//evil.example/")),
            ("POST", "/api/v1/messages", "mail.example.org", NAMES, (403, String::new())),
            ("GET", "/healthz", "mail.example.org", NAMES, (200, String::new())),
            ("GET", "/.well-known/acme-challenge/x", "mail.example.org", NAMES, (200, String::new())),
            ("GET", "/a", "mail.example.org", &[], (200, String::new())),
            ("POST", "/a", "mail.example.org", &[], (200, String::new())),
        ] {
            assert_eq!(ask(method, path, host, names).await, want, "{method} {path} {host}");
        }
    }
}
