//! Traffic shaping: what workspaces set for sites, stops that a restart must not forget, and what each node sees.
//!
//! Must not know how limits are kept: the engine does that.

use std::collections::HashMap;

use postrider_domain::id::{CampaignId, DeliveryId, WorkspaceId};
use postrider_domain::shaping::{Hold, HoldReason, Profiles, SiteSettings, SiteView};
use postrider_domain::stream::Stream;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::Lane;
use crate::error::Result;
use crate::lane::UNRESOLVED;
use crate::node::Node;
use crate::read::{json as read_json, not_found, refused, to_json, word};
use crate::sql::{Row, args, sql};
use crate::steering::RulesSeen;

/// Most sites for which a workspace sets limits.
const MOST: i64 = 1_000;
/// What a node told longer ago than this, in milliseconds, is not shown: it is gone, or has nothing to do.
const FRESH_MS: i64 = 15_000;

/// The limits that a workspace has set for a site.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteOverride {
    /// The site.
    pub site: String,
    /// What is set.
    pub settings: SiteSettings,
    /// When it was set last, i64 milliseconds UTC.
    pub updated_at: i64,
}

impl SiteOverride {
    fn read(row: &Row) -> Result<SiteOverride> {
        Ok(SiteOverride {
            site: row.text("site")?,
            settings: read_json(row, "settings")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

/// A stop by a rule for a reply, of this node's addresses. Times are i64 milliseconds UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteStop {
    /// The egress source, in words.
    pub source: String,
    /// The site.
    pub site: String,
    /// When it began.
    pub since: i64,
    /// When it ends.
    pub until: i64,
    /// The rule.
    pub rule: String,
    /// The reply, without mailboxes.
    pub reply: String,
    /// Whether connections come back one by one after it.
    pub recovers: bool,
}

/// What a node sees of its sites.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSites {
    /// The node's number.
    pub node: i64,
    /// When it told, i64 milliseconds UTC.
    pub at: i64,
    /// Its sites, the busiest ones first.
    pub sites: Vec<SiteView>,
}

impl Store {
    /// The limits that a workspace has set, by site.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn site_settings(&self, workspace: WorkspaceId) -> Result<Vec<SiteOverride>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT site, {json settings} AS settings, updated_at FROM site_settings \
                     WHERE workspace_id = $1 ORDER BY site LIMIT $2"
                ),
                args![workspace, MOST],
            )
            .await?
            .iter()
            .map(SiteOverride::read)
            .collect()
    }

    /// The limits that all workspaces have set; for the engine.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn all_site_settings(&self) -> Result<HashMap<(WorkspaceId, String), SiteSettings>> {
        let rows = self
            .read()
            .await?
            .all(sql!("SELECT workspace_id, site, {json settings} AS settings FROM site_settings"), args![])
            .await?;
        rows.iter()
            .map(|row| Ok(((WorkspaceId(row.int("workspace_id")?), row.text("site")?), read_json(row, "settings")?)))
            .collect()
    }

    /// Sets the limits of a workspace for a site; what was set before is replaced. The engine hears of it at once.
    ///
    /// # Errors
    /// The settings make no sense, or 1,000 sites have some already.
    pub async fn put_site_settings(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        site: &str,
        settings: &SiteSettings,
    ) -> Result<SiteOverride> {
        let cannot = |error: &dyn std::fmt::Display| refused(format!("save the limits of the site: {error}"));
        settings.check(Profiles::shipped(), site).map_err(|error| cannot(&error))?;
        let mut tx = self.begin(Lane::Web).await?;
        crate::saved_view::take_turns(&mut tx, workspace).await?;
        let others = tx
            .one(
                sql!("SELECT count(*) AS n FROM site_settings WHERE workspace_id = $1 AND site <> $2"),
                args![workspace, site],
            )
            .await?
            .int("n")?;
        if others >= MOST {
            return Err(cannot(&"1,000 sites have limits already; delete those of another one first"));
        }
        let now = self.now();
        tx.execute(
            sql!(
                "INSERT INTO site_settings (workspace_id, site, settings, updated_at) VALUES ($1, $2, {jsonb $3}, $4) \
                 ON CONFLICT (workspace_id, site) DO UPDATE SET settings = excluded.settings, updated_at = excluded.updated_at"
            ),
            args![workspace, site, to_json(settings), now],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "site_limits.set", site, json!(settings)).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(SiteOverride { site: site.to_owned(), settings: settings.clone(), updated_at: now })
    }

    /// Forgets the limits of a workspace for a site: those of its profile count again.
    ///
    /// # Errors
    /// The workspace has set none there.
    pub async fn delete_site_settings(&self, workspace: WorkspaceId, by: &Actor, site: &str) -> Result<()> {
        // PostgreSQL cannot compare with it, and no site has it in its name.
        if site.contains('\0') {
            return Err(not_found("limits of the site"));
        }
        let mut tx = self.begin(Lane::Web).await?;
        let gone = tx
            .execute(sql!("DELETE FROM site_settings WHERE workspace_id = $1 AND site = $2"), args![workspace, site])
            .await?;
        if gone == 0 {
            return Err(not_found("limits of the site"));
        }
        self.note(&mut tx, Some(workspace), by, "site_limits.delete", site, json!({})).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }

    /// Keeps a stop of this node, so that a restart does not forget it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_site_stop(&self, stop: &SiteStop) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO site_stop (node, source, site, since, until, rule, reply, recovers) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                 ON CONFLICT (node, source, site) DO UPDATE SET since = excluded.since, until = excluded.until, \
                   rule = excluded.rule, reply = excluded.reply, recovers = excluded.recovers"
            ),
            args![
                self.node(),
                stop.source.as_str(),
                stop.site.as_str(),
                stop.since,
                stop.until,
                stop.rule.as_str(),
                stop.reply.as_str(),
                stop.recovers
            ],
        )
        .await?;
        tx.execute(sql!("DELETE FROM site_stop WHERE node = $1 AND until < $2"), args![self.node(), self.now()])
            .await?;
        tx.commit().await
    }

    /// The stops of this node that have not ended.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn site_stops(&self) -> Result<Vec<SiteStop>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT source, site, since, until, rule, reply, recovers FROM site_stop \
                     WHERE node = $1 AND until > $2 ORDER BY source, site"
                ),
                args![self.node(), self.now()],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(SiteStop {
                    source: row.text("source")?,
                    site: row.text("site")?,
                    since: row.int("since")?,
                    until: row.int("until")?,
                    rule: row.text("rule")?,
                    reply: row.text("reply")?,
                    recovers: row.bool("recovers")?,
                })
            })
            .collect()
    }

    /// Tells what a node sees of its sites.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn tell_sites(&self, node: Node, sites: &[SiteView]) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO site_view (node, at, sites) VALUES ($1, $2, {jsonb $3}) \
                 ON CONFLICT (node) DO UPDATE SET at = excluded.at, sites = excluded.sites"
            ),
            args![node.id, self.now(), json!(sites)],
        )
        .await?;
        tx.commit().await
    }

    /// What the nodes told of their sites in the last seconds.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn told_sites(&self) -> Result<Vec<NodeSites>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!("SELECT node, at, {json sites} AS sites FROM site_view WHERE at > $1 ORDER BY node"),
                args![self.now() - FRESH_MS],
            )
            .await?;
        rows.iter()
            .map(|row| Ok(NodeSites { node: row.int("node")?, at: row.int("at")?, sites: read_json(row, "sites")? }))
            .collect()
    }

    /// What holds back deliveries of a workspace that are not settled; those that are, or are others', are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn holds(&self, workspace: WorkspaceId, deliveries: &[DeliveryId]) -> Result<HashMap<DeliveryId, Hold>> {
        if deliveries.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<i64> = deliveries.iter().map(|d| d.get()).collect();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT q.delivery_id, q.ready_at, q.attempts, q.held_reason, q.held_at, q.held_by, q.doubt_epoch, q.doubt_at, \
                            d.last_at, d.campaign_id, d.stream, d.domain, d.message_id, l.site, l.route_id, c.state, w.suspended_at, \
                            c.route_id AS own_route, lower(coalesce(t.draft ->> 'from_mailbox', m.from_mailbox)) AS from_mailbox \
                     FROM queue q JOIN delivery d ON d.id = q.delivery_id JOIN lane l ON l.id = q.lane_id \
                     JOIN workspace w ON w.id = d.workspace_id LEFT JOIN campaign c ON c.id = d.campaign_id \
                     LEFT JOIN version v ON v.id = d.version_id LEFT JOIN variant t ON t.id = v.variant_id \
                     LEFT JOIN message m ON m.id = d.message_id \
                     WHERE d.workspace_id = $1 AND q.delivery_id IN {ids $2}"
                ),
                args![workspace, json!(ids)],
            )
            .await?;
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let told = self.told_sites().await?;
        let rules = RulesSeen::read(self, workspace).await?;
        let now = self.now();
        rows.iter()
            .map(|row| Ok((DeliveryId(row.int("delivery_id")?), hold_of(row, workspace, &told, &rules, now)?)))
            .collect()
    }
}

/// What holds back one row of the queue.
fn hold_of(row: &Row, workspace: WorkspaceId, told: &[NodeSites], rules: &RulesSeen, now: i64) -> Result<Hold> {
    let ready_at = row.int("ready_at")?;
    if row.int_opt("doubt_epoch")?.is_some() {
        return Ok(Hold { since: row.int_opt("doubt_at")?, ..Hold::of(HoldReason::InDoubt) });
    }
    if let Some(why) = row.text_opt("held_reason")? {
        if let Some(rule) = rules.by_id(row.int_opt("held_by")?) {
            return Ok(rule.hold());
        }
        return Ok(Hold { since: row.int_opt("held_at")?, detail: why, ..Hold::of(HoldReason::Held) });
    }
    if let Some(since) = row.int_opt("suspended_at")? {
        return Ok(Hold { since: Some(since), ..Hold::of(HoldReason::Suspended) });
    }
    if row.text_opt("state")?.as_deref() == Some("paused") {
        return Ok(Hold { since: None, ..Hold::of(HoldReason::Paused) });
    }
    if let Some(hold) = rules.hold(row, workspace, now)? {
        return Ok(hold);
    }
    if ready_at > now {
        let tried = row.int("attempts")? > 0;
        let since = if tried { row.int_opt("last_at")? } else { None };
        return Ok(Hold { since, until: Some(ready_at), ..Hold::of(HoldReason::Retry) });
    }
    let campaign = row.int_opt("campaign_id")?.map(CampaignId);
    let stream = word(row, "stream", Stream::parse)?;
    let site = row.text("site")?;
    let mine = |f: &&postrider_domain::shaping::FlowView| {
        f.workspace == workspace && f.campaign == campaign && f.stream == stream && f.lane_site == site
    };
    let flow = told.iter().flat_map(|node| &node.sites).flat_map(|s| &s.flows).find(mine);
    Ok(match flow.and_then(|f| f.hold.clone()) {
        Some(hold) => Hold { since: hold.since.map(|since| since.max(ready_at)).or(Some(ready_at)), ..hold },
        None if flow.is_none() && site == UNRESOLVED => Hold { since: Some(ready_at), ..Hold::of(HoldReason::Dns) },
        None => Hold { since: Some(ready_at), ..Hold::of(HoldReason::Connection) },
    })
}
