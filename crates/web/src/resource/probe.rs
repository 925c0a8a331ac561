//! Probes: questions that only the engine may answer (DNS, a connection to a route), asked by a row.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::InquiryId;
use postrider_mail::mailbox::DomainName;
use serde_json::{Value, json};

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::{Json, Path};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema as s;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let rule = Rule::Scope(Scope::Admin);
    api.add(
        Method::POST,
        "/api/v1/probes/dns",
        rule,
        Op::new("probes", "probe_dns", "Where mail for a domain goes")
            .about("Waits up to 15 seconds, then answers 202 and the id to ask again with.")
            .takes::<DnsInput>(json!({ "domain": "example.org" }))
            .gives::<Answer>(200, "What DNS says."),
        dns,
    );
    api.add(
        Method::GET,
        "/api/v1/probes/{inquiry}",
        rule,
        Op::new("probes", "get_probe", "The answer to a probe that took longer")
            .gives::<Answer>(200, "The answer, or null."),
        get,
    );
}

/// A domain to look at.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DnsInput {
    /// Its name.
    domain: String,
}

/// A question and, when it is there, its answer.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// The question.
    #[schema(value_type = s::InquiryId)]
    pub(crate) inquiry: InquiryId,
    /// The engine's answer; null while there is none.
    #[schema(value_type = Option<Object>)]
    pub(crate) answer: Option<Value>,
}

/// Asks the engine and waits; 202 when it takes longer.
///
/// # Errors
/// The database fails.
pub async fn ask(web: &Web, caller: &Caller, kind: &str, args: &Value) -> Result<Response, Problem> {
    let wait = web.config().inquiry_wait;
    let store = web.store();
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let inquiry = store.ask(Some(caller.workspace), kind, args, wait_ms).await?;
    let answer = store.wait_for_answer(Some(caller.workspace), inquiry, wait).await?;
    let status = if answer.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, axum::Json(Answer { inquiry, answer })).into_response())
}

async fn dns(State(web): State<Web>, caller: Caller, Json(input): Json<DnsInput>) -> Result<Response, Problem> {
    let name = DomainName::parse(input.domain.trim())
        .map_err(|error| Problem::refused(format!("the domain is not usable: {error}")))?;
    ask(&web, &caller, "dns", &json!({ "domain": name.as_str() })).await
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(inquiry): Path<InquiryId>,
) -> Result<axum::Json<Answer>, Problem> {
    let answer = web.store().answer_of(Some(caller.workspace), inquiry).await?;
    Ok(axum::Json(Answer { inquiry, answer }))
}
