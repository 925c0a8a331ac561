//! Start times: local time and IANA zone, resolved once to one instant (REL-7).

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// When a campaign starts: local time in a zone, so that a change of the law of summer time moves it along.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Local time, `YYYY-MM-DDTHH:MM[:SS]`.
    pub local: String,
    /// IANA zone, e.g. `Europe/Rome`.
    pub zone: String,
    /// Do not start more than this many minutes late.
    #[serde(default)]
    pub not_later_than_minutes: Option<u32>,
}

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not a local time.
    #[error("`{0}` is no local time: write it like 2026-12-01T10:00")]
    Local(String),
    /// Not an IANA zone.
    #[error("`{0}` is no time zone: write it like Europe/Rome")]
    Zone(String),
}

/// Checks that a zone exists.
///
/// # Errors
/// [`ScheduleError::Zone`].
pub fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.chars().take(64).collect()))
}

impl Schedule {
    /// The instant, i64 milliseconds UTC. A time that summer time skips is moved to the end of the gap;
    /// a time that comes twice fires at its first coming. Either way: once.
    ///
    /// # Errors
    /// Time or zone cannot be read.
    pub fn instant(&self) -> Result<i64, ScheduleError> {
        let local: DateTime =
            self.local.trim().parse().map_err(|_| ScheduleError::Local(self.local.chars().take(64).collect()))?;
        let zone = zone(&self.zone)?;
        let ambiguous = zone.to_ambiguous_timestamp(local);
        let at = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier(),
            AmbiguousOffset::Gap { .. } => ambiguous.later(),
        };
        at.map(|t| t.as_millisecond()).map_err(|_| ScheduleError::Local(self.local.chars().take(64).collect()))
    }

    /// What to do at `now`: wait, start, or leave it because it is too late.
    ///
    /// # Errors
    /// As [`Schedule::instant`].
    pub fn look(&self, now: i64) -> Result<Look, ScheduleError> {
        let at = self.instant()?;
        Ok(if now < at {
            Look::Wait(at)
        } else if self.not_later_than_minutes.is_some_and(|m| now - at > i64::from(m) * 60_000) {
            Look::TooLate
        } else {
            Look::Start
        })
    }
}

/// See [`Schedule::look`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Not yet; the instant in i64 milliseconds UTC.
    Wait(i64),
    /// Now.
    Start,
    /// More than "not later than" has passed.
    TooLate,
}

/// The start (inclusive) of the local day in `zone` that holds `at`, and its end (exclusive), milliseconds UTC.
///
/// # Errors
/// [`ScheduleError::Zone`].
pub fn local_day(zone_name: &str, at: i64) -> Result<(i64, i64), ScheduleError> {
    let tz = zone(zone_name)?;
    let bad = |_| ScheduleError::Zone(zone_name.to_owned());
    let day = jiff::Timestamp::from_millisecond(at).map_err(bad)?.to_zoned(tz).start_of_day().map_err(bad)?;
    let next = day.tomorrow().and_then(|d| d.start_of_day()).map_err(bad)?;
    Ok((day.timestamp().as_millisecond(), next.timestamp().as_millisecond()))
}

/// RFC 3339 text of an instant, in UTC with milliseconds.
pub fn rfc3339(at: i64) -> String {
    jiff::Timestamp::from_millisecond(at).map(|t| format!("{t:.3}")).unwrap_or_else(|_| "invalid".into())
}

/// Local text of an instant in a zone, `YYYY-MM-DD HH:MM:SS.s` as report rows show it; UTC when the zone is unknown.
pub fn report_time(at: i64, zone_name: &str) -> String {
    let tz = zone(zone_name).unwrap_or(TimeZone::UTC);
    jiff::Timestamp::from_millisecond(at)
        .map(|t| {
            let z = t.to_zoned(tz);
            format!("{}.{}", z.strftime("%Y-%m-%d %H:%M:%S"), at.rem_euclid(1000) / 100)
        })
        .unwrap_or_else(|_| "invalid".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(local: &str, zone: &str) -> i64 {
        Schedule { local: local.into(), zone: zone.into(), not_later_than_minutes: None }.instant().unwrap()
    }

    #[test]
    fn ordinary_gap_and_fold_each_give_one_instant() {
        assert_eq!(rfc3339(at("2026-12-01T10:00", "Europe/Rome")), "2026-12-01T09:00:00.000Z");
        // 02:30 does not exist on 29 March 2026 in Rome: it is read as 03:30 summer time.
        assert_eq!(rfc3339(at("2026-03-29T02:30", "Europe/Rome")), "2026-03-29T01:30:00.000Z");
        // 02:30 comes twice on 25 October 2026: the first one, still summer time.
        assert_eq!(rfc3339(at("2026-10-25T02:30", "Europe/Rome")), "2026-10-25T00:30:00.000Z");
    }

    #[test]
    fn a_late_start_is_left_when_the_guard_says_so() {
        let mut s = Schedule { local: "2026-12-01T10:00".into(), zone: "UTC".into(), not_later_than_minutes: Some(30) };
        let start = s.instant().unwrap();
        assert_eq!(s.look(start - 1), Ok(Look::Wait(start)));
        assert_eq!(s.look(start), Ok(Look::Start));
        assert_eq!(s.look(start + 31 * 60_000), Ok(Look::TooLate));
        s.not_later_than_minutes = None;
        assert_eq!(s.look(start + 31 * 60_000), Ok(Look::Start));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        let s = Schedule { local: "tomorrow".into(), zone: "UTC".into(), not_later_than_minutes: None };
        assert!(s.instant().unwrap_err().to_string().contains("2026-12-01T10:00"));
        let s = Schedule { local: "2026-12-01T10:00".into(), zone: "Mars/Base".into(), not_later_than_minutes: None };
        assert!(matches!(s.instant(), Err(ScheduleError::Zone(_))));
    }

    #[test]
    fn a_local_day_follows_the_zone() {
        let (from, to) = local_day("Europe/Rome", at("2026-03-29T12:00", "Europe/Rome")).unwrap();
        assert_eq!(to - from, 23 * 3_600_000, "the short day of summer time");
    }
}
