//! Small questions that only the engine asks.
//!
//! Must not change anything but what has ended by itself.

use postrider_domain::id::{CampaignId, RouteId, WorkspaceId};

use crate::db::Lane;
use crate::error::{Result, StoreError};
use crate::sql::{args, sql};
use crate::store::Store;

impl Store {
    /// Workspaces for which nothing is sent.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn suspended_workspaces(&self) -> Result<Vec<WorkspaceId>> {
        let rows = self
            .read()
            .await?
            .all(sql!("SELECT id FROM workspace WHERE suspended_at IS NOT NULL ORDER BY id"), args![])
            .await?;
        rows.iter().map(|row| row.int("id").map(WorkspaceId)).collect()
    }

    /// The workspace of a campaign and the route that it names.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is gone.
    pub async fn campaign_route(&self, campaign: CampaignId) -> Result<(WorkspaceId, Option<RouteId>)> {
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT workspace_id, route_id FROM campaign WHERE id = $1"), args![campaign])
            .await?
            .ok_or(StoreError::NotFound { what: "campaign" })?;
        Ok((WorkspaceId(row.int("workspace_id")?), row.int_opt("route_id")?.map(RouteId)))
    }

    /// Deletes up to `limit` each of sessions that have ended and inquiries that nobody waits for; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_expired(&self, limit: u32) -> Result<u64> {
        let now = self.now();
        let mut tx = self.begin(Lane::Bulk).await?;
        let sessions = tx
            .execute(
                sql!("DELETE FROM session WHERE hash IN (SELECT hash FROM session WHERE expires_at <= $1 LIMIT $2)"),
                args![now, limit],
            )
            .await?;
        let inquiries = tx
            .execute(
                sql!("DELETE FROM inquiry WHERE id IN (SELECT id FROM inquiry WHERE deadline < $1 LIMIT $2)"),
                args![now - 60_000, limit],
            )
            .await?;
        tx.commit().await?;
        Ok(sessions + inquiries)
    }
}
