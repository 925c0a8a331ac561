//! Settling: the only way out of the queue's states for the owner of a lane.
//!
//! Attempt, next state, counters, events and suppression are one transaction, in set statements over the whole batch.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use postrider_domain::bounce::BounceClass;
use postrider_domain::event::{Consequence, EventKind, News, consequences};
use postrider_domain::gate::Withheld;
use postrider_domain::id::{AttemptId, CampaignId, ContactId, DeliveryId, LaneId};
use postrider_domain::outcome::{AttemptResult, Outcome, OutcomeKind};
use postrider_domain::queue::{QueueState, Step, after};
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use postrider_mail::Stage;
use serde_json::json;

use crate::counter::{self, Tally};
use crate::db::Tx;
use crate::error::Result;
use crate::event::NewEvent;
use crate::lane::HeldLane;
use crate::mark::Trial;
use crate::node::Node;
use crate::soft_bounce::{self, Bounced, Said};
use crate::sql::{args, rows_json, sql};

/// Longest stored text of a reply, in characters.
const MAX_TEXT: usize = 1_000;

/// How an attempt went: what a report row and a support case need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// When it began, milliseconds UTC.
    pub at: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The step at which it ended.
    pub stage: Stage,
    /// How it ended.
    pub result: AttemptResult,
    /// The reply code, when there was a reply.
    pub code: Option<u16>,
    /// The enhanced status (RFC 3463), when there was one.
    pub enhanced: Option<String>,
    /// The text of the reply, or what went wrong in our words.
    pub text: String,
    /// The class that we read from it.
    pub class: Option<BounceClass>,
    /// The host, as named by its MX record or route.
    pub host: String,
    /// Its address.
    pub ip: String,
    /// The egress source used.
    pub source: String,
    /// TLS version and cipher, or empty for clear text.
    pub tls: String,
    /// The rule that said what the reply means, and the version of the rules (BC-7); `None` when none was asked.
    pub rule: Option<RuleUsed>,
}

/// Which rule read a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleUsed {
    /// Its id, or what stands for one: `status.5.1.1`, `code.550`, `none`.
    pub id: String,
    /// The version of the rules.
    pub version: String,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ready again at this time, milliseconds UTC. Without an attempt: it waited for our own limits, or the dot never
    /// went.
    Later {
        /// When.
        ready_at: i64,
    },
    /// It has reached its outcome.
    Done(Outcome),
}

/// The owner's word on a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The lane from which it was handed out.
    pub lane: LaneId,
    /// The epoch of our lease.
    pub lane_epoch: i64,
    /// The attempt, when one was made.
    pub attempt: Option<AttemptRecord>,
    /// What becomes of it.
    pub next: Next,
    /// The mailbox is proved dead in our own session.
    pub suppress: Option<SuppressionReason>,
    /// It ended for a reason that counts softly: the class of what the host said.
    pub soft: Option<BounceClass>,
}

/// A settle on its way, with the id of its attempt fixed, so that writing it twice is seen.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) settle: Settle,
    pub(crate) attempt: AttemptId,
}

/// The queue row of a settle; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Present {
    delivery: i64,
    attempts: i64,
    doubt_epoch: Option<i64>,
    held: Option<String>,
    contact: Option<i64>,
    /// The count of soft bounces of its mailbox, if there is one.
    soft: Option<i64>,
}

impl Present {
    fn state(&self) -> QueueState {
        match (self.doubt_epoch, &self.held) {
            (Some(_), _) => QueueState::InDoubt,
            (None, Some(_)) => QueueState::Held,
            (None, None) => QueueState::Ready,
        }
    }
}

/// A row of `attempt`, with short names because they are repeated in each row's JSON.
#[derive(serde::Serialize)]
struct AttemptRow<'a> {
    i: i64,
    d: i64,
    w: i64,
    c: Option<i64>,
    n: i64,
    t: i64,
    ms: i64,
    s: &'a str,
    r: &'a str,
    co: Option<u16>,
    en: Option<Cow<'a, str>>,
    x: Cow<'a, str>,
    cl: Option<&'a str>,
    h: Cow<'a, str>,
    ip: Cow<'a, str>,
    so: Cow<'a, str>,
    tl: Cow<'a, str>,
    ru: Option<&'a str>,
    rv: Option<&'a str>,
}

/// What changes in `queue` and `delivery`.
#[derive(serde::Serialize)]
struct NextRow<'a> {
    i: i64,
    n: i64,
    r: Option<&'a str>,
    t: Option<i64>,
    x: Option<Cow<'a, str>>,
    /// When it is ready again.
    at: Option<i64>,
    /// Outcome and reason.
    o: Option<&'a str>,
    w: Option<&'a str>,
}

/// What a batch of settles changes, collected for set statements.
#[derive(Default)]
struct Changes<'a> {
    attempts: Vec<AttemptRow<'a>>,
    later: Vec<NextRow<'a>>,
    done: Vec<NextRow<'a>>,
    suppress: Vec<(DeliveryId, SuppressionReason, SuppressionScope)>,
    said: Said,
    events: Vec<NewEvent>,
}

/// What [`settle`] did.
pub(crate) struct Settled {
    /// Events to be written at the end of the transaction.
    pub(crate) events: Vec<NewEvent>,
    /// Settles that no longer had a row of ours: taken over, cancelled, or written before.
    pub(crate) stale: usize,
}

/// Carries out the owner's words. Runs inside the writer's transaction, after the node's epoch was tested; `lanes` are
/// those of the batch that are ours.
pub(crate) async fn settle(
    tx: &mut Tx,
    node: Node,
    lanes: &HashMap<i64, HeldLane>,
    batch: &[Pending],
    trial: Trial,
    now: i64,
    tally: &mut Tally,
) -> Result<Settled> {
    let ours = |p: &Pending| lanes.get(&p.settle.lane.get()).filter(|l| l.epoch == p.settle.lane_epoch);
    let present = present(tx, batch.iter().filter(|p| ours(p).is_some()), trial).await?;
    let mut changes = Changes::default();
    let mut seen = HashSet::new();
    let mut stale = 0;
    for pending in batch {
        let delivery = pending.settle.delivery;
        let step = match pending.settle.next {
            Next::Later { .. } => Step::SettleLater,
            Next::Done(_) => Step::SettleDone,
        };
        match (ours(pending), present.get(&delivery)) {
            (Some(lane), Some(row)) if after(row.state(), step).is_some() && seen.insert(delivery) => {
                collect(&mut changes, tally, pending, lane, row, now);
            }
            (Some(_) | None, Some(_) | None) => stale += 1,
        }
    }
    write(tx, node, &changes, now).await?;
    let limited = soft_bounce::count(tx, &changes.said, now).await?;
    for limited in limited {
        // The event of its end came in this batch and knows whose it is.
        let Some(end) = changes.events.iter().find(|event| event.delivery == Some(limited.delivery)) else { continue };
        let data = json!({
            "reason": SuppressionReason::BounceLimit.as_str(), "scope": limited.scope.as_str(), "bounces": limited.bounces,
        });
        let event = NewEvent { kind: EventKind::Suppressed, data: Some(data), ..end.clone() };
        changes.events.push(event);
    }
    Ok(Settled { events: changes.events, stale })
}

/// The rows of lanes that are ours, locked until the end of the transaction.
async fn present(
    tx: &mut Tx,
    batch: impl Iterator<Item = &Pending>,
    trial: Trial,
) -> Result<HashMap<DeliveryId, Present>> {
    #[derive(serde::Serialize)]
    struct Key {
        i: i64,
        l: i64,
        e: i64,
        a: i64,
    }
    let keys: Vec<Key> = batch
        .map(|p| Key { i: p.settle.delivery.get(), l: p.settle.lane.get(), e: p.settle.lane_epoch, a: p.attempt.get() })
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let repeated = match trial {
        Trial::First => 0,
        Trial::Repeated => 1,
    };
    let rows: Vec<Present> = tx
        .one(
            sql!(
                "SELECT {pack p.delivery_id, p.attempts, p.doubt_epoch, p.held_reason, p.contact_id, p.soft} AS packed \
                 FROM (SELECT q.delivery_id, q.attempts, q.doubt_epoch, q.held_reason, d.contact_id, \
                     (SELECT s.id FROM soft_bounce s WHERE s.workspace_id = d.workspace_id AND s.digest = d.digest) AS soft \
                   FROM {rows $1 (i bigint, l bigint, e bigint, a bigint)} r \
                   JOIN queue q ON q.delivery_id = r.i AND q.lane_id = r.l \
                   JOIN delivery d ON d.id = q.delivery_id \
                   WHERE (q.doubt_epoch IS NULL OR q.doubt_epoch = r.e) \
                     AND ($2 = 0 OR NOT EXISTS (SELECT 1 FROM attempt a WHERE a.id = r.a)) {for_update_of q}) p"
            ),
            args![rows_json(&keys), repeated],
        )
        .await?
        .packed()?;
    Ok(rows.into_iter().map(|row| (DeliveryId(row.delivery), row)).collect())
}

/// One settle's share of every table.
fn collect<'a>(
    changes: &mut Changes<'a>,
    tally: &mut Tally,
    pending: &'a Pending,
    lane: &HeldLane,
    row: &Present,
    now: i64,
) {
    let Settle { delivery, attempt, next, suppress, soft, .. } = &pending.settle;
    let (workspace, campaign) = (lane.workspace(), lane.campaign());
    let made = row.attempts + i64::from(attempt.is_some());
    if row.state() == QueueState::InDoubt {
        tally.add(workspace, campaign, counter::IN_DOUBT, -1);
    }
    let text = attempt.as_ref().map(|a| clean(&a.text));
    if let Some(a) = attempt {
        tally.add(workspace, campaign, counter::ATTEMPTS, 1);
        changes.attempts.push(AttemptRow {
            i: pending.attempt.get(),
            d: delivery.get(),
            w: workspace.get(),
            c: campaign.map(CampaignId::get),
            n: made,
            t: a.at,
            ms: a.duration_ms,
            s: a.stage.as_str(),
            r: a.result.as_str(),
            co: a.code,
            en: a.enhanced.as_deref().map(clean),
            x: clean(&a.text),
            cl: a.class.map(BounceClass::as_str),
            h: clean(&a.host),
            ip: clean(&a.ip),
            so: clean(&a.source),
            tl: clean(&a.tls),
            ru: a.rule.as_ref().map(|rule| rule.id.as_str()),
            rv: a.rule.as_ref().map(|rule| rule.version.as_str()),
        });
    }
    // A delivery's own columns say how its last attempt went; a settle without attempt leaves them.
    let mut columns = NextRow {
        i: delivery.get(),
        n: made,
        r: attempt.as_ref().map(|a| a.result.as_str()),
        t: attempt.as_ref().map(|a| a.at),
        x: text,
        at: None,
        o: None,
        w: None,
    };
    match next {
        Next::Later { ready_at } => {
            if attempt.is_some() {
                tally.moment(workspace, campaign, "deferred", now);
            }
            columns.at = Some(*ready_at);
            changes.later.push(columns);
        }
        Next::Done(outcome) => {
            columns.o = Some(outcome.kind().as_str());
            columns.w = outcome.reason().map(Withheld::as_str);
            changes.done.push(columns);
            tally.add(workspace, campaign, outcome.kind().as_str(), 1);
            match outcome.kind() {
                kind @ (OutcomeKind::Accepted | OutcomeKind::Rejected | OutcomeKind::Expired) => {
                    tally.moment(workspace, campaign, kind.as_str(), now);
                }
                // Not what remote hosts said: the totals have them.
                OutcomeKind::Withheld | OutcomeKind::Cancelled | OutcomeKind::Assumed => {}
            }
            if let Some(reason) = outcome.reason() {
                tally.add(workspace, campaign, &counter::withheld(reason), 1);
            }
            match (outcome.kind(), soft) {
                (OutcomeKind::Accepted, _) => changes.said.cleared.extend(row.soft),
                (OutcomeKind::Rejected | OutcomeKind::Expired, Some(class)) => {
                    changes.said.growing.extend(row.soft);
                    let t = attempt.as_ref().map_or(now, |a| a.at);
                    changes.said.bounced.push(Bounced { i: delivery.get(), c: *class, t });
                }
                (OutcomeKind::Rejected | OutcomeKind::Expired, None)
                | (OutcomeKind::Withheld | OutcomeKind::Cancelled | OutcomeKind::Assumed, _) => {}
            }
        }
    }
    let mut event = |kind, data| {
        changes.events.push(NewEvent {
            workspace,
            at: attempt.as_ref().map_or(now, |a| a.at + a.duration_ms),
            kind,
            delivery: Some(*delivery),
            contact: row.contact.map(ContactId),
            campaign,
            attempt: attempt.as_ref().map(|_| pending.attempt),
            data,
        });
    };
    match next {
        Next::Done(outcome) => event(kind_of(outcome.kind()), outcome.reason().map(|r| json!({"reason": r.as_str()}))),
        Next::Later { .. } if attempt.is_some() => event(EventKind::Deferred, None),
        Next::Later { .. } => {}
    }
    for consequence in suppress.iter().flat_map(|reason| consequences(News::DeadMailbox(*reason), None)) {
        match consequence {
            Consequence::Suppress(reason, scope) => {
                changes.suppress.push((*delivery, reason, scope));
                event(EventKind::Suppressed, Some(json!({"reason": reason.as_str(), "scope": scope.as_str()})));
            }
            // A dead mailbox says nothing about consent.
            Consequence::Withdraw | Consequence::WithdrawAll => {}
        }
    }
}

/// The event of an outcome.
pub(crate) const fn kind_of(kind: OutcomeKind) -> EventKind {
    match kind {
        OutcomeKind::Accepted => EventKind::Accepted,
        OutcomeKind::Rejected => EventKind::Rejected,
        OutcomeKind::Expired => EventKind::Expired,
        OutcomeKind::Withheld => EventKind::Withheld,
        OutcomeKind::Cancelled => EventKind::Cancelled,
        OutcomeKind::Assumed => EventKind::Assumed,
    }
}

async fn write(tx: &mut Tx, node: Node, changes: &Changes<'_>, now: i64) -> Result<()> {
    if !changes.attempts.is_empty() {
        tx.execute(
            sql!(
                "INSERT INTO attempt (id, delivery_id, workspace_id, campaign_id, n, at, duration_ms, stage, result, code, \
                                      enhanced, text, class, host, ip, source, tls, node, doubt, rule, rules) \
                 SELECT r.i, r.d, r.w, r.c, r.n, r.t, r.ms, r.s, r.r, r.co, r.en, r.x, r.cl, r.h, r.ip, r.so, r.tl, $2, NULL, r.ru, r.rv \
                 FROM {rows $1 (i bigint, d bigint, w bigint, c bigint, n bigint, t bigint, ms bigint, s text, r text, \
                                co bigint, en text, x text, cl text, h text, ip text, so text, tl text, \
                                ru text, rv text)} r"
            ),
            args![rows_json(&changes.attempts), node.id],
        )
        .await?;
    }
    if !changes.done.is_empty() {
        // The identity of the first try moves from the queue row, which goes, to the delivery, which stays.
        tx.execute(
            sql!(
                "UPDATE delivery SET outcome = r.o, reason = r.w, outcome_at = $2, vars = NULL, attempts = r.n, \
                   last_result = coalesce(r.r, delivery.last_result), last_at = coalesce(r.t, delivery.last_at), \
                   last_text = coalesce(r.x, delivery.last_text), first_try_at = coalesce(q.first_try_at, r.t), \
                   dkim_key_id = q.dkim_key_id, link_key = q.link_key \
                 FROM {rows $1 (i bigint, n bigint, r text, t bigint, x text, o text, w text)} r \
                 JOIN queue q ON q.delivery_id = r.i \
                 WHERE delivery.id = r.i"
            ),
            args![rows_json(&changes.done), now],
        )
        .await?;
        let ids: Vec<i64> = changes.done.iter().map(|row| row.i).collect();
        tx.execute(sql!("DELETE FROM queue WHERE delivery_id IN {ids $1}"), args![rows_json(&ids)]).await?;
    }
    if !changes.later.is_empty() {
        let rows = rows_json(&changes.later);
        // A first attempt that got no connection was never marked; its time begins the lifetime and stays the Date.
        tx.execute(
            sql!(
                "UPDATE queue SET ready_at = r.at, attempts = r.n, doubt_epoch = NULL, doubt_at = NULL, \
                   first_try_at = coalesce(queue.first_try_at, r.t) \
                 FROM {rows $1 (i bigint, n bigint, at bigint, t bigint)} r WHERE queue.delivery_id = r.i"
            ),
            args![rows.clone()],
        )
        .await?;
        tx.execute(
            sql!(
                "UPDATE delivery SET attempts = r.n, last_result = r.r, last_at = r.t, last_text = r.x \
                 FROM {rows $1 (i bigint, n bigint, r text, t bigint, x text)} r \
                 WHERE delivery.id = r.i AND r.r IS NOT NULL"
            ),
            args![rows],
        )
        .await?;
    }
    for (delivery, reason, scope) in &changes.suppress {
        // Few in a batch: only proof in our own session comes here.
        tx.execute(
            sql!(
                "INSERT INTO suppression (id, workspace_id, digest, mailbox_norm, domain, reason, scope, source, since, until, \
                                          delivery_id) \
                 SELECT $1, workspace_id, digest, mailbox_norm, NULL, $3, $4, 'session', $5, NULL, id \
                 FROM delivery WHERE id = $2 \
                 ON CONFLICT (workspace_id, digest, scope) DO UPDATE \
                 SET reason = excluded.reason, source = excluded.source, since = excluded.since, until = NULL, \
                   delivery_id = excluded.delivery_id, evidence = NULL \
                 WHERE suppression.until IS NOT NULL"
            ),
            // A delivery suppresses at most once, so its own number is free as an id of this table.
            args![*delivery, *delivery, reason.as_str(), scope.as_str(), now],
        )
        .await?;
    }
    Ok(())
}

/// Text from outside, fit for every place where it is shown: no control characters, not endless.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let control = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    if text.len() <= MAX_TEXT && !text.chars().any(control) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(MAX_TEXT).map(|c| if control(c) { ' ' } else { c }).collect())
}
