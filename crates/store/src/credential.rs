//! Credentials of the relay: made once, the password shown once and stored as SHA-256, revoked at once.
//!
//! Must not know a session: who connects and what is refused is the engine's matter.

use postrider_domain::id::{CredentialId, WorkspaceId};
use postrider_domain::relay::{CredentialKind, CredentialSettings};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{conflict, json as json_of, not_found, refused, to_json, word};
use crate::secret::{Secret, random_letters, random_token, sha256};
use crate::sql::{Row, args, sql};

/// Letters of a user name after `app-`.
const NAME_LETTERS: usize = 10;
/// `last_used_at` is written at most this often, in milliseconds.
const TOUCH_MS: i64 = 60_000;
/// Rows that are held at once when a credential is revoked.
const HOLD_SLICE: usize = 1_000;

/// A credential as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// How its client shows who it is.
    pub kind: CredentialKind,
    /// What it may do.
    pub settings: CredentialSettings,
    /// The user name; none with an address alone.
    pub username: Option<String>,
    /// Grows with each change.
    pub rev: i64,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// When its first message was taken.
    pub first_message_at: Option<i64>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<i64>,
}

/// A credential that may be used, with what proves it; for the engine only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The credential.
    pub credential: Credential,
    /// SHA-256 of its password; none with an address alone.
    pub hash: Option<Vec<u8>>,
}

impl Entry {
    /// Whether this is its password. Compares digests, so that the time it takes tells nothing about the password.
    pub fn opens(&self, password: &str) -> bool {
        self.hash.as_deref().is_some_and(|hash| hash == sha256(password.as_bytes()))
    }
}

impl Credential {
    fn read(row: &Row) -> Result<Credential> {
        Ok(Credential {
            id: CredentialId(row.int("id")?),
            workspace: WorkspaceId(row.int("workspace_id")?),
            kind: word(row, "kind", CredentialKind::parse)?,
            settings: json_of(row, "settings")?,
            username: row.text_opt("username")?,
            rev: row.int("rev")?,
            created_at: row.int("created_at")?,
            revoked_at: row.int_opt("revoked_at")?,
            first_message_at: row.int_opt("first_message_at")?,
            last_used_at: row.int_opt("last_used_at")?,
        })
    }
}

fn checked(kind: CredentialKind, settings: CredentialSettings) -> Result<CredentialSettings> {
    settings.check(kind).map_err(|fault| refused(format!("save the credential: {fault}")))?;
    Ok(settings.with_plain_domains())
}

impl Store {
    /// Makes a credential; the second value is its password, which nobody can read again.
    ///
    /// # Errors
    /// The settings are refused, or name a route that the workspace has not.
    pub async fn create_credential(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        kind: CredentialKind,
        settings: CredentialSettings,
    ) -> Result<(Credential, Option<Secret>)> {
        let settings = checked(kind, settings)?;
        let (username, secret) = match kind {
            CredentialKind::Password => {
                (Some(format!("app-{}", random_letters(NAME_LETTERS)?)), Some(Secret::new(random_token()?)))
            }
            CredentialKind::Address => (None, None),
        };
        let id = CredentialId(self.next_id());
        let mut tx = self.begin(Lane::Web).await?;
        names_exist(&mut tx, workspace, &settings).await?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO credential (id, workspace_id, kind, settings, username, hash, rev, created_at, created_by) \
                     SELECT $1, w.id, $3, $4, $5, $6, 1, $7, $8 FROM workspace w WHERE w.id = $2"
                ),
                args![
                    id,
                    workspace,
                    kind.as_str(),
                    to_json(&settings),
                    username.as_deref(),
                    secret.as_ref().map(|s| sha256(s.reveal().as_bytes()).to_vec()),
                    self.now(),
                    by.id()
                ],
            )
            .await?;
        if made == 0 {
            return Err(not_found("workspace"));
        }
        let facts = json!({ "kind": kind, "settings": settings });
        self.note(&mut tx, Some(workspace), by, "credential.create", &id.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok((self.credential(workspace, id).await?, secret))
    }

    /// The credentials of a workspace, revoked ones included, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn credentials(&self, workspace: WorkspaceId) -> Result<Vec<Credential>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, kind, settings, username, rev, created_at, revoked_at, first_message_at, \
                     last_used_at FROM credential WHERE workspace_id = $1 ORDER BY id DESC LIMIT 500"
                ),
                args![workspace],
            )
            .await?
            .iter()
            .map(Credential::read)
            .collect()
    }

    /// One credential.
    ///
    /// # Errors
    /// The workspace has no such credential.
    pub async fn credential(&self, workspace: WorkspaceId, id: CredentialId) -> Result<Credential> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, workspace_id, kind, settings, username, rev, created_at, revoked_at, first_message_at, \
                     last_used_at FROM credential WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?
            .ok_or_else(|| not_found("credential"))?;
        Credential::read(&row)
    }

    /// Changes what a credential may do. `rev` is the one that was seen.
    ///
    /// # Errors
    /// Somebody else changed it first, it is revoked, or the settings are refused.
    pub async fn put_credential(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: CredentialId,
        rev: i64,
        settings: CredentialSettings,
    ) -> Result<Credential> {
        let present = self.credential(workspace, id).await?;
        let settings = checked(present.kind, settings)?;
        let mut tx = self.begin(Lane::Web).await?;
        names_exist(&mut tx, workspace, &settings).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE credential SET settings = $4, rev = rev + 1 \
                     WHERE workspace_id = $1 AND id = $2 AND rev = $3 AND revoked_at IS NULL"
                ),
                args![workspace, id, rev, to_json(&settings)],
            )
            .await?;
        if changed == 0 {
            return Err(conflict("somebody else changed or revoked the credential: load it again"));
        }
        let facts = json!({ "before": present.settings, "after": settings });
        self.note(&mut tx, Some(workspace), by, "credential.change", &id.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        self.credential(workspace, id).await
    }

    /// Gives a credential another password; the one before stops at once.
    ///
    /// # Errors
    /// The workspace has no such credential, or it has no password.
    pub async fn renew_password(&self, workspace: WorkspaceId, by: &Actor, id: CredentialId) -> Result<Secret> {
        let secret = Secret::new(random_token()?);
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE credential SET hash = $3, rev = rev + 1 \
                     WHERE workspace_id = $1 AND id = $2 AND hash IS NOT NULL AND revoked_at IS NULL"
                ),
                args![workspace, id, sha256(secret.reveal().as_bytes()).to_vec()],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("credential with a password"));
        }
        self.note(&mut tx, Some(workspace), by, "credential.password", &id.to_string(), json!({})).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(secret)
    }

    /// Revokes a credential at once and holds what waits of it; how many deliveries are held now. Doing it again holds
    /// what came in between.
    ///
    /// # Errors
    /// The workspace has no such credential.
    pub async fn revoke_credential(&self, workspace: WorkspaceId, by: &Actor, id: CredentialId) -> Result<u64> {
        let mut tx = self.begin(Lane::Web).await?;
        let found = tx
            .execute(
                sql!(
                    "UPDATE credential SET revoked_at = coalesce(revoked_at, $3), rev = rev + 1 \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id, self.now()],
            )
            .await?;
        if found == 0 {
            return Err(not_found("credential"));
        }
        self.note(&mut tx, Some(workspace), by, "credential.revoke", &id.to_string(), json!({})).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        self.hold_queue_of(workspace, id).await
    }

    /// Holds what waits of a credential, slice by slice.
    async fn hold_queue_of(&self, workspace: WorkspaceId, id: CredentialId) -> Result<u64> {
        let (mut held, mut after) = (0, 0);
        loop {
            let rows = self
                .read()
                .await?
                .all(
                    sql!(
                        "SELECT q.delivery_id FROM relay_message m JOIN delivery d ON d.message_id = m.message_id \
                         JOIN queue q ON q.delivery_id = d.id \
                         WHERE m.workspace_id = $1 AND m.credential_id = $2 AND q.delivery_id > $3 \
                         ORDER BY q.delivery_id LIMIT $4"
                    ),
                    args![workspace, id, after, HOLD_SLICE],
                )
                .await?;
            let ids = rows.iter().map(|row| row.int("delivery_id")).collect::<Result<Vec<_>>>()?;
            let Some(last) = ids.last() else { return Ok(held) };
            after = *last;
            let mut tx = self.begin(Lane::Web).await?;
            let reason = format!("the credential {id} was revoked");
            held += crate::steering::hold_rows(&mut tx, self.node(), &ids, &reason, None, self.now()).await?;
            tx.commit().await?;
        }
    }

    /// Every credential that may be used, of all workspaces; for the engine only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn entries(&self) -> Result<Vec<Entry>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT c.id, c.workspace_id, c.kind, c.settings, c.username, c.rev, c.created_at, c.revoked_at, \
                     c.first_message_at, c.last_used_at, c.hash FROM credential c JOIN workspace w ON w.id = c.workspace_id \
                     WHERE c.revoked_at IS NULL ORDER BY c.id"
                ),
                args![],
            )
            .await?
            .iter()
            .map(|row| Ok(Entry { credential: Credential::read(row)?, hash: row.bytes_opt("hash")? }))
            .collect()
    }

    /// Notes that a credential was used; at most once a minute it writes.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn credential_used(&self, id: CredentialId) -> Result<()> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "UPDATE credential SET last_used_at = $2, first_message_at = coalesce(first_message_at, $2) \
                 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3 OR first_message_at IS NULL)"
            ),
            args![id, now, now - TOUCH_MS],
        )
        .await?;
        tx.commit().await
    }
}

/// The route that settings name is the workspace's own.
async fn names_exist(tx: &mut Tx, workspace: WorkspaceId, settings: &CredentialSettings) -> Result<()> {
    if let Some(route) = settings.route {
        let found = tx.opt(sql!("SELECT id FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, route]);
        found.await?.ok_or_else(|| refused("save the credential: the workspace has no such `route`"))?;
    }
    Ok(())
}
