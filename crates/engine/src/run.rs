//! The engine as a whole: how its tasks start, and how they end in order.
//!
//! Must not know what a task does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_store::StoreError;
use postrider_store::writer::QueueWriter;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::book::Book;
use crate::config::{EngineConfig, Work};
use crate::courier::Kit;
use crate::landing::Landings;
use crate::metrics::Metrics;
use crate::plan::Waiting;
use crate::rules::{RuleFileError, Rules};
use crate::scheduler::Scheduler;
use crate::shared::{Phase, Shared};
use crate::submission::{Submission, SubmissionConfig, SubmissionListener};
use crate::workshop::Workshop;
use crate::{clock_work, import, inquiry, node, retention};

/// Courier places: more than there can ever be connections.
const COURIERS: usize = 1 << 20;
/// What the last words of an ended engine may take, beyond the grace that was asked for.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Why the engine could not start; reads after "could not start the engine".
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The bounce rules of the operator.
    #[error("could not {0}")]
    Rules(#[from] RuleFileError),
    /// The system gives no threads.
    #[error("the system gives no threads to sign on: {0}")]
    Threads(#[from] std::io::Error),
}

/// How an orderly stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Deliveries that were in the air and finished.
    pub in_air_finished: usize,
    /// Deliveries still in the air when the grace was over: they are in doubt.
    pub left: usize,
    /// What the store said at the end, when it was no good.
    pub trouble: Option<String>,
}

/// A running engine. Dropped without [`Engine::shutdown`] it ends like a killed process: nothing is lost, and what was
/// marked is in doubt.
pub struct Engine {
    shared: Arc<Shared>,
    scheduler: Arc<Scheduler>,
    kit: Arc<Kit>,
    registry: Arc<Registry>,
    book: Arc<Book>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    beat: JoinHandle<()>,
}

impl Engine {
    /// Registers the node, decides about what an earlier process left in doubt, and starts everything.
    ///
    /// # Errors
    /// The store cannot be worked with, or the system gives no threads.
    pub async fn start(config: EngineConfig) -> Result<Engine, StartError> {
        let store = config.store.clone();
        let rules = Rules::open(config.bounce_rules.as_deref())?;
        let node = store.register_node().await?;
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let writer = store.queue_writer(node);
        let work = config.work;
        let shared = Arc::new(Shared::new(config, node, writer, metrics, rules));
        tracing::info!(event = "engine.started", node = %node.id, epoch = node.epoch);
        let beat = tokio::spawn(node::beat(Arc::clone(&shared)));
        let scheduler = Scheduler::new(Arc::clone(&shared));
        let landings = Landings::new(Arc::clone(&shared));
        let book = Arc::new(Book::new(store));
        let workshop = Workshop::open(shared.config.limits.signing_threads)?;
        let kit = Arc::new_cyclic(|me| Kit {
            shared: Arc::clone(&shared),
            scheduler: Arc::clone(&scheduler),
            book: Arc::clone(&book),
            workshop,
            landings: Arc::clone(&landings),
            at_work: Arc::new(Semaphore::new(COURIERS)),
            me: me.clone(),
        });
        let mut tasks = vec![
            tokio::spawn(watch_writer(Arc::clone(&shared))),
            tokio::spawn(import::job::run(Arc::clone(&shared))),
            tokio::spawn(inquiry::run(Arc::clone(&shared), Arc::clone(&scheduler))),
            tokio::spawn(retention::run(Arc::clone(&shared))),
        ];
        match work {
            Work::All => {
                node::resolve_in_doubt(&shared).await?;
                let dispatch = Arc::downgrade(&kit);
                scheduler.set_dispatch(dispatch);
                let resolve: Arc<Kit> = Arc::clone(&kit);
                tasks.push(tokio::spawn(Arc::clone(&scheduler).manage(Arc::clone(&book), resolve)));
                tasks.push(tokio::spawn(landings.run(Arc::clone(&scheduler))));
                tasks.push(tokio::spawn(Arc::clone(&scheduler).tell()));
                tasks.push(tokio::spawn(crate::steer::run(Arc::clone(&shared))));
                tasks.push(tokio::spawn(node::watch(Arc::clone(&shared))));
                tasks.push(tokio::spawn(crate::watch::run(Arc::clone(&shared), Arc::clone(&scheduler))));
                tasks.push(tokio::spawn(crate::transport::Transport::run(Arc::clone(&shared))));
                tasks.push(tokio::spawn(crate::certificate::run(Arc::clone(&shared))));
                tasks.push(tokio::spawn(crate::tls_report::run(Arc::clone(&shared))));
                tasks.push(tokio::spawn(crate::key_watch::run(Arc::clone(&shared))));
                tasks.push(tokio::spawn(clock_work::run(
                    Arc::clone(&shared),
                    Arc::clone(&scheduler),
                    Arc::clone(&book),
                )));
            }
            Work::WithoutSending => {}
        }
        Ok(Engine { shared, scheduler, kit, registry: Arc::new(registry), book, tasks: Mutex::new(tasks), beat })
    }

    /// The figures of this process.
    pub fn metrics(&self) -> MetricsText {
        MetricsText(Arc::clone(&self.registry))
    }

    /// The group-commit writer of this node, for what the web side accepts; `None` where nothing is sent.
    pub fn writer(&self) -> Option<QueueWriter> {
        match self.shared.config.work {
            Work::All => Some(self.shared.writer.clone()),
            Work::WithoutSending => None,
        }
    }

    /// Takes in mail of applications at these listeners until the engine stops.
    pub fn take_in(&self, config: SubmissionConfig, listeners: Vec<SubmissionListener>) {
        let submission = Arc::new(Submission::new(Arc::clone(&self.shared), Arc::clone(&self.book), config));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(tokio::spawn(Arc::clone(&submission).run()));
        for listener in listeners {
            tasks.push(tokio::spawn(Arc::clone(&submission).listen(listener)));
        }
    }

    /// Whether the engine can do its work.
    pub fn readiness(&self) -> Readiness {
        Readiness(Arc::clone(&self.shared))
    }

    /// What is ready and does not leave, and why; in memory, so it is this node's part only.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.scheduler.waiting()
    }

    /// Waits until the engine cannot go on, and says why: the process must then end with an error (REL-11).
    pub async fn failed(&self) -> String {
        self.shared.failed().await
    }

    /// Ends in order: new transactions stop, what is in the air finishes within `grace`, everything is settled and the
    /// lanes are given back.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let shared = &self.shared;
        let begun = self.scheduler.in_air();
        shared.enter(Phase::Stopping);
        tracing::info!(event = "engine.stopping", in_air = begun);
        let all = u32::try_from(COURIERS).unwrap_or(u32::MAX);
        let landed = tokio::time::timeout(grace, self.kit.at_work.acquire_many(all)).await.is_ok();
        let mut trouble = None;
        let mut note = |error: &dyn std::fmt::Display| {
            trouble.get_or_insert(error.to_string());
        };
        if let Err(error) = shared.writer.flush().await {
            note(&error);
        }
        let left = if landed { 0 } else { self.scheduler.in_air().max(1) };
        shared.enter(Phase::Ended);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async {
            for task in tasks {
                // A task that panicked has been logged by the panic hook; the others still end in order.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
            note(&"a task of the engine did not end");
        }
        if let Err(error) = shared.writer.flush().await {
            note(&error);
        }
        self.beat.abort();
        if let Err(error) = shared.store.retire_node(shared.node).await {
            note(&error);
        }
        let report = ShutdownReport { in_air_finished: begun.saturating_sub(left), left, trouble };
        tracing::info!(event = "engine.stopped", finished = report.in_air_finished, left = report.left);
        report
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.enter(Phase::Ended);
        self.beat.abort();
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

/// A failed commit ends everything (REL-11).
async fn watch_writer(shared: Arc<Shared>) {
    tokio::select! {
        error = shared.writer.failed() => shared.fail(&error),
        () = shared.reached(Phase::Ended) => {}
    }
}

/// The figures of a process, for `/metrics`.
#[derive(Clone)]
pub struct MetricsText(Arc<Registry>);

impl MetricsText {
    /// The text in the format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0);
        text
    }
}

/// Whether the engine can do its work, for `/readyz`.
#[derive(Clone)]
pub struct Readiness(Arc<Shared>);

impl Readiness {
    /// Asks.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn check(&self) -> Result<(), String> {
        if let Some(why) = self.0.failure() {
            return Err(format!("the engine has failed: {why}"));
        }
        match self.0.phase() {
            Phase::Running => {}
            Phase::Stopping | Phase::Ended => return Err("the engine is stopping".to_owned()),
        }
        match self.0.store.space() {
            Ok(space) if space.low => Err("the disk of the data folder is nearly full".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
