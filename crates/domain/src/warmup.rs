//! Warm-up: how much a new egress source may send to one site on each day until the site knows it.
//!
//! Pure: a plan, where a source × site stands in it, and the time go in. Knows no queue, no database and no clock. Days are
//! days of UTC, counted from 1970-01-01, so that all nodes and workspaces mean the same ones.

use crate::bounce::BounceClass;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// The plan when nobody gives another one: messages a day to one site, over 30 days.
///
/// Our caution, in between what senders publish: it begins with 50 and grows by 30 % a day, which is well below the rule that
/// no day may have more than twice the day before (SocketLabs, "IP and Domain Warm-Up Concepts": never more than 2x the
/// previous day, 30 to 90 days; reference/standards.md SR-34: no doubling). Sites of which little is known to be accepted
/// (WP, Onet, Interia) want a flatter plan of one's own.
pub const DEFAULT_PLAN: [u32; 30] = [
    50, 65, 85, 110, 140, 185, 240, 315, 410, 530, 690, 895, 1_165, 1_515, 1_970, 2_560, 3_325, 4_325, 5_620, 7_310,
    9_500, 12_350, 16_055, 20_875, 27_135, 35_275, 45_860, 59_615, 77_500, 100_000,
];

/// Most days of a plan.
const MOST_DAYS: usize = 365;
/// Steps back after a pause.
const STEPS_BACK: u32 = 3;
/// The first pause; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: i64 = DAY_MS;
const LONGEST_PAUSE: i64 = 8 * DAY_MS;
/// A day's volume may be sent this many times as fast as evenly over the whole day, when mail comes late in the day.
const HASTE: i64 = 4;

/// Why a plan is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No day, or too many.
    #[error("give the plan 1 to {MOST_DAYS} days")]
    Days,
    /// A day without messages.
    #[error("day {day} of the plan has no messages: give each day at least 1")]
    Empty {
        /// Which, from 1.
        day: usize,
    },
    /// A day with more than twice the day before.
    #[error(
        "day {day} of the plan has more than twice the messages of the day before: let it grow more slowly (SR-34)"
    )]
    Doubles {
        /// Which, from 1.
        day: usize,
    },
}

/// A warm-up as it is set for a source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Nothing goes before this time, i64 milliseconds UTC.
    pub since: i64,
    /// Messages a day to each site; empty for [`DEFAULT_PLAN`].
    #[serde(default)]
    pub plan: Vec<u32>,
}

/// Where a source stands at one site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WarmState {
    /// The step of the plan, from 0; beyond its end the source is warm there.
    pub step: u32,
    /// The day for which it counts, in days since 1970-01-01 UTC.
    pub day: i64,
    /// Nothing goes before this time, milliseconds UTC.
    pub paused_until: Option<i64>,
    /// Pauses that have not been forgotten; each good day forgets one.
    pub pauses: u32,
}

/// What a source may send to a site now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing before this time, milliseconds UTC: the warm-up has not begun.
    NotBefore(i64),
    /// Nothing before this time, milliseconds UTC: it was paused.
    Paused(i64),
    /// So many messages on this day.
    Day(u32),
    /// As much as there is: the plan is over.
    Warm,
}

/// Whether an attempt's end is a signal that the site blocks the source: the plan pauses. That the domain or the content is
/// unwanted says nothing about the address.
pub const fn is_block(class: Option<BounceClass>) -> bool {
    matches!(class, Some(BounceClass::BlockedIp))
}

/// The day of a time.
pub const fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY_MS)
}

impl WarmUp {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first day that is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        let plan = self.plan();
        if plan.is_empty() || plan.len() > MOST_DAYS {
            return Err(PlanError::Days);
        }
        if let Some(at) = plan.iter().position(|n| *n == 0) {
            return Err(PlanError::Empty { day: at + 1 });
        }
        match plan.windows(2).position(|w| w[1] / 2 > w[0] || w[1] > w[0].saturating_mul(2)) {
            Some(at) => Err(PlanError::Doubles { day: at + 2 }),
            None => Ok(()),
        }
    }

    /// The days that count.
    pub fn plan(&self) -> &[u32] {
        if self.plan.is_empty() { &DEFAULT_PLAN } else { &self.plan }
    }

    /// The messages of a step; `None` beyond the end.
    pub fn ceiling(&self, step: u32) -> Option<u32> {
        self.plan().get(usize::try_from(step).unwrap_or(usize::MAX)).copied()
    }

    /// Moves a state on to `today`; `carried` is what its own day has carried. A day on which less than half of its
    /// messages went, or that ended in a pause, is done again: a site learns from mail, not from the calendar.
    pub fn forward(&self, state: WarmState, today: i64, carried: u32) -> WarmState {
        if today <= state.day {
            return state;
        }
        let ends = (state.day + 1) * DAY_MS;
        let paused = state.paused_until.is_some_and(|until| until >= ends);
        let good = !paused && self.ceiling(state.step).is_some_and(|most| u64::from(carried) * 2 >= u64::from(most));
        WarmState {
            step: if good { state.step + 1 } else { state.step },
            day: today,
            paused_until: state.paused_until.filter(|until| *until > today * DAY_MS),
            pauses: if good { state.pauses.saturating_sub(1) } else { state.pauses },
        }
    }

    /// Pauses after a block or complaints at `now`: nothing for a day, twice as long after each further one, and then some
    /// steps lower. While it is paused already nothing changes: what comes in was on its way. A source that is warm goes
    /// back into its plan.
    pub fn pause(&self, state: WarmState, now: i64) -> WarmState {
        if state.paused_until.is_some_and(|until| now < until) {
            return state;
        }
        let last = u32::try_from(self.plan().len()).unwrap_or(u32::MAX);
        let pause = (FIRST_PAUSE << state.pauses.min(8)).min(LONGEST_PAUSE);
        WarmState {
            step: state.step.min(last).saturating_sub(STEPS_BACK),
            paused_until: Some(now + pause),
            pauses: state.pauses.saturating_add(1),
            ..state
        }
    }

    /// What may go at `now` with a state of today.
    pub fn allowed(&self, state: WarmState, now: i64) -> Allowed {
        if now < self.since {
            return Allowed::NotBefore(self.since);
        }
        match state.paused_until.filter(|until| now < *until) {
            Some(until) => Allowed::Paused(until),
            None => self.ceiling(state.step).map_or(Allowed::Warm, Allowed::Day),
        }
    }
}

/// The time between two messages so that the rest of a day's `ceiling` goes evenly over the rest of the day, in
/// milliseconds, at least 1; `None` when nothing is left. Mail that comes late in the day goes at most four times as
/// fast as the whole day's would: what does not fit is left out rather than sent in a burst.
pub fn gap_ms(ceiling: u32, carried: u32, now: i64) -> Option<i64> {
    let left = i64::from(ceiling.checked_sub(carried).filter(|left| *left > 0)?);
    let time = DAY_MS - now.rem_euclid(DAY_MS);
    Some((time / (left + 1)).max(DAY_MS / (i64::from(ceiling) * HASTE)).max(1))
}

/// When the next message of a day's volume is due.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    due: i64,
}

/// What a late caller may catch up, in milliseconds.
const CATCH_UP_MS: i64 = 5_000;

impl Spread {
    /// Takes one message at `now` out of a day's `ceiling`, of which `carried` are gone.
    ///
    /// # Errors
    /// None may go yet: the milliseconds to wait, at least 1; up to the end of the day when nothing is left of it.
    pub fn take(&mut self, ceiling: u32, carried: u32, now: i64) -> Result<(), i64> {
        let Some(gap) = gap_ms(ceiling, carried, now) else { return Err(DAY_MS - now.rem_euclid(DAY_MS)) };
        if self.due > now {
            // A day that begins with a larger volume does not wait for the gap of the day before.
            self.due = self.due.min(now + gap);
            return Err((self.due - now).max(1));
        }
        self.due = self.due.max(now - CATCH_UP_MS.max(gap / 2)) + gap;
        Ok(())
    }

    /// The milliseconds until the next message is due; 0 when it is.
    pub fn wait(&self, ceiling: u32, carried: u32, now: i64) -> i64 {
        { *self }.take(ceiling, carried, now).map_or_else(|wait| wait, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEFAULT: WarmUp = WarmUp { since: 0, plan: Vec::new() };

    /// Sends whenever it may, looking every five seconds between two hours of each day; what each day carried, by its step.
    fn simulate(warm: &WarmUp, days: i64, hours: std::ops::Range<i64>, block_at: Option<i64>) -> Vec<(u32, u32, bool)> {
        let (mut state, mut carried, mut spread, mut told) = (WarmState::default(), 0, Spread::default(), Vec::new());
        for now in (0..days * DAY_MS).step_by(5_000) {
            let today = day_of(now);
            if today > state.day {
                told.push((state.step, carried, state.paused_until.is_some()));
                state = warm.forward(state, today, carried);
                carried = 0;
            }
            if block_at.is_some_and(|at| (at..at + 5_000).contains(&now)) {
                state = warm.pause(state, now);
            }
            let open = hours.contains(&(now.rem_euclid(DAY_MS) / 3_600_000));
            while open
                && let Allowed::Day(ceiling) = warm.allowed(state, now)
                && spread.take(ceiling, carried, now).is_ok()
            {
                carried += 1;
            }
        }
        told.push((state.step, carried, state.paused_until.is_some()));
        told
    }

    #[test]
    fn the_plan_is_kept_within_a_twentieth_on_each_day_of_a_month() {
        DEFAULT.check().unwrap();
        for hours in [0..24, 9..24, 6..18] {
            for (day, (step, carried, _)) in simulate(&DEFAULT, 30, hours.clone(), None).into_iter().enumerate() {
                assert_eq!(step as usize, day, "one step a day");
                let share = f64::from(carried) / f64::from(DEFAULT_PLAN[day]);
                if hours.end == 24 {
                    assert!(
                        (0.95..=1.0).contains(&share),
                        "day {day} of {hours:?}: {carried} of {}",
                        DEFAULT_PLAN[day]
                    );
                } else {
                    // Mail that stops coming at six leaves the rest of the day's messages; never more than the plan.
                    assert!((0.5..=1.0).contains(&share), "day {day} of {hours:?}: {carried}");
                }
            }
        }
    }

    #[test]
    fn a_day_is_spread_evenly() {
        let (mut spread, mut carried, mut by_hour) = (Spread::default(), 0, [0u32; 24]);
        for now in (0..DAY_MS).step_by(1_000) {
            while spread.take(2_400, carried, now).is_ok() {
                carried += 1;
                by_hour[(now / 3_600_000) as usize] += 1;
            }
        }
        assert!(by_hour.iter().all(|n| (95..=105).contains(n)), "{by_hour:?}");
    }

    #[test]
    fn a_block_pauses_the_plan_which_goes_on_lower() {
        let noon_of_day_ten = 10 * DAY_MS + DAY_MS / 2;
        let days = simulate(&DEFAULT, 30, 0..24, Some(noon_of_day_ten));
        assert_eq!((days[9].0, days[10].0), (9, 7), "three steps back at once");
        assert!(days[10].1 <= DEFAULT_PLAN[10] / 2 + 2, "nothing after noon: {}", days[10].1);
        assert!(days[10].2 && days[11].0 == 7, "{days:?}");
        assert!(days[11].1 <= DEFAULT_PLAN[7], "the lower step from noon of the next day");
        assert_eq!(days[12].0, 8, "and on from there");
        assert_eq!(days.last().unwrap().0, 25);
    }

    #[test]
    fn pauses_grow_and_are_forgotten_by_good_days() {
        let mut state = WarmState { step: 12, ..WarmState::default() };
        state = DEFAULT.pause(state, 0);
        assert_eq!((state.step, state.paused_until), (9, Some(DAY_MS)));
        assert_eq!(DEFAULT.pause(state, 5_000), state, "what was on its way says nothing new");
        state = DEFAULT.pause(state, DAY_MS);
        assert_eq!((state.step, state.paused_until), (6, Some(3 * DAY_MS)));
        assert_eq!(DEFAULT.allowed(state, 3 * DAY_MS - 1), Allowed::Paused(3 * DAY_MS));
        assert_eq!(DEFAULT.allowed(state, 3 * DAY_MS), Allowed::Day(DEFAULT_PLAN[6]));
        let later = DEFAULT.forward(WarmState { day: 3, ..state }, 4, DEFAULT_PLAN[6]);
        assert_eq!((later.step, later.pauses, later.paused_until), (7, 1, None));
        // A source that is warm goes back into the plan.
        let warm = WarmState { step: 400, ..WarmState::default() };
        assert_eq!(DEFAULT.allowed(warm, 0), Allowed::Warm);
        assert_eq!(DEFAULT.pause(warm, 0).step, 27);
    }

    #[test]
    fn a_day_without_mail_is_done_again() {
        let state = WarmState { step: 4, day: 10, ..WarmState::default() };
        assert_eq!(DEFAULT.forward(state, 13, 0), WarmState { day: 13, ..state });
        assert_eq!(DEFAULT.forward(state, 10, 1_000), state, "the same day");
        assert_eq!(DEFAULT.forward(state, 11, 69), WarmState { day: 11, ..state });
        assert_eq!(DEFAULT.forward(state, 11, 70).step, 5);
    }

    #[test]
    fn plans_that_burst_are_refused() {
        let check = |plan: &[u32]| WarmUp { since: 0, plan: plan.to_vec() }.check();
        assert_eq!(check(&[10, 20, 40]), Ok(()));
        assert_eq!(check(&[10, 21]), Err(PlanError::Doubles { day: 2 }));
        assert_eq!(check(&[1, 2, 0]), Err(PlanError::Empty { day: 3 }));
        assert_eq!(check(&[1; 366]), Err(PlanError::Days));
        assert_eq!(check(&[u32::MAX, u32::MAX]), Ok(()));
        assert_eq!(WarmUp { since: 50, plan: vec![] }.allowed(WarmState::default(), 49), Allowed::NotBefore(50));
    }

    proptest! {
        #[test]
        fn no_day_has_more_than_its_ceiling(plan in proptest::collection::vec(1u32..300, 1..6), from in 0i64..24) {
            let warm = WarmUp { since: 0, plan: plan.clone() };
            for (step, carried, _) in simulate(&warm, 6, from..24, None) {
                let most = plan.get(step as usize).copied().unwrap_or(0);
                prop_assert!(carried <= most, "{carried} of {most}");
            }
        }
    }
}
