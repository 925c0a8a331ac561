//! Steering of queues: what people may do to deliveries that wait, which of them a rule concerns, and what follows.
//!
//! Pure: a rule and the facts about a delivery go in, a verdict comes out. Must not know SQL, lanes or connections.

use serde::{Deserialize, Serialize};

use crate::id::{CampaignId, DeliveryId, MessageId, QueueRuleId, RouteId, WorkspaceId};
use crate::shaping::{Hold, HoldReason};
use crate::stream::Stream;

crate::words! {
    /// What is done to the deliveries that a rule concerns.
    pub enum SteerAction {
        /// Nothing of them is handed out while the rule stands; they stay ready.
        Suspend = "suspend",
        /// They are held until the rule ends or somebody releases them.
        Hold = "hold",
        /// They leave by another route of the workspace while the rule stands.
        Reroute = "reroute",
        /// They leave at this speed while the rule stands.
        Speed = "speed",
        /// Those that are held now are ready again.
        Release = "release",
        /// Those that are queued now end as cancelled.
        Cancel = "cancel",
        /// Those that are queued now end as rejected, with the words of whoever did it.
        Bounce = "bounce",
    }
}

/// How long a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until somebody or its time ends it; deliveries that come later are concerned as well.
    Standing,
    /// For the deliveries that there are when it is made, until all of them are dealt with.
    Once,
}

impl SteerAction {
    /// How long a rule with this action counts.
    pub const fn life(self) -> Life {
        match self {
            SteerAction::Suspend | SteerAction::Hold | SteerAction::Reroute | SteerAction::Speed => Life::Standing,
            SteerAction::Release | SteerAction::Cancel | SteerAction::Bounce => Life::Once,
        }
    }

    /// What was done, as in "suspended by Ann".
    pub const fn done(self) -> &'static str {
        match self {
            SteerAction::Suspend => "suspended",
            SteerAction::Hold => "held",
            SteerAction::Reroute => "rerouted",
            SteerAction::Speed => "speed set",
            SteerAction::Release => "released",
            SteerAction::Cancel => "cancelled",
            SteerAction::Bounce => "bounced",
        }
    }
}

/// How ids of egress sources begin, and those of their pools.
const SOURCE: &str = "src_";
const POOL: &str = "pol_";

/// Which deliveries of a workspace a rule concerns: those for which everything that is named is true. Nothing named: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteerScope {
    /// Of this campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<CampaignId>,
    /// Of this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// Whose From domain is this, lowercase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_domain: Option<String>,
    /// That go to this site, as the queue names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Whose recipient's domain is this, lowercase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// That leave from this source, as the queue names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Of this single message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
}

impl SteerScope {
    /// Whether nothing is named: everything of the workspace is concerned.
    pub fn is_everything(&self) -> bool {
        *self == SteerScope::default()
    }

    /// Whether it names a campaign, a message or a delivery, so that it concerns no mail of others in the workspace.
    pub const fn is_narrow(&self) -> bool {
        self.campaign.is_some() || self.message.is_some() || self.delivery.is_some()
    }

    /// Whether it names a site, or a source at a site, and nothing narrower: what is set for it can take the place of what was
    /// found out about the site.
    pub const fn is_of_site(&self) -> bool {
        let narrower = self.stream.is_some() || self.sending_domain.is_some() || self.domain.is_some();
        self.site.is_some() && !narrower && !self.is_narrow()
    }

    /// Whether an action can be done to what it names: from which source of a pool a delivery leaves is decided at its
    /// hand-out, so that only what is asked then can name one. `direct` and a route are known before.
    ///
    /// # Errors
    /// [`SteerError::Source`] or [`SteerError::Pool`].
    pub fn check_source(&self, action: SteerAction) -> Result<(), SteerError> {
        let Some(source) = self.source.as_deref() else { return Ok(()) };
        if source.starts_with(POOL) {
            return Err(SteerError::Pool(source.chars().take(64).collect()));
        }
        match action {
            SteerAction::Suspend | SteerAction::Speed => Ok(()),
            SteerAction::Hold
            | SteerAction::Reroute
            | SteerAction::Release
            | SteerAction::Cancel
            | SteerAction::Bounce
                if source.starts_with(SOURCE) =>
            {
                Err(SteerError::Source(source.chars().take(64).collect(), action))
            }
            SteerAction::Hold
            | SteerAction::Reroute
            | SteerAction::Release
            | SteerAction::Cancel
            | SteerAction::Bounce => Ok(()),
        }
    }

    /// The egress source that it names, when it looks like one.
    pub fn egress_source(&self) -> Option<&str> {
        self.source.as_deref().filter(|source| source.starts_with(SOURCE))
    }

    /// The scope in words: `campaign cmp_… and site google`.
    pub fn words(&self) -> String {
        let parts: Vec<String> = [
            self.campaign.map(|c| format!("campaign {c}")),
            self.stream.map(|s| format!("stream {s}")),
            self.sending_domain.as_ref().map(|d| format!("sending domain {d}")),
            self.site.as_ref().map(|s| format!("site {s}")),
            self.domain.as_ref().map(|d| format!("domain {d}")),
            self.source.as_ref().map(|s| format!("source {s}")),
            self.message.map(|m| format!("message {m}")),
            self.delivery.map(|d| format!("delivery {d}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { "everything".to_owned() } else { parts.join(" and ") }
    }
}

/// What is known about a delivery, or about all of a lane.
#[derive(Debug, Clone, Copy)]
pub struct SteerFacts<'a> {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its campaign, or none for a single message.
    pub campaign: Option<CampaignId>,
    /// Its stream.
    pub stream: Stream,
    /// The names under which its site is known: that of its domain, and that of the smarthost on the way.
    pub sites: [&'a str; 2],
    /// The source from which it leaves; `None` when that is not known here.
    pub source: Option<&'a str>,
    /// What is known of the single delivery; `None` when the facts are those of a whole lane.
    pub one: Option<OneFacts<'a>>,
}

/// What is known about a single delivery.
#[derive(Debug, Clone, Copy)]
pub struct OneFacts<'a> {
    /// Which.
    pub delivery: DeliveryId,
    /// Its single message, when it has one.
    pub message: Option<MessageId>,
    /// The recipient's domain, lowercase.
    pub domain: &'a str,
    /// The From domain, lowercase; `None` when that is not known here.
    pub sending_domain: Option<&'a str>,
}

/// Whether a rule concerns a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// That cannot be told from the facts: it must not begin before somebody knows more.
    Unknown,
}

impl Concern {
    const fn of(named: bool) -> Concern {
        if named { Concern::Yes } else { Concern::No }
    }

    /// Both must be so.
    const fn and(self, other: Concern) -> Concern {
        match (self, other) {
            (Concern::No, _) | (_, Concern::No) => Concern::No,
            (Concern::Unknown, _) | (_, Concern::Unknown) => Concern::Unknown,
            (Concern::Yes, Concern::Yes) => Concern::Yes,
        }
    }
}

/// Messages per second of a rule, in messages per 1,000 seconds, so that it is a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteerPace(pub i64);

impl SteerPace {
    /// The pace of so many messages per second.
    ///
    /// # Errors
    /// [`SteerError::Speed`] below one message in 1,000 seconds and above 10,000 a second.
    pub fn of(per_second: f64) -> Result<SteerPace, SteerError> {
        if !(0.001..=10_000.0).contains(&per_second) {
            return Err(SteerError::Speed);
        }
        Ok(SteerPace((per_second * 1_000.0).round() as i64))
    }

    /// Messages per second.
    pub fn per_second(self) -> f64 {
        self.0 as f64 / 1_000.0
    }
}

/// A rule that a person, or the program on a person's behalf, has set. Times are milliseconds UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct SteerRule {
    /// Which.
    pub id: QueueRuleId,
    /// Whose; `None` for the whole installation.
    pub workspace: Option<WorkspaceId>,
    /// What it does.
    pub action: SteerAction,
    /// To which deliveries.
    pub scope: SteerScope,
    /// The speed; with [`SteerAction::Speed`] only.
    pub pace: Option<SteerPace>,
    /// Connections at most to each site; with [`SteerAction::Speed`] only.
    pub connections: Option<u32>,
    /// The other route; with [`SteerAction::Reroute`] only.
    pub route: Option<RouteId>,
    /// What a report says; with [`SteerAction::Bounce`] only.
    pub text: String,
    /// Why.
    pub reason: String,
    /// Who, for people.
    pub by: String,
    /// Since when.
    pub since: i64,
    /// Until when, if it ends by itself.
    pub until: Option<i64>,
    /// The last delivery that it concerns; [`Life::Once`] only.
    pub last: Option<DeliveryId>,
    /// Every delivery that there was has been looked at once.
    pub swept: bool,
}

impl SteerRule {
    /// Whether it counts at `now`: its time is not over.
    pub fn counts(&self, now: i64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it concerns a delivery, or all of a lane.
    pub fn concerns(&self, facts: &SteerFacts<'_>) -> Concern {
        let scope = &self.scope;
        let mut concern = Concern::of(self.workspace.is_none_or(|w| w == facts.workspace))
            .and(Concern::of(scope.campaign.is_none_or(|c| Some(c) == facts.campaign)))
            .and(Concern::of(scope.stream.is_none_or(|s| s == facts.stream)))
            .and(Concern::of(scope.site.as_deref().is_none_or(|s| facts.sites.contains(&s))));
        if let Some(source) = scope.source.as_deref() {
            concern = concern.and(facts.source.map_or(Concern::Unknown, |s| Concern::of(s == source)));
        }
        let about_one = scope.delivery.is_some()
            || scope.message.is_some()
            || scope.domain.is_some()
            || scope.sending_domain.is_some();
        match &facts.one {
            Some(one) => {
                concern = concern
                    .and(Concern::of(self.last.is_none_or(|last| one.delivery <= last)))
                    .and(Concern::of(scope.delivery.is_none_or(|d| d == one.delivery)))
                    .and(Concern::of(scope.message.is_none_or(|m| Some(m) == one.message)))
                    .and(Concern::of(scope.domain.as_deref().is_none_or(|d| d == one.domain)));
                if let Some(wanted) = scope.sending_domain.as_deref() {
                    concern = concern.and(one.sending_domain.map_or(Concern::Unknown, |d| Concern::of(d == wanted)));
                }
                concern
            }
            None if about_one || self.last.is_some() => concern.and(Concern::Unknown),
            None => concern,
        }
    }

    /// What people are told of a delivery that it holds back.
    pub fn hold(&self) -> Hold {
        let (reason, detail) = match self.action {
            SteerAction::Speed => {
                let speed = self.pace.map(|pace| format!("{} a second, ", pace.per_second())).unwrap_or_default();
                (HoldReason::Speed, format!("{speed}set by {}: {}", self.by, self.reason))
            }
            SteerAction::Suspend
            | SteerAction::Hold
            | SteerAction::Reroute
            | SteerAction::Release
            | SteerAction::Cancel
            | SteerAction::Bounce => {
                (HoldReason::Rule, format!("{} by {}: {}", self.action.done(), self.by, self.reason))
            }
        };
        Hold { reason, since: Some(self.since), until: self.until, detail }
    }
}

/// What the rules say about a delivery that could be handed out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict<'r> {
    /// Nothing against it.
    Go,
    /// Not now: the rule that says so stands, or deals with the delivery.
    Stop(&'r SteerRule),
    /// It must be held by this rule.
    Hold(&'r SteerRule),
    /// It must go to a lane with the route of this rule.
    Reroute(&'r SteerRule),
}

/// The verdict of all rules at `now`; `route` is the route that a rule has given to the delivery's lane already. What
/// ends a delivery comes before what holds it, and that before what only keeps it waiting.
pub fn verdict<'r>(
    rules: impl IntoIterator<Item = &'r SteerRule>,
    facts: &SteerFacts<'_>,
    route: Option<RouteId>,
    now: i64,
) -> Verdict<'r> {
    let mut found = Verdict::Go;
    for rule in rules {
        if !rule.counts(now) {
            continue;
        }
        let sure = match rule.concerns(facts) {
            Concern::No => continue,
            Concern::Yes => true,
            Concern::Unknown => false,
        };
        found = match (rule.action, found) {
            (SteerAction::Cancel | SteerAction::Bounce, _) => return Verdict::Stop(rule),
            (SteerAction::Hold, _) if sure => Verdict::Hold(rule),
            (SteerAction::Hold | SteerAction::Suspend, Verdict::Go | Verdict::Reroute(_)) => Verdict::Stop(rule),
            (SteerAction::Reroute, Verdict::Go) if !sure => Verdict::Stop(rule),
            (SteerAction::Reroute, Verdict::Go) if rule.route != route => Verdict::Reroute(rule),
            (
                SteerAction::Hold
                | SteerAction::Suspend
                | SteerAction::Reroute
                | SteerAction::Speed
                | SteerAction::Release,
                before,
            ) => before,
        };
    }
    found
}

/// Why a rule is refused; reads after "could not steer the queue:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SteerError {
    /// No reason.
    #[error("give a reason of 1 to 300 characters on one line; others read it where mail waits")]
    Reason,
    /// A name that cannot be one.
    #[error("`{0}` is no {1}: give it as the queue shows it")]
    Name(String, &'static str),
    /// The speed.
    #[error("the speed should be 0.001 to 10,000 messages a second; to let nothing go, suspend")]
    Speed,
    /// The number of connections.
    #[error("connections should be 1 to 1,000")]
    Connections,
    /// Connections are a site's.
    #[error(
        "connections are set for a site, or a source at a site, and nothing narrower: leave the rest of the scope out"
    )]
    ConnectionsOfSite,
    /// A value that belongs to another action.
    #[error("`{0}` goes with `{1}` only")]
    Foreign(&'static str, SteerAction),
    /// A value that the action needs.
    #[error("`{1}` needs `{0}`")]
    Missing(&'static str, SteerAction),
    /// An egress source, with an action that is asked before one is chosen.
    #[error(
        "only `suspend` and `speed` can name the egress source {0}: from which source of a pool a delivery leaves is decided \
         when it is handed out, so there is nothing of it to {1} before; name the site, the campaign, the stream or the \
         sending domain instead"
    )]
    Source(String, SteerAction),
    /// A pool.
    #[error(
        "{0} is a pool, which no rule can name: suspend its sources one by one, or choose another pool in the route"
    )]
    Pool(String),
    /// The end.
    #[error("the end should lie ahead, at most a year away")]
    End,
    /// An end of something that is done once.
    #[error("`{0}` is done once and has no end of its own")]
    Endless(SteerAction),
    /// The words of a bounce.
    #[error("say in `text` what reports will show, 1 to 300 characters on one line")]
    Text,
}

/// The longest time after which a rule ends by itself: a year.
const LONGEST_MS: i64 = 366 * 86_400_000;

/// A rule as somebody wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSteerRule {
    /// What it does.
    pub action: SteerAction,
    /// To which deliveries.
    pub scope: SteerScope,
    /// The speed.
    pub pace: Option<SteerPace>,
    /// Connections at most to each site.
    pub connections: Option<u32>,
    /// The other route.
    pub route: Option<RouteId>,
    /// What a report says.
    pub text: String,
    /// Why.
    pub reason: String,
    /// When it ends by itself, milliseconds UTC.
    pub until: Option<i64>,
}

impl NewSteerRule {
    /// A rule with nothing but what every rule has.
    pub fn of(action: SteerAction, scope: SteerScope, reason: &str) -> NewSteerRule {
        NewSteerRule {
            action,
            scope,
            pace: None,
            connections: None,
            route: None,
            text: String::new(),
            reason: reason.to_owned(),
            until: None,
        }
    }

    /// Checks what a person wrote, at `now`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, now: i64) -> Result<(), SteerError> {
        let line =
            |text: &str| !text.trim().is_empty() && text.chars().count() <= 300 && !crate::contact::has_control(text);
        if !line(&self.reason) {
            return Err(SteerError::Reason);
        }
        let name = |text: &Option<String>, what, allowed: &str| {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || allowed.contains(c);
            match text {
                Some(t) if t.is_empty() || t.len() > 255 || !t.chars().all(letter) => {
                    Err(SteerError::Name(t.chars().take(64).collect(), what))
                }
                Some(_) | None => Ok(()),
            }
        };
        name(&self.scope.domain, "domain of recipients", "-.")?;
        name(&self.scope.sending_domain, "sending domain", "-.")?;
        name(&self.scope.site, "site", "-._[]:")?;
        name(&self.scope.source, "source", "-._[]:")?;
        self.scope.check_source(self.action)?;
        let speed = self.action == SteerAction::Speed;
        match (self.pace, self.connections) {
            (None, None) if speed => return Err(SteerError::Missing("per_second", self.action)),
            (Some(_), _) if !speed => return Err(SteerError::Foreign("per_second", SteerAction::Speed)),
            (_, Some(_)) if !speed => return Err(SteerError::Foreign("connections", SteerAction::Speed)),
            (_, Some(n)) if !(1..=1_000).contains(&n) => return Err(SteerError::Connections),
            (_, Some(_)) if !self.scope.is_of_site() => return Err(SteerError::ConnectionsOfSite),
            (Some(_) | None, Some(_) | None) => {}
        }
        match (self.route, self.action == SteerAction::Reroute) {
            (None, true) => return Err(SteerError::Missing("route", self.action)),
            (Some(_), false) => return Err(SteerError::Foreign("route", SteerAction::Reroute)),
            (Some(_), true) | (None, false) => {}
        }
        match self.action {
            SteerAction::Bounce if !line(&self.text) => return Err(SteerError::Text),
            SteerAction::Bounce => {}
            _ if !self.text.is_empty() => return Err(SteerError::Foreign("text", SteerAction::Bounce)),
            SteerAction::Suspend
            | SteerAction::Hold
            | SteerAction::Reroute
            | SteerAction::Speed
            | SteerAction::Release
            | SteerAction::Cancel => {}
        }
        match (self.until, self.action.life()) {
            (Some(_), Life::Once) => Err(SteerError::Endless(self.action)),
            (Some(until), Life::Standing) if until <= now || until > now + LONGEST_MS => Err(SteerError::End),
            (Some(_) | None, Life::Standing | Life::Once) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
