//! Idempotency-Key on every POST that creates or sends: carried out once, the same answer for a day.

use axum::http::Method;
use serde_json::{Value, json};

use crate::matrix::fill;
use crate::openapi::operations;
use crate::world::{Answer, World, both, request, send};

async fn post(world: &World, path: &str, key: &str, token: &str, body: Option<&Value>) -> Answer {
    let mut request = request(Method::POST, path, token, body);
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    send(&world.router, request).await
}

/// The body that succeeds, for those operations whose example alone does not.
fn body(world: &World, path: &str, example: &Value) -> Value {
    match path {
        "/api/v1/messages" => {
            json!({ "from": "shop@ours.example.org", "to": ["a@example.net"], "subject": "x", "text": "y" })
        }
        "/api/v1/campaigns/{campaign}/schedule" => json!({ "local": "2027-03-01T10:00", "zone": "Europe/Rome" }),
        "/api/v1/contacts/{contact}/consents" => {
            json!({ "purpose": world.id("purpose"), "state": "withdrawn", "source": "a phone call" })
        }
        "/api/v1/contacts/bulk" => {
            json!({ "search": "nobody", "act": "add", "target": world.id("list"), "expected": 0 })
        }
        // The campaign of the examples is nobody's.
        "/api/v1/queue/rules" | "/api/v1/queue/actions" => {
            let mut body = example.clone();
            body["scope"]["campaign"] = world.id("campaign").into();
            body
        }
        _ => example.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_that_creates_or_sends_is_carried_out_once() {
    let mut tried = Vec::new();
    for world in both("once").await {
        for (method, path, operation) in operations() {
            let takes =
                operation["parameters"].as_array().into_iter().flatten().any(|p| p["name"] == "Idempotency-Key");
            // What moves something from one state to another, and what keys may not do, is tried below.
            let moves = ["/pause", "/resume", "/stop", "/unschedule", "/believe", "/take-back"]
                .iter()
                .any(|word| path.ends_with(word));
            if method != "POST"
                || !takes
                || moves
                || path == "/api/v1/imports"
                || operation["x-postrider-scope"] == "local"
                || operation["x-postrider-scope"] == "installation"
            {
                continue;
            }
            let example = operation.pointer("/requestBody/content/application~1json/example").cloned();
            let body = example.map(|example| body(&world, &path, &example));
            let filled = fill(&path, |name| world.id(name).to_owned());
            let about = format!("{} POST {path}", world.kind);
            let key = format!("key-{}", path.len() * 1000 + tried.len());
            let first = post(&world, &filled, &key, &world.ours.key, body.as_ref()).await;
            assert!(first.status.is_success(), "{about}: {} {}", first.status, first.text());
            let again = post(&world, &filled, &key, &world.ours.key, body.as_ref()).await;
            assert_eq!(again.status, first.status, "{about}: {}", again.text());
            assert_eq!(again.text(), first.text(), "{about}");
            assert_eq!(again.header("idempotency-replayed"), "true", "{about}");
            if let Some(body) = &body {
                let mut other = body.clone();
                other.as_object_mut().unwrap().insert("another".into(), json!(1));
                let problem = post(&world, &filled, &key, &world.ours.key, Some(&other)).await.problem(422, &about);
                assert_eq!(problem["code"], "key_reused", "{about}");
            }
            // Another caller of the same workspace does not get the answer.
            let somebody = world.key(postrider_domain::access::Scope::ALL).await;
            post(&world, &filled, &key, &somebody, body.as_ref()).await.problem(422, &about);
            tried.push(path);
        }
    }
    assert!(tried.len() >= 2 * 14, "{tried:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_once_and_its_answer_survives_a_day_but_not_two() {
    for world in both("oncemsg").await {
        let body = json!({ "from": "shop@ours.example.org", "to": ["b@example.net"], "subject": "x", "text": "y" });
        let count = async || {
            world.get("/api/v1/deliveries?limit=500").await.good("deliveries")["items"].as_array().unwrap().len()
        };
        let before = count().await;
        let first = post(&world, "/api/v1/messages", "m1", &world.ours.key, Some(&body)).await.good("message");
        world.store.clock.advance(23 * 3_600_000);
        let again = post(&world, "/api/v1/messages", "m1", &world.ours.key, Some(&body)).await.good("message");
        assert_eq!(first, again, "{}", world.kind);
        assert_eq!(count().await, before + 1, "{}", world.kind);
        world.store.clock.advance(2 * 3_600_000);
        let later = post(&world, "/api/v1/messages", "m1", &world.ours.key, Some(&body)).await.good("message");
        assert_ne!(first["id"], later["id"], "{}: after a day the key is free", world.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_may_be_corrected_with_the_same_key() {
    for world in both("onceagain").await {
        let bad = json!({ "name": "" });
        post(&world, "/api/v1/lists", "k", &world.ours.key, Some(&bad)).await.problem(422, "an empty name");
        let good = json!({ "name": "Corrected" });
        post(&world, "/api/v1/lists", "k", &world.ours.key, Some(&good)).await.good("corrected");
        for key in ["", "has blank", "ü", &"x".repeat(201)] {
            let mut request = request(Method::POST, "/api/v1/lists", &world.ours.key, Some(&good));
            request
                .headers_mut()
                .insert("idempotency-key", axum::http::HeaderValue::from_bytes(key.as_bytes()).unwrap());
            send(&world.router, request).await.problem(422, key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_create_one() {
    for world in both("oncerace").await {
        let body = json!({ "name": "Raced" });
        let (a, b) = tokio::join!(
            post(&world, "/api/v1/lists", "race", &world.ours.key, Some(&body)),
            post(&world, "/api/v1/lists", "race", &world.ours.key, Some(&body)),
        );
        for answer in [&a, &b] {
            assert!(answer.status.is_success() || answer.status.as_u16() == 409, "{}: {}", world.kind, answer.text());
        }
        let lists = world.get("/api/v1/lists").await.good("lists");
        let raced = lists["items"].as_array().unwrap().iter().filter(|l| l["name"] == "Raced").count();
        assert_eq!(raced, 1, "{}", world.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_and_new_workspaces_are_carried_out_once_too() {
    for world in both("moves").await {
        let campaign = format!("/api/v1/campaigns/{}", world.id("campaign"));
        world.post(&format!("{campaign}/start"), &json!({})).await.good("start");
        for action in ["unschedule", "start", "stop"] {
            let path = format!("{campaign}/{action}");
            let body = (action == "start").then(|| json!({}));
            let first = post(&world, &path, action, &world.ours.key, body.as_ref()).await;
            let again = post(&world, &path, action, &world.ours.key, body.as_ref()).await;
            assert_eq!((first.status.as_u16(), first.text()), (200, again.text()), "{} {action}", world.kind);
            if action != "start" {
                post(&world, &path, "another", &world.ours.key, body.as_ref()).await.problem(409, action);
            }
        }
        let body = json!({ "name": "Third" });
        let mut names = Vec::new();
        for _ in 0..2 {
            let mut request = request(Method::POST, "/api/v1/workspaces", "", Some(&body));
            request.headers_mut().insert("idempotency-key", "w".parse().unwrap());
            request.extensions_mut().insert(postrider_web::LocalAdmin);
            names.push(send(&world.router, request).await.good("workspace")["id"].clone());
        }
        assert_eq!(names[0], names[1], "{}", world.kind);
    }
}
