//! docs/queue-states.md says the same as the code, and the store walks only along that table.

use std::collections::{BTreeMap, HashMap};

use postrider_domain::id::DeliveryId;
use postrider_domain::outcome::Outcome;
use postrider_domain::queue::{QueueState, Step, after};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::InDoubtPolicy;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};

use crate::mark::MarkAnswer;
use crate::queue_rig::{Rig, attempt};
use crate::settle::{Next, Settle};
use crate::testing::{TestStore, open_both};

#[test]
fn the_page_about_the_states_is_the_code() {
    let page = include_str!("../../../docs/queue-states.md");
    let (_, steps) = page.split_once("## Steps").unwrap();
    let word = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut table = BTreeMap::new();
    for line in steps.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(word).collect();
        let from = QueueState::parse(&cells[0]).unwrap_or_else(|| panic!("state {}", cells[0]));
        let step = Step::parse(&cells[1]).unwrap_or_else(|| panic!("step {}", cells[1]));
        let to = QueueState::parse(&cells[2]).unwrap_or_else(|| panic!("state {}", cells[2]));
        assert!(table.insert((from, step), to).is_none(), "twice: {line}");
    }
    for state in QueueState::ALL {
        for step in Step::ALL {
            assert_eq!(table.get(&(*state, *step)).copied(), after(*state, *step), "{state} {step}");
        }
    }
}

/// Where a delivery stands, read from the tables.
async fn state_of(rig: &Rig<'_>, delivery: DeliveryId) -> QueueState {
    use crate::sql::{args, sql};
    let row = rig
        .store
        .read()
        .await
        .unwrap()
        .opt(sql!("SELECT doubt_epoch, held_reason FROM queue WHERE delivery_id = $1"), args![delivery])
        .await
        .unwrap();
    match row {
        None => QueueState::Done,
        Some(row) if row.int_opt("doubt_epoch").unwrap().is_some() => QueueState::InDoubt,
        Some(row) if row.text_opt("held_reason").unwrap().is_some() => QueueState::Held,
        Some(_) => QueueState::Ready,
    }
}

/// Carries out a step on one delivery with the functions that everybody uses.
async fn take(rig: &mut Rig<'_>, delivery: DeliveryId, step: Step) {
    let settle = |rig: &Rig<'_>, next| {
        let (lane, lane_epoch) = rig.lane_of(delivery);
        Settle { delivery, lane, lane_epoch, attempt: Some(attempt(rig.store.now())), next, suppress: None, soft: None }
    };
    match step {
        Step::Mark => {
            let _ = rig.mark(delivery).await;
        }
        Step::SettleLater => {
            let later = settle(rig, Next::Later { ready_at: rig.store.now() });
            rig.writer.settle(later).unwrap();
            rig.writer.flush().await.unwrap();
        }
        Step::SettleDone => {
            let done = settle(rig, Next::Done(Outcome::Accepted));
            rig.writer.settle(done).unwrap();
            rig.writer.flush().await.unwrap();
        }
        // The policy is the campaign's; the caller chose the campaign to fit the step.
        Step::ResolveResend | Step::ResolveAssume | Step::ResolveHold => {
            rig.restart().await;
            rig.store.resolve_in_doubt(rig.node).await.unwrap();
        }
        Step::Hold => {
            rig.store.hold_deliveries(rig.book.workspace, &[delivery], "by hand").await.unwrap();
        }
        Step::Release => {
            rig.store.release_held(rig.book.workspace, rig.book.campaign, 1_000).await.unwrap();
        }
        // Only a stopped campaign is cancelled: the last step of a walk.
        Step::Cancel => {
            rig.store.stop_campaign(rig.book.workspace, rig.book.campaign).await.unwrap();
            rig.store.cancel_slice(rig.node.id, rig.book.campaign, 1_000).await.unwrap();
        }
    }
}

/// The step that `resolve_in_doubt` takes under a policy.
fn resolve(policy: InDoubtPolicy) -> Step {
    match policy {
        InDoubtPolicy::Resend => Step::ResolveResend,
        InDoubtPolicy::Assume => Step::ResolveAssume,
        InDoubtPolicy::Hold => Step::ResolveHold,
    }
}

/// One walk: steps on single deliveries; resolve and release act on all of them, as they do in life.
async fn walk(store: &TestStore, policy: InDoubtPolicy, steps: &[(usize, Step)]) {
    const N: usize = 4;
    let policy_row = RetryPolicy { in_doubt: policy, ..RetryPolicy::preset("rehearsal").unwrap() };
    let mut rig = Rig::start(store, N, &policy_row).await;
    let deliveries = rig.deliveries().await;
    assert_eq!(deliveries.len(), N);
    let mut model: HashMap<DeliveryId, QueueState> = deliveries.iter().map(|d| (*d, QueueState::Ready)).collect();
    for (which, step) in steps {
        let step = match step {
            Step::ResolveResend | Step::ResolveAssume | Step::ResolveHold => resolve(policy),
            other => *other,
        };
        let delivery = deliveries[which % N];
        take(&mut rig, delivery, step).await;
        let concerns_all = matches!(
            step,
            Step::ResolveResend | Step::ResolveAssume | Step::ResolveHold | Step::Release | Step::Cancel
        );
        for (id, state) in &mut model {
            if (concerns_all || *id == delivery)
                && let Some(next) = after(*state, step)
            {
                *state = next;
            }
            assert_eq!(state_of(&rig, *id).await, *state, "{} after {step} ({})", id, store.kind);
        }
        let counted = store.recount(rig.book.workspace, rig.book.campaign).await.unwrap();
        assert!(counted.balances(), "{counted:?}");
        let counters = store.ledger_counts(rig.book.workspace, rig.book.campaign).await.unwrap();
        assert_eq!(counters, counted, "after {step} ({})", store.kind);
        if step == Step::Cancel {
            break;
        }
    }
}

#[tokio::test]
async fn random_walks_through_the_store_follow_the_table() {
    let steps = proptest::collection::vec((0usize..4, proptest::sample::select(Step::ALL)), 5..25);
    let policies = proptest::sample::select(InDoubtPolicy::ALL);
    let mut runner = TestRunner::new(Config::default());
    for store in open_both("walks").await {
        for _ in 0..12 {
            // Printed by the assertion's panic through the walk itself: the steps are few and read as they are.
            let steps = steps.new_tree(&mut runner).unwrap().current();
            let policy = policies.new_tree(&mut runner).unwrap().current();
            eprintln!("{} {policy} {steps:?}", store.kind);
            walk(&store, policy, &steps).await;
        }
    }
}

#[tokio::test]
async fn every_single_step_from_every_state_is_taken_or_refused_as_the_table_says() {
    // The shortest way to each state.
    let ways: [(QueueState, &[Step]); 4] = [
        (QueueState::Ready, &[]),
        (QueueState::InDoubt, &[Step::Mark]),
        (QueueState::Held, &[Step::Hold]),
        (QueueState::Done, &[Step::SettleDone]),
    ];
    for store in open_both("steps").await {
        for policy in InDoubtPolicy::ALL {
            for (_, way) in ways {
                for step in Step::ALL.iter().filter(|s| match s {
                    Step::ResolveResend | Step::ResolveAssume | Step::ResolveHold => **s == resolve(*policy),
                    _ => *policy == InDoubtPolicy::Resend,
                }) {
                    let steps: Vec<(usize, Step)> = way.iter().chain([step]).map(|s| (0, *s)).collect();
                    walk(&store, *policy, &steps).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_mark_is_granted_once() {
    for store in open_both("once").await {
        let rig = Rig::start(&store, 1, &RetryPolicy::preset("rehearsal").unwrap()).await;
        let delivery = rig.deliveries().await[0];
        let (a, b) = tokio::join!(rig.mark(delivery), rig.mark(delivery));
        let granted = [a, b].iter().filter(|a| **a == MarkAnswer::Granted).count();
        assert_eq!(granted, 1, "{a:?} {b:?} ({})", store.kind);
    }
}
