//! Figures of a campaign for people who look at it: who would get it, and what happened over time.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::id::CampaignId;
use postrider_store::series::Moment;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Path;
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::Time;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/audience",
        read,
        Op::new("campaigns", "campaign_audience", "How many people would get the campaign now, and why the others not")
            .about(
                "Counted from one snapshot with the rules that freezing uses, so that a start right now would freeze just so \
                 many. About a second for each million contacts on the lists.",
            )
            .gives::<AudienceCountView>(200, "The count."),
        audience,
    );
    api.add(
        Method::GET,
        "/api/v1/campaigns/{campaign}/series",
        read,
        Op::new("reports", "campaign_series", "What happened over time, for a curve")
            .about("At most 120 points. Stretches in which nothing happened are left out.")
            .gives::<SeriesView>(200, "The curve."),
        series,
    );
}

/// How many people would get a campaign.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct AudienceCountView {
    /// Contacts that would get it.
    recipients: i64,
    /// Contacts on the lists in and not on the lists out, each once.
    named: i64,
    /// Contacts that would be left out, by reason; contacts that several lists name count as `duplicate` once for each
    /// further list.
    excluded: BTreeMap<String, i64>,
    /// When it was counted.
    at: Time,
}

/// The curve of a campaign.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SeriesView {
    /// The width of a stretch in seconds.
    bucket_seconds: i64,
    /// The stretches, in order.
    points: Vec<MomentView>,
}

/// What happened within a stretch of time.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct MomentView {
    /// When the stretch begins.
    at: Time,
    /// Deliveries that a remote host accepted.
    accepted: i64,
    /// Deliveries that a remote host refused for good.
    bounced: i64,
    /// Deliveries that were given up.
    expired: i64,
    /// Attempts after which a delivery waits for another.
    deferred: i64,
}

impl From<Moment> for MomentView {
    fn from(m: Moment) -> MomentView {
        MomentView {
            at: Time(m.at),
            accepted: m.accepted,
            bounced: m.rejected,
            expired: m.expired,
            deferred: m.deferred,
        }
    }
}

async fn audience(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<AudienceCountView>, Problem> {
    let at = Time(web.now());
    let count = web.store().audience_count(caller.workspace, id).await?;
    Ok(axum::Json(AudienceCountView {
        recipients: count.recipients,
        named: count.named,
        excluded: count.excluded.into_iter().map(|(reason, n)| (reason.to_string(), n)).collect(),
        at,
    }))
}

async fn series(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
) -> Result<axum::Json<SeriesView>, Problem> {
    let series = web.store().series(caller.workspace, id).await?;
    Ok(axum::Json(SeriesView {
        bucket_seconds: series.minutes * 60,
        points: series.points.into_iter().map(MomentView::from).collect(),
    }))
}
