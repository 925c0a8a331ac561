//! TLS for the SMTP client: what to ask for, the handshake, and what came of it.
//!
//! Knows rustls. Does not know SMTP commands (see `client`), nor which mode a destination needs: the caller says.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use crate::dane::{DaneRecords, DaneVerifier};
use crate::dial::BoxStream;

/// What a connection asks of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS, even if it is offered.
    Never,
    /// STARTTLS when offered, with any certificate; clear text only when it is not offered (RFC 7435).
    Opportunistic,
    /// STARTTLS or nothing, with any certificate.
    RequiredAny,
    /// STARTTLS or nothing, with a certificate for the host name from a trusted root.
    RequiredVerified,
    /// STARTTLS or nothing, with a certificate that these TLSA records name (RFC 7672).
    RequiredDane(DaneTarget),
    /// TLS from the first byte, verified (RFC 8314: submission on port 465).
    Implicit,
    /// TLS from the first byte, with any certificate: a smarthost with a self-signed one.
    ImplicitAny,
}

/// What a DANE handshake compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaneTarget {
    /// The validated records of the host.
    pub records: Arc<DaneRecords>,
    /// The recipient's domain: a DANE-TA certificate may carry it in place of the base domain (RFC 7672 3.2.2).
    pub domain: String,
}

/// How far the peer's certificate can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is valid for the host name and comes from a trusted root.
    Verified,
    /// TLSA records name it (RFC 7672).
    Dane,
    /// It would not have verified; the mode accepts that.
    Unverified,
    /// There were no roots to compare it with.
    Unknown,
}

/// What a finished handshake agreed on, as text for the attempt's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite by its IANA name, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether the certificate could be trusted.
    pub trust: Trust,
    /// What is wrong with a certificate that would not have verified.
    pub fault: Option<TlsFault>,
}

/// What is wrong with TLS of a host, in the classes that RFC 8460 4.3 reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsFault {
    /// STARTTLS is not offered, or was refused.
    NotOffered,
    /// The certificate's time is over or has not begun.
    Expired,
    /// The certificate is for other names.
    WrongName,
    /// The certificate comes from no trusted root, or no TLSA record names it.
    Untrusted,
    /// Anything else in the handshake: no common version, broken messages, the connection lost, too slow.
    Handshake,
    /// Bytes came in clear after the reply to STARTTLS: somebody tries to slip commands in.
    Injected,
    /// Our own side: no roots, or a host name that no certificate can carry.
    Ours,
}

impl TlsFault {
    /// In words, for a sentence about the host.
    pub const fn as_str(self) -> &'static str {
        match self {
            TlsFault::NotOffered => "STARTTLS is not offered",
            TlsFault::Expired => "the certificate is not valid at this time",
            TlsFault::WrongName => "the certificate is for another name",
            TlsFault::Untrusted => "the certificate comes from no trusted issuer",
            TlsFault::Handshake => "the handshake failed",
            TlsFault::Injected => "bytes came in clear after STARTTLS",
            TlsFault::Ours => "certificates cannot be checked here",
        }
    }

    fn of(error: &rustls::Error) -> TlsFault {
        let rustls::Error::InvalidCertificate(error) = error else { return TlsFault::Handshake };
        match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFault::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            _ => TlsFault::Untrusted, // the library's list of reasons grows
        }
    }
}

impl std::fmt::Display for TlsInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trust = match self.trust {
            Trust::Verified => "verified",
            Trust::Dane => "by TLSA",
            Trust::Unverified => "unverified",
            Trust::Unknown => "not checked",
        };
        write!(f, "{} {} ({trust})", self.version, self.cipher)
    }
}

/// Which roots certificates are checked against.
#[derive(Debug, Clone)]
pub enum Roots {
    /// Those of the operating system.
    Native,
    /// Those in this PEM text.
    Pem(Vec<u8>),
    /// None: the verified modes fail, the others work.
    Empty,
}

/// Why TLS is not there; reads after "could not start TLS".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The roots could not be read.
    #[error("the root certificates cannot be read: {0}; install the system's certificate package or name a PEM file")]
    Roots(String),
    /// The library refused its configuration.
    #[error("the TLS library refused its configuration: {0}")]
    Setup(String),
    /// A verified mode was asked for, and there is no root to verify with.
    #[error("there is no root certificate to check the host's certificate with; name a PEM file")]
    NoRoots,
    /// The host name cannot be in a certificate.
    #[error("{0:?} is no host name that a certificate can carry")]
    HostName(String),
    /// The handshake failed.
    #[error("the handshake failed: {text}")]
    Handshake {
        /// In which way.
        fault: TlsFault,
        /// What the library said.
        text: String,
    },
    /// The handshake took too long.
    #[error("the handshake took longer than {0:?}")]
    Timeout(Duration),
}

impl TlsError {
    /// The class of the fault.
    pub const fn fault(&self) -> TlsFault {
        match self {
            TlsError::Roots(_) | TlsError::Setup(_) | TlsError::NoRoots | TlsError::HostName(_) => TlsFault::Ours,
            TlsError::Handshake { fault, .. } => *fault,
            TlsError::Timeout(_) => TlsFault::Handshake,
        }
    }
}

/// The TLS side of a client, made once and shared by all connections.
#[derive(Clone)]
pub struct TlsClient {
    provider: Arc<CryptoProvider>,
    any: Arc<ClientConfig>,
    verified: Option<(Arc<ClientConfig>, Arc<WebPkiServerVerifier>)>,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsClient").field("has_roots", &self.verified.is_some()).finish()
    }
}

impl TlsClient {
    /// Loads the roots and builds the two configurations (TLS 1.2 and 1.3, aws-lc-rs).
    pub fn new(roots: &Roots) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let store = load(roots)?;
        let verified = if store.is_empty() {
            None
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| TlsError::Setup(error.to_string()))?;
            let config = builder(&provider)?.with_webpki_verifier(Arc::clone(&verifier)).with_no_client_auth();
            Some((Arc::new(config), verifier))
        };
        let accept_any = Arc::new(AcceptAny { provider: Arc::clone(&provider) });
        let any = builder(&provider)?.dangerous().with_custom_certificate_verifier(accept_any).with_no_client_auth();
        Ok(Self { provider, any: Arc::new(any), verified })
    }

    /// Runs the handshake, taking the certificate of anybody; says afterwards whether it would have verified.
    pub async fn handshake_any(
        &self,
        stream: BoxStream,
        host: &str,
        within: Duration,
    ) -> Result<(BoxStream, TlsInfo), TlsError> {
        // A host name that no certificate can carry (an underscore, an address) matters in verified mode only.
        let name = ServerName::try_from(host.to_owned())
            .or_else(|_| ServerName::try_from("invalid.invalid".to_owned()))
            .map_err(|_| TlsError::HostName(host.to_owned()))?;
        self.handshake(stream, name, &self.any, within, None).await
    }

    /// Runs the handshake and refuses a certificate that is not for `host` or not from a trusted root.
    pub async fn handshake_verified(
        &self,
        stream: BoxStream,
        host: &str,
        within: Duration,
    ) -> Result<(BoxStream, TlsInfo), TlsError> {
        let (config, _) = self.verified.as_ref().ok_or(TlsError::NoRoots)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::HostName(host.to_owned()))?;
        self.handshake(stream, name, config, within, Some(Trust::Verified)).await
    }

    /// Runs the handshake and refuses a certificate that the TLSA records do not name. SNI carries their base domain.
    pub async fn handshake_dane(
        &self,
        stream: BoxStream,
        target: &DaneTarget,
        within: Duration,
    ) -> Result<(BoxStream, TlsInfo), TlsError> {
        let base = &target.records.base;
        let name = ServerName::try_from(base.clone()).map_err(|_| TlsError::HostName(base.clone()))?;
        let verifier = DaneVerifier {
            records: Arc::clone(&target.records),
            also: ServerName::try_from(target.domain.clone()).ok(),
            provider: Arc::clone(&self.provider),
        };
        // Its own configuration, so that no session of another policy is resumed: a resumed one is not verified again.
        let config = builder(&self.provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        self.handshake(stream, name, &Arc::new(config), within, Some(Trust::Dane)).await
    }

    async fn handshake(
        &self,
        stream: BoxStream,
        name: ServerName<'static>,
        config: &Arc<ClientConfig>,
        within: Duration,
        known_trust: Option<Trust>,
    ) -> Result<(BoxStream, TlsInfo), TlsError> {
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = tokio::time::timeout(within, connector.connect(name.clone(), stream))
            .await
            .map_err(|_| TlsError::Timeout(within))?
            .map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                TlsError::Handshake { fault: inner.map_or(TlsFault::Handshake, TlsFault::of), text: error.to_string() }
            })?;
        let (_, session) = stream.get_ref();
        let (trust, fault) = match known_trust {
            Some(trust) => (trust, None),
            None => self.trust(session.peer_certificates(), &name),
        };
        let info = TlsInfo {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(_) | None => "unknown", // the builder below admits no other version
            },
            cipher: session.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            trust,
            fault,
        };
        Ok((Box::new(stream), info))
    }

    fn trust(&self, chain: Option<&[CertificateDer<'static>]>, name: &ServerName<'_>) -> (Trust, Option<TlsFault>) {
        let Some((_, verifier)) = &self.verified else { return (Trust::Unknown, None) };
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            return (Trust::Unverified, Some(TlsFault::Untrusted));
        };
        match verifier.verify_server_cert(leaf, intermediates, name, &[], UnixTime::now()) {
            Ok(_) => (Trust::Verified, None),
            Err(error) => (Trust::Unverified, Some(TlsFault::of(&error))),
        }
    }
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    // SR-25: TLS 1.2 at least.
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Setup(error.to_string()))
}

fn load(roots: &Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Native => {
            // A machine without a certificate package can still do opportunistic TLS.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Roots::Pem(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| TlsError::Roots(error.to_string()))?;
                store.add(certificate).map_err(|error| TlsError::Roots(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(TlsError::Roots("the PEM text holds no certificate".to_owned()));
            }
        }
        Roots::Empty => {}
    }
    Ok(store)
}

/// Accepts every certificate. Opportunistic TLS protects against listening only: whoever could present a false
/// certificate could as well strip STARTTLS from the dialogue, so a failed check must not lead to clear text.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // The signatures are not checked either: the library cannot parse the old or odd certificates that many MX
    // hosts carry, and with any key accepted the check would prove nothing.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
