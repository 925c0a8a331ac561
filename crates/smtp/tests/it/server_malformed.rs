//! Clients out of control: ten thousand of them, and the same bytes cut in any way.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_smtp::server::{AuthOffer, SessionConfig, serve, serve_implicit_tls};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

use crate::server_rig::{Recorder, listener};

/// SplitMix64: the same sessions at each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).expect("small")
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most);
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// Commands, good and bad, that the client need not wait for.
const PIECES: [&[u8]; 40] = [
    b"MAIL FROM:<a@us.test>\r\n",
    b"MAIL FROM:<a@us.test>\r\n",
    b"RCPT TO:<b@mx.test>\r\n",
    b"RCPT TO:<b@mx.test>\r\n",
    b"RCPT TO:<no@mx.test>\r\n",
    b"RCPT TO:<nodot@mx.test>\r\n",
    b"RCPT TO:<nodata@mx.test>\r\n",
    b"MAIL FROM:<a@us.test> SIZE=99999999999\r\n",
    b"MAIL FROM:<> RET=HDRS ENVID=x SMTPUTF8 BODY=8BITMIME\r\n",
    b"RCPT TO:<c@mx.test> NOTIFY=SUCCESS ORCPT=rfc822;c@mx.test\r\n",
    b"RCPT TO:<.a@x.it>\r\n",
    b"MAIL FROM:a@us.test\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY b\r\n",
    b"HELP\r\n",
    b"EXPN b\r\n",
    b"BDAT 3\r\na\r\n",
    b"BDAT 3 LAST\r\na\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 6 LAST\r\nQUIT\r\n",
    b"BDAT 4\r\na\nb\n",
    b"BDAT 900000000000000000 LAST\r\n",
    b"BDAT 99999999 LAST\r\n",
    b"BDAT -1\r\n",
    b"BDAT\r\n",
    b"AUTH PLAIN AHJlbGF5AHNlY3JldA==\r\n",
    b"AUTH PLAIN AHJlbGF5AHdyb25n\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH PLAIN\r\n",
    b"cmVsYXk=\r\n",
    b"*\r\n",
    b"\r\n",
    b"\r\n.\r\n",
    b"Subject: x\r\n\r\n..\r\nbody\r\n.\r\n",
    b"GET / HTTP/1.1\r\nHost: mx.test\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"FOO BAR\r\n",
    b"NOOP \xff\xfe\r\n",
    b"MAIL FROM:<j\xc3\xb6rg@us.test>\r\n",
];

/// Commands whose reply the client must await.
const AWAITED: [&[u8]; 6] =
    [b"EHLO us.test\r\n", b"EHLO us.test\r\n", b"DATA\r\n", b"DATA\r\n", b"STARTTLS\r\n", b"HELO us.test\r\n"];

const ODD: [&[u8]; 12] =
    [b"\0", b"\r", b"\n", b"\r\n", b" ", b"\xff", b".", b"\r\n.\r\n", b"\t", b"<", b"\"", b"=\r\r\n"];

fn damaged(random: &mut Random, piece: &[u8]) -> Vec<u8> {
    let mut piece = piece.to_vec();
    for _ in 0..random.below(3) {
        let at = random.below(piece.len() + 1);
        match random.below(5) {
            0 if at < piece.len() => piece[at] = random.next().to_le_bytes()[0],
            1 if at < piece.len() => drop(piece.remove(at)),
            2 => piece.truncate(at),
            3 => {
                let odd = random.pick(&ODD).to_vec();
                piece.splice(at..at, odd);
            }
            _ => {
                let tail = piece[at..].to_vec();
                piece.extend(tail);
            }
        }
    }
    piece
}

/// A message as it should be, in its three or four segments.
fn good(random: &mut Random) -> Vec<Vec<u8>> {
    let envelope = &b"RSET\r\nMAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\n"[..];
    let text = b"Subject: x\r\n\r\n..\r\nbody\r\n.\r\n";
    let parts: &[&[u8]] = if random.one_in(2) {
        &[envelope, b"DATA\r\n", text]
    } else {
        &[envelope, b"BDAT 6\r\nbody\r\n", b"BDAT 3 LAST\r\n.\r\n"]
    };
    parts.iter().map(|part| part.to_vec()).collect()
}

fn segment(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0 => random.bytes(300),
        1 => vec![b'a'; random.below(30_000)],
        2 => random.pick(&PIECES).repeat(1 + random.below(60)),
        3..=6 => random.pick(&AWAITED).to_vec(),
        7 => [random.pick(&AWAITED), random.pick(&PIECES)].concat(),
        _ => {
            let count = 1 + random.below(4);
            (0..count)
                .flat_map(|_| {
                    let piece = random.pick(&PIECES);
                    damaged(random, piece)
                })
                .collect()
        }
    }
}

fn odd_listener(random: &mut Random) -> SessionConfig {
    let mut config = listener();
    let offer = &mut config.offer;
    offer.chunking = !random.one_in(4);
    offer.dsn = !random.one_in(4);
    offer.starttls = !random.one_in(4);
    offer.esmtp = !random.one_in(10);
    offer.size = if random.one_in(4) { Some(50) } else { Some(1 << 20) };
    offer.auth = match random.below(4) {
        0 => AuthOffer::Never,
        1 => AuthOffer::RequiredEvenInClear,
        2 => AuthOffer::RequiredUnderTls,
        _ => AuthOffer::OptionalUnderTls,
    };
    config.limits.errors = if random.one_in(2) { 1_000 } else { 10 };
    config.limits.recipients = if random.one_in(3) { 1 } else { 100 };
    config.limits.session = random.one_in(5).then(|| Duration::from_secs(400));
    config
}

/// The client's part: how long after its last byte it says nothing more.
async fn misbehave(random: &mut Random, mut output: tokio::io::WriteHalf<DuplexStream>) -> Option<impl Sized> {
    let mut said = vec![b"EHLO us.test\r\n".to_vec()];
    if random.one_in(2) {
        said.push(b"AUTH PLAIN AHJlbGF5AHNlY3JldA==\r\n".to_vec());
    }
    for _ in 0..random.below(20) {
        match random.below(3) {
            0 => said.extend(good(random)),
            _ => said.push(segment(random)),
        }
    }
    for segment in said {
        let pieces = if random.one_in(4) { 1 + random.below(9) } else { segment.len().max(1) };
        for piece in segment.chunks(pieces) {
            // A server that does not read any more, or is gone.
            match timeout(Duration::from_secs(120), output.write_all(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return None,
            }
            if random.one_in(8) {
                let wait = if random.one_in(30) { 100_000 } else { 50 };
                tokio::time::sleep(Duration::from_millis(random.below(wait) as u64)).await;
            }
        }
        if !random.one_in(12) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // Half of them hang up, the others stay and say nothing.
    if random.one_in(2) {
        let _ = output.shutdown().await;
        return None;
    }
    Some(output)
}

/// Another number for a longer run: MALFORMED_SESSIONS=5000000.
fn sessions() -> u64 {
    std::env::var("MALFORMED_SESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_malformed_sessions() {
    // Idle or one session, and what may still be under way then: the handshake, replies that nobody reads, last words.
    let longest = Duration::from_secs(400 + 60 + 2 * 60 + 10);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut kept = 0;
    for seed in 0..sessions() {
        let mut random = Random(seed);
        let config = odd_listener(&mut random);
        let implicit_tls = random.one_in(50);
        let (stream, theirs) = tokio::io::duplex(if random.one_in(4) { 64 } else { 16 * 1024 });
        let mut handler = Recorder::default();
        let record = handler.record.clone();
        let session = tokio::spawn(async move {
            if implicit_tls {
                serve_implicit_tls(Box::new(theirs), &config, &mut handler).await
            } else {
                serve(Box::new(theirs), &config, &mut handler).await
            }
        });
        let (mut input, output) = tokio::io::split(stream);
        // One in ten never reads a reply.
        let reads = !random.one_in(10);
        let reader = tokio::spawn(async move {
            if reads {
                let _ = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
            }
            // Kept, so that the stream stays whole as long as the client lives.
            std::future::pending::<()>().await;
            drop(input);
        });
        let held = misbehave(&mut random, output).await;
        let began = Instant::now();
        let ended = match timeout(longest, session).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => panic!("session {seed}: {error}"),
            Err(_) => panic!("session {seed} is still there {:?} after the last byte", began.elapsed()),
        };
        drop(held);
        reader.abort();
        *ends.entry(format!("{ended:?}")).or_default() += 1;
        let record = record.lock().expect("no panic");
        assert_eq!(record.wrong, Vec::<String>::new(), "session {seed}");
        assert_eq!(record.opened, record.resets, "session {seed} left a transaction open");
        kept += record.kept.len();
    }
    println!("{ends:?}, {kept} messages");
    // Not all of them fell at the first hurdle.
    assert!(kept > 500 && ends.len() >= 5);
}

/// What a client says before it waits for replies again.
fn groups() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = || {
        prop_oneof![8 => prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (0_usize..14_000).prop_map(|count| vec![b'x'; count])]
    };
    let awaited = prop::option::weighted(0.6, prop::sample::select(&AWAITED[..4]));
    let group = (prop::collection::vec(piece(), 0..6), awaited)
        .prop_map(|(pieces, awaited)| [pieces.concat(), awaited.unwrap_or_default().to_vec()].concat());
    prop::collection::vec(group, 1..8)
}

/// All replies to the groups, each sent in pieces of these sizes, and what was kept.
async fn replies(groups: &[Vec<u8>], sizes: &[usize]) -> (String, Vec<(String, Vec<u8>)>) {
    let mut config = listener();
    config.offer.size = Some(20_000);
    config.offer.auth = AuthOffer::RequiredEvenInClear;
    let (stream, theirs) = tokio::io::duplex(1 << 20);
    let mut handler = Recorder::default();
    let record = handler.record.clone();
    let session = tokio::spawn(async move { serve(Box::new(theirs), &config, &mut handler).await });
    let (mut input, mut output) = tokio::io::split(stream);
    let reader = tokio::spawn(async move {
        let mut heard = Vec::new();
        let _ = input.read_to_end(&mut heard).await;
        String::from_utf8_lossy(&heard).into_owned()
    });
    let login = [b"EHLO us.test\r\n".to_vec(), b"AUTH PLAIN AHJlbGF5AHNlY3JldA==\r\n".to_vec()];
    for group in login.iter().chain(groups) {
        let (mut rest, mut sizes) = (&group[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(rest.len().min(size));
            let _ = output.write_all(now).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            rest = later;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _ = output.shutdown().await;
    session.await.expect("no panic");
    let heard = reader.await.expect("no panic");
    let record = record.lock().expect("no panic");
    assert!(record.wrong.is_empty() && record.opened == record.resets, "{record:?}");
    (heard, record.kept.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// However the network cuts the bytes, the replies and the kept messages are the same.
    #[test]
    fn cuts_change_nothing(groups in groups(), sizes in prop::collection::vec(1_usize..700, 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let whole = replies(&groups, &[usize::MAX]).await;
            let cut = replies(&groups, &sizes).await;
            prop_assert_eq!(whole, cut);
            Ok(())
        })?;
    }
}
