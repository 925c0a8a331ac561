//! What happens because its time has come: campaigns start, are missed, end, or are cancelled after a stop.
//!
//! Must not know deliveries one by one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_domain::campaign::CampaignState;
use postrider_domain::id::CampaignId;
use postrider_store::campaign_run::Due;
use postrider_store::{StoreError, Topic};
use tokio::task::JoinHandle;

use crate::book::Book;
use crate::freeze::freeze;
use crate::scheduler::Scheduler;
use crate::shared::{Phase, Shared};

/// A campaign that looks finished is asked about at most so often.
const FINISH: Duration = Duration::from_millis(200);
/// Even one that does not look finished is asked about after this time: other nodes hold lanes of it.
const FINISH_ANYWAY: Duration = Duration::from_secs(10);

/// Campaigns whose audience is being frozen here.
#[derive(Default)]
struct Freezing(Mutex<HashMap<CampaignId, JoinHandle<()>>>);

/// Runs until the engine stops, then waits for what it has begun.
pub(crate) async fn run(shared: Arc<Shared>, scheduler: Arc<Scheduler>, book: Arc<Book>) {
    let mut bell = shared.store.bell().listen();
    let freezing = Freezing::default();
    let mut asked: HashMap<CampaignId, Instant> = HashMap::new();
    while shared.is_running() {
        start_due(&shared, &book, &freezing).await;
        if let Err(error) = look_after(&shared, &scheduler, &mut asked).await {
            shared.complain("look after running campaigns", &error);
        }
        tokio::select! {
            () = tokio::time::sleep(shared.config.times.poll) => {}
            () = shared.reached(Phase::Stopping) => break,
            () = ring(&mut bell) => {}
        }
    }
    let left: Vec<JoinHandle<()>> =
        freezing.0.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, task)| task).collect();
    for task in left {
        // They see the phase themselves and end after their slice.
        let _ = task.await;
    }
}

async fn ring(bell: &mut tokio::sync::broadcast::Receiver<Topic>) {
    loop {
        match bell.recv().await {
            Ok(Topic::Campaign) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            Ok(Topic::Work | Topic::Import | Topic::Inquiry | Topic::Live { .. }) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Starts what is due and notes what came too late.
async fn start_due(shared: &Arc<Shared>, book: &Arc<Book>, freezing: &Freezing) {
    let due = match shared.store.due_campaigns(shared.now()).await {
        Ok(due) => due,
        Err(error) => return shared.complain("ask for campaigns whose time has come", &error),
    };
    for due in due {
        match due {
            Due::Freeze(campaign) => {
                let mut running = freezing.0.lock().unwrap_or_else(PoisonError::into_inner);
                running.retain(|_, task| !task.is_finished());
                running
                    .entry(campaign)
                    .or_insert_with(|| tokio::spawn(freeze(Arc::clone(shared), Arc::clone(book), campaign)));
            }
            Due::Miss(campaign) => match shared.store.miss_campaign(campaign).await {
                Ok(_) => tracing::warn!(event = "campaign.missed", campaign = %campaign),
                // Somebody changed it in this moment.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => shared.complain("note a missed campaign", &error),
            },
        }
    }
}

/// Ends campaigns whose every delivery has its outcome, and cancels the rest of stopped ones.
async fn look_after(
    shared: &Arc<Shared>,
    scheduler: &Scheduler,
    asked: &mut HashMap<CampaignId, Instant>,
) -> Result<(), StoreError> {
    let running = shared.store.running_campaigns().await?;
    asked.retain(|campaign, _| running.iter().any(|r| r.campaign == *campaign));
    for campaign in running {
        match campaign.state {
            CampaignState::Stopped => cancel(shared, campaign.campaign).await?,
            CampaignState::Sending | CampaignState::Paused => {
                // How often to ask is a matter of load, not of the mail's time: the machine's own clock.
                let pause = if scheduler.is_quiet(campaign.campaign) { FINISH } else { FINISH_ANYWAY };
                if asked.get(&campaign.campaign).is_some_and(|last| last.elapsed() < pause) {
                    continue;
                }
                asked.insert(campaign.campaign, Instant::now());
                if shared.store.finish_if_empty(campaign.campaign).await? {
                    tracing::info!(event = "campaign.done", campaign = %campaign.campaign);
                }
            }
            CampaignState::Freezing
            | CampaignState::Draft
            | CampaignState::Scheduled
            | CampaignState::Done
            | CampaignState::Missed => {}
        }
    }
    Ok(())
}

/// Cancels what a stopped campaign has left, in slices that let others write; what is in the air settles itself.
async fn cancel(shared: &Arc<Shared>, campaign: CampaignId) -> Result<(), StoreError> {
    let mut cancelled = 0;
    let mut sweep = shared.store.cancel_rest(shared.node.id, campaign).await?;
    loop {
        let slice = sweep.next().await?;
        cancelled += slice.rows;
        if slice.over || !shared.is_running() {
            break;
        }
        tokio::task::yield_now().await;
    }
    shared.store.finish_stopped(campaign).await?;
    if cancelled > 0 {
        tracing::info!(event = "campaign.cancelled", campaign = %campaign, deliveries = cancelled);
    }
    Ok(())
}
