//! Random block documents: all become messages with a footer, none loses anything when it is saved.

use postrider_content::Prepared;
use postrider_content::blocks::{Document, read, to_mjml};
use postrider_domain::campaign::{BodyFormat, Severity};
use postrider_domain::stream::Stream;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::helpers::{PREFERENCES, UNSUBSCRIBE, compile_for, draft, read as read_message, render};

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Zäßñ€😀 &<>\"'.,!?{}%#-]{0,40}".prop_map(|text| text.replace('{', "{ ")),
        1 => Just("Hello {{ first_name|default('there') }} & <you>".to_owned()),
        1 => Just("{% if city %}{{ city }}{% else %}nowhere{% endif %}".to_owned()),
    ]
}

fn rich() -> impl Strategy<Value = String> {
    (words(), words(), 0_u8..5).prop_map(|(one, other, form)| {
        let safe = |text: String| if text.contains("{%") { text } else { text.replace('<', "&lt;") };
        let (one, other) = (safe(one), safe(other));
        match form {
            0 => format!("<p>{one}</p><p><strong>{other}</strong></p>"),
            1 => format!("<ul><li>{one}</li><li>{other}</li></ul>"),
            2 => format!("<h2>{one}</h2><p><a href=\"https://example.org/?a=1&amp;b=2\">{other}x</a></p>"),
            3 => format!("<p>{one}<br>{other}</p><blockquote><p>q</p></blockquote>"),
            _ => format!("{one}<unknown>{other}</unknown><i>left open"),
        }
    })
}

fn color() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "#[0-9a-f]{6}", "#[0-9A-F]{3}"]
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("https://example.org/a?b=c&d=e".to_owned()),
        Just("mailto:anna@example.org".to_owned()),
        Just("{{ link|default('https://example.org') }}".to_owned()),
        Just("https://example.org/{{ city }}".to_owned()),
    ]
}

/// A block without its id, and without blocks inside.
fn simple() -> impl Strategy<Value = Value> {
    let align = prop_oneof![Just("left"), Just("center"), Just("right")];
    let frame =
        (color(), 0_u16..60).prop_map(|(background, top)| json!({ "background": background, "padding_top": top }));
    prop_oneof![
        (words(), 1_u8..4, align.clone(), color(), frame).prop_map(|(text, level, align, color, frame)| json!({ "type": "heading", "text": text, "level": level, "align": align, "color": color, "frame": frame })),
        (rich(), align.clone(), 10_u16..41).prop_map(|(html, align, size)| json!({ "type": "text", "html": html, "align": align, "size": size })),
        (address(), words(), 16_u16..801, any::<bool>()).prop_map(|(src, alt, width, rounded)| json!({ "type": "image", "src": src, "alt": alt, "width": width, "rounded": rounded })),
        (words(), address(), any::<bool>(), color()).prop_map(|(label, href, full_width, color)| json!({ "type": "button", "label": label, "href": href, "full_width": full_width, "color": color })),
        (1_u16..13, 10_u16..101, color()).prop_map(|(thickness, width, color)| json!({ "type": "divider", "thickness": thickness, "width": width, "color": color, "line": "dotted" })),
        (4_u16..201).prop_map(|height| json!({ "type": "spacer", "height": height })),
        (address(), words(), align).prop_map(|(href, label, align)| json!({ "type": "social", "align": align, "links": [{ "network": "mastodon", "href": href, "label": label }, { "network": "x", "href": "https://example.org" }] })),
        (words(), words()).prop_map(|(text, author)| json!({ "type": "quote", "text": text, "author": author })),
        (proptest::collection::vec((words(), words(), words(), address()), 1..4), any::<bool>()).prop_map(|(items, table)| {
            let items: Vec<Value> = items.into_iter().map(|(name, description, price, href)| json!({ "name": name, "description": description, "price": price, "href": href, "image": "https://example.org/i.png" })).collect();
            json!({ "type": "products", "layout": if table { "table" } else { "list" }, "items": items, "total": { "label": "Sum", "value": "1 €" } })
        }),
        (address(), words(), any::<bool>()).prop_map(|(href, caption, still)| json!({ "type": "video", "href": href, "caption": caption, "image": if still { "https://example.org/s.png" } else { "" } })),
        words().prop_map(|text| json!({ "type": "html", "html": format!("<table><tbody><tr><td>{}</td></tr></tbody></table>", if text.contains("{%") { text } else { text.replace('<', "&lt;") }) })),
    ]
}

fn group(inner: impl Strategy<Value = Vec<Value>> + Clone) -> impl Strategy<Value = Value> {
    (inner.clone(), inner, prop_oneof![Just("set"), Just("not_set"), Just("equal"), Just("not_equal")], words())
        .prop_map(|(blocks, otherwise, test, value)| {
            let mut when = json!({ "variable": "city", "is": test });
            if test.ends_with("equal") {
                when["value"] = format!("v {}", value.replace(['{', '}', '%', '#'], "")).into();
            }
            json!({ "type": "conditional", "when": when, "blocks": blocks, "otherwise": otherwise })
        })
}

fn document() -> impl Strategy<Value = Value> {
    let some = || proptest::collection::vec(simple(), 1..3).boxed();
    let cell = prop_oneof![3 => simple(), 1 => group(some())].boxed();
    let columns = proptest::collection::vec(proptest::collection::vec(cell, 0..3), 2..4)
        .prop_map(|columns| {
            let columns: Vec<Value> = columns.into_iter().map(|blocks| json!({ "blocks": blocks })).collect();
            json!({ "type": "columns", "columns": columns })
        })
        .boxed();
    let top = prop_oneof![5 => simple(), 1 => columns.clone(), 1 => group(proptest::collection::vec(prop_oneof![2 => simple(), 1 => columns], 1..3).boxed())];
    (proptest::collection::vec(top, 1..8), any::<bool>(), 320_u16..801).prop_map(|(mut blocks, footer, width)| {
        if footer {
            blocks.push(json!({ "type": "footer", "html": "<p>Because.</p>" }));
        }
        let mut number = 0;
        blocks.iter_mut().for_each(|block| name(block, &mut number));
        json!({ "version": 1, "theme": { "width": width }, "blocks": blocks })
    })
}

/// Gives every block its id.
fn name(block: &mut Value, number: &mut u32) {
    block["id"] = format!("b{number}").into();
    *number += 1;
    for list in ["blocks", "otherwise"] {
        if let Some(Value::Array(inner)) = block.get_mut(list) {
            inner.iter_mut().for_each(|block| name(block, number));
        }
    }
    if let Some(Value::Array(columns)) = block.get_mut("columns") {
        for column in columns {
            if let Some(Value::Array(inner)) = column.get_mut("blocks") {
                inner.iter_mut().for_each(|block| name(block, number));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn random_documents_become_messages(document in document()) {
        let body = document.to_string();
        let read = read(&body).map_err(|findings| TestCaseError::fail(format!("{findings:#?}\n{body}")))?;
        // A save and a load lose nothing.
        let saved = serde_json::to_string(&read).unwrap();
        let again: Document = serde_json::from_str(&saved).unwrap();
        prop_assert_eq!(&read, &again);

        let by_blocks = draft(BodyFormat::Blocks, &body);
        let compilation = compile_for(&by_blocks, Stream::Marketing);
        let wrong: Vec<_> = compilation.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        prop_assert!(wrong.is_empty(), "{:#?}\n{}", wrong, body);
        let compiled = compilation.compiled.unwrap();
        // What was saved is the same text.
        let same = compile_for(&draft(BodyFormat::Blocks, &saved), Stream::Marketing).compiled.unwrap();
        prop_assert!(same.to_bytes() == compiled.to_bytes());

        let prepared = Prepared::new(compiled).unwrap();
        for values in [json!({}), json!({ "city": "Łódź & <co>", "first_name": "Zoë", "link": "https://example.org/x" })] {
            let message = read_message(&render(&prepared, values).unwrap());
            for part in [message.html(), message.text()] {
                prop_assert!(part.contains(UNSUBSCRIBE) && part.contains(PREFERENCES) && part.contains("12345 Town"), "{}\n{}", part, body);
            }
        }
        // The document as MJML is MJML.
        let mjml = to_mjml(&body, true).map_err(|findings| TestCaseError::fail(format!("{findings:#?}")))?;
        let compilation = compile_for(&draft(BodyFormat::Mjml, &mjml), Stream::Marketing);
        let wrong: Vec<_> = compilation.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        prop_assert!(wrong.is_empty(), "{:#?}\n{}", wrong, mjml);
    }
}
