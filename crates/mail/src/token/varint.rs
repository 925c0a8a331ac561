//! Numbers in seven bits a byte, least first (LEB128), so that small ids make short links.
//!
//! Must not know tokens; that only the shortest spelling counts is checked by writing the token anew.

/// Appends `value`.
pub(super) fn encode(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number at the front of `bytes` and what follows it; `None` when cut short or over 64 bits.
pub(super) fn decode(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_at_the_borders() {
        for value in [0, 1, 127, 128, 16_383, 16_384, i64::MAX as u64, u64::MAX] {
            let mut out = Vec::new();
            encode(value, &mut out);
            out.push(0xaa);
            assert_eq!(decode(&out), Some((value, &[0xaa][..])));
        }
        assert_eq!(decode(&[0x80; 10]), None);
        assert_eq!(decode(&[0xff; 12]), None);
        assert_eq!(decode(&[]), None);
    }
}
