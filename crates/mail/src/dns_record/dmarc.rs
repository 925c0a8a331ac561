//! DMARC policy records as text (RFC 9989 4.7). Must not walk the tree: that is the checker's.

use super::{RecordError, begins_with_version, piece, tags};

/// What the owner asks receivers to do with messages that fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing; reports only.
    None,
    /// Treat as suspicious.
    Quarantine,
    /// Refuse.
    Reject,
}

impl Policy {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }
}

/// How alike two domains have to be to be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// The same organisational domain.
    Relaxed,
    /// The same name.
    Strict,
}

/// Whether a name is one below which others register (RFC 9989 4.7, `psd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicSuffix {
    /// `y`: it is.
    Yes,
    /// `n`: it is not, and it is an organisational domain.
    No,
    /// `u` or nothing.
    Unknown,
}

/// A DMARC policy record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcRecord {
    /// `p`; a record without it counts as `none`.
    pub policy: Option<Policy>,
    /// `sp`: of names below.
    pub below: Option<Policy>,
    /// `np`: of names below that do not exist.
    pub missing_names: Option<Policy>,
    /// `rua`: where aggregate reports go.
    pub reports_to: Vec<String>,
    /// `adkim`.
    pub dkim: Alignment,
    /// `aspf`.
    pub spf: Alignment,
    /// `psd`.
    pub public_suffix: PublicSuffix,
    /// `t=y`: the policy is being tried out.
    pub testing: bool,
    /// Tags that RFC 9989 took away: they do nothing any more.
    pub removed: Vec<&'static str>,
}

impl DmarcRecord {
    /// Whether a TXT record is meant as a DMARC policy; others are left aside (RFC 9989 4.7).
    pub fn is_one(txt: &str) -> bool {
        begins_with_version(txt, "DMARC1")
    }

    /// Reads a record; unknown tags are ignored.
    ///
    /// ```
    /// use postrider_mail::dns_record::dmarc::{DmarcRecord, Policy};
    /// let record = DmarcRecord::parse("v=DMARC1; p=reject; rua=mailto:dmarc@example.org").unwrap();
    /// assert_eq!(record.policy, Some(Policy::Reject));
    /// ```
    ///
    /// # Errors
    /// It is not a tag list, or a known tag has a value that means nothing.
    pub fn parse(txt: &str) -> Result<DmarcRecord, RecordError> {
        if !DmarcRecord::is_one(txt) {
            return Err(RecordError::Missing("v=DMARC1"));
        }
        let mut record = DmarcRecord {
            policy: None,
            below: None,
            missing_names: None,
            reports_to: Vec::new(),
            dkim: Alignment::Relaxed,
            spf: Alignment::Relaxed,
            public_suffix: PublicSuffix::Unknown,
            testing: false,
            removed: Vec::new(),
        };
        for (name, value) in tags(txt)? {
            let word = value.to_ascii_lowercase();
            let wrong = || RecordError::Value(piece(&format!("{name}={value}")));
            match name.as_str() {
                "p" => record.policy = Some(policy(&word).ok_or_else(wrong)?),
                "sp" => record.below = Some(policy(&word).ok_or_else(wrong)?),
                "np" => record.missing_names = Some(policy(&word).ok_or_else(wrong)?),
                "rua" => record.reports_to = reports(value).ok_or_else(wrong)?,
                "adkim" => record.dkim = alignment(&word).ok_or_else(wrong)?,
                "aspf" => record.spf = alignment(&word).ok_or_else(wrong)?,
                "psd" => {
                    record.public_suffix = match word.as_str() {
                        "y" => PublicSuffix::Yes,
                        "n" => PublicSuffix::No,
                        "u" => PublicSuffix::Unknown,
                        _ => return Err(wrong()),
                    }
                }
                "t" => record.testing = word == "y",
                "pct" => record.removed.push("pct"),
                "rf" => record.removed.push("rf"),
                "ri" => record.removed.push("ri"),
                _ => {}
            }
        }
        Ok(record)
    }
}

fn policy(word: &str) -> Option<Policy> {
    [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|policy| policy.as_str() == word)
}

fn alignment(word: &str) -> Option<Alignment> {
    match word {
        "r" => Some(Alignment::Relaxed),
        "s" => Some(Alignment::Strict),
        _ => None,
    }
}

/// URIs; only `mailto:` is of use, others are allowed.
fn reports(value: &str) -> Option<Vec<String>> {
    let list: Vec<String> = value.split(',').map(|uri| uri.trim().to_owned()).collect();
    list.iter().all(|uri| uri.split_once(':').is_some_and(|(_, rest)| !rest.is_empty())).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_their_meaning() {
        let text = "v=DMARC1; p=Quarantine; sp=none; np=reject; rua=mailto:a@example.org, mailto:b@example.org!10m; \
                    adkim=s; aspf=r; psd=n; t=y; pct=50; ri=3600; fo=1; x_own=1";
        let record = DmarcRecord::parse(text).unwrap();
        assert_eq!((record.policy, record.below), (Some(Policy::Quarantine), Some(Policy::None)));
        assert_eq!(record.missing_names, Some(Policy::Reject));
        assert_eq!(record.reports_to.len(), 2);
        assert_eq!((record.dkim, record.spf), (Alignment::Strict, Alignment::Relaxed));
        assert_eq!((record.public_suffix, record.testing), (PublicSuffix::No, true));
        assert_eq!(record.removed, ["pct", "ri"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bad, word) in [
            ("v=DMARC1; p=rejct", "p=rejct"),
            ("v=DMARC1; p", "`p`"),
            ("v=DMARC1; p=none; p=reject", "twice"),
            ("v=DMARC1; p=none; rua=dmarc@example.org", "rua="),
            ("v=DMARC1; p=none; aspf=x", "aspf=x"),
        ] {
            let error = DmarcRecord::parse(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
        assert_eq!(DmarcRecord::parse("v=DMARC1").unwrap().policy, None);
        assert!(!DmarcRecord::is_one("p=none; v=DMARC1"));
        assert!(!DmarcRecord::is_one("v=DMARC12; p=none"));
    }
}
