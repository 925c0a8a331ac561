//! A small installation: two workspaces that have one of everything, and keys to both.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use postrider_domain::access::Scope;
use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSeverity, Wrong};
use postrider_domain::id::{PurposeId, WorkspaceId};
use postrider_store::Store;
use postrider_store::testing::{TestStore, open_both_at};
use postrider_web::{LocalAdmin, WebConfig};
use serde_json::{Value, json};
use tower::ServiceExt;

/// An installation of its own.
pub struct World {
    pub router: Router,
    pub config: WebConfig,
    pub kind: &'static str,
    pub ours: Tenant,
    pub theirs: Tenant,
    pub folder: tempfile::TempDir,
    // Last, so that it is dropped after everything that uses it.
    pub store: TestStore,
}

/// A workspace and what is in it.
#[derive(Default)]
pub struct Tenant {
    pub workspace: String,
    /// A key with every scope.
    pub key: String,
    /// One id for each name in the paths of the OpenAPI file.
    pub ids: HashMap<&'static str, String>,
    pub wording: String,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// A problem document with this status.
    #[track_caller]
    pub fn problem(&self, status: u16, about: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{about}: {}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{about}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{about}");
        for field in ["type", "title", "detail", "code"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{about}: {field} in {problem}");
        }
        problem
    }

    #[track_caller]
    pub fn good(self, about: &str) -> Value {
        assert!(self.status.is_success(), "{about}: {} {}", self.status, self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }
}

/// Sends a request to a router.
pub async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    // A stream of events has no end to wait for.
    let endless = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let bytes =
        if endless { Vec::new() } else { body.collect().await.map(|b| b.to_bytes().to_vec()).unwrap_or_default() };
    Answer { status: parts.status, headers: parts.headers, bytes }
}

/// A request; `key` empty for none.
pub fn request(method: Method, path: &str, key: &str, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !key.is_empty() {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    match body {
        None => request.body(Body::empty()).unwrap(),
        Some(json) => request.header("content-type", "application/json").body(Body::from(json.to_string())).unwrap(),
    }
}

impl World {
    /// A call with a key.
    pub async fn call(&self, method: Method, path: &str, key: &str, body: Option<&Value>) -> Answer {
        send(&self.router, request(method, path, key, body)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &self.ours.key, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &self.ours.key, Some(body)).await
    }

    /// A call of the command line on the server, in our workspace.
    pub async fn local(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        local(&self.router, &self.ours.workspace, method, path, body).await
    }

    /// A key of our workspace with these scopes.
    pub async fn key(&self, scopes: &[Scope]) -> String {
        key(&self.router, &self.ours.workspace, scopes).await
    }

    /// The id of ours by its name in paths.
    pub fn id(&self, name: &str) -> &str {
        &self.ours.ids[name]
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn workspace(&self) -> WorkspaceId {
        self.ours.workspace.parse().unwrap()
    }

    pub fn purpose(&self) -> PurposeId {
        self.id("purpose").parse().unwrap()
    }
}

pub async fn local(router: &Router, workspace: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let mut request = request(method, path, "", body);
    if !workspace.is_empty() {
        request.headers_mut().insert("postrider-workspace", workspace.parse().unwrap());
    }
    request.extensions_mut().insert(LocalAdmin);
    send(router, request).await
}

pub async fn key(router: &Router, workspace: &str, scopes: &[Scope]) -> String {
    let body = json!({ "name": "test", "scopes": scopes });
    let made = local(router, workspace, Method::POST, "/api/v1/keys", Some(&body)).await.good("key");
    made["secret"].as_str().unwrap().to_owned()
}

/// A GIF of one transparent pixel.
pub const DOT: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01D\0;";

/// The name of a test's stores and folder must be short: it becomes part of paths.
pub async fn both(test: &str) -> Vec<World> {
    let mut worlds = Vec::new();
    for store in open_both_at(test, &postrider_testkit::postgres::shared()).await {
        worlds.push(furnish(store).await);
    }
    worlds
}

/// One world on SQLite, for what does not depend on the database.
pub async fn one(test: &str) -> World {
    furnish(postrider_store::testing::open_sqlite(test).await).await
}

/// A router over a store with nothing in it.
pub async fn bare(store: &TestStore) -> (Router, WebConfig, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let node = store.register_node().await.unwrap();
    let mut config = WebConfig::new((**store).clone(), Arc::new(store.clock.clone()), folder.path().join("imports"));
    config.writer = Some(store.queue_writer(node));
    config.inquiry_wait = Duration::from_millis(20);
    (postrider_web::router(config.clone()), config, folder)
}

async fn furnish(store: TestStore) -> World {
    let (router, config, folder) = bare(&store).await;
    let mut ours = tenant(&router, "ours").await;
    let mut theirs = tenant(&router, "theirs").await;
    for tenant in [&mut ours, &mut theirs] {
        tenant.ids.insert("alarm", alarm(&store, &tenant.workspace).await);
    }
    World { router, config, kind: store.kind, ours, theirs, folder, store }
}

/// Only the engine raises alarms; here it is done for it.
async fn alarm(store: &Store, workspace: &str) -> String {
    let key = AlarmKey::of(workspace.parse().unwrap(), AlarmKind::DomainRed, "example.org");
    let wrong = Wrong { severity: AlarmSeverity::Warning, level: 0, facts: json!({ "finding": "no SPF" }) };
    store.raise_alarm(&key, &wrong).await.unwrap().unwrap().to_string()
}

/// Makes a workspace with one of everything, through the API.
async fn tenant(router: &Router, name: &'static str) -> Tenant {
    let mut tenant = Tenant::default();
    let body = json!({
        "name": name, "controller_name": "Bakery", "postal_address": "Via Roma 1", "privacy_url": "https://example.org/privacy",
        "public_url": format!("https://{name}.example.org"), "time_zone": "Europe/Rome"
    });
    let made = local(router, "", Method::POST, "/api/v1/workspaces", Some(&body)).await.good("workspace");
    tenant.workspace = made["id"].as_str().unwrap().to_owned();
    let workspace = tenant.workspace.clone();
    let post =
        async |path: &str, body: Value| local(router, &workspace, Method::POST, path, Some(&body)).await.good(path);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut ids = HashMap::from([("workspace", workspace.clone())]);
    let account = json!({ "mailbox": format!("admin@{name}.example.org"), "password": "correct horse battery", "role": "administrator" });
    ids.insert("account", text(&post("/api/v1/accounts", account).await["id"]));
    let domain = json!({ "name": format!("{name}.example.org") });
    let domain = post("/api/v1/domains", domain).await;
    ids.insert("domain", text(&domain["id"]));
    // No name of a domain: what is foreign has to be refused.
    ids.insert("recipient_domain", text(&domain["id"]));
    ids.insert("dkim_key", text(&domain["keys"][0]["id"]));
    let settings = json!({ "settings": { "name": "mx", "kind": "mx", "tls": "opportunistic" } });
    ids.insert("route", text(&post("/api/v1/routes", settings).await["id"]));
    let source = json!({
        "name": format!("mta {name}"), "ipv4": if name == "ours" { "192.0.2.1" } else { "192.0.2.2" },
        "ehlo_name": format!("mta.{name}.example.org")
    });
    ids.insert("source", text(&post("/api/v1/egress/sources", source).await["id"]));
    let pool =
        json!({ "name": format!("pool {name}"), "members": [{ "source": ids["source"] }], "workspaces": [workspace] });
    ids.insert("pool", text(&post("/api/v1/egress/pools", pool).await["id"]));
    let credential = json!({ "name": "shop" });
    ids.insert("credential", text(&post("/api/v1/relay/credentials", credential).await["id"]));
    ids.insert("list", text(&post("/api/v1/lists", json!({ "name": "Readers" })).await["id"]));
    let purposes = local(router, &workspace, Method::GET, "/api/v1/purposes", None).await.good("purposes");
    ids.insert("purpose", text(&purposes["items"][0]["id"]));
    let wordings = format!("/api/v1/purposes/{}/wordings", ids["purpose"]);
    let wordings = local(router, &workspace, Method::GET, &wordings, None).await.good("wordings");
    tenant.wording = text(&wordings["items"][0]["id"]);
    let contact =
        json!({ "mailbox": "carla@example.net", "lists": [ids["list"]], "attributes": { "first_name": "Carla" } });
    ids.insert("contact", text(&post("/api/v1/contacts", contact).await["id"]));
    let consent = json!({
        "purpose": ids["purpose"], "state": "granted", "basis": "consent", "wording": tenant.wording, "source": "a form",
        "given_at": "2026-05-01T10:00:00Z"
    });
    post(&format!("/api/v1/contacts/{}/consents", ids["contact"]), consent).await;
    let suppression = json!({ "mailbox": "dario@example.net", "source": "asked" });
    ids.insert("suppression", text(&post("/api/v1/suppressions", suppression).await["id"]));
    let campaign = json!({
        "name": "Letter", "audience": { "include": [ids["list"]], "purpose": ids["purpose"] },
        "draft": {
            "from_mailbox": format!("news@{name}.example.org"), "from_name": "Bakery", "subject": "Hello {{ first_name }}",
            "format": "markdown", "body": "# Good day\n\nHow are you, {{ first_name }}?"
        }
    });
    ids.insert("campaign", text(&post("/api/v1/campaigns", campaign).await["id"]));
    let template = json!({ "name": "Letter", "language": "en", "from_campaign": ids["campaign"] });
    ids.insert("template", text(&post("/api/v1/templates", template).await["id"]));
    ids.insert(
        "view",
        text(&post("/api/v1/views", json!({ "name": "Anna", "query": { "search": "anna" } })).await["id"]),
    );
    let picture = local(router, &workspace, Method::POST, "/api/v1/pictures?alt=A%20dot", None).await;
    assert_eq!(picture.status.as_u16(), 415, "nothing is no picture");
    let mut upload = Request::builder().method(Method::POST).uri("/api/v1/pictures?alt=A%20dot&width=100");
    upload = upload.header("postrider-workspace", &workspace);
    let mut upload = upload.body(Body::from(DOT)).unwrap();
    upload.extensions_mut().insert(LocalAdmin);
    ids.insert("picture", text(&send(router, upload).await.good("picture")["id"]));
    ids.insert("rev", "1".into());
    let message = json!({
        "from": format!("shop@{name}.example.org"), "to": ["elena@example.net"], "subject": "Order", "text": "On its way."
    });
    let message = post("/api/v1/messages", message).await;
    // One that is over, so that it steers nothing.
    let rule = json!({ "action": "suspend", "scope": { "site": "nowhere.example" }, "reason": "to have one" });
    ids.insert("rule", text(&post("/api/v1/queue/rules", rule).await["id"]));
    let path = format!("/api/v1/queue/rules/{}", ids["rule"]);
    local(router, &workspace, Method::DELETE, &path, None).await.good("a rule is ended");
    ids.insert("message", text(&message["id"]));
    ids.insert("delivery", text(&message["deliveries"][0]["id"]));
    ids.insert("inquiry", text(&post("/api/v1/probes/dns", json!({ "domain": "example.net" })).await["inquiry"]));
    let key = json!({ "name": "every scope", "scopes": Scope::ALL });
    let key = post("/api/v1/keys", key).await;
    ids.insert("key", text(&key["id"]));
    tenant.key = text(&key["secret"]);
    let file = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/imports?file_name=a.csv")
        .header("content-type", "text/csv")
        .header("authorization", format!("Bearer {}", tenant.key))
        .body(Body::from("mailbox\r\nfranca@example.net\r\n"))
        .unwrap();
    ids.insert("import", text(&send(router, file).await.good("import")["id"]));
    ids.insert("token", "AAAA".into());
    ids.insert("session", "0123456789abcdef01234567".into());
    tenant.ids = ids;
    tenant
}
