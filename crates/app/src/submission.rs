//! The listeners of the relay: bound here, so that an address that is taken is told at the start.
//!
//! Must not know what is said on them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use postrider_engine::{Security, SubmissionConfig, SubmissionListener};
use postrider_smtp::CertificateSource;
use tokio::net::TcpListener;

use crate::config::{Config, Listener, ListenerSecurity};

/// Where applications on this machine find us when nothing is configured.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2525);

/// Settings of the listeners.
pub fn configure(config: &Config, certificate: CertificateSource) -> SubmissionConfig {
    let set = &config.submission;
    let name = if set.name.is_empty() { &config.smtp.ehlo_name } else { &set.name };
    SubmissionConfig {
        size: set.max_message_bytes,
        connections: set.connections,
        ..SubmissionConfig::new(name.clone(), certificate)
    }
}

/// Binds the listeners, and says where they are.
pub async fn bind(config: &Config) -> anyhow::Result<Vec<SubmissionListener>> {
    let Some(wanted) = &config.submission.listeners else {
        return Ok(match TcpListener::bind(USUAL).await {
            Ok(socket) => vec![listener(socket, Security::Clear, Vec::new())],
            Err(error) => {
                tracing::warn!(event = "submission.none", address = %USUAL, %error, "the relay listens nowhere: set submission.listeners");
                Vec::new()
            }
        });
    };
    let mut bound = Vec::new();
    for one in wanted {
        let security = check(config, one)?;
        let socket = TcpListener::bind(one.listen).await.with_context(|| {
            format!("could not listen on {} for the relay: set submission.listeners to free addresses", one.listen)
        })?;
        let mut proxies = Vec::new();
        for range in &one.proxy_from {
            proxies.push(range.parse().with_context(|| format!("could not read the range `{range}` of proxy_from"))?);
        }
        bound.push(listener(socket, security, proxies));
    }
    Ok(bound)
}

fn listener(socket: TcpListener, security: Security, proxies: Vec<postrider_smtp::IpRange>) -> SubmissionListener {
    SubmissionListener { socket: Arc::new(socket), security, proxies }
}

fn check(config: &Config, one: &Listener) -> anyhow::Result<Security> {
    let certificate = &config.certificate;
    let has_certificate = certificate.chain_file.is_some() || !certificate.acme_directory.is_empty();
    Ok(match one.security {
        ListenerSecurity::Clear if !one.listen.ip().is_loopback() => bail!(
            "could not listen on {} in clear: passwords would be heard on the way; use security = \"starttls\" and a certificate",
            one.listen
        ),
        ListenerSecurity::Clear => Security::Clear,
        ListenerSecurity::StartTls | ListenerSecurity::Tls if !has_certificate => bail!(
            "could not listen on {}: TLS needs a certificate; set certificate.chain_file and key_file, or ACME (docs/certificates.md)",
            one.listen
        ),
        ListenerSecurity::StartTls => Security::StartTls,
        ListenerSecurity::Tls => Security::Implicit,
    })
}
