//! The simulated hosts: what acts before a recipient is known, one loopback address each.
//!
//! Pure: names and properties; the listeners are in `mx`.

use std::net::Ipv4Addr;

/// What a host does with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not offered.
    None,
    /// STARTTLS with a certificate that only itself vouches for.
    SelfSigned,
    /// STARTTLS with a certificate of the world's own authority, for the host's names.
    Trusted,
    /// As `Trusted`, but its time is over.
    Expired,
    /// As `Trusted`, but for another host.
    WrongName,
    /// STARTTLS is offered, and garbage follows.
    Broken,
    /// STARTTLS is offered, and refused with 454.
    Refused,
    /// A reply in clear is sent right behind the 220 to STARTTLS: the injection of RFC 3207 6.
    Injected,
}

/// How a host treats a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As a host should.
    Plain,
    /// 554 5.7.1 as greeting.
    BlockConnect,
    /// 550 5.7.1 to MAIL.
    BlockMail,
    /// Accepts the connection and never says a word.
    Never,
    /// Each reply comes late.
    Slow,
    /// 421 4.3.2 as greeting.
    Outage,
    /// Closes at once.
    DropConnect,
    /// Nobody listens.
    Refused,
    /// 421 4.7.0 to connections beyond this many at a time.
    Limit(u32),
    /// 421 4.7.0 after this many messages of one connection.
    Close(u32),
    /// Closes without a word after this many messages of one connection.
    Exhaust(u32),
    /// Takes messages up to 2,048 bytes.
    Small,
    /// Offers no PIPELINING, and dislikes it.
    NoPipelining,
    /// Knows HELO only.
    HeloOnly,
    /// Offers SMTPUTF8.
    Utf8,
    /// Sends a greeting of a megabyte.
    Flood,
    /// Wants a login, under TLS.
    Smarthost,
    /// Wants a login, also in clear.
    SmarthostClear,
}

/// One simulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The name, which is a domain's label too: `anything@NAME.test` goes there.
    pub name: &'static str,
    /// The last number of its address 127.0.0.x.
    pub last_octet: u8,
    /// How it treats connections.
    pub manner: Manner,
    /// What it does with TLS.
    pub tls: Tls,
    /// What `postrider sim --list` says about it.
    pub what: &'static str,
}

const fn place(name: &'static str, last_octet: u8, manner: Manner, tls: Tls, what: &'static str) -> Place {
    Place { name, last_octet, manner, tls, what }
}

/// The host of all domains that ask for nothing special.
pub const STANDARD: Place = PLACES[0];

/// All simulated hosts.
pub const PLACES: &[Place] = &[
    place("standard", 1, Manner::Plain, Tls::None, "the host of all other domains"),
    place("block-connect", 2, Manner::BlockConnect, Tls::None, "554 5.7.1 as greeting"),
    place("block-mail", 3, Manner::BlockMail, Tls::None, "550 5.7.1 to MAIL"),
    place("never", 4, Manner::Never, Tls::None, "accepts the connection and never answers"),
    place("slow", 5, Manner::Slow, Tls::None, "each reply comes late"),
    place("outage", 6, Manner::Outage, Tls::None, "421 4.3.2 as greeting"),
    place("drop-connect", 7, Manner::DropConnect, Tls::None, "closes at once"),
    place("refused", 8, Manner::Refused, Tls::None, "nobody listens"),
    place("limit1", 9, Manner::Limit(1), Tls::None, "421 4.7.0 beyond 1 connection"),
    place("limit2", 10, Manner::Limit(2), Tls::None, "421 4.7.0 beyond 2 connections"),
    place("limit5", 11, Manner::Limit(5), Tls::None, "421 4.7.0 beyond 5 connections"),
    place("limit10", 12, Manner::Limit(10), Tls::None, "421 4.7.0 beyond 10 connections"),
    place("close1", 13, Manner::Close(1), Tls::None, "421 4.7.0 after 1 message of a connection"),
    place("close3", 14, Manner::Close(3), Tls::None, "421 4.7.0 after 3 messages of a connection"),
    place("close10", 15, Manner::Close(10), Tls::None, "421 4.7.0 after 10 messages of a connection"),
    place("close100", 16, Manner::Close(100), Tls::None, "421 4.7.0 after 100 messages of a connection"),
    place("exhaust1", 17, Manner::Exhaust(1), Tls::None, "closes without a word after 1 message"),
    place("exhaust3", 18, Manner::Exhaust(3), Tls::None, "closes without a word after 3 messages"),
    place("exhaust10", 19, Manner::Exhaust(10), Tls::None, "closes without a word after 10 messages"),
    place("exhaust100", 20, Manner::Exhaust(100), Tls::None, "closes without a word after 100 messages"),
    place("small", 21, Manner::Small, Tls::None, "takes messages up to 2,048 bytes"),
    place("nopipe", 22, Manner::NoPipelining, Tls::None, "offers no PIPELINING"),
    place("helo", 23, Manner::HeloOnly, Tls::None, "knows HELO only"),
    place("utf8", 24, Manner::Utf8, Tls::None, "offers SMTPUTF8"),
    place("flood", 25, Manner::Flood, Tls::None, "sends a greeting of a megabyte"),
    place("tls", 26, Manner::Plain, Tls::SelfSigned, "STARTTLS with a self-signed certificate"),
    place("tls-good", 27, Manner::Plain, Tls::Trusted, "STARTTLS with a certificate of the world's authority"),
    place("tls-expired", 28, Manner::Plain, Tls::Expired, "STARTTLS with an expired certificate"),
    place("tls-wrong", 29, Manner::Plain, Tls::WrongName, "STARTTLS with a certificate for another host"),
    place("tls-broken", 30, Manner::Plain, Tls::Broken, "offers STARTTLS, then sends garbage"),
    place("tls-refused", 31, Manner::Plain, Tls::Refused, "offers STARTTLS, then refuses it with 454"),
    place("tls-injected", 32, Manner::Plain, Tls::Injected, "sends a reply in clear behind the 220 to STARTTLS"),
    place("smarthost", 33, Manner::Smarthost, Tls::Trusted, "wants a login under TLS, then takes any domain"),
    place("smarthost-clear", 34, Manner::SmarthostClear, Tls::None, "wants a login, also in clear"),
];

impl Place {
    /// The place with this name.
    pub fn named(name: &str) -> Option<Place> {
        PLACES.iter().find(|place| place.name == name).copied()
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, self.last_octet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_addresses_are_unique() {
        let names: BTreeSet<_> = PLACES.iter().map(|place| place.name).collect();
        let octets: BTreeSet<_> = PLACES.iter().map(|place| place.last_octet).collect();
        assert_eq!(names.len(), PLACES.len());
        assert_eq!(octets.len(), PLACES.len());
        assert_eq!(STANDARD.address(), Ipv4Addr::LOCALHOST);
    }
}
