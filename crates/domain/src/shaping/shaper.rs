//! The limits and the adaptation of one source × site: how many connections, how fast, and when not at all.
//!
//! A state machine without clock: times are milliseconds of the monotonic clock and come in with each event.

use std::collections::VecDeque;

use super::hold::{Hold, HoldReason};
use super::level::{Crew, Rate, Seen};
use super::pace::Pace;
use super::profile::{Action, Limits, Rule};

/// A number of messages per connection that was learned is believed so long.
const EXHAUSTED_MS: i64 = 3_600_000;
/// Complaints in a row, without a success between them, after which the site is left alone.
const PATIENCE: u32 = 4;
/// The longest pause after complaints in a row.
const LONGEST_PAUSE_MS: i64 = 1_800_000;
/// After a recovery stop each further connection comes after so long at the soonest.
const RECOVERY_STEP_MS: i64 = 60_000;
/// A stop that comes again while it recovers is longer, up to so many times.
const RECOVERY_MOST: i64 = 8;
/// A limit that nobody had to wait for this long does not hold any more.
const FORGET_HOLD_MS: i64 = 10_000;

/// What an attempt told about the site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard<'a> {
    /// It took the message.
    Accepted,
    /// Too many connections.
    TooMany,
    /// Too many messages in too short a time.
    TooFast,
    /// A reply that a rule reads; the reply is shown to people.
    Rule(&'a Rule, &'a str),
    /// It answered, and nothing in it was about us.
    Answered,
    /// It did not answer, or closed in the middle.
    Trouble(Trouble),
}

/// A fault without words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No answer in time within a dialogue.
    TimedOut,
    /// Closed without a word before the first transaction was over.
    Closed,
}

/// A speed that somebody set for a site: it takes the place of what was found and of the profile's.
#[derive(Debug, Clone, PartialEq)]
pub struct SetSpeed {
    /// Messages per second.
    pub per_second: Option<f64>,
    /// Connections at the same time.
    pub connections: Option<u32>,
    /// Who, and why.
    pub detail: String,
}

/// A stop by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// When it began.
    pub since: i64,
    /// When it ends.
    pub until: i64,
    /// The name of the rule; empty for a pause after complaints in a row.
    pub rule: String,
    /// The reply that the rule read.
    pub reply: String,
    /// Whether connections come back one by one after it.
    pub recovers: bool,
}

/// One connection at a time, after a stop or because of a rule.
#[derive(Debug, Clone)]
struct Few {
    since: i64,
    /// `None`: as long as it takes to recover.
    until: Option<i64>,
    connections: u32,
    successes: u32,
    step_at: i64,
    /// How often the stop before it came again.
    again: i64,
    why: String,
}

/// The accepted and refused messages of the last ten seconds.
#[derive(Debug, Clone)]
struct Window {
    buckets: [(i64, u32, u32); 10],
    began: Option<i64>,
}

impl Window {
    const fn new() -> Window {
        Window { buckets: [(i64::MIN, 0, 0); 10], began: None }
    }

    fn note(&mut self, now: i64, accepted: bool) {
        self.began.get_or_insert(now);
        let second = now.div_euclid(1_000);
        let bucket = &mut self.buckets[second.rem_euclid(10) as usize];
        if bucket.0 != second {
            *bucket = (second, 0, 0);
        }
        if accepted { bucket.1 += 1 } else { bucket.2 += 1 }
    }

    fn seen(&self, now: i64) -> Seen {
        let second = now.div_euclid(1_000);
        let fresh = self.buckets.iter().filter(|b| b.0 > second - 10 && b.0 <= second);
        let (accepted, refused) = fresh.fold((0, 0), |sum, b| (sum.0 + b.1, sum.1 + b.2));
        // The youngest bucket is not full: nine whole ones and the part of it that is over.
        let whole = 9_000 + now.rem_euclid(1_000) + 1;
        let span = (now - self.began.unwrap_or(now)).clamp(1_000, whole) as f64 / 1e3;
        Seen { accepted: f64::from(accepted) / span, refused: f64::from(refused) / span, messages: accepted + refused }
    }
}

/// The state of one source × site.
#[derive(Debug, Clone)]
pub struct Shaper {
    limits: Limits,
    pace: Pace,
    /// Why the pace is what it is.
    pace_reason: HoldReason,
    rate: Rate,
    crew: Crew,
    window: Window,
    stop: Option<Stopped>,
    few: Option<Few>,
    /// Messages per second at most by a rule: since, until, its name.
    most: Option<(f64, i64, i64, String)>,
    /// Transactions after which connections were closed without a word, and until when we believe it.
    exhausted: Option<(u32, i64)>,
    closed_after: Option<u32>,
    refused_in_a_row: u32,
    pauses: u32,
    triggers: Vec<(String, VecDeque<i64>)>,
    /// A speed that somebody set.
    set: Option<SetSpeed>,
    /// What held messages back last: why, since when, seen when.
    held: Option<(HoldReason, i64, i64)>,
}

impl Shaper {
    /// The state of a site of which nothing has been heard yet.
    pub fn new(limits: Limits) -> Shaper {
        let mut shaper = Shaper {
            limits,
            pace: Pace::new(0.0),
            pace_reason: HoldReason::Rate,
            rate: Rate::new(),
            crew: Crew::new(),
            window: Window::new(),
            stop: None,
            few: None,
            most: None,
            exhausted: None,
            closed_after: None,
            refused_in_a_row: 0,
            pauses: 0,
            triggers: Vec::new(),
            set: None,
            held: None,
        };
        shaper.set_pace();
        shaper
    }

    /// Changes the limits; what was learned stays.
    pub fn set_limits(&mut self, limits: Limits) {
        if self.limits != limits {
            self.limits = limits;
            self.set_pace();
        }
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets a speed, or takes it back: what was found counts again then.
    pub fn steer(&mut self, speed: Option<SetSpeed>) {
        if self.set != speed {
            self.set = speed;
            self.set_pace();
        }
    }

    /// The slowest of all paces counts: spread evenly, it keeps the others. One that somebody set takes their place.
    fn set_pace(&mut self) {
        if let Some(per_second) = self.set.as_ref().and_then(|set| set.per_second) {
            self.pace.set(per_second);
            self.pace_reason = HoldReason::Speed;
            return;
        }
        let of = |n: Option<u32>, seconds: f64| n.map(|n| f64::from(n) / seconds);
        let paces = [
            (self.limits.per_second, HoldReason::Rate),
            (of(self.limits.per_hour, 3_600.0), HoldReason::Hour),
            (of(self.limits.per_day, 86_400.0), HoldReason::Day),
            (self.most.as_ref().map(|m| m.0), HoldReason::LearnedRate),
            (self.rate.level(), HoldReason::LearnedRate),
        ];
        let slowest = paces.into_iter().filter_map(|(rate, why)| Some((rate?, why))).min_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, why) = slowest.unwrap_or((0.0, HoldReason::Rate));
        self.pace.set(rate);
        self.pace_reason = why;
    }

    /// Ends what is over by now.
    fn expire(&mut self, now: i64) {
        if self.stop.as_ref().is_some_and(|stop| now >= stop.until) {
            let over = self.stop.take();
            if over.is_some_and(|stop| stop.recovers) {
                let again = self.few.as_ref().map_or(0, |few| few.again);
                let why = self.few.take().map(|few| few.why).unwrap_or_default();
                self.few = Some(Few {
                    since: now,
                    until: None,
                    connections: 1,
                    successes: 0,
                    step_at: now + RECOVERY_STEP_MS,
                    again,
                    why,
                });
            }
        }
        if self.few.as_ref().and_then(|few| few.until).is_some_and(|until| now >= until) {
            self.few = None;
        }
        if self.most.as_ref().is_some_and(|(_, _, until, _)| now >= *until) {
            self.most = None;
            self.set_pace();
        }
    }

    /// Connections that the site may have now; 0 while it is stopped.
    pub fn connections(&mut self, now: i64) -> u32 {
        self.expire(now);
        if self.stop.is_some() {
            return 0;
        }
        let most = self.limits.connections.unwrap_or(u32::MAX);
        let few = self.few.as_ref().map_or(u32::MAX, |few| few.connections);
        let found = self.crew.allowed().min(most);
        self.set.as_ref().and_then(|set| set.connections).unwrap_or(found).min(few).max(1)
    }

    /// Messages that one connection may carry.
    pub fn per_connection(&self, now: i64) -> u32 {
        let learned = self.exhausted.filter(|(_, until)| now < *until).map_or(u32::MAX, |(n, _)| n);
        self.limits.per_connection.unwrap_or(u32::MAX).min(learned).max(1)
    }

    /// The messages per second that go now; `None` without limit.
    pub fn rate(&self) -> Option<f64> {
        self.pace.per_second()
    }

    /// Messages per second accepted in the last seconds.
    pub fn accepted_rate(&self, now: i64) -> f64 {
        self.window.seen(now).accepted
    }

    /// The gap between two messages in milliseconds; 0 without limit.
    pub fn gap_ms(&self) -> i64 {
        self.pace.gap_ms()
    }

    /// Takes up to `want` messages.
    ///
    /// # Errors
    /// What holds them back; `until` is when to ask again.
    pub fn take(&mut self, now: i64, want: usize) -> Result<usize, Hold> {
        self.expire(now);
        if let Some(hold) = self.stop_hold() {
            return Err(hold);
        }
        match self.pace.take(now, want) {
            Ok(taken) => Ok(taken),
            Err(wait) => {
                if self.pace_reason == HoldReason::LearnedRate {
                    self.rate.press();
                }
                let since = match self.held {
                    Some((why, since, seen))
                        if why == self.pace_reason && now - seen < FORGET_HOLD_MS + self.pace.gap_ms() =>
                    {
                        since
                    }
                    Some(_) | None => now,
                };
                self.held = Some((self.pace_reason, since, now));
                Err(self.pace_hold(since, now + wait))
            }
        }
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, n: usize) {
        self.pace.give_back(n);
    }

    fn stop_hold(&self) -> Option<Hold> {
        let stop = self.stop.as_ref()?;
        let (reason, detail) = match stop.rule.as_str() {
            "" => (HoldReason::BackOff, stop.reply.clone()),
            rule if stop.reply.is_empty() => (HoldReason::Stop, rule.to_owned()),
            rule => (HoldReason::Stop, format!("{rule}: {}", stop.reply)),
        };
        Some(Hold { reason, since: Some(stop.since), until: Some(stop.until), detail })
    }

    fn pace_hold(&self, since: i64, until: i64) -> Hold {
        let detail = match self.pace_reason {
            HoldReason::Hour => self.limits.per_hour.map(|n| format!("{n} an hour, evenly spread")),
            HoldReason::Day => self.limits.per_day.map(|n| format!("{n} a day, evenly spread")),
            HoldReason::Speed => self.set.as_ref().map(|set| set.detail.clone()),
            _ => self.rate().map(|rate| match &self.most {
                Some((most, _, _, rule)) if *most <= rate => format!("{} by the rule {rule}", spoken(rate)),
                Some(_) | None => spoken(rate),
            }),
        };
        Hold { reason: self.pace_reason, since: Some(since), until: Some(until), detail: detail.unwrap_or_default() }
    }

    /// What holds messages back at `now`, apart from connections that are busy; `None` when nothing does.
    pub fn hold(&mut self, now: i64) -> Option<Hold> {
        self.expire(now);
        if let Some(hold) = self.stop_hold() {
            return Some(hold);
        }
        if let Some((why, since, seen)) = self.held
            && why == self.pace_reason
            && self.rate().is_some()
            && now - seen < FORGET_HOLD_MS + self.pace.gap_ms()
        {
            return Some(self.pace_hold(since, seen.max(now) + self.pace.gap_ms()));
        }
        self.few.as_ref().map(|few| Hold {
            reason: HoldReason::Recovery,
            since: Some(few.since),
            until: few.until,
            detail: format!(
                "{} at a time now{}{}",
                few.connections,
                if few.why.is_empty() { "" } else { "; " },
                few.why
            ),
        })
    }

    /// Whether nothing may be begun at all now.
    pub fn is_stopped(&mut self, now: i64) -> bool {
        self.expire(now);
        self.stop.is_some()
    }

    /// Notes what an attempt told while `open` connections were open. A stop that begins with it is returned, so that
    /// others who send from the same source may keep it, and a restart.
    pub fn hear(&mut self, now: i64, open: u32, heard: Heard<'_>) -> Option<Stopped> {
        self.expire(now);
        match heard {
            Heard::Accepted => {
                self.succeed(now, open);
                None
            }
            Heard::Answered => {
                self.refused_in_a_row = 0;
                None
            }
            Heard::TooMany => self.too_many(now, open, "too many connections"),
            Heard::TooFast => self.too_fast(now, "too many messages"),
            Heard::Trouble(_) => {
                self.crew.tire(now);
                None
            }
            Heard::Rule(rule, reply) => self.obey(now, open, rule, reply),
        }
    }

    fn succeed(&mut self, now: i64, open: u32) {
        self.window.note(now, true);
        self.refused_in_a_row = 0;
        self.pauses = 0;
        self.crew.succeed(now, open);
        if self.rate.succeed(now) {
            self.set_pace();
        }
        let normal = self.crew.allowed().min(self.limits.connections.unwrap_or(u32::MAX));
        if let Some(few) = &mut self.few
            && few.until.is_none()
        {
            few.successes += 1;
            // One more after a while, and after as many successes as there are connections.
            if few.successes >= few.connections && now >= few.step_at {
                few.connections += 1;
                few.successes = 0;
                few.step_at = now + RECOVERY_STEP_MS;
                if few.connections >= normal {
                    self.few = None;
                }
            }
        }
    }

    fn too_many(&mut self, now: i64, open: u32, why: &str) -> Option<Stopped> {
        if self.crew.complain(now, open) { self.lose_patience(now, why) } else { None }
    }

    fn too_fast(&mut self, now: i64, why: &str) -> Option<Stopped> {
        self.window.note(now, false);
        let counts = self.rate.complain(now, self.window.seen(now));
        if counts {
            // What was measured before belongs to another pace.
            self.window = Window::new();
            self.set_pace();
            return self.lose_patience(now, why);
        }
        None
    }

    /// A complaint that counts: several in a row make a pause, each further one a longer one.
    fn lose_patience(&mut self, now: i64, why: &str) -> Option<Stopped> {
        self.refused_in_a_row += 1;
        if self.refused_in_a_row < PATIENCE || self.stop.is_some() {
            return None;
        }
        let ms = self.limits.back_off_ms.saturating_mul(1 << self.pauses.min(16)).min(LONGEST_PAUSE_MS);
        self.pauses += 1;
        self.refused_in_a_row = PATIENCE - 1;
        self.stop =
            Some(Stopped { since: now, until: now + ms, rule: String::new(), reply: why.to_owned(), recovers: false });
        None
    }

    fn obey(&mut self, now: i64, open: u32, rule: &Rule, reply: &str) -> Option<Stopped> {
        if !self.triggered(now, rule) {
            // Not often enough yet for the rule: still a sign to go slower, unless the rule says that it is none.
            return match rule.action {
                Action::Ignore => None,
                Action::FewerConnections => self.too_many(now, open, &rule.name),
                Action::SlowDown { .. }
                | Action::Stop { .. }
                | Action::OneConnection { .. }
                | Action::Recover { .. } => self.too_fast(now, &rule.name),
            };
        }
        match rule.action {
            Action::Ignore => None,
            Action::FewerConnections => self.too_many(now, open, &rule.name),
            Action::SlowDown { most } => {
                if let Some((rate, ms)) = most {
                    self.most = Some((rate, now, now + ms, rule.name.clone()));
                }
                let stopped = self.too_fast(now, &rule.name);
                self.set_pace();
                stopped
            }
            Action::OneConnection { ms } => {
                let few = Few {
                    since: now,
                    until: Some(now + ms),
                    connections: 1,
                    successes: 0,
                    step_at: 0,
                    again: 0,
                    why: rule.name.clone(),
                };
                // A recovery has one connection already, and goes on.
                if self.few.as_ref().is_none_or(|few| few.until.is_some()) {
                    self.few = Some(few);
                }
                None
            }
            Action::Stop { ms } => self.begin_stop(now, ms, rule, reply, false),
            Action::Recover { ms } => self.begin_stop(now, ms, rule, reply, true),
        }
    }

    /// Replies to what was on its way when the stop began change nothing.
    fn begin_stop(&mut self, now: i64, ms: i64, rule: &Rule, reply: &str, recovers: bool) -> Option<Stopped> {
        if self.stop.as_ref().is_some_and(|stop| !stop.rule.is_empty()) {
            return None;
        }
        let mut ms = ms;
        if recovers {
            // It came again before the last one had recovered.
            let again = self.few.as_ref().filter(|few| few.until.is_none()).map_or(0, |few| few.again + 1);
            ms = ms.saturating_mul((1 << again.min(8)).min(RECOVERY_MOST));
            self.few = Some(Few {
                since: now,
                until: None,
                connections: 1,
                successes: 0,
                step_at: 0,
                again,
                why: rule.name.clone(),
            });
        }
        let stopped =
            Stopped { since: now, until: now + ms, rule: rule.name.clone(), reply: reply.to_owned(), recovers };
        self.stop = Some(stopped.clone());
        Some(stopped)
    }

    /// Whether nothing worth keeping has been learned.
    pub fn is_plain(&mut self, now: i64) -> bool {
        self.expire(now);
        let told = self.stop.is_some() || self.few.is_some() || self.most.is_some() || self.exhausted.is_some();
        !told && self.rate.level().is_none() && self.crew.is_untold()
    }

    /// Takes over a stop: of an earlier life of the process, or of somebody else who sends from the same source.
    pub fn keep_stop(&mut self, stop: Stopped) {
        if self.stop.as_ref().is_none_or(|own| own.until < stop.until) {
            if stop.recovers {
                let (since, why) = (stop.since, stop.rule.clone());
                self.few = Some(Few { since, until: None, connections: 1, successes: 0, step_at: 0, again: 0, why });
            }
            self.stop = Some(stop);
        }
    }

    /// The reason of a stop is gone: it ends, and what followed from it.
    pub fn lift_stop(&mut self, rule: &str) {
        if self.stop.as_ref().is_some_and(|stop| stop.rule == rule) {
            self.stop = None;
        }
        if self.few.as_ref().is_some_and(|few| few.why == rule) {
            self.few = None;
        }
    }

    fn triggered(&mut self, now: i64, rule: &Rule) -> bool {
        let (times, within) = rule.trigger;
        if times <= 1 {
            return true;
        }
        let at = match self.triggers.iter().position(|(name, _)| *name == rule.name) {
            Some(at) => at,
            None => {
                self.triggers.push((rule.name.clone(), VecDeque::new()));
                self.triggers.len() - 1
            }
        };
        let seen = &mut self.triggers[at].1;
        seen.retain(|t| now - t < within);
        seen.push_back(now);
        let often = seen.len() >= times as usize;
        if often {
            seen.clear();
        }
        often
    }

    /// The site closed a connection without a word, or with a 421, after `after` transactions and before the next one: no
    /// fault. The same number twice in a row is a limit of the site.
    pub fn closed_after(&mut self, now: i64, after: u32) {
        let twice = self.closed_after.replace(after) == Some(after);
        if after > 0 && (twice || self.limits.silent_close) {
            self.exhausted = Some((after, now + EXHAUSTED_MS));
        }
    }
}

/// A rate in words: by the second, minute or hour.
fn spoken(per_second: f64) -> String {
    let (n, unit) = match per_second {
        r if r >= 1.0 => (r, "second"),
        r if r * 60.0 >= 1.0 => (r * 60.0, "minute"),
        r => (r * 3_600.0, "hour"),
    };
    if n >= 10.0 { format!("{n:.0} a {unit}") } else { format!("{n:.1} a {unit}") }
}

#[cfg(test)]
mod tests;
