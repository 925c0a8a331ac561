//! SMTP commands that our client sends: typed, rendered once, checked at the last step (RFC 5321 4.1.1, SEC-3).
//!
//! Must not know the session: which command may come when is the client's business.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::mailbox::Mailbox;

mod params;
#[cfg(test)]
mod tests;

pub use crate::request::{Request, RequestError};
pub use params::{BodyKind, MailParams, Notify, NotifyOn, RcptParams, Return, xtext_decode, xtext_encode};

/// Longest command line with its CRLF (RFC 5321 4.5.3.1.4).
pub const COMMAND_MAX: usize = 512;
/// Longest MAIL line: SIZE adds 26 (RFC 1870), BODY 17 (RFC 6152), SMTPUTF8 10 (RFC 6531),
/// RET and ENVID 120 (RFC 3461), AUTH 500 (RFC 4954), REQUIRETLS 11 (RFC 8689).
pub const MAIL_MAX: usize = COMMAND_MAX + 26 + 17 + 10 + 120 + 500 + 11;
/// Longest RCPT line: NOTIFY and ORCPT add 500 (RFC 3461).
pub const RCPT_MAX: usize = COMMAND_MAX + 500;
/// Longest AUTH line and SASL answer (RFC 4954 section 4).
pub const AUTH_MAX: usize = 12_288;

/// Why a command cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// CR, LF, NUL or another control character in an argument.
    #[error("write the {0} command: an argument holds a control character; remove it")]
    Control(&'static str),
    /// An argument with a blank, or an empty one, where the grammar has one word.
    #[error("write the {0} command: an argument is empty or holds a blank; check the configured name")]
    Argument(&'static str),
    /// Longer than the standards allow.
    #[error("write the {0} command: the line is longer than RFC 5321 4.5.3.1 allows; shorten its arguments")]
    TooLong(&'static str),
    /// Bytes beyond ASCII where SMTPUTF8 was not asked for.
    #[error("write the {0} command: an argument is not ASCII and SMTPUTF8 was not asked for; use an ASCII address")]
    NotAscii(&'static str),
}

/// One command line of the client. `Debug` never shows secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO with our host name or address literal.
    Ehlo {
        /// The name.
        name: &'a str,
    },
    /// HELO, only after a 5yz to EHLO.
    Helo {
        /// The name.
        name: &'a str,
    },
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH PLAIN with its initial response (RFC 4616).
    AuthPlain {
        /// The account at the server.
        username: &'a str,
        /// Its secret.
        password: &'a str,
    },
    /// AUTH LOGIN; two [`Command::AuthAnswer`]s follow.
    AuthLogin,
    /// One answer in an AUTH dialogue, sent as base64.
    AuthAnswer {
        /// The answer before base64.
        secret: &'a str,
    },
    /// MAIL FROM; `None` is the null reverse-path.
    Mail {
        /// Where reports go.
        reverse_path: Option<&'a Mailbox>,
        /// The parameters; only such as the server offers.
        params: &'a MailParams,
    },
    /// RCPT TO. A UTF-8 local part needs a MAIL with SMTPUTF8 before it.
    Rcpt {
        /// The recipient.
        forward_path: &'a Mailbox,
        /// The parameters; only such as the server offers.
        params: &'a RcptParams,
    },
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
}

impl Command<'_> {
    /// The verb, for messages and logs.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Ehlo { .. } => "EHLO",
            Command::Helo { .. } => "HELO",
            Command::StartTls => "STARTTLS",
            Command::AuthPlain { .. } | Command::AuthLogin | Command::AuthAnswer { .. } => "AUTH",
            Command::Mail { .. } => "MAIL",
            Command::Rcpt { .. } => "RCPT",
            Command::Data => "DATA",
            Command::Rset => "RSET",
            Command::Noop => "NOOP",
            Command::Quit => "QUIT",
        }
    }

    /// The whole line with its CRLF.
    ///
    /// # Errors
    /// [`CommandError`]; nothing may then be sent.
    pub fn line(&self) -> Result<Vec<u8>, CommandError> {
        let mut out = Vec::with_capacity(96);
        self.write(&mut out)?;
        Ok(out)
    }

    /// Appends the whole line with its CRLF to `out`, for pipelined groups.
    ///
    /// # Errors
    /// [`CommandError`]; `out` is then as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let start = out.len();
        let written = self.render(out).and_then(|()| self.check(&out[start..]));
        match written {
            Ok(()) => out.extend_from_slice(b"\r\n"),
            Err(_) => out.truncate(start),
        }
        written
    }

    fn render(&self, out: &mut Vec<u8>) -> Result<(), CommandError> {
        match self {
            Command::Ehlo { name } => self.word(b"EHLO ", name, out)?,
            Command::Helo { name } => self.word(b"HELO ", name, out)?,
            Command::StartTls => out.extend_from_slice(b"STARTTLS"),
            Command::AuthPlain { username, password } => {
                // RFC 4616: NUL separates the parts, so neither may hold one.
                if username.contains('\0') || password.contains('\0') {
                    return Err(CommandError::Control(self.verb()));
                }
                out.extend_from_slice(b"AUTH PLAIN ");
                out.extend_from_slice(STANDARD.encode(format!("\0{username}\0{password}")).as_bytes());
            }
            Command::AuthLogin => out.extend_from_slice(b"AUTH LOGIN"),
            Command::AuthAnswer { secret } => out.extend_from_slice(STANDARD.encode(secret).as_bytes()),
            Command::Mail { reverse_path, params } => {
                out.extend_from_slice(b"MAIL FROM:<");
                if let Some(mailbox) = reverse_path {
                    mailbox.write_wire(out);
                }
                out.push(b'>');
                params.write(out);
            }
            Command::Rcpt { forward_path, params } => {
                if !params.is_well_formed() {
                    return Err(CommandError::Argument(self.verb()));
                }
                out.extend_from_slice(b"RCPT TO:<");
                forward_path.write_wire(out);
                out.push(b'>');
                params.write(out);
            }
            Command::Data => out.extend_from_slice(b"DATA"),
            Command::Rset => out.extend_from_slice(b"RSET"),
            Command::Noop => out.extend_from_slice(b"NOOP"),
            Command::Quit => out.extend_from_slice(b"QUIT"),
        }
        Ok(())
    }

    fn word(&self, verb: &[u8], argument: &str, out: &mut Vec<u8>) -> Result<(), CommandError> {
        if argument.is_empty() || argument.contains(char::is_whitespace) {
            return Err(CommandError::Argument(self.verb()));
        }
        out.extend_from_slice(verb);
        out.extend_from_slice(argument.as_bytes());
        Ok(())
    }

    /// The last look at the bytes, whatever the types before promised.
    fn check(&self, line: &[u8]) -> Result<(), CommandError> {
        let (longest, utf8) = match self {
            Command::Mail { params, .. } => (MAIL_MAX, params.smtputf8),
            Command::Rcpt { .. } => (RCPT_MAX, true),
            Command::AuthPlain { .. } | Command::AuthLogin | Command::AuthAnswer { .. } => (AUTH_MAX, false),
            Command::Ehlo { .. }
            | Command::Helo { .. }
            | Command::StartTls
            | Command::Data
            | Command::Rset
            | Command::Noop
            | Command::Quit => (COMMAND_MAX, false),
        };
        if line.len() + 2 > longest {
            return Err(CommandError::TooLong(self.verb()));
        }
        if line.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
            return Err(CommandError::Control(self.verb()));
        }
        if !utf8 && !line.is_ascii() {
            return Err(CommandError::NotAscii(self.verb()));
        }
        Ok(())
    }
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Ehlo { name } | Command::Helo { name } => write!(f, "{} {name:?}", self.verb()),
            Command::Mail { reverse_path, params } => write!(f, "MAIL {reverse_path:?} {params:?}"),
            Command::Rcpt { forward_path, .. } => write!(f, "RCPT {forward_path:?}"),
            Command::AuthPlain { .. } => f.write_str("AUTH PLAIN ***"),
            Command::AuthLogin => f.write_str("AUTH LOGIN"),
            Command::AuthAnswer { .. } => f.write_str("AUTH answer ***"),
            Command::StartTls | Command::Data | Command::Rset | Command::Noop | Command::Quit => {
                f.write_str(self.verb())
            }
        }
    }
}
