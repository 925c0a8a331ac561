//! The profiles that come with the program, from `rules/profiles`, and the table of other sites with many names.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::pattern::Pattern;
use super::profile::{Limits, Profile, ProfileError, Reply, Rule};

/// Each file of `rules/profiles`, the default one first.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../rules/profiles/", $name, ".toml")))),+]
    };
}

const FILES: &[(&str, &str)] = files![
    "default",
    "google",
    "yahoo",
    "outlook",
    "microsoft365",
    "apple",
    "gmx",
    "t-online",
    "orange",
    "laposte",
    "free",
    "libero",
    "aruba",
    "tim",
    "wp",
    "onet",
    "interia",
    "proton",
    "zoho",
    "mimecast",
    "barracuda",
];

const ROLL_UPS: &str = include_str!("../../../../rules/profiles/rollup.toml");

static SHIPPED: LazyLock<Profiles> =
    LazyLock::new(|| Profiles::read(FILES, ROLL_UPS).expect("a test reads what is shipped"));

/// A set of profiles.
#[derive(Debug)]
pub struct Profiles {
    default: Profile,
    known: Vec<Profile>,
    by_suffix: HashMap<String, usize>,
    roll_ups: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollUps {
    sites: std::collections::BTreeMap<String, Vec<String>>,
}

impl Profiles {
    /// Those that come with the program.
    pub fn shipped() -> &'static Profiles {
        &SHIPPED
    }

    fn read(files: &[(&str, &str)], roll_ups: &str) -> Result<Profiles, ProfileError> {
        let mut profiles = files.iter().map(|(_, toml)| Profile::parse(toml)).collect::<Result<Vec<_>, _>>()?;
        let default = profiles.remove(0);
        let bad = |site: &str, what: &str| ProfileError::Bad { site: site.to_owned(), what: what.to_owned() };
        let mut by_suffix = HashMap::new();
        for (n, profile) in profiles.iter().enumerate() {
            if profile.suffixes.is_empty() {
                return Err(bad(&profile.site, "it names no host"));
            }
            for suffix in &profile.suffixes {
                if by_suffix.insert(suffix.clone(), n).is_some() {
                    return Err(bad(&profile.site, "one of its suffixes is another profile's, too"));
                }
            }
        }
        let file: RollUps = toml::from_str(roll_ups).map_err(|error| ProfileError::Toml(error.to_string()))?;
        let mut others = HashMap::new();
        for (site, suffixes) in file.sites {
            for suffix in suffixes {
                if by_suffix.contains_key(&suffix) || others.insert(suffix, site.clone()).is_some() {
                    return Err(bad(&site, "one of its suffixes is another site's, too"));
                }
            }
        }
        Ok(Profiles { default, known: profiles, by_suffix, roll_ups: others })
    }

    /// The profile of a site; the default one when nothing is known of it.
    pub fn of_site(&self, site: &str) -> &Profile {
        self.known.iter().find(|p| p.site == site).unwrap_or(&self.default)
    }

    /// Every profile, the default one first.
    pub fn all(&self) -> impl Iterator<Item = &Profile> {
        std::iter::once(&self.default).chain(&self.known)
    }

    /// The limits of a site. A smarthost (`route:…`) has those of its route only.
    pub fn limits(&self, site: &str) -> Limits {
        if site.starts_with("route:") { Limits::NONE } else { self.of_site(site).limits.clone() }
    }

    /// The rule that reads a reply of a site: its own, else a general one.
    pub fn rule(&self, site: &str, reply: &Reply<'_>) -> Option<&Rule> {
        let prepared = Pattern::prepare(reply.text);
        let own = self.known.iter().find(|p| p.site == site).and_then(|p| p.rule_for(reply, &prepared));
        own.or_else(|| self.default.rule_for(reply, &prepared))
    }

    /// The profile to which an MX host belongs: the one with the longest suffix of its name.
    pub fn of_host(&self, host: &str) -> Option<&Profile> {
        suffixes(host).find_map(|suffix| self.by_suffix.get(suffix)).map(|n| &self.known[*n])
    }

    /// The site of an MX host of a provider that has many names and no profile.
    pub(super) fn rolled_up(&self, host: &str) -> Option<&str> {
        suffixes(host).find_map(|suffix| self.roll_ups.get(suffix)).map(String::as_str)
    }
}

/// A name and what is left of it after each label, the longest first.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |rest| rest.split_once('.').map(|(_, parent)| parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_shipped_and_every_provider_that_we_promise_has_one() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules/profiles");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
            .filter(|name| name != "rollup")
            .collect();
        let mut shipped: Vec<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        there.sort();
        shipped.sort();
        assert_eq!(there, shipped);
        Profiles::read(FILES, ROLL_UPS).unwrap();
    }

    #[test]
    fn every_rule_reads_its_samples_and_no_others() {
        let mut rules = 0;
        for profile in Profiles::shipped().all() {
            for rule in &profile.rules {
                rules += 1;
                for hit in &rule.hits {
                    let reply = Reply::parse(hit).unwrap_or_else(|| panic!("{hit} is no reply"));
                    let found = Profiles::shipped().rule(&profile.site, &reply).map(|r| r.name.as_str());
                    assert_eq!(found, Some(rule.name.as_str()), "{}: {hit}", profile.site);
                }
                for miss in &rule.misses {
                    let reply = Reply::parse(miss).unwrap_or_else(|| panic!("{miss} is no reply"));
                    let found = Profiles::shipped().rule(&profile.site, &reply).map(|r| r.name.as_str());
                    assert_ne!(found, Some(rule.name.as_str()), "{}: {miss}", profile.site);
                }
            }
        }
        assert!(rules >= 40, "{rules} rules");
    }

    #[test]
    fn every_profile_says_something_of_its_own_and_where_from() {
        for profile in Profiles::shipped().all() {
            assert!(!profile.sources.is_empty(), "{}", profile.site);
            for (name, source) in &profile.sources {
                let known = source == "our caution" || source.starts_with("https://") || source.contains("table");
                assert!(known, "{}: {name} comes from {source}", profile.site);
            }
            for rule in &profile.rules {
                let known = rule.source == "our caution"
                    || rule.source.starts_with("https://")
                    || rule.source.contains("table");
                assert!(known, "{}: {} comes from {}", profile.site, rule.name, rule.source);
            }
        }
    }

    #[test]
    fn what_concerns_one_recipient_slows_no_site() {
        // Texts that speak of speed and mean one mailbox or one message.
        for (site, line) in [
            (
                "google",
                "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered. ReceivingRate",
            ),
            ("google", "452 4.2.2 The recipient's inbox is out of storage space and inactive."),
            ("google", "550 5.1.1 The email account that you tried to reach does not exist."),
            ("example.org", "450 4.2.0 Recipient address rejected: Greylisted, try again later"),
            ("example.org", "550 5.1.1 No such user here"),
            ("example.org", "452 4.2.2 Mailbox full"),
        ] {
            let rule = Profiles::shipped().rule(site, &Reply::parse(line).unwrap());
            let harmless = rule.is_none_or(|r| r.action == super::super::Action::Ignore);
            assert!(harmless, "{site}: {line}: {:?}", rule.map(|r| &r.name));
        }
    }

    #[test]
    fn a_smarthost_has_the_limits_of_its_route_only() {
        assert_eq!(Profiles::shipped().limits("route:rte_1"), Limits::NONE);
        assert_eq!(Profiles::shipped().of_site("nobody.example").site, "default");
    }
}
