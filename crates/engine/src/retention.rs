//! What is thrown away when its time is over: ended sessions, stored answers of requests, old inquiries and alarms, ended
//! suppressions and old counts of bounces, the bytes of single messages that are done, old refusals of the relay.
//!
//! Works in small slices behind everything else.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// Rows deleted in one transaction.
const SLICE: u32 = 500;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(60);

/// Runs until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        sweep(&shared).await;
        if !shared.rest(PAUSE).await {
            return;
        }
    }
}

async fn sweep(shared: &Shared) {
    let mut deleted = 0;
    loop {
        let answers = match shared.store.forget_answers(SLICE).await {
            Ok(n) => n,
            Err(error) => return shared.complain("delete stored answers", &error),
        };
        let others = match shared.store.forget_expired(SLICE).await {
            Ok(n) => n,
            Err(error) => return shared.complain("delete expired sessions and inquiries", &error),
        };
        let alarms = match shared.store.forget_alarms(SLICE).await {
            Ok(n) => n,
            Err(error) => return shared.complain("delete old alarms", &error),
        };
        let bodies = match shared.store.forget_bodies(SLICE).await {
            Ok(n) => n,
            Err(error) => return shared.complain("delete the bytes of messages that are done", &error),
        };
        let notes = match shared.store.forget_relay_notes(SLICE).await {
            Ok(n) => n,
            Err(error) => return shared.complain("delete old refusals", &error),
        };
        let bounces = match shared.store.forget_bounces(SLICE).await {
            Ok(n) => n,
            Err(error) => return shared.complain("delete ended suppressions and old counts of bounces", &error),
        };
        let some = answers + others + alarms + bodies + notes + bounces;
        deleted += some;
        if some == 0 || !shared.is_running() {
            break;
        }
    }
    if deleted > 0 {
        tracing::info!(event = "retention.swept", rows = deleted);
    }
}
