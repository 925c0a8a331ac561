//! How long the client waits at each step.

use std::time::Duration;

/// The longest waits of a client, one for each step (RFC 5321 4.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP handshake; the engine hands it to its dialer.
    pub connect: Duration,
    /// For the TLS handshake.
    pub tls: Duration,
    /// For the greeting (RFC 5321 4.5.3.2.1).
    pub greeting: Duration,
    /// For the reply to EHLO, HELO and STARTTLS.
    pub ehlo: Duration,
    /// For each reply within AUTH.
    pub auth: Duration,
    /// For the reply to MAIL (4.5.3.2.2).
    pub mail: Duration,
    /// For the reply to RCPT (4.5.3.2.3).
    pub rcpt: Duration,
    /// For the reply to DATA (4.5.3.2.4).
    pub data: Duration,
    /// For the peer to take in each 64 KiB of the message (4.5.3.2.5).
    pub block: Duration,
    /// For the reply to the final dot (4.5.3.2.6). Shortening it makes duplicates.
    pub dot: Duration,
    /// For the reply to QUIT; nothing depends on it.
    pub quit: Duration,
}

impl Timeouts {
    /// The waits that RFC 5321 4.5.3.2 asks for.
    pub const fn rfc5321() -> Self {
        const MINUTE: u64 = 60;
        Self {
            connect: Duration::from_secs(30),
            tls: Duration::from_secs(MINUTE),
            greeting: Duration::from_secs(5 * MINUTE),
            ehlo: Duration::from_secs(5 * MINUTE),
            auth: Duration::from_secs(2 * MINUTE),
            mail: Duration::from_secs(5 * MINUTE),
            rcpt: Duration::from_secs(5 * MINUTE),
            data: Duration::from_secs(2 * MINUTE),
            block: Duration::from_secs(3 * MINUTE),
            dot: Duration::from_secs(10 * MINUTE),
            quit: Duration::from_secs(2),
        }
    }

    /// The same wait at each step: for a rehearsal. QUIT still waits two seconds at most.
    pub fn all(wait: Duration) -> Self {
        Self {
            connect: wait,
            tls: wait,
            greeting: wait,
            ehlo: wait,
            auth: wait,
            mail: wait,
            rcpt: wait,
            data: wait,
            block: wait,
            dot: wait,
            quit: wait.min(Self::rfc5321().quit),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::rfc5321()
    }
}
