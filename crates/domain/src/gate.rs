//! The one function that says whether a message may go to a contact now, and if not, why.
//!
//! It runs when the audience is frozen and again right before MAIL FROM (`last_look`).

use crate::consent::ConsentState;
use crate::contact::AddressState;
use crate::stream::Stream;
use crate::suppression::{SuppressionReason, SuppressionScope};

crate::words! {
    /// Why a message is withheld from a recipient.
    pub enum Withheld {
        /// No consent for the purpose is recorded.
        NoConsent = "no_consent",
        /// Consent was asked for and has not been answered.
        ConsentPending = "consent_pending",
        /// The person took the consent back or refused it.
        Withdrawn = "withdrawn",
        /// The address is suppressed.
        Suppressed = "suppressed",
        /// Another row of the same campaign has this contact or mailbox.
        Duplicate = "duplicate",
        /// The domain takes no mail, or the mailbox cannot be used.
        Unmailable = "unmailable",
        /// The contact was erased after the audience was frozen.
        Erased = "erased",
        /// The message could not be made for this recipient (a template error).
        Unrenderable = "unrenderable",
    }
}

/// What must be known of a recipient to decide.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The stream of the message.
    pub stream: Stream,
    /// Consent for the message's purpose; `None` when nothing is recorded.
    pub consent: Option<ConsentState>,
    /// The suppressions of the mailbox that are in force: the widest scope and its reason.
    pub suppression: Option<(SuppressionScope, SuppressionReason)>,
    /// The state of the address.
    pub address: AddressState,
    /// Whether the contact still exists.
    pub contact: Presence,
}

/// Whether the contact of a delivery is still in the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// In the book, or the message never had a contact (transactional).
    Present,
    /// Erased.
    Erased,
}

/// May this message go to this recipient now? `Err` carries the reason that an operator sees.
///
/// # Errors
/// The first reason in the order: erased, unmailable, suppressed, consent.
pub const fn may_send(facts: &Facts) -> Result<(), Withheld> {
    if matches!(facts.contact, Presence::Erased) {
        return Err(Withheld::Erased);
    }
    if !facts.address.is_mailable() {
        return Err(Withheld::Unmailable);
    }
    if let Some((scope, _)) = facts.suppression
        && scope.covers(facts.stream)
    {
        return Err(Withheld::Suppressed);
    }
    match facts.stream {
        Stream::Transactional => Ok(()),
        Stream::Marketing => match facts.consent {
            Some(ConsentState::Granted) => Ok(()),
            Some(ConsentState::Requested) => Err(Withheld::ConsentPending),
            Some(ConsentState::Refused | ConsentState::Withdrawn) => Err(Withheld::Withdrawn),
            None => Err(Withheld::NoConsent),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(stream: Stream) -> Facts {
        Facts { stream, consent: None, suppression: None, address: AddressState::Mailable, contact: Presence::Present }
    }

    #[test]
    fn marketing_goes_only_with_granted_consent() {
        let mut f = facts(Stream::Marketing);
        assert_eq!(may_send(&f), Err(Withheld::NoConsent));
        for state in ConsentState::ALL {
            f.consent = Some(*state);
            let want = match state {
                ConsentState::Granted => Ok(()),
                ConsentState::Requested => Err(Withheld::ConsentPending),
                ConsentState::Refused | ConsentState::Withdrawn => Err(Withheld::Withdrawn),
            };
            assert_eq!(may_send(&f), want, "{state}");
        }
    }

    #[test]
    fn an_opt_out_does_not_bind_transactional_mail_but_a_dead_mailbox_does() {
        let mut f = facts(Stream::Transactional);
        f.suppression = Some((SuppressionScope::Marketing, SuppressionReason::OptOut));
        assert_eq!(may_send(&f), Ok(()));
        f.suppression = Some((SuppressionScope::All, SuppressionReason::NoSuchMailbox));
        assert_eq!(may_send(&f), Err(Withheld::Suppressed));
        f.address = AddressState::NullMx;
        assert_eq!(may_send(&f), Err(Withheld::Unmailable));
        f.contact = Presence::Erased;
        assert_eq!(may_send(&f), Err(Withheld::Erased));
    }
}
