//! The relay's way in, over real sockets: an application logs in, hands over a message, and it leaves signed; what is not
//! allowed is refused and seen; what was answered with 250 survives a kill.

use crate::harness::{Sim, Site, free_port, tail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A client that speaks SMTP line by line.
struct Client {
    reader: BufReader<TcpStream>,
    /// The last reply, all lines.
    last: String,
}

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the relay listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let mut client = Client { reader: BufReader::new(stream), last: String::new() };
        client.reply();
        client
    }

    fn reply(&mut self) -> u16 {
        self.last.clear();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a reply");
            self.last.push_str(&line);
            if line.len() < 4 || line.as_bytes()[3] != b'-' {
                return line.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            }
        }
    }

    fn say(&mut self, line: &str) -> u16 {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("written");
        self.reply()
    }

    /// EHLO and AUTH PLAIN.
    fn log_in(&mut self, credential: &Value) -> u16 {
        use base64::Engine as _;
        assert_eq!(self.say("EHLO app.test"), 250);
        let word = |name: &str| credential[name].as_str().expect("there").to_owned();
        let plain = format!("\0{}\0{}", word("username"), word("password"));
        self.say(&format!("AUTH PLAIN {}", base64::engine::general_purpose::STANDARD.encode(plain)))
    }

    /// One transaction; the code of the last reply, which stands in `last`.
    fn send(&mut self, from: &str, to: &[&str], subject: &str) -> u16 {
        assert_eq!(self.say("MAIL FROM:<bounces@app.test>"), 250, "{}", self.last);
        for mailbox in to {
            let code = self.say(&format!("RCPT TO:<{mailbox}>"));
            if code != 250 {
                self.say("RSET");
                return code;
            }
        }
        assert_eq!(self.say("DATA"), 354, "{}", self.last);
        self.say(&format!(
            "From: Shop <{from}>\r\nTo: someone@mail1.test\r\nBcc: secret@mail9.test\r\nSubject: {subject}\r\n\
             X-Clab-SmartRelay-DeliveryId: 77\r\nX-Postrider-Delivery-Label: Orders\r\n\r\nHello.\r\n..dot\r\n."
        ))
    }
}

fn until(what: &str, site: &Site, mut test: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !test() {
        assert!(Instant::now() < end, "waited in vain: {what}\n{}", tail(&site.log_text()));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn relay_site(sim: &Sim) -> (Site, u16) {
    let mut site = Site::new(sim, "");
    let port = free_port();
    site.set("POSTRIDER_SUBMISSION_LISTEN", &format!("127.0.0.1:{port}"));
    site.serve();
    site.furnish();
    (site, port)
}

/// The code at the end of a reply.
fn code(reply: &str) -> String {
    reply.trim().rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn an_application_hands_over_a_message_and_it_leaves_signed() {
    let sim = Sim::start(5, &[]);
    let (site, port) = relay_site(&sim);
    let credential = site.run(&["relay", "add", "shop", "--from-domain", "story.test", "--per-second", "0"]);
    let mut client = Client::connect(port);
    until("the credential", &site, || {
        client = Client::connect(port);
        client.last.starts_with("220") && client.log_in(&credential) == 235
    });
    let sent = client.send("shop@story.test", &["anna@mail1.test", "bert@mail2.test"], "Your order");
    assert_eq!(sent, 250, "{}", client.last);
    assert!(client.last.starts_with("250 2.0.0 OK msg_"), "{}", client.last);
    let code = code(&client.last);
    until("both arrive", &site, || sim.stat("accepted") == 2);
    let mut shown = Value::Null;
    until("both are accepted", &site, || {
        shown = site.run(&["relay", "show", &code]);
        shown["deliveries"].as_array().is_some_and(|d| d.len() == 2 && d.iter().all(|d| d["status"] == "SENT"))
    });
    assert_eq!(shown["subject"], "Your order");
    assert_eq!(shown["relay"]["delivery_type"], 77);
    assert_eq!(shown["relay"]["label"], "Orders");
    assert_eq!(shown["relay"]["reverse_path"], "bounces@app.test");

    // Another domain, a wrong password, a stranger's header: refused, and seen.
    assert_eq!(client.send("shop@other.test", &["anna@mail1.test"], "No"), 550, "{}", client.last);
    assert!(client.last.contains("5.7.1") && client.last.contains("other.test"), "{}", client.last);
    let mut wrong = Client::connect(port);
    let mut forged = credential.clone();
    forged["password"] = Value::from("wrong");
    assert_eq!(wrong.log_in(&forged), 535, "{}", wrong.last);
    assert_eq!(wrong.say("MAIL FROM:<a@b.test>"), 530, "{}", wrong.last);
    until("the error view", &site, || {
        let seen = site.run(&["relay", "refusals", "--strangers"]);
        let has = |reason: &str| seen.as_array().is_some_and(|rows| rows.iter().any(|row| row["reason"] == reason));
        has("from_domain") && has("login")
    });
    assert_eq!(sim.stat("messages"), 1, "only the first message left");
}

#[test]
fn what_was_answered_with_250_survives_a_kill_and_a_revoked_credential_holds_its_queue() {
    let sim = Sim::start(6, &[]);
    let (mut site, port) = relay_site(&sim);
    // An address alone, and nothing leaves while we hand over.
    site.run(&["queue", "suspend", "--everything", "--reason", "a trial"]);
    let words =
        ["relay", "add", "forwarder", "--address-alone", "--network", "127.0.0.0/8", "--from-domain", "story.test"];
    let credential = site.run(&[&words[..], &["--per-second", "0"]].concat());
    let mut client = Client::connect(port);
    until("the credential", &site, || {
        client = Client::connect(port);
        client.last.starts_with("220")
    });
    assert_eq!(client.say("EHLO app.test"), 250);
    let mut codes = Vec::new();
    for n in 0..40 {
        let sent =
            client.send("shop@story.test", &[&format!("person{n}@mail{}.test", n % 5 + 1)], &format!("Order {n}"));
        assert_eq!(sent, 250, "{}", client.last);
        codes.push(code(&client.last));
    }
    site.kill();
    site.serve();
    let kept = codes.iter().filter(|code| site.run(&["relay", "show", code])["deliveries"][0]["status"] != Value::Null);
    assert_eq!(kept.count(), codes.len(), "each message that was answered with 250 is there");

    let id = credential["id"].as_str().expect("an id");
    let revoked = site.run(&["relay", "revoke", id]);
    assert_eq!(revoked["held"], 40, "{revoked}");
    until("the door is closed", &site, || Client::connect(port).last.starts_with("554"));
    let open = site.run(&["queue", "rules"]);
    let rule = open[0]["id"].as_str().expect("the rule that suspends").to_owned();
    site.run(&["queue", "resume", &rule]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sim.stat("messages"), 0, "what a revoked credential handed over is held");
}
