//! Prints what one message costs to render: `cargo run --release -p postrider-content --example render_cost`.
//!
//! A 40 KB marketing message with 11 slots and 20 links, and the same with a condition, a loop and filters; then the
//! templates that cost most until they are stopped (SEC-22).

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use postrider_content::{CompileInput, ListFacts, MessageFacts, Prepared, RecipientView, Sender, compile};
use postrider_domain::campaign::Draft;
use postrider_domain::id::DeliveryId;
use postrider_domain::stream::Stream;
use postrider_mail::Mailbox;

const ROUNDS: u32 = 20_000;

fn main() {
    let sender = Sender {
        controller_name: "Example Ltd".into(),
        postal_address: "1 Main Street\n12345 Town".into(),
        privacy_url: "https://example.org/privacy".into(),
    };
    let attributes: BTreeSet<String> = ["first_name", "city", "order_id", "score"].map(str::to_owned).into();
    for (name, extra) in [
        ("slots only", ""),
        (
            "with condition, loop and filters",
            "<p>{% if score|int > 3 %}Thanks, {{ first_name|upper|truncate(20) }}!{% else %}Hello.{% endif %}</p>\
             <ul>{% for item in ['one', 'two', 'three'] %}<li>{{ loop.index }}: {{ item }} {{ city }}</li>{% endfor %}</ul>",
        ),
    ] {
        let draft = Draft {
            from_mailbox: "news@example.org".into(),
            from_name: "Example".into(),
            subject: "News for {{ first_name|default('you') }} in {{ city|default('town') }}".into(),
            preheader: "What is new this week".into(),
            body: body(extra),
            ..Draft::default()
        };
        let started = cpu();
        let compilation = compile(&CompileInput {
            draft: &draft,
            stream: Stream::Marketing,
            sender: &sender,
            attributes: &attributes,
        });
        let compile_ms = (cpu() - started).as_secs_f64() * 1e3;
        let Some(compiled) = compilation.compiled else {
            println!("{name}: not compiled: {:#?}", compilation.findings);
            continue;
        };
        let stored = compiled.to_bytes().len();
        let prepared = Prepared::new(compiled).expect("just compiled");
        let mailbox = Mailbox::parse("anna@example.com").expect("a plain mailbox");
        let vars =
            serde_json::json!({ "first_name": "Änne & Söhne", "city": "Kraków", "order_id": "A/77", "score": 5 });
        let vars = vars.as_object().expect("an object");
        let recipient = RecipientView {
            mailbox: &mailbox,
            vars,
            unsubscribe_url: "https://m.example.org/u/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
            preferences_url: "https://m.example.org/p/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
            hosted_url: None,
        };
        let list = ListFacts {
            list_id: "news.1.example.org",
            unsubscribe_url: recipient.unsubscribe_url,
            unsubscribe_mailbox: "u-aaaaaaaaaaaaaaaaaaaaaaaaaa@m.example.org",
            feedback_id: "cmp_1:wsp_1:marketing:postrider",
        };
        let mut out = Vec::new();
        let mut best = f64::MAX;
        for _ in 0..5 {
            let started = cpu();
            for delivery in 0..ROUNDS {
                let facts = MessageFacts {
                    delivery: DeliveryId(i64::from(delivery)),
                    message_id: "<d.aaaaaaaaaaaaaaaa@m.example.org>",
                    date_ms: 1_790_000_000_000,
                    list: Some(list),
                };
                out.clear();
                prepared.render(black_box(&recipient), &facts, &mut out).expect("it renders");
                black_box(&out);
            }
            best = best.min((cpu() - started).as_secs_f64() * 1e6 / f64::from(ROUNDS));
        }
        println!(
            "{name}: {best:.1} us of CPU a message of {} bytes (compiled in {compile_ms:.1} ms, stored {stored} bytes)",
            out.len()
        );
    }
    print_bombs(&sender, &attributes);
}

/// Time that this thread was on a processor: other work on the machine does not count.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps it");
    Duration::from_nanos(
        text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("it begins with a number"),
    )
}

/// What the templates cost that use their bounds up, compiling and one rendering together.
fn print_bombs(sender: &Sender, attributes: &BTreeSet<String>) {
    let long = "x".repeat(1_900);
    let chains: String =
        (0..3_900).map(|number| format!("{{% set v{number} = a ~ a ~ a ~ a ~ a ~ a ~ a %}}")).collect();
    let loops = "{% for i in range(1000) %}{% for j in range(1000) %}";
    let ends = "{% endfor %}{% endfor %}";
    for (name, body) in [
        ("loops", format!("{loops}{{{{ j }}}}{ends}")),
        ("raw text in loops", format!("{loops}{long}{ends}")),
        ("case work", format!("{{% set a = '{long}' %}}{loops}{{{{ (a|upper|lower|title)|length }}}}{ends}")),
        ("search work", format!("{{% set a = '{long}' %}}{loops}{{% if 'xxxxy' in a %}}q{{% endif %}}{ends}")),
        ("many values", format!("{{% set a = '{long}' %}}{chains}")),
        (
            "few rules, many elements",
            format!("<style>{}</style>{}", ".a b > p:not(.x) ~ i{color:red}".repeat(190), "<p>x</p>".repeat(9_900)),
        ),
        ("many entities", "&#38;".repeat(100_000)),
        ("end tags", "</p>".repeat(100_000)),
        ("open elements", "<b>".repeat(16) + &"<p>x".repeat(9_900)),
    ] {
        let draft = Draft {
            from_mailbox: "news@example.org".into(),
            subject: "x".into(),
            body: format!("<div>{body}</div>"),
            ..Draft::default()
        };
        let started = cpu();
        let compilation = compile(&CompileInput { draft: &draft, stream: Stream::Transactional, sender, attributes });
        let took = cpu() - started;
        let worst = compilation.findings.first().map_or("no finding", |finding| finding.code.as_str());
        println!("bomb, {name}: {took:.1?} ({worst})");
    }
}

fn body(extra: &str) -> String {
    let mut body = String::from(
        "<html><head><style>p{color:#333;font-size:15px}a{color:#06c}@media(max-width:600px){p{font-size:17px}}</style></head><body>\n<p>Dear {{ first_name|default('friend') }},</p>\n",
    );
    for number in 0..20 {
        body.push_str(&format!(
            "<h2>Story {number}</h2>\n<p>{} — žluťoučký kůň.</p>\n<p><a href=\"https://example.org/story/{number}?o=1\">Read on</a></p>\n",
            "The quick brown fox jumps over the lazy dog and runs away. ".repeat(26)
        ));
        if number % 3 == 0 {
            body.push_str("<p>For {{ city|default('your town') }}: <a href=\"https://example.org/o/{{ order_id|default('0') }}\">order</a></p>\n");
        }
    }
    body.push_str(extra);
    body.push_str("</body></html>\n");
    body
}
