//! Replies as servers write them, whole, cut anywhere, and broken.

use proptest::prelude::*;

use super::super::EnhancedStatus;
use super::*;

fn read_one(bytes: &[u8]) -> Result<Option<Reply>, ReplyError> {
    let mut parser = ReplyParser::new();
    parser.feed(bytes);
    parser.next_reply()
}

/// Every reply in `bytes`, fed in pieces of `size`.
fn read_all(bytes: &[u8], size: usize) -> Result<Vec<Reply>, ReplyError> {
    let mut parser = ReplyParser::new();
    let mut replies = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        parser.feed(piece);
        while let Some(reply) = parser.next_reply()? {
            replies.push(reply);
        }
    }
    Ok(replies)
}

#[test]
fn replies_of_real_servers() {
    for (bytes, code, enhanced, text, shown) in [
        (&b"220 mx.example.org ESMTP\r\n"[..], 220, None, "mx.example.org ESMTP", "220 mx.example.org ESMTP"),
        (b"250\r\n", 250, None, "", "250"),
        (b"250 \r\n", 250, None, "", "250"),
        (b"250 2.1.0 Ok\r\n", 250, Some((2, 1, 0)), "Ok", "250 2.1.0 Ok"),
        (b"250 2.0.0\r\n", 250, Some((2, 0, 0)), "", "250 2.0.0"),
        (
            b"550-5.1.1 The email account that you tried to reach does not exist.\r\n550 5.1.1  See the help\r\n",
            550,
            Some((5, 1, 1)),
            "The email account that you tried to reach does not exist. See the help",
            "550 5.1.1 The email account that you tried to reach does not exist. See the help",
        ),
        (
            b"250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 1000\r\n",
            250,
            None,
            "mx.example.org PIPELINING SIZE 1000",
            "250 mx.example.org PIPELINING SIZE 1000",
        ),
        (b"452 4.2.2 full\n", 452, Some((4, 2, 2)), "full", "452 4.2.2 full"),
        (b"550 5.7.1\ta\x07b\rc\r\n", 550, Some((5, 7, 1)), "a\u{fffd}b\u{fffd}c", "550 5.7.1 a\u{fffd}b\u{fffd}c"),
        (b"550 b\xfcro\r\n", 550, None, "b\u{fffd}ro", "550 b\u{fffd}ro"),
        (b"550 5.1 no status\r\n", 550, None, "5.1 no status", "550 5.1 no status"),
        (b"354 go on\r\n", 354, None, "go on", "354 go on"),
    ] {
        let reply = read_one(bytes).unwrap().unwrap();
        assert_eq!(reply.code, code);
        assert_eq!(reply.enhanced, enhanced.map(|(a, b, c)| EnhancedStatus::new(a, b, c)));
        assert_eq!(reply.text(), text);
        assert_eq!(reply.to_string(), shown);
        assert_eq!(
            (reply.is_positive(), reply.is_intermediate(), reply.is_transient(), reply.is_permanent()),
            (code / 100 == 2, code / 100 == 3, code / 100 == 4, code / 100 == 5),
        );
    }
}

#[test]
fn broken_replies() {
    let long = [b"250 ".to_vec(), vec![b'a'; LINE_MAX], b"\r\n".to_vec()].concat();
    let many = b"250-x\r\n".repeat(65);
    let big = [b"250-".to_vec(), vec![b'a'; 1_000], b"\r\n".to_vec()].concat().repeat(17);
    for (bytes, error) in [
        (&b"hello\r\n"[..], ReplyError::NoCode),
        (b"\r\n", ReplyError::NoCode),
        (b"25\r\n", ReplyError::NoCode),
        (b"150 x\r\n", ReplyError::NoCode),
        (b"650 x\r\n", ReplyError::NoCode),
        (b"2500 x\r\n", ReplyError::NoCode),
        (b"250x\r\n", ReplyError::NoCode),
        (b"250-a\r\n550 b\r\n", ReplyError::MixedCodes),
        (b"250-a\r\nb\r\n", ReplyError::NoCode),
        (&long, ReplyError::LineTooLong),
        (&many, ReplyError::TooManyLines),
        (&big, ReplyError::TooLong),
    ] {
        assert_eq!(read_one(bytes), Err(error), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
    // A line without end stops before memory does.
    let mut parser = ReplyParser::new();
    parser.feed(&[b'2'; LINE_MAX + 1]);
    assert_eq!(parser.next_reply(), Ok(None));
    parser.feed(b"22");
    assert_eq!(parser.next_reply(), Err(ReplyError::LineTooLong));
}

#[test]
fn the_largest_allowed_reply_is_read() {
    let line = [b"250-".to_vec(), vec![b'a'; LINE_MAX - 4], b"\r\n".to_vec()].concat();
    let last = [b"250 ".to_vec(), vec![b'a'; LINE_MAX - 4], b"\r\n".to_vec()].concat();
    assert_eq!(read_one(&[line, last].concat()).unwrap().unwrap().lines.len(), 2);
    let many = [b"250-x\r\n".repeat(63), b"250 x\r\n".to_vec()].concat();
    assert_eq!(read_one(&many).unwrap().unwrap().lines.len(), 64);
}

#[test]
fn pipelined_replies_come_in_order_and_leftovers_show() {
    let mut parser = ReplyParser::new();
    parser.feed(b"250 a\r\n354 b\r\n25");
    assert_eq!(parser.next_reply().unwrap().unwrap().text(), "a");
    assert!(parser.has_leftover());
    assert_eq!(parser.next_reply().unwrap().unwrap().text(), "b");
    assert_eq!(parser.next_reply(), Ok(None));
    assert!(parser.has_leftover());
    parser.feed(b"0 c\r\n");
    assert_eq!(parser.next_reply().unwrap().unwrap().text(), "c");
    assert!(!parser.has_leftover());
    parser.feed(b"220 injected\r\n");
    parser.clear();
    assert!(!parser.has_leftover());
    assert_eq!(parser.next_reply(), Ok(None));
}

#[test]
fn written_replies_are_short_clean_and_read_back() {
    let status = EnhancedStatus::new(5, 1, 1);
    let reply = Reply { code: 550, enhanced: Some(status), lines: vec!["No such\r\nmailbox".into(), "ä".repeat(400)] };
    let wire = reply.wire();
    let lines: Vec<&[u8]> = wire.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines[0], "550-5.1.1 No such\u{fffd}\u{fffd}mailbox\r\n".as_bytes());
    assert!(lines.iter().all(|line| line.len() <= 512 && line.ends_with(b"\r\n")));
    let again = read_one(&wire).unwrap().unwrap();
    assert_eq!((again.code, again.enhanced, again.lines.len()), (550, Some(status), 2));
    assert_eq!(Reply { code: 250, enhanced: None, lines: vec![] }.wire(), b"250 \r\n");
}

#[test]
fn enhanced_statuses() {
    for (text, status) in [
        ("2.0.0", Some((2, 0, 0))),
        ("5.7.509", Some((5, 7, 509))),
        ("4.999.999", Some((4, 999, 999))),
        ("3.0.0", None),
        ("5.1", None),
        ("5.1.1.1", None),
        ("5.1000.1", None),
        ("5.+1.1", None),
        ("5..1", None),
        ("", None),
    ] {
        let parsed = EnhancedStatus::parse(text);
        assert_eq!(parsed, status.map(|(a, b, c)| EnhancedStatus::new(a, b, c)), "{text}");
        if let Some(parsed) = parsed {
            assert_eq!(parsed.to_string(), text);
        }
    }
}

proptest! {
    #[test]
    fn where_the_stream_is_cut_does_not_matter(
        replies in proptest::collection::vec((200u16..600, proptest::collection::vec("[ -~]{0,60}", 1..4)), 1..5),
        size in 1usize..40,
    ) {
        let sent: Vec<u8> = replies
            .iter()
            .flat_map(|(code, lines)| Reply { code: *code, enhanced: None, lines: lines.clone() }.wire())
            .collect();
        let whole = read_all(&sent, sent.len()).unwrap();
        prop_assert_eq!(whole.len(), replies.len());
        prop_assert!(whole.iter().zip(&replies).all(|(read, (code, lines))| read.code == *code && read.lines.len() == lines.len()));
        prop_assert_eq!(read_all(&sent, size).unwrap(), whole);
    }

    #[test]
    fn noise_never_panics_and_text_is_clean(
        bytes in proptest::collection::vec(prop_oneof![4 => Just(b'2'), 2 => Just(b'5'), 1 => Just(b'-'), 1 => Just(b' '), 2 => Just(b'\r'), 2 => Just(b'\n'), 3 => any::<u8>()], 0..300),
        size in 1usize..20,
    ) {
        let cut = read_all(&bytes, size);
        prop_assert_eq!(&cut, &read_all(&bytes, bytes.len()));
        for reply in cut.unwrap_or_default() {
            prop_assert!(!crate::header::has_control(&reply.text()));
        }
    }

    #[test]
    fn real_codes_with_noise_after_them(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let line = [b"550 5.1.1 ".as_slice(), &noise, b"\r\n"].concat();
        if let Ok(Some(reply)) = read_one(&line) {
            prop_assert_eq!(reply.code, 550);
            prop_assert!(!crate::header::has_control(&reply.to_string()));
        }
    }
}
