//! What is asked of TLS with a recipient domain and its hosts: rules, MTA-STS and DANE brought together, and counts of
//! what came of it.
//!
//! The decision itself is `postrider_smtp::ladder`. Must not know messages or the queue.

mod source;
mod sts;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_domain::id::WorkspaceId;
use postrider_domain::route::{RouteKind, TlsDemand, TlsMode as RouteTls};
use postrider_domain::stream::TlsWish;
use postrider_smtp::dane::Dane;
use postrider_smtp::dnssec::{MxSecurity, SecureLookup};
use postrider_smtp::ladder::{ClearRetry, Demand, DomainPolicy, HostFacts, NameTrust};
use postrider_smtp::tls_report::{Finding, PolicyKind};
use postrider_store::transport::{TlsResult, day_of};

use crate::plan::Plan;
use crate::shared::{Phase, Shared};

pub use source::{DnsForFetch, PolicyFault, PolicySource, WebPolicies};

/// A workspace's rules are read again after so many milliseconds.
const RULES_MS: i64 = 2_000;
/// Counts are written down this often.
const FLUSH: Duration = Duration::from_secs(5);
/// Counts are kept so many days: reports are sent for the day before, and people look back a month.
const KEEP_DAYS: i64 = 40;
/// Rows deleted in one transaction.
const SLICE: u32 = 500;

/// Settings of the ladder.
#[derive(Clone, Default)]
pub struct TransportConfig {
    /// Fetches MTA-STS policies; without it no domain has one.
    pub policies: Option<Arc<dyn PolicySource>>,
    /// Asks the trusted resolver; without it there is no DANE.
    pub secure: Option<Arc<dyn SecureLookup>>,
    /// Whether a failed handshake may be followed by one try in clear where nothing asks for TLS.
    pub clear_retry: ClearRetry,
}

type Rules = Arc<HashMap<String, Demand>>;

/// Day, policy domain, policy type, result type, host.
type CountKey = (i64, String, &'static str, &'static str, String);

/// What this node knows and counts.
#[derive(Default)]
pub(crate) struct Transport {
    sts: sts::StsBook,
    rules: Mutex<HashMap<WorkspaceId, (i64, Rules)>>,
    counts: Mutex<HashMap<CountKey, i64>>,
}

impl Transport {
    /// What is asked of a recipient domain on a route to MX hosts.
    pub(crate) async fn policy(&self, shared: &Shared, plan: &Plan, domain: &str) -> DomainPolicy {
        let config = &shared.config.transport;
        let rule = self.rule(shared, plan.workspace, domain).await;
        let settings = &plan.route.settings;
        let demand = match (rule, settings.kind) {
            // A smarthost is no host of the recipient's: its route says everything, but what must hold on the way behind it.
            (rule, RouteKind::Smarthost) => {
                let demand = rule.filter(|rule| *rule == Demand::RequireTls).unwrap_or_default();
                return DomainPolicy { domain: domain.to_owned(), demand, ..DomainPolicy::default() };
            }
            (Some(rule), RouteKind::Mx) => rule,
            (None, RouteKind::Mx) => match (settings.tls, settings.accept_any_certificate) {
                (RouteTls::Opportunistic, _) => Demand::Ladder,
                (RouteTls::Required | RouteTls::Implicit, false) => Demand::Verified,
                (RouteTls::Required | RouteTls::Implicit, true) => Demand::Encrypted,
                (RouteTls::None, _) => Demand::Clear,
            },
        };
        let mut policy = DomainPolicy {
            domain: domain.to_owned(),
            demand,
            clear_retry: config.clear_retry,
            ..DomainPolicy::default()
        };
        if let Some(source) = &config.policies {
            let (sts, fault) = self.sts.policy(shared, source, domain).await;
            policy.sts = sts;
            if let Some(result) = fault {
                self.count(shared, domain, &[Finding::failed(PolicyKind::Sts, result, "")]);
            }
        }
        policy
    }

    /// What is known of a host before it is connected to.
    pub(crate) async fn facts(&self, shared: &Shared, domain: &str, host: &str) -> HostFacts {
        let Some(secure) = &shared.config.transport.secure else {
            return HostFacts { host: host.to_owned(), dane: Dane::NotAsked, name: NameTrust::Dns };
        };
        // RFC 7672 2.2.1: the host's records prove nothing while its name may have been put there by anybody.
        let (dane, name) = match secure.mx(domain).await {
            MxSecurity::Secure => (secure.tlsa(host).await, NameTrust::Signed),
            MxSecurity::Insecure => (Dane::Insecure, NameTrust::Dns),
            MxSecurity::Failed(why) => (Dane::Failed(why), NameTrust::Dns),
        };
        HostFacts { host: host.to_owned(), dane, name }
    }

    async fn rule(&self, shared: &Shared, workspace: WorkspaceId, domain: &str) -> Option<Demand> {
        let now = shared.monotonic();
        let known =
            lock(&self.rules).get(&workspace).filter(|(until, _)| now < *until).map(|(_, rules)| Arc::clone(rules));
        let rules = match known {
            Some(rules) => rules,
            None => match shared.store.tls_rules(workspace).await {
                Ok(rows) => {
                    let rules: Rules = Arc::new(rows.into_iter().map(|row| (row.domain, demand(row.demand))).collect());
                    lock(&self.rules).insert(workspace, (now + RULES_MS, Arc::clone(&rules)));
                    rules
                }
                Err(error) => {
                    shared.complain("read the TLS rules", &error);
                    // The last word stands: a rule that asks for TLS must not fall because of a busy database.
                    lock(&self.rules).get(&workspace).map(|(_, rules)| Arc::clone(rules)).unwrap_or_default()
                }
            },
        };
        rules.get(domain).copied()
    }

    /// Counts what came of a session with one of a domain's hosts.
    pub(crate) fn count(&self, shared: &Shared, domain: &str, findings: &[Finding]) {
        let day = day_of(shared.now());
        let mut counts = lock(&self.counts);
        for finding in findings {
            let key = (day, domain.to_owned(), finding.policy.as_str(), finding.result.as_str(), finding.host.clone());
            *counts.entry(key).or_default() += 1;
        }
    }

    /// Writes the counts down, until the engine has ended.
    pub(crate) async fn run(shared: Arc<Shared>) {
        let mut swept = 0;
        loop {
            let more = tokio::select! {
                () = tokio::time::sleep(FLUSH) => true,
                () = shared.reached(Phase::Ended) => false,
            };
            shared.transport.flush(&shared).await;
            let today = day_of(shared.now());
            if swept < today {
                swept = today;
                sweep(&shared, today).await;
            }
            if !more {
                return;
            }
        }
    }

    /// Writes the counts down now.
    pub(crate) async fn flush(&self, shared: &Shared) {
        let counts = std::mem::take(&mut *lock(&self.counts));
        let rows: Vec<TlsResult> = counts
            .into_iter()
            .map(|((day, domain, policy, result, mx_host), n)| TlsResult {
                day,
                domain,
                policy: policy.to_owned(),
                result: result.to_owned(),
                mx_host,
                n,
            })
            .collect();
        if let Err(error) = shared.store.count_tls(shared.node, &rows).await {
            shared.complain("write down counts of TLS", &error);
        }
    }
}

async fn sweep(shared: &Shared, today: i64) {
    while shared.is_running() {
        match shared.store.forget_transport(today - KEEP_DAYS, today, SLICE).await {
            Ok(0) => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => return shared.complain("delete old counts of TLS", &error),
        }
    }
}

/// What is asked of TLS for one message: its sender's wish beside what the operator and the recipient's domain ask for.
pub(crate) const fn wished(demand: Demand, wish: Option<TlsWish>) -> Demand {
    match (wish, demand) {
        (None, demand) => demand,
        // RFC 8689 4.3: nothing of ours may weaken it, and with it the header field counts for nothing.
        (Some(TlsWish::Require), _) => Demand::RequireTls,
        // RFC 8689 5 sets aside what the recipient's domain publishes. What the operator asks for stands.
        (Some(TlsWish::Optional), Demand::Ladder) => Demand::Opportunistic,
        (Some(TlsWish::Optional), demand) => demand,
    }
}

const fn demand(word: TlsDemand) -> Demand {
    match word {
        TlsDemand::Encrypted => Demand::Encrypted,
        TlsDemand::Verified => Demand::Verified,
        TlsDemand::RequireTls => Demand::RequireTls,
        TlsDemand::Opportunistic => Demand::Opportunistic,
        TlsDemand::Clear => Demand::Clear,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_tls_wins_and_a_wish_for_none_sets_only_the_domain_aside() {
        for asked in Demand::ALL {
            assert_eq!(wished(asked, None), asked);
            assert_eq!(wished(asked, Some(TlsWish::Require)), Demand::RequireTls);
            let relaxed = if asked == Demand::Ladder { Demand::Opportunistic } else { asked };
            assert_eq!(wished(asked, Some(TlsWish::Optional)), relaxed);
        }
    }
}
