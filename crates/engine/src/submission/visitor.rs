//! One session: what each command of a client is answered (RFC 5321, RFC 6409, RFC 4954).
//!
//! The order of commands, the grammar and TLS are the session's matter; here is who may do what. The transaction is one
//! value that is dropped at each exit.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postrider_domain::relay::{RecipientMode, RefusedFor};
use postrider_mail::Mailbox;
use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::relay::With;
use postrider_smtp::server::{Answer, Flow, Handler, Hello, Recipient, SessionConfig};
use postrider_store::relay_note::NewRelayNote;
use tokio::sync::OwnedSemaphorePermit;

use super::Security;
use super::desk::{Desk, Known};
use super::door::TooFast;
use super::take::{Arrived, Taken};

/// A client is kept waiting so long for its pace before it is told to come back, milliseconds.
const PATIENCE_MS: i64 = 5_000;
/// What a wrong login costs, times how many there were; milliseconds.
const SLOWER_MS: u64 = 500;
/// And at most.
const SLOWEST_MS: u64 = 5_000;
/// Room is taken in pieces of this size, bytes.
const PIECE: usize = 64 << 10;

/// A client of the relay.
pub(super) struct Visitor {
    desk: Arc<Desk>,
    client: IpAddr,
    security: Security,
    secured: bool,
    helo: String,
    extended: bool,
    logged_in: Option<Arc<Known>>,
    transaction: Option<Transaction>,
}

/// What MAIL and RCPT have said, and what has come of the message.
struct Transaction {
    known: Vec<Arc<Known>>,
    reverse_path: Option<Mailbox>,
    params: MailParams,
    recipients: Vec<(Mailbox, RcptParams)>,
    bytes: Vec<u8>,
    /// Room that the bytes take.
    room: Option<OwnedSemaphorePermit>,
    /// There was no room for all of it: what comes is thrown away, and the client comes back later.
    crowded: bool,
}

impl Visitor {
    pub(super) fn new(desk: Arc<Desk>, client: IpAddr, security: Security) -> Visitor {
        Visitor {
            desk,
            client,
            security,
            secured: security == Security::Implicit,
            helo: String::new(),
            extended: false,
            logged_in: None,
            transaction: None,
        }
    }

    /// Who may send: the credential that logged in, else those that the address opens.
    fn may_send(&self) -> Vec<Arc<Known>> {
        match &self.logged_in {
            // A password that was revoked since counts no more.
            Some(known) => self.desk.still(known).into_iter().collect(),
            None => self.desk.by_address(self.client),
        }
    }

    fn note(&self, known: Option<&Known>, reason: RefusedFor, detail: impl Into<String>, reply: &str) {
        self.desk.note(NewRelayNote {
            workspace: known.map(Known::workspace),
            credential: known.map(Known::id),
            reason,
            client: self.client.to_string(),
            detail: detail.into(),
            reply: reply.to_owned(),
        });
    }

    fn refuse(
        &self,
        known: Option<&Known>,
        reason: RefusedFor,
        detail: impl Into<String>,
        reply: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Answer {
        let reply = reply.into();
        self.note(known, reason, detail, &reply);
        Answer::line(reply)
    }

    /// How the message came, for its Received field (RFC 3848).
    fn with(&self, smtputf8: bool) -> With {
        if !self.extended {
            return With::Smtp;
        }
        match (smtputf8, self.secured, self.logged_in.is_some()) {
            (false, false, false) => With::Esmtp,
            (false, true, false) => With::Esmtps,
            (false, false, true) => With::Esmtpa,
            (false, true, true) => With::Esmtpsa,
            (true, false, false) => With::Utf8Smtp,
            (true, true, false) => With::Utf8Smtps,
            (true, false, true) => With::Utf8Smtpa,
            (true, true, true) => With::Utf8Smtpsa,
        }
    }

    /// Waits for the pace of whoever sends, a little.
    async fn pace(&self, known: &Known) -> Result<(), Answer> {
        let settings = known.settings();
        let mut waited = 0;
        loop {
            let now = self.desk.shared().monotonic();
            match self.desk.door().take(known.id(), settings.per_second, settings.per_hour, now) {
                Ok(()) => return Ok(()),
                Err(TooFast::Wait(ms)) if waited + ms <= PATIENCE_MS => {
                    waited += ms;
                    tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(1))).await;
                }
                Err(TooFast::Wait(_)) => {
                    let detail = format!("{} messages a second", settings.per_second);
                    return Err(self.refuse(
                        Some(known),
                        RefusedFor::Limit,
                        detail,
                        "451 4.7.1 Too many messages a second, try again later",
                    ));
                }
                Err(TooFast::Hour(ms)) => {
                    let detail = format!("{} messages an hour", settings.per_hour);
                    let reply = format!(
                        "451 4.7.1 The messages of this hour are used up, try again in {} minutes",
                        ms / 60_000 + 1
                    );
                    return Err(self.refuse(Some(known), RefusedFor::Limit, detail, reply));
                }
            }
        }
    }
}

impl Handler for Visitor {
    async fn greeting(&mut self, config: &SessionConfig) -> Answer {
        if !self.desk.is_listed(self.client) {
            self.note(None, RefusedFor::UnlistedClient, "no credential names this address", "554 5.7.1");
            return Answer::line_and_close("554 5.7.1 This host takes no mail from your address");
        }
        Answer::line(format!("220 {} ESMTP", config.name))
    }

    async fn hello(&mut self, client: &str, verb: Hello) -> Option<Answer> {
        self.helo = client.chars().take(255).collect();
        self.extended = verb == Hello::Ehlo;
        None
    }

    fn secured(&mut self, _version: &str, _cipher: &str) {
        self.secured = true;
        self.helo.clear();
        self.logged_in = None;
    }

    async fn login(&mut self, account: &str, password: &str) -> Answer {
        let now = self.desk.shared().monotonic();
        if let Some(left) = self.desk.door().locked(self.client, now) {
            let reply = format!("454 4.7.0 Too many wrong logins, try again in {} minutes", left / 60_000 + 1);
            return self.refuse(None, RefusedFor::Locked, "login", reply);
        }
        match self.desk.log_in(account, password) {
            Some(known) if known.admits(self.client) => {
                self.desk.door().right_login(self.client);
                self.logged_in = Some(known);
                Answer::line("235 2.7.0 Welcome")
            }
            Some(known) => {
                let reply = "535 5.7.8 This user name is not for your address";
                self.refuse(Some(&known), RefusedFor::UnlistedClient, "login from another network", reply)
            }
            None => {
                let wrong = self.desk.door().wrong_login(self.client, now);
                let slower = Duration::from_millis((SLOWER_MS * u64::from(wrong)).min(SLOWEST_MS));
                let reply = "535 5.7.8 User name or password is wrong";
                // Whose name it was is nobody's business but the administrator's, and it may be a password by mistake.
                self.refuse(None, RefusedFor::Login, "wrong user name or password", reply).after(slower)
            }
        }
    }

    async fn mail(&mut self, reverse_path: Option<Mailbox>, params: MailParams) -> Answer {
        let known = self.may_send();
        let Some(first) = known.first() else {
            return match self.security {
                Security::StartTls if !self.secured => Answer::line("530 5.7.0 Say STARTTLS and log in first"),
                Security::Clear | Security::StartTls | Security::Implicit => {
                    Answer::line("530 5.7.0 Authentication required")
                }
            };
        };
        if self.desk.is_full() {
            let reply = "452 4.3.1 No room for messages now, try again later";
            return self.refuse(Some(first), RefusedFor::Ours, "the disk is nearly full", reply);
        }
        if let Err(answer) = self.pace(first).await {
            return answer;
        }
        self.transaction = Some(Transaction {
            known,
            reverse_path,
            params,
            recipients: Vec::new(),
            bytes: Vec::new(),
            room: None,
            crowded: false,
        });
        Answer::line("250 2.1.0 Ok")
    }

    async fn rcpt(&mut self, recipient: Recipient, params: RcptParams) -> Answer {
        let client = self.client.to_string();
        let Some(transaction) = &mut self.transaction else { return Answer::line("503 5.5.1 Say MAIL first") };
        let mailbox = match recipient {
            Recipient::Mailbox(mailbox) => mailbox,
            Recipient::Postmaster => return Answer::line("550 5.1.2 Name the postmaster's domain"),
        };
        let most = transaction.known.iter().map(|known| match known.settings().recipients {
            RecipientMode::Split => known.settings().most_recipients,
            RecipientMode::Strict => 1,
        });
        if transaction.recipients.len() >= most.max().unwrap_or(1) as usize {
            let first = transaction.known.first();
            self.desk.note(NewRelayNote {
                workspace: first.map(|known| known.workspace()),
                credential: first.map(|known| known.id()),
                reason: RefusedFor::Limit,
                client,
                detail: "recipients of one message".to_owned(),
                reply: "452 4.5.3".to_owned(),
            });
            return Answer::line("452 4.5.3 Service unavailable, recipients per message limit reached");
        }
        // RFC 5321 4.1.1.3: naming somebody twice is no error; one delivery is enough.
        let norm = mailbox.normalised();
        if !transaction.recipients.iter().any(|(known, _)| known.normalised() == norm) {
            transaction.recipients.push((mailbox, params));
        }
        Answer::line("250 2.1.5 Ok")
    }

    fn chunk(&mut self, bytes: &[u8]) -> Flow {
        let Some(transaction) = &mut self.transaction else { return Flow::Close };
        if transaction.crowded {
            return Flow::Continue;
        }
        let wanted = transaction.bytes.len() + bytes.len();
        let held = transaction.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if wanted > held {
            let more = (wanted - held).next_multiple_of(PIECE);
            let permit =
                u32::try_from(more).ok().and_then(|n| Arc::clone(&self.desk.room).try_acquire_many_owned(n).ok());
            match (permit, &mut transaction.room) {
                (Some(permit), Some(room)) => room.merge(permit),
                (Some(permit), room) => *room = Some(permit),
                (None, room) => {
                    transaction.crowded = true;
                    transaction.bytes = Vec::new();
                    *room = None;
                    return Flow::Continue;
                }
            }
        }
        transaction.bytes.extend_from_slice(bytes);
        Flow::Continue
    }

    async fn message(&mut self, size: u64) -> Answer {
        let Some(transaction) = self.transaction.take() else { return Answer::line("503 5.5.1 Say MAIL first") };
        let first = transaction.known.first().cloned();
        if transaction.crowded {
            let reply = "452 4.3.1 Too much is coming in at once, try again later";
            return self.refuse(first.as_deref(), RefusedFor::Ours, "bytes on their way in", reply);
        }
        let arrived = Arrived {
            client: self.client,
            helo: &self.helo,
            with: self.with(transaction.params.smtputf8),
            known: &transaction.known,
            reverse_path: transaction.reverse_path.as_ref(),
            params: &transaction.params,
            recipients: &transaction.recipients,
            bytes: transaction.bytes,
            size,
        };
        match self.desk.take(arrived).await {
            Taken::Kept { id, known, ignored } => {
                for detail in ignored {
                    self.note(Some(&known), RefusedFor::Header, detail, "250 2.0.0 OK");
                }
                self.desk.used(known.id());
                Answer::line(format!("250 2.0.0 OK {id}"))
            }
            Taken::Refused { known, reason, detail, reply } => {
                self.refuse(known.or(first).as_deref(), reason, detail, reply)
            }
        }
    }

    fn reset(&mut self) {
        self.transaction = None;
    }
}
