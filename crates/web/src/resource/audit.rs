//! The audit: who did what, append-only.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::id::AuditId;
use postrider_store::actor::ActorKind;
use postrider_store::audit::{AuditFilter, AuditLine};
use serde_json::Value;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Query;
use crate::page::{Listed, listing, paging};
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/audit",
        Rule::Scope(Scope::Admin),
        Op::new("audit", "list_audit", "Who did what to which object")
            .query::<AuditQuery>()
            .gives_page::<AuditView>("Lines, newest first."),
        list,
    );
}

/// Which lines are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// By whom: a kind (`account`, `key`, `console`, `engine`, `person`) or the id of an account or a key.
    actor: Option<String>,
    /// Acts whose name begins so: `campaign.` or `campaign.start`.
    action: Option<String>,
    /// On the object with this id.
    object: Option<String>,
    /// From this time on.
    #[param(value_type = Option<Time>)]
    from: Option<Time>,
    /// Before this time.
    #[param(value_type = Option<Time>)]
    until: Option<Time>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
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

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<AuditQuery>) -> Listed<AuditView> {
    let page = paging(query.limit, query.cursor)?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let actor = given(query.actor);
    let kind = actor.as_deref().and_then(ActorKind::parse);
    let filter = AuditFilter {
        actor_kind: kind,
        actor: actor.filter(|_| kind.is_none()),
        action: given(query.action),
        object: given(query.object),
        from: query.from.map(|at| at.0),
        until: query.until.map(|at| at.0),
    };
    Ok(listing(web.store().find_audit(caller.workspace, &filter, &page).await?))
}
