//! An alarm in words: one sentence of what is wrong, made from its facts, and what to do about it.
//!
//! Pages translate by the word of the kind; these words are for the API, the command line and mail.

use serde_json::Value;

use super::AlarmKind;

/// What to do.
pub const fn remedy(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Disk => {
            "Make room on the disk of the data folder. Until then nothing new is taken or sent; what was sent is still recorded."
        }
        AlarmKind::Database => {
            "Look at the database server and its disk: load, locks, free space, the log. Nothing is lost while it is slow, but mail waits."
        }
        AlarmKind::Clock => {
            "Set the clock and keep it set: run a time service (chrony, systemd-timesyncd) on every node. Signatures, dates and schedules depend on it."
        }
        AlarmKind::Dns => {
            "Look at the name server that Postrider asks (smtp.dns_server, or the system's): is it up, and may this machine reach port 53? Mail waits until it answers."
        }
        AlarmKind::Certificate => {
            "Renew the certificate: look at why the automatic renewal fails, or put a new file in its place. Browsers and strict senders refuse an expired one."
        }
        AlarmKind::DomainRed => {
            "Open the sending domain, see which DNS record is missing or wrong and publish it as shown; then look again. Many receivers refuse mail until then."
        }
        AlarmKind::TlsLost => {
            "If the receiver changed something, ask its postmaster; if it happens with many hosts, somebody between you and them strips TLS. Add a TLS rule for the domain if its mail must never go in clear."
        }
        AlarmKind::Block => {
            "Read the reply and follow the address in it. Slow down or pause campaigns to this site, find the list or import that caused it, and ask the provider to lift the block once it is mended."
        }
        AlarmKind::Bounces => {
            "Look at where these addresses came from and leave that import or list out. Resume only when the rest is sound: many bounces get the sender blocked. It pauses again at the next step of 5 %."
        }
        AlarmKind::Complaints => {
            "Look at who was written to and why: do they remember having agreed, is it what they agreed to, is the way out easy to see? It pauses again at the next step of 0.3 %."
        }
        AlarmKind::CampaignPaused => "Read the alarm that paused it, mend the cause, then resume or stop the campaign.",
        AlarmKind::CampaignMissed => "Give it another time, or start it now. Nothing of it has left.",
        AlarmKind::MassUnknown => {
            "Wait: the provider's directory is probably broken, its mail is held and tried again by itself. If the addresses really are gone, say so with `postrider alarms believe`; what was suppressed shortly before can be taken back with `postrider alarms take-back`."
        }
        AlarmKind::SourceMissing => {
            "Give the machine this address again, or remove the egress source. Its mail leaves by the other sources of the pool, if there are any."
        }
        AlarmKind::WarmupPaused => {
            "See why the site refuses, lower the volume or mend the list, then let the warm-up go on."
        }
    }
}

/// What is wrong, in one sentence. Facts that are missing are left out; texts of others have no control characters.
pub fn sentence(kind: AlarmKind, subject: &str, facts: &Value) -> String {
    let text = |name: &str| facts[name].as_str().map(clean).filter(|t| !t.is_empty());
    let number = |name: &str| facts[name].as_i64().unwrap_or(0);
    let percent = |name: &str| {
        let share = facts[name].as_f64().unwrap_or(0.0) * 100.0;
        // 0.35 % must not read as 0.4 %, and 12 % needs no digits.
        if share < 1.0 { format!("{share:.2} %") } else { format!("{share:.1} %") }
    };
    let subject = clean(subject);
    let name = text("name").map_or_else(|| subject.clone(), |name| format!("“{name}”"));
    let said = text("reply").map(|reply| format!(": {reply}")).unwrap_or_default();
    match kind {
        AlarmKind::Disk => format!("Only {} MiB are free on the disk of node {subject}.", number("free_mib")),
        AlarmKind::Database => match text("why") {
            Some(why) => format!("Node {subject} has trouble with the database: {why}."),
            None => format!("Node {subject} has trouble with the database."),
        },
        AlarmKind::Clock => match text("other") {
            Some(other) => format!("The clocks of the nodes {subject} and {other} differ by {} s.", number("seconds")),
            None => format!("The clock of node {subject} jumped by {} s.", number("seconds")),
        },
        AlarmKind::Dns => {
            let why = text("why").map(|why| format!(": {why}")).unwrap_or_default();
            format!("None of the last {} questions of node {subject} to DNS was answered{why}.", number("questions"))
        }
        AlarmKind::Certificate => match facts["days"].as_i64() {
            Some(days) if days < 0 => format!("The certificate {subject} has expired."),
            Some(1) => format!("The certificate {subject} expires within a day."),
            Some(days) => format!("The certificate {subject} expires in {days} days."),
            None => format!("The certificate {subject} is not in order."),
        },
        AlarmKind::DomainRed => match text("finding") {
            Some(finding) => format!("The sending domain {subject} is not in order any more: {finding}."),
            None => format!("The sending domain {subject} is not in order any more."),
        },
        AlarmKind::TlsLost => match text("why") {
            Some(why) => format!("TLS with the host {subject} is lost: {why}."),
            None => format!("The host {subject} offered TLS and offers none now."),
        },
        AlarmKind::Block => format!("The site {subject} refuses our mail{said}."),
        AlarmKind::Bounces => format!(
            "{} of the messages of campaign {name} were refused for good ({} of {}).",
            percent("rate"),
            number("bad"),
            number("of")
        ),
        AlarmKind::Complaints => format!(
            "{} of the recipients of campaign {name} complained ({} of {}).",
            percent("rate"),
            number("bad"),
            number("of")
        ),
        AlarmKind::CampaignPaused => format!("Campaign {name} is paused by an alarm."),
        AlarmKind::CampaignMissed => format!("The time of campaign {name} passed and nothing of it left."),
        AlarmKind::MassUnknown => format!(
            "The site {subject} says “unknown user” of nearly everybody ({} of its last {} answers): it is held and nobody is suppressed{said}.",
            number("unknown"),
            number("answers")
        ),
        AlarmKind::SourceMissing => format!("The egress source {name} cannot be used."),
        AlarmKind::WarmupPaused => format!("The warm-up {name} is paused{said}."),
    }
}

/// Replies and names are of strangers: one line, no control characters, not endless.
fn clean(text: &str) -> String {
    let control = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    text.trim()
        .chars()
        .take(300)
        .map(|c| if control(c) { ' ' } else { c })
        .collect::<String>()
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_has_a_sentence_and_a_remedy_whatever_the_facts() {
        let hostile = json!({ "name": "a\r\nBcc: x", "reply": "550 \u{2028}go\u{0}", "rate": "x", "bad": -1, "why": ["x"], "days": 3.5 });
        for kind in AlarmKind::ALL {
            for facts in [json!({}), json!(null), hostile.clone()] {
                let text = sentence(*kind, "mx.example\n", &facts);
                assert!(text.ends_with('.') && !text.chars().any(char::is_control), "{kind}: {text:?}");
            }
            assert!(remedy(*kind).ends_with('.') && remedy(*kind).len() > 30, "{kind}");
        }
    }

    #[test]
    fn rates_are_told_with_their_counts() {
        let facts = json!({ "name": "Spring", "rate": 0.0625, "bad": 25, "of": 400 });
        assert_eq!(
            sentence(AlarmKind::Bounces, "cmp_x", &facts),
            "6.2 % of the messages of campaign “Spring” were refused for good (25 of 400)."
        );
        let facts = json!({ "rate": 0.0035, "bad": 7, "of": 2_000 });
        assert_eq!(
            sentence(AlarmKind::Complaints, "cmp_x", &facts),
            "0.35 % of the recipients of campaign cmp_x complained (7 of 2000)."
        );
    }
}
