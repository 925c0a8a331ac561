//! Records that sending domains publish in DNS, as text: SPF, DMARC, DKIM keys, CAA, BIMI, TLS-RPT, MTA-STS.
//!
//! Reads what a TXT or CAA answer holds and says what is wrong with it. Must not know who asks DNS, nor what follows.

pub mod dkim_key;
pub mod dmarc;
pub mod others;
pub mod spf;

/// Why a record cannot be read; reads after "could not read the record".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A term or tag that means nothing.
    #[error("`{0}` means nothing here")]
    Unknown(String),
    /// A term or tag whose value is not of its form.
    #[error("the value of `{0}` is not of its form")]
    Value(String),
    /// A tag that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A tag or modifier that may stand once stands twice.
    #[error("`{0}` stands there twice")]
    Twice(String),
}

/// A piece of a hostile record, short enough to be shown.
fn piece(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    if text.chars().count() > 60 {
        shown.push('…');
    }
    shown
}

/// The tags of a `name=value; name=value` record (RFC 6376 3.2); names in lower case.
fn tags(text: &str) -> Result<Vec<(String, &str)>, RecordError> {
    let mut found: Vec<(String, &str)> = Vec::new();
    for item in text.split(';') {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let (name, value) = item.split_once('=').ok_or_else(|| RecordError::Unknown(piece(item)))?;
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(RecordError::Unknown(piece(item)));
        }
        if found.iter().any(|(known, _)| *known == name) {
            return Err(RecordError::Twice(piece(&name)));
        }
        found.push((name, value.trim()));
    }
    Ok(found)
}

/// Whether a record begins with the tag `v` and this value.
fn begins_with_version(text: &str, version: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(name, value)| name.trim().eq_ignore_ascii_case("v") && value.trim() == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_in_order_and_twice_is_told() {
        assert_eq!(tags(" v=X ; Rua = a,b ;;").unwrap(), [("v".to_owned(), "X"), ("rua".to_owned(), "a,b")]);
        assert_eq!(tags("v=X; v=Y"), Err(RecordError::Twice("v".into())));
        assert_eq!(tags("v=X; nonsense"), Err(RecordError::Unknown("nonsense".into())));
        assert!(begins_with_version("v = STSv1; id=1", "STSv1"));
        assert!(!begins_with_version("id=1; v=STSv1", "STSv1"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,300}") {
            let _ = spf::SpfRecord::parse(&text);
            let _ = spf::SpfRecord::parse(&format!("v=spf1 {text}"));
            let _ = dmarc::DmarcRecord::parse(&format!("v=DMARC1; {text}"));
            let _ = dkim_key::DkimKeyRecord::parse(&text).map(|key| key.rsa_bits());
            let _ = others::CaaRecord::parse(&text);
            let _ = others::BimiRecord::parse(&text);
            let _ = others::TlsReportRecord::parse(&text);
            let _ = others::StsRecord::parse(&text);
        }
    }
}
