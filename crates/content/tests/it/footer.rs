//! The footer: there when it must be, once (LAW-40, SR-19).

use postrider_content::Prepared;
use postrider_domain::campaign::BodyFormat;
use postrider_domain::stream::Stream;
use serde_json::json;

use crate::helpers::{PREFERENCES, UNSUBSCRIBE, compile_for, draft, html, preview};

const ALL_HTML: &str = "<p>{{ controller_name }}, {{ postal_address }} <a href=\"{{ unsubscribe_url }}\">out</a> <a href=\"{{ preferences_url }}\">more</a></p>";

fn parts(draft: &postrider_domain::campaign::Draft, stream: Stream) -> (String, String) {
    let compilation = compile_for(draft, stream);
    let prepared = Prepared::new(compilation.compiled.unwrap_or_else(|| panic!("{:?}", compilation.findings))).unwrap();
    let rendered = preview(&prepared, json!({ "city": "Rome" })).unwrap();
    (rendered.html.unwrap_or_default(), rendered.text)
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn what_the_author_left_out_is_added_to_both_parts() {
    for format in [BodyFormat::Html, BodyFormat::Markdown] {
        let (html, text) = parts(&draft(format, "Hello"), Stream::Marketing);
        for part in [&html, &text] {
            assert_eq!(count(part, UNSUBSCRIBE), 1, "{part}");
            assert_eq!(count(part, PREFERENCES), 1, "{part}");
            assert_eq!(count(part, "1 Main Street"), 1, "{part}");
            assert_eq!(count(part, "12345 Town"), 1, "{part}");
        }
        assert_eq!(count(&html, "Example &amp; Sons Ltd"), 1);
        assert_eq!(count(&text, "Example & Sons Ltd"), 1);
        assert!(html.find("Hello").unwrap() < html.find(UNSUBSCRIBE).unwrap());
        assert!(html.find(UNSUBSCRIBE).unwrap() < html.find("</body>").unwrap());
    }
    let (_, text) = parts(&draft(BodyFormat::Text, "Hello"), Stream::Marketing);
    assert_eq!(
        text,
        format!(
            "Hello\n\n--\nExample & Sons Ltd\n1 Main Street\n12345 Town\nUnsubscribe: {UNSUBSCRIBE}\nPreferences: {PREFERENCES}\nPrivacy: https://example.org/privacy\n"
        )
    );
}

#[test]
fn what_the_author_wrote_is_not_doubled() {
    let (html, text) = parts(&html(ALL_HTML), Stream::Marketing);
    for part in [&html, &text] {
        for once in [UNSUBSCRIBE, PREFERENCES, "1 Main Street"] {
            assert_eq!(count(part, once), 1, "{once} in {part}");
        }
    }
    assert!(!text.contains("--\n"));
    let mut own = crate::helpers::html(
        "<p>Example &amp; Sons Ltd<br>1 Main Street, 12345 Town. <a href=\"{{ unsubscribe_url }}\">out</a></p>",
    );
    own.text = "{{ unsubscribe_url }}\n{{ preferences_url }}\nBy example & sons ltd, 1 Main  Street, 12345 Town".into();
    let (html, text) = parts(&own, Stream::Marketing);
    assert_eq!(
        (count(&html, UNSUBSCRIBE), count(&html, PREFERENCES), count(&html, "1 Main Street")),
        (1, 1, 1),
        "{html}"
    );
    assert!(!text.contains("--\n"), "{text}");
}

#[test]
fn a_link_that_may_be_missing_or_hidden_does_not_count() {
    for body in [
        "<p>{% if city %}<a href=\"{{ unsubscribe_url }}\">out</a>{% endif %}</p>",
        "<p style=\"display:none\"><a href=\"{{ unsubscribe_url }}\">out</a></p>",
        "<p>Write to {{ unsubscribe_url }}</p><p><a href=\"{{ unsubscribe_url }}\"></a></p>",
        "<p>{% for i in range(1) %}<a href=\"{{ unsubscribe_url }}\">out</a>{% endfor %}</p>",
    ] {
        let (html, _) = parts(&html(body), Stream::Marketing);
        assert_eq!(count(&html, &format!("href=\"{UNSUBSCRIBE}\"")), 2, "{html}");
        assert_eq!(count(&html, ">Unsubscribe</a>"), 1, "{html}");
    }
}

#[test]
fn transactional_messages_get_no_footer() {
    let (html, text) = parts(&html("<p>Your code is 1</p>"), Stream::Transactional);
    assert!(!html.contains(UNSUBSCRIBE) && !text.contains(UNSUBSCRIBE) && !text.contains("Main Street"));
}
