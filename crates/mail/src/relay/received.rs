//! The Received field that every hop puts in front (RFC 5321 4.4). Must not know sessions: facts come in, text goes out.

use std::net::IpAddr;

use crate::header;
use crate::mailbox::{DomainName, Mailbox};

/// By which protocol a message came (RFC 3848, RFC 6531 4.3, and HTTP of the registry of mail transmission types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// HELO.
    Smtp,
    /// EHLO.
    Esmtp,
    /// EHLO and TLS.
    Esmtps,
    /// EHLO and AUTH.
    Esmtpa,
    /// EHLO, TLS and AUTH.
    Esmtpsa,
    /// SMTPUTF8.
    Utf8Smtp,
    /// SMTPUTF8 and TLS.
    Utf8Smtps,
    /// SMTPUTF8 and AUTH.
    Utf8Smtpa,
    /// SMTPUTF8, TLS and AUTH.
    Utf8Smtpsa,
    /// Our API.
    Http,
}

impl With {
    /// The word of the registry.
    pub const fn as_str(self) -> &'static str {
        match self {
            With::Smtp => "SMTP",
            With::Esmtp => "ESMTP",
            With::Esmtps => "ESMTPS",
            With::Esmtpa => "ESMTPA",
            With::Esmtpsa => "ESMTPSA",
            With::Utf8Smtp => "UTF8SMTP",
            With::Utf8Smtps => "UTF8SMTPS",
            With::Utf8Smtpa => "UTF8SMTPA",
            With::Utf8Smtpsa => "UTF8SMTPSA",
            With::Http => "HTTP",
        }
    }
}

/// What the field tells.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedFacts<'a> {
    /// What the client called itself in EHLO; the name of the key for HTTP. Anything may stand here.
    pub from: &'a str,
    /// Where it came from; `None` for a socket or where the setting hides it.
    pub from_ip: Option<IpAddr>,
    /// The name of that address, if it was looked up and confirmed.
    pub from_name: Option<&'a DomainName>,
    /// This host.
    pub by: &'a DomainName,
    /// The protocol.
    pub with: With,
    /// The code that was answered with 250 or 202.
    pub id: &'a str,
    /// The recipient when there is exactly one: others must not be told (RFC 5321 7.2).
    pub for_mailbox: Option<&'a Mailbox>,
    /// When it was accepted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The whole field with its CRLF, folded, seven bits only.
pub fn received(facts: &ReceivedFacts<'_>) -> String {
    let mut out = String::with_capacity(256);
    out.push_str("Received: from ");
    out.push_str(&token(facts.from, 255));
    let name = facts.from_name.map(|name| name.as_str());
    match (name, facts.from_ip) {
        (Some(name), Some(ip)) => out.push_str(&format!("\r\n ({name} {})", literal(ip))),
        (Some(name), None) => out.push_str(&format!("\r\n ({name})")),
        (None, Some(ip)) => out.push_str(&format!("\r\n ({})", literal(ip))),
        (None, None) => {}
    }
    out.push_str("\r\n by ");
    out.push_str(facts.by.as_str());
    out.push_str(" with ");
    out.push_str(facts.with.as_str());
    out.push_str(" id ");
    out.push_str(&token(facts.id, 100));
    // A UTF-8 mailbox may stand in a message with SMTPUTF8 only; nobody needs it here.
    if let Some(mailbox) = facts.for_mailbox.filter(|mailbox| !mailbox.needs_smtputf8()) {
        out.push_str("\r\n for <");
        out.push_str(&mailbox.wire());
        out.push('>');
    }
    out.push_str(";\r\n ");
    out.push_str(&header::date(facts.at_ms));
    out.push_str("\r\n");
    out
}

/// Only what can neither end the field nor open a comment.
fn token(text: &str, longest: usize) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':' | '/');
    let safe: String = text.chars().take(longest).map(|c| if fits(c) { c } else { '?' }).collect();
    if safe.is_empty() { "unknown".to_owned() } else { safe }
}

/// RFC 5321 4.1.3.
fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => format!("[{ip}]"),
            None => format!("[IPv6:{ip}]"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_cannot_be_broken() {
        let (by, name) = (DomainName::parse("relay.example").unwrap(), DomainName::parse("app.example").unwrap());
        let ann = Mailbox::parse("ann@example.org").unwrap();
        let facts = ReceivedFacts {
            from: "app1",
            from_ip: Some("192.0.2.1".parse().unwrap()),
            from_name: Some(&name),
            by: &by,
            with: With::Esmtpsa,
            id: "79/BC-1",
            for_mailbox: Some(&ann),
            at_ms: 0,
        };
        assert_eq!(
            received(&facts),
            "Received: from app1\r\n (app.example [192.0.2.1])\r\n by relay.example with ESMTPSA id 79/BC-1\r\n for \
             <ann@example.org>;\r\n Thu, 01 Jan 1970 00:00:00 +0000\r\n"
        );
        let hostile = ReceivedFacts {
            from: "x\r\nBcc: (\u{e9});",
            from_ip: Some("::1".parse().unwrap()),
            from_name: None,
            with: With::Http,
            id: "",
            for_mailbox: None,
            ..facts
        };
        assert_eq!(
            received(&hostile),
            "Received: from x??Bcc:?????\r\n ([IPv6:::1])\r\n by relay.example with HTTP id unknown;\r\n Thu, 01 Jan 1970 \
             00:00:00 +0000\r\n"
        );
    }
}
