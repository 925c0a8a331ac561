//! A header block as ranges of the bytes: one field after the other, folded lines kept together, nothing copied.
//!
//! A line that is no field ends the block, as the empty line does: so there is exactly one reading of what is header and
//! what is body. Must not know what fields mean.

use std::borrow::Cow;
use std::ops::Range;

use crate::report::mime;

/// One field, with its folded lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Where the name begins.
    pub(super) start: usize,
    /// Where the name ends, without blanks before the colon.
    pub(super) name_end: usize,
    /// The first octet after the colon.
    pub(super) value: usize,
    /// After the CRLF of the last line, or the end of the bytes.
    pub(super) end: usize,
}

impl Field {
    pub(super) fn whole(&self) -> Range<usize> {
        self.start..self.end
    }

    pub(super) fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..self.name_end).unwrap_or_default()
    }

    pub(super) fn is(&self, bytes: &[u8], name: &str) -> bool {
        self.name(bytes).eq_ignore_ascii_case(name.as_bytes())
    }

    pub(super) fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.value..self.end).unwrap_or_default()
    }

    /// The value unfolded and trimmed, at most `max` octets of it; what is no UTF-8 is read as Windows-1252.
    pub(super) fn text(&self, bytes: &[u8], max: usize) -> String {
        let value = self.value(bytes).trim_ascii();
        unfold(&value[..value.len().min(max)])
    }

    /// The value unfolded and trimmed; `None` when it has more than `max` octets.
    pub(super) fn text_within(&self, bytes: &[u8], max: usize) -> Option<String> {
        let value = self.value(bytes).trim_ascii();
        (value.len() <= max).then(|| unfold(value))
    }
}

/// Line ends go, tabs become blanks.
fn unfold(value: &[u8]) -> String {
    let plain: Cow<'_, [u8]> = if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\t')) {
        let kept = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
        Cow::Owned(kept.map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect())
    } else {
        Cow::Borrowed(value)
    };
    match std::str::from_utf8(&plain) {
        Ok(text) => text.to_owned(),
        Err(_) => mime::decode(&plain, None),
    }
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its empty line.
    EmptyLine,
    /// With a line that is no field.
    NoField,
    /// With the last byte.
    Bytes,
}

/// The fields of a header and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) fields: Vec<Field>,
    /// Where it begins.
    pub(super) start: usize,
    /// After the last field.
    pub(super) end: usize,
    /// Where the body begins: after the empty line if there is one.
    pub(super) body: usize,
    pub(super) how: End,
}

impl Block {
    /// The first field of this name.
    pub(super) fn find(&self, bytes: &[u8], name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.is(bytes, name))
    }
}

/// Reads the block that begins at `range.start`, within `range`. Lines end in LF, with or without CR.
pub(super) fn scan(bytes: &[u8], range: Range<usize>) -> Block {
    let limit = range.end.min(bytes.len());
    let mut fields: Vec<Field> = Vec::with_capacity(16);
    let mut at = range.start.min(limit);
    let mut how = End::Bytes;
    let mut body = limit;
    while at < limit {
        let end = memchr::memchr(b'\n', &bytes[at..limit]).map_or(limit, |found| at + found + 1);
        let line = &bytes[at..end];
        if matches!(line, b"\r\n" | b"\n") {
            (how, body) = (End::EmptyLine, end);
            break;
        }
        if matches!(line[0], b' ' | b'\t') {
            let Some(last) = fields.last_mut() else {
                (how, body) = (End::NoField, at);
                break;
            };
            last.end = end;
        } else {
            let Some((name_end, value)) = name_of(line) else {
                (how, body) = (End::NoField, at);
                break;
            };
            fields.push(Field { start: at, name_end: at + name_end, value: at + value, end });
        }
        at = end;
    }
    Block { fields, start: range.start.min(limit), end: at, body, how }
}

/// Where the name ends and where the value begins (RFC 5322 3.6.8; blanks before the colon by its 4.5).
fn name_of(line: &[u8]) -> Option<(usize, usize)> {
    let name_end = line.iter().position(|byte| !matches!(byte, 0x21..=0x39 | 0x3b..=0x7e))?;
    let blanks = line[name_end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let colon = name_end + blanks;
    (name_end > 0 && line.get(colon) == Some(&b':')).then_some((name_end, colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> (Vec<String>, usize, usize, End) {
        let block = scan(bytes, 0..bytes.len());
        let names = block.fields.iter().map(|field| String::from_utf8_lossy(field.name(bytes)).into_owned()).collect();
        (names, block.end, block.body, block.how)
    }

    #[test]
    fn blocks_end_in_one_place() {
        let named = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(b"A: 1\r\nB : 2\r\n x\r\n\r\nbody"), (named("A B"), 17, 19, End::EmptyLine));
        assert_eq!(names(b"A: 1\r\nhello\r\nB: 2\r\n"), (named("A"), 6, 6, End::NoField));
        assert_eq!(names(b"A: 1"), (named("A"), 4, 4, End::Bytes));
        assert_eq!(names(b" A: 1\r\n"), (vec![], 0, 0, End::NoField));
        assert_eq!(names(b"A: 1\r\n\xc3\xa9: 2\r\n"), (named("A"), 6, 6, End::NoField));
        assert_eq!(names(b""), (vec![], 0, 0, End::Bytes));
        assert_eq!(names(b"\r\n"), (vec![], 0, 2, End::EmptyLine));
        assert_eq!(names(b": x\r\n"), (vec![], 0, 0, End::NoField));
    }

    #[test]
    fn values_are_unfolded() {
        let bytes = b"Subject: a\r\n\tb\r\n c \xe9\r\n\r\n";
        let block = scan(bytes, 0..bytes.len());
        assert_eq!(block.fields[0].text(bytes, 100), "a b c \u{e9}");
        assert_eq!(block.fields[0].text(bytes, 1), "a");
        assert_eq!(block.fields[0].text_within(bytes, 4), None);
        assert!(block.find(bytes, "SUBJECT").is_some());
    }
}
