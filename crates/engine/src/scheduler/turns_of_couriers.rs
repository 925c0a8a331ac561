//! Which connection waits, which keeps time for the others, and which should end so that another place gets one.

use postrider_domain::id::WorkspaceId;

use super::own_limits::LimitOf;
use super::state::State;
use crate::limits::DayGrant;
use crate::plan::{Place, Source};

impl State {
    /// Whose days a limit follows; `None` when somebody asks for it already.
    pub(super) fn begin_asking(&mut self, of: &LimitOf) -> Option<(WorkspaceId, String)> {
        let facts = match of {
            LimitOf::Route(route) | LimitOf::Source(Source::Route(route) | Source::Host(route, _)) => {
                let of_route = self.lanes.values().find(|l| l.plan.route.id == *route)?;
                (of_route.plan.workspace, of_route.plan.zone.clone())
            }
            // A source serves several workspaces: its days are those of UTC.
            LimitOf::Source(Source::Egress(_) | Source::Direct) => (WorkspaceId(0), "UTC".to_owned()),
        };
        let limits = self.limits.get_mut(of).filter(|limits| !limits.asking)?;
        limits.asking = true;
        Some(facts)
    }

    pub(super) fn end_asking(&mut self, of: &LimitOf, day: Option<DayGrant>) {
        if let Some(limits) = self.limits.get_mut(of) {
            limits.asking = false;
            if let Some(day) = day {
                limits.day.granted(day);
            }
        }
    }

    /// Whether one of the idle connections of a place has to keep time from now on: the caller, when it is true.
    pub(super) fn keep_time(&mut self, place: &Place) -> bool {
        self.spots.get_mut(place).is_some_and(|spot| !std::mem::replace(&mut spot.pacing, true))
    }

    /// Whoever kept time does so no more.
    pub(super) fn stop_timing(&mut self, place: &Place, was_timing: bool) {
        if was_timing && let Some(spot) = self.spots.get_mut(place) {
            spot.pacing = false;
            if spot.idle > 0 {
                spot.wake.notify_one();
            }
        }
    }

    /// Wakes one idle connection of a place that nobody keeps time for; false when there is no idle one.
    pub(super) fn pass_on(&mut self, place: &Place) -> bool {
        let Some(spot) = self.spots.get_mut(place) else { return true };
        if spot.idle > 0 && !spot.pacing {
            spot.wake.notify_one();
        }
        spot.idle > 0
    }

    /// Whether the site of a place is stopped.
    pub(super) fn is_stopped(&mut self, place: &Place, monotonic: i64) -> bool {
        let Some(spot) = self.spots.get(place) else { return false };
        self.sites.get_mut(spot.site).is_some_and(|entry| entry.shaper.is_stopped(monotonic))
    }

    /// Whether a connection should end so that a place without any gets one, or because the site wants fewer.
    pub(super) fn should_yield(&mut self, place: &Place, now: i64, monotonic: i64) -> bool {
        let Some(spot) = self.spots.get(place) else { return true };
        let (couriers, limit, number) = (spot.couriers.saturating_sub(spot.ending), spot.limit, spot.site);
        let (may, open) = self.sites.connections(number, monotonic);
        let of_site = || self.spots.values().filter(|s| s.site == number);
        let starving = |p: &Place| {
            p != place && self.spots.get(p).is_some_and(|s| s.couriers == 0) && self.ready_rows(p, 1, now) > 0
        };
        let too_many = couriers > limit.min(may) || open.saturating_sub(of_site().map(|s| s.ending).sum()) > may;
        let unfair = !self.hungry.is_empty()
            && (self.hungry.iter().any(|p| starving(p) && self.spots.get(p).is_some_and(|s| s.site == number))
                && couriers > self.fair_part(place, number, may).max(usize::from(may > 1))
                || self.couriers >= self.most_couriers - self.most_couriers / 10
                    && self.hungry.iter().any(|p| p != place && self.ready_rows(p, 1, now) > 0)
                    && couriers > (self.most_couriers / self.spots.len().max(1)).max(1));
        let yields = too_many || unfair;
        if yields && let Some(spot) = self.spots.get_mut(place) {
            spot.ending += 1;
        }
        yields
    }
}
