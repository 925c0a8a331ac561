//! HTTP by hand, one request a connection, and the little DER that a request for a certificate needs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::CaIssuer;

/// What came in.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: String,
}

/// What goes out.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// The TLS side of the authority's own web server, for 127.0.0.1.
pub(super) fn acceptor(issuer: &CaIssuer) -> TlsAcceptor {
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let own = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .expect("a configuration");
    TlsAcceptor::from(Arc::new(config))
}

/// Reads one request.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
            });
            if body.len() >= length.unwrap_or(0) {
                let mut words = head.lines().next()?.split(' ');
                let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
                return Some(Asked { method, path, body: body.to_owned() });
            }
        }
        let mut room = [0; 4096];
        match stream.read(&mut room).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&room[..count]),
        }
    }
}

/// Writes one answer and closes.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), answer: Answer, nonce: &str) {
    let location = answer.location.map(|url| format!("Location: {url}\r\n")).unwrap_or_default();
    let Answer { status, kind, body, .. } = answer;
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nReplay-Nonce: {nonce}\r\n{location}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    // Who has gone gets nothing.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Fetches the token of a name (RFC 8555 8.3): the body of a 200.
pub(super) async fn fetch_token(web: SocketAddr, name: &str, token: &str) -> Result<String, String> {
    let fetch = async {
        let mut stream = TcpStream::connect(web).await.map_err(|error| error.to_string())?;
        let request =
            format!("GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        stream.take(64 << 10).read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no HTTP")?;
        if head.starts_with("HTTP/1.1 200") {
            Ok(body.to_owned())
        } else {
            Err(head.lines().next().unwrap_or_default().to_owned())
        }
    };
    tokio::time::timeout(Duration::from_secs(10), fetch).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// The point that a PKCS#10 request (RFC 2986 4) carries as its public key.
pub(super) fn key_of_request(der: &[u8]) -> Option<Vec<u8>> {
    let (request, _) = element(der)?;
    let (info, _) = element(request)?;
    let (_, rest) = element(info)?; // version
    let (_, rest) = element(rest)?; // subject
    let (key, _) = element(rest)?;
    let (_, rest) = element(key)?; // algorithm
    let (bits, _) = element(rest)?;
    // The first octet of a BIT STRING counts unused bits.
    Some(bits.get(1..)?.to_vec())
}

fn element(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = input.get(1..)?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
    };
    rest.split_at_checked(length)
}
