//! DKIM keys of sending domains: announced, signing, retired, taken back. Private keys are sealed and leave only for the signer
//! (SEC-70).
//!
//! Must not make keys or look at DNS: keys come made, and what a look found is stored as it was told.

use postrider_domain::id::{DkimKeyId, DomainId, WorkspaceId};
use postrider_domain::signing_key::{KeyState, KeyTimes};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::domain::SendingDomain;
use crate::error::Result;
use crate::read::{conflict, not_found, refused};
use crate::secret::SecretBytes;
use crate::sql::{Row, args, sql};

/// A DKIM key without its private half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DkimKey {
    /// Its id.
    pub id: DkimKeyId,
    /// The selector.
    pub selector: String,
    /// `rsa2048` or `ed25519`.
    pub algorithm: String,
    /// The TXT record that `selector._domainkey.name` must have.
    pub public_txt: String,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// Since when its record has been seen in DNS without a break, i64 milliseconds UTC.
    pub seen_at: Option<i64>,
    /// Since when it signs, i64 milliseconds UTC.
    pub activated_at: Option<i64>,
    /// Since when it signs nothing new, i64 milliseconds UTC.
    pub retired_at: Option<i64>,
    /// When its record was seen to be taken back, i64 milliseconds UTC.
    pub revoked_at: Option<i64>,
}

impl DkimKey {
    /// Where the key stands at a moment, i64 milliseconds UTC.
    pub const fn state(&self, now: i64) -> KeyState {
        let times =
            KeyTimes { activated_at: self.activated_at, retired_at: self.retired_at, revoked_at: self.revoked_at };
        times.state(now)
    }

    /// Whether it signs now.
    pub const fn signs(&self) -> bool {
        self.activated_at.is_some() && self.retired_at.is_none()
    }
}

/// A key to be added.
#[derive(Debug, Clone)]
pub struct NewDkimKey {
    /// The selector: letters, digits and hyphens.
    pub selector: String,
    /// `rsa2048` or `ed25519`.
    pub algorithm: String,
    /// The private key, PKCS#8 DER.
    pub private: SecretBytes,
    /// The TXT record.
    pub public_txt: String,
}

/// A key whose record is looked at from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedKey {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The domain that it signs for.
    pub domain: DomainId,
    /// The domain's name.
    pub name: String,
    /// The key.
    pub key: DkimKey,
}

/// A key for the signer.
#[derive(Debug, Clone)]
pub struct SecretDkimKey {
    /// Its id, stored with each delivery at its first try.
    pub id: DkimKeyId,
    /// The domain that it signs for.
    pub domain: String,
    /// The host part of the domain's return-path.
    pub return_path_host: String,
    /// The selector.
    pub selector: String,
    /// `rsa2048` or `ed25519`.
    pub algorithm: String,
    /// The private key, PKCS#8 DER.
    pub private: SecretBytes,
}

fn place(id: DkimKeyId) -> String {
    format!("dkim_key.{}.sealed", id.get())
}

impl DkimKey {
    pub(crate) fn read(row: &Row) -> Result<DkimKey> {
        Ok(DkimKey {
            id: DkimKeyId(row.int("id")?),
            selector: row.text("selector")?,
            algorithm: row.text("algorithm")?,
            public_txt: row.text("public_txt")?,
            created_at: row.int("created_at")?,
            seen_at: row.int_opt("seen_at")?,
            activated_at: row.int_opt("activated_at")?,
            retired_at: row.int_opt("retired_at")?,
            revoked_at: row.int_opt("revoked_at")?,
        })
    }
}

/// Two changes of one domain's keys follow each other.
async fn hold_domain(tx: &mut Tx, workspace: WorkspaceId, domain: DomainId) -> Result<()> {
    tx.opt(sql!("SELECT id FROM domain WHERE workspace_id = $1 AND id = $2 {for_update}"), args![workspace, domain])
        .await?
        .ok_or_else(|| not_found("domain"))?;
    Ok(())
}

impl Store {
    /// Adds a key to a domain that signs nothing yet: its record is to be published first.
    ///
    /// # Errors
    /// The workspace has no such domain, a key waits already, or the selector is refused or taken.
    pub async fn announce_dkim_key(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        domain: DomainId,
        key: NewDkimKey,
    ) -> Result<SendingDomain> {
        let mut tx = self.begin(Lane::Web).await?;
        hold_domain(&mut tx, workspace, domain).await?;
        let waiting = tx
            .opt(
                sql!(
                    "SELECT id FROM dkim_key WHERE workspace_id = $1 AND domain_id = $2 \
                     AND activated_at IS NULL AND retired_at IS NULL LIMIT 1"
                ),
                args![workspace, domain],
            )
            .await?;
        if waiting.is_some() {
            return Err(conflict(
                "make a new key: one waits for its record in DNS already; publish it, or let the key sign now or drop it",
            ));
        }
        let id = self.insert_dkim_key(&mut tx, workspace, domain, key, None).await?;
        self.note(&mut tx, Some(workspace), by, "dkim_key.announce", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.domain(workspace, domain).await
    }

    /// Lets a key sign from now on; the one before it signs nothing new. What was tried before keeps its key.
    ///
    /// # Errors
    /// The domain has no such key, or it signs already or was retired.
    pub async fn activate_dkim_key(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        domain: DomainId,
        key: DkimKeyId,
    ) -> Result<SendingDomain> {
        let mut tx = self.begin(Lane::Web).await?;
        hold_domain(&mut tx, workspace, domain).await?;
        tx.execute(
            sql!(
                "UPDATE dkim_key SET retired_at = $3 WHERE workspace_id = $1 AND domain_id = $2 AND id <> $4 \
                 AND activated_at IS NOT NULL AND retired_at IS NULL"
            ),
            args![workspace, domain, self.now(), key],
        )
        .await?;
        let activated = tx
            .execute(
                sql!(
                    "UPDATE dkim_key SET activated_at = $3 WHERE workspace_id = $1 AND domain_id = $2 AND id = $4 \
                     AND activated_at IS NULL AND retired_at IS NULL"
                ),
                args![workspace, domain, self.now(), key],
            )
            .await?;
        if activated == 0 {
            return Err(conflict("let the key sign: it signs already, was retired, or is not of this domain"));
        }
        self.note(&mut tx, Some(workspace), by, "dkim_key.activate", &key.to_string(), json!({})).await?;
        // The keys that sign are looked up again.
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        self.domain(workspace, domain).await
    }

    /// Drops a key that has never signed.
    ///
    /// # Errors
    /// The domain has no such key, or it has signed.
    pub async fn drop_dkim_key(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        domain: DomainId,
        key: DkimKeyId,
    ) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        hold_domain(&mut tx, workspace, domain).await?;
        let gone = tx
            .execute(
                sql!(
                    "DELETE FROM dkim_key WHERE workspace_id = $1 AND domain_id = $2 AND id = $3 AND activated_at IS NULL"
                ),
                args![workspace, domain, key],
            )
            .await?;
        if gone == 0 {
            return Err(conflict("drop the key: it has signed, or is not of this domain"));
        }
        self.note(&mut tx, Some(workspace), by, "dkim_key.drop", &key.to_string(), json!({})).await?;
        tx.commit().await
    }

    /// Adds a key to a domain that signs at once, before anybody can have seen its record: for a key that was lost.
    ///
    /// # Errors
    /// The workspace has no such domain, or the selector is refused or taken.
    pub async fn rotate_dkim_key(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        domain: DomainId,
        key: NewDkimKey,
    ) -> Result<SendingDomain> {
        let mut tx = self.begin(Lane::Web).await?;
        hold_domain(&mut tx, workspace, domain).await?;
        tx.execute(
            sql!(
                "UPDATE dkim_key SET retired_at = $3 WHERE workspace_id = $1 AND domain_id = $2 AND retired_at IS NULL \
                 AND activated_at IS NOT NULL"
            ),
            args![workspace, domain, self.now()],
        )
        .await?;
        let id = self.insert_dkim_key(&mut tx, workspace, domain, key, Some(self.now())).await?;
        self.note(&mut tx, Some(workspace), by, "dkim_key.rotate", &id.to_string(), json!({})).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        self.domain(workspace, domain).await
    }

    /// Keys whose record is to be looked at: those that wait for it, and those whose record should be taken back.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn dkim_keys_to_watch(&self) -> Result<Vec<WatchedKey>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT k.workspace_id, k.domain_id, d.name, k.id, k.selector, k.algorithm, k.public_txt, k.created_at, \
                            k.seen_at, k.activated_at, k.retired_at, k.revoked_at \
                     FROM dkim_key k JOIN domain d ON d.id = k.domain_id \
                     WHERE (k.activated_at IS NULL AND k.retired_at IS NULL) \
                        OR (k.retired_at IS NOT NULL AND k.revoked_at IS NULL) ORDER BY k.id LIMIT 1000"
                ),
                args![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(WatchedKey {
                    workspace: WorkspaceId(row.int("workspace_id")?),
                    domain: DomainId(row.int("domain_id")?),
                    name: row.text("name")?,
                    key: DkimKey::read(row)?,
                })
            })
            .collect()
    }

    /// Notes since when a key's record is in DNS (`None`: it is not), and when it was seen to be taken back.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn dkim_key_looked_at(&self, key: DkimKeyId, seen: Option<i64>, revoked: Option<i64>) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("UPDATE dkim_key SET seen_at = $2, revoked_at = $3 WHERE id = $1"), args![key, seen, revoked])
            .await?;
        tx.commit().await
    }

    pub(crate) async fn insert_dkim_key(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        domain: DomainId,
        key: NewDkimKey,
        activated_at: Option<i64>,
    ) -> Result<DkimKeyId> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if key.selector.is_empty() || key.selector.len() > 63 || !key.selector.bytes().all(plain) {
            return Err(refused("add the key: the selector should be 1 to 63 of a-z, 0-9 and hyphens"));
        }
        let id = DkimKeyId(self.next_id());
        let sealed = self.seal(&place(id), key.private.reveal())?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO dkim_key (id, domain_id, workspace_id, selector, algorithm, sealed, public_txt, created_at, activated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (domain_id, selector) DO NOTHING"
                ),
                args![id, domain, workspace, key.selector, key.algorithm, sealed, key.public_txt, self.now(), activated_at],
            )
            .await?;
        if made == 0 {
            return Err(conflict("add the key: the domain has one with this selector already; choose another"));
        }
        Ok(id)
    }

    /// The key that signs for a From domain now; for the signer only.
    ///
    /// # Errors
    /// The master key does not open it, or the database fails.
    pub async fn signing_key(&self, workspace: WorkspaceId, domain: &str) -> Result<Option<SecretDkimKey>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT k.id, d.name, d.return_path_host, k.selector, k.algorithm, k.sealed FROM domain d \
                     JOIN dkim_key k ON k.domain_id = d.id \
                     WHERE d.workspace_id = $1 AND d.name = $2 AND k.activated_at IS NOT NULL AND k.retired_at IS NULL \
                     ORDER BY k.activated_at DESC, k.id DESC LIMIT 1"
                ),
                args![workspace, domain],
            )
            .await?;
        row.as_ref().map(|row| self.open_key(row)).transpose()
    }

    /// The key that signed a delivery's first try, retired or not; for the signer only.
    ///
    /// # Errors
    /// The workspace has no such key, or the master key does not open it.
    pub async fn signing_key_by_id(&self, workspace: WorkspaceId, id: DkimKeyId) -> Result<SecretDkimKey> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT k.id, d.name, d.return_path_host, k.selector, k.algorithm, k.sealed FROM dkim_key k \
                     JOIN domain d ON d.id = k.domain_id WHERE k.workspace_id = $1 AND k.id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        self.open_key(&row.ok_or_else(|| not_found("key"))?)
    }

    fn open_key(&self, row: &Row) -> Result<SecretDkimKey> {
        let id = DkimKeyId(row.int("id")?);
        Ok(SecretDkimKey {
            id,
            domain: row.text("name")?,
            return_path_host: row.text("return_path_host")?,
            selector: row.text("selector")?,
            algorithm: row.text("algorithm")?,
            private: SecretBytes::new(self.unseal(&place(id), &row.bytes("sealed")?)?.to_vec()),
        })
    }
}
