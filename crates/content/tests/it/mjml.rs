//! Bodies in MJML: variables wherever they may stand, faults with line and column, bounds.

use std::time::{Duration, Instant};

use postrider_content::Prepared;
use postrider_domain::campaign::{BodyFormat, Draft};
use postrider_domain::stream::Stream;
use serde_json::json;

use crate::helpers::{PREFERENCES, UNSUBSCRIBE, codes, compile_for, draft, errors, prepare, preview};

fn mjml(inner: &str) -> Draft {
    draft(BodyFormat::Mjml, &format!("<mjml>\n<mj-body>\n{inner}\n</mj-body>\n</mjml>"))
}

fn column(inner: &str) -> Draft {
    mjml(&format!("<mj-section><mj-column>\n{inner}\n</mj-column></mj-section>"))
}

#[test]
fn variables_and_conditions_work_where_they_may_stand() {
    let draft = draft(
        BodyFormat::Mjml,
        "<mjml><mj-head><mj-title>Hi {{ first_name|default('you') }}</mj-title><mj-style>.a { color: #123456; }</mj-style></mj-head><mj-body>\
         {% if city %}<mj-section><mj-column><mj-text><p class=\"a\">In {{ city }}</p></mj-text></mj-column></mj-section>{% endif %}\
         <mj-section><mj-column>\
         <mj-raw>{% if not city %}</mj-raw><mj-text>nowhere</mj-text><mj-raw>{% endif %}</mj-raw>\
         <mj-button href=\"https://example.org/?c={{ city }}\">Go {{ first_name|default('on') }}</mj-button>\
         <mj-image src=\"{{ link|default('https://example.org/i.png') }}\" alt=\"{% if city %}{{ city }}{% else %}a map{% endif %}\" />\
         <mj-table><tr><td>a</td></tr>{% for n in range(2) %}<tr><td>row {{ n }}</td></tr>{% endfor %}</mj-table>\
         </mj-column></mj-section></mj-body></mjml>",
    );
    let prepared = prepare(&draft);
    let rendered = preview(&prepared, json!({ "city": "Łódź \"&", "first_name": "Zoë" })).unwrap();
    let html = rendered.html.unwrap();
    for want in [
        "In Łódź &quot;&amp;",
        "<title>Hi Zoë</title>",
        "?c=%C5%81%C3%B3d%C5%BA%20%22%26",
        "Go Zoë",
        "alt=\"Łódź &quot;&amp;\"",
        "row 0",
        "row 1",
        "color: #123456",
    ] {
        assert!(html.contains(want), "{want}\n{html}");
    }
    assert!(!html.contains("nowhere") && !html.contains("fonts.googleapis"), "{html}");
    assert!(rendered.text.contains("In Łódź") && rendered.text.contains("row 1"), "{}", rendered.text);
    let html = preview(&prepared, json!({})).unwrap().html.unwrap();
    assert!(html.contains("nowhere") && html.contains("alt=\"a map\"") && html.contains("Hi you"), "{html}");
}

#[test]
fn marketing_gets_its_footer() {
    let compiled = compile_for(&column("<mj-text>Hi</mj-text>"), Stream::Marketing).compiled.unwrap();
    let rendered = preview(&Prepared::new(compiled).unwrap(), json!({})).unwrap();
    for part in [rendered.html.unwrap(), rendered.text] {
        assert!(part.contains(UNSUBSCRIBE) && part.contains(PREFERENCES) && part.contains("12345 Town"), "{part}");
    }
}

#[test]
fn faults_have_line_and_column() {
    for (draft, code, place) in [
        (column("<mj-text>a</mj-text>\n  <mj-include path=\"/etc/passwd\" />"), "mjml_include", Some((5, 3))),
        (column("<mj-text>a</mj-txt>"), "mjml_syntax", None),
        (mjml("{{ city }} <mj-section>"), "mjml_syntax", None),
        (column("<mj-text>{{ nobody }}</mj-text>"), "unknown_variable", Some((4, 13))),
        (column("<mj-text>a</mj-text><mj-button href=\"{{ city"), "template_syntax", Some((4, 38))),
        (column("<mj-text color=\"{{ city }}\">a</mj-text>"), "place_not_allowed", Some((4, 17))),
        (draft(BodyFormat::Mjml, "<mjml>\n<mj-foo />\n</mjml>"), "mjml_syntax", Some((2, 1))),
        (draft(BodyFormat::Mjml, "{{ city }}\n<p>no</p>"), "mjml_syntax", Some((1, 1))),
        (column("<mj-text><script>x</script></mj-text>"), "forbidden_element", None),
        (column("<mj-button href=\"javascript:alert(1)\">x</mj-button>"), "unsafe_address", None),
        (column("<mj-unknown thing=\"{{ city }}\" /><mj-text href=\"{{ city }}\">a</mj-text>"), "tag_moved", None),
    ] {
        let found = errors(&draft);
        assert_eq!(codes(&found).first(), Some(&code), "{}\n{found:#?}", draft.body);
        let line = found[0].line.zip(found[0].column);
        match place {
            Some(place) => assert_eq!(line, Some(place), "{}\n{found:#?}", draft.body),
            None if code == "mjml_syntax" => assert!(line.is_some(), "{}\n{found:#?}", draft.body),
            None => {}
        }
    }
}

#[test]
fn every_standard_component_renders() {
    let draft = draft(
        BodyFormat::Mjml,
        "<mjml><mj-head><mj-attributes><mj-all font-family=\"Ubuntu, Arial\" /><mj-class name=\"b\" color=\"#123456\" /></mj-attributes></mj-head><mj-body>\
         <mj-hero mode=\"fixed-height\" height=\"200px\" background-url=\"https://example.org/h.png\" background-width=\"600px\" background-height=\"200px\"><mj-text>hero</mj-text></mj-hero>\
         <mj-wrapper><mj-section background-url=\"https://example.org/b.png\"><mj-group><mj-column><mj-text mj-class=\"b\">one</mj-text></mj-column><mj-column><mj-spacer height=\"10px\" /></mj-column></mj-group></mj-section></mj-wrapper>\
         <mj-section><mj-column><mj-divider /><mj-social><mj-social-element name=\"facebook\" href=\"https://example.org\">f</mj-social-element></mj-social>\
         <mj-navbar hamburger=\"hamburger\"><mj-navbar-link href=\"https://example.org\">home</mj-navbar-link></mj-navbar>\
         <mj-accordion><mj-accordion-element><mj-accordion-title>t</mj-accordion-title><mj-accordion-text>x</mj-accordion-text></mj-accordion-element></mj-accordion>\
         </mj-column></mj-section></mj-body></mjml>",
    );
    assert_eq!(errors(&draft), []);
    let html = preview(&prepare(&draft), json!({})).unwrap().html.unwrap();
    for want in ["hero", "one", "home", "https://example.org/b.png"] {
        assert!(html.contains(want), "{want}");
    }
}

#[test]
fn too_much_is_refused_quickly() {
    let begin = Instant::now();
    for draft in [
        column(&"<mj-text>a</mj-text>".repeat(20_000)),
        column(&"<mj-text>a</mj-text>".repeat(2_900)),
        mjml(&"<mj-section>".repeat(2_900)),
        mjml(&"<mj-wrapper>".repeat(20_000)),
        column(&format!("<mj-text>{}</mj-text>", "<div>".repeat(2_900))),
        draft(BodyFormat::Mjml, &"<".repeat(400_000)),
        draft(BodyFormat::Mjml, &"<mjml>".repeat(60_000)),
        draft(BodyFormat::Mjml, &format!("<mjml>{}", "<!--".repeat(100_000))),
        draft(BodyFormat::Mjml, &"a".repeat(10 * 1024 * 1024)),
        column(&format!("<mj-text>{}</mj-text>", "&".repeat(100_000))),
    ] {
        let now = Instant::now();
        let _ = compile_for(&draft, Stream::Marketing);
        assert!(
            now.elapsed() < Duration::from_secs(8),
            "{:?}: {}",
            now.elapsed(),
            &draft.body[..60.min(draft.body.len())]
        );
    }
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
}
