//! The server session, talked to line by line.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;
use postrider_smtp::server::{Answer, AuthOffer, Ended, Flow, Handler, Recipient, SessionConfig, serve};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// Recipients and bytes of each message.
type Kept = Arc<Mutex<Vec<(Vec<String>, Vec<u8>)>>>;

/// Keeps messages; refuses `no@`.
#[derive(Default)]
struct Mailroom {
    open: Vec<u8>,
    to: Vec<String>,
    kept: Kept,
}

impl Handler for Mailroom {
    async fn login(&mut self, account: &str, password: &str) -> Answer {
        if (account, password) == ("relay", "secret") {
            Answer::line("235 2.7.0 Welcome")
        } else {
            Answer::line("535 5.7.8 No")
        }
    }

    async fn mail(&mut self, _reverse_path: Option<Mailbox>, _params: MailParams) -> Answer {
        Answer::line("250 2.1.0 Ok")
    }

    async fn rcpt(&mut self, recipient: Recipient, _params: RcptParams) -> Answer {
        let to = match recipient {
            Recipient::Mailbox(mailbox) => mailbox.wire(),
            Recipient::Postmaster => "postmaster".to_owned(),
        };
        if to.starts_with("no@") {
            return Answer::line("550 5.1.1 No");
        }
        let slow = to.starts_with("slow@");
        self.to.push(to);
        let ok = Answer::line("250 2.1.5 Ok");
        if slow { ok.after(Duration::from_secs(7)) } else { ok }
    }

    fn chunk(&mut self, bytes: &[u8]) -> Flow {
        self.open.extend_from_slice(bytes);
        Flow::Continue
    }

    async fn message(&mut self, _size: u64) -> Answer {
        let kept = (std::mem::take(&mut self.to), std::mem::take(&mut self.open));
        self.kept.lock().expect("nobody panicked").push(kept);
        Answer::line("250 2.0.0 Kept")
    }

    fn reset(&mut self) {
        self.open.clear();
        self.to.clear();
    }
}

struct Client {
    stream: DuplexStream,
    session: JoinHandle<Ended>,
    kept: Kept,
}

impl Client {
    fn new(change: impl FnOnce(&mut SessionConfig)) -> Self {
        let mut config = SessionConfig::new("mx.test");
        change(&mut config);
        let (stream, theirs) = tokio::io::duplex(1 << 20);
        let mut handler = Mailroom::default();
        let kept = Arc::clone(&handler.kept);
        let session = tokio::spawn(async move { serve(Box::new(theirs), &config, &mut handler).await });
        Self { stream, session, kept }
    }

    async fn greeted() -> Self {
        let mut client = Self::new(|_| {});
        assert!(client.hear().await.starts_with("220 "));
        assert!(client.ask("EHLO us.test").await.starts_with("250-mx.test\r\n"));
        client
    }

    /// All that the server says until it waits for input (with the clock paused, sleeping ends only then).
    async fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        let mut room = [0; 4096];
        loop {
            match tokio::time::timeout(Duration::from_millis(200), self.stream.read(&mut room)).await {
                Ok(Ok(count)) if count > 0 => heard.extend_from_slice(&room[..count]),
                Ok(_) | Err(_) => return String::from_utf8(heard).expect("text"),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.hear().await
    }

    async fn ended(self) -> Ended {
        drop(self.stream);
        self.session.await.expect("the session ends")
    }
}

fn codes(heard: &str) -> Vec<&str> {
    heard.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_whole_pipelined_session() {
    let mut client = Client::greeted().await;
    let heard = client.ask("MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\nRCPT TO:<no@mx.test>\r\nDATA").await;
    assert_eq!(codes(&heard), ["250", "250", "550", "354"]);
    // The dot and the next group in one segment (RFC 2920 3.1).
    let heard = client
        .ask("Subject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nRSET\r\nNOOP\r\nVRFY b")
        .await;
    assert_eq!(codes(&heard), ["250", "250", "250", "250", "250", "252"]);
    assert_eq!(codes(&client.ask("QUIT").await), ["221"]);
    let kept = client.kept.lock().expect("nobody panicked").clone();
    assert_eq!(kept, [(vec!["b@mx.test".to_owned()], b"Subject: x\r\n\r\n.dot\r\n".to_vec())]);
    assert_eq!(client.ended().await, Ended::Quit);
}

#[tokio::test(start_paused = true)]
async fn commands_out_of_order() {
    let mut client = Client::new(|_| {});
    client.hear().await;
    assert_eq!(codes(&client.ask("MAIL FROM:<a@us.test>").await), ["503"]);
    client.ask("EHLO us.test").await;
    assert_eq!(codes(&client.ask("RCPT TO:<b@mx.test>").await), ["503"]);
    assert_eq!(codes(&client.ask("DATA").await), ["503"]);
    assert_eq!(codes(&client.ask("MAIL FROM:<a@us.test>").await), ["250"]);
    assert_eq!(codes(&client.ask("MAIL FROM:<a@us.test>").await), ["503"]);
    assert_eq!(codes(&client.ask("DATA").await), ["554"]);
    assert_eq!(codes(&client.ask("STARTTLS").await), ["502"]);
    assert_eq!(codes(&client.ask("AUTH PLAIN AGEAYg==").await), ["502"]);
    assert_eq!(codes(&client.ask("BDAT 5").await), ["502"]);
    // EHLO resets the transaction.
    client.ask("EHLO us.test").await;
    assert_eq!(codes(&client.ask("MAIL FROM:<a@us.test>").await), ["250"]);
}

#[tokio::test(start_paused = true)]
async fn too_many_errors_and_lines_without_end() {
    let mut client = Client::greeted().await;
    for _ in 0..9 {
        assert_eq!(codes(&client.ask("NONSENSE").await), ["500"]);
    }
    assert_eq!(codes(&client.ask("NONSENSE").await), ["500", "421"]);
    assert_eq!(client.ended().await, Ended::Closed);

    let mut client = Client::greeted().await;
    client.send(&vec![b'a'; 200_000]).await;
    assert_eq!(codes(&client.hear().await), ["500"]);
    assert_eq!(client.ended().await, Ended::Closed);
}

#[tokio::test(start_paused = true)]
async fn bare_line_ends_are_never_line_ends() {
    for line in ["NOOP\nMAIL FROM:<a@b.test>\r\n", "NOOP\rNOOP\r\n", "NOOP\0\r\n"] {
        let mut client = Client::greeted().await;
        client.send(line.as_bytes()).await;
        let heard = client.hear().await;
        assert_eq!(codes(&heard), ["500"], "{line:?}: {heard}");
        assert_eq!(client.ended().await, Ended::Closed);
    }
    for smuggled in ["a\r\n.\nMAIL FROM:<x@y.test>\r\n.\r\n", "a\n.\n\r\n.\r\n", "a\r\n.\r.\r\n", "a\r.\r\n.\r\n"] {
        let mut client = Client::greeted().await;
        client.ask("MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\nDATA").await;
        client.send(smuggled.as_bytes()).await;
        let heard = client.hear().await;
        assert!(heard.starts_with("550 5.6.0"), "{smuggled:?}: {heard}");
        assert_eq!(codes(&heard).len(), 1, "nothing behind it is read as a command");
        assert!(client.kept.lock().expect("nobody panicked").is_empty());
        assert_eq!(client.ended().await, Ended::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_a_point_of_synchronisation() {
    let mut client = Client::greeted().await;
    assert_eq!(codes(&client.ask("EHLO us.test\r\nNOOP").await), ["503"]);
    assert_eq!(client.ended().await, Ended::Closed);

    let mut client = Client::greeted().await;
    client.ask("MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>").await;
    assert_eq!(codes(&client.ask("DATA\r\nSubject: too early").await), ["503"]);
    assert_eq!(client.ended().await, Ended::Closed);

    let mut client = Client::new(|config| config.offer.starttls = true);
    client.hear().await;
    client.ask("EHLO us.test").await;
    let heard = client.ask("STARTTLS\r\nEHLO x").await;
    assert_eq!(codes(&heard), ["503"], "SEC-4");
    assert_eq!(client.ended().await, Ended::Closed);
}

#[tokio::test(start_paused = true)]
async fn sizes_are_refused_twice() {
    let mut client = Client::new(|config| config.offer.size = Some(1_000));
    client.hear().await;
    assert!(client.ask("EHLO us.test").await.contains("SIZE 1000"));
    assert_eq!(codes(&client.ask("MAIL FROM:<a@us.test> SIZE=1001").await), ["552"]);
    client.ask("MAIL FROM:<a@us.test> SIZE=10\r\nRCPT TO:<b@mx.test>\r\nDATA").await;
    let body = "a".repeat(70) + "\r\n";
    client.send(body.repeat(20).as_bytes()).await;
    assert_eq!(codes(&client.ask(".").await), ["552"]);
    assert!(client.kept.lock().expect("nobody panicked").is_empty());
    assert_eq!(codes(&client.ask("MAIL FROM:<a@us.test>").await), ["250"], "and the session goes on");
}

#[tokio::test(start_paused = true)]
async fn replies_before_a_delay_do_not_wait_for_it() {
    let mut client = Client::greeted().await;
    client.send(b"MAIL FROM:<a@us.test>\r\nRCPT TO:<slow@mx.test>\r\n").await;
    assert_eq!(codes(&client.hear().await), ["250"]);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(codes(&client.hear().await), ["250"]);
}

#[tokio::test(start_paused = true)]
async fn silent_and_slow_clients_are_let_go() {
    let mut client = Client::greeted().await;
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(client.hear().await, "");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(client.hear().await.starts_with("421 4.4.2"));
    assert_eq!(client.ended().await, Ended::TimedOut);

    // A byte now and then does not stretch the wait for a line.
    let mut client = Client::greeted().await;
    for _ in 0..4 {
        client.send(b"N").await;
        tokio::time::sleep(Duration::from_secs(80)).await;
    }
    assert!(client.hear().await.starts_with("421 4.4.2"));

    // Nor the wait for a message.
    let mut client = Client::greeted().await;
    client.ask("MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\nDATA").await;
    for _ in 0..30 {
        client.send(b"a\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(client.hear().await.starts_with("421 4.4.2"));
    assert_eq!(client.ended().await, Ended::Closed);
}

#[tokio::test(start_paused = true)]
async fn logins() {
    let client = || async {
        let mut client = Client::new(|config| config.offer.auth = AuthOffer::RequiredEvenInClear);
        client.hear().await;
        assert!(client.ask("EHLO us.test").await.contains("AUTH PLAIN LOGIN"));
        client
    };
    let mut plain = client().await;
    assert_eq!(codes(&plain.ask("MAIL FROM:<a@us.test>").await), ["530"]);
    assert_eq!(codes(&plain.ask("AUTH PLAIN AHJlbGF5AHdyb25n").await), ["535"]);
    assert_eq!(codes(&plain.ask("AUTH PLAIN").await), ["334"]);
    assert_eq!(codes(&plain.ask("AHJlbGF5AHNlY3JldA==").await), ["235"]);
    assert_eq!(codes(&plain.ask("AUTH PLAIN AHJlbGF5AHNlY3JldA==").await), ["503"]);
    assert_eq!(codes(&plain.ask("MAIL FROM:<a@us.test>").await), ["250"]);

    let mut login = client().await;
    assert_eq!(login.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(login.ask("cmVsYXk=").await, "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(codes(&login.ask("c2VjcmV0").await), ["235"]);

    let mut odd = client().await;
    assert_eq!(codes(&odd.ask("AUTH CRAM-MD5").await), ["504"]);
    assert_eq!(codes(&odd.ask("AUTH LOGIN").await), ["334"]);
    assert_eq!(codes(&odd.ask("*").await), ["501"]);
    assert_eq!(codes(&odd.ask("AUTH PLAIN AAA").await), ["501"]);
    // Offered under TLS only: not in clear.
    let mut clear = Client::new(|config| config.offer.auth = AuthOffer::RequiredUnderTls);
    clear.hear().await;
    assert!(!clear.ask("EHLO us.test").await.contains("AUTH"));
    assert_eq!(codes(&clear.ask("AUTH PLAIN AHJlbGF5AHNlY3JldA==").await), ["538"]);
}

/// A session's worth of commands, a message with dots in awkward places among them.
const WHOLE: &[u8] = b"MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\nRCPT TO:<no@mx.test>\r\nNOOP\r\n";
const MESSAGE: &[u8] = b"Subject: x\r\n\r\n..\r\n..a\r\nb.\r\n\r\n.\r\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// However the network cuts the bytes, the replies and the kept message are the same.
    #[test]
    fn cuts_change_nothing(cuts in proptest::collection::vec(1_usize..20, 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (heard, kept) = runtime.expect("a runtime").block_on(async {
            let mut client = Client::greeted().await;
            let mut heard = String::new();
            for part in [WHOLE, b"DATA\r\n", MESSAGE, b"QUIT\r\n"] {
                let mut rest = part;
                let mut cuts = cuts.iter().cycle();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(*cuts.next().expect("a cycle")));
                    client.send(now).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    rest = later;
                }
                heard.push_str(&client.hear().await);
            }
            let kept = client.kept.lock().expect("nobody panicked").clone();
            (heard, kept)
        });
        prop_assert_eq!(codes(&heard), ["250", "250", "550", "250", "354", "250", "221"]);
        prop_assert_eq!(kept, [(vec!["b@mx.test".to_owned()], b"Subject: x\r\n\r\n.\r\n.a\r\nb.\r\n\r\n".to_vec())]);
    }

    /// Any bytes at all: every reply is well formed, and the session ends within its limits.
    #[test]
    fn noise_is_answered_in_order(noise in proptest::collection::vec(
        prop_oneof![
            3 => proptest::collection::vec(any::<u8>(), 0..40),
            1 => Just(b"\r\n".to_vec()),
            1 => Just(b"DATA\r\n".to_vec()),
            1 => Just(b"MAIL FROM:<a@b.test>\r\n".to_vec()),
            1 => Just(b"RCPT TO:<a@b.test>\r\n".to_vec()),
            1 => Just(b"\r\n.\r\n".to_vec()),
            1 => Just(b"AUTH LOGIN\r\n".to_vec()),
            1 => Just(b"STARTTLS\r\n".to_vec()),
            1 => Just(b"EHLO x\r\n".to_vec()),
        ], 0..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let heard = runtime.expect("a runtime").block_on(async {
            let mut client = Client::greeted().await;
            for piece in noise {
                client.send(&piece).await;
            }
            let heard = client.hear().await;
            client.ended().await;
            heard
        });
        for line in heard.lines() {
            let bytes = line.as_bytes();
            prop_assert!(bytes.len() >= 4 && bytes[..3].iter().all(u8::is_ascii_digit), "{line:?}");
            prop_assert!(matches!(bytes[3], b' ' | b'-'), "{line:?}");
        }
    }
}
