//! The first page: what needs somebody, what is still to be set up, what is under way, and the last days.
//!
//! Cheap: counters and small tables only, so that it can be asked often.

use axum::extract::State;
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::campaign::CampaignState;
use postrider_domain::id::CampaignId;
use postrider_domain::import::ImportState;
use postrider_store::alarm::AlarmState;
use postrider_store::campaign::Campaign;
use postrider_store::home::HomeFacts;
use postrider_store::page::PageRequest;
use postrider_store::series::Moment;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::resource::alarm::AlarmView;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Days that are shown, today included.
const DAYS: i64 = 7;
const DAY_MS: i64 = 86_400_000;
/// Alarms that are shown.
const ALARMS: u32 = 50;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/home",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("workspaces", "home", "What needs somebody, what is under way, and the last days")
            .about("Days are those of the workspace's zone.")
            .gives::<HomeView>(200, "The first page."),
        home,
    );
}

/// The first page.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct HomeView {
    /// What needs somebody, the most urgent first.
    attention: Vec<AttentionView>,
    /// Alarms that are not over, of the workspace and of the installation, the newest first; at most fifty.
    alarms: Vec<AlarmView>,
    /// Whether anybody is written to when an alarm is raised; nobody is until `/api/v1/alarms/settings` names somebody.
    alarms_are_mailed: bool,
    /// What there is to set up, in order.
    setup: Vec<SetupStepView>,
    /// Whether every step that sending needs is done.
    ready_to_send: bool,
    /// Campaigns being frozen or sent.
    running: Vec<RunningView>,
    /// Scheduled campaigns, the next first.
    scheduled: Vec<ScheduledView>,
    /// The last seven days, the oldest first, today last.
    days: Vec<DayView>,
    /// Contacts in the book.
    contacts: i64,
}

/// Something that needs somebody.
#[derive(Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
struct AttentionView {
    /// Fixed word for programs: `disk_low`, `no_route`, `no_domain`, `domain_failing`, `domain_unchecked`,
    /// `no_postal_address`, `no_controller`, `no_public_url`, `campaign_paused`, `campaign_missed`, `import_failed`, `import_stopped`.
    code: &'static str,
    /// `error`: something cannot go on; `warning`: something should be looked at.
    #[schema(value_type = s::Severity)]
    severity: postrider_domain::campaign::Severity,
    /// What it is about, if it is one thing: the id of a domain, campaign or import.
    object: Option<String>,
    /// Its name.
    name: String,
    /// What is wrong and what to do.
    message: String,
}

/// A step of setting up.
#[derive(Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
struct SetupStepView {
    /// Fixed word for programs: `workspace`, `domain`, `domain_dns`, `route`, `contacts`, `consent`, `campaign`, `test`, `send`.
    code: &'static str,
    /// Whether it is done.
    done: bool,
}

/// A campaign being sent.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RunningView {
    /// Its id.
    #[schema(value_type = s::CampaignId)]
    id: CampaignId,
    /// Its name.
    name: String,
    /// Where it stands.
    #[schema(value_type = s::CampaignState)]
    state: CampaignState,
    /// When sending began.
    launched_at: Option<Time>,
    /// Deliveries made so far.
    frozen: i64,
    /// Deliveries that a remote host accepted.
    accepted: i64,
    /// Deliveries that a remote host refused for good.
    bounced: i64,
    /// Deliveries that were given up.
    expired: i64,
    /// Deliveries that wait.
    queued: i64,
}

/// A scheduled campaign.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ScheduledView {
    /// Its id.
    #[schema(value_type = s::CampaignId)]
    id: CampaignId,
    /// Its name.
    name: String,
    /// When it starts.
    start_at: Option<Time>,
    /// Until when a start can be taken back.
    undo_until: Option<Time>,
}

/// A day.
#[derive(Debug, PartialEq, Eq, Default, serde::Serialize, utoipa::ToSchema)]
struct DayView {
    /// The local date, as `2026-12-01`.
    date: String,
    /// Deliveries that a remote host accepted.
    accepted: i64,
    /// Deliveries that a remote host refused for good.
    bounced: i64,
    /// Deliveries that were given up.
    expired: i64,
    /// Attempts after which a delivery waits for another.
    deferred: i64,
}

/// What a look at a domain's DNS said; `None` when nobody looked.
fn dns_is_good(domain: &postrider_store::domain::SendingDomain) -> Option<bool> {
    domain.checked.as_ref().map(|found| found["ok"].as_bool().unwrap_or(false))
}

fn attention(facts: &HomeFacts) -> Vec<AttentionView> {
    use postrider_domain::campaign::Severity::{Error, Warning};
    let mut found = Vec::new();
    let mut say = |code, severity, object: Option<String>, name: &str, message: &str| {
        found.push(AttentionView { code, severity, object, name: name.into(), message: message.into() });
    };
    if facts.disk_low {
        say(
            "disk_low",
            Error,
            None,
            "",
            "the server has too little free disk space: nothing new is taken or sent; make room",
        );
    }
    if !facts.has_route {
        say("no_route", Error, None, "", "there is no route: nothing can leave; add one under Sending");
    }
    if facts.domains.is_empty() {
        say("no_domain", Error, None, "", "there is no sending domain: add the domain that you write from");
    }
    for domain in &facts.domains {
        let id = Some(domain.id.to_string());
        match dns_is_good(domain) {
            Some(true) => {}
            Some(false) => say(
                "domain_failing",
                Warning,
                id,
                &domain.name,
                "a required DNS record is missing or wrong: publish it and look again; many receivers refuse mail without it",
            ),
            None => say(
                "domain_unchecked",
                Warning,
                id,
                &domain.name,
                "nobody has looked at its DNS records yet: publish them and look",
            ),
        }
    }
    let w = &facts.workspace;
    for (text, code, message) in [
        (&w.postal_address, "no_postal_address", "the postal address is missing: the law asks for it in each campaign"),
        (&w.controller_name, "no_controller", "nobody is named as responsible for the data: name the controller"),
        (&w.public_url, "no_public_url", "the public address is not set: links to unsubscribe cannot be made"),
    ] {
        if text.trim().is_empty() {
            say(code, Error, None, "", message);
        }
    }
    for c in &facts.paused {
        say("campaign_paused", Warning, Some(c.id.to_string()), &c.name, "it is paused: resume it, or stop it");
    }
    for c in &facts.missed {
        let message = "its time passed by more than was allowed and nothing left: give it another, or start it";
        say("campaign_missed", Warning, Some(c.id.to_string()), &c.name, message);
    }
    for i in &facts.imports {
        let (code, fallback) = match i.state {
            ImportState::Failed => ("import_failed", "it could not go on: resume it, or upload the file again"),
            ImportState::Stopped => ("import_stopped", "it was stopped: resume it, or leave it as it is"),
            ImportState::Waiting | ImportState::Running | ImportState::Done => continue,
        };
        let message = i.error.as_deref().unwrap_or(fallback);
        say(code, Warning, Some(i.id.to_string()), &i.file_name, message);
    }
    found.sort_by_key(|a| match a.severity {
        Error => 0,
        Warning => 1,
    });
    found
}

fn setup(facts: &HomeFacts) -> Vec<SetupStepView> {
    let w = &facts.workspace;
    let named = [&w.controller_name, &w.postal_address, &w.public_url].iter().all(|t| !t.trim().is_empty());
    [
        ("workspace", named),
        ("domain", !facts.domains.is_empty()),
        ("domain_dns", facts.domains.iter().any(|d| dns_is_good(d) == Some(true))),
        ("route", facts.has_route),
        ("contacts", facts.contacts > 0),
        ("consent", facts.has_consent),
        ("campaign", facts.has_campaign),
        ("test", facts.has_test),
        ("send", facts.has_sent),
    ]
    .into_iter()
    .map(|(code, done)| SetupStepView { code, done })
    .collect()
}

fn local_date(at: i64, zone: &jiff::tz::TimeZone) -> Option<jiff::civil::Date> {
    Some(jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone()).date())
}

/// Sums quarters of an hour to local days; every day is there, with or without something on it.
fn days(quarters: &[Moment], zone: &jiff::tz::TimeZone, now: i64) -> Vec<DayView> {
    let Some(today) = local_date(now, zone) else { return Vec::new() };
    let mut days: Vec<(jiff::civil::Date, DayView)> = (0..DAYS)
        .rev()
        .filter_map(|back| today.checked_sub(jiff::Span::new().days(back)).ok())
        .map(|date| (date, DayView { date: date.to_string(), ..DayView::default() }))
        .collect();
    for quarter in quarters {
        let date = local_date(quarter.at, zone);
        if let Some((_, day)) = days.iter_mut().find(|(d, _)| Some(*d) == date) {
            day.accepted += quarter.accepted;
            day.bounced += quarter.rejected;
            day.expired += quarter.expired;
            day.deferred += quarter.deferred;
        }
    }
    days.into_iter().map(|(_, day)| day).collect()
}

fn scheduled(c: Campaign) -> ScheduledView {
    ScheduledView { id: c.id, name: c.name, start_at: c.start_at.map(Time), undo_until: c.undo_until.map(Time) }
}

async fn home(State(web): State<Web>, caller: Caller) -> Result<axum::Json<HomeView>, Problem> {
    let store = web.store();
    let facts = store.home(caller.workspace).await?;
    let now = web.now();
    let zone = postrider_domain::schedule::zone(&facts.workspace.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let quarters = store.quarters(caller.workspace, now - (DAYS + 1) * DAY_MS).await?;
    let (attention, setup) = (attention(&facts), setup(&facts));
    let alarms = store
        .alarms(caller.workspace, &[AlarmState::Open, AlarmState::Acknowledged], &PageRequest::first(ALARMS))
        .await?;
    let needed = ["workspace", "domain", "route", "contacts", "consent"];
    let ready_to_send = setup.iter().all(|step| step.done || !needed.contains(&step.code));
    let mut running = Vec::with_capacity(facts.running.len());
    for c in facts.running {
        let ledger = store.ledger_counts(caller.workspace, c.id).await?;
        running.push(RunningView {
            id: c.id,
            name: c.name,
            state: c.state,
            launched_at: c.launched_at.map(Time),
            frozen: ledger.frozen,
            accepted: ledger.accepted,
            bounced: ledger.rejected,
            expired: ledger.expired,
            queued: ledger.queued,
        });
    }
    Ok(axum::Json(HomeView {
        attention,
        alarms: alarms.items.into_iter().map(AlarmView::from).collect(),
        alarms_are_mailed: store.alarm_settings(caller.workspace).await?.mails(),
        setup,
        ready_to_send,
        running,
        scheduled: facts.scheduled.into_iter().map(scheduled).collect(),
        days: days(&quarters, &zone, now),
        contacts: facts.contacts,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone_and_none_is_left_out() {
        let zone = jiff::tz::TimeZone::get("Europe/Rome").unwrap();
        // 2026-12-01T23:30Z is the second of December in Rome.
        let late = 1_796_167_800_000;
        let now = late + 3_600_000;
        let moment = |at, accepted| Moment { at, accepted, ..Moment::default() };
        let made = days(&[moment(late, 5), moment(late - 3_600_000, 2), moment(late - 20 * DAY_MS, 9)], &zone, now);
        assert_eq!(made.len(), 7);
        assert_eq!((made[6].date.as_str(), made[6].accepted), ("2026-12-02", 5));
        assert_eq!((made[5].date.as_str(), made[5].accepted), ("2026-12-01", 2));
        assert_eq!((made[0].date.as_str(), made[0].accepted), ("2026-11-26", 0));
    }
}
