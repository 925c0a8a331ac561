//! Our own certificates, the life of DKIM keys, and what a single message asks of TLS.

use axum::http::Method;
use postrider_domain::stream::TlsWish;
use postrider_store::certificate::NewCertificate;
use postrider_store::secret::SecretBytes;
use serde_json::{Value, json};

use crate::world::both;

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_told_without_their_keys_and_challenges_are_answered_to_everybody() {
    for world in both("certificates").await {
        assert_eq!(world.get("/api/v1/certificates").await.good("none")["items"], json!([]));
        let store = world.store();
        let names = vec!["mail.example.org".to_owned()];
        store.certificate_failed("acme mail.example.org", &names, "no answer", Some(7_200_000)).await.unwrap();
        let new = NewCertificate {
            place: "files 7".into(),
            names: vec!["a.example".into(), "b.example".into()],
            chain: "planted-chain".into(),
            key: Some(SecretBytes::new(b"planted-key".to_vec())),
            not_before: 0,
            not_after: 3_600_000,
        };
        store.keep_certificate(&new).await.unwrap();
        let answer = world.get("/api/v1/certificates").await;
        assert!(!answer.text().contains("planted"), "{}", answer.text());
        let listed = answer.good("list");
        let [ordered, files] = &listed["items"].as_array().unwrap()[..] else { panic!("{listed}") };
        assert_eq!((&ordered["origin"], &ordered["last_error"]), (&json!("acme"), &json!("no answer")));
        assert_eq!(ordered["next_try_at"], "1970-01-01T02:00:00.000Z");
        assert_eq!(ordered["expires_at"], Value::Null);
        assert_eq!((&files["origin"], &files["node"]), (&json!("files"), &json!(7)));
        assert_eq!(files["names"], json!(["a.example", "b.example"]));
        assert_eq!(files["expires_at"], "1970-01-01T01:00:00.000Z");

        let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
        store.keep_acme_challenge("Abc-_9", "Abc-_9.thumb", store.now() + 1_000).await.unwrap();
        let answer = world.call(Method::GET, &path("Abc-_9"), "", None).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "Abc-_9.thumb"));
        for token in ["other", "%2e%2e", "a%00b", "a%2Fb", &"a".repeat(300)] {
            world.call(Method::GET, &path(token), "", None).await.problem(404, token);
        }
    }
}

fn states(domain: &Value) -> Vec<String> {
    let keys = domain["keys"].as_array().unwrap();
    keys.iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_waits_signs_and_leaves_the_old_record_in_place() {
    for world in both("dkimkeys").await {
        let domain = format!("/api/v1/domains/{}", world.id("domain"));
        let keys = format!("{domain}/keys");
        let announced = world.post(&keys, &json!({})).await.good("announced");
        assert_eq!(states(&announced), ["pending", "active"]);
        let records: Vec<&Value> = announced["records"].as_array().unwrap().iter().collect();
        let dkim: Vec<&&Value> =
            records.iter().filter(|r| r["name"].as_str().unwrap().contains("_domainkey")).collect();
        assert_eq!(dkim.len(), 2, "both records are to be published: {announced}");
        assert_eq!((&dkim[0]["required"], &dkim[1]["required"]), (&json!(false), &json!(true)));
        world.post(&keys, &json!({})).await.problem(409, "one waits already");

        let waiting = announced["keys"][0]["id"].as_str().unwrap().to_owned();
        let first = announced["keys"][1]["id"].as_str().unwrap().to_owned();
        let act = async |method: Method, path: String| world.call(method, &path, &world.ours.key, None).await;
        act(Method::DELETE, format!("{keys}/{first}")).await.problem(409, "it has signed");
        act(Method::POST, format!("{keys}/{first}/activate")).await.problem(409, "it signs already");
        let active = act(Method::POST, format!("{keys}/{waiting}/activate")).await.good("activated");
        assert_eq!(states(&active), ["active", "retired"]);
        assert!(active["keys"][1]["keep_until"].is_string(), "{active}");
        let old =
            active["records"].as_array().unwrap().iter().find(|r| r["purpose"].as_str().unwrap().contains("before"));
        assert!(old.unwrap()["value"].as_str().unwrap().contains("p=MI"), "the record stays: {active}");

        let dropped = world.post(&keys, &json!({})).await.good("another")["keys"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(act(Method::DELETE, format!("{keys}/{dropped}")).await.status.as_u16(), 204);
        let lost = world.call(Method::POST, &format!("{keys}?at_once=true"), &world.ours.key, None).await.good("lost");
        assert_eq!(states(&lost), ["active", "retired", "retired"]);
        world.store.clock.advance(38 * 86_400_000);
        let later = world.get(&domain).await.good("later");
        assert_eq!(states(&later), ["active", "revocable", "revocable"]);
        let revoke = later["records"].as_array().unwrap().iter().filter(|r| r["value"] == "v=DKIM1; p=").count();
        assert_eq!(revoke, 2, "they should be taken back: {later}");
        let acts = world.get("/api/v1/audit?action=dkim_key.").await.good("audit");
        assert_eq!(
            acts["items"].as_array().map(Vec::len),
            Some(5),
            "announce, activate, announce, drop, rotate: {acts}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_what_it_asks_of_tls() {
    for world in both("requiretls").await {
        let mut wishes = Vec::new();
        for wish in [json!(true), json!(false), Value::Null] {
            let mut body = json!({
                "from": "shop@ours.example.org", "to": ["zoe@example.net"], "subject": "Order", "text": "On its way."
            });
            body["require_tls"] = wish;
            let taken = world.post("/api/v1/messages", &body).await.good("taken");
            let id = taken["id"].as_str().unwrap().parse().unwrap();
            let bytes = world.store().message_bytes(world.workspace(), id).await.unwrap();
            wishes.push(String::from_utf8_lossy(&bytes).starts_with("TLS-Required: No\r\n"));
        }
        assert_eq!(wishes, [false, true, false], "only the header field is seen by others");
        // Only now: the writer that took the messages is of the node before.
        let node = world.store().register_node().await.unwrap();
        world.store().lease_lanes(node).await.unwrap();
        let mut kept = Vec::new();
        for lane in world.store().my_lanes(node).await.unwrap() {
            let rows = world.store().read_lane(lane.lane, None, i64::MAX, 100).await.unwrap();
            kept.extend(rows.into_iter().filter(|row| row.mailbox == "zoe@example.net"));
        }
        kept.sort_by_key(|row| row.delivery);
        let kept: Vec<Option<TlsWish>> = kept.into_iter().map(|row| row.tls).collect();
        assert_eq!(kept, [Some(TlsWish::Require), Some(TlsWish::Optional), None]);
    }
}
