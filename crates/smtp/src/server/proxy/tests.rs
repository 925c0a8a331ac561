//! Good, odd and hostile headers, whole and in pieces.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

/// A header with this command, family and body.
fn made(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

fn tcp4() -> Vec<u8> {
    [&[192, 0, 2, 7, 127, 0, 0, 1][..], &4_711_u16.to_be_bytes(), &25_u16.to_be_bytes()].concat()
}

fn tcp6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().expect("literal");
    [&source.octets()[..], &[0; 16], &4_711_u16.to_be_bytes(), &25_u16.to_be_bytes()].concat()
}

/// What is read from these bytes, sent in pieces, and the rest of the stream.
async fn read(bytes: &[u8], size: usize) -> Result<(Option<SocketAddr>, Vec<u8>), ProxyError> {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let bytes = bytes.to_vec();
    let sender = tokio::spawn(async move {
        for piece in bytes.chunks(size) {
            if theirs.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let (source, mut stream) = read_proxy_header(Box::new(ours), Instant::now() + Duration::from_secs(5)).await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("the rest");
    sender.await.expect("sent");
    Ok((source, rest))
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("literal"))
}

#[tokio::test(start_paused = true)]
async fn headers_are_read_and_nothing_behind_them() {
    let extra = [&tcp4()[..], &[0x02, 0, 7], b"mx.test", &[0x04, 0x0f, 0x00], &vec![0; 3_840]].concat();
    for (header, source) in [
        (made(0x21, 0x11, &tcp4()), address("192.0.2.7:4711")),
        (made(0x21, 0x21, &tcp6("2001:db8::7")), address("[2001:db8::7]:4711")),
        (made(0x21, 0x21, &tcp6("::ffff:192.0.2.7")), address("192.0.2.7:4711")),
        (made(0x21, 0x11, &extra), address("192.0.2.7:4711")),
        (made(0x21, 0x00, b""), None),
        (made(0x21, 0x00, b"anything"), None),
        (made(0x20, 0x00, b""), None),
        (made(0x20, 0x11, &tcp4()), None),
        (made(0x20, 0xff, b"x"), None),
    ] {
        for size in [1, 5, 16, 28, 10_000] {
            let bytes = [&header[..], b"EHLO us.test\r\n"].concat();
            let (found, rest) = read(&bytes, size).await.expect("a header");
            assert_eq!(found, source);
            assert_eq!(rest, b"EHLO us.test\r\n", "by {size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_header_is_refused() {
    let mut long = made(0x21, 0x11, &tcp4());
    long[14..16].copy_from_slice(&4_097_u16.to_be_bytes());
    let mut cut = made(0x21, 0x11, &tcp4());
    cut.truncate(20);
    let mut odd = made(0x21, 0x11, &tcp4());
    odd[11] = b'\r';
    for (bytes, text) in [
        (b"EHLO us.test\r\n".to_vec(), "NoHeader"),
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n".to_vec(), "NoHeader"),
        (odd, "NoHeader"),
        (made(0x11, 0x11, &tcp4()), "Command(17)"),
        (made(0x22, 0x11, &tcp4()), "Command(34)"),
        (made(0x21, 0x12, &tcp4()), "Family(18)"),
        (made(0x21, 0x31, &[0; 216]), "Family(49)"),
        (made(0x21, 0x11, &tcp4()[..11]), "TooShort(11)"),
        (made(0x21, 0x21, &tcp4()), "TooShort(12)"),
        (long, "TooLong(4097)"),
        (cut, "Io("),
        (Vec::new(), "Io("),
    ] {
        for size in [1, 13, 10_000] {
            let error = read(&bytes, size).await.expect_err("no header");
            assert!(format!("{error:?}").starts_with(text), "{error:?} for {bytes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_must_come_in_time_and_something_else_is_not_waited_for() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(&SIGNATURE).await.expect("room");
    let began = Instant::now();
    let error = read_proxy_header(Box::new(ours), began + Duration::from_secs(5)).await.err();
    assert!(matches!(error, Some(ProxyError::TimedOut)));
    assert_eq!(began.elapsed().as_secs(), 5);

    let (ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(b"EH").await.expect("room");
    let began = Instant::now();
    let error = read_proxy_header(Box::new(ours), began + Duration::from_secs(5)).await.err();
    assert!(matches!(error, Some(ProxyError::NoHeader)));
    assert_eq!(began.elapsed(), Duration::ZERO);
}
