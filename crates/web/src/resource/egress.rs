//! Egress: the sources and pools of the installation, how warm they are, and the weights of workspaces and campaigns.
//!
//! Must not know how a source is chosen: the engine does that.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::egress::{Member, PoolSettings, SourceSettings, SourceState};
use postrider_domain::id::{CampaignId, NodeId, PoolId, SourceId, WorkspaceId};
use postrider_domain::warmup::{Allowed, WarmUp, day_of};
use postrider_store::egress::{EgressPool, EgressSource, EgressTrouble};
use postrider_store::warm_up::WarmUpRow;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::{Caller, Person};
use crate::input::{Json, Path};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// What a person waits at most for the engine to look at addresses.
const LOOK: std::time::Duration = std::time::Duration::from_secs(3);

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let source = json!({
        "name": "mta1", "ipv4": "192.0.2.25", "ehlo_name": "mta1.example.org", "warm_up": { "plan": [] }
    });
    let pool = json!({ "name": "newsletters", "members": [{ "source": "src_0000000000001", "weight": 2 }] });
    api.add(
        Method::GET,
        "/api/v1/egress/sources",
        Rule::Installation,
        Op::new("egress", "list_egress_sources", "The egress sources of the installation")
            .gives_list::<SourceView>("The sources."),
        list_sources,
    );
    api.add(
        Method::POST,
        "/api/v1/egress/sources",
        Rule::Installation,
        Op::new("egress", "add_egress_source", "Add an egress source")
            .about(
                "Nothing leaves by it before a pool names it. The engine looks whether this machine has the address.",
            )
            .takes::<SourceInput>(source.clone())
            .gives::<SourceView>(201, "The source.")
            .retry(Retry::Replay),
        add_source,
    );
    api.add(
        Method::GET,
        "/api/v1/egress/sources/{source}",
        Rule::Installation,
        Op::new("egress", "get_egress_source", "One egress source").gives::<SourceView>(200, "The source."),
        get_source,
    );
    api.add(
        Method::PUT,
        "/api/v1/egress/sources/{source}",
        Rule::Installation,
        Op::new("egress", "change_egress_source", "Change an egress source")
            .about(
                "Replaces all settings; counts within a second. `draining` takes nothing new, `off` gives back what has not \
                 begun. A `warm_up` without `since` goes on if there is one, else it begins now.",
            )
            .takes::<SourceInput>(source)
            .gives::<SourceView>(200, "The source as it is now."),
        change_source,
    );
    api.add(
        Method::DELETE,
        "/api/v1/egress/sources/{source}",
        Rule::Installation,
        Op::new(
            "egress",
            "remove_egress_source",
            "Remove a source that is not active and that no pool and no rule of the queue names",
        )
        .gives_nothing("It is gone."),
        remove_source,
    );
    api.add(
        Method::GET,
        "/api/v1/egress/sources/{source}/warm-up",
        Rule::Installation,
        Op::new("egress", "list_warm_up", "How warm a source is at each site")
            .gives_list::<WarmView>("The sites that it has sent to during its warm-up."),
        warm_up,
    );
    api.add(
        Method::POST,
        "/api/v1/egress/sources/{source}/warm-up/resume",
        Rule::Installation,
        Op::new("egress", "resume_warm_up", "End the pause of a warm-up at a site before its time")
            .takes::<SiteInput>(json!({ "site": "google" }))
            .gives_nothing("It goes on, on its lower step."),
        resume,
    );
    api.add(
        Method::GET,
        "/api/v1/egress/pools",
        Rule::Scope(Scope::Admin),
        Op::new("egress", "list_egress_pools", "The pools that the workspace may use")
            .gives_list::<PoolView>("The pools; their routes name them by id."),
        list_pools,
    );
    api.add(
        Method::POST,
        "/api/v1/egress/pools",
        Rule::Installation,
        Op::new("egress", "add_egress_pool", "Add a pool of egress sources")
            .takes::<PoolInput>(pool.clone())
            .gives::<PoolView>(201, "The pool.")
            .retry(Retry::Replay),
        add_pool,
    );
    api.add(
        Method::PUT,
        "/api/v1/egress/pools/{pool}",
        Rule::Installation,
        Op::new("egress", "change_egress_pool", "Change a pool")
            .about("Replaces all settings; counts within a second.")
            .takes::<PoolInput>(pool)
            .gives::<PoolView>(200, "The pool as it is now."),
        change_pool,
    );
    api.add(
        Method::DELETE,
        "/api/v1/egress/pools/{pool}",
        Rule::Installation,
        Op::new("egress", "remove_egress_pool", "Remove a pool that no route and no rule of the queue names")
            .gives_nothing("It is gone."),
        remove_pool,
    );
    let weight = json!({ "weight": 2 });
    api.add(
        Method::PUT,
        "/api/v1/workspaces/{workspace}/weight",
        Rule::Installation,
        Op::new("egress", "set_workspace_weight", "Set the share of a workspace where several draw on one limit")
            .takes::<WeightInput>(weight.clone())
            .gives_nothing("It counts within a second."),
        workspace_weight,
    );
    api.add(
        Method::PUT,
        "/api/v1/campaigns/{campaign}/weight",
        Rule::Scope(Scope::CampaignsWrite),
        Op::new("egress", "set_campaign_weight", "Set the share of a campaign against others of the workspace")
            .about("Also while it is under way. Transactional mail passes all campaigns whatever their weight.")
            .takes::<WeightInput>(weight)
            .gives_nothing("It counts within a second."),
        campaign_weight,
    );
}

/// A warm-up.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct WarmUpInput {
    /// Nothing goes before this time; now when not given, or as it was.
    since: Option<Time>,
    /// Messages a day to each site; empty for the plan that comes with the program (30 days, 50 to 100,000).
    #[serde(default)]
    plan: Vec<u32>,
}

/// The settings of a source.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SourceInput {
    /// Name for people and for attempts.
    name: String,
    /// The local IPv4 address that IPv4 hosts are connected to from.
    #[schema(value_type = Option<String>)]
    ipv4: Option<std::net::Ipv4Addr>,
    /// The local IPv6 address that IPv6 hosts are connected to from.
    #[schema(value_type = Option<String>)]
    ipv6: Option<std::net::Ipv6Addr>,
    /// The name said in EHLO; the PTR records of the addresses should say the same.
    ehlo_name: String,
    /// The only node that uses it (`nod_…`); any node that has the address when not given.
    #[schema(value_type = Option<String>)]
    node: Option<NodeId>,
    /// `active`, `draining` or `off`.
    #[serde(default = "active")]
    #[schema(value_type = Option<s::SourceState>)]
    state: SourceState,
    /// Messages per second over all sites, 0 for no limit.
    #[serde(default)]
    per_second: u32,
    /// Messages per hour over all sites, kept evenly; 0 for no limit.
    #[serde(default)]
    per_hour: u32,
    /// Messages per day (UTC) over all sites, 0 for no limit.
    #[serde(default)]
    per_day: u32,
    /// The warm-up of a new address; null for none.
    warm_up: Option<WarmUpInput>,
}

const fn active() -> SourceState {
    SourceState::Active
}

impl SourceInput {
    fn into_settings(self, before: Option<&SourceSettings>, now: i64) -> SourceSettings {
        let begun = before.and_then(|b| b.warm_up.as_ref()).map(|w| w.since);
        SourceSettings {
            name: self.name,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            ehlo_name: self.ehlo_name,
            node: self.node,
            state: self.state,
            per_second: self.per_second,
            per_hour: self.per_hour,
            per_day: self.per_day,
            warm_up: self
                .warm_up
                .map(|w| WarmUp { since: w.since.map(|t| t.0).or(begun).unwrap_or(now), plan: w.plan }),
        }
    }
}

/// A warm-up as it is set.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct WarmUpView {
    /// Nothing goes before this time.
    since: Time,
    /// Messages a day to each site.
    plan: Vec<u32>,
}

/// A source.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SourceView {
    /// Its id.
    #[schema(value_type = s::SourceId)]
    id: SourceId,
    /// Name for people and for attempts.
    name: String,
    /// The local IPv4 address.
    ipv4: Option<String>,
    /// The local IPv6 address.
    ipv6: Option<String>,
    /// The name said in EHLO.
    ehlo_name: String,
    /// The only node that uses it.
    #[schema(value_type = Option<String>)]
    node: Option<NodeId>,
    /// Whether it takes mail.
    #[schema(value_type = s::SourceState)]
    state: SourceState,
    /// Messages per second over all sites, 0 for no limit.
    per_second: u32,
    /// Messages per hour over all sites, 0 for no limit.
    per_hour: u32,
    /// Messages per day (UTC) over all sites, 0 for no limit.
    per_day: u32,
    /// Its warm-up, when it has one.
    warm_up: Option<WarmUpView>,
    /// What is wrong with it, on which node; empty when nothing is known.
    problems: Vec<String>,
    /// When it was made.
    created_at: Time,
    /// When it was changed last.
    updated_at: Time,
}

impl SourceView {
    fn of(source: EgressSource, troubles: &[EgressTrouble]) -> SourceView {
        let s = source.settings;
        let mine = troubles.iter().filter(|t| t.source == source.id);
        SourceView {
            id: source.id,
            ipv4: s.ipv4.map(|ip| ip.to_string()),
            ipv6: s.ipv6.map(|ip| ip.to_string()),
            warm_up: s.warm_up.as_ref().map(|w| WarmUpView { since: Time(w.since), plan: w.plan().to_vec() }),
            name: s.name,
            ehlo_name: s.ehlo_name,
            node: s.node,
            state: s.state,
            per_second: s.per_second,
            per_hour: s.per_hour,
            per_day: s.per_day,
            problems: mine.map(|t| format!("{}: {}", t.node, t.problem)).collect(),
            created_at: Time(source.created_at),
            updated_at: Time(source.updated_at),
        }
    }
}

/// A source at a site.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct WarmView {
    /// The site.
    site: String,
    /// The day of the plan, from 1.
    step: u32,
    /// Messages on the day of the plan; null when the plan is over.
    ceiling: Option<u32>,
    /// Messages that were handed out on the day shown by `day`.
    carried: u32,
    /// The day (UTC) on which it sent last.
    day: Time,
    /// Until when it is paused.
    paused_until: Option<Time>,
    /// Why it was paused last; empty when it never was.
    reason: String,
}

impl WarmView {
    fn of(row: WarmUpRow, plan: &WarmUp, now: i64) -> WarmView {
        let today = day_of(now);
        let state = plan.forward(row.state, today, row.carried);
        let moved = state.day > row.state.day;
        let paused = match plan.allowed(state, now) {
            Allowed::Paused(until) => Some(Time(until)),
            Allowed::NotBefore(_) | Allowed::Day(_) | Allowed::Warm => None,
        };
        WarmView {
            site: row.site,
            step: state.step + 1,
            ceiling: plan.ceiling(state.step),
            carried: if moved { 0 } else { row.carried },
            day: Time(state.day * postrider_domain::warmup::DAY_MS),
            paused_until: paused,
            reason: row.reason,
        }
    }
}

/// A site.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SiteInput {
    /// Its name.
    site: String,
}

/// A source in a pool.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberView {
    /// Which.
    #[schema(value_type = s::SourceId)]
    source: SourceId,
    /// Its share against the others', 1 to 1000.
    #[serde(default = "one")]
    weight: u32,
}

const fn one() -> u32 {
    1
}

/// The settings of a pool.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PoolInput {
    /// Name for people.
    name: String,
    /// Its sources.
    members: Vec<MemberView>,
    /// The workspaces that may use it; null for all.
    #[schema(value_type = Option<Vec<s::WorkspaceId>>)]
    workspaces: Option<Vec<WorkspaceId>>,
}

impl From<PoolInput> for PoolSettings {
    fn from(v: PoolInput) -> PoolSettings {
        let member = |m: MemberView| Member { source: m.source, weight: m.weight };
        PoolSettings { name: v.name, members: v.members.into_iter().map(member).collect(), workspaces: v.workspaces }
    }
}

/// A pool.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct PoolView {
    /// Its id.
    #[schema(value_type = s::PoolId)]
    id: PoolId,
    /// Name for people.
    name: String,
    /// Its sources.
    members: Vec<MemberView>,
    /// The workspaces that may use it; null for all. Who does not run the installation sees only its own.
    #[schema(value_type = Option<Vec<s::WorkspaceId>>)]
    workspaces: Option<Vec<WorkspaceId>>,
    /// When it was made.
    created_at: Time,
    /// When it was changed last.
    updated_at: Time,
}

impl From<EgressPool> for PoolView {
    fn from(p: EgressPool) -> PoolView {
        let member = |m: Member| MemberView { source: m.source, weight: m.weight };
        PoolView {
            id: p.id,
            name: p.settings.name,
            members: p.settings.members.into_iter().map(member).collect(),
            workspaces: p.settings.workspaces,
            created_at: Time(p.created_at),
            updated_at: Time(p.updated_at),
        }
    }
}

/// A weight.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct WeightInput {
    /// 1 to 1000; 1 when nobody has set it.
    weight: u32,
}

async fn list_sources(State(web): State<Web>) -> Listed<SourceView> {
    let troubles = web.store().egress_trouble().await?;
    let sources = web.store().egress_sources().await?;
    Ok(whole(sources.into_iter().map(|source| SourceView::of(source, &troubles)).collect::<Vec<_>>()))
}

/// What the engine finds wrong with the addresses of a source; nothing when no engine answers in time.
async fn look(web: &Web, source: &EgressSource) -> Result<Option<EgressTrouble>, Problem> {
    let addresses: Vec<String> = source.settings.addresses().map(|ip| ip.to_string()).collect();
    let wait = web.config().inquiry_wait.min(LOOK);
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let asked = web.store().ask(None, "own_addresses", &json!({ "addresses": addresses }), wait_ms).await?;
    let Some(answer) = web.store().wait_for_answer(None, asked, wait).await? else { return Ok(None) };
    let missing: Vec<&str> = answer["missing"].as_array().into_iter().flatten().filter_map(|ip| ip.as_str()).collect();
    let node = answer["node"].as_str().and_then(|node| node.parse().ok());
    Ok(node.filter(|_| !missing.is_empty()).map(|node| EgressTrouble {
        node,
        source: source.id,
        problem: format!("this machine does not have {}; nothing leaves from there", missing.join(", ")),
        since: web.now(),
    }))
}

async fn add_source(
    State(web): State<Web>,
    person: Person,
    Json(input): Json<SourceInput>,
) -> Result<Response, Problem> {
    let settings = input.into_settings(None, web.now());
    let made = web.store().add_egress_source(&person.known.actor(), &settings).await?;
    let trouble = look(&web, &made).await?;
    Ok((StatusCode::CREATED, axum::Json(SourceView::of(made, trouble.as_slice()))).into_response())
}

async fn get_source(State(web): State<Web>, Path(id): Path<SourceId>) -> Result<axum::Json<SourceView>, Problem> {
    let source = web.store().egress_source(id).await?;
    Ok(axum::Json(SourceView::of(source, &web.store().egress_trouble().await?)))
}

async fn change_source(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<SourceId>,
    Json(input): Json<SourceInput>,
) -> Result<axum::Json<SourceView>, Problem> {
    let before = web.store().egress_source(id).await?;
    let settings = input.into_settings(Some(&before.settings), web.now());
    let source = web.store().change_egress_source(&person.known.actor(), id, &settings).await?;
    let trouble = look(&web, &source).await?;
    Ok(axum::Json(SourceView::of(source, trouble.as_slice())))
}

async fn remove_source(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<SourceId>,
) -> Result<StatusCode, Problem> {
    web.store().remove_egress_source(&person.known.actor(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn warm_up(State(web): State<Web>, Path(id): Path<SourceId>) -> Listed<WarmView> {
    let source = web.store().egress_source(id).await?;
    let Some(plan) = source.settings.warm_up else { return Ok(whole(Vec::<WarmView>::new())) };
    let rows = web.store().warm_ups(id).await?;
    Ok(whole(rows.into_iter().map(|row| WarmView::of(row, &plan, web.now())).collect::<Vec<_>>()))
}

async fn resume(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<SourceId>,
    Json(input): Json<SiteInput>,
) -> Result<StatusCode, Problem> {
    web.store().resume_warm_up(&person.known.actor(), id, &input.site).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list_pools(State(web): State<Web>, caller: Caller) -> Listed<PoolView> {
    let all = web.store().egress_pools().await?;
    let runs = web.runs_installation(&caller.known).await?;
    let mut shown: Vec<EgressPool> =
        all.into_iter().filter(|p| runs || p.settings.is_open_to(caller.workspace)).collect();
    for pool in shown.iter_mut().filter(|_| !runs) {
        // Nobody learns of workspaces that are not theirs.
        if let Some(some) = &mut pool.settings.workspaces {
            some.retain(|workspace| *workspace == caller.workspace);
        }
    }
    Ok(whole(shown))
}

async fn add_pool(State(web): State<Web>, person: Person, Json(input): Json<PoolInput>) -> Result<Response, Problem> {
    let made = web.store().add_egress_pool(&person.known.actor(), &input.into()).await?;
    Ok((StatusCode::CREATED, axum::Json(PoolView::from(made))).into_response())
}

async fn change_pool(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<PoolId>,
    Json(input): Json<PoolInput>,
) -> Result<axum::Json<PoolView>, Problem> {
    Ok(axum::Json(web.store().change_egress_pool(&person.known.actor(), id, &input.into()).await?.into()))
}

async fn remove_pool(State(web): State<Web>, person: Person, Path(id): Path<PoolId>) -> Result<StatusCode, Problem> {
    web.store().remove_egress_pool(&person.known.actor(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn workspace_weight(
    State(web): State<Web>,
    person: Person,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<WeightInput>,
) -> Result<StatusCode, Problem> {
    web.store().set_workspace_weight(&person.known.actor(), id, input.weight).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn campaign_weight(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CampaignId>,
    Json(input): Json<WeightInput>,
) -> Result<StatusCode, Problem> {
    web.store().set_campaign_weight(caller.workspace, &caller.actor, id, input.weight).await?;
    Ok(StatusCode::NO_CONTENT)
}
