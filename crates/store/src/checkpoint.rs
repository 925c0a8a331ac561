//! Carries SQLite's write-ahead log over into the database file beside the writer, so that no commit pays for it.
//!
//! A commit that crosses `wal_autocheckpoint` copies the whole log and waits for the disk twice while a mark waits for it.
//! Here a connection of its own does that while the writer goes on; only the short rest, without which the log could
//! never begin anew, is copied while the gate is held. Must not know what is written.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::db::Lane;
use crate::error::Result;
use crate::gate::Gate;

/// How often it is looked whether there is something to carry over.
const PAUSE: Duration = Duration::from_millis(50);
/// Pages in the log, not yet carried over, that make it worth while.
const WORTH: i64 = 1_000;
/// Pages in the log from which it should begin anew.
const LONG: i64 = 4_000;

/// The task that does it.
pub(crate) struct Checkpointer {
    end: Arc<Notify>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What SQLite says of its log, in pages.
#[derive(Debug, Clone, Copy)]
struct Log {
    length: i64,
    carried_over: i64,
}

impl Checkpointer {
    /// Begins; it ends with [`Checkpointer::end`], or when the gate is gone.
    pub(crate) fn begin(connection: SqliteConnection, gate: &Arc<Gate>) -> Arc<Checkpointer> {
        let end = Arc::new(Notify::new());
        let task = tokio::spawn(run(connection, Arc::downgrade(gate), Arc::clone(&end)));
        Arc::new(Checkpointer { end, task: std::sync::Mutex::new(Some(task)) })
    }

    /// Ends, and waits until its connection is closed.
    pub(crate) async fn end(&self) {
        self.end.notify_one();
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn run(mut connection: SqliteConnection, gate: Weak<Gate>, end: Arc<Notify>) {
    let (mut seen, mut complained) = (0, false);
    loop {
        tokio::select! {
            () = end.notified() => break,
            () = tokio::time::sleep(PAUSE) => {}
        }
        let Some(gate) = gate.upgrade() else { break };
        let commits = gate.commits();
        if commits == seen {
            continue;
        }
        match carry_over(&mut connection, &gate).await {
            Ok(()) => complained = false,
            // The writer still does it by itself when its log is very long.
            Err(error) if !complained => {
                tracing::warn!(%error, "sqlite: the log cannot be carried over; it grows until this works again");
                complained = true;
            }
            Err(_) => {}
        }
        seen = commits;
    }
    let _ = connection.close().await;
}

async fn carry_over(connection: &mut SqliteConnection, gate: &Arc<Gate>) -> Result<()> {
    let found = ask(connection, "PRAGMA wal_checkpoint(NOOP)").await?;
    if found.length - found.carried_over < WORTH {
        return Ok(());
    }
    let left = ask(connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
    if left.length >= LONG {
        // While nobody writes, the little that came in meanwhile: the next commit then begins the log anew.
        let held = gate.acquire(Lane::Bulk).await?;
        ask(connection, "PRAGMA wal_checkpoint(PASSIVE)").await?;
        drop(held);
    }
    Ok(())
}

async fn ask(connection: &mut SqliteConnection, pragma: &'static str) -> Result<Log> {
    let (_busy, length, carried_over): (i64, i64, i64) = sqlx::query_as(pragma).fetch_one(connection).await?;
    Ok(Log { length, carried_over })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::db::{Db, Lane};
    use crate::testing::open_sqlite;

    #[tokio::test]
    async fn a_long_log_begins_anew_while_others_write() {
        let store = open_sqlite("checkpoint").await;
        let Db::Sqlite { gate, .. } = &store.inner.db else { panic!("SQLite") };
        let mut held = gate.acquire(Lane::Web).await.unwrap();
        sqlx::query("CREATE TABLE much (bytes BLOB)").execute(held.connection()).await.unwrap();
        drop(held);
        let folder = store.inner.config.data.clone();
        let begun = Instant::now();
        let (mut written, mut longest) = (0_u64, 0);
        // Five times what fits into a log that is long.
        while written < 5 * 4_000 * 4_096 && begun.elapsed() < Duration::from_secs(60) {
            let mut held = gate.acquire(Lane::Bulk).await.unwrap();
            held.begin().await.unwrap();
            sqlx::query("INSERT INTO much VALUES (zeroblob(400000))").execute(held.connection()).await.unwrap();
            held.commit().await.unwrap();
            drop(held);
            written += 400_000;
            longest = longest.max(std::fs::metadata(folder.join("postrider.db-wal")).unwrap().len());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert!(written >= 5 * 4_000 * 4_096, "only {written} bytes in a minute");
        assert!(longest < 3 * 4_000 * 4_096, "the log grew to {longest} bytes");
    }
}
