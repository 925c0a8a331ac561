//! Domain names and mailboxes: parsed once, re-serialised everywhere (RFC 5321 4.1.2, RFC 6531 3.3).
//!
//! Must not know DNS or any list of contacts. What was parsed here can hold no control character,
//! so that a command line or header built from it cannot be broken.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;

use crate::header::has_control;

mod domain;
mod hints;
#[cfg(test)]
mod tests;

pub use domain::DomainName;
pub use hints::{is_disposable, is_role_account, typo_hint};

/// Longest local part in octets (RFC 5321 4.5.3.1.1).
pub const LOCAL_MAX: usize = 64;
/// Longest domain in octets (RFC 5321 4.5.3.1.2; DNS itself stops at 253).
pub const DOMAIN_MAX: usize = 255;
/// Longest mailbox in octets: a path of 256 (RFC 5321 4.5.3.1.3) less its angle brackets.
pub const MAILBOX_MAX: usize = 254;

/// Why text is no mailbox or domain name; each message says what to fix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MailboxError {
    /// Nothing was given.
    #[error("read the address: it is empty; write it as name@example.org")]
    Empty,
    /// There is no `@`.
    #[error("read the address: it has no @; write it as name@example.org")]
    NoAt,
    /// Nothing stands before the `@`.
    #[error("read the address: nothing stands before the @; add the name")]
    NoLocal,
    /// The local part is over 64 octets.
    #[error("read the address: the part before the @ has {0} octets; at most 64 are allowed")]
    LocalTooLong(usize),
    /// The whole address is over 254 octets.
    #[error("read the address: it has {0} octets; at most 254 are allowed")]
    TooLong(usize),
    /// A control character, line break or invisible formatting character.
    #[error("read the address: it holds an invisible or control character; remove it")]
    Control,
    /// A blank outside a quoted local part.
    #[error("read the address: it holds a blank; remove it")]
    Blank,
    /// A dot at the start, at the end or twice in a row.
    #[error(
        "read the address: the part before the @ starts or ends with a dot or has two in a row; remove the extra dot"
    )]
    Dots,
    /// A character that needs quoting.
    #[error("read the address: the character {0:?} is not allowed before the @; remove it")]
    LocalCharacter(char),
    /// A quoted local part without its end.
    #[error("read the address: the quoted part before the @ has no closing quote; add it")]
    Quote,
    /// No domain.
    #[error("read the domain: it is empty; write it as example.org")]
    NoDomain,
    /// `[192.0.2.1]` and the like.
    #[error("read the domain: IP addresses are not accepted; use a domain name such as example.org")]
    AddressLiteral,
    /// A mailbox needs a fully qualified domain (RFC 5321 2.3.5).
    #[error("read the domain: it has no dot; write it in full, such as example.org")]
    NotQualified,
    /// Over 253 octets or a label over 63.
    #[error("read the domain: it or one of its labels is too long; at most 253 and 63 octets are allowed")]
    DomainTooLong,
    /// An empty label.
    #[error("read the domain: it starts with a dot or has two in a row; remove the extra dot")]
    EmptyLabel,
    /// Letters, digits and inner hyphens only; IDNA says no.
    #[error("read the domain: it holds a character or label that domain names do not allow; check its spelling")]
    DomainCharacter,
}

/// local-part@domain (RFC 5321 2.3.11), with the spelling of the local part kept for delivery.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local: Box<str>,
    domain: DomainName,
}

impl Mailbox {
    /// Reads `local@domain`, with quoted (RFC 5321) and UTF-8 (RFC 6531) local parts.
    ///
    /// A quoted local part that needs no quotes loses them: both spellings are one mailbox
    /// (RFC 5321 4.1.2).
    ///
    /// # Errors
    /// [`MailboxError`], which says what to fix.
    pub fn parse(text: &str) -> Result<Mailbox, MailboxError> {
        if text.is_empty() {
            return Err(MailboxError::Empty);
        }
        if text.len() > MAILBOX_MAX * 4 {
            return Err(MailboxError::TooLong(text.len()));
        }
        if has_control(text) || text.contains(is_invisible) {
            return Err(MailboxError::Control);
        }
        if text.starts_with('"') {
            let (content, rest) = read_quoted(text)?;
            let domain = rest.strip_prefix('@').ok_or(MailboxError::NoAt)?;
            return Mailbox::build(serialise_local(&content)?, DomainName::parse(domain)?);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(MailboxError::NoAt)?;
        Mailbox::from_parts(local, DomainName::parse(domain)?)
    }

    /// A mailbox from a local part in wire spelling (quotes only where needed) and a domain.
    ///
    /// # Errors
    /// [`MailboxError`], as for [`Mailbox::parse`].
    pub fn from_parts(local: &str, domain: DomainName) -> Result<Mailbox, MailboxError> {
        if has_control(local) || local.contains(is_invisible) {
            return Err(MailboxError::Control);
        }
        if local.starts_with('"') {
            let (content, rest) = read_quoted(local)?;
            if !rest.is_empty() {
                return Err(MailboxError::LocalCharacter('"'));
            }
            return Mailbox::build(serialise_local(&content)?, domain);
        }
        check_dot_string(local)?;
        Mailbox::build(local.into(), domain)
    }

    fn build(local: Box<str>, domain: DomainName) -> Result<Mailbox, MailboxError> {
        if local.len() > LOCAL_MAX {
            return Err(MailboxError::LocalTooLong(local.len()));
        }
        if !domain.as_str().contains('.') {
            return Err(MailboxError::NotQualified);
        }
        let length = local.len() + 1 + domain.as_str().len();
        if length > MAILBOX_MAX {
            return Err(MailboxError::TooLong(length));
        }
        Ok(Mailbox { local, domain })
    }

    /// The local part as it goes on the wire, with its quotes if it needs them.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// `local@a-label`, as an envelope or header carries it.
    pub fn wire(&self) -> String {
        let mut out = String::with_capacity(self.wire_len());
        out.push_str(&self.local);
        out.push('@');
        out.push_str(self.domain.as_str());
        out
    }

    /// Appends `local@a-label` to `out`.
    pub fn write_wire(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.local.as_bytes());
        out.push(b'@');
        out.extend_from_slice(self.domain.as_str().as_bytes());
    }

    /// Octets of [`Mailbox::wire`].
    pub fn wire_len(&self) -> usize {
        self.local.len() + 1 + self.domain.as_str().len()
    }

    /// The form for matching only: local part lowercased and in NFC, domain as A-label; dots and
    /// plus parts stay (LAW-33).
    pub fn normalised(&self) -> String {
        let mut out = String::with_capacity(self.wire_len());
        if self.local.is_ascii() {
            out.push_str(&self.local);
            out.make_ascii_lowercase();
        } else {
            // Lowercasing can decompose (U+0130), so compose once more at the end.
            let composed: String = self.local.nfc().collect();
            out.extend(composed.to_lowercase().nfc());
        }
        out.push('@');
        out.push_str(self.domain.as_str());
        out
    }

    /// Whether only a host with SMTPUTF8 can take it (RFC 6531); an IDN domain alone does not need that.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Mailbox {
    /// Redacted: whole mailboxes must not reach a log by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox(***@{})", self.domain)
    }
}

impl FromStr for Mailbox {
    type Err = MailboxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Mailbox::parse(text)
    }
}

/// Characters that nobody sees: with them two mailboxes look alike and a suppression can be dodged.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}'
            | '\u{034F}'
            | '\u{061C}'
            | '\u{115F}'
            | '\u{1160}'
            | '\u{17B4}'
            | '\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// atext of RFC 5322 3.2.3 and, by RFC 6531 3.3, every character beyond ASCII.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_whitespace())
}

/// Dot-string = Atom *("." Atom).
fn check_dot_string(local: &str) -> Result<(), MailboxError> {
    if local.is_empty() {
        return Err(MailboxError::NoLocal);
    }
    for c in local.chars() {
        if c.is_whitespace() {
            return Err(MailboxError::Blank);
        }
        if c != '.' && !is_atext(c) {
            return Err(MailboxError::LocalCharacter(c));
        }
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err(MailboxError::Dots);
    }
    Ok(())
}

/// The content of the quoted string that `text` starts with, and what follows it.
fn read_quoted(text: &str) -> Result<(String, &str), MailboxError> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    chars.next();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((content, &text[at + 1..])),
            '\\' => match chars.next() {
                // quoted-pairSMTP = %d92 %d32-126
                Some((_, c)) if c.is_ascii() => content.push(c),
                Some((_, c)) => return Err(MailboxError::LocalCharacter(c)),
                None => return Err(MailboxError::Quote),
            },
            c => content.push(c),
        }
    }
    Err(MailboxError::Quote)
}

/// The shortest wire spelling of a local part.
fn serialise_local(content: &str) -> Result<Box<str>, MailboxError> {
    match check_dot_string(content) {
        Ok(()) => return Ok(content.into()),
        Err(MailboxError::NoLocal) => return Err(MailboxError::NoLocal),
        Err(_) => {}
    }
    let mut out = String::with_capacity(content.len() + 2);
    out.push('"');
    for c in content.chars() {
        if !c.is_ascii() && c.is_whitespace() {
            return Err(MailboxError::Blank);
        }
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Ok(out.into())
}
