//! Header fields as readers see them: decoded and unfolded by a second, independent reader.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const SCRIPTS: &[&str] = &[
    "Grüße aus Köln: die Übersicht für März",
    "Новости и скидки на этой неделе для вас",
    "本周新闻和优惠信息请查看附件中的详细内容谢谢您的支持与理解",
    "今週のニュースとお得な情報をお届けします、どうぞご覧ください",
    "이번 주 소식과 할인 정보를 확인하세요 감사합니다",
    "أخبار هذا الأسبوع والعروض الخاصة لكم",
    "חדשות השבוע ומבצעים מיוחדים עבורכם",
    "इस सप्ताह के समाचार और विशेष ऑफर देखें",
    "Τα νέα της εβδομάδας και οι προσφορές",
    "ข่าวสารและโปรโมชั่นประจำสัปดาห์นี้สำหรับคุณ",
    "Tiếng Việt: Tin tức và ưu đãi trong tuần này",
    "👩‍👩‍👧‍👦 family 🏳️‍🌈 flags 🇩🇪🇫🇷 and 👍🏽 thumbs ❤️ all in one subject line 🎉🎉🎉🎉🎉",
];

fn field(name: &str, value: &str) -> Result<String, HeaderError> {
    let mut out = Vec::new();
    text(name, value, &mut out).map(|()| String::from_utf8(out).unwrap())
}

/// Unfolds one field and gives its value without the blank after the colon.
fn unfold(field: &str) -> String {
    let field = field.strip_suffix("\r\n").expect("a field ends in CRLF");
    let value = field.split_once(':').expect("a field has a colon").1.replace("\r\n", "");
    assert!(!value.contains(['\r', '\n']));
    value.strip_prefix(' ').unwrap_or(&value).to_owned()
}

/// RFC 2047 reading: neighbouring encoded words join, each must be whole UTF-8 by itself.
fn decode(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    let mut last_was_encoded = false;
    while !rest.is_empty() {
        let (blanks, after) = rest.split_at(rest.len() - rest.trim_start_matches(' ').len());
        let (word, after) = after.split_at(after.find(' ').unwrap_or(after.len()));
        match decode_word(word) {
            Some(decoded) => {
                if !last_was_encoded {
                    out.push_str(blanks);
                }
                out.push_str(&decoded);
                last_was_encoded = true;
            }
            None => {
                out.push_str(blanks);
                out.push_str(word);
                last_was_encoded = false;
            }
        }
        rest = after;
    }
    out
}

fn decode_word(word: &str) -> Option<String> {
    let inner = word.strip_prefix("=?utf-8?")?.strip_suffix("?=")?;
    assert!(word.len() <= 75, "{word}");
    let (kind, payload) = inner.split_once('?')?;
    let bytes = match kind {
        "B" => STANDARD.decode(payload).expect("base64"),
        "Q" => crate::qp::decode(payload.replace('_', "=20").as_bytes()).expect("Q encoding"),
        other => panic!("unknown encoding {other}"),
    };
    Some(String::from_utf8(bytes).expect("words are cut between characters"))
}

fn assert_layout(field: &str) {
    assert!(field.ends_with("\r\n"));
    for line in field.strip_suffix("\r\n").unwrap().split("\r\n") {
        let limit = if line.contains("=?utf-8?") { 76 } else { 78 };
        assert!(line.len() <= limit, "{} columns: {line}", line.len());
        assert!(!line.trim().is_empty(), "a line of blanks only: {field:?}");
    }
    for line in field.strip_suffix("\r\n").unwrap().split("\r\n").skip(1) {
        assert!(line.starts_with(' '), "no continuation: {field:?}");
    }
}

#[test]
fn scripts_and_emoji_read_back() {
    for script in SCRIPTS {
        for name in ["Subject", "X-A-Rather-Long-Field-Name-That-Leaves-Little-Room-For-The-Value-Itself"] {
            let value = format!("{script}; {script}");
            let field = field(name, &value).unwrap();
            assert_layout(&field);
            assert!(field.is_ascii());
            assert_eq!(decode(&unfold(&field)), value);
        }
    }
}

#[test]
fn plain_values_stay_readable() {
    assert_eq!(field("Subject", "Hello, world").unwrap(), "Subject: Hello, world\r\n");
    assert_eq!(field("Subject", "").unwrap(), "Subject:\r\n");
    assert_eq!(field("Subject", "50 % off = good?").unwrap(), "Subject: 50 % off = good?\r\n");
    let long = "word ".repeat(40);
    let folded = field("Subject", long.trim_end()).unwrap();
    assert_layout(&folded);
    assert!(!folded.contains("=?"));
    assert_eq!(unfold(&folded), long.trim_end());
}

#[test]
fn values_that_readers_would_change_are_encoded() {
    for value in
        ["=?utf-8?Q?forged?=", " leading", "trailing ", "   ", &"x".repeat(200), &format!("a{}b", " ".repeat(99))]
    {
        let field = field("Subject", value).unwrap();
        assert_layout(&field);
        assert_eq!(decode(&unfold(&field)), *value, "{field}");
        assert!(field.contains("=?utf-8?"), "{field}");
    }
}

#[test]
fn control_characters_and_bad_names_are_refused() {
    for bad in
        ["a\r\nBcc: x@example.org", "a\nb", "a\rb", "a\0b", "a\tb", "a\u{7f}", "a\u{85}", "a\u{2028}b", "a\u{2029}b"]
    {
        assert!(has_control(bad));
        let mailbox = Mailbox::parse("jane@example.org").unwrap();
        let mut out = b"before".to_vec();
        assert_eq!(text("Subject", bad, &mut out), Err(HeaderError::Control("Subject".into())));
        assert_eq!(raw("Subject", bad, &mut out), Err(HeaderError::Control("Subject".into())));
        assert_eq!(mailbox_list("To", &[(Some(bad), &mailbox)], &mut out), Err(HeaderError::Control("To".into())));
        assert_eq!(out, b"before");
    }
    for name in ["", "a b", "a:b", "a\r\nb", "ä", &"a".repeat(77)] {
        assert!(matches!(field(name, "x"), Err(HeaderError::Name(_))), "{name:?}");
    }
    assert!(!has_control("plain ä 用 😀 \u{a0}"));
}

#[test]
fn mailbox_lists() {
    let jane = Mailbox::parse("jane@example.org").unwrap();
    let quoted = Mailbox::parse("\"a b\"@example.org").unwrap();
    let long = Mailbox::parse(&format!("{}@{}.example.org", "l".repeat(60), "d".repeat(60))).unwrap();
    let list = |mailboxes: &[(Option<&str>, &Mailbox)]| {
        let mut out = Vec::new();
        mailbox_list("To", mailboxes, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    for (display, expected) in [
        (None, "To: jane@example.org\r\n"),
        (Some(""), "To: jane@example.org\r\n"),
        (Some("  "), "To: jane@example.org\r\n"),
        (Some("Jane Doe"), "To: Jane Doe <jane@example.org>\r\n"),
        (Some("Doe, Jane"), "To: \"Doe, Jane\" <jane@example.org>\r\n"),
        (Some("J. \"JD\" Doe\\"), "To: \"J. \\\"JD\\\" Doe\\\\\" <jane@example.org>\r\n"),
        (Some("a@b <c>"), "To: \"a@b <c>\" <jane@example.org>\r\n"),
        (Some("Jörg"), "To: =?utf-8?Q?J=C3=B6rg?= <jane@example.org>\r\n"),
        (Some("=?utf-8?Q?x?="), "To: =?utf-8?Q?=3D=3Futf-8=3FQ=3Fx=3F=3D?= <jane@example.org>\r\n"),
    ] {
        assert_eq!(list(&[(display, &jane)]).unwrap(), expected);
    }
    assert_eq!(list(&[]), Err(HeaderError::NoMailbox("To".into())));
    let many = list(&[
        (Some("Doe, Jane"), &jane),
        (None, &quoted),
        (Some("Jörg"), &jane),
        (Some("Many Atoms In A Name"), &jane),
    ]);
    assert_eq!(
        many.unwrap(),
        "To: \"Doe, Jane\" <jane@example.org>, \"a b\"@example.org,\r\n \
         =?utf-8?Q?J=C3=B6rg?= <jane@example.org>, Many Atoms In A Name\r\n <jane@example.org>\r\n"
    );
    assert!(list(&[(Some("x"), &long)]).unwrap().split("\r\n").all(|line| line.len() < 200));
}

#[test]
fn raw_values_fold_at_blanks_and_outer_commas() {
    let field = |value: &str| {
        let mut out = Vec::new();
        raw("List-Unsubscribe", value, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let url = format!("https://example.org/u/{},x", "t".repeat(72));
    let value = format!("<mailto:u-abc@example.org>,<{url}>");
    assert_eq!(
        field(&value).unwrap(),
        format!("List-Unsubscribe: <mailto:u-abc@example.org>,\r\n <{url}>\r\n"),
        "the comma inside the brackets is part of the URL"
    );
    assert_eq!(field("<a>,<b>").unwrap(), "List-Unsubscribe: <a>,<b>\r\n");
    assert_eq!(field("<a>, <b>").unwrap(), "List-Unsubscribe: <a>, <b>\r\n");
    assert_eq!(
        field(&format!("<{0}>, <{0}>", "a".repeat(90))).unwrap(),
        format!("List-Unsubscribe:\r\n <{0}>,\r\n <{0}>\r\n", "a".repeat(90))
    );
    assert_eq!(field("ä"), Err(HeaderError::NotAscii("List-Unsubscribe".into())));
    assert_eq!(field(&"a".repeat(998)), Err(HeaderError::TooLong("List-Unsubscribe".into())));
    assert!(field(&"a".repeat(997)).unwrap().split("\r\n").all(|line| line.len() <= 998));
    let mut out = Vec::new();
    raw("Content-Type", "multipart/alternative; boundary=\"=_aaaaaaaaaaaac_0\"; charset=utf-8; x=y", &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "Content-Type: multipart/alternative; boundary=\"=_aaaaaaaaaaaac_0\";\r\n charset=utf-8; x=y\r\n"
    );
}

#[test]
fn dates() {
    for (ms, expected) in [
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (-5, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (951_868_800_000, "Wed, 01 Mar 2000 00:00:00 +0000"),
        (1_078_012_799_999, "Sat, 28 Feb 2004 23:59:59 +0000"),
        (1_795_287_642_000, "Sat, 21 Nov 2026 19:00:42 +0000"),
        (4_107_542_399_000, "Sun, 28 Feb 2100 23:59:59 +0000"),
        (4_107_542_400_000, "Mon, 01 Mar 2100 00:00:00 +0000"),
        (253_402_300_799_999, "Fri, 31 Dec 9999 23:59:59 +0000"),
        (i64::MAX, "Fri, 31 Dec 9999 23:59:59 +0000"),
    ] {
        assert_eq!(date(ms), expected);
    }
}

proptest! {
    #[test]
    fn no_value_ever_breaks_out_of_its_field(value in any::<String>(), display in any::<String>()) {
        let mailbox = Mailbox::parse("jane@example.org").unwrap();
        let mut out = Vec::new();
        let results = [
            text("Subject", &value, &mut out),
            raw("X-Raw", &value, &mut out),
            mailbox_list("To", &[(Some(&display), &mailbox), (Some(&value), &mailbox)], &mut out),
        ];
        let written = results.iter().filter(|result| result.is_ok()).count();
        let block = String::from_utf8(out).unwrap();
        // A line that does not start with a blank starts a field: there are as many as were written.
        let fields = block.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with(' ')).count();
        prop_assert_eq!(fields, written);
        prop_assert!(!block.replace("\r\n", "").contains(|c: char| c.is_control()));
        prop_assert!(block.is_ascii());
        prop_assert_eq!(results[0].is_err(), has_control(&value));
    }

    #[test]
    fn every_value_without_control_characters_reads_back(value in "\\PC{0,120}|[ -~]{0,200}|[ =?_a]{0,90}") {
        prop_assume!(!has_control(&value));
        let field = field("Subject", &value).unwrap();
        assert_layout(&field);
        prop_assert_eq!(decode(&unfold(&field)), value);
    }

    #[test]
    fn every_display_name_reads_back(display in "\\PC{1,80}|[ -~]{1,90}") {
        prop_assume!(!has_control(&display));
        let mailbox = Mailbox::parse("jane@example.org").unwrap();
        let mut out = Vec::new();
        mailbox_list("From", &[(Some(&display), &mailbox)], &mut out).unwrap();
        let field = String::from_utf8(out).unwrap();
        assert_layout(&field);
        let value = unfold(&field);
        let trimmed = display.trim_matches(' ');
        if trimmed.is_empty() {
            prop_assert_eq!(value, "jane@example.org");
            return Ok(());
        }
        let phrase = value.strip_suffix(" <jane@example.org>").expect("the mailbox stands last");
        let read = match phrase.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"').unwrap().replace("\\\"", "\"").replace("\\\\", "\\"),
            None => decode(phrase),
        };
        prop_assert_eq!(read, trimmed);
    }

    #[test]
    fn raw_values_change_only_by_folding(value in "[a-z<>,;\"= ]{0,200}") {
        let mut out = Vec::new();
        if raw("X-Raw", &value, &mut out).is_ok() {
            let field = String::from_utf8(out).unwrap();
            prop_assert!(field.split("\r\n").all(|line| line.len() <= 998));
            let kept: String = unfold(&field).chars().filter(|c| *c != ' ').collect();
            let given: String = value.chars().filter(|c| *c != ' ').collect();
            prop_assert_eq!(kept, given);
        }
    }
}
