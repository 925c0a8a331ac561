//! Seven bits and lines of at most 998 octets for every part that may be encoded anew (RFC 2045 6, RFC 6152 3).
//!
//! What is signed, encrypted or unknown is never touched: then nothing is, and the caller is told. Must not know whether
//! the next host has 8BITMIME.

use std::borrow::Cow;

use thiserror::Error;

use super::block::{self, Block, End};
use super::changes::{self, Edits};
use super::eight_bit_header;
use super::parts::{self, Encoding, Part, Parts, Role};
use crate::{base64_lines, qp};

/// Why a message cannot be made seven-bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NeedsEightBit {
    /// A signed or encrypted part holds bytes beyond ASCII, or lines that are too long.
    #[error("encode the message in seven bits: a signed or encrypted part holds other bytes; let the signer encode it")]
    SealedPart,
    /// A part of a kind or encoding that may not be encoded anew.
    #[error("encode the message in seven bits: a part is of a kind that cannot be encoded; let the author encode it")]
    OpaquePart,
    /// A header with a mailbox in UTF-8 (RFC 6532).
    #[error("encode the message in seven bits: a header holds a mailbox beyond ASCII; this needs SMTPUTF8 all the way")]
    Utf8Header,
}

/// The message with every part and header field in seven bits, for a host without 8BITMIME. Borrowed when it already is.
///
/// # Errors
/// [`NeedsEightBit`]: nothing of it may then be changed.
pub fn downgrade_to_seven_bit(message: &[u8]) -> Result<Cow<'_, [u8]>, NeedsEightBit> {
    if !is_dirty(message) {
        return Ok(Cow::Borrowed(message));
    }
    let header = block::scan(message, 0..message.len());
    let parts = parts::read(message, &header);
    if let Some(why) = obstacle(message, &parts) {
        return Err(why);
    }
    let mut edits = Edits::default();
    let has_mime_version = header.find(message, "mime-version").is_some();
    for (at, part) in parts.list.iter().enumerate() {
        encode_part(message, part, &mut edits);
        encode_header(message, part, &mut edits);
        if at == 0 && !has_mime_version && is_encoded_anew(message, part) {
            edits.insert(header.end, MIME_VERSION.to_vec());
        }
    }
    for field in header.fields.iter().filter(|field| !message[field.whole()].is_ascii()) {
        let encoded = eight_bit_header::encode(message, field).ok_or(NeedsEightBit::Utf8Header)?;
        edits.replace(field.whole(), encoded);
    }
    clean_gaps(message, &parts, &mut edits);
    if header.how == End::NoField {
        edits.insert(header.end, b"\r\n".to_vec());
    }
    Ok(Cow::Owned(edits.apply(message, 0, b"")))
}

pub(super) const MIME_VERSION: &[u8] = b"MIME-Version: 1.0\r\n";

/// Whether bytes cannot go where only seven bits and lines of 998 octets go.
pub(super) fn is_dirty(bytes: &[u8]) -> bool {
    !bytes.is_ascii() || memchr::memchr(0, bytes).is_some() || changes::has_long_line(bytes)
}

/// What keeps a message from being encoded; `None` when every part that needs it may be.
pub(super) fn obstacle(bytes: &[u8], parts: &Parts) -> Option<NeedsEightBit> {
    for (at, part) in parts.list.iter().enumerate() {
        let header = &bytes[part.header.start..part.header.end];
        if at > 0 && changes::has_long_line(header) {
            return Some(if part.sealed { NeedsEightBit::SealedPart } else { NeedsEightBit::OpaquePart });
        }
        if at > 0 && !header.is_ascii() {
            if part.sealed {
                return Some(NeedsEightBit::SealedPart);
            }
            let fields = part.header.fields.iter().filter(|field| !bytes[field.whole()].is_ascii());
            if fields.into_iter().any(|field| eight_bit_header::encode(bytes, field).is_none()) {
                return Some(NeedsEightBit::Utf8Header);
            }
        }
        match part.role {
            Role::Container | Role::Embedded => {}
            Role::Leaf | Role::Opaque if !is_dirty(&bytes[part.body.clone()]) => {}
            Role::Leaf | Role::Opaque if part.sealed => return Some(NeedsEightBit::SealedPart),
            Role::Leaf if part.encoding != Encoding::Unknown => {}
            Role::Leaf | Role::Opaque => return Some(NeedsEightBit::OpaquePart),
        }
    }
    gaps(parts, bytes.len()).find_map(|gap| {
        let text = &bytes[gap.range.clone()];
        match (is_dirty(text), gap.sealed) {
            (false, _) => None,
            (true, true) => Some(NeedsEightBit::SealedPart),
            (true, false) => changes::has_long_line(text).then_some(NeedsEightBit::OpaquePart),
        }
    })
}

/// Makes the header of a part ASCII; that of the whole message is judged by itself.
pub(super) fn encode_header(bytes: &[u8], part: &Part, edits: &mut Edits) {
    if part.sealed || part.is_root || bytes[part.header.start..part.header.end].is_ascii() {
        return;
    }
    for field in part.header.fields.iter().filter(|field| !bytes[field.whole()].is_ascii()) {
        if let Some(encoded) = eight_bit_header::encode(bytes, field) {
            edits.replace(field.whole(), encoded);
        }
    }
}

/// Encodes the body of a part where it has to be; its header says so afterwards.
pub(super) fn encode_part(bytes: &[u8], part: &Part, edits: &mut Edits) {
    if part.sealed {
        return;
    }
    match part.role {
        Role::Container | Role::Embedded => {
            let field = part.header.find(bytes, "content-transfer-encoding");
            if let Some(field) = field.filter(|field| !field.text(bytes, 64).eq_ignore_ascii_case("7bit")) {
                edits.replace(field.whole(), b"Content-Transfer-Encoding: 7bit\r\n".to_vec());
            }
        }
        Role::Leaf if is_encoded_anew(bytes, part) => {
            let raw = &bytes[part.body.clone()];
            let text = changes::decoded(raw, part.encoding);
            let (encoding, mut body) = match part.encoding {
                Encoding::QuotedPrintable => (Encoding::QuotedPrintable, quoted(&text)),
                Encoding::Base64 => (Encoding::Base64, lines_of_base64(&text)),
                Encoding::Plain | Encoding::Unknown => encode(&text, &part.kind),
            };
            if !raw.ends_with(b"\r\n") && body.ends_with(b"\r\n") {
                body.truncate(body.len() - 2);
            }
            edits.replace(part.body.clone(), body);
            set_encoding(bytes, part, encoding, edits);
        }
        Role::Leaf | Role::Opaque => {}
    }
}

/// Whether [`encode_part`] changes the body.
pub(super) fn is_encoded_anew(bytes: &[u8], part: &Part) -> bool {
    !part.sealed && part.role == Role::Leaf && is_dirty(&bytes[part.body.clone()])
}

/// Quoted-printable for what is mostly ASCII text, else base64.
pub(super) fn encode(text: &[u8], kind: &str) -> (Encoding, Vec<u8>) {
    let others = text.iter().filter(|byte| !byte.is_ascii()).count();
    if kind.starts_with("text/") && others <= text.len() / 3 {
        (Encoding::QuotedPrintable, quoted(text))
    } else {
        (Encoding::Base64, lines_of_base64(text))
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    qp::encode(text, &mut out);
    out
}

pub(super) fn lines_of_base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    base64_lines::encode(bytes, &mut out);
    out
}

/// Makes the header of a part say how its body is encoded; a text without a kind gets one.
pub(super) fn set_encoding(bytes: &[u8], part: &Part, encoding: Encoding, edits: &mut Edits) {
    let word = match encoding {
        Encoding::Plain | Encoding::Unknown => "7bit",
        Encoding::QuotedPrintable => "quoted-printable",
        Encoding::Base64 => "base64",
    };
    let line = format!("Content-Transfer-Encoding: {word}\r\n");
    let Block { fields, end, .. } = &part.header;
    let mut written = fields.iter().filter(|field| field.is(bytes, "content-transfer-encoding"));
    let mut added = Vec::new();
    match written.next() {
        Some(first) if part.encoding == encoding && bytes[first.whole()].is_ascii() => {}
        Some(first) => edits.replace(first.whole(), line.into_bytes()),
        None => added = line.into_bytes(),
    }
    written.for_each(|more| edits.cut(more.whole()));
    let raw = &bytes[part.body.clone()];
    if !part.has_content_type && !raw.is_ascii() {
        // RFC 1428: 8-bit text of which nobody said what it is.
        let charset = if std::str::from_utf8(raw).is_ok() { "utf-8" } else { "unknown-8bit" };
        added.extend_from_slice(format!("Content-Type: text/plain; charset={charset}\r\n").as_bytes());
    }
    if !added.is_empty() {
        edits.insert(*end, added);
    }
}

/// What stands between the parts: text that nobody reads, and the boundaries.
struct Gap {
    range: std::ops::Range<usize>,
    sealed: bool,
}

/// The gaps in order. The list of parts is in the order of the bytes, what contains before what is contained.
fn gaps(parts: &Parts, length: usize) -> impl Iterator<Item = Gap> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut around: Vec<(usize, bool)> = Vec::new();
    for part in &parts.list {
        push_gaps(&mut found, &mut around, at, part.header.start);
        at = match part.role {
            Role::Container => {
                // What stands around the parts of the outermost signed multipart is not signed itself (RFC 1847 2.1).
                around.push((part.body.end, part.sealed));
                part.header.body
            }
            Role::Embedded => part.header.body,
            Role::Leaf | Role::Opaque => part.body.end,
        };
    }
    push_gaps(&mut found, &mut around, at, length);
    found.into_iter()
}

/// The gap from `at` to `end`, divided where multiparts end.
fn push_gaps(found: &mut Vec<Gap>, around: &mut Vec<(usize, bool)>, mut at: usize, end: usize) {
    while let Some(&(inner_end, sealed)) = around.last() {
        let to = inner_end.min(end);
        if to > at {
            found.push(Gap { range: at..to, sealed });
            at = to;
        }
        if inner_end > end {
            return;
        }
        around.pop();
    }
    if end > at {
        found.push(Gap { range: at..end, sealed: false });
    }
}

/// Bytes beyond ASCII before, between and after parts become question marks.
pub(super) fn clean_gaps(bytes: &[u8], parts: &Parts, edits: &mut Edits) {
    for gap in gaps(parts, bytes.len()).filter(|gap| !gap.sealed) {
        let text = &bytes[gap.range.clone()];
        if !text.is_ascii() || memchr::memchr(0, text).is_some() {
            let clean = text.iter().map(|byte| if byte.is_ascii() && *byte != 0 { *byte } else { b'?' });
            edits.replace(gap.range, clean.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seven(message: &str) -> Result<String, NeedsEightBit> {
        let bytes = message.replace('\n', "\r\n");
        downgrade_to_seven_bit(bytes.as_bytes())
            .map(|out| String::from_utf8(out.into_owned()).unwrap().replace("\r\n", "\n"))
    }

    #[test]
    fn parts_are_encoded_and_say_so() {
        assert_eq!(
            seven("From: a@b.example\nContent-Transfer-Encoding: 8bit\nContent-Type: text/plain; charset=utf-8\n\nh\u{e9} all of you\n"),
            Ok("From: a@b.example\nContent-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\
                MIME-Version: 1.0\n\nh=C3=A9 all of you\n"
                .to_owned())
        );
        assert_eq!(
            seven("From: a@b.example\n\n\u{e9}\u{e9}\n"),
            Ok("From: a@b.example\nContent-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\
                MIME-Version: 1.0\n\nw6nDqQ0K\n"
                .to_owned())
        );
        assert_eq!(seven("From: a@b.example\n\nplain\n"), Ok("From: a@b.example\n\nplain\n".to_owned()));
        let long = format!("From: a@b.example\n\n{}\n", "x".repeat(999));
        assert!(seven(&long).unwrap().lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn multiparts_are_walked() {
        let message = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\npr\u{e9}\n\
            --b\n\nh\u{e9} all of you\n--b\nContent-Type: application/pdf; name=\"\u{e9}.pdf\"\n\n\u{e9}\n--b--\np\u{f4}st\n";
        assert_eq!(
            seven(message).unwrap(),
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npr??\n--b\n\
             Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\nh=C3=A9 all of you\n--b\n\
             Content-Type: application/pdf;\n name*=utf-8''%C3%A9.pdf\nContent-Transfer-Encoding: base64\n\nw6k=\n--b--\np??st\n"
        );
    }

    #[test]
    fn what_is_sealed_stays() {
        let signed = "Content-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\n\n--b\n\n\u{e9}\n--b\n\
            Content-Type: application/pgp-signature\n\nx\n--b--\n";
        assert_eq!(seven(signed), Err(NeedsEightBit::SealedPart));
        let around = signed.replace("\u{e9}", "e").replace("--b--\n", "--b--\n\u{e9}\n");
        assert_eq!(seven(&around), Ok(around.replace('\u{e9}', "??")));
        let nested = signed
            .replace("\u{e9}\n", "e\n")
            .replace("--b\n\ne", "--b\nContent-Type: multipart/mixed; boundary=c\n\npr\u{e9}\n--c\n\ne\n--c--");
        assert_eq!(seven(&nested), Err(NeedsEightBit::SealedPart));
        assert_eq!(seven("Content-Type: multipart/mixed\n\n\u{e9}\n"), Err(NeedsEightBit::OpaquePart));
        assert_eq!(seven("Content-Transfer-Encoding: x-uu\n\n\u{e9}\n"), Err(NeedsEightBit::OpaquePart));
        assert_eq!(seven("From: \u{e9}@b.example\n\nx\n"), Err(NeedsEightBit::Utf8Header));
    }
}
