//! What a rule, or the stop of a campaign, does to rows: end, hold, release, move. Set statements inside a transaction of
//! the caller, with counters and events.
//!
//! Rows that are marked are left alone: their owner settles them.

use std::collections::BTreeMap;

use postrider_domain::event::EventKind;
use postrider_domain::id::{CampaignId, NodeId, QueueRuleId, RouteId, WorkspaceId};
use postrider_domain::outcome::OutcomeKind;
use postrider_domain::queue::{QueueState, Step, after};
use serde_json::json;

use super::HELD_AT;
use super::concern::LaneSeen;
use crate::Store;
use crate::counter::{self, Tally};
use crate::db::Tx;
use crate::error::Result;
use crate::lane::{Place, UNRESOLVED, lane_at};
use crate::sql::{args, sql};

/// How rows end that a person ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// As cancelled.
    Cancelled,
    /// As rejected, with these words in the report; never a reason to suppress anybody.
    Rejected {
        /// What the report says.
        text: String,
    },
}

impl End {
    const fn kind(&self) -> OutcomeKind {
        match self {
            End::Cancelled => OutcomeKind::Cancelled,
            End::Rejected { .. } => OutcomeKind::Rejected,
        }
    }

    const fn event(&self) -> EventKind {
        match self {
            End::Cancelled => EventKind::Cancelled,
            End::Rejected { .. } => EventKind::Rejected,
        }
    }
}

/// Which rows of a list are there and not marked, locked until the end of the transaction. `held`: only such as are held,
/// or are not; `None` takes both.
async fn lock_rows(tx: &mut Tx, ids: &[i64], held: Option<bool>) -> Result<Vec<i64>> {
    let held = held.map_or(0i64, |held| if held { 2 } else { 1 });
    let rows: Vec<(i64,)> = tx
        .one(
            sql!(
                "SELECT {pack p.delivery_id} AS packed FROM (SELECT q.delivery_id FROM {ids $1} r \
                   JOIN queue q ON q.delivery_id = r.value \
                   WHERE q.doubt_epoch IS NULL AND ($2 = 0 OR ($2 = 1 AND q.held_reason IS NULL) OR ($2 = 2 AND q.held_reason IS NOT NULL)) \
                   {for_update_of q} {skip_locked}) p"
            ),
            args![json!(ids), held],
        )
        .await?
        .packed()?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// How many of the rows belong to whom, and how many of these are held.
async fn owners(tx: &mut Tx, ids: &serde_json::Value) -> Result<Vec<(WorkspaceId, Option<CampaignId>, i64, i64)>> {
    let rows = tx
        .all(
            sql!(
                "SELECT d.workspace_id, d.campaign_id, count(*) AS n, count(q.held_reason) AS held FROM {ids $1} r \
                 JOIN queue q ON q.delivery_id = r.value JOIN delivery d ON d.id = r.value \
                 GROUP BY d.workspace_id, d.campaign_id"
            ),
            args![ids],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let campaign = row.int_opt("campaign_id")?.map(CampaignId);
            Ok((WorkspaceId(row.int("workspace_id")?), campaign, row.int("n")?, row.int("held")?))
        })
        .collect()
}

/// A row that is to be ended; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Ending {
    delivery: i64,
    workspace: i64,
    campaign: Option<i64>,
    held: i64,
    /// A first try left its time or its keys in the queue.
    tried: i64,
}

/// Ends those of the rows that are not marked; how many.
pub(crate) async fn end_rows(
    tx: &mut Tx,
    node: NodeId,
    ids: &[i64],
    end: &End,
    rule: Option<QueueRuleId>,
    now: i64,
) -> Result<u64> {
    debug_assert_eq!(after(QueueState::Ready, Step::Cancel), Some(QueueState::Done));
    debug_assert_eq!(after(QueueState::Held, Step::Cancel), Some(QueueState::Done));
    let rows: Vec<Ending> = tx
        .one(
            sql!(
                "SELECT {pack p.delivery_id, p.workspace_id, p.campaign_id, p.held, p.tried} AS packed \
                 FROM (SELECT q.delivery_id, q.workspace_id, l.campaign_id, \
                     CASE WHEN q.held_reason IS NULL THEN 0 ELSE 1 END AS held, \
                     CASE WHEN q.first_try_at IS NULL AND q.link_key IS NULL THEN 0 ELSE 1 END AS tried \
                   FROM {ids $1} r JOIN queue q ON q.delivery_id = r.value JOIN lane l ON l.id = q.lane_id \
                   WHERE q.doubt_epoch IS NULL {for_update_of q} {skip_locked}) p"
            ),
            args![json!(ids)],
        )
        .await?
        .packed()?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut counts: BTreeMap<(i64, Option<i64>), (i64, i64)> = BTreeMap::new();
    for row in &rows {
        let (n, held) = counts.entry((row.workspace, row.campaign)).or_default();
        *n += 1;
        *held += row.held;
    }
    let mut tally = Tally::default();
    for ((workspace, campaign), (n, held)) in counts {
        let (workspace, campaign) = (WorkspaceId(workspace), campaign.map(CampaignId));
        tally.add(workspace, campaign, counter::HELD, -held);
        tally.add(workspace, campaign, end.kind().as_str(), n);
        match end {
            End::Cancelled => {}
            // No host refused them: what judges how a campaign fares leaves them out.
            End::Rejected { .. } => tally.add(workspace, campaign, counter::BOUNCED_BY_HAND, n),
        }
    }
    let text = match end {
        End::Cancelled => None,
        End::Rejected { text } => Some(text.as_str()),
    };
    let data = match (rule, text) {
        (None, None) => None,
        (Some(rule), text) => Some(json!({ "rule": rule, "text": text })),
        (None, Some(text)) => Some(json!({ "text": text })),
    };
    let list = json!(rows.iter().map(|row| row.delivery).collect::<Vec<_>>());
    let first = crate::event::numbers(tx, node, rows.len()).await?;
    tx.execute(
        sql!(
            "INSERT INTO event (node, seq, workspace_id, at, kind, delivery_id, contact_id, campaign_id, attempt_id, data) \
             SELECT $1, $2 + r.n, d.workspace_id, $3, $4, d.id, d.contact_id, d.campaign_id, CAST(NULL AS BIGINT), {jsonb $5} \
             FROM {numbered $6} r JOIN delivery d ON d.id = r.value"
        ),
        args![node, first, now, end.event().as_str(), data.map(|d| d.to_string()), list.clone()],
    )
    .await?;
    let (tried, untried): (Vec<&Ending>, Vec<&Ending>) = rows.iter().partition(|row| row.tried != 0);
    if !untried.is_empty() {
        let list = json!(untried.iter().map(|row| row.delivery).collect::<Vec<_>>());
        finish_untried(tx, &list, end.kind(), text, now).await?;
    }
    if !tried.is_empty() {
        let list = json!(tried.iter().map(|row| row.delivery).collect::<Vec<_>>());
        crate::resolve::finish(tx, &list, end.kind(), text, now).await?;
    }
    dealt_with(tx, rule, rows.len()).await?;
    tally.write(tx, node).await?;
    Ok(rows.len() as u64)
}

/// As [`crate::resolve::finish`] for deliveries of which no try has left anything in the queue.
async fn finish_untried(
    tx: &mut Tx,
    deliveries: &serde_json::Value,
    kind: OutcomeKind,
    text: Option<&str>,
    now: i64,
) -> Result<()> {
    tx.execute(
        sql!(
            "UPDATE delivery SET outcome = $2, outcome_at = $3, vars = NULL, last_text = coalesce($4, last_text) \
             WHERE id IN {ids $1}"
        ),
        args![deliveries, kind.as_str(), now, text],
    )
    .await?;
    tx.execute(sql!("DELETE FROM queue WHERE delivery_id IN {ids $1}"), args![deliveries]).await?;
    Ok(())
}

/// Holds those of the rows that are ready; how many.
pub(crate) async fn hold_rows(
    tx: &mut Tx,
    node: NodeId,
    ids: &[i64],
    reason: &str,
    rule: Option<QueueRuleId>,
    now: i64,
) -> Result<u64> {
    let locked = lock_rows(tx, ids, Some(false)).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    let list = json!(locked);
    let mut tally = Tally::default();
    for (workspace, campaign, n, _) in owners(tx, &list).await? {
        tally.add(workspace, campaign, counter::HELD, n);
    }
    tx.execute(
        sql!(
            "UPDATE queue SET held_reason = $2, held_by = $3, held_at = $4, ready_at = $5 WHERE delivery_id IN {ids $1}"
        ),
        args![list, reason, rule, now, HELD_AT],
    )
    .await?;
    dealt_with(tx, rule, locked.len()).await?;
    tally.write(tx, node).await?;
    Ok(locked.len() as u64)
}

/// Lets those of the rows go that are held; how many.
pub(crate) async fn release_rows(
    tx: &mut Tx,
    node: NodeId,
    ids: &[i64],
    rule: Option<QueueRuleId>,
    now: i64,
) -> Result<u64> {
    let locked = lock_rows(tx, ids, Some(true)).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    let list = json!(locked);
    let mut tally = Tally::default();
    for (workspace, campaign, n, _) in owners(tx, &list).await? {
        tally.add(workspace, campaign, counter::HELD, -n);
    }
    tx.execute(
        sql!(
            "UPDATE queue SET held_reason = NULL, held_by = NULL, held_at = NULL, ready_at = $2 WHERE delivery_id IN {ids $1}"
        ),
        args![list, now],
    )
    .await?;
    dealt_with(tx, rule, locked.len()).await?;
    tally.write(tx, node).await?;
    Ok(locked.len() as u64)
}

/// Where rows go.
pub(crate) struct Target {
    /// The route that their lanes get; `None`: that of the campaign or the workspace again.
    pub(crate) route: Option<RouteId>,
    /// The route leads to MX hosts.
    pub(crate) to_mx: bool,
}

/// Moves those of the rows that are not marked to lanes with another route; how many.
pub(crate) async fn move_rows(
    tx: &mut Tx,
    store: &Store,
    ids: &[i64],
    lanes: &BTreeMap<i64, LaneSeen>,
    target: &Target,
    rule: Option<QueueRuleId>,
    now: i64,
) -> Result<u64> {
    let locked = lock_rows(tx, ids, None).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    let list = json!(locked);
    let from = tx
        .all(
            sql!(
                "SELECT DISTINCT q.lane_id FROM {ids $1} r JOIN queue q ON q.delivery_id = r.value ORDER BY q.lane_id"
            ),
            args![list.clone()],
        )
        .await?;
    let mut moved = 0;
    for row in &from {
        let id = row.int("lane_id")?;
        let Some(lane) = lanes.get(&id).filter(|l| l.route != target.route) else { continue };
        // A site that is a smarthost's says nothing about where its mailboxes are.
        let site = if target.to_mx && lane.site.starts_with("route:") { UNRESOLVED } else { &lane.site };
        let place = Place {
            workspace: lane.workspace,
            campaign: lane.campaign,
            stream: lane.stream,
            site: site.to_owned(),
            part: lane.part,
            route: target.route,
        };
        let to = lane_at(tx, &place, store.next_id()).await?;
        // A row must not come to lie before a reader's cursor in its new lane.
        moved += tx
            .execute(
                sql!(
                    "UPDATE queue SET lane_id = $2, ready_at = {greatest ready_at, $3} WHERE delivery_id IN {ids $1} AND lane_id = $4"
                ),
                args![list.clone(), to, now, id],
            )
            .await?;
    }
    dealt_with(tx, rule, usize::try_from(moved).unwrap_or(usize::MAX)).await?;
    Ok(moved)
}

/// Counts what a rule has dealt with.
async fn dealt_with(tx: &mut Tx, rule: Option<QueueRuleId>, n: usize) -> Result<()> {
    if let Some(rule) = rule {
        tx.execute(sql!("UPDATE queue_rule SET done = done + $2 WHERE id = $1"), args![rule, n]).await?;
    }
    Ok(())
}
