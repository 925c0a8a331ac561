//! MAIL and RCPT: order, limits, and parameters of what was offered only.

use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;
use postrider_mail::request::Request;

use super::super::{Handler, Recipient};
use super::{Channel, Next, Session};

impl<H: Handler> Session<'_, H> {
    pub(super) async fn mail(&mut self, reverse_path: Option<Mailbox>, params: MailParams) -> Next {
        if self.is_draining() && self.transaction.is_none() {
            return self.drained();
        }
        if self.hello.is_none() {
            return self.refuse("503 5.5.1 Say EHLO first");
        }
        if let Some(line) = self.login_missing() {
            return self.refuse(line);
        }
        if self.transaction.is_some() {
            return self.refuse("503 5.5.1 A transaction is open already");
        }
        if let Some(line) = self.mail_param_not_offered(&params) {
            return self.refuse(line);
        }
        let limits = &self.config.limits;
        if limits.messages.is_some_and(|most| self.messages >= most) {
            return self.enough("421 4.7.0 Messages per session limit reached");
        }
        // RFC 1870 6.1: refused before it is sent.
        if let (Some(limit), Some(size)) = (self.config.offer.size, params.size)
            && size > limit
        {
            return self.refuse("552 5.3.4 Message is larger than this host takes");
        }
        let smtputf8 = params.smtputf8;
        let answer = self.handler.mail(reverse_path, params).await;
        if answer.accepts() {
            self.begin(smtputf8);
        }
        self.give(answer).await
    }

    pub(super) async fn rcpt(&mut self, recipient: Recipient, params: RcptParams) -> Next {
        let Some(transaction) = &self.transaction else {
            return self.refuse("503 5.5.1 Say MAIL first");
        };
        if transaction.chunks.is_some() {
            return self.refuse("503 5.5.1 RCPT comes before the first BDAT");
        }
        if transaction.recipients >= self.config.limits.recipients {
            // No error of the client, which may have many: what was accepted is to go its way.
            return self.say("452 4.5.3 Service unavailable, recipients per message limit reached");
        }
        if (params.notify.is_some() || params.orcpt.is_some()) && !self.offers(self.config.offer.dsn) {
            return self.refuse("555 5.5.4 DSN is not offered");
        }
        let answer = self.handler.rcpt(recipient, params).await;
        if answer.accepts()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.recipients += 1;
        }
        self.give(answer).await
    }

    fn mail_param_not_offered(&self, params: &MailParams) -> Option<&'static str> {
        let offer = &self.config.offer;
        let require_tls = offer.require_tls && self.channel == Channel::Tls;
        let asked = [
            (params.size.is_some(), offer.size.is_some(), "555 5.5.4 SIZE is not offered"),
            (params.body.is_some(), offer.eight_bit_mime, "555 5.5.4 8BITMIME is not offered"),
            (params.smtputf8, offer.smtputf8, "555 5.5.4 SMTPUTF8 is not offered"),
            (params.ret.is_some() || params.envid.is_some(), offer.dsn, "555 5.5.4 DSN is not offered"),
            (params.require_tls, require_tls, "555 5.5.4 REQUIRETLS is not offered"),
        ];
        asked.into_iter().find(|(asked, offered, _)| *asked && !self.offers(*offered)).map(|(_, _, line)| line)
    }

    /// RFC 6531 3.1: where bytes beyond ASCII may stand. What the client calls itself harms nobody.
    pub(super) fn may_be_utf8(&self, request: &Request) -> bool {
        match request {
            Request::Mail { params, .. } => params.smtputf8,
            Request::Rcpt { .. } | Request::RcptPostmaster { .. } => {
                self.transaction.as_ref().is_none_or(|transaction| transaction.smtputf8)
            }
            Request::Ehlo(_)
            | Request::Helo(_)
            | Request::Data
            | Request::Bdat { .. }
            | Request::Rset
            | Request::Noop
            | Request::Quit
            | Request::Vrfy
            | Request::Expn
            | Request::Help
            | Request::StartTls
            | Request::Auth { .. } => true,
        }
    }
}
