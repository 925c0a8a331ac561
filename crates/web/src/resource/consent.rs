//! Consents of a contact: what was agreed to, refused and taken back, each with its evidence (LAW-20…26).

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::consent::{ConsentState, Evidence, LegalBasis};
use postrider_domain::id::{ContactId, PurposeId, WordingId};
use postrider_store::consent::{Consent, NewConsent};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/contacts/{contact}/consents",
        Rule::Scope(Scope::ContactsRead),
        Op::new("contacts", "list_consents", "What a contact agreed to, refused and took back")
            .gives_list::<ConsentView>("One line a purpose."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/contacts/{contact}/consents",
        Rule::Scope(Scope::ContactsWrite),
        Op::new("contacts", "record_consent", "Record a consent, a refusal or a withdrawal")
            .about(
                "To grant on the basis `consent`, name the wording that the person saw. A consent that the person took \
                 back is granted again only with evidence that is newer than the withdrawal.",
            )
            .takes::<ConsentInput>(json!({
                "purpose": "pur_0000000000000", "state": "withdrawn", "source": "a phone call"
            }))
            .gives::<ConsentView>(201, "Where the consent stands now.")
            .retry(Retry::Replay),
        record,
    );
}

/// What is to be recorded.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ConsentInput {
    /// The purpose.
    #[schema(value_type = s::PurposeId)]
    purpose: PurposeId,
    /// The state that it gets.
    #[schema(value_type = s::ConsentState)]
    state: ConsentState,
    /// The legal basis; needed to grant.
    #[schema(value_type = Option<s::LegalBasis>)]
    basis: Option<LegalBasis>,
    /// The wording that the person saw.
    #[schema(value_type = Option<s::WordingId>)]
    wording: Option<WordingId>,
    /// Where it came from, in words.
    #[serde(default)]
    source: String,
    /// When the person agreed or objected; now when not given.
    given_at: Option<Time>,
    /// Address of the form or page.
    page: Option<String>,
    /// Address of the person's machine at the act, when the law lets us keep it.
    ip: Option<String>,
    /// The person's browser.
    agent: Option<String>,
    /// Free note.
    note: Option<String>,
}

/// Where a consent stands.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct ConsentView {
    /// The purpose.
    #[schema(value_type = s::PurposeId)]
    purpose: PurposeId,
    /// The state.
    #[schema(value_type = s::ConsentState)]
    state: ConsentState,
    /// The legal basis that was named.
    #[schema(value_type = Option<s::LegalBasis>)]
    basis: Option<LegalBasis>,
    /// Since when.
    since: Time,
    /// The number of the ledger's entry that it rests on.
    ledger_seq: i64,
}

impl From<Consent> for ConsentView {
    fn from(c: Consent) -> ConsentView {
        ConsentView {
            purpose: c.purpose,
            state: c.state,
            basis: c.basis,
            since: Time(c.since),
            ledger_seq: c.ledger_seq,
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller, Path(id): Path<ContactId>) -> Listed<ConsentView> {
    Ok(whole(web.store().consents(caller.workspace, id).await?))
}

async fn record(
    State(web): State<Web>,
    caller: Caller,
    Path(contact): Path<ContactId>,
    Json(input): Json<ConsentInput>,
) -> Result<Response, Problem> {
    let new = NewConsent {
        contact,
        purpose: input.purpose,
        state: input.state,
        wording: input.wording,
        evidence: Evidence {
            source: input.source,
            basis: input.basis,
            given_at: Some(input.given_at.map_or_else(|| web.now(), |t| t.0)),
            wording: None,
            page: input.page,
            ip: input.ip,
            agent: input.agent,
            method: "api".into(),
            delivery: None,
            note: input.note,
        },
    };
    let made = web.store().record_consent(caller.workspace, &caller.actor, new).await?;
    Ok((StatusCode::CREATED, axum::Json(ConsentView::from(made))).into_response())
}
