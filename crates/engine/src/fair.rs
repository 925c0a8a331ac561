//! Whose turn it is: deficit round robin over flows of equal right (campaigns at one destination).
//!
//! Pure. Knows keys and turns, no messages.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Messages a flow may send in one turn.
pub const QUANTUM: usize = 8;

/// Flows in turn. A flow that has nothing to give loses its turn and what it had saved.
#[derive(Debug)]
pub struct Turns<K> {
    ring: VecDeque<K>,
    credit: HashMap<K, usize>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Turns { ring: VecDeque::new(), credit: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Lets a flow take part; nothing happens when it does already.
    pub fn enter(&mut self, key: K) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.credit.entry(key) {
            place.insert(0);
            self.ring.push_back(key);
        }
    }

    /// Takes a flow out.
    pub fn leave(&mut self, key: K) {
        if self.credit.remove(&key).is_some() {
            self.ring.retain(|k| *k != key);
        }
    }

    /// Whether no flow takes part.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Asks flows in turn for up to `want` messages; `give(flow, n)` says how many it gave. Stops after the first
    /// flow that gave any, so that one batch belongs to one flow. A flow that gives nothing leaves.
    pub fn serve(&mut self, want: usize, mut give: impl FnMut(K, usize) -> usize) -> usize {
        for _ in 0..self.ring.len() {
            let Some(key) = self.ring.front().copied() else { break };
            let credit = self.credit.entry(key).or_insert(0);
            if *credit == 0 {
                *credit = QUANTUM;
            }
            let asked = want.min(*credit);
            let given = give(key, asked).min(asked);
            if given == 0 {
                self.leave(key);
                continue;
            }
            *credit -= given;
            if *credit == 0 {
                self.ring.rotate_left(1);
            }
            return given;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_campaign_is_not_behind_a_large_one() {
        let mut turns = Turns::default();
        turns.enter('L');
        turns.enter('s');
        let (mut large, mut small, mut order) = (1000, 20, Vec::new());
        while small > 0 {
            turns.serve(3, |k, n| {
                let left = if k == 'L' { &mut large } else { &mut small };
                let given = n.min(*left);
                *left -= given;
                order.extend(std::iter::repeat_n(k, given));
                given
            });
        }
        assert!(order.len() <= 2 * 20 + 2 * QUANTUM, "{} handed out before the small one was done", order.len());
    }

    proptest! {
        #[test]
        fn every_message_is_handed_out_once_and_shares_stay_equal(mut left in proptest::collection::vec(1usize..200, 1..8), want in 1usize..9) {
            let total: usize = left.iter().sum();
            let mut turns = Turns::default();
            let mut given_to = vec![0usize; left.len()];
            for k in 0..left.len() {
                turns.enter(k);
            }
            let mut given = 0;
            while !turns.is_empty() {
                given += turns.serve(want, |k, n| {
                    let n = n.min(left[k]);
                    left[k] -= n;
                    given_to[k] += n;
                    n
                });
                let busy: Vec<usize> = (0..left.len()).filter(|k| left[*k] > 0).map(|k| given_to[k]).collect();
                if let (Some(most), Some(least)) = (busy.iter().max(), busy.iter().min()) {
                    prop_assert!(most - least <= QUANTUM, "{busy:?}");
                }
            }
            prop_assert_eq!(given, total);
        }
    }
}
