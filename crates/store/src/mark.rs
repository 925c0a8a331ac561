//! The mark: the durable note that the final dot of a delivery is about to go (DESIGN section 4, REL-3).
//!
//! A mark is refused when the lane is no longer ours, the campaign may not send, or the contact may not be written to any
//! more; a refused mark closes the connection without the dot. Must not know how a message is sent.

use std::collections::{HashMap, HashSet};

use postrider_domain::campaign::CampaignState;
use postrider_domain::consent::ConsentState;
use postrider_domain::contact::AddressState;
use postrider_domain::gate::{Facts, Presence, Withheld, may_send};
use postrider_domain::id::{CampaignId, DeliveryId, DkimKeyId, LaneId, WorkspaceId};
use postrider_domain::stream::Stream;
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};

use crate::counter::{self, Tally};
use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::node::Node;
use crate::read::{word, word_opt};
use crate::sql::{Row, args, sql};
use crate::store::Store;

/// Asks for a mark. What the first mark stores stays for every later try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkRequest {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The lane from which it was handed out.
    pub lane: LaneId,
    /// The epoch of our lease.
    pub lane_epoch: i64,
    /// Time of the first try, milliseconds UTC: of this one, when it is the first.
    pub first_try_at: i64,
    /// The DKIM key that signs, if one does.
    pub dkim_key: Option<DkimKeyId>,
    /// The link key that signs tokens.
    pub link_key: u8,
}

/// The answer to a [`MarkRequest`], durable when it is `Granted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkAnswer {
    /// The dot may go.
    Granted,
    /// It may not.
    Refused(MarkRefused),
}

/// Why a mark was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkRefused {
    /// The lane has another owner or epoch: forget everything about it.
    LaneLost,
    /// The campaign is paused or stopped.
    CampaignNotSending,
    /// The workspace is suspended.
    WorkspaceSuspended,
    /// The row is gone, marked already, or was moved: forget it.
    NotReady,
    /// The row waits for a person.
    Held,
    /// The disk is nearly full.
    NoSpace,
    /// The message may not go to this contact; settle it as withheld.
    Withheld(Withheld),
}

/// Whether the same group was tried before with an unknown end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Nothing of it can be in the database.
    First,
    /// The connection was lost; all or nothing of it is in the database.
    Repeated,
}

/// One row with all that decides about its mark.
struct Candidate {
    delivery: DeliveryId,
    lane: LaneId,
    workspace: WorkspaceId,
    campaign: Option<CampaignId>,
    doubt: Option<(i64, i64)>,
    held: bool,
    ours: bool,
    lane_epoch: i64,
    campaign_state: Option<CampaignState>,
    suspended: bool,
    facts: Facts,
}

/// Marks what may be marked. Runs inside the writer's transaction, after the node's epoch was tested.
///
/// When a commit before had an unknown end, a mark of ours at `now` is granted again.
pub(crate) async fn mark(
    tx: &mut Tx,
    node: Node,
    requests: &[MarkRequest],
    trial: Trial,
    now: i64,
    tally: &mut Tally,
) -> Result<Vec<MarkAnswer>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<serde_json::Value> = requests.iter().map(|r| serde_json::json!({"i": r.delivery.get()})).collect();
    let rows = tx
        .all(
            sql!(
                "SELECT q.delivery_id, q.lane_id, q.doubt_epoch, q.doubt_at, q.held_reason, l.owner, l.epoch AS lane_epoch, \
                        c.state, w.suspended_at, d.workspace_id, d.campaign_id, d.stream, d.contact_id, \
                        k.id AS present, k.erased_at, k.address_state, n.state AS consent, \
                   (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                      AND s.digest = d.digest AND (s.until IS NULL OR s.until > $2)) AS suppressed, \
                   (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                      AND s.domain = d.domain AND (s.until IS NULL OR s.until > $2)) AS domain_suppressed \
                 FROM {rows $1 (i bigint)} r \
                 JOIN queue q ON q.delivery_id = r.i \
                 JOIN lane l ON l.id = q.lane_id \
                 JOIN delivery d ON d.id = q.delivery_id \
                 JOIN workspace w ON w.id = d.workspace_id \
                 LEFT JOIN campaign c ON c.id = d.campaign_id \
                 LEFT JOIN contact k ON k.id = d.contact_id \
                 LEFT JOIN consent n ON n.contact_id = d.contact_id AND n.purpose_id = c.purpose_id"
            ),
            args![serde_json::Value::Array(ids), now],
        )
        .await?;
    let found = rows.iter().map(|row| candidate(row, node)).collect::<Result<Vec<_>>>()?;
    let found: HashMap<DeliveryId, Candidate> = found.into_iter().map(|c| (c.delivery, c)).collect();
    let mut asked = HashSet::new();
    let mut grants: Vec<serde_json::Value> = Vec::new();
    let mut answers: Vec<MarkAnswer> = requests
        .iter()
        .map(|request| {
            let answer = match found.get(&request.delivery) {
                Some(row) if asked.insert(request.delivery) => decide(request, row, trial, now),
                Some(_) | None => MarkAnswer::Refused(MarkRefused::NotReady),
            };
            if answer == MarkAnswer::Granted {
                grants.push(serde_json::json!({
                    "i": request.delivery.get(), "e": request.lane_epoch, "f": request.first_try_at,
                    "k": request.dkim_key.map(DkimKeyId::get), "l": request.link_key,
                }));
            }
            answer
        })
        .collect();
    let marked = set_marks(tx, grants, now).await?;
    for (request, answer) in requests.iter().zip(&mut answers) {
        if *answer != MarkAnswer::Granted {
            continue;
        }
        match found.get(&request.delivery) {
            Some(row) if marked.contains(&request.delivery) => {
                tally.add(row.workspace, row.campaign, counter::IN_DOUBT, 1);
            }
            // The commit before had reached the database after all.
            Some(row) if is_our_own(request, row, trial, now) => {}
            Some(_) | None => *answer = MarkAnswer::Refused(MarkRefused::NotReady),
        }
    }
    Ok(answers)
}

/// Writes the marks; the rows that really were ready.
async fn set_marks(tx: &mut Tx, grants: Vec<serde_json::Value>, now: i64) -> Result<HashSet<DeliveryId>> {
    if grants.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = tx
        .all(
            sql!(
                "UPDATE queue SET doubt_epoch = r.e, doubt_at = $2, \
                   dkim_key_id = CASE WHEN queue.first_try_at IS NULL THEN r.k ELSE queue.dkim_key_id END, \
                   link_key = CASE WHEN queue.first_try_at IS NULL THEN r.l ELSE queue.link_key END, \
                   first_try_at = coalesce(queue.first_try_at, r.f) \
                 FROM {rows $1 (i bigint, e bigint, f bigint, k bigint, l bigint)} r \
                 WHERE queue.delivery_id = r.i AND queue.doubt_epoch IS NULL AND queue.held_reason IS NULL \
                 RETURNING queue.delivery_id"
            ),
            args![serde_json::Value::Array(grants), now],
        )
        .await?;
    rows.iter().map(|row| Ok(DeliveryId(row.int("delivery_id")?))).collect()
}

fn candidate(row: &Row, node: Node) -> Result<Candidate> {
    Ok(Candidate {
        delivery: DeliveryId(row.int("delivery_id")?),
        lane: LaneId(row.int("lane_id")?),
        workspace: WorkspaceId(row.int("workspace_id")?),
        campaign: row.int_opt("campaign_id")?.map(CampaignId),
        doubt: row.int_opt("doubt_epoch")?.zip(row.int_opt("doubt_at")?),
        held: row.text_opt("held_reason")?.is_some(),
        ours: row.int_opt("owner")? == Some(node.id.get()),
        lane_epoch: row.int("lane_epoch")?,
        campaign_state: word_opt(row, "state", CampaignState::parse)?,
        suspended: row.int_opt("suspended_at")?.is_some(),
        facts: facts(row)?,
    })
}

/// Whether the row carries the mark that this very group wrote at a trial before.
fn is_our_own(request: &MarkRequest, row: &Candidate, trial: Trial, now: i64) -> bool {
    match trial {
        Trial::First => false,
        Trial::Repeated => row.doubt == Some((request.lane_epoch, now)),
    }
}

/// The rules of a mark, in the order in which an operator wants to hear about them.
fn decide(request: &MarkRequest, row: &Candidate, trial: Trial, now: i64) -> MarkAnswer {
    use MarkAnswer::{Granted, Refused};
    if row.lane != request.lane {
        return Refused(MarkRefused::NotReady);
    }
    if !row.ours || row.lane_epoch != request.lane_epoch {
        return Refused(MarkRefused::LaneLost);
    }
    if is_our_own(request, row, trial, now) {
        return Granted;
    }
    if row.doubt.is_some() {
        return Refused(MarkRefused::NotReady);
    }
    if row.held {
        return Refused(MarkRefused::Held);
    }
    if row.suspended {
        return Refused(MarkRefused::WorkspaceSuspended);
    }
    let sends = match (row.campaign, row.campaign_state) {
        (None, _) => true,
        (Some(_), state) => state.is_some_and(CampaignState::hands_out),
    };
    if !sends {
        return Refused(MarkRefused::CampaignNotSending);
    }
    match may_send(&row.facts) {
        Ok(()) => Granted,
        Err(reason) => Refused(MarkRefused::Withheld(reason)),
    }
}

/// What [`may_send`] must know, from the columns that mark and last look have in common.
fn facts(row: &Row) -> Result<Facts> {
    let stream = word(row, "stream", Stream::parse)?;
    let is_contact = row.int_opt("contact_id")?.is_some();
    let erased = is_contact && (row.int_opt("present")?.is_none() || row.int_opt("erased_at")?.is_some());
    let mut suppression: Option<(SuppressionScope, SuppressionReason)> = None;
    for column in ["suppressed", "domain_suppressed"] {
        let Some(text) = row.text_opt(column)? else { continue };
        let found = text
            .split_once(' ')
            .and_then(|(scope, reason)| SuppressionScope::parse(scope).zip(SuppressionReason::parse(reason)))
            .ok_or_else(|| StoreError::Corrupt(format!("column {column}: scope and reason of a suppression")))?;
        // `All` is the wider scope and the lesser value.
        suppression = Some(suppression.map_or(found, |present| present.min(found)));
    }
    Ok(Facts {
        stream,
        consent: word_opt(row, "consent", ConsentState::parse)?,
        suppression,
        address: word_opt(row, "address_state", AddressState::parse)?.unwrap_or(AddressState::Unchecked),
        contact: if erased { Presence::Erased } else { Presence::Present },
    })
}

impl Store {
    /// The facts of the last look right before MAIL FROM, for [`may_send`]; deliveries that are gone are left out.
    ///
    /// The mark asks the same again, in the transaction that grants it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_look(&self, deliveries: &[DeliveryId]) -> Result<Vec<(DeliveryId, Facts)>> {
        let ids: Vec<serde_json::Value> = deliveries.iter().map(|d| serde_json::json!({"i": d.get()})).collect();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.stream, d.contact_id, k.id AS present, k.erased_at, k.address_state, n.state AS consent, \
                       (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                          AND s.digest = d.digest AND (s.until IS NULL OR s.until > $2)) AS suppressed, \
                       (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                          AND s.domain = d.domain AND (s.until IS NULL OR s.until > $2)) AS domain_suppressed \
                     FROM {rows $1 (i bigint)} r JOIN delivery d ON d.id = r.i \
                     LEFT JOIN campaign c ON c.id = d.campaign_id \
                     LEFT JOIN contact k ON k.id = d.contact_id \
                     LEFT JOIN consent n ON n.contact_id = d.contact_id AND n.purpose_id = c.purpose_id"
                ),
                args![serde_json::Value::Array(ids), self.now()],
            )
            .await?;
        rows.iter().map(|row| Ok((DeliveryId(row.int("id")?), facts(row)?))).collect()
    }
}
