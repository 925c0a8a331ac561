//! A contact's history on one page, and its entries of the consent ledger.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::consent::{ConsentActor, LedgerKind};
use postrider_domain::id::{ContactId, PurposeId};
use postrider_store::ledger::LedgerEntry;
use postrider_store::timeline::TimelineEntry;
use serde_json::{Value, json};

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::{Paging, Path, Query};
use crate::page::{Listed, listing, paging, whole};
use crate::resource::delivery::{AttemptView, DeliveryView};
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::ContactsRead);
    api.add(
        Method::GET,
        "/api/v1/contacts/{contact}/timeline",
        read,
        Op::new("contacts", "contact_timeline", "What happened to a contact")
            .query::<TimelineQuery>()
            .gives_list::<TimelineView>("Newest first, at most `limit` (100) entries."),
        timeline,
    );
    api.add(
        Method::GET,
        "/api/v1/contacts/{contact}/ledger",
        read,
        Op::new("contacts", "contact_ledger", "The evidence of a contact's consents")
            .gives_page::<LedgerEntryView>("Newest first."),
        ledger,
    );
}

/// How much is shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct TimelineQuery {
    /// Most entries, 1 to 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// One thing that happened.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TimelineView {
    /// `created`, `consent`, `suppressed`, `delivery` or `attempt`.
    what: &'static str,
    /// When; null for a delivery that was never tried.
    at: Option<Time>,
    /// The thing itself, as its own listing shows it.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<TimelineEntry> for TimelineView {
    fn from(entry: TimelineEntry) -> TimelineView {
        let at = Some(entry.at()).filter(|at| *at != i64::MAX).map(Time);
        let (what, detail) = match entry {
            TimelineEntry::Created { source, .. } => ("created", json!({ "source": source })),
            TimelineEntry::Consent { entry } => ("consent", json!(LedgerEntryView::from(entry))),
            TimelineEntry::Suppressed { suppression } => (
                "suppressed",
                json!({
                    "id": suppression.id, "reason": suppression.reason, "scope": suppression.scope,
                    "source": suppression.source, "domain": suppression.domain, "until": suppression.until.map(Time),
                    "because": suppression.evidence.as_ref().map(|evidence| evidence.sentence())
                }),
            ),
            TimelineEntry::Delivery { row } => ("delivery", json!(DeliveryView::from(row))),
            TimelineEntry::Attempt { row } => ("attempt", json!(AttemptView::from(row))),
        };
        TimelineView { what, at, detail }
    }
}

/// An entry of the consent ledger.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct LedgerEntryView {
    /// Its number in the workspace's chain.
    seq: i64,
    /// What it records.
    #[schema(value_type = s::LedgerKind)]
    kind: LedgerKind,
    /// The purpose.
    #[schema(value_type = Option<s::PurposeId>)]
    purpose: Option<PurposeId>,
    /// When it was written.
    at: Time,
    /// Who wrote it; null once erased.
    #[schema(value_type = Option<String>)]
    actor: Option<ConsentActor>,
    /// The evidence; null once erased.
    evidence: Option<EvidenceView>,
}

/// The evidence of an entry.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct EvidenceView {
    /// Where it came from.
    source: String,
    /// The legal basis.
    #[schema(value_type = Option<s::LegalBasis>)]
    basis: Option<postrider_domain::consent::LegalBasis>,
    /// When the person agreed or objected.
    given_at: Option<Time>,
    /// The wording's id.
    wording: Option<String>,
    /// The SHA-256 of its text, in hex.
    wording_hash: Option<String>,
    /// Form or page.
    page: Option<String>,
    /// Address of the person's machine.
    ip: Option<String>,
    /// The person's browser.
    agent: Option<String>,
    /// How: `import`, `one_click`, `page`, `api`, `mailto`.
    method: String,
    /// The delivery that carried the link.
    delivery: Option<String>,
    /// Free note.
    note: Option<String>,
}

impl From<LedgerEntry> for LedgerEntryView {
    fn from(e: LedgerEntry) -> LedgerEntryView {
        let evidence = e.evidence.map(|e| {
            let (wording, wording_hash) = e.wording.unzip();
            EvidenceView {
                source: e.source,
                basis: e.basis,
                given_at: e.given_at.map(Time),
                wording,
                wording_hash,
                page: e.page,
                ip: e.ip,
                agent: e.agent,
                method: e.method,
                delivery: e.delivery,
                note: e.note,
            }
        });
        LedgerEntryView { seq: e.seq, kind: e.kind, purpose: e.purpose, at: Time(e.at), actor: e.actor, evidence }
    }
}

async fn timeline(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ContactId>,
    Query(query): Query<TimelineQuery>,
) -> Listed<TimelineView> {
    let limit = paging(query.limit, None)?.limit;
    let limit = if query.limit.is_none() { 100 } else { limit };
    Ok(whole(web.store().timeline(caller.workspace, id, limit).await?))
}

async fn ledger(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ContactId>,
    Query(query): Query<Paging>,
) -> Listed<LedgerEntryView> {
    let page = paging(query.limit, query.cursor)?;
    web.store().contact(caller.workspace, id).await?;
    Ok(listing(web.store().ledger_entries(caller.workspace, Some(id), &page).await?))
}
