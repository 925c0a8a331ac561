//! Greeting, EHLO, STARTTLS and AUTH.

use postrider_mail::Stage;
use postrider_smtp::testing::scripted;
use postrider_smtp::{Connection, Credentials, FailureKind, TlsMode};

use crate::rig::{open, open_fails, params, tls};

fn code(kind: &FailureKind) -> u16 {
    match kind {
        FailureKind::Refused(reply) => reply.code,
        _ => 0,
    }
}

#[tokio::test]
async fn greetings_that_refuse() {
    for (greeting, code_wanted) in [("554 no", 554), ("421 later", 421), ("450-a\nS: 450 b", 450)] {
        let failure = open_fails(&format!("S: {greeting}\nC: QUIT"), |_| {}).await;
        assert_eq!((failure.stage, code(&failure.kind)), (Stage::Greeting, code_wanted));
    }
    for script in ["S: hello", "S: 354 go", "S: 220-a\nS: 250 b", "S: 2200 x"] {
        let failure = open_fails(script, |_| {}).await;
        assert_eq!(failure.stage, Stage::Greeting, "{script}");
        assert!(matches!(failure.kind, FailureKind::Protocol(_)), "{script}: {failure}");
    }
    let failure = open_fails("close", |_| {}).await;
    assert_eq!((failure.stage, failure.kind), (Stage::Greeting, FailureKind::Closed));
}

#[tokio::test(start_paused = true)]
async fn no_greeting_and_half_a_greeting_are_timeouts() {
    for script in ["hang", "raw 32 32 30 20 61\nhang"] {
        let begun = tokio::time::Instant::now();
        let failure = open_fails(script, |_| {}).await;
        assert_eq!((failure.stage, failure.kind), (Stage::Greeting, FailureKind::Timeout));
        assert_eq!(begun.elapsed().as_secs(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_cannot_be_stretched_byte_by_byte() {
    let dribble = "raw 32\nwait 20000\nraw 32\nwait 20000\nraw 30\nwait 20000\nraw 20 61 0d 0a\nhang";
    let begun = tokio::time::Instant::now();
    let failure = open_fails(dribble, |_| {}).await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 30, "the wait is for the whole reply");
}

#[tokio::test]
async fn helo_only_after_a_permanent_refusal_of_ehlo() {
    let (connection, peer) = open("S: 220 mx\nC: EHLO us.test\nS: 502 what?\nC: HELO us.test\nS: 250 mx").await;
    assert_eq!(connection.capabilities(), &postrider_smtp::Capabilities::default());
    connection.abandon();
    peer.finish().await.expect("followed");

    let failure = open_fails("S: 220 mx\nC: EHLO us.test\nS: 451 busy\nC: QUIT", |_| {}).await;
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Ehlo, 451));
    let failure =
        open_fails("S: 220 mx\nC: EHLO us.test\nS: 502 no\nC: HELO us.test\nS: 550 no\nC: QUIT", |_| {}).await;
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Ehlo, 550));
    let failure = open_fails("S: 220 mx\nC: EHLO us.test\nS: 421 bye\nclose", |_| {}).await;
    assert_eq!(code(&failure.kind), 421);
    let failure = open_fails("S: 220 mx\nC: EHLO us.test\nclose", |_| {}).await;
    assert_eq!((failure.stage, failure.kind), (Stage::Ehlo, FailureKind::Closed));
}

#[tokio::test]
async fn an_ehlo_name_cannot_carry_a_command() {
    for name in ["us.test\r\nMAIL FROM:<a@b>", "us test", "", "us\0test"] {
        let (stream, peer) = scripted("S: 220 mx");
        let mut params = params();
        params.ehlo_name = name.to_owned();
        let failure = Connection::open(stream, &params, &tls()).await.expect_err("refused");
        assert!(matches!(failure.kind, FailureKind::Unfit(_)), "{name:?}: {failure}");
        peer.finish().await.expect("nothing was written");
    }
}

#[tokio::test]
async fn tls_that_is_required_and_not_there() {
    for mode in [TlsMode::RequiredAny, TlsMode::RequiredVerified] {
        let failure = open_fails("S: 220 mx\nC: EHLO us.test\nS: 250 mx", |params| params.tls = mode).await;
        assert_eq!(failure.stage, Stage::Tls);
        assert!(matches!(failure.kind, FailureKind::Tls(_)), "{failure}");
    }
}

#[tokio::test]
async fn starttls_that_is_declined() {
    let offer = "S: 220 mx\nC: EHLO us.test\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\n";
    for refusal in ["454 not now", "501 no"] {
        let (connection, peer) = open(&format!("{offer}S: {refusal}")).await;
        assert!(connection.tls().is_none());
        connection.abandon();
        peer.finish().await.expect("followed");
        let failure =
            open_fails(&format!("{offer}S: {refusal}\nC: QUIT"), |params| params.tls = TlsMode::RequiredAny).await;
        assert!(matches!(failure.kind, FailureKind::Refused(_)) && failure.stage == Stage::Tls);
    }
    // With TLS switched off the offer is left alone.
    let (stream, peer) = scripted("S: 220 mx\nC: EHLO us.test\nS: 250-mx\nS: 250 STARTTLS");
    let mut never = params();
    never.tls = TlsMode::Never;
    Connection::open(stream, &never, &tls()).await.expect("opens").abandon();
    peer.finish().await.expect("followed");
}

#[tokio::test]
async fn bytes_behind_the_reply_to_starttls_end_the_connection() {
    let offer = "S: 220 mx\nC: EHLO us.test\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\n";
    for injected in ["S: 220 go\nS: 250-evil\nS: 250 AUTH PLAIN", "raw 32 32 30 0d 0a 32"] {
        let failure = open_fails(&format!("{offer}{injected}"), |_| {}).await;
        assert_eq!(failure.stage, Stage::Tls);
        assert!(matches!(&failure.kind, FailureKind::Tls(failure) if failure.text.contains("in clear")), "{failure}");
    }
    // Bytes that come a moment later fall into the handshake, and break it.
    let (stream, _peer) = scripted(&format!("{offer}S: 220 go\nwait 50\nS: 250 evil\nhang"));
    let failure = Connection::open(stream, &params(), &tls()).await.expect_err("broken");
    assert!(matches!(failure.kind, FailureKind::Tls(_)), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_hangs_is_a_timeout() {
    let script = "S: 220 mx\nC: EHLO us.test\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nhang";
    let failure = open_fails(script, |_| {}).await;
    assert_eq!((failure.stage, failure.kind), (Stage::Tls, FailureKind::Timeout));
    let failure = open_fails("hang", |params| params.tls = TlsMode::ImplicitAny).await;
    assert_eq!((failure.stage, failure.kind), (Stage::Tls, FailureKind::Timeout));
}

#[tokio::test]
async fn verified_modes_need_roots() {
    let failure = open_fails("", |params| params.tls = TlsMode::Implicit).await;
    assert!(matches!(&failure.kind, FailureKind::Tls(failure) if failure.text.contains("root")), "{failure}");
}

fn credentials() -> Option<Credentials> {
    Some(Credentials { account: "relay".to_owned(), password: "s3cret".to_owned().into() })
}

async fn log_in(script: &str) -> Result<(), postrider_smtp::Failure> {
    let (stream, peer) = scripted(script);
    let mut params = params();
    params.credentials = credentials();
    let result = Connection::open(stream, &params, &tls()).await.map(Connection::abandon);
    peer.finish().await.expect("the dialogue followed its script");
    result
}

#[tokio::test]
async fn logins_of_both_kinds() {
    let ehlo = |mechanisms: &str| format!("S: 220 mx\nC: EHLO us.test\nS: 250-mx\nS: 250 AUTH {mechanisms}\n");
    let plain = "C: AUTH PLAIN AHJlbGF5AHMzY3JldA==\n";
    log_in(&format!("{}{plain}S: 235 welcome", ehlo("LOGIN PLAIN"))).await.expect("PLAIN");
    log_in(&format!("{}{plain}S: 334 \nC: AHJlbGF5AHMzY3JldA==\nS: 235 welcome", ehlo("PLAIN"))).await.expect("asked");
    let login = "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: cmVsYXk=\nS: 334 UGFzc3dvcmQ6\nC: czNjcmV0\n";
    log_in(&format!("{}{login}S: 235 welcome", ehlo("LOGIN"))).await.expect("LOGIN");

    let failure = log_in(&format!("{}{plain}S: 535 5.7.8 no\nC: QUIT", ehlo("PLAIN"))).await.expect_err("535");
    assert_eq!((failure.stage, code(&failure.kind)), (Stage::Auth, 535));
    let failure = log_in(&format!("{}{login}S: 535 no\nC: QUIT", ehlo("LOGIN"))).await.expect_err("535");
    assert_eq!(code(&failure.kind), 535);
    // A peer that refuses LOGIN at once never sees the words.
    let failure = log_in(&format!("{}C: AUTH LOGIN\nS: 504 no\nC: QUIT", ehlo("LOGIN"))).await.expect_err("504");
    assert_eq!(code(&failure.kind), 504);
    let failure = log_in(&ehlo("CRAM-MD5 GSSAPI")).await.expect_err("no mechanism");
    assert!(matches!(failure.kind, FailureKind::AuthUnavailable(_)));
    let failure = log_in(&format!("{}{plain}S: 334 \nC: AHJlbGF5AHMzY3JldA==\nS: 334 more?", ehlo("PLAIN")))
        .await
        .expect_err("334");
    assert!(matches!(failure.kind, FailureKind::Protocol(_)));
}

#[tokio::test]
async fn no_login_in_clear_to_another_machine() {
    let script = "S: 220 mx\nC: EHLO us.test\nS: 250-mx\nS: 250 AUTH PLAIN";
    let failure = open_fails(script, |params| {
        params.address = "192.0.2.1".parse().expect("literal");
        params.credentials = credentials();
    })
    .await;
    assert_eq!(failure.stage, Stage::Auth);
    assert!(matches!(failure.kind, FailureKind::AuthUnavailable(_)));
    assert!(!format!("{failure:?} {:?}", credentials()).contains("s3cret"));
}
