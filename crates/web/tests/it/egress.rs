//! Egress in the API: who may change it, what a workspace sees, and the proof that a relay signs.

use axum::http::Method;
use serde_json::{Value, json};

use crate::world::{World, both, local, one};

async fn put(world: &World, path: &str, body: &Value) -> u16 {
    world.local(Method::PUT, path, Some(body)).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_and_pools_belong_to_those_who_run_the_installation() {
    for world in both("egress").await {
        // A key of one of two workspaces, whatever its scopes.
        let refused = world.get("/api/v1/egress/sources").await.problem(403, "a key");
        assert!(refused["detail"].as_str().unwrap().contains("administrator of all workspaces"), "{refused}");
        let warm = json!({ "name": "new", "ipv4": "192.0.2.9", "ipv6": "2001:db8::9", "ehlo_name": "new.example.org",
            "per_hour": 500, "warm_up": { "plan": [10, 20] } });
        let made = world.local(Method::POST, "/api/v1/egress/sources", Some(&warm)).await.good("a source");
        assert_eq!((made["state"].as_str(), &made["warm_up"]["plan"]), (Some("active"), &json!([10, 20])));
        let path = format!("/api/v1/egress/sources/{}", made["id"].as_str().unwrap());
        let since = made["warm_up"]["since"].clone();
        world.store.clock.advance(5_000);
        let mut other = warm.clone();
        other["state"] = json!("draining");
        let changed = world.local(Method::PUT, &path, Some(&other)).await.good("changed");
        assert_eq!((changed["state"].as_str(), &changed["warm_up"]["since"]), (Some("draining"), &since), "it goes on");
        for (field, wrong) in [
            ("ehlo_name", json!("localhost")),
            ("ipv4", json!("0.0.0.0")),
            ("name", json!("")),
            ("warm_up", json!({ "plan": [1, 9] })),
        ] {
            let mut body = warm.clone();
            body[field] = wrong;
            world.local(Method::PUT, &path, Some(&body)).await.problem(422, field);
        }
        // How warm it is.
        let id = made["id"].as_str().unwrap().parse().unwrap();
        let begun = format!("{path}/warm-up");
        assert_eq!(world.local(Method::GET, &begun, None).await.good("nowhere yet")["items"], json!([]));
        world.store.take_warm_up(id, "google").await.unwrap();
        world.store.pause_warm_up(id, "google", "a block: 550 go away").await.unwrap();
        let warm = world.local(Method::GET, &begun, None).await.good("warm-up")["items"][0].clone();
        assert_eq!((&warm["step"], &warm["ceiling"], &warm["carried"]), (&json!(1), &json!(10), &json!(1)));
        assert!(warm["paused_until"].is_string() && warm["reason"] == "a block: 550 go away", "{warm}");
        let site = json!({ "site": "google" });
        let resume = format!("{begun}/resume");
        assert_eq!(world.local(Method::POST, &resume, Some(&site)).await.status.as_u16(), 204);
        world.local(Method::POST, &resume, Some(&site)).await.problem(404, "not paused any more");
        assert_eq!(world.local(Method::DELETE, &path, None).await.status.as_u16(), 204);
        // A workspace sees the pools that it may use, and no other workspace.
        let pools = world.get("/api/v1/egress/pools").await.good("pools");
        let items = pools["items"].as_array().unwrap();
        assert_eq!(items.iter().map(|p| p["id"].as_str().unwrap()).collect::<Vec<_>>(), [world.id("pool")]);
        assert_eq!(items[0]["workspaces"], json!([world.ours.workspace]));
        // A route takes it; a pool of others is none.
        let route = |pool: &str| {
            json!({ "settings": { "name": "pooled", "kind": "mx", "tls": "opportunistic", "per_hour": 100,
                "egress": { "pool": pool, "rules": [{ "stream": "transactional", "pool": pool }] } } })
        };
        let made = world.post("/api/v1/routes", &route(world.id("pool"))).await.good("route");
        assert_eq!(made["settings"]["egress"]["pool"], world.id("pool"));
        let theirs = world.theirs.ids["pool"].clone();
        world.post("/api/v1/routes", &route(&theirs)).await.problem(422, "their pool");
        // Weights.
        let mine = format!("/api/v1/workspaces/{}/weight", world.ours.workspace);
        world
            .call(Method::PUT, &mine, &world.ours.key, Some(&json!({ "weight": 9 })))
            .await
            .problem(403, "its own weight");
        assert_eq!(put(&world, &mine, &json!({ "weight": 9 })).await, 204);
        assert_eq!(put(&world, &mine, &json!({ "weight": 0 })).await, 422);
        let campaign = format!("/api/v1/campaigns/{}/weight", world.id("campaign"));
        let done = world.call(Method::PUT, &campaign, &world.ours.key, Some(&json!({ "weight": 3 }))).await;
        assert_eq!(done.status.as_u16(), 204);
        // They are shown where the thing is.
        let workspace = world.get(&format!("/api/v1/workspaces/{}", world.ours.workspace)).await.good("workspace");
        let campaign = world.get(&format!("/api/v1/campaigns/{}", world.id("campaign"))).await.good("campaign");
        assert_eq!((&workspace["weight"], &campaign["weight"]), (&json!(9), &json!(3)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_of_the_queue_names_is_not_removed() {
    for world in both("egress_named").await {
        let settings = json!({ "settings": { "name": "other", "kind": "mx", "tls": "opportunistic" } });
        let route = world.post("/api/v1/routes", &settings).await.good("route")["id"].as_str().unwrap().to_owned();
        let spare = json!({ "name": "spare", "ipv4": "192.0.2.99", "ehlo_name": "spare.example.org", "state": "off" });
        let spare = world.local(Method::POST, "/api/v1/egress/sources", Some(&spare)).await.good("a source");
        let spare = spare["id"].as_str().unwrap();
        for (path, rule) in [
            (
                format!("/api/v1/routes/{route}"),
                json!({ "action": "reroute", "scope": { "site": "google" }, "reason": "x", "route": route }),
            ),
            (
                format!("/api/v1/egress/sources/{spare}"),
                json!({ "action": "suspend", "scope": { "source": spare }, "reason": "listed" }),
            ),
        ] {
            let set = world.post("/api/v1/queue/rules", &rule).await.good("a rule");
            let id = set["id"].as_str().unwrap();
            let refused = world.local(Method::DELETE, &path, None).await.problem(409, &path);
            let detail = refused["detail"].as_str().unwrap();
            assert!(detail.contains(id) && detail.contains("end that rule first"), "{detail}");
            world.local(Method::DELETE, &format!("/api/v1/queue/rules/{id}"), None).await.good("ended");
            // What the engine does when nothing is left to be undone.
            world.store().queue_rule_settled(id.parse().unwrap()).await.unwrap();
            assert_eq!(world.local(Method::DELETE, &path, None).await.status.as_u16(), 204, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_hosts_go_in_and_never_come_out_and_a_proof_needs_the_engine() {
    let world = one("relays").await;
    let settings = json!({
        "name": "relays", "kind": "smarthost", "tls": "required", "signing": "relay_rewrites",
        "hosts": [{ "host": "a.example.net", "port": 587, "username": "us" }, { "host": "b.example.net", "port": 587, "priority": 1 }]
    });
    let body = json!({ "settings": settings, "host_passwords": { "a.example.net": "top secret" } });
    let answer = world.post("/api/v1/routes", &body).await;
    assert!(!answer.text().contains("top secret"));
    let made = answer.good("route");
    assert_eq!(made["hosts_with_password"], json!(["a.example.net"]));
    let path = format!("/api/v1/routes/{}", made["id"].as_str().unwrap());
    let forget = json!({ "host_passwords": { "a.example.net": null } });
    let patch = async |body: &Value| world.call(Method::PATCH, &path, &world.ours.key, Some(body)).await;
    assert_eq!(patch(&forget).await.good("forgotten")["hosts_with_password"], json!([]));
    patch(&json!({ "host_passwords": { "c.example.net": "x" } })).await.problem(422, "no such host");
    // No engine runs here: the question waits.
    let proof = world.post(&format!("{path}/relay-proof"), &json!({ "message": "From: a@b.test\r\n\r\n" })).await;
    assert_eq!(proof.status.as_u16(), 202);
    assert_eq!(world.get(&format!("{path}/relay-proof")).await.good("proofs")["items"], json!([]));
    let large = json!({ "message": "x".repeat((1 << 20) + 1) });
    world.post(&format!("{path}/relay-proof"), &large).await.problem(422, "too large");
    let mx = format!("/api/v1/routes/{}/relay-proof", world.id("route"));
    world.post(&mx, &json!({ "message": "x" })).await.problem(422, "we sign ourselves");
    // A campaign by this route does not start.
    let default = json!({ "is_default": true });
    patch(&default).await.good("default");
    let check = world.get(&format!("/api/v1/campaigns/{}/check", world.id("campaign"))).await;
    let text = if check.status.is_success() { check.text() } else { String::new() };
    let found = local(
        &world.router,
        &world.ours.workspace,
        Method::POST,
        &format!("/api/v1/campaigns/{}/start", world.id("campaign")),
        Some(&json!({})),
    )
    .await;
    assert!(text.contains("relay_unproved") || found.text().contains("relay_unproved"), "{text} {}", found.text());
}
