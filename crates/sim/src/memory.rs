//! The same world without a socket: a resolver and a dialer over pipes in memory, for tests of a whole engine on a
//! hand-wound clock (`tokio::time::pause`).
//!
//! Hosts, behaviours and records are those of the world with sockets; only DNS packets and TCP are left out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError};

use postrider_mail::DomainName;
use postrider_smtp::server::{SessionConfig, serve};
use postrider_smtp::{BoxFuture, BoxStream, DialError, Dialer, MxAnswer, MxHost, Port, ResolveError, Resolver, Target};

use crate::certificates::Authority;
use crate::keep::Kept;
use crate::mx::Visit;
use crate::place::{Manner, PLACES, Place};
use crate::record::Record;
use crate::shared::{Seen, Shared};
use crate::tally::{Counter, Stats};
use crate::world::{WorldConfig, WorldError, session_config, shared};
use crate::zone::{Data, Kind, Said};

/// How much a pipe holds, as a socket's buffer would.
const PIPE: usize = 256 * 1024;

/// How many aliases are followed.
const MOST_ALIASES: usize = 8;

/// A world in memory. Clones are the same world.
#[derive(Clone)]
pub struct MemoryWorld {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    authority_pem: String,
    hosts: HashMap<Ipv4Addr, Host>,
}

struct Host {
    place: Place,
    session: Arc<SessionConfig>,
    here: Arc<Counter>,
}

impl MemoryWorld {
    /// Makes a world; addresses and ports of the configuration do not matter.
    pub fn new(config: &WorldConfig) -> Result<Self, WorldError> {
        let shared = Arc::new(shared(config)?);
        let authority = Authority::new().map_err(WorldError::Certificates)?;
        let mut hosts = HashMap::new();
        for place in PLACES.iter().filter(|place| place.manner != Manner::Refused) {
            let session = Arc::new(session_config(place, &authority)?);
            hosts.insert(place.address(), Host { place: *place, session, here: Arc::default() });
        }
        Ok(Self { inner: Arc::new(Inner { shared, authority_pem: authority.pem(), hosts }) })
    }

    /// The memory of all kept messages.
    pub fn record(&self) -> &Record {
        &self.inner.shared.record
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    /// The last kept bodies, oldest first, when the world keeps them.
    pub fn kept(&self) -> Vec<Kept> {
        self.inner.shared.shelf.last()
    }

    /// Each RCPT and dot that named this recipient, oldest first, when the world traces.
    pub fn seen(&self, recipient: &str) -> Vec<Seen> {
        self.inner.shared.seen(recipient)
    }

    /// The certificate of the authority that signed the trusted hosts' certificates, as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.inner.authority_pem
    }

    /// Publishes a TXT record.
    pub fn publish_txt(&self, name: &str, value: &str) {
        self.inner.shared.zone.write().unwrap_or_else(PoisonError::into_inner).publish_txt(name, value);
    }

    /// Makes a domain behave from now on as `label` does; false when there is no such label.
    pub fn behave(&self, domain: &str, label: &str) -> bool {
        self.inner.shared.zone.write().unwrap_or_else(PoisonError::into_inner).behave(domain, label)
    }

    /// Forgets all messages, counters and tries.
    pub fn reset(&self) {
        self.inner.shared.reset();
    }
}

impl Inner {
    /// Asks the zone and follows aliases; the name that the records belong to comes with them.
    async fn ask(&self, name: &str, kind: Kind) -> Result<(String, Vec<Data>), ResolveError> {
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        for _ in 0..MOST_ALIASES {
            self.shared.tally.dns_questions.add(1);
            let said = self.shared.zone.read().unwrap_or_else(PoisonError::into_inner).answer(&name, kind);
            match said {
                Said::Records(records) => match &records[..] {
                    [Data::Cname(target)] => name.clone_from(target),
                    _ => return Ok((name, records)),
                },
                Said::NoSuchName => return Err(ResolveError::NotFound),
                Said::Failure => return Err(ResolveError::Temporary("the server answered Server Failure".into())),
                Said::Refused => return Err(ResolveError::Temporary("the server answered Query Refused".into())),
                Said::Silence => {
                    // As long as the resolver of a real node waits for one answer.
                    tokio::time::sleep(postrider_smtp::DnsConfig::default().timeout).await;
                    return Err(ResolveError::Temporary("no answer in time".into()));
                }
            }
        }
        Err(ResolveError::NotFound)
    }

    async fn mx(&self, domain: &str) -> Result<MxAnswer, ResolveError> {
        let (owner, records) = self.ask(domain, Kind::Mx).await?;
        let mut hosts: Vec<MxHost> = records
            .into_iter()
            .filter_map(|data| match data {
                Data::Mx(preference, name) => Some(MxHost { preference, name }),
                Data::A(_)
                | Data::Aaaa(_)
                | Data::Txt(_)
                | Data::Cname(_)
                | Data::Soa
                | Data::Ptr(_)
                | Data::CaaIssue(_) => None,
            })
            .collect();
        if hosts.len() == 1 && hosts[0].name.is_empty() {
            return Ok(MxAnswer::NullMx);
        }
        if hosts.is_empty() {
            self.addresses(&owner).await?;
            hosts.push(MxHost { preference: 0, name: domain.to_owned() });
        }
        hosts.sort_by(|a, b| (a.preference, &a.name).cmp(&(b.preference, &b.name)));
        Ok(MxAnswer::Hosts(hosts))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            let (_, records) = self.ask(host, kind).await?;
            found.extend(records.into_iter().filter_map(|data| match data {
                Data::A(address) => Some(IpAddr::V4(address)),
                Data::Aaaa(address) => Some(IpAddr::V6(address)),
                Data::Mx(..) | Data::Txt(_) | Data::Cname(_) | Data::Soa | Data::Ptr(_) | Data::CaaIssue(_) => None,
            }));
        }
        if found.is_empty() { Err(ResolveError::NotFound) } else { Ok(found) }
    }

    async fn txt(&self, name: &str) -> Result<Vec<String>, ResolveError> {
        let (_, records) = self.ask(name, Kind::Txt).await?;
        let found: Vec<String> = records
            .into_iter()
            .filter_map(|data| match data {
                Data::Txt(text) => Some(text),
                Data::A(_)
                | Data::Aaaa(_)
                | Data::Mx(..)
                | Data::Cname(_)
                | Data::Soa
                | Data::Ptr(_)
                | Data::CaaIssue(_) => None,
            })
            .collect();
        if found.is_empty() { Err(ResolveError::NotFound) } else { Ok(found) }
    }

    fn dial(&self, target: Target) -> Result<BoxStream, DialError> {
        let port = match target.port {
            Port::Mx => 25,
            Port::Fixed(port) => port,
        };
        let to = SocketAddr::new(target.address, port);
        let host = match target.address {
            IpAddr::V4(address) => self.hosts.get(&address),
            IpAddr::V6(address) if address.is_loopback() => self.hosts.get(&Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => None,
        };
        let Some(host) = host else {
            return Err(DialError::Io { to, error: io::ErrorKind::ConnectionRefused.into() });
        };
        let (ours, theirs) = tokio::io::duplex(PIPE);
        host.here.add(1);
        let name = target.address.to_string();
        let mut visit = Visit::new(Arc::clone(&self.shared), host.place, Arc::clone(&host.here), name);
        let config = Arc::clone(&host.session);
        tokio::spawn(async move { serve(Box::new(theirs), &config, &mut visit).await });
        Ok(Box::new(ours))
    }
}

impl Resolver for MemoryWorld {
    fn mx<'a>(&'a self, domain: &'a DomainName) -> BoxFuture<'a, Result<MxAnswer, ResolveError>> {
        Box::pin(self.inner.mx(domain.as_str()))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(self.inner.addresses(host))
    }

    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(self.inner.txt(name))
    }
}

impl Dialer for MemoryWorld {
    fn dial<'a>(&'a self, target: Target) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move { self.inner.dial(target) })
    }
}
