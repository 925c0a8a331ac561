//! The queue by site, what holds deliveries back, and limits of sites.

use axum::http::Method;
use postrider_domain::id::WorkspaceId;
use postrider_domain::shaping::{FlowView, Hold, HoldReason, ReplyView, SiteView};
use postrider_domain::stream::Stream;
use serde_json::{Value, json};

use crate::world::{World, both};

async fn put(world: &World, body: Value) -> crate::world::Answer {
    world.call(Method::PUT, "/api/v1/queue/limits", &world.ours.key, Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_shown_and_forgotten() {
    for world in both("queue_limits").await {
        let set =
            put(&world, json!({ "site": "wp", "per_hour": 400, "without_rules": ["mail-bombing"] })).await.good("put");
        assert_eq!((&set["site"], &set["per_hour"], &set["connections"]), (&json!("wp"), &json!(400), &Value::Null));
        let of = world.get("/api/v1/queue/limits/site?site=wp").await.good("one");
        assert_eq!((&of["counts"]["per_hour"], &of["counts"]["connections"]), (&json!(400), &json!(2)));
        assert_eq!((&of["own_limits"], &of["title"]), (&json!(true), &json!("WP, o2 and Tlen")));
        assert!(of["sources"].as_array().unwrap().iter().any(|s| s["limit"] == "per_hour"), "{of}");
        let unknown = world.get("/api/v1/queue/limits/site?site=nobody.example").await.good("unknown");
        assert_eq!((&unknown["profile"], &unknown["own_limits"]), (&json!("default"), &json!(false)));
        assert_eq!(world.get("/api/v1/queue/limits").await.good("list")["items"].as_array().unwrap().len(), 1);
        for bad in [
            json!({ "site": "wp" }),
            json!({ "site": "wp", "per_hour": 0 }),
            json!({ "site": "no site", "per_hour": 1 }),
            json!({ "site": "wp", "without_rules": ["nobody"] }),
            json!({ "site": "wp", "per_hours": 1 }),
        ] {
            let status = put(&world, bad.clone()).await.status.as_u16();
            assert!((400..500).contains(&status), "{bad}: {status}");
        }
        let delete = async || world.call(Method::DELETE, "/api/v1/queue/limits?site=wp", &world.ours.key, None).await;
        assert_eq!(delete().await.status.as_u16(), 204);
        delete().await.problem(404, "again");
        let acts = world.get("/api/v1/audit?action=site_limits.").await.good("audit");
        assert_eq!(acts["items"].as_array().unwrap().len(), 2, "{acts}");
    }
}

fn view(workspace: WorkspaceId, hold: &Hold) -> SiteView {
    SiteView {
        source: "direct".into(),
        site: "google".into(),
        own: None,
        connections: 1,
        connections_allowed: Some(0),
        rate: 1.5,
        rate_allowed: Some(10.0),
        per_connection: Some(50),
        replies: vec![ReplyView { at: 0, text: "421 4.7.28 slow".into(), times: 3 }],
        hold: Some(hold.clone()),
        flows: vec![FlowView {
            workspace,
            campaign: None,
            stream: Stream::Transactional,
            lane_site: "google".into(),
            ready: 7,
            more: true,
            claimed: 2,
            hold: Some(hold.clone()),
        }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_told_once_with_its_sources_beneath_and_figures_that_add_up() {
    for world in both("queue_sums").await {
        let node = world.store().register_node().await.unwrap();
        let stop = Hold { since: Some(0), until: Some(600_000), ..Hold::of(HoldReason::Stop) };
        let rule = Hold { detail: "suspended by Ann: listed".into(), ..Hold::of(HoldReason::Rule) };
        let ours = world.workspace();
        let at = |source: &str, stopped: Option<&Hold>, flow: Option<&Hold>, ready: usize| {
            let mut view = view(ours, &stop);
            view.source = source.into();
            view.hold = stopped.cloned();
            view.flows[0].hold = flow.cloned();
            (view.flows[0].ready, view.flows[0].more) = (ready, false);
            view.flows[0].claimed = if ready > 0 { 2 } else { 0 };
            view
        };
        let mut relay = at("rte_0000000000001/a.test", None, None, 0);
        relay.site = "route:rte_0000000000001".into();
        // As the engine tells a pool of three: what may leave by each of them is counted at one.
        let views = [
            at("src_0000000000001", None, None, 7),
            at("src_0000000000002", Some(&stop), None, 0),
            at("src_0000000000003", None, Some(&rule), 0),
            relay,
        ];
        world.store().tell_sites(node, &views).await.unwrap();
        let sites = world.get("/api/v1/queue/sites").await.good("sites");
        let items = sites["items"].as_array().unwrap();
        let names: Vec<&str> = items.iter().map(|r| r["site"].as_str().unwrap()).collect();
        assert_eq!(names, ["google", "route:rte_0000000000001"], "{sites}");
        let google = &items[0];
        assert_eq!((&google["ready"], &google["claimed"], &google["more"]), (&json!(7), &json!(2), &json!(false)));
        assert_eq!((&google["rate"], &google["rate_allowed"]), (&json!(4.5), &json!(30.0)));
        assert_eq!((&google["connections"], &google["connections_allowed"]), (&json!(3), &json!(0)));
        assert_eq!(google["hold"], Value::Null, "one of them is free");
        let flows = google["flows"].as_array().unwrap();
        assert_eq!((flows.len(), &flows[0]["ready"], &flows[0]["hold"]), (1, &json!(7), &Value::Null), "{google}");
        let holds: Vec<&Value> = google["sources"].as_array().unwrap().iter().map(|s| &s["hold"]["reason"]).collect();
        assert_eq!(holds, [&Value::Null, &json!("stop"), &json!("queue_rule")], "each source says its own");
        let sum = |field: &str| items.iter().map(|r| r[field].as_i64().unwrap()).sum::<i64>();
        assert_eq!((sum("ready"), sum("claimed")), (7, 2));

        // All of them stopped: so is the site, until the first one ends.
        let later = Hold { until: Some(900_000), ..stop.clone() };
        let views = [
            at("src_0000000000001", Some(&later), Some(&later), 7),
            at("src_0000000000002", Some(&stop), Some(&stop), 0),
        ];
        world.store().tell_sites(node, &views).await.unwrap();
        let sites = world.get("/api/v1/queue/sites").await.good("sites");
        let until = |of: &Value| of["hold"]["until"].as_str().unwrap_or_default().to_owned();
        let google = &sites["items"][0];
        assert_eq!(until(google), "1970-01-01T00:10:00.000Z");
        assert_eq!(until(&google["flows"][0]), until(google));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_own_part_of_the_queue() {
    for world in both("queue_sites").await {
        let node = world.store().register_node().await.unwrap();
        let hold = Hold { since: Some(0), until: Some(600_000), ..Hold::of(HoldReason::Stop) };
        let foreign = WorkspaceId(world.workspace().get() + 1);
        let views = [view(world.workspace(), &hold), view(foreign, &hold)];
        world.store().tell_sites(node, &views).await.unwrap();
        let sites = world.get("/api/v1/queue/sites").await.good("sites");
        let items = sites["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{sites}");
        let row = &items[0];
        assert_eq!(
            (&row["site"], &row["ready"], &row["claimed"], &row["more"]),
            (&json!("google"), &json!(7), &json!(2), &json!(true))
        );
        assert_eq!((&row["rate_allowed"], &row["connections_allowed"]), (&json!(10.0), &json!(0)));
        assert_eq!(
            (&row["sources"][0]["source"], &row["sources"][0]["replies"][0]["times"]),
            (&json!("direct"), &json!(3))
        );
        let sentence = row["hold"]["sentence"].as_str().unwrap();
        assert_eq!(
            sentence,
            "The site is stopped by a rule for one of its replies, since 1970-01-01T00:00:00.000Z, until 1970-01-01T00:10:00.000Z."
        );

        // A delivery that waits says so itself; whichever status it has, the field is there.
        let delivery = world.get(&format!("/api/v1/deliveries/{}", world.id("delivery"))).await.good("delivery");
        let settled = !delivery["outcome_at"].is_null();
        assert_eq!(delivery["waiting_for"].is_null(), settled, "{delivery}");
    }
}
