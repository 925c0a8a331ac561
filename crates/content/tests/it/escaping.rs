//! A value never leaves its place: text, attribute, address, plain text.

use postrider_content::RenderError;
use serde_json::json;

use crate::helpers::{codes, errors, html, plain, shown};

const HOSTILE: &str = "\"'><script>alert(1)</script>&lt;\u{0}\r\n\u{2028}{{ 7 }}`=";

#[test]
fn a_value_in_text_or_in_a_quoted_attribute_stays_text() {
    let body = "<p title=\"a {{ city }} b\" class='{{ city }}'>x {{ city }} y</p>";
    let out = shown(&html(body), json!({ "city": HOSTILE })).unwrap();
    let safe = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;lt;    {{ 7 }}`=";
    assert_eq!(out, format!("<p class=\"{safe}\" title=\"a {safe} b\">x {safe} y</p>"));
}

#[test]
fn the_engine_and_the_fast_path_escape_alike() {
    let values = json!({ "city": HOSTILE, "link": "https://example.org/ä?a=b&c=\"d e", "score": 5, "big": 2.5, "first_name": true });
    for expression in ["city", "score", "big", "first_name", "last_name", "link"] {
        for place in ["<p>%</p>", "<p title=\"%\">x</p>", "<p><a href=\"https://example.org/?a=%&amp;b\">x</a></p>"] {
            let fast = html(&place.replace('%', &format!("{{{{ {expression} }}}}")));
            // `if true` makes the same slot a matter of the engine.
            let slow = html(&place.replace('%', &format!("{{% if 1 == 1 %}}{{{{ {expression} }}}}{{% endif %}}")));
            assert_eq!(shown(&fast, values.clone()), shown(&slow, values.clone()), "{expression} in {place}");
        }
    }
    let fast = shown(&html("<a href=\"{{ link }}\">x</a>"), values.clone()).unwrap();
    let slow =
        shown(&html("<a href=\"{% if 1 == 1 %}{{ link }}{% else %}{{ link }}{% endif %}\">x</a>"), values).unwrap();
    assert_eq!(fast, slow);
    assert_eq!(fast, "<a href=\"https://example.org/%C3%A4?a=b&amp;c=%22d%20e\">x</a>");
}

#[test]
fn a_part_of_an_address_is_percent_encoded() {
    let out = shown(
        &html("<a href=\"https://example.org/{{ city }}/x?n={{ first_name }}&amp;m=1\">x</a>"),
        json!({ "city": "a/b?c#d&e=\"f", "first_name": "Zoë\r\nX" }),
    );
    assert_eq!(
        out.unwrap(),
        "<a href=\"https://example.org/a%2Fb%3Fc%23d%26e%3D%22f/x?n=Zo%C3%AB%0D%0AX&amp;m=1\">x</a>"
    );
}

#[test]
fn a_whole_address_needs_a_known_scheme() {
    let draft = html("<p><a href=\"{{ link }}\">x</a></p>");
    for good in [
        "https://example.org/a?b=c#d",
        "http://example.org",
        "mailto:a@example.org",
        "tel:+49123",
        "HTTPS://EXAMPLE.org",
        "",
    ] {
        assert_eq!(shown(&draft, json!({ "link": good })).unwrap(), format!("<p><a href=\"{good}\">x</a></p>"));
    }
    for bad in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "\u{1}javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//example.org",
        "example.org",
        "&#106;avascript:x",
        "https:example.org",
    ] {
        let error = shown(&draft, json!({ "link": bad })).unwrap_err();
        assert!(matches!(&error, RenderError::UnsafeUrl { name, .. } if name == "link"), "{bad}: {error}");
        let slow = html("<p><a href=\"{{ link ~ '' }}\">x</a></p>");
        let error = shown(&slow, json!({ "link": bad })).unwrap_err();
        assert!(matches!(&error, RenderError::UnsafeUrl { name, .. } if name == "link"), "{bad}: {error}");
        assert!(!error.to_string().contains("example.org"), "the value is not repeated: {error}");
    }
}

#[test]
fn the_derived_text_keeps_addresses_whole() {
    let body = "<p><a href=\"https://example.org/?q={{ city }}\">Search {{ city }}</a> <a href=\"{{ link }}\">{{ link }}</a></p>";
    let prepared = crate::helpers::prepare(&html(body));
    let out =
        crate::helpers::preview(&prepared, json!({ "city": "a b)c", "link": "https://example.org/x y" })).unwrap();
    assert_eq!(out.text, "Search a b)c (https://example.org/?q=a%20b%29c) https://example.org/x%20y\n");
}

#[test]
fn plain_text_keeps_every_letter_but_control_characters() {
    let out = shown(&plain("Hi {{ city }}!"), json!({ "city": "<b>&\"' ž 🎉\r\n.\u{7f}\u{85}" })).unwrap();
    assert_eq!(out, "Hi <b>&\"' ž 🎉  .  !\n");
    let out = shown(&plain("See https://example.org/?q={{ city }} now"), json!({ "city": "a b\r\n" })).unwrap();
    assert_eq!(out, "See https://example.org/?q=a%20b%0D%0A now\n");
}

#[test]
fn places_where_no_value_is_safe_are_errors_with_line_and_column() {
    let bad = [
        ("<p>a</p>\n<p class={{ city }}>b</p>", 2, 10),
        ("<script>\nvar x = '{{ city }}';</script>", 2, 10),
        ("<style>\n p { color: {{ city }} }</style>", 2, 13),
        ("<!-- {{ city }} -->", 1, 6),
        ("<!--[if mso]>{{ city }}<![endif]-->", 1, 14),
        ("<a onclick=\"x('{{ city }}')\" href=\"https://a.example\">x</a>", 1, 16),
        ("<p style=\"color: {{ city }}\">x</p>", 1, 18),
        ("<{{ city }}>x", 1, 2),
        ("</{{ city }}>x", 1, 3),
        ("<p {{ city }}=\"x\">x</p>", 1, 4),
        ("<p {% if city %}class=\"x\"{% endif %}>x</p>", 1, 4),
        ("<p a{{ city }}=\"x\">x</p>", 1, 5),
        ("<img alt=\"\" srcset=\"{{ link }} 2x\">", 1, 21),
        ("<p title=\n{{ city }}>x</p>", 2, 1),
        ("<iframe>{{ city }}</iframe>", 1, 9),
        ("<meta http-equiv=\"refresh\" content=\"1;url={{ link }}\">", 1, 43),
        ("<!doctype {{ city }}>", 1, 11),
        ("<a href=\"{% if city %}https://a.example/{% endif %}{{ link }}\">x</a>", 1, 52),
    ];
    for (body, line, column) in bad {
        let found = errors(&html(body));
        let first = &found[0];
        assert_eq!(
            (first.code.as_str(), first.line, first.column),
            ("place_not_allowed", Some(line), Some(column)),
            "{body}: {found:#?}"
        );
        assert_eq!(first.field, "body");
    }
}

#[test]
fn branches_must_end_where_they_began() {
    for body in [
        "{% if city %}<div>{% endif %}x</div>",
        "{% if city %}<b>{% else %}<i>{% endif %}x",
        "<p title=\"{% if city %}\" class=\"{% endif %}x\">y</p>",
        "{% for i in range(2) %}</div>{% endfor %}",
        "{% if city %}<!--{% endif %} -->",
    ] {
        let found = errors(&html(&format!("<div>{body}</div>")));
        assert!(
            codes(&found).iter().any(|code| ["html_branches", "place_not_allowed"].contains(code)),
            "{body}: {found:#?}"
        );
        assert!(found[0].line.is_some());
    }
    for body in [
        "{% if city %}<b>a</b>{% else %}<i>b</i>{% endif %}",
        "<ul>{% for i in range(2) %}<li>x{% endfor %}</ul>",
        "<table>{% if city %}<tr><td>a</td></tr>{% endif %}</table>",
        "<p class=\"{% if city %}a{% else %}b{% endif %}\">x</p>",
    ] {
        assert_eq!(codes(&errors(&html(body))), Vec::<&str>::new(), "{body}");
    }
}

#[test]
fn template_tags_that_entities_would_make_are_text() {
    let out = shown(&html("<p>&#123;&#123; city }} &#123;% if x %}</p>"), json!({ "city": "secret" })).unwrap();
    assert_eq!(out, "<p>{{ city }} {% if x %}</p>");
    let out = shown(
        &html("<p>{% raw %}{{ city }}{% endraw %} {% if city %}&#123;{{ city }}&#123;{% endif %}</p>"),
        json!({ "city": "here" }),
    )
    .unwrap();
    assert_eq!(out, "<p>{{ city }} {here{</p>");
}

#[test]
fn a_tag_that_html_would_move_is_an_error() {
    for body in [
        "<table>x<tr><td>{{ city }}</td></tr>{{ city }}</table>",
        "<head>{{ city }}</head>",
        "<table>{{ city }}<tr><td>x</td></tr></table>",
        "<table><tr>{{ city }}<td>x</td></tr></table>",
    ] {
        let found = errors(&html(body));
        assert_eq!(codes(&found), ["tag_moved"], "{body}");
        assert_eq!(found[0].line, Some(1));
    }
}
