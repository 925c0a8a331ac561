//! Alarms as rows: raised once and resolved once whichever node saw it, acknowledged by people, listed for pages.
//!
//! What is an alarm and when it is over is said by `postrider_domain::alarm`. Must not know how anything is looked at.

use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSeverity, Standing, Wrong};
use postrider_domain::id::{AlarmId, WorkspaceId};
use serde_json::{Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{conflict, json as read_json, not_found, word};
use crate::sql::{Row, args, sql};

/// Most open alarms that are looked at; more of them tell nobody more.
const MOST_OPEN: i64 = 2_000;
/// Alarms that are over are kept so long, in milliseconds.
const KEPT_MS: i64 = 400 * 86_400_000;

/// An alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// Its id.
    pub id: AlarmId,
    /// Whose; `None` for the installation.
    pub workspace: Option<WorkspaceId>,
    /// What is wrong.
    pub kind: AlarmKind,
    /// With what.
    pub subject: String,
    /// How bad.
    pub severity: AlarmSeverity,
    /// Steps by which it got worse.
    pub level: i64,
    /// What was seen, newest.
    pub facts: Value,
    /// When it was raised, i64 milliseconds UTC, as all times here.
    pub raised_at: i64,
    /// When it was seen last, to within some minutes.
    pub last_seen_at: i64,
    /// When a person took note of it.
    pub acknowledged_at: Option<i64>,
    /// Who, as the audit names actors: kind and id.
    pub acknowledged_by: Option<String>,
    /// When it was over.
    pub resolved_at: Option<i64>,
    /// Since when it keeps its campaign paused.
    pub paused_at: Option<i64>,
    /// When a mail told of it.
    pub told_at: Option<i64>,
}

postrider_domain::words! {
    /// Which alarms a listing shows.
    pub enum AlarmState {
        /// Neither acknowledged nor over.
        Open = "open",
        /// Acknowledged, and not over.
        Acknowledged = "acknowledged",
        /// Over.
        Resolved = "resolved",
    }
}

impl Alarm {
    /// Where it stands.
    pub const fn state(&self) -> AlarmState {
        match (self.resolved_at, self.acknowledged_at) {
            (Some(_), _) => AlarmState::Resolved,
            (None, Some(_)) => AlarmState::Acknowledged,
            (None, None) => AlarmState::Open,
        }
    }

    /// Which alarm it is.
    pub fn key(&self) -> AlarmKey {
        AlarmKey { workspace: self.workspace, kind: self.kind, subject: self.subject.clone() }
    }

    /// What is wrong, in one sentence.
    pub fn sentence(&self) -> String {
        postrider_domain::alarm::sentence(self.kind, &self.subject, &self.facts)
    }

    pub(crate) fn read(row: &Row) -> Result<Alarm> {
        Ok(Alarm {
            id: AlarmId(row.int("id")?),
            workspace: row.int_opt("workspace_id")?.map(WorkspaceId),
            kind: word(row, "kind", AlarmKind::parse)?,
            subject: row.text("subject")?,
            severity: word(row, "severity", AlarmSeverity::parse)?,
            level: row.int("level")?,
            facts: read_json(row, "facts")?,
            raised_at: row.int("raised_at")?,
            last_seen_at: row.int("last_seen_at")?,
            acknowledged_at: row.int_opt("acknowledged_at")?,
            acknowledged_by: row.text_opt("acknowledged_by")?,
            resolved_at: row.int_opt("resolved_at")?,
            paused_at: row.int_opt("paused_at")?,
            told_at: row.int_opt("told_at")?,
        })
    }
}

impl From<&Alarm> for Standing {
    fn from(alarm: &Alarm) -> Standing {
        Standing { id: alarm.id, key: alarm.key(), level: alarm.level, last_seen_at: alarm.last_seen_at }
    }
}

/// PostgreSQL keeps no NUL in a text or in JSON, and what a stranger said may have one.
fn storable(value: &Value) -> String {
    value.to_string().replace("\\u0000", "\\ufffd")
}

impl Store {
    /// Raises an alarm; its id, or `None` when one of this key is open already, whose facts are then brought up to date.
    /// Of several nodes that raise the same at once one gets the id.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn raise_alarm(&self, key: &AlarmKey, wrong: &Wrong) -> Result<Option<AlarmId>> {
        let id = AlarmId(self.next_id());
        let now = self.now();
        let subject = key.subject.replace('\0', "\u{fffd}");
        let facts = storable(&wrong.facts);
        let mut tx = self.begin(Lane::Web).await?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO alarm (id, workspace_id, kind, subject, severity, level, facts, raised_at, last_seen_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, {jsonb $7}, $8, $8) ON CONFLICT DO NOTHING"
                ),
                args![
                    id,
                    key.workspace,
                    key.kind.as_str(),
                    subject.as_str(),
                    wrong.severity.as_str(),
                    wrong.level,
                    facts.as_str(),
                    now
                ],
            )
            .await?;
        if made == 0 {
            tx.execute(
                sql!(
                    "UPDATE alarm SET last_seen_at = $4, facts = {jsonb $5} WHERE coalesce(workspace_id, 0) = $1 \
                     AND kind = $2 AND subject = $3 AND resolved_at IS NULL"
                ),
                args![key.workspace.map_or(0, WorkspaceId::get), key.kind.as_str(), subject, now, facts],
            )
            .await?;
            tx.commit().await?;
            return Ok(None);
        }
        ring(&mut tx, key.workspace, id).await?;
        tx.commit().await?;
        tracing::warn!(event = "alarm.raised", alarm = %id, kind = %key.kind, severity = %wrong.severity);
        Ok(Some(id))
    }

    /// Ends the open alarm of a key: whoever raised it says that it is over. Whether there was one.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn resolve_alarm(&self, key: &AlarmKey) -> Result<bool> {
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(
                sql!(
                    "UPDATE alarm SET resolved_at = $4 WHERE coalesce(workspace_id, 0) = $1 AND kind = $2 AND subject = $3 \
                     AND resolved_at IS NULL RETURNING id"
                ),
                args![
                    key.workspace.map_or(0, WorkspaceId::get),
                    key.kind.as_str(),
                    key.subject.replace('\0', "\u{fffd}"),
                    self.now()
                ],
            )
            .await?;
        let Some(row) = row else { return Ok(false) };
        let id = AlarmId(row.int("id")?);
        ring(&mut tx, key.workspace, id).await?;
        tx.commit().await?;
        tracing::info!(event = "alarm.resolved", alarm = %id, kind = %key.kind);
        Ok(true)
    }

    /// Ends an alarm unless somebody has seen it wrong since `last_seen_at`; whether it did.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn resolve_alarm_unless_seen(&self, id: AlarmId, key: &AlarmKey, last_seen_at: i64) -> Result<bool> {
        let mut tx = self.begin(Lane::Web).await?;
        let ended = tx
            .execute(
                sql!("UPDATE alarm SET resolved_at = $3 WHERE id = $1 AND resolved_at IS NULL AND last_seen_at = $2"),
                args![id, last_seen_at, self.now()],
            )
            .await?;
        if ended == 0 {
            return Ok(false);
        }
        ring(&mut tx, key.workspace, id).await?;
        tx.commit().await?;
        tracing::info!(event = "alarm.resolved", alarm = %id, kind = %key.kind);
        Ok(true)
    }

    /// Notes that an alarm got worse by a step; whether this node was the first. It is told and shown as new again.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn worsen_alarm(&self, id: AlarmId, key: &AlarmKey, wrong: &Wrong) -> Result<bool> {
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE alarm SET level = $2, severity = $3, facts = {jsonb $4}, last_seen_at = $5, \
                     acknowledged_at = NULL, acknowledged_by = NULL WHERE id = $1 AND resolved_at IS NULL AND level < $2"
                ),
                args![id, wrong.level, wrong.severity.as_str(), storable(&wrong.facts), self.now()],
            )
            .await?;
        if changed == 0 {
            return Ok(false);
        }
        ring(&mut tx, key.workspace, id).await?;
        tx.commit().await?;
        tracing::warn!(event = "alarm.worse", alarm = %id, kind = %key.kind, level = wrong.level);
        Ok(true)
    }

    /// Notes that an alarm lasts, with the newest facts; without facts only the time, after a clock was set back.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn touch_alarm(&self, id: AlarmId, facts: Option<&Value>) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        match facts {
            Some(facts) => {
                tx.execute(
                    sql!(
                        "UPDATE alarm SET last_seen_at = $2, facts = {jsonb $3} WHERE id = $1 AND resolved_at IS NULL"
                    ),
                    args![id, self.now(), storable(facts)],
                )
                .await?
            }
            None => {
                tx.execute(
                    sql!("UPDATE alarm SET last_seen_at = $2 WHERE id = $1 AND resolved_at IS NULL"),
                    args![id, self.now()],
                )
                .await?
            }
        };
        tx.commit().await
    }

    /// Every open alarm of the installation and of all workspaces; for the engine and the doctor.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open_alarms(&self) -> Result<Vec<Alarm>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, kind, subject, severity, level, {json facts} AS facts, raised_at, last_seen_at, \
                     acknowledged_at, acknowledged_by, resolved_at, paused_at, told_at FROM alarm \
                     WHERE resolved_at IS NULL ORDER BY id LIMIT $1"
                ),
                args![MOST_OPEN],
            )
            .await?
            .iter()
            .map(Alarm::read)
            .collect()
    }

    /// The alarms that a workspace sees, its own and those of the installation, newest first. Without a state: those that
    /// are not over.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn alarms(
        &self,
        workspace: WorkspaceId,
        states: &[AlarmState],
        page: &PageRequest,
    ) -> Result<Page<Alarm>> {
        let before: i64 = page.position("alarm")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let wants = |state| i64::from(states.contains(&state));
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, kind, subject, severity, level, {json facts} AS facts, raised_at, last_seen_at, \
                     acknowledged_at, acknowledged_by, resolved_at, paused_at, told_at FROM alarm \
                     WHERE (workspace_id = $1 OR workspace_id IS NULL) AND id < $2 \
                     AND (($4 = 1 AND resolved_at IS NULL AND acknowledged_at IS NULL) \
                       OR ($5 = 1 AND resolved_at IS NULL AND acknowledged_at IS NOT NULL) \
                       OR ($6 = 1 AND resolved_at IS NOT NULL)) \
                     ORDER BY id DESC LIMIT $3"
                ),
                args![
                    workspace,
                    before,
                    limit + 1,
                    wants(AlarmState::Open),
                    wants(AlarmState::Acknowledged),
                    wants(AlarmState::Resolved)
                ],
            )
            .await?;
        let found = rows.iter().map(Alarm::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(found, limit, "alarm", |alarm| alarm.id.get()))
    }

    /// One alarm that a workspace sees.
    ///
    /// # Errors
    /// There is none of this id, or it is another workspace's.
    pub async fn alarm(&self, workspace: WorkspaceId, id: AlarmId) -> Result<Alarm> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, workspace_id, kind, subject, severity, level, {json facts} AS facts, raised_at, last_seen_at, \
                     acknowledged_at, acknowledged_by, resolved_at, paused_at, told_at FROM alarm \
                     WHERE (workspace_id = $1 OR workspace_id IS NULL) AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Alarm::read(&row.ok_or_else(|| not_found("alarm"))?)
    }

    /// Notes that a person knows of an alarm. One that is acknowledged already stays as it is.
    ///
    /// # Errors
    /// The workspace sees no such alarm, or it is over.
    pub async fn acknowledge_alarm(&self, workspace: WorkspaceId, by: &Actor, id: AlarmId) -> Result<Alarm> {
        let alarm = self.alarm(workspace, id).await?;
        match alarm.state() {
            AlarmState::Acknowledged => return Ok(alarm),
            AlarmState::Resolved => return Err(conflict("acknowledge the alarm: it is over already")),
            AlarmState::Open => {}
        }
        let who = format!("{} {}", by.kind(), by.id());
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE alarm SET acknowledged_at = $2, acknowledged_by = $3 \
                     WHERE id = $1 AND acknowledged_at IS NULL AND resolved_at IS NULL"
                ),
                args![id, self.now(), who.trim_end()],
            )
            .await?;
        if changed > 0 {
            let detail = json!({ "kind": alarm.kind, "subject": alarm.subject });
            self.note(&mut tx, Some(workspace), by, "alarm.acknowledge", &id.to_string(), detail).await?;
            ring(&mut tx, alarm.workspace, id).await?;
            tx.commit().await?;
        }
        self.alarm(workspace, id).await
    }

    /// Deletes alarms that have been over for more than a year; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_alarms(&self, limit: u32) -> Result<u64> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let gone = tx
            .execute(
                sql!("DELETE FROM alarm WHERE id IN (SELECT id FROM alarm WHERE resolved_at < $1 LIMIT $2)"),
                args![self.now() - KEPT_MS, limit],
            )
            .await?;
        tx.commit().await?;
        Ok(gone)
    }
}

/// Tells who watches: the workspace, or every one for an alarm of the installation.
pub(crate) async fn ring(tx: &mut Tx, workspace: Option<WorkspaceId>, id: AlarmId) -> Result<()> {
    let watching = match workspace {
        Some(workspace) => vec![workspace],
        None => tx
            .all(sql!("SELECT id FROM workspace ORDER BY id LIMIT 1000"), args![])
            .await?
            .iter()
            .map(|row| row.int("id").map(WorkspaceId))
            .collect::<Result<_>>()?,
    };
    for workspace in watching {
        tx.ring(Topic::Live { workspace, what: format!("alarm:{id}") });
    }
    Ok(())
}
