//! Link keys: the secrets that sign opt-out links and return-paths, per workspace, sealed, kept for ever (LAW-43).
//!
//! A retired key still verifies; it only signs nothing new. Must not know what a token says.

use postrider_domain::id::WorkspaceId;
use postrider_mail::token::{LinkKey, LinkKeys};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::read::{not_found, refused};
use crate::seal::random;
use crate::sql::{args, sql};

fn place(id: i64) -> String {
    format!("link_key.{id}.sealed")
}

impl Store {
    /// Makes a key and retires those before it, inside a transaction that holds the workspace.
    pub(crate) async fn add_link_key(&self, tx: &mut Tx, workspace: WorkspaceId) -> Result<u8> {
        let row = tx
            .one(
                sql!("SELECT coalesce(max(key_id), 0) AS last FROM link_key WHERE workspace_id = $1"),
                args![workspace],
            )
            .await?;
        // The id travels as one byte in every token.
        let next = u8::try_from(row.int("last")? + 1).map_err(|_| {
            refused("rotate the link keys: a workspace has at most 255, and old ones must go on verifying")
        })?;
        let now = self.now();
        tx.execute(
            sql!("UPDATE link_key SET retired_at = $2 WHERE workspace_id = $1 AND retired_at IS NULL"),
            args![workspace, now],
        )
        .await?;
        let id = self.next_id();
        let sealed = self.seal(&place(id), &random::<32>()?)?;
        tx.execute(
            sql!("INSERT INTO link_key (id, workspace_id, key_id, sealed, created_at) VALUES ($1, $2, $3, $4, $5)"),
            args![id, workspace, next, sealed, now],
        )
        .await?;
        Ok(next)
    }

    /// A new key signs from now on; the id of the key.
    ///
    /// # Errors
    /// The workspace does not exist, or has used up its 255 keys.
    pub async fn rotate_link_keys(&self, workspace: WorkspaceId, by: &Actor) -> Result<u8> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        let key = self.add_link_key(&mut tx, workspace).await?;
        self.note(&mut tx, Some(workspace), by, "link_key.rotate", &key.to_string(), json!({})).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// The keys of a workspace: the one that signs, and every older one to verify with.
    ///
    /// # Errors
    /// The workspace does not exist, or the master key does not open its keys.
    pub async fn link_keys(&self, workspace: WorkspaceId) -> Result<LinkKeys> {
        let rows = self
            .read()
            .await?
            .all(
                sql!("SELECT id, key_id, sealed FROM link_key WHERE workspace_id = $1 ORDER BY key_id DESC"),
                args![workspace],
            )
            .await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            let secret = self.unseal(&place(row.int("id")?), &row.bytes("sealed")?)?;
            let secret: &[u8; 32] = secret
                .as_slice()
                .try_into()
                .map_err(|_| StoreError::Corrupt("column link_key.sealed holds no 32 bytes".into()))?;
            let id = u8::try_from(row.int("key_id")?)
                .map_err(|_| StoreError::Corrupt("column link_key.key_id holds more than a byte".into()))?;
            keys.push(LinkKey::new(id, secret));
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or_else(|| not_found("workspace"))?;
        Ok(LinkKeys::new(current, keys.collect()))
    }
}
