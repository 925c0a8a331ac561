//! Who a campaign would go to: the ids of its audience from one snapshot, and the contacts behind them page by page.
//!
//! Must not decide: it hands out facts for `may_send`.

use std::collections::{HashMap, HashSet};

use postrider_domain::consent::ConsentState;
use postrider_domain::contact::{AddressState, Attributes};
use postrider_domain::gate::{Facts, Presence};
use postrider_domain::id::{ContactId, ListId, PurposeId, WorkspaceId};
use postrider_domain::route::ExclusionPolicy;
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use serde_json::json;

use crate::db::Reader;
use crate::error::{Result, StoreError};
use crate::freeze::Freezer;
use crate::message::hex;
use crate::read::word;
use crate::sql::{args, rows_json, sql};

/// Ids read from a list at once.
const ID_PAGE: i64 = 10_000;

/// A contact of the audience, with all that decides whether it gets the campaign.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which.
    pub contact: ContactId,
    /// The mailbox as spelt.
    pub mailbox: String,
    /// The mailbox in the form in which it is compared.
    pub mailbox_norm: String,
    /// Its domain.
    pub domain: String,
    /// The attributes that the version uses.
    pub attributes: Attributes,
    /// The contact's time zone.
    pub zone: Option<String>,
    /// The contact's language.
    pub language: Option<String>,
    /// For [`postrider_domain::gate::may_send`].
    pub facts: Facts,
    /// The contact's consent for individual tracking, if its workspace has such a purpose.
    pub tracking_consent: Option<ConsentState>,
}

/// A contact as it comes; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Packed {
    id: i64,
    mailbox: String,
    mailbox_norm: String,
    domain: String,
    attributes: Attached,
    zone: Option<String>,
    language: Option<String>,
    address: AddressState,
    erased_at: Option<i64>,
    consent: Option<ConsentState>,
    tracking: Option<ConsentState>,
}

/// SQLite nests JSON in JSON, PostgreSQL hands it over as text.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Attached {
    Object(Attributes),
    Text(String),
}

impl Attached {
    fn read(self) -> Result<Attributes> {
        match self {
            Attached::Object(attributes) => Ok(attributes),
            Attached::Text(text) => {
                serde_json::from_str(&text).map_err(|_| StoreError::Corrupt("column attributes: no JSON object".into()))
            }
        }
    }
}

/// 1 when opt-outs from every purpose count.
pub(crate) const fn everybody(policy: ExclusionPolicy) -> i64 {
    match policy {
        ExclusionPolicy::Campaign => 0,
        ExclusionPolicy::Global => 1,
    }
}

impl Freezer {
    /// Reads the ids of the audience: lists in, minus lists out, each contact once.
    pub(crate) async fn read_ids(&mut self) -> Result<()> {
        let mut reader = self.store.snapshot().await?;
        let workspace = self.plan.workspace;
        let mut include = Vec::new();
        for list in &self.plan.audience.include {
            read_list(&mut reader, workspace, *list, &mut include).await?;
        }
        include.sort_unstable();
        let named = include.len();
        include.dedup();
        self.duplicates = i64::try_from(named - include.len()).unwrap_or(0);
        let mut exclude = Vec::new();
        for list in &self.plan.audience.exclude {
            read_list(&mut reader, workspace, *list, &mut exclude).await?;
        }
        if !exclude.is_empty() {
            exclude.sort_unstable();
            include.retain(|id| exclude.binary_search(id).is_err());
        }
        self.tracking_purpose = reader
            .opt(
                sql!("SELECT id FROM purpose WHERE workspace_id = $1 AND kind = 'tracking' ORDER BY id LIMIT 1"),
                args![workspace],
            )
            .await?
            .map(|row| row.int("id").map(PurposeId))
            .transpose()?;
        include.shrink_to_fit();
        self.ids = include;
        Ok(())
    }

    /// The next contacts of the audience, at most `limit` (1 to 2,000); empty at the end.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn next_page(&mut self, limit: usize) -> Result<Vec<Candidate>> {
        let end = (self.at + limit.clamp(1, 2_000)).min(self.ids.len());
        let page = &self.ids[self.at..end];
        if page.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = self.store.read().await?;
        let mut rows: Vec<Packed> = reader
            .one(
                sql!(
                    "SELECT {pack p.id, p.mailbox, p.mailbox_norm, p.domain, p.attributes, p.zone, p.language, p.address_state, \
                                  p.erased_at, p.consent, p.tracking} AS packed \
                     FROM (SELECT k.id, k.mailbox, k.mailbox_norm, k.domain, {json k.attributes} AS attributes, k.zone, k.language, \
                            k.address_state, k.erased_at, \
                            CASE WHEN $5 = 1 AND EXISTS (SELECT 1 FROM consent x JOIN purpose u ON u.id = x.purpose_id \
                              WHERE x.contact_id = k.id AND x.state = 'withdrawn' AND u.kind <> 'tracking') \
                              THEN 'withdrawn' ELSE n.state END AS consent, t.state AS tracking \
                       FROM {ids $1} r JOIN contact k ON k.id = r.value \
                       LEFT JOIN consent n ON n.contact_id = k.id AND n.purpose_id = $3 \
                       LEFT JOIN consent t ON t.contact_id = k.id AND t.purpose_id = $4 \
                       WHERE k.workspace_id = $2) p"
                ),
                args![
                    rows_json(page),
                    self.plan.workspace,
                    self.plan.purpose,
                    self.tracking_purpose,
                    everybody(self.plan.exclusion)
                ],
            )
            .await?
            .packed()?;
        rows.sort_unstable_by_key(|row| row.id);
        let mut candidates = Vec::with_capacity(rows.len());
        for row in rows {
            let mut attributes = row.attributes.read()?;
            attributes.retain(|name, _| self.plan.uses.iter().any(|used| used == name));
            candidates.push(Candidate {
                contact: ContactId(row.id),
                mailbox: row.mailbox,
                mailbox_norm: row.mailbox_norm,
                domain: row.domain,
                attributes,
                zone: row.zone,
                language: row.language,
                facts: Facts {
                    stream: self.plan.stream,
                    consent: row.consent,
                    suppression: None,
                    address: row.address,
                    contact: if row.erased_at.is_some() { Presence::Erased } else { Presence::Present },
                },
                tracking_consent: row.tracking,
            });
        }
        self.look_up_suppressions(&mut reader, &mut candidates).await?;
        self.at = end;
        Ok(candidates)
    }

    /// Suppressions are kept by keyed digest, so they are looked up by the digests of the page.
    async fn look_up_suppressions(&self, reader: &mut Reader, candidates: &mut [Candidate]) -> Result<()> {
        let digests: Vec<String> = candidates.iter().map(|c| hex(&self.store.digest(&c.mailbox_norm))).collect();
        let domains: HashSet<&str> = candidates.iter().map(|c| c.domain.as_str()).collect();
        let keys: Vec<serde_json::Value> = digests.iter().map(|d| json!({"h": d})).collect();
        let now = self.store.now();
        let mut found: HashMap<String, (SuppressionScope, SuppressionReason)> = HashMap::new();
        let rows = reader
            .all(
                sql!(
                    "SELECT r.h AS \"key\", s.scope, s.reason FROM {rows $1 (h text)} r \
                     JOIN suppression s ON s.workspace_id = $2 AND s.digest = {unhex r.h} \
                     WHERE s.until IS NULL OR s.until > $3 \
                     UNION ALL \
                     SELECT s.domain AS \"key\", s.scope, s.reason FROM suppression s \
                     WHERE s.workspace_id = $2 AND s.domain IN {texts $4} AND (s.until IS NULL OR s.until > $3)"
                ),
                args![serde_json::Value::Array(keys), self.plan.workspace, now, json!(domains)],
            )
            .await?;
        for row in &rows {
            let fact = (word(row, "scope", SuppressionScope::parse)?, word(row, "reason", SuppressionReason::parse)?);
            found.entry(row.text("key")?).and_modify(|f| *f = (*f).min(fact)).or_insert(fact);
        }
        for (candidate, digest) in candidates.iter_mut().zip(&digests) {
            let facts = [found.get(digest), found.get(&candidate.domain)];
            candidate.facts.suppression = facts.into_iter().flatten().min().copied();
        }
        Ok(())
    }
}

async fn read_list(reader: &mut Reader, workspace: WorkspaceId, list: ListId, ids: &mut Vec<i64>) -> Result<()> {
    let mut after = i64::MIN;
    loop {
        let rows = reader
            .all(
                sql!(
                    "SELECT m.contact_id FROM membership m JOIN list l ON l.id = m.list_id AND l.workspace_id = $2 \
                     WHERE m.list_id = $1 AND m.contact_id > $3 ORDER BY m.contact_id LIMIT $4"
                ),
                args![list, workspace, after, ID_PAGE],
            )
            .await?;
        for row in &rows {
            after = row.int("contact_id")?;
            ids.push(after);
        }
        if (rows.len() as i64) < ID_PAGE {
            return Ok(());
        }
    }
}
