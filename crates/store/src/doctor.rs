//! What `postrider doctor` asks the store: do ledgers balance, are chains whole, what keeps mail from leaving.
//!
//! Tells facts; whether they are good is said by who shows them. May read long tables: nobody waits for a page.

use postrider_domain::id::{CampaignId, WorkspaceId};
use postrider_domain::queue::Ledger;
use serde::Serialize;

use crate::Store;
use crate::domain::DkimKey;
use crate::error::Result;
use crate::ledger::LedgerReport;
use crate::sql::{args, sql};

/// Campaigns that are recounted, the newest ones that were ever frozen.
const CAMPAIGNS: i64 = 20;

/// The facts about the store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoctorFacts {
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// Each workspace.
    pub workspaces: Vec<WorkspaceFacts>,
    /// The newest campaigns, counted twice.
    pub campaigns: Vec<CampaignBalance>,
    /// Deliveries that wait, those in doubt included.
    pub unsettled: i64,
    /// Of these: in doubt.
    pub in_doubt: i64,
    /// Of these: waiting for a person.
    pub held: i64,
    /// When the one that is ready longest became ready, i64 milliseconds UTC.
    pub oldest_ready_at: Option<i64>,
    /// Imports that neither ended nor run.
    pub waiting_imports: i64,
}

/// The facts about a workspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkspaceFacts {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// Its public address.
    pub public_url: String,
    /// Contacts by the counter.
    pub contacts_counted: i64,
    /// Contacts by counting rows.
    pub contacts: i64,
    /// The consent ledger's verification.
    pub ledger: LedgerReport,
    /// Sending domains that have an active key.
    pub signing_domains: Vec<String>,
    /// Sending domains without one.
    pub unsigned_domains: Vec<String>,
    /// Whether there is a default route.
    pub has_route: bool,
}

/// A campaign counted by counters and by rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CampaignBalance {
    /// The campaign.
    pub campaign: CampaignId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// By counters.
    pub counters: Ledger,
    /// By rows.
    pub rows: Ledger,
}

impl CampaignBalance {
    /// Whether both balance; they may differ by what happened between the two looks while a campaign runs.
    pub fn balances(&self) -> bool {
        self.counters.balances() && self.rows.balances()
    }

    /// Whether both say the same.
    pub fn agrees(&self) -> bool {
        self.counters == self.rows
    }
}

impl Store {
    /// Looks at everything that can be known from the store alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn doctor(&self) -> Result<DoctorFacts> {
        let mut workspaces = Vec::new();
        for workspace in self.workspaces().await? {
            workspaces.push(self.workspace_facts(workspace.id, workspace.name, workspace.public_url).await?);
        }
        let frozen = self
            .read()
            .await?
            .all(
                sql!("SELECT id, workspace_id FROM campaign WHERE frozen_at IS NOT NULL ORDER BY id DESC LIMIT $1"),
                args![CAMPAIGNS],
            )
            .await?;
        let mut campaigns = Vec::new();
        for row in &frozen {
            let (campaign, workspace) = (CampaignId(row.int("id")?), WorkspaceId(row.int("workspace_id")?));
            campaigns.push(CampaignBalance {
                campaign,
                workspace,
                counters: self.ledger_counts(workspace, campaign).await?,
                rows: self.recount(workspace, campaign).await?,
            });
        }
        let queue = self
            .read()
            .await?
            .one(
                sql!(
                    "SELECT count(*) AS n, count(doubt_epoch) AS doubt, count(held_reason) AS held, \
                     min(ready_at) AS oldest FROM queue"
                ),
                args![],
            )
            .await?;
        let imports =
            self.read().await?.one(sql!("SELECT count(*) AS n FROM import WHERE state = 'waiting'"), args![]).await?;
        Ok(DoctorFacts {
            database: if self.is_sqlite() { "sqlite" } else { "postgres" },
            workspaces,
            campaigns,
            unsettled: queue.int("n")?,
            in_doubt: queue.int("doubt")?,
            held: queue.int("held")?,
            oldest_ready_at: queue.int_opt("oldest")?,
            waiting_imports: imports.int("n")?,
        })
    }

    async fn workspace_facts(&self, id: WorkspaceId, name: String, public_url: String) -> Result<WorkspaceFacts> {
        let contacts = self
            .read()
            .await?
            .one(sql!("SELECT count(*) AS n FROM contact WHERE workspace_id = $1 AND erased_at IS NULL"), args![id])
            .await?
            .int("n")?;
        let (signing, unsigned): (Vec<_>, Vec<_>) =
            self.domains(id).await?.into_iter().partition(|domain| domain.keys.iter().any(DkimKey::signs));
        Ok(WorkspaceFacts {
            id,
            name,
            public_url,
            contacts_counted: self.contact_count(id).await?,
            contacts,
            ledger: self.verify_ledger(id).await?,
            signing_domains: signing.into_iter().map(|domain| domain.name).collect(),
            unsigned_domains: unsigned.into_iter().map(|domain| domain.name).collect(),
            has_route: self.default_route(id).await?.is_some(),
        })
    }
}
