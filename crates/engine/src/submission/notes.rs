//! What was refused or ignored, gathered and written now and then: a hostile client costs a number, not a row each time.
//!
//! Must not know why; the database groups by the hour.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use postrider_store::relay_note::NewRelayNote;

/// Different notes between two writes; more are only counted.
const MOST: usize = 1_000;
/// Longest detail and reply, in characters.
const LONGEST: usize = 300;

/// Notes that wait to be written.
#[derive(Default)]
pub(super) struct Notes {
    waiting: Mutex<HashMap<NewRelayNote, i64>>,
}

impl Notes {
    /// Adds a note; texts are cut and freed of control characters.
    pub(super) fn add(&self, mut note: NewRelayNote) {
        note.detail = plain(&note.detail);
        note.reply = plain(&note.reply);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = waiting.get_mut(&note) {
            *n += 1;
        } else if waiting.len() < MOST {
            waiting.insert(note, 1);
        }
    }

    /// What waits, taken out.
    pub(super) fn take(&self) -> Vec<(NewRelayNote, i64)> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

fn plain(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_domain::relay::RefusedFor;

    fn note(detail: &str) -> NewRelayNote {
        NewRelayNote {
            workspace: None,
            credential: None,
            reason: RefusedFor::Login,
            client: "192.0.2.1".into(),
            detail: detail.into(),
            reply: "535 5.7.8".into(),
        }
    }

    #[test]
    fn the_same_thing_is_counted_and_the_number_is_bounded() {
        let notes = Notes::default();
        (0..10).for_each(|_| notes.add(note("a\u{7}b")));
        let taken = notes.take();
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].0.detail.as_str(), taken[0].1), ("a?b", 10));
        (0..5_000).for_each(|n| notes.add(note(&n.to_string())));
        assert_eq!(notes.take().len(), MOST);
    }
}
