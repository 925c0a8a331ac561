//! What holds a message back, since when and until when, in one sentence.

use crate::schedule::rfc3339;

crate::words! {
    /// Why a delivery that is not settled does not leave now.
    pub enum HoldReason {
        /// All connections that the site may have are busy.
        Connection = "connection",
        /// The pace that we have learned at this site.
        LearnedRate = "learned_rate",
        /// The messages per second of the site or the route.
        Rate = "rate",
        /// The messages per hour of the site.
        Hour = "hourly_limit",
        /// The messages per day of the site or the route.
        Day = "daily_limit",
        /// The site complained several times in a row: a pause.
        BackOff = "back_off",
        /// A rule for a reply of the site stopped it.
        Stop = "stop",
        /// After such a stop connections come back one by one.
        Recovery = "recovery",
        /// The warm-up of the egress source: its day is used up or spread, or it is paused.
        WarmUp = "warm_up",
        /// No source of the pool, or no host of the smarthost, can take it now.
        Egress = "egress",
        /// The campaign is paused.
        Paused = "paused",
        /// The workspace is suspended.
        Suspended = "suspended",
        /// A rule that somebody set for the queue.
        Rule = "queue_rule",
        /// The speed that somebody set for the queue.
        Speed = "queue_speed",
        /// A person or a rule holds this delivery.
        Held = "held",
        /// The reply to an earlier try was lost, and a person decides.
        InDoubt = "in_doubt",
        /// The time of the next try has not come.
        Retry = "retry",
        /// DNS has not said yet where it goes.
        Dns = "dns",
        /// The disk has no room.
        Space = "disk_space",
        /// Something is missing: the route, the sending domain or its key.
        Setup = "setup",
    }
}

impl HoldReason {
    const fn words(self) -> &'static str {
        match self {
            HoldReason::Connection => "Waits for its turn: all connections that the site may have are busy",
            HoldReason::LearnedRate => "Waits for the pace that the site was found to accept",
            HoldReason::Rate => "Waits for the limit of messages per second",
            HoldReason::Hour => "Waits for the limit of messages per hour",
            HoldReason::Day => "Waits for the limit of messages per day",
            HoldReason::BackOff => "The site refused several times in a row; it is left alone for a while",
            HoldReason::Stop => "The site is stopped by a rule for one of its replies",
            HoldReason::Recovery => "After a stop connections to the site come back one by one",
            HoldReason::WarmUp => "Waits for the warm-up of the egress source at this site",
            HoldReason::Egress => "The egress source cannot be used now",
            HoldReason::Paused => "The campaign is paused",
            HoldReason::Suspended => "The workspace is suspended",
            HoldReason::Rule => "A rule of the queue keeps it back",
            HoldReason::Speed => "Waits for the speed that was set for the queue",
            HoldReason::Held => "Held",
            HoldReason::InDoubt => "The reply to its last try was lost, and a person has to decide",
            HoldReason::Retry => "Waits for its next try",
            HoldReason::Dns => "Waits for DNS to say where it goes",
            HoldReason::Space => "The disk of the server is nearly full",
            HoldReason::Setup => "Something is missing: the route, the sending domain or its key; the log says what",
        }
    }
}

/// What holds a message back. Times are milliseconds of the clock of whoever made it: UTC for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Option<i64>,
    /// Until when at most, when that is known.
    pub until: Option<i64>,
    /// What more is known: a limit, the name of a rule and the reply that it read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Hold {
    /// A hold of which nothing but its reason is known.
    pub const fn of(reason: HoldReason) -> Hold {
        Hold { reason, since: None, until: None, detail: String::new() }
    }

    /// The hold in one sentence; its times must be UTC.
    pub fn sentence(&self) -> String {
        let mut text = self.reason.words().to_owned();
        if !self.detail.is_empty() {
            text.push_str(" (");
            text.push_str(&self.detail);
            text.push(')');
        }
        match (self.since, self.until) {
            (None, None) => {}
            (Some(since), None) => text.push_str(&format!(", since {}", rfc3339(since))),
            (None, Some(until)) => text.push_str(&format!(", until {}", rfc3339(until))),
            (Some(since), Some(until)) => {
                text.push_str(&format!(", since {}, until {}", rfc3339(since), rfc3339(until)));
            }
        }
        text.push('.');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_makes_one_sentence_with_its_times() {
        for reason in HoldReason::ALL {
            let hold = Hold { since: Some(0), until: Some(600_000), detail: "x".into(), ..Hold::of(*reason) };
            let text = hold.sentence();
            assert!(text.ends_with("(x), since 1970-01-01T00:00:00.000Z, until 1970-01-01T00:10:00.000Z."), "{text}");
            assert_eq!(text.matches(". ").count(), 0, "{text}");
            assert!(!Hold::of(*reason).sentence().contains("since"));
        }
    }
}
