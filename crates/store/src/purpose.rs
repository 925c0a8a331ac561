//! Purposes for which consent is given, and the versioned wordings that people agreed to (LAW-20).
//!
//! A wording never changes: another text is another version.

use postrider_domain::consent::PurposeKind;
use postrider_domain::id::{PurposeId, WordingId, WorkspaceId};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{check_lines, check_name, not_found, refused, word};
use crate::secret::{hex, sha256};
use crate::sql::{Row, args, sql};

/// A purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Purpose {
    /// Its id.
    pub id: PurposeId,
    /// What it is for.
    pub kind: PurposeKind,
    /// Its name, as people see it on the preference page.
    pub name: String,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
}

/// One version of a purpose's wording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wording {
    /// Its id.
    pub id: WordingId,
    /// The purpose.
    pub purpose: PurposeId,
    /// 1, 2, 3 ... within the purpose.
    pub version: i64,
    /// Language tag.
    pub language: String,
    /// The full text.
    pub text: String,
    /// SHA-256 of the text, in hex; the ledger names it.
    pub text_hash: String,
    /// When it was written, i64 milliseconds UTC.
    pub created_at: i64,
}

impl Purpose {
    fn read(row: &Row) -> Result<Purpose> {
        Ok(Purpose {
            id: PurposeId(row.int("id")?),
            kind: word(row, "kind", PurposeKind::parse)?,
            name: row.text("name")?,
            created_at: row.int("created_at")?,
        })
    }
}

impl Wording {
    fn read(row: &Row) -> Result<Wording> {
        Ok(Wording {
            id: WordingId(row.int("id")?),
            purpose: PurposeId(row.int("purpose_id")?),
            version: row.int("version")?,
            language: row.text("language")?,
            text: row.text("text")?,
            text_hash: hex(&row.bytes("text_hash")?),
            created_at: row.int("created_at")?,
        })
    }
}

impl Store {
    /// Makes a purpose.
    ///
    /// # Errors
    /// The name is refused, or the workspace does not exist.
    pub async fn create_purpose(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        kind: PurposeKind,
        name: &str,
    ) -> Result<Purpose> {
        let mut tx = self.begin(Lane::Web).await?;
        let id = self.insert_purpose(&mut tx, workspace, by, kind, name).await?;
        tx.commit().await?;
        self.purpose(workspace, id).await
    }

    pub(crate) async fn insert_purpose(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        by: &Actor,
        kind: PurposeKind,
        name: &str,
    ) -> Result<PurposeId> {
        check_name("purpose name", name, 100)?;
        let id = PurposeId(self.next_id());
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO purpose (id, workspace_id, kind, name, created_at) \
                     SELECT $1, w.id, $3, $4, $5 FROM workspace w WHERE w.id = $2"
                ),
                args![id, workspace, kind.as_str(), name, self.now()],
            )
            .await?;
        if made == 0 {
            return Err(not_found("workspace"));
        }
        self.note(tx, Some(workspace), by, "purpose.create", &id.to_string(), json!({ "kind": kind })).await?;
        Ok(id)
    }

    /// The purposes of a workspace, oldest first, at most 500.
    ///
    /// # Errors
    /// The database fails.
    pub async fn purposes(&self, workspace: WorkspaceId) -> Result<Vec<Purpose>> {
        self.read()
            .await?
            .all(
                sql!("SELECT id, kind, name, created_at FROM purpose WHERE workspace_id = $1 ORDER BY id LIMIT 500"),
                args![workspace],
            )
            .await?
            .iter()
            .map(Purpose::read)
            .collect()
    }

    /// A purpose by id.
    ///
    /// # Errors
    /// The workspace has no such purpose.
    pub async fn purpose(&self, workspace: WorkspaceId, id: PurposeId) -> Result<Purpose> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT id, kind, name, created_at FROM purpose WHERE workspace_id = $1 AND id = $2"),
                args![workspace, id],
            )
            .await?;
        Purpose::read(&row.ok_or_else(|| not_found("purpose"))?)
    }

    /// Gives a purpose another name; what people agreed to is the wording, which stays.
    ///
    /// # Errors
    /// The workspace has no such purpose, or the name is refused.
    pub async fn rename_purpose(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: PurposeId,
        name: &str,
    ) -> Result<Purpose> {
        check_name("purpose name", name, 100)?;
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!("UPDATE purpose SET name = $3 WHERE workspace_id = $1 AND id = $2"),
                args![workspace, id, name],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("purpose"));
        }
        self.note(&mut tx, Some(workspace), by, "purpose.rename", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.purpose(workspace, id).await
    }

    /// Writes a new version of a purpose's wording.
    ///
    /// # Errors
    /// The workspace has no such purpose, or the text is refused.
    pub async fn add_wording(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        purpose: PurposeId,
        language: &str,
        text: &str,
    ) -> Result<Wording> {
        let mut tx = self.begin(Lane::Web).await?;
        let id = self.insert_wording(&mut tx, workspace, by, purpose, language, text).await?;
        tx.commit().await?;
        self.wording(workspace, id).await
    }

    pub(crate) async fn insert_wording(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        by: &Actor,
        purpose: PurposeId,
        language: &str,
        text: &str,
    ) -> Result<WordingId> {
        if text.trim().is_empty() {
            return Err(refused("save the wording: it is empty; write what people agree to"));
        }
        check_lines("wording", text, 20_000)?;
        check_name("language", language, 35)?;
        let id = WordingId(self.next_id());
        // The purpose's row lock lets two writers take their version numbers one after the other.
        tx.opt(
            sql!("SELECT id FROM purpose WHERE workspace_id = $1 AND id = $2 {for_update}"),
            args![workspace, purpose],
        )
        .await?
        .ok_or_else(|| not_found("purpose"))?;
        tx.execute(
            sql!(
                "INSERT INTO wording (id, purpose_id, workspace_id, version, language, text, text_hash, created_at) \
                 SELECT $1, $2, $3, coalesce(max(w.version), 0) + 1, $4, $5, $6, $7 FROM wording w WHERE w.purpose_id = $2"
            ),
            args![id, purpose, workspace, language, text, sha256(text.as_bytes()), self.now()],
        )
        .await?;
        self.note(tx, Some(workspace), by, "wording.create", &id.to_string(), json!({})).await?;
        Ok(id)
    }

    /// The wordings of a purpose, newest first, at most 500.
    ///
    /// # Errors
    /// The workspace has no such purpose.
    pub async fn wordings(&self, workspace: WorkspaceId, purpose: PurposeId) -> Result<Vec<Wording>> {
        self.purpose(workspace, purpose).await?;
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, purpose_id, version, language, text, text_hash, created_at FROM wording \
                     WHERE workspace_id = $1 AND purpose_id = $2 ORDER BY version DESC LIMIT 500"
                ),
                args![workspace, purpose],
            )
            .await?
            .iter()
            .map(Wording::read)
            .collect()
    }

    /// A wording by id.
    ///
    /// # Errors
    /// The workspace has no such wording.
    pub async fn wording(&self, workspace: WorkspaceId, id: WordingId) -> Result<Wording> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, purpose_id, version, language, text, text_hash, created_at FROM wording \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Wording::read(&row.ok_or_else(|| not_found("wording"))?)
    }
}
