//! How one try ended and how a delivery ended. A refusal by a remote host is a value here, never an error.

use crate::gate::Withheld;

crate::words! {
    /// The closed result of one attempt (DESIGN section 2).
    pub enum AttemptResult {
        /// The next host took responsibility (2yz after the final dot).
        Accepted = "accepted",
        /// A temporary refusal (4yz, or our own reading of the reply).
        Deferred = "deferred",
        /// A permanent refusal (5yz).
        Rejected = "rejected",
        /// No usable reply: time-out, closed connection, DNS or TLS fault.
        Broken = "broken",
    }
}

crate::words! {
    /// How a delivery ended, never changed after.
    pub enum OutcomeKind {
        /// The next host took responsibility.
        Accepted = "accepted",
        /// Refused for good.
        Rejected = "rejected",
        /// Attempts or lifetime were used up.
        Expired = "expired",
        /// We did not send; the reason says why.
        Withheld = "withheld",
        /// Stopped by a person.
        Cancelled = "cancelled",
        /// In doubt after a crash and taken for accepted by policy.
        Assumed = "assumed",
    }
}

/// An outcome with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// See [`OutcomeKind::Accepted`].
    Accepted,
    /// See [`OutcomeKind::Rejected`].
    Rejected,
    /// See [`OutcomeKind::Expired`].
    Expired,
    /// See [`OutcomeKind::Withheld`].
    Withheld(Withheld),
    /// See [`OutcomeKind::Cancelled`].
    Cancelled,
    /// See [`OutcomeKind::Assumed`].
    Assumed,
}

impl Outcome {
    /// The kind, as stored.
    pub const fn kind(self) -> OutcomeKind {
        match self {
            Outcome::Accepted => OutcomeKind::Accepted,
            Outcome::Rejected => OutcomeKind::Rejected,
            Outcome::Expired => OutcomeKind::Expired,
            Outcome::Withheld(_) => OutcomeKind::Withheld,
            Outcome::Cancelled => OutcomeKind::Cancelled,
            Outcome::Assumed => OutcomeKind::Assumed,
        }
    }

    /// The reason of a withheld delivery.
    pub const fn reason(self) -> Option<Withheld> {
        match self {
            Outcome::Withheld(reason) => Some(reason),
            Outcome::Accepted | Outcome::Rejected | Outcome::Expired | Outcome::Cancelled | Outcome::Assumed => None,
        }
    }
}

crate::words! {
    /// The word of a report row, as the people who read reports know it.
    pub enum ReportStatus {
        /// Accepted by the next host.
        Sent = "SENT",
        /// Refused for good.
        Bounced = "BOUNCED",
        /// The remote host was never reached, or never answered.
        Timeout = "TIMEOUT",
        /// Temporary refusals until the policy ended.
        Expired = "EXPIRED",
        /// Not sent by our own rules.
        Withheld = "WITHHELD",
        /// Stopped by a person.
        Cancelled = "CANCELLED",
        /// Taken for accepted after a crash.
        Assumed = "ASSUMED",
        /// Still to be tried, or tried and waiting.
        Queued = "QUEUED",
        /// The final dot may have gone; no reply is known.
        InDoubt = "IN_DOUBT",
        /// Waits for a person.
        Held = "HELD",
    }
}

/// The word of a settled delivery; `last` is the result of its last attempt.
pub const fn report_status(kind: OutcomeKind, last: Option<AttemptResult>) -> ReportStatus {
    match kind {
        OutcomeKind::Accepted => ReportStatus::Sent,
        OutcomeKind::Rejected => ReportStatus::Bounced,
        OutcomeKind::Expired => match last {
            Some(AttemptResult::Broken) => ReportStatus::Timeout,
            Some(AttemptResult::Accepted | AttemptResult::Deferred | AttemptResult::Rejected) | None => {
                ReportStatus::Expired
            }
        },
        OutcomeKind::Withheld => ReportStatus::Withheld,
        OutcomeKind::Cancelled => ReportStatus::Cancelled,
        OutcomeKind::Assumed => ReportStatus::Assumed,
    }
}
