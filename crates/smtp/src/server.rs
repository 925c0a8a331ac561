//! The server's side of an SMTP session: grammar, order of commands, limits, TLS and login.
//!
//! What is accepted, refused, stored or simulated is a [`Handler`]'s business; this module only keeps the rules of
//! RFC 5321 around it. Knows no queue, no account and no campaign.

mod answer;
mod input;
mod lines;
mod login;
pub mod proxy;
mod session;
mod settings;

use std::future::Future;

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;

use crate::dial::BoxStream;

pub use answer::{Act, Answer};
pub use settings::{AuthOffer, Limits, Offer, SessionConfig};

/// Whom a RCPT names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A mailbox.
    Mailbox(Mailbox),
    /// `<postmaster>` without a domain (RFC 5321 4.5.1).
    Postmaster,
}

/// With which verb a client greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// HELO: no extension is in force.
    Helo,
    /// EHLO.
    Ehlo,
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
/// A refusal is an [`Answer`] with a 4yz or 5yz reply; the session keeps track of what was accepted. Most methods
/// have a default that accepts.
///
/// A transaction begins with a MAIL that [`Handler::mail`] accepted and ends with one [`Handler::reset`], on
/// whatever way it is left.
pub trait Handler: Send {
    /// The connection stands; what is the greeting?
    fn greeting(&mut self, config: &SessionConfig) -> impl Future<Output = Answer> + Send {
        let line = format!("220 {} ESMTP", config.name);
        async move { Answer::line(line) }
    }

    /// EHLO or HELO came; an open transaction was reset before. The default writes the offer; an [`Answer`] here
    /// stands in its place.
    fn hello(&mut self, _client: &str, _verb: Hello) -> impl Future<Output = Option<Answer>> + Send {
        async { None }
    }

    /// STARTTLS came. The default goes on to the handshake; an [`Answer`] here stands in its place.
    fn starttls(&mut self) -> impl Future<Output = Option<Answer>> + Send {
        async { None }
    }

    /// TLS stands, by STARTTLS or from the first byte. What was said before, a login included, counts no more
    /// (RFC 3207 4.2).
    fn secured(&mut self, _version: &str, _cipher: &str) {}

    /// AUTH came through with these words. A 235 logs in; a 5yz is a failed login and counts against
    /// [`Limits::failed_logins`]. May take its time: a delay here is what slows guessing down.
    fn login(&mut self, _account: &str, _password: &str) -> impl Future<Output = Answer> + Send {
        async { Answer::line("535 5.7.8 Authentication credentials invalid") }
    }

    /// MAIL; `None` is the null reverse-path. The parameters are such as were offered.
    fn mail(&mut self, reverse_path: Option<Mailbox>, params: MailParams) -> impl Future<Output = Answer> + Send;

    /// RCPT. The parameters are such as were offered.
    fn rcpt(&mut self, recipient: Recipient, params: RcptParams) -> impl Future<Output = Answer> + Send;

    /// DATA or the first BDAT, with at least one recipient accepted. The default says 354. After a BDAT an answer
    /// that accepts is not said, and one that refuses ends the transaction.
    fn data(&mut self) -> impl Future<Output = Answer> + Send {
        async { Answer::line("354 End data with <CR><LF>.<CR><LF>") }
    }

    /// The next bytes of the message, without dot-stuffing, never more than the offered size in all (and the CRLF that
    /// the last line of a BDAT may lack). They hold no NUL and no bare CR or LF; the last of them end with CRLF. A call
    /// may end between CR and LF. A message that breaks these rules later is never told as whole: wait for
    /// [`Handler::message`].
    fn chunk(&mut self, bytes: &[u8]) -> Flow;

    /// The final dot or BDAT LAST came and the message was whole; a 2yz takes responsibility for it, so it must be
    /// durable by then.
    fn message(&mut self, size: u64) -> impl Future<Output = Answer> + Send;

    /// The transaction is over: forget its envelope and bytes. Called once for each MAIL that was accepted: after
    /// [`Handler::message`], by RSET, EHLO, STARTTLS, a message that broke a rule, or the end of the session, also
    /// when the session's future is dropped half-way.
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
    /// The listener drains (421 4.3.2).
    Drained,
}

/// Runs one session to its end.
pub async fn serve<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    session::run(stream, config, handler).await
}

/// Runs one session with TLS from the first byte (RFC 8314).
pub async fn serve_implicit_tls<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    session::run_implicit_tls(stream, config, handler).await
}
