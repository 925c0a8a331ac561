//! Egress: from which address mail leaves, and which of several sources takes what.
//!
//! Pure: settings as people write them. Sources and pools belong to the installation; a route of a workspace names pools
//! that the workspace may use. Knows no socket, no queue and no clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postrider_mail::mailbox::DomainName;

use crate::id::{NodeId, PoolId, SourceId, WorkspaceId};
use crate::stream::Stream;
use crate::warmup::{PlanError, WarmUp};

/// Most members of a pool.
const MOST_MEMBERS: usize = 200;
/// Most rules of a route.
const MOST_RULES: usize = 200;
/// The largest weight.
pub const MOST_WEIGHT: u32 = 1_000;

crate::words! {
    /// Whether a source takes mail.
    pub enum SourceState {
        /// It takes its share.
        Active = "active",
        /// It takes nothing new; what was handed out to it goes.
        Draining = "draining",
        /// It takes nothing, and what was handed out and has not begun goes by others.
        Off = "off",
    }
}

/// A source as people write it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Name shown to people and in attempts.
    pub name: String,
    /// The local IPv4 address that connections to IPv4 hosts are made from.
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    /// The local IPv6 address that connections to IPv6 hosts are made from.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// The name said in EHLO: the PTR record of the addresses should say the same (RFC 5321 4.1.4, SR-1).
    pub ehlo_name: String,
    /// The only node that uses it; without one, any node that has the address.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Whether it takes mail.
    #[serde(default = "active")]
    pub state: SourceState,
    /// Messages per second over all sites, 0 for no limit.
    #[serde(default)]
    pub per_second: u32,
    /// Messages per hour over all sites, kept evenly; 0 for no limit.
    #[serde(default)]
    pub per_hour: u32,
    /// Messages per day (UTC) over all sites, 0 for no limit.
    #[serde(default)]
    pub per_day: u32,
    /// The warm-up, when the addresses are new.
    #[serde(default)]
    pub warm_up: Option<WarmUp>,
}

const fn active() -> SourceState {
    SourceState::Active
}

/// Why a source is refused; reads after "could not save the source".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A name is missing.
    #[error("give it a name of 1 to 100 characters")]
    Name,
    /// No address.
    #[error("give it an IPv4 address, an IPv6 address, or both")]
    NoAddress,
    /// An address that nothing can be sent from.
    #[error("nothing can be sent from {0}: name an address of one host")]
    Address(IpAddr),
    /// The EHLO name.
    #[error("the EHLO name {0:?} is no host name: write it as host.domain, as the PTR record of the address has it")]
    Ehlo(String),
    /// The plan.
    #[error("the warm-up cannot be kept: {0}")]
    Plan(#[from] PlanError),
}

impl SourceSettings {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SourceError> {
        if !is_name(&self.name) {
            return Err(SourceError::Name);
        }
        if self.ipv4.is_none() && self.ipv6.is_none() {
            return Err(SourceError::NoAddress);
        }
        if let Some(ip) = self.ipv4.filter(|ip| ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()) {
            return Err(SourceError::Address(ip.into()));
        }
        let useless = |ip: &Ipv6Addr| ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some();
        if let Some(ip) = self.ipv6.filter(useless) {
            return Err(SourceError::Address(ip.into()));
        }
        match DomainName::parse(&self.ehlo_name) {
            Ok(name) if name.as_str().contains('.') => {}
            Ok(_) | Err(_) => return Err(SourceError::Ehlo(self.ehlo_name.chars().take(100).collect())),
        }
        if let Some(warm_up) = &self.warm_up {
            warm_up.check()?;
        }
        Ok(())
    }

    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }
}

/// A source in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which.
    pub source: SourceId,
    /// Its share against the others', 1 to 1000.
    #[serde(default = "one")]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

/// A pool as people write it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// Name shown to people.
    pub name: String,
    /// Its sources.
    pub members: Vec<Member>,
    /// The workspaces that may use it; `None` for all.
    #[serde(default)]
    pub workspaces: Option<Vec<WorkspaceId>>,
}

/// Why a pool is refused; reads after "could not save the pool".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// A name is missing.
    #[error("give it a name of 1 to 100 characters")]
    Name,
    /// No member, or too many.
    #[error("give it 1 to {MOST_MEMBERS} sources")]
    Members,
    /// A source twice.
    #[error("it names the source {0} twice: give it the sum of the weights instead")]
    Twice(SourceId),
    /// A weight out of range.
    #[error("a weight should be 1 to {MOST_WEIGHT}; leave the source out to give it nothing")]
    Weight,
}

impl PoolSettings {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PoolError> {
        if !is_name(&self.name) {
            return Err(PoolError::Name);
        }
        if self.members.is_empty() || self.members.len() > MOST_MEMBERS {
            return Err(PoolError::Members);
        }
        for (at, member) in self.members.iter().enumerate() {
            if !(1..=MOST_WEIGHT).contains(&member.weight) {
                return Err(PoolError::Weight);
            }
            if self.members[..at].iter().any(|other| other.source == member.source) {
                return Err(PoolError::Twice(member.source));
            }
        }
        Ok(())
    }

    /// Whether a workspace may use it.
    pub fn is_open_to(&self, workspace: WorkspaceId) -> bool {
        self.workspaces.as_ref().is_none_or(|some| some.contains(&workspace))
    }
}

/// A rule of a route: mail of this stream and this sending domain leaves by this pool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolRule {
    /// The stream; `None` for both.
    #[serde(default)]
    pub stream: Option<Stream>,
    /// The sending domain (of the From field), lowercase; `None` for all.
    #[serde(default)]
    pub domain: Option<String>,
    /// The pool.
    pub pool: PoolId,
}

/// Which pools a route uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolChoice {
    /// The pool of everything that no rule names; `None` for the addresses of the machine as the system chooses them.
    #[serde(default)]
    pub pool: Option<PoolId>,
    /// Exceptions.
    #[serde(default)]
    pub rules: Vec<PoolRule>,
}

/// Why the pools of a route are refused; reads after "could not save the route".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Too many rules.
    #[error("a route has at most {MOST_RULES} rules for pools")]
    TooMany,
    /// A rule that says nothing.
    #[error("a rule for a pool names a stream, a sending domain, or both; what counts for everything is `pool`")]
    Nothing,
    /// The same twice.
    #[error("two rules for pools name the same stream and sending domain: remove one")]
    Twice,
    /// No domain.
    #[error("{0:?} in a rule for a pool is no domain: write it as example.org, in small letters")]
    Domain(String),
}

impl PoolChoice {
    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.pool.is_none() && self.rules.is_empty()
    }

    /// Checks what a person wrote.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ChoiceError> {
        if self.rules.len() > MOST_RULES {
            return Err(ChoiceError::TooMany);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            if rule.stream.is_none() && rule.domain.is_none() {
                return Err(ChoiceError::Nothing);
            }
            if let Some(domain) = &rule.domain
                && !DomainName::parse(domain).is_ok_and(|name| name.as_str() == domain)
            {
                return Err(ChoiceError::Domain(domain.chars().take(100).collect()));
            }
            if self.rules[..at].iter().any(|other| (other.stream, &other.domain) == (rule.stream, &rule.domain)) {
                return Err(ChoiceError::Twice);
            }
        }
        Ok(())
    }

    /// The pool of a message: a rule for its sending domain counts before one for its stream, and one for both before all.
    pub fn pool_of(&self, stream: Stream, domain: Option<&str>) -> Option<PoolId> {
        let fits = |rule: &&PoolRule| {
            rule.stream.is_none_or(|of| of == stream) && rule.domain.as_deref().is_none_or(|of| Some(of) == domain)
        };
        let near = |rule: &&PoolRule| (rule.domain.is_some(), rule.stream.is_some());
        self.rules.iter().filter(fits).max_by_key(near).map(|rule| rule.pool).or(self.pool)
    }

    /// The pools that mail of a stream may leave by, each once.
    pub fn pools_of(&self, stream: Stream) -> Vec<Option<PoolId>> {
        let mut pools = vec![self.pool_of(stream, None)];
        for rule in self.rules.iter().filter(|rule| rule.stream.is_none_or(|of| of == stream)) {
            let pool = self.pool_of(stream, rule.domain.as_deref());
            if !pools.contains(&pool) {
                pools.push(pool);
            }
        }
        pools
    }

    /// All pools that are named.
    pub fn named(&self) -> impl Iterator<Item = PoolId> {
        self.pool.into_iter().chain(self.rules.iter().map(|rule| rule.pool))
    }
}

fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.chars().count() <= 100 && !crate::contact::has_control(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceSettings {
        SourceSettings {
            name: "one".into(),
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            ipv6: None,
            ehlo_name: "mta1.example.org".into(),
            node: None,
            state: SourceState::Active,
            per_second: 0,
            per_hour: 0,
            per_day: 0,
            warm_up: None,
        }
    }

    #[test]
    fn sources_name_one_host() {
        assert_eq!(source().check(), Ok(()));
        let both = SourceSettings { ipv6: Some("2001:db8::1".parse().unwrap()), ..source() };
        assert_eq!(both.addresses().count(), 2);
        for (wrong, why) in [
            (SourceSettings { name: " ".into(), ..source() }, "name"),
            (SourceSettings { ipv4: None, ..source() }, "address"),
            (SourceSettings { ipv4: Some(Ipv4Addr::UNSPECIFIED), ..source() }, "0.0.0.0"),
            (SourceSettings { ipv4: Some(Ipv4Addr::BROADCAST), ..source() }, "255.255.255.255"),
            (SourceSettings { ipv6: Some("ff02::1".parse().unwrap()), ..source() }, "ff02::1"),
            (SourceSettings { ipv6: Some("::ffff:192.0.2.1".parse().unwrap()), ..source() }, "::ffff:192.0.2.1"),
            (SourceSettings { ehlo_name: "mta1".into(), ..source() }, "EHLO"),
            (SourceSettings { ehlo_name: "mta 1.example.org".into(), ..source() }, "EHLO"),
            (SourceSettings { ehlo_name: "x\r\nMAIL.example.org".into(), ..source() }, "EHLO"),
            (SourceSettings { warm_up: Some(WarmUp { since: 0, plan: vec![1, 9] }), ..source() }, "warm-up"),
        ] {
            let error = wrong.check().expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn pools_have_members_with_weights() {
        let pool = |members: &[(i64, u32)]| PoolSettings {
            name: "pool".into(),
            members: members.iter().map(|(n, weight)| Member { source: SourceId(*n), weight: *weight }).collect(),
            workspaces: None,
        };
        assert_eq!(pool(&[(1, 1), (2, 1_000)]).check(), Ok(()));
        assert_eq!(pool(&[]).check(), Err(PoolError::Members));
        assert_eq!(pool(&[(1, 0)]).check(), Err(PoolError::Weight));
        assert_eq!(pool(&[(1, 1), (1, 2)]).check(), Err(PoolError::Twice(SourceId(1))));
        let some = PoolSettings { workspaces: Some(vec![WorkspaceId(1)]), ..pool(&[(1, 1)]) };
        assert!(some.is_open_to(WorkspaceId(1)) && !some.is_open_to(WorkspaceId(2)));
        assert!(pool(&[(1, 1)]).is_open_to(WorkspaceId(2)));
    }

    #[test]
    fn the_nearest_rule_chooses_the_pool() {
        let rule = |stream, domain: Option<&str>, pool| PoolRule {
            stream,
            domain: domain.map(str::to_owned),
            pool: PoolId(pool),
        };
        let choice = PoolChoice {
            pool: Some(PoolId(1)),
            rules: vec![
                rule(Some(Stream::Transactional), None, 2),
                rule(None, Some("a.example"), 3),
                rule(Some(Stream::Transactional), Some("a.example"), 4),
            ],
        };
        assert_eq!(choice.check(), Ok(()));
        for (stream, domain, want) in [
            (Stream::Marketing, None, 1),
            (Stream::Marketing, Some("b.example"), 1),
            (Stream::Marketing, Some("a.example"), 3),
            (Stream::Transactional, Some("b.example"), 2),
            (Stream::Transactional, Some("a.example"), 4),
        ] {
            assert_eq!(choice.pool_of(stream, domain), Some(PoolId(want)), "{stream} {domain:?}");
        }
        assert_eq!(choice.pools_of(Stream::Marketing), [Some(PoolId(1)), Some(PoolId(3))]);
        assert_eq!(choice.pools_of(Stream::Transactional), [Some(PoolId(2)), Some(PoolId(4))]);
        assert_eq!(PoolChoice::default().pools_of(Stream::Marketing), [None]);
        let wrong = |rules| PoolChoice { pool: None, rules }.check();
        assert_eq!(wrong(vec![rule(None, None, 1)]), Err(ChoiceError::Nothing));
        assert_eq!(wrong(vec![rule(None, Some("A.example"), 1)]), Err(ChoiceError::Domain("A.example".into())));
        let twice = vec![rule(None, Some("a.example"), 1), rule(None, Some("a.example"), 2)];
        assert_eq!(wrong(twice), Err(ChoiceError::Twice));
    }
}
