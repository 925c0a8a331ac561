//! Command lines of good, odd and hostile clients.

use proptest::prelude::*;

use super::*;
use crate::command::{BodyKind, Notify, NotifyOn, Return};

fn parse(line: &str) -> Result<Request, RequestError> {
    Request::parse(format!("{line}\r\n").as_bytes())
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

#[test]
fn good_lines() {
    let plain = |text: &str| Request::Mail { reverse_path: Some(mailbox(text)), params: MailParams::default() };
    let rcpt = |text: &str| Request::Rcpt { forward_path: mailbox(text), params: RcptParams::default() };
    for (line, request) in [
        ("EHLO mx.example.org", Request::Ehlo("mx.example.org".into())),
        ("ehlo [192.0.2.1]", Request::Ehlo("[192.0.2.1]".into())),
        ("HELO odd_name!", Request::Helo("odd_name!".into())),
        ("MAIL FROM:<jane@example.org>", plain("jane@example.org")),
        ("mail from:<jane@example.org>  ", plain("jane@example.org")),
        ("MAIL FROM: <jane@example.org>", plain("jane@example.org")),
        ("MAIL FROM:<@a.example,@b.example:jane@example.org>", plain("jane@example.org")),
        (r#"MAIL FROM:<"a>b"@example.org>"#, plain(r#""a>b"@example.org"#)),
        (r#"MAIL FROM:<"a\">b"@example.org>"#, plain(r#""a\">b"@example.org"#)),
        ("MAIL FROM:<>", Request::Mail { reverse_path: None, params: MailParams::default() }),
        (
            "MAIL FROM:<> SIZE=100 body=8bitmime SMTPUTF8 RET=full ENVID=a+20b AUTH=<> requiretls",
            Request::Mail {
                reverse_path: None,
                params: MailParams {
                    size: Some(100),
                    body: Some(BodyKind::EightBitMime),
                    smtputf8: true,
                    ret: Some(Return::Full),
                    envid: Some("a b".into()),
                    require_tls: true,
                },
            },
        ),
        ("RCPT TO:<jane@example.org>", rcpt("jane@example.org")),
        ("RCPT TO:<Postmaster>", Request::RcptPostmaster { params: RcptParams::default() }),
        (
            "RCPT TO:<jane@example.org> NOTIFY=success,Delay ORCPT=rfc822;jane@example.org",
            Request::Rcpt {
                forward_path: mailbox("jane@example.org"),
                params: RcptParams {
                    notify: Some(Notify::On(NotifyOn { success: true, failure: false, delay: true })),
                    orcpt: Some("rfc822;jane@example.org".into()),
                },
            },
        ),
        ("DATA", Request::Data),
        ("data ", Request::Data),
        ("BDAT 86", Request::Bdat { size: 86, last: false }),
        ("BDAT 0 last", Request::Bdat { size: 0, last: true }),
        ("RSET", Request::Rset),
        ("NOOP whatever", Request::Noop),
        ("QUIT", Request::Quit),
        ("VRFY jane", Request::Vrfy),
        ("EXPN list", Request::Expn),
        ("HELP", Request::Help),
        ("STARTTLS", Request::StartTls),
        ("AUTH login", Request::Auth { mechanism: "LOGIN".into(), initial: None }),
        ("AUTH PLAIN =", Request::Auth { mechanism: "PLAIN".into(), initial: Some(vec![]) }),
        ("AUTH PLAIN AGEAYg==", Request::Auth { mechanism: "PLAIN".into(), initial: Some(b"\0a\0b".to_vec()) }),
    ] {
        assert_eq!(parse(line), Ok(request), "{line}");
    }
}

#[test]
fn bad_lines_and_their_replies() {
    let long_ehlo = format!("EHLO {}", "a".repeat(256));
    let long_noop = format!("NOOP {}", "a".repeat(600));
    let long_envid = format!("MAIL FROM:<> ENVID={}", "a".repeat(101));
    for (line, code) in [
        ("", 500),
        (" EHLO a", 500),
        ("FOO", 500),
        ("EHLO", 501),
        (&long_ehlo, 501),
        (&long_noop, 500),
        ("MAIL", 501),
        ("MAIL FROM", 501),
        ("MAIL FROM:jane@example.org", 501),
        ("MAIL FROM:<jane@example.org", 501),
        ("MAIL FROM:<jane@example.org>SIZE=1", 501),
        ("MAIL TO:<jane@example.org>", 501),
        ("MAIL FROM:<jane>", 501),
        ("MAIL FROM:<jane@[192.0.2.1]>", 501),
        ("MAIL FROM:<@a.example>", 501),
        ("MAIL FROM:<> SIZE=", 501),
        ("MAIL FROM:<> SIZE", 501),
        ("MAIL FROM:<> SIZE=-1", 501),
        ("MAIL FROM:<> SIZE=9999999999999999999", 501),
        ("MAIL FROM:<> SIZE=1 SIZE=2", 501),
        ("MAIL FROM:<> BODY=BINARYMIME", 501),
        ("MAIL FROM:<> SMTPUTF8=1", 501),
        ("MAIL FROM:<> SMTPUTF8 SMTPUTF8", 501),
        ("MAIL FROM:<> REQUIRETLS=YES", 501),
        ("MAIL FROM:<> REQUIRETLS REQUIRETLS", 501),
        ("MAIL FROM:<> RET=SOME", 501),
        ("MAIL FROM:<> ENVID=+0D+0A", 501),
        (&long_envid, 501),
        ("MAIL FROM:<> FOO=1", 555),
        ("RCPT TO:<>", 501),
        ("RCPT TO:<jane@example.org> NOTIFY=NEVER,SUCCESS", 501),
        ("RCPT TO:<jane@example.org> NOTIFY=SUCCESS,SUCCESS", 501),
        ("RCPT TO:<jane@example.org> NOTIFY=", 501),
        ("RCPT TO:<jane@example.org> ORCPT=jane", 501),
        ("RCPT TO:<jane@example.org> ORCPT=rfc822;a+4", 501),
        ("RCPT TO:<jane@example.org> ORCPT=rfc822;a=b", 501),
        ("RCPT TO:<jane@example.org> ORCPT=utf-8;a=b", 501),
        ("RCPT TO:<jane@example.org> SIZE=1", 555),
        ("DATA now", 501),
        ("RSET x", 501),
        ("QUIT x", 501),
        ("STARTTLS x", 501),
        ("BDAT", 501),
        ("BDAT x", 501),
        ("BDAT 1 FIRST", 501),
        ("BDAT 1 LAST LAST", 501),
        ("BDAT +1", 501),
        ("AUTH", 501),
        ("AUTH PLAIN !", 501),
        ("AUTH PLAIN AGEAYg", 501),
        ("AUTH PLAIN,LOGIN", 501),
        ("NOOP \u{85}", 500),
    ] {
        let error = parse(line).expect_err(line);
        let reply = error.reply();
        assert_eq!(reply.code, code, "{line}: {error}");
        assert_eq!(reply.enhanced.unwrap().class, 5);
        assert!(reply.wire().len() <= 512);
    }
}

/// What a client's log shows for an address that no server could take (reference: 501 5.5.2).
#[test]
fn a_malformed_address_is_a_syntax_error_that_says_what_is_wrong() {
    for (line, reply) in [
        (
            "RCPT TO:<.a@x.example>",
            "501 5.5.2 Could not read the address: the part before the @ starts or ends with a dot or has two in a row; \
             remove the extra dot",
        ),
        ("MAIL FROM:<a@>", "501 5.5.2 Could not read the domain: it is empty; write it as example.org"),
        ("RCPT TO:a@x.example", "501 5.5.2 Syntax: RCPT TO:<name@example.org>"),
        ("MAIL FROM:<a@x.example> SIZE=x", "501 5.5.4 Bad or repeated parameter SIZE"),
        ("RCPT TO:<a@x.example> FOO=1", "555 5.5.4 Parameter not offered"),
    ] {
        assert_eq!(parse(line).expect_err(line).reply().to_string(), reply);
    }
}

#[test]
fn line_ends_are_crlf_and_nothing_else() {
    for line in [
        &b""[..],
        b"QUIT",
        b"QUIT\n",
        b"QUIT\r",
        b"QUIT\r\r\n",
        b"NOOP a\nb\r\n",
        b"NOOP a\rb\r\n",
        b"NOOP a\0b\r\n",
        b"MAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\r\n",
    ] {
        let error = Request::parse(line).expect_err("bare line end");
        assert_eq!(error, RequestError::LineEnd);
        assert!(error.must_close());
        assert_eq!(error.reply().to_string(), "500 5.5.2 Bare CR, LF or NUL; end lines with CRLF");
    }
    assert_eq!(Request::parse(b"NOOP \xff\r\n"), Err(RequestError::Text));
    assert_eq!(Request::parse(b"NOOP a\tb\r\n"), Err(RequestError::Text));
    assert_eq!(Request::parse(&[b'a'; REQUEST_MAX + 1]), Err(RequestError::TooLong));
}

#[test]
fn limits_grow_with_the_verb() {
    let at = |line: &str, length: usize| parse(&format!("{line}{}", " ".repeat(length - 2 - line.len())));
    assert!(at("NOOP", COMMAND_MAX).is_ok());
    assert_eq!(at("NOOP", COMMAND_MAX + 1), Err(RequestError::TooLong));
    assert!(at("MAIL FROM:<>", MAIL_MAX).is_ok());
    assert_eq!(at("MAIL FROM:<>", MAIL_MAX + 1), Err(RequestError::TooLong));
    assert!(at("RCPT TO:<postmaster>", RCPT_MAX).is_ok());
    assert_eq!(at("RCPT TO:<postmaster>", RCPT_MAX + 1), Err(RequestError::TooLong));
    assert!(at("AUTH PLAIN", AUTH_MAX).is_ok());
}

#[test]
fn authentication_answers() {
    assert_eq!(parse_auth_answer(b"dGlt\r\n"), Ok(b"tim".to_vec()));
    assert_eq!(parse_auth_answer(b"\r\n"), Ok(vec![]));
    assert_eq!(parse_auth_answer(b"*\r\n"), Err(RequestError::AuthCancelled));
    assert_eq!(parse_auth_answer(b"dGlt\n"), Err(RequestError::LineEnd));
    assert_eq!(parse_auth_answer(b"dGl\r\n"), Err(RequestError::Base64));
    assert_eq!(split_plain(b"\0tim\0secret"), Some(("", "tim", "secret")));
    assert_eq!(split_plain(b"who\0tim\0"), Some(("who", "tim", "")));
    assert_eq!(split_plain(b"\0\0secret"), None);
    assert_eq!(split_plain(b"tim\0secret"), None);
    assert_eq!(split_plain(b"\0tim\0secret\0"), None);
    assert_eq!(split_plain(b"\0t\xff\0s"), None);
}

#[test]
fn debug_output_hides_secrets_and_mailboxes() {
    let shown = format!(
        "{:?} {:?}",
        parse("AUTH PLAIN AGh1bnRlcjIAaHVudGVyMg==").unwrap(),
        parse("RCPT TO:<jane@example.org> ORCPT=rfc822;jane@example.org").unwrap(),
    );
    assert!(!shown.contains("hunter2") && !shown.contains("jane"), "{shown}");
}

proptest! {
    #[test]
    fn noise_never_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::parse(&line);
        let _ = parse_auth_answer(&line);
        let _ = split_plain(&line);
    }

    #[test]
    fn noise_after_a_verb_never_panics_and_never_passes_a_control_character(
        verb in "(EHLO |HELO |MAIL FROM:|MAIL FROM:<|RCPT TO:<|BDAT |AUTH |NOOP |MAIL FROM:<> |RCPT TO:<a@example.org> )",
        noise in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..120),
            "[a-zA-Z0-9@<>:,.=+;\" \\\\ä-]{0,80}".prop_map(String::into_bytes),
        ],
    ) {
        let line = [verb.as_bytes(), &noise, b"\r\n"].concat();
        match Request::parse(&line) {
            Ok(Request::Ehlo(name) | Request::Helo(name)) => prop_assert!(!crate::header::has_control(&name) && name.len() <= 255),
            Ok(Request::Mail { reverse_path: Some(path), .. }) => prop_assert!(!crate::header::has_control(&path.wire())),
            Ok(Request::Rcpt { forward_path, .. }) => prop_assert!(!crate::header::has_control(&forward_path.wire())),
            Ok(_) => {}
            Err(error) => prop_assert!(error.reply().is_permanent()),
        }
    }
}
