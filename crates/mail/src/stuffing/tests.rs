//! Stuffing and unstuffing undo each other wherever the stream is cut, and smuggling is refused.

use proptest::prelude::*;

use super::*;

fn stuffed(message: &[u8]) -> Result<Vec<u8>, StuffError> {
    let mut out = Vec::new();
    stuff(message, &mut out).map(|()| out)
}

/// The message and how much of the input it used, fed in pieces of `size`.
fn unstuffed(wire: &[u8], size: usize) -> Result<Option<(Vec<u8>, usize)>, StuffError> {
    let mut unstuffer = Unstuffer::new();
    let mut out = Vec::new();
    let mut used = 0;
    for piece in wire.chunks(size.max(1)) {
        let fed = unstuffer.feed(piece, &mut out)?;
        used += fed.consumed;
        if fed.done {
            return Ok(Some((out, used)));
        }
        assert_eq!(fed.consumed, piece.len(), "nothing is left over before the final dot");
    }
    Ok(None)
}

#[test]
fn table() {
    for (message, wire) in [
        (&b""[..], &b".\r\n"[..]),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a.\r\n.b\r\n.\r\n.\r\n", b"a.\r\n..b\r\n..\r\n..\r\n.\r\n"),
        (b"\r\n", b"\r\n.\r\n"),
        (b"\r\n\r\n.", b"\r\n\r\n..\r\n.\r\n"),
    ] {
        assert_eq!(stuffed(message).unwrap(), wire, "{:?}", String::from_utf8_lossy(message));
    }
}

#[test]
fn what_would_change_on_the_way_is_refused() {
    let mut long = vec![b'a'; 998];
    assert!(stuffed(&long).is_ok());
    long.push(b'a');
    let long_inside = [b"x\r\n".to_vec(), vec![b'a'; 999], b"\r\n".to_vec()].concat();
    for (message, error) in [
        (&b"a\nb"[..], StuffError::BareLf { line: 1 }),
        (b"a\r\nb\n", StuffError::BareLf { line: 2 }),
        (b"\n.\r\n", StuffError::BareLf { line: 1 }),
        (b"a\rb", StuffError::BareCr { line: 1 }),
        (b"a\r\n\r", StuffError::BareCr { line: 2 }),
        (b"a\r\r\n", StuffError::BareCr { line: 1 }),
        ("ä".as_bytes(), StuffError::EightBit),
        (&long, StuffError::LineTooLong { line: 1 }),
        (&long_inside, StuffError::LineTooLong { line: 2 }),
    ] {
        let mut out = b"before".to_vec();
        assert_eq!(stuff(message, &mut out), Err(error));
        assert_eq!(out, b"before");
    }
    let mut out = Vec::new();
    stuff_eight_bit("ä".as_bytes(), &mut out).unwrap();
    assert_eq!(out, "ä\r\n.\r\n".as_bytes());
}

#[test]
fn smuggled_ends_are_refused_wherever_they_are_cut() {
    for (wire, error) in [
        (&b"a\n.\r\nMAIL"[..], StuffError::BareLf { line: 1 }),
        (b"a\r\n.\nMAIL", StuffError::BareLf { line: 2 }),
        (b"a\r\n.\rMAIL", StuffError::BareCr { line: 2 }),
        (b"a\r.\r\nMAIL", StuffError::BareCr { line: 1 }),
        (b"a\r.\rMAIL", StuffError::BareCr { line: 1 }),
        (b"a\n.\nMAIL", StuffError::BareLf { line: 1 }),
        (b"a\r\r\n.\r\n", StuffError::BareCr { line: 1 }),
        (b".\r\r\n", StuffError::BareCr { line: 1 }),
    ] {
        for size in 1..=wire.len() {
            assert_eq!(unstuffed(wire, size), Err(error), "{:?} by {size}", String::from_utf8_lossy(wire));
        }
    }
    let endless = vec![b'a'; 5_000];
    assert_eq!(unstuffed(&endless, 7), Err(StuffError::LineTooLong { line: 1 }));
}

#[test]
fn what_follows_the_dot_is_left_alone() {
    for size in 1..20 {
        assert_eq!(unstuffed(b"..a\r\n.\r\nQUIT\r\n", size), Ok(Some((b".a\r\n".to_vec(), 8))));
    }
    let mut unstuffer = Unstuffer::new();
    let mut out = Vec::new();
    assert_eq!(unstuffer.feed(b".\r\nQUIT\r\n", &mut out), Ok(Fed { consumed: 3, done: true }));
    assert_eq!(unstuffer.feed(b"QUIT\r\n", &mut out), Ok(Fed { consumed: 0, done: true }));
    assert!(out.is_empty());
    assert_eq!(unstuffed(b"a\r\n.", 1), Ok(None));
}

#[test]
fn the_longest_line_passes_also_with_its_stuffed_dot() {
    let message = [b".".to_vec(), vec![b'a'; 997], b"\r\n".to_vec()].concat();
    let wire = stuffed(&message).unwrap();
    for size in [1, 2, 500, 999, 1_000, 2_000] {
        assert_eq!(unstuffed(&wire, size), Ok(Some((message.clone(), wire.len()))));
    }
}

/// Any bytes, with every line end made CRLF, as submission does before (RF-3).
fn normalised(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = 0;
    for &byte in bytes {
        match byte {
            b'\r' => out.extend_from_slice(b"\r\n"),
            b'\n' if last == b'\r' => {}
            b'\n' => out.extend_from_slice(b"\r\n"),
            byte => out.push(byte),
        }
        last = byte;
    }
    out
}

fn dotty() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'.'), 2 => Just(b'\r'), 2 => Just(b'\n'), 1 => any::<u8>(), 1 => Just(b'a')];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn unstuffing_undoes_stuffing_for_any_bytes(bytes in dotty(), size in 1usize..50) {
        let message = normalised(&bytes);
        let mut wire = Vec::new();
        stuff_eight_bit(&message, &mut wire).unwrap();
        // CRLF.CRLF stands at the end and nowhere else.
        prop_assert!(wire == b".\r\n" || wire.ends_with(b"\r\n.\r\n"));
        prop_assert_eq!(memmem::find_iter(&wire, b"\r\n.\r\n").count(), usize::from(wire != b".\r\n"));
        prop_assert!(!wire[..wire.len() - 3].starts_with(b".\r\n"));
        let mut expected = message.clone();
        if !message.is_empty() && !message.ends_with(b"\r\n") {
            expected.extend_from_slice(b"\r\n");
        }
        let used = wire.len();
        wire.extend_from_slice(b"QUIT\r\n");
        prop_assert_eq!(unstuffed(&wire, size), Ok(Some((expected, used))));
    }

    #[test]
    fn only_crlf_and_seven_bits_ever_pass(bytes in dotty()) {
        let clean = normalised(&bytes) == bytes && bytes.is_ascii();
        prop_assert_eq!(stuffed(&bytes).is_ok(), clean);
    }

    #[test]
    fn noise_is_read_the_same_wherever_it_is_cut(bytes in dotty(), size in 1usize..20) {
        prop_assert_eq!(unstuffed(&bytes, size), unstuffed(&bytes, bytes.len()));
    }
}
