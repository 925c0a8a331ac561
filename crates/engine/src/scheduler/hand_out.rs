//! Handing out: which deliveries a connection carries next, within the limits of its place and route.

use std::sync::Arc;
use std::time::Duration;

use postrider_domain::id::SourceId;
use postrider_domain::shaping::{Hold, HoldReason};
use postrider_domain::stream::Stream;
use postrider_domain::warmup;

use super::egress::{Against, Leaving};
use super::own_limits::{LimitOf, RouteLimits};
use super::site::{Manner, Word, in_utc};
use super::state::{Gate, State};
use super::{Handed, Scheduler, Turn};
use crate::judge::Ended;
use crate::limits::DayGrant;
use crate::plan::{Flow, Place, Source, WaitingFor};
use postrider_store::relay::Quota;
use postrider_store::shaping::SiteStop;

/// The smallest pause of a connection that waits for one of our limits.
const LEAST_WAIT_MS: i64 = 5;

/// Whose limit it is that holds a place back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The source's or host's own: others of its pool may take its share.
    Own,
    /// The source's at this site, which workspaces share.
    Site,
    /// The route's: all its sources wait alike.
    Route,
}

impl Whose {
    const fn of(of: &LimitOf) -> Whose {
        match of {
            LimitOf::Route(_) => Whose::Route,
            LimitOf::Source(_) => Whose::Own,
        }
    }
}

/// What limits the messages of a place, beside its site.
fn limits_of(place: &Place) -> Vec<LimitOf> {
    match place.source {
        Source::Direct | Source::Route(_) => vec![LimitOf::Route(place.route)],
        Source::Host(..) | Source::Egress(_) => {
            vec![LimitOf::Route(place.route), LimitOf::Source(place.source.clone())]
        }
    }
}

const fn by(of: &LimitOf) -> &'static str {
    match of {
        LimitOf::Route(_) => "the route",
        LimitOf::Source(Source::Host(..)) => "the host of the route",
        LimitOf::Source(Source::Egress(_) | Source::Direct | Source::Route(_)) => "the egress source",
    }
}

/// What [`State::take`] found.
pub(super) enum Take {
    Batch(Vec<Handed>, Manner),
    /// One of the limits: wait so many milliseconds.
    Wait(i64),
    /// A limit per day of which nothing is granted.
    Grant(LimitOf, u32),
    /// The warm-up of a source, of which nothing is granted at this site.
    WarmUp(SourceId),
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
                    Take::Grant(..) | Take::WarmUp(_) | Take::Nothing => (taken, false),
                }
            };
            let pause = match taken {
                Take::Batch(batch, manner) => return Turn::Batch(batch, manner),
                Take::Wait(ms) if paces => Duration::from_millis(ms.max(LEAST_WAIT_MS) as u64),
                Take::Grant(of, limit) => {
                    self.ask_for_day(of, limit, now).await;
                    continue;
                }
                Take::WarmUp(source) => {
                    self.ask_for_warm_up(source, &place.site).await;
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

    /// Reserves a piece of a day in the store.
    async fn ask_for_day(&self, of: LimitOf, limit: u32, now: i64) {
        let Some((workspace, zone)) = self.lock().begin_asking(&of) else {
            // Somebody else asks: come back in a moment.
            return tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let (begins, ends) = postrider_domain::schedule::local_day(&zone, now)
            .or_else(|_| postrider_domain::schedule::local_day("UTC", now))
            .unwrap_or((now - now.rem_euclid(86_400_000), now - now.rem_euclid(86_400_000) + 86_400_000));
        // A hundredth of the limit: so much may be lost when a node dies with a grant (DESIGN section 6).
        let want = (limit / 100).clamp(1, 1_000);
        let quota = match &of {
            LimitOf::Route(route) | LimitOf::Source(Source::Route(route)) => Quota::Route(workspace, *route),
            LimitOf::Source(Source::Host(route, host)) => Quota::Host(workspace, *route, host),
            LimitOf::Source(Source::Egress(source)) => Quota::Source(*source),
            // The machine as a whole has no limits.
            LimitOf::Source(Source::Direct) => return,
        };
        let granted = self.shared.store.take_quota(&quota, begins, i64::from(want), i64::from(limit)).await;
        let day = granted.as_ref().ok().map(|granted| {
            let left = u32::try_from(*granted).unwrap_or(0);
            DayGrant { day: begins, ends, left, exhausted: left == 0 }
        });
        self.lock().end_asking(&of, day);
        if let Err(error) = granted {
            self.shared.complain("reserve messages of a day", &error);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Reserves a piece of what a source in warm-up may send to a site today.
    async fn ask_for_warm_up(&self, source: SourceId, site: &str) {
        if !self.lock().egress.warm.begin_asking(source, site) {
            return tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let grant = self.shared.store.take_warm_up(source, site).await;
        self.lock().egress.warm.end_asking(source, site, grant.as_ref().ok().copied());
        if let Err(error) = grant {
            self.shared.complain("reserve messages of a warm-up", &error);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Gives back what was handed out and not begun; it is ready as it was.
    pub(crate) fn give_back(self: &Arc<Self>, handed: Vec<Handed>) {
        let now = self.shared.now();
        let mut state = self.lock();
        for one in handed {
            let lane = one.lease.lane;
            state.untake(&one.place, 1);
            state.untook(&one.place, 1);
            for of in limits_of(&one.place) {
                if let Some(grant) = state.limits.get_mut(&of).and_then(|limits| limits.day.grant.as_mut()) {
                    grant.left = grant.left.saturating_add(1);
                }
            }
            let Some(entry) = state.lanes.get_mut(&lane).filter(|l| l.lease.epoch == one.lease.epoch) else { continue };
            entry.air.remove(&one.row.delivery);
            state.take_back(lane, &one.place, one.row, now);
            state.queue_up(lane);
        }
        drop(state);
        self.look.notify_one();
    }

    /// Notes what an attempt told about a site: its limits follow.
    pub(crate) fn heed(self: &Arc<Self>, place: &Place, ended: &Ended) {
        let word = Word::of(&place.site, ended);
        let (now, monotonic) = (self.shared.now(), self.shared.monotonic());
        let (stopped, cold) = {
            let mut state = self.lock();
            let Some(number) = state.spots.get(place).map(|s| s.site) else { return };
            let warming = state.egress.is_warming(&place.source).filter(|_| warmup::is_block(ended.class));
            let cold = warming.filter(|source| state.egress.warm.block(*source, &place.site, now));
            (state.sites.hear(number, &word, monotonic, now), cold)
        };
        if let Some(source) = cold {
            self.pause_warm_up(source, &place.site, &ended.text);
        }
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
        self.steered(handed)?;
        let monotonic = self.shared.monotonic();
        let mut state = self.lock();
        match state.gate(Flow::of(&handed.plan), self.shared.now()) {
            // Also what was handed out already stays when its site is stopped.
            Gate::Open if state.is_stopped(&handed.place, monotonic) => Err(WaitingFor::Stop),
            Gate::Open if state.egress.is_off(&handed.place.source) => Err(WaitingFor::Egress),
            Gate::Open => Ok(()),
            Gate::Shut(reason) => Err(reason),
            Gate::Over => Err(WaitingFor::Resume),
        }
    }

    /// The plan of a source × site pauses because of a block.
    fn pause_warm_up(self: &Arc<Self>, source: SourceId, site: &str, reply: &str) {
        tracing::warn!(event = "warm_up.paused", source = %source, site);
        let reason = format!("a block: {}", postrider_domain::shaping::reply_for_people(reply));
        let (scheduler, site) = (Arc::clone(self), site.to_owned());
        tokio::spawn(async move {
            match scheduler.shared.store.pause_warm_up(source, &site, &reason).await {
                Ok(_) => scheduler.lock().egress.warm.doubt(),
                Err(error) => scheduler.shared.complain("pause a warm-up", &error),
            }
        });
    }

    /// From where connections of a place are made.
    pub(crate) fn leaving(&self, place: &Place) -> Leaving {
        self.lock().egress.leaving(&place.source)
    }

    /// A source or host could not be used: it is left alone for a while. Whether another one may be used instead.
    pub(crate) fn pass_over(&self, place: &Place, why: &str) -> bool {
        let now = self.shared.now();
        tracing::warn!(event = "egress.left_alone", source = %place.source, site = place.site, why);
        let others = self.lock().pass_over(place, why, now);
        self.look.notify_one();
        others
    }

    /// A connection came about.
    pub(crate) fn reached(&self, place: &Place) {
        self.lock().egress.reached(place);
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
            let usable = state.egress.unusable(&place, now).is_none();
            let allowed = if usable { spot.limit.min(may) } else { 0 };
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
        let of = limits_of(place);
        let gap = of.iter().filter_map(|of| self.limits.get(of)).map(RouteLimits::gap_ms).max().unwrap_or(0);
        match self.against(place, urgent, gap, now, monotonic) {
            None => {}
            Some(Against::Ask(source)) => return Take::WarmUp(source),
            Some(Against::Wait(wait, None)) => return Take::Wait(wait),
            Some(Against::Wait(wait, Some(hold))) => {
                let hold = self.lasting(place, Hold { until: hold.until.or(Some(now + wait)), ..hold }, now);
                self.block(place, hold, Whose::Own, now + wait);
                return Take::Wait(wait);
            }
        }
        if let Some(wait) = self.against_workspace(place, urgent, now, monotonic) {
            return Take::Wait(wait);
        }
        // The days first: they take nothing yet.
        let mut want = match self.left_of_days(place, &of, want.max(1), now) {
            Ok(want) => want,
            Err(wait) => return wait,
        };
        let warming = self.egress.is_warming(&place.source).is_some();
        let Some(entry) = self.sites.get_mut(number) else { return Take::Nothing };
        if gap > 50 || entry.shaper.gap_ms() > 50 || warming {
            want = 1; // a slow pace is kept message by message
        }
        let allowed = match entry.shaper.take(monotonic, want) {
            Ok(allowed) => allowed,
            Err(hold) => {
                let wait = hold.until.map_or(1_000, |until| until - monotonic).clamp(1, 60_000);
                self.block(place, in_utc(hold, monotonic, now), Whose::Site, now + wait);
                return Take::Wait(wait);
            }
        };
        let taken = match self.take_paces(&of, allowed, urgent, monotonic) {
            Ok(taken) => taken,
            Err((wait, hold, whose)) => {
                if let Some(entry) = self.sites.get_mut(number) {
                    entry.shaper.give_back(allowed);
                }
                let hold = self.lasting(place, Hold { until: Some(now + wait), ..hold }, now);
                self.block(place, hold, whose, now + wait);
                return Take::Wait(wait);
            }
        };
        if let Some(entry) = self.sites.get_mut(number) {
            entry.shaper.give_back(allowed - taken);
        }
        let batch = self.serve(place, taken, prefer, now, monotonic);
        let unused = taken - batch.len();
        if unused > 0 {
            self.untake(place, unused);
        }
        if let Some((wait, hold)) = self.take_blocked()
            && batch.is_empty()
        {
            let wait = wait.clamp(1, 60_000);
            self.block(place, Hold { until: Some(now + wait), ..hold }, Whose::Route, now + wait);
            return Take::Wait(wait);
        }
        for of in &of {
            if let Some(grant) = self.limits.get_mut(of).and_then(|limits| limits.day.grant.as_mut()) {
                grant.left = grant.left.saturating_sub(u32::try_from(batch.len()).unwrap_or(u32::MAX));
            }
        }
        if let Some(spot) = self.spots.get_mut(place) {
            spot.blocked = None;
            (spot.own_block_until, spot.route_block_until) = (i64::MIN, i64::MIN);
        }
        if !batch.is_empty() {
            self.took(place, batch.len(), now, monotonic);
        }
        if batch.is_empty() { Take::Nothing } else { Take::Batch(batch, self.sites.manner(number, monotonic)) }
    }

    /// Gives back what was taken of the paces of a place and not used.
    fn untake(&mut self, place: &Place, n: usize) {
        let marketing = self.spots.get(place).is_some_and(|s| s.urgent.is_empty());
        for of in limits_of(place) {
            if let Some(limits) = self.limits.get_mut(&of) {
                limits.pace.give_back(n);
                limits.hour.give_back(n);
                if marketing {
                    limits.day.give_back_evenly(n);
                }
            }
        }
        if let Some(number) = self.spots.get(place).map(|s| s.site)
            && let Some(entry) = self.sites.get_mut(number)
        {
            entry.shaper.give_back(n);
        }
    }

    /// How many of `want` messages the days of a place still allow.
    fn left_of_days(&mut self, place: &Place, of: &[LimitOf], mut want: usize, now: i64) -> Result<usize, Take> {
        for of in of {
            let Some(limits) = self.limits.get(of).filter(|limits| limits.day.limit > 0) else { continue };
            let limit = limits.day.limit;
            match &limits.day.grant {
                Some(day) if now >= day.day && now < day.ends => {
                    if day.left == 0 && day.exhausted {
                        let (begun, ends) = (day.day, day.ends);
                        let detail = format!("{limit} a day by {}", by(of));
                        let hold = Hold { since: Some(begun), until: Some(ends), detail, ..Hold::of(HoldReason::Day) };
                        self.block(place, hold, Whose::of(of), ends);
                        return Err(Take::Wait((ends - now).min(60_000)));
                    }
                    if day.left == 0 {
                        return Err(Take::Grant(of.clone(), limit));
                    }
                    want = want.min(day.left as usize);
                }
                Some(_) | None => return Err(Take::Grant(of.clone(), limit)),
            }
        }
        Ok(want)
    }

    /// Takes up to `want` messages out of all paces that a place has, as many out of each; or says which one it waits for.
    fn take_paces(
        &mut self,
        of: &[LimitOf],
        want: usize,
        urgent: bool,
        monotonic: i64,
    ) -> Result<usize, (i64, Hold, Whose)> {
        let mut taken = want;
        let mut short = None;
        for (at, one) in of.iter().enumerate() {
            let Some(limits) = self.limits.get_mut(one) else { continue };
            let before = taken;
            match limits.take(monotonic, before, urgent, by(one)) {
                Ok(n) => taken = n,
                Err((wait, hold)) => {
                    short = Some((wait, hold, Whose::of(one)));
                    taken = 0;
                }
            }
            // What this one does not allow goes back to those before it.
            for earlier in &of[..at] {
                if let Some(limits) = self.limits.get_mut(earlier) {
                    limits.give_back(before - taken, urgent);
                }
            }
            if short.is_some() {
                break;
            }
        }
        short.map_or(Ok(taken), Err)
    }

    /// A hold that goes on has the beginning that it had.
    fn lasting(&self, place: &Place, hold: Hold, now: i64) -> Hold {
        let before = self.spots.get(place).and_then(|s| s.blocked.as_ref()).filter(|b| b.reason == hold.reason);
        Hold { since: hold.since.or(before.and_then(|b| b.since)).or(Some(now)), ..hold }
    }

    /// The connections that a place may have of `may` at a site that others lead to as well, by the weights of their
    /// workspaces.
    pub(super) fn fair_part(&self, place: &Place, number: u32, may: usize) -> usize {
        let weight = |workspace| u64::from(self.egress.workspace_weight(workspace));
        let all: u64 = self.spots.values().filter(|s| s.site == number).map(|s| weight(s.workspace)).sum();
        let mine = self.spots.get(place).map_or(1, |s| weight(s.workspace));
        let part = u64::try_from(may).unwrap_or(u64::MAX).saturating_mul(mine) / all.max(1);
        usize::try_from(part).unwrap_or(usize::MAX)
    }

    fn block(&mut self, place: &Place, hold: Hold, whose: Whose, until: i64) {
        if let Some(spot) = self.spots.get_mut(place) {
            spot.blocked = Some(hold);
            match whose {
                Whose::Own => (spot.own_block_until, spot.route_block_until) = (until, until),
                Whose::Site => (spot.own_block_until, spot.route_block_until) = (until, i64::MIN),
                Whose::Route => (spot.own_block_until, spot.route_block_until) = (i64::MIN, until),
            }
        }
    }

    /// Asks the flows of a place in turn, transactional ones before all others.
    fn serve(&mut self, place: &Place, want: usize, prefer: Option<&str>, now: i64, monotonic: i64) -> Vec<Handed> {
        let mut batch = Vec::new();
        for stream in [Stream::Transactional, Stream::Marketing] {
            let Some(spot) = self.spots.get_mut(place) else { break };
            let mut turns = match stream {
                Stream::Transactional => std::mem::take(&mut spot.urgent),
                Stream::Marketing => std::mem::take(&mut spot.in_turn),
            };
            turns.serve(want, |flow, n| {
                let taken = if self.gate(flow, now) == Gate::Open {
                    self.give(place, flow, n, prefer, (now, monotonic))
                } else {
                    Vec::new()
                };
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
    fn give(
        &mut self,
        place: &Place,
        flow: Flow,
        n: usize,
        prefer: Option<&str>,
        (now, monotonic): (i64, i64),
    ) -> Vec<Handed> {
        let Some(spot) = self.spots.get_mut(place) else { return Vec::new() };
        let Some(lanes) = spot.lanes.get_mut(&flow) else { return Vec::new() };
        for _ in 0..lanes.len() {
            let Some(id) = lanes.front().copied() else { break };
            lanes.rotate_left(1);
            let Some(lane) =
                self.lanes.get_mut(&id).filter(|l| !l.leaving && !l.resort && !l.is_shut(now) && !l.buffer.is_empty())
            else {
                continue;
            };
            let n = n.min(lane.plan.ahead(n));
            let mut batch = Vec::with_capacity(n);
            while batch.len() < n {
                let Some(at) = self.steering.pick(lane, id, place, prefer, (now, monotonic)) else { break };
                let Some(row) = lane.buffer.remove(at) else { break };
                lane.air.insert(row.delivery);
                let (lease, plan) = (lane.lease.clone(), Arc::clone(&lane.plan));
                batch.push(Handed { row, lease, plan, place: place.clone() });
            }
            if !batch.is_empty() {
                return batch;
            }
        }
        Vec::new()
    }
}
