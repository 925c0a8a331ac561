//! A block of IP addresses as the operator writes it. Knows nothing of which blocks are special.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Addresses that share their first bits: `10.0.0.0/8`, `fd00::/8`, or one address such as `127.0.0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Why a text is no [`Cidr`]; reads after "could not read the address range".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// The part before the slash is no IP address.
    #[error("{0:?} is no IP address; write for example 10.0.0.0/8 or 127.0.0.1")]
    Address(String),
    /// The part after the slash is no number of bits for that kind of address.
    #[error("{0:?} is no prefix length; IPv4 takes 0 to 32 and IPv6 takes 0 to 128")]
    Prefix(String),
}

impl Cidr {
    pub(crate) const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    pub(crate) const fn v6(segments: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self { network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// Whether the address lies in the block. An IPv4 block never contains an IPv6 address, not even the mapped
    /// form of one of its own.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let ignored = 32 - u32::from(self.prefix);
                (network.to_bits() ^ address.to_bits()).checked_shr(ignored).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let ignored = 128 - u32::from(self.prefix);
                (network.to_bits() ^ address.to_bits()).checked_shr(ignored).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.trim(), None),
        };
        let network: IpAddr = address.parse().map_err(|_| CidrError::Address(address.to_owned()))?;
        let widest = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match bits {
            None => widest,
            Some(bits) => match bits.parse::<u8>() {
                Ok(prefix) if prefix <= widest && !bits.starts_with('+') => prefix,
                _ => return Err(CidrError::Prefix(bits.to_owned())),
            },
        };
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:4860::1", true),
            ("::/0", "127.0.0.1", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", false),
            ("64:ff9b::/96", "64:ff9b::7f00:1", true),
            ("64:ff9b::/96", "64:ff9b::1:7f00:1", false),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
        ];
        for (block, address, inside) in table {
            let block: Cidr = block.parse().expect(block);
            assert_eq!(block.contains(address.parse().expect(address)), inside, "{block} {address}");
        }
    }

    #[test]
    fn wrong_blocks_are_refused() {
        for text in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "host/8", "/8"] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
