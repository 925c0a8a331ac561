//! MTA-STS (RFC 8461): what a domain's TXT record and policy file say, and which hosts they allow.
//!
//! Pure: text in, values out. Does not know how either text is fetched or kept.

/// The longest that a policy may ask to be kept, in seconds (RFC 8461 3.2).
const LONGEST_AGE: u64 = 31_557_600;
/// More host patterns than this are no policy.
const MOST_PATTERNS: usize = 256;

/// What a policy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsMode {
    /// Mail goes only to hosts that are listed, over TLS with a valid certificate.
    Enforce,
    /// Failures are counted and block nothing.
    Testing,
    /// The domain gives its policy up.
    None,
}

impl StsMode {
    /// The word of the policy file.
    pub const fn as_str(self) -> &'static str {
        match self {
            StsMode::Enforce => "enforce",
            StsMode::Testing => "testing",
            StsMode::None => "none",
        }
    }

    /// Reads the word of the policy file.
    pub fn parse(word: &str) -> Option<StsMode> {
        [StsMode::Enforce, StsMode::Testing, StsMode::None].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// A policy file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// What it asks for.
    pub mode: StsMode,
    /// Names of hosts and `*.` patterns, in lower case; empty only with the mode `none`.
    pub mx: Vec<String>,
    /// How long it may be kept, in seconds.
    pub max_age: u64,
}

/// Why a text is no policy; reads after "could not use the policy".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// It does not say `version: STSv1`.
    #[error("it does not say `version: STSv1`")]
    Version,
    /// Its mode is missing or unknown.
    #[error("its mode is missing or unknown; it must be enforce, testing or none")]
    Mode,
    /// Its max_age is missing or no number.
    #[error("its max_age is missing or no number of seconds from 0 to 31557600")]
    MaxAge,
    /// A pattern is no host name, or there is none, or there are too many.
    #[error("its mx lines are missing or hold something that is no host name")]
    Mx,
}

impl StsPolicy {
    /// Reads a policy file (RFC 8461 3.2). Unknown keys are passed over; of a repeated key the first counts, but for
    /// `mx`.
    ///
    /// # Errors
    /// A needed line is missing or cannot be understood.
    pub fn parse(text: &str) -> Result<StsPolicy, StsError> {
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let (key, value) = (key.trim(), value.trim_matches([' ', '\t', '\r']));
            match key {
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" => mx.push(pattern(value).ok_or(StsError::Mx)?),
                _ => {} // RFC 8461 3.2: unknown fields are passed over
            }
            if mx.len() > MOST_PATTERNS {
                return Err(StsError::Mx);
            }
        }
        if version != Some("STSv1") {
            return Err(StsError::Version);
        }
        let mode = mode.and_then(StsMode::parse).ok_or(StsError::Mode)?;
        let digits = max_age.filter(|digits| digits.len() <= 10 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        let max_age = digits.and_then(|digits| digits.parse().ok()).ok_or(StsError::MaxAge)?;
        if max_age > LONGEST_AGE {
            return Err(StsError::MaxAge);
        }
        if mx.is_empty() && mode != StsMode::None {
            return Err(StsError::Mx);
        }
        Ok(StsPolicy { mode, mx, max_age })
    }

    /// Whether a host of the domain's MX records is listed (RFC 8461 4.1): the same name, or a `*.` pattern that
    /// stands for exactly one label.
    pub fn lists(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => *pattern == host,
        })
    }
}

fn pattern(value: &str) -> Option<String> {
    let pattern = value.trim_end_matches('.').to_ascii_lowercase();
    let name = pattern.strip_prefix("*.").unwrap_or(&pattern);
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (name.len() <= 253 && name.split('.').all(label_fits)).then_some(pattern)
}

/// The id of the domain's policy by the TXT records of `_mta-sts.DOMAIN` (RFC 8461 3.1): `None` when there is not
/// exactly one record that can be understood.
pub fn policy_id(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|record| {
        record.strip_prefix("v=STSv1").is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
    });
    let (record, None) = (ours.next()?, ours.next()) else { return None };
    let id = record.split(';').find_map(|field| field.trim().strip_prefix("id="))?.trim();
    let fits = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.Example.com\r\nmx: *.example.net\r\nmax_age: 86400\r\n";

    #[test]
    fn a_policy_is_read_line_by_line() {
        let policy = StsPolicy::parse(GOOD).expect("a policy");
        assert_eq!(policy.mode, StsMode::Enforce);
        assert_eq!(policy.mx, ["mail.example.com", "*.example.net"]);
        assert_eq!(policy.max_age, 86_400);
        let bare = StsPolicy::parse("version:STSv1\nmode:none\nmax_age:0").expect("LF, no blanks, no mx");
        assert_eq!((bare.mode, bare.mx.len()), (StsMode::None, 0));
        let extended = format!("{GOOD}future: yes\nmode: testing\nno colon here\n");
        assert_eq!(StsPolicy::parse(&extended).map(|p| p.mode), Ok(StsMode::Enforce), "the first of a key counts");
    }

    #[test]
    fn what_is_no_policy_is_told_apart() {
        for (text, error) in [
            ("", StsError::Version),
            ("version: STSv2\nmode: none\nmax_age: 1", StsError::Version),
            ("<html>version: STSv1</html>", StsError::Version),
            ("version: STSv1\nmax_age: 1\nmx: a.example", StsError::Mode),
            ("version: STSv1\nmode: Enforce\nmax_age: 1\nmx: a.example", StsError::Mode),
            ("version: STSv1\nmode: enforce\nmx: a.example", StsError::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1", StsError::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 31557601", StsError::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 99999999999999999999", StsError::MaxAge),
            ("version: STSv1\nmode: enforce\nmax_age: 1", StsError::Mx),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: *", StsError::Mx),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: a.*.example", StsError::Mx),
            ("version: STSv1\nmode: enforce\nmax_age: 1\nmx: a b", StsError::Mx),
        ] {
            assert_eq!(StsPolicy::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(StsPolicy::parse(&"mx: a.example\n".repeat(1_000)), Err(StsError::Mx));
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let policy = StsPolicy::parse(GOOD).expect("a policy");
        for (host, listed) in [
            ("mail.example.com", true),
            ("MAIL.example.com.", true),
            ("mx.example.net", true),
            ("example.net", false),
            (".example.net", false),
            ("a.b.example.net", false),
            ("mail.example.com.evil.example", false),
            ("evilmail.example.com", false),
            ("", false),
        ] {
            assert_eq!(policy.lists(host), listed, "{host:?}");
        }
    }

    #[test]
    fn one_record_with_an_id_and_no_other() {
        let id = |records: &[&str]| policy_id(&records.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>());
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=1"]).as_deref(), Some("1"), "others are passed over");
        assert_eq!(id(&["v=STSv1 ; x=y ; id=a"]).as_deref(), Some("a"));
        for none in [
            &[][..],
            &["v=STSv1"],
            &["v=STSv1; id="],
            &["v=STSv1; id=a-b"],
            &["v=STSv1; id=123456789012345678901234567890123"],
            &["v=STSv10; id=1"],
            &["id=1; v=STSv1"],
            &["v=STSv1; id=1", "v=STSv1; id=2"],
        ] {
            assert_eq!(id(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}", host in ".{0,80}") {
            if let Ok(policy) = StsPolicy::parse(&text) { let _ = policy.lists(&host); }
            let _ = policy_id(&[text]);
        }
    }
}
