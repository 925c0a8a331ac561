//! The consent ledger: an append-only chain of evidence per workspace (LAW-20; DESIGN section 6).
//!
//! An entry holds `commitment = SHA-256(salt ‖ payload)` and `mac = HMAC(key of the workspace, seq ‖ prev ‖ commitment)`,
//! where `prev` is the mac before it. Salt and payload lie beside and go at erasure; an entry of kind `erased` names the
//! numbers whose payload went, so that [`Store::verify_ledger`] stays green. Must not decide who may be written to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use aws_lc_rs::hmac;
use postrider_domain::consent::{ConsentActor, Evidence, LedgerKind};
use postrider_domain::id::{ContactId, PurposeId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::Store;
use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::read::{not_found, to_json, word};
use crate::seal::KeyPurpose;
use crate::secret::{fill_random, hex, sha256};
use crate::sql::{args, sql};

/// The mac before the first entry.
const NO_PREV: [u8; 32] = [0; 32];
/// Bytes of a salt: enough that a payload cannot be guessed from its commitment after erasure.
const SALT: usize = 16;
/// Entries read at a time by `verify`.
const SLICE: i64 = 2_000;
/// The file in the data folder that holds sealed heads, and the place it is sealed for.
const HEAD_FILE: &str = "ledger.head";

/// What lies beside an entry; its JSON, byte for byte as stored, is what the commitment is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) kind: LedgerKind,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) contact: Option<ContactId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) purpose: Option<PurposeId>,
    pub(crate) at: i64,
    pub(crate) actor: ConsentActor,
    /// The id of the actor or of the import, as text; empty where there is none.
    pub(crate) by: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) evidence: Option<Evidence>,
    /// Numbers of the entries whose payload this one erased.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) erased: Vec<i64>,
}

/// An entry as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LedgerEntry {
    /// Its number in the workspace's chain, from 1.
    pub seq: i64,
    /// What it records.
    pub kind: LedgerKind,
    /// The contact; `None` once erased.
    pub contact: Option<ContactId>,
    /// The purpose.
    pub purpose: Option<PurposeId>,
    /// When it was written, i64 milliseconds UTC.
    pub at: i64,
    /// Who or what wrote it; `None` once erased.
    pub actor: Option<ConsentActor>,
    /// The evidence; `None` once erased.
    pub evidence: Option<Evidence>,
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// Entries looked at.
    pub entries: i64,
    /// Of these: payload lawfully erased.
    pub erased: i64,
    /// What does not fit, in words, at most 20; empty: the chain is whole.
    pub faults: Vec<String>,
}

impl LedgerReport {
    /// Whether nothing was changed, left out, added or cut off.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, text: String) {
        if self.faults.len() < 20 {
            self.faults.push(text);
        }
    }
}

/// The key of one workspace's chain.
fn chain_key(store: &Store, workspace: WorkspaceId) -> hmac::Key {
    let root = hmac::Key::new(hmac::HMAC_SHA256, store.derived_key(KeyPurpose::Ledger).as_slice());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, &workspace.get().to_be_bytes()).as_ref())
}

fn commitment(salt: &[u8], payload: &[u8]) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(salt.len() + payload.len());
    bytes.extend_from_slice(salt);
    bytes.extend_from_slice(payload);
    sha256(&bytes)
}

fn mac(key: &hmac::Key, seq: i64, prev: &[u8; 32], commitment: &[u8; 32]) -> [u8; 32] {
    let mut bytes = [0u8; 72];
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    bytes[8..40].copy_from_slice(prev);
    bytes[40..].copy_from_slice(commitment);
    hmac::sign(key, &bytes).as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

/// 32 bytes of a column.
fn digest(bytes: Vec<u8>, column: &str) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| StoreError::Corrupt(format!("column ledger.{column} has not 32 bytes")))
}

/// A batch of links: what the set inserts take beside the payloads, as three runs of bytes.
struct Links {
    /// The number of the first entry.
    first: i64,
    /// Salts, 16 bytes each.
    salts: Vec<u8>,
    /// Commitments, 32 bytes each.
    commitments: Vec<u8>,
    /// The mac before the first entry, then each entry's own: entry `i` follows mac `i` and has mac `i + 1`.
    macs: Vec<u8>,
}

/// One row as the set insert takes it; `i` is its place in the runs of bytes.
#[derive(Serialize)]
struct NewRow<'a> {
    i: usize,
    y: &'a str,
    k: &'a str,
    c: Option<i64>,
    p: Option<i64>,
    t: i64,
}

/// As [`NewRow`], for entries that differ in their contact only.
#[derive(Serialize)]
struct AlikeRow<'a> {
    i: usize,
    c: i64,
    n: &'a str,
}

impl Store {
    /// The head of a new workspace's chain.
    pub(crate) async fn begin_ledger(&self, tx: &mut Tx, workspace: WorkspaceId) -> Result<()> {
        tx.execute(
            sql!("INSERT INTO ledger_head (workspace_id, seq, hash, count) VALUES ($1, 0, $2, 0)"),
            args![workspace, NO_PREV],
        )
        .await?;
        Ok(())
    }

    /// Appends entries; the number of the first one. Takes the head's row lock: call it after every other lock, and
    /// once per batch.
    pub(crate) async fn append_to_ledger(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        entries: &[Payload],
    ) -> Result<i64> {
        let payloads: Vec<String> = entries.iter().map(to_json).collect();
        let links = self.link(tx, workspace, &payloads).await?;
        let rows: Vec<NewRow<'_>> = entries
            .iter()
            .zip(&payloads)
            .enumerate()
            .map(|(i, (entry, payload))| NewRow {
                i,
                y: payload,
                k: entry.kind.as_str(),
                c: entry.contact.map(ContactId::get),
                p: entry.purpose.map(PurposeId::get),
                t: entry.at,
            })
            .collect();
        // The empty bytes tell PostgreSQL what kind of parameter the runs are.
        tx.execute(
            sql!(
                "INSERT INTO ledger (workspace_id, seq, prev, commitment, mac, salt, payload, kind, contact_id, purpose_id, at) \
                 SELECT $2, $3 + r.i, \
                 substr(coalesce($4, {unhex ''}), CAST(r.i * 32 + 1 AS INTEGER), 32), \
                 substr(coalesce($5, {unhex ''}), CAST(r.i * 32 + 1 AS INTEGER), 32), \
                 substr(coalesce($4, {unhex ''}), CAST(r.i * 32 + 33 AS INTEGER), 32), \
                 substr(coalesce($6, {unhex ''}), CAST(r.i * 16 + 1 AS INTEGER), 16), r.y, r.k, r.c, r.p, r.t \
                 FROM {rows $1 (i bigint, y text, k text, c bigint, p bigint, t bigint)} r"
            ),
            args![to_json(&rows), workspace, links.first, links.macs, links.commitments, links.salts],
        )
        .await?;
        Ok(links.first)
    }

    /// As [`Store::append_to_ledger`] for many contacts with one and the same evidence: what they have in common travels
    /// once. `alike` is the entry of the first contact.
    pub(crate) async fn append_alike_to_ledger(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        alike: &Payload,
        contacts: &[ContactId],
    ) -> Result<i64> {
        let whole = to_json(alike);
        let name = alike.contact.map(|contact| contact.to_string()).unwrap_or_default();
        // The contact is the second field, after a word of ours: its first coming is the field itself.
        let (before, after) = whole
            .split_once(&name)
            .ok_or_else(|| StoreError::Corrupt("an entry for many contacts names none".into()))?;
        let names: Vec<String> = contacts.iter().map(ContactId::to_string).collect();
        let payloads: Vec<String> = names.iter().map(|name| [before, name, after].concat()).collect();
        let links = self.link(tx, workspace, &payloads).await?;
        let rows: Vec<AlikeRow<'_>> = contacts
            .iter()
            .zip(&names)
            .enumerate()
            .map(|(i, (contact, n))| AlikeRow { i, c: contact.get(), n })
            .collect();
        tx.execute(
            sql!(
                "INSERT INTO ledger (workspace_id, seq, prev, commitment, mac, salt, payload, kind, contact_id, purpose_id, at) \
                 SELECT $2, $3 + r.i, \
                 substr(coalesce($4, {unhex ''}), CAST(r.i * 32 + 1 AS INTEGER), 32), \
                 substr(coalesce($5, {unhex ''}), CAST(r.i * 32 + 1 AS INTEGER), 32), \
                 substr(coalesce($4, {unhex ''}), CAST(r.i * 32 + 33 AS INTEGER), 32), \
                 substr(coalesce($6, {unhex ''}), CAST(r.i * 16 + 1 AS INTEGER), 16), \
                 $7 || r.n || $8, $9, r.c, $10, $11 \
                 FROM {rows $1 (i bigint, c bigint, n text)} r"
            ),
            args![
                to_json(&rows),
                workspace,
                links.first,
                links.macs,
                links.commitments,
                links.salts,
                before,
                after,
                alike.kind.as_str(),
                alike.purpose,
                alike.at
            ],
        )
        .await?;
        Ok(links.first)
    }

    /// Holds the head, computes the links of a batch and moves the head past it.
    async fn link(&self, tx: &mut Tx, workspace: WorkspaceId, payloads: &[String]) -> Result<Links> {
        let head = tx
            .opt(sql!("SELECT seq, hash FROM ledger_head WHERE workspace_id = $1 {for_update}"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        let first = head.int("seq")? + 1;
        let mut prev = digest(head.bytes("hash")?, "hash")?;
        let key = chain_key(self, workspace);
        let mut salts = vec![0u8; SALT * payloads.len()];
        fill_random(&mut salts)?;
        let mut commitments = Vec::with_capacity(32 * payloads.len());
        let mut macs = Vec::with_capacity(32 * (payloads.len() + 1));
        macs.extend_from_slice(&prev);
        for ((seq, payload), salt) in (first..).zip(payloads).zip(salts.chunks_exact(SALT)) {
            let commitment = commitment(salt, payload.as_bytes());
            prev = mac(&key, seq, &prev, &commitment);
            commitments.extend_from_slice(&commitment);
            macs.extend_from_slice(&prev);
        }
        let count = i64::try_from(payloads.len()).expect("a batch fits in memory");
        tx.execute(
            sql!("UPDATE ledger_head SET seq = seq + $2, hash = $3, count = count + $2 WHERE workspace_id = $1"),
            args![workspace, count, prev],
        )
        .await?;
        Ok(Links { first, salts, commitments, macs })
    }

    /// Takes salt and payload of a contact's entries away and appends the entry that says so.
    pub(crate) async fn erase_from_ledger(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        actor: ConsentActor,
        by: String,
        contact: ContactId,
    ) -> Result<usize> {
        let rows = tx
            .all(
                sql!(
                    "UPDATE ledger SET salt = NULL, payload = NULL, contact_id = NULL \
                     WHERE workspace_id = $1 AND contact_id = $2 RETURNING seq"
                ),
                args![workspace, contact],
            )
            .await?;
        let mut erased = rows.iter().map(|row| row.int("seq")).collect::<Result<Vec<_>>>()?;
        erased.sort_unstable();
        let number = erased.len();
        if number > 0 {
            let payload = Payload {
                kind: LedgerKind::Erased,
                contact: None,
                purpose: None,
                at: self.now(),
                actor,
                by,
                evidence: None,
                erased,
            };
            self.append_to_ledger(tx, workspace, &[payload]).await?;
        }
        Ok(number)
    }

    /// The ledger of a workspace, newest first; of one contact if named.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn ledger_entries(
        &self,
        workspace: WorkspaceId,
        contact: Option<ContactId>,
        page: &PageRequest,
    ) -> Result<Page<LedgerEntry>> {
        let before: i64 = page.position("ledger")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let mut reader = self.read().await?;
        let rows = match contact {
            None => {
                reader
                    .all(
                        sql!(
                            "SELECT seq, kind, contact_id, purpose_id, at, payload FROM ledger \
                             WHERE workspace_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
                        ),
                        args![workspace, before, limit + 1],
                    )
                    .await?
            }
            Some(contact) => {
                reader
                    .all(
                        sql!(
                            "SELECT seq, kind, contact_id, purpose_id, at, payload FROM ledger \
                             WHERE workspace_id + 0 = $1 AND contact_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4"
                        ),
                        args![workspace, contact, before, limit + 1],
                    )
                    .await?
            }
        };
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let payload: Option<Payload> = crate::read::json_opt(row, "payload")?;
            entries.push(LedgerEntry {
                seq: row.int("seq")?,
                kind: word(row, "kind", LedgerKind::parse)?,
                contact: row.int_opt("contact_id")?.map(ContactId),
                purpose: row.int_opt("purpose_id")?.map(PurposeId),
                at: row.int("at")?,
                actor: payload.as_ref().map(|p| p.actor),
                evidence: payload.and_then(|p| p.evidence),
            });
        }
        Ok(Page::cut(entries, limit, "ledger", |entry| entry.seq))
    }

    /// Checks a workspace's whole chain: every link, every payload against its commitment, the head, the sealed head
    /// outside the database, and that each consent rests on its entry.
    ///
    /// # Errors
    /// The database fails; what does not fit is a fault in the report, never an error.
    pub async fn verify_ledger(&self, workspace: WorkspaceId) -> Result<LedgerReport> {
        let key = chain_key(self, workspace);
        let mut report = LedgerReport { entries: 0, erased: 0, faults: Vec::new() };
        let mut prev = NO_PREV;
        let mut gone = BTreeSet::new();
        let mut named = BTreeSet::new();
        let sealed = self.read_sealed_heads()?.remove(&workspace.get());
        let mut sealed_seen = sealed.is_none();
        // The head first: entries that arrive while we read are left for the next time.
        let head = self
            .read()
            .await?
            .opt(sql!("SELECT seq, hash, count FROM ledger_head WHERE workspace_id = $1"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        let (head_seq, head_hash) = (head.int("seq")?, digest(head.bytes("hash")?, "hash")?);
        let mut seq = 0;
        while seq < head_seq {
            let rows = self
                .read()
                .await?
                .all(
                    sql!(
                        "SELECT seq, prev, commitment, mac, salt, payload, kind, contact_id, purpose_id, at FROM ledger \
                         WHERE workspace_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4"
                    ),
                    args![workspace, seq, head_seq, SLICE],
                )
                .await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let found = row.int("seq")?;
                if found != seq + 1 {
                    report.fault(format!("entries {} to {} are missing", seq + 1, found - 1));
                }
                seq = found;
                report.entries += 1;
                let stored_prev = digest(row.bytes("prev")?, "prev")?;
                let stored_commitment = digest(row.bytes("commitment")?, "commitment")?;
                let stored_mac = digest(row.bytes("mac")?, "mac")?;
                if stored_prev != prev {
                    report.fault(format!("entry {seq} does not follow the one before it"));
                }
                if !bool::from(mac(&key, seq, &stored_prev, &stored_commitment).ct_eq(&stored_mac)) {
                    report.fault(format!("entry {seq} has a wrong mac"));
                }
                prev = stored_mac;
                if let Some((at, hash)) = &sealed
                    && *at == seq
                {
                    sealed_seen = *hash == hex(&stored_mac);
                }
                let kind = word(row, "kind", LedgerKind::parse)?;
                match (row.bytes_opt("salt")?, row.text_opt("payload")?) {
                    (Some(salt), Some(payload)) => {
                        if commitment(&salt, payload.as_bytes()) != stored_commitment {
                            report.fault(format!("entry {seq} was changed: its payload is not the one committed to"));
                        }
                        match serde_json::from_str::<Payload>(&payload) {
                            Ok(payload) => {
                                let same = payload.kind == kind
                                    && payload.contact.map(ContactId::get) == row.int_opt("contact_id")?
                                    && payload.purpose.map(PurposeId::get) == row.int_opt("purpose_id")?
                                    && payload.at == row.int("at")?;
                                if !same {
                                    report
                                        .fault(format!("entry {seq} was changed: its columns differ from its payload"));
                                }
                                named.extend(payload.erased);
                            }
                            Err(_) => report.fault(format!("entry {seq} has a payload that cannot be read")),
                        }
                    }
                    (None, None) => {
                        gone.insert(seq);
                        report.erased += 1;
                    }
                    (Some(_), None) | (None, Some(_)) => report.fault(format!("entry {seq} lost half of its payload")),
                }
            }
        }
        for seq in gone.difference(&named) {
            report.fault(format!("entry {seq} lost its payload, and no erasure names it"));
        }
        if seq != head_seq || prev != head_hash || head.int("count")? != head_seq {
            report.fault(format!("the chain ends at entry {seq}, its head says {head_seq}"));
        }
        if !sealed_seen {
            report.fault("the chain does not hold the entry that was sealed outside the database: entries were cut off, or an old backup is in use".into());
        }
        self.verify_consents(workspace, &mut report).await?;
        Ok(report)
    }

    /// Each consent names an entry with its own contact, purpose and state.
    async fn verify_consents(&self, workspace: WorkspaceId, report: &mut LedgerReport) -> Result<()> {
        let bare = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT c.ledger_seq FROM consent c \
                     LEFT JOIN ledger l ON l.workspace_id = c.workspace_id AND l.seq = c.ledger_seq \
                     AND l.contact_id = c.contact_id AND l.purpose_id = c.purpose_id AND l.kind = c.state \
                     WHERE c.workspace_id = $1 AND l.seq IS NULL LIMIT 20"
                ),
                args![workspace],
            )
            .await?;
        for row in &bare {
            report.fault(format!("a consent rests on entry {}, which says something else", row.int("ledger_seq")?));
        }
        Ok(())
    }

    /// Writes every chain's head, sealed, to the data folder; a database that was cut back no longer fits it.
    ///
    /// # Errors
    /// The database fails, or the file cannot be written.
    pub async fn seal_ledger_heads(&self) -> Result<()> {
        let rows = self
            .read()
            .await?
            .all(sql!("SELECT workspace_id, seq, hash FROM ledger_head WHERE seq > 0"), args![])
            .await?;
        let mut heads = BTreeMap::new();
        for row in &rows {
            heads.insert(row.int("workspace_id")?, (row.int("seq")?, hex(&row.bytes("hash")?)));
        }
        let sealed = self.seal(HEAD_FILE, json!(heads.iter().collect::<Vec<_>>()).to_string().as_bytes())?;
        let path = self.data().join(HEAD_FILE);
        let fresh = self.data().join("ledger.head.new");
        let write = || {
            let mut file = std::fs::File::create(&fresh)?;
            file.write_all(&sealed)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|error| StoreError::file(&path, error))
    }

    fn read_sealed_heads(&self) -> Result<BTreeMap<i64, (i64, String)>> {
        let path = self.data().join(HEAD_FILE);
        let sealed = match std::fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(StoreError::file(&path, error)),
        };
        let text = self.unseal(HEAD_FILE, &sealed)?;
        let heads: Vec<(i64, (i64, String))> = serde_json::from_slice(&text)
            .map_err(|_| StoreError::Corrupt("the file ledger.head holds something else".into()))?;
        Ok(heads.into_iter().collect())
    }
}
