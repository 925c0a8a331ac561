//! Even spacing of messages: the generic cell rate algorithm, whose rate may change on the way.
//!
//! Nothing is saved up while nothing is sent, so that there is no burst at the edge of a second, minute, hour or day. Pure:
//! the time comes in, as milliseconds of the monotonic clock.

/// What a late caller of a fast pace may catch up, and of any pace at most, in microseconds.
const FAST_SLACK_US: f64 = 50_000.0;
const MOST_SLACK_US: f64 = 5_000_000.0;

/// A pace of messages.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between two messages, in microseconds; 0 without limit.
    gap_us: f64,
    /// How far behind its schedule the pace may catch up at once, in microseconds.
    slack_us: f64,
    /// When the next message is due, in microseconds; `None` before the first.
    due_us: Option<f64>,
}

impl Pace {
    /// A pace of `per_second` messages; 0, or less, means no limit.
    pub fn new(per_second: f64) -> Pace {
        let mut pace = Pace { gap_us: 0.0, slack_us: 0.0, due_us: None };
        pace.set(per_second);
        pace
    }

    /// Changes the pace. A message that is waited for comes at the new pace, counted from the one before it.
    pub fn set(&mut self, per_second: f64) {
        let gap_us = if per_second > 0.0 { 1e6 / per_second } else { 0.0 };
        if let Some(due) = &mut self.due_us {
            *due += gap_us - self.gap_us;
        }
        self.gap_us = gap_us;
        // Who wakes up late catches up by half a gap, a fast pace by a twentieth of a second; none by more than some seconds.
        self.slack_us = (gap_us / 2.0).max(FAST_SLACK_US - gap_us / 2.0).min(MOST_SLACK_US);
    }

    /// Messages per second; `None` without limit.
    pub fn per_second(&self) -> Option<f64> {
        (self.gap_us > 0.0).then(|| 1e6 / self.gap_us)
    }

    /// The gap between two messages in milliseconds, rounded up; 0 without limit.
    pub fn gap_ms(&self) -> i64 {
        (self.gap_us / 1e3).ceil() as i64
    }

    /// Takes up to `want` messages at `now_ms`.
    ///
    /// # Errors
    /// When none may go yet: the milliseconds to wait, at least 1.
    pub fn take(&mut self, now_ms: i64, want: usize) -> Result<usize, i64> {
        if self.gap_us <= 0.0 {
            return Ok(want);
        }
        let now = now_ms as f64 * 1e3;
        let mut due = self.due_us.map_or(now, |due| due.max(now - self.slack_us));
        let mut taken = 0;
        while taken < want && due <= now {
            due += self.gap_us;
            taken += 1;
        }
        self.due_us = Some(due);
        if taken == 0 { Err((((due - now) / 1e3).ceil() as i64).max(1)) } else { Ok(taken) }
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, n: usize) {
        if let Some(due) = &mut self.due_us {
            *due -= self.gap_us * n as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent_within(per_second: f64, total_ms: i64, step_ms: i64) -> Vec<i64> {
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
    fn rates_are_met_and_no_window_of_ten_seconds_has_more_than_a_fifth_too_much() {
        for rate in [1.0, 7.0, 10.0, 100.0, 333.0, 1000.0] {
            for step in [1, 7, 13, 40] {
                let sent = sent_within(rate, 60_000, step);
                let share = sent.len() as f64 / (rate * 60.0);
                assert!((0.98..=1.02).contains(&share), "{share} of {rate}/s, step {step}");
                let most = sent.iter().enumerate().map(|(i, t)| sent[i..].partition_point(|u| *u < t + 10_000)).max();
                let most = most.unwrap_or(0) as f64;
                assert!(most <= (rate * 12.0).max(rate * 10.0 + 1.0), "{most} in ten seconds at {rate}/s, step {step}");
            }
        }
    }

    #[test]
    fn hours_and_days_are_even_as_well() {
        let hour = sent_within(250.0 / 3600.0, 3_600_000, 100);
        assert!((249..=251).contains(&hour.len()), "{}", hour.len());
        assert!(hour.windows(2).all(|w| w[1] - w[0] > 14_000));
    }

    #[test]
    fn nothing_is_saved_up() {
        let mut pace = Pace::new(10.0);
        assert_eq!(pace.take(0, 100), Ok(1));
        // An hour later: the one that is due, and half a gap that a late caller may catch up.
        assert_eq!(pace.take(3_600_000, 100), Ok(1));
        assert_eq!(pace.take(3_600_000, 100), Err(50));
    }

    #[test]
    fn the_wait_is_exact_and_giving_back_undoes_taking() {
        let mut pace = Pace::new(2.0);
        assert_eq!(pace.take(10_000, 8), Ok(1));
        assert_eq!(pace.take(10_000, 8), Err(500));
        assert_eq!(pace.take(10_499, 8), Err(1));
        assert_eq!(pace.take(10_500, 8), Ok(1));
        pace.give_back(1);
        assert_eq!(pace.take(10_500, 8), Ok(1));
        assert_eq!(Pace::new(0.0).take(0, 8), Ok(8));
    }

    #[test]
    fn a_new_pace_counts_from_the_last_message() {
        let mut pace = Pace::new(1.0 / 60.0);
        assert_eq!(pace.take(0, 1), Ok(1));
        pace.set(1.0);
        assert_eq!(pace.take(999, 1), Err(1));
        assert_eq!(pace.take(1_000, 1), Ok(1));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate(rate in 0.01f64..2000.0, steps in proptest::collection::vec(0i64..3_000, 1..300)) {
            let mut pace = Pace::new(rate);
            let (mut now, mut sent) = (0, 0usize);
            for step in steps {
                now += step;
                sent += pace.take(now, 50).unwrap_or(0);
            }
            let slack = (0.5 / rate).max(0.05 - 0.5 / rate).min(5.0);
            prop_assert!(sent as f64 <= rate * (now as f64 / 1e3 + slack) + 1.001, "{} in {} ms", sent, now);
        }
    }
}
