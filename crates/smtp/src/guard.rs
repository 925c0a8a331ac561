//! Which IP addresses mail may be sent to: public ones, and those that the operator named.
//!
//! A domain's owner decides what its MX records point to, so without this check anybody could make us talk
//! to machines inside our own network. This module knows addresses only: no DNS, no sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses in CIDR form, such as `10.0.0.0/8`, `::1/128` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no [`IpRange`]; reads after "could not read the address range".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpRangeError {
    /// The part before the slash is no IP address.
    #[error("{0:?} is no IP address; write for example 10.0.0.0/8 or 127.0.0.1")]
    Address(String),
    /// The prefix length is no number or too long for the address family.
    #[error("{0:?} is no prefix length; IPv4 takes 0 to 32 and IPv6 takes 0 to 128")]
    Prefix(String),
}

impl IpRange {
    /// The range of all addresses that share the first `prefix` bits with `address`; the prefix is cut to the
    /// address family's width.
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let prefix = prefix.min(32);
                let bits = v4.to_bits() & mask32(prefix);
                Self { network: IpAddr::V4(Ipv4Addr::from_bits(bits)), prefix }
            }
            IpAddr::V6(v6) => {
                let prefix = prefix.min(128);
                let bits = v6.to_bits() & mask128(prefix);
                Self { network: IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix }
            }
        }
    }

    /// Whether the address lies in this range. An IPv4 range never contains an IPv6 address, also not a mapped one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => address.to_bits() & mask32(self.prefix) == network.to_bits(),
            (IpAddr::V6(network), IpAddr::V6(address)) => address.to_bits() & mask128(self.prefix) == network.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for IpRange {
    type Err = IpRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpRangeError::Address(address.to_owned()))?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => widest,
            Some(digits) => digits
                .parse::<u8>()
                .ok()
                .filter(|prefix| *prefix <= widest)
                .ok_or_else(|| IpRangeError::Prefix(digits.to_owned()))?,
        };
        Ok(Self::new(address, prefix))
    }
}

impl std::fmt::Display for IpRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn mask32(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask128(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// The operator's rule for target addresses. The default refuses everything that is not public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Non-public ranges that may be connected to all the same, for example `127.0.0.0/8` in a rehearsal.
    pub allow_private: Vec<IpRange>,
    /// Ranges that are refused although they are public, for example our own addresses (mail loops).
    pub refuse: Vec<IpRange>,
}

/// A refused target address; reads after "could not connect".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} is {why}; name its range in allow_private_mx if this is meant")]
pub struct AddressRefused {
    /// The address that was refused.
    pub address: IpAddr,
    /// The kind of address, for a sentence: `a loopback address`.
    pub why: &'static str,
}

impl AddressPolicy {
    /// A policy that also lets mail go to the loopback ranges: tests, rehearsal and demo.
    pub fn allow_loopback() -> Self {
        Self {
            allow_private: vec![
                IpRange::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
                IpRange::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
            ],
            refuse: Vec::new(),
        }
    }

    /// A policy for a target that the operator typed in: a smarthost may stand anywhere.
    pub fn allow_all() -> Self {
        Self {
            allow_private: vec![
                IpRange::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
                IpRange::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
            ],
            refuse: Vec::new(),
        }
    }

    /// Whether an address of this machine is out of the question: mail to it would come back to us (RFC 5321 5.1). A
    /// named range lifts that.
    pub fn forbids_own(&self, address: IpAddr) -> bool {
        !self.allow_private.iter().any(|range| range.contains(address))
    }

    /// Says whether mail may be sent to this address.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        if self.refuse.iter().any(|range| range.contains(address)) {
            return Err(AddressRefused { address, why: "refused by configuration" });
        }
        match special_use(address) {
            None => Ok(()),
            Some(_) if self.allow_private.iter().any(|range| range.contains(address)) => Ok(()),
            Some(why) => Err(AddressRefused { address, why }),
        }
    }
}

/// The special-purpose block that an address belongs to (RFC 6890 and the IANA registries), or `None` when it is
/// an ordinary public address.
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => first_match(V4_BLOCKS, |(a, b, c, d, prefix)| {
            v4.to_bits() & mask32(*prefix) == Ipv4Addr::new(*a, *b, *c, *d).to_bits()
        }),
        IpAddr::V6(v6) => first_match(V6_BLOCKS, |(segments, prefix)| {
            v6.to_bits() & mask128(*prefix) == Ipv6Addr::from(*segments).to_bits()
        }),
    }
}

fn first_match<B>(blocks: &[(B, &'static str)], hit: impl Fn(&B) -> bool) -> Option<&'static str> {
    blocks.iter().find(|(block, _)| hit(block)).map(|(_, why)| *why)
}

type V4Block = (u8, u8, u8, u8, u8);

const V4_BLOCKS: &[(V4Block, &str)] = &[
    ((0, 0, 0, 0, 8), "an unspecified address"),
    ((10, 0, 0, 0, 8), "a private address"),
    ((100, 64, 0, 0, 10), "a carrier-grade NAT address"),
    ((127, 0, 0, 0, 8), "a loopback address"),
    ((169, 254, 0, 0, 16), "a link-local address"),
    // Public, but only from inside one cloud: its metadata and DNS service.
    ((168, 63, 129, 16, 32), "a cloud metadata address"),
    ((172, 16, 0, 0, 12), "a private address"),
    ((192, 0, 0, 0, 24), "a protocol assignment address"),
    ((192, 0, 2, 0, 24), "a documentation address"),
    ((192, 88, 99, 0, 24), "a 6to4 relay address"),
    ((192, 168, 0, 0, 16), "a private address"),
    ((198, 18, 0, 0, 15), "a benchmarking address"),
    ((198, 51, 100, 0, 24), "a documentation address"),
    ((203, 0, 113, 0, 24), "a documentation address"),
    ((224, 0, 0, 0, 4), "a multicast address"),
    ((240, 0, 0, 0, 4), "a reserved address"),
];

type V6Block = ([u16; 8], u8);

// The embedded forms (mapped, NAT64, 6to4, Teredo) are refused as a whole: they reach an IPv4 host that this check
// did not see, and no MX of the public internet needs them.
const V6_BLOCKS: &[(V6Block, &str)] = &[
    (([0, 0, 0, 0, 0, 0, 0, 0], 128), "an unspecified address"),
    (([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "an IPv4-mapped address"),
    (([0, 0, 0, 0, 0, 0, 0, 0], 96), "an IPv4-compatible address"),
    (([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), "a NAT64 address"),
    (([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "a NAT64 address"),
    (([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "a discard-only address"),
    (([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "a protocol assignment address"),
    (([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "a documentation address"),
    (([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "a 6to4 address"),
    (([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "a documentation address"),
    (([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "a segment routing address"),
    (([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address"),
    (([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a literal of the test")
    }

    #[test]
    fn special_addresses_are_refused_and_public_ones_pass() {
        let policy = AddressPolicy::default();
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(policy.check(ip(refused)).is_err(), "{refused} must be refused");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860::8888",
        ] {
            assert_eq!(policy.check(ip(public)), Ok(()), "{public} must pass");
        }
    }

    #[test]
    fn a_named_range_lifts_the_refusal_for_that_range_only() {
        let policy = AddressPolicy { allow_private: vec!["127.0.0.0/8".parse().expect("range")], refuse: vec![] };
        assert_eq!(policy.check(ip("127.0.0.9")), Ok(()));
        assert!(policy.check(ip("10.0.0.1")).is_err());
        assert!(policy.check(ip("::1")).is_err());
        assert!(policy.check(ip("::ffff:127.0.0.1")).is_err(), "a mapped address hides the IPv4 address");
    }

    #[test]
    fn refuse_wins_over_allow() {
        let policy = AddressPolicy {
            allow_private: vec!["127.0.0.0/8".parse().expect("range")],
            refuse: vec!["127.0.0.7".parse().expect("range"), "8.8.8.0/24".parse().expect("range")],
        };
        assert!(policy.check(ip("127.0.0.7")).is_err());
        assert!(policy.check(ip("8.8.8.8")).is_err());
        assert_eq!(policy.check(ip("127.0.0.8")), Ok(()));
    }

    #[test]
    fn ranges_are_read_strictly() {
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            (" 127.0.0.1 ", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<IpRange>().expect("valid").to_string(), shown);
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "localhost", "10.0.0/8"] {
            assert!(text.parse::<IpRange>().is_err(), "{text:?} must be refused");
        }
        let all: IpRange = "0.0.0.0/0".parse().expect("valid");
        assert!(all.contains(ip("255.255.255.255")));
    }
}
