//! Handing out: which deliveries a connection carries next, within the limits of its place and route.

use std::sync::Arc;
use std::time::Duration;

use postrider_domain::id::{RouteId, WorkspaceId};
use postrider_domain::stream::Stream;

use super::state::{Gate, State};
use super::{Handed, Scheduler, Turn};
use crate::limits::DayGrant;
use crate::plan::{Flow, Place, WaitingFor};

/// The smallest pause of a connection that waits for one of our limits.
const LEAST_WAIT_MS: i64 = 5;
/// A place that complained gets one more connection back after this time.
const EASE_MS: i64 = 30_000;

/// What [`State::take`] found.
enum Take {
    Batch(Vec<Handed>),
    /// One of our own limits: wait so many milliseconds.
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
            let taken = {
                let mut state = self.lock();
                if state.should_yield(place, now) {
                    return Turn::End;
                }
                let taken = state.take(place, want, prefer, now, monotonic);
                if let Take::Batch(batch) = &taken
                    && let Some(handed) = batch.first()
                {
                    self.read_ahead(&mut state, handed.lease.lane, now);
                }
                taken
            };
            let pause = match taken {
                Take::Batch(batch) => return Turn::Batch(batch),
                Take::Wait(ms) => Duration::from_millis(ms.max(LEAST_WAIT_MS) as u64),
                Take::Grant(route, limit) => {
                    self.ask_for_day(route, limit, now).await;
                    continue;
                }
                Take::Nothing => self.shared.config.times.idle_close,
            };
            let until = tokio::time::Instant::now() + pause;
            if until.min(idle_until) <= tokio::time::Instant::now() {
                return Turn::End;
            }
            self.count_idle(place, 1);
            let woken = tokio::select! {
                () = woken => true,
                () = tokio::time::sleep_until(until.min(idle_until)) => false,
                () = self.shared.reached(crate::shared::Phase::Stopping) => false,
            };
            self.count_idle(place, -1);
            if !woken && tokio::time::Instant::now() >= idle_until {
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
            if let Some(limits) = state.routes.get_mut(&one.plan.route.id) {
                limits.pace.give_back(1);
                if let Some(day) = &mut limits.day {
                    day.left = day.left.saturating_add(1);
                }
            }
            let Some(entry) = state.lanes.get_mut(&lane).filter(|l| l.lease.epoch == one.lease.epoch) else { continue };
            entry.air.remove(&one.row.delivery);
            entry.buffer.push_front(one.row);
            state.queue_up(lane);
        }
        drop(state);
        self.look.notify_one();
    }

    /// The other side complains of our speed or number: half the connections for a while.
    pub(crate) fn ease(&self, place: &Place) {
        let now = self.shared.monotonic();
        if let Some(spot) = self.lock().spots.get_mut(place)
            // Replies to what was already on its way count once.
            && (spot.eased >= spot.limit || now - spot.eased_at > 1_000)
        {
            spot.eased = (spot.allowed().min(spot.couriers.max(1)) / 2).max(1);
            spot.eased_at = now;
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
        match self.lock().gate(Flow::of(&handed.plan), self.shared.now()) {
            Gate::Open => Ok(()),
            Gate::Shut(reason) => Err(reason),
            Gate::Over => Err(WaitingFor::Resume),
        }
    }

    /// Whether deliveries of a plan may not begin now.
    pub(crate) fn is_shut(&self, plan: &crate::plan::Plan) -> bool {
        self.lock().gate(Flow::of(plan), self.shared.now()) != Gate::Open
    }

    /// A courier has ended.
    pub(crate) fn courier_ended(&self, place: &Place) {
        let mut state = self.lock();
        state.couriers = state.couriers.saturating_sub(1);
        if let Some(spot) = state.spots.get_mut(place) {
            spot.couriers = spot.couriers.saturating_sub(1);
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
            let Some(spot) = state.spots.get_mut(&place) else { continue };
            if spot.eased < spot.limit && monotonic - spot.eased_at > EASE_MS {
                spot.eased += 1;
                spot.eased_at = monotonic;
            }
            if spot.lanes.is_empty() && spot.couriers == 0 {
                state.spots.remove(&place);
                continue;
            }
            let (couriers, idle, allowed) = (spot.couriers, spot.idle, spot.allowed());
            let rows = state.ready_rows(&place, allowed * ahead, now);
            let wanted = rows.div_ceil(ahead).max(usize::from(rows > 0)).min(allowed);
            let Some(spot) = state.spots.get_mut(&place) else { continue };
            for _ in 0..wanted.min(idle) {
                spot.wake.notify_one();
            }
            // A place that waits for one of our limits needs no further connection for it.
            let short = if spot.blocked.is_some() {
                usize::from(couriers == 0 && rows > 0)
            } else {
                wanted.saturating_sub(idle)
            };
            let short = short.min(allowed.saturating_sub(couriers));
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
            if day.is_some() {
                limits.day = day;
            }
        }
    }

    /// Whether a connection should end so that a place without any gets one, or because the site complained.
    fn should_yield(&self, place: &Place, now: i64) -> bool {
        let Some(spot) = self.spots.get(place) else { return true };
        if spot.couriers > spot.allowed() {
            return true;
        }
        let others = self.hungry.iter().any(|p| p != place && self.ready_rows(p, 1, now) > 0);
        others && spot.couriers > (self.most_couriers / self.spots.len().max(1)).max(1)
    }

    fn take(&mut self, place: &Place, want: usize, prefer: Option<&str>, now: i64, monotonic: i64) -> Take {
        if self.no_space {
            return Take::Wait(1_000);
        }
        if self.ready_rows(place, 1, now) == 0 {
            if let Some(spot) = self.spots.get_mut(place) {
                spot.blocked = None;
            }
            return Take::Nothing;
        }
        let Some(limits) = self.routes.get_mut(&place.route) else { return Take::Nothing };
        // The day first: it takes nothing yet.
        let mut want = want.max(1);
        if limits.per_day > 0 {
            match &limits.day {
                Some(day) if now >= day.day && now < day.ends => {
                    if day.left == 0 && day.exhausted {
                        let ends = day.ends;
                        self.block(place, WaitingFor::DailyLimit, ends);
                        return Take::Wait((ends - now).min(60_000));
                    }
                    if day.left == 0 {
                        return Take::Grant(place.route, limits.per_day);
                    }
                    want = want.min(day.left as usize);
                }
                Some(_) | None => return Take::Grant(place.route, limits.per_day),
            }
        }
        if limits.pace.gap_ms() > 50 {
            want = 1; // a slow pace is kept message by message
        }
        let allowed = match limits.pace.take(monotonic, want) {
            Ok(allowed) => allowed,
            Err(wait) => {
                self.block(place, WaitingFor::Pace, now + wait);
                return Take::Wait(wait);
            }
        };
        let batch = self.serve(place, allowed, prefer, now);
        if let Some(limits) = self.routes.get_mut(&place.route) {
            limits.pace.give_back(allowed - batch.len());
            if let Some(day) = &mut limits.day {
                day.left = day.left.saturating_sub(u32::try_from(batch.len()).unwrap_or(u32::MAX));
            }
        }
        if let Some(spot) = self.spots.get_mut(place) {
            spot.blocked = None;
        }
        if batch.is_empty() { Take::Nothing } else { Take::Batch(batch) }
    }

    fn block(&mut self, place: &Place, reason: WaitingFor, until: i64) {
        if let Some(spot) = self.spots.get_mut(place) {
            spot.blocked = Some((reason, until));
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
            let Some(lane) = self.lanes.get_mut(&id).filter(|l| !l.leaving && !l.buffer.is_empty()) else { continue };
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
