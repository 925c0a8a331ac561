//! Counters that all parts of the world add to.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    /// Adds one and tells the new value.
    pub(crate) fn enter(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: Counter,
    pub(crate) open: Counter,
    pub(crate) most_open: AtomicU64,
    pub(crate) tls: Counter,
    pub(crate) transactions: Counter,
    pub(crate) accepted: Counter,
    pub(crate) bytes: Counter,
    pub(crate) deferred: Counter,
    pub(crate) rejected: Counter,
    pub(crate) broken: Counter,
    pub(crate) dns_questions: Counter,
}

/// What has happened in the world so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that are open now.
    pub open_connections: u64,
    /// The most that were open at once.
    pub most_open_connections: u64,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: u64,
    /// MAIL commands that came.
    pub transactions: u64,
    /// Messages that were kept: what a sender owes its 250 to, and those whose reply was withheld.
    pub accepted: u64,
    /// Their bytes.
    pub bytes: u64,
    /// 4yz replies to commands of a transaction.
    pub deferred: u64,
    /// 5yz replies to commands of a transaction.
    pub rejected: u64,
    /// Connections that were cut or left without an answer on purpose.
    pub broken: u64,
    /// Questions to the DNS server.
    pub dns_questions: u64,
    /// Different messages (by Message-ID) that were kept.
    pub messages: u64,
    /// (Message-ID, recipient) pairs that were kept more than once.
    pub duplicates: u64,
    /// How many of those came with different bytes.
    pub different_bytes: u64,
}

impl Tally {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.get(),
            open_connections: self.open.get(),
            most_open_connections: self.most_open.load(Ordering::Relaxed),
            tls_handshakes: self.tls.get(),
            transactions: self.transactions.get(),
            accepted: self.accepted.get(),
            bytes: self.bytes.get(),
            deferred: self.deferred.get(),
            rejected: self.rejected.get(),
            broken: self.broken.get(),
            dns_questions: self.dns_questions.get(),
            ..Stats::default()
        }
    }

    /// Forgets everything but what is open now.
    pub(crate) fn clear(&self) {
        for counter in [
            &self.connections,
            &self.tls,
            &self.transactions,
            &self.accepted,
            &self.bytes,
            &self.deferred,
            &self.rejected,
            &self.broken,
            &self.dns_questions,
        ] {
            counter.clear();
        }
        self.most_open.store(self.open.get(), Ordering::Relaxed);
    }
}
