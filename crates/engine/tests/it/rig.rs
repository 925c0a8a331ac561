//! A workspace that may send, a simulated world to send to, and an engine in between.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use postrider_content::{CompileInput, RENDERER, Sender, compile};
use postrider_domain::campaign::{Audience, BodyFormat, CampaignState, Draft, Objective};
use postrider_domain::consent::{ConsentState, Evidence, LegalBasis, PurposeKind};
use postrider_domain::id::{CampaignId, ContactId, DeliveryId, ListId, PurposeId, RouteId, WordingId, WorkspaceId};
use postrider_domain::outcome::ReportStatus;
use postrider_domain::queue::Ledger;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteSettings;
use postrider_domain::stream::Stream;
use postrider_engine::{CertificateConfig, Engine, EngineConfig, Limits, Times, TlsReportConfig, TransportConfig};
use postrider_mail::dkim::SigningKey;
use postrider_mail::mailbox::{DomainName, Mailbox};
use postrider_sim::{Depth, Keep, Trace, World, WorldConfig};
use postrider_smtp::{
    AddressFamily, AddressPolicy, BoxFuture, BoxStream, DialError, Dialer, DnsConfig, DnsResolver, MxAnswer,
    NameServer, ResolveError, Resolver, Roots, Target, TcpDialer, Timeouts, TlsClient,
};
use postrider_store::Store;
use postrider_store::actor::Actor;
use postrider_store::campaign::{NewCampaign, NewVersion};
use postrider_store::consent::NewConsent;
use postrider_store::contact::NewContact;
use postrider_store::domain::NewDkimKey;
use postrider_store::page::PageRequest;
use postrider_store::report::{AttemptRow, AttemptsOf, DeliveriesOf, DeliveryRow};
use postrider_store::secret::SecretBytes;
use postrider_store::testing::{TestStore, open_postgres_at, open_sqlite};
use postrider_store::workspace::{FirstPurposes, NewWorkspace};

pub const CONSOLE: Actor = Actor::Console;
/// Nothing that a test waits for takes so long, on a machine that does much else, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything of a test.
pub struct Rig {
    pub store: TestStore,
    pub world: World,
    pub workspace: WorkspaceId,
    pub list: ListId,
    pub purpose: PurposeId,
    pub wording: WordingId,
    pub route: RouteId,
    pub limits: Limits,
    pub times: Times,
    pub transport: TransportConfig,
    pub certificate: CertificateConfig,
    pub tls_reports: Option<TlsReportConfig>,
    pub port_probe: Option<String>,
}

/// Runs a test on SQLite and on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name($crate::rig::Rig::sqlite(stringify!($name)).await).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name($crate::rig::Rig::postgres(stringify!($name)).await).await;
            }
        }
    )+ };
}

impl Rig {
    pub async fn sqlite(test: &str) -> Rig {
        Rig::new(open_sqlite(test).await).await
    }

    pub async fn postgres(test: &str) -> Rig {
        Rig::new(open_postgres_at(test, &postrider_testkit::postgres::shared()).await).await
    }

    async fn new(store: TestStore) -> Rig {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
        // Another test of the process may have been first.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
        let world = World::start(WorldConfig {
            keep: Keep::Last(10_000),
            depth: Depth::Full,
            trace: Trace::On,
            slow_reply: Duration::from_millis(150),
            ..WorldConfig::default()
        })
        .await
        .expect("the simulated world starts");
        let new = NewWorkspace {
            name: "Test".into(),
            controller_name: "Test S.r.l.".into(),
            postal_address: "Via Roma 1\n27100 Pavia".into(),
            privacy_url: "https://example.org/privacy".into(),
            time_zone: "Europe/Rome".into(),
            public_url: "https://mail.example.org".into(),
            purposes: FirstPurposes::OneOfEachKind,
        };
        let workspace = store.create_workspace(&CONSOLE, new).await.expect("a workspace").id;
        let purposes = store.purposes(workspace).await.expect("purposes");
        let purpose = purposes.iter().find(|p| p.kind == PurposeKind::Newsletter).expect("a newsletter purpose").id;
        let wording = store.wordings(workspace, purpose).await.expect("wordings").first().expect("a wording").id;
        let list = store.create_list(workspace, &CONSOLE, "Everybody", "").await.expect("a list").id;
        let key = SigningKey::generate_rsa2048().expect("a key");
        let key = NewDkimKey {
            selector: "s1".into(),
            algorithm: "rsa2048".into(),
            private: SecretBytes::new(key.to_pkcs8().expect("DER")),
            public_txt: key.public_txt(),
        };
        let (name, host) = (domain("news.example.org"), domain("bounce.news.example.org"));
        store.add_domain(workspace, &CONSOLE, &name, &host, key).await.expect("a sending domain");
        let route = store.add_route(workspace, &CONSOLE, &mx_route(), None).await.expect("a route").id;
        let times = Times {
            poll: Duration::from_millis(30),
            beat: Duration::from_millis(100),
            dead_after_ms: 1_000,
            idle_close: Duration::from_millis(300),
            smtp: Timeouts::all(Duration::from_secs(5)),
            ..Times::default()
        };
        Rig {
            store,
            world,
            workspace,
            list,
            purpose,
            wording,
            route,
            limits: Limits::default(),
            times,
            transport: TransportConfig::default(),
            certificate: CertificateConfig::default(),
            tls_reports: None,
            port_probe: None,
        }
    }

    /// An engine on the rig's own store.
    pub async fn engine(&self) -> Engine {
        self.engine_on(&self.store).await
    }

    /// An engine on some store, with its own resolver.
    pub async fn engine_on(&self, store: &Store) -> Engine {
        let dialer = TcpDialer { mx_port: self.world.mx_port(), ..TcpDialer::new(AddressPolicy::allow_loopback()) };
        self.engine_through(store, Arc::new(dialer)).await
    }

    /// An engine that notes when it writes which RCPT, at its own end of the connection.
    pub async fn engine_noting(&self) -> (Engine, Notes) {
        let tcp = TcpDialer { mx_port: self.world.mx_port(), ..TcpDialer::new(AddressPolicy::allow_loopback()) };
        let notes = Notes::default();
        let dialer = NotingDialer { tcp, notes: Arc::clone(&notes) };
        (self.engine_through(&self.store, Arc::new(dialer)).await, notes)
    }

    /// An engine whose resolver can be switched off, and can forget what it knows.
    pub async fn engine_with_switch(&self) -> (Engine, Arc<Switch>) {
        let switch = Arc::new(Switch::new(self.dns()));
        let dialer = TcpDialer { mx_port: self.world.mx_port(), ..TcpDialer::new(AddressPolicy::allow_loopback()) };
        let resolver = Arc::clone(&switch) as Arc<dyn Resolver>;
        (self.engine_asking(&self.store, Arc::new(dialer), resolver).await, switch)
    }

    /// Waits until the look-out of an engine has looked at everything so many times more.
    pub async fn looks(&self, engine: &Engine, more: u64) {
        let wanted = looked(engine) + more;
        self.until("the look-out looks", || async { looked(engine) >= wanted }).await;
    }

    fn dns(&self) -> DnsConfig {
        DnsConfig {
            name_server: NameServer::At(self.world.dns_addr()),
            timeout: Duration::from_millis(700),
            retries: 0,
            family: AddressFamily::Both,
            ..DnsConfig::default()
        }
    }

    async fn engine_through(&self, store: &Store, dialer: Arc<dyn Dialer>) -> Engine {
        let resolver = Arc::new(DnsResolver::new(&self.dns()).expect("a resolver"));
        self.engine_asking(store, dialer, resolver).await
    }

    async fn engine_asking(&self, store: &Store, dialer: Arc<dyn Dialer>, resolver: Arc<dyn Resolver>) -> Engine {
        let smarthosts = TcpDialer::new(AddressPolicy::allow_all());
        let tls = TlsClient::new(&Roots::Pem(self.world.authority_pem().as_bytes().to_vec())).expect("TLS");
        let mut config =
            EngineConfig::new(store.clone(), resolver, dialer, Arc::new(smarthosts), tls, "sender.example.org");
        config.address_policy = AddressPolicy::allow_loopback();
        config.limits = self.limits.clone();
        config.times = self.times.clone();
        config.transport = self.transport.clone();
        config.certificate = self.certificate.clone();
        config.tls_reports = self.tls_reports.clone();
        config.port_probe = self.port_probe.clone();
        config.seed = 7;
        Engine::start(config).await.expect("the engine starts")
    }

    /// Contacts on the list who have agreed.
    pub async fn people(&self, mailboxes: &[&str]) -> Vec<ContactId> {
        let mut ids = Vec::new();
        for mailbox in mailboxes {
            let id = self.stranger(mailbox).await;
            self.consent(id, ConsentState::Granted).await;
            ids.push(id);
        }
        ids
    }

    /// A contact on the list who has not agreed to anything.
    pub async fn stranger(&self, mailbox: &str) -> ContactId {
        let mut new = NewContact::of(Mailbox::parse(mailbox).expect("a mailbox"));
        new.lists = vec![self.list];
        new.attributes.insert("name".into(), mailbox.split('@').next().unwrap_or_default().into());
        self.store.create_contact(self.workspace, &CONSOLE, new).await.expect("a contact").id
    }

    pub async fn consent(&self, contact: ContactId, state: ConsentState) {
        let new = NewConsent {
            contact,
            purpose: self.purpose,
            state,
            wording: (state == ConsentState::Granted).then_some(self.wording),
            evidence: Evidence {
                source: "test".into(),
                basis: Some(LegalBasis::Consent),
                given_at: Some(self.store.now()),
                method: "api".into(),
                ..Evidence::default()
            },
        };
        self.store.record_consent(self.workspace, &CONSOLE, new).await.expect("a consent");
    }

    /// A campaign to the whole list, compiled and started.
    pub async fn campaign(&self, policy: RetryPolicy) -> CampaignId {
        let id = self.draft(policy, None).await;
        self.start(id).await;
        id
    }

    pub async fn start(&self, campaign: CampaignId) {
        self.store.start_campaign(self.workspace, campaign, 0).await.expect("started");
    }

    /// A campaign that could be started.
    pub async fn draft(&self, policy: RetryPolicy, route: Option<RouteId>) -> CampaignId {
        let draft = Draft {
            from_mailbox: "info@news.example.org".into(),
            from_name: "News".into(),
            subject: "Hello {{ name }}".into(),
            format: Some(BodyFormat::Html),
            body: "<p>Dear {{ name }}, this is the news.</p>".into(),
            ..Draft::default()
        };
        let new = NewCampaign {
            name: "Test".into(),
            objective: Objective::Information,
            audience: Audience { include: vec![self.list], exclude: vec![], purpose: Some(self.purpose) },
            policy: Some(policy),
            route,
            draft: draft.clone(),
        };
        let campaign = self.store.create_campaign(self.workspace, &CONSOLE, new).await.expect("a campaign").id;
        let variant = self.store.variants(self.workspace, campaign).await.expect("variants").remove(0).id;
        let sender = Sender {
            controller_name: "Test S.r.l.".into(),
            postal_address: "Via Roma 1\n27100 Pavia".into(),
            privacy_url: "https://example.org/privacy".into(),
        };
        let attributes = ["name".to_owned()].into();
        let input = CompileInput { draft: &draft, stream: Stream::Marketing, sender: &sender, attributes: &attributes };
        let compilation = compile(&input);
        let compiled = compilation.compiled.unwrap_or_else(|| panic!("{:?}", compilation.findings));
        let version = NewVersion {
            renderer: i64::from(RENDERER),
            hash: vec![1],
            compiled: compiled.to_bytes(),
            uses: compiled.variables().to_vec(),
        };
        self.store.save_version(self.workspace, variant, version).await.expect("a version");
        campaign
    }

    /// Waits until a campaign is in a state; fails with its report otherwise.
    pub async fn until_state(&self, campaign: CampaignId, state: CampaignState) {
        let begun = Instant::now();
        loop {
            let present = self.store.campaign(self.workspace, campaign).await.expect("the campaign").state;
            if present == state {
                return;
            }
            if begun.elapsed() > PATIENCE {
                panic!("the campaign is {present}, not {state}: {:#?}", self.report(campaign).await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As [`Rig::until_state`], while the hand-wound clock goes on by `step_ms` at each look.
    pub async fn until_done_winding(&self, campaign: CampaignId, step_ms: i64) {
        let begun = Instant::now();
        loop {
            let present = self.store.campaign(self.workspace, campaign).await.expect("the campaign").state;
            if present == CampaignState::Done {
                return;
            }
            if begun.elapsed() > PATIENCE {
                panic!("the campaign is {present}: {:#?}", self.report(campaign).await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.store.clock.advance(step_ms);
        }
    }

    /// Waits for something, asking every 20 ms.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut ask: impl FnMut() -> F) {
        let begun = Instant::now();
        while !ask().await {
            assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The rows of a report by mailbox: status, attempts made, attempts planned, detail.
    pub async fn report(&self, campaign: CampaignId) -> BTreeMap<String, (ReportStatus, i64, i64, String)> {
        self.rows(campaign).await.into_iter().map(|r| (r.mailbox, (r.status, r.attempt, r.of, r.detail))).collect()
    }

    pub async fn rows(&self, campaign: CampaignId) -> Vec<DeliveryRow> {
        let (mut rows, mut page) = (Vec::new(), PageRequest::first(500));
        loop {
            let found = self
                .store
                .deliveries(self.workspace, DeliveriesOf::Campaign(campaign, None), &page)
                .await
                .expect("rows");
            rows.extend(found.items);
            match found.next {
                Some(next) => page = page.after(Some(next)),
                None => return rows,
            }
        }
    }

    pub async fn attempts(&self, delivery: DeliveryId) -> Vec<AttemptRow> {
        let page = PageRequest::first(100);
        self.store.attempts(self.workspace, AttemptsOf::Delivery(delivery), &page).await.expect("attempts").items
    }

    /// The ledger, by counters and by rows, which must agree and balance.
    pub async fn ledger(&self, campaign: CampaignId) -> Ledger {
        // Two reads, between which the engine may write: they are of one moment when the counters stayed as they were.
        let (mut counted, mut recounted);
        loop {
            counted = self.store.ledger_counts(self.workspace, campaign).await.expect("counters");
            recounted = self.store.recount(self.workspace, campaign).await.expect("rows");
            if counted == self.store.ledger_counts(self.workspace, campaign).await.expect("counters") {
                break;
            }
        }
        assert_eq!(counted, recounted, "counters and rows");
        assert!(counted.balances(), "{counted:?}");
        counted
    }
}

pub fn domain(name: &str) -> DomainName {
    DomainName::parse(name).expect("a domain")
}

pub fn mx_route() -> RouteSettings {
    RouteSettings::default()
}

/// Three attempts, two seconds apart, and time-outs that a test can wait for.
pub fn rehearsal() -> RetryPolicy {
    RetryPolicy { timeout_ms: Some(700), ..RetryPolicy::preset("rehearsal").expect("a preset") }
}

/// How often the look-out of an engine has looked.
fn looked(engine: &Engine) -> u64 {
    let text = engine.metrics().text();
    let line = text.lines().find_map(|line| line.strip_prefix("postrider_alarm_looks_total "));
    line.and_then(|count| count.trim().parse().ok()).expect("the look-out counts its looks")
}

/// A resolver that a test switches off, or has forget what it knows.
pub struct Switch {
    config: DnsConfig,
    inner: std::sync::Mutex<Arc<DnsResolver>>,
    gone: AtomicBool,
}

impl Switch {
    fn new(config: DnsConfig) -> Switch {
        let inner = std::sync::Mutex::new(Arc::new(DnsResolver::new(&config).expect("a resolver")));
        Switch { config, inner, gone: AtomicBool::new(false) }
    }

    /// Nobody answers any more.
    pub fn go(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// It answers again.
    pub fn come_back(&self) {
        self.gone.store(false, Ordering::SeqCst);
    }

    /// What it was told is asked anew.
    pub fn forget(&self) {
        *self.inner.lock().unwrap() = Arc::new(DnsResolver::new(&self.config).expect("a resolver"));
    }

    fn asked(&self) -> Result<Arc<DnsResolver>, ResolveError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(ResolveError::Temporary("no answer in time".into()));
        }
        Ok(Arc::clone(&self.inner.lock().unwrap()))
    }
}

impl Resolver for Switch {
    fn mx<'a>(&'a self, domain: &'a DomainName) -> BoxFuture<'a, Result<MxAnswer, ResolveError>> {
        Box::pin(async move { self.asked()?.mx(domain).await })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move { self.asked()?.addresses(host).await })
    }

    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(async move { self.asked()?.txt(name).await })
    }

    fn zone_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<String, ResolveError>> {
        Box::pin(async move { self.asked()?.zone_of(name).await })
    }

    fn names_of<'a>(&'a self, address: IpAddr) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(async move { self.asked()?.names_of(address).await })
    }

    fn caa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(async move { self.asked()?.caa(name).await })
    }
}

/// Mailboxes with the moment at which their RCPT was handed to the socket.
pub type Notes = Arc<std::sync::Mutex<Vec<(String, Instant)>>>;

struct NotingDialer {
    tcp: TcpDialer,
    notes: Notes,
}

impl Dialer for NotingDialer {
    fn dial<'a>(&'a self, target: Target) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(async move {
            let inner = self.tcp.dial(target).await?;
            Ok(Box::new(Noting { inner, notes: Arc::clone(&self.notes) }) as BoxStream)
        })
    }
}

struct Noting {
    inner: BoxStream,
    notes: Notes,
}

impl tokio::io::AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let text = String::from_utf8_lossy(bytes);
        let named = text.split("RCPT TO:<").nth(1).and_then(|rest| rest.split('>').next()).map(str::to_owned);
        // Noted before the bytes go: a moment that is never too late.
        if let Some(mailbox) = named {
            self.notes.lock().unwrap().push((mailbox, Instant::now()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
