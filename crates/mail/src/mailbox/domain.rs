//! Domain names as mail uses them: fully checked, A-labels inside, U-labels only for people (RFC 5321 2.3.5, UTS 46).
//!
//! Must not know DNS answers: a name that parses need not exist.

use std::fmt;
use std::str::FromStr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::{DOMAIN_MAX, MailboxError};
use crate::header::has_control;

/// A domain name in A-label form: lowercase, validated, without trailing dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

impl DomainName {
    /// Reads a domain name; U-labels become A-labels (IDNA, UTS 46), one trailing dot is dropped.
    ///
    /// # Errors
    /// [`MailboxError`] for address literals, bad characters and over-long names.
    pub fn parse(text: &str) -> Result<DomainName, MailboxError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(MailboxError::NoDomain);
        }
        if text.len() > DOMAIN_MAX * 4 {
            // An A-label is never shorter than a quarter of its U-label; do not feed more to IDNA.
            return Err(MailboxError::DomainTooLong);
        }
        if has_control(text) {
            return Err(MailboxError::Control);
        }
        if text.starts_with('[') || text.contains(':') {
            return Err(MailboxError::AddressLiteral);
        }
        if text.chars().any(char::is_whitespace) {
            return Err(MailboxError::Blank);
        }
        if text.starts_with('.') || text.contains("..") || text.ends_with('.') {
            return Err(MailboxError::EmptyLabel);
        }
        let name: Box<str> = match plain_ascii(text) {
            Some(lowered) => lowered.into(),
            None => Uts46::new()
                .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore)
                .map_err(|_| MailboxError::DomainCharacter)?
                .into_owned()
                .into(),
        };
        // UTS 46 maps other full stops to dots, so look once more at what came out.
        let mut labels = name.split('.');
        if labels.clone().any(str::is_empty) {
            return Err(MailboxError::EmptyLabel);
        }
        if name.len() > 253 || labels.clone().any(|label| label.len() > 63) {
            return Err(MailboxError::DomainTooLong);
        }
        let last = labels.next_back().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MailboxError::AddressLiteral);
        }
        Ok(DomainName(name))
    }

    /// The A-label form, as DNS and the wire carry it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form for people, with U-labels.
    pub fn unicode(&self) -> String {
        if !self.0.contains("xn--") {
            return self.0.to_string();
        }
        let (text, result) = Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
        match result {
            Ok(()) => text.into_owned(),
            Err(_) => self.0.to_string(),
        }
    }

    /// Whether this is `parent` or a name below it.
    pub fn is_within(&self, parent: &DomainName) -> bool {
        match self.0.strip_suffix(parent.as_str()) {
            Some(rest) => rest.is_empty() || rest.ends_with('.'),
            None => false,
        }
    }
}

/// The lowercase form of a name that is letters, digits, hyphens and dots only and needs no IDNA.
fn plain_ascii(text: &str) -> Option<String> {
    let plain = text.split('.').all(|label| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.get(2..4).is_none_or(|third| third != "--")
    });
    plain.then(|| text.to_ascii_lowercase())
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DomainName {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DomainName::parse(text)
    }
}
