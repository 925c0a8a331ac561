//! Counters: each ends in a node key and is summed by readers, so that nodes never wait for each other (DESIGN section 4).
//!
//! Increments come from the rows that a statement really changed, and are written last.

use std::collections::BTreeMap;

use postrider_domain::gate::Withheld;
use postrider_domain::id::{CampaignId, NodeId, WorkspaceId};
use postrider_domain::outcome::OutcomeKind;
use postrider_domain::queue::Ledger;

use crate::db::Tx;
use crate::error::Result;
use crate::sql::{args, sql};
use crate::store::Store;

/// Deliveries made for a campaign, or taken one at a time.
pub const FROZEN: &str = "frozen";
/// Attempts written down.
pub const ATTEMPTS: &str = "attempts";
/// Rows whose mark has not been settled.
pub const IN_DOUBT: &str = "in_doubt";
/// Rows that wait for a person.
pub const HELD: &str = "held";
/// Recipients who complained.
pub const COMPLAINTS: &str = "complaints";
/// Deliveries that a person ended as bounced, by a rule of the queue; they are in the counter of refused ones as well.
pub const BOUNCED_BY_HAND: &str = "bounced_by_hand";
/// Deliveries in doubt that were sent again.
pub const IN_DOUBT_RESENT: &str = "in_doubt_resent";

/// The counter of contacts left out for a reason when the audience was frozen.
pub fn excluded(reason: Withheld) -> String {
    format!("excluded:{reason}")
}

/// The counter of deliveries withheld for a reason after freezing.
pub fn withheld(reason: Withheld) -> String {
    format!("withheld:{reason}")
}

/// Changes collected during a transaction.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<(i64, i64, String), i64>,
    /// Workspace, campaign, minute since 1970, name.
    minutes: BTreeMap<(i64, i64, i64, &'static str), i64>,
}

impl Tally {
    /// Adds to a counter of a campaign, or of the workspace's single messages.
    pub(crate) fn add(&mut self, workspace: WorkspaceId, campaign: Option<CampaignId>, name: &str, n: i64) {
        if n != 0 {
            let key = (campaign.map_or(0, CampaignId::get), workspace.get(), name.to_owned());
            *self.counts.entry(key).or_default() += n;
        }
    }

    /// Counts by the minute too, for the curve of its campaign: `accepted`, `rejected`, `expired` or `deferred`.
    pub(crate) fn moment(&mut self, workspace: WorkspaceId, campaign: Option<CampaignId>, name: &'static str, at: i64) {
        let key = (workspace.get(), campaign.map_or(0, CampaignId::get), at.div_euclid(60_000), name);
        *self.minutes.entry(key).or_default() += 1;
    }

    /// Writes the changes, in the order of their keys.
    pub(crate) async fn write(self, tx: &mut Tx, node: NodeId) -> Result<()> {
        write_minutes(tx, node, self.minutes).await?;
        let rows: Vec<serde_json::Value> = self
            .counts
            .into_iter()
            .filter(|(_, n)| *n != 0)
            .map(|((campaign, workspace, name), n)| serde_json::json!({"c": campaign, "w": workspace, "k": name, "v": n}))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        tx.execute(
            sql!(
                "INSERT INTO counter (campaign_id, workspace_id, name, node, value) \
                 SELECT r.c, r.w, r.k, $1, r.v FROM {rows $2 (c bigint, w bigint, k text, v bigint)} r WHERE TRUE \
                 ON CONFLICT (campaign_id, workspace_id, name, node) DO UPDATE SET value = counter.value + excluded.value"
            ),
            args![node, serde_json::Value::Array(rows)],
        )
        .await?;
        Ok(())
    }
}

async fn write_minutes(tx: &mut Tx, node: NodeId, minutes: BTreeMap<(i64, i64, i64, &'static str), i64>) -> Result<()> {
    if minutes.is_empty() {
        return Ok(());
    }
    let rows: Vec<serde_json::Value> = minutes
        .into_iter()
        .map(|((workspace, campaign, minute, name), n)| {
            serde_json::json!({"c": campaign, "w": workspace, "m": minute, "k": name, "v": n})
        })
        .collect();
    tx.execute(
        sql!(
            "INSERT INTO minute_counter (campaign_id, workspace_id, minute, name, node, value) \
             SELECT r.c, r.w, r.m, r.k, $1, r.v \
             FROM {rows $2 (c bigint, w bigint, m bigint, k text, v bigint)} r WHERE TRUE \
             ON CONFLICT (workspace_id, campaign_id, minute, name, node) \
             DO UPDATE SET value = minute_counter.value + excluded.value"
        ),
        args![node, serde_json::Value::Array(rows)],
    )
    .await?;
    Ok(())
}

impl Store {
    /// Every counter of a campaign, summed over nodes.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn campaign_counts(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<BTreeMap<String, i64>> {
        self.counts(workspace, campaign.get()).await
    }

    /// Every counter of the workspace's single messages, summed over nodes.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn message_counts(&self, workspace: WorkspaceId) -> Result<BTreeMap<String, i64>> {
        self.counts(workspace, 0).await
    }

    async fn counts(&self, workspace: WorkspaceId, campaign: i64) -> Result<BTreeMap<String, i64>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT name, CAST(sum(value) AS BIGINT) AS value FROM counter \
                     WHERE campaign_id = $1 AND workspace_id = $2 GROUP BY name"
                ),
                args![campaign, workspace],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.int("value")?))).collect()
    }

    /// The ledger of a campaign from its counters: cheap, for reports and live progress.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ledger_counts(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<Ledger> {
        Ok(ledger_of(&self.campaign_counts(workspace, campaign).await?))
    }

    /// The ledger of a campaign counted row by row: for `doctor` and tests, which compare it with the counters.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn recount(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<Ledger> {
        let mut reader = self.snapshot().await?;
        let mut ledger = Ledger::default();
        let outcomes = reader
            .all(
                sql!(
                    "SELECT outcome, count(*) AS n FROM delivery WHERE workspace_id = $1 AND campaign_id = $2 GROUP BY outcome"
                ),
                args![workspace, campaign],
            )
            .await?;
        for row in &outcomes {
            let n = row.int("n")?;
            ledger.frozen += n;
            if let Some(kind) = crate::read::word_opt(row, "outcome", OutcomeKind::parse)? {
                ledger.add(kind, n);
            }
        }
        let row = reader
            .one(
                sql!(
                    "SELECT count(*) AS n, count(q.held_reason) AS held, count(q.doubt_epoch) AS doubt \
                     FROM queue q JOIN lane l ON l.id = q.lane_id WHERE l.workspace_id = $1 AND l.campaign_id = $2"
                ),
                args![workspace, campaign],
            )
            .await?;
        ledger.held = row.int("held")?;
        ledger.queued = row.int("n")? - ledger.held;
        ledger.in_doubt = row.int("doubt")?;
        Ok(ledger)
    }
}

/// The ledger that counters tell. What is queued follows from the rest; [`Store::recount`] proves it.
pub(crate) fn ledger_of(counts: &BTreeMap<String, i64>) -> Ledger {
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    let mut ledger = Ledger { frozen: of(FROZEN), held: of(HELD), in_doubt: of(IN_DOUBT), ..Ledger::default() };
    let mut settled = 0;
    for kind in OutcomeKind::ALL {
        let n = of(kind.as_str());
        ledger.add(*kind, n);
        settled += n;
    }
    ledger.queued = ledger.frozen - settled - ledger.held;
    ledger
}
