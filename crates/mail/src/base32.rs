//! Lowercase base32 without padding (RFC 4648 section 6), for places whose case mail hosts may change.
//!
//! Must not know what the bytes mean; the caller checks that a decoded form is the canonical one.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Appends the base32 form of `bytes` to `out`.
pub(crate) fn encode_into(bytes: &[u8], out: &mut String) {
    let mut buffer: u32 = 0;
    let mut bits = 0;
    for &byte in bytes {
        buffer = (buffer << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(buffer >> bits) as usize & 31]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(buffer << (5 - bits)) as usize & 31]));
    }
}

/// The bytes of `text`, upper or lower case; `None` when a character is foreign, the length is
/// impossible, or unused trailing bits are set (there is one spelling for each value, apart from case).
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if matches!(text.len() % 8, 1 | 3 | 6) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let mut buffer: u32 = 0;
    let mut bits = 0;
    for byte in text.bytes() {
        let value = match byte {
            b'a'..=b'z' => byte - b'a',
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        buffer = (buffer << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((buffer >> bits) as u8);
        }
        buffer &= (1 << bits) - 1;
    }
    (buffer == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_4648_vectors() {
        for (plain, coded) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            let mut out = String::new();
            encode_into(plain.as_bytes(), &mut out);
            assert_eq!(out, coded);
            assert_eq!(decode(&coded.to_uppercase()).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decode("mz"), None, "unused bits are set");
        assert_eq!(decode("m"), None);
        assert_eq!(decode("m1"), None);
    }

    proptest! {
        #[test]
        fn reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = String::new();
            encode_into(&bytes, &mut out);
            prop_assert_eq!(decode(&out), Some(bytes));
        }

        #[test]
        fn one_spelling_for_each_value(text in "[a-z2-7]{0,40}") {
            if let Some(bytes) = decode(&text) {
                let mut out = String::new();
                encode_into(&bytes, &mut out);
                prop_assert_eq!(out, text);
            }
        }
    }
}
