//! Saved views of the contacts: a name and the filters that the pages show, per workspace.
//!
//! Must not read the filters: they belong to the pages.

use postrider_domain::id::{ViewId, WorkspaceId};
use serde_json::{Map, Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{check_name, conflict, json as read_json, not_found, refused, to_json};
use crate::sql::{Row, args, sql};

/// Longest query in bytes of its JSON.
const QUERY_MAX: usize = 16 * 1024;
/// Most views of a workspace.
const VIEWS_MAX: i64 = 500;

/// A saved view.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedView {
    /// Its id.
    pub id: ViewId,
    /// Its name, unique in the workspace.
    pub name: String,
    /// The filters, as the pages wrote them.
    pub query: Map<String, Value>,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was changed last, i64 milliseconds UTC.
    pub updated_at: i64,
}

impl SavedView {
    fn read(row: &Row) -> Result<SavedView> {
        Ok(SavedView {
            id: ViewId(row.int("id")?),
            name: row.text("name")?,
            query: read_json(row, "query")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

fn query_json(query: &Map<String, Value>) -> Result<String> {
    let text = to_json(query);
    if text.len() > QUERY_MAX {
        return Err(refused("save the view: its query is larger than 16 KiB"));
    }
    // PostgreSQL cannot hold it.
    if text.contains("\\u0000") {
        return Err(refused("save the view: its query has a NUL character; remove it"));
    }
    Ok(text)
}

/// Two people that choose one name at once: the second is told.
pub(crate) async fn take_turns(tx: &mut Tx, workspace: WorkspaceId) -> Result<()> {
    tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
        .await?
        .map(|_| ())
        .ok_or_else(|| not_found("workspace"))
}

async fn check_free(tx: &mut Tx, workspace: WorkspaceId, name: &str, mine: ViewId) -> Result<()> {
    let taken = tx
        .opt(
            sql!("SELECT id FROM saved_view WHERE workspace_id = $1 AND name = $2 AND id <> $3"),
            args![workspace, name, mine],
        )
        .await?;
    match taken {
        None => Ok(()),
        Some(_) => Err(conflict("save the view: another view has this name; choose another or change that one")),
    }
}

impl Store {
    /// The saved views of a workspace, by name, at most 500.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn views(&self, workspace: WorkspaceId) -> Result<Vec<SavedView>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, name, {json query} AS query, created_at, updated_at FROM saved_view \
                     WHERE workspace_id = $1 ORDER BY name, id LIMIT $2"
                ),
                args![workspace, VIEWS_MAX],
            )
            .await?
            .iter()
            .map(SavedView::read)
            .collect()
    }

    /// A saved view by id.
    ///
    /// # Errors
    /// The workspace has no such view.
    pub async fn view(&self, workspace: WorkspaceId, id: ViewId) -> Result<SavedView> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, name, {json query} AS query, created_at, updated_at FROM saved_view \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        SavedView::read(&row.ok_or_else(|| not_found("view"))?)
    }

    /// Saves a view.
    ///
    /// # Errors
    /// The name is taken or refused, the query is too large, or there are 500 views.
    pub async fn create_view(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        name: &str,
        query: &Map<String, Value>,
    ) -> Result<SavedView> {
        check_name("view name", name, 100)?;
        let text = query_json(query)?;
        let id = ViewId(self.next_id());
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx, workspace).await?;
        check_free(&mut tx, workspace, name, id).await?;
        let many = tx
            .one(sql!("SELECT count(*) AS n FROM saved_view WHERE workspace_id = $1"), args![workspace])
            .await?
            .int("n")?;
        if many >= VIEWS_MAX {
            return Err(refused("save the view: there are 500 already; delete one first"));
        }
        tx.execute(
            sql!(
                "INSERT INTO saved_view (id, workspace_id, name, query, created_at, updated_at) \
                 VALUES ($1, $2, $3, {jsonb $4}, $5, $5)"
            ),
            args![id, workspace, name, text, self.now()],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "view.create", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.view(workspace, id).await
    }

    /// Changes name or query of a view.
    ///
    /// # Errors
    /// The workspace has no such view, the name is taken or refused, or the query is too large.
    pub async fn change_view(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: ViewId,
        name: Option<&str>,
        query: Option<&Map<String, Value>>,
    ) -> Result<SavedView> {
        let before = self.view(workspace, id).await?;
        let name = name.unwrap_or(&before.name);
        check_name("view name", name, 100)?;
        let text = query_json(query.unwrap_or(&before.query))?;
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx, workspace).await?;
        check_free(&mut tx, workspace, name, id).await?;
        tx.execute(
            sql!(
                "UPDATE saved_view SET name = $3, query = {jsonb $4}, updated_at = $5 WHERE workspace_id = $1 AND id = $2"
            ),
            args![workspace, id, name, text, self.now()],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "view.change", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.view(workspace, id).await
    }

    /// Deletes a view.
    ///
    /// # Errors
    /// The workspace has no such view.
    pub async fn delete_view(&self, workspace: WorkspaceId, by: &Actor, id: ViewId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let gone = tx
            .execute(sql!("DELETE FROM saved_view WHERE workspace_id = $1 AND id = $2"), args![workspace, id])
            .await?;
        if gone == 0 {
            return Err(not_found("view"));
        }
        self.note(&mut tx, Some(workspace), by, "view.delete", &id.to_string(), json!({})).await?;
        tx.commit().await
    }
}
