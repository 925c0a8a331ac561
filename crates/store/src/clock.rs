//! Time as a parameter: the wall clock and the monotonic clock behind one trait.
//!
//! Must not know what anybody does with the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds UTC since 1970; may jump when somebody sets the clock.
    fn now_ms(&self) -> i64;
    /// Milliseconds since some moment; never goes back.
    fn monotonic_ms(&self) -> i64;
}

/// The clock of the machine.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until somebody winds it; clones share the hands.
#[derive(Debug, Clone)]
pub struct HandClock {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicI64>,
}

impl HandClock {
    /// A clock that shows `wall` milliseconds UTC.
    pub fn at(wall: i64) -> HandClock {
        HandClock { wall: Arc::new(AtomicI64::new(wall)), monotonic: Arc::new(AtomicI64::new(0)) }
    }

    /// Time passes, in milliseconds.
    pub fn advance(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.monotonic.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn set_wall(&self, ms: i64) {
        self.wall.store(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.wall.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_passes_no_time() {
        let clock = HandClock::at(1_000);
        let same = clock.clone();
        clock.advance(5);
        clock.set_wall(-7);
        assert_eq!((same.now_ms(), same.monotonic_ms()), (-7, 5));
    }
}
