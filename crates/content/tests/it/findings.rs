//! What the check tells before anything is sent.

use postrider_content::{CompileInput, Sender, check};
use postrider_domain::campaign::{BodyFormat, Draft, Severity};
use postrider_domain::stream::Stream;

use crate::helpers::{attributes, codes, compile_for, draft, errors, html};

fn found(draft: &Draft, code: &str) -> Option<(Severity, String, Option<u32>, Option<u32>)> {
    let findings = compile_for(draft, Stream::Marketing).findings;
    findings
        .iter()
        .find(|finding| finding.code == code)
        .map(|finding| (finding.severity, finding.field.clone(), finding.line, finding.column))
}

#[test]
fn html_that_does_harm_is_an_error_at_its_line() {
    for (body, code, line, column) in [
        ("<p>a</p>\n<script>x</script>", "forbidden_element", 2, 1),
        ("<form action=\"https://a.example\"><input></form>", "forbidden_element", 1, 1),
        ("<p><iframe src=\"https://a.example\"></iframe></p>", "forbidden_element", 1, 4),
        ("<svg></svg>", "forbidden_element", 1, 1),
        ("<p>{{ city|default('') }}</p>\n<a href=\"javascript:alert(1)\">x</a>", "unsafe_address", 2, 1),
        ("<a href=\"java&#115;cript:alert(1)\">x</a>", "unsafe_address", 1, 1),
        ("<a href=\" java\tscript&colon;alert(1)\">x</a>", "unsafe_address", 1, 1),
        ("<img alt=\"\" src=\"vbscript:x\">", "unsafe_address", 1, 1),
        ("<img alt=\"\" src=\"data:image/png;base64,AAAA\">", "data_address", 1, 1),
        ("<p onclick=\"x()\">x</p>", "event_handler", 1, 1),
        ("<meta http-equiv=\"Refresh\" content=\"1;url=https://a.example\"><p>x</p>", "forbidden_element", 1, 1),
    ] {
        assert_eq!(
            found(&html(body), code),
            Some((Severity::Error, "body".to_owned(), Some(line), Some(column))),
            "{body}"
        );
    }
}

#[test]
fn html_that_works_badly_is_a_warning() {
    for (body, code) in [
        ("<p>a</p><img src=\"https://example.org/a.png\">", "missing_alt"),
        ("<a href=\"#\">x</a>", "empty_link"),
        ("<a href=\"/about\">x</a>", "relative_address"),
        ("<link rel=\"stylesheet\" href=\"https://example.org/a.css\"><p>x</p>", "remote_style"),
        ("<p style=\"display: none\">secret</p>", "hidden_text"),
        ("<style>.h { visibility: hidden }</style><p class=\"h\">secret</p>", "hidden_text"),
        ("<span style=\"font-size:0px\">secret</span>", "hidden_text"),
        ("<p hidden>secret</p>", "hidden_text"),
        ("<div><b>x</div>", "html_unclosed"),
    ] {
        let finding = found(&html(body), code);
        assert_eq!(
            finding.map(|(severity, ..)| severity),
            Some(Severity::Warning),
            "{body}: {:?}",
            compile_for(&html(body), Stream::Marketing).findings
        );
        assert!(compile_for(&html(body), Stream::Marketing).compiled.is_some(), "{body}");
    }
    let big = html(&format!("<p>{}</p>", "word ".repeat(21_000)));
    assert_eq!(found(&big, "clipped").map(|(severity, ..)| severity), Some(Severity::Warning));
    let small = html(&format!("<p>{}</p>", "word ".repeat(19_000)));
    assert_eq!(found(&small, "clipped"), None);
    assert_eq!(found(&html("<td style=\"font-size:0\"><p>x</p></td>"), "hidden_text"), None, "layouts do that");
}

#[test]
fn our_preheader_is_no_hidden_text() {
    let mut draft = html("<p>x</p>");
    draft.preheader = "Read this first".into();
    assert_eq!(codes(&compile_for(&draft, Stream::Marketing).findings), Vec::<&str>::new());
}

#[test]
fn subjects_and_senders_that_deceive() {
    let with = |change: &dyn Fn(&mut Draft)| {
        let mut draft = html("<p>x</p>");
        change(&mut draft);
        draft
    };
    let cases: Vec<(Draft, &str, Severity)> = vec![
        (with(&|d| d.subject = "Re: your order".into()), "reply_subject", Severity::Warning),
        (with(&|d| d.subject = "FWD: hello".into()), "reply_subject", Severity::Warning),
        (with(&|d| d.subject = "BUY NOW OR NEVER AGAIN".into()), "loud_subject", Severity::Warning),
        (with(&|d| d.subject = " ".into()), "no_subject", Severity::Error),
        (with(&|d| d.subject = "a\r\nBcc: b@example.org".into()), "control_character", Severity::Error),
        (with(&|d| d.from_mailbox = "me@gmail.com".into()), "freemail_from", Severity::Error),
        (with(&|d| d.from_mailbox = "me@YAHOO.com".into()), "freemail_from", Severity::Error),
        (with(&|d| d.from_mailbox = "me@yahoo.co.uk".into()), "freemail_from", Severity::Error),
        (with(&|d| d.from_mailbox = "me@outlook.com".into()), "freemail_from", Severity::Error),
        (with(&|d| d.from_mailbox = "nonsense".into()), "bad_from", Severity::Error),
        (with(&|d| d.from_mailbox = "ünïcode@example.org".into()), "bad_from", Severity::Error),
        (with(&|d| d.reply_to = "a@b@c".into()), "bad_reply_to", Severity::Error),
        (with(&|d| d.from_name = "For {{ first_name }}".into()), "template_in_from_name", Severity::Error),
        (with(&|d| d.from_name = "Shop ✔".into()), "badge_in_from_name", Severity::Warning),
        (with(&|d| d.from_name = "50% off".into()), "subject_in_from_name", Severity::Warning),
        (
            with(&|d| {
                d.from_name = "Spring sale is on".into();
                d.subject = "Spring sale is on".into();
            }),
            "subject_in_from_name",
            Severity::Warning,
        ),
        (with(&|d| d.from_name = "a\nBcc: x".into()), "control_character", Severity::Error),
        (with(&|d| d.body = "\n".into()), "no_body", Severity::Error),
    ];
    for (draft, code, severity) in cases {
        assert_eq!(found(&draft, code).map(|(severity, ..)| severity), Some(severity), "{code}: {draft:?}");
    }
    assert_eq!(found(&html("<p>x</p>"), "reply_subject"), None);
    assert_eq!(found(&with(&|d| d.subject = "Regarding: your order".into()), "reply_subject"), None);
}

#[test]
fn a_version_exists_only_without_errors_and_check_says_the_same() {
    let bad = html("<script></script>");
    let compilation = compile_for(&bad, Stream::Marketing);
    assert!(compilation.compiled.is_none());
    let sender = crate::helpers::sender();
    let again =
        check(&CompileInput { draft: &bad, stream: Stream::Marketing, sender: &sender, attributes: &attributes() });
    assert_eq!(again, compilation.findings);
}

#[test]
fn marketing_needs_a_controller_and_a_postal_address() {
    let input = |stream| {
        let draft = html("<p>x</p>");
        let findings =
            check(&CompileInput { draft: &draft, stream, sender: &Sender::default(), attributes: &attributes() });
        findings.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(input(Stream::Marketing), ["no_controller", "no_postal_address"]);
    assert_eq!(input(Stream::Transactional), Vec::<String>::new());
}

#[test]
fn markdown_is_checked_as_the_html_that_it_becomes() {
    let found = errors(&draft(BodyFormat::Markdown, "# Hi\n\n<script>x</script>\n\n[x](javascript:alert(1))"));
    assert_eq!(codes(&found), ["forbidden_element", "unsafe_address"]);
    let found = errors(&draft(BodyFormat::Markdown, "# Hi\n\n<b title={{ city }}>x</b>"));
    assert_eq!((found[0].code.as_str(), found[0].line, found[0].column), ("place_not_allowed", Some(3), Some(10)));
}
