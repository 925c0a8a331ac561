//! Texts of a draft as they were saved, so that nothing written is lost.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::id::CampaignId;
use postrider_store::history::Revision;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Path;
use crate::launch::variant;
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::resource::campaign_view::DraftView;
use crate::rule::Rule;
use crate::schema::Time;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/history",
        read,
        Op::new("campaigns", "draft_history", "The saved texts of a campaign")
            .about(
                "The newest ten, and before them at most one a minute; fifty in all. The first is the present text. Save one \
                 again to go back to it.",
            )
            .gives_list::<RevisionView>("Newest first, without their texts."),
        list,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/history/{rev}",
        read,
        Op::new("campaigns", "draft_revision", "One saved text").gives::<SavedDraftView>(200, "The text."),
        get,
    );
}

/// A saved text.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RevisionView {
    /// Its number: `draft_rev` when it was saved.
    rev: i64,
    /// When it was saved.
    saved_at: Time,
    /// Who saved it: the id of an account or key; empty for the command line.
    saved_by: String,
    /// Its size in bytes.
    size: i64,
    /// Its subject.
    subject: String,
}

/// A saved text with its content.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SavedDraftView {
    /// What is known of it.
    #[serde(flatten)]
    revision: RevisionView,
    /// The text.
    draft: DraftView,
}

impl From<Revision> for RevisionView {
    fn from(r: Revision) -> RevisionView {
        RevisionView { rev: r.rev, saved_at: Time(r.saved_at), saved_by: r.saved_by, size: r.size, subject: r.subject }
    }
}

async fn list(State(web): State<Web>, caller: Caller, Path(id): Path<CampaignId>) -> Listed<RevisionView> {
    let variant = variant(&web, &caller, id).await?;
    Ok(whole(web.store().revisions(caller.workspace, variant.id).await?))
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path((id, rev)): Path<(CampaignId, i64)>,
) -> Result<axum::Json<SavedDraftView>, Problem> {
    let variant = variant(&web, &caller, id).await?;
    let saved = web.store().revision(caller.workspace, variant.id, rev).await?;
    Ok(axum::Json(SavedDraftView { revision: saved.revision.into(), draft: saved.draft.into() }))
}
