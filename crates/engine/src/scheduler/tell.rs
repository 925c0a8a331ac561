//! What the scheduler tells people about its sites, and what it takes over from an earlier life of its process.
//!
//! Must not know who reads it: it writes a row.

use std::sync::Arc;
use std::time::Duration;

use postrider_domain::shaping::{SiteView, Stopped};

use super::Scheduler;

/// Told at most so often.
const TELL: Duration = Duration::from_millis(900);

impl Scheduler {
    /// What people see of each source × site of this node.
    pub(crate) fn views(&self) -> Vec<SiteView> {
        let (now, monotonic) = (self.shared.now(), self.shared.monotonic());
        self.lock().views(now, monotonic)
    }

    /// Tells the store what the sites look like, as long as the engine runs, when it is something else than before.
    pub(crate) async fn tell(self: Arc<Self>) {
        let mut told: Option<Vec<SiteView>> = None;
        while self.shared.rest(TELL.max(self.shared.config.times.poll)).await {
            let views = self.views();
            // Something that flows has to be told again and again, or its row would look dead.
            if views.is_empty() && told.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            match self.shared.store.tell_sites(self.shared.node, &views).await {
                Ok(()) => told = Some(views),
                Err(error) => self.shared.complain("tell what the sites look like", &error),
            }
        }
    }

    /// Takes over the stops that have not ended yet.
    pub(super) async fn keep_stops(&self) {
        let (now, monotonic) = (self.shared.now(), self.shared.monotonic());
        let stops = match self.shared.store.site_stops().await {
            Ok(stops) => stops,
            Err(error) => return self.shared.complain("ask for the stops of sites", &error),
        };
        let at = |t: i64| t - now + monotonic;
        let stops = stops.into_iter().map(|s| {
            let stopped =
                Stopped { since: at(s.since), until: at(s.until), rule: s.rule, reply: s.reply, recovers: s.recovers };
            (s.source, s.site, stopped)
        });
        let stops = stops.collect();
        self.lock().sites.keep_stops(stops);
    }
}
