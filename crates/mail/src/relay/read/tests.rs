//! Refusals, facts and problems by table.

use super::super::HtmlInputs;
use super::*;
use crate::mailbox::DomainName;
use crate::reply::Reply;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn rules() -> ReadRules {
    ReadRules { own_hosts: vec![DomainName::parse("relay.example").unwrap()], ..ReadRules::default() }
}

fn taken(text: &str) -> Incoming {
    read(&crlf(text), &rules()).unwrap_or_else(|why| panic!("{why}: {text}"))
}

#[test]
fn refusals_carry_their_reply() {
    let many = "Received: by other.example; x\n".repeat(51) + "From: a@b.example\n\n";
    let fifty = "Received: by other.example; x\n".repeat(50) + "From: a@b.example\n\n";
    assert_eq!(taken(&fifty).received, 50);
    let own = "Received: from x (by relay.example) by RELAY.example. with ESMTP; x\n";
    let other = "Received: from relay.example by other.example (by relay.example); x by relay.example\n";
    assert_eq!(taken(&format!("{own}{own}{other}{other}From: a@b.example\n\n")).received, 4);
    let long = format!("From: a@b.example\nX: {}\n\n", "y".repeat(996));
    let huge = format!("From: a@b.example\n{}\n", "X: y\n".repeat(50_000));
    for (text, code, status, words) in [
        (many.as_str(), 554, "5.4.6", "51 Received"),
        (&format!("{own}{own}{own}From: a@b.example\n\n"), 554, "5.4.6", "3 times"),
        ("Subject: x\n\nFrom: a@b.example\n", 550, "5.7.1", "No From"),
        ("", 550, "5.7.1", "No From"),
        ("\n\nhello", 550, "5.7.1", "No From"),
        ("From: a@b.example\nFROM : c@d.example\n\n", 550, "5.7.1", "Several From"),
        ("From: Ann\n\nx", 550, "5.6.0", "no @"),
        ("From: root@localhost\n\nx", 550, "5.6.0", "no dot"),
        ("From: Ann <a@b.example\n\nx", 550, "5.6.0", "malformed"),
        ("From:\n\nx", 550, "5.6.0", "no mailbox"),
        (&long, 550, "5.6.0", "998"),
        (&huge, 552, "5.3.4", "256 KiB"),
        ("From: a@b.example\nX: \0\n\n", 550, "5.6.0", "NUL"),
    ] {
        let reply: Reply = read(&crlf(text), &rules()).unwrap_err().reply();
        assert_eq!((reply.code, reply.enhanced.unwrap().to_string().as_str()), (code, status), "{text:.60}");
        assert!(reply.text().contains(words), "{} in {text:.60}", reply.text());
    }
    for bytes in [
        &b"From: a@b.example\r\n\r\nx\ny"[..],
        b"From: a@b.example\r\n\r\nx\ry",
        b"From: a@b.example\n\nx",
        b"From: a@b.example\r\n\r\nx\r",
    ] {
        assert!(matches!(read(bytes, &rules()), Err(Refusal::BareLineEnd(_))));
    }
}

#[test]
fn the_header_tells_what_the_caller_needs() {
    let incoming = taken(
        "From: \"A, B\" <a@b.example>, c@d.example\nSender: s@b.example\nSubject: =?utf-8?Q?Citt=C3=A0?=\n bella\n\
         Message-ID: <1@b.example>\nDate: now\nTLS-Required: No\nAuto-Submitted: auto-generated\n\
         List-Unsubscribe: <https://b.example>\nContent-Type: Text/HTML; charset=utf-8\n\nx\n",
    );
    let from: Vec<_> = incoming.from.iter().map(Mailbox::wire).collect();
    assert_eq!(from, ["a@b.example", "c@d.example"]);
    assert_eq!(incoming.sender.unwrap().wire(), "s@b.example");
    assert_eq!(incoming.subject, "Citt\u{e0} bella");
    assert_eq!(incoming.message_id.as_deref(), Some("<1@b.example>"));
    assert_eq!(incoming.content_type, "text/html");
    assert!(incoming.has_date && incoming.tls_required_no && incoming.auto_submitted && incoming.has_list_unsubscribe);
    assert!(!incoming.is_8bit && incoming.problems.is_empty() && incoming.signed == SignedPart::None);
    let plain = taken("From: a@b.example\nAuto-Submitted: no\nSubject: x\u{e9}\n\n");
    assert!(
        !plain.auto_submitted && plain.is_8bit && plain.is_header_8bit && plain.message_id.is_none() && !plain.has_date
    );
    let long = taken(&format!("From: a@b.example\nSubject: {}\n\n", "word\n ".repeat(400)));
    assert_eq!(long.subject.chars().count(), SUBJECT_MAX);
}

#[test]
fn what_is_odd_is_sent_and_noted() {
    for (text, wanted) in [
        ("From: a@b.example\nhello\n", "header no_empty_line"),
        ("From a@b.example Sun Nov 22\nFrom: a@b.example\n\n", "From mbox_line"),
        ("From: a@b.example, c@d.example\n\n", "Sender no_sender"),
        ("From: a@b.example\nSender: nobody\n\n", "Sender not_a_mailbox"),
        ("From: a@b.example\nSubject: x\nsubject: y\n\n", "Subject repeated"),
        ("From: a@b.example\nDate:\n\n", "Date empty"),
        ("From: a@b.example\nX-Postrider-Foo\u{7}: x\n\n", "header no_empty_line"),
        ("From: a@b.example\n", ""),
        ("From: a@b.example\n\n", ""),
    ] {
        let incoming = taken(text);
        let noted: Vec<_> =
            incoming.problems.iter().map(|problem| format!("{} {}", problem.header, problem.reason.as_str())).collect();
        assert_eq!(noted.join("; "), wanted, "{text}");
    }
    let flood = format!("From: a@b.example\n{}\n", "X-Postrider-Nonsense: 1\n".repeat(5_000));
    assert_eq!(taken(&flood).problems.len(), 50);
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        assert!(!reason.to_string().is_empty());
    }
}

#[test]
fn hostile_floods_take_linear_time() {
    let floods = [
        format!("From: a@b.example\nSubject: {}\n\n", "=?\n ".repeat(40_000)),
        format!("From: a@b.example\nX-Postrider-External-Description: {}\n\n", "=?utf-8?Q?\n ".repeat(15_000)),
        format!("From: {}a@b.example\n\n", "(\n ".repeat(60_000)),
        format!("From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n{}", "--b\n".repeat(200_000)),
        format!("From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n--b{}", "--b".repeat(300_000)),
        format!("From: a@b.example\nContent-Type: text/html\n\n{}", "<input type=hidden id=\"".repeat(40_000)),
        format!("From: a@b.example\nContent-Type: text/html\n\n{}", "<!--".repeat(200_000)),
        format!("From: a@b.example\n\n{}", "$#subscription_url_base#$/unsubscribe/wfc/".repeat(20_000)),
    ];
    let rules = ReadRules { html_inputs: Some(HtmlInputs::default()), ..rules() };
    for flood in floods {
        let bytes = crlf(&flood);
        // No clock here: a quadratic reader would not end within the patience of whoever runs this.
        let _ = read(&bytes, &rules);
    }
}
