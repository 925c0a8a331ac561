//! base64 in lines of 76 columns (RFC 2045 6.8), for body parts that quoted-printable would bloat.
//!
//! Must not know MIME structure; the caller writes the header of the part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Raw bytes that fill one line of 76 columns.
const BYTES_PER_LINE: usize = 57;

/// Appends `bytes` to `out` as base64 lines of at most 76 columns, each ended by CRLF.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().div_ceil(BYTES_PER_LINE) * 78);
    let mut line = [0u8; 76];
    for chunk in bytes.chunks(BYTES_PER_LINE) {
        let written = STANDARD.encode_slice(chunk, &mut line).expect("57 bytes make at most 76 characters");
        out.extend_from_slice(&line[..written]);
        out.extend_from_slice(b"\r\n");
    }
}

/// The bytes behind base64 text whose line breaks and blanks are skipped; `None` when it is not base64.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let packed: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | b' ' | b'\t')).collect();
    STANDARD.decode(packed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_have_76_columns() {
        let mut out = Vec::new();
        encode(&[0xff; 58], &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(&out[76..80], b"\r\n/w");
        out.clear();
        encode(b"", &mut out);
        assert!(out.is_empty());
        assert_eq!(decode(b"no base64!"), None);
    }

    proptest! {
        #[test]
        fn reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            encode(&bytes, &mut out);
            prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
            prop_assert_eq!(decode(&out), Some(bytes));
        }
    }
}
