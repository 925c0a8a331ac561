//! Routes: how mail leaves. A password goes in and never comes out.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::egress::{PoolChoice, PoolRule};
use postrider_domain::id::{PoolId, RouteId};
use postrider_domain::route::{ExclusionPolicy, RelayHost, RouteKind, RouteSettings, Signing, TlsMode, free_host};
use postrider_domain::stream::Stream;
use postrider_store::relay::RelayProof;
use postrider_store::route::{PasswordChange, Route};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::resource::probe::{Answer, ask};
use crate::rule::Rule;
use crate::schema::{self as s, Password, Time};

/// Largest message that is looked at for a proof, in bytes.
const LARGEST_PROOF: usize = 1 << 20;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let rule = Rule::Scope(Scope::Admin);
    let settings = json!({
        "name": "smarthost", "kind": "smarthost", "host": "smtp.example.org", "port": 587, "tls": "required",
        "username": "postrider", "per_second": 10
    });
    api.add(
        Method::GET,
        "/api/v1/routes",
        rule,
        Op::new("routes", "list_routes", "The routes of the workspace").gives_list::<RouteView>("The routes."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/routes",
        rule,
        Op::new("routes", "add_route", "Add a route; the first is the default")
            .takes::<RouteInput>(
                json!({ "settings": settings, "password": "secret of the smarthost", "is_default": false }),
            )
            .gives::<RouteView>(201, "The route.")
            .retry(Retry::Replay),
        add,
    );
    api.add(
        Method::GET,
        "/api/v1/routes/hint",
        rule,
        Op::new("routes", "route_hint", "What is known of a smarthost before a route to it is made")
            .query::<HintQuery>()
            .gives::<HintView>(200, "A warning and a number to begin with, or nothing."),
        hint,
    );
    api.add(
        Method::GET,
        "/api/v1/routes/{route}",
        rule,
        Op::new("routes", "get_route", "One route").gives::<RouteView>(200, "The route; never its password."),
        get,
    );
    api.add(
        Method::PATCH,
        "/api/v1/routes/{route}",
        rule,
        Op::new("routes", "change_route", "Change a route")
            .about("`settings` replaces all settings. The password stays unless one is given; null forgets it.")
            .takes::<RoutePatch>(json!({ "settings": settings, "is_default": true }))
            .gives::<RouteView>(200, "The route as it is now."),
        change,
    );
    api.add(
        Method::DELETE,
        "/api/v1/routes/{route}",
        rule,
        Op::new("routes", "remove_route", "Remove a route that nothing names").gives_nothing("It is gone."),
        remove,
    );
    api.add(
        Method::POST,
        "/api/v1/routes/{route}/test",
        rule,
        Op::new("routes", "test_route", "Connect, greet and log in, without sending anything")
            .about("Asked of the engine; waits up to 15 seconds, then answers 202 and the id to ask again with.")
            .gives::<Answer>(200, "What happened."),
        test,
    );
    proof_routes(api);
}

/// Adds the routes about who signs.
fn proof_routes(api: &mut Api) {
    let rule = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/routes/{route}/relay-proof",
        rule,
        Op::new("routes", "list_relay_proofs", "For which From domains the relay has been proved to sign")
            .gives_list::<ProofView>("The proofs; they end when host, account or `signing` of the route change."),
        proofs,
    );
    api.add(
        Method::POST,
        "/api/v1/routes/{route}/relay-proof",
        rule,
        Op::new("routes", "prove_relay", "Prove that the relay signs, by a message that came through it")
            .about(
                "Hand in the source of a test message as a mailbox received it. A signature counts when it passes, is aligned \
                 with the From domain and is not our own. Waits up to 15 seconds, then answers 202: try again.",
            )
            .takes::<ProofInput>(json!({ "message": "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; …" }))
            .gives::<Answer>(200, "Whether it proves anything, and why not."),
        prove,
    );
}

/// A proof.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ProofView {
    /// The From domain.
    domain: String,
    /// The signing domain, `d=`.
    signed_by: String,
    /// Its selector, `s=`.
    selector: String,
    /// When it was proved.
    proved_at: Time,
}

/// A message as it was received.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ProofInput {
    /// Its source, header and body, at most 1 MiB.
    message: String,
}

/// The settings of a route.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SettingsView {
    /// Name for people.
    name: String,
    /// To MX hosts, or to one host.
    #[schema(value_type = s::RouteKind)]
    kind: RouteKind,
    /// Host of a smarthost.
    #[serde(default)]
    host: String,
    /// Port of a smarthost.
    #[serde(default)]
    port: u16,
    /// How connections are protected.
    #[schema(value_type = s::TlsMode)]
    tls: TlsMode,
    /// AUTH user; empty for none.
    #[serde(default)]
    username: String,
    /// Messages per second, 0 for no limit of our own.
    #[serde(default)]
    per_second: u32,
    /// Messages per local day of the workspace, 0 for no limit of our own.
    #[serde(default)]
    per_day: u32,
    /// Simultaneous connections to one site, 1 to 1000.
    #[serde(default = "ten")]
    connections: u16,
    /// Accept a certificate that does not verify.
    #[serde(default)]
    accept_any_certificate: bool,
    /// Who is left out of campaigns: `campaign`, people who opted out of the campaign's purpose; `global`, people who opted
    /// out of any purpose. Asked when the audience is frozen.
    #[serde(default = "campaign_only")]
    #[schema(value_type = Option<s::ExclusionPolicy>)]
    exclusion: ExclusionPolicy,
    /// Messages per hour, kept evenly; 0 for no limit of our own.
    #[serde(default)]
    per_hour: u32,
    /// Which pools of egress sources a route to MX hosts sends from.
    #[serde(default)]
    egress: RouteEgressView,
    /// Several hosts of a smarthost, in place of `host`, `port` and `username`.
    #[serde(default)]
    hosts: Vec<RelayHostView>,
    /// Who signs: `we`; `relay`, the relay as well; `relay_rewrites`, the relay alone, because it rewrites Date or
    /// Message-ID. A campaign needs a proof that the relay signs: POST /api/v1/routes/{route}/relay-proof.
    #[serde(default = "we")]
    #[schema(value_type = Option<s::Signing>)]
    signing: Signing,
}

/// Pools of a route.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RouteEgressView {
    /// The pool of everything that no rule names; null for the addresses of the machine as the system chooses them.
    #[serde(default)]
    #[schema(value_type = Option<s::PoolId>)]
    pool: Option<PoolId>,
    /// Exceptions; one for a sending domain counts before one for a stream.
    #[serde(default)]
    rules: Vec<PoolRuleView>,
}

/// An exception.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PoolRuleView {
    /// The stream; null for both.
    #[serde(default)]
    #[schema(value_type = Option<s::Stream>)]
    stream: Option<Stream>,
    /// The domain of the From field; null for all.
    #[serde(default)]
    domain: Option<String>,
    /// The pool.
    #[schema(value_type = s::PoolId)]
    pool: PoolId,
}

/// One of several hosts of a smarthost.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RelayHostView {
    /// Host name or address; each is named once.
    host: String,
    /// Port.
    port: u16,
    /// AUTH user; empty for none.
    #[serde(default)]
    username: String,
    /// Lower ones come first; higher ones are used while none of these can take anything.
    #[serde(default)]
    priority: u16,
    /// Its share against others of the same priority, 1 to 1000.
    #[serde(default = "one")]
    weight: u32,
    /// Messages per second through it, 0 for no limit.
    #[serde(default)]
    per_second: u32,
    /// Messages per hour, kept evenly; 0 for no limit.
    #[serde(default)]
    per_hour: u32,
    /// Messages per local day of the workspace, 0 for no limit.
    #[serde(default)]
    per_day: u32,
}

const fn one() -> u32 {
    1
}

const fn we() -> Signing {
    Signing::We
}

impl From<RouteEgressView> for PoolChoice {
    fn from(v: RouteEgressView) -> PoolChoice {
        let rule = |r: PoolRuleView| PoolRule { stream: r.stream, domain: r.domain, pool: r.pool };
        PoolChoice { pool: v.pool, rules: v.rules.into_iter().map(rule).collect() }
    }
}

impl From<PoolChoice> for RouteEgressView {
    fn from(c: PoolChoice) -> RouteEgressView {
        let rule = |r: PoolRule| PoolRuleView { stream: r.stream, domain: r.domain, pool: r.pool };
        RouteEgressView { pool: c.pool, rules: c.rules.into_iter().map(rule).collect() }
    }
}

impl From<RelayHostView> for RelayHost {
    fn from(v: RelayHostView) -> RelayHost {
        RelayHost {
            host: v.host,
            port: v.port,
            username: v.username,
            priority: v.priority,
            weight: v.weight,
            per_second: v.per_second,
            per_hour: v.per_hour,
            per_day: v.per_day,
        }
    }
}

impl From<RelayHost> for RelayHostView {
    fn from(h: RelayHost) -> RelayHostView {
        RelayHostView {
            host: h.host,
            port: h.port,
            username: h.username,
            priority: h.priority,
            weight: h.weight,
            per_second: h.per_second,
            per_hour: h.per_hour,
            per_day: h.per_day,
        }
    }
}

const fn campaign_only() -> ExclusionPolicy {
    ExclusionPolicy::Campaign
}

const fn ten() -> u16 {
    10
}

impl From<SettingsView> for RouteSettings {
    fn from(v: SettingsView) -> RouteSettings {
        RouteSettings {
            name: v.name,
            kind: v.kind,
            host: v.host,
            port: v.port,
            tls: v.tls,
            username: v.username,
            per_second: v.per_second,
            per_day: v.per_day,
            connections: v.connections,
            accept_any_certificate: v.accept_any_certificate,
            exclusion: v.exclusion,
            per_hour: v.per_hour,
            egress: v.egress.into(),
            hosts: v.hosts.into_iter().map(RelayHost::from).collect(),
            signing: v.signing,
        }
    }
}

impl From<RouteSettings> for SettingsView {
    fn from(r: RouteSettings) -> SettingsView {
        SettingsView {
            name: r.name,
            kind: r.kind,
            host: r.host,
            port: r.port,
            tls: r.tls,
            username: r.username,
            per_second: r.per_second,
            per_day: r.per_day,
            connections: r.connections,
            accept_any_certificate: r.accept_any_certificate,
            exclusion: r.exclusion,
            per_hour: r.per_hour,
            egress: r.egress.into(),
            hosts: r.hosts.into_iter().map(RelayHostView::from).collect(),
            signing: r.signing,
        }
    }
}

/// A route to be added.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RouteInput {
    /// Its settings.
    settings: SettingsView,
    /// The AUTH password; sealed, never shown again.
    #[schema(value_type = Option<Password>)]
    password: Option<Password>,
    /// The AUTH passwords of several hosts, by host; sealed, never shown again.
    #[serde(default)]
    #[schema(value_type = Object)]
    host_passwords: HostPasswords,
    /// Whether campaigns and messages without a route of their own take it.
    #[serde(default)]
    is_default: bool,
}

/// Passwords by host; null forgets one.
type HostPasswords = std::collections::BTreeMap<String, Option<Password>>;

/// What changes.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RoutePatch {
    /// All settings anew.
    settings: Option<SettingsView>,
    /// Another password; null forgets it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Password>)]
    password: Option<Option<Password>>,
    /// Other passwords of several hosts, by host; null forgets one, and hosts that are not named keep theirs.
    #[serde(default)]
    #[schema(value_type = Object)]
    host_passwords: HostPasswords,
    /// True makes it the default one.
    is_default: Option<bool>,
}

/// Tells a null from a field that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Password>>, D::Error> {
    <Option<Password> as serde::Deserialize>::deserialize(deserializer).map(Some)
}

/// A route.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RouteView {
    /// Its id.
    #[schema(value_type = s::RouteId)]
    id: RouteId,
    /// Its settings.
    settings: SettingsView,
    /// Whether a password is stored.
    has_password: bool,
    /// Those of several hosts that have one.
    hosts_with_password: Vec<String>,
    /// Whether it is the default one.
    is_default: bool,
    /// What should be thought of before much is sent through it.
    #[serde(flatten)]
    hint: HintView,
    /// When it was made.
    created_at: Time,
}

/// Which host.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct HintQuery {
    /// The host of a smarthost.
    #[serde(default)]
    host: String,
}

/// What is known of a smarthost.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct HintView {
    /// What should be thought of; null when nothing is known against it.
    warning: Option<String>,
    /// The provider, when it is a known one.
    provider: Option<&'static str>,
    /// Messages a day to begin with.
    suggested_per_day: Option<u32>,
}

impl HintView {
    fn of(host: &str) -> HintView {
        let known = free_host(host);
        HintView {
            warning: known.map(|k| {
                format!(
                    "{} is a service for people's own mailboxes: it allows few messages a day (plan with {}) and may close \
                     the account when newsletters leave through it; a service made for sending is better",
                    k.provider, k.per_day
                )
            }),
            provider: known.map(|k| k.provider),
            suggested_per_day: known.map(|k| k.per_day),
        }
    }
}

impl From<Route> for RouteView {
    fn from(r: Route) -> RouteView {
        RouteView {
            id: r.id,
            hint: HintView::of(match r.settings.kind {
                RouteKind::Mx => "",
                RouteKind::Smarthost => &r.settings.host,
            }),
            settings: r.settings.into(),
            has_password: r.has_password,
            hosts_with_password: Vec::new(),
            is_default: r.is_default,
            created_at: Time(r.created_at),
        }
    }
}

/// A route with what lies beside its row.
async fn view(web: &Web, caller: &Caller, route: Route) -> Result<RouteView, Problem> {
    let hosts_with_password = if route.settings.hosts.is_empty() {
        Vec::new()
    } else {
        web.store().hosts_with_password(caller.workspace, route.id).await?
    };
    Ok(RouteView { hosts_with_password, ..route.into() })
}

async fn set_host_passwords(web: &Web, caller: &Caller, id: RouteId, new: HostPasswords) -> Result<(), Problem> {
    for (host, password) in new {
        let change = password.map_or(PasswordChange::Clear, |password| PasswordChange::Set(password.0));
        web.store().set_host_password(caller.workspace, &caller.actor, id, &host, change).await?;
    }
    Ok(())
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<RouteView> {
    let mut views = Vec::new();
    for route in web.store().routes(caller.workspace).await? {
        views.push(view(&web, &caller, route).await?);
    }
    Ok(whole(views))
}

async fn add(State(web): State<Web>, caller: Caller, Json(input): Json<RouteInput>) -> Result<Response, Problem> {
    let settings = RouteSettings::from(input.settings);
    let password = input.password.as_ref().map(|p| &p.0);
    let mut made = web.store().add_route(caller.workspace, &caller.actor, &settings, password).await?;
    if input.is_default && !made.is_default {
        web.store().make_default_route(caller.workspace, &caller.actor, made.id).await?;
        made.is_default = true;
    }
    set_host_passwords(&web, &caller, made.id, input.host_passwords).await?;
    Ok((StatusCode::CREATED, axum::Json(view(&web, &caller, made).await?)).into_response())
}

async fn hint(Query(query): Query<HintQuery>) -> axum::Json<HintView> {
    axum::Json(HintView::of(&query.host))
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<RouteId>,
) -> Result<axum::Json<RouteView>, Problem> {
    let route = web.store().route(caller.workspace, id).await?;
    Ok(axum::Json(view(&web, &caller, route).await?))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<RouteId>,
    Json(input): Json<RoutePatch>,
) -> Result<axum::Json<RouteView>, Problem> {
    let present = web.store().route(caller.workspace, id).await?;
    let touched = input.settings.is_some() || input.password.is_some();
    let old_host = present.settings.host.clone();
    let settings = input.settings.map_or(present.settings, RouteSettings::from);
    if present.has_password && input.password.is_none() && settings.host != old_host {
        // Whoever may change a route must not have its password sent to a host of their choice.
        return Err(Problem::refused("the host changes: give the password again, or null to forget it"));
    }
    let password = match input.password {
        None => PasswordChange::Keep,
        Some(Some(password)) => PasswordChange::Set(password.0),
        Some(None) => PasswordChange::Clear,
    };
    if touched {
        web.store().change_route(caller.workspace, &caller.actor, id, &settings, password).await?;
    }
    set_host_passwords(&web, &caller, id, input.host_passwords).await?;
    match input.is_default {
        Some(true) => web.store().make_default_route(caller.workspace, &caller.actor, id).await?,
        Some(false) if present.is_default => {
            return Err(Problem::refused("a workspace has one default route: make another one the default instead"));
        }
        Some(false) | None => {}
    }
    let route = web.store().route(caller.workspace, id).await?;
    Ok(axum::Json(view(&web, &caller, route).await?))
}

async fn remove(State(web): State<Web>, caller: Caller, Path(id): Path<RouteId>) -> Result<StatusCode, Problem> {
    web.store().remove_route(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn test(State(web): State<Web>, caller: Caller, Path(id): Path<RouteId>) -> Result<Response, Problem> {
    web.store().route(caller.workspace, id).await?;
    ask(&web, &caller, "route_test", &json!({ "route": id })).await
}

impl From<RelayProof> for ProofView {
    fn from(p: RelayProof) -> ProofView {
        ProofView { domain: p.domain, signed_by: p.signed_by, selector: p.selector, proved_at: Time(p.proved_at) }
    }
}

async fn proofs(State(web): State<Web>, caller: Caller, Path(id): Path<RouteId>) -> Listed<ProofView> {
    web.store().route(caller.workspace, id).await?;
    Ok(whole(web.store().relay_proofs(caller.workspace, id).await?))
}

async fn prove(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<RouteId>,
    Json(input): Json<ProofInput>,
) -> Result<Response, Problem> {
    let route = web.store().route(caller.workspace, id).await?;
    if !route.settings.signing.needs_proof() {
        return Err(Problem::refused("nothing has to be proved: by this route we sign ourselves"));
    }
    if input.message.len() > LARGEST_PROOF {
        return Err(Problem::refused("the message is larger than 1 MiB: hand in a plain test message"));
    }
    let (store, wait) = (web.store(), web.config().inquiry_wait);
    let wait_ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    let args = json!({ "message": input.message });
    let inquiry = store.ask(Some(caller.workspace), "relay_proof", &args, wait_ms).await?;
    let answer = store.wait_for_answer(Some(caller.workspace), inquiry, wait).await?;
    if let Some(proof) = answer.as_ref().filter(|answer| answer["ok"] == true) {
        let word = |name: &str| proof[name].as_str().unwrap_or_default();
        let facts = (word("domain"), word("signed_by"), word("selector"));
        store.keep_relay_proof(caller.workspace, &caller.actor, id, facts).await?;
    }
    let status = if answer.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, axum::Json(Answer { inquiry, answer })).into_response())
}
