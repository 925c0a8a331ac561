//! What happened, person by person: totals of a campaign, deliveries as report rows, attempts, exclusions.
//!
//! Totals come from counters, listings from keyset pages over an index; nothing here counts a long table.

use std::collections::BTreeMap;

use postrider_domain::bounce::BounceClass;
use postrider_domain::campaign::CampaignState;
use postrider_domain::gate::Withheld;
use postrider_domain::id::{AttemptId, CampaignId, ContactId, DeliveryId, MessageId, WorkspaceId};
use postrider_domain::outcome::{AttemptResult, OutcomeKind, ReportStatus, report_status};
use postrider_domain::queue::Ledger;
use postrider_domain::stream::Stream;
use postrider_mail::stage::Stage;
use serde::Serialize;

use crate::Store;
use crate::counter::{ATTEMPTS, IN_DOUBT_RESENT, ledger_of};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{not_found, word, word_opt};
use crate::sql::{Row, args, sql};
use crate::tally::OPT_OUTS;

/// Rows looked at to tell time-outs from other expiries.
const EXPIRED_LOOK: i64 = 200_000;

/// The totals of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CampaignReport {
    /// The campaign.
    pub campaign: CampaignId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: CampaignState,
    /// When it was launched, i64 milliseconds UTC.
    pub launched_at: Option<i64>,
    /// When it was done, i64 milliseconds UTC.
    pub finished_at: Option<i64>,
    /// Accepted deliveries by the name of the node that sent them.
    pub by_node: BTreeMap<String, i64>,
    /// Every frozen delivery, accounted for once.
    pub ledger: Ledger,
    /// Contacts left out when the audience was frozen, by reason.
    pub excluded: BTreeMap<String, i64>,
    /// Deliveries withheld after freezing, by reason.
    pub withheld: BTreeMap<String, i64>,
    /// Attempts made.
    pub attempts: i64,
    /// Deliveries in doubt that were sent again.
    pub in_doubt_resent: i64,
    /// People who opted out through its links.
    pub opt_outs: i64,
}

/// A delivery as a report row: sent at, status, detail, attempt n of m.
#[derive(Clone, PartialEq, Serialize)]
pub struct DeliveryRow {
    /// Its id.
    pub id: DeliveryId,
    /// The campaign, if it belongs to one.
    pub campaign: Option<CampaignId>,
    /// The single message, if it is one.
    pub message: Option<MessageId>,
    /// The contact, if it has one.
    pub contact: Option<ContactId>,
    /// The mailbox; empty once erased.
    pub mailbox: String,
    /// The stream.
    pub stream: Stream,
    /// When the last attempt was made, i64 milliseconds UTC.
    pub sent_at: Option<i64>,
    /// The word of the row.
    pub status: ReportStatus,
    /// What the remote host said last, or why it was withheld or held.
    pub detail: String,
    /// Attempts made: the n of "n of m".
    pub attempt: i64,
    /// Attempts planned: the m of "n of m".
    pub of: i64,
    /// When the outcome was reached, i64 milliseconds UTC.
    pub outcome_at: Option<i64>,
    /// When it is tried again, i64 milliseconds UTC; while it is queued.
    pub next_at: Option<i64>,
}

impl std::fmt::Debug for DeliveryRow {
    /// Redacted: the mailbox must not reach a log by accident (SEC-74).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeliveryRow")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("attempt", &self.attempt)
            .field("of", &self.of)
            .finish_non_exhaustive()
    }
}

/// One try of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRow {
    /// Its id.
    pub id: AttemptId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which try it was, from 1.
    pub n: i64,
    /// When it began, i64 milliseconds UTC.
    pub at: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The step at which it ended.
    #[serde(serialize_with = "stage_word")]
    pub stage: Stage,
    /// How it ended.
    pub result: AttemptResult,
    /// The reply code.
    pub code: Option<i64>,
    /// The enhanced status.
    pub enhanced: Option<String>,
    /// What the remote host said, or what went wrong; empty once the contact is erased.
    pub text: String,
    /// The class that we read from it.
    pub class: Option<BounceClass>,
    /// The host.
    pub host: String,
    /// Its address.
    pub ip: String,
    /// The egress source.
    pub source: String,
    /// TLS version and cipher; empty for clear text.
    pub tls: String,
    /// What was done about it after a crash: `resent`, `assumed` or `held`.
    pub doubt: Option<String>,
    /// The rule that said what the reply means.
    pub rule: Option<String>,
    /// The version of the rules.
    pub rules: Option<String>,
}

/// The word of a stage: the mail crate is free of serde.
fn stage_word<S: serde::Serializer>(stage: &Stage, s: S) -> std::result::Result<S::Ok, S::Error> {
    s.serialize_str(stage.as_str())
}

/// A contact that was left out when the audience was frozen.
#[derive(Clone, PartialEq, Serialize)]
pub struct ExclusionRow {
    /// The contact.
    pub contact: ContactId,
    /// Its mailbox; empty once erased.
    pub mailbox: String,
    /// Why.
    pub reason: Withheld,
    /// When, i64 milliseconds UTC.
    pub at: i64,
}

/// Whose deliveries a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveriesOf {
    /// Of a campaign, with one status if named.
    Campaign(CampaignId, Option<ReportStatus>),
    /// Refused ones of a campaign, for one reason as their last attempt was judged.
    Bounced(CampaignId, BounceClass),
    /// Of a contact, newest first.
    Contact(ContactId),
    /// Of a single message.
    Message(MessageId),
    /// Of all single messages, newest first.
    SingleMessages,
}

/// Whose attempts a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptsOf {
    /// Of one delivery, in their order.
    Delivery(DeliveryId),
    /// Of a campaign, newest first.
    Campaign(CampaignId),
}

impl DeliveryRow {
    pub(crate) fn read(row: &Row) -> Result<DeliveryRow> {
        let outcome = word_opt(row, "outcome", OutcomeKind::parse)?;
        let last = word_opt(row, "last_result", AttemptResult::parse)?;
        let held = row.text_opt("held_reason")?;
        let status = match outcome {
            Some(kind) => report_status(kind, last),
            None if row.int_opt("doubt_epoch")?.is_some() => ReportStatus::InDoubt,
            None if held.is_some() => ReportStatus::Held,
            None => ReportStatus::Queued,
        };
        let said = row.text_opt("last_text")?;
        let detail = row.text_opt("reason")?.or(held).or(said).unwrap_or_default();
        Ok(DeliveryRow {
            id: DeliveryId(row.int("id")?),
            campaign: row.int_opt("campaign_id")?.map(CampaignId),
            message: row.int_opt("message_id")?.map(MessageId),
            contact: row.int_opt("contact_id")?.map(ContactId),
            mailbox: row.text("mailbox")?,
            stream: word(row, "stream", Stream::parse)?,
            sent_at: row.int_opt("last_at")?,
            status,
            detail,
            attempt: row.int("attempts")?,
            of: row.int("max_attempts")?,
            outcome_at: row.int_opt("outcome_at")?,
            // Held rows are ready at the end of time.
            next_at: row.int_opt("ready_at")?.filter(|at| *at < crate::steering::HELD_AT),
        })
    }
}

impl AttemptRow {
    pub(crate) fn read(row: &Row) -> Result<AttemptRow> {
        Ok(AttemptRow {
            id: AttemptId(row.int("id")?),
            delivery: DeliveryId(row.int("delivery_id")?),
            n: row.int("n")?,
            at: row.int("at")?,
            duration_ms: row.int("duration_ms")?,
            stage: word(row, "stage", Stage::parse)?,
            result: word(row, "result", AttemptResult::parse)?,
            code: row.int_opt("code")?,
            enhanced: row.text_opt("enhanced")?,
            text: row.text("text")?,
            class: word_opt(row, "class", BounceClass::parse)?,
            host: row.text("host")?,
            ip: row.text("ip")?,
            source: row.text("source")?,
            tls: row.text("tls")?,
            doubt: row.text_opt("doubt")?,
            rule: row.text_opt("rule")?,
            rules: row.text_opt("rules")?,
        })
    }
}

/// What a status means in the columns: the outcome, and whether the last attempt broke; `None`: unsettled.
const fn columns_of(status: ReportStatus) -> Option<(OutcomeKind, Option<bool>)> {
    match status {
        ReportStatus::Sent => Some((OutcomeKind::Accepted, None)),
        ReportStatus::Bounced => Some((OutcomeKind::Rejected, None)),
        ReportStatus::Timeout => Some((OutcomeKind::Expired, Some(true))),
        ReportStatus::Expired => Some((OutcomeKind::Expired, Some(false))),
        ReportStatus::Withheld => Some((OutcomeKind::Withheld, None)),
        ReportStatus::Cancelled => Some((OutcomeKind::Cancelled, None)),
        ReportStatus::Assumed => Some((OutcomeKind::Assumed, None)),
        ReportStatus::Queued | ReportStatus::InDoubt | ReportStatus::Held => None,
    }
}

impl Store {
    /// The totals of a campaign, from counters.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn campaign_report(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<CampaignReport> {
        // Live pages ask for this each second: two statements on one connection, and nothing of the text.
        let mut reader = self.read().await?;
        let head = reader
            .opt(
                sql!("SELECT name, state, launched_at, finished_at FROM campaign WHERE workspace_id = $1 AND id = $2"),
                args![workspace, campaign],
            )
            .await?
            .ok_or_else(|| not_found("campaign"))?;
        let rows = reader
            .all(
                sql!(
                    "SELECT c.name, c.value, n.name AS node FROM counter c LEFT JOIN node n ON n.id = c.node \
                     WHERE c.campaign_id = $1 AND c.workspace_id = $2"
                ),
                args![campaign, workspace],
            )
            .await?;
        drop(reader);
        let mut counts = BTreeMap::new();
        let mut by_node = BTreeMap::new();
        for row in &rows {
            let (name, value) = (row.text("name")?, row.int("value")?);
            if let Some(node) = row.text_opt("node")?.filter(|_| name == OutcomeKind::Accepted.as_str()) {
                *by_node.entry(node).or_insert(0) += value;
            }
            *counts.entry(name).or_insert(0) += value;
        }
        let group = |prefix: &str| {
            counts
                .iter()
                .filter_map(|(name, n)| name.strip_prefix(prefix).map(|reason| (reason.to_owned(), *n)))
                .collect::<BTreeMap<_, _>>()
        };
        let of = |name: &str| counts.get(name).copied().unwrap_or(0);
        Ok(CampaignReport {
            campaign,
            name: head.text("name")?,
            state: word(&head, "state", CampaignState::parse)?,
            launched_at: head.int_opt("launched_at")?,
            finished_at: head.int_opt("finished_at")?,
            by_node,
            ledger: ledger_of(&counts),
            excluded: group("excluded:"),
            withheld: group("withheld:"),
            attempts: of(ATTEMPTS),
            in_doubt_resent: of(IN_DOUBT_RESENT),
            opt_outs: of(OPT_OUTS),
        })
    }

    /// How many of a campaign's expired deliveries are time-outs; looks at most at 200,000 of them.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn timeouts(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<i64> {
        self.campaign_exists(workspace, campaign).await?;
        self.read()
            .await?
            .one(
                sql!(
                    "SELECT count(*) AS n FROM (SELECT last_result FROM delivery WHERE workspace_id = $1 \
                     AND campaign_id = $2 AND outcome = 'expired' LIMIT $3) d WHERE d.last_result = 'broken'"
                ),
                args![workspace, campaign, EXPIRED_LOOK],
            )
            .await?
            .int("n")
    }

    /// Why a campaign's refused deliveries were refused, as their last attempts were judged; looks at most at 200,000.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn bounces(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<Vec<(BounceClass, i64)>> {
        self.campaign_exists(workspace, campaign).await?;
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT coalesce(a.class, 'unknown') AS class, count(*) AS n FROM \
                     (SELECT id, attempts FROM delivery WHERE workspace_id = $1 AND campaign_id = $2 \
                     AND outcome = 'rejected' ORDER BY id LIMIT $3) d \
                     LEFT JOIN attempt a ON a.delivery_id = d.id AND a.n = d.attempts \
                     GROUP BY coalesce(a.class, 'unknown') ORDER BY n DESC, class"
                ),
                args![workspace, campaign, EXPIRED_LOOK],
            )
            .await?
            .iter()
            .map(|row| Ok((word(row, "class", BounceClass::parse)?, row.int("n")?)))
            .collect()
    }

    pub(crate) async fn campaign_exists(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<()> {
        self.read()
            .await?
            .opt(sql!("SELECT id FROM campaign WHERE workspace_id = $1 AND id = $2"), args![workspace, campaign])
            .await?
            .map(|_| ())
            .ok_or_else(|| not_found("campaign"))
    }

    /// A page of deliveries as report rows.
    ///
    /// # Errors
    /// The workspace has no such campaign or contact, or the cursor is foreign.
    pub async fn deliveries(
        &self,
        workspace: WorkspaceId,
        of: DeliveriesOf,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        match of {
            DeliveriesOf::Campaign(campaign, None) => {
                self.campaign_exists(workspace, campaign).await?;
                self.deliveries_by_contact(workspace, campaign, page).await
            }
            DeliveriesOf::Campaign(campaign, Some(status)) => {
                self.campaign_exists(workspace, campaign).await?;
                match columns_of(status) {
                    Some((kind, broken)) => self.deliveries_settled(workspace, campaign, kind, broken, page).await,
                    None => self.deliveries_open(workspace, campaign, status, page).await,
                }
            }
            DeliveriesOf::Bounced(campaign, class) => {
                self.campaign_exists(workspace, campaign).await?;
                self.deliveries_bounced(workspace, campaign, class, page).await
            }
            DeliveriesOf::Contact(contact) => self.deliveries_of_contact(workspace, contact, page).await,
            DeliveriesOf::Message(message) => self.deliveries_of_message(workspace, message, page).await,
            DeliveriesOf::SingleMessages => self.deliveries_of_messages(workspace, page).await,
        }
    }

    /// One delivery as a report row.
    ///
    /// # Errors
    /// The workspace has no such delivery.
    pub async fn delivery(&self, workspace: WorkspaceId, id: DeliveryId) -> Result<DeliveryRow> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM delivery d \
                     WHERE d.workspace_id = $1 AND d.id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        DeliveryRow::read(&row.ok_or_else(|| not_found("delivery"))?)
    }

    /// A page of attempts.
    ///
    /// # Errors
    /// The workspace has no such delivery or campaign, or the cursor is foreign.
    pub async fn attempts(
        &self,
        workspace: WorkspaceId,
        of: AttemptsOf,
        page: &PageRequest,
    ) -> Result<Page<AttemptRow>> {
        let limit = page.rows();
        let rows = match of {
            AttemptsOf::Delivery(delivery) => {
                self.delivery(workspace, delivery).await?;
                let after: i64 = page.position("attempt-delivery")?.unwrap_or(0);
                let rows = self
                    .read()
                    .await?
                    .all(
                        sql!(
                            "SELECT id, delivery_id, n, at, duration_ms, stage, result, code, enhanced, text, class, host, \
                             ip, source, tls, doubt, rule, rules FROM attempt \
                             WHERE delivery_id = $2 AND workspace_id = $1 AND id + 0 > $3 ORDER BY id + 0 LIMIT $4"
                        ),
                        args![workspace, delivery, after, limit + 1],
                    )
                    .await?;
                let rows = rows.iter().map(AttemptRow::read).collect::<Result<Vec<_>>>()?;
                return Ok(Page::cut(rows, limit, "attempt-delivery", |row| row.id.get()));
            }
            AttemptsOf::Campaign(campaign) => {
                self.campaign_exists(workspace, campaign).await?;
                let before: i64 = page.position("attempt-campaign")?.unwrap_or(i64::MAX);
                self.read()
                    .await?
                    .all(
                        sql!(
                            "SELECT id, delivery_id, n, at, duration_ms, stage, result, code, enhanced, text, class, host, \
                             ip, source, tls, doubt, rule, rules FROM attempt \
                             WHERE workspace_id = $1 AND campaign_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
                        ),
                        args![workspace, campaign, before, limit + 1],
                    )
                    .await?
            }
        };
        let rows = rows.iter().map(AttemptRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "attempt-campaign", |row| row.id.get()))
    }

    /// Who was left out of a campaign, and why.
    ///
    /// # Errors
    /// The workspace has no such campaign, or the cursor is foreign.
    pub async fn exclusions(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        page: &PageRequest,
    ) -> Result<Page<ExclusionRow>> {
        self.exclusions_for(workspace, campaign, None, page).await
    }

    /// As [`Store::exclusions`], for one reason if named.
    ///
    /// # Errors
    /// As there.
    pub async fn exclusions_for(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        reason: Option<Withheld>,
        page: &PageRequest,
    ) -> Result<Page<ExclusionRow>> {
        self.campaign_exists(workspace, campaign).await?;
        let after: i64 = page.position("exclusion")?.unwrap_or(0);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT e.contact_id, coalesce(c.mailbox, '') AS mailbox, e.reason, e.at FROM exclusion e \
                     LEFT JOIN contact c ON c.id = e.contact_id AND c.workspace_id = e.workspace_id \
                     WHERE e.campaign_id = $2 AND e.workspace_id = $1 AND e.contact_id > $3 \
                     AND (CAST($5 AS TEXT) IS NULL OR e.reason = $5) ORDER BY e.contact_id LIMIT $4"
                ),
                args![workspace, campaign, after, limit + 1, reason.map(|r| r.as_str())],
            )
            .await?;
        let rows = rows
            .iter()
            .map(|row| {
                Ok(ExclusionRow {
                    contact: ContactId(row.int("contact_id")?),
                    mailbox: row.text("mailbox")?,
                    reason: word(row, "reason", Withheld::parse)?,
                    at: row.int("at")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "exclusion", |row| row.contact.get()))
    }
}

impl std::fmt::Debug for ExclusionRow {
    /// Redacted, as [`DeliveryRow`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExclusionRow")
            .field("contact", &self.contact)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
