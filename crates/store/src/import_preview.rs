//! What an import would meet in the book, without writing anything.

use postrider_domain::id::WorkspaceId;
use serde_json::json;

use crate::Store;
use crate::error::Result;
use crate::message::hex;
use crate::sql::{args, sql};

/// How many of some mailboxes are in the book, and how many are suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Met {
    /// Those that are contacts already.
    pub known: i64,
    /// Those that are suppressed in any scope, by themselves or with their domain.
    pub suppressed: i64,
}

impl Store {
    /// Looks up mailboxes (normalised, each once, with its domain), at most some thousand at a time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn meet(&self, workspace: WorkspaceId, mailboxes: &[(String, String)]) -> Result<Met> {
        let rows: Vec<serde_json::Value> = mailboxes
            .iter()
            .map(|(norm, domain)| json!({ "n": norm, "d": domain, "h": hex(&self.digest(norm)) }))
            .collect();
        let row = self
            .read()
            .await?
            .one(
                sql!(
                    "SELECT count(c.id) AS known, count(CASE WHEN \
                       EXISTS (SELECT 1 FROM suppression s WHERE s.workspace_id = $2 AND s.digest = {unhex r.h} \
                         AND (s.until IS NULL OR s.until > $3)) \
                       OR EXISTS (SELECT 1 FROM suppression s WHERE s.workspace_id = $2 AND s.domain = r.d \
                         AND (s.until IS NULL OR s.until > $3)) THEN 1 END) AS suppressed \
                     FROM {rows $1 (n text, d text, h text)} r \
                     LEFT JOIN contact c ON c.workspace_id = $2 AND c.mailbox_norm = r.n AND c.erased_at IS NULL"
                ),
                args![serde_json::Value::Array(rows), workspace, self.now()],
            )
            .await?;
        Ok(Met { known: row.int("known")?, suppressed: row.int("suppressed")? })
    }
}
