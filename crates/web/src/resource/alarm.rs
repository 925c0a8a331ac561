//! Alarms: what needs somebody, what to do about it, and who is told by mail.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::alarm::{AlarmKind, AlarmSettings, AlarmSeverity, remedy};
use postrider_domain::id::{AlarmId, RouteId};
use postrider_store::alarm::{Alarm, AlarmState};
use serde_json::{Value, json};

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
    let admin = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/alarms",
        read,
        Op::new("alarms", "list_alarms", "What is wrong, of the workspace and of the installation")
            .about("Without `state`: those that are not over. An event `alarm` of `/api/v1/live` says that one has changed.")
            .query::<AlarmQuery>()
            .schema::<s::AlarmStates>()
            .gives_page::<AlarmView>("Newest first."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/alarms/{alarm}/acknowledge",
        Rule::Scope(Scope::CampaignsWrite),
        Op::new("alarms", "acknowledge_alarm", "Say that somebody knows of it")
            .about("It stays until it is over. One that gets worse by a step is new again.")
            .gives::<AlarmView>(200, "The alarm as it is now.")
            .retry(Retry::Replay),
        acknowledge,
    );
    api.add(
        Method::POST,
        "/api/v1/alarms/{alarm}/believe",
        admin,
        Op::new("alarms", "believe_site", "Say that a site is right when it denies nearly everybody")
            .about("Only for `mass_unknown`. Its mail goes on at once, and its answers suppress mailboxes again.")
            .gives::<AlarmView>(200, "The alarm; it is over within seconds.")
            .retry(Retry::Replay),
        believe,
    );
    api.add(
        Method::POST,
        "/api/v1/alarms/{alarm}/take-back",
        admin,
        Op::new("alarms", "take_back_suppressions", "Take back what a site's answers suppressed shortly before they were doubted")
            .about("Only for `mass_unknown`, while it lasts, and only mailboxes of this workspace. Deliveries keep their outcome.")
            .gives::<TakenBack>(200, "How many.")
            .retry(Retry::Replay),
        take_back,
    );
    api.add(
        Method::GET,
        "/api/v1/alarms/settings",
        admin,
        Op::new("alarms", "alarm_settings", "Who is told of alarms, and what they pause")
            .gives::<AlarmSettingsView>(200, "The settings."),
        settings,
    );
    api.add(
        Method::PUT,
        "/api/v1/alarms/settings",
        admin,
        Op::new("alarms", "set_alarm_settings", "Set who is told of alarms, and what they pause")
            .about("One mail for what is raised, one when it is over; those of a minute together, at most ten an hour. What is not named is as at first.")
            .takes::<AlarmSettingsView>(json!({ "to": [], "from": "", "pause_on_bounces": true, "pause_on_complaints": true }))
            .gives::<AlarmSettingsView>(200, "What is set now."),
        put_settings,
    );
}

/// Which alarms are shown.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct AlarmQuery {
    /// `open`, `acknowledged`, `resolved` or `all`; those that are not over when not given.
    #[param(value_type = Option<s::AlarmStates>)]
    state: Option<States>,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

postrider_domain::words! {
    /// Which alarms a listing shows.
    pub enum States {
        /// Neither acknowledged nor over.
        Open = "open",
        /// Acknowledged, and not over.
        Acknowledged = "acknowledged",
        /// Over.
        Resolved = "resolved",
        /// All of them.
        All = "all",
    }
}

/// Something that needs somebody.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct AlarmView {
    /// Its id.
    #[schema(value_type = s::AlarmId)]
    id: AlarmId,
    /// Whether it concerns the installation as a whole, and not this workspace alone.
    installation: bool,
    /// What is wrong, as a fixed word.
    #[schema(value_type = s::AlarmKind)]
    kind: AlarmKind,
    /// With what: a campaign's id, a domain, a host, a site, a node.
    subject: String,
    /// How bad.
    #[schema(value_type = s::AlarmSeverity)]
    severity: AlarmSeverity,
    /// Where it stands.
    #[schema(value_type = s::AlarmState)]
    state: AlarmState,
    /// What is wrong, in one sentence.
    sentence: String,
    /// What to do.
    remedy: &'static str,
    /// What was seen; the fields depend on the kind.
    #[schema(value_type = Object)]
    facts: Value,
    /// When it was raised.
    raised_at: Time,
    /// When it was seen last, to within some minutes.
    last_seen_at: Time,
    /// When somebody took note of it.
    acknowledged_at: Option<Time>,
    /// Who did: `account acc_…`, `key key_…` or `console`.
    acknowledged_by: Option<String>,
    /// When it was over.
    resolved_at: Option<Time>,
    /// Since when it keeps its campaign paused.
    paused_at: Option<Time>,
    /// When a mail told of it.
    mailed_at: Option<Time>,
    /// What may be done with it: `acknowledge`, `believe`, `take-back`.
    actions: Vec<&'static str>,
}

impl From<Alarm> for AlarmView {
    fn from(a: Alarm) -> AlarmView {
        let state = a.state();
        let mut actions = Vec::new();
        if state == AlarmState::Open {
            actions.push("acknowledge");
        }
        if state != AlarmState::Resolved && a.kind == AlarmKind::MassUnknown {
            actions.extend(["believe", "take-back"]);
        }
        AlarmView {
            id: a.id,
            installation: a.workspace.is_none(),
            sentence: a.sentence(),
            remedy: remedy(a.kind),
            state,
            kind: a.kind,
            subject: a.subject,
            severity: a.severity,
            facts: a.facts,
            raised_at: Time(a.raised_at),
            last_seen_at: Time(a.last_seen_at),
            acknowledged_at: a.acknowledged_at.map(Time),
            acknowledged_by: a.acknowledged_by,
            resolved_at: a.resolved_at.map(Time),
            paused_at: a.paused_at.map(Time),
            mailed_at: a.told_at.map(Time),
            actions,
        }
    }
}

/// What was taken back.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TakenBack {
    /// Suppressions that are gone.
    suppressions: u64,
}

/// What a workspace wants of its alarms.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[schema(as = AlarmSettingsView)]
#[serde(deny_unknown_fields)]
struct AlarmSettingsView {
    /// Mailboxes of those who are told, at most 20; nobody is told while it is empty.
    to: Vec<String>,
    /// The mailbox that writes, of a sending domain of the workspace.
    #[serde(default)]
    from: String,
    /// The route that carries these mails; null: the default route.
    #[serde(default)]
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// Which severities are mailed; all when not given.
    #[serde(default = "all_severities")]
    #[schema(value_type = Vec<s::AlarmSeverity>)]
    severities: Vec<AlarmSeverity>,
    /// Whether alarms of the installation (disk, database, DNS, …) are mailed, too. Of several workspaces that want them
    /// the oldest gets them.
    #[serde(default = "yes")]
    installation: bool,
    /// Whether more than 5 % bounces pause a campaign.
    #[serde(default = "yes")]
    pause_on_bounces: bool,
    /// Whether more than 0.3 % complaints pause a campaign.
    #[serde(default = "yes")]
    pause_on_complaints: bool,
}

fn all_severities() -> Vec<AlarmSeverity> {
    AlarmSeverity::ALL.to_vec()
}

const fn yes() -> bool {
    true
}

impl From<AlarmSettings> for AlarmSettingsView {
    fn from(s: AlarmSettings) -> AlarmSettingsView {
        AlarmSettingsView {
            to: s.to,
            from: s.from,
            route: s.route,
            severities: s.severities,
            installation: s.installation,
            pause_on_bounces: s.pause_on_bounces,
            pause_on_complaints: s.pause_on_complaints,
        }
    }
}

impl From<AlarmSettingsView> for AlarmSettings {
    fn from(v: AlarmSettingsView) -> AlarmSettings {
        AlarmSettings {
            to: v.to,
            from: v.from.trim().to_owned(),
            route: v.route,
            severities: v.severities,
            installation: v.installation,
            pause_on_bounces: v.pause_on_bounces,
            pause_on_complaints: v.pause_on_complaints,
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<AlarmQuery>) -> Listed<AlarmView> {
    let page = paging(query.limit, query.cursor)?;
    let states: &[AlarmState] = match query.state {
        None => &[AlarmState::Open, AlarmState::Acknowledged],
        Some(States::Open) => &[AlarmState::Open],
        Some(States::Acknowledged) => &[AlarmState::Acknowledged],
        Some(States::Resolved) => &[AlarmState::Resolved],
        Some(States::All) => AlarmState::ALL,
    };
    Ok(listing(web.store().alarms(caller.workspace, states, &page).await?))
}

async fn acknowledge(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<AlarmId>,
) -> Result<axum::Json<AlarmView>, Problem> {
    let alarm = web.store().acknowledge_alarm(caller.workspace, &caller.actor, id).await?;
    Ok(axum::Json(alarm.into()))
}

/// The site of an alarm about one that denies everybody.
async fn denying_site(web: &Web, caller: &Caller, id: AlarmId) -> Result<String, Problem> {
    let alarm = web.store().alarm(caller.workspace, id).await?;
    match (alarm.kind, alarm.state()) {
        (AlarmKind::MassUnknown, AlarmState::Open | AlarmState::Acknowledged) => Ok(alarm.subject),
        (AlarmKind::MassUnknown, AlarmState::Resolved) => Err(Problem::conflict("the alarm is over already")),
        (_, _) => Err(Problem::refused("only an alarm `mass_unknown` is about a site that may be believed")),
    }
}

async fn believe(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<AlarmId>,
) -> Result<axum::Json<AlarmView>, Problem> {
    let site = denying_site(&web, &caller, id).await?;
    web.store().believe_site(caller.workspace, &caller.actor, &site).await?;
    Ok(axum::Json(web.store().alarm(caller.workspace, id).await?.into()))
}

async fn take_back(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<AlarmId>,
) -> Result<axum::Json<TakenBack>, Problem> {
    let site = denying_site(&web, &caller, id).await?;
    let suppressions = web.store().take_back_suppressions(caller.workspace, &caller.actor, &site).await?;
    Ok(axum::Json(TakenBack { suppressions }))
}

async fn settings(State(web): State<Web>, caller: Caller) -> Result<axum::Json<AlarmSettingsView>, Problem> {
    Ok(axum::Json(web.store().alarm_settings(caller.workspace).await?.into()))
}

async fn put_settings(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<AlarmSettingsView>,
) -> Result<axum::Json<AlarmSettingsView>, Problem> {
    let set = web.store().put_alarm_settings(caller.workspace, &caller.actor, &input.into()).await?;
    Ok(axum::Json(set.into()))
}
