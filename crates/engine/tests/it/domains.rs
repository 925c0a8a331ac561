//! Sending domains against a lab zone: planted faults are found, each by its name, and nothing else is.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_domain::id::DomainId;
use postrider_mail::dkim::SigningKey;
use postrider_mail::mailbox::DomainName;
use postrider_sim::Data;
use postrider_store::domain::NewDkimKey;
use postrider_store::secret::SecretBytes;
use postrider_store::workspace::{FirstPurposes, NewWorkspace};
use serde_json::{Value, json};

use crate::on_both;
use crate::rig::{CONSOLE, Rig};

on_both!(
    twelve_planted_faults_are_named_and_no_other,
    a_check_is_kept_and_silence_is_not_red,
    port_25_is_known_from_mail_or_from_a_host_of_ones_own,
    sources_are_looked_at_by_their_own_addresses,
);

const EHLO: &str = "sender.example.org";
const REVERSE: &str = "10.2.0.192.in-addr.arpa";
const GOOD_SPF: &str = "v=spf1 a:sender.example.org ~all";
const GOOD_DMARC: &str = "v=DMARC1; p=none; rua=mailto:dmarc@example.org";

fn put(rig: &Rig, name: &str, kind: &str, value: &str) {
    rig.world.publish(name, Data::parse(kind, value).expect("a record"));
}

/// Replaces all records of a name.
pub fn set(rig: &Rig, name: &str, records: &[(&str, &str)]) {
    rig.world.withdraw(name);
    for (kind, value) in records {
        put(rig, name, kind, value);
    }
}

/// What a name above all domains of the lab needs.
pub fn good_host(rig: &Rig) {
    set(rig, EHLO, &[("A", "192.0.2.10"), ("TXT", "v=spf1 a -all")]);
    set(rig, REVERSE, &[("PTR", EHLO)]);
    set(rig, "mail.example.org", &[("A", "192.0.2.20"), ("CAA", "ca.example.net")]);
}

/// All that a domain needs, with this key.
pub fn good_domain(rig: &Rig, name: &str, path: &str, key: &str) {
    set(rig, name, &[("SOA", ""), ("A", "192.0.2.30")]);
    set(rig, path, &[("MX", "10 mail.example.org"), ("TXT", GOOD_SPF)]);
    set(rig, &format!("s1._domainkey.{name}"), &[("TXT", key)]);
    set(rig, &format!("_dmarc.{name}"), &[("TXT", GOOD_DMARC)]);
}

fn new_key() -> (NewDkimKey, String) {
    let key = SigningKey::generate_rsa2048().expect("a key");
    let text = key.public_txt();
    let private = SecretBytes::new(key.to_pkcs8().expect("DER"));
    (NewDkimKey { selector: "s1".into(), algorithm: "rsa2048".into(), private, public_txt: text.clone() }, text)
}

async fn add(rig: &Rig, workspace: postrider_domain::id::WorkspaceId, name: &str) -> (DomainId, String) {
    let (key, text) = new_key();
    let path = DomainName::parse(&format!("bounces.{name}")).unwrap();
    let domain = DomainName::parse(name).unwrap();
    let id = rig.store.add_domain(workspace, &CONSOLE, &domain, &path, key).await.expect("added").id;
    good_domain(rig, name, path.as_str(), &text);
    (id, text)
}

/// What the doctor finds amiss: the domain, or nothing for this host, and the code.
async fn amiss(rig: &Rig) -> BTreeSet<(String, String)> {
    // An engine of its own, since a resolver remembers.
    let engine = rig.engine().await;
    let id = rig.store.ask(None, "doctor", &json!({}), 15_000).await.expect("asked");
    let answer = rig.store.wait_for_answer(None, id, Duration::from_secs(15)).await.unwrap().expect("an answer");
    engine.shutdown(Duration::from_secs(10)).await;
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let lines = answer["checks"].as_array().expect("lines");
    let counted = |line: &&Value| matches!(line["light"].as_str(), Some("red" | "amber"));
    for line in lines.iter().filter(counted) {
        assert!(text(line, "detail").contains("there should be"), "the remedy is said: {line}");
        assert_eq!(line["state"] == "bad", line["light"] == "red", "{line}");
    }
    lines.iter().filter(counted).map(|line| (text(line, "domain"), text(line, "code"))).collect()
}

async fn twelve_planted_faults_are_named_and_no_other(rig: Rig) {
    good_host(&rig);
    let own = rig.store.domains(rig.workspace).await.unwrap().remove(0);
    good_domain(&rig, &own.name, &own.return_path_host, &own.keys[0].public_txt);
    let second = NewWorkspace {
        name: "Second".into(),
        controller_name: "Second S.r.l.".into(),
        postal_address: "Via Roma 2\n27100 Pavia".into(),
        privacy_url: "https://example.org/privacy".into(),
        time_zone: "Europe/Rome".into(),
        public_url: "https://clicks.example.org".into(),
        purposes: FirstPurposes::OneOfEachKind,
    };
    let second = rig.store.create_workspace(&CONSOLE, second).await.expect("a workspace").id;
    let mut keys = Vec::new();
    for n in 1..=10 {
        let workspace = if n == 10 { second } else { rig.workspace };
        keys.push(add(&rig, workspace, &format!("d{n}.example.org")).await.1);
    }
    set(&rig, "clicks.example.org", &[("A", "192.0.2.21")]);
    assert_eq!(amiss(&rig).await, BTreeSet::new(), "a clean zone has no fault");

    let mut planted = BTreeSet::new();
    let mut plant = |domain: &str, code: &str, name: &str, records: &[(&str, &str)]| {
        let domain = if domain.is_empty() { String::new() } else { format!("{domain}.example.org") };
        set(&rig, &format!("{name}.example.org"), records);
        planted.insert((domain, code.to_owned()));
    };
    let mx = ("MX", "10 mail.example.org");
    plant("d1", "spf_twice", "bounces.d1", &[mx, ("TXT", GOOD_SPF), ("TXT", "v=spf1 -all")]);
    let six = format!("v=spf1 {} -all", ["a:sender.example.org"; 6].join(" "));
    let four = format!("v=spf1 {} -all", ["a:sender.example.org"; 4].join(" "));
    let both = "v=spf1 include:_a.d2.example.org include:_b.d2.example.org ~all";
    plant("d2", "spf_too_many_lookups", "_a.d2", &[("TXT", &six)]);
    plant("d2", "spf_too_many_lookups", "_b.d2", &[("TXT", &four)]);
    plant("d2", "spf_too_many_lookups", "bounces.d2", &[mx, ("TXT", both)]);
    plant("d3", "dkim_missing", "s1._domainkey.d3", &[]);
    plant("d4", "dkim_other_key", "s1._domainkey.d4", &[("TXT", &keys[0])]);
    plant("d5", "dmarc_missing", "_dmarc.d5", &[]);
    plant("d6", "dmarc_twice", "_dmarc.d6", &[("TXT", GOOD_DMARC), ("TXT", "v=DMARC1; p=reject")]);
    plant("d7", "return_path_no_zone", "d7", &[("A", "192.0.2.30")]);
    plant("d8", "return_path_no_host", "bounces.d8", &[("TXT", GOOD_SPF)]);
    plant("d9", "spf_plus_all", "bounces.d9", &[mx, ("TXT", "v=spf1 +all")]);
    plant("d10", "public_host_missing", "clicks", &[]);
    // A second fault of one domain is told beside the first.
    plant("d9", "dkim_revoked", "s1._domainkey.d9", &[("TXT", "v=DKIM1; p=")]);
    rig.world.withdraw(REVERSE);
    planted.insert((String::new(), "ptr_missing".to_owned()));
    assert_eq!(planted.len(), 12);
    assert_eq!(amiss(&rig).await, planted);

    // An EHLO name that does not resolve hides its missing PTR record, and takes the SPF term with it: that one is void.
    rig.world.withdraw(EHLO);
    planted.remove(&(String::new(), "ptr_missing".to_owned()));
    planted.insert((String::new(), "ehlo_no_address".to_owned()));
    planted.insert(("d2.example.org".to_owned(), "spf_void_lookups".to_owned()));
    assert_eq!(amiss(&rig).await, planted);

    // A name that leads elsewhere, and an address that is not named.
    set(&rig, EHLO, &[("A", "192.0.2.10"), ("TXT", "v=spf1 a -all")]);
    set(&rig, REVERSE, &[("PTR", "other.example.org")]);
    planted.remove(&(String::new(), "ehlo_no_address".to_owned()));
    planted.remove(&("d2.example.org".to_owned(), "spf_void_lookups".to_owned()));
    planted.insert((String::new(), "ptr_no_round_trip".to_owned()));
    set(&rig, "bounces.d3.example.org", &[mx, ("TXT", "v=spf1 ip4:198.51.100.0/24 ~all")]);
    planted.insert(("d3.example.org".to_owned(), "spf_omits_us".to_owned()));
    assert_eq!(amiss(&rig).await, planted);
}

/// Has a domain looked at, as a person would.
pub async fn check(rig: &Rig, domain: DomainId) -> Value {
    let args = json!({ "domain": domain, "records": [] });
    let id = rig.store.ask(Some(rig.workspace), "domain_check", &args, 15_000).await.expect("asked");
    let answer = rig.store.wait_for_answer(Some(rig.workspace), id, Duration::from_secs(15)).await;
    let answer = answer.unwrap().expect("an answer");
    let kept = rig.store.domain(rig.workspace, domain).await.unwrap().checked;
    assert_eq!(kept.as_ref(), Some(&answer), "the newest look is kept");
    answer
}

async fn a_check_is_kept_and_silence_is_not_red(rig: Rig) {
    good_host(&rig);
    let (good, _) = add(&rig, rig.workspace, "good.example.org").await;
    let (key, _) = new_key();
    let name = DomainName::parse("shop.servfail.test").unwrap();
    let path = DomainName::parse("bounces.servfail.test").unwrap();
    let silent = rig.store.add_domain(rig.workspace, &CONSOLE, &name, &path, key).await.expect("added").id;
    let engine = rig.engine().await;
    let answer = check(&rig, good).await;
    assert_eq!((&answer["ok"], &answer["state"]), (&json!(true), &json!("green")), "{answer}");
    let codes: BTreeSet<&str> =
        answer["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    let notes = ["bimi_missing", "caa", "mta_sts_missing", "port_not_probed", "return_path_mx", "tls_rpt_missing"];
    assert_eq!(codes, notes.into_iter().collect());
    let answer = check(&rig, silent).await;
    assert_eq!((&answer["ok"], &answer["state"]), (&json!(true), &json!("amber")), "{answer}");
    let findings = answer["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["code"] == "dns_silent" && f["about"] == "bounces.servfail.test"), "{answer}");
    assert!(findings.iter().all(|f| f["state"] != "red"), "{answer}");
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn codes(rig: &Rig, domain: DomainId) -> BTreeSet<String> {
    let engine = rig.engine().await;
    let answer = check(rig, domain).await;
    engine.shutdown(Duration::from_secs(10)).await;
    let findings = answer["findings"].as_array().expect("findings");
    findings.iter().filter_map(|finding| finding["code"].as_str().map(str::to_owned)).collect()
}

async fn port_25_is_known_from_mail_or_from_a_host_of_ones_own(mut rig: Rig) {
    good_host(&rig);
    let (domain, _) = add(&rig, rig.workspace, "good.example.org").await;
    let port = async |rig: &Rig| -> Vec<String> {
        codes(rig, domain).await.into_iter().filter(|code| code.starts_with("port_")).collect()
    };
    assert_eq!(port(&rig).await, ["port_not_probed"]);
    rig.port_probe = Some("mx1.mail1.test".into());
    assert_eq!(port(&rig).await, [] as [&str; 0], "it greets");
    // An address at which nobody listens.
    set(&rig, "dead.example.org", &[("A", "127.255.0.9")]);
    rig.port_probe = Some("dead.example.org".into());
    assert_eq!(port(&rig).await, ["port_blocked"]);
    rig.port_probe = Some("nobody.example.org".into());
    assert_eq!(port(&rig).await, ["port_blocked"]);
    // Real mail tells better than any probe.
    let node = rig.store.register_node().await.expect("a node");
    let session = postrider_store::transport::TlsResult {
        day: postrider_store::transport::day_of(rig.store.now()),
        domain: "mail1.test".into(),
        policy: "no-policy-found".into(),
        result: "starttls-not-supported".into(),
        mx_host: "mx1.mail1.test".into(),
        n: 1,
    };
    rig.store.count_tls(node, &[session]).await.expect("counted");
    assert_eq!(port(&rig).await, [] as [&str; 0]);
}

async fn sources_are_looked_at_by_their_own_addresses(rig: Rig) {
    good_host(&rig);
    let (domain, _) = add(&rig, rig.workspace, "good.example.org").await;
    let before = codes(&rig, domain).await;
    let source = json!({ "name": "second", "ipv4": "192.0.2.77", "ehlo_name": "second.example.org" });
    let source = serde_json::from_value(source).expect("settings");
    rig.store.add_egress_source(&CONSOLE, &source).await.expect("a source");
    let more: Vec<String> = codes(&rig, domain).await.difference(&before).cloned().collect();
    assert_eq!(more, ["ehlo_no_address", "ehlo_spf", "ptr_missing", "spf_omits_us"]);
    set(&rig, "second.example.org", &[("A", "192.0.2.77"), ("TXT", "v=spf1 a -all")]);
    set(&rig, "77.2.0.192.in-addr.arpa", &[("PTR", "second.example.org")]);
    let spf = "v=spf1 a:sender.example.org a:second.example.org ~all";
    set(&rig, "bounces.good.example.org", &[("MX", "10 mail.example.org"), ("TXT", spf)]);
    assert_eq!(codes(&rig, domain).await, before);
}
