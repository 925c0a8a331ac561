//! Raise, keep, resolve: what follows from what was seen and from the alarms that are open.
//!
//! Several nodes decide at once about one table, so the answer must be right whoever asks: an alarm is over only when
//! *nobody* has seen it wrong for its time, and a node that has just begun to look does not know enough to say so.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{AlarmKey, AlarmSeverity, Ends};
use crate::id::AlarmId;

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong {
    /// How bad.
    pub severity: AlarmSeverity,
    /// Grows when it gets worse by a step that is worth telling again; 0 where there are no steps.
    pub level: i64,
    /// What was seen: an object.
    pub facts: Value,
}

/// What a look at one thing said. What is not looked at, or is well without anybody saying so, is left out.
#[derive(Debug, Clone, PartialEq)]
pub enum Sight {
    /// It is wrong.
    Wrong(Wrong),
    /// Somebody has seen it well.
    Well,
    /// It could not be looked at, or is neither well nor wrong: nothing begins and nothing ends.
    Unclear,
}

/// An open alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: AlarmId,
    /// Which.
    pub key: AlarmKey,
    /// How bad it was when that was written last.
    pub level: i64,
    /// When somebody saw it wrong last, as written down; milliseconds UTC.
    pub last_seen_at: i64,
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A new alarm; nothing, if another node was faster.
    Raise(AlarmKey, Wrong),
    /// It got worse by a step.
    Worsen(AlarmId, AlarmKey, Wrong),
    /// It lasts: note when it was seen, and the newest facts.
    Touch(AlarmId, Wrong),
    /// It is over, unless somebody has seen it wrong since this time, which was the last known.
    Resolve(AlarmId, AlarmKey, i64),
    /// The clock was set back: it was seen last now.
    Rebase(AlarmId),
}

/// Decides at `now` for a node that has been looking since `looking_since`, both milliseconds UTC.
pub fn decide(open: &[Standing], seen: &BTreeMap<AlarmKey, Sight>, looking_since: i64, now: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    for standing in open {
        let kind = standing.key.kind;
        let sight = seen.get(&standing.key);
        match sight {
            Some(Sight::Wrong(wrong)) if wrong.level > standing.level => {
                steps.push(Step::Worsen(standing.id, standing.key.clone(), wrong.clone()));
            }
            Some(Sight::Wrong(wrong)) => {
                if now.saturating_sub(standing.last_seen_at) >= kind.touch_ms() || standing.last_seen_at > now {
                    steps.push(Step::Touch(standing.id, wrong.clone()));
                }
            }
            Some(Sight::Unclear) => {}
            Some(Sight::Well) | None => {
                let Ends::WhenCalm(calm) = kind.ends() else { continue };
                if standing.last_seen_at > now {
                    steps.push(Step::Rebase(standing.id));
                    continue;
                }
                // Nobody told that it is well: whoever looks must have looked long enough to have seen it.
                let (from, calm) = match sight {
                    Some(_) => (standing.last_seen_at, kind.good_news_ms()),
                    None => (standing.last_seen_at.max(looking_since), calm),
                };
                if now.saturating_sub(from) >= calm {
                    steps.push(Step::Resolve(standing.id, standing.key.clone(), standing.last_seen_at));
                }
            }
        }
    }
    for (key, sight) in seen {
        match sight {
            Sight::Wrong(wrong) if !open.iter().any(|standing| standing.key == *key) => {
                steps.push(Step::Raise(key.clone(), wrong.clone()));
            }
            Sight::Wrong(_) | Sight::Well | Sight::Unclear => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::super::AlarmKind;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SECOND: i64 = 1_000;

    fn wrong(level: i64) -> Wrong {
        Wrong { severity: AlarmSeverity::Warning, level, facts: json!({}) }
    }

    fn key(kind: AlarmKind) -> AlarmKey {
        AlarmKey::of_installation(kind, "x")
    }

    fn seen(kind: AlarmKind, sight: Sight) -> BTreeMap<AlarmKey, Sight> {
        BTreeMap::from([(key(kind), sight)])
    }

    /// The table, as the store keeps it.
    #[derive(Default)]
    struct Table {
        open: Vec<Standing>,
        next: i64,
        /// Time and whether it was raised, else resolved.
        log: Vec<(i64, bool)>,
    }

    impl Table {
        /// Does what a node decided with what it had read.
        fn apply(&mut self, steps: Vec<Step>, now: i64) {
            for step in steps {
                match step {
                    Step::Raise(key, wrong) => {
                        if !self.open.iter().any(|s| s.key == key) {
                            self.next += 1;
                            self.open.push(Standing {
                                id: AlarmId(self.next),
                                key,
                                level: wrong.level,
                                last_seen_at: now,
                            });
                            self.log.push((now, true));
                        }
                    }
                    Step::Worsen(id, _, wrong) => {
                        for s in self.open.iter_mut().filter(|s| s.id == id) {
                            (s.level, s.last_seen_at) = (wrong.level, now);
                        }
                    }
                    Step::Touch(id, _) | Step::Rebase(id) => {
                        for s in self.open.iter_mut().filter(|s| s.id == id) {
                            s.last_seen_at = now;
                        }
                    }
                    Step::Resolve(id, _, last) => {
                        let before = self.open.len();
                        self.open.retain(|s| s.id != id || s.last_seen_at != last);
                        if self.open.len() < before {
                            self.log.push((now, false));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn one_thing_is_raised_once_kept_and_resolved_once_for_every_kind() {
        for kind in AlarmKind::ALL {
            let mut table = Table::default();
            for tick in 0..2_000 {
                let now = tick * 5 * SECOND;
                // Wrong for an hour and ten minutes.
                let sights = if now < 4_200 * SECOND { seen(*kind, Sight::Wrong(wrong(1))) } else { BTreeMap::new() };
                let steps = decide(&table.open, &sights, 0, now);
                table.apply(steps, now);
            }
            let raised = table.log.iter().filter(|(_, up)| *up).count();
            assert_eq!(raised, 1, "{kind}");
            let resolved = table.log.iter().filter(|(_, up)| !*up).map(|(at, _)| *at).collect::<Vec<_>>();
            match kind.ends() {
                Ends::WhenTold => assert!(resolved.is_empty(), "{kind}"),
                Ends::WhenCalm(calm) if 4_200 * SECOND + calm >= 10_000 * SECOND => {
                    assert!(resolved.is_empty(), "{kind}")
                }
                Ends::WhenCalm(calm) => {
                    assert_eq!(resolved.len(), 1, "{kind}");
                    let at = resolved[0] - 4_195 * SECOND;
                    assert!(at >= calm - kind.touch_ms() && at <= calm + 10 * SECOND, "{kind}: after {at} of {calm}");
                }
            }
        }
    }

    #[test]
    fn what_comes_and_goes_is_one_alarm() {
        let mut table = Table::default();
        for tick in 0..720 {
            let now = tick * 5 * SECOND;
            // Wrong every fourth minute.
            let bad = now / (60 * SECOND) % 4 == 0;
            let sights = if bad { seen(AlarmKind::Dns, Sight::Wrong(wrong(0))) } else { BTreeMap::new() };
            let steps = decide(&table.open, &sights, 0, now);
            table.apply(steps, now);
        }
        assert_eq!(table.log, [(0, true)]);
    }

    #[test]
    fn good_news_end_it_sooner_and_what_is_unclear_ends_nothing() {
        let open = [Standing { id: AlarmId(1), key: key(AlarmKind::TlsLost), level: 0, last_seen_at: 0 }];
        let later = 11 * 60 * SECOND;
        let decided = |sight: Option<Sight>, at| {
            let sights = sight.map(|s| seen(AlarmKind::TlsLost, s)).unwrap_or_default();
            decide(&open, &sights, 0, at)
        };
        assert_eq!(decided(None, later), []);
        assert_eq!(decided(Some(Sight::Unclear), 1_000 * later), []);
        assert_eq!(decided(Some(Sight::Well), 60 * SECOND), [], "not at once");
        assert_eq!(decided(Some(Sight::Well), later), [Step::Resolve(AlarmId(1), key(AlarmKind::TlsLost), 0)]);
    }

    #[test]
    fn who_began_to_look_a_moment_ago_ends_nothing() {
        let open = [Standing { id: AlarmId(1), key: key(AlarmKind::Dns), level: 0, last_seen_at: 0 }];
        let now = 3_600 * SECOND;
        assert_eq!(decide(&open, &BTreeMap::new(), now - SECOND, now), []);
        assert_eq!(decide(&open, &BTreeMap::new(), now - 300 * SECOND, now).len(), 1);
    }

    #[test]
    fn worse_by_a_step_is_told_once_a_step() {
        let mut table = Table::default();
        let mut worse = 0;
        for (tick, level) in [1, 1, 2, 2, 2, 1, 2, 3].into_iter().enumerate() {
            let now = tick as i64 * SECOND;
            let steps = decide(&table.open, &seen(AlarmKind::Bounces, Sight::Wrong(wrong(level))), 0, now);
            worse += steps.iter().filter(|s| matches!(s, Step::Worsen(..))).count();
            table.apply(steps, now);
        }
        assert_eq!((worse, table.log.len()), (2, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_neither_ends_it_nor_keeps_it_for_ever() {
        let open = [Standing { id: AlarmId(1), key: key(AlarmKind::Disk), level: 0, last_seen_at: 86_400 * SECOND }];
        assert_eq!(decide(&open, &BTreeMap::new(), 0, 0), [Step::Rebase(AlarmId(1))]);
        let steps = decide(&open, &seen(AlarmKind::Disk, Sight::Wrong(wrong(0))), 0, 0);
        assert!(matches!(steps.as_slice(), [Step::Touch(AlarmId(1), _)]), "{steps:?}");
    }

    proptest! {
        /// Two nodes, each with its own moments of looking, restarting now and then, and reading the table a tick late:
        /// raised and resolved alternate, nothing is resolved while any node sees it, and what has long been well is over.
        #[test]
        fn each_is_raised_once_and_resolved_once_whoever_looks_and_whenever_they_restart(
            wrongs in proptest::collection::vec((0i64..3, 1i64..40), 1..12),
            restarts in proptest::collection::vec(0i64..400, 0..6),
            late in any::<bool>(),
        ) {
            let kind = AlarmKind::Dns;
            let Ends::WhenCalm(calm) = kind.ends() else { unreachable!() };
            // Bit 0: node 0 sees it wrong; bit 1: node 1 does.
            let mut plan = Vec::new();
            for (who, ticks) in &wrongs {
                plan.extend(std::iter::repeat_n(*who, usize::try_from(*ticks).unwrap()));
            }
            plan.extend(std::iter::repeat_n(0, 200));
            let mut table = Table::default();
            let mut since = [0i64; 2];
            let mut last_wrong = None;
            for (tick, who) in plan.iter().enumerate() {
                let now = tick as i64 * 5 * SECOND;
                let stale = table.open.clone();
                for node in 0..2 {
                    if restarts.contains(&(tick as i64 * 2 + node)) {
                        since[node as usize] = now;
                    }
                    let bad = who & (1 << node) != 0;
                    let sights = if bad { seen(kind, Sight::Wrong(wrong(0))) } else { BTreeMap::new() };
                    let read = if late { &stale } else { &table.open };
                    let steps = decide(read, &sights, since[node as usize], now);
                    table.apply(steps, now);
                    if bad {
                        last_wrong = Some(now);
                    }
                }
                if let Some((at, false)) = table.log.last()
                    && *at == now
                {
                    prop_assert!(now - last_wrong.unwrap() >= calm - kind.touch_ms());
                }
            }
            for pair in table.log.windows(2) {
                prop_assert_ne!(pair[0].1, pair[1].1, "raised and resolved take turns");
            }
            prop_assert_eq!(last_wrong.is_some(), !table.log.is_empty());
            prop_assert!(table.open.is_empty(), "long well");
        }
    }
}
