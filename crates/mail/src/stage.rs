//! The steps of one delivery attempt, in the order in which they happen.
//!
//! Must not know what a reply at a stage means for the recipient: that is a rule of the domain crate.

/// The step of an attempt at which something was answered or went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Looking up MX and address records.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake, implicit or after STARTTLS.
    Tls,
    /// Waiting for the 220 greeting (RFC 5321 3.1).
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// AUTH (RFC 4954).
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// The DATA command, up to its 354.
    Data,
    /// The message and its final dot, up to the reply that takes responsibility.
    Dot,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 10] = [
        Stage::Resolve,
        Stage::Connect,
        Stage::Tls,
        Stage::Greeting,
        Stage::Ehlo,
        Stage::Auth,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Dot,
    ];

    /// The name that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Greeting => "greeting",
            Stage::Ehlo => "ehlo",
            Stage::Auth => "auth",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Dot => "dot",
        }
    }

    /// The stage with this stored name, if there is one.
    pub fn parse(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_order_is_the_order_of_events() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
        assert!(Stage::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Stage::parse("DOT"), None);
        assert_eq!(Stage::parse(""), None);
    }
}
