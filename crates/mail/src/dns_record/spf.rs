//! SPF records as text (RFC 7208). Must not ask DNS: how includes are followed and counted is the checker's.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{RecordError, piece};

/// What a match means (RFC 7208 4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`: may send.
    Pass,
    /// `-`: may not.
    Fail,
    /// `~`: probably may not.
    SoftFail,
    /// `?`: nothing is said.
    Neutral,
}

/// A mechanism (RFC 7208 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// Everybody.
    All,
    /// Whom another record lets pass.
    Include(String),
    /// The addresses of a name.
    A(Named),
    /// The addresses of a name's MX hosts.
    Mx(Named),
    /// By the reverse name: not to be used (5.5).
    Ptr,
    /// An IPv4 network.
    Ip4(Ipv4Addr, u8),
    /// An IPv6 network.
    Ip6(Ipv6Addr, u8),
    /// Whether a name made of macros exists.
    Exists(String),
}

/// The name of an `a` or `mx` mechanism and its prefix lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name; the record's own when not given.
    pub name: Option<String>,
    /// Bits of an IPv4 address that count.
    pub v4: u8,
    /// Bits of an IPv6 address that count.
    pub v6: u8,
}

/// A mechanism and what its match means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What a match means.
    pub qualifier: Qualifier,
    /// What is compared.
    pub mechanism: Mechanism,
}

/// An SPF record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpfRecord {
    /// The mechanisms in order.
    pub terms: Vec<Term>,
    /// The record that decides when no mechanism matches (6.1); without effect beside `all`.
    pub redirect: Option<String>,
}

impl Mechanism {
    /// Whether a verifier has to ask DNS for it: at most ten such terms, `redirect` counted, may be met (4.6.4).
    pub fn asks_dns(&self) -> bool {
        match self {
            Mechanism::Include(_) | Mechanism::A(_) | Mechanism::Mx(_) | Mechanism::Ptr | Mechanism::Exists(_) => true,
            Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..) => false,
        }
    }
}

/// Whether a name holds macros, which only a message gives values (7).
pub fn has_macro(name: &str) -> bool {
    name.contains('%')
}

impl SpfRecord {
    /// Whether a TXT record is meant as SPF (4.5): `v=spf1` and a space or the end.
    pub fn is_one(txt: &str) -> bool {
        let Some(start) = txt.get(..6) else { return false };
        start.eq_ignore_ascii_case("v=spf1") && txt[6..].bytes().next().is_none_or(|b| b == b' ')
    }

    /// Reads a record.
    ///
    /// ```
    /// use postrider_mail::dns_record::spf::SpfRecord;
    /// let record = SpfRecord::parse("v=spf1 include:_spf.example.net -all").unwrap();
    /// assert_eq!(record.terms.len(), 2);
    /// assert!(SpfRecord::parse("v=spf1 includes:_spf.example.net -all").is_err());
    /// ```
    ///
    /// # Errors
    /// The first term that is not of RFC 7208's grammar; a verifier answers "permerror" then.
    pub fn parse(txt: &str) -> Result<SpfRecord, RecordError> {
        if !SpfRecord::is_one(txt) {
            return Err(RecordError::Missing("v=spf1"));
        }
        let mut record = SpfRecord::default();
        let mut explained = false;
        for word in txt[6..].split(' ').filter(|word| !word.is_empty()) {
            match modifier(word) {
                Some(("redirect", value)) => {
                    if record.redirect.is_some() {
                        return Err(RecordError::Twice("redirect".into()));
                    }
                    record.redirect = Some(name(value, word)?);
                }
                Some(("exp", value)) => {
                    if std::mem::replace(&mut explained, true) {
                        return Err(RecordError::Twice("exp".into()));
                    }
                    name(value, word)?;
                }
                // 6: unknown modifiers are ignored.
                Some(_) => {}
                None => record.terms.push(term(word)?),
            }
        }
        Ok(record)
    }

    /// What happens to senders whom no term names: the qualifier of `all`, if there is one.
    pub fn all(&self) -> Option<Qualifier> {
        self.terms.iter().find(|term| term.mechanism == Mechanism::All).map(|term| term.qualifier)
    }
}

/// `name=value`, where the name is a word: else it is a mechanism.
fn modifier(word: &str) -> Option<(&str, &str)> {
    let end = word.find([':', '/', '='])?;
    let (name, rest) = word.split_at(end);
    let value = rest.strip_prefix('=')?;
    let letters = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let known = ["redirect", "exp"].into_iter().find(|known| name.eq_ignore_ascii_case(known));
    letters.then_some((known.unwrap_or(name), value))
}

fn term(word: &str) -> Result<Term, RecordError> {
    let (qualifier, rest) = match word.as_bytes().first() {
        Some(b'+') => (Qualifier::Pass, &word[1..]),
        Some(b'-') => (Qualifier::Fail, &word[1..]),
        Some(b'~') => (Qualifier::SoftFail, &word[1..]),
        Some(b'?') => (Qualifier::Neutral, &word[1..]),
        Some(_) | None => (Qualifier::Pass, word),
    };
    let end = rest.find([':', '/']).unwrap_or(rest.len());
    let (kind, argument) = rest.split_at(end);
    let value = argument.strip_prefix(':');
    let wrong = || RecordError::Value(piece(word));
    let mechanism = match kind.to_ascii_lowercase().as_str() {
        "all" if argument.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(name(value.ok_or_else(wrong)?, word)?),
        "exists" => Mechanism::Exists(name(value.ok_or_else(wrong)?, word)?),
        "a" => Mechanism::A(named(argument, word)?),
        "mx" => Mechanism::Mx(named(argument, word)?),
        "ptr" => {
            if let Some(value) = value {
                name(value, word)?;
            } else if !argument.is_empty() {
                return Err(wrong());
            }
            Mechanism::Ptr
        }
        "ip4" => {
            let (address, bits) = network(value.ok_or_else(wrong)?, 32).ok_or_else(wrong)?;
            Mechanism::Ip4(address.parse().map_err(|_| wrong())?, bits)
        }
        "ip6" => {
            let (address, bits) = network(value.ok_or_else(wrong)?, 128).ok_or_else(wrong)?;
            Mechanism::Ip6(address.parse().map_err(|_| wrong())?, bits)
        }
        "all" => return Err(wrong()),
        _ => return Err(RecordError::Unknown(piece(word))),
    };
    Ok(Term { qualifier, mechanism })
}

/// A domain-spec (7.1): macros, or a name of at least two labels.
fn name(text: &str, word: &str) -> Result<String, RecordError> {
    let wrong = || RecordError::Value(piece(word));
    if has_macro(text) {
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let after = &rest[at + 1..];
            let length = match after.as_bytes().first() {
                Some(b'%' | b'_' | b'-') => 1,
                Some(b'{') => after.find('}').filter(|end| *end > 1).ok_or_else(wrong)? + 1,
                Some(_) | None => return Err(wrong()),
            };
            rest = &after[length..];
        }
        return Ok(text.to_owned());
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last_is_word = bare.rsplit('.').next().is_some_and(|l| !l.bytes().all(|b| b.is_ascii_digit()));
    if bare.len() <= 253 && bare.contains('.') && bare.split('.').all(label) && last_is_word {
        Ok(bare.to_ascii_lowercase())
    } else {
        Err(wrong())
    }
}

/// `[":" name] ["/" bits] ["//" bits]`.
fn named(argument: &str, word: &str) -> Result<Named, RecordError> {
    let wrong = || RecordError::Value(piece(word));
    let (front, v6) = match argument.split_once("//") {
        Some((front, bits)) => (front, prefix(bits, 128).ok_or_else(wrong)?),
        None => (argument, 128),
    };
    let (front, v4) = match front.rsplit_once('/') {
        Some((front, bits)) => (front, prefix(bits, 32).ok_or_else(wrong)?),
        None => (front, 32),
    };
    let name = match front.strip_prefix(':') {
        Some(text) => Some(name(text, word)?),
        None if front.is_empty() => None,
        None => return Err(wrong()),
    };
    Ok(Named { name, v4, v6 })
}

fn network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, bits)) => Some((address, prefix(bits, most)?)),
        None => Some((text, most)),
    }
}

/// A prefix length without leading zeros.
fn prefix(text: &str, most: u8) -> Option<u8> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|bits| plain && *bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_kept() {
        for good in [
            "v=spf1",
            "V=SPF1 mx ~all",
            "v=spf1 a mx/24 a:mail.example.org/28//64 -all",
            "v=spf1 a//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?all",
            "v=spf1  include:_spf.example.net  redirect=_x.example.net",
            "v=spf1 exists:%{i}._spf.example.net exp=why.example.net unknown=anything -all",
            "v=spf1 ptr ptr:example.org +all",
            "v=spf1 include:%{d2}.example.net -all",
        ] {
            assert!(SpfRecord::parse(good).is_ok(), "{good}: {:?}", SpfRecord::parse(good));
        }
        for (bad, word) in [
            ("v=spf1 includes:a.example", "includes:a.example"),
            ("v=spf1 include", "include"),
            ("v=spf1 include:", "include:"),
            ("v=spf1 include:single", "include:single"),
            ("v=spf1 ip4:300.1.1.1", "ip4:300.1.1.1"),
            ("v=spf1 ip4:192.0.2.0/33", "ip4:192.0.2.0/33"),
            ("v=spf1 ip6:192.0.2.1", "ip6:192.0.2.1"),
            ("v=spf1 all:x.example", "all:x.example"),
            ("v=spf1 a/024", "a/024"),
            ("v=spf1 -all, mx", "-all,"),
            ("v=spf1 exists:%{i._spf.example.net", "exists:%{i._spf.example.net"),
            ("v=spf1 192.0.2.1", "192.0.2.1"),
        ] {
            let error = SpfRecord::parse(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
        assert_eq!(
            SpfRecord::parse("v=spf1 redirect=a.example redirect=b.example"),
            Err(RecordError::Twice("redirect".into()))
        );
    }

    #[test]
    fn only_spf_is_spf() {
        for (txt, want) in
            [("v=spf1", true), ("v=spf1 -all", true), ("v=spf10 -all", false), ("spf2.0/pra", false), ("v=sp", false)]
        {
            assert_eq!(SpfRecord::is_one(txt), want, "{txt}");
        }
    }

    #[test]
    fn what_asks_dns_and_how_it_ends() {
        let record = SpfRecord::parse("v=spf1 a mx ptr include:a.example exists:b.example ip4:192.0.2.1 ~all").unwrap();
        assert_eq!(record.terms.iter().filter(|t| t.mechanism.asks_dns()).count(), 5);
        assert_eq!(record.all(), Some(Qualifier::SoftFail));
        assert_eq!(SpfRecord::parse("v=spf1 all").unwrap().all(), Some(Qualifier::Pass));
        assert_eq!(SpfRecord::parse("v=spf1 mx").unwrap().all(), None);
    }
}
