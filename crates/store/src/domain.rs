//! Sending domains and their DKIM keys; private keys are sealed and leave only for the signer (SEC-70).
//!
//! Must not make keys or look at DNS: keys come made, and what a check found is stored as it was told.

use postrider_domain::id::{DkimKeyId, DomainId, WorkspaceId};
use postrider_mail::mailbox::DomainName;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{conflict, json_opt, not_found, refused, to_json};
use crate::secret::SecretBytes;
use crate::sql::{Row, args, sql};

/// A From domain that we may sign for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SendingDomain {
    /// Its id.
    pub id: DomainId,
    /// Its name, an A-label.
    pub name: String,
    /// The host part of the return-path.
    pub return_path_host: String,
    /// When it was added, i64 milliseconds UTC.
    pub created_at: i64,
    /// What the last look at DNS found.
    pub checked: Option<Value>,
    /// Its keys, newest first.
    pub keys: Vec<DkimKey>,
}

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
    /// Since when it signs nothing new, i64 milliseconds UTC.
    pub retired_at: Option<i64>,
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
    fn read(row: &Row) -> Result<DkimKey> {
        Ok(DkimKey {
            id: DkimKeyId(row.int("id")?),
            selector: row.text("selector")?,
            algorithm: row.text("algorithm")?,
            public_txt: row.text("public_txt")?,
            created_at: row.int("created_at")?,
            retired_at: row.int_opt("retired_at")?,
        })
    }
}

fn read_domain(row: &Row) -> Result<SendingDomain> {
    Ok(SendingDomain {
        id: DomainId(row.int("id")?),
        name: row.text("name")?,
        return_path_host: row.text("return_path_host")?,
        created_at: row.int("created_at")?,
        checked: json_opt(row, "checked")?,
        keys: Vec::new(),
    })
}

impl Store {
    /// Adds a sending domain with its first key.
    ///
    /// # Errors
    /// The workspace has the domain already, or the selector is refused.
    pub async fn add_domain(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        name: &DomainName,
        return_path_host: &DomainName,
        key: NewDkimKey,
    ) -> Result<SendingDomain> {
        let id = DomainId(self.next_id());
        let mut tx = self.begin(Lane::Web).await?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO domain (id, workspace_id, name, return_path_host, created_at) \
                     SELECT $1, w.id, $3, $4, $5 FROM workspace w WHERE w.id = $2 \
                     ON CONFLICT (workspace_id, name) DO NOTHING"
                ),
                args![id, workspace, name.as_str(), return_path_host.as_str(), self.now()],
            )
            .await?;
        if made == 0 {
            return Err(conflict("add the domain: the workspace has it already, or does not exist"));
        }
        self.insert_dkim_key(&mut tx, workspace, id, key).await?;
        self.note(&mut tx, Some(workspace), by, "domain.add", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.domain(workspace, id).await
    }

    /// Adds a key to a domain; from now on it signs, and those before it are retired.
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
        tx.opt(
            sql!("SELECT id FROM domain WHERE workspace_id = $1 AND id = $2 {for_update}"),
            args![workspace, domain],
        )
        .await?
        .ok_or_else(|| not_found("domain"))?;
        tx.execute(
            sql!(
                "UPDATE dkim_key SET retired_at = $3 WHERE workspace_id = $1 AND domain_id = $2 AND retired_at IS NULL"
            ),
            args![workspace, domain, self.now()],
        )
        .await?;
        let id = self.insert_dkim_key(&mut tx, workspace, domain, key).await?;
        self.note(&mut tx, Some(workspace), by, "dkim_key.rotate", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.domain(workspace, domain).await
    }

    async fn insert_dkim_key(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        domain: DomainId,
        key: NewDkimKey,
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
                    "INSERT INTO dkim_key (id, domain_id, workspace_id, selector, algorithm, sealed, public_txt, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (domain_id, selector) DO NOTHING"
                ),
                args![id, domain, workspace, key.selector, key.algorithm, sealed, key.public_txt, self.now()],
            )
            .await?;
        if made == 0 {
            return Err(conflict("add the key: the domain has one with this selector already; choose another"));
        }
        Ok(id)
    }

    /// The sending domains of a workspace with their keys, at most 500.
    ///
    /// # Errors
    /// The database fails.
    pub async fn domains(&self, workspace: WorkspaceId) -> Result<Vec<SendingDomain>> {
        let mut reader = self.read().await?;
        let mut domains = reader
            .all(
                sql!(
                    "SELECT id, name, return_path_host, created_at, {json checked} AS checked FROM domain \
                     WHERE workspace_id = $1 ORDER BY name LIMIT 500"
                ),
                args![workspace],
            )
            .await?
            .iter()
            .map(read_domain)
            .collect::<Result<Vec<_>>>()?;
        let keys = reader
            .all(
                sql!(
                    "SELECT id, domain_id, selector, algorithm, public_txt, created_at, retired_at FROM dkim_key \
                     WHERE workspace_id = $1 ORDER BY id DESC"
                ),
                args![workspace],
            )
            .await?;
        for row in &keys {
            let domain = DomainId(row.int("domain_id")?);
            if let Some(found) = domains.iter_mut().find(|d| d.id == domain) {
                found.keys.push(DkimKey::read(row)?);
            }
        }
        Ok(domains)
    }

    /// A sending domain by id.
    ///
    /// # Errors
    /// The workspace has no such domain.
    pub async fn domain(&self, workspace: WorkspaceId, id: DomainId) -> Result<SendingDomain> {
        self.domains(workspace).await?.into_iter().find(|d| d.id == id).ok_or_else(|| not_found("domain"))
    }

    /// Stores what a look at DNS found.
    ///
    /// # Errors
    /// The workspace has no such domain.
    pub async fn domain_checked(&self, workspace: WorkspaceId, id: DomainId, found: &Value) -> Result<()> {
        let text = to_json(found);
        if text.contains("\\u0000") {
            return Err(refused("store the check: DNS answered with a NUL character"));
        }
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!("UPDATE domain SET checked = {jsonb $3} WHERE workspace_id = $1 AND id = $2"),
                args![workspace, id, text],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("domain"));
        }
        tx.commit().await
    }

    /// Removes a domain and its keys. What was signed stays signed; deliveries that wait can no longer be signed for it.
    ///
    /// # Errors
    /// The workspace has no such domain, or a campaign is on its way.
    pub async fn remove_domain(&self, workspace: WorkspaceId, by: &Actor, id: DomainId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let busy = tx
            .opt(
                sql!(
                    "SELECT id FROM campaign WHERE workspace_id = $1 \
                     AND state IN ('scheduled', 'freezing', 'sending', 'paused') LIMIT 1"
                ),
                args![workspace],
            )
            .await?;
        if busy.is_some() {
            return Err(refused(
                "remove the domain: a campaign is scheduled or on its way; wait for its end or stop it",
            ));
        }
        tx.execute(sql!("DELETE FROM dkim_key WHERE workspace_id = $1 AND domain_id = $2"), args![workspace, id])
            .await?;
        let gone =
            tx.execute(sql!("DELETE FROM domain WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
        if gone == 0 {
            return Err(not_found("domain"));
        }
        self.note(&mut tx, Some(workspace), by, "domain.remove", &id.to_string(), json!({})).await?;
        tx.commit().await
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
                     WHERE d.workspace_id = $1 AND d.name = $2 AND k.retired_at IS NULL ORDER BY k.id DESC LIMIT 1"
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
