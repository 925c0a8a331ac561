//! Reads replies out of a byte stream that may cut them anywhere and may carry several (RFC 2920).
//!
//! Must not know sockets, nor which command a reply answers: pipelined callers count.

use super::{LINE_MAX, LINES_MAX, REPLY_MAX, Reply, ReplyError, clean, split_enhanced};

/// Collects bytes and gives out whole replies, in order.
#[derive(Debug, Default)]
pub struct ReplyParser {
    buffer: Vec<u8>,
    /// How much of `buffer` was used by replies that were given out.
    used: usize,
    /// How much of `buffer` is known to hold no line end of the reply at `used`.
    searched: usize,
    lines_seen: usize,
    code: Option<u16>,
}

impl ReplyParser {
    /// A parser with nothing in it.
    pub fn new() -> ReplyParser {
        ReplyParser::default()
    }

    /// Adds bytes that the server sent; ask [`ReplyParser::next_reply`] until it says `None` after each call.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.searched -= self.used;
            self.used = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete reply, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`ReplyError`]; the stream cannot be trusted after one, so close the connection.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let start = self.searched;
            let end = start + found;
            let line = &self.buffer[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > LINE_MAX {
                return Err(ReplyError::LineTooLong);
            }
            let (code, is_last) = read_code(line)?;
            if self.code.is_some_and(|first| first != code) {
                return Err(ReplyError::MixedCodes);
            }
            self.code = Some(code);
            self.lines_seen += 1;
            self.searched = end + 1;
            if self.lines_seen > LINES_MAX {
                return Err(ReplyError::TooManyLines);
            }
            if self.searched - self.used > REPLY_MAX {
                return Err(ReplyError::TooLong);
            }
            if is_last {
                let reply = assemble(code, &self.buffer[self.used..end]);
                self.used = self.searched;
                self.lines_seen = 0;
                self.code = None;
                return Ok(Some(reply));
            }
        }
        // The CR of an unfinished line may already be here, so allow for one octet more.
        if self.buffer.len() - self.searched > LINE_MAX + 1 {
            return Err(ReplyError::LineTooLong);
        }
        if self.buffer.len() - self.used > REPLY_MAX + 1 {
            return Err(ReplyError::TooLong);
        }
        Ok(None)
    }

    /// Whether bytes wait that no reply has used: after STARTTLS they are an injection (RFC 3207, RF-14).
    pub fn has_leftover(&self) -> bool {
        self.buffer.len() > self.used
    }

    /// Forgets everything, as RFC 3207 4.2 wants after a TLS handshake.
    pub fn clear(&mut self) {
        *self = ReplyParser::default();
    }
}

/// The code of a line and whether the line is the last of its reply.
fn read_code(line: &[u8]) -> Result<(u16, bool), ReplyError> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(ReplyError::NoCode);
    };
    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
    match rest.first() {
        None | Some(b' ') => Ok((code, true)),
        Some(b'-') => Ok((code, false)),
        Some(_) => Err(ReplyError::NoCode),
    }
}

/// Builds the reply from lines whose codes were checked.
fn assemble(code: u16, bytes: &[u8]) -> Reply {
    let mut lines: Vec<String> = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            clean(&String::from_utf8_lossy(line.get(4..).unwrap_or_default()))
        })
        .collect();
    let enhanced = lines.iter().find_map(|line| split_enhanced(line)).map(|(status, _)| status);
    if enhanced.is_some() {
        for line in &mut lines {
            if let Some((status, rest)) = split_enhanced(line)
                && Some(status) == enhanced
            {
                *line = rest.to_owned();
            }
        }
    }
    Reply { code, enhanced, lines }
}

#[cfg(test)]
mod tests;
