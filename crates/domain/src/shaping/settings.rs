//! What a workspace sets for a site instead of its profile.

use serde::{Deserialize, Serialize};

use super::profile::{Limits, TlsDemand};

/// What a workspace sets for a site. What is not set stays as in the profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSettings {
    /// Connections at the same time, 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Messages over one connection, 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_connection: Option<u32>,
    /// Messages per second, from one in 100 seconds to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Messages per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// Messages per 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u32>,
    /// Protection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsDemand>,
    /// The first pause after several refusals in a row, in seconds, 1 to 3,600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_off_seconds: Option<u32>,
    /// Names of rules that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_rules: Vec<String>,
}

/// Why settings of a site are refused; reads after "could not save the limits of the site:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The name of the site.
    #[error("`{0}` is no site: give the name that the queue shows, such as `google`")]
    Site(String),
    /// A number.
    #[error("{0}")]
    Number(&'static str),
    /// Nothing is set.
    #[error("nothing is set: delete the limits instead")]
    Empty,
    /// A rule that nobody knows.
    #[error("no rule of this site is named `{0}`")]
    Rule(String),
}

impl SiteSettings {
    /// Checks what a person wrote for a site.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, profiles: &super::Profiles, site: &str) -> Result<(), SettingsError> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_[]:".contains(&b);
        if site.is_empty()
            || site.len() > 253
            || site == "default"
            || !site.bytes().all(letters)
            || site.starts_with("route:")
        {
            return Err(SettingsError::Site(site.chars().take(100).collect()));
        }
        let within = |given: Option<u32>, most: u32| given.is_none_or(|n| (1..=most).contains(&n));
        let checks = [
            (within(self.connections, 1_000), "connections should be 1 to 1,000"),
            (within(self.per_connection, 10_000), "messages per connection should be 1 to 10,000"),
            (
                self.per_second.is_none_or(|n| (0.01..=10_000.0).contains(&n)),
                "messages per second should be 0.01 to 10,000",
            ),
            (within(self.per_hour, 36_000_000), "messages per hour should be 1 to 36,000,000"),
            (within(self.per_day, 864_000_000), "messages per day should be 1 to 864,000,000"),
            (within(self.back_off_seconds, 3_600), "the first pause should be 1 to 3,600 seconds"),
        ];
        if let Some((_, what)) = checks.into_iter().find(|(good, _)| !good) {
            return Err(SettingsError::Number(what));
        }
        if *self == SiteSettings::default() {
            return Err(SettingsError::Empty);
        }
        let known = |name: &String| {
            let of = |profile: &super::Profile| profile.rules.iter().any(|r| r.name == *name);
            of(profiles.of_site(site)) || of(profiles.of_site("default"))
        };
        match self.without_rules.iter().find(|name| !known(name)) {
            Some(name) => Err(SettingsError::Rule(name.chars().take(100).collect())),
            None => Ok(()),
        }
    }

    /// The limits of a site with these settings.
    pub fn over(&self, limits: Limits) -> Limits {
        Limits {
            connections: self.connections.or(limits.connections),
            per_connection: self.per_connection.or(limits.per_connection),
            per_second: self.per_second.or(limits.per_second),
            per_hour: self.per_hour.or(limits.per_hour),
            per_day: self.per_day.or(limits.per_day),
            tls: self.tls.unwrap_or(limits.tls),
            back_off_ms: self.back_off_seconds.map_or(limits.back_off_ms, |s| i64::from(s) * 1_000),
            silent_close: limits.silent_close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::Profiles;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |json: &str, site: &str| {
            serde_json::from_str::<SiteSettings>(json).unwrap().check(Profiles::shipped(), site)
        };
        assert_eq!(check(r#"{"connections": 3}"#, "google"), Ok(()));
        assert_eq!(check(r#"{"per_second": 0.5}"#, "example.org"), Ok(()));
        for (json, site) in [
            ("{}", "google"),
            (r#"{"connections": 0}"#, "google"),
            (r#"{"connections": 1001}"#, "google"),
            (r#"{"per_second": 0}"#, "google"),
            (r#"{"per_second": -1}"#, "google"),
            (r#"{"per_hour": 0}"#, "google"),
            (r#"{"connections": 3}"#, ""),
            (r#"{"connections": 3}"#, "default"),
            (r#"{"connections": 3}"#, "route:rte_1"),
            (r#"{"connections": 3}"#, "a b"),
            (r#"{"without_rules": ["nobody"]}"#, "google"),
        ] {
            assert!(check(json, site).is_err(), "{json} for {site}");
        }
        assert!(serde_json::from_str::<SiteSettings>(r#"{"conections": 3}"#).is_err());
    }

    #[test]
    fn what_is_not_set_stays() {
        let settings = SiteSettings { per_hour: Some(9), ..SiteSettings::default() };
        let before = Profiles::shipped().limits("google");
        assert_eq!(settings.over(before.clone()), Limits { per_hour: Some(9), ..before });
    }
}
