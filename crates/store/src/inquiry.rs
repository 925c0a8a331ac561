//! Inquiries: what a person waits for but only the engine may do (a DNS check, a route test), asked by a row.
//!
//! Must not know any kind of inquiry: arguments and answers are JSON that web and engine agree on.

use std::time::Duration;

use postrider_domain::id::{InquiryId, WorkspaceId};
use serde_json::Value;

use crate::Store;
use crate::bell::Topic;
use crate::db::Lane;
use crate::error::Result;
use crate::read::{check_name, json, json_opt, not_found, refused, to_json};
use crate::sql::{args, sql};

/// How often a waiting side looks when the bell was not heard.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Answered inquiries are kept so long, in milliseconds: somebody may still be reading.
const KEPT_MS: i64 = 60_000;

/// A question for the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Inquiry {
    /// Its id.
    pub id: InquiryId,
    /// Whose; `None` for the installation.
    pub workspace: Option<WorkspaceId>,
    /// What is asked, e.g. `dns_check`.
    pub kind: String,
    /// The arguments.
    pub args: Value,
    /// When nobody waits any more, i64 milliseconds UTC.
    pub deadline: i64,
}

impl Store {
    /// Asks; `wait_ms` says how long somebody will wait.
    ///
    /// # Errors
    /// The kind is refused, or the database fails.
    pub async fn ask(
        &self,
        workspace: Option<WorkspaceId>,
        kind: &str,
        args: &Value,
        wait_ms: i64,
    ) -> Result<InquiryId> {
        check_name("inquiry", kind, 60)?;
        let text = to_json(args);
        if text.contains("\\u0000") {
            return Err(refused("ask: an argument has a NUL character; remove it"));
        }
        let id = InquiryId(self.next_id());
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO inquiry (id, workspace_id, kind, args, deadline, asked_at) VALUES ($1, $2, $3, {jsonb $4}, $5, $6)"
            ),
            args![id, workspace, kind, text, now + wait_ms, now],
        )
        .await?;
        tx.execute(sql!("DELETE FROM inquiry WHERE deadline < $1"), args![now - KEPT_MS]).await?;
        tx.ring(Topic::Inquiry);
        tx.commit().await?;
        Ok(id)
    }

    /// Takes the oldest question that nobody has taken and somebody still waits for.
    ///
    /// # Errors
    /// The database fails.
    pub async fn take_inquiry(&self) -> Result<Option<Inquiry>> {
        let now = self.now();
        let open = self
            .read()
            .await?
            .opt(
                sql!("SELECT id FROM inquiry WHERE answered_at IS NULL AND taken_by IS NULL AND deadline > $1 LIMIT 1"),
                args![now],
            )
            .await?;
        if open.is_none() {
            return Ok(None);
        }
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(
                sql!(
                    "UPDATE inquiry SET taken_by = $1 WHERE id = \
                     (SELECT id FROM inquiry WHERE answered_at IS NULL AND taken_by IS NULL AND deadline > $2 \
                     ORDER BY id LIMIT 1 {for_update} {skip_locked}) \
                     RETURNING id, workspace_id, kind, {json args} AS args, deadline"
                ),
                args![self.node(), now],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let inquiry = Inquiry {
            id: InquiryId(row.int("id")?),
            workspace: row.int_opt("workspace_id")?.map(WorkspaceId),
            kind: row.text("kind")?,
            args: json(&row, "args")?,
            deadline: row.int("deadline")?,
        };
        tx.commit().await?;
        Ok(Some(inquiry))
    }

    /// Answers a question; the first answer counts.
    ///
    /// # Errors
    /// The database fails. An inquiry that is gone is no error: nobody waits for it.
    pub async fn answer(&self, id: InquiryId, answer: &Value) -> Result<()> {
        let text = to_json(answer).replace("\\u0000", "\\ufffd");
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!("UPDATE inquiry SET answer = {jsonb $2}, answered_at = $3 WHERE id = $1 AND answered_at IS NULL"),
            args![id, text, self.now()],
        )
        .await?;
        tx.ring(Topic::Inquiry);
        tx.commit().await
    }

    /// Looks for the answer; `None` while there is none.
    ///
    /// # Errors
    /// The inquiry is gone, or belongs to another workspace.
    pub async fn answer_of(&self, workspace: Option<WorkspaceId>, id: InquiryId) -> Result<Option<Value>> {
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT workspace_id, {json answer} AS answer FROM inquiry WHERE id = $1"), args![id])
            .await?
            .ok_or_else(|| not_found("inquiry"))?;
        if row.int_opt("workspace_id")?.map(WorkspaceId) != workspace {
            return Err(not_found("inquiry"));
        }
        json_opt(&row, "answer")
    }

    /// Waits for the answer, at most `longest`; `None` when it did not come.
    ///
    /// # Errors
    /// As [`Store::answer_of`].
    pub async fn wait_for_answer(
        &self,
        workspace: Option<WorkspaceId>,
        id: InquiryId,
        longest: Duration,
    ) -> Result<Option<Value>> {
        // Listening begins before the first look, so that no ring is missed between the two.
        let mut rings = self.bell().listen();
        let wait = async {
            loop {
                if let Some(answer) = self.answer_of(workspace, id).await? {
                    return Ok(answer);
                }
                let heard = async {
                    while let Ok(topic) = rings.recv().await {
                        if topic == Topic::Inquiry {
                            return;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                // Not heard is no fault: the next look tells.
                let _ = tokio::time::timeout(LOOK_EVERY, heard).await;
            }
        };
        match tokio::time::timeout(longest, wait).await {
            Ok(answer) => answer.map(Some),
            Err(_) => Ok(None),
        }
    }
}
