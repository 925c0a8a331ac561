//! What pages filter and what is done to all that match: rows by mailbox, exclusions by reason, the audit, contacts in bulk.

use axum::http::Method;
use serde_json::{Value, json};

use crate::people::log_in;
use crate::world::{World, both, one, request, send};

async fn patch(world: &World, path: &str, body: Value) -> crate::world::Answer {
    world.call(Method::PATCH, path, &world.ours.key, Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_not_changed_from_an_old_revision() {
    for world in both("rev").await {
        let path = format!("/api/v1/contacts/{}", world.id("contact"));
        let seen = world.get(&path).await.good("contact");
        assert_eq!(seen["consents"], json!([{ "purpose": world.id("purpose"), "state": "granted" }]));
        let rev = &seen["rev"];
        let first = patch(&world, &path, json!({ "rev": rev, "attributes": { "city": "Turin" } })).await.good("first");
        assert_ne!(&first["rev"], rev);
        let late = patch(&world, &path, json!({ "rev": rev, "attributes": { "city": "Rome" } })).await;
        let late = late.problem(409, "late");
        assert_eq!(
            (late["code"].as_str(), &late["current"]["attributes"]["city"]),
            (Some("outdated"), &json!("Turin"))
        );
        assert_eq!(late["current"]["rev"], first["rev"]);
        // Programs that do not ask are not refused.
        patch(&world, &path, json!({ "attributes": { "city": "Rome" } })).await.good("without a revision");
        let listed = world.get("/api/v1/contacts").await.good("list");
        assert_eq!(listed["items"][0]["consents"][0]["state"], "granted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_put_on_a_list_and_saved_in_a_file() {
    for world in both("bulkweb").await {
        for i in 0..12 {
            let body = json!({ "mailbox": format!("gino{i}@example.net"), "attributes": { "city": "=1+1", "n": i } });
            world.post("/api/v1/contacts", &body).await.good("contact");
        }
        let count = world.get("/api/v1/contacts/count?search=gino&exact=true").await.good("count");
        assert_eq!((&count["count"], &count["at_least"]), (&json!(12), &json!(false)));
        let bulk = async |act: &str, expected: i64| {
            let body = json!({ "search": "gino", "act": act, "target": world.id("list"), "expected": expected });
            world.post("/api/v1/contacts/bulk", &body).await
        };
        bulk("add", 11).await.problem(409, "another number");
        assert_eq!(bulk("add", 12).await.good("add"), json!({ "matched": 12, "changed": 12 }));
        assert_eq!(bulk("remove", 12).await.good("remove")["changed"], 12);
        let file = world.get("/api/v1/contacts.csv?search=gino1").await;
        let text = file.text();
        assert!(text.starts_with("mailbox,language,zone,source,since,city,first_name,n,more\r\n"), "{text}");
        assert_eq!(text.lines().count(), 4, "gino1, gino10 and gino11: {text}");
        assert!(text.contains("\"'=1+1\""), "{text}");
        let acts = world.get("/api/v1/audit?action=contacts.").await.good("audit");
        assert_eq!(acts["items"][0]["detail"], json!({ "matched": 3 }));
        let acts = world.get(&format!("/api/v1/audit?object={}", world.id("list"))).await.good("audit");
        let words: Vec<&str> =
            acts["items"].as_array().unwrap().iter().map(|l| l["action"].as_str().unwrap()).collect();
        assert_eq!(words, ["list.remove_matching", "list.add_matching", "list.create"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_is_filtered_by_actor_and_time_page_by_page() {
    let world = one("auditweb").await;
    let count = async |query: &str| {
        let page = world.get(&format!("/api/v1/audit?limit=500{query}")).await.good(query);
        page["items"].as_array().unwrap().len()
    };
    let all = count("").await;
    assert!(all > 5);
    let (console, keys) = (count("&actor=console").await, count("&actor=key").await);
    assert!(console > 5 && keys > 0 && console + keys == all, "{console} + {keys} of {all}");
    assert_eq!(count(&format!("&actor={}", world.id("key"))).await, keys, "all of them of one key");
    assert_eq!(count(&format!("&actor={}", world.id("account"))).await, 0);
    assert_eq!(count("&until=2001-01-01T00:00:00Z").await, 0);
    assert_eq!(count("&from=2001-01-01T00:00:00Z").await, all);
    world.get("/api/v1/audit?from=yesterday").await.problem(400, "no time");
    let first = world.get("/api/v1/audit?limit=2&action=campaign").await.good("page");
    assert!(first["items"].as_array().unwrap().iter().all(|l| l["action"].as_str().unwrap().starts_with("campaign")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_sought_and_exclusions_filtered() {
    let world = one("rowsweb").await;
    let campaign = format!("/api/v1/campaigns/{}", world.id("campaign"));
    for path in [
        "/rows?search=carla",
        "/rows?search=carla&status=SENT",
        "/rows?class=mailbox_full",
        "/bounces",
        "/exclusions?reason=suppressed",
    ] {
        assert_eq!(world.get(&format!("{campaign}{path}")).await.good(path)["items"], json!([]), "{path}");
    }
    world.get(&format!("{campaign}/rows?class=mailbox_full&status=SENT")).await.problem(400, "both");
    world.get(&format!("{campaign}/rows?class=nonsense")).await.problem(400, "no class");
    world.get(&format!("{campaign}/exclusions?reason=nonsense")).await.problem(400, "no reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_become_mjml_with_their_layout() {
    let world = one("mjmlweb").await;
    let body = json!({ "version": 1, "blocks": [
        { "id": "c", "type": "columns", "columns": [
            { "width": 40, "blocks": [{ "id": "a", "type": "heading", "text": "Hello {{ first_name }}" }] },
            { "width": 60, "blocks": [{ "id": "b", "type": "button", "label": "Go", "href": "https://example.org" }] }
        ] },
        { "id": "f", "type": "footer" }
    ] });
    let made = world.post("/api/v1/blocks/mjml", &json!({ "body": body.to_string() })).await.good("mjml");
    let mjml = made["mjml"].as_str().unwrap();
    for part in ["<mjml", "<mj-column", "width=\"40%\"", "<mj-button", "{{ first_name }}", "https://example.org"] {
        assert!(mjml.contains(part), "{part} in {mjml}");
    }
    let wrong = world.post("/api/v1/blocks/mjml", &json!({ "body": "{" })).await.problem(422, "no document");
    assert!(!wrong["findings"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_route_is_not_removed() {
    let world = one("lastroute").await;
    let path = format!("/api/v1/routes/{}", world.id("route"));
    let gone = world.call(Method::DELETE, &path, &world.ours.key, None).await.problem(409, "default");
    assert!(gone["detail"].as_str().unwrap().contains("make another route the default first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_plain_http_from_elsewhere_the_log_in_says_what_to_do() {
    let world = one("plainhttp").await;
    let body = json!({ "mailbox": "admin@ours.example.org", "password": "correct horse battery" });
    let log_in_at = async |origin: &str, host: &str| {
        let mut request = request(Method::POST, "/api/v1/session", "", Some(&body));
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("host", host.parse().unwrap());
        send(&world.router, request).await
    };
    for (origin, host) in [
        ("http://192.0.2.7:8025", "192.0.2.7:8025"),
        ("http://mail.example.org", "mail.example.org"),
        ("http://[2001:db8::1]:8025", "[2001:db8::1]:8025"),
        ("http://localhost.example.org", "localhost.example.org"),
    ] {
        let answer = log_in_at(origin, host).await;
        assert_eq!(answer.header("set-cookie"), "", "{origin}");
        let problem = answer.problem(409, origin);
        assert_eq!(problem["code"], "not_encrypted");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("https") && detail.contains("ssh -N -L"), "{detail}");
    }
    for (origin, host) in [
        ("https://mail.example.org", "mail.example.org"),
        ("http://localhost:8025", "localhost:8025"),
        ("http://127.0.0.1:8025", "127.0.0.1:8025"),
        ("http://[::1]:8025", "[::1]:8025"),
    ] {
        assert!(log_in_at(origin, host).await.header("set-cookie").starts_with("__Host-"), "{origin}");
    }
    // A program without a page keeps the cookie itself.
    log_in(&world.router, "admin@ours.example.org", "correct horse battery").await;
}
