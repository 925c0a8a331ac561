//! Public pages: one-click in both encodings, safe methods change nothing, changed tokens are 404 (Must show 4, SR-12…17).

use axum::body::Body;
use axum::http::{Method, Request};
use postrider_domain::consent::ConsentState;
use postrider_domain::id::ContactId;
use postrider_mail::token::{HostedToken, OptOutToken};
use serde_json::{Value, json};

use crate::world::{Answer, World, both, one, send};

const URLENCODED: &str = "application/x-www-form-urlencoded";

async fn facts(world: &World) -> OptOutToken {
    let id = |name: &str| world.id(name).to_owned();
    OptOutToken {
        workspace: world.workspace().get(),
        contact: id("contact").parse::<ContactId>().unwrap().get(),
        purpose: world.purpose().get(),
        delivery: 5,
    }
}

async fn token(world: &World) -> String {
    let keys = world.store().link_keys(world.workspace()).await.unwrap();
    facts(world).await.encode(&keys.current)
}

/// As a mailbox provider sends it: no cookie, no key, no Accept.
async fn post(world: &World, path: &str, content_type: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "evil.example")
        .header("content-type", content_type)
        .body(Body::from(body.to_owned()))
        .unwrap();
    send(&world.router, request).await
}

async fn call(world: &World, method: Method, path: &str) -> Answer {
    send(&world.router, Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

async fn consent(world: &World) -> ConsentState {
    let contact = world.id("contact").parse().unwrap();
    world.store().consents(world.workspace(), contact).await.unwrap()[0].state
}

/// Everything that an opt-out could change.
async fn book(world: &World) -> Value {
    let contact = world.id("contact");
    let mut all = Vec::new();
    for path in [
        format!("/api/v1/contacts/{contact}"),
        format!("/api/v1/contacts/{contact}/consents"),
        format!("/api/v1/contacts/{contact}/ledger"),
        format!("/api/v1/contacts/{contact}/timeline"),
        "/api/v1/suppressions".to_owned(),
    ] {
        all.push(world.get(&path).await.good(&path));
    }
    Value::Array(all)
}

#[track_caller]
fn is_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    for (name, want) in [
        ("content-type", "text/html; charset=utf-8"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), want, "{name}");
    }
    assert!(answer.header("x-robots-tag").contains("noindex"));
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(answer.headers.get("set-cookie").is_none() && answer.headers.get("location").is_none());
    let html = answer.text();
    assert!(!html.contains("<script") && !html.contains(" on") || !html.contains("onclick"), "{html}");
    assert!(!html.contains("evil.example"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_works_in_both_encodings_without_cookies() {
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    for (content_type, body) in [
        (URLENCODED, "List-Unsubscribe=One-Click"),
        ("multipart/form-data; boundary=b", multipart),
        ("multipart/form-data; boundary=\"b\"", multipart),
        // Nothing else than the token may be needed.
        (URLENCODED, ""),
        ("text/plain", "List-Unsubscribe=One-Click"),
    ] {
        for world in both("oneclick").await {
            let path = format!("/u/{}", token(&world).await);
            assert_eq!(consent(&world).await, ConsentState::Granted);
            is_page(&post(&world, &path, content_type, body).await, 200);
            assert_eq!(consent(&world).await, ConsentState::Withdrawn, "{} {content_type} {body:?}", world.kind);
            let after = book(&world).await;
            for _ in 0..9 {
                is_page(&post(&world, &path, content_type, body).await, 200);
            }
            assert_eq!(book(&world).await, after, "{}: repeating it changed something", world.kind);
            let ledger = after[2]["items"].as_array().unwrap().iter().filter(|e| e["kind"] == "withdrawn").count();
            assert_eq!(ledger, 1, "ten posts are one event");
            // The person's list only (SR-20): nothing else is suppressed.
            assert_eq!(after[4]["items"].as_array().unwrap().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_road_is_told_and_only_a_person_leaves_an_address() {
    let world = one("road").await;
    let path = format!("/u/{}", token(&world).await);
    post(&world, &path, URLENCODED, "List-Unsubscribe=One-Click").await;
    let evidence = book(&world).await[2]["items"][0]["evidence"].clone();
    assert_eq!(evidence["method"], "one_click", "{evidence}");
    assert!(evidence["delivery"].as_str().unwrap().starts_with("dlv_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_head_and_options_change_nothing() {
    for world in both("safe").await {
        let keys = world.store().link_keys(world.workspace()).await.unwrap();
        let token = token(&world).await;
        let f = facts(&world).await;
        let hosted =
            HostedToken { workspace: f.workspace, contact: f.contact, purpose: f.purpose, delivery: f.delivery };
        let before = book(&world).await;
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::GET] {
            for path in [
                format!("/u/{token}"),
                format!("/u/{token}?List-Unsubscribe=One-Click&choice=all"),
                format!("/p/{token}"),
                format!("/p/{token}?withdraw=all"),
                format!("/h/{}", hosted.encode(&keys.current)),
            ] {
                let status = call(&world, method.clone(), &path).await.status.as_u16();
                assert!(status < 500, "{method} {path}: {status}");
            }
        }
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            call(&world, method, &format!("/u/{token}")).await.problem(405, "another method");
        }
        assert_eq!(book(&world).await, before, "{}", world.kind);
        is_page(&call(&world, Method::GET, &format!("/u/{token}")).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_changed_character_of_a_token_is_not_found_and_changes_nothing() {
    for world in both("token").await {
        let token = token(&world).await;
        let before = book(&world).await;
        let letters: Vec<char> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars().collect();
        for at in 0..token.len() {
            for add in [1, 7, 31] {
                let mut changed: Vec<char> = token.chars().collect();
                let place = letters.iter().position(|l| *l == changed[at]).unwrap();
                changed[at] = letters[(place + add) % 64];
                let changed: String = changed.into_iter().collect();
                for path in [format!("/u/{changed}"), format!("/p/{changed}")] {
                    is_page(&post(&world, &path, URLENCODED, "List-Unsubscribe=One-Click&withdraw=all").await, 404);
                }
            }
            let path = format!("/u/{}", &token[..at]);
            let status = post(&world, &path, URLENCODED, "").await.status.as_u16();
            assert_eq!(status, 404, "cut at {at}");
        }
        let keys = world.store().link_keys(world.workspace()).await.unwrap();
        let theirs = world.store().link_keys(world.theirs.workspace.parse().unwrap()).await.unwrap();
        let f = facts(&world).await;
        let hosted =
            HostedToken { workspace: f.workspace, contact: f.contact, purpose: f.purpose, delivery: f.delivery };
        for (foreign, about) in [
            (format!("{token}A"), "something added"),
            (format!("{token}="), "padding"),
            (f.encode(&theirs.current), "signed by another workspace"),
            (hosted.encode(&keys.current), "a token of another kind"),
            ("%00".to_owned(), "a NUL"),
            ("%2e%2e".to_owned(), "dots"),
        ] {
            let status = post(&world, &format!("/u/{foreign}"), URLENCODED, "").await.status.as_u16();
            assert_eq!(status, 404, "{about}");
        }
        call(&world, Method::GET, &format!("/h/{token}")).await;
        assert_eq!(book(&world).await, before, "{}", world.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_erased_contact_still_answers_200() {
    for world in both("erased").await {
        let keys = world.store().link_keys(world.workspace()).await.unwrap();
        let mut unknown = facts(&world).await;
        unknown.contact = 77;
        let mut no_purpose = facts(&world).await;
        no_purpose.purpose = 78;
        let erased = token(&world).await;
        let path = format!("/api/v1/contacts/{}", world.id("contact"));
        world.call(Method::DELETE, &path, &world.ours.key, None).await.good("erasure");
        for token in [unknown.encode(&keys.current), no_purpose.encode(&keys.current), erased] {
            is_page(&call(&world, Method::GET, &format!("/u/{token}")).await, 200);
            is_page(&post(&world, &format!("/u/{token}"), URLENCODED, "List-Unsubscribe=One-Click").await, 200);
            is_page(&post(&world, &format!("/u/{token}"), URLENCODED, "choice=all").await, 200);
            is_page(&call(&world, Method::GET, &format!("/p/{token}")).await, 200);
            is_page(&post(&world, &format!("/p/{token}"), URLENCODED, "withdraw=all").await, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_offers_all_mailings_and_the_preference_page_shows_and_stops_them() {
    for world in both("prefs").await {
        let token = token(&world).await;
        let page = call(&world, Method::GET, &format!("/u/{token}")).await;
        is_page(&page, 200);
        let html = page.text();
        for part in ["Newsletter", "https://example.org/privacy", "Via Roma 1", "c…@example.net", "value=\"all\""] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("carla@example.net"), "the whole mailbox is not shown to whoever has the link");
        let html = call(&world, Method::GET, &format!("/p/{token}")).await.text();
        assert!(html.contains("You receive it.") && html.contains("Offers"), "{html}");
        let stopped =
            post(&world, &format!("/p/{token}"), URLENCODED, &format!("withdraw={}", world.id("purpose"))).await;
        is_page(&stopped, 200);
        assert!(!stopped.text().contains("You receive it.") && stopped.text().contains("Your choice is saved."));
        assert_eq!(consent(&world).await, ConsentState::Withdrawn);
        // A purpose of somebody else changes nothing.
        let before = book(&world).await;
        post(&world, &format!("/p/{token}"), URLENCODED, &format!("withdraw={}", world.theirs.ids["purpose"])).await;
        post(&world, &format!("/p/{token}"), URLENCODED, "withdraw=nonsense").await;
        assert_eq!(book(&world).await, before);
        is_page(&post(&world, &format!("/u/{token}"), URLENCODED, "choice=all").await, 200);
        let suppressed = book(&world).await[4].to_string();
        assert!(suppressed.contains("carla@example.net") && suppressed.contains("opt_out"), "{suppressed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_text_on_the_pages_never_markup() {
    let world = one("xss").await;
    let path = format!("/api/v1/purposes/{}", world.id("purpose"));
    let name = "<img src=x onerror=alert(1)>\"'";
    world.call(Method::PATCH, &path, &world.ours.key, Some(&json!({ "name": name }))).await.good("rename");
    let path = format!("/api/v1/workspaces/{}", world.ours.workspace);
    let change = json!({ "controller_name": "<b>Bakery</b>", "postal_address": "<i>Street</i>" });
    world.call(Method::PATCH, &path, &world.ours.key, Some(&change)).await.good("change");
    let token = token(&world).await;
    for path in [format!("/u/{token}"), format!("/p/{token}")] {
        let html = call(&world, Method::GET, &path).await.text();
        for bad in ["<img", "<b>", "<i>"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
        assert!(html.contains("&lt;b&gt;Bakery") || html.contains("&#60;b&#62;Bakery"), "{html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosted_copy_is_off_until_the_workspace_turns_it_on() {
    let world = one("hosted").await;
    let keys = world.store().link_keys(world.workspace()).await.unwrap();
    let f = facts(&world).await;
    let token = HostedToken { workspace: f.workspace, contact: f.contact, purpose: f.purpose, delivery: f.delivery };
    let path = format!("/h/{}", token.encode(&keys.current));
    is_page(&call(&world, Method::GET, &path).await, 404);
    let workspace = format!("/api/v1/workspaces/{}", world.ours.workspace);
    world.call(Method::PATCH, &workspace, &world.ours.key, Some(&json!({ "hosted_copies": true }))).await.good("on");
    // Still nothing: no such delivery was ever made.
    is_page(&call(&world, Method::GET, &path).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_never_come_from_the_host_header() {
    let world = one("host").await;
    for path in ["/api/v1/workspaces", "/api/v1/domains", "/api/v1/openapi.json", "/healthz"] {
        let request = Request::builder()
            .uri(path)
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("authorization", format!("Bearer {}", world.ours.key))
            .body(Body::empty())
            .unwrap();
        let answer = send(&world.router, request).await;
        assert!(!answer.text().contains("evil.example") && !format!("{:?}", answer.headers).contains("evil.example"));
    }
}
