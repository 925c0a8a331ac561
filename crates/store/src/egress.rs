//! Egress sources and pools: things of the installation. Routes of workspaces name pools that are open to them.
//!
//! Must not know how a source is chosen or an address bound: the engine does that.

use std::collections::HashMap;

use postrider_domain::egress::{PoolSettings, SourceSettings, SourceState};
use postrider_domain::id::{CampaignId, NodeId, PoolId, SourceId, WorkspaceId};
use postrider_domain::route::RouteSettings;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::node::Node;
use crate::read::{conflict, json as read_json, not_found, refused, to_json};
use crate::sql::{Row, args, sql};
use crate::steering::{Removed, no_rule_meanwhile, refuse_named};

/// Most sources, and most pools, of an installation.
const MOST: usize = 500;
/// Largest weight of a workspace.
const MOST_WEIGHT: u32 = 1_000;

/// An egress source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressSource {
    /// Its id.
    pub id: SourceId,
    /// Its settings.
    pub settings: SourceSettings,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was changed last, i64 milliseconds UTC.
    pub updated_at: i64,
}

/// A pool of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPool {
    /// Its id.
    pub id: PoolId,
    /// Its settings.
    pub settings: PoolSettings,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was changed last, i64 milliseconds UTC.
    pub updated_at: i64,
}

/// What a node found wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressTrouble {
    /// The node.
    pub node: NodeId,
    /// The source.
    pub source: SourceId,
    /// What, in words.
    pub problem: String,
    /// Since when, i64 milliseconds UTC.
    pub since: i64,
}

impl EgressSource {
    fn read(row: &Row) -> Result<EgressSource> {
        Ok(EgressSource {
            id: SourceId(row.int("id")?),
            settings: read_json(row, "settings")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

impl EgressPool {
    fn read(row: &Row) -> Result<EgressPool> {
        Ok(EgressPool {
            id: PoolId(row.int("id")?),
            settings: read_json(row, "settings")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

/// Changes of egress come one after the other: what one looks at must not be changed by another in between.
async fn take_turns(tx: &mut Tx) -> Result<()> {
    tx.one(sql!("SELECT id FROM installation WHERE id = 1 {for_update}"), args![]).await?;
    Ok(())
}

async fn sources(tx: &mut Tx) -> Result<Vec<EgressSource>> {
    let sql = sql!("SELECT id, {json settings} AS settings, created_at, updated_at FROM egress_source ORDER BY id");
    tx.all(sql, args![]).await?.iter().map(EgressSource::read).collect()
}

async fn pools(tx: &mut Tx) -> Result<Vec<EgressPool>> {
    let sql = sql!("SELECT id, {json settings} AS settings, created_at, updated_at FROM egress_pool ORDER BY id");
    tx.all(sql, args![]).await?.iter().map(EgressPool::read).collect()
}

/// The routes that name pools, with their workspaces.
async fn routes(tx: &mut Tx) -> Result<Vec<(WorkspaceId, RouteSettings)>> {
    let rows = tx.all(sql!("SELECT workspace_id, {json settings} AS settings FROM route"), args![]).await?;
    rows.iter().map(|row| Ok((WorkspaceId(row.int("workspace_id")?), read_json(row, "settings")?))).collect()
}

fn check_source(settings: &SourceSettings, id: SourceId, present: &[EgressSource]) -> Result<()> {
    let cannot = |why: String| refused(format!("save the source: {why}"));
    settings.check().map_err(|error| cannot(error.to_string()))?;
    let others = present.iter().filter(|other| other.id != id);
    for other in others {
        if other.settings.name.eq_ignore_ascii_case(&settings.name) {
            return Err(cannot(format!("another source has the name {:?}", settings.name)));
        }
        // Two nodes may have the same private address; two sources of one node with one address would count its
        // limits twice.
        let apart = matches!((other.settings.node, settings.node), (Some(a), Some(b)) if a != b);
        let same = settings.addresses().find(|ip| other.settings.addresses().any(|theirs| theirs == *ip));
        if let Some(ip) = same.filter(|_| !apart) {
            return Err(cannot(format!(
                "the source {:?} has the address {ip} already: limits count by address",
                other.settings.name
            )));
        }
    }
    Ok(())
}

async fn check_pool(tx: &mut Tx, settings: &PoolSettings, id: PoolId) -> Result<()> {
    let cannot = |why: String| refused(format!("save the pool: {why}"));
    settings.check().map_err(|error| cannot(error.to_string()))?;
    let known = sources(tx).await?;
    if let Some(missing) = settings.members.iter().find(|m| known.iter().all(|s| s.id != m.source)) {
        return Err(cannot(format!("there is no source {}", missing.source)));
    }
    if pools(tx).await?.iter().any(|p| p.id != id && p.settings.name.eq_ignore_ascii_case(&settings.name)) {
        return Err(cannot(format!("another pool has the name {:?}", settings.name)));
    }
    Ok(())
}

impl Store {
    /// All egress sources.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn egress_sources(&self) -> Result<Vec<EgressSource>> {
        let sql = sql!("SELECT id, {json settings} AS settings, created_at, updated_at FROM egress_source ORDER BY id");
        self.read().await?.all(sql, args![]).await?.iter().map(EgressSource::read).collect()
    }

    /// A source by id.
    ///
    /// # Errors
    /// There is none.
    pub async fn egress_source(&self, id: SourceId) -> Result<EgressSource> {
        let sql =
            sql!("SELECT id, {json settings} AS settings, created_at, updated_at FROM egress_source WHERE id = $1");
        let row = self.read().await?.opt(sql, args![id]).await?;
        EgressSource::read(&row.ok_or_else(|| not_found("egress source"))?)
    }

    /// Adds a source. It takes nothing before a pool names it.
    ///
    /// # Errors
    /// The settings are refused, or another source has its name or an address of it.
    pub async fn add_egress_source(&self, by: &Actor, settings: &SourceSettings) -> Result<EgressSource> {
        let (id, now) = (SourceId(self.next_id()), self.now());
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx).await?;
        let present = sources(&mut tx).await?;
        if present.len() >= MOST {
            return Err(refused("save the source: there are 500 already; remove one that is not used"));
        }
        check_source(settings, id, &present)?;
        tx.execute(
            sql!("INSERT INTO egress_source (id, settings, created_at, updated_at) VALUES ($1, {jsonb $2}, $3, $3)"),
            args![id, to_json(settings), now],
        )
        .await?;
        self.note(&mut tx, None, by, "egress_source.add", &id.to_string(), json!({ "name": settings.name })).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(EgressSource { id, settings: settings.clone(), created_at: now, updated_at: now })
    }

    /// Changes a source; the engine hears of it at once. A source that is switched off gives its share to the others.
    ///
    /// # Errors
    /// There is none, the settings are refused, or another source has its name or an address of it.
    pub async fn change_egress_source(
        &self,
        by: &Actor,
        id: SourceId,
        settings: &SourceSettings,
    ) -> Result<EgressSource> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx).await?;
        let present = sources(&mut tx).await?;
        let before = present.iter().find(|s| s.id == id).ok_or_else(|| not_found("egress source"))?;
        check_source(settings, id, &present)?;
        tx.execute(
            sql!("UPDATE egress_source SET settings = {jsonb $2}, updated_at = $3 WHERE id = $1"),
            args![id, to_json(settings), now],
        )
        .await?;
        let begun = |s: &SourceSettings| s.warm_up.as_ref().map(|w| w.since);
        if begun(&before.settings) != begun(settings) {
            // A warm-up that is begun anew, or ended, begins at its first day.
            tx.execute(sql!("DELETE FROM warm_up WHERE source_id = $1"), args![id]).await?;
        }
        let facts = json!({ "name": settings.name, "state": settings.state.as_str() });
        self.note(&mut tx, None, by, "egress_source.change", &id.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        let created_at = before.created_at;
        tx.commit().await?;
        Ok(EgressSource { id, settings: settings.clone(), created_at, updated_at: now })
    }

    /// Removes a source that takes no mail and that neither a pool nor a rule of the queue names.
    ///
    /// # Errors
    /// There is none, it is active, or something names it.
    pub async fn remove_egress_source(&self, by: &Actor, id: SourceId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        no_rule_meanwhile(&mut tx).await?;
        take_turns(&mut tx).await?;
        let source = sources(&mut tx).await?.into_iter().find(|s| s.id == id);
        let source = source.ok_or_else(|| not_found("egress source"))?;
        if let Some(pool) = pools(&mut tx).await?.iter().find(|p| p.settings.members.iter().any(|m| m.source == id)) {
            return Err(conflict(format!(
                "remove the source: the pool \u{201c}{}\u{201d} has it; set it to `draining`, and take it out of the pool \
                 when nothing of it is in the air",
                pool.settings.name
            )));
        }
        match source.settings.state {
            SourceState::Active => {
                return Err(conflict("remove the source: it is active; set it to `draining` or `off` first"));
            }
            SourceState::Draining | SourceState::Off => {}
        }
        refuse_named(&mut tx, Removed::Source(id)).await?;
        tx.execute(sql!("DELETE FROM warm_up WHERE source_id = $1"), args![id]).await?;
        tx.execute(sql!("DELETE FROM egress_trouble WHERE source_id = $1"), args![id]).await?;
        tx.execute(sql!("DELETE FROM egress_source WHERE id = $1"), args![id]).await?;
        let facts = json!({ "name": source.settings.name });
        self.note(&mut tx, None, by, "egress_source.remove", &id.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }

    /// All pools.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn egress_pools(&self) -> Result<Vec<EgressPool>> {
        let sql = sql!("SELECT id, {json settings} AS settings, created_at, updated_at FROM egress_pool ORDER BY id");
        self.read().await?.all(sql, args![]).await?.iter().map(EgressPool::read).collect()
    }

    /// A pool by id.
    ///
    /// # Errors
    /// There is none.
    pub async fn egress_pool(&self, id: PoolId) -> Result<EgressPool> {
        let sql = sql!("SELECT id, {json settings} AS settings, created_at, updated_at FROM egress_pool WHERE id = $1");
        let row = self.read().await?.opt(sql, args![id]).await?;
        EgressPool::read(&row.ok_or_else(|| not_found("egress pool"))?)
    }

    /// Adds a pool. Nothing leaves by it before a route names it.
    ///
    /// # Errors
    /// The settings are refused.
    pub async fn add_egress_pool(&self, by: &Actor, settings: &PoolSettings) -> Result<EgressPool> {
        let (id, now) = (PoolId(self.next_id()), self.now());
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx).await?;
        if pools(&mut tx).await?.len() >= MOST {
            return Err(refused("save the pool: there are 500 already; remove one that is not used"));
        }
        check_pool(&mut tx, settings, id).await?;
        tx.execute(
            sql!("INSERT INTO egress_pool (id, settings, created_at, updated_at) VALUES ($1, {jsonb $2}, $3, $3)"),
            args![id, to_json(settings), now],
        )
        .await?;
        self.note(&mut tx, None, by, "egress_pool.add", &id.to_string(), json!({ "name": settings.name })).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(EgressPool { id, settings: settings.clone(), created_at: now, updated_at: now })
    }

    /// Changes a pool; the engine hears of it at once.
    ///
    /// # Errors
    /// There is none, the settings are refused, or a route of a workspace that may not use it any more names it.
    pub async fn change_egress_pool(&self, by: &Actor, id: PoolId, settings: &PoolSettings) -> Result<EgressPool> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        take_turns(&mut tx).await?;
        let before = pools(&mut tx).await?.into_iter().find(|p| p.id == id).ok_or_else(|| not_found("egress pool"))?;
        check_pool(&mut tx, settings, id).await?;
        let shut_out = routes(&mut tx).await?.into_iter().find(|(workspace, route)| {
            !settings.is_open_to(*workspace) && route.egress.named().any(|named| named == id)
        });
        if let Some((workspace, route)) = shut_out {
            return Err(conflict(format!(
                "save the pool: the route \u{201c}{}\u{201d} of the workspace {workspace} leaves by it; choose another pool \
                 there first",
                route.name
            )));
        }
        tx.execute(
            sql!("UPDATE egress_pool SET settings = {jsonb $2}, updated_at = $3 WHERE id = $1"),
            args![id, to_json(settings), now],
        )
        .await?;
        self.note(&mut tx, None, by, "egress_pool.change", &id.to_string(), json!({ "name": settings.name })).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await?;
        Ok(EgressPool { id, settings: settings.clone(), created_at: before.created_at, updated_at: now })
    }

    /// Removes a pool that neither a route nor a rule of the queue names.
    ///
    /// # Errors
    /// There is none, or something names it.
    pub async fn remove_egress_pool(&self, by: &Actor, id: PoolId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        no_rule_meanwhile(&mut tx).await?;
        take_turns(&mut tx).await?;
        let pool = pools(&mut tx).await?.into_iter().find(|p| p.id == id).ok_or_else(|| not_found("egress pool"))?;
        let used = routes(&mut tx).await?.into_iter().find(|(_, route)| route.egress.named().any(|named| named == id));
        if let Some((workspace, route)) = used {
            return Err(conflict(format!(
                "remove the pool: the route \u{201c}{}\u{201d} of the workspace {workspace} leaves by it; choose another pool \
                 there first",
                route.name
            )));
        }
        refuse_named(&mut tx, Removed::Pool(id)).await?;
        tx.execute(sql!("DELETE FROM egress_pool WHERE id = $1"), args![id]).await?;
        let facts = json!({ "name": pool.settings.name });
        self.note(&mut tx, None, by, "egress_pool.remove", &id.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }

    /// Tells what a node finds wrong with sources; what it does not name is well there. Problems that stay keep their
    /// beginning.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn tell_egress_trouble(&self, node: Node, problems: &[(SourceId, String)]) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let named: Vec<i64> = problems.iter().map(|(source, _)| source.get()).collect();
        tx.execute(
            sql!("DELETE FROM egress_trouble WHERE node = $1 AND source_id NOT IN {ids $2}"),
            args![node.id, json!(named)],
        )
        .await?;
        for (source, problem) in problems {
            tx.execute(
                sql!(
                    "INSERT INTO egress_trouble (node, source_id, problem, since) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (node, source_id) DO UPDATE SET problem = excluded.problem"
                ),
                args![node.id, *source, problem.as_str(), self.now()],
            )
            .await?;
        }
        tx.commit().await
    }

    /// What nodes that run find wrong with sources.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn egress_trouble(&self) -> Result<Vec<EgressTrouble>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT t.node, t.source_id, t.problem, t.since FROM egress_trouble t JOIN node n ON n.id = t.node \
                     WHERE n.stopped_at IS NULL ORDER BY t.source_id, t.node"
                ),
                args![],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(EgressTrouble {
                    node: NodeId(row.int("node")?),
                    source: SourceId(row.int("source_id")?),
                    problem: row.text("problem")?,
                    since: row.int("since")?,
                })
            })
            .collect()
    }

    /// The weights of workspaces where they draw on the same limits; those of weight 1 are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn workspace_weights(&self) -> Result<HashMap<WorkspaceId, u32>> {
        let rows = self.read().await?.all(sql!("SELECT id, weight FROM workspace WHERE weight <> 1"), args![]).await?;
        let weight = |row: &Row| Ok((WorkspaceId(row.int("id")?), u32::try_from(row.int("weight")?).unwrap_or(1)));
        rows.iter().map(weight).collect()
    }

    /// The weights of campaigns that are under way; those of weight 1 are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn campaign_weights(&self) -> Result<HashMap<CampaignId, u32>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, weight FROM campaign WHERE weight <> 1 AND state IN ('freezing', 'sending', 'paused')"
                ),
                args![],
            )
            .await?;
        let weight = |row: &Row| Ok((CampaignId(row.int("id")?), u32::try_from(row.int("weight")?).unwrap_or(1)));
        rows.iter().map(weight).collect()
    }

    /// Sets the weight of a campaign against the others of its workspace, 1 to 1000; also while it is under way.
    ///
    /// # Errors
    /// The weight is out of range, or the workspace has no such campaign.
    pub async fn set_campaign_weight(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        campaign: CampaignId,
        weight: u32,
    ) -> Result<()> {
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(refused(format!("set the weight of the campaign: it should be 1 to {MOST_WEIGHT}")));
        }
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!("UPDATE campaign SET weight = $3 WHERE workspace_id = $1 AND id = $2"),
                args![workspace, campaign, i64::from(weight)],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("campaign"));
        }
        let facts = json!({ "weight": weight });
        self.note(&mut tx, Some(workspace), by, "campaign.weight", &campaign.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }

    /// Sets the weight of a workspace, 1 to 1000.
    ///
    /// # Errors
    /// The weight is out of range, or there is no such workspace.
    pub async fn set_workspace_weight(&self, by: &Actor, workspace: WorkspaceId, weight: u32) -> Result<()> {
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(refused(format!("set the weight of the workspace: it should be 1 to {MOST_WEIGHT}")));
        }
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(sql!("UPDATE workspace SET weight = $2 WHERE id = $1"), args![workspace, i64::from(weight)])
            .await?;
        if changed == 0 {
            return Err(not_found("workspace"));
        }
        let facts = json!({ "weight": weight });
        self.note(&mut tx, Some(workspace), by, "workspace.weight", &workspace.to_string(), facts).await?;
        tx.ring(Topic::Campaign);
        tx.commit().await
    }
}

/// Refuses pools that do not exist or are not open to the workspace; inside the transaction that saves the route, so that
/// no pool goes away in between.
pub(crate) async fn check_route(tx: &mut Tx, workspace: WorkspaceId, settings: &RouteSettings) -> Result<()> {
    if settings.egress.is_empty() {
        return Ok(());
    }
    take_turns(tx).await?;
    let known = pools(tx).await?;
    for named in settings.egress.named() {
        // A pool of others and no pool look the same.
        if !known.iter().any(|pool| pool.id == named && pool.settings.is_open_to(workspace)) {
            return Err(refused(format!("save the route: there is no pool {named} that the workspace may use")));
        }
    }
    Ok(())
}
