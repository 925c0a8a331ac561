//! Random peers: whatever they say, break off or leave out, the client's verdict agrees with what the peer has.

use std::time::Duration;

use postrider_smtp::{Connection, Failure};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::rig::{MESSAGE, envelope, params, tls};

/// What the peer does at one step.
#[derive(Debug, Clone)]
enum Act {
    Say(&'static str),
    Close,
    Hang,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Say("250 ok\r\n")),
        3 => Just(Act::Say("354 go\r\n")),
        1 => Just(Act::Say("250-a\r\n250 b\r\n")),
        1 => Just(Act::Say("450 later\r\n")),
        1 => Just(Act::Say("550 5.1.1 no\r\n")),
        1 => Just(Act::Say("421 bye\r\n")),
        1 => Just(Act::Say("250-a\r\n550 b\r\n")),
        1 => Just(Act::Say("nonsense\r\n")),
        1 => Just(Act::Say("250 ok\r\n250 twice\r\n")),
        1 => Just(Act::Say("25")),
        1 => Just(Act::Close),
        1 => Just(Act::Hang),
    ]
}

/// What the peer knows at the end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Knows {
    /// A whole message with its dot came while a recipient was accepted.
    whole: u32,
    /// ... and the peer said 2yz to it.
    took: u32,
}

/// Reads lines and answers each with the next act. Keeps track of SMTP only as far as the check needs.
async fn peer(mut stream: DuplexStream, acts: Vec<Act>, pipelining: bool) -> Knows {
    let mut knows = Knows::default();
    let hello = if pipelining { "250-mx\r\n250 PIPELINING\r\n" } else { "250 mx\r\n" };
    let mut buffer = Vec::new();
    let mut acts = acts.into_iter();
    let (mut in_message, mut recipient) = (false, false);
    if stream.write_all(b"220 mx\r\n").await.is_err() {
        return knows;
    }
    loop {
        let line = loop {
            if let Some(at) = buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = buffer.drain(..at + 2).collect();
                break String::from_utf8_lossy(&line[..at]).into_owned();
            }
            let mut room = [0; 256];
            match stream.read(&mut room).await {
                Ok(count) if count > 0 => buffer.extend_from_slice(&room[..count]),
                _ => return knows,
            }
        };
        if in_message && line != "." {
            continue;
        }
        let dot = in_message;
        in_message = false;
        if dot && recipient {
            knows.whole += 1;
        }
        if line.starts_with("EHLO") {
            let _ = stream.write_all(hello.as_bytes()).await;
            continue;
        }
        match acts.next() {
            Some(Act::Say(text)) => {
                if dot && recipient && text.starts_with('2') {
                    knows.took += 1;
                }
                if dot || line.starts_with("RSET") {
                    recipient = false;
                }
                if line.starts_with("RCPT") {
                    recipient = text.starts_with('2');
                }
                if line == "DATA" && text.starts_with('3') {
                    in_message = true;
                }
                let _ = stream.write_all(text.as_bytes()).await;
            }
            Some(Act::Hang) => tokio::time::sleep(Duration::from_secs(100_000)).await,
            Some(Act::Close) | None => return knows,
        }
    }
}

/// What the client said of its messages.
#[derive(Debug, Default)]
struct Verdicts {
    accepted: u32,
    in_doubt: u32,
    refused_at_dot: u32,
    trouble: Option<String>,
}

impl Verdicts {
    fn note(&mut self, failure: &Failure, connection: &Connection) {
        self.in_doubt += u32::from(failure.in_doubt());
        self.refused_at_dot += u32::from(failure.dot_sent && !failure.in_doubt());
        if failure.connection_usable != connection.is_usable() {
            self.trouble = Some(format!("{failure:?} does not agree with the connection's state"));
        }
        if failure.in_doubt() && failure.connection_usable {
            self.trouble = Some(format!("{failure:?} is in doubt and would be used again"));
        }
    }
}

fn play(acts: Vec<Act>, pipelining: bool) -> (Verdicts, Knows, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = tokio::spawn(peer(theirs, acts, pipelining));
        let begun = tokio::time::Instant::now();
        let mut verdicts = Verdicts::default();
        let mut connection =
            Connection::open(Box::new(ours), &params(), &tls()).await.expect("the greeting is always fine");
        for _ in 0..3 {
            if !connection.is_usable() {
                break;
            }
            let result = match connection.begin(&envelope()).await {
                Ok(()) => connection.finish(MESSAGE).await.map(drop),
                Err(failure) => Err(failure),
            };
            match result {
                Ok(()) => verdicts.accepted += 1,
                Err(failure) => verdicts.note(&failure, &connection),
            }
        }
        let took = begun.elapsed();
        connection.quit().await;
        (verdicts, peer.await.expect("the peer ends"), took)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn no_message_is_lost_or_doubled_in_silence(
        acts in proptest::collection::vec(act(), 0..16),
        pipelining in any::<bool>(),
    ) {
        let (verdicts, knows, took) = play(acts, pipelining);
        prop_assert_eq!(&verdicts.trouble, &None);
        // What the peer has is at most what the client says that it has or may have.
        prop_assert!(knows.whole <= verdicts.accepted + verdicts.in_doubt + verdicts.refused_at_dot,
            "the peer has a message that the client thinks unsent");
        // What the client calls accepted, the peer took ...
        prop_assert!(verdicts.accepted <= knows.took, "{:?} {:?}", verdicts, knows);
        // ... and nobody waits longer than the timeouts of one message.
        prop_assert!(took < Duration::from_secs(30 * 5), "stuck for {:?}", took);
    }
}
