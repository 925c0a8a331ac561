//! Suppression: addresses that we do not write to, with reason, scope and source. Not consent.

use crate::stream::Stream;

crate::words! {
    /// Why an address is suppressed.
    pub enum SuppressionReason {
        /// A remote host said in our own session that the mailbox does not exist (C1).
        NoSuchMailbox = "no_such_mailbox",
        /// The mailbox is disabled or moved (C2, C3).
        Disabled = "disabled",
        /// The domain takes no mail (C5).
        BadDomain = "bad_domain",
        /// Soft bounces reached the workspace's limit (BC-4).
        BounceLimit = "bounce_limit",
        /// An abuse report.
        Complaint = "complaint",
        /// The person objected to everything.
        OptOut = "opt_out",
        /// An operator did it.
        Manual = "manual",
        /// The person's data were erased; only a keyed hash is left (LAW-32).
        Erased = "erased",
    }
}

crate::words! {
    /// What a suppression covers.
    pub enum SuppressionScope {
        /// Every message of either stream.
        All = "all",
        /// Marketing only.
        Marketing = "marketing",
    }
}

impl SuppressionReason {
    /// The scope that the reason has unless somebody chose another.
    pub const fn default_scope(self) -> SuppressionScope {
        match self {
            SuppressionReason::NoSuchMailbox | SuppressionReason::Disabled | SuppressionReason::BadDomain => {
                SuppressionScope::All
            }
            // A mailbox that was full may still get its invoice.
            SuppressionReason::BounceLimit
            | SuppressionReason::Complaint
            | SuppressionReason::OptOut
            | SuppressionReason::Manual
            | SuppressionReason::Erased => SuppressionScope::Marketing,
        }
    }
}

impl SuppressionScope {
    /// Whether a suppression of this scope withholds a message of `stream`.
    pub const fn covers(self, stream: Stream) -> bool {
        match (self, stream) {
            (SuppressionScope::All, Stream::Transactional | Stream::Marketing) => true,
            (SuppressionScope::Marketing, Stream::Marketing) => true,
            (SuppressionScope::Marketing, Stream::Transactional) => false,
        }
    }
}
