//! Carrying out what people do to queues: sweeps of rules, slice by slice in turn, and rules whose time is over.
//!
//! The scheduler obeys a rule at once; this is the work that follows. Must not know lanes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_domain::id::QueueRuleId;
use postrider_domain::steering::{Life, SteerAction};
use postrider_store::steering::{QueueRule, Sweep};
use postrider_store::{StoreError, Topic};
use tokio::sync::broadcast::error::TryRecvError;

use crate::shared::{Phase, Shared};

/// The rules are asked for at least so often while sweeps go on.
const LOOK: Duration = Duration::from_millis(500);
/// A sweep that left something behind begins again after this time at the soonest.
const AGAIN: Duration = Duration::from_millis(250);

/// A sweep and when it began.
struct Under {
    sweep: Sweep,
    rule: QueueRule,
    begun: Instant,
    rows: u64,
}

/// Runs until the engine stops; what is begun is finished by whoever runs next.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut bell = shared.store.bell().listen();
    let mut sweeps: Vec<Under> = Vec::new();
    let mut not_before: HashMap<QueueRuleId, Instant> = HashMap::new();
    let mut look_at = Instant::now();
    while shared.is_running() {
        let mut rung = false;
        loop {
            match bell.try_recv() {
                Ok(Topic::Campaign) | Err(TryRecvError::Lagged(_)) => rung = true,
                Ok(Topic::Work | Topic::Import | Topic::Inquiry | Topic::Live { .. }) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if rung || Instant::now() >= look_at {
            look_at = Instant::now() + LOOK.min(shared.config.times.poll);
            if let Err(error) = look(&shared, &mut sweeps, &mut not_before).await {
                shared.complain("look at the rules of the queue", &error);
            }
        }
        if sweeps.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(shared.config.times.poll) => {}
                () = shared.reached(Phase::Stopping) => return,
                () = ring(&mut bell) => {}
            }
            look_at = Instant::now();
            continue;
        }
        let mut at = 0;
        while at < sweeps.len() {
            match one_slice(&shared, &mut sweeps[at], &mut not_before).await {
                Ok(false) => at += 1,
                Ok(true) => drop(sweeps.swap_remove(at)),
                Err(error) => {
                    shared.complain("carry out a rule of the queue", &error);
                    let under = sweeps.swap_remove(at);
                    not_before.insert(under.rule.rule.id, Instant::now() + Duration::from_secs(1));
                }
            }
            tokio::task::yield_now().await;
        }
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

/// Ends what is over and begins what is due.
async fn look(
    shared: &Shared,
    sweeps: &mut Vec<Under>,
    not_before: &mut HashMap<QueueRuleId, Instant>,
) -> Result<(), StoreError> {
    for over in shared.store.expire_queue_rules().await? {
        tracing::info!(event = "queue.rule_expired", rule = %over.rule.id, action = %over.rule.action, scope = over.rule.scope.words());
    }
    let open = shared.store.open_queue_rules().await?;
    not_before.retain(|id, _| open.iter().any(|r| r.rule.id == *id));
    // A rule that was ended meanwhile goes no further, or backwards.
    sweeps.retain(|u| open.iter().any(|r| r.rule.id == u.rule.rule.id && r.ended_at == u.rule.ended_at));
    for rule in open {
        let id = rule.rule.id;
        let waits = not_before.get(&id).is_some_and(|at| Instant::now() < *at);
        if waits || !has_work(&rule) || sweeps.iter().any(|u| u.rule.rule.id == id) {
            continue;
        }
        if let Some(sweep) = Sweep::of_rule(&shared.store, shared.node.id, &rule).await? {
            sweeps.push(Under { sweep, rule, begun: Instant::now(), rows: 0 });
        }
    }
    Ok(())
}

/// Whether rows have to be changed for a rule.
fn has_work(rule: &QueueRule) -> bool {
    match (rule.rule.action, rule.rule.action.life()) {
        (SteerAction::Suspend | SteerAction::Speed, _) => false,
        // What comes later is dealt with when it is read.
        (_, Life::Standing) => rule.ended_at.is_some() || !rule.rule.swept,
        (_, Life::Once) => true,
    }
}

/// One slice of a sweep; whether the sweep is over.
async fn one_slice(
    shared: &Shared,
    under: &mut Under,
    not_before: &mut HashMap<QueueRuleId, Instant>,
) -> Result<bool, StoreError> {
    let slice = under.sweep.next().await?;
    under.rows += slice.rows;
    if !slice.over {
        return Ok(false);
    }
    let (rule, took) = (&under.rule.rule, under.begun.elapsed());
    if under.rows > 0 {
        tracing::info!(
            event = "queue.swept", rule = %rule.id, action = %rule.action, deliveries = under.rows,
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
        );
    }
    let undoing = under.rule.ended_at.is_some();
    let done = match rule.action.life() {
        // What is marked comes back ready, and is looked at then: by the rule while it stands.
        Life::Standing => undoing && !under.sweep.is_something_left(),
        Life::Once => !under.sweep.is_something_left(),
    };
    if done {
        shared.store.queue_rule_settled(rule.id).await?;
    } else {
        if !undoing {
            shared.store.queue_rule_swept(rule.id).await?;
        }
        // One that found nothing to do is not begun again and again for the few rows that it could not touch.
        let rest = if under.rows > 0 { AGAIN } else { AGAIN.max(took * 4) };
        not_before.insert(rule.id, Instant::now() + rest);
    }
    Ok(true)
}
