//! How a dialogue goes wrong, told so that the caller can judge: at which step, by whom, and what is still safe.

use postrider_mail::reply::Reply;
use postrider_mail::stage::Stage;

use crate::tls::TlsFault;

/// A step of the dialogue failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub stage: Stage,
    /// What happened.
    pub kind: FailureKind,
    /// The next transaction may use this connection. When false it is closed.
    pub connection_usable: bool,
    /// The whole message with its final dot has left us. Without a reply to it the delivery is in doubt.
    pub dot_sent: bool,
}

/// What happened at the failed step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// The peer replied, and not with success.
    Refused(Reply),
    /// The peer closed the connection, or the network broke it.
    Closed,
    /// The peer had closed the connection (silently or with an unasked 421) between two transactions, before it
    /// replied to anything of this one: open a new one, without penalty and without counting an attempt.
    IdleClosed,
    /// The peer did not answer in time.
    Timeout,
    /// The peer broke the protocol; the text says how.
    Protocol(String),
    /// TLS was required and is not there, or its handshake failed.
    Tls(TlsFailure),
    /// No login that we and the peer both know, or not over a clear connection.
    AuthUnavailable(String),
    /// The message is larger than the peer's SIZE (RFC 1870). Nothing was sent.
    TooLarge {
        /// The peer's limit in bytes.
        limit: u64,
    },
    /// The mailbox needs SMTPUTF8 and the peer does not offer it (RFC 6531 3.2). Nothing was sent.
    NeedsSmtpUtf8,
    /// The message asks for REQUIRETLS and the peer does not offer it (RFC 8689 4.2.1). Nothing was sent.
    NeedsRequireTls,
    /// What we were about to send is not fit to be sent (a control character in an address, say). Nothing was sent.
    Unfit(String),
}

/// How TLS failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFailure {
    /// The class of the fault.
    pub fault: TlsFault,
    /// In words, with what the library or the peer said.
    pub text: String,
}

impl std::fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// Nobody knows whether the peer took the message: the dot left us, and no valid reply came.
    pub fn in_doubt(&self) -> bool {
        self.dot_sent
            && match &self.kind {
                FailureKind::Refused(_) => false,
                FailureKind::Closed
                | FailureKind::IdleClosed
                | FailureKind::Timeout
                | FailureKind::Protocol(_)
                | FailureKind::Tls(_)
                | FailureKind::AuthUnavailable(_)
                | FailureKind::TooLarge { .. }
                | FailureKind::NeedsSmtpUtf8
                | FailureKind::NeedsRequireTls
                | FailureKind::Unfit(_) => true,
            }
    }

    /// The peer's reply, if it gave one.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.kind {
            FailureKind::Refused(reply) => Some(reply),
            FailureKind::Closed
            | FailureKind::IdleClosed
            | FailureKind::Timeout
            | FailureKind::Protocol(_)
            | FailureKind::Tls(_)
            | FailureKind::AuthUnavailable(_)
            | FailureKind::TooLarge { .. }
            | FailureKind::NeedsSmtpUtf8
            | FailureKind::NeedsRequireTls
            | FailureKind::Unfit(_) => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            FailureKind::Refused(reply) => write!(f, "{}", reply_text(reply))?,
            FailureKind::Closed => f.write_str("the peer closed the connection")?,
            FailureKind::IdleClosed => f.write_str("the peer closed the idle connection")?,
            FailureKind::Timeout => f.write_str("the peer did not answer in time")?,
            FailureKind::Protocol(text) => write!(f, "the peer broke the protocol: {text}")?,
            FailureKind::Tls(text) => write!(f, "TLS failed: {text}")?,
            FailureKind::AuthUnavailable(text) => write!(f, "no login possible: {text}")?,
            FailureKind::TooLarge { limit } => {
                write!(f, "552 5.3.4 the message is larger than the peer's limit of {limit} bytes")?;
            }
            FailureKind::NeedsSmtpUtf8 => {
                f.write_str("550 5.6.7 the mailbox needs SMTPUTF8, which the peer does not offer")?;
            }
            FailureKind::NeedsRequireTls => {
                f.write_str("550 5.7.30 the message asks for REQUIRETLS, which the peer does not offer")?;
            }
            FailureKind::Unfit(text) => write!(f, "not fit to be sent: {text}")?,
        }
        write!(f, " (at {})", self.stage.as_str())
    }
}

fn reply_text(reply: &Reply) -> String {
    match &reply.enhanced {
        Some(enhanced) => format!("{} {enhanced} {}", reply.code, reply.text()),
        None => format!("{} {}", reply.code, reply.text()),
    }
}

impl std::error::Error for Failure {}
