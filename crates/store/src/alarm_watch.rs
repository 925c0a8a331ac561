//! What the look-out of the engine asks of the store, and what an alarm does to a campaign.
//!
//! Cheap: campaigns under way and counters, never long tables.

use postrider_domain::alarm::Rates;
use postrider_domain::campaign::{CampaignAction, CampaignState};
use postrider_domain::id::{AlarmId, CampaignId, DomainId, NodeId, WorkspaceId};
use serde_json::{Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::alarm::Alarm;
use crate::campaign_run::{act, lock};
use crate::counter::COMPLAINTS;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{json_opt, word};
use crate::sql::{args, sql};

/// Bounces of a campaign that has ended are looked at for so long, in milliseconds.
const ENDED_BOUNCES_MS: i64 = 86_400_000;
/// Complaints come late: so long.
const ENDED_COMPLAINTS_MS: i64 = 7 * 86_400_000;
/// Most campaigns that are looked at.
const MOST: i64 = 2_000;

/// How a campaign fares.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignFare {
    /// Which.
    pub campaign: CampaignId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: CampaignState,
    /// Its counters.
    pub rates: Rates,
    /// Whether its bounces still matter.
    pub bounces_matter: bool,
}

/// A campaign that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingCampaign {
    /// Which.
    pub campaign: CampaignId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Paused or missed.
    pub state: CampaignState,
}

/// What a sending domain's last look found.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainLook {
    /// Which.
    pub domain: DomainId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// What was found.
    pub found: Value,
}

/// The clock of another node, as it said at its last sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeClock {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Changes with each sign of life.
    pub beat: i64,
    /// Its clock, i64 milliseconds UTC.
    pub clock_at: i64,
}

impl Store {
    /// Marketing campaigns whose bounces and complaints matter: those under way, and those that ended of late. What a person
    /// ended as bounced is no bounce here: no host refused it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn campaign_fares(&self) -> Result<Vec<CampaignFare>> {
        let now = self.now();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT c.id, c.workspace_id, c.name, c.state, c.finished_at, \
                       CAST(sum(CASE WHEN k.name = 'accepted' THEN k.value ELSE 0 END) AS BIGINT) AS accepted, \
                       CAST(sum(CASE k.name WHEN 'rejected' THEN k.value WHEN 'bounced_by_hand' THEN -k.value ELSE 0 END) AS BIGINT) AS rejected, \
                       CAST(sum(CASE WHEN k.name = 'complaints' THEN k.value ELSE 0 END) AS BIGINT) AS complaints \
                     FROM campaign c JOIN counter k ON k.campaign_id = c.id AND k.workspace_id = c.workspace_id \
                       AND k.name IN ('accepted', 'rejected', 'bounced_by_hand', 'complaints') \
                     WHERE c.stream = 'marketing' AND (c.state IN ('sending', 'paused') \
                       OR (c.state IN ('done', 'stopped') AND coalesce(c.finished_at, c.updated_at) > $1)) \
                     GROUP BY c.id, c.workspace_id, c.name, c.state, c.finished_at ORDER BY c.id LIMIT $2"
                ),
                args![now - ENDED_COMPLAINTS_MS, MOST],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(CampaignFare {
                    campaign: CampaignId(row.int("id")?),
                    workspace: WorkspaceId(row.int("workspace_id")?),
                    name: row.text("name")?,
                    state: word(row, "state", CampaignState::parse)?,
                    rates: Rates {
                        accepted: row.int("accepted")?,
                        rejected: row.int("rejected")?,
                        complaints: row.int("complaints")?,
                    },
                    bounces_matter: row.int_opt("finished_at")?.is_none_or(|at| at > now - ENDED_BOUNCES_MS),
                })
            })
            .collect()
    }

    /// Campaigns that were missed, and those that an alarm keeps paused.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn waiting_campaigns(&self) -> Result<Vec<WaitingCampaign>> {
        let mut reader = self.read().await?;
        let rows = reader
            .all(
                sql!(
                    "SELECT id, workspace_id, name, state FROM campaign WHERE state IN ('missed', 'paused') ORDER BY id LIMIT $1"
                ),
                args![MOST],
            )
            .await?;
        let by_alarm: Vec<String> = reader
            .all(sql!("SELECT subject FROM alarm WHERE paused_at IS NOT NULL"), args![])
            .await?
            .iter()
            .map(|row| row.text("subject"))
            .collect::<Result<_>>()?;
        let mut waiting = Vec::new();
        for row in &rows {
            let campaign = CampaignId(row.int("id")?);
            let state = word(row, "state", CampaignState::parse)?;
            if state == CampaignState::Missed || by_alarm.contains(&campaign.to_string()) {
                let workspace = WorkspaceId(row.int("workspace_id")?);
                waiting.push(WaitingCampaign { campaign, workspace, name: row.text("name")?, state });
            }
        }
        Ok(waiting)
    }

    /// What the last look at each sending domain found; those that nobody has looked at are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn domain_looks(&self) -> Result<Vec<DomainLook>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, name, {json checked} AS checked FROM domain WHERE checked IS NOT NULL \
                     ORDER BY id LIMIT $1"
                ),
                args![MOST],
            )
            .await?;
        let mut looks = Vec::with_capacity(rows.len());
        for row in &rows {
            looks.push(DomainLook {
                domain: DomainId(row.int("id")?),
                workspace: WorkspaceId(row.int("workspace_id")?),
                name: row.text("name")?,
                found: json_opt(row, "checked")?.unwrap_or(Value::Null),
            });
        }
        Ok(looks)
    }

    /// The clocks of the nodes that run, our own left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn other_clocks(&self) -> Result<Vec<NodeClock>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, name, beat, clock_at FROM node \
                     WHERE stopped_at IS NULL AND clock_at IS NOT NULL AND id <> $1 ORDER BY id"
                ),
                args![self.node()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(NodeClock {
                    node: NodeId(row.int("id")?),
                    name: row.text("name")?,
                    beat: row.int("beat")?,
                    clock_at: row.int("clock_at")?,
                })
            })
            .collect()
    }

    /// The names of each certificate of ours and when it ends, i64 milliseconds UTC.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificate_ends(&self) -> Result<Vec<(String, i64)>> {
        self.read()
            .await?
            .all(sql!("SELECT names, not_after FROM certificate WHERE not_after IS NOT NULL ORDER BY place"), args![])
            .await?
            .iter()
            .map(|row| Ok((row.text("names")?, row.int("not_after")?)))
            .collect()
    }

    /// The name of this node.
    pub fn node_name(&self) -> &str {
        &self.inner.config.node_name
    }

    /// Whether a host was spoken to with TLS in the last days, as far as the counts say.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn had_tls(&self, host: &str, since_day: i64) -> Result<bool> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT n FROM tls_result WHERE day >= $1 AND mx_host = $2 AND result = 'success' LIMIT 1"),
                args![since_day, host],
            )
            .await?;
        Ok(row.is_some())
    }

    /// Pauses the campaign of an alarm, if it is being sent; whether it did. The audit says which alarm.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn pause_by_alarm(
        &self,
        alarm: AlarmId,
        workspace: WorkspaceId,
        campaign: CampaignId,
        facts: &Value,
    ) -> Result<bool> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        let (_, state) = lock(&mut tx, Some(workspace), campaign).await?;
        if state != CampaignState::Sending {
            return Ok(false);
        }
        act(&mut tx, workspace, campaign, state, CampaignAction::Pause, now).await?;
        tx.execute(sql!("UPDATE alarm SET paused_at = $2 WHERE id = $1"), args![alarm, now]).await?;
        let detail = json!({ "alarm": alarm, "facts": facts });
        self.note(&mut tx, Some(workspace), &Actor::Engine, "campaign.pause", &campaign.to_string(), detail).await?;
        tx.commit().await?;
        tracing::warn!(event = "campaign.paused_by_alarm", campaign = %campaign, alarm = %alarm);
        Ok(true)
    }

    /// The alarm that keeps a campaign paused; `None` when a person paused it, or it is not paused.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn paused_because(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<Option<Alarm>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, workspace_id, kind, subject, severity, level, {json facts} AS facts, raised_at, last_seen_at, \
                     acknowledged_at, acknowledged_by, resolved_at, paused_at, told_at FROM alarm \
                     WHERE workspace_id = $1 AND subject = $2 AND paused_at IS NOT NULL ORDER BY id DESC LIMIT 1"
                ),
                args![workspace, campaign.to_string()],
            )
            .await?;
        row.as_ref().map(Alarm::read).transpose()
    }

    /// Adds complaints to a campaign's count, or to that of the workspace's single messages. Whoever calls has verified
    /// the report and sees to it that each is counted once.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn count_complaints(&self, workspace: WorkspaceId, campaign: Option<CampaignId>, n: i64) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        self.count(&mut tx, workspace, campaign, &[(COMPLAINTS.to_owned(), n)]).await?;
        tx.commit().await
    }
}

/// A person lets a campaign go on: no alarm keeps it paused any more.
pub(crate) async fn goes_on(tx: &mut Tx, workspace: WorkspaceId, campaign: CampaignId) -> Result<()> {
    tx.execute(
        sql!("UPDATE alarm SET paused_at = NULL WHERE workspace_id = $1 AND subject = $2 AND paused_at IS NOT NULL"),
        args![workspace, campaign.to_string()],
    )
    .await?;
    Ok(())
}
