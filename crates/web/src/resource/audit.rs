//! The audit: who did what, append-only.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::id::AuditId;
use postrider_store::audit::AuditLine;
use serde_json::Value;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::{Paging, Query};
use crate::page::{Listed, listing, paging};
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/audit",
        Rule::Scope(Scope::Admin),
        Op::new("audit", "list_audit", "Who did what to which object").gives_page::<AuditView>("Lines, newest first."),
        list,
    );
}

/// One line.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct AuditView {
    /// Its id.
    #[schema(value_type = s::AuditId)]
    id: AuditId,
    /// When.
    at: Time,
    /// `account`, `key`, `console`, `engine` or `person`.
    actor_kind: String,
    /// The actor's id; empty for the console, the engine and persons.
    actor: String,
    /// What was done, e.g. `campaign.start`.
    action: String,
    /// The id of the object.
    object: String,
    /// What else matters; never mailboxes or secrets.
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<AuditLine> for AuditView {
    fn from(l: AuditLine) -> AuditView {
        AuditView {
            id: l.id,
            at: Time(l.at),
            actor_kind: l.actor_kind.to_string(),
            actor: l.actor,
            action: l.action,
            object: l.object,
            detail: l.detail,
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<Paging>) -> Listed<AuditView> {
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().audit(caller.workspace, &page).await?))
}
