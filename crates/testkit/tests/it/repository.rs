//! Where the project lies and how its files and manifests are read.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root is two folders up")
}

/// Every file of the project with its path from the root: what git knows or would add, else all but build output.
pub fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files: Vec<String> = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
            text.split_terminator('\0').map(str::to_owned).collect()
        }
        _ => walk(&root(), ""),
    };
    // A file may be deleted and not yet committed.
    files.retain(|file| root().join(file).is_file());
    assert!(files.len() > 100, "only {} files found in {}", files.len(), root().display());
    files
}

fn walk(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if !entry.path().is_dir() {
            found.push(path);
        } else if ![".git", "target", "node_modules", "dist"].contains(&name.as_str()) {
            found.extend(walk(&entry.path(), &format!("{path}/")));
        }
    }
    found
}

/// A file's text; `None` for files that are no text.
pub fn text(file: &str) -> Option<String> {
    std::fs::read(root().join(file)).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Runs cargo in the root and returns what it prints.
pub fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// The rows of the Markdown table whose heading starts with the given cells; cells without blanks and backticks.
pub fn table(markdown: &str, heading: &[&str]) -> Vec<Vec<String>> {
    let rows = |line: &str| -> Option<Vec<String>> {
        let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect())
    };
    let is_heading = |line: &str| {
        rows(line).is_some_and(|cells| {
            cells.len() >= heading.len() && cells.iter().zip(heading).all(|(cell, word)| cell == word)
        })
    };
    let mut lines = markdown.lines().skip_while(|line| !is_heading(line));
    lines.next().unwrap_or_else(|| panic!("there is no table {heading:?}"));
    lines.skip(1).map_while(rows).collect()
}

/// `a, b and c` as words; `nothing` is none.
pub fn words(cell: &str) -> Vec<String> {
    cell.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty() && word != "nothing").collect()
}
