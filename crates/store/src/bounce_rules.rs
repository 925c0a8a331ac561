//! Bounce rules that workspaces write for themselves, as the text that they wrote.
//!
//! They are read and tried with their samples before they are kept. Must not know how a reply is judged.

use postrider_domain::bounce::RuleBook;
use postrider_domain::id::WorkspaceId;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::Lane;
use crate::error::Result;
use crate::read::{not_found, refused};
use crate::sql::{Row, args, sql};

/// The bounce rules of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnBounceRules {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The rules, as TOML.
    pub text: String,
    /// When they were set, i64 milliseconds UTC.
    pub updated_at: i64,
}

impl OwnBounceRules {
    fn read(row: &Row) -> Result<OwnBounceRules> {
        Ok(OwnBounceRules {
            workspace: WorkspaceId(row.int("workspace_id")?),
            text: row.text("text")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

impl Store {
    /// The rules of a workspace; `None` when it has none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn bounce_rules(&self, workspace: WorkspaceId) -> Result<Option<OwnBounceRules>> {
        self.read()
            .await?
            .opt(
                sql!("SELECT workspace_id, text, updated_at FROM bounce_rules WHERE workspace_id = $1"),
                args![workspace],
            )
            .await?
            .as_ref()
            .map(OwnBounceRules::read)
            .transpose()
    }

    /// Which workspaces have rules, and when they were set; for the engine.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn bounce_rule_times(&self) -> Result<Vec<(WorkspaceId, i64)>> {
        self.read()
            .await?
            .all(sql!("SELECT workspace_id, updated_at FROM bounce_rules ORDER BY workspace_id"), args![])
            .await?
            .iter()
            .map(|row| Ok((WorkspaceId(row.int("workspace_id")?), row.int("updated_at")?)))
            .collect()
    }

    /// Sets the rules of a workspace in place of those before. The engine hears of it at once.
    ///
    /// # Errors
    /// They cannot be read, or one does not do what its samples say; then those before stay.
    pub async fn put_bounce_rules(&self, workspace: WorkspaceId, by: &Actor, text: &str) -> Result<OwnBounceRules> {
        if text.contains('\0') {
            return Err(refused("save the bounce rules: they have a NUL character; remove it"));
        }
        let book = {
            let text = text.to_owned();
            tokio::task::spawn_blocking(move || RuleBook::with_own(&[&text])).await
        };
        let book = match book {
            Ok(Ok(book)) => book,
            Ok(Err(error)) => return Err(refused(format!("save the bounce rules: could not {error}"))),
            Err(_) => return Err(refused("save the bounce rules: they could not be tried")),
        };
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO bounce_rules (workspace_id, text, updated_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (workspace_id) DO UPDATE SET text = excluded.text, updated_at = excluded.updated_at"
            ),
            args![workspace, text, now],
        )
        .await?;
        let detail = json!({ "version": book.version() });
        self.note(&mut tx, Some(workspace), by, "bounce_rules.set", &workspace.to_string(), detail).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(OwnBounceRules { workspace, text: text.to_owned(), updated_at: now })
    }

    /// Forgets the rules of a workspace.
    ///
    /// # Errors
    /// It has none.
    pub async fn delete_bounce_rules(&self, workspace: WorkspaceId, by: &Actor) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let gone = tx.execute(sql!("DELETE FROM bounce_rules WHERE workspace_id = $1"), args![workspace]).await?;
        if gone == 0 {
            return Err(not_found("bounce rules of the workspace"));
        }
        self.note(&mut tx, Some(workspace), by, "bounce_rules.delete", &workspace.to_string(), json!({})).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }
}
