//! The audit: who did what to which object, appended in the transaction of the act itself (SEC-81).
//!
//! Must not hold mailboxes or secrets: objects are named by id, and `detail` says which fields changed, not their text.

use postrider_domain::id::{AuditId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;

use crate::Store;
use crate::actor::{Actor, ActorKind};
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{json, to_json, word};
use crate::sql::{Row, args, sql};

/// One line of the audit.
#[derive(Debug, Clone, Serialize)]
pub struct AuditLine {
    /// Its id.
    pub id: AuditId,
    /// When, i64 milliseconds UTC.
    pub at: i64,
    /// What kind of actor.
    pub actor_kind: ActorKind,
    /// The actor's id as text; empty for the console, the engine and persons.
    pub actor: String,
    /// What was done, e.g. `campaign.start`.
    pub action: String,
    /// The id of the object as text.
    pub object: String,
    /// What else matters; never mailboxes or secrets.
    pub detail: Value,
}

impl AuditLine {
    fn read(row: &Row) -> Result<AuditLine> {
        Ok(AuditLine {
            id: AuditId(row.int("id")?),
            at: row.int("at")?,
            actor_kind: word(row, "actor_kind", ActorKind::parse)?,
            actor: row.text("actor")?,
            action: row.text("action")?,
            object: row.text("object")?,
            detail: json(row, "detail")?,
        })
    }
}

impl Store {
    /// Writes a line inside the transaction of the act.
    pub(crate) async fn note(
        &self,
        tx: &mut Tx,
        workspace: Option<WorkspaceId>,
        by: &Actor,
        action: &str,
        object: &str,
        detail: Value,
    ) -> Result<()> {
        tx.execute(
            sql!(
                "INSERT INTO audit (id, workspace_id, at, actor_kind, actor, action, object, detail) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, {jsonb $8})"
            ),
            args![
                self.next_id(),
                workspace.map(WorkspaceId::get),
                self.now(),
                by.kind().as_str(),
                by.id(),
                action,
                object,
                to_json(&detail)
            ],
        )
        .await?;
        Ok(())
    }

    /// Writes a line for an act that changes nothing in the book, such as an export or a refused log-in.
    ///
    /// # Errors
    /// The database fails.
    pub async fn note_act(
        &self,
        workspace: Option<WorkspaceId>,
        by: &Actor,
        action: &str,
        object: &str,
        detail: Value,
    ) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        self.note(&mut tx, workspace, by, action, object, detail).await?;
        tx.commit().await
    }

    /// The audit of a workspace, newest first.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn audit(&self, workspace: WorkspaceId, page: &PageRequest) -> Result<Page<AuditLine>> {
        let before: i64 = page.position("audit")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, at, actor_kind, actor, action, object, {json detail} AS detail FROM audit \
                     WHERE workspace_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
                ),
                args![workspace, before, limit + 1],
            )
            .await?;
        let lines = rows.iter().map(AuditLine::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(lines, limit, "audit", |line| line.id.get()))
    }
}
