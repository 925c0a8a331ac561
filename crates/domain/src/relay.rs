//! What an application that hands its mail to us may do: the settings of its credential, and why its mail was refused.
//!
//! Pure. Must not know how it logs in, and where the settings are kept.

use serde::{Deserialize, Serialize};

use crate::id::RouteId;

crate::words! {
    /// How a client shows who it is.
    pub enum CredentialKind {
        /// By a user name and a password, under TLS or from this machine.
        Password = "password",
        /// By the address that it comes from, alone.
        Address = "address",
    }
}

crate::words! {
    /// What happens when a client names several recipients for one message.
    pub enum RecipientMode {
        /// One message, one delivery for each of them.
        Split = "split",
        /// One recipient a message; the others are asked for again (452 4.5.3).
        Strict = "strict",
    }
}

crate::words! {
    /// Why a submission was refused, for the error view.
    pub enum RefusedFor {
        /// The client's address is on no list.
        UnlistedClient = "unlisted_client",
        /// Wrong user name or password.
        Login = "login",
        /// Too many wrong logins: locked for a time.
        Locked = "locked",
        /// The From domain is not one of the credential's, or no sending domain.
        FromDomain = "from_domain",
        /// A bad mailbox in MAIL or RCPT.
        Mailbox = "mailbox",
        /// The message itself: its form, its size, a loop.
        Message = "message",
        /// A limit: connections, rate, messages an hour, recipients.
        Limit = "limit",
        /// We could not take it: disk, database, queue.
        Ours = "ours",
        /// A special header was ignored; the message was sent.
        Header = "header",
    }
}

/// Most recipients of one message that can be asked for.
pub const MOST_RECIPIENTS: u32 = 1_000;
/// Most networks or domains of one credential.
const MOST_NAMES: usize = 200;
/// Most connections at once that can be asked for.
const MOST_CONNECTIONS: u32 = 1_000;
/// Highest pace that can be asked for, messages a second.
const MOST_PER_SECOND: u32 = 10_000;

/// What an application may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialSettings {
    /// The name that people gave it.
    pub name: String,
    /// Networks that it may come from, such as `192.0.2.0/24`; with a password none means from anywhere.
    pub networks: Vec<String>,
    /// From domains that it may use; none means each sending domain of the workspace.
    pub from_domains: Vec<String>,
    /// What happens with several recipients.
    pub recipients: RecipientMode,
    /// Most recipients of one message.
    pub most_recipients: u32,
    /// Messages a second; 0 is no limit.
    pub per_second: u32,
    /// Messages an hour, against a hijacked application; 0 is no limit.
    pub per_hour: u32,
    /// Connections at once from one client network.
    pub connections: u32,
    /// The route by which its mail leaves; the workspace's default one when not given.
    pub route: Option<RouteId>,
    /// Whether hidden inputs in the HTML part count as special headers.
    pub html_inputs: bool,
}

impl Default for CredentialSettings {
    fn default() -> CredentialSettings {
        CredentialSettings {
            name: String::new(),
            networks: Vec::new(),
            from_domains: Vec::new(),
            recipients: RecipientMode::Split,
            most_recipients: 100,
            per_second: 4,
            per_hour: 0,
            connections: 8,
            route: None,
            html_inputs: false,
        }
    }
}

/// Why settings cannot be used; reads after "could not save the credential:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialFault {
    /// No name.
    #[error("give it a name of 1 to 100 characters")]
    Name,
    /// An address alone, and no address.
    #[error("name at least one network in `networks`: without a password the address is all that shows who it is")]
    NoNetwork,
    /// An address alone that could be any.
    #[error("name at least one domain in `from_domains`: without a password the address is bound to its From domains")]
    NoDomain,
    /// Too many names.
    #[error("name at most {MOST_NAMES} networks and as many domains")]
    TooMany,
    /// Not a domain.
    #[error("`{0}` in `from_domains` is no domain")]
    Domain(String),
    /// Out of range.
    #[error("`{0}` must be {1} to {2}")]
    Range(&'static str, u32, u32),
}

impl CredentialSettings {
    /// Looks at the settings as a whole; networks are the business of whoever can read them.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self, kind: CredentialKind) -> Result<(), CredentialFault> {
        if self.name.trim().is_empty() || self.name.chars().count() > 100 || self.name.chars().any(char::is_control) {
            return Err(CredentialFault::Name);
        }
        if self.networks.len() > MOST_NAMES || self.from_domains.len() > MOST_NAMES {
            return Err(CredentialFault::TooMany);
        }
        match kind {
            CredentialKind::Password => {}
            CredentialKind::Address if self.networks.is_empty() => return Err(CredentialFault::NoNetwork),
            CredentialKind::Address if self.from_domains.is_empty() => return Err(CredentialFault::NoDomain),
            CredentialKind::Address => {}
        }
        for domain in &self.from_domains {
            postrider_mail::DomainName::parse(domain).map_err(|_| CredentialFault::Domain(domain.clone()))?;
        }
        let range = |name, value, least, most| {
            if (least..=most).contains(&value) { Ok(()) } else { Err(CredentialFault::Range(name, least, most)) }
        };
        range("most_recipients", self.most_recipients, 1, MOST_RECIPIENTS)?;
        range("connections", self.connections, 1, MOST_CONNECTIONS)?;
        range("per_second", self.per_second, 0, MOST_PER_SECOND)
    }

    /// The domains in the form in which they are compared.
    #[must_use]
    pub fn with_plain_domains(mut self) -> CredentialSettings {
        self.from_domains = self
            .from_domains
            .iter()
            .filter_map(|domain| postrider_mail::DomainName::parse(domain).ok())
            .map(|domain| domain.as_str().to_owned())
            .collect();
        self.from_domains.sort();
        self.from_domains.dedup();
        self
    }

    /// Whether a From domain, an A-label in lower case, is one of its own.
    pub fn may_use(&self, domain: &str) -> bool {
        self.from_domains.is_empty() || self.from_domains.iter().any(|own| own == domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> CredentialSettings {
        CredentialSettings { name: "shop".into(), ..CredentialSettings::default() }
    }

    #[test]
    fn an_address_alone_is_bound_to_its_networks_and_domains() {
        assert_eq!(named().check(CredentialKind::Password), Ok(()));
        assert_eq!(named().check(CredentialKind::Address), Err(CredentialFault::NoNetwork));
        let mut address = CredentialSettings { networks: vec!["192.0.2.1".into()], ..named() };
        assert_eq!(address.check(CredentialKind::Address), Err(CredentialFault::NoDomain));
        address.from_domains.push("example.org".into());
        assert_eq!(address.check(CredentialKind::Address), Ok(()));
    }

    #[test]
    fn domains_are_compared_in_one_form() {
        let settings =
            CredentialSettings { from_domains: vec!["EXAMPLE.org".into(), "bücher.example".into()], ..named() };
        let settings = settings.with_plain_domains();
        assert!(settings.may_use("example.org") && settings.may_use("xn--bcher-kva.example"));
        assert!(!settings.may_use("example.com"));
        assert!(named().may_use("anything.example"));
    }

    #[test]
    fn limits_have_a_range() {
        let none = CredentialSettings { most_recipients: 0, ..named() };
        assert!(matches!(none.check(CredentialKind::Password), Err(CredentialFault::Range("most_recipients", 1, _))));
        let words = CredentialSettings { name: "a\nb".into(), ..named() };
        assert_eq!(words.check(CredentialKind::Password), Err(CredentialFault::Name));
    }
}
