//! API keys: shown once, stored as SHA-256, with scopes that default to none (SEC-71).

use postrider_domain::access::{Scope, parse_scopes};
use postrider_domain::id::{ApiKeyId, WorkspaceId};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::access::{Grant, Identity, Who};
use crate::actor::Actor;
use crate::db::Lane;
use crate::error::{Result, StoreError};
use crate::read::{check_name, not_found, refused};
use crate::secret::{Secret, random_letters, random_token, sha256};
use crate::sql::{Row, args, sql};

/// How every key begins, so that secret scanners know it.
pub const KEY_START: &str = "pr_";
/// Letters after [`KEY_START`] that name the key in lists and logs.
const PREFIX_LETTERS: usize = 8;
/// `last_used_at` is written at most this often, in milliseconds.
const TOUCH_MS: i64 = 60_000;

/// An API key as lists show it; the key itself is shown once, at creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The name that people gave it.
    pub name: String,
    /// The first letters, `pr_` included.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it ends, i64 milliseconds UTC.
    pub expires_at: Option<i64>,
    /// When it was used last, i64 milliseconds UTC, to the minute.
    pub last_used_at: Option<i64>,
    /// When it was revoked, i64 milliseconds UTC.
    pub revoked_at: Option<i64>,
    /// Who made it: an id as text, empty for the console.
    pub created_by: Option<String>,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it ends, i64 milliseconds UTC.
    pub expires_at: Option<i64>,
}

impl ApiKey {
    fn read(row: &Row) -> Result<ApiKey> {
        Ok(ApiKey {
            id: ApiKeyId(row.int("id")?),
            name: row.text("name")?,
            prefix: row.text("prefix")?,
            scopes: scopes(row)?,
            created_at: row.int("created_at")?,
            expires_at: row.int_opt("expires_at")?,
            last_used_at: row.int_opt("last_used_at")?,
            revoked_at: row.int_opt("revoked_at")?,
            created_by: row.text_opt("created_by")?,
        })
    }
}

fn scopes(row: &Row) -> Result<Vec<Scope>> {
    parse_scopes(&row.text("scopes")?)
        .map_err(|word| StoreError::Corrupt(format!("column scopes holds the unknown word `{word}`")))
}

impl Store {
    /// Makes a key; the second value is the key itself, which nobody can read again.
    ///
    /// # Errors
    /// The name is refused, or the end lies in the past.
    pub async fn create_key(&self, workspace: WorkspaceId, by: &Actor, new: NewApiKey) -> Result<(ApiKey, Secret)> {
        check_name("key name", &new.name, 100)?;
        let now = self.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(refused("make the key: its end lies in the past; choose a later one"));
        }
        let prefix = format!("{KEY_START}{}", random_letters(PREFIX_LETTERS)?);
        let secret = Secret::new(format!("{prefix}_{}", random_token()?));
        let words: Vec<&str> = new.scopes.iter().map(|scope| scope.as_str()).collect();
        let key = ApiKey {
            id: ApiKeyId(self.next_id()),
            name: new.name,
            prefix,
            scopes: new.scopes.clone(),
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
            created_by: Some(by.id()),
        };
        let mut tx = self.begin(Lane::Web).await?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO api_key (id, workspace_id, name, prefix, hash, scopes, created_at, expires_at, created_by) \
                     SELECT $1, w.id, $3, $4, $5, $6, $7, $8, $9 FROM workspace w WHERE w.id = $2"
                ),
                args![
                    key.id,
                    workspace,
                    key.name.as_str(),
                    key.prefix.as_str(),
                    sha256(secret.reveal().as_bytes()).to_vec(),
                    words.join(" "),
                    now,
                    key.expires_at,
                    key.created_by.clone()
                ],
            )
            .await?;
        if made == 0 {
            return Err(not_found("workspace"));
        }
        self.note(&mut tx, Some(workspace), by, "key.create", &key.id.to_string(), json!({ "scopes": words })).await?;
        tx.commit().await?;
        Ok((key, secret))
    }

    /// Who an API key belongs to; `None` when it is unknown, revoked or over.
    ///
    /// # Errors
    /// The database fails.
    pub async fn authenticate_key(&self, key: &str) -> Result<Option<Identity>> {
        if !key.starts_with(KEY_START) || key.len() > 200 {
            return Ok(None);
        }
        let now = self.now();
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, workspace_id, scopes, last_used_at FROM api_key \
                     WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)"
                ),
                args![sha256(key.as_bytes()).to_vec(), now],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = ApiKeyId(row.int("id")?);
        if row.int_opt("last_used_at")?.is_none_or(|last| now - last > TOUCH_MS) {
            let mut tx = self.begin(Lane::Web).await?;
            tx.execute(sql!("UPDATE api_key SET last_used_at = $2 WHERE id = $1"), args![id, now]).await?;
            tx.commit().await?;
        }
        let grant = Grant { workspace: WorkspaceId(row.int("workspace_id")?), scopes: scopes(&row)? };
        Ok(Some(Identity { who: Who::Key(id), grants: vec![grant] }))
    }

    /// The keys of a workspace, revoked ones included, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keys(&self, workspace: WorkspaceId) -> Result<Vec<ApiKey>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at, created_by \
                     FROM api_key WHERE workspace_id = $1 ORDER BY id DESC LIMIT 500"
                ),
                args![workspace],
            )
            .await?
            .iter()
            .map(ApiKey::read)
            .collect()
    }

    /// Revokes a key at once; doing it again changes nothing.
    ///
    /// # Errors
    /// The workspace has no such key.
    pub async fn revoke_key(&self, workspace: WorkspaceId, by: &Actor, id: ApiKeyId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let found = tx
            .execute(
                sql!("UPDATE api_key SET revoked_at = coalesce(revoked_at, $3) WHERE workspace_id = $1 AND id = $2"),
                args![workspace, id, self.now()],
            )
            .await?;
        if found == 0 {
            return Err(not_found("key"));
        }
        self.note(&mut tx, Some(workspace), by, "key.revoke", &id.to_string(), json!({})).await?;
        tx.commit().await
    }
}
