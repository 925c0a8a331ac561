//! DATA: from the command over the 354 to the reply to the dot (RFC 5321 4.1.1.4).

use std::time::Duration;

use postrider_mail::stuffing::Unstuffer;
use tokio::time::Instant;

use super::super::{Flow, Handler};
use super::{GO_ON, Next, Session, Transaction};

/// A message may come slower than `Limits::slowest` for this long.
const GRACE: Duration = Duration::from_secs(60);

impl<H: Handler> Session<'_, H> {
    pub(super) async fn data(&mut self) -> Next {
        match self.transaction {
            Transaction::None => return self.refuse("503 5.5.1 Say MAIL first"),
            Transaction::Open { recipients: 0 } => return self.refuse("554 5.5.1 No valid recipients"),
            Transaction::Open { .. } => {}
        }
        if !self.pipe().pending().is_empty() {
            // RFC 2920 3.1: DATA is the last of a group. If it were refused now, the message would be read as commands.
            return self.enough("503 5.5.1 Bytes sent before the reply to DATA");
        }
        let answer = self.handler.data().await;
        let (next, accepted) = self.give(answer).await;
        if next.is_break() || !accepted {
            return next;
        }
        let next = self.message().await;
        self.clear();
        next
    }

    /// From the 354 to the reply to the dot.
    async fn message(&mut self) -> Next {
        let limit = self.config.offer.size;
        let started = Instant::now();
        let mut unstuffer = Unstuffer::new();
        let mut bytes = Vec::new();
        let mut size: u64 = 0;
        loop {
            if self.pipe().pending().is_empty() {
                self.more(Instant::now() + self.config.limits.idle).await?;
                self.check_speed(started, size)?;
            }
            bytes.clear();
            let pipe = self.pipe();
            let fed = match unstuffer.feed(pipe.pending(), &mut bytes) {
                Ok(fed) => fed,
                // RF-2: nobody knows where this message ends, so nothing after it may be read as commands.
                Err(_) => return self.enough("550 5.6.0 Bare CR, bare LF or a line that is too long"),
            };
            pipe.consume(fed.consumed);
            size += bytes.len() as u64;
            let fits = limit.is_none_or(|limit| size <= limit);
            if fits && !bytes.is_empty() {
                match self.handler.chunk(&bytes) {
                    Flow::Continue => {}
                    Flow::Close => return self.drop_now(),
                    Flow::Silence => return self.silence().await,
                }
            }
            if fed.done {
                if !fits {
                    return self.refuse("552 5.3.4 Message is larger than this host takes");
                }
                let answer = self.handler.message(size).await;
                return self.give(answer).await.0;
            }
        }
    }

    fn check_speed(&mut self, started: Instant, size: u64) -> Next {
        let took = started.elapsed();
        if took > GRACE && size / took.as_secs().max(1) < self.config.limits.slowest {
            return self.enough("421 4.4.2 The message comes too slowly");
        }
        GO_ON
    }
}
