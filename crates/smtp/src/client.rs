//! The client's side of one SMTP connection, as a value that the engine drives.
//!
//! ```text
//! Connection::open -> (begin -> finish)* -> quit
//!                            \-> abandon: closed without the dot
//! ```
//!
//! Between `begin` and the dot the caller has time to wait for its durable mark. Knows the dialogue; does not know
//! why a message is sent, when it is tried again, or what a refusal means for the recipient.

mod capabilities;
mod failure;
mod open;
mod timeouts;
mod transaction;
mod wire;

use std::net::IpAddr;

use postrider_mail::mailbox::Mailbox;
use postrider_mail::reply::Reply;
use postrider_mail::stage::Stage;
use zeroize::Zeroizing;

use crate::dial::BoxStream;
use crate::tls::{TlsClient, TlsInfo, TlsMode};
use wire::{Wire, WireError};

pub use capabilities::Capabilities;
pub use failure::{Failure, FailureKind, TlsFailure};
pub use timeouts::Timeouts;

/// A login at a smarthost (RFC 4954).
#[derive(Clone)]
pub struct Credentials {
    /// The account's name at the smarthost.
    pub account: String,
    /// Its password; wiped from memory when dropped.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What `Connection::open` needs to know beside the stream.
#[derive(Debug, Clone)]
pub struct OpenParams {
    /// The name that we say in EHLO: our FQDN (RFC 5321 4.1.1.1).
    pub ehlo_name: String,
    /// The peer's host name, for SNI and for the check of its certificate.
    pub host: String,
    /// The peer's address; a login in clear is allowed to a loopback address only.
    pub address: IpAddr,
    /// What is asked of TLS.
    pub tls: TlsMode,
    /// A login, when the peer is a smarthost that wants one.
    pub credentials: Option<Credentials>,
    /// How long to wait at each step.
    pub timeouts: Timeouts,
}

/// What one transaction carries (RFC 5321 2.3.1).
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Where reports go; `None` is the null reverse-path `<>`.
    pub reverse_path: Option<Mailbox>,
    /// The recipient.
    pub forward_path: Mailbox,
    /// The message's size in bytes before dot-stuffing, for SIZE (RFC 1870).
    pub size: u64,
    /// The message's own header needs SMTPUTF8. The mailboxes' need is found out without this.
    pub smtputf8: bool,
    /// The message may go only where every further host keeps to TLS (RFC 8689).
    pub require_tls: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("state", &self.state)
            .field("tls", &self.tls)
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}

/// One connection to a mail host, past greeting, EHLO, TLS and login.
pub struct Connection {
    wire: Wire,
    timeouts: Timeouts,
    greeting: Reply,
    capabilities: Capabilities,
    tls: Option<TlsInfo>,
    declined_tls: bool,
    state: State,
    /// The last transaction was left half-way, so that RSET must come before the next MAIL.
    reset_first: bool,
    begun: u32,
    accepted: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next thing may be MAIL.
    Idle,
    /// The peer said 354 and waits for the message.
    Message,
    /// Part of the message was sent, without the dot.
    Body,
    /// Not usable any more.
    Dead,
}

impl Connection {
    /// Greets and is greeted, by EHLO or HELO, with TLS and login as asked. A failure closes the stream.
    pub async fn open(stream: BoxStream, params: &OpenParams, tls: &TlsClient) -> Result<Self, Failure> {
        open::open(stream, params, tls).await
    }

    /// Opens a transaction: MAIL, RCPT and DATA, in one write when the peer can pipeline (RFC 2920).
    /// `Ok` means that the peer waits for the message: go on with [`Connection::finish`] or
    /// [`Connection::abandon`].
    pub async fn begin(&mut self, envelope: &Envelope) -> Result<(), Failure> {
        transaction::begin(self, envelope).await
    }

    /// Sends the whole stuffed message with its final dot and waits for the reply that takes responsibility.
    /// `stuffed` comes from `postrider_mail::stuffing::stuff`. Until the dot has left, a failure is harmless;
    /// see [`Failure::in_doubt`].
    pub async fn finish(&mut self, stuffed: &[u8]) -> Result<Reply, Failure> {
        transaction::finish(self, stuffed).await
    }

    /// Sends the stuffed message without its final dot, so that a long message can be on its way while the caller
    /// still waits for its mark. Go on with [`Connection::dot`] or [`Connection::abandon`].
    pub async fn send_body_without_dot(&mut self, stuffed: &[u8]) -> Result<(), Failure> {
        transaction::send_body_without_dot(self, stuffed).await
    }

    /// Sends the final dot after [`Connection::send_body_without_dot`] and waits for the reply.
    pub async fn dot(&mut self) -> Result<Reply, Failure> {
        transaction::dot(self).await
    }

    /// Closes the connection without a dot: the peer must throw away what it has of the message
    /// (RFC 5321 4.1.1.4).
    pub fn abandon(self) {
        drop(self);
    }

    /// Says QUIT and waits briefly for 221. Whatever happens here changes no result (RFC 5321 3.8).
    pub async fn quit(mut self) {
        if self.state != State::Idle {
            return;
        }
        let within = self.timeouts.quit;
        if let Ok(line) = postrider_mail::command::Command::Quit.line()
            && self.wire.write(&line, within).await.is_ok()
        {
            let _ = self.wire.read_reply(within).await;
        }
        self.wire.shutdown(within).await;
    }

    /// The peer's 220 greeting.
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// What the peer offers now, after TLS if there is any.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What TLS agreed on, or `None` in clear.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Whether the peer offered STARTTLS and then refused it, so that the dialogue is in clear.
    pub fn declined_tls(&self) -> bool {
        self.declined_tls
    }

    /// Whether the next transaction may use this connection.
    pub fn is_usable(&self) -> bool {
        self.state == State::Idle
    }

    /// How many messages the peer has accepted on this connection.
    pub fn accepted(&self) -> u32 {
        self.accepted
    }

    /// Ends the connection's use and tells it as a failure.
    fn dead(&mut self, stage: Stage, kind: FailureKind) -> Failure {
        self.state = State::Dead;
        Failure { stage, kind, connection_usable: false, dot_sent: false }
    }
}

impl From<WireError> for FailureKind {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Closed => FailureKind::Closed,
            WireError::Timeout => FailureKind::Timeout,
            WireError::Protocol(text) => FailureKind::Protocol(text),
        }
    }
}

impl From<wire::WriteStop> for FailureKind {
    fn from(stop: wire::WriteStop) -> Self {
        match stop {
            wire::WriteStop::Closed | wire::WriteStop::PeerSpoke => FailureKind::Closed,
            wire::WriteStop::Timeout => FailureKind::Timeout,
        }
    }
}
