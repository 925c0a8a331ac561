//! Inquiries: what a person waits for and only the engine may do: DNS, a dialogue with a route's host.
//!
//! The answers are JSON that web passes on as it is. A remote refusal is an answer, never an error. Must not know the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_domain::id::RouteId;
use postrider_domain::route::RouteKind;
use postrider_mail::mailbox::DomainName;
use postrider_smtp::ladder::DomainPolicy;
use postrider_smtp::{MxAnswer, MxHost, ResolveError};
use postrider_store::inquiry::Inquiry;
use postrider_store::{StoreError, Topic};
use serde_json::{Value, json};

use crate::book::Book;
use crate::connections::{reach, timeouts};
use crate::scheduler::{Leaving, Scheduler};
use crate::shared::{Phase, Shared};

/// A person waits at most this long for a host: the dialogue is cut to it.
const LONGEST: Duration = Duration::from_secs(13);
/// Questions answered at the same time.
const AT_ONCE: usize = 8;

/// Runs until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>, scheduler: Arc<Scheduler>) {
    let mut bell = shared.store.bell().listen();
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    while shared.is_running() {
        match shared.store.take_inquiry().await {
            Ok(Some(inquiry)) => {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let (shared, scheduler) = (Arc::clone(&shared), Arc::clone(&scheduler));
                tokio::spawn(async move {
                    let _place = place;
                    respond(&shared, &scheduler, inquiry).await;
                });
                continue;
            }
            Ok(None) => {}
            Err(error) => shared.complain("ask for the next inquiry", &error),
        }
        tokio::select! {
            () = tokio::time::sleep(shared.config.times.poll) => {}
            () = shared.reached(Phase::Stopping) => return,
            () = ring(&mut bell) => {}
        }
    }
}

async fn ring(bell: &mut tokio::sync::broadcast::Receiver<Topic>) {
    loop {
        match bell.recv().await {
            Ok(Topic::Inquiry) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            Ok(Topic::Work | Topic::Campaign | Topic::Import | Topic::Live { .. }) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn respond(shared: &Shared, scheduler: &Scheduler, inquiry: Inquiry) {
    let begun = Instant::now();
    let answered = tokio::time::timeout(LONGEST, answer(shared, scheduler, &inquiry)).await;
    let answer = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(StoreError::NotFound { what })) => json!({ "ok": false, "text": format!("there is no such {what}") }),
        Ok(Err(error)) => {
            shared.complain("answer an inquiry", &error);
            json!({ "ok": false, "text": "the store could not be asked: see the log of the server" })
        }
        Err(_) => json!({ "ok": false, "text": format!("no answer within {} s", LONGEST.as_secs()) }),
    };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(event = "inquiry.answered", inquiry = %inquiry.id, kind = inquiry.kind, ms);
    if let Err(error) = shared.store.answer(inquiry.id, &answer).await {
        shared.complain("answer an inquiry", &error);
    }
}

async fn answer(shared: &Shared, scheduler: &Scheduler, inquiry: &Inquiry) -> Result<Value, StoreError> {
    match inquiry.kind.as_str() {
        "dns" | "resolve" => Ok(where_mail_goes(shared, inquiry.args["domain"].as_str().unwrap_or_default()).await),
        "domain_check" | "dns_check" => crate::domain_check::check_domain(shared, inquiry).await,
        "route_test" => test_route(shared, inquiry).await,
        "relay_proof" => crate::relay_proof::look(shared, inquiry).await,
        "own_addresses" => Ok(own_addresses(shared, inquiry)),
        "waiting" => Ok(what_waits(scheduler, inquiry)),
        "doctor" => {
            let mut checks = vec![clock(shared), dns(shared).await];
            checks.extend(crate::domain_check::for_doctor(shared).await?);
            Ok(json!({ "ok": true, "checks": checks }))
        }
        other => Ok(json!({ "ok": false, "text": format!("this engine knows no question `{other}`") })),
    }
}

/// Whether the clock can be right: signatures and Date fields depend on it.
fn clock(shared: &Shared) -> Value {
    let now = shared.store.now();
    let text = postrider_domain::schedule::rfc3339(now);
    // A clock that was never set begins in 1970 or at the firmware's date, long before this program was written.
    let sane = now > 1_767_225_600_000;
    let detail = if sane { text } else { format!("{text} lies before this program was written: set the clock (NTP)") };
    json!({ "name": "clock", "state": if sane { "ok" } else { "bad" }, "detail": detail })
}

/// Whether the name server answers at all, for a name that needs no packet to leave a working resolver's zone.
async fn dns(shared: &Shared) -> Value {
    let (state, detail) = match shared.config.resolver.addresses("localhost").await {
        Ok(_) | Err(ResolveError::NotFound) => ("ok", "the name server answers".to_owned()),
        Err(ResolveError::Temporary(why)) => {
            ("bad", format!("the name server does not answer ({why}): set smtp.dns_server or the system's resolver"))
        }
    };
    json!({ "name": "DNS", "state": state, "detail": detail })
}

/// Where mail for a domain goes, and to which site that belongs.
async fn where_mail_goes(shared: &Shared, domain: &str) -> Value {
    let name = match DomainName::parse(domain) {
        Ok(name) => name,
        Err(error) => return json!({ "ok": false, "text": format!("the domain is not usable: {error}") }),
    };
    let resolver = &shared.config.resolver;
    match resolver.mx(&name).await {
        Ok(MxAnswer::NullMx) => {
            json!({ "ok": false, "domain": name.as_str(), "state": "null_mx", "text": "the domain says that it takes no mail" })
        }
        Ok(MxAnswer::Hosts(hosts)) => {
            let mut list = Vec::new();
            for host in &hosts {
                let (addresses, problem) = match resolver.addresses(&host.name).await {
                    Ok(addresses) => (addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), None),
                    Err(error) => (Vec::new(), Some(error.to_string())),
                };
                list.push(json!({ "name": host.name, "preference": host.preference, "addresses": addresses, "problem": problem }));
            }
            let site = crate::sites::site_of(&hosts);
            json!({ "ok": true, "domain": name.as_str(), "state": "found", "site": site, "hosts": list })
        }
        Err(ResolveError::NotFound) => json!({
            "ok": false, "domain": name.as_str(), "state": "no_mail_server",
            "text": "the domain does not exist or has neither MX nor address record",
        }),
        Err(ResolveError::Temporary(why)) => json!({
            "ok": false, "domain": name.as_str(), "state": "unknown", "text": format!("DNS gave no answer: {why}"),
        }),
    }
}

/// Which of some addresses this machine does not have.
fn own_addresses(shared: &Shared, inquiry: &Inquiry) -> Value {
    let named = inquiry.args["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str).take(10);
    let missing: Vec<&str> = named.filter(|text| !text.parse().is_ok_and(postrider_smtp::dial::is_own)).collect();
    json!({ "ok": missing.is_empty(), "node": shared.node.id, "missing": missing })
}

/// What of a workspace is ready and does not leave from this node, and why.
fn what_waits(scheduler: &Scheduler, inquiry: &Inquiry) -> Value {
    let campaign = inquiry.args["campaign"].as_str();
    let waiting: Vec<Value> = scheduler
        .waiting()
        .into_iter()
        .filter(|w| Some(w.workspace) == inquiry.workspace)
        .filter(|w| campaign.is_none() || campaign == w.campaign.map(|c| c.to_string()).as_deref())
        .map(|w| {
            let until = w.until.map(postrider_domain::schedule::rfc3339);
            json!({ "campaign": w.campaign, "site": w.site, "reason": w.reason.as_str(), "until": until })
        })
        .collect();
    json!({ "ok": true, "waiting": waiting })
}

/// Connects to a route's host as for a delivery, up to the login, and says QUIT. The host's own words are the answer.
async fn test_route(shared: &Shared, inquiry: &Inquiry) -> Result<Value, StoreError> {
    let id = inquiry.args["route"].as_str().and_then(|id| id.parse::<RouteId>().ok());
    let (Some(workspace), Some(id)) = (inquiry.workspace, id) else {
        return Err(StoreError::NotFound { what: "route" });
    };
    // Read anew: a person tests what was changed a moment ago.
    let route = Book::new(shared.store.clone()).route(workspace, Some(id)).await?;
    match route.settings.kind {
        RouteKind::Mx => {
            return Ok(json!({
                "ok": true,
                "text": "this route goes to the MX hosts of each recipient's domain and has no host of its own; \
                         a test send shows whether their port can be reached from here",
            }));
        }
        RouteKind::Smarthost => {}
    }
    let relays = route.settings.relay_hosts();
    // The first host, or the one that the person names.
    let named = inquiry.args["host"].as_str();
    let Some(relay) = relays.iter().find(|relay| named.is_none_or(|name| name == relay.host)) else {
        return Ok(json!({ "ok": false, "text": "the route has no such host" }));
    };
    let hosts = [MxHost { preference: 0, name: relay.host.clone() }];
    let begun = Instant::now();
    let cap = i64::try_from(LONGEST.as_millis() / 2).unwrap_or(i64::MAX);
    let reached =
        reach(shared, &route, &hosts, timeouts(shared, Some(cap)), &DomainPolicy::default(), &Leaving::default()).await;
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(match reached {
        Ok(open) => {
            let connection = &open.connection;
            let capabilities = connection.capabilities();
            let answer = json!({
                "ok": true,
                "host": open.host,
                "ip": open.ip.to_string(),
                "port": relay.port,
                "ms": ms,
                "greeting": connection.greeting().text(),
                "tls": open.tls,
                "logged_in": !relay.username.is_empty(),
                "capabilities": capabilities.lines,
                "text": "the host lets us in",
            });
            open.connection.quit().await;
            answer
        }
        Err(unreached) => json!({
            "ok": false,
            "host": unreached.host,
            "ip": unreached.ip,
            "port": relay.port,
            "ms": ms,
            "stage": unreached.ended.stage.as_str(),
            "code": unreached.ended.code,
            "enhanced": unreached.ended.enhanced,
            "text": unreached.ended.text,
        }),
    })
}
