//! Who may do what, for every operation of the OpenAPI file (Must show 9, SEC-71, SEC-72).

use axum::http::Method;
use postrider_domain::access::Scope;
use serde_json::{Value, json};

use crate::openapi::operations;
use crate::world::{World, both};

/// The path with each name replaced.
pub fn fill(path: &str, id: impl Fn(&str) -> String) -> String {
    path.split('/')
        .map(|piece| match piece.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
            Some(name) => id(name),
            None => piece.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn example(operation: &Value) -> Option<Value> {
    operation.pointer("/requestBody/content/application~1json/example").cloned()
}

/// Ids of the right form that name nothing.
fn nobody(world: &World, name: &str) -> String {
    let known = world.id(name);
    if name == "workspace" {
        // What the key belongs to; another one is not found whatever the scopes.
        return known.to_owned();
    }
    match known.split_once('_') {
        Some((prefix, _)) => format!("{prefix}_0000000000007"),
        None => known.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_its_scope_and_nothing_else_opens_it() {
    for world in both("matrix").await {
        let mut keys = Vec::new();
        for scope in Scope::ALL {
            let others: Vec<Scope> = Scope::ALL.iter().copied().filter(|s| s != scope).collect();
            keys.push((scope.as_str(), world.key(&[*scope]).await, world.key(&others).await));
        }
        let bare = world.key(&[]).await;
        for (method, path, operation) in operations() {
            let about = format!("{} {method} {path}", world.kind);
            let word = operation["x-postrider-scope"].as_str().unwrap();
            let method: Method = method.parse().unwrap();
            let path = fill(&path, |name| nobody(&world, name));
            let body = example(&operation);
            let call = async |key: &str| world.call(method.clone(), &path, key, body.as_ref()).await;
            if matches!(word, "public" | "setup") {
                continue;
            }
            call("").await.problem(401, &about);
            call("pr_nonsense").await.problem(401, &about);
            match word {
                "any" => {
                    let status = call(&bare).await.status.as_u16();
                    assert!(!matches!(status, 401 | 403) && status < 500, "{about}: {status}");
                }
                // The world has a second workspace, of which no key of ours is an administrator.
                "session" | "local" | "installation" => {
                    call(&world.ours.key).await.problem(403, &about);
                }
                scope => {
                    let (_, with, without) = keys.iter().find(|(s, _, _)| *s == scope).unwrap();
                    let problem = call(without).await.problem(403, &about);
                    assert_eq!(problem["code"], "missing_scope", "{about}");
                    assert!(problem["detail"].as_str().unwrap().contains(scope), "{about}");
                    let answer = call(with).await;
                    let status = answer.status.as_u16();
                    assert!(!matches!(status, 401 | 403), "{about}: {status} {}", answer.text());
                    assert!(status < 500, "{about}: {status} {}", answer.text());
                }
            }
        }
    }
}

/// The example with every id in it made to name something of ours, so that only the path is foreign.
fn localised(world: &World, body: Option<Value>) -> Option<Value> {
    let text = body?.to_string().replace("pur_0000000000000", world.theirs.ids["purpose"].as_str());
    Some(serde_json::from_str(&text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workspaces_id_is_not_found() {
    for world in both("foreign").await {
        let before = everything(&world).await;
        for (method, path, operation) in operations() {
            let word = operation["x-postrider-scope"].as_str().unwrap();
            if !path.contains('{') || matches!(word, "public" | "session" | "local" | "installation") {
                continue;
            }
            let about = format!("{} {method} {path}", world.kind);
            let path = fill(&path, |name| world.id(name).to_owned());
            let body = localised(&world, example(&operation));
            // They call with every right that they have, and with an id of ours.
            let answer = world.call(method.parse().unwrap(), &path, &world.theirs.key, body.as_ref()).await;
            answer.problem(404, &about);
        }
        assert_eq!(everything(&world).await, before, "{}: something of ours was changed", world.kind);
    }
}

/// What we have, as our own key sees it.
async fn everything(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for (method, path, operation) in operations() {
        let word = operation["x-postrider-scope"].as_str().unwrap();
        let json = operation.pointer("/responses/200/content/application~1json").is_some();
        let stays =
            !matches!(path.as_str(), "/api/v1/audit" | "/api/v1/keys" | "/api/v1/openapi.json" | "/api/v1/attempts");
        if method == "GET" && json && stays && !matches!(word, "session" | "local" | "installation") {
            let path = fill(&path, |name| world.id(name).to_owned());
            all.push(world.get(&path).await.good(&path));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_another_workspace_inside_bodies_and_queries_are_not_found_either() {
    for world in both("inside").await {
        let (ours, theirs) = (&world.ours.ids, &world.theirs.ids);
        let key = &world.theirs.key;
        let get = [
            format!("/api/v1/contacts?list={}", ours["list"]),
            format!("/api/v1/deliveries?campaign={}", ours["campaign"]),
            format!("/api/v1/deliveries?contact={}", ours["contact"]),
            format!("/api/v1/deliveries?message={}", ours["message"]),
            format!("/api/v1/deliveries.csv?campaign={}", ours["campaign"]),
            format!("/api/v1/attempts?campaign={}", ours["campaign"]),
            format!("/api/v1/attempts?delivery={}", ours["delivery"]),
            format!("/api/v1/attempts.csv?delivery={}", ours["delivery"]),
            format!("/api/v1/campaigns/{}/preview?contact={}", theirs["campaign"], ours["contact"]),
        ];
        for path in get {
            world.call(Method::GET, &path, key, None).await.problem(404, &format!("{} {path}", world.kind));
        }
        let post = [
            (format!("/api/v1/lists/{}/members", theirs["list"]), json!({ "contacts": [ours["contact"]] })),
            ("/api/v1/contacts".into(), json!({ "mailbox": "gino@example.net", "lists": [ours["list"]] })),
            (
                format!("/api/v1/contacts/{}/consents", theirs["contact"]),
                json!({ "purpose": ours["purpose"], "state": "withdrawn", "source": "x" }),
            ),
            (
                format!("/api/v1/contacts/{}/consents", theirs["contact"]),
                json!({ "purpose": theirs["purpose"], "state": "granted", "basis": "consent", "wording": world.ours.wording, "source": "x" }),
            ),
            ("/api/v1/campaigns".into(), json!({ "name": "x", "route": ours["route"] })),
            (
                format!("/api/v1/campaigns/{}/test", theirs["campaign"]),
                json!({ "to": ["a@example.net"], "contact": ours["contact"] }),
            ),
        ];
        for (path, body) in post {
            let answer = world.call(Method::POST, &path, key, Some(&body)).await;
            answer.problem(404, &format!("{} {path} {body}", world.kind));
        }
        // A list of ours in their audience: the draft saves, the check says that it does not exist.
        let campaign = json!({ "name": "x", "audience": { "include": [ours["list"]], "purpose": ours["purpose"] } });
        let answer = world.call(Method::POST, "/api/v1/campaigns", key, Some(&campaign)).await;
        if answer.status.is_success() {
            let check = format!("/api/v1/campaigns/{}/check", answer.json()["id"].as_str().unwrap());
            let found = world.call(Method::GET, &check, key, None).await.good(&check).to_string();
            assert!(found.contains("unknown_list") && found.contains("no_purpose"), "{found}");
        } else {
            answer.problem(404, "campaign");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_header_opens_no_other_workspace() {
    let world = crate::world::one("header").await;
    let mut request = crate::world::request(Method::GET, "/api/v1/lists", &world.theirs.key, None);
    request.headers_mut().insert("postrider-workspace", world.ours.workspace.parse().unwrap());
    crate::world::send(&world.router, request).await.problem(404, "a foreign workspace");
    let path = format!("/api/v1/workspaces/{}", world.ours.workspace);
    world.call(Method::GET, &path, &world.theirs.key, None).await.problem(404, "a foreign workspace");
    let mine = world.call(Method::GET, "/api/v1/workspaces", &world.theirs.key, None).await.good("workspaces");
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
}
