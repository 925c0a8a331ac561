//! Campaigns as they are written: audience, policy, route and text. What moves them is in `campaign_action`.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::campaign::{Audience, CampaignState, Draft, Objective};
use postrider_domain::id::{CampaignId, RouteId, TemplateId};
use postrider_store::StoreError;
use postrider_store::campaign::{CampaignChange, NewCampaign, Variant};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::launch::variant;
use crate::page::{Listed, listing, paging};
use crate::problem::Problem;
use crate::resource::alarm::AlarmView;
use crate::resource::campaign_view::{AudienceView, CampaignRow, CampaignView, DraftView, PolicyInput, policy_of};
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
            .about(
                "`rev` is the text's own revision, `draft_rev` of the campaign. When somebody saved meanwhile, 409 `outdated` \
                 with `current`: their `draft`, `draft_rev`, `saved_at` and `saved_by`. Nothing is lost: show both, and save again \
                 with their revision.",
            )
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
    /// The text; empty when not given.
    draft: Option<DraftView>,
    /// A template whose text it begins with instead.
    #[schema(value_type = Option<s::TemplateId>)]
    template: Option<TemplateId>,
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

/// A campaign with its text.
///
/// # Errors
/// The workspace has no such campaign.
pub async fn view(web: &Web, caller: &Caller, id: CampaignId) -> Result<CampaignView, Problem> {
    let campaign = web.store().campaign(caller.workspace, id).await?;
    let variant = variant(web, caller, id).await?;
    let paused_because = match campaign.state {
        CampaignState::Paused => web.store().paused_because(caller.workspace, id).await?,
        CampaignState::Draft
        | CampaignState::Scheduled
        | CampaignState::Freezing
        | CampaignState::Sending
        | CampaignState::Done
        | CampaignState::Stopped
        | CampaignState::Missed => None,
    };
    Ok(CampaignView {
        paused_because: paused_because.map(AlarmView::from),
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
    let draft = match (input.draft, input.template) {
        (Some(_), Some(_)) => {
            return Err(Problem::refused("a campaign begins with one text: give either `draft` or `template`"));
        }
        (Some(draft), None) => draft.into(),
        (None, Some(template)) => web.store().template(caller.workspace, template).await?.draft,
        (None, None) => Draft::default(),
    };
    let new = NewCampaign {
        name: input.name,
        objective: input.objective.unwrap_or(Objective::Information),
        audience: input.audience.into(),
        policy: policy_of(input.policy)?,
        route: input.route,
        draft,
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
    let before = variant(&web, &caller, id).await?;
    let draft = input.draft.into();
    match web.store().change_variant(caller.workspace, &caller.actor, before.id, input.rev, &draft).await {
        Ok(_) => Ok(axum::Json(view(&web, &caller, id).await?)),
        Err(conflict @ StoreError::Conflict { .. }) => {
            let present = variant(&web, &caller, id).await?;
            if present.rev == input.rev {
                // It is not the revision: the campaign is no draft any more.
                return Err(conflict.into());
            }
            Err(outdated(&web, &caller, present).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// 409 with the text that is stored now.
async fn outdated(web: &Web, caller: &Caller, present: Variant) -> Result<Problem, Problem> {
    let saved_by = match web.store().revision(caller.workspace, present.id, present.rev).await {
        Ok(saved) => saved.revision.saved_by,
        // Saved over once more in this moment.
        Err(StoreError::NotFound { .. }) => String::new(),
        Err(error) => return Err(error.into()),
    };
    let current = json!({
        "draft": DraftView::from(present.draft), "draft_rev": present.rev, "saved_at": Time(present.updated_at),
        "saved_by": saved_by,
    });
    Ok(Problem::outdated(
        "somebody else saved this text meanwhile: `current` is theirs. Yours was not saved and is not lost: compare both, then \
         save with the revision of theirs",
        current,
    ))
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
