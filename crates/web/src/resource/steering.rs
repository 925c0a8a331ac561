//! Steering of queues: rules that suspend, hold, reroute or set a speed, and acts that cancel, bounce or release.
//!
//! Whoever may write campaigns may steer what a campaign, a message or a delivery names; anything wider takes an
//! administrator, the whole installation whoever runs it.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::{CampaignId, DeliveryId, MessageId, QueueRuleId, RouteId, WorkspaceId};
use postrider_domain::steering::{Life, NewSteerRule, SteerAction, SteerPace, SteerScope};
use postrider_domain::stream::Stream;
use postrider_store::access::Access;
use postrider_store::steering::{QueueRule, RulesOf};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, listing, paging};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let write = Rule::Scope(Scope::CampaignsWrite);
    api.add(
        Method::GET,
        "/api/v1/queue/rules",
        read,
        Op::new("queue", "queue_rules", "The rules that steer the queue")
            .about("Those that stand or are at work, with those of the whole installation; `past=true` shows those that are over.")
            .query::<RulesQuery>()
            .gives_page::<RuleView>("The newest first."),
        list,
    );
    api.add(
        Method::GET,
        "/api/v1/queue/rules/{rule}",
        read,
        Op::new("queue", "queue_rule", "One rule of the queue").gives::<RuleView>(200, "The rule and how far it is."),
        get,
    );
    api.add(
        Method::POST,
        "/api/v1/queue/rules",
        write,
        Op::new("queue", "steer_queue", "Suspend, hold, reroute or set a speed, until it is ended or its time is over")
            .about(
                "Counts within a second on every node; no mark is granted that does not know of it. `scope` names what is \
                 concerned, all of it must be true; `everything` must be said. What is not named by campaign, message or \
                 delivery needs the scope `admin`.",
            )
            .takes::<RuleInput>(json!({
                "action": "suspend", "scope": { "campaign": "cmp_0000000000000", "site": "google" },
                "reason": "They asked us to wait", "for_seconds": 7200
            }))
            .gives::<RuleView>(201, "The rule.")
            .retry(Retry::Replay),
        set,
    );
    api.add(
        Method::DELETE,
        "/api/v1/queue/rules/{rule}",
        write,
        Op::new("queue", "end_queue_rule", "End a rule")
            .about("What it suspended goes on, what it held is released, what it rerouted goes back.")
            .gives::<RuleView>(200, "The rule as it ended."),
        end,
    );
    api.add(
        Method::POST,
        "/api/v1/queue/actions",
        write,
        Op::new("queue", "act_on_queue", "Cancel, bounce or release the deliveries that are queued now")
            .about(
                "With `dry_run` it only counts, for any action. `cancel` and `bounce` need `expect`, the number that was shown: \
                 when more deliveries are concerned nothing is done. Nothing of them is sent from the answer on; their rows are \
                 settled in the background, and the rule tells how far that is.",
            )
            .takes::<ActInput>(json!({
                "action": "cancel", "scope": { "campaign": "cmp_0000000000000" }, "reason": "Sent by mistake", "dry_run": true
            }))
            .gives::<ActView>(200, "How many are concerned, and the rule that deals with them.")
            .retry(Retry::Replay),
        act,
    );
}

/// Which rules.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct RulesQuery {
    /// Those that are over.
    #[serde(default)]
    past: bool,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Which deliveries are concerned: those for which everything that is named is true.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ScopeView {
    /// Of this campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// Of this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<s::Stream>)]
    stream: Option<Stream>,
    /// With this From domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending_domain: Option<String>,
    /// To this site, as the queue names it: `google`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// To recipients at this domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    /// From this source, as the queue names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Of this single message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<s::MessageId>)]
    message: Option<MessageId>,
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<s::DeliveryId>)]
    delivery: Option<DeliveryId>,
    /// All deliveries of the workspace; goes with nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    everything: bool,
}

impl ScopeView {
    fn read(self) -> Result<SteerScope, Problem> {
        let name = |text: Option<String>| text.map(|t| t.trim().to_ascii_lowercase());
        let scope = SteerScope {
            campaign: self.campaign,
            stream: self.stream,
            sending_domain: name(self.sending_domain),
            site: self.site,
            domain: name(self.domain),
            source: self.source,
            message: self.message,
            delivery: self.delivery,
        };
        match (scope.is_everything(), self.everything) {
            (true, false) => Err(Problem::bad_request(
                "name in `scope` what is concerned, or say `everything`: true for all deliveries of the workspace",
            )),
            (false, true) => Err(Problem::bad_request("`everything` goes with nothing else in `scope`: leave one out")),
            (true, true) | (false, false) => Ok(scope),
        }
    }
}

impl From<SteerScope> for ScopeView {
    fn from(scope: SteerScope) -> ScopeView {
        ScopeView {
            everything: scope.is_everything(),
            campaign: scope.campaign,
            stream: scope.stream,
            sending_domain: scope.sending_domain,
            site: scope.site,
            domain: scope.domain,
            source: scope.source,
            message: scope.message,
            delivery: scope.delivery,
        }
    }
}

/// A rule to be set.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RuleInput {
    /// `suspend`, `hold`, `reroute` or `speed`.
    #[schema(value_type = s::SteerAction)]
    action: SteerAction,
    /// Which deliveries.
    scope: ScopeView,
    /// Why, in one line; others read it where mail waits.
    reason: String,
    /// It ends by itself after so many seconds.
    #[serde(default)]
    for_seconds: Option<u32>,
    /// It ends by itself at this time; at most one of the two.
    #[serde(default)]
    until: Option<Time>,
    /// Messages per second, 0.001 to 10,000; with `speed`.
    #[serde(default)]
    per_second: Option<f64>,
    /// Connections at most to each site, 1 to 1,000; with `speed`.
    #[serde(default)]
    connections: Option<u32>,
    /// The other route; with `reroute`.
    #[serde(default)]
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// For all workspaces; only for whoever runs the installation.
    #[serde(default)]
    everywhere: bool,
}

/// Something to be done once.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ActInput {
    /// `cancel`, `bounce` or `release`; with `dry_run` any.
    #[schema(value_type = s::SteerAction)]
    action: SteerAction,
    /// Which deliveries.
    scope: ScopeView,
    /// Why, in one line.
    #[serde(default)]
    reason: String,
    /// What reports will show; with `bounce`.
    #[serde(default)]
    text: String,
    /// Only count.
    #[serde(default)]
    dry_run: bool,
    /// At most so many may be concerned.
    #[serde(default)]
    expect: Option<u32>,
    /// For all workspaces; only for whoever runs the installation.
    #[serde(default)]
    everywhere: bool,
}

/// What an act came to.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ActView {
    /// Deliveries that are concerned.
    deliveries: i64,
    /// What deals with them; null when it was only counted.
    #[schema(value_type = Option<RuleView>)]
    rule: Option<RuleView>,
}

/// A rule of the queue.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RuleView {
    /// Its id.
    #[schema(value_type = s::QueueRuleId)]
    id: QueueRuleId,
    /// It counts for all workspaces.
    everywhere: bool,
    /// What it does.
    #[schema(value_type = s::SteerAction)]
    action: SteerAction,
    /// Which deliveries are concerned.
    scope: ScopeView,
    /// The same in words.
    concerns: String,
    /// Messages per second.
    per_second: Option<f64>,
    /// Connections at most to each site.
    connections: Option<u32>,
    /// The other route.
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// What reports show; empty but for `bounce`.
    text: String,
    /// Why.
    reason: String,
    /// Who set it.
    by: String,
    /// Since when.
    since: Time,
    /// When it ends by itself.
    until: Option<Time>,
    /// Deliveries that were concerned when it was set.
    expected: i64,
    /// Deliveries that it has dealt with.
    done: i64,
    /// `stands`, `working`, `undoing` or `over`.
    state: &'static str,
    /// When it ended.
    ended_at: Option<Time>,
    /// `done`, `expired` or `ended`.
    end_reason: Option<String>,
}

impl From<QueueRule> for RuleView {
    fn from(r: QueueRule) -> RuleView {
        let state = match (r.settled_at, r.ended_at, r.rule.action.life()) {
            (Some(_), _, _) => "over",
            (None, Some(_), _) => "undoing",
            (None, None, Life::Once) => "working",
            (None, None, Life::Standing) => "stands",
        };
        RuleView {
            id: r.rule.id,
            everywhere: r.rule.workspace.is_none(),
            action: r.rule.action,
            concerns: r.rule.scope.words(),
            scope: r.rule.scope.into(),
            per_second: r.rule.pace.map(SteerPace::per_second),
            connections: r.rule.connections,
            route: r.rule.route,
            text: r.rule.text,
            reason: r.rule.reason,
            by: r.rule.by,
            since: Time(r.rule.since),
            until: r.rule.until.map(Time),
            expected: r.expected,
            done: r.done,
            state,
            ended_at: r.ended_at.map(Time),
            end_reason: r.end_reason,
        }
    }
}

/// Whose deliveries are steered, when the caller may.
async fn whose(
    web: &Web,
    caller: &Caller,
    scope: &SteerScope,
    everywhere: bool,
) -> Result<Option<WorkspaceId>, Problem> {
    if everywhere {
        if web.runs_installation(&caller.known).await? {
            return Ok(None);
        }
        return Err(Problem::forbidden(
            "this steers the queue of the whole installation: only the command line on the server, or an administrator of \
             all workspaces, may do it",
        ));
    }
    let is_admin = caller.known.may(caller.workspace, Scope::Admin) == Access::Allowed;
    if scope.is_narrow() || is_admin {
        return Ok(Some(caller.workspace));
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "missing_scope",
        "steering what no campaign, message or delivery names needs the scope `admin`: name one, or use a key or a role that has it",
    ))
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<RulesQuery>) -> Listed<RuleView> {
    let which = if query.past { RulesOf::Past } else { RulesOf::Open };
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().queue_rules(caller.workspace, which, &page).await?))
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(rule): Path<QueueRuleId>,
) -> Result<axum::Json<RuleView>, Problem> {
    Ok(axum::Json(web.store().queue_rule(caller.workspace, rule).await?.into()))
}

async fn set(State(web): State<Web>, caller: Caller, Json(input): Json<RuleInput>) -> Result<Response, Problem> {
    if input.action.life() == Life::Once {
        let action = input.action;
        return Err(Problem::bad_request(format!("`{action}` is done once: send it to POST /api/v1/queue/actions")));
    }
    let scope = input.scope.read()?;
    let workspace = whose(&web, &caller, &scope, input.everywhere).await?;
    let until = match (input.for_seconds, input.until) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("give `for_seconds` or `until`, not both")),
        (Some(seconds), None) => Some(web.store().now() + i64::from(seconds) * 1_000),
        (None, until) => until.map(|t| t.0),
    };
    let pace = input.per_second.map(SteerPace::of).transpose();
    let new = NewSteerRule {
        action: input.action,
        scope,
        pace: pace.map_err(|error| Problem::refused(format!("could not steer the queue: {error}")))?,
        connections: input.connections,
        route: input.route,
        text: String::new(),
        reason: input.reason,
        until,
    };
    let rule = web.store().set_queue_rule(workspace, &caller.actor, &new, None).await?;
    Ok((StatusCode::CREATED, axum::Json(RuleView::from(rule))).into_response())
}

async fn end(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<QueueRuleId>,
) -> Result<axum::Json<RuleView>, Problem> {
    let rule = web.store().queue_rule(caller.workspace, id).await?.rule;
    let everywhere = rule.workspace.is_none();
    let workspace = whose(&web, &caller, &rule.scope, everywhere).await?;
    Ok(axum::Json(web.store().end_queue_rule(workspace, &caller.actor, id).await?.into()))
}

async fn act(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<ActInput>,
) -> Result<axum::Json<ActView>, Problem> {
    let scope = input.scope.read()?;
    let workspace = whose(&web, &caller, &scope, input.everywhere).await?;
    if input.dry_run {
        let deliveries = web.store().count_concerned(workspace, input.action, &scope).await?;
        return Ok(axum::Json(ActView { deliveries, rule: None }));
    }
    match input.action {
        SteerAction::Suspend | SteerAction::Hold | SteerAction::Reroute | SteerAction::Speed => {
            let action = input.action;
            return Err(Problem::bad_request(format!(
                "`{action}` stands until it is ended: send it to POST /api/v1/queue/rules"
            )));
        }
        SteerAction::Cancel | SteerAction::Bounce if input.expect.is_none() && scope.delivery.is_none() => {
            return Err(Problem::bad_request(
                "say in `expect` how many deliveries may be concerned at most: `dry_run` tells how many are",
            ));
        }
        SteerAction::Cancel | SteerAction::Bounce | SteerAction::Release => {}
    }
    let mut new = NewSteerRule::of(input.action, scope, &input.reason);
    new.text = input.text;
    let rule = web.store().set_queue_rule(workspace, &caller.actor, &new, input.expect.map(i64::from)).await?;
    Ok(axum::Json(ActView { deliveries: rule.expected, rule: Some(rule.into()) }))
}
