//! Warm-up of egress sources: where each stands at each site, and what of a day is granted to nodes.
//!
//! Must not know plans: `postrider_domain::warmup` decides, here it is made durable.

use postrider_domain::egress::SourceSettings;
use postrider_domain::id::SourceId;
use postrider_domain::warmup::{Allowed, DAY_MS, WarmState, day_of};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{json as read_json, not_found};
use crate::sql::{Row, args, sql};

/// Longest stored reason of a pause, in characters.
const MOST_REASON: usize = 300;

/// A source at a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUpRow {
    /// The source.
    pub source: SourceId,
    /// The site.
    pub site: String,
    /// Where it stands.
    pub state: WarmState,
    /// Messages granted on the day of the state.
    pub carried: u32,
    /// Why it was paused last; empty when it never was.
    pub reason: String,
    /// When the row was written, i64 milliseconds UTC.
    pub updated_at: i64,
}

/// What a node may send from a source to a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmGrant {
    /// What the plan says.
    pub allowed: Allowed,
    /// The step, from 0.
    pub step: u32,
    /// The day for which it counts, days since 1970-01-01 UTC.
    pub day: i64,
    /// What had been granted before on this day, to all nodes.
    pub before: u32,
    /// What is granted now.
    pub granted: u32,
}

fn read_state(row: &Row) -> Result<(WarmState, u32)> {
    let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let state = WarmState {
        step: small(row.int("step")?),
        day: row.int("day")?,
        paused_until: row.int_opt("paused_until")?,
        pauses: small(row.int("pauses")?),
    };
    Ok((state, small(row.int("carried")?)))
}

/// The source's settings and its row at a site as it is today, locked; a new row when there is none.
async fn today(tx: &mut Tx, source: SourceId, site: &str, now: i64) -> Result<(SourceSettings, WarmState, u32)> {
    // The row of the source first: two nodes that begin at a site at the same moment come one after the other.
    let row = tx
        .opt(sql!("SELECT {json settings} AS settings FROM egress_source WHERE id = $1 {for_update}"), args![source])
        .await?
        .ok_or_else(|| not_found("egress source"))?;
    let settings: SourceSettings = read_json(&row, "settings")?;
    let row = tx
        .opt(
            sql!("SELECT step, day, carried, paused_until, pauses FROM warm_up WHERE source_id = $1 AND site = $2"),
            args![source, site],
        )
        .await?;
    let day = day_of(now);
    let (state, carried) = match row {
        Some(row) => read_state(&row)?,
        None => (WarmState { day, ..WarmState::default() }, 0),
    };
    Ok(match &settings.warm_up {
        Some(plan) if state.day < day => {
            let state = plan.forward(state, day, carried);
            (settings, state, 0)
        }
        Some(_) | None => (settings, state, carried),
    })
}

async fn keep(tx: &mut Tx, source: SourceId, site: &str, state: WarmState, carried: u32, now: i64) -> Result<()> {
    tx.execute(
        sql!(
            "INSERT INTO warm_up (source_id, site, step, day, carried, paused_until, pauses, reason, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8) \
             ON CONFLICT (source_id, site) DO UPDATE SET step = excluded.step, day = excluded.day, \
               carried = excluded.carried, paused_until = excluded.paused_until, pauses = excluded.pauses, \
               updated_at = excluded.updated_at"
        ),
        args![
            source,
            site,
            i64::from(state.step),
            state.day,
            i64::from(carried),
            state.paused_until,
            i64::from(state.pauses),
            now
        ],
    )
    .await?;
    Ok(())
}

impl Store {
    /// Takes a piece of what a source in warm-up may send to a site today, for this node: a hundredth of the day, so that
    /// no more than that is lost when the node dies. All nodes share the day. Moves the plan on when a new day has begun.
    ///
    /// # Errors
    /// There is no such source.
    pub async fn take_warm_up(&self, source: SourceId, site: &str) -> Result<WarmGrant> {
        let now = self.now();
        let mut tx = self.begin(Lane::Queue).await?;
        let (settings, state, carried) = today(&mut tx, source, site, now).await?;
        let allowed = settings.warm_up.as_ref().map_or(Allowed::Warm, |plan| plan.allowed(state, now));
        let granted = match allowed {
            Allowed::Day(ceiling) => (ceiling / 100).max(1).min(ceiling.saturating_sub(carried)),
            Allowed::NotBefore(_) | Allowed::Paused(_) | Allowed::Warm => 0,
        };
        keep(&mut tx, source, site, state, carried + granted, now).await?;
        tx.commit().await?;
        Ok(WarmGrant { allowed, step: state.step, day: state.day, before: carried, granted })
    }

    /// Pauses the warm-up of a source at a site because of a block or of complaints; it goes on some steps lower. Until
    /// when it is paused; `None` when the source is in no warm-up.
    ///
    /// # Errors
    /// There is no such source.
    pub async fn pause_warm_up(&self, source: SourceId, site: &str, reason: &str) -> Result<Option<i64>> {
        let now = self.now();
        let mut tx = self.begin(Lane::Queue).await?;
        let (settings, state, carried) = today(&mut tx, source, site, now).await?;
        let Some(plan) = settings.warm_up else { return Ok(None) };
        let paused = plan.pause(state, now);
        keep(&mut tx, source, site, paused, carried, now).await?;
        if paused != state {
            let reason: String = reason.chars().filter(|c| !c.is_control()).take(MOST_REASON).collect();
            tx.execute(
                sql!("UPDATE warm_up SET reason = $3 WHERE source_id = $1 AND site = $2"),
                args![source, site, reason],
            )
            .await?;
        }
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(paused.paused_until)
    }

    /// Ends a pause before its time, by a person's word.
    ///
    /// # Errors
    /// The source stands nowhere at this site, or is not paused there.
    pub async fn resume_warm_up(&self, by: &Actor, source: SourceId, site: &str) -> Result<()> {
        // PostgreSQL cannot compare with it, and no site has it in its name.
        if site.contains('\0') {
            return Err(not_found("paused warm-up"));
        }
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE warm_up SET paused_until = NULL, updated_at = $3 \
                     WHERE source_id = $1 AND site = $2 AND paused_until > $3"
                ),
                args![source, site, self.now()],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("paused warm-up"));
        }
        self.note(&mut tx, None, by, "warm_up.resume", &source.to_string(), json!({ "site": site })).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }

    /// Where a source stands at each site that it has sent to, at most 1,000, as of the last message there.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn warm_ups(&self, source: SourceId) -> Result<Vec<WarmUpRow>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT source_id, site, step, day, carried, paused_until, pauses, reason, updated_at FROM warm_up \
                     WHERE source_id = $1 ORDER BY site LIMIT 1000"
                ),
                args![source],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let (state, carried) = read_state(row)?;
                Ok(WarmUpRow {
                    source: SourceId(row.int("source_id")?),
                    site: row.text("site")?,
                    state,
                    carried,
                    reason: row.text("reason")?,
                    updated_at: row.int("updated_at")?,
                })
            })
            .collect()
    }
}

/// The end of a day, milliseconds UTC.
pub const fn ends_at(day: i64) -> i64 {
    (day + 1) * DAY_MS
}
