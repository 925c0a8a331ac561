//! The warm-up of egress sources as this node keeps it: what of each day was granted, and when the next message is due.
//!
//! The plan and its days are `postrider_domain::warmup`; the store keeps where a source stands. Must not know lanes or rows.

use std::collections::HashMap;

use postrider_domain::id::SourceId;
use postrider_domain::schedule::rfc3339;
use postrider_domain::shaping::{Hold, HoldReason};
use postrider_domain::warmup::{Allowed, Spread, day_of};
use postrider_store::warm_up::{WarmGrant, ends_at};

/// Whether a source may send one more message to a site.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WarmCheck {
    /// It may, and no plan counts messages.
    Free,
    /// It may send one, which is to be counted.
    One,
    /// The store has to be asked first.
    Ask,
    /// It may not.
    Held(Hold),
}

/// A source at a site.
#[derive(Debug)]
struct Warm {
    allowed: Allowed,
    step: u32,
    day: i64,
    /// Granted on this day to all nodes, as far as we know.
    granted: u32,
    /// Of what was granted to us, not used.
    left: u32,
    /// The store had nothing left of the day.
    exhausted: bool,
    /// Somebody changed something: ask again.
    stale: bool,
    spread: Spread,
}

/// All of them.
#[derive(Default)]
pub(super) struct WarmUps {
    sites: HashMap<SourceId, HashMap<String, Warm>>,
    asking: HashMap<SourceId, Vec<String>>,
}

impl WarmUps {
    fn find(&mut self, source: SourceId, site: &str) -> Option<&mut Warm> {
        self.sites.get_mut(&source)?.get_mut(site)
    }

    /// Whether a message may go; `now` is milliseconds UTC.
    pub(super) fn check(&mut self, source: SourceId, site: &str, now: i64) -> WarmCheck {
        let Some(warm) = self.find(source, site) else { return WarmCheck::Ask };
        if warm.stale || warm.day < day_of(now) && warm.allowed != Allowed::Warm {
            return WarmCheck::Ask;
        }
        let held = |until: i64, detail: String| {
            WarmCheck::Held(Hold { until: Some(until), detail, ..Hold::of(HoldReason::WarmUp) })
        };
        match warm.allowed {
            Allowed::Warm => WarmCheck::Free,
            Allowed::NotBefore(at) | Allowed::Paused(at) if now >= at => WarmCheck::Ask,
            Allowed::NotBefore(at) => held(at, format!("it begins at {}", rfc3339(at))),
            Allowed::Paused(until) => {
                held(until, "paused after a block or complaints; it goes on some steps lower".into())
            }
            Allowed::Day(ceiling) => {
                let carried = warm.granted.saturating_sub(warm.left);
                let said = || format!("step {}: {ceiling} on this day, evenly; {carried} are gone", warm.step + 1);
                if carried >= ceiling || warm.left == 0 && warm.exhausted {
                    return held(ends_at(warm.day), said());
                }
                match warm.spread.wait(ceiling, carried, now) {
                    0 if warm.left == 0 => WarmCheck::Ask,
                    0 => WarmCheck::One,
                    wait => held(now + wait, said()),
                }
            }
        }
    }

    /// Counts a message that goes.
    pub(super) fn used(&mut self, source: SourceId, site: &str, n: usize, now: i64) {
        let Some(warm) = self.find(source, site) else { return };
        let Allowed::Day(ceiling) = warm.allowed else { return };
        for _ in 0..n {
            let carried = warm.granted.saturating_sub(warm.left);
            // It was looked whether it is due.
            let _ = warm.spread.take(ceiling, carried, now);
            warm.left = warm.left.saturating_sub(1);
        }
    }

    /// Gives back what was not used.
    pub(super) fn give_back(&mut self, source: SourceId, site: &str, n: usize) {
        if let Some(warm) = self.find(source, site)
            && matches!(warm.allowed, Allowed::Day(_))
        {
            let n = u32::try_from(n).unwrap_or(u32::MAX);
            warm.left = warm.left.saturating_add(n).min(warm.granted);
        }
    }

    /// The caller asks the store, unless somebody does already.
    pub(super) fn begin_asking(&mut self, source: SourceId, site: &str) -> bool {
        let asking = self.asking.entry(source).or_default();
        let free = asking.iter().all(|s| s != site);
        if free {
            asking.push(site.to_owned());
        }
        free
    }

    /// What the store said; `None` when it could not be asked.
    pub(super) fn end_asking(&mut self, source: SourceId, site: &str, grant: Option<WarmGrant>) {
        if let Some(asking) = self.asking.get_mut(&source) {
            asking.retain(|s| s != site);
        }
        let Some(grant) = grant else { return };
        let sites = self.sites.entry(source).or_default();
        let before = sites.get(site).filter(|w| w.day == grant.day);
        let (left, spread) = before.map_or((0, Spread::default()), |w| (w.left, w.spread));
        sites.insert(
            site.to_owned(),
            Warm {
                allowed: grant.allowed,
                step: grant.step,
                day: grant.day,
                granted: grant.before.saturating_add(grant.granted),
                left: left.saturating_add(grant.granted),
                exhausted: matches!(grant.allowed, Allowed::Day(_)) && grant.granted == 0,
                stale: false,
                spread,
            },
        );
    }

    /// A block signal came: nothing more goes until the store has said until when. Whether that is news.
    pub(super) fn block(&mut self, source: SourceId, site: &str, now: i64) -> bool {
        match self.find(source, site) {
            Some(warm) if matches!(warm.allowed, Allowed::Paused(until) if now < until) => false,
            Some(warm) => {
                warm.allowed = Allowed::Paused(now + 60_000);
                true
            }
            None => true,
        }
    }

    /// The store has to be asked again about everything: a person or another node may have changed it.
    pub(super) fn doubt(&mut self) {
        self.sites.values_mut().flat_map(HashMap::values_mut).for_each(|warm| warm.stale = true);
    }

    /// Forgets sources that are in no warm-up.
    pub(super) fn retain(&mut self, keep: impl Fn(SourceId) -> bool) {
        self.sites.retain(|source, _| keep(*source));
    }
}
