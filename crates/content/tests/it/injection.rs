//! Whatever stands in a contact's field, a subject, a name or a template: it never becomes structure (SEC-20, Must show 7).

use std::sync::OnceLock;

use postrider_content::{Prepared, SingleMessage, compose_single};
use postrider_domain::campaign::{BodyFormat, Draft};
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use proptest::prelude::*;
use serde_json::json;

use crate::helpers::{compile_for, decode_words, read, render};

const NAMES: [&str; 11] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "MIME-Version",
    "Content-Type",
];

/// Texts made of what breaks messages, and of anything else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n.\r\n".to_owned()),
        Just("\0".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{85}".to_owned()),
        Just("\u{1}".to_owned()),
        Just("\u{7f}\u{9b}".to_owned()),
        Just("Bcc: victim@example.org".to_owned()),
        Just("\r\nBcc: victim@example.org\r\n\r\n<p>".to_owned()),
        Just("\r\n--=_aaaaaaaaaaaas_0--\r\n".to_owned()),
        Just("=?utf-8?q?=0D=0ABcc:_x?=".to_owned()),
        Just("\"><script>".to_owned()),
        Just("{{ mailbox }}{% if x %}".to_owned()),
        Just("=\r\n".to_owned()),
        Just(" \t".to_owned()),
        "\\PC{0,20}",
        any::<String>().prop_map(|text| text.chars().take(30).collect()),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let draft = Draft {
            from_mailbox: "news@example.org".into(),
            from_name: "Example".into(),
            subject: "For {{ first_name|default('you') }} {{ city|upper }}{% if score %}, {{ score ~ '!' }}{% endif %}".into(),
            preheader: "Pre {{ city }}".into(),
            format: Some(BodyFormat::Html),
            body: "<p title=\"{{ city }}\">{{ first_name }}</p><a href=\"https://example.org/?a={{ city }}\">{{ score }}</a>\
                   {% if big %}<b>{{ big }}{{ first_name|truncate(5) }}</b>{% endif %}"
                .into(),
            text: "{{ first_name }}\n{{ city }}\n{% if big %}{{ big }}{% endif %}\nhttps://example.org/{{ city }}".into(),
            ..Draft::default()
        };
        let compilation = compile_for(&draft, Stream::Marketing);
        Prepared::new(compilation.compiled.unwrap_or_else(|| panic!("{:?}", compilation.findings))).unwrap()
    })
}

/// What a reader of the decoded HTML would see as elements.
fn tags(html: &str) -> Vec<String> {
    html.match_indices('<')
        .map(|(at, _)| html[at..].chars().take_while(|c| !c.is_whitespace() && *c != '>').collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn values_never_become_structure(first in hostile(), city in hostile(), score in hostile(), big in hostile()) {
        let empty = read(&render(prepared(), json!({ "big": "x" })).unwrap());
        let message = render(prepared(), json!({ "first_name": first, "city": city, "score": score, "big": big })).unwrap();
        let read = read(&message);
        prop_assert_eq!(read.names(), NAMES);
        prop_assert_eq!(read.parts.len(), 2);
        let subject = decode_words(read.field("Subject"));
        prop_assert!(!postrider_mail::header::has_control(&subject));
        // The HTML has the same elements as without hostile values, and the text the same lines.
        if !big.trim().is_empty() {
            prop_assert_eq!(tags(read.html()), tags(empty.html()));
        }
        prop_assert!(!read.html().contains("<script"));
        prop_assert!(![read.text(), read.html()].concat().contains(char::from(1)));
    }

    #[test]
    fn subjects_names_and_bodies_never_become_structure(subject in hostile(), name in hostile(), body in hostile(), preheader in hostile(), format in 0..3_usize) {
        let draft = Draft {
            from_mailbox: "news@example.org".into(),
            from_name: name,
            subject,
            preheader,
            format: Some(BodyFormat::ALL[format]),
            body: format!("x {body}"),
            ..Draft::default()
        };
        // Either it is refused with a finding, or the message has the structure of every other.
        if let Some(compiled) = compile_for(&draft, Stream::Marketing).compiled {
            let read = read(&render(&Prepared::new(compiled).unwrap(), json!({ "city": "x\r\nBcc: y" })).unwrap());
            let mut names = NAMES.to_vec();
            if format == 2 {
                names.push("Content-Transfer-Encoding");
            }
            prop_assert_eq!(read.names(), names);
            prop_assert_eq!(read.parts.len(), if format == 2 { 1 } else { 2 });
        }
    }

    #[test]
    fn single_messages_never_become_structure(subject in hostile(), name in hostile(), text in hostile(), html in hostile(), id in hostile()) {
        let from = Mailbox::parse("shop@example.org").unwrap();
        let to = [Mailbox::parse("a@example.com").unwrap()];
        let id = format!("<{id}@example.org>");
        for message_id in ["<m@example.org>", id.as_str()] {
            let single = SingleMessage {
                from_name: &name, from: &from, to: &to, reply_to: None, subject: &subject,
                text: Some(&text), html: Some(&html), message_id, date_ms: 0, number: 4,
            };
            if let Ok(message) = compose_single(&single) {
                let read = read(&message);
                prop_assert_eq!(read.names(), ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"]);
                prop_assert_eq!(read.parts.len(), 2);
            }
        }
    }

    #[test]
    fn any_template_ends_in_findings_or_a_message(source in "[ -~\\n]{0,80}", wrapped in "(\\{\\{|\\{%|\\{#)[ a-z0-9_|.'(),~+*=<>-]{0,60}(\\}\\}|%\\}|#\\})") {
        for format in BodyFormat::ALL {
            let draft = Draft {
                from_mailbox: "news@example.org".into(),
                subject: "x".into(),
                format: Some(*format),
                body: format!("<p>{source}{wrapped}{source}</p>"),
                ..Draft::default()
            };
            if let Some(compiled) = compile_for(&draft, Stream::Transactional).compiled
                && let Ok(message) = render(&Prepared::new(compiled).unwrap(), json!({ "city": "<x>" }))
            {
                read(&message);
            }
        }
    }
}
