//! How many contacts a draft would go to now, and why the others would be left out: the count on the button.
//!
//! The same facts as freezing reads, grouped by the database instead of handed over contact by contact; the decision is
//! `may_send` for each group. Must not freeze anything.

use std::collections::{BTreeMap, HashSet};

use postrider_domain::campaign::Audience;
use postrider_domain::consent::ConsentState;
use postrider_domain::contact::AddressState;
use postrider_domain::gate::{Facts, Presence, Withheld, may_send};
use postrider_domain::id::{CampaignId, WorkspaceId};
use postrider_domain::route::ExclusionPolicy;
use postrider_domain::stream::Stream;
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use serde_json::json;

use crate::Store;
use crate::audience::everybody;
use crate::db::Reader;
use crate::error::Result;
use crate::read::{to_json, word};
use crate::sql::{args, sql};

/// Contacts asked for at once when single ones are looked at.
const CHUNK: usize = 5_000;
/// Mailboxes read at once when digests must be compared.
const DIGEST_PAGE: i64 = 20_000;

/// Who would get a draft now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AudienceCount {
    /// Contacts on the lists in and not on the lists out, each once.
    pub named: i64,
    /// Contacts that would get it.
    pub recipients: i64,
    /// Contacts that would not, by reason; contacts that several lists name are counted as duplicates once per further
    /// list, as freezing does.
    pub excluded: BTreeMap<Withheld, i64>,
}

/// What is asked, in the form of the statements.
struct Question {
    workspace: WorkspaceId,
    stream: Stream,
    purpose: Option<i64>,
    exclusion: ExclusionPolicy,
    include: String,
    includes: i64,
    exclude: String,
    excludes: i64,
    addresses: String,
    /// Whole domains whose suppression covers the stream.
    domains: String,
}

/// A contact's facts; the order of the fields is that of the columns.
#[derive(serde::Deserialize)]
struct Single {
    address: AddressState,
    erased_at: Option<i64>,
    domain: String,
    consent: Option<ConsentState>,
}

impl Store {
    /// Counts who would get a draft now, from one read snapshot.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn audience_count(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<AudienceCount> {
        let campaign = self.campaign(workspace, campaign).await?;
        let route = match campaign.route {
            Some(route) => Some(self.route(workspace, route).await?),
            None => self.default_route(workspace).await?,
        };
        let exclusion = route.map_or(ExclusionPolicy::Campaign, |route| route.settings.exclusion);
        self.count_audience(workspace, campaign.stream, &campaign.audience, exclusion).await
    }

    async fn count_audience(
        &self,
        workspace: WorkspaceId,
        stream: Stream,
        audience: &Audience,
        exclusion: ExclusionPolicy,
    ) -> Result<AudienceCount> {
        let mut reader = self.snapshot().await?;
        let covered = covered_domains(&mut reader, workspace, stream, self.now()).await?;
        let ids = |lists: &[postrider_domain::id::ListId]| {
            let mut ids: Vec<i64> = lists.iter().map(|list| list.get()).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let (include, exclude) = (ids(&audience.include), ids(&audience.exclude));
        let mailable: Vec<&str> = AddressState::ALL.iter().filter(|a| a.is_mailable()).map(|a| a.as_str()).collect();
        let question = Question {
            workspace,
            stream,
            purpose: audience.purpose.map(|p| p.get()),
            exclusion,
            includes: i64::try_from(include.len()).unwrap_or(i64::MAX),
            include: to_json(&include),
            excludes: i64::try_from(exclude.len()).unwrap_or(i64::MAX),
            exclude: to_json(&exclude),
            addresses: to_json(&mailable),
            domains: to_json(&covered),
        };
        let mut count = grouped(&mut reader, &question).await?;
        let suppressed = self.suppressed_contacts(&mut reader, &question).await?;
        let covered: HashSet<&str> = covered.iter().map(String::as_str).collect();
        for chunk in suppressed.chunks(CHUNK) {
            for single in singles(&mut reader, &question, chunk).await? {
                let mut facts = Facts {
                    stream,
                    consent: single.consent,
                    suppression: covered.contains(single.domain.as_str()).then_some(WIDEST),
                    address: single.address,
                    contact: if single.erased_at.is_some() { Presence::Erased } else { Presence::Present },
                };
                count.move_one(&facts, -1);
                facts.suppression = Some(WIDEST);
                count.move_one(&facts, 1);
            }
        }
        if question.includes > 1 {
            let duplicates = self.overlap(&mut reader, &question).await?;
            if duplicates > 0 {
                count.excluded.insert(Withheld::Duplicate, duplicates);
            }
        }
        count.excluded.retain(|_, n| *n != 0);
        Ok(count)
    }

    /// Contacts of the workspace whose own mailbox is suppressed for the stream. Most suppressions know their mailbox;
    /// of erased people only the keyed digest is left, which is compared with that of every contact on the lists.
    async fn suppressed_contacts(&self, reader: &mut Reader, q: &Question) -> Result<Vec<i64>> {
        let scopes: Vec<&str> =
            SuppressionScope::ALL.iter().filter(|s| s.covers(q.stream)).map(|s| s.as_str()).collect();
        let (scopes, now) = (to_json(&scopes), self.now());
        let named: Vec<(i64,)> = reader
            .one(
                sql!(
                    "SELECT {pack p.id} AS packed FROM (SELECT k.id FROM suppression s \
                       JOIN contact k ON k.workspace_id = s.workspace_id AND k.mailbox_norm = s.mailbox_norm \
                       WHERE s.workspace_id = $1 AND s.mailbox_norm IS NOT NULL AND s.scope IN {texts $2} \
                         AND (s.until IS NULL OR s.until > $3)) p"
                ),
                args![q.workspace, scopes.clone(), now],
            )
            .await?
            .packed()?;
        let mut ids: Vec<i64> = named.into_iter().map(|(id,)| id).collect();
        let nameless: Vec<(String,)> = reader
            .one(
                sql!(
                    "SELECT {pack p.h} AS packed FROM (SELECT {hex digest} AS h FROM suppression \
                       WHERE workspace_id = $1 AND mailbox_norm IS NULL AND domain IS NULL AND scope IN {texts $2} \
                         AND (until IS NULL OR until > $3)) p"
                ),
                args![q.workspace, scopes, now],
            )
            .await?
            .packed()?;
        if !nameless.is_empty() {
            let nameless: HashSet<String> = nameless.into_iter().map(|(h,)| h).collect();
            let mut after = i64::MIN;
            loop {
                let page: Vec<(i64, String)> = reader
                    .one(
                        sql!(
                            "SELECT {pack p.id, p.mailbox_norm} AS packed FROM (SELECT id, mailbox_norm FROM contact \
                               WHERE workspace_id = $1 AND id > $2 AND erased_at IS NULL ORDER BY id LIMIT $3) p"
                        ),
                        args![q.workspace, after, DIGEST_PAGE],
                    )
                    .await?
                    .packed()?;
                let Some(last) = page.iter().map(|(id, _)| *id).max() else { break };
                after = last;
                let hit = |norm: &str| nameless.contains(&crate::message::hex(&self.digest(norm)));
                ids.extend(page.iter().filter(|(_, norm)| hit(norm)).map(|(id, _)| *id));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Memberships of the lists in beyond one for each contact.
    async fn overlap(&self, reader: &mut Reader, q: &Question) -> Result<i64> {
        reader
            .one(
                sql!(
                    "SELECT count(*) AS n FROM membership m JOIN list l ON l.id = m.list_id AND l.workspace_id = $1 \
                     WHERE m.list_id IN {ids $2} AND EXISTS (SELECT 1 FROM membership e \
                       WHERE e.contact_id = m.contact_id AND e.list_id IN {ids $2} AND e.list_id < m.list_id)"
                ),
                args![q.workspace, q.include.clone()],
            )
            .await?
            .int("n")
    }
}

/// Stands for every suppression that covers the stream: which one it is does not change the decision.
const WIDEST: (SuppressionScope, SuppressionReason) = (SuppressionScope::All, SuppressionReason::Manual);

impl AudienceCount {
    fn move_one(&mut self, facts: &Facts, n: i64) {
        match may_send(facts) {
            Ok(()) => self.recipients += n,
            Err(reason) => *self.excluded.entry(reason).or_default() += n,
        }
    }
}

async fn covered_domains(reader: &mut Reader, workspace: WorkspaceId, stream: Stream, now: i64) -> Result<Vec<String>> {
    let rows = reader
        .all(
            sql!(
                "SELECT domain, scope FROM suppression WHERE workspace_id = $1 AND domain IS NOT NULL \
                 AND (until IS NULL OR until > $2)"
            ),
            args![workspace, now],
        )
        .await?;
    let mut domains = Vec::new();
    for row in &rows {
        if word(row, "scope", SuppressionScope::parse)?.covers(stream) {
            domains.push(row.text("domain")?);
        }
    }
    Ok(domains)
}

/// Counts the audience without suppressions of single mailboxes. The classes of the statement are disjoint and in the order
/// of [`may_send`], which then decides for each.
async fn grouped(reader: &mut Reader, q: &Question) -> Result<AudienceCount> {
    let row = reader
        .one(
            sql!(
                "SELECT count(*) AS named, \
                   count(*) FILTER (WHERE f.erased_at IS NOT NULL) AS erased, \
                   count(*) FILTER (WHERE f.erased_at IS NULL AND f.address_state NOT IN {texts $7}) AS unmailable, \
                   count(*) FILTER (WHERE f.erased_at IS NULL AND f.address_state IN {texts $7} AND f.domain IN {texts $8}) \
                     AS covered, \
                   count(*) FILTER (WHERE f.state = 'requested' AND f.erased_at IS NULL AND f.address_state IN {texts $7} \
                     AND f.domain NOT IN {texts $8}) AS requested, \
                   count(*) FILTER (WHERE f.state = 'refused' AND f.erased_at IS NULL AND f.address_state IN {texts $7} \
                     AND f.domain NOT IN {texts $8}) AS refused, \
                   count(*) FILTER (WHERE f.state = 'withdrawn' AND f.erased_at IS NULL AND f.address_state IN {texts $7} \
                     AND f.domain NOT IN {texts $8}) AS withdrawn, \
                   count(*) FILTER (WHERE f.state IS NULL AND f.erased_at IS NULL AND f.address_state IN {texts $7} \
                     AND f.domain NOT IN {texts $8}) AS unknown \
                 FROM (SELECT k.erased_at, k.address_state, k.domain, \
                     CASE WHEN $9 = 1 AND EXISTS (SELECT 1 FROM consent o JOIN purpose u ON u.id = o.purpose_id \
                       WHERE o.contact_id = k.id AND o.state = 'withdrawn' AND u.kind <> 'tracking') \
                       THEN 'withdrawn' ELSE n.state END AS state \
                   FROM membership m JOIN list l ON l.id = m.list_id AND l.workspace_id = $1 \
                   JOIN contact k ON k.id = m.contact_id AND k.workspace_id = $1 \
                   LEFT JOIN consent n ON n.contact_id = k.id AND n.purpose_id = $2 \
                 WHERE m.list_id IN {ids $3} \
                   AND ($4 = 1 OR NOT EXISTS (SELECT 1 FROM membership e \
                        WHERE e.contact_id = m.contact_id AND e.list_id IN {ids $3} AND e.list_id < m.list_id)) \
                   AND ($6 = 0 OR NOT EXISTS (SELECT 1 FROM membership x JOIN list y ON y.id = x.list_id \
                        WHERE x.contact_id = m.contact_id AND x.list_id IN {ids $5} AND y.workspace_id = $1))) f"
            ),
            args![
                q.workspace,
                q.purpose,
                q.include.clone(),
                q.includes,
                q.exclude.clone(),
                q.excludes,
                q.addresses.clone(),
                q.domains.clone(),
                everybody(q.exclusion)
            ],
        )
        .await?;
    let sound = |consent| Facts {
        stream: q.stream,
        consent,
        suppression: None,
        address: AddressState::Mailable,
        contact: Presence::Present,
    };
    let mut count = AudienceCount { named: row.int("named")?, ..AudienceCount::default() };
    count.move_one(&Facts { contact: Presence::Erased, ..sound(None) }, row.int("erased")?);
    count.move_one(&Facts { address: AddressState::NoMailServer, ..sound(None) }, row.int("unmailable")?);
    count.move_one(&Facts { suppression: Some(WIDEST), ..sound(None) }, row.int("covered")?);
    let mut granted = count.named - row.int("erased")? - row.int("unmailable")? - row.int("covered")?;
    let mut others = |state: Option<ConsentState>, n: i64| {
        granted -= n;
        count.move_one(&sound(state), n);
    };
    others(Some(ConsentState::Requested), row.int("requested")?);
    others(Some(ConsentState::Refused), row.int("refused")?);
    others(Some(ConsentState::Withdrawn), row.int("withdrawn")?);
    others(None, row.int("unknown")?);
    // Most rows are of this class: what is left costs no test of its own.
    count.move_one(&sound(Some(ConsentState::Granted)), granted);
    Ok(count)
}

/// Those of the contacts that belong to the audience, with their facts.
async fn singles(reader: &mut Reader, q: &Question, contacts: &[i64]) -> Result<Vec<Single>> {
    reader
        .one(
            sql!(
                "SELECT {pack p.address_state, p.erased_at, p.domain, p.state} AS packed \
                 FROM (SELECT k.address_state, k.erased_at, k.domain, \
                     CASE WHEN $6 = 1 AND EXISTS (SELECT 1 FROM consent o JOIN purpose u ON u.id = o.purpose_id \
                       WHERE o.contact_id = k.id AND o.state = 'withdrawn' AND u.kind <> 'tracking') \
                       THEN 'withdrawn' ELSE n.state END AS state \
                   FROM {ids $3} r \
                   JOIN contact k ON k.id = r.value AND k.workspace_id = $1 \
                   LEFT JOIN consent n ON n.contact_id = k.id AND n.purpose_id = $2 \
                   WHERE EXISTS (SELECT 1 FROM membership m JOIN list l ON l.id = m.list_id \
                       WHERE m.contact_id = k.id AND m.list_id IN {ids $4} AND l.workspace_id = $1) \
                     AND NOT EXISTS (SELECT 1 FROM membership x JOIN list y ON y.id = x.list_id \
                       WHERE x.contact_id = k.id AND x.list_id IN {ids $5} AND y.workspace_id = $1)) p"
            ),
            args![
                q.workspace,
                q.purpose,
                json!(contacts),
                q.include.clone(),
                q.exclude.clone(),
                everybody(q.exclusion)
            ],
        )
        .await?
        .packed()
}
