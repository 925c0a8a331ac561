//! Retry policies: planned attempts, spacing and lifetime, whichever ends first (RF-6, RFC 5321 4.5.4.1).
//!
//! Waiting for our own limits is not an attempt and never comes here.

use crate::stream::{InDoubtPolicy, Stream};

/// A minute in milliseconds.
pub const MINUTE: i64 = 60_000;
/// An hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;

/// When a delivery is tried again and when it is given up.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Name shown to people.
    pub name: String,
    /// Most attempts, the first included; the `m` of "n of m".
    pub max_attempts: u32,
    /// Gaps between attempts in milliseconds; the last one repeats.
    pub gaps_ms: Vec<i64>,
    /// Random spread of a gap in percent, both ways.
    pub jitter_percent: u8,
    /// Longest time from the first attempt, in milliseconds.
    pub lifetime_ms: i64,
    /// Cap of every SMTP time-out in milliseconds; `None` keeps RFC 5321 4.5.3.2.
    pub timeout_ms: Option<i64>,
    /// What to do with deliveries in doubt after a crash.
    pub in_doubt: InDoubtPolicy,
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Attempts outside 1–200.
    #[error("max_attempts should be 1 to 200")]
    Attempts,
    /// No gaps or a gap under one second or over a week.
    #[error("gaps_ms should name at least one gap, each between 1000 and 604800000 milliseconds")]
    Gaps,
    /// Jitter over half.
    #[error("jitter_percent should be 0 to 50")]
    Jitter,
    /// Lifetime outside one second to 30 days.
    #[error("lifetime_ms should be between 1000 and 2592000000 milliseconds")]
    Lifetime,
    /// A time-out under 100 ms.
    #[error("timeout_ms should be between 100 and 600000 milliseconds")]
    Timeout,
}

impl RetryPolicy {
    /// The default of a stream: growing gaps over 48 hours (marketing) or 5 days (transactional).
    pub fn default_for(stream: Stream) -> RetryPolicy {
        let gaps_ms = vec![5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];
        match stream {
            Stream::Marketing => RetryPolicy {
                name: "marketing".into(),
                max_attempts: 16,
                gaps_ms,
                jitter_percent: 20,
                lifetime_ms: 48 * HOUR,
                timeout_ms: None,
                in_doubt: InDoubtPolicy::Resend,
            },
            Stream::Transactional => RetryPolicy {
                name: "transactional".into(),
                max_attempts: 35,
                gaps_ms,
                jitter_percent: 20,
                lifetime_ms: 120 * HOUR,
                timeout_ms: None,
                in_doubt: InDoubtPolicy::Resend,
            },
        }
    }

    /// A named preset: `marketing`, `transactional`, `janusmail` (3 attempts, 30 minutes apart) or
    /// `rehearsal` (3 attempts, 2 s apart, 2 s time-outs).
    pub fn preset(name: &str) -> Option<RetryPolicy> {
        let three = |name: &str, gap: i64, timeout_ms| RetryPolicy {
            name: name.into(),
            max_attempts: 3,
            gaps_ms: vec![gap],
            jitter_percent: 0,
            lifetime_ms: 24 * HOUR,
            timeout_ms,
            in_doubt: InDoubtPolicy::Resend,
        };
        match name {
            "marketing" => Some(RetryPolicy::default_for(Stream::Marketing)),
            "transactional" => Some(RetryPolicy::default_for(Stream::Transactional)),
            "janusmail" => Some(three("janusmail", 30 * MINUTE, None)),
            "rehearsal" => Some(three("rehearsal", 2_000, Some(2_000))),
            _ => None,
        }
    }

    /// Checks the ranges of a policy that a person wrote.
    ///
    /// # Errors
    /// The first field outside its range.
    pub fn check(&self) -> Result<(), PolicyError> {
        let week = 7 * 24 * HOUR;
        if !(1..=200).contains(&self.max_attempts) {
            return Err(PolicyError::Attempts);
        }
        if self.gaps_ms.is_empty() || self.gaps_ms.iter().any(|g| !(1_000..=week).contains(g)) {
            return Err(PolicyError::Gaps);
        }
        if self.jitter_percent > 50 {
            return Err(PolicyError::Jitter);
        }
        if !(1_000..=30 * 24 * HOUR).contains(&self.lifetime_ms) {
            return Err(PolicyError::Lifetime);
        }
        if self.timeout_ms.is_some_and(|t| !(100..=600_000).contains(&t)) {
            return Err(PolicyError::Timeout);
        }
        Ok(())
    }

    /// When to try again after attempt number `made` (1-based) that ended at `now`; `None` gives up.
    ///
    /// `spread` is a random number in 0.0..1.0 for the jitter.
    pub fn next_try(&self, made: u32, first_try_at: i64, now: i64, spread: f64) -> Option<i64> {
        if made >= self.max_attempts {
            return None;
        }
        let gap = self.gaps_ms.get(made.saturating_sub(1) as usize).or(self.gaps_ms.last()).copied().unwrap_or(HOUR);
        let jitter = gap as f64 * f64::from(self.jitter_percent) / 100.0 * (2.0 * spread - 1.0);
        let at = now + gap + jitter as i64;
        (at - first_try_at <= self.lifetime_ms).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn janusmail_tries_three_times_thirty_minutes_apart() {
        let p = RetryPolicy::preset("janusmail").unwrap();
        assert_eq!(p.next_try(1, 0, 0, 0.5), Some(30 * MINUTE));
        assert_eq!(p.next_try(2, 0, 30 * MINUTE, 0.5), Some(60 * MINUTE));
        assert_eq!(p.next_try(3, 0, 60 * MINUTE, 0.5), None);
    }

    #[test]
    fn defaults_end_with_their_lifetime_before_their_attempts() {
        for (stream, hours) in [(Stream::Marketing, 48), (Stream::Transactional, 120)] {
            for spread in [0.0, 0.5, 0.999] {
                let p = RetryPolicy::default_for(stream);
                p.check().unwrap();
                let (mut now, mut made) = (0, 1);
                while let Some(at) = p.next_try(made, 0, now, spread) {
                    assert!(at > now, "gaps grow forward");
                    now = at;
                    made += 1;
                }
                assert!(now <= hours * HOUR);
                assert!(
                    now > (hours - 6) * HOUR || made == p.max_attempts,
                    "{stream}: gave up at {} h after {made}",
                    now / HOUR
                );
            }
        }
    }

    #[test]
    fn foolish_policies_are_refused() {
        let good = RetryPolicy::preset("rehearsal").unwrap();
        assert_eq!(RetryPolicy { max_attempts: 0, ..good.clone() }.check(), Err(PolicyError::Attempts));
        assert_eq!(RetryPolicy { gaps_ms: vec![], ..good.clone() }.check(), Err(PolicyError::Gaps));
        assert_eq!(RetryPolicy { gaps_ms: vec![-5], ..good.clone() }.check(), Err(PolicyError::Gaps));
        assert_eq!(RetryPolicy { lifetime_ms: 0, ..good }.check(), Err(PolicyError::Lifetime));
    }
}
