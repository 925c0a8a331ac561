//! What a source file may hold: conventions of CONTRIBUTING.md that a search can check.

use crate::repository::{files, text};

/// Past this a file is listed, past the other it fails.
const LONG: usize = 500;
const TOO_LONG: usize = 700;

fn sources() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|file| file.ends_with(".rs")).filter_map(|file| text(&file).map(|text| (file, text)))
}

/// Rust of the product: no test file, no build script, no module that exists in tests only.
fn product() -> impl Iterator<Item = (String, String)> {
    let all: Vec<(String, String)> = sources().filter(|(file, _)| is_product(file)).collect();
    let tests: Vec<String> = all.iter().flat_map(|(file, text)| test_modules(file, text)).collect();
    all.into_iter()
        .filter(move |(file, _)| !tests.iter().any(|module| file.starts_with(module.as_str())))
        .map(|(file, text)| (file, without_tests(&text).to_owned()))
}

fn is_product(file: &str) -> bool {
    file.starts_with("crates/") && file.contains("/src/") && !file.starts_with("crates/testkit/")
}

/// Where a `#[cfg(test)]` begins that stands before a module, and the line which opens that module.
fn test_attributes(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("#[cfg(").filter_map(|(at, _)| {
        let mut lines = text[at..].lines();
        let attribute = lines.next().filter(|line| line.contains("test"))?;
        let module = lines.find(|line| !line.trim_start().starts_with("#["))?;
        let module = module.trim_start_matches("pub(crate) ").trim_start_matches("pub ").strip_prefix("mod ")?;
        (!attribute.contains("not(test")).then_some((at, module))
    })
}

/// The files of modules that are declared for tests: `a/b.rs` and `a/b/` for `mod b;` in `a/lib.rs`.
fn test_modules(file: &str, text: &str) -> Vec<String> {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let base = match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => file.trim_end_matches(".rs").to_owned(),
    };
    let names = test_attributes(text).filter_map(|(_, module)| module.strip_suffix(';'));
    names.flat_map(|module| [format!("{base}/{module}.rs"), format!("{base}/{module}/")]).collect()
}

/// Test modules inside a file stand at its end.
fn without_tests(text: &str) -> &str {
    let at = test_attributes(text).find(|(_, module)| module.ends_with('{')).map(|(at, _)| at);
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
    let declared = "#[cfg(test)]\npub(crate) mod rig;\n#[cfg(unix)]\nmod socket;\nfn a() { b.unwrap() }\n";
    assert_eq!(without_tests(declared), declared);
    assert_eq!(test_modules("crates/a/src/lib.rs", declared), ["crates/a/src/rig.rs", "crates/a/src/rig/"]);
    assert_eq!(test_modules("crates/a/src/b.rs", declared), ["crates/a/src/b/rig.rs", "crates/a/src/b/rig/"]);
    assert!(is_product("crates/mail/src/reply.rs") && is_product("crates/app/src/command/key.rs"));
    assert!(!is_product("crates/app/tests/e2e/main.rs") && !is_product("crates/ui/build.rs"));
    assert!(!is_product("crates/testkit/src/port.rs"));
}
