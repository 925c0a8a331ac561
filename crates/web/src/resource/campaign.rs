//! Campaigns as they are written: audience, policy, route and text. What moves them is in `campaign_action`.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::campaign::{Audience, BodyFormat, CampaignState, Draft, Objective};
use postrider_domain::id::{CampaignId, ListId, PurposeId, RouteId, VariantId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::schedule::Schedule;
use postrider_domain::stream::{InDoubtPolicy, Stream};
use postrider_store::campaign::{Campaign, CampaignChange, NewCampaign};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::launch::variant;
use crate::page::{Listed, listing, paging};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let write = Rule::Scope(Scope::CampaignsWrite);
    api.add(
        Method::GET,
        "/api/v1/campaigns",
        read,
        Op::new("campaigns", "list_campaigns", "The campaigns of the workspace")
            .query::<CampaignQuery>()
            .gives_page::<CampaignRow>("Newest first, without their texts."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns",
        write,
        Op::new("campaigns", "create_campaign", "Make a campaign")
            .about("A draft always saves, finished or not; what is missing is told by its check.")
            .takes::<CampaignInput>(json!({
                "name": "Spring letter", "policy": "rehearsal",
                "draft": { "from_mailbox": "news@example.org", "subject": "Spring", "format": "markdown", "body": "# Hello" }
            }))
            .gives::<CampaignView>(201, "The draft.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}",
        read,
        Op::new("campaigns", "get_campaign", "One campaign with its text").gives::<CampaignView>(200, "The campaign."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/campaigns/{campaign}",
        write,
        Op::new("campaigns", "change_campaign", "Change name, objective, audience, policy or route of a draft")
            .about("`rev` is the revision that the change was made from: 409 when somebody changed it meanwhile.")
            .takes::<CampaignPatch>(json!({ "rev": 1, "name": "Summer letter" }))
            .gives::<CampaignView>(200, "The campaign as it is now."),
        change,
    );
    api.add(
        Method::PUT,
        "/api/v1/campaigns/{campaign}/draft",
        write,
        Op::new("campaigns", "save_draft", "Save the text of a draft, finished or not")
            .about("`rev` is the text's own revision, `draft_rev` of the campaign: 409 when somebody saved meanwhile.")
            .takes::<DraftPut>(json!({ "rev": 1, "draft": { "subject": "Summer", "body": "# Hello" } }))
            .gives::<CampaignView>(200, "The campaign as it is now."),
        save_draft,
    );
    api.add(
        Method::DELETE,
        "/api/v1/campaigns/{campaign}",
        write,
        Op::new("campaigns", "delete_campaign", "Delete a campaign that never sent anything")
            .gives_nothing("It is gone."),
        delete,
    );
    api.add(
        Method::POST,
        "/api/v1/campaigns/{campaign}/copy",
        write,
        Op::new("campaigns", "copy_campaign", "Make a draft with the same content, audience, policy and route")
            .takes::<CopyInput>(json!({ "name": "Spring letter, again" }))
            .gives::<CampaignView>(201, "The new draft.")
            .retry(Retry::Replay),
        copy,
    );
}

/// Which campaigns are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct CampaignQuery {
    /// In this state only.
    #[param(value_type = Option<s::CampaignState>)]
    state: Option<CampaignState>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Who gets a campaign.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct AudienceView {
    /// Contacts of any of these lists.
    #[schema(value_type = Vec<s::ListId>)]
    include: Vec<ListId>,
    /// Minus contacts of any of these lists.
    #[schema(value_type = Vec<s::ListId>)]
    exclude: Vec<ListId>,
    /// The purpose; consent for it is asked of each contact.
    #[schema(value_type = Option<s::PurposeId>)]
    purpose: Option<PurposeId>,
}

/// The text as people write it.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct DraftView {
    /// From mailbox; its domain must be a sending domain of the workspace.
    from_mailbox: String,
    /// From display name.
    from_name: String,
    /// Reply-To mailbox.
    reply_to: String,
    /// Subject (a template).
    subject: String,
    /// Preheader (a template).
    preheader: String,
    /// How `body` is written; HTML when not given.
    #[schema(value_type = Option<s::BodyFormat>)]
    format: Option<BodyFormat>,
    /// The body (a template).
    body: String,
    /// The text part (a template); derived from the body when empty.
    text: String,
}

/// When deliveries are tried again and given up.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PolicyView {
    /// Name for people.
    name: String,
    /// Most attempts, the first included.
    max_attempts: u32,
    /// Gaps between attempts in milliseconds; the last one repeats.
    gaps_ms: Vec<i64>,
    /// Random spread of a gap in percent, both ways.
    jitter_percent: u8,
    /// Longest time from the first attempt, in milliseconds.
    lifetime_ms: i64,
    /// Cap of every SMTP time-out in milliseconds.
    timeout_ms: Option<i64>,
    /// What to do with deliveries in doubt after a crash.
    #[schema(value_type = s::InDoubtPolicy)]
    in_doubt: InDoubtPolicy,
}

/// A preset (`marketing`, `transactional`, `janusmail`, `rehearsal`) or a policy of one's own.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes what `policy_of` reads by hand, so that faults are told well")]
enum PolicyInput {
    /// The name of a preset.
    Preset(String),
    /// A policy of one's own.
    Own(PolicyView),
}

/// A campaign to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CampaignInput {
    /// Its name.
    name: String,
    /// What it is for; information when not given.
    #[schema(value_type = Option<s::Objective>)]
    objective: Option<Objective>,
    /// Who gets it.
    #[serde(default)]
    audience: AudienceView,
    /// When deliveries are tried again; the default of marketing when not given.
    #[schema(value_type = Option<PolicyInput>)]
    policy: Option<serde_json::Value>,
    /// How it leaves; the default route when not given.
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// The text.
    #[serde(default)]
    draft: DraftView,
}

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CampaignPatch {
    /// The revision that the change was made from.
    rev: i64,
    /// Another name.
    name: Option<String>,
    /// Another objective.
    #[schema(value_type = Option<s::Objective>)]
    objective: Option<Objective>,
    /// Another audience.
    audience: Option<AudienceView>,
    /// Another policy.
    #[schema(value_type = Option<PolicyInput>)]
    policy: Option<serde_json::Value>,
    /// Another route; null: the default one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<Option<RouteId>>,
}

/// Tells a null from a field that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<RouteId>>, D::Error> {
    <Option<RouteId> as serde::Deserialize>::deserialize(deserializer).map(Some)
}

/// A text to be saved.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DraftPut {
    /// The text's revision that the change was made from.
    rev: i64,
    /// The whole text.
    draft: DraftView,
}

/// The name of a copy.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CopyInput {
    /// Its name.
    name: String,
}

/// A start time.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ScheduleView {
    /// Local time.
    local: String,
    /// IANA zone.
    zone: String,
    /// Do not start more than this many minutes late.
    not_later_than_minutes: Option<u32>,
}

/// A campaign without its text.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct CampaignRow {
    /// Its id.
    #[schema(value_type = s::CampaignId)]
    id: CampaignId,
    /// Its name.
    name: String,
    /// What it is for.
    #[schema(value_type = s::Objective)]
    objective: Objective,
    /// Its stream.
    #[schema(value_type = s::Stream)]
    stream: Stream,
    /// Where it stands.
    #[schema(value_type = s::CampaignState)]
    state: CampaignState,
    /// Who gets it.
    audience: AudienceView,
    /// When deliveries are tried again and given up.
    policy: PolicyView,
    /// How it leaves; null: the default route.
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// The start time as people wrote it.
    schedule: Option<ScheduleView>,
    /// The start as an instant.
    start_at: Option<Time>,
    /// Until when a start can be taken back.
    undo_until: Option<Time>,
    /// The revision; send it with a change.
    rev: i64,
    /// When it was made.
    created_at: Time,
    /// When it was changed last.
    updated_at: Time,
    /// When its audience was frozen.
    frozen_at: Option<Time>,
    /// When sending began.
    launched_at: Option<Time>,
    /// When it ended.
    finished_at: Option<Time>,
    /// The campaign that it was copied from.
    #[schema(value_type = Option<s::CampaignId>)]
    copied_from: Option<CampaignId>,
}

/// A campaign with its text.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct CampaignView {
    #[serde(flatten)]
    campaign: CampaignRow,
    /// The text's variant.
    #[schema(value_type = Option<s::VariantId>)]
    variant: Option<VariantId>,
    /// The text.
    draft: DraftView,
    /// The text's own revision; send it with a save.
    draft_rev: i64,
}

impl From<Draft> for DraftView {
    fn from(d: Draft) -> DraftView {
        DraftView {
            from_mailbox: d.from_mailbox,
            from_name: d.from_name,
            reply_to: d.reply_to,
            subject: d.subject,
            preheader: d.preheader,
            format: d.format,
            body: d.body,
            text: d.text,
        }
    }
}

impl From<DraftView> for Draft {
    fn from(v: DraftView) -> Draft {
        Draft {
            from_mailbox: v.from_mailbox,
            from_name: v.from_name,
            reply_to: v.reply_to,
            subject: v.subject,
            preheader: v.preheader,
            format: v.format,
            body: v.body,
            text: v.text,
        }
    }
}

impl From<AudienceView> for Audience {
    fn from(v: AudienceView) -> Audience {
        Audience { include: v.include, exclude: v.exclude, purpose: v.purpose }
    }
}

impl From<Audience> for AudienceView {
    fn from(a: Audience) -> AudienceView {
        AudienceView { include: a.include, exclude: a.exclude, purpose: a.purpose }
    }
}

impl From<RetryPolicy> for PolicyView {
    fn from(p: RetryPolicy) -> PolicyView {
        PolicyView {
            name: p.name,
            max_attempts: p.max_attempts,
            gaps_ms: p.gaps_ms,
            jitter_percent: p.jitter_percent,
            lifetime_ms: p.lifetime_ms,
            timeout_ms: p.timeout_ms,
            in_doubt: p.in_doubt,
        }
    }
}

impl From<Schedule> for ScheduleView {
    fn from(s: Schedule) -> ScheduleView {
        ScheduleView { local: s.local, zone: s.zone, not_later_than_minutes: s.not_later_than_minutes }
    }
}

impl From<Campaign> for CampaignRow {
    fn from(c: Campaign) -> CampaignRow {
        CampaignRow {
            id: c.id,
            name: c.name,
            objective: c.objective,
            stream: c.stream,
            state: c.state,
            audience: c.audience.into(),
            policy: c.policy.into(),
            route: c.route,
            schedule: c.schedule.map(ScheduleView::from),
            start_at: c.start_at.map(Time),
            undo_until: c.undo_until.map(Time),
            rev: c.rev,
            created_at: Time(c.created_at),
            updated_at: Time(c.updated_at),
            frozen_at: c.frozen_at.map(Time),
            launched_at: c.launched_at.map(Time),
            finished_at: c.finished_at.map(Time),
            copied_from: c.copied_from,
        }
    }
}

/// Reads a preset's name or a whole policy.
fn policy_of(value: Option<serde_json::Value>) -> Result<Option<RetryPolicy>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let policy = match value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(name) => RetryPolicy::preset(&name).ok_or_else(|| {
            Problem::refused("policy: the presets are `marketing`, `transactional`, `janusmail` and `rehearsal`")
        })?,
        own => {
            let v: PolicyView = crate::input::json_text(own.to_string().as_bytes())?;
            RetryPolicy {
                name: v.name,
                max_attempts: v.max_attempts,
                gaps_ms: v.gaps_ms,
                jitter_percent: v.jitter_percent,
                lifetime_ms: v.lifetime_ms,
                timeout_ms: v.timeout_ms,
                in_doubt: v.in_doubt,
            }
        }
    };
    policy.check().map_err(|error| Problem::refused(format!("policy: {error}")))?;
    Ok(Some(policy))
}

/// A campaign with its text.
///
/// # Errors
/// The workspace has no such campaign.
pub async fn view(web: &Web, caller: &Caller, id: CampaignId) -> Result<CampaignView, Problem> {
    let campaign = web.store().campaign(caller.workspace, id).await?;
    let variant = variant(web, caller, id).await?;
    Ok(CampaignView {
        campaign: campaign.into(),
        variant: Some(variant.id),
        draft: variant.draft.into(),
        draft_rev: variant.rev,
    })
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<CampaignQuery>) -> Listed<CampaignRow> {
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().campaigns(caller.workspace, query.state, &page).await?))
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<CampaignInput>) -> Result<Response, Problem> {
    let new = NewCampaign {
        name: input.name,
        objective: input.objective.unwrap_or(Objective::Information),
        audience: input.audience.into(),
        policy: policy_of(input.policy)?,
        route: input.route,
        draft: input.draft.into(),
    };
    let made = web.store().create_campaign(caller.workspace, &caller.actor, new).await?;
    Ok((StatusCode::CREATED, axum::Json(view(&web, &caller, made.id).await?)).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<CampaignView>, Problem> {
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<CampaignPatch>,
) -> Result<axum::Json<CampaignView>, Problem> {
    let change = CampaignChange {
        name: input.name,
        objective: input.objective,
        audience: input.audience.map(Audience::from),
        policy: policy_of(input.policy)?,
        route: input.route,
    };
    web.store().change_campaign(caller.workspace, &caller.actor, id, input.rev, change).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn save_draft(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<DraftPut>,
) -> Result<axum::Json<CampaignView>, Problem> {
    let variant = variant(&web, &caller, id).await?;
    web.store().change_variant(caller.workspace, &caller.actor, variant.id, input.rev, &input.draft.into()).await?;
    Ok(axum::Json(view(&web, &caller, id).await?))
}

async fn delete(State(web): State<Web>, caller: Caller, Path(id): Path<CampaignId>) -> Result<StatusCode, Problem> {
    web.store().delete_campaign(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn copy(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<CopyInput>,
) -> Result<Response, Problem> {
    let made = web.store().copy_campaign(caller.workspace, &caller.actor, id, &input.name).await?;
    Ok((StatusCode::CREATED, axum::Json(view(&web, &caller, made.id).await?)).into_response())
}
