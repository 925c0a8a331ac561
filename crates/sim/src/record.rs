//! The memory of the world: which messages were kept, how often, and whether a repeated one had the same bytes.
//!
//! Compact, so that a million messages fit: a hash of the Message-ID, a hash of the bytes, a count.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::tally::Counter;

const SHARDS: usize = 64;

/// What is known of one message at one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The recipient's mailbox as RCPT named it.
    pub recipient: Box<str>,
    /// SHA-256 of the first copy's bytes; zeros when bodies are not hashed.
    pub sha256: [u8; 32],
    /// How many copies came.
    pub count: u32,
    /// Whether all copies had the same bytes.
    pub identical: bool,
}

/// A (Message-ID, recipient) pair that came more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The recipient's mailbox.
    pub recipient: String,
    /// SHA-256 of the first copy's bytes, hexadecimal.
    pub sha256: String,
    /// How many copies came.
    pub count: u32,
    /// Whether all copies had the same bytes.
    pub identical: bool,
}

/// One recipient is the rule, so that it must not cost an allocation.
#[derive(Debug)]
enum Receipts {
    One(Receipt),
    Many(Vec<Receipt>),
}

impl Receipts {
    fn as_slice(&self) -> &[Receipt] {
        match self {
            Receipts::One(receipt) => std::slice::from_ref(receipt),
            Receipts::Many(receipts) => receipts,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Receipt] {
        match self {
            Receipts::One(receipt) => std::slice::from_mut(receipt),
            Receipts::Many(receipts) => receipts,
        }
    }

    fn push(&mut self, receipt: Receipt) {
        match self {
            Receipts::One(first) => *self = Receipts::Many(vec![first.clone(), receipt]),
            Receipts::Many(receipts) => receipts.push(receipt),
        }
    }
}

type Shard = HashMap<u128, Receipts>;

/// All messages that were kept.
#[derive(Debug)]
pub struct Record {
    shards: Vec<Mutex<Shard>>,
    // Kept beside, so that asking for counts a second does not walk a million messages.
    pairs: Counter,
    copies: Counter,
    repeated: Counter,
    different: Counter,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pairs: Counter::default(),
            copies: Counter::default(),
            repeated: Counter::default(),
            different: Counter::default(),
        }
    }
}

impl Record {
    /// Keeps one copy of a message for one recipient.
    pub(crate) fn keep(&self, message_id: &str, recipient: &str, sha256: [u8; 32]) {
        let key = key(message_id);
        let new = || Receipt { recipient: recipient.into(), sha256, count: 1, identical: true };
        let mut shard = self.shard(key);
        self.copies.add(1);
        let Some(receipts) = shard.get_mut(&key) else {
            self.pairs.add(1);
            shard.insert(key, Receipts::One(new()));
            return;
        };
        let known = receipts.as_mut_slice().iter_mut().find(|known| &*known.recipient == recipient);
        let Some(known) = known else {
            self.pairs.add(1);
            receipts.push(new());
            return;
        };
        known.count += 1;
        if known.count == 2 {
            self.repeated.add(1);
        }
        if known.identical && known.sha256 != sha256 {
            known.identical = false;
            self.different.add(1);
        }
    }

    /// What is known of a message, by its Message-ID with or without angle brackets; empty when it never came.
    pub fn by_message_id(&self, message_id: &str) -> Vec<Receipt> {
        let key = key(bare(message_id));
        self.shard(key).get(&key).map(|receipts| receipts.as_slice().to_vec()).unwrap_or_default()
    }

    /// How many different Message-IDs came.
    pub fn messages(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).len() as u64).sum()
    }

    /// How many (Message-ID, recipient) pairs came, each counted once.
    pub fn pairs(&self) -> u64 {
        self.pairs.get()
    }

    /// How many copies came in all.
    pub fn copies(&self) -> u64 {
        self.copies.get()
    }

    /// How many pairs came more than once, and how many of these with different bytes.
    pub fn duplicate_counts(&self) -> (u64, u64) {
        (self.repeated.get(), self.different.get())
    }

    /// The pairs that came more than once, at most `limit` of them.
    pub fn duplicates(&self, limit: usize) -> Vec<Duplicate> {
        let mut found = Vec::new();
        for shard in &self.shards {
            for receipt in all(&lock(shard)).filter(|receipt| receipt.count > 1) {
                if found.len() >= limit {
                    return found;
                }
                found.push(Duplicate {
                    recipient: receipt.recipient.to_string(),
                    sha256: hex(&receipt.sha256),
                    count: receipt.count,
                    identical: receipt.identical,
                });
            }
        }
        found
    }

    /// Every recipient that has at least one message, with how many copies it has; for tests of moderate size.
    pub fn recipients(&self) -> HashMap<String, u32> {
        let mut found: HashMap<String, u32> = HashMap::new();
        for shard in &self.shards {
            for receipt in all(&lock(shard)) {
                *found.entry(receipt.recipient.to_string()).or_default() += receipt.count;
            }
        }
        found
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::new();
        }
        for counter in [&self.pairs, &self.copies, &self.repeated, &self.different] {
            counter.clear();
        }
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(key % SHARDS as u128) as usize])
    }
}

fn all(shard: &Shard) -> impl Iterator<Item = &Receipt> {
    shard.values().flat_map(|receipts| receipts.as_slice())
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bare(message_id: &str) -> &str {
    let trimmed = message_id.trim();
    trimmed.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(trimmed)
}

fn key(message_id: &str) -> u128 {
    let hash = digest(&SHA256, message_id.as_bytes());
    let half: [u8; 16] = hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes");
    u128::from_be_bytes(half)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The Message-ID in a message's header, without its angle brackets (RFC 5322 3.6.4).
pub(crate) fn message_id(head: &[u8]) -> Option<&str> {
    const FIELD: &[u8] = b"message-id:";
    let mut line_start = 0;
    while line_start < head.len() {
        let line = &head[line_start..];
        if line.starts_with(b"\r\n") {
            return None; // the header ends here
        }
        if line.len() > FIELD.len() && line[..FIELD.len()].eq_ignore_ascii_case(FIELD) {
            // The value may stand on a folded line; it cannot hold a '>' before its end.
            let value = &line[FIELD.len()..];
            let open = value.iter().position(|byte| *byte == b'<')?;
            let close = value[open..].iter().position(|byte| *byte == b'>')?;
            return std::str::from_utf8(&value[open + 1..open + close]).ok();
        }
        line_start += line.windows(2).position(|pair| pair == b"\r\n")? + 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_and_compared() {
        let record = Record::default();
        record.keep("a@x", "r1@mail1.test", [1; 32]);
        record.keep("a@x", "r2@mail1.test", [2; 32]);
        record.keep("b@x", "r1@mail1.test", [3; 32]);
        assert_eq!((record.messages(), record.pairs(), record.copies()), (2, 3, 3));
        assert_eq!(record.duplicate_counts(), (0, 0));
        record.keep("a@x", "r2@mail1.test", [2; 32]);
        record.keep("b@x", "r1@mail1.test", [9; 32]);
        assert_eq!((record.messages(), record.pairs(), record.copies()), (2, 3, 5));
        assert_eq!(record.duplicate_counts(), (2, 1));
        assert_eq!(record.duplicates(10).len(), 2);
        assert_eq!(record.duplicates(1).len(), 1);
        let receipts = record.by_message_id("<b@x>");
        assert_eq!(receipts.len(), 1);
        assert_eq!((receipts[0].count, receipts[0].identical), (2, false));
        assert!(record.by_message_id("c@x").is_empty());
        assert_eq!(record.recipients().get("r1@mail1.test"), Some(&3));
        record.clear();
        assert_eq!(record.copies(), 0);
    }

    #[test]
    fn the_message_id_is_found_in_the_header_only() {
        for (head, found) in [
            ("Message-ID: <a@x>\r\n\r\n", Some("a@x")),
            ("From: me\r\nmessage-id:\r\n <a@x>\r\n\r\n", Some("a@x")),
            ("From: me\r\n\r\nMessage-ID: <a@x>\r\n", None),
            ("X-Message-ID: <a@x>\r\n\r\n", None),
            ("Message-ID: none\r\n\r\n", None),
            ("Message-ID:", None),
            ("", None),
        ] {
            assert_eq!(message_id(head.as_bytes()), found, "{head:?}");
        }
    }
}
