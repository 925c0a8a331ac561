//! What all sessions of a world share: its rules, its memory, and the tries that were counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use postrider_mail::mailbox::Mailbox;
use postrider_mail::stage::Stage;
use tokio::time::Instant;

use crate::behaviour::{self, Behaviour};
use crate::hash::hash;
use crate::journal::Journal;
use crate::keep::Shelf;
use crate::record::Record;
use crate::tally::{Stats, Tally};
use crate::zone::Zone;

/// What is remembered of each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Message-ID, recipient, hash of all bytes.
    Full,
    /// Message-ID and recipient; for measuring senders.
    WithoutHash,
    /// Nothing but the counters; for measuring senders to their limit.
    CountOnly,
}

/// A login that smarthosts take.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The account.
    pub account: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

/// One RCPT or dot that came and what was said to it; written when the world traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// [`Stage::Rcpt`] or [`Stage::Dot`].
    pub stage: Stage,
    /// The reverse-path; empty for the null one.
    pub reverse_path: String,
    /// The recipient.
    pub recipient: String,
    /// The reply, or what was done in its place.
    pub reply: String,
}

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) seed: u64,
    pub(crate) zone: Arc<RwLock<Zone>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) record: Record,
    pub(crate) journal: Option<Journal>,
    pub(crate) shelf: Shelf,
    pub(crate) depth: Depth,
    pub(crate) login: Login,
    pub(crate) slow_reply: Duration,
    pub(crate) trace: Option<Mutex<Vec<Seen>>>,
    pub(crate) tries: Mutex<HashMap<u64, Tries>>,
}

/// The tries of one (reverse-path, forward-path) pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    pub(crate) count: u32,
    pub(crate) first: Instant,
}

impl Shared {
    /// Counts a try of this pair for one kind of behaviour, and tells all that is known of it.
    pub(crate) fn another_try(&self, kind: &str, reverse_path: &str, recipient: &str) -> Tries {
        let key = hash(self.seed, &[kind, reverse_path, recipient]);
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = tries.entry(key).or_insert_with(|| Tries { count: 0, first: Instant::now() });
        entry.count += 1;
        *entry
    }

    pub(crate) fn stats(&self) -> Stats {
        let (duplicates, different_bytes) = self.record.duplicate_counts();
        Stats { messages: self.record.messages(), duplicates, different_bytes, ..self.tally.stats() }
    }

    pub(crate) fn reset(&self) {
        self.record.clear();
        self.tally.clear();
        self.shelf.clear();
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(trace) = &self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    pub(crate) fn seen(&self, recipient: &str) -> Vec<Seen> {
        match &self.trace {
            None => Vec::new(),
            Some(trace) => {
                let trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
                trace.iter().filter(|seen| seen.recipient == recipient).cloned().collect()
            }
        }
    }

    pub(crate) fn behaviour(&self, recipient: &Mailbox) -> Behaviour {
        let asked = behaviour::tag(recipient.local()).unwrap_or_else(|| {
            let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
            zone.domain(recipient.domain().as_str()).behaviour
        });
        asked.drawn(self.seed, &recipient.wire())
    }
}
