//! Threads of their own for what costs processor time: rendering and RSA signatures.
//!
//! A signature takes half a millisecond; on the threads that drive sockets it would stop all the others. Must not know
//! what is made here.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    waiting: VecDeque<Piece>,
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
                if let Some(piece) = pieces.waiting.pop_front() {
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

    /// Has a piece of work done; `None` when it panicked.
    pub(crate) fn order<T, F>(&self, urgency: Urgency, work: F) -> impl Future<Output = Option<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (done, waiting) = oneshot::channel();
        let piece: Piece = Box::new(move || {
            // Who no longer waits needs no answer.
            let _ = done.send(work());
        });
        let mut pieces = self.bench.lock();
        match urgency {
            Urgency::First => pieces.waiting.push_front(piece),
            Urgency::InTurn => pieces.waiting.push_back(piece),
        }
        drop(pieces);
        self.bench.more.notify_one();
        async move { waiting.await.ok() }
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

    #[tokio::test]
    async fn a_panic_costs_one_piece_only() {
        let shop = Workshop::open(1).unwrap();
        assert_eq!(shop.order(Urgency::InTurn, || -> u8 { panic!("on purpose") }).await, None);
        assert_eq!(shop.order(Urgency::InTurn, || 7).await, Some(7));
    }

    #[tokio::test]
    async fn urgent_pieces_go_before_waiting_ones() {
        let shop = Workshop::open(1).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let blocked = shop.order(Urgency::InTurn, move || gate.recv().is_ok());
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(name)
        };
        // Wait until the thread is inside the first piece, so that the others queue up behind it.
        while !shop.bench.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let slow = shop.order(Urgency::InTurn, note("in turn"));
        let fast = shop.order(Urgency::First, note("first"));
        open.send(()).unwrap();
        tokio::join!(blocked, slow, fast);
        assert_eq!(*order.lock().unwrap(), ["first", "in turn"]);
    }
}
