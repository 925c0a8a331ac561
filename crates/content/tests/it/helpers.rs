//! Drafts, recipients, and a strict reader of messages that shares no code with the writer.

use std::collections::BTreeSet;

use postrider_content::{
    Compilation, CompileInput, ListFacts, MessageFacts, Prepared, RecipientView, RenderError, Rendered, Sender, compile,
};
use postrider_domain::campaign::{BodyFormat, Draft, Finding, Severity};
use postrider_domain::id::DeliveryId;
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;
use serde_json::{Map, Value};

pub const UNSUBSCRIBE: &str = "https://m.example.org/u/AQIDBAUGBwgJCgsMDQ4PEA";
pub const PREFERENCES: &str = "https://m.example.org/p/AQIDBAUGBwgJCgsMDQ4PEA";

pub fn sender() -> Sender {
    Sender {
        controller_name: "Example & Sons Ltd".into(),
        postal_address: "1 Main Street\n12345 Town".into(),
        privacy_url: "https://example.org/privacy".into(),
    }
}

pub fn attributes() -> BTreeSet<String> {
    ["first_name", "last_name", "city", "link", "score", "big", "day"].map(str::to_owned).into()
}

pub fn draft(format: BodyFormat, body: &str) -> Draft {
    Draft {
        from_mailbox: "news@example.org".into(),
        from_name: "Example".into(),
        subject: "News".into(),
        format: Some(format),
        body: body.into(),
        ..Draft::default()
    }
}

pub fn html(body: &str) -> Draft {
    draft(BodyFormat::Html, body)
}

pub fn plain(body: &str) -> Draft {
    draft(BodyFormat::Text, body)
}

pub fn compile_for(draft: &Draft, stream: Stream) -> Compilation {
    compile(&CompileInput { draft, stream, sender: &sender(), attributes: &attributes() })
}

/// A transactional version: no footer in the way.
pub fn prepare(draft: &Draft) -> Prepared {
    let compilation = compile_for(draft, Stream::Transactional);
    let findings = compilation.findings;
    Prepared::new(compilation.compiled.unwrap_or_else(|| panic!("{findings:#?}"))).unwrap()
}

pub fn errors(draft: &Draft) -> Vec<Finding> {
    compile_for(draft, Stream::Transactional)
        .findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect()
}

pub fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

pub fn vars(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub fn recipient<'a>(mailbox: &'a Mailbox, vars: &'a Map<String, Value>) -> RecipientView<'a> {
    RecipientView { mailbox, vars, unsubscribe_url: UNSUBSCRIBE, preferences_url: PREFERENCES, hosted_url: None }
}

pub fn anna() -> Mailbox {
    Mailbox::parse("anna@example.com").unwrap()
}

pub fn preview(prepared: &Prepared, values: Value) -> Result<Rendered, RenderError> {
    let (mailbox, vars) = (anna(), vars(values));
    prepared.preview(&recipient(&mailbox, &vars))
}

/// The HTML between the body tags, or the text of a text-only draft.
pub fn shown(draft: &Draft, values: Value) -> Result<String, RenderError> {
    let rendered = preview(&prepare(draft), values)?;
    Ok(match rendered.html {
        Some(html) => {
            let from = html.find("<body").map_or(0, |at| at + html[at..].find('>').unwrap() + 1);
            let to = html.find("</body>").unwrap_or(html.len());
            html[from..to].trim().to_owned()
        }
        None => rendered.text,
    })
}

pub fn facts<'a>() -> MessageFacts<'a> {
    MessageFacts {
        delivery: DeliveryId(0x0012_3456_789a_bcde),
        message_id: "<d.abcdefghijklmnop@m.example.org>",
        date_ms: 1_790_000_000_000,
        list: Some(ListFacts {
            list_id: "news.42.example.org",
            unsubscribe_url: UNSUBSCRIBE,
            unsubscribe_mailbox: "u-abcdefghijklmnopqrstuvwxyz234567@m.example.org",
            feedback_id: "cmp_1:wsp_1:marketing:postrider",
        }),
    }
}

pub fn render(prepared: &Prepared, values: Value) -> Result<Vec<u8>, RenderError> {
    let (mailbox, vars) = (anna(), vars(values));
    let mut out = Vec::new();
    prepared.render(&recipient(&mailbox, &vars), &facts(), &mut out)?;
    Ok(out)
}

/// A message taken apart.
pub struct Read {
    /// Fields in order, unfolded, without the blank after the colon.
    pub fields: Vec<(String, String)>,
    /// Content-Type and decoded text of each part.
    pub parts: Vec<(String, String)>,
}

impl Read {
    pub fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub fn field(&self, name: &str) -> &str {
        let mut found = self.fields.iter().filter(|(field, _)| field == name);
        let value = &found.next().unwrap_or_else(|| panic!("no {name}")).1;
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    pub fn text(&self) -> &str {
        &self.parts[0].1
    }

    pub fn html(&self) -> &str {
        &self.parts[1].1
    }
}

/// Takes a message apart; panics at everything that RFC 5322, 2045 or 2046 does not allow.
pub fn read(message: &[u8]) -> Read {
    assert!(message.is_ascii(), "a byte beyond 7 bits");
    let text = std::str::from_utf8(message).unwrap();
    assert!(text.ends_with("\r\n"));
    assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "a bare CR, LF or NUL");
    for line in text.split("\r\n") {
        assert!(line.len() <= 998);
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let fields = read_fields(head);
    let value =
        |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default();
    let kind = value("Content-Type");
    let parts = match kind.strip_prefix("multipart/alternative; boundary=\"") {
        None => vec![(kind.clone(), decode_body(&value("Content-Transfer-Encoding"), body))],
        Some(rest) => {
            let boundary = rest.strip_suffix('"').unwrap();
            assert!(boundary.len() <= 70);
            let delimiter = format!("--{boundary}");
            assert_eq!(body.lines().filter(|line| line.starts_with(&delimiter)).count(), 3, "boundaries");
            let inner = body.strip_prefix(&format!("{delimiter}\r\n")).unwrap();
            let (inner, epilogue) = inner.rsplit_once(&format!("\r\n{delimiter}--\r\n")).unwrap();
            assert_eq!(epilogue, "");
            inner
                .split(&format!("\r\n{delimiter}\r\n"))
                .map(|part| {
                    let (head, body) = part.split_once("\r\n\r\n").unwrap();
                    let fields = read_fields(head);
                    assert_eq!(fields.len(), 2);
                    assert_eq!(fields[1].0, "Content-Transfer-Encoding");
                    (fields[0].1.clone(), decode_body(&fields[1].1, body))
                })
                .collect()
        }
    };
    Read { fields, parts }
}

fn read_fields(head: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        assert!(!line.is_empty());
        if line.starts_with([' ', '\t']) {
            assert!(!line.trim().is_empty(), "a folded line of blanks");
            let last = fields.last_mut().unwrap();
            last.1.push(' ');
            last.1.push_str(line.trim_start());
            continue;
        }
        let (name, value) = line.split_once(':').unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name:?}");
        fields.push((name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()));
    }
    fields
}

fn decode_body(encoding: &str, body: &str) -> String {
    assert_eq!(encoding, "quoted-printable");
    let mut out = Vec::new();
    for line in body.split("\r\n") {
        assert!(line.len() <= 76, "a line of {} columns: {line}", line.len());
        assert!(!line.ends_with([' ', '\t']), "a blank at the end of a line");
        let (line, soft) = match line.strip_suffix('=') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut bytes = line.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'=' {
                let hex: String = [bytes.next().unwrap(), bytes.next().unwrap()].map(char::from).into_iter().collect();
                assert_eq!(hex, hex.to_uppercase());
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        if !soft {
            out.push(b'\n');
        }
    }
    // The last line end belongs to the delimiter, or to the end of the message.
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out).unwrap()
}

/// Decodes RFC 2047 encoded words.
pub fn decode_words(value: &str) -> String {
    let mut out = Vec::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let gap = &rest[..at];
        if !(after_word && gap.chars().all(|c| c == ' ')) {
            out.extend_from_slice(gap.as_bytes());
        }
        let end = at
            + 2
            + rest[at + 2..]
                .match_indices("?=")
                .map(|(end, _)| end)
                .find(|end| rest[at + 2..at + 2 + end].matches('?').count() == 2)
                .unwrap();
        let word = &rest[at + 2..end];
        assert!(word.len() + 4 <= 75, "an encoded word of {} columns", word.len() + 4);
        let mut fields = word.splitn(3, '?');
        assert!(fields.next().unwrap().eq_ignore_ascii_case("utf-8"));
        let (kind, text) = (fields.next().unwrap(), fields.next().unwrap());
        let mut bytes = Vec::new();
        if kind.eq_ignore_ascii_case("q") {
            let mut letters = text.bytes();
            while let Some(letter) = letters.next() {
                match letter {
                    b'_' => bytes.push(b' '),
                    b'=' => {
                        let hex: String =
                            [letters.next().unwrap(), letters.next().unwrap()].map(char::from).into_iter().collect();
                        bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                    }
                    letter => bytes.push(letter),
                }
            }
        } else {
            bytes = base64(text);
        }
        // RFC 2047 5: each word holds whole characters.
        assert!(std::str::from_utf8(&bytes).is_ok());
        out.extend_from_slice(&bytes);
        rest = &rest[end + 2..];
        after_word = true;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        bits = bits << 6 | LETTERS.iter().position(|known| *known == letter).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}
