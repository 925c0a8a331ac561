//! Dot-stuffing of DATA in both directions (RFC 5321 4.5.2), with CRLF as the only line end (2.3.8).
//!
//! Must not know headers or sockets. What does not fit is refused, never repaired: repairing here
//! would change signed bytes, and accepting it lets messages be smuggled.

use memchr::{memchr2, memmem};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Longest text line with its CRLF (RFC 5321 4.5.3.1.6).
pub const TEXT_LINE_MAX: usize = 1_000;

/// Why a message cannot go out, or may not come in. Lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StuffError {
    /// A CR without LF.
    #[error("transfer the message: line {line} holds a bare CR; end lines with CRLF only")]
    BareCr {
        /// The line, from 1.
        line: usize,
    },
    /// An LF without CR.
    #[error("transfer the message: line {line} holds a bare LF; end lines with CRLF only")]
    BareLf {
        /// The line, from 1.
        line: usize,
    },
    /// A byte from 0x80 where only seven bits may go.
    #[error("transfer the message: it holds a byte beyond ASCII; encode the part as quoted-printable or base64")]
    EightBit,
    /// Over 998 octets and CRLF.
    #[error("transfer the message: line {line} is longer than 998 octets; encode or fold it")]
    LineTooLong {
        /// The line, from 1.
        line: usize,
    },
}

/// Appends the message as DATA carries it, final CRLF.CRLF included, to `out`. Seven bits only (SR-22).
///
/// A message whose last line has no CRLF gets one (RFC 5321 4.1.1.4).
///
/// # Errors
/// [`StuffError`]; `out` is then as it was.
pub fn stuff(message: &[u8], out: &mut Vec<u8>) -> Result<(), StuffError> {
    if !message.is_ascii() {
        return Err(StuffError::EightBit);
    }
    stuff_eight_bit(message, out)
}

/// As [`stuff`], for transactions with 8BITMIME or SMTPUTF8, where bytes beyond ASCII may go.
///
/// # Errors
/// [`StuffError`]; `out` is then as it was.
pub fn stuff_eight_bit(message: &[u8], out: &mut Vec<u8>) -> Result<(), StuffError> {
    check_lines(message)?;
    out.reserve(message.len() + message.len() / 32 + 8);
    let mut copied = 0;
    if message.first() == Some(&b'.') {
        out.push(b'.');
    }
    for at in memmem::find_iter(message, b"\r\n.") {
        out.extend_from_slice(&message[copied..at + 2]);
        out.push(b'.');
        copied = at + 2;
    }
    out.extend_from_slice(&message[copied..]);
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    Ok(())
}

fn check_lines(message: &[u8]) -> Result<(), StuffError> {
    let mut line = 1;
    let mut start = 0;
    while let Some(found) = memchr2(b'\r', b'\n', &message[start..]) {
        let at = start + found;
        if message[at] == b'\n' {
            return Err(StuffError::BareLf { line });
        }
        if message.get(at + 1) != Some(&b'\n') {
            return Err(StuffError::BareCr { line });
        }
        if found + 2 > TEXT_LINE_MAX {
            return Err(StuffError::LineTooLong { line });
        }
        start = at + 2;
        line += 1;
    }
    if message.len() - start + 2 > TEXT_LINE_MAX {
        return Err(StuffError::LineTooLong { line });
    }
    Ok(())
}

/// What [`Unstuffer::feed`] did with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// Bytes of the input that were used; what follows the final dot belongs to the next command.
    pub consumed: usize,
    /// Whether the final CRLF.CRLF was seen.
    pub done: bool,
}

/// Undoes dot-stuffing on a stream, across any borders between buffers.
#[derive(Debug, Clone)]
pub struct Unstuffer {
    at: Position,
    line: usize,
    /// Octets of the line so far, as they came.
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    LineStart,
    /// After the dot that starts a line.
    Dot,
    /// After the CR that follows that dot.
    DotCr,
    Inside,
    /// After a CR inside a line.
    Cr,
    Done,
}

impl Default for Unstuffer {
    fn default() -> Self {
        Unstuffer { at: Position::LineStart, line: 1, length: 0 }
    }
}

impl Unstuffer {
    /// One that stands right after the 354.
    pub fn new() -> Unstuffer {
        Unstuffer::default()
    }

    /// Reads `input` up to its end or the final dot and appends the message bytes to `out`.
    ///
    /// # Errors
    /// [`StuffError`] for bare CR or LF and over-long lines: answer 550 5.6.0 and close, since
    /// nobody knows where this message ends (RF-2).
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Fed, StuffError> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            match self.at {
                Position::Done => break,
                Position::LineStart => {
                    if byte == b'.' {
                        self.at = Position::Dot;
                        self.length = 1;
                        at += 1;
                    } else {
                        self.at = Position::Inside;
                    }
                }
                Position::Dot => {
                    if byte == b'\r' {
                        self.at = Position::DotCr;
                        at += 1;
                    } else {
                        // The stuffed dot is dropped; the rest is the line.
                        self.at = Position::Inside;
                    }
                }
                Position::DotCr => {
                    if byte != b'\n' {
                        return Err(StuffError::BareCr { line: self.line });
                    }
                    self.at = Position::Done;
                    at += 1;
                }
                Position::Inside => at += self.inside(&input[at..], out)?,
                Position::Cr => {
                    if byte != b'\n' {
                        return Err(StuffError::BareCr { line: self.line });
                    }
                    out.extend_from_slice(b"\r\n");
                    self.next_line();
                    at += 1;
                }
            }
        }
        Ok(Fed { consumed: at, done: self.at == Position::Done })
    }

    /// Copies to the end of the line or input; says how much it used.
    fn inside(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, StuffError> {
        let end = memchr2(b'\r', b'\n', input).unwrap_or(input.len());
        self.length += end;
        // A stuffed dot is not counted against the limit (RFC 5321 4.5.3.1.6); one octet more does no harm.
        if self.length > TEXT_LINE_MAX - 1 {
            return Err(StuffError::LineTooLong { line: self.line });
        }
        out.extend_from_slice(&input[..end]);
        match input.get(end) {
            None => Ok(end),
            Some(b'\n') => Err(StuffError::BareLf { line: self.line }),
            Some(_) => {
                if input.get(end + 1) == Some(&b'\n') {
                    out.extend_from_slice(b"\r\n");
                    self.next_line();
                    Ok(end + 2)
                } else {
                    self.at = Position::Cr;
                    Ok(end + 1)
                }
            }
        }
    }

    fn next_line(&mut self) {
        self.at = Position::LineStart;
        self.line += 1;
        self.length = 0;
    }
}
