//! The states of an unsettled delivery and who may leave them: the table of docs/queue-states.md as code.

use crate::outcome::OutcomeKind;

crate::words! {
    /// Where a delivery stands in the queue.
    pub enum QueueState {
        /// May be handed out once its time has come; handing out happens in memory and is no state.
        Ready = "ready",
        /// Marked: the final dot may have gone.
        InDoubt = "in_doubt",
        /// Waits for a person or a rule.
        Held = "held",
        /// Settled; only the `delivery` row is left.
        Done = "done",
    }
}

crate::words! {
    /// What moves a delivery from one state to another.
    pub enum Step {
        /// The durable note that the dot is about to go; by the owner of the lane.
        Mark = "mark",
        /// The owner's word on how the attempt ended, with another try planned.
        SettleLater = "settle_later",
        /// The owner's word on how the delivery ended.
        SettleDone = "settle_done",
        /// The next owner, once the epoch of the mark is dead: send the same bytes again.
        ResolveResend = "resolve_resend",
        /// The next owner, once the epoch of the mark is dead: take it for accepted.
        ResolveAssume = "resolve_assume",
        /// The next owner, once the epoch of the mark is dead: ask a person.
        ResolveHold = "resolve_hold",
        /// A person or a rule holds it.
        Hold = "hold",
        /// A person or the rule that held it lets it go.
        Release = "release",
        /// A person stops it.
        Cancel = "cancel",
    }
}

/// The state after a step; `None` when the step is not allowed there.
pub const fn after(state: QueueState, step: Step) -> Option<QueueState> {
    match (state, step) {
        (QueueState::Ready, Step::Mark) => Some(QueueState::InDoubt),
        (QueueState::Ready, Step::SettleLater) => Some(QueueState::Ready),
        (QueueState::Ready, Step::SettleDone) => Some(QueueState::Done),
        (QueueState::Ready, Step::Hold) => Some(QueueState::Held),
        (QueueState::Ready, Step::Cancel) => Some(QueueState::Done),
        (QueueState::Ready, Step::ResolveResend | Step::ResolveAssume | Step::ResolveHold | Step::Release) => None,
        (QueueState::InDoubt, Step::SettleLater) => Some(QueueState::Ready),
        (QueueState::InDoubt, Step::SettleDone) => Some(QueueState::Done),
        (QueueState::InDoubt, Step::ResolveResend) => Some(QueueState::Ready),
        (QueueState::InDoubt, Step::ResolveAssume) => Some(QueueState::Done),
        (QueueState::InDoubt, Step::ResolveHold) => Some(QueueState::Held),
        (QueueState::InDoubt, Step::Mark | Step::Hold | Step::Release | Step::Cancel) => None,
        (QueueState::Held, Step::Release) => Some(QueueState::Ready),
        (QueueState::Held, Step::Cancel) => Some(QueueState::Done),
        (
            QueueState::Held,
            Step::Mark
            | Step::SettleLater
            | Step::SettleDone
            | Step::ResolveResend
            | Step::ResolveAssume
            | Step::ResolveHold
            | Step::Hold,
        ) => None,
        (
            QueueState::Done,
            Step::Mark
            | Step::SettleLater
            | Step::SettleDone
            | Step::ResolveResend
            | Step::ResolveAssume
            | Step::ResolveHold
            | Step::Hold
            | Step::Release
            | Step::Cancel,
        ) => None,
    }
}

/// The sum that must hold for every campaign, at any moment (DESIGN section 4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ledger {
    /// Deliveries made when the audience was frozen.
    pub frozen: i64,
    /// Outcome counts.
    pub accepted: i64,
    /// See [`OutcomeKind::Rejected`].
    pub rejected: i64,
    /// See [`OutcomeKind::Expired`].
    pub expired: i64,
    /// See [`OutcomeKind::Withheld`].
    pub withheld: i64,
    /// See [`OutcomeKind::Cancelled`].
    pub cancelled: i64,
    /// See [`OutcomeKind::Assumed`].
    pub assumed: i64,
    /// Rows that wait for a person.
    pub held: i64,
    /// Rows still to be sent, those in doubt included.
    pub queued: i64,
    /// Of the queued: the final dot may have gone.
    pub in_doubt: i64,
}

impl Ledger {
    /// Whether every frozen delivery is accounted for exactly once.
    pub const fn balances(&self) -> bool {
        self.frozen
            == self.accepted
                + self.rejected
                + self.expired
                + self.withheld
                + self.cancelled
                + self.assumed
                + self.held
                + self.queued
            && self.in_doubt <= self.queued
    }

    /// Adds to the count of one outcome.
    pub const fn add(&mut self, kind: OutcomeKind, n: i64) {
        match kind {
            OutcomeKind::Accepted => self.accepted += n,
            OutcomeKind::Rejected => self.rejected += n,
            OutcomeKind::Expired => self.expired += n,
            OutcomeKind::Withheld => self.withheld += n,
            OutcomeKind::Cancelled => self.cancelled += n,
            OutcomeKind::Assumed => self.assumed += n,
        }
    }
}
