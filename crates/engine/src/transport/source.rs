//! Where MTA-STS policy files come from: the one guarded HTTP client, or a test's own table.
//!
//! Must not know what a policy says.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use postrider_fetch::{FetchError, FetchRequest, Fetcher, Resolve};
use postrider_smtp::{BoxFuture, ResolveError, Resolver};

/// The largest policy file (RFC 8461 3.3).
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// Why there is no policy file; reads after "could not fetch the policy".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The web host was not reached, or it answered something else.
    #[error("{0}")]
    Fetch(String),
    /// The certificate of the web host does not verify.
    #[error("{0}")]
    Certificate(String),
    /// What came is no policy file.
    #[error("{0}")]
    Invalid(String),
}

/// Fetches the policy file of a domain.
pub trait PolicySource: Send + Sync {
    /// The text of `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`.
    fn fetch<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<String, PolicyFault>>;
}

/// Fetches policy files from the web (RFC 8461 3.3): verified for `mta-sts.DOMAIN`, no redirects, at most 64 KiB.
#[derive(Debug, Clone)]
pub struct WebPolicies {
    /// The client; its own caps apply as well.
    pub fetcher: Fetcher,
    /// The port of policy hosts: 443, another one only in a rehearsal.
    pub port: u16,
}

impl WebPolicies {
    async fn get(&self, domain: &str) -> Result<String, PolicyFault> {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let url = format!("https://mta-sts.{domain}{port}/.well-known/mta-sts.txt");
        let answer = self.fetcher.fetch(FetchRequest::get(url)).await.map_err(|error| match error {
            FetchError::Tls { .. } => PolicyFault::Certificate(error.to_string()),
            other => PolicyFault::Fetch(other.to_string()),
        })?;
        if answer.status != 200 {
            return Err(PolicyFault::Fetch(format!("the web host answered {}", answer.status)));
        }
        // RFC 8461 3.2: a policy is text/plain, whatever else somebody serves at that path.
        let kind = answer.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("text/plain") {
            return Err(PolicyFault::Invalid(format!("its media type is {kind:?} and not text/plain")));
        }
        if answer.body.len() > MAX_BYTES {
            return Err(PolicyFault::Invalid(format!("it is larger than {MAX_BYTES} bytes")));
        }
        String::from_utf8(answer.body.to_vec()).map_err(|_| PolicyFault::Invalid("it is no UTF-8".to_owned()))
    }
}

impl PolicySource for WebPolicies {
    fn fetch<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<String, PolicyFault>> {
        Box::pin(self.get(domain))
    }
}

/// Lets the HTTP client ask the resolver that mail asks, so that there is one DNS in the program.
#[derive(Clone)]
pub struct DnsForFetch(pub Arc<dyn Resolver>);

impl Resolve for DnsForFetch {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            self.0.addresses(name).await.map_err(|error| match error {
                ResolveError::NotFound => io::Error::new(io::ErrorKind::NotFound, error.to_string()),
                ResolveError::Temporary(_) => io::Error::other(error.to_string()),
            })
        })
    }
}
