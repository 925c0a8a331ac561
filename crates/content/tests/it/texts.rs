//! The text part that is derived from HTML or Markdown.

use postrider_domain::campaign::BodyFormat;
use serde_json::json;

use crate::helpers::{codes, draft, errors, html, prepare, preview};

fn text(body: &str) -> String {
    preview(&prepare(&html(body)), json!({ "city": "Rome", "score": 3 })).unwrap().text
}

#[test]
fn paragraphs_lists_links_and_images_become_text() {
    assert_eq!(
        text(
            "<h1>Title</h1><p>One<br>two &amp; three</p><ul><li>a</li><li>b</li></ul><ol><li>c</li></ol><hr><p><a href=\"https://example.org/x\">Read</a> <img src=\"https://example.org/i.png\" alt=\"Logo\"></p>"
        ),
        "Title\n\nOne\ntwo & three\n* a\n* b\n1. c\n\n----\n\nRead (https://example.org/x) Logo\n"
    );
}

#[test]
fn a_link_that_says_its_address_is_not_said_twice() {
    assert_eq!(
        text(
            "<p><a href=\"https://example.org/\">example.org</a> <a href=\"mailto:a@example.org\">a@example.org</a></p>"
        ),
        "https://example.org/ a@example.org\n"
    );
    assert_eq!(
        text("<p><a href=\"https://example.org/\"><img src=\"https://example.org/i.png\" alt=\"\"></a></p>"),
        "https://example.org/\n"
    );
}

#[test]
fn layout_tables_are_read_cell_by_cell_with_their_conditions() {
    let body = "<table><tr><td>one</td><td>two</td></tr>{% if city %}<tr><td>in {{ city }}</td></tr>{% endif %}{% for i in range(2) %}<tr><td>row {{ i }}</td></tr>{% endfor %}</table><p>end</p>";
    assert_eq!(text(body), "one\ntwo\nin Rome\nrow 0\nrow 1\n\nend\n");
}

#[test]
fn styles_scripts_heads_and_hidden_parts_are_not_text() {
    assert_eq!(
        text(
            "<html><head><title>T</title><style>p{}</style></head><body><!-- c --><p>x</p><p style=\"display:none\">hidden</p></body></html>"
        ),
        "x\n"
    );
}

#[test]
fn markdown_gives_both_parts() {
    let draft = draft(
        BodyFormat::Markdown,
        "# Hi **{{ city }}**\n\n{% if city %}\n[go]({{ link|default('https://example.org') }}) & more\n{% endif %}\n\n1. one\n2. two\n",
    );
    let out = preview(&prepare(&draft), json!({ "city": "<Rome>" })).unwrap();
    assert_eq!(out.text, "Hi <Rome>\n\ngo (https://example.org) & more\n\n1. one\n2. two\n");
    let html = out.html.unwrap();
    assert!(html.contains("Hi <strong>&lt;Rome&gt;</strong>"), "{html}");
    assert!(html.contains("<a href=\"https://example.org\""), "{html}");
}

#[test]
fn an_own_text_is_used_as_it_is() {
    let mut draft = html("<p>HTML</p>");
    draft.text = "Hi {{ city }},\n{% if score|int > 2 %}\nmany\n{% endif %}\n.\nFrom here".into();
    let out = preview(&prepare(&draft), json!({ "city": "Rome", "score": 3 })).unwrap();
    assert_eq!(out.text, "Hi Rome,\nmany\n.\nFrom here\n");
}

#[test]
fn plain_text_has_no_html_part() {
    let out = preview(&prepare(&crate::helpers::plain("<b>Hi</b> {{ city }}")), json!({ "city": "Rome" })).unwrap();
    assert_eq!((out.text.as_str(), out.html), ("<b>Hi</b> Rome\n", None));
}

#[test]
fn a_condition_around_a_hidden_element_leaves_a_text_that_holds_together() {
    let body =
        "<p>a</p>{% if city %}<p style=\"display:none\">{{ city }}{% if score %}b{% endif %}</p>{% endif %}<p>c</p>";
    assert_eq!(text(body), "a\n\nc\n");
    let broken = "<p style=\"display:none\">{% set x = 1 %}</p><p>{{ x }}</p>";
    assert_eq!(codes(&errors(&html(broken))), ["text_not_derived"]);
}
