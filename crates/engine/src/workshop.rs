//! Threads of their own for what costs processor time: rendering and RSA signatures.
//!
//! A signature takes half a millisecond; on the threads that drive sockets it would stop all the others. Must not know
//! what is made here.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Piece = Box<dyn FnOnce() + Send>;

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Before everything that waits.
    First,
    /// In turn.
    InTurn,
}

struct Bench {
    pieces: Mutex<Pieces>,
    more: Condvar,
}

#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Piece>,
    closed: bool,
}

impl Bench {
    fn lock(&self) -> MutexGuard<'_, Pieces> {
        // A piece runs outside of the lock, so nothing is left half done inside.
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut pieces = self.lock();
            let piece = loop {
                if let Some(piece) = pieces.pieces.pop_front() {
                    break piece;
                }
                if pieces.closed {
                    return;
                }
                pieces = self.more.wait(pieces).unwrap_or_else(PoisonError::into_inner);
            };
            drop(pieces);
            // A panic in one message must not take the thread away from the others; its waiter sees an error.
            let _ = catch_unwind(AssertUnwindSafe(piece));
        }
    }
}

/// The threads; they end when this is dropped.
pub(crate) struct Workshop {
    bench: Arc<Bench>,
}

impl Workshop {
    /// Starts `threads` threads, or one a core when 0.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn open(threads: usize) -> std::io::Result<Workshop> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let bench = Arc::new(Bench { pieces: Mutex::default(), more: Condvar::new() });
        let shop = Workshop { bench: Arc::clone(&bench) };
        for n in 0..if threads == 0 { cores } else { threads } {
            let bench = Arc::clone(&bench);
            std::thread::Builder::new().name(format!("postrider-sign-{n}")).spawn(move || bench.work())?;
        }
        Ok(shop)
    }

    /// Has pieces of work done, on all threads; whoever waits is woken once, when the last is done. `None` stands for a
    /// piece that panicked.
    pub(crate) fn order<T, F>(
        &self,
        urgency: Urgency,
        work: Vec<F>,
    ) -> impl Future<Output = Vec<Option<T>>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, waiting) = oneshot::channel();
        let results = Mutex::new(work.iter().map(|_| None).collect());
        let batch = Arc::new(Batch { results, left: AtomicUsize::new(work.len()), done: Mutex::new(Some(done)) });
        let count = work.len();
        let pieces = work.into_iter().enumerate().map(|(at, work)| -> Piece {
            let place = Place { batch: Arc::clone(&batch), at };
            Box::new(move || place.fill(work()))
        });
        {
            let mut waiting = self.bench.lock();
            match urgency {
                // The first of them stays the first.
                Urgency::First => pieces.rev().for_each(|piece| waiting.pieces.push_front(piece)),
                Urgency::InTurn => waiting.pieces.extend(pieces),
            }
        }
        match count {
            0 => {
                batch.end();
            }
            1 => self.bench.more.notify_one(),
            _ => self.bench.more.notify_all(),
        }
        async move { waiting.await.unwrap_or_default() }
    }
}

/// Pieces that somebody waits for together.
struct Batch<T> {
    results: Mutex<Vec<Option<T>>>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<Vec<Option<T>>>>>,
}

impl<T> Batch<T> {
    /// Hands the results to whoever waits; who no longer waits needs none.
    fn end(&self) {
        let results = std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = done.send(results);
        }
    }
}

/// The place of a piece's result. Dropping it counts the piece as done, also when it panicked.
struct Place<T> {
    batch: Arc<Batch<T>>,
    at: usize,
}

impl<T> Place<T> {
    fn fill(&self, result: T) {
        let mut results = self.batch.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = results.get_mut(self.at) {
            *place = Some(result);
        }
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        if self.batch.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.batch.end();
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        self.bench.lock().closed = true;
        self.bench.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Work = Box<dyn FnOnce() -> u8 + Send>;

    #[tokio::test]
    async fn a_panic_costs_one_piece_only() {
        let shop = Workshop::open(1).unwrap();
        let work: Vec<Work> = vec![Box::new(|| 6), Box::new(|| panic!("on purpose")), Box::new(|| 7)];
        assert_eq!(shop.order(Urgency::InTurn, work).await, [Some(6), None, Some(7)]);
        assert_eq!(shop.order(Urgency::InTurn, vec![|| 8]).await, [Some(8)]);
        assert_eq!(shop.order(Urgency::InTurn, Vec::<Work>::new()).await, []);
    }

    #[tokio::test]
    async fn urgent_pieces_go_before_waiting_ones_and_keep_their_order() {
        let shop = Workshop::open(1).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let blocked = shop.order(Urgency::InTurn, vec![move || gate.recv().is_ok()]);
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(name)
        };
        // Wait until the thread is inside the first piece, so that the others queue up behind it.
        while !shop.bench.lock().pieces.is_empty() {
            tokio::task::yield_now().await;
        }
        let slow = shop.order(Urgency::InTurn, vec![note("in turn")]);
        let fast = shop.order(Urgency::First, vec![note("first"), note("second")]);
        open.send(()).unwrap();
        tokio::join!(blocked, slow, fast);
        assert_eq!(*order.lock().unwrap(), ["first", "second", "in turn"]);
    }
}
