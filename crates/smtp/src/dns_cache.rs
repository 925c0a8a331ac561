//! A bounded cache with single flight: many callers that ask the same at once cause one question.
//!
//! Knows time as tokio's clock, so that a test can wind it. Knows nothing of DNS records.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::dns::Negative;
use crate::resolve::ResolveError;

type Answer<T> = Result<T, ResolveError>;
type Flight<T> = Arc<OnceCell<Answer<T>>>;

pub(crate) struct Cache<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    known: HashMap<String, (Answer<T>, Instant)>,
    in_flight: HashMap<String, Flight<T>>,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { known: HashMap::new(), in_flight: HashMap::new() };
        Self { capacity: capacity.max(1), state: Mutex::new(state) }
    }

    pub(crate) fn clear(&self) {
        self.lock().known.clear();
    }

    /// The remembered answer, or the answer of `ask`, which runs once however many callers wait for it.
    pub(crate) async fn get_or_ask<F>(&self, name: &str, ask: impl FnOnce() -> F) -> Answer<T>
    where
        F: Future<Output = Result<(T, Duration), Negative>>,
    {
        let flight = {
            let mut state = self.lock();
            if let Some((answer, until)) = state.known.get(name) {
                if Instant::now() < *until {
                    return answer.clone();
                }
                state.known.remove(name);
            }
            Arc::clone(state.in_flight.entry(name.to_owned()).or_default())
        };
        let _landing = Landing { cache: self, name, flight: &flight };
        // When the caller that asks is cancelled, the next one that waits asks in its place.
        flight
            .get_or_init(|| async {
                let (answer, keep) = match ask().await {
                    Ok((value, keep)) => (Ok(value), keep),
                    Err(negative) => (Err(negative.error), negative.keep),
                };
                self.remember(name, answer.clone(), keep);
                answer
            })
            .await
            .clone()
    }

    fn remember(&self, name: &str, answer: Answer<T>, keep: Duration) {
        if keep.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        if state.known.len() >= self.capacity {
            state.known.retain(|_, (_, until)| now < *until);
        }
        if state.known.len() >= self.capacity {
            // Full of live answers: drop some. Any will do, a wrong guess costs one question.
            let some: Vec<String> = state.known.keys().take(1 + self.capacity / 16).cloned().collect();
            for name in some {
                state.known.remove(&name);
            }
        }
        state.known.insert(name.to_owned(), (answer, now + keep));
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing inside a locked section can leave the maps half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the question out of the list of those in the air, also when its caller is cancelled.
struct Landing<'a, T: Clone> {
    cache: &'a Cache<T>,
    name: &'a str,
    flight: &'a Flight<T>,
}

impl<T: Clone> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        let ours = state.in_flight.get(self.name).is_some_and(|listed| Arc::ptr_eq(listed, self.flight));
        // Two holders: the list and this caller. While others wait, they need the entry.
        if ours && (self.flight.initialized() || Arc::strong_count(self.flight) <= 2) {
            state.in_flight.remove(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    type Reply = Result<(u32, Duration), Negative>;

    async fn asked(count: &AtomicU32, reply: Reply) -> Reply {
        tokio::time::sleep(Duration::from_millis(10)).await;
        count.fetch_add(1, Ordering::Relaxed);
        reply
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_time_and_no_longer() {
        let cache = Cache::new(10);
        let count = AtomicU32::new(0);
        let keep = Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(cache.get_or_ask("a", || asked(&count, Ok((7, keep)))).await, Ok(7));
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        tokio::time::advance(keep).await;
        assert_eq!(cache.get_or_ask("a", || asked(&count, Ok((8, keep)))).await, Ok(8));
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_temporary_failure_is_not_remembered() {
        let cache = Cache::<u32>::new(10);
        let count = AtomicU32::new(0);
        for _ in 0..2 {
            let answer = cache.get_or_ask("a", || asked(&count, Err(Negative::temporary("x".to_owned())))).await;
            assert_eq!(answer, Err(ResolveError::Temporary("x".to_owned())));
        }
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_question() {
        let cache = Cache::new(10);
        let count = AtomicU32::new(0);
        let ask = || cache.get_or_ask("a", || asked(&count, Ok((7, Duration::ZERO))));
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((a, b, c), (Ok(7), Ok(7), Ok(7)));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(cache.lock().in_flight.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_question_is_taken_over_and_leaves_nothing_behind() {
        let cache = Cache::new(10);
        let count = AtomicU32::new(0);
        let first = tokio::time::timeout(
            Duration::from_millis(5),
            cache.get_or_ask("a", || asked(&count, Ok((7, Duration::ZERO)))),
        );
        let second = cache.get_or_ask("a", || asked(&count, Ok((8, Duration::ZERO))));
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err());
        assert_eq!(second, Ok(8));
        let alone = tokio::time::timeout(
            Duration::from_millis(5),
            cache.get_or_ask("b", || asked(&count, Ok((9, Duration::ZERO)))),
        );
        assert!(alone.await.is_err());
        assert!(cache.lock().in_flight.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_never_grows_past_its_capacity() {
        let cache = Cache::new(16);
        let count = AtomicU32::new(0);
        for n in 0..100 {
            let answer = cache.get_or_ask(&format!("n{n}"), || asked(&count, Ok((n, Duration::from_secs(600))))).await;
            assert_eq!(answer, Ok(n));
            assert!(cache.lock().known.len() <= 16);
        }
    }
}
