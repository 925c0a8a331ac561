//! Transactions: every reply and every break at every step, with and without pipelining.

use std::time::Duration;

use postrider_mail::Stage;
use postrider_smtp::testing::scripted_with_capacity;
use postrider_smtp::{Connection, FailureKind};

use crate::rig::{LOCK_STEP, MESSAGE, PIPELINING, envelope, group, mailbox, open, params, tls};

fn code(kind: &FailureKind) -> u16 {
    match kind {
        FailureKind::Refused(reply) => reply.code,
        _ => 0,
    }
}

#[tokio::test]
async fn two_messages_and_quit_with_pipelining() {
    let script = format!(
        "{PIPELINING}{}C: a\nC:\nC: .\nS: 250 2.0.0 kept as 1\n{}C: a\nC:\nC: .\nS: 250 kept\nC: QUIT\nS: 221 bye",
        group("250 ok", "250 ok", "354 go"),
        group("250-ok\nS: 250 ok", "251 forwards", "354-go\nS: 354 on"),
    );
    let (mut connection, peer) = open(&script).await;
    for n in 1..=2 {
        connection.begin(&envelope()).await.expect("354");
        assert_eq!(connection.finish(MESSAGE).await.expect("kept").code, 250);
        assert_eq!(connection.accepted(), n);
    }
    connection.quit().await;
    peer.finish().await.expect("followed");
}

#[tokio::test]
async fn a_message_in_lock_step_waits_for_each_reply() {
    // The pipe's script reads the next line only after its reply went out; a client that pipelined would pass this
    // too, so the server session's tests look at the order in time.
    let script = format!(
        "{LOCK_STEP}
        C: MAIL FROM:<from@us.test>
        S: 250 ok
        C: RCPT TO:<to@mx.test>
        S: 250 ok
        C: DATA
        S: 354 go
        C*
        S: 250 kept"
    );
    let (mut connection, peer) = open(&script).await;
    connection.begin(&envelope()).await.expect("354");
    connection.finish(MESSAGE).await.expect("kept");
    connection.abandon();
    peer.finish().await.expect("followed");
}

#[tokio::test]
async fn lock_step_sends_nothing_after_a_refusal() {
    for (replies, stage, wanted) in [
        ("C: MAIL FROM:<from@us.test>\nS: 550 no", Stage::Mail, 550),
        ("C: MAIL FROM:<from@us.test>\nS: 250 ok\nC: RCPT TO:<to@mx.test>\nS: 450 no", Stage::Rcpt, 450),
        (
            "C: MAIL FROM:<from@us.test>\nS: 250 ok\nC: RCPT TO:<to@mx.test>\nS: 250 ok\nC: DATA\nS: 554 no",
            Stage::Data,
            554,
        ),
    ] {
        let next = "C: RSET\nS: 250 ok\nC: MAIL FROM:<from@us.test>\nS: 250\nC: RCPT TO:<to@mx.test>\nS: 250 ok\nC: DATA\nS: 354 go";
        let (mut connection, peer) = open(&format!("{LOCK_STEP}{replies}\n{next}")).await;
        let failure = connection.begin(&envelope()).await.expect_err("refused");
        assert_eq!((failure.stage, code(&failure.kind)), (stage, wanted));
        assert!(failure.connection_usable && connection.is_usable());
        connection.begin(&envelope()).await.expect("the next one, after RSET");
        connection.abandon();
        peer.finish().await.expect("followed");
    }
}

#[tokio::test]
async fn every_refusal_in_a_group_is_read_to_its_end() {
    let reset = "C: RSET\nS: 250 ok";
    for (mail, rcpt, data, stage, wanted) in [
        ("550 no", "503 mail first", "503 mail first", Stage::Mail, 550),
        ("451 later", "503 mail first", "554 no recipients", Stage::Mail, 451),
        ("250 ok", "550-no\nS: 550 5.1.1 really", "554 no recipients", Stage::Rcpt, 550),
        ("250 ok", "452 full", "503 no", Stage::Rcpt, 452),
        ("250 ok", "599 odd", "503 no", Stage::Rcpt, 599),
        ("250 ok", "250 ok", "451 later", Stage::Data, 451),
        ("250 ok", "252 maybe", "554 no", Stage::Data, 554),
    ] {
        let script = format!(
            "{PIPELINING}{}{reset}{}C*\nS: 250 kept",
            group(mail, rcpt, data),
            // RSET travels in the next group, and its reply comes first.
            group("250 ok", "250 ok", "354 go"),
        );
        let (mut connection, peer) = open(&script).await;
        let failure = connection.begin(&envelope()).await.expect_err("refused");
        assert_eq!((failure.stage, code(&failure.kind)), (stage, wanted), "{mail} {rcpt} {data}");
        assert!(failure.connection_usable && !failure.dot_sent && !failure.in_doubt());
        connection.begin(&envelope()).await.expect("the next one");
        connection.finish(MESSAGE).await.expect("kept");
        connection.abandon();
        peer.finish().await.expect("followed");
    }
}

#[tokio::test]
async fn a_go_ahead_without_recipient_gets_a_lone_dot() {
    for (mail, rcpt, dot, usable) in [
        ("250 ok", "550 no", "554 no recipients", true),
        ("250 ok", "450 no", "250 took nothing", true),
        ("550 no", "503 no", "503 no", true),
        ("550 no", "250 odd", "", false),
        ("250 ok", "550 no", "421 bye", false),
        ("250 ok", "550 no", "354 again", false),
    ] {
        let ends = if dot.is_empty() { String::new() } else { format!("C: .\nS: {dot}") };
        let script = format!("{PIPELINING}{}{ends}", group(mail, rcpt, "354 go"));
        let (mut connection, peer) = open(&script).await;
        let failure = connection.begin(&envelope()).await.expect_err("failed");
        assert!(matches!(failure.kind, FailureKind::Refused(_)));
        assert_eq!(failure.stage, if mail.starts_with('2') { Stage::Rcpt } else { Stage::Mail });
        assert_eq!((failure.connection_usable, connection.is_usable()), (usable, usable), "{dot}");
        assert!(!failure.dot_sent, "an empty message without a recipient is no message of ours");
        connection.abandon();
        peer.finish().await.expect("followed");
    }
}

#[tokio::test]
async fn a_421_anywhere_closes() {
    let at = |mail: &str, rcpt: &str, data: &str| group(mail, rcpt, data);
    for (script, stage) in [
        (at("421 bye", "421 bye", "421 bye"), Stage::Mail),
        (at("250 ok", "421 bye", "421 bye"), Stage::Rcpt),
        (at("250 ok", "250 ok", "421 bye"), Stage::Data),
    ] {
        for pipelining in [true, false] {
            let (mut connection, _peer) = if pipelining {
                open(&format!("{PIPELINING}{script}close")).await
            } else {
                let size_less = script.replace(" SIZE=5", "");
                let mut lines: Vec<&str> = size_less.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                // C C C S S S becomes C S C S C S
                let replies = lines.split_off(3);
                let woven: Vec<String> =
                    lines.iter().zip(&replies).map(|(command, reply)| format!("{command}\n{reply}")).collect();
                open(&format!("{LOCK_STEP}{}\nclose", woven.join("\n"))).await
            };
            let failure = connection.begin(&envelope()).await.expect_err("421");
            assert_eq!((failure.stage, code(&failure.kind)), (stage, 421), "pipelining {pipelining}");
            assert!(!failure.connection_usable && !connection.is_usable() && !failure.in_doubt());
        }
    }
    let script = format!("{PIPELINING}{}C*\nS: 421 bye", group("250 ok", "250 ok", "354 go"));
    let (mut connection, _peer) = open(&script).await;
    connection.begin(&envelope()).await.expect("354");
    let failure = connection.finish(MESSAGE).await.expect_err("421");
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Dot, 421));
    assert!(failure.dot_sent && !failure.in_doubt(), "the peer said that it did not take it");
    assert!(!failure.connection_usable && !connection.is_usable());
}

#[tokio::test]
async fn a_421_beside_an_earlier_refusal_keeps_the_refusal() {
    let script = format!("{PIPELINING}{}close", group("250 ok", "550 5.1.1 unknown", "421 too many errors"));
    let (mut connection, _peer) = open(&script).await;
    let failure = connection.begin(&envelope()).await.expect_err("refused");
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Rcpt, 550));
    assert!(!failure.connection_usable && !connection.is_usable());
}

#[tokio::test]
async fn refusals_of_the_dot() {
    for (reply, wanted) in [("550 5.7.1 spam", 550), ("451-later\nS: 451 really", 451), ("552 too large", 552)] {
        let ok = group("250 ok", "250 ok", "354 go");
        let script = format!("{PIPELINING}{ok}C*\nS: {reply}\n{ok}C*\nS: 250 kept");
        let (mut connection, peer) = open(&script).await;
        connection.begin(&envelope()).await.expect("354");
        let failure = connection.finish(MESSAGE).await.expect_err("refused");
        assert_eq!((failure.stage, code(&failure.kind)), (Stage::Dot, wanted));
        assert!(failure.dot_sent && !failure.in_doubt() && failure.connection_usable);
        connection.begin(&envelope()).await.expect("the next one, without RSET: the transaction had ended");
        connection.finish(MESSAGE).await.expect("kept");
        connection.abandon();
        peer.finish().await.expect("followed");
    }
}

#[tokio::test]
async fn broken_replies_close_and_after_the_dot_they_leave_a_doubt() {
    for (mail, rcpt, data) in [
        ("354 what", "250 ok", "354 go"),
        ("250-ok\nS: 550 no", "250 ok", "354 go"),
        ("250 ok", "hello", "354 go"),
        ("250 ok", "250 ok", "250 ok"),
    ] {
        let (mut connection, _peer) = open(&format!("{PIPELINING}{}hang", group(mail, rcpt, data))).await;
        let failure = connection.begin(&envelope()).await.expect_err("broken");
        assert!(matches!(failure.kind, FailureKind::Protocol(_)), "{failure}");
        assert!(!failure.connection_usable && !connection.is_usable() && !failure.in_doubt());
    }
    for reply in ["hello", "250-kept\nS: 550 or not", "354 more", "999 odd"] {
        let script = format!("{PIPELINING}{}C*\nS: {reply}", group("250 ok", "250 ok", "354 go"));
        let (mut connection, _peer) = open(&script).await;
        connection.begin(&envelope()).await.expect("354");
        let failure = connection.finish(MESSAGE).await.expect_err("broken");
        assert!(matches!(failure.kind, FailureKind::Protocol(_)), "{failure}");
        assert!(failure.in_doubt() && !failure.connection_usable);
    }
}

#[tokio::test]
async fn a_reply_too_many_is_noticed_before_it_answers_the_dot() {
    for (mail, rcpt, data) in
        [("250 ok\nS: 250 again", "354 odd", "250 ok"), ("250 ok", "250 ok", "354 go\nS: 250 kept what?")]
    {
        let (mut connection, _peer) = open(&format!("{PIPELINING}{}hang", group(mail, rcpt, data))).await;
        let failure = connection.begin(&envelope()).await.expect_err("too many");
        assert!(matches!(failure.kind, FailureKind::Protocol(_)) && !failure.connection_usable, "{failure}");
    }
    let script = format!("{LOCK_STEP}C~ MAIL\nS: 250 ok\nS: 250 again\nclose");
    let (mut connection, _peer) = open(&script).await;
    let failure = connection.begin(&envelope()).await.expect_err("too many");
    assert!(matches!(failure.kind, FailureKind::Protocol(_)) && !failure.connection_usable, "{failure}");
    // One that says why it goes is heard.
    let script = format!("{PIPELINING}{}close", group("250 ok", "250 ok", "354 go\nS: 421 bye"));
    let (mut connection, _peer) = open(&script).await;
    assert_eq!(code(&connection.begin(&envelope()).await.expect_err("421").kind), 421);
}

#[tokio::test]
async fn drops_at_each_step() {
    let commands = "C~ MAIL\nC~ RCPT\nC: DATA\n";
    for (script, stage) in [
        (format!("{commands}close"), Stage::Mail),
        (format!("{commands}S: 250 ok\nclose"), Stage::Rcpt),
        (format!("{commands}S: 250 ok\nS: 250 ok\nclose"), Stage::Data),
        (format!("{commands}S: 250 ok\nS: 250 ok\nraw 33 35 34\nclose"), Stage::Data),
    ] {
        let (mut connection, peer) = open(&format!("{PIPELINING}{script}")).await;
        let failure = connection.begin(&envelope()).await.expect_err("dropped");
        assert_eq!((failure.stage, &failure.kind), (stage, &FailureKind::Closed), "{script}");
        assert!(!failure.connection_usable && !connection.is_usable() && !failure.in_doubt());
        peer.finish().await.expect("followed");
    }
}

#[tokio::test]
async fn a_drop_after_the_dot_is_in_doubt_and_one_before_is_not() {
    let ok = group("250 ok", "250 ok", "354 go");
    let (mut connection, _peer) = open(&format!("{PIPELINING}{ok}C*\nclose")).await;
    connection.begin(&envelope()).await.expect("354");
    let failure = connection.finish(MESSAGE).await.expect_err("dropped");
    assert_eq!((failure.stage, &failure.kind), (Stage::Dot, &FailureKind::Closed));
    assert!(failure.dot_sent && failure.in_doubt() && !failure.connection_usable);

    // Closed after the 354, while the caller waits for its mark: the dot never leaves.
    for split in [false, true] {
        let (mut connection, peer) = open(&format!("{PIPELINING}{ok}close")).await;
        connection.begin(&envelope()).await.expect("354");
        peer.finish().await.expect("followed");
        let failure = if split {
            match connection.send_body_without_dot(MESSAGE).await {
                Ok(()) => connection.dot().await.expect_err("closed"),
                Err(failure) => failure,
            }
        } else {
            connection.finish(MESSAGE).await.expect_err("closed")
        };
        assert_eq!(failure.kind, FailureKind::Closed);
        assert!(!failure.dot_sent && !failure.in_doubt() && !failure.connection_usable);
    }
}

#[tokio::test]
async fn what_a_peer_says_before_the_dot_is_heard() {
    let ok = group("250 ok", "250 ok", "354 go");
    // It waits for no dot and tells why it goes.
    let (mut connection, peer) = open(&format!("{PIPELINING}{ok}wait 20\nS: 421 shutting down\nclose")).await;
    connection.begin(&envelope()).await.expect("354");
    peer.finish().await.expect("followed");
    let failure = connection.finish(MESSAGE).await.expect_err("421");
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Data, 421));
    assert!(!failure.dot_sent && !failure.connection_usable);

    // It does not read on, but refuses: the writer must not wait for it for ever.
    let script = format!("{PIPELINING}{}C~ aaaa\nS: 552 5.3.4 too large\nhang", group("250 ok", "250 ok", "354 go"));
    let (stream, _peer) = scripted_with_capacity(&script, 4096);
    let mut connection = Connection::open(stream, &params(), &tls()).await.expect("open");
    connection.begin(&envelope()).await.expect("354");
    let mut long = "a".repeat(900).into_bytes();
    long.extend_from_slice(b"\r\n");
    let mut long = long.repeat(100);
    long.extend_from_slice(b".\r\n");
    let failure = connection.finish(&long).await.expect_err("552");
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Data, 552));
    assert!(!failure.dot_sent && !failure.in_doubt());
}

#[tokio::test(start_paused = true)]
async fn timeouts_at_each_step() {
    let commands = "C~ MAIL\nC~ RCPT\nC: DATA\n";
    for (script, stage) in [
        (format!("{commands}hang"), Stage::Mail),
        (format!("{commands}S: 250 ok\nhang"), Stage::Rcpt),
        (format!("{commands}S: 250 ok\nS: 250 ok\nhang"), Stage::Data),
    ] {
        let (mut connection, _peer) = open(&format!("{PIPELINING}{script}")).await;
        let begun = tokio::time::Instant::now();
        let failure = connection.begin(&envelope()).await.expect_err("timeout");
        assert_eq!((failure.stage, &failure.kind), (stage, &FailureKind::Timeout));
        assert!(!failure.connection_usable && !failure.in_doubt());
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
    }
    let script = format!("{PIPELINING}{}C*\nhang", group("250 ok", "250 ok", "354 go"));
    let (mut connection, _peer) = open(&script).await;
    connection.begin(&envelope()).await.expect("354");
    let failure = connection.finish(MESSAGE).await.expect_err("timeout");
    assert_eq!((failure.stage, &failure.kind), (Stage::Dot, &FailureKind::Timeout));
    assert!(failure.in_doubt());

    // A peer that reads nothing: the write stops, and the dot has not left.
    let script = format!("{PIPELINING}{}hang", group("250 ok", "250 ok", "354 go"));
    let (stream, _peer) = scripted_with_capacity(&script, 1024);
    let mut connection = Connection::open(stream, &params(), &tls()).await.expect("open");
    connection.begin(&envelope()).await.expect("354");
    let mut long = b"a\r\n".repeat(10_000);
    long.extend_from_slice(b".\r\n");
    let failure = connection.finish(&long).await.expect_err("timeout");
    assert_eq!((failure.stage, &failure.kind), (Stage::Data, &FailureKind::Timeout));
    assert!(!failure.dot_sent && !failure.in_doubt());
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_the_dot_may_take_its_ten_minutes() {
    let script = format!("{PIPELINING}{}C*\nwait 599000\nS: 250 kept", group("250 ok", "250 ok", "354 go"));
    let (stream, _peer) = postrider_smtp::testing::scripted(&script);
    let mut patient = params();
    patient.timeouts = postrider_smtp::Timeouts::rfc5321();
    let mut connection = Connection::open(stream, &patient, &tls()).await.expect("open");
    connection.begin(&envelope()).await.expect("354");
    connection.finish(MESSAGE).await.expect("kept");
}

#[tokio::test]
async fn an_end_between_transactions_is_no_failure_of_the_next() {
    let first = format!("{}C*\nS: 250 kept\n", group("250 ok", "250 ok", "354 go"));
    for end in ["close", "S: 421 4.4.2 idle too long\nclose", "C~ MAIL\nC~ RCPT\nC: DATA\nclose"] {
        let (mut connection, peer) = open(&format!("{PIPELINING}{first}{end}")).await;
        connection.begin(&envelope()).await.expect("354");
        connection.finish(MESSAGE).await.expect("kept");
        let running = if end.starts_with('C') {
            Some(peer)
        } else {
            peer.finish().await.expect("followed");
            None
        };
        let failure = connection.begin(&envelope()).await.expect_err("gone");
        assert_eq!((failure.stage, &failure.kind), (Stage::Mail, &FailureKind::IdleClosed), "{end}");
        assert!(!failure.connection_usable && !failure.in_doubt() && !connection.is_usable());
        drop(running);
    }
    // On a fresh connection the same end is the peer's failure.
    let (mut connection, _peer) = open(&format!("{PIPELINING}C~ MAIL\nclose")).await;
    let failure = connection.begin(&envelope()).await.expect_err("gone");
    assert_eq!(failure.kind, FailureKind::Closed);
    // A 421 in reply to MAIL is an answer, also on a reused connection.
    let again = group("421 enough", "421 enough", "421 enough");
    let (mut connection, _peer) = open(&format!("{PIPELINING}{first}{again}close")).await;
    connection.begin(&envelope()).await.expect("354");
    connection.finish(MESSAGE).await.expect("kept");
    let failure = connection.begin(&envelope()).await.expect_err("421");
    assert_eq!(code(&failure.kind), 421);
}

#[tokio::test]
async fn a_reset_that_fails_costs_the_message_nothing() {
    for reply in ["421 bye", "500 what", "close"] {
        let say = if reply == "close" { "close".to_owned() } else { format!("S: {reply}\nclose") };
        let script =
            format!("{PIPELINING}{}C: RSET\nC~ MAIL\nC~ RCPT\nC: DATA\n{say}", group("250 ok", "550 no", "503 no"));
        let (mut connection, _peer) = open(&script).await;
        connection.begin(&envelope()).await.expect_err("refused");
        let failure = connection.begin(&envelope()).await.expect_err("gone");
        assert_eq!(failure.kind, FailureKind::IdleClosed, "{reply}");
    }
}

#[tokio::test]
async fn what_is_not_fit_never_leaves() {
    let (mut connection, peer) =
        open(&format!("{PIPELINING}{}C*\nS: 250 kept", group("250 ok", "250 ok", "354 go"))).await;
    let mut large = envelope();
    large.size = 10_001;
    let failure = connection.begin(&large).await.expect_err("too large");
    assert_eq!(failure.kind, FailureKind::TooLarge { limit: 10_000 });
    assert!(failure.connection_usable && failure.to_string().contains("5.3.4"));
    let mut utf8 = envelope();
    utf8.forward_path = mailbox("джон@mx.test");
    let failure = connection.begin(&utf8).await.expect_err("no SMTPUTF8");
    assert_eq!(failure.kind, FailureKind::NeedsSmtpUtf8);
    assert!(failure.connection_usable);
    let mut utf8_header = envelope();
    utf8_header.smtputf8 = true;
    assert_eq!(connection.begin(&utf8_header).await.expect_err("no SMTPUTF8").kind, FailureKind::NeedsSmtpUtf8);
    // The script has seen nothing of all this.
    connection.begin(&envelope()).await.expect("354");
    connection.finish(MESSAGE).await.expect("kept");
    connection.abandon();
    peer.finish().await.expect("followed");
}

#[tokio::test]
async fn a_message_without_its_end_is_not_sent() {
    for message in [&b""[..], b"a", b"a\r\n", b"a\r\n.", b"a\n.\n", b"a\r\n..\r\n", b"..\r\n", b"a.\r\n"] {
        let (mut connection, peer) = open(&format!("{PIPELINING}{}", group("250 ok", "250 ok", "354 go"))).await;
        connection.begin(&envelope()).await.expect("354");
        let failure = connection.finish(message).await.expect_err("unfit");
        assert!(matches!(failure.kind, FailureKind::Unfit(_)) && !failure.dot_sent, "{message:?}");
        assert!(!connection.is_usable());
        drop(connection);
        peer.finish().await.expect("nothing was written");
    }
}

#[tokio::test]
async fn steps_out_of_order_close_the_connection() {
    let (mut connection, peer) = open(PIPELINING).await;
    assert!(matches!(connection.finish(MESSAGE).await.expect_err("no DATA").kind, FailureKind::Unfit(_)));
    assert!(!connection.is_usable());
    drop(connection);
    peer.finish().await.expect("nothing was written");

    let (mut connection, peer) = open(&format!("{PIPELINING}{}", group("250 ok", "250 ok", "354 go"))).await;
    connection.begin(&envelope()).await.expect("354");
    assert!(matches!(connection.begin(&envelope()).await.expect_err("open").kind, FailureKind::Unfit(_)));
    assert!(!connection.is_usable());
    drop(connection);
    peer.finish().await.expect("nothing was written");
}

#[tokio::test]
async fn abandon_closes_without_a_dot() {
    for split in [false, true] {
        let (mut connection, peer) = open(&format!("{PIPELINING}{}", group("250 ok", "250 ok", "354 go"))).await;
        connection.begin(&envelope()).await.expect("354");
        if split {
            connection.send_body_without_dot(MESSAGE).await.expect("sent");
        }
        connection.abandon();
        let rest = peer.finish().await;
        match (split, rest) {
            (false, Ok(_)) => {}
            (true, Err(text)) => assert!(!text.contains(r#""."#), "a body, but no dot: {text}"),
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_null_reverse_path_is_written_as_such() {
    let script = format!("{PIPELINING}C: MAIL FROM:<> SIZE=5\nC~ RCPT\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go");
    let (mut connection, peer) = open(&script).await;
    let mut report = envelope();
    report.reverse_path = None;
    connection.begin(&report).await.expect("354");
    connection.abandon();
    peer.finish().await.expect("followed");
}
