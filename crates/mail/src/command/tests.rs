//! What commands look like on the wire, and that nothing breaks out of one.

use proptest::prelude::*;

use super::*;
use crate::request::Request;

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

#[test]
fn lines() {
    let jane = mailbox("Jane@example.org");
    let joerg = mailbox("jörg@example.org");
    let plain = MailParams::default();
    let full = MailParams {
        size: Some(4_096),
        body: Some(BodyKind::EightBitMime),
        smtputf8: true,
        ret: Some(Return::Headers),
        envid: Some("a+b=c d".into()),
        require_tls: true,
    };
    let none = RcptParams::default();
    let never = RcptParams { notify: Some(Notify::Never), orcpt: None };
    let on = RcptParams {
        notify: Some(Notify::On(NotifyOn { success: true, failure: false, delay: true })),
        orcpt: Some("rfc822;jane+2Bx@example.org".into()),
    };
    for (command, line) in [
        (Command::Ehlo { name: "mx.example.org" }, "EHLO mx.example.org"),
        (Command::Ehlo { name: "[127.0.0.1]" }, "EHLO [127.0.0.1]"),
        (Command::Helo { name: "mx.example.org" }, "HELO mx.example.org"),
        (Command::StartTls, "STARTTLS"),
        (
            Command::AuthPlain { username: "tim", password: "tanstaaftanstaaf" },
            "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm",
        ),
        (Command::AuthLogin, "AUTH LOGIN"),
        (Command::AuthAnswer { secret: "tim" }, "dGlt"),
        (Command::Mail { reverse_path: None, params: &plain }, "MAIL FROM:<>"),
        (Command::Mail { reverse_path: Some(&jane), params: &plain }, "MAIL FROM:<Jane@example.org>"),
        (
            Command::Mail { reverse_path: Some(&joerg), params: &full },
            "MAIL FROM:<jörg@example.org> SIZE=4096 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+3Dc+20d REQUIRETLS",
        ),
        (Command::Rcpt { forward_path: &jane, params: &none }, "RCPT TO:<Jane@example.org>"),
        (Command::Rcpt { forward_path: &jane, params: &never }, "RCPT TO:<Jane@example.org> NOTIFY=NEVER"),
        (
            Command::Rcpt { forward_path: &jane, params: &on },
            "RCPT TO:<Jane@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;jane+2Bx@example.org",
        ),
        (Command::Data, "DATA"),
        (Command::Rset, "RSET"),
        (Command::Noop, "NOOP"),
        (Command::Quit, "QUIT"),
    ] {
        assert_eq!(String::from_utf8(command.line().unwrap()).unwrap(), format!("{line}\r\n"));
        assert!(line.starts_with(command.verb()) || command.verb() == "AUTH");
    }
}

#[test]
fn refused_arguments_leave_nothing_behind() {
    let joerg = mailbox("jörg@example.org");
    let plain = MailParams::default();
    let jane = mailbox("jane@example.org");
    let blank = RcptParams { notify: None, orcpt: Some("rfc822;a NOTIFY=NEVER".into()) };
    let long = "a".repeat(600);
    let secret = "s".repeat(10_000);
    for (command, error) in [
        (Command::Ehlo { name: "" }, CommandError::Argument("EHLO")),
        (Command::Ehlo { name: "a b" }, CommandError::Argument("EHLO")),
        (Command::Ehlo { name: "a\r\nMAIL" }, CommandError::Argument("EHLO")),
        (Command::Helo { name: "a\0b" }, CommandError::Control("HELO")),
        (Command::Ehlo { name: "mx.exämple.org" }, CommandError::NotAscii("EHLO")),
        (Command::Ehlo { name: &long }, CommandError::TooLong("EHLO")),
        (Command::AuthPlain { username: "a\0b", password: "c" }, CommandError::Control("AUTH")),
        (Command::AuthAnswer { secret: &secret }, CommandError::TooLong("AUTH")),
        (Command::Mail { reverse_path: Some(&joerg), params: &plain }, CommandError::NotAscii("MAIL")),
        (Command::Rcpt { forward_path: &jane, params: &blank }, CommandError::Argument("RCPT")),
    ] {
        let mut out = b"before".to_vec();
        assert_eq!(command.write(&mut out), Err(error));
        assert_eq!(out, b"before");
    }
}

#[test]
fn debug_output_hides_secrets_and_mailboxes() {
    let jane = mailbox("jane@example.org");
    let params = RcptParams::default();
    let shown = format!(
        "{:?} {:?} {:?}",
        Command::AuthPlain { username: "tim", password: "hunter2" },
        Command::AuthAnswer { secret: "hunter2" },
        Command::Rcpt { forward_path: &jane, params: &params },
    );
    assert!(!shown.contains("hunter2") && !shown.contains("tim") && !shown.contains("jane"), "{shown}");
}

#[test]
fn xtext_reads_back_and_refuses_control_characters() {
    assert_eq!(xtext_encode("a+b=c d"), "a+2Bb+3Dc+20d");
    assert_eq!(xtext_decode("a+2Bb+3Dc+20d").as_deref(), Some("a+b=c d"));
    for bad in ["a=b", "a b", "+", "+2", "+2b", "+0D+0A", "+00", "+FF", "ä"] {
        assert_eq!(xtext_decode(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_in_any_field_breaks_out_of_its_line(text in ".{0,40}|[\\r\\n\0a-z <>]{0,20}|\\PC{0,40}") {
        let from = mailbox("jane@example.org");
        let params = MailParams { envid: Some(text.clone()), ..MailParams::default() };
        let rcpt = RcptParams { notify: None, orcpt: Some(text.clone()) };
        let commands = [
            Command::Ehlo { name: &text },
            Command::Helo { name: &text },
            Command::AuthPlain { username: &text, password: &text },
            Command::AuthAnswer { secret: &text },
            Command::Mail { reverse_path: Some(&from), params: &params },
            Command::Rcpt { forward_path: &from, params: &rcpt },
        ];
        for command in commands {
            if let Ok(line) = command.line() {
                let body = line.strip_suffix(b"\r\n").unwrap();
                prop_assert!(body.iter().all(|byte| matches!(byte, 0x20..=0x7e)), "{:?}", body);
                prop_assert!(body.iter().filter(|byte| **byte == b' ').count() <= 2);
            }
        }
    }

    #[test]
    fn our_server_reads_what_our_client_writes(
        local in "[a-z0-9.+]{1,20}", size in proptest::option::of(0u64..1_000_000_000), envid in proptest::option::of("[ -~]{1,30}"),
        success: bool, failure: bool, delay: bool, require_tls: bool,
    ) {
        let Ok(path) = Mailbox::parse(&format!("{local}@example.org")) else { return Ok(()) };
        let params = MailParams {
            size, envid, ret: Some(Return::Full), body: Some(BodyKind::SevenBit), smtputf8: true, require_tls,
        };
        let line = Command::Mail { reverse_path: Some(&path), params: &params }.line().unwrap();
        prop_assert_eq!(Request::parse(&line), Ok(Request::Mail { reverse_path: Some(path.clone()), params }));
        let notify = (success || failure || delay).then_some(Notify::On(NotifyOn { success, failure, delay }));
        let params = RcptParams { notify, orcpt: Some(format!("rfc822;{}", xtext_encode(&path.wire()))) };
        let line = Command::Rcpt { forward_path: &path, params: &params }.line().unwrap();
        prop_assert_eq!(Request::parse(&line), Ok(Request::Rcpt { forward_path: path, params }));
    }
}
