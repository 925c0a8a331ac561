//! 200 real-shaped messages through read and rewrite: signed parts byte-identical, the tree the same but for the listed
//! changes, by a parser that is not ours.

use mail_parser::{Header, HeaderValue, Message, MessageParser, MessagePart, PartType};
use postrider_mail::relay::{
    Additions, BodyForm, HeaderForm, NeedsEightBit, OwnListFields, ReadRules, Rewritten, SignedPart,
    downgrade_to_seven_bit, read, rewrite,
};
use postrider_mail::stuffing;

use crate::corpus::{Sample, sample};

pub const RECEIVED: &str = "Received: from app (app.example [192.0.2.1])\r\n by relay.example with ESMTPSA id 1;\r\n Thu, 01 Jan 1970 00:00:00 +0000\r\n";

pub fn additions() -> Additions<'static> {
    Additions {
        received: RECEIVED,
        message_id: "<d.1@relay.example>",
        date_ms: 0,
        own_list_fields: OwnListFields::Kept,
        body: BodyForm::SevenBit,
        header: HeaderForm::Encoded,
        unsubscribe_url: None,
    }
}

fn parse(bytes: &[u8]) -> Message<'_> {
    MessageParser::default().parse(bytes).expect("a message")
}

fn raw<'a>(header: &Header<'_>, bytes: &'a [u8]) -> &'a [u8] {
    &bytes[header.offset_field as usize..header.offset_end as usize]
}

fn is_cut(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-clab-") || name.starts_with("x-postrider-") || name == "bcc" || name == "return-path"
}

/// The header of the message: what was not cut stands as it stood, but for 8-bit fields and the encoding of the body.
fn same_header(before: &[u8], after: &[u8], name: &str) {
    let (parsed_before, parsed_after) = (parse(before), parse(after));
    let kept: Vec<_> = parsed_before.headers().iter().filter(|header| !is_cut(header.name())).collect();
    let mut left: Vec<_> = parsed_after.headers().iter().collect();
    assert_eq!(raw(left.remove(0), after), RECEIVED.as_bytes(), "{name}");
    for added in ["Message-ID", "Date"] {
        if !kept.iter().any(|header| header.name().eq_ignore_ascii_case(added)) {
            assert_eq!(left.remove(0).name(), added, "{name}");
        }
    }
    let encoding = |header: &&Header<'_>| !header.name().eq_ignore_ascii_case("content-transfer-encoding");
    let added = |header: &&Header<'_>| {
        let mime = header.name().eq_ignore_ascii_case("mime-version");
        !mime || kept.iter().any(|kept| kept.name().eq_ignore_ascii_case("mime-version"))
    };
    let kept: Vec<_> = kept.iter().copied().filter(encoding).collect();
    let left: Vec<_> = left.into_iter().filter(encoding).filter(added).collect();
    let names = |headers: &[&Header<'_>]| headers.iter().map(|header| header.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&kept), names(&left), "{name}");
    for (kept, left) in kept.iter().zip(&left) {
        let bytes = raw(kept, before);
        if bytes.is_ascii() {
            assert_eq!(bytes, raw(left, after), "{name}: {}", kept.name());
        } else {
            assert!(raw(left, after).is_ascii(), "{name}: {}", kept.name());
            let (old, new) = (text_of(bytes, &kept.value), text_of(raw(left, after), &left.value));
            assert_eq!(old, new, "{name}: {}", kept.name());
        }
    }
}

/// The text of a field; of one that the parser does not know as if it were a Subject.
fn text_of(field: &[u8], value: &HeaderValue<'_>) -> String {
    if !field.to_ascii_lowercase().starts_with(b"x-") {
        return flat(value);
    }
    let colon = field.iter().position(|byte| *byte == b':').expect("a colon");
    let subject = [b"Subject", &field[colon..], b"\r\n"].concat();
    let parsed = parse(&subject);
    flat(&HeaderValue::Text(parsed.subject().expect("a subject").to_owned().into()))
}

/// A value with its blanks in one form: folding may change them where a field is encoded.
fn flat(value: &HeaderValue<'_>) -> String {
    let text = match value {
        HeaderValue::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn same_tree(before: &Message<'_>, after: &Message<'_>, name: &str) {
    assert_eq!(before.parts.len(), after.parts.len(), "{name}");
    for (at, (old, new)) in before.parts.iter().zip(&after.parts).enumerate() {
        let place = format!("{name}, part {at}");
        if at > 0 {
            same_part_header(old, new, &place);
        }
        match (&old.body, &new.body) {
            (PartType::Text(old), PartType::Text(new)) | (PartType::Html(old), PartType::Html(new)) => {
                assert_eq!(old, new, "{place}");
            }
            (PartType::Binary(old), PartType::Binary(new))
            | (PartType::InlineBinary(old), PartType::InlineBinary(new)) => assert_eq!(old, new, "{place}"),
            (PartType::Multipart(old), PartType::Multipart(new)) => assert_eq!(old, new, "{place}"),
            (PartType::Message(old), PartType::Message(new)) => {
                same_part_header(old.root_part(), new.root_part(), &place);
                same_tree(old, new, &place);
            }
            (old, new) => panic!("{place}: {old:?} became {new:?}"),
        }
    }
}

fn same_part_header(old: &MessagePart<'_>, new: &MessagePart<'_>, place: &str) {
    let list = |part: &MessagePart<'_>| -> Vec<(String, String)> {
        let others =
            part.headers.iter().filter(|header| !header.name().eq_ignore_ascii_case("content-transfer-encoding"));
        others.map(|header| (header.name().to_owned(), flat(&header.value))).collect()
    };
    assert_eq!(list(old), list(new), "{place}");
}

fn run(sample: &Sample) -> (SignedPart, Rewritten) {
    let incoming = read(&sample.bytes, &ReadRules::default()).unwrap_or_else(|why| panic!("{}: {why}", sample.name));
    assert_eq!(incoming.special.delivery_type_id, 17, "{}", sample.name);
    assert_eq!(incoming.special.delivery_label.as_deref(), Some("Order confirmation"), "{}", sample.name);
    (incoming.signed, rewrite(&sample.bytes, &incoming, &additions()))
}

#[test]
fn two_hundred_messages_keep_what_they_say() {
    let mut seen = [0; 4];
    for seed in 0..200 {
        let sample = sample(seed);
        let (signed, out) = run(&sample);
        let name = &sample.name;
        for sealed in &sample.sealed {
            let found = memchr::memmem::find(&out.bytes, sealed).is_some();
            assert!(found, "{name}: a signed part was changed\n{}", String::from_utf8_lossy(&out.bytes));
        }
        assert_eq!(signed == SignedPart::None, sample.sealed.is_empty(), "{name}");
        let needs = sample.sealed_8bit.then_some(NeedsEightBit::SealedPart);
        assert_eq!(out.needs, needs, "{name}");
        let mut wire = Vec::new();
        match needs {
            None => stuffing::stuff(&out.bytes, &mut wire),
            Some(_) => stuffing::stuff_eight_bit(&out.bytes, &mut wire),
        }
        .or_else(|why| if needs.is_some() { Ok(()) } else { Err(why) })
        .unwrap_or_else(|why| panic!("{name}: {why}\n{}", String::from_utf8_lossy(&out.bytes)));
        same_header(&sample.bytes, &out.bytes, name);
        same_tree(&parse(&sample.bytes), &parse(&out.bytes), name);
        seen[0] += 1;
        seen[1] += usize::from(!sample.sealed.is_empty());
        seen[2] += usize::from(sample.bytes.iter().any(|byte| !byte.is_ascii()) && needs.is_none());
        seen[3] += usize::from(needs.is_some());
    }
    println!("{} messages, {} sealed, {} brought to seven bits, {} left in eight", seen[0], seen[1], seen[2], seen[3]);
    assert!(seen[1] >= 60 && seen[2] >= 80 && seen[3] >= 5, "{seen:?}");
}

#[test]
fn messages_of_eight_bits_are_left_where_asked() {
    for seed in 0..200 {
        let sample = sample(seed);
        let incoming = read(&sample.bytes, &ReadRules::default()).expect("it is taken");
        let as_it_came = Additions { body: BodyForm::AsItCame, header: HeaderForm::AsItCame, ..additions() };
        let out = rewrite(&sample.bytes, &incoming, &as_it_came);
        // Only the header differs: the body is the same to the byte.
        let body = |bytes: &[u8]| bytes[memchr::memmem::find(bytes, b"\r\n\r\n").expect("a body")..].to_vec();
        assert_eq!(body(&out.bytes), body(&sample.bytes), "{}", sample.name);
        // And the delivery can still make seven bits of it.
        match downgrade_to_seven_bit(&out.bytes) {
            Ok(seven) => {
                assert!(seven.is_ascii() && !sample.sealed_8bit, "{}", sample.name);
                same_tree(&parse(&sample.bytes), &parse(&seven), &sample.name);
            }
            Err(why) => assert!(sample.sealed_8bit && why == NeedsEightBit::SealedPart, "{}: {why}", sample.name),
        }
    }
}

/// How fast, in this build: no promise, a line to look at.
#[test]
fn how_fast() {
    let body = "Dear customer, this is a line of an ordinary message of some length.\r\n";
    for (what, size) in [("4 KB", 4_096), ("40 KB", 40_960)] {
        let head = "Received: from a by b; x\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Your order 4711\r\n\
            X-Clab-SmartRelay-DeliveryId: 17\r\nX-Clab-SmartRelay-ExternalId: 4711\r\nDate: Sun, 22 Nov 2026 09:00:00 +0100\r\n\
            Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";
        let mut message = head.as_bytes().to_vec();
        while message.len() < size {
            message.extend_from_slice(body.as_bytes());
        }
        let rules = ReadRules::default();
        let times: u32 = 300;
        let start = std::time::Instant::now();
        let mut total = 0;
        for _ in 0..times {
            let incoming = read(&message, &rules).expect("it is taken");
            total += rewrite(&message, &incoming, &additions()).bytes.len();
        }
        let each = start.elapsed() / times;
        let speed = message.len() as f64 / each.as_secs_f64() / 1e6;
        println!("{what}: {each:?} a message, {speed:.0} MB/s, {} octets out", total / times as usize);
    }
}
