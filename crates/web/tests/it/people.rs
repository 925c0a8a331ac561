//! Set-up, log-in, sessions: the gate before set-up, cookies, other sites, guessing (SEC-35, SEC-80, SEC-81).

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request};
use postrider_store::testing::{TestStore, open_both_at};
use serde_json::{Value, json};

use crate::matrix::fill;
use crate::openapi::operations;
use crate::world::{Answer, World, bare, both, one, request, send};

const PASSWORD: &str = "correct horse battery";

async fn stores(test: &str) -> Vec<TestStore> {
    open_both_at(test, &postrider_testkit::postgres::shared()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn before_set_up_nothing_else_answers() {
    for store in stores("gate").await {
        let (router, _, _folder) = bare(&store).await;
        for (method, path, operation) in operations() {
            let about = format!("{} {method} {path}", store.kind);
            let path = fill(&path, |_| "AAAA".to_owned());
            let body = operation.pointer("/requestBody/content/application~1json/example").cloned();
            // The authority asks for a certificate's proof whenever it likes; there is none to give away here.
            let proof = path.starts_with("/.well-known/acme-challenge/");
            if proof || matches!(path.as_str(), "/api/v1/setup" | "/healthz" | "/readyz") {
                continue;
            }
            let answer = send(&router, request(method.parse().unwrap(), &path, "", body.as_ref())).await;
            assert_eq!(answer.problem(503, &about)["code"], "not_set_up");
        }
        send(&router, request(Method::GET, "/api/v1/nothing", "", None))
            .await
            .problem(503, "unknown routes of the API");
        // The application's files answer, so that set-up can be done in it; this router has none.
        for path in ["/", "/index.html", "/anything"] {
            send(&router, request(Method::GET, path, "", None)).await.problem(404, path);
        }
        assert!(send(&router, request(Method::GET, "/healthz", "", None)).await.status.is_success());
        assert!(send(&router, request(Method::GET, "/readyz", "", None)).await.status.is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_works_once_with_the_code_within_thirty_minutes() {
    for store in stores("setup").await {
        let (router, _, _folder) = bare(&store).await;
        let input = |code: &str| {
            json!({
                "code": code, "administrator": { "mailbox": "anna@example.org", "password": PASSWORD },
                "workspace": { "name": "Bakery", "public_url": "https://mail.example.org" }
            })
        };
        let post = async |body: Value| send(&router, request(Method::POST, "/api/v1/setup", "", Some(&body))).await;
        let code = store.begin_setup().await.unwrap().unwrap();
        post(input("00000000000000000000")).await.problem(422, "a wrong code");
        store.clock.advance(30 * 60_000);
        post(input(code.reveal())).await.problem(422, "an old code");
        let code = store.begin_setup().await.unwrap().unwrap();
        let mut short = input(code.reveal());
        short["administrator"]["password"] = json!("short");
        post(short).await.problem(422, "a short password");
        let made = post(input(code.reveal())).await.good("set-up");
        assert!(made["workspace"].as_str().unwrap().starts_with("wsp_"));
        post(input(code.reveal())).await.problem(409, "a second time");
        let session = log_in(&router, "anna@example.org", PASSWORD).await;
        let me = with_cookie(&router, Method::GET, "/api/v1/session", &session, &[], None).await.good("who am I");
        assert_eq!(me["grants"][0]["workspace"], made["workspace"]);
    }
}

pub async fn log_in(router: &axum::Router, mailbox: &str, password: &str) -> String {
    let body = json!({ "mailbox": mailbox, "password": password });
    let answer = send(router, request(Method::POST, "/api/v1/session", "", Some(&body))).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["__Host-postrider=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Domain"));
    let token = cookie.split(';').next().unwrap().to_owned();
    assert!(!answer.text().contains(token.split('=').nth(1).unwrap()), "the token is in the cookie only");
    token
}

pub async fn with_cookie(
    router: &axum::Router,
    method: Method,
    path: &str,
    cookie: &str,
    headers: &[(&'static str, &str)],
    body: Option<&Value>,
) -> Answer {
    let mut request = request(method, path, "", body);
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    send(router, request).await
}

const OWN: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_useless_to_other_sites() {
    for world in both("csrf").await {
        let cookie = log_in(&world.router, "admin@ours.example.org", PASSWORD).await;
        let body = json!({ "name": "x" });
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example"), ("host", "ours.example.org")],
            &[("origin", "null"), ("host", "ours.example.org")],
        ] {
            let answer = with_cookie(&world.router, Method::POST, "/api/v1/lists", &cookie, headers, Some(&body)).await;
            answer.problem(403, &format!("{headers:?}"));
        }
        for headers in [OWN, &[("origin", "https://ours.example.org"), ("host", "ours.example.org")]] {
            with_cookie(&world.router, Method::POST, "/api/v1/lists", &cookie, headers, Some(&body))
                .await
                .good("own page");
        }
        // Reading needs no proof: the answer cannot be read by another site anyway.
        with_cookie(&world.router, Method::GET, "/api/v1/lists", &cookie, &[], None).await.good("reading");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_by_log_out_by_password_and_by_order() {
    for world in both("sessions").await {
        let who = "admin@ours.example.org";
        let alive = async |cookie: &str| {
            with_cookie(&world.router, Method::GET, "/api/v1/session", cookie, &[], None).await.status.is_success()
        };
        let one = log_in(&world.router, who, PASSWORD).await;
        let two = log_in(&world.router, who, PASSWORD).await;
        assert_ne!(one, two, "a new token at each log-in");
        let open = with_cookie(&world.router, Method::GET, "/api/v1/sessions", &one, &[], None).await.good("sessions");
        assert_eq!(open["items"].as_array().unwrap().len(), 2);
        with_cookie(&world.router, Method::DELETE, "/api/v1/session", &one, OWN, None).await.good("log out");
        assert!(!alive(&one).await && alive(&two).await);
        let new = "staple battery horse";
        let change = json!({ "present": PASSWORD, "new": new });
        let path = "/api/v1/session/password";
        let wrong = json!({ "present": "not this one at all", "new": new });
        with_cookie(&world.router, Method::PUT, path, &two, OWN, Some(&wrong)).await.problem(422, "a wrong password");
        with_cookie(&world.router, Method::PUT, path, &two, OWN, Some(&change)).await.good("change");
        assert!(!alive(&two).await, "a session does not survive the change of the password");
        let three = log_in(&world.router, who, new).await;
        let ended = with_cookie(&world.router, Method::DELETE, "/api/v1/sessions", &three, OWN, None).await.good("all");
        assert_eq!(ended["ended"], 1);
        assert!(!alive(&three).await);
        let four = log_in(&world.router, who, new).await;
        world.store.clock.advance(25 * 3_600_000);
        assert!(!alive(&four).await, "unused for a day");
        // A key is no person.
        for (method, path) in [(Method::GET, "/api/v1/sessions"), (Method::DELETE, "/api/v1/session")] {
            world.call(method, path, &world.ours.key, None).await.problem(403, path);
        }
    }
}

async fn guess(world: &World, mailbox: &str, password: &str, ip: &str) -> Answer {
    let body = json!({ "mailbox": mailbox, "password": password });
    let mut request = request(Method::POST, "/api/v1/session", "", Some(&body));
    let peer: std::net::SocketAddr = format!("{ip}:4000").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    send(&world.router, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_tells_nothing() {
    let world = one("guess").await;
    let known = guess(&world, "admin@ours.example.org", "wrong wrong wrong", "192.0.2.1").await;
    let unknown = guess(&world, "nobody@ours.example.org", "wrong wrong wrong", "192.0.2.1").await;
    let nonsense = guess(&world, "no mailbox", "wrong wrong wrong", "192.0.2.1").await;
    for answer in [&known, &unknown, &nonsense] {
        answer.problem(401, "a wrong log-in");
        assert_eq!(answer.text(), known.text(), "the answers are the same");
    }
    for _ in 0..7 {
        guess(&world, "nobody@ours.example.org", "wrong wrong wrong", "192.0.2.1").await.problem(401, "a guess");
    }
    guess(&world, "admin@ours.example.org", PASSWORD, "192.0.2.1").await.problem(429, "from this address no more");
    guess(&world, "admin@ours.example.org", PASSWORD, "192.0.2.2").await.good("another address may");
    world.store.clock.advance(10 * 60_000);
    guess(&world, "admin@ours.example.org", PASSWORD, "192.0.2.1").await.good("after ten minutes");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_this_machine_and_for_administrators() {
    let world = one("metrics").await;
    let metrics = async |peer: &str, key: &str, forwarded: bool| {
        let mut request = Request::builder().uri("/metrics");
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if forwarded {
            request = request.header("x-forwarded-for", "192.0.2.9");
        }
        let mut request = request.body(Body::empty()).unwrap();
        if !peer.is_empty() {
            request.extensions_mut().insert(ConnectInfo(peer.parse::<std::net::SocketAddr>().unwrap()));
        }
        send(&world.router, request).await.status.as_u16()
    };
    let reader = world.key(&[postrider_domain::access::Scope::CampaignsRead]).await;
    assert_eq!(metrics("127.0.0.1:9", "", false).await, 200);
    assert_eq!(metrics("[::1]:9", "", false).await, 200);
    assert_eq!(metrics("127.0.0.1:9", "", true).await, 401, "a proxy on this machine is not this machine");
    assert_eq!(metrics("192.0.2.1:9", "", false).await, 401);
    assert_eq!(metrics("", "", false).await, 401, "an unknown peer");
    assert_eq!(metrics("192.0.2.1:9", &reader, false).await, 403);
    assert_eq!(metrics("192.0.2.1:9", &world.ours.key, false).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_needs_no_key_but_names_the_workspace() {
    let world = one("local").await;
    let local =
        async |workspace: &str| crate::world::local(&world.router, workspace, Method::GET, "/api/v1/lists", None).await;
    local("").await.problem(400, "two workspaces, none named");
    assert!(local(&world.ours.workspace).await.status.is_success());
    local("wsp_0000000000007").await.problem(404, "no such workspace");
    let path = format!("/api/v1/accounts/{}/password", world.id("account"));
    world.local(Method::PUT, &path, Some(&json!({ "password": "staple battery horse" }))).await.good("reset");
    log_in(&world.router, "admin@ours.example.org", "staple battery horse").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_stops_at_once() {
    for world in both("revoke").await {
        world.get("/api/v1/lists").await.good("lists");
        let path = format!("/api/v1/keys/{}", world.id("key"));
        world.local(Method::DELETE, &path, None).await.good("revoke");
        world.get("/api/v1/lists").await.problem(401, "a revoked key");
    }
}
