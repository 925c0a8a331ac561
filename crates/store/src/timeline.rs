//! A contact's history on one page: arrival, consents, suppressions, deliveries and their attempts, newest first.
//!
//! Must not interpret: it shows what other modules wrote.

use postrider_domain::id::{ContactId, WorkspaceId};
use postrider_mail::mailbox::Mailbox;
use serde::Serialize;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::ledger::LedgerEntry;
use crate::page::{MAX_LIMIT, PageRequest};
use crate::read::to_json;
use crate::report::{AttemptRow, DeliveriesOf, DeliveryRow};
use crate::sql::{args, sql};
use crate::suppression::Suppression;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum TimelineEntry {
    /// The contact came into the book.
    Created {
        /// When, i64 milliseconds UTC.
        at: i64,
        /// Where from, in words.
        source: Option<String>,
    },
    /// An entry of the consent ledger.
    Consent {
        /// The entry.
        entry: LedgerEntry,
    },
    /// The mailbox, or its domain, was suppressed.
    Suppressed {
        /// The suppression.
        suppression: Suppression,
    },
    /// A delivery, at its last news.
    Delivery {
        /// The report row.
        row: DeliveryRow,
    },
    /// One try.
    Attempt {
        /// The attempt.
        row: AttemptRow,
    },
}

impl TimelineEntry {
    /// When it happened, i64 milliseconds UTC; a delivery that was never tried comes first.
    pub fn at(&self) -> i64 {
        match self {
            TimelineEntry::Created { at, .. } => *at,
            TimelineEntry::Consent { entry } => entry.at,
            TimelineEntry::Suppressed { suppression } => suppression.since,
            TimelineEntry::Delivery { row } => row.outcome_at.or(row.sent_at).unwrap_or(i64::MAX),
            TimelineEntry::Attempt { row } => row.at,
        }
    }
}

impl Store {
    /// The history of a contact, newest first, at most `limit` (500) entries.
    ///
    /// # Errors
    /// The workspace has no such contact.
    pub async fn timeline(&self, workspace: WorkspaceId, id: ContactId, limit: u32) -> Result<Vec<TimelineEntry>> {
        let limit = limit.clamp(1, MAX_LIMIT);
        let page = PageRequest::first(limit);
        let contact = self.contact(workspace, id).await?;
        let mailbox = Mailbox::parse(&contact.mailbox)
            .map_err(|_| StoreError::Corrupt("column contact.mailbox holds no mailbox".into()))?;
        let mut entries = vec![TimelineEntry::Created { at: contact.created_at, source: contact.source }];
        for entry in self.ledger_entries(workspace, Some(id), &page).await?.items {
            entries.push(TimelineEntry::Consent { entry });
        }
        for suppression in self.check_suppression(workspace, &mailbox).await? {
            entries.push(TimelineEntry::Suppressed { suppression });
        }
        let deliveries = self.deliveries(workspace, DeliveriesOf::Contact(id), &page).await?.items;
        let numbers: Vec<i64> = deliveries.iter().map(|row| row.id.get()).collect();
        let attempts = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, delivery_id, n, at, duration_ms, stage, result, code, enhanced, text, class, host, ip, \
                     source, tls, doubt, rule, rules FROM attempt WHERE delivery_id IN {ids $2} AND workspace_id = $1"
                ),
                args![workspace, to_json(&numbers)],
            )
            .await?;
        for row in &attempts {
            entries.push(TimelineEntry::Attempt { row: AttemptRow::read(row)? });
        }
        entries.extend(deliveries.into_iter().map(|row| TimelineEntry::Delivery { row }));
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.at()));
        entries.truncate(limit as usize);
        Ok(entries)
    }
}
