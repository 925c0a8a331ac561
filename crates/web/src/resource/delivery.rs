//! Deliveries and their attempts: the ledger that every report comes from. A filter names whose; pages are by cursor.

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use postrider_domain::access::Scope;
use postrider_domain::id::{AttemptId, CampaignId, ContactId, DeliveryId, MessageId};
use postrider_domain::outcome::{AttemptResult, ReportStatus};
use postrider_domain::schedule::report_time;
use postrider_domain::stream::Stream;
use postrider_store::page::{Page, PageRequest};
use postrider_store::report::{AttemptRow, AttemptsOf, DeliveriesOf, DeliveryRow};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::csv;
use crate::input::{Path, Query};
use crate::page::{Listed, Listing, listing, paging};
use crate::problem::Problem;
use crate::resource::queue::HoldView;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Most pages that one request reads to find attempts in doubt.
const SCAN_PAGES: usize = 20;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let export = Rule::Scope(Scope::Export);
    api.add(
        Method::GET,
        "/api/v1/deliveries",
        read,
        Op::new("deliveries", "list_deliveries", "Deliveries of a campaign, a contact or a message")
            .about("At most one of `campaign`, `contact` and `message`; without any, those of all single messages.")
            .query::<DeliveryQuery>()
            .gives_page::<DeliveryView>("Report rows."),
        list,
    );
    api.add(
        Method::GET,
        "/api/v1/deliveries.csv",
        export,
        Op::new("deliveries", "export_deliveries", "The same as a file").query::<DeliveryFilter>().gives_content(
            200,
            "text/csv",
            "sent_at, status, detail, attempts, mailbox, stream, delivery, campaign, message.",
        ),
        export_deliveries,
    );
    api.add(
        Method::GET,
        "/api/v1/deliveries/{delivery}",
        read,
        Op::new("deliveries", "get_delivery", "One delivery").gives::<DeliveryView>(200, "The report row."),
        get,
    );
    api.add(
        Method::GET,
        "/api/v1/deliveries/{delivery}/attempts",
        read,
        Op::new("deliveries", "delivery_attempts", "The attempts of a delivery")
            .query::<OnlyPaging>()
            .gives_page::<AttemptView>("In their order."),
        attempts_of_delivery,
    );
    api.add(
        Method::GET,
        "/api/v1/attempts",
        read,
        Op::new("deliveries", "list_attempts", "Attempts of a campaign or a delivery")
            .about("Exactly one of `campaign` and `delivery`. With `doubted=true` a page may be short, or empty, and still have a next one.")
            .query::<AttemptQuery>()
            .gives_page::<AttemptView>("Newest first; those of one delivery in their order."),
        attempts,
    );
    api.add(
        Method::GET,
        "/api/v1/attempts.csv",
        export,
        Op::new("deliveries", "export_attempts", "The same as a file").query::<AttemptFilter>().gives_content(
            200,
            "text/csv",
            "at, delivery, n, result, code, enhanced, text, stage, class, host, ip, source, tls, duration_ms, doubt.",
        ),
        export_attempts,
    );
}

/// Whose deliveries are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct DeliveryQuery {
    /// Of this campaign.
    #[param(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// Of this contact, newest first.
    #[param(value_type = Option<s::ContactId>)]
    contact: Option<ContactId>,
    /// Of this message.
    #[param(value_type = Option<s::MessageId>)]
    message: Option<MessageId>,
    /// With this status; with `campaign` only.
    #[param(value_type = Option<s::ReportStatus>)]
    status: Option<ReportStatus>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Whose deliveries go into the file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct DeliveryFilter {
    /// Of this campaign.
    #[param(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// Of this contact, newest first.
    #[param(value_type = Option<s::ContactId>)]
    contact: Option<ContactId>,
    /// Of this message.
    #[param(value_type = Option<s::MessageId>)]
    message: Option<MessageId>,
    /// With this status; with `campaign` only.
    #[param(value_type = Option<s::ReportStatus>)]
    status: Option<ReportStatus>,
}

/// `?limit=&cursor=`.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct OnlyPaging {
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Whose attempts are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct AttemptQuery {
    /// Of this campaign, newest first.
    #[param(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// Of this delivery, in their order.
    #[param(value_type = Option<s::DeliveryId>)]
    delivery: Option<DeliveryId>,
    /// Only those that a crash left in doubt, with their mailbox.
    doubted: Option<bool>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Whose attempts go into the file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct AttemptFilter {
    /// Of this campaign, newest first.
    #[param(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// Of this delivery, in their order.
    #[param(value_type = Option<s::DeliveryId>)]
    delivery: Option<DeliveryId>,
}

/// A report row: sent at, status, detail, attempt n of m.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// Its id.
    #[schema(value_type = s::DeliveryId)]
    id: DeliveryId,
    /// When the last attempt was made.
    sent_at: Option<Time>,
    /// How it stands.
    #[schema(value_type = s::ReportStatus)]
    status: ReportStatus,
    /// What the remote host said last, or why it was withheld or held.
    detail: String,
    /// `n of m`.
    attempts: String,
    /// Attempts made.
    attempt: i64,
    /// Attempts planned.
    of: i64,
    /// The mailbox; empty once erased.
    mailbox: String,
    /// Its stream.
    #[schema(value_type = s::Stream)]
    stream: Stream,
    /// The campaign that it belongs to.
    #[schema(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// The single message that it belongs to.
    #[schema(value_type = Option<s::MessageId>)]
    message: Option<MessageId>,
    /// The contact.
    #[schema(value_type = Option<s::ContactId>)]
    contact: Option<ContactId>,
    /// When the outcome was reached.
    outcome_at: Option<Time>,
    /// When it is tried again.
    next_at: Option<Time>,
    /// What holds it back; null once it is settled.
    #[schema(value_type = Option<HoldView>)]
    waiting_for: Option<HoldView>,
}

impl From<DeliveryRow> for DeliveryView {
    fn from(r: DeliveryRow) -> DeliveryView {
        DeliveryView {
            id: r.id,
            sent_at: r.sent_at.map(Time),
            status: r.status,
            attempts: n_of_m(&r),
            detail: r.detail,
            attempt: r.attempt,
            of: r.of,
            mailbox: r.mailbox,
            stream: r.stream,
            campaign: r.campaign,
            message: r.message,
            contact: r.contact,
            outcome_at: r.outcome_at.map(Time),
            next_at: r.next_at.map(Time),
            waiting_for: None,
        }
    }
}

fn n_of_m(row: &DeliveryRow) -> String {
    format!("{} of {}", row.attempt, row.of)
}

/// One try.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct AttemptView {
    /// Its id.
    #[schema(value_type = s::AttemptId)]
    id: AttemptId,
    /// The delivery.
    #[schema(value_type = s::DeliveryId)]
    delivery: DeliveryId,
    /// Which try it was, from 1.
    n: i64,
    /// When it began.
    at: Time,
    /// How long it took, in milliseconds.
    duration_ms: i64,
    /// The step at which it ended.
    stage: String,
    /// How it ended.
    #[schema(value_type = s::AttemptResult)]
    result: AttemptResult,
    /// The reply code.
    code: Option<i64>,
    /// The enhanced status.
    enhanced: Option<String>,
    /// What the remote host said, or what went wrong.
    text: String,
    /// The class that we read from it.
    class: Option<String>,
    /// The host.
    host: String,
    /// Its address.
    ip: String,
    /// Our own source address.
    source: String,
    /// TLS version and cipher; empty for clear text.
    tls: String,
    /// What was done about it after a crash: `resent`, `assumed` or `held`.
    doubt: Option<String>,
    /// The bounce rule that said what the reply means: its id, or `status.…` and `code.…` for the codes alone.
    rule: Option<String>,
    /// The version of the bounce rules that were asked.
    rules_version: Option<String>,
    /// The recipient; only with `doubted=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mailbox: Option<String>,
}

impl From<AttemptRow> for AttemptView {
    fn from(r: AttemptRow) -> AttemptView {
        AttemptView {
            id: r.id,
            delivery: r.delivery,
            n: r.n,
            at: Time(r.at),
            duration_ms: r.duration_ms,
            stage: r.stage.as_str().to_owned(),
            result: r.result,
            code: r.code,
            enhanced: r.enhanced,
            text: r.text,
            class: r.class.map(|c| c.to_string()),
            host: r.host,
            ip: r.ip,
            source: r.source,
            tls: r.tls,
            doubt: r.doubt,
            rule: r.rule,
            rules_version: r.rules,
            mailbox: None,
        }
    }
}

fn deliveries_of(filter: &DeliveryFilter) -> Result<DeliveriesOf, Problem> {
    match (filter.campaign, filter.contact, filter.message, filter.status) {
        (Some(campaign), None, None, status) => Ok(DeliveriesOf::Campaign(campaign, status)),
        (None, Some(contact), None, None) => Ok(DeliveriesOf::Contact(contact)),
        (None, None, Some(message), None) => Ok(DeliveriesOf::Message(message)),
        (None, None, None, None) => Ok(DeliveriesOf::SingleMessages),
        _ => Err(Problem::bad_request(
            "name one of `campaign`, `contact` and `message`; `status` goes with `campaign` only",
        )),
    }
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<DeliveryQuery>) -> Listed<DeliveryView> {
    let page = paging(query.limit, query.cursor)?;
    let filter = DeliveryFilter {
        campaign: query.campaign,
        contact: query.contact,
        message: query.message,
        status: query.status,
    };
    let page = web.store().deliveries(caller.workspace, deliveries_of(&filter)?, &page).await?;
    let items = with_holds(&web, &caller, page.items).await?;
    Ok(axum::Json(Listing { items, next_cursor: page.next }))
}

/// Rows with what holds back those that are not settled.
async fn with_holds(web: &Web, caller: &Caller, rows: Vec<DeliveryRow>) -> Result<Vec<DeliveryView>, Problem> {
    let open: Vec<DeliveryId> = rows.iter().filter(|r| r.outcome_at.is_none()).map(|r| r.id).collect();
    let mut holds = web.store().holds(caller.workspace, &open).await?;
    let view = |row: DeliveryRow| {
        let hold = holds.remove(&row.id);
        DeliveryView { waiting_for: hold.map(HoldView::from), ..row.into() }
    };
    Ok(rows.into_iter().map(view).collect())
}

/// A file of report rows; `of` has been checked by reading its first page.
///
/// # Errors
/// The workspace has no such campaign, contact or message.
pub async fn rows_csv(web: Web, caller: Caller, of: DeliveriesOf, name: &'static str) -> Result<Response, Problem> {
    let zone = web.store().workspace(caller.workspace).await?.time_zone;
    // A fault in the filter is told before the download begins.
    web.store().deliveries(caller.workspace, of, &PageRequest::first(1)).await?;
    web.store()
        .note_act(Some(caller.workspace), &caller.actor, "deliveries.export", "", json!({ "file": name }))
        .await?;
    let heading = "sent_at,status,detail,attempts,mailbox,stream,delivery,campaign,message";
    Ok(csv::pages(name, heading, move |cursor| {
        let (web, zone) = (web.clone(), zone.clone());
        async move {
            let page = web.store().deliveries(caller.workspace, of, &PageRequest { limit: 500, cursor }).await?;
            let mut out = String::new();
            for row in &page.items {
                csv::row(
                    [
                        row.sent_at.map(|at| report_time(at, &zone)).unwrap_or_default().as_str(),
                        row.status.as_str(),
                        &row.detail,
                        &n_of_m(row),
                        &row.mailbox,
                        row.stream.as_str(),
                        &row.id.to_string(),
                        &row.campaign.map(|id| id.to_string()).unwrap_or_default(),
                        &row.message.map(|id| id.to_string()).unwrap_or_default(),
                    ],
                    &mut out,
                );
            }
            Ok((Bytes::from(out), page.next))
        }
    }))
}

async fn export_deliveries(
    State(web): State<Web>,
    caller: Caller,
    Query(filter): Query<DeliveryFilter>,
) -> Result<Response, Problem> {
    let of = deliveries_of(&filter)?;
    rows_csv(web, caller, of, "deliveries.csv").await
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<DeliveryId>,
) -> Result<axum::Json<DeliveryView>, Problem> {
    let row = web.store().delivery(caller.workspace, id).await?;
    let mut views = with_holds(&web, &caller, vec![row]).await?;
    Ok(axum::Json(views.remove(0)))
}

async fn attempts_of_delivery(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<DeliveryId>,
    Query(query): Query<OnlyPaging>,
) -> Listed<AttemptView> {
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().attempts(caller.workspace, AttemptsOf::Delivery(id), &page).await?))
}

fn attempts_of(campaign: Option<CampaignId>, delivery: Option<DeliveryId>) -> Result<AttemptsOf, Problem> {
    match (campaign, delivery) {
        (Some(campaign), None) => Ok(AttemptsOf::Campaign(campaign)),
        (None, Some(delivery)) => Ok(AttemptsOf::Delivery(delivery)),
        (Some(_), Some(_)) | (None, None) => Err(Problem::bad_request("name either `campaign` or `delivery`")),
    }
}

async fn attempts(State(web): State<Web>, caller: Caller, Query(query): Query<AttemptQuery>) -> Listed<AttemptView> {
    let page = paging(query.limit, query.cursor)?;
    let of = attempts_of(query.campaign, query.delivery)?;
    if query.doubted != Some(true) {
        return Ok(listing(web.store().attempts(caller.workspace, of, &page).await?));
    }
    let mut items = Vec::new();
    let mut cursor = page.cursor.clone();
    for _ in 0..SCAN_PAGES {
        let Page { items: rows, next } =
            web.store().attempts(caller.workspace, of, &PageRequest { limit: page.limit, cursor }).await?;
        for row in rows.into_iter().filter(|row| row.doubt.is_some()) {
            let mailbox = web.store().delivery(caller.workspace, row.delivery).await?.mailbox;
            items.push(AttemptView { mailbox: Some(mailbox), ..row.into() });
        }
        cursor = next;
        // A page of rows is looked at as a whole, so the cursor is exact; it may hold a few more than `limit`.
        if cursor.is_none() || !items.is_empty() {
            break;
        }
    }
    Ok(axum::Json(Listing { items, next_cursor: cursor }))
}

async fn export_attempts(
    State(web): State<Web>,
    caller: Caller,
    Query(filter): Query<AttemptFilter>,
) -> Result<Response, Problem> {
    let of = attempts_of(filter.campaign, filter.delivery)?;
    let zone = web.store().workspace(caller.workspace).await?.time_zone;
    web.store().attempts(caller.workspace, of, &PageRequest::first(1)).await?;
    web.store().note_act(Some(caller.workspace), &caller.actor, "attempts.export", "", json!({})).await?;
    let heading = "at,delivery,n,result,code,enhanced,text,stage,class,host,ip,source,tls,duration_ms,doubt";
    Ok(csv::pages("attempts.csv", heading, move |cursor| {
        let (web, zone) = (web.clone(), zone.clone());
        async move {
            let page = web.store().attempts(caller.workspace, of, &PageRequest { limit: 500, cursor }).await?;
            let mut out = String::new();
            for row in &page.items {
                csv::row(
                    [
                        report_time(row.at, &zone).as_str(),
                        &row.delivery.to_string(),
                        &row.n.to_string(),
                        row.result.as_str(),
                        &row.code.map(|c| c.to_string()).unwrap_or_default(),
                        row.enhanced.as_deref().unwrap_or_default(),
                        &row.text,
                        row.stage.as_str(),
                        row.class.map(|c| c.as_str()).unwrap_or_default(),
                        &row.host,
                        &row.ip,
                        &row.source,
                        &row.tls,
                        &row.duration_ms.to_string(),
                        row.doubt.as_deref().unwrap_or_default(),
                    ],
                    &mut out,
                );
            }
            Ok((Bytes::from(out), page.next))
        }
    }))
}
