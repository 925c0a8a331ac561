//! Whatever the bytes: no panic, nothing of ours leaves, line ends stay whole, and a second pass changes nothing.

use mail_parser::{Message, MessageParser, MimeHeaders as _, PartType};
use postrider_mail::relay::{
    Additions, BodyForm, HeaderForm, HtmlInputs, MacroLink, ReadRules, Reason, SignedPart, Special, read, rewrite,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::relay_messages::additions;

/// Pieces that messages are built of, and that break them.
const PIECES: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\r\n--b\r\n",
    "\r\n--b--\r\n",
    "\r\n--c\r\n",
    "\r\n--c--\r\n",
    "\r\n ",
    "\r\n\t",
    ":",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "Content-Type: multipart/signed; boundary=c; protocol=\"application/pgp-signature\"\r\n",
    "Content-Type: multipart/mixed; boundary=c\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/html; charset=utf-8\r\n",
    "Content-Type: text/plain; name=\"\u{e9}\"\r\n",
    "Content-Type: application/pkcs7-mime\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: 8bit \u{e9}\r\n",
    "Content-Transfer-Encoding: x-odd\r\n",
    "X-Postrider-Delivery-Type: 5\r\n",
    "x-clab-smartrelay-Recipient-\r\n",
    "X-Clab-Foo : bar\r\n",
    "Bcc: x@example.org\r\n",
    "Return-Path: <>\r\n",
    "Subject: \u{e9}\r\n x\r\n",
    "To: \"\u{e9}\" <a@example.org>, (\u{e9}\r\n",
    "MIME-Version: 1.0\r\n",
    "Date: \r\n",
    "Message-ID:\r\n",
    "<input type=hidden id=clabDeliveryId value=7>",
    "<input type=hidden id=clabExternalId value='",
    "<!--",
    "$#subscription_url_base#$/unsubscribe/wfc/5/d/${encoded_user_data}$/k/${form_verification_code}$/",
    "=3D=\r\n",
    "\u{e9}\u{e9}\u{e9}",
    "text",
    "From ",
];

fn message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..8)
            .prop_map(|bytes| bytes.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()),
        1 => (900..1_100_usize).prop_map(|length| vec![b'l'; length]),
    ];
    let lines: Vec<&str> = PIECES.iter().copied().filter(|piece| is_line(piece)).collect();
    let header = proptest::collection::vec(proptest::sample::select(lines), 0..6);
    (0..4, header, proptest::collection::vec(piece, 0..24)).prop_map(|(shape, header, pieces)| {
        let from = "From: a@example.org\r\n";
        let pieces = pieces.concat();
        match shape {
            0 => [from.as_bytes(), &pieces].concat(),
            1 => [b"X: y\r\n", from.as_bytes(), &pieces].concat(),
            // A header as it should be, and anything below.
            _ => [from.as_bytes(), header.concat().as_bytes(), b"\r\n", &pieces].concat(),
        }
    })
}

/// A whole field.
fn is_line(piece: &str) -> bool {
    piece.ends_with("\r\n") && piece.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn rules() -> ReadRules {
    ReadRules { html_inputs: Some(HtmlInputs::default()), ..ReadRules::default() }
}

/// Every field name of the header, by the plainest reading: lines up to the first empty one.
fn names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let header = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    let lines = header.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split(':').next().unwrap_or_default().trim_end().to_ascii_lowercase()).collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("x-postrider-") || name.starts_with("x-clab-") || matches!(name, "bcc" | "return-path")
}

/// The other parser, which panics on some broken multiparts (0.11.9): those are not compared.
fn by_others(bytes: &[u8]) -> Option<Message<'_>> {
    std::panic::catch_unwind(|| MessageParser::default().parse(bytes)).ok().flatten()
}

/// POSTRIDER_CASES asks for more than a run of all tests has time for.
fn cases() -> u32 {
    std::env::var("POSTRIDER_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(incoming) = read(&bytes, &rules()) {
            rewrite(&bytes, &incoming, &additions());
        }
    }

    #[test]
    fn what_leaves_is_clean_and_stays_so(bytes in message()) {
        let Ok(incoming) = read(&bytes, &rules()) else { return Ok(()) };
        let url = |_: &MacroLink| "https://hole.invalid/0123456789abcdef/".to_owned();
        let additions = Additions { unsubscribe_url: Some(&url), ..additions() };
        let out = rewrite(&bytes, &incoming, &additions);
        let mut lone = out.bytes.clone();
        while let Some(at) = memchr::memmem::find(&lone, b"\r\n") {
            lone.drain(at..at + 2);
        }
        prop_assert!(!lone.contains(&b'\r') && !lone.contains(&b'\n'));
        prop_assert!(!names(&out.bytes).iter().any(|name| is_ours(name)), "{:?}", names(&out.bytes));
        let parsed = by_others(&out.bytes);
        if let Some(parsed) = parsed {
            prop_assert!(!parsed.headers().iter().any(|header| is_ours(&header.name().to_ascii_lowercase())));
        }
        if out.needs.is_none() {
            prop_assert!(out.bytes.is_ascii(), "{}", String::from_utf8_lossy(&out.bytes));
        }
        let again = read(&out.bytes, &rules()).expect("what left can come back");
        prop_assert_eq!(&again.from, &incoming.from);
        prop_assert!(again.message_id.is_some() && again.has_date);
        let is_signed = |signed| signed != SignedPart::None;
        prop_assert!(
            is_signed(again.signed) == is_signed(incoming.signed),
            "{}\nbecame\n{}",
            bytes.escape_ascii(),
            out.bytes.escape_ascii()
        );
        let second = Additions { received: "", ..additions };
        let twice = rewrite(&out.bytes, &again, &second);
        prop_assert_eq!(String::from_utf8_lossy(&twice.bytes), String::from_utf8_lossy(&out.bytes));
        if out.needs.is_none() && incoming.signed == SignedPart::None {
            prop_assert_eq!(&again.special, &Special::default());
        }
    }

    #[test]
    fn bodies_stay_where_nothing_is_asked(bytes in message()) {
        let rules = ReadRules { finds_macro_links: false, ..ReadRules::default() };
        let Ok(incoming) = read(&bytes, &rules) else { return Ok(()) };
        let as_it_came = Additions { body: BodyForm::AsItCame, header: HeaderForm::AsItCame, ..additions() };
        let out = rewrite(&bytes, &incoming, &as_it_came);
        prop_assert_eq!(out.inputs + out.macro_links, 0);
        // Wherever the header ends, what follows the first empty line is body.
        if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            prop_assert!(out.bytes.ends_with(&bytes[at + 4..]));
        }
    }
}

/// Parsers differ on what is broken enough, so that a run of all tests looks at the same messages each time.
fn seed() -> RngSeed {
    if std::env::var_os("POSTRIDER_CASES").is_some() { RngSeed::Random } else { RngSeed::Fixed(5) }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: seed(), cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// Another parser says which entity is signed.
    #[test]
    fn what_another_parser_calls_signed_stays(bytes in message()) {
        let Ok(incoming) = read(&bytes, &rules()) else { return Ok(()) };
        // Where a header ends without its empty line readers differ; what leaves has one.
        if incoming.problems.iter().any(|problem| problem.reason == Reason::NoEmptyLine) {
            return Ok(());
        }
        let Some(parsed) = by_others(&bytes) else { return Ok(()) };
        let url = |_: &MacroLink| "https://hole.invalid/0123456789abcdef/".to_owned();
        let out = rewrite(&bytes, &incoming, &Additions { unsubscribe_url: Some(&url), ..additions() });
        for part in &parsed.parts {
            let is_signed = part.content_type().is_some_and(|kind| kind.subtype() == Some("signed"));
            let PartType::Multipart(children) = &part.body else { continue };
            let Some(first) = children.first().filter(|_| is_signed) else { continue };
            let Some(first) = parsed.part(*first) else { continue };
            let raw = &bytes[first.offset_header as usize..first.offset_end as usize];
            let kept = memchr::memmem::find(&out.bytes, raw).is_some();
            prop_assert!(kept, "IN {}\nOUT {}\nSIGNED {:?}", String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&out.bytes), String::from_utf8_lossy(raw));
        }
    }
}
