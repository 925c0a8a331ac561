//! Canonical forms against RFC 6376, and signatures against a plain second reading of the standard.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use proptest::prelude::*;

use super::*;

const AT: i64 = 1_795_287_642_123;

const MESSAGE: &str = "From: Jane <jane@example.org>\r\n\
    To: joe@example.net\r\n\
    Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?Q?_and_more?=\r\n\
    Date: Sat, 21 Nov 2026 19:00:42 +0000\r\n\
    Message-ID: <d.abc@example.org>\r\n\
    List-Unsubscribe: <mailto:u-x@example.org>,\r\n\t<https://example.org/u/x>\r\n\
    List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
    Feedback-ID: 1:2:newsletter:postrider\r\n\
    X-Other: not signed\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    \r\n\
    Hello  world \t\r\n\r\n second\tline\r\n \r\n\r\n";

fn rsa() -> Arc<SigningKey> {
    static KEY: OnceLock<Arc<SigningKey>> = OnceLock::new();
    KEY.get_or_init(|| Arc::new(SigningKey::generate_rsa2048().unwrap())).clone()
}

fn signer() -> Signer {
    Signer::new(DomainName::parse("example.org").unwrap(), "pr1", rsa()).unwrap()
}

fn relaxed_field(field: &str) -> String {
    let mut out = Vec::new();
    canonical::header_field(field.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

fn hash_in_pieces(body: &[u8], size: usize) -> [u8; 32] {
    let mut hasher = BodyHasher::new();
    for piece in body.chunks(size.max(1)) {
        hasher.update(piece);
    }
    hasher.finish()
}

/// RFC 6376 3.4.4, written down line by line without regard to speed.
fn plain_relaxed_body(body: &[u8]) -> Vec<u8> {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let mut lines: Vec<String> = text
        .split("\r\n")
        .map(|line| {
            let mut short = String::new();
            for c in line.chars().map(|c| if c == '\t' { ' ' } else { c }) {
                if c != ' ' || !short.ends_with(' ') {
                    short.push(c);
                }
            }
            short.trim_end_matches(' ').to_owned()
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().flat_map(|line| line.chars().map(|c| c as u8).chain(*b"\r\n")).collect()
}

/// RFC 6376 3.4.2, likewise.
fn plain_relaxed_field(field: &str) -> String {
    let (name, value) = field.split_once(':').unwrap();
    let value = value.replace("\r\n", "").replace('\t', " ");
    let value: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    format!("{}:{}", name.trim_end().to_lowercase(), value.join(" "))
}

fn plain_fields(header: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in header.split("\r\n").filter(|line| !line.is_empty()) {
        match fields.last_mut() {
            Some(field) if line.starts_with([' ', '\t']) => *field += &format!("\r\n{line}"),
            _ => fields.push(line.to_owned()),
        }
    }
    fields
}

fn tags(signature: &str) -> BTreeMap<String, String> {
    let value = signature.split_once(':').unwrap().1;
    value
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.split_whitespace().collect()))
        .collect()
}

/// What a verifier hashes: the fields that `h=` names, bottom up, and the signature without `b=`.
fn verify(signature: &str, message: &str, key: &SigningKey) -> bool {
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let tags = tags(signature);
    if tags["bh"] != STANDARD.encode(digest(&SHA256, &plain_relaxed_body(body.as_bytes()))) {
        return false;
    }
    let mut fields = plain_fields(header);
    let mut data = String::new();
    for name in tags["h"].split(':') {
        let found = fields.iter().rposition(|field| field.split(':').next().unwrap().eq_ignore_ascii_case(name));
        if let Some(at) = found {
            data += &plain_relaxed_field(&fields.remove(at));
            data += "\r\n";
        }
    }
    let at = signature.rfind("b=").unwrap();
    data += &plain_relaxed_field(&signature[..at + 2]);
    let b = STANDARD.decode(&tags["b"]).unwrap();
    match key.algorithm() {
        "rsa-sha256" => {
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
            public.verify(data.as_bytes(), &b).is_ok()
        }
        _ => {
            let public = UnparsedPublicKey::new(&ED25519, key.public_key());
            public.verify(digest(&SHA256, data.as_bytes()).as_ref(), &b).is_ok()
        }
    }
}

fn sign(message: &str) -> String {
    String::from_utf8(signer().sign(message.as_bytes(), AT).unwrap()).unwrap()
}

#[test]
fn the_example_of_rfc_6376_3_4_5() {
    assert_eq!(relaxed_field("A: X"), "a:X");
    assert_eq!(relaxed_field("B : Y\t\r\n\tZ  "), "b:Y Z");
    let expected = digest(&SHA256, b" C\r\nD E\r\n");
    for size in 1..20 {
        assert_eq!(hash_in_pieces(b" C \r\nD \t E\r\n\r\n\r\n", size), expected.as_ref());
    }
}

#[test]
fn bodies_that_are_empty_or_nearly() {
    // RFC 6376 3.4.4: the hash of nothing.
    let nothing = STANDARD.decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").unwrap();
    for body in [&b""[..], b"\r\n", b"\r\n\r\n", b"  ", b" \t\r\n \r\n", b" \r\n\t"] {
        assert_eq!(hash_in_pieces(body, 1), *nothing, "{body:?}");
        assert_eq!(hash_in_pieces(body, 99), *nothing, "{body:?}");
    }
    for (body, canonical) in [
        (&b"a"[..], &b"a\r\n"[..]),
        (b"a\r\n \r\n\t \r\n", b"a\r\n"),
        (b"\r\n\r\na", b"\r\n\r\na\r\n"),
        (b"a\r", b"a\r\r\n"),
        (b"a\rb\nc", b"a\rb\nc\r\n"),
        (b"a \r\n\r\n  b", b"a\r\n\r\n b\r\n"),
        (b"a \rb", b"a \rb\r\n"),
    ] {
        for size in 1..12 {
            assert_eq!(hash_in_pieces(body, size), digest(&SHA256, canonical).as_ref(), "{body:?} by {size}");
        }
    }
}

#[test]
fn a_signature_verifies_by_a_second_reading() {
    let signature = sign(MESSAGE);
    assert!(verify(&signature, MESSAGE, &rsa()));
    let tags = tags(&signature);
    for (tag, value) in [
        ("v", "1"),
        ("a", "rsa-sha256"),
        ("c", "relaxed/relaxed"),
        ("d", "example.org"),
        ("s", "pr1"),
        ("t", "1795287642"),
    ] {
        assert_eq!(tags[tag], value);
    }
    assert_eq!(tags.len(), 9, "no further tags, above all no l=");
    assert!(signature.starts_with("DKIM-Signature: v=1; ") && signature.ends_with("\r\n"));
    assert!(signature.split("\r\n").all(|line| line.len() <= 78));
    assert!(signature.is_ascii());
    assert_eq!(signature, sign(MESSAGE), "retries have the same bytes");
}

#[test]
fn fields_are_named_once_more_than_they_occur() {
    let h = tags(&sign(MESSAGE))["h"].clone();
    let count = |name: &str| h.split(':').filter(|other| *other == name).count();
    for name in [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "List-Unsubscribe",
        "List-Unsubscribe-Post",
        "Feedback-ID",
    ] {
        assert_eq!(count(name), 2, "{name}: {h}");
    }
    assert_eq!(count("Reply-To"), 1, "absent, and must stay so");
    assert_eq!(count("Cc") + count("List-Id") + count("X-Other") + count("Received"), 0);
    assert!(h.starts_with("From:"));
}

#[test]
fn added_fields_and_changed_bytes_break_the_signature() {
    let signature = sign(MESSAGE);
    for added in [
        "From: mallory@example.org",
        "Subject: other",
        "To: other@example.net",
        "Date: Sat, 21 Nov 2026 19:00:43 +0000",
        "Reply-To: mallory@example.org",
        "List-Unsubscribe: <https://mallory.example/>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Message-ID: <x@y.example>",
        "MIME-Version: 1.0",
        "Content-Type: text/html",
        "Feedback-ID: x",
    ] {
        assert!(!verify(&signature, &format!("{added}\r\n{MESSAGE}"), &rsa()), "{added} on top");
        let below = MESSAGE.replacen("\r\n\r\n", &format!("\r\n{added}\r\n\r\n"), 1);
        assert!(!verify(&signature, &below, &rsa()), "{added} below");
    }
    assert!(!verify(&signature, &MESSAGE.replace("Hello", "hello"), &rsa()));
    assert!(!verify(&signature, &MESSAGE.replace("joe@", "jim@"), &rsa()));
    assert!(!verify(&signature.replace("t=1795287642", "t=1795287643"), MESSAGE, &rsa()));
    // What relaxed form forgives.
    assert!(verify(&signature, &MESSAGE.replace("To: joe", "TO:\t joe"), &rsa()));
    assert!(verify(&signature, &format!("Received: by x\r\n{MESSAGE}"), &rsa()));
    assert!(verify(&signature, &MESSAGE.replace("Hello  world", "Hello world"), &rsa()));
}

#[test]
fn fields_that_a_relay_rewrites_can_stay_unsigned() {
    let signer = signer().leaving_unsigned(&["date", "Message-ID", "From"]);
    let signature = String::from_utf8(signer.sign(MESSAGE.as_bytes(), AT).unwrap()).unwrap();
    let h = tags(&signature)["h"].clone();
    assert!(!h.contains("Date") && !h.contains("Message-ID"));
    assert!(h.starts_with("From:From:"), "From is signed whatever is asked");
    let rewritten = MESSAGE.replace("19:00:42", "19:00:50").replace("d.abc@", "other@");
    assert!(verify(&signature, &rewritten, &rsa()));
}

#[test]
fn header_and_body_hash_apart_give_the_same_signature() {
    let (header, body) = MESSAGE.split_once("\r\n\r\n").unwrap();
    let hash = hash_in_pieces(body.as_bytes(), 5);
    for header in [format!("{header}\r\n"), format!("{header}\r\n\r\n"), header.to_owned()] {
        let field = signer().sign_with_body_hash(header.as_bytes(), &hash, AT).unwrap();
        assert_eq!(String::from_utf8(field).unwrap(), sign(MESSAGE));
    }
}

#[test]
fn repeated_fields_are_taken_from_the_bottom() {
    let message = format!("From: a@example.org\r\nSubject: 1\r\nSubject: 2\r\n{MESSAGE}");
    let signature = sign(&message);
    assert!(verify(&signature, &message, &rsa()));
    assert_eq!(tags(&signature)["h"].matches("Subject").count(), 4);
}

#[test]
fn messages_without_from_are_not_signed() {
    for message in ["", "\r\nbody", "Subject: x\r\n\r\nFrom: a@example.org\r\n", "Fromage: x\r\n\r\n", "From\r\n\r\n"] {
        assert_eq!(signer().sign(message.as_bytes(), AT), Err(DkimError::NoFrom), "{message:?}");
    }
    assert!(signer().sign(b"From : a@example.org", AT).is_ok());
}

#[test]
fn keys_survive_storage() {
    let key = rsa();
    let again = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
    assert_eq!(again.public_txt(), key.public_txt());
    assert!(key.public_txt().starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"));
    let strings = txt_strings(&again.public_txt()).concat();
    assert_eq!(strings, key.public_txt());
    assert!(txt_strings(&strings).iter().all(|string| string.len() <= 255));
    assert_eq!(txt_strings(&strings).len(), 2);
    assert!(matches!(SigningKey::from_pkcs8(b"no key"), Err(DkimError::Key)));
    assert_eq!(format!("{key:?}"), "SigningKey(rsa-sha256, ***)");
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&signer());
}

#[test]
fn ed25519_signatures_verify_and_survive_storage() {
    let key = Arc::new(SigningKey::generate_ed25519().unwrap());
    let again = Arc::new(SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap());
    let signer = Signer::new(DomainName::parse("example.org").unwrap(), "e1", again).unwrap();
    let signature = String::from_utf8(signer.sign(MESSAGE.as_bytes(), AT).unwrap()).unwrap();
    assert!(signature.contains("a=ed25519-sha256;"));
    assert!(verify(&signature, MESSAGE, &key));
    assert!(!verify(&signature, &MESSAGE.replace("Hello", "hello"), &key));
    assert_eq!(key.public_txt().len(), "v=DKIM1; k=ed25519; p=".len() + 44);
}

#[test]
fn selectors() {
    let domain = || DomainName::parse("example.org").unwrap();
    for good in ["a", "pr-2026", "a.b", "s_1"] {
        assert!(Signer::new(domain(), good, rsa()).is_ok(), "{good}");
    }
    for bad in ["", "a..b", ".a", "a b", "a;d=x", "a\r\n", "ä", &"a".repeat(64), &"a.".repeat(150)] {
        assert_eq!(Signer::new(domain(), bad, rsa()).err(), Some(DkimError::Selector), "{bad:?}");
    }
}

#[test]
fn long_names_still_fold() {
    let domain = format!("{0}.{0}.{0}.example", "d".repeat(60));
    let signer = Signer::new(DomainName::parse(&domain).unwrap(), &"s".repeat(60), rsa()).unwrap();
    let signature = String::from_utf8(signer.sign(MESSAGE.as_bytes(), AT).unwrap()).unwrap();
    assert!(verify(&signature, MESSAGE, &rsa()));
    assert!(signature.split("\r\n").all(|line| line.len() <= 78 || line.starts_with(" d=")));
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(&b"\r\n"[..]), 3 => Just(&b" "[..]), 1 => Just(&b"\t"[..]), 4 => Just(&b"word"[..]),
        1 => Just(&b"\r"[..]), 1 => Just(&b"\n"[..]), 1 => Just(&b"\xff"[..]),
    ];
    proptest::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_body_hash_is_that_of_the_plain_reading(body in bodies(), size in 1usize..30) {
        let expected = digest(&SHA256, &plain_relaxed_body(&body));
        prop_assert_eq!(&hash_in_pieces(&body, size)[..], expected.as_ref());
        prop_assert_eq!(&hash_in_pieces(&body, body.len())[..], expected.as_ref());
    }

    #[test]
    fn large_bodies_cross_the_batches(line in "[a-z \\t]{0,200}", count in 1usize..200, size in 1usize..9_000) {
        let body = format!("{line}\r\n").repeat(count) + &"\r\n".repeat(count) + "x" + &"y".repeat(5_000);
        let expected = digest(&SHA256, &plain_relaxed_body(body.as_bytes()));
        prop_assert_eq!(&hash_in_pieces(body.as_bytes(), size)[..], expected.as_ref());
    }

    #[test]
    fn the_relaxed_field_is_that_of_the_plain_reading(name in "[A-Za-z-]{1,12}", value in "([a-z:;=]{1,6}|[ \\t]{1,3}|\r\n )*") {
        let field = format!("{name}:{value}");
        prop_assert_eq!(relaxed_field(&field), plain_relaxed_field(&field));
    }

    #[test]
    fn noise_never_panics(message in proptest::collection::vec(any::<u8>(), 0..300), head in "(From: a\r\n)?([A-Z]:\r\n)?") {
        let message = [head.as_bytes(), &message].concat();
        let fields = fields::split(&message);
        for (_, field) in fields::select(&fields, &[]) {
            let mut out = Vec::new();
            canonical::header_field(field.unwrap_or_default(), &mut out);
            prop_assert!(!out.contains(&b'\n') && !out.contains(&b'\r'));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn signatures_of_random_messages_verify(
        subject in "[ -~]{0,60}", extra in proptest::collection::vec("[A-Z][a-z]{1,8}: [!-~]{1,30}", 0..4), body in "([a-z =.\\t]{0,90}\r\n){0,6}[a-z ]{0,9}",
    ) {
        let message = format!("From: a@example.org\r\nSubject: {subject}\r\n{}\r\n{body}", extra.iter().map(|field| format!("{field}\r\n")).collect::<String>());
        prop_assert!(verify(&sign(&message), &message, &rsa()));
    }
}
