//! What a campaign message costs beside its signature: render, sign and stuff one recipient after the other on one thread,
//! against the signature over next to nothing. Run with `cargo run --release -p postrider-content --example sign_cost`.

use std::sync::Arc;
use std::time::Instant;

use postrider_content::{CompileInput, ListFacts, MessageFacts, Prepared, RecipientView, Sender, compile};
use postrider_domain::campaign::{BodyFormat, Draft};
use postrider_domain::id::DeliveryId;
use postrider_domain::stream::Stream;
use postrider_mail::dkim::{Signer, SigningKey};
use postrider_mail::mailbox::{DomainName, Mailbox};
use postrider_mail::stuffing;

/// Messages of one measurement.
const MESSAGES: i64 = 2_000;

fn main() {
    let key = Arc::new(SigningKey::generate_rsa2048().expect("a key"));
    let domain = DomainName::parse("news.example.org").expect("a domain");
    let signer = Signer::new(domain, "s1", key).expect("a signer");
    let tiny = b"From: a@news.example.org\r\n\r\n";
    let alone = micros(|n| drop(signer.sign(tiny, n).expect("signed")));
    println!("signature alone: {alone:.0} µs");
    for kilobytes in [4, 40] {
        let prepared = prepared(kilobytes);
        let rendered = micros(|n| drop(render(&prepared, n)));
        let whole = micros(|n| {
            let message = render(&prepared, n);
            let mut signed = signer.sign(&message, n).expect("signed");
            signed.extend_from_slice(&message);
            let mut stuffed = Vec::with_capacity(signed.len() + 64);
            stuffing::stuff(&signed, &mut stuffed).expect("stuffed");
            std::hint::black_box(stuffed);
        });
        println!(
            "{kilobytes} KB: rendered in {rendered:.0} µs; rendered, signed and stuffed in {whole:.0} µs = {:.2} × the signature",
            whole / alone
        );
    }
}

/// Mean time of a call, in microseconds.
fn micros(mut call: impl FnMut(i64)) -> f64 {
    for n in 0..MESSAGES / 10 {
        call(n);
    }
    let begun = Instant::now();
    for n in 0..MESSAGES {
        call(n);
    }
    begun.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64
}

fn prepared(kilobytes: usize) -> Prepared {
    let paragraph = "<p>Dear {{ name }}, this is the news of the week, and there is a lot of it to be told.</p>\n";
    let draft = Draft {
        from_mailbox: "info@news.example.org".into(),
        from_name: "News".into(),
        subject: "Hello {{ name }}".into(),
        format: Some(BodyFormat::Html),
        body: paragraph.repeat(kilobytes * 1024 / paragraph.len()),
        ..Draft::default()
    };
    let sender = Sender {
        controller_name: "News Ltd".into(),
        postal_address: "1 Road, Milano".into(),
        privacy_url: "https://example.org/privacy".into(),
    };
    let attributes = ["name".to_owned()].into();
    let input = CompileInput { draft: &draft, stream: Stream::Marketing, sender: &sender, attributes: &attributes };
    Prepared::new(compile(&input).compiled.expect("a version")).expect("prepared")
}

fn render(prepared: &Prepared, n: i64) -> Vec<u8> {
    let mailbox = Mailbox::parse(&format!("reader{n}@example.net")).expect("a mailbox");
    let vars = serde_json::Map::from_iter([("name".to_owned(), format!("Reader {n}").into())]);
    let view = RecipientView {
        mailbox: &mailbox,
        vars: &vars,
        unsubscribe_url: "https://news.example.org/u/0123456789abcdefghij",
        preferences_url: "https://news.example.org/p/0123456789abcdefghij",
        hosted_url: None,
    };
    let facts = MessageFacts {
        delivery: DeliveryId(n),
        message_id: &format!("<d.{n}@news.example.org>"),
        date_ms: 1_795_305_600_000 + n,
        list: Some(ListFacts {
            list_id: "news.list.news.example.org",
            unsubscribe_url: "https://news.example.org/u/0123456789abcdefghij",
            unsubscribe_mailbox: "u-0123456789@bounces.news.example.org",
            feedback_id: "c:w:marketing:postrider",
        }),
    };
    let mut out = Vec::new();
    prepared.render(&view, &facts, &mut out).expect("rendered");
    out
}
