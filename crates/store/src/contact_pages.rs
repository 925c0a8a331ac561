//! Pages of contacts by the beginning of the mailbox and by list, each along an index.
//!
//! Must not know what else a contact has.

use postrider_domain::contact::has_control;
use postrider_domain::id::{ListId, WorkspaceId};

use crate::Store;
use crate::contact::{Contact, ContactFilter};
use crate::error::Result;
use crate::page::{Page, PageRequest, after_prefix};
use crate::sql::{args, sql};

/// Contacts that are counted one by one; of more only "at least so many" is said.
const COUNT_TO: i64 = 100_000;

/// How many contacts a listing would show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactCount {
    /// The number.
    pub count: i64,
    /// Whether there are so many or more: counting ended there.
    pub at_least: bool,
}

impl Store {
    /// How many contacts [`Store::contacts`] would show with a filter.
    ///
    /// # Errors
    /// The workspace has no such list.
    pub async fn count_contacts(&self, workspace: WorkspaceId, filter: &ContactFilter) -> Result<ContactCount> {
        if filter.mailbox_prefix.as_deref().is_some_and(has_control) {
            // As the listing: no mailbox has one, and PostgreSQL refuses a NUL.
            return Ok(ContactCount { count: 0, at_least: false });
        }
        let prefix = filter.mailbox_prefix.as_deref().unwrap_or_default().trim().to_lowercase();
        let end = after_prefix(&prefix).unwrap_or_else(|| "\u{10FFFF}".into());
        let counted = match filter.list {
            // Counters are exact, and free.
            None if prefix.is_empty() => {
                return Ok(ContactCount { count: self.contact_count(workspace).await?, at_least: false });
            }
            Some(list) if prefix.is_empty() => {
                let count = self.list(workspace, list).await?.members;
                return Ok(ContactCount { count, at_least: false });
            }
            None => {
                self.read()
                    .await?
                    .one(
                        sql!(
                            "SELECT count(*) AS n FROM (SELECT 1 AS one FROM contact WHERE workspace_id = $1 \
                             AND mailbox_norm >= $2 AND mailbox_norm < $3 AND erased_at IS NULL LIMIT $4) c"
                        ),
                        args![workspace, prefix, end, COUNT_TO + 1],
                    )
                    .await?
            }
            Some(list) => {
                let mut reader = self.read().await?;
                self.check_list(&mut reader, workspace, list).await?;
                reader
                    .one(
                        sql!(
                            "SELECT count(*) AS n FROM (SELECT 1 AS one FROM membership m \
                             JOIN contact c ON c.id = m.contact_id WHERE m.list_id = $2 AND c.workspace_id = $1 \
                             AND c.erased_at IS NULL AND c.mailbox_norm >= $3 AND c.mailbox_norm < $4 LIMIT $5) c"
                        ),
                        args![workspace, list, prefix, end, COUNT_TO + 1],
                    )
                    .await?
            }
        }
        .int("n")?;
        Ok(ContactCount { count: counted.min(COUNT_TO), at_least: counted > COUNT_TO })
    }

    pub(crate) async fn prefix_page(
        &self,
        workspace: WorkspaceId,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<Page<Contact>> {
        let prefix = prefix.trim().to_lowercase();
        let last: String = page.position("contact-prefix")?.unwrap_or_default();
        let limit = page.rows();
        let end = after_prefix(&prefix).unwrap_or_else(|| "\u{10FFFF}".into());
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, mailbox, mailbox_norm, domain, {json attributes} AS attributes, zone, language, \
                     address_state, marks, hint, source, created_at, updated_at, rev FROM contact \
                     WHERE workspace_id = $1 AND mailbox_norm >= $2 AND mailbox_norm < $3 AND mailbox_norm > $4 \
                     AND erased_at IS NULL ORDER BY mailbox_norm LIMIT $5"
                ),
                args![workspace, prefix, end, last, limit + 1],
            )
            .await?;
        let contacts =
            rows.iter().map(|row| Ok((row.text("mailbox_norm")?, Contact::read(row)?))).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(contacts, limit, "contact-prefix", |(norm, _)| norm.clone()).map(|(_, contact)| contact))
    }

    pub(crate) async fn members_page(
        &self,
        workspace: WorkspaceId,
        list: ListId,
        prefix: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Contact>> {
        let after: i64 = page.position("member")?.unwrap_or(0);
        let limit = page.rows();
        let prefix = prefix.unwrap_or_default().trim().to_lowercase();
        let end = after_prefix(&prefix).unwrap_or_else(|| "\u{10FFFF}".into());
        let mut reader = self.read().await?;
        self.check_list(&mut reader, workspace, list).await?;
        let rows = reader
            .all(
                sql!(
                    "SELECT c.id, c.mailbox, c.domain, {json c.attributes} AS attributes, c.zone, c.language, \
                     c.address_state, c.marks, c.hint, c.source, c.created_at, c.updated_at, c.rev \
                     FROM membership m JOIN contact c ON c.id = m.contact_id \
                     WHERE m.list_id = $2 AND m.contact_id > $3 AND c.workspace_id = $1 AND c.erased_at IS NULL \
                     AND c.mailbox_norm >= $4 AND c.mailbox_norm < $5 ORDER BY m.contact_id LIMIT $6"
                ),
                args![workspace, list, after, prefix, end, limit + 1],
            )
            .await?;
        let contacts = rows.iter().map(Contact::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(contacts, limit, "member", |contact| contact.id.get()))
    }
}
