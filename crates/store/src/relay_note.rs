//! What the relay refused or ignored, for the error view. The same thing again within an hour only counts.
//!
//! Bounded: old notes go, and a workspace keeps its newest ones. Must not know SMTP.

use postrider_domain::id::{CredentialId, RelayNoteId, WorkspaceId};
use postrider_domain::relay::RefusedFor;

use crate::Store;
use crate::bell::Topic;
use crate::db::Lane;
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::word;
use crate::sql::{Row, args, sql};

/// A note that is younger than this only counts, in milliseconds.
const SAME_MS: i64 = 3_600_000;
/// Notes are kept so long, in milliseconds.
pub const KEPT_MS: i64 = 30 * 86_400_000;
/// And so many of them, over all workspaces.
pub const KEPT: i64 = 100_000;

/// The name of the listing in its cursors.
const LISTING: &str = "relay_notes";

/// What is to be noted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewRelayNote {
    /// Whose; none while nobody knows.
    pub workspace: Option<WorkspaceId>,
    /// By which credential.
    pub credential: Option<CredentialId>,
    /// Why.
    pub reason: RefusedFor,
    /// The client's address, as text.
    pub client: String,
    /// What it was about; never a whole mailbox.
    pub detail: String,
    /// What the client was told.
    pub reply: String,
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayNote {
    /// Its id.
    pub id: RelayNoteId,
    /// What it says.
    pub note: NewRelayNote,
    /// When it was seen first, i64 milliseconds UTC.
    pub first_at: i64,
    /// And last.
    pub last_at: i64,
    /// How often.
    pub count: i64,
}

impl RelayNote {
    fn read(row: &Row) -> Result<RelayNote> {
        Ok(RelayNote {
            id: RelayNoteId(row.int("id")?),
            note: NewRelayNote {
                workspace: row.int_opt("workspace_id")?.map(WorkspaceId),
                credential: row.int_opt("credential_id")?.map(CredentialId),
                reason: word(row, "reason", RefusedFor::parse)?,
                client: row.text("client")?,
                detail: row.text("detail")?,
                reply: row.text("reply")?,
            },
            first_at: row.int("first_at")?,
            last_at: row.int("last_at")?,
            count: row.int("count")?,
        })
    }
}

impl Store {
    /// Writes notes with how often each was seen.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn note_refusals(&self, notes: &[(NewRelayNote, i64)]) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.begin(Lane::Bulk).await?;
        for (note, count) in notes {
            let known = tx
                .execute(
                    sql!(
                        "UPDATE relay_note SET count = count + $7, last_at = $8, reply = $9 WHERE id = (SELECT id FROM relay_note \
                         WHERE workspace_id IS NOT DISTINCT FROM $1 AND last_at > $6 AND credential_id IS NOT DISTINCT FROM $2 \
                         AND reason = $3 AND client = $4 AND detail = $5 ORDER BY id DESC LIMIT 1)"
                    ),
                    args![
                        note.workspace,
                        note.credential,
                        note.reason.as_str(),
                        note.client.as_str(),
                        note.detail.as_str(),
                        now - SAME_MS,
                        *count,
                        now,
                        note.reply.as_str()
                    ],
                )
                .await?;
            if known == 0 {
                tx.execute(
                    sql!(
                        "INSERT INTO relay_note (id, workspace_id, credential_id, reason, client, detail, reply, first_at, last_at, count) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)"
                    ),
                    args![
                        self.next_id(),
                        note.workspace,
                        note.credential,
                        note.reason.as_str(),
                        note.client.as_str(),
                        note.detail.as_str(),
                        note.reply.as_str(),
                        now,
                        *count
                    ],
                )
                .await?;
            }
            if let Some(workspace) = note.workspace {
                tx.ring(Topic::Live { workspace, what: "relay_note".to_owned() });
            }
        }
        tx.commit().await
    }

    /// The notes of a workspace, and with `strangers` those of nobody, newest first.
    ///
    /// # Errors
    /// The cursor is none of ours, or the database cannot be read.
    pub async fn relay_notes(
        &self,
        workspace: WorkspaceId,
        strangers: bool,
        request: &PageRequest,
    ) -> Result<Page<RelayNote>> {
        let after: i64 = request.position(LISTING)?.unwrap_or(i64::MAX);
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, credential_id, reason, client, detail, reply, first_at, last_at, count FROM relay_note \
                     WHERE (workspace_id = $1 OR ($2 AND workspace_id IS NULL)) AND id < $3 ORDER BY id DESC LIMIT $4"
                ),
                args![workspace, strangers, after, request.rows() + 1],
            )
            .await?;
        let notes = rows.iter().map(RelayNote::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(notes, request.rows(), LISTING, |note| note.id.get()))
    }

    /// Deletes up to `limit` notes that are too old, or more than are kept; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_relay_notes(&self, limit: u32) -> Result<u64> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let gone = tx
            .execute(
                sql!(
                    "DELETE FROM relay_note WHERE id IN (SELECT id FROM relay_note WHERE last_at < $1 OR id <= \
                     coalesce((SELECT id FROM relay_note ORDER BY id DESC LIMIT 1 OFFSET $2), 0) LIMIT $3)"
                ),
                args![self.now() - KEPT_MS, KEPT, limit],
            )
            .await?;
        tx.commit().await?;
        Ok(gone)
    }
}
