//! Why a fetch failed. Messages never repeat the URL: its path and query may hold a secret.

use std::net::IpAddr;
use std::time::Duration;

/// Why a fetch failed; reads after "could not fetch".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("the URL is not usable: {0}")]
    Url(&'static str),
    /// The policy does not list the port.
    #[error("port {port} is not among the allowed ports; use the standard port or allow this one in the settings")]
    Port {
        /// The port of the URL.
        port: u16,
    },
    /// The name has no address, or its look-up failed.
    #[error("{host} could not be looked up: {error}")]
    Lookup {
        /// The host of the URL.
        host: String,
        /// What the resolver said.
        error: std::io::Error,
    },
    /// The host leads to an address that is not on the public internet.
    #[error("its host leads to {address}, {what}; name the range in the settings if this is meant")]
    Address {
        /// The refused address.
        address: IpAddr,
        /// What kind of address that is.
        what: &'static str,
    },
    /// No connection came about.
    #[error("no connection to {address}: {error}")]
    Connect {
        /// The address that was tried last.
        address: IpAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The TLS handshake failed, most often because of the certificate.
    #[error("TLS with {host} failed: {error}")]
    Tls {
        /// The host of the URL.
        host: String,
        /// What went wrong.
        error: std::io::Error,
    },
    /// A header of the request cannot be sent.
    #[error("the header {0:?} cannot be sent; it is reserved or holds signs that no header may hold")]
    Header(String),
    /// The other side did not speak HTTP as it should.
    #[error("the answer is not usable: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is a redirect, which is never followed (RFC 8461 3.3 even forbids it for policies).
    #[error("the answer {status} redirects to {location:?}, which is not followed; use the final URL")]
    Redirect {
        /// The HTTP status.
        status: u16,
        /// Where it pointed to, at most 200 characters.
        location: String,
    },
    /// The body is larger than the policy allows.
    #[error("the answer is larger than {max_bytes} bytes")]
    TooLarge {
        /// The cap.
        max_bytes: usize,
    },
    /// The time was over.
    #[error("the answer was not complete within {0:?}")]
    Timeout(Duration),
}
