//! The server's side of an SMTP session: grammar, order of commands, limits, TLS and login.
//!
//! What is accepted, refused, stored or simulated is a [`Handler`]'s business; this module only keeps the rules of
//! RFC 5321 around it. Knows no queue, no account and no campaign.

mod answer;
mod input;
mod login;
mod session;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;

use crate::dial::BoxStream;

pub use answer::{Act, Answer};

/// What EHLO offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Extensions at all; without, EHLO is refused and HELO works.
    pub esmtp: bool,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: the largest message in bytes; larger ones get 552 5.3.4. `None` sets no limit of its own and
    /// offers no SIZE.
    pub size: Option<u64>,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 3207. Needs [`SessionConfig::tls`], unless the handler answers STARTTLS itself.
    pub starttls: bool,
    /// RFC 4954.
    pub auth: AuthOffer,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            esmtp: true,
            pipelining: true,
            size: Some(50 * 1024 * 1024),
            smtputf8: false,
            eight_bit_mime: true,
            starttls: false,
            auth: AuthOffer::Never,
        }
    }
}

/// When AUTH is offered and asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOffer {
    /// Not at all.
    Never,
    /// Under TLS; MAIL without a login gets 530 (RFC 6409 4.3).
    RequiredUnderTls,
    /// Also in clear: for a loopback listener. MAIL without a login gets 530.
    RequiredEvenInClear,
}

/// What a session puts up with (SEC-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long one command line, or silence before it, may take (RFC 5321 4.5.3.2.7: 5 minutes).
    pub idle: Duration,
    /// How long the client may take to read our replies.
    pub write: Duration,
    /// How long a TLS handshake may take.
    pub tls: Duration,
    /// Refused or malformed commands before 421 4.7.0.
    pub errors: u32,
    /// Commands in one session before 421 4.7.0.
    pub commands: u32,
    /// Recipients in one transaction (RFC 5321 4.5.3.1.8: at least 100).
    pub recipients: u32,
    /// After one minute of DATA, the bytes per second that must have come on average.
    pub slowest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            write: Duration::from_secs(60),
            tls: Duration::from_secs(60),
            errors: 10,
            commands: 1_000_000,
            recipients: 1_000,
            slowest: 128,
        }
    }
}

/// One listener's settings, shared by its sessions.
#[derive(Clone)]
pub struct SessionConfig {
    /// The name in the greeting and in the EHLO reply.
    pub name: String,
    /// What EHLO offers.
    pub offer: Offer,
    /// What a session puts up with.
    pub limits: Limits,
    /// The certificate for STARTTLS or implicit TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl SessionConfig {
    /// Settings of a plain MX host.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), offer: Offer::default(), limits: Limits::default(), tls: None }
    }
}

/// Whom a RCPT names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A mailbox.
    Mailbox(Mailbox),
    /// `<postmaster>` without a domain (RFC 5321 4.5.1).
    Postmaster,
}

/// What to do with the bytes of a message that are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Close the connection at once, without a reply.
    Close,
    /// Neither read nor answer any more, but stay connected until the client goes.
    Silence,
}

/// Decides. One value for each session; called in the order of the dialogue.
///
/// A refusal is an [`Answer`] with a 4yz or 5yz reply; the session keeps track of what was accepted. Each method
/// has a default that accepts.
pub trait Handler: Send {
    /// The connection stands; what is the greeting?
    fn greeting(&mut self, config: &SessionConfig) -> impl Future<Output = Answer> + Send {
        let line = format!("220 {} ESMTP", config.name);
        async move { Answer::line(line) }
    }

    /// EHLO or HELO came. The default writes the offer; an [`Answer`] here stands in its place.
    fn hello(&mut self, _client: &str) -> impl Future<Output = Option<Answer>> + Send {
        async { None }
    }

    /// STARTTLS came. The default goes on to the handshake; an [`Answer`] here stands in its place.
    fn starttls(&mut self) -> impl Future<Output = Option<Answer>> + Send {
        async { None }
    }

    /// TLS stands, by STARTTLS or from the first byte.
    fn secured(&mut self, _version: &str, _cipher: &str) {}

    /// AUTH came through with these words. A 235 logs in.
    fn login(&mut self, _account: &str, _password: &str) -> impl Future<Output = Answer> + Send {
        async { Answer::line("535 5.7.8 Authentication credentials invalid") }
    }

    /// MAIL; `None` is the null reverse-path.
    fn mail(&mut self, reverse_path: Option<Mailbox>, params: MailParams) -> impl Future<Output = Answer> + Send;

    /// RCPT.
    fn rcpt(&mut self, recipient: Recipient, params: RcptParams) -> impl Future<Output = Answer> + Send;

    /// DATA, with at least one recipient accepted. The default says 354.
    fn data(&mut self) -> impl Future<Output = Answer> + Send {
        async { Answer::line("354 End data with <CR><LF>.<CR><LF>") }
    }

    /// The next bytes of the message, without dot-stuffing.
    fn chunk(&mut self, bytes: &[u8]) -> Flow;

    /// The final dot came and the message was whole; a 2yz takes responsibility for it, so it must be durable by
    /// then.
    fn message(&mut self, size: u64) -> impl Future<Output = Answer> + Send;

    /// The transaction is over or was reset: forget its envelope and bytes.
    fn reset(&mut self);
}

/// How a session ended, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client said QUIT.
    Quit,
    /// The client closed the connection without QUIT.
    PeerClosed,
    /// We closed it: a limit, a broken rule, or the handler's wish.
    Closed,
    /// The client took too long.
    TimedOut,
    /// TLS did not come about.
    TlsFailed,
}

/// Runs one session to its end.
pub async fn serve<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    session::run(stream, config, handler).await
}

/// Runs one session with TLS from the first byte (RFC 8314).
pub async fn serve_implicit_tls<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    session::run_implicit_tls(stream, config, handler).await
}
