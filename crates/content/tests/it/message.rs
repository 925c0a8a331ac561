//! Headers and MIME of a rendered message.

use postrider_content::{Compiled, CompiledError, ListFacts, MessageFacts, Prepared, RENDERER, RenderError};
use postrider_domain::campaign::Draft;
use postrider_domain::id::DeliveryId;
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use serde_json::json;

use crate::helpers::{anna, compile_for, decode_words, facts, html, plain, prepare, read, recipient, render, vars};

const MARKETING: [&str; 12] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "MIME-Version",
    "Content-Type",
];

fn marketing(draft: &Draft) -> Prepared {
    Prepared::new(compile_for(draft, Stream::Marketing).compiled.unwrap()).unwrap()
}

#[test]
fn marketing_has_every_header_once_and_in_order() {
    let mut draft = html("<p>Hi {{ first_name|default('you') }}</p>");
    draft.reply_to = "answers@example.org".into();
    draft.from_name = "Exämple, Inc.".into();
    let message = render(&marketing(&draft), json!({ "first_name": "Zoë" })).unwrap();
    let read = read(&message);
    assert_eq!(read.names(), MARKETING);
    assert_eq!(decode_words(read.field("From")), "Exämple, Inc. <news@example.org>");
    assert_eq!(read.field("To"), "anna@example.com");
    assert_eq!(read.field("Date"), "Mon, 21 Sep 2026 14:13:20 +0000");
    assert_eq!(read.field("Message-ID"), "<d.abcdefghijklmnop@m.example.org>");
    assert_eq!(read.field("Reply-To"), "answers@example.org");
    assert_eq!(read.field("List-Id"), "<news.42.example.org>");
    assert_eq!(
        read.field("List-Unsubscribe"),
        "<https://m.example.org/u/AQIDBAUGBwgJCgsMDQ4PEA>, <mailto:u-abcdefghijklmnopqrstuvwxyz234567@m.example.org>"
    );
    assert_eq!(read.field("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert_eq!(read.field("Feedback-ID"), "cmp_1:wsp_1:marketing:postrider");
    assert_eq!(read.field("MIME-Version"), "1.0");
    let kinds: Vec<&str> = read.parts.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["text/plain; charset=utf-8", "text/html; charset=utf-8"]);
    assert!(read.text().starts_with("Hi Zoë\n"));
    assert!(read.html().contains("<p>Hi Zoë</p>"));
}

#[test]
fn transactional_has_no_list_headers_even_when_given() {
    let read = read(&render(&prepare(&plain("Your code: {{ score }}")), json!({ "score": 12 })).unwrap());
    assert_eq!(
        read.names(),
        ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
    );
    assert_eq!(read.text(), "Your code: 12\n");
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_another_delivery_another_boundary() {
    let draft = html("<p>{{ first_name|upper }} {% for i in range(3) %}{{ i }}{% endfor %}</p>");
    let (one, two) = (marketing(&draft), marketing(&draft));
    let bytes = render(&one, json!({ "first_name": "Zoë" })).unwrap();
    assert_eq!(bytes, render(&one, json!({ "first_name": "Zoë" })).unwrap());
    assert_eq!(bytes, render(&two, json!({ "first_name": "Zoë" })).unwrap());
    let stored = Prepared::new(Compiled::from_bytes(&one.compiled().to_bytes()).unwrap()).unwrap();
    assert_eq!(bytes, render(&stored, json!({ "first_name": "Zoë" })).unwrap());

    let (mailbox, vars) = (anna(), vars(json!({ "first_name": "Zoë" })));
    let mut other = Vec::new();
    one.render(&recipient(&mailbox, &vars), &MessageFacts { delivery: DeliveryId(5), ..facts() }, &mut other).unwrap();
    assert_ne!(bytes, other);
}

#[test]
fn facts_that_would_break_their_header_are_refused_and_leave_nothing_behind() {
    let prepared = marketing(&html("<p>x</p>"));
    let (mailbox, vars) = (anna(), vars(json!({})));
    let good = facts();
    let list = good.list.unwrap();
    let bad = [
        MessageFacts { message_id: "<a@b>\r\nBcc: x@example.org", ..good },
        MessageFacts { message_id: "a@b", ..good },
        MessageFacts { message_id: "<a b@c>", ..good },
        MessageFacts { message_id: "<@c>", ..good },
        MessageFacts { list: Some(ListFacts { list_id: "a>\r\nX: y", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { unsubscribe_url: "https://a/ b", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { unsubscribe_url: "http://example.org/u", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { unsubscribe_url: "javascript:x", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { unsubscribe_mailbox: "a@b>,<https://evil.example", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { unsubscribe_mailbox: "a@b?subject=x", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { feedback_id: "ü", ..list }), ..good },
        MessageFacts { list: Some(ListFacts { feedback_id: "", ..list }), ..good },
    ];
    for facts in bad {
        let mut out = b"before".to_vec();
        let error = prepared.render(&recipient(&mailbox, &vars), &facts, &mut out).unwrap_err();
        assert!(matches!(error, RenderError::Fact(_)), "{facts:?}: {error}");
        assert_eq!(out, b"before");
    }
    let mut out = Vec::new();
    let error =
        prepared.render(&recipient(&mailbox, &vars), &MessageFacts { list: None, ..good }, &mut out).unwrap_err();
    assert_eq!(error, RenderError::NoList);
    let comma = MessageFacts { list: Some(ListFacts { unsubscribe_url: "https://example.org/a,b", ..list }), ..good };
    prepared.render(&recipient(&mailbox, &vars), &comma, &mut out).unwrap();
    assert!(read(&out).field("List-Unsubscribe").starts_with("<https://example.org/a%2Cb>, "));
    let loopback =
        MessageFacts { list: Some(ListFacts { unsubscribe_url: "http://127.0.0.1:8080/u/x", ..list }), ..good };
    prepared.render(&recipient(&mailbox, &vars), &loopback, &mut Vec::new()).unwrap();
}

#[test]
fn a_mailbox_beyond_ascii_does_not_put_8_bit_bytes_into_the_header() {
    let prepared = prepare(&plain("x"));
    let vars = vars(json!({}));
    for (mailbox, to) in [
        ("jürgen@example.com", "undisclosed-recipients:;"),
        ("anna@bücher.example", "anna@xn--bcher-kva.example"),
        ("\"a b\"@example.com", "\"a b\"@example.com"),
    ] {
        let mailbox = Mailbox::parse(mailbox).unwrap();
        let mut out = Vec::new();
        prepared.render(&recipient(&mailbox, &vars), &facts(), &mut out).unwrap();
        assert_eq!(read(&out).field("To"), to);
    }
}

#[test]
fn subjects_in_ten_scripts_and_emoji_come_back() {
    let draft = Draft {
        subject: "{{ first_name|default('') }}: {{ city|default('') }}".into(),
        ..plain("{{ first_name|default('') }}\n{{ city|default('') }}")
    };
    let prepared = prepare(&draft);
    for text in SCRIPTS {
        let read = read(&render(&prepared, json!({ "first_name": text, "city": text })).unwrap());
        assert_eq!(decode_words(read.field("Subject")), format!("{text}: {text}"));
        assert_eq!(read.text(), format!("{text}\n{text}\n"));
    }
}

pub const SCRIPTS: [&str; 12] = [
    "Zoë Łukasiewicz und die großen Äpfel",
    "Съешь же ещё этих мягких французских булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "עטלף אבק נס דרך מזגן שהתפוצץ",
    "نص حكيم له سر قاطع وذو شأن عظيم",
    "ऋषियों को सताने वाले दुष्ट राक्षसों",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "いろはにほへと ちりぬるを",
    "天地玄黃 宇宙洪荒 日月盈昃",
    "키스의 고유조건은 입술끼리 만나야",
    "Դու դեռ ծեր չես, ბარემ მიხვდეთ",
    "👩‍👩‍👧‍👦 🎉 🏳️‍🌈 = ?= =?utf-8?q?x?= 👍🏽",
];

#[test]
fn texts_of_every_length_keep_to_76_columns() {
    let prepared =
        prepare(&html("<p title=\"{{ city }}\">{{ city }}{{ first_name }}</p>{% if city %}{{ city }}{% endif %}"));
    for length in (0..160).chain([997, 998, 4_000]) {
        for unit in ["a", "ž", "=", " ", "."] {
            let value = unit.repeat(length);
            // `read` counts the columns.
            let read = read(&render(&prepared, json!({ "city": value, "first_name": value })).unwrap());
            assert!(read.html().contains(&format!("{value}{value}</p>")), "{length} x {unit:?}");
        }
    }
}

#[test]
fn one_prepared_version_serves_all_threads() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let prepared = prepare(&html("<p>{% if city %}{{ city|upper }}{% endif %}</p>"));
    is_shared(&prepared);
    let first = render(&prepared, json!({ "city": "Rome" })).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(render(&prepared, json!({ "city": "Rome" })).unwrap(), first));
        }
    });
}

#[test]
fn a_version_of_another_renderer_is_refused() {
    let bytes = prepare(&plain("x")).compiled().to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    let other = text.replacen(&format!("\"renderer\":{RENDERER}"), "\"renderer\":7", 1);
    assert_eq!(Compiled::from_bytes(other.as_bytes()), Err(CompiledError::Renderer { found: 7, ours: RENDERER }));
    assert!(matches!(Compiled::from_bytes(b"{}"), Err(CompiledError::Corrupt(_))));
    assert!(matches!(Compiled::from_bytes(&text.as_bytes()[..text.len() / 2]), Err(CompiledError::Corrupt(_))));
}

#[test]
fn links_are_numbered_and_left_as_they_are() {
    let prepared = marketing(&html(
        "<p><a href=\"https://example.org/?a=1&amp;b={{ city }}\">x</a><a name=\"n\">y</a><a href=\"{{ link }}\">z</a></p>",
    ));
    let links: Vec<(u32, &str)> =
        prepared.compiled().links().iter().map(|link| (link.number, link.address.as_str())).collect();
    assert_eq!(
        links,
        [
            (1, "https://example.org/?a=1&b={{ city }}"),
            (2, "{{ link }}"),
            (3, "{{ unsubscribe_url }}"),
            (4, "{{ preferences_url }}"),
            (5, "{{ privacy_url }}")
        ]
    );
}

#[test]
fn styles_are_inlined_and_media_queries_stay() {
    let prepared = prepare(&html(
        "<style>p { color: red } a:hover { color: blue }\n@media (max-width: 600px) { p { color: green } }</style><p>{{ city }}</p>",
    ));
    let html = crate::helpers::preview(&prepared, json!({ "city": "Rome" })).unwrap().html.unwrap();
    assert!(html.contains("<p style=\"color: red;\">Rome</p>"), "{html}");
    assert!(html.contains("@media (max-width: 600px)") && html.contains("a:hover"), "{html}");
    assert!(!html.contains("p { color: red"), "{html}");
}
