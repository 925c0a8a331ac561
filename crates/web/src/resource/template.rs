//! Templates: texts that campaigns are begun from. The same text in several languages is one group.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_content::blocks::Starter;
use postrider_domain::access::Scope;
use postrider_domain::campaign::{BodyFormat, Draft};
use postrider_domain::id::{CampaignId, TemplateId};
use postrider_store::template::{NewTemplate, Template, TemplateChange, TemplateRow};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::launch::variant;
use crate::page::{Listed, listing, paging, whole};
use crate::problem::Problem;
use crate::resource::campaign_view::DraftView;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let write = Rule::Scope(Scope::CampaignsWrite);
    api.add(
        Method::GET,
        "/api/v1/templates",
        read,
        Op::new("templates", "list_templates", "The templates of the workspace")
            .query::<TemplateQuery>()
            .gives_page::<TemplateRowView>("Newest first, without their texts."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/templates",
        write,
        Op::new("templates", "create_template", "Save a text as a template")
            .about(
                "The text is `draft`, or that of the campaign `from_campaign`. With `group`, the id of another template, it is \
                 that text in another language.",
            )
            .takes::<TemplateInput>(json!({
                "name": "Monthly letter", "language": "en",
                "draft": { "subject": "News of {{ month }}", "format": "markdown", "body": "# Hello" }
            }))
            .gives::<TemplateView>(201, "The template.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/templates/starters",
        read,
        Op::new("templates", "list_starters", "The texts to start from that come with Postrider")
            .about("To use one, give its `draft` to `create_campaign` or `create_template`.")
            .gives_list::<StarterView>("The starters, in the order in which they are offered."),
        starters,
    );
    api.add(
        Method::GET,
        "/api/v1/templates/{template}",
        read,
        Op::new("templates", "get_template", "One template with its text").gives::<TemplateView>(200, "The template."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/templates/{template}",
        write,
        Op::new("templates", "change_template", "Rename a template, or say its language")
            .about("`rev` is the revision that the change was made from: 409 when somebody changed it meanwhile.")
            .takes::<TemplatePatch>(json!({ "rev": 1, "name": "Letter of the month" }))
            .gives::<TemplateView>(200, "The template as it is now."),
        change,
    );
    api.add(
        Method::PUT,
        "/api/v1/templates/{template}/draft",
        write,
        Op::new("templates", "replace_template", "Replace the text of a template")
            .about("`rev` is the revision that the change was made from: 409 when somebody changed it meanwhile.")
            .takes::<TemplateDraftPut>(json!({ "rev": 1, "draft": { "subject": "News", "body": "# Hello" } }))
            .gives::<TemplateView>(200, "The template as it is now."),
        replace,
    );
    api.add(
        Method::DELETE,
        "/api/v1/templates/{template}",
        write,
        Op::new("templates", "delete_template", "Delete a template; campaigns begun from it stay")
            .gives_nothing("It is gone."),
        delete,
    );
}

/// Which templates are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct TemplateQuery {
    /// Those of the group of this template only.
    #[param(value_type = Option<s::TemplateId>)]
    group: Option<TemplateId>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// A template to be made.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateInput {
    /// Its name.
    name: String,
    /// The language of the text (BCP 47); a group has each language once.
    #[serde(default)]
    language: String,
    /// A template whose group it joins.
    #[schema(value_type = Option<s::TemplateId>)]
    group: Option<TemplateId>,
    /// The text.
    draft: Option<DraftView>,
    /// A campaign whose text is taken instead.
    #[schema(value_type = Option<s::CampaignId>)]
    from_campaign: Option<CampaignId>,
}

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplatePatch {
    /// The revision that the change was made from.
    rev: i64,
    /// Another name.
    name: Option<String>,
    /// Another language.
    language: Option<String>,
}

/// A text to be saved.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateDraftPut {
    /// The revision that the change was made from.
    rev: i64,
    /// The whole text.
    draft: DraftView,
}

/// A template without its text.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TemplateRowView {
    /// Its id.
    #[schema(value_type = s::TemplateId)]
    id: TemplateId,
    /// The group: the same text in several languages. It has the id of its first template, which may be gone.
    #[schema(value_type = s::TemplateId)]
    group: TemplateId,
    /// The language of the text (BCP 47); empty when nobody said.
    language: String,
    /// Its name.
    name: String,
    /// Its subject.
    subject: String,
    /// How its body is written.
    format: Option<String>,
    /// The revision; send it with a change.
    rev: i64,
    /// When it was made.
    created_at: Time,
    /// When it was changed last.
    updated_at: Time,
}

/// A template with its text.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TemplateView {
    /// Everything but the text.
    #[serde(flatten)]
    template: TemplateRowView,
    /// The text.
    draft: DraftView,
}

/// A text to start from.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct StarterView {
    /// Fixed word for programs.
    id: &'static str,
    /// Its name, in English.
    name: &'static str,
    /// What it is good for, in English.
    description: &'static str,
    /// The language of its text.
    language: &'static str,
    /// The text.
    draft: DraftView,
}

impl From<Starter> for StarterView {
    fn from(s: Starter) -> StarterView {
        let draft = Draft {
            subject: s.subject.into(),
            format: Some(BodyFormat::Blocks),
            body: s.document.into(),
            ..Draft::default()
        };
        StarterView { id: s.id, name: s.name, description: s.description, language: "en", draft: draft.into() }
    }
}

impl From<TemplateRow> for TemplateRowView {
    fn from(t: TemplateRow) -> TemplateRowView {
        TemplateRowView {
            id: t.id,
            group: t.group,
            language: t.language,
            name: t.name,
            subject: t.subject,
            format: t.format,
            rev: t.rev,
            created_at: Time(t.created_at),
            updated_at: Time(t.updated_at),
        }
    }
}

impl From<Template> for TemplateView {
    fn from(t: Template) -> TemplateView {
        TemplateView { template: t.row.into(), draft: t.draft.into() }
    }
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<TemplateQuery>) -> Listed<TemplateRowView> {
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().templates(caller.workspace, query.group, &page).await?))
}

async fn starters() -> Listed<StarterView> {
    Ok(whole(postrider_content::blocks::starters().to_vec()))
}

async fn create(State(web): State<Web>, caller: Caller, Json(input): Json<TemplateInput>) -> Result<Response, Problem> {
    let draft = match (input.draft, input.from_campaign) {
        (Some(draft), None) => draft.into(),
        (None, Some(campaign)) => variant(&web, &caller, campaign).await?.draft,
        (None, None) | (Some(_), Some(_)) => {
            return Err(Problem::refused("a template needs its text: give either `draft` or `from_campaign`"));
        }
    };
    let new = NewTemplate { name: input.name, language: input.language, group: input.group, draft };
    let made = web.store().create_template(caller.workspace, &caller.actor, new).await?;
    Ok((StatusCode::CREATED, axum::Json(TemplateView::from(made))).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<TemplateId>,
) -> Result<axum::Json<TemplateView>, Problem> {
    Ok(axum::Json(web.store().template(caller.workspace, id).await?.into()))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<TemplateId>,
    Json(input): Json<TemplatePatch>,
) -> Result<axum::Json<TemplateView>, Problem> {
    let change = TemplateChange { name: input.name, language: input.language, draft: None };
    Ok(axum::Json(web.store().change_template(caller.workspace, &caller.actor, id, input.rev, change).await?.into()))
}

async fn replace(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<TemplateId>,
    Json(input): Json<TemplateDraftPut>,
) -> Result<axum::Json<TemplateView>, Problem> {
    let change = TemplateChange { draft: Some(input.draft.into()), ..TemplateChange::default() };
    Ok(axum::Json(web.store().change_template(caller.workspace, &caller.actor, id, input.rev, change).await?.into()))
}

async fn delete(State(web): State<Web>, caller: Caller, Path(id): Path<TemplateId>) -> Result<StatusCode, Problem> {
    web.store().delete_template(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
