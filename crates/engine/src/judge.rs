//! The step `judge`: what an attempt's end means, in the words of an attempt row, and what becomes of the delivery.
//!
//! Pure. A refusal by a remote host is a value, never an error. Must not know sockets or SQL.

use postrider_domain::bounce::{BounceClass, RuleBook, Verdict, judge_reply};
use postrider_domain::outcome::{AttemptResult, Outcome};
use postrider_domain::stream::InDoubtPolicy;
use postrider_domain::suppression::SuppressionReason;
use postrider_mail::Stage;
use postrider_mail::reply::Reply;
use postrider_smtp::{DialError, Failure, FailureKind};
use postrider_store::lane::QueueRow;
use postrider_store::settle::{Next, RuleUsed};

use crate::plan::Plan;

/// What people read when a host was never reached or never answered; the exact fault follows.
const UNREACHABLE: &str = "unable to reach remote mail server";

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) stage: Stage,
    pub(crate) result: AttemptResult,
    pub(crate) code: Option<u16>,
    pub(crate) enhanced: Option<String>,
    pub(crate) text: String,
    pub(crate) class: Option<BounceClass>,
    pub(crate) suppress: Option<SuppressionReason>,
    /// The class that counts softly, when the delivery ends with this.
    pub(crate) soft: Option<BounceClass>,
    /// The dot left us and no reply came: nobody knows what became of the message.
    pub(crate) in_doubt: bool,
    /// The next try is at this time, whatever the gaps of the policy say.
    pub(crate) again_at: Option<i64>,
    /// The egress source cannot reach this host at all: nothing was said to it, and another source may.
    pub(crate) no_way_from_here: bool,
    /// The rule that read the reply.
    pub(crate) rule: Option<RuleUsed>,
    /// The host and the reply with which it refused, for another reading.
    pub(crate) said: Option<Box<(String, Reply)>>,
}

impl Ended {
    fn ours(stage: Stage, result: AttemptResult, class: BounceClass, text: impl Into<String>) -> Ended {
        Ended {
            stage,
            result,
            code: None,
            enhanced: None,
            text: text.into(),
            class: Some(class),
            suppress: None,
            soft: None,
            in_doubt: false,
            again_at: None,
            no_way_from_here: false,
            rule: None,
            said: None,
        }
    }

    /// A temporary fault before anybody was spoken to.
    pub(crate) fn deferred(stage: Stage, class: BounceClass, text: impl Into<String>) -> Ended {
        Ended::ours(stage, AttemptResult::Deferred, class, text)
    }

    /// A fault for good that needs no dialogue to be known.
    pub(crate) fn rejected(
        stage: Stage,
        class: BounceClass,
        status: Option<(u16, &str)>,
        text: impl Into<String>,
    ) -> Ended {
        let (code, enhanced) = status.map_or((None, None), |(code, enhanced)| (Some(code), Some(enhanced.to_owned())));
        Ended { code, enhanced, ..Ended::ours(stage, AttemptResult::Rejected, class, text) }
    }

    /// The host could not be reached or did not answer.
    pub(crate) fn broken(stage: Stage, fault: &str) -> Ended {
        Ended::ours(stage, AttemptResult::Broken, BounceClass::UnreachableHost, format!("{UNREACHABLE}: {fault}"))
    }

    /// The host took the message.
    pub(crate) fn accepted(reply: &Reply) -> Ended {
        from_reply(RuleBook::built_in(), Stage::Dot, None, reply)
    }

    /// The same end, as other rules read its reply; `None` when they read it alike, or there was no reply.
    pub(crate) fn judged_by(&self, rules: &RuleBook) -> Option<Ended> {
        let (host, reply) = self.said.as_deref()?;
        let other = from_reply(rules, self.stage, Some(host), reply);
        let other = Ended { in_doubt: self.in_doubt, again_at: self.again_at, ..other };
        (other != *self).then_some(other)
    }

    /// "Unknown user" of a site that is not believed: it is asked again, and nobody is suppressed.
    pub(crate) fn not_believed(&self) -> Ended {
        let version = self.rule.as_ref().map(|rule| rule.version.clone()).unwrap_or_default();
        Ended {
            result: AttemptResult::Deferred,
            suppress: None,
            soft: None,
            rule: Some(RuleUsed { id: crate::breakers::RULE.to_owned(), version }),
            ..self.clone()
        }
    }
}

fn from_reply(book: &RuleBook, stage: Stage, host: Option<&str>, reply: &Reply) -> Ended {
    let verdict = judge_reply(book, stage, host.and_then(|host| book.site_of(host)), reply);
    // A refused login is our own fault and no recipient's: it waits until somebody has mended the route.
    let result = match (stage, verdict.attempt_result()) {
        (Stage::Auth, AttemptResult::Rejected) => AttemptResult::Deferred,
        (_, result) => result,
    };
    Ended {
        stage,
        result,
        code: Some(reply.code),
        enhanced: reply.enhanced.as_ref().map(ToString::to_string),
        text: words(reply),
        class: verdict.class,
        suppress: verdict.proof(stage),
        soft: soft_class(result, &verdict),
        in_doubt: false,
        again_at: None,
        no_way_from_here: false,
        rule: verdict.class.map(|_| RuleUsed { id: verdict.rule.clone(), version: book.version().to_owned() }),
        said: verdict.class.and(host).map(|host| Box::new((host.to_owned(), reply.clone()))),
    }
}

/// What counts when a delivery ends with this reply: refused for good, what the verdict says; refused for now until its time
/// was up, whatever was about the recipient (C17).
fn soft_class(result: AttemptResult, verdict: &Verdict) -> Option<BounceClass> {
    match result {
        AttemptResult::Rejected => verdict.soft(),
        AttemptResult::Deferred => verdict.class.filter(|class| class.counts_when_expired()),
        AttemptResult::Accepted | AttemptResult::Broken => None,
    }
}

/// The class that counts softly, now that the delivery goes on like this: only an end counts, so that one delivery is one bounce
/// however often it was tried.
pub(crate) const fn soft(ended: &Ended, next: &Next) -> Option<BounceClass> {
    match next {
        Next::Done(Outcome::Rejected | Outcome::Expired) => ended.soft,
        Next::Done(Outcome::Accepted | Outcome::Withheld(_) | Outcome::Cancelled | Outcome::Assumed)
        | Next::Later { .. } => None,
    }
}

/// The reply as the host said it: code, status and text.
fn words(reply: &Reply) -> String {
    match &reply.enhanced {
        Some(status) => format!("{} {status} {}", reply.code, reply.text()),
        None => format!("{} {}", reply.code, reply.text()),
    }
}

/// The end of an attempt whose dialogue with `host` failed; whose host it is decides which rules count.
pub(crate) fn of_failure(host: &str, failure: &Failure) -> Ended {
    let stage = failure.stage;
    let mut ended = match &failure.kind {
        FailureKind::Refused(reply) => from_reply(RuleBook::built_in(), stage, Some(host), reply),
        FailureKind::Closed | FailureKind::IdleClosed => {
            Ended::broken(stage, &format!("the connection was closed at {stage}"))
        }
        FailureKind::Timeout => Ended::broken(stage, &format!("no answer in time at {stage}")),
        FailureKind::Protocol(text) => Ended {
            class: Some(BounceClass::Protocol),
            ..Ended::broken(stage, &format!("the reply could not be understood at {stage}: {text}"))
        },
        FailureKind::Tls(text) => {
            Ended { class: Some(BounceClass::AuthFailed), ..Ended::broken(stage, &format!("TLS failed: {text}")) }
        }
        FailureKind::AuthUnavailable(text) => {
            Ended::deferred(stage, BounceClass::AuthFailed, format!("no login possible: {text}"))
        }
        FailureKind::TooLarge { limit } => Ended::rejected(
            stage,
            BounceClass::TooBig,
            Some((552, "5.3.4")),
            format!("the message is larger than the {limit} bytes that the host takes; nothing was sent"),
        ),
        FailureKind::NeedsSmtpUtf8 => Ended::rejected(
            stage,
            BounceClass::Protocol,
            Some((550, "5.6.7")),
            "the mailbox needs SMTPUTF8 and the host does not offer it; nothing was sent",
        ),
        FailureKind::NeedsRequireTls => Ended::rejected(
            stage,
            BounceClass::UnreachableHost,
            Some((550, "5.7.30")),
            "REQUIRETLS is asked for and the host does not offer it; nothing was sent",
        ),
        FailureKind::Unfit(text) => {
            Ended::rejected(stage, BounceClass::Protocol, None, format!("not fit to be sent: {text}"))
        }
    };
    ended.in_doubt = failure.in_doubt();
    ended
}

/// The end of an attempt that got no connection.
pub(crate) fn of_dial(error: &DialError) -> Ended {
    match error {
        DialError::AddressRefused(refused) => Ended::rejected(
            Stage::Connect,
            BounceClass::UnreachableHost,
            Some((550, "5.4.4")),
            format!("resolves to a private address ({refused}); set allow_private_mx if this is meant"),
        ),
        DialError::Source { .. } => Ended::deferred(Stage::Connect, BounceClass::UnreachableHost, error.to_string()),
        DialError::Timeout { .. } | DialError::Io { .. } => Ended::broken(Stage::Connect, &error.to_string()),
    }
}

/// Which of two failed addresses of one attempt tells more: a word of the host beats silence, "later" beats "never".
pub(crate) fn more_telling(one: Ended, other: Ended) -> Ended {
    let rank = |e: &Ended| match e.result {
        AttemptResult::Accepted => 0,
        AttemptResult::Deferred => 1,
        AttemptResult::Broken => 2,
        AttemptResult::Rejected => 3,
    };
    if rank(&other) < rank(&one) { other } else { one }
}

/// What becomes of the delivery; `None` when it stays in doubt until a person decides.
pub(crate) fn next(
    plan: &Plan,
    row: &QueueRow,
    first_try_at: i64,
    ended: &Ended,
    now: i64,
    spread: f64,
) -> Option<Next> {
    let done = |outcome| Some(Next::Done(outcome));
    match ended.result {
        AttemptResult::Accepted => return done(Outcome::Accepted),
        AttemptResult::Rejected => return done(Outcome::Rejected),
        AttemptResult::Deferred | AttemptResult::Broken => {}
    }
    if ended.in_doubt {
        match plan.policy.in_doubt {
            InDoubtPolicy::Resend => {}
            InDoubtPolicy::Assume => return done(Outcome::Assumed),
            InDoubtPolicy::Hold => return None,
        }
    }
    let made = row.attempts.saturating_add(1);
    let Some(mut at) = plan.policy.next_try(made, first_try_at, now, spread) else { return done(Outcome::Expired) };
    if let Some(again_at) = ended.again_at {
        at = again_at.max(now + 1);
    }
    if row.expires_at.is_some_and(|end| at > end) {
        return done(Outcome::Expired);
    }
    Some(Next::Later { ready_at: at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOST: &str = "mx.bakery.test";

    fn failure(stage: Stage, kind: FailureKind) -> Failure {
        Failure { stage, kind, connection_usable: false, dot_sent: stage == Stage::Dot }
    }

    #[test]
    fn silence_is_told_in_the_words_of_the_report() {
        for ended in [
            of_failure(HOST, &failure(Stage::Greeting, FailureKind::Timeout)),
            of_failure(HOST, &failure(Stage::Dot, FailureKind::Closed)),
            of_dial(&DialError::Timeout { to: "192.0.2.1:25".parse().unwrap(), after: Duration::from_secs(2) }),
        ] {
            assert_eq!(ended.result, AttemptResult::Broken);
            assert!(ended.text.starts_with("unable to reach remote mail server: "), "{}", ended.text);
            assert_eq!(ended.suppress, None);
        }
    }

    #[test]
    fn only_a_lost_reply_to_the_dot_leaves_doubt() {
        assert!(of_failure(HOST, &failure(Stage::Dot, FailureKind::Closed)).in_doubt);
        assert!(!of_failure(HOST, &failure(Stage::Rcpt, FailureKind::Closed)).in_doubt);
        let reply = Reply { code: 550, enhanced: None, lines: vec!["no".into()] };
        assert!(!of_failure(HOST, &failure(Stage::Dot, FailureKind::Refused(reply))).in_doubt);
    }

    #[test]
    fn a_refused_login_rejects_nobody() {
        let reply = Reply { code: 535, enhanced: None, lines: vec!["5.7.8 bad credentials".into()] };
        let ended = of_failure(HOST, &failure(Stage::Auth, FailureKind::Refused(reply)));
        assert_eq!((ended.result, ended.suppress), (AttemptResult::Deferred, None));
        assert!(ended.text.contains("bad credentials"));
    }

    #[test]
    fn only_the_end_of_a_delivery_counts_softly_and_only_what_is_about_the_recipient() {
        let said = |stage: Stage, code: u16, text: &str| {
            let reply = Reply { code, enhanced: None, lines: vec![text.into()] };
            of_failure(HOST, &failure(stage, FailureKind::Refused(reply)))
        };
        let (rejected, expired) = (Next::Done(Outcome::Rejected), Next::Done(Outcome::Expired));
        let full = Some(BounceClass::MailboxFull);
        assert_eq!(soft(&said(Stage::Rcpt, 552, "mailbox full"), &rejected), full);
        let later = said(Stage::Rcpt, 452, "mailbox full");
        assert_eq!((later.result, soft(&later, &expired)), (AttemptResult::Deferred, full));
        assert_eq!(soft(&later, &Next::Later { ready_at: 1 }), None, "it is tried again");
        for about_us in [
            said(Stage::Rcpt, 451, "greylisted, try again later"),
            said(Stage::Mail, 421, "unusual rate of mail"),
            said(Stage::Greeting, 554, "go away"),
            Ended::broken(Stage::Connect, "silence"),
            said(Stage::Rcpt, 550, "user unknown").not_believed(),
            later.not_believed(),
        ] {
            assert_eq!((soft(&about_us, &expired), soft(&about_us, &rejected)), (None, None), "{}", about_us.text);
        }
    }

    #[test]
    fn rules_of_a_provider_count_for_its_hosts() {
        let said = || Reply { code: 554, enhanced: None, lines: vec!["Transaction failed, Reject".into()] };
        let of = |host: &str| of_failure(host, &failure(Stage::Dot, FailureKind::Refused(said()))).class;
        assert_eq!(of("mx01.emig.gmx.net"), Some(BounceClass::BlockedDomain));
        assert_eq!(of(HOST), Some(BounceClass::Transient));
    }

    #[test]
    fn a_private_address_is_refused_for_good_with_the_setting_named() {
        let refused = postrider_smtp::AddressPolicy::default().check("127.0.0.1".parse().unwrap()).unwrap_err();
        let ended = of_dial(&DialError::AddressRefused(refused));
        assert_eq!(ended.result, AttemptResult::Rejected);
        assert!(ended.text.contains("private address") && ended.text.contains("allow_private_mx"));
    }

    #[test]
    fn a_word_of_a_host_tells_more_than_silence() {
        let silent = Ended::broken(Stage::Connect, "x");
        let later = Ended::deferred(Stage::Greeting, BounceClass::Transient, "y");
        let never = Ended::rejected(Stage::Greeting, BounceClass::BlockedIp, None, "z");
        assert_eq!(more_telling(silent.clone(), later.clone()), later);
        assert_eq!(more_telling(never.clone(), silent.clone()), silent);
        assert_eq!(more_telling(later.clone(), never), later);
    }
}
