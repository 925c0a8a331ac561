//! Which site a domain belongs to: the set of MX hosts that one provider runs, on which limits are kept.
//!
//! A provider that we know is found by the end of its hosts' names; any other site by the name under which its best host
//! was registered, so that a hoster who gives each customer a host name is one site all the same.

use super::shipped::Profiles;

/// Second labels under which names are registered in country domains: `example.co.uk`, `example.com.pl`.
const SECOND: &[&str] = &[
    "ac", "adv", "art", "asso", "biz", "co", "com", "ed", "edu", "firm", "gen", "go", "gob", "gouv", "gov", "gv", "id",
    "info", "k12", "ltd", "mil", "ne", "net", "nhs", "nom", "or", "org", "plc", "police", "pro", "sch", "shop", "web",
];

/// Ends under which strangers to each other live: names are registered, or machines stand, one label below.
const SHARED: &[&str] = &[
    // Polish regions and trades.
    "waw.pl",
    "warszawa.pl",
    "krakow.pl",
    "poznan.pl",
    "wroc.pl",
    "wroclaw.pl",
    "gda.pl",
    "gdansk.pl",
    "gdynia.pl",
    "szczecin.pl",
    "lodz.pl",
    "lublin.pl",
    "katowice.pl",
    "slask.pl",
    "bialystok.pl",
    "bydgoszcz.pl",
    "torun.pl",
    "olsztyn.pl",
    "opole.pl",
    "radom.pl",
    "rzeszow.pl",
    "zgora.pl",
    "bielsko.pl",
    "malopolska.pl",
    "mazowsze.pl",
    "pomorze.pl",
    "aid.pl",
    "auto.pl",
    "media.pl",
    "nieruchomosci.pl",
    "sklep.pl",
    "sos.pl",
    "szkola.pl",
    "tm.pl",
    "travel.pl",
    "turystyka.pl",
    // Italian provinces and regions that are used by towns and schools.
    "an.it",
    "ba.it",
    "bg.it",
    "bo.it",
    "bs.it",
    "bz.it",
    "ca.it",
    "fe.it",
    "fi.it",
    "ge.it",
    "le.it",
    "mi.it",
    "mo.it",
    "na.it",
    "pa.it",
    "pd.it",
    "pg.it",
    "pi.it",
    "pr.it",
    "pv.it",
    "re.it",
    "rm.it",
    "sa.it",
    "tn.it",
    "to.it",
    "ts.it",
    "va.it",
    "ve.it",
    "vi.it",
    "vr.it",
    "milano.it",
    "roma.it",
    "torino.it",
    "napoli.it",
    "firenze.it",
    "bologna.it",
    "lombardia.it",
    "piemonte.it",
    "toscana.it",
    "veneto.it",
    "sardegna.it",
    "sicilia.it",
    "puglia.it",
    "umbria.it",
    // Machines that anybody may hire, and names for changing addresses.
    "compute.amazonaws.com",
    "compute-1.amazonaws.com",
    "cloudapp.net",
    "cloudapp.azure.com",
    "bc.googleusercontent.com",
    "duckdns.org",
    "dyndns.org",
    "no-ip.org",
    "ddns.net",
    "hopto.org",
    "myftp.org",
    "dynv6.net",
    "spdns.de",
    "ddnss.de",
    "homelinux.org",
    "eu.org",
    "uk.com",
    "de.com",
    "eu.com",
    "us.com",
    "vps.ovh.net",
    "ip-ping.eu",
    "your-server.de",
    "contaboserver.net",
    "linodeusercontent.com",
    "members.linode.com",
    "nip.io",
    "sslip.io",
];

/// The name under which a host was registered, as far as we can tell without a register: `mx.shop.example.co.uk` gives
/// `example.co.uk`. An address, or a name of one label, stays as it is.
pub fn registrable(host: &str) -> &str {
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return host;
    }
    let ends: Vec<usize> = host.rmatch_indices('.').map(|(at, _)| at + 1).collect();
    // How many labels belong to the end under which names are registered.
    let labels = |n: usize| n.checked_sub(1).and_then(|n| ends.get(n)).map_or(host, |at| &host[*at..]);
    let shared = SHARED
        .iter()
        .filter(|end| host == **end || host.strip_suffix(**end).is_some_and(|rest| rest.ends_with('.')))
        .map(|end| end.split('.').count())
        .max();
    let own = match shared {
        Some(n) => n,
        None => {
            let (top, second) = (labels(1), labels(2));
            let second = second.split('.').next().unwrap_or_default();
            if top.len() == 2 && SECOND.contains(&second) { 2 } else { 1 }
        }
    };
    labels(own + 1)
}

/// The site of a set of MX hosts: a profile that knows the first of the most preferred hosts, else the name under which
/// that host was registered. Preference and name of each; `None` for an empty set.
pub fn site_of<'a>(profiles: &Profiles, hosts: impl IntoIterator<Item = (u16, &'a str)> + Clone) -> Option<String> {
    let best = hosts.clone().into_iter().map(|(preference, _)| preference).min()?;
    let of_best = |(preference, name): (u16, &'a str)| (preference == best).then_some(name);
    let names = || hosts.clone().into_iter().filter_map(of_best);
    if let Some(known) = names().filter_map(|name| profiles.of_host(name)).map(|p| p.site.as_str()).min() {
        return Some(known.to_owned());
    }
    names().map(|name| profiles.rolled_up(name).unwrap_or_else(|| registrable(name))).min().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registered_name_is_found() {
        for (host, want) in [
            ("mx1.example.com", "example.com"),
            ("example.com", "example.com"),
            ("mx.shop.example.co.uk", "example.co.uk"),
            ("mail.firma.com.pl", "firma.com.pl"),
            ("mail.firma.waw.pl", "firma.waw.pl"),
            ("mail.com.pl", "mail.com.pl"),
            ("mx.comune.milano.it", "comune.milano.it"),
            ("mail.me.duckdns.org", "me.duckdns.org"),
            ("ec2-192-0-2-1.eu-south-1.compute.amazonaws.com", "eu-south-1.compute.amazonaws.com"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("co.uk", "co.uk"),
            ("mx.test", "mx.test"),
            ("mx.mail1.test", "mail1.test"),
        ] {
            assert_eq!(registrable(host), want, "{host}");
        }
    }

    fn site(hosts: &[(u16, &str)]) -> Option<String> {
        site_of(Profiles::shipped(), hosts.iter().copied())
    }

    #[test]
    fn providers_are_known_by_their_hosts_and_nobody_else_by_theirs() {
        for (name, want) in [
            ("aspmx.l.google.com", "google"),
            ("gmail-smtp-in.l.google.com", "google"),
            ("outlook-com.olc.protection.outlook.com", "outlook.com"),
            ("contoso-com.mail.protection.outlook.com", "microsoft365"),
            ("contoso-com.g-v1.mx.microsoft", "microsoft365"),
            ("mta5.am0.yahoodns.net", "yahoo"),
            ("mx01.mail.icloud.com", "apple"),
            ("mx00.gmx.net", "gmx"),
            ("mx.wp.pl", "wp"),
            ("mx01.ionos.com", "ionos"),
            ("notgoogle.com", "notgoogle.com"),
            ("google.com.evil.example", "evil.example"),
        ] {
            assert_eq!(site(&[(10, name)]).as_deref(), Some(want));
        }
    }

    #[test]
    fn customers_of_one_hoster_are_one_site() {
        let one = site(&[(10, "a-example.mx.hoster.net"), (10, "a-example.mx2.hoster.net")]);
        let other = site(&[(5, "b-example.in.hoster.net"), (20, "backup.elsewhere.org")]);
        assert_eq!((one.as_deref(), other.as_deref()), (Some("hoster.net"), Some("hoster.net")));
        assert_eq!(site(&[]), None);
    }
}
