//! Lanes: the unit of the queue that a node leases. Rows are never leased.
//!
//! Must not know limits or fairness between campaigns: the scheduler decides what it does with its lanes.

use std::collections::HashMap;

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::{
    CampaignId, ContactId, DeliveryId, DkimKeyId, LaneId, MessageId, RouteId, VersionId, WorkspaceId,
};
use postrider_domain::stream::{Stream, TlsWish, TrackingMode};

use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::node::{Node, hold_epoch};
use crate::read::word;
use crate::sql::{Row, args, rows_json, sql};
use crate::steering::HELD_AT;
use crate::store::Store;

/// The site of rows whose domain has not been looked up yet.
pub const UNRESOLVED: &str = "unresolved";

/// A lane that this node owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneLease {
    /// Which.
    pub lane: LaneId,
    /// Fences every mark and settle; changes with the owner.
    pub epoch: i64,
    /// Whose.
    pub workspace: WorkspaceId,
    /// The campaign, or none for single messages.
    pub campaign: Option<CampaignId>,
    /// The stream.
    pub stream: Stream,
    /// The set of MX hosts, `route:<id>` for a smarthost, or [`UNRESOLVED`].
    pub site: String,
    /// Part of a large site.
    pub part: i64,
    /// The route that a rule of the queue gave to its rows; none: that of the campaign or the workspace.
    pub route: Option<RouteId>,
    /// When its first row is ready, milliseconds UTC; `None` when it has no row.
    pub next_at: Option<i64>,
}

/// What [`Store::lease_lanes`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Lanes that are ours now and were not before.
    pub new: Vec<LaneLease>,
    /// How many lanes more than our share we own: drain some and [`Store::release_lanes`] them.
    pub surplus: i64,
}

/// A row that may be handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueRow {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Since when it may go, milliseconds UTC.
    pub ready_at: i64,
    /// Attempts made.
    pub attempts: u32,
    /// Most attempts, the `m` of "n of m".
    pub max_attempts: u32,
    /// Time of the first try; Date and DKIM `t=` of every try.
    pub first_try_at: Option<i64>,
    /// The DKIM key of the first try.
    pub dkim_key: Option<DkimKeyId>,
    /// The link key of the first try.
    pub link_key: Option<u8>,
    /// No try after this time, when set.
    pub expires_at: Option<i64>,
    /// The mailbox as spelt.
    pub mailbox: String,
    /// The mailbox in the form in which it is compared.
    pub mailbox_norm: String,
    /// Its domain.
    pub domain: String,
    /// The contact, when it is one.
    pub contact: Option<ContactId>,
    /// The campaign, or none.
    pub campaign: Option<CampaignId>,
    /// The single message, or none.
    pub message: Option<MessageId>,
    /// The content of a campaign.
    pub version: Option<VersionId>,
    /// The variables that the version uses.
    pub vars: Option<serde_json::Map<String, serde_json::Value>>,
    /// The stream.
    pub stream: Stream,
    /// How opens and clicks are counted.
    pub tracking: TrackingMode,
    /// What the sender of a single message wants of TLS.
    pub tls: Option<TlsWish>,
    /// The From domain of a single message, lowercase; that of a campaign is in its version.
    pub from_domain: Option<String>,
}

/// Where a reader of a lane stands: the last row that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneCursor {
    /// `ready_at` of that row.
    pub ready_at: i64,
    /// That row.
    pub delivery: DeliveryId,
}

impl QueueRow {
    /// The cursor behind this row.
    pub const fn cursor(&self) -> LaneCursor {
        LaneCursor { ready_at: self.ready_at, delivery: self.delivery }
    }
}

fn lease(row: &Row) -> Result<LaneLease> {
    Ok(LaneLease {
        lane: LaneId(row.int("id")?),
        epoch: row.int("epoch")?,
        workspace: WorkspaceId(row.int("workspace_id")?),
        campaign: row.int_opt("campaign_id")?.map(CampaignId),
        stream: word(row, "stream", Stream::parse)?,
        site: row.text("site")?,
        part: row.int("part")?,
        route: row.int_opt("route_id")?.map(RouteId),
        next_at: row.int_opt("first_at")?,
    })
}

impl Store {
    /// Claims lanes that nobody owns, up to our fair share of all lanes that have rows and may send.
    ///
    /// # Errors
    /// [`crate::StoreError::Fatal`] when another process runs as this node.
    pub async fn lease_lanes(&self, node: Node) -> Result<Leased> {
        let mut tx = self.begin(Lane::Queue).await?;
        hold_epoch(&mut tx, node).await?;
        let row = tx
            .one(
                sql!(
                    "SELECT (SELECT count(*) FROM node WHERE stopped_at IS NULL) AS nodes, \
                            (SELECT count(*) FROM lane WHERE NOT closed AND owner = $1) AS mine, \
                            (SELECT count(*) FROM lane l WHERE NOT closed AND (owner IS NOT NULL \
                               OR EXISTS (SELECT 1 FROM queue q WHERE q.lane_id = l.id))) AS lanes"
                ),
                args![node.id],
            )
            .await?;
        let (nodes, mine, lanes) = (row.int("nodes")?.max(1), row.int("mine")?, row.int("lanes")?);
        let share = (lanes + nodes - 1) / nodes;
        let mut new = Vec::new();
        if mine < share {
            let rows = tx
                .all(
                    sql!(
                        "UPDATE lane SET owner = $1, epoch = epoch + 1 WHERE owner IS NULL AND id IN ( \
                           SELECT l.id FROM lane l LEFT JOIN campaign c ON c.id = l.campaign_id \
                           WHERE l.owner IS NULL AND NOT l.closed \
                             AND (c.id IS NULL OR c.state IN ('sending', 'paused')) \
                             AND EXISTS (SELECT 1 FROM queue q WHERE q.lane_id = l.id) \
                           ORDER BY l.id LIMIT $2 {for_update_of l} {skip_locked}) \
                         RETURNING id, epoch, workspace_id, campaign_id, stream, site, part, route_id, \
                           (SELECT min(q.ready_at) FROM queue q WHERE q.lane_id = lane.id) AS first_at"
                    ),
                    args![node.id, share - mine],
                )
                .await?;
            new = rows.iter().map(lease).collect::<Result<_>>()?;
        }
        tx.commit().await?;
        let surplus = (mine + i64::try_from(new.len()).unwrap_or(0) - share).max(0);
        // One lane too many is no reason to move anything, unless somebody has none.
        Ok(Leased { new, surplus })
    }

    /// Every lane that this node owns.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn my_lanes(&self, node: Node) -> Result<Vec<LaneLease>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT l.id, l.epoch, l.workspace_id, l.campaign_id, l.stream, l.site, l.part, l.route_id, \
                            (SELECT min(q.ready_at) FROM queue q WHERE q.lane_id = l.id) AS first_at \
                     FROM lane l JOIN node n ON n.id = l.owner \
                     WHERE l.owner = $1 AND n.epoch = $2 AND NOT l.closed ORDER BY l.id"
                ),
                args![node.id, node.epoch],
            )
            .await?;
        rows.iter().map(lease).collect()
    }

    /// Gives lanes back. Nothing of them may be in the air: flush the writer first.
    ///
    /// # Errors
    /// [`crate::StoreError::Fatal`] when another process runs as this node.
    pub async fn release_lanes(&self, node: Node, lanes: &[LaneId]) -> Result<u64> {
        let ids: Vec<i64> = lanes.iter().map(|l| l.get()).collect();
        let mut tx = self.begin(Lane::Queue).await?;
        hold_epoch(&mut tx, node).await?;
        let released = tx
            .execute(
                sql!("UPDATE lane SET owner = NULL, epoch = epoch + 1 WHERE owner = $1 AND id IN {ids $2}"),
                args![node.id, serde_json::json!(ids)],
            )
            .await?;
        tx.commit().await?;
        Ok(released)
    }

    /// Rows of a lane that are ready at `now`, in the order (ready_at, delivery), after a cursor; at most 500.
    ///
    /// Rows that are marked or held are left out, rows handed out in memory are not: the reader knows those. A row that
    /// is put back, released or moved may come to lie before the cursor, so a reader begins again without a cursor
    /// whenever it was given less than it asked for.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn read_lane(
        &self,
        lane: LaneId,
        after: Option<LaneCursor>,
        now: i64,
        limit: u32,
    ) -> Result<Vec<QueueRow>> {
        let (ready_at, delivery) = after.map_or((i64::MIN, 0), |c| (c.ready_at, c.delivery.get()));
        let mut rows: Vec<Packed> = self
            .read()
            .await?
            .one(
                sql!(
                    "SELECT {pack p.delivery_id, p.workspace_id, p.ready_at, p.attempts, p.max_attempts, p.first_try_at, \
                                  p.dkim_key_id, p.link_key, p.expires_at, p.mailbox, p.mailbox_norm, p.domain, p.contact_id, \
                                  p.campaign_id, p.message_id, p.version_id, p.vars, p.stream, p.tracking, p.tls_wish, p.from_mailbox} AS packed \
                     FROM (SELECT q.delivery_id, q.workspace_id, q.ready_at, q.attempts, q.first_try_at, q.dkim_key_id, q.link_key, \
                              q.expires_at, d.max_attempts, d.mailbox, d.mailbox_norm, d.domain, d.contact_id, d.campaign_id, \
                              d.message_id, d.version_id, {json d.vars} AS vars, d.stream, d.tracking, d.tls_wish, \
                              (SELECT m.from_mailbox FROM message m WHERE m.id = d.message_id) AS from_mailbox \
                       FROM queue q JOIN delivery d ON d.id = q.delivery_id \
                       WHERE q.lane_id = $1 AND (q.ready_at, q.delivery_id) > ($2, $3) AND q.ready_at <= $4 \
                         AND q.doubt_epoch IS NULL AND q.held_reason IS NULL \
                       ORDER BY q.ready_at, q.delivery_id LIMIT $5) p"
                ),
                args![lane, ready_at, delivery, now.min(HELD_AT - 1), limit.min(500)],
            )
            .await?
            .packed()?;
        rows.sort_unstable_by_key(|row| (row.ready_at, row.delivery));
        rows.into_iter().map(queue_row).collect()
    }

    /// When the first row of each lane is ready, milliseconds UTC; lanes without rows are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn lanes_ready_at(&self, lanes: &[LaneId]) -> Result<Vec<(LaneId, i64)>> {
        let ids: Vec<serde_json::Value> = lanes.iter().map(|l| serde_json::json!({"i": l.get()})).collect();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT r.i AS id, (SELECT q.ready_at FROM queue q WHERE q.lane_id = r.i \
                                        ORDER BY q.ready_at, q.delivery_id LIMIT 1) AS first_at \
                     FROM {rows $1 (i bigint)} r"
                ),
                args![serde_json::Value::Array(ids)],
            )
            .await?;
        let mut ready = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(at) = row.int_opt("first_at")? {
                ready.push((LaneId(row.int("id")?), at));
            }
        }
        Ok(ready)
    }
}

/// A row as it comes; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Packed {
    delivery: i64,
    workspace: i64,
    ready_at: i64,
    attempts: u32,
    max_attempts: u32,
    first_try_at: Option<i64>,
    dkim_key: Option<i64>,
    link_key: Option<u8>,
    expires_at: Option<i64>,
    mailbox: String,
    mailbox_norm: String,
    domain: String,
    contact: Option<i64>,
    campaign: Option<i64>,
    message: Option<i64>,
    version: Option<i64>,
    vars: Option<Vars>,
    stream: Stream,
    tracking: TrackingMode,
    tls: Option<TlsWish>,
    from: Option<String>,
}

/// SQLite nests JSON in JSON, PostgreSQL hands it over as text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Vars {
    Object(serde_json::Map<String, serde_json::Value>),
    Text(String),
}

fn queue_row(row: Packed) -> Result<QueueRow> {
    let vars = match row.vars {
        None => None,
        Some(Vars::Object(vars)) => Some(vars),
        Some(Vars::Text(text)) => {
            Some(serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("column vars: no JSON object".into()))?)
        }
    };
    Ok(QueueRow {
        delivery: DeliveryId(row.delivery),
        workspace: WorkspaceId(row.workspace),
        ready_at: row.ready_at,
        attempts: row.attempts,
        max_attempts: row.max_attempts,
        first_try_at: row.first_try_at,
        dkim_key: row.dkim_key.map(DkimKeyId),
        link_key: row.link_key,
        expires_at: row.expires_at,
        mailbox: row.mailbox,
        mailbox_norm: row.mailbox_norm,
        domain: row.domain,
        contact: row.contact.map(ContactId),
        campaign: row.campaign.map(CampaignId),
        message: row.message.map(MessageId),
        version: row.version.map(VersionId),
        vars,
        stream: row.stream,
        tracking: row.tracking,
        tls: row.tls,
        from_domain: row.from.and_then(|from| Some(from.rsplit_once('@')?.1.to_ascii_lowercase())),
    })
}

/// Where a lane lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) workspace: WorkspaceId,
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) stream: Stream,
    pub(crate) site: String,
    pub(crate) part: i64,
    /// Another route than that of the campaign or the workspace.
    pub(crate) route: Option<RouteId>,
}

/// The lane of a place; made when it does not exist, owned by nobody.
pub(crate) async fn lane_at(tx: &mut Tx, place: &Place, new_id: i64) -> Result<LaneId> {
    let key = || {
        args![
            place.campaign.map_or(0, CampaignId::get),
            place.workspace,
            place.stream.as_str(),
            place.site.as_str(),
            place.part,
            place.route.map_or(0, RouteId::get)
        ]
    };
    let find = sql!(
        "SELECT id, closed FROM lane \
         WHERE coalesce(campaign_id, 0) = $1 AND workspace_id = $2 AND stream = $3 AND site = $4 AND part = $5 \
           AND coalesce(route_id, 0) = $6"
    );
    if let Some(row) = tx.opt(find, key()).await? {
        let id = row.int("id")?;
        if row.bool("closed")? {
            tx.execute(sql!("UPDATE lane SET closed = FALSE WHERE id = $1"), args![id]).await?;
        }
        return Ok(LaneId(id));
    }
    tx.execute(
        sql!(
            "INSERT INTO lane (id, workspace_id, campaign_id, stream, site, part, owner, epoch, next_at, closed, route_id) \
             VALUES ($1, $2, $3, $4, $5, $6, NULL, 0, 0, FALSE, $7) ON CONFLICT DO NOTHING"
        ),
        args![
            new_id,
            place.workspace,
            place.campaign,
            place.stream.as_str(),
            place.site.as_str(),
            place.part,
            place.route
        ],
    )
    .await?;
    Ok(LaneId(tx.one(find, key()).await?.int("id")?))
}

/// A lane of ours as it stands in a write transaction; the order of the fields is that of the columns.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct HeldLane {
    lane: i64,
    /// The epoch of our lease.
    pub(crate) epoch: i64,
    workspace: i64,
    campaign: Option<i64>,
    /// Where the campaign stands.
    pub(crate) state: Option<CampaignState>,
    /// The purpose whose consent the campaign needs.
    pub(crate) purpose: Option<i64>,
    suspended_at: Option<i64>,
    /// The generation of the rules of the queue.
    pub(crate) rules: i64,
}

impl HeldLane {
    pub(crate) fn workspace(&self) -> WorkspaceId {
        WorkspaceId(self.workspace)
    }

    pub(crate) fn campaign(&self) -> Option<CampaignId> {
        self.campaign.map(CampaignId)
    }

    /// Whether the campaign may hand out; single messages always may.
    pub(crate) fn hands_out(&self) -> bool {
        match (self.campaign, self.state) {
            (None, _) => true,
            (Some(_), state) => state.is_some_and(CampaignState::hands_out),
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended_at.is_some()
    }
}

/// Those of the lanes that are ours, FOR SHARE in the order of their ids: their owner and epoch stay until the end of
/// the transaction. What rows have in common is read here once, and not for each row.
pub(crate) async fn hold(tx: &mut Tx, node: Node, lanes: &[i64]) -> Result<HashMap<i64, HeldLane>> {
    if lanes.is_empty() {
        return Ok(HashMap::new());
    }
    let held: Vec<HeldLane> = tx
        .one(
            sql!(
                "SELECT {pack p.id, p.epoch, p.workspace_id, p.campaign_id, p.state, p.purpose_id, p.suspended_at, p.gen} \
                   AS packed \
                 FROM (SELECT l.id, l.epoch, l.workspace_id, l.campaign_id, c.state, c.purpose_id, w.suspended_at, \
                     (SELECT h.gen FROM queue_rule_head h WHERE h.id = 1) AS gen \
                   FROM {ids $2} r JOIN lane l ON l.id = r.value AND l.owner = $1 \
                   JOIN workspace w ON w.id = l.workspace_id LEFT JOIN campaign c ON c.id = l.campaign_id \
                   ORDER BY l.id {for_share_of l}) p"
            ),
            args![node.id, rows_json(lanes)],
        )
        .await?
        .packed()?;
    Ok(held.into_iter().map(|lane| (lane.lane, lane)).collect())
}
