//! What the engine is started with: everything that it would otherwise have to find out by itself.
//!
//! Must not know where the values come from (a file, the environment, a test).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postrider_smtp::{AddressPolicy, Dialer, Resolver, Timeouts, TlsClient};
use postrider_store::Store;

use crate::certificate::CertificateConfig;
use crate::tls_report::TlsReportConfig;
use crate::transport::TransportConfig;

/// Parts and settings of an engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// The store; its clock is the engine's clock, its node the engine's node.
    pub store: Store,
    /// Asks DNS.
    pub resolver: Arc<dyn Resolver>,
    /// Opens connections to MX hosts. Knows the MX port.
    pub dialer: Arc<dyn Dialer>,
    /// Opens connections to smarthosts, which an operator named: they may stand on private addresses.
    pub smarthost_dialer: Arc<dyn Dialer>,
    /// The TLS side of both.
    pub tls: TlsClient,
    /// The name that we say in EHLO: our FQDN (RFC 5321 4.1.1.1).
    pub ehlo_name: String,
    /// Which addresses an MX host may have; a host without any such address is refused for good.
    pub address_policy: AddressPolicy,
    /// How much TLS recipient domains ask for: MTA-STS, DANE, and one switch.
    pub transport: TransportConfig,
    /// A host that is greeted to see whether port 25 is open; without it only real mail tells.
    pub port_probe: Option<String>,
    /// In whose name reports about TLS are sent to other domains; without it there are none.
    pub tls_reports: Option<TlsReportConfig>,
    /// Our own certificate, for the listeners.
    pub certificate: CertificateConfig,
    /// File with bounce rules of the operator; they come before those that ship. Read again when it changes.
    pub bounce_rules: Option<PathBuf>,
    /// Seed of every random choice: jitter, order of equal MX hosts.
    pub seed: u64,
    /// What runs.
    pub work: Work,
    /// How much at once.
    pub limits: Limits,
    /// How long and how often.
    pub times: Times,
}

impl EngineConfig {
    /// A configuration with the usual limits and times.
    pub fn new(
        store: Store,
        resolver: Arc<dyn Resolver>,
        dialer: Arc<dyn Dialer>,
        smarthost_dialer: Arc<dyn Dialer>,
        tls: TlsClient,
        ehlo_name: impl Into<String>,
    ) -> EngineConfig {
        EngineConfig {
            store,
            resolver,
            dialer,
            smarthost_dialer,
            tls,
            ehlo_name: ehlo_name.into(),
            address_policy: AddressPolicy::default(),
            transport: TransportConfig::default(),
            port_probe: None,
            tls_reports: None,
            certificate: CertificateConfig::default(),
            bounce_rules: None,
            seed: 0,
            work: Work::All,
            limits: Limits::default(),
            times: Times::default(),
        }
    }
}

/// What an engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Everything.
    All,
    /// What a single command needs: imports and inquiries, no sending.
    WithoutSending,
}

/// How much the engine does at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of the whole node, over all routes and sites. A tenth is kept for transactional mail.
    pub connections: usize,
    /// Messages over one connection before it is closed in order.
    pub messages_per_connection: u32,
    /// Messages of one connection that may be marked ahead when the policy is to send again; 1 to 8.
    pub ahead: usize,
    /// Rows of each open lane kept in memory; at most 500.
    pub rows_per_lane: usize,
    /// Addresses tried within one attempt.
    pub addresses_per_attempt: usize,
    /// Domains looked up at the same time, for sites and for imports each.
    pub lookups: usize,
    /// Threads that render and sign; 0 for one a core.
    pub signing_threads: usize,
    /// Whether messages are signed.
    pub signing: Signing,
}

/// Whether messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// Every message, with the key of its From domain.
    On,
    /// None: only to measure what a signature costs.
    OffForMeasurements,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 500,
            messages_per_connection: 100,
            ahead: 8,
            rows_per_lane: 500,
            addresses_per_attempt: 10,
            lookups: 32,
            signing_threads: 0,
            signing: Signing::On,
        }
    }
}

/// How long the engine waits, and how often it looks.
#[derive(Debug, Clone)]
pub struct Times {
    /// Between two signs of life.
    pub beat: Duration,
    /// Between two looks at what the bell may have missed.
    pub poll: Duration,
    /// A node whose beat has not changed for so many milliseconds of our monotonic clock is dead.
    pub dead_after_ms: i64,
    /// A domain that does not exist is looked at again so many milliseconds later, before it is believed (RF-7).
    pub nxdomain_second_look_ms: i64,
    /// What DNS said about a domain's site is believed so many milliseconds.
    pub site_ttl_ms: i64,
    /// A connection with nothing to carry is closed after this time.
    pub idle_close: Duration,
    /// What an orderly stop waits for replies.
    pub grace: Duration,
    /// Waits of the dialogue, unless a policy shortens them.
    pub smtp: Timeouts,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            beat: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            dead_after_ms: 30_000,
            nxdomain_second_look_ms: 3_600_000,
            site_ttl_ms: 24 * 3_600_000,
            idle_close: Duration::from_secs(5),
            grace: Duration::from_secs(60),
            smtp: Timeouts::rfc5321(),
        }
    }
}
