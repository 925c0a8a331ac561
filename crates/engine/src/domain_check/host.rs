//! This host as receivers see it: EHLO name, its addresses, their reverse names; and the host of the public URL.
//!
//! The addresses of the EHLO name are taken for those we send from: an EHLO name has to lead to them (SR-1).

use std::net::IpAddr;

use postrider_domain::egress::SourceSettings;
use postrider_mail::dns_record::others::CaaRecord;
use postrider_mail::mailbox::DomainName;
use postrider_smtp::AddressPolicy;

use super::look::Look;
use super::{Finding, FindingCode, Leaves, spf};

/// More addresses of one name are not followed.
const MOST_ADDRESSES: usize = 8;

/// What was found about this host.
pub(super) struct Host {
    /// Its public addresses.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) findings: Vec<Finding>,
}

/// EHLO name, PTR round trip, SPF of the name.
pub(super) async fn check(look: &Look<'_>, ehlo: &str, leaves: Leaves) -> Host {
    match leaves {
        Leaves::Directly => {}
        Leaves::ThroughRelays => {
            let finding = Finding::new(FindingCode::BehindRelay, ehlo, "all routes lead to relays");
            return Host { addresses: Vec::new(), findings: vec![finding] };
        }
    }
    let mut findings = Vec::new();
    let usable = DomainName::parse(ehlo).is_ok_and(|name| name.as_str().contains('.'));
    let found = if usable { look.addresses(ehlo).await } else { Ok(Vec::new()) };
    let found = match found {
        Ok(found) => found,
        Err(silent) => {
            findings.push(silent.finding(ehlo));
            return Host { addresses: Vec::new(), findings };
        }
    };
    if found.is_empty() {
        findings.push(Finding::new(FindingCode::EhloNoAddress, ehlo, "neither A nor AAAA record"));
        return Host { addresses: Vec::new(), findings };
    }
    let public = AddressPolicy::default();
    let (addresses, private): (Vec<IpAddr>, Vec<IpAddr>) =
        found.into_iter().take(MOST_ADDRESSES).partition(|address| is_public(&public, *address));
    if addresses.is_empty() {
        let private: Vec<String> = private.iter().map(ToString::to_string).collect();
        findings.push(Finding::new(FindingCode::EhloPrivate, ehlo, private.join(", ")));
    }
    for address in &addresses {
        findings.extend(round_trip(look, ehlo, *address).await);
    }
    if !addresses.is_empty() {
        findings.extend(spf::of_ehlo(look, ehlo).await);
    }
    Host { addresses, findings }
}

/// An egress source: its own addresses with the name that it says, which both must lead to each other (SR-1).
pub(super) async fn source(look: &Look<'_>, source: &SourceSettings, host: &mut Host) {
    let ehlo = source.ehlo_name.as_str();
    let own = [source.ipv4.map(IpAddr::V4), source.ipv6.map(IpAddr::V6)];
    let public = AddressPolicy::default();
    let (addresses, private): (Vec<IpAddr>, Vec<IpAddr>) =
        own.into_iter().flatten().partition(|address| is_public(&public, *address));
    if let (true, Some(private)) = (addresses.is_empty(), private.first()) {
        // What it looks like from outside is not known here.
        host.findings.push(Finding::new(FindingCode::EhloPrivate, ehlo, private.to_string()));
        return;
    }
    match look.addresses(ehlo).await {
        Err(silent) => host.findings.push(silent.finding(ehlo)),
        Ok(found) if !addresses.iter().all(|address| found.contains(address)) => {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let found = if found.is_empty() { "neither A nor AAAA record".to_owned() } else { found.join(", ") };
            let want: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let finding = Finding::new(FindingCode::EhloNoAddress, ehlo, found);
            host.findings.push(finding.wanting(format!("the addresses of the source: {}", want.join(", "))));
        }
        Ok(_) => {}
    }
    for address in &addresses {
        host.findings.extend(round_trip(look, ehlo, *address).await);
    }
    host.findings.extend(spf::of_ehlo(look, ehlo).await);
    host.addresses.extend(addresses);
}

/// Documentation ranges are as good as public ones here: they stand for them in rehearsals.
fn is_public(policy: &AddressPolicy, address: IpAddr) -> bool {
    let documentation = match address {
        IpAddr::V4(v4) => v4.is_documentation(),
        IpAddr::V6(v6) => v6.segments()[0] == 0x2001 && v6.segments()[1] == 0x0db8,
    };
    documentation || policy.check(address).is_ok()
}

async fn round_trip(look: &Look<'_>, ehlo: &str, address: IpAddr) -> Option<Finding> {
    let about = address.to_string();
    let names = match look.names_of(address).await {
        Ok(names) => names,
        Err(silent) => return Some(silent.finding(&about)),
    };
    if names.is_empty() {
        return Some(Finding::new(FindingCode::PtrMissing, about, "no PTR record"));
    }
    let mut back = Vec::new();
    for name in names.iter().take(MOST_ADDRESSES) {
        match look.addresses(name).await {
            Ok(addresses) if addresses.contains(&address) => back.push(name.as_str()),
            Ok(_) => {}
            Err(silent) => return Some(silent.finding(name)),
        }
    }
    let found = names.join(", ");
    if back.is_empty() {
        return Some(Finding::new(FindingCode::PtrNoRoundTrip, about, found));
    }
    let same = back.iter().any(|name| name.eq_ignore_ascii_case(ehlo.trim_end_matches('.')));
    (!same).then(|| Finding::new(FindingCode::PtrOtherName, about, found).wanting(format!("the PTR name {ehlo}")))
}

/// The host that unsubscribe and tracking links lead to.
pub(super) async fn public_host(look: &Look<'_>, public_url: &str) -> Vec<Finding> {
    let host = match host_of(public_url) {
        Some(host) if host.contains('.') && host.parse::<IpAddr>().is_err() => host,
        Some(_) | None => {
            let found = if public_url.is_empty() { "no public URL" } else { public_url };
            return vec![Finding::new(FindingCode::PublicHostUnchecked, "public URL", found)];
        }
    };
    let mut findings = Vec::new();
    match look.addresses(&host).await {
        Err(silent) => findings.push(silent.finding(&host)),
        Ok(found) if found.is_empty() => {
            findings.push(Finding::new(FindingCode::PublicHostMissing, host.clone(), "neither A nor AAAA record"));
            return findings;
        }
        Ok(_) => {}
    }
    findings.extend(certificates(look, &host).await);
    findings
}

/// RFC 8659 3: the closest name upwards that has CAA records decides.
async fn certificates(look: &Look<'_>, host: &str) -> Option<Finding> {
    let mut rest = Some(host);
    while let Some(name) = rest.filter(|name| name.contains('.')) {
        match look.caa(name).await {
            // Only good to know, and not every resolver asks for it.
            Err(_) => return None,
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                let records: Vec<CaaRecord> = found.iter().filter_map(|text| CaaRecord::parse(text).ok()).collect();
                let issuers: Vec<&str> = records.iter().filter_map(CaaRecord::issuer).collect();
                if issuers.is_empty() {
                    return None;
                }
                let named: Vec<&str> = issuers.into_iter().filter(|issuer| !issuer.is_empty()).collect();
                return Some(if named.is_empty() {
                    Finding::new(FindingCode::CaaNobody, name, found.join(" and "))
                } else {
                    Finding::new(FindingCode::Caa, name, format!("only {} may issue", named.join(", ")))
                });
            }
        }
        rest = name.split_once('.').map(|(_, parent)| parent);
    }
    None
}

/// The host of a URL, without port.
fn host_of(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    (!host.is_empty()).then(|| host.trim_matches(['[', ']']).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url() {
        for (url, want) in [
            ("https://Mail.example.org/x", Some("mail.example.org")),
            ("http://127.0.0.1:8080", Some("127.0.0.1")),
            ("https://[::1]:8443/", Some("::1")),
            ("", None),
        ] {
            assert_eq!(host_of(url).as_deref(), want, "{url}");
        }
    }

    #[test]
    fn private_addresses_are_known() {
        let policy = AddressPolicy::default();
        for (address, want) in
            [("192.0.2.1", true), ("2001:db8::1", true), ("9.9.9.9", true), ("10.0.0.1", false), ("127.0.0.1", false)]
        {
            assert_eq!(is_public(&policy, address.parse().unwrap()), want, "{address}");
        }
    }
}
