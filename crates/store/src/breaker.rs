//! Circuit breakers that are open: kept, so that a restart and the other nodes know that a site is not believed, and
//! what people do about it.
//!
//! When one opens and closes is said by `postrider_domain::bounce::breaker`; the engine asks it and tells.

use postrider_domain::id::{DeliveryId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{json as read_json, not_found};
use crate::sql::{Row, args, sql};

/// That a person believed a site is told to other nodes for so long, in milliseconds.
const BELIEVED_MS: i64 = 86_400_000;
/// Most deliveries of one breaker that are remembered; a window of each node has fifty.
const MOST_SUSPECTS: usize = 1_000;

/// A site whose answers about recipients are not believed. Times are i64 milliseconds UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteBreaker {
    /// The site, over all sources.
    pub site: String,
    /// When it tripped.
    pub since: i64,
    /// Until when nothing is sent there; then single trials go.
    pub until: i64,
    /// "Unknown user" among the last answers.
    pub unknown: i64,
    /// The last answers.
    pub answers: i64,
    /// One of the replies, without mailboxes.
    pub reply: String,
    /// Deliveries of the window whose mailboxes were suppressed before it tripped.
    pub suspects: Vec<DeliveryId>,
    /// When a person said that the answers are right: it is closed, and nodes that have not heard so may learn it.
    pub believed_at: Option<i64>,
}

impl SiteBreaker {
    fn read(row: &Row) -> Result<SiteBreaker> {
        let suspects: Vec<i64> = read_json(row, "suspects")?;
        Ok(SiteBreaker {
            site: row.text("site")?,
            since: row.int("since")?,
            until: row.int("until")?,
            unknown: row.int("unknown")?,
            answers: row.int("answers")?,
            reply: row.text("reply")?,
            suspects: suspects.into_iter().map(DeliveryId).collect(),
            believed_at: row.int_opt("believed_at")?,
        })
    }
}

impl Store {
    /// Every breaker that is open, and those that people closed of late.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn site_breakers(&self) -> Result<Vec<SiteBreaker>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT site, since, until, unknown, answers, reply, {json suspects} AS suspects, believed_at \
                     FROM site_breaker ORDER BY site"
                ),
                args![],
            )
            .await?
            .iter()
            .map(SiteBreaker::read)
            .collect()
    }

    /// A breaker has tripped, or a trial has failed: the later end counts, and suspects of several nodes add up.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn open_breaker(&self, breaker: &SiteBreaker) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let known = self.breaker_for_update(&mut tx, &breaker.site).await?;
        let mut suspects: Vec<i64> = known
            .as_ref()
            .filter(|known| known.believed_at.is_none())
            .map(|known| known.suspects.iter().map(|d| d.get()).collect())
            .unwrap_or_default();
        for suspect in &breaker.suspects {
            if !suspects.contains(&suspect.get()) && suspects.len() < MOST_SUSPECTS {
                suspects.push(suspect.get());
            }
        }
        tx.execute(
            sql!(
                "INSERT INTO site_breaker (site, since, until, unknown, answers, reply, suspects) \
                 VALUES ($1, $2, $3, $4, $5, $6, {jsonb $7}) \
                 ON CONFLICT (site) DO UPDATE SET \
                   since = CASE WHEN site_breaker.believed_at IS NULL THEN site_breaker.since ELSE excluded.since END, \
                   until = CASE WHEN site_breaker.believed_at IS NULL AND site_breaker.until > excluded.until \
                     THEN site_breaker.until ELSE excluded.until END, \
                   unknown = excluded.unknown, answers = excluded.answers, reply = excluded.reply, \
                   suspects = excluded.suspects, believed_at = NULL"
            ),
            args![
                breaker.site.as_str(),
                breaker.since,
                breaker.until,
                breaker.unknown,
                breaker.answers,
                breaker.reply.replace('\0', "\u{fffd}"),
                json!(suspects)
            ],
        )
        .await?;
        tx.commit().await
    }

    /// The trials were good: the site is believed again.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn close_breaker(&self, site: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("DELETE FROM site_breaker WHERE site = $1 AND believed_at IS NULL"), args![site]).await?;
        tx.execute(sql!("DELETE FROM site_breaker WHERE believed_at < $1"), args![self.now() - BELIEVED_MS]).await?;
        tx.commit().await
    }

    /// A person says that the answers of a site are right: it is believed, and goes on at once.
    ///
    /// # Errors
    /// The site has no open breaker.
    pub async fn believe_site(&self, workspace: WorkspaceId, by: &Actor, site: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!("UPDATE site_breaker SET believed_at = $2 WHERE site = $1 AND believed_at IS NULL"),
                args![site, self.now()],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("site that is not believed"));
        }
        self.note(&mut tx, Some(workspace), by, "breaker.believe", site, json!({})).await?;
        tx.commit().await
    }

    /// Takes back what a site's answers suppressed in this workspace shortly before its breaker tripped; how many
    /// mailboxes. Their deliveries keep their outcome.
    ///
    /// # Errors
    /// The site has no open breaker.
    pub async fn take_back_suppressions(&self, workspace: WorkspaceId, by: &Actor, site: &str) -> Result<u64> {
        let mut tx = self.begin(Lane::Web).await?;
        let breaker = self.breaker_for_update(&mut tx, site).await?.filter(|breaker| breaker.believed_at.is_none());
        let breaker = breaker.ok_or_else(|| not_found("site that is not believed"))?;
        let ids: Vec<i64> = breaker.suspects.iter().map(|d| d.get()).collect();
        // Only what our own session wrote: an opt-out or a complaint that came since stays.
        let gone = tx
            .execute(
                sql!(
                    "DELETE FROM suppression WHERE id IN {ids $2} AND workspace_id = $1 AND source = 'session' \
                     AND reason IN ('no_such_mailbox', 'disabled')"
                ),
                args![workspace, json!(ids)],
            )
            .await?;
        self.note(&mut tx, Some(workspace), by, "breaker.take_back", site, json!({ "suppressions": gone })).await?;
        tx.commit().await?;
        Ok(gone)
    }

    async fn breaker_for_update(&self, tx: &mut Tx, site: &str) -> Result<Option<SiteBreaker>> {
        tx.opt(
            sql!(
                "SELECT site, since, until, unknown, answers, reply, {json suspects} AS suspects, believed_at \
                 FROM site_breaker WHERE site = $1 {for_update}"
            ),
            args![site],
        )
        .await?
        .as_ref()
        .map(SiteBreaker::read)
        .transpose()
    }
}
