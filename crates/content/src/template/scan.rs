//! Cuts a source into raw text and tags. Must not know what stands inside a tag.

use super::Fault;
use crate::limits;

/// A stretch of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text outside of tags.
    Raw {
        /// The text.
        text: &'a str,
        /// Byte offset in the source.
        offset: usize,
    },
    /// `{{ … }}`.
    Emit {
        /// What stands inside.
        inner: &'a str,
        /// Byte offset of `inner`.
        inner_offset: usize,
        /// Byte offset of the tag.
        offset: usize,
    },
    /// `{% … %}`.
    Statement {
        /// What stands inside.
        inner: &'a str,
        /// Byte offset of `inner`.
        inner_offset: usize,
        /// Byte offset of the tag.
        offset: usize,
    },
}

/// Cuts `source`; comments vanish, `raw` blocks become text, `-` inside a tag's ends eats the blanks around it.
///
/// # Errors
/// A tag or block without its end, or too many tags.
pub fn scan(source: &str) -> Result<Vec<Piece<'_>>, Fault> {
    let mut pieces = Vec::new();
    let mut tags = 0_usize;
    let mut at = 0_usize;
    let mut trim_start = false;
    loop {
        let found = find_tag(source, at);
        let end = found.unwrap_or(source.len());
        let trims_end = found.is_some() && source.as_bytes().get(end + 2) == Some(&b'-');
        push_raw(&mut pieces, source, at, end, trim_start, trims_end);
        let Some(start) = found else { return Ok(pieces) };
        tags += 1;
        if tags > limits::TAGS {
            return Err(Fault::new(
                "too_many_tags",
                start,
                format!("the template has more than {} tags: make it shorter", limits::TAGS),
            ));
        }
        let kind = source.as_bytes()[start + 1];
        let close = match kind {
            b'{' => find_close(source, start + 2, "}}"),
            b'%' => find_close(source, start + 2, "%}"),
            _ => source[start + 2..].find("#}").map(|at| start + 2 + at),
        };
        let Some(close) = close else {
            let (open, end) = match kind {
                b'{' => ("{{", "}}"),
                b'%' => ("{%", "%}"),
                _ => ("{#", "#}"),
            };
            let hint = if kind == b'#' { " (or, in a style sheet, put a blank between `{` and `#`)" } else { "" };
            return Err(Fault::new("template_syntax", start, format!("this `{open}` has no end: add `{end}`{hint}")));
        };
        at = close + 2;
        let mut inner_offset = start + 2;
        let mut inner = &source[inner_offset..close];
        if let Some(rest) = inner.strip_prefix(['-', '+']) {
            inner_offset += 1;
            inner = rest;
        }
        trim_start = inner.ends_with('-');
        // `+` only says "keep the blanks", which is what we do anyway.
        if trim_start || (kind != b'#' && inner.ends_with('+')) {
            inner = &inner[..inner.len() - 1];
        }
        match kind {
            b'{' => pieces.push(Piece::Emit { inner, inner_offset, offset: start }),
            b'%' if inner.trim() == "raw" => {
                let (text_end, after, trims) = find_endraw(source, at).ok_or_else(|| {
                    Fault::new("template_syntax", start, "this `raw` block has no end: add {% endraw %}")
                })?;
                push_raw(&mut pieces, source, at, text_end, trim_start, false);
                at = after;
                trim_start = trims;
            }
            b'%' => pieces.push(Piece::Statement { inner, inner_offset, offset: start }),
            _ => {}
        }
    }
}

/// Offset of the next `{{`, `{%` or `{#`.
fn find_tag(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    memchr::memchr_iter(b'{', &bytes[from..])
        .map(|at| from + at)
        .find(|at| matches!(bytes.get(at + 1), Some(b'{' | b'%' | b'#')))
}

/// Offset of `end` outside of quoted strings.
fn find_close(source: &str, from: usize, end: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut quote = None;
    let mut at = from;
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(_) if byte == b'\\' => at += 1,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None if source.as_bytes()[at..].starts_with(end.as_bytes()) => return Some(at),
            None => {}
        }
        at += 1;
    }
    None
}

/// End of the raw text, offset after the `endraw` tag, and whether that tag eats the blanks after it.
fn find_endraw(source: &str, from: usize) -> Option<(usize, usize, bool)> {
    let mut at = from;
    loop {
        // Each step goes past one `%}`, so that hostile input costs one pass.
        let close = at + source[at..].find("%}")?;
        if let Some(start) = source[at..close].rfind("{%").map(|found| at + found) {
            let inner = &source[start + 2..close];
            if inner.trim_matches(['-', '+']).trim() == "endraw" {
                return Some((start, close + 2, inner.ends_with('-')));
            }
        }
        at = close + 2;
    }
}

fn push_raw<'a>(
    pieces: &mut Vec<Piece<'a>>,
    source: &'a str,
    from: usize,
    to: usize,
    trim_start: bool,
    trim_end: bool,
) {
    let mut text = &source[from..to];
    let mut offset = from;
    if trim_start {
        let trimmed = text.trim_start();
        offset += text.len() - trimmed.len();
        text = trimmed;
    }
    if trim_end {
        text = text.trim_end();
    }
    if !text.is_empty() {
        pieces.push(Piece::Raw { text, offset });
    }
}
