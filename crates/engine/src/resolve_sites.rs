//! From domains to sites: rows of the unresolved lane move to the lane of their site, or learn why they cannot.
//!
//! Must not know connections: it asks DNS and nobody else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use postrider_domain::bounce::BounceClass;
use postrider_domain::route::RouteKind;
use postrider_mail::Stage;
use postrider_mail::mailbox::DomainName;
use postrider_smtp::{MxAnswer, ResolveError};
use postrider_store::lane::{LaneCursor, LaneLease, QueueRow};
use postrider_store::site::{DomainState, MailDomain};
use postrider_store::{StoreError, Topic};

use crate::connections::{no_answer, null_mx};
use crate::courier::Kit;
use crate::judge::Ended;
use crate::plan::{Place, Plan, Source};
use crate::scheduler::{Handed, Resolve};
use crate::shared::{Phase, Shared};
use crate::sites::{UNRESOLVED, site_of};

/// Rows looked at in one go.
const SLICE: u32 = 500;
/// Rows moved in one transaction: about 10 ms.
const MOVE_SLICE: u32 = 200;
/// Temporary DNS errors are asked again after this time, in milliseconds.
const TEMPORARY_MS: i64 = 60_000;

/// A domain that was looked up so lately is not moved to another site.
const SETTLED_MS: i64 = 600_000;

/// What DNS says about a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its site.
    Site(String),
    /// It takes no mail.
    NullMx,
    /// It does not exist, or has neither MX nor address.
    Nowhere,
    /// DNS did not say.
    Temporary(String),
}

/// Asks DNS about one domain.
pub(crate) async fn look_up(shared: &Shared, domain: &DomainName) -> Found {
    match shared.config.resolver.mx(domain).await {
        Ok(MxAnswer::NullMx) => Found::NullMx,
        Ok(MxAnswer::Hosts(hosts)) => site_of(&hosts).map_or(Found::Nowhere, Found::Site),
        Err(ResolveError::NotFound) => Found::Nowhere,
        Err(ResolveError::Temporary(why)) => Found::Temporary(why),
    }
}

/// What the store keeps of an answer.
pub(crate) fn to_remember(shared: &Shared, name: &str, found: &Found) -> MailDomain {
    let now = shared.now();
    let (state, keep) = match found {
        Found::Site(_) => (DomainState::Found, shared.config.times.site_ttl_ms),
        Found::NullMx => (DomainState::NullMx, shared.config.times.site_ttl_ms),
        Found::Nowhere => (DomainState::NxDomain, shared.config.times.nxdomain_second_look_ms),
        Found::Temporary(_) => (DomainState::Unknown, TEMPORARY_MS),
    };
    MailDomain {
        name: name.to_owned(),
        site: match found {
            Found::Site(site) => Some(site.clone()),
            Found::NullMx | Found::Nowhere | Found::Temporary(_) => None,
        },
        state,
        resolved_at: now,
        look_again_at: now + keep,
        nxdomain_since: (*found == Found::Nowhere).then_some(now),
    }
}

/// How an attempt ends whose domain does not exist: the first time it waits for a second look, the second time it is
/// believed (RF-7).
pub(crate) async fn not_found(shared: &Shared, domain: &str) -> Ended {
    let names = [domain.to_owned()];
    let known = match shared.store.mail_domains(&names).await {
        Ok(mut known) => known.remove(domain),
        Err(error) => {
            shared.complain("look up a mail domain", &error);
            return no_answer("the store could not be asked about an earlier look");
        }
    };
    let since = known.as_ref().and_then(|d| d.nxdomain_since);
    if since.is_none()
        && let Err(error) = shared.store.remember_domains(&[to_remember(shared, domain, &Found::Nowhere)]).await
    {
        shared.complain("remember a mail domain", &error);
    }
    judge_not_found(since, shared.now(), shared.config.times.nxdomain_second_look_ms)
}

/// See [`not_found`]; `since` is the time of the first look that found nothing.
fn judge_not_found(since: Option<i64>, now: i64, second_look_ms: i64) -> Ended {
    match since {
        Some(since) if now - since >= second_look_ms => Ended::rejected(
            Stage::Resolve,
            BounceClass::BadDomain,
            Some((550, "5.1.2")),
            "the domain does not exist or has no mail server, looked at twice",
        ),
        since => Ended {
            again_at: Some(since.unwrap_or(now) + second_look_ms),
            ..Ended::deferred(
                Stage::Resolve,
                BounceClass::BadDomain,
                "the domain does not exist or has no mail server; it is looked at a second time",
            )
        },
    }
}

/// Domains by name with what is known of each, asking DNS about those that are not known well enough.
async fn find(shared: &Shared, names: Vec<String>) -> Result<HashMap<String, Found>, StoreError> {
    let now = shared.now();
    let known = shared.store.mail_domains(&names).await?;
    let mut found = HashMap::with_capacity(names.len());
    let mut ask = Vec::new();
    for name in names {
        match known.get(&name).filter(|d| d.look_again_at > now) {
            Some(MailDomain { state: DomainState::Found, site: Some(site), .. }) => {
                found.insert(name, Found::Site(site.clone()));
            }
            Some(MailDomain { state: DomainState::NullMx, .. }) => {
                found.insert(name, Found::NullMx);
            }
            Some(_) | None => ask.push(name),
        }
    }
    let lookups = shared.config.limits.lookups.max(1);
    let answers: Vec<(String, Found)> = stream::iter(ask)
        .map(|name| async move {
            let found = match DomainName::parse(&name) {
                Ok(domain) => look_up(shared, &domain).await,
                Err(_) => Found::Nowhere,
            };
            (name, found)
        })
        .buffer_unordered(lookups)
        .collect()
        .await;
    // The first look at a missing domain keeps its time, so the time of this look is not written over it.
    let remember: Vec<MailDomain> = answers.iter().map(|(name, found)| to_remember(shared, name, found)).collect();
    shared.store.remember_domains(&remember).await?;
    found.extend(answers);
    Ok(found)
}

impl Resolve for Kit {
    fn lane(&self, lease: LaneLease, plan: Arc<Plan>) {
        let Some(kit) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            let resolved = tokio::select! {
                resolved = kit.resolve_lane(&lease, &plan) => resolved,
                () = kit.shared.reached(Phase::Ended) => return,
            };
            let next = match resolved {
                Ok(next) => next,
                Err(error) => {
                    kit.shared.complain("resolve the domains of a lane", &error);
                    Some(kit.shared.now() + 1_000)
                }
            };
            kit.scheduler.lane_resolved(lease.lane, next);
        });
    }

    fn resort(&self, lease: LaneLease) {
        let Some(kit) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            // What was settled before is in the rows before they are moved.
            let moved = match kit.shared.writer.flush().await {
                Ok(()) => {
                    let last = LaneCursor { ready_at: i64::MAX, delivery: postrider_domain::id::DeliveryId(i64::MAX) };
                    kit.move_rows(&lease, None, Some(last)).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = moved {
                kit.shared.complain("sort the rows of a lane anew", &error);
            }
            kit.scheduler.lane_resolved(lease.lane, Some(kit.shared.now()));
        });
    }
}

impl Kit {
    /// Looks whether the hosts of a domain still belong to the site of its lane, before they are connected to. If they do
    /// not, the lane is sorted anew; this delivery goes as it is.
    pub(crate) fn check_site(&self, handed: &Handed, place: &Place, hosts: &[postrider_smtp::MxHost]) {
        if handed.plan.route.settings.kind == RouteKind::Smarthost || handed.lease.site == UNRESOLVED {
            return;
        }
        let Some(site) = site_of(hosts).filter(|site| *site != place.site) else { return };
        let Some(kit) = self.me.upgrade() else { return };
        let (name, lane) = (handed.row.domain.clone(), handed.lease.lane);
        tokio::spawn(async move {
            match kit.move_domain(&name, site).await {
                Ok(true) => kit.scheduler.resort(lane),
                Ok(false) => {}
                Err(error) => kit.shared.complain("note that a domain has another site", &error),
            }
        });
    }

    /// Notes the site that a domain has now; false when it has moved too lately to be believed.
    async fn move_domain(&self, name: &str, site: String) -> Result<bool, StoreError> {
        let shared = &self.shared;
        let names = [name.to_owned()];
        let known = shared.store.mail_domains(&names).await?.remove(name);
        let now = shared.now();
        match known {
            Some(known) if known.site.as_ref() == Some(&site) => return Ok(true),
            // Some names have other hosts at each look: they stay where they are for a while.
            Some(known) if known.site.is_some() && now - known.resolved_at < SETTLED_MS => return Ok(false),
            Some(_) | None => {}
        }
        tracing::info!(event = "domain.moved", domain = name, site);
        shared.store.remember_domains(&[to_remember(shared, name, &Found::Site(site))]).await?;
        Ok(true)
    }

    /// Goes once through the ready rows of an unresolved lane; the time at which its next row is due.
    async fn resolve_lane(&self, lease: &LaneLease, plan: &Arc<Plan>) -> Result<Option<i64>, StoreError> {
        let shared = &self.shared;
        let mut after = None;
        while shared.is_running() {
            let rows = shared.store.read_lane(lease.lane, after, shared.now(), SLICE).await?;
            if rows.is_empty() {
                break;
            }
            let end = rows.last().map(QueueRow::cursor);
            self.resolve_rows(lease, plan, rows).await?;
            self.move_rows(lease, after, end).await?;
            after = end;
        }
        // Settles of rows that stay must be durable before the lane is read again.
        shared.writer.flush().await?;
        if self.scheduler.is_shut(plan) {
            return Ok(Some(shared.now() + 1_000));
        }
        let behind = LaneCursor { ready_at: i64::MIN, delivery: postrider_domain::id::DeliveryId(0) };
        let left = shared.store.read_lane(lease.lane, Some(behind), i64::MAX, 1).await?;
        Ok(left.first().map(|row| row.ready_at))
    }

    /// Moves what has a site by now, from one cursor up to another, in slices that let others write.
    async fn move_rows(
        &self,
        lease: &LaneLease,
        mut after: Option<LaneCursor>,
        end: Option<LaneCursor>,
    ) -> Result<(), StoreError> {
        while after < end && self.shared.is_running() {
            let moved = self.shared.store.move_resolved(self.shared.node, lease, after, MOVE_SLICE).await?;
            if moved.next.is_none() {
                break;
            }
            after = moved.next;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Looks up the domains of some rows; those without a site are settled as attempts.
    async fn resolve_rows(&self, lease: &LaneLease, plan: &Arc<Plan>, rows: Vec<QueueRow>) -> Result<(), StoreError> {
        let shared = &self.shared;
        let begun = (shared.now(), Instant::now());
        let mut by_domain: BTreeMap<String, Vec<QueueRow>> = BTreeMap::new();
        for row in rows {
            by_domain.entry(row.domain.clone()).or_default().push(row);
        }
        let found = find(shared, by_domain.keys().cloned().collect()).await?;
        let since: HashMap<String, Option<i64>> = {
            let missing: Vec<String> =
                found.iter().filter(|(_, f)| **f == Found::Nowhere).map(|(name, _)| name.clone()).collect();
            if missing.is_empty() {
                HashMap::new()
            } else {
                let known = shared.store.mail_domains(&missing).await?;
                known.into_iter().map(|(name, d)| (name, d.nxdomain_since)).collect()
            }
        };
        let mut sites = 0usize;
        for (domain, rows) in by_domain {
            let ended = match found.get(&domain) {
                Some(Found::Site(_)) => {
                    sites += 1;
                    continue;
                }
                Some(Found::NullMx) => null_mx(),
                Some(Found::Nowhere) => {
                    let since = since.get(&domain).copied().flatten();
                    judge_not_found(since, shared.now(), shared.config.times.nxdomain_second_look_ms)
                }
                Some(Found::Temporary(why)) => no_answer(why),
                None => no_answer("nobody asked"),
            };
            for row in rows {
                // A paused or stopped campaign makes no attempts.
                if self.scheduler.is_shut(plan) {
                    continue;
                }
                let place =
                    Place { route: plan.route.id, pool: None, source: Source::Direct, site: UNRESOLVED.to_owned() };
                let handed = Handed { row, lease: lease.clone(), plan: Arc::clone(plan), place };
                let first_try_at = handed.row.first_try_at.unwrap_or(begun.0);
                self.settle(
                    &handed,
                    first_try_at,
                    &ended,
                    begun,
                    (domain.clone(), String::new(), String::new(), String::new()),
                );
            }
        }
        if sites > 0 {
            shared.store.bell().ring(Topic::Work);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_domain::outcome::AttemptResult;

    #[test]
    fn a_missing_domain_is_believed_at_the_second_look_only() {
        let hour = 3_600_000;
        let first = judge_not_found(None, 1_000, hour);
        assert_eq!((first.result, first.again_at), (AttemptResult::Deferred, Some(1_000 + hour)));
        let early = judge_not_found(Some(1_000), 500_000, hour);
        assert_eq!((early.result, early.again_at), (AttemptResult::Deferred, Some(1_000 + hour)));
        let second = judge_not_found(Some(1_000), 1_000 + hour, hour);
        assert_eq!((second.result, second.class), (AttemptResult::Rejected, Some(BounceClass::BadDomain)));
        assert_eq!(second.suppress, None, "a domain is no proof about a mailbox");
    }
}
