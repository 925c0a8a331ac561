//! EHLO, HELO and STARTTLS: what is in force from then on.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use super::super::input::Pipe;
use super::super::{AuthOffer, Ended, Handler, Hello};
use super::{Channel, GO_ON, Next, Session, secure};

impl<H: Handler> Session<'_, H> {
    pub(super) async fn hello(&mut self, name: &str, verb: Hello) -> Next {
        if !self.pipe().pending().is_empty() {
            // RFC 2920 3.1: EHLO must be the last of a group.
            return self.enough("503 5.5.1 Commands sent before the reply to EHLO");
        }
        // RFC 5321 4.1.4: EHLO resets like RSET.
        self.end();
        self.chunk_failed = false;
        if verb == Hello::Ehlo && !self.config.offer.esmtp {
            return self.refuse("502 5.5.1 Command not offered");
        }
        if let Some(answer) = self.handler.hello(name, verb).await {
            if answer.accepts() {
                self.hello = Some(verb);
            }
            return self.give(answer).await;
        }
        self.hello = Some(verb);
        match verb {
            Hello::Ehlo => {
                let reply = self.ehlo_reply();
                self.pipe().say(reply.as_bytes());
                GO_ON
            }
            Hello::Helo => {
                let line = format!("250 {}", self.config.name);
                self.say(&line)
            }
        }
    }

    fn ehlo_reply(&self) -> String {
        let (offer, limits) = (&self.config.offer, &self.config.limits);
        let under_tls = self.channel == Channel::Tls;
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
        offer_when(offer.chunking, "CHUNKING");
        offer_when(offer.dsn, "DSN");
        offer_when(offer.starttls && !under_tls, "STARTTLS");
        offer_when(offer.require_tls && under_tls, "REQUIRETLS");
        offer_when(self.may_log_in(), "AUTH PLAIN LOGIN");
        if offer.limits {
            let mut line = format!("LIMITS RCPTMAX={}", limits.recipients);
            if let Some(messages) = limits.messages {
                let _ = write!(line, " MAILMAX={messages}");
            }
            offer_when(true, &line);
        }
        if let Some(size) = offer.size {
            offer_when(true, &format!("SIZE {size}"));
        }
        let last = lines.len() - 1;
        let mut reply = String::with_capacity(256);
        for (index, line) in lines.iter().enumerate() {
            reply.push_str(if index == last { "250 " } else { "250-" });
            reply.push_str(line);
            reply.push_str("\r\n");
        }
        reply
    }

    pub(super) fn may_log_in(&self) -> bool {
        match self.config.offer.auth {
            AuthOffer::Never => false,
            AuthOffer::OptionalUnderTls | AuthOffer::RequiredUnderTls => self.channel == Channel::Tls,
            AuthOffer::OptionalEvenInClear | AuthOffer::RequiredEvenInClear => true,
        }
    }

    pub(super) async fn starttls(&mut self) -> Next {
        if !self.pipe().pending().is_empty() {
            // SEC-4: what follows in the same segment would be read as if it had come under TLS.
            return self.enough("503 5.5.1 Bytes sent behind STARTTLS");
        }
        if !self.config.offer.starttls {
            return self.refuse("502 5.5.1 Command not offered");
        }
        if self.channel == Channel::Tls {
            return self.refuse("503 5.5.1 TLS is in force already");
        }
        if let Some(answer) = self.handler.starttls().await {
            return self.give(answer).await;
        }
        if self.config.tls.is_none() {
            return self.refuse("454 4.7.0 TLS is not available");
        }
        // RFC 3207 4.2: all that was said before is forgotten.
        self.end();
        self.chunk_failed = false;
        self.hello = None;
        self.logged_in = false;
        self.say("220 2.0.0 Ready to start TLS")?;
        self.flush().await?;
        let Some(pipe) = self.pipe.take() else { return ControlFlow::Break(Ended::Closed) };
        match secure(pipe.into_stream(), self.config, self.handler).await {
            Some(stream) => {
                self.pipe = Some(Pipe::new(stream, self.config.limits.write));
                self.channel = Channel::Tls;
                GO_ON
            }
            None => ControlFlow::Break(Ended::TlsFailed),
        }
    }
}
