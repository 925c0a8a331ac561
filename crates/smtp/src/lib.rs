//! The wire: how mail is sent to a host and taken in, over any byte stream, and how DNS and dialling are asked for.
//!
//! This crate knows SMTP, TLS and DNS. It must not know campaigns, contacts or SQL: it is told an envelope and
//! bytes, and tells what the peer said.
//!
//! ```text
//! resolve, dns   where mail for a domain goes            guard   which addresses may be connected to
//! dial           how a stream is opened                  tls     what TLS agreed on
//! dane, dnssec   TLSA records and who vouches for them   sts     MTA-STS policies as text
//! ladder         how much TLS a host must show, and what follows; secure runs it, tls_report counts it
//! client         one connection's dialogue as a value    server  the other side of it
//! certificate    our own certificate and key, as listeners show it
//! testing        scripted peers for tests
//! ```

pub mod certificate;
pub mod client;
pub mod dane;
pub mod dial;
pub mod dns;
pub mod dnssec;
pub mod guard;
pub mod ladder;
pub mod resolve;
pub mod secure;
pub mod server;
pub mod sts;
pub mod testing;
pub mod tls;
pub mod tls_report;

mod dns_cache;

pub use certificate::{CertificateFacts, CertificateFault, CertificatePair, CertificateSource};
pub use client::{
    Capabilities, Connection, Credentials, Envelope, Failure, FailureKind, OpenParams, Timeouts, TlsFailure,
};
pub use dial::{BoxFuture, BoxStream, DialError, Dialer, Port, Stream, Target, TcpDialer};
pub use dns::{AddressFamily, DnsConfig, DnsResolver, NameServer};
pub use guard::{AddressPolicy, AddressRefused, IpRange};
pub use resolve::{MxAnswer, MxHost, ResolveError, Resolver, try_order};
pub use tls::{DaneTarget, Roots, TlsClient, TlsFault, TlsInfo, TlsMode, Trust};
