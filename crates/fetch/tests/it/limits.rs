//! Size and time are bounded, whatever the server does.

use std::time::Duration;

use postrider_fetch::{FetchError, FetchPolicy, FetchRequest, Fetcher};

use crate::server::{Answer, Server};

async fn fetch(answer: Answer) -> Result<Vec<u8>, FetchError> {
    let server = Server::start(answer).await;
    server.fetcher().fetch(FetchRequest::get(server.url("/"))).await.map(|answer| answer.body.to_vec())
}

fn bytes(head: &str, body: &[u8]) -> Answer {
    Answer::Bytes([head.as_bytes(), body].concat())
}

#[tokio::test]
async fn a_body_of_exactly_the_cap_passes() {
    let body = vec![b'a'; 10_000];
    let sized = fetch(bytes("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", &body)).await.expect("fits");
    assert_eq!(sized, body);
    let unsized_ = fetch(bytes("HTTP/1.0 200 OK\r\n\r\n", &body)).await.expect("fits");
    assert_eq!(unsized_, body);
    let chunk = [b"2710\r\n".as_slice(), &body, b"\r\n0\r\n\r\n"].concat();
    let chunked = fetch(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &chunk)).await.expect("fits");
    assert_eq!(chunked, body);
}

#[tokio::test]
async fn a_larger_body_is_refused_in_every_framing() {
    let body = vec![b'a'; 10_001];
    let chunk = [b"2711\r\n".as_slice(), &body, b"\r\n0\r\n\r\n"].concat();
    let table = [
        // Only announced: nothing of the body need ever come.
        bytes("HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n", b""),
        bytes("HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n", &body),
        bytes("HTTP/1.0 200 OK\r\n\r\n", &body),
        bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &chunk),
        Answer::Flood(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ];
    for answer in table {
        let error = fetch(answer).await.expect_err("too large");
        assert!(matches!(error, FetchError::TooLarge { max_bytes: 10_000 }), "{error}");
    }
}

#[tokio::test]
async fn slow_and_silent_servers_end_at_the_time_limit() {
    let pause = Duration::from_millis(20);
    let table = [
        Answer::Silence,
        Answer::Trickle(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), pause),
        Answer::Trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n".to_vec(), pause),
        Answer::Trickle(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), pause),
    ];
    for answer in table {
        let server = Server::start(answer).await;
        let policy = FetchPolicy { timeout: Duration::from_millis(300), ..server.policy() };
        let error = Fetcher::new(policy).fetch(FetchRequest::get(server.url("/"))).await.expect_err("late");
        assert!(matches!(error, FetchError::Timeout(_)), "{error}");
    }
}

#[tokio::test]
async fn an_endless_or_broken_head_is_an_error() {
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let table = [
        Answer::Flood(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
        bytes(&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), b""),
        bytes("220 smtp.example ESMTP\r\n", b""),
        bytes("", b""),
        bytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b""),
        // Cut off in the middle of the body.
        bytes("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"hello"),
    ];
    for (number, answer) in table.into_iter().enumerate() {
        let error = fetch(answer).await.expect_err("broken");
        assert!(matches!(error, FetchError::Http(_)), "{number}: {error}");
    }
}

/// Nothing is unpacked, so that a small body stays small whatever it holds (SEC-27).
#[tokio::test]
async fn a_compressed_body_stays_as_it_came() {
    // gzip of a megabyte of zeros would be a kilobyte; the first bytes of one are enough to see that nobody unpacks it.
    let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 1, 0x0d];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len());
    assert_eq!(fetch(bytes(&head, &packed)).await.expect("an answer"), packed);
}

#[tokio::test]
async fn nobody_listening_is_told_with_the_address() {
    let server = Server::start(Answer::Silence).await;
    let (policy, url) = (server.policy(), server.url("/secret-path"));
    drop(server);
    tokio::task::yield_now().await;
    let error = Fetcher::new(policy).fetch(FetchRequest::get(url)).await.expect_err("nobody");
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1") && !error.to_string().contains("secret-path"), "{error}");
}
