//! Routes: how mail leaves. A password is sealed, never returned by the API, and opened for the engine only.
//!
//! Must not connect anywhere.

use postrider_domain::id::{RouteId, WorkspaceId};
use postrider_domain::route::RouteSettings;
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::read::{conflict, json, not_found, refused, to_json};
use crate::secret::Secret;
use crate::sql::{Row, args, sql};
use crate::steering::{Removed, no_rule_meanwhile, refuse_named};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// Its settings.
    pub settings: RouteSettings,
    /// Whether a password is stored.
    pub has_password: bool,
    /// Whether campaigns and messages without a route of their own take it.
    pub is_default: bool,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
}

/// What becomes of a stored password.
#[derive(Debug, Clone)]
pub enum PasswordChange {
    /// It stays.
    Keep,
    /// It becomes this one.
    Set(Secret),
    /// It is forgotten.
    Clear,
}

fn place(id: RouteId) -> String {
    format!("route.{}.sealed_password", id.get())
}

impl Route {
    fn read(row: &Row) -> Result<Route> {
        Ok(Route {
            id: RouteId(row.int("id")?),
            settings: json(row, "settings")?,
            has_password: row.bytes_opt("sealed_password")?.is_some(),
            is_default: row.bool("is_default")?,
            created_at: row.int("created_at")?,
        })
    }
}

fn check(settings: &RouteSettings) -> Result<()> {
    crate::read::check_text("user name", &settings.username, 255)?;
    settings.check().map_err(|error| refused(format!("save the route: {error}")))
}

impl Store {
    /// Adds a route; the first of a workspace is its default.
    ///
    /// # Errors
    /// The settings are refused, or the workspace does not exist.
    pub async fn add_route(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        settings: &RouteSettings,
        password: Option<&Secret>,
    ) -> Result<Route> {
        check(settings)?;
        let id = RouteId(self.next_id());
        let sealed = password.map(|p| self.seal(&place(id), p.reveal().as_bytes())).transpose()?;
        let mut tx = self.begin(Lane::Web).await?;
        crate::egress::check_route(&mut tx, workspace, settings).await?;
        // Two first routes at once must not both be the default.
        tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        tx.execute(
            sql!(
                "INSERT INTO route (id, workspace_id, settings, sealed_password, is_default, created_at) \
                 SELECT $1, $2, {jsonb $3}, $4, NOT EXISTS (SELECT 1 FROM route r WHERE r.workspace_id = $2), $5"
            ),
            args![id, workspace, to_json(settings), sealed, self.now()],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "route.add", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.route(workspace, id).await
    }

    /// The routes of a workspace, at most 500.
    ///
    /// # Errors
    /// The database fails.
    pub async fn routes(&self, workspace: WorkspaceId) -> Result<Vec<Route>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, {json settings} AS settings, sealed_password, is_default, created_at FROM route \
                     WHERE workspace_id = $1 ORDER BY id LIMIT 500"
                ),
                args![workspace],
            )
            .await?
            .iter()
            .map(Route::read)
            .collect()
    }

    /// A route by id.
    ///
    /// # Errors
    /// The workspace has no such route.
    pub async fn route(&self, workspace: WorkspaceId, id: RouteId) -> Result<Route> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, {json settings} AS settings, sealed_password, is_default, created_at FROM route \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Route::read(&row.ok_or_else(|| not_found("route"))?)
    }

    /// The default route of a workspace, if it has any route.
    ///
    /// # Errors
    /// The database fails.
    pub async fn default_route(&self, workspace: WorkspaceId) -> Result<Option<Route>> {
        Ok(self.routes(workspace).await?.into_iter().find(|route| route.is_default))
    }

    /// Changes a route.
    ///
    /// # Errors
    /// The settings are refused, or the workspace has no such route.
    pub async fn change_route(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: RouteId,
        settings: &RouteSettings,
        password: PasswordChange,
    ) -> Result<Route> {
        check(settings)?;
        let before = self.route(workspace, id).await?.settings;
        let moved =
            before.host != settings.host || before.port != settings.port || before.username != settings.username;
        let mut tx = self.begin(Lane::Web).await?;
        crate::egress::check_route(&mut tx, workspace, settings).await?;
        self.put_settings(&mut tx, workspace, id, settings).await?;
        crate::relay::settings_changed(&mut tx, id, &before, settings).await?;
        match password {
            PasswordChange::Keep if moved => {
                // A password must not follow to a host that its owner never named for it.
                self.put_password(&mut tx, workspace, id, None).await?;
            }
            PasswordChange::Keep => {}
            PasswordChange::Set(secret) => self.put_password(&mut tx, workspace, id, Some(&secret)).await?,
            PasswordChange::Clear => self.put_password(&mut tx, workspace, id, None).await?,
        }
        self.note(&mut tx, Some(workspace), by, "route.change", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.route(workspace, id).await
    }

    async fn put_settings(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        id: RouteId,
        settings: &RouteSettings,
    ) -> Result<()> {
        let changed = tx
            .execute(
                sql!("UPDATE route SET settings = {jsonb $3} WHERE workspace_id = $1 AND id = $2"),
                args![workspace, id, to_json(settings)],
            )
            .await?;
        if changed == 0 { Err(not_found("route")) } else { Ok(()) }
    }

    async fn put_password(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        id: RouteId,
        secret: Option<&Secret>,
    ) -> Result<()> {
        let sealed = secret.map(|s| self.seal(&place(id), s.reveal().as_bytes())).transpose()?;
        tx.execute(
            sql!("UPDATE route SET sealed_password = $3 WHERE workspace_id = $1 AND id = $2"),
            args![workspace, id, sealed],
        )
        .await?;
        Ok(())
    }

    /// Makes a route the default one.
    ///
    /// # Errors
    /// The workspace has no such route.
    pub async fn make_default_route(&self, workspace: WorkspaceId, by: &Actor, id: RouteId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        tx.opt(sql!("SELECT id FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, id])
            .await?
            .ok_or_else(|| not_found("route"))?;
        tx.execute(sql!("UPDATE route SET is_default = (id = $2) WHERE workspace_id = $1"), args![workspace, id])
            .await?;
        self.note(&mut tx, Some(workspace), by, "route.default", &id.to_string(), json!({})).await?;
        tx.commit().await
    }

    /// Removes a route that is not the default one and that neither a campaign, a rule of the queue nor the mail about
    /// alarms names.
    ///
    /// # Errors
    /// The workspace has no such route, it is the default one, or something names it.
    pub async fn remove_route(&self, workspace: WorkspaceId, by: &Actor, id: RouteId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        no_rule_meanwhile(&mut tx).await?;
        tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        let route = tx
            .opt(sql!("SELECT is_default FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, id])
            .await?
            .ok_or_else(|| not_found("route"))?;
        if route.bool("is_default")? {
            return Err(conflict(
                "remove the route: it is the default one, by which campaigns and messages without a route of their own \
                 leave; make another route the default first",
            ));
        }
        let used = tx
            .opt(
                sql!(
                    "SELECT name, state FROM campaign WHERE workspace_id = $1 AND route_id = $2 \
                     ORDER BY CASE WHEN state IN ('freezing', 'sending', 'paused', 'scheduled') THEN 0 ELSE 1 END, id LIMIT 1"
                ),
                args![workspace, id],
            )
            .await?;
        if let Some(row) = used {
            let name = row.text("name")?;
            return Err(conflict(match row.text("state")?.as_str() {
                "freezing" | "sending" | "paused" | "scheduled" => format!(
                    "remove the route: the campaign \u{201c}{name}\u{201d} is leaving or will leave by it; wait until it is \
                     done, or stop it"
                ),
                "draft" | "missed" => format!(
                    "remove the route: the draft \u{201c}{name}\u{201d} names it; choose another route there first"
                ),
                _ => format!(
                    "remove the route: the campaign \u{201c}{name}\u{201d} left by it, and its report would lose it"
                ),
            }));
        }
        refuse_named(&mut tx, Removed::Route(workspace, id)).await?;
        if crate::alarm_mail::route_of(&mut tx, workspace).await? == Some(id) {
            return Err(conflict(
                "remove the route: the mail about alarms leaves by it; choose another one in the settings of alarms, or with \
                 `postrider alarms mail --route`, first",
            ));
        }
        crate::relay::route_gone(&mut tx, workspace, id).await?;
        tx.execute(
            sql!("DELETE FROM route_use WHERE route_id = (SELECT id FROM route WHERE workspace_id = $1 AND id = $2)"),
            args![workspace, id],
        )
        .await?;
        let gone =
            tx.execute(sql!("DELETE FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
        if gone == 0 {
            return Err(not_found("route"));
        }
        self.note(&mut tx, Some(workspace), by, "route.remove", &id.to_string(), json!({})).await?;
        tx.commit().await
    }

    /// The password of a route; for the engine only.
    ///
    /// # Errors
    /// The workspace has no such route, or the master key does not open it.
    pub async fn route_secret(&self, workspace: WorkspaceId, id: RouteId) -> Result<Option<Secret>> {
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT sealed_password FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, id])
            .await?
            .ok_or_else(|| not_found("route"))?;
        let Some(sealed) = row.bytes_opt("sealed_password")? else { return Ok(None) };
        let opened = self.unseal(&place(id), &sealed)?;
        let text = std::str::from_utf8(&opened)
            .map_err(|_| StoreError::Corrupt("column route.sealed_password holds no UTF-8".into()))?;
        Ok(Some(Secret::new(text.to_owned())))
    }
}
