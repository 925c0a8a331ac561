//! The golden table of the special headers, header by value by outcome, in both spellings; docs/relay-headers.md shows it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use postrider_mail::relay::{
    Additions, AttributeKind, AttributeValue, BodyForm, HeaderForm, HtmlInputs, Incoming, NewDeliveryType,
    OwnListFields, ReadRules, Reason, SpecialName, StreamWish, read, rewrite,
};

const TABLE: &str = include_str!("../golden/relay-headers.tsv");

struct Row {
    about: &'static str,
    spelling: &'static str,
    headers: &'static str,
    outcome: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [about, spelling, headers, outcome] = cells[..] else { panic!("four cells: {line}") };
        Row { about, spelling, headers, outcome }
    })
}

/// `{a*150}` and the escapes.
fn expand(text: &str) -> String {
    let mut out = text.replace("\\r\\n", "\r\n").replace("\\x07", "\u{7}").replace("\\x01", "\u{1}");
    while let Some((before, rest)) = out.split_once('{').filter(|(_, rest)| rest.as_bytes().get(1) == Some(&b'*')) {
        let (count, after) = rest[2..].split_once('}').expect("an end");
        out = format!("{before}{}{after}", rest[..1].repeat(count.parse().expect("a count")));
    }
    out
}

/// The drop-in name of one of ours, as the documents of that system write it.
const PAIRS: &[(&str, &str)] = &[
    ("X-Postrider-Delivery-Type", "X-Clab-SmartRelay-DeliveryId"),
    ("X-Postrider-Delivery-Label", "X-Clab-SmartRelay-DeliveryLabel"),
    ("X-Postrider-New-Delivery-Type", "X-Clab-SmartRelay-NewDeliveryType"),
    ("X-Postrider-External-Id", "X-Clab-SmartRelay-ExternalId"),
    ("X-Postrider-External-Description", "X-Clab-SmartRelay-ExternalDesc"),
    ("X-Postrider-Primary-Key", "X-Clab-SmartRelay-PrimaryKey"),
    ("X-Postrider-Tracking-Domain", "X-Clab-SmartRelay-TrackingDomain"),
    ("X-Postrider-Tracking-Domain-View", "X-Clab-SmartRelay-TrackingDomainView"),
    ("X-Postrider-Tracking-Domain-Link", "X-Clab-SmartRelay-TrackingDomainLink"),
    ("X-Postrider-Unsubscribe-Domain", "X-Clab-SmartRelay-UnsubscribeDomain"),
];

fn drop_in(name: &str) -> String {
    if let Some(field) = name.strip_prefix("X-Postrider-Recipient-") {
        return format!("X-Clab-SmartRelay-Recipient-{field}");
    }
    let pair = PAIRS.iter().find(|(ours, _)| ours.eq_ignore_ascii_case(name));
    (*pair.unwrap_or_else(|| panic!("{name} has no drop-in name")).1).to_owned()
}

fn rules(spelling: &str) -> ReadRules {
    let kinds = [
        ("typed", AttributeKind::Boolean),
        ("counted", AttributeKind::Integer),
        ("short", AttributeKind::Text(3)),
        ("day", AttributeKind::Date),
        ("moment", AttributeKind::DateTime),
    ];
    let html_inputs = match spelling {
        "html" => Some(HtmlInputs::default()),
        "html renamed" => {
            Some(HtmlInputs { delivery_id: Some("deliveryNo".to_owned()), external_id: None, ..HtmlInputs::default() })
        }
        _ => None,
    };
    ReadRules {
        mapped: vec![
            ("X-Mapped-Views".to_owned(), SpecialName::TrackViews),
            ("X-Mapped-Links".to_owned(), SpecialName::TrackLinks),
        ],
        disabled: if spelling == "disabled" { vec![SpecialName::ExternalId, SpecialName::Recipient] } else { vec![] },
        attribute_kinds: kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect::<BTreeMap<_, _>>(),
        html_inputs,
        ..ReadRules::default()
    }
}

/// The message of a row: its headers among others, its markup as the body.
fn message(headers: &[String]) -> Vec<u8> {
    let is_markup = |line: &&String| line.starts_with('<');
    let mut text = String::from("From: Ann <ann@example.org>\r\nX-Keep: this\r\n");
    headers.iter().filter(|line| !is_markup(line)).for_each(|line| text.push_str(&format!("{line}\r\n")));
    text.push_str("Content-Type: text/html; charset=utf-8\r\n\r\n<p>Hello</p>");
    headers.iter().filter(is_markup).for_each(|line| text.push_str(line));
    text.push_str("<p>Bye</p>\r\n");
    text.into_bytes()
}

fn outcome(incoming: &Incoming, removed: usize, name: impl Fn(&str) -> String) -> String {
    let special = &incoming.special;
    let mut said: Vec<String> = Vec::new();
    let mut say = |what: &str, value: Option<String>| said.extend(value.map(|value| format!("{what}={value}")));
    say("delivery_type_id", Some(special.delivery_type_id).filter(|id| *id != 1).map(|id| id.to_string()));
    say("delivery_label", special.delivery_label.clone());
    say(
        "new_delivery_type",
        special.new_delivery_type.map(|kind| match kind {
            NewDeliveryType::Transactional => "transactional".to_owned(),
            NewDeliveryType::Newsletter => "newsletter".to_owned(),
        }),
    );
    say("external_id", special.external_id.map(|id| id.to_string()));
    say("external_description", special.external_description.clone());
    say("primary_key", special.primary_key.map(|key| key.to_string()));
    for (field, value) in &special.attributes {
        let text = match value {
            AttributeValue::Text(text) => format!("text {text}"),
            AttributeValue::Integer(number) => format!("integer {number}"),
            AttributeValue::Date(date) => format!("date {date}"),
            AttributeValue::DateTime(time) => format!("datetime {time}"),
            AttributeValue::Boolean(truth) => format!("boolean {truth}"),
        };
        say(&format!("attribute {field}"), Some(text));
    }
    say("track_views", special.track_views.map(|on| on.to_string()));
    say("track_links", special.track_links.map(|on| on.to_string()));
    say("views", special.hosts.views.as_ref().map(ToString::to_string));
    say("links", special.hosts.links.as_ref().map(ToString::to_string));
    say("unsubscribe", special.hosts.unsubscribe.as_ref().map(ToString::to_string));
    special.tags.iter().for_each(|tag| say("tag", Some(tag.clone())));
    let metadata = serde_json::to_string(&special.metadata).expect("JSON");
    say("metadata", Some(metadata).filter(|_| !special.metadata.is_empty()));
    say(
        "stream",
        special.stream.map(|stream| match stream {
            StreamWish::Transactional => "transactional".to_owned(),
            StreamWish::Marketing => "marketing".to_owned(),
        }),
    );
    say("send_at", special.send_at.map(|at| at.to_string()));
    say("consent_claim", special.consent_claim.clone());
    said.extend(
        incoming.problems.iter().map(|problem| format!("! {} {}", name(&problem.header), problem.reason.as_str())),
    );
    if removed > 0 {
        said.push(format!("removed {removed}"));
    }
    if said.is_empty() { "nothing".to_owned() } else { said.join("; ") }
}

/// Reads and rewrites one message; what leaves holds nothing of ours.
fn run(headers: &[String], spelling: &str, name: impl Fn(&str) -> String) -> String {
    let bytes = message(headers);
    let incoming = read(&bytes, &rules(spelling)).expect("every row is sent");
    let additions = Additions {
        received: "Received: from a\r\n by b with HTTP id c; Thu, 01 Jan 1970 00:00:00 +0000\r\n",
        message_id: "<1@example.org>",
        date_ms: 0,
        own_list_fields: OwnListFields::Kept,
        body: BodyForm::SevenBit,
        header: HeaderForm::Encoded,
        unsubscribe_url: None,
    };
    let left = rewrite(&bytes, &incoming, &additions);
    let text = String::from_utf8(left.bytes).expect("seven bits");
    let lower = text.to_ascii_lowercase();
    assert!(!lower.contains("x-postrider") && !lower.contains("x-clab") && !lower.contains("x-mapped"), "{text}");
    assert!(text.contains("X-Keep: this\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello</p>"), "{text}");
    outcome(&incoming, left.inputs, name)
}

#[test]
fn every_header_and_value_has_its_outcome() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for row in rows() {
        let written: Vec<String> = row.headers.split(" && ").filter(|line| *line != "(none)").map(expand).collect();
        let prefixed: Vec<String> = match row.spelling {
            "both" | "ours" => written.iter().map(|line| format!("X-Postrider-{line}")).collect(),
            _ => written.clone(),
        };
        let wanted = expand(row.outcome);
        let mut compare = |headers: &[String], got: String| {
            cases += 1;
            if got != wanted {
                wrong.push(format!("{headers:?}\n   wanted {wanted}\n   got    {got}"));
            }
        };
        let bare = |header: &str| header.strip_prefix("X-Postrider-").unwrap_or(header).to_owned();
        match row.spelling {
            "both" => {
                compare(&prefixed, run(&prefixed, row.spelling, bare));
                let theirs: Vec<String> = prefixed
                    .iter()
                    .map(|line| {
                        let (name, value) = line.split_once(':').expect("a header");
                        format!("{}:{value}", drop_in(name))
                    })
                    .collect();
                let back = |header: &str| match header.strip_prefix("X-Clab-SmartRelay-Recipient-") {
                    Some(field) => format!("Recipient-{field}"),
                    None => {
                        let pair = PAIRS.iter().find(|(_, theirs)| *theirs == header);
                        bare(pair.unwrap_or_else(|| panic!("{header} in a problem")).0)
                    }
                };
                compare(&theirs, run(&theirs, row.spelling, back));
            }
            "ours" => compare(&prefixed, run(&prefixed, row.spelling, bare)),
            _ => compare(&prefixed, run(&prefixed, row.spelling, str::to_owned)),
        }
    }
    println!("{cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 240, "{cases}");
}

/// The public names of both spellings are those of the pairs above.
#[test]
fn names_are_those_of_the_documents() {
    for name in SpecialName::ALL {
        let ours = format!("X-Postrider-{}", name.as_str());
        let pair = PAIRS.iter().find(|(written, _)| *written == ours).map(|(_, theirs)| (*theirs).to_owned());
        let theirs = name.drop_in().map(|word| format!("X-Clab-SmartRelay-{word}"));
        let recipient = name == SpecialName::Recipient;
        assert_eq!(theirs.filter(|_| !recipient), pair, "{ours}");
    }
}

/// docs/relay-headers.md shows the table; UPDATE_DOCS=1 writes it there.
#[test]
fn the_page_shows_the_table() {
    let mut made = String::from("| about | spelling | written | outcome |\n|---|---|---|---|\n");
    for row in rows() {
        let cell = |text: &str| text.replace('|', "\\|").replace('`', "'");
        let written: Vec<String> =
            row.headers.split(" && ").map(|line| format!("`{}`", cell(line.trim_end()))).collect();
        let (about, outcome) = (cell(row.about), cell(row.outcome));
        made.push_str(&format!("| {about} | {} | {} | `{outcome}` |\n", row.spelling, written.join("<br>")));
    }
    compare("outcomes", &made);
}

/// The same page explains each reason in the words of the error view.
#[test]
fn the_page_explains_every_reason() {
    let mut made = String::from("| reason | says |\n|---|---|\n");
    for reason in Reason::ALL {
        made.push_str(&format!("| `{}` | {reason} |\n", reason.as_str()));
    }
    compare("reasons", &made);
}

fn compare(part: &str, made: &str) {
    // Two tests write one page.
    static PAGE: Mutex<()> = Mutex::new(());
    let _page = PAGE.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/relay-headers.md");
    let text = std::fs::read_to_string(&path).expect("the page");
    let (begin, end) = (format!("<!-- {part}: made by a test -->\n"), format!("<!-- {part}: end -->"));
    let from = text.find(&begin).expect("the mark before the table") + begin.len();
    let to = from + text[from..].find(&end).expect("the mark after the table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, [&text[..from], made, &text[to..]].concat()).expect("written");
        return;
    }
    assert_eq!(&text[from..to], made, "docs/relay-headers.md is not up to date: run the test once with UPDATE_DOCS=1");
}
