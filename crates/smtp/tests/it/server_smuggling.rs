//! Everything that somebody somewhere took for the end of a message (CVE-2023-51764 and its kin), cut in three ways,
//! by DATA and by BDAT: never two messages out of one.

use std::time::Duration;

use postrider_smtp::server::{Ended, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server_rig::{Record, Recorder, listener};

/// What may stand before and behind the dot. Vertical tab, form feed, NEL and LINE SEPARATOR are line ends to some
/// programs, and text to us.
const ENDS: [&str; 20] = [
    "\r\n", "\n", "\r", "\r\r\n", "\r\r", "\n\n", "\n\r", "\r\n\r", "\r\n\n", "\0\r\n", "\r\0\n", "\r\n\0", "\0\n",
    "\n\0", "\0", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "",
];

/// What a smuggler hides behind the dot.
const HIDDEN: &str = "MAIL FROM:<x@us.test>\r\nRCPT TO:<b@mx.test>\r\nDATA\r\nhidden\r\n.\r\n";

/// Sends the envelope, then the parts in pieces, then hangs up; the replies and what the handler was told.
async fn talk(parts: &[&[u8]], size: usize) -> (String, Ended, Record) {
    let config = listener();
    let (stream, theirs) = tokio::io::duplex(64 * 1024);
    let mut handler = Recorder::default();
    let record = handler.record.clone();
    let session = tokio::spawn(async move { serve(Box::new(theirs), &config, &mut handler).await });
    let (mut input, mut output) = tokio::io::split(stream);
    let reader = tokio::spawn(async move {
        let mut heard = Vec::new();
        let _ = input.read_to_end(&mut heard).await;
        String::from_utf8(heard).expect("text")
    });
    output.write_all(b"EHLO us.test\r\n").await.expect("room");
    tokio::time::sleep(Duration::from_millis(1)).await;
    output.write_all(b"MAIL FROM:<a@us.test>\r\nRCPT TO:<b@mx.test>\r\n").await.expect("room");
    tokio::time::sleep(Duration::from_millis(1)).await;
    for part in parts {
        for piece in part.chunks(size) {
            let _ = output.write_all(piece).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    output.shutdown().await.expect("closed");
    let ended = session.await.expect("no panic");
    let heard = reader.await.expect("no panic");
    let record = std::mem::take(&mut *record.lock().expect("no panic"));
    (heard, ended, record)
}

/// Whether DATA may carry it: no NUL, and each CR and LF is half of a CRLF.
fn clean(text: &str) -> bool {
    !text.replace("\r\n", "").contains(['\r', '\n', '\0'])
}

#[tokio::test(start_paused = true)]
async fn no_variant_of_the_end_makes_two_messages() {
    let (mut refused, mut whole) = (0, 0);
    for before in ENDS {
        for behind in ENDS {
            if (before, behind) == ("\r\n", "\r\n") {
                continue; // the true end, and then commands
            }
            // The true end, and then something that is no command.
            let true_end = before == "\r\n" && behind.starts_with("\r\n");
            let text = format!("a{before}.{behind}{HIDDEN}");
            for size in [10_000, 1, 3] {
                let at = format!("{before:?}.{behind:?} by {size}");
                let (heard, ended, record) = talk(&[b"DATA\r\n", text.as_bytes()], size).await;
                assert_eq!(record.wrong, Vec::<String>::new(), "{at}");
                assert_eq!(record.opened, 1, "no hidden MAIL was read, {at}: {heard}");
                if true_end {
                    assert_eq!(record.kept.len(), 1, "{at}: {heard}");
                    assert_eq!((&record.kept[0].1[..], ended), (&b"a\r\n"[..], Ended::Closed), "{at}: {heard}");
                } else if clean(&text) {
                    whole += 1;
                    assert_eq!(record.kept.len(), 1, "all of it is one message, {at}: {heard}");
                    assert!(record.kept[0].1.ends_with(b"hidden\r\n"), "{at}");
                } else {
                    refused += 1;
                    assert!(record.kept.is_empty() && heard.contains("\r\n550 5.6.0 "), "{at}: {heard}");
                    assert_eq!(ended, Ended::Closed, "{at}");
                    assert_eq!(heard.lines().last().map(|line| &line[..3]), Some("550"), "{at}: {heard}");
                }
            }
        }
    }
    println!("{refused} refused, {whole} one message");
    assert!(refused > 900 && whole > 30);
}

#[tokio::test(start_paused = true)]
async fn in_chunks_too() {
    for before in ENDS {
        for behind in ENDS {
            let text = format!("a{before}.{behind}{HIDDEN}");
            // As one chunk, and as two with the border behind the dot.
            let (head, tail) = text.split_at(1 + before.len() + 1);
            let one = format!("BDAT {} LAST\r\n{text}", text.len());
            let two = format!("BDAT {}\r\n{head}BDAT {} LAST\r\n{tail}", head.len(), tail.len());
            for bytes in [one, two] {
                for size in [10_000, 1, 3] {
                    let at = format!("{before:?}.{behind:?} by {size}");
                    let (heard, ended, record) = talk(&[bytes.as_bytes(), b"NOOP\r\n"], size).await;
                    assert_eq!(record.wrong, Vec::<String>::new(), "{at}");
                    assert_eq!(record.opened, 1, "no hidden MAIL was read, {at}: {heard}");
                    assert_eq!(record.kept.len(), usize::from(clean(&text)), "{at}: {heard}");
                    assert!(heard.ends_with("\r\n250 2.0.0 Ok\r\n"), "exactly the octets were read, {at}: {heard}");
                    assert_eq!(ended, Ended::PeerClosed, "{at}");
                }
            }
        }
    }
}
