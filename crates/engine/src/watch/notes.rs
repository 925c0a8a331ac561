//! What the rest of the engine notes in passing for the look-out: refusals that are about us, hosts with and without TLS,
//! answers of DNS, trouble with the store. In memory, bounded, of this node only.
//!
//! Times are milliseconds of the monotonic clock. Must not know the alarm table.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSeverity, Sight, Wrong};
use postrider_domain::bounce::BounceClass;
use postrider_domain::id::WorkspaceId;
use postrider_domain::shaping::reply_for_people;
use serde_json::json;

use crate::judge::Ended;

/// What happened longer ago is no sign of now.
const FRESH_MS: i64 = 10 * 60_000;
/// So many refusals about our address, name or signature within that time are a block.
const BLOCKS: usize = 3;
/// So many about what a message says or how it is written: one message may be odd.
const DOUBTS: usize = 10;
/// So many errors of the store within a minute are trouble.
const TROUBLES: usize = 3;
const MINUTE: i64 = 60_000;
/// Most sites and hosts that are remembered.
const MOST: usize = 20_000;
/// Fewer questions to DNS than this say nothing.
const LEAST_QUESTIONS: u32 = 10;
/// Fewer names than this may all be broken by themselves.
const LEAST_NAMES: usize = 3;

type Place = (Option<WorkspaceId>, String);

#[derive(Default)]
struct Signals {
    /// When, and whether it was about what the message says.
    at: VecDeque<(i64, bool)>,
    reply: String,
    class: Option<BounceClass>,
}

#[derive(Default)]
struct Tls {
    good_at: Option<i64>,
    lost_at: Option<i64>,
    domain: String,
    why: String,
}

/// A minute of DNS.
#[derive(Default)]
struct Dns {
    minute: i64,
    answered: u32,
    silent: u32,
    names: Vec<String>,
    why: String,
}

#[derive(Default)]
struct Inner {
    signals: HashMap<Place, Signals>,
    tls: HashMap<String, Tls>,
    /// This minute and the one before.
    dns: [Dns; 2],
    troubles: VecDeque<i64>,
    trouble: String,
}

/// The notes.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Inner>);

/// What was seen of one thing.
pub(super) type Seen = BTreeMap<AlarmKey, Sight>;

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store gave an error.
    pub(crate) fn trouble(&self, now: i64, doing: &str) {
        let mut inner = self.lock();
        inner.troubles.push_back(now);
        while inner.troubles.len() > TROUBLES {
            inner.troubles.pop_front();
        }
        inner.trouble = doing.to_owned();
    }

    /// An attempt ended: is it a sign that we are blocked?
    pub(crate) fn heard(&self, now: i64, workspace: WorkspaceId, site: &str, ended: &Ended) {
        let (Some(class), Some(_)) = (ended.class, ended.code) else { return };
        // Our address is everybody's; a domain, a signature and a text are the workspace's.
        let (owner, of_content) = match class {
            BounceClass::BlockedIp => (None, false),
            BounceClass::BlockedDomain | BounceClass::AuthFailed => (Some(workspace), false),
            BounceClass::SpamContent | BounceClass::Protocol => (Some(workspace), true),
            BounceClass::InvalidRecipient
            | BounceClass::DisabledRecipient
            | BounceClass::MovedRecipient
            | BounceClass::MailboxFull
            | BounceClass::BadDomain
            | BounceClass::UnreachableHost
            | BounceClass::Transient
            | BounceClass::RateLimited
            | BounceClass::RecipientPolicy
            | BounceClass::TooBig
            | BounceClass::TooMany
            | BounceClass::Expired
            | BounceClass::AutoReply
            | BounceClass::Complaint
            | BounceClass::Unsubscribe
            | BounceClass::Unknown => return,
        };
        let mut inner = self.lock();
        if inner.signals.len() >= MOST {
            inner.signals.retain(|_, s| s.at.back().is_some_and(|(at, _)| now - at < FRESH_MS));
        }
        let signals = inner.signals.entry((owner, site.to_owned())).or_default();
        signals.at.push_back((now, of_content));
        while signals.at.len() > BLOCKS + DOUBTS {
            signals.at.pop_front();
        }
        signals.reply = reply_for_people(&ended.text);
        signals.class = Some(class);
    }

    /// A connection to an MX host stands, in TLS or in clear.
    pub(crate) fn connected(&self, now: i64, host: &str, domain: &str, encrypted: bool) {
        let mut inner = self.lock();
        if !encrypted && !inner.tls.contains_key(host) {
            // Perhaps it had TLS before this process began: the look-out asks the store.
            note_tls(&mut inner, now, host, domain).why = UNSURE.to_owned();
            return;
        }
        let tls = note_tls(&mut inner, now, host, domain);
        match (encrypted, tls.good_at) {
            (true, _) => tls.good_at = Some(now),
            (false, Some(_)) => {
                tls.lost_at = Some(now);
                tls.why = "it offers none now, and mail went in clear".to_owned();
            }
            (false, None) => {}
        }
    }

    /// The TLS of a host is not what the policy of a domain asks for: nothing was sent.
    pub(crate) fn tls_refused(&self, now: i64, host: &str, domain: &str, why: &str) {
        let mut inner = self.lock();
        let tls = note_tls(&mut inner, now, host, domain);
        tls.lost_at = Some(now);
        tls.why = why.to_owned();
    }

    /// Hosts that were reached in clear and of whose past nothing is known here.
    pub(super) fn unsure_hosts(&self) -> Vec<String> {
        let inner = self.lock();
        inner.tls.iter().filter(|(_, tls)| tls.why == UNSURE).map(|(host, _)| host.clone()).take(100).collect()
    }

    /// Whether such a host had TLS in the last days.
    pub(super) fn learn_past(&self, now: i64, host: &str, had_tls: bool) {
        if let Some(tls) = self.lock().tls.get_mut(host).filter(|tls| tls.why == UNSURE) {
            tls.why.clear();
            if had_tls {
                tls.good_at = Some(now - 1);
                tls.lost_at = Some(now);
                tls.why = "it offers none now, and mail went in clear".to_owned();
            }
        }
    }

    /// DNS answered a question about a name, or did not.
    pub(crate) fn dns(&self, now: i64, name: &str, answer: Result<(), &str>) {
        let mut inner = self.lock();
        let minute = now.div_euclid(MINUTE);
        if inner.dns[0].minute != minute {
            inner.dns.swap(0, 1);
            inner.dns[0] = Dns { minute, ..Dns::default() };
        }
        let dns = &mut inner.dns[0];
        match answer {
            Ok(()) => dns.answered = dns.answered.saturating_add(1),
            Err(why) => {
                dns.silent = dns.silent.saturating_add(1);
                dns.why = why.to_owned();
                // Names of one domain may all be broken by themselves.
                let zone = name.trim_end_matches('.').rsplitn(3, '.').take(2).collect::<Vec<_>>().join(".");
                if dns.names.len() < LEAST_NAMES && !dns.names.contains(&zone) {
                    dns.names.push(zone);
                }
            }
        }
    }

    /// What the notes say now, for the node of this name.
    pub(super) fn sights(&self, now: i64, node: &str, seen: &mut Seen) {
        let inner = self.lock();
        for ((owner, site), signals) in &inner.signals {
            let fresh = || signals.at.iter().filter(|(at, _)| now - at < FRESH_MS);
            let content = fresh().filter(|(_, of_content)| *of_content).count();
            let us = fresh().count() - content;
            if us >= BLOCKS || content >= DOUBTS {
                let facts = json!({ "reply": signals.reply, "class": signals.class.map(BounceClass::code) });
                let key = AlarmKey { workspace: *owner, kind: AlarmKind::Block, subject: site.clone() };
                seen.insert(key, wrong(AlarmSeverity::Critical, facts));
            }
        }
        for (host, tls) in &inner.tls {
            let sight = match (tls.lost_at, tls.good_at) {
                (Some(lost), Some(good)) if good > lost => Sight::Well,
                (Some(lost), _) if now - lost < FRESH_MS => {
                    wrong(AlarmSeverity::Warning, json!({ "domain": tls.domain, "why": tls.why }))
                }
                (Some(_) | None, _) => continue,
            };
            seen.insert(AlarmKey::of_installation(AlarmKind::TlsLost, host.as_str()), sight);
        }
        let minute = now.div_euclid(MINUTE);
        let recent: Vec<&Dns> = inner.dns.iter().filter(|dns| minute - dns.minute <= 1).collect();
        let (answered, silent) = recent.iter().fold((0, 0), |(a, s), dns| (a + dns.answered, s + dns.silent));
        let names = recent.iter().flat_map(|dns| &dns.names).collect::<std::collections::BTreeSet<_>>().len();
        if answered == 0 && silent >= LEAST_QUESTIONS && names >= LEAST_NAMES {
            let why = recent.iter().map(|dns| &dns.why).find(|why| !why.is_empty());
            let facts = json!({ "questions": silent, "why": why });
            seen.insert(AlarmKey::of_installation(AlarmKind::Dns, node), wrong(AlarmSeverity::Critical, facts));
        }
        let troubles = inner.troubles.iter().filter(|at| now - **at < MINUTE).count();
        if troubles >= TROUBLES {
            let facts = json!({ "why": format!("it could not {}, among others", inner.trouble) });
            seen.insert(AlarmKey::of_installation(AlarmKind::Database, node), wrong(AlarmSeverity::Critical, facts));
        }
    }
}

/// Written where a host was reached in clear and nothing is known of its past.
const UNSURE: &str = "?";

fn note_tls<'a>(inner: &'a mut Inner, now: i64, host: &str, domain: &str) -> &'a mut Tls {
    if inner.tls.len() >= MOST {
        // Good hosts are found again; what is lost is kept while it counts.
        inner.tls.retain(|_, tls| tls.lost_at.is_some_and(|at| now - at < FRESH_MS));
    }
    let tls = inner.tls.entry(host.to_owned()).or_default();
    if tls.domain != domain {
        tls.domain = domain.to_owned();
    }
    tls
}

pub(super) fn wrong(severity: AlarmSeverity, facts: serde_json::Value) -> Sight {
    Sight::Wrong(Wrong { severity, level: 0, facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_mail::Stage;

    const WORKSPACE: WorkspaceId = WorkspaceId(7);

    fn refused(class: BounceClass) -> Ended {
        Ended { code: Some(550), ..Ended::rejected(Stage::Dot, class, None, "550 5.7.1 <ann@example.org> no") }
    }

    fn seen(notes: &Notes, now: i64) -> Vec<(AlarmKind, Option<WorkspaceId>, String, bool)> {
        let mut seen = Seen::new();
        notes.sights(now, "main", &mut seen);
        seen.into_iter()
            .map(|(key, sight)| (key.kind, key.workspace, key.subject, matches!(sight, Sight::Wrong(_))))
            .collect()
    }

    #[test]
    fn three_refusals_of_our_address_or_name_are_a_block_and_ten_of_a_text() {
        let notes = Notes::default();
        let hear = |class, n: usize, now| (0..n).for_each(|_| notes.heard(now, WORKSPACE, "gmx", &refused(class)));
        hear(BounceClass::BlockedIp, 2, 0);
        hear(BounceClass::SpamContent, 9, 0);
        hear(BounceClass::InvalidRecipient, 100, 0);
        hear(BounceClass::RecipientPolicy, 100, 0);
        assert_eq!(seen(&notes, 0), []);
        hear(BounceClass::BlockedIp, 1, 1);
        assert_eq!(seen(&notes, 1), [(AlarmKind::Block, None, "gmx".into(), true)]);
        hear(BounceClass::SpamContent, 1, 1);
        assert_eq!(seen(&notes, 1).len(), 2);
        assert_eq!(seen(&notes, FRESH_MS + 1), [], "long ago");
        let mut found = Seen::new();
        notes.sights(1, "main", &mut found);
        let Some(Sight::Wrong(wrong)) = found.values().next() else { panic!("{found:?}") };
        assert!(!wrong.facts.to_string().contains("ann@"), "{}", wrong.facts);
    }

    #[test]
    fn tls_that_was_there_and_is_not_is_lost_until_it_is_back() {
        let notes = Notes::default();
        notes.connected(0, "mx.never.test", "never.test", false);
        assert_eq!(notes.unsure_hosts(), ["mx.never.test"]);
        notes.learn_past(0, "mx.never.test", false);
        notes.connected(1, "mx.never.test", "never.test", false);
        notes.connected(1, "mx.good.test", "good.test", true);
        assert_eq!((seen(&notes, 1), notes.unsure_hosts()), (vec![], vec![]));
        notes.connected(2, "mx.good.test", "good.test", false);
        let lost = |wrong| [(AlarmKind::TlsLost, None, "mx.good.test".to_owned(), wrong)];
        assert_eq!(seen(&notes, 2), lost(true));
        notes.connected(3, "mx.good.test", "good.test", true);
        assert_eq!(seen(&notes, 3), lost(false));
        notes.tls_refused(4, "mx.good.test", "good.test", "the certificate has expired");
        assert_eq!(seen(&notes, 4), lost(true));
        // A host whose past only the store knows.
        let notes = Notes::default();
        notes.connected(5, "mx.good.test", "good.test", false);
        notes.learn_past(6, "mx.good.test", true);
        assert_eq!(seen(&notes, 6), lost(true));
    }

    #[test]
    fn dns_is_silent_when_nothing_is_answered_of_several_domains() {
        let notes = Notes::default();
        for n in 0..20 {
            notes.dns(n, &format!("mx{n}.broken.test"), Err("SERVFAIL"));
        }
        assert_eq!(seen(&notes, 20), [], "one domain may be broken by itself");
        for n in 0..3 {
            notes.dns(21, &format!("d{n}.example{n}"), Err("no answer in time"));
        }
        assert_eq!(seen(&notes, 21), [(AlarmKind::Dns, None, "main".into(), true)]);
        notes.dns(22, "good.test", Ok(()));
        assert_eq!(seen(&notes, 22), []);
        assert_eq!(seen(&notes, 200_000), []);
    }

    #[test]
    fn the_store_is_in_trouble_after_three_errors_of_a_minute() {
        let notes = Notes::default();
        for at in [0, 30_000, 61_000, 90_000] {
            notes.trouble(at, "lease lanes");
            assert_eq!(seen(&notes, at), [], "{at}");
        }
        notes.trouble(91_000, "lease lanes");
        assert_eq!(seen(&notes, 91_000), [(AlarmKind::Database, None, "main".into(), true)]);
        assert_eq!(seen(&notes, 200_000), []);
    }
}
