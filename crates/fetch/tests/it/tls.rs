//! `https` needs a certificate for that host from a trusted root.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use postrider_fetch::{FetchError, FetchPolicy, FetchRequest, Fetcher};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::ScriptedResolver;

/// A TLS server for `hook.example`; ends with the runtime of the test.
async fn start() -> (u16, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["hook.example".to_owned()]).expect("a certificate");
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
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    });
    (port, certificate)
}

async fn fetch(host: &str, port: u16, roots: RootCertStore) -> Result<u16, FetchError> {
    let allow = vec!["127.0.0.1".parse().expect("a range")];
    let policy = FetchPolicy { allow, ports: vec![port], timeout: Duration::from_secs(10), ..FetchPolicy::default() };
    let fetcher = Fetcher::new(policy).with_roots(roots).with_resolver(ScriptedResolver::new(&[&["127.0.0.1"]]));
    fetcher.fetch(FetchRequest::get(format!("https://{host}:{port}/"))).await.map(|answer| answer.status)
}

fn roots(certificate: CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    roots
}

#[tokio::test]
async fn only_the_right_name_from_a_trusted_root_passes() {
    let (port, certificate) = start().await;
    assert_eq!(fetch("hook.example", port, roots(certificate.clone())).await.expect("trusted"), 200);
    for (host, roots) in [
        ("other.example", roots(certificate.clone())),
        ("127.0.0.1", roots(certificate)),
        ("hook.example", RootCertStore::empty()),
    ] {
        let error = fetch(host, port, roots).await.expect_err(host);
        assert!(matches!(error, FetchError::Tls { .. }), "{host}: {error}");
    }
}
