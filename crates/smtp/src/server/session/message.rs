//! DATA: from the command over the 354 to the reply to the dot (RFC 5321 4.1.1.4).

use std::time::Duration;

use postrider_mail::stuffing::Unstuffer;
use tokio::time::Instant;

use super::super::{Flow, Handler};
use super::{GO_ON, Next, Session};

/// A message may come slower than `Limits::slowest` for this long.
const GRACE: Duration = Duration::from_secs(60);
pub(super) const TOO_LARGE: &str = "552 5.3.4 Message is larger than this host takes";
pub(super) const BAD_LINE: &str = "550 5.6.0 Bare CR, bare LF, NUL or a line of more than 998 octets";

impl<H: Handler> Session<'_, H> {
    pub(super) async fn data(&mut self) -> Next {
        let refusal = match &self.transaction {
            None => Some("503 5.5.1 Say MAIL first"),
            Some(transaction) if transaction.chunks.is_some() => Some("503 5.5.1 This message comes by BDAT"),
            Some(transaction) if transaction.recipients == 0 => Some("554 5.5.1 No valid recipients"),
            Some(_) => None,
        };
        if let Some(line) = refusal {
            return self.refuse(line);
        }
        if !self.pipe().pending().is_empty() {
            // RFC 2920 3.1: DATA is the last of a group. If it were refused now, the message would be read as commands.
            return self.enough("503 5.5.1 Bytes sent before the reply to DATA");
        }
        let answer = self.handler.data().await;
        let accepted = answer.accepts();
        self.give(answer).await?;
        if accepted {
            self.message().await?;
            self.end();
        }
        GO_ON
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
                Ok(fed) if memchr::memchr(0, &bytes).is_none() => fed,
                // RF-2: nobody knows where this message ends, so nothing after it may be read as commands. A NUL that
                // the next host drops would make a line end out of two halves.
                Ok(_) | Err(_) => return self.enough(BAD_LINE),
            };
            pipe.consume(fed.consumed);
            size += bytes.len() as u64;
            let fits = limit.is_none_or(|limit| size <= limit);
            if fits && !bytes.is_empty() {
                match self.handler.chunk(&bytes) {
                    Flow::Continue => {}
                    Flow::Close => return self.leave(),
                    Flow::Silence => return self.silence().await,
                }
            }
            if fed.done {
                if !fits {
                    return self.refuse(TOO_LARGE);
                }
                let answer = self.handler.message(size).await;
                self.end();
                return self.give(answer).await;
            }
        }
    }

    pub(super) fn check_speed(&mut self, started: Instant, size: u64) -> Next {
        let took = started.elapsed();
        if took > GRACE && size / took.as_secs().max(1) < self.config.limits.slowest {
            return self.enough("421 4.4.2 The message comes too slowly");
        }
        GO_ON
    }
}
