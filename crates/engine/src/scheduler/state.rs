//! The scheduler's memory: plain data and the moves on it, no waiting.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::{CampaignId, DeliveryId, LaneId, WorkspaceId};
use postrider_domain::route::RouteKind;
use postrider_domain::shaping::{FlowView, Hold, HoldReason, SiteView};
use postrider_domain::steering::SteerRule;
use postrider_domain::stream::Stream;
use postrider_store::lane::{LaneCursor, LaneLease, QueueRow};
use tokio::sync::Notify;

use super::Landing;
use super::egress::Egress;
use super::own_limits::{LimitOf, Rates, RouteLimits};
use super::site::{Sites, in_utc};
use super::steer::{LaneSteer, Steering};
use crate::fair::Turns;
use crate::plan::{Flow, Place, Plan, Source, Waiting, WaitingFor};

/// Sites told to people at a time, the busiest ones.
const TOLD: usize = 500;

/// A lane without known rows is read again after twice this time, in case nobody rang; doubles up to half a minute.
const LOOK_AGAIN_MS: i64 = 1_000;

/// A lane that we own.
pub(super) struct LaneEntry {
    pub(super) lease: LaneLease,
    pub(super) plan: Arc<Plan>,
    /// The site to which its rows are connected.
    pub(super) site: String,
    /// The places of its rows: one for each source of each pool.
    pub(super) places: Vec<Place>,
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
    /// A domain in it has another site now: when nothing is in the air its rows are sorted anew.
    pub(super) resort: bool,
    /// What the rules of the queue mean for it.
    pub(super) steer: LaneSteer,
    /// Up to where rules keep rows back, and since when: reads begin behind.
    pub(super) passed: Option<(LaneCursor, i64)>,
    /// Rules kept rows back in the reads since the first one.
    pub(super) keeping_back: bool,
    /// What a read under way gives is out of date.
    pub(super) again: bool,
}

impl LaneEntry {
    pub(super) fn new(lease: LaneLease, plan: Arc<Plan>) -> LaneEntry {
        LaneEntry {
            look_at: lease.next_at.unwrap_or(i64::MAX),
            site: plan.site(&lease.site),
            places: Vec::new(),
            lease,
            plan,
            buffer: VecDeque::new(),
            cursor: None,
            more: false,
            reading: false,
            empty_reads: 0,
            first_seen: None,
            air: HashSet::new(),
            landed_while_reading: HashSet::new(),
            leaving: false,
            resort: false,
            steer: LaneSteer::default(),
            passed: None,
            keeping_back: false,
            again: false,
        }
    }

    /// Rows in memory that may go by a place, at most `enough`.
    fn rows_for(&self, place: &Place, enough: usize) -> usize {
        match self.plan.pools.as_slice() {
            [_] => self.buffer.len(),
            _ => self.buffer.iter().filter(|row| self.plan.pool_of(row) == place.pool).take(enough).count(),
        }
    }

    /// Whether a row may go by a place.
    pub(super) fn fits(&self, place: &Place, row: &QueueRow) -> bool {
        self.plan.pools.len() == 1 || self.plan.pool_of(row) == place.pool
    }

    /// Where the next row lies that may go by a place, one of the domain `prefer` first.
    pub(super) fn position(&self, place: &Place, prefer: Option<&str>) -> Option<usize> {
        let fits = |row: &QueueRow| self.fits(place, row);
        // Rows of the domain that the connection already serves come first: other domains of the site may have other
        // hosts, and changing the host costs a new connection.
        let near = prefer.and_then(|domain| self.buffer.iter().position(|row| row.domain == domain && fits(row)));
        near.or_else(|| self.buffer.iter().position(fits))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.buffer.is_empty() && self.air.is_empty() && !self.more && !self.reading
    }

    /// Whether a read is due: rows may follow the cursor and few are left, or the time has come.
    pub(super) fn wants_read(&self, now: i64, most: usize) -> bool {
        if self.reading || self.leaving || self.resort || self.waits_for_rule(now) {
            return false;
        }
        if self.more { self.buffer.len() < most / 4 + 1 } else { self.buffer.is_empty() && self.look_at <= now }
    }

    /// Takes in what a read gave; `next` is the time of the first row that is not ready yet.
    /// `last` is the last row of a read that gave as many as were asked for, rules of the queue left only `rows` of it.
    pub(super) fn take_in(
        &mut self,
        rows: Vec<QueueRow>,
        (full, last): (bool, Option<LaneCursor>),
        next: Option<i64>,
        now: i64,
    ) {
        self.reading = false;
        self.cursor = if full { last } else { None };
        self.more = full;
        if !full {
            self.note_passed(last, now);
        }
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
            let pause = if self.passed.is_some() { LOOK_AGAIN_MS / 2 } else { pause };
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
    /// The limits of its source × site.
    pub(super) site: u32,
    pub(super) couriers: usize,
    /// Couriers that were told to end and have not yet.
    pub(super) ending: usize,
    pub(super) idle: usize,
    /// One of the idle ones waits for the pace; the others wait for it.
    pub(super) pacing: bool,
    pub(super) wake: Arc<Notify>,
    pub(super) urgent: Turns<Flow>,
    pub(super) in_turn: Turns<Flow>,
    pub(super) lanes: HashMap<Flow, VecDeque<LaneId>>,
    /// Why nothing was handed out when it was asked for last; milliseconds UTC.
    pub(super) blocked: Option<Hold>,
    /// The source itself cannot take anything before this time, milliseconds UTC: others may take its share.
    pub(super) own_block_until: i64,
    /// Nothing of the site stands against it, only the route: it takes no turn from other workspaces before this time.
    pub(super) route_block_until: i64,
    /// Whose.
    pub(super) workspace: WorkspaceId,
}

impl Spot {
    /// Whether it competes for the pace of its site.
    pub(super) const fn waits_for_site(&self, now: i64) -> bool {
        self.route_block_until <= now
    }

    fn new(limit: usize, site: u32, workspace: WorkspaceId) -> Spot {
        Spot {
            limit,
            site,
            workspace,
            own_block_until: i64::MIN,
            route_block_until: i64::MIN,
            couriers: 0,
            ending: 0,
            idle: 0,
            pacing: false,
            wake: Arc::new(Notify::new()),
            urgent: Turns::default(),
            in_turn: Turns::default(),
            lanes: HashMap::new(),
            blocked: None,
        }
    }
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
    pub(super) sites: Sites,
    pub(super) limits: HashMap<LimitOf, RouteLimits>,
    pub(super) egress: Egress,
    pub(super) campaigns: HashMap<CampaignId, Gate>,
    pub(super) suspended: HashSet<WorkspaceId>,
    /// Flows that lack something, and until when nobody asks again, milliseconds UTC.
    pub(super) stuck: HashMap<Flow, i64>,
    pub(super) couriers: usize,
    pub(super) most_couriers: usize,
    pub(super) no_space: bool,
    /// Places that want a courier and get none, because the node has all it may have.
    pub(super) hungry: VecDeque<Place>,
    /// The rules of the queue.
    pub(super) steering: Steering,
}

impl State {
    pub(super) fn new(most_couriers: usize) -> State {
        State {
            lanes: HashMap::new(),
            spots: BTreeMap::new(),
            sites: Sites::default(),
            limits: HashMap::new(),
            egress: Egress::default(),
            campaigns: HashMap::new(),
            suspended: HashSet::new(),
            stuck: HashMap::new(),
            couriers: 0,
            most_couriers,
            no_space: false,
            hungry: VecDeque::new(),
            steering: Steering::default(),
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
        let of_route =
            Rates { per_second: settings.per_second, per_hour: settings.per_hour, per_day: settings.per_day };
        // One account for all nodes: each takes its share.
        let nodes = match settings.kind {
            RouteKind::Mx => 1,
            RouteKind::Smarthost => nodes,
        };
        self.limit(LimitOf::Route(plan.route.id), of_route.part(nodes));
        for host in &settings.hosts {
            let source = Source::Host(plan.route.id, Arc::from(host.host.as_str()));
            let rates = Rates { per_second: host.per_second, per_hour: host.per_hour, per_day: host.per_day };
            self.limit(LimitOf::Source(source), rates.part(nodes));
        }
        let id = lease.lane;
        let known = self.lanes.get(&id).map(|l| l.lease.epoch);
        match known {
            Some(epoch) if epoch != lease.epoch => {
                // Lost and won again in between: nothing that we remember of it counts.
                self.drop_lane(id);
                self.lanes.insert(id, LaneEntry::new(lease, plan));
            }
            Some(_) => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.site = plan.site(&lease.site);
                    lane.plan = plan;
                }
            }
            None => {
                self.lanes.insert(id, LaneEntry::new(lease, plan));
            }
        }
        self.place_lane(id);
    }

    /// Sets what a route, host or source allows.
    pub(super) fn limit(&mut self, of: LimitOf, rates: Rates) {
        match self.limits.entry(of) {
            std::collections::hash_map::Entry::Occupied(mut limits) => limits.get_mut().set(rates),
            std::collections::hash_map::Entry::Vacant(place) if rates != Rates::default() => {
                place.insert(RouteLimits::new(rates));
            }
            std::collections::hash_map::Entry::Vacant(_) => {}
        }
    }

    /// Lists the lane at the places that its plan has now, and nowhere else.
    pub(super) fn place_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let unresolved = lane.site == crate::sites::UNRESOLVED;
        // Nothing is connected to from an unresolved lane: rows move to the lane of their site.
        let places = if unresolved { Vec::new() } else { self.egress.places(&lane.plan, &lane.lease.site) };
        if lane.places != places {
            self.leave_spots(id);
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.places = places;
        }
        self.steer_lane(id);
        self.enter_spots(id);
    }

    /// Lists the lane at its places.
    fn enter_spots(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let limit = usize::from(lane.plan.route.settings.connections.max(1));
        let workspace = lane.plan.workspace;
        for place in &lane.places {
            let sites = &mut self.sites;
            let spot = self
                .spots
                .entry(place.clone())
                .or_insert_with(|| Spot::new(limit, sites.enter(&place.source, &place.site, workspace), workspace));
            spot.limit = limit;
            let list = spot.lanes.entry(Flow::of(&lane.plan)).or_default();
            if !list.contains(&id) {
                list.push_back(id);
            }
        }
        if !lane.buffer.is_empty() {
            self.queue_up(id);
        }
    }

    fn leave_spots(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let flow = Flow::of(&lane.plan);
        for place in &lane.places {
            if let Some(spot) = self.spots.get_mut(place)
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
    }

    /// Forgets a lane that is not ours any more.
    pub(super) fn drop_lane(&mut self, id: LaneId) {
        self.leave_spots(id);
        self.lanes.remove(&id);
    }

    /// Gives the flow of a lane with rows its turns.
    pub(super) fn queue_up(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(&id) else { return };
        let flow = Flow::of(&lane.plan);
        let weight = self.egress.flow_weight(flow);
        for place in &lane.places {
            if let Some(spot) = self.spots.get_mut(place) {
                match lane.plan.stream {
                    Stream::Transactional => spot.urgent.enter(flow, weight),
                    Stream::Marketing => spot.in_turn.enter(flow, weight),
                }
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
                .filter(|l| !l.leaving && !l.resort && l.shut_at(place, now).is_none())
                .map(|l| l.rows_for(place, enough))
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
            Landing::Unchanged => lane.read_anew(),
            Landing::Gone => {}
        }
    }

    /// Workspaces have set other limits: places go to the entries that count for them now.
    pub(super) fn settings_changed(&mut self, monotonic: i64) {
        let mut moved = Vec::new();
        for (place, spot) in &self.spots {
            let lane = spot.lanes.values().flatten().find_map(|id| self.lanes.get(id));
            if let Some(lane) = lane.filter(|l| self.sites.has_moved(spot.site, l.plan.workspace)) {
                moved.push((place.clone(), lane.plan.workspace));
            }
        }
        for (place, workspace) in moved {
            let Some(spot) = self.spots.get_mut(&place) else { continue };
            let before = spot.site;
            spot.site = self.sites.enter(&place.source, &place.site, workspace);
            for _ in 0..spot.couriers {
                self.sites.courier_ends(before);
                self.sites.courier_begins(spot.site);
            }
            spot.wake.notify_waiters();
            self.sites.leave(before, monotonic);
        }
    }

    /// Forgets a place to which nothing goes any more.
    pub(super) fn drop_spot(&mut self, place: &Place, monotonic: i64) {
        if let Some(spot) = self.spots.remove(place) {
            self.sites.leave(spot.site, monotonic);
            if self.sites.get_mut(spot.site).is_none_or(|entry| entry.spots < 2) {
                self.site_gone(spot.site);
            }
        }
    }

    /// What holds back a flow at a place, and at all others that its mail may leave by; times are milliseconds UTC.
    fn flow_hold(&mut self, place: &Place, flow: Flow, now: i64, monotonic: i64) -> Option<Hold> {
        let hold = self.place_hold(place, flow, now, monotonic)?;
        let others = self.egress.group(place);
        if others.len() < 2 {
            return Some(hold);
        }
        let holds: Vec<Option<Hold>> =
            others.iter().map(|other| self.place_hold(other, flow, now, monotonic)).collect();
        // What one cannot take another one does: the flow waits for whichever can first.
        let holds: Vec<Hold> = holds.into_iter().collect::<Option<_>>()?;
        holds.into_iter().min_by_key(|hold| hold.until.unwrap_or(i64::MAX))
    }

    fn place_hold(&mut self, place: &Place, flow: Flow, now: i64, monotonic: i64) -> Option<Hold> {
        match self.gate(flow, now) {
            Gate::Shut(WaitingFor::Setup) => {
                return Some(Hold { until: self.stuck.get(&flow).copied(), ..Hold::of(HoldReason::Setup) });
            }
            Gate::Shut(reason) => return Some(Hold::of(reason.reason())),
            Gate::Over => return None,
            Gate::Open if self.no_space => return Some(Hold::of(HoldReason::Space)),
            Gate::Open => {}
        }
        if let Some(hold) = self.egress.unusable(place, now) {
            return Some(hold);
        }
        let spot = self.spots.get(place)?;
        if let Some(hold) = spot.blocked.clone().filter(|hold| hold.until.is_none_or(|until| until >= now)) {
            return Some(hold);
        }
        let hold = self.sites.get_mut(spot.site)?.shaper.hold(monotonic);
        hold.map(|hold| in_utc(hold, monotonic, now))
    }

    /// What stands against a source at a site on our own side.
    fn egress_hold(&self, place: &Place, spot: &Spot, now: i64) -> Option<Hold> {
        let warming = |hold: &&Hold| hold.reason == HoldReason::WarmUp && hold.until.is_none_or(|until| until >= now);
        self.egress.unusable(place, now).or_else(|| spot.blocked.as_ref().filter(warming).cloned())
    }

    fn flows(&self) -> Vec<(Place, Flow)> {
        self.spots.iter().flat_map(|(p, s)| s.lanes.keys().map(|flow| (p.clone(), *flow))).collect()
    }

    pub(super) fn waiting(&mut self, now: i64, monotonic: i64) -> Vec<Waiting> {
        let mut found = Vec::new();
        for (place, flow) in self.flows() {
            let lanes = self.spots.get(&place).and_then(|s| s.lanes.get(&flow));
            let mut rows = lanes
                .into_iter()
                .flatten()
                .filter_map(|id| self.lanes.get(id))
                .filter(|l| !l.buffer.is_empty() || l.kept_back_at(&place, now).is_some());
            let Some(lane) = rows.next() else { continue };
            let (campaign, workspace) = (lane.plan.campaign, lane.plan.workspace);
            if self.gate(flow, now) == Gate::Over {
                continue;
            }
            let by_rule = lane.kept_back_at(&place, now).map(SteerRule::hold);
            let hold =
                self.flow_hold(&place, flow, now, monotonic).or(by_rule).unwrap_or(Hold::of(HoldReason::Connection));
            found.push(Waiting {
                campaign,
                workspace,
                site: place.site.clone(),
                reason: WaitingFor::of(hold.reason),
                until: hold.until,
            });
        }
        found
    }

    /// What people see of each source × site, the busiest ones first.
    pub(super) fn views(&mut self, now: i64, monotonic: i64) -> Vec<SiteView> {
        let mut flows: HashMap<u32, Vec<FlowView>> = HashMap::new();
        // A lane may leave by several sources and is none's before the hand-out: it is counted at the first one only, so
        // that the figures of a site add up.
        let mut counted: HashSet<LaneId> = HashSet::new();
        let egress: HashMap<u32, Hold> =
            self.spots.iter().filter_map(|(p, s)| Some((s.site, self.egress_hold(p, s, now)?))).collect();
        for (place, flow) in self.flows() {
            let hold = self.flow_hold(&place, flow, now, monotonic);
            let Some(spot) = self.spots.get(&place) else { continue };
            let lanes = spot.lanes.get(&flow).into_iter().flatten().filter_map(|id| Some((*id, self.lanes.get(id)?)));
            let mut by_site: BTreeMap<&str, FlowView> = BTreeMap::new();
            for (id, lane) in lanes {
                let view = by_site.entry(&lane.lease.site).or_insert_with(|| FlowView {
                    workspace: lane.plan.workspace,
                    campaign: lane.plan.campaign,
                    stream: lane.plan.stream,
                    lane_site: lane.lease.site.clone(),
                    ready: 0,
                    more: false,
                    claimed: 0,
                    hold: hold.clone(),
                });
                if counted.insert(id) {
                    view.ready += lane.buffer.len();
                    view.more |= lane.more;
                    view.claimed += lane.air.len();
                }
                if view.hold.is_none() {
                    view.hold = lane.kept_back_at(&place, now).map(SteerRule::hold);
                }
            }
            flows.entry(spot.site).or_default().extend(by_site.into_values());
        }
        let mut views: Vec<SiteView> = Vec::new();
        for (number, entry) in self.sites.iter_mut() {
            let flows = flows.remove(&number).unwrap_or_default();
            let hold = entry.shaper.hold(monotonic).map(|hold| in_utc(hold, monotonic, now));
            let hold = egress.get(&number).cloned().or(hold);
            if flows.is_empty() && hold.is_none() {
                continue;
            }
            let finite = |n: u32| (n < u32::MAX).then_some(n);
            views.push(SiteView {
                source: entry.key.source.to_string(),
                site: entry.key.site.clone(),
                own: entry.key.own,
                connections: entry.couriers,
                connections_allowed: finite(entry.shaper.connections(monotonic)),
                rate: (entry.shaper.accepted_rate(monotonic) * 100.0).round() / 100.0,
                rate_allowed: entry.shaper.rate(),
                per_connection: finite(entry.shaper.per_connection(monotonic)),
                replies: entry.replies(),
                hold,
                flows,
            });
        }
        // All sources of a site together, so that what is cut off at the end are whole sites, but for the last one.
        let mut loads: HashMap<String, usize> = HashMap::new();
        for view in &views {
            *loads.entry(view.site.clone()).or_default() +=
                view.flows.iter().map(|f| f.ready + f.claimed).sum::<usize>();
        }
        let load = |v: &SiteView| loads.get(&v.site).copied().unwrap_or(0);
        views.sort_by(|a, b| load(b).cmp(&load(a)).then_with(|| (&a.site, &a.source).cmp(&(&b.site, &b.source))));
        views.truncate(TOLD);
        views
    }
}
