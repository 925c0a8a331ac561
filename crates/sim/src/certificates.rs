//! Certificates of the simulated hosts: an authority of the world's own, and good and bad ones under it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::place::{Place, Tls};
use crate::zone::SUFFIXES;

/// The world's authority; new in each world.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// What went wrong; the text is the library's.
type Failed = String;

impl Authority {
    pub(crate) fn new() -> Result<Self, Failed> {
        let mut params = CertificateParams::new(Vec::new()).map_err(text)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Postrider simulated authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(text)?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key).map_err(text)? })
    }

    /// The authority's certificate, for a client that shall trust this world.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The TLS settings of a place; `None` when it needs none.
    pub(crate) fn server_config(&self, place: &Place) -> Result<Option<Arc<ServerConfig>>, Failed> {
        let label = match place.tls {
            // The handshake of these never comes to a certificate.
            Tls::None | Tls::Broken | Tls::Refused | Tls::Injected => return Ok(None),
            Tls::WrongName => "another-host",
            Tls::SelfSigned | Tls::Trusted | Tls::Expired => place.name,
        };
        let names: Vec<String> =
            SUFFIXES.iter().flat_map(|suffix| [format!("{label}.{suffix}"), format!("*.{label}.{suffix}")]).collect();
        let mut params = CertificateParams::new(names).map_err(text)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("mx1.{label}.test"));
        if place.tls == Tls::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().map_err(text)?;
        let certificate =
            if place.tls == Tls::SelfSigned { params.self_signed(&key) } else { params.signed_by(&key, &self.issuer) }
                .map_err(text)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(text)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(text)?;
        Ok(Some(Arc::new(config)))
    }
}

fn text(error: impl std::fmt::Display) -> Failed {
    error.to_string()
}
