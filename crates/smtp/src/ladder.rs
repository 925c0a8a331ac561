//! The TLS ladder: one table that decides, for one MX host, how much TLS is asked for and what follows from what it
//! shows. DANE, then MTA-STS, then TLS that nobody can vouch for, then clear text where no TLS is offered.
//!
//! Pure: facts in, a decision out. Does not know how the facts were found, nor sockets. docs/tls.md holds the table as
//! the tests see it.

use std::sync::Arc;

use crate::dane::{Dane, DaneRecords};
use crate::sts::StsPolicy;
use crate::tls::{DaneTarget, TlsFault, TlsInfo, TlsMode, Trust};
use crate::tls_report::{Finding, PolicyKind, ResultKind};

/// What an operator asks of TLS with one recipient domain, in place of what the ladder would find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Demand {
    /// The ladder decides.
    #[default]
    Ladder,
    /// TLS with any certificate, or no delivery.
    Encrypted,
    /// TLS with a certificate that DANE or a trusted root vouches for, or no delivery.
    Verified,
    /// As [`Demand::Verified`], and every further host must promise the same (RFC 8689).
    RequireTls,
    /// TLS where it is offered, whatever DANE and MTA-STS say: for a domain whose published policy is broken.
    Opportunistic,
    /// No TLS: for a host whose TLS is broken beyond use.
    Clear,
}

impl Demand {
    /// Every demand, for lists.
    pub const ALL: [Demand; 6] =
        [Demand::Ladder, Demand::Encrypted, Demand::Verified, Demand::RequireTls, Demand::Opportunistic, Demand::Clear];

    /// The word in settings and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Demand::Ladder => "ladder",
            Demand::Encrypted => "encrypted",
            Demand::Verified => "verified",
            Demand::RequireTls => "require_tls",
            Demand::Opportunistic => "opportunistic",
            Demand::Clear => "clear",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Demand> {
        Demand::ALL.into_iter().find(|demand| demand.as_str() == word)
    }
}

/// What MTA-STS says about a domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sts {
    /// No policy, or one that gives itself up.
    #[default]
    None,
    /// Failures are counted.
    Testing(Arc<StsPolicy>),
    /// Failures block.
    Enforce(Arc<StsPolicy>),
}

/// Whether one try in clear text may follow a failed handshake where nothing asks for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClearRetry {
    /// It may not: the host is tried again later.
    #[default]
    Off,
    /// It may, once an attempt and host.
    On,
}

/// How sure it is that the host's name is what the domain's owner wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameTrust {
    /// The MX records are signed.
    Signed,
    /// The operator wrote the name: a smarthost.
    Operator,
    /// DNS said so.
    Dns,
}

/// Everything that a recipient's domain asks of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainPolicy {
    /// The domain, A-labels in lower case.
    pub domain: String,
    /// MTA-STS.
    pub sts: Sts,
    /// The operator's word.
    pub demand: Demand,
    /// The switch for one try in clear.
    pub clear_retry: ClearRetry,
}

/// What is known of one host before it is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name as the MX record has it.
    pub host: String,
    /// DANE of it.
    pub dane: Dane,
    /// How sure its name is.
    pub name: NameTrust,
}

/// What a host has shown so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it was not connected to.
    Nothing,
    /// Its EHLO does not offer STARTTLS.
    NotOffered,
    /// It offers STARTTLS and refuses it when asked.
    Declined,
    /// The handshake failed or its certificate was refused.
    Failed(TlsFault),
    /// TLS stands as asked; whether the EHLO under TLS offers REQUIRETLS.
    Secured {
        /// What was agreed on.
        info: TlsInfo,
        /// RFC 8689.
        offers_require_tls: bool,
    },
}

/// How much TLS is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// None.
    Clear,
    /// STARTTLS where it is offered, any certificate.
    IfOffered,
    /// STARTTLS or nothing, any certificate.
    Any,
    /// STARTTLS or nothing, a certificate for the host's name from a trusted root.
    Verified,
    /// STARTTLS or nothing, a certificate that the records name.
    Dane(Arc<DaneRecords>),
}

impl Ask {
    /// What the client is told; `domain` is the recipient's.
    pub fn mode(&self, domain: &str) -> TlsMode {
        match self {
            Ask::Clear => TlsMode::Never,
            Ask::IfOffered => TlsMode::Opportunistic,
            Ask::Any => TlsMode::RequiredAny,
            Ask::Verified => TlsMode::RequiredVerified,
            Ask::Dane(records) => {
                TlsMode::RequiredDane(DaneTarget { records: Arc::clone(records), domain: domain.to_owned() })
            }
        }
    }
}

/// Who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nobody: the bottom of the ladder.
    Nobody,
    /// TLSA records that can be used.
    Dane,
    /// TLSA records of which none can be used: TLS without proof is still a must (RFC 7672 2.2).
    DaneUnusable,
    /// MTA-STS, enforced.
    StsEnforce,
    /// MTA-STS in testing.
    StsTesting,
    /// REQUIRETLS.
    RequireTls,
    /// The operator's word for this domain.
    Rule,
}

impl Why {
    /// As an attempt's detail says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Nobody => "unauthenticated",
            Why::Dane => "DANE",
            Why::DaneUnusable => "unauthenticated: no TLSA record is usable",
            Why::StsEnforce => "MTA-STS enforce",
            Why::StsTesting => "unauthenticated: MTA-STS testing",
            Why::RequireTls => "REQUIRETLS",
            Why::Rule => "rule for this domain or message",
        }
    }
}

/// A connection as it may carry mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Over TLS, because of this.
    Tls(TlsInfo, Why),
    /// In clear: no TLS is offered.
    ClearNotOffered,
    /// In clear: STARTTLS is offered and refused.
    ClearDeclined,
    /// In clear: the handshake failed before, and the switch allows this try.
    ClearAfterFailure,
    /// In clear: the rule for this domain says so.
    ClearByRule,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Standing::Tls(info, why) => {
                write!(f, "{info}; {}", why.as_str())?;
                match (why, info.fault) {
                    (Why::StsTesting, Some(fault)) => write!(f, ", would fail: {}", fault.as_str()),
                    (_, _) => Ok(()),
                }
            }
            Standing::ClearNotOffered => f.write_str("clear: not offered"),
            Standing::ClearDeclined => f.write_str("clear: offered and then refused"),
            Standing::ClearAfterFailure => f.write_str("clear: the handshake failed before"),
            Standing::ClearByRule => f.write_str("clear: rule for this domain"),
        }
    }
}

/// Whether a later try may go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hope {
    /// The message waits.
    Later,
    /// It does not: the delivery fails.
    Never,
}

/// Why a host gets no mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whether a later try may go better.
    pub hope: Hope,
    /// The enhanced status that a report of it carries (RFC 3463, RFC 8689).
    pub status: &'static str,
    /// What is wrong and what to do.
    pub text: String,
    /// What RFC 8460 counts of it.
    pub finding: Option<Finding>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Connect and ask for this much.
    Connect(Ask, Why),
    /// Mail may go; with what is counted.
    GoOn(Standing, Option<Finding>),
    /// Connect once more without TLS; with what is counted.
    RetryInClear(Option<Finding>),
    /// Not to this host: the next one, and when there is none the delivery waits or fails as the refusal says.
    NextHost(Refusal),
}

/// Decides about one host.
pub fn decide(policy: &DomainPolicy, facts: &HostFacts, seen: &Seen) -> Decision {
    let (ask, why) = match asked(policy, facts) {
        Ok(asked) => asked,
        Err(refusal) => return Decision::NextHost(refusal),
    };
    match seen {
        Seen::Nothing => Decision::Connect(ask, why),
        Seen::NotOffered | Seen::Declined => without_tls(policy, facts, &ask, why, seen),
        Seen::Failed(fault) => failed(policy, facts, &ask, why, *fault),
        Seen::Secured { info, offers_require_tls } => {
            if policy.demand == Demand::RequireTls && !offers_require_tls {
                return Decision::NextHost(no_require_tls(facts, "does not offer REQUIRETLS"));
            }
            Decision::GoOn(Standing::Tls(info.clone(), why), Some(counted(policy, facts, why, info)))
        }
    }
}

/// How much TLS a host is asked for, or why it cannot be asked at all.
fn asked(policy: &DomainPolicy, facts: &HostFacts) -> Result<(Ask, Why), Refusal> {
    match policy.demand {
        Demand::Clear => return Ok((Ask::Clear, Why::Rule)),
        Demand::Opportunistic => return Ok((Ask::IfOffered, Why::Rule)),
        Demand::Ladder | Demand::Encrypted | Demand::Verified | Demand::RequireTls => {}
    }
    let host = &facts.host;
    let mut found = match &facts.dane {
        // RFC 7672 2.1: what cannot be told must not become "there is none".
        Dane::Failed(why) => {
            return Err(Refusal {
                hope: Hope::Later,
                status: "4.7.5",
                text: format!(
                    "the TLSA records of {host} could not be looked up or do not verify ({why}); whoever runs its DNS \
                     must mend that, or set a rule for this domain"
                ),
                finding: Some(Finding::failed(PolicyKind::Tlsa, ResultKind::DnssecInvalid, host)),
            });
        }
        Dane::Records(records) if records.usable() => (Ask::Dane(Arc::clone(records)), Why::Dane),
        Dane::Records(_) => (Ask::Any, Why::DaneUnusable),
        Dane::NotAsked | Dane::Insecure | Dane::NoRecords => (Ask::IfOffered, Why::Nobody),
    };
    // RFC 8461 2: MTA-STS must not get in the way of DANE.
    if !matches!(found.0, Ask::Dane(_)) {
        match &policy.sts {
            Sts::Enforce(sts) if sts.lists(host) => found = (Ask::Verified, Why::StsEnforce),
            Sts::Enforce(_) => {
                return Err(Refusal {
                    hope: Hope::Later,
                    status: "4.7.5",
                    text: format!(
                        "the MTA-STS policy of {} does not list its MX host {host}; its owner must list it, or somebody \
                         redirects its mail",
                        policy.domain
                    ),
                    finding: Some(Finding::failed(PolicyKind::Sts, ResultKind::ValidationFailure, host)),
                });
            }
            Sts::Testing(_) if found.1 == Why::Nobody => found.1 = Why::StsTesting,
            Sts::Testing(_) | Sts::None => {}
        }
    }
    let strong = matches!(found.0, Ask::Dane(_) | Ask::Verified);
    match policy.demand {
        Demand::Encrypted if !strong => Ok((Ask::Any, Why::Rule)),
        Demand::Verified if !strong => Ok((Ask::Verified, Why::Rule)),
        Demand::RequireTls => {
            // RFC 8689 4.2.1: the name must be sure as well as the certificate.
            let listed = match &policy.sts {
                Sts::Testing(sts) | Sts::Enforce(sts) => sts.lists(host),
                Sts::None => false,
            };
            match facts.name {
                NameTrust::Signed | NameTrust::Operator => {}
                NameTrust::Dns if listed => {}
                NameTrust::Dns => {
                    return Err(no_require_tls(facts, "is known by unsigned DNS only, and no MTA-STS policy lists it"));
                }
            }
            Ok((if strong { found.0 } else { Ask::Verified }, Why::RequireTls))
        }
        Demand::Ladder | Demand::Encrypted | Demand::Verified | Demand::Opportunistic | Demand::Clear => Ok(found),
    }
}

fn no_require_tls(facts: &HostFacts, what: &str) -> Refusal {
    Refusal {
        hope: Hope::Never,
        status: "5.7.30",
        text: format!(
            "REQUIRETLS is asked for and {} {what}; send without it, or ask the recipient's provider to offer it",
            facts.host
        ),
        finding: None,
    }
}

/// Whose policy a result is counted under (RFC 8460 4.2).
fn kind(policy: &DomainPolicy, facts: &HostFacts, why: Why) -> PolicyKind {
    match (why, &facts.dane, &policy.sts) {
        (Why::Dane | Why::DaneUnusable, _, _) => PolicyKind::Tlsa,
        (Why::StsEnforce | Why::StsTesting, _, _) => PolicyKind::Sts,
        (Why::RequireTls | Why::Rule | Why::Nobody, Dane::Records(_), _) => PolicyKind::Tlsa,
        (Why::RequireTls | Why::Rule | Why::Nobody, _, Sts::Testing(_) | Sts::Enforce(_)) => PolicyKind::Sts,
        (Why::RequireTls | Why::Rule | Why::Nobody, _, Sts::None) => PolicyKind::None,
    }
}

/// TLS stands; with a policy in testing, or one that a rule set aside, it may still be a failure to report.
fn counted(policy: &DomainPolicy, facts: &HostFacts, why: Why, info: &TlsInfo) -> Finding {
    let kind = kind(policy, facts, why);
    let unlisted = match &policy.sts {
        Sts::Testing(sts) | Sts::Enforce(sts) => !sts.lists(&facts.host),
        Sts::None => false,
    };
    match (kind, info.trust, info.fault) {
        (PolicyKind::Sts, _, _) if unlisted => Finding::failed(kind, ResultKind::ValidationFailure, &facts.host),
        (PolicyKind::Sts, Trust::Unverified, Some(fault)) => {
            Finding::failed(kind, ResultKind::of_fault(fault), &facts.host)
        }
        (PolicyKind::Tlsa, _, _) if why == Why::DaneUnusable => {
            Finding::failed(kind, ResultKind::TlsaInvalid, &facts.host)
        }
        (PolicyKind::Sts | PolicyKind::Tlsa | PolicyKind::None, _, _) => Finding::good(kind, &facts.host),
    }
}

fn without_tls(policy: &DomainPolicy, facts: &HostFacts, ask: &Ask, why: Why, seen: &Seen) -> Decision {
    let finding = Finding::failed(kind(policy, facts, why), ResultKind::StarttlsNotSupported, &facts.host);
    let standing = match (ask, seen) {
        // Nothing was asked for, so nothing is missing.
        (Ask::Clear, _) => return Decision::GoOn(Standing::ClearByRule, None),
        (Ask::IfOffered, Seen::Declined) => Standing::ClearDeclined,
        (Ask::IfOffered, _) => Standing::ClearNotOffered,
        (Ask::Any | Ask::Verified | Ask::Dane(_), _) => {
            if why == Why::RequireTls {
                return Decision::NextHost(Refusal {
                    finding: Some(finding),
                    ..no_require_tls(facts, "does not offer STARTTLS")
                });
            }
            let refuses = match seen {
                Seen::Declined => "refuses STARTTLS",
                Seen::Nothing | Seen::NotOffered | Seen::Failed(_) | Seen::Secured { .. } => "does not offer STARTTLS",
            };
            return Decision::NextHost(Refusal {
                hope: Hope::Later,
                status: "4.7.4",
                text: format!(
                    "TLS is a must ({}) and {} {refuses}; somebody on the way may have removed it, or the host must be \
                     mended",
                    must(why),
                    facts.host
                ),
                finding: Some(finding),
            });
        }
    };
    Decision::GoOn(standing, Some(finding))
}

/// Who insists, for a sentence.
const fn must(why: Why) -> &'static str {
    match why {
        Why::Nobody | Why::StsTesting => "by nobody",
        Why::Dane | Why::DaneUnusable => "by TLSA records",
        Why::StsEnforce => "by the domain's MTA-STS policy",
        Why::RequireTls => "by REQUIRETLS",
        Why::Rule => "by the rule for this domain",
    }
}

fn failed(policy: &DomainPolicy, facts: &HostFacts, ask: &Ask, why: Why, fault: TlsFault) -> Decision {
    let result = match (why, fault) {
        // RFC 8460 4.3.2.1 knows no result for "no record names this certificate" but the general one.
        (Why::Dane, TlsFault::Untrusted) => ResultKind::ValidationFailure,
        (_, fault) => ResultKind::of_fault(fault),
    };
    let finding = Finding::failed(kind(policy, facts, why), result, &facts.host);
    // RF-82: never after bytes that somebody slipped in.
    if *ask == Ask::IfOffered && policy.clear_retry == ClearRetry::On && fault != TlsFault::Injected {
        return Decision::RetryInClear(Some(finding));
    }
    let host = &facts.host;
    let what = match (why, fault) {
        (Why::Dane, TlsFault::Untrusted) => "no TLSA record names its certificate",
        (_, fault) => fault.as_str(),
    };
    let text = match why {
        Why::Nobody | Why::StsTesting if fault == TlsFault::Injected => {
            format!("TLS with {host} failed: {what}; somebody on the way may try to slip commands in")
        }
        Why::Nobody | Why::StsTesting => format!(
            "TLS with {host} failed: {what}; mail does not go in clear after that unless tls.clear_retry or a rule for \
             this domain allows it"
        ),
        Why::Dane | Why::DaneUnusable | Why::StsEnforce | Why::RequireTls | Why::Rule => {
            format!("TLS with {host} is not good enough ({}): {what}; the host must be mended", must(why))
        }
    };
    Decision::NextHost(Refusal { hope: Hope::Later, status: "4.7.5", text, finding: Some(finding) })
}

/// Whether a connection that stands may carry mail of another domain to the same host: it must be at least what would
/// be asked for anew.
pub fn suffices(policy: &DomainPolicy, facts: &HostFacts, asked_before: &Ask, standing: &Standing) -> bool {
    let Decision::Connect(ask, _) = decide(policy, facts, &Seen::Nothing) else { return false };
    match (&ask, standing) {
        (Ask::Clear, Standing::ClearByRule) => true,
        (Ask::Clear, _) | (_, Standing::ClearByRule | Standing::ClearAfterFailure) => false,
        (Ask::IfOffered, Standing::Tls(..) | Standing::ClearNotOffered | Standing::ClearDeclined) => true,
        (Ask::Any, Standing::Tls(..)) => true,
        // What is proved stays proved only as it was proved: any certificate passes an unverified handshake.
        (Ask::Verified | Ask::Dane(_), Standing::Tls(..)) => ask == *asked_before,
        (Ask::Any | Ask::Verified | Ask::Dane(_), Standing::ClearNotOffered | Standing::ClearDeclined) => false,
    }
}
