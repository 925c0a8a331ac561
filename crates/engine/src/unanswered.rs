//! Addresses that did not answer lately, so that a domain with many dead hosts in front is served by those behind them.
//!
//! Only asked where a domain has more hosts than one attempt tries: else all are tried, in the order of DNS, at each
//! attempt. Must not know routes or messages.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long an address is passed over, milliseconds.
const FOR_MS: i64 = 24 * 3_600_000;

/// Addresses that are remembered; above that the oldest half is forgotten.
const MOST: usize = 10_000;

/// When addresses did not answer, by the monotonic clock.
#[derive(Default)]
pub(crate) struct Unanswered(Mutex<HashMap<IpAddr, i64>>);

impl Unanswered {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An address did not answer.
    pub(crate) fn note(&self, address: IpAddr, monotonic: i64) {
        let mut known = self.lock();
        if known.len() >= MOST {
            let mut times: Vec<i64> = known.values().copied().collect();
            let (_, middle, _) = times.select_nth_unstable(MOST / 2);
            let middle = *middle;
            known.retain(|_, at| *at > middle);
        }
        known.insert(address, monotonic);
    }

    /// An address answered.
    pub(crate) fn forget(&self, address: IpAddr) {
        self.lock().remove(&address);
    }

    /// Whether an address should be tried after others.
    pub(crate) fn is_lately(&self, address: IpAddr, monotonic: i64) -> bool {
        self.lock().get(&address).is_some_and(|at| monotonic - at < FOR_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_passed_over_for_a_day_and_the_memory_is_bounded() {
        let known = Unanswered::default();
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(n));
        known.note(address(7), 0);
        assert!(known.is_lately(address(7), FOR_MS - 1) && !known.is_lately(address(7), FOR_MS));
        known.note(address(8), 0);
        known.forget(address(8));
        assert!(!known.is_lately(address(8), 1));
        for n in 0..3 * u32::try_from(MOST).unwrap() {
            known.note(address(n), i64::from(n));
        }
        assert!(known.lock().len() <= MOST);
        assert!(known.is_lately(address(3 * u32::try_from(MOST).unwrap() - 1), i64::from(u32::MAX) / 1_000));
    }
}
