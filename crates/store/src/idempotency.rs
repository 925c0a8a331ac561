//! Idempotency-Key: a request that creates or sends is carried out once, and its answer is given again.
//!
//! Answers are sealed, because they can hold personal data, and go after a day. Must not know what a request means.

use postrider_domain::id::WorkspaceId;

use crate::Store;
use crate::db::Lane;
use crate::error::Result;
use crate::read::refused;
use crate::sql::{args, sql};

/// How long an answer is kept, in milliseconds.
pub const KEPT_MS: i64 = 24 * 3_600_000;
/// A request that was begun and never finished may be tried again after so many milliseconds.
const ABANDONED_MS: i64 = 60_000;

/// A request as its key stands for it.
#[derive(Debug, Clone)]
pub struct OnceRequest {
    /// The key that the client chose, 1 to 200 visible ASCII characters.
    pub key: String,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// SHA-256 of the body and of who asks.
    pub hash: Vec<u8>,
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// Carry it out, then call [`Store::finish_once`].
    Fresh,
    /// It was carried out: answer the same.
    Replay {
        /// HTTP status.
        status: u16,
        /// Body.
        body: Vec<u8>,
    },
    /// The key was used for another request.
    Mismatch,
    /// The same request is being carried out now.
    Running,
}

fn place(workspace: WorkspaceId, key: &str) -> String {
    format!("idempotency.{}.{key}.body", workspace.get())
}

impl Store {
    /// Begins a request.
    ///
    /// # Errors
    /// The key is refused, or the database fails.
    pub async fn begin_once(&self, workspace: WorkspaceId, request: &OnceRequest) -> Result<Once> {
        let key = request.key.as_str();
        if key.is_empty() || key.len() > 200 || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refused(
                "use the Idempotency-Key: it should be 1 to 200 visible ASCII characters, e.g. a UUID",
            ));
        }
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        // One that is over, or that its process left behind, gives way.
        tx.execute(
            sql!(
                "DELETE FROM idempotency WHERE workspace_id = $1 AND key = $2 \
                 AND (at < $3 OR (status IS NULL AND at < $4))"
            ),
            args![workspace, key, now - KEPT_MS, now - ABANDONED_MS],
        )
        .await?;
        let fresh = tx
            .execute(
                sql!(
                    "INSERT INTO idempotency (workspace_id, key, method, path, request_hash, at) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, key) DO NOTHING"
                ),
                args![workspace, key, request.method.as_str(), request.path.as_str(), request.hash.clone(), now],
            )
            .await?;
        if fresh == 1 {
            tx.commit().await?;
            return Ok(Once::Fresh);
        }
        let row = tx
            .one(
                sql!(
                    "SELECT method, path, request_hash, status, body FROM idempotency WHERE workspace_id = $1 AND key = $2"
                ),
                args![workspace, key],
            )
            .await?;
        let same = row.text("method")? == request.method
            && row.text("path")? == request.path
            && row.bytes("request_hash")? == request.hash;
        if !same {
            return Ok(Once::Mismatch);
        }
        let Some(status) = row.int_opt("status")? else { return Ok(Once::Running) };
        let stored = row.bytes_opt("body")?.unwrap_or_default();
        // `accept_message` stores its answer, which holds ids only, as it is; a sealed one never begins with a brace.
        let body =
            if stored.first() == Some(&b'{') { stored } else { self.unseal(&place(workspace, key), &stored)?.to_vec() };
        Ok(Once::Replay { status: u16::try_from(status).unwrap_or(500), body })
    }

    /// Keeps the answer of a request that was carried out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish_once(&self, workspace: WorkspaceId, key: &str, status: u16, body: &[u8]) -> Result<()> {
        let sealed = self.seal(&place(workspace, key), body)?;
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "UPDATE idempotency SET status = $3, body = $4 WHERE workspace_id = $1 AND key = $2 AND status IS NULL"
            ),
            args![workspace, key, status, sealed],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets a request that could not be carried out, so that the client can try again with the same key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn abandon_once(&self, workspace: WorkspaceId, key: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!("DELETE FROM idempotency WHERE workspace_id = $1 AND key = $2 AND status IS NULL"),
            args![workspace, key],
        )
        .await?;
        tx.commit().await
    }

    /// Deletes up to `limit` answers that are older than a day; the number deleted. For the retention task.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_answers(&self, limit: u32) -> Result<u64> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let gone = tx
            .execute(
                sql!(
                    "DELETE FROM idempotency WHERE (workspace_id, key) IN \
                     (SELECT workspace_id, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2)"
                ),
                args![self.now() - KEPT_MS, limit],
            )
            .await?;
        tx.commit().await?;
        Ok(gone)
    }
}
