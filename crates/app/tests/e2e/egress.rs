//! Egress by the command line, through a server: sources, a pool, a campaign that leaves by it, weights, and what is refused.

use crate::harness::{Sim, Site};
use serde_json::{Value, json};

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("an id in {value}")).to_owned()
}

#[test]
fn egress_is_set_up_used_and_taken_down_from_the_command_line() {
    let sim = Sim::start(7, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    site.furnish();
    assert_eq!(site.run(&["egress", "sources"]), json!([]));

    // Addresses of this machine: all of 127.0.0.0/8 is.
    let add = |name: &str, ip: &str, more: &[&str]| {
        let ehlo = format!("{name}.story.test");
        site.run(&[&["egress", "sources", "add", name, "--ipv4", ip, "--ehlo-name", &ehlo], more].concat())
    };
    let one = add("one", "127.0.0.21", &[]);
    let two = add("two", "127.0.0.22", &["--plan", "500,900", "--per-hour", "5000"]);
    assert_eq!((&two["warm_up"]["plan"], &two["per_hour"]), (&json!([500, 900]), &json!(5_000)));
    assert_eq!(two["problems"], json!([]), "this machine has it");
    let elsewhere = add("elsewhere", "192.0.2.77", &[]);
    let problem = elsewhere["problems"][0].as_str().unwrap_or_default();
    assert!(problem.contains("does not have 192.0.2.77"), "{elsewhere}");
    let changed = site.run(&["egress", "sources", "set", "two", "--per-hour", "0", "--name", "second"]);
    assert_eq!((&changed["name"], &changed["per_hour"]), (&json!("second"), &json!(0)));
    assert_eq!(changed["warm_up"], two["warm_up"], "what is not named stays");

    let pool = site.run(&["egress", "pools", "set", "news", "--source", "one=3", "second", "--for", "Story"]);
    let members = json!([{ "source": id(&one), "weight": 3 }, { "source": id(&two), "weight": 1 }]);
    assert_eq!(pool["members"], members);
    assert_eq!(pool["workspaces"].as_array().map(Vec::len), Some(1));
    let open = site.run(&["egress", "pools", "set", "news", "--for-all"]);
    assert_eq!((&open["id"], &open["members"], &open["workspaces"]), (&pool["id"], &members, &Value::Null));
    site.run(&["route", "add", "pooled", "--kind", "mx", "--pool", "news", "--connections", "2"]);
    assert_eq!(site.run(&["egress", "pools", "list"]).as_array().map(Vec::len), Some(1));

    // What does not exist, is in use, or makes no sense is said.
    for (words, say) in [
        (&["egress", "sources", "set", "nobody", "--state", "off"][..], "no egress source named `nobody`"),
        (&["egress", "sources", "set", "src_0000000000001", "--state", "off"], "no such egress source"),
        (&["egress", "sources", "set", "one"], "say what changes"),
        (&["egress", "sources", "add", "three", "--ehlo-name", "three.story.test"], "IPv4 address"),
        (&["egress", "sources", "remove", "one"], "the pool \u{201c}news\u{201d} has it"),
        (&["egress", "sources", "remove", "elsewhere"], "it is active"),
        (&["egress", "pools", "set", "other"], "name its sources"),
        (&["egress", "pools", "set", "news", "--source", "nobody"], "no egress source named `nobody`"),
        (&["egress", "pools", "set", "news", "--source", "one=0"], "1 to 1000"),
        (&["egress", "pools", "set", "news", "--for", "Nobody"], "no workspace named `Nobody`"),
        (&["egress", "pools", "remove", "news"], "\u{201c}pooled\u{201d}"),
        (&["egress", "pools", "remove", "other"], "no pool named `other`"),
        (&["egress", "warm-up", "list", "nobody"], "no egress source named `nobody`"),
        (&["egress", "warm-up", "resume", "second", "--site", "nowhere"], "no such"),
        (&["egress", "weight", "workspace", "Story", "0"], "1 to 1000"),
        (&["egress", "weight", "campaign", "Nobody", "2"], "no campaign named `Nobody`"),
        (&["route", "add", "x", "--pool", "other"], "no pool named `other`"),
    ] {
        let (code, out, err) = site.try_run(words);
        assert!(code != Some(0) && err.contains(say), "{words:?}: {code:?} {out} {err}");
    }

    // Weights, and who set them.
    // To one site, so that the pool shares it out.
    let people: String = (0..120).map(|n| format!("person{n}@mail1.test,Name {n}\n")).collect();
    site.import(&format!("email,first_name\n{people}"));
    let campaign = site.draft("Spring", "rehearsal");
    site.run(&["egress", "weight", "workspace", "Story", "5"]);
    site.run(&["egress", "weight", "campaign", "Spring", "3"]);
    let weights = site.run(&["egress", "weight"]);
    assert_eq!(weights["workspaces"][0]["weight"], 5);
    assert_eq!((&weights["campaigns"][0]["id"], &weights["campaigns"][0]["weight"]), (&json!(campaign), &json!(3)));
    let key = site.run(&["key", "create", "--name", "auditor", "--scope", "admin", "campaigns:read"]);
    let bearer = format!("Bearer {}", key["secret"].as_str().expect("shown once"));
    let get = |path: &str| {
        let (status, body) = site.http_request("GET", path, &[("Authorization", &bearer)], "").expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<Value>(&body).expect("JSON")
    };
    for action in ["workspace.weight", "campaign.weight"] {
        let audit = get(&format!("/api/v1/audit?action={action}"));
        assert_eq!(audit["items"][0]["actor_kind"], "console", "{audit}");
    }

    // A campaign leaves by the pool; what the warm-up does not let go leaves by the other source.
    let routes = site.run(&["route", "list"]);
    let pooled = routes.as_array().into_iter().flatten().find(|r| r["settings"]["name"] == "pooled").map(id);
    let path = format!("/api/v1/routes/{}", pooled.expect("the route"));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let (status, body) = site.http_request("PATCH", &path, &headers, r#"{"is_default":true}"#).expect("an answer");
    assert_eq!(status, 200, "{body}");
    site.run(&["campaign", "start", &campaign, "--no-undo"]);
    assert_eq!(site.wait_done(&campaign, 60)["ledger"]["accepted"], 120);
    let attempts = get(&format!("/api/v1/attempts?campaign={campaign}&limit=500"));
    let by = |name: &str| attempts["items"].as_array().into_iter().flatten().filter(|a| a["source"] == name).count();
    assert_eq!(by("one") + by("second"), 120, "{attempts}");
    assert!(by("one") > by("second") && by("second") > 0, "{} and {}", by("one"), by("second"));
    let warm = site.run(&["egress", "warm-up"]);
    assert_eq!((warm.as_array().map(Vec::len), &warm[0]["name"]), (Some(1), &json!("second")));
    let sites = warm[0]["sites"].as_array().expect("sites");
    assert!(!sites.is_empty() && sites.iter().all(|s| s["step"] == 1 && s["ceiling"] == 500), "{warm}");

    // Down again.
    let (status, _) = site.http_request("DELETE", &path, &headers, "").expect("an answer");
    assert_eq!(status, 409, "it is the default");
    site.run(&["egress", "sources", "set", "elsewhere", "--state", "off"]);
    let removed = site.run(&["egress", "sources", "remove", "elsewhere"]);
    assert_eq!(removed["removed"], id(&elsewhere));
    assert_eq!(site.run(&["egress", "sources"]).as_array().map(Vec::len), Some(2));
    // Without a server the same words do the same.
    assert_eq!(site.terminate(), Some(0));
    site.run(&["egress", "sources", "set", "one", "--state", "draining"]);
    let listed = site.run(&["egress", "sources", "list"]);
    assert_eq!(listed[0]["state"], "draining");
    let plain = site.command(&["egress", "pools"]).output().expect("the binary is built");
    let text = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(text.contains("one=3, second=1") && text.contains("all"), "{text}");
}
