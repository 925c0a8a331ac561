//! How a connection to a mail host is opened: the trait that the engine is handed, and its TCP form.
//!
//! Knows sockets and the address policy. Knows neither SMTP nor DNS: the caller brings a resolved address, so
//! that the address that was checked is the address that is connected to.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use crate::guard::{AddressPolicy, AddressRefused};

/// A boxed future, so that the traits here stay usable as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream that an SMTP dialogue can run over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream whose kind is not known any more: TCP, TLS over TCP, or a pipe in a test.
pub type BoxStream = Box<dyn Stream>;

/// The port that a dialer shall connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The port of MX hosts: 25 on the internet, another one in a rehearsal (RFC 5321 4.5.4.2).
    Mx,
    /// A port that the route names, such as 587 of a smarthost.
    Fixed(u16),
}

/// Where to connect to, and from which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The resolved address of the host.
    pub address: IpAddr,
    /// The port.
    pub port: Port,
    /// The local address to connect from; `None` leaves the choice to the system.
    pub source: Option<IpAddr>,
}

/// Why no connection came about; reads after "could not connect".
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address policy forbids this target. Permanent: trying again changes nothing.
    #[error(transparent)]
    AddressRefused(#[from] AddressRefused),
    /// The local address cannot be used on this machine (not configured here, or another family).
    #[error("the source address {source_address} cannot be used: {error}; check the egress source of the route")]
    Source {
        /// The local address that was asked for.
        source_address: IpAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// Nobody answered in time.
    #[error("no answer from {to} within {after:?}")]
    Timeout {
        /// The remote address and port.
        to: SocketAddr,
        /// How long we waited.
        after: Duration,
    },
    /// The network or the host refused.
    #[error("{to} cannot be reached: {error}")]
    Io {
        /// The remote address and port.
        to: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Opens connections. The engine gets one from outside, so that its tests need no network.
pub trait Dialer: Send + Sync {
    /// Connects to the target, or says why not.
    fn dial<'a>(&'a self, target: Target) -> BoxFuture<'a, Result<BoxStream, DialError>>;
}

/// Whether the address belongs to this machine: only then can a socket be bound to it. What lies behind a translator
/// is not known here.
pub fn is_own(address: IpAddr) -> bool {
    std::net::UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// The dialer of a real node.
#[derive(Debug, Clone)]
pub struct TcpDialer {
    /// Which addresses may be connected to.
    pub policy: AddressPolicy,
    /// The port that stands for [`Port::Mx`]; 25 unless this is a rehearsal.
    pub mx_port: u16,
    /// How long the TCP handshake may take.
    pub connect_timeout: Duration,
}

impl TcpDialer {
    /// A dialer for the internet: public targets only, port 25, 30 seconds for the TCP handshake.
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy, mx_port: 25, connect_timeout: Duration::from_secs(30) }
    }

    async fn connect(&self, target: Target) -> Result<BoxStream, DialError> {
        self.policy.check(target.address)?;
        let port = match target.port {
            Port::Mx => self.mx_port,
            Port::Fixed(port) => port,
        };
        let to = SocketAddr::new(target.address, port);
        let io = |error| DialError::Io { to, error };
        let socket = match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
        .map_err(io)?;
        if let Some(source_address) = target.source {
            // Port 0: the system picks one. Without SO_REUSEADDR thousands of short connections from one
            // address run out of ports that are still in TIME_WAIT.
            socket.set_reuseaddr(true).map_err(io)?;
            socket
                .bind(SocketAddr::new(source_address, 0))
                .map_err(|error| DialError::Source { source_address, error })?;
        }
        let stream = tokio::time::timeout(self.connect_timeout, socket.connect(to))
            .await
            .map_err(|_| DialError::Timeout { to, after: self.connect_timeout })?
            .map_err(io)?;
        // Without this, Nagle's algorithm and delayed ACKs cost 40 ms a message on a reused connection.
        stream.set_nodelay(true).map_err(io)?;
        Ok(Box::new(stream))
    }
}

impl Dialer for TcpDialer {
    fn dial<'a>(&'a self, target: Target) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(self.connect(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn loopback_dialer(mx_port: u16) -> TcpDialer {
        TcpDialer { policy: AddressPolicy::allow_loopback(), mx_port, connect_timeout: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn connects_from_the_named_source_to_the_mx_port() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("bound").port();
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 42));
        let dialer = loopback_dialer(port);
        let target = Target { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: Port::Mx, source: Some(source) };
        let (dialled, accepted) = tokio::join!(dialer.dial(target), listener.accept());
        assert!(dialled.is_ok());
        assert_eq!(accepted.expect("accepted").1.ip(), source);
    }

    #[test]
    fn an_address_of_this_machine_is_known() {
        assert!(is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert!(!is_own("192.0.2.1".parse().expect("literal")));
        let policy = AddressPolicy::allow_loopback();
        assert!(!policy.forbids_own(IpAddr::V4(Ipv4Addr::LOCALHOST)), "a named range lifts it");
        assert!(policy.forbids_own("8.8.8.8".parse().expect("literal")));
    }

    #[tokio::test]
    async fn a_private_target_is_refused_before_any_packet() {
        let dialer = TcpDialer::new(AddressPolicy::default());
        let target = Target { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: Port::Fixed(1), source: None };
        assert!(matches!(dialer.dial(target).await.err(), Some(DialError::AddressRefused(_))));
    }

    #[tokio::test]
    async fn a_foreign_source_address_and_a_closed_port_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let dialer = loopback_dialer(port);
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let foreign = Target { address, port: Port::Mx, source: Some("192.0.2.1".parse().expect("literal")) };
        assert!(matches!(dialer.dial(foreign).await.err(), Some(DialError::Source { .. })));
        let closed = Target { address, port: Port::Mx, source: None };
        assert!(matches!(dialer.dial(closed).await.err(), Some(DialError::Io { .. })));
    }
}
