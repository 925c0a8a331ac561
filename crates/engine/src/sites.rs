//! Which site a domain belongs to: the set of MX hosts that one provider runs, on which limits are kept.
//!
//! Knows names of providers. Knows no connections and no limits.

use postrider_smtp::MxHost;

/// The site of domains whose DNS has not answered yet.
pub const UNRESOLVED: &str = "unresolved";

/// MX host suffixes of large providers and the name of their site. The first that fits wins.
const PROVIDERS: &[(&str, &str)] = &[
    ("google.com", "google"),
    ("googlemail.com", "google"),
    ("olc.protection.outlook.com", "outlook.com"),
    ("hotmail.com", "outlook.com"),
    ("protection.outlook.com", "microsoft365"),
    ("mx.microsoft", "microsoft365"),
    ("yahoodns.net", "yahoo"),
    ("icloud.com", "icloud"),
    ("apple.com", "icloud"),
    ("gmx.net", "gmx"),
    ("web.de", "gmx"),
    ("kundenserver.de", "ionos"),
    ("ionos.com", "ionos"),
    ("perfora.net", "ionos"),
    ("t-online.de", "t-online"),
    ("libero.it", "libero"),
    ("iol.it", "libero"),
    ("virgilio.it", "libero"),
    ("aruba.it", "aruba"),
    ("tiscali.it", "tiscali"),
    ("tim.it", "tim"),
    ("alice.it", "tim"),
    ("wp.pl", "wp"),
    ("onet.pl", "onet"),
    ("interia.pl", "interia"),
    ("o2.pl", "wp"),
    ("orange.fr", "orange"),
    ("wanadoo.fr", "orange"),
    ("sfr.fr", "sfr"),
    ("free.fr", "free"),
    ("laposte.net", "laposte"),
    ("ovh.net", "ovh"),
    ("comcast.net", "comcast"),
    ("zoho.com", "zoho"),
    ("zoho.eu", "zoho"),
    ("yandex.net", "yandex"),
    ("yandex.ru", "yandex"),
    ("mail.ru", "mailru"),
    ("qq.com", "qq"),
    ("163.com", "netease"),
    ("netease.com", "netease"),
    ("mimecast.com", "mimecast"),
    ("pphosted.com", "proofpoint"),
    ("ppe-hosted.com", "proofpoint"),
    ("messagelabs.com", "messagelabs"),
    ("barracudanetworks.com", "barracuda"),
    ("protonmail.ch", "proton"),
    ("messagingengine.com", "fastmail"),
    ("gandi.net", "gandi"),
    ("secureserver.net", "godaddy"),
    ("one.com", "one"),
    ("registrar-servers.com", "namecheap"),
];

/// The site of a set of MX hosts: a provider's name, else the lexicographically first of the most preferred hosts.
/// `None` for an empty set.
pub fn site_of(hosts: &[MxHost]) -> Option<String> {
    let best = hosts.iter().map(|h| h.preference).min()?;
    let first = hosts.iter().filter(|h| h.preference == best).map(|h| h.name.as_str()).min()?;
    Some(provider(first).map_or_else(|| first.to_owned(), str::to_owned))
}

/// The site of every connection of a smarthost route.
pub fn route_site(route: postrider_domain::id::RouteId) -> String {
    format!("route:{route}")
}

fn provider(host: &str) -> Option<&'static str> {
    let within = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    PROVIDERS.iter().find(|(suffix, _)| within(suffix)).map(|(_, site)| *site)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(preference: u16, name: &str) -> MxHost {
        MxHost { preference, name: name.to_owned() }
    }

    #[test]
    fn providers_are_known_by_their_hosts_and_nobody_else_by_theirs() {
        for (name, site) in [
            ("aspmx.l.google.com", "google"),
            ("gmail-smtp-in.l.google.com", "google"),
            ("outlook-com.olc.protection.outlook.com", "outlook.com"),
            ("contoso-com.mail.protection.outlook.com", "microsoft365"),
            ("mta5.am0.yahoodns.net", "yahoo"),
            ("mx01.mail.icloud.com", "icloud"),
            ("notgoogle.com", "notgoogle.com"),
            ("google.com.evil.example", "google.com.evil.example"),
        ] {
            assert_eq!(site_of(&[host(10, name)]).as_deref(), Some(site));
        }
    }

    #[test]
    fn the_first_of_the_best_hosts_names_the_site() {
        let hosts = [host(20, "a.example"), host(10, "c.example"), host(10, "b.example")];
        assert_eq!(site_of(&hosts).as_deref(), Some("b.example"));
        assert_eq!(site_of(&[]), None);
    }
}
