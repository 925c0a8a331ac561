//! Closures: whose right to get mail was narrowed in this process a moment ago.
//!
//! An opt-out is listed here before its commit, so that a MAIL FROM whose mark was granted before that commit does not
//! begin after it (LAW-21, SR-17). The list only makes somebody ask again; the database decides. Must not know why.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use postrider_domain::id::ContactId;

use crate::clock::Clock;
use crate::store::Store;

/// A transaction that narrows a right is over after this time, in milliseconds: marks asked for later have seen it.
const TRANSACTION_MS: i64 = 10_000;
/// A mark is used or given back within this time, in milliseconds; older closures matter to none.
const KEPT_MS: i64 = 2 * 3_600_000;
/// Entries from which on old ones are looked for.
const MANY: usize = 4_096;

#[derive(PartialEq, Eq, Hash)]
enum Whom {
    Contact(ContactId),
    Mailbox(String),
    Domain(String),
}

/// See the module.
pub struct Closures {
    clock: Arc<dyn Clock>,
    closed: RwLock<HashMap<Whom, i64>>,
}

impl Closures {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Closures {
        Closures { clock, closed: RwLock::default() }
    }

    fn close(&self, whom: Whom) {
        let now = self.clock.monotonic_ms();
        // Waits for those who are between their look and their MAIL FROM: what they write comes before our commit.
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        if closed.len() >= MANY {
            closed.retain(|_, at| now - *at < KEPT_MS);
        }
        closed.insert(whom, now);
    }

    /// A contact's consent is about to be narrowed, or it is about to be erased. Call it before the commit.
    pub fn close_contact(&self, contact: ContactId) {
        self.close(Whom::Contact(contact));
    }

    pub(crate) fn close_mailbox(&self, mailbox_norm: &str) {
        self.close(Whom::Mailbox(mailbox_norm.to_owned()));
    }

    pub(crate) fn close_domain(&self, domain: &str) {
        self.close(Whom::Domain(domain.to_owned()));
    }

    /// Does something, such as writing MAIL FROM, unless the mark that was asked for at `marked_at` (monotonic
    /// milliseconds) may have been granted without knowing of a closure: then `None`, and another mark later. No closure
    /// begins while it is done, so it must not wait for anything.
    pub fn unless_closed<T>(
        &self,
        contact: Option<ContactId>,
        mailbox_norm: &str,
        marked_at: i64,
        act: impl FnOnce() -> T,
    ) -> Option<T> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if !closed.is_empty() {
            let at = |whom: &Whom| closed.get(whom).copied();
            let domain = mailbox_norm.rsplit_once('@').map(|(_, domain)| Whom::Domain(domain.to_owned()));
            let found = [
                contact.and_then(|contact| at(&Whom::Contact(contact))),
                at(&Whom::Mailbox(mailbox_norm.to_owned())),
                domain.as_ref().and_then(at),
            ];
            if found.into_iter().flatten().any(|closed_at| closed_at + TRANSACTION_MS > marked_at) {
                return None;
            }
        }
        Some(act())
    }
}

impl Store {
    /// Whose right to get mail was narrowed in this process a moment ago.
    pub fn closures(&self) -> &Closures {
        &self.inner.closures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HandClock;

    #[test]
    fn a_closure_stops_marks_from_before_it_and_lets_later_ones_pass() {
        let clock = HandClock::at(0);
        clock.advance(100_000);
        let closures = Closures::new(Arc::new(clock.clone()));
        let marked_at = clock.monotonic_ms();
        let contact = Some(ContactId(7));
        let is_closed =
            |contact, mailbox: &str, marked_at| closures.unless_closed(contact, mailbox, marked_at, || ()).is_none();
        assert!(!is_closed(contact, "a@example.org", marked_at));
        clock.advance(60_000);
        closures.close_contact(ContactId(7));
        assert!(is_closed(contact, "a@example.org", marked_at), "marked before");
        assert!(is_closed(contact, "a@example.org", clock.monotonic_ms()), "the commit may still be on its way");
        assert!(!is_closed(Some(ContactId(8)), "a@example.org", marked_at));
        clock.advance(TRANSACTION_MS);
        assert!(!is_closed(contact, "a@example.org", clock.monotonic_ms()), "the mark has seen the commit");
        closures.close_domain("example.org");
        assert!(is_closed(None, "b@example.org", clock.monotonic_ms()));
        closures.close_mailbox("c@example.net");
        assert!(is_closed(None, "c@example.net", clock.monotonic_ms()));
        assert!(!is_closed(None, "d@example.net", clock.monotonic_ms()));
    }
}
