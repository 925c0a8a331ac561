//! Every behaviour that a recipient can ask for, by domain and by tag.

use std::time::Duration;

use postrider_mail::Stage;
use postrider_sim::WorldConfig;
use postrider_smtp::FailureKind;

use crate::rig::{Rig, code, is_refused, send};

/// A mailbox that asks by its domain, and one that asks by a tag.
fn both(name: &str) -> [String; 2] {
    [format!("ann@{name}.test"), format!("bob+{name}@mail2.test")]
}

fn copies(rig: &Rig, recipient: &str) -> u32 {
    rig.world.record().recipients().get(recipient).copied().unwrap_or(0)
}

#[tokio::test]
async fn accepted_messages_are_recorded_with_their_bytes() {
    let rig = Rig::new().await;
    for recipient in ["ann@accept.test", "ann@mail1.test", "o'brien+ok@unknown.test", "ann@shop.accept.example.com"] {
        let reply = rig.deliver(recipient, &format!("{recipient}-1")).await.expect("accepted");
        assert_eq!(reply.code, 250);
        let receipts = rig.world.record().by_message_id(&format!("<{recipient}-1>"));
        assert_eq!(receipts.len(), 1, "{recipient}");
        let wanted = aws_sha256(&crate::rig::message(recipient, &format!("{recipient}-1")));
        assert_eq!(receipts[0].sha256, wanted, "what is recorded is what was sent, without the stuffing");
        assert_eq!((receipts[0].count, receipts[0].identical), (1, true));
    }
    assert_eq!(rig.world.stats().accepted, 4);
}

fn aws_sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

#[tokio::test]
async fn refusals_at_rcpt_leave_the_connection_usable() {
    let rig = Rig::new().await;
    for (name, reply, status) in [
        ("unknown", 550, "5.1.1"),
        ("disabled", 550, "5.2.1"),
        ("full", 552, "5.2.2"),
        ("block-rcpt", 550, "5.7.1"),
        ("defer", 451, "4.3.0"),
        ("greylist5", 451, "4.7.1"),
    ] {
        for recipient in both(name) {
            let mut connection = rig.open("mail2.test").await.expect("open");
            let failure = send(&mut connection, &recipient, "a@x").await.expect_err(name);
            assert!(is_refused(&failure, reply, status), "{recipient}: {failure}");
            assert_eq!(failure.stage, Stage::Rcpt);
            assert!(failure.connection_usable && !failure.dot_sent && !failure.in_doubt());
            // The same connection takes the next message.
            send(&mut connection, "next@mail2.test", &format!("{recipient}-next")).await.expect("accepted");
            assert_eq!(copies(&rig, &recipient), 0);
        }
    }
}

#[tokio::test]
async fn deferred_twice_then_accepted() {
    let rig = Rig::new().await;
    for recipient in both("defer2") {
        for _ in 0..2 {
            let failure = rig.deliver(&recipient, &recipient).await.expect_err("deferred");
            assert!(is_refused(&failure, 451, "4.3.0"), "{failure}");
        }
        rig.deliver(&recipient, &recipient).await.expect("accepted at the third try");
        assert_eq!(copies(&rig, &recipient), 1);
        let said: Vec<String> = rig.world.seen(&recipient).into_iter().map(|seen| seen.reply[..3].to_owned()).collect();
        assert_eq!(said, ["451", "451", "250", "250"], "three RCPT and one dot");
    }
}

#[tokio::test]
async fn greylisted_until_its_time_has_passed() {
    let rig = Rig::new().await;
    for recipient in both("greylist") {
        assert_eq!(code(&rig.deliver(&recipient, &recipient).await.expect_err("greylisted")), 451);
        rig.deliver(&recipient, &recipient).await.expect("accepted at the second try");
    }
    for recipient in both("greylist1") {
        assert_eq!(code(&rig.deliver(&recipient, &recipient).await.expect_err("greylisted")), 451);
        assert_eq!(code(&rig.deliver(&recipient, &recipient).await.expect_err("too early")), 451);
    }
    // The world's clock is the real one here: it answers over real sockets.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    for recipient in both("greylist1") {
        rig.deliver(&recipient, &recipient).await.expect("accepted after a second");
    }
}

#[tokio::test]
async fn refusals_at_data_and_after_the_dot() {
    let rig = Rig::new().await;
    for (name, stage, reply, status) in [
        ("block-354", Stage::Data, 554, "5.7.1"),
        ("block-data", Stage::Dot, 550, "5.7.1"),
        ("defer-dot", Stage::Dot, 451, "4.3.0"),
    ] {
        for recipient in both(name) {
            let mut connection = rig.open("mail2.test").await.expect("open");
            let failure = send(&mut connection, &recipient, "a@x").await.expect_err(name);
            assert!(is_refused(&failure, reply, status), "{recipient}: {failure}");
            assert_eq!(failure.stage, stage, "{recipient}");
            assert_eq!(failure.dot_sent, stage == Stage::Dot);
            assert!(failure.connection_usable && !failure.in_doubt());
            send(&mut connection, "next@mail2.test", &format!("{recipient}-next")).await.expect("accepted");
            assert_eq!(copies(&rig, &recipient), 0);
        }
    }
}

#[tokio::test]
async fn a_busy_host_closes_with_421() {
    let rig = Rig::new().await;
    for recipient in both("busy1") {
        let failure = rig.deliver(&recipient, &recipient).await.expect_err("busy");
        assert!(is_refused(&failure, 421, "4.3.2") && !failure.connection_usable, "{failure}");
        rig.deliver(&recipient, &recipient).await.expect("accepted at the second try");
    }
}

#[tokio::test]
async fn a_drop_within_data_is_not_in_doubt() {
    let rig = Rig::new().await;
    for recipient in both("drop-data1") {
        let mut connection = rig.open("mail2.test").await.expect("open");
        let message = crate::rig::message(&recipient, "a@x");
        connection.begin(&crate::rig::envelope(&recipient, message.len())).await.expect("354");
        let mut stuffed = Vec::new();
        postrider_mail::stuffing::stuff(&message, &mut stuffed).expect("clean");
        // The host closes at the first bytes. Whether the body or the dot notices it: no doubt, since the dot stays
        // back from a connection that is closed.
        let failure = match connection.send_body_without_dot(&stuffed).await {
            Err(failure) => failure,
            Ok(()) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                connection.dot().await.expect_err("closed")
            }
        };
        assert!(!failure.in_doubt() && !failure.dot_sent && !failure.connection_usable, "{failure}");
        assert_eq!(copies(&rig, &recipient), 0);
        rig.deliver(&recipient, &recipient).await.expect("accepted at the second try");
    }
    assert_eq!(rig.world.stats().broken, 2);
}

#[tokio::test]
async fn drops_after_the_dot_are_in_doubt_whether_kept_or_not() {
    let rig = Rig::new().await;
    for (name, kept) in [("drop-dot1", 0), ("keep-dot1", 1)] {
        for recipient in both(name) {
            let failure = rig.deliver(&recipient, &recipient).await.expect_err("dropped");
            assert_eq!(failure.kind, FailureKind::Closed);
            assert!(failure.dot_sent && failure.in_doubt() && !failure.connection_usable);
            assert_eq!(copies(&rig, &recipient), kept, "{recipient}");
            rig.deliver(&recipient, &recipient).await.expect("accepted at the second try");
            assert_eq!(copies(&rig, &recipient), kept + 1);
        }
    }
    // A sender that tries again with the same bytes makes duplicates where the message was kept, and only there.
    let duplicates = rig.world.record().duplicates(10);
    assert_eq!(duplicates.len(), 2);
    assert!(duplicates.iter().all(|pair| pair.count == 2 && pair.identical), "{duplicates:?}");
}

#[tokio::test]
async fn no_answer_to_the_dot_is_a_timeout_in_doubt() {
    let rig = Rig::new().await;
    for recipient in both("hang-dot") {
        let failure = rig.deliver(&recipient, "a@x").await.expect_err("hangs");
        assert_eq!((failure.kind.clone(), failure.stage), (FailureKind::Timeout, Stage::Dot));
        assert!(failure.in_doubt());
    }
}

#[tokio::test]
async fn slow_odd_and_broken_replies() {
    let rig = Rig::new().await;
    for recipient in both("slow") {
        let begun = std::time::Instant::now();
        rig.deliver(&recipient, &recipient).await.expect("accepted, if late");
        assert!(begun.elapsed() >= Duration::from_millis(180), "RCPT, DATA and the dot, 60 ms each");
    }
    for recipient in both("multiline") {
        rig.deliver(&recipient, &recipient).await.expect("accepted");
    }
    for recipient in both("mixed-codes") {
        let failure = rig.deliver(&recipient, &recipient).await.expect_err("broken");
        assert!(matches!(failure.kind, FailureKind::Protocol(_)) && !failure.connection_usable, "{failure}");
    }
}

#[tokio::test]
async fn the_mix_depends_on_the_seed_only() {
    async fn outcomes(seed: u64) -> Vec<u16> {
        let rig = Rig::with(WorldConfig { seed, ..WorldConfig::default() }).await;
        let mut connection = rig.open("mixed.test").await.expect("open");
        let mut codes = Vec::new();
        for n in 0..60 {
            codes.push(match send(&mut connection, &format!("r{n}@mixed.test"), &format!("{n}@x")).await {
                Ok(reply) => reply.code,
                Err(failure) => code(&failure),
            });
        }
        codes
    }
    let first = outcomes(7).await;
    assert_eq!(first, outcomes(7).await);
    assert_ne!(first, outcomes(8).await);
    assert!(first.iter().filter(|code| **code == 250).count() > 40, "{first:?}");
}
