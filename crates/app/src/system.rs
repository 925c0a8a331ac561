//! Everything wired together: store, engine, router. Built by constructors, ended in order.

use crate::client::Client;
use crate::config::Config;
use anyhow::{Context, bail};
use axum::Router;
use postrider_engine::{
    CertificateConfig, CertificateOrigin, DnsForFetch, Engine, EngineConfig, Signing, TransportConfig, WebPolicies,
    Work,
};
use postrider_fetch::{Cidr, FetchPolicy, Fetcher};
use postrider_smtp::dnssec::{SecureLookup, TrustedResolver};
use postrider_smtp::ladder::ClearRetry;
use postrider_smtp::{
    AddressPolicy, CertificateSource, DnsConfig, DnsResolver, IpRange, NameServer, Roots, TcpDialer, TlsClient,
};
use postrider_store::clock::{Clock, SystemClock};
use postrider_store::{Durability, Store, StoreConfig};
use postrider_web::{Asset, Assets, WebConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A wired installation.
pub struct System {
    config: Config,
    store: Store,
    engine: Engine,
    router: Router,
    certificate: CertificateConfig,
    servers: tokio::task::JoinSet<()>,
}

/// Where the web side listens.
pub struct Bound {
    /// In clear.
    pub http: SocketAddr,
    /// Over TLS.
    pub https: Option<SocketAddr>,
    /// For mail of applications.
    pub submission: Vec<SocketAddr>,
}

/// The files of the admin application, from the `ui` crate.
struct Embedded;

impl Assets for Embedded {
    fn get(&self, path: &str) -> Option<Asset> {
        postrider_ui::get(path).map(|file| Asset {
            bytes: bytes::Bytes::from_static(file.bytes),
            gzip: file.gzip.map(bytes::Bytes::from_static),
            mime: file.mime.to_owned(),
            etag: file.etag.to_owned(),
        })
    }
}

impl System {
    /// Opens the store, starts the engine, builds the router.
    pub async fn open(config: Config) -> anyhow::Result<System> {
        System::open_for(config, Work::All).await
    }

    async fn open_for(config: Config, work: Work) -> anyhow::Result<System> {
        private_folder(&config.data_dir)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = Store::open(store_config(&config, clock.clone())).await?;
        let engine_config = engine_config(&config, &store, work)?;
        let certificate = engine_config.certificate.clone();
        let engine = Engine::start(engine_config).await?;
        let import_dir = config.data_dir.join("imports");
        let mut web = WebConfig::new(store.clone(), clock, import_dir);
        web.writer = engine.writer();
        let metrics = engine.metrics();
        web.metrics = Arc::new(move || metrics.text());
        let ready = engine.readiness();
        web.ready = Arc::new(move || ready.check());
        web.assets = Arc::new(Embedded);
        let router = postrider_web::router(web);
        Ok(System { config, store, engine, router, certificate, servers: tokio::task::JoinSet::new() })
    }

    /// The store, for what only the console may show.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// A client on the router of this process.
    pub fn client(&self) -> Client {
        Client::Here(Box::new(self.router.clone()), None)
    }

    /// Looks at the files of the certificate now.
    pub fn reload_certificate(&self) {
        self.certificate.reload.notify_one();
    }

    /// Listens on the HTTP addresses and on the socket of the command line; the addresses that were bound.
    pub async fn listen(&mut self) -> anyhow::Result<Bound> {
        if let CertificateOrigin::Files(files) = &self.certificate.origin {
            // Later a bad certificate leaves the one before in place; at the start there is none.
            let pair = files.read(self.store.now()).await.context("could not use the certificate")?;
            self.certificate.source.replace(pair);
        }
        let https = match self.config.https.listen {
            Some(wanted) => {
                let (bound, serve) =
                    crate::https::listen(wanted, &self.certificate.source, self.router.clone()).await?;
                self.servers.spawn(serve);
                Some(bound)
            }
            None => None,
        };
        let wanted = self.config.http.listen;
        let http = tokio::net::TcpListener::bind(wanted).await.with_context(|| {
            format!("could not listen on {wanted}: set http.listen (POSTRIDER_HTTP_LISTEN) to a free address")
        })?;
        let address = http.local_addr()?;
        let clear = match https {
            Some(https) if self.config.https.redirect => self.to_https(https.port()),
            Some(_) | None => self.router.clone(),
        };
        let service = clear.into_make_service_with_connect_info::<SocketAddr>();
        self.servers.spawn(async move {
            if let Err(error) = axum::serve(http, service).await {
                tracing::error!(event = "http.ended", %error);
            }
        });
        let path = self.config.socket();
        // The folder's lock is ours, so a socket that lies here is left over from a process that is gone.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("could not remove the old {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let socket =
            tokio::net::UnixListener::bind(&path).with_context(|| format!("could not make {}", path.display()))?;
        only_owner(&path, 0o600)?;
        let local = self.router.clone().layer(axum::Extension(postrider_web::LocalAdmin));
        self.servers.spawn(async move {
            if let Err(error) = axum::serve(socket, local).await {
                tracing::error!(event = "socket.ended", %error);
            }
        });
        let listeners = crate::submission::bind(&self.config).await?;
        let submission =
            listeners.iter().map(|listener| listener.socket.local_addr()).collect::<std::io::Result<Vec<_>>>()?;
        self.engine.take_in(crate::submission::configure(&self.config, self.certificate.source.clone()), listeners);
        self.certificate.listening.send_replace(true);
        Ok(Bound { http: address, https, submission })
    }

    /// The router in clear, which sends people to https.
    fn to_https(&self, port: u16) -> Router {
        let source = self.certificate.source.clone();
        let names = move || {
            let names = source.facts().map(|facts| facts.names).unwrap_or_default();
            // A wildcard is no place to go to.
            names.into_iter().filter(|name| !name.contains('*')).collect()
        };
        postrider_web::https::redirect(self.router.clone(), Arc::new(names), port)
    }

    /// Resolves when the engine cannot go on, with the reason.
    pub async fn failed(&self) -> String {
        self.engine.failed().await
    }

    /// Ends in order: no new transactions, what is in the air finishes, everything is settled, the store closes.
    pub async fn end(mut self, grace_seconds: u64) -> anyhow::Result<()> {
        let report = self.engine.shutdown(Duration::from_secs(grace_seconds)).await;
        self.servers.shutdown().await;
        std::fs::remove_file(self.config.socket()).ok();
        self.store.close().await?;
        if report.left > 0 {
            bail!("{} deliveries were still in the air after {grace_seconds} s and are in doubt", report.left);
        }
        Ok(())
    }
}

fn store_config(config: &Config, clock: Arc<dyn Clock>) -> StoreConfig {
    let mut store = if config.database.url.is_empty() {
        StoreConfig::sqlite(&config.data_dir)
    } else {
        StoreConfig::postgres(&config.data_dir, &config.database.url, &config.engine.node_name)
    };
    if config.database.unsafe_durability
        && let postrider_store::Database::Postgres { durability, .. } = &mut store.database
    {
        *durability = Durability::NotPromised;
    }
    store.node_dead_after_ms = i64::try_from(config.engine.node_dead_ms).unwrap_or(30_000);
    store.clock = clock;
    store
}

/// Private targets that are configured, in words the address policy understands.
fn policy(config: &Config) -> anyhow::Result<AddressPolicy> {
    let mut policy = AddressPolicy::default();
    for range in &config.smtp.allow_private_mx {
        let range: IpRange =
            range.parse().with_context(|| format!("could not read the range `{range}` of allow_private_mx"))?;
        policy.allow_private.push(range);
    }
    Ok(policy)
}

fn engine_config(config: &Config, store: &Store, work: Work) -> anyhow::Result<EngineConfig> {
    let policy = policy(config)?;
    let dns = DnsConfig {
        name_server: match config.smtp.dns_server.or(config.tls.dnssec_resolver) {
            Some(address) => NameServer::At(address),
            None => NameServer::System,
        },
        ..DnsConfig::default()
    };
    let resolver = Arc::new(DnsResolver::new(&dns).context("could not start the resolver")?);
    let dialer = TcpDialer { mx_port: config.smtp.mx_port, ..TcpDialer::new(policy.clone()) };
    let roots = match &config.smtp.extra_ca_file {
        Some(path) => Roots::Pem(std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?),
        None => Roots::Native,
    };
    let tls = TlsClient::new(&roots).context("could not start TLS")?;
    let smarthosts = TcpDialer { policy: AddressPolicy::allow_all(), ..dialer.clone() };
    let name = config.smtp.ehlo_name.clone();
    let mut engine =
        EngineConfig::new(store.clone(), resolver.clone(), Arc::new(dialer), Arc::new(smarthosts), tls, name);
    engine.work = work;
    engine.address_policy = policy;
    let allow = fetched_from(config)?;
    engine.transport = transport(config, allow.clone(), Arc::clone(&resolver))?;
    engine.port_probe = Some(config.smtp.port_probe.clone()).filter(|host| !host.is_empty());
    engine.tls_reports = crate::tls_report::configure(config, allow.clone(), Arc::clone(&resolver))?;
    engine.certificate = crate::certificate::configure(config, allow, resolver, CertificateSource::empty())?;
    engine.seed = u64::from(std::process::id()) ^ store.now().unsigned_abs();
    engine.limits.signing_threads = config.engine.signing_threads;
    if config.engine.unsigned_for_measurements {
        tracing::warn!(event = "signing.off", why = "unsigned_for_measurements is set: never for real mail");
        engine.limits.signing = Signing::OffForMeasurements;
    }
    engine.bounce_rules.clone_from(&config.rules.bounces);
    engine.times.dead_after_ms = i64::try_from(config.engine.node_dead_ms).unwrap_or(30_000);
    engine.times.nxdomain_second_look_ms = config.engine.nxdomain_second_look_ms;
    engine.times.grace = Duration::from_secs(config.engine.grace_seconds);
    Ok(engine)
}

/// Private ranges that may be fetched from.
fn fetched_from(config: &Config) -> anyhow::Result<Vec<Cidr>> {
    let read = |range: &String| {
        range.parse().with_context(|| format!("could not read the range `{range}` of fetch.allow_private"))
    };
    config.fetch.allow_private.iter().map(read).collect()
}

/// The parts of the TLS ladder that are configured.
fn transport(config: &Config, allow: Vec<Cidr>, resolver: Arc<DnsResolver>) -> anyhow::Result<TransportConfig> {
    let secure = match config.tls.dnssec_resolver {
        None => None,
        // Whoever can change its answers on the way could make any certificate look right.
        Some(address) if !address.ip().is_loopback() => {
            bail!(
                "tls.dnssec_resolver {address} is not on this machine: run a validating resolver on 127.0.0.1 (docs/tls.md)"
            )
        }
        Some(address) => {
            let lookup: Arc<dyn SecureLookup> = Arc::new(TrustedResolver::new(address, DnsConfig::default().timeout));
            Some(lookup)
        }
    };
    let policy = FetchPolicy {
        allow,
        // RFC 8461 3.3: policy files are at most 64 KiB, and only https is fetched.
        max_bytes: 64 << 10,
        ports: vec![443],
        timeout: Duration::from_secs(10),
    };
    let fetcher = Fetcher::new(policy).with_resolver(Arc::new(DnsForFetch(resolver)));
    Ok(TransportConfig {
        policies: if config.tls.mta_sts { Some(Arc::new(WebPolicies { fetcher, port: 443 })) } else { None },
        secure,
        clear_retry: if config.tls.clear_retry { ClearRetry::On } else { ClearRetry::Off },
    })
}

/// The way to the API: the running server's socket, or everything opened here when no server runs.
pub async fn reach(config: &Config) -> anyhow::Result<(Client, Option<Here>)> {
    let socket = config.socket();
    if tokio::net::UnixStream::connect(&socket).await.is_ok() {
        return Ok((Client::Socket(socket, None), None));
    }
    let system = System::open_for(config.clone(), Work::WithoutSending).await?;
    Ok((system.client(), Some(Here(system))))
}

/// A system that was opened for one command.
pub struct Here(System);

impl Here {
    /// Closes it in order.
    pub async fn end(self) -> anyhow::Result<()> {
        let grace = self.0.config.engine.grace_seconds;
        self.0.end(grace).await
    }
}

/// Makes the data folder for its owner only.
fn private_folder(path: &std::path::Path) -> anyhow::Result<()> {
    if !path.exists() {
        std::fs::create_dir_all(path).with_context(|| format!("could not make {}", path.display()))?;
        only_owner(path, 0o700)?;
    }
    Ok(())
}

fn only_owner(path: &std::path::Path, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("could not set the mode of {}", path.display()))
}

/// The most memory that this process has had, in bytes; 0 where the system does not say.
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
