//! The steps `resolve` and `choose_host`: from a domain to an open connection past EHLO, TLS and login.
//!
//! All addresses of all MX hosts are tried in order within one attempt. Must not know what a message says, nor the queue.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postrider_domain::bounce::BounceClass;
use postrider_domain::outcome::AttemptResult;
use postrider_domain::route::{RouteKind, TlsMode as RouteTls};
use postrider_mail::Stage;
use postrider_mail::mailbox::DomainName;
use postrider_smtp::ladder::{
    Ask, Decision, Demand, DomainPolicy, Hope, HostFacts, Refusal, Seen, Standing, decide, suffices,
};
use postrider_smtp::secure::{self, Unopened};
use postrider_smtp::{
    AddressRefused, Connection, Credentials, DialError, MxAnswer, MxHost, OpenParams, Port, ResolveError, Target,
    Timeouts, TlsMode, try_order,
};

use crate::judge::{Ended, more_telling, of_dial, of_failure};
use crate::plan::{Place, Plan, Route, Source};
use crate::scheduler::Leaving;
use crate::shared::Shared;

/// An open connection with what an attempt row says of it.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    pub(crate) host: String,
    pub(crate) ip: IpAddr,
    /// Which TLS it has and why, in words.
    pub(crate) tls: String,
    pub(crate) timeouts: Timeouts,
    /// Transactions begun on it.
    pub(crate) carried: u32,
    /// The domain that it serves now asks for REQUIRETLS (RFC 8689).
    pub(crate) require_tls: bool,
    /// What was asked of TLS and how it stands; `None` for a smarthost, whose route says everything.
    proved: Option<(Ask, Standing)>,
}

impl Open {
    /// Whether the connection may carry mail of a domain with this policy: its TLS must be at least what would be asked
    /// for anew, since each recipient domain has a policy of its own, also on a host that they share.
    pub(crate) async fn suffices(&mut self, shared: &Shared, policy: &DomainPolicy) -> bool {
        let Some((ask, standing)) = &self.proved else { return true };
        let facts = shared.transport.facts(shared, &policy.domain, &self.host).await;
        // REQUIRETLS is looked for in the EHLO of a connection that was opened for it.
        (policy.demand != Demand::RequireTls || self.connection.capabilities().require_tls)
            && suffices(policy, &facts, ask, standing)
    }
}

/// Where an attempt ended that got no connection.
pub(crate) struct Unreached {
    pub(crate) ended: Ended,
    pub(crate) host: String,
    pub(crate) ip: String,
}

/// Hosts that take mail for a domain on a route, in the order in which they are tried.
pub(crate) async fn hosts(
    shared: &Shared,
    plan: &Plan,
    place: &Place,
    domain: &str,
    seed: u64,
) -> Result<Vec<MxHost>, Box<Unreached>> {
    match plan.route.settings.kind {
        RouteKind::Smarthost => {
            let name = match &place.source {
                Source::Host(_, host) => host.to_string(),
                Source::Direct | Source::Route(_) | Source::Egress(_) => plan.route.settings.host.clone(),
            };
            Ok(vec![MxHost { preference: 0, name }])
        }
        RouteKind::Mx => {
            let unreached = |ended| Box::new(Unreached { ended, host: domain.to_owned(), ip: String::new() });
            let name = DomainName::parse(domain).map_err(|error| {
                let text = format!("the domain cannot be used: {error}");
                unreached(Ended::rejected(Stage::Resolve, BounceClass::BadDomain, None, text))
            })?;
            match shared.config.resolver.mx(&name).await {
                Ok(MxAnswer::Hosts(hosts)) => Ok(try_order(&hosts, seed)),
                Ok(MxAnswer::NullMx) => Err(unreached(null_mx())),
                Err(ResolveError::NotFound) => Err(unreached(crate::resolve_sites::not_found(shared, domain).await)),
                Err(ResolveError::Temporary(why)) => Err(unreached(no_answer(&why))),
            }
        }
    }
}

/// The domain says that it takes no mail (RFC 7505 3).
pub(crate) fn null_mx() -> Ended {
    Ended::rejected(
        Stage::Resolve,
        BounceClass::BadDomain,
        Some((556, "5.1.10")),
        "the domain says that it takes no mail (null MX)",
    )
}

/// DNS did not answer; it may later.
pub(crate) fn no_answer(why: &str) -> Ended {
    Ended::deferred(Stage::Resolve, BounceClass::Transient, format!("DNS gave no answer: {why}"))
}

/// The waits of a dialogue: those of the settings, capped by the policy.
pub(crate) fn timeouts(shared: &Shared, cap_ms: Option<i64>) -> Timeouts {
    let t = shared.config.times.smtp;
    let Some(cap) = cap_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis) else { return t };
    Timeouts {
        connect: t.connect.min(cap),
        tls: t.tls.min(cap),
        greeting: t.greeting.min(cap),
        ehlo: t.ehlo.min(cap),
        auth: t.auth.min(cap),
        mail: t.mail.min(cap),
        rcpt: t.rcpt.min(cap),
        data: t.data.min(cap),
        block: t.block.min(cap),
        dot: t.dot.min(cap),
        quit: t.quit.min(cap),
    }
}

/// Opens a connection to the first of the hosts that lets us in and shows the TLS that the domain's policy asks for.
pub(crate) async fn reach(
    shared: &Shared,
    route: &Arc<Route>,
    hosts: &[MxHost],
    timeouts: Timeouts,
    policy: &DomainPolicy,
    leaving: &Leaving,
) -> Result<Open, Box<Unreached>> {
    let most = shared.config.limits.addresses_per_attempt.max(1);
    let mut search = Search { shared, route, policy, timeouts, leaving, left: most, worst: None };
    // Where there are more hosts than one attempt tries, those that did not answer lately come last.
    let mut later = Vec::new();
    for host in hosts {
        if search.left == 0 {
            break;
        }
        let addresses = match addresses(shared, &host.name).await {
            Ok(addresses) => addresses,
            Err(ended) => {
                search.note(ended, &host.name, String::new());
                continue;
            }
        };
        let facts = match route.settings.kind {
            RouteKind::Smarthost => None,
            RouteKind::Mx => {
                let facts = shared.transport.facts(shared, &policy.domain, &host.name).await;
                if let Decision::NextHost(refusal) = decide(policy, &facts, &Seen::Nothing) {
                    shared.transport.count(shared, &policy.domain, refusal.finding.as_slice());
                    search.note(refused(&refusal), &host.name, String::new());
                    continue;
                }
                Some(Arc::new(facts))
            }
        };
        let many = hosts.len() > most || addresses.len() > most;
        for ip in addresses {
            if many && shared.unanswered.is_lately(ip, shared.monotonic()) {
                later.push((host, facts.clone(), ip));
            } else if let Some(open) = search.open(host, facts.as_deref(), ip).await {
                return Ok(open);
            }
        }
    }
    for (host, facts, ip) in later {
        if let Some(open) = search.open(host, facts.as_deref(), ip).await {
            return Ok(open);
        }
    }
    Err(Box::new(search.worst.unwrap_or_else(|| Unreached {
        ended: Ended::broken(Stage::Resolve, "no host has an address"),
        host: hosts.first().map(|h| h.name.clone()).unwrap_or_default(),
        ip: String::new(),
    })))
}

/// One attempt's way through the addresses of a domain's hosts.
struct Search<'a> {
    shared: &'a Shared,
    route: &'a Arc<Route>,
    policy: &'a DomainPolicy,
    timeouts: Timeouts,
    leaving: &'a Leaving,
    /// Addresses that may still be tried.
    left: usize,
    /// What tells most of those that failed.
    worst: Option<Unreached>,
}

impl Search<'_> {
    fn note(&mut self, ended: Ended, host: &str, ip: String) {
        self.worst = Some(match self.worst.take() {
            None => Unreached { ended, host: host.to_owned(), ip },
            Some(before) => {
                let told = more_telling(before.ended.clone(), ended.clone());
                if told == before.ended { before } else { Unreached { ended, host: host.to_owned(), ip } }
            }
        });
    }

    /// Tries one address, unless enough were tried; `None` when it did not let us in.
    async fn open(&mut self, host: &MxHost, facts: Option<&HostFacts>, ip: IpAddr) -> Option<Open> {
        if self.left == 0 {
            return None;
        }
        let source = match bound(self.leaving, ip) {
            Ok(source) => source,
            Err(ended) => {
                self.note(*ended, &host.name, ip.to_string());
                return None;
            }
        };
        self.left -= 1;
        let (shared, route) = (self.shared, self.route);
        let way = Way { leaving: self.leaving, source };
        let opened = match facts {
            Some(facts) => open_mx(shared, route, (self.policy, facts), ip, self.timeouts, way).await,
            None => open_smarthost(shared, route, &host.name, ip, self.timeouts, way).await,
        };
        match opened {
            Ok(mut open) => {
                shared.unanswered.forget(ip);
                open.require_tls = self.policy.demand == Demand::RequireTls;
                Some(open)
            }
            Err(ended) => {
                if ended.stage == Stage::Connect && ended.result == AttemptResult::Broken {
                    shared.unanswered.note(ip, shared.monotonic());
                }
                self.note(ended, &host.name, ip.to_string());
                None
            }
        }
    }
}

/// From where one connection is made.
#[derive(Clone, Copy)]
struct Way<'a> {
    leaving: &'a Leaving,
    source: Option<IpAddr>,
}

/// The local address for connections to a host's address; `None` leaves the choice to the system.
fn bound(leaving: &Leaving, to: IpAddr) -> Result<Option<IpAddr>, Box<Ended>> {
    let Some((ipv4, ipv6)) = leaving.bind else { return Ok(None) };
    let (source, family) = match to {
        IpAddr::V4(_) => (ipv4.map(IpAddr::V4), "IPv4"),
        IpAddr::V6(_) => (ipv6.map(IpAddr::V6), "IPv6"),
    };
    source.map(Some).ok_or_else(|| {
        let text = format!("the egress source {:?} has no {family} address on this node for {to}", leaving.name);
        Box::new(no_way(&text))
    })
}

/// The source cannot be used for this host; nobody was spoken to.
fn no_way(text: &str) -> Ended {
    Ended { no_way_from_here: true, ..Ended::deferred(Stage::Connect, BounceClass::UnreachableHost, text) }
}

/// A connection that did not come about.
fn undialled(error: &DialError) -> Ended {
    match error {
        DialError::Source { .. } => no_way(&error.to_string()),
        DialError::AddressRefused(_) | DialError::Timeout { .. } | DialError::Io { .. } => of_dial(error),
    }
}

/// A host that the ladder refuses, as an attempt's end.
fn refused(refusal: &Refusal) -> Ended {
    match refusal.hope {
        Hope::Later => Ended {
            enhanced: Some(refusal.status.to_owned()),
            ..Ended::deferred(Stage::Tls, BounceClass::UnreachableHost, refusal.text.clone())
        },
        Hope::Never => {
            let status = Some((550, refusal.status));
            Ended::rejected(Stage::Tls, BounceClass::UnreachableHost, status, refusal.text.clone())
        }
    }
}

async fn addresses(shared: &Shared, host: &str) -> Result<Vec<IpAddr>, Ended> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![ip]);
    }
    if host == "localhost" {
        return Ok(vec![IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)]);
    }
    shared.config.resolver.addresses(host).await.map_err(|error| match error {
        ResolveError::NotFound => {
            Ended::deferred(Stage::Resolve, BounceClass::UnreachableHost, format!("the host {host} has no address"))
        }
        ResolveError::Temporary(why) => no_answer(&why),
    })
}

/// Opens one address of an MX host by the TLS ladder.
async fn open_mx(
    shared: &Shared,
    route: &Arc<Route>,
    (policy, facts): (&DomainPolicy, &HostFacts),
    address: IpAddr,
    timeouts: Timeouts,
    way: Way<'_>,
) -> Result<Open, Ended> {
    // Asked before dialling as well, so that no dialer can forget it (RF-7).
    shared.config.address_policy.check(address).map_err(|refused| of_dial(&DialError::AddressRefused(refused)))?;
    if shared.config.address_policy.forbids_own(address) && postrider_smtp::dial::is_own(address) {
        let why = "an address of this machine";
        return Err(of_dial(&DialError::AddressRefused(AddressRefused { address, why })));
    }
    let port = if route.settings.port == 0 { Port::Mx } else { Port::Fixed(route.settings.port) };
    let mut params = params(shared, route, &facts.host, address, timeouts, TlsMode::Opportunistic);
    if let Some(name) = &way.leaving.ehlo {
        params.ehlo_name.clone_from(name);
    }
    let target = Target { address, port, source: way.source };
    let mut findings = Vec::new();
    let opened =
        secure::open(&*shared.config.dialer, target, &params, &shared.config.tls, (policy, facts), &mut findings).await;
    shared.transport.count(shared, &policy.domain, &findings);
    let secured = opened.map_err(|error| match error {
        Unopened::Dial(error) => undialled(&error),
        Unopened::Slow(within) => too_slow(address, within),
        Unopened::Dialogue(failure) => of_failure(&facts.host, &failure),
        Unopened::Refused(refusal) => {
            shared.notes.tls_refused(shared.monotonic(), &facts.host, &policy.domain, &refusal.text);
            refused(&refusal)
        }
    })?;
    let clear = secured.connection.tls().is_none();
    shared.notes.connected(shared.monotonic(), &facts.host, &policy.domain, !clear);
    shared.metrics.connection_opened(if clear { "clear" } else { "tls" });
    Ok(Open {
        connection: secured.connection,
        host: facts.host.clone(),
        ip: address,
        tls: secured.standing.to_string(),
        timeouts,
        carried: 0,
        require_tls: false,
        proved: Some((secured.ask, secured.standing)),
    })
}

/// Opens one address of a smarthost, with the TLS that its route names.
async fn open_smarthost(
    shared: &Shared,
    route: &Arc<Route>,
    host: &str,
    address: IpAddr,
    timeouts: Timeouts,
    way: Way<'_>,
) -> Result<Open, Ended> {
    let port = relay_host(route, host).map_or(route.settings.port, |relay| relay.port);
    let target = Target { address, port: Port::Fixed(port), source: way.source };
    let dialled = tokio::time::timeout(timeouts.connect, shared.config.smarthost_dialer.dial(target)).await;
    let stream = match dialled {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(of_dial(&error)),
        Err(_) => return Err(too_slow(address, timeouts.connect)),
    };
    let mode = tls_mode(route.settings.tls, route.settings.accept_any_certificate);
    let params = params(shared, route, host, address, timeouts, mode);
    let connection =
        Connection::open(stream, &params, &shared.config.tls).await.map_err(|failure| of_failure(host, &failure))?;
    let tls = match (connection.tls(), route.settings.tls) {
        (Some(info), RouteTls::Opportunistic) => format!("{info}; unauthenticated"),
        (Some(info), RouteTls::Required | RouteTls::Implicit | RouteTls::None) => {
            format!("{info}; asked for by the route")
        }
        (None, RouteTls::None) => "clear: asked for by the route".to_owned(),
        (None, RouteTls::Opportunistic | RouteTls::Required | RouteTls::Implicit) => "clear: not offered".to_owned(),
    };
    shared.metrics.connection_opened(if connection.tls().is_some() { "tls" } else { "clear" });
    Ok(Open {
        connection,
        host: host.to_owned(),
        ip: address,
        tls,
        timeouts,
        carried: 0,
        require_tls: false,
        proved: None,
    })
}

fn too_slow(address: IpAddr, within: Duration) -> Ended {
    Ended::broken(Stage::Connect, &format!("no answer from {address} within {within:?}"))
}

fn params(shared: &Shared, route: &Route, host: &str, address: IpAddr, timeouts: Timeouts, tls: TlsMode) -> OpenParams {
    OpenParams {
        ehlo_name: shared.config.ehlo_name.clone(),
        host: host.to_owned(),
        address,
        tls,
        credentials: credentials(route, host),
        timeouts,
    }
}

/// What a route's word means on the wire.
pub(crate) const fn tls_mode(mode: RouteTls, any_certificate: bool) -> TlsMode {
    match (mode, any_certificate) {
        (RouteTls::Opportunistic, _) => TlsMode::Opportunistic,
        (RouteTls::Required, false) => TlsMode::RequiredVerified,
        (RouteTls::Required, true) => TlsMode::RequiredAny,
        (RouteTls::Implicit, false) => TlsMode::Implicit,
        (RouteTls::Implicit, true) => TlsMode::ImplicitAny,
        (RouteTls::None, _) => TlsMode::Never,
    }
}

/// One of several hosts of a route, by its name.
fn relay_host<'a>(route: &'a Route, host: &str) -> Option<&'a postrider_domain::route::RelayHost> {
    route.settings.hosts.iter().find(|relay| relay.host == host)
}

fn credentials(route: &Route, host: &str) -> Option<Credentials> {
    let (account, password) = match relay_host(route, host) {
        Some(relay) => (&relay.username, route.host_passwords.get(host).cloned()),
        None => (&route.settings.username, route.password.clone()),
    };
    if account.is_empty() {
        return None;
    }
    Some(Credentials { account: account.clone(), password: password.unwrap_or_default() })
}
