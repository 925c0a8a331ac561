//! Steering: what the rules of the queue say about the lanes of this node and the rows in memory.
//!
//! A rule that concerns a whole lane shuts it, so that its rows are not even read; any other is asked for each row, when it
//! is taken in from a read, before it begins and before its mark. Must not know how rules are kept or carried out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use postrider_domain::id::{DeliveryId, LaneId, QueueRuleId};
use postrider_domain::shaping::{Hold, Pace, SetSpeed};
use postrider_domain::steering::{Concern, OneFacts, SteerAction, SteerFacts, SteerRule, Verdict, verdict};
use postrider_store::StoreError;
use postrider_store::lane::{LaneCursor, QueueRow};

use super::site::SiteSpeed;
use super::state::{LaneEntry, State};
use super::{Handed, Scheduler};
use crate::plan::{Place, WaitingFor};

/// Rows of a buffer that are looked at to find one whose speed allows it to go.
const LOOK_AT: usize = 64;
/// Senders kept in memory.
const SENDERS: usize = 50_000;
/// Rows that rules keep back are not read again for this time, when nobody says that a rule has changed.
const PASSED_MS: i64 = 300_000;
/// What became ready so lately may not have been committed when a read passed by.
const LATE_MS: i64 = 10_000;

/// What rules mean for one lane; made anew when rules or the lane's plan change.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneSteer {
    /// All of it waits for this rule.
    shut: Option<Arc<SteerRule>>,
    /// Rules that some of its rows may be concerned by.
    maybe: Vec<Arc<SteerRule>>,
    /// Speeds that some or all of its rows are bound to.
    speeds: Vec<Arc<SteerRule>>,
    /// Suspensions of a source by which its rows may leave: asked for each place.
    by_place: Vec<Arc<SteerRule>>,
    /// From where its rows leave, as people name it, when there is only one source.
    source: Option<String>,
}

impl LaneSteer {
    /// The rule for which all of the lane waits at `now`.
    pub(super) fn shut(&self, now: i64) -> Option<&SteerRule> {
        self.shut.as_deref().filter(|rule| rule.counts(now))
    }

    /// Whether a hand-out needs to ask no rule.
    const fn is_plain(&self) -> bool {
        self.speeds.is_empty() && self.by_place.is_empty()
    }

    fn rules(&self) -> impl Iterator<Item = &SteerRule> {
        self.shut.iter().chain(&self.maybe).map(AsRef::as_ref)
    }

    /// Whether the same rules keep rows back.
    fn same(&self, other: &LaneSteer) -> bool {
        let shut = |s: &LaneSteer| s.shut.as_ref().map(|r| r.id);
        let key = |r: &Arc<SteerRule>| (r.id, r.swept);
        shut(self) == shut(other) && self.maybe.iter().map(key).eq(other.maybe.iter().map(key))
    }
}

/// The rules of the queue as this node knows them.
#[derive(Default)]
pub(super) struct Steering {
    /// Their generation; below all that are possible until they are known.
    generation: Option<i64>,
    rules: Vec<Arc<SteerRule>>,
    paces: HashMap<QueueRuleId, Pace>,
    /// From domains by the version or the message; asked for only while a rule needs them.
    senders: HashMap<i64, String>,
    needs_senders: bool,
    /// What kept rows back when a batch was looked for: the wait in milliseconds, and why.
    blocked: Option<(i64, Hold)>,
    blocked_lanes: Vec<LaneId>,
}

/// What a read gave, sorted by what the rules say.
#[derive(Default)]
pub(super) struct Sifted {
    pub(super) rows: Vec<QueueRow>,
    /// Some were kept back.
    pub(super) kept_back: bool,
    /// To be held.
    pub(super) hold: Vec<(Arc<SteerRule>, Vec<DeliveryId>)>,
    /// To be moved to lanes with another route.
    pub(super) reroute: Vec<(Arc<SteerRule>, Vec<DeliveryId>)>,
}

/// The version by which a row's sender is known; single messages bring it with them.
fn sender_key(row: &QueueRow) -> Option<i64> {
    row.from_domain.is_none().then_some(row.version)?.map(|v| v.get())
}

fn facts<'a>(lane: &'a LaneEntry, source: Option<&'a str>, one: Option<OneFacts<'a>>) -> SteerFacts<'a> {
    SteerFacts {
        workspace: lane.lease.workspace,
        campaign: lane.lease.campaign,
        stream: lane.lease.stream,
        sites: [&lane.lease.site, &lane.site],
        source,
        one,
    }
}

impl Steering {
    fn one<'a>(&'a self, row: &'a QueueRow) -> OneFacts<'a> {
        let sender = row.from_domain.as_ref().or_else(|| sender_key(row).and_then(|key| self.senders.get(&key)));
        OneFacts {
            delivery: row.delivery,
            message: row.message,
            domain: &row.domain,
            sending_domain: sender.map(String::as_str),
        }
    }

    /// What the rules say about a row of a lane.
    fn verdict<'l>(&self, lane: &'l LaneEntry, row: &QueueRow, now: i64) -> Verdict<'l> {
        if lane.steer.shut.is_none() && lane.steer.maybe.is_empty() {
            return Verdict::Go;
        }
        let facts = facts(lane, lane.steer.source.as_deref(), Some(self.one(row)));
        verdict(lane.steer.rules(), &facts, lane.lease.route, now)
    }

    /// Sorts what a read of a lane gave.
    pub(super) fn sift(&self, lane: &LaneEntry, rows: Vec<QueueRow>, now: i64) -> Sifted {
        let mut sifted = Sifted::default();
        if lane.steer.shut.is_none() && lane.steer.maybe.is_empty() {
            sifted.rows = rows;
            return sifted;
        }
        let gather = |list: &mut Vec<(Arc<SteerRule>, Vec<DeliveryId>)>, id: QueueRuleId, delivery| match list
            .iter_mut()
            .find(|(rule, _)| rule.id == id)
        {
            Some((_, deliveries)) => deliveries.push(delivery),
            None => {
                if let Some(rule) = self.rules.iter().find(|rule| rule.id == id) {
                    list.push((Arc::clone(rule), vec![delivery]));
                }
            }
        };
        for row in rows {
            match self.verdict(lane, &row, now) {
                Verdict::Go => {
                    sifted.rows.push(row);
                    continue;
                }
                // What is in the air is the owner's until it has landed.
                _ if lane.air.contains(&row.delivery) => continue,
                Verdict::Stop(_) => {}
                Verdict::Hold(rule) => gather(&mut sifted.hold, rule.id, row.delivery),
                Verdict::Reroute(rule) => gather(&mut sifted.reroute, rule.id, row.delivery),
            }
            sifted.kept_back = true;
        }
        sifted
    }

    /// Where in a lane's buffer the next row lies that may go by a place, one of the domain `prefer` first; takes it of the
    /// speeds that bind it.
    pub(super) fn pick(
        &mut self,
        lane: &LaneEntry,
        id: LaneId,
        place: &Place,
        prefer: Option<&str>,
        (now, monotonic): (i64, i64),
    ) -> Option<usize> {
        let wanted = lane.position(place, prefer)?;
        if lane.steer.is_plain() {
            return Some(wanted);
        }
        let source = place.source.rule_name();
        let others = (0..lane.buffer.len().min(LOOK_AT)).filter(|at| *at != wanted);
        for at in std::iter::once(wanted).chain(others) {
            let Some(row) = lane.buffer.get(at).filter(|row| lane.fits(place, row)) else { continue };
            let facts = facts(lane, Some(&source), Some(self.one(row)));
            if verdict(lane.steer.by_place.iter().map(AsRef::as_ref), &facts, None, now) != Verdict::Go {
                continue;
            }
            match self.take_speeds(lane, &source, row, monotonic) {
                Ok(()) => return Some(at),
                Err((wait, hold)) => {
                    if self.blocked.as_ref().is_none_or(|(least, _)| wait < *least) {
                        self.blocked = Some((wait, hold));
                    }
                }
            }
        }
        self.blocked_lanes.push(id);
        None
    }

    /// Takes one message of every speed that binds a row, or of none.
    fn take_speeds(
        &mut self,
        lane: &LaneEntry,
        source: &str,
        row: &QueueRow,
        monotonic: i64,
    ) -> Result<(), (i64, Hold)> {
        let mut taken: Vec<QueueRuleId> = Vec::new();
        for rule in &lane.steer.speeds {
            if rule.concerns(&facts(lane, Some(source), Some(self.one(row)))) == Concern::No {
                continue;
            }
            let Some(pace) = self.paces.get_mut(&rule.id) else { continue };
            match pace.take(monotonic, 1) {
                Ok(_) => taken.push(rule.id),
                Err(wait) => {
                    for id in taken {
                        if let Some(pace) = self.paces.get_mut(&id) {
                            pace.give_back(1);
                        }
                    }
                    return Err((wait, rule.hold()));
                }
            }
        }
        Ok(())
    }

    /// Gives back what a row took of its speeds.
    fn give_back(&mut self, lane: &LaneEntry, place: &Place, row: &QueueRow) {
        if lane.steer.speeds.is_empty() {
            return;
        }
        let source = place.source.rule_name();
        for rule in &lane.steer.speeds {
            if rule.concerns(&facts(lane, Some(&source), Some(self.one(row)))) != Concern::No
                && let Some(pace) = self.paces.get_mut(&rule.id)
            {
                pace.give_back(1);
            }
        }
    }

    /// Takes over the rules, and each node its share of their speeds.
    pub(super) fn set(&mut self, generation: i64, rules: Vec<SteerRule>, nodes: usize) {
        self.generation = Some(generation);
        self.needs_senders = rules.iter().any(|rule| rule.scope.sending_domain.is_some());
        if !self.needs_senders {
            self.senders.clear();
        }
        let share = nodes.max(1) as f64;
        let mut paces = HashMap::new();
        for rule in &rules {
            if let Some(speed) = rule.pace {
                // Each node takes its share of what a person set for all of them.
                let per_second = speed.per_second() / share;
                let mut pace = self.paces.remove(&rule.id).unwrap_or_else(|| Pace::new(per_second));
                pace.set(per_second);
                paces.insert(rule.id, pace);
            }
        }
        self.paces = paces;
        self.rules = rules.into_iter().map(Arc::new).collect();
    }

    /// The speeds of sites as a whole, each node its share.
    fn site_speeds(&self, nodes: usize) -> Vec<SiteSpeed> {
        let share = nodes.max(1) as f64;
        let of_site = self.rules.iter().filter(|rule| rule.action == SteerAction::Speed && rule.scope.is_of_site());
        of_site
            .filter_map(|rule| {
                Some(SiteSpeed {
                    workspace: rule.workspace,
                    source: rule.scope.source.clone(),
                    site: rule.scope.site.clone()?,
                    speed: SetSpeed {
                        per_second: rule.pace.map(|pace| pace.per_second() / share),
                        connections: rule.connections,
                        detail: rule.hold().detail,
                    },
                })
            })
            .collect()
    }

    /// What the rules mean for a lane.
    fn of_lane(&self, lane: &LaneEntry) -> LaneSteer {
        let mut sources = lane.places.iter().map(|place| place.source.rule_name());
        let first = sources.next();
        let source = first.filter(|first| sources.all(|other| other == *first));
        let facts = facts(lane, source.as_deref(), None);
        let mut steer = LaneSteer::default();
        for rule in &self.rules {
            // Whether the whole lane is concerned by what was there when the rule was made.
            let all_that_was = SteerRule { last: None, ..(**rule).clone() };
            let by_source = rule.scope.source.is_some();
            match (rule.action, all_that_was.concerns(&facts)) {
                (_, Concern::No) | (SteerAction::Release, _) => {}
                // That of a site as a whole is kept where its limits are.
                (SteerAction::Speed, _) if rule.scope.is_of_site() => {}
                (SteerAction::Speed, Concern::Yes | Concern::Unknown) => steer.speeds.push(Arc::clone(rule)),
                // Of several sources one is chosen at the hand-out: the others go on.
                (SteerAction::Suspend, _) if by_source => steer.by_place.push(Arc::clone(rule)),
                // What may leave by several sources is none's before that.
                (_, Concern::Unknown) if by_source && source.is_none() => {}
                // While a sweep goes over the lane for the first time nothing of it is read: that would be in vain.
                (SteerAction::Cancel | SteerAction::Bounce, Concern::Yes) if !rule.swept => {
                    steer.shut = Some(Arc::clone(rule));
                }
                (SteerAction::Suspend, Concern::Yes) => steer.shut = Some(Arc::clone(rule)),
                (
                    SteerAction::Cancel
                    | SteerAction::Bounce
                    | SteerAction::Suspend
                    | SteerAction::Hold
                    | SteerAction::Reroute,
                    Concern::Yes | Concern::Unknown,
                ) => steer.maybe.push(Arc::clone(rule)),
            }
        }
        steer.source = source;
        steer
    }
}

impl LaneEntry {
    /// Whether all of the lane waits for a rule.
    pub(super) fn is_shut(&self, now: i64) -> bool {
        self.steer.shut(now).is_some()
    }

    /// Whether the lane is not even read. Where mail goes is found out even for what waits for a rule.
    pub(super) fn waits_for_rule(&self, now: i64) -> bool {
        self.site != crate::sites::UNRESOLVED && self.is_shut(now)
    }

    /// The rule for which nothing of the lane leaves by a place.
    pub(super) fn shut_at(&self, place: &Place, now: i64) -> Option<&SteerRule> {
        let rule = self.steer.shut(now);
        if rule.is_some() || self.steer.by_place.is_empty() {
            return rule;
        }
        let source = place.source.rule_name();
        let facts = facts(self, Some(&source), None);
        self.steer
            .by_place
            .iter()
            .map(AsRef::as_ref)
            .find(|rule| rule.counts(now) && rule.concerns(&facts) == Concern::Yes)
    }

    /// The rule for which rows of the lane do not leave by a place: all of them, or all that are ready.
    pub(super) fn kept_back_at(&self, place: &Place, now: i64) -> Option<&SteerRule> {
        let some = self.buffer.is_empty() && self.passed.is_some();
        let of_rows = || self.steer.maybe.iter().map(AsRef::as_ref).find(|rule: &&SteerRule| some && rule.counts(now));
        self.shut_at(place, now).or_else(of_rows)
    }

    /// From where the next read begins: behind what rules keep back, when nothing has changed since.
    pub(super) fn read_from(&self) -> Option<LaneCursor> {
        self.cursor.or(self.passed.map(|(cursor, _)| cursor))
    }

    /// A read came to the end of the lane; `last` is the last row of it.
    pub(super) fn note_passed(&mut self, last: Option<LaneCursor>, now: i64) {
        let since = self.passed.map_or(now, |(_, since)| since);
        if !std::mem::take(&mut self.keeping_back) && self.passed.is_none() || now - since > PASSED_MS {
            self.passed = None;
            return;
        }
        // Rows that were ready before and come to light late are read once more.
        let late = LaneCursor { ready_at: now - LATE_MS, delivery: DeliveryId(i64::MAX) };
        let passed = last.or(self.passed.map(|(cursor, _)| cursor));
        self.passed = passed.map(|cursor| (cursor.min(late), since));
    }

    /// Forgets what was read: rules have changed, or a row came back that lies before the cursor.
    pub(super) fn read_anew(&mut self) {
        self.cursor = None;
        self.passed = None;
        self.keeping_back = false;
        self.more = false;
        self.look_at = 0;
        self.empty_reads = 0;
        self.again = self.reading;
    }
}

impl State {
    /// Looks up what the rules mean for a lane; it is read anew when that is something else than before.
    pub(super) fn steer_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let steer = self.steering.of_lane(lane);
        let same = steer.same(&lane.steer);
        lane.steer = steer;
        if !same {
            lane.buffer.clear();
            lane.read_anew();
        }
    }

    /// After a batch was looked for: what speeds kept back. Its lanes get their turns back.
    pub(super) fn take_blocked(&mut self) -> Option<(i64, Hold)> {
        for id in std::mem::take(&mut self.steering.blocked_lanes) {
            self.queue_up(id);
        }
        self.steering.blocked.take()
    }

    /// Takes a row back into the buffer of its lane, unless a rule has come in between.
    pub(super) fn take_back(&mut self, id: LaneId, place: &Place, row: QueueRow, now: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        self.steering.give_back(lane, place, &row);
        if lane.is_shut(now) || self.steering.verdict(lane, &row, now) != Verdict::Go {
            lane.read_anew();
        } else {
            lane.buffer.push_front(row);
        }
    }
}

impl Scheduler {
    /// Asks for the rules when they have changed.
    pub(super) async fn refresh_steering(&self) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let generation = store.queue_rules_gen().await?;
        let nodes = self.shared.nodes();
        if self.lock().steering.generation == Some(generation)
            && self.steered_for.swap(nodes, Ordering::Relaxed) == nodes
        {
            return Ok(());
        }
        // Read after the number: they are as new as that, or newer, and then the number is asked for again.
        let open = store.open_queue_rules().await?;
        let rules: Vec<SteerRule> = open.into_iter().filter(|r| r.ended_at.is_none()).map(|r| r.rule).collect();
        let count = rules.len();
        let mut state = self.lock();
        state.steering.set(generation, rules, nodes);
        let lanes: Vec<LaneId> = state.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|id| state.steer_lane(id));
        let speeds = state.steering.site_speeds(nodes);
        state.sites.set_speeds(speeds);
        state.settings_changed(self.shared.monotonic());
        drop(state);
        tracing::info!(event = "queue.rules", generation, rules = count);
        Ok(())
    }

    /// The rules of a hand-out: whether a delivery may begin by them, and their generation, for its mark.
    pub(crate) fn steered(&self, handed: &Handed) -> Result<i64, WaitingFor> {
        let now = self.shared.now();
        let state = self.lock();
        let Some(generation) = state.steering.generation else { return Err(WaitingFor::Rule) };
        let Some(lane) = state.lanes.get(&handed.lease.lane) else { return Ok(generation) };
        let by_place = lane.shut_at(&handed.place, now).is_some();
        match state.steering.verdict(lane, &handed.row, now) {
            Verdict::Go if !by_place => Ok(generation),
            Verdict::Go | Verdict::Stop(_) | Verdict::Hold(_) | Verdict::Reroute(_) => Err(WaitingFor::Rule),
        }
    }

    /// Makes the From domains of rows known, when a rule needs them.
    pub(super) async fn learn_senders(&self, rows: &[QueueRow]) -> Result<(), StoreError> {
        let unknown: Vec<(i64, DeliveryId)> = {
            let state = self.lock();
            if !state.steering.needs_senders {
                return Ok(());
            }
            let senders = &state.steering.senders;
            let key = |row: &QueueRow| sender_key(row).filter(|key| !senders.contains_key(key));
            let mut unknown: Vec<_> = rows.iter().filter_map(|row| Some((key(row)?, row.delivery))).collect();
            unknown.sort_unstable();
            unknown.dedup_by_key(|(key, _)| *key);
            unknown
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let deliveries: Vec<DeliveryId> = unknown.iter().map(|(_, delivery)| *delivery).collect();
        let found = self.shared.store.sending_domains(&deliveries).await?;
        let mut state = self.lock();
        let senders = &mut state.steering.senders;
        if senders.len() > SENDERS {
            senders.clear();
        }
        for (key, delivery) in unknown {
            senders.insert(key, found.get(&delivery).cloned().unwrap_or_default());
        }
        Ok(())
    }

    /// Holds or moves the rows that a read met and a standing rule concerns.
    pub(super) fn carry_out(&self, sifted: &mut Sifted) {
        let (hold, reroute) = (std::mem::take(&mut sifted.hold), std::mem::take(&mut sifted.reroute));
        if hold.is_empty() && reroute.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            for (rule, deliveries) in hold {
                if let Err(error) = shared.store.hold_by_rule(&rule, &deliveries).await {
                    shared.complain("hold deliveries by a rule", &error);
                }
            }
            for (rule, deliveries) in reroute {
                if let Err(error) = shared.store.move_by_rule(&rule, &deliveries).await {
                    shared.complain("reroute deliveries by a rule", &error);
                }
            }
        });
    }
}
