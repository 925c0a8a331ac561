//! Counters of the book: added to in the transaction of the change, one row per node, summed by readers.
//!
//! Must not decide what is counted; a long table is never counted row by row for a page.

use std::collections::BTreeMap;

use postrider_domain::id::{CampaignId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::db::Tx;
use crate::error::Result;
use crate::read::to_json;
use crate::sql::{args, sql};

/// Contacts in the book.
pub(crate) const CONTACTS: &str = "contacts";
/// People who opted out through a message of the campaign.
pub(crate) const OPT_OUTS: &str = "opt_outs";

impl Store {
    /// Adds to counters; call it last, so that their rows are held shortest.
    pub(crate) async fn count(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        campaign: Option<CampaignId>,
        changes: &[(String, i64)],
    ) -> Result<()> {
        // In key order, so that two transactions never wait for each other crosswise.
        let sorted: BTreeMap<&str, i64> = changes.iter().fold(BTreeMap::new(), |mut sums, (name, n)| {
            *sums.entry(name.as_str()).or_default() += n;
            sums
        });
        let rows: Vec<_> = sorted.iter().map(|(name, n)| json!({ "name": name, "n": n })).collect();
        tx.execute(
            sql!(
                "INSERT INTO counter (campaign_id, workspace_id, name, node, value) \
                 SELECT $2, $3, r.name, $4, r.n FROM {rows $1 (name text, n bigint)} r WHERE r.n <> 0 ORDER BY r.name \
                 ON CONFLICT (campaign_id, workspace_id, name, node) DO UPDATE SET value = counter.value + excluded.value"
            ),
            args![to_json(&rows), campaign.map_or(0, CampaignId::get), workspace, self.node()],
        )
        .await?;
        Ok(())
    }

    /// One counter, summed over nodes; 0 when it was never added to.
    pub(crate) async fn counted(
        &self,
        workspace: WorkspaceId,
        campaign: Option<CampaignId>,
        name: &str,
    ) -> Result<i64> {
        self.read()
            .await?
            .one(
                sql!(
                    "SELECT CAST(coalesce(sum(value), 0) AS BIGINT) AS n FROM counter \
                     WHERE campaign_id = $1 AND workspace_id = $2 AND name = $3"
                ),
                args![campaign.map_or(0, CampaignId::get), workspace, name],
            )
            .await?
            .int("n")
    }

    /// Every counter of a campaign, or of the workspace as a whole, summed over nodes.
    pub(crate) async fn counters(
        &self,
        workspace: WorkspaceId,
        campaign: Option<CampaignId>,
    ) -> Result<BTreeMap<String, i64>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT name, CAST(sum(value) AS BIGINT) AS n FROM counter \
                     WHERE campaign_id = $1 AND workspace_id = $2 GROUP BY name"
                ),
                args![campaign.map_or(0, CampaignId::get), workspace],
            )
            .await?
            .iter()
            .map(|row| Ok((row.text("name")?, row.int("n")?)))
            .collect()
    }
}
