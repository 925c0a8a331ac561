//! A certificate of our own with its key, as the listeners use it: replaced while they run, without losing a connection.
//!
//! Knows PEM and rustls. Must not know where a certificate comes from, nor how it is renewed.

mod x509;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use x509::CertificateFacts;

/// A certificate may begin so much later than our clock says, in milliseconds: clocks differ.
const CLOCK_SLACK_MS: i64 = 5 * 60_000;

/// Why a certificate cannot be used; reads after "could not use the certificate".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The text holds no certificate.
    #[error("the chain holds no certificate in PEM form; it must begin with the server's own certificate")]
    NoCertificate,
    /// The text cannot be read.
    #[error("the chain cannot be read: {0}")]
    Chain(String),
    /// The key cannot be read.
    #[error("the key cannot be read: {0}; it must be a private key in PEM form without a password")]
    Key(String),
    /// The key belongs to another certificate.
    #[error("the key does not belong to the first certificate of the chain")]
    OtherKey,
    /// Its time is over.
    #[error("the certificate ran out at {0} ms UTC; renew it")]
    Expired(i64),
    /// Its time has not begun.
    #[error("the certificate begins at {0} ms UTC only; look at the clock of this machine")]
    NotYet(i64),
    /// It names nobody.
    #[error("the certificate names no host (subjectAltName)")]
    NoName,
}

/// A chain that fits its key.
#[derive(Debug, Clone)]
pub struct CertificatePair {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

impl CertificatePair {
    /// Reads a chain, the server's own certificate first, and its private key, both PEM; `now` in milliseconds UTC.
    ///
    /// # Errors
    /// One of them cannot be read, they do not belong together, or the certificate's time is not now.
    pub fn read(chain: &[u8], key: &[u8], now: i64) -> Result<CertificatePair, CertificateFault> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateFault::Chain(error.to_string()))?;
        let own = chain.first().ok_or(CertificateFault::NoCertificate)?;
        let facts = x509::facts(own).ok_or_else(|| CertificateFault::Chain("its first part is no X.509".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateFault::Key(error.to_string()))?;
        if facts.names.is_empty() {
            return Err(CertificateFault::NoName);
        }
        if facts.not_after <= now {
            return Err(CertificateFault::Expired(facts.not_after));
        }
        if facts.not_before > now.saturating_add(CLOCK_SLACK_MS) {
            return Err(CertificateFault::NotYet(facts.not_before));
        }
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateFault::OtherKey,
            other => CertificateFault::Key(other.to_string()),
        })?;
        Ok(CertificatePair { key: Arc::new(key), facts })
    }

    /// Its names and time.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }
}

/// The certificate that listeners show now. Clones share it: HTTPS and submission take the same one.
#[derive(Debug, Clone, Default)]
pub struct CertificateSource(Arc<RwLock<Option<CertificatePair>>>);

impl CertificateSource {
    /// A source that has none yet: handshakes fail until there is one.
    pub fn empty() -> CertificateSource {
        CertificateSource::default()
    }

    /// Shows another certificate from the next handshake on; connections that stand keep theirs.
    pub fn replace(&self, pair: CertificatePair) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(pair);
    }

    /// Names and time of the present one.
    pub fn facts(&self) -> Option<CertificateFacts> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|pair| pair.facts.clone())
    }

    /// The settings of a TLS server that shows it: TLS 1.2 and 1.3, with these application protocols.
    pub fn server_config(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl ResolvesServerCert for CertificateSource {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|pair| Arc::clone(&pair.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22.
    const NOW: i64 = 1_795_305_600_000;

    fn made(name: &str, years: (i32, i32)) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    fn read(chain: &str, key: &str) -> Result<CertificatePair, CertificateFault> {
        CertificatePair::read(chain.as_bytes(), key.as_bytes(), NOW)
    }

    #[test]
    fn what_cannot_be_used_is_told_apart() {
        let (chain, key) = made("mail.example.org", (2026, 2027));
        let (old, old_key) = made("mail.example.org", (2024, 2025));
        let (early, early_key) = made("mail.example.org", (2027, 2028));
        assert_eq!(read(&chain, &key).expect("good").facts().names, ["mail.example.org"]);
        assert!(matches!(read("", &key), Err(CertificateFault::NoCertificate)));
        assert!(matches!(read(&key, &key), Err(CertificateFault::NoCertificate)));
        assert!(matches!(read(&chain, ""), Err(CertificateFault::Key(_))));
        assert!(matches!(read(&chain, &chain), Err(CertificateFault::Key(_))));
        assert!(matches!(read(&chain, &old_key), Err(CertificateFault::OtherKey)));
        assert!(matches!(read(&old, &old_key), Err(CertificateFault::Expired(_))));
        assert!(matches!(read(&early, &early_key), Err(CertificateFault::NotYet(_))));
        let broken = chain.replace("MII", "!!!");
        assert!(matches!(read(&broken, &key), Err(CertificateFault::Chain(_))));
    }

    #[tokio::test]
    async fn a_replaced_certificate_is_shown_from_the_next_handshake_on() {
        let source = CertificateSource::empty();
        let acceptor = tokio_rustls::TlsAcceptor::from(source.server_config(&["http/1.1"]));
        assert!(handshake(&acceptor, "one.example", "").await.is_err(), "there is none yet");
        let mut held = Vec::new();
        for name in ["one.example", "two.example"] {
            let (chain, key) = made(name, (2020, 2120));
            source.replace(read(&chain, &key).expect("good"));
            held.push(handshake(&acceptor, name, &chain).await.expect(name));
            assert_eq!(source.facts().expect("one").names, [name]);
        }
        // The connection of the first certificate still works.
        let (mut client, mut server) = held.remove(0);
        tokio::io::AsyncWriteExt::write_all(&mut client, b"still here").await.expect("written");
        tokio::io::AsyncWriteExt::flush(&mut client).await.expect("flushed");
        let mut room = [0; 10];
        tokio::io::AsyncReadExt::read_exact(&mut server, &mut room).await.expect("read");
        assert_eq!(&room, b"still here");
    }

    type Ends = (
        tokio_rustls::client::TlsStream<tokio::io::DuplexStream>,
        tokio_rustls::server::TlsStream<tokio::io::DuplexStream>,
    );

    async fn handshake(acceptor: &tokio_rustls::TlsAcceptor, name: &str, root: &str) -> std::io::Result<Ends> {
        let mut roots = rustls::RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(root.as_bytes()) {
            roots.add(der.expect("PEM")).expect("a root");
        }
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).expect("a name");
        let (client, server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
        Ok((client?, server?))
    }
}
