//! Freezing an audience: who gets a campaign is decided once, from one read snapshot, in slices that yield.
//!
//! A crash leaves a partial set that nobody can send, because the campaign is not `sending`; the next freezer drops it and
//! makes it again. Must not know how a message is rendered: it stores the variables that it is given.

use std::collections::{HashMap, HashSet};

use postrider_domain::campaign::{Audience, CampaignAction, CampaignState};
use postrider_domain::consent::ConsentState;
use postrider_domain::contact::{AddressState, Attributes};
use postrider_domain::gate::{Facts, Presence, Withheld};
use postrider_domain::id::{
    CampaignId, ContactId, DeliveryId, LaneId, ListId, PurposeId, RouteId, VersionId, WorkspaceId,
};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::{Stream, TrackingMode};
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use serde_json::json;

use crate::bell::Topic;
use crate::campaign_run::{act, lock};
use crate::counter::{self, Tally};
use crate::db::{Lane, Reader, Tx};
use crate::error::{Result, StoreError};
use crate::lane::{UNRESOLVED, lane_at};
use crate::message::hex;
use crate::node::{Node, hold_epoch};
use crate::read::{json, to_json, word};
use crate::site::campaign_place;
use crate::sql::{args, rows_json, sql};
use crate::store::Store;

/// Ids read from a list at once.
const ID_PAGE: i64 = 10_000;
/// A slice of inserts should take about so many milliseconds, so that a mark never waits longer.
const SLICE_MS: i64 = 15;
/// Rows deleted at once when a partial set is dropped.
const DROP_SLICE: i64 = 500;

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

/// A contact of the audience, with all that decides whether it gets the campaign.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which.
    pub contact: ContactId,
    /// The mailbox as spelt.
    pub mailbox: String,
    /// The mailbox in the form in which it is compared.
    pub mailbox_norm: String,
    /// Its domain.
    pub domain: String,
    /// The attributes that the version uses.
    pub attributes: Attributes,
    /// The contact's time zone.
    pub zone: Option<String>,
    /// The contact's language.
    pub language: Option<String>,
    /// For [`postrider_domain::gate::may_send`].
    pub facts: Facts,
    /// The contact's consent for individual tracking, if its workspace has such a purpose.
    pub tracking_consent: Option<ConsentState>,
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

/// A contact as it comes; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Packed {
    id: i64,
    mailbox: String,
    mailbox_norm: String,
    domain: String,
    attributes: Attached,
    zone: Option<String>,
    language: Option<String>,
    address: AddressState,
    erased_at: Option<i64>,
    consent: Option<ConsentState>,
    tracking: Option<ConsentState>,
}

/// SQLite nests JSON in JSON, PostgreSQL hands it over as text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Attached {
    Object(Attributes),
    Text(String),
}

impl Attached {
    fn read(self) -> Result<Attributes> {
        match self {
            Attached::Object(attributes) => Ok(attributes),
            Attached::Text(text) => {
                serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("column attributes: no JSON object".into()))
            }
        }
    }
}

/// A freezing under way.
pub struct Freezer {
    store: Store,
    node: Node,
    plan: FreezePlan,
    ids: Vec<i64>,
    at: usize,
    duplicates: i64,
    lanes: HashMap<(String, i64), LaneId>,
    slice: usize,
    tracking_purpose: Option<PurposeId>,
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
        route: row.int_opt("route_id")?.map(RouteId),
        fixed_site: None,
        version: VersionId(version.int("id")?),
        uses: json(&version, "uses")?,
    })
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

    /// Reads the ids of the audience: lists in, minus lists out, each contact once.
    async fn read_ids(&mut self) -> Result<()> {
        let mut reader = self.store.snapshot().await?;
        let workspace = self.plan.workspace;
        let mut include = Vec::new();
        for list in &self.plan.audience.include {
            read_list(&mut reader, workspace, *list, &mut include).await?;
        }
        include.sort_unstable();
        let named = include.len();
        include.dedup();
        self.duplicates = i64::try_from(named - include.len()).unwrap_or(0);
        let mut exclude = Vec::new();
        for list in &self.plan.audience.exclude {
            read_list(&mut reader, workspace, *list, &mut exclude).await?;
        }
        if !exclude.is_empty() {
            exclude.sort_unstable();
            include.retain(|id| exclude.binary_search(id).is_err());
        }
        self.tracking_purpose = reader
            .opt(
                sql!("SELECT id FROM purpose WHERE workspace_id = $1 AND kind = 'tracking' ORDER BY id LIMIT 1"),
                args![workspace],
            )
            .await?
            .map(|row| row.int("id").map(PurposeId))
            .transpose()?;
        include.shrink_to_fit();
        self.ids = include;
        Ok(())
    }

    /// The next contacts of the audience, at most `limit` (1 to 2,000); empty at the end.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Candidate>> {
        let end = (self.at + limit.clamp(1, 2_000)).min(self.ids.len());
        let page = &self.ids[self.at..end];
        if page.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = self.store.read().await?;
        let mut rows: Vec<Packed> = reader
            .one(
                sql!(
                    "SELECT {pack p.id, p.mailbox, p.mailbox_norm, p.domain, p.attributes, p.zone, p.language, p.address_state, \
                                  p.erased_at, p.consent, p.tracking} AS packed \
                     FROM (SELECT k.id, k.mailbox, k.mailbox_norm, k.domain, {json k.attributes} AS attributes, k.zone, k.language, \
                            k.address_state, k.erased_at, n.state AS consent, t.state AS tracking \
                       FROM {ids $1} r JOIN contact k ON k.id = r.value \
                       LEFT JOIN consent n ON n.contact_id = k.id AND n.purpose_id = $3 \
                       LEFT JOIN consent t ON t.contact_id = k.id AND t.purpose_id = $4 \
                       WHERE k.workspace_id = $2) p"
                ),
                args![rows_json(page), self.plan.workspace, self.plan.purpose, self.tracking_purpose],
            )
            .await?
            .packed()?;
        rows.sort_unstable_by_key(|row| row.id);
        let mut candidates = Vec::with_capacity(rows.len());
        for row in rows {
            let mut attributes = row.attributes.read()?;
            attributes.retain(|name, _| self.plan.uses.iter().any(|used| used == name));
            candidates.push(Candidate {
                contact: ContactId(row.id),
                mailbox: row.mailbox,
                mailbox_norm: row.mailbox_norm,
                domain: row.domain,
                attributes,
                zone: row.zone,
                language: row.language,
                facts: Facts {
                    stream: self.plan.stream,
                    consent: row.consent,
                    suppression: None,
                    address: row.address,
                    contact: if row.erased_at.is_some() { Presence::Erased } else { Presence::Present },
                },
                tracking_consent: row.tracking,
            });
        }
        self.look_up_suppressions(&mut reader, &mut candidates).await?;
        self.at = end;
        Ok(candidates)
    }

    /// Suppressions are kept by keyed digest, so they are looked up by the digests of the page.
    async fn look_up_suppressions(&self, reader: &mut Reader, candidates: &mut [Candidate]) -> Result<()> {
        let digests: Vec<String> = candidates.iter().map(|c| hex(&self.store.digest(&c.mailbox_norm))).collect();
        let domains: HashSet<&str> = candidates.iter().map(|c| c.domain.as_str()).collect();
        let keys: Vec<serde_json::Value> = digests.iter().map(|d| json!({"h": d})).collect();
        let now = self.store.now();
        let mut found: HashMap<String, (SuppressionScope, SuppressionReason)> = HashMap::new();
        let rows = reader
            .all(
                sql!(
                    "SELECT r.h AS \"key\", s.scope, s.reason FROM {rows $1 (h text)} r \
                     JOIN suppression s ON s.workspace_id = $2 AND s.digest = {unhex r.h} \
                     WHERE s.until IS NULL OR s.until > $3 \
                     UNION ALL \
                     SELECT s.domain AS \"key\", s.scope, s.reason FROM suppression s \
                     WHERE s.workspace_id = $2 AND s.domain IN {texts $4} AND (s.until IS NULL OR s.until > $3)"
                ),
                args![serde_json::Value::Array(keys), self.plan.workspace, now, json!(domains)],
            )
            .await?;
        for row in &rows {
            let fact = (word(row, "scope", SuppressionScope::parse)?, word(row, "reason", SuppressionReason::parse)?);
            found.entry(row.text("key")?).and_modify(|f| *f = (*f).min(fact)).or_insert(fact);
        }
        for (candidate, digest) in candidates.iter_mut().zip(&digests) {
            let facts = [found.get(digest), found.get(&candidate.domain)];
            candidate.facts.suppression = facts.into_iter().flatten().min().copied();
        }
        Ok(())
    }

    /// Stores recipients and exclusions, in slices of about 15 ms that let others write in between.
    ///
    /// A recipient whose contact or mailbox the campaign already has is counted as a duplicate.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the campaign was stopped meanwhile: drop the freezer.
    pub async fn insert(&mut self, rows: &[FrozenRow], exclusions: &[(ContactId, Withheld)]) -> Result<()> {
        let (mut rows, mut exclusions) = (rows, exclusions);
        while !rows.is_empty() || !exclusions.is_empty() {
            let (now_rows, later) = rows.split_at(self.slice.min(rows.len()));
            let (now_exclusions, later_exclusions) = exclusions.split_at((self.slice * 2).min(exclusions.len()));
            let begun = std::time::Instant::now();
            self.insert_slice(now_rows, now_exclusions).await?;
            (rows, exclusions) = (later, later_exclusions);
            let took = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            if took > SLICE_MS {
                self.slice = (self.slice * 3 / 4).max(50);
            } else if took < SLICE_MS / 2 && now_rows.len() == self.slice {
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

async fn read_list(reader: &mut Reader, workspace: WorkspaceId, list: ListId, ids: &mut Vec<i64>) -> Result<()> {
    let mut after = i64::MIN;
    loop {
        let rows = reader
            .all(
                sql!(
                    "SELECT m.contact_id FROM membership m JOIN list l ON l.id = m.list_id AND l.workspace_id = $2 \
                     WHERE m.list_id = $1 AND m.contact_id > $3 ORDER BY m.contact_id LIMIT $4"
                ),
                args![list, workspace, after, ID_PAGE],
            )
            .await?;
        for row in &rows {
            after = row.int("contact_id")?;
            ids.push(after);
        }
        if (rows.len() as i64) < ID_PAGE {
            return Ok(());
        }
    }
}
