//! Bytes and time: writes commands, reads whole replies, and notices a peer that speaks out of turn.
//!
//! Knows nothing of what the replies mean.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use postrider_mail::reply::{Reply, ReplyParser};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::dial::BoxStream;

/// The most that one write may take under one timeout; see `Timeouts::block`.
const BLOCK: usize = 64 * 1024;

/// Room for one read: far more than a group of replies needs.
const READ_ROOM: usize = 4 * 1024;

/// What can go wrong between two ends of a wire.
#[derive(Debug)]
pub(crate) enum WireError {
    Closed,
    Timeout,
    Protocol(String),
}

/// A write that did not finish.
#[derive(Debug)]
pub(crate) struct WriteError {
    pub(crate) error: WriteStop,
    /// All bytes were handed over; only the flush failed.
    pub(crate) complete: bool,
}

#[derive(Debug)]
pub(crate) enum WriteStop {
    Closed,
    Timeout,
    /// The peer sent something before it had read what we write.
    PeerSpoke,
}

pub(crate) struct Wire {
    stream: BoxStream,
    parser: ReplyParser,
    room: Box<[u8]>,
}

impl Wire {
    pub(crate) fn new(stream: BoxStream) -> Self {
        Self { stream, parser: ReplyParser::new(), room: vec![0; READ_ROOM].into_boxed_slice() }
    }

    /// Takes the stream out, for the TLS handshake. `Err` when the peer has already sent bytes beyond its last
    /// reply: those came in clear and must not be read as if they had come under TLS (RFC 3207 4.2, SEC-4).
    pub(crate) fn into_stream(self) -> Result<BoxStream, ()> {
        if self.parser.has_leftover() { Err(()) } else { Ok(self.stream) }
    }

    /// Reads one whole reply. The wait is for the whole of it, so that a peer cannot stretch it byte by byte.
    pub(crate) async fn read_reply(&mut self, within: Duration) -> Result<Reply, WireError> {
        match tokio::time::timeout(within, self.read_reply_untimed()).await {
            Ok(result) => result,
            Err(_) => Err(WireError::Timeout),
        }
    }

    async fn read_reply_untimed(&mut self) -> Result<Reply, WireError> {
        loop {
            let next = self.parser.next_reply().map_err(|error| WireError::Protocol(error.to_string()))?;
            if let Some(reply) = next {
                return Ok(reply);
            }
            match self.stream.read(&mut self.room).await {
                Ok(0) | Err(_) => return Err(WireError::Closed),
                Ok(count) => self.parser.feed(&self.room[..count]),
            }
        }
    }

    /// Whether the peer has said more than was asked, as far as it was read.
    pub(crate) fn has_leftover(&self) -> bool {
        self.parser.has_leftover()
    }

    /// Whether the peer has sent something or closed without being asked. Waits for nothing.
    pub(crate) async fn peer_stirred(&mut self) -> bool {
        if self.parser.has_leftover() {
            return true;
        }
        let Self { stream, parser, .. } = self;
        poll_fn(|cx| Poll::Ready(poll_stirred(stream, parser, cx))).await
    }

    /// Writes all, block by block, and flushes. Stops early when the peer speaks while it does not read: it has
    /// something to say about what we send, and may never read the rest.
    pub(crate) async fn write(&mut self, bytes: &[u8], within: Duration) -> Result<(), WriteError> {
        let mut written = 0;
        let mut stop = None;
        while written < bytes.len() && stop.is_none() {
            let block_end = bytes.len().min(written + BLOCK);
            let Self { stream, parser, .. } = self;
            let block = poll_fn(|cx| poll_write_block(stream, parser, bytes, &mut written, block_end, cx));
            stop = match tokio::time::timeout(within, block).await {
                Ok(Ok(())) => None,
                Ok(Err(stop)) => Some(stop),
                Err(_) => Some(WriteStop::Timeout),
            };
        }
        if stop.is_none() {
            // TCP has nothing to flush; TLS hands its last record to the socket here.
            stop = match tokio::time::timeout(within, self.stream.flush()).await {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(WriteStop::Closed),
                Err(_) => Some(WriteStop::Timeout),
            };
        }
        match stop {
            None => Ok(()),
            Some(error) => Err(WriteError { error, complete: written == bytes.len() }),
        }
    }

    /// Ends the stream in order (TLS close_notify, FIN); failures do not matter any more.
    pub(crate) async fn shutdown(&mut self, within: Duration) {
        let _ = tokio::time::timeout(within, self.stream.shutdown()).await;
    }
}

fn poll_write_block(
    stream: &mut BoxStream,
    parser: &mut ReplyParser,
    bytes: &[u8],
    written: &mut usize,
    block_end: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), WriteStop>> {
    while *written < block_end {
        match Pin::new(&mut *stream).poll_write(cx, &bytes[*written..block_end]) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(WriteStop::Closed)),
            Poll::Ready(Ok(count)) => *written += count,
            Poll::Pending => {
                return if poll_stirred(stream, parser, cx) {
                    Poll::Ready(Err(WriteStop::PeerSpoke))
                } else {
                    Poll::Pending
                };
            }
        }
    }
    Poll::Ready(Ok(()))
}

/// Reads without waiting; true when bytes or an end came. The bytes are kept for the next reply.
fn poll_stirred(stream: &mut BoxStream, parser: &mut ReplyParser, cx: &mut Context<'_>) -> bool {
    let mut room = [0_u8; 512];
    let mut room = ReadBuf::new(&mut room);
    match Pin::new(&mut *stream).poll_read(cx, &mut room) {
        Poll::Ready(Ok(())) => {
            parser.feed(room.filled());
            true
        }
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}
