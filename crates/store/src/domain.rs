//! Sending domains. Their keys are in `dkim_key`.
//!
//! Must not look at DNS: what a check found is stored as it was told.

use postrider_domain::id::{DomainId, WorkspaceId};
use postrider_mail::mailbox::DomainName;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::db::Lane;
use crate::error::Result;
use crate::read::{conflict, json_opt, not_found, refused, to_json};
use crate::sql::{Row, args, sql};

pub use crate::dkim_key::{DkimKey, NewDkimKey, SecretDkimKey, WatchedKey};

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
        self.insert_dkim_key(&mut tx, workspace, id, key, Some(self.now())).await?;
        self.note(&mut tx, Some(workspace), by, "domain.add", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.domain(workspace, id).await
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
                    "SELECT id, domain_id, selector, algorithm, public_txt, created_at, seen_at, activated_at, retired_at, revoked_at \
                     FROM dkim_key \
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
}
