//! Who is handed out next: lanes in memory, places with their limits, turns between campaigns.
//!
//! Holds at most some hundred rows of each lane, read forward from a cursor; never counts or groups the queue. Must not
//! know how a message is made or sent.

mod egress;
#[cfg(test)]
mod egress_tests;
mod hand_out;
mod held;
mod lanes;
mod own_limits;
mod site;
mod state;
mod steer;
mod tell;
#[cfg(test)]
mod tests;
mod turns_of_couriers;
mod warm;

pub(crate) use egress::Leaving;
pub(crate) use lanes::Resolve;
pub(crate) use site::Manner;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_domain::id::{CampaignId, DeliveryId, LaneId};
use postrider_store::lane::{LaneLease, QueueRow};
use tokio::sync::{Notify, Semaphore};

use crate::plan::{Place, Plan, Waiting};
use crate::shared::Shared;
use state::State;

/// Lanes that are read at the same time; SQLite has few readers.
const READERS: usize = 3;

/// A delivery handed out to a connection. Whoever holds one must let it land again.
#[derive(Clone)]
pub(crate) struct Handed {
    pub(crate) row: QueueRow,
    pub(crate) lease: LaneLease,
    pub(crate) plan: Arc<Plan>,
    /// Where it was handed out.
    pub(crate) place: Place,
}

/// What a courier is told.
pub(crate) enum Turn {
    /// Carry these; they belong to one lane.
    Batch(Vec<Handed>, Manner),
    /// Nothing to do: close in order and end.
    End,
    /// Others need the connection, or the site wants fewer: close in order, end, and say that it was told to.
    Yield,
}

/// How a delivery that was handed out left the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landing {
    /// It will be ready again at this time.
    Later(i64),
    /// Nothing was written: it is ready as it was, and is found by reading from the first row.
    Unchanged,
    /// It is settled, or no longer ours.
    Gone,
}

/// Starts a courier for a place. The scheduler does not know what a courier does.
pub(crate) trait Dispatch: Send + Sync {
    /// Starts one.
    fn courier(&self, place: Place);
}

/// The scheduler.
pub(crate) struct Scheduler {
    pub(crate) shared: Arc<Shared>,
    state: Mutex<State>,
    /// Rung when the manager should look before its time.
    pub(crate) look: Notify,
    readers: Semaphore,
    /// Nodes among which speeds of the queue were divided.
    steered_for: std::sync::atomic::AtomicUsize,
    dispatch: std::sync::OnceLock<std::sync::Weak<dyn Dispatch>>,
}

impl Scheduler {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Scheduler> {
        let most = shared.config.limits.connections.max(1);
        Arc::new(Scheduler {
            state: Mutex::new(State::new(most)),
            look: Notify::new(),
            readers: Semaphore::new(READERS),
            steered_for: std::sync::atomic::AtomicUsize::new(0),
            dispatch: std::sync::OnceLock::new(),
            shared,
        })
    }

    /// Names who starts couriers; once, before anything runs.
    pub(crate) fn set_dispatch(&self, dispatch: std::sync::Weak<dyn Dispatch>) {
        let _ = self.dispatch.set(dispatch);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside would be a defect; the state is plain data and stays readable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is ready and does not leave, and why.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.lock().waiting(self.shared.now(), self.shared.monotonic())
    }

    /// Deliveries handed out and not landed.
    pub(crate) fn in_air(&self) -> usize {
        self.lock().lanes.values().map(|l| l.air.len()).sum()
    }

    /// The campaign has nothing in memory, nothing in the air and nothing to come that we know of.
    pub(crate) fn is_quiet(&self, campaign: CampaignId) -> bool {
        self.lock().lanes.values().filter(|l| l.lease.campaign == Some(campaign)).all(state::LaneEntry::is_quiet)
    }

    /// Deliveries left the air; their settles are durable.
    pub(crate) fn land(self: &Arc<Self>, landed: &[(LaneId, DeliveryId, Landing)]) {
        let mut state = self.lock();
        for (lane, delivery, landing) in landed {
            state.land(*lane, *delivery, *landing);
        }
        drop(state);
        self.look.notify_one();
    }
}
