//! Where mail for a domain goes: the trait that the engine asks, and the answers in its words.
//!
//! Knows mail routing by DNS (RFC 5321 5.1, RFC 7505). Knows no resolver library (see `dns`), no connection and
//! no policy about addresses (see `guard`).

use std::net::IpAddr;

use postrider_mail::mailbox::DomainName;

use crate::dial::BoxFuture;

/// One MX host of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxHost {
    /// The preference of the MX record; a lower number is tried first.
    pub preference: u16,
    /// The host name as an A-label in lower case, without the dot at the end.
    pub name: String,
}

/// What DNS says about mail for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxAnswer {
    /// The domain says that it takes no mail at all (RFC 7505).
    NullMx,
    /// The MX hosts, sorted by preference, then by name; the domain itself with preference 0 when it has no MX
    /// record but an address (RFC 5321 5.1). Never empty. See [`try_order`] for the order to try them in.
    Hosts(Vec<MxHost>),
}

/// Why there is no answer; reads after "could not resolve".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// DNS says with authority that the name does not exist or has no record of this kind.
    #[error("the name does not exist or has no such record")]
    NotFound,
    /// DNS did not say: SERVFAIL, no answer in time, refused, bogus. It may answer later.
    #[error("DNS gave no answer: {0}")]
    Temporary(String),
}

/// Asks DNS. The engine gets one from outside.
pub trait Resolver: Send + Sync {
    /// The MX hosts of a domain.
    fn mx<'a>(&'a self, domain: &'a DomainName) -> BoxFuture<'a, Result<MxAnswer, ResolveError>>;

    /// The addresses of a host, IPv4 before IPv6; never empty.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;

    /// The TXT records of a name, the strings of one record joined without a gap; never empty.
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>>;

    /// The apex of the zone that holds a name: the owner of the SOA record that answers for it, also in a negative
    /// answer (RFC 2308 2). Resolvers that do not ask for it say so as a temporary failure.
    fn zone_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<String, ResolveError>> {
        let _ = name;
        not_asked("SOA")
    }

    /// The names that an address leads to (PTR); never empty.
    fn names_of<'a>(&'a self, address: IpAddr) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        let _ = address;
        not_asked("PTR")
    }

    /// The CAA records of exactly this name in presentation form, such as `0 issue "ca.example.net"`; never empty.
    fn caa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        let _ = name;
        not_asked("CAA")
    }
}

fn not_asked<'a, T: Send + 'a>(kind: &str) -> BoxFuture<'a, Result<T, ResolveError>> {
    let text = format!("{kind} records are not asked for by this resolver");
    Box::pin(async move { Err(ResolveError::Temporary(text)) })
}

/// The order in which to try MX hosts: by preference, and in an order given by `seed` among equal ones
/// (RFC 5321 5.1 asks for a random choice there to spread the load). The same seed gives the same order.
pub fn try_order(hosts: &[MxHost], seed: u64) -> Vec<MxHost> {
    let mut keyed: Vec<(u16, u64, &MxHost)> = hosts
        .iter()
        .enumerate()
        .map(|(index, host)| (host.preference, mix(seed.wrapping_add(index as u64)), host))
        .collect();
    keyed.sort_by_key(|(preference, key, _)| (*preference, *key));
    keyed.into_iter().map(|(_, _, host)| host.clone()).collect()
}

/// SplitMix64: spreads the bits of a seed; no cryptography.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hosts() -> Vec<MxHost> {
        [(10, "a"), (10, "b"), (10, "c"), (20, "d")]
            .map(|(preference, name)| MxHost { preference, name: name.to_owned() })
            .to_vec()
    }

    #[test]
    fn preference_rules_and_equal_ones_change_places_with_the_seed() {
        let mut first_names = BTreeSet::new();
        for seed in 0..100 {
            let order = try_order(&hosts(), seed);
            assert_eq!(order.len(), 4);
            assert_eq!(order[3].name, "d", "the higher number comes last with every seed");
            assert_eq!(order, try_order(&hosts(), seed), "one seed, one order");
            first_names.insert(order[0].name.clone());
        }
        assert_eq!(first_names.len(), 3, "each of the equal hosts comes first with some seed");
    }
}
