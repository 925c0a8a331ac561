//! The relaxed canonical forms of RFC 6376 3.4.2 and 3.4.4.
//!
//! Must not know which fields are signed. Lines end in CRLF; a lone CR or LF is an ordinary byte.

use aws_lc_rs::digest::{Context, SHA256};
use memchr::memchr;

/// Appends the relaxed form of one field, without a final CRLF.
pub(super) fn header_field(field: &[u8], out: &mut Vec<u8>) {
    let colon = memchr(b':', field).unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    let start = out.len();
    out.extend_from_slice(name.trim_ascii());
    out[start..].make_ascii_lowercase();
    out.push(b':');
    let mut rest = value.get(1..).unwrap_or_default();
    let mut is_first = true;
    loop {
        // Unfolding removes CRLF before a blank, and blanks shrink to one: so all four bytes only separate.
        let from = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
        rest = &rest[from..];
        if rest.is_empty() {
            return;
        }
        if !is_first {
            out.push(b' ');
        }
        is_first = false;
        let end = rest.iter().position(|byte| is_blank(*byte)).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Bytes that are collected before the digest sees them.
const BATCH: usize = 4_096;

/// The SHA-256 of a body in relaxed form, fed in pieces of any size.
pub struct BodyHasher {
    digest: Context,
    batch: Vec<u8>,
    /// Blanks were seen and nothing visible after them yet.
    blank: bool,
    /// A CR was the last byte.
    cr: bool,
    /// Line ends that count only if something visible follows.
    line_ends: usize,
    /// Anything visible was seen at all.
    has_content: bool,
}

impl Default for BodyHasher {
    fn default() -> Self {
        BodyHasher {
            digest: Context::new(&SHA256),
            batch: Vec::with_capacity(BATCH + 128),
            blank: false,
            cr: false,
            line_ends: 0,
            has_content: false,
        }
    }
}

impl BodyHasher {
    /// A hasher for an empty body so far.
    pub fn new() -> BodyHasher {
        BodyHasher::default()
    }

    /// Adds the next bytes of the body.
    pub fn update(&mut self, mut body: &[u8]) {
        while let Some(&byte) = body.first() {
            if self.cr {
                self.cr = false;
                if byte == b'\n' {
                    // RFC 6376 3.4.4 (a): blanks at the end of a line are ignored.
                    self.blank = false;
                    self.line_ends += 1;
                    body = &body[1..];
                    continue;
                }
                self.visible(b"\r");
            }
            match byte {
                b'\r' => {
                    self.cr = true;
                    body = &body[1..];
                }
                b' ' | b'\t' => {
                    self.blank = true;
                    body = &body[1..];
                }
                _ => {
                    let end = run_length(body);
                    self.visible(&body[..end]);
                    body = &body[end..];
                }
            }
        }
    }

    /// Takes over bytes that stay as they are, after what was waiting.
    fn visible(&mut self, bytes: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.batch.extend_from_slice(b"\r\n");
            self.flush_full();
        }
        if std::mem::take(&mut self.blank) {
            self.batch.push(b' ');
        }
        self.has_content = true;
        if bytes.len() >= BATCH {
            self.digest.update(&self.batch);
            self.batch.clear();
            self.digest.update(bytes);
        } else {
            self.batch.extend_from_slice(bytes);
            self.flush_full();
        }
    }

    fn flush_full(&mut self) {
        if self.batch.len() >= BATCH {
            self.digest.update(&self.batch);
            self.batch.clear();
        }
    }

    /// The hash. Empty lines at the end are ignored, and a body that is not empty ends in CRLF.
    pub fn finish(mut self) -> [u8; 32] {
        if std::mem::take(&mut self.cr) {
            self.visible(b"\r");
        }
        if self.has_content {
            self.batch.extend_from_slice(b"\r\n");
        }
        self.digest.update(&self.batch);
        let mut hash = [0; 32];
        hash.copy_from_slice(self.digest.finish().as_ref());
        hash
    }
}

/// How far bytes stay as they are: up to a CR, a tab, or a blank that is not alone between visible bytes.
fn run_length(body: &[u8]) -> usize {
    let mut at = 0;
    while at < body.len() {
        match body[at] {
            b'\r' | b'\t' => return at,
            b' ' => match body.get(at + 1) {
                None | Some(b' ' | b'\t' | b'\r') => return at,
                Some(_) => at += 2,
            },
            _ => at += 1,
        }
    }
    at
}
