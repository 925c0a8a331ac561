//! The stream of a session with its two buffers: lines in, replies out in batches.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use zeroize::Zeroize;

use crate::dial::BoxStream;
use postrider_mail::request::REQUEST_MAX;

/// What an idle session keeps for its next command.
const SMALL: usize = 1024;
/// One read takes up to this much, once a client has shown that it sends so much.
const ROOM: usize = 64 * 1024;
/// After so long a silence the buffers shrink to [`SMALL`].
const QUIET: Duration = Duration::from_secs(2);
/// Replies of a pipelined group go out at this size, not only at its end.
const BATCH: usize = 8 * 1024;
/// How long, and for how many bytes, a client that was told goodbye is still listened to.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

pub(super) struct Pipe {
    stream: BoxStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    write_within: Duration,
}

/// What waiting for input came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    More,
    Closed,
    TimedOut,
}

/// What the buffer holds of the next command line.
pub(super) enum Line {
    /// A whole line with its CRLF.
    Whole(Vec<u8>),
    /// Not yet.
    Part,
    /// Longer than any command may be.
    TooLong,
}

impl Pipe {
    pub(super) fn new(stream: BoxStream, write_within: Duration) -> Self {
        Self { stream, input: vec![0; SMALL], start: 0, end: 0, output: Vec::new(), write_within }
    }

    /// Takes the stream out for a TLS handshake; nothing may be buffered then.
    pub(super) fn into_stream(self) -> BoxStream {
        self.stream
    }

    /// Bytes that came and were not used.
    pub(super) fn pending(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Throws away what came.
    pub(super) fn discard(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Overwrites what was used: it held a password.
    pub(super) fn wipe(&mut self) {
        self.input[..self.start].zeroize();
        self.input[self.end..].zeroize();
    }

    pub(super) fn line(&mut self) -> Line {
        match memchr::memchr(b'\n', self.pending()) {
            Some(at) if at < REQUEST_MAX => {
                let line = self.pending()[..=at].to_vec();
                self.consume(at + 1);
                Line::Whole(line)
            }
            Some(_) => Line::TooLong,
            None if self.end - self.start >= REQUEST_MAX => Line::TooLong,
            None => Line::Part,
        }
    }

    /// Puts bytes into the batch of replies.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Whether the batch is so large that it should not wait for the end of the group.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= BATCH
    }

    /// Sends the batch.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let stream = &mut self.stream;
        let output = &self.output;
        let sent = tokio::time::timeout(self.write_within, async {
            stream.write_all(output).await?;
            stream.flush().await
        })
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        self.output.clear();
        sent
    }

    /// Waits for more bytes, until the deadline. May be dropped and called again without loss.
    pub(super) async fn read(&mut self, deadline: Instant) -> Read {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == 0 && self.input.len() + self.output.capacity() > 2 * SMALL {
            let quiet = Instant::now() + QUIET;
            if quiet < deadline {
                match self.read_once(quiet).await {
                    Read::TimedOut => {
                        self.input = vec![0; SMALL];
                        self.output = Vec::new();
                    }
                    came => return came,
                }
            }
        }
        if self.end == self.input.len() && self.input.len() < ROOM {
            self.input.resize((self.input.len() * 4).min(ROOM), 0);
        }
        self.read_once(deadline).await
    }

    async fn read_once(&mut self, deadline: Instant) -> Read {
        match tokio::time::timeout_at(deadline, self.stream.read(&mut self.input[self.end..])).await {
            Ok(Ok(0) | Err(_)) => Read::Closed,
            Ok(Ok(count)) => {
                self.end += count;
                Read::More
            }
            Err(_) => Read::TimedOut,
        }
    }

    /// Ends the stream in order.
    pub(super) async fn close(&mut self) {
        let _ = self.flush().await;
        let _ = tokio::time::timeout(self.write_within, self.stream.shutdown()).await;
    }

    /// As [`Pipe::close`], and reads on a little: a socket that is closed over unread bytes is reset, and the client
    /// would lose our last reply.
    pub(super) async fn close_and_linger(&mut self) {
        self.close().await;
        let until = Instant::now() + LINGER;
        let mut left = LINGER_BYTES;
        loop {
            self.discard();
            match self.read_once(until).await {
                Read::More if self.end < left => left -= self.end,
                Read::More | Read::Closed | Read::TimedOut => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn buffers_grow_with_a_message_and_go_when_it_is_quiet() {
        let (mut client, stream) = tokio::io::duplex(256 * 1024);
        let mut pipe = Pipe::new(Box::new(stream), Duration::from_secs(1));
        client.write_all(&[b'a'; 200_000]).await.expect("room");
        let deadline = Instant::now() + Duration::from_secs(300);
        while pipe.pending().len() < ROOM {
            assert_eq!(pipe.read(deadline).await, Read::More);
        }
        assert_eq!((pipe.input.len(), pipe.pending().len()), (ROOM, ROOM), "no more is read than there is room");
        pipe.say(&[b'x'; 5_000]);
        pipe.flush().await.expect("taken");
        loop {
            pipe.discard();
            if pipe.read(Instant::now() + Duration::from_secs(1)).await != Read::More {
                break;
            }
        }
        assert_eq!(pipe.input.len(), ROOM, "the next message may follow at once");
        assert_eq!(pipe.read(deadline).await, Read::TimedOut);
        assert_eq!((pipe.input.capacity(), pipe.output.capacity()), (SMALL, 0));
    }
}
