//! The state machine of one session.

mod chunks;
mod envelope;
mod hello;
mod login_steps;
mod message;
mod waiting;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use postrider_mail::request::{Request, RequestError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use self::chunks::Chunks;
use super::input::{Line, Pipe};
use super::login::{self, Login};
use super::{Act, Answer, Ended, Handler, Hello, Recipient, SessionConfig};
use crate::dial::BoxStream;

/// Goes on, or ends the session.
type Next = ControlFlow<Ended>;

const GO_ON: Next = ControlFlow::Continue(());

pub(super) async fn run<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    Session::new(stream, config, handler, Channel::Clear).drive().await
}

pub(super) async fn run_implicit_tls<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    match secure(stream, config, handler).await {
        Some(stream) => Session::new(stream, config, handler, Channel::Tls).drive().await,
        None => Ended::TlsFailed,
    }
}

async fn secure<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Option<BoxStream> {
    let acceptor = TlsAcceptor::from(Arc::clone(config.tls.as_ref()?));
    let stream = tokio::time::timeout(config.limits.tls, acceptor.accept(stream)).await.ok()?.ok()?;
    let session = stream.get_ref().1;
    let version = session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
    let cipher = session.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
    handler.secured(&version, &cipher);
    Some(Box::new(stream))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Clear,
    Tls,
}

struct Session<'a, H: Handler> {
    /// `None` only while a TLS handshake has the stream, and at the end.
    pipe: Option<Pipe>,
    config: &'a SessionConfig,
    handler: &'a mut H,
    drain: Option<watch::Receiver<bool>>,
    /// When the session must end whatever it does.
    ends: Option<Instant>,
    /// When a transaction that is still open in a listener that drains is cut off.
    grace_ends: Option<Instant>,
    channel: Channel,
    hello: Option<Hello>,
    logged_in: bool,
    login: Option<Login>,
    transaction: Option<Transaction>,
    /// A BDAT failed and its message is not over for the client: what still comes of it is thrown away (RFC 3030).
    chunk_failed: bool,
    failed_logins: u32,
    errors: u32,
    commands: u32,
    messages: u32,
    /// The client was told why it is closed, and should be able to read it.
    last_words: bool,
}

/// What stands between an accepted MAIL and the reset of the handler. Made in one place ([`Session::begin`]) and
/// taken away in one ([`Session::end`]).
struct Transaction {
    /// Accepted RCPT.
    recipients: u32,
    smtputf8: bool,
    /// BDAT so far; with it neither RCPT nor DATA may follow.
    chunks: Option<Chunks>,
}

impl<H: Handler> Drop for Session<'_, H> {
    /// Whatever ended the session, a dropped future included, no transaction stays open.
    fn drop(&mut self) {
        self.end();
    }
}

impl<'a, H: Handler> Session<'a, H> {
    fn new(stream: BoxStream, config: &'a SessionConfig, handler: &'a mut H, channel: Channel) -> Self {
        Self {
            pipe: Some(Pipe::new(stream, config.limits.write)),
            config,
            handler,
            drain: config.drain.clone(),
            ends: config.limits.session.map(|longest| Instant::now() + longest),
            grace_ends: None,
            channel,
            hello: None,
            logged_in: false,
            login: None,
            transaction: None,
            chunk_failed: false,
            failed_logins: 0,
            errors: 0,
            commands: 0,
            messages: 0,
            last_words: false,
        }
    }

    async fn drive(mut self) -> Ended {
        let ended = match self.converse().await {
            ControlFlow::Break(ended) => ended,
            // RFC 5321 3.1: after a 554 greeting the client may only say QUIT; this one is simply closed.
            ControlFlow::Continue(()) => Ended::Closed,
        };
        self.end();
        if let Some(mut pipe) = self.pipe.take() {
            if self.last_words { pipe.close_and_linger().await } else { pipe.close().await }
        }
        ended
    }

    async fn converse(&mut self) -> Next {
        if self.is_draining() {
            return self.drained();
        }
        let answer = self.handler.greeting(self.config).await;
        let accepted = answer.accepts();
        self.give(answer).await?;
        if !accepted {
            return GO_ON;
        }
        let mut deadline = Instant::now() + self.config.limits.idle;
        loop {
            match self.pipe().line() {
                Line::Whole(line) => {
                    self.line(&Zeroizing::new(line)).await?;
                    if self.pipe().is_full() {
                        self.flush().await?;
                    }
                    // Not before: single bytes of a line do not buy it more time.
                    deadline = Instant::now() + self.config.limits.idle;
                }
                Line::TooLong => self.malformed(&RequestError::TooLong)?,
                Line::Part => self.more(deadline).await?,
            }
        }
    }

    fn pipe(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("only the STARTTLS step takes the pipe, and it puts it back or ends")
    }

    async fn flush(&mut self) -> Next {
        match self.pipe().flush().await {
            Ok(()) => GO_ON,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => ControlFlow::Break(Ended::TimedOut),
            Err(_) => ControlFlow::Break(Ended::PeerClosed),
        }
    }

    async fn line(&mut self, line: &[u8]) -> Next {
        self.commands += 1;
        if self.commands > self.config.limits.commands {
            return self.enough("421 4.7.0 Too many commands in one session");
        }
        if let Some(login) = self.login.take() {
            let (step, login) = login::go_on(login, line);
            self.pipe().wipe();
            return self.login_step(step, login).await;
        }
        match Request::parse(line) {
            Ok(request) if !line.is_ascii() && !self.may_be_utf8(&request) => {
                self.refuse("553 5.6.7 An address that is not ASCII needs MAIL with SMTPUTF8")
            }
            Ok(request) => self.request(request).await,
            // RFC 3030: how many octets follow is unknown, and they would be read as commands.
            Err(error) if self.offers(self.config.offer.chunking) && is_bdat(line) => {
                let reply = error.reply().wire();
                self.pipe().say(&reply);
                self.drop_now()
            }
            Err(error) => self.malformed(&error),
        }
    }

    async fn request(&mut self, request: Request) -> Next {
        match request {
            Request::Ehlo(name) => self.hello(&name, Hello::Ehlo).await,
            Request::Helo(name) => self.hello(&name, Hello::Helo).await,
            Request::Mail { reverse_path, params } => self.mail(reverse_path, params).await,
            Request::Rcpt { forward_path, params } => self.rcpt(Recipient::Mailbox(forward_path), params).await,
            Request::RcptPostmaster { params } => self.rcpt(Recipient::Postmaster, params).await,
            Request::Data => self.data().await,
            Request::Bdat { size, last } => self.bdat(size, last).await,
            Request::Rset => {
                self.end();
                self.chunk_failed = false;
                self.say("250 2.0.0 Ok")
            }
            Request::Noop => self.say("250 2.0.0 Ok"),
            Request::Quit => {
                self.pipe().say(b"221 2.0.0 Bye\r\n");
                ControlFlow::Break(Ended::Quit)
            }
            // RFC 5321 7.3: says nothing about who has a mailbox.
            Request::Vrfy => self.say("252 2.1.5 Send some mail and see"),
            Request::Help => self.say("214 2.0.0 See RFC 5321"),
            Request::StartTls => self.starttls().await,
            Request::Auth { mechanism, initial } => self.auth(&mechanism, initial).await,
            Request::Expn => self.refuse("502 5.5.1 Command not offered"),
        }
    }

    /// Whether an extension that the listener offers is in force: after HELO none is.
    fn offers(&self, extension: bool) -> bool {
        extension && self.config.offer.esmtp && self.hello == Some(Hello::Ehlo)
    }

    /// The handler accepted MAIL.
    fn begin(&mut self, smtputf8: bool) {
        self.transaction = Some(Transaction { recipients: 0, smtputf8, chunks: None });
        self.chunk_failed = false;
        self.messages += 1;
    }

    /// The one way out of a transaction.
    fn end(&mut self) {
        if self.transaction.take().is_some() {
            self.handler.reset();
        }
    }

    /// Says a line of success.
    fn say(&mut self, line: &str) -> Next {
        let pipe = self.pipe();
        pipe.say(line.as_bytes());
        pipe.say(b"\r\n");
        GO_ON
    }

    /// Says a line of refusal, and counts it.
    fn refuse(&mut self, line: &str) -> Next {
        self.say(line)?;
        self.count_error()
    }

    fn count_error(&mut self) -> Next {
        self.errors += 1;
        if self.errors >= self.config.limits.errors {
            return self.enough("421 4.7.0 Too many errors");
        }
        GO_ON
    }

    fn malformed(&mut self, error: &RequestError) -> Next {
        let reply = error.reply().wire();
        self.pipe().say(&reply);
        if error.must_close() {
            return self.drop_now();
        }
        match error {
            // One of many recipients, say; the limit of commands holds for it.
            RequestError::Mailbox(_) => GO_ON,
            RequestError::LineEnd
            | RequestError::TooLong
            | RequestError::Text
            | RequestError::UnknownVerb
            | RequestError::Syntax(_)
            | RequestError::UnknownParameter
            | RequestError::Parameter(_)
            | RequestError::Base64
            | RequestError::AuthCancelled => self.count_error(),
        }
    }

    /// Says a line and closes.
    fn enough(&mut self, line: &str) -> Next {
        self.say(line)?;
        self.drop_now()
    }

    /// Closes after what was said.
    fn drop_now(&mut self) -> Next {
        self.last_words = true;
        self.leave()
    }

    /// Closes at once.
    fn leave(&mut self) -> Next {
        self.pipe().discard();
        ControlFlow::Break(Ended::Closed)
    }

    /// Carries out a handler's answer. A refusal counts as no error of the client: it is the host's rule, and the
    /// handler may close when it has enough.
    async fn give(&mut self, answer: Answer) -> Next {
        if !answer.after.is_zero() {
            self.flush().await?;
            tokio::time::sleep(answer.after).await;
        }
        match answer.act {
            Act::Line(line) => self.say(&line),
            Act::Reply(reply) => {
                let wire = reply.wire();
                self.pipe().say(&wire);
                GO_ON
            }
            Act::LineAndClose(line) => self.enough(&line),
            Act::Raw(bytes) => {
                self.pipe().say(&bytes);
                GO_ON
            }
            Act::RawAndClose(bytes) => {
                self.pipe().say(&bytes);
                self.leave()
            }
            Act::Close => self.leave(),
            Act::Silence => self.silence().await,
        }
    }
}

/// Whether the line was meant as BDAT.
fn is_bdat(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
        && line.get(4).is_none_or(|next| matches!(next, b' ' | b'\r'))
}
