//! Who is written to about alarms, and what has been told: settings of workspaces, alarms that no mail has told of yet, and
//! the one transaction that takes a mail and notes what it tells.
//!
//! Must not know what a mail says.

use std::collections::BTreeSet;

use postrider_domain::alarm::AlarmSettings;
use postrider_domain::id::{AlarmId, RouteId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::alarm::Alarm;
use crate::counter::Tally;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::message::{NewMessage, accept_by};
use crate::read::{json as read_json, json_opt, not_found, refused, to_json};
use crate::sql::{args, sql};

/// What happened longer ago than this, in milliseconds, is no news: a mail does not tell of it.
const NEWS_MS: i64 = 86_400_000;
/// The time for which mails are counted, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// What a workspace's next mail could tell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Untold {
    /// Raised, and not told.
    pub raised: Vec<Alarm>,
    /// Told when they were raised, and over since.
    pub ended: Vec<Alarm>,
    /// When the last mail was sent, i64 milliseconds UTC.
    pub last_mail_at: Option<i64>,
    /// Mails of the last hour.
    pub mails_of_hour: usize,
}

impl Store {
    /// The settings of a workspace; the usual ones when nobody has set any.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn alarm_settings(&self, workspace: WorkspaceId) -> Result<AlarmSettings> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT {json settings} AS settings FROM alarm_settings WHERE workspace_id = $1"),
                args![workspace],
            )
            .await?;
        Ok(row.as_ref().map(|row| json_opt(row, "settings")).transpose()?.flatten().unwrap_or_default())
    }

    /// The settings of every workspace that has set any, the oldest workspace first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn all_alarm_settings(&self) -> Result<Vec<(WorkspaceId, AlarmSettings)>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!("SELECT workspace_id, {json settings} AS settings FROM alarm_settings ORDER BY workspace_id"),
                args![],
            )
            .await?;
        rows.iter().map(|row| Ok((WorkspaceId(row.int("workspace_id")?), read_json(row, "settings")?))).collect()
    }

    /// Sets what a workspace wants of its alarms.
    ///
    /// # Errors
    /// A mailbox is none, the sender's domain is no sending domain of the workspace, or the route is not its own.
    pub async fn put_alarm_settings(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        settings: &AlarmSettings,
    ) -> Result<AlarmSettings> {
        let cannot = |what: &dyn std::fmt::Display| refused(format!("save the settings of alarms: {what}"));
        settings.check().map_err(|error| cannot(&error))?;
        let domain = settings.from.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
        if let Some(domain) = domain.filter(|_| settings.mails())
            && self.signing_key(workspace, &domain).await?.is_none()
        {
            return Err(cannot(&format!("{domain} is no sending domain of this workspace: write from one that is")));
        }
        let mut tx = self.begin(Lane::Web).await?;
        if let Some(route) = settings.route {
            // Whoever removes a route locks the same row: it stays until this is saved.
            tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
                .await?
                .ok_or_else(|| not_found("workspace"))?;
            tx.opt(sql!("SELECT id FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, route])
                .await?
                .ok_or_else(|| not_found("route"))?;
        }
        tx.execute(
            sql!(
                "INSERT INTO alarm_settings (workspace_id, settings, updated_at) VALUES ($1, {jsonb $2}, $3) \
                 ON CONFLICT (workspace_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at"
            ),
            args![workspace, to_json(settings), self.now()],
        )
        .await?;
        // Mailboxes stay out of the audit: how many, not which.
        let detail = json!({
            "recipients": settings.to.len(), "route": settings.route, "severities": settings.severities,
            "installation": settings.installation, "pause_on_bounces": settings.pause_on_bounces,
            "pause_on_complaints": settings.pause_on_complaints,
        });
        self.note(&mut tx, Some(workspace), by, "alarm_settings.set", &workspace.to_string(), detail).await?;
        tx.commit().await?;
        Ok(settings.clone())
    }

    /// What no mail has told yet, of the workspace and, when it is the one that is told of them, of the installation.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn untold_alarms(&self, workspace: WorkspaceId, installation: bool) -> Result<Untold> {
        let now = self.now();
        let with_installation = i64::from(installation);
        let mut reader = self.read().await?;
        let raised = reader
            .all(
                sql!(
                    "SELECT id, workspace_id, kind, subject, severity, level, {json facts} AS facts, raised_at, last_seen_at, \
                     acknowledged_at, acknowledged_by, resolved_at, paused_at, told_at FROM alarm \
                     WHERE resolved_at IS NULL AND told_at IS NULL AND raised_at > $3 \
                     AND (workspace_id = $1 OR ($2 = 1 AND workspace_id IS NULL)) ORDER BY id LIMIT 200"
                ),
                args![workspace, with_installation, now - NEWS_MS],
            )
            .await?;
        let ended = reader
            .all(
                sql!(
                    "SELECT id, workspace_id, kind, subject, severity, level, {json facts} AS facts, raised_at, last_seen_at, \
                     acknowledged_at, acknowledged_by, resolved_at, paused_at, told_at FROM alarm \
                     WHERE told_at IS NOT NULL AND told_end_at IS NULL AND resolved_at > $3 \
                     AND (workspace_id = $1 OR ($2 = 1 AND workspace_id IS NULL)) ORDER BY id LIMIT 200"
                ),
                args![workspace, with_installation, now - NEWS_MS],
            )
            .await?;
        // All alarms of one mail have the same time.
        let times = reader
            .all(
                sql!(
                    "SELECT told_at, told_end_at FROM alarm WHERE (told_at > $3 OR told_end_at > $3) \
                     AND (workspace_id = $1 OR ($2 = 1 AND workspace_id IS NULL))"
                ),
                args![workspace, with_installation, now - HOUR_MS],
            )
            .await?;
        let mut mails = BTreeSet::new();
        for row in &times {
            let both = [row.int_opt("told_at")?, row.int_opt("told_end_at")?];
            mails.extend(both.into_iter().flatten().filter(|at| *at > now - HOUR_MS));
        }
        Ok(Untold {
            raised: raised.iter().map(Alarm::read).collect::<Result<_>>()?,
            ended: ended.iter().map(Alarm::read).collect::<Result<_>>()?,
            last_mail_at: mails.last().copied(),
            mails_of_hour: mails.len(),
        })
    }

    /// Takes the mail that tells of these alarms and notes that they are told, in one transaction; `route` is another one than the
    /// workspace's default. Whether it was taken:
    /// when another node has told of one of them meanwhile, nothing is written.
    ///
    /// # Errors
    /// The disk is nearly full, or the database cannot be written.
    pub async fn tell_alarms(
        &self,
        raised: &[AlarmId],
        ended: &[AlarmId],
        mail: &NewMessage,
        route: Option<RouteId>,
    ) -> Result<bool> {
        let space = self.space()?;
        if space.low {
            return Err(StoreError::Full { free: space.free, need: crate::folder::Space::needed(space.total) });
        }
        let now = self.now();
        let ids = |of: &[AlarmId]| json!(of.iter().map(|id| id.get()).collect::<Vec<_>>());
        let lane_ids: Vec<i64> = self.next_ids(1).collect();
        let mut tx = self.begin(Lane::Web).await?;
        let told = tx
            .execute(
                sql!("UPDATE alarm SET told_at = $2 WHERE id IN {ids $1} AND told_at IS NULL"),
                args![ids(raised), now],
            )
            .await?;
        let told_end = tx
            .execute(
                sql!("UPDATE alarm SET told_end_at = $2 WHERE id IN {ids $1} AND told_end_at IS NULL"),
                args![ids(ended), now],
            )
            .await?;
        if told != raised.len() as u64 || told_end != ended.len() as u64 {
            return Ok(false);
        }
        let mut tally = Tally::default();
        accept_by(&mut tx, self, &[mail], &lane_ids, now, &mut tally, route).await?;
        tally.write(&mut tx, self.node()).await?;
        tx.commit().await?;
        tracing::info!(event = "alarm.told", raised = raised.len(), ended = ended.len());
        Ok(true)
    }
}

/// The route by which the mail about alarms of a workspace leaves, when one is set.
pub(crate) async fn route_of(tx: &mut Tx, workspace: WorkspaceId) -> Result<Option<RouteId>> {
    let row = tx
        .opt(sql!("SELECT {json settings} AS settings FROM alarm_settings WHERE workspace_id = $1"), args![workspace])
        .await?;
    Ok(row.map(|row| read_json::<AlarmSettings>(&row, "settings")).transpose()?.and_then(|settings| settings.route))
}
