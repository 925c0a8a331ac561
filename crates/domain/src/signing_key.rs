//! The life of a DKIM key: published before it signs, kept in DNS after it has signed, then taken back (RFC 6376 3.6.1).
//!
//! Pure. Must not know DNS or how a key is kept.

/// The longest time that a message may wait in the queue, in milliseconds: the most that a retry policy allows.
const LONGEST_QUEUE_MS: i64 = 30 * 86_400_000;
/// Receivers and forwarders may look at a signature so much later, in milliseconds.
const LATE_LOOK_MS: i64 = 7 * 86_400_000;
/// A record must have been seen for so long before its key signs, in milliseconds: all name servers of the zone have it then.
pub const SETTLE_MS: i64 = 3_600_000;
/// A key that has signed for so long should be replaced, in milliseconds.
pub const OLD_MS: i64 = 365 * 86_400_000;

crate::words! {
    /// Where a key stands.
    pub enum KeyState {
        /// It waits until its record has been seen in DNS for an hour; it signs nothing.
        Pending = "pending",
        /// It signs.
        Active = "active",
        /// It signs nothing new. Messages that were tried before are signed with it again; its record must stay.
        Retired = "retired",
        /// Nobody needs its record any more: it should be taken back with an empty `p=`.
        Revocable = "revocable",
        /// DNS says that it was taken back.
        Revoked = "revoked",
    }
}

/// The times of a key, milliseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyTimes {
    /// Since when it signs.
    pub activated_at: Option<i64>,
    /// Since when it signs nothing new.
    pub retired_at: Option<i64>,
    /// When DNS was seen to take it back.
    pub revoked_at: Option<i64>,
}

impl KeyTimes {
    /// Where the key stands at a moment.
    pub const fn state(&self, now: i64) -> KeyState {
        match (self.revoked_at, self.retired_at, self.activated_at) {
            (Some(_), _, _) => KeyState::Revoked,
            (None, Some(retired), _) if now >= keep_until(retired) => KeyState::Revocable,
            (None, Some(_), _) => KeyState::Retired,
            (None, None, Some(_)) => KeyState::Active,
            (None, None, None) => KeyState::Pending,
        }
    }
}

/// Until when the record of a key that was retired at this moment must stay.
pub const fn keep_until(retired_at: i64) -> i64 {
    retired_at.saturating_add(LONGEST_QUEUE_MS).saturating_add(LATE_LOOK_MS)
}

/// Whether a key whose record was first seen at this moment may sign now.
pub const fn may_sign(seen_at: Option<i64>, now: i64) -> bool {
    match seen_at {
        Some(seen) => now.saturating_sub(seen) >= SETTLE_MS,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_through_its_states() {
        const DAY: i64 = 86_400_000;
        let times = |activated_at, retired_at, revoked_at| KeyTimes { activated_at, retired_at, revoked_at };
        for (times, now, want) in [
            (times(None, None, None), 0, KeyState::Pending),
            (times(Some(0), None, None), DAY, KeyState::Active),
            (times(Some(0), Some(DAY), None), DAY, KeyState::Retired),
            (times(Some(0), Some(DAY), None), 38 * DAY - 1, KeyState::Retired),
            (times(Some(0), Some(DAY), None), 38 * DAY, KeyState::Revocable),
            (times(Some(0), Some(DAY), Some(40 * DAY)), 41 * DAY, KeyState::Revoked),
            (times(None, Some(DAY), None), 2 * DAY, KeyState::Retired),
        ] {
            assert_eq!(times.state(now), want, "{times:?} {now}");
        }
        assert!(!may_sign(None, 9 * SETTLE_MS) && !may_sign(Some(0), SETTLE_MS - 1) && may_sign(Some(0), SETTLE_MS));
    }

    #[test]
    fn every_policy_that_is_allowed_ends_before_the_record_may_go() {
        let mut policy = crate::retry::RetryPolicy::default_for(crate::stream::Stream::Marketing);
        policy.lifetime_ms = LONGEST_QUEUE_MS;
        assert!(policy.check().is_ok());
        policy.lifetime_ms = LONGEST_QUEUE_MS + 1;
        assert!(policy.check().is_err(), "the longest lifetime has changed: change LONGEST_QUEUE_MS too");
    }
}
