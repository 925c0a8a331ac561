//! The MIME parts of a message as ranges of its bytes, and which of them are signed or encrypted.
//!
//! A flat list made by a work list: nothing nests, so nothing overflows, and each level is searched once. What is beyond
//! the limits is opaque: it stays as it is. Must not change anything.

use std::ops::Range;

use super::block::{self, Block, End};
use crate::report::mime::ContentType;

/// Most parts that are looked at.
const PARTS_MAX: usize = 500;
/// Multiparts and messages within others that are opened.
const DEPTH_MAX: usize = 12;
/// Most octets of a field that says how a part is made.
const FIELD_MAX: usize = 4 * 1_024;
/// Longest header of a part in octets.
const HEADER_MAX: usize = 64 * 1_024;

/// Whether something in the message is signed or encrypted, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignedPart {
    /// Nothing.
    #[default]
    None,
    /// S/MIME (RFC 8551).
    Smime,
    /// OpenPGP (RFC 3156).
    Pgp,
    /// multipart/signed or multipart/encrypted by another protocol (RFC 1847).
    Other,
}

/// Content-Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary, or none.
    Plain,
    QuotedPrintable,
    Base64,
    /// Some other word: nobody knows what the bytes mean.
    Unknown,
}

/// What a part is for those who want to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A multipart whose parts are in the list.
    Container,
    /// A message within the message, which is in the list.
    Embedded,
    /// A body.
    Leaf,
    /// Must stay as it is: beyond the limits, or of a kind that may not be encoded anew.
    Opaque,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// `type/subtype` in lowercase.
    pub(super) kind: String,
    pub(super) charset: Option<String>,
    pub(super) encoding: Encoding,
    pub(super) role: Role,
    /// Inside of something signed or encrypted.
    pub(super) sealed: bool,
    /// Its fields.
    pub(super) header: Block,
    /// Its content, without the CRLF before the next boundary.
    pub(super) body: Range<usize>,
    pub(super) has_content_type: bool,
    /// The message itself.
    pub(super) is_root: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// The whole message first, then each part after what contains it.
    pub(super) list: Vec<Part>,
    pub(super) signed: SignedPart,
    /// Something was beyond the limits.
    pub(super) cut: bool,
    /// A part can be read in two ways.
    ambiguous: bool,
}

/// A part that waits to be read.
struct Waiting {
    range: Range<usize>,
    depth: usize,
    sealed: bool,
    /// Inside of a multipart/digest, where a part is a message unless it says otherwise.
    digest: bool,
}

/// Reads the parts of a message whose header is known.
pub(super) fn read(bytes: &[u8], header: &Block) -> Parts {
    let mut parts = Parts { list: Vec::with_capacity(4), signed: SignedPart::None, cut: false, ambiguous: false };
    let mut waiting: Vec<Waiting> = Vec::new();
    let root = Waiting { range: 0..bytes.len(), depth: 0, sealed: false, digest: false };
    parts.open(bytes, root, Some(header), &mut waiting);
    while let Some(next) = waiting.pop() {
        if parts.list.len() >= PARTS_MAX {
            parts.cut = true;
            break;
        }
        parts.open(bytes, next, None, &mut waiting);
    }
    // What still waits was never looked at: nothing that holds it may be called known.
    parts.list.extend(waiting.into_iter().rev().map(|left| Part {
        kind: String::new(),
        charset: None,
        encoding: Encoding::Unknown,
        role: Role::Opaque,
        sealed: left.sealed,
        header: Block {
            fields: Vec::new(),
            start: left.range.start,
            end: left.range.start,
            body: left.range.start,
            how: End::Bytes,
        },
        body: left.range,
        has_content_type: false,
        is_root: false,
    }));
    // A signed multipart whose parts were not found, or one of whose parts can be read in two ways: nobody knows where
    // what is signed ends.
    let is_torn = |part: &Part| {
        let is_signed = matches!(part.kind.as_str(), "multipart/signed" | "multipart/encrypted");
        part.role == Role::Opaque && (part.sealed || is_signed)
    };
    if parts.list.iter().any(is_torn) || (parts.ambiguous && mentions_signature(bytes)) {
        parts.list.iter_mut().for_each(|part| part.sealed = true);
    }
    parts
}

impl Parts {
    fn open(&mut self, bytes: &[u8], place: Waiting, header: Option<&Block>, waiting: &mut Vec<Waiting>) {
        let is_root = header.is_some();
        let window = place.range.start..place.range.end.min(place.range.start + HEADER_MAX);
        let header = header.cloned().unwrap_or_else(|| block::scan(bytes, window.clone()));
        let too_long = header.how == End::Bytes && header.body < place.range.end;
        let count = |name: &str| header.fields.iter().filter(|field| field.is(bytes, name)).count();
        // Readers differ in which of two fields counts: what the part is cannot be known, so it stays as it is.
        let ambiguous = count("content-type") > 1 || count("content-transfer-encoding") > 1;
        if ambiguous {
            for field in header.fields.iter().filter(|field| field.is(bytes, "content-type")) {
                self.note_signature(&ContentType::read(&field.text(bytes, FIELD_MAX)));
            }
        }
        let written = header.find(bytes, "content-type").map(|field| field.text(bytes, FIELD_MAX));
        let default = if place.digest { "message/rfc822" } else { "text/plain" };
        let content = ContentType::read(written.as_deref().unwrap_or(default));
        let encoding = encoding(bytes, &header);
        let body = header.body..place.range.end.max(header.body);
        let mut part = Part {
            kind: content.kind.clone(),
            charset: None,
            encoding,
            role: Role::Leaf,
            sealed: place.sealed,
            header,
            body: body.clone(),
            has_content_type: written.is_some(),
            is_root,
        };
        self.note_signature(&content);
        // Header and body that nothing divides would be divided elsewhere once the body is another.
        if ambiguous || (!is_root && part.header.how == End::NoField) {
            (part.role, self.ambiguous) = (Role::Opaque, true);
        } else if too_long {
            (part.role, self.cut) = (Role::Opaque, true);
        } else if let Some(name) = content.kind.strip_prefix("multipart/") {
            part.role = Role::Opaque;
            let boundary = content.parameter("boundary").filter(|boundary| boundary.is_ascii());
            let pieces = boundary.map(|boundary| pieces(bytes, body.clone(), &boundary)).unwrap_or_default();
            if place.depth >= DEPTH_MAX {
                self.cut = true;
            } else if !pieces.is_empty() && encoding == Encoding::Plain {
                part.role = Role::Container;
                let sealed = place.sealed || matches!(name, "signed" | "encrypted");
                let digest = name == "digest";
                let inner = pieces.into_iter().rev();
                waiting.extend(inner.map(|range| Waiting { range, depth: place.depth + 1, sealed, digest }));
            }
        } else if matches!(part.kind.as_str(), "message/rfc822" | "message/global") {
            if place.depth >= DEPTH_MAX {
                (part.role, self.cut) = (Role::Opaque, true);
            } else if encoding == Encoding::Plain {
                part.role = Role::Embedded;
                waiting.push(Waiting { range: body, depth: place.depth + 1, sealed: place.sealed, digest: false });
            }
        } else if part.kind.starts_with("message/") {
            // RFC 2045 6.4: these may not be encoded.
            part.role = Role::Opaque;
        } else if is_sealed_kind(&part.kind) {
            part.sealed = true;
        } else {
            part.charset = content.parameter("charset");
        }
        self.list.push(part);
    }

    fn note_signature(&mut self, content: &ContentType<'_>) {
        let by_kind = match content.kind.as_str() {
            "application/pkcs7-mime" | "application/x-pkcs7-mime" => SignedPart::Smime,
            "application/pgp-encrypted" | "application/pgp-signature" => SignedPart::Pgp,
            "multipart/signed" | "multipart/encrypted" => {
                let protocol = content.parameter("protocol").unwrap_or_default().to_ascii_lowercase();
                match protocol.as_str() {
                    "application/pgp-signature" | "application/pgp-encrypted" => SignedPart::Pgp,
                    "application/pkcs7-signature" | "application/x-pkcs7-signature" => SignedPart::Smime,
                    _ => SignedPart::Other,
                }
            }
            _ => return,
        };
        // The outermost counts, unless it did not say.
        if matches!(self.signed, SignedPart::None | SignedPart::Other) {
            self.signed = by_kind;
        }
    }
}

/// Whether another reading of a broken message could find something signed in it.
fn mentions_signature(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    [&b"multipart/signed"[..], b"multipart/encrypted"].iter().any(|kind| memchr::memmem::find(&lower, kind).is_some())
}

/// Kinds that are the signature or the secret themselves.
fn is_sealed_kind(kind: &str) -> bool {
    matches!(
        kind,
        "application/pkcs7-mime"
            | "application/x-pkcs7-mime"
            | "application/pkcs7-signature"
            | "application/x-pkcs7-signature"
            | "application/pgp-signature"
            | "application/pgp-encrypted"
            | "application/pgp-keys"
    )
}

fn encoding(bytes: &[u8], header: &Block) -> Encoding {
    let Some(field) = header.find(bytes, "content-transfer-encoding") else { return Encoding::Plain };
    let text = field.text(bytes, 64).to_ascii_lowercase();
    // A comment may follow (RFC 2045 6.1).
    match text.split([' ', '(', ';']).next().unwrap_or_default() {
        "" | "7bit" | "8bit" | "binary" => Encoding::Plain,
        "quoted-printable" => Encoding::QuotedPrintable,
        "base64" => Encoding::Base64,
        _ => Encoding::Unknown,
    }
}

/// What stands between the lines of a boundary, without the CRLF before each (RFC 2046 5.1.1); a last piece without its end
/// counts, too.
fn pieces(bytes: &[u8], body: Range<usize>, boundary: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start: Option<usize> = None;
    let content = &bytes[body.clone()];
    let needle = [b"--", boundary.as_bytes()].concat();
    for at in memchr::memmem::find_iter(content, &needle) {
        if at > 0 && content[at - 1] != b'\n' {
            continue;
        }
        let line_end = memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |end| at + end + 1);
        let rest = content[at + needle.len()..line_end].trim_ascii();
        if !(rest.is_empty() || rest.starts_with(b"--")) {
            continue;
        }
        if let Some(from) = start.take() {
            let before = &content[from..at.max(from)];
            let cut = if before.ends_with(b"\r\n") { 2 } else { usize::from(before.ends_with(b"\n")) };
            found.push(body.start + from..body.start + at.max(from) - cut);
        }
        if !rest.is_empty() {
            return found;
        }
        start = Some(line_end);
        if found.len() >= PARTS_MAX {
            break;
        }
    }
    if let Some(from) = start.filter(|from| *from < content.len()) {
        found.push(body.start + from..body.end);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> (Vec<String>, SignedPart) {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        let header = block::scan(&bytes, 0..bytes.len());
        let parts = read(&bytes, &header);
        let line = |part: &Part| {
            let body = String::from_utf8_lossy(&bytes[part.body.clone()]).replace("\r\n", "|");
            let seal = if part.sealed { " sealed" } else { "" };
            let body = if part.role == Role::Leaf { body } else { String::new() };
            format!("{}{seal} {:?} {body}", part.kind, part.role)
        };
        (parts.list.iter().map(line).collect(), parts.signed)
    }

    #[test]
    fn parts_are_found_with_their_seals() {
        let (parts, signed) = shape(
            "Content-Type: multipart/mixed; boundary=ab\n\npre\n--ab\nContent-Type: multipart/signed; boundary=\"abc\";\n \
             protocol=\"application/pgp-signature\"\n\n--abc\n\nsigned\n\n--abc\nContent-Type: application/pgp-signature\n\n\
             x\n--abc--\n--ab\nContent-Type: message/rfc822\n\nSubject: in\n\ninner\n--ab  \n\nlast\n--ab--\npost\n",
        );
        assert_eq!(
            parts,
            [
                "multipart/mixed Container ",
                "multipart/signed Container ",
                "text/plain sealed Leaf signed|",
                "application/pgp-signature sealed Leaf x",
                "message/rfc822 Embedded ",
                "text/plain Leaf inner",
                "text/plain Leaf last",
            ]
        );
        assert_eq!(signed, SignedPart::Pgp);
    }

    #[test]
    fn torn_and_odd_multiparts_stay_whole_or_in_reach() {
        let (parts, _) = shape("Content-Type: multipart/mixed; boundary=b\n\nno boundary here\n");
        assert_eq!(parts, ["multipart/mixed Opaque "]);
        let (parts, _) = shape("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--bx\n--b\n");
        assert_eq!(parts, ["multipart/mixed Container ", "text/plain Leaf one|--bx"]);
        let (parts, signed) = shape("Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nAAAA\n");
        assert_eq!(parts, ["application/pkcs7-mime sealed Leaf AAAA|"]);
        assert_eq!(signed, SignedPart::Smime);
        let (parts, _) = shape("Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--\n");
        assert_eq!(parts, ["multipart/digest Container ", "message/rfc822 Embedded ", "text/plain Leaf y"]);
        let (parts, _) =
            shape("Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\nContent-Type: text/html\n--b--\n");
        assert_eq!(parts, ["multipart/mixed Container ", "text/plain Leaf ", "text/html Leaf "]);
    }

    /// Found by comparing with another parser: each of these is read in more than one way.
    #[test]
    fn what_can_be_read_in_two_ways_is_left() {
        let (parts, signed) =
            shape("Content-Type: message/rfc822\nContent-Type: multipart/signed; boundary=c\n\n--c\n\nx\n--c--\n");
        assert_eq!((parts, signed), (vec!["message/rfc822 sealed Opaque ".to_owned()], SignedPart::Other));
        let (parts, _) = shape(
            "Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: multipart/signed; boundary=c\n\n--c\n\nx\n",
        );
        assert_eq!(parts[1..], ["multipart/signed sealed Opaque ", "text/plain sealed Leaf x|"]);
        let (parts, _) = shape("Content-Type: message/rfc822\n\nSubject: x\nbody\n");
        assert_eq!(parts[1..], ["text/plain Opaque "]);
        let (parts, _) = shape("Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64\n\nx\n");
        assert_eq!(parts, ["text/plain Opaque "]);
    }

    #[test]
    fn floods_are_bounded() {
        let flood = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(5_000));
        assert!(shape(&flood).0.len() <= PARTS_MAX + 2);
        let nest = format!("X: y\n{}", "Content-Type: message/rfc822\n\n".repeat(5_000));
        assert_eq!(shape(&nest).0.len(), DEPTH_MAX + 1);
        let deep: String =
            (0..500).map(|at| format!("Content-Type: multipart/mixed; boundary=b{at}\n\n--b{at}\n")).collect();
        assert_eq!(shape(&deep).0.len(), DEPTH_MAX + 1);
    }
}
