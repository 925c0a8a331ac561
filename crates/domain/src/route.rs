//! Routes: how mail leaves, and the limits that a route sets itself.

use crate::egress::{ChoiceError, MOST_WEIGHT, PoolChoice};

crate::words! {
    /// Where a route hands mail over.
    pub enum RouteKind {
        /// To the MX hosts of each recipient's domain.
        Mx = "mx",
        /// To one configured host.
        Smarthost = "smarthost",
    }
}

crate::words! {
    /// How a connection is protected.
    pub enum TlsMode {
        /// TLS when offered, any certificate; clear text only when none is offered.
        Opportunistic = "opportunistic",
        /// STARTTLS with a certificate that verifies, or no delivery.
        Required = "required",
        /// TLS from the first byte (RFC 8314) with a certificate that verifies.
        Implicit = "implicit",
        /// Never; for hosts on this machine.
        None = "none",
    }
}

crate::words! {
    /// What a workspace asks of TLS with one recipient domain, in place of what DANE and MTA-STS ask.
    pub enum TlsDemand {
        /// TLS with any certificate, or no delivery.
        Encrypted = "encrypted",
        /// TLS with a certificate that DANE or a trusted root vouches for, or no delivery.
        Verified = "verified",
        /// As verified, and every further host must promise the same (RFC 8689).
        RequireTls = "require_tls",
        /// TLS where it is offered, whatever DANE and MTA-STS say.
        Opportunistic = "opportunistic",
        /// No TLS.
        Clear = "clear",
    }
}

crate::words! {
    /// Who is left out of campaigns because of an opt-out, apart from whom the campaign's own purpose leaves out.
    pub enum ExclusionPolicy {
        /// Nobody else: an opt-out from one purpose leaves the others as they are.
        Campaign = "campaign",
        /// Everybody who opted out of any purpose of the workspace.
        Global = "global",
    }
}

crate::words! {
    /// Who signs what leaves by a route (DKIM).
    pub enum Signing {
        /// We do, with the key of the From domain.
        We = "we",
        /// We do, and the relay signs as well; a received test message has to prove it.
        Relay = "relay",
        /// The relay rewrites Date or Message-ID, which would break our signature: we leave messages unsigned, and the relay
        /// signs; a received test message has to prove it.
        RelayRewrites = "relay_rewrites",
    }
}

impl Signing {
    /// Whether marketing needs a proof first that the relay signs.
    pub const fn needs_proof(self) -> bool {
        match self {
            Signing::We => false,
            Signing::Relay | Signing::RelayRewrites => true,
        }
    }

    /// Whether our own signature is in the message.
    pub const fn is_ours(self) -> bool {
        match self {
            Signing::We | Signing::Relay => true,
            Signing::RelayRewrites => false,
        }
    }
}

/// One of several hosts of a smarthost route.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayHost {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// AUTH user; empty for none.
    #[serde(default)]
    pub username: String,
    /// Hosts with a lower number come first; those with a higher one are used while none of these can be reached.
    #[serde(default)]
    pub priority: u16,
    /// Its share against others of the same priority, 1 to 1000.
    #[serde(default = "one")]
    pub weight: u32,
    /// Messages per second through this host, 0 for no limit.
    #[serde(default)]
    pub per_second: u32,
    /// Messages per hour, kept evenly; 0 for no limit.
    #[serde(default)]
    pub per_hour: u32,
    /// Messages per local day of the workspace, 0 for no limit.
    #[serde(default)]
    pub per_day: u32,
}

const fn one() -> u32 {
    1
}

/// Most hosts of a route.
pub const MOST_HOSTS: usize = 20;

/// A host of a provider whose mailboxes are for people, not for bulk mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeHost {
    /// The provider's name for people.
    pub provider: &'static str,
    /// Messages a day that are safe to plan with.
    pub per_day: u32,
}

/// Providers of mailboxes by the end of their submission hosts. What each allows changes and is seldom published; a few
/// hundred a day is what a mailbox is good for, so that one number serves all.
const FREE_HOSTS: &[(&str, &str)] = &[
    ("gmail.com", "Gmail"),
    ("googlemail.com", "Gmail"),
    ("outlook.com", "Outlook"),
    ("office365.com", "Microsoft 365"),
    ("live.com", "Outlook"),
    ("hotmail.com", "Outlook"),
    ("yahoo.com", "Yahoo"),
    ("yahoo.it", "Yahoo"),
    ("aol.com", "AOL"),
    ("icloud.com", "iCloud"),
    ("me.com", "iCloud"),
    ("libero.it", "Libero"),
    ("virgilio.it", "Virgilio"),
    ("alice.it", "TIM"),
    ("tim.it", "TIM"),
    ("tiscali.it", "Tiscali"),
    ("aruba.it", "Aruba"),
    ("gmx.net", "GMX"),
    ("gmx.com", "GMX"),
    ("gmx.de", "GMX"),
    ("web.de", "WEB.DE"),
    ("t-online.de", "Telekom"),
    ("wp.pl", "WP"),
    ("o2.pl", "o2"),
    ("tlen.pl", "o2"),
    ("onet.pl", "Onet"),
    ("interia.pl", "Interia"),
    ("gazeta.pl", "Gazeta"),
];

/// The provider of people's mailboxes that a smarthost belongs to, if it is a known one.
pub fn free_host(host: &str) -> Option<FreeHost> {
    let host = host.trim().trim_end_matches('.').to_ascii_lowercase();
    FREE_HOSTS
        .iter()
        .find(|(end, _)| host == *end || host.strip_suffix(end).is_some_and(|head| head.ends_with('.')))
        .map(|(_, provider)| FreeHost { provider, per_day: 500 })
}

/// The settings of a route as people write them; the password travels apart and is never returned.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Name shown to people.
    pub name: String,
    /// Where to.
    pub kind: RouteKind,
    /// Host of a smarthost.
    #[serde(default)]
    pub host: String,
    /// Port of a smarthost; for MX routes 0 means the configured MX port (25).
    #[serde(default)]
    pub port: u16,
    /// Protection.
    pub tls: TlsMode,
    /// AUTH user; empty for none.
    #[serde(default)]
    pub username: String,
    /// Messages per second, 0 for no limit of our own.
    #[serde(default)]
    pub per_second: u32,
    /// Messages per local day of the workspace, 0 for no limit of our own.
    #[serde(default)]
    pub per_day: u32,
    /// Simultaneous connections to one site, 1–1000.
    #[serde(default = "ten")]
    pub connections: u16,
    /// Accept a certificate that does not verify on required/implicit TLS; for hosts with a private authority.
    #[serde(default)]
    pub accept_any_certificate: bool,
    /// Who is left out when the audience of a campaign through this route is frozen.
    #[serde(default = "campaign_only")]
    pub exclusion: ExclusionPolicy,
    /// Messages per hour, kept evenly; 0 for no limit of our own.
    #[serde(default)]
    pub per_hour: u32,
    /// From which pools of egress sources an MX route sends.
    #[serde(default, skip_serializing_if = "PoolChoice::is_empty")]
    pub egress: PoolChoice,
    /// Several hosts of a smarthost in place of `host`, `port` and `username`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<RelayHost>,
    /// Who signs.
    #[serde(default = "we")]
    pub signing: Signing,
}

impl Default for RouteSettings {
    /// To MX hosts, with TLS where it is offered, and without limits of its own.
    fn default() -> RouteSettings {
        RouteSettings {
            name: "Direct".into(),
            kind: RouteKind::Mx,
            host: String::new(),
            port: 0,
            tls: TlsMode::Opportunistic,
            username: String::new(),
            per_second: 0,
            per_day: 0,
            connections: ten(),
            accept_any_certificate: false,
            exclusion: campaign_only(),
            per_hour: 0,
            egress: PoolChoice::default(),
            hosts: Vec::new(),
            signing: we(),
        }
    }
}

const fn we() -> Signing {
    Signing::We
}

const fn campaign_only() -> ExclusionPolicy {
    ExclusionPolicy::Campaign
}

const fn ten() -> u16 {
    10
}

/// Why a route is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A name is missing.
    #[error("give the route a name of 1 to 100 characters")]
    Name,
    /// A smarthost needs host and port.
    #[error("a smarthost needs a host name or address, and a port from 1 to 65535")]
    Host,
    /// A password would go in clear.
    #[error("user and password need TLS unless the host is on this machine: choose `required` or `implicit`")]
    ClearAuth,
    /// Connections out of range.
    #[error("connections should be 1 to 1000")]
    Connections,
    /// One host and several.
    #[error("a route has `host` or `hosts`: leave `host`, `port` and `username` empty when it has several")]
    HostAndHosts,
    /// Too many hosts.
    #[error("a route has at most {MOST_HOSTS} hosts")]
    ManyHosts,
    /// A host twice.
    #[error("{0:?} is named twice: each host of a route is named once")]
    HostTwice(String),
    /// A weight out of range.
    #[error("the weight of a host should be 1 to {MOST_WEIGHT}")]
    Weight,
    /// Pools.
    #[error("{0}")]
    Pools(#[from] ChoiceError),
    /// Something that only the other kind of route has.
    #[error("{0}")]
    Kind(&'static str),
}

impl RouteSettings {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RouteError> {
        if self.name.trim().is_empty() || self.name.chars().count() > 100 || crate::contact::has_control(&self.name) {
            return Err(RouteError::Name);
        }
        match self.kind {
            RouteKind::Mx if !self.hosts.is_empty() => {
                return Err(RouteError::Kind("a route to MX hosts has no `hosts`: make it a smarthost"));
            }
            RouteKind::Mx if self.signing.needs_proof() => {
                return Err(RouteError::Kind(
                    "only a smarthost can sign for us: `signing` of a route to MX hosts is `we`",
                ));
            }
            RouteKind::Mx => self.egress.check()?,
            RouteKind::Smarthost if !self.egress.is_empty() => {
                return Err(RouteError::Kind(
                    "pools are for routes to MX hosts: a smarthost sees the account, not the address",
                ));
            }
            RouteKind::Smarthost if !self.hosts.is_empty() => {
                if !self.host.is_empty() || self.port != 0 || !self.username.is_empty() {
                    return Err(RouteError::HostAndHosts);
                }
                if self.hosts.len() > MOST_HOSTS {
                    return Err(RouteError::ManyHosts);
                }
            }
            RouteKind::Smarthost => {}
        }
        let hosts = self.relay_hosts();
        for (at, host) in hosts.iter().enumerate() {
            let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_' | '[' | ']'));
            if host.host.is_empty() || host.host.len() > 253 || host.host.contains(bad) || host.port == 0 {
                return Err(RouteError::Host);
            }
            if hosts[..at].iter().any(|other| other.host.eq_ignore_ascii_case(&host.host)) {
                return Err(RouteError::HostTwice(host.host.clone()));
            }
            if !(1..=MOST_WEIGHT).contains(&host.weight) {
                return Err(RouteError::Weight);
            }
        }
        if !(1..=1000).contains(&self.connections) {
            return Err(RouteError::Connections);
        }
        let clear = match self.tls {
            TlsMode::None | TlsMode::Opportunistic => true,
            TlsMode::Required | TlsMode::Implicit => false,
        };
        let loopback = |host: &str| host == "localhost" || host.starts_with("127.") || host == "::1";
        let open = |user: &str, host: &str| !user.is_empty() && clear && !loopback(host);
        if open(&self.username, &self.host) || self.hosts.iter().any(|h| open(&h.username, &h.host)) {
            return Err(RouteError::ClearAuth);
        }
        Ok(())
    }

    /// The hosts of a smarthost, also when it has one only; none for a route to MX hosts.
    pub fn relay_hosts(&self) -> Vec<RelayHost> {
        match self.kind {
            RouteKind::Mx => Vec::new(),
            RouteKind::Smarthost if self.hosts.is_empty() => vec![RelayHost {
                host: self.host.clone(),
                port: self.port,
                username: self.username.clone(),
                priority: 0,
                weight: 1,
                per_second: 0,
                per_hour: 0,
                per_day: 0,
            }],
            RouteKind::Smarthost => self.hosts.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smarthost_has_one_host_or_several() {
        let host = |name: &str, port| RelayHost {
            host: name.into(),
            port,
            username: "us".into(),
            priority: 0,
            weight: 1,
            per_second: 0,
            per_hour: 0,
            per_day: 0,
        };
        let several = RouteSettings {
            kind: RouteKind::Smarthost,
            tls: TlsMode::Required,
            hosts: vec![host("one.example.net", 587), host("two.example.net", 587)],
            ..RouteSettings::default()
        };
        assert_eq!(several.check(), Ok(()));
        assert_eq!(several.relay_hosts().len(), 2);
        let one = RouteSettings { hosts: vec![], host: "one.example.net".into(), port: 587, ..several.clone() };
        assert_eq!((one.check(), one.relay_hosts().len()), (Ok(()), 1));
        for (wrong, why) in [
            (RouteSettings { host: "three.example.net".into(), ..several.clone() }, RouteError::HostAndHosts),
            (
                RouteSettings { hosts: vec![host("a.test", 25), host("A.test", 26)], ..several.clone() },
                RouteError::HostTwice("A.test".into()),
            ),
            (RouteSettings { hosts: vec![host("a.test", 0)], ..several.clone() }, RouteError::Host),
            (RouteSettings { tls: TlsMode::Opportunistic, ..several.clone() }, RouteError::ClearAuth),
            (
                RouteSettings { hosts: vec![RelayHost { weight: 0, ..host("a.test", 25) }], ..several.clone() },
                RouteError::Weight,
            ),
        ] {
            assert_eq!(wrong.check(), Err(why));
        }
        let mx = RouteSettings { signing: Signing::Relay, ..RouteSettings::default() };
        assert!(matches!(mx.check(), Err(RouteError::Kind(_))));
        let pool = PoolChoice { pool: Some(crate::id::PoolId(1)), rules: vec![] };
        assert!(matches!(RouteSettings { egress: pool, ..several }.check(), Err(RouteError::Kind(_))));
    }

    #[test]
    fn hosts_of_free_mailboxes_are_known_by_their_end() {
        for (host, want) in [
            ("smtp.gmail.com", Some("Gmail")),
            ("SMTP.GMAIL.COM.", Some("Gmail")),
            ("smtp-mail.outlook.com", Some("Outlook")),
            ("smtp.office365.com", Some("Microsoft 365")),
            ("smtps.aruba.it", Some("Aruba")),
            ("poczta.o2.pl", Some("o2")),
            ("gmail.com.example.org", None),
            ("notgmail.com", None),
            ("smtp.example.org", None),
            ("", None),
        ] {
            assert_eq!(free_host(host).map(|h| h.provider), want, "{host}");
        }
    }
}
