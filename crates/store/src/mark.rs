//! The mark: the durable note that the final dot of a delivery is about to go (DESIGN section 4, REL-3).
//!
//! A mark is refused when the lane is no longer ours, the campaign may not send, or the contact may not be written to any
//! more; a refused mark closes the connection without the dot. Must not know how a message is sent.

use std::collections::{HashMap, HashSet};

use postrider_domain::consent::ConsentState;
use postrider_domain::contact::AddressState;
use postrider_domain::gate::{Facts, Presence, Withheld, may_send};
use postrider_domain::id::{DeliveryId, DkimKeyId, LaneId};
use postrider_domain::stream::Stream;
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};

use crate::counter::{self, Tally};
use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::lane::HeldLane;
use crate::sql::{args, rows_json, sql};
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
    /// The generation of the rules of the queue by which the delivery was judged.
    pub rules: i64,
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
    /// The rules of the queue have changed since the delivery was judged: judge again.
    RulesChanged,
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

/// One row with all that decides about its mark; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Candidate {
    delivery: i64,
    lane: i64,
    doubt_epoch: Option<i64>,
    doubt_at: Option<i64>,
    held: Option<String>,
    known: Known,
}

/// The columns that mark and last look have in common.
#[derive(serde::Deserialize)]
struct Known {
    stream: Stream,
    contact: Option<i64>,
    present: Option<i64>,
    erased_at: Option<i64>,
    address: Option<AddressState>,
    consent: Option<ConsentState>,
    suppressed: Option<String>,
    domain_suppressed: Option<String>,
}

impl Known {
    /// What [`may_send`] must know.
    fn facts(&self) -> Result<Facts> {
        let erased = self.contact.is_some() && (self.present.is_none() || self.erased_at.is_some());
        let mut suppression: Option<(SuppressionScope, SuppressionReason)> = None;
        for text in [&self.suppressed, &self.domain_suppressed].into_iter().flatten() {
            let found = text
                .split_once(' ')
                .and_then(|(scope, reason)| SuppressionScope::parse(scope).zip(SuppressionReason::parse(reason)))
                .ok_or_else(|| StoreError::Corrupt("scope and reason of a suppression".into()))?;
            // `All` is the wider scope and the lesser value.
            suppression = Some(suppression.map_or(found, |present| present.min(found)));
        }
        Ok(Facts {
            stream: self.stream,
            consent: self.consent,
            suppression,
            address: self.address.unwrap_or(AddressState::Unchecked),
            contact: if erased { Presence::Erased } else { Presence::Present },
        })
    }
}

/// A mark to be written.
#[derive(serde::Serialize)]
struct Grant {
    i: i64,
    e: i64,
    f: i64,
    k: Option<i64>,
    l: u8,
}

/// A question about a row: the purpose is its campaign's.
#[derive(serde::Serialize)]
struct Question {
    i: i64,
    p: Option<i64>,
}

/// Marks what may be marked. Runs inside the writer's transaction, after the node's epoch was tested; `lanes` are those
/// of the requests that are ours.
///
/// When a commit before had an unknown end, a mark of ours at `now` is granted again.
pub(crate) async fn mark(
    tx: &mut Tx,
    lanes: &HashMap<i64, HeldLane>,
    requests: &[MarkRequest],
    trial: Trial,
    now: i64,
    tally: &mut Tally,
) -> Result<Vec<MarkAnswer>> {
    let ours = |request: &MarkRequest| lanes.get(&request.lane.get()).filter(|l| l.epoch == request.lane_epoch);
    let questions: Vec<Question> = requests
        .iter()
        .filter_map(|request| Some(Question { i: request.delivery.get(), p: ours(request)?.purpose }))
        .collect();
    let found = candidates(tx, &questions, now).await?;
    let mut asked = HashSet::new();
    let mut grants = Vec::new();
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        let Some(lane) = ours(request) else {
            answers.push(MarkAnswer::Refused(MarkRefused::LaneLost));
            continue;
        };
        let row = found.get(&request.delivery.get()).filter(|row| row.lane == request.lane.get());
        let Some(row) = row.filter(|_| asked.insert(request.delivery)) else {
            answers.push(MarkAnswer::Refused(MarkRefused::NotReady));
            continue;
        };
        let own = is_our_own(request, row, trial, now);
        let answer = if own { MarkAnswer::Granted } else { decide(lane, row, request.rules)? };
        if answer == MarkAnswer::Granted && !own {
            tally.add(lane.workspace(), lane.campaign(), counter::IN_DOUBT, 1);
            grants.push(Grant {
                i: request.delivery.get(),
                e: request.lane_epoch,
                f: request.first_try_at,
                k: request.dkim_key.map(DkimKeyId::get),
                l: request.link_key,
            });
        }
        answers.push(answer);
    }
    set_marks(tx, &grants, now).await?;
    Ok(answers)
}

/// The rows asked for, locked until the end of the transaction.
async fn candidates(tx: &mut Tx, questions: &[Question], now: i64) -> Result<HashMap<i64, Candidate>> {
    if questions.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<Candidate> = tx
        .one(
            sql!(
                "SELECT {pack p.delivery_id, p.lane_id, p.doubt_epoch, p.doubt_at, p.held_reason, \
                   {list p.stream, p.contact_id, p.present, p.erased_at, p.address_state, p.consent, p.suppressed, \
                         p.domain_suppressed}} AS packed \
                 FROM (SELECT q.delivery_id, q.lane_id, q.doubt_epoch, q.doubt_at, q.held_reason, d.stream, d.contact_id, \
                        k.id AS present, k.erased_at, k.address_state, n.state AS consent, \
                   (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                      AND s.digest = d.digest AND (s.until IS NULL OR s.until > $2)) AS suppressed, \
                   (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                      AND s.domain = d.domain AND (s.until IS NULL OR s.until > $2)) AS domain_suppressed \
                 FROM {rows $1 (i bigint, p bigint)} r \
                 JOIN queue q ON q.delivery_id = r.i \
                 JOIN delivery d ON d.id = q.delivery_id \
                 LEFT JOIN contact k ON k.id = d.contact_id \
                 LEFT JOIN consent n ON n.contact_id = d.contact_id AND n.purpose_id = r.p \
                 {for_update_of q}) p"
            ),
            args![rows_json(questions), now],
        )
        .await?
        .packed()?;
    Ok(found.into_iter().map(|c| (c.delivery, c)).collect())
}

/// Writes the marks of rows that were read and locked in this transaction. A link key is there from the first mark on,
/// a time from the first attempt on, which may have ended before a mark was asked for.
async fn set_marks(tx: &mut Tx, grants: &[Grant], now: i64) -> Result<()> {
    if grants.is_empty() {
        return Ok(());
    }
    let marked = tx
        .execute(
            sql!(
                "UPDATE queue SET doubt_epoch = r.e, doubt_at = $2, \
                   dkim_key_id = CASE WHEN queue.link_key IS NULL THEN r.k ELSE queue.dkim_key_id END, \
                   link_key = coalesce(queue.link_key, r.l), \
                   first_try_at = coalesce(queue.first_try_at, r.f) \
                 FROM {rows $1 (i bigint, e bigint, f bigint, k bigint, l bigint)} r \
                 WHERE queue.delivery_id = r.i AND queue.doubt_epoch IS NULL AND queue.held_reason IS NULL"
            ),
            args![rows_json(grants), now],
        )
        .await?;
    if marked != grants.len() as u64 {
        // Cannot be: they are locked. If it is, nobody is told that a dot may go.
        return Err(StoreError::Corrupt(format!("{marked} of {} marks were written", grants.len())));
    }
    Ok(())
}

/// Whether the row carries the mark that this very group wrote at a trial before.
fn is_our_own(request: &MarkRequest, row: &Candidate, trial: Trial, now: i64) -> bool {
    match trial {
        Trial::First => false,
        Trial::Repeated => row.doubt_epoch == Some(request.lane_epoch) && row.doubt_at == Some(now),
    }
}

/// The rules of a mark, in the order in which an operator wants to hear about them.
fn decide(lane: &HeldLane, row: &Candidate, rules: i64) -> Result<MarkAnswer> {
    use MarkAnswer::{Granted, Refused};
    Ok(if row.doubt_epoch.is_some() {
        Refused(MarkRefused::NotReady)
    } else if row.held.is_some() {
        Refused(MarkRefused::Held)
    } else if lane.is_suspended() {
        Refused(MarkRefused::WorkspaceSuspended)
    } else if !lane.hands_out() {
        Refused(MarkRefused::CampaignNotSending)
    } else if rules != lane.rules {
        Refused(MarkRefused::RulesChanged)
    } else {
        match may_send(&row.known.facts()?) {
            Ok(()) => Granted,
            Err(reason) => Refused(MarkRefused::Withheld(reason)),
        }
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
        let ids: Vec<i64> = deliveries.iter().map(|d| d.get()).collect();
        let known: Vec<(i64, Known)> = self
            .read()
            .await?
            .one(
                sql!(
                    "SELECT {pack p.id, {list p.stream, p.contact_id, p.present, p.erased_at, p.address_state, p.consent, \
                                            p.suppressed, p.domain_suppressed}} AS packed \
                     FROM (SELECT d.id, d.stream, d.contact_id, k.id AS present, k.erased_at, k.address_state, n.state AS consent, \
                       (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                          AND s.digest = d.digest AND (s.until IS NULL OR s.until > $2)) AS suppressed, \
                       (SELECT min(s.scope || ' ' || s.reason) FROM suppression s WHERE s.workspace_id = d.workspace_id \
                          AND s.domain = d.domain AND (s.until IS NULL OR s.until > $2)) AS domain_suppressed \
                     FROM {ids $1} r JOIN delivery d ON d.id = r.value \
                     LEFT JOIN campaign c ON c.id = d.campaign_id \
                     LEFT JOIN contact k ON k.id = d.contact_id \
                     LEFT JOIN consent n ON n.contact_id = d.contact_id AND n.purpose_id = c.purpose_id) p"
                ),
                args![rows_json(&ids), self.now()],
            )
            .await?
            .packed()?;
        known.into_iter().map(|(id, known)| Ok((DeliveryId(id), known.facts()?))).collect()
    }
}
