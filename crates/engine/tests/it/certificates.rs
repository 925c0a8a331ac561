//! Our own certificate: ordered from an authority on loopback, renewed in time, shared by nodes; and read from files.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postrider_engine::{AcmeConfig, CertificateConfig, CertificateFiles, CertificateOrigin};
use postrider_fetch::{FetchPolicy, Fetcher};
use postrider_smtp::{CertificateFacts, CertificateSource};
use postrider_store::Store;
use postrider_store::certificate::Certificate;
use postrider_testkit::acme::{Authority, Fault};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::on_both;
use crate::rig::Rig;

const DAY: i64 = 86_400_000;
const NAMES: [&str; 2] = ["mail.example.org", "news.example.org"];

on_both!(
    a_certificate_is_ordered_kept_and_renewed_when_a_third_of_its_time_is_left,
    a_lost_account_is_made_anew,
    a_failed_order_waits_and_says_why,
    a_private_authority_is_refused_unless_its_range_is_named,
);

/// Answers challenges from the store, as the web side does.
async fn web(store: &Store) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let store = store.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut room = [0; 4096];
            let count = stream.read(&mut room).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&room[..count]).into_owned();
            let token = text.split(['/', ' ']).nth(4).unwrap_or_default();
            let answer = store.acme_challenge(token).await.expect("the store").unwrap_or_default();
            let head = if answer.is_empty() { "404 Not Found" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

fn acme(authority: &Authority, ranges: &[&str]) -> CertificateConfig {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(authority.root_pem().as_bytes()) {
        roots.add(der.expect("PEM")).expect("a root");
    }
    let policy = FetchPolicy {
        allow: ranges.iter().map(|range| range.parse().expect("a range")).collect(),
        ports: vec![authority.port()],
        ..FetchPolicy::default()
    };
    let config = AcmeConfig {
        directory: authority.directory(),
        names: NAMES.iter().map(|name| (*name).to_owned()).collect(),
        contact: vec!["mailto:admin@example.org".into()],
        external: None,
        fetcher: Fetcher::new(policy).with_roots(roots),
    };
    let config =
        CertificateConfig { origin: CertificateOrigin::Acme(Arc::new(config)), ..CertificateConfig::default() };
    config.listening.send_replace(true);
    config
}

async fn row(rig: &Rig) -> Option<Certificate> {
    rig.store.certificates().await.expect("rows").into_iter().next()
}

async fn shown(rig: &Rig, source: &CertificateSource, wanted: impl Fn(&CertificateFacts) -> bool) -> CertificateFacts {
    let so = || source.facts().is_some_and(|facts| wanted(&facts));
    rig.until("a certificate is shown", async || so()).await;
    source.facts().expect("shown")
}

/// Lets the watch look once more: its own rest goes by the clock of the test.
async fn look_again(rig: &Rig) {
    for _ in 0..3 {
        rig.store.clock.advance(31_000);
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

async fn a_certificate_is_ordered_kept_and_renewed_when_a_third_of_its_time_is_left(mut rig: Rig) {
    let authority = Authority::start(web(&rig.store).await).await;
    authority.set_now(rig.store.now());
    authority.fail(Fault::BadNonces);
    rig.certificate = acme(&authority, &["127.0.0.0/8"]);
    rig.certificate.listening.send_replace(false);
    let engine = rig.engine().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(authority.orders(), 0, "nobody answers challenges yet");
    rig.certificate.listening.send_replace(true);
    let first = shown(&rig, &rig.certificate.source, |_| true).await;
    assert_eq!(first.names, NAMES);
    assert!((first.not_after - rig.store.now() - 90 * DAY).abs() < 120_000, "{first:?}");
    let kept = row(&rig).await.expect("a row");
    assert_eq!((kept.not_after, kept.last_error, kept.version), (Some(first.not_after), None, 1));
    assert!(kept.chain.expect("a chain").contains("BEGIN CERTIFICATE"));
    assert_eq!((authority.orders(), authority.accounts()), (1, 1));
    engine.shutdown(Duration::from_secs(5)).await;

    // After a restart, and long before its time: the same one, without a word to the authority.
    rig.certificate.source = CertificateSource::empty();
    rig.store.clock.advance(59 * DAY);
    let engine = rig.engine().await;
    assert_eq!(shown(&rig, &rig.certificate.source, |_| true).await, first);
    look_again(&rig).await;
    assert_eq!(authority.orders(), 1);

    rig.store.clock.advance(DAY + 3_600_000);
    authority.set_now(rig.store.now());
    let second = shown(&rig, &rig.certificate.source, |facts| facts.not_after != first.not_after).await;
    assert!(second.not_after > first.not_after + 50 * DAY);
    look_again(&rig).await;
    assert_eq!((authority.orders(), authority.accounts()), (2, 1), "one renewal, the same account");
    engine.shutdown(Duration::from_secs(5)).await;
}

async fn a_lost_account_is_made_anew(mut rig: Rig) {
    let authority = Authority::start(web(&rig.store).await).await;
    authority.set_now(rig.store.now());
    rig.certificate = acme(&authority, &["127.0.0.0/8"]);
    let engine = rig.engine().await;
    let first = shown(&rig, &rig.certificate.source, |_| true).await;
    authority.fail(Fault::AccountLost);
    rig.store.clock.advance(70 * DAY);
    authority.set_now(rig.store.now());
    shown(&rig, &rig.certificate.source, |facts| facts.not_after != first.not_after).await;
    assert_eq!(row(&rig).await.expect("a row").last_error, None);
    engine.shutdown(Duration::from_secs(5)).await;
}

async fn a_failed_order_waits_and_says_why(mut rig: Rig) {
    let answering = web(&rig.store).await;
    let deaf = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let authority = Authority::start(deaf).await;
    authority.set_now(rig.store.now());
    rig.certificate = acme(&authority, &["127.0.0.0/8"]);
    let engine = rig.engine().await;
    let failed = async |wanted: u32| {
        rig.until("the order has failed", async || row(&rig).await.is_some_and(|row| row.failures >= wanted)).await;
        row(&rig).await.expect("a row")
    };
    let proof = failed(1).await;
    let why = proof.last_error.expect("why");
    assert!(why.contains("could not prove mail.example.org") && why.contains(".well-known/acme-challenge/"), "{why}");
    let next = proof.next_try_at.expect("a next try") - rig.store.now();
    assert!((14 * 60_000..=17 * 60_000).contains(&next), "{next}");
    assert_eq!(authority.orders(), 1);
    look_again(&rig).await;
    assert_eq!(authority.orders(), 1, "no second try before its time");

    authority.fail(Fault::RateLimited);
    rig.store.clock.advance(20 * 60_000);
    let limited = failed(2).await;
    assert!(limited.last_error.expect("why").contains("too many certificates"));
    assert!(limited.next_try_at.expect("a next try") - rig.store.now() >= 3 * 3_600_000);

    authority.fail(Fault::Broken);
    rig.store.clock.advance(8 * 3_600_000);
    assert!(failed(3).await.last_error.is_some());
    assert_eq!(rig.certificate.source.facts(), None);

    authority.fail(Fault::None);
    authority.look_at(answering);
    rig.store.clock.advance(25 * 3_600_000);
    authority.set_now(rig.store.now());
    shown(&rig, &rig.certificate.source, |_| true).await;
    let good = row(&rig).await.expect("a row");
    assert_eq!((good.failures, good.last_error, good.next_try_at), (0, None, None));
    engine.shutdown(Duration::from_secs(5)).await;
}

async fn a_private_authority_is_refused_unless_its_range_is_named(mut rig: Rig) {
    let authority = Authority::start(web(&rig.store).await).await;
    rig.certificate = acme(&authority, &[]);
    let engine = rig.engine().await;
    rig.until("the order has failed", async || row(&rig).await.is_some_and(|row| row.failures > 0)).await;
    let why = row(&rig).await.expect("a row").last_error.expect("why");
    assert!(why.contains("a loopback address"), "{why}");
    assert_eq!((authority.orders(), authority.accounts()), (0, 0));
    engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_order_one_certificate() {
    let mut rig = Rig::postgres("two_nodes_order_one_certificate").await;
    // The clock jumps: nobody is dead for that.
    rig.times.dead_after_ms = 100 * DAY;
    let authority = Authority::start(web(&rig.store).await).await;
    authority.set_now(rig.store.now());
    let second_store = rig.store.second_node().await;
    rig.certificate = acme(&authority, &["127.0.0.0/8"]);
    let one = rig.certificate.source.clone();
    let first = rig.engine().await;
    rig.certificate.source = CertificateSource::empty();
    let two = rig.certificate.source.clone();
    let second = rig.engine_on(&second_store).await;
    for source in [&one, &two] {
        // The second node looks again after a while of its clock.
        let seen = || source.facts().is_some();
        for _ in 0..40 {
            if seen() {
                break;
            }
            look_again(&rig).await;
        }
        assert!(seen());
    }
    assert_eq!(one.facts(), two.facts());
    assert_eq!(authority.orders(), 1);
    first.shutdown(Duration::from_secs(5)).await;
    second.shutdown(Duration::from_secs(5)).await;
}

fn pair(name: &str) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_again_and_a_bad_one_changes_nothing() {
    let mut rig = Rig::sqlite("certificate_files").await;
    let folder = tempfile::tempdir().expect("a folder");
    let files = CertificateFiles { chain: folder.path().join("chain.pem"), key: folder.path().join("key.pem") };
    let write = |chain: &str, key: &str| {
        std::fs::write(&files.chain, chain).expect("written");
        std::fs::write(&files.key, key).expect("written");
    };
    let (chain, key) = pair("one.example");
    write(&chain, &key);
    rig.certificate.origin = CertificateOrigin::Files(files.clone());
    let source = rig.certificate.source.clone();
    let engine = rig.engine().await;
    shown(&rig, &source, |facts| facts.names == ["one.example"]).await;

    let (chain, other) = (pair("two.example").0, pair("three.example").1);
    write(&chain, &other);
    rig.certificate.reload.notify_one();
    rig.until("it was refused", async || row(&rig).await.is_some_and(|row| row.failures > 0)).await;
    let refused = row(&rig).await.expect("a row");
    assert!(refused.last_error.expect("why").contains("does not belong"));
    assert_eq!(source.facts().expect("the one before").names, ["one.example"]);

    // Nobody tells: the files are looked at from time to time.
    let (chain, key) = pair("four.example");
    write(&chain, &key);
    rig.store.clock.advance(11_000);
    shown(&rig, &source, |facts| facts.names == ["four.example"]).await;
    rig.until("it is told", async || row(&rig).await.is_some_and(|row| row.names == ["four.example"])).await;
    engine.shutdown(Duration::from_secs(5)).await;
}
