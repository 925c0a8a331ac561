//! Which addresses are not on the public internet. Knows the registries, neither DNS nor sockets.

use std::net::{IpAddr, Ipv4Addr};

use crate::cidr::Cidr;

/// The special-purpose block that an address belongs to, as words for a sentence, or `None` for a public address
/// (RFC 6890 and the IANA special-purpose registries).
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    BLOCKS.iter().find(|(block, _)| block.contains(address)).map(|(_, what)| *what)
}

/// The IPv4 address that an IPv6 address leads to through a translator or the local stack.
pub(crate) fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [_, second, third, ..] = address.segments();
    let last = Ipv4Addr::from_bits((address.to_bits() & u128::from(u32::MAX)) as u32);
    let address = IpAddr::V6(address);
    if MAPPED.contains(address) || COMPATIBLE.contains(address) || NAT64.contains(address) {
        Some(last)
    } else if SIX_TO_FOUR.contains(address) {
        Some(Ipv4Addr::from_bits(u32::from(second) << 16 | u32::from(third)))
    } else {
        None
    }
}

const MAPPED: Cidr = Cidr::v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
const COMPATIBLE: Cidr = Cidr::v6([0; 8], 96);
const NAT64: Cidr = Cidr::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Cidr = Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

// The first hit names the address, so narrow blocks stand before wide ones.
const BLOCKS: &[(Cidr, &str)] = &[
    (Cidr::v4(0, 0, 0, 0, 8), "an unspecified address"),
    (Cidr::v4(10, 0, 0, 0, 8), "a private address"),
    (Cidr::v4(100, 64, 0, 0, 10), "a carrier-grade NAT address"),
    (Cidr::v4(127, 0, 0, 0, 8), "a loopback address"),
    (Cidr::v4(169, 254, 0, 0, 16), "a link-local address (cloud metadata lies there)"),
    (Cidr::v4(172, 16, 0, 0, 12), "a private address"),
    (Cidr::v4(192, 0, 0, 0, 24), "an address for protocol assignments"),
    (Cidr::v4(192, 0, 2, 0, 24), "a documentation address"),
    (Cidr::v4(192, 88, 99, 0, 24), "a 6to4 relay address"),
    (Cidr::v4(192, 168, 0, 0, 16), "a private address"),
    (Cidr::v4(198, 18, 0, 0, 15), "a benchmarking address"),
    (Cidr::v4(198, 51, 100, 0, 24), "a documentation address"),
    (Cidr::v4(203, 0, 113, 0, 24), "a documentation address"),
    (Cidr::v4(224, 0, 0, 0, 4), "a multicast address"),
    (Cidr::v4(240, 0, 0, 0, 4), "a reserved address"),
    // A public address too, but only from inside one cloud: its metadata and DNS service.
    (Cidr::v4(168, 63, 129, 16, 32), "a cloud metadata address"),
    (Cidr::v6([0; 8], 128), "an unspecified address"),
    (Cidr::v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (MAPPED, "an IPv4-mapped address"),
    (COMPATIBLE, "an IPv4-compatible address"),
    (NAT64, "a NAT64 address"),
    (Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "a local NAT64 address"),
    (Cidr::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "a discard-only address"),
    // 2001::/23 holds Teredo, ORCHID and benchmarking.
    (Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "an address for protocol assignments"),
    (Cidr::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "a documentation address"),
    (SIX_TO_FOUR, "a 6to4 address"),
    (Cidr::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "a documentation address"),
    (Cidr::v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "a segment routing address"),
    (Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (Cidr::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a site-local address"),
    (Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses() {
        let table = [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "unspecified"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "carrier-grade"),
            ("100.127.255.255", "carrier-grade"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("169.254.169.254", "metadata"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.1", "protocol"),
            ("192.0.2.1", "documentation"),
            ("192.168.255.255", "private"),
            ("198.19.0.1", "benchmarking"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.251", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "reserved"),
            ("168.63.129.16", "metadata"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::7f00:1", "IPv4-compatible"),
            ("::ffff:127.0.0.1", "IPv4-mapped"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
            ("64:ff9b::7f00:1", "NAT64"),
            ("64:ff9b::808:808", "NAT64"),
            ("64:ff9b:1::a00:1", "NAT64"),
            ("100::1", "discard"),
            ("2001::1", "protocol"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ];
        for (address, word) in table {
            let what = special_use(address.parse().expect(address)).unwrap_or("a public address");
            assert!(what.contains(word), "{address} is {what}");
        }
    }

    #[test]
    fn public_addresses() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert_eq!(special_use(address.parse().expect(address)), None, "{address}");
        }
    }

    #[test]
    fn embedded_addresses() {
        let table = [
            ("::ffff:127.0.0.1", Some([127, 0, 0, 1])),
            ("64:ff9b::a00:1", Some([10, 0, 0, 1])),
            ("2002:7f00:1::5", Some([127, 0, 0, 1])),
            ("2606:4700::7f00:1", None),
            ("127.0.0.1", None),
        ];
        for (address, inside) in table {
            assert_eq!(embedded(address.parse().expect(address)), inside.map(Ipv4Addr::from), "{address}");
        }
    }
}
