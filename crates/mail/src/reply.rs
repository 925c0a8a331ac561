//! SMTP replies: reading what a server says and writing what ours says (RFC 5321 4.2, RFC 2034, RFC 3463).
//!
//! Must not know sockets, nor what a code means for a recipient beyond its first digit.

use std::fmt;

use thiserror::Error;

mod parser;

pub use parser::ReplyParser;

/// Longest reply line that is read, in octets without its CRLF (RFC 5321 4.5.3.1.5 says 512; hosts exceed it).
pub const LINE_MAX: usize = 2_048;
/// Most lines of one reply that are read.
pub const LINES_MAX: usize = 64;
/// Most octets of one reply that are read.
pub const REPLY_MAX: usize = 16 * 1_024;
/// Longest reply line that is written, in octets with its CRLF (RFC 5321 4.5.3.1.5).
const WRITTEN_LINE_MAX: usize = 512;

/// An enhanced status code such as 5.1.1 (RFC 3463 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedStatus {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 7 policy and so on; at most 999.
    pub subject: u16,
    /// The detail within the subject; at most 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// A status from its three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> EnhancedStatus {
        EnhancedStatus { class, subject, detail }
    }

    /// Reads exactly `class.subject.detail`; `None` for anything else.
    pub fn parse(text: &str) -> Option<EnhancedStatus> {
        let (class, rest) = text.split_once('.')?;
        let (subject, detail) = rest.split_once('.')?;
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        Some(EnhancedStatus { class, subject: number(subject)?, detail: number(detail)? })
    }
}

/// One to three digits.
fn number(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 3 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why bytes are no usable reply; the connection is then in an unknown state and must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line without end.
    #[error("read the reply: a line is longer than 2,048 octets; close the connection and try again later")]
    LineTooLong,
    /// Too many continuation lines.
    #[error("read the reply: it has more than 64 lines; close the connection and try again later")]
    TooManyLines,
    /// Too many octets.
    #[error("read the reply: it is longer than 16 KiB; close the connection and try again later")]
    TooLong,
    /// No three digits with a first digit from 2 to 5, followed by a blank, a hyphen or the end.
    #[error("read the reply: it does not start with an SMTP reply code; close the connection and try again later")]
    NoCode,
    /// Lines of one reply carry different codes (RFC 5321 4.2.1 forbids it).
    #[error("read the reply: its lines carry different codes; close the connection and try again later")]
    MixedCodes,
}

/// One complete reply, of one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The basic code, 200 to 599.
    pub code: u16,
    /// The enhanced status of the first line that has one. The basic code wins when they contradict.
    pub enhanced: Option<EnhancedStatus>,
    /// The text of each line, without code and without the enhanced status above; no control characters.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line; control characters in `text` are replaced.
    pub fn new(code: u16, enhanced: Option<EnhancedStatus>, text: &str) -> Reply {
        Reply { code, enhanced, lines: vec![clean(text)] }
    }

    /// The lines in one, joined by a blank.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// 2yz: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: go on.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: not now.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: never so.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The bytes that a server writes, the enhanced status on each line (RFC 2034 section 4), lines cut at 512 octets.
    pub fn wire(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        let enhanced = self.enhanced.map(|status| format!("{status} ")).unwrap_or_default();
        let room = WRITTEN_LINE_MAX - 2 - 4 - enhanced.len();
        let empty = [String::new()];
        let lines = if self.lines.is_empty() { &empty[..] } else { &self.lines[..] };
        for (index, line) in lines.iter().enumerate() {
            let separator = if index + 1 == lines.len() { b' ' } else { b'-' };
            out.extend_from_slice(format!("{:03}", self.code).as_bytes());
            out.push(separator);
            out.extend_from_slice(enhanced.as_bytes());
            let line = clean(line);
            out.extend_from_slice(&line.as_bytes()[..line.floor_char_boundary(room)]);
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.enhanced {
            write!(f, " {status}")?;
        }
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

/// Tabs become blanks, other control characters U+FFFD, so that a reply can be logged and stored as one line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => '\u{FFFD}',
            c => c,
        })
        .collect()
}

/// Takes the enhanced status off the front of `text`, when there is one.
fn split_enhanced(text: &str) -> Option<(EnhancedStatus, &str)> {
    let (status, rest) = match text.split_once(' ') {
        Some((status, rest)) => (status, rest.trim_start_matches(' ')),
        None => (text, ""),
    };
    EnhancedStatus::parse(status).map(|status| (status, rest))
}
