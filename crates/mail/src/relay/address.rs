//! The mailboxes of an address field (RFC 5322 3.4), with comments, groups, quoted names and old routes.
//!
//! Strict about what it gives, patient about how it is written: the display name is not judged. Must not know which field
//! it reads.

use thiserror::Error;

use crate::mailbox::{Mailbox, MailboxError};

/// Most mailboxes of one field.
const MAILBOXES_MAX: usize = 100;

/// Why an address field cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing in it.
    #[error("it names no mailbox")]
    Empty,
    /// Quotes, brackets or comments that do not close, or text after an address.
    #[error("it is malformed")]
    Malformed,
    /// Over 100.
    #[error("it names too many mailboxes")]
    TooMany,
    /// One of its addresses is none.
    #[error("could not {0}")]
    Mailbox(#[from] MailboxError),
}

/// One entry of the list while it is read: the text outside of comments, and the address in angle brackets.
#[derive(Default)]
struct Entry {
    bare: String,
    angle: Option<String>,
    /// Text after the brackets.
    trailing: bool,
}

/// Every mailbox, in order; at least one.
///
/// # Errors
/// [`AddressError`].
pub(super) fn mailboxes(value: &str) -> Result<Vec<Mailbox>, AddressError> {
    let mut found = Vec::new();
    let mut entry = Entry::default();
    let mut chars = value.chars().peekable();
    let mut in_angle = false;
    let mut in_group = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let mut quoted = String::from('"');
                loop {
                    match chars.next().ok_or(AddressError::Malformed)? {
                        '\\' => {
                            quoted.push('\\');
                            quoted.push(chars.next().ok_or(AddressError::Malformed)?);
                        }
                        '"' => break,
                        c => quoted.push(c),
                    }
                }
                quoted.push('"');
                entry.push(&quoted, in_angle)?;
            }
            '(' => skip_comment(&mut chars)?,
            '<' if !in_angle && entry.angle.is_none() => {
                in_angle = true;
                entry.angle = Some(String::new());
            }
            '<' => return Err(AddressError::Malformed),
            '>' if in_angle => in_angle = false,
            '>' => return Err(AddressError::Malformed),
            // An old route `<@a,@b:ann@example.org>` (RFC 5322 4.4): only its end counts.
            ':' if in_angle => entry.angle = Some(String::new()),
            ',' if in_angle => {}
            ':' if !in_group && entry.angle.is_none() => {
                in_group = true;
                entry = Entry::default();
            }
            ';' if in_group => {
                std::mem::take(&mut entry).finish(&mut found)?;
                in_group = false;
            }
            ',' => std::mem::take(&mut entry).finish(&mut found)?,
            c if c.is_whitespace() => {}
            c => entry.push(c.encode_utf8(&mut [0; 4]), in_angle)?,
        }
    }
    if in_angle || in_group {
        return Err(AddressError::Malformed);
    }
    entry.finish(&mut found)?;
    if found.is_empty() { Err(AddressError::Empty) } else { Ok(found) }
}

impl Entry {
    fn push(&mut self, text: &str, in_angle: bool) -> Result<(), AddressError> {
        match &mut self.angle {
            Some(angle) if in_angle => angle.push_str(text),
            Some(_) => self.trailing = true,
            None => self.bare.push_str(text),
        }
        if self.trailing { Err(AddressError::Malformed) } else { Ok(()) }
    }

    fn finish(self, found: &mut Vec<Mailbox>) -> Result<(), AddressError> {
        let text = match &self.angle {
            Some(angle) => angle,
            // Commas in a row are allowed by RFC 5322 4.4.
            None if self.bare.is_empty() => return Ok(()),
            None => &self.bare,
        };
        if found.len() >= MAILBOXES_MAX {
            return Err(AddressError::TooMany);
        }
        found.push(Mailbox::parse(text)?);
        Ok(())
    }
}

/// Everything up to the bracket that closes; comments may nest.
fn skip_comment(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), AddressError> {
    let mut depth = 1;
    while depth > 0 {
        match chars.next().ok_or(AddressError::Malformed)? {
            '\\' => drop(chars.next()),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wires(value: &str) -> Result<Vec<String>, AddressError> {
        mailboxes(value).map(|found| found.iter().map(Mailbox::wire).collect())
    }

    #[test]
    fn lists_are_read() {
        for (value, wanted) in [
            ("ann@example.org", "ann@example.org"),
            ("Ann <ann@example.org>", "ann@example.org"),
            ("\"Doe, <x@y.example>\" <ann@example.org>, b@example.org", "ann@example.org b@example.org"),
            ("ann @ example . org (a (nested) comment, with comma)", "ann@example.org"),
            ("Team: a@example.org, B <b@example.org>;", "a@example.org b@example.org"),
            ("<@relay.example,@b.example:ann@example.org>", "ann@example.org"),
            ("bob@evil.example <ann@example.org>", "ann@example.org"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
            (",, ann@example.org,", "ann@example.org"),
            ("jos\u{e9}@b\u{fc}cher.example", "jos\u{e9}@xn--bcher-kva.example"),
            ("=?utf-8?Q?J=C3=B6rg?= <j@example.org>", "j@example.org"),
        ] {
            assert_eq!(wires(value).map(|found| found.join(" ")).as_deref(), Ok(wanted), "{value}");
        }
        for (value, wanted) in [
            ("", AddressError::Empty),
            ("undisclosed-recipients:;", AddressError::Empty),
            ("(nobody)", AddressError::Empty),
            ("Ann", AddressError::Mailbox(MailboxError::NoAt)),
            ("Ann <ann@example.org", AddressError::Malformed),
            ("\"Ann <ann@example.org>", AddressError::Malformed),
            ("(Ann <ann@example.org>", AddressError::Malformed),
            ("<a@example.org> <b@example.org>", AddressError::Malformed),
            ("<a@example.org> b@example.org", AddressError::Malformed),
            ("root@localhost", AddressError::Mailbox(MailboxError::NotQualified)),
            ("ann@[192.0.2.1]", AddressError::Mailbox(MailboxError::AddressLiteral)),
            ("<>", AddressError::Mailbox(MailboxError::Empty)),
        ] {
            assert_eq!(wires(value), Err(wanted), "{value}");
        }
        let many = vec!["a@example.org"; 101].join(",");
        assert_eq!(wires(&many), Err(AddressError::TooMany));
    }
}
