//! What the simulated DNS says: a pure function from a question to an answer.
//!
//! A name ends in a reserved suffix (RFC 2606). The label in front of the suffix says how its DNS and its hosts
//! behave, so that `defer2.test` and `shop.defer2.test` are two domains that behave alike.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::behaviour::{Behaviour, Described, split_number};
use crate::place::{Place, STANDARD};

/// The suffixes that belong to this world; all are reserved and never exist on the internet.
pub const SUFFIXES: &[&str] = &["test", "example", "example.com", "example.net", "example.org"];

/// The labels that change what DNS says.
pub const ZONES: &[Described] = &[
    Described {
        name: "mail[N]",
        what: "ordinary domains: mail1.test, mail2.test and so on, each with its own MX host",
    },
    Described { name: "shared", what: "tenant1.shared.test and so on: all with the MX host of one provider" },
    Described { name: "multi", what: "two MX hosts: nobody listens at the first, the second accepts" },
    Described { name: "implicit", what: "no MX record, but an address" },
    Described { name: "nullmx", what: "a null MX: takes no mail" },
    Described { name: "noaddress", what: "an MX host without an address" },
    Described { name: "nodata", what: "the name exists, with neither MX nor address" },
    Described { name: "nxdomain", what: "the name does not exist; nor does any name that is not in these tables" },
    Described { name: "servfail", what: "SERVFAIL to each question" },
    Described { name: "bogus", what: "SERVFAIL, as a validating resolver says it of a zone with wrong signatures" },
    Described { name: "dns-never", what: "no answer to any question" },
    Described { name: "dns-refused", what: "REFUSED to each question" },
    Described { name: "cname", what: "the domain is an alias of mail1.test" },
    Described { name: "chain[N]", what: "an alias of an alias, N of them, and at the end mail1.test" },
    Described { name: "mxcname", what: "the MX host is an alias of the host of mail1.test" },
    Described { name: "loop", what: "the domain is an alias of itself" },
    Described { name: "private", what: "the MX host has the private address 10.0.0.1" },
    Described { name: "dual", what: "the MX host has an IPv4 address where nobody listens, and the IPv6 address ::1" },
    Described { name: "last[N]", what: "N MX hosts, of which only the last one listens" },
    Described { name: "v6", what: "the MX host has the IPv6 address ::1 only" },
    Described { name: "large", what: "an MX answer that does not fit into UDP" },
];

/// A kind of question that this world answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// MX.
    Mx,
    /// A.
    A,
    /// AAAA.
    Aaaa,
    /// TXT.
    Txt,
    /// SOA.
    Soa,
    /// PTR.
    Ptr,
    /// CAA.
    Caa,
    /// Anything else: there is no data.
    Other,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// MX; the empty name is the root.
    Mx(u16, String),
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// TXT.
    Txt(String),
    /// CNAME.
    Cname(String),
    /// SOA; the name is the apex of a zone.
    Soa,
    /// PTR.
    Ptr(String),
    /// CAA `issue`: the authority.
    CaaIssue(String),
}

impl Data {
    /// A record by its type and value as people write them: `MX 10 mx.example`, `A 192.0.2.1`, `SOA`, `CAA ca.example`.
    pub fn parse(kind: &str, value: &str) -> Option<Data> {
        let value = value.trim();
        let name = || (!value.is_empty()).then(|| canonical(value));
        match kind.to_ascii_uppercase().as_str() {
            "MX" => {
                let (preference, host) = value.split_once(' ')?;
                Some(Data::Mx(preference.parse().ok()?, canonical(host.trim())))
            }
            "A" => Some(Data::A(value.parse().ok()?)),
            "AAAA" => Some(Data::Aaaa(value.parse().ok()?)),
            "TXT" => Some(Data::Txt(value.to_owned())),
            "CNAME" => Some(Data::Cname(name()?)),
            "SOA" => Some(Data::Soa),
            "PTR" => Some(Data::Ptr(name()?)),
            "CAA" => Some(Data::CaaIssue(name()?)),
            _ => None,
        }
    }

    /// The kind of question that it answers; `None` for an alias, which answers all.
    fn kind(&self) -> Option<Kind> {
        match self {
            Data::Mx(..) => Some(Kind::Mx),
            Data::A(_) => Some(Kind::A),
            Data::Aaaa(_) => Some(Kind::Aaaa),
            Data::Txt(_) => Some(Kind::Txt),
            Data::Cname(_) => None,
            Data::Soa => Some(Kind::Soa),
            Data::Ptr(_) => Some(Kind::Ptr),
            Data::CaaIssue(_) => Some(Kind::Caa),
        }
    }
}

/// What the server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// These records; none is NODATA.
    Records(Vec<Data>),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// REFUSED.
    Refused,
    /// Nothing.
    Silence,
}

/// What domains outside of the reserved suffixes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherDomains {
    /// They do not exist.
    NoSuchName,
    /// They all accept: a rehearsal with a real list of contacts.
    Accept,
}

/// How a domain behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    /// The host that its MX record points to.
    pub place: Place,
    /// How its recipients are treated when they ask for nothing else.
    pub behaviour: Behaviour,
}

/// The names of the world: the fixed rules and what was published while it runs.
#[derive(Debug, Clone)]
pub struct Zone {
    other: OtherDomains,
    txt: HashMap<String, Vec<String>>,
    /// Domains that behave like the label that they are mapped to.
    alike: HashMap<String, String>,
    /// Names whose records are all given by hand: the rules say nothing about them.
    by_hand: HashMap<String, Vec<Data>>,
}

impl Zone {
    /// A zone with the fixed rules only.
    pub fn new(other: OtherDomains) -> Self {
        Self { other, txt: HashMap::new(), alike: HashMap::new(), by_hand: HashMap::new() }
    }

    /// Adds a TXT record, such as a DKIM key.
    pub fn publish_txt(&mut self, name: &str, value: &str) {
        self.txt.entry(canonical(name)).or_default().push(value.to_owned());
    }

    /// Adds a record by hand. A name with such a record has only those, whatever the rules say of it.
    pub fn publish(&mut self, name: &str, data: Data) {
        self.by_hand.entry(canonical(name)).or_default().push(data);
    }

    /// Takes all records by hand of a name away.
    pub fn withdraw(&mut self, name: &str) {
        self.by_hand.remove(&canonical(name));
    }

    /// The apex of the zone by hand that a name lies in.
    pub fn apex(&self, name: &str) -> Option<String> {
        let name = canonical(name);
        let mut rest = Some(name.as_str());
        while let Some(candidate) = rest {
            if self.by_hand.get(candidate).is_some_and(|records| records.contains(&Data::Soa)) {
                return Some(candidate.to_owned());
            }
            rest = candidate.split_once('.').map(|(_, parent)| parent);
        }
        None
    }

    /// Makes a domain behave as `label` does (`defer2`, `nullmx`, `limit1`); false when there is no such label.
    pub fn behave(&mut self, domain: &str, label: &str) -> bool {
        let known = is_label(label);
        if known {
            self.alike.insert(canonical(domain), label.to_owned());
        }
        known
    }

    /// The label that decides about a name: `None` when the name is not of this world.
    fn label<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        // The longest mapped name wins: the name itself, then what is left after each label.
        let mut rest = Some(name);
        while let Some(candidate) = rest {
            if let Some(label) = self.alike.get(candidate) {
                return Some(label);
            }
            rest = candidate.split_once('.').map(|(_, parent)| parent);
        }
        let inner = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)?.strip_suffix('.'));
        match (inner, self.other) {
            (Some(inner), _) => inner.rsplit('.').next(),
            (None, OtherDomains::Accept) if name.contains('.') => Some("accept"),
            (None, OtherDomains::Accept | OtherDomains::NoSuchName) => None,
        }
    }

    /// How a domain's mail is treated; the standard host's way for names that are not of this world, since
    /// somebody sent to them all the same.
    pub fn domain(&self, domain: &str) -> Domain {
        let name = canonical(domain);
        let label = self.label(&name).unwrap_or("accept");
        Domain {
            place: Place::named(label).unwrap_or(STANDARD),
            behaviour: Behaviour::parse(label).unwrap_or(Behaviour::Accept),
        }
    }

    /// Answers a question.
    pub fn answer(&self, name: &str, kind: Kind) -> Said {
        let name = canonical(name);
        if kind == Kind::Txt
            && let Some(values) = self.txt.get(&name)
        {
            return Said::Records(values.iter().map(|value| Data::Txt(value.clone())).collect());
        }
        if let Some(records) = self.by_hand.get(&name) {
            let fits = |data: &&Data| data.kind().is_none_or(|known| known == kind);
            return Said::Records(records.iter().filter(fits).cloned().collect());
        }
        let Some(label) = self.label(&name) else {
            return Said::NoSuchName;
        };
        match label {
            "servfail" | "bogus" => return Said::Failure,
            "dns-never" => return Said::Silence,
            "dns-refused" => return Said::Refused,
            "nxdomain" => return Said::NoSuchName,
            _ if !is_label(label) => return Said::NoSuchName,
            _ => {}
        }
        match host_part(&name) {
            Some(domain) => host(label, domain, &name, kind),
            None => domain_itself(label, &name, kind),
        }
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether a label stands for something in this world.
fn is_label(label: &str) -> bool {
    let ordinary = matches!(split_number(label), ("mail" | "chain" | "last", Some(_)));
    ordinary
        || Place::named(label).is_some()
        || Behaviour::parse(label).is_some()
        || ZONES.iter().any(|row| row.name == label)
}

/// The domain of an MX host's name `mx1.domain`.
fn host_part(name: &str) -> Option<&str> {
    let (first, domain) = name.split_once('.')?;
    matches!(split_number(first), ("mx", Some(_))).then_some(domain)
}

fn domain_itself(label: &str, name: &str, kind: Kind) -> Said {
    if let ("chain", Some(left)) = split_number(label) {
        let next = left.checked_sub(1).filter(|n| *n > 0).map_or_else(|| "mail1".to_owned(), |n| format!("chain{n}"));
        return Said::Records(vec![Data::Cname(sibling(name, label, &next))]);
    }
    if let (("last", Some(n)), Kind::Mx) = (split_number(label), kind) {
        let hosts = (1..=n.min(100)).filter_map(|n| Some(Data::Mx(u16::try_from(n).ok()?, format!("mx{n}.{name}"))));
        return Said::Records(hosts.collect());
    }
    let records = match (label, kind) {
        ("cname", _) => vec![Data::Cname(sibling(name, label, "mail1"))],
        ("loop", _) => vec![Data::Cname(name.to_owned())],
        ("nullmx", Kind::Mx) => vec![Data::Mx(0, String::new())],
        ("multi", Kind::Mx) => vec![Data::Mx(10, format!("mx1.{name}")), Data::Mx(20, format!("mx2.{name}"))],
        ("shared", Kind::Mx) => vec![Data::Mx(10, format!("mx1.{}", sibling(name, label, label)))],
        ("large", Kind::Mx) => (1..=60).map(|n| Data::Mx(n * 10, format!("mx{n}.{name}"))).collect(),
        ("implicit" | "nodata", Kind::Mx) => Vec::new(),
        (_, Kind::Mx) => vec![Data::Mx(10, format!("mx1.{name}"))],
        ("implicit", Kind::A) => vec![Data::A(STANDARD.address())],
        (_, Kind::A | Kind::Aaaa | Kind::Txt | Kind::Soa | Kind::Ptr | Kind::Caa | Kind::Other) => Vec::new(),
    };
    Said::Records(records)
}

fn host(label: &str, domain: &str, name: &str, kind: Kind) -> Said {
    let place = Place::named(label).unwrap_or(STANDARD);
    let nobody = || Data::A(Place::named("refused").unwrap_or(STANDARD).address());
    if let (("last", Some(n)), Kind::A) = (split_number(label), kind) {
        // Each dead host has an address of its own, where nobody listens.
        let number = split_number(name.split('.').next().unwrap_or_default()).1;
        let number = number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
        let last = u32::from(number) == n.min(100);
        return Said::Records(vec![Data::A(if last { STANDARD.address() } else { Ipv4Addr::new(127, 77, 0, number) })]);
    }
    let records = match (label, kind) {
        ("noaddress" | "nodata", _) => Vec::new(),
        ("mxcname", _) => vec![Data::Cname(format!("mx1.{}", sibling(domain, label, "mail1")))],
        ("private", Kind::A) => vec![Data::A(Ipv4Addr::new(10, 0, 0, 1))],
        ("dual", Kind::A) => vec![nobody()],
        ("v6" | "dual", Kind::Aaaa) => vec![Data::Aaaa(Ipv6Addr::LOCALHOST)],
        ("v6", Kind::A) => Vec::new(),
        ("multi", Kind::A) if name.starts_with("mx1.") => vec![nobody()],
        (_, Kind::A) => vec![Data::A(place.address())],
        (_, Kind::Mx | Kind::Aaaa | Kind::Txt | Kind::Soa | Kind::Ptr | Kind::Caa | Kind::Other) => Vec::new(),
    };
    Said::Records(records)
}

/// `shop.cname.test` and `cname` and `mail1` make `mail1.test`.
fn sibling(name: &str, label: &str, other: &str) -> String {
    match name.rsplit_once(&format!("{label}.")) {
        Some((_, suffix)) => format!("{other}.{suffix}"),
        None => format!("{other}.test"), // a mapped name, without the label in it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        Zone::new(OtherDomains::NoSuchName)
    }

    #[test]
    fn the_label_before_the_suffix_decides() {
        let zone = zone();
        for (domain, behaviour) in [
            ("defer2.test", "defer2"),
            ("shop.defer2.test", "defer2"),
            ("unknown.example.com", "unknown"),
            ("DEFER2.Test.", "defer2"),
            ("mail7.test", "accept"),
            ("limit1.test", "accept"),
        ] {
            assert_eq!(Some(zone.domain(domain).behaviour), Behaviour::parse(behaviour), "{domain}");
        }
        assert_eq!(zone.domain("limit1.test").place.name, "limit1");
        assert_eq!(zone.domain("unknown.test").place, STANDARD);
    }

    #[test]
    fn names_lead_from_mx_to_address() {
        let zone = zone();
        for domain in ["accept.test", "mail3.test", "a.b.defer.example", "block-connect.test", "tls.test"] {
            let Said::Records(mx) = zone.answer(domain, Kind::Mx) else { panic!("{domain} has an MX") };
            let [Data::Mx(10, host)] = &mx[..] else { panic!("{domain}: {mx:?}") };
            let address = zone.domain(domain).place.address();
            assert_eq!(zone.answer(host, Kind::A), Said::Records(vec![Data::A(address)]), "{host}");
            assert_eq!(zone.answer(host, Kind::Aaaa), Said::Records(vec![]), "{host}");
        }
    }

    #[test]
    fn odd_zones_answer_as_listed() {
        let zone = zone();
        assert_eq!(zone.answer("nullmx.test", Kind::Mx), Said::Records(vec![Data::Mx(0, String::new())]));
        assert_eq!(zone.answer("servfail.test", Kind::Mx), Said::Failure);
        assert_eq!(zone.answer("x.servfail.test", Kind::Txt), Said::Failure);
        assert_eq!(zone.answer("dns-never.test", Kind::A), Said::Silence);
        assert_eq!(zone.answer("implicit.test", Kind::Mx), Said::Records(vec![]));
        assert_eq!(zone.answer("cname.test", Kind::Mx), Said::Records(vec![Data::Cname("mail1.test".to_owned())]));
        assert_eq!(
            zone.answer("mx1.mxcname.test", Kind::A),
            Said::Records(vec![Data::Cname("mx1.mail1.test".to_owned())])
        );
        assert_eq!(
            zone.answer("tenant9.shared.test", Kind::Mx),
            Said::Records(vec![Data::Mx(10, "mx1.shared.test".to_owned())])
        );
        for unknown in ["nxdomain.test", "no-such-rule.test", "gmail.com", "test", "", "."] {
            assert_eq!(zone.answer(unknown, Kind::Mx), Said::NoSuchName, "{unknown:?}");
        }
    }

    #[test]
    fn what_is_published_is_answered() {
        let mut zone = zone();
        zone.publish_txt("sel._domainkey.Sender.test", "v=DKIM1; p=abc");
        assert_eq!(
            zone.answer("sel._domainkey.sender.test.", Kind::Txt),
            Said::Records(vec![Data::Txt("v=DKIM1; p=abc".to_owned())])
        );
        assert!(zone.behave("gmail.com", "defer2"));
        assert!(!zone.behave("gmail.com", "no-such-label"));
        assert_eq!(Some(zone.domain("gmail.com").behaviour), Behaviour::parse("defer2"));
        assert_eq!(zone.answer("gmail.com", Kind::Mx), Said::Records(vec![Data::Mx(10, "mx1.gmail.com".to_owned())]));
        assert_eq!(zone.answer("mx1.gmail.com", Kind::A), Said::Records(vec![Data::A(STANDARD.address())]));
    }

    #[test]
    fn records_by_hand_are_all_that_a_name_has() {
        let mut zone = zone();
        zone.publish("Own.example", Data::Soa);
        zone.publish("mail1.own.example", Data::A(Ipv4Addr::new(192, 0, 2, 1)));
        let address = Said::Records(vec![Data::A(Ipv4Addr::new(192, 0, 2, 1))]);
        assert_eq!(zone.answer("mail1.own.example", Kind::A), address);
        assert_eq!(zone.answer("mail1.own.example", Kind::Mx), Said::Records(vec![]), "no rule adds an MX");
        assert_eq!(zone.answer("other.own.example", Kind::A), Said::NoSuchName);
        assert_eq!(zone.apex("x.mail1.own.example").as_deref(), Some("own.example"));
        assert_eq!(zone.apex("example"), None);
        zone.withdraw("mail1.own.example");
        assert_ne!(zone.answer("mail1.own.example", Kind::A), address);
    }

    #[test]
    fn a_rehearsal_may_accept_for_everybody() {
        let zone = Zone::new(OtherDomains::Accept);
        assert_eq!(zone.answer("gmail.com", Kind::Mx), Said::Records(vec![Data::Mx(10, "mx1.gmail.com".to_owned())]));
        assert_eq!(zone.answer("no-such-rule.test", Kind::Mx), Said::NoSuchName);
    }

    #[test]
    fn every_listed_zone_is_known() {
        for row in ZONES {
            assert!(is_label(&row.name.replace("[N]", "1")), "{}", row.name);
        }
    }
}
