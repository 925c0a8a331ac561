//! Erasure of a contact (GDPR 17; LAW-31, LAW-32): its text goes from every table, a keyed digest stays so that nobody
//! writes to it again by mistake, and the ledger says that something was erased.
//!
//! Numbers stay: deliveries, attempts and counters keep their rows, so that reports and the ledger still balance.

use postrider_domain::id::{ContactId, DeliveryId, WorkspaceId};
use postrider_domain::suppression::SuppressionReason;
use postrider_mail::mailbox::Mailbox;
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::list::members_counter;
use crate::read::to_json;
use crate::sql::{args, sql};
use crate::suppression::{NewSuppression, Whom};
use crate::tally::CONTACTS;

/// What an erasure took away and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// Deliveries that lost mailbox and variables; their outcome and times stay.
    pub deliveries: u64,
    /// Attempts whose remote text went; their codes stay.
    pub attempts: u64,
    /// Single messages that were deleted with their body.
    pub messages: u64,
    /// Entries of the consent ledger whose payload went.
    pub ledger_entries: u64,
    /// Memberships that were deleted.
    pub memberships: u64,
}

impl Store {
    /// Erases a contact: one transaction, after which a search for the mailbox finds nothing in any table.
    ///
    /// # Errors
    /// The workspace has no such contact, or it was erased before.
    pub async fn erase_contact(&self, workspace: WorkspaceId, by: &Actor, id: ContactId) -> Result<Erasure> {
        let mut tx = self.begin(Lane::Web).await?;
        self.closures().close_contact(id);
        tx.ring(crate::bell::Topic::Live { workspace, what: format!("contact:{id}") });
        let contact = self.contact_for_update(&mut tx, workspace, id).await?;
        let mailbox = Mailbox::parse(&contact.mailbox)
            .map_err(|_| StoreError::Corrupt("column contact.mailbox holds no mailbox".into()))?;
        let norm = mailbox.normalised();
        let mut erasure = Erasure::default();

        let lists = tx.all(sql!("DELETE FROM membership WHERE contact_id = $1 RETURNING list_id"), args![id]).await?;
        erasure.memberships = lists.len() as u64;
        tx.execute(sql!("DELETE FROM consent WHERE contact_id = $1 AND workspace_id = $2"), args![id, workspace])
            .await?;
        self.erase_deliveries(&mut tx, workspace, id, &norm, &mut erasure).await?;
        self.erase_leftovers(&mut tx, workspace, &mailbox).await?;
        self.reduce_suppressions(&mut tx, workspace, &mailbox).await?;
        tx.execute(
            sql!(
                "UPDATE contact SET mailbox = '', mailbox_norm = $3, domain = '', attributes = {jsonb '{}'}, zone = NULL, \
                 language = NULL, marks = '', hint = NULL, source = NULL, updated_at = $4, erased_at = $4 \
                 WHERE workspace_id = $1 AND id = $2"
            ),
            args![workspace, id, format!("erased:{id}"), self.now()],
        )
        .await?;
        erasure.ledger_entries = self.erase_from_ledger(&mut tx, workspace, by.in_ledger(), by.id(), id).await? as u64;
        self.note(&mut tx, Some(workspace), by, "contact.erase", &id.to_string(), json!({})).await?;
        let mut counters = vec![(CONTACTS.to_owned(), -1)];
        for row in &lists {
            counters.push((members_counter(postrider_domain::id::ListId(row.int("list_id")?)), -1));
        }
        self.count(&mut tx, workspace, None, &counters).await?;
        tx.commit().await?;
        Ok(erasure)
    }

    /// Takes away what attempts that were in the air during an erasure wrote after it; the number of attempts. For the
    /// retention task, with a `since` (i64 milliseconds UTC) that lies before its last run by more than an attempt takes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn scrub_erased(&self, since: i64) -> Result<u64> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let late = tx
            .all(
                sql!(
                    "SELECT d.id FROM contact c JOIN delivery d ON d.contact_id = c.id WHERE c.erased_at > $1 \
                     AND (d.last_text IS NOT NULL OR EXISTS \
                     (SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.text <> '')) LIMIT 1000"
                ),
                args![since],
            )
            .await?;
        if late.is_empty() {
            return Ok(0);
        }
        let ids = to_json(&late.iter().map(|row| row.int("id")).collect::<Result<Vec<_>>>()?);
        tx.execute(sql!("UPDATE delivery SET last_text = NULL WHERE id IN {ids $1}"), args![ids.as_str()]).await?;
        let scrubbed = tx
            .execute(sql!("UPDATE attempt SET text = '' WHERE text <> '' AND delivery_id IN {ids $1}"), args![ids])
            .await?;
        tx.commit().await?;
        Ok(scrubbed)
    }

    /// Takes mailbox, variables and remote texts out of the contact's deliveries, and deletes single messages to it.
    async fn erase_deliveries(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        id: ContactId,
        norm: &str,
        erasure: &mut Erasure,
    ) -> Result<()> {
        // An unsettled row keeps its place in the queue and is withheld as `erased` at the next look, because its
        // contact is. Single messages that had no contact get this one for the same reason.
        let rows = tx
            .all(
                sql!(
                    "UPDATE delivery SET mailbox = '', mailbox_norm = 'erased:' || id, domain = '', digest = $4, vars = NULL, \
                     last_text = NULL, contact_id = $2 \
                     WHERE workspace_id = $1 AND (contact_id = $2 OR (campaign_id IS NULL AND mailbox_norm = $3)) \
                     RETURNING id, message_id"
                ),
                args![workspace, id, norm, Vec::<u8>::new()],
            )
            .await?;
        erasure.deliveries = rows.len() as u64;
        let mut deliveries = Vec::with_capacity(rows.len());
        let mut messages = Vec::new();
        for row in &rows {
            deliveries.push(DeliveryId(row.int("id")?).get());
            messages.extend(row.int_opt("message_id")?);
        }
        erasure.attempts = tx
            .execute(
                sql!("UPDATE attempt SET text = '' WHERE workspace_id = $1 AND delivery_id IN {ids $2}"),
                args![workspace, to_json(&deliveries)],
            )
            .await?;
        if messages.is_empty() {
            return Ok(());
        }
        let messages = to_json(&messages);
        tx.execute(
            sql!("UPDATE message SET subject = '' WHERE workspace_id = $1 AND id IN {ids $2}"),
            args![workspace, messages.clone()],
        )
        .await?;
        // A message that others still wait for keeps its body until they have it.
        erasure.messages = tx
            .execute(
                sql!(
                    "DELETE FROM body WHERE message_id IN {ids $1} AND NOT EXISTS (SELECT 1 FROM delivery d \
                     WHERE d.message_id = body.message_id AND d.outcome IS NULL AND d.contact_id IS DISTINCT FROM $2)"
                ),
                args![messages, id],
            )
            .await?;
        Ok(())
    }

    /// Places where the mailbox can stand in passing: refused rows of imports and answered inquiries. Stored answers of
    /// the API are sealed and go after a day.
    async fn erase_leftovers(&self, tx: &mut Tx, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<()> {
        let wire = mailbox.normalised();
        let spoken = format!("{}@{}", mailbox.local().to_lowercase(), mailbox.domain().unicode());
        tx.execute(
            sql!(
                "UPDATE import_refused SET raw = '', detail = '' WHERE import_id IN \
                 (SELECT id FROM import WHERE workspace_id = $1) \
                 AND (lower(raw) LIKE $2 ESCAPE '\\' OR lower(detail) LIKE $2 ESCAPE '\\' \
                 OR lower(raw) LIKE $3 ESCAPE '\\' OR lower(detail) LIKE $3 ESCAPE '\\')"
            ),
            args![workspace, contains(&wire), contains(&spoken)],
        )
        .await?;
        // Questions to the engine live for seconds; what was answered or is over is of no use to anybody.
        tx.execute(
            sql!("DELETE FROM inquiry WHERE workspace_id = $1 AND (answered_at IS NOT NULL OR deadline < $2)"),
            args![workspace, self.now()],
        )
        .await?;
        Ok(())
    }

    /// Leaves keyed digests only, and makes sure that there is one.
    async fn reduce_suppressions(&self, tx: &mut Tx, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<()> {
        let new = NewSuppression {
            whom: Whom::Mailbox(mailbox.clone()),
            reason: SuppressionReason::Erased,
            scope: None,
            source: "erasure".into(),
            until: None,
            delivery: None,
        };
        self.put_suppression(tx, workspace, &new).await?;
        tx.execute(
            sql!(
                "UPDATE suppression SET mailbox_norm = NULL, source = 'erasure', delivery_id = NULL, evidence = NULL \
                 WHERE workspace_id = $1 AND digest = $2"
            ),
            args![workspace, self.digest(&mailbox.normalised())],
        )
        .await?;
        // After the deliveries lost their digest, so that nothing in the air counts any more.
        self.forget_count(tx, workspace, &self.digest(&mailbox.normalised())).await
    }
}

/// A LIKE pattern that finds a text anywhere, with its own `%`, `_` and `\` taken literally.
fn contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_underscores_literally() {
        assert_eq!(contains("a_b%c\\d"), "%a\\_b\\%c\\\\d%");
    }
}
