//! MTA-STS policy files over real HTTPS on loopback: what is taken for a policy file, and what is not.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use postrider_engine::{PolicyFault, PolicySource, WebPolicies};
use postrider_fetch::{FetchPolicy, Fetcher, Resolve};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Every name leads to loopback.
pub struct Loopback;

impl Resolve for Loopback {
    fn resolve<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

/// A web host with a certificate for `mta-sts.good.example`, which answers everything with these bytes.
async fn host(answer: Vec<u8>) -> (u16, CertificateDer<'static>, Arc<std::sync::Mutex<Vec<String>>>) {
    host_named("mta-sts.good.example", answer).await
}

/// A web host of another name; what it was asked is noted.
pub async fn host_named(
    name: &str,
    answer: Vec<u8>,
) -> (u16, CertificateDer<'static>, Arc<std::sync::Mutex<Vec<String>>>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let asked: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut room = [0; 4096];
            let count = stream.read(&mut room).await.unwrap_or(0);
            log.lock().expect("no panic").push(String::from_utf8_lossy(&room[..count]).into_owned());
            if answer.is_empty() {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, certificate, asked)
}

fn policies(port: u16, root: CertificateDer<'static>) -> WebPolicies {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let policy = FetchPolicy {
        allow: vec!["127.0.0.0/8".parse().expect("a range")],
        ports: vec![port],
        max_bytes: 64 << 10,
        timeout: Duration::from_secs(2),
    };
    WebPolicies { fetcher: Fetcher::new(policy).with_roots(roots).with_resolver(Arc::new(Loopback)), port }
}

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.good.example\r\nmax_age: 86400\r\n";

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_policy_file_comes_from_the_one_place() {
    let (port, root, asked) = host(answer("200 OK\r\nContent-Type: text/plain; charset=utf-8", POLICY)).await;
    let source = policies(port, root);
    assert_eq!(source.fetch("good.example").await.as_deref(), Ok(POLICY));
    let request = asked.lock().expect("no panic")[0].to_ascii_lowercase();
    assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: mta-sts.good.example:{port}\r\n")), "{request}");
    // The certificate is for another domain's host.
    let other = source.fetch("other.example").await;
    assert!(matches!(other, Err(PolicyFault::Certificate(_))), "{other:?}");
}

#[tokio::test]
async fn what_is_no_policy_file_is_told_apart() {
    type Is = fn(&PolicyFault) -> bool;
    let fetch: Is = |fault| matches!(fault, PolicyFault::Fetch(_));
    let invalid: Is = |fault| matches!(fault, PolicyFault::Invalid(_));
    let large = "mx: mx.good.example\n".repeat(4_000);
    for (what, bytes, expected) in [
        ("404", answer("404 Not Found\r\nContent-Type: text/plain", POLICY), fetch),
        ("204", answer("204 No Content", ""), fetch),
        ("a redirect", answer("301 Moved\r\nLocation: https://mta-sts.good.example/other", ""), fetch),
        ("HTML", answer("200 OK\r\nContent-Type: text/html", POLICY), invalid),
        ("no media type", answer("200 OK", POLICY), invalid),
        ("too large", answer("200 OK\r\nContent-Type: text/plain", &large), fetch),
        ("silence", Vec::new(), fetch),
        ("no HTTP", b"220 mx ESMTP\r\n".to_vec(), fetch),
        ("no text", [&answer("200 OK\r\nContent-Type: text/plain", "123")[..], b""].concat(), |_| false),
    ] {
        let (port, root, _) = host(bytes).await;
        match policies(port, root).fetch("good.example").await {
            Err(fault) => assert!(expected(&fault), "{what}: {fault:?}"),
            // The last row is a text that no parser takes; that is for who reads it.
            Ok(text) => assert_eq!((what, text.as_str()), ("no text", "123")),
        }
    }
}

#[tokio::test]
async fn an_untrusted_certificate_gives_no_policy() {
    let (port, _, asked) = host(answer("200 OK\r\nContent-Type: text/plain", POLICY)).await;
    let other = rcgen::generate_simple_self_signed(vec!["mta-sts.good.example".to_owned()]).expect("a certificate");
    let found = policies(port, other.cert.der().clone()).fetch("good.example").await;
    assert!(matches!(found, Err(PolicyFault::Certificate(_))), "{found:?}");
    assert_eq!(asked.lock().expect("no panic").len(), 0);
}
