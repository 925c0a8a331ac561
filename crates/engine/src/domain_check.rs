//! Whether a sending domain and this host are set up so that receivers believe our mail: what DNS says, and what to do.
//!
//! Asks DNS through the engine's resolver and nothing else. Must not decide what follows: a red finding is only told.
//!
//! ```text
//! code       the closed list of findings with state, meaning and remedy     look      questions with a limit of time
//! spf        SPF of a name, counted as RFC 7208 4.6.4 counts                policy    DMARC by RFC 9989's tree walk
//! identity   DKIM keys and the return-path                                  host      EHLO name, PTR, public host
//! records    the records to publish, one by one, as the pages show them    port    port 25 of others
//! ```

mod code;
mod host;
mod identity;
mod look;
mod policy;
mod port;
mod records;
mod spf;

use std::collections::BTreeSet;
use std::net::IpAddr;

use postrider_domain::egress::SourceState;
use postrider_domain::id::{DomainId, WorkspaceId};
use postrider_domain::route::RouteKind;
use postrider_domain::signing_key::{KeyState, OLD_MS};
use postrider_mail::mailbox::DomainName;
use postrider_store::StoreError;
use postrider_store::domain::{DkimKey, SendingDomain};
use postrider_store::egress::EgressSource;
use postrider_store::inquiry::Inquiry;
use serde_json::{Value, json};

pub use code::{FindingCode, FindingState};

use crate::shared::Shared;
use look::Look;

/// More egress sources are not looked at.
const MOST_SOURCES: usize = 32;
/// How many domains are looked at together when the doctor asks.
const TOGETHER: usize = 8;
/// The doctor's answer for all domains is cut off after this time: a person waits for it.
const DOCTOR: std::time::Duration = std::time::Duration::from_secs(8);

/// Something that was found out about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    code: FindingCode,
    /// The name in DNS, or the host.
    about: String,
    found: String,
    /// What should be there, where it is more than the code says.
    want: Option<String>,
}

impl Finding {
    fn new(code: FindingCode, about: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { code, about: about.into(), found: shown(&found.into()), want: None }
    }

    fn wanting(mut self, want: impl Into<String>) -> Finding {
        self.want = Some(want.into());
        self
    }

    fn json(&self) -> Value {
        let row = self.code.row();
        json!({
            "code": self.code.as_str(), "state": row.state.as_str(), "about": self.about, "found": self.found,
            "want": self.want.as_deref().unwrap_or(row.want), "remedy": row.remedy,
        })
    }
}

/// DNS is hostile: no control characters, and not endless.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(600).collect();
    if text.chars().count() > 600 {
        shown.push('…');
    }
    shown
}

/// How a workspace's mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// From this host to MX hosts, with some routes at least.
    Directly,
    /// Only through relays, which speak for themselves.
    ThroughRelays,
}

/// What is known of a sending domain before DNS is asked.
pub(crate) struct Subject {
    name: DomainName,
    return_path: DomainName,
    /// Selector and TXT record of the keys that sign.
    keys: Vec<(String, String)>,
    /// The other keys that have a record to look after.
    others: Vec<OtherKey>,
    /// Keys that have signed for longer than they should.
    old: Vec<String>,
    leaves: Leaves,
    /// Where reports and clicks of the workspace come to.
    public_url: String,
}

/// A key that does not sign.
pub(crate) struct OtherKey {
    selector: String,
    record: String,
    state: KeyState,
}

impl Subject {
    fn of(domain: &SendingDomain, leaves: Leaves, public_url: &str, now: i64) -> Option<Subject> {
        let others = domain.keys.iter().filter_map(|key| match key.state(now) {
            KeyState::Active | KeyState::Revoked => None,
            state @ (KeyState::Pending | KeyState::Retired | KeyState::Revocable) => {
                Some(OtherKey { selector: key.selector.clone(), record: key.public_txt.clone(), state })
            }
        });
        let is_old = |key: &&DkimKey| key.signs() && key.activated_at.is_some_and(|since| now - since > OLD_MS);
        let active = domain.keys.iter().filter(|key| key.signs());
        Some(Subject {
            name: DomainName::parse(&domain.name).ok()?,
            return_path: DomainName::parse(&domain.return_path_host).ok()?,
            keys: active.map(|key| (key.selector.clone(), key.public_txt.clone())).collect(),
            leaves,
            others: others.collect(),
            old: domain.keys.iter().filter(is_old).map(|key| key.selector.clone()).collect(),
            public_url: public_url.to_owned(),
        })
    }
}

/// All about one domain; `egress` are the addresses that this host is known by.
async fn examine(look: &Look<'_>, subject: &Subject, egress: &[IpAddr]) -> Vec<Finding> {
    let ours = match subject.leaves {
        Leaves::Directly => egress,
        Leaves::ThroughRelays => &[],
    };
    let (spf, dkim, dmarc, path, public, more) = tokio::join!(
        spf::of_return_path(look, subject.return_path.as_str(), ours),
        identity::keys(look, subject),
        policy::check(look, &subject.name, &subject.return_path),
        identity::return_path(look, &subject.return_path),
        host::public_host(look, &subject.public_url),
        identity::extras(look, subject),
    );
    let mut findings: Vec<Finding> = [spf, dkim, dmarc, path, public, more].into_iter().flatten().collect();
    once(&mut findings);
    findings
}

/// The same thing is told once, and the worst comes first.
fn once(findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    findings.retain(|finding| seen.insert((finding.code, finding.about.clone())));
    findings.sort_by_key(|finding| finding.code.row().state);
}

async fn leaves(shared: &Shared, workspace: WorkspaceId) -> Result<Leaves, StoreError> {
    let routes = shared.store.routes(workspace).await?;
    let direct = routes.iter().any(|route| match route.settings.kind {
        RouteKind::Mx => true,
        RouteKind::Smarthost => false,
    });
    // Without any route nothing leaves yet; the host is looked at, since that is what a new route would use.
    Ok(if direct || routes.is_empty() { Leaves::Directly } else { Leaves::ThroughRelays })
}

/// Looks at a sending domain and keeps the result.
///
/// # Errors
/// The workspace has no such domain, or the store fails.
pub(crate) async fn check_domain(shared: &Shared, inquiry: &Inquiry) -> Result<Value, StoreError> {
    let id = inquiry.args["domain"].as_str().and_then(|id| id.parse::<DomainId>().ok());
    let (Some(workspace), Some(id)) = (inquiry.workspace, id) else {
        return Err(StoreError::NotFound { what: "domain" });
    };
    let domain = shared.store.domain(workspace, id).await?;
    let place = shared.store.workspace(workspace).await?;
    let leaves = leaves(shared, workspace).await?;
    let subject =
        Subject::of(&domain, leaves, &place.public_url, shared.now()).ok_or(StoreError::NotFound { what: "domain" })?;
    let look = Look::new(shared.config.resolver.as_ref());
    let wanted = inquiry.args["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let host = this_host(shared, &look, leaves).await?;
    let (own, records, port) = tokio::join!(
        examine(&look, &subject, &host.addresses),
        records::compare(&look, wanted),
        port::check(shared, leaves)
    );
    let mut findings = host.findings;
    findings.extend(own);
    findings.extend(port);
    once(&mut findings);
    let worst = findings.iter().map(|finding| finding.code.row().state).min();
    let now = postrider_domain::schedule::rfc3339(shared.now());
    // When it was in order last: one that never was has not turned red.
    let good_at = match worst {
        Some(FindingState::Red) => domain.checked.as_ref().map(|before| before["good_at"].clone()),
        Some(FindingState::Amber | FindingState::Note) | None => Some(json!(now)),
    };
    let answer = json!({
        "ok": worst != Some(FindingState::Red),
        "state": light(worst),
        "at": now,
        "good_at": good_at,
        "domain": domain.name,
        "records": records,
        "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
    });
    shared.store.domain_checked(workspace, id, &answer).await?;
    Ok(answer)
}

/// This host under its own name, and every egress source that takes mail.
async fn this_host(shared: &Shared, look: &Look<'_>, leaves: Leaves) -> Result<host::Host, StoreError> {
    let mut found = host::check(look, &shared.config.ehlo_name, leaves).await;
    match leaves {
        Leaves::ThroughRelays => {}
        Leaves::Directly => {
            let sources = shared.store.egress_sources().await?;
            let takes = |source: &&EgressSource| source.settings.state != SourceState::Off;
            for source in sources.iter().filter(takes).take(MOST_SOURCES) {
                host::source(look, &source.settings, &mut found).await;
            }
        }
    }
    Ok(found)
}

/// The light of a whole domain: notes do not count.
fn light(worst: Option<FindingState>) -> &'static str {
    match worst {
        Some(FindingState::Red) => "red",
        Some(FindingState::Amber) => "amber",
        Some(FindingState::Note) | None => "green",
    }
}

/// All domains of all workspaces and this host, as lines of the doctor. Nothing is kept.
pub(crate) async fn for_doctor(shared: &Shared) -> Result<Vec<Value>, StoreError> {
    let look = Look::new(shared.config.resolver.as_ref());
    let mut subjects = Vec::new();
    for workspace in shared.store.workspaces().await? {
        let domains = shared.store.domains(workspace.id).await?;
        if domains.is_empty() {
            continue;
        }
        let leaves = leaves(shared, workspace.id).await?;
        let now = shared.now();
        subjects.extend(domains.iter().filter_map(|domain| Subject::of(domain, leaves, &workspace.public_url, now)));
    }
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let direct = subjects.iter().any(|subject| subject.leaves == Leaves::Directly);
    let leaves = if direct { Leaves::Directly } else { Leaves::ThroughRelays };
    let until = tokio::time::Instant::now() + DOCTOR;
    let ehlo = &shared.config.ehlo_name;
    let host = match tokio::time::timeout_at(until, this_host(shared, &look, leaves)).await {
        Ok(host) => host?,
        Err(_) => {
            let finding = Finding::new(FindingCode::DnsSilent, ehlo.clone(), "not looked at in time");
            host::Host { addresses: Vec::new(), findings: vec![finding] }
        }
    };
    let port = port::check(shared, leaves).await;
    let mut lines: Vec<Value> = host.findings.iter().chain(port.as_ref()).map(|finding| line(finding, None)).collect();
    let mut told: BTreeSet<(FindingCode, String)> = BTreeSet::new();
    for part in subjects.chunks(TOGETHER) {
        let all = part.iter().map(|subject| examine(&look, subject, &host.addresses));
        let Ok(found) = tokio::time::timeout_at(until, futures_util::future::join_all(all)).await else {
            let names: Vec<&str> = part.iter().map(|subject| subject.name.as_str()).collect();
            let finding = Finding::new(FindingCode::DnsSilent, names.join(", "), "not looked at in time");
            lines.push(line(&finding, None));
            continue;
        };
        for (subject, findings) in part.iter().zip(found) {
            let state = light(findings.iter().map(|finding| finding.code.row().state).min());
            if state == "green" {
                lines.push(json!({
                    "name": format!("domain {}", subject.name), "state": "ok", "domain": subject.name.as_str(),
                    "detail": "DNS says what it should",
                }));
            }
            // What two domains share, such as a return-path host, is told with the first of them.
            let fresh = findings.iter().filter(|finding| told.insert((finding.code, finding.about.clone())));
            lines.extend(fresh.map(|finding| line(finding, Some(subject))));
        }
    }
    Ok(lines)
}

fn line(finding: &Finding, subject: Option<&Subject>) -> Value {
    let row = finding.code.row();
    let state = match row.state {
        FindingState::Red => "bad",
        FindingState::Amber | FindingState::Note => "note",
    };
    let want = finding.want.as_deref().unwrap_or(row.want);
    let detail = match row.state {
        FindingState::Note => format!("{}: {}", finding.about, finding.found),
        FindingState::Red | FindingState::Amber => {
            format!("{}: {}; there should be {want}. {}", finding.about, finding.found, row.remedy)
        }
    };
    let name = subject.map_or_else(|| "this host".to_owned(), |subject| format!("domain {}", subject.name));
    json!({
        "name": name, "state": state, "detail": detail, "code": finding.code.as_str(), "light": row.state.as_str(),
        "domain": subject.map(|subject| subject.name.as_str()), "about": finding.about,
    })
}

#[cfg(test)]
mod tests;
