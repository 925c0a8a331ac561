//! The manager of the lanes: leases them, keeps their plans and gates fresh, reads their rows, gives them back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::{CampaignId, DeliveryId, LaneId};
use postrider_store::lane::{LaneCursor, LaneLease, QueueRow};
use postrider_store::{StoreError, Topic};
use tokio::sync::broadcast::error::RecvError;

use super::Scheduler;
use super::state::{Gate, State};
use crate::book::Book;
use crate::plan::Flow;
use crate::shared::Phase;
use crate::sites::UNRESOLVED;

/// The manager looks at most so often; landings and ends of couriers come in swarms.
const LEAST_PAUSE: Duration = Duration::from_millis(5);
/// A flow whose plan cannot be made is asked again after this time.
const STUCK_MS: i64 = 15_000;
/// The first rows of campaign lanes are asked for at most so often.
const FULL_SCAN: Duration = Duration::from_secs(2);
/// Plans are read again after this time, in case nobody rang.
const PLANS: Duration = Duration::from_secs(10);
/// Lanes given back at a time when we own more than our share.
const SURPLUS_AT_ONCE: i64 = 50;

/// What a look is about.
#[derive(Default)]
struct Due {
    work: bool,
    rules: bool,
    plans: bool,
}

/// Moves rows of unresolved lanes to the lanes of their sites; told by the scheduler when there are any.
pub(crate) trait Resolve: Send + Sync {
    /// Looks at one lane, then calls [`Scheduler::lane_resolved`].
    fn lane(&self, lease: LaneLease, plan: Arc<crate::plan::Plan>);

    /// Moves rows of a lane to the lanes of the sites that their domains have now, then calls
    /// [`Scheduler::lane_resolved`]. Nothing of the lane is in the air.
    fn resort(&self, lease: LaneLease);
}

impl Scheduler {
    /// Runs until the engine stops.
    pub(crate) async fn manage(self: Arc<Self>, book: Arc<Book>, resolve: Arc<dyn Resolve>) {
        let mut bell = self.shared.store.bell().listen();
        let poll = self.shared.config.times.poll;
        let mut next_poll = tokio::time::Instant::now();
        // How often to ask is a matter of load, not of the mail's time: the machine's own clock.
        let (mut scan_at, mut plan_at) = (next_poll, next_poll);
        let mut due = Due { work: true, rules: true, plans: true };
        self.keep_stops().await;
        loop {
            if !self.shared.is_running() {
                return;
            }
            let now = tokio::time::Instant::now();
            if now >= next_poll {
                next_poll = now + poll;
                due.work = true;
                due.rules = true;
            }
            if due.plans || now >= plan_at {
                plan_at = now + PLANS;
                self.refresh_plans(&book).await;
            }
            if due.work && self.lease(&book).await {
                // New lanes may belong to a campaign that began to send after the last look.
                due.rules = true;
            }
            if due.rules {
                self.refresh_rules().await;
            }
            if due.work {
                let full = now >= scan_at;
                if full {
                    scan_at = now + FULL_SCAN;
                }
                self.scan(full).await;
            }
            self.move_on(&resolve);
            self.release_leaving().await;
            due = Due::default();
            let pause = self.pause(poll).min(next_poll.saturating_duration_since(tokio::time::Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.look.notified() => {}
                () = self.shared.reached(Phase::Stopping) => return,
                topic = bell.recv() => self.hear(&mut due, topic),
            }
            tokio::time::sleep(LEAST_PAUSE).await;
            while let Ok(topic) = bell.try_recv() {
                self.hear(&mut due, Ok(topic));
            }
        }
    }

    fn hear(&self, due: &mut Due, topic: Result<Topic, RecvError>) {
        match topic {
            Ok(Topic::Work) => due.work = true,
            Ok(Topic::Campaign) => *due = Due { work: true, rules: true, plans: true },
            Ok(Topic::Live { what, .. }) => {
                // Another node narrowed somebody's right: what is marked here asks again before its MAIL FROM.
                if let Some(contact) = what.strip_prefix("contact:").and_then(|id| id.parse().ok()) {
                    self.shared.store.closures().close_contact(contact);
                }
            }
            Ok(Topic::Import | Topic::Inquiry) => {}
            // Rings were missed: look at everything.
            Err(_) => *due = Due { work: true, rules: true, plans: true },
        }
    }

    /// The time until the next lane is due.
    fn pause(&self, most: Duration) -> Duration {
        let now = self.shared.now();
        let state = self.lock();
        let asleep = state.lanes.values().filter(|l| !l.reading && l.buffer.is_empty() && !l.leaving);
        // What is shut is looked at when its gate opens.
        let asleep = asleep.filter(|l| !l.waits_for_rule(now));
        let next = asleep.filter(|l| state.gate(Flow::of(&l.plan), now) == Gate::Open).map(|l| l.look_at).min();
        let ms = next.map_or(i64::MAX, |at| (at - now).max(1));
        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(most)
    }

    /// Claims lanes and makes their plans; whether there are new ones.
    async fn lease(self: &Arc<Self>, book: &Book) -> bool {
        let store = &self.shared.store;
        let leased = match store.lease_lanes(self.shared.node).await {
            Ok(leased) => leased,
            Err(error) => {
                self.shared.complain("lease lanes", &error);
                return false;
            }
        };
        let any = !leased.new.is_empty();
        if any {
            // What an owner before us had marked is decided before anything of these lanes is read.
            if let Err(error) = crate::node::resolve_in_doubt(&self.shared).await {
                self.shared.complain("resolve deliveries in doubt", &error);
                return false;
            }
            self.adopt(book, leased.new).await;
        }
        let mut state = self.lock();
        let known: usize = state.lanes.values().filter(|l| !l.leaving).count();
        if leased.surplus > 0 && known > 1 {
            let mut give: Vec<LaneId> = state.lanes.iter().filter(|(_, l)| !l.leaving).map(|(id, _)| *id).collect();
            give.sort_unstable();
            for id in give.into_iter().rev().take(usize::try_from(leased.surplus.min(SURPLUS_AT_ONCE)).unwrap_or(0)) {
                if let Some(lane) = state.lanes.get_mut(&id) {
                    lane.leaving = true;
                    lane.buffer.clear();
                }
            }
        }
        any
    }

    /// Takes lanes into memory: at the start, after a takeover, after leasing.
    pub(crate) async fn adopt(self: &Arc<Self>, book: &Book, lanes: Vec<LaneLease>) {
        for lease in lanes {
            let flow = lease.campaign.map_or(Flow::Single(lease.workspace, lease.stream), Flow::Campaign);
            match book.plan(&lease).await {
                Ok(plan) => {
                    let mut state = self.lock();
                    state.stuck.remove(&flow);
                    state.put_lane(lease, plan, self.shared.nodes());
                }
                Err(error) => {
                    // Without a plan the lane stays ours and is asked for again with the other plans.
                    self.shared.complain("make the plan of a lane", &error);
                    self.stick(flow, self.shared.now() + STUCK_MS);
                }
            }
        }
    }

    /// Reads plans again; lanes that have none yet get theirs.
    async fn refresh_plans(self: &Arc<Self>, book: &Book) {
        let mine = match self.shared.store.my_lanes(self.shared.node).await {
            Ok(mine) => mine,
            Err(error) => return self.shared.complain("list our lanes", &error),
        };
        book.forget_settings();
        match self.shared.store.all_site_settings().await {
            Ok(settings) => {
                let monotonic = self.shared.monotonic();
                let mut state = self.lock();
                state.sites.set_settings(settings);
                state.settings_changed(monotonic);
                state.sites.tidy(monotonic);
            }
            Err(error) => self.shared.complain("ask for the limits of sites", &error),
        }
        self.refresh_egress().await;
        let present: HashSet<LaneId> = mine.iter().map(|l| l.lane).collect();
        {
            let mut state = self.lock();
            let gone: Vec<LaneId> = state
                .lanes
                .iter()
                .filter(|(id, l)| !present.contains(id) && l.air.is_empty())
                .map(|(id, _)| *id)
                .collect();
            gone.into_iter().for_each(|id| state.drop_lane(id));
        }
        self.adopt(book, mine).await;
    }

    /// Asks which campaigns may send and which workspaces are suspended.
    async fn refresh_rules(&self) {
        let store = &self.shared.store;
        let (campaigns, suspended) = match (store.running_campaigns().await, store.suspended_workspaces().await) {
            (Ok(campaigns), Ok(suspended)) => (campaigns, suspended),
            (Err(error), _) | (_, Err(error)) => return self.shared.complain("ask for the state of campaigns", &error),
        };
        if let Err(error) = self.refresh_steering().await {
            return self.shared.complain("ask for the rules of the queue", &error);
        }
        let low = match self.shared.writer.look_at_space() {
            Ok(space) => {
                self.shared.metrics.free_bytes(space.free);
                space.low
            }
            Err(error) => return self.shared.complain("look at the disk", &error),
        };
        let mut state = self.lock();
        if low != state.no_space {
            tracing::warn!(event = "disk.space", low);
            state.no_space = low;
        }
        state.suspended = suspended.into_iter().collect();
        let present: HashSet<CampaignId> = campaigns.iter().map(|c| c.campaign).collect();
        for running in &campaigns {
            let gate = Gate::of(Some(running.state), state.suspended.contains(&running.workspace));
            let before = state.campaigns.insert(running.campaign, gate);
            if before != Some(gate) {
                state.gate_changed(running.campaign, gate);
            }
            if running.state == CampaignState::Stopped {
                state.forget_rows(running.campaign);
            }
        }
        let over: Vec<CampaignId> = state.campaigns.keys().filter(|c| !present.contains(c)).copied().collect();
        for campaign in over {
            state.campaigns.remove(&campaign);
            state.forget_rows(campaign);
            let lanes = state.lanes.iter().filter(|(_, l)| l.lease.campaign == Some(campaign) && l.air.is_empty());
            let lanes: Vec<LaneId> = lanes.map(|(id, _)| *id).collect();
            lanes.into_iter().for_each(|id| state.drop_lane(id));
        }
    }

    /// Asks when the first rows of quiet lanes are ready: somebody may have put rows there.
    async fn scan(&self, full: bool) {
        let lanes: Vec<LaneId> = {
            let state = self.lock();
            let quiet = state.lanes.iter().filter(|(_, l)| !l.reading && !l.more && l.buffer.is_empty() && !l.leaving);
            quiet.filter(|(_, l)| full || l.lease.campaign.is_none()).map(|(id, _)| *id).collect()
        };
        if lanes.is_empty() {
            return;
        }
        match self.shared.store.lanes_ready_at(&lanes).await {
            Ok(ready) => {
                let now = self.shared.now();
                let mut state = self.lock();
                for (lane, at) in ready {
                    if let Some(lane) = state.lanes.get_mut(&lane) {
                        // Behind rows that rules keep back others may have come, which cannot be seen from the first one.
                        if lane.passed.is_some() {
                            lane.look_at = lane.look_at.min(now);
                        }
                        // A first row that a read has not given is in the air or held, and no news as long as it is first.
                        if at > now || lane.first_seen != Some(at) {
                            lane.look_at = lane.look_at.min(at);
                        }
                        lane.first_seen = Some(at);
                    }
                }
            }
            Err(error) => self.shared.complain("ask for the first rows of lanes", &error),
        }
    }

    /// Starts what is due: reads, resolving, couriers.
    fn move_on(self: &Arc<Self>, resolve: &Arc<dyn Resolve>) {
        let now = self.shared.now();
        let most = self.shared.config.limits.rows_per_lane.clamp(8, 500);
        let mut state = self.lock();
        let sort: Vec<LaneId> =
            state.lanes.iter().filter(|(_, l)| l.resort && l.air.is_empty() && !l.reading).map(|(id, _)| *id).collect();
        for id in sort {
            if let Some(lane) = state.lanes.get_mut(&id) {
                lane.reading = true;
                lane.buffer.clear();
                lane.cursor = None;
                resolve.resort(lane.lease.clone());
            }
        }
        let due: Vec<LaneId> = state.lanes.iter().filter(|(_, l)| l.wants_read(now, most)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(lane) = state.lanes.get_mut(&id) else { continue };
            let (lease, plan) = (lane.lease.clone(), Arc::clone(&lane.plan));
            let unresolved = lease.site == UNRESOLVED && lane.site == UNRESOLVED;
            match state.gate(Flow::of(&plan), now) {
                Gate::Open if unresolved => {
                    if let Some(lane) = state.lanes.get_mut(&id) {
                        lane.reading = true;
                    }
                    resolve.lane(lease, plan);
                }
                Gate::Open => self.read_ahead(&mut state, id, now),
                Gate::Shut(_) | Gate::Over => {}
            }
        }
        self.send_couriers(&mut state, now);
        self.shared.metrics.lanes(state.lanes.len());
        self.shared.metrics.connections(state.couriers);
    }

    /// Starts a read of a lane when few of its rows are left in memory.
    pub(super) fn read_ahead(self: &Arc<Self>, state: &mut State, id: LaneId, now: i64) {
        let most = self.shared.config.limits.rows_per_lane.clamp(8, 500);
        let Some(lane) = state.lanes.get_mut(&id).filter(|l| l.wants_read(now, most)) else { return };
        lane.reading = true;
        let (cursor, epoch) = (lane.read_from(), lane.lease.epoch);
        let scheduler = Arc::clone(self);
        tokio::spawn(async move { scheduler.read(id, epoch, cursor, most).await });
    }

    async fn read(self: Arc<Self>, id: LaneId, epoch: i64, cursor: Option<LaneCursor>, most: usize) {
        let Ok(_place) = self.readers.acquire().await else { return };
        let now = self.shared.now();
        let asked = most - most / 4;
        let mut read = self.read_rows(id, cursor, now, asked).await;
        if let Ok((rows, _)) = &read
            && let Err(error) = self.learn_senders(rows).await
        {
            read = Err(error);
        }
        let mut state = self.lock();
        let State { lanes, steering, .. } = &mut *state;
        let Some(lane) = lanes.get_mut(&id).filter(|l| l.lease.epoch == epoch) else { return };
        match read {
            // Rules have changed meanwhile, and the lane is read from its first row.
            Ok(_) if std::mem::take(&mut lane.again) => {
                lane.reading = false;
                lane.landed_while_reading.clear();
            }
            Ok((rows, next)) => {
                let end = (rows.len() >= asked, rows.last().map(QueueRow::cursor));
                let mut sifted = steering.sift(lane, rows, now);
                lane.keeping_back |= sifted.kept_back;
                self.carry_out(&mut sifted);
                lane.take_in(sifted.rows, end, next, now);
                if lane.leaving {
                    lane.buffer.clear();
                } else if !lane.buffer.is_empty() {
                    state.queue_up(id);
                    self.send_couriers(&mut state, now);
                }
            }
            Err(error) => {
                lane.reading = false;
                lane.again = false;
                lane.look_at = now + 1_000;
                drop(state);
                self.shared.complain("read the rows of a lane", &error);
            }
        }
        self.look.notify_one();
    }

    /// Rows that are ready, and the time of the first one that is not, when all ready ones were read.
    async fn read_rows(
        &self,
        id: LaneId,
        cursor: Option<LaneCursor>,
        now: i64,
        asked: usize,
    ) -> Result<(Vec<QueueRow>, Option<i64>), StoreError> {
        let limit = u32::try_from(asked).unwrap_or(500);
        let rows = self.shared.store.read_lane(id, cursor, now, limit).await?;
        if rows.len() >= asked {
            return Ok((rows, None));
        }
        let behind = LaneCursor { ready_at: now, delivery: DeliveryId(i64::MAX) };
        let later = self.shared.store.read_lane(id, Some(behind), i64::MAX, 1).await?;
        Ok((rows, later.first().map(|row| row.ready_at)))
    }

    /// An unresolved lane was looked at; rows that are left in it come due at `next`.
    pub(crate) fn lane_resolved(&self, lane: LaneId, next: Option<i64>) {
        let now = self.shared.now();
        let mut state = self.lock();
        if let Some(lane) = state.lanes.get_mut(&lane) {
            lane.again = false;
            lane.take_in(Vec::new(), (false, None), next, now);
            lane.resort = false;
        }
        drop(state);
        self.look.notify_one();
    }

    /// A domain in a lane has another site than the lane: its rows are sorted anew when nothing of it is in the air.
    pub(crate) fn resort(&self, lane: LaneId) {
        if let Some(lane) = self.lock().lanes.get_mut(&lane) {
            lane.resort = true;
        }
        self.look.notify_one();
    }

    /// Gives back lanes of which nothing is in the air any more.
    async fn release_leaving(&self) {
        let ready: Vec<LaneId> = {
            let state = self.lock();
            let done = state.lanes.iter().filter(|(_, l)| l.leaving && l.air.is_empty() && !l.reading);
            done.map(|(id, _)| *id).collect()
        };
        if ready.is_empty() {
            return;
        }
        match self.shared.store.release_lanes(self.shared.node, &ready).await {
            Ok(_) => {
                let mut state = self.lock();
                ready.into_iter().for_each(|id| state.drop_lane(id));
            }
            Err(error) => self.shared.complain("give lanes back", &error),
        }
    }

    /// A mark was refused because the lane is not ours any more.
    pub(crate) fn lane_lost(&self, lane: LaneId, epoch: i64) {
        let mut state = self.lock();
        if state.lanes.get(&lane).is_some_and(|l| l.lease.epoch == epoch) {
            tracing::warn!(event = "lane.lost", lane = %lane);
            state.drop_lane(lane);
        }
    }
}

impl State {
    /// A campaign was paused, resumed or suspended: its lanes get their turns back.
    fn gate_changed(&mut self, campaign: CampaignId, gate: Gate) {
        if gate != Gate::Open {
            return;
        }
        let lanes: Vec<LaneId> =
            self.lanes.iter().filter(|(_, l)| l.lease.campaign == Some(campaign)).map(|(id, _)| *id).collect();
        for id in lanes {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.look_at = lane.look_at.min(0);
            }
            self.queue_up(id);
        }
    }

    /// The rows in memory of a campaign that is over.
    fn forget_rows(&mut self, campaign: CampaignId) {
        for lane in self.lanes.values_mut().filter(|l| l.lease.campaign == Some(campaign)) {
            lane.buffer.clear();
            lane.more = false;
            lane.cursor = None;
            lane.look_at = i64::MAX;
        }
    }
}
