//! How a session begins to end from outside: dropped, drained, or while the handler takes its time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;
use postrider_smtp::server::proxy::read_proxy_header;
use postrider_smtp::server::{
    Answer, Ended, Flow, Handler, Hello, Recipient, SessionConfig, serve, serve_implicit_tls,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::server_rig::{listener, tls};

/// What a [`Slow`] handler was told.
#[derive(Debug, Default)]
struct Told {
    open: AtomicU32,
    words: Mutex<Vec<String>>,
}

impl Told {
    fn note(&self, word: impl Into<String>) {
        self.words.lock().expect("no panic").push(word.into());
    }
}

/// Accepts everything, and takes its time for a message.
struct Slow {
    told: Arc<Told>,
    message: Duration,
}

impl Handler for Slow {
    async fn hello(&mut self, client: &str, verb: Hello) -> Option<Answer> {
        self.told.note(format!("{verb:?} {client}"));
        None
    }

    fn secured(&mut self, version: &str, cipher: &str) {
        assert!(version.starts_with("TLS") && cipher.starts_with("TLS"), "{version} {cipher}");
        self.told.note("secured");
    }

    async fn mail(&mut self, _reverse_path: Option<Mailbox>, _params: MailParams) -> Answer {
        self.told.open.fetch_add(1, Ordering::SeqCst);
        // The client may be gone when this is over.
        Answer::line("250 2.1.0 Ok").after(Duration::from_millis(1))
    }

    async fn rcpt(&mut self, _recipient: Recipient, _params: RcptParams) -> Answer {
        Answer::line("250 2.1.5 Ok")
    }

    fn chunk(&mut self, _bytes: &[u8]) -> Flow {
        Flow::Continue
    }

    async fn message(&mut self, _size: u64) -> Answer {
        tokio::time::sleep(self.message).await;
        self.told.note("kept");
        Answer::line("250 2.0.0 Kept")
    }

    fn reset(&mut self) {
        self.told.open.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Visit {
    stream: DuplexStream,
    session: JoinHandle<Ended>,
    told: Arc<Told>,
}

fn visit(config: SessionConfig, message: Duration) -> Visit {
    let (stream, theirs) = tokio::io::duplex(64 * 1024);
    let told = Arc::<Told>::default();
    let mut handler = Slow { told: Arc::clone(&told), message };
    let session = tokio::spawn(async move { serve(Box::new(theirs), &config, &mut handler).await });
    Visit { stream, session, told }
}

impl Visit {
    async fn ask(&mut self, bytes: &str) -> String {
        self.stream.write_all(bytes.as_bytes()).await.expect("room");
        self.hear().await
    }

    async fn hear(&mut self) -> String {
        let (mut room, mut heard) = ([0; 1_024], Vec::new());
        while let Ok(Ok(count @ 1..)) =
            tokio::time::timeout(Duration::from_millis(100), self.stream.read(&mut room)).await
        {
            heard.extend_from_slice(&room[..count]);
        }
        String::from_utf8(heard).expect("text")
    }

    fn open(&self) -> u32 {
        self.told.open.load(Ordering::SeqCst)
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\n";

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_leaves_no_transaction_open() {
    for last in ["", "DATA\r\n", "BDAT 3\r\na\r\n", "BDAT 9\r\na\r\n", "BDAT 3 LAST\r\na\r\n"] {
        let mut visit = visit(listener(), Duration::from_secs(60));
        visit.ask("EHLO us.test\r\n").await;
        visit.ask(ENVELOPE).await;
        visit.ask(last).await;
        assert_eq!(visit.open(), 1, "{last:?}");
        visit.session.abort();
        assert!((&mut visit.session).await.is_err_and(|error| error.is_cancelled()), "{last:?}");
        assert_eq!(visit.open(), 0, "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_before_the_reply_to_mail_leaves_none_either() {
    let mut visit = visit(listener(), Duration::ZERO);
    visit.ask("EHLO us.test\r\n").await;
    visit.stream.write_all(b"MAIL FROM:<a@us.test>\r\n").await.expect("room");
    drop(visit.stream);
    assert_eq!(visit.session.await.expect("no panic"), Ended::PeerClosed);
    assert_eq!(visit.told.open.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_being_kept_is_never_cut_off() {
    let (sender, receiver) = watch::channel(false);
    let mut config = listener();
    config.drain = Some(receiver);
    config.limits.grace = Duration::from_secs(10);
    config.limits.session = Some(Duration::from_secs(100));
    let mut visit = visit(config, Duration::from_secs(1_000));
    visit.ask("EHLO us.test\r\n").await;
    visit.ask(ENVELOPE).await;
    visit.ask("DATA\r\n").await;
    visit.stream.write_all(b"x\r\n.\r\n").await.expect("room");
    tokio::time::sleep(Duration::from_secs(1)).await;
    sender.send(true).expect("a listener");
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(visit.hear().await, "250 2.0.0 Kept\r\n421 4.3.2 Reconfiguration in progress\r\n");
    drop(visit.stream);
    assert_eq!(visit.session.await.expect("no panic"), Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_is_gone_drains_nothing() {
    let (sender, receiver) = watch::channel(false);
    let mut config = listener();
    config.drain = Some(receiver);
    let mut visit = visit(config, Duration::ZERO);
    visit.ask("EHLO us.test\r\n").await;
    drop(sender);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(visit.ask("NOOP\r\n").await, "250 2.0.0 Ok\r\n");
    // And the idle time is what it was.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(visit.hear().await.starts_with("421 4.4.2 "));
}

/// A socket that is closed over unread bytes is reset, and the reply in flight with it.
#[tokio::test(start_paused = true)]
async fn who_is_closed_may_still_send_for_a_moment() {
    let mut visit = visit(listener(), Duration::ZERO);
    visit.ask("EHLO us.test\r\n").await;
    let heard = visit.ask("NOOP\nNOOP\r\n").await;
    assert!(heard.starts_with("500 5.5.2 "), "{heard}");
    assert!(!visit.session.is_finished());
    visit.stream.write_all(&[b'a'; 10_000]).await.expect("somebody still reads");
    let began = Instant::now();
    assert_eq!(visit.session.await.expect("no panic"), Ended::Closed);
    assert!(began.elapsed() <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn behind_a_proxy_and_tls_the_session_is_the_same() {
    let (stream, theirs) = tokio::io::duplex(64 * 1024);
    let told = Arc::<Told>::default();
    let mut handler = Slow { told: Arc::clone(&told), message: Duration::ZERO };
    let session = tokio::spawn(async move {
        let deadline = Instant::now() + Duration::from_secs(5);
        let (source, stream) = read_proxy_header(Box::new(theirs), deadline).await.expect("a header");
        assert_eq!(source, Some("192.0.2.7:4711".parse().expect("literal")));
        serve_implicit_tls(stream, &listener(), &mut handler).await
    });
    let mut stream = stream;
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x12\x67\x01\xd1";
    stream.write_all(header).await.expect("room");
    let client = &tls().1;
    let mut stream = client.connector.connect(client.name.clone(), stream).await.expect("a handshake");
    stream.write_all(b"NOOP\r\n").await.expect("room");
    let mut heard = Vec::new();
    while !heard.ends_with(b"250 2.0.0 Ok\r\n") {
        assert!(stream.read_buf(&mut heard).await.expect("a reply") > 0);
    }
    stream.write_all(b"EHLO us.test\r\n").await.expect("room");
    while !heard.ends_with(b"250 SIZE 36700160\r\n") {
        assert!(stream.read_buf(&mut heard).await.expect("a reply") > 0);
    }
    stream.write_all(b"HELO us.test\r\n").await.expect("room");
    while !heard.ends_with(b"250 mx.test\r\n") {
        assert!(stream.read_buf(&mut heard).await.expect("a reply") > 0);
    }
    stream.write_all(b"QUIT\r\n").await.expect("room");
    assert_eq!(session.await.expect("no panic"), Ended::Quit);
    assert_eq!(*told.words.lock().expect("no panic"), ["secured", "Ehlo us.test", "Helo us.test"]);
}
