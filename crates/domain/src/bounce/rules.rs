//! Bounce rules as data: a rule says which class a text means, with its source and samples that a test runs.
//!
//! The rules that ship are `rules/bounces.toml` and `rules/bounces-providers.toml`, embedded and parsed once. Patterns are
//! regular expressions without back-references (their engine is linear in the text), matched in lowercase against at
//! most [`TEXT_MAX`] octets. Must not know stages' meaning beyond a rule's own condition.

use std::sync::LazyLock;

use postrider_mail::reply::EnhancedStatus;
use postrider_mail::stage::Stage;
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;
use thiserror::Error;

use super::BounceClass;

/// How much of a text is read, in octets: a whole reply of 1 KiB (BC-7), or the notice of a report.
pub const TEXT_MAX: usize = 4 * 1_024;
/// Most patterns of one book.
const PATTERNS_MAX: usize = 4_000;
/// Most octets that the compiled patterns may take.
const COMPILED_MAX: usize = 32 * 1_024 * 1_024;

/// Most octets of one file of an operator.
const OWN_MAX: usize = 256 * 1_024;
/// How much of a version of an operator's file is kept, in characters.
const VERSION_MAX: usize = 60;

const TEXTS: &str = include_str!("../../../../rules/bounces.toml");
const PROVIDERS: &str = include_str!("../../../../rules/bounces-providers.toml");

/// Why a set of rules cannot be used.
#[derive(Debug, Error)]
pub enum RuleError {
    /// Not TOML, or not of this shape.
    #[error("read the bounce rules: {0}")]
    Shape(#[from] toml::de::Error),
    /// A pattern that does not compile, or all of them together are too big.
    #[error("compile the patterns of the bounce rules: {0}; write them without back-references and look-around")]
    Pattern(#[from] regex::Error),
    /// A rule of an operator that does not do what its samples say.
    #[error("use the bounce rule {rule}: {fault}")]
    Sample {
        /// Its id.
        rule: String,
        /// The sample and what became of it.
        fault: String,
    },
    /// A file of an operator that is too long.
    #[error("read the bounce rules: the file is longer than 256 KiB; leave out what the shipped rules say already")]
    TooLong,
    /// A rule that says something impossible.
    #[error("use the bounce rule {rule}: {fault}")]
    Rule {
        /// Its id.
        rule: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// Who wrote a rule; the order is the precedence (BC-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The operator of this installation.
    Operator,
    /// Known of one provider.
    Provider,
    /// A text that many hosts use.
    Text,
}

/// One rule as it stands in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name, unique, kept with each attempt.
    pub id: String,
    /// The class, `C1` to `C21`.
    #[serde(deserialize_with = "class")]
    pub class: BounceClass,
    /// The provider whose hosts say so; none: anybody's.
    #[serde(default)]
    pub site: Option<String>,
    /// The text is so much the provider's own that the rule holds even when the site is not known.
    #[serde(default)]
    pub anywhere: bool,
    /// Stages at which it holds; none: all.
    #[serde(default, deserialize_with = "stages")]
    pub stages: Vec<Stage>,
    /// Beginnings of an enhanced status (`5.7.`, `5.4.1`) of which one must fit; none: any, and none at all.
    #[serde(default)]
    pub status: Vec<String>,
    /// Basic codes of which one must fit; none: any.
    #[serde(default)]
    pub codes: Vec<u16>,
    /// Patterns of which one must be found in the lowercase text.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// The words come from the system that holds the mailboxes, so that they prove an unknown mailbox at any stage.
    #[serde(default)]
    pub proof: bool,
    /// Holds only for words of the reporting host itself: no code, no step of a dialogue.
    #[serde(default)]
    pub own_words: bool,
    /// Says so little that an enhanced status comes before it.
    #[serde(default)]
    pub weak: bool,
    /// A 5yz that means "not now".
    #[serde(default)]
    pub passing: bool,
    /// Where it is published, or that it is our own observation.
    pub source: String,
    /// Replies that it must catch: `STAGE|REPLY`, or `REPLY` alone, at RCPT.
    pub yes: Vec<String>,
    /// Replies that it must leave alone.
    pub no: Vec<String>,
}

/// A provider and how its hosts are called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteName {
    /// Name used in rules and on the command line.
    pub name: String,
    /// Domains under which its MX hosts stand.
    pub hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    #[serde(default)]
    site: Vec<SiteName>,
    #[serde(default)]
    rule: Vec<Rule>,
}

fn class<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BounceClass, D::Error> {
    let word = String::deserialize(from)?;
    BounceClass::from_code(&word).ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no class, C1 to C21")))
}

fn stages<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Stage>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    let read = |word: &String| {
        Stage::parse(word).ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no stage of an attempt")))
    };
    words.iter().map(read).collect()
}

/// The rules of an installation, ready to be asked.
#[derive(Debug)]
pub struct RuleBook {
    version: String,
    sites: Vec<SiteName>,
    /// In the order of precedence.
    rules: Vec<(Origin, Rule)>,
    patterns: RegexSet,
    /// The rule of each pattern.
    owner: Vec<usize>,
}

static BUILT_IN: LazyLock<RuleBook> =
    LazyLock::new(|| RuleBook::new(None).expect("a test compiles the rules that ship with the program"));

impl RuleBook {
    /// The rules that ship with the program.
    pub fn built_in() -> &'static RuleBook {
        &BUILT_IN
    }

    /// The rules that ship, and those of an operator (TOML of the same shape) before them.
    ///
    /// # Errors
    /// [`RuleError`] names the rule and what is wrong.
    pub fn new(operator: Option<&str>) -> Result<RuleBook, RuleError> {
        RuleBook::read(TEXTS, PROVIDERS, operator)
    }

    /// A book from the texts of its files (TOML): rules for anybody's texts, rules of providers, an operator's own.
    ///
    /// # Errors
    /// [`RuleError`] names the rule and what is wrong.
    pub fn read(texts: &str, providers: &str, operator: Option<&str>) -> Result<RuleBook, RuleError> {
        RuleBook::read_all(texts, providers, operator.as_slice())
    }

    /// The rules that ship, and before them those of several files of the operator, the first file first. Each rule of an
    /// operator must do what its samples say.
    ///
    /// # Errors
    /// [`RuleError`] names the rule and what is wrong.
    pub fn with_own(own: &[&str]) -> Result<RuleBook, RuleError> {
        for text in own {
            if text.len() > OWN_MAX {
                return Err(RuleError::TooLong);
            }
        }
        // Each file by itself: a rule may well be hidden by one of a file before it.
        let mut alone = None;
        for text in own {
            let book = RuleBook::read_all(TEXTS, PROVIDERS, &[text])?;
            if let Some((rule, fault)) =
                super::sample::faults(&book, |origin| origin == Origin::Operator).into_iter().next()
            {
                return Err(RuleError::Sample { rule, fault });
            }
            alone = Some(book);
        }
        match (own, alone) {
            ([_], Some(book)) => Ok(book),
            (_, _) => RuleBook::read_all(TEXTS, PROVIDERS, own),
        }
    }

    fn read_all(texts: &str, providers: &str, own: &[&str]) -> Result<RuleBook, RuleError> {
        let texts: File = toml::from_str(texts)?;
        let providers: File = toml::from_str(providers)?;
        let mut version = texts.version;
        let mut rules: Vec<(Origin, Rule)> = Vec::new();
        for own in own {
            let own: File = toml::from_str(own)?;
            version = format!("{version}+{}", own.version.chars().take(VERSION_MAX).collect::<String>());
            rules.extend(own.rule.into_iter().map(|rule| (Origin::Operator, rule)));
        }
        rules.extend(providers.rule.into_iter().map(|rule| (Origin::Provider, rule)));
        rules.extend(texts.rule.into_iter().map(|rule| (Origin::Text, rule)));
        check(&rules, &providers.site)?;
        let mut all = Vec::new();
        let mut owner = Vec::new();
        for (at, (_, rule)) in rules.iter().enumerate() {
            all.extend(rule.patterns.iter());
            owner.extend(std::iter::repeat_n(at, rule.patterns.len()));
        }
        let patterns = RegexSetBuilder::new(all).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build()?;
        Ok(RuleBook { version, sites: providers.site, rules, patterns, owner })
    }

    /// The version of the rules, kept with what they decided (BC-7).
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Every rule with its origin, in the order of precedence.
    pub fn rules(&self) -> impl Iterator<Item = (Origin, &Rule)> {
        self.rules.iter().map(|(origin, rule)| (*origin, rule))
    }

    /// The rule of this id and who wrote it; `None` for `status.…`, `code.…` and ids that are gone.
    pub fn rule(&self, id: &str) -> Option<(Origin, &Rule)> {
        self.rules().find(|(_, rule)| rule.id == id)
    }

    /// Whether the rule of this id says little.
    pub(super) fn is_weak(&self, id: &str) -> bool {
        self.rules.iter().any(|(_, rule)| rule.weak && rule.id == id)
    }

    /// The names of providers that rules know.
    pub fn sites(&self) -> impl Iterator<Item = &str> {
        self.sites.iter().map(|site| site.name.as_str())
    }

    /// The provider that runs the host `name`, or whose own name this is.
    pub fn site_of(&self, name: &str) -> Option<&str> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let under = |domain: &String| {
            name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.sites.iter().find(|site| site.name == name || site.hosts.iter().any(under)).map(|site| site.name.as_str())
    }

    /// The first rule in the order of precedence that fits, and the first weak one.
    pub(super) fn find(&self, asked: &Asked<'_>) -> Found<'_> {
        let mut hit = vec![false; self.rules.len()];
        for pattern in self.patterns.matches(asked.text) {
            hit[self.owner[pattern]] = true;
        }
        let fits = |at: usize, rule: &Rule| (hit[at] || rule.patterns.is_empty()) && rule.fits(asked);
        let mut found = Found { strong: None, weak: None };
        for (at, (origin, rule)) in self.rules.iter().enumerate() {
            let place = if rule.weak { &mut found.weak } else { &mut found.strong };
            if place.is_none() && fits(at, rule) {
                *place = Some((*origin, rule));
            }
        }
        found
    }
}

/// What the rules say about a text.
pub(super) struct Found<'a> {
    pub(super) strong: Option<(Origin, &'a Rule)>,
    pub(super) weak: Option<(Origin, &'a Rule)>,
}

/// A reply as the rules look at it.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) stage: Option<Stage>,
    pub(super) code: Option<u16>,
    pub(super) status: Option<EnhancedStatus>,
    /// Lowercase, cut.
    pub(super) text: &'a str,
    pub(super) site: Option<&'a str>,
}

impl Rule {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let site = match &self.site {
            None => true,
            Some(site) => self.anywhere || asked.site == Some(site.as_str()),
        };
        let stage = self.stages.is_empty() || asked.stage.is_some_and(|stage| self.stages.contains(&stage));
        let code = self.codes.is_empty() || asked.code.is_some_and(|code| self.codes.contains(&code));
        let status = self.status.is_empty()
            || asked.status.is_some_and(|status| {
                let said = status.to_string();
                self.status.iter().any(|wanted| {
                    if wanted.ends_with('.') { said.starts_with(wanted.as_str()) } else { said == *wanted }
                })
            });
        let own_words = !self.own_words || asked.stage.is_none() && asked.code.is_none();
        site && stage && code && status && own_words
    }
}

/// What can be seen of a rule without asking it.
fn check(rules: &[(Origin, Rule)], sites: &[SiteName]) -> Result<(), RuleError> {
    let fault = |rule: &Rule, fault| Err(RuleError::Rule { rule: rule.id.clone(), fault });
    let mut seen = std::collections::BTreeSet::new();
    let mut patterns = 0;
    for (origin, rule) in rules {
        patterns += rule.patterns.len();
        if !seen.insert(rule.id.as_str()) {
            return fault(rule, "there are two of this id");
        }
        if rule.source.trim().is_empty() {
            return fault(rule, "it names no source; say \"our observation\" where none is published");
        }
        if *origin == Origin::Operator
            && (rule.id.is_empty() || rule.id.len() > 100 || !rule.id.bytes().all(|b| b.is_ascii_graphic()))
        {
            return fault(rule, "its id should be 1 to 100 visible ASCII characters");
        }
        if rule.yes.is_empty() || rule.no.is_empty() {
            return fault(rule, "it needs at least one positive and one negative sample");
        }
        if rule.patterns.is_empty() && rule.status.is_empty() && rule.codes.is_empty() {
            return fault(rule, "it has no condition");
        }
        if rule.patterns.iter().any(|pattern| pattern.chars().any(char::is_uppercase) && !pattern.contains('\\')) {
            return fault(rule, "texts are matched in lowercase; a capital letter never fits");
        }
        if *origin == Origin::Provider && rule.site.is_none() {
            return fault(rule, "a provider's rule names its site");
        }
        if rule.site.as_ref().is_some_and(|name| !sites.iter().any(|site| site.name == *name)) {
            return fault(rule, "its site is not in the list of sites");
        }
        if patterns > PATTERNS_MAX {
            return fault(rule, "there are more than 4,000 patterns");
        }
    }
    Ok(())
}
