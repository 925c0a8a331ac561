//! The gate in front of SQLite's one writer connection: three lanes, the upper one first, nobody starved.
//!
//! Must not know any statement but BEGIN, COMMIT and ROLLBACK.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::oneshot;

use crate::db::Lane;
use crate::error::{Result, StoreError};

/// After so many times in which an upper lane went first, the longest waiting lower lane gets its turn.
const PATIENCE: u32 = 8;

/// Hands the writer connection to one holder at a time.
pub(crate) struct Gate {
    state: Mutex<State>,
    commits: AtomicU64,
}

struct State {
    /// The connection when nobody holds it.
    free: Option<Writer>,
    waiting: [VecDeque<oneshot::Sender<Held>>; 3],
    /// How often each lane was passed over in a row.
    passed: [u32; 3],
    closed: bool,
}

struct Writer {
    connection: SqliteConnection,
    /// A transaction was begun and neither committed nor rolled back.
    open: bool,
}

/// The writer connection, held; given on when dropped.
pub(crate) struct Held {
    writer: Option<Writer>,
    gate: Arc<Gate>,
}

fn closed() -> StoreError {
    StoreError::Config("the store has been closed".into())
}

impl Gate {
    pub(crate) fn new(connection: SqliteConnection) -> Arc<Gate> {
        Arc::new(Gate {
            state: Mutex::new(State {
                free: Some(Writer { connection, open: false }),
                waiting: Default::default(),
                passed: [0; 3],
                closed: false,
            }),
            commits: AtomicU64::new(0),
        })
    }

    /// Transactions committed so far.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the state is locked; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the connection.
    pub(crate) async fn acquire(self: &Arc<Gate>, lane: Lane) -> Result<Held> {
        let waiter = {
            let mut state = self.state();
            if state.closed {
                return Err(closed());
            }
            if let Some(writer) = state.free.take() {
                return Ok(Held { writer: Some(writer), gate: Arc::clone(self) });
            }
            let (sender, waiter) = oneshot::channel();
            state.waiting[index(lane)].push_back(sender);
            waiter
        };
        waiter.await.map_err(|_| closed())
    }

    /// Gives the connection to the next in line.
    fn release(self: &Arc<Gate>, writer: Writer) {
        let mut held = Held { writer: Some(writer), gate: Arc::clone(self) };
        loop {
            let next = {
                let mut state = self.state();
                match state.next() {
                    Some(next) => next,
                    None => {
                        state.free = held.writer.take();
                        return;
                    }
                }
            };
            match next.send(held) {
                Ok(()) => return,
                // That one no longer waits.
                Err(back) => held = back,
            }
        }
    }

    /// Closes the connection once nobody holds it; who waits is told.
    pub(crate) async fn close(self: &Arc<Gate>) -> Result<()> {
        {
            let mut state = self.state();
            state.closed = true;
            state.waiting = Default::default();
        }
        for _ in 0..2_000 {
            let writer = self.state().free.take();
            if let Some(mut writer) = writer {
                if writer.open {
                    sqlx::query("ROLLBACK").execute(&mut writer.connection).await?;
                }
                writer.connection.close().await?;
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Err(StoreError::conflict("a transaction is still open: the store was not closed in order"))
    }
}

const fn index(lane: Lane) -> usize {
    match lane {
        Lane::Queue => 0,
        Lane::Web => 1,
        Lane::Bulk => 2,
    }
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Held>> {
        for queue in &mut self.waiting {
            queue.retain(|sender| !sender.is_closed());
        }
        let waits = |i: usize| !self.waiting[i].is_empty();
        let starved = (0..3).rev().find(|i| waits(*i) && self.passed[*i] >= PATIENCE);
        let chosen = starved.or_else(|| (0..3).find(|i| waits(*i)))?;
        for i in 0..3 {
            if i == chosen || self.waiting[i].is_empty() {
                self.passed[i] = 0;
            } else {
                self.passed[i] += 1;
            }
        }
        self.waiting[chosen].pop_front()
    }
}

impl Held {
    /// The connection.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.writer.as_mut().expect("held until dropped").connection
    }

    /// Begins a transaction that writes from its first moment, so that it never has to be upgraded.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let writer = self.writer.as_mut().expect("held until dropped");
        if writer.open {
            // Its holder was dropped in the middle. SQLite may have rolled back by itself already.
            let _ = sqlx::query("ROLLBACK").execute(&mut writer.connection).await;
            writer.open = false;
        }
        writer.open = true;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut writer.connection).await?;
        Ok(())
    }

    /// Commits.
    pub(crate) async fn commit(&mut self) -> Result<()> {
        let writer = self.writer.as_mut().expect("held until dropped");
        sqlx::query("COMMIT").execute(&mut writer.connection).await?;
        writer.open = false;
        self.gate.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            let gate = Arc::clone(&self.gate);
            gate.release(writer);
        }
    }
}
