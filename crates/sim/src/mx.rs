//! The simulated mail hosts: the handler of one session.

use std::sync::{Arc, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use postrider_mail::command::{MailParams, RcptParams};
use postrider_mail::mailbox::Mailbox;
use postrider_mail::stage::Stage;
use postrider_smtp::server::{Act, Answer, Flow, Handler, Recipient, SessionConfig};

use crate::behaviour::{Behaviour, Times};
use crate::journal::{Entry, now_ms};
use crate::keep::Kept;
use crate::place::{Manner, Place, Tls};
use crate::record::{hex, message_id};
use crate::shared::{Depth, Seen, Shared};
use crate::tally::Counter;

/// How much of a message is searched for its Message-ID.
const HEAD: usize = 16 * 1024;

/// One session at one place.
pub(crate) struct Visit {
    shared: Arc<Shared>,
    place: Place,
    /// How many connections are open at this place.
    here: Arc<Counter>,
    connection: u64,
    host: String,
    messages: u32,
    reverse_path: String,
    recipients: Vec<(String, Behaviour)>,
    slow: bool,
    head: Vec<u8>,
    hasher: Option<Context>,
    body: Vec<u8>,
}

impl Visit {
    pub(crate) fn new(shared: Arc<Shared>, place: Place, here: Arc<Counter>, host: String) -> Self {
        let connection = shared.tally.connections.enter();
        let open = shared.tally.open.enter();
        shared.tally.most_open.fetch_max(open, std::sync::atomic::Ordering::Relaxed);
        Self {
            shared,
            place,
            here,
            connection,
            host,
            messages: 0,
            reverse_path: String::new(),
            recipients: Vec::new(),
            slow: false,
            head: Vec::new(),
            hasher: None,
            body: Vec::new(),
        }
    }

    /// Delays an answer at a slow place or for a slow recipient, and counts a refusal.
    fn paced(&self, answer: Answer) -> Answer {
        let tally = &self.shared.tally;
        match &answer.act {
            Act::Line(line) | Act::LineAndClose(line) => match line.as_bytes().first() {
                Some(b'4') => tally.deferred.add(1),
                Some(b'5') => tally.rejected.add(1),
                Some(_) | None => {}
            },
            Act::Close | Act::Silence | Act::Raw(_) | Act::RawAndClose(_) => tally.broken.add(1),
            Act::Reply(_) => {}
        }
        if self.slow || self.place.manner == Manner::Slow { answer.after(self.shared.slow_reply) } else { answer }
    }

    fn traced(&self, stage: Stage, recipient: &str, answer: Answer) -> Answer {
        let Some(trace) = &self.shared.trace else { return answer };
        let reply = match &answer.act {
            Act::Line(line) | Act::LineAndClose(line) => line.to_string(),
            Act::Reply(reply) => format!("{} {}", reply.code, reply.text()),
            Act::Raw(_) | Act::RawAndClose(_) => "(broken reply)".to_owned(),
            Act::Close => "(closed)".to_owned(),
            Act::Silence => "(silence)".to_owned(),
        };
        let at_ms = now_ms();
        if let Some(journal) = &self.shared.journal {
            let entry = Entry {
                kind: stage.as_str(),
                at: at_ms,
                from: &self.reverse_path,
                to: recipient,
                message_id: None,
                sha256: None,
                size: None,
                reply: Some(&reply),
                connection: self.connection,
                host: &self.host,
            };
            if let Err(error) = journal.write(&entry) {
                tracing::error!(%error, "could not write the journal of the simulated world");
            }
        }
        let seen =
            Seen { at_ms, stage, reverse_path: self.reverse_path.clone(), recipient: recipient.to_owned(), reply };
        trace.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        answer
    }

    fn rcpt_answer(&mut self, recipient: &str, behaviour: Behaviour) -> Answer {
        let again = |kind| self.shared.another_try(kind, &self.reverse_path, recipient);
        let unless_over = |kind, times: Times, refusal: Answer| {
            if times.covers(again(kind).count) { refusal } else { ok() }
        };
        match behaviour {
            Behaviour::Greylist(wait) => {
                let tries = again("greylist");
                if tries.count > 1 && tries.first.elapsed() >= wait {
                    ok()
                } else {
                    Answer::line("451 4.7.1 Greylisted, please try again later")
                }
            }
            Behaviour::Defer(times) => {
                unless_over("defer", times, Answer::line("451 4.3.0 Temporary trouble, please try again later"))
            }
            Behaviour::Busy(times) => {
                unless_over("busy", times, Answer::line_and_close("421 4.3.2 This host is busy, closing"))
            }
            Behaviour::Unknown => Answer::line("550 5.1.1 No such mailbox here"),
            Behaviour::Disabled => Answer::line("550 5.2.1 This mailbox is disabled"),
            Behaviour::Full => Answer::line("552 5.2.2 This mailbox is full"),
            Behaviour::BlockRcpt => Answer::line("550 5.7.1 Your address is on a block list"),
            Behaviour::Slow => {
                self.slow = true;
                ok()
            }
            Behaviour::Multiline => {
                Act::Raw(b"250-2.1.5 Recipient\r\n250-2.1.5 is\r\n250 2.1.5 fine\r\n"[..].into()).into()
            }
            Behaviour::MixedCodes => Act::Raw(b"250-2.1.5 Recipient fine\r\n550 5.1.1 or not\r\n"[..].into()).into(),
            Behaviour::Accept
            | Behaviour::DeferDot(_)
            | Behaviour::Block354
            | Behaviour::BlockData
            | Behaviour::DropData(_)
            | Behaviour::DropDot(_)
            | Behaviour::KeepDot(_)
            | Behaviour::HangDot(_)
            | Behaviour::Mixed => ok(),
        }
    }

    /// What happens after the dot when everybody is content, or what the first of the others wants.
    fn dot_answer(&self) -> (Verdict, Option<Answer>) {
        for (recipient, behaviour) in &self.recipients {
            let covers =
                |kind, times: Times| times.covers(self.shared.another_try(kind, &self.reverse_path, recipient).count);
            match behaviour {
                Behaviour::DeferDot(times) if covers("defer-dot", *times) => {
                    return (Verdict::Forget, Some(Answer::line("451 4.3.0 Cannot store it now, try again later")));
                }
                Behaviour::BlockData => {
                    return (Verdict::Forget, Some(Answer::line("550 5.7.1 This message looks like spam")));
                }
                Behaviour::DropDot(times) if covers("drop-dot", *times) => {
                    return (Verdict::Forget, Some(Act::Close.into()));
                }
                Behaviour::KeepDot(times) if covers("keep-dot", *times) => {
                    return (Verdict::Keep, Some(Act::Close.into()));
                }
                Behaviour::HangDot(times) if covers("hang-dot", *times) => {
                    return (Verdict::Forget, Some(Act::Silence.into()));
                }
                // Those whose times are over, and those that act elsewhere.
                Behaviour::DeferDot(_)
                | Behaviour::DropDot(_)
                | Behaviour::KeepDot(_)
                | Behaviour::HangDot(_)
                | Behaviour::Accept
                | Behaviour::Greylist(_)
                | Behaviour::Defer(_)
                | Behaviour::Busy(_)
                | Behaviour::Unknown
                | Behaviour::Disabled
                | Behaviour::Full
                | Behaviour::BlockRcpt
                | Behaviour::Block354
                | Behaviour::Slow
                | Behaviour::DropData(_)
                | Behaviour::Multiline
                | Behaviour::MixedCodes
                | Behaviour::Mixed => {}
            }
        }
        (Verdict::Keep, None)
    }

    /// Remembers the message for each recipient; an error is the journal's.
    fn keep(&mut self, size: u64) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let copies = self.recipients.len() as u64;
        if shared.depth != Depth::CountOnly {
            let sha256 = match self.hasher.take() {
                Some(hasher) => hasher.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"),
                None => [0; 32],
            };
            let hexed = hex(&sha256);
            // A message without an id is told apart by its bytes.
            let id = message_id(&self.head).unwrap_or(&hexed);
            for (recipient, _) in &self.recipients {
                if let Some(journal) = &shared.journal {
                    journal.write(&Entry {
                        kind: "kept",
                        at: now_ms(),
                        from: &self.reverse_path,
                        to: recipient,
                        message_id: Some(id),
                        sha256: Some(&hexed),
                        size: Some(size),
                        reply: None,
                        connection: self.connection,
                        host: &self.host,
                    })?;
                }
                shared.record.keep(id, recipient, sha256);
            }
            if shared.shelf.wants_bodies() {
                let kept = Kept {
                    reverse_path: self.reverse_path.clone(),
                    recipients: self.recipients.iter().map(|(recipient, _)| recipient.clone()).collect(),
                    bytes: std::mem::take(&mut self.body),
                };
                shared.shelf.put(shared.tally.accepted.get() + 1, kept)?;
            }
        }
        shared.tally.accepted.add(copies);
        shared.tally.bytes.add(size);
        Ok(())
    }
}

/// Whether a message is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Forget,
}

fn ok() -> Answer {
    Answer::line("250 2.1.5 Ok")
}

impl Handler for Visit {
    async fn greeting(&mut self, config: &SessionConfig) -> Answer {
        let answer = match self.place.manner {
            Manner::BlockConnect => Answer::line_and_close("554 5.7.1 Your address is on a block list"),
            Manner::Never => Act::Silence.into(),
            Manner::Outage => Answer::line_and_close("421 4.3.2 This host is out of service"),
            Manner::DropConnect => Act::Close.into(),
            Manner::Limit(most) if self.here.get() > u64::from(most) => {
                Answer::line_and_close("421 4.7.0 Too many connections from you")
            }
            Manner::Flood => {
                let line = format!("220-{}\r\n", "x".repeat(1_000));
                Act::RawAndClose(line.repeat(1_000).into_bytes().into()).into()
            }
            Manner::Plain
            | Manner::BlockMail
            | Manner::Slow
            | Manner::Refused
            | Manner::Limit(_)
            | Manner::Close(_)
            | Manner::Exhaust(_)
            | Manner::Small
            | Manner::NoPipelining
            | Manner::HeloOnly
            | Manner::Utf8
            | Manner::Smarthost
            | Manner::SmarthostClear => Answer::line(format!("220 {} ESMTP simulated", config.name)),
        };
        self.paced(answer)
    }

    async fn starttls(&mut self) -> Option<Answer> {
        let bytes: &'static [u8] = match self.place.tls {
            Tls::None | Tls::SelfSigned | Tls::Trusted | Tls::Expired | Tls::WrongName => return None,
            Tls::Broken => b"220 2.0.0 Ready to start TLS\r\n\x15\x03\x03\x00\x02\x02\x28garbage",
            Tls::Refused => return Some(Answer::line("454 4.7.0 TLS is not available now")),
            Tls::Injected => b"220 2.0.0 Ready to start TLS\r\n250-injected\r\n250 AUTH PLAIN\r\n",
        };
        Some(Act::RawAndClose(bytes.into()).into())
    }

    fn secured(&mut self, _version: &str, _cipher: &str) {
        self.shared.tally.tls.add(1);
    }

    async fn login(&mut self, account: &str, password: &str) -> Answer {
        let login = &self.shared.login;
        self.paced(if account == login.account && password == login.password {
            Answer::line("235 2.7.0 Welcome")
        } else {
            Answer::line("535 5.7.8 Authentication credentials invalid")
        })
    }

    async fn mail(&mut self, reverse_path: Option<Mailbox>, _params: MailParams) -> Answer {
        self.shared.tally.transactions.add(1);
        let answer = if self.place.manner == Manner::BlockMail {
            Answer::line("550 5.7.1 Mail from your network is not accepted")
        } else if let Manner::Close(after) = self.place.manner
            && self.messages >= after
        {
            Answer::line_and_close("421 4.7.0 Too many messages in one connection")
        } else {
            self.reverse_path = reverse_path.map(|mailbox| mailbox.wire()).unwrap_or_default();
            Answer::line("250 2.1.0 Ok")
        };
        self.paced(answer)
    }

    async fn rcpt(&mut self, recipient: Recipient, _params: RcptParams) -> Answer {
        let (recipient, behaviour) = match recipient {
            Recipient::Postmaster => ("postmaster".to_owned(), Behaviour::Accept),
            Recipient::Mailbox(mailbox) => {
                let behaviour = self.shared.behaviour(&mailbox);
                (mailbox.wire(), behaviour)
            }
        };
        let answer = self.rcpt_answer(&recipient, behaviour);
        let answer = self.traced(Stage::Rcpt, &recipient, answer);
        if let Act::Line(line) = &answer.act
            && line.starts_with('2')
        {
            self.recipients.push((recipient, behaviour));
        } else if matches!(behaviour, Behaviour::Multiline) {
            self.recipients.push((recipient, behaviour));
            return answer; // a proper reply, if an odd one: not counted as broken
        }
        self.paced(answer)
    }

    async fn data(&mut self) -> Answer {
        if self.recipients.iter().any(|(_, behaviour)| *behaviour == Behaviour::Block354) {
            return self.paced(Answer::line("554 5.7.1 Mail from you is not wanted here"));
        }
        if self.shared.depth == Depth::Full {
            self.hasher = Some(Context::new(&SHA256));
        }
        self.paced(Answer::line("354 End data with <CR><LF>.<CR><LF>"))
    }

    fn chunk(&mut self, bytes: &[u8]) -> Flow {
        for (recipient, behaviour) in &self.recipients {
            if let Behaviour::DropData(times) = behaviour
                && self.head.is_empty() // counted once a message, at its first bytes
                && times.covers(self.shared.another_try("drop-data", &self.reverse_path, recipient).count)
            {
                self.shared.tally.broken.add(1);
                return Flow::Close;
            }
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        if self.head.len() < HEAD {
            self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD - self.head.len())]);
        }
        if self.shared.shelf.wants_bodies() {
            self.body.extend_from_slice(bytes);
        }
        Flow::Continue
    }

    async fn message(&mut self, size: u64) -> Answer {
        let (verdict, answer) = self.dot_answer();
        if verdict == Verdict::Keep
            && let Err(error) = self.keep(size)
        {
            tracing::error!(%error, "could not write the journal of the simulated world");
            return self.paced(Answer::line("451 4.3.1 The simulated world cannot write its journal"));
        }
        self.messages += 1;
        let exhausted = matches!(self.place.manner, Manner::Exhaust(after) if self.messages >= after);
        let answer = answer.unwrap_or_else(|| {
            if exhausted { Answer::line_and_close("250 2.0.0 Ok: kept") } else { Answer::line("250 2.0.0 Ok: kept") }
        });
        let answer = match self.recipients.first() {
            Some((recipient, _)) => self.traced(Stage::Dot, recipient, answer),
            None => answer,
        };
        self.paced(answer)
    }

    fn reset(&mut self) {
        self.reverse_path.clear();
        self.recipients.clear();
        self.slow = false;
        self.head.clear();
        self.hasher = None;
        self.body.clear();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.shared.tally.open.subtract(1);
        self.here.subtract(1);
    }
}
