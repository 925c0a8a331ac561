//! What `postrider doctor` shows: one line a check, in words that say what to do. Facts come from the store and the engine.

use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use postrider_domain::alarm::{AlarmSeverity, remedy};
use postrider_domain::schedule::rfc3339;
use postrider_store::certificate::Certificate;
use postrider_store::doctor::DoctorFacts;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::problem::Problem;
use crate::rule::Rule;

/// How long the engine's part is waited for.
const ENGINE_WAIT: Duration = Duration::from_secs(10);

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/doctor",
        Rule::LocalOnly,
        Op::new("doctor", "doctor", "Looks at everything and says what is wrong")
            .about("May take a while: rows are counted, and DNS is asked about each sending domain (docs/domains.md).")
            .gives::<DoctorView>(200, "The checks."),
        doctor,
    );
}

/// The state of the installation.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct DoctorView {
    /// Whether no check is `bad`.
    ok: bool,
    /// The checks.
    checks: Vec<Check>,
}

/// One check.
#[derive(Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
struct Check {
    /// `ok`, `note` or `bad`.
    state: String,
    /// What was looked at.
    name: String,
    /// What was found and what to do.
    detail: String,
    /// The code of a finding about a sending domain or this host in DNS; see docs/domains.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// `red`, `amber` or `note`, beside a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    light: Option<String>,
    /// The sending domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    /// The name in DNS or the address that the finding is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<String>,
}

impl Check {
    fn of(state: &str, name: impl Into<String>, detail: impl Into<String>) -> Check {
        let (name, detail) = (name.into(), detail.into());
        Check { state: state.into(), name, detail, code: None, light: None, domain: None, about: None }
    }
}

fn check(good: bool, name: impl Into<String>, well: impl Into<String>, ill: impl Into<String>) -> Check {
    let (state, detail) = if good { ("ok", well.into()) } else { ("bad", ill.into()) };
    Check::of(state, name, detail)
}

fn note(name: impl Into<String>, detail: impl Into<String>) -> Check {
    Check::of("note", name, detail)
}

/// What the store's facts mean.
fn judge(facts: &DoctorFacts) -> Vec<Check> {
    let mut checks = vec![check(true, "database", facts.database, "")];
    for w in &facts.workspaces {
        let name = |what: &str| format!("{what} of {}", w.name);
        checks.push(check(
            w.ledger.is_whole(),
            name("consent ledger"),
            format!("{} entries, the chain is whole", w.ledger.entries),
            format!("{}; restore a backup and report it", w.ledger.faults.join("; ")),
        ));
        checks.push(check(
            w.contacts == w.contacts_counted,
            name("contacts"),
            w.contacts.to_string(),
            format!("there are {}, the counter says {}", w.contacts, w.contacts_counted),
        ));
        if !w.has_route {
            checks.push(note(name("routes"), "there is no default route: nothing can leave; `postrider route add`"));
        }
        if w.signing_domains.is_empty() {
            checks.push(note(name("sending domains"), "there is none: `postrider domain add`"));
        }
        for domain in &w.unsigned_domains {
            checks.push(check(false, name("sending domains"), "", format!("{domain} has no active DKIM key")));
        }
        if w.public_url.is_empty() {
            checks.push(note(name("public URL"), "it is not set: unsubscribe links cannot be made"));
        }
    }
    for c in &facts.campaigns {
        checks.push(check(
            c.balances() && c.agrees(),
            format!("ledger of {}", c.campaign),
            format!("{} deliveries, each accounted for once", c.rows.frozen),
            format!("counters {:?}, rows {:?}: they should be equal and balance; report it", c.counters, c.rows),
        ));
    }
    checks.push(note(
        "queue",
        format!(
            "{} unsettled, {} in doubt, {} held, {} imports waiting",
            facts.unsettled, facts.in_doubt, facts.held, facts.waiting_imports
        ),
    ));
    checks.push(note("tracking", "links stay as written and no pixel is added: opens and clicks are not counted yet"));
    checks
}

/// A certificate with less than this part of its time left should have been renewed long ago.
const LATE_PART: i64 = 6;

/// What the rows of our own certificates mean.
fn certificates(rows: &[Certificate], now: i64) -> Vec<Check> {
    let judge = |row: &Certificate| {
        let name = format!("certificate {}", row.names.join(" "));
        let trouble = row.last_error.as_ref().map(|why| {
            let next = row.next_try_at.map(|at| format!("; next try {}", rfc3339(at))).unwrap_or_default();
            format!("the last try failed: {why}{next}")
        });
        let Some(until) = row.not_after else {
            let why = trouble.unwrap_or_else(|| "it is being ordered".to_owned());
            return Check::of(if row.failures > 0 { "bad" } else { "note" }, name, format!("there is none yet; {why}"));
        };
        let life = until.saturating_sub(row.not_before.unwrap_or(until));
        let late = now > until - life / LATE_PART;
        let mut detail = format!("valid until {}", rfc3339(until));
        if late {
            detail.push_str("; it should have been renewed: see docs/certificates.md");
        }
        if let Some(trouble) = &trouble {
            detail = format!("{detail}; {trouble}");
        }
        let state = if late {
            "bad"
        } else if trouble.is_some() {
            "note"
        } else {
            "ok"
        };
        Check::of(state, name, detail)
    };
    rows.iter().map(judge).collect()
}

async fn doctor(State(web): State<Web>) -> Result<axum::Json<DoctorView>, Problem> {
    let store = web.store();
    let mut checks = judge(&store.doctor().await?);
    checks.extend(certificates(&store.certificates().await?, store.now()));
    let space = store.space()?;
    let mib = space.free / (1024 * 1024);
    checks.push(check(
        !space.low,
        "disk",
        format!("{mib} MiB are free"),
        format!("only {mib} MiB are free: nothing new is taken or sent; make room in {}", store.data().display()),
    ));
    for alarm in store.open_alarms().await? {
        let state = match alarm.severity {
            AlarmSeverity::Critical => "bad",
            AlarmSeverity::Warning => "note",
        };
        let known = if alarm.acknowledged_at.is_some() { " (acknowledged)" } else { "" };
        let detail = format!("{}{known} {}", alarm.sentence(), remedy(alarm.kind));
        checks.push(Check::of(state, format!("alarm {}", alarm.kind), detail));
    }
    // DNS, sending domains and the clock are the engine's: it alone may ask the network.
    let wait_ms = i64::try_from(ENGINE_WAIT.as_millis()).unwrap_or(i64::MAX);
    let inquiry = store.ask(None, "doctor", &json!({}), wait_ms).await?;
    let answer = store.wait_for_answer(None, inquiry, ENGINE_WAIT.min(web.config().inquiry_wait)).await?;
    let engine: Option<Vec<Check>> = answer.and_then(|mut a| serde_json::from_value(a["checks"].take()).ok());
    match engine {
        Some(more) => checks.extend(more),
        None => {
            checks.push(note("engine", "it did not answer in time: DNS, sending domains and clock were not looked at"))
        }
    }
    let ok = checks.iter().all(|c| c.state != "bad");
    Ok(axum::Json(DoctorView { ok, checks }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_bad_when_its_time_is_nearly_over() {
        const DAY: i64 = 86_400_000;
        let row = |until: Option<i64>, error: Option<&str>| Certificate {
            place: "acme mail.example.org".into(),
            names: vec!["mail.example.org".into()],
            chain: None,
            not_before: Some(0),
            not_after: until,
            version: 1,
            failures: u32::from(error.is_some()),
            last_error: error.map(str::to_owned),
            failed_at: None,
            next_try_at: None,
        };
        for (row, now, want) in [
            (row(Some(90 * DAY), None), 70 * DAY, "ok"),
            (row(Some(90 * DAY), Some("no answer")), 70 * DAY, "note"),
            (row(Some(90 * DAY), None), 76 * DAY, "bad"),
            (row(Some(90 * DAY), None), 91 * DAY, "bad"),
            (row(None, None), 0, "note"),
            (row(None, Some("no answer")), 0, "bad"),
        ] {
            let checks = certificates(std::slice::from_ref(&row), now);
            assert_eq!(checks[0].state, want, "{row:?}");
            if let Some(error) = &row.last_error {
                assert!(checks[0].detail.contains(error.as_str()), "{:?}", checks[0]);
            }
        }
    }
}
