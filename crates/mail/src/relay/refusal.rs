//! Why a submitted message is not taken, and the reply that says so. Must not know the session.

use thiserror::Error;

use super::address::AddressError;
use crate::reply::{EnhancedStatus, Reply};

/// Why a message is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Over [`super::HEADER_MAX`] octets of header.
    #[error("take the message: its header is longer than 256 KiB; shorten it")]
    HeaderTooLong,
    /// A header line over 998 octets (RFC 5322 2.1.1): nobody could pass it on.
    #[error("take the message: a header line is longer than 998 octets; fold it")]
    HeaderLineTooLong,
    /// CR without LF or LF without CR (RFC 5321 2.3.8).
    #[error("take the message: line {0} holds a bare CR or LF; end lines with CRLF only")]
    BareLineEnd(usize),
    /// NUL in the header.
    #[error("take the message: its header holds a NUL; remove it")]
    Nul,
    /// More Received fields than any honest way makes (RFC 5321 6.3).
    #[error("take the message: it has {0} Received fields, which is a loop; look at the way that it takes")]
    TooManyHops(usize),
    /// It was here before.
    #[error("take the message: it has passed this host {0} times, which is a loop; look at the way that it takes")]
    Loop(usize),
    /// No From (RFC 5322 3.6).
    #[error("take the message: it has no From field; add one with the author's address")]
    NoFrom,
    /// More than one From: readers would show one and check another.
    #[error("take the message: it has several From fields; keep one")]
    SeveralFrom,
    /// A From that names no mailbox.
    #[error("take the message: its From field cannot be read ({0}); write it as: Name <name@example.org>")]
    BadFrom(AddressError),
}

impl Refusal {
    /// What the server answers to the data.
    pub fn reply(&self) -> Reply {
        let (code, subject, detail, text) = match self {
            Refusal::HeaderTooLong => (552, 3, 4, "Header longer than 256 KiB; shorten it".to_owned()),
            Refusal::HeaderLineTooLong => (550, 6, 0, "Header line longer than 998 octets; fold it".to_owned()),
            Refusal::BareLineEnd(line) => (550, 6, 0, format!("Bare CR or LF in line {line}; end lines with CRLF")),
            Refusal::Nul => (550, 6, 0, "NUL in the header; remove it".to_owned()),
            Refusal::TooManyHops(hops) => (554, 4, 6, format!("Mail loop: {hops} Received fields")),
            Refusal::Loop(times) => (554, 4, 6, format!("Mail loop: the message was here {times} times")),
            Refusal::NoFrom => (550, 7, 1, "No From field; add one with the author's address".to_owned()),
            Refusal::SeveralFrom => (550, 7, 1, "Several From fields; keep one".to_owned()),
            Refusal::BadFrom(why) => (550, 6, 0, format!("From field cannot be read: {why}")),
        };
        Reply::new(code, Some(EnhancedStatus::new(5, subject, detail)), &text)
    }
}
