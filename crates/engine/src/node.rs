//! This node among the others: its signs of life, whom it watches, whose lanes it takes over.
//!
//! Must not know what lies in a lane.

use std::sync::Arc;
use std::time::Instant;

use postrider_store::StoreError;
use postrider_store::node::DeadNodes;
use postrider_store::resolve::Resolved;

use crate::shared::{Phase, Shared};

/// Gives a sign of life at each beat until the engine has ended. Its own task: nothing else may delay it.
pub(crate) async fn beat(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(shared.config.times.beat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.reached(Phase::Ended) => return,
        }
        let begun = Instant::now();
        match shared.store.beat(shared.node).await {
            Ok(()) => shared.gave_sign_of_life(begun),
            Err(error) => shared.complain("give a sign of life", &error),
        }
    }
}

/// Watches the other nodes and takes over the lanes of dead ones; tells which nodes are dead.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut dead_nodes = DeadNodes::new(shared.config.times.dead_after_ms);
    while shared.rest(shared.config.times.beat).await {
        let nodes = match shared.store.nodes().await {
            Ok(nodes) => nodes,
            Err(error) => {
                shared.complain("look at the other nodes", &error);
                continue;
            }
        };
        if shared.set_nodes(nodes.iter().filter(|n| n.running).count()) {
            // Limits that all nodes share are divided anew.
            shared.store.bell().ring(postrider_store::Topic::Campaign);
        }
        for dead in dead_nodes.look(shared.node.id, &nodes, shared.monotonic()) {
            match shared.store.take_over(&dead, shared.node).await {
                Ok(lanes) => {
                    tracing::warn!(event = "node.taken_over", dead = %dead.id, name = dead.name, lanes);
                    if let Err(error) = resolve_in_doubt(&shared).await {
                        shared.complain("resolve deliveries in doubt", &error);
                    }
                    shared.store.bell().ring(postrider_store::Topic::Campaign);
                }
                Err(error) => shared.complain("take over a dead node", &error),
            }
        }
    }
}

/// Decides by policy about everything that an owner before us had marked and not settled.
pub(crate) async fn resolve_in_doubt(shared: &Shared) -> Result<Resolved, StoreError> {
    let resolved = shared.store.resolve_in_doubt(shared.node).await?;
    if resolved != Resolved::default() {
        tracing::warn!(
            event = "doubt.resolved",
            resent = resolved.resent,
            assumed = resolved.assumed,
            held = resolved.held
        );
        shared.metrics.doubts(&resolved);
    }
    Ok(resolved)
}
