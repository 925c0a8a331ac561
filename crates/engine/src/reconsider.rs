//! The second look at an attempt's end: the operator's own rules, then the circuit breaker of the site; and what the
//! look-out should know of it.
//!
//! Must not know sockets; what is done with the result is `desk`'s.

use std::sync::Arc;

use postrider_domain::outcome::AttemptResult;
use postrider_store::breaker::SiteBreaker;

use crate::breakers::{Change, RULE};
use crate::courier::Kit;
use crate::judge::Ended;
use crate::plan::Place;
use crate::scheduler::Handed;
use crate::shared::Shared;

impl Kit {
    /// What an attempt's end really means; `None` when it stays as it was judged.
    pub(crate) fn reconsider(&self, place: &Place, handed: &Handed, ended: &Ended) -> Option<Ended> {
        let shared = &self.shared;
        let mut changed = match ended.result {
            AttemptResult::Accepted => None,
            AttemptResult::Deferred | AttemptResult::Rejected | AttemptResult::Broken => {
                shared.rules.of(handed.plan.workspace).and_then(|rules| ended.judged_by(&rules))
            }
        };
        let now = shared.monotonic();
        let word = changed.as_ref().unwrap_or(ended);
        shared.notes.heard(now, handed.plan.workspace, &place.site, word);
        let (not_believed, change) = shared.breakers.hear(&place.site, handed.row.delivery, word, now);
        if let Some(mut not_believed) = not_believed {
            // Nobody asks again before the site is asked again.
            let until = shared.breakers.held_until(&place.site, now).unwrap_or(now);
            not_believed.again_at = Some(shared.now() + (until - now).max(1_000));
            changed = Some(not_believed);
        }
        match change {
            None => {}
            Some(Change::Held(held)) => {
                let utc = shared.now();
                tracing::warn!(
                    event = "breaker.open",
                    site = place.site,
                    unknown = held.unknown,
                    answers = held.answers
                );
                self.scheduler.hold_site(&place.site, RULE, held.until, &held.reply);
                let breaker = SiteBreaker {
                    site: place.site.clone(),
                    since: utc,
                    until: utc + held.until - now,
                    unknown: i64::try_from(held.unknown).unwrap_or(i64::MAX),
                    answers: i64::try_from(held.answers).unwrap_or(i64::MAX),
                    reply: held.reply,
                    suspects: held.suspects,
                    believed_at: None,
                };
                let shared = Arc::clone(shared);
                tokio::spawn(async move { keep(&shared, &breaker).await });
            }
            Some(Change::Closed) => {
                tracing::info!(event = "breaker.closed", site = place.site);
                let (shared, site) = (Arc::clone(shared), place.site.clone());
                tokio::spawn(async move {
                    if let Err(error) = shared.store.close_breaker(&site).await {
                        shared.complain("close the breaker of a site", &error);
                    }
                });
            }
        }
        changed
    }
}

/// A restart and the other nodes must know.
async fn keep(shared: &Shared, breaker: &SiteBreaker) {
    match shared.store.open_breaker(breaker).await {
        Ok(()) => shared.breakers.told(&breaker.site),
        Err(error) => shared.complain("keep the breaker of a site", &error),
    }
}
