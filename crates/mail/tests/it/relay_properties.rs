//! Whatever the bytes: no panic, nothing of ours leaves, line ends stay whole, and a second pass changes nothing.

use mail_parser::MessageParser;
use postrider_mail::relay::{
    Additions, BodyForm, HeaderForm, HtmlInputs, MacroLink, ReadRules, SignedPart, Special, read, rewrite,
};
use proptest::prelude::*;

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
    (any::<bool>(), proptest::collection::vec(piece, 0..24)).prop_map(|(first, pieces)| {
        let from = b"From: a@example.org\r\n".to_vec();
        let pieces = pieces.concat();
        if first { [from, pieces].concat() } else { [b"X: y\r\n".to_vec(), from, pieces].concat() }
    })
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
        let parsed = MessageParser::default().parse(&out.bytes[..]);
        if let Some(parsed) = parsed {
            prop_assert!(!parsed.headers().iter().any(|header| is_ours(&header.name().to_ascii_lowercase())));
        }
        if out.needs.is_none() {
            prop_assert!(out.bytes.is_ascii(), "{}", String::from_utf8_lossy(&out.bytes));
        }
        let again = read(&out.bytes, &rules()).expect("what left can come back");
        prop_assert_eq!(&again.from, &incoming.from);
        prop_assert!(again.message_id.is_some() && again.has_date);
        prop_assert_eq!(again.signed, incoming.signed);
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
