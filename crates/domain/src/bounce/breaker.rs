//! The circuit breaker of a site: when a host that knew its mailboxes suddenly denies nearly all of them, its directory
//! is broken, and nobody may be suppressed for it.
//!
//! Pure: results and times (i64 milliseconds) go in, a state comes out. Must not know who holds the site and who alarms.

use std::collections::VecDeque;

/// When the breaker trips and how it recovers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerLimits {
    /// How many of the last answers are looked at.
    pub window: usize,
    /// Fewer answers than this in the window decide nothing.
    pub least: usize,
    /// The share of "unknown user" in the window that trips, 0 to 1.
    pub ratio: f64,
    /// And it must be this many times the site's usual share.
    pub above_usual: f64,
    /// How long a tripped site is held before one trial, milliseconds.
    pub hold_ms: i64,
    /// This many trial answers in a row that are not "unknown user" close it again.
    pub recover: u32,
}

impl Default for BreakerLimits {
    /// Our caution: 30 answers of which 80 % deny, and four times as many as usual.
    fn default() -> BreakerLimits {
        BreakerLimits { window: 50, least: 30, ratio: 0.8, above_usual: 4.0, hold_ms: 30 * 60 * 1_000, recover: 5 }
    }
}

/// What a site answered about one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The mailbox was taken, or refused for another reason: the directory works.
    Known,
    /// "Unknown user", for good.
    Unknown,
}

/// What the breaker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Answers are believed.
    Closed,
    /// Nothing is sent to the site and nobody is suppressed before this time, i64 milliseconds.
    Open {
        /// When one trial may go.
        until: i64,
    },
    /// Trials go; nobody is suppressed for their answers.
    Trial,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerStep {
    /// Nothing.
    Stays,
    /// It tripped just now: raise the alarm, hold the site, take back the suppressions of the window.
    Trips,
    /// It closed just now: the alarm is resolved.
    Closes,
}

/// The breaker of one site.
#[derive(Debug, Clone)]
pub struct Breaker {
    limits: BreakerLimits,
    window: VecDeque<Answer>,
    unknown: usize,
    /// The usual share of "unknown user", slowly moving, from answers that have left the window.
    usual: f64,
    /// How many answers the usual share rests on, at most [`USUAL_MEMORY`].
    seen: f64,
    open: Option<i64>,
    good_trials: u32,
}

/// How many answers the usual share remembers.
const USUAL_MEMORY: f64 = 1_000.0;
/// What is taken for usual of a site that we have no past with: lists in good order see 2 %, old ones 10 %.
const USUAL_AT_FIRST: f64 = 0.1;

impl Breaker {
    /// A breaker that believes.
    pub fn new(limits: BreakerLimits) -> Breaker {
        Breaker {
            limits,
            window: VecDeque::with_capacity(limits.window),
            unknown: 0,
            usual: USUAL_AT_FIRST,
            seen: 20.0,
            open: None,
            good_trials: 0,
        }
    }

    /// How it stands at `now`, i64 milliseconds.
    pub fn state(&self, now: i64) -> BreakerState {
        match self.open {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open { until },
            Some(_) => BreakerState::Trial,
        }
    }

    /// Whether an "unknown user" of now may suppress its mailbox.
    pub fn believes(&self, now: i64) -> bool {
        self.state(now) == BreakerState::Closed
    }

    /// The share of "unknown user" in the window, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.window.is_empty() { 0.0 } else { self.unknown as f64 / self.window.len() as f64 }
    }

    /// Takes an answer that came at `now`.
    pub fn hear(&mut self, answer: Answer, now: i64) -> BreakerStep {
        match self.state(now) {
            BreakerState::Closed => {}
            // Answers of connections that were open when it tripped.
            BreakerState::Open { .. } => return BreakerStep::Stays,
            BreakerState::Trial => return self.hear_trial(answer, now),
        }
        self.push(answer);
        let share = self.share();
        let enough = self.window.len() >= self.limits.least;
        if enough && share >= self.limits.ratio && share >= self.usual * self.limits.above_usual {
            self.open = Some(now.saturating_add(self.limits.hold_ms));
            self.good_trials = 0;
            return BreakerStep::Trips;
        }
        BreakerStep::Stays
    }

    /// How many of the answers in the window were "unknown user", and how many answers there are.
    pub fn seen(&self) -> (usize, usize) {
        (self.unknown, self.window.len())
    }

    /// Somebody else found the site broken: it is held until then, when that is later than we know.
    pub fn hold(&mut self, until: i64) {
        if self.open.is_none_or(|own| own < until) {
            self.open = Some(until);
            self.good_trials = 0;
        }
    }

    /// Somebody else found the site well.
    pub fn close(&mut self) {
        if self.open.is_some() {
            self.reset();
        }
    }

    /// A person looked and believes the site: it closes, and its present share becomes the usual one.
    pub fn believe(&mut self) {
        self.usual = self.share().max(self.usual);
        self.reset();
    }

    fn hear_trial(&mut self, answer: Answer, now: i64) -> BreakerStep {
        match answer {
            Answer::Known => {
                self.good_trials += 1;
                if self.good_trials < self.limits.recover {
                    return BreakerStep::Stays;
                }
                self.reset();
                BreakerStep::Closes
            }
            Answer::Unknown => {
                self.good_trials = 0;
                self.open = Some(now.saturating_add(self.limits.hold_ms));
                BreakerStep::Stays
            }
        }
    }

    fn reset(&mut self) {
        self.open = None;
        self.good_trials = 0;
        self.window.clear();
        self.unknown = 0;
    }

    fn push(&mut self, answer: Answer) {
        if self.window.len() >= self.limits.window
            && let Some(old) = self.window.pop_front()
        {
            let was_unknown = matches!(old, Answer::Unknown);
            self.unknown -= usize::from(was_unknown);
            self.seen = (self.seen + 1.0).min(USUAL_MEMORY);
            self.usual += (f64::from(u8::from(was_unknown)) - self.usual) / self.seen;
        }
        self.unknown += usize::from(matches!(answer, Answer::Unknown));
        self.window.push_back(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tenth is unknown.
    fn ordinary(breaker: &mut Breaker, count: usize, now: i64) {
        for at in 0..count {
            let answer = if at % 10 == 9 { Answer::Unknown } else { Answer::Known };
            assert_eq!(breaker.hear(answer, now), BreakerStep::Stays);
        }
    }

    /// How many unknowns in a row it takes.
    fn until_trip(breaker: &mut Breaker, now: i64) -> Option<usize> {
        (1..=500).find(|_| breaker.hear(Answer::Unknown, now) == BreakerStep::Trips)
    }

    #[test]
    fn a_directory_that_breaks_is_seen_within_one_window() {
        let mut breaker = Breaker::new(BreakerLimits::default());
        ordinary(&mut breaker, 1_000, 0);
        let taken = until_trip(&mut breaker, 5).expect("trips");
        assert!(taken <= 50, "{taken}");
        assert_eq!(breaker.state(5), BreakerState::Open { until: 5 + 1_800_000 });
        assert!(!breaker.believes(5));
    }

    #[test]
    fn a_new_site_that_knows_nobody_trips_after_the_least_count() {
        let mut breaker = Breaker::new(BreakerLimits::default());
        assert_eq!(until_trip(&mut breaker, 0), Some(30));
    }

    #[test]
    fn an_old_list_with_a_third_of_dead_mailboxes_does_not_trip() {
        let mut breaker = Breaker::new(BreakerLimits::default());
        for at in 0..5_000 {
            let answer = if at % 3 == 0 { Answer::Unknown } else { Answer::Known };
            assert_eq!(breaker.hear(answer, at), BreakerStep::Stays);
        }
    }

    #[test]
    fn it_holds_then_tries_and_closes_after_good_answers_only() {
        let mut breaker = Breaker::new(BreakerLimits::default());
        until_trip(&mut breaker, 0).expect("trips");
        let hold = 30 * 60 * 1_000;
        assert_eq!(breaker.hear(Answer::Known, hold - 1), BreakerStep::Stays, "held: late answers count for nothing");
        assert_eq!(breaker.state(hold), BreakerState::Trial);
        for _ in 0..4 {
            assert_eq!(breaker.hear(Answer::Known, hold), BreakerStep::Stays);
        }
        assert_eq!(breaker.hear(Answer::Unknown, hold), BreakerStep::Stays);
        assert_eq!(breaker.state(hold + 1), BreakerState::Open { until: 2 * hold }, "a bad trial holds again");
        for at in 0..5 {
            let step = breaker.hear(Answer::Known, 2 * hold);
            assert_eq!(step, if at == 4 { BreakerStep::Closes } else { BreakerStep::Stays });
        }
        assert!(breaker.believes(2 * hold));
    }

    #[test]
    fn what_another_node_found_counts_here() {
        let mut breaker = Breaker::new(BreakerLimits::default());
        breaker.hold(500);
        assert_eq!(breaker.state(499), BreakerState::Open { until: 500 });
        breaker.hold(400);
        assert_eq!(breaker.state(499), BreakerState::Open { until: 500 }, "the later end counts");
        breaker.close();
        assert!(breaker.believes(0));
        assert_eq!(breaker.seen(), (0, 0));
    }

    #[test]
    fn a_person_who_believes_the_site_is_not_asked_again() {
        let mut breaker = Breaker::new(BreakerLimits::default());
        until_trip(&mut breaker, 0).expect("trips");
        breaker.believe();
        assert!(breaker.believes(1));
        assert_eq!(until_trip(&mut breaker, 1), None, "its share is the usual one now");
    }
}
