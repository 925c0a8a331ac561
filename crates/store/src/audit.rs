//! The audit: who did what to which object, appended in the transaction of the act itself (SEC-81).
//!
//! Must not hold mailboxes or secrets: objects are named by id, and `detail` says which fields changed, not their text.

use postrider_domain::contact::has_control;
use postrider_domain::id::{AuditId, WorkspaceId};
use serde::Serialize;
use serde_json::Value;

use crate::Store;
use crate::actor::{Actor, ActorKind};
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest, after_prefix};
use crate::read::{json, to_json, word};
use crate::sql::{Row, args, sql};

/// Objects whose pages follow what happens to them. Contacts ring for themselves: the engine hears it, too.
const WATCHED: &[&str] = &["campaign", "credential", "domain", "import", "list", "route", "suppression", "template"];

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

/// Which lines are shown; `None` lets everything through.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// By actors of this kind.
    pub actor_kind: Option<ActorKind>,
    /// By the actor with this id.
    pub actor: Option<String>,
    /// Acts whose name begins so: `campaign.` or `campaign.start`.
    pub action: Option<String>,
    /// On the object with this id.
    pub object: Option<String>,
    /// From this time on, i64 milliseconds UTC.
    pub from: Option<i64>,
    /// Before this time, i64 milliseconds UTC.
    pub until: Option<i64>,
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
        // What somebody did is what others who look at it want to see.
        let kind = action.split_once('.').map_or(action, |(kind, _)| kind);
        if let Some(workspace) = workspace.filter(|_| WATCHED.contains(&kind) && !object.is_empty()) {
            tx.ring(Topic::Live { workspace, what: format!("{kind}:{object}") });
        }
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
        self.find_audit(workspace, &AuditFilter::default(), page).await
    }

    /// As [`Store::audit`], only what the filter lets through.
    ///
    /// # Errors
    /// As there.
    pub async fn find_audit(
        &self,
        workspace: WorkspaceId,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditLine>> {
        let texts = [&filter.actor, &filter.action, &filter.object];
        if texts.into_iter().flatten().any(|text| has_control(text)) {
            // Nothing of ours has one, and PostgreSQL refuses a NUL.
            return Ok(Page { items: Vec::new(), next: None });
        }
        // `campaign.` is every act on campaigns, `campaign.start` that one.
        let end = filter.action.as_deref().and_then(after_prefix);
        let before: i64 = page.position("audit")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, at, actor_kind, actor, action, object, {json detail} AS detail FROM audit \
                     WHERE workspace_id = $1 AND id < $2 \
                     AND (CAST($4 AS TEXT) IS NULL OR actor_kind = $4) AND (CAST($5 AS TEXT) IS NULL OR actor = $5) \
                     AND (CAST($6 AS TEXT) IS NULL OR (action >= $6 AND action < $7)) \
                     AND (CAST($8 AS TEXT) IS NULL OR object = $8) AND at >= $9 AND at < $10 \
                     ORDER BY id DESC LIMIT $3"
                ),
                args![
                    workspace,
                    before,
                    limit + 1,
                    filter.actor_kind.map(ActorKind::as_str),
                    filter.actor.clone(),
                    filter.action.clone(),
                    end,
                    filter.object.clone(),
                    filter.from.unwrap_or(0),
                    filter.until.unwrap_or(i64::MAX)
                ],
            )
            .await?;
        let lines = rows.iter().map(AuditLine::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(lines, limit, "audit", |line| line.id.get()))
    }
}
