//! Header fields from values: RFC 2047 encoded words, RFC 5322 folding, and no way to break out (SEC-20).
//!
//! Must not know which fields a message needs. Each function appends one whole field with its CRLF,
//! or nothing: a value with a control character is refused, never cleaned in silence.

use thiserror::Error;

use crate::mailbox::Mailbox;

mod encoded_word;
#[cfg(test)]
mod tests;

/// Columns that a line should keep to (RFC 5322 2.1.1).
const COLUMNS: usize = 78;
/// The same where a line may hold encoded words (RFC 2047 section 2).
const ENCODED_COLUMNS: usize = 76;
/// Octets of a line that must never be passed (RFC 5322 2.1.1).
const LINE_MAX: usize = 998;

/// Why a field was not written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The name is empty, over 76 octets or holds something else than visible ASCII without colon.
    #[error("write the header field: {0:?} is no field name; use letters, digits and hyphens")]
    Name(String),
    /// A line break or another control character.
    #[error("write the header field {0}: its value holds a line break or control character; remove it")]
    Control(String),
    /// Bytes beyond ASCII in a structured value.
    #[error("write the header field {0}: its value is not ASCII; encode it first")]
    NotAscii(String),
    /// A piece over 998 octets that has no place to fold.
    #[error("write the header field {0}: a part of its value is too long to fold; shorten it")]
    TooLong(String),
    /// An address field without an address.
    #[error("write the header field {0}: it has no mailbox; give one")]
    NoMailbox(String),
}

/// Whether `text` holds a control character: C0, DEL, C1, U+2028 or U+2029.
pub fn has_control(text: &str) -> bool {
    // Two steps, since nearly all input is ASCII or free of the few lead bytes that matter.
    if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return true;
    }
    !text.is_ascii() && text.chars().any(|c| matches!(c, '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}'))
}

/// Writes an unstructured field such as Subject: folded when plain, else as encoded words.
///
/// # Errors
/// [`HeaderError`]; `out` is then as it was.
pub fn text(name: &str, value: &str, out: &mut Vec<u8>) -> Result<(), HeaderError> {
    check(name, value)?;
    let mut column = start(name, out);
    if is_plain(value) {
        for chunk in Chunks::at_blanks(value) {
            column = push_chunk(chunk, column, out);
        }
    } else {
        encoded_word::encode(value, column, out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes an address field: `Name <local@domain>, ...`, names quoted or encoded where needed.
///
/// A UTF-8 local part is written as it is (RFC 6532): the caller then needs SMTPUTF8, see
/// [`Mailbox::needs_smtputf8`].
///
/// # Errors
/// [`HeaderError`]; `out` is then as it was.
pub fn mailbox_list(name: &str, mailboxes: &[(Option<&str>, &Mailbox)], out: &mut Vec<u8>) -> Result<(), HeaderError> {
    check(name, "")?;
    if mailboxes.is_empty() {
        return Err(HeaderError::NoMailbox(name.to_owned()));
    }
    if mailboxes.iter().any(|(display, _)| display.is_some_and(has_control)) {
        return Err(HeaderError::Control(name.to_owned()));
    }
    let mut column = start(name, out);
    let mut token = Vec::with_capacity(80);
    for (index, (display, mailbox)) in mailboxes.iter().enumerate() {
        let display = display.map(|text| text.trim_matches(' ')).filter(|text| !text.is_empty());
        if let Some(display) = display {
            column = phrase(display, column, out);
        }
        token.clear();
        if display.is_some() {
            token.push(b'<');
        }
        mailbox.write_wire(&mut token);
        if display.is_some() {
            token.push(b'>');
        }
        if index + 1 < mailboxes.len() {
            token.push(b',');
        }
        column = push_token(&token, column, out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a structured ASCII value that is already correct, folding it at blanks, and at commas
/// outside of angle brackets and quotes where there is no blank.
///
/// # Errors
/// [`HeaderError`]; `out` is then as it was.
pub fn raw(name: &str, value: &str, out: &mut Vec<u8>) -> Result<(), HeaderError> {
    check(name, value)?;
    if !value.is_ascii() {
        return Err(HeaderError::NotAscii(name.to_owned()));
    }
    let value = value.trim_matches(' ');
    if Chunks::at_blanks_and_commas(value).any(|chunk| chunk.len() > LINE_MAX) {
        return Err(HeaderError::TooLong(name.to_owned()));
    }
    let mut column = start(name, out);
    for chunk in Chunks::at_blanks_and_commas(value) {
        column = push_chunk(chunk, column, out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The RFC 5322 3.3 form of a time in milliseconds since 1970 UTC, always in +0000.
///
/// Times outside of the years 1970 to 9999 are moved to the nearest end.
pub fn date(ms_utc: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms_utc.clamp(0, 253_402_300_799_999) / 1_000;
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01 in eras of 400 years: leap days then stand at the end of a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} +0000",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        time / 3_600,
        time / 60 % 60,
        time % 60,
    )
}

fn check(name: &str, value: &str) -> Result<(), HeaderError> {
    // RFC 5322 3.6.8: ftext. 76 leaves room for the colon and one character.
    let fits = (1..=76).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b':');
    if !fits {
        return Err(HeaderError::Name(name.chars().take(80).collect()));
    }
    if has_control(value) {
        return Err(HeaderError::Control(name.to_owned()));
    }
    Ok(())
}

/// Writes `Name:` and returns the column after it.
fn start(name: &str, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    name.len() + 1
}

/// Whether a value can stand as it is: ASCII, nothing that reads as an encoded word, no blank at
/// either end (readers trim those) and no piece too long for a line.
fn is_plain(value: &str) -> bool {
    value.is_ascii()
        && !value.starts_with(' ')
        && !value.ends_with(' ')
        && !value.contains("=?")
        && Chunks::at_blanks(value).all(|chunk| chunk.len() < COLUMNS)
}

/// Writes a display name as atoms, as a quoted string or as encoded words.
pub(crate) fn phrase(display: &str, column: usize, out: &mut Vec<u8>) -> usize {
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    if is_plain(display) && display.bytes().all(|byte| is_atom(byte) || byte == b' ') && !display.contains("  ") {
        return display.split(' ').fold(column, |column, word| push_token(word.as_bytes(), column, out));
    }
    if is_plain(display) && display.len() <= 60 {
        let mut quoted = Vec::with_capacity(display.len() + 4);
        quoted.push(b'"');
        for byte in display.bytes() {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        return push_token(&quoted, column, out);
    }
    encoded_word::encode(display, column, out)
}

/// Writes a blank, or a fold, and the token.
pub(crate) fn push_token(token: &[u8], column: usize, out: &mut Vec<u8>) -> usize {
    let column = if column + 1 + token.len() > ENCODED_COLUMNS {
        out.extend_from_slice(b"\r\n ");
        1
    } else {
        out.push(b' ');
        column + 1
    };
    out.extend_from_slice(token);
    column + token.len()
}

/// Writes a piece that brings its own leading blanks, if it has any.
fn push_chunk(chunk: Chunk<'_>, column: usize, out: &mut Vec<u8>) -> usize {
    // The first piece of a field and pieces after a comma may lack the blank that a fold needs.
    let blank = if chunk.is_first && !chunk.text.starts_with(' ') { 1 } else { 0 };
    if column + blank + chunk.text.len() > COLUMNS {
        out.extend_from_slice(b"\r\n");
        let lead = usize::from(!chunk.text.starts_with(' '));
        out.extend_from_slice(&b" "[..lead]);
        out.extend_from_slice(chunk.text.as_bytes());
        return lead + chunk.text.len();
    }
    out.extend_from_slice(&b" "[..blank]);
    out.extend_from_slice(chunk.text.as_bytes());
    column + blank + chunk.text.len()
}

/// A piece of a value that must not be divided.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    text: &'a str,
    is_first: bool,
}

impl Chunk<'_> {
    /// Octets on a line of its own.
    fn len(self) -> usize {
        self.text.len() + 1
    }
}

/// Divides a value at the places where it may be folded.
struct Chunks<'a> {
    rest: &'a str,
    is_first: bool,
    commas: bool,
    in_brackets: bool,
    in_quotes: bool,
}

impl<'a> Chunks<'a> {
    fn at_blanks(value: &'a str) -> Chunks<'a> {
        Chunks { rest: value, is_first: true, commas: false, in_brackets: false, in_quotes: false }
    }

    fn at_blanks_and_commas(value: &'a str) -> Chunks<'a> {
        Chunks { commas: true, ..Chunks::at_blanks(value) }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.rest.as_bytes();
        let mut at = bytes.iter().take_while(|byte| **byte == b' ').count();
        while at < bytes.len() && bytes[at] != b' ' {
            match bytes[at] {
                b'"' if !self.in_brackets => self.in_quotes = !self.in_quotes,
                b'\\' if self.in_quotes && bytes.get(at + 1).is_some_and(|next| *next != b' ') => at += 1,
                b'<' if !self.in_quotes => self.in_brackets = true,
                b'>' if !self.in_quotes => self.in_brackets = false,
                b',' if self.commas && !self.in_brackets && !self.in_quotes => {
                    at += 1;
                    break;
                }
                _ => {}
            }
            at += 1;
        }
        let (text, rest) = self.rest.split_at(at.min(bytes.len()));
        self.rest = rest;
        Some(Chunk { text, is_first: std::mem::take(&mut self.is_first) })
    }
}
