//! One slice of an import: contacts, memberships, consents, ledger, refused rows, counts and offset in one transaction.
//!
//! Rows are merged in memory in the order of the file, so the counts do not depend on where slices begin, and then
//! written by a handful of set statements. Must not read files or DNS.

use std::collections::HashMap;

use postrider_domain::consent::{ConsentActor, ConsentState, Evidence, LedgerKind, import_may_grant};
use postrider_domain::contact::{AddressMark, AddressState, Attributes};
use postrider_domain::id::{ContactId, ListId, PurposeId, WorkspaceId};
use postrider_domain::import::ImportCounts;
use serde::Serialize;

use crate::Store;
use crate::contact::parse_marks;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::import::{Import, RefusedRow, live};
use crate::import_merge::{Fate, Merged, Slice};
use crate::ledger::Payload;
use crate::list::members_counter;
use crate::read::{conflict, json, to_json, word};
use crate::secret::hex;
use crate::sql::{args, sql};
use crate::tally::CONTACTS;

/// How often a slice is begun again when another transaction was in its way.
const TRIES: u32 = 8;
/// Longest raw row that is kept, in bytes.
const RAW_MAX: usize = 64 * 1024;

/// A row of the file, parsed and checked.
#[derive(Clone, Debug)]
pub struct ImportRow {
    /// Its number, the heading not counted, from 1.
    pub row: i64,
    /// The mailbox, as spelt, domain as A-label.
    pub mailbox: String,
    /// The mailbox, normalised.
    pub mailbox_norm: String,
    /// The domain, an A-label.
    pub domain: String,
    /// Attributes by name; they are added to those that the contact has.
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
}

/// How far a slice reads.
#[derive(Debug, Clone, Copy)]
pub struct SliceProgress {
    /// The offset at which the slice begins; must be the one that is stored.
    pub from: i64,
    /// The offset at which the next slice begins.
    pub to: i64,
}

/// What a slice did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SliceAnswer {
    /// Committed; the counts of the import so far.
    Committed(ImportCounts),
    /// The import was stopped, or another node has it: read no further.
    NotRunning,
}

/// A consent and the entry that it rests on.
#[derive(Serialize)]
struct GrantedRow {
    c: i64,
    s: i64,
}

impl Store {
    /// Writes one slice of an import, about 1,000 rows. Another transaction in the way makes it begin again.
    ///
    /// # Errors
    /// `progress.from` is not the stored offset, or the database fails; nothing is written then.
    pub async fn upsert_rows(
        &self,
        import: &Import,
        rows: &[ImportRow],
        refused: &[RefusedRow],
        progress: SliceProgress,
    ) -> Result<SliceAnswer> {
        for _ in 1..TRIES {
            match self.try_upsert_rows(import, rows, refused, progress).await {
                Ok(Some(answer)) => return Ok(answer),
                // Somebody added one of our new contacts between our look and our write: look again.
                Ok(None) => {}
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
        self.try_upsert_rows(import, rows, refused, progress).await?.ok_or_else(|| {
            conflict("import the rows: other changes of the same contacts are always in the way; try again later")
        })
    }

    async fn try_upsert_rows(
        &self,
        import: &Import,
        rows: &[ImportRow],
        refused: &[RefusedRow],
        progress: SliceProgress,
    ) -> Result<Option<SliceAnswer>> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let Some(stored) = self.running_import(&mut tx, import).await? else {
            return Ok(Some(SliceAnswer::NotRunning));
        };
        if stored.byte_offset != progress.from || progress.to < progress.from {
            return Err(conflict(format!(
                "import the rows: they begin at byte {}, but {} is read already; begin there",
                progress.from, stored.byte_offset
            )));
        }
        let now = self.now();
        let mut slice = Slice {
            workspace: stored.workspace,
            import: &stored,
            order: Vec::with_capacity(rows.len()),
            contacts: self.find_contacts(&mut tx, stored.workspace, rows).await?,
            counts: stored.counts.clone(),
            refused: refused.to_vec(),
        };
        slice.merge(self, rows);
        if !self.write_contacts(&mut tx, &slice, now).await? {
            return Ok(None);
        }
        let mut counters = vec![(CONTACTS.to_owned(), slice.number(Fate::New))];
        self.write_memberships(&mut tx, &slice, now, &mut counters).await?;
        self.write_refused(&mut tx, &slice).await?;
        self.write_consents(&mut tx, &slice, now).await?;
        let read = i64::try_from(rows.len() + refused.len()).expect("a slice fits in memory");
        tx.execute(
            sql!(
                "UPDATE import SET counts = {jsonb $3}, byte_offset = $4, rows = rows + $5 \
                 WHERE workspace_id = $1 AND id = $2"
            ),
            args![stored.workspace, stored.id, to_json(&slice.counts), progress.to, read],
        )
        .await?;
        self.count(&mut tx, stored.workspace, None, &counters).await?;
        tx.ring(live(stored.workspace, stored.id));
        let counts = slice.counts;
        tx.commit().await?;
        Ok(Some(SliceAnswer::Committed(counts)))
    }

    /// The contacts that the book has already, held until the end of the slice.
    async fn find_contacts<'a>(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        rows: &'a [ImportRow],
    ) -> Result<HashMap<&'a str, Merged>> {
        let mut found = HashMap::with_capacity(rows.len());
        let norms: HashMap<&str, &'a str> =
            rows.iter().map(|row| (row.mailbox_norm.as_str(), row.mailbox_norm.as_str())).collect();
        let mut sorted: Vec<&str> = norms.keys().copied().collect();
        sorted.sort_unstable();
        let known = tx
            .all(
                // In the order of the key, so that two imports never hold each other's rows crosswise.
                sql!(
                    "SELECT id, mailbox, mailbox_norm, domain, {json attributes} AS attributes, zone, language, \
                     address_state, marks, hint FROM contact WHERE workspace_id = $1 AND mailbox_norm IN {texts $2} \
                     ORDER BY mailbox_norm {for_update}"
                ),
                args![workspace, to_json(&sorted)],
            )
            .await?;
        for row in &known {
            let norm = row.text("mailbox_norm")?;
            let Some(norm) = norms.get(norm.as_str()) else { continue };
            found.insert(
                *norm,
                Merged {
                    id: ContactId(row.int("id")?),
                    mailbox: row.text("mailbox")?,
                    domain: row.text("domain")?,
                    attributes: json(row, "attributes")?,
                    zone: row.text_opt("zone")?,
                    language: row.text_opt("language")?,
                    address_state: word(row, "address_state", AddressState::parse)?,
                    marks: parse_marks(&row.text("marks")?)?,
                    hint: row.text_opt("hint")?,
                    fate: Fate::Same,
                },
            );
        }
        Ok(found)
    }

    /// Inserts new contacts and updates changed ones; `false` when somebody else inserted one of them meanwhile.
    async fn write_contacts(&self, tx: &mut Tx, slice: &Slice<'_>, now: i64) -> Result<bool> {
        let new = slice.rows(Fate::New);
        if !new.is_empty() {
            let source = if slice.import.consent.source.is_empty() {
                slice.import.file_name.as_str()
            } else {
                slice.import.consent.source.as_str()
            };
            let inserted = tx
                .execute(
                    sql!(
                        "INSERT INTO contact (id, workspace_id, mailbox, mailbox_norm, domain, attributes, zone, language, \
                         address_state, marks, hint, source, created_at, updated_at) \
                         SELECT r.id, $2, r.m, r.n, r.d, {jsonb r.a}, r.z, r.l, r.s, r.k, r.h, $3, $4, $4 \
                         FROM {rows $1 (id bigint, m text, n text, d text, a text, z text, l text, s text, k text, h text)} r \
                         WHERE TRUE ON CONFLICT (workspace_id, mailbox_norm) DO NOTHING"
                    ),
                    args![to_json(&new), slice.workspace, source, now],
                )
                .await?;
            if inserted != new.len() as u64 {
                return Ok(false);
            }
        }
        let changed = slice.rows(Fate::Changed);
        if !changed.is_empty() {
            tx.execute(
                sql!(
                    "UPDATE contact SET attributes = {jsonb r.a}, zone = r.z, language = r.l, address_state = r.s, \
                     marks = r.k, hint = r.h, updated_at = $3, rev = contact.rev + 1 \
                     FROM {rows $1 (id bigint, a text, z text, l text, s text, k text, h text)} r \
                     WHERE contact.id = r.id AND contact.workspace_id = $2"
                ),
                args![to_json(&changed), slice.workspace, now],
            )
            .await?;
        }
        Ok(true)
    }

    async fn write_memberships(
        &self,
        tx: &mut Tx,
        slice: &Slice<'_>,
        now: i64,
        counters: &mut Vec<(String, i64)>,
    ) -> Result<()> {
        if slice.order.is_empty() || slice.import.mapping.lists.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<i64> = slice.in_order().map(|contact| contact.id.get()).collect();
        ids.sort_unstable();
        let ids = to_json(&ids);
        let mut lists: Vec<ListId> = slice.import.mapping.lists.clone();
        lists.sort_unstable();
        lists.dedup();
        for list in lists {
            // A list that was deleted meanwhile takes nobody.
            let added = tx
                .execute(
                    sql!(
                        "INSERT INTO membership (list_id, contact_id, added_at) \
                         SELECT l.id, c.id, $4 FROM list l, contact c \
                         WHERE l.workspace_id = $1 AND l.id = $2 AND c.id IN {ids $3} ON CONFLICT (list_id, contact_id) DO NOTHING"
                    ),
                    args![slice.workspace, list, ids.as_str(), now],
                )
                .await?;
            counters.push((members_counter(list), added.cast_signed()));
        }
        Ok(())
    }

    async fn write_refused(&self, tx: &mut Tx, slice: &Slice<'_>) -> Result<()> {
        if slice.refused.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = slice
            .refused
            .iter()
            .map(|r| serde_json::json!({ "n": r.row, "r": r.reason, "d": tame(&r.detail), "w": tame(&r.raw) }))
            .collect();
        tx.execute(
            sql!(
                "INSERT INTO import_refused (import_id, row, reason, detail, raw) \
                 SELECT $2, r.n, r.r, r.d, r.w FROM {rows $1 (n bigint, r text, d text, w text)} r WHERE TRUE \
                 ON CONFLICT (import_id, row) DO NOTHING"
            ),
            args![to_json(&rows), slice.import.id],
        )
        .await?;
        Ok(())
    }

    /// Grants what the import claims to those who never answered, with one batch of ledger entries.
    async fn write_consents(&self, tx: &mut Tx, slice: &Slice<'_>, now: i64) -> Result<()> {
        let claim = &slice.import.consent;
        let (true, Some(purpose), Some(wording)) = (claim.is_complete(), claim.purpose, claim.wording) else {
            return Ok(());
        };
        let Some(row) = tx
            .opt(
                sql!("SELECT text_hash FROM wording WHERE workspace_id = $1 AND purpose_id = $2 AND id = $3"),
                args![slice.workspace, purpose, wording],
            )
            .await?
        else {
            return Ok(());
        };
        let evidence = Evidence {
            source: claim.source.clone(),
            basis: claim.basis,
            given_at: claim.given_at,
            wording: Some((wording.to_string(), hex(&row.bytes("text_hash")?))),
            method: "import".into(),
            ..Evidence::default()
        };
        let granted = self.grantable(tx, slice, purpose).await?;
        if granted.is_empty() {
            return Ok(());
        }
        let alike = Payload {
            kind: LedgerKind::Granted,
            contact: granted.first().copied(),
            purpose: Some(purpose),
            at: now,
            actor: ConsentActor::Import,
            by: slice.import.id.to_string(),
            evidence: Some(evidence),
            erased: Vec::new(),
        };
        let first = self.append_alike_to_ledger(tx, slice.workspace, &alike, &granted).await?;
        let rows: Vec<GrantedRow> = granted.iter().zip(first..).map(|(c, s)| GrantedRow { c: c.get(), s }).collect();
        tx.execute(
            sql!(
                "INSERT INTO consent (contact_id, purpose_id, workspace_id, state, basis, since, ledger_seq) \
                 SELECT r.c, $2, $3, 'granted', $4, $5, r.s FROM {rows $1 (c bigint, s bigint)} r WHERE TRUE \
                 ON CONFLICT (contact_id, purpose_id) DO UPDATE SET state = excluded.state, basis = excluded.basis, \
                 since = excluded.since, ledger_seq = excluded.ledger_seq"
            ),
            args![
                to_json(&rows),
                purpose,
                slice.workspace,
                claim.basis.map(postrider_domain::consent::LegalBasis::as_str),
                claim.given_at.unwrap_or(now).min(now)
            ],
        )
        .await?;
        Ok(())
    }

    /// The contacts of the slice whose state lets an import grant, in the order of the file. Their rows are held or
    /// new, so no opt-out can come between.
    async fn grantable(&self, tx: &mut Tx, slice: &Slice<'_>, purpose: PurposeId) -> Result<Vec<ContactId>> {
        let known: Vec<i64> =
            slice.in_order().filter(|contact| contact.fate != Fate::New).map(|contact| contact.id.get()).collect();
        let mut states: HashMap<i64, ConsentState> = HashMap::new();
        if !known.is_empty() {
            let rows = tx
                .all(
                    sql!(
                        "SELECT contact_id, state FROM consent \
                         WHERE purpose_id = $1 AND workspace_id = $2 AND contact_id IN {ids $3}"
                    ),
                    args![purpose, slice.workspace, to_json(&known)],
                )
                .await?;
            for row in &rows {
                states.insert(row.int("contact_id")?, word(row, "state", ConsentState::parse)?);
            }
        }
        Ok(slice
            .in_order()
            .filter(|contact| import_may_grant(states.get(&contact.id.get()).copied()))
            .map(|contact| contact.id)
            .collect())
    }
}

/// A raw text, cut and without the NUL that PostgreSQL cannot store.
fn tame(text: &str) -> String {
    let mut end = text.len().min(RAW_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{FFFD}")
}
