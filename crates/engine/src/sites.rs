//! Names of sites: lanes and limits are keyed by them.
//!
//! What a provider is stands in the profiles; this file knows the two names that are none of them.

use postrider_domain::shaping::{self, Profiles};
use postrider_smtp::MxHost;

/// The site of domains whose DNS has not answered yet.
pub const UNRESOLVED: &str = "unresolved";

/// The site of a set of MX hosts: a provider's name, else the name under which its best host was registered.
/// `None` for an empty set.
pub fn site_of(hosts: &[MxHost]) -> Option<String> {
    shaping::site_of(Profiles::shipped(), hosts.iter().map(|h| (h.preference, h.name.as_str())))
}

/// The site of every connection of a smarthost route.
pub fn route_site(route: postrider_domain::id::RouteId) -> String {
    format!("route:{route}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_hosts_name_the_site() {
        let host = |preference, name: &str| MxHost { preference, name: name.to_owned() };
        let hosts = [host(20, "backup.elsewhere.test"), host(10, "mx2.hoster.test"), host(10, "mx1.hoster.test")];
        assert_eq!(site_of(&hosts).as_deref(), Some("hoster.test"));
        assert_eq!(site_of(&[host(5, "alt1.aspmx.l.google.com")]).as_deref(), Some("google"));
        assert_eq!(site_of(&[]), None);
    }
}
