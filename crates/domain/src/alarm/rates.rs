//! Bounces and complaints of a campaign: when there are too many, and when there are so many more that it counts again.
//!
//! The limits are those at which large providers and senders stop (SR-29): 5 % bounces, 0.3 % complaints.

/// Counters of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Messages that a remote host accepted.
    pub accepted: i64,
    /// Messages that a remote host refused for good.
    pub rejected: i64,
    /// Recipients who complained.
    pub complaints: i64,
}

/// What a rate means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Too few messages to say, or a rate as it should be.
    Well,
    /// Under the limit, but not by much: an alarm that is open stays open.
    Close,
    /// Over the limit.
    TooMany {
        /// The rate, 0 to 1.
        rate: f64,
        /// How many limits it is, from 1: each further one is a step that counts again.
        level: i64,
    },
}

/// More than this share of refusals is too many.
const BOUNCES: f64 = 0.05;
/// Fewer messages that were answered for good than this say nothing about bounces: eleven of 200 are no accident at 2 %.
const LEAST_ANSWERED: i64 = 200;
/// More than this share of complaints is too many.
const COMPLAINTS: f64 = 0.003;
/// Fewer accepted messages than this say nothing about complaints.
const LEAST_ACCEPTED: i64 = 1_000;
/// Under this share of the limit it is well again.
const WELL_AGAIN: f64 = 0.8;

impl Rates {
    /// Refusals, of those that were accepted or refused for good.
    pub fn bounces(self) -> Verdict {
        judge(self.rejected, self.accepted.saturating_add(self.rejected), LEAST_ANSWERED, BOUNCES)
    }

    /// Complaints, of those that were accepted.
    pub fn complaints(self) -> Verdict {
        judge(self.complaints, self.accepted, LEAST_ACCEPTED, COMPLAINTS)
    }
}

fn judge(bad: i64, of: i64, least: i64, limit: f64) -> Verdict {
    if of < least || of <= 0 {
        return Verdict::Well;
    }
    let rate = bad as f64 / of as f64;
    if rate > limit {
        // A hair over twice the limit is step 2; the limit itself, to the last digit, is none.
        return Verdict::TooMany { rate, level: (rate / limit + 1e-9).floor().max(1.0) as i64 };
    }
    if rate > limit * WELL_AGAIN { Verdict::Close } else { Verdict::Well }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_least_counts_and_steps() {
        let bounces = |accepted, rejected| Rates { accepted, rejected, complaints: 0 }.bounces();
        assert_eq!(bounces(0, 0), Verdict::Well);
        assert_eq!(bounces(0, 199), Verdict::Well, "too few");
        assert_eq!(bounces(195, 5), Verdict::Well);
        assert_eq!(bounces(191, 9), Verdict::Close);
        assert_eq!(bounces(190, 10), Verdict::Close, "exactly 5 % is not over 5 %");
        assert!(matches!(bounces(189, 11), Verdict::TooMany { level: 1, .. }));
        assert!(matches!(bounces(900, 100), Verdict::TooMany { level: 2, .. }));
        assert!(matches!(bounces(0, 200), Verdict::TooMany { level: 20, rate } if rate == 1.0));
        let complaints = |accepted, complaints| Rates { accepted, rejected: 0, complaints }.complaints();
        assert_eq!(complaints(999, 900), Verdict::Well, "too few accepted");
        assert_eq!(complaints(1_000, 3), Verdict::Close, "exactly 0.3 %");
        assert!(matches!(complaints(1_000, 4), Verdict::TooMany { level: 1, .. }));
        assert!(matches!(complaints(1_000, 6), Verdict::TooMany { level: 2, .. }));
        assert_eq!(complaints(10_000, 10), Verdict::Well);
    }
}
