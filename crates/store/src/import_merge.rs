//! What the rows of a slice and the book make together, in memory and in the order of the file.
//!
//! The counts do not depend on where slices begin. Must not know SQL.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use postrider_domain::contact::{AddressMark, AddressState, Attributes, check_attributes, has_control};
use postrider_domain::id::{ContactId, WorkspaceId};
use postrider_domain::import::{ImportCounts, RefusedReason};
use serde::Serialize;

use crate::Store;
use crate::contact::marks_text;
use crate::import::{Import, RefusedRow};
use crate::import_slice::ImportRow;

/// A contact as the slice leaves it.
pub(crate) struct Merged {
    pub(crate) id: ContactId,
    pub(crate) mailbox: String,
    pub(crate) domain: String,
    pub(crate) attributes: Attributes,
    pub(crate) zone: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) address_state: AddressState,
    pub(crate) marks: Vec<AddressMark>,
    pub(crate) hint: Option<String>,
    pub(crate) fate: Fate,
}

/// What must be written for a contact.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    New,
    Changed,
    Same,
}

impl Merged {
    /// Adds what a row says; whether anything became different. Spelling stays as it came first.
    fn merge(&mut self, row: &ImportRow) -> bool {
        let mut changed = false;
        for (name, value) in &row.attributes {
            if self.attributes.get(name) != Some(value) {
                self.attributes.insert(name.clone(), value.clone());
                changed = true;
            }
        }
        let mut take = |mine: &mut Option<String>, theirs: &Option<String>| {
            if theirs.is_some() && mine != theirs {
                mine.clone_from(theirs);
                changed = true;
            }
        };
        take(&mut self.zone, &row.zone);
        take(&mut self.language, &row.language);
        // An address that was not looked at this time keeps what an earlier look found.
        if row.address_state != AddressState::Unchecked && self.address_state != row.address_state {
            self.address_state = row.address_state;
            changed = true;
        }
        if self.marks != row.marks {
            self.marks.clone_from(&row.marks);
            changed = true;
        }
        if self.hint != row.hint {
            self.hint.clone_from(&row.hint);
            changed = true;
        }
        changed
    }
}

/// One contact as the set statements take it.
#[derive(Serialize)]
pub(crate) struct ContactRow<'a> {
    id: i64,
    m: &'a str,
    n: &'a str,
    d: &'a str,
    a: &'a Attributes,
    z: Option<&'a str>,
    l: Option<&'a str>,
    s: &'a str,
    k: String,
    h: Option<&'a str>,
}

/// What a slice works with.
pub(crate) struct Slice<'a> {
    pub(crate) workspace: WorkspaceId,
    pub(crate) import: &'a Import,
    /// In the order of first appearance.
    pub(crate) order: Vec<&'a str>,
    pub(crate) contacts: HashMap<&'a str, Merged>,
    pub(crate) counts: ImportCounts,
    pub(crate) refused: Vec<RefusedRow>,
}

impl<'a> Slice<'a> {
    /// Brings the rows together with the book, one after the other, and counts each.
    pub(crate) fn merge(&mut self, store: &Store, rows: &'a [ImportRow]) {
        let mut seen = std::collections::HashSet::with_capacity(rows.len());
        for row in rows {
            if let Err(detail) = fits(row) {
                self.refuse(row, detail);
                continue;
            }
            match self.contacts.entry(row.mailbox_norm.as_str()) {
                Entry::Occupied(mut known) => {
                    let contact = known.get_mut();
                    if contact.merge(row) {
                        self.counts.updated += 1;
                        if contact.fate == Fate::Same {
                            contact.fate = Fate::Changed;
                        }
                    } else {
                        self.counts.unchanged += 1;
                    }
                }
                Entry::Vacant(place) => {
                    self.counts.created += 1;
                    place.insert(Merged {
                        id: ContactId(store.next_id()),
                        mailbox: row.mailbox.clone(),
                        domain: row.domain.clone(),
                        attributes: row.attributes.clone(),
                        zone: row.zone.clone(),
                        language: row.language.clone(),
                        address_state: row.address_state,
                        marks: row.marks.clone(),
                        hint: row.hint.clone(),
                        fate: Fate::New,
                    });
                }
            }
            if seen.insert(row.mailbox_norm.as_str()) {
                self.order.push(row.mailbox_norm.as_str());
            }
        }
        let refused = std::mem::take(&mut self.refused);
        for row in &refused {
            *self.counts.refused.entry(row.reason.as_str().to_owned()).or_default() += 1;
        }
        self.refused = refused;
    }

    fn refuse(&mut self, row: &ImportRow, detail: String) {
        self.refused.push(RefusedRow {
            row: row.row,
            reason: RefusedReason::BadCell,
            detail,
            raw: row.mailbox.clone(),
        });
    }

    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Merged> {
        self.order.iter().filter_map(|norm| self.contacts.get(norm))
    }

    pub(crate) fn number(&self, fate: Fate) -> i64 {
        i64::try_from(self.in_order().filter(|contact| contact.fate == fate).count()).expect("a slice fits in memory")
    }

    pub(crate) fn rows(&self, fate: Fate) -> Vec<ContactRow<'_>> {
        let mut rows: Vec<ContactRow<'_>> = self
            .order
            .iter()
            .filter_map(|norm| self.contacts.get(norm).map(|contact| (*norm, contact)))
            .filter(|(_, contact)| contact.fate == fate)
            .map(|(norm, contact)| ContactRow {
                id: contact.id.get(),
                m: &contact.mailbox,
                n: norm,
                d: &contact.domain,
                a: &contact.attributes,
                z: contact.zone.as_deref(),
                l: contact.language.as_deref(),
                s: contact.address_state.as_str(),
                k: marks_text(&contact.marks),
                h: contact.hint.as_deref(),
            })
            .collect();
        // In the order of the key: the unique index is then written from left to right.
        rows.sort_unstable_by_key(|row| row.n);
        rows
    }
}

/// The last look at a row before it is stored: what a contact may not hold is refused, whoever read the file.
fn fits(row: &ImportRow) -> std::result::Result<(), String> {
    check_attributes(&row.attributes).map_err(|error| error.to_string())?;
    let texts =
        [Some(&row.mailbox), Some(&row.mailbox_norm), row.zone.as_ref(), row.language.as_ref(), row.hint.as_ref()];
    if texts.into_iter().flatten().any(|text| has_control(text) || text.len() > 1024) {
        return Err("a cell is too long or has a control character".into());
    }
    Ok(())
}
