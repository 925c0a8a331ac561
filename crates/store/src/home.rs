//! What the first page shows: what is set up, what is under way, what needs somebody. Cheap enough to be asked often.
//!
//! Tells facts; what they mean is said by who shows them. Counts no long table.

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::{ImportId, WorkspaceId};
use postrider_domain::import::ImportState;

use crate::Store;
use crate::campaign::Campaign;
use crate::domain::SendingDomain;
use crate::error::Result;
use crate::page::PageRequest;
use crate::read::word;
use crate::sql::{args, sql};
use crate::workspace::Workspace;

/// Most campaigns of a kind that are shown.
const SHOWN: u32 = 20;
/// Imports that ended badly are shown for so long, in milliseconds.
const IMPORTS_FOR: i64 = 14 * 86_400_000;

/// An import that did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenImport {
    /// Its id.
    pub id: ImportId,
    /// The name of its file.
    pub file_name: String,
    /// Stopped or failed.
    pub state: ImportState,
    /// Why it failed.
    pub error: Option<String>,
}

/// Messages among which a test is looked for.
const MESSAGES: i64 = 1_000;

/// The facts of the first page.
#[derive(Debug, Clone)]
pub struct HomeFacts {
    /// The workspace.
    pub workspace: Workspace,
    /// Its sending domains.
    pub domains: Vec<SendingDomain>,
    /// Whether there is a default route.
    pub has_route: bool,
    /// Contacts in the book.
    pub contacts: i64,
    /// Whether any contact has agreed to anything.
    pub has_consent: bool,
    /// Whether a test message is among the newest messages, or a campaign was started.
    pub has_test: bool,
    /// Whether a campaign was ever started.
    pub has_sent: bool,
    /// Whether there is any campaign.
    pub has_campaign: bool,
    /// Campaigns being frozen or sent.
    pub running: Vec<Campaign>,
    /// Paused campaigns.
    pub paused: Vec<Campaign>,
    /// Campaigns whose time passed.
    pub missed: Vec<Campaign>,
    /// Scheduled campaigns, the next first.
    pub scheduled: Vec<Campaign>,
    /// Imports that stopped or failed of late.
    pub imports: Vec<BrokenImport>,
    /// Whether the disk is too full to take anything.
    pub disk_low: bool,
}

impl Store {
    /// The facts of the first page.
    ///
    /// # Errors
    /// The workspace does not exist.
    pub async fn home(&self, workspace: WorkspaceId) -> Result<HomeFacts> {
        let found = self.workspace(workspace).await?;
        let in_state = async |state| -> Result<Vec<Campaign>> {
            Ok(self.campaigns(workspace, Some(state), &PageRequest::first(SHOWN)).await?.items)
        };
        let mut running = in_state(CampaignState::Sending).await?;
        running.extend(in_state(CampaignState::Freezing).await?);
        let mut scheduled = in_state(CampaignState::Scheduled).await?;
        scheduled.sort_by_key(|c| c.start_at.unwrap_or(i64::MAX));
        let any = self
            .read()
            .await?
            .one(
                sql!(
                    "SELECT \
                       EXISTS (SELECT 1 FROM campaign WHERE workspace_id = $1) AS campaign, \
                       EXISTS (SELECT 1 FROM campaign WHERE workspace_id = $1 AND frozen_at IS NOT NULL) AS sent, \
                       EXISTS (SELECT 1 FROM (SELECT test_of FROM message WHERE workspace_id = $1 ORDER BY id DESC LIMIT $2) m \
                         WHERE m.test_of IS NOT NULL) AS test, \
                       EXISTS (SELECT 1 FROM ledger WHERE workspace_id = $1) AS consent"
                ),
                args![workspace, MESSAGES],
            )
            .await?;
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, file_name, state, error FROM import \
                     WHERE workspace_id = $1 AND state IN ('failed', 'stopped') AND created_at > $2 \
                     ORDER BY id DESC LIMIT 20"
                ),
                args![workspace, self.now() - IMPORTS_FOR],
            )
            .await?;
        let mut imports = Vec::with_capacity(rows.len());
        for row in &rows {
            imports.push(BrokenImport {
                id: ImportId(row.int("id")?),
                file_name: row.text("file_name")?,
                state: word(row, "state", ImportState::parse)?,
                error: row.text_opt("error")?,
            });
        }
        Ok(HomeFacts {
            workspace: found,
            domains: self.domains(workspace).await?,
            has_route: self.default_route(workspace).await?.is_some(),
            contacts: self.contact_count(workspace).await?,
            has_consent: any.bool("consent")?,
            has_test: any.bool("test")? || any.bool("sent")?,
            has_sent: any.bool("sent")?,
            has_campaign: any.bool("campaign")?,
            running,
            paused: in_state(CampaignState::Paused).await?,
            missed: in_state(CampaignState::Missed).await?,
            scheduled,
            imports,
            disk_low: self.space()?.low,
        })
    }
}
