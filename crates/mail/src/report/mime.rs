//! The parts of a message, in one flat list: fields unfolded, bodies decoded to text.
//!
//! Own reader instead of the MIME parser that the rest uses: reports come from broken programs and from attackers, a
//! message of 1 MiB can nest 35,000 others, and a tree of them overflows the stack when it is dropped. Nothing here
//! nests: multiparts are flattened by a work list, returned messages are not entered. Must not know what a report is.

use std::borrow::Cow;

use super::text::one_line;

/// Most parts that are looked at.
pub const PARTS_MAX: usize = 100;
/// Most octets of one decoded body.
pub const BODY_MAX: usize = 256 * 1_024;
/// Multiparts within multiparts that are opened.
const DEPTH_MAX: usize = 8;
/// Most fields of one header.
const FIELDS_MAX: usize = 500;
/// Longest field that is kept, in octets.
const FIELD_MAX: usize = 8 * 1_024;

/// The fields of a header or of a group of a report, unfolded, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of the field `name` (lowercase).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Every value of the field `name` (lowercase).
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Several groups where one of `names` comes again: a report without its empty lines.
    pub(super) fn split_at_repeats(self, names: &[&str]) -> Vec<Fields> {
        let mut groups: Vec<Fields> = vec![Fields::default()];
        for (name, value) in self.0 {
            let current = groups.last_mut().expect("there is always one");
            if names.contains(&name.as_str()) && current.has(&name) {
                groups.push(Fields(vec![(name, value)]));
            } else {
                current.0.push((name, value));
            }
        }
        groups
    }

    /// Reads lines `Name: value` with their continuations until an empty line; gives back what follows it.
    pub(super) fn read(mut rest: &str) -> (Fields, &str) {
        let mut fields: Vec<(String, String)> = Vec::new();
        loop {
            let (line, after) = split_line(rest);
            if line.is_empty() {
                return (Fields(fields), after);
            }
            // Some programs break a field without the blank that continues it.
            let torn = fields.last().is_some_and(|(_, value)| value.ends_with(';')) && !line.contains(": ");
            let folded = torn || line.starts_with([' ', '\t']);
            match line.split_once(':') {
                _ if folded => {
                    if let Some((_, value)) = fields.last_mut()
                        && value.len() + line.len() < FIELD_MAX
                    {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
                Some((name, value)) if is_field_name(name.trim_end()) && fields.len() < FIELDS_MAX => {
                    let value = &value[..value.floor_char_boundary(FIELD_MAX)];
                    fields.push((name.trim_end().to_ascii_lowercase(), value.trim().to_owned()));
                }
                // The line of an mbox file, or a body without its empty line.
                _ if fields.is_empty() && line.starts_with("From ") => {}
                _ if fields.is_empty() => return (Fields(fields), rest),
                _ => {}
            }
            if after.is_empty() {
                return (Fields(fields), after);
            }
            rest = after;
        }
    }
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 70 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// The first line without its end, and what follows.
pub(super) fn split_line(text: &str) -> (&str, &str) {
    match text.find('\n') {
        Some(at) => (text[..at].strip_suffix('\r').unwrap_or(&text[..at]), &text[at + 1..]),
        None => (text.strip_suffix('\r').unwrap_or(text), ""),
    }
}

/// One part that is no multipart.
#[derive(Debug)]
pub(super) struct Part {
    /// `type/subtype` in lowercase; `text/plain` when nothing is said.
    pub(super) kind: String,
    /// The decoded body; empty for kinds that hold no text.
    pub(super) text: String,
}

impl Part {
    pub(super) fn is(&self, kinds: &[&str]) -> bool {
        kinds.contains(&self.kind.as_str())
    }
}

/// A message, flattened.
#[derive(Debug)]
pub(super) struct Entity<'a> {
    pub(super) fields: Fields,
    pub(super) parts: Vec<Part>,
    /// The first embedded message, as bytes.
    pub(super) embedded: Option<&'a [u8]>,
}

impl Entity<'_> {
    /// The text of the first part of one of these kinds.
    pub(super) fn part(&self, kinds: &[&str]) -> Option<&str> {
        self.parts.iter().find(|part| part.is(kinds)).map(|part| part.text.as_str())
    }

    pub(super) fn subject(&self) -> String {
        self.fields.get("subject").map(super::text::decode_words).unwrap_or_default()
    }
}

pub(super) fn read(message: &[u8]) -> Entity<'_> {
    let (fields, body) = split(message);
    let mut entity = Entity { fields, parts: Vec::new(), embedded: None };
    // Bodies that wait, the next one last, with their depth.
    let mut waiting: Vec<(usize, &[u8], Option<Fields>)> = vec![(0, body, None)];
    while let Some((depth, body, fields)) = waiting.pop() {
        if entity.parts.len() >= PARTS_MAX {
            break;
        }
        let own = fields.as_ref().unwrap_or(&entity.fields);
        let content = ContentType::read(own.get("content-type").unwrap_or_default());
        if content.kind.starts_with("multipart/") && depth < DEPTH_MAX {
            let pieces = content.parameter("boundary").map(|boundary| pieces(body, &boundary)).unwrap_or_default();
            if !pieces.is_empty() {
                for piece in pieces.into_iter().rev() {
                    let (fields, body) = split(piece);
                    waiting.push((depth + 1, body, Some(fields)));
                }
                continue;
            }
        }
        let part = part(own, &content, body);
        if part.is(&["message/rfc822", "message/global"]) && entity.embedded.is_none() {
            entity.embedded = Some(body);
        }
        entity.parts.push(part);
    }
    entity
}

/// The header and the body.
fn split(bytes: &[u8]) -> (Fields, &[u8]) {
    // A part may begin with its empty line: no fields then.
    let mut at = 0;
    let mut end = bytes.len();
    while at < bytes.len() {
        let line_end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found + 1);
        let line = bytes[at..line_end].trim_ascii_end();
        if line.is_empty() {
            end = line_end;
            break;
        }
        at = line_end;
    }
    let header = String::from_utf8_lossy(&bytes[..end]);
    let (fields, rest) = Fields::read(&header);
    if fields.is_empty() && !rest.trim().is_empty() {
        return (fields, bytes);
    }
    (fields, &bytes[end..])
}

/// What stands between the lines of a boundary; a last piece without its end counts, too.
fn pieces<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let (mut start, mut at): (Option<usize>, usize) = (None, 0);
    while at < body.len() && found.len() < PARTS_MAX {
        let line_end = memchr::memchr(b'\n', &body[at..]).map_or(body.len(), |found| at + found + 1);
        if let Some(rest) = body[at..line_end].strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary.as_bytes())) {
            let rest = rest.trim_ascii();
            if rest.is_empty() || rest.starts_with(b"--") {
                if let Some(from) = start {
                    found.push(&body[from..at]);
                }
                start = rest.is_empty().then_some(line_end);
                if !rest.is_empty() {
                    break;
                }
            }
        }
        at = line_end;
    }
    if let Some(from) = start
        && from < body.len()
        && found.len() < PARTS_MAX
    {
        found.push(&body[from..]);
    }
    found
}

fn part(fields: &Fields, content: &ContentType<'_>, body: &[u8]) -> Part {
    let readable = content.kind.starts_with("text/")
        || content.kind.starts_with("message/")
        || content.kind.starts_with("multipart/");
    if !readable {
        return Part { kind: content.kind.clone(), text: String::new() };
    }
    let body = &body[..body.len().min(BODY_MAX)];
    let encoding = fields.get("content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    let bytes: Cow<'_, [u8]> = match encoding.as_str() {
        "quoted-printable" => Cow::Owned(unquote(body)),
        "base64" => Cow::Owned(unbase64(body)),
        _ => Cow::Borrowed(body),
    };
    let text = decode(&bytes, content.parameter("charset").as_deref());
    let text = if content.kind == "text/html" { super::text::of_html(&text) } else { text };
    Part { kind: content.kind.clone(), text }
}

/// Text in a charset; what is UTF-8 is taken as such whatever is said.
pub(crate) fn decode(bytes: &[u8], charset: Option<&str>) -> String {
    let named = charset.and_then(|name| encoding_rs::Encoding::for_label(name.trim().as_bytes()));
    match named {
        Some(encoding) if encoding != encoding_rs::UTF_8 => encoding.decode_without_bom_handling(bytes).0.into_owned(),
        // Bytes of ISO-2022-JP are ASCII; without the charset only its escape sequences tell it.
        _ if memchr::memmem::find(bytes, b"\x1b$B").is_some() => {
            encoding_rs::ISO_2022_JP.decode_without_bom_handling(bytes).0.into_owned()
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
        },
    }
}

/// Quoted-printable, forgiving: what is no escape stays as it is (RFC 2045 6.7, note on robustness).
pub(crate) fn unquote(body: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        match after {
            [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..] => rest = tail,
            [high, low, tail @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = tail;
            }
            _ => out.push(byte),
        }
    }
    out
}

/// Base64, forgiving: other characters are skipped, a torn end is dropped.
pub(crate) fn unbase64(body: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut packed: Vec<u8> =
        body.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).collect();
    if packed.len() % 4 == 1 {
        packed.pop();
    }
    LENIENT.decode(packed).unwrap_or_default()
}

/// A Content-Type.
#[derive(Debug)]
pub(crate) struct ContentType<'a> {
    pub(crate) kind: String,
    parameters: &'a str,
}

impl<'a> ContentType<'a> {
    pub(crate) fn read(value: &'a str) -> ContentType<'a> {
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        let kind = one_line(kind).to_ascii_lowercase();
        let kind = if kind.contains('/') { kind } else { "text/plain".to_owned() };
        ContentType { kind, parameters }
    }

    /// A parameter, unquoted. Looks for the name, so that a stray semicolon does no harm.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let lower = self.parameters.to_ascii_lowercase();
        let mut from = 0;
        while let Some(found) = lower[from..].find(name) {
            let at = from + found;
            from = at + name.len();
            let before = lower[..at].trim_end().chars().next_back();
            let Some(value) = self.parameters[from..].trim_start().strip_prefix('=') else { continue };
            if before.is_some_and(|c| c != ';') {
                continue;
            }
            let value = value.trim_start();
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or_default(),
                None => value.split([';', ' ', '\t']).next().unwrap_or_default(),
            };
            return (!value.is_empty()).then(|| value.to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_flattened_and_decoded() {
        let message = b"From MAILER Mon\r\nSubject: a\r\n b\r\nContent-Type: multipart/mixed;\r\n boundary=\"x y\"\r\n\r\n\
            preamble\r\n--x y\r\nContent-Type: multipart/alternative; boundary=z\r\n\r\n--z\r\n\r\nplain\r\n--z\r\n\
            Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>h=C3=A9</p>=\r\n\r\n--z--\r\n\
            --x y\r\nContent-Type: message/rfc822\r\n\r\nSubject: old\r\n\r\nbody\r\n--x y--\r\n";
        let entity = read(message);
        assert_eq!(entity.fields.get("subject"), Some("a b"));
        let kinds: Vec<_> = entity.parts.iter().map(|part| (part.kind.as_str(), part.text.trim())).collect();
        assert_eq!(
            kinds,
            [("text/plain", "plain"), ("text/html", "h\u{e9}"), ("message/rfc822", "Subject: old\r\n\r\nbody")]
        );
        assert_eq!(entity.embedded.map(|bytes| bytes.starts_with(b"Subject: old")), Some(true));
    }

    #[test]
    fn a_boundary_that_never_comes_leaves_one_part() {
        let entity = read(b"Content-Type: multipart/report; boundary=none\n\nhello");
        assert_eq!(entity.parts.len(), 1);
        assert_eq!(entity.parts[0].text, "hello");
    }

    #[test]
    fn nests_and_floods_are_bounded() {
        let nest = "Content-Type: message/rfc822\n\n".repeat(35_000);
        assert_eq!(read(nest.as_bytes()).parts.len(), 1);
        let flood = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(10_000));
        assert!(read(flood.as_bytes()).parts.len() <= PARTS_MAX);
        let deep: String =
            (0..1_000).map(|at| format!("Content-Type: multipart/mixed; boundary=b{at}\n\n--b{at}\n")).collect();
        assert!(read(deep.as_bytes()).parts.len() <= PARTS_MAX);
    }

    #[test]
    fn broken_encodings_lose_nothing_that_can_be_read() {
        assert_eq!(unquote(b"a=3Db=ZZ=\r\nc="), b"a=b=ZZc=");
        assert_eq!(unbase64(b"aGVs bG8\r\n=!"), b"hello");
        assert_eq!(decode(b"\xe9", None), "\u{e9}");
        assert_eq!(ContentType::read("Text/Plain; x; charset = \"utf-8\"; y").parameter("charset").unwrap(), "utf-8");
        assert_eq!(ContentType::read("text").kind, "text/plain");
    }
}
