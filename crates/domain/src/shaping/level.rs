//! How far we go at a site that tells nobody its limits: additive up, multiplicative down.
//!
//! A level at which the site complained is remembered, approached again in small steps up to just below it, and doubted
//! after a quiet time. Pure: times are milliseconds of the monotonic clock.

/// Complaints about what was already on its way when we went down do not count, for so long.
const DEAF_MS: i64 = 3_000;
/// A rate is raised at most so often, by so much of the level that was too high, up to so much of it.
const RATE_UP_MS: i64 = 10_000;
const RATE_STEP: f64 = 0.05;
const NEAR: f64 = 0.93;
/// Down by this when the site took most of what it was given.
const DOWN: f64 = 0.8;
/// One connection more at most so often.
const CREW_UP_MS: i64 = 30_000;
/// A level that was too high is doubted after this quiet time, sooner and further after each doubt that proved right.
const DOUBT_MS: i64 = 900_000;
const DOUBT_LEAST_MS: i64 = 60_000;
const DOUBT_STEP: f64 = 0.05;
const DOUBT_STEP_MOST: f64 = 0.25;
/// So many messages tell a rate.
const ENOUGH: u32 = 10;
/// The slowest that we go by ourselves: one message in ten minutes.
const LEAST_RATE: f64 = 1.0 / 600.0;
/// Connections to begin with; each success adds one, until the first complaint.
const FIRST_CREW: u32 = 2;

/// When the level that was too high is doubted.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    quiet_since: i64,
    after_ms: i64,
    step: f64,
}

impl Doubt {
    const fn fresh(now: i64) -> Doubt {
        Doubt { quiet_since: now, after_ms: DOUBT_MS, step: DOUBT_STEP }
    }

    /// The share by which the level may rise, when it is time to doubt it.
    fn due(&mut self, now: i64) -> Option<f64> {
        if now - self.quiet_since < self.after_ms {
            return None;
        }
        let step = self.step;
        self.quiet_since = now;
        self.after_ms = (self.after_ms / 2).max(DOUBT_LEAST_MS);
        self.step = (self.step * 2.0).min(DOUBT_STEP_MOST);
        Some(step)
    }
}

/// What went on in the last seconds, in messages per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    /// Accepted.
    pub(super) accepted: f64,
    /// Refused because we were too fast.
    pub(super) refused: f64,
    /// How many messages that was.
    pub(super) messages: u32,
}

/// The rate that a site was found to accept.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    /// Messages per second; `None` while nobody complained.
    level: Option<f64>,
    too_high: f64,
    deaf_until: i64,
    up_at: i64,
    doubt: Doubt,
    /// Somebody had to wait for this rate since it was raised last.
    pressed: bool,
}

impl Rate {
    pub(super) const fn new() -> Rate {
        Rate {
            level: None,
            too_high: f64::INFINITY,
            deaf_until: i64::MIN,
            up_at: 0,
            doubt: Doubt::fresh(0),
            pressed: false,
        }
    }

    pub(super) const fn level(&self) -> Option<f64> {
        self.level
    }

    pub(super) fn press(&mut self) {
        self.pressed = true;
    }

    /// The site said that we are too fast; whether that counts.
    pub(super) fn complain(&mut self, now: i64, seen: Seen) -> bool {
        if now < self.deaf_until {
            return false;
        }
        let total = (seen.accepted + seen.refused).max(LEAST_RATE);
        let base = match self.level {
            Some(level) if self.pressed => level,
            Some(level) => level.min(total),
            None => total,
        };
        let (level, too_high) = if seen.refused > 0.2 * total && seen.messages >= ENOUGH {
            // Far too fast: what it took is the best that we know of its limit, but one look may be a bad one.
            let level = (seen.accepted * 0.9).clamp(base * 0.1, base * DOWN);
            (level, (level * 1.25).min(base))
        } else {
            (base * DOWN, base)
        };
        self.level = Some(level.max(LEAST_RATE));
        self.too_high = too_high.max(2.0 * LEAST_RATE);
        self.deaf_until = now + DEAF_MS;
        self.up_at = now + RATE_UP_MS;
        self.doubt = Doubt::fresh(now);
        self.pressed = false;
        true
    }

    /// The site took a message; whether the rate was raised.
    pub(super) fn succeed(&mut self, now: i64) -> bool {
        let Some(level) = self.level else { return false };
        if !self.pressed || now < self.up_at {
            return false;
        }
        let near = self.too_high * NEAR;
        if level >= near {
            if let Some(step) = self.doubt.due(now) {
                self.too_high *= 1.0 + step;
            }
            return false;
        }
        self.level = Some((level + self.too_high * RATE_STEP).min(near));
        self.up_at = now + RATE_UP_MS;
        self.pressed = false;
        true
    }
}

/// The number of connections that a site was found to accept.
#[derive(Debug, Clone)]
pub(super) struct Crew {
    allowed: u32,
    /// Nobody complained yet: each success adds one.
    first: bool,
    too_many: Option<u32>,
    deaf_until: i64,
    up_at: i64,
    doubt: Doubt,
}

impl Crew {
    pub(super) const fn new() -> Crew {
        Crew {
            allowed: FIRST_CREW,
            first: true,
            too_many: None,
            deaf_until: i64::MIN,
            up_at: 0,
            doubt: Doubt::fresh(0),
        }
    }

    pub(super) const fn allowed(&self) -> u32 {
        self.allowed
    }

    /// Whether the site has never complained.
    pub(super) const fn is_untold(&self) -> bool {
        self.first
    }

    /// The site said that `open` connections, the refused one among them, are too many; whether that counts.
    pub(super) fn complain(&mut self, now: i64, open: u32) -> bool {
        if now < self.deaf_until {
            return false;
        }
        let open = open.min(self.allowed).max(1);
        self.too_many = Some(open);
        self.allowed = (open * 4 / 5).min(open - 1).max(1);
        self.first = false;
        self.deaf_until = now + DEAF_MS;
        self.up_at = now + CREW_UP_MS;
        self.doubt = Doubt::fresh(now);
        true
    }

    /// Fewer connections without a word of the site: it did not answer in time.
    pub(super) fn tire(&mut self, now: i64) {
        if now >= self.deaf_until && self.allowed > FIRST_CREW {
            self.allowed = (self.allowed * 4 / 5).max(FIRST_CREW);
            self.first = false;
            self.deaf_until = now + DEAF_MS;
            self.up_at = now + CREW_UP_MS;
        }
    }

    /// The site took a message while `open` connections were open.
    pub(super) fn succeed(&mut self, now: i64, open: u32) {
        if self.first {
            // As long as half of them are in use, so that they double with each round of replies.
            if open.saturating_mul(2) >= self.allowed {
                self.allowed = self.allowed.saturating_add(1);
            }
            return;
        }
        if open < self.allowed || now < self.up_at {
            return;
        }
        if self.too_many.is_none_or(|n| self.allowed + 1 < n) {
            self.allowed += 1;
            self.up_at = now + CREW_UP_MS;
        } else if let Some(step) = self.doubt.due(now) {
            let more = |n: u32| n + ((f64::from(n) * step) as u32).max(1);
            self.too_many = self.too_many.map(more);
        }
    }
}
