//! What SMTP TLS reporting counts (RFC 8460): policy types and result types, with their words.
//!
//! Pure words. Does not know where counts are kept, nor how reports are sent.

use crate::tls::TlsFault;

/// Which policy a session was judged by (RFC 8460 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// DANE.
    Tlsa,
    /// MTA-STS.
    Sts,
    /// The domain has neither.
    None,
}

impl PolicyKind {
    /// The word of RFC 8460.
    pub const fn as_str(self) -> &'static str {
        match self {
            PolicyKind::Tlsa => "tlsa",
            PolicyKind::Sts => "sts",
            PolicyKind::None => "no-policy-found",
        }
    }
}

/// How a session ended (RFC 8460 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResultKind {
    /// As the policy asks.
    Success,
    /// No STARTTLS.
    StarttlsNotSupported,
    /// A certificate for other names.
    CertificateHostMismatch,
    /// A certificate out of its time.
    CertificateExpired,
    /// A certificate from nobody trusted.
    CertificateNotTrusted,
    /// Anything else.
    ValidationFailure,
    /// No TLSA record is usable.
    TlsaInvalid,
    /// DNSSEC does not verify, or its look-up failed.
    DnssecInvalid,
    /// The policy file could not be fetched.
    StsPolicyFetchError,
    /// The policy file cannot be understood.
    StsPolicyInvalid,
    /// The certificate of the policy's web host does not verify.
    StsWebpkiInvalid,
}

impl ResultKind {
    /// The word of RFC 8460; `success` is ours, there it is a count of its own.
    pub const fn as_str(self) -> &'static str {
        match self {
            ResultKind::Success => "success",
            ResultKind::StarttlsNotSupported => "starttls-not-supported",
            ResultKind::CertificateHostMismatch => "certificate-host-mismatch",
            ResultKind::CertificateExpired => "certificate-expired",
            ResultKind::CertificateNotTrusted => "certificate-not-trusted",
            ResultKind::ValidationFailure => "validation-failure",
            ResultKind::TlsaInvalid => "tlsa-invalid",
            ResultKind::DnssecInvalid => "dnssec-invalid",
            ResultKind::StsPolicyFetchError => "sts-policy-fetch-error",
            ResultKind::StsPolicyInvalid => "sts-policy-invalid",
            ResultKind::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }

    /// The result that a fault of a handshake is counted as.
    pub const fn of_fault(fault: TlsFault) -> ResultKind {
        match fault {
            TlsFault::NotOffered => ResultKind::StarttlsNotSupported,
            TlsFault::Expired => ResultKind::CertificateExpired,
            TlsFault::WrongName => ResultKind::CertificateHostMismatch,
            TlsFault::Untrusted => ResultKind::CertificateNotTrusted,
            TlsFault::Handshake | TlsFault::Injected | TlsFault::Ours => ResultKind::ValidationFailure,
        }
    }
}

/// One thing to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose policy.
    pub policy: PolicyKind,
    /// What came of it.
    pub result: ResultKind,
    /// The MX host; empty where the fault is the policy's own.
    pub host: String,
}

impl Finding {
    /// A session as it should be.
    pub fn good(policy: PolicyKind, host: &str) -> Finding {
        Finding { policy, result: ResultKind::Success, host: host.to_owned() }
    }

    /// A session that failed, or would have.
    pub fn failed(policy: PolicyKind, result: ResultKind, host: &str) -> Finding {
        Finding { policy, result, host: host.to_owned() }
    }
}
