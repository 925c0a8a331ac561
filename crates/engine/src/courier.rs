//! A courier: the task behind one connection of a place. It asks the scheduler for deliveries and carries them, as long
//! as there are any; then it closes the connection in order and ends.
//!
//! Must not know how a message is made, nor what a reply means.

use std::sync::Arc;
use std::time::Duration;

use postrider_domain::id::{DeliveryId, LaneId};
use postrider_domain::shaping::TlsDemand;
use tokio::sync::Semaphore;

use crate::book::Book;
use crate::connections::Open;
use crate::landing::Landings;
use crate::plan::Place;
use crate::scheduler::{Dispatch, Landing, Leaving, Manner, Scheduler, Turn};
use crate::shared::{Phase, Shared};
use crate::workshop::Workshop;

/// A batch should be over within this time, so that pause and stop are felt at once.
const BATCH_MS: i64 = 400;

/// Everything that couriers use.
pub(crate) struct Kit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) book: Arc<Book>,
    pub(crate) workshop: Workshop,
    pub(crate) landings: Arc<Landings>,
    /// One permit a courier at work: an orderly stop waits for all of them.
    pub(crate) at_work: Arc<Semaphore>,
    /// For `Dispatch`, which has only a borrowed self.
    pub(crate) me: std::sync::Weak<Kit>,
}

impl Dispatch for Kit {
    fn courier(&self, place: Place) {
        let Some(kit) = self.me.upgrade() else { return };
        let at_work = Arc::clone(&self.at_work).try_acquire_owned();
        tokio::spawn(async move {
            let Ok(_at_work) = at_work else { return kit.scheduler.courier_ended(&place, false) };
            let shared = Arc::clone(&kit.shared);
            let mut courier = Courier::new(kit, place);
            tokio::select! {
                () = courier.run() => {}
                // The grace is over, or the engine was dropped: as if the process were killed.
                () = shared.reached(Phase::Ended) => {}
            }
        });
    }
}

/// One connection's task.
pub(crate) struct Courier {
    pub(crate) kit: Arc<Kit>,
    pub(crate) place: Place,
    pub(crate) open: Option<Open>,
    /// From where its connection is made.
    pub(crate) leaving: Leaving,
    /// The domain served last: its other deliveries come first.
    pub(crate) domain: Option<String>,
    /// Mean time of a transaction in milliseconds, as far as seen.
    pub(crate) pace_ms: i64,
    /// The host closed earlier connections after so many transactions.
    pub(crate) host_limit: u32,
    /// How the site wants its connections to be used.
    pub(crate) manner: Manner,
    /// When the last transaction ended.
    pub(crate) rested: std::time::Instant,
    /// The scheduler told it to end.
    yielded: bool,
    /// What was handed out to it, so that a courier that ends in the middle leaves nothing in the air.
    aboard: Vec<(LaneId, DeliveryId)>,
}

impl Courier {
    fn new(kit: Arc<Kit>, place: Place) -> Courier {
        Courier {
            kit,
            place,
            open: None,
            leaving: Leaving::default(),
            domain: None,
            pace_ms: 100,
            host_limit: u32::MAX,
            manner: Manner { per_connection: u32::MAX, tls: TlsDemand::Opportunistic },
            rested: std::time::Instant::now(),
            yielded: false,
            aboard: Vec::new(),
        }
    }

    async fn run(&mut self) {
        loop {
            let want = self.want();
            let turn = self.kit.scheduler.clone().next(&self.place, want, self.domain.as_deref()).await;
            match turn {
                Turn::Batch(batch, manner) => {
                    self.manner = manner;
                    self.aboard = batch.iter().map(|h| (h.lease.lane, h.row.delivery)).collect();
                    self.carry(batch).await;
                    self.aboard.clear();
                }
                Turn::End => break,
                Turn::Yield => {
                    self.yielded = true;
                    break;
                }
            }
        }
        self.close().await;
    }

    /// How many deliveries to ask for: no more than can be carried within a moment.
    fn want(&self) -> usize {
        let most = self.kit.shared.config.limits.ahead.clamp(1, 8);
        usize::try_from(BATCH_MS / self.pace_ms.max(1)).unwrap_or(1).clamp(1, most)
    }

    /// Learns how long a transaction takes here.
    pub(crate) fn learn(&mut self, ms: i64) {
        self.pace_ms = (self.pace_ms * 3 + ms.max(1) * 2) / 5 + 1;
    }

    /// Says QUIT, if there is anybody to say it to. Does not wait for the answer longer than some seconds.
    pub(crate) async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = tokio::time::timeout(Duration::from_secs(3), open.connection.quit()).await;
        }
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        for (lane, delivery) in self.aboard.drain(..) {
            // A panic: what was marked stays in doubt and is resolved by policy, the rest is read again.
            self.kit.landings.land(lane, delivery, Landing::Gone);
        }
        self.kit.scheduler.courier_ended(&self.place, self.yielded);
    }
}
