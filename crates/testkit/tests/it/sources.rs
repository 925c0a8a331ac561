//! What a source file may hold: conventions of CONTRIBUTING.md that a search can check.

use crate::repository::{files, text};

/// Past this a file is listed, past the other it fails.
const LONG: usize = 500;
const TOO_LONG: usize = 700;

fn sources() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|file| file.ends_with(".rs")).filter_map(|file| text(&file).map(|text| (file, text)))
}

/// Rust of the product: no test file, no build script, no test module at the end of a file.
fn product() -> impl Iterator<Item = (String, String)> {
    sources().filter(|(file, _)| is_product(file)).map(|(file, text)| (file, without_tests(&text).to_owned()))
}

fn is_product(file: &str) -> bool {
    let inside = file.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/")).map(|(_, inside)| inside);
    inside.is_some_and(|inside| {
        !inside.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
    }) && !file.starts_with("crates/testkit/")
}

/// Test modules stand at the end of a file.
fn without_tests(text: &str) -> &str {
    let at = text.match_indices("#[cfg(").map(|(at, _)| at).find(|at| {
        let rest = &text[*at..];
        let attribute = rest.lines().next().unwrap_or_default();
        let next = rest.lines().skip(1).find(|line| !line.trim_start().starts_with("#["));
        attribute.contains("test") && next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    &text[..at.unwrap_or(text.len())]
}

/// Lines of code that contain one of the texts.
fn lines_with(sources: impl Iterator<Item = (String, String)>, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources {
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            if !code.starts_with("//") && texts.iter().any(|text| code.contains(text)) {
                found.push(format!("{file}:{}: {}", number + 1, code));
            }
        }
    }
    found
}

#[test]
fn no_unwrap_outside_tests() {
    let found = lines_with(product(), &[".unwrap()", "todo!(", "unimplemented!("]);
    assert!(found.is_empty(), "write expect(\"why it holds\") or return an error:\n{}", found.join("\n"));
}

#[test]
fn time_is_passed_in() {
    let of = |names: &'static [&'static str]| {
        product().filter(|(file, _)| names.iter().any(|name| file.starts_with(&format!("crates/{name}/"))))
    };
    let told = of(&["mail", "domain", "content", "engine", "web"]);
    let mut found = lines_with(told, &["SystemTime::now", "Timestamp::now", "Zoned::now"]);
    found.extend(lines_with(of(&["mail", "domain", "content"]), &["Instant::now"]));
    assert!(found.is_empty(), "take the time from a Clock:\n{}", found.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut too_long = Vec::new();
    for file in files() {
        if ![".rs", ".ts", ".svelte", ".py", ".sh"].iter().any(|end| file.ends_with(end)) {
            continue;
        }
        let lines = text(&file).unwrap_or_default().lines().count();
        if lines > TOO_LONG {
            too_long.push(format!("{file}: {lines} lines"));
        } else if lines > LONG {
            println!("long: {file}: {lines} lines");
        }
    }
    assert!(too_long.is_empty(), "look for the second subject in:\n{}", too_long.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let mute: Vec<String> = sources()
        .filter(|(file, text)| file.starts_with("crates/") && !text.starts_with("//!"))
        .map(|(file, _)| file)
        .collect();
    assert!(mute.is_empty(), "start with `//!`, what the file is for and what it must not know:\n{}", mute.join("\n"));
}

/// A build takes packages by name, so that a mirror works; the lock of cargo names its registry by necessity.
#[test]
fn no_package_registry_is_named() {
    // In two parts, so that this file names none itself.
    let hosts = [
        ("crates", ".io"),
        ("npmjs", ".org"),
        ("npmjs", ".com"),
        ("yarnpkg", ".com"),
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("debian", ".org/debian"),
        ("proxy.golang", ".org"),
    ];
    let hosts: Vec<String> = hosts.iter().map(|(name, rest)| format!("{name}{rest}")).collect();
    let mut found = Vec::new();
    for file in files().into_iter().filter(|file| file != "Cargo.lock") {
        let Some(text) = text(&file) else { continue };
        let named = hosts.iter().filter(|host| text.contains(host.as_str()));
        found.extend(named.map(|host| format!("{file} names {host}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_search_sees_code_and_skips_tests() {
    let text = "fn a() {\n    b.unwrap();\n}\n// c.unwrap()\n\n#[cfg(test)]\nmod tests {\n    d.unwrap();\n}\n";
    let found = lines_with([("x.rs".to_owned(), without_tests(text).to_owned())].into_iter(), &[".unwrap()"]);
    assert_eq!(found, ["x.rs:2: b.unwrap();"]);
    let all_test = "#[cfg(all(test, unix))]\n#[expect(x)]\nmod tests {\n    d.unwrap();\n}\n";
    assert_eq!(without_tests(all_test), "");
    let declared = "#[cfg(test)]\nmod tests;\nfn a() { b.unwrap() }\n";
    assert_eq!(without_tests(declared), declared);
    assert!(is_product("crates/mail/src/reply.rs") && is_product("crates/app/src/command/key.rs"));
    assert!(!is_product("crates/store/src/sql_tests.rs"));
    assert!(!is_product("crates/mail/src/reply/tests.rs") && !is_product("crates/app/tests/e2e/main.rs"));
    assert!(!is_product("crates/ui/build.rs") && !is_product("crates/testkit/src/port.rs"));
}
