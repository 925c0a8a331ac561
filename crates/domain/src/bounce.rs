//! What a refusal means: whose fault it is, whether to try again, whether the address is proven dead.
//!
//! Stage matters (BC-6): connect, EHLO and MAIL are about us, RCPT is about the recipient, the end of data is about
//! content and policy even when the code looks like 5.1.1. Rules are data ([`rules`]); what follows from a class is one
//! table ([`class`]). docs/bounces.md tells the whole. Must not know the store, clocks or sockets.

pub mod breaker;
pub mod class;
pub mod classify;
mod code;
pub mod report;
pub mod rules;
mod sample;
pub mod soft;

pub use class::{About, BounceClass, BounceConsequence, ClassFacts, Finality};
pub use classify::{Refusal, Verdict, classify};
pub use rules::{Origin, RuleBook, RuleError};

use postrider_mail::reply::Reply;
use postrider_mail::stage::Stage;

use crate::outcome::AttemptResult;
use crate::suppression::SuppressionReason;

/// How much of a reply is read, in octets (BC-7 keeps as much).
const REPLY_MAX: usize = 1_024;

/// Reads the reply that ended an attempt of ours at `stage`, from a host of `site`.
pub fn judge_reply(book: &RuleBook, stage: Stage, site: Option<&str>, reply: &Reply) -> Verdict {
    let text = reply.text();
    let text = &text[..text.floor_char_boundary(REPLY_MAX)];
    classify(
        book,
        &Refusal { stage: Some(stage), code: Some(reply.code), status: reply.enhanced, text, site, delayed: false },
    )
}

impl Verdict {
    /// The result of the attempt that ended with it.
    pub fn attempt_result(&self) -> AttemptResult {
        match (self.class, self.permanent) {
            (None, _) => AttemptResult::Accepted,
            (Some(_), true) => AttemptResult::Rejected,
            (Some(_), false) => AttemptResult::Deferred,
        }
    }

    /// The suppression that our own session proves (BC-3): a final refusal of this one recipient, at RCPT.
    pub fn proof(&self, stage: Stage) -> Option<SuppressionReason> {
        match (stage, self.class, self.consequence) {
            (Stage::Rcpt, Some(class), BounceConsequence::SuppressMailbox) if self.permanent => class.suppression(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
