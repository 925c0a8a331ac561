//! What we write, our own reader and another parser read back.

use mail_parser::{MessageParser, MimeHeaders as _};

use super::*;
use crate::report::{self, Action, ReportKind};

struct Names {
    from: Mailbox,
    to: Mailbox,
    host: DomainName,
    ann: Mailbox,
    utf8: Mailbox,
}

fn names() -> Names {
    let mailbox = |text| Mailbox::parse(text).unwrap();
    Names {
        from: mailbox("mailer-daemon@relay.example"),
        to: mailbox("app@shop.example"),
        host: DomainName::parse("relay.example").unwrap(),
        ann: mailbox("ann+x@example.org"),
        utf8: mailbox("jos\u{e9}@b\u{fc}cher.example"),
    }
}

const MESSAGE: &[u8] =
    b"From: app@shop.example\r\nTo: ann@example.org\r\nMessage-ID: <7@shop.example>\r\nSubject: Order\r\n\r\nbody\r\n";

fn failed(mailbox: &Mailbox) -> DsnRecipient<'_> {
    DsnRecipient {
        mailbox,
        orcpt: None,
        action: DsnAction::Failed,
        status: EnhancedStatus::new(5, 1, 1),
        remote_mta: Some("mx.example.org"),
        diagnostic: Some("550 5.1.1 <ann+x@example.org> no such user"),
        stage: Some(Stage::Rcpt),
        last_attempt_ms: Some(1_795_336_200_000),
        will_retry_until_ms: None,
    }
}

fn facts<'a>(names: &'a Names, recipients: &'a [DsnRecipient<'a>]) -> DsnFacts<'a> {
    DsnFacts {
        from: &names.from,
        to: &names.to,
        reporting_mta: &names.host,
        number: 42,
        message_id: "<r.1@relay.example>",
        at_ms: 1_795_336_300_000,
        envelope_id: Some("order 4711"),
        arrival_ms: 1_795_336_000_000,
        code: "79-BC-1",
        subject: "Your order",
        original_message_id: Some("<7@shop.example>"),
        recipients,
        returned: Return::Headers,
        message: MESSAGE,
    }
}

fn composed(facts: &DsnFacts<'_>) -> String {
    let bytes = compose_dsn(facts);
    let mut wire = Vec::new();
    crate::stuffing::stuff(&bytes, &mut wire).expect("seven bits, whole lines");
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_written_reads_back() {
    let names = names();
    let refused = failed(&names.ann);
    let late = DsnRecipient {
        action: DsnAction::Delayed,
        status: EnhancedStatus::new(4, 4, 1),
        remote_mta: Some("mx.example.org"),
        diagnostic: Some("451 4.4.1 come back later"),
        stage: Some(Stage::Dot),
        will_retry_until_ms: Some(1_795_700_000_000),
        ..refused
    };
    let passed = DsnRecipient {
        action: DsnAction::Relayed,
        status: EnhancedStatus::new(2, 0, 0),
        diagnostic: Some("250 2.0.0 queued as 1A2B"),
        stage: Some(Stage::Dot),
        orcpt: Some("rfc822;Ann+2Bx@example.org"),
        ..refused
    };
    let expired = DsnRecipient {
        status: EnhancedStatus::new(5, 4, 7),
        remote_mta: None,
        diagnostic: Some("no host of example.org answered for four days"),
        stage: None,
        ..refused
    };
    for recipient in [refused, late, passed, expired] {
        let list = [recipient];
        let text = composed(&facts(&names, &list));
        let read = report::read(text.as_bytes());
        assert_eq!(read.kind, ReportKind::Dsn, "{text}");
        assert_eq!(read.envelope_id.as_deref(), Some("order 4711"));
        assert_eq!(read.reporting_mta.as_deref(), Some("relay.example"));
        assert_eq!(read.original.message_id.as_deref(), Some("7@shop.example"));
        assert_eq!(read.original.from.as_deref(), Some("app@shop.example"));
        let [got] = &read.recipients[..] else { panic!("{read:?}") };
        assert_eq!(got.mailbox.as_deref(), Some("ann+x@example.org"));
        assert_eq!(got.original_mailbox.as_deref(), recipient.orcpt.map(|_| "Ann+x@example.org"));
        let action = match recipient.action {
            DsnAction::Failed => Action::Failed,
            DsnAction::Delayed => Action::Delayed,
            DsnAction::Relayed => Action::Relayed,
        };
        assert_eq!(got.action, Some(action));
        assert_eq!(got.status, Some(recipient.status), "{text}");
        assert_eq!(got.code, recipient.diagnostic.and_then(|said| said[..3].parse().ok()), "{text}");
        assert_eq!(Some(got.diagnostic.as_str()), recipient.diagnostic);
        assert_eq!(got.stage, recipient.stage, "{text}");
        assert_eq!(got.remote_mta.as_deref(), recipient.remote_mta);
        let until = (recipient.action == DsnAction::Delayed).then(|| header::date(1_795_700_000_000));
        assert_eq!(got.will_retry_until, until);
    }
}

#[test]
fn the_form_is_that_of_the_standards() {
    let names = names();
    let list = [failed(&names.ann)];
    let text = composed(&facts(&names, &list));
    for wanted in [
        "Subject: Not delivered: Your order\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "In-Reply-To: <7@shop.example>\r\nReferences: <7@shop.example>\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;\r\n",
        "Reporting-MTA: dns; relay.example\r\nOriginal-Envelope-Id: order 4711\r\nArrival-Date: Sun, 22 Nov 2026 08:26:40 +0000\r\n\r\n",
        "Final-Recipient: rfc822; ann+x@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.org\r\n",
        "Last-Attempt-Date: Sun, 22 Nov 2026 08:30:00 +0000\r\n",
        "Content-Type: text/rfc822-headers\r\n\r\nFrom: app@shop.example\r\n",
    ] {
        assert!(text.contains(wanted), "{wanted}\nin\n{text}");
    }
    assert!(!text.contains("\r\nbody\r\n"), "headers only");
    let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
    let kinds: Vec<String> = parsed
        .parts
        .iter()
        .filter_map(|part| part.content_type())
        .map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()))
        .collect();
    assert_eq!(kinds, ["multipart/report", "text/plain", "message/delivery-status", "text/rfc822-headers"]);
    assert!(parsed.body_text(0).unwrap().contains("What to do: check the address"));
    let full = DsnFacts { returned: Return::Full, ..facts(&names, &list) };
    assert!(composed(&full).contains("Content-Type: message/rfc822\r\n\r\nFrom: app@shop.example\r\n"));
    assert!(composed(&full).contains("\r\nbody\r\n"));
    let large = [MESSAGE, &b"0123456789\r\n".repeat(FULL_MAX / 12 + 1)].concat();
    assert!(composed(&DsnFacts { message: &large, ..full }).len() < 4_096);
}

#[test]
fn utf8_stays_in_seven_bits() {
    let names = names();
    let list = [DsnRecipient {
        diagnostic: Some("550 5.1.1 gibt\u{b4}s \u{65e5}\r\nX-Evil: nicht"),
        orcpt: Some("utf-8;jos\\x{E9}@xn--bcher-kva.example"),
        ..failed(&names.utf8)
    }];
    let message = "From: app@shop.example\r\nSubject: Gr\u{fc}\u{df}e\r\nMessage-ID: <7@shop.example>\r\n\r\nna\u{ef}ve words here\r\n";
    let base = facts(&names, &list);
    let headers = DsnFacts { subject: "Gr\u{fc}\u{df}e", message: message.as_bytes(), to: &names.utf8, ..base };
    let full = DsnFacts { returned: Return::Full, ..headers };
    for facts in [headers, full] {
        let text = composed(&facts);
        assert!(text.contains("Final-Recipient: utf-8; jos\\x{E9}@xn--bcher-kva.example\r\n"), "{text}");
        assert!(text.contains("To: undisclosed-recipients:;\r\n") && !text.contains("\r\nX-Evil"), "{text}");
        let read = report::read(text.as_bytes());
        assert_eq!(read.recipients[0].mailbox.as_deref(), Some("jos\u{e9}@xn--bcher-kva.example"));
        assert_eq!(read.recipients[0].original_mailbox.as_deref(), Some("jos\u{e9}@xn--bcher-kva.example"));
        assert_eq!(read.original.message_id.as_deref(), Some("7@shop.example"));
        let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.subject(), Some("Not delivered: Gr\u{fc}\u{df}e"));
    }
}

#[test]
fn hostile_facts_break_nothing() {
    let names = names();
    let boundary = message_id::boundary(42, 0);
    let message = format!("From: a@b.example\r\n\r\n--{boundary}--\r\nafter\r\n");
    let list = [DsnRecipient {
        orcpt: Some("rfc822;a+0D+0AX"),
        remote_mta: Some("mx\r\n.example"),
        diagnostic: Some(&"x".repeat(5_000)),
        ..failed(&names.ann)
    }];
    let facts = DsnFacts {
        subject: "a\r\nBcc: x@example.org",
        code: "c\r\n\r\n",
        envelope_id: Some("a\r\nb"),
        original_message_id: Some("<a\r\nb>"),
        message: message.as_bytes(),
        returned: Return::Full,
        ..facts(&names, &list)
    };
    let text = composed(&facts);
    assert!(
        !text.contains("\r\nBcc:") && !text.contains("Original-Envelope-Id") && !text.contains("In-Reply-To"),
        "{text}"
    );
    let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.parts.iter().filter(|part| part.is_message()).count(), 1);
    assert!(text.matches(&message_id::boundary(42, 1)).count() == 5, "{text}");
    let none = composed(&DsnFacts { message: b"", recipients: &[], ..facts });
    assert!(none.contains("message/delivery-status"));
}
