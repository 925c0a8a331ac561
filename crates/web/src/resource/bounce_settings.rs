//! What a workspace wants of soft bounces: the limits at which a mailbox is left alone, and for how long.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::bounce::soft::SoftLimits;
use postrider_domain::suppression::SuppressionScope;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Json;
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema as s;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/bounce-settings",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("queue", "bounce_settings", "When soft bounces suppress a mailbox")
            .gives::<BounceSettingsView>(200, "The settings."),
        get,
    );
    api.add(
        Method::PUT,
        "/api/v1/bounce-settings",
        Rule::Scope(Scope::Admin),
        Op::new("queue", "set_bounce_settings", "Set when soft bounces suppress a mailbox")
            .about(
                "What is not named is as at first. Counts for the next bounce of each mailbox; what was suppressed before stays. \
                 One delivery is one bounce, a success resets the count. Bounces are a final refusal for a full mailbox (C4), by \
                 the recipient's organisation (C13) or of a mailbox that is disabled (C2), and deliveries that expired (C17) with \
                 such an answer.",
            )
            .takes::<BounceSettingsView>(json!({ "bounces": 5, "campaigns": 3, "days": 14, "suppress_days": 90 }))
            .gives::<BounceSettingsView>(200, "What is set now."),
        put,
    );
}

/// When soft bounces suppress a mailbox, and for how long.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
struct BounceSettingsView {
    /// Whether a limit suppresses at all; bounces are counted in any case.
    enabled: bool,
    /// First limit: so many bounces without a success between, 1 to 50 …
    bounces: u32,
    /// … of at least so many campaigns, 0 to 50 …
    campaigns: u32,
    /// … the last at least so many days after the first, 0 to 365.
    days: u32,
    /// Second limit: the last bounce is so many weeks after the first without a success between, 1 to 104 …
    weeks: u32,
    /// … and there were at least so many, 1 to 50.
    tries: u32,
    /// For how many days a mailbox is suppressed then, 1 to 3650; null: for good.
    suppress_days: Option<u32>,
    /// What the suppression covers.
    #[schema(value_type = s::SuppressionScope)]
    scope: SuppressionScope,
}

impl Default for BounceSettingsView {
    fn default() -> BounceSettingsView {
        SoftLimits::default().into()
    }
}

impl From<SoftLimits> for BounceSettingsView {
    fn from(l: SoftLimits) -> BounceSettingsView {
        BounceSettingsView {
            enabled: l.enabled,
            bounces: l.bounces,
            campaigns: l.campaigns,
            days: l.days,
            weeks: l.weeks,
            tries: l.tries,
            suppress_days: l.suppress_days,
            scope: l.scope,
        }
    }
}

impl From<BounceSettingsView> for SoftLimits {
    fn from(v: BounceSettingsView) -> SoftLimits {
        SoftLimits {
            enabled: v.enabled,
            bounces: v.bounces,
            campaigns: v.campaigns,
            days: v.days,
            weeks: v.weeks,
            tries: v.tries,
            suppress_days: v.suppress_days,
            scope: v.scope,
        }
    }
}

async fn get(State(web): State<Web>, caller: Caller) -> Result<axum::Json<BounceSettingsView>, Problem> {
    Ok(axum::Json(web.store().bounce_settings(caller.workspace).await?.into()))
}

async fn put(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<BounceSettingsView>,
) -> Result<axum::Json<BounceSettingsView>, Problem> {
    let set = web.store().put_bounce_settings(caller.workspace, &caller.actor, &input.into()).await?;
    Ok(axum::Json(set.into()))
}
