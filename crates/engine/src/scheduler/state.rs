//! The scheduler's memory: plain data and the moves on it, no waiting.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::{CampaignId, DeliveryId, LaneId, RouteId, WorkspaceId};
use postrider_domain::route::RouteKind;
use postrider_domain::stream::Stream;
use postrider_store::lane::{LaneCursor, LaneLease, QueueRow};
use tokio::sync::Notify;

use super::Landing;
use crate::fair::Turns;
use crate::limits::{DayGrant, Pace};
use crate::plan::{Flow, Place, Plan, Waiting, WaitingFor};

/// A lane without known rows is read again after twice this time, in case nobody rang; doubles up to half a minute.
const LOOK_AGAIN_MS: i64 = 1_000;

/// A lane that we own.
pub(super) struct LaneEntry {
    pub(super) lease: LaneLease,
    pub(super) plan: Arc<Plan>,
    pub(super) place: Place,
    pub(super) buffer: VecDeque<QueueRow>,
    pub(super) cursor: Option<LaneCursor>,
    /// Rows may follow the cursor.
    pub(super) more: bool,
    pub(super) reading: bool,
    /// When to read again, milliseconds UTC.
    pub(super) look_at: i64,
    pub(super) empty_reads: u32,
    /// The time of the first row when it was asked for last, whatever its state.
    pub(super) first_seen: Option<i64>,
    /// Handed out, and their settles not durable yet.
    pub(super) air: HashSet<DeliveryId>,
    /// Landed while a read was under way, which may have seen them as they were before.
    pub(super) landed_while_reading: HashSet<DeliveryId>,
    /// No more hand-out: the lane is to be given back.
    pub(super) leaving: bool,
}

impl LaneEntry {
    pub(super) fn new(lease: LaneLease, plan: Arc<Plan>) -> LaneEntry {
        let place = plan.place(&lease.site);
        LaneEntry {
            look_at: lease.next_at.unwrap_or(i64::MAX),
            lease,
            plan,
            place,
            buffer: VecDeque::new(),
            cursor: None,
            more: false,
            reading: false,
            empty_reads: 0,
            first_seen: None,
            air: HashSet::new(),
            landed_while_reading: HashSet::new(),
            leaving: false,
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.buffer.is_empty() && self.air.is_empty() && !self.more && !self.reading
    }

    /// Whether a read is due: rows may follow the cursor and few are left, or the time has come.
    pub(super) fn wants_read(&self, now: i64, most: usize) -> bool {
        if self.reading || self.leaving {
            return false;
        }
        if self.more { self.buffer.len() < most / 4 + 1 } else { self.buffer.is_empty() && self.look_at <= now }
    }

    /// Takes in what a read gave; `next` is the time of the first row that is not ready yet.
    pub(super) fn take_in(&mut self, rows: Vec<QueueRow>, asked: usize, next: Option<i64>, now: i64) {
        self.reading = false;
        let full = rows.len() >= asked;
        self.cursor = if full { rows.last().map(QueueRow::cursor) } else { None };
        self.more = full;
        let stale = std::mem::take(&mut self.landed_while_reading);
        // What was given back while the read was under way is in the buffer again.
        let present: HashSet<DeliveryId> = self.buffer.iter().map(|r| r.delivery).collect();
        let before = self.buffer.len();
        let is_news = |r: &QueueRow| {
            !self.air.contains(&r.delivery) && !stale.contains(&r.delivery) && !present.contains(&r.delivery)
        };
        let news: Vec<QueueRow> = rows.into_iter().filter(is_news).collect();
        self.buffer.extend(news);
        if self.buffer.len() > before {
            self.empty_reads = 0;
        }
        if !full {
            let pause = LOOK_AGAIN_MS << self.empty_reads.min(4);
            self.empty_reads = self.empty_reads.saturating_add(1);
            // What nobody told us of (rows in the air that land, held rows that a person releases) is found by and by.
            self.look_at = (now + pause * 2).min(next.unwrap_or(i64::MAX)).max(now + 1);
            if !stale.is_empty() {
                self.look_at = now;
            }
        }
    }
}

/// What may happen at a place.
pub(super) struct Spot {
    /// Connections that the route allows.
    pub(super) limit: usize,
    /// Connections that we allow ourselves after complaints of the other side.
    pub(super) eased: usize,
    pub(super) eased_at: i64,
    pub(super) couriers: usize,
    pub(super) idle: usize,
    pub(super) wake: Arc<Notify>,
    pub(super) urgent: Turns<Flow>,
    pub(super) in_turn: Turns<Flow>,
    pub(super) lanes: HashMap<Flow, VecDeque<LaneId>>,
    pub(super) blocked: Option<(WaitingFor, i64)>,
}

impl Spot {
    fn new(limit: usize) -> Spot {
        Spot {
            limit,
            eased: limit,
            eased_at: 0,
            couriers: 0,
            idle: 0,
            wake: Arc::new(Notify::new()),
            urgent: Turns::default(),
            in_turn: Turns::default(),
            lanes: HashMap::new(),
            blocked: None,
        }
    }

    pub(super) fn allowed(&self) -> usize {
        self.limit.min(self.eased).max(1)
    }
}

/// The limits of a route.
pub(super) struct RouteLimits {
    pub(super) per_second: u32,
    pub(super) pace: Pace,
    pub(super) per_day: u32,
    pub(super) day: Option<DayGrant>,
    pub(super) asking: bool,
}

/// Whether deliveries of a flow may be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    Shut(WaitingFor),
    /// The campaign was stopped: forget its rows.
    Over,
}

impl Gate {
    /// The rule of a campaign's state and its workspace's.
    pub(crate) fn of(state: Option<CampaignState>, suspended: bool) -> Gate {
        match state {
            _ if suspended => Gate::Shut(WaitingFor::Suspension),
            None | Some(CampaignState::Sending) => Gate::Open,
            Some(CampaignState::Paused) => Gate::Shut(WaitingFor::Resume),
            Some(CampaignState::Stopped | CampaignState::Done) => Gate::Over,
            Some(CampaignState::Draft | CampaignState::Scheduled | CampaignState::Freezing | CampaignState::Missed) => {
                Gate::Shut(WaitingFor::Resume)
            }
        }
    }
}

pub(super) struct State {
    pub(super) lanes: HashMap<LaneId, LaneEntry>,
    pub(super) spots: BTreeMap<Place, Spot>,
    pub(super) routes: HashMap<RouteId, RouteLimits>,
    pub(super) campaigns: HashMap<CampaignId, Gate>,
    pub(super) suspended: HashSet<WorkspaceId>,
    /// Flows that lack something, and until when nobody asks again, milliseconds UTC.
    pub(super) stuck: HashMap<Flow, i64>,
    pub(super) couriers: usize,
    pub(super) most_couriers: usize,
    pub(super) no_space: bool,
    /// Places that want a courier and get none, because the node has all it may have.
    pub(super) hungry: VecDeque<Place>,
}

impl State {
    pub(super) fn new(most_couriers: usize) -> State {
        State {
            lanes: HashMap::new(),
            spots: BTreeMap::new(),
            routes: HashMap::new(),
            campaigns: HashMap::new(),
            suspended: HashSet::new(),
            stuck: HashMap::new(),
            couriers: 0,
            most_couriers,
            no_space: false,
            hungry: VecDeque::new(),
        }
    }

    pub(super) fn gate(&self, flow: Flow, now: i64) -> Gate {
        if self.stuck.get(&flow).is_some_and(|until| now < *until) {
            return Gate::Shut(WaitingFor::Setup);
        }
        match flow {
            Flow::Campaign(campaign) => {
                self.campaigns.get(&campaign).copied().unwrap_or(Gate::Shut(WaitingFor::Resume))
            }
            Flow::Single(workspace, _) if self.suspended.contains(&workspace) => Gate::Shut(WaitingFor::Suspension),
            Flow::Single(..) => Gate::Open,
        }
    }

    /// Adds a lane, or gives a present one its new plan.
    pub(super) fn put_lane(&mut self, lease: LaneLease, plan: Arc<Plan>, nodes: usize) {
        let settings = &plan.route.settings;
        let per_second = match settings.kind {
            RouteKind::Mx => settings.per_second,
            // One account for all nodes: each takes its share.
            RouteKind::Smarthost if settings.per_second == 0 => 0,
            RouteKind::Smarthost => (settings.per_second / u32::try_from(nodes).unwrap_or(1).max(1)).max(1),
        };
        let limits = self.routes.entry(plan.route.id).or_insert_with(|| RouteLimits {
            per_second,
            pace: Pace::new(per_second),
            per_day: plan.route.settings.per_day,
            day: None,
            asking: false,
        });
        if limits.per_second != per_second {
            limits.per_second = per_second;
            limits.pace = Pace::new(per_second);
        }
        if limits.per_day != plan.route.settings.per_day {
            limits.per_day = plan.route.settings.per_day;
            limits.day = None;
        }
        let id = lease.lane;
        let known = self.lanes.get(&id).map(|l| (l.lease.epoch, l.place.clone()));
        match known {
            Some((epoch, _)) if epoch != lease.epoch => {
                // Lost and won again in between: nothing that we remember of it counts.
                self.drop_lane(id);
                self.lanes.insert(id, LaneEntry::new(lease, plan));
            }
            Some((_, place)) => {
                if place != plan.place(&lease.site) {
                    self.leave_spot(id);
                }
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.place = plan.place(&lease.site);
                    lane.plan = plan;
                }
            }
            None => {
                self.lanes.insert(id, LaneEntry::new(lease, plan));
            }
        }
        self.enter_spot(id);
    }

    /// Lists the lane at its place.
    fn enter_spot(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        if lane.lease.site == crate::sites::UNRESOLVED && lane.place.site == crate::sites::UNRESOLVED {
            return; // nothing is connected to from here: rows move to the lane of their site
        }
        let limit = usize::from(lane.plan.route.settings.connections.max(1));
        let spot = self.spots.entry(lane.place.clone()).or_insert_with(|| Spot::new(limit));
        if spot.limit != limit {
            spot.limit = limit;
            spot.eased = limit;
        }
        let list = spot.lanes.entry(Flow::of(&lane.plan)).or_default();
        if !list.contains(&id) {
            list.push_back(id);
        }
        if !lane.buffer.is_empty() {
            self.queue_up(id);
        }
    }

    fn leave_spot(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let flow = Flow::of(&lane.plan);
        if let Some(spot) = self.spots.get_mut(&lane.place)
            && let Some(list) = spot.lanes.get_mut(&flow)
        {
            list.retain(|l| *l != id);
            if list.is_empty() {
                spot.lanes.remove(&flow);
                spot.urgent.leave(flow);
                spot.in_turn.leave(flow);
            }
        }
    }

    /// Forgets a lane that is not ours any more.
    pub(super) fn drop_lane(&mut self, id: LaneId) {
        self.leave_spot(id);
        self.lanes.remove(&id);
    }

    /// Gives the flow of a lane with rows its turns.
    pub(super) fn queue_up(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let flow = Flow::of(&lane.plan);
        if let Some(spot) = self.spots.get_mut(&lane.place) {
            match lane.plan.stream {
                Stream::Transactional => spot.urgent.enter(flow),
                Stream::Marketing => spot.in_turn.enter(flow),
            }
        }
    }

    /// Rows in memory that may be handed out at a place, at most `enough`.
    pub(super) fn ready_rows(&self, place: &Place, enough: usize, now: i64) -> usize {
        let Some(spot) = self.spots.get(place) else { return 0 };
        let mut rows = 0;
        for (flow, lanes) in &spot.lanes {
            if self.gate(*flow, now) != Gate::Open {
                continue;
            }
            rows += lanes
                .iter()
                .filter_map(|id| self.lanes.get(id))
                .filter(|l| !l.leaving)
                .map(|l| l.buffer.len())
                .sum::<usize>();
            if rows >= enough {
                break;
            }
        }
        rows
    }

    pub(super) fn land(&mut self, lane: LaneId, delivery: DeliveryId, landing: Landing) {
        let Some(lane) = self.lanes.get_mut(&lane) else { return };
        if lane.air.remove(&delivery) && lane.reading {
            lane.landed_while_reading.insert(delivery);
        }
        match landing {
            Landing::Later(at) => {
                lane.look_at = lane.look_at.min(at);
                lane.empty_reads = 0;
            }
            Landing::Gone => {}
        }
    }

    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let mut found = Vec::new();
        for (place, spot) in &self.spots {
            for (flow, lanes) in &spot.lanes {
                let mut rows = lanes.iter().filter_map(|id| self.lanes.get(id)).filter(|l| !l.buffer.is_empty());
                let Some(lane) = rows.next() else { continue };
                let (reason, until) = match self.gate(*flow, i64::MIN) {
                    Gate::Shut(reason) => (reason, None),
                    Gate::Over => continue,
                    Gate::Open if self.stuck.contains_key(flow) => (WaitingFor::Setup, self.stuck.get(flow).copied()),
                    Gate::Open if self.no_space => (WaitingFor::Space, None),
                    Gate::Open => match spot.blocked {
                        Some((reason, until)) => (reason, Some(until)),
                        None => (WaitingFor::Connection, None),
                    },
                };
                found.push(Waiting {
                    campaign: lane.plan.campaign,
                    workspace: lane.plan.workspace,
                    site: place.site.clone(),
                    reason,
                    until,
                });
            }
        }
        found
    }
}
