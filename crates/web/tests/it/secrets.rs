//! Planted mailboxes and secrets: a search of the logs, of answers to others and of problems finds none (Must show 10).

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use postrider_mail::token::OptOutToken;
use serde_json::json;

use crate::world::{one, request, send};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SECRETS: &[&str] = &[
    "planted.person",
    "planted-password",
    "planted-route-secret",
    "planted-subject",
    "planted-body",
    "planted-attribute",
    "planted-query",
    "planted-cookie",
    "pr_planted",
    "planted-user-agent",
];

#[tokio::test]
async fn nothing_that_was_planted_is_in_the_log_or_in_a_problem() {
    let log = Log::default();
    let sink = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || sink.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = one("planted").await;
    let key = world.ours.key.clone();
    let keys = world.store().link_keys(world.workspace()).await.unwrap();
    let token =
        OptOutToken { workspace: world.workspace().get(), contact: 1, purpose: 2, delivery: 3 }.encode(&keys.current);
    let person = "planted.person@example.net";
    let mut problems = Vec::new();
    let calls = [
        ("POST", "/api/v1/contacts", json!({ "mailbox": person, "attributes": { "a": "planted-attribute" } })),
        ("POST", "/api/v1/contacts", json!({ "mailbox": person, "attributes": { "A b": "planted-attribute" } })),
        ("POST", "/api/v1/contacts", json!({ "mailbox": ["planted-attribute"] })),
        ("POST", "/api/v1/session", json!({ "mailbox": person, "password": "planted-password" })),
        ("POST", "/api/v1/session", json!({ "mailbox": person, "password": ["planted-password"] })),
        ("POST", "/api/v1/setup", json!({ "code": "planted-password" })),
        ("POST", "/api/v1/accounts", json!({ "mailbox": person, "password": "planted-password", "role": "viewer" })),
        ("POST", "/api/v1/routes", json!({ "settings": 1, "password": "planted-route-secret" })),
        (
            "POST",
            "/api/v1/routes",
            json!({ "settings": { "name": "s", "kind": "smarthost", "host": "h.example", "port": 25, "tls": "none", "username": "u" }, "password": "planted-route-secret" }),
        ),
        (
            "POST",
            "/api/v1/messages",
            json!({ "from": "shop@ours.example.org", "to": [person], "subject": "planted-subject", "text": "planted-body" }),
        ),
        (
            "POST",
            "/api/v1/messages",
            json!({ "from": "shop@ours.example.org", "to": [person], "subject": 7, "text": "planted-body" }),
        ),
        ("GET", "/api/v1/contacts?search=planted.person", json!(null)),
        ("GET", "/api/v1/contacts?limit=planted-query", json!(null)),
        ("GET", "/api/v1/contacts/planted-query", json!(null)),
        ("GET", "/nothing/planted-query", json!(null)),
        ("POST", "/api/v1/suppressions", json!({ "mailbox": person, "source": "x" })),
        ("POST", "/api/v1/probes/dns", json!({ "domain": "planted-query nonsense" })),
    ];
    for (method, path, body) in calls {
        let body = (!body.is_null()).then_some(body);
        for key in [key.as_str(), "pr_planted", ""] {
            let mut request = request(method.parse::<Method>().unwrap(), path, key, body.as_ref());
            request.headers_mut().insert("cookie", "__Host-postrider=planted-cookie".parse().unwrap());
            request.headers_mut().insert("user-agent", "planted-user-agent".parse().unwrap());
            let answer = send(&world.router, request).await;
            if !answer.status.is_success() {
                problems.push(answer.text());
            }
        }
    }
    for (method, path) in [(Method::GET, format!("/u/{token}")), (Method::POST, format!("/u/{token}"))] {
        send(&world.router, request(method, &path, "", None)).await;
    }
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        logged.contains("route=\"/api/v1/contacts\"") || logged.contains("/api/v1/contacts"),
        "the log is listened to"
    );
    assert!(logged.contains("/u/{token}"), "public pages are logged by their pattern");
    drop(guard);
    for secret in SECRETS.iter().copied().chain([token.as_str(), key.as_str(), "correct horse battery"]) {
        assert!(!logged.contains(secret), "the log has `{secret}`: {}", line(&logged, secret));
        for problem in &problems {
            assert!(!problem.contains(secret), "a problem has `{secret}`: {problem}");
        }
    }
    assert!(problems.len() > 20);
}

fn line<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines().find(|line| line.contains(word)).unwrap_or_default()
}
