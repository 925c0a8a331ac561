//! The resolver of a real node: hickory asks, and a bounded cache of our own remembers.
//!
//! Knows DNS. Does not know what the answers are used for.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use postrider_mail::mailbox::DomainName;
use tokio::sync::Semaphore;

use crate::dial::BoxFuture;
use crate::dns_cache::Cache;
use crate::resolve::{MxAnswer, MxHost, ResolveError, Resolver};

/// Positive answers are kept at least this long, whatever their TTL says: a campaign asks the same again.
const LEAST_TTL: Duration = Duration::from_secs(30);
/// Positive answers are kept at most this long.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// "Does not exist" is kept at most this long; a domain may just be coming up.
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(5 * 60);
/// More MX hosts than this are cut off: nobody needs them, and a hostile zone may list thousands.
const MOST_MX_HOSTS: usize = 32;
/// More addresses of one host and family than this are cut off.
const MOST_ADDRESSES: usize = 16;
/// More TXT records of one name than this are cut off.
const MOST_TXT: usize = 64;

/// Which DNS server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameServer {
    /// Those that the operating system is set up with.
    System,
    /// This one, by UDP and TCP.
    At(SocketAddr),
}

/// Which addresses of a host are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// A and AAAA.
    Both,
    /// A only: for machines without IPv6.
    V4Only,
    /// AAAA only.
    V6Only,
}

/// How the resolver behaves.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Which server is asked.
    pub name_server: NameServer,
    /// How long one try of one question may take.
    pub timeout: Duration,
    /// How many tries follow the first one.
    pub retries: usize,
    /// How many names the cache holds, for each kind of question.
    pub cache_entries: usize,
    /// Questions in the air at the same time; more wait for a place.
    pub concurrency: usize,
    /// Which addresses are looked up.
    pub family: AddressFamily,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            name_server: NameServer::System,
            timeout: Duration::from_secs(5),
            retries: 2,
            cache_entries: 50_000,
            concurrency: 256,
            family: AddressFamily::Both,
        }
    }
}

/// The resolver could not be set up; reads after "could not start the DNS resolver".
#[derive(Debug, thiserror::Error)]
#[error("{0}; check the name server setting or the system's resolver file")]
pub struct DnsSetupError(String);

/// [`Resolver`] over hickory. Clones share the cache.
#[derive(Clone)]
pub struct DnsResolver {
    inner: Arc<Inner>,
}

struct Inner {
    hickory: TokioResolver,
    family: AddressFamily,
    /// The longest that one whole lookup may take, CNAME hops and retries included.
    deadline: Duration,
    places: Semaphore,
    mx: Cache<MxAnswer>,
    addresses: Cache<Vec<IpAddr>>,
    txt: Cache<Vec<String>>,
    /// Rare questions about our own domains: one small cache each.
    zones: Cache<String>,
    names: Cache<Vec<String>>,
    caa: Cache<Vec<String>>,
}

/// An answer and how long it may be kept, as DNS says.
type Timed<T> = (T, Duration);

impl DnsResolver {
    /// Sets up a resolver; asks nothing yet.
    pub fn new(config: &DnsConfig) -> Result<Self, DnsSetupError> {
        let setup = |error: NetError| DnsSetupError(error.to_string());
        let mut builder = match config.name_server {
            NameServer::System => TokioResolver::builder_tokio().map_err(setup)?,
            NameServer::At(address) => {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = address.port();
                }
                let server = NameServerConfig::new(address.ip(), true, connections);
                let servers = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = config.timeout;
        options.attempts = config.retries;
        options.cache_size = 0; // ours has the TTL rules that mail needs
        options.use_hosts_file = ResolveHosts::Never; // MX targets are names of the internet, not of this machine
        options.max_active_requests = config.concurrency.max(1);
        let tries = u32::try_from(config.retries).unwrap_or(u32::MAX).saturating_add(1);
        let inner = Inner {
            hickory: builder.build().map_err(setup)?,
            family: config.family,
            // Two transports (UDP, then TCP when truncated) and a CNAME hop or two.
            deadline: config.timeout.saturating_mul(tries.saturating_mul(2)),
            places: Semaphore::new(config.concurrency.max(1)),
            mx: Cache::new(config.cache_entries),
            addresses: Cache::new(config.cache_entries),
            txt: Cache::new(config.cache_entries),
            zones: Cache::new(config.cache_entries.min(1_000)),
            names: Cache::new(config.cache_entries.min(1_000)),
            caa: Cache::new(config.cache_entries.min(1_000)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Forgets everything, so that the next question goes to the server.
    pub fn forget(&self) {
        self.inner.mx.clear();
        self.inner.addresses.clear();
        self.inner.txt.clear();
        self.inner.zones.clear();
        self.inner.names.clear();
        self.inner.caa.clear();
    }
}

impl Resolver for DnsResolver {
    fn mx<'a>(&'a self, domain: &'a DomainName) -> BoxFuture<'a, Result<MxAnswer, ResolveError>> {
        let inner = &self.inner;
        Box::pin(async move { inner.mx.get_or_ask(domain.as_str(), || inner.ask_mx(domain.as_str())).await })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let inner = &self.inner;
        Box::pin(async move {
            let host = canonical(host);
            inner.addresses.get_or_ask(&host, || inner.ask_addresses(&host)).await
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        let inner = &self.inner;
        Box::pin(async move {
            let name = canonical(name);
            inner.txt.get_or_ask(&name, || inner.ask_txt(&name)).await
        })
    }

    fn zone_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<String, ResolveError>> {
        let inner = &self.inner;
        Box::pin(async move {
            let name = canonical(name);
            inner.zones.get_or_ask(&name, || inner.ask_zone(&name)).await
        })
    }

    fn names_of<'a>(&'a self, address: IpAddr) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        let inner = &self.inner;
        Box::pin(async move {
            let name = canonical(&Name::from(address).to_ascii());
            inner.names.get_or_ask(&name, || inner.ask_names(&name)).await
        })
    }

    fn caa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        let inner = &self.inner;
        Box::pin(async move {
            let name = canonical(name);
            inner.caa.get_or_ask(&name, || inner.ask_caa(&name)).await
        })
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Inner {
    async fn ask_mx(&self, domain: &str) -> Result<Timed<MxAnswer>, Negative> {
        let answer = match self.lookup(domain, RecordType::MX).await {
            Ok(lookup) => mx_answer(&lookup),
            // Only "the name is there, but no MX" leads to the implicit MX; NXDOMAIN ends here.
            Err(Negative { nxdomain: false, error: ResolveError::NotFound, .. }) => None,
            Err(negative) => return Err(negative),
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
        // RFC 5321 5.1: no MX record, so the domain is its own host, if it has an address.
        let (_, ttl) = self.ask_addresses(domain).await?;
        Ok((MxAnswer::Hosts(vec![MxHost { preference: 0, name: domain.to_owned() }]), ttl))
    }

    async fn ask_addresses(&self, host: &str) -> Result<Timed<Vec<IpAddr>>, Negative> {
        let (v4, v6) = tokio::join!(
            when(self.family != AddressFamily::V6Only, self.lookup(host, RecordType::A)),
            when(self.family != AddressFamily::V4Only, self.lookup(host, RecordType::AAAA)),
        );
        let mut found = Vec::new();
        let mut ttl = LONGEST_TTL;
        let mut negative: Option<Negative> = None;
        for answer in [v4, v6].into_iter().flatten() {
            match answer {
                Ok(lookup) => {
                    found.extend(
                        lookup.answers().iter().filter_map(|record| record.data.ip_addr()).take(MOST_ADDRESSES),
                    );
                    ttl = ttl.min(ttl_of(&lookup));
                }
                Err(error) => negative = Some(negative.map_or(error.clone(), |first| first.weaker(error))),
            }
        }
        if found.is_empty() { Err(negative.unwrap_or_else(Negative::no_data)) } else { Ok((found, ttl)) }
    }

    async fn ask_txt(&self, name: &str) -> Result<Timed<Vec<String>>, Negative> {
        let lookup = self.lookup(name, RecordType::TXT).await?;
        let records: Vec<String> = lookup
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
                _ => None, // the library's record types, not ours: a CNAME on the way, say
            })
            .take(MOST_TXT)
            .collect();
        if records.is_empty() { Err(Negative::no_data()) } else { Ok((records, ttl_of(&lookup))) }
    }

    async fn ask_zone(&self, name: &str) -> Result<Timed<String>, Negative> {
        match self.lookup(name, RecordType::SOA).await {
            Ok(lookup) => {
                let owner = lookup.answers().iter().find_map(|record| match &record.data {
                    RData::SOA(_) => Some(canonical(&record.name.to_ascii())),
                    _ => None, // the library's record types: a CNAME on the way, say
                });
                Ok((owner.ok_or_else(Negative::no_data)?, ttl_of(&lookup)))
            }
            Err(Negative { zone: Some(zone), keep, .. }) => Ok((zone, keep)),
            Err(negative) => Err(negative),
        }
    }

    async fn ask_names(&self, name: &str) -> Result<Timed<Vec<String>>, Negative> {
        let lookup = self.lookup(name, RecordType::PTR).await?;
        let names = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::PTR(name) => Some(canonical(&name.0.to_ascii())),
            _ => None, // the library's record types
        });
        let names: Vec<String> = names.take(MOST_ADDRESSES).collect();
        if names.is_empty() { Err(Negative::no_data()) } else { Ok((names, ttl_of(&lookup))) }
    }

    async fn ask_caa(&self, name: &str) -> Result<Timed<Vec<String>>, Negative> {
        let lookup = self.lookup(name, RecordType::CAA).await?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::CAA(caa) => Some(caa.to_string()),
            _ => None, // the library's record types
        });
        let records: Vec<String> = records.take(MOST_TXT).collect();
        if records.is_empty() { Err(Negative::no_data()) } else { Ok((records, ttl_of(&lookup))) }
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Lookup, Negative> {
        let mut fqdn = Name::from_ascii(name).map_err(|_| Negative::no_data())?;
        fqdn.set_fqdn(true); // no search list: example.com must never become example.com.our.domain
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        match tokio::time::timeout(self.deadline, self.hickory.lookup(fqdn, kind)).await {
            Ok(Ok(lookup)) => Ok(lookup),
            Ok(Err(error)) => Err(Negative::from_library(&error)),
            Err(_) => Err(Negative::temporary(format!("no answer within {:?}", self.deadline))),
        }
    }
}

async fn when<T>(wanted: bool, future: impl Future<Output = T>) -> Option<T> {
    if wanted { Some(future.await) } else { None }
}

fn ttl_of(lookup: &Lookup) -> Duration {
    let seconds = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
    Duration::from_secs(u64::from(seconds)).clamp(LEAST_TTL, LONGEST_TTL)
}

/// `None` when the answer holds no usable MX record.
fn mx_answer(lookup: &Lookup) -> Option<Timed<MxAnswer>> {
    let mut hosts = Vec::new();
    let mut null = false;
    for record in lookup.answers() {
        let RData::MX(mx) = &record.data else { continue };
        if mx.exchange.is_root() {
            null = true;
        } else {
            hosts.push(MxHost { preference: mx.preference, name: canonical(&mx.exchange.to_ascii()) });
        }
    }
    if hosts.is_empty() {
        return null.then(|| (MxAnswer::NullMx, ttl_of(lookup)));
    }
    // RFC 7505 3: a null MX beside others is a mistake of the zone; the real hosts count.
    hosts.sort_by(|a, b| (a.preference, &a.name).cmp(&(b.preference, &b.name)));
    hosts.dedup_by(|later, earlier| later.name == earlier.name);
    hosts.truncate(MOST_MX_HOSTS);
    Some((MxAnswer::Hosts(hosts), ttl_of(lookup)))
}

/// A failed question: what the caller hears, and how long it may be remembered.
#[derive(Debug, Clone)]
pub(crate) struct Negative {
    pub(crate) error: ResolveError,
    pub(crate) keep: Duration,
    nxdomain: bool,
    /// The apex of the zone that says so, from the SOA record of a negative answer (RFC 2308 2).
    zone: Option<String>,
}

impl Negative {
    fn no_data() -> Self {
        Self { error: ResolveError::NotFound, keep: Duration::ZERO, nxdomain: false, zone: None }
    }

    pub(crate) fn temporary(text: String) -> Self {
        Self { error: ResolveError::Temporary(text), keep: Duration::ZERO, nxdomain: false, zone: None }
    }

    /// Of two failed questions about one host the one that says less: "no answer" beats "does not exist".
    fn weaker(self, other: Self) -> Self {
        match (&self.error, &other.error) {
            (ResolveError::NotFound, ResolveError::Temporary(_)) => other,
            (ResolveError::NotFound | ResolveError::Temporary(_), _) => self,
        }
    }

    fn from_library(error: &NetError) -> Self {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => {
                let nxdomain = none.response_code == ResponseCode::NXDomain;
                // Name servers without a SOA are a referral: the server asked has no authority here.
                if !nxdomain && none.soa.is_none() && none.ns.is_some() {
                    return Self::temporary("the server answered with a referral only".to_owned());
                }
                let keep = Duration::from_secs(u64::from(none.negative_ttl.unwrap_or(0)));
                let zone = none.soa.as_ref().map(|soa| canonical(&soa.name.to_ascii()));
                Self { error: ResolveError::NotFound, keep: keep.min(LONGEST_NEGATIVE_TTL), nxdomain, zone }
            }
            NetError::Dns(DnsError::ResponseCode(code)) => Self::temporary(format!("the server answered {code}")),
            other => Self::temporary(other.to_string()),
        }
    }
}
