//! What a listener offers and what its sessions put up with. Values only; the session reads them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// What EHLO offers. What is not offered is refused: an extension's command with 502, its parameter with 555 5.5.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Extensions at all; without, EHLO is refused and HELO works.
    pub esmtp: bool,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: the largest message in bytes; larger ones get 552 5.3.4. `None` sets no limit of its own and
    /// offers no SIZE.
    pub size: Option<u64>,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 3030: BDAT. Its bytes are held to the rules of DATA, since we deliver by DATA.
    pub chunking: bool,
    /// RFC 3461: RET, ENVID, NOTIFY and ORCPT.
    pub dsn: bool,
    /// RFC 8689; shown and taken under TLS only.
    pub require_tls: bool,
    /// RFC 9422: shows [`Limits::recipients`] and [`Limits::messages`]; they hold with or without.
    pub limits: bool,
    /// RFC 3207. Needs [`SessionConfig::tls`], unless the handler answers STARTTLS itself.
    pub starttls: bool,
    /// RFC 4954.
    pub auth: AuthOffer,
}

impl Default for Offer {
    /// A plain MX host.
    fn default() -> Self {
        Self {
            esmtp: true,
            pipelining: true,
            size: Some(50 * 1024 * 1024),
            smtputf8: false,
            eight_bit_mime: true,
            chunking: false,
            dsn: false,
            require_tls: false,
            limits: false,
            starttls: false,
            auth: AuthOffer::Never,
        }
    }
}

impl Offer {
    /// A submission listener (RFC 6409): every extension but REQUIRETLS, 35 MiB, and a login under TLS before MAIL.
    pub fn submission() -> Self {
        Self {
            size: Some(35 * 1024 * 1024),
            smtputf8: true,
            chunking: true,
            dsn: true,
            limits: true,
            starttls: true,
            auth: AuthOffer::RequiredUnderTls,
            ..Self::default()
        }
    }
}

/// When AUTH is offered and asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOffer {
    /// Not at all: AUTH gets 502.
    Never,
    /// Under TLS, to those who like. MAIL goes to the handler with or without a login: an address may be enough.
    OptionalUnderTls,
    /// Also in clear, for a loopback listener, and not asked for: whether MAIL needs it is the handler's business.
    OptionalEvenInClear,
    /// Under TLS; MAIL without a login gets 530 (RFC 6409 4.3), and AUTH in clear 538 5.7.11.
    RequiredUnderTls,
    /// Also in clear: for a loopback listener. MAIL without a login gets 530.
    RequiredEvenInClear,
}

/// What a session puts up with (SEC-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long one whole command line may take, with the silence before it (RFC 5321 4.5.3.2.7: 5 minutes), and
    /// how long a message may pause.
    pub idle: Duration,
    /// How long the client may take to read our replies.
    pub write: Duration,
    /// How long a TLS handshake may take.
    pub tls: Duration,
    /// How long a session may last whatever it does; then 421 4.4.2, also inside a message. `None`: no such limit.
    pub session: Option<Duration>,
    /// How long a transaction that is open when [`SessionConfig::drain`] turns true may still take.
    pub grace: Duration,
    /// Refused or malformed commands before 421 4.7.0. What the handler refuses, recipients over the limit and
    /// malformed addresses do not count: one message with many bad recipients must not end the session.
    pub errors: u32,
    /// Refused logins (5yz) before 421 4.7.0.
    pub failed_logins: u32,
    /// Commands in one session before 421 4.7.0.
    pub commands: u32,
    /// Recipients in one transaction (RFC 5321 4.5.3.1.8: at least 100); more get 452 4.5.3.
    pub recipients: u32,
    /// Transactions in one session before 421 4.7.0. `None`: no such limit.
    pub messages: Option<u32>,
    /// After one minute of a message, the bytes per second that must have come on average.
    pub slowest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            write: Duration::from_secs(60),
            tls: Duration::from_secs(60),
            session: None,
            grace: Duration::from_secs(60),
            errors: 10,
            failed_logins: 3,
            commands: 1_000_000,
            recipients: 1_000,
            messages: None,
            slowest: 128,
        }
    }
}

/// One listener's settings, shared by its sessions.
#[derive(Clone)]
pub struct SessionConfig {
    /// The name in the greeting and in the EHLO reply.
    pub name: String,
    /// What EHLO offers.
    pub offer: Offer,
    /// What a session puts up with.
    pub limits: Limits,
    /// The certificate for STARTTLS or implicit TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Once this is true the listener drains: whoever has no transaction open, or says MAIL, gets
    /// `421 4.3.2 Reconfiguration in progress` and is closed; an open transaction has [`Limits::grace`] to end.
    /// `None`, or a sender that is gone: never.
    pub drain: Option<watch::Receiver<bool>>,
}

impl SessionConfig {
    /// Settings of a plain MX host.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), offer: Offer::default(), limits: Limits::default(), tls: None, drain: None }
    }
}
