//! From the settings of TLS reports to what the engine is handed.

use crate::config::Config;
use anyhow::{Context, bail};
use postrider_engine::{DnsForFetch, TLS_REPORT_PATIENCE, TlsReportConfig};
use postrider_fetch::{Cidr, FetchPolicy, Fetcher};
use postrider_mail::mailbox::Mailbox;
use postrider_smtp::DnsResolver;
use std::sync::Arc;

/// Nobody has to say much to a report.
const MOST_BYTES: usize = 64 << 10;

/// Reads the settings; `None` while no mailbox is named.
pub fn configure(
    config: &Config,
    allow: Vec<Cidr>,
    resolver: Arc<DnsResolver>,
) -> anyhow::Result<Option<TlsReportConfig>> {
    let own = &config.tls_report;
    if own.from.is_empty() {
        return Ok(None);
    }
    let mailbox = |name: &str, text: &str| {
        Mailbox::parse(text).with_context(|| format!("could not read tls_report.{name} `{text}`"))
    };
    let from = mailbox("from", &own.from)?;
    let contact = if own.contact.is_empty() { from.clone() } else { mailbox("contact", &own.contact)? };
    if own.organization.chars().any(char::is_control) || own.organization.len() > 200 {
        bail!("tls_report.organization must be one line of at most 200 bytes");
    }
    let organization = if own.organization.is_empty() { from.domain().to_string() } else { own.organization.clone() };
    let policy = FetchPolicy { allow, max_bytes: MOST_BYTES, timeout: TLS_REPORT_PATIENCE, ports: vec![443] };
    let fetcher = Fetcher::new(policy).with_resolver(Arc::new(DnsForFetch(resolver)));
    Ok(Some(TlsReportConfig { from, organization, contact: contact.wire(), fetcher }))
}
