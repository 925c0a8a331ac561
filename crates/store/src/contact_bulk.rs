//! What is done to all contacts that a filter finds, however many: counted exactly, put on a list, taken off one. And what the
//! table of contacts shows beside them.
//!
//! Slices of a few thousand, so that nothing else waits long; who comes into the book meanwhile is not touched.

use postrider_domain::consent::ConsentState;
use postrider_domain::contact::has_control;
use postrider_domain::id::{ContactId, ListId, PurposeId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::contact::ContactFilter;
use crate::db::Lane;
use crate::error::Result;
use crate::list::members_counter;
use crate::page::after_prefix;
use crate::read::{conflict, to_json, word};
use crate::sql::{args, sql};

/// Contacts of a slice.
const SLICE: i64 = 2_000;

/// What is done to contacts that a filter finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAct {
    /// Onto this list.
    Join(ListId),
    /// Off this list.
    Leave(ListId),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkDone {
    /// Contacts that the filter found.
    pub matched: i64,
    /// Of these, the ones for which something changed.
    pub changed: i64,
}

/// The range of normalised mailboxes that begin with the filter's text.
fn range(filter: &ContactFilter) -> (String, String) {
    let prefix = filter.mailbox_prefix.as_deref().unwrap_or_default().trim().to_lowercase();
    let end = after_prefix(&prefix).unwrap_or_else(|| "\u{10FFFF}".into());
    (prefix, end)
}

impl Store {
    /// How many contacts a filter finds, counted one by one however many they are.
    ///
    /// # Errors
    /// The workspace has no such list.
    pub async fn count_all_contacts(&self, workspace: WorkspaceId, filter: &ContactFilter) -> Result<i64> {
        let mut reader = self.read().await?;
        if let Some(list) = filter.list {
            self.check_list(&mut reader, workspace, list).await?;
        }
        if filter.mailbox_prefix.as_deref().is_some_and(has_control) {
            return Ok(0);
        }
        let (prefix, end) = range(filter);
        reader
            .one(
                sql!(
                    "SELECT count(*) AS n FROM contact c WHERE c.workspace_id = $1 AND c.erased_at IS NULL \
                     AND c.mailbox_norm >= $2 AND c.mailbox_norm < $3 AND (CAST($4 AS BIGINT) IS NULL OR EXISTS \
                     (SELECT 1 FROM membership m WHERE m.list_id = $4 AND m.contact_id = c.id))"
                ),
                args![workspace, prefix, end, filter.list],
            )
            .await?
            .int("n")
    }

    /// Does something to every contact that a filter finds. `expected` is the number that the person saw.
    ///
    /// # Errors
    /// The workspace has no such list, or the filter finds another number of contacts by now: nothing is done then.
    pub async fn bulk_members(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        filter: &ContactFilter,
        act: BulkAct,
        expected: i64,
    ) -> Result<BulkDone> {
        let (BulkAct::Join(list) | BulkAct::Leave(list)) = act;
        self.list(workspace, list).await?;
        let now_found = self.count_all_contacts(workspace, filter).await?;
        if now_found != expected {
            return Err(conflict(format!(
                "change the list: {now_found} contacts match by now, not {expected}; nothing was changed, look again"
            )));
        }
        let (prefix, end) = range(filter);
        let newest = self
            .read()
            .await?
            .opt(sql!("SELECT id FROM contact WHERE workspace_id = $1 ORDER BY id DESC LIMIT 1"), args![workspace])
            .await?;
        let last = newest.map_or(Ok(0), |row| row.int("id"))?;
        let mut done = BulkDone { matched: 0, changed: 0 };
        let mut after = 0;
        loop {
            let ids: Vec<i64> = self
                .read()
                .await?
                .all(
                    sql!(
                        "SELECT c.id FROM contact c WHERE c.workspace_id = $1 AND c.id > $2 AND c.id <= $3 \
                         AND c.erased_at IS NULL AND c.mailbox_norm >= $4 AND c.mailbox_norm < $5 \
                         AND (CAST($6 AS BIGINT) IS NULL OR EXISTS \
                         (SELECT 1 FROM membership m WHERE m.list_id = $6 AND m.contact_id = c.id)) \
                         ORDER BY c.id LIMIT $7"
                    ),
                    args![workspace, after, last, prefix.as_str(), end.as_str(), filter.list, SLICE],
                )
                .await?
                .iter()
                .map(|row| row.int("id"))
                .collect::<Result<_>>()?;
            let Some(highest) = ids.last().copied() else { break };
            after = highest;
            done.matched += i64::try_from(ids.len()).unwrap_or(0);
            done.changed += self.bulk_slice(workspace, act, &ids).await?;
        }
        let (action, detail) = match act {
            BulkAct::Join(_) => ("list.add_matching", json!({ "matched": done.matched, "added": done.changed })),
            BulkAct::Leave(_) => ("list.remove_matching", json!({ "matched": done.matched, "removed": done.changed })),
        };
        self.note_act(Some(workspace), by, action, &list.to_string(), detail).await?;
        Ok(done)
    }

    async fn bulk_slice(&self, workspace: WorkspaceId, act: BulkAct, ids: &[i64]) -> Result<i64> {
        let (BulkAct::Join(list) | BulkAct::Leave(list)) = act;
        let mut tx = self.begin(Lane::Bulk).await?;
        self.list_for_share(&mut tx, workspace, list).await?;
        let changed = match act {
            // Who was erased since the slice was read is left out.
            BulkAct::Join(_) => tx
                .execute(
                    sql!(
                        "INSERT INTO membership (list_id, contact_id, added_at) \
                         SELECT $2, c.id, $4 FROM contact c WHERE c.workspace_id = $1 AND c.id IN {ids $3} \
                         AND c.erased_at IS NULL ORDER BY c.id ON CONFLICT (list_id, contact_id) DO NOTHING"
                    ),
                    args![workspace, list, to_json(ids), self.now()],
                )
                .await?
                .cast_signed(),
            BulkAct::Leave(_) => -tx
                .execute(
                    sql!("DELETE FROM membership WHERE list_id = $1 AND contact_id IN {ids $2}"),
                    args![list, to_json(ids)],
                )
                .await?
                .cast_signed(),
        };
        if changed != 0 {
            self.count(&mut tx, workspace, None, &[(members_counter(list), changed)]).await?;
        }
        tx.commit().await?;
        Ok(changed.abs())
    }

    /// The consents of some contacts, by contact and purpose.
    ///
    /// # Errors
    /// The database fails.
    pub async fn consents_of_many(
        &self,
        workspace: WorkspaceId,
        contacts: &[ContactId],
    ) -> Result<Vec<(ContactId, PurposeId, ConsentState)>> {
        let ids: Vec<i64> = contacts.iter().map(|id| id.get()).collect();
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT contact_id, purpose_id, state FROM consent WHERE workspace_id = $1 AND contact_id IN {ids $2} \
                     ORDER BY contact_id, purpose_id"
                ),
                args![workspace, to_json(&ids)],
            )
            .await?
            .iter()
            .map(|row| {
                Ok((
                    ContactId(row.int("contact_id")?),
                    PurposeId(row.int("purpose_id")?),
                    word(row, "state", ConsentState::parse)?,
                ))
            })
            .collect()
    }
}
