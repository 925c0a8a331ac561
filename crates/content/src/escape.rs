//! Escaping of one value for one place. A value can never leave its place, whatever it holds (SEC-20, SEC-21).
//!
//! Must not know templates. Control characters (C0, DEL, C1, U+2028, U+2029) become blanks everywhere: they are
//! refused where contacts enter, so here they can only be an accident or an attack.

use crate::place::Place;

/// The value begins with no scheme that we let into an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsafeUrl;

/// Schemes that a whole address from a variable may have.
const SCHEMES: [&str; 4] = ["https://", "http://", "mailto:", "tel:"];

/// Appends `value`, escaped for `place`, to `out`.
///
/// # Errors
/// [`UnsafeUrl`] when an address would begin with anything but http, https, mailto or tel; `out` is then as it was.
pub fn push(value: &str, place: Place, out: &mut String) -> Result<(), UnsafeUrl> {
    match place {
        Place::Html | Place::Attribute => push_html(value, out),
        Place::Plain | Place::Header => push_plain(value, out),
        Place::UrlStart | Place::PlainUrlStart => push_url(value, place, out)?,
        Place::UrlPart | Place::PlainUrlPart => push_url_part(value, out),
    }
    Ok(())
}

const fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

/// Text and quoted attributes: with these five neither a tag, nor an entity, nor the end of the value can be written.
pub fn push_html(value: &str, out: &mut String) {
    if is_clean(value.as_bytes()) {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_control(c) => out.push(' '),
            c => out.push(c),
        }
    }
}

/// Whether HTML needs no look at single characters: names, numbers and the like.
fn is_clean(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' ' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b',' | b'-' | b'_' | b'@' | b':' | b'/'))
}

/// Plain text and headers.
pub fn push_plain(value: &str, out: &mut String) {
    if is_clean(value.as_bytes()) {
        out.push_str(value);
        return;
    }
    out.extend(value.chars().map(|c| if is_control(c) { ' ' } else { c }));
}

/// A whole address: the scheme is looked at, everything that may not stand in an address is percent-encoded.
fn push_url(value: &str, place: Place, out: &mut String) -> Result<(), UnsafeUrl> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(());
    }
    let known =
        SCHEMES.iter().any(|scheme| value.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
    if !known {
        return Err(UnsafeUrl);
    }
    for byte in value.bytes() {
        match byte {
            b'&' if place == Place::UrlStart => out.push_str("&amp;"),
            // RFC 3986 reserved, unreserved and `%`; the apostrophe and brackets that end a quote are encoded.
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'%'
            | b':'
            | b'/'
            | b'?'
            | b'#'
            | b'['
            | b']'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'=' => out.push(char::from(byte)),
            byte => push_percent(byte, out),
        }
    }
    Ok(())
}

/// A component: everything but unreserved characters is percent-encoded (RFC 3986 2.3).
fn push_url_part(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => push_percent(byte, out),
        }
    }
}

fn push_percent(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Source text that is kept, without the control characters that our own marks are made of.
pub fn scrub(text: &str) -> String {
    text.chars().map(|c| if is_control(c) && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}
