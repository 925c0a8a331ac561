//! The classes of bounces, C1 to C21, and the one table of what follows from each.
//!
//! Must not know texts, codes or rules: how a class is found is said in [`super::classify`].

use crate::suppression::SuppressionReason;

crate::words! {
    /// Whose fault it is and what kind of fault (C1 to C21).
    pub enum BounceClass {
        /// C1: the mailbox does not exist.
        InvalidRecipient = "invalid_recipient",
        /// C2: the mailbox is disabled.
        DisabledRecipient = "disabled_recipient",
        /// C3: the mailbox has moved.
        MovedRecipient = "moved_recipient",
        /// C4: the mailbox is full.
        MailboxFull = "mailbox_full",
        /// C5: the domain takes no mail.
        BadDomain = "bad_domain",
        /// C6: the host was not reached.
        UnreachableHost = "unreachable_host",
        /// C7: greylisting and other passing troubles.
        Transient = "transient",
        /// C8: we are too fast.
        RateLimited = "rate_limited",
        /// C9: our address is blocked.
        BlockedIp = "blocked_ip",
        /// C10: our domain or a link is blocked.
        BlockedDomain = "blocked_domain",
        /// C11: the content is taken for spam or malware.
        SpamContent = "spam_content",
        /// C12: SPF, DKIM, DMARC, PTR, HELO, TLS or the sender address of ours.
        AuthFailed = "auth_failed",
        /// C13: the recipient's organisation does not want it.
        RecipientPolicy = "recipient_policy",
        /// C14: too big, or an attachment type.
        TooBig = "too_big",
        /// C15: protocol or format.
        Protocol = "protocol",
        /// C16: too many recipients or connections.
        TooMany = "too_many",
        /// C17: tried until the time was up.
        Expired = "expired",
        /// C18: an answer by a machine on behalf of a person: vacation, challenge.
        AutoReply = "auto_reply",
        /// C19: the recipient said "this is spam".
        Complaint = "complaint",
        /// C20: the recipient wants no more of it.
        Unsubscribe = "unsubscribe",
        /// C21: not known; the first digit decides.
        Unknown = "unknown",
    }
}

crate::words! {
    /// What a bounce is about: whose matter it is to mend it.
    pub enum About {
        /// The mailbox.
        Recipient = "recipient",
        /// The recipient's domain or organisation.
        Domain = "domain",
        /// What the message says or carries.
        Content = "content",
        /// Our address, domain, set-up or speed.
        Us = "us",
        /// The hosts of the provider, for the time being.
        Site = "site",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

crate::words! {
    /// What follows from a bounce. Whether it really happens is decided where the proof is: only our own session, or a
    /// report with our valid token for a real delivery, may suppress.
    pub enum BounceConsequence {
        /// Nothing beyond the end of this delivery.
        None = "none",
        /// Tried again by the policy's gaps.
        Retry = "retry",
        /// The site rests: everything of ours that waits for it waits longer.
        HoldSite = "hold_site",
        /// The recipient's domain rests.
        HoldDomain = "hold_domain",
        /// One soft event for the mailbox; several over weeks without a success suppress it.
        CountSoft = "count_soft",
        /// The mailbox is suppressed.
        SuppressMailbox = "suppress_mailbox",
        /// A person must look: it is about us, and trying again makes it worse.
        Alarm = "alarm",
    }
}

crate::words! {
    /// Whether the other side said "not now" or "never so".
    pub enum Finality {
        /// 4yz, or a report of a delay.
        Passing = "passing",
        /// 5yz.
        Final = "final",
    }
}

/// One row of the table: what holds for a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassFacts {
    /// The number of the class.
    pub code: &'static str,
    /// Whose matter it is.
    pub about: About,
    /// The address or its domain cannot work.
    pub hard: bool,
    /// A final refusal is tried again nevertheless, since it is about speed or number.
    pub try_again: bool,
    /// What follows from a passing refusal.
    pub passing: BounceConsequence,
    /// What follows from a final one.
    pub at_last: BounceConsequence,
}

impl BounceClass {
    /// The one table from class to consequence; docs/bounces.md shows it, a test compares.
    pub const fn facts(self) -> ClassFacts {
        use About as A;
        use BounceConsequence as Q;
        let (code, about, passing, at_last) = match self {
            BounceClass::InvalidRecipient => ("C1", A::Recipient, Q::Retry, Q::SuppressMailbox),
            BounceClass::DisabledRecipient => ("C2", A::Recipient, Q::Retry, Q::CountSoft),
            BounceClass::MovedRecipient => ("C3", A::Recipient, Q::Retry, Q::SuppressMailbox),
            BounceClass::MailboxFull => ("C4", A::Recipient, Q::Retry, Q::CountSoft),
            BounceClass::BadDomain => ("C5", A::Domain, Q::Retry, Q::HoldDomain),
            BounceClass::UnreachableHost => ("C6", A::Domain, Q::Retry, Q::HoldDomain),
            BounceClass::Transient => ("C7", A::Site, Q::Retry, Q::None),
            BounceClass::RateLimited => ("C8", A::Us, Q::HoldSite, Q::HoldSite),
            BounceClass::BlockedIp => ("C9", A::Us, Q::HoldSite, Q::Alarm),
            BounceClass::BlockedDomain => ("C10", A::Us, Q::Alarm, Q::Alarm),
            BounceClass::SpamContent => ("C11", A::Content, Q::Retry, Q::Alarm),
            BounceClass::AuthFailed => ("C12", A::Us, Q::Alarm, Q::Alarm),
            BounceClass::RecipientPolicy => ("C13", A::Domain, Q::Retry, Q::CountSoft),
            BounceClass::TooBig => ("C14", A::Content, Q::Retry, Q::None),
            BounceClass::Protocol => ("C15", A::Us, Q::Retry, Q::Alarm),
            BounceClass::TooMany => ("C16", A::Us, Q::Retry, Q::Retry),
            BounceClass::Expired => ("C17", A::Site, Q::Retry, Q::CountSoft),
            BounceClass::AutoReply => ("C18", A::Recipient, Q::None, Q::None),
            BounceClass::Complaint => ("C19", A::Recipient, Q::SuppressMailbox, Q::SuppressMailbox),
            BounceClass::Unsubscribe => ("C20", A::Recipient, Q::SuppressMailbox, Q::SuppressMailbox),
            BounceClass::Unknown => ("C21", A::Unknown, Q::Retry, Q::None),
        };
        let hard = matches!(self, BounceClass::InvalidRecipient | BounceClass::MovedRecipient | BounceClass::BadDomain);
        let try_again = matches!(self, BounceClass::RateLimited | BounceClass::TooMany);
        ClassFacts { code, about, hard, try_again, passing, at_last }
    }

    /// The number of the class, `C1` to `C21`.
    pub const fn code(self) -> &'static str {
        self.facts().code
    }

    /// The class of a number or of a word.
    pub fn from_code(text: &str) -> Option<BounceClass> {
        BounceClass::ALL.iter().copied().find(|class| class.code() == text).or_else(|| BounceClass::parse(text))
    }

    /// About the mailbox or its organisation; said before RCPT or after the dot it means something else (BC-6).
    pub const fn is_about_recipient(self) -> bool {
        matches!(
            self,
            BounceClass::InvalidRecipient
                | BounceClass::DisabledRecipient
                | BounceClass::MovedRecipient
                | BounceClass::MailboxFull
                | BounceClass::RecipientPolicy
        )
    }

    /// The reason under which a mailbox is suppressed, for the classes whose final refusal suppresses it.
    pub const fn suppression(self) -> Option<SuppressionReason> {
        match self.facts().at_last {
            BounceConsequence::SuppressMailbox => Some(match self {
                BounceClass::MovedRecipient => SuppressionReason::Disabled,
                BounceClass::Complaint => SuppressionReason::Complaint,
                BounceClass::Unsubscribe => SuppressionReason::OptOut,
                BounceClass::InvalidRecipient
                | BounceClass::DisabledRecipient
                | BounceClass::MailboxFull
                | BounceClass::BadDomain
                | BounceClass::UnreachableHost
                | BounceClass::Transient
                | BounceClass::RateLimited
                | BounceClass::BlockedIp
                | BounceClass::BlockedDomain
                | BounceClass::SpamContent
                | BounceClass::AuthFailed
                | BounceClass::RecipientPolicy
                | BounceClass::TooBig
                | BounceClass::Protocol
                | BounceClass::TooMany
                | BounceClass::Expired
                | BounceClass::AutoReply
                | BounceClass::Unknown => SuppressionReason::NoSuchMailbox,
            }),
            BounceConsequence::None
            | BounceConsequence::Retry
            | BounceConsequence::HoldSite
            | BounceConsequence::HoldDomain
            | BounceConsequence::CountSoft
            | BounceConsequence::Alarm => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_1_to_21_and_read_back() {
        assert_eq!(BounceClass::ALL.len(), 21);
        for (at, class) in BounceClass::ALL.iter().enumerate() {
            assert_eq!(class.code(), format!("C{}", at + 1));
            assert_eq!(BounceClass::from_code(class.code()), Some(*class));
            assert_eq!(BounceClass::from_code(class.as_str()), Some(*class));
        }
        assert_eq!(BounceClass::from_code("C22"), None);
    }

    #[test]
    fn nothing_about_us_or_the_content_suppresses_and_only_three_classes_are_hard() {
        for class in BounceClass::ALL {
            let facts = class.facts();
            if matches!(facts.about, About::Us | About::Content | About::Site | About::Unknown) {
                assert!(!facts.hard, "{class}");
                assert_eq!(class.suppression(), None, "{class}");
            }
            assert_eq!(facts.hard, ["C1", "C3", "C5"].contains(&facts.code), "{class}");
        }
        let suppress: Vec<_> =
            BounceClass::ALL.iter().filter(|c| c.suppression().is_some()).map(|c| c.code()).collect();
        assert_eq!(suppress, ["C1", "C3", "C19", "C20"], "BC-3");
    }
}
