//! Routes: how mail leaves, and the limits that a route sets itself.

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
            RouteKind::Mx => {}
            RouteKind::Smarthost => {
                let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_' | '[' | ']'));
                if self.host.is_empty() || self.host.len() > 253 || self.host.contains(bad) || self.port == 0 {
                    return Err(RouteError::Host);
                }
            }
        }
        if !(1..=1000).contains(&self.connections) {
            return Err(RouteError::Connections);
        }
        let clear = match self.tls {
            TlsMode::None | TlsMode::Opportunistic => true,
            TlsMode::Required | TlsMode::Implicit => false,
        };
        let loopback = self.host == "localhost" || self.host.starts_with("127.") || self.host == "::1";
        if !self.username.is_empty() && clear && !loopback {
            return Err(RouteError::ClearAuth);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
