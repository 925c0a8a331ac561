//! Every statement of this crate is prepared on both databases, and the two schemas are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sqlx::{Connection, Executor, Row, SqlSafeStr};

use crate::dialect::Dialect;
use crate::testing::{open_postgres, open_sqlite};

/// The literals of `sql!("...")` in a source text, with their line continuations taken out.
fn statements(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("sql!(") {
        rest = &rest[at + 5..];
        let trimmed = rest.trim_start();
        let Some(mut text) = trimmed.strip_prefix('"') else { continue };
        let mut out = String::new();
        while let Some(stop) = text.find(['"', '\\']) {
            out.push_str(&text[..stop]);
            if text[stop..].starts_with('"') {
                break;
            }
            let escape = text[stop + 1..].chars().next().unwrap_or('\\');
            text = &text[stop + 2..];
            match escape {
                '\n' => text = text.trim_start(),
                '"' | '\\' | '\'' => out.push(escape),
                'n' => out.push('\n'),
                other => panic!("the escape \\{other} in a statement is not expected"),
            }
        }
        if out.chars().next().is_some_and(char::is_uppercase) {
            found.push(out);
        }
    }
    found
}

fn catalogue() -> Vec<(String, String)> {
    fn walk(folder: &Path, all: &mut Vec<(String, String)>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let source = std::fs::read_to_string(&path).unwrap();
                all.extend(statements(&source).into_iter().map(|s| (name.clone(), s)));
            }
        }
    }
    let mut all = Vec::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut all);
    all
}

#[tokio::test]
async fn every_statement_prepares_on_both_databases() {
    let all = catalogue();
    assert!(all.len() > 60, "only {} statements found: the search is broken", all.len());
    let (lite, post) = (open_sqlite("catalogue").await, open_postgres("catalogue").await);
    let mut sqlite = sqlx::SqliteConnection::connect(lite.data().join("postrider.db").to_str().unwrap()).await.unwrap();
    let mut postgres = sqlx::PgConnection::connect(&post.url()).await.unwrap();
    let mut faults = Vec::new();
    for (file, statement) in &all {
        let text = sqlx::AssertSqlSafe(Dialect::Sqlite.expand(statement)).into_sql_str();
        if let Err(error) = sqlite.prepare(text).await {
            faults.push(format!("{file}, SQLite: {error}\n  {statement}"));
        }
        let text = sqlx::AssertSqlSafe(Dialect::Postgres.expand(statement)).into_sql_str();
        if let Err(error) = postgres.prepare(text).await {
            faults.push(format!("{file}, PostgreSQL: {error}\n  {statement}"));
        }
    }
    assert!(faults.is_empty(), "{} of {} statements:\n{}", faults.len(), all.len(), faults.join("\n"));
}

#[test]
fn the_search_reads_literals_as_the_compiler_does() {
    let source = "sql!(\n \"SELECT 1 \\\n      FROM t WHERE a = 'x' AND b = \\\"c\\\"\") sql!(\"no\") sql!($text)";
    assert_eq!(statements(source), ["SELECT 1 FROM t WHERE a = 'x' AND b = \"c\""]);
}

/// Type words of the two databases on one common word.
fn kind(word: &str) -> &'static str {
    match word.to_ascii_uppercase().as_str() {
        "INTEGER" | "BIGINT" | "BOOLEAN" => "number",
        "BLOB" | "BYTEA" | "JSONB" => "bytes",
        "TEXT" => "text",
        other => panic!("the type {other} is not expected"),
    }
}

type Columns = BTreeMap<String, (String, bool)>;

/// What both databases can tell of themselves in the same words.
#[derive(Debug, PartialEq, Default)]
struct Schema {
    columns: BTreeMap<String, Columns>,
    /// Columns of each primary or unique key without expression.
    unique: BTreeMap<String, BTreeSet<Vec<String>>>,
    /// Name, columns (empty name for an expression), uniqueness and whether it is partial, of each named index.
    indexes: BTreeMap<String, (String, Vec<String>, bool, bool)>,
    foreign: BTreeMap<String, BTreeSet<(String, String, String)>>,
}

async fn sqlite_schema(c: &mut sqlx::SqliteConnection) -> Schema {
    let mut schema = Schema::default();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .fetch_all(&mut *c)
    .await
    .unwrap();
    for table in tables {
        let rows = sqlx::query("SELECT name, type, \"notnull\", pk FROM pragma_table_info($1)")
            .bind(&table)
            .fetch_all(&mut *c)
            .await
            .unwrap();
        let mut primary: Vec<(i64, String)> = Vec::new();
        for row in rows {
            let name: String = row.get("name");
            if row.get::<i64, _>("pk") > 0 {
                primary.push((row.get("pk"), name.clone()));
            }
            let column = (kind(row.get("type")).to_owned(), row.get::<i64, _>("notnull") != 0);
            schema.columns.entry(table.clone()).or_default().insert(name, column);
        }
        primary.sort();
        schema.unique.entry(table.clone()).or_default().insert(primary.into_iter().map(|(_, n)| n).collect());
        let rows = sqlx::query("SELECT name, \"unique\", origin, partial FROM pragma_index_list($1)")
            .bind(&table)
            .fetch_all(&mut *c)
            .await
            .unwrap();
        for row in rows {
            let name: String = row.get("name");
            let columns: Vec<Option<String>> =
                sqlx::query_scalar("SELECT name FROM pragma_index_info($1) ORDER BY seqno")
                    .bind(&name)
                    .fetch_all(&mut *c)
                    .await
                    .unwrap();
            let columns: Vec<String> = columns.into_iter().map(Option::unwrap_or_default).collect();
            match row.get::<String, _>("origin").as_str() {
                "u" => {
                    schema.unique.entry(table.clone()).or_default().insert(columns);
                }
                "c" => {
                    let flags = (row.get::<i64, _>("unique") != 0, row.get::<i64, _>("partial") != 0);
                    schema.indexes.insert(name, (table.clone(), columns, flags.0, flags.1));
                }
                _ => {}
            }
        }
        let rows = sqlx::query(
            "SELECT \"table\" AS other, \"from\" AS here, \"to\" AS there FROM pragma_foreign_key_list($1)",
        )
        .bind(&table)
        .fetch_all(&mut *c)
        .await
        .unwrap();
        for row in rows {
            schema.foreign.entry(table.clone()).or_default().insert((
                row.get("here"),
                row.get("other"),
                row.get("there"),
            ));
        }
    }
    schema
}

async fn postgres_schema(c: &mut sqlx::PgConnection) -> Schema {
    let mut schema = Schema::default();
    let rows = sqlx::query(
        "SELECT table_name::text AS t, column_name::text AS n, data_type::text AS k, is_nullable::text AS null \
         FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'",
    )
    .fetch_all(&mut *c)
    .await
    .unwrap();
    for row in rows {
        let column = (kind(row.get("k")).to_owned(), row.get::<String, _>("null") == "NO");
        schema.columns.entry(row.get("t")).or_default().insert(row.get("n"), column);
    }
    let rows = sqlx::query(
        "SELECT t.relname::text AS t, i.relname::text AS n, x.indisunique AS u, x.indpred IS NOT NULL AS p, \
                EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.oid) AS is_key, \
                ARRAY(SELECT coalesce((SELECT a.attname::text FROM pg_attribute a \
                                       WHERE a.attrelid = t.oid AND a.attnum = x.indkey[s.g] AND a.attnum > 0), '') \
                      FROM generate_series(0, x.indnkeyatts - 1) AS s(g) ORDER BY s.g) AS columns \
         FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid \
         JOIN pg_namespace s ON s.oid = t.relnamespace WHERE s.nspname = 'public' AND t.relname NOT LIKE '\\_sqlx%'",
    )
    .fetch_all(&mut *c)
    .await
    .unwrap();
    for row in rows {
        let table: String = row.get("t");
        if row.get::<bool, _>("is_key") {
            schema.unique.entry(table).or_default().insert(row.get("columns"));
        } else {
            schema.indexes.insert(row.get("n"), (table, row.get("columns"), row.get("u"), row.get("p")));
        }
    }
    let rows = sqlx::query(
        "SELECT t.relname::text AS t, o.relname::text AS other, a.attname::text AS here, b.attname::text AS there \
         FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class o ON o.oid = k.confrelid \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
         JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1] WHERE k.contype = 'f'",
    )
    .fetch_all(&mut *c)
    .await
    .unwrap();
    for row in rows {
        schema.foreign.entry(row.get("t")).or_default().insert((row.get("here"), row.get("other"), row.get("there")));
    }
    schema
}

#[tokio::test]
async fn the_two_schemas_are_the_same() {
    let (lite, post) = (open_sqlite("schema").await, open_postgres("schema").await);
    let mut sqlite = sqlx::SqliteConnection::connect(lite.data().join("postrider.db").to_str().unwrap()).await.unwrap();
    let mut postgres = sqlx::PgConnection::connect(&post.url()).await.unwrap();
    let (a, b) = (sqlite_schema(&mut sqlite).await, postgres_schema(&mut postgres).await);
    assert!(a.columns.len() > 35, "only {} tables", a.columns.len());
    assert_eq!(a.columns.keys().collect::<Vec<_>>(), b.columns.keys().collect::<Vec<_>>());
    for (table, columns) in &a.columns {
        assert_eq!(columns, &b.columns[table], "columns of {table}");
        assert_eq!(a.unique.get(table), b.unique.get(table), "keys of {table}");
        assert_eq!(a.foreign.get(table), b.foreign.get(table), "foreign keys of {table}");
    }
    assert_eq!(a.indexes, b.indexes);
}

/// Tables that grow without bound: reading one from end to end is a decision, listed here with its reason.
const LARGE: &[&str] = &[
    "contact",
    "membership",
    "consent",
    "ledger",
    "suppression",
    "exclusion",
    "delivery",
    "queue",
    "attempt",
    "event",
    "message",
    "body",
    "import_refused",
    "idempotency",
];

/// Pieces of statements that may read a large table whole.
const WHOLE: &[(&str, &str)] = &[
    (
        "count(doubt_epoch) AS doubt, count(held_reason) AS held, min(ready_at) AS oldest FROM queue",
        "doctor looks at all",
    ),
    ("SELECT count(*) AS n FROM contact WHERE workspace_id = $1 AND erased_at IS NULL", "doctor looks at all"),
    ("UPDATE import_refused SET raw = '', detail = ''", "erasure searches free text"),
    ("SELECT c.ledger_seq FROM consent c LEFT JOIN ledger", "doctor looks at all"),
    (
        "FROM queue q JOIN lane l ON l.id = q.lane_id JOIN delivery d ON d.id = q.delivery_id LEFT JOIN campaign c",
        "once after a start",
    ),
    ("AND s.mailbox_norm IS NOT NULL AND s.scope IN", "the count on the button compares every suppression"),
    ("AND mailbox_norm IS NULL AND domain IS NULL AND scope IN", "the count on the button compares every suppression"),
];

#[tokio::test]
async fn no_statement_reads_a_large_table_from_end_to_end() {
    let lite = open_sqlite("scans").await;
    let mut sqlite = sqlx::SqliteConnection::connect(lite.data().join("postrider.db").to_str().unwrap()).await.unwrap();
    let mut faults = Vec::new();
    for (file, statement) in catalogue() {
        if file.ends_with("_tests.rs")
            || file == "testing.rs"
            || WHOLE.iter().any(|(piece, _)| statement.contains(piece))
        {
            continue;
        }
        let text = format!("EXPLAIN QUERY PLAN {}", Dialect::Sqlite.expand(&statement));
        let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut sqlite).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|r| r.get::<String, _>("detail")).collect();
        // An alias stands for its table: the word after its first mention tells which.
        let table = |name: &str| -> String {
            let words: Vec<&str> = statement.split_whitespace().collect();
            let real = words.windows(2).find(|w| w[1].trim_end_matches([',', ')']) == name && LARGE.contains(&w[0]));
            real.map_or(name, |w| w[0]).to_owned()
        };
        let bad = plan.iter().any(|detail| {
            let words: Vec<&str> = detail.split_whitespace().collect();
            let large = |i: usize| words.get(i).is_some_and(|name| LARGE.contains(&table(name).as_str()));
            let made = |name: &&str| plan.contains(&format!("CO-ROUTINE {name}"));
            let scan = words.first() == Some(&"SCAN") && large(1) && !words.get(1).is_some_and(made);
            // Every row of a workspace is as good as every row.
            let workspace = words.first() == Some(&"SEARCH")
                && large(1)
                && detail.ends_with("(workspace_id=?)")
                && !statement.contains("ORDER BY");
            scan || workspace || detail.contains("AUTOMATIC")
        });
        if bad {
            faults.push(format!("{file}: {statement}\n    {}", plan.join("\n    ")));
        }
    }
    assert!(faults.is_empty(), "{} statements:\n{}", faults.len(), faults.join("\n"));
}
