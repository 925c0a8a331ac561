//! SMTP commands that our server receives: a strict parser for one line (RFC 5321 4.1.1).
//!
//! Must not know the session: state, limits per client and what is offered belong to the server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::command::{AUTH_MAX, COMMAND_MAX, MAIL_MAX, MailParams, RCPT_MAX, RcptParams};
use crate::mailbox::{Mailbox, MailboxError};
use crate::reply::{EnhancedStatus, Reply};

mod params;
#[cfg(test)]
mod tests;

/// Longest line that any command may have, with its CRLF: read no more than this before a line end.
pub const REQUEST_MAX: usize = AUTH_MAX;

/// A command line that could be understood.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// EHLO and what the client calls itself: odd names pass, control characters do not.
    Ehlo(String),
    /// HELO.
    Helo(String),
    /// MAIL FROM.
    Mail {
        /// `None` is the null reverse-path.
        reverse_path: Option<Mailbox>,
        /// The parameters.
        params: MailParams,
    },
    /// RCPT TO.
    Rcpt {
        /// The recipient.
        forward_path: Mailbox,
        /// The parameters.
        params: RcptParams,
    },
    /// RCPT TO:<postmaster> without a domain, which every server must take (RFC 5321 4.5.1).
    RcptPostmaster {
        /// The parameters.
        params: RcptParams,
    },
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Octets that follow the line.
        size: u64,
        /// Whether this chunk ends the message.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// STARTTLS.
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// The SASL mechanism, in upper case.
        mechanism: String,
        /// The initial response, decoded.
        initial: Option<Vec<u8>>,
    },
}

/// Why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The line does not end in CRLF, or a CR, LF or NUL stands inside (RFC 5321 2.3.8).
    #[error("read the command: the line holds a bare CR, bare LF or NUL; end lines with CRLF")]
    LineEnd,
    /// Longer than RFC 5321 4.5.3.1.4 and the extensions allow.
    #[error("read the command: the line is too long; keep to the limits of RFC 5321 4.5.3.1")]
    TooLong,
    /// Another control character, or bad UTF-8.
    #[error("read the command: it holds a control character or is not UTF-8; send plain text")]
    Text,
    /// A verb that does not exist.
    #[error("read the command: the verb is unknown; see HELP")]
    UnknownVerb,
    /// Arguments that do not fit the verb.
    #[error("read the command: the arguments are malformed; {0}")]
    Syntax(&'static str),
    /// The address is malformed.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// A parameter that we do not offer (555 by RFC 5321 4.1.1.11).
    #[error("read the command: the parameter is not offered; see the answer to EHLO")]
    UnknownParameter,
    /// A parameter with a bad value, or given twice.
    #[error("read the command: the parameter {0} is malformed or given twice; correct it")]
    Parameter(&'static str),
    /// base64 that is none.
    #[error("read the command: the authentication data is not base64; encode it")]
    Base64,
    /// The client gave up the AUTH dialogue with `*`.
    #[error("read the answer: the client cancelled the authentication")]
    AuthCancelled,
}

impl RequestError {
    /// What the server answers.
    pub fn reply(&self) -> Reply {
        let (code, subject, detail, text) = match self {
            RequestError::LineEnd => (500, 5, 2, "Bare CR, LF or NUL; end lines with CRLF".to_owned()),
            RequestError::TooLong => (500, 5, 2, "Line too long".to_owned()),
            RequestError::Text => (500, 5, 2, "Control character or bad UTF-8".to_owned()),
            RequestError::UnknownVerb => (500, 5, 1, "Unknown command".to_owned()),
            RequestError::Syntax(hint) => (501, 5, 2, format!("Syntax: {hint}")),
            RequestError::Mailbox(_) => (501, 5, 2, format!("Could not {self}")),
            RequestError::UnknownParameter => (555, 5, 4, "Parameter not offered".to_owned()),
            RequestError::Parameter(name) => (501, 5, 4, format!("Bad or repeated parameter {name}")),
            RequestError::Base64 => (501, 5, 2, "Not base64".to_owned()),
            RequestError::AuthCancelled => (501, 7, 0, "Authentication cancelled".to_owned()),
        };
        Reply::new(code, Some(EnhancedStatus::new(5, subject, detail)), &text)
    }

    /// Whether the connection cannot be trusted any more and must be closed after the reply (RF-2).
    pub fn must_close(&self) -> bool {
        match self {
            RequestError::LineEnd | RequestError::TooLong => true,
            RequestError::Text
            | RequestError::UnknownVerb
            | RequestError::Syntax(_)
            | RequestError::Mailbox(_)
            | RequestError::UnknownParameter
            | RequestError::Parameter(_)
            | RequestError::Base64
            | RequestError::AuthCancelled => false,
        }
    }
}

impl Request {
    /// Reads one line with its CRLF.
    ///
    /// # Errors
    /// [`RequestError`], which knows its reply.
    pub fn parse(line: &[u8]) -> Result<Request, RequestError> {
        if line.len() > REQUEST_MAX {
            return Err(RequestError::TooLong);
        }
        let text = checked_text(line)?;
        // RFC 5321 4.1.1.5: trailing blanks are tolerated.
        let text = text.trim_end_matches(' ');
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let upper = verb.to_ascii_uppercase();
        let longest = match upper.as_str() {
            "AUTH" => AUTH_MAX,
            "MAIL" => MAIL_MAX,
            "RCPT" => RCPT_MAX,
            _ => COMMAND_MAX,
        };
        if line.len() > longest {
            return Err(RequestError::TooLong);
        }
        match upper.as_str() {
            "EHLO" => greeting(rest).map(Request::Ehlo),
            "HELO" => greeting(rest).map(Request::Helo),
            "MAIL" => {
                let (path, rest) = path(rest, "FROM:", "MAIL FROM:<name@example.org>")?;
                let params = params::mail(rest)?;
                let reverse_path = if path.is_empty() { None } else { Some(Mailbox::parse(path)?) };
                Ok(Request::Mail { reverse_path, params })
            }
            "RCPT" => {
                let (path, rest) = path(rest, "TO:", "RCPT TO:<name@example.org>")?;
                let params = params::rcpt(rest)?;
                if path.eq_ignore_ascii_case("postmaster") {
                    return Ok(Request::RcptPostmaster { params });
                }
                Ok(Request::Rcpt { forward_path: Mailbox::parse(path)?, params })
            }
            "DATA" => alone(rest, Request::Data),
            "BDAT" => bdat(rest),
            "RSET" => alone(rest, Request::Rset),
            "NOOP" => Ok(Request::Noop),
            "QUIT" => alone(rest, Request::Quit),
            "VRFY" => Ok(Request::Vrfy),
            "EXPN" => Ok(Request::Expn),
            "HELP" => Ok(Request::Help),
            "STARTTLS" => alone(rest, Request::StartTls),
            "AUTH" => auth(rest),
            _ => Err(RequestError::UnknownVerb),
        }
    }
}

impl std::fmt::Debug for Request {
    /// Shows neither whole mailboxes nor authentication data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Request::Ehlo(name) => write!(f, "EHLO {name:?}"),
            Request::Helo(name) => write!(f, "HELO {name:?}"),
            Request::Mail { reverse_path, params } => write!(f, "MAIL {reverse_path:?} {params:?}"),
            Request::Rcpt { forward_path, .. } => write!(f, "RCPT {forward_path:?}"),
            Request::RcptPostmaster { .. } => f.write_str("RCPT postmaster"),
            Request::Bdat { size, last } => write!(f, "BDAT {size} last={last}"),
            Request::Auth { mechanism, .. } => write!(f, "AUTH {mechanism:?} ***"),
            Request::Data => f.write_str("DATA"),
            Request::Rset => f.write_str("RSET"),
            Request::Noop => f.write_str("NOOP"),
            Request::Quit => f.write_str("QUIT"),
            Request::Vrfy => f.write_str("VRFY"),
            Request::Expn => f.write_str("EXPN"),
            Request::Help => f.write_str("HELP"),
            Request::StartTls => f.write_str("STARTTLS"),
        }
    }
}

/// Reads one line of an AUTH dialogue, with its CRLF: the decoded answer.
///
/// # Errors
/// [`RequestError::AuthCancelled`] for `*`, else why the line is malformed.
pub fn parse_auth_answer(line: &[u8]) -> Result<Vec<u8>, RequestError> {
    if line.len() > AUTH_MAX {
        return Err(RequestError::TooLong);
    }
    match checked_text(line)? {
        "*" => Err(RequestError::AuthCancelled),
        text => STANDARD.decode(text).map_err(|_| RequestError::Base64),
    }
}

/// Splits a PLAIN response (RFC 4616) into authorisation identity, account and secret.
pub fn split_plain(response: &[u8]) -> Option<(&str, &str, &str)> {
    let mut parts = std::str::from_utf8(response).ok()?.split('\0');
    let split = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && !split.1.is_empty()).then_some(split)
}

/// The line without its CRLF, as text without control characters.
fn checked_text(line: &[u8]) -> Result<&str, RequestError> {
    let line = line.strip_suffix(b"\r\n").ok_or(RequestError::LineEnd)?;
    if memchr::memchr3(b'\r', b'\n', b'\0', line).is_some() {
        return Err(RequestError::LineEnd);
    }
    let text = std::str::from_utf8(line).map_err(|_| RequestError::Text)?;
    if crate::header::has_control(text) {
        return Err(RequestError::Text);
    }
    Ok(text)
}

fn greeting(name: &str) -> Result<String, RequestError> {
    let name = name.trim_matches(' ');
    if name.is_empty() || name.len() > 255 {
        return Err(RequestError::Syntax("EHLO host.example.org"));
    }
    Ok(name.to_owned())
}

fn alone(rest: &str, request: Request) -> Result<Request, RequestError> {
    if rest.is_empty() { Ok(request) } else { Err(RequestError::Syntax("this command takes no arguments")) }
}

fn bdat(rest: &str) -> Result<Request, RequestError> {
    const HINT: RequestError = RequestError::Syntax("BDAT size [LAST]");
    let (digits, last) = match rest.split_once(' ') {
        Some((digits, word)) if word.eq_ignore_ascii_case("LAST") => (digits, true),
        Some(_) => return Err(HINT),
        None => (rest, false),
    };
    if digits.is_empty() || digits.len() > 18 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HINT);
    }
    Ok(Request::Bdat { size: digits.parse().map_err(|_| HINT)?, last })
}

fn auth(rest: &str) -> Result<Request, RequestError> {
    let (mechanism, initial) = match rest.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial)),
        None => (rest, None),
    };
    // RFC 4422: 1*20 of upper-case letters, digits, hyphen and underscore.
    let fits = (1..=20).contains(&mechanism.len())
        && mechanism.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !fits {
        return Err(RequestError::Syntax("AUTH mechanism [initial response]"));
    }
    let initial = match initial {
        None => None,
        Some("=") => Some(Vec::new()),
        Some(text) => Some(STANDARD.decode(text).map_err(|_| RequestError::Base64)?),
    };
    Ok(Request::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

/// The path between angle brackets, without a source route, and what follows it.
fn path<'a>(rest: &'a str, word: &str, hint: &'static str) -> Result<(&'a str, &'a str), RequestError> {
    let head = rest.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word));
    if head.is_none() {
        return Err(RequestError::Syntax(hint));
    }
    // Blanks after the colon are against the grammar, but old clients write them and they are harmless.
    let after = rest[word.len()..].trim_start_matches(' ');
    let inner = after.strip_prefix('<').ok_or(RequestError::Syntax(hint))?;
    let end = closing_bracket(inner).ok_or(RequestError::Syntax(hint))?;
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(RequestError::Syntax(hint));
    }
    // RFC 5321 4.1.1.3 and appendix C: a source route is read and ignored.
    let path = if path.starts_with('@') {
        path.split_once(':').map(|(_, mailbox)| mailbox).ok_or(RequestError::Syntax(hint))?
    } else {
        path
    };
    Ok((path, rest))
}

/// Where the first `>` outside of a quoted string stands.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}
