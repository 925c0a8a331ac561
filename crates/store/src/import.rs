//! Imports: a file on its way into the book, in slices that each commit rows, evidence and progress together.
//!
//! Killed anywhere and resumed, the result is the same. Must not read files or DNS: rows come parsed and checked.

use postrider_domain::id::{ImportId, NodeId, WorkspaceId};
use postrider_domain::import::{ImportConsent, ImportCounts, ImportState, Mapping};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{check_name, check_text, json, json_opt, not_found, refused, to_json, word};
use crate::sql::{Row, args, sql};

/// An import.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Where it stands.
    pub state: ImportState,
    /// Where the file lies; not for the API.
    #[serde(skip)]
    pub file_path: String,
    /// The name that the file had.
    pub file_name: String,
    /// Its size in bytes.
    pub size: i64,
    /// How its columns are read.
    pub mapping: Mapping,
    /// The consent that it claims.
    pub consent: ImportConsent,
    /// The counts so far.
    pub counts: ImportCounts,
    /// Bytes read and committed.
    pub byte_offset: i64,
    /// Rows read and committed.
    pub rows: i64,
    /// What was detected: character set, delimiter, headings.
    pub detected: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// Who began it: an id as text, empty for the console.
    pub created_by: Option<String>,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When reading began, i64 milliseconds UTC.
    pub started_at: Option<i64>,
    /// When it ended, i64 milliseconds UTC.
    pub finished_at: Option<i64>,
}

/// An import to be made.
#[derive(Debug, Clone, Default)]
pub struct NewImport {
    /// Where the file lies, below the data folder.
    pub file_path: String,
    /// The name that it had.
    pub file_name: String,
    /// Its size in bytes.
    pub size: i64,
    /// How its columns are read.
    pub mapping: Mapping,
    /// The consent that it claims; incomplete: contacts are stored but not mailable (LAW-24).
    pub consent: ImportConsent,
}

/// How an import ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportEnd {
    /// Every row is accounted for.
    Done,
    /// It cannot go on; the text says why and what to do.
    Failed(String),
}

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// Its number, the heading not counted, from 1.
    pub row: i64,
    /// Why.
    pub reason: postrider_domain::import::RefusedReason,
    /// More about it.
    pub detail: String,
    /// The row as it stood in the file, cut to 64 KiB.
    pub raw: String,
}

impl Import {
    fn read(row: &Row) -> Result<Import> {
        Ok(Import {
            id: ImportId(row.int("id")?),
            workspace: WorkspaceId(row.int("workspace_id")?),
            state: word(row, "state", ImportState::parse)?,
            file_path: row.text("file_path")?,
            file_name: row.text("file_name")?,
            size: row.int("size")?,
            mapping: json(row, "mapping")?,
            consent: json(row, "consent")?,
            counts: json(row, "counts")?,
            byte_offset: row.int("byte_offset")?,
            rows: row.int("rows")?,
            detected: json_opt(row, "detected")?,
            error: row.text_opt("error")?,
            created_by: row.text_opt("created_by")?,
            created_at: row.int("created_at")?,
            started_at: row.int_opt("started_at")?,
            finished_at: row.int_opt("finished_at")?,
        })
    }
}

impl Store {
    /// Makes an import and rings for the engine.
    ///
    /// # Errors
    /// A list, the purpose or the wording is not in the workspace, or a text is refused.
    pub async fn create_import(&self, workspace: WorkspaceId, by: &Actor, new: NewImport) -> Result<Import> {
        check_name("file name", &new.file_name, 255)?;
        check_text("source", &new.consent.source, 500)?;
        let mut tx = self.begin(Lane::Web).await?;
        for list in &new.mapping.lists {
            self.list_for_share(&mut tx, workspace, *list).await?;
        }
        if let Some(purpose) = new.consent.purpose {
            tx.opt(sql!("SELECT id FROM purpose WHERE workspace_id = $1 AND id = $2"), args![workspace, purpose])
                .await?
                .ok_or_else(|| not_found("purpose"))?;
        }
        if let Some(wording) = new.consent.wording {
            tx.opt(
                sql!("SELECT id FROM wording WHERE workspace_id = $1 AND id = $2 AND purpose_id = $3"),
                args![workspace, wording, new.consent.purpose],
            )
            .await?
            .ok_or_else(|| not_found("wording"))?;
        }
        if new.consent.given_at.is_some_and(|given| given > self.now()) {
            return Err(refused(
                "make the import: the date of the consent lies in the future; name the day on which people agreed",
            ));
        }
        let id = ImportId(self.next_id());
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO import (id, workspace_id, state, file_path, file_name, size, mapping, consent, counts, \
                     byte_offset, rows, created_by, created_at) \
                     SELECT $1, w.id, 'waiting', $3, $4, $5, {jsonb $6}, {jsonb $7}, {jsonb $8}, 0, 0, $9, $10 \
                     FROM workspace w WHERE w.id = $2"
                ),
                args![
                    id,
                    workspace,
                    new.file_path,
                    new.file_name,
                    new.size,
                    to_json(&new.mapping),
                    to_json(&new.consent),
                    to_json(&ImportCounts::default()),
                    by.id(),
                    self.now()
                ],
            )
            .await?;
        if made == 0 {
            return Err(not_found("workspace"));
        }
        self.note(&mut tx, Some(workspace), by, "import.create", &id.to_string(), json!({})).await?;
        tx.ring(Topic::Import);
        tx.commit().await?;
        self.import(workspace, id).await
    }

    /// An import by id.
    ///
    /// # Errors
    /// The workspace has no such import.
    pub async fn import(&self, workspace: WorkspaceId, id: ImportId) -> Result<Import> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, workspace_id, state, file_path, file_name, size, {json mapping} AS mapping, \
                     {json consent} AS consent, {json counts} AS counts, byte_offset, rows, {json detected} AS detected, \
                     error, created_by, created_at, started_at, finished_at FROM import \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Import::read(&row.ok_or_else(|| not_found("import"))?)
    }

    /// The imports of a workspace, newest first.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn imports(&self, workspace: WorkspaceId, page: &PageRequest) -> Result<Page<Import>> {
        let before: i64 = page.position("import")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, state, file_path, file_name, size, {json mapping} AS mapping, \
                     {json consent} AS consent, {json counts} AS counts, byte_offset, rows, {json detected} AS detected, \
                     error, created_by, created_at, started_at, finished_at FROM import \
                     WHERE workspace_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
                ),
                args![workspace, before, limit + 1],
            )
            .await?;
        let imports = rows.iter().map(Import::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(imports, limit, "import", |import| import.id.get()))
    }

    /// The next import to run, now running here: the oldest that waits, or that was running on this node before its
    /// restart or on a node named in `dead`. Call it when this process runs none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn next_import(&self, dead: &[NodeId]) -> Result<Option<Import>> {
        let mut nodes: Vec<i64> = dead.iter().map(|node| node.get()).collect();
        nodes.push(self.node().get());
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(
                sql!(
                    "UPDATE import SET state = 'running', node = $1, started_at = coalesce(started_at, $2) WHERE id = \
                     (SELECT id FROM import WHERE state = 'waiting' OR (state = 'running' AND node IN {ids $3}) \
                     ORDER BY id LIMIT 1 {for_update} {skip_locked}) \
                     RETURNING id, workspace_id, state, file_path, file_name, size, {json mapping} AS mapping, \
                     {json consent} AS consent, {json counts} AS counts, byte_offset, rows, {json detected} AS detected, \
                     error, created_by, created_at, started_at, finished_at"
                ),
                args![self.node(), self.now(), to_json(&nodes)],
            )
            .await?;
        let import = row.as_ref().map(Import::read).transpose()?;
        if let Some(import) = &import {
            tx.ring(live(import.workspace, import.id));
        }
        tx.commit().await?;
        Ok(import)
    }

    /// Stores what was detected in the file, for people to see and for a resumed run to read it the same way.
    ///
    /// # Errors
    /// The import does not run on this node.
    pub async fn import_detected(&self, import: &Import, detected: &Value) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE import SET detected = {jsonb $3} WHERE workspace_id = $1 AND id = $2 AND state = 'running' \
                     AND node = $4"
                ),
                args![import.workspace, import.id, to_json(detected), self.node()],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("running import"));
        }
        tx.commit().await
    }

    /// Ends a running import.
    ///
    /// # Errors
    /// The import does not run on this node.
    pub async fn finish_import(&self, import: &Import, end: ImportEnd) -> Result<()> {
        let (state, error) = match end {
            ImportEnd::Done => (ImportState::Done, None),
            ImportEnd::Failed(why) => (ImportState::Failed, Some(why.replace('\0', "\u{FFFD}"))),
        };
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE import SET state = $3, error = $4, finished_at = $5 \
                     WHERE workspace_id = $1 AND id = $2 AND state = 'running' AND node = $6"
                ),
                args![import.workspace, import.id, state.as_str(), error, self.now(), self.node()],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("running import"));
        }
        tx.ring(live(import.workspace, import.id));
        tx.commit().await
    }

    /// Stops an import; what was read stays. The engine notices at its next slice.
    ///
    /// # Errors
    /// The workspace has no such import, or it has ended.
    pub async fn stop_import(&self, workspace: WorkspaceId, by: &Actor, id: ImportId) -> Result<Import> {
        self.turn_import(workspace, by, id, "import.stop", &["waiting", "running"], ImportState::Stopped).await
    }

    /// Lets a stopped or failed import go on where it was.
    ///
    /// # Errors
    /// The workspace has no such import, or it is neither stopped nor failed.
    pub async fn resume_import(&self, workspace: WorkspaceId, by: &Actor, id: ImportId) -> Result<Import> {
        self.turn_import(workspace, by, id, "import.resume", &["stopped", "failed"], ImportState::Waiting).await
    }

    async fn turn_import(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: ImportId,
        action: &str,
        from: &[&str],
        to: ImportState,
    ) -> Result<Import> {
        let mut tx = self.begin(Lane::Web).await?;
        let now = self.now();
        let finished = match to {
            ImportState::Stopped | ImportState::Done | ImportState::Failed => Some(now),
            ImportState::Waiting | ImportState::Running => None,
        };
        let row = tx
            .opt(
                sql!("SELECT state FROM import WHERE workspace_id = $1 AND id = $2 {for_update}"),
                args![workspace, id],
            )
            .await?
            .ok_or_else(|| not_found("import"))?;
        let state = row.text("state")?;
        if !from.contains(&state.as_str()) {
            return Err(refused(format!("change the import: it is {state}, which that does not fit")));
        }
        tx.execute(
            sql!("UPDATE import SET state = $3, error = NULL, finished_at = $4 WHERE workspace_id = $1 AND id = $2"),
            args![workspace, id, to.as_str(), finished],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, action, &id.to_string(), json!({})).await?;
        tx.ring(Topic::Import);
        tx.ring(live(workspace, id));
        tx.commit().await?;
        self.import(workspace, id).await
    }

    /// The refused rows of an import in the order of the file.
    ///
    /// # Errors
    /// The workspace has no such import, or the cursor is foreign.
    pub async fn refused_rows(
        &self,
        workspace: WorkspaceId,
        id: ImportId,
        page: &PageRequest,
    ) -> Result<Page<RefusedRow>> {
        let after: i64 = page.position("refused")?.unwrap_or(-1);
        let limit = page.rows();
        let mut reader = self.read().await?;
        reader
            .opt(sql!("SELECT id FROM import WHERE workspace_id = $1 AND id = $2"), args![workspace, id])
            .await?
            .ok_or_else(|| not_found("import"))?;
        let rows = reader
            .all(
                sql!(
                    "SELECT f.row AS n, f.reason, f.detail, f.raw FROM import_refused f \
                     WHERE f.import_id = $1 AND f.row > $2 ORDER BY f.row LIMIT $3"
                ),
                args![id, after, limit + 1],
            )
            .await?;
        let rows = rows
            .iter()
            .map(|row| {
                Ok(RefusedRow {
                    row: row.int("n")?,
                    reason: word(row, "reason", postrider_domain::import::RefusedReason::parse)?,
                    detail: row.text("detail")?,
                    raw: row.text("raw")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "refused", |row| row.row))
    }

    /// Reads the import inside a slice's transaction and holds it; `None` when it no longer runs here.
    pub(crate) async fn running_import(&self, tx: &mut Tx, import: &Import) -> Result<Option<Import>> {
        tx.opt(
            sql!(
                "SELECT id, workspace_id, state, file_path, file_name, size, {json mapping} AS mapping, \
                 {json consent} AS consent, {json counts} AS counts, byte_offset, rows, {json detected} AS detected, \
                 error, created_by, created_at, started_at, finished_at FROM import \
                 WHERE workspace_id = $1 AND id = $2 AND state = 'running' AND node = $3 {for_update}"
            ),
            args![import.workspace, import.id, self.node()],
        )
        .await?
        .as_ref()
        .map(Import::read)
        .transpose()
    }
}

/// What a person who watches the import hears.
pub(crate) fn live(workspace: WorkspaceId, id: ImportId) -> Topic {
    Topic::Live { workspace, what: format!("import:{id}") }
}
