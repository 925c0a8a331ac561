//! Which character set and which delimiter a file has, and the file's bytes as UTF-8.
//!
//! Knows byte order marks and guesses. Knows no columns and no contacts.

use crate::rows::{Row, Rows};
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::io::{self, Read};

/// How much of a file is looked at before it is read: one MiB.
pub const SAMPLE: usize = 1 << 20;

/// The delimiters that a file may have.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The character set of a file and the length of its byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset {
    /// The encoding.
    pub encoding: &'static Encoding,
    /// Bytes to leave out at the begin.
    pub mark: usize,
}

impl Charset {
    /// Finds it: a byte order mark wins, then a label that somebody gave, then UTF-8, then the detector.
    ///
    /// # Errors
    /// The label is none; in words.
    pub fn of(sample: &[u8], label: &str) -> Result<Charset, String> {
        if let Some((encoding, mark)) = Encoding::for_bom(sample) {
            return Ok(Charset { encoding, mark });
        }
        if !label.trim().is_empty() {
            return Encoding::for_label(label.trim().as_bytes())
                .map(|encoding| Charset { encoding, mark: 0 })
                .ok_or_else(|| format!("`{}` is no character set: write it like utf-8 or windows-1252", clip(label)));
        }
        Ok(Charset { encoding: guess(sample), mark: 0 })
    }

    /// Whether the bytes of the file can be read as they are.
    pub fn is_utf8(self) -> bool {
        self.encoding == UTF_8
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

fn guess(sample: &[u8]) -> &'static Encoding {
    // UTF-16 without a mark: every other byte of Latin text is zero.
    let zeros = |odd: usize| sample.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    let quarter = sample.len() / 4;
    if sample.len() >= 16 {
        if zeros(1) > quarter && zeros(0) < quarter / 8 {
            return UTF_16LE;
        }
        if zeros(0) > quarter && zeros(1) < quarter / 8 {
            return UTF_16BE;
        }
    }
    // A file of UTF-8 with a few broken rows is still UTF-8: the broken rows are refused, the others kept.
    let (good, broken) = multibyte(sample);
    if broken == 0 || good >= 4 * broken {
        return UTF_8;
    }
    let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Allow);
    detector.feed(sample, true);
    detector.guess(None, chardetng::Utf8Detection::Deny)
}

/// How many characters of several bytes are right, and how many are broken.
fn multibyte(sample: &[u8]) -> (usize, usize) {
    let (mut good, mut broken, mut rest) = (0, 0, sample);
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => return (good + wide(text.as_bytes()), broken),
            Err(error) => {
                good += wide(&rest[..error.valid_up_to()]);
                let Some(bad) = error.error_len() else { return (good, broken) }; // cut off at the end of the sample
                broken += 1;
                rest = &rest[error.valid_up_to() + bad..];
            }
        }
    }
}

/// Lead bytes of characters outside ASCII in valid UTF-8.
fn wide(valid: &[u8]) -> usize {
    valid.iter().filter(|b| **b >= 0xC0).count()
}

/// The delimiter that gives the most columns that agree over the first rows.
pub fn delimiter(sample_utf8: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let mut rows = Rows::new(sample_utf8, delimiter, 0);
        let (mut row, mut heading, mut agree, mut seen) = (Row::default(), 0, 0usize, 0usize);
        while seen < 50 && rows.read(&mut row).unwrap_or(false) {
            if seen == 0 {
                heading = row.len();
            } else if row.fault.is_none() && row.len() == heading {
                agree += 1;
            }
            seen += 1;
        }
        if heading < 2 { 0 } else { (agree * 1000 / seen.max(1) + 1) * 100 + heading.min(99) }
    };
    DELIMITERS.into_iter().rev().max_by_key(|d| score(*d)).filter(|d| score(*d) > 0).unwrap_or(b',')
}

/// A source in some character set, read as UTF-8. What does not fit becomes U+FFFD.
pub struct Utf8Reader<R> {
    source: R,
    decoder: Decoder,
    input: Vec<u8>,
    from: usize,
    to: usize,
    ended: bool,
    done: bool,
    /// Decoded bytes that did not fit a very small buffer.
    spare: Vec<u8>,
}

impl<R: Read> Utf8Reader<R> {
    /// Reads `source`, which begins behind any byte order mark.
    pub fn new(source: R, encoding: &'static Encoding) -> Utf8Reader<R> {
        let decoder = encoding.new_decoder_without_bom_handling();
        Utf8Reader {
            source,
            decoder,
            input: vec![0; 64 << 10],
            from: 0,
            to: 0,
            ended: false,
            done: false,
            spare: Vec::new(),
        }
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // A decoder may need four bytes of room for one character.
        if out.len() < 4 && !out.is_empty() && self.spare.is_empty() {
            let mut room = [0; 16];
            let n = self.read(&mut room)?;
            self.spare.extend_from_slice(&room[..n]);
        }
        if !self.spare.is_empty() || out.is_empty() {
            let n = out.len().min(self.spare.len());
            out[..n].copy_from_slice(&self.spare[..n]);
            self.spare.drain(..n);
            return Ok(n);
        }
        if out.len() < 4 {
            return Ok(0);
        }
        loop {
            if self.done {
                return Ok(0);
            }
            if self.from == self.to && !self.ended {
                self.to = self.source.read(&mut self.input)?;
                self.from = 0;
                self.ended = self.to == 0;
            }
            let (result, read, written, _) =
                self.decoder.decode_to_utf8(&self.input[self.from..self.to], out, self.ended);
            self.from += read;
            self.done = self.ended && result == CoderResult::InputEmpty;
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_set_is_found() {
        let text = "mail,città\nanna@example.org,Forlì perché è così\n";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut marked = vec![0xFF, 0xFE];
        marked.extend(&utf16);
        let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(text);
        // The detector names the superset KOI8-U, which reads KOI8-R as well.
        let (koi8, _, _) = encoding_rs::KOI8_R.encode("почта,имя\nanna@example.org,Анна Ивановна из Москвы\n");
        for (bytes, name) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            ([b"\xEF\xBB\xBF", text.as_bytes()].concat(), "UTF-8"),
            (utf16, "UTF-16LE"),
            (marked, "UTF-16LE"),
            (latin.into_owned(), "windows-1252"),
            (koi8.into_owned(), "KOI8-U"),
            (b"plain ascii".to_vec(), "UTF-8"),
        ] {
            assert_eq!(Charset::of(&bytes, "").unwrap().encoding.name(), name);
        }
        assert!(Charset::of(b"", "no-such-set").unwrap_err().contains("windows-1252"));
    }

    #[test]
    fn a_few_broken_rows_do_not_change_the_character_set() {
        let mut text = "città,perché\n".repeat(100).into_bytes();
        text.extend(b"broken \xE0 row\n");
        assert!(Charset::of(&text, "").unwrap().is_utf8());
    }

    #[test]
    fn the_delimiter_is_found() {
        for (text, want) in [
            ("a,b\n1,2\n", b','),
            ("a;b;c\n1;2,5;3\n4;5,5;6\n", b';'),
            ("a\tb, c\n1\t2\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("mail\nx@example.org\n", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn other_sets_are_read_as_utf8_over_any_border() {
        let text = "città €, naïve\n".repeat(20_000);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut read = String::new();
        Utf8Reader::new(&utf16[..], UTF_16BE).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
