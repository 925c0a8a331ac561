//! The door: how many may be inside, how fast they may hand in, and who is locked out.
//!
//! In memory and of this node alone. Must not know SMTP; times are milliseconds of the monotonic clock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_domain::id::CredentialId;
use postrider_domain::shaping::Pace;

/// Wrong logins before a lock.
const WRONG: u32 = 5;
/// Wrong logins are remembered, and a lock lasts, so long; milliseconds.
const LOCK_MS: i64 = 15 * 60_000;
/// An hour in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// Most clients whose wrong logins are remembered.
const REMEMBERED: usize = 10_000;

/// Why somebody does not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many connections from this client's network as it may have.
    Concurrency,
    /// As many connections as this node takes.
    Crowded,
}

/// Why no further message is taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooFast {
    /// The pace; wait so many milliseconds.
    Wait(i64),
    /// The hour's messages are used up; the next may come in so many milliseconds.
    Hour(i64),
}

#[derive(Default)]
struct Inside {
    total: usize,
    by_network: HashMap<IpAddr, u32>,
    paces: HashMap<CredentialId, (u32, Pace)>,
    /// Begin of the hour and messages in it.
    hours: HashMap<CredentialId, (i64, u32)>,
    wrong: HashMap<IpAddr, (u32, i64)>,
}

/// The door of a node.
pub(crate) struct Door {
    inside: Mutex<Inside>,
    most: usize,
    allowed: Box<dyn Fn(IpAddr) -> u32 + Send + Sync>,
}

/// Somebody is inside; dropped, the place is free again.
pub(crate) struct Pass {
    door: Arc<Door>,
    network: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        inside.total = inside.total.saturating_sub(1);
        if let Some(n) = inside.by_network.get_mut(&self.network) {
            *n -= 1;
            if *n == 0 {
                inside.by_network.remove(&self.network);
            }
        }
    }
}

/// The network that a client counts as: its IPv4 address, or the /64 of its IPv6 address.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

impl Door {
    /// A door with room for `most`; `allowed` says how many connections a client's network may have.
    pub(crate) fn new(most: usize, allowed: impl Fn(IpAddr) -> u32 + Send + Sync + 'static) -> Arc<Door> {
        Arc::new(Door { inside: Mutex::default(), most, allowed: Box::new(allowed) })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a client in.
    pub(crate) fn enter(self: &Arc<Door>, client: IpAddr) -> Result<Pass, Refused> {
        let (network, allowed) = (network(client), (self.allowed)(client));
        let mut inside = self.lock();
        if inside.total >= self.most {
            return Err(Refused::Crowded);
        }
        let n = inside.by_network.entry(network).or_default();
        if *n >= allowed {
            return Err(Refused::Concurrency);
        }
        *n += 1;
        inside.total += 1;
        Ok(Pass { door: Arc::clone(self), network })
    }

    /// Takes one message of a credential out of its pace and its hour; 0 is no limit.
    pub(crate) fn take(
        &self,
        credential: CredentialId,
        per_second: u32,
        per_hour: u32,
        now: i64,
    ) -> Result<(), TooFast> {
        let mut inside = self.lock();
        if per_hour > 0 {
            let (begun, n) = inside.hours.entry(credential).or_insert((now, 0));
            if now - *begun >= HOUR_MS {
                (*begun, *n) = (now, 0);
            }
            if *n >= per_hour {
                return Err(TooFast::Hour(*begun + HOUR_MS - now));
            }
        }
        if per_second > 0 {
            let fresh = || (per_second, Pace::new(f64::from(per_second)));
            let (rate, pace) = inside.paces.entry(credential).or_insert_with(fresh);
            if *rate != per_second {
                (*rate, *pace) = fresh();
            }
            pace.take(now, 1).map_err(TooFast::Wait)?;
        }
        if per_hour > 0
            && let Some((_, n)) = inside.hours.get_mut(&credential)
        {
            *n += 1;
        }
        Ok(())
    }

    /// Whether a client has got its login wrong too often; how long the lock still lasts, milliseconds.
    pub(crate) fn locked(&self, client: IpAddr, now: i64) -> Option<i64> {
        let inside = self.lock();
        let (wrong, since) = inside.wrong.get(&network(client))?;
        (*wrong >= WRONG && now - since < LOCK_MS).then(|| since + LOCK_MS - now)
    }

    /// A client got its login wrong; how often now.
    pub(crate) fn wrong_login(&self, client: IpAddr, now: i64) -> u32 {
        let mut inside = self.lock();
        if inside.wrong.len() >= REMEMBERED {
            inside.wrong.retain(|_, (_, since)| now - *since < LOCK_MS);
        }
        if inside.wrong.len() >= REMEMBERED {
            inside.wrong.clear();
        }
        let (wrong, since) = inside.wrong.entry(network(client)).or_insert((0, now));
        if now - *since >= LOCK_MS {
            *wrong = 0;
        }
        *wrong += 1;
        *since = now;
        *wrong
    }

    /// A client got its login right.
    pub(crate) fn right_login(&self, client: IpAddr) {
        self.lock().wrong.remove(&network(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_as_many_connections_as_it_may() {
        let door = Door::new(5, |_| 2);
        let first = door.enter(ip("192.0.2.1")).ok().unwrap();
        let _second = door.enter(ip("192.0.2.1")).ok().unwrap();
        assert_eq!(door.enter(ip("192.0.2.1")).err(), Some(Refused::Concurrency));
        let _other = door.enter(ip("192.0.2.2")).ok().unwrap();
        drop(first);
        let _again = door.enter(ip("192.0.2.1")).ok().unwrap();
        let _one = door.enter(ip("2001:db8::1")).ok().unwrap();
        let _two = door.enter(ip("2001:db8::2")).ok().unwrap();
        assert_eq!(door.enter(ip("192.0.2.9")).err(), Some(Refused::Crowded));
    }

    #[test]
    fn ipv6_counts_by_its_64() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
    }

    #[test]
    fn pace_and_hour_are_kept_and_a_wait_costs_nothing_of_the_hour() {
        let door = Door::new(5, |_| 2);
        let id = CredentialId(1);
        let taken = (0..20).filter(|_| door.take(id, 4, 100, 0).is_ok()).count();
        assert!((1..=8).contains(&taken), "{taken} at once");
        assert!(matches!(door.take(id, 4, 100, 0), Err(TooFast::Wait(ms)) if ms > 0 && ms <= 1_000));
        let mut n = taken;
        for ms in (1..60_000).step_by(50) {
            n += usize::from(door.take(id, 4, 100, ms).is_ok());
        }
        assert_eq!(n, 100, "the hour ends it");
        assert!(matches!(door.take(id, 4, 100, 60_000), Err(TooFast::Hour(_))));
        assert_eq!(door.take(id, 4, 100, HOUR_MS + 1), Ok(()));
        assert_eq!(door.take(CredentialId(2), 0, 0, 0), Ok(()), "0 is no limit");
    }

    #[test]
    fn wrong_logins_lock_for_a_time() {
        let door = Door::new(5, |_| 2);
        let client = ip("192.0.2.1");
        for _ in 0..WRONG {
            assert_eq!(door.locked(client, 0), None);
            door.wrong_login(client, 0);
        }
        assert_eq!(door.locked(client, 1_000), Some(LOCK_MS - 1_000));
        assert_eq!(door.locked(client, LOCK_MS), None);
        assert_eq!(door.locked(ip("192.0.2.2"), 0), None);
        door.right_login(client);
        assert_eq!(door.locked(client, 1_000), None);
    }
}
