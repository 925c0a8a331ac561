//! Two databases behind one enum: how they are opened, checked, read and written.
//!
//! SQLite has one writer connection behind a gate with three lanes, and some readers. PostgreSQL has two pools, so that
//! pages of the web never wait in front of the queue. Must not know any table.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use crate::bell::{Bell, CHANNEL, Note, Topic};
use crate::checkpoint::Checkpointer;
use crate::error::{Result, StoreError};
use crate::gate::{Gate, Held};
use crate::sql::{Conn, Row, Sql, Value};

/// Who wants to write: the lower line waits while the upper one writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Marks, settles, accepted messages.
    Queue,
    /// What a person waits for.
    Web,
    /// Imports, freezing, retention: slices under 20 ms.
    Bulk,
}

/// What is promised about PostgreSQL's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A server that may lose commits is refused (REL-10).
    Required,
    /// For tests: such a server is used as it is.
    NotPromised,
}

/// An open database.
#[derive(Clone)]
pub(crate) enum Db {
    Sqlite { gate: Arc<Gate>, readers: SqlitePool, checkpoints: Arc<Checkpointer> },
    Postgres { queue: PgPool, web: PgPool },
}

impl Db {
    /// Opens the SQLite file of a data folder.
    pub(crate) async fn open_sqlite(file: &Path, quick_check: bool) -> Result<Db> {
        let base = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("fullfsync", "1")
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(512)
            // Statements may carry mailboxes as parameters; they are never logged (SEC-74).
            .disable_statement_logging();
        let writer = base
            .clone()
            .create_if_missing(true)
            // The checkpointer is there first, unless it cannot go on.
            .pragma("wal_autocheckpoint", "16384")
            .pragma("journal_size_limit", "67108864")
            .pragma("cache_size", "-12288");
        let mut connection = writer.connect().await?;
        check_sqlite(&mut connection).await?;
        if quick_check {
            let answer: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
            if answer != "ok" {
                return Err(StoreError::Corrupt(format!("after an unclean stop SQLite says: {answer}")));
            }
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            // A file does not hang up: asking each time whether it is still there is a statement more for every look-up.
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(base.clone().read_only(true).pragma("cache_size", "-2048"));
        let beside = base.clone().pragma("wal_autocheckpoint", "0").pragma("cache_size", "-64").connect().await?;
        let gate = Gate::new(connection);
        Ok(Db::Sqlite { checkpoints: Checkpointer::begin(beside, &gate), gate, readers })
    }

    /// Connects to PostgreSQL and looks at its version and durability.
    pub(crate) async fn open_postgres(url: &str, durability: Durability) -> Result<Db> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| {
                StoreError::Config("the database address is not like postgres://user:password@host/name".into())
            })?
            .application_name("postrider")
            .statement_cache_capacity(512)
            // A node that stops in the middle of a transaction must not hold its locks for ever.
            .options([("idle_in_transaction_session_timeout", "60000"), ("client_min_messages", "warning")])
            // Statements may carry mailboxes as parameters; they are never logged (SEC-74).
            .disable_statement_logging();
        let pool = |most: u32| {
            PgPoolOptions::new()
                .max_connections(most)
                .min_connections(0)
                .acquire_timeout(Duration::from_secs(30))
                .idle_timeout(Duration::from_secs(60))
        };
        let queue = pool(4).connect_with(options.clone()).await?;
        let version: i32 =
            sqlx::query_scalar("SELECT current_setting('server_version_num')::int").fetch_one(&queue).await?;
        if version < 150_000 {
            return Err(StoreError::BadVersion {
                product: "PostgreSQL",
                found: format!("{}.{}", version / 10_000, version % 10_000),
                need: "15 or later",
            });
        }
        if durability == Durability::Required {
            for (name, good) in [("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")] {
                let value: String =
                    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&queue).await?;
                let strong = value == good
                    || (name == "synchronous_commit" && matches!(value.as_str(), "remote_write" | "remote_apply"));
                if !strong {
                    return Err(StoreError::Config(format!(
                        "PostgreSQL runs with {name} = {value} and may lose accepted mail: set {name} = {good}"
                    )));
                }
            }
        }
        Ok(Db::Postgres { queue, web: pool(12).connect_lazy_with(options) })
    }

    /// Runs the migrations.
    pub(crate) async fn migrate(&self) -> Result<()> {
        match self {
            Db::Sqlite { gate, .. } => {
                let mut held = gate.acquire(Lane::Web).await?;
                sqlx::migrate!("../../migrations/sqlite").run(held.connection()).await?;
                // This connection read the planner's figures before the migration had written them.
                sqlx::query("ANALYZE sqlite_schema").execute(held.connection()).await?;
            }
            Db::Postgres { queue, .. } => sqlx::migrate!("../../migrations/postgres").run(queue).await?,
        }
        Ok(())
    }

    /// Begins a write transaction; dropped without commit, it never was.
    pub(crate) async fn begin(&self, lane: Lane, bell: &Bell, instance: i64) -> Result<Tx> {
        let inner = match self {
            Db::Sqlite { gate, .. } => {
                let mut held = gate.acquire(lane).await?;
                held.begin().await?;
                TxInner::Sqlite(held)
            }
            Db::Postgres { queue, web } => TxInner::Postgres(match lane {
                Lane::Queue => queue.begin().await?,
                Lane::Web | Lane::Bulk => web.begin().await?,
            }),
        };
        Ok(Tx { inner, bell: bell.clone(), instance, rings: Vec::new() })
    }

    /// A connection to read from; each statement sees what is committed when it begins.
    pub(crate) async fn read(&self) -> Result<Reader> {
        Ok(Reader(match self {
            Db::Sqlite { readers, .. } => ReaderInner::Sqlite(Box::new(readers.acquire().await?)),
            Db::Postgres { web, .. } => ReaderInner::Postgres(Box::new(web.acquire().await?)),
        }))
    }

    /// A read transaction: all statements see the same moment. Keep it short on PostgreSQL.
    pub(crate) async fn snapshot(&self) -> Result<Reader> {
        Ok(Reader(match self {
            Db::Sqlite { readers, .. } => ReaderInner::SqliteSnapshot(readers.begin_with("BEGIN").await?),
            Db::Postgres { web, .. } => {
                ReaderInner::PostgresSnapshot(web.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        }))
    }

    /// Closes every connection; the last one folds SQLite's log into the database.
    pub(crate) async fn close(&self) -> Result<()> {
        match self {
            Db::Sqlite { gate, readers, checkpoints } => {
                checkpoints.end().await;
                readers.close().await;
                gate.close().await?;
            }
            Db::Postgres { queue, web } => {
                web.close().await;
                queue.close().await;
            }
        }
        Ok(())
    }
}

/// SEC-61: versions that can corrupt a database in WAL mode or lose commits.
async fn check_sqlite(connection: &mut SqliteConnection) -> Result<()> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *connection).await?;
    if is_bad_sqlite(&found) {
        return Err(StoreError::BadVersion { product: "SQLite", found, need: "3.51.3, or 3.53 and later" });
    }
    connection.ping().await?;
    Ok(())
}

fn is_bad_sqlite(version: &str) -> bool {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
    let parts = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match parts {
        (3, 44, 6) | (3, 50, 7) => false,
        (3, 52, 0) => true,
        // Before 3.51.0 some functions that the statements use are missing as well.
        older => older < (3, 51, 3),
    }
}

enum TxInner {
    Sqlite(Held),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A write transaction.
pub(crate) struct Tx {
    inner: TxInner,
    bell: Bell,
    instance: i64,
    rings: Vec<Topic>,
}

impl Tx {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.inner {
            TxInner::Sqlite(held) => Conn::Sqlite(held.connection()),
            TxInner::Postgres(tx) => Conn::Postgres(tx),
        }
    }

    /// Runs a statement; the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: Sql, args: Vec<Value>) -> Result<u64> {
        self.conn().execute(sql, args).await
    }

    /// Every row.
    pub(crate) async fn all(&mut self, sql: Sql, args: Vec<Value>) -> Result<Vec<Row>> {
        self.conn().all(sql, args).await
    }

    /// The first row, if there is one.
    pub(crate) async fn opt(&mut self, sql: Sql, args: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// The row that must be there.
    pub(crate) async fn one(&mut self, sql: Sql, args: Vec<Value>) -> Result<Row> {
        self.opt(sql, args).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// Rings after the commit, on every node.
    pub(crate) fn ring(&mut self, topic: Topic) {
        if !self.rings.contains(&topic) {
            self.rings.push(topic);
        }
    }

    /// Makes it so, durably, and rings.
    pub(crate) async fn commit(self) -> Result<()> {
        match self.inner {
            TxInner::Sqlite(mut held) => held.commit().await?,
            TxInner::Postgres(mut tx) => {
                if !self.rings.is_empty() {
                    // PostgreSQL carries 8,000 bytes; what does not fit is found by polling.
                    let topics = self.rings.iter().take(32).cloned().collect();
                    let payload = serde_json::to_string(&Note { from: self.instance, topics }).unwrap_or_default();
                    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
        }
        self.rings.into_iter().for_each(|topic| self.bell.ring(topic));
        Ok(())
    }
}

enum ReaderInner {
    Sqlite(Box<sqlx::pool::PoolConnection<sqlx::Sqlite>>),
    SqliteSnapshot(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(Box<sqlx::pool::PoolConnection<sqlx::Postgres>>),
    PostgresSnapshot(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A connection that only reads.
pub(crate) struct Reader(ReaderInner);

impl Reader {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            ReaderInner::Sqlite(c) => Conn::Sqlite(c),
            ReaderInner::SqliteSnapshot(c) => Conn::Sqlite(c),
            ReaderInner::Postgres(c) => Conn::Postgres(c),
            ReaderInner::PostgresSnapshot(c) => Conn::Postgres(c),
        }
    }

    /// Every row.
    pub(crate) async fn all(&mut self, sql: Sql, args: Vec<Value>) -> Result<Vec<Row>> {
        self.conn().all(sql, args).await
    }

    /// The first row, if there is one.
    pub(crate) async fn opt(&mut self, sql: Sql, args: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// The row that must be there.
    pub(crate) async fn one(&mut self, sql: Sql, args: Vec<Value>) -> Result<Row> {
        self.opt(sql, args).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_bad_sqlite_versions_is_sec_61() {
        for bad in ["3.7.0", "3.40.1", "3.44.5", "3.50.6", "3.51.0", "3.51.2", "3.52.0"] {
            assert!(is_bad_sqlite(bad), "{bad}");
        }
        for good in ["3.44.6", "3.50.7", "3.51.3", "3.52.1", "3.53.0", "4.0.0"] {
            assert!(!is_bad_sqlite(good), "{good}");
        }
    }
}
