//! What a report means: one verdict a recipient.
//!
//! Must not know whether the report is true: who acts on a verdict has verified a token of ours for a real delivery.

use postrider_mail::report::{Action, Report, ReportKind, ReportedRecipient};

use super::{BounceClass, Finality, Refusal, RuleBook, Verdict, classify};

/// The verdict for each recipient of a report, in its order.
pub fn judge_report(book: &RuleBook, report: &Report) -> Vec<Verdict> {
    let of = |recipient: &ReportedRecipient| match report.kind {
        ReportKind::Dsn => of_delivery(book, report, recipient),
        ReportKind::Arf => of_feedback(report.feedback.as_ref().map_or("", |feedback| feedback.kind.as_str())),
        ReportKind::AutoReply => Verdict::of(BounceClass::AutoReply, Finality::Passing, "report.auto_reply"),
        ReportKind::OptOut => Verdict::of(BounceClass::Unsubscribe, Finality::Final, "report.opt_out"),
        ReportKind::Mdn | ReportKind::Other => Verdict::positive("report.none"),
    };
    report.recipients.iter().map(of).collect()
}

fn of_delivery(book: &RuleBook, report: &Report, recipient: &ReportedRecipient) -> Verdict {
    match recipient.action {
        Some(Action::Delivered | Action::Relayed | Action::Expanded) => return Verdict::positive("report.delivered"),
        Some(Action::Failed | Action::Delayed) | None => {}
    }
    let hosts = [recipient.remote_mta.as_deref(), report.reporting_mta.as_deref()];
    let site = hosts.into_iter().flatten().find_map(|host| book.site_of(host));
    let delayed = recipient.action == Some(Action::Delayed);
    // A report of failure with a positive code quotes the wrong line.
    let said = Refusal {
        stage: recipient.stage,
        code: recipient.code.filter(|code| *code >= 400),
        status: recipient.status.filter(|status| status.class != 2),
        text: &recipient.diagnostic,
        site,
        delayed,
    };
    let verdict = classify(book, &said);
    if !verdict.is_by_text() && !recipient.context.is_empty() {
        // The codes said little: the notice around them may say more.
        let wider = classify(book, &Refusal { text: &recipient.context, ..said });
        let little = verdict.class == Some(BounceClass::Unknown) || verdict.rule.starts_with("code.");
        if wider.is_by_text() && little && !book.is_weak(&wider.rule) {
            return wider;
        }
    }
    verdict
}

/// Only abuse and fraud are complaints; a report that something is no spam, or about authentication, blames nobody here.
fn of_feedback(kind: &str) -> Verdict {
    match kind {
        "not-spam" | "auth-failure" | "dmarc" => Verdict::positive("report.feedback"),
        "opt-out" | "opt-out-list" => Verdict::of(BounceClass::Unsubscribe, Finality::Final, "report.opt_out"),
        _ => Verdict::of(BounceClass::Complaint, Finality::Final, "report.complaint"),
    }
}
