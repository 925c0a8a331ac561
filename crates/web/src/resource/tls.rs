//! TLS with recipient domains: rules for single domains, and counts of what came of it (RFC 8460).

use axum::extract::State;
use axum::http::{Method, StatusCode};
use postrider_domain::access::Scope;
use postrider_domain::route::TlsDemand;
use postrider_mail::mailbox::DomainName;
use postrider_store::transport::{TlsResult, TlsRule, day_of};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// The longest reason of a rule, in characters.
const LONGEST_REASON: usize = 300;
/// Counts of so many days are shown at once.
const MOST_DAYS: u32 = 40;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let rule = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/tls-rules",
        rule,
        Op::new("tls", "list_tls_rules", "What is asked of TLS with single recipient domains")
            .about("A domain without a rule gets what DANE and MTA-STS ask for.")
            .gives_list::<RuleView>("The rules, by domain."),
        list,
    );
    api.add(
        Method::PUT,
        "/api/v1/tls-rules/{recipient_domain}",
        rule,
        Op::new("tls", "set_tls_rule", "Ask for more or for less TLS with one recipient domain")
            .about("Heard within two seconds. `opportunistic` and `clear` set the domain's own policy aside.")
            .takes::<RuleInput>(json!({ "demand": "verified", "reason": "agreed with their postmaster" }))
            .gives::<RuleView>(200, "The rule."),
        set,
    );
    api.add(
        Method::DELETE,
        "/api/v1/tls-rules/{recipient_domain}",
        rule,
        Op::new("tls", "remove_tls_rule", "Let DANE and MTA-STS decide again").gives_nothing("It is gone."),
        remove,
    );
    api.add(
        Method::GET,
        "/api/v1/tls-results",
        rule,
        Op::new("tls", "list_tls_results", "What TLS with recipient domains came to, by day")
            .about("Of the whole installation, since connections are shared; written down every five seconds.")
            .query::<ResultQuery>()
            .gives_list::<ResultView>("At most 10,000 lines, by day and domain."),
        results,
    );
}

/// A rule for one recipient domain.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = TlsRuleView)]
struct RuleView {
    /// The recipient domain.
    domain: String,
    /// What is asked.
    #[schema(value_type = s::TlsDemand)]
    demand: TlsDemand,
    /// Why, in the words of who made it.
    reason: String,
    /// When it was made.
    created_at: Time,
}

/// What to ask.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[schema(as = TlsRuleInput)]
#[serde(deny_unknown_fields)]
struct RuleInput {
    /// What is asked.
    #[schema(value_type = s::TlsDemand)]
    demand: TlsDemand,
    /// Why; at most 300 characters.
    #[serde(default)]
    reason: String,
}

/// Which counts are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ResultQuery {
    /// Of this policy domain only.
    domain: Option<String>,
    /// Of so many days up to today, 1 to 40; 7 when not given.
    days: Option<u32>,
}

/// How often something came of TLS with one host on one day.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ResultView {
    /// The beginning of the day (UTC).
    day: Time,
    /// The recipient domain.
    domain: String,
    /// `tlsa` (DANE), `sts` (MTA-STS) or `no-policy-found`.
    policy: String,
    /// `success`, or a result type of RFC 8460 4.3 such as `certificate-expired`.
    result: String,
    /// The MX host; empty where the fault is the policy's own.
    mx_host: String,
    /// Sessions.
    sessions: i64,
}

impl From<TlsRule> for RuleView {
    fn from(rule: TlsRule) -> RuleView {
        RuleView { domain: rule.domain, demand: rule.demand, reason: rule.reason, created_at: Time(rule.created_at) }
    }
}

impl From<TlsResult> for ResultView {
    fn from(row: TlsResult) -> ResultView {
        ResultView {
            day: Time(row.day * DAY_MS),
            domain: row.domain,
            policy: row.policy,
            result: row.result,
            mx_host: row.mx_host,
            sessions: row.n,
        }
    }
}

fn domain(text: &str) -> Result<DomainName, Problem> {
    let domain = DomainName::parse(text.trim())
        .map_err(|error| Problem::refused(format!("the domain is not usable: {error}")))?;
    // Mail to a name of one label stays inside somebody's network; most likely it is a slip.
    if domain.as_str().contains('.') {
        Ok(domain)
    } else {
        Err(Problem::refused("give the whole domain, such as example.com"))
    }
}

/// The domain that a path names; nothing can be found under what is none.
fn in_path(text: &str) -> Result<DomainName, Problem> {
    domain(text).map_err(|refused| Problem::new(StatusCode::NOT_FOUND, "not_found", refused.detail))
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<RuleView> {
    Ok(whole(web.store().tls_rules(caller.workspace).await?))
}

async fn set(
    State(web): State<Web>,
    caller: Caller,
    Path(name): Path<String>,
    Json(input): Json<RuleInput>,
) -> Result<axum::Json<RuleView>, Problem> {
    let domain = in_path(&name)?;
    if input.reason.chars().count() > LONGEST_REASON {
        return Err(Problem::refused("the reason is longer than 300 characters"));
    }
    if input.reason.chars().any(char::is_control) {
        return Err(Problem::refused("the reason holds a control character; write it as one line of text"));
    }
    let (store, name) = (web.store(), domain.as_str());
    store.set_tls_rule(caller.workspace, &caller.actor, name, input.demand, &input.reason).await?;
    let created_at = Time(store.now());
    Ok(axum::Json(RuleView { domain: name.to_owned(), demand: input.demand, reason: input.reason, created_at }))
}

async fn remove(State(web): State<Web>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let name = in_path(&name)?;
    web.store().remove_tls_rule(caller.workspace, &caller.actor, name.as_str()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn results(State(web): State<Web>, Query(query): Query<ResultQuery>) -> Listed<ResultView> {
    let days = i64::from(query.days.unwrap_or(7).clamp(1, MOST_DAYS));
    let today = day_of(web.store().now());
    let name = query.domain.as_deref().map(domain).transpose()?;
    let name = name.as_ref().map(DomainName::as_str);
    Ok(whole(web.store().tls_results(today - days + 1, today, name).await?))
}
