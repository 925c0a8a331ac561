//! MTA-STS policies of domains: looked for, fetched, kept, and followed until their time is over (RFC 8461).
//!
//! The last good policy stands until its max_age, whatever becomes of the domain's DNS and web host: who could make it
//! vanish could read the mail. Must not know hosts or TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use postrider_smtp::ResolveError;
use postrider_smtp::ladder::Sts;
use postrider_smtp::sts::{StsMode, StsPolicy, policy_id};
use postrider_smtp::tls_report::ResultKind;
use postrider_store::transport::StsRow;

use super::lock;
use super::source::{PolicyFault, PolicySource};
use crate::shared::Shared;

/// A domain with a policy is asked for a newer one after this time, in milliseconds.
const LOOK_MS: i64 = 60_000;
/// A domain without one, too.
const LOOK_NONE_MS: i64 = 300_000;
/// After a fetch that failed (RFC 8461 3.3 asks for five minutes or more).
const LOOK_FAILED_MS: i64 = 300_000;
/// A policy is fetched again after this time although its id is the same, so that it does not run out.
const REFRESH_MS: i64 = 86_400_000;
/// Domains remembered; beyond that those whose time has come are dropped, then any.
const MOST_DOMAINS: usize = 50_000;

/// What is known about the policies of domains.
#[derive(Default)]
pub(super) struct StsBook {
    known: Mutex<HashMap<String, Known>>,
    /// Domains that somebody asks about: others who ask at the same time wait for the answer.
    asking: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    /// The last good policy, its id, and until when it may be followed, in milliseconds UTC.
    policy: Option<(Arc<StsPolicy>, String, i64)>,
    fetched_at: i64,
    /// When to look again, by the monotonic clock.
    look_at: i64,
}

impl Known {
    fn stands(&self, now: i64) -> Sts {
        match &self.policy {
            Some((policy, _, until)) if now < *until => match policy.mode {
                StsMode::Enforce => Sts::Enforce(Arc::clone(policy)),
                StsMode::Testing => Sts::Testing(Arc::clone(policy)),
                StsMode::None => Sts::None,
            },
            Some(_) | None => Sts::None,
        }
    }
}

impl StsBook {
    /// What MTA-STS says about a domain now, and what went wrong when a policy was looked for this time.
    pub(super) async fn policy(
        &self,
        shared: &Shared,
        source: &Arc<dyn PolicySource>,
        domain: &str,
    ) -> (Sts, Option<ResultKind>) {
        if let Some(known) = self.fresh(shared, domain) {
            return (known.stands(shared.now()), None);
        }
        let turn = Arc::clone(lock(&self.asking).entry(domain.to_owned()).or_default());
        let (known, fault) = {
            let _turn = turn.lock().await;
            match self.fresh(shared, domain) {
                Some(known) => (known, None),
                None => {
                    let (known, fault) = self.look(shared, source, domain).await;
                    self.remember(shared, domain, known.clone());
                    (known, fault)
                }
            }
        };
        let mut asking = lock(&self.asking);
        // The list and this caller: nobody else waits.
        if Arc::strong_count(&turn) <= 2 {
            asking.remove(domain);
        }
        drop(asking);
        (known.stands(shared.now()), fault)
    }

    fn fresh(&self, shared: &Shared, domain: &str) -> Option<Known> {
        lock(&self.known).get(domain).filter(|known| shared.monotonic() < known.look_at).cloned()
    }

    fn remember(&self, shared: &Shared, domain: &str, known: Known) {
        let mut all = lock(&self.known);
        if all.len() >= MOST_DOMAINS {
            let now = shared.monotonic();
            all.retain(|_, known| now < known.look_at);
        }
        if all.len() >= MOST_DOMAINS {
            // The store has every policy that may still be followed; any of these can be dropped.
            let some: Vec<String> = all.keys().take(MOST_DOMAINS / 16).cloned().collect();
            for name in some {
                all.remove(&name);
            }
        }
        all.insert(domain.to_owned(), known);
    }

    async fn look(&self, shared: &Shared, source: &Arc<dyn PolicySource>, domain: &str) -> (Known, Option<ResultKind>) {
        let before = lock(&self.known).get(domain).cloned();
        let mut known = match before {
            Some(known) => known,
            None => self.kept(shared, domain).await,
        };
        let now = shared.now();
        let later = |known: &mut Known, ms: i64| known.look_at = shared.monotonic() + ms;
        let txt = shared.config.resolver.txt(&format!("_mta-sts.{domain}")).await;
        let id = match txt {
            Ok(records) => policy_id(&records),
            // RFC 8461 3.1: no record is no news about a policy that is known already.
            Err(ResolveError::NotFound) => None,
            Err(ResolveError::Temporary(_)) => {
                later(&mut known, LOOK_MS);
                return (known, None);
            }
        };
        let Some(id) = id else {
            later(&mut known, LOOK_NONE_MS);
            return (known, None);
        };
        let current = known.policy.as_ref().is_some_and(|(_, have, until)| *have == id && now < *until);
        if current && now - known.fetched_at < REFRESH_MS {
            later(&mut known, LOOK_MS);
            return (known, None);
        }
        let fetched = source
            .fetch(domain)
            .await
            .and_then(|text| StsPolicy::parse(&text).map_err(|error| PolicyFault::Invalid(error.to_string())));
        match fetched {
            Ok(policy) => {
                let row = StsRow {
                    domain: domain.to_owned(),
                    policy_id: id.clone(),
                    mode: policy.mode.as_str().to_owned(),
                    mx: policy.mx.clone(),
                    max_age: i64::try_from(policy.max_age).unwrap_or(0),
                    fetched_at: now,
                };
                if let Err(error) = shared.store.keep_sts_policy(&row).await {
                    shared.complain("keep an MTA-STS policy", &error);
                }
                known.policy = Some((Arc::new(policy), id, now + row.max_age * 1_000));
                known.fetched_at = now;
                later(&mut known, LOOK_MS);
                (known, None)
            }
            Err(fault) => {
                tracing::info!(event = "mta_sts.not_fetched", domain, why = %fault);
                later(&mut known, LOOK_FAILED_MS);
                let result = match fault {
                    PolicyFault::Fetch(_) => ResultKind::StsPolicyFetchError,
                    PolicyFault::Certificate(_) => ResultKind::StsWebpkiInvalid,
                    PolicyFault::Invalid(_) => ResultKind::StsPolicyInvalid,
                };
                (known, Some(result))
            }
        }
    }

    async fn kept(&self, shared: &Shared, domain: &str) -> Known {
        match shared.store.sts_policy(domain).await {
            Ok(Some(row)) => read(row).unwrap_or_default(),
            Ok(None) => Known::default(),
            Err(error) => {
                shared.complain("read an MTA-STS policy", &error);
                Known::default()
            }
        }
    }
}

fn read(row: StsRow) -> Option<Known> {
    let mode = StsMode::parse(&row.mode)?;
    let policy = StsPolicy { mode, mx: row.mx, max_age: u64::try_from(row.max_age).ok()? };
    Some(Known {
        policy: Some((Arc::new(policy), row.policy_id, row.fetched_at + row.max_age * 1_000)),
        fetched_at: row.fetched_at,
        look_at: 0,
    })
}
