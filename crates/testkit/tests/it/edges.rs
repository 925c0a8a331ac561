//! Compares the manifests with the two tables of ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::repository::{cargo, table, text, words};

/// What a manifest of ours names.
#[derive(Debug, Default, PartialEq)]
struct Uses {
    ours: BTreeSet<String>,
    ours_in_tests: BTreeSet<String>,
    outside: BTreeSet<String>,
}

struct Allowed {
    edges: BTreeMap<String, (Vec<String>, Vec<String>)>,
    doors: BTreeMap<String, Vec<String>>,
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let used = manifests(&serde_json::from_str(&metadata).expect("JSON"));
    let allowed = read(&text("ARCHITECTURE.md").expect("ARCHITECTURE.md"));
    let wrong = compare(&used, &allowed);
    assert!(wrong.is_empty(), "ARCHITECTURE.md does not allow this:\n{}", wrong.join("\n"));
}

/// `postrider-mail` is `mail` in the table, the binary `postrider` is `app`.
fn short(package: &str) -> Option<String> {
    match package {
        "postrider" => Some("app".to_owned()),
        _ => package.strip_prefix("postrider-").map(str::to_owned),
    }
}

fn manifests(metadata: &Value) -> BTreeMap<String, Uses> {
    let mut all = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let mut uses = Uses::default();
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let target = dependency["name"].as_str().expect("a name");
            // Null is an ordinary dependency; a build script's counts as one.
            match (short(target), dependency["kind"].as_str()) {
                (Some(ours), Some("dev")) => uses.ours_in_tests.insert(ours),
                (Some(ours), _) => uses.ours.insert(ours),
                (None, Some("dev")) => false,
                (None, _) => uses.outside.insert(target.to_owned()),
            };
        }
        all.insert(short(name).unwrap_or_else(|| panic!("{name} should be called postrider-{name}")), uses);
    }
    all
}

fn read(architecture: &str) -> Allowed {
    let edges = table(architecture, &["crate", "may use", "in tests also"]);
    let doors = table(architecture, &["outside crate", "only in"]);
    Allowed {
        edges: edges.into_iter().map(|row| (row[0].clone(), (words(&row[1]), words(&row[2])))).collect(),
        doors: doors.into_iter().map(|row| (row[0].clone(), words(&row[1]))).collect(),
    }
}

fn compare(used: &BTreeMap<String, Uses>, allowed: &Allowed) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in allowed.edges.keys().filter(|name| !used.contains_key(*name)) {
        wrong.push(format!("the table has a row for {name}, but there is no such crate"));
    }
    for (name, uses) in used {
        let Some((always, in_tests)) = allowed.edges.get(name) else {
            wrong.push(format!("{name} has no row in the table"));
            continue;
        };
        wrong.extend(uses.ours.iter().filter(|to| !always.contains(to)).map(|to| format!("{name} -> {to}")));
        let tests_may = |to: &&String| always.contains(to) || in_tests.contains(to);
        wrong
            .extend(uses.ours_in_tests.iter().filter(|to| !tests_may(to)).map(|to| format!("tests of {name} -> {to}")));
        let closed = |to: &&String| allowed.doors.get(*to).is_some_and(|only| !only.contains(name));
        wrong.extend(uses.outside.iter().filter(closed).map(|to| format!("{name} -> {to} (an outside crate)")));
    }
    wrong
}

/// The comparison itself, on manifests that break each rule once.
#[test]
fn every_kind_of_forbidden_edge_is_found() {
    let allowed = read(
        "| crate | may use | in tests also | never |\n|---|---|---|---|\n| mail | nothing | testkit | x |\n\
         | web | `mail` | nothing | x |\n| gone | nothing | nothing | x |\n| testkit | nothing | nothing | x |\n\n\
         | outside crate | only in |\n|---|---|\n| sqlx | mail |\n",
    );
    let metadata = serde_json::json!({ "packages": [
        { "name": "postrider-mail", "dependencies": [
            { "name": "postrider-testkit", "kind": "dev" }, { "name": "sqlx", "kind": null }, { "name": "bytes", "kind": null } ] },
        { "name": "postrider-web", "dependencies": [
            { "name": "postrider-mail", "kind": "dev" }, { "name": "postrider-mail", "kind": null },
            { "name": "postrider-testkit", "kind": "dev" }, { "name": "postrider-engine", "kind": "build" },
            { "name": "sqlx", "kind": null } ] },
        { "name": "postrider-testkit", "dependencies": [] },
        { "name": "postrider-new", "dependencies": [] },
    ] });
    let wrong = compare(&manifests(&metadata), &allowed);
    assert_eq!(
        wrong,
        [
            "the table has a row for gone, but there is no such crate",
            "new has no row in the table",
            "web -> engine",
            "tests of web -> testkit",
            "web -> sqlx (an outside crate)",
        ]
    );
}
