//! What a handler answers: a reply, or one of the ways in which a peer can misbehave.

use std::borrow::Cow;
use std::time::Duration;

use postrider_mail::reply::Reply;

/// What is done, and how long to wait before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The wait before it; replies before this one go out first.
    pub after: Duration,
    /// What is done.
    pub act: Act,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Write this one-line reply, without its CRLF: `250 2.1.0 Ok`.
    Line(Cow<'static, str>),
    /// Write this reply.
    Reply(Reply),
    /// Write this one-line reply and close.
    LineAndClose(Cow<'static, str>),
    /// Write these bytes as they are and go on: a simulated peer that breaks the protocol.
    Raw(Cow<'static, [u8]>),
    /// Write these bytes as they are and close.
    RawAndClose(Cow<'static, [u8]>),
    /// Close without a word.
    Close,
    /// Say nothing and wait until the client goes.
    Silence,
}

impl Answer {
    /// A one-line reply, without its CRLF.
    pub fn line(line: impl Into<Cow<'static, str>>) -> Self {
        Act::Line(line.into()).into()
    }

    /// A one-line reply, without its CRLF, and the end of the connection.
    pub fn line_and_close(line: impl Into<Cow<'static, str>>) -> Self {
        Act::LineAndClose(line.into()).into()
    }

    /// Whether it accepts and the session goes on: a 2yz or 3yz.
    pub(super) fn accepts(&self) -> bool {
        match &self.act {
            Act::Line(line) => line.starts_with(['2', '3']),
            Act::Reply(reply) => reply.is_positive() || reply.is_intermediate(),
            Act::Raw(bytes) => bytes.starts_with(b"2") || bytes.starts_with(b"3"),
            Act::LineAndClose(_) | Act::RawAndClose(_) | Act::Close | Act::Silence => false,
        }
    }

    /// Whether it is a refusal for good: a 5yz.
    pub(super) fn refuses_for_good(&self) -> bool {
        match &self.act {
            Act::Line(line) | Act::LineAndClose(line) => line.starts_with('5'),
            Act::Reply(reply) => reply.is_permanent(),
            Act::Raw(bytes) | Act::RawAndClose(bytes) => bytes.starts_with(b"5"),
            Act::Close | Act::Silence => false,
        }
    }

    /// The same answer, later.
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }
}

impl From<Act> for Answer {
    fn from(act: Act) -> Self {
        Self { after: Duration::ZERO, act }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Act::Reply(reply).into()
    }
}
