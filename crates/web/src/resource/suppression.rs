//! Suppressions: addresses that are not written to, with reason, scope and source.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::bounce::BounceClass;
use postrider_domain::bounce::soft::SoftEvidence;
use postrider_domain::id::{CampaignId, DeliveryId, SuppressionId};
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use postrider_mail::mailbox::DomainName;
use postrider_store::suppression::{NewSuppression, Suppression, SuppressionFilter, Whom};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, listing, paging};
use crate::problem::Problem;
use crate::resource::contact::mailbox;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::ContactsRead);
    let write = Rule::Scope(Scope::ContactsWrite);
    api.add(
        Method::GET,
        "/api/v1/suppressions",
        read,
        Op::new("suppressions", "list_suppressions", "The suppressions of the workspace")
            .query::<SuppressionQuery>()
            .gives_page::<SuppressionView>("Newest first; those that ended are shown with their end."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/suppressions",
        write,
        Op::new("suppressions", "suppress", "Suppress a mailbox or a domain")
            .about("One that is in force already stays as it is, unless it would end by itself and the new one is for good.")
            .takes::<SuppressionInput>(json!({ "mailbox": "dario@example.org", "source": "asked by phone" }))
            .gives::<SuppressionView>(201, "The suppression now in force.")
            .retry(Retry::Replay),
        suppress,
    );
    api.add(
        Method::GET,
        "/api/v1/suppressions/{suppression}",
        read,
        Op::new("suppressions", "get_suppression", "One suppression").gives::<SuppressionView>(200, "The suppression."),
        get,
    );
    api.add(
        Method::DELETE,
        "/api/v1/suppressions/{suppression}",
        write,
        Op::new("suppressions", "lift_suppression", "Lift a suppression")
            .about(
                "Only faults of the mailbox, bounce limits and manual ones: what the person said only the person takes back. \
                 Soft bounces of the mailbox are counted from nothing then.",
            )
            .gives_nothing("It is lifted."),
        lift,
    );
}

/// Which suppressions are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct SuppressionQuery {
    /// Of this mailbox or its domain only.
    mailbox: Option<String>,
    /// With this reason only.
    #[param(value_type = Option<s::SuppressionReason>)]
    reason: Option<SuppressionReason>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Whom to suppress; either a mailbox or a domain.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SuppressionInput {
    /// One mailbox.
    mailbox: Option<String>,
    /// Every mailbox of a domain.
    domain: Option<String>,
    /// What it covers; marketing when not given.
    #[schema(value_type = Option<s::SuppressionScope>)]
    scope: Option<SuppressionScope>,
    /// Where it came from, in words.
    #[serde(default)]
    source: String,
    /// Until when; for good when not given.
    until: Option<Time>,
}

/// A suppression.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SuppressionView {
    /// Its id.
    #[schema(value_type = s::SuppressionId)]
    id: SuppressionId,
    /// The mailbox; null for a domain, and after erasure.
    mailbox: Option<String>,
    /// The domain, when all of it is suppressed.
    domain: Option<String>,
    /// Why.
    #[schema(value_type = s::SuppressionReason)]
    reason: SuppressionReason,
    /// What it covers.
    #[schema(value_type = s::SuppressionScope)]
    scope: SuppressionScope,
    /// Where it came from.
    source: String,
    /// Since when.
    since: Time,
    /// Until when; null: for good.
    until: Option<Time>,
    /// The delivery that proved it; of a bounce limit the last one.
    #[schema(value_type = Option<s::DeliveryId>)]
    delivery: Option<DeliveryId>,
    /// Why a bounce limit was reached, in one sentence; null for other reasons.
    because: Option<String>,
    /// The bounces by which a bounce limit was reached, the first fifty.
    bounces: Vec<CountedBounceView>,
}

/// A soft bounce that was counted.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct CountedBounceView {
    /// The delivery.
    #[schema(value_type = s::DeliveryId)]
    delivery: DeliveryId,
    /// Its campaign; null for a single message.
    #[schema(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// What the host said.
    #[schema(value_type = s::BounceClass)]
    class: BounceClass,
    /// When.
    at: Time,
}

impl From<Suppression> for SuppressionView {
    fn from(s: Suppression) -> SuppressionView {
        let trail = s.evidence.as_ref().map_or(&[][..], |evidence| &evidence.trail);
        let bounces = trail
            .iter()
            .map(|bounce| CountedBounceView {
                delivery: bounce.delivery(),
                campaign: bounce.campaign(),
                class: bounce.class(),
                at: Time(bounce.at()),
            })
            .collect();
        SuppressionView {
            because: s.evidence.as_ref().map(SoftEvidence::sentence),
            bounces,
            id: s.id,
            mailbox: s.mailbox,
            domain: s.domain,
            reason: s.reason,
            scope: s.scope,
            source: s.source,
            since: Time(s.since),
            until: s.until.map(Time),
            delivery: s.delivery,
        }
    }
}

async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<SuppressionQuery>,
) -> Listed<SuppressionView> {
    let page = paging(query.limit, query.cursor)?;
    let mailbox = query.mailbox.as_deref().map(mailbox).transpose()?;
    let filter = SuppressionFilter { mailbox, reason: query.reason };
    Ok(listing(web.store().suppressions(caller.workspace, &filter, &page).await?))
}

async fn suppress(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<SuppressionInput>,
) -> Result<Response, Problem> {
    let whom = match (input.mailbox, input.domain) {
        (Some(text), None) => Whom::Mailbox(mailbox(&text)?),
        (None, Some(text)) => Whom::Domain(
            DomainName::parse(text.trim())
                .map_err(|error| Problem::refused(format!("the domain is not usable: {error}")))?,
        ),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::refused("name either a mailbox or a domain"));
        }
    };
    let new = NewSuppression {
        whom,
        reason: SuppressionReason::Manual,
        scope: input.scope,
        source: input.source,
        until: input.until.map(|t| t.0),
        delivery: None,
    };
    let made = web.store().suppress(caller.workspace, &caller.actor, new).await?;
    Ok((StatusCode::CREATED, axum::Json(SuppressionView::from(made))).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<SuppressionId>,
) -> Result<axum::Json<SuppressionView>, Problem> {
    Ok(axum::Json(web.store().suppression(caller.workspace, id).await?.into()))
}

async fn lift(State(web): State<Web>, caller: Caller, Path(id): Path<SuppressionId>) -> Result<StatusCode, Problem> {
    web.store().lift_suppression(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use postrider_domain::bounce::soft::{SoftBounce, SoftCount, SoftLimit};

    use super::*;

    #[test]
    fn a_bounce_limit_names_its_reason_its_deliveries_and_its_campaigns() {
        let shown = serde_json::to_value(SuppressionView::from(Suppression {
            id: SuppressionId(1),
            mailbox: Some("ann@example.org".into()),
            domain: None,
            reason: SuppressionReason::BounceLimit,
            scope: SuppressionScope::Marketing,
            source: "session".into(),
            since: 0,
            until: Some(1),
            delivery: Some(DeliveryId(2)),
            evidence: Some(SoftEvidence {
                limit: SoftLimit::ManyBounces,
                count: SoftCount { bounces: 1, campaigns: 1, first_at: 0, last_at: 0 },
                trail: vec![SoftBounce(2, Some(3), BounceClass::MailboxFull, 0)],
            }),
        }))
        .unwrap();
        assert_eq!((&shown["reason"], &shown["bounces"][0]["class"]), (&json!("bounce_limit"), &json!("mailbox_full")));
        assert_eq!(shown["bounces"][0]["delivery"], json!(DeliveryId(2)));
        assert_eq!(shown["bounces"][0]["campaign"], json!(CampaignId(3)));
        assert!(shown["because"].as_str().unwrap().starts_with("1 soft bounces (1 × mailbox_full)"), "{shown}");
    }
}
