//! The queue as it is now: each site with its sources, limits and what holds it back; and the limits of sites.

mod by_site;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use postrider_domain::access::Scope;
use postrider_domain::id::CampaignId;
use postrider_domain::shaping::{Hold, Limits, Profiles, SiteSettings, TlsDemand};
use postrider_domain::stream::Stream;
use postrider_store::shaping::SiteOverride;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::{Json, Query};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::CampaignsRead);
    let admin = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/queue/sites",
        read,
        Op::new("queue", "queue_sites", "Where the mail of the workspace waits or is on its way")
            .about(
                "One row for each site, as it was about a second ago, with the sources of each node beneath; the busiest ones of \
                 each node.",
            )
            .gives_list::<SiteRow>("Sites."),
        sites,
    );
    api.add(
        Method::GET,
        "/api/v1/queue/limits",
        read,
        Op::new("queue", "site_limits", "The limits that the workspace has set for sites")
            .gives_list::<LimitsView>("By site."),
        list,
    );
    api.add(
        Method::GET,
        "/api/v1/queue/limits/site",
        read,
        Op::new("queue", "limits_of_site", "The limits of one site and where they come from")
            .about("Without a site: what counts for everybody of whom nothing is known.")
            .query::<ProfileQuery>()
            .gives::<ProfileView>(200, "Its profile, what the workspace has set, and what counts."),
        of_site,
    );
    api.add(
        Method::PUT,
        "/api/v1/queue/limits",
        admin,
        Op::new("queue", "set_site_limits", "Set limits for a site")
            .about(
                "What is not named stays as in the profile of the site; what was set before is replaced. Counts within a \
                 second. The workspace's mail to the site is then counted by itself.",
            )
            .takes::<LimitsInput>(json!({ "site": "example.net", "connections": 3, "per_hour": 5000 }))
            .gives::<LimitsView>(200, "What is set now."),
        put,
    );
    api.add(
        Method::DELETE,
        "/api/v1/queue/limits",
        admin,
        Op::new("queue", "forget_site_limits", "Forget the limits that were set for a site")
            .query::<SiteQuery>()
            .gives_nothing("The profile counts again."),
        delete,
    );
}

/// Which site.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct SiteQuery {
    /// Its name, such as `google`.
    site: String,
}

/// Which site, if any.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ProfileQuery {
    /// Its name, such as `google`.
    #[serde(default)]
    site: String,
}

/// What holds something back.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct HoldView {
    /// The reason as a word.
    reason: &'static str,
    /// Since when.
    since: Option<Time>,
    /// Until when at most, when that is known.
    until: Option<Time>,
    /// All of it in one sentence.
    sentence: String,
    /// What the reason alone does not say: a limit, or a rule and the reply that it read; empty when there is nothing.
    detail: String,
}

impl From<Hold> for HoldView {
    fn from(h: Hold) -> HoldView {
        HoldView {
            reason: h.reason.as_str(),
            since: h.since.map(Time),
            until: h.until.map(Time),
            sentence: h.sentence(),
            detail: h.detail,
        }
    }
}

/// A site, with the sources by which its mail leaves.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SiteRow {
    /// The site.
    site: String,
    /// Whether the workspace has limits of its own there.
    own_limits: bool,
    /// Messages of the workspace that are ready, as far as they are in memory.
    ready: usize,
    /// Whether there are more of them than that.
    more: bool,
    /// Messages of the workspace handed out to connections.
    claimed: usize,
    /// Messages of the workspace that are held; no more than 10,000 of a flow are counted.
    held: i64,
    /// Connections open or being opened, of all sources.
    connections: usize,
    /// Connections that there may be now, of all sources; null when one of them is limited only by its routes.
    connections_allowed: Option<u32>,
    /// Messages accepted per second, over the last ten seconds, of all sources.
    rate: f64,
    /// Messages per second that may go now, of all sources; null when one of them has no limit.
    rate_allowed: Option<f64>,
    /// What holds back all sources; null when one of them is free.
    #[schema(value_type = Option<HoldView>)]
    hold: Option<HoldView>,
    /// The campaigns and streams of the workspace there.
    flows: Vec<FlowRow>,
    /// From where they leave: a message has no source before it is handed out, so what waits is not told by source.
    sources: Vec<SiteSource>,
}

/// A source at a site, on one node.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SiteSource {
    /// The node.
    node: i64,
    /// When the node told this.
    at: Time,
    /// `direct`, the route of a smarthost or one of its hosts, or an egress source.
    source: String,
    /// Connections open or being opened.
    connections: usize,
    /// Connections that there may be now; null when only the routes limit them.
    connections_allowed: Option<u32>,
    /// Messages accepted per second, over the last ten seconds.
    rate: f64,
    /// Messages per second that may go now; null without limit.
    rate_allowed: Option<f64>,
    /// Messages over one connection; null without limit.
    per_connection: Option<u32>,
    /// What the site refused last, the newest first.
    replies: Vec<ReplyRow>,
    /// What holds back this source; null when nothing does.
    #[schema(value_type = Option<HoldView>)]
    hold: Option<HoldView>,
}

/// A reply of a site.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ReplyRow {
    /// When it came last.
    at: Time,
    /// The reply, without mailboxes.
    text: String,
    /// How often it came in a row.
    times: u32,
}

/// The messages of a campaign, or of a stream of single messages.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct FlowRow {
    /// The campaign; null for single messages.
    #[schema(value_type = Option<s::CampaignId>)]
    campaign: Option<CampaignId>,
    /// The stream.
    #[schema(value_type = s::Stream)]
    stream: Stream,
    /// Ready, as far as they are in memory.
    ready: usize,
    /// Whether there are more of them than that.
    more: bool,
    /// Handed out to connections.
    claimed: usize,
    /// Held; no more than 10,000 of a lane are counted.
    held: i64,
    /// What holds them back; null when nothing does.
    #[schema(value_type = Option<HoldView>)]
    hold: Option<HoldView>,
}

/// Limits that the workspace sets for a site; what is null or absent stays as in the profile.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LimitsInput {
    /// The site, such as `google`, or the name under which its hosts are registered.
    site: String,
    /// Connections at the same time, 1 to 1,000.
    #[serde(default)]
    connections: Option<u32>,
    /// Messages over one connection, 1 to 10,000.
    #[serde(default)]
    per_connection: Option<u32>,
    /// Messages per second, 0.01 to 10,000.
    #[serde(default)]
    per_second: Option<f64>,
    /// Messages per hour, evenly spread.
    #[serde(default)]
    per_hour: Option<u32>,
    /// Messages per 24 hours, evenly spread.
    #[serde(default)]
    per_day: Option<u32>,
    /// `opportunistic` or `required`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    tls: Option<TlsDemand>,
    /// The first pause after several refusals in a row, in seconds, 1 to 3,600.
    #[serde(default)]
    back_off_seconds: Option<u32>,
    /// Names of rules of the profile that do not count.
    #[serde(default)]
    without_rules: Vec<String>,
}

/// Limits that the workspace has set for a site.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct LimitsView {
    /// What is set.
    #[serde(flatten)]
    limits: LimitsInput,
    /// When it was set last.
    updated_at: Time,
}

impl From<SiteOverride> for LimitsView {
    fn from(o: SiteOverride) -> LimitsView {
        LimitsView { limits: input(o.site, o.settings), updated_at: Time(o.updated_at) }
    }
}

fn input(site: String, set: SiteSettings) -> LimitsInput {
    LimitsInput {
        site,
        connections: set.connections,
        per_connection: set.per_connection,
        per_second: set.per_second,
        per_hour: set.per_hour,
        per_day: set.per_day,
        tls: set.tls,
        back_off_seconds: set.back_off_seconds,
        without_rules: set.without_rules,
    }
}

/// A site as its profile knows it, and what counts for the workspace.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ProfileView {
    /// The site.
    site: String,
    /// The profile: `default` when nothing is known of the site.
    profile: String,
    /// The provider's name for people.
    title: String,
    /// Ends of the names of its MX hosts.
    suffixes: Vec<String>,
    /// What counts for the workspace.
    counts: LimitsInput,
    /// Whether the workspace has set any of it.
    own_limits: bool,
    /// Where the limits of the profile come from.
    sources: Vec<SourceRow>,
    /// The rules for its replies; those of `default` count as well.
    rules: Vec<RuleRow>,
}

/// Where a limit comes from.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct SourceRow {
    /// The limit.
    limit: &'static str,
    /// A page of the provider, a published table, or `our caution`.
    source: String,
}

/// A rule for replies.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RuleRow {
    /// Its name.
    name: String,
    /// Where it comes from.
    source: String,
    /// A reply that it reads.
    example: String,
}

fn counted(site: String, limits: &Limits, without_rules: Vec<String>) -> LimitsInput {
    LimitsInput {
        site,
        connections: limits.connections,
        per_connection: limits.per_connection,
        per_second: limits.per_second,
        per_hour: limits.per_hour,
        per_day: limits.per_day,
        tls: Some(limits.tls),
        back_off_seconds: u32::try_from(limits.back_off_ms / 1_000).ok(),
        without_rules,
    }
}

async fn sites(State(web): State<Web>, caller: Caller) -> Listed<SiteRow> {
    let told = web.store().told_sites().await?;
    let held = web.store().held_by_flow(caller.workspace).await?;
    Ok(whole(by_site::rows(told, caller.workspace, &held)))
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<LimitsView> {
    Ok(whole(web.store().site_settings(caller.workspace).await?))
}

async fn of_site(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<ProfileQuery>,
) -> Result<axum::Json<ProfileView>, Problem> {
    let profile = Profiles::shipped().of_site(&query.site);
    let set = web.store().site_settings(caller.workspace).await?.into_iter().find(|o| o.site == query.site);
    let own_limits = set.is_some();
    let set = set.map(|o| o.settings).unwrap_or_default();
    let limits = set.over(Profiles::shipped().limits(&query.site));
    Ok(axum::Json(ProfileView {
        counts: counted(query.site.clone(), &limits, set.without_rules),
        site: query.site,
        profile: profile.site.clone(),
        title: profile.title.clone(),
        suffixes: profile.suffixes.clone(),
        own_limits,
        sources: profile.sources.iter().map(|(limit, source)| SourceRow { limit, source: source.clone() }).collect(),
        rules: profile
            .rules
            .iter()
            .map(|r| RuleRow {
                name: r.name.clone(),
                source: r.source.clone(),
                example: r.hits.first().cloned().unwrap_or_default(),
            })
            .collect(),
    }))
}

async fn put(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<LimitsInput>,
) -> Result<axum::Json<LimitsView>, Problem> {
    let settings = SiteSettings {
        connections: input.connections,
        per_connection: input.per_connection,
        per_second: input.per_second,
        per_hour: input.per_hour,
        per_day: input.per_day,
        tls: input.tls,
        back_off_seconds: input.back_off_seconds,
        without_rules: input.without_rules,
    };
    let set = web.store().put_site_settings(caller.workspace, &caller.actor, &input.site, &settings).await?;
    Ok(axum::Json(set.into()))
}

async fn delete(State(web): State<Web>, caller: Caller, Query(query): Query<SiteQuery>) -> Result<StatusCode, Problem> {
    web.store().delete_site_settings(caller.workspace, &caller.actor, &query.site).await?;
    Ok(StatusCode::NO_CONTENT)
}
