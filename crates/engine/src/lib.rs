//! Everything that runs by itself: freezing, scheduling, delivering, importing, answering, cleaning up.
//!
//! Time, randomness, DNS and dialling are handed in, so that the whole engine runs in a test on a hand-wound clock. Must
//! not know HTTP: web writes a row and rings the bell.
//!
//! ```text
//! run          start and orderly stop           node        signs of life, takeover, doubts
//! clock_work   what its time has come for       freeze      from an audience to deliveries
//! scheduler    who is handed out next           book        plans, keys, versions, kept ready
//! courier      one connection's task            deliver     the named steps of a delivery
//! connections  resolve and choose_host          judge       what an attempt's end means
//! desk         the steps without a connection   limits      pace and day, as pure code
//! render       the bytes, on the workshop       landing     until a settle is durable
//! resolve_sites  from domains to sites          import      contacts from a file
//! inquiry      what a person waits for          retention   what is thrown away
//! domain_check what DNS says of our own domains  watch       what is wrong: alarms, and who is told
//! breakers     sites that are not believed      reconsider  the second look at an attempt's end
//! rules        the operator's bounce rules
//! transport    how much TLS a domain asks for    certificate  our own certificate, kept fresh
//! unanswered   addresses that did not answer lately
//! tls_report   what TLS with a domain came to, told to its owner
//! submission   the relay's way in: what applications hand over by SMTP
//! key_watch    new DKIM keys sign when DNS has them, old ones are taken back
//! ```

mod book;
mod breakers;
mod certificate;
mod clock_work;
mod config;
mod connections;
mod courier;
mod deliver;
mod desk;
mod domain_check;
mod fair;
mod freeze;
mod import;
mod inquiry;
mod judge;
mod key_watch;
mod landing;
mod limits;
mod metrics;
mod node;
mod plan;
mod reconsider;
mod relay_proof;
mod render;
mod resolve_sites;
mod retention;
mod rules;
mod run;
mod scheduler;
mod shared;
mod sites;
mod steer;
mod submission;
mod tls_report;
mod transport;
mod unanswered;
mod watch;
mod workshop;

pub use certificate::{AcmeConfig, CertificateConfig, CertificateFiles, CertificateOrigin, ExternalAccount};
pub use config::{EngineConfig, Limits, Signing, Times, Work};
pub use domain_check::{FindingCode, FindingState};
pub use plan::{Waiting, WaitingFor};
pub use rules::RuleFileError;
pub use run::{Engine, MetricsText, Readiness, ShutdownReport, StartError};
pub use submission::{Security, SubmissionConfig, SubmissionListener};
pub use tls_report::{PATIENCE as TLS_REPORT_PATIENCE, TlsReportConfig};
pub use transport::{DnsForFetch, PolicyFault, PolicySource, TransportConfig, WebPolicies};
