//! Deliveries in doubt of a dead epoch: the final dot may have gone, and nobody knows the reply (DESIGN section 4).
//!
//! The policy of the campaign, or of the stream, decides: send the same bytes again, take it for accepted, ask a person.

use std::collections::HashMap;

use postrider_domain::event::EventKind;
use postrider_domain::id::{CampaignId, ContactId, DeliveryId, LaneId, WorkspaceId};
use postrider_domain::outcome::OutcomeKind;
use postrider_domain::queue::{QueueState, Step, after};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::{InDoubtPolicy, Stream};
use serde_json::json;

use crate::bell::Topic;
use crate::counter::{self, Tally};
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::event::{self, NewEvent};
use crate::node::{Node, hold_epoch};
use crate::read::{json_opt, word};
use crate::sql::{args, sql};
use crate::store::Store;

/// Rows of one transaction.
const SLICE: u32 = 500;

/// What [`Store::resolve_in_doubt`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Ready again: the same bytes go once more.
    pub resent: u64,
    /// Taken for accepted.
    pub assumed: u64,
    /// Waiting for a person.
    pub held: u64,
}

/// A row in doubt.
struct Doubt {
    delivery: DeliveryId,
    lane: LaneId,
    workspace: WorkspaceId,
    campaign: Option<CampaignId>,
    contact: Option<ContactId>,
    attempts: i64,
    since: i64,
    policy: InDoubtPolicy,
}

impl Store {
    /// Resolves everything in doubt of a dead epoch in the lanes that this node owns. Call it after registering and
    /// after each takeover, before reading lanes.
    ///
    /// # Errors
    /// [`crate::StoreError::Fatal`] when another process runs as this node.
    pub async fn resolve_in_doubt(&self, node: Node) -> Result<Resolved> {
        let mut all = Resolved::default();
        loop {
            let slice = self.resolve_slice(node).await?;
            if slice == Resolved::default() {
                return Ok(all);
            }
            all.resent += slice.resent;
            all.assumed += slice.assumed;
            all.held += slice.held;
        }
    }

    async fn resolve_slice(&self, node: Node) -> Result<Resolved> {
        let now = self.now();
        let mut tx = self.begin(Lane::Queue).await?;
        hold_epoch(&mut tx, node).await?;
        let doubts = doubts(&mut tx, node).await?;
        if doubts.is_empty() {
            return Ok(Resolved::default());
        }
        let lanes: Vec<i64> = {
            let mut lanes: Vec<i64> = doubts.iter().map(|d| d.lane.get()).collect();
            lanes.sort_unstable();
            lanes.dedup();
            lanes
        };
        crate::lane::hold(&mut tx, node, &lanes).await?;
        let resolved = write(&mut tx, self, node, &doubts, now).await?;
        tx.ring(Topic::Work);
        tx.commit().await?;
        Ok(resolved)
    }
}

/// Rows whose mark is older than the present lease of their lane. A mark touches no index, so this reads the rows of
/// our lanes; it runs once after a start or a takeover.
async fn doubts(tx: &mut Tx, node: Node) -> Result<Vec<Doubt>> {
    let rows = tx
        .all(
            sql!(
                "SELECT q.delivery_id, q.lane_id, q.attempts, q.doubt_at, d.workspace_id, d.campaign_id, d.contact_id, d.stream, \
                        {json c.policy} AS policy \
                 FROM queue q JOIN lane l ON l.id = q.lane_id JOIN delivery d ON d.id = q.delivery_id \
                 LEFT JOIN campaign c ON c.id = d.campaign_id \
                 WHERE l.owner = $1 AND q.doubt_epoch < l.epoch \
                 LIMIT $2 {for_update_of q}"
            ),
            args![node.id, SLICE],
        )
        .await?;
    let mut policies: HashMap<Option<CampaignId>, InDoubtPolicy> = HashMap::new();
    rows.iter()
        .map(|row| {
            let campaign = row.int_opt("campaign_id")?.map(CampaignId);
            let stream = word(row, "stream", Stream::parse)?;
            let policy = match policies.get(&campaign) {
                Some(policy) if campaign.is_some() => *policy,
                _ => {
                    let policy = json_opt::<RetryPolicy>(row, "policy")?
                        .unwrap_or_else(|| RetryPolicy::default_for(stream))
                        .in_doubt;
                    policies.insert(campaign, policy);
                    policy
                }
            };
            Ok(Doubt {
                delivery: DeliveryId(row.int("delivery_id")?),
                lane: LaneId(row.int("lane_id")?),
                workspace: WorkspaceId(row.int("workspace_id")?),
                campaign,
                contact: row.int_opt("contact_id")?.map(ContactId),
                attempts: row.int("attempts")?,
                since: row.int_opt("doubt_at")?.unwrap_or(0),
                policy,
            })
        })
        .collect()
}

/// The step that a policy takes, and the word with which its attempt row is marked.
const fn step(policy: InDoubtPolicy) -> (Step, &'static str, &'static str) {
    match policy {
        InDoubtPolicy::Resend => {
            (Step::ResolveResend, "resent", "in doubt after a crash: the same bytes are sent again")
        }
        InDoubtPolicy::Assume => (Step::ResolveAssume, "assumed", "in doubt after a crash: taken for accepted"),
        InDoubtPolicy::Hold => (Step::ResolveHold, "held", "in doubt after a crash: waits for a person"),
    }
}

async fn write(tx: &mut Tx, store: &Store, node: Node, doubts: &[Doubt], now: i64) -> Result<Resolved> {
    let mut resolved = Resolved::default();
    let mut tally = Tally::default();
    let (mut attempts, mut ready, mut held, mut done, mut events) = (vec![], vec![], vec![], vec![], vec![]);
    for (doubt, attempt) in doubts.iter().zip(store.next_ids(doubts.len())) {
        let (step, word, text) = step(doubt.policy);
        tally.add(doubt.workspace, doubt.campaign, counter::IN_DOUBT, -1);
        // The n of the attempt that was in the air; a resolved doubt does not use up an attempt of the policy.
        attempts.push(json!({
            "i": attempt, "d": doubt.delivery.get(), "w": doubt.workspace.get(), "c": doubt.campaign.map(CampaignId::get),
            "n": doubt.attempts + 1, "t": doubt.since, "x": text, "m": word,
        }));
        match after(QueueState::InDoubt, step) {
            Some(QueueState::Ready) => {
                resolved.resent += 1;
                tally.add(doubt.workspace, doubt.campaign, counter::IN_DOUBT_RESENT, 1);
                ready.push(doubt.delivery.get());
            }
            Some(QueueState::Held) => {
                resolved.held += 1;
                tally.add(doubt.workspace, doubt.campaign, counter::HELD, 1);
                held.push(doubt.delivery.get());
            }
            Some(QueueState::Done) => {
                resolved.assumed += 1;
                tally.add(doubt.workspace, doubt.campaign, OutcomeKind::Assumed.as_str(), 1);
                done.push(doubt.delivery.get());
                events.push(NewEvent {
                    workspace: doubt.workspace,
                    at: now,
                    kind: EventKind::Assumed,
                    delivery: Some(doubt.delivery),
                    contact: doubt.contact,
                    campaign: doubt.campaign,
                    attempt: Some(postrider_domain::id::AttemptId(attempt)),
                    data: None,
                });
            }
            Some(QueueState::InDoubt) | None => {}
        }
    }
    tx.execute(
        sql!(
            "INSERT INTO attempt (id, delivery_id, workspace_id, campaign_id, n, at, duration_ms, stage, result, text, host, ip, \
                                  source, tls, node, doubt) \
             SELECT r.i, r.d, r.w, r.c, r.n, r.t, 0, 'dot', 'broken', r.x, '', '', '', '', $2, r.m \
             FROM {rows $1 (i bigint, d bigint, w bigint, c bigint, n bigint, t bigint, x text, m text)} r"
        ),
        args![serde_json::Value::Array(attempts), node.id],
    )
    .await?;
    if !ready.is_empty() {
        tx.execute(
            sql!("UPDATE queue SET ready_at = $2, doubt_epoch = NULL, doubt_at = NULL WHERE delivery_id IN {ids $1}"),
            args![json!(ready), now],
        )
        .await?;
    }
    if !held.is_empty() {
        tx.execute(
            sql!(
                "UPDATE queue SET held_reason = 'in_doubt', held_at = $2, ready_at = $3, doubt_epoch = NULL, doubt_at = NULL \
                 WHERE delivery_id IN {ids $1}"
            ),
            args![json!(held), now, crate::steering::HELD_AT],
        )
        .await?;
    }
    if !done.is_empty() {
        finish(tx, &json!(done), OutcomeKind::Assumed, None, now).await?;
    }
    event::record(tx, node.id, &events).await?;
    tally.write(tx, node.id).await?;
    Ok(resolved)
}

/// Ends deliveries without an attempt of their own: the queue rows go, the identity of the first try stays. `text` takes
/// the place of what the last reply said. `deliveries` as JSON.
pub(crate) async fn finish(
    tx: &mut Tx,
    deliveries: &serde_json::Value,
    kind: OutcomeKind,
    text: Option<&str>,
    now: i64,
) -> Result<()> {
    tx.execute(
        sql!(
            "UPDATE delivery SET outcome = $2, outcome_at = $3, vars = NULL, first_try_at = q.first_try_at, \
               dkim_key_id = q.dkim_key_id, link_key = q.link_key, \
               last_text = coalesce($4, delivery.last_text) \
             FROM queue q WHERE q.delivery_id = delivery.id AND q.delivery_id IN {ids $1}"
        ),
        args![deliveries, kind.as_str(), now, text],
    )
    .await?;
    tx.execute(sql!("DELETE FROM queue WHERE delivery_id IN {ids $1}"), args![deliveries]).await?;
    Ok(())
}
