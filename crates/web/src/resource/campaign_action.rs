//! What moves a campaign: check, preview, test, schedule, start, pause, resume, stop. Refused with the list of what is wrong.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::campaign::{Finding, Severity};
use postrider_domain::id::{CampaignId, ContactId, DeliveryId, MessageId};
use postrider_domain::schedule::Schedule;
use postrider_store::access::Access;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::launch::{self, Checked};
use crate::problem::Problem;
use crate::resource::campaign::view;
use crate::resource::campaign_view::CampaignView;
use crate::resource::contact::mailbox;
use crate::rule::Rule;
use crate::schema::{self as s, FindingView};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let write = Rule::Scope(Scope::CampaignsWrite);
    let action = |id, summary| {
        let op = Op::new("campaigns", id, summary).gives::<CampaignView>(200, "The campaign as it is now.");
        op.retry(Retry::Replay)
    };
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/check",
        read,
        Op::new("campaigns", "check_campaign", "What is wrong or doubtful before a start")
            .gives::<CheckView>(200, "Findings; the start is refused while one is an error."),
        check,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/preview",
        read,
        Op::new("campaigns", "preview_campaign", "The message as somebody would see it")
            .about("For a contact (needs `contacts:read` too) or for somebody of whom nothing is known. Show the HTML in a sandboxed frame only.")
            .query::<PreviewQuery>()
            .gives::<PreviewView>(200, "Subject, text and HTML."),
        preview,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/test",
        write,
        Op::new("campaigns", "test_campaign", "Send the message to some mailboxes, for a look")
            .about("Transactional: no consent is asked for. The links of a test change nothing. 422 with findings when something is wrong.")
            .takes::<TestInput>(json!({ "to": ["anna@example.org"] }))
            .gives::<TestAnswer>(202, "On its way.")
            .retry(Retry::Replay),
        test,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/start",
        write,
        Op::new("campaigns", "start_campaign", "Start now, that is after the undo window")
            .about(
                "Until `undo_until` it can be taken back by `unschedule`. 422 with findings when something is wrong.",
            )
            .takes::<StartInput>(json!({ "undo_seconds": 60 }))
            .gives::<CampaignView>(200, "The campaign as it is now.")
            .retry(Retry::Replay),
        start,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/schedule",
        write,
        Op::new("campaigns", "schedule_campaign", "Give it a start time: local time and IANA zone")
            .about("Fires once over a change of summer time. 422 with findings when something is wrong.")
            .takes::<ScheduleInput>(
                json!({ "local": "2027-03-01T10:00", "zone": "Europe/Rome", "not_later_than_minutes": 60 }),
            )
            .gives::<CampaignView>(200, "The campaign as it is now.")
            .retry(Retry::Replay),
        schedule,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/unschedule",
        write,
        action("unschedule_campaign", "Take the start back; it is a draft again"),
        unschedule,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/pause",
        write,
        action("pause_campaign", "No new message until resumed"),
        pause,
    );
    api.add(Method::POST, "/api/v1/campaigns/{campaign}/resume", write, action("resume_campaign", "Go on"), resume);
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/stop",
        write,
        action("stop_campaign", "End it; what has not left is cancelled"),
        stop,
    );
}

/// What is wrong or doubtful.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct CheckView {
    /// Whether it may start.
    ready: bool,
    /// Errors first.
    findings: Vec<FindingView>,
}

/// For whom the preview is.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    /// A contact; somebody of whom nothing is known when not given.
    #[param(value_type = Option<s::ContactId>)]
    contact: Option<ContactId>,
}

/// A message as somebody would see it.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct PreviewView {
    /// The subject.
    subject: String,
    /// The HTML part; null for plain text.
    html: Option<String>,
    /// The text part.
    text: String,
}

/// To whom a test goes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TestInput {
    /// 1 to 20 mailboxes.
    to: Vec<String>,
    /// Whose attributes fill the variables; nobody's when not given.
    #[schema(value_type = Option<s::ContactId>)]
    contact: Option<ContactId>,
}

/// The test messages.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TestAnswer {
    /// The first message.
    #[schema(value_type = s::MessageId)]
    id: MessageId,
    /// One message for each mailbox.
    #[schema(value_type = Vec<s::MessageId>)]
    messages: Vec<MessageId>,
    /// Their deliveries.
    #[schema(value_type = Vec<s::DeliveryId>)]
    deliveries: Vec<DeliveryId>,
}

/// How a start is taken back.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct StartInput {
    /// Seconds until it begins, 0 to 86400; the workspace's setting when not given.
    undo_seconds: Option<i64>,
    /// Why it starts although the finding `sending_domain_red` says no: 3 to 500 characters, kept in the audit.
    override_red_domain: Option<String>,
}

/// A start time.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ScheduleInput {
    /// Local time, e.g. `2027-03-01T10:00`.
    local: String,
    /// IANA zone; the workspace's when not given.
    zone: Option<String>,
    /// Do not start more than this many minutes late.
    not_later_than_minutes: Option<u32>,
    /// Why it starts although the finding `sending_domain_red` says no: 3 to 500 characters, kept in the audit.
    override_red_domain: Option<String>,
}

async fn check(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CheckView>, Problem> {
    let checked = launch::check(&web, &caller, id).await?;
    let ready = !checked.findings.iter().any(|f| f.severity == Severity::Error);
    Ok(axum::Json(CheckView { ready, findings: checked.findings.into_iter().map(FindingView::from).collect() }))
}

/// The attributes of the contact whose view is wanted.
async fn vars(
    web: &Web,
    caller: &Caller,
    contact: Option<ContactId>,
) -> Result<(Option<String>, serde_json::Map<String, serde_json::Value>), Problem> {
    let Some(contact) = contact else { return Ok((None, serde_json::Map::new())) };
    match caller.known.may(caller.workspace, Scope::ContactsRead) {
        Access::Allowed => {}
        Access::NoScope | Access::NoWorkspace => {
            return Err(Problem::forbidden("the data of a contact need the scope `contacts:read` too"));
        }
    }
    let contact = web.store().contact(caller.workspace, contact).await?;
    Ok((Some(contact.mailbox), contact.attributes.into_iter().collect()))
}

async fn preview(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Query(query): Query<PreviewQuery>,
) -> Result<axum::Json<PreviewView>, Problem> {
    web.store().campaign(caller.workspace, id).await?;
    let (shown, vars) = vars(&web, &caller, query.contact).await?;
    let rendered = launch::preview(&web, &caller, id, shown, vars).await?;
    Ok(axum::Json(PreviewView { subject: rendered.subject, html: rendered.html, text: rendered.text }))
}

async fn test(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<TestInput>,
) -> Result<Response, Problem> {
    web.store().campaign(caller.workspace, id).await?;
    if input.to.is_empty() || input.to.len() > 20 {
        return Err(Problem::refused("name 1 to 20 mailboxes in `to`"));
    }
    let to = input.to.iter().map(|text| mailbox(text)).collect::<Result<Vec<_>, _>>()?;
    let (_, vars) = vars(&web, &caller, input.contact).await?;
    let (messages, deliveries) = launch::send_test(&web, &caller, id, to, vars).await?;
    let first = messages.first().copied().ok_or_else(Problem::internal)?;
    Ok((StatusCode::ACCEPTED, axum::Json(TestAnswer { id: first, messages, deliveries })).into_response())
}

/// Checks and compiles; the version is kept for the engine. A red domain is passed over with a reason, which the audit keeps.
async fn prepare(web: &Web, caller: &Caller, id: CampaignId, reason: Option<&str>) -> Result<(), Problem> {
    if reason.is_some_and(|reason| !(3..=500).contains(&reason.trim().chars().count())) {
        return Err(Problem::refused("override_red_domain should be a reason of 3 to 500 characters"));
    }
    let variant = launch::variant(web, caller, id).await?;
    let Checked { findings, compiled } = launch::check(web, caller, id).await?;
    let (red, other): (Vec<_>, Vec<_>) = findings.iter().partition(|f| f.code == launch::RED_DOMAIN);
    let errors = |of: &[&Finding]| of.iter().any(|f| f.severity == Severity::Error);
    let stopped = (errors(&red) && reason.is_none()) || errors(&other);
    match compiled {
        Some(compiled) if !stopped => {
            launch::keep(web, caller, variant.id, &compiled).await?;
            if let (Some(red), Some(reason)) = (red.first(), reason) {
                let detail = json!({ "reason": reason.trim(), "finding": red.message });
                let object = id.to_string();
                web.store()
                    .note_act(Some(caller.workspace), &caller.actor, "campaign.red_domain", &object, detail)
                    .await?;
            }
            Ok(())
        }
        Some(_) | None => Err(Problem::not_ready(findings)),
    }
}

async fn start(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<StartInput>,
) -> Result<axum::Json<CampaignView>, Problem> {
    if input.undo_seconds.is_some_and(|n| !(0..=86_400).contains(&n)) {
        return Err(Problem::refused("undo_seconds should be 0 to 86400"));
    }
    prepare(&web, &caller, id, input.override_red_domain.as_deref()).await?;
    let seconds = match input.undo_seconds {
        Some(seconds) => seconds,
        None => web.store().workspace(caller.workspace).await?.undo_seconds,
    };
    web.store().start_campaign(caller.workspace, id, web.now() + seconds * 1000).await?;
    launch::note(&web, &caller, "campaign.start", id).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn schedule(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<ScheduleInput>,
) -> Result<axum::Json<CampaignView>, Problem> {
    prepare(&web, &caller, id, input.override_red_domain.as_deref()).await?;
    let zone = match input.zone {
        Some(zone) => zone,
        None => web.store().workspace(caller.workspace).await?.time_zone,
    };
    let schedule = Schedule { local: input.local, zone, not_later_than_minutes: input.not_later_than_minutes };
    if schedule.instant().is_ok_and(|at| at <= web.now()) {
        return Err(Problem::refused("the start time lies in the past: choose a later one, or start the campaign now"));
    }
    web.store().schedule_campaign(caller.workspace, id, &schedule).await?;
    launch::note(&web, &caller, "campaign.schedule", id).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn unschedule(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CampaignView>, Problem> {
    web.store().unschedule_campaign(caller.workspace, id).await?;
    launch::note(&web, &caller, "campaign.unschedule", id).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn pause(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CampaignView>, Problem> {
    web.store().pause_campaign(caller.workspace, id).await?;
    launch::note(&web, &caller, "campaign.pause", id).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn resume(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CampaignView>, Problem> {
    web.store().resume_campaign(caller.workspace, id).await?;
    launch::note(&web, &caller, "campaign.resume", id).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn stop(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CampaignView>, Problem> {
    web.store().stop_campaign(caller.workspace, id).await?;
    launch::note(&web, &caller, "campaign.stop", id).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}
