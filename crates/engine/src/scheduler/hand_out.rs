//! Handing out: which deliveries a connection carries next, within the limits of its place and route.

use std::sync::Arc;
use std::time::Duration;

use postrider_domain::id::{LaneId, RouteId, WorkspaceId};
use postrider_domain::shaping::{Hold, HoldReason};
use postrider_domain::stream::Stream;

use super::site::{Manner, Word, in_utc};
use super::state::{Gate, State};
use super::{Handed, Scheduler, Turn};
use crate::judge::Ended;
use crate::limits::DayGrant;
use crate::plan::{Flow, Place, WaitingFor};
use postrider_store::shaping::SiteStop;

/// The smallest pause of a connection that waits for one of our limits.
const LEAST_WAIT_MS: i64 = 5;

/// What [`State::take`] found.
pub(super) enum Take {
    Batch(Vec<Handed>, Manner),
    /// One of the limits: wait so many milliseconds.
    Wait(i64),
    /// The route has a limit per day and nothing granted of it.
    Grant(RouteId, u32),
    Nothing,
}

impl Scheduler {
    /// The next deliveries for a connection of a place, at most `want`, of the domain `prefer` first. Waits while there
    /// are none, up to the idle time.
    pub(crate) async fn next(self: &Arc<Self>, place: &Place, want: usize, prefer: Option<&str>) -> Turn {
        let idle_until = tokio::time::Instant::now() + self.shared.config.times.idle_close;
        let Some(wake) = self.lock().spots.get(place).map(|s| Arc::clone(&s.wake)) else { return Turn::End };
        loop {
            if !self.shared.is_running() {
                return Turn::End;
            }
            // Asked for before looking, so that rows that come in between are not missed.
            let woken = wake.notified();
            let (now, monotonic) = (self.shared.now(), self.shared.monotonic());
            let (taken, paces) = {
                let mut state = self.lock();
                if state.should_yield(place, now, monotonic) {
                    return Turn::Yield;
                }
                let taken = state.take(place, want, prefer, now, monotonic);
                match &taken {
                    Take::Batch(batch, _) => {
                        if let Some(handed) = batch.first() {
                            self.read_ahead(&mut state, handed.lease.lane, now);
                        }
                        // Whoever waits behind us for the pace may have its turn; if there is nobody, somebody may be needed.
                        if !state.pass_on(place) {
                            self.look.notify_one();
                        }
                        (taken, false)
                    }
                    // One of the idle connections keeps time for all of them.
                    Take::Wait(_) => (taken, state.keep_time(place)),
                    Take::Grant(..) | Take::Nothing => (taken, false),
                }
            };
            let pause = match taken {
                Take::Batch(batch, manner) => return Turn::Batch(batch, manner),
                Take::Wait(ms) if paces => Duration::from_millis(ms.max(LEAST_WAIT_MS) as u64),
                Take::Grant(route, limit) => {
                    self.ask_for_day(route, limit, now).await;
                    continue;
                }
                Take::Wait(_) | Take::Nothing => self.shared.config.times.idle_close,
            };
            let until = tokio::time::Instant::now() + pause;
            if until.min(idle_until) <= tokio::time::Instant::now() {
                self.lock().stop_timing(place, paces);
                return Turn::End;
            }
            self.count_idle(place, 1);
            let woken = tokio::select! {
                () = woken => true,
                () = tokio::time::sleep_until(until.min(idle_until)) => false,
                () = self.shared.reached(crate::shared::Phase::Stopping) => false,
            };
            self.count_idle(place, -1);
            let over = !woken && tokio::time::Instant::now() >= idle_until;
            self.lock().stop_timing(place, paces);
            if over {
                return Turn::End;
            }
        }
    }

    fn count_idle(&self, place: &Place, change: isize) {
        if let Some(spot) = self.lock().spots.get_mut(place) {
            spot.idle = spot.idle.saturating_add_signed(change);
        }
    }

    /// Reserves a piece of the route's day in the store.
    async fn ask_for_day(&self, route: RouteId, limit: u32, now: i64) {
        let Some((workspace, zone)) = self.lock().begin_asking(route) else {
            // Somebody else asks: come back in a moment.
            return tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let (begins, ends) = postrider_domain::schedule::local_day(&zone, now)
            .or_else(|_| postrider_domain::schedule::local_day("UTC", now))
            .unwrap_or((now - now.rem_euclid(86_400_000), now - now.rem_euclid(86_400_000) + 86_400_000));
        // A hundredth of the limit: so much may be lost when a node dies with a grant (DESIGN section 6).
        let want = (limit / 100).clamp(1, 1_000);
        let granted =
            self.shared.store.take_route_quota(workspace, route, begins, i64::from(want), i64::from(limit)).await;
        let day = granted.as_ref().ok().map(|granted| {
            let left = u32::try_from(*granted).unwrap_or(0);
            DayGrant { day: begins, ends, left, exhausted: left == 0 }
        });
        self.lock().end_asking(route, day);
        if let Err(error) = granted {
            self.shared.complain("reserve messages of a route's day", &error);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Gives back what was handed out and not begun; it is ready as it was.
    pub(crate) fn give_back(self: &Arc<Self>, handed: Vec<Handed>) {
        let mut state = self.lock();
        for one in handed {
            let lane = one.lease.lane;
            state.untake(&one.plan.place(&one.lease.site), 1);
            if let Some(grant) = state.routes.get_mut(&one.plan.route.id).and_then(|limits| limits.day.grant.as_mut()) {
                grant.left = grant.left.saturating_add(1);
            }
            let Some(entry) = state.lanes.get_mut(&lane).filter(|l| l.lease.epoch == one.lease.epoch) else { continue };
            entry.air.remove(&one.row.delivery);
            entry.buffer.push_front(one.row);
            state.queue_up(lane);
        }
        drop(state);
        self.look.notify_one();
    }

    /// Notes what an attempt told about a site: its limits follow.
    pub(crate) fn heed(self: &Arc<Self>, place: &Place, ended: &Ended) {
        let word = Word::of(&place.site, ended);
        let (now, monotonic) = (self.shared.now(), self.shared.monotonic());
        let stopped = {
            let mut state = self.lock();
            let Some(number) = state.spots.get(place).map(|s| s.site) else { return };
            state.sites.hear(number, &word, monotonic, now)
        };
        let Some((key, stopped)) = stopped else { return };
        let at = |t: i64| t - monotonic + now;
        tracing::warn!(
            event = "site.stopped", source = %key.source, site = key.site, rule = stopped.rule, reply = stopped.reply,
            until = postrider_domain::schedule::rfc3339(at(stopped.until))
        );
        let stop = SiteStop {
            source: key.source.to_string(),
            site: key.site,
            since: at(stopped.since),
            until: at(stopped.until),
            rule: stopped.rule,
            reply: stopped.reply,
            recovers: stopped.recovers,
        };
        let scheduler = Arc::clone(self);
        tokio::spawn(async move {
            // A restart must not forget it.
            if let Err(error) = scheduler.shared.store.keep_site_stop(&stop).await {
                scheduler.shared.complain("keep the stop of a site", &error);
            }
        });
    }

    /// The site let a connection go between two transactions after it had carried `after` of them: no fault.
    pub(crate) fn let_go(&self, place: &Place, after: u32) {
        let monotonic = self.shared.monotonic();
        let mut state = self.lock();
        let Some(number) = state.spots.get(place).map(|s| s.site) else { return };
        if let Some(entry) = state.sites.get_mut(number) {
            entry.shaper.closed_after(monotonic, after);
        }
    }

    /// A flow lacks something that only a person can bring: nothing of it is handed out for a while.
    pub(crate) fn stick(&self, flow: Flow, until: i64) {
        self.lock().stuck.insert(flow, until);
    }

    /// Whether a delivery that was handed out may still begin: pause and stop count at once.
    pub(crate) fn may_begin(&self, handed: &Handed) -> Result<(), WaitingFor> {
        if !self.shared.is_running() || !self.shared.is_surely_alive() {
            return Err(WaitingFor::Connection);
        }
        let monotonic = self.shared.monotonic();
        let mut state = self.lock();
        match state.gate(Flow::of(&handed.plan), self.shared.now()) {
            // Also what was handed out already stays when its site is stopped.
            Gate::Open if state.is_stopped(handed.lease.lane, monotonic) => Err(WaitingFor::Stop),
            Gate::Open => Ok(()),
            Gate::Shut(reason) => Err(reason),
            Gate::Over => Err(WaitingFor::Resume),
        }
    }

    /// Whether deliveries of a plan may not begin now.
    pub(crate) fn is_shut(&self, plan: &crate::plan::Plan) -> bool {
        self.lock().gate(Flow::of(plan), self.shared.now()) != Gate::Open
    }

    /// A courier has ended; `yielded` when it was told to.
    pub(crate) fn courier_ended(&self, place: &Place, yielded: bool) {
        let mut state = self.lock();
        state.couriers = state.couriers.saturating_sub(1);
        if let Some(spot) = state.spots.get_mut(place) {
            spot.couriers = spot.couriers.saturating_sub(1);
            if yielded {
                spot.ending = spot.ending.saturating_sub(1);
            }
            let number = spot.site;
            state.sites.courier_ends(number);
        }
        drop(state);
        self.look.notify_one();
    }

    /// Starts couriers where rows wait.
    pub(super) fn send_couriers(&self, state: &mut State, now: i64) {
        let monotonic = self.shared.monotonic();
        let ahead = self.shared.config.limits.ahead.clamp(1, 8);
        let mut started = Vec::new();
        let mut hungry = std::collections::VecDeque::new();
        // Those who were passed over last time come first.
        let mut places: Vec<Place> = state.hungry.drain(..).collect();
        places.extend(state.spots.keys().filter(|p| !places.contains(p)).cloned().collect::<Vec<_>>());
        for place in places {
            let Some(spot) = state.spots.get(&place) else { continue };
            if spot.lanes.is_empty() && spot.couriers == 0 {
                state.drop_spot(&place, monotonic);
                continue;
            }
            let (couriers, idle, number) = (spot.couriers, spot.idle, spot.site);
            let (may, open) = state.sites.connections(number, monotonic);
            let allowed = spot.limit.min(may);
            let rows = state.ready_rows(&place, allowed.max(1) * ahead, now);
            let wanted = rows.div_ceil(ahead).max(usize::from(rows > 0)).min(allowed);
            let Some(spot) = state.spots.get_mut(&place) else { continue };
            // Where one of them keeps time for the pace, the others are woken by it.
            let wake = if spot.pacing { 0 } else { wanted.min(idle) };
            for _ in 0..wake {
                spot.wake.notify_one();
            }
            // A place that waits for one of our limits needs no further connection for it.
            let short =
                if spot.blocked.is_some() { usize::from(idle == 0 && rows > 0) } else { wanted.saturating_sub(idle) };
            let short = short.min(allowed.saturating_sub(couriers));
            // Other routes to the same site have connections, too.
            let room = may.saturating_sub(open);
            if short > room && couriers == 0 && may > 0 {
                hungry.push_back(place.clone());
            }
            let short = short.min(room);
            for _ in 0..short {
                // A tenth of the node's connections is kept for transactional mail.
                let most = if spot.urgent.is_empty() {
                    state.most_couriers - state.most_couriers / 10
                } else {
                    state.most_couriers
                };
                if state.couriers >= most.max(1) {
                    hungry.push_back(place.clone());
                    break;
                }
                state.couriers += 1;
                spot.couriers += 1;
                state.sites.courier_begins(number);
                started.push(place.clone());
            }
        }
        state.hungry = hungry;
        if let Some(dispatch) = self.dispatch.get().and_then(std::sync::Weak::upgrade) {
            for place in started {
                dispatch.courier(place);
            }
        }
    }
}

impl State {
    /// Whose days a route's limit follows; `None` when somebody asks for it already.
    fn begin_asking(&mut self, route: RouteId) -> Option<(WorkspaceId, String)> {
        let of_route = self.lanes.values().find(|l| l.plan.route.id == route)?;
        let facts = (of_route.plan.workspace, of_route.plan.zone.clone());
        let limits = self.routes.get_mut(&route).filter(|limits| !limits.asking)?;
        limits.asking = true;
        Some(facts)
    }

    fn end_asking(&mut self, route: RouteId, day: Option<DayGrant>) {
        if let Some(limits) = self.routes.get_mut(&route) {
            limits.asking = false;
            if let Some(day) = day {
                limits.day.granted(day);
            }
        }
    }

    /// Whether one of the idle connections of a place has to keep time from now on: the caller, when it is true.
    fn keep_time(&mut self, place: &Place) -> bool {
        self.spots.get_mut(place).is_some_and(|spot| !std::mem::replace(&mut spot.pacing, true))
    }

    /// Whoever kept time does so no more.
    fn stop_timing(&mut self, place: &Place, was_timing: bool) {
        if was_timing && let Some(spot) = self.spots.get_mut(place) {
            spot.pacing = false;
            if spot.idle > 0 {
                spot.wake.notify_one();
            }
        }
    }

    /// Wakes one idle connection of a place that nobody keeps time for; false when there is no idle one.
    fn pass_on(&mut self, place: &Place) -> bool {
        let Some(spot) = self.spots.get_mut(place) else { return true };
        if spot.idle > 0 && !spot.pacing {
            spot.wake.notify_one();
        }
        spot.idle > 0
    }

    /// Whether the site of a lane is stopped.
    fn is_stopped(&mut self, lane: LaneId, monotonic: i64) -> bool {
        let Some(spot) = self.lanes.get(&lane).and_then(|l| self.spots.get(&l.place)) else { return false };
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
                && couriers > (may / of_site().count().max(1)).max(usize::from(may > 1))
                || self.couriers >= self.most_couriers - self.most_couriers / 10
                    && self.hungry.iter().any(|p| p != place && self.ready_rows(p, 1, now) > 0)
                    && couriers > (self.most_couriers / self.spots.len().max(1)).max(1));
        let yields = too_many || unfair;
        if yields && let Some(spot) = self.spots.get_mut(place) {
            spot.ending += 1;
        }
        yields
    }

    pub(super) fn take(&mut self, place: &Place, want: usize, prefer: Option<&str>, now: i64, monotonic: i64) -> Take {
        if self.no_space {
            return Take::Wait(1_000);
        }
        if self.ready_rows(place, 1, now) == 0 {
            if let Some(spot) = self.spots.get_mut(place) {
                spot.blocked = None;
            }
            return Take::Nothing;
        }
        let Some(spot) = self.spots.get(place) else { return Take::Nothing };
        let (number, urgent) = (spot.site, !spot.urgent.is_empty());
        let Some(limits) = self.routes.get_mut(&place.route) else { return Take::Nothing };
        // The day first: it takes nothing yet.
        let mut want = want.max(1);
        if limits.day.limit > 0 {
            match &limits.day.grant {
                Some(day) if now >= day.day && now < day.ends => {
                    if day.left == 0 && day.exhausted {
                        let (begun, ends) = (day.day, day.ends);
                        let detail = format!("{} a day by the route", limits.day.limit);
                        let hold = Hold { since: Some(begun), until: Some(ends), detail, ..Hold::of(HoldReason::Day) };
                        self.block(place, hold);
                        return Take::Wait((ends - now).min(60_000));
                    }
                    if day.left == 0 {
                        return Take::Grant(place.route, limits.day.limit);
                    }
                    want = want.min(day.left as usize);
                }
                Some(_) | None => return Take::Grant(place.route, limits.day.limit),
            }
        }
        let Some(entry) = self.sites.get_mut(number) else { return Take::Nothing };
        if limits.pace.gap_ms() > 50 || entry.shaper.gap_ms() > 50 {
            want = 1; // a slow pace is kept message by message
        }
        let allowed = match entry.shaper.take(monotonic, want) {
            Ok(allowed) => allowed,
            Err(hold) => {
                let wait = hold.until.map_or(1_000, |until| until - monotonic).clamp(1, 60_000);
                self.block(place, in_utc(hold, monotonic, now));
                return Take::Wait(wait);
            }
        };
        let of_route = limits.pace.take(monotonic, allowed).map_err(|wait| {
            let detail = format!("{} a second by the route", limits.per_second);
            (wait, Hold { detail, ..Hold::of(HoldReason::Rate) })
        });
        // What a day held back goes evenly over the next; transactional mail does not wait for that.
        let of_route = of_route.and_then(|n| {
            if urgent {
                return Ok(n);
            }
            limits.day.take_evenly(monotonic, n).map_err(|wait| {
                limits.pace.give_back(n);
                let detail = format!("{} a day by the route, evenly after a day that was too short", limits.day.limit);
                (wait, Hold { detail, ..Hold::of(HoldReason::Day) })
            })
        });
        let taken = match of_route {
            Ok(taken) => taken,
            Err((wait, hold)) => {
                entry.shaper.give_back(allowed);
                let since = self.spots.get(place).and_then(|s| s.blocked.as_ref()).filter(|b| b.reason == hold.reason);
                let since = since.and_then(|b| b.since).unwrap_or(now);
                self.block(place, Hold { since: Some(since), until: Some(now + wait), ..hold });
                return Take::Wait(wait);
            }
        };
        entry.shaper.give_back(allowed - taken);
        let batch = self.serve(place, taken, prefer, now);
        let unused = taken - batch.len();
        if unused > 0 {
            self.untake(place, unused);
        }
        if let Some(limits) = self.routes.get_mut(&place.route)
            && let Some(grant) = &mut limits.day.grant
        {
            grant.left = grant.left.saturating_sub(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        }
        if let Some(spot) = self.spots.get_mut(place) {
            spot.blocked = None;
        }
        if batch.is_empty() { Take::Nothing } else { Take::Batch(batch, self.sites.manner(number, monotonic)) }
    }

    /// Gives back what was taken of the paces of a place and not used.
    fn untake(&mut self, place: &Place, n: usize) {
        if let Some(limits) = self.routes.get_mut(&place.route) {
            limits.pace.give_back(n);
            if self.spots.get(place).is_some_and(|s| s.urgent.is_empty()) {
                limits.day.give_back_evenly(n);
            }
        }
        if let Some(number) = self.spots.get(place).map(|s| s.site)
            && let Some(entry) = self.sites.get_mut(number)
        {
            entry.shaper.give_back(n);
        }
    }

    fn block(&mut self, place: &Place, hold: Hold) {
        if let Some(spot) = self.spots.get_mut(place) {
            spot.blocked = Some(hold);
        }
    }

    /// Asks the flows of a place in turn, transactional ones before all others.
    fn serve(&mut self, place: &Place, want: usize, prefer: Option<&str>, now: i64) -> Vec<Handed> {
        let mut batch = Vec::new();
        for stream in [Stream::Transactional, Stream::Marketing] {
            let Some(spot) = self.spots.get_mut(place) else { break };
            let mut turns = match stream {
                Stream::Transactional => std::mem::take(&mut spot.urgent),
                Stream::Marketing => std::mem::take(&mut spot.in_turn),
            };
            turns.serve(want, |flow, n| {
                let taken =
                    if self.gate(flow, now) == Gate::Open { self.give(place, flow, n, prefer) } else { Vec::new() };
                let given = taken.len();
                batch.extend(taken);
                given
            });
            if let Some(spot) = self.spots.get_mut(place) {
                match stream {
                    Stream::Transactional => spot.urgent = turns,
                    Stream::Marketing => spot.in_turn = turns,
                }
            }
            if !batch.is_empty() {
                break;
            }
        }
        batch
    }

    /// Takes rows of one flow, from the first of its lanes that has any.
    fn give(&mut self, place: &Place, flow: Flow, n: usize, prefer: Option<&str>) -> Vec<Handed> {
        let Some(spot) = self.spots.get_mut(place) else { return Vec::new() };
        let Some(lanes) = spot.lanes.get_mut(&flow) else { return Vec::new() };
        for _ in 0..lanes.len() {
            let Some(id) = lanes.front().copied() else { break };
            lanes.rotate_left(1);
            let Some(lane) = self.lanes.get_mut(&id).filter(|l| !l.leaving && !l.resort && !l.buffer.is_empty()) else {
                continue;
            };
            let n = n.min(lane.plan.ahead(n));
            let mut batch = Vec::with_capacity(n);
            while batch.len() < n {
                // Rows of the domain that the connection already serves come first: other domains of the site may have
                // other hosts, and changing the host costs a new connection.
                let at = prefer.and_then(|domain| lane.buffer.iter().position(|r| r.domain == domain)).unwrap_or(0);
                let Some(row) = lane.buffer.remove(at) else { break };
                lane.air.insert(row.delivery);
                batch.push(Handed { row, lease: lane.lease.clone(), plan: Arc::clone(&lane.plan) });
            }
            return batch;
        }
        Vec::new()
    }
}
