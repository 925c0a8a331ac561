//! BDAT (RFC 3030): chunks whose length is told before them. Whatever is answered, exactly that many octets are
//! read, so that no byte of a message is ever taken for a command.

use std::ops::ControlFlow;

use tokio::time::Instant;

use super::super::lines::{LastLine, LineCheck};
use super::super::{Ended, Flow, Handler};
use super::message::{BAD_LINE, TOO_LARGE};
use super::{GO_ON, Next, Session};

/// What came of a message so far.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    lines: LineCheck,
    size: u64,
    started: Instant,
}

impl<H: Handler> Session<'_, H> {
    pub(super) async fn bdat(&mut self, octets: u64, last: bool) -> Next {
        if !self.offers(self.config.offer.chunking) {
            return self.refuse("502 5.5.1 Command not offered");
        }
        let refusal = match &self.transaction {
            None if self.chunk_failed => Some("503 5.5.1 The message has failed already; say RSET"),
            None => Some("503 5.5.1 Say MAIL first"),
            Some(transaction) if transaction.recipients == 0 => Some("554 5.5.1 No valid recipients"),
            Some(_) => None,
        };
        if let Some(line) = refusal {
            self.skip(octets).await?;
            self.chunk_failed &= !last;
            return self.refuse(line);
        }
        let chunks = match self.transaction.as_mut().and_then(|transaction| transaction.chunks.take()) {
            Some(chunks) => chunks,
            None => {
                let answer = self.handler.data().await;
                if !answer.accepts() {
                    self.fail(last);
                    self.skip(octets).await?;
                    return self.give(answer).await;
                }
                Chunks { lines: LineCheck::default(), size: 0, started: Instant::now() }
            }
        };
        if self.config.offer.size.is_some_and(|limit| chunks.size.saturating_add(octets) > limit) {
            self.fail(last);
            self.skip(octets).await?;
            return self.refuse(TOO_LARGE);
        }
        self.chunk(chunks, octets, last).await
    }

    async fn chunk(&mut self, mut chunks: Chunks, octets: u64, last: bool) -> Next {
        let mut left = octets;
        while left > 0 {
            self.await_octets(chunks.started, chunks.size).await?;
            let Self { pipe: Some(pipe), handler, .. } = self else { return ControlFlow::Break(Ended::Closed) };
            let part = first(pipe.pending(), left);
            let (count, well_formed) = (part.len(), chunks.lines.feed(part).is_ok());
            let flow = if well_formed { handler.chunk(part) } else { Flow::Continue };
            pipe.consume(count);
            left -= count as u64;
            chunks.size += count as u64;
            if !well_formed {
                return self.bad_line(left, last).await;
            }
            match flow {
                Flow::Continue => {}
                Flow::Close => return self.leave(),
                Flow::Silence => return self.silence().await,
            }
        }
        if !last {
            if let Some(transaction) = &mut self.transaction {
                transaction.chunks = Some(chunks);
            }
            return self.say(&format!("250 2.0.0 {octets} octets received"));
        }
        match chunks.lines.end() {
            Ok(LastLine::Whole) => {}
            Ok(LastLine::Open) => {
                chunks.size += 2;
                match self.handler.chunk(b"\r\n") {
                    Flow::Continue => {}
                    Flow::Close => return self.leave(),
                    Flow::Silence => return self.silence().await,
                }
            }
            Err(_) => return self.bad_line(0, last).await,
        }
        let answer = self.handler.message(chunks.size).await;
        self.end();
        self.give(answer).await
    }

    /// Where the message ends is known, other than in DATA: the session can go on.
    async fn bad_line(&mut self, left: u64, last: bool) -> Next {
        self.fail(last);
        self.skip(left).await?;
        self.refuse(BAD_LINE)
    }

    /// The message is lost; more chunks of it may follow unless this was the last.
    fn fail(&mut self, last: bool) {
        self.end();
        self.chunk_failed = !last;
    }

    /// Reads octets of a chunk that nobody wants.
    async fn skip(&mut self, octets: u64) -> Next {
        let started = Instant::now();
        let mut left = octets;
        while left > 0 {
            self.await_octets(started, octets - left).await?;
            let pipe = self.pipe();
            let count = first(pipe.pending(), left).len();
            pipe.consume(count);
            left -= count as u64;
        }
        GO_ON
    }

    async fn await_octets(&mut self, started: Instant, size: u64) -> Next {
        if self.pipe().pending().is_empty() {
            self.more(Instant::now() + self.config.limits.idle).await?;
            self.check_speed(started, size)?;
        }
        GO_ON
    }
}

/// At most so many bytes of these.
fn first(bytes: &[u8], most: u64) -> &[u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    &bytes[..bytes.len().min(most)]
}
