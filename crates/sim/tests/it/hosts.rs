//! Every behaviour of a host that acts before a recipient is known.

use std::net::{IpAddr, Ipv4Addr};

use postrider_mail::Stage;
use postrider_smtp::{Connection, Credentials, Dialer, FailureKind, OpenParams, Port, Target, TlsMode, Trust};

use crate::rig::{Rig, envelope, is_refused, send};

#[tokio::test]
async fn refusals_before_mail() {
    let rig = Rig::new().await;
    for (name, code, status) in [("block-connect", 554, "5.7.1"), ("outage", 421, "4.3.2")] {
        let failure = rig.open(&format!("{name}.test")).await.expect_err(name);
        assert!(is_refused(&failure, code, status), "{name}: {failure}");
        assert_eq!(failure.stage, Stage::Greeting);
        assert!(!failure.connection_usable);
    }
    let failure = rig.open("never.test").await.expect_err("never");
    assert_eq!((failure.stage, failure.kind), (Stage::Greeting, FailureKind::Timeout));
    let failure = rig.open("drop-connect.test").await.expect_err("drop-connect");
    assert_eq!((failure.stage, failure.kind), (Stage::Greeting, FailureKind::Closed));
    let failure = rig.open("flood.test").await.expect_err("flood");
    assert_eq!(failure.stage, Stage::Greeting);
    assert!(matches!(failure.kind, FailureKind::Protocol(_)), "{failure}");
}

#[tokio::test]
async fn a_host_without_a_listener_and_its_second() {
    let rig = Rig::new().await;
    let target = |address| Target { address, port: Port::Mx, source: None };
    let (_, first) = rig.route("multi.test").await;
    assert!(rig.dialer.dial(target(first)).await.is_err());
    assert!(rig.dialer.dial(target(IpAddr::V4(Ipv4Addr::LOCALHOST))).await.is_ok());
}

#[tokio::test]
async fn a_block_at_mail() {
    let rig = Rig::new().await;
    let mut connection = rig.open("block-mail.test").await.expect("open");
    let failure = send(&mut connection, "ann@block-mail.test", "a@x").await.expect_err("blocked");
    assert!(is_refused(&failure, 550, "5.7.1"), "{failure}");
    assert_eq!(failure.stage, Stage::Mail);
    assert!(failure.connection_usable);
}

#[tokio::test]
async fn limits_on_connections_and_messages() {
    let rig = Rig::new().await;
    let first = rig.open("limit2.test").await.expect("first");
    let _second = rig.open("limit2.test").await.expect("second");
    let failure = rig.open("limit2.test").await.expect_err("third");
    assert!(is_refused(&failure, 421, "4.7.0"), "{failure}");
    first.quit().await;
    // The host notices the end a moment later.
    let mut again = rig.open("limit2.test").await;
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        again = rig.open("limit2.test").await;
    }
    assert!(again.is_ok(), "a place is free again");

    let mut connection = rig.open("close3.test").await.expect("open");
    for n in 0..3 {
        send(&mut connection, "ann@close3.test", &format!("{n}@close")).await.expect("accepted");
    }
    assert_eq!(connection.accepted(), 3);
    let failure = send(&mut connection, "ann@close3.test", "4@close").await.expect_err("421");
    assert!(is_refused(&failure, 421, "4.7.0") && !failure.connection_usable, "{failure}");

    let mut connection = rig.open("exhaust3.test").await.expect("open");
    for n in 0..3 {
        send(&mut connection, "ann@exhaust3.test", &format!("{n}@exhaust")).await.expect("accepted");
    }
    let failure = send(&mut connection, "ann@exhaust3.test", "4@exhaust").await.expect_err("closed");
    assert_eq!(failure.kind, FailureKind::IdleClosed, "SR-31: reconnect without penalty");
}

#[tokio::test]
async fn a_small_host_and_hosts_of_few_words() {
    let rig = Rig::new().await;
    let mut connection = rig.open("small.test").await.expect("open");
    let failure = connection.begin(&envelope("ann@small.test", 2_049)).await.expect_err("too large");
    assert_eq!(failure.kind, FailureKind::TooLarge { limit: 2_048 });
    assert!(failure.connection_usable);
    send(&mut connection, "ann@small.test", "a@small").await.expect("a small one passes");

    for (host, esmtp) in [("nopipe.test", true), ("helo.test", false)] {
        let mut connection = rig.open(host).await.expect(host);
        assert!(!connection.capabilities().pipelining);
        assert_eq!(connection.capabilities().size.is_some(), esmtp);
        for n in 0..3 {
            send(&mut connection, &format!("ann@{host}"), &format!("{n}@{host}")).await.expect(host);
        }
    }
}

#[tokio::test]
async fn utf8_mailboxes_go_only_where_they_are_offered() {
    let rig = Rig::new().await;
    let mut connection = rig.open("utf8.test").await.expect("open");
    send(&mut connection, "джон@utf8.test", "a@utf8").await.expect("accepted");
    let mut connection = rig.open("mail1.test").await.expect("open");
    let failure = send(&mut connection, "джон@mail1.test", "b@utf8").await.expect_err("not offered");
    assert_eq!(failure.kind, FailureKind::NeedsSmtpUtf8);
    assert!(failure.connection_usable && failure.to_string().contains("5.6.7"));
}

#[tokio::test]
async fn tls_of_every_kind() {
    let rig = Rig::new().await;
    let open = |host: &'static str, mode| rig.open_with(host, move |params| params.tls = mode);

    for (host, trust) in [
        ("tls.test", Trust::Unverified),
        ("tls-good.test", Trust::Verified),
        ("tls-expired.test", Trust::Unverified),
        ("tls-wrong.test", Trust::Unverified),
    ] {
        let mut connection = open(host, TlsMode::Opportunistic).await.expect(host);
        let tls = connection.tls().expect("TLS").clone();
        assert_eq!((tls.version, tls.trust), ("TLSv1.3", trust), "{host}");
        assert!(tls.cipher.starts_with("TLS13_"), "{tls}");
        assert!(!connection.capabilities().starttls, "not offered again under TLS");
        send(&mut connection, &format!("ann@{host}"), &format!("a@{host}")).await.expect(host);
        assert!(open(host, TlsMode::RequiredAny).await.is_ok(), "{host}");
        let verified = open(host, TlsMode::RequiredVerified).await;
        assert_eq!(verified.is_ok(), trust == Trust::Verified, "{host}");
        if let Err(failure) = verified {
            assert!(matches!(failure.kind, FailureKind::Tls(_)) && failure.stage == Stage::Tls, "{failure}");
        }
        let clear = open(host, TlsMode::Never).await.expect(host);
        assert!(clear.tls().is_none());
    }

    let failure = open("tls-broken.test", TlsMode::Opportunistic).await.expect_err("garbage");
    assert!(matches!(failure.kind, FailureKind::Tls(_)), "{failure}");
    assert!(open("tls-broken.test", TlsMode::Never).await.is_ok());

    assert!(open("tls-refused.test", TlsMode::Opportunistic).await.expect("goes on").tls().is_none());
    let failure = open("tls-refused.test", TlsMode::RequiredAny).await.expect_err("454");
    assert!(is_refused(&failure, 454, "4.7.0") && failure.stage == Stage::Tls, "{failure}");

    let failure = open("tls-injected.test", TlsMode::Opportunistic).await.expect_err("injection");
    assert!(matches!(failure.kind, FailureKind::Tls(_)), "{failure}");

    let failure = open("mail1.test", TlsMode::RequiredAny).await.expect_err("not offered");
    assert!(matches!(failure.kind, FailureKind::Tls(_)), "{failure}");
    assert!(rig.world.stats().tls_handshakes >= 8);
}

fn credentials(password: &str) -> Option<Credentials> {
    Some(Credentials { account: "relay".to_owned(), password: password.to_owned().into() })
}

#[tokio::test]
async fn smarthosts_want_a_login() {
    let rig = Rig::new().await;
    for (host, mode) in [("smarthost.test", TlsMode::RequiredVerified), ("smarthost-clear.test", TlsMode::Never)] {
        let open = |password: &'static str| {
            let mode = mode.clone();
            rig.open_with(host, move |params| {
                params.tls = mode;
                params.credentials = credentials(password);
            })
        };
        let mut connection = open("secret").await.expect(host);
        // Any domain, with the behaviours of the recipients.
        send(&mut connection, "ann@mail5.test", &format!("a@{host}")).await.expect("accepted");
        let failure = send(&mut connection, "ann@unknown.test", "b@x").await.expect_err("unknown");
        assert!(is_refused(&failure, 550, "5.1.1"));

        let failure = open("wrong").await.expect_err("535");
        assert!(is_refused(&failure, 535, "5.7.8") && failure.stage == Stage::Auth, "{failure}");

        let mut without = rig.open_with(host, move |params| params.tls = mode).await.expect("open");
        let failure = send(&mut without, "ann@mail5.test", "c@x").await.expect_err("530");
        assert!(is_refused(&failure, 530, "5.7.0"), "{failure}");
    }
}

#[tokio::test]
async fn submissions_with_tls_from_the_first_byte() {
    let rig = Rig::new().await;
    let to = rig.world.submissions_addr();
    let target = Target { address: to.ip(), port: Port::Fixed(to.port()), source: None };
    let params = OpenParams {
        ehlo_name: "us.test".to_owned(),
        host: "mx1.smarthost.test".to_owned(),
        address: to.ip(),
        tls: TlsMode::Implicit,
        credentials: credentials("secret"),
        timeouts: rig.timeouts,
    };
    let stream = rig.dialer.dial(target).await.expect("listens");
    let mut connection = Connection::open(stream, &params, &rig.tls).await.expect("open");
    assert_eq!(connection.tls().expect("TLS").trust, Trust::Verified);
    send(&mut connection, "ann@mail5.test", "a@x").await.expect("accepted");
    connection.quit().await;
}

#[tokio::test]
async fn a_slow_host_is_slow_from_its_greeting() {
    let rig = Rig::new().await;
    let begun = std::time::Instant::now();
    let mut connection = rig.open("slow.test").await.expect("open");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(60));
    send(&mut connection, "ann@slow.test", "a@x").await.expect("accepted");
}
