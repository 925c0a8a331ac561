//! Builds the pages of `ui/` with npm and writes a table of the files for `src/lib.rs`.
//!
//! Nothing is written into the source tree: sources, packages and output lie in this crate's folder under `target`.
//! Two switches: `POSTRIDER_UI_DIST=folder` embeds files that were built elsewhere, `POSTRIDER_UI=none` embeds a
//! page that says that the others were left out (no Node needed).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

/// What Vite needs.
const NODE: (u32, u32) = (20, 19);
/// Everything that the build reads, under `ui/`.
const SOURCES: [&str; 10] = [
    "package.json",
    "package-lock.json",
    ".npmrc",
    "index.html",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
    "scripts",
    "src",
    "public",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=POSTRIDER_UI");
    println!("cargo::rerun-if-env-changed=POSTRIDER_UI_DIST");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            what.lines().for_each(|line| println!("cargo::error={line}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let (folder, kind) = match (env::var("POSTRIDER_UI").ok().as_deref(), env::var("POSTRIDER_UI_DIST").ok()) {
        (Some("none"), _) => (watched(here.join("notice")), "notice"),
        (_, Some(ready)) if !ready.is_empty() => (watched(here.join(ready)), "application"),
        (None | Some(""), _) => (build(&here.join("../../ui"), &out.join("ui"))?, "application"),
        (Some(other), _) => return Err(format!("POSTRIDER_UI is {other:?}; leave it out or set it to none")),
    };
    if !folder.join("index.html").is_file() {
        return Err(format!("there is no index.html in {}", folder.display()));
    }
    println!("cargo::rustc-env=POSTRIDER_UI_KIND={kind}");
    let table = table(&folder).map_err(|error| format!("could not read {}: {error}", folder.display()))?;
    fs::write(out.join("files.rs"), table).map_err(|error| format!("could not write the table of files: {error}"))
}

/// Only folders that this script does not write itself: cargo would else run it again each time.
fn watched(folder: PathBuf) -> PathBuf {
    println!("cargo::rerun-if-changed={}", folder.display());
    folder
}

/// Copies the sources, installs the packages of the lock file when it changed, and builds.
fn build(sources: &Path, work: &Path) -> Result<PathBuf, String> {
    for name in SOURCES.into_iter().filter(|name| *name != "src") {
        println!("cargo::rerun-if-changed={}", sources.join(name).display());
    }
    // The types of the API are written into `src` by whoever works on the pages; that alone is no reason to build.
    watch_but_types(&sources.join("src")).map_err(|error| format!("could not read {}: {error}", sources.display()))?;
    let api = sources.join("../docs/openapi.json");
    println!("cargo::rerun-if-changed={}", api.display());
    need_node()?;
    copy_sources(sources, work).map_err(|error| format!("could not copy {}: {error}", sources.display()))?;
    copy(&api, &work.join("openapi.json")).map_err(|error| format!("could not copy {}: {error}", api.display()))?;
    let lock = fs::read(work.join("package-lock.json")).map_err(|error| format!("could not read the lock: {error}"))?;
    let stamp = work.join("node_modules/.postrider-lock");
    if fs::read(&stamp).ok().as_ref() != Some(&lock) {
        npm(work, &["ci", "--no-audit", "--no-fund"])?;
        fs::write(&stamp, &lock).map_err(|error| format!("could not write {}: {error}", stamp.display()))?;
    }
    npm(work, &["run", "build"])?;
    Ok(work.join("dist"))
}

/// Names every file below, and the folders, in which a file may come or go, except the one that has the types' file.
fn watch_but_types(folder: &Path) -> io::Result<()> {
    let mut has_types = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == "schema.d.ts" {
            has_types = true;
        } else if entry.file_type()?.is_dir() {
            watch_but_types(&entry.path())?;
        } else {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    // Cargo looks at all below a folder that it is told of.
    let only_files =
        !has_types && fs::read_dir(folder)?.all(|e| e.is_ok_and(|e| e.file_type().is_ok_and(|t| t.is_file())));
    if only_files {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    Ok(())
}

fn need_node() -> Result<(), String> {
    let (major, minor) = NODE;
    let advice = format!(
        "Postrider's pages are built with Node {major}.{minor} or later and npm. Install them, or build without pages \
         (POSTRIDER_UI=none), or name a folder with pages built elsewhere (POSTRIDER_UI_DIST=folder)."
    );
    let output = Command::new("node").arg("--version").output().map_err(|_| format!("node was not found. {advice}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = text.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < NODE {
        return Err(format!("node is {text}. {advice}"));
    }
    Command::new(npm_program()).arg("--version").output().map_err(|_| format!("npm was not found. {advice}"))?;
    Ok(())
}

const fn npm_program() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(npm_program())
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|error| format!("could not start npm: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "`npm {}` failed in {} ({}):\n{}{}",
        arguments.join(" "),
        folder.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Everything but the installed packages is made anew, so that a removed source is gone.
fn copy_sources(sources: &Path, work: &Path) -> io::Result<()> {
    fs::create_dir_all(work)?;
    for entry in fs::read_dir(work)? {
        let entry = entry?;
        if entry.file_name() == "node_modules" {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    SOURCES.iter().try_for_each(|name| copy(&sources.join(name), &work.join(name)))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The Rust text of a slice of `File`, sorted by path.
fn table(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    list(folder, "", &mut files)?;
    files.sort();
    let mut text = "&[\n".to_owned();
    let packed: BTreeMap<String, PathBuf> =
        files.iter().filter_map(|(name, path)| Some((name.strip_suffix(".gz")?.to_owned(), path.clone()))).collect();
    for (name, path) in files {
        if name.ends_with(".gz") {
            continue;
        }
        let gzip = match packed.get(&name) {
            Some(path) => format!("Some(include_bytes!({:?}))", path.canonicalize()?),
            None => "None".to_owned(),
        };
        let etag = format!("\"{:016x}\"", fnv(&fs::read(&path)?));
        let path = path.canonicalize()?;
        let mime = mime(&name);
        let _ = writeln!(
            text,
            "    File {{ path: {name:?}, mime: {mime:?}, etag: {etag:?}, bytes: include_bytes!({path:?}), gzip: {gzip} }},"
        );
    }
    text.push_str("]\n");
    Ok(text)
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}

/// FNV-1a: tells versions of a file apart for a browser's cache, no more.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn mime(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set; this script is run by cargo"))
}
