//! The bell: tells other parts, and on PostgreSQL other nodes, that a row waits for them.
//!
//! A ring may be lost or doubled; who listens polls as well. It carries no data that anybody must have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postrider_domain::id::WorkspaceId;
use tokio::sync::broadcast;

/// What there is to look at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Topic {
    /// Deliveries may have become ready.
    Work,
    /// A campaign changed its state or start time.
    Campaign,
    /// An import waits or was stopped.
    Import,
    /// A question waits, or has its answer.
    Inquiry,
    /// Something that a watching person may want to see.
    Live {
        /// Whose.
        workspace: WorkspaceId,
        /// What changed, e.g. `campaign:cmp_…`.
        what: String,
    },
}

/// The name of the channel in PostgreSQL.
pub(crate) const CHANNEL: &str = "postrider_bell";

/// Rings and is heard.
#[derive(Clone)]
pub struct Bell {
    sender: broadcast::Sender<Topic>,
    changes: Arc<AtomicU64>,
}

impl Bell {
    pub(crate) fn new() -> Bell {
        Bell { sender: broadcast::channel(1024).0, changes: Arc::default() }
    }

    /// Hears everything from now on. A slow listener loses the oldest rings and is told how many.
    pub fn listen(&self) -> broadcast::Receiver<Topic> {
        self.sender.subscribe()
    }

    /// Grows whenever something changed that people look at; what was read before is old then.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Rings inside this process only; transactions ring by themselves after their commit.
    pub fn ring(&self, topic: Topic) {
        match topic {
            Topic::Campaign | Topic::Live { .. } => _ = self.changes.fetch_add(1, Ordering::AcqRel),
            Topic::Work | Topic::Import | Topic::Inquiry => {}
        }
        // Nobody listening is no fault.
        let _ = self.sender.send(topic);
    }
}

/// What travels between nodes: who rang, so that a node does not hear itself twice, and what.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Note {
    pub(crate) from: i64,
    pub(crate) topics: Vec<Topic>,
}

/// Listens on PostgreSQL for ever and rings here; ends when the store is dropped.
pub(crate) async fn hear_others(pool: sqlx::PgPool, bell: Bell, instance: i64) {
    loop {
        match sqlx::postgres::PgListener::connect_with(&pool).await {
            Ok(mut listener) => {
                listener.ignore_pool_close_event(false);
                if listener.listen(CHANNEL).await.is_ok() {
                    // Something may have been rung while nobody listened.
                    bell.ring(Topic::Work);
                    while let Ok(notification) = listener.recv().await {
                        if let Ok(note) = serde_json::from_str::<Note>(notification.payload())
                            && note.from != instance
                        {
                            note.topics.into_iter().for_each(|topic| bell.ring(topic));
                        }
                    }
                }
            }
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => tracing::warn!(%error, "bell: the database cannot be listened to; polling goes on"),
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if pool.is_closed() {
            return;
        }
    }
}
