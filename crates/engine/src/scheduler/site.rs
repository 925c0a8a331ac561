//! The limits of each source × site: shared by all places (routes) that lead there, learned from its replies.
//!
//! Must not know lanes or rows.

use std::collections::{HashMap, VecDeque};

use postrider_domain::bounce::BounceClass;
use postrider_domain::id::WorkspaceId;
use postrider_domain::outcome::AttemptResult;
use postrider_domain::shaping::{
    Heard, Hold, Profiles, Reply, ReplyView, Rule, SetSpeed, Shaper, SiteSettings, Stopped, TlsDemand, Trouble,
    reply_for_people,
};
use postrider_mail::Stage;

use crate::judge::Ended;
use crate::plan::Source;

/// Replies shown to people.
const REPLIES: usize = 5;
/// What was learned of a site to which nothing goes any more is kept so long, in milliseconds.
const KEPT_MS: i64 = 6 * 3_600_000;

/// Whose limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SiteKey {
    pub(crate) source: Source,
    pub(crate) site: String,
    /// A workspace with limits of its own there.
    pub(crate) own: Option<WorkspaceId>,
}

/// A speed that somebody set for a site.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SiteSpeed {
    /// Whose mail; `None` for that of all.
    pub(super) workspace: Option<WorkspaceId>,
    /// From which source, as people name it; `None` from all.
    pub(super) source: Option<String>,
    pub(super) site: String,
    pub(super) speed: SetSpeed,
}

impl SiteSpeed {
    fn is_for(&self, source: &Source, site: &str) -> bool {
        self.site == site && self.source.as_ref().is_none_or(|named| *named == source.rule_name())
    }
}

/// How a connection is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Messages over it.
    pub(crate) per_connection: u32,
    /// Its protection.
    pub(crate) tls: TlsDemand,
}

/// A source × site.
pub(super) struct SiteEntry {
    pub(super) key: SiteKey,
    pub(super) shaper: Shaper,
    /// Connections of all its places.
    pub(super) couriers: usize,
    /// Places that lead there.
    pub(super) spots: usize,
    without_rules: Vec<String>,
    replies: VecDeque<ReplyView>,
    heard_at: i64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Sites {
    numbers: HashMap<SiteKey, u32>,
    entries: HashMap<u32, SiteEntry>,
    settings: HashMap<(WorkspaceId, String), SiteSettings>,
    /// Speeds that somebody set for sites as a whole.
    speeds: Vec<SiteSpeed>,
    /// Stops of an earlier life, in milliseconds of the monotonic clock.
    stops: HashMap<(String, String), Stopped>,
    /// Sites that are held whatever the source; milliseconds of the monotonic clock.
    held: HashMap<String, Stopped>,
    next: u32,
}

impl Sites {
    fn key(&self, source: &Source, site: &str, workspace: WorkspaceId) -> SiteKey {
        let by_speed = || self.speeds.iter().any(|s| s.workspace == Some(workspace) && s.is_for(source, site));
        let own = self.settings.contains_key(&(workspace, site.to_owned())) || by_speed();
        let own = own.then_some(workspace);
        SiteKey { source: source.clone(), site: site.to_owned(), own }
    }

    /// The entry of a workspace's mail at a site; made when there is none. Counts one place more.
    pub(super) fn enter(&mut self, source: &Source, site: &str, workspace: WorkspaceId) -> u32 {
        let key = self.key(source, site, workspace);
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                self.next = self.next.wrapping_add(1);
                let number = self.next;
                let mut entry = SiteEntry {
                    shaper: Shaper::new(Profiles::shipped().limits(site)),
                    key: key.clone(),
                    couriers: 0,
                    spots: 0,
                    without_rules: Vec::new(),
                    replies: VecDeque::new(),
                    heard_at: i64::MIN,
                };
                if let Some(stop) = self.stops.get(&(source.to_string(), site.to_owned())) {
                    entry.shaper.keep_stop(stop.clone());
                }
                if let Some(stop) = self.held.get(site) {
                    entry.shaper.keep_stop(stop.clone());
                }
                self.numbers.insert(key.clone(), number);
                self.entries.insert(number, entry);
                self.configure(number);
                number
            }
        };
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.spots += 1;
        }
        number
    }

    /// A place leads there no more.
    pub(super) fn leave(&mut self, number: u32, now: i64) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        entry.spots = entry.spots.saturating_sub(1);
        if entry.spots == 0 && entry.shaper.is_plain(now) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u32) {
        if let Some(entry) = self.entries.remove(&number) {
            self.numbers.remove(&entry.key);
        }
    }

    /// Forgets what was learned long ago and is used by nobody.
    pub(super) fn tidy(&mut self, now: i64) {
        let old: Vec<u32> = self
            .entries
            .iter()
            .filter(|(_, e)| e.spots == 0 && e.couriers == 0 && now.saturating_sub(e.heard_at) > KEPT_MS)
            .map(|(number, _)| *number)
            .collect();
        old.into_iter().for_each(|number| self.forget(number));
        self.stops.retain(|_, stop| stop.until > now);
        self.held.retain(|_, stop| stop.until > now);
    }

    /// Holds a site, from whatever source mail goes there.
    pub(super) fn hold(&mut self, site: &str, stop: &Stopped) {
        for entry in self.entries.values_mut().filter(|entry| entry.key.site == site) {
            entry.shaper.keep_stop(stop.clone());
        }
        self.held.insert(site.to_owned(), stop.clone());
    }

    /// Lets a site go on that was held by this rule.
    pub(super) fn release(&mut self, site: &str, rule: &str) {
        self.held.remove(site);
        for entry in self.entries.values_mut().filter(|entry| entry.key.site == site) {
            entry.shaper.lift_stop(rule);
        }
    }

    /// Whether the settings that count for a workspace at a site have changed so that it has another entry now.
    pub(super) fn has_moved(&self, number: u32, workspace: WorkspaceId) -> bool {
        self.entries.get(&number).is_none_or(|e| self.key(&e.key.source, &e.key.site, workspace) != e.key)
    }

    /// Takes over what workspaces have set; entries that stay get their new limits at once.
    pub(super) fn set_settings(&mut self, settings: HashMap<(WorkspaceId, String), SiteSettings>) {
        if self.settings != settings {
            self.settings = settings;
            let numbers: Vec<u32> = self.entries.keys().copied().collect();
            numbers.into_iter().for_each(|number| self.configure(number));
        }
    }

    /// Takes over the speeds that somebody set for sites.
    pub(super) fn set_speeds(&mut self, speeds: Vec<SiteSpeed>) {
        if self.speeds != speeds {
            self.speeds = speeds;
            let numbers: Vec<u32> = self.entries.keys().copied().collect();
            numbers.into_iter().for_each(|number| self.configure(number));
        }
    }

    fn configure(&mut self, number: u32) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let SiteKey { source, site, own } = &entry.key;
        // A workspace's own comes before that of the installation.
        let fitting = |s: &&SiteSpeed| s.is_for(source, site) && (s.workspace.is_none() || s.workspace == *own);
        let speed = self.speeds.iter().filter(fitting).max_by_key(|s| s.workspace.is_some());
        entry.shaper.steer(speed.map(|s| s.speed.clone()));
        let limits = Profiles::shipped().limits(&entry.key.site);
        let set = entry.key.own.and_then(|own| self.settings.get(&(own, entry.key.site.clone())));
        match set {
            Some(set) => {
                entry.shaper.set_limits(set.over(limits));
                entry.without_rules.clone_from(&set.without_rules);
            }
            None => {
                entry.shaper.set_limits(limits);
                entry.without_rules.clear();
            }
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut SiteEntry> {
        self.entries.get_mut(&number)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut SiteEntry)> {
        self.entries.iter_mut().map(|(number, entry)| (*number, entry))
    }

    /// Connections that may be open there now, and how many are.
    pub(super) fn connections(&mut self, number: u32, now: i64) -> (usize, usize) {
        self.entries
            .get_mut(&number)
            .map_or((usize::MAX, 0), |e| (usize::try_from(e.shaper.connections(now)).unwrap_or(usize::MAX), e.couriers))
    }

    /// One connection more.
    pub(super) fn courier_begins(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.couriers += 1;
        }
    }

    /// One connection less.
    pub(super) fn courier_ends(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.couriers = entry.couriers.saturating_sub(1);
        }
    }

    /// How connections to a site are used.
    pub(super) fn manner(&self, number: u32, now: i64) -> Manner {
        self.entries.get(&number).map_or(Manner { per_connection: u32::MAX, tls: TlsDemand::Opportunistic }, |e| {
            Manner { per_connection: e.shaper.per_connection(now), tls: e.shaper.limits().tls }
        })
    }

    /// Notes what an attempt told. Gives the stop that begins with it.
    pub(super) fn hear(&mut self, number: u32, word: &Word, now: i64, utc: i64) -> Option<(SiteKey, Stopped)> {
        let entry = self.entries.get_mut(&number)?;
        entry.heard_at = now;
        let open = u32::try_from(entry.couriers).unwrap_or(u32::MAX);
        if !word.line.is_empty() {
            match entry.replies.front_mut().filter(|r| r.text == word.line) {
                Some(same) => {
                    same.at = utc;
                    same.times = same.times.saturating_add(1);
                }
                None => {
                    entry.replies.push_front(ReplyView { at: utc, text: word.line.clone(), times: 1 });
                    entry.replies.truncate(REPLIES);
                }
            }
        }
        let heard = match word.rule {
            Some(rule) if !entry.without_rules.contains(&rule.name) => Heard::Rule(rule, &word.line),
            Some(_) | None => word.plainly,
        };
        let stopped = entry.shaper.hear(now, open, heard)?;
        let key = entry.key.clone();
        // The address is stopped, whoever sends from it.
        for other in self.entries.values_mut() {
            if other.key.source == key.source && other.key.site == key.site && other.key != key {
                other.shaper.keep_stop(stopped.clone());
            }
        }
        Some((key, stopped))
    }

    /// Takes over stops of an earlier life, by the words for source and site.
    pub(super) fn keep_stops(&mut self, stops: Vec<(String, String, Stopped)>) {
        for (source, site, stop) in stops {
            for entry in self.entries.values_mut() {
                if entry.key.site == site && entry.key.source.to_string() == source {
                    entry.shaper.keep_stop(stop.clone());
                }
            }
            self.stops.insert((source, site), stop);
        }
    }
}

impl SiteEntry {
    pub(super) fn replies(&self) -> Vec<ReplyView> {
        self.replies.iter().cloned().collect()
    }
}

/// An attempt's end as the site meant it; made without holding anything.
pub(crate) struct Word {
    rule: Option<&'static Rule>,
    plainly: Heard<'static>,
    /// The reply as people may read it; empty when it took the message.
    line: String,
}

impl Word {
    /// Reads an attempt's end.
    pub(crate) fn of(site: &str, ended: &Ended) -> Word {
        let nothing = |plainly| Word { rule: None, plainly, line: String::new() };
        match (ended.result, ended.code) {
            (AttemptResult::Accepted, _) => nothing(Heard::Accepted),
            // What DNS said is nothing that the site did.
            (_, _) if ended.stage == Stage::Resolve => nothing(Heard::Answered),
            (_, None) => Word {
                rule: None,
                plainly: match ended.stage {
                    Stage::Connect | Stage::Resolve => Heard::Answered,
                    _ if ended.result == AttemptResult::Broken => Heard::Trouble(Trouble::TimedOut),
                    _ => Heard::Answered,
                },
                line: reply_for_people(&ended.text),
            },
            (_, Some(code)) => {
                let reply = Reply::parse(&ended.text).unwrap_or(Reply {
                    code,
                    enhanced: ended.enhanced.as_deref(),
                    text: &ended.text,
                });
                let early = matches!(ended.stage, Stage::Greeting | Stage::Ehlo | Stage::Mail);
                let plainly = match ended.class {
                    Some(BounceClass::TooMany) => Heard::TooMany,
                    Some(BounceClass::RateLimited) => Heard::TooFast,
                    _ if code == 421 && early => Heard::TooMany,
                    _ => Heard::Answered,
                };
                let rule = Profiles::shipped().rule(site, &reply);
                Word { rule, plainly, line: reply_for_people(&ended.text) }
            }
        }
    }
}

/// A hold of the monotonic clock as people read it.
pub(super) fn in_utc(hold: Hold, now: i64, utc: i64) -> Hold {
    let at = |t: i64| t.saturating_sub(now).saturating_add(utc);
    Hold { since: hold.since.map(at), until: hold.until.map(at), ..hold }
}
