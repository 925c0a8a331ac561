//! Slows down guessing: failed log-ins and set-up codes by the address of the peer (SEC-81). The store counts by account.
//!
//! Must not know: accounts. Memory is bounded: the oldest addresses are forgotten.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use postrider_store::clock::Clock;

/// Failures within the window after which an address has to wait.
const FREE: u32 = 10;
/// The window, in milliseconds.
const WINDOW_MS: i64 = 10 * 60_000;
/// Most addresses remembered.
const MOST: usize = 50_000;

/// Counts failures by address.
pub struct Throttle {
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<IpAddr, (i64, u32)>>,
}

/// A whole IPv6 network counts as one address: a person has at least a /64.
fn bucket(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::from([s[0], s[1], s[2], s[3], 0, 0, 0, 0])
        }
    }
}

impl Throttle {
    /// Starts with nobody known.
    pub fn new(clock: Arc<dyn Clock>) -> Throttle {
        Throttle { clock, seen: Mutex::new(HashMap::new()) }
    }

    /// Whether the address may try now; no address (unix socket) always may.
    pub fn may_try(&self, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip.map(bucket) else { return true };
        let now = self.clock.monotonic_ms();
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.get(&ip).is_none_or(|(since, n)| now - since >= WINDOW_MS || *n < FREE)
    }

    /// Counts a failure.
    pub fn failed(&self, ip: Option<IpAddr>) {
        let Some(ip) = ip.map(bucket) else { return };
        let now = self.clock.monotonic_ms();
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.retain(|_, (since, _)| now - *since < WINDOW_MS);
            if seen.len() >= MOST {
                seen.clear();
            }
        }
        let entry = seen.entry(ip).or_insert((now, 0));
        if now - entry.0 >= WINDOW_MS {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    /// Forgets the failures of an address after a success.
    pub fn succeeded(&self, ip: Option<IpAddr>) {
        if let Some(ip) = ip.map(bucket) {
            self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_store::clock::HandClock;

    #[test]
    fn ten_failures_close_the_door_for_ten_minutes() {
        let clock = HandClock::at(0);
        let throttle = Throttle::new(Arc::new(clock.clone()));
        let ip = |t: &str| Some(t.parse::<IpAddr>().unwrap());
        for _ in 0..10 {
            assert!(throttle.may_try(ip("2001:db8::1")));
            throttle.failed(ip("2001:db8::1"));
        }
        assert!(!throttle.may_try(ip("2001:db8::2")), "the same /64");
        assert!(throttle.may_try(ip("2001:db8:0:1::1")));
        assert!(throttle.may_try(None));
        clock.advance(WINDOW_MS);
        assert!(throttle.may_try(ip("2001:db8::1")));
        throttle.failed(ip("2001:db8::1"));
        throttle.succeeded(ip("2001:db8::1"));
        assert!(throttle.may_try(ip("2001:db8::1")));
    }
}
