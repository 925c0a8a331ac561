//! Our own limits of a route, a source or a host of a smarthost: a second, an hour and a day.
//!
//! Must not know lanes or places.

use postrider_domain::id::RouteId;
use postrider_domain::shaping::{Hold, HoldReason, Pace};

use crate::limits::Day;
use crate::plan::Source;

/// What has limits of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LimitOf {
    Route(RouteId),
    Source(Source),
}

/// Limits as somebody set them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) per_second: u32,
    pub(super) per_hour: u32,
    pub(super) per_day: u32,
}

impl Rates {
    /// The part of one of several nodes that share an account; the day is shared through grants.
    pub(super) fn part(self, nodes: usize) -> Rates {
        let nodes = u32::try_from(nodes).unwrap_or(1).max(1);
        let part = |n: u32| if n == 0 { 0 } else { (n / nodes).max(1) };
        Rates { per_second: part(self.per_second), per_hour: part(self.per_hour), ..self }
    }
}

/// The limits of a route, a source or a host.
pub(super) struct RouteLimits {
    pub(super) rates: Rates,
    pub(super) pace: Pace,
    pub(super) hour: Pace,
    pub(super) day: Day,
    pub(super) asking: bool,
}

impl RouteLimits {
    pub(super) fn new(rates: Rates) -> RouteLimits {
        RouteLimits {
            rates,
            pace: Pace::new(f64::from(rates.per_second)),
            hour: Pace::new(f64::from(rates.per_hour) / 3_600.0),
            day: Day::new(rates.per_day),
            asking: false,
        }
    }

    pub(super) fn set(&mut self, rates: Rates) {
        if self.rates.per_second != rates.per_second {
            self.pace.set(f64::from(rates.per_second));
        }
        if self.rates.per_hour != rates.per_hour {
            self.hour.set(f64::from(rates.per_hour) / 3_600.0);
        }
        if self.rates.per_day != rates.per_day {
            self.day = Day::new(rates.per_day);
        }
        self.rates = rates;
    }

    /// The gap between two messages in milliseconds, 0 without limit.
    pub(super) fn gap_ms(&self) -> i64 {
        self.pace.gap_ms().max(self.hour.gap_ms())
    }

    /// Takes up to `want` messages; what is held back, by `whom`, and for how many milliseconds when none may go.
    pub(super) fn take(&mut self, now: i64, want: usize, urgent: bool, whom: &str) -> Result<usize, (i64, Hold)> {
        let hold = |reason, detail| Hold { detail, ..Hold::of(reason) };
        let second = self
            .pace
            .take(now, want)
            .map_err(|wait| (wait, hold(HoldReason::Rate, format!("{} a second by {whom}", self.rates.per_second))))?;
        let hour = match self.hour.take(now, second) {
            Ok(n) => n,
            Err(wait) => {
                self.pace.give_back(second);
                return Err((wait, hold(HoldReason::Hour, format!("{} an hour by {whom}", self.rates.per_hour))));
            }
        };
        self.pace.give_back(second - hour);
        if urgent {
            return Ok(hour);
        }
        // What a day held back goes evenly over the next; transactional mail does not wait for that.
        match self.day.take_evenly(now, hour) {
            Ok(n) => {
                self.pace.give_back(hour - n);
                self.hour.give_back(hour - n);
                Ok(n)
            }
            Err(wait) => {
                self.pace.give_back(hour);
                self.hour.give_back(hour);
                let detail = format!("{} a day by {whom}, evenly after a day that was too short", self.day.limit);
                Err((wait, hold(HoldReason::Day, detail)))
            }
        }
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&mut self, n: usize, urgent: bool) {
        self.pace.give_back(n);
        self.hour.give_back(n);
        if !urgent {
            self.day.give_back_evenly(n);
        }
    }
}
