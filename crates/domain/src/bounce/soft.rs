//! Soft bounces: when a mailbox that keeps refusing is left alone for a time (BC-4), and what a success changes (BC-5).
//!
//! Pure: counts and limits go in, a decision comes out; times are i64 milliseconds UTC. One delivery is one bounce, however often
//! it was tried. Must not know where counts are kept. docs/bounces.md tells the whole.

use serde::{Deserialize, Serialize};

use super::{BounceClass, BounceConsequence, Verdict};
use crate::id::{CampaignId, DeliveryId};
use crate::schedule::rfc3339;
use crate::suppression::{SuppressionReason, SuppressionScope};

const DAY: i64 = 86_400_000;
const WEEK: i64 = 7 * DAY;

crate::words! {
    /// Which limit a mailbox has reached.
    pub enum SoftLimit {
        /// So many bounces, over several campaigns and days, and no success between.
        ManyBounces = "many_bounces",
        /// Weeks with several bounces and no success.
        LongFailing = "long_failing",
    }
}

/// Why settings are refused; reads after "could not save the settings of bounces:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` must be from {least} to {most}")]
pub struct SoftLimitsError {
    /// The field.
    pub field: &'static str,
    /// Its least value.
    pub least: u32,
    /// Its greatest value.
    pub most: u32,
}

/// What a workspace wants of soft bounces; the default is that of BC-4, with the second limit of seven weeks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoftLimits {
    /// Whether a limit suppresses at all; bounces are counted in any case.
    pub enabled: bool,
    /// First limit: so many bounces without a success …
    pub bounces: u32,
    /// … of at least so many campaigns …
    pub campaigns: u32,
    /// … the last at least so many days after the first.
    pub days: u32,
    /// Second limit: the last bounce is so many weeks after the first, without a success …
    pub weeks: u32,
    /// … and there were at least so many.
    pub tries: u32,
    /// For how many days the mailbox is suppressed then; `None`: for good.
    pub suppress_days: Option<u32>,
    /// What the suppression covers.
    pub scope: SuppressionScope,
}

impl Default for SoftLimits {
    fn default() -> SoftLimits {
        SoftLimits {
            enabled: true,
            bounces: 5,
            campaigns: 3,
            days: 14,
            weeks: 7,
            tries: 3,
            suppress_days: Some(90),
            scope: SuppressionReason::BounceLimit.default_scope(),
        }
    }
}

/// What was counted of a mailbox since its last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftCount {
    /// Deliveries that ended softly.
    pub bounces: i64,
    /// Campaigns among them; a campaign has one delivery for a mailbox.
    pub campaigns: i64,
    /// When the first bounced.
    pub first_at: i64,
    /// When the last did.
    pub last_at: i64,
}

impl SoftLimits {
    /// Looks at the numbers.
    ///
    /// # Errors
    /// The first that makes no sense.
    pub fn check(&self) -> Result<(), SoftLimitsError> {
        for (field, value, least, most) in [
            ("bounces", self.bounces, 1, 50),
            ("campaigns", self.campaigns, 0, 50),
            ("days", self.days, 0, 365),
            ("weeks", self.weeks, 1, 104),
            ("tries", self.tries, 1, 50),
            ("suppress_days", self.suppress_days.unwrap_or(1), 1, 3_650),
        ] {
            if value < least || most < value {
                return Err(SoftLimitsError { field, least, most });
            }
        }
        Ok(())
    }

    /// The limit that a mailbox with this count has reached, if any.
    pub fn reached(&self, count: &SoftCount) -> Option<SoftLimit> {
        let lasted = count.last_at - count.first_at;
        if !self.enabled {
            None
        } else if count.bounces >= i64::from(self.bounces)
            && count.campaigns >= i64::from(self.campaigns)
            && lasted >= i64::from(self.days) * DAY
        {
            Some(SoftLimit::ManyBounces)
        } else if count.bounces >= i64::from(self.tries) && lasted >= i64::from(self.weeks) * WEEK {
            Some(SoftLimit::LongFailing)
        } else {
            None
        }
    }

    /// Until when a mailbox that reaches a limit at `now` is suppressed; `None`: for good.
    pub fn until(&self, now: i64) -> Option<i64> {
        self.suppress_days.map(|days| now + i64::from(days) * DAY)
    }
}

impl Verdict {
    /// The class that counts softly, when the delivery ends with this refusal.
    pub fn soft(&self) -> Option<BounceClass> {
        self.class.filter(|_| self.permanent && self.consequence == BounceConsequence::CountSoft)
    }
}

impl BounceClass {
    /// Whether a delivery that was tried until its time was up (C17) counts softly, when this is what it was told last: only
    /// what is about the recipient does. That a host was not reached, or found us too fast, is nobody's fault at the mailbox.
    pub const fn counts_when_expired(self) -> bool {
        self.is_about_recipient()
    }
}

/// One of the bounces that were counted, as it is kept: the numbers of delivery and campaign, the class, the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftBounce(pub i64, pub Option<i64>, pub BounceClass, pub i64);

impl SoftBounce {
    /// The delivery.
    pub const fn delivery(&self) -> DeliveryId {
        DeliveryId(self.0)
    }

    /// Its campaign; `None` for a single message.
    pub fn campaign(&self) -> Option<CampaignId> {
        self.1.map(CampaignId)
    }

    /// What the host said.
    pub const fn class(&self) -> BounceClass {
        self.2
    }

    /// When.
    pub const fn at(&self) -> i64 {
        self.3
    }
}

/// Why a mailbox was suppressed: kept with the suppression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftEvidence {
    /// The limit.
    pub limit: SoftLimit,
    /// The count at that moment.
    pub count: SoftCount,
    /// The bounces, the first fifty.
    pub trail: Vec<SoftBounce>,
}

impl SoftEvidence {
    /// In one sentence for people.
    pub fn sentence(&self) -> String {
        let mut classes: Vec<(BounceClass, usize)> = Vec::new();
        for bounce in &self.trail {
            match classes.iter_mut().find(|(class, _)| *class == bounce.class()) {
                Some((_, n)) => *n += 1,
                None => classes.push((bounce.class(), 1)),
            }
        }
        let classes: Vec<String> = classes.iter().map(|(class, n)| format!("{n} × {class}")).collect();
        let day = |at: i64| rfc3339(at).chars().take(10).collect::<String>();
        let campaigns = match self.count.campaigns {
            0 => "single messages".to_owned(),
            1 => "1 campaign".to_owned(),
            n => format!("{n} campaigns"),
        };
        let limit = match self.limit {
            SoftLimit::ManyBounces => "as many as the settings allow",
            SoftLimit::LongFailing => "for as many weeks as the settings allow",
        };
        format!(
            "{} soft bounces ({}) of {campaigns} from {} to {} without a success between: {limit}.",
            self.count.bounces,
            classes.join(", "),
            day(self.count.first_at),
            day(self.count.last_at)
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bounce::{RuleBook, judge_reply};
    use postrider_mail::reply::{EnhancedStatus, Reply};
    use postrider_mail::stage::Stage;

    fn count(bounces: i64, campaigns: i64, days: i64) -> SoftCount {
        SoftCount { bounces, campaigns, first_at: 1_000, last_at: 1_000 + days * DAY }
    }

    #[test]
    fn both_limits_to_the_day_and_the_bounce() {
        let usual = SoftLimits::default();
        for (bounces, campaigns, days, wanted) in [
            (5, 3, 14, Some(SoftLimit::ManyBounces)),
            (4, 3, 14, None),
            (5, 2, 14, None),
            (5, 3, 13, None),
            (50, 0, 48, None),
            (3, 0, 49, Some(SoftLimit::LongFailing)),
            (2, 2, 300, None),
            (3, 3, 48, None),
        ] {
            assert_eq!(usual.reached(&count(bounces, campaigns, days)), wanted, "{bounces} {campaigns} {days}");
        }
        let off = SoftLimits { enabled: false, ..usual };
        assert_eq!(off.reached(&count(50, 50, 300)), None);
        // As vtenext has it: three on three mailings, whatever the time.
        let three = SoftLimits { bounces: 3, campaigns: 3, days: 0, ..usual };
        assert_eq!(three.reached(&count(3, 3, 0)), Some(SoftLimit::ManyBounces));
        assert_eq!((usual.until(5), three.until(5)), (Some(5 + 90 * DAY), Some(5 + 90 * DAY)));
        assert_eq!(SoftLimits { suppress_days: None, ..usual }.until(5), None);
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let usual = SoftLimits::default();
        assert_eq!(usual.check(), Ok(()));
        for bad in [
            SoftLimits { bounces: 0, ..usual },
            SoftLimits { bounces: 51, ..usual },
            SoftLimits { weeks: 0, ..usual },
            SoftLimits { tries: 0, ..usual },
            SoftLimits { days: 366, ..usual },
            SoftLimits { suppress_days: Some(0), ..usual },
        ] {
            let error = bad.check().unwrap_err();
            assert!(error.to_string().contains("must be from"), "{error}");
        }
        let read: SoftLimits = serde_json::from_str("{\"bounces\": 3}").unwrap();
        assert_eq!(read, SoftLimits { bounces: 3, ..usual });
        let read: SoftLimits = serde_json::from_str("{\"suppress_days\": null}").unwrap();
        assert_eq!(read.suppress_days, None);
    }

    /// What counts of the replies that end a delivery: never what is about us, the content, or a site's passing trouble.
    #[test]
    fn only_what_is_about_the_recipient_counts() {
        let said = |stage: Stage, code: u16, status: &str, text: &str| {
            let reply = Reply { code, enhanced: EnhancedStatus::parse(status), lines: vec![text.into()] };
            judge_reply(RuleBook::built_in(), stage, None, &reply)
        };
        for (stage, code, status, text, wanted) in [
            (Stage::Rcpt, 552, "5.2.2", "mailbox full", Some("C4")),
            (Stage::Rcpt, 550, "5.7.1", "relay access denied", Some("C13")),
            (Stage::Rcpt, 550, "5.2.1", "The account is disabled", Some("C2")),
            (Stage::Rcpt, 550, "5.1.1", "user unknown", None),
            (Stage::Rcpt, 550, "5.7.1", "something new", None),
            (Stage::Rcpt, 452, "4.2.2", "mailbox full", None),
            (Stage::Greeting, 554, "5.7.1", "you are blocked", None),
            (Stage::Mail, 550, "5.1.1", "user unknown", None),
            (Stage::Dot, 550, "5.7.26", "unauthenticated mail", None),
            (Stage::Rcpt, 550, "5.1.1", "blocked using zen.spamhaus.org", None),
        ] {
            let found = said(stage, code, status, text).soft().map(BounceClass::code);
            assert_eq!(found, wanted, "{stage:?} {code} {status} {text}");
        }
        let counted: Vec<&str> =
            BounceClass::ALL.iter().filter(|c| c.counts_when_expired()).map(|c| c.code()).collect();
        assert_eq!(counted, ["C1", "C2", "C3", "C4", "C13"]);
        let soft: Vec<&str> = BounceClass::ALL
            .iter()
            .filter(|c| c.facts().at_last == BounceConsequence::CountSoft)
            .map(|c| c.code())
            .collect();
        assert_eq!(soft, ["C2", "C4", "C13", "C17"], "never C6 to C12, and nothing that nobody knows");
    }

    #[test]
    fn the_sentence_names_numbers_classes_and_days() {
        let evidence = SoftEvidence {
            limit: SoftLimit::ManyBounces,
            count: SoftCount { bounces: 2, campaigns: 1, first_at: 0, last_at: 15 * DAY },
            trail: vec![
                SoftBounce(7, Some(8), BounceClass::MailboxFull, 0),
                SoftBounce(9, None, BounceClass::RecipientPolicy, 15 * DAY),
            ],
        };
        assert_eq!(
            evidence.sentence(),
            "2 soft bounces (1 × mailbox_full, 1 × recipient_policy) of 1 campaign from 1970-01-01 to 1970-01-16 without a \
             success between: as many as the settings allow."
        );
        let kept = serde_json::to_string(&evidence).unwrap();
        assert!(kept.contains("[7,8,\"mailbox_full\",0],[9,null,\"recipient_policy\",1296000000]"), "{kept}");
        assert_eq!(serde_json::from_str::<SoftEvidence>(&kept).unwrap(), evidence);
    }

    proptest! {
        /// More bounces, more campaigns or more time never take a limit back; stricter settings never need more.
        #[test]
        fn a_limit_that_is_reached_stays_reached(
            bounces in 1i64..12, campaigns in 0i64..12, days in 0i64..120, more in 0i64..4, later in 0i64..40,
        ) {
            let usual = SoftLimits::default();
            let campaigns = campaigns.min(bounces);
            if usual.reached(&count(bounces, campaigns, days)).is_some() {
                prop_assert!(usual.reached(&count(bounces + more, campaigns + more, days + later)).is_some());
                let strict = SoftLimits { bounces: 3, campaigns: 1, days: 7, weeks: 4, tries: 2, ..usual };
                prop_assert!(strict.reached(&count(bounces, campaigns, days)).is_some());
            }
        }
    }
}
