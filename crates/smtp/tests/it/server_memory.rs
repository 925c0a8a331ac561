//! What a session costs while it waits, and that it gives back what a message took.

use std::time::Duration;

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;
use postrider_smtp::server::{Answer, Flow, Handler, Recipient, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::server_rig::{listener, tls};

/// Accepts everything and keeps nothing.
struct Sink;

impl Handler for Sink {
    async fn mail(&mut self, _reverse_path: Option<Mailbox>, _params: MailParams) -> Answer {
        Answer::line("250 2.1.0 Ok")
    }

    async fn rcpt(&mut self, _recipient: Recipient, _params: RcptParams) -> Answer {
        Answer::line("250 2.1.5 Ok")
    }

    fn chunk(&mut self, _bytes: &[u8]) -> Flow {
        Flow::Continue
    }

    async fn message(&mut self, _size: u64) -> Answer {
        Answer::line("250 2.0.0 Kept")
    }

    fn reset(&mut self) {}
}

/// Bytes of this process in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: u64 = statm.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("pages");
    pages * 4_096
}

/// Reads until the stream has said nothing for a moment of the test's clock.
async fn hear(stream: &mut DuplexStream) -> usize {
    let (mut room, mut heard) = ([0; 1_024], 0);
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut room)).await {
        heard += count;
    }
    heard
}

/// A session on the other end of this stream. The pipe itself keeps little: it is not what is measured.
fn open() -> DuplexStream {
    let (stream, theirs) = tokio::io::duplex(4 * 1024);
    tokio::spawn(async move { serve(Box::new(theirs), &listener(), &mut Sink).await });
    stream
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_idle_session_costs_little_before_and_after_a_message() {
    const SESSIONS: u64 = 2_000;
    let message = [&b"x".repeat(70)[..], b"\r\n"].concat().repeat(3_000);
    // Once through, so that what is made once is not counted.
    let mut first = open();
    hear(&mut first).await;
    let before = resident();
    let mut streams: Vec<DuplexStream> = Vec::new();
    for _ in 0..SESSIONS {
        streams.push(open());
    }
    for stream in &mut streams {
        assert!(hear(stream).await > 0, "a greeting");
        stream.write_all(b"EHLO us.test\r\n").await.expect("room");
        assert!(hear(stream).await > 0, "an offer");
    }
    let fresh = (resident() - before) / SESSIONS;
    println!("{fresh} bytes a session after EHLO, the client's end of the pipe included");
    assert!(fresh < 32 * 1024, "{fresh} bytes");

    for stream in &mut streams {
        stream.write_all(b"MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\n").await.expect("room");
        hear(stream).await;
        let (mut input, mut output) = tokio::io::split(stream);
        let mut room = [0; 64];
        let sent = async {
            output.write_all(&message).await.expect("taken");
            output.write_all(b".\r\n").await.expect("taken");
        };
        let (count, ()) = tokio::join!(input.read(&mut room), sent);
        assert_eq!(&room[..count.expect("a reply")], b"250 2.0.0 Kept\r\n");
    }
    // The buffers go once the session has been quiet for a moment.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = (resident() - before) / SESSIONS;
    println!("{after} bytes a session after a message of {} bytes", message.len());
    assert!(after < 32 * 1024, "{after} bytes");
}

/// 2,000 idle sessions under TLS have to fit into some 100 MB.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn an_idle_session_under_tls() {
    const SESSIONS: u64 = 200;
    let handshake = || async {
        let (stream, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            postrider_smtp::server::serve_implicit_tls(Box::new(theirs), &listener(), &mut Sink).await
        });
        let client = &tls().1;
        let mut stream = client.connector.connect(client.name.clone(), stream).await.expect("a handshake");
        let mut room = [0; 256];
        let heard = stream.read(&mut room).await.expect("a greeting");
        assert!(room[..heard].starts_with(b"220 "));
        stream
    };
    let first = handshake().await;
    let before = resident();
    let mut streams = Vec::new();
    for _ in 0..SESSIONS {
        streams.push(handshake().await);
    }
    let each = (resident() - before) / SESSIONS;
    println!("{each} bytes a session under TLS, both ends");
    assert!(each < 96 * 1024, "{each} bytes");
    drop((first, streams));
}

/// The buffers themselves, without what the allocator adds.
#[tokio::test(start_paused = true)]
async fn the_state_of_a_session_is_small() {
    let (_stream, theirs) = tokio::io::duplex(64);
    let (config, mut handler) = (listener(), Sink);
    let session = serve(Box::new(theirs), &config, &mut handler);
    let size = std::mem::size_of_val(&session);
    println!("{size} bytes of state a session");
    assert!(size < 8 * 1024, "{size} bytes");
}
