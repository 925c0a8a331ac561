//! SPF of a name: one record, its grammar, and what a verifier has to ask DNS for (RFC 7208 4.6.4).
//!
//! Follows includes as a verifier does, but all of them: the limits have to hold for every sender. Must not judge mail.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use postrider_mail::dns_record::spf::{Mechanism, Named, Qualifier, SpfRecord, has_macro};
use postrider_mail::mailbox::DomainName;
use postrider_smtp::MxAnswer;

use super::look::{Look, Silent};
use super::{Finding, FindingCode};

/// More terms than this are not followed: the answer is "too many" anyway.
const MOST_FOLLOWED: usize = 30;
/// RFC 7208 4.6.4.
const MOST_LOOKUPS: usize = 10;
/// From here on we warn (SR-4).
const MANY_LOOKUPS: usize = 8;
/// RFC 7208 4.6.4.
const MOST_VOID: usize = 2;

/// What a walk through a record and its includes has met.
#[derive(Default)]
struct Walk {
    lookups: usize,
    void: Vec<String>,
    faults: Vec<Finding>,
    silent: Option<Silent>,
    /// Addresses of ours that some term lets pass.
    passing: BTreeSet<IpAddr>,
    /// A term that only a message gives a meaning, or one that was not followed: nothing is known about who passes.
    vague: bool,
}

/// The SPF record of a name.
enum Own {
    None,
    One(String),
    Several(Vec<String>),
}

async fn own(look: &Look<'_>, name: &str) -> Result<Own, Silent> {
    let mut records: Vec<String> = look.txt(name).await?.into_iter().filter(|txt| SpfRecord::is_one(txt)).collect();
    Ok(match records.len() {
        0 => Own::None,
        1 => Own::One(records.remove(0)),
        _ => Own::Several(records),
    })
}

/// All findings about the SPF record of a name; `ours` should pass.
pub(super) async fn of_return_path(look: &Look<'_>, name: &str, ours: &[IpAddr]) -> Vec<Finding> {
    let text = match own(look, name).await {
        Err(silent) => return vec![silent.finding(name)],
        Ok(Own::None) => return vec![Finding::new(FindingCode::SpfMissing, name, "no SPF record")],
        Ok(Own::Several(records)) => return vec![Finding::new(FindingCode::SpfTwice, name, records.join(" and "))],
        Ok(Own::One(text)) => text,
    };
    let record = match SpfRecord::parse(&text) {
        Ok(record) => record,
        Err(error) => return vec![Finding::new(FindingCode::SpfSyntax, name, format!("{error} in {text}"))],
    };
    let mut findings = Vec::new();
    match (record.all(), &record.redirect) {
        (Some(Qualifier::Pass), _) => findings.push(Finding::new(FindingCode::SpfPlusAll, name, text.clone())),
        (Some(Qualifier::Neutral), _) | (None, None) => {
            findings.push(Finding::new(FindingCode::SpfOpenEnd, name, text.clone()));
        }
        (Some(Qualifier::Fail | Qualifier::SoftFail), _) | (None, Some(_)) => {}
    }
    let mut walk = Walk::default();
    follow(look, name.to_owned(), record, ours, Qualifier::Pass, &mut walk).await;
    if let Some(silent) = &walk.silent {
        findings.push(silent.finding(name));
    }
    let count = walk.lookups;
    if count > MOST_LOOKUPS {
        let more = if count > MOST_FOLLOWED { "more than " } else { "" };
        let count = count.min(MOST_FOLLOWED);
        findings.push(Finding::new(
            FindingCode::SpfTooManyLookups,
            name,
            format!("{more}{count} terms that ask DNS in {text}"),
        ));
    } else if count >= MANY_LOOKUPS {
        findings.push(Finding::new(FindingCode::SpfManyLookups, name, format!("{count} terms that ask DNS in {text}")));
    }
    if walk.void.len() > MOST_VOID {
        findings.push(Finding::new(
            FindingCode::SpfVoidLookups,
            name,
            format!("{} lead to nothing", walk.void.join(", ")),
        ));
    }
    let judged = !walk.vague && walk.faults.is_empty() && walk.silent.is_none() && count <= MOST_LOOKUPS;
    let missing: Vec<String> = ours.iter().filter(|ip| !walk.passing.contains(*ip)).map(ToString::to_string).collect();
    if judged && !missing.is_empty() {
        let found = format!("{text} does not name {}", missing.join(", "));
        findings.push(Finding::new(FindingCode::SpfOmitsUs, name, found));
    }
    findings.append(&mut walk.faults);
    findings
}

/// The EHLO name's record in one finding at most.
pub(super) async fn of_ehlo(look: &Look<'_>, name: &str) -> Option<Finding> {
    let found = match own(look, name).await {
        Err(silent) => return Some(silent.finding(name)),
        Ok(Own::None) => "no SPF record".to_owned(),
        Ok(Own::Several(records)) => records.join(" and "),
        Ok(Own::One(text)) => match SpfRecord::parse(&text) {
            Ok(record) if record.all() == Some(Qualifier::Pass) => text,
            Ok(_) => return None,
            Err(error) => format!("{error} in {text}"),
        },
    };
    Some(Finding::new(FindingCode::EhloSpf, name, found).wanting("one SPF record such as `v=spf1 a -all`"))
}

type Following<'f> = Pin<Box<dyn Future<Output = ()> + Send + 'f>>;

/// Meets every term of a record. `meaning` is what a match of the whole record means to the one that included it.
fn follow<'f>(
    look: &'f Look<'_>,
    name: String,
    record: SpfRecord,
    ours: &'f [IpAddr],
    meaning: Qualifier,
    walk: &'f mut Walk,
) -> Following<'f> {
    Box::pin(async move {
        let ends = record.all().is_some();
        for term in record.terms {
            if term.mechanism.asks_dns() {
                walk.lookups += 1;
            }
            if walk.lookups > MOST_FOLLOWED || walk.silent.is_some() {
                walk.vague = true;
                return;
            }
            let passes = term.qualifier == Qualifier::Pass && meaning == Qualifier::Pass;
            let mut matching = |fits: &dyn Fn(&IpAddr) -> bool| {
                if passes {
                    walk.passing.extend(ours.iter().copied().filter(|ip| fits(ip)));
                }
            };
            match term.mechanism {
                Mechanism::All => matching(&|_| true),
                Mechanism::Ip4(net, bits) => matching(&|ip| within(*ip, IpAddr::V4(net), bits)),
                Mechanism::Ip6(net, bits) => matching(&|ip| within(*ip, IpAddr::V6(net), bits)),
                Mechanism::Ptr | Mechanism::Exists(_) => walk.vague = true,
                Mechanism::A(named) => {
                    let host = named.name.clone().unwrap_or_else(|| name.clone());
                    let nets = addresses(look, &host, walk).await;
                    let fits = |ip: &IpAddr| nets.iter().any(|net| within(*ip, *net, bits_of(*ip, &named)));
                    if passes {
                        walk.passing.extend(ours.iter().copied().filter(|ip| fits(ip)));
                    }
                }
                Mechanism::Mx(named) => {
                    let host = named.name.clone().unwrap_or_else(|| name.clone());
                    let nets = mx_addresses(look, &host, walk).await;
                    let fits = |ip: &IpAddr| nets.iter().any(|net| within(*ip, *net, bits_of(*ip, &named)));
                    if passes {
                        walk.passing.extend(ours.iter().copied().filter(|ip| fits(ip)));
                    }
                }
                Mechanism::Include(target) => {
                    let meaning = if passes { Qualifier::Pass } else { Qualifier::Neutral };
                    enter(look, target, ours, meaning, walk).await;
                }
            }
        }
        if let Some(target) = record.redirect.filter(|_| !ends) {
            walk.lookups += 1;
            enter(look, target, ours, meaning, walk).await;
        }
    })
}

/// The record that an `include` or `redirect` names; none there is an error of the whole (5.2, 6.1).
async fn enter(look: &Look<'_>, target: String, ours: &[IpAddr], meaning: Qualifier, walk: &mut Walk) {
    if has_macro(&target) {
        walk.vague = true;
        return;
    }
    if walk.lookups > MOST_FOLLOWED {
        return;
    }
    let broken = |found: String| Finding::new(FindingCode::SpfBrokenInclude, target.clone(), found);
    match own(look, &target).await {
        Err(silent) => walk.silent = Some(silent),
        // 11.1: a name without any answer is a void look-up as well, but the error comes first.
        Ok(Own::None) => walk.faults.push(broken("no SPF record".to_owned())),
        Ok(Own::Several(records)) => walk.faults.push(broken(records.join(" and "))),
        Ok(Own::One(text)) => match SpfRecord::parse(&text) {
            Ok(record) => follow(look, target, record, ours, meaning, walk).await,
            Err(error) => walk.faults.push(broken(format!("{error} in {text}"))),
        },
    }
}

async fn addresses(look: &Look<'_>, host: &str, walk: &mut Walk) -> Vec<IpAddr> {
    if has_macro(host) {
        walk.vague = true;
        return Vec::new();
    }
    match look.addresses(host).await {
        Ok(found) if found.is_empty() => {
            walk.void.push(host.to_owned());
            found
        }
        Ok(found) => found,
        Err(silent) => {
            walk.silent = Some(silent);
            Vec::new()
        }
    }
}

async fn mx_addresses(look: &Look<'_>, host: &str, walk: &mut Walk) -> Vec<IpAddr> {
    let Ok(domain) = DomainName::parse(host) else {
        walk.vague = true;
        return Vec::new();
    };
    match look.mx(&domain).await {
        Ok(Some(MxAnswer::Hosts(hosts))) => {
            let mut found = Vec::new();
            // 4.6.4: the addresses of at most ten hosts, which do not count as terms.
            for host in hosts.iter().take(10) {
                found.extend(look.addresses(&host.name).await.unwrap_or_default());
            }
            found
        }
        Ok(Some(MxAnswer::NullMx)) => Vec::new(),
        Ok(None) => {
            walk.void.push(host.to_owned());
            Vec::new()
        }
        Err(silent) => {
            walk.silent = Some(silent);
            Vec::new()
        }
    }
}

fn bits_of(address: IpAddr, named: &Named) -> u8 {
    match address {
        IpAddr::V4(_) => named.v4,
        IpAddr::V6(_) => named.v6,
    }
}

/// Whether two addresses of one family agree in their first bits.
fn within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let shift = 32 - u32::from(bits.min(32));
            u64::from(u32::from(a)) >> shift == u64::from(u32::from(b)) >> shift
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let shift = 128 - u32::from(bits.min(128));
            u128::from(a).checked_shr(shift).unwrap_or(0) == u128::from(b).checked_shr(shift).unwrap_or(0)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
