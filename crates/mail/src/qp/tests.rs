//! Quoted-printable read back, and its layout, also when pieces are spliced.

use proptest::prelude::*;

use super::*;

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(text, &mut out);
    out
}

/// The text with CRLF as its only line end.
fn canonical(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0;
    for &byte in text {
        match byte {
            b'\n' if last == b'\r' => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            byte => out.push(byte),
        }
        last = byte;
    }
    out
}

fn assert_layout(coded: &[u8]) {
    for line in coded.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(line.len() <= 76, "{}", String::from_utf8_lossy(line));
        assert!(!line.ends_with(b" ") && !line.ends_with(b"\t"), "{}", String::from_utf8_lossy(line));
        assert!(line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
    }
}

#[test]
fn table() {
    for (text, coded) in [
        ("", ""),
        ("a=b", "a=3Db"),
        ("Grüße", "Gr=C3=BC=C3=9Fe"),
        ("a \r\nb\t\r\nc ", "a=20\r\nb=09\r\nc=20"),
        ("a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd"),
        ("a\n\n\r\r\n", "a\r\n\r\n\r\n\r\n"),
        ("a  b\tc", "a  b\tc"),
        (" \n", "=20\r\n"),
        ("\0\u{7f}", "=00=7F"),
    ] {
        assert_eq!(String::from_utf8(encoded(text.as_bytes())).unwrap(), coded, "{text:?}");
    }
    let long = encoded("x".repeat(160).as_bytes());
    assert_eq!(long, format!("{0}=\r\n{0}=\r\n{1}", "x".repeat(75), "x".repeat(10)).as_bytes());
    let long = encoded("ä".repeat(13).as_bytes());
    assert_eq!(long, format!("{}=C3=\r\n=A4", "=C3=A4".repeat(12)).as_bytes());
    for bad in [&b"="[..], b"a=4", b"a=ZZ", b"\xff", b"a\0"] {
        // One `=` at the very end is a soft break.
        assert_eq!(decode(bad).is_none(), bad != b"=", "{bad:?}");
    }
}

#[test]
fn scripts_and_emoji_read_back() {
    for text in ["Grüße", "Новости", "本周新闻", "ニュース", "소식", "أخبار", "חדשות", "समाचार", "Νέα", "ข่าว", "👩‍👩‍👧‍👦🇩🇪👍🏽"]
    {
        let text = format!("{text} {text}\r\n").repeat(20);
        let coded = encoded(text.as_bytes());
        assert_layout(&coded);
        assert_eq!(decode(&coded).unwrap(), text.as_bytes());
    }
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b' '), 1 => Just(b'\t'), 2 => Just(b'\r'), 2 => Just(b'\n'), 2 => Just(b'='), 20 => b'a'..=b'z', 4 => any::<u8>()];
    proptest::collection::vec(byte, 0..400)
}

proptest! {
    #[test]
    fn any_bytes_read_back_with_canonical_line_ends(text in texts()) {
        let coded = encoded(&text);
        assert_layout(&coded);
        prop_assert_eq!(decode(&coded).unwrap(), canonical(&text));
    }

    #[test]
    fn pieces_spliced_with_soft_breaks_read_as_one(pieces in proptest::collection::vec("[a-z =\\t\\näИ]{0,90}", 0..8)) {
        let mut out = Vec::new();
        for piece in &pieces {
            let mut own = Vec::new();
            let column = encode_segment(piece.as_bytes(), 0, &mut own);
            prop_assert_eq!(column, own.rsplit(|byte| *byte == b'\n').next().unwrap().len());
            out.extend_from_slice(&own);
            out.extend_from_slice(SOFT_BREAK);
        }
        assert_layout(&out);
        prop_assert_eq!(decode(&out).unwrap(), canonical(pieces.concat().as_bytes()));
    }

    #[test]
    fn pieces_spliced_by_column_read_as_one(pieces in proptest::collection::vec("[a-z =\\t\\näИ]{0,90}", 0..8)) {
        let mut out = Vec::new();
        let mut column = 0;
        for piece in &pieces {
            column = encode_segment(piece.as_bytes(), column, &mut out);
            prop_assert!(column <= 75);
        }
        assert_layout(&out);
        prop_assert_eq!(decode(&out).unwrap(), canonical(pieces.concat().as_bytes()));
    }

    #[test]
    fn noise_never_panics_the_reader(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&noise);
    }
}
