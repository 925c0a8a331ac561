//! Our own limits: messages per second of a route, evenly spaced, and what a day still allows.
//!
//! Pure: the time comes in. Waiting for one of these is not an attempt. Knows no queue and no database.

/// Even spacing of messages (the generic cell rate algorithm). A rate of 0 means no limit.
#[derive(Debug, Clone)]
pub struct Pace {
    gap_us: i64,
    /// How far behind its schedule the pace may catch up at once, in microseconds.
    slack_us: i64,
    /// When the next message is due, in microseconds of the monotonic clock.
    due_us: i64,
}

impl Pace {
    /// A pace of `per_second` messages.
    pub fn new(per_second: u32) -> Pace {
        let gap_us = if per_second == 0 { 0 } else { 1_000_000 / i64::from(per_second) };
        // Tasks wake up to some milliseconds late; without slack a fast pace would never be reached.
        let slack_us = if gap_us >= 20_500 { (gap_us / 10).min(20_000) } else { 20_000 };
        Pace { gap_us, slack_us, due_us: i64::MIN }
    }

    /// The gap between two messages in milliseconds, rounded up; 0 without limit.
    pub fn gap_ms(&self) -> i64 {
        (self.gap_us + 999) / 1000
    }

    /// Takes up to `want` messages at `now_ms`.
    ///
    /// # Errors
    /// When none may go yet: the milliseconds to wait, at least 1.
    pub fn take(&mut self, now_ms: i64, want: usize) -> Result<usize, i64> {
        if self.gap_us == 0 {
            return Ok(want);
        }
        let now = now_ms.saturating_mul(1000);
        self.due_us = if self.due_us == i64::MIN { now } else { self.due_us.max(now - self.slack_us) };
        let mut taken = 0;
        while taken < want && self.due_us <= now {
            self.due_us += self.gap_us;
            taken += 1;
        }
        if taken == 0 { Err(((self.due_us - now) + 999).max(1000) / 1000) } else { Ok(taken) }
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, n: usize) {
        self.due_us = self.due_us.saturating_sub(self.gap_us.saturating_mul(i64::try_from(n).unwrap_or(0)));
    }
}

/// What this node may still send on a route today, from grants that were reserved in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayGrant {
    /// Begin of the local day, milliseconds UTC.
    pub day: i64,
    /// End of it.
    pub ends: i64,
    /// Reserved and not used.
    pub left: u32,
    /// The store said that the day's limit is reached.
    pub exhausted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_within(per_second: u32, total_ms: i64, step_ms: i64) -> Vec<i64> {
        let mut pace = Pace::new(per_second);
        let (mut now, mut sent) = (1_000_000, Vec::new());
        while now < 1_000_000 + total_ms {
            while let Ok(n) = pace.take(now, 3) {
                sent.extend(std::iter::repeat_n(now, n));
            }
            now += step_ms;
        }
        sent
    }

    #[test]
    fn no_second_sees_more_than_the_rate_and_its_slack() {
        for rate in [1, 5, 20, 49, 200, 1000] {
            for step in [1, 7, 13] {
                let sent = sent_within(rate, 5_000, step);
                let most =
                    sent.iter().map(|t| sent.iter().filter(|u| (*t..t + 1000).contains(*u)).count()).max().unwrap();
                let allowed = rate as usize + 1 + if rate > 50 { rate as usize / 50 } else { 0 };
                assert!(most <= allowed, "{most} in one second at {rate}, step {step}");
                assert!(sent.len() + 5 >= rate as usize * 45 / 10, "{} in 5 s at {rate}, step {step}", sent.len());
            }
        }
    }

    #[test]
    fn the_wait_is_exact_and_giving_back_undoes_taking() {
        let mut pace = Pace::new(2);
        assert_eq!(pace.take(10_000, 8), Ok(1));
        assert_eq!(pace.take(10_000, 8), Err(500));
        assert_eq!(pace.take(10_499, 8), Err(1));
        assert_eq!(pace.take(10_500, 8), Ok(1));
        pace.give_back(1);
        assert_eq!(pace.take(10_500, 8), Ok(1));
        assert_eq!(Pace::new(0).take(0, 8), Ok(8));
    }
}
