//! The whole simulated world: starts its servers, and answers what happened in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use postrider_smtp::server::{AuthOffer, SessionConfig, serve, serve_implicit_tls};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::certificates::Authority;
use crate::control;
use crate::dns::DnsServer;
use crate::journal::Journal;
use crate::keep::{Keep, Kept, Shelf};
use crate::mx::Visit;
use crate::place::{Manner, PLACES, Place, STANDARD, Tls};
use crate::record::Record;
use crate::shared::{Depth, Login, Seen, Shared};
use crate::tally::{Counter, Stats, Tally};
use crate::zone::{Data, OtherDomains, Zone};

/// How often a free port is looked for before giving up.
const PORT_TRIES: usize = 20;

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct WorldConfig {
    /// Everything that is drawn is drawn from this.
    pub seed: u64,
    /// Where the DNS server listens; port 0 picks a free one. A loopback address only.
    pub dns_bind: SocketAddr,
    /// The one port of all simulated hosts; 0 picks a free one.
    pub mx_port: u16,
    /// Where the control port listens, if there shall be one. A loopback address only.
    pub control_bind: Option<SocketAddr>,
    /// The file that each kept message is written down in.
    pub journal: Option<PathBuf>,
    /// Which bodies are kept.
    pub keep: Keep,
    /// What is remembered of each message.
    pub depth: Depth,
    /// Whether each RCPT and dot with its reply is remembered too.
    pub trace: Trace,
    /// What domains outside of the reserved suffixes are.
    pub other_domains: OtherDomains,
    /// The login that the smarthosts take.
    pub login: Login,
    /// How late a slow host replies.
    pub slow_reply: Duration,
}

/// Whether each RCPT and dot with its reply is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// No.
    Off,
    /// In memory, and in the journal if there is one: for worlds of moderate size.
    On,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            dns_bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            mx_port: 0,
            control_bind: None,
            journal: None,
            keep: Keep::Nothing,
            depth: Depth::Full,
            trace: Trace::Off,
            other_domains: OtherDomains::NoSuchName,
            login: Login { account: "relay".to_owned(), password: "secret".to_owned() },
            slow_reply: Duration::from_millis(300),
        }
    }
}

impl WorldConfig {
    /// A world that only takes and counts: for measuring senders.
    pub fn sink_only() -> Self {
        Self { depth: Depth::CountOnly, ..Self::default() }
    }
}

/// Why there is no world; reads after "could not start the simulated world".
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// An address is not a loopback one.
    #[error("{0} is no loopback address; the simulated world must not be reachable from outside")]
    NotLoopback(SocketAddr),
    /// A socket could not be opened.
    #[error("the address {address} cannot be listened on: {error}; choose another port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// No port is free at all hosts.
    #[error("no port is free on all of 127.0.0.1 to 127.0.0.{0}; name one with the port setting")]
    NoPort(u8),
    /// The journal or the folder for bodies.
    #[error("{path} cannot be written: {error}; check the folder")]
    File {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The certificates.
    #[error("its certificates could not be made: {0}")]
    Certificates(String),
}

/// A running world. Ends when it is dropped.
pub struct World {
    dns_addr: SocketAddr,
    mx_port: u16,
    control_addr: Option<SocketAddr>,
    submissions_addr: SocketAddr,
    authority_pem: String,
    missing: Vec<&'static str>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl World {
    /// Starts DNS, all hosts and the control port, on the runtime of the caller.
    pub async fn start(config: WorldConfig) -> Result<Self, WorldError> {
        for address in [Some(config.dns_bind), config.control_bind].into_iter().flatten() {
            if !address.ip().is_loopback() {
                return Err(WorldError::NotLoopback(address));
            }
        }
        let shared = Arc::new(shared(&config)?);
        let mut tasks = JoinSet::new();

        let (udp, tcp, dns_addr) = bind_dns(config.dns_bind).await?;
        let dns = Arc::new(DnsServer { zone: Arc::clone(&shared.zone), tally: Arc::clone(&shared.tally) });
        tasks.spawn(Arc::clone(&dns).serve_udp(udp));
        tasks.spawn(dns.serve_tcp(tcp));

        let authority = Authority::new().map_err(WorldError::Certificates)?;
        let hosts = bind_hosts(config.mx_port).await?;
        let mx_port = hosts.port;
        for (place, listener) in hosts.listeners {
            let session = session_config(&place, &authority)?;
            let host = Host::new(&shared, place, session);
            tasks.spawn(host.serve(listener, Wrapping::Clear));
        }
        // The IPv6 form of the standard host; a machine without IPv6 goes without.
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, mx_port)).await {
            let host = Host::new(&shared, STANDARD, session_config(&STANDARD, &authority)?);
            tasks.spawn(host.serve(listener, Wrapping::Clear));
        }

        let smarthost = Place::named("smarthost").unwrap_or(STANDARD);
        let (listener, submissions_addr) = bind(SocketAddr::new(IpAddr::V4(smarthost.address()), 0)).await?;
        let host = Host::new(&shared, smarthost, session_config(&smarthost, &authority)?);
        tasks.spawn(host.serve(listener, Wrapping::ImplicitTls));

        let mut control_addr = None;
        if let Some(address) = config.control_bind {
            let (listener, bound) = bind(address).await?;
            control_addr = Some(bound);
            tasks.spawn(control::serve(listener, Arc::clone(&shared)));
        }
        Ok(Self {
            dns_addr,
            mx_port,
            control_addr,
            submissions_addr,
            authority_pem: authority.pem(),
            missing: hosts.missing,
            shared,
            tasks,
        })
    }

    /// Where the DNS server listens.
    pub fn dns_addr(&self) -> SocketAddr {
        self.dns_addr
    }

    /// The port of all hosts.
    pub fn mx_port(&self) -> u16 {
        self.mx_port
    }

    /// Where the control port listens.
    pub fn control_addr(&self) -> Option<SocketAddr> {
        self.control_addr
    }

    /// Where the smarthost takes connections with TLS from the first byte (RFC 8314).
    pub fn submissions_addr(&self) -> SocketAddr {
        self.submissions_addr
    }

    /// The certificate of the authority that signed the trusted hosts' certificates, as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Hosts that could not be started because this system has one loopback address only.
    pub fn missing_places(&self) -> &[&'static str] {
        &self.missing
    }

    /// The memory of all kept messages.
    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The last kept bodies, oldest first, when the world keeps them in memory.
    pub fn kept(&self) -> Vec<Kept> {
        self.shared.shelf.last()
    }

    /// Each RCPT and dot that named this recipient, oldest first, when the world traces.
    pub fn seen(&self, recipient: &str) -> Vec<Seen> {
        self.shared.seen(recipient)
    }

    /// Adds a record by hand; a name with such a record has only those, whatever the rules say of it.
    pub fn publish(&self, name: &str, data: Data) {
        self.shared.zone.write().unwrap_or_else(PoisonError::into_inner).publish(name, data);
    }

    /// Takes all records by hand of a name away.
    pub fn withdraw(&self, name: &str) {
        self.shared.zone.write().unwrap_or_else(PoisonError::into_inner).withdraw(name);
    }

    /// Publishes a TXT record: a DKIM key, an SPF policy.
    pub fn publish_txt(&self, name: &str, value: &str) {
        self.shared.zone.write().unwrap_or_else(PoisonError::into_inner).publish_txt(name, value);
    }

    /// Makes a domain behave from now on as `label` does (`defer2`, `outage`, `nullmx`); false when there is no
    /// such label. DNS answers that were given before stay in the resolvers' caches.
    pub fn behave(&self, domain: &str, label: &str) -> bool {
        self.shared.zone.write().unwrap_or_else(PoisonError::into_inner).behave(domain, label)
    }

    /// Forgets all messages, counters and tries, as after a new start.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Ends all servers and connections.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

pub(crate) fn shared(config: &WorldConfig) -> Result<Shared, WorldError> {
    let file = |path: &PathBuf| {
        let path = path.clone();
        move |error| WorldError::File { path, error }
    };
    let journal = match &config.journal {
        Some(path) => Some(Journal::open(path).map_err(file(path))?),
        None => None,
    };
    let folder = match &config.keep {
        Keep::Folder(folder) => folder.clone(),
        Keep::Nothing | Keep::Last(_) => PathBuf::new(),
    };
    Ok(Shared {
        seed: config.seed,
        zone: Arc::new(RwLock::new(Zone::new(config.other_domains))),
        tally: Arc::new(Tally::default()),
        record: Record::default(),
        journal,
        shelf: Shelf::new(config.keep.clone()).map_err(file(&folder))?,
        depth: config.depth,
        login: config.login.clone(),
        slow_reply: config.slow_reply,
        trace: match config.trace {
            Trace::Off => None,
            Trace::On => Some(Mutex::default()),
        },
        tries: Mutex::default(),
    })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), WorldError> {
    let failed = |error| WorldError::Bind { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// UDP and TCP on the same port.
async fn bind_dns(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), WorldError> {
    let mut tries = 0;
    loop {
        let (tcp, bound) = bind(address).await?;
        match UdpSocket::bind(bound).await {
            Ok(udp) => return Ok((udp, tcp, bound)),
            Err(error) if address.port() != 0 || tries >= PORT_TRIES => {
                return Err(WorldError::Bind { address: bound, error });
            }
            Err(_) => tries += 1,
        }
    }
}

struct Hosts {
    port: u16,
    listeners: Vec<(Place, TcpListener)>,
    missing: Vec<&'static str>,
}

/// One listener for each place, all on one port.
async fn bind_hosts(wanted: u16) -> Result<Hosts, WorldError> {
    for _ in 0..PORT_TRIES {
        let (listener, bound) = bind(SocketAddr::new(IpAddr::V4(STANDARD.address()), wanted)).await?;
        let port = bound.port();
        let mut hosts = Hosts { port, listeners: vec![(STANDARD, listener)], missing: Vec::new() };
        let mut taken = None;
        for place in PLACES.iter().skip(1).filter(|place| place.manner != Manner::Refused) {
            let address = SocketAddr::new(IpAddr::V4(place.address()), port);
            match TcpListener::bind(address).await {
                Ok(listener) => hosts.listeners.push((*place, listener)),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => hosts.missing.push(place.name),
                Err(error) => {
                    taken = Some(WorldError::Bind { address, error });
                    break;
                }
            }
        }
        match taken {
            None => return Ok(hosts),
            Some(error) if wanted != 0 => return Err(error),
            Some(_) => {}
        }
    }
    Err(WorldError::NoPort(PLACES.iter().map(|place| place.last_octet).max().unwrap_or(1)))
}

pub(crate) fn session_config(place: &Place, authority: &Authority) -> Result<SessionConfig, WorldError> {
    let mut config = SessionConfig::new(format!("mx1.{}.test", place.name));
    config.tls = authority.server_config(place).map_err(WorldError::Certificates)?;
    // A sender that rehearses makes many mistakes on purpose.
    config.limits.errors = 1_000;
    config.limits.failed_logins = 1_000;
    // Longer than any wait of a client: a host that does not answer must not be the one that closes.
    config.limits.idle = Duration::from_secs(20 * 60);
    let offer = &mut config.offer;
    offer.starttls = place.tls != Tls::None;
    match place.manner {
        Manner::Small => offer.size = Some(2_048),
        Manner::NoPipelining => offer.pipelining = false,
        Manner::HeloOnly => offer.esmtp = false,
        Manner::Utf8 => offer.smtputf8 = true,
        Manner::Smarthost => offer.auth = AuthOffer::RequiredUnderTls,
        Manner::SmarthostClear => offer.auth = AuthOffer::RequiredEvenInClear,
        Manner::Plain
        | Manner::BlockConnect
        | Manner::BlockMail
        | Manner::Never
        | Manner::Slow
        | Manner::Outage
        | Manner::DropConnect
        | Manner::Refused
        | Manner::Limit(_)
        | Manner::Close(_)
        | Manner::Exhaust(_)
        | Manner::Flood => {}
    }
    Ok(config)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    Clear,
    ImplicitTls,
}

/// One place with its sessions.
struct Host {
    shared: Arc<Shared>,
    place: Place,
    session: Arc<SessionConfig>,
    here: Arc<Counter>,
}

impl Host {
    fn new(shared: &Arc<Shared>, place: Place, session: SessionConfig) -> Self {
        Self { shared: Arc::clone(shared), place, session: Arc::new(session), here: Arc::default() }
    }

    async fn serve(self, listener: TcpListener, wrapping: Wrapping) {
        // Dropped with this task, and then it ends all sessions.
        let mut sessions = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await; // out of file handles, say
                continue;
            };
            while sessions.try_join_next().is_some() {}
            let _ = stream.set_nodelay(true);
            let host = stream.local_addr().map(|address| address.ip().to_string()).unwrap_or_default();
            self.here.add(1);
            let mut visit = Visit::new(Arc::clone(&self.shared), self.place, Arc::clone(&self.here), host);
            let config = Arc::clone(&self.session);
            sessions.spawn(async move {
                match wrapping {
                    Wrapping::Clear => serve(Box::new(stream), &config, &mut visit).await,
                    Wrapping::ImplicitTls => serve_implicit_tls(Box::new(stream), &config, &mut visit).await,
                };
            });
        }
    }
}
