//! Events of the ledger and what follows from news about a contact, whatever road the news came by.

use crate::consent::ConsentState;
use crate::stream::Stream;
use crate::suppression::{SuppressionReason, SuppressionScope};

crate::words! {
    /// What happened.
    pub enum EventKind {
        /// An attempt ended in acceptance.
        Accepted = "accepted",
        /// An attempt ended in a temporary refusal or broke.
        Deferred = "deferred",
        /// A delivery was refused for good.
        Rejected = "rejected",
        /// A delivery ran out of attempts or lifetime.
        Expired = "expired",
        /// A delivery was withheld by our own rules.
        Withheld = "withheld",
        /// A delivery was stopped by a person.
        Cancelled = "cancelled",
        /// A delivery in doubt was taken for accepted.
        Assumed = "assumed",
        /// A person opted out.
        OptOut = "opt_out",
        /// An address was suppressed.
        Suppressed = "suppressed",
        /// A consent was granted.
        Granted = "granted",
    }
}

/// News that concerns a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// One-click POST, page or mail: out of one purpose.
    OptOut,
    /// Out of everything.
    OptOutOfAll,
    /// Our own session proved a fault of the mailbox.
    DeadMailbox(SuppressionReason),
    /// Soft bounces reached the workspace's limit; what it wants covered.
    BounceLimit(SuppressionScope),
}

/// What is done about it; the store carries it out in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The consent for the message's purpose becomes withdrawn.
    Withdraw,
    /// Every consent of the contact becomes withdrawn.
    WithdrawAll,
    /// The mailbox is suppressed.
    Suppress(SuppressionReason, SuppressionScope),
}

/// What follows from news. Repeated news have no further consequence (SR-16).
pub fn consequences(news: News, present: Option<ConsentState>) -> Vec<Consequence> {
    match news {
        News::OptOut => match present {
            Some(ConsentState::Withdrawn) => vec![],
            Some(ConsentState::Granted | ConsentState::Requested | ConsentState::Refused) | None => {
                vec![Consequence::Withdraw]
            }
        },
        News::OptOutOfAll => vec![
            Consequence::WithdrawAll,
            Consequence::Suppress(SuppressionReason::OptOut, SuppressionReason::OptOut.default_scope()),
        ],
        News::DeadMailbox(reason) => vec![Consequence::Suppress(reason, reason.default_scope())],
        // Consent stays as it is: the mailbox could not be reached, the person said nothing.
        News::BounceLimit(scope) => vec![Consequence::Suppress(SuppressionReason::BounceLimit, scope)],
    }
}

/// Whether a suppression that is in force already says at least as much.
pub const fn already_covered(present: Option<SuppressionScope>, wanted: SuppressionScope) -> bool {
    match (present, wanted) {
        (Some(SuppressionScope::All), SuppressionScope::All | SuppressionScope::Marketing) => true,
        (Some(SuppressionScope::Marketing), SuppressionScope::Marketing) => true,
        (Some(SuppressionScope::Marketing), SuppressionScope::All)
        | (None, SuppressionScope::All | SuppressionScope::Marketing) => false,
    }
}

/// Counter names by stream are shared by every node.
pub const fn stream_word(stream: Stream) -> &'static str {
    stream.as_str()
}
