//! Lists: fixed memberships. Being on a list is no consent.

use postrider_domain::id::{ContactId, ListId, WorkspaceId};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Reader, Tx};
use crate::error::Result;
use crate::read::{check_lines, check_name, not_found, refused, to_json};
use crate::sql::{Row, args, sql};

/// Most contacts that one call may add or remove.
pub const MAX_MEMBERS_AT_ONCE: usize = 10_000;
/// Rows that one transaction takes away when a list is deleted.
const SLICE: i64 = 1_000;

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct List {
    /// Its id.
    pub id: ListId,
    /// Its name.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// How many contacts are on it, from a counter.
    pub members: i64,
}

/// The name of the counter of a list's members.
pub(crate) fn members_counter(list: ListId) -> String {
    format!("list.{list}")
}

impl List {
    fn read(row: &Row) -> Result<List> {
        Ok(List {
            id: ListId(row.int("id")?),
            name: row.text("name")?,
            description: row.text("description")?,
            created_at: row.int("created_at")?,
            members: 0,
        })
    }
}

impl Store {
    /// Makes a list.
    ///
    /// # Errors
    /// The name is refused, or the workspace does not exist.
    pub async fn create_list(&self, workspace: WorkspaceId, by: &Actor, name: &str, description: &str) -> Result<List> {
        check_name("list name", name, 100)?;
        check_lines("list description", description, 2000)?;
        let list = List {
            id: ListId(self.next_id()),
            name: name.to_owned(),
            description: description.to_owned(),
            created_at: self.now(),
            members: 0,
        };
        let mut tx = self.begin(Lane::Web).await?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO list (id, workspace_id, name, description, created_at) \
                     SELECT $1, w.id, $3, $4, $5 FROM workspace w WHERE w.id = $2"
                ),
                args![list.id, workspace, name, description, list.created_at],
            )
            .await?;
        if made == 0 {
            return Err(not_found("workspace"));
        }
        self.note(&mut tx, Some(workspace), by, "list.create", &list.id.to_string(), json!({})).await?;
        tx.commit().await?;
        Ok(list)
    }

    /// The lists of a workspace, oldest first, at most 500.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lists(&self, workspace: WorkspaceId) -> Result<Vec<List>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, name, description, created_at FROM list WHERE workspace_id = $1 ORDER BY id LIMIT 500"
                ),
                args![workspace],
            )
            .await?;
        let mut lists = rows.iter().map(List::read).collect::<Result<Vec<_>>>()?;
        let counters = self.counters(workspace, None).await?;
        for list in &mut lists {
            list.members = counters.get(&members_counter(list.id)).copied().unwrap_or(0);
        }
        Ok(lists)
    }

    /// A list by id.
    ///
    /// # Errors
    /// The workspace has no such list.
    pub async fn list(&self, workspace: WorkspaceId, id: ListId) -> Result<List> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT id, name, description, created_at FROM list WHERE workspace_id = $1 AND id = $2"),
                args![workspace, id],
            )
            .await?;
        let mut list = List::read(&row.ok_or_else(|| not_found("list"))?)?;
        list.members = self.counted(workspace, None, &members_counter(id)).await?;
        Ok(list)
    }

    /// Changes name or description.
    ///
    /// # Errors
    /// The workspace has no such list, or a text is refused.
    pub async fn change_list(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: ListId,
        name: Option<&str>,
        description: Option<&str>,
    ) -> Result<List> {
        if let Some(name) = name {
            check_name("list name", name, 100)?;
        }
        if let Some(description) = description {
            check_lines("list description", description, 2000)?;
        }
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE list SET name = coalesce($3, name), description = coalesce($4, description) \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id, name, description],
            )
            .await?;
        if changed == 0 {
            return Err(not_found("list"));
        }
        self.note(&mut tx, Some(workspace), by, "list.change", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.list(workspace, id).await
    }

    /// Deletes a list and its memberships, the contacts stay. Memberships go in slices; the list itself goes last.
    ///
    /// # Errors
    /// The workspace has no such list.
    pub async fn delete_list(&self, workspace: WorkspaceId, by: &Actor, id: ListId) -> Result<()> {
        loop {
            let mut tx = self.begin(Lane::Bulk).await?;
            self.list_for_share(&mut tx, workspace, id).await?;
            let gone = tx
                .execute(
                    sql!(
                        "DELETE FROM membership WHERE list_id = $1 AND contact_id IN \
                         (SELECT contact_id FROM membership WHERE list_id = $1 ORDER BY contact_id LIMIT $2)"
                    ),
                    args![id, SLICE],
                )
                .await?;
            if gone > 0 {
                self.count(&mut tx, workspace, None, &[(members_counter(id), -gone.cast_signed())]).await?;
                tx.commit().await?;
                continue;
            }
            tx.execute(sql!("DELETE FROM list WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
            self.note(&mut tx, Some(workspace), by, "list.delete", &id.to_string(), json!({})).await?;
            return tx.commit().await;
        }
    }

    /// Puts contacts on a list; the number that were not on it before.
    ///
    /// # Errors
    /// The list or one of the contacts does not exist in the workspace; nobody is added then.
    pub async fn add_members(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        list: ListId,
        contacts: &[ContactId],
    ) -> Result<u64> {
        check_number(contacts)?;
        let mut tx = self.begin(Lane::Web).await?;
        let added = self.join_list(&mut tx, workspace, list, contacts).await?;
        self.note(&mut tx, Some(workspace), by, "list.add", &list.to_string(), json!({ "added": added })).await?;
        tx.commit().await?;
        Ok(added)
    }

    /// Takes contacts off a list; the number that were on it.
    ///
    /// # Errors
    /// The list does not exist in the workspace.
    pub async fn remove_members(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        list: ListId,
        contacts: &[ContactId],
    ) -> Result<u64> {
        check_number(contacts)?;
        let mut tx = self.begin(Lane::Web).await?;
        self.list_for_share(&mut tx, workspace, list).await?;
        let removed = tx
            .execute(
                sql!("DELETE FROM membership WHERE list_id = $1 AND contact_id IN {ids $2}"),
                args![list, numbers(contacts)],
            )
            .await?;
        if removed > 0 {
            self.count(&mut tx, workspace, None, &[(members_counter(list), -removed.cast_signed())]).await?;
        }
        self.note(&mut tx, Some(workspace), by, "list.remove", &list.to_string(), json!({ "removed": removed }))
            .await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// The lists that a contact is on.
    ///
    /// # Errors
    /// The workspace has no such contact.
    pub async fn lists_of(&self, workspace: WorkspaceId, contact: ContactId) -> Result<Vec<(ListId, String)>> {
        self.contact(workspace, contact).await?;
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT l.id, l.name FROM membership m JOIN list l ON l.id = m.list_id \
                     WHERE m.contact_id = $2 AND l.workspace_id = $1 ORDER BY l.id"
                ),
                args![workspace, contact],
            )
            .await?
            .iter()
            .map(|row| Ok((ListId(row.int("id")?), row.text("name")?)))
            .collect()
    }

    /// Adds contacts inside a transaction; all of them must be in the workspace.
    pub(crate) async fn join_list(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        list: ListId,
        contacts: &[ContactId],
    ) -> Result<u64> {
        self.list_for_share(tx, workspace, list).await?;
        let ids: std::collections::BTreeSet<ContactId> = contacts.iter().copied().collect();
        let ids: Vec<ContactId> = ids.into_iter().collect();
        let ours = tx
            .one(
                sql!(
                    "SELECT count(*) AS n FROM contact WHERE workspace_id = $1 AND erased_at IS NULL AND id IN {ids $2}"
                ),
                args![workspace, numbers(&ids)],
            )
            .await?
            .int("n")?;
        if ours != i64::try_from(ids.len()).unwrap_or(i64::MAX) {
            return Err(not_found("contact"));
        }
        let added = tx
            .execute(
                sql!(
                    "INSERT INTO membership (list_id, contact_id, added_at) \
                     SELECT $2, c.id, $4 FROM contact c WHERE c.workspace_id = $1 AND c.id IN {ids $3} \
                     AND c.erased_at IS NULL ORDER BY c.id ON CONFLICT (list_id, contact_id) DO NOTHING"
                ),
                args![workspace, list, numbers(&ids), self.now()],
            )
            .await?;
        if added > 0 {
            self.count(tx, workspace, None, &[(members_counter(list), added.cast_signed())]).await?;
        }
        Ok(added)
    }

    /// Holds a list, so that it cannot be deleted under our feet.
    pub(crate) async fn list_for_share(&self, tx: &mut Tx, workspace: WorkspaceId, list: ListId) -> Result<()> {
        tx.opt(sql!("SELECT id FROM list WHERE workspace_id = $1 AND id = $2 {for_share}"), args![workspace, list])
            .await?
            .map(|_| ())
            .ok_or_else(|| not_found("list"))
    }

    /// Whether the workspace has the list, for readers.
    pub(crate) async fn check_list(&self, reader: &mut Reader, workspace: WorkspaceId, list: ListId) -> Result<()> {
        reader
            .opt(sql!("SELECT id FROM list WHERE workspace_id = $1 AND id = $2"), args![workspace, list])
            .await?
            .map(|_| ())
            .ok_or_else(|| not_found("list"))
    }
}

/// The JSON array of the bare numbers.
fn numbers(contacts: &[ContactId]) -> String {
    to_json(&contacts.iter().map(|id| id.get()).collect::<Vec<_>>())
}

fn check_number(contacts: &[ContactId]) -> Result<()> {
    if contacts.len() > MAX_MEMBERS_AT_ONCE {
        return Err(refused(format!("change the list: at most {MAX_MEMBERS_AT_ONCE} contacts at once; send several")));
    }
    Ok(())
}
