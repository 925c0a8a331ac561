//! From the settings of our own certificate to what the engine is handed.

use crate::config::{Certificate, Config};
use anyhow::{Context, bail};
use postrider_engine::{
    AcmeConfig, CertificateConfig, CertificateFiles, CertificateOrigin, DnsForFetch, ExternalAccount,
};
use postrider_fetch::{Cidr, FetchPolicy, Fetcher};
use postrider_mail::mailbox::DomainName;
use postrider_smtp::{CertificateSource, DnsResolver};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The largest answer of an authority: chains have some kilobytes.
const MOST_BYTES: usize = 1 << 20;
/// Authorities think longer than web pages do.
const PATIENCE: Duration = Duration::from_secs(30);
/// More names do not fit into one certificate of the large authorities.
const MOST_NAMES: usize = 100;

/// Reads the settings; files are not opened yet, but for the key of an external account and further roots.
pub fn configure(
    config: &Config,
    allow: Vec<Cidr>,
    resolver: Arc<DnsResolver>,
    source: CertificateSource,
) -> anyhow::Result<CertificateConfig> {
    let own = &config.certificate;
    let origin = match (&own.chain_file, &own.key_file, own.acme_directory.is_empty()) {
        (None, None, true) => {
            if config.https.listen.is_some() {
                bail!(
                    "https.listen is set and there is no certificate: set certificate.chain_file and key_file, or acme_directory"
                );
            }
            CertificateOrigin::Nowhere
        }
        (Some(chain), Some(key), true) => {
            CertificateOrigin::Files(CertificateFiles { chain: chain.clone(), key: key.clone() })
        }
        (None, None, false) => CertificateOrigin::Acme(Arc::new(authority(own, allow, resolver)?)),
        (Some(_), None, _) | (None, Some(_), _) => {
            bail!("certificate.chain_file and certificate.key_file belong together: set both or none")
        }
        (Some(_), Some(_), false) => {
            bail!(
                "the certificate comes from files or from an authority: set certificate.chain_file and key_file, or acme_directory"
            )
        }
    };
    Ok(CertificateConfig { origin, source, ..CertificateConfig::default() })
}

fn authority(own: &Certificate, allow: Vec<Cidr>, resolver: Arc<DnsResolver>) -> anyhow::Result<AcmeConfig> {
    let directory = own.acme_directory.as_str();
    let Some(rest) = directory.strip_prefix("https://") else {
        bail!("certificate.acme_directory must begin with https://")
    };
    if !own.acme_terms_agreed {
        bail!(
            "the authority has terms of service: read them and set certificate.acme_terms_agreed = true if you agree"
        );
    }
    if own.acme_names.is_empty() || own.acme_names.len() > MOST_NAMES {
        bail!("certificate.acme_names must hold 1 to {MOST_NAMES} host names");
    }
    let mut names = Vec::new();
    for name in &own.acme_names {
        if name.contains('*') {
            bail!("`{name}` in certificate.acme_names cannot be proved by http-01: name each host");
        }
        let name = DomainName::parse(name).with_context(|| format!("could not read the host name `{name}`"))?;
        names.push(name.as_str().to_owned());
    }
    // The directory may stand on a port of its own; nothing else of the authority does, as far as we know.
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let mut ports = vec![443];
    ports.extend(port.filter(|port| *port != 443));
    let policy = FetchPolicy { allow, max_bytes: MOST_BYTES, timeout: PATIENCE, ports };
    let mut fetcher = Fetcher::new(policy).with_resolver(Arc::new(DnsForFetch(resolver)));
    if let Some(path) = &own.acme_ca_file {
        fetcher = fetcher.with_roots(roots(path)?);
    }
    let external = match (own.acme_key_id.as_str(), &own.acme_key_file) {
        ("", None) => None,
        (id, Some(path)) if !id.is_empty() => {
            let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
            let account = ExternalAccount::read(id, &text);
            Some(account.with_context(|| format!("could not understand {}: it must hold base64url", path.display()))?)
        }
        (_, _) => bail!("certificate.acme_key_id and certificate.acme_key_file belong together: set both or none"),
    };
    let contact = own.acme_contact.iter().filter(|contact| !contact.is_empty()).cloned().collect();
    Ok(AcmeConfig { directory: directory.to_owned(), names, contact, external, fetcher })
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let text = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(&text) {
        let der = der.with_context(|| format!("could not understand {}", path.display()))?;
        roots.add(der).with_context(|| format!("could not use a certificate of {}", path.display()))?;
    }
    if roots.is_empty() {
        bail!("{} holds no certificate in PEM form", path.display());
    }
    Ok(roots)
}
