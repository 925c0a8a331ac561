//! Changes of a message as ranges with what takes their place, and the changes inside of text parts.
//!
//! Must not decide what is changed.

use std::borrow::Cow;
use std::ops::Range;

use super::html_inputs::{self, HTML_MAX, Input};
use super::macro_link::{self, MacroLink};
use super::parts::{Encoding, Part, Role};
use super::read::LINE_MAX;
use super::rules::HtmlInputs;
use crate::report::mime;

/// Ranges with what takes their place, in any order; where two overlap the first counts.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, Vec<u8>)>);

impl Edits {
    pub(super) fn replace(&mut self, range: Range<usize>, with: Vec<u8>) {
        self.0.push((range, with));
    }

    pub(super) fn cut(&mut self, range: Range<usize>) {
        self.0.push((range, Vec::new()));
    }

    pub(super) fn insert(&mut self, at: usize, what: Vec<u8>) {
        self.0.push((at..at, what));
    }

    /// The bytes from `start` with the changes, after `prefix`; allocated once.
    pub(super) fn apply(mut self, bytes: &[u8], start: usize, prefix: &[u8]) -> Vec<u8> {
        // Stable: what is inserted at one place stays in order, and before what replaces the bytes there.
        self.0.sort_by_key(|(range, _)| (range.start, !range.is_empty()));
        let added: usize = self.0.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(prefix.len() + bytes.len().saturating_sub(start) + added);
        out.extend_from_slice(prefix);
        let mut at = start;
        for (range, with) in &self.0 {
            // Of two changes of one place the first that was asked for counts.
            if range.start < at {
                continue;
            }
            out.extend_from_slice(bytes.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
        out
    }
}

/// What is changed in the decoded bytes of a text part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut {
    /// A hidden input goes.
    Input(Range<usize>),
    /// A macro link becomes a URL.
    Link(Range<usize>, MacroLink),
}

impl Cut {
    pub(super) fn range(&self) -> &Range<usize> {
        match self {
            Cut::Input(range) | Cut::Link(range, _) => range,
        }
    }
}

/// The changes of one part, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartCuts {
    /// Its place in the list of parts.
    pub(super) part: usize,
    pub(super) cuts: Vec<Cut>,
}

impl PartCuts {
    pub(super) fn links(&self) -> usize {
        self.cuts.iter().filter(|cut| matches!(cut, Cut::Link(..))).count()
    }
}

/// What stands in one text part.
pub(super) struct Looked {
    pub(super) inputs: Vec<Input>,
    pub(super) cuts: Vec<Cut>,
}

/// Looks for inputs and links; `None` when there is nothing to look at, or nothing was found.
pub(super) fn look(bytes: &[u8], part: &Part, ids: Option<&HtmlInputs>, links: bool) -> Option<Looked> {
    let is_text = part.role == Role::Leaf && matches!(part.kind.as_str(), "text/plain" | "text/html");
    let raw = bytes.get(part.body.clone()).unwrap_or_default();
    if !is_text || raw.len() > HTML_MAX || (ids.is_none() && !links) {
        return None;
    }
    let may_link = match part.encoding {
        Encoding::Plain => macro_link::may_hold(raw),
        // The macro may be escaped or broken anywhere.
        Encoding::QuotedPrintable => memchr::memchr(b'$', raw).is_some() || memchr::memmem::find(raw, b"=24").is_some(),
        Encoding::Base64 => true,
        Encoding::Unknown => return None,
    };
    if ids.is_none() && !may_link {
        return None;
    }
    let text = decoded(raw, part.encoding);
    let inputs = ids.map(|ids| html_inputs::find(&text, part.charset.as_deref(), ids)).unwrap_or_default();
    let found = if links && may_link { macro_link::find(&text) } else { Vec::new() };
    if inputs.is_empty() && found.is_empty() {
        return None;
    }
    // Text that is signed within itself (RFC 4880 7) must keep its words.
    let inline = memchr::memmem::find(&text, b"-----BEGIN PGP").is_some();
    let mut cuts: Vec<Cut> = Vec::new();
    if !inline {
        cuts.extend(inputs.iter().map(|input| Cut::Input(input.range.clone())));
        let outside = |range: &Range<usize>| !inputs.iter().any(|input| input.range.contains(&range.start));
        cuts.extend(found.into_iter().filter(|(range, _)| outside(range)).map(|(range, link)| Cut::Link(range, link)));
        cuts.sort_by_key(|cut| cut.range().start);
    }
    Some(Looked { inputs, cuts })
}

/// The content of a part, forgiving towards what is broken.
pub(super) fn decoded(raw: &[u8], encoding: Encoding) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Plain | Encoding::Unknown => Cow::Borrowed(raw),
        Encoding::QuotedPrintable => Cow::Owned(mime::unquote(raw)),
        Encoding::Base64 => Cow::Owned(mime::unbase64(raw)),
    }
}

/// Whether a line is over 998 octets without its end.
pub(super) fn has_long_line(bytes: &[u8]) -> bool {
    let mut start = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[start..at];
        if line.strip_suffix(b"\r").unwrap_or(line).len() > LINE_MAX {
            return true;
        }
        start = at + 1;
    }
    bytes.len() - start > LINE_MAX
}
