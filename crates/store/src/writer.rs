//! The group-commit writer of a node: many marks, settles and accepted messages share one transaction and one sync.
//!
//! Marks and accepts never wait for a timer: a commit begins as soon as the one before has returned. Settles wait up to
//! 50 ms or 200 items and share a commit. If a merged statement fails, the batch is replayed one by one. A failed commit
//! is fatal (REL-11). Must not know what is marked or settled: see `mark`, `settle`, `message`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_domain::gate::Withheld;
use postrider_domain::id::AttemptId;
use postrider_domain::outcome::Outcome;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::counter::Tally;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::event;
use crate::lane::HeldLane;
use crate::mark::{MarkAnswer, MarkRefused, MarkRequest, Trial, mark};
use crate::message::{NewMessage, accept, already_taken};
use crate::node::{Node, hold_epoch};
use crate::settle::{Next, Pending, Settle, settle};
use crate::store::Store;

/// Longest wait of a settle for company (REL-6).
const SETTLE_WAIT: Duration = Duration::from_millis(50);
/// Settles that are company enough (REL-6).
const SETTLE_COUNT: usize = 200;
/// Most operations of one transaction.
const MAX_BATCH: usize = 1_000;
/// How long a lost database is waited for before the process must end.
const LOST_FOR: Duration = Duration::from_secs(60);

enum Op {
    Mark(MarkRequest, oneshot::Sender<Result<MarkAnswer>>),
    Accept(Box<NewMessage>, oneshot::Sender<Result<()>>),
    Settle(Pending),
    Flush(oneshot::Sender<()>),
}

/// The handle of a node's writer; clones share it. It ends when the last clone is dropped.
#[derive(Clone)]
pub struct QueueWriter {
    ops: mpsc::UnboundedSender<Op>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    node: Node,
    /// Why nothing may be promised any more.
    failed: Mutex<Option<String>>,
    failing: tokio::sync::watch::Sender<bool>,
    no_space: AtomicBool,
    stale: std::sync::atomic::AtomicU64,
}

impl Shared {
    fn check(&self) -> Result<()> {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(StoreError::Fatal(why.clone())),
            None => Ok(()),
        }
    }

    fn fail(&self, why: String) {
        tracing::error!(%why, "queue: a commit failed for good");
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.failing.send_replace(true);
    }
}

impl Store {
    /// Starts the writer of a registered node. One per process.
    pub fn queue_writer(&self, node: Node) -> QueueWriter {
        let (ops, received) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            store: self.clone(),
            node,
            failed: Mutex::new(None),
            failing: tokio::sync::watch::Sender::new(false),
            no_space: AtomicBool::new(false),
            stale: std::sync::atomic::AtomicU64::new(0),
        });
        tokio::spawn(write_groups(received, Arc::clone(&shared)));
        QueueWriter { ops, shared }
    }
}

impl QueueWriter {
    /// The node whose writer this is.
    pub fn node(&self) -> Node {
        self.shared.node
    }

    /// Asks for a mark and waits until it is durable, or refused.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when a commit failed: the dot must not go.
    pub async fn mark(&self, request: MarkRequest) -> Result<MarkAnswer> {
        if self.shared.no_space.load(Ordering::Relaxed) {
            return Ok(MarkAnswer::Refused(MarkRefused::NoSpace));
        }
        let (answer, answered) = oneshot::channel();
        self.send(Op::Mark(request, answer))?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Hands over the owner's word on a delivery and does not wait; [`QueueWriter::flush`] does.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when a commit failed.
    pub fn settle(&self, settle: Settle) -> Result<()> {
        let attempt = AttemptId(self.shared.store.next_id());
        self.send(Op::Settle(Pending { settle, attempt }))
    }

    /// Settles a delivery as withheld, without an attempt.
    ///
    /// # Errors
    /// As [`QueueWriter::settle`].
    pub fn withhold(
        &self,
        row: &crate::lane::QueueRow,
        lease: &crate::lane::LaneLease,
        reason: Withheld,
    ) -> Result<()> {
        self.settle(Settle {
            delivery: row.delivery,
            lane: lease.lane,
            lane_epoch: lease.epoch,
            attempt: None,
            next: Next::Done(Outcome::Withheld(reason)),
            suppress: None,
            soft: None,
        })
    }

    /// Takes a message durably: only after this may somebody be told that it was taken.
    ///
    /// # Errors
    /// [`StoreError::Full`] on a nearly full disk, [`StoreError::Conflict`] when its Idempotency-Key was completed
    /// elsewhere, [`StoreError::Fatal`] when a commit failed.
    pub async fn accept_message(&self, message: NewMessage) -> Result<()> {
        if self.shared.no_space.load(Ordering::Relaxed) {
            let space = self.shared.store.space()?;
            return Err(StoreError::Full { free: space.free, need: crate::folder::Space::needed(space.total) });
        }
        let (answer, answered) = oneshot::channel();
        self.send(Op::Accept(Box::new(message), answer))?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Waits until everything handed over before is durable.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when a commit failed.
    pub async fn flush(&self) -> Result<()> {
        let (done, waited) = oneshot::channel();
        self.send(Op::Flush(done))?;
        waited.await.map_err(|_| self.ended())?;
        self.shared.check()
    }

    /// Waits until a commit has failed for good: the process must then end with an error (REL-11).
    pub async fn failed(&self) -> StoreError {
        let mut failing = self.shared.failing.subscribe();
        // The sender lives as long as we do.
        let _ = failing.wait_for(|failed| *failed).await;
        self.ended()
    }

    /// Looks at the disk; on a nearly full one new marks and messages are refused until there is room again.
    ///
    /// # Errors
    /// The data folder cannot be looked at.
    pub fn look_at_space(&self) -> Result<crate::folder::Space> {
        let space = self.shared.store.space()?;
        self.shared.no_space.store(space.low, Ordering::Relaxed);
        Ok(space)
    }

    /// Whether messages are refused because the disk is nearly full.
    pub fn is_short_of_space(&self) -> bool {
        self.shared.no_space.load(Ordering::Relaxed)
    }

    /// Settles that came too late: their rows had been taken over or cancelled.
    pub fn stale_settles(&self) -> u64 {
        self.shared.stale.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn pretend_no_space(&self, low: bool) {
        self.shared.no_space.store(low, Ordering::Relaxed);
    }

    fn send(&self, op: Op) -> Result<()> {
        self.shared.check()?;
        self.ops.send(op).map_err(|_| self.ended())
    }

    fn ended(&self) -> StoreError {
        match self.shared.check() {
            Err(error) => error,
            Ok(()) => StoreError::Fatal("the writer has ended".into()),
        }
    }
}

/// Operations that share a transaction.
#[derive(Default)]
struct Group {
    marks: Vec<(MarkRequest, oneshot::Sender<Result<MarkAnswer>>)>,
    accepts: Vec<(Box<NewMessage>, oneshot::Sender<Result<()>>)>,
    settles: Vec<Pending>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Group {
    fn push(&mut self, op: Op) {
        match op {
            Op::Mark(request, answer) => self.marks.push((request, answer)),
            Op::Accept(message, answer) => self.accepts.push((message, answer)),
            Op::Settle(pending) => self.settles.push(pending),
            Op::Flush(done) => self.flushes.push(done),
        }
    }

    fn len(&self) -> usize {
        self.marks.len() + self.accepts.len() + self.settles.len()
    }

    /// Somebody waits for the commit.
    fn is_urgent(&self) -> bool {
        !(self.marks.is_empty() && self.accepts.is_empty() && self.flushes.is_empty())
    }

    /// The group split into groups of one operation each, in the order in which they are carried out.
    fn singles(self) -> Vec<Group> {
        let mut singles = Vec::new();
        singles.extend(self.settles.into_iter().map(|p| Group { settles: vec![p], ..Group::default() }));
        singles.extend(self.marks.into_iter().map(|m| Group { marks: vec![m], ..Group::default() }));
        singles.extend(self.accepts.into_iter().map(|a| Group { accepts: vec![a], ..Group::default() }));
        singles
    }

    fn refuse(self, error: impl Fn() -> StoreError) {
        for (_, answer) in self.marks {
            let _ = answer.send(Err(error()));
        }
        for (_, answer) in self.accepts {
            let _ = answer.send(Err(error()));
        }
    }
}

async fn write_groups(mut ops: mpsc::UnboundedReceiver<Op>, shared: Arc<Shared>) {
    while let Some(first) = ops.recv().await {
        let mut group = Group::default();
        group.push(first);
        let deadline = Instant::now() + SETTLE_WAIT;
        loop {
            while group.len() < MAX_BATCH
                && let Ok(op) = ops.try_recv()
            {
                group.push(op);
            }
            if group.is_urgent() || group.len() >= SETTLE_COUNT {
                break;
            }
            match tokio::time::timeout_at(deadline, ops.recv()).await {
                Ok(Some(op)) => group.push(op),
                Ok(None) | Err(_) => break,
            }
        }
        if shared.check().is_err() {
            group.refuse(|| StoreError::Fatal("a commit failed before".into()));
            continue;
        }
        let flushes = std::mem::take(&mut group.flushes);
        run(&shared, group).await;
        for done in flushes {
            let _ = done.send(());
        }
    }
}

/// Carries a group out: together, else one by one, else the writer fails.
async fn run(shared: &Shared, group: Group) {
    if group.len() == 0 {
        return;
    }
    // The moment of the group stays the same when it is repeated: that is how a mark of ours is recognised.
    let now = shared.store.now();
    match attempt(shared, &group, now).await {
        Ok(done) => answer(group, done),
        Err(Failure::Fatal(why)) => {
            group.refuse(|| StoreError::Fatal(why.clone()));
            shared.fail(why);
        }
        Err(Failure::Statement(error)) if group.len() == 1 => {
            refuse_one(group, error);
        }
        Err(Failure::Statement(error)) => {
            tracing::warn!(%error, operations = group.len(), "queue: a merged statement failed; the group is replayed one by one");
            for single in group.singles() {
                match attempt(shared, &single, now).await {
                    Ok(done) => answer(single, done),
                    Err(Failure::Statement(error)) => refuse_one(single, error),
                    Err(Failure::Fatal(why)) => {
                        single.refuse(|| StoreError::Fatal(why.clone()));
                        shared.fail(why);
                        return;
                    }
                }
            }
        }
    }
}

/// What a group did.
struct Done {
    marks: Vec<MarkAnswer>,
}

enum Failure {
    /// One of the statements; nothing was changed.
    Statement(StoreError),
    /// The storage; nothing may be promised any more.
    Fatal(String),
}

fn answer(group: Group, done: Done) {
    for ((_, waiting), answer) in group.marks.into_iter().zip(done.marks) {
        // Who no longer waits has closed the connection; the row is in doubt and will be settled or resolved.
        let _ = waiting.send(Ok(answer));
    }
    for (_, waiting) in group.accepts {
        let _ = waiting.send(Ok(()));
    }
}

fn refuse_one(mut group: Group, error: StoreError) {
    if let Some((_, waiting)) = group.marks.pop() {
        let _ = waiting.send(Err(error));
    } else if let Some((_, waiting)) = group.accepts.pop() {
        let _ = waiting.send(Err(error));
    } else if let Some(pending) = group.settles.pop() {
        // The row stays in doubt and will be resolved by policy: a possible duplicate, never a loss.
        tracing::error!(%error, delivery = %pending.settle.delivery, "queue: a settle cannot be written");
    }
}

/// Tries a group in one transaction; repeats it while the database says that a repetition may help.
async fn attempt(shared: &Shared, group: &Group, now: i64) -> std::result::Result<Done, Failure> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(10);
    let mut trial = Trial::First;
    loop {
        let error = match once(shared, group, trial, now).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let lost = is_connection_lost(&error);
        if lost {
            trial = Trial::Repeated;
        }
        if matches!(error, StoreError::Fatal(_)) || error.is_storage_failure() {
            return Err(Failure::Fatal(error.to_string()));
        }
        if !(error.is_transient() || lost) {
            return Err(Failure::Statement(error));
        }
        if begun.elapsed() > LOST_FOR {
            return Err(Failure::Fatal(format!("the database was lost for {} s: {error}", LOST_FOR.as_secs())));
        }
        tracing::warn!(%error, "queue: the group is repeated");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// The end of a commit over such a connection is unknown; the group recognises what it had already done.
fn is_connection_lost(error: &StoreError) -> bool {
    match error {
        StoreError::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed) => true,
        // 57P01..57P03: the server is going down or coming up; 08: connection exceptions.
        StoreError::Database(sqlx::Error::Database(e)) => {
            e.code().is_some_and(|c| c.starts_with("57P") || c.starts_with("08"))
        }
        _ => false,
    }
}

async fn once(shared: &Shared, group: &Group, trial: Trial, now: i64) -> Result<Done> {
    let store = &shared.store;
    let mut tx = store.begin(Lane::Queue).await?;
    let mut tally = Tally::default();
    hold_epoch(&mut tx, shared.node).await?;
    let lanes = hold_lanes(&mut tx, shared.node, group).await?;
    // Settles first: the same delivery may be settled and, ready again at once, marked in one group.
    let settled = settle(&mut tx, shared.node, &lanes, &group.settles, trial, now, &mut tally).await?;
    let requests: Vec<MarkRequest> = group.marks.iter().map(|(request, _)| *request).collect();
    let marks = mark(&mut tx, &lanes, &requests, trial, now, &mut tally).await?;
    if !group.accepts.is_empty() {
        let mut messages: Vec<&NewMessage> = group.accepts.iter().map(|(message, _)| &**message).collect();
        if trial == Trial::Repeated {
            let taken = already_taken(&mut tx, &messages).await?;
            messages.retain(|m| !taken.contains(&m.id));
        }
        let lane_ids: Vec<i64> = store.next_ids(messages.len()).collect();
        accept(&mut tx, store, &messages, &lane_ids, now, &mut tally).await?;
    }
    event::record(&mut tx, shared.node.id, &settled.events).await?;
    tally.write(&mut tx, shared.node.id).await?;
    tx.commit().await.map_err(|error| match error {
        // A commit that failed on this machine's own disk is never tried again as if nothing had happened.
        StoreError::Database(inner) if store.is_sqlite() => StoreError::Fatal(inner.to_string()),
        other => other,
    })?;
    if settled.stale > 0 {
        shared.stale.fetch_add(settled.stale as u64, Ordering::Relaxed);
    }
    Ok(Done { marks })
}

/// Keeps the lanes of a group from changing their owner until the end of the transaction.
async fn hold_lanes(tx: &mut Tx, node: Node, group: &Group) -> Result<HashMap<i64, HeldLane>> {
    let marked = group.marks.iter().map(|(request, _)| request.lane.get());
    let mut lanes: Vec<i64> = marked.chain(group.settles.iter().map(|p| p.settle.lane.get())).collect();
    lanes.sort_unstable();
    lanes.dedup();
    crate::lane::hold(tx, node, &lanes).await
}
