//! Landings: a delivery stays in the air until its settle is durable, so that a read that is older than the settle
//! cannot hand it out a second time.
//!
//! Must not know what a settle says beyond the time of the next try.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_domain::id::{DeliveryId, LaneId};
use postrider_store::settle::{Next, Settle};
use tokio::sync::Notify;

use crate::scheduler::{Landing, Scheduler};
use crate::shared::{Phase, Shared};

/// Settles are given this time to gather before their commit is waited for (REL-6 allows 50 ms).
const GATHER: Duration = Duration::from_millis(40);

/// Settles on their way.
pub(crate) struct Landings {
    shared: Arc<Shared>,
    waiting: Mutex<Vec<(LaneId, DeliveryId, Landing)>>,
    more: Notify,
}

impl Landings {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Landings> {
        Arc::new(Landings { shared, waiting: Mutex::default(), more: Notify::new() })
    }

    /// Hands the owner's word to the writer and lets the delivery land once it is durable.
    pub(crate) fn settle(&self, settle: Settle) {
        let landing = match settle.next {
            Next::Later { ready_at } => Landing::Later(ready_at),
            Next::Done(_) => Landing::Gone,
        };
        let (lane, delivery) = (settle.lane, settle.delivery);
        match self.shared.writer.settle(settle) {
            Ok(()) => self.land(lane, delivery, landing),
            Err(error) => self.shared.complain("settle a delivery", &error),
        }
    }

    /// Lets a delivery land that needs no settle: its row is not ours any more.
    pub(crate) fn land(&self, lane: LaneId, delivery: DeliveryId, landing: Landing) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((lane, delivery, landing));
        self.more.notify_one();
    }

    /// Waits for commits and lets deliveries land, until the engine has ended.
    pub(crate) async fn run(self: Arc<Self>, scheduler: Arc<Scheduler>) {
        loop {
            tokio::select! {
                () = self.more.notified() => {}
                () = self.shared.reached(Phase::Ended) => return,
            }
            let begun = std::time::Instant::now();
            tokio::time::sleep(GATHER).await;
            let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if batch.is_empty() {
                continue;
            }
            if let Err(error) = self.shared.writer.flush().await {
                return self.shared.complain("flush the writer", &error);
            }
            self.shared.metrics.settled(begun.elapsed());
            scheduler.land(&batch);
            self.shared.metrics.in_air(scheduler.in_air());
            self.shared.metrics.stale_settles(self.shared.writer.stale_settles());
        }
    }
}
