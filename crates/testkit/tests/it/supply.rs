//! Holds what is built against the licences and bans of deny.toml, in every run and without further tools.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::repository::{cargo, text};
use crate::spdx::satisfied;

/// A package in the tree of this machine's build.
#[derive(Debug, Default)]
struct Package {
    licence: String,
    used_by: BTreeSet<String>,
}

#[test]
fn licences_and_bans_hold() {
    let rules: Table = text("deny.toml").expect("deny.toml").parse().expect("TOML");
    let listing =
        cargo(&["tree", "--workspace", "--edges", "normal,build,dev", "--prefix", "depth", "--format", "|{p}|{l}"]);
    let packages = packages(&listing);
    assert!(packages.len() > 50, "only {} packages found", packages.len());
    let wrong = compare(&packages, &rules);
    assert!(wrong.is_empty(), "deny.toml does not allow this:\n{}", wrong.join("\n"));
}

/// Reads `2|serde v1.0.0 (proc-macro)|MIT OR Apache-2.0`; the number is the depth under the package before.
fn packages(listing: &str) -> BTreeMap<String, Package> {
    let mut packages: BTreeMap<String, Package> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    for line in listing.lines().filter(|line| !line.trim().is_empty()) {
        let mut cells = line.split('|');
        let depth: usize = cells.next().and_then(|cell| cell.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        let name = cells.next().and_then(|cell| cell.split(' ').next()).unwrap_or_else(|| panic!("{line}"));
        let licence = cells.next().unwrap_or_default().trim_end_matches(" (*)").trim();
        above.truncate(depth);
        let package = packages.entry(name.to_owned()).or_default();
        package.licence = licence.to_owned();
        package.used_by.extend(above.last().cloned());
        above.push(name.to_owned());
    }
    packages
}

fn compare(packages: &BTreeMap<String, Package>, rules: &Table) -> Vec<String> {
    let accepted = strings(&rules["licenses"]["allow"]);
    let mut wrong = Vec::new();
    for (name, package) in packages {
        if !satisfied(&package.licence, &accepted) {
            wrong.push(format!("{name} has the licence {:?}", package.licence));
        }
    }
    for ban in rules["bans"]["deny"].as_array().expect("an array") {
        let name = ban["crate"].as_str().expect("a name");
        let Some(package) = packages.get(name) else { continue };
        let wrappers = ban.get("wrappers").map(strings).unwrap_or_default();
        let users: Vec<&String> = package.used_by.iter().filter(|user| !wrappers.contains(&user.as_str())).collect();
        if !users.is_empty() {
            wrong.push(format!("{name} is used by {users:?}: {}", ban["reason"].as_str().unwrap_or_default()));
        }
    }
    wrong
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("an array").iter().map(|item| item.as_str().expect("a text")).collect()
}

/// The comparison itself, on a tree that breaks each rule once.
#[test]
fn every_kind_of_breach_is_found() {
    let rules: Table = "[licenses]\nallow = ['MIT']\n[bans]\ndeny = [{ crate = 'bad', reason = 'no' }, \
                        { crate = 'sql', wrappers = ['store'], reason = 'store only' }]"
        .parse()
        .expect("TOML");
    let listing = "0|store v1 (/x)|MIT\n1|sql v1|MIT\n2|odd v1|GPL-3.0-only\n\n0|web v1 (/x)|MIT\n1|sql v1|MIT (*)\n1|bad v2|MIT\n1|mute v2|\n";
    let wrong = compare(&packages(listing), &rules);
    assert_eq!(
        wrong,
        [
            "mute has the licence \"\"",
            "odd has the licence \"GPL-3.0-only\"",
            "bad is used by [\"web\"]: no",
            "sql is used by [\"web\"]: store only",
        ]
    );
}
