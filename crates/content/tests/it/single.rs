//! Messages without a template.

use postrider_content::{SingleError, SingleMessage, compose_single};
use postrider_mail::Mailbox;

use crate::helpers::{decode_words, read};

fn from() -> Mailbox {
    Mailbox::parse("shop@example.org").unwrap()
}

fn single<'a>(from: &'a Mailbox, to: &'a [Mailbox]) -> SingleMessage<'a> {
    SingleMessage {
        from_name: "Shop",
        from,
        to,
        reply_to: None,
        subject: "Your order",
        text: Some("Thanks"),
        html: None,
        message_id: "<m@example.org>",
        date_ms: 0,
        number: 9,
    }
}

#[test]
fn text_html_and_both() {
    let (from, to) = (from(), [Mailbox::parse("a@example.com").unwrap(), Mailbox::parse("b@example.com").unwrap()]);
    let base = single(&from, &to);
    let text = read(&compose_single(&base).unwrap());
    assert_eq!(
        text.names(),
        ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
    );
    assert_eq!(text.field("To"), "a@example.com, b@example.com");
    assert_eq!(text.text(), "Thanks\n");

    let both = read(
        &compose_single(&SingleMessage { html: Some("<p>Thänks {{ x }}</p>"), reply_to: Some(&from), ..base }).unwrap(),
    );
    assert_eq!((both.text(), both.html()), ("Thanks\n", "<p>Thänks {{ x }}</p>\n"));
    assert_eq!(both.field("Reply-To"), "shop@example.org");

    let derived = read(
        &compose_single(&SingleMessage {
            text: None,
            html: Some("<p>Thänks <a href=\"https://a.example\">go</a></p>"),
            ..base
        })
        .unwrap(),
    );
    assert_eq!(derived.text(), "Thänks go (https://a.example)\n");
    assert_eq!(compose_single(&base).unwrap(), compose_single(&base).unwrap());
}

#[test]
fn what_cannot_be_a_message_is_refused() {
    let (from, to) = (from(), [Mailbox::parse("a@example.com").unwrap()]);
    let base = single(&from, &to);
    let foreign = Mailbox::parse("jürgen@example.org").unwrap();
    assert_eq!(compose_single(&SingleMessage { text: None, ..base }), Err(SingleError::NoBody));
    assert_eq!(compose_single(&SingleMessage { to: &[], ..base }), Err(SingleError::NoRecipient));
    assert_eq!(compose_single(&SingleMessage { from: &foreign, ..base }), Err(SingleError::FromNotAscii));
    assert!(matches!(compose_single(&SingleMessage { message_id: "<a>\r\nX: y", ..base }), Err(SingleError::Fact(_))));
    for bad in ["a\r\nBcc: x@example.org", "a\nb", "a\u{0}", "a\u{2028}b", "a\u{85}b"] {
        assert!(
            matches!(compose_single(&SingleMessage { subject: bad, ..base }), Err(SingleError::Header(_))),
            "{bad:?}"
        );
        assert!(
            matches!(compose_single(&SingleMessage { from_name: bad, ..base }), Err(SingleError::Header(_))),
            "{bad:?}"
        );
    }
    let deep = "<div>".repeat(5_000);
    assert_eq!(
        compose_single(&SingleMessage { text: None, html: Some(&deep), ..base }),
        Err(SingleError::HtmlTooLarge)
    );
    let long = "x".repeat(1_100_000);
    assert!(matches!(compose_single(&SingleMessage { text: Some(&long), ..base }), Err(SingleError::TooLong(_))));
}

#[test]
fn bodies_of_any_kind_stay_one_body() {
    let (from, to) = (from(), [Mailbox::parse("a@example.com").unwrap()]);
    let text = "a\r\n.\r\nb\rc\n\u{0}d \t\r\n--=_aaaaaaaaaaaas_0\r\nContent-Type: text/html\r\n\r\nx";
    let message = compose_single(&SingleMessage {
        text: Some(text),
        html: Some("<p>x</p>"),
        subject: "Zażółć gęślą jaźń",
        ..single(&from, &to)
    })
    .unwrap();
    let read = read(&message);
    assert_eq!(read.text(), "a\n.\nb\nc\n d \t\n--=_aaaaaaaaaaaas_0\nContent-Type: text/html\n\nx\n");
    assert_eq!(decode_words(read.field("Subject")), "Zażółć gęślą jaźń");
}
