//! From a reply, or one recipient of a report, to a verdict. Pure: the same words mean the same at any time.
//!
//! Order (BC-2): operator rule, provider rule, text rule, enhanced status, basic code. After that the stage has its say
//! (BC-6): what is said before RCPT is about us and what is said after the final dot is about the content, whatever the
//! code pretends. Must not know where the reply came from, nor who may act on it.

use postrider_mail::reply::EnhancedStatus;
use postrider_mail::stage::Stage;

use super::code::{by_basic_code, by_status};
use super::rules::{Asked, Origin, Rule, RuleBook, TEXT_MAX};
use super::{About, BounceClass, BounceConsequence, Finality};

/// The words with which a host refused.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The step at which they came; `None` when a report does not say.
    pub stage: Option<Stage>,
    /// The basic code, when there is one.
    pub code: Option<u16>,
    /// The enhanced status, when there is one.
    pub status: Option<EnhancedStatus>,
    /// The text; only the first [`TEXT_MAX`] octets are read.
    pub text: &'a str,
    /// The provider, by a name that the rules know.
    pub site: Option<&'a str>,
    /// A report said that the delivery is delayed only.
    pub delayed: bool,
}

/// The reading of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The class; `None` for a positive reply.
    pub class: Option<BounceClass>,
    /// The address or its domain cannot work (C1, C3, C5).
    pub hard: bool,
    /// Do not try again.
    pub permanent: bool,
    /// Whose matter it is.
    pub about: About,
    /// What follows.
    pub consequence: BounceConsequence,
    /// What decided: the id of a rule, `status.5.1.1`, `code.550`, or `none`.
    pub rule: String,
}

impl Verdict {
    /// The verdict of a class by the table.
    pub fn of(class: BounceClass, finality: Finality, rule: impl Into<String>) -> Verdict {
        let facts = class.facts();
        let (permanent, consequence) = match finality {
            Finality::Passing => (false, facts.passing),
            Finality::Final => (!facts.try_again, facts.at_last),
        };
        Verdict { class: Some(class), hard: facts.hard, permanent, about: facts.about, consequence, rule: rule.into() }
    }

    /// A rule's text decided, not a code.
    pub fn is_by_text(&self) -> bool {
        !(self.rule == "none"
            || self.rule == "delayed"
            || self.rule.starts_with("status.")
            || self.rule.starts_with("code."))
    }

    /// Nothing was refused.
    pub(super) fn positive(rule: &str) -> Verdict {
        Verdict {
            class: None,
            hard: false,
            permanent: false,
            about: About::Unknown,
            consequence: BounceConsequence::None,
            rule: rule.to_owned(),
        }
    }
}

/// Reads a refusal with the rules of `book`.
pub fn classify(book: &RuleBook, said: &Refusal<'_>) -> Verdict {
    let first_digit = said.status.map(|status| u16::from(status.class));
    let digit = said.code.map(|code| code / 100).or(first_digit);
    if matches!(digit, Some(2 | 3)) {
        return Verdict::positive("none");
    }
    let mut finality = if said.delayed || digit == Some(4) { Finality::Passing } else { Finality::Final };
    let text = said.text[..said.text.floor_char_boundary(TEXT_MAX)].to_lowercase();
    let asked = Asked { stage: said.stage, code: said.code, status: said.status, text: &text, site: said.site };
    let found = book.find(&asked);
    let by_status = || said.status.and_then(|status| by_status(status, finality).map(|class| (class, status)));
    let of_rule = |rule: &Rule| (rule.class, proves(rule, said), rule.id.clone());
    let (class, proven, rule) = match (found.strong, by_status(), found.weak) {
        (Some((Origin::Operator, rule)), ..) => {
            let finality = if rule.passing { Finality::Passing } else { finality };
            return Verdict::of(rule.class, finality, rule.id.as_str());
        }
        (Some((Origin::Provider | Origin::Text, rule)), ..) => {
            if rule.passing {
                finality = Finality::Passing;
            }
            of_rule(rule)
        }
        (None, Some((class, status)), _) => (class, true, format!("status.{status}")),
        (None, None, Some((_, rule))) => of_rule(rule),
        (None, None, None) => return by_code(said, finality),
    };
    Verdict::of(by_stage(class, said.stage, proven), finality, rule)
}

/// Whether the words of a rule prove something about the mailbox: they come from whoever holds the mailboxes, or a
/// status of the address group stands beside them.
fn proves(rule: &Rule, said: &Refusal<'_>) -> bool {
    let address = said.status.is_some_and(|status| matches!(status.subject, 1 | 2) && status.detail != 0);
    // 551 and 553 are about the mailbox by definition (RFC 5321 4.2.3); 550 is about anything.
    // A reporting host that quotes nobody speaks of mailboxes of its own.
    let silent = said.status.is_none_or(|status| status.subject == 5);
    let own = said.stage.is_none() && said.code.is_none() && silent;
    rule.proof || own || address || matches!(said.code, Some(551 | 553))
}

/// The basic code alone. It may say that a mailbox is unknown, but it never suppresses: that needs a text or a status.
fn by_code(said: &Refusal<'_>, finality: Finality) -> Verdict {
    let blanket = said.status.is_none_or(|status| matches!(status.subject, 0 | 1 | 2 | 5));
    let by_basic = || said.code.and_then(|code| by_basic_code(said.stage, code).map(|class| (class, code)));
    let (class, rule) = match by_basic() {
        // A status of another group says that it is about something else, if not about what.
        Some((class, _)) if class.is_about_recipient() && !blanket => (BounceClass::Unknown, "none".to_owned()),
        Some((class, code)) => (class, format!("code.{code}")),
        None if said.delayed => (BounceClass::Expired, "delayed".to_owned()),
        None => (BounceClass::Unknown, "none".to_owned()),
    };
    let mut verdict = Verdict::of(by_stage(class, said.stage, false), finality, rule);
    if verdict.consequence == BounceConsequence::SuppressMailbox {
        verdict.consequence = BounceConsequence::CountSoft;
    }
    verdict
}

/// BC-6. A text about an unknown mailbox that came at no known stage proves nothing by itself: many hosts write so after
/// they have seen the content.
const fn by_stage(class: BounceClass, stage: Option<Stage>, proven: bool) -> BounceClass {
    let dead =
        matches!(class, BounceClass::InvalidRecipient | BounceClass::DisabledRecipient | BounceClass::MovedRecipient);
    match stage {
        Some(Stage::Rcpt | Stage::Resolve) => class,
        Some(Stage::Connect | Stage::Tls | Stage::Greeting | Stage::Ehlo) => {
            if class.is_about_recipient() {
                BounceClass::BlockedIp
            } else {
                class
            }
        }
        Some(Stage::Auth | Stage::Mail) => {
            // A domain that does not exist is ours at this step.
            if class.is_about_recipient() || matches!(class, BounceClass::BadDomain) {
                BounceClass::AuthFailed
            } else {
                class
            }
        }
        Some(Stage::Data | Stage::Dot) => {
            if dead || matches!(class, BounceClass::BadDomain) {
                BounceClass::RecipientPolicy
            } else {
                class
            }
        }
        None => {
            if matches!(class, BounceClass::InvalidRecipient) && !proven {
                BounceClass::RecipientPolicy
            } else {
                class
            }
        }
    }
}
