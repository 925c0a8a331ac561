//! Whose turn it is: flows (campaigns) at one destination in turn, and shares of those who draw on the same limit
//! (sources of a pool, workspaces at a site), both by weight.
//!
//! Pure. Knows keys, weights and turns, no messages. The time comes in.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Messages a flow of weight 1 may send in one turn.
pub const QUANTUM: usize = 8;

/// Messages that one may be ahead of its share before it has to wait for the others.
pub const AHEAD: f64 = 16.0;

/// Whoever is awaited in vain is left out for this time, in milliseconds.
const LEFT_OUT_MS: i64 = 30_000;

/// Flows in turn: deficit round robin. A flow that has nothing to give loses its turn and what it had saved.
#[derive(Debug)]
pub struct Turns<K> {
    ring: VecDeque<K>,
    flows: HashMap<K, Credit>,
}

#[derive(Debug)]
struct Credit {
    left: usize,
    weight: usize,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Turns { ring: VecDeque::new(), flows: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Lets a flow take part with a weight of at least 1; one that does already goes on with this weight.
    pub fn enter(&mut self, key: K, weight: u32) {
        let weight = usize::try_from(weight).unwrap_or(1).max(1);
        match self.flows.entry(key) {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Credit { left: 0, weight });
                self.ring.push_back(key);
            }
            std::collections::hash_map::Entry::Occupied(mut flow) => flow.get_mut().weight = weight,
        }
    }

    /// Takes a flow out.
    pub fn leave(&mut self, key: K) {
        if self.flows.remove(&key).is_some() {
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
            let Some(credit) = self.flows.get_mut(&key) else { break };
            if credit.left == 0 {
                credit.left = QUANTUM * credit.weight;
            }
            let asked = want.min(credit.left);
            let given = give(key, asked).min(asked);
            if given == 0 {
                self.leave(key);
                continue;
            }
            let Some(credit) = self.flows.get_mut(&key) else { break };
            credit.left -= given;
            if credit.left == 0 {
                self.ring.rotate_left(1);
            }
            return given;
        }
        0
    }
}

/// Shares by weight of those who come by themselves to take something: whoever is ahead of its share waits for the
/// others, as long as these can take. What somebody cannot take is not saved up for it: it passes to the others.
#[derive(Debug)]
pub struct Share<K> {
    members: Vec<Member<K>>,
}

#[derive(Debug)]
struct Member<K> {
    key: K,
    weight: f64,
    /// Messages taken, by weight.
    taken: f64,
    /// Since when somebody waits for it.
    awaited: Option<i64>,
    /// Awaited in vain: nobody waits for it before this time.
    left_out: i64,
}

impl<K> Default for Share<K> {
    fn default() -> Self {
        Share { members: Vec::new() }
    }
}

impl<K: Clone + Eq> Share<K> {
    /// Lets somebody take part from now on, or changes its weight.
    pub fn put(&mut self, key: &K, weight: u32) {
        let weight = f64::from(weight.max(1));
        if let Some(member) = self.find(key) {
            member.weight = weight;
            return;
        }
        // A new one begins where the others stand: it has nothing to catch up.
        let taken = self.members.iter().map(|m| m.taken).fold(0.0, f64::max);
        self.members.push(Member { key: key.clone(), weight, taken, awaited: None, left_out: i64::MIN });
    }

    /// Keeps only some.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.members.retain(|m| keep(&m.key));
    }

    fn find(&mut self, key: &K) -> Option<&mut Member<K>> {
        self.members.iter_mut().find(|m| m.key == *key)
    }

    /// Whether somebody may take at `now`, a monotonic time in milliseconds, given who else is able to. Nobody waits
    /// longer than `patience` milliseconds for the same one.
    ///
    /// # Errors
    /// Whose turn it is.
    pub fn may(&mut self, key: &K, now: i64, patience: i64, mut able: impl FnMut(&K) -> bool) -> Result<(), K> {
        let Some((taken, weight)) = self.find(key).map(|m| (m.taken, m.weight)) else { return Ok(()) };
        for member in &mut self.members {
            if member.key == *key || (taken - member.taken) * weight <= AHEAD || member.left_out > now {
                continue;
            }
            if !able(&member.key) {
                continue;
            }
            let since = *member.awaited.get_or_insert(now);
            if now - since <= patience {
                return Err(member.key.clone());
            }
            member.awaited = None;
            member.left_out = now + LEFT_OUT_MS;
        }
        Ok(())
    }

    /// Notes that somebody took `n`. What others could have taken by now, and were not able to, is gone for them.
    pub fn took(&mut self, key: &K, n: usize, mut able: impl FnMut(&K) -> bool) {
        let Some(member) = self.find(key) else { return };
        let before = member.taken;
        member.taken += n as f64 / member.weight;
        member.awaited = None;
        member.left_out = i64::MIN;
        for other in self.members.iter_mut().filter(|m| m.key != *key && m.taken < before) {
            if other.left_out > i64::MIN || !able(&other.key) {
                other.taken = before;
                other.awaited = None;
            }
        }
    }

    /// Gives back what somebody took and did not use.
    pub fn give_back(&mut self, key: &K, n: usize) {
        if let Some(member) = self.find(key) {
            member.taken -= n as f64 / member.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_small_campaign_is_not_behind_a_large_one() {
        let mut turns = Turns::default();
        turns.enter('L', 1);
        turns.enter('s', 1);
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

    #[test]
    fn who_cannot_take_passes_its_share_and_does_not_catch_up() {
        let mut share = Share::default();
        share.put(&'a', 1);
        share.put(&'b', 1);
        let mut given = HashMap::from([('a', 0), ('b', 0)]);
        let mut round = |share: &mut Share<char>, now: i64, b_is_able: bool| {
            for key in ['a', 'b'] {
                let able = |k: &char| *k == 'a' || b_is_able;
                if (key == 'a' || b_is_able) && share.may(&key, now, 1_000, able).is_ok() {
                    share.took(&key, 4, able);
                    *given.get_mut(&key).unwrap() += 4;
                }
            }
        };
        (0..100).for_each(|now| round(&mut share, now, false));
        (100..200).for_each(|now| round(&mut share, now, true));
        assert_eq!(given, HashMap::from([('a', 800), ('b', 400)]));
    }

    #[test]
    fn who_is_awaited_in_vain_is_left_out_for_a_while() {
        let mut share = Share::default();
        share.put(&'a', 1);
        share.put(&'b', 1);
        let mut sent = Vec::new();
        for now in (0..60_000).step_by(10) {
            if share.may(&'a', now, 2_000, |_| true).is_ok() {
                share.took(&'a', 8, |_| true);
                sent.push(now);
            }
        }
        // Two pauses of two seconds in a minute, in which b says that it could and does not.
        let pauses = sent.windows(2).filter(|w| w[1] - w[0] > 10).count();
        assert!((1..=2).contains(&pauses), "{pauses}");
        assert!(sent.len() > 5_500, "{}", sent.len());
        // Once it takes again it is waited for again.
        share.took(&'b', 1, |_| true);
        share.took(&'a', 100, |_| true);
        assert_eq!(share.may(&'a', 60_000, 2_000, |_| true), Err('b'));
    }

    proptest! {
        #[test]
        fn every_message_is_handed_out_once_and_turns_follow_the_weights(
            mut flows in proptest::collection::vec((1usize..200, 1u32..5), 1..8), want in 1usize..9,
        ) {
            let total: usize = flows.iter().map(|(left, _)| left).sum();
            let mut turns = Turns::default();
            let mut given_to = vec![0usize; flows.len()];
            for (k, (_, weight)) in flows.iter().enumerate() {
                turns.enter(k, *weight);
            }
            let mut given = 0;
            while !turns.is_empty() {
                given += turns.serve(want, |k, n| {
                    let n = n.min(flows[k].0);
                    flows[k].0 -= n;
                    given_to[k] += n;
                    n
                });
                let busy = (0..flows.len()).filter(|k| flows[*k].0 > 0);
                let rounds: Vec<f64> = busy.map(|k| given_to[k] as f64 / f64::from(flows[k].1)).collect();
                let (most, least) = (rounds.iter().copied().fold(0.0, f64::max), rounds.iter().copied().fold(f64::MAX, f64::min));
                prop_assert!(rounds.is_empty() || most - least <= QUANTUM as f64, "{rounds:?}");
            }
            prop_assert_eq!(given, total);
        }

        #[test]
        fn shares_follow_the_weights(weights in proptest::collection::vec(1u32..20, 2..6), seed in any::<u64>()) {
            let mut share = Share::default();
            weights.iter().enumerate().for_each(|(k, weight)| share.put(&k, *weight));
            let (mut given, mut random) = (vec![0usize; weights.len()], seed);
            for now in 0..20_000i64 {
                // They come in no order at all, with batches of any size.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (key, n) = ((random >> 33) as usize % weights.len(), (random >> 50) as usize % 8 + 1);
                if share.may(&key, now, 1_000_000, |_| true).is_ok() {
                    share.took(&key, n, |_| true);
                    given[key] += n;
                }
            }
            let (all, sum) = (given.iter().sum::<usize>() as f64, f64::from(weights.iter().sum::<u32>()));
            for (k, n) in given.iter().enumerate() {
                let want = all * f64::from(weights[k]) / sum;
                prop_assert!((*n as f64 - want).abs() <= 2.0 * (AHEAD + 8.0) + want * 0.02, "{given:?} for {weights:?}");
            }
        }
    }
}
