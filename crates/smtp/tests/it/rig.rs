//! What the dialogue tests share.

use std::time::Duration;

use postrider_mail::Mailbox;
use postrider_smtp::testing::{Peer, scripted};
use postrider_smtp::{Connection, Envelope, Failure, OpenParams, Roots, Timeouts, TlsClient, TlsMode};

/// The greeting and EHLO of a host that can pipeline.
pub const PIPELINING: &str = "
    S: 220 mx.test ESMTP
    C: EHLO us.test
    S: 250-mx.test
    S: 250-SIZE 10000
    S: 250 PIPELINING
";

/// The greeting and EHLO of a host that cannot.
pub const LOCK_STEP: &str = "
    S: 220 mx.test ESMTP
    C: EHLO us.test
    S: 250 mx.test
";

/// MAIL, RCPT and DATA in one group, with these replies.
pub fn group(mail: &str, rcpt: &str, data: &str) -> String {
    format!(
        "
        C: MAIL FROM:<from@us.test> SIZE=5
        C: RCPT TO:<to@mx.test>
        C: DATA
        S: {mail}
        S: {rcpt}
        S: {data}
        "
    )
}

pub const MESSAGE: &[u8] = b"a\r\n\r\n.\r\n";

pub fn envelope() -> Envelope {
    Envelope {
        reverse_path: Some(mailbox("from@us.test")),
        forward_path: mailbox("to@mx.test"),
        size: 5,
        smtputf8: false,
        require_tls: false,
    }
}

pub fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("a mailbox of the test")
}

pub fn params() -> OpenParams {
    OpenParams {
        ehlo_name: "us.test".to_owned(),
        host: "mx.test".to_owned(),
        address: "127.0.0.1".parse().expect("literal"),
        tls: TlsMode::Opportunistic,
        credentials: None,
        timeouts: Timeouts::all(Duration::from_secs(30)),
    }
}

pub fn tls() -> TlsClient {
    TlsClient::new(&Roots::Empty).expect("the library takes its configuration")
}

/// Opens a connection to a script.
pub async fn open(script: &str) -> (Connection, Peer) {
    let (stream, peer) = scripted(script);
    let connection = Connection::open(stream, &params(), &tls()).await.expect("the script opens");
    (connection, peer)
}

/// Opens a connection to a script that must fail.
pub async fn open_fails(script: &str, change: impl FnOnce(&mut OpenParams)) -> Failure {
    let (stream, peer) = scripted(script);
    let mut params = params();
    change(&mut params);
    let failure = Connection::open(stream, &params, &tls()).await.expect_err("the script refuses");
    assert!(!failure.connection_usable && !failure.dot_sent);
    if !script.contains("hang") {
        peer.finish().await.expect("the dialogue followed its script");
    }
    failure
}
