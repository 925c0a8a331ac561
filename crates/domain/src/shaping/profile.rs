//! What is known of a provider: where its hosts are, what it allows, what its replies ask of us. Read from TOML.
//!
//! Every value and every rule says where it comes from. Knows no workspace and no state.

use serde::Deserialize;

use super::pattern::Pattern;

crate::words! {
    /// Whether mail to a site must be protected.
    pub enum TlsDemand {
        /// Protected when the host offers it.
        Opportunistic = "opportunistic",
        /// Never in clear text.
        Required = "required",
    }
}

/// A value and where it comes from: the address of a provider's page, a published table, or `our caution`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: String,
}

/// What a site allows, or what we allow ourselves there. `None` is no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Connections at the same time; the route may allow fewer.
    pub connections: Option<u32>,
    /// Messages over one connection.
    pub per_connection: Option<u32>,
    /// Messages per second.
    pub per_second: Option<f64>,
    /// Messages per hour, evenly spread.
    pub per_hour: Option<u32>,
    /// Messages per 24 hours, evenly spread.
    pub per_day: Option<u32>,
    /// Protection.
    pub tls: TlsDemand,
    /// The first pause, in milliseconds, when the site refuses several times in a row; it doubles up to half an hour.
    pub back_off_ms: i64,
    /// Whether the site is known to close connections without a word when it has had enough of them.
    pub silent_close: bool,
}

impl Limits {
    /// No limit at all: a smarthost, whose route has limits of its own.
    pub const NONE: Limits = Limits {
        connections: None,
        per_connection: None,
        per_second: None,
        per_hour: None,
        per_day: None,
        tls: TlsDemand::Opportunistic,
        back_off_ms: 30_000,
        silent_close: false,
    };
}

/// A reply as rules read it.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The basic code.
    pub code: u16,
    /// The enhanced status, as `4.7.28`.
    pub enhanced: Option<&'a str>,
    /// The text.
    pub text: &'a str,
}

impl<'a> Reply<'a> {
    /// Reads `421 4.7.28 text`, as samples and logs have it; `None` when it begins with no code.
    pub fn parse(line: &'a str) -> Option<Reply<'a>> {
        let (code, rest) = line.split_at_checked(3)?;
        let code = code.parse().ok().filter(|c| (200..600).contains(c))?;
        let rest = rest.strip_prefix([' ', '-']).unwrap_or(rest);
        let first = rest.split(' ').next().unwrap_or_default();
        let enhanced = postrider_mail::reply::EnhancedStatus::parse(first).map(|_| first);
        let text = enhanced.map_or(rest, |status| rest[status.len()..].trim_start());
        Some(Reply { code, enhanced, text })
    }
}

/// What a reply asks of us. Times are milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Go slower than now; with `most`, at no more than so many messages per second for a time.
    SlowDown {
        /// Messages per second at most, and for how long.
        most: Option<(f64, i64)>,
    },
    /// Send nothing for a time.
    Stop {
        /// How long.
        ms: i64,
    },
    /// One connection only, for a time.
    OneConnection {
        /// How long.
        ms: i64,
    },
    /// Fewer connections than now.
    FewerConnections,
    /// It means nothing for the site: go on as before.
    Ignore,
    /// Google's procedure: nothing for a time, then one connection, then one more after the other.
    Recover {
        /// How long nothing is sent.
        ms: i64,
    },
}

/// A rule for replies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique in its profile.
    pub name: String,
    /// What it asks of us.
    pub action: Action,
    /// So many such replies within so many milliseconds make it act.
    pub trigger: (u32, i64),
    /// Where it comes from.
    pub source: String,
    /// Replies that it must read.
    pub hits: Vec<String>,
    /// Replies that it must leave alone.
    pub misses: Vec<String>,
    code: Option<String>,
    enhanced: Option<String>,
    texts: Vec<Pattern>,
}

impl Rule {
    /// Whether the reply is meant; `text` is what [`Pattern::prepare`] made of the reply's text.
    fn reads(&self, reply: &Reply<'_>, text: &str) -> bool {
        self.code.as_ref().is_none_or(|code| reply.code.to_string().starts_with(code.as_str()))
            && self.enhanced.as_ref().is_none_or(|status| reply.enhanced == Some(status.as_str()))
            && (self.texts.is_empty() || self.texts.iter().any(|pattern| pattern.is_in(text)))
    }
}

/// What is known of a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The name of its site.
    pub site: String,
    /// Its name for people.
    pub title: String,
    /// Ends of the names of its MX hosts.
    pub suffixes: Vec<String>,
    /// What it allows.
    pub limits: Limits,
    /// Where each limit comes from, by its name.
    pub sources: Vec<(&'static str, String)>,
    /// Its rules; the first that reads a reply counts.
    pub rules: Vec<Rule>,
}

impl Profile {
    /// The first rule that reads a reply.
    pub fn rule(&self, reply: &Reply<'_>) -> Option<&Rule> {
        self.rule_for(reply, &Pattern::prepare(reply.text))
    }

    pub(super) fn rule_for(&self, reply: &Reply<'_>, prepared: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.reads(reply, prepared))
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn parse(toml: &str) -> Result<Profile, ProfileError> {
        let file: File = toml::from_str(toml).map_err(|error| ProfileError::Toml(error.to_string()))?;
        let bad = |what: String| ProfileError::Bad { site: file.site.clone(), what };
        if file.site.is_empty()
            || !file.site.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
        {
            return Err(bad("its site is no name of small letters, digits, dots and hyphens".into()));
        }
        let suffixes = file.suffixes.clone();
        if suffixes.iter().any(|s| !s.contains('.') || s.starts_with('.') || s.bytes().any(|b| b.is_ascii_uppercase()))
        {
            return Err(bad("a suffix is no domain name in small letters".into()));
        }
        let (limits, sources) = file.limits.read().map_err(&bad)?;
        let rules = file.rule.iter().map(RuleFile::read).collect::<Result<Vec<_>, _>>().map_err(&bad)?;
        for (n, rule) in rules.iter().enumerate() {
            if rules[..n].iter().any(|other| other.name == rule.name) {
                return Err(bad(format!("two rules are named {}", rule.name)));
            }
        }
        Ok(Profile { site: file.site.clone(), title: file.title.clone(), suffixes, limits, sources, rules })
    }
}

/// Why a profile cannot be used; reads after "could not".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It is no TOML, or has other fields.
    #[error("read a profile: {0}")]
    Toml(String),
    /// Something in it makes no sense.
    #[error("use the profile {site}: {what}")]
    Bad {
        /// Which.
        site: String,
        /// What.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: String,
    title: String,
    #[serde(default)]
    suffixes: Vec<String>,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    rule: Vec<RuleFile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    connections: Option<Sourced<u32>>,
    per_connection: Option<Sourced<u32>>,
    per_second: Option<Sourced<f64>>,
    per_hour: Option<Sourced<u32>>,
    per_day: Option<Sourced<u32>>,
    tls: Option<Sourced<TlsDemand>>,
    back_off_seconds: Option<Sourced<u32>>,
    silent_close: Option<Sourced<bool>>,
}

/// Which limits name which source.
type Sources = Vec<(&'static str, String)>;

impl LimitsFile {
    fn read(&self) -> Result<(Limits, Sources), String> {
        let mut sources = Sources::new();
        fn take<T: Clone>(
            name: &'static str,
            given: &Option<Sourced<T>>,
            sources: &mut Sources,
        ) -> Result<Option<T>, String> {
            let Some(given) = given else { return Ok(None) };
            if given.source.trim().is_empty() {
                return Err(format!("the limit {name} names no source"));
            }
            sources.push((name, given.source.clone()));
            Ok(Some(given.value.clone()))
        }
        let limits = Limits {
            connections: take("connections", &self.connections, &mut sources)?,
            per_connection: take("per_connection", &self.per_connection, &mut sources)?,
            per_second: take("per_second", &self.per_second, &mut sources)?,
            per_hour: take("per_hour", &self.per_hour, &mut sources)?,
            per_day: take("per_day", &self.per_day, &mut sources)?,
            tls: take("tls", &self.tls, &mut sources)?.unwrap_or(TlsDemand::Opportunistic),
            back_off_ms: take("back_off_seconds", &self.back_off_seconds, &mut sources)?
                .map_or(Limits::NONE.back_off_ms, |s| i64::from(s) * 1_000),
            silent_close: take("silent_close", &self.silent_close, &mut sources)?.unwrap_or(false),
        };
        let zero = [limits.connections, limits.per_connection, limits.per_hour, limits.per_day].contains(&Some(0));
        if zero || limits.per_second.is_some_and(|n| n.is_nan() || n <= 0.0) {
            return Err("a limit is zero".into());
        }
        Ok((limits, sources))
    }
}

crate::words! {
    /// The words for actions in a profile.
    enum ActionWord {
        SlowDown = "slow_down",
        Stop = "stop",
        OneConnection = "one_connection",
        FewerConnections = "fewer_connections",
        Ignore = "ignore",
        Recover = "recover",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    name: String,
    code: Option<String>,
    enhanced: Option<String>,
    #[serde(default)]
    text: Vec<String>,
    action: ActionWord,
    minutes: Option<u32>,
    per_minute: Option<u32>,
    times: Option<u32>,
    within_minutes: Option<u32>,
    source: String,
    hits: Vec<String>,
    misses: Vec<String>,
}

impl RuleFile {
    fn read(&self) -> Result<Rule, String> {
        let bad = |what: &str| format!("the rule {}: {what}", self.name);
        let texts = self.text.iter().map(|t| Pattern::parse(t)).collect::<Option<Vec<_>>>();
        let texts =
            texts.ok_or_else(|| bad("a text is empty, has a star at an end, a capital letter or a backslash"))?;
        if self.code.is_none() && self.enhanced.is_none() && texts.is_empty() {
            return Err(bad("it would read every reply"));
        }
        if self.code.as_ref().is_some_and(|c| c.is_empty() || c.len() > 3 || !c.bytes().all(|b| b.is_ascii_digit())) {
            return Err(bad("its code is no beginning of three digits"));
        }
        if self.source.trim().is_empty() {
            return Err(bad("it names no source"));
        }
        if self.hits.is_empty() || self.misses.is_empty() {
            return Err(bad("it has no sample that it reads, or none that it leaves alone"));
        }
        let ms = self.minutes.map(|m| i64::from(m) * 60_000);
        let needs = || ms.filter(|ms| *ms > 0).ok_or_else(|| bad("say for how many minutes"));
        let action = match (self.action, self.per_minute) {
            (ActionWord::SlowDown, None) if ms.is_none() => Action::SlowDown { most: None },
            (ActionWord::SlowDown, Some(n)) if n > 0 => {
                Action::SlowDown { most: Some((f64::from(n) / 60.0, needs()?)) }
            }
            (ActionWord::SlowDown, _) => return Err(bad("per_minute and minutes go together")),
            (_, Some(_)) => return Err(bad("per_minute belongs to slow_down")),
            (ActionWord::Stop, None) => Action::Stop { ms: needs()? },
            (ActionWord::OneConnection, None) => Action::OneConnection { ms: needs()? },
            (ActionWord::Recover, None) => Action::Recover { ms: needs()? },
            (ActionWord::Ignore, None) if ms.is_none() => Action::Ignore,
            (ActionWord::FewerConnections, None) if ms.is_none() => Action::FewerConnections,
            (ActionWord::Ignore | ActionWord::FewerConnections, None) => return Err(bad("this action has no minutes")),
        };
        let trigger = match (self.times, self.within_minutes) {
            (None, None) => (1, 0),
            (Some(n), Some(minutes)) if n > 1 && minutes > 0 => (n, i64::from(minutes) * 60_000),
            _ => return Err(bad("times and within_minutes go together")),
        };
        Ok(Rule {
            name: self.name.clone(),
            action,
            trigger,
            source: self.source.clone(),
            hits: self.hits.clone(),
            misses: self.misses.clone(),
            code: self.code.clone(),
            enhanced: self.enhanced.clone(),
            texts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(rule: &str) -> Result<Profile, ProfileError> {
        Profile::parse(&format!("site = \"x\"\ntitle = \"X\"\n[[rule]]\n{rule}\n"))
    }

    #[test]
    fn replies_are_read_from_lines() {
        let reply = Reply::parse("421 4.7.28 Slow down").unwrap();
        assert_eq!((reply.code, reply.enhanced, reply.text), (421, Some("4.7.28"), "Slow down"));
        let reply = Reply::parse("421 too many").unwrap();
        assert_eq!((reply.enhanced, reply.text), (None, "too many"));
        assert!(Reply::parse("hello").is_none() && Reply::parse("4").is_none() && Reply::parse("é21").is_none());
    }

    #[test]
    fn rules_that_cannot_be_meant_are_refused() {
        let good = "name = \"a\"\ntext = [\"slow\"]\naction = \"stop\"\nminutes = 5\nsource = \"s\"\nhits = [\"4\"]\nmisses = [\"5\"]";
        assert!(profile(good).is_ok());
        for (from, to) in [
            ("text = [\"slow\"]", ""),
            ("\"slow\"", "\"Slow\""),
            ("\"slow\"", "'slo\\w'"),
            ("minutes = 5", ""),
            ("minutes = 5", "minutes = 0"),
            ("source = \"s\"", "source = \" \""),
            ("hits = [\"4\"]", "hits = []"),
            ("misses = [\"5\"]", "misses = []"),
            ("\"stop\"", "\"suspend\""),
            ("\"stop\"", "\"ignore\""),
            ("minutes = 5", "minutes = 5\nper_minute = 1"),
            ("minutes = 5", "minutes = 5\ntimes = 3"),
            ("minutes = 5", "minutes = 5\nmystery = 3"),
            ("text = [\"slow\"]", "code = \"4x\""),
        ] {
            assert!(profile(&good.replace(from, to)).is_err(), "{from} -> {to}");
        }
        assert!(profile(&format!("{good}\n[[rule]]\n{good}")).is_err(), "two of one name");
    }

    #[test]
    fn limits_name_their_source() {
        let with = |limits: &str| Profile::parse(&format!("site = \"x\"\ntitle = \"X\"\n[limits]\n{limits}\n"));
        let read = with("connections = { value = 5, source = \"our caution\" }").unwrap();
        assert_eq!((read.limits.connections, read.sources), (Some(5), vec![("connections", "our caution".to_owned())]));
        assert!(with("connections = { value = 5, source = \"\" }").is_err());
        assert!(with("connections = { value = 0, source = \"x\" }").is_err());
        assert!(with("connections = 5").is_err());
    }
}
