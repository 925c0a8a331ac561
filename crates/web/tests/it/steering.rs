//! Steering of queues by API: who may, what is refused, how far a rule is, and that nothing larger is cancelled than was shown.

use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_store::steering::Sweep;
use serde_json::{Value, json};

use crate::world::{Answer, World, both};

async fn post(world: &World, path: &str, key: &str, body: Value) -> Answer {
    world.call(Method::POST, path, key, Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_set_shown_and_ended() {
    for world in both("steer_rules").await {
        let key = &world.ours.key;
        let body = json!({ "action": "suspend", "scope": { "site": "google" }, "reason": "They asked us", "for_seconds": 7200 });
        let set = post(&world, "/api/v1/queue/rules", key, body.clone()).await.good("set");
        assert_eq!((&set["state"], &set["concerns"]), (&json!("stands"), &json!("site google")));
        assert_eq!(set["scope"], json!({ "site": "google" }));
        assert!(set["until"].as_str() > set["since"].as_str(), "{set}");
        post(&world, "/api/v1/queue/rules", key, body).await.problem(409, "it stands already");
        let path = format!("/api/v1/queue/rules/{}", set["id"].as_str().unwrap());
        assert_eq!(world.get(&path).await.good("one")["reason"], "They asked us");
        assert_eq!(world.get("/api/v1/queue/rules").await.good("list")["items"].as_array().unwrap().len(), 1);
        world.call(Method::GET, &path, &world.theirs.key, None).await.problem(404, "another workspace");
        world.call(Method::DELETE, &path, &world.theirs.key, None).await.problem(404, "another workspace");
        let ended = world.call(Method::DELETE, &path, key, None).await.good("end");
        assert_eq!((&ended["state"], &ended["end_reason"]), (&json!("over"), &json!("ended")));
        world.call(Method::DELETE, &path, key, None).await.problem(409, "again");
        assert_eq!(world.get("/api/v1/queue/rules").await.good("list")["items"], json!([]));
        let past = world.get("/api/v1/queue/rules?past=true").await.good("past");
        assert_eq!(past["items"][0]["id"], set["id"]);
        let audit = world.get("/api/v1/audit?action=queue.").await.good("audit");
        let acts: Vec<&str> = audit["items"].as_array().unwrap().iter().filter_map(|a| a["action"].as_str()).collect();
        assert_eq!(acts[..2], ["queue.end", "queue.suspend"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_words() {
    for world in both("steer_refused").await {
        let (rules, actions) = ("/api/v1/queue/rules", "/api/v1/queue/actions");
        let ours = world.id("campaign");
        for (path, body, word) in [
            (rules, json!({ "action": "suspend", "scope": {}, "reason": "x" }), "everything"),
            (
                rules,
                json!({ "action": "suspend", "scope": { "everything": true, "site": "a" }, "reason": "x" }),
                "everything",
            ),
            (rules, json!({ "action": "suspend", "scope": { "site": "google" }, "reason": " " }), "reason"),
            (rules, json!({ "action": "suspend", "scope": { "site": "Goo gle" }, "reason": "x" }), "site"),
            (rules, json!({ "action": "speed", "scope": { "site": "google" }, "reason": "x" }), "per_second"),
            (
                rules,
                json!({ "action": "speed", "scope": { "site": "google" }, "reason": "x", "per_second": 0 }),
                "suspend",
            ),
            (
                rules,
                json!({ "action": "speed", "scope": { "site": "google" }, "reason": "x", "per_second": -1 }),
                "suspend",
            ),
            (rules, json!({ "action": "reroute", "scope": { "site": "google" }, "reason": "x" }), "route"),
            (rules, json!({ "action": "cancel", "scope": { "site": "google" }, "reason": "x" }), "actions"),
            (
                rules,
                json!({ "action": "suspend", "scope": { "site": "google" }, "reason": "x", "for_seconds": 0 }),
                "ahead",
            ),
            (rules, json!({ "action": "suspend", "scope": { "site": "google", "sites": 1 }, "reason": "x" }), "sites"),
            (rules, json!({ "action": "stop", "scope": { "site": "google" }, "reason": "x" }), ""),
            (actions, json!({ "action": "suspend", "scope": { "campaign": ours }, "reason": "x" }), "rules"),
            (actions, json!({ "action": "cancel", "scope": { "campaign": ours }, "reason": "x" }), "expect"),
            (actions, json!({ "action": "bounce", "scope": { "campaign": ours }, "reason": "x", "expect": 9 }), "text"),
            (actions, json!({ "action": "cancel", "scope": { "campaign": ours }, "expect": 9 }), "reason"),
        ] {
            let answer = post(&world, path, &world.ours.key, body.clone()).await;
            let status = answer.status.as_u16();
            assert!((400..500).contains(&status), "{body}: {status} {}", answer.text());
            assert!(answer.text().contains(word), "{body}: {}", answer.text());
        }
        // A source of a pool is chosen at the hand-out: what is asked before cannot name one.
        let source = json!({ "source": world.id("source") });
        for action in ["hold", "reroute"] {
            let body = json!({ "action": action, "scope": source, "reason": "x", "route": world.id("route") });
            let body =
                if action == "hold" { json!({ "action": action, "scope": source, "reason": "x" }) } else { body };
            let refused = post(&world, rules, &world.ours.key, body).await.problem(422, action);
            assert!(refused["detail"].as_str().unwrap().contains("only `suspend` and `speed`"), "{refused}");
        }
        for action in ["cancel", "bounce", "release"] {
            let body = json!({ "action": action, "scope": source, "dry_run": true });
            post(&world, actions, &world.ours.key, body).await.problem(422, action);
        }
        let pool = json!({ "action": "suspend", "scope": { "source": world.id("pool") }, "reason": "x" });
        post(&world, rules, &world.ours.key, pool).await.problem(422, "a pool");
        let nobody = json!({ "action": "suspend", "scope": { "source": "src_0000000000007" }, "reason": "x" });
        post(&world, rules, &world.ours.key, nobody).await.problem(404, "no such source");
        let theirs = json!({ "action": "cancel", "scope": { "campaign": world.theirs.ids["campaign"] }, "reason": "x", "expect": 9 });
        post(&world, actions, &world.ours.key, theirs).await.problem(404, "another workspace's campaign");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_campaigns_steers_campaigns_and_no_more() {
    for world in both("steer_rights").await {
        let reads = world.key(&[Scope::CampaignsRead]).await;
        let writes = world.key(&[Scope::CampaignsRead, Scope::CampaignsWrite]).await;
        let narrow = json!({ "action": "suspend", "scope": { "campaign": world.id("campaign") }, "reason": "x" });
        let wide = json!({ "action": "suspend", "scope": { "site": "google" }, "reason": "x" });
        let rules = "/api/v1/queue/rules";
        post(&world, rules, &reads, narrow.clone()).await.problem(403, "a reader");
        let refused = post(&world, rules, &writes, wide.clone()).await.problem(403, "an editor, widely");
        assert_eq!(refused["code"], "missing_scope");
        post(&world, rules, &writes, narrow).await.good("an editor, narrowly");
        let set = post(&world, rules, &world.ours.key, wide.clone()).await.good("an administrator");
        let path = format!("{rules}/{}", set["id"].as_str().unwrap());
        world.call(Method::DELETE, &path, &writes, None).await.problem(403, "an editor ends what is not theirs");
        let mut everywhere = wide;
        everywhere["everywhere"] = true.into();
        post(&world, rules, &world.ours.key, everywhere).await.problem(403, "the whole installation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_counted_first_and_never_larger_than_was_shown() {
    for world in both("steer_cancel").await {
        let key = &world.ours.key;
        let sent = json!({
            "from": "shop@ours.example.org", "to": ["a@one.example", "b@two.example"], "subject": "s", "text": "t",
        });
        let message = post(&world, "/api/v1/messages", key, sent).await;
        if message.status.as_u16() != 202 {
            panic!("a message: {}", message.text());
        }
        let message = message.good("message")["id"].clone();
        let mut body = json!({ "action": "cancel", "scope": { "message": message }, "dry_run": true });
        let counted = post(&world, "/api/v1/queue/actions", key, body.clone()).await.good("count");
        assert_eq!((&counted["deliveries"], &counted["rule"]), (&json!(2), &Value::Null));
        assert_eq!(world.get("/api/v1/queue/rules").await.good("nothing was done")["items"], json!([]));
        body["dry_run"] = false.into();
        body["reason"] = "Sent by mistake".into();
        body["expect"] = 1.into();
        let refused = post(&world, "/api/v1/queue/actions", key, body.clone()).await.problem(409, "more than shown");
        assert!(refused["detail"].as_str().unwrap().contains("2 deliveries"), "{refused}");
        body["expect"] = 2.into();
        let done = post(&world, "/api/v1/queue/actions", key, body).await.good("cancel");
        assert_eq!((&done["rule"]["state"], &done["rule"]["done"]), (&json!("working"), &json!(0)));
        // What the engine does.
        let node = world.store().register_node().await.unwrap();
        let open = world.store().open_queue_rules().await.unwrap().remove(0);
        let mut sweep = Sweep::of_rule(world.store(), node.id, &open).await.unwrap().unwrap();
        while !sweep.next().await.unwrap().over {}
        world.store().queue_rule_settled(open.rule.id).await.unwrap();
        let path = format!("/api/v1/queue/rules/{}", done["rule"]["id"].as_str().unwrap());
        let over = world.get(&path).await.good("over");
        assert_eq!((&over["state"], &over["done"], &over["end_reason"]), (&json!("over"), &json!(2), &json!("done")));
        let rows = world.get(&format!("/api/v1/deliveries?message={}", message.as_str().unwrap())).await.good("rows");
        assert!(rows["items"].as_array().unwrap().iter().all(|r| r["status"] == "CANCELLED"), "{rows}");
    }
}
