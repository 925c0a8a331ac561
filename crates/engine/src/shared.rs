//! What every part of the engine holds: the parts that were handed in, the writer, and how to end.
//!
//! Must not know what the parts do with it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_store::node::Node;
use postrider_store::writer::QueueWriter;
use postrider_store::{KeyPurpose, Store, StoreError};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::breakers::Breakers;
use crate::config::EngineConfig;
use crate::metrics::Metrics;
use crate::rules::Rules;
use crate::transport::Transport;
use crate::unanswered::Unanswered;
use crate::watch::{Listening, Notes};

/// How far the engine's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything runs.
    Running,
    /// No new transaction begins; what is in the air finishes.
    Stopping,
    /// Everything ends now.
    Ended,
}

/// Shared by all tasks.
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) store: Store,
    pub(crate) node: Node,
    pub(crate) writer: QueueWriter,
    pub(crate) metrics: Metrics,
    pub(crate) transport: Transport,
    pub(crate) unanswered: Unanswered,
    /// What the look-out should know.
    pub(crate) notes: Arc<Notes>,
    pub(crate) breakers: Breakers,
    pub(crate) rules: Rules,
    pub(crate) message_id_key: Zeroizing<[u8; 32]>,
    pub(crate) log_key: Zeroizing<[u8; 32]>,
    phase: watch::Sender<Phase>,
    failed: Mutex<Option<String>>,
    failing: watch::Sender<bool>,
    random: AtomicU64,
    /// The last sign of life that the store took, on the machine's own clock.
    beat_at: Mutex<Instant>,
    nodes: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(
        mut config: EngineConfig,
        node: Node,
        writer: QueueWriter,
        metrics: Metrics,
        rules: Rules,
    ) -> Shared {
        let store = config.store.clone();
        let notes = Arc::new(Notes::default());
        config.resolver =
            Arc::new(Listening::new(Arc::clone(&config.resolver), Arc::clone(&notes), Arc::clone(store.clock())));
        Shared {
            message_id_key: store.derived_key(KeyPurpose::MessageId),
            log_key: store.derived_key(KeyPurpose::Log),
            random: AtomicU64::new(config.seed),
            beat_at: Mutex::new(Instant::now()),
            nodes: AtomicUsize::new(1),
            node,
            writer,
            metrics,
            transport: Transport::default(),
            unanswered: Unanswered::default(),
            notes,
            breakers: Breakers::default(),
            rules,
            phase: watch::Sender::new(Phase::Running),
            failed: Mutex::new(None),
            failing: watch::Sender::new(false),
            store,
            config,
        }
    }

    /// Milliseconds UTC.
    pub(crate) fn now(&self) -> i64 {
        self.store.now()
    }

    /// Milliseconds of the monotonic clock.
    pub(crate) fn monotonic(&self) -> i64 {
        self.store.clock().monotonic_ms()
    }

    /// The next number of the seeded sequence (SplitMix64).
    pub(crate) fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to 1.
    pub(crate) fn spread(&self) -> f64 {
        (self.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The store has taken a sign of life that was begun at this moment.
    pub(crate) fn gave_sign_of_life(&self, begun: Instant) {
        *self.beat_at.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }

    /// Whether no other node can have taken us for dead: what was marked ahead may still go (REL-8).
    pub(crate) fn is_surely_alive(&self) -> bool {
        let dead_after = Duration::from_millis(u64::try_from(self.config.times.dead_after_ms).unwrap_or(0));
        self.beat_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < dead_after * 2 / 3
    }

    /// How many nodes share the work, at least one.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Notes how many nodes share the work; whether that is news.
    pub(crate) fn set_nodes(&self, n: usize) -> bool {
        self.nodes.swap(n.max(1), Ordering::Relaxed) != n.max(1)
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to a later phase; never back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|present| {
            let later = phase > *present;
            if later {
                *present = phase;
            }
            later
        });
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Waits until the phase has come.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // The sender lives in `self`.
        let _ = receiver.wait_for(|present| *present >= phase).await;
    }

    /// Sleeps, unless the engine stops before; true while it runs.
    pub(crate) async fn rest(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => self.is_running(),
            () = self.reached(Phase::Stopping) => false,
        }
    }

    /// Notes an error of the store that nobody may go on from, and ends everything at once.
    pub(crate) fn fail(&self, error: &StoreError) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() {
            tracing::error!(event = "engine.fatal", error = %error);
            *failed = Some(error.to_string());
        }
        drop(failed);
        self.failing.send_replace(true);
        self.enter(Phase::Ended);
    }

    /// Looks at an error of the store: fatal ones end the engine, others are logged with what was being done.
    pub(crate) fn complain(&self, doing: &'static str, error: &StoreError) {
        if matches!(error, StoreError::Fatal(_)) || error.is_storage_failure() {
            self.fail(error);
        } else {
            tracing::warn!(event = "engine.trouble", doing, error = %error);
            self.notes.trouble(self.monotonic(), doing);
            self.metrics.trouble(doing);
        }
    }

    /// Why the engine failed, when it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the engine fails.
    pub(crate) async fn failed(&self) -> String {
        let mut receiver = self.failing.subscribe();
        let _ = receiver.wait_for(|failing| *failing).await;
        self.failure().unwrap_or_else(|| "the engine ended".to_owned())
    }
}
