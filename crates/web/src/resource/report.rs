//! The report of a campaign: totals that balance, rows person by person, and who was left out and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use postrider_domain::access::Scope;
use postrider_domain::bounce::BounceClass;
use postrider_domain::campaign::CampaignState;
use postrider_domain::gate::Withheld;
use postrider_domain::id::{CampaignId, ContactId};
use postrider_domain::outcome::ReportStatus;
use postrider_domain::queue::Ledger;
use postrider_domain::schedule::report_time;
use postrider_store::page::PageRequest;
use postrider_store::report::{DeliveriesOf, ExclusionRow};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::csv;
use crate::input::{Path, Query};
use crate::page::{Listed, listing, paging, whole};
use crate::problem::Problem;
use crate::resource::delivery::{DeliveryView, rows_csv};
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let export = Rule::Scope(Scope::Export);
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/report",
        read,
        Op::new("reports", "campaign_report", "The totals of a campaign")
            .query::<ReportQuery>()
            .gives::<ReportView>(200, "Totals from counters, at any moment."),
        totals,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/rows",
        read,
        Op::new("reports", "campaign_rows", "The report row of each recipient")
            .query::<RowQuery>()
            .gives_page::<DeliveryView>("sent at, status, detail, attempt n of m."),
        rows,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/rows.csv",
        export,
        Op::new("reports", "export_rows", "The same as a file").query::<RowFilter>().gives_content(
            200,
            "text/csv",
            "sent_at, status, detail, attempts, mailbox, stream, delivery, campaign, message.",
        ),
        export_rows,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/bounces",
        read,
        Op::new("reports", "campaign_bounces", "Why deliveries were refused, and how many for each reason")
            .about("As the last attempts were judged. At most 200,000 refused deliveries are looked at.")
            .gives_list::<BounceView>("The most frequent first."),
        bounces,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/exclusions",
        read,
        Op::new("reports", "campaign_exclusions", "Who was left out when the audience was frozen, and why")
            .query::<ExclusionQuery>()
            .gives_page::<ExclusionView>("Contacts with the reason."),
        exclusions,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/exclusions.csv",
        export,
        Op::new("reports", "export_exclusions", "The same as a file").query::<ExclusionFilter>().gives_content(
            200,
            "text/csv",
            "mailbox, reason, at, contact.",
        ),
        export_exclusions,
    );
}

/// What else is counted.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ReportQuery {
    /// Whether time-outs are told from other expiries; looks at rows and takes longer.
    timeouts: Option<bool>,
}

/// Which rows are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct RowQuery {
    /// With this status only.
    #[param(value_type = Option<s::ReportStatus>)]
    status: Option<ReportStatus>,
    /// Mailboxes that begin with this text, in their order.
    search: Option<String>,
    /// Refused ones that were judged so; without `status` and `search`.
    #[param(value_type = Option<s::BounceClass>)]
    class: Option<BounceClass>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Which rows go into the file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct RowFilter {
    /// With this status only.
    #[param(value_type = Option<s::ReportStatus>)]
    status: Option<ReportStatus>,
}

/// Who is shown of those who were left out.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ExclusionQuery {
    /// Left out for this reason only.
    #[param(value_type = Option<s::Withheld>)]
    reason: Option<Withheld>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Who goes into the file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ExclusionFilter {
    /// Left out for this reason only.
    #[param(value_type = Option<s::Withheld>)]
    reason: Option<Withheld>,
}

/// Refused deliveries of one kind.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct BounceView {
    /// Why, as the last attempt was judged.
    #[schema(value_type = s::BounceClass)]
    class: BounceClass,
    /// How many.
    count: i64,
}

impl From<(BounceClass, i64)> for BounceView {
    fn from((class, count): (BounceClass, i64)) -> BounceView {
        BounceView { class, count }
    }
}

/// Every frozen delivery, accounted for exactly once.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct LedgerView {
    /// Deliveries made when the audience was frozen.
    frozen: i64,
    /// The next host took responsibility.
    accepted: i64,
    /// Refused for good.
    rejected: i64,
    /// Attempts or lifetime were used up.
    expired: i64,
    /// Not sent by our own rules.
    withheld: i64,
    /// Stopped by a person.
    cancelled: i64,
    /// Taken for accepted after a crash.
    assumed: i64,
    /// Waiting for a person.
    held: i64,
    /// Still to be sent, those in doubt included.
    queued: i64,
    /// Of the queued: the final dot may have gone.
    in_doubt: i64,
}

impl From<Ledger> for LedgerView {
    fn from(l: Ledger) -> LedgerView {
        LedgerView {
            frozen: l.frozen,
            accepted: l.accepted,
            rejected: l.rejected,
            expired: l.expired,
            withheld: l.withheld,
            cancelled: l.cancelled,
            assumed: l.assumed,
            held: l.held,
            queued: l.queued,
            in_doubt: l.in_doubt,
        }
    }
}

/// The totals of a campaign.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ReportView {
    /// The campaign.
    #[schema(value_type = s::CampaignId)]
    campaign: CampaignId,
    /// Its name.
    name: String,
    /// Where it stands.
    #[schema(value_type = s::CampaignState)]
    state: CampaignState,
    /// When sending began.
    launched_at: Option<Time>,
    /// When it ended.
    finished_at: Option<Time>,
    /// Every frozen delivery, accounted for once.
    ledger: LedgerView,
    /// Whether the ledger's sum holds.
    balances: bool,
    /// Contacts left out when the audience was frozen, by reason.
    excluded: BTreeMap<String, i64>,
    /// Deliveries withheld after freezing, by reason.
    withheld: BTreeMap<String, i64>,
    /// Accepted deliveries by the name of the node that sent them.
    by_node: BTreeMap<String, i64>,
    /// Attempts made.
    attempts: i64,
    /// Deliveries in doubt that were sent again.
    in_doubt_resent: i64,
    /// People who opted out through its links.
    opt_outs: i64,
    /// Of the expired: never reached or never answered; with `timeouts=true` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeouts: Option<i64>,
}

/// A contact that was left out.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ExclusionView {
    /// The contact.
    #[schema(value_type = s::ContactId)]
    contact: ContactId,
    /// Its mailbox; empty once erased.
    mailbox: String,
    /// Why.
    #[schema(value_type = s::Withheld)]
    reason: Withheld,
    /// When.
    at: Time,
}

impl From<ExclusionRow> for ExclusionView {
    fn from(r: ExclusionRow) -> ExclusionView {
        ExclusionView { contact: r.contact, mailbox: r.mailbox, reason: r.reason, at: Time(r.at) }
    }
}

async fn totals(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Query(query): Query<ReportQuery>,
) -> Result<axum::Json<ReportView>, Problem> {
    let report = Arc::unwrap_or_clone(web.totals(caller.workspace, id).await?);
    let timeouts = match query.timeouts {
        Some(true) => Some(web.store().timeouts(caller.workspace, id).await?),
        Some(false) | None => None,
    };
    Ok(axum::Json(ReportView {
        campaign: id,
        name: report.name,
        state: report.state,
        launched_at: report.launched_at.map(Time),
        finished_at: report.finished_at.map(Time),
        balances: report.ledger.balances(),
        ledger: report.ledger.into(),
        excluded: report.excluded,
        withheld: report.withheld,
        by_node: report.by_node,
        attempts: report.attempts,
        in_doubt_resent: report.in_doubt_resent,
        opt_outs: report.opt_outs,
        timeouts,
    }))
}

async fn rows(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Query(query): Query<RowQuery>,
) -> Listed<DeliveryView> {
    let page = paging(query.limit, query.cursor)?;
    let search = query.search.filter(|text| !text.trim().is_empty());
    let of = match (query.class, search, query.status) {
        (None, Some(text), status) => {
            return Ok(listing(web.store().find_deliveries(caller.workspace, id, &text, status, &page).await?));
        }
        (None, None, status) => DeliveriesOf::Campaign(id, status),
        (Some(class), None, None) => DeliveriesOf::Bounced(id, class),
        (Some(_), _, _) => return Err(Problem::bad_request("`class` goes with neither `status` nor `search`")),
    };
    Ok(listing(web.store().deliveries(caller.workspace, of, &page).await?))
}

async fn export_rows(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Query(filter): Query<RowFilter>,
) -> Result<Response, Problem> {
    rows_csv(web, caller, DeliveriesOf::Campaign(id, filter.status), "rows.csv").await
}

async fn bounces(State(web): State<Web>, caller: Caller, Path(id): Path<CampaignId>) -> Listed<BounceView> {
    Ok(whole(web.store().bounces(caller.workspace, id).await?))
}

async fn exclusions(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Query(query): Query<ExclusionQuery>,
) -> Listed<ExclusionView> {
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().exclusions_for(caller.workspace, id, query.reason, &page).await?))
}

async fn export_exclusions(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Query(filter): Query<ExclusionFilter>,
) -> Result<Response, Problem> {
    web.store().campaign(caller.workspace, id).await?;
    let zone = web.store().workspace(caller.workspace).await?.time_zone;
    web.store()
        .note_act(Some(caller.workspace), &caller.actor, "exclusions.export", &id.to_string(), json!({}))
        .await?;
    Ok(csv::pages("exclusions.csv", "mailbox,reason,at,contact", move |cursor| {
        let (web, zone) = (web.clone(), zone.clone());
        async move {
            let page = web
                .store()
                .exclusions_for(caller.workspace, id, filter.reason, &PageRequest { limit: 500, cursor })
                .await?;
            let mut out = String::new();
            for row in &page.items {
                let cells = [&row.mailbox, row.reason.as_str(), &report_time(row.at, &zone), &row.contact.to_string()];
                csv::row(cells, &mut out);
            }
            Ok((Bytes::from(out), page.next))
        }
    }))
}
