//! Events: what happened, in an order that a reader can follow without losing any.
//!
//! The key is (node, seq). The number is taken from `event_head` inside the transaction that writes the event, so its row
//! lock makes the commits of one node follow each other in the order of their numbers (DESIGN section 4).

use postrider_domain::event::EventKind;
use postrider_domain::id::{AttemptId, CampaignId, ContactId, DeliveryId, NodeId, WorkspaceId};

use crate::db::Tx;
use crate::error::Result;
use crate::read::{json_opt, word};
use crate::sql::{args, rows_json, sql};
use crate::store::Store;

/// An event to be written.
#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) workspace: WorkspaceId,
    pub(crate) at: i64,
    pub(crate) kind: EventKind,
    pub(crate) delivery: Option<DeliveryId>,
    pub(crate) contact: Option<ContactId>,
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) attempt: Option<AttemptId>,
    pub(crate) data: Option<serde_json::Value>,
}

/// A row of `event`, with short names because they are repeated in each row's JSON.
#[derive(serde::Serialize)]
struct EventRow<'a> {
    s: i64,
    w: i64,
    t: i64,
    k: &'a str,
    d: Option<i64>,
    c: Option<i64>,
    m: Option<i64>,
    a: Option<i64>,
    j: Option<String>,
}

/// Takes the numbers of `n` events of a node; the first of them. The row lock stays until the end of the transaction.
pub(crate) async fn numbers(tx: &mut Tx, node: NodeId, n: usize) -> Result<i64> {
    let last = tx
        .one(
            sql!(
                "INSERT INTO event_head (node, seq) VALUES ($1, $2) \
                 ON CONFLICT (node) DO UPDATE SET seq = event_head.seq + excluded.seq RETURNING seq"
            ),
            args![node, n],
        )
        .await?
        .int("seq")?;
    Ok(last - i64::try_from(n).unwrap_or(0) + 1)
}

/// Writes events in their order. Call it late in a transaction: others of this node wait for its end.
pub(crate) async fn record(tx: &mut Tx, node: NodeId, events: &[NewEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let first = numbers(tx, node, events.len()).await?;
    let rows: Vec<EventRow<'_>> = events
        .iter()
        .zip(first..)
        .map(|(e, s)| EventRow {
            s,
            w: e.workspace.get(),
            t: e.at,
            k: e.kind.as_str(),
            d: e.delivery.map(DeliveryId::get),
            c: e.contact.map(ContactId::get),
            m: e.campaign.map(CampaignId::get),
            a: e.attempt.map(AttemptId::get),
            j: e.data.as_ref().map(serde_json::Value::to_string),
        })
        .collect();
    tx.execute(
        sql!(
            "INSERT INTO event (node, seq, workspace_id, at, kind, delivery_id, contact_id, campaign_id, attempt_id, data) \
             SELECT $1, r.s, r.w, r.t, r.k, r.d, r.c, r.m, r.a, {jsonb r.j} \
             FROM {rows $2 (s bigint, w bigint, t bigint, k text, d bigint, c bigint, m bigint, a bigint, j text)} r"
        ),
        args![node, rows_json(&rows)],
    )
    .await?;
    Ok(())
}

/// An event as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The node that wrote it.
    pub node: NodeId,
    /// Its number on that node.
    pub seq: i64,
    /// Whose.
    pub workspace: WorkspaceId,
    /// When, milliseconds UTC.
    pub at: i64,
    /// What.
    pub kind: EventKind,
    /// The delivery that it is about.
    pub delivery: Option<DeliveryId>,
    /// The contact that it is about.
    pub contact: Option<ContactId>,
    /// The campaign that it belongs to.
    pub campaign: Option<CampaignId>,
    /// The attempt that is its body.
    pub attempt: Option<AttemptId>,
    /// More, by kind.
    pub data: Option<serde_json::Value>,
}

impl Store {
    /// Events of one node after `seq`, oldest first; a reader's cursor is the vector of the last `seq` of every node.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn events_after(&self, node: NodeId, seq: i64, limit: u32) -> Result<Vec<Event>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT seq, workspace_id, at, kind, delivery_id, contact_id, campaign_id, attempt_id, {json data} AS data \
                     FROM event WHERE node = $1 AND seq > $2 ORDER BY seq LIMIT $3"
                ),
                args![node, seq, limit.min(500)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Event {
                    node,
                    seq: row.int("seq")?,
                    workspace: WorkspaceId(row.int("workspace_id")?),
                    at: row.int("at")?,
                    kind: word(row, "kind", EventKind::parse)?,
                    delivery: row.int_opt("delivery_id")?.map(DeliveryId),
                    contact: row.int_opt("contact_id")?.map(ContactId),
                    campaign: row.int_opt("campaign_id")?.map(CampaignId),
                    attempt: row.int_opt("attempt_id")?.map(AttemptId),
                    data: json_opt(row, "data")?,
                })
            })
            .collect()
    }
}
