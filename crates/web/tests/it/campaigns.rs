//! A campaign through the API: check, preview, test, schedule, start, take back, and what single messages do.

use axum::http::Method;
use postrider_store::account::NewAccount;
use postrider_store::actor::Actor;
use serde_json::{Value, json};

use crate::world::{World, both, one};

fn path(world: &World, rest: &str) -> String {
    format!("/api/v1/campaigns/{}{rest}", world.id("campaign"))
}

async fn save(world: &World, change: impl Fn(&mut Value)) {
    let campaign = world.get(&path(world, "")).await.good("campaign");
    let mut draft = campaign["draft"].clone();
    change(&mut draft);
    let body = json!({ "rev": campaign["draft_rev"], "draft": draft });
    world.call(Method::PUT, &path(world, "/draft"), &world.ours.key, Some(&body)).await.good("save");
}

fn codes(findings: &Value) -> Vec<String> {
    findings.as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_campaign_is_checked_shown_tested_and_started() {
    for world in both("launch").await {
        let check = world.get(&path(&world, "/check")).await.good("check");
        assert_eq!(check["ready"], true, "{}: {check}", world.kind);
        let shown =
            world.get(&path(&world, &format!("/preview?contact={}", world.id("contact")))).await.good("preview");
        assert_eq!(shown["subject"], "Hello Carla");
        assert!(shown["html"].as_str().unwrap().contains("How are you, Carla?"), "{shown}");
        assert!(shown["text"].as_str().unwrap().contains("Via Roma 1"), "the footer names the sender");
        let sent = world.post(&path(&world, "/test"), &json!({ "to": ["look@example.net"] })).await.good("test");
        let message = world.get(&format!("/api/v1/messages/{}", sent["id"].as_str().unwrap())).await.good("message");
        assert_eq!(message["test_of"], world.id("campaign"));
        assert_eq!(message["deliveries"][0]["status"], "QUEUED");
        let bytes = world
            .store()
            .message_bytes(world.workspace(), sent["id"].as_str().unwrap().parse().unwrap())
            .await
            .unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{text}");
        assert!(text.contains("<https://ours.example.org/u/"), "{text}");
        let started = world.post(&path(&world, "/start"), &json!({ "undo_seconds": 60 })).await.good("start");
        assert_eq!(started["state"], "scheduled");
        assert_eq!(started["undo_until"], "2026-11-21T12:01:00.000Z");
        let variant = started["variant"].as_str().unwrap().parse().unwrap();
        assert!(world.store().latest_version(world.workspace(), variant).await.unwrap().is_some(), "the text is kept");
        assert_eq!(world.post(&path(&world, "/unschedule"), &json!(null)).await.good("back")["state"], "draft");
        world.post(&path(&world, "/pause"), &json!(null)).await.problem(409, "a draft cannot be paused");
        let at = json!({ "local": "2026-12-01T10:00", "not_later_than_minutes": 30 });
        let scheduled = world.post(&path(&world, "/schedule"), &at).await.good("schedule");
        assert_eq!(scheduled["start_at"], "2026-12-01T09:00:00.000Z", "in the zone of the workspace");
        let patch = json!({ "rev": scheduled["rev"], "name": "x" });
        world.call(Method::PATCH, &path(&world, ""), &world.ours.key, Some(&patch)).await.problem(409, "scheduled");
        assert_eq!(world.post(&path(&world, "/stop"), &json!(null)).await.good("stop")["state"], "stopped");
        let report = world.get(&path(&world, "/report")).await.good("report");
        assert_eq!((report["balances"].as_bool(), report["ledger"]["frozen"].as_i64()), (Some(true), Some(0)));
        let audit = world.get("/api/v1/audit?limit=500").await.good("audit").to_string();
        for action in ["campaign.start", "campaign.unschedule", "campaign.schedule", "campaign.stop", "campaign.test"] {
            assert!(audit.contains(action), "{action}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_at_once_and_refuses_test_schedule_and_start() {
    for world in both("findings").await {
        save(&world, |draft| {
            draft["subject"] = json!("Hello {{ frist_name }}");
            draft["from_mailbox"] = json!("news@elsewhere.example");
        })
        .await;
        let check = world.get(&path(&world, "/check")).await.good("check");
        let found = codes(&check["findings"]);
        assert_eq!(check["ready"], false);
        assert!(found.contains(&"from_domain_not_ours".to_owned()), "{found:?}");
        let variable = check["findings"].as_array().unwrap().iter().find(|f| f["field"] == "subject").unwrap();
        assert_eq!((variable["line"].as_u64(), variable["severity"].as_str()), (Some(1), Some("error")), "{variable}");
        for (action, body) in [
            ("/test", json!({ "to": ["look@example.net"] })),
            ("/schedule", json!({ "local": "2026-12-01T10:00" })),
            ("/start", json!({})),
        ] {
            let problem = world.post(&path(&world, action), &body).await.problem(422, action);
            assert_eq!(problem["code"], "not_ready");
            assert_eq!(codes(&problem["findings"]), found, "{action}");
        }
        assert_eq!(world.get(&path(&world, "")).await.good("campaign")["state"], "draft");
        world.get(&path(&world, "/preview")).await.problem(422, "preview");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_the_past_or_with_a_nonsense_time_is_refused() {
    let world = one("past").await;
    for body in [
        json!({ "local": "2026-11-20T10:00" }),
        json!({ "local": "tomorrow" }),
        json!({ "local": "2026-12-01T10:00", "zone": "Mars/Base" }),
    ] {
        world.post(&path(&world, "/schedule"), &body).await.problem(422, &body.to_string());
    }
    for seconds in [-1, 86_401] {
        world.post(&path(&world, "/start"), &json!({ "undo_seconds": seconds })).await.problem(422, "undo");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_presets_or_ones_own() {
    let world = one("policy").await;
    let own = json!({
        "name": "mine", "max_attempts": 3, "gaps_ms": [1000], "jitter_percent": 0, "lifetime_ms": 60000, "timeout_ms": null, "in_doubt": "hold"
    });
    for (policy, attempts) in [(json!("janusmail"), 3), (json!("marketing"), 16), (own.clone(), 3)] {
        let made = world.post("/api/v1/campaigns", &json!({ "name": "x", "policy": policy })).await.good("campaign");
        assert_eq!(made["policy"]["max_attempts"], attempts);
    }
    let mut bad = own;
    bad["max_attempts"] = json!(1000);
    for policy in [json!("nonsense"), bad, json!({}), json!([])] {
        let answer = world.post("/api/v1/campaigns", &json!({ "name": "x", "policy": policy })).await;
        assert!(answer.status.is_client_error(), "{policy}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_needs_our_domain_and_a_route_and_stays_one_message() {
    for world in both("message").await {
        let body =
            |from: &str, to: Value| json!({ "from": from, "to": to, "subject": "Hé\u{1F4E8}", "html": "<p>Hi</p>" });
        let sent = world
            .post("/api/v1/messages", &body("shop@ours.example.org", json!(["a@example.net", "b@example.net"])))
            .await;
        assert_eq!(sent.status.as_u16(), 202);
        let sent = sent.json();
        assert_eq!(sent["deliveries"].as_array().unwrap().len(), 2);
        let id = sent["id"].as_str().unwrap();
        let bytes = world.store().message_bytes(world.workspace(), id.parse().unwrap()).await.unwrap();
        assert!(bytes.is_ascii() && !bytes.windows(2).any(|w| w == b"\n\n"), "7-bit, CRLF");
        let attempts = format!("/api/v1/deliveries/{}/attempts", sent["deliveries"][0]["id"].as_str().unwrap());
        assert_eq!(world.get(&attempts).await.good("attempts")["items"], json!([]));
        for (from, to) in [
            ("shop@elsewhere.example", json!(["a@example.net"])),
            ("nonsense", json!(["a@example.net"])),
            ("shop@ours.example.org", json!([])),
            ("shop@ours.example.org", json!(["a@example.net", "A@EXAMPLE.NET"])),
            ("shop@ours.example.org", json!(["a@example.net\r\nBcc: x@example.net"])),
        ] {
            world.post("/api/v1/messages", &body(from, to.clone())).await.problem(422, &format!("{from} {to}"));
        }
        let mut subject = body("shop@ours.example.org", json!(["a@example.net"]));
        subject["subject"] = json!("x\r\nBcc: evil@example.net");
        world.post("/api/v1/messages", &subject).await.problem(422, "a line break in the subject");
        let csv = world.get(&format!("/api/v1/deliveries.csv?message={id}")).await.text();
        assert!(csv.starts_with("sent_at,status,detail,attempts,mailbox") && csv.contains(",QUEUED,"), "{csv}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_change_field_by_field_and_erasure_leaves_nothing_to_read() {
    for world in both("contact").await {
        let path = format!("/api/v1/contacts/{}", world.id("contact"));
        let patch = json!({ "attributes": { "first_name": null, "city": "Torino" }, "zone": "Europe/Rome" });
        let after = world.call(Method::PATCH, &path, &world.ours.key, Some(&patch)).await.good("patch");
        assert_eq!((&after["attributes"], &after["zone"]), (&json!({ "city": "Torino" }), &json!("Europe/Rome")));
        let after =
            world.call(Method::PATCH, &path, &world.ours.key, Some(&json!({ "zone": null }))).await.good("patch");
        assert_eq!((after["zone"].is_null(), &after["attributes"]["city"]), (true, &json!("Torino")));
        world.post("/api/v1/contacts", &json!({ "mailbox": "CARLA@example.net" })).await.problem(409, "there already");
        let hint = world.post("/api/v1/contacts", &json!({ "mailbox": "info@gmial.com" })).await.good("contact");
        assert_eq!(hint["hint"], "gmail.com");
        assert_eq!(hint["marks"], json!(["role", "typo"]));
        world.call(Method::DELETE, &path, &world.ours.key, None).await.good("erasure");
        world.get(&path).await.problem(404, "erased");
        let all = world.get("/api/v1/contacts?search=carla").await.good("search");
        assert_eq!(all["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_never_gives_its_password_away() {
    for world in both("route").await {
        let settings = json!({
            "name": "s", "kind": "smarthost", "host": "smtp.example.org", "port": 587, "tls": "required", "username": "u"
        });
        let body = json!({ "settings": settings, "password": "planted-route-secret" });
        let made = world.post("/api/v1/routes", &body).await.good("route");
        assert_eq!(made["has_password"], true);
        let path = format!("/api/v1/routes/{}", made["id"].as_str().unwrap());
        let mut elsewhere = settings.clone();
        elsewhere["host"] = json!("evil.example");
        let patch = json!({ "settings": elsewhere });
        world
            .call(Method::PATCH, &path, &world.ours.key, Some(&patch))
            .await
            .problem(422, "the password does not move");
        let patch = json!({ "settings": elsewhere, "password": null });
        let moved = world.call(Method::PATCH, &path, &world.ours.key, Some(&patch)).await.good("without it");
        assert_eq!(moved["has_password"], false);
        assert!(!world.get("/api/v1/routes").await.text().contains("planted"));
        let clear = json!({ "settings": { "name": "c", "kind": "smarthost", "host": "h.example", "port": 25, "tls": "none", "username": "u" } });
        world.post("/api/v1/routes", &clear).await.problem(422, "a password in clear");
        let asked = world.post(&format!("{path}/test"), &json!(null)).await;
        assert_eq!(asked.status.as_u16(), 202, "nobody answers here");
        let inquiry = asked.json()["inquiry"].as_str().unwrap().to_owned();
        world.store().answer(inquiry.parse().unwrap(), &json!({ "ok": true })).await.unwrap();
        let later = world.get(&format!("/api/v1/probes/{inquiry}")).await.good("later");
        assert_eq!(later["answer"]["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_reach_their_workspace_only() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    for world in both("live").await {
        let open = async |key: &str| {
            let request = crate::world::request(Method::GET, "/api/v1/live", key, None);
            let response = world.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut body = response.into_body();
            body.frame().await.unwrap().unwrap();
            body
        };
        let (mut ours, mut theirs) = (open(&world.ours.key).await, open(&world.theirs.key).await);
        world.post(&path(&world, "/start"), &json!({})).await.good("start");
        let frame = ours.frame().await.unwrap().unwrap().into_data().unwrap();
        let text = String::from_utf8(frame.to_vec()).unwrap();
        assert!(text.contains("event: campaign") && text.contains(world.id("campaign")), "{text}");
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(50), theirs.frame()).await;
        assert!(quiet.is_err(), "they hear nothing of ours");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_domain_stops_a_start_unless_a_reason_is_given() {
    for world in both("red").await {
        let domain = world.id("domain").parse().unwrap();
        let found = async |at: &str, state: &str| {
            let finding = json!({ "code": "spf_twice", "state": state, "about": "bounces", "found": "", "want": "", "remedy": "" });
            let found = json!({ "ok": state != "red", "at": at, "findings": [finding] });
            world.store().domain_checked(world.workspace(), domain, &found).await.unwrap();
            codes(&world.get(&path(&world, "/check")).await.good("check")["findings"])
        };
        let red = "sending_domain_red".to_owned();
        // The clock of the test stands at 2026-11-21T12:00:00Z.
        assert!(!found("2026-11-20T11:00:00.000Z", "red").await.contains(&red), "an old look does not count");
        assert!(!found("2026-11-21T11:00:00.000Z", "amber").await.contains(&red), "DNS that is silent stops nobody");
        assert!(found("2026-11-21T11:00:00.000Z", "red").await.contains(&red));
        let refused = world.post(&path(&world, "/start"), &json!({})).await.problem(422, "red");
        assert!(refused.to_string().contains("spf_twice"), "{refused}");
        world.post(&path(&world, "/test"), &json!({ "to": ["look@example.net"] })).await.good("a test is for looking");
        let short = json!({ "override_red_domain": " x " });
        world.post(&path(&world, "/start"), &short).await.problem(422, "no reason");
        let start = json!({ "undo_seconds": 60, "override_red_domain": "the zone moves tonight" });
        world.post(&path(&world, "/start"), &start).await.good("with a reason");
        let audit = world.get("/api/v1/audit?action=campaign.red_domain").await.good("audit").to_string();
        assert!(audit.contains("the zone moves tonight") && audit.contains("spf_twice"), "{audit}");
        world.post(&path(&world, "/unschedule"), &json!(null)).await.good("back");
        let at = json!({ "local": "2026-12-01T10:00" });
        world.post(&path(&world, "/schedule"), &at).await.problem(422, "nor is it scheduled");
        found("2026-11-21T11:30:00.000Z", "note").await;
        world.post(&path(&world, "/schedule"), &at).await.good("all is well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_domain_of_a_rehearsal_only_warns() {
    let world = one("rehearsal").await;
    let made = world.post("/api/v1/domains", &json!({ "name": "bakery.test" })).await.good("domain");
    let finding = json!({ "code": "spf_missing", "state": "red", "about": "", "found": "", "want": "", "remedy": "" });
    let found = json!({ "ok": false, "at": "2026-11-21T11:00:00.000Z", "findings": [finding] });
    let id = made["id"].as_str().unwrap().parse().unwrap();
    world.store().domain_checked(world.workspace(), id, &found).await.unwrap();
    let draft = json!({ "from_mailbox": "news@bakery.test", "from_name": "Bakery", "subject": "News", "body": "<p>Bread</p>", "format": "html" });
    let made = world.post("/api/v1/campaigns", &json!({ "name": "Rehearsal", "draft": draft })).await.good("campaign");
    let check = world.get(&format!("/api/v1/campaigns/{}/check", made["id"].as_str().unwrap())).await.good("check");
    let red = check["findings"].as_array().unwrap().iter().find(|f| f["code"] == "sending_domain_red").unwrap();
    assert_eq!(red["severity"], "warning", "{check}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_have_their_scopes() {
    let world = one("roles").await;
    let new = NewAccount {
        mailbox: "viewer@ours.example.org".into(),
        name: String::new(),
        password: postrider_store::secret::Secret::new("correct horse battery".into()),
    };
    let store = world.store();
    store
        .create_account(world.workspace(), &Actor::Console, new, postrider_domain::access::Role::Viewer)
        .await
        .unwrap();
    let body = json!({ "mailbox": "viewer@ours.example.org", "password": "correct horse battery" });
    let answer = world.call(Method::POST, "/api/v1/session", "", Some(&body)).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let call = async |method: Method, path: &str, body: Option<&Value>| {
        let mut request = crate::world::request(method, path, "", body);
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
        crate::world::send(&world.router, request).await
    };
    call(Method::GET, "/api/v1/contacts", None).await.good("a viewer reads");
    call(Method::POST, "/api/v1/contacts", Some(&json!({ "mailbox": "x@example.net" })))
        .await
        .problem(403, "but does not write");
    call(Method::GET, "/api/v1/keys", None).await.problem(403, "and is no administrator");
    call(Method::GET, &path(&world, "/rows.csv"), None).await.problem(403, "nor takes all data away");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_blocks_and_in_mjml_go_the_same_way() {
    let blocks = json!({ "version": 1, "blocks": [
        { "id": "a", "type": "text", "html": "<p>How are you, {{ first_name|default('you') }}?</p>" },
        { "id": "w", "type": "conditional", "when": { "variable": "first_name", "is": "set" },
          "blocks": [{ "id": "b", "type": "button", "label": "Known", "href": "https://example.org/known" }] }
    ] });
    let mjml = "<mjml><mj-body><mj-section><mj-column><mj-text>How are you, {{ first_name|default('you') }}?</mj-text>\
                {% if first_name %}<mj-button href=\"https://example.org/known\">Known</mj-button>{% endif %}\
                </mj-column></mj-section></mj-body></mjml>";
    for world in both("blocks").await {
        for (format, body) in [("mjml", mjml.to_owned()), ("blocks", blocks.to_string())] {
            save(&world, |draft| {
                draft["format"] = json!(format);
                draft["body"] = json!(body);
            })
            .await;
            let check = world.get(&path(&world, "/check")).await.good("check");
            assert_eq!(check["ready"], true, "{format}: {check}");
            let shown =
                world.get(&path(&world, &format!("/preview?contact={}", world.id("contact")))).await.good("preview");
            for part in ["html", "text"] {
                let part = shown[part].as_str().unwrap();
                assert!(part.contains("How are you, Carla?") && part.contains("https://example.org/known"), "{part}");
                assert!(part.contains("Via Roma 1") && part.contains("/u/"), "{format}: the footer: {part}");
            }
            let nobody = world.get(&path(&world, "/preview")).await.good("preview");
            assert!(!nobody["html"].as_str().unwrap().contains("Known"), "{nobody}");
            world.post(&path(&world, "/test"), &json!({ "to": ["look@example.net"] })).await.good("test");
        }
        let started = world.post(&path(&world, "/start"), &json!({ "undo_seconds": 60 })).await.good("start");
        let variant = started["variant"].as_str().unwrap().parse().unwrap();
        assert!(world.store().latest_version(world.workspace(), variant).await.unwrap().is_some());
        world.post(&path(&world, "/unschedule"), &json!(null)).await.good("back");
        save(&world, |draft| draft["body"] = json!("{\"version\":1,\"blocks\":[{\"id\":\"s\",\"type\":\"spacer\"}]}"))
            .await;
        let check = world.get(&path(&world, "/check")).await.good("check");
        let found = check["findings"].as_array().unwrap();
        assert!(found.iter().any(|f| f["code"] == "blocks_shape" && f["field"] == "body#s"), "{check}");
    }
}
