//! Bytes that must not change under one renderer number: retries of stored deliveries need them (DESIGN section 4).
//!
//! To change them on purpose: raise `RENDERER`, run the tests with `POSTRIDER_BLESS=1`, and commit the new files.

use std::path::PathBuf;

use postrider_content::{Compiled, Prepared, RENDERER, SingleMessage, compose_single};
use postrider_domain::campaign::{BodyFormat, Draft};
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use serde_json::json;

use crate::helpers::{compile_for, draft, render};

fn compare(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("r{RENDERER}-{name}"));
    if std::env::var_os("POSTRIDER_BLESS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let golden =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; see the head of this file", path.display()));
    assert!(
        golden == bytes,
        "the bytes of {name} changed under renderer {RENDERER}: raise RENDERER if that is meant\n--- now\n{}",
        String::from_utf8_lossy(bytes)
    );
}

fn drafts() -> Vec<(&'static str, Draft, Stream)> {
    let mut html = draft(
        BodyFormat::Html,
        "<html><head><title>N</title><style>p{color:red}@media(max-width:600px){p{color:blue}}</style></head><body>\n\
         <p>Dear {{ first_name|default('friend') }},</p>\n\
         <table>{% if score|int > 3 %}<tr><td>Thanks &amp; {{ city|upper }}</td></tr>{% else %}<tr><td>No</td></tr>{% endif %}</table>\n\
         <p>{% for i in range(3) %}{{ loop.index }}{% if not loop.last %}, {% endif %}{% endfor %} <a href=\"https://example.org/?c={{ city }}\">Žluťoučký kůň</a></p>\n\
         </body></html>\n",
    );
    html.subject = "Für {{ first_name|default('dich') }} 🎉".into();
    html.from_name = "Exämple".into();
    html.reply_to = "answers@example.org".into();
    html.preheader = "Vorab: {{ city|default('hier') }}".into();
    let markdown = draft(
        BodyFormat::Markdown,
        "# Hi {{ first_name|default('you') }}\n\n* a **b**\n* [c]({{ link|default('https://example.org') }})\n",
    );
    let text = draft(BodyFormat::Text, "Your code: {{ score }}\n\n.\nFrom us = {{ city }}\n");
    vec![
        ("html.eml", html, Stream::Marketing),
        ("markdown.eml", markdown, Stream::Marketing),
        ("text.eml", text, Stream::Transactional),
    ]
}

#[test]
fn rendered_messages_keep_their_bytes() {
    for (name, draft, stream) in drafts() {
        let compiled = compile_for(&draft, stream).compiled.unwrap();
        let values = json!({ "first_name": "Zoë Smith", "city": "Kraków & Łódź", "score": 5 });
        compare(name, &render(&Prepared::new(compiled).unwrap(), values).unwrap());
    }
}

/// Versions stored by an earlier build of the same renderer must still read, and render the same.
#[test]
fn stored_versions_keep_their_meaning() {
    for (name, draft, stream) in drafts() {
        let stored = name.replace(".eml", ".version.json");
        compare(&stored, &compile_for(&draft, stream).compiled.unwrap().to_bytes());
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("r{RENDERER}-{stored}"));
        let compiled = Compiled::from_bytes(&std::fs::read(path).unwrap()).unwrap();
        let values = json!({ "first_name": "Zoë Smith", "city": "Kraków & Łódź", "score": 5 });
        compare(name, &render(&Prepared::new(compiled).unwrap(), values).unwrap());
    }
}

#[test]
fn single_messages_keep_their_bytes() {
    let from = Mailbox::parse("shop@example.org").unwrap();
    let to = [Mailbox::parse("anna@example.com").unwrap()];
    let single = SingleMessage {
        from_name: "Shop \"Ä\"",
        from: &from,
        to: &to,
        reply_to: None,
        subject: "Ваш заказ",
        text: None,
        html: Some("<p>Спасибо! <a href=\"https://example.org/o/1\">Заказ</a></p>"),
        message_id: "<m.1@example.org>",
        date_ms: 1_790_000_000_000,
        number: 1,
    };
    compare("single.eml", &compose_single(&single).unwrap());
}
