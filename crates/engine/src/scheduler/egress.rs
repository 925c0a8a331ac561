//! Which source of a pool, or which host of a smarthost, takes the next message at a site; and whose turn it is where several
//! workspaces draw on the limits of the same source × site.
//!
//! Must not know how a connection is made.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use postrider_domain::egress::{PoolSettings, SourceSettings, SourceState};
use postrider_domain::id::{CampaignId, PoolId, RouteId, SourceId, WorkspaceId};
use postrider_domain::route::RouteKind;
use postrider_domain::shaping::{Hold, HoldReason};
use postrider_store::StoreError;

use super::Scheduler;
use super::own_limits::{LimitOf, Rates};
use super::state::State;
use super::warm::{WarmCheck, WarmUps};
use crate::fair::Share;
use crate::plan::{Flow, Place, Plan, Source};

/// How long one waits for a source whose turn it is, at least, in milliseconds; transactional mail waits less.
const PATIENCE_MS: i64 = 2_000;
const URGENT_PATIENCE_MS: i64 = 100;
/// Whoever waits for the turn of another looks again after this time, if it is not woken.
const TURN_MS: i64 = 25;
/// A host or source that could not be used is left alone for this time, twice as long each time it fails again.
const LEFT_ALONE_MS: i64 = 60_000;
const LONGEST_LEFT_ALONE_MS: i64 = 15 * 60_000;

/// A source as this node has it.
#[derive(Debug, Clone)]
pub(crate) struct SourceHere {
    pub(crate) settings: SourceSettings,
    /// Those of its addresses that belong to this machine.
    pub(crate) here: Vec<IpAddr>,
    /// Why nothing can leave by it from this node.
    pub(crate) lack: Option<String>,
}

/// From where a connection is made and what it says in EHLO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// Name for the attempt; empty when no source is configured.
    pub(crate) name: String,
    /// The addresses to connect from; `None` leaves the choice to the system.
    pub(crate) bind: Option<(Option<Ipv4Addr>, Option<Ipv6Addr>)>,
    /// The EHLO name, when it is not the node's.
    pub(crate) ehlo: Option<String>,
}

/// Everything of egress that the engine reads again from time to time.
#[derive(Default)]
pub(crate) struct EgressNews {
    pub(crate) sources: HashMap<SourceId, SourceHere>,
    pub(crate) pools: HashMap<PoolId, PoolSettings>,
    pub(crate) workspaces: HashMap<WorkspaceId, u32>,
    pub(crate) campaigns: HashMap<CampaignId, u32>,
}

/// A source in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupMember {
    pub(super) source: Source,
    pub(super) weight: u32,
    /// Lower ones first.
    pub(super) priority: u16,
}

/// Sources that share the mail of a route for a site.
#[derive(Default)]
struct Group {
    members: Vec<GroupMember>,
    share: Share<Source>,
}

/// A place that waits for the same site, whose it is, and whether transactional mail waits there.
type Rival = (Place, WorkspaceId, bool);

type GroupKey = (RouteId, Option<PoolId>, String);

/// A place that is left alone.
struct LeftAlone {
    since: i64,
    until: i64,
    times: u32,
    why: String,
}

/// The state of egress.
#[derive(Default)]
pub(super) struct Egress {
    news: EgressNews,
    groups: HashMap<GroupKey, Group>,
    alone: HashMap<Place, LeftAlone>,
    pub(super) warm: WarmUps,
    /// What was told of sources that cannot be used here.
    told: Option<Vec<(SourceId, String)>>,
    /// By source × site: the shares of the workspaces that use it.
    turns: HashMap<u32, Share<WorkspaceId>>,
}

/// What stands against the next message of a place.
pub(super) enum Against {
    /// Wait, for this reason when it is one that people are told.
    Wait(i64, Option<Hold>),
    /// The store has to be asked about the warm-up.
    Ask(SourceId),
}

fn key(place: &Place) -> GroupKey {
    (place.route, place.pool, place.site.clone())
}

impl Egress {
    /// The sources that mail of a plan may leave by in one of its pools.
    fn members(&self, plan: &Plan, pool: Option<PoolId>) -> Vec<GroupMember> {
        let one = |source| vec![GroupMember { source, weight: 1, priority: 0 }];
        match (plan.route.settings.kind, pool) {
            (RouteKind::Smarthost, _) if plan.route.settings.hosts.is_empty() => one(Source::Route(plan.route.id)),
            (RouteKind::Smarthost, _) => {
                let member = |h: &postrider_domain::route::RelayHost| GroupMember {
                    source: Source::Host(plan.route.id, Arc::from(h.host.as_str())),
                    weight: h.weight,
                    priority: h.priority,
                };
                plan.route.settings.hosts.iter().map(member).collect()
            }
            (RouteKind::Mx, None) => one(Source::Direct),
            (RouteKind::Mx, Some(pool)) => {
                let open = self.news.pools.get(&pool).filter(|p| p.is_open_to(plan.workspace));
                match open {
                    Some(settings) => settings
                        .members
                        .iter()
                        .map(|m| GroupMember { source: Source::Egress(m.source), weight: m.weight, priority: 0 })
                        .collect(),
                    // Nothing leaves from somewhere else only because a pool is gone.
                    None => one(Source::Egress(SourceId(0))),
                }
            }
        }
    }

    /// The places of a plan's mail at a site; the groups that share it know of them from now on.
    pub(super) fn places(&mut self, plan: &Plan, lane_site: &str) -> Vec<Place> {
        let site = plan.site(lane_site);
        let mut places = Vec::new();
        for pool in &plan.pools {
            let members = self.members(plan, *pool);
            let group = self.groups.entry((plan.route.id, *pool, site.clone())).or_default();
            if group.members != members {
                group.share.retain(|s| members.iter().any(|m| m.source == *s));
                members.iter().for_each(|m| group.share.put(&m.source, m.weight));
                group.members.clone_from(&members);
            }
            places.extend(members.into_iter().map(|m| Place {
                route: plan.route.id,
                pool: *pool,
                source: m.source,
                site: site.clone(),
            }));
        }
        places
    }

    /// The other places of the group of a place, with their priorities.
    fn others(&self, place: &Place) -> (u16, Vec<(u16, Place)>) {
        let Some(group) = self.groups.get(&key(place)).filter(|g| g.members.len() > 1) else { return (0, Vec::new()) };
        let mine = group.members.iter().find(|m| m.source == place.source).map_or(0, |m| m.priority);
        let others = group.members.iter().filter(|m| m.source != place.source);
        (mine, others.map(|m| (m.priority, Place { source: m.source.clone(), ..place.clone() })).collect())
    }

    /// The places between which the mail of a place can choose, itself among them.
    pub(super) fn group(&self, place: &Place) -> Vec<Place> {
        let (_, others) = self.others(place);
        std::iter::once(place.clone()).chain(others.into_iter().map(|(_, other)| other)).collect()
    }

    /// Forgets groups without places.
    fn tidy(&mut self, used: &HashSet<GroupKey>, now: i64) {
        self.groups.retain(|key, _| used.contains(key));
        self.alone.retain(|_, left| left.until + LONGEST_LEFT_ALONE_MS > now);
    }

    /// Why a place cannot be used at all, if so. Times are milliseconds UTC.
    pub(super) fn unusable(&self, place: &Place, now: i64) -> Option<Hold> {
        let hold = |detail: String| Hold { detail, ..Hold::of(HoldReason::Egress) };
        if let Some(left) = self.alone.get(place).filter(|left| now < left.until) {
            return Some(Hold { since: Some(left.since), until: Some(left.until), ..hold(left.why.clone()) });
        }
        let Source::Egress(id) = &place.source else { return None };
        let Some(source) = self.news.sources.get(id) else {
            return Some(hold("the pool of the route is not there any more, or has no source".into()));
        };
        let name = &source.settings.name;
        match source.settings.state {
            SourceState::Active => source.lack.clone().map(hold),
            SourceState::Draining => Some(hold(format!("the source {name} is draining"))),
            SourceState::Off => Some(hold(format!("the source {name} is switched off"))),
        }
    }

    /// Whether what was handed out for a place goes, although it takes nothing new: only a source that is off does not.
    pub(super) fn is_off(&self, source: &Source) -> bool {
        let Source::Egress(id) = source else { return false };
        self.news.sources.get(id).is_none_or(|s| s.settings.state == SourceState::Off)
    }

    fn warm(&mut self, place: &Place, now: i64) -> WarmCheck {
        let Source::Egress(id) = &place.source else { return WarmCheck::Free };
        match self.news.sources.get(id) {
            Some(source) if source.settings.warm_up.is_some() => self.warm.check(*id, &place.site, now),
            Some(_) | None => WarmCheck::Free,
        }
    }

    pub(super) fn is_warming(&self, source: &Source) -> Option<SourceId> {
        let Source::Egress(id) = source else { return None };
        self.news.sources.get(id).filter(|s| s.settings.warm_up.is_some()).map(|_| *id)
    }

    pub(super) fn workspace_weight(&self, workspace: WorkspaceId) -> u32 {
        self.news.workspaces.get(&workspace).copied().unwrap_or(1)
    }

    pub(super) fn flow_weight(&self, flow: Flow) -> u32 {
        match flow {
            Flow::Campaign(campaign) => self.news.campaigns.get(&campaign).copied().unwrap_or(1),
            Flow::Single(..) => 1,
        }
    }

    /// From where connections of a source are made.
    pub(super) fn leaving(&self, source: &Source) -> Leaving {
        match source {
            Source::Direct | Source::Route(_) => Leaving::default(),
            Source::Host(_, host) => Leaving { name: host.to_string(), ..Leaving::default() },
            Source::Egress(id) => match self.news.sources.get(id) {
                Some(source) => Leaving {
                    name: source.settings.name.clone(),
                    bind: Some((
                        source.settings.ipv4.filter(|ip| source.here.contains(&IpAddr::V4(*ip))),
                        source.settings.ipv6.filter(|ip| source.here.contains(&IpAddr::V6(*ip))),
                    )),
                    ehlo: Some(source.settings.ehlo_name.clone()),
                },
                // It went away a moment ago: no address is as good as another one.
                None => Leaving { bind: Some((None, None)), ..Leaving::default() },
            },
        }
    }

    /// A place could not be used: it is left alone for a while.
    fn leave_alone(&mut self, place: &Place, why: &str, now: i64) {
        let times = self.alone.get(place).map_or(0, |left| left.times);
        let rest = (LEFT_ALONE_MS << times.min(8)).min(LONGEST_LEFT_ALONE_MS);
        let why = why.chars().take(200).collect();
        self.alone.insert(place.clone(), LeftAlone { since: now, until: now + rest, times: times + 1, why });
    }

    /// A place let us in.
    pub(super) fn reached(&mut self, place: &Place) {
        if !self.alone.is_empty() {
            self.alone.remove(place);
        }
    }
}

impl Scheduler {
    /// Reads sources, pools and weights again, and looks which addresses belong to this machine.
    pub(super) async fn refresh_egress(&self) {
        match self.egress_news().await {
            Ok(news) => {
                let now = self.shared.now();
                self.lock().set_egress(news, now);
            }
            Err(error) => self.shared.complain("ask for the egress sources", &error),
        }
    }

    async fn egress_news(&self) -> Result<EgressNews, StoreError> {
        let store = &self.shared.store;
        let me = self.shared.node.id;
        let mut news = EgressNews {
            workspaces: store.workspace_weights().await?,
            campaigns: store.campaign_weights().await?,
            ..EgressNews::default()
        };
        let sources = store.egress_sources().await?;
        if sources.is_empty() && self.lock().egress.news.sources.is_empty() {
            return Ok(news);
        }
        let mut problems = Vec::new();
        for source in sources {
            let here: Vec<IpAddr> =
                source.settings.addresses().filter(|ip| postrider_smtp::dial::is_own(*ip)).collect();
            let missing: Vec<String> =
                source.settings.addresses().filter(|ip| !here.contains(ip)).map(|ip| ip.to_string()).collect();
            let elsewhere = source.settings.node.is_some_and(|node| node != me);
            let name = &source.settings.name;
            let lack = if elsewhere {
                Some(format!("the source {name} belongs to another node"))
            } else {
                here.is_empty()
                    .then(|| format!("no address of the source {name} is on this machine: {}", missing.join(", ")))
            };
            // A source without a node of its own may well be missing on all but one.
            let expected = source.settings.node == Some(me) || self.shared.nodes() == 1;
            if expected && !missing.is_empty() && source.settings.state == SourceState::Active {
                problems.push((
                    source.id,
                    format!(
                        "this machine does not have {}: add it to an interface, or correct the source",
                        missing.join(", ")
                    ),
                ));
            }
            news.sources.insert(source.id, SourceHere { settings: source.settings, here, lack });
        }
        news.pools = store.egress_pools().await?.into_iter().map(|pool| (pool.id, pool.settings)).collect();
        self.tell_trouble(problems).await?;
        Ok(news)
    }

    /// Writes down what is wrong with sources on this node, when it is something else than before.
    async fn tell_trouble(&self, problems: Vec<(SourceId, String)>) -> Result<(), StoreError> {
        if self.lock().egress.told.as_ref() == Some(&problems) {
            return Ok(());
        }
        for (source, problem) in &problems {
            tracing::error!(event = "egress.address_missing", source = %source, problem);
        }
        self.shared.store.tell_egress_trouble(self.shared.node, &problems).await?;
        self.lock().egress.told = Some(problems);
        Ok(())
    }
}

impl State {
    /// Takes over what is known of egress; lanes go to their new places.
    pub(super) fn set_egress(&mut self, news: EgressNews, now: i64) {
        self.egress.warm.retain(|id| news.sources.get(&id).is_some_and(|s| s.settings.warm_up.is_some()));
        self.egress.warm.doubt();
        for (id, source) in &news.sources {
            let s = &source.settings;
            let rates = Rates { per_second: s.per_second, per_hour: s.per_hour, per_day: s.per_day };
            self.limit(LimitOf::Source(Source::Egress(*id)), rates);
        }
        self.egress.news = news;
        let lanes: Vec<_> = self.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|id| self.place_lane(id));
        let used = self.spots.keys().map(key).collect();
        self.egress.tidy(&used, now);
    }

    /// Whether a place could take mail now, as far as its source is concerned.
    fn is_able(&mut self, place: &Place, now: i64, monotonic: i64) -> bool {
        let Some(spot) = self.spots.get(place) else { return false };
        let (number, blocked) = (spot.site, spot.own_block_until > now);
        if blocked || self.egress.unusable(place, now).is_some() {
            return false;
        }
        match self.egress.warm(place, now) {
            WarmCheck::Free | WarmCheck::One | WarmCheck::Ask => {}
            WarmCheck::Held(_) => return false,
        }
        self.sites.get_mut(number).is_some_and(|entry| !entry.shaper.is_stopped(monotonic))
    }

    /// Whether a place may take a message now, as far as its source, its share and its warm-up are concerned.
    pub(super) fn against(
        &mut self,
        place: &Place,
        urgent: bool,
        gap: i64,
        now: i64,
        monotonic: i64,
    ) -> Option<Against> {
        if let Some(hold) = self.egress.unusable(place, now) {
            let wait = hold.until.map_or(1_000, |until| (until - now).clamp(1, 60_000));
            return Some(Against::Wait(wait, Some(hold)));
        }
        match self.egress.warm(place, now) {
            WarmCheck::Free | WarmCheck::One => {}
            WarmCheck::Ask => return self.egress.is_warming(&place.source).map(Against::Ask),
            WarmCheck::Held(hold) => {
                let wait = hold.until.map_or(1_000, |until| (until - now).clamp(1, 60_000));
                return Some(Against::Wait(wait, Some(hold)));
            }
        }
        let patience = if urgent { URGENT_PATIENCE_MS } else { PATIENCE_MS.max(3 * gap) };
        let (mine, others) = self.egress.others(place);
        if others.is_empty() {
            return None;
        }
        let able: Vec<(u16, Place)> =
            others.into_iter().filter(|(_, other)| self.is_able(other, now, monotonic)).collect();
        if let Some((_, first)) = able.iter().find(|(priority, _)| *priority < mine) {
            let first = first.clone();
            self.wake(&first);
            return Some(Against::Wait(1_000, None));
        }
        let group = self.egress.groups.get_mut(&key(place))?;
        let can = |s: &Source| able.iter().any(|(priority, p)| *priority == mine && p.source == *s);
        match group.share.may(&place.source, monotonic, patience, can) {
            Ok(()) => None,
            Err(turn) => {
                self.wake(&Place { source: turn, ..place.clone() });
                Some(Against::Wait(TURN_MS, None))
            }
        }
    }

    /// Whether another workspace has the next turn at a source × site whose pace is limited. Transactional mail of
    /// anybody passes marketing of anybody; among equals it goes by the weights of the workspaces.
    pub(super) fn against_workspace(&mut self, place: &Place, urgent: bool, now: i64, monotonic: i64) -> Option<i64> {
        let spot = self.spots.get(place)?;
        let (number, workspace) = (spot.site, spot.workspace);
        let entry = self.sites.get_mut(number).filter(|e| e.spots > 1)?;
        let gap = entry.shaper.gap_ms();
        // Where no pace is limited nobody takes anything away from anybody.
        entry.shaper.rate()?;
        let rivals: Vec<Rival> = self
            .spots
            .iter()
            .filter(|(_, s)| s.site == number && s.workspace != workspace && s.waits_for_site(now))
            .map(|(p, s)| (p.clone(), s.workspace, !s.urgent.is_empty()))
            .collect();
        let rivals: Vec<Rival> = rivals.into_iter().filter(|(p, ..)| self.ready_rows(p, 1, now) > 0).collect();
        if !urgent && let Some((rival, ..)) = rivals.iter().find(|(_, _, urgent)| *urgent) {
            let rival = rival.clone();
            self.wake(&rival);
            return Some(TURN_MS);
        }
        if rivals.is_empty() {
            return None;
        }
        let weights: Vec<(WorkspaceId, u32)> = std::iter::once(workspace)
            .chain(rivals.iter().map(|(_, rival, _)| *rival))
            .map(|w| (w, self.egress.workspace_weight(w)))
            .collect();
        let share = self.egress.turns.entry(number).or_default();
        weights.iter().for_each(|(w, weight)| share.put(w, *weight));
        let can = |w: &WorkspaceId| rivals.iter().any(|(_, rival, of)| rival == w && (*of || !urgent));
        match share.may(&workspace, monotonic, PATIENCE_MS.max(3 * gap), can) {
            Ok(()) => None,
            Err(turn) => {
                let rival = rivals.iter().find(|(_, rival, _)| *rival == turn).map(|(p, ..)| p.clone());
                rival.iter().for_each(|p| self.wake(p));
                Some(TURN_MS.min(gap.max(5)))
            }
        }
    }

    /// Notes that a place took some messages.
    pub(super) fn took(&mut self, place: &Place, n: usize, now: i64, monotonic: i64) {
        if let Some(id) = self.egress.is_warming(&place.source) {
            self.egress.warm.used(id, &place.site, n, now);
        }
        let (mine, others) = self.egress.others(place);
        if !others.is_empty() {
            let able: Vec<Place> = others
                .into_iter()
                .filter(|(priority, other)| *priority == mine && self.is_able(other, now, monotonic))
                .map(|(_, other)| other)
                .collect();
            able.iter().for_each(|other| self.wake(other));
            if let Some(group) = self.egress.groups.get_mut(&key(place)) {
                group.share.took(&place.source, n, |s| able.iter().any(|p| p.source == *s));
            }
        }
        let Some((number, workspace)) = self.spots.get(place).map(|s| (s.site, s.workspace)) else { return };
        if self.egress.turns.contains_key(&number) {
            let rivals: Vec<WorkspaceId> = {
                let at = self.spots.iter().filter(|(_, s)| s.site == number && s.waits_for_site(now));
                let at: Vec<(Place, WorkspaceId)> = at.map(|(p, s)| (p.clone(), s.workspace)).collect();
                at.into_iter().filter(|(p, _)| self.ready_rows(p, 1, now) > 0).map(|(_, w)| w).collect()
            };
            if let Some(share) = self.egress.turns.get_mut(&number) {
                share.took(&workspace, n, |w| rivals.contains(w));
            }
        }
    }

    /// Undoes [`State::took`].
    pub(super) fn untook(&mut self, place: &Place, n: usize) {
        if let Some(id) = self.egress.is_warming(&place.source) {
            self.egress.warm.give_back(id, &place.site, n);
        }
        if let Some(group) = self.egress.groups.get_mut(&key(place)) {
            group.share.give_back(&place.source, n);
        }
        if let Some((number, workspace)) = self.spots.get(place).map(|s| (s.site, s.workspace))
            && let Some(share) = self.egress.turns.get_mut(&number)
        {
            share.give_back(&workspace, n);
        }
    }

    /// Wakes one idle connection of a place that keeps no time.
    fn wake(&self, place: &Place) {
        if let Some(spot) = self.spots.get(place).filter(|s| s.idle > 0 && !s.pacing) {
            spot.wake.notify_one();
        }
    }

    /// A place could not be used: it is left alone, and whether another one of its group can be used instead.
    pub(super) fn pass_over(&mut self, place: &Place, why: &str, now: i64) -> bool {
        let (_, others) = self.egress.others(place);
        self.egress.leave_alone(place, why, now);
        let usable: Vec<Place> =
            others.into_iter().map(|(_, p)| p).filter(|p| self.egress.unusable(p, now).is_none()).collect();
        usable.iter().for_each(|p| self.wake(p));
        !usable.is_empty()
    }

    /// A source × site is gone.
    pub(super) fn site_gone(&mut self, number: u32) {
        self.egress.turns.remove(&number);
    }
}
