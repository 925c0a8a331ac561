//! The look-out: sees what is wrong, raises and resolves alarms, pauses campaigns that do harm, and has people told.
//!
//! What is an alarm and when it is over is said by `postrider_domain::alarm`; this file carries it out, on every node, against one
//! table. Must not know pages.
//!
//! ```text
//! notes      what the engine notes in passing        listening  a resolver that tells whether DNS answers
//! sights     what the store and the clocks say       domains    looks at sending domains again
//! telling    mail to administrators
//! ```

mod domains;
mod listening;
mod notes;
mod sights;
mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSettings, Sight, Standing, Step, decide};
use postrider_domain::id::{AlarmId, CampaignId, WorkspaceId};
use postrider_store::StoreError;
use serde_json::Value;

use crate::breakers::{News, RULE};
use crate::scheduler::Scheduler;
use crate::shared::Shared;

pub(crate) use listening::Listening;
pub(crate) use notes::Notes;

/// Breakers and rules are compared with the store at each poll; everything else at each so many of them.
const LOOK_EVERY: u32 = 5;

/// The look-out of a node.
struct Watch {
    shared: Arc<Shared>,
    /// Milliseconds UTC.
    looking_since: i64,
    sights: sights::Sights,
    domains: domains::Rechecks,
    told: telling::Telling,
}

/// Runs until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>, scheduler: Arc<Scheduler>) {
    let mut watch = Watch {
        looking_since: shared.now(),
        sights: sights::Sights::new(&shared),
        domains: domains::Rechecks::default(),
        told: telling::Telling,
        shared: Arc::clone(&shared),
    };
    let mut ticks = 0u32;
    loop {
        compare_breakers(&shared, &scheduler).await;
        shared.rules.refresh(&shared).await;
        if ticks.is_multiple_of(LOOK_EVERY) {
            if let Err(error) = watch.look().await {
                shared.complain("look for what is wrong", &error);
            }
            watch.domains.look(&shared).await;
            shared.metrics.looked();
        }
        ticks = ticks.wrapping_add(1);
        if !shared.rest(shared.config.times.poll).await {
            return;
        }
    }
}

/// What other nodes found and people said of sites counts here.
async fn compare_breakers(shared: &Shared, scheduler: &Scheduler) {
    let kept = match shared.store.site_breakers().await {
        Ok(kept) => kept,
        Err(error) => return shared.complain("ask for the breakers of sites", &error),
    };
    for news in shared.breakers.compare(&kept, shared.monotonic(), shared.now()) {
        match news {
            News::Held { site, until, reply } => scheduler.hold_site(&site, RULE, until, &reply),
            // Connections come back one by one, as after any stop.
            News::Closed { site } => tracing::info!(event = "breaker.closed", site),
            News::Believed { site } => {
                tracing::info!(event = "breaker.believed", site);
                scheduler.release_site(&site, RULE);
            }
        }
    }
}

impl Watch {
    /// One look at everything, and what follows.
    async fn look(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut seen: BTreeMap<AlarmKey, Sight> = BTreeMap::new();
        shared.notes.sights(shared.monotonic(), shared.store.node_name(), &mut seen);
        let blind = self.sights.look(&shared, &mut seen).await;
        let open = shared.store.open_alarms().await?;
        for alarm in &open {
            // What could not be looked at neither begins nor ends.
            if blind.contains(&alarm.kind) {
                seen.entry(alarm.key()).or_insert(Sight::Unclear);
            }
        }
        let standing: Vec<Standing> = open.iter().map(Standing::from).collect();
        let steps = decide(&standing, &seen, self.looking_since, shared.now());
        let changed = !steps.is_empty();
        for step in steps {
            self.carry_out(step).await?;
        }
        let open = if changed { shared.store.open_alarms().await? } else { open };
        shared.metrics.alarms(open.iter().map(|alarm| (alarm.kind.as_str(), alarm.severity.as_str())));
        self.told.look(&shared).await
    }

    async fn carry_out(&self, step: Step) -> Result<(), StoreError> {
        let store = &self.shared.store;
        match step {
            Step::Raise(key, wrong) => {
                if let Some(id) = store.raise_alarm(&key, &wrong).await? {
                    self.act(id, &key, &wrong.facts).await?;
                }
            }
            Step::Worsen(id, key, wrong) => {
                if store.worsen_alarm(id, &key, &wrong).await? {
                    self.act(id, &key, &wrong.facts).await?;
                }
            }
            Step::Touch(id, wrong) => store.touch_alarm(id, Some(&wrong.facts)).await?,
            Step::Rebase(id) => store.touch_alarm(id, None).await?,
            Step::Resolve(id, key, last_seen_at) => {
                store.resolve_alarm_unless_seen(id, &key, last_seen_at).await?;
            }
        }
        Ok(())
    }

    /// Too many bounces or complaints pause their campaign, unless its workspace does not want that. Raised or worse by a
    /// step, and by the one node that wrote so: a person who lets it go on is not asked again for the same.
    async fn act(&self, id: AlarmId, key: &AlarmKey, facts: &Value) -> Result<(), StoreError> {
        let (Some(workspace), Ok(campaign)) = (key.workspace, key.subject.parse::<CampaignId>()) else { return Ok(()) };
        if !key.kind.pauses() || !pauses(&self.settings(workspace).await?, key.kind) {
            return Ok(());
        }
        match self.shared.store.pause_by_alarm(id, workspace, campaign, facts).await {
            // Gone, or moved on in this moment.
            Ok(_) | Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn settings(&self, workspace: WorkspaceId) -> Result<AlarmSettings, StoreError> {
        self.shared.store.alarm_settings(workspace).await
    }
}

/// Whether a workspace wants its campaigns paused for this.
const fn pauses(settings: &AlarmSettings, kind: AlarmKind) -> bool {
    match kind {
        AlarmKind::Bounces => settings.pause_on_bounces,
        AlarmKind::Complaints => settings.pause_on_complaints,
        AlarmKind::Disk
        | AlarmKind::Database
        | AlarmKind::Clock
        | AlarmKind::Dns
        | AlarmKind::Certificate
        | AlarmKind::DomainRed
        | AlarmKind::TlsLost
        | AlarmKind::Block
        | AlarmKind::CampaignPaused
        | AlarmKind::CampaignMissed
        | AlarmKind::MassUnknown
        | AlarmKind::SourceMissing
        | AlarmKind::WarmupPaused => false,
    }
}
