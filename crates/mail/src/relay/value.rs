//! Values of special headers: numbers, words, hosts, dates. Must not know which header they come from.

use crate::mailbox::DomainName;

use super::problem::Reason;
use crate::header::has_control;

/// A whole number from 1.
pub(super) fn positive(text: &str) -> Result<u64, Reason> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::NotANumber);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(Reason::OutOfRange),
        Ok(number) => Ok(number),
    }
}

/// Letters and digits of any script, blanks, `_`, `-` and `.`, at most `longest` characters.
pub(super) fn label(text: &str, longest: usize) -> Result<String, Reason> {
    if text.chars().count() > longest {
        return Err(Reason::TooLong);
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.');
    if text.chars().all(allowed) { Ok(text.to_owned()) } else { Err(Reason::Characters) }
}

/// Any text without control characters, at most `longest` characters.
pub(super) fn words(text: &str, longest: usize) -> Result<String, Reason> {
    if text.chars().count() > longest {
        return Err(Reason::TooLong);
    }
    if has_control(text) { Err(Reason::Characters) } else { Ok(text.to_owned()) }
}

/// `on` or `off`, in a few spellings.
pub(super) fn switch(text: &str) -> Result<bool, Reason> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["on", "true", "yes", "1"]) {
        return Ok(true);
    }
    if is(&["off", "false", "no", "0"]) { Ok(false) } else { Err(Reason::UnknownWord) }
}

/// A bare domain.
pub(super) fn domain(text: &str) -> Result<DomainName, Reason> {
    DomainName::parse(text).ok().filter(|name| name.as_str().contains('.')).ok_or(Reason::NotAHost)
}

/// A host, bare or as a URL without a path.
pub(super) fn host(text: &str) -> Result<DomainName, Reason> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
    let rest = &text[scheme.map_or(0, str::len)..];
    domain(rest.strip_suffix('/').unwrap_or(rest))
}

/// `yyyy-MM-dd`, when the calendar has it.
pub(super) fn date(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
    ((1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day) && year > 0).then(|| text.to_owned())
}

/// `yyyy-MM-dd hh:mm:ss`; a `T` may stand for the blank, and comes out.
pub(super) fn date_time(text: &str) -> Option<String> {
    let (day, time) = text.split_at_checked(10)?;
    let day = date(day)?;
    let bytes = time.as_bytes();
    if bytes.len() != 9 || !matches!(bytes[0], b' ' | b'T') || bytes[3] != b':' || bytes[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&bytes[1..3])?, digits(&bytes[4..6])?, digits(&bytes[7..])?);
    (hour < 24 && minute < 60 && second < 60).then(|| format!("{day}T{}", &time[1..]))
}

/// A time of RFC 3339 in milliseconds since 1970 UTC; a fraction below a millisecond is dropped.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let (local, rest) = text.split_at_checked(19)?;
    let local = date_time(&local.replace('t', "T"))?;
    let bytes = local.as_bytes();
    let number = |range: std::ops::Range<usize>| digits(&bytes[range]);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    let (millis, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let fraction = &rest.as_bytes()[..end];
            let digit = |at: usize| fraction.get(at).map_or(0, |byte| i64::from(byte - b'0'));
            if end == 0 || end > 12 {
                return None;
            }
            (digit(0) * 100 + digit(1) * 10 + digit(2), &rest[end..])
        }
        None => (0, rest),
    };
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    Some((days_since_1970(year, month, day) * 86_400 + seconds - offset) * 1_000 + millis)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Years are counted from March, so that leap days stand at the end of one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-22T08:30:00Z", Some(1_795_336_200_000)),
            ("2026-11-22T09:30:00.5+01:00", Some(1_795_336_200_500)),
            ("2026-11-22t08:30:00.123456z", Some(1_795_336_200_123)),
            ("2024-02-29T00:00:00-00:30", Some(1_709_166_600_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-11-22T24:00:00Z", None),
            ("2026-11-22T08:30:00", None),
            ("2026-11-22T08:30:00.Z", None),
            ("2026-11-22", None),
            ("tomorrow", None),
            ("2026-11-22T08:30:0\u{e9}", None),
        ] {
            assert_eq!(rfc3339(text), wanted, "{text}");
        }
    }

    #[test]
    fn hosts_are_read() {
        assert_eq!(host("https://t.Example.com/").map(|name| name.to_string()), Ok("t.example.com".to_owned()));
        assert_eq!(host("t.example.com").map(|name| name.to_string()), Ok("t.example.com".to_owned()));
        for text in ["https://t.example.com/x", "ftp://t.example.com", "localhost", "a b.example", "192.0.2.1"] {
            assert_eq!(host(text), Err(Reason::NotAHost), "{text}");
        }
        assert_eq!(domain("https://example.com"), Err(Reason::NotAHost));
    }
}
