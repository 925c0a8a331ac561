//! Resolve, check, connect to the checked address: the order that keeps a fetch out of our own network.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::Method;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::FetchError;
use crate::exchange::{Answer, FetchRequest, FetchResponse, LOCATION_SHOWN, Line, exchange};
use crate::policy::FetchPolicy;
use crate::target::{Host, Scheme, Target};

/// How many of a host's addresses are tried.
const ADDRESSES_TRIED: usize = 4;
/// How long one of several addresses may take to answer, so that a dead one leaves time for the next.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// Looks a host name up. Passed in, so that tests decide what a name leads to.
pub trait Resolve: Send + Sync {
    /// All addresses of the name, IPv4 and IPv6. The fetcher asks once per fetch and checks every answer.
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move { Ok(lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// Fetches by one policy. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    policy: FetchPolicy,
    resolver: Arc<dyn Resolve>,
    roots: Roots,
}

/// Reading the system's certificates takes time, so it waits for the first `https`.
#[derive(Clone)]
enum Roots {
    System(Arc<OnceLock<Arc<ClientConfig>>>),
    Given(Arc<ClientConfig>),
}

impl Fetcher {
    /// A fetcher that asks the system's resolver and trusts the system's certificates.
    pub fn new(policy: FetchPolicy) -> Self {
        Self { policy, resolver: Arc::new(SystemResolver), roots: Roots::System(Arc::default()) }
    }

    /// The same fetcher with another resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// The same fetcher that trusts these certificates alone.
    #[must_use]
    pub fn with_roots(mut self, roots: RootCertStore) -> Self {
        self.roots = Roots::Given(tls_config(roots));
        self
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// When the policy forbids it, nobody answers in time, or the answer is a redirect, too large or no HTTP. An
    /// answer with any other status, also 404 or 500, is no error.
    pub async fn fetch(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let limit = self.policy.timeout;
        timeout(limit, self.follow(request)).await.unwrap_or(Err(FetchError::Timeout(limit)))
    }

    /// One exchange, and further ones where the request allows redirects. The time limit holds for all of them together.
    async fn follow(&self, mut request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let mut target = Target::parse(&request.url)?;
        loop {
            self.policy.check_port(target.port)?;
            let (status, location) = match self.fetch_from(&target, request.clone()).await? {
                Answer::Response(response) => return Ok(response),
                Answer::Redirect { status, location } => (status, location),
            };
            if request.redirects == 0 || request.method != Method::GET {
                let location = location.chars().take(LOCATION_SHOWN).collect();
                return Err(FetchError::Redirect { status, location });
            }
            let next = target.hop(&location)?;
            request.redirects -= 1;
            if (next.scheme, &next.host, next.port) != (target.scheme, &target.host, target.port) {
                // They may hold what is meant for the first host only.
                request.headers.clear();
            }
            target = next;
        }
    }

    async fn fetch_from(&self, target: &Target, request: FetchRequest) -> Result<Answer, FetchError> {
        let addresses = self.checked_addresses(&target.host).await?;
        let (stream, address) = connect(&addresses, target.port).await?;
        let max_bytes = self.policy.max_bytes;
        match target.scheme {
            Scheme::Http => exchange(Line { stream: TokioIo::new(stream), address, max_bytes }, target, request).await,
            Scheme::Https => {
                let (name, server) = match &target.host {
                    Host::Name(name) => (name.clone(), ServerName::try_from(name.clone())),
                    Host::Address(address) => (address.to_string(), Ok(ServerName::from(*address))),
                };
                let server = server.map_err(|_| FetchError::Url("its host is no domain name"))?;
                let connector = TlsConnector::from(self.roots.config());
                let stream =
                    connector.connect(server, stream).await.map_err(|error| FetchError::Tls { host: name, error })?;
                exchange(Line { stream: TokioIo::new(stream), address, max_bytes }, target, request).await
            }
        }
    }

    /// One forbidden address among several forbids the host: who mixes them does not mean well.
    async fn checked_addresses(&self, host: &Host) -> Result<Vec<IpAddr>, FetchError> {
        let addresses = match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let lookup = |error| FetchError::Lookup { host: name.clone(), error };
                let addresses = self.resolver.resolve(name).await.map_err(lookup)?;
                if addresses.is_empty() {
                    return Err(lookup(io::Error::new(io::ErrorKind::NotFound, "it has no address")));
                }
                addresses
            }
        };
        addresses.iter().try_for_each(|address| self.policy.check_address(*address))?;
        Ok(addresses)
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fetcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Roots {
    fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Given(config) => Arc::clone(config),
            Self::System(config) => Arc::clone(config.get_or_init(|| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                tls_config(roots)
            })),
        }
    }
}

fn tls_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

async fn connect(addresses: &[IpAddr], port: u16) -> Result<(TcpStream, IpAddr), FetchError> {
    let mut failure = FetchError::Url("it has no host");
    for &address in addresses.iter().take(ADDRESSES_TRIED) {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        let tried = timeout(CONNECT_WAIT, TcpStream::connect(SocketAddr::new(address, port))).await;
        match tried.unwrap_or_else(|_| Err(late())) {
            Ok(stream) => {
                // Small requests: waiting for a full segment only costs time.
                let _ = stream.set_nodelay(true);
                return Ok((stream, address));
            }
            Err(error) => failure = FetchError::Connect { address, error },
        }
    }
    Err(failure)
}
