//! Block documents: each block's HTML, the starters, random documents, and what hostile ones come to.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use postrider_content::blocks::{Block, Document, read, starters, to_mjml};
use postrider_content::{Prepared, RENDERER, variables};
use postrider_domain::campaign::{BodyFormat, Draft, Finding, Severity};
use postrider_domain::stream::Stream;
use serde_json::{Value, json};

use crate::helpers::{
    PREFERENCES, UNSUBSCRIBE, codes, compile_for, draft, errors, prepare, preview, read as read_message, render, shown,
};

/// A document around blocks, as the editor saves it.
pub fn document(blocks: Value) -> String {
    json!({ "version": 1, "blocks": blocks }).to_string()
}

pub fn body(blocks: Value) -> Draft {
    draft(BodyFormat::Blocks, &document(blocks))
}

fn text(html: &str) -> Draft {
    body(json!([{ "id": "t", "type": "text", "html": html }]))
}

/// The examples of docs/blocks.md: the page is the contract with the editor.
fn examples() -> Vec<(String, Value)> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/blocks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, page) = page.split_once("## The fourteen blocks").unwrap();
    page.split("\n### ")
        .skip(1)
        .map(|section| {
            let (name, rest) = section.split_once('\n').unwrap();
            let (_, rest) = rest.split_once("```json\n").unwrap();
            let (example, _) = rest.split_once("```").unwrap();
            (name.trim().to_owned(), serde_json::from_str(example).unwrap())
        })
        .collect()
}

#[test]
fn each_block_keeps_its_html() {
    let examples = examples();
    assert_eq!(examples.len(), 14);
    for (name, block) in examples {
        assert_eq!(block["type"], name.as_str());
        let draft = body(json!([block]));
        let compilation = compile_for(&draft, Stream::Transactional);
        assert_eq!(compilation.findings, [], "{name}");
        let values = json!({ "first_name": "Zoë & Co", "city": "Turin" });
        let html = preview(&Prepared::new(compilation.compiled.unwrap()).unwrap(), values).unwrap().html.unwrap();
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("r{RENDERER}-block-{name}.html"));
        if std::env::var_os("POSTRIDER_BLESS").is_some() {
            std::fs::write(&path, &html).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(golden == html, "the HTML of {name} changed under renderer {RENDERER}\n--- now\n{html}");
    }
}

#[test]
fn what_is_saved_is_what_was_written() {
    for (name, block) in examples() {
        let one: Block = serde_json::from_value(block.clone()).unwrap();
        let again: Block = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        assert_eq!(one, again, "{name}");
        // Nothing that was written is left out, but defaults.
        let saved = serde_json::to_value(&one).unwrap();
        for (field, value) in block.as_object().unwrap() {
            if let Some(kept) = saved.get(field) {
                let plain = |value: &Value| !value.is_object() && !value.is_array();
                assert!(!plain(value) || kept == value, "{name}.{field}");
            }
        }
    }
}

#[test]
fn starters_pass_every_check() {
    assert_eq!(starters().len(), 6);
    for starter in starters() {
        let mut draft = draft(BodyFormat::Blocks, starter.document);
        draft.subject = starter.subject.to_owned();
        for stream in [Stream::Marketing, Stream::Transactional] {
            let compilation = compile_for(&draft, stream);
            assert_eq!(compilation.findings, [], "{}", starter.id);
            let prepared = Prepared::new(compilation.compiled.unwrap()).unwrap();
            let message = read_message(&render(&prepared, json!({ "first_name": "Anna" })).unwrap());
            for part in [message.html(), message.text()] {
                assert!(part.contains(UNSUBSCRIBE) && part.contains(PREFERENCES), "{}", starter.id);
                assert!(part.contains("1 Main Street") && part.contains("Anna"), "{}", starter.id);
                assert_eq!(part.matches("/u/AQID").count(), 1, "{}: the footer is there once", starter.id);
            }
            assert!(message.html().len() < 60_000, "{}: {} bytes", starter.id, message.html().len());
            assert!(!message.html().contains("<img"), "{}", starter.id);
            let nobody = preview(&prepared, json!({})).unwrap();
            assert!(!nobody.text.contains("{{"), "{}", nobody.text);
            if let Some(folder) = std::env::var_os("POSTRIDER_SHOW") {
                let folder = PathBuf::from(folder);
                std::fs::write(folder.join(format!("{}.html", starter.id)), message.html()).unwrap();
                std::fs::write(folder.join(format!("{}.txt", starter.id)), message.text()).unwrap();
            }
        }
    }
}

#[test]
fn the_law_is_kept_whatever_is_written() {
    let shown = |blocks: Value| {
        let compilation = compile_for(&body(blocks), Stream::Marketing);
        let findings = compilation.findings;
        let prepared = Prepared::new(compilation.compiled.unwrap_or_else(|| panic!("{findings:#?}"))).unwrap();
        preview(&prepared, json!({})).unwrap()
    };
    let plain = json!({ "id": "a", "type": "text", "html": "<p>a</p>" });
    for blocks in [
        json!([plain]),
        json!([plain, { "id": "f", "type": "footer", "address": false, "links": false }]),
        json!([plain, { "id": "f", "type": "footer", "address": true, "links": false }]),
        json!([{ "id": "c", "type": "conditional", "when": { "variable": "city", "is": "set" }, "blocks": [
            { "id": "x", "type": "html", "html": "<p><a href=\"{{ unsubscribe_url }}\">{{ controller_name }} {{ postal_address }}</a></p>" }
        ] }]),
    ] {
        let rendered = shown(blocks.clone());
        for part in [rendered.html.unwrap(), rendered.text] {
            assert!(part.contains(UNSUBSCRIBE) && part.contains(PREFERENCES), "{blocks}");
            assert!(part.contains("12345 Town") && part.contains("Sons Ltd"), "{blocks}");
        }
    }
}

#[test]
fn conditions_choose_rows_and_parts_of_columns() {
    let inner = |id: &str, words: &str| json!({ "id": id, "type": "text", "html": format!("<p>{words}</p>") });
    let group = |id: &str, test: &str, value: &str| {
        let mut when = json!({ "variable": "city", "is": test });
        if !value.is_empty() {
            when["value"] = value.into();
        }
        json!({ "id": id, "type": "conditional", "when": when, "blocks": [inner(&format!("{id}y"), &format!("{id}-yes"))],
            "otherwise": [inner(&format!("{id}n"), &format!("{id}-no"))] })
    };
    let draft = body(json!([
        group("set", "set", ""),
        group("unset", "not_set", ""),
        { "id": "cols", "type": "columns", "columns": [
            { "blocks": [group("eq", "equal", "Sant'Angelo \\ 5")] }, { "blocks": [group("ne", "not_equal", "Rome")] }
        ] }
    ]));
    let said = |values: Value| shown(&draft, values).unwrap();
    for (values, want) in [
        (json!({}), ["set-no", "unset-yes", "eq-no", "ne-yes"]),
        (json!({ "city": "  " }), ["set-no", "unset-yes", "eq-no", "ne-yes"]),
        (json!({ "city": "Rome" }), ["set-yes", "unset-no", "eq-no", "ne-no"]),
        (json!({ "city": "Sant'Angelo \\ 5 " }), ["set-yes", "unset-no", "eq-yes", "ne-yes"]),
        (json!({ "city": 0 }), ["set-yes", "unset-no", "eq-no", "ne-yes"]),
    ] {
        let html = said(values.clone());
        for name in ["set", "unset", "eq", "ne"] {
            let yes = html.contains(&format!(">{name}-yes<"));
            let no = html.contains(&format!(">{name}-no<"));
            assert!(yes != no, "{values}: one of both for {name}");
            let word = format!("{name}-{}", if yes { "yes" } else { "no" });
            assert!(want.contains(&word.as_str()), "{values}: {word}");
        }
    }
    assert!(variables(&draft).contains("city"));
}

fn messages(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{} {} {}", finding.code, finding.field, finding.message)).collect()
}

#[test]
fn faults_name_their_block() {
    let ok = json!({ "id": "ok", "type": "text", "html": "<p>a</p>" });
    let cases = [
        (
            json!([ok, { "id": "b", "type": "heading", "text": "Hi {{ nobody }}" }]),
            "unknown_variable body#b block 2 (heading): `nobody` is neither",
        ),
        (
            json!([ok, { "id": "b", "type": "heading", "text": "Hi {{ city" }]),
            "template_syntax body#b block 2 (heading): `text`: ",
        ),
        (
            json!([{ "id": "b", "type": "text", "html": "{% if city %}a" }]),
            "template_block body#b block 1 (text): `html`: ",
        ),
        (
            json!([{ "id": "c", "type": "columns", "columns": [{ "blocks": [] }, { "blocks": [ok, { "id": "z", "type": "button", "label": "x", "href": "javascript:alert(1)" }] }] }]),
            "block_address body#z block 1.2.2 (button): `href` is no address",
        ),
        (
            json!([{ "id": "c", "type": "columns", "columns": [{ "blocks": [] }] }]),
            "block_not_valid body#c block 1 (columns): it needs two or three",
        ),
        (
            json!([{ "id": "c", "type": "columns", "columns": [{ "width": 50, "blocks": [] }, { "blocks": [] }] }]),
            "block_not_valid body#c block 1 (columns): the widths",
        ),
        (json!([ok, ok]), "block_not_valid body#ok block 2 (text): its id is used twice"),
        (
            json!([{ "id": "a b", "type": "spacer", "height": 10 }]),
            "block_not_valid body#a b block 1 (spacer): its id is not usable",
        ),
        (
            json!([{ "id": "s", "type": "spacer", "height": 3 }]),
            "block_not_valid body#s block 1 (spacer): `height` is 3: choose 4 to 200",
        ),
        (json!([{ "id": "s", "type": "spacer" }]), "blocks_shape body#s block 1 (spacer): missing field `height`"),
        (
            json!([{ "id": "s", "type": "spacer", "height": 10, "onload": "x" }]),
            "blocks_shape body#s block 1 (spacer): unknown field `onload`",
        ),
        (json!([{ "id": "s", "type": "script" }]), "blocks_shape body#s block 1 (script): unknown variant `script`"),
        (
            json!([{ "id": "w", "type": "conditional", "when": { "variable": "city", "is": "set" }, "blocks": [ok], "otherwise": [{ "id": "s", "type": "spacer" }] }]),
            "blocks_shape body#s block 1.2 (spacer): missing field",
        ),
        (
            json!([{ "id": "w", "type": "conditional", "when": { "variable": "city }} {{ x", "is": "set" }, "blocks": [ok] }]),
            "block_not_valid body#w block 1 (conditional): its variable is no name",
        ),
        (
            json!([{ "id": "h", "type": "heading", "text": "a", "color": "red;background:url(x)" }]),
            "block_color body#h block 1 (heading): `color` is no colour",
        ),
        (
            json!([{ "id": "h", "type": "html", "html": "<div><p>open</div>" }, { "id": "g", "type": "html", "html": "</td></tr></table>" }]),
            "html_unclosed body#g block 2 (html): `html`: <table>",
        ),
        (
            json!([{ "id": "h", "type": "html", "html": "<form><input></form>" }]),
            "forbidden_element body#h block 1 (html): <form>",
        ),
        (
            json!([{ "id": "f", "type": "footer" }, { "id": "g", "type": "footer" }]),
            "block_not_valid body#g block 2 (footer): there is another",
        ),
        (json!([]), "no_body body there are no blocks"),
    ];
    for (blocks, want) in cases {
        let found = messages(&errors(&body(blocks.clone())));
        assert!(found.iter().any(|message| message.starts_with(want)), "{blocks}\nwanted {want}\nfound {found:#?}");
    }
    let found = errors(&draft(BodyFormat::Blocks, "{\n \"version\": 1,\n nonsense }"));
    assert_eq!((found[0].code.as_str(), found[0].line), ("blocks_syntax", Some(3)));
    let found = errors(&draft(BodyFormat::Blocks, "{\"version\":2,\"blocks\":[]}"));
    assert_eq!(codes(&found), ["blocks_version"]);
    let found = errors(&draft(BodyFormat::Blocks, "{\"version\":1,\"theme\":{\"css\":\"x\"},\"blocks\":[]}"));
    assert!(found[0].message.starts_with("the theme is not right (unknown field `css`"), "{}", found[0].message);
    let found = errors(&draft(
        BodyFormat::Blocks,
        "{\"version\":1,\"theme\":{\"accent\":\"url(x)\",\"width\":9000},\"blocks\":[{\"id\":\"s\",\"type\":\"spacer\",\"height\":9}]}",
    ));
    assert_eq!(codes(&found), ["blocks_theme", "blocks_theme"]);
}

#[test]
fn doubts_name_their_block_and_stop_nobody() {
    let draft = body(json!([
        { "id": "i", "type": "image" },
        { "id": "j", "type": "image", "src": "https://example.org/a.png" },
        { "id": "k", "type": "button", "label": "Go" },
        { "id": "t", "type": "text", "html": "<p><a>x</a> {{ city }}</p>" }
    ]));
    let compilation = compile_for(&draft, Stream::Transactional);
    assert!(compilation.compiled.is_some());
    let found: Vec<(String, String)> =
        compilation.findings.iter().map(|finding| (finding.code.clone(), finding.field.clone())).collect();
    let want = [
        ("no_image", "body#i"),
        ("missing_alt", "body#j"),
        ("empty_link", "body#k"),
        ("empty_link", "body#t"),
        ("no_default", "body#t"),
    ];
    assert_eq!(found, want.map(|(code, field)| (code.to_owned(), field.to_owned())));
    assert!(compilation.findings.iter().all(|finding| finding.severity == Severity::Warning));
}

/// What may run, load or escape in a browser; read by a parser that the renderer's last step does not use alone.
fn is_harmless(html: &str, is_by_hand: bool) -> Result<(), String> {
    use lol_html::{Settings, element, rewrite_str, text};
    let wrong = std::cell::RefCell::new(None);
    let settings = Settings::new().with_strict(false).append_element_content_handler(element!("*", |element| {
        let name = element.tag_name();
        let bad = [
            "script",
            "iframe",
            "form",
            "object",
            "embed",
            "svg",
            "math",
            "base",
            "link",
            "input",
            "video",
            "audio",
            "mj-raw",
            "mj-include",
            "noscript",
            "template",
        ];
        let say = |what: String| *wrong.borrow_mut() = Some(what);
        if bad.contains(&name.as_str())
            || (name == "meta" && element.get_attribute("http-equiv").is_some_and(|kind| kind.contains("efresh")))
        {
            say(format!("<{name}>"));
        }
        for attribute in element.attributes() {
            let (key, value) = (attribute.name(), attribute.value());
            let compact: String =
                value.to_ascii_lowercase().chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
            let is_address = matches!(key.as_str(), "href" | "src" | "background" | "action");
            let leads = ["https://", "http://", "mailto:", "tel:"].iter().any(|scheme| compact.starts_with(scheme));
            // Who writes HTML by hand may place things; scripts are for nobody.
            let scripts = ["expression(", "javascript:", "binding", "behavior:", "import"];
            let places = ["url(", "position:"];
            let escapes: Vec<&str> = if is_by_hand { scripts.to_vec() } else { [&scripts[..], &places].concat() };
            if key.starts_with("on")
                || (is_address && !leads)
                || (key == "style" && escapes.iter().any(|bad| compact.contains(bad)))
            {
                say(format!("<{name} {key}={value}>"));
            }
        }
        Ok(())
    }));
    let settings = settings.append_element_content_handler(text!("style", |piece| {
        if piece.as_str().contains("@import") || piece.as_str().contains("url(") {
            *wrong.borrow_mut() = Some(format!("a style sheet loads: {}", piece.as_str()));
        }
        Ok(())
    }));
    rewrite_str(html, settings).map_err(|error| error.to_string())?;
    wrong.into_inner().map_or(Ok(()), Err)
}

const PAYLOADS: [&str; 34] = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//x.example/a.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mi xlink:href=\"javascript:alert(1)\">x</mi></math>",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onmouseover='alert(1)",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<a href=\"  java\nscript:alert(1)\">x</a>",
    "<a href=\"&#106;avascript:alert(1)\">x</a>",
    "<a href=\"data:text/html,<script>alert(1)</script>\">x</a>",
    "<a href=\"vbscript:msgbox(1)\">x</a>",
    "<p style=\"background:url(javascript:alert(1))\">x</p>",
    "<p style=\"width:expression(alert(1))\">x</p>",
    "<p style=\"color:red;position:fixed;top:0\">x</p>",
    "<style>@import url(https://x.example/a.css);</style>",
    "</style><script>alert(1)</script>",
    "<iframe src=\"https://x.example\"></iframe>",
    "<form action=\"https://x.example\"><input name=p></form>",
    "<base href=\"https://x.example/\">",
    "<meta http-equiv=refresh content=\"0;url=https://x.example\">",
    "<link rel=stylesheet href=\"https://x.example/a.css\">",
    "<object data=\"https://x.example\"></object>",
    "<!--[if mso]><script>alert(1)</script><![endif]-->",
    "--><script>alert(1)</script><!--",
    "<mj-raw><script>alert(1)</script></mj-raw>",
    "</mj-text></mj-column></mj-section><mj-include path=\"/etc/passwd\" />",
    "]]><script>alert(1)</script>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<table><td><a href=\"https://example.org\" onclick=alert(1)>x",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
];

/// A document in which every field of people holds the same text.
fn everywhere(payload: &str) -> Vec<Value> {
    let address = format!("https://example.org/{payload}");
    vec![
        json!({ "id": "b1", "type": "heading", "text": payload }),
        json!({ "id": "b2", "type": "text", "html": payload }),
        json!({ "id": "b3", "type": "text", "html": format!("<p>{payload}</p>") }),
        json!({ "id": "b4", "type": "image", "src": "https://example.org/a.png", "alt": payload }),
        json!({ "id": "b5", "type": "image", "src": address, "alt": "a" }),
        json!({ "id": "b6", "type": "button", "label": payload, "href": "https://example.org" }),
        json!({ "id": "b7", "type": "button", "label": "a", "href": address }),
        json!({ "id": "b8", "type": "social", "links": [{ "network": "x", "href": "https://example.org", "label": payload }] }),
        json!({ "id": "b9", "type": "quote", "text": payload, "author": payload }),
        json!({ "id": "c1", "type": "products", "items": [{ "name": payload, "description": payload, "price": payload, "alt": payload, "image": "https://example.org/a.png", "href": "https://example.org" }], "total": { "label": payload, "value": payload }, "link_label": payload }),
        json!({ "id": "c2", "type": "products", "layout": "table", "items": [{ "name": payload, "quantity": payload }] }),
        json!({ "id": "c3", "type": "video", "href": "https://example.org", "caption": payload, "alt": payload, "image": "https://example.org/a.png" }),
        json!({ "id": "c4", "type": "html", "html": payload }),
        json!({ "id": "c5", "type": "conditional", "when": { "variable": "city", "is": "not_equal", "value": payload }, "blocks": [{ "id": "c6", "type": "text", "html": payload }] }),
        json!({ "id": "c7", "type": "footer", "html": payload, "unsubscribe_label": payload, "preferences_label": payload, "privacy_label": payload }),
        json!({ "id": payload, "type": "spacer", "height": 9 }),
        json!({ "id": "c8", "type": "heading", "text": "a", "color": payload }),
        json!({ "id": "c9", "type": "divider", "frame": { "background": payload } }),
        json!({ "id": "d1", "type": payload }),
    ]
}

#[test]
fn hostile_payloads_run_nothing() {
    let mut rendered = 0;
    for payload in PAYLOADS {
        for block in everywhere(payload) {
            let compilation = compile_for(&body(json!([block])), Stream::Transactional);
            let Some(compiled) = compilation.compiled else {
                assert!(!compilation.findings.is_empty());
                continue;
            };
            let html = preview(&Prepared::new(compiled).unwrap(), json!({})).unwrap().html.unwrap();
            is_harmless(&html, block["type"] == "html").unwrap_or_else(|what| panic!("{block}: {what}"));
            rendered += 1;
        }
        // The same as somebody's value.
        let draft = body(json!([
            { "id": "a", "type": "heading", "text": "{{ city }}" },
            { "id": "b", "type": "text", "html": "<p title=\"x\">{{ city }} <a href=\"https://example.org/?{{ city }}\" title=\"{{ city }}\">x</a></p>" },
            { "id": "c", "type": "image", "src": "https://example.org/{{ city }}", "alt": "{{ city }}" },
            { "id": "d", "type": "quote", "text": "{{ city }}" }
        ]));
        let html = preview(&prepare(&draft), json!({ "city": payload })).unwrap().html.unwrap();
        is_harmless(&html, false).unwrap_or_else(|what| panic!("{payload} as a value: {what}"));
    }
    assert!(rendered > 200, "{rendered} of the documents were rendered");
}

#[test]
fn templates_in_blocks_are_bounded_and_say_only_what_they_may() {
    // Text that looks like a tag after it was put together must not become one.
    let html =
        shown(&text("<p>{% raw %}{{ city }}{% endraw %} {<b></b>{ city }}</p>"), json!({ "city": "SECRET" })).unwrap();
    assert!(html.contains("{{ city }}") && !html.contains("SECRET"), "{html}");
    let bomb = "{% for a in range(1000) %}{% for b in range(1000) %}{{ city }}{% endfor %}{% endfor %}";
    let begin = Instant::now();
    assert_eq!(codes(&errors(&text(bomb))), ["template_too_expensive"]);
    assert!(!errors(&text("{{ city.__class__ }}")).is_empty());
    assert!(!errors(&text("{% include 'x' %}")).is_empty());
    assert!(!errors(&text(&"{% if city %}".repeat(40))).is_empty());
    // Tags where rich text drops everything.
    assert!(
        !errors(&text("<script>{% if city %}</script>a")).is_empty() || {
            let html = shown(&text("<script>{% if city %}</script>a"), json!({})).unwrap();
            !html.contains("script")
        }
    );
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn too_much_is_refused_quickly() {
    let begin = Instant::now();
    let pasted = "a".repeat(10 * 1024 * 1024);
    assert_eq!(codes(&errors(&text(&pasted))), ["too_long"]);
    let blocks: Vec<Value> =
        (0..300).map(|n| json!({ "id": format!("b{n}"), "type": "spacer", "height": 10 })).collect();
    assert_eq!(codes(&errors(&body(json!(blocks)))), ["blocks_too_many"]);
    assert_eq!(codes(&errors(&text(&"<p>".repeat(10_000)))).first(), Some(&"html_too_large"));
    assert_eq!(codes(&errors(&text(&"<b>".repeat(5_000)))).first(), Some(&"html_too_large"));
    let deep = "[".repeat(100_000);
    assert_eq!(codes(&errors(&draft(BodyFormat::Blocks, &deep))), ["blocks_syntax"]);
    let mut group = json!({ "id": "x", "type": "spacer", "height": 10 });
    for n in 0..6 {
        group = json!({ "id": format!("g{n}"), "type": "conditional", "when": { "variable": "city", "is": "set" }, "blocks": [group] });
    }
    assert_eq!(codes(&errors(&body(json!([group])))), ["blocks_too_deep"]);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn the_same_message_comes_out_of_the_mjml_of_a_document() {
    for starter in starters() {
        let document: Document = read(starter.document).unwrap();
        assert!(!document.blocks.is_empty());
        let mjml = to_mjml(starter.document, true).unwrap();
        let by_blocks = prepare(&draft(BodyFormat::Blocks, starter.document));
        let by_mjml = prepare(&draft(BodyFormat::Mjml, &mjml));
        let values = json!({ "first_name": "Anna" });
        let squeezed = |html: String| html.split_whitespace().collect::<Vec<_>>().join(" ").replace("> <", "><");
        let (one, other) = (preview(&by_blocks, values.clone()).unwrap(), preview(&by_mjml, values).unwrap());
        assert_eq!(squeezed(one.html.unwrap()), squeezed(other.html.unwrap()), "{}", starter.id);
        assert_eq!(one.text, other.text, "{}", starter.id);
    }
}
