//! The state machine of one session.

mod message;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::request::{Request, RequestError};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::input::{Line, Pipe, Read};
use super::login::{self, Login, Step};
use super::{Act, Answer, AuthOffer, Ended, Handler, Recipient, SessionConfig};
use crate::dial::BoxStream;

/// Goes on, or ends the session.
type Next = ControlFlow<Ended>;

const GO_ON: Next = ControlFlow::Continue(());

pub(super) async fn run<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    Session::new(stream, config, handler, false).drive().await
}

pub(super) async fn run_implicit_tls<H: Handler>(stream: BoxStream, config: &SessionConfig, handler: &mut H) -> Ended {
    match secure(stream, config, handler).await {
        Some(stream) => Session::new(stream, config, handler, true).drive().await,
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

struct Session<'a, H> {
    /// `None` only while a TLS handshake has the stream.
    pipe: Option<Pipe>,
    config: &'a SessionConfig,
    handler: &'a mut H,
    under_tls: bool,
    greeted: bool,
    logged_in: bool,
    login: Option<Login>,
    transaction: Transaction,
    errors: u32,
    commands: u32,
}

/// How far the current transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    /// MAIL was accepted, and this many RCPT after it.
    Open {
        recipients: u32,
    },
}

impl<'a, H: Handler> Session<'a, H> {
    fn new(stream: BoxStream, config: &'a SessionConfig, handler: &'a mut H, under_tls: bool) -> Self {
        Self {
            pipe: Some(Pipe::new(stream, config.limits.write)),
            config,
            handler,
            under_tls,
            greeted: false,
            logged_in: false,
            login: None,
            transaction: Transaction::None,
            errors: 0,
            commands: 0,
        }
    }

    async fn drive(mut self) -> Ended {
        let answer = self.handler.greeting(self.config).await;
        let ended = match self.give(answer).await {
            (ControlFlow::Break(ended), _) => ended,
            // RFC 5321 3.1: after a 554 greeting the client may only say QUIT; this one is simply closed.
            (ControlFlow::Continue(()), false) => Ended::Closed,
            (ControlFlow::Continue(()), true) => self.dialogue().await,
        };
        self.handler.reset();
        if let Some(pipe) = self.pipe {
            pipe.close().await;
        }
        ended
    }

    async fn dialogue(&mut self) -> Ended {
        let mut deadline = Instant::now() + self.config.limits.idle;
        loop {
            let next = match self.pipe().line() {
                Line::Whole(line) => {
                    let next = self.line(&line).await;
                    deadline = Instant::now() + self.config.limits.idle;
                    next
                }
                Line::TooLong => self.malformed(&RequestError::TooLong),
                Line::Part => self.more(deadline).await,
            };
            if let ControlFlow::Break(ended) = next {
                return ended;
            }
        }
    }

    fn pipe(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("only the STARTTLS step takes the pipe, and it puts it back or ends")
    }

    /// Sends what was said and waits for more input.
    async fn more(&mut self, deadline: Instant) -> Next {
        self.flush().await?;
        match self.pipe().read(deadline).await {
            Read::More => GO_ON,
            Read::Closed => ControlFlow::Break(Ended::PeerClosed),
            Read::TimedOut => {
                self.pipe().say(b"421 4.4.2 Timeout, closing the connection\r\n");
                ControlFlow::Break(Ended::TimedOut)
            }
        }
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
            return self.login_step(step, login).await;
        }
        match Request::parse(line) {
            Ok(request) => self.request(request).await,
            Err(error) => self.malformed(&error),
        }
    }

    async fn request(&mut self, request: Request) -> Next {
        match request {
            Request::Ehlo(name) => self.hello(&name, true).await,
            Request::Helo(name) => self.hello(&name, false).await,
            Request::Mail { reverse_path, params } => self.mail(reverse_path, params).await,
            Request::Rcpt { forward_path, params } => self.rcpt(Recipient::Mailbox(forward_path), params).await,
            Request::RcptPostmaster { params } => self.rcpt(Recipient::Postmaster, params).await,
            Request::Data => self.data().await,
            Request::Rset => {
                self.clear();
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
            Request::Bdat { .. } | Request::Expn => self.refuse("502 5.5.1 Command not offered"),
        }
    }

    async fn hello(&mut self, name: &str, extended: bool) -> Next {
        if self.pipe().pending().is_empty() {
            self.clear(); // RFC 5321 4.1.4: EHLO resets like RSET
        } else {
            // RFC 2920 3.1: EHLO must be the last of a group.
            return self.enough("503 5.5.1 Commands sent before the reply to EHLO");
        }
        if extended && !self.config.offer.esmtp {
            return self.refuse("502 5.5.1 Command not offered");
        }
        if let Some(answer) = self.handler.hello(name).await {
            let (next, accepted) = self.give(answer).await;
            self.greeted |= accepted;
            return next;
        }
        self.greeted = true;
        if extended {
            let reply = self.ehlo_reply();
            self.pipe().say(reply.as_bytes());
            GO_ON
        } else {
            let line = format!("250 {}", self.config.name);
            self.say(&line)
        }
    }

    fn ehlo_reply(&self) -> String {
        let offer = &self.config.offer;
        let mut lines = vec![self.config.name.clone()];
        let mut offer_when = |offered: bool, keyword: &str| {
            if offered {
                lines.push(keyword.to_owned());
            }
        };
        offer_when(offer.pipelining, "PIPELINING");
        offer_when(offer.eight_bit_mime, "8BITMIME");
        offer_when(true, "ENHANCEDSTATUSCODES");
        offer_when(offer.smtputf8, "SMTPUTF8");
        offer_when(offer.starttls && !self.under_tls, "STARTTLS");
        offer_when(self.may_log_in(), "AUTH PLAIN LOGIN");
        if let Some(size) = offer.size {
            offer_when(true, &format!("SIZE {size}"));
        }
        let last = lines.len() - 1;
        let mut reply = String::with_capacity(160);
        for (index, line) in lines.iter().enumerate() {
            reply.push_str(if index == last { "250 " } else { "250-" });
            reply.push_str(line);
            reply.push_str("\r\n");
        }
        reply
    }

    fn may_log_in(&self) -> bool {
        match self.config.offer.auth {
            AuthOffer::Never => false,
            AuthOffer::RequiredUnderTls => self.under_tls,
            AuthOffer::RequiredEvenInClear => true,
        }
    }

    async fn starttls(&mut self) -> Next {
        if self.under_tls || !self.config.offer.starttls {
            return self.refuse("503 5.5.1 TLS is not offered now");
        }
        if !self.pipe().pending().is_empty() {
            // SEC-4: what follows in the same segment would be read as if it had come under TLS.
            return self.enough("503 5.5.1 Bytes sent behind STARTTLS");
        }
        if let Some(answer) = self.handler.starttls().await {
            return self.give(answer).await.0;
        }
        if self.config.tls.is_none() {
            return self.refuse("454 4.7.0 TLS is not available");
        }
        self.pipe().say(b"220 2.0.0 Ready to start TLS\r\n");
        self.flush().await?;
        let Some(pipe) = self.pipe.take() else { return ControlFlow::Break(Ended::Closed) };
        match secure(pipe.into_stream(), self.config, self.handler).await {
            Some(stream) => {
                // RFC 3207 4.2: all that was said before is forgotten.
                self.pipe = Some(Pipe::new(stream, self.config.limits.write));
                self.under_tls = true;
                self.greeted = false;
                self.logged_in = false;
                self.clear();
                GO_ON
            }
            None => ControlFlow::Break(Ended::TlsFailed),
        }
    }

    async fn auth(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Next {
        if !self.may_log_in() {
            return self.refuse("503 5.5.1 AUTH is not offered now");
        }
        if self.logged_in || !self.greeted || self.transaction != Transaction::None {
            return self.refuse("503 5.5.1 AUTH is not allowed now");
        }
        let (step, login) = login::start(mechanism, initial);
        self.login_step(step, login).await
    }

    async fn login_step(&mut self, step: Step, login: Option<Login>) -> Next {
        self.login = login;
        match step {
            Step::Ask(line) => self.say(&line),
            Step::Refuse(line) => self.refuse(line),
            Step::Malformed(error) => self.malformed(&error),
            Step::Complete(account, password) => {
                let answer = self.handler.login(&account, &password).await;
                let (next, accepted) = self.give(answer).await;
                self.logged_in = accepted;
                next
            }
        }
    }

    async fn mail(&mut self, reverse_path: Option<postrider_mail::Mailbox>, params: MailParams) -> Next {
        let offer = &self.config.offer;
        if !self.greeted {
            return self.refuse("503 5.5.1 Say EHLO first");
        }
        if offer.auth != AuthOffer::Never && !self.logged_in {
            return self.refuse("530 5.7.0 Authentication required");
        }
        if self.transaction != Transaction::None {
            return self.refuse("503 5.5.1 A transaction is open already");
        }
        if params.smtputf8 && !offer.smtputf8 {
            return self.refuse("555 5.5.4 SMTPUTF8 is not offered");
        }
        // RFC 1870 6.1: refused before it is sent.
        if let (Some(limit), Some(size)) = (offer.size, params.size)
            && size > limit
        {
            return self.refuse("552 5.3.4 Message is larger than this host takes");
        }
        let answer = self.handler.mail(reverse_path, params).await;
        let (next, accepted) = self.give(answer).await;
        if accepted {
            self.transaction = Transaction::Open { recipients: 0 };
        }
        next
    }

    async fn rcpt(&mut self, recipient: Recipient, params: RcptParams) -> Next {
        let Transaction::Open { recipients } = self.transaction else {
            return self.refuse("503 5.5.1 Say MAIL first");
        };
        if recipients >= self.config.limits.recipients {
            return self.refuse("452 4.5.3 Too many recipients");
        }
        let answer = self.handler.rcpt(recipient, params).await;
        let (next, accepted) = self.give(answer).await;
        if accepted {
            self.transaction = Transaction::Open { recipients: recipients + 1 };
        }
        next
    }

    fn clear(&mut self) {
        self.transaction = Transaction::None;
        self.handler.reset();
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
        let _ = self.say(line);
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
        self.count_error()
    }

    /// Says a line and closes.
    fn enough(&mut self, line: &str) -> Next {
        let _ = self.say(line);
        self.drop_now()
    }

    fn drop_now(&mut self) -> Next {
        self.pipe().discard();
        ControlFlow::Break(Ended::Closed)
    }

    /// Says nothing any more until the client goes or its time is over.
    async fn silence(&mut self) -> Next {
        let deadline = Instant::now() + self.config.limits.idle;
        self.flush().await?;
        loop {
            self.pipe().discard();
            match self.pipe().read(deadline).await {
                Read::More => {}
                Read::Closed => return ControlFlow::Break(Ended::PeerClosed),
                Read::TimedOut => return ControlFlow::Break(Ended::TimedOut),
            }
        }
    }

    /// Carries out a handler's answer. A refusal counts as no error of the client: it is the host's rule, and the
    /// handler may close when it has enough. The flag says whether the command was accepted (2yz or 3yz).
    async fn give(&mut self, answer: Answer) -> (Next, bool) {
        if !answer.after.is_zero() {
            if let next @ ControlFlow::Break(_) = self.flush().await {
                return (next, false);
            }
            tokio::time::sleep(answer.after).await;
        }
        match answer.act {
            Act::Line(line) => {
                let accepted = line.starts_with(['2', '3']);
                let _ = self.say(&line);
                (GO_ON, accepted)
            }
            Act::Reply(reply) => {
                let accepted = reply.is_positive() || reply.is_intermediate();
                let wire = reply.wire();
                self.pipe().say(&wire);
                (GO_ON, accepted)
            }
            Act::LineAndClose(line) => (self.enough(&line), false),
            Act::Raw(bytes) => {
                self.pipe().say(&bytes);
                (GO_ON, bytes.starts_with(b"2") || bytes.starts_with(b"3"))
            }
            Act::RawAndClose(bytes) => {
                self.pipe().say(&bytes);
                (self.drop_now(), false)
            }
            Act::Close => (self.drop_now(), false),
            Act::Silence => (self.silence().await, false),
        }
    }
}
