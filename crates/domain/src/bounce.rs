//! What a remote host's reply means: whose fault it is, whether to try again, whether the address is proven dead.
//!
//! Stage matters (BC-6): connect, EHLO and MAIL are about us, RCPT is about the recipient, the end of data is about
//! content and policy even when the code looks like 5.1.1. Only C1, C2, C3 and C5 at RCPT may suppress (BC-3).

use crate::outcome::AttemptResult;
use crate::suppression::SuppressionReason;
use postrider_mail::reply::{EnhancedStatus, Reply};
use postrider_mail::stage::Stage;

crate::words! {
    /// The category of a reply (standards 6.1, C1–C21).
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
        /// C11: the content is taken for spam.
        SpamContent = "spam_content",
        /// C12: SPF, DKIM, DMARC, PTR, HELO or TLS of ours.
        AuthFailed = "auth_failed",
        /// C13: the recipient's organisation does not want it.
        RecipientPolicy = "recipient_policy",
        /// C14: too big, or an attachment type.
        TooBig = "too_big",
        /// C15: protocol or format.
        Protocol = "protocol",
        /// C16: too many recipients or connections.
        TooMany = "too_many",
        /// C21: not known; the first digit decides.
        Unknown = "unknown",
    }
}

impl BounceClass {
    /// The suppression that this class proves when a permanent reply came at RCPT.
    const fn proof(self) -> Option<SuppressionReason> {
        match self {
            BounceClass::InvalidRecipient => Some(SuppressionReason::NoSuchMailbox),
            BounceClass::DisabledRecipient | BounceClass::MovedRecipient => Some(SuppressionReason::Disabled),
            BounceClass::MailboxFull
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
            | BounceClass::Unknown => None,
        }
    }
}

/// The reading of one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Accepted, Deferred or Rejected.
    pub result: AttemptResult,
    /// Whose fault.
    pub class: BounceClass,
    /// Set only when the reply proves that the address is dead.
    pub suppress: Option<SuppressionReason>,
}

/// Reads the reply that ended an attempt at `stage`.
///
/// The first digit of the basic code decides on retry (BC-1, RF-8); a few texts overrule it
/// (a 5yz that says "too many connections" is tried again, C16).
pub fn judge(stage: Stage, reply: &Reply) -> Verdict {
    if reply.is_positive() {
        return Verdict { result: AttemptResult::Accepted, class: BounceClass::Unknown, suppress: None };
    }
    let class = classify(stage, reply);
    let retry = reply.is_transient() || matches!(class, BounceClass::TooMany | BounceClass::RateLimited);
    if retry {
        return Verdict { result: AttemptResult::Deferred, class, suppress: None };
    }
    let about_recipient = matches!(stage, Stage::Rcpt);
    let suppress = if about_recipient && reply.is_permanent() { class.proof() } else { None };
    Verdict { result: AttemptResult::Rejected, class, suppress }
}

/// Text cues, most specific first; matched in lowercase. Ours, from the provider table of the standards page.
const CUES: &[(&str, BounceClass)] = &[
    ("receivingrateperm", BounceClass::RateLimited),
    ("receiving email too quickly", BounceClass::RateLimited),
    ("unusual rate", BounceClass::RateLimited),
    ("rate limit", BounceClass::RateLimited),
    ("[tss0", BounceClass::RateLimited),
    ("too many connections", BounceClass::TooMany),
    ("maximum number of connections", BounceClass::TooMany),
    ("max message per connection", BounceClass::TooMany),
    ("too many recipients", BounceClass::TooMany),
    ("spamhaus", BounceClass::BlockedIp),
    ("block list", BounceClass::BlockedIp),
    ("blocklist", BounceClass::BlockedIp),
    ("blacklist", BounceClass::BlockedIp),
    ("blocked using", BounceClass::BlockedIp),
    ("dmarc", BounceClass::AuthFailed),
    ("dkim", BounceClass::AuthFailed),
    ("spf", BounceClass::AuthFailed),
    ("unauthenticated", BounceClass::AuthFailed),
    ("reverse dns", BounceClass::AuthFailed),
    ("ptr record", BounceClass::AuthFailed),
    ("helo", BounceClass::AuthFailed),
    ("spam", BounceClass::SpamContent),
    ("unsolicited", BounceClass::SpamContent),
    ("virus", BounceClass::SpamContent),
    ("greylist", BounceClass::Transient),
    ("graylist", BounceClass::Transient),
    ("try again later", BounceClass::Transient),
    ("relay access denied", BounceClass::RecipientPolicy),
    ("relaying denied", BounceClass::RecipientPolicy),
    ("relay not permitted", BounceClass::RecipientPolicy),
    ("rcpthosts", BounceClass::RecipientPolicy),
    ("quota", BounceClass::MailboxFull),
    ("mailbox full", BounceClass::MailboxFull),
    ("mailbox is full", BounceClass::MailboxFull),
    ("out of storage", BounceClass::MailboxFull),
    ("insufficient storage", BounceClass::MailboxFull),
    ("message size", BounceClass::TooBig),
    ("too large", BounceClass::TooBig),
    ("too big", BounceClass::TooBig),
    ("no longer on server", BounceClass::MovedRecipient),
    ("disabled", BounceClass::DisabledRecipient),
    ("inactive", BounceClass::DisabledRecipient),
    ("suspended", BounceClass::DisabledRecipient),
    ("does not exist", BounceClass::InvalidRecipient),
    ("user unknown", BounceClass::InvalidRecipient),
    ("unknown user", BounceClass::InvalidRecipient),
    ("no such user", BounceClass::InvalidRecipient),
    ("no such mailbox", BounceClass::InvalidRecipient),
    ("no mailbox here", BounceClass::InvalidRecipient),
    ("mailbox not found", BounceClass::InvalidRecipient),
    ("recipient not found", BounceClass::InvalidRecipient),
    ("invalid recipient", BounceClass::InvalidRecipient),
    ("mailbox unavailable", BounceClass::InvalidRecipient),
];

/// The first cue whose text the reply holds.
fn cue(text: &str) -> Option<BounceClass> {
    CUES.iter().find(|(words, _)| text.contains(words)).map(|(_, class)| *class)
}

fn classify(stage: Stage, reply: &Reply) -> BounceClass {
    let text = reply.text().to_lowercase();
    let said = cue(&text);
    let by_code = reply.enhanced.as_ref().and_then(|status| by_status(status, reply.code, said));
    let class = by_code.or(said).unwrap_or_else(|| by_basic_code(stage, reply.code));
    match stage {
        Stage::Rcpt => class,
        // About us or the content, never about the recipient (BC-6).
        Stage::Connect | Stage::Greeting | Stage::Ehlo => match class {
            BounceClass::InvalidRecipient
            | BounceClass::DisabledRecipient
            | BounceClass::MovedRecipient
            | BounceClass::MailboxFull
            | BounceClass::RecipientPolicy => BounceClass::BlockedIp,
            other => other,
        },
        Stage::Resolve | Stage::Tls | Stage::Auth | Stage::Mail => match class {
            BounceClass::InvalidRecipient
            | BounceClass::DisabledRecipient
            | BounceClass::MovedRecipient
            | BounceClass::MailboxFull
            | BounceClass::RecipientPolicy => BounceClass::AuthFailed,
            other => other,
        },
        Stage::Data | Stage::Dot => match class {
            BounceClass::InvalidRecipient | BounceClass::DisabledRecipient | BounceClass::MovedRecipient => {
                BounceClass::RecipientPolicy
            }
            other => other,
        },
    }
}

/// Enhanced status to class (standards 6.2); the blanket codes leave the choice to the text.
fn by_status(status: &EnhancedStatus, code: u16, said: Option<BounceClass>) -> Option<BounceClass> {
    let permanent = code / 100 == 5;
    Some(match (status.subject, status.detail) {
        (1, 1 | 3 | 4) => match said {
            // Some hosts say 5.1.1 and mean policy; a text about us wins over the code.
            Some(
                us @ (BounceClass::BlockedIp
                | BounceClass::SpamContent
                | BounceClass::AuthFailed
                | BounceClass::RateLimited),
            ) => us,
            _ => BounceClass::InvalidRecipient,
        },
        (1, 2) | (1, 10) | (4, 4) if permanent => BounceClass::BadDomain,
        (1, 6) => BounceClass::MovedRecipient,
        (1, 7 | 8) => BounceClass::AuthFailed,
        (2, 1) if said == Some(BounceClass::RateLimited) || !permanent => BounceClass::RateLimited,
        (2, 1) => BounceClass::DisabledRecipient,
        (2, 2) => BounceClass::MailboxFull,
        (2, 3) | (3, 4) => BounceClass::TooBig,
        (2, 4) => BounceClass::RecipientPolicy,
        (3, _) => BounceClass::Transient,
        (4, 1..=4) => BounceClass::UnreachableHost,
        (4, 5 | 7) => BounceClass::Transient,
        (4, 6) | (4, 14) => BounceClass::RecipientPolicy,
        (5, 3) => BounceClass::TooMany,
        (5, 0..=9) => return said.or(Some(BounceClass::Protocol)),
        (6, 7) => BounceClass::RecipientPolicy,
        (6, _) => BounceClass::Protocol,
        (7, 20..=27 | 29..=32 | 509 | 515) => BounceClass::AuthFailed,
        (7, 28 | 500 | 650 | 850..=899) => BounceClass::RateLimited,
        (7, 501..=503 | 511 | 606..=649) => BounceClass::BlockedIp,
        (7, 2 | 124 | 133..=136) => BounceClass::RecipientPolicy,
        (7, 13) => BounceClass::DisabledRecipient,
        (7, _) => return Some(policy(said, permanent)),
        _ => return said,
    })
}

/// x.7.0 and x.7.1: the text decides, and without a clear text nobody is suppressed.
fn policy(said: Option<BounceClass>, permanent: bool) -> BounceClass {
    match said {
        Some(BounceClass::InvalidRecipient | BounceClass::DisabledRecipient | BounceClass::MovedRecipient) | None => {
            if permanent {
                BounceClass::RecipientPolicy
            } else {
                BounceClass::Transient
            }
        }
        Some(class) => class,
    }
}

/// Replies without an enhanced status and without a known text.
const fn by_basic_code(stage: Stage, code: u16) -> BounceClass {
    match code {
        421 | 450 | 451 | 452 => BounceClass::Transient,
        521 | 556 => BounceClass::BadDomain,
        552 => BounceClass::MailboxFull,
        550 | 551 | 553 => match stage {
            Stage::Rcpt => BounceClass::InvalidRecipient,
            Stage::Resolve
            | Stage::Connect
            | Stage::Tls
            | Stage::Greeting
            | Stage::Ehlo
            | Stage::Auth
            | Stage::Mail
            | Stage::Data
            | Stage::Dot => BounceClass::Unknown,
        },
        554 => match stage {
            Stage::Connect | Stage::Greeting | Stage::Ehlo => BounceClass::BlockedIp,
            Stage::Resolve | Stage::Tls | Stage::Auth | Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot => {
                BounceClass::Unknown
            }
        },
        500..=504 => BounceClass::Protocol,
        400..=499 => BounceClass::Transient,
        _ => BounceClass::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Reply {
        let code = line[..3].parse().unwrap();
        let rest = &line[4..];
        let first = rest.split(' ').next().unwrap();
        Reply { code, enhanced: EnhancedStatus::parse(first), lines: vec![rest.to_owned()] }
    }

    #[test]
    fn samples() {
        use AttemptResult::{Deferred, Rejected};
        use BounceClass as C;
        let dead = Some(SuppressionReason::NoSuchMailbox);
        for (stage, line, result, class, suppress) in [
            (Stage::Rcpt, "550 5.1.1 user unknown", Rejected, C::InvalidRecipient, dead),
            (Stage::Rcpt, "550 no such user here", Rejected, C::InvalidRecipient, dead),
            (
                Stage::Rcpt,
                "550 5.2.1 The account is disabled",
                Rejected,
                C::DisabledRecipient,
                Some(SuppressionReason::Disabled),
            ),
            (Stage::Rcpt, "552 5.2.2 mailbox full", Rejected, C::MailboxFull, None),
            (Stage::Rcpt, "451 4.7.1 greylisted, try again later", Deferred, C::Transient, None),
            (Stage::Rcpt, "450 4.1.1 unknown for now", Deferred, C::InvalidRecipient, None),
            (Stage::Rcpt, "550 5.7.1 relay access denied", Rejected, C::RecipientPolicy, None),
            (Stage::Rcpt, "550 5.1.1 blocked using zen.spamhaus.org", Rejected, C::BlockedIp, None),
            // A text about our speed overrules the status: tried again, never suppressed.
            (Stage::Rcpt, "550 5.2.1 ReceivingRatePerm", Deferred, C::RateLimited, None),
            (Stage::Greeting, "554 5.7.1 you are blocked", Rejected, C::BlockedIp, None),
            (Stage::Greeting, "554 go away", Rejected, C::BlockedIp, None),
            (Stage::Mail, "550 5.1.1 user unknown", Rejected, C::AuthFailed, None),
            (Stage::Dot, "550 5.1.1 user unknown", Rejected, C::RecipientPolicy, None),
            (Stage::Dot, "550 5.7.26 unauthenticated mail", Rejected, C::AuthFailed, None),
            (Stage::Dot, "550 5.7.515 access denied", Rejected, C::AuthFailed, None),
            (Stage::Rcpt, "554 Max message per connection", Deferred, C::TooMany, None),
            (Stage::Mail, "421 4.7.28 unusual rate", Deferred, C::RateLimited, None),
        ] {
            let v = judge(stage, &reply(line));
            assert_eq!((v.result, v.class, v.suppress), (result, class, suppress), "{stage:?} {line}");
        }
    }

    #[test]
    fn nothing_but_rcpt_ever_suppresses() {
        for stage in [
            Stage::Connect,
            Stage::Greeting,
            Stage::Ehlo,
            Stage::Auth,
            Stage::Mail,
            Stage::Data,
            Stage::Dot,
            Stage::Tls,
        ] {
            for (words, _) in CUES {
                for code in ["5.1.1", "5.2.1", "5.7.1", "5.1.6"] {
                    assert_eq!(
                        judge(stage, &reply(&format!("550 {code} {words}"))).suppress,
                        None,
                        "{stage:?} {code} {words}"
                    );
                }
            }
        }
    }
}
