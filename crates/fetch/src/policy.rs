//! What a fetch may do: where to, how much, how long. Knows addresses and numbers, no sockets.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::{embedded, special_use};
use crate::cidr::Cidr;
use crate::error::FetchError;

/// The limits of one fetcher. The default goes to public addresses on ports 80 and 443, takes 5 seconds and
/// reads 1 MiB at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPolicy {
    /// Ranges that may be fetched from although they are not public, such as `127.0.0.0/8` in a rehearsal.
    pub allow: Vec<Cidr>,
    /// The largest body that is read, in bytes.
    pub max_bytes: usize,
    /// From the name look-up to the last byte of the body.
    pub timeout: Duration,
    /// The ports that a URL may name.
    pub ports: Vec<u16>,
}

impl Default for FetchPolicy {
    fn default() -> Self {
        Self { allow: Vec::new(), max_bytes: 1 << 20, timeout: Duration::from_secs(5), ports: vec![80, 443] }
    }
}

impl FetchPolicy {
    /// Whether the address may be connected to.
    ///
    /// # Errors
    /// [`FetchError::Address`] for an address that is not public and in no allowed range. An IPv6 address that
    /// leads to an IPv4 address needs both to be allowed.
    pub fn check_address(&self, address: IpAddr) -> Result<(), FetchError> {
        let allowed = self.allow.iter().any(|range| range.contains(address));
        match special_use(address) {
            Some(what) if !allowed => Err(FetchError::Address { address, what }),
            Some(_) | None => embedded(address).map_or(Ok(()), |inside| self.check_address(IpAddr::V4(inside))),
        }
    }

    pub(crate) fn check_port(&self, port: u16) -> Result<(), FetchError> {
        if self.ports.contains(&port) { Ok(()) } else { Err(FetchError::Port { port }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(ranges: &[&str], address: &str) -> bool {
        let allow = ranges.iter().map(|range| range.parse().expect("a range of the test")).collect();
        let policy = FetchPolicy { allow, ..FetchPolicy::default() };
        policy.check_address(address.parse().expect(address)).is_ok()
    }

    #[test]
    fn ranges_open_exactly_what_they_name() {
        assert!(!allowed(&[], "127.0.0.1"));
        assert!(allowed(&[], "8.8.8.8"));
        assert!(allowed(&["127.0.0.0/8"], "127.0.0.1"));
        assert!(!allowed(&["127.0.0.0/8"], "10.0.0.1"));
        assert!(!allowed(&["127.0.0.0/8"], "::ffff:127.0.0.1"));
        assert!(!allowed(&["127.0.0.0/8"], "::1"));
    }

    #[test]
    fn a_translator_opens_no_private_address() {
        assert!(!allowed(&[], "64:ff9b::808:808"));
        assert!(allowed(&["64:ff9b::/96"], "64:ff9b::808:808"));
        assert!(!allowed(&["64:ff9b::/96"], "64:ff9b::7f00:1"));
        assert!(!allowed(&["64:ff9b::/96"], "64:ff9b::a9fe:a9fe"));
        assert!(allowed(&["64:ff9b::/96", "127.0.0.0/8"], "64:ff9b::7f00:1"));
    }
}
