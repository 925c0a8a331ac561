//! Freezing an audience: who gets a campaign is decided once, from one read snapshot, in slices that yield.
//!
//! A crash leaves a partial set that nobody can send, because the campaign is not `sending`; the next freezer drops it and
//! makes it again. Must not know how a message is rendered: it stores the variables that it is given.

use std::collections::{HashMap, HashSet};

use postrider_domain::campaign::{Audience, CampaignAction, CampaignState};
use postrider_domain::gate::Withheld;
use postrider_domain::id::{CampaignId, ContactId, DeliveryId, LaneId, PurposeId, RouteId, VersionId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::{ExclusionPolicy, RouteSettings};
use postrider_domain::stream::{Stream, TrackingMode};
use serde_json::json;

use crate::bell::Topic;
use crate::campaign_run::{act, lock};
use crate::counter::{self, Tally};
use crate::db::{Db, Lane, Tx};
use crate::error::{Result, StoreError};
use crate::lane::{UNRESOLVED, lane_at};
use crate::message::hex;
use crate::node::{Node, hold_epoch};
use crate::read::{json, to_json, word};
use crate::site::campaign_place;
use crate::sql::{args, rows_json, sql};
use crate::store::Store;

/// A slice of inserts should take about so many milliseconds on SQLite, where a mark waits for its end.
const SLICE_MS: i64 = 6;
/// The same on PostgreSQL. Longer ones freeze no faster there (the disk is what is waited for) and delay marks more.
const POSTGRES_SLICE_MS: i64 = 10;
/// Rows deleted at once when a partial set is dropped.
const DROP_SLICE: i64 = 500;

pub use crate::audience::Candidate;

/// What is frozen: the campaign's facts as they stood when the freezing began.
#[derive(Debug, Clone, PartialEq)]
pub struct FreezePlan {
    /// Which.
    pub campaign: CampaignId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its stream.
    pub stream: Stream,
    /// Who gets it.
    pub audience: Audience,
    /// The purpose whose consent is asked.
    pub purpose: Option<PurposeId>,
    /// Whose opt-outs from other purposes count too.
    pub exclusion: ExclusionPolicy,
    /// How it is retried.
    pub policy: RetryPolicy,
    /// Its route; none means that the default route is asked for when it is sent.
    pub route: Option<RouteId>,
    /// The site of all its lanes when it goes through a smarthost, as `route:<id>`.
    pub fixed_site: Option<String>,
    /// The latest version of its content.
    pub version: VersionId,
    /// The variables that the version uses; nothing else is stored.
    pub uses: Vec<String>,
}

/// A recipient to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct FrozenRow {
    /// Which contact.
    pub contact: ContactId,
    /// The mailbox as spelt.
    pub mailbox: String,
    /// The mailbox in the form in which it is compared.
    pub mailbox_norm: String,
    /// Its domain.
    pub domain: String,
    /// The variables that the version uses.
    pub vars: serde_json::Map<String, serde_json::Value>,
    /// How opens and clicks are counted.
    pub tracking: TrackingMode,
}

/// A row of `delivery`, with short names because they are repeated in each row's JSON.
#[derive(serde::Serialize)]
struct DeliveryRow<'a> {
    i: i64,
    c: i64,
    b: &'a str,
    bn: &'a str,
    d: &'a str,
    h: String,
    v: String,
    t: &'a str,
}

/// A freezing under way.
pub struct Freezer {
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) plan: FreezePlan,
    pub(crate) ids: Vec<i64>,
    pub(crate) at: usize,
    pub(crate) duplicates: i64,
    lanes: HashMap<(String, i64), LaneId>,
    slice: usize,
    pub(crate) tracking_purpose: Option<PurposeId>,
}

impl Store {
    /// Begins to freeze the audience of a campaign whose time has come: the campaign becomes `freezing`, a partial set of
    /// a dead freezer is dropped, and the ids of the audience are read from one snapshot. `fixed_site` names the lane
    /// of a smarthost route.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its state forbids it or another node is at it, [`StoreError::Refused`] when it has
    /// no version.
    pub async fn begin_freeze(&self, campaign: CampaignId, node: Node, fixed_site: Option<String>) -> Result<Freezer> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        hold_epoch(&mut tx, node).await?;
        let (workspace, state) = lock(&mut tx, None, campaign).await?;
        if state == CampaignState::Freezing {
            refuse_living_freezer(&mut tx, campaign, node).await?;
        } else {
            act(&mut tx, workspace, campaign, state, CampaignAction::Freeze, now).await?;
        }
        let mut plan = plan(&mut tx, campaign, workspace).await?;
        plan.fixed_site = fixed_site;
        tx.execute(
            sql!("UPDATE campaign SET freeze_node = $2, freeze_epoch = $3, purpose_id = $4 WHERE id = $1"),
            args![campaign, node.id, node.epoch, plan.purpose],
        )
        .await?;
        tx.commit().await?;
        let mut freezer = Freezer {
            store: self.clone(),
            node,
            plan,
            ids: Vec::new(),
            at: 0,
            duplicates: 0,
            lanes: HashMap::new(),
            slice: 200,
            tracking_purpose: None,
        };
        freezer.drop_partial_set().await?;
        freezer.read_ids().await?;
        Ok(freezer)
    }
}

/// Another node that lives, or we ourselves, may be freezing this campaign.
async fn refuse_living_freezer(tx: &mut Tx, campaign: CampaignId, me: Node) -> Result<()> {
    let living = tx
        .opt(
            sql!(
                "SELECT n.id FROM campaign c JOIN node n ON n.id = c.freeze_node AND n.epoch = c.freeze_epoch \
                 WHERE c.id = $1 AND n.stopped_at IS NULL"
            ),
            args![campaign],
        )
        .await?;
    match living {
        Some(row) => {
            let who = if row.int("id")? == me.id.get() { "this node" } else { "another node" };
            Err(StoreError::conflict(format!("{who} is freezing this campaign: wait for it")))
        }
        None => Ok(()),
    }
}

async fn plan(tx: &mut Tx, campaign: CampaignId, workspace: WorkspaceId) -> Result<FreezePlan> {
    let row = tx
        .one(
            sql!(
                "SELECT stream, {json audience} AS audience, {json policy} AS policy, route_id FROM campaign WHERE id = $1"
            ),
            args![campaign],
        )
        .await?;
    let audience: Audience = json(&row, "audience")?;
    let route = row.int_opt("route_id")?.map(RouteId);
    let exclusion = exclusion(
        tx.opt(
            sql!(
                "SELECT {json settings} AS settings FROM route WHERE workspace_id = $1 \
                 AND (id = $2 OR (CAST($2 AS BIGINT) IS NULL AND is_default = $3))"
            ),
            args![workspace, route, true],
        )
        .await?,
    )?;
    let version = tx
        .opt(
            sql!("SELECT id, {json uses} AS uses FROM version WHERE campaign_id = $1 ORDER BY id DESC LIMIT 1"),
            args![campaign],
        )
        .await?
        .ok_or_else(|| StoreError::refused("the campaign has no compiled version: check it and start it again"))?;
    Ok(FreezePlan {
        campaign,
        workspace,
        stream: word(&row, "stream", Stream::parse)?,
        purpose: audience.purpose,
        audience,
        policy: json(&row, "policy")?,
        route,
        exclusion,
        fixed_site: None,
        version: VersionId(version.int("id")?),
        uses: json(&version, "uses")?,
    })
}

/// The policy of a route; without one nothing leaves anyway.
pub(crate) fn exclusion(route: Option<crate::sql::Row>) -> Result<ExclusionPolicy> {
    match route {
        None => Ok(ExclusionPolicy::Campaign),
        Some(row) => Ok(json::<RouteSettings>(&row, "settings")?.exclusion),
    }
}

impl Freezer {
    /// What is frozen.
    pub fn plan(&self) -> &FreezePlan {
        &self.plan
    }

    /// Contacts of the audience, each counted once, before any is left out.
    pub fn total(&self) -> usize {
        self.ids.len()
    }

    /// Contacts already given to the caller.
    pub fn done(&self) -> usize {
        self.at
    }

    /// Drops what a freezer before us had stored; nothing of it was ever handed out.
    async fn drop_partial_set(&mut self) -> Result<()> {
        let campaign = self.plan.campaign;
        loop {
            let mut tx = self.store.begin(Lane::Bulk).await?;
            hold_epoch(&mut tx, self.node).await?;
            let rows = tx
                .all(
                    sql!("SELECT id FROM delivery WHERE campaign_id = $1 AND contact_id IS NOT NULL LIMIT $2"),
                    args![campaign, DROP_SLICE],
                )
                .await?;
            let ids: Vec<i64> = rows.iter().map(|row| row.int("id")).collect::<Result<_>>()?;
            if ids.is_empty() {
                tx.execute(sql!("DELETE FROM counter WHERE campaign_id = $1"), args![campaign]).await?;
                tx.execute(sql!("DELETE FROM exclusion WHERE campaign_id = $1"), args![campaign]).await?;
                tx.commit().await?;
                return Ok(());
            }
            tx.execute(sql!("DELETE FROM queue WHERE delivery_id IN {ids $1}"), args![json!(ids)]).await?;
            tx.execute(sql!("DELETE FROM delivery WHERE id IN {ids $1}"), args![json!(ids)]).await?;
            tx.commit().await?;
        }
    }

    /// Stores recipients and exclusions, in short slices that let others write in between.
    ///
    /// A recipient whose contact or mailbox the campaign already has is counted as a duplicate.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign was stopped meanwhile: drop the freezer.
    pub async fn insert(&mut self, rows: &[FrozenRow], exclusions: &[(ContactId, Withheld)]) -> Result<()> {
        let slice_ms = match self.store.inner.db {
            Db::Sqlite { .. } => SLICE_MS,
            Db::Postgres { .. } => POSTGRES_SLICE_MS,
        };
        let (mut rows, mut exclusions) = (rows, exclusions);
        while !rows.is_empty() || !exclusions.is_empty() {
            let (now_rows, later) = rows.split_at(self.slice.min(rows.len()));
            let (now_exclusions, later_exclusions) = exclusions.split_at((self.slice * 2).min(exclusions.len()));
            let begun = std::time::Instant::now();
            self.insert_slice(now_rows, now_exclusions).await?;
            (rows, exclusions) = (later, later_exclusions);
            let took = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            if took > slice_ms {
                self.slice = (self.slice * 3 / 4).max(50);
            } else if took < slice_ms / 2 && now_rows.len() == self.slice {
                self.slice = (self.slice * 5 / 4).min(2_000);
            }
        }
        Ok(())
    }

    async fn insert_slice(&mut self, rows: &[FrozenRow], exclusions: &[(ContactId, Withheld)]) -> Result<()> {
        // All that needs no database is done before the one writer is taken.
        let ids: Vec<i64> = self.store.next_ids(rows.len()).collect();
        let deliveries: Vec<DeliveryRow<'_>> = rows
            .iter()
            .zip(&ids)
            .map(|(row, id)| DeliveryRow {
                i: *id,
                c: row.contact.get(),
                b: &row.mailbox,
                bn: &row.mailbox_norm,
                d: &row.domain,
                h: hex(&self.store.digest(&row.mailbox_norm)),
                v: to_json(&row.vars),
                t: row.tracking.as_str(),
            })
            .collect();
        let deliveries = rows_json(&deliveries);
        let known = self.sites(rows).await?;
        let now = self.store.now();
        let (campaign, workspace) = (self.plan.campaign, self.plan.workspace);
        let mut tx = self.store.begin(Lane::Bulk).await?;
        self.still_ours(&mut tx).await?;
        let mut tally = Tally::default();
        let mut stored = HashSet::new();
        if !rows.is_empty() {
            let inserted = tx
                .execute(
                    sql!(
                        "INSERT INTO delivery (id, workspace_id, campaign_id, contact_id, version_id, mailbox, mailbox_norm, domain, \
                                               digest, stream, vars, tracking, attempts, max_attempts) \
                         SELECT r.i, $2, $3, r.c, $4, r.b, r.bn, r.d, {unhex r.h}, $5, {jsonb r.v}, r.t, 0, $6 \
                         FROM {rows $1 (i bigint, c bigint, b text, bn text, d text, h text, v text, t text)} r WHERE TRUE \
                         ON CONFLICT DO NOTHING"
                    ),
                    args![
                        deliveries,
                        workspace,
                        campaign,
                        self.plan.version,
                        self.plan.stream.as_str(),
                        self.plan.policy.max_attempts
                    ],
                )
                .await?;
            if inserted == rows.len() as u64 {
                stored.extend(ids.iter().copied());
            } else {
                // Some were there already, which is rare: ask which are new.
                let found =
                    tx.all(sql!("SELECT id FROM delivery WHERE id IN {ids $1}"), args![rows_json(&ids)]).await?;
                for row in &found {
                    stored.insert(row.int("id")?);
                }
            }
            let mut queue = Vec::with_capacity(stored.len());
            for (row, id) in rows.iter().zip(&ids).filter(|(_, id)| stored.contains(id)) {
                let site = known.get(row.domain.as_str()).map_or(UNRESOLVED, String::as_str);
                let lane = self.lane(&mut tx, site, DeliveryId(*id)).await?;
                queue.push(json!({"i": id, "l": lane.get()}));
            }
            tx.execute(
                sql!(
                    "INSERT INTO queue (delivery_id, lane_id, workspace_id, ready_at, attempts) \
                     SELECT r.i, r.l, $2, $3, 0 FROM {rows $1 (i bigint, l bigint)} r"
                ),
                args![serde_json::Value::Array(queue), workspace, now],
            )
            .await?;
            tally.add(workspace, Some(campaign), counter::FROZEN, i64::try_from(stored.len()).unwrap_or(0));
        }
        let duplicates = rows.iter().zip(&ids).filter(|(_, id)| !stored.contains(id));
        let duplicates = duplicates.map(|(row, _)| (row.contact, Withheld::Duplicate));
        let mut excluded = Vec::new();
        for (contact, reason) in exclusions.iter().copied().chain(duplicates) {
            excluded.push(json!({"c": contact.get(), "r": reason.as_str()}));
            tally.add(workspace, Some(campaign), &counter::excluded(reason), 1);
        }
        if !excluded.is_empty() {
            tx.execute(
                sql!(
                    "INSERT INTO exclusion (campaign_id, contact_id, workspace_id, reason, at) \
                     SELECT $2, r.c, $3, r.r, $4 FROM {rows $1 (c bigint, r text)} r WHERE TRUE ON CONFLICT DO NOTHING"
                ),
                args![serde_json::Value::Array(excluded), campaign, workspace, now],
            )
            .await?;
        }
        tally.write(&mut tx, self.node.id).await?;
        tx.commit().await
    }

    /// Sites that are known for the domains of a slice.
    async fn sites(&self, rows: &[FrozenRow]) -> Result<HashMap<String, String>> {
        let domains: HashSet<&str> = rows.iter().map(|r| r.domain.as_str()).collect();
        if let Some(site) = &self.plan.fixed_site {
            return Ok(domains.into_iter().map(|d| (d.to_owned(), site.clone())).collect());
        }
        let names: Vec<String> = domains.into_iter().map(str::to_owned).collect();
        let found = self.store.mail_domains(&names).await?;
        Ok(found.into_iter().filter_map(|(name, d)| d.site.map(|site| (name, site))).collect())
    }

    async fn lane(&mut self, tx: &mut Tx, site: &str, delivery: DeliveryId) -> Result<LaneId> {
        let part = self.store.part(delivery);
        let key = (site.to_owned(), part);
        if let Some(lane) = self.lanes.get(&key) {
            return Ok(*lane);
        }
        let place = campaign_place(self.plan.workspace, self.plan.campaign, self.plan.stream, site.to_owned(), part);
        let lane = lane_at(tx, &place, self.store.next_id()).await?;
        self.lanes.insert(key, lane);
        Ok(lane)
    }

    /// The campaign is still being frozen, by us, and stays so until the end of the transaction.
    async fn still_ours(&self, tx: &mut Tx) -> Result<()> {
        hold_epoch(tx, self.node).await?;
        let row = tx
            .opt(
                sql!(
                    "SELECT id FROM campaign WHERE id = $1 AND state = 'freezing' AND freeze_node = $2 AND freeze_epoch = $3 \
                     {for_share}"
                ),
                args![self.plan.campaign, self.node.id, self.node.epoch],
            )
            .await?;
        match row {
            Some(_) => Ok(()),
            None => Err(StoreError::conflict("the campaign was stopped while its audience was being frozen")),
        }
    }

    /// The last slice: the campaign sends from now on. The number of its deliveries.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign was stopped meanwhile.
    pub async fn finish(self) -> Result<i64> {
        let now = self.store.now();
        let (campaign, workspace) = (self.plan.campaign, self.plan.workspace);
        let mut tx = self.store.begin(Lane::Web).await?;
        hold_epoch(&mut tx, self.node).await?;
        let (_, state) = lock(&mut tx, None, campaign).await?;
        self.still_ours(&mut tx).await?;
        act(&mut tx, workspace, campaign, state, CampaignAction::Launch, now).await?;
        tx.execute(sql!("UPDATE campaign SET frozen_at = $2, launched_at = $2 WHERE id = $1"), args![campaign, now])
            .await?;
        let mut tally = Tally::default();
        tally.add(workspace, Some(campaign), &counter::excluded(Withheld::Duplicate), self.duplicates);
        tally.write(&mut tx, self.node.id).await?;
        tx.ring(Topic::Work);
        tx.commit().await?;
        let counts = self.store.campaign_counts(workspace, campaign).await?;
        Ok(counts.get(counter::FROZEN).copied().unwrap_or(0))
    }
}
