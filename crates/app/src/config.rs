//! The settings of a process: one TOML file plus environment. The only place that reads the environment.
//!
//! Everything that a user changes is a row in the database and not here.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Settings of a process. Every field has a default, so that no file is needed to start.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the database (SQLite), the key file, imports and the socket of the command line. Mode 0700.
    pub data_dir: PathBuf,
    /// Where the data are.
    pub database: Database,
    /// The web side.
    pub http: Http,
    /// The web side over TLS.
    pub https: Https,
    /// Our own certificate.
    pub certificate: Certificate,
    /// The mail side.
    pub smtp: Smtp,
    /// Where applications hand in their mail.
    pub submission: Submission,
    /// TLS with other mail hosts.
    pub tls: Tls,
    /// Reports to other domains about TLS with them.
    pub tls_report: TlsReport,
    /// Outgoing HTTP.
    pub fetch: Fetch,
    /// What runs by itself.
    pub engine: Engine,
    /// Rules of your own.
    pub rules: Rules,
    /// Log lines.
    pub log: Log,
}

/// Rules of your own, before those that ship.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// File with bounce rules (docs/bounces.md); read again when it changes.
    pub bounces: Option<PathBuf>,
}

/// Where the data are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host/name` for several nodes; empty: SQLite in the data folder.
    pub url: String,
    /// Use a PostgreSQL server that may lose commits (`fsync` or `synchronous_commit` off): for tests only.
    pub unsafe_durability: bool,
}

/// The web side.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on. Loopback until you put a TLS proxy in front.
    pub listen: SocketAddr,
}

/// The web side over TLS; see docs/certificates.md.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Https {
    /// Address and port to listen on, e.g. `0.0.0.0:443`; without it there is no HTTPS.
    pub listen: Option<SocketAddr>,
    /// Send requests that come in clear to https, but for proofs of names and the looks of machines.
    pub redirect: bool,
}

/// Our own certificate, from files or from an authority; see docs/certificates.md.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// File with the chain (PEM), our own certificate first.
    pub chain_file: Option<PathBuf>,
    /// File with its private key (PEM, without a password).
    pub key_file: Option<PathBuf>,
    /// Directory of an authority that speaks ACME, e.g. `https://acme-v02.api.letsencrypt.org/directory`.
    pub acme_directory: String,
    /// The host names to ask for.
    pub acme_names: Vec<String>,
    /// Where the authority may write to, e.g. `["mailto:admin@example.org"]`.
    pub acme_contact: Vec<String>,
    /// Whether you agree to the authority's terms of service.
    pub acme_terms_agreed: bool,
    /// File with the roots (PEM) of an authority of your own network.
    pub acme_ca_file: Option<PathBuf>,
    /// The name of the key of an account with the authority's owner, where it asks for one.
    pub acme_key_id: String,
    /// File with that key (base64url).
    pub acme_key_file: Option<PathBuf>,
}

/// The mail side.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Smtp {
    /// The name that we say in EHLO; empty: the host's name.
    pub ehlo_name: String,
    /// Port of MX hosts; 25 but in rehearsals.
    pub mx_port: u16,
    /// Name server to ask; empty: the system's.
    pub dns_server: Option<SocketAddr>,
    /// Ranges of private addresses that mail may go to, e.g. `["127.0.0.0/8"]`; none by default.
    pub allow_private_mx: Vec<String>,
    /// A host of one's own that answers on port 25, to see whether that port is open; empty: none is asked.
    pub port_probe: String,
    /// File with further certificate authorities (PEM) for verified TLS.
    pub extra_ca_file: Option<PathBuf>,
}

/// Where applications hand in their mail; see docs/relay.md.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Submission {
    /// The listeners. Not given: `127.0.0.1:2525` in clear, where it is free. An empty list: none.
    pub listeners: Option<Vec<Listener>>,
    /// The name in the greeting and in Received fields; empty: `smtp.ehlo_name`.
    pub name: String,
    /// Largest message, bytes.
    pub max_message_bytes: u64,
    /// Connections at once over all clients.
    pub connections: usize,
}

/// One listener of the relay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, such as `0.0.0.0:587`.
    pub listen: SocketAddr,
    /// `starttls` (default), `tls` from the first byte, or `clear`, which is for loopback only.
    #[serde(default)]
    pub security: ListenerSecurity,
    /// Proxies in front that tell the client's address by the PROXY protocol, version 2.
    #[serde(default)]
    pub proxy_from: Vec<String>,
}

/// How a listener speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerSecurity {
    /// In clear, on loopback only.
    Clear,
    /// STARTTLS is offered; passwords are taken under TLS only.
    #[default]
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// TLS with other mail hosts; see docs/tls.md.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A validating resolver on this machine whose word about signatures is believed, e.g. `127.0.0.1:53`; without it
    /// there is no DANE. It answers all other questions as well, unless `smtp.dns_server` names another.
    pub dnssec_resolver: Option<SocketAddr>,
    /// Follow the MTA-STS policies of recipient domains.
    pub mta_sts: bool,
    /// Where nothing asks for TLS, try once in clear after a failed handshake.
    pub clear_retry: bool,
}

/// Reports to other domains about TLS with them (RFC 8460); see docs/tls.md.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsReport {
    /// The mailbox that they come from, of a sending domain with a DKIM key; empty: no reports.
    pub from: String,
    /// The organisation's name; the domain of `from` when empty.
    pub organization: String,
    /// The mailbox of people who answer questions; `from` when empty.
    pub contact: String,
}

/// Outgoing HTTP; see docs/dns.md.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Ranges of private addresses that may be fetched from, e.g. `["10.1.2.3"]`; none by default.
    pub allow_private: Vec<String>,
}

/// What runs by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Seconds that an orderly stop waits for what is in the air.
    pub grace_seconds: u64,
    /// Name of this node, unique among those that share a database and the same at each start; empty: host name.
    pub node_name: String,
    /// Threads that sign; 0: one per core.
    pub signing_threads: usize,
    /// Milliseconds without a beat after which another node takes this one for dead.
    pub node_dead_ms: u64,
    /// Milliseconds until a domain that does not exist is looked at again.
    pub nxdomain_second_look_ms: i64,
    /// Send without signatures, to measure what they cost. Never for real mail.
    pub unsigned_for_measurements: bool,
}

/// Log lines.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,postrider_engine=debug`.
    pub level: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: PathBuf::from("postrider-data"),
            database: Database::default(),
            http: Http::default(),
            https: Https::default(),
            certificate: Certificate::default(),
            smtp: Smtp::default(),
            submission: Submission::default(),
            tls: Tls::default(),
            tls_report: TlsReport::default(),
            fetch: Fetch::default(),
            engine: Engine::default(),
            rules: Rules::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Http { listen: SocketAddr::from(([127, 0, 0, 1], 8025)) }
    }
}

impl Default for Smtp {
    fn default() -> Self {
        Smtp {
            ehlo_name: String::new(),
            mx_port: 25,
            dns_server: None,
            allow_private_mx: Vec::new(),
            port_probe: String::new(),
            extra_ca_file: None,
        }
    }
}

impl Default for Submission {
    fn default() -> Self {
        Submission { listeners: None, name: String::new(), max_message_bytes: 35 << 20, connections: 2_500 }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Tls { dnssec_resolver: None, mta_sts: true, clear_retry: false }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            grace_seconds: 60,
            node_name: String::new(),
            signing_threads: 0,
            node_dead_ms: 30_000,
            nxdomain_second_look_ms: 3_600_000,
            unsigned_for_measurements: false,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".into() }
    }
}

impl Config {
    /// Reads the file (if one is named or `postrider.toml` lies here), then the environment.
    pub fn load(file: Option<&Path>, data_dir: Option<&Path>) -> anyhow::Result<Config> {
        let here = Path::new("postrider.toml");
        let mut config = match file {
            Some(path) => Config::read(path)?,
            None if here.exists() => Config::read(here)?,
            None => Config::default(),
        };
        config.overrule(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))?;
        if let Some(dir) = data_dir {
            config.data_dir = dir.to_owned();
        }
        if config.smtp.ehlo_name.is_empty() {
            config.smtp.ehlo_name = host_name();
        }
        if config.engine.node_name.is_empty() {
            config.engine.node_name = host_name();
        }
        Ok(config)
    }

    fn read(path: &Path) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("could not understand {}", path.display()))
    }

    /// The environment wins over the file.
    fn overrule(&mut self, get: impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
        fn number<T: std::str::FromStr>(name: &str, text: &str) -> anyhow::Result<T> {
            match text.parse() {
                Ok(value) => Ok(value),
                Err(_) => bail!("{name}=`{text}` could not be read: see docs/operations.md for its form"),
            }
        }
        if let Some(v) = get("POSTRIDER_DATA_DIR") {
            self.data_dir = PathBuf::from(v);
        }
        if let Some(v) = get("POSTRIDER_DATABASE_URL") {
            self.database.url = v;
        }
        if let Some(v) = get("POSTRIDER_HTTP_LISTEN") {
            self.http.listen = number("POSTRIDER_HTTP_LISTEN", &v)?;
        }
        if let Some(v) = get("POSTRIDER_HTTPS_LISTEN") {
            self.https.listen = Some(number("POSTRIDER_HTTPS_LISTEN", &v)?);
        }
        if let Some(v) = get("POSTRIDER_EHLO_NAME") {
            self.smtp.ehlo_name = v;
        }
        if let Some(v) = get("POSTRIDER_MX_PORT") {
            self.smtp.mx_port = number("POSTRIDER_MX_PORT", &v)?;
        }
        if let Some(v) = get("POSTRIDER_DNS_SERVER") {
            self.smtp.dns_server = Some(number("POSTRIDER_DNS_SERVER", &v)?);
        }
        if let Some(v) = get("POSTRIDER_ALLOW_PRIVATE_MX") {
            self.smtp.allow_private_mx = v.split(',').map(|r| r.trim().to_owned()).collect();
        }
        if let Some(v) = get("POSTRIDER_EXTRA_CA_FILE") {
            self.smtp.extra_ca_file = Some(PathBuf::from(v));
        }
        if let Some(v) = get("POSTRIDER_SUBMISSION_LISTEN") {
            // In clear on loopback, so that one address is enough; anything else is for the file.
            self.submission.listeners = Some(match v.as_str() {
                "off" => Vec::new(),
                address => vec![Listener {
                    listen: number("POSTRIDER_SUBMISSION_LISTEN", address)?,
                    security: ListenerSecurity::Clear,
                    proxy_from: Vec::new(),
                }],
            });
        }
        if let Some(v) = get("POSTRIDER_DNSSEC_RESOLVER") {
            self.tls.dnssec_resolver = Some(number("POSTRIDER_DNSSEC_RESOLVER", &v)?);
        }
        if let Some(v) = get("POSTRIDER_MTA_STS") {
            self.tls.mta_sts = number("POSTRIDER_MTA_STS", &v)?;
        }
        if let Some(v) = get("POSTRIDER_CLEAR_RETRY") {
            self.tls.clear_retry = number("POSTRIDER_CLEAR_RETRY", &v)?;
        }
        if let Some(v) = get("POSTRIDER_GRACE_SECONDS") {
            self.engine.grace_seconds = number("POSTRIDER_GRACE_SECONDS", &v)?;
        }
        if let Some(v) = get("POSTRIDER_NODE_NAME") {
            self.engine.node_name = v;
        }
        if let Some(v) = get("POSTRIDER_NODE_DEAD_MS") {
            self.engine.node_dead_ms = number("POSTRIDER_NODE_DEAD_MS", &v)?;
        }
        if let Some(v) = get("POSTRIDER_UNSIGNED_FOR_MEASUREMENTS") {
            self.engine.unsigned_for_measurements = number("POSTRIDER_UNSIGNED_FOR_MEASUREMENTS", &v)?;
        }
        if let Some(v) = get("POSTRIDER_BOUNCE_RULES") {
            self.rules.bounces = Some(PathBuf::from(v));
        }
        if let Some(v) = get("POSTRIDER_LOG") {
            self.log.level = v;
        }
        Ok(())
    }

    /// The socket through which the command line talks to the running server.
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("postrider.sock")
    }
}

/// The host's name, for EHLO and the node; `localhost.localdomain` when unknown.
fn host_name() -> String {
    std::fs::read_to_string("/etc/hostname")
        .ok()
        .map(|n| n.trim().to_owned())
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| "localhost.localdomain".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_setting_is_refused_and_named() {
        let error = toml::from_str::<Config>("[smtp]\nmx_prot = 26\n").unwrap_err().to_string();
        assert!(error.contains("mx_prot") && error.contains("mx_port"), "{error}");
    }

    #[test]
    fn the_environment_wins_and_says_what_it_cannot_read() {
        let mut config: Config = toml::from_str("[smtp]\nmx_port = 2525\n").unwrap();
        config.overrule(|n| (n == "POSTRIDER_MX_PORT").then(|| "2526".into())).unwrap();
        assert_eq!(config.smtp.mx_port, 2526);
        let error = config.overrule(|n| (n == "POSTRIDER_MX_PORT").then(|| "many".into())).unwrap_err();
        assert!(error.to_string().contains("POSTRIDER_MX_PORT=`many`"));
    }
}
