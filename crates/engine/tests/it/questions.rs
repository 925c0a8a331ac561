//! Smarthosts, and what the engine answers to questions of people.

use std::time::Duration;

use postrider_domain::campaign::CampaignState;
use postrider_domain::outcome::ReportStatus;
use postrider_domain::route::{RouteKind, RouteSettings, TlsMode};
use postrider_store::route::PasswordChange;
use postrider_store::secret::Secret;
use serde_json::{Value, json};

use crate::on_both;
use crate::rig::{CONSOLE, Rig, mx_route, rehearsal};

on_both!(a_smarthost_wants_tls_and_a_login, people_get_answers);

fn smarthost(rig: &Rig, host: &str, tls: TlsMode) -> RouteSettings {
    RouteSettings {
        name: "Relay".into(),
        kind: RouteKind::Smarthost,
        host: host.into(),
        port: rig.world.mx_port(),
        tls,
        username: "relay".into(),
        accept_any_certificate: true,
        exclusion: postrider_domain::route::ExclusionPolicy::Campaign,
        ..mx_route()
    }
}

async fn set(rig: &Rig, settings: &RouteSettings, password: &str) {
    let password = PasswordChange::Set(Secret::new(password.into()));
    rig.store.change_route(rig.workspace, &CONSOLE, rig.route, settings, password).await.expect("changed");
}

async fn ask(rig: &Rig, kind: &str, args: Value) -> Value {
    let id = rig.store.ask(Some(rig.workspace), kind, &args, 15_000).await.expect("asked");
    let waited = rig.store.wait_for_answer(Some(rig.workspace), id, Duration::from_secs(15)).await;
    waited.expect("no trouble").expect("an answer")
}

/// Seeds, case 18: a wrong password is told in the host's own words and loses nothing.
async fn a_smarthost_wants_tls_and_a_login(rig: Rig) {
    // The address of the simulated relay; its certificate names a host, so any is accepted here.
    let host = "127.0.0.33";
    set(&rig, &smarthost(&rig, host, TlsMode::Required), "wrong").await;
    rig.people(&["a@anywhere.test", "b@elsewhere.test"]).await;
    let engine = rig.engine().await;
    let route = json!({ "route": rig.route });
    let answer = ask(&rig, "route_test", route.clone()).await;
    assert_eq!((answer["ok"].as_bool(), answer["stage"].as_str()), (Some(false), Some("auth")), "{answer}");
    assert_eq!(answer["code"], 535, "{answer}");
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("a refused login", || async { rig.rows(campaign).await.iter().any(|r| r.attempt >= 1) }).await;
    let ledger = rig.ledger(campaign).await;
    assert_eq!((ledger.rejected, ledger.queued), (0, 2), "our own fault rejects nobody");

    set(&rig, &smarthost(&rig, host, TlsMode::Required), "secret").await;
    let answer = ask(&rig, "route_test", route).await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(answer["tls"].as_str().unwrap().starts_with("TLSv1"), "{answer}");
    rig.store.bell().ring(postrider_store::Topic::Campaign);
    tokio::time::sleep(Duration::from_millis(200)).await;
    rig.until_done_winding(campaign, 1_000).await;
    for (mailbox, row) in rig.report(campaign).await {
        assert_eq!(row.0, ReportStatus::Sent, "{mailbox}: {row:?}");
    }
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn people_get_answers(rig: Rig) {
    let engine = rig.engine().await;
    let answer = ask(&rig, "dns", json!({ "domain": "multi.test" })).await;
    assert_eq!((answer["ok"].as_bool(), answer["hosts"].as_array().map(Vec::len)), (Some(true), Some(2)), "{answer}");
    assert_eq!(ask(&rig, "dns", json!({ "domain": "nullmx.test" })).await["state"], "null_mx");
    assert_eq!(ask(&rig, "dns", json!({ "domain": "nxdomain.test" })).await["state"], "no_mail_server");
    assert_eq!(ask(&rig, "dns", json!({ "domain": "no domain" })).await["ok"], false);
    assert_eq!(ask(&rig, "route_test", json!({ "route": rig.route })).await["ok"], true);
    assert_eq!(ask(&rig, "route_test", json!({ "route": "rte_0000000000000" })).await["ok"], false);
    assert_eq!(ask(&rig, "no such kind", json!({})).await["ok"], false);

    let domain = rig.store.domains(rig.workspace).await.unwrap().remove(0);
    let name = "s1._domainkey.mail1.test";
    let records = json!([{ "type": "TXT", "name": name, "value": domain.keys[0].public_txt, "required": true }]);
    let args = json!({ "domain": domain.id, "name": domain.name, "records": records });
    let answer = ask(&rig, "domain_check", args.clone()).await;
    assert_eq!(answer["ok"], false, "{answer}");
    let checked = rig.store.domain(rig.workspace, domain.id).await.unwrap().checked;
    assert_eq!(checked.as_ref(), Some(&answer), "the result is kept");

    // What waits, and why.
    rig.people(&["a@mail1.test"]).await;
    let route = RouteSettings { per_day: 1, ..mx_route() };
    rig.store.change_route(rig.workspace, &CONSOLE, rig.route, &route, PasswordChange::Keep).await.unwrap();
    let first = rig.campaign(rehearsal()).await;
    rig.until_state(first, CampaignState::Done).await;
    let second = rig.campaign(rehearsal()).await;
    rig.until("the reason", || async {
        let answer = ask(&rig, "waiting", json!({ "campaign": second })).await;
        answer["waiting"][0]["reason"] == "daily limit"
    })
    .await;
    assert_eq!(ask(&rig, "waiting", json!({ "campaign": first })).await["waiting"], json!([]));
    let text = engine.metrics().text();
    assert!(text.contains("postrider_attempts_total{"), "{text}");
    assert!(!text.contains('@') && !text.contains("mail1.test"), "figures name no recipient");
    engine.shutdown(Duration::from_secs(10)).await;
}
