//! The template language: what is there, what is not, and where faults are shown.

use serde_json::json;

use crate::helpers::{codes, compile_for, errors, html, plain, prepare, preview, shown};
use postrider_domain::stream::Stream;

fn text(source: &str, values: serde_json::Value) -> String {
    shown(&plain(source), values).unwrap().trim_end().to_owned()
}

#[test]
fn filters_and_statements_do_what_they_say() {
    let values = json!({ "first_name": " änne marie ", "city": "", "score": "7", "big": 12.345, "day": "2026-03-09T08:05:00Z", "last_name": null });
    for (source, wanted) in [
        ("{{ first_name|trim|title }}", "Änne Marie"),
        ("{{ first_name|trim|capitalize }}", "Änne marie"),
        ("{{ first_name|upper|trim }}", "ÄNNE MARIE"),
        ("{{ city|default('town') }}", "town"),
        ("{{ last_name|default('Smith')|lower }}", "smith"),
        ("{{ link|default('x') }}", "x"),
        ("[{{ link }}{{ last_name }}{{ city }}]", "[]"),
        ("{{ first_name|trim|length }}", "10"),
        ("{{ first_name|trim|first }}{{ first_name|trim|last }}", "äe"),
        ("{{ ['a', 'b', score]|join('-') }}", "a-b-7"),
        ("{{ score|int + 1 }}", "8"),
        ("{{ (score|int * 2 - 1) / 2 }}", "6.5"),
        ("{{ big|round(1) }} {{ big|round }} {{ -5|abs }}", "12.3 12 5"),
        ("{{ big|float * 2 }}", "24.69"),
        ("{{ 'a-b-c'|replace('-', '+') }}", "a+b+c"),
        ("{{ 'abcdef'|truncate(4) }} {{ 'abc'|truncate(4) }}", "abc… abc"),
        ("{{ day|date('%d.%m.%Y %H:%M') }}", "09.03.2026 08:05"),
        ("{{ city|date('%d') }}", ""),
        ("{{ 'a' ~ score ~ 'b' }}", "a7b"),
        ("{{ 'x' if score|int > 5 else 'y' }}", "x"),
        ("{% if score == '7' and not city %}yes{% elif 1 == 1 %}no{% else %}never{% endif %}", "yes"),
        (
            "{% for i in range(3) %}{{ loop.index }}{% if not loop.last %},{% endif %}{% else %}none{% endfor %}",
            "1,2,3",
        ),
        ("{% for x in ['a', 'b'] %}{{ x }}{% endfor %}", "ab"),
        ("{% set who = first_name|trim %}{{ who }}/{{ who|upper }}", "änne marie/ÄNNE MARIE"),
        ("{% if 'n' in first_name and 'z' not in first_name %}in{% endif %}", "in"),
        ("{% if score in ['6', '7'] %}in{% endif %}", "in"),
        (
            "{% if link is defined %}a{% else %}b{% endif %}{% if last_name is none %}c{% endif %}{% if score|int is odd %}d{% endif %}",
            "bcd",
        ),
        ("a {#- gone -#} b", "ab"),
        ("a {{- 'b' -}} c", "abc"),
        ("{{ '}}' }}{{ \"%}\" }}", "}}%}"),
        ("{{ score|e }}", "7"),
        ("{{ mailbox }} {{ controller_name }}", "anna@example.com Example & Sons Ltd"),
        ("{{ subject }}", "News"),
    ] {
        assert_eq!(text(source, values.clone()), wanted, "{source}");
        // The same through the engine only.
        let inside = format!("{{% if 1 == 1 %}}{source}{{% endif %}}");
        assert_eq!(text(&inside, values.clone()), wanted, "{inside}");
    }
}

#[test]
fn what_could_reach_out_or_blow_up_does_not_exist() {
    for source in [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% macro x() %}{% endmacro %}",
        "{% call x() %}{% endcall %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% autoescape false %}x{% endautoescape %}",
        "{% with a = 1 %}{{ a }}{% endwith %}",
        "{% set x %}y{% endset %}",
        "{% do x() %}",
        "{{ city|safe }}",
        "{{ city|indent(1000000) }}",
        "{{ '%2000000000d'|format(1) }}",
        "{{ city|tojson }}",
        "{{ city|attr('x') }}",
        "{{ city|pprint }}",
        "{{ city.upper() }}",
        "{{ city.__class__ }}",
        "{{ city['x'] }}",
        "{{ city[1:2] }}",
        "{{ namespace(a=1) }}",
        "{{ debug() }}",
        "{{ env('SECRET') }}",
        "{{ self.x }}",
        "{{ loop.index }}",
        "{{ city * 3 }}",
        "{{ 'x' * 1000000000 }}",
        "{{ city + city }}",
        "{{ {'a': 1} }}",
        "{{ (1, 2) }}",
        "{{ range(1, 2, 3) }}",
        "{{ city is sameas(1) }}",
        "{{ city|default }}",
        "{{ city|replace(a='x', b='y') }}",
        "{{ 1 < 2 < 3 }}",
        "{% set a = [1] %}",
        "{{ [[1]]|join }}",
        "{{ [1] }}",
        "{{ range(3) }}",
        "{{ [1] == [1] }}",
        "{{ city or [1] }}",
        "{{ city|default([1]) }}",
        "{% set mailbox = 1 %}",
        "{% set unsubscribe_url = 'https://evil.example' %}",
        "{% for subject in range(2) %}{% endfor %}",
    ] {
        let found = errors(&plain(source));
        assert!(!found.is_empty(), "{source}");
        assert!(found[0].line == Some(1) && found[0].column.is_some(), "{source}: {found:?}");
    }
}

#[test]
fn faults_are_shown_at_their_place() {
    for (source, code, line, column) in [
        ("Hi\n  {{ frist_name }}", "unknown_variable", 2, 6),
        ("žluť {{ x|upper ~ wrong_name }}", "unknown_variable", 1, 9),
        ("a\r\nb {{ city|uper }}", "unknown_filter", 2, 11),
        ("{{ city", "template_syntax", 1, 1),
        ("a {% if city %}b", "template_block", 1, 3),
        ("a\n{% endif %}", "template_block", 2, 1),
        ("{% if city %}{% endfor %}", "template_block", 1, 14),
        ("{% else %}", "template_block", 1, 1),
        ("x {% frobnicate %}", "template_statement", 1, 3),
        ("{{ }}", "template_syntax", 1, 4),
        ("{{ city city }}", "template_syntax", 1, 9),
        ("{% if city %}{% for i in range(2) %}{{ i }}{% endfor %}{{ i }}{% endif %}", "unknown_variable", 1, 59),
        ("{{ made }}{% set made = 1 %}", "unknown_variable", 1, 4),
        ("a\u{7}b", "control_character", 1, 2),
    ] {
        let found = errors(&plain(source));
        let first = found.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{source}: {found:?}"));
        assert_eq!((first.line, first.column), (Some(line), Some(column)), "{source}: {first:?}");
        assert_eq!(first.field, "body");
    }
}

#[test]
fn faults_are_told_for_every_field_at_once() {
    let mut draft = html("<p>{{ nobody }}</p>");
    draft.subject = "{{ unknown_a }} {{ subject }}".into();
    draft.preheader = "{{ unknown_b }}".into();
    draft.text = "\n{{ unknown_c }}".into();
    let found = errors(&draft);
    let places: Vec<(&str, Option<u32>, Option<u32>)> = found
        .iter()
        .filter(|finding| finding.code == "unknown_variable")
        .map(|finding| (finding.field.as_str(), finding.line, finding.column))
        .collect();
    for wanted in [
        ("subject", Some(1), Some(4)),
        ("body", Some(1), Some(7)),
        ("preheader", Some(1), Some(4)),
        ("text", Some(2), Some(4)),
    ] {
        assert!(places.contains(&wanted), "{wanted:?} in {places:?}");
    }
}

#[test]
fn a_variable_without_default_is_a_warning_once_unless_a_condition_asks_for_it() {
    let compilation = compile_for(
        &plain(
            "{% if city %}{{ city }}{% endif %}{{ first_name }} {{ first_name }}{{ last_name|default('x') }}{{ link if link else 'y' }}",
        ),
        Stream::Transactional,
    );
    let warned: Vec<_> =
        compilation.findings.iter().map(|finding| (finding.code.as_str(), finding.line, finding.column)).collect();
    assert_eq!(warned, [("no_default", Some(1), Some(38))]);
    assert_eq!(compilation.compiled.unwrap().variables(), ["city", "first_name", "last_name", "link"]);
}

#[test]
fn variables_of_a_draft_are_its_contact_attributes() {
    let mut draft = html(
        "<p>{{ a|default(b) }}{% for i in range(2) %}{{ i }}{% endfor %}{% set s = c %}{{ s }}{{ unsubscribe_url }}{{ postal_address }}</p>",
    );
    draft.subject = "{{ d }}".into();
    draft.text = "{{ e }}".into();
    draft.preheader = "{{ broken".into();
    let names: Vec<String> = postrider_content::variables(&draft).into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[test]
fn an_error_while_rendering_never_repeats_a_value() {
    let prepared = prepare(&plain("{{ 1 / score|int }} {{ first_name|default('x') }}"));
    let error = preview(&prepared, json!({ "score": 0, "first_name": "Secret Name" }));
    if let Err(error) = error {
        assert!(!error.to_string().contains("Secret"), "{error}");
    }
    let prepared = prepare(&plain("{{ (big|int) ** (score|int) }}"));
    let error = preview(&prepared, json!({ "score": 99_999, "big": 987_654 })).unwrap_err();
    assert!(!error.to_string().contains("987"), "{error}");
}

#[test]
fn a_set_inside_an_if_is_seen_after_it_as_jinja_does() {
    let source = "{% set who = 'you' %}{% if city %}{% set who = city %}{% endif %}{{ who }}";
    assert_eq!(text(source, json!({ "city": "Rome" })), "Rome");
    assert_eq!(text(source, json!({})), "you");
}

#[test]
fn codes_of_a_good_draft_are_empty() {
    assert_eq!(
        codes(&compile_for(&html("<p>Hi {{ first_name|default('you') }}</p>"), Stream::Marketing).findings),
        Vec::<&str>::new()
    );
}
