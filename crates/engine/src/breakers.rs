//! The circuit breakers of this node's sites: what each site answered about recipients, and whether that is believed.
//!
//! When one trips and closes is said by `postrider_domain::bounce::breaker`. Must not know the store or the scheduler: who
//! asks is told what changed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use postrider_domain::bounce::BounceClass;
use postrider_domain::bounce::breaker::{Answer, Breaker, BreakerLimits, BreakerState, BreakerStep};
use postrider_domain::id::DeliveryId;
use postrider_domain::outcome::AttemptResult;
use postrider_domain::shaping::reply_for_people;
use postrider_mail::Stage;
use postrider_store::breaker::SiteBreaker;

use crate::judge::Ended;

/// The name under which a site is stopped, and attempts say what decided.
pub(crate) const RULE: &str = "breaker.mass_unknown";
/// Suppressions that are remembered of a site: as many as a window has answers.
const SUSPECTS: usize = 50;
/// Older ones were no part of what broke, in milliseconds.
const SUSPECT_FOR_MS: i64 = 86_400_000;
/// A site that was quiet for so long is forgotten, in milliseconds.
const KEPT_MS: i64 = 6 * 3_600_000;
/// Most sites that are remembered.
const MOST: usize = 20_000;

/// What an answer changed at a site. Times are milliseconds of the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It tripped, or a trial failed: the site is held until then.
    Held(Held),
    /// Its trials were good.
    Closed,
}

/// A site that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) until: i64,
    pub(crate) unknown: usize,
    pub(crate) answers: usize,
    pub(crate) reply: String,
    pub(crate) suspects: Vec<DeliveryId>,
}

/// What became known from other nodes or from people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// Held until this time of the monotonic clock.
    Held { site: String, until: i64, reply: String },
    /// Closed by trials elsewhere: connections come back one by one.
    Closed { site: String },
    /// A person believes it: everything goes on at once.
    Believed { site: String },
}

struct Entry {
    breaker: Breaker,
    suspects: VecDeque<(i64, DeliveryId)>,
    reply: String,
    heard_at: i64,
    /// When a person believed it, milliseconds UTC.
    believed_at: i64,
    /// It was held here and the store has not said so yet: its silence means nothing until then.
    untold: bool,
}

impl Entry {
    fn new() -> Entry {
        Entry {
            breaker: Breaker::new(BreakerLimits::default()),
            suspects: VecDeque::new(),
            reply: String::new(),
            heard_at: 0,
            believed_at: i64::MIN,
            untold: false,
        }
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<HashMap<String, Entry>>);

/// What an attempt's end says about the directory of a site; `None` when it says nothing.
fn answer(ended: &Ended) -> Option<Answer> {
    if ended.result == AttemptResult::Accepted {
        return Some(Answer::Known);
    }
    ended.code?;
    match (ended.stage, ended.result, ended.class?) {
        // The mailbox was taken before.
        (Stage::Data | Stage::Dot, _, _) => Some(Answer::Known),
        (
            Stage::Rcpt,
            AttemptResult::Rejected,
            BounceClass::InvalidRecipient | BounceClass::DisabledRecipient | BounceClass::MovedRecipient,
        ) => Some(Answer::Unknown),
        (Stage::Rcpt, _, BounceClass::MailboxFull) => Some(Answer::Known),
        (_, _, _) => None,
    }
}

impl Breakers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an attempt's end at `now` of the monotonic clock. What is not believed becomes a refusal for now; gives that,
    /// and what changed at the site.
    pub(crate) fn hear(
        &self,
        site: &str,
        delivery: DeliveryId,
        ended: &Ended,
        now: i64,
    ) -> (Option<Ended>, Option<Change>) {
        let Some(answer) = answer(ended) else { return (None, None) };
        let mut sites = self.lock();
        if !sites.contains_key(site) {
            // A site that never denied anybody needs no breaker.
            if answer == Answer::Known {
                return (None, None);
            }
            if sites.len() >= MOST {
                forget(&mut sites, now, 0);
            }
            sites.insert(site.to_owned(), Entry::new());
        }
        let Some(entry) = sites.get_mut(site) else { return (None, None) };
        entry.heard_at = now;
        let before = entry.breaker.state(now);
        let step = entry.breaker.hear(answer, now);
        let after = entry.breaker.state(now);
        if answer == Answer::Unknown {
            entry.reply = reply_for_people(&ended.text);
        }
        let change = match (step, before, after) {
            (BreakerStep::Closes, _, _) => {
                entry.suspects.clear();
                Some(Change::Closed)
            }
            (BreakerStep::Trips, _, BreakerState::Open { until })
            | (BreakerStep::Stays, BreakerState::Trial, BreakerState::Open { until }) => {
                entry.untold = true;
                let (unknown, answers) = entry.breaker.seen();
                let suspects = entry.suspects.iter().filter(|(at, _)| now - at < SUSPECT_FOR_MS);
                let suspects = suspects.map(|(_, delivery)| *delivery).collect();
                Some(Change::Held(Held { until, unknown, answers, reply: entry.reply.clone(), suspects }))
            }
            (BreakerStep::Trips | BreakerStep::Stays, _, _) => None,
        };
        if answer == Answer::Known {
            return (None, change);
        }
        if entry.breaker.believes(now) {
            if ended.suppress.is_some() {
                entry.suspects.push_back((now, delivery));
                while entry.suspects.len() > SUSPECTS {
                    entry.suspects.pop_front();
                }
            }
            return (None, change);
        }
        (Some(ended.not_believed()), change)
    }

    /// Until when a site is held, on the monotonic clock; `None` when it is not.
    pub(crate) fn held_until(&self, site: &str, now: i64) -> Option<i64> {
        match self.lock().get(site)?.breaker.state(now) {
            BreakerState::Open { until } => Some(until),
            BreakerState::Closed | BreakerState::Trial => None,
        }
    }

    /// The store has what was told of a site.
    pub(crate) fn told(&self, site: &str) {
        if let Some(entry) = self.lock().get_mut(site) {
            entry.untold = false;
        }
    }

    /// Compares with what the store keeps, whose times are UTC; what is news to this node.
    pub(crate) fn compare(&self, kept: &[SiteBreaker], now: i64, utc: i64) -> Vec<News> {
        let mut news = Vec::new();
        let mut sites = self.lock();
        for row in kept {
            let known = sites.get(&row.site);
            match row.believed_at {
                Some(at) if known.is_some_and(|entry| entry.believed_at < at) => {
                    let Some(entry) = sites.get_mut(&row.site) else { continue };
                    entry.believed_at = at;
                    entry.untold = false;
                    entry.breaker.believe();
                    entry.suspects.clear();
                    news.push(News::Believed { site: row.site.clone() });
                }
                Some(_) => {}
                None => {
                    let until = row.until.saturating_sub(utc).saturating_add(now);
                    let known_until = known.map(|entry| entry.breaker.state(now));
                    let later = match known_until {
                        Some(BreakerState::Open { until: own }) => own + 1_000 < until,
                        Some(BreakerState::Trial) => now < until,
                        Some(BreakerState::Closed) | None => true,
                    };
                    if later {
                        let entry = sites.entry(row.site.clone()).or_insert_with(Entry::new);
                        entry.heard_at = now;
                        entry.breaker.hold(until);
                        if now < until {
                            news.push(News::Held { site: row.site.clone(), until, reply: row.reply.clone() });
                        }
                    }
                }
            }
        }
        for (site, entry) in sites.iter_mut() {
            let open = !entry.breaker.believes(now) && !entry.untold;
            if open && !kept.iter().any(|row| row.site == *site && row.believed_at.is_none()) {
                entry.breaker.close();
                news.push(News::Closed { site: site.clone() });
            }
        }
        forget(&mut sites, now, KEPT_MS);
        news
    }
}

/// Forgets closed breakers of sites that were quiet for so long.
fn forget(sites: &mut HashMap<String, Entry>, now: i64, quiet_ms: i64) {
    sites.retain(|_, entry| !entry.breaker.believes(now) || now - entry.heard_at <= quiet_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_domain::suppression::SuppressionReason;
    use postrider_mail::reply::Reply;

    const HOLD: i64 = 30 * 60_000;

    fn unknown() -> Ended {
        let reply = Reply {
            code: 550,
            enhanced: postrider_mail::EnhancedStatus::parse("5.1.1"),
            lines: vec!["no such user".into()],
        };
        let failure = postrider_smtp::Failure {
            stage: Stage::Rcpt,
            kind: postrider_smtp::FailureKind::Refused(reply),
            connection_usable: true,
            dot_sent: false,
        };
        crate::judge::of_failure("mx.bakery.test", &failure)
    }

    fn taken() -> Ended {
        Ended::accepted(&Reply { code: 250, enhanced: None, lines: vec!["ok".into()] })
    }

    fn trip(breakers: &Breakers, site: &str, now: i64) -> (usize, Held) {
        for n in 0..100 {
            let (changed, change) = breakers.hear(site, DeliveryId(n), &unknown(), now);
            if let Some(Change::Held(held)) = change {
                assert!(changed.is_some(), "the one that trips it is not believed");
                return (n as usize, held);
            }
            assert_eq!((changed, change), (None, None), "believed until then");
        }
        panic!("never tripped");
    }

    #[test]
    fn a_site_that_denies_everybody_trips_after_29_and_the_rest_waits() {
        let breakers = Breakers::default();
        assert_eq!(unknown().suppress, Some(SuppressionReason::NoSuchMailbox));
        let (believed, held) = trip(&breakers, "a", 0);
        assert_eq!((believed, held.until, held.suspects.len()), (29, HOLD, 29));
        let (changed, change) = breakers.hear("a", DeliveryId(500), &unknown(), 1);
        let changed = changed.expect("not believed");
        assert_eq!((changed.result, changed.suppress, change), (AttemptResult::Deferred, None, None));
        assert_eq!(changed.rule.as_ref().map(|r| r.id.as_str()), Some(RULE));
        assert_eq!(breakers.held_until("a", 1), Some(HOLD));
        assert_eq!(breakers.held_until("b", 1), None);
    }

    #[test]
    fn a_site_with_a_good_past_trips_after_39() {
        let breakers = Breakers::default();
        breakers.hear("a", DeliveryId(0), &unknown(), 0);
        for _ in 0..1_000 {
            assert_eq!(breakers.hear("a", DeliveryId(0), &taken(), 0), (None, None));
        }
        assert_eq!(trip(&breakers, "a", 0).0, 39);
    }

    #[test]
    fn a_failed_trial_holds_again_and_five_good_ones_close_it() {
        let breakers = Breakers::default();
        trip(&breakers, "a", 0);
        let (changed, change) = breakers.hear("a", DeliveryId(1), &unknown(), HOLD);
        assert!(changed.is_some() && matches!(change, Some(Change::Held(held)) if held.until == 2 * HOLD));
        for n in 0..5 {
            let (_, change) = breakers.hear("a", DeliveryId(n), &taken(), 2 * HOLD);
            assert_eq!(change, (n == 4).then_some(Change::Closed));
        }
    }

    #[test]
    fn what_other_nodes_and_people_found_counts() {
        let breakers = Breakers::default();
        let row = |until, believed_at| SiteBreaker {
            site: "a".into(),
            since: 0,
            until,
            unknown: 30,
            answers: 30,
            reply: "550".into(),
            suspects: vec![],
            believed_at,
        };
        let utc = 1_000_000;
        let held = breakers.compare(&[row(utc + HOLD, None)], 0, utc);
        assert_eq!(held, [News::Held { site: "a".into(), until: HOLD, reply: "550".into() }]);
        assert_eq!(breakers.compare(&[row(utc + HOLD, None)], 0, utc), [], "told once");
        assert_eq!(breakers.compare(&[], 5, utc + 5), [News::Closed { site: "a".into() }]);
        // Our own, before the store knows of it: its silence means nothing.
        trip(&breakers, "a", 10);
        assert_eq!(breakers.compare(&[], 10, utc + 10), []);
        breakers.told("a");
        assert_eq!(breakers.compare(&[row(0, Some(utc))], 10, utc + 10), [News::Believed { site: "a".into() }]);
        assert_eq!(breakers.compare(&[row(0, Some(utc))], 10, utc + 10), []);
        assert_eq!(breakers.held_until("a", 10), None);
    }
}
