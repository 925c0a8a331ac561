//! What the store, the disk and the clocks say is wrong now.
//!
//! Must not decide what becomes of it.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use postrider_domain::alarm::{AlarmKey, AlarmKind, AlarmSeverity, Sight, Verdict, Wrong};
use postrider_domain::campaign::CampaignState;
use postrider_domain::id::NodeId;
use postrider_store::StoreError;
use postrider_store::alarm_watch::CampaignFare;
use postrider_store::transport::day_of;
use serde_json::{Value, json};

use super::notes::{Seen, wrong};
use crate::shared::Shared;

/// A wall clock that moves by more than this against the monotonic one was set.
const JUMP_MS: i64 = 30_000;
/// A jump is told so long.
const JUMP_FOR_MS: i64 = 5 * 60_000;
/// Two nodes may differ by this much; a sign of life is a second old, and a busy node is late.
const APART_MS: i64 = 10_000;
/// A look that takes longer than this is a sign of a slow database.
const SLOW: Duration = Duration::from_secs(5);
/// So many slow looks in a row are no accident.
const SLOW_LOOKS: u32 = 3;
/// A certificate is told of so many days before its end, and is critical from then on.
const CERTIFICATE_DAYS: i64 = 21;
const CERTIFICATE_CRITICAL: i64 = 7;
const DAY_MS: i64 = 86_400_000;
/// What TLS a host had is asked of the counts of so many days.
const TLS_DAYS: i64 = 3;

/// What is remembered between two looks.
pub(super) struct Sights {
    /// Wall clock less monotonic clock.
    apart: i64,
    /// When the wall clock jumped, on the monotonic clock, and by how much.
    jumped: Option<(i64, i64)>,
    /// Signs of life of the other nodes.
    beats: HashMap<NodeId, i64>,
    slow: u32,
}

/// Kinds that could not be looked at.
type Blind = BTreeSet<AlarmKind>;

impl Sights {
    pub(super) fn new(shared: &Shared) -> Sights {
        Sights { apart: shared.now() - shared.monotonic(), jumped: None, beats: HashMap::new(), slow: 0 }
    }

    /// Looks at everything; which kinds could not be looked at.
    pub(super) async fn look(&mut self, shared: &Shared, seen: &mut Seen) -> Blind {
        let mut blind = Blind::new();
        let begun = Instant::now();
        let mut note = |kinds: &[AlarmKind], looked: Result<(), StoreError>| {
            if let Err(error) = looked {
                shared.complain("look for what is wrong", &error);
                blind.extend(kinds.iter().copied());
            }
        };
        note(&[AlarmKind::Disk], disk(shared, seen));
        note(&[AlarmKind::Clock], self.clocks(shared, seen).await);
        note(&[AlarmKind::Bounces, AlarmKind::Complaints], rates(shared, seen).await);
        note(&[AlarmKind::CampaignPaused, AlarmKind::CampaignMissed], waiting(shared, seen).await);
        note(&[AlarmKind::DomainRed], domains(shared, seen).await);
        note(&[AlarmKind::MassUnknown], breakers(shared, seen).await);
        note(&[AlarmKind::TlsLost], past_of_hosts(shared).await);
        note(&[AlarmKind::Certificate], certificates(shared, seen).await);
        note(&[AlarmKind::SourceMissing, AlarmKind::WarmupPaused], sources(shared, seen).await);
        self.slow = if begun.elapsed() > SLOW { self.slow.saturating_add(1) } else { 0 };
        if self.slow >= SLOW_LOOKS {
            let facts = json!({ "why": format!("it takes more than {} s to answer", SLOW.as_secs()) });
            let key = AlarmKey::of_installation(AlarmKind::Database, shared.store.node_name());
            seen.entry(key).or_insert_with(|| wrong(AlarmSeverity::Warning, facts));
        }
        blind
    }

    async fn clocks(&mut self, shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
        let (now, monotonic) = (shared.now(), shared.monotonic());
        let me = shared.store.node_name();
        let apart = now - monotonic;
        let moved = apart - self.apart;
        self.apart = apart;
        if moved.abs() > JUMP_MS {
            tracing::warn!(event = "clock.jumped", ms = moved);
            self.jumped = Some((monotonic, moved));
        }
        if let Some((_, moved)) = self.jumped.filter(|(at, _)| monotonic - at < JUMP_FOR_MS) {
            let facts = json!({ "seconds": moved / 1_000 });
            seen.insert(AlarmKey::of_installation(AlarmKind::Clock, me), wrong(AlarmSeverity::Warning, facts));
        }
        for other in shared.store.other_clocks().await? {
            // Only a sign of life that came since the last look says what time it is there.
            let fresh = self.beats.insert(other.node, other.beat).is_some_and(|before| before != other.beat);
            if !fresh {
                continue;
            }
            let apart = other.clock_at - now;
            // Both nodes see it: one alarm for the pair, under the name that comes first.
            let (one, two) =
                if me < other.name.as_str() { (me, other.name.as_str()) } else { (other.name.as_str(), me) };
            let key = AlarmKey::of_installation(AlarmKind::Clock, format!("{one} {two}"));
            if apart.abs() > APART_MS {
                let facts = json!({ "other": other.name, "seconds": apart / 1_000 });
                seen.insert(key, wrong(AlarmSeverity::Critical, facts));
            }
        }
        Ok(())
    }
}

fn disk(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    let space = shared.store.space()?;
    if space.low {
        let facts = json!({ "free_mib": space.free / (1_024 * 1_024), "total_mib": space.total / (1_024 * 1_024) });
        let key = AlarmKey::of_installation(AlarmKind::Disk, shared.store.node_name());
        seen.insert(key, wrong(AlarmSeverity::Critical, facts));
    }
    Ok(())
}

async fn rates(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    for fare in shared.store.campaign_fares().await? {
        let rates = fare.rates;
        let answered = rates.accepted + rates.rejected;
        if fare.bounces_matter {
            see_rate(&fare, AlarmKind::Bounces, rates.bounces(), (rates.rejected, answered), seen);
        }
        see_rate(&fare, AlarmKind::Complaints, rates.complaints(), (rates.complaints, rates.accepted), seen);
    }
    Ok(())
}

fn see_rate(fare: &CampaignFare, kind: AlarmKind, verdict: Verdict, (bad, of): (i64, i64), seen: &mut Seen) {
    let sight = match verdict {
        Verdict::Well => return,
        Verdict::Close => Sight::Unclear,
        Verdict::TooMany { rate, level } => Sight::Wrong(Wrong {
            severity: AlarmSeverity::Critical,
            level,
            facts: json!({ "name": fare.name, "rate": rate, "bad": bad, "of": of, "level": level }),
        }),
    };
    seen.insert(AlarmKey::of(fare.workspace, kind, fare.campaign.to_string()), sight);
}

async fn waiting(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    for campaign in shared.store.waiting_campaigns().await? {
        let kind = match campaign.state {
            CampaignState::Missed => AlarmKind::CampaignMissed,
            CampaignState::Paused => AlarmKind::CampaignPaused,
            CampaignState::Draft
            | CampaignState::Scheduled
            | CampaignState::Freezing
            | CampaignState::Sending
            | CampaignState::Done
            | CampaignState::Stopped => continue,
        };
        let key = AlarmKey::of(campaign.workspace, kind, campaign.campaign.to_string());
        seen.insert(key, wrong(AlarmSeverity::Warning, json!({ "name": campaign.name })));
    }
    Ok(())
}

/// A domain that is red and was not always.
async fn domains(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    for look in shared.store.domain_looks().await? {
        let was_good = look.found["good_at"].is_string();
        if look.found["state"].as_str() == Some("red") && was_good {
            let red = |finding: &&Value| finding["state"].as_str() == Some("red");
            let finding = look.found["findings"].as_array().into_iter().flatten().find(red);
            let text = finding.map(|f| {
                let word = |name: &str| f[name].as_str().unwrap_or_default();
                format!("{}: {}", word("about"), word("found"))
            });
            let facts = json!({
                "domain": look.domain, "finding": text, "code": finding.map(|f| f["code"].clone()), "good_at": look.found["good_at"],
            });
            let key = AlarmKey::of(look.workspace, AlarmKind::DomainRed, look.name);
            seen.insert(key, wrong(AlarmSeverity::Critical, facts));
        }
    }
    Ok(())
}

async fn breakers(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    for breaker in shared.store.site_breakers().await?.into_iter().filter(|b| b.believed_at.is_none()) {
        let facts = json!({
            "unknown": breaker.unknown, "answers": breaker.answers, "reply": breaker.reply,
            "until": postrider_domain::schedule::rfc3339(breaker.until), "suppressed_before": breaker.suspects.len(),
        });
        let key = AlarmKey::of_installation(AlarmKind::MassUnknown, breaker.site);
        seen.insert(key, wrong(AlarmSeverity::Critical, facts));
    }
    Ok(())
}

/// Hosts that were reached in clear: had they TLS before this process began?
async fn past_of_hosts(shared: &Shared) -> Result<(), StoreError> {
    for host in shared.notes.unsure_hosts() {
        let had = shared.store.had_tls(&host, day_of(shared.now()) - TLS_DAYS).await?;
        shared.notes.learn_past(shared.monotonic(), &host, had);
    }
    Ok(())
}

async fn certificates(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    for (names, not_after) in shared.store.certificate_ends().await? {
        if let Some((severity, days)) = judge_certificate(not_after, shared.now()) {
            let key = AlarmKey::of_installation(AlarmKind::Certificate, names);
            // From a warning to critical is a step that is told anew.
            let level = i64::from(severity == AlarmSeverity::Critical);
            seen.insert(key, Sight::Wrong(Wrong { severity, level, facts: json!({ "days": days }) }));
        }
    }
    Ok(())
}

/// Egress sources whose address a node has lost, and their warm-ups that a reply of a site paused.
async fn sources(shared: &Shared, seen: &mut Seen) -> Result<(), StoreError> {
    // Asked first: what another node raises after this is not ended by what is read below.
    let open = shared.store.open_alarms().await?;
    let known = shared.store.egress_sources().await?;
    let troubles = shared.store.egress_trouble().await?;
    let mut wrongs = Seen::new();
    for source in known {
        let name = source.settings.name;
        if let Some(trouble) = troubles.iter().find(|t| t.source == source.id) {
            let facts = json!({ "name": name, "why": trouble.problem, "source": source.id.to_string() });
            let key = AlarmKey::of_installation(AlarmKind::SourceMissing, source.id.to_string());
            wrongs.insert(key, wrong(AlarmSeverity::Critical, facts));
        }
        for warm_up in shared.store.warm_ups(source.id).await? {
            let Some(until) = warm_up.state.paused_until.filter(|until| shared.now() < *until) else { continue };
            let site = &warm_up.site;
            let facts = json!({
                "name": format!("of {name} at {site}"), "reply": warm_up.reason, "until": postrider_domain::schedule::rfc3339(until),
            });
            let key = AlarmKey::of_installation(AlarmKind::WarmupPaused, format!("{} {site}", source.id));
            wrongs.insert(key, wrong(AlarmSeverity::Warning, facts));
        }
    }
    // Both kinds are of the installation, and over when the store says so: no time has to pass.
    for alarm in open {
        let ours = matches!(alarm.kind, AlarmKind::SourceMissing | AlarmKind::WarmupPaused);
        let key = alarm.key();
        if ours && key.workspace.is_none() && !wrongs.contains_key(&key) {
            shared.store.resolve_alarm(&key).await?;
        }
    }
    seen.extend(wrongs);
    Ok(())
}

/// How bad it is that a certificate ends then, and in how many days it does; negative when it is over.
fn judge_certificate(not_after: i64, now: i64) -> Option<(AlarmSeverity, i64)> {
    let days = if not_after < now { -1 } else { (not_after - now) / DAY_MS + 1 };
    match days {
        d if d > CERTIFICATE_DAYS => None,
        d if d > CERTIFICATE_CRITICAL => Some((AlarmSeverity::Warning, d)),
        d => Some((AlarmSeverity::Critical, d)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_three_weeks_before_its_end() {
        let at = |days: i64| judge_certificate(days * DAY_MS, 0);
        assert_eq!(at(60), None);
        assert_eq!(at(20), Some((AlarmSeverity::Warning, 21)));
        assert_eq!(at(6), Some((AlarmSeverity::Critical, 7)));
        assert_eq!(judge_certificate(0, 1), Some((AlarmSeverity::Critical, -1)));
    }
}
