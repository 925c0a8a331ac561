//! What goes, what comes and what stays, to the byte.

use super::super::{HtmlInputs, ReadRules, fill_placeholder, read};
use super::*;

const RECEIVED: &str = "Received: from a by b with HTTP id c; x\r\n";

fn additions() -> Additions<'static> {
    Additions {
        received: RECEIVED,
        message_id: "<1@relay.example>",
        date_ms: 0,
        own_list_fields: OwnListFields::Kept,
        body: BodyForm::SevenBit,
        header: HeaderForm::Encoded,
        unsubscribe_url: None,
    }
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn rewritten(text: &str, rules: &ReadRules, additions: &Additions<'_>) -> (String, Rewritten) {
    let bytes = crlf(text);
    let incoming = read(&bytes, rules).unwrap();
    let out = rewrite(&bytes, &incoming, additions);
    (String::from_utf8_lossy(&out.bytes).replace("\r\n", "\n"), out)
}

fn plain(text: &str) -> String {
    let (out, _) = rewritten(text, &ReadRules::default(), &additions());
    out.strip_prefix(&RECEIVED.replace("\r\n", "\n")).expect("Received first").to_owned()
}

const ADDED: &str = "Message-ID: <1@relay.example>\nDate: Thu, 01 Jan 1970 00:00:00 +0000\n";

#[test]
fn ours_goes_and_the_rest_stays_to_the_byte() {
    for (text, wanted) in [
        (
            "X-First:  a\t b \nFrom: a@b.example\nX-Postrider-Tag: x\n y\nx-clab-family : 1\nBCC: c@d.example\nResent-Bcc: e@f.example\n\
             Return-Path: <g@h.example>\nDate: then\nMessage-Id: <2@b.example>\nX-Last: z\n\n body \n",
            "X-First:  a\t b \nFrom: a@b.example\nDate: then\nMessage-Id: <2@b.example>\nX-Last: z\n\n body \n",
        ),
        ("From: a@b.example\n\nx", &format!("{ADDED}From: a@b.example\n\nx")),
        ("From: a@b.example\nDate:\nMessage-ID: \n\nx", &format!("{ADDED}From: a@b.example\n\nx")),
        ("From: a@b.example\nbody\n", &format!("{ADDED}From: a@b.example\n\nbody\n")),
        ("From: a@b.example\n", &format!("{ADDED}From: a@b.example\n\n")),
        ("From: a@b.example", &format!("{ADDED}From: a@b.example\n\n")),
        ("From x y\nFrom: a@b.example\n\nx", &format!("{ADDED}From: a@b.example\n\nx")),
        (
            "From: a@b.example\nList-Id: <x>\nList-Unsubscribe: <y>\n\nx",
            &format!("{ADDED}From: a@b.example\nList-Id: <x>\nList-Unsubscribe: <y>\n\nx"),
        ),
    ] {
        assert_eq!(plain(text), wanted, "{text}");
    }
}

#[test]
fn list_fields_go_when_ours_come() {
    let text = "From: a@b.example\nList-Unsubscribe: <y>\nList-Unsubscribe-Post: z\nList-Id: <x>\nFeedback-ID: 1\nList-Unsubscribe: <again>\nList-Help: <h>\n\nx";
    let replaced = Additions { own_list_fields: OwnListFields::Replaced, ..additions() };
    let (out, _) = rewritten(text, &ReadRules::default(), &replaced);
    assert_eq!(out, format!("{}{ADDED}From: a@b.example\nList-Help: <h>\n\nx", RECEIVED.replace("\r\n", "\n")));
}

#[test]
fn our_own_verdict_cannot_be_forged() {
    let rules =
        ReadRules { own_hosts: vec![crate::DomainName::parse("relay.example").unwrap()], ..ReadRules::default() };
    let text = "From: a@b.example\nAuthentication-Results: relay.example; dkim=pass\nAuthentication-Results: other.example; x\n\nx";
    let (out, _) = rewritten(text, &rules, &additions());
    assert!(!out.contains("relay.example; dkim") && out.contains("other.example; x"), "{out}");
}

#[test]
fn bytes_beyond_ascii_are_encoded_unless_left() {
    let text = "From: J\u{f6}rg <a@b.example>\nContent-Type: text/plain; charset=utf-8\n\ncaff\u{e8} and more words\n";
    let (out, done) = rewritten(text, &ReadRules::default(), &additions());
    assert!(out.contains("From: =?utf-8?Q?J=C3=B6rg?= <a@b.example>\n"), "{out}");
    assert!(
        out.ends_with("Content-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\ncaff=C3=A8 and more words\n"),
        "{out}"
    );
    assert_eq!(done.needs, None);
    let left = Additions { body: BodyForm::AsItCame, header: HeaderForm::AsItCame, ..additions() };
    let (out, done) = rewritten(text, &ReadRules::default(), &left);
    assert!(out.ends_with(text), "{out}");
    assert_eq!(done.needs, Some(NeedsEightBit::Utf8Header));
    let (out, done) = rewritten(&text.replace("a@b", "\u{e4}@b"), &ReadRules::default(), &additions());
    assert!(out.contains("From: J\u{f6}rg <\u{e4}@b.example>\n"), "{out}");
    assert_eq!(done.needs, Some(NeedsEightBit::Utf8Header));
}

const HTML: &str = "From: a@b.example\nDate: x\nMessage-ID: <m@b.example>\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n";
const INPUT: &str = "<input type=\"hidden\" id=\"clabExternalId\" value=\"7\">";
const LINK: &str = "$#subscription_url_base#$/unsubscribe/wfc/5/d/${encoded_user_data}$/k/${form_verification_code}$/";

fn html_rules() -> ReadRules {
    ReadRules { html_inputs: Some(HtmlInputs::default()), ..ReadRules::default() }
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    qp::encode(text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

#[test]
fn inputs_are_removed_in_every_encoding() {
    let markup = format!("<p>caff\u{e8}</p>\n{INPUT}<p>x</p>\n");
    let cut = markup.replace(INPUT, "");
    let (out, done) = rewritten(&format!("{HTML}\n{}", markup.replace('\u{e8}', "e")), &html_rules(), &additions());
    assert!(out.ends_with(&format!("{HTML}\n{}", cut.replace('\u{e8}', "e"))) && done.inputs == 1, "{out}");
    let as_qp = format!("{HTML}Content-Transfer-Encoding: quoted-printable\n\n");
    let (out, _) = rewritten(&format!("{as_qp}{}", quoted(&markup)), &html_rules(), &additions());
    assert!(out.ends_with(&format!("{as_qp}{}", quoted(&cut))), "{out}");
    let (out, _) = rewritten(&format!("{HTML}\n{markup}"), &html_rules(), &additions());
    assert!(out.ends_with(&format!("{as_qp}{}", quoted(&cut))), "{out}");
    let coded = |text: &str| {
        let mut out = Vec::new();
        crate::base64_lines::encode(text.replace('\n', "\r\n").as_bytes(), &mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    };
    let as_base64 = format!("{HTML}Content-Transfer-Encoding: base64\n\n");
    let (out, _) = rewritten(&format!("{as_base64}{}", coded(&markup)), &html_rules(), &additions());
    assert!(out.ends_with(&format!("{as_base64}{}", coded(&cut))), "{out}");
}

#[test]
fn signed_markup_is_read_and_never_cut() {
    let text = format!(
        "From: a@b.example\nContent-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"\n\n--b\n\
         Content-Type: text/html\n\n{INPUT}{LINK}\n--b\nContent-Type: application/pgp-signature\n\nx\n--b--\n"
    );
    let incoming = read(&crlf(&text), &html_rules()).unwrap();
    assert_eq!((incoming.special.external_id, incoming.macro_links), (Some(7), 0));
    let url = |_: &MacroLink| "https://x".to_owned();
    let (out, done) = rewritten(&text, &html_rules(), &Additions { unsubscribe_url: Some(&url), ..additions() });
    assert!(out.contains(INPUT) && out.contains(LINK) && done.inputs + done.macro_links == 0);
    let inline = format!("From: a@b.example\n\n-----BEGIN PGP SIGNED MESSAGE-----\n\n{LINK}\n");
    let (out, _) = rewritten(&inline, &html_rules(), &Additions { unsubscribe_url: Some(&url), ..additions() });
    assert!(out.contains(LINK));
}

#[test]
fn macro_links_become_urls_of_the_delivery() {
    let hole = "https://hole.invalid/0123456789abcdef/";
    let url = |link: &MacroLink| {
        assert_eq!(link.form, "5");
        hole.to_owned()
    };
    let with = Additions { unsubscribe_url: Some(&url), ..additions() };
    let target = format!("https://cs.example.com/u/{}", "token-".repeat(20));
    let filled = |out: &Rewritten| {
        let text = fill_placeholder(&out.bytes, hole, &target);
        String::from_utf8(text).unwrap()
    };
    let body = format!("<a href=\"{LINK}\">off</a>\n");
    let (out, done) = rewritten(&format!("{HTML}\n{body}"), &ReadRules::default(), &with);
    assert!(out.ends_with(&body.replace(LINK, hole)) && done.macro_links == 1, "{out}");
    assert!(filled(&done).ends_with(&format!("<a href=\"{target}\">off</a>\r\n")));
    let (out, kept) = rewritten(&format!("{HTML}\n{body}"), &ReadRules::default(), &additions());
    assert!(out.contains(LINK) && kept.macro_links == 0);
    // Encoded as quoted-printable, whatever the line breaks; base64 becomes quoted-printable.
    let mut coded = Vec::new();
    crate::base64_lines::encode(body.replace('\n', "\r\n").as_bytes(), &mut coded);
    let coded = String::from_utf8(coded).unwrap().replace("\r\n", "\n");
    for (encoding, written) in [("quoted-printable", quoted(&body)), ("base64", coded)] {
        let text = format!("{HTML}Content-Transfer-Encoding: {encoding}\n\n{written}");
        let (out, done) = rewritten(&text, &ReadRules::default(), &with);
        assert!(out.contains("Content-Transfer-Encoding: quoted-printable\n\n") && out.contains(hole), "{out}");
        let filled = filled(&done);
        let decoded = qp::decode(filled.split("\r\n\r\n").nth(1).unwrap().as_bytes()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), format!("<a href=\"{target}\">off</a>\r\n"));
        assert!(filled.lines().all(|line| line.len() <= 76), "{filled}");
    }
}

#[test]
fn another_message_is_left_whole() {
    let bytes = crlf("From: a@b.example\n\nx");
    let incoming = read(&bytes, &ReadRules::default()).unwrap();
    let other = b"From: c@d.example\r\n\r\n";
    assert_eq!(rewrite(other, &incoming, &additions()).bytes, other);
}
