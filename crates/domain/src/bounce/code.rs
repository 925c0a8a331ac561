//! What codes alone mean: enhanced status first, then the basic code (RFC 3463, RFC 5321 4.2, the IANA registry).
//!
//! Must not know texts. A blanket code (5.7.1, 550 outside RCPT) leaves the class open.

use postrider_mail::reply::EnhancedStatus;
use postrider_mail::stage::Stage;

use super::{BounceClass, Finality};

/// The class of an enhanced status; `None` when it says too little.
pub(super) fn by_status(status: EnhancedStatus, finality: Finality) -> Option<BounceClass> {
    let at_last = finality == Finality::Final;
    Some(match (status.subject, status.detail) {
        (1, 1 | 3 | 4) => BounceClass::InvalidRecipient,
        // Bad destination system, and a null MX (RFC 7505).
        (1, 2 | 10) => BounceClass::BadDomain,
        (1, 6) => BounceClass::MovedRecipient,
        (1, 7 | 8) => BounceClass::AuthFailed,
        // Gmail's 4.2.1 is "too many messages to this mailbox at once".
        (2, 1) if at_last => BounceClass::DisabledRecipient,
        (2, 1) => BounceClass::RateLimited,
        (2, 2) => BounceClass::MailboxFull,
        (2, 3) | (3, 4) => BounceClass::TooBig,
        (2, 4) => BounceClass::RecipientPolicy,
        (3, 0..=2) => BounceClass::Transient,
        (3, 3 | 5) => BounceClass::Protocol,
        // No such domain, once a host says so for good; a routing fault until then.
        (4, 4) if at_last => BounceClass::BadDomain,
        (4, 1..=4) => BounceClass::UnreachableHost,
        (4, 5) => BounceClass::Transient,
        (4, 6 | 14) => BounceClass::RecipientPolicy,
        (4, 7) => BounceClass::Expired,
        (5, 3) => BounceClass::TooMany,
        (5, 1..=2 | 4..=6) => BounceClass::Protocol,
        (6, 7) => BounceClass::RecipientPolicy,
        (6, _) => BounceClass::Protocol,
        (7, 2) | (7, 124 | 133..=136) => BounceClass::RecipientPolicy,
        (7, 13) => BounceClass::DisabledRecipient,
        (7, 17) => BounceClass::InvalidRecipient,
        (7, 18) => BounceClass::BadDomain,
        (7, 4..=9 | 20..=27 | 29..=32 | 509 | 515) => BounceClass::AuthFailed,
        (7, 28 | 500 | 504..=508 | 510 | 512..=514 | 516..=605 | 650..=699 | 850..=899) if !at_last => {
            BounceClass::RateLimited
        }
        (7, 28) => BounceClass::RateLimited,
        (7, 501..=503 | 511 | 606..=649) => BounceClass::BlockedIp,
        // A blanket "policy" that passes is greylisting more often than not; for good it says nothing.
        (7, 0 | 1) if !at_last => BounceClass::Transient,
        _ => return None,
    })
}

/// The class of a basic code at a stage; `None` when it says too little.
pub(super) const fn by_basic_code(stage: Option<Stage>, code: u16) -> Option<BounceClass> {
    Some(match (code, stage) {
        (421 | 450 | 451 | 452, _) => BounceClass::Transient,
        // "Host does not accept mail", "domain does not accept mail" (RFC 7504).
        (521 | 556, _) => BounceClass::BadDomain,
        (523, _) => BounceClass::TooBig,
        (552, Some(Stage::Rcpt)) => BounceClass::MailboxFull,
        (552, Some(Stage::Data | Stage::Dot | Stage::Mail)) => BounceClass::TooBig,
        (550 | 551 | 553, Some(Stage::Rcpt)) => BounceClass::InvalidRecipient,
        (554, Some(Stage::Connect | Stage::Greeting | Stage::Ehlo)) => BounceClass::BlockedIp,
        (571, Some(Stage::Connect | Stage::Greeting | Stage::Ehlo | Stage::Mail)) => BounceClass::BlockedIp,
        (550, Some(Stage::Connect | Stage::Greeting | Stage::Ehlo)) => BounceClass::BlockedIp,
        (530 | 535, _) => BounceClass::AuthFailed,
        (500..=504 | 555, _) => BounceClass::Protocol,
        (400..=499, _) => BounceClass::Transient,
        _ => return None,
    })
}
