//! What belongs to the hosts of a smarthost route: their passwords, limits that nodes share, and the proof that the relay
//! signs.
//!
//! Must not connect anywhere, and must not verify a signature: the engine does that and tells.

use std::collections::HashMap;

use postrider_domain::id::{RouteId, WorkspaceId};
use postrider_domain::route::RouteSettings;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::read::{not_found, refused};
use crate::route::PasswordChange;
use crate::secret::Secret;
use crate::sql::{args, sql};

/// A message that came back through a relay with a signature that passes and is aligned with its From domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayProof {
    /// The From domain.
    pub domain: String,
    /// The signing domain, `d=`.
    pub signed_by: String,
    /// Its selector, `s=`.
    pub selector: String,
    /// The hosts of the route when it was proved.
    pub relay: String,
    /// When, i64 milliseconds UTC.
    pub proved_at: i64,
}

/// Something whose volume nodes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quota<'a> {
    /// A route.
    Route(WorkspaceId, RouteId),
    /// One host of a route.
    Host(WorkspaceId, RouteId, &'a str),
    /// An egress source.
    Source(postrider_domain::id::SourceId),
}

fn place(route: RouteId, host: &str) -> String {
    format!("route_host_secret.{}.{host}.sealed_password", route.get())
}

/// What a relay is known by.
fn relay(settings: &RouteSettings) -> String {
    let hosts: Vec<String> =
        settings.relay_hosts().iter().map(|h| format!("{}@{}:{}", h.username, h.host, h.port)).collect();
    hosts.join(" ")
}

/// A password must not follow to a host that its owner never named for it, and a proof not to another relay.
pub(crate) async fn settings_changed(
    tx: &mut Tx,
    route: RouteId,
    before: &RouteSettings,
    after: &RouteSettings,
) -> Result<()> {
    for host in &before.hosts {
        let stays =
            after.hosts.iter().any(|h| (&h.host, h.port, &h.username) == (&host.host, host.port, &host.username));
        if !stays {
            tx.execute(
                sql!("DELETE FROM route_host_secret WHERE route_id = $1 AND host = $2"),
                args![route, host.host.as_str()],
            )
            .await?;
        }
    }
    if relay(before) != relay(after) || before.signing != after.signing {
        tx.execute(sql!("DELETE FROM relay_proof WHERE route_id = $1"), args![route]).await?;
    }
    Ok(())
}

/// A route goes away.
pub(crate) async fn route_gone(tx: &mut Tx, workspace: WorkspaceId, route: RouteId) -> Result<()> {
    for sql in [
        sql!(
            "DELETE FROM route_host_secret WHERE route_id = (SELECT id FROM route WHERE workspace_id = $1 AND id = $2)"
        ),
        sql!("DELETE FROM relay_proof WHERE route_id = (SELECT id FROM route WHERE workspace_id = $1 AND id = $2)"),
    ] {
        tx.execute(sql, args![workspace, route]).await?;
    }
    Ok(())
}

impl Store {
    /// Changes the password of one of several hosts of a route.
    ///
    /// # Errors
    /// The workspace has no such route, or the route no such host.
    pub async fn set_host_password(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        route: RouteId,
        host: &str,
        change: PasswordChange,
    ) -> Result<()> {
        let settings = self.route(workspace, route).await?.settings;
        if !settings.hosts.iter().any(|h| h.host == host) {
            return Err(refused(format!("save the password: the route has no host {host:?} among its `hosts`")));
        }
        let mut tx = self.begin(Lane::Web).await?;
        match change {
            PasswordChange::Keep => return Ok(()),
            PasswordChange::Set(secret) => {
                let sealed = self.seal(&place(route, host), secret.reveal().as_bytes())?;
                tx.execute(
                    sql!(
                        "INSERT INTO route_host_secret (route_id, host, sealed_password) VALUES ($1, $2, $3) \
                         ON CONFLICT (route_id, host) DO UPDATE SET sealed_password = excluded.sealed_password"
                    ),
                    args![route, host, sealed],
                )
                .await?;
            }
            PasswordChange::Clear => {
                tx.execute(sql!("DELETE FROM route_host_secret WHERE route_id = $1 AND host = $2"), args![route, host])
                    .await?;
            }
        }
        self.note(&mut tx, Some(workspace), by, "route.password", &route.to_string(), json!({ "host": host })).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }

    /// The hosts of a route that have a password.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn hosts_with_password(&self, workspace: WorkspaceId, route: RouteId) -> Result<Vec<String>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT s.host FROM route_host_secret s JOIN route r ON r.id = s.route_id \
                     WHERE r.workspace_id = $1 AND r.id = $2 ORDER BY s.host"
                ),
                args![workspace, route],
            )
            .await?;
        rows.iter().map(|row| row.text("host")).collect()
    }

    /// The passwords of the hosts of a route; for the engine only.
    ///
    /// # Errors
    /// The master key does not open one.
    pub async fn host_secrets(&self, workspace: WorkspaceId, route: RouteId) -> Result<HashMap<String, Secret>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT s.host, s.sealed_password FROM route_host_secret s JOIN route r ON r.id = s.route_id \
                     WHERE r.workspace_id = $1 AND r.id = $2"
                ),
                args![workspace, route],
            )
            .await?;
        let mut secrets = HashMap::new();
        for row in &rows {
            let host = row.text("host")?;
            let opened = self.unseal(&place(route, &host), &row.bytes("sealed_password")?)?;
            let text = std::str::from_utf8(&opened)
                .map_err(|_| StoreError::Corrupt("column route_host_secret.sealed_password holds no UTF-8".into()))?;
            secrets.insert(host, Secret::new(text.to_owned()));
        }
        Ok(secrets)
    }

    /// The proofs that the relay of a route signs.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn relay_proofs(&self, workspace: WorkspaceId, route: RouteId) -> Result<Vec<RelayProof>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT p.domain, p.signed_by, p.selector, p.relay, p.proved_at FROM relay_proof p \
                     JOIN route r ON r.id = p.route_id WHERE r.workspace_id = $1 AND r.id = $2 ORDER BY p.domain"
                ),
                args![workspace, route],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RelayProof {
                    domain: row.text("domain")?,
                    signed_by: row.text("signed_by")?,
                    selector: row.text("selector")?,
                    relay: row.text("relay")?,
                    proved_at: row.int("proved_at")?,
                })
            })
            .collect()
    }

    /// Keeps a proof; one of the same From domain is replaced.
    ///
    /// # Errors
    /// The workspace has no such route.
    pub async fn keep_relay_proof(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        route: RouteId,
        (domain, signed_by, selector): (&str, &str, &str),
    ) -> Result<RelayProof> {
        let settings = self.route(workspace, route).await?.settings;
        let (now, relay) = (self.now(), relay(&settings));
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO relay_proof (route_id, domain, signed_by, selector, relay, proved_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (route_id, domain) DO UPDATE SET \
                   signed_by = excluded.signed_by, selector = excluded.selector, relay = excluded.relay, \
                   proved_at = excluded.proved_at"
            ),
            args![route, domain, signed_by, selector, relay.as_str(), now],
        )
        .await?;
        let facts = json!({ "domain": domain, "signed_by": signed_by, "selector": selector });
        self.note(&mut tx, Some(workspace), by, "route.relay_proof", &route.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(RelayProof {
            domain: domain.to_owned(),
            signed_by: signed_by.to_owned(),
            selector: selector.to_owned(),
            relay,
            proved_at: now,
        })
    }

    /// Takes up to `wanted` messages out of what may be sent in a period, for this node. All nodes share the limit; what
    /// is taken and not used is lost, so take at most a second's worth or one per cent.
    ///
    /// # Errors
    /// The workspace has no such route, or there is no such source.
    pub async fn take_quota(&self, quota: &Quota<'_>, period: i64, wanted: i64, most: i64) -> Result<i64> {
        let mut tx = self.begin(Lane::Queue).await?;
        // The row of the owner is the turnstile: two grants at once must not both see the same sum.
        let (owner, limit) = match quota {
            Quota::Route(workspace, route) | Quota::Host(workspace, route, _) => {
                let find = sql!("SELECT id FROM route WHERE workspace_id = $1 AND id = $2 {for_update}");
                let row = tx.opt(find, args![*workspace, *route]).await?;
                let limit = match quota {
                    Quota::Host(_, _, host) => format!("route.{}.{host}", route.get()),
                    Quota::Route(..) | Quota::Source(_) => format!("route.{}", route.get()),
                };
                (row, limit)
            }
            Quota::Source(source) => {
                let row =
                    tx.opt(sql!("SELECT id FROM egress_source WHERE id = $1 {for_update}"), args![*source]).await?;
                (row, format!("source.{}", source.get()))
            }
        };
        owner.ok_or_else(|| not_found("route or source"))?;
        let taken = tx
            .one(
                sql!(
                    "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) AS n FROM quota_grant \
                     WHERE limit_name = $1 AND period = $2"
                ),
                args![limit.as_str(), period],
            )
            .await?
            .int("n")?;
        let granted = wanted.min(most - taken).max(0);
        if granted > 0 {
            tx.execute(
                sql!(
                    "INSERT INTO quota_grant (limit_name, period, node, amount) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (limit_name, period, node) DO UPDATE SET amount = quota_grant.amount + excluded.amount"
                ),
                args![limit.as_str(), period, self.node(), granted],
            )
            .await?;
            tx.execute(
                sql!("DELETE FROM quota_grant WHERE limit_name = $1 AND period < $2"),
                args![limit.as_str(), period - 7 * 86_400_000],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(granted)
    }
}
