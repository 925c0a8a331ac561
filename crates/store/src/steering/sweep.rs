//! Sweeps: a rule, or the stop of a campaign, is carried out on the rows that there are, in slices that let others write.
//!
//! The rule counts before the first slice is written; a sweep that is killed begins again and finds what is left.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use postrider_domain::id::{CampaignId, DeliveryId, NodeId, QueueRuleId, WorkspaceId};
use postrider_domain::steering::{SteerAction, SteerRule, SteerScope};
use serde_json::json;

use super::QueueRule;
use super::concern::{FOUND, Found, LaneSeen, Which};
use super::end::{End, Target, end_rows, hold_rows, move_rows, release_rows};
use crate::Store;
use crate::bell::Topic;
use crate::db::Lane;
use crate::error::Result;
use crate::sql::{args, sql};

/// A slice should take about so many milliseconds: that long a mark may wait behind it on SQLite. Shorter ones wait for
/// the disk more often.
const SLICE_MS: u128 = 20;
/// Rows of a slice, at least and at most.
const ROWS: std::ops::RangeInclusive<usize> = 50..=4_000;

/// What is done to the rows.
enum Work {
    End(End),
    Hold(String),
    Release,
    Move(Target),
}

/// What a slice came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Rows that it changed.
    pub rows: u64,
    /// The sweep is at its end.
    pub over: bool,
}

/// A sweep under way.
pub struct Sweep {
    store: Store,
    node: NodeId,
    rule: Option<QueueRuleId>,
    scope: SteerScope,
    work: Work,
    which: Which,
    lanes: BTreeMap<i64, LaneSeen>,
    lane_ids: serde_json::Value,
    after: i64,
    last: i64,
    found: VecDeque<i64>,
    at_end: bool,
    slice: usize,
    left: bool,
}

impl Sweep {
    /// Begins the sweep of an open rule: its work, or, when it has ended, the undoing of it. `None` for a rule that
    /// changes no rows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn of_rule(store: &Store, node: NodeId, rule: &QueueRule) -> Result<Option<Sweep>> {
        let SteerRule { id, workspace, action, scope, route, text, reason, last, .. } = &rule.rule;
        let ended = rule.ended_at.is_some();
        let (work, which) = match action {
            SteerAction::Suspend | SteerAction::Speed => return Ok(None),
            SteerAction::Cancel => (Work::End(End::Cancelled), Which::of(*action)),
            SteerAction::Bounce => (Work::End(End::Rejected { text: text.clone() }), Which::of(*action)),
            SteerAction::Release => (Work::Release, Which::of(*action)),
            SteerAction::Hold if ended => (Work::Release, Which::HeldBy(id.get())),
            SteerAction::Hold => (Work::Hold(reason.clone()), Which::of(*action)),
            SteerAction::Reroute if ended => (Work::Move(Target { route: None, to_mx: false }), Which::of(*action)),
            SteerAction::Reroute => {
                let Some(route) = *route else { return Ok(None) };
                let to_mx = store.leads_to_mx(*workspace, route).await?;
                (Work::Move(Target { route: Some(route), to_mx }), Which::of(*action))
            }
        };
        let scope = match (action, ended) {
            // What the rule did is told by the rows; where they lie may have changed since.
            (SteerAction::Hold, true) => {
                SteerScope { campaign: scope.campaign, stream: scope.stream, ..SteerScope::default() }
            }
            (SteerAction::Reroute, true) => SteerScope { site: None, source: None, ..scope.clone() },
            (_, _) => scope.clone(),
        };
        let mut sweep = Sweep::over(store, node, *workspace, &scope, work, which).await?;
        if let Some(last) = last {
            sweep.last = sweep.last.min(last.get());
        }
        if *action == SteerAction::Reroute {
            // Rows that are where they belong are no work; those that go back come from where the rule had put them.
            sweep.lanes.retain(|_, lane| if ended { lane.route == *route } else { lane.route != *route });
            sweep.lane_ids = json!(sweep.lanes.keys().collect::<Vec<_>>());
        }
        sweep.rule = Some(*id);
        Ok(Some(sweep))
    }

    /// Begins to cancel what a stopped campaign has left.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) async fn of_campaign(
        store: &Store,
        node: NodeId,
        workspace: WorkspaceId,
        campaign: CampaignId,
    ) -> Result<Sweep> {
        let scope = SteerScope { campaign: Some(campaign), ..SteerScope::default() };
        Sweep::over(store, node, Some(workspace), &scope, Work::End(End::Cancelled), Which::Queued).await
    }

    async fn over(
        store: &Store,
        node: NodeId,
        workspace: Option<WorkspaceId>,
        scope: &SteerScope,
        work: Work,
        which: Which,
    ) -> Result<Sweep> {
        let ground = store.ground(workspace, scope).await?;
        // What is being frozen is not queued yet; the rule is asked again when it is.
        let left = ground.lanes.iter().any(|lane| lane.freezing);
        let lanes: BTreeMap<i64, LaneSeen> =
            ground.lanes.into_iter().filter(|lane| !lane.freezing).map(|lane| (lane.id, lane)).collect();
        Ok(Sweep {
            store: store.clone(),
            node,
            rule: None,
            scope: scope.clone(),
            work,
            which,
            lane_ids: json!(lanes.keys().collect::<Vec<_>>()),
            at_end: lanes.is_empty(),
            lanes,
            after: ground.first.saturating_sub(1),
            last: ground.last,
            found: VecDeque::new(),
            slice: 200,
            left,
        })
    }

    /// Whether something is left that nobody may touch now: marked rows, which their owner settles, and audiences that
    /// are being frozen. Known at the end.
    pub const fn is_something_left(&self) -> bool {
        self.left
    }

    /// Carries out one slice, in a transaction of its own.
    ///
    /// # Errors
    /// The database cannot be written; nothing of the slice was done then.
    pub async fn next(&mut self) -> Result<Swept> {
        self.some(self.slice).await
    }

    /// As [`Sweep::next`], of at most `n` rows.
    pub(crate) async fn some(&mut self, n: usize) -> Result<Swept> {
        while self.found.is_empty() && !self.at_end {
            let found = self.find().await?;
            self.take_in(found);
        }
        let n = n.min(self.found.len());
        let ids: Vec<i64> = self.found.drain(..n).collect();
        let rows = if ids.is_empty() {
            0
        } else if self.found.len() < FOUND as usize / 2 && !self.at_end {
            // A reader looks ahead while this slice is written.
            let (store, lanes, scope) = (self.store.clone(), self.lane_ids.clone(), self.scope.clone());
            let (which, after, last) = (self.which, self.after, self.last);
            let ahead = async move { store.find_concerned(&lanes, &scope, which, after, last).await };
            let (written, found) = tokio::join!(self.write(&ids), ahead);
            self.take_in(found?);
            written?
        } else {
            self.write(&ids).await?
        };
        // Somebody else had them, or they were marked in this moment: another sweep will see.
        self.left |= rows < ids.len() as u64;
        Ok(Swept { rows, over: self.at_end && self.found.is_empty() })
    }

    async fn find(&self) -> Result<Vec<Found>> {
        self.store.find_concerned(&self.lane_ids, &self.scope, self.which, self.after, self.last).await
    }

    fn take_in(&mut self, found: Vec<Found>) {
        self.at_end = found.len() < FOUND as usize;
        self.after = found.last().map_or(self.after, |row| row.delivery);
        self.left |= found.iter().any(|row| row.in_doubt);
        self.found.extend(found.into_iter().filter(|row| !row.in_doubt).map(|row| row.delivery));
    }

    async fn write(&mut self, ids: &[i64]) -> Result<u64> {
        let store = &self.store;
        let mut tx = store.begin(Lane::Bulk).await?;
        let begun = Instant::now();
        let now = store.now();
        let rows = match &self.work {
            Work::End(end) => end_rows(&mut tx, self.node, ids, end, self.rule, now).await?,
            Work::Hold(reason) => hold_rows(&mut tx, self.node, ids, reason, self.rule, now).await?,
            Work::Release => release_rows(&mut tx, self.node, ids, self.rule, now).await?,
            Work::Move(target) => move_rows(&mut tx, store, ids, &self.lanes, target, self.rule, now).await?,
        };
        match &self.work {
            Work::Release | Work::Move(_) => tx.ring(Topic::Work),
            Work::End(_) | Work::Hold(_) => {}
        }
        tx.commit().await?;
        let took = begun.elapsed().as_millis();
        if took > SLICE_MS * 3 / 2 {
            self.slice = (self.slice * 2 / 3).max(*ROWS.start());
        } else if took < SLICE_MS && ids.len() == self.slice {
            self.slice = (self.slice * 3 / 2).min(*ROWS.end());
        }
        Ok(rows)
    }
}

impl Store {
    /// Holds rows that a standing rule concerns and that came after it was set; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn hold_by_rule(&self, rule: &SteerRule, deliveries: &[DeliveryId]) -> Result<u64> {
        let ids: Vec<i64> = deliveries.iter().map(|d| d.get()).collect();
        let mut tx = self.begin(Lane::Web).await?;
        if !stands(&mut tx, rule.id).await? {
            return Ok(0);
        }
        let held = hold_rows(&mut tx, self.node(), &ids, &rule.reason, Some(rule.id), self.now()).await?;
        tx.commit().await?;
        Ok(held)
    }

    /// Moves rows that a standing rule concerns and that came after it was set to lanes with its route; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn move_by_rule(&self, rule: &SteerRule, deliveries: &[DeliveryId]) -> Result<u64> {
        let Some(route) = rule.route else { return Ok(0) };
        let ids: Vec<i64> = deliveries.iter().map(|d| d.get()).collect();
        let lanes: BTreeMap<i64, LaneSeen> =
            self.ground(rule.workspace, &rule.scope).await?.lanes.into_iter().map(|lane| (lane.id, lane)).collect();
        let target = Target { route: Some(route), to_mx: self.leads_to_mx(rule.workspace, route).await? };
        let mut tx = self.begin(Lane::Web).await?;
        if !stands(&mut tx, rule.id).await? {
            return Ok(0);
        }
        let moved = move_rows(&mut tx, self, &ids, &lanes, &target, Some(rule.id), self.now()).await?;
        tx.ring(Topic::Work);
        tx.commit().await?;
        Ok(moved)
    }
}

/// Whether a rule has not ended, and does not until the end of the transaction.
async fn stands(tx: &mut crate::db::Tx, rule: QueueRuleId) -> Result<bool> {
    let row =
        tx.opt(sql!("SELECT id FROM queue_rule WHERE id = $1 AND ended_at IS NULL {for_share}"), args![rule]).await?;
    Ok(row.is_some())
}
