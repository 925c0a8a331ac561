//! Pages of deliveries, each along an index of its own: by contact, by outcome, by person, by message.
//!
//! What stands in the queue is looked up per shown row, never joined, and `+ 0` keeps the primary key out of the choice:
//! a database without fresh statistics must find the same way. Must not decide what a row says: that is
//! [`crate::report::DeliveryRow`].

use postrider_domain::bounce::BounceClass;
use postrider_domain::contact::has_control;
use postrider_domain::id::{CampaignId, ContactId, MessageId, WorkspaceId};
use postrider_domain::outcome::{OutcomeKind, ReportStatus};

use crate::Store;
use crate::counter::{HELD, IN_DOUBT};
use crate::error::Result;
use crate::page::{Page, PageRequest, after_prefix};
use crate::read::not_found;
use crate::report::DeliveryRow;
use crate::sql::{args, sql};

/// Pages of a search that are read to fill one with a rare status.
const SEARCH_LOOKS: usize = 20;

impl Store {
    /// All deliveries of a campaign in the order of their contacts, which is that of the unique index. The workspace is
    /// tested outside the page: inside, PostgreSQL takes the test for rare and sorts the whole campaign instead.
    pub(crate) async fn deliveries_by_contact(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        let after: i64 = page.position("delivery-contact")?.unwrap_or(0);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM \
                     (SELECT * FROM delivery WHERE campaign_id = $2 AND contact_id > $3 ORDER BY contact_id LIMIT $4) d \
                     WHERE d.workspace_id = $1 ORDER BY d.contact_id"
                ),
                args![workspace, campaign, after, limit + 1],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-contact", |row| row.contact.map_or(0, ContactId::get)))
    }

    pub(crate) async fn deliveries_settled(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        kind: OutcomeKind,
        broken: Option<bool>,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        let after: i64 = page.position("delivery-outcome")?.unwrap_or(0);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM delivery d \
                     WHERE d.workspace_id = $1 AND d.campaign_id = $2 AND d.outcome = $3 AND d.id > $4 \
                     AND (CAST($5 AS TEXT) IS NULL OR ($5 = 'yes') = (coalesce(d.last_result, '') = 'broken')) \
                     ORDER BY d.id LIMIT $6"
                ),
                args![
                    workspace,
                    campaign,
                    kind.as_str(),
                    after,
                    broken.map(|broken| if broken { "yes" } else { "no" }),
                    limit + 1
                ],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-outcome", |row| row.id.get()))
    }

    /// The refused deliveries whose last attempt was judged so.
    pub(crate) async fn deliveries_bounced(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        class: BounceClass,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        let after: i64 = page.position("delivery-bounced")?.unwrap_or(0);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     CAST(NULL AS BIGINT) AS ready_at, CAST(NULL AS TEXT) AS held_reason, \
                     CAST(NULL AS BIGINT) AS doubt_epoch FROM delivery d \
                     WHERE d.workspace_id = $1 AND d.campaign_id = $2 AND d.outcome = 'rejected' AND d.id > $3 \
                     AND coalesce((SELECT a.class FROM attempt a WHERE a.delivery_id = d.id AND a.n = d.attempts), \
                     'unknown') = $4 ORDER BY d.id LIMIT $5"
                ),
                args![workspace, campaign, after, class.as_str(), limit + 1],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-bounced", |row| row.id.get()))
    }

    /// Deliveries of a campaign to mailboxes that begin with a text, case ignored, by mailbox; with one status if named.
    ///
    /// # Errors
    /// The workspace has no such campaign, or the cursor is foreign.
    pub async fn find_deliveries(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        prefix: &str,
        status: Option<ReportStatus>,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        self.campaign_exists(workspace, campaign).await?;
        let mut last: String = page.position("delivery-mailbox")?.unwrap_or_default();
        if has_control(prefix) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let prefix = prefix.trim().to_lowercase();
        let end = after_prefix(&prefix).unwrap_or_else(|| "\u{10FFFF}".into());
        let limit = page.rows();
        let mut found = Vec::new();
        // Few rows begin with what somebody typed, so the status is looked at after they are read; never without end.
        for _ in 0..SEARCH_LOOKS {
            let rows = self
                .read()
                .await?
                .all(
                    sql!(
                        "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.mailbox_norm, d.stream, \
                         d.outcome, d.reason, d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, \
                         d.last_text, (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                         (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                         (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM \
                         (SELECT * FROM delivery WHERE campaign_id = $2 AND mailbox_norm >= $3 AND mailbox_norm < $4 \
                         AND mailbox_norm > $5 ORDER BY mailbox_norm LIMIT $6) d \
                         WHERE d.workspace_id = $1 ORDER BY d.mailbox_norm"
                    ),
                    args![workspace, campaign, prefix.as_str(), end.as_str(), last.as_str(), limit + 1],
                )
                .await?;
            let many = rows.len();
            for row in &rows {
                let norm = row.text("mailbox_norm")?;
                let shown = DeliveryRow::read(row)?;
                last.clone_from(&norm);
                if status.is_none_or(|status| status == shown.status) {
                    found.push((norm, shown));
                }
            }
            let enough = usize::try_from(limit).unwrap_or(usize::MAX);
            if many <= enough {
                return Ok(Page::cut(found, limit, "delivery-mailbox", |(norm, _)| norm.clone()).map(|(_, row)| row));
            }
            if found.len() > enough {
                break;
            }
        }
        let next = Page::<DeliveryRow>::after("delivery-mailbox", &last);
        let page = Page::cut(found, limit, "delivery-mailbox", |(norm, _)| norm.clone()).map(|(_, row)| row);
        Ok(Page { next: page.next.or(Some(next)), items: page.items })
    }

    pub(crate) async fn deliveries_open(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        status: ReportStatus,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        let after: i64 = page.position("delivery-open")?.unwrap_or(0);
        let limit = page.rows();
        // Few rows of a long queue are in doubt or held, and they stand near its front: knowing how many there are lets
        // the search stop when it has them.
        let counts = self.campaign_counts(workspace, campaign).await?;
        let of = |name: &str| counts.get(name).copied().unwrap_or(0);
        let there = match status {
            ReportStatus::InDoubt => of(IN_DOUBT),
            ReportStatus::Held => of(HELD),
            ReportStatus::Queued
            | ReportStatus::Sent
            | ReportStatus::Bounced
            | ReportStatus::Timeout
            | ReportStatus::Expired
            | ReportStatus::Withheld
            | ReportStatus::Cancelled
            | ReportStatus::Assumed => i64::MAX,
        };
        if there <= 0 {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM delivery d \
                     WHERE d.workspace_id = $1 AND d.campaign_id = $2 AND d.outcome IS NULL AND d.id > $3 \
                     AND (SELECT CASE WHEN q.doubt_epoch IS NOT NULL THEN 'IN_DOUBT' \
                     WHEN q.held_reason IS NOT NULL THEN 'HELD' ELSE 'QUEUED' END FROM queue q \
                     WHERE q.delivery_id = d.id) = $4 ORDER BY d.outcome, d.id LIMIT $5"
                ),
                args![workspace, campaign, after, status.as_str(), there.min(limit + 1)],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-open", |row| row.id.get()))
    }

    pub(crate) async fn deliveries_of_contact(
        &self,
        workspace: WorkspaceId,
        contact: ContactId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        self.contact(workspace, contact).await?;
        let before: i64 = page.position("delivery-person")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM delivery d \
                     WHERE d.contact_id = $2 AND d.workspace_id = $1 AND d.id + 0 < $3 ORDER BY d.id + 0 DESC LIMIT $4"
                ),
                args![workspace, contact, before, limit + 1],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-person", |row| row.id.get()))
    }

    pub(crate) async fn deliveries_of_message(
        &self,
        workspace: WorkspaceId,
        message: MessageId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        let after: i64 = page.position("delivery-message")?.unwrap_or(0);
        let limit = page.rows();
        let mut reader = self.read().await?;
        reader
            .opt(sql!("SELECT id FROM message WHERE workspace_id = $1 AND id = $2"), args![workspace, message])
            .await?
            .ok_or_else(|| not_found("message"))?;
        let rows = reader
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM delivery d \
                     WHERE d.message_id = $2 AND d.workspace_id = $1 AND d.id + 0 > $3 ORDER BY d.id + 0 LIMIT $4"
                ),
                args![workspace, message, after, limit + 1],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-message", |row| row.id.get()))
    }

    pub(crate) async fn deliveries_of_messages(
        &self,
        workspace: WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<DeliveryRow>> {
        let (message, delivery): (i64, i64) = page.position("delivery-single")?.unwrap_or((i64::MAX, 0));
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, d.campaign_id, d.message_id, d.contact_id, d.mailbox, d.stream, d.outcome, d.reason, \
                     d.outcome_at, d.attempts, d.max_attempts, d.last_result, d.last_at, d.last_text, \
                     (SELECT q.ready_at FROM queue q WHERE q.delivery_id = d.id) AS ready_at, \
                     (SELECT q.held_reason FROM queue q WHERE q.delivery_id = d.id) AS held_reason, \
                     (SELECT q.doubt_epoch FROM queue q WHERE q.delivery_id = d.id) AS doubt_epoch FROM message m JOIN delivery d ON d.message_id = m.id \
                     WHERE m.workspace_id = $1 AND m.id <= $2 \
                     AND (m.id < $2 OR d.id > $3) ORDER BY m.id DESC, d.id LIMIT $4"
                ),
                args![workspace, message, delivery, limit + 1],
            )
            .await?;
        let rows = rows.iter().map(DeliveryRow::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rows, limit, "delivery-single", |row| (row.message.map_or(0, MessageId::get), row.id.get())))
    }
}
