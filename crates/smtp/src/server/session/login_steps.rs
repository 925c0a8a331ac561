//! AUTH: when it may come, and what follows from its end.

use super::super::login::{self, Login, Step};
use super::super::{AuthOffer, Handler};
use super::{Next, Session};

impl<H: Handler> Session<'_, H> {
    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Next {
        self.pipe().wipe();
        if self.config.offer.auth == AuthOffer::Never {
            return self.refuse("502 5.5.1 Command not offered");
        }
        if !self.may_log_in() {
            return self.refuse("538 5.7.11 Encryption is required for a login: say STARTTLS first");
        }
        if self.logged_in {
            return self.refuse("503 5.5.1 A login stands already");
        }
        if !self.offers(true) {
            return self.refuse("503 5.5.1 Say EHLO first");
        }
        if self.transaction.is_some() {
            return self.refuse("503 5.5.1 A transaction is open; AUTH comes before it");
        }
        let (step, login) = login::start(mechanism, initial);
        self.login_step(step, login).await
    }

    pub(super) async fn login_step(&mut self, step: Step, login: Option<Login>) -> Next {
        self.login = login;
        match step {
            Step::Ask(line) => self.say(&line),
            Step::Refuse(line) => self.refuse(line),
            Step::Malformed(error) => self.malformed(&error),
            Step::Complete(account, password) => {
                let answer = self.handler.login(&account, &password).await;
                self.logged_in = answer.accepts();
                let failed = answer.refuses_for_good();
                self.give(answer).await?;
                if failed {
                    self.failed_logins += 1;
                    if self.failed_logins >= self.config.limits.failed_logins {
                        return self.enough("421 4.7.0 Too many failed logins");
                    }
                }
                super::GO_ON
            }
        }
    }

    /// What MAIL is answered by a client that has to log in first; `None` when it need not.
    pub(super) fn login_missing(&self) -> Option<&'static str> {
        if self.logged_in {
            return None;
        }
        match self.config.offer.auth {
            AuthOffer::Never | AuthOffer::OptionalUnderTls | AuthOffer::OptionalEvenInClear => None,
            AuthOffer::RequiredUnderTls if !self.may_log_in() && self.config.offer.starttls => {
                Some("530 5.7.0 Say STARTTLS first, then log in with AUTH")
            }
            AuthOffer::RequiredUnderTls | AuthOffer::RequiredEvenInClear => Some("530 5.7.0 Authentication required"),
        }
    }
}
