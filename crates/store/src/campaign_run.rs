//! What moves a campaign along: schedule, start, pause, resume, stop, finish. Rules, never a million row updates.
//!
//! Must not know what a campaign says or who gets it.

use postrider_domain::campaign::{CampaignAction, CampaignState, after};
use postrider_domain::id::{CampaignId, DeliveryId, NodeId, WorkspaceId};
use postrider_domain::schedule::{Look, Schedule};
use postrider_domain::stream::Stream;
use serde_json::json;

use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::read::{json_opt, word};
use crate::sql::{args, sql};
use crate::steering::{Sweep, hold_rows, release_rows};
use crate::store::Store;

/// A campaign that the engine must look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Its time has come: freeze its audience, then send. Also one whose freezing node died.
    Freeze(CampaignId),
    /// Its time has passed by more than it allows: [`Store::miss_campaign`].
    Miss(CampaignId),
}

/// A campaign in motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub campaign: CampaignId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Where it stands.
    pub state: CampaignState,
    /// Its stream.
    pub stream: Stream,
}

/// What [`Store::cancel_slice`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled {
    /// Rows cancelled.
    pub rows: u64,
    /// Rows that are left: in doubt, to be settled by their owner.
    pub left: bool,
}

/// The campaign's row, locked until the end of the transaction.
pub(crate) async fn lock(
    tx: &mut Tx,
    workspace: Option<WorkspaceId>,
    campaign: CampaignId,
) -> Result<(WorkspaceId, CampaignState)> {
    let row = tx
        .opt(sql!("SELECT workspace_id, state FROM campaign WHERE id = $1 {for_update}"), args![campaign])
        .await?
        .ok_or(StoreError::NotFound { what: "campaign" })?;
    let owner = WorkspaceId(row.int("workspace_id")?);
    if workspace.is_some_and(|w| w != owner) {
        return Err(StoreError::NotFound { what: "campaign" });
    }
    Ok((owner, word(&row, "state", CampaignState::parse)?))
}

/// Moves a locked campaign by an action.
pub(crate) async fn act(
    tx: &mut Tx,
    workspace: WorkspaceId,
    campaign: CampaignId,
    state: CampaignState,
    action: CampaignAction,
    now: i64,
) -> Result<CampaignState> {
    let next = after(state, action)
        .ok_or_else(|| StoreError::conflict(format!("the campaign is {state}: `{action}` is not possible now")))?;
    tx.execute(
        sql!("UPDATE campaign SET state = $2, updated_at = $3, rev = rev + 1 WHERE id = $1"),
        args![campaign, next.as_str(), now],
    )
    .await?;
    tx.ring(Topic::Campaign);
    tx.ring(Topic::Live { workspace, what: format!("campaign:{campaign}") });
    Ok(next)
}

impl Store {
    /// Starts a campaign now, that is after the undo window: until `undo_until` (milliseconds UTC) it can be taken back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it.
    pub async fn start_campaign(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        undo_until: i64,
    ) -> Result<CampaignState> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        let (_, state) = lock(&mut tx, Some(workspace), campaign).await?;
        let next = act(&mut tx, workspace, campaign, state, CampaignAction::Start, now).await?;
        tx.execute(
            sql!("UPDATE campaign SET schedule = NULL, start_at = $2, undo_until = $2 WHERE id = $1"),
            args![campaign, undo_until.max(now)],
        )
        .await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Gives a campaign its start time.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the time cannot be read, [`StoreError::Conflict`] when its state forbids it.
    pub async fn schedule_campaign(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        schedule: &Schedule,
    ) -> Result<CampaignState> {
        let start_at = schedule.instant().map_err(|e| StoreError::refused(e.to_string()))?;
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        let (_, state) = lock(&mut tx, Some(workspace), campaign).await?;
        let next = act(&mut tx, workspace, campaign, state, CampaignAction::Schedule, now).await?;
        tx.execute(
            sql!("UPDATE campaign SET schedule = {jsonb $2}, start_at = $3, undo_until = NULL WHERE id = $1"),
            args![campaign, crate::read::to_json(schedule), start_at],
        )
        .await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Takes the start back: during the undo window, or before its time.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it.
    pub async fn unschedule_campaign(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<CampaignState> {
        let mut tx = self.begin(Lane::Web).await?;
        let (_, state) = lock(&mut tx, Some(workspace), campaign).await?;
        let next = act(&mut tx, workspace, campaign, state, CampaignAction::Unschedule, self.now()).await?;
        tx.execute(
            sql!("UPDATE campaign SET schedule = NULL, start_at = NULL, undo_until = NULL WHERE id = $1"),
            args![campaign],
        )
        .await?;
        tx.commit().await?;
        Ok(next)
    }

    /// No new MAIL FROM until resumed; effective at the next mark.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it.
    pub async fn pause_campaign(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<CampaignState> {
        self.simple_action(Some(workspace), campaign, CampaignAction::Pause).await
    }

    /// Goes on.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it.
    pub async fn resume_campaign(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<CampaignState> {
        self.simple_action(Some(workspace), campaign, CampaignAction::Resume).await
    }

    /// Ends a campaign at once: nothing new leaves. What has not left is cancelled by [`Store::cancel_slice`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it.
    pub async fn stop_campaign(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<CampaignState> {
        self.simple_action(Some(workspace), campaign, CampaignAction::Stop).await
    }

    /// The start came too late.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it.
    pub async fn miss_campaign(&self, campaign: CampaignId) -> Result<CampaignState> {
        self.simple_action(None, campaign, CampaignAction::Miss).await
    }

    async fn simple_action(
        &self,
        workspace: Option<WorkspaceId>,
        campaign: CampaignId,
        action: CampaignAction,
    ) -> Result<CampaignState> {
        let mut tx = self.begin(Lane::Web).await?;
        let (workspace, state) = lock(&mut tx, workspace, campaign).await?;
        let next = act(&mut tx, workspace, campaign, state, action, self.now()).await?;
        if action == CampaignAction::Resume {
            crate::alarm_watch::goes_on(&mut tx, workspace, campaign).await?;
        }
        if next == CampaignState::Sending {
            tx.ring(Topic::Work);
        }
        tx.commit().await?;
        Ok(next)
    }

    /// Scheduled campaigns whose time has come or has been missed, and campaigns whose freezing node died; at most 100.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn due_campaigns(&self, now: i64) -> Result<Vec<Due>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT c.id, c.state, {json c.schedule} AS schedule FROM campaign c \
                     LEFT JOIN node n ON n.id = c.freeze_node AND n.epoch = c.freeze_epoch AND n.stopped_at IS NULL \
                     WHERE (c.state = 'scheduled' AND c.start_at <= $1 AND (c.undo_until IS NULL OR c.undo_until <= $1)) \
                        OR (c.state = 'freezing' AND n.id IS NULL) \
                     ORDER BY c.start_at, c.id LIMIT 100"
                ),
                args![now],
            )
            .await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let campaign = CampaignId(row.int("id")?);
            let freezing = word(row, "state", CampaignState::parse)? == CampaignState::Freezing;
            let look = match json_opt::<Schedule>(row, "schedule")? {
                Some(schedule) if !freezing => schedule.look(now).map_err(|e| StoreError::Corrupt(e.to_string()))?,
                Some(_) | None => Look::Start,
            };
            match look {
                Look::Start => due.push(Due::Freeze(campaign)),
                Look::TooLate => due.push(Due::Miss(campaign)),
                // The zone's rules changed since the time was stored: it is not yet time after all.
                Look::Wait(_) => {}
            }
        }
        Ok(due)
    }

    /// Campaigns that send, pause, or are stopped with rows left; the scheduler asks about once a second and at each
    /// ring of [`Topic::Campaign`].
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn running_campaigns(&self) -> Result<Vec<Running>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, state, stream FROM campaign c WHERE state IN ('freezing', 'sending', 'paused') \
                       OR (state = 'stopped' AND finished_at IS NULL) ORDER BY id"
                ),
                args![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Running {
                    campaign: CampaignId(row.int("id")?),
                    workspace: WorkspaceId(row.int("workspace_id")?),
                    state: word(row, "state", CampaignState::parse)?,
                    stream: word(row, "stream", Stream::parse)?,
                })
            })
            .collect()
    }

    /// Begins to cancel what a stopped campaign has left; [`Store::finish_stopped`] when the sweep is over.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not stopped.
    pub async fn cancel_rest(&self, node: NodeId, campaign: CampaignId) -> Result<Sweep> {
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT workspace_id, state FROM campaign WHERE id = $1"), args![campaign])
            .await?
            .ok_or(StoreError::NotFound { what: "campaign" })?;
        let state = word(&row, "state", CampaignState::parse)?;
        if state != CampaignState::Stopped {
            return Err(StoreError::conflict(format!("the campaign is {state}: only a stopped one is cancelled")));
        }
        Sweep::of_campaign(self, node, WorkspaceId(row.int("workspace_id")?), campaign).await
    }

    /// Closes a stopped campaign of which nothing is left; whether it did. What is left is in doubt, to be settled by its
    /// owner.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn finish_stopped(&self, campaign: CampaignId) -> Result<bool> {
        let mut tx = self.begin(Lane::Web).await?;
        let (workspace, state) = lock(&mut tx, None, campaign).await?;
        if state != CampaignState::Stopped || has_rows(&mut tx, campaign).await? {
            return Ok(false);
        }
        tx.execute(
            sql!("UPDATE campaign SET finished_at = $2 WHERE id = $1 AND finished_at IS NULL"),
            args![campaign, self.now()],
        )
        .await?;
        close_lanes(&mut tx, campaign).await?;
        tx.ring(Topic::Campaign);
        tx.ring(Topic::Live { workspace, what: format!("campaign:{campaign}") });
        tx.commit().await?;
        Ok(true)
    }

    /// Cancels up to `limit` rows of a stopped campaign that are not in doubt; call it until nothing is left.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign is not stopped.
    pub async fn cancel_slice(&self, node: NodeId, campaign: CampaignId, limit: u32) -> Result<Cancelled> {
        let mut sweep = self.cancel_rest(node, campaign).await?;
        let rows = sweep.some(usize::try_from(limit).unwrap_or(usize::MAX)).await?.rows;
        Ok(Cancelled { rows, left: !self.finish_stopped(campaign).await? })
    }

    /// Ends a campaign whose every delivery has its outcome; whether it did.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn finish_if_empty(&self, campaign: CampaignId) -> Result<bool> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        let (workspace, state) = lock(&mut tx, None, campaign).await?;
        if after(state, CampaignAction::Finish).is_none() || has_rows(&mut tx, campaign).await? {
            return Ok(false);
        }
        act(&mut tx, workspace, campaign, state, CampaignAction::Finish, now).await?;
        tx.execute(sql!("UPDATE campaign SET finished_at = $2 WHERE id = $1"), args![campaign, now]).await?;
        close_lanes(&mut tx, campaign).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Lets held rows of a campaign go again, up to `limit`; how many.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the campaign belongs to another workspace.
    pub async fn release_held(&self, workspace: WorkspaceId, campaign: CampaignId, limit: u32) -> Result<u64> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        let rows = tx
            .all(
                sql!(
                    "SELECT q.delivery_id FROM queue q JOIN lane l ON l.id = q.lane_id \
                     WHERE l.campaign_id = $1 AND l.workspace_id = $2 AND q.held_reason IS NOT NULL \
                     LIMIT $3 {for_update_of q} {skip_locked}"
                ),
                args![campaign, workspace, limit.min(1_000)],
            )
            .await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.int("delivery_id")).collect::<Result<_>>()?;
        let released = release_rows(&mut tx, self.node(), &ids, None, now).await?;
        tx.ring(Topic::Work);
        tx.commit().await?;
        Ok(released)
    }

    /// Holds rows that are ready, with a reason; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn hold_deliveries(
        &self,
        workspace: WorkspaceId,
        deliveries: &[DeliveryId],
        reason: &str,
    ) -> Result<u64> {
        let ids: Vec<i64> = deliveries.iter().map(|d| d.get()).collect();
        let mut tx = self.begin(Lane::Web).await?;
        let rows = tx
            .all(
                sql!(
                    "SELECT q.delivery_id, l.campaign_id FROM queue q JOIN lane l ON l.id = q.lane_id \
                     WHERE q.delivery_id IN {ids $1} AND q.workspace_id = $2 AND q.doubt_epoch IS NULL \
                       AND q.held_reason IS NULL {for_update_of q} {skip_locked}"
                ),
                args![json!(ids), workspace],
            )
            .await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.int("delivery_id")).collect::<Result<_>>()?;
        let held = hold_rows(&mut tx, self.node(), &ids, reason, None, self.now()).await?;
        tx.commit().await?;
        Ok(held)
    }
}

async fn has_rows(tx: &mut Tx, campaign: CampaignId) -> Result<bool> {
    let row = tx
        .opt(
            sql!("SELECT q.delivery_id FROM lane l JOIN queue q ON q.lane_id = l.id WHERE l.campaign_id = $1 LIMIT 1"),
            args![campaign],
        )
        .await?;
    Ok(row.is_some())
}

/// A closed lane is leased by nobody.
async fn close_lanes(tx: &mut Tx, campaign: CampaignId) -> Result<()> {
    tx.execute(
        sql!("UPDATE lane SET closed = TRUE, owner = NULL, epoch = epoch + 1 WHERE campaign_id = $1"),
        args![campaign],
    )
    .await?;
    Ok(())
}
