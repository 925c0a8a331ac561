//! Rules of TLS for single recipient domains, and the counts of what TLS came to.

use axum::http::Method;
use postrider_store::transport::{TlsResult, day_of};
use serde_json::json;

use crate::world::both;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_made_changed_and_removed() {
    for world in both("tlsrules").await {
        let key = world.ours.key.clone();
        let put = async |path: &str, body: serde_json::Value| world.call(Method::PUT, path, &key, Some(&body)).await;
        let path = "/api/v1/tls-rules/Bank.Example";
        let made = put(path, json!({ "demand": "encrypted" })).await.good("made");
        assert_eq!((&made["domain"], &made["demand"]), (&json!("bank.example"), &json!("encrypted")));
        put(path, json!({ "demand": "verified", "reason": "agreed" })).await.good("changed");
        let listed = world.get("/api/v1/tls-rules").await.good("list");
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            (&listed["items"][0]["demand"], &listed["items"][0]["reason"]),
            (&json!("verified"), &json!("agreed"))
        );
        for (path, body, status) in [
            (path, json!({ "demand": "tls" }), 422),
            (path, json!({ "demand": "clear", "reason": "x".repeat(301) }), 422),
            ("/api/v1/tls-rules/not%20a%20domain", json!({ "demand": "clear" }), 404),
        ] {
            let answer = put(path, body).await;
            let seen = answer.status.as_u16();
            assert!(seen == status || seen == 400, "{path}: {seen}");
        }
        let gone = world.call(Method::DELETE, path, &key, None).await;
        assert_eq!(gone.status.as_u16(), 204);
        world.call(Method::DELETE, path, &key, None).await.problem(404, "twice");
        let acts = world.get("/api/v1/audit?action=tls_rule.").await.good("audit");
        assert_eq!(acts["items"].as_array().map(Vec::len), Some(3), "set, set, remove: {acts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tls_came_to_is_told_by_day() {
    for world in both("tlsresults").await {
        let node = world.store().register_node().await.unwrap();
        let line = |domain: &str, days_ago: i64| TlsResult {
            day: day_of(world.store().now()) - days_ago,
            domain: domain.into(),
            policy: "sts".into(),
            result: "certificate-expired".into(),
            mx_host: "mx.example".into(),
            n: 3,
        };
        world
            .store()
            .count_tls(node, &[line("a.example", 0), line("b.example", 0), line("a.example", 9)])
            .await
            .unwrap();
        let week = world.get("/api/v1/tls-results").await.good("a week");
        assert_eq!(week["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(
            (&week["items"][0]["result"], &week["items"][0]["sessions"]),
            (&json!("certificate-expired"), &json!(3))
        );
        let one = world.get("/api/v1/tls-results?domain=A.Example&days=10").await.good("one domain");
        assert_eq!(one["items"].as_array().map(Vec::len), Some(2));
    }
}
