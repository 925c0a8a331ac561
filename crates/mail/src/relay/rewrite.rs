//! The message that leaves: ours is cut out, our fields stand in front, what is neither stays byte for byte.
//!
//! Must not decide anything that [`super::read`] did not find: the same bytes and the same [`Incoming`] give the same
//! message.

use super::block::End;
use super::changes::{self, Cut, Edits, PartCuts};
use super::eight_bit_header;
use super::macro_link::MacroLink;
use super::parts::{Encoding, Part};
use super::read::{Incoming, Strip};
use super::seven_bit::{self, NeedsEightBit};
use crate::{header, qp};

/// What becomes of bytes beyond ASCII, and of long lines, in bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyForm {
    /// Encoded as quoted-printable or base64, unless something signed stands against it.
    #[default]
    SevenBit,
    /// Left: the way out has 8BITMIME.
    AsItCame,
}

/// What becomes of bytes beyond ASCII in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderForm {
    /// Encoded as RFC 2047 and 2231 say: right for what came without SMTPUTF8.
    #[default]
    Encoded,
    /// Left: the message needs SMTPUTF8 then.
    AsItCame,
}

/// What becomes of List-Unsubscribe, List-Unsubscribe-Post, List-Id and Feedback-ID that the message brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnListFields {
    /// They stay.
    #[default]
    Kept,
    /// They go, because [`super::per_recipient`] puts in ours.
    Replaced,
}

/// What is put in.
#[derive(Clone, Copy)]
pub struct Additions<'a> {
    /// The Received field with its CRLF, made by [`super::received`].
    pub received: &'a str,
    /// The Message-ID with its angle brackets, for a message that has none.
    pub message_id: &'a str,
    /// The Date, in milliseconds since 1970 UTC, for a message that has none.
    pub date_ms: i64,
    /// List fields that the message brought.
    pub own_list_fields: OwnListFields,
    /// The form of bodies.
    pub body: BodyForm,
    /// The form of the header.
    pub header: HeaderForm,
    /// What takes the place of an unsubscribe macro link; `None` leaves the links. Up to 72 characters of visible ASCII
    /// without `=` stand in one piece whatever the encoding, so that [`super::fill_placeholder`] finds them.
    pub unsubscribe_url: Option<&'a dyn Fn(&MacroLink) -> String>,
}

/// The message that leaves, before the fields of one recipient and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Header, empty line, body; CRLF line ends.
    pub bytes: Vec<u8>,
    /// Why it could not be made seven-bit, where that was asked for: it then needs 8BITMIME, or SMTPUTF8 for a header.
    pub needs: Option<NeedsEightBit>,
    /// Macro links that were replaced.
    pub macro_links: usize,
    /// Hidden inputs that were removed.
    pub inputs: usize,
}

/// Makes the message that leaves of `bytes`, which `incoming` was read from.
pub fn rewrite(bytes: &[u8], incoming: &Incoming, additions: &Additions<'_>) -> Rewritten {
    let layout = &incoming.layout;
    if layout.length != bytes.len() {
        // Ranges of another message mean nothing here: leave it whole rather than tear it.
        return Rewritten { bytes: bytes.to_vec(), needs: None, macro_links: 0, inputs: 0 };
    }
    let mut edits = Edits::default();
    let mut needs = None;
    // Parts first: what they say of the encoding in the header counts.
    let (macro_links, inputs) = body_edits(bytes, incoming, additions, &mut needs, &mut edits);
    let header_needs = header_edits(bytes, incoming, additions, &mut edits);
    let needs = header_needs.or(needs);
    match layout.header.how {
        End::EmptyLine => {}
        End::NoField => edits.insert(layout.header.end, b"\r\n".to_vec()),
        End::Bytes if bytes.ends_with(b"\r\n") => edits.insert(layout.header.end, b"\r\n".to_vec()),
        End::Bytes => edits.insert(layout.header.end, b"\r\n\r\n".to_vec()),
    }
    let bytes = edits.apply(bytes, layout.header.start, &prefix(incoming, additions));
    Rewritten { bytes, needs, macro_links, inputs }
}

/// Our own fields, before all others.
fn prefix(incoming: &Incoming, additions: &Additions<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(additions.received.len() + 160);
    out.extend_from_slice(additions.received.as_bytes());
    if incoming.message_id.is_none() {
        out.extend_from_slice(b"Message-ID: ");
        out.extend(additions.message_id.bytes().filter(u8::is_ascii_graphic));
        out.extend_from_slice(b"\r\n");
    }
    if !incoming.has_date {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(header::date(additions.date_ms).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Cuts fields, and encodes those that need it.
fn header_edits(
    bytes: &[u8],
    incoming: &Incoming,
    additions: &Additions<'_>,
    edits: &mut Edits,
) -> Option<NeedsEightBit> {
    let layout = &incoming.layout;
    let mut gone = Vec::with_capacity(layout.strip.len());
    for (range, why) in &layout.strip {
        let goes = match (why, additions.own_list_fields) {
            (Strip::Always, _) | (Strip::List, OwnListFields::Replaced) => true,
            (Strip::List, OwnListFields::Kept) => false,
        };
        if goes {
            edits.cut(range.clone());
            gone.push(range.start);
        }
    }
    if !incoming.is_header_8bit {
        return None;
    }
    let left = layout.header.fields.iter().filter(|field| gone.binary_search(&field.start).is_err());
    let mut encoded = Vec::new();
    for field in left.filter(|field| !bytes[field.whole()].is_ascii()) {
        match (additions.header, eight_bit_header::encode(bytes, field)) {
            (HeaderForm::AsItCame, _) | (HeaderForm::Encoded, None) => return Some(NeedsEightBit::Utf8Header),
            (HeaderForm::Encoded, Some(field_bytes)) => encoded.push((field.whole(), field_bytes)),
        }
    }
    // One field that cannot be encoded asks for SMTPUTF8, and then the others may stay, too.
    encoded.into_iter().for_each(|(range, field)| edits.replace(range, field));
    None
}

/// Changes the parts; counts replaced links and removed inputs.
fn body_edits(
    bytes: &[u8],
    incoming: &Incoming,
    additions: &Additions<'_>,
    needs: &mut Option<NeedsEightBit>,
    edits: &mut Edits,
) -> (usize, usize) {
    let layout = &incoming.layout;
    let is_body_8bit = incoming.is_8bit && !bytes[layout.header.body..].is_ascii();
    let mut encodes = additions.body == BodyForm::SevenBit && (is_body_8bit || layout.has_nul || layout.has_long_lines);
    if encodes && let Some(why) = seven_bit::obstacle(bytes, &layout.parts) {
        *needs = Some(why);
        encodes = false;
    }
    let (mut links, mut inputs) = (0, 0);
    let mut cut_parts = Vec::with_capacity(layout.cuts.len());
    let mut is_root_encoded = false;
    for part_cuts in &layout.cuts {
        let Some(part) = layout.parts.list.get(part_cuts.part) else { continue };
        let keeps_links = additions.unsubscribe_url.is_none();
        let part_links = if keeps_links { 0 } else { part_cuts.links() };
        let part_inputs = part_cuts.cuts.len() - part_cuts.links();
        if part_links + part_inputs > 0 {
            let changes_encoding = cut_part(bytes, part, part_cuts, additions, edits);
            is_root_encoded |= part.is_root && changes_encoding;
            cut_parts.push(part_cuts.part);
        }
        links += part_links;
        inputs += part_inputs;
    }
    if encodes {
        for (at, part) in layout.parts.list.iter().enumerate() {
            if !cut_parts.contains(&at) {
                seven_bit::encode_part(bytes, part, edits);
                is_root_encoded |= at == 0 && seven_bit::is_encoded_anew(bytes, part);
            }
            seven_bit::encode_header(bytes, part, edits);
        }
        seven_bit::clean_gaps(bytes, &layout.parts, edits);
    }
    if is_root_encoded && !layout.has_mime_version {
        edits.insert(layout.header.end, seven_bit::MIME_VERSION.to_vec());
    }
    (links, inputs)
}

/// Longest line that a part may have to stay as it is when links of another length come in.
const LINE_ROOM: usize = 600;

/// One part without its inputs and with URLs for its macro links; says whether its encoding is another now.
fn cut_part(bytes: &[u8], part: &Part, part_cuts: &PartCuts, additions: &Additions<'_>, edits: &mut Edits) -> bool {
    let raw = &bytes[part.body.clone()];
    let text = changes::decoded(raw, part.encoding);
    let mut pieces = Vec::with_capacity(part_cuts.cuts.len() * 2 + 1);
    let (mut at, mut has_links) = (0, false);
    for cut in &part_cuts.cuts {
        let range = cut.range();
        match (cut, additions.unsubscribe_url) {
            (Cut::Input(_), _) => pieces.push(Piece::Text(&text[at..range.start])),
            (Cut::Link(_, link), Some(url)) => {
                pieces.push(Piece::Text(&text[at..range.start]));
                pieces.push(Piece::Url(url(link)));
                has_links = true;
            }
            (Cut::Link(..), None) => continue,
        }
        at = range.end;
    }
    pieces.push(Piece::Text(&text[at..]));
    let longest = if has_links { LINE_ROOM } else { super::read::LINE_MAX };
    let (encoding, body) = match part.encoding {
        Encoding::Plain | Encoding::Unknown => {
            let plain = literal(&pieces);
            let fits = plain.split(|byte| *byte == b'\n').all(|line| line.len() <= longest);
            let is_clean = fits && (additions.body == BodyForm::AsItCame || !seven_bit::is_dirty(&plain));
            if is_clean { (Encoding::Plain, plain) } else { (Encoding::QuotedPrintable, quoted(&pieces)) }
        }
        Encoding::Base64 if !has_links => (Encoding::Base64, base64(&literal(&pieces), raw)),
        Encoding::QuotedPrintable | Encoding::Base64 => (Encoding::QuotedPrintable, quoted(&pieces)),
    };
    edits.replace(part.body.clone(), body);
    if encoding != part.encoding {
        seven_bit::set_encoding(bytes, part, encoding, edits);
    }
    encoding != part.encoding
}

enum Piece<'a> {
    Text(&'a [u8]),
    Url(String),
}

fn literal(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Url(url) => out.extend_from_slice(url.as_bytes()),
        }
    }
    out
}

fn base64(bytes: &[u8], raw: &[u8]) -> Vec<u8> {
    let mut out = seven_bit::lines_of_base64(bytes);
    if !raw.ends_with(b"\r\n") && out.ends_with(b"\r\n") {
        out.truncate(out.len() - 2);
    }
    out
}

fn quoted(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut column = 0;
    for piece in pieces {
        match piece {
            Piece::Text(text) => column = qp::encode_segment(text, column, &mut out),
            Piece::Url(url) => {
                out.extend_from_slice(qp::SOFT_BREAK);
                let whole = url.len() <= 72 && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
                if whole {
                    out.extend_from_slice(url.as_bytes());
                } else {
                    qp::encode_segment(url.as_bytes(), 0, &mut out);
                }
                out.extend_from_slice(qp::SOFT_BREAK);
                column = 0;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
