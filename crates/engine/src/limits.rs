//! Our own limits of a route: messages per second, and what a day still allows.
//!
//! Pure: the time comes in. Waiting for one of these is not an attempt. Knows no queue and no database.

use postrider_domain::shaping::Pace;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

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

/// The day of a route. What a day's limit held back is let go evenly over the next day, not in a burst at midnight.
#[derive(Debug, Clone)]
pub struct Day {
    /// Messages a day; 0 without limit.
    pub limit: u32,
    /// What is granted of the present day.
    pub grant: Option<DayGrant>,
    /// Set while a day follows on one that was too short.
    spread: Option<Pace>,
}

impl Day {
    /// A day with a limit, of which nothing is granted yet.
    pub const fn new(limit: u32) -> Day {
        Day { limit, grant: None, spread: None }
    }

    /// Takes in what the store granted.
    pub fn granted(&mut self, grant: DayGrant) {
        match self.grant {
            Some(before) if before.day != grant.day => {
                self.spread = before.exhausted.then(|| Pace::new(f64::from(self.limit) / DAY));
            }
            Some(_) | None => {}
        }
        self.grant = Some(grant);
    }

    /// Whether `want` messages may go as far as an even day is concerned; `Err` is the wait in milliseconds.
    ///
    /// # Errors
    /// The milliseconds to wait.
    pub fn take_evenly(&mut self, monotonic: i64, want: usize) -> Result<usize, i64> {
        self.spread.as_mut().map_or(Ok(want), |pace| pace.take(monotonic, want))
    }

    /// Gives back what was taken evenly and not used.
    pub fn give_back_evenly(&mut self, n: usize) {
        if let Some(pace) = &mut self.spread {
            pace.give_back(n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(day: i64, exhausted: bool) -> DayGrant {
        DayGrant { day, ends: day + 86_400_000, left: 10, exhausted }
    }

    #[test]
    fn what_a_day_held_back_goes_evenly_over_the_next() {
        let mut day = Day::new(24);
        day.granted(grant(0, false));
        assert_eq!(day.take_evenly(0, 8), Ok(8), "an ordinary day");
        day.granted(grant(0, true));
        assert_eq!(day.take_evenly(0, 8), Ok(8));
        day.granted(grant(86_400_000, false));
        assert_eq!((day.take_evenly(0, 8), day.take_evenly(0, 8)), (Ok(1), Err(3_600_000)));
        day.granted(grant(86_400_000, false));
        assert_eq!(day.take_evenly(3_600_000, 8), Ok(1), "the next grant of the same day");
        day.granted(grant(2 * 86_400_000, false));
        assert_eq!(day.take_evenly(3_600_000, 8), Ok(8), "nobody was held back yesterday");
    }
}
