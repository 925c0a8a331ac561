//! Bounce rules that a workspace writes for itself; they come before those of the installation and those that ship.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use postrider_domain::access::Scope;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Json;
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::Time;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let admin = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/bounce-rules",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("queue", "bounce_rules", "The bounce rules of the workspace")
            .gives::<BounceRulesView>(200, "As they were written."),
        get,
    );
    api.add(
        Method::PUT,
        "/api/v1/bounce-rules",
        admin,
        Op::new("queue", "set_bounce_rules", "Set the bounce rules of the workspace")
            .about(
                "TOML as in docs/bounces.md. Each rule is tried with its samples; when one does not do what they say, nothing \
                 changes. Counts within seconds, for replies that come from then on.",
            )
            .takes::<BounceRulesInput>(json!({ "text": EXAMPLE }))
            .gives::<BounceRulesView>(200, "What is set now."),
        put,
    );
    api.add(
        Method::DELETE,
        "/api/v1/bounce-rules",
        admin,
        Op::new("queue", "delete_bounce_rules", "Forget the bounce rules of the workspace").gives_nothing("Gone."),
        delete,
    );
}

const EXAMPLE: &str = "version = \"1\"\n\n[[rule]]\nid = \"ours.holidays\"\nclass = \"C4\"\npatterns = ['on holiday until']\n\
                       source = \"our observation\"\nyes = [\"550 on holiday until Monday\"]\nno = [\"550 user unknown\"]\n";

/// Rules to be set.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct BounceRulesInput {
    /// The rules, as TOML, at most 256 KiB.
    text: String,
}

/// The rules of a workspace.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct BounceRulesView {
    /// The rules, as TOML; null when there are none.
    text: Option<String>,
    /// When they were set.
    updated_at: Option<Time>,
}

async fn get(State(web): State<Web>, caller: Caller) -> Result<axum::Json<BounceRulesView>, Problem> {
    let own = web.store().bounce_rules(caller.workspace).await?;
    let updated_at = own.as_ref().map(|own| Time(own.updated_at));
    Ok(axum::Json(BounceRulesView { text: own.map(|own| own.text), updated_at }))
}

async fn put(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<BounceRulesInput>,
) -> Result<axum::Json<BounceRulesView>, Problem> {
    let own = web.store().put_bounce_rules(caller.workspace, &caller.actor, &input.text).await?;
    Ok(axum::Json(BounceRulesView { text: Some(own.text), updated_at: Some(Time(own.updated_at)) }))
}

async fn delete(State(web): State<Web>, caller: Caller) -> Result<StatusCode, Problem> {
    web.store().delete_bounce_rules(caller.workspace, &caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
