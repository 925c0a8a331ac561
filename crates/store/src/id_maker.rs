//! Makes ids: 64 bits, ordered by time, never twice, never backwards when the clock is set back.
//!
//! Layout from the high end: 41 bits milliseconds since 2025, 14 bits running number, 8 bits node. The running number
//! may spill into the milliseconds: ids then run a little ahead of the clock, and stay unique.

use std::sync::atomic::{AtomicI64, Ordering};

/// 2025-01-01 UTC in milliseconds.
const EPOCH_MS: i64 = 1_735_689_600_000;
const NODE_BITS: u32 = 8;
const RUNNING_BITS: u32 = 14;

/// Most nodes that may share a database.
pub(crate) const MAX_NODES: i64 = (1 << NODE_BITS) - 1;

/// The maker of one process.
pub(crate) struct IdMaker {
    /// Last number given, without the node bits.
    last: AtomicI64,
    node: i64,
}

impl IdMaker {
    /// A maker for `node` (1 to [`MAX_NODES`]) that gives nothing at or below `highest`, the highest id stored.
    pub(crate) fn new(node: i64, highest: i64) -> IdMaker {
        IdMaker { last: AtomicI64::new(highest >> NODE_BITS), node: node & MAX_NODES }
    }

    /// A new id at this time (milliseconds UTC).
    pub(crate) fn next(&self, now_ms: i64) -> i64 {
        self.take(now_ms, 1).next().unwrap_or_default()
    }

    /// `n` new ids, ascending, for a set insert.
    pub(crate) fn take(&self, now_ms: i64, n: usize) -> impl ExactSizeIterator<Item = i64> + use<> {
        let n = i64::try_from(n).unwrap_or(i64::MAX >> 24);
        let clock = (now_ms - EPOCH_MS).max(0) << RUNNING_BITS;
        let mut first = 0;
        // Relaxed is enough: only the number itself is shared.
        let _ = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            first = clock.max(last + 1);
            Some(first + n - 1)
        });
        let node = self.node;
        (0..n as usize).map(move |i| ((first + i as i64) << NODE_BITS) | node)
    }
}

/// The lowest id of this time, milliseconds UTC: ids below it were made before, or by a clock that was behind.
pub(crate) fn lowest_at(ms: i64) -> i64 {
    (ms - EPOCH_MS).max(0) << (RUNNING_BITS + NODE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_rise_whatever_the_clock_does(times in prop::collection::vec((EPOCH_MS-5..EPOCH_MS+100_000, 1usize..300), 1..50)) {
            let maker = IdMaker::new(3, 0);
            let mut last = 0;
            for (now, n) in times {
                for id in maker.take(now, n) {
                    prop_assert!(id > last);
                    prop_assert_eq!(id & 0xff, 3);
                    last = id;
                }
            }
            prop_assert!(lowest_at(EPOCH_MS + 200_000) > last);
            let after_restart = IdMaker::new(3, last);
            prop_assert!(after_restart.next(0) > last);
        }
    }

    #[test]
    fn two_nodes_never_give_the_same_and_forty_years_fit() {
        let (a, b) = (IdMaker::new(1, 0), IdMaker::new(2, 0));
        let now = EPOCH_MS + 7;
        let mut all: Vec<i64> = a.take(now, 50_000).chain(b.take(now, 50_000)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 100_000);
        assert!(a.next(EPOCH_MS + 40 * 366 * 86_400_000) > 0);
    }
}
