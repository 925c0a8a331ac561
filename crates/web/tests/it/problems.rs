//! Problem documents, limits, headers, paging, the application's files.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use postrider_web::{Asset, Assets};
use serde_json::json;

use crate::world::{both, one, request, send};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_routes_and_methods_are_problems() {
    let world = one("none").await;
    world.get("/api/v1/nothing").await.problem(404, "a route");
    world.get("/api/v2/lists").await.problem(404, "a version");
    world.get("/nothing.js").await.problem(404, "a file");
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        let answer = world.call(method.clone(), "/api/v1/contacts", &world.ours.key, None).await;
        answer.problem(405, method.as_str());
        assert!(answer.header("allow").contains("GET"), "{}", answer.header("allow"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused() {
    let world = one("large").await;
    let body = json!({ "name": "x".repeat(3 * 1024 * 1024) });
    for key in ["", "k1"] {
        let mut request = request(Method::POST, "/api/v1/lists", &world.ours.key, Some(&body));
        if !key.is_empty() {
            request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        }
        send(&world.router, request).await.problem(413, "3 MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_keep_it_private() {
    let world = one("headers").await;
    for path in ["/api/v1/lists", "/api/v1/nothing", "/healthz", "/u/AAAA", "/api/v1/openapi.json"] {
        let answer = world.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    let answer = world.call(Method::GET, "/api/v1/lists", "", None).await;
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_paged_to_the_end_without_gaps_or_doubles() {
    for world in both("paging").await {
        for n in 0..7 {
            world.post("/api/v1/contacts", &json!({ "mailbox": format!("p{n}@example.net") })).await.good("contact");
        }
        for path in ["/api/v1/contacts?", "/api/v1/contacts?search=p&", "/api/v1/audit?"] {
            let mut seen = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = world.get(&format!("{path}limit=3{cursor}")).await.good(path);
                let items = page["items"].as_array().unwrap().clone();
                assert!(items.len() <= 3);
                seen.extend(items.iter().map(|i| i["id"].as_str().unwrap().to_owned()));
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            let unique: std::collections::HashSet<&String> = seen.iter().collect();
            assert_eq!(unique.len(), seen.len(), "{} {path}: doubles", world.kind);
            assert!(seen.len() >= 7, "{} {path}: {}", world.kind, seen.len());
        }
        world.get("/api/v1/contacts?cursor=AAAA").await.problem(422, "a foreign cursor");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_do_not_overwrite_each_other() {
    for world in both("rev").await {
        let path = format!("/api/v1/campaigns/{}", world.id("campaign"));
        let before = world.get(&path).await.good("campaign");
        let patch = json!({ "rev": before["rev"], "name": "First" });
        let after = world.call(Method::PATCH, &path, &world.ours.key, Some(&patch)).await.good("first");
        assert_ne!(after["rev"], before["rev"]);
        let patch = json!({ "rev": before["rev"], "name": "Second" });
        world.call(Method::PATCH, &path, &world.ours.key, Some(&patch)).await.problem(409, "second");
        let draft = json!({ "rev": before["draft_rev"], "draft": { "subject": "A" } });
        let path = format!("{path}/draft");
        world.call(Method::PUT, &path, &world.ours.key, Some(&draft)).await.good("first");
        world.call(Method::PUT, &path, &world.ours.key, Some(&draft)).await.problem(409, "second");
    }
}

struct Files;

impl Assets for Files {
    fn get(&self, path: &str) -> Option<Asset> {
        let (text, mime) = match path {
            "index.html" => ("<!doctype html>app", "text/html; charset=utf-8"),
            "assets/app.js" => ("1", "text/javascript"),
            "assets/packed.js" => ("plain", "text/javascript"),
            "frame.html" => ("<!doctype html>frame", "text/html; charset=utf-8"),
            _ => return None,
        };
        Some(Asset {
            bytes: text.into(),
            mime: mime.into(),
            etag: "\"v1\"".into(),
            gzip: (path == "assets/packed.js").then(|| "packed".into()),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_is_served_with_a_strict_policy() {
    let mut world = one("assets").await;
    world.config.assets = Arc::new(Files);
    let router = postrider_web::router(world.config.clone());
    let get = async |path: &str, etag: &str| {
        let mut request = Request::builder().uri(path);
        if !etag.is_empty() {
            request = request.header("if-none-match", etag);
        }
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    for path in ["/", "/campaigns/cmp_1", "/index.html"] {
        let answer = get(path, "").await;
        assert_eq!(answer.text(), "<!doctype html>app", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe-inline"), "{policy}");
    }
    let script = get("/assets/app.js", "").await;
    assert_eq!((script.header("content-type"), script.header("etag")), ("text/javascript", "\"v1\""));
    assert_eq!(get("/assets/app.js", "\"v1\"").await.status.as_u16(), 304);
    let frame = get("/frame.html", "").await;
    let policy = frame.header("content-security-policy");
    assert!(policy.contains("sandbox allow-scripts") && policy.contains("frame-ancestors 'self'"), "{policy}");
    for (accepted, text, coding) in
        [("gzip, br", "packed", "gzip"), ("br", "plain", ""), ("gzip;q=0", "plain", ""), ("", "plain", "")]
    {
        let request = Request::builder().uri("/assets/packed.js").header("accept-encoding", accepted);
        let answer = send(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.text().as_str(), answer.header("content-encoding")), (text, coding), "{accepted}");
        assert_eq!(answer.header("vary"), "accept-encoding");
    }
    assert_eq!(get("/assets/packed.js", "\"v1\"").await.status.as_u16(), 304);
    get("/assets/none.js", "").await.problem(404, "no such file");
    get("/api/none", "").await.problem(404, "no such route");
}
