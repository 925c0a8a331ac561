//! What a certificate says about itself: its names and its time. Reads just enough of DER (RFC 5280 4.1) for that; whether the
//! certificate is any good is for rustls.

use std::net::IpAddr;

/// Names and time of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// DNS names and addresses of the subject, in the order of the certificate.
    pub names: Vec<String>,
    /// From when, milliseconds UTC.
    pub not_before: i64,
    /// Until when, milliseconds UTC.
    pub not_after: i64,
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17, subjectAltName.
const ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// More names than any authority allows.
const MOST_NAMES: usize = 1_000;

/// Reads the names and the time; `None` for what is no certificate.
pub(super) fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (body, _) = expect(certificate, SEQUENCE)?;
    let rest = expect(body, VERSION).map_or(body, |(_, rest)| rest);
    let (_, rest) = expect(rest, INTEGER)?;
    let (_, rest) = expect(rest, SEQUENCE)?; // signature algorithm
    let (_, rest) = expect(rest, SEQUENCE)?; // issuer
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (not_before, more) = time(validity)?;
    let (not_after, _) = time(more)?;
    let (_, rest) = expect(rest, SEQUENCE)?; // subject
    let (_, mut rest) = expect(rest, SEQUENCE)?; // key
    let mut names = Vec::new();
    while let Some((tag, value, more)) = element(rest) {
        if tag == EXTENSIONS {
            names = alt_names(value)?;
        }
        rest = more;
    }
    Some(CertificateFacts { names, not_before, not_after })
}

/// The next element: tag, value, what follows. Lengths of more than four octets are refused.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 4 {
            return None;
        }
        let (octets, rest) = rest.split_at_checked(octets)?;
        (octets.iter().fold(0usize, |length, octet| length << 8 | usize::from(*octet)), rest)
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

fn expect(input: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, value, rest) = element(input)?;
    (tag == wanted).then_some((value, rest))
}

fn alt_names(extensions: &[u8]) -> Option<Vec<String>> {
    let (mut list, _) = expect(extensions, SEQUENCE)?;
    let mut found = Vec::new();
    while let Some((extension, more)) = expect(list, SEQUENCE) {
        list = more;
        let (object, rest) = expect(extension, OBJECT)?;
        if object != ALT_NAME {
            continue;
        }
        // An optional `critical` stands before the value.
        let (tag, value, rest) = element(rest)?;
        let value = if tag == OCTETS { value } else { expect(rest, OCTETS)?.0 };
        let (mut names, _) = expect(value, SEQUENCE)?;
        while let Some((tag, name, more)) = element(names) {
            names = more;
            if found.len() >= MOST_NAMES {
                break;
            }
            match tag {
                DNS_NAME => found.push(String::from_utf8(name.to_vec()).ok()?),
                IP_ADDRESS => found.push(address(name)?.to_string()),
                _ => {} // mailboxes, URLs and other names that no server has
            }
        }
    }
    Some(found)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A moment as RFC 5280 4.1.2.5 writes it, in milliseconds UTC.
fn time(input: &[u8]) -> Option<(i64, &[u8])> {
    let (tag, value, rest) = element(input)?;
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, digits) = match tag {
        UTC_TIME => {
            let short: i64 = number(text.get(..2)?)?;
            // 4.1.2.5.1: from 50 on it is the last century.
            (if short >= 50 { 1900 + short } else { 2000 + short }, text.get(2..)?)
        }
        GENERAL_TIME => (number(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    if digits.len() != 10 {
        return None;
    }
    let part = |at: usize| number(digits.get(at..at + 2)?);
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((seconds * 1_000, rest))
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let of = |tag: u8, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).expect("short")];
            der.extend_from_slice(text.as_bytes());
            time(&der).map(|(at, _)| at)
        };
        assert_eq!(of(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(of(UTC_TIME, "261122051000Z"), Some(1_795_324_200_000));
        assert_eq!(of(UTC_TIME, "491231235959Z"), Some(2_524_607_999_000));
        assert_eq!(of(UTC_TIME, "500101000000Z"), Some(-631_152_000_000));
        assert_eq!(of(GENERAL_TIME, "20500101000000Z"), Some(2_524_608_000_000));
        assert_eq!(of(GENERAL_TIME, "20000229000000Z"), Some(951_782_400_000));
        for text in ["", "Z", "2611220510Z", "26112205100Z", "261322051000Z", "261122051000", "26+122051000Z"] {
            assert_eq!(of(UTC_TIME, text), None, "{text}");
        }
    }

    #[test]
    fn a_made_certificate_says_its_names_and_time() {
        let names = vec!["mail.example.org".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names.clone()).expect("names");
        params.not_before = rcgen::date_time_ymd(2026, 11, 1);
        params.not_after = rcgen::date_time_ymd(2051, 2, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let found = facts(certificate.der()).expect("a certificate");
        assert_eq!(found.names, names);
        assert_eq!((found.not_before, found.not_after), (1_793_491_200_000, 2_558_822_400_000));
    }

    #[test]
    fn nothing_that_is_cut_or_changed_is_read_past_its_end() {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
        let der = made.cert.der().to_vec();
        for length in 0..der.len() {
            let _ = facts(&der[..length]);
            let mut changed = der.clone();
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                changed[length] = value;
                let _ = facts(&changed);
            }
        }
        assert_eq!(facts(b"no certificate"), None);
    }
}
