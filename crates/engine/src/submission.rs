//! The relay's way in: applications hand their mail to us over SMTP (RFC 6409).
//!
//! A message is answered with 250 only after it and its deliveries are durable; from there it goes the way of every
//! delivery. Must not know how it is sent, and holds no SQL.
//!
//! ```text
//! door      how many may come in, how fast, and who is locked out
//! desk      who may do what: credentials, domains and routes, kept ready
//! visitor   one session: what each command is answered
//! take      from the bytes that came to the message that is kept
//! notes     what was refused, for the error view
//! ```

mod desk;
mod door;
mod notes;
mod take;
mod visitor;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use postrider_smtp::server::proxy::read_proxy_header;
use postrider_smtp::server::{AuthOffer, Limits, Offer, SessionConfig, serve, serve_implicit_tls};
use postrider_smtp::{BoxStream, CertificateSource, IpRange};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::book::Book;
use crate::shared::{Phase, Shared};
use desk::Desk;
use door::Refused;
use visitor::Visitor;

/// A proxy says within this time whom it speaks for.
const PROXY: Duration = Duration::from_secs(5);

/// How a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// In clear: only for loopback.
    Clear,
    /// STARTTLS is offered; a password is taken under TLS only.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
}

/// Where applications hand in their mail.
#[derive(Clone)]
pub struct SubmissionListener {
    /// Its socket, bound.
    pub socket: Arc<TcpListener>,
    /// How it speaks.
    pub security: Security,
    /// Proxies in front whose word about the client's address is believed (PROXY protocol v2).
    pub proxies: Vec<IpRange>,
}

/// Settings of all listeners.
#[derive(Clone)]
pub struct SubmissionConfig {
    /// The name in the greeting.
    pub name: String,
    /// Largest message, bytes (RFC 1870).
    pub size: u64,
    /// Connections at once over all clients.
    pub connections: usize,
    /// Bytes of messages that may be on their way in at once, over all sessions.
    pub bytes: usize,
    /// The certificate for STARTTLS and implicit TLS.
    pub certificate: CertificateSource,
}

impl SubmissionConfig {
    /// The usual limits: 35 MiB a message, 2,500 connections, 256 MiB on their way in.
    pub fn new(name: impl Into<String>, certificate: CertificateSource) -> SubmissionConfig {
        SubmissionConfig { name: name.into(), size: 35 << 20, connections: 2_500, bytes: 256 << 20, certificate }
    }
}

/// The ways in, ready to listen.
pub(crate) struct Submission {
    desk: Arc<Desk>,
    config: SubmissionConfig,
}

impl Submission {
    pub(crate) fn new(shared: Arc<Shared>, book: Arc<Book>, config: SubmissionConfig) -> Submission {
        Submission { desk: Desk::new(shared, book, &config), config }
    }

    /// What keeps the desk fresh and writes its notes; ends with the engine.
    pub(crate) async fn run(self: Arc<Self>) {
        tokio::join!(Arc::clone(&self.desk).keep_fresh(), Arc::clone(&self.desk).keep_notes());
    }

    /// Takes connections of one listener until the engine stops.
    pub(crate) async fn listen(self: Arc<Self>, listener: SubmissionListener) {
        let listener = Arc::new(listener);
        let session = Arc::new(self.session(listener.security));
        loop {
            let accepted = tokio::select! {
                accepted = listener.socket.accept() => accepted,
                () = self.desk.shared().reached(Phase::Stopping) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (me, listener, session) = (Arc::clone(&self), Arc::clone(&listener), Arc::clone(&session));
                    tokio::spawn(async move { me.receive(stream, peer, &listener, &session).await });
                }
                Err(error) => {
                    // Out of descriptors, most likely: what is there must end before others come in.
                    tracing::warn!(event = "submission.accept", %error);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn session(&self, security: Security) -> SessionConfig {
        let tls = match security {
            Security::Clear => None,
            Security::StartTls | Security::Implicit => Some(self.config.certificate.server_config(&[])),
        };
        SessionConfig {
            offer: Offer {
                size: Some(self.config.size),
                smtputf8: true,
                chunking: true,
                limits: true,
                require_tls: true,
                starttls: security == Security::StartTls,
                auth: match security {
                    // Nothing but this machine hears it.
                    Security::Clear => AuthOffer::OptionalEvenInClear,
                    Security::StartTls | Security::Implicit => AuthOffer::OptionalUnderTls,
                },
                ..Offer::default()
            },
            limits: Limits { recipients: postrider_domain::relay::MOST_RECIPIENTS, ..Limits::default() },
            tls,
            ..SessionConfig::new(self.config.name.clone())
        }
    }

    async fn receive(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        listener: &SubmissionListener,
        session: &SessionConfig,
    ) {
        let _ = stream.set_nodelay(true);
        let mut client: IpAddr = peer.ip().to_canonical();
        let mut stream: BoxStream = if listener.proxies.iter().any(|range| range.contains(client)) {
            match read_proxy_header(Box::new(stream), Instant::now() + PROXY).await {
                Ok((told, stream)) => {
                    client = told.map_or(client, |told| told.ip().to_canonical());
                    stream
                }
                Err(error) => return tracing::warn!(event = "submission.proxy", proxy = %client, %error),
            }
        } else {
            Box::new(stream)
        };
        let pass = match self.desk.door().enter(client) {
            Ok(pass) => pass,
            Err(refused) => {
                self.desk.turned_away(client, refused);
                let line: &[u8] = match refused {
                    Refused::Concurrency => b"421 4.4.5 Service unavailable, concurrency limit reached\r\n",
                    Refused::Crowded => b"421 4.3.2 Too many connections, try again later\r\n",
                };
                let _ = tokio::time::timeout(Duration::from_secs(5), stream.write_all(line)).await;
                return;
            }
        };
        let mut visitor = Visitor::new(Arc::clone(&self.desk), client, listener.security);
        match listener.security {
            Security::Clear | Security::StartTls => serve(stream, session, &mut visitor).await,
            Security::Implicit => serve_implicit_tls(stream, session, &mut visitor).await,
        };
        drop(pass);
    }
}
