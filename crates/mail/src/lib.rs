//! The mail standards as pure code: mailboxes, SMTP grammar, headers, encodings, DKIM and signed tokens.
//!
//! This crate must not know sockets, tasks, SQL or the clock: times are parameters (`i64`,
//! milliseconds since 1970-01-01 UTC) and bytes go in and come out.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod base64_lines;
pub mod command;
pub mod dkim;
pub mod dns_record;
pub mod header;
pub mod mailbox;
pub mod message_id;
pub mod qp;
pub mod redact;
pub mod relay;
pub mod reply;
pub mod report;
pub mod request;
pub mod stage;
pub mod stuffing;
pub mod tls_required;
pub mod token;

mod base32;

pub use command::Command;
pub use mailbox::{DomainName, Mailbox, MailboxError};
pub use reply::{EnhancedStatus, Reply, ReplyParser};
pub use request::Request;
pub use stage::Stage;
