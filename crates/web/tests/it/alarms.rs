//! Alarms, their settings, what they do to campaigns and Home; bounce rules of a workspace.

use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSeverity, Wrong};
use postrider_store::breaker::SiteBreaker;
use serde_json::{Value, json};

use crate::world::{World, both, one};

fn wrong(severity: AlarmSeverity) -> Wrong {
    Wrong {
        severity,
        level: 1,
        facts: json!({ "name": "Letter", "rate": 0.08, "bad": 80, "of": 1_000, "free_mib": 5 }),
    }
}

async fn kinds(world: &World, query: &str) -> Vec<(String, String)> {
    let listed = world.get(&format!("/api/v1/alarms{query}")).await.good("alarms");
    let text = |a: &Value, name: &str| a[name].as_str().unwrap().to_owned();
    listed["items"].as_array().unwrap().iter().map(|a| (text(a, "kind"), text(a, "state"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_are_listed_acknowledged_and_shown_on_home() {
    for world in both("alarms").await {
        let disk = AlarmKey::of_installation(AlarmKind::Disk, "main");
        world.store().raise_alarm(&disk, &wrong(AlarmSeverity::Critical)).await.unwrap();
        let open = |kind: &str, state: &str| (kind.to_owned(), state.to_owned());
        assert_eq!(kinds(&world, "").await, [open("disk", "open"), open("domain_red", "open")]);
        let id = world.id("alarm");
        let acknowledge = format!("/api/v1/alarms/{id}/acknowledge");
        let known = world.post(&acknowledge, &Value::Null).await.good("acknowledge");
        assert_eq!((&known["state"], &known["actions"]), (&json!("acknowledged"), &json!([])));
        assert!(known["acknowledged_by"].as_str().unwrap().starts_with("key key_"), "{known}");
        assert_eq!(known["sentence"], "The sending domain example.org is not in order any more: no SPF.");
        assert!(known["remedy"].as_str().unwrap().contains("publish"), "{known}");
        assert_eq!(kinds(&world, "?state=open").await, [open("disk", "open")]);
        assert_eq!(kinds(&world, "?state=acknowledged").await, [open("domain_red", "acknowledged")]);

        let home = world.get("/api/v1/home").await.good("home");
        assert_eq!(home["alarms"].as_array().unwrap().len(), 2);
        assert_eq!((&home["alarms"][0]["installation"], &home["alarms_are_mailed"]), (&json!(true), &json!(false)));
        let doctor = world.local(Method::GET, "/api/v1/doctor", None).await.good("doctor");
        let told: Vec<&Value> = doctor["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|c| c["name"].as_str().unwrap().starts_with("alarm "))
            .collect();
        assert!(told.iter().any(|c| c["state"] == "bad" && c["name"] == "alarm disk"), "{told:?}");
        assert_eq!(told.len(), 3, "those of both workspaces");

        world.store().resolve_alarm(&disk).await.unwrap();
        assert_eq!(kinds(&world, "?state=resolved").await, [open("disk", "resolved")]);
        assert_eq!(kinds(&world, "?state=all").await.len(), 2);
        world.get("/api/v1/alarms?state=nonsense").await.problem(400, "a state");
        // Only one about a site that denies everybody has a site that may be believed.
        world.post(&format!("/api/v1/alarms/{id}/believe"), &Value::Null).await.problem(422, "believe");
        world.post(&format!("/api/v1/alarms/{id}/take-back"), &Value::Null).await.problem(422, "take back");
        let audit = world.get("/api/v1/audit?action=alarm.").await.good("audit");
        assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denying_site_is_believed_or_its_suppressions_are_taken_back() {
    let world = one("deny").await;
    let key = AlarmKey::of_installation(AlarmKind::MassUnknown, "gmx");
    let id = world.store().raise_alarm(&key, &wrong(AlarmSeverity::Critical)).await.unwrap().unwrap();
    let now = world.store().now();
    let breaker = SiteBreaker {
        site: "gmx".into(),
        since: now,
        until: now + 1_800_000,
        unknown: 30,
        answers: 30,
        reply: "550".into(),
        suspects: vec![],
        believed_at: None,
    };
    world.store().open_breaker(&breaker).await.unwrap();
    let editor = world.key(&[Scope::CampaignsWrite, Scope::CampaignsRead]).await;
    let path = |verb: &str| format!("/api/v1/alarms/{id}/{verb}");
    world.call(Method::POST, &path("believe"), &editor, None).await.problem(403, "an editor");
    let back = world.post(&path("take-back"), &Value::Null).await.good("take back");
    assert_eq!(back["suppressions"], 0);
    world.post(&path("believe"), &Value::Null).await.good("believe");
    world.post(&path("believe"), &Value::Null).await.problem(404, "once");
    world.store().resolve_alarm(&key).await.unwrap();
    world.post(&path("believe"), &Value::Null).await.problem(409, "over");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_name_who_is_told_and_are_refused_when_they_cannot_work() {
    for world in both("alarm_settings").await {
        let put =
            async |body: Value| world.call(Method::PUT, "/api/v1/alarms/settings", &world.ours.key, Some(&body)).await;
        let first = world.get("/api/v1/alarms/settings").await.good("settings");
        assert_eq!((&first["to"], &first["pause_on_bounces"]), (&json!([]), &json!(true)));
        for bad in [
            json!({ "to": ["ann@example.net"] }),
            json!({ "to": ["ann@example.net"], "from": "alarm@elsewhere.example" }),
            json!({ "to": ["nobody"], "from": "alarm@ours.example.org" }),
            json!({ "to": [], "severities": ["bad"] }),
        ] {
            put(bad.clone()).await.problem(422, &bad.to_string());
        }
        put(json!({ "to": [], "route": world.theirs.ids["route"] })).await.problem(404, "a foreign route");
        let set =
            put(json!({ "to": ["ann@example.net"], "from": "alarm@ours.example.org", "pause_on_bounces": false }))
                .await;
        assert_eq!(set.good("put")["severities"], json!(["warning", "critical"]));
        let home = world.get("/api/v1/home").await.good("home");
        assert_eq!(home["alarms_are_mailed"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_tells_which_alarm_paused_it() {
    let world = one("paused_by").await;
    let campaign = world.id("campaign").to_owned();
    let shown = async || world.get(&format!("/api/v1/campaigns/{campaign}")).await.good("campaign");
    assert_eq!(shown().await["paused_because"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn bounce_rules_are_set_only_when_they_do_what_they_say() {
    for world in both("bounce_rules").await {
        let put = async |text: &str| {
            let body = json!({ "text": text });
            world.call(Method::PUT, "/api/v1/bounce-rules", &world.ours.key, Some(&body)).await
        };
        assert_eq!(world.get("/api/v1/bounce-rules").await.good("none")["text"], Value::Null);
        let good = "version = \"1\"\n[[rule]]\nid = \"ours.a\"\nclass = \"C4\"\npatterns = ['gone fishing']\n\
                    source = \"our observation\"\nyes = [\"550 gone fishing\"]\nno = [\"550 gone\"]\n";
        put(good).await.good("put");
        let problem = put(&good.replace("C4", "C44")).await.problem(422, "no class");
        assert!(problem["detail"].as_str().unwrap().contains("C44"), "{problem}");
        put(&good.replace("550 gone fishing", "550 at home")).await.problem(422, "a sample");
        put("\u{0}").await.problem(422, "a NUL");
        assert_eq!(world.get("/api/v1/bounce-rules").await.good("get")["text"], good);
        let delete = async || world.call(Method::DELETE, "/api/v1/bounce-rules", &world.ours.key, None).await;
        assert_eq!(delete().await.status.as_u16(), 204);
        delete().await.problem(404, "again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_bounces_are_numbers_that_make_sense_and_lie_in_the_audit() {
    for world in both("bounce_settings").await {
        let put =
            async |body: Value| world.call(Method::PUT, "/api/v1/bounce-settings", &world.ours.key, Some(&body)).await;
        let first = world.get("/api/v1/bounce-settings").await.good("settings");
        let usual = json!({
            "enabled": true, "bounces": 5, "campaigns": 3, "days": 14, "weeks": 7, "tries": 3, "suppress_days": 90, "scope": "marketing"
        });
        assert_eq!(first, usual);
        for bad in
            [json!({ "bounces": 0 }), json!({ "suppress_days": 0 }), json!({ "scope": "nobody" }), json!({ "day": 3 })]
        {
            put(bad.clone()).await.problem(422, &bad.to_string());
        }
        let problem = put(json!({ "weeks": 200 })).await.problem(422, "weeks");
        assert!(problem["detail"].as_str().unwrap().contains("`weeks` must be from 1 to 104"), "{problem}");
        let set = put(json!({ "bounces": 3, "suppress_days": null, "scope": "all" })).await.good("put");
        assert_eq!((&set["bounces"], &set["suppress_days"], &set["campaigns"]), (&json!(3), &Value::Null, &json!(3)));
        assert_eq!(world.get("/api/v1/bounce-settings").await.good("settings"), set);
        let theirs = world.call(Method::GET, "/api/v1/bounce-settings", &world.theirs.key, None).await.good("theirs");
        assert_eq!(theirs, usual);
        let audit = world.get("/api/v1/audit?action=bounce_settings.").await.good("audit");
        assert_eq!(audit["items"].as_array().unwrap().len(), 1);
        let shown = world.get(&format!("/api/v1/suppressions/{}", world.id("suppression"))).await.good("suppression");
        assert_eq!((&shown["because"], &shown["bounces"]), (&Value::Null, &json!([])));
    }
}
