//! A world with a resolver and a dialer that live in it.

use std::net::IpAddr;
use std::time::Duration;

use postrider_mail::stuffing::stuff;
use postrider_mail::{DomainName, Mailbox, Reply};
use postrider_sim::{Trace, World, WorldConfig};
use postrider_smtp::{
    AddressPolicy, Connection, Dialer, DnsConfig, DnsResolver, Envelope, Failure, FailureKind, MxAnswer, NameServer,
    OpenParams, Port, Resolver, Roots, Target, TcpDialer, Timeouts, TlsClient, TlsMode,
};

pub struct Rig {
    pub world: World,
    pub resolver: DnsResolver,
    pub dialer: TcpDialer,
    pub tls: TlsClient,
    pub timeouts: Timeouts,
}

pub fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("a mailbox of the test")
}

pub fn domain(text: &str) -> DomainName {
    DomainName::parse(text).expect("a domain of the test")
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(WorldConfig { trace: Trace::On, ..WorldConfig::default() }).await
    }

    pub async fn with(mut config: WorldConfig) -> Self {
        config.slow_reply = Duration::from_millis(60);
        let world = World::start(config).await.expect("the world starts");
        let dns = DnsConfig {
            name_server: NameServer::At(world.dns_addr()),
            timeout: Duration::from_millis(400),
            retries: 0,
            ..DnsConfig::default()
        };
        let resolver = DnsResolver::new(&dns).expect("the resolver starts");
        let dialer = TcpDialer {
            policy: AddressPolicy::allow_loopback(),
            mx_port: world.mx_port(),
            connect_timeout: Duration::from_secs(2),
        };
        let roots = Roots::Pem(world.authority_pem().as_bytes().to_vec());
        let tls = TlsClient::new(&roots).expect("the client has TLS");
        Self { world, resolver, dialer, tls, timeouts: Timeouts::all(Duration::from_millis(700)) }
    }

    /// The first host of a domain and its first address.
    pub async fn route(&self, to: &str) -> (String, IpAddr) {
        let MxAnswer::Hosts(hosts) = self.resolver.mx(&domain(to)).await.expect("the domain has an MX") else {
            panic!("{to} takes no mail");
        };
        let addresses = self.resolver.addresses(&hosts[0].name).await.expect("the host has an address");
        (hosts[0].name.clone(), addresses[0])
    }

    pub async fn open_with(&self, to: &str, change: impl FnOnce(&mut OpenParams)) -> Result<Connection, Failure> {
        let (host, address) = self.route(to).await;
        let mut params = OpenParams {
            ehlo_name: "us.test".to_owned(),
            host,
            address,
            tls: TlsMode::Opportunistic,
            credentials: None,
            timeouts: self.timeouts,
        };
        change(&mut params);
        let target = Target { address, port: Port::Mx, source: None };
        let stream = self.dialer.dial(target).await.expect("the host listens");
        Connection::open(stream, &params, &self.tls).await
    }

    pub async fn open(&self, to: &str) -> Result<Connection, Failure> {
        self.open_with(to, |_| {}).await
    }

    /// One message over a connection of its own.
    pub async fn deliver(&self, recipient: &str, id: &str) -> Result<Reply, Failure> {
        let to = mailbox(recipient);
        let mut connection = self.open(to.domain().as_str()).await?;
        let result = send(&mut connection, recipient, id).await;
        if result.is_ok() {
            connection.quit().await;
        }
        result
    }
}

/// One message over an open connection.
pub async fn send(connection: &mut Connection, recipient: &str, id: &str) -> Result<Reply, Failure> {
    let message = message(recipient, id);
    connection.begin(&envelope(recipient, message.len())).await?;
    let mut stuffed = Vec::new();
    stuff(&message, &mut stuffed).expect("a clean message");
    connection.finish(&stuffed).await
}

pub fn envelope(recipient: &str, size: usize) -> Envelope {
    Envelope {
        reverse_path: Some(mailbox("bounce@sender.test")),
        forward_path: mailbox(recipient),
        size: size as u64,
        smtputf8: false,
        require_tls: false,
    }
}

pub fn message(recipient: &str, id: &str) -> Vec<u8> {
    let length = recipient.len(); // a mailbox may be no ASCII, the message is
    format!(
        "From: us@sender.test\r\nX-Length: {length}\r\nMessage-ID: <{id}>\r\nSubject: hello\r\n\r\n.dots\r\n..\r\nbye\r\n"
    )
    .into_bytes()
}

pub fn code(failure: &Failure) -> u16 {
    failure.reply().map_or(0, |reply| reply.code)
}

pub fn is_refused(failure: &Failure, code: u16, enhanced: &str) -> bool {
    match &failure.kind {
        FailureKind::Refused(reply) => {
            reply.code == code && reply.enhanced.as_ref().is_some_and(|status| status.to_string() == enhanced)
        }
        _ => false,
    }
}
