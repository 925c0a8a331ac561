//! Smaller records: CAA (RFC 8659), BIMI, TLS-RPT (RFC 8460 3), MTA-STS (RFC 8461 3.1). Must not fetch what they name.

use super::{RecordError, begins_with_version, piece, tags};

/// One CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// Whether an authority that does not know the property must refuse.
    pub critical: bool,
    /// `issue`, `issuewild`, `iodef` and others, in lower case.
    pub property: String,
    /// The value without quotation marks; of `issue` the authority's domain, empty for nobody.
    pub value: String,
}

impl CaaRecord {
    /// Reads the presentation form: `0 issue "ca.example.net"`.
    ///
    /// # Errors
    /// It has not three parts.
    pub fn parse(text: &str) -> Result<CaaRecord, RecordError> {
        let wrong = || RecordError::Unknown(piece(text));
        let (flags, rest) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let (property, value) = rest.trim_start().split_once(' ').ok_or_else(wrong)?;
        let flags: u8 = flags.parse().map_err(|_| wrong())?;
        Ok(CaaRecord {
            critical: flags & 128 != 0,
            property: property.to_ascii_lowercase(),
            value: value.trim().trim_matches('"').to_owned(),
        })
    }

    /// The authority that may issue; `None` for other properties, empty for nobody.
    pub fn issuer(&self) -> Option<&str> {
        (self.property == "issue").then(|| self.value.split(';').next().unwrap_or_default().trim())
    }
}

/// A BIMI record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BimiRecord {
    /// `l`: where the picture is; empty when the domain declines.
    pub picture: String,
    /// `a`: where its certificate is.
    pub certificate: String,
}

impl BimiRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// It has another version, no `l`, or a location that is not `https`.
    pub fn parse(txt: &str) -> Result<BimiRecord, RecordError> {
        let tags = versioned(txt, "BIMI1", "v=BIMI1")?;
        let tag = |name: &str| tags.iter().find(|(known, _)| known == name).map(|(_, value)| (*value).to_owned());
        let picture = tag("l").ok_or(RecordError::Missing("l"))?;
        let certificate = tag("a").unwrap_or_default();
        for (name, url) in [("l", &picture), ("a", &certificate)] {
            if !url.is_empty() && !url.starts_with("https://") {
                return Err(RecordError::Value(piece(&format!("{name}={url}"))));
            }
        }
        Ok(BimiRecord { picture, certificate })
    }
}

/// A TLS-RPT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsReportRecord {
    /// `rua`: where reports go.
    pub reports_to: Vec<String>,
}

impl TlsReportRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// It has another version, or no `rua` of `mailto:` and `https:` addresses.
    pub fn parse(txt: &str) -> Result<TlsReportRecord, RecordError> {
        let tags = versioned(txt, "TLSRPTv1", "v=TLSRPTv1")?;
        let rua = tags.iter().find(|(name, _)| name == "rua").ok_or(RecordError::Missing("rua"))?.1;
        let reports_to: Vec<String> = rua.split(',').map(|uri| uri.trim().to_owned()).collect();
        if reports_to.iter().all(|uri| uri.starts_with("mailto:") || uri.starts_with("https://")) {
            Ok(TlsReportRecord { reports_to })
        } else {
            Err(RecordError::Value(piece(&format!("rua={rua}"))))
        }
    }
}

/// The TXT record that says that there is an MTA-STS policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRecord {
    /// `id`: changes with the policy.
    pub id: String,
}

impl StsRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// It has another version, or no `id` of 1 to 32 letters and digits.
    pub fn parse(txt: &str) -> Result<StsRecord, RecordError> {
        let tags = versioned(txt, "STSv1", "v=STSv1")?;
        let id = tags.iter().find(|(name, _)| name == "id").ok_or(RecordError::Missing("id"))?.1;
        if (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(StsRecord { id: id.to_owned() })
        } else {
            Err(RecordError::Value(piece(&format!("id={id}"))))
        }
    }
}

fn versioned<'a>(txt: &'a str, version: &str, missing: &'static str) -> Result<Vec<(String, &'a str)>, RecordError> {
    if begins_with_version(txt, version) { tags(txt) } else { Err(RecordError::Missing(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caa_names_who_may_issue() {
        let record = CaaRecord::parse("128 Issue \"ca.example.net; account=1\"").unwrap();
        assert!(record.critical);
        assert_eq!(record.issuer(), Some("ca.example.net"));
        assert_eq!(CaaRecord::parse("0 issue \";\"").unwrap().issuer(), Some(""));
        assert_eq!(CaaRecord::parse("0 iodef \"mailto:a@example.org\"").unwrap().issuer(), None);
        assert!(CaaRecord::parse("issue ca.example.net").is_err());
        assert!(CaaRecord::parse("300 issue x").is_err());
    }

    #[test]
    fn the_txt_records_are_read() {
        let bimi = BimiRecord::parse("v=BIMI1; l=https://example.org/l.svg; a=").unwrap();
        assert_eq!(bimi.picture, "https://example.org/l.svg");
        assert!(BimiRecord::parse("v=BIMI1; l=http://example.org/l.svg").is_err());
        assert!(BimiRecord::parse("v=BIMI1; a=").is_err());
        let reports = TlsReportRecord::parse("v=TLSRPTv1; rua=mailto:a@example.org,https://example.org/t").unwrap();
        assert_eq!(reports.reports_to.len(), 2);
        assert!(TlsReportRecord::parse("v=TLSRPTv1;").is_err());
        assert!(TlsReportRecord::parse("v=TLSRPTv1; rua=a@example.org").is_err());
        assert_eq!(StsRecord::parse("v=STSv1; id=20261122T1;").unwrap().id, "20261122T1");
        assert!(StsRecord::parse("v=STSv1; id=2026-11-22").is_err());
        assert!(StsRecord::parse("v=STSv2; id=1").is_err());
    }
}
