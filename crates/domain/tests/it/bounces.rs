//! How well bounces are read: on our own samples always, on a public collection where it lies beside the repository.

mod score;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use postrider_domain::bounce::RuleBook;

use score::{Row, Score, rows, score};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The book from the files of the repository, not from the binary: both are the same, a test below says so.
fn book() -> RuleBook {
    let read = |name: &str| std::fs::read_to_string(repository().join("rules").join(name)).unwrap();
    RuleBook::read(&read("bounces.toml"), &read("bounces-providers.toml"), None).unwrap()
}

fn map() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(repository().join("rules/corpus-map.toml")).unwrap();
    let mut all: BTreeMap<String, BTreeMap<String, Vec<String>>> = toml::from_str(&text).unwrap();
    all.remove("reasons").unwrap()
}

/// The collection: `POSTRIDER_CORPUS`, else beside the repository.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("POSTRIDER_CORPUS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| repository().join("../shared/corpus/bounces"));
    folder.join("expected.tsv").exists().then_some(folder)
}

/// Two halves of the collection, by a hash of the file's name: rules were written with one before the eyes only.
fn is_first_half(row: &Row) -> bool {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, row.file.as_bytes());
    hash.as_ref()[0] % 2 == 0
}

fn print(score: &Score) {
    println!("{}", score.line());
    for fault in &score.faults {
        println!("  {fault}");
    }
}

#[test]
fn the_collection_is_read() {
    let Some(folder) = corpus() else {
        println!("skipped: the collection of bounces is not beside the repository; set POSTRIDER_CORPUS to its folder");
        return;
    };
    let (book, map) = (book(), map());
    let (first, second): (Vec<Row>, Vec<Row>) = rows(&folder).into_iter().partition(is_first_half);
    let all: Vec<Row> = rows(&folder);
    for (name, rows) in [("first half", &first), ("second half", &second), ("all", &all)] {
        let score = score(name, &book, &map, &folder, rows);
        if name != "second half" || std::env::var_os("POSTRIDER_SHOW_ALL").is_some() {
            print(&score)
        } else {
            println!("{}", score.line())
        }
    }
}
