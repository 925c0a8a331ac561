//! Soft bounces of a mailbox since its last success, and the suppression of those that reach their workspace's limit (BC-4, BC-5).
//!
//! What counts and which limit is reached is said by `postrider_domain::bounce::soft`. Must not know how a reply is read.

use std::collections::HashMap;

use postrider_domain::bounce::BounceClass;
use postrider_domain::bounce::soft::{SoftBounce, SoftCount, SoftEvidence, SoftLimits};
use postrider_domain::event::{Consequence, News, consequences};
use postrider_domain::id::{DeliveryId, WorkspaceId};
use postrider_domain::suppression::SuppressionScope;
use postrider_mail::mailbox::Mailbox;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::read::{json_opt, refused, to_json};
use crate::sql::{Row, args, rows_json, sql};

/// Counts without a new bounce are kept so long, in milliseconds.
const COUNT_KEPT_MS: i64 = 400 * 86_400_000;
/// Suppressions that ended are shown so long, in milliseconds.
const ENDED_KEPT_MS: i64 = 90 * 86_400_000;

/// A delivery that ended softly.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Bounced {
    /// The delivery.
    pub(crate) i: i64,
    /// What the host said.
    pub(crate) c: BounceClass,
    /// When, milliseconds UTC.
    pub(crate) t: i64,
}

/// A mailbox that was suppressed.
#[derive(Debug, Clone)]
pub(crate) struct Limited {
    /// The delivery that was one too many.
    pub(crate) delivery: DeliveryId,
    /// What the suppression covers.
    pub(crate) scope: SuppressionScope,
    /// How many bounces.
    pub(crate) bounces: i64,
}

/// The count of a mailbox as it stands after a batch.
struct Counted {
    id: i64,
    delivery: DeliveryId,
    count: SoftCount,
    trail: Vec<SoftBounce>,
    limits: SoftLimits,
}

impl Counted {
    fn read(row: &Row) -> Result<Counted> {
        let settings: Option<SoftLimits> = json_opt(row, "settings")?;
        Ok(Counted {
            id: row.int("id")?,
            delivery: DeliveryId(row.int("delivery_id")?),
            count: SoftCount {
                bounces: row.int("bounces")?,
                campaigns: row.int("campaigns")?,
                first_at: row.int("first_at")?,
                last_at: row.int("last_at")?,
            },
            trail: trail(row)?,
            limits: settings.unwrap_or_default(),
        })
    }
}

fn trail(row: &Row) -> Result<Vec<SoftBounce>> {
    serde_json::from_str(&format!("[{}]", row.text("trail")?))
        .map_err(|_| StoreError::Corrupt("column soft_bounce.trail".into()))
}

/// A suppression to be made.
#[derive(serde::Serialize)]
struct NewRow<'a> {
    d: i64,
    r: &'a str,
    s: &'a str,
    u: Option<i64>,
    e: String,
}

/// What a batch of settles says of mailboxes.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Counts of mailboxes that took a message.
    pub(crate) cleared: Vec<i64>,
    /// Counts of mailboxes that did not.
    pub(crate) growing: Vec<i64>,
    /// Deliveries that ended softly.
    pub(crate) bounced: Vec<Bounced>,
}

/// Forgets the counts of mailboxes that took a message, and counts what ended softly. Runs in the transaction that settles,
/// after the deliveries have their outcome; gives the mailboxes that were suppressed by it.
///
/// Nothing is asked for a batch of successes at mailboxes without a count.
pub(crate) async fn count(tx: &mut Tx, said: &Said, now: i64) -> Result<Vec<Limited>> {
    let Said { cleared, growing, bounced } = said;
    if !cleared.is_empty() {
        // In the order in which counts are made, so that two nodes do not wait for each other.
        let all: Vec<i64> = cleared.iter().chain(growing).copied().collect();
        tx.all(
            sql!("SELECT id FROM soft_bounce WHERE id IN {ids $1} ORDER BY workspace_id, digest {for_update}"),
            args![rows_json(&all)],
        )
        .await?;
        tx.execute(sql!("DELETE FROM soft_bounce WHERE id IN {ids $1}"), args![rows_json(cleared)]).await?;
    }
    if bounced.is_empty() {
        return Ok(Vec::new());
    }
    // An erased delivery has no digest any more. Two nodes that count the same mailbox follow each other at its row.
    let rows = tx
        .all(
            sql!(
                "INSERT INTO soft_bounce (id, workspace_id, digest, delivery_id, bounces, campaigns, first_at, last_at, trail) \
                 SELECT max(d.id), d.workspace_id, d.digest, max(d.id), count(*), count(d.campaign_id), min(r.t), max(r.t), \
                   string_agg('[' || d.id || ',' || coalesce(CAST(d.campaign_id AS TEXT), 'null') || ',\"' || r.c || '\",' || r.t || ']', ',') \
                 FROM {rows $1 (i bigint, c text, t bigint)} r JOIN delivery d ON d.id = r.i \
                 WHERE length(d.digest) > 0 GROUP BY d.workspace_id, d.digest ORDER BY d.workspace_id, d.digest \
                 ON CONFLICT (workspace_id, digest) DO UPDATE SET \
                   delivery_id = excluded.delivery_id, bounces = soft_bounce.bounces + excluded.bounces, \
                   campaigns = soft_bounce.campaigns + excluded.campaigns, \
                   first_at = {least soft_bounce.first_at, excluded.first_at}, \
                   last_at = {greatest soft_bounce.last_at, excluded.last_at}, \
                   trail = CASE WHEN soft_bounce.bounces < 50 THEN soft_bounce.trail || ',' || excluded.trail \
                     ELSE soft_bounce.trail END \
                 RETURNING id, delivery_id, bounces, campaigns, first_at, last_at, trail, \
                   (SELECT {json b.settings} FROM bounce_settings b WHERE b.workspace_id = soft_bounce.workspace_id) AS settings"
            ),
            args![rows_json(bounced)],
        )
        .await?;
    let (mut reached, mut limited, mut over) = (Vec::new(), HashMap::new(), Vec::new());
    for row in &rows {
        let counted = Counted::read(row)?;
        let Some(limit) = counted.limits.reached(&counted.count) else { continue };
        over.push(counted.id);
        let evidence = to_json(&SoftEvidence { limit, count: counted.count, trail: counted.trail });
        for consequence in consequences(News::BounceLimit(counted.limits.scope), None) {
            match consequence {
                Consequence::Suppress(reason, scope) => {
                    reached.push(NewRow {
                        d: counted.delivery.get(),
                        r: reason.as_str(),
                        s: scope.as_str(),
                        u: counted.limits.until(now),
                        e: evidence.clone(),
                    });
                    let bounces = counted.count.bounces;
                    limited.insert(counted.delivery.get(), Limited { delivery: counted.delivery, scope, bounces });
                }
                // Consent stays as it is.
                Consequence::Withdraw | Consequence::WithdrawAll => {}
            }
        }
    }
    if reached.is_empty() {
        return Ok(Vec::new());
    }
    // One that is in force stays; one that has ended is made anew. A delivery ends once, so its number is free as an id.
    let made = tx
        .all(
            sql!(
                "INSERT INTO suppression (id, workspace_id, digest, mailbox_norm, domain, reason, scope, source, since, until, \
                   delivery_id, evidence) \
                 SELECT r.d, d.workspace_id, d.digest, d.mailbox_norm, NULL, r.r, r.s, 'session', $2, r.u, d.id, {jsonb r.e} \
                 FROM {rows $1 (d bigint, r text, s text, u bigint, e text)} r JOIN delivery d ON d.id = r.d \
                 WHERE length(d.digest) > 0 \
                 ON CONFLICT (workspace_id, digest, scope) DO UPDATE SET mailbox_norm = excluded.mailbox_norm, \
                   reason = excluded.reason, source = excluded.source, since = excluded.since, until = excluded.until, \
                   delivery_id = excluded.delivery_id, evidence = excluded.evidence \
                 WHERE suppression.until IS NOT NULL AND suppression.until <= $2 \
                 RETURNING delivery_id"
            ),
            args![rows_json(&reached), now],
        )
        .await?;
    // After a suppression it begins anew.
    tx.execute(sql!("DELETE FROM soft_bounce WHERE id IN {ids $1}"), args![rows_json(&over)]).await?;
    let mut done = Vec::with_capacity(made.len());
    for row in &made {
        done.extend(limited.remove(&row.int("delivery_id")?));
    }
    Ok(done)
}

/// What was counted of a mailbox since its last success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftBounces {
    /// How many, over what time.
    pub count: SoftCount,
    /// Which, the first fifty.
    pub trail: Vec<SoftBounce>,
}

impl Store {
    /// What was counted of a mailbox since its last success; `None` when nothing was.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn soft_bounces(&self, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<Option<SoftBounces>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, delivery_id, bounces, campaigns, first_at, last_at, trail, NULL AS settings FROM soft_bounce \
                     WHERE workspace_id = $1 AND digest = $2"
                ),
                args![workspace, self.digest(&mailbox.normalised())],
            )
            .await?;
        let counted = row.as_ref().map(Counted::read).transpose()?;
        Ok(counted.map(|counted| SoftBounces { count: counted.count, trail: counted.trail }))
    }

    /// What a workspace wants of soft bounces; the usual limits when nobody has set any.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn bounce_settings(&self, workspace: WorkspaceId) -> Result<SoftLimits> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT {json settings} AS settings FROM bounce_settings WHERE workspace_id = $1"),
                args![workspace],
            )
            .await?;
        Ok(row.as_ref().map(|row| json_opt(row, "settings")).transpose()?.flatten().unwrap_or_default())
    }

    /// Sets what a workspace wants of soft bounces; counts for the next bounce, and lifts nothing.
    ///
    /// # Errors
    /// A number makes no sense.
    pub async fn put_bounce_settings(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        settings: &SoftLimits,
    ) -> Result<SoftLimits> {
        settings.check().map_err(|error| refused(format!("save the settings of bounces: {error}")))?;
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO bounce_settings (workspace_id, settings, updated_at) VALUES ($1, {jsonb $2}, $3) \
                 ON CONFLICT (workspace_id) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at"
            ),
            args![workspace, to_json(settings), self.now()],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "bounce_settings.set", &workspace.to_string(), json!(settings)).await?;
        tx.commit().await?;
        Ok(*settings)
    }

    /// Deletes suppressions that ended three months ago, and counts without a bounce for more than a year; how many rows.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_bounces(&self, limit: u32) -> Result<u64> {
        let now = self.now();
        let mut tx = self.begin(Lane::Bulk).await?;
        let suppressions = tx
            .execute(
                sql!(
                    "DELETE FROM suppression WHERE id IN (SELECT id FROM suppression WHERE until < $1 ORDER BY until LIMIT $2) \
                     AND until < $1"
                ),
                args![now - ENDED_KEPT_MS, limit],
            )
            .await?;
        let counts = tx
            .execute(
                sql!(
                    "DELETE FROM soft_bounce WHERE id IN (SELECT id FROM soft_bounce WHERE last_at < $1 ORDER BY last_at LIMIT $2) \
                     AND last_at < $1"
                ),
                args![now - COUNT_KEPT_MS, limit],
            )
            .await?;
        tx.commit().await?;
        Ok(suppressions + counts)
    }

    /// Forgets what was counted of a mailbox that is erased.
    pub(crate) async fn forget_count(&self, tx: &mut Tx, workspace: WorkspaceId, digest: &[u8]) -> Result<()> {
        tx.execute(sql!("DELETE FROM soft_bounce WHERE workspace_id = $1 AND digest = $2"), args![workspace, digest])
            .await?;
        Ok(())
    }
}
