//! Contacts: the people of a workspace's book, one per normalised mailbox, their spelling kept for delivery.
//!
//! Must not decide whether anybody may be written to: that is `postrider_domain::gate`.

use postrider_domain::contact::{AddressMark, AddressState, Attributes, check_attributes, has_control};
use postrider_domain::id::{ContactId, ListId, WorkspaceId};
use postrider_mail::mailbox::Mailbox;
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::read::{check_text, conflict, json, not_found, refused, to_json, word};
use crate::sql::{Row, args, sql};
use crate::tally::CONTACTS;

/// A person or mailbox in the book.
#[derive(Clone, PartialEq, Serialize)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// The mailbox as it was spelt, with the domain as A-label.
    pub mailbox: String,
    /// The domain, an A-label.
    pub domain: String,
    /// Attributes by name.
    pub attributes: Attributes,
    /// IANA zone, if known.
    pub zone: Option<String>,
    /// Language tag (BCP 47), if known.
    pub language: Option<String>,
    /// Result of the address check.
    pub address_state: AddressState,
    /// Marks that inform but do not block.
    pub marks: Vec<AddressMark>,
    /// The domain that was probably meant, when it looks misspelt.
    pub hint: Option<String>,
    /// Where the contact came from, in words.
    pub source: Option<String>,
    /// When it came into the book, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it changed last, i64 milliseconds UTC.
    pub updated_at: i64,
    /// Grows by one with each change of mailbox, attributes, language or zone.
    pub rev: i64,
}

impl std::fmt::Debug for Contact {
    /// Redacted: a contact must not reach a log by accident (SEC-74).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contact").field("id", &self.id).field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// A contact to be added.
#[derive(Clone, Debug)]
pub struct NewContact {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// Attributes by name.
    pub attributes: Attributes,
    /// IANA zone.
    pub zone: Option<String>,
    /// Language tag.
    pub language: Option<String>,
    /// Result of the address check.
    pub address_state: AddressState,
    /// Marks.
    pub marks: Vec<AddressMark>,
    /// The domain that was probably meant.
    pub hint: Option<String>,
    /// Where it came from, in words.
    pub source: Option<String>,
    /// Lists that it joins.
    pub lists: Vec<ListId>,
}

impl NewContact {
    /// A contact with a mailbox and nothing else, its address unchecked.
    pub fn of(mailbox: Mailbox) -> NewContact {
        NewContact {
            mailbox,
            attributes: Attributes::new(),
            zone: None,
            language: None,
            address_state: AddressState::Unchecked,
            marks: Vec::new(),
            hint: None,
            source: None,
            lists: Vec::new(),
        }
    }
}

/// What changes in a contact; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ContactChange {
    /// The revision that was looked at; with another one stored, the change is refused.
    pub rev: Option<i64>,
    /// Another mailbox, with the result of its check.
    pub mailbox: Option<(Mailbox, AddressCheck)>,
    /// Attributes to set; a null value takes the attribute away; others stay.
    pub attributes: Option<Attributes>,
    /// Another zone; `Some(None)` takes it away.
    pub zone: Option<Option<String>>,
    /// Another language; `Some(None)` takes it away.
    pub language: Option<Option<String>>,
}

/// What the address check found.
#[derive(Clone, Debug)]
pub struct AddressCheck {
    /// The state.
    pub state: AddressState,
    /// The marks.
    pub marks: Vec<AddressMark>,
    /// The domain that was probably meant.
    pub hint: Option<String>,
}

/// Which contacts a listing shows.
#[derive(Clone, Debug, Default)]
pub struct ContactFilter {
    /// Mailboxes that begin with this text, case ignored; then the order is by mailbox, else newest first.
    pub mailbox_prefix: Option<String>,
    /// Members of this list only; the order is by id.
    pub list: Option<ListId>,
}

impl Contact {
    pub(crate) fn read(row: &Row) -> Result<Contact> {
        Ok(Contact {
            id: ContactId(row.int("id")?),
            mailbox: row.text("mailbox")?,
            domain: row.text("domain")?,
            attributes: json(row, "attributes")?,
            zone: row.text_opt("zone")?,
            language: row.text_opt("language")?,
            address_state: word(row, "address_state", AddressState::parse)?,
            marks: parse_marks(&row.text("marks")?)?,
            hint: row.text_opt("hint")?,
            source: row.text_opt("source")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
            rev: row.int("rev")?,
        })
    }
}

/// Marks as stored: words with blanks between.
pub(crate) fn marks_text(marks: &[AddressMark]) -> String {
    marks.iter().map(|mark| mark.as_str()).collect::<Vec<_>>().join(" ")
}

/// The marks of a stored text.
pub(crate) fn parse_marks(text: &str) -> Result<Vec<AddressMark>> {
    text.split_ascii_whitespace()
        .map(|word| {
            AddressMark::parse(word)
                .ok_or_else(|| StoreError::Corrupt(format!("column marks holds the unknown word `{word}`")))
        })
        .collect()
}

fn check_fields(
    attributes: &Attributes,
    zone: Option<&str>,
    language: Option<&str>,
    source: Option<&str>,
) -> Result<()> {
    check_attributes(attributes).map_err(|error| refused(format!("save the contact: {error}")))?;
    if let Some(zone) = zone {
        postrider_domain::schedule::zone(zone).map_err(|error| refused(format!("save the contact: {error}")))?;
    }
    if let Some(language) = language {
        let plain = language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if language.is_empty() || language.len() > 35 || !plain {
            return Err(refused("save the contact: the language should be a tag such as it or pt-BR"));
        }
    }
    if let Some(source) = source {
        check_text("source", source, 500)?;
    }
    Ok(())
}

impl Store {
    /// Adds a contact to the book and to lists.
    ///
    /// # Errors
    /// The mailbox is in the book already, a list does not exist, or a field is refused.
    pub async fn create_contact(&self, workspace: WorkspaceId, by: &Actor, new: NewContact) -> Result<Contact> {
        check_fields(&new.attributes, new.zone.as_deref(), new.language.as_deref(), new.source.as_deref())?;
        let now = self.now();
        let contact = Contact {
            id: ContactId(self.next_id()),
            mailbox: new.mailbox.wire(),
            domain: new.mailbox.domain().as_str().to_owned(),
            attributes: new.attributes,
            zone: new.zone,
            language: new.language,
            address_state: new.address_state,
            marks: new.marks,
            hint: new.hint,
            source: new.source,
            created_at: now,
            updated_at: now,
            rev: 1,
        };
        let mut tx = self.begin(Lane::Web).await?;
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO contact (id, workspace_id, mailbox, mailbox_norm, domain, attributes, zone, language, \
                     address_state, marks, hint, source, created_at, updated_at) \
                     SELECT $1, w.id, $3, $4, $5, {jsonb $6}, $7, $8, $9, $10, $11, $12, $13, $13 \
                     FROM workspace w WHERE w.id = $2 \
                     ON CONFLICT (workspace_id, mailbox_norm) DO NOTHING"
                ),
                args![
                    contact.id,
                    workspace,
                    contact.mailbox.as_str(),
                    new.mailbox.normalised(),
                    contact.domain.as_str(),
                    to_json(&contact.attributes),
                    contact.zone.clone(),
                    contact.language.clone(),
                    contact.address_state.as_str(),
                    marks_text(&contact.marks),
                    contact.hint.clone(),
                    contact.source.clone(),
                    now
                ],
            )
            .await?;
        if made == 0 {
            return Err(conflict("add the contact: this mailbox is in the book already; change that contact instead"));
        }
        for list in &new.lists {
            self.join_list(&mut tx, workspace, *list, &[contact.id]).await?;
        }
        self.count(&mut tx, workspace, None, &[(CONTACTS.to_owned(), 1)]).await?;
        self.note(&mut tx, Some(workspace), by, "contact.create", &contact.id.to_string(), json!({})).await?;
        tx.commit().await?;
        Ok(contact)
    }

    /// A contact by id.
    ///
    /// # Errors
    /// The workspace has no such contact, or it was erased.
    pub async fn contact(&self, workspace: WorkspaceId, id: ContactId) -> Result<Contact> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, mailbox, domain, {json attributes} AS attributes, zone, language, address_state, marks, \
                     hint, source, created_at, updated_at, rev FROM contact \
                     WHERE workspace_id = $1 AND id = $2 AND erased_at IS NULL"
                ),
                args![workspace, id],
            )
            .await?;
        Contact::read(&row.ok_or_else(|| not_found("contact"))?)
    }

    /// The contact of a mailbox, if the book has one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn contact_by_mailbox(&self, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<Option<Contact>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, mailbox, domain, {json attributes} AS attributes, zone, language, address_state, marks, \
                     hint, source, created_at, updated_at, rev FROM contact \
                     WHERE workspace_id = $1 AND mailbox_norm = $2 AND erased_at IS NULL"
                ),
                args![workspace, mailbox.normalised()],
            )
            .await?;
        row.as_ref().map(Contact::read).transpose()
    }

    /// A page of contacts; see [`ContactFilter`] for what it shows and in which order.
    ///
    /// # Errors
    /// The list does not exist, the cursor is foreign, or the database fails.
    pub async fn contacts(
        &self,
        workspace: WorkspaceId,
        filter: &ContactFilter,
        page: &PageRequest,
    ) -> Result<Page<Contact>> {
        if filter.mailbox_prefix.as_deref().is_some_and(has_control) {
            // No mailbox has one, and PostgreSQL refuses a NUL.
            return Ok(Page { items: Vec::new(), next: None });
        }
        match (&filter.list, filter.mailbox_prefix.as_deref()) {
            (Some(list), prefix) => self.members_page(workspace, *list, prefix, page).await,
            (None, Some(prefix)) if !prefix.trim().is_empty() => self.prefix_page(workspace, prefix, page).await,
            (None, _) => {
                let before: i64 = page.position("contact")?.unwrap_or(i64::MAX);
                let limit = page.rows();
                let rows = self
                    .read()
                    .await?
                    .all(
                        sql!(
                            "SELECT id, mailbox, domain, {json attributes} AS attributes, zone, language, address_state, \
                             marks, hint, source, created_at, updated_at, rev FROM contact \
                             WHERE workspace_id = $1 AND id < $2 AND erased_at IS NULL ORDER BY id DESC LIMIT $3"
                        ),
                        args![workspace, before, limit + 1],
                    )
                    .await?;
                let contacts = rows.iter().map(Contact::read).collect::<Result<Vec<_>>>()?;
                Ok(Page::cut(contacts, limit, "contact", |contact| contact.id.get()))
            }
        }
    }

    /// How many contacts the book has, from a counter.
    ///
    /// # Errors
    /// The database fails.
    pub async fn contact_count(&self, workspace: WorkspaceId) -> Result<i64> {
        self.counted(workspace, None, CONTACTS).await
    }

    /// Changes the fields that are named; with `rev`, only what has that revision still.
    ///
    /// # Errors
    /// The workspace has no such contact, it has another revision, another contact has the new mailbox, or a field is refused.
    pub async fn change_contact(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: ContactId,
        change: ContactChange,
    ) -> Result<Contact> {
        let mut tx = self.begin(Lane::Web).await?;
        let mut contact = self.contact_for_update(&mut tx, workspace, id).await?;
        if change.rev.is_some_and(|rev| rev != contact.rev) {
            return Err(conflict(
                "change the contact: somebody else, or an import, changed it in the meantime; look at it again and repeat",
            ));
        }
        let mut fields = Vec::new();
        if let Some(values) = change.attributes {
            for (name, value) in values {
                if value.is_null() {
                    contact.attributes.remove(&name);
                } else {
                    contact.attributes.insert(name, value);
                }
            }
            fields.push("attributes");
        }
        if let Some(zone) = change.zone {
            contact.zone = zone;
            fields.push("zone");
        }
        if let Some(language) = change.language {
            contact.language = language;
            fields.push("language");
        }
        check_fields(&contact.attributes, contact.zone.as_deref(), contact.language.as_deref(), None)?;
        contact.updated_at = self.now();
        contact.rev += 1;
        tx.execute(
            sql!(
                "UPDATE contact SET attributes = {jsonb $3}, zone = $4, language = $5, updated_at = $6, rev = rev + 1 \
                 WHERE workspace_id = $1 AND id = $2"
            ),
            args![
                workspace,
                id,
                to_json(&contact.attributes),
                contact.zone.clone(),
                contact.language.clone(),
                contact.updated_at
            ],
        )
        .await?;
        if let Some((mailbox, check)) = change.mailbox {
            self.change_mailbox(&mut tx, workspace, &mut contact, &mailbox, check).await?;
            fields.push("mailbox");
        }
        self.note(&mut tx, Some(workspace), by, "contact.change", &id.to_string(), json!({ "fields": fields })).await?;
        tx.commit().await?;
        Ok(contact)
    }

    async fn change_mailbox(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        contact: &mut Contact,
        mailbox: &Mailbox,
        check: AddressCheck,
    ) -> Result<()> {
        let taken = tx
            .opt(
                sql!("SELECT id FROM contact WHERE workspace_id = $1 AND mailbox_norm = $2 AND id <> $3"),
                args![workspace, mailbox.normalised(), contact.id],
            )
            .await?;
        if taken.is_some() {
            return Err(conflict("change the mailbox: another contact of the book has it already"));
        }
        contact.mailbox = mailbox.wire();
        contact.domain = mailbox.domain().as_str().to_owned();
        contact.address_state = check.state;
        contact.marks = check.marks;
        contact.hint = check.hint;
        tx.execute(
            sql!(
                "UPDATE contact SET mailbox = $3, mailbox_norm = $4, domain = $5, address_state = $6, marks = $7, hint = $8 \
                 WHERE workspace_id = $1 AND id = $2"
            ),
            args![
                workspace,
                contact.id,
                contact.mailbox.as_str(),
                mailbox.normalised(),
                contact.domain.as_str(),
                contact.address_state.as_str(),
                marks_text(&contact.marks),
                contact.hint.clone()
            ],
        )
        .await
        .map_err(|error| {
            if error.is_unique_violation() {
                conflict("change the mailbox: another contact of the book has it already")
            } else {
                error
            }
        })?;
        Ok(())
    }

    /// Reads a contact and holds its row: consent, opt-out, import and erasure all begin so and therefore take turns.
    pub(crate) async fn contact_for_update(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        id: ContactId,
    ) -> Result<Contact> {
        let row = tx
            .opt(
                sql!(
                    "SELECT id, mailbox, domain, {json attributes} AS attributes, zone, language, address_state, marks, \
                     hint, source, created_at, updated_at, rev FROM contact \
                     WHERE workspace_id = $1 AND id = $2 AND erased_at IS NULL {for_update}"
                ),
                args![workspace, id],
            )
            .await?;
        Contact::read(&row.ok_or_else(|| not_found("contact"))?)
    }

    /// Writes what a later look at a domain found to every contact of the workspace that has it, in slices; the number
    /// of contacts that changed. Slices are read by id, so no index on the domain is needed for the write path.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_address_states(
        &self,
        workspace: WorkspaceId,
        states: &[(ContactId, AddressState)],
    ) -> Result<u64> {
        let rows: Vec<_> = states.iter().map(|(id, state)| json!({ "id": id.get(), "s": state })).collect();
        let mut tx = self.begin(Lane::Bulk).await?;
        let changed = tx
            .execute(
                sql!(
                    "UPDATE contact SET address_state = r.s, updated_at = $3 FROM {rows $1 (id bigint, s text)} r \
                     WHERE contact.id = r.id AND contact.workspace_id = $2 AND contact.erased_at IS NULL \
                     AND contact.address_state <> r.s"
                ),
                args![to_json(&rows), workspace, self.now()],
            )
            .await?;
        tx.commit().await?;
        Ok(changed)
    }
}
