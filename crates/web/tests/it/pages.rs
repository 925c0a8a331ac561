//! What the application's pages ask for: nobody's text is lost, files are looked at, sessions end one by one.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::people::{log_in, with_cookie};
use crate::world::{Answer, World, both, one, send};

async fn put(world: &World, path: &str, body: &Value) -> Answer {
    world.call(Method::PUT, path, &world.ours.key, Some(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_saves_second_gets_both_texts() {
    for world in both("twosave").await {
        let campaign = format!("/api/v1/campaigns/{}", world.id("campaign"));
        let path = format!("{campaign}/draft");
        let text = |subject: &str, rev: i64| json!({ "rev": rev, "draft": { "subject": subject, "body": "<p>x</p>" } });
        let first = put(&world, &path, &text("mine", 1)).await.good("first");
        assert_eq!(first["draft_rev"], 2);
        let late = put(&world, &path, &text("theirs", 1)).await.problem(409, "second");
        assert_eq!(late["code"], "outdated");
        assert_eq!((&late["current"]["draft"]["subject"], &late["current"]["draft_rev"]), (&json!("mine"), &json!(2)));
        assert!(late["current"]["saved_by"].as_str().unwrap().starts_with("key_"), "{late}");
        put(&world, &path, &text("theirs", 2)).await.good("again");
        let history = world.get(&format!("{campaign}/history")).await.good("history");
        let subjects: Vec<&str> =
            history["items"].as_array().unwrap().iter().map(|r| r["subject"].as_str().unwrap()).collect();
        assert_eq!(subjects, ["theirs", "mine", "Hello {{ first_name }}"], "{}", world.kind);
        let old = world.get(&format!("{campaign}/history/2")).await.good("revision");
        assert_eq!(old["draft"]["subject"], "mine");
        world.get(&format!("{campaign}/history/99")).await.problem(404, "no such revision");
        // Of a campaign that is no draft any more it is the state that refuses, not the revision.
        world.post(&format!("{campaign}/start"), &json!({ "undo_seconds": 60 })).await;
        let refused = put(&world, &path, &text("late", 3)).await;
        if refused.status == 409 {
            assert_eq!(refused.json()["code"], "conflict");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_begins_with_a_template() {
    for world in both("fromtpl").await {
        let input = json!({
            "name": "Plain", "language": "it", "draft": { "subject": "Ciao", "format": "markdown", "body": "# Ciao" }
        });
        let template = world.post("/api/v1/templates", &input).await.good("template");
        let made = world.post("/api/v1/campaigns", &json!({ "name": "New", "template": template["id"] })).await;
        let made = made.good("campaign");
        assert_eq!((&made["draft"]["subject"], &made["draft"]["format"]), (&json!("Ciao"), &json!("markdown")));
        let both_given = json!({ "name": "New", "template": template["id"], "draft": {} });
        world.post("/api/v1/campaigns", &both_given).await.problem(422, "two texts");
        world.post("/api/v1/templates", &json!({ "name": "Nothing" })).await.problem(422, "no text");
        let foreign = json!({ "name": "New", "template": world.theirs.ids["template"] });
        world.post("/api/v1/campaigns", &foreign).await.problem(404, "a foreign template");
        let foreign = json!({ "name": "New", "from_campaign": world.theirs.ids["campaign"] });
        world.post("/api/v1/templates", &foreign).await.problem(404, "a foreign campaign");
        let path = format!("/api/v1/templates/{}", template["id"].as_str().unwrap());
        put(&world, &format!("{path}/draft"), &json!({ "rev": 1, "draft": { "subject": "Salve" } })).await.good("put");
        put(&world, &format!("{path}/draft"), &json!({ "rev": 1, "draft": {} })).await.problem(409, "an old revision");
        let again = world.get(&format!("/api/v1/campaigns/{}", made["id"].as_str().unwrap())).await.good("campaign");
        assert_eq!(again["draft"]["subject"], "Ciao", "campaigns keep the text that they began with");
    }
}

async fn inspect(world: &World, query: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/imports/inspect{query}"))
        .header("authorization", format!("Bearer {}", world.ours.key))
        .header("content-type", "text/csv")
        .body(body.into())
        .unwrap();
    send(&world.router, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_looked_at_and_nothing_is_kept_of_it() {
    for world in both("inspect").await {
        let imports = world.get("/api/v1/imports").await.good("imports");
        let files = || std::fs::read_dir(world.folder.path().join("imports")).map_or(0, Iterator::count);
        let before = files();
        let text = "Nome;Posta elettronica;Città\r\nCarla;carla@example.net;Forlì\r\nDario;dario@example.net;Roma\r\n\
                    Nuova;nuova@example.net;Pisa\r\nNuova;NUOVA@example.net;Pisa\r\nChi;;Bari\r\nMah;nobody;Bari\r\nx;y\r\n";
        let seen = inspect(&world, "", text).await.good("head");
        assert_eq!(
            (&seen["charset"], &seen["delimiter"], &seen["heading"]),
            (&json!("UTF-8"), &json!(";"), &json!(true))
        );
        assert_eq!(seen["columns"][1]["role"], "mailbox");
        assert_eq!(seen["columns"][1]["confidence"], "heading");
        assert_eq!(
            (&seen["columns"][0]["attribute"], &seen["columns"][0]["confidence"]),
            (&json!("nome"), &json!("own_name"))
        );
        assert_eq!(seen["columns"][2]["examples"], json!(["Forlì", "Roma", "Pisa"]));
        assert_eq!((seen["rows"].as_array().unwrap().len(), &seen["dry_run"]), (7, &json!(null)));
        let whole = inspect(&world, "?whole=true", text).await.good("whole");
        let run = &whole["dry_run"];
        let figure = |name: &str| run[name].as_i64().unwrap();
        let figures = ["rows", "new", "known", "repeated", "suppressed"].map(figure);
        assert_eq!(figures, [7, 2, 1, 1, 1], "{} {run}", world.kind);
        assert_eq!(run["refused"], json!({ "no_mailbox": 1, "bad_mailbox": 1, "cell_count": 1 }), "{run}");
        assert_eq!((&run["examples"][0]["row"], &run["examples"][0]["raw"]), (&json!(5), &json!("Chi;;Bari")));
        // The mapping is the import's own.
        let params = r#"?whole=true&params=%7B%22mailbox%22:%22Nome%22%7D"#;
        let odd = inspect(&world, params, text).await.good("mapped");
        assert_eq!(
            (&odd["columns"][0]["role"], &odd["columns"][0]["confidence"]),
            (&json!("mailbox"), &json!("named"))
        );
        assert_eq!(odd["dry_run"]["refused"]["bad_mailbox"], 6, "{odd}");
        let none = inspect(&world, "?whole=true", "a,b\n1,2\n").await.good("no mailboxes");
        assert!(none["problem"].as_str().unwrap().contains("mapping"), "{none}");
        assert_eq!((&none["columns"][0]["role"], &none["rows"]), (&json!("unknown"), &json!([["1", "2"]])));
        inspect(&world, "", "").await.problem(422, "an empty file");
        assert_eq!(world.get("/api/v1/imports").await.good("imports"), imports);
        assert_eq!(files(), before, "nothing is left on disk");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_and_the_figures_answer() {
    for world in both("firstpage").await {
        let home = world.get("/api/v1/home").await.good("home");
        let codes: Vec<&str> =
            home["attention"].as_array().unwrap().iter().map(|a| a["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["domain_unchecked"], "{home}");
        assert_eq!(home["days"].as_array().unwrap().len(), 7);
        let done = |code: &str| {
            home["setup"].as_array().unwrap().iter().find(|s| s["code"] == code).unwrap()["done"].as_bool().unwrap()
        };
        assert!(done("route") && done("consent") && !done("send") && !done("domain_dns"));
        assert_eq!(home["ready_to_send"], true);
        let campaign = format!("/api/v1/campaigns/{}", world.id("campaign"));
        let audience = world.get(&format!("{campaign}/audience")).await.good("audience");
        assert_eq!((&audience["recipients"], &audience["excluded"]), (&json!(1), &json!({})), "{audience}");
        let series = world.get(&format!("{campaign}/series")).await.good("series");
        assert_eq!(series["points"], json!([]));
        let count = world.get("/api/v1/contacts/count?search=car").await.good("count");
        assert_eq!(count, json!({ "count": 1, "at_least": false }));
        let attributes = world.get("/api/v1/attributes").await.good("attributes");
        assert_eq!(attributes["items"], json!([{ "name": "first_name", "share": 1.0 }]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_free_mailboxes_come_with_a_warning() {
    let world = one("freehost").await;
    let hint = world.get("/api/v1/routes/hint?host=smtp.gmail.com").await.good("hint");
    assert_eq!((&hint["provider"], &hint["suggested_per_day"]), (&json!("Gmail"), &json!(500)));
    let none = world.get("/api/v1/routes/hint?host=smtp.example.org").await.good("hint");
    assert_eq!(none, json!({ "warning": null, "provider": null, "suggested_per_day": null }));
    let settings = json!({ "settings": {
        "name": "free", "kind": "smarthost", "host": "smtp.libero.it", "port": 465, "tls": "implicit", "exclusion": "global"
    } });
    let made = world.post("/api/v1/routes", &settings).await.good("route");
    assert!(made["warning"].as_str().unwrap().contains("Libero"), "{made}");
    assert_eq!(made["settings"]["exclusion"], "global");
    let path = format!("/api/v1/routes/{}", world.id("route"));
    let mx = world.get(&path).await.good("mx");
    assert_eq!((&mx["warning"], &mx["settings"]["exclusion"]), (&json!(null), &json!("campaign")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_ends_and_the_others_stay() {
    for world in both("onesession").await {
        let mailbox = "admin@ours.example.org";
        let password = "correct horse battery";
        let (here, there) =
            (log_in(&world.router, mailbox, password).await, log_in(&world.router, mailbox, password).await);
        let theirs = log_in(&world.router, "admin@theirs.example.org", password).await;
        let list = async |cookie: &str| {
            with_cookie(&world.router, Method::GET, "/api/v1/sessions", cookie, &[], None).await.good("sessions")
        };
        let seen = list(&here).await;
        let items = seen["items"].as_array().unwrap();
        assert_eq!(items.iter().filter(|s| s["current"] == true).count(), 1);
        let other = items.iter().find(|s| s["current"] == false).unwrap()["id"].as_str().unwrap();
        assert!(!there.contains(other), "the name opens nothing");
        let path = format!("/api/v1/sessions/{other}");
        let origin = [("origin", "https://ours.example.org"), ("sec-fetch-site", "same-origin")];
        let end = async |cookie: &str| with_cookie(&world.router, Method::DELETE, &path, cookie, &origin, None).await;
        end(&theirs).await.problem(404, "of another account");
        assert_eq!(end(&here).await.status, 204);
        assert_eq!(list(&here).await["items"].as_array().unwrap().len(), 1);
        with_cookie(&world.router, Method::GET, "/api/v1/sessions", &there, &[], None).await.problem(401, "ended");
        end(&here).await.problem(404, "twice");
    }
}
