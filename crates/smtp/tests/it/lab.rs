//! A lab of MX hosts on loopback with every kind of good and bad TLS, and an authority of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider_smtp::dane::Tlsa;
use postrider_smtp::{OpenParams, Roots, Timeouts, TlsClient, TlsMode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The name of every lab host: what makes them differ is behind it.
pub const HOST: &str = "mx.lab.test";

/// What is wrong with a host, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Good,
    SelfSigned,
    Expired,
    WrongName,
    NoStartTls,
    /// Somebody on the way overwrites STARTTLS in the reply to EHLO.
    Stripped,
    /// STARTTLS is offered and answered with 454.
    Declined,
    /// Garbage in place of a handshake.
    Broken,
    /// A reply in clear behind the 220 to STARTTLS.
    Injected,
}

pub const KINDS: [(Kind, &str); 9] = [
    (Kind::Good, "good"),
    (Kind::SelfSigned, "self-signed"),
    (Kind::Expired, "expired"),
    (Kind::WrongName, "wrong name"),
    (Kind::NoStartTls, "no STARTTLS"),
    (Kind::Stripped, "stripped"),
    (Kind::Declined, "454"),
    (Kind::Broken, "broken"),
    (Kind::Injected, "injected"),
];

/// What a host has seen of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub under_tls: bool,
    pub mail: String,
}

pub struct LabHost {
    pub port: u16,
    /// The host's certificate, when it has one.
    pub certificate: Option<Vec<u8>>,
    pub taken: Arc<Mutex<Vec<Taken>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for LabHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(rcgen::DnType::CommonName, "Lab authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    pub fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    pub fn client(&self) -> TlsClient {
        TlsClient::new(&Roots::Pem(self.issuer.pem().into_bytes())).expect("a TLS client")
    }

    fn server(&self, kind: Kind) -> Option<(Arc<ServerConfig>, Vec<u8>)> {
        let name = match kind {
            Kind::Good | Kind::SelfSigned | Kind::Expired => HOST,
            Kind::WrongName => "another.lab.test",
            Kind::NoStartTls | Kind::Stripped | Kind::Declined | Kind::Broken | Kind::Injected => return None,
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("params");
        if kind == Kind::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let own = kind == Kind::SelfSigned;
        let made = if own { params.self_signed(&key) } else { params.signed_by(&key, &self.issuer) };
        let leaf = made.expect("a certificate").der().to_vec();
        let mut chain = vec![CertificateDer::from(leaf.clone())];
        if !own {
            // DANE-TA needs the authority in the chain (RFC 7672 3.1.2).
            chain.push(CertificateDer::from(self.der()));
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a configuration");
        Some((Arc::new(config), leaf))
    }

    /// Starts a host; `require_tls` is whether its EHLO under TLS offers REQUIRETLS.
    pub async fn host(&self, kind: Kind, require_tls: bool) -> LabHost {
        let made = self.server(kind);
        let certificate = made.as_ref().map(|(_, leaf)| leaf.clone());
        let acceptor = made.map(|(config, _)| TlsAcceptor::from(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let taken: Arc<Mutex<Vec<Taken>>> = Arc::default();
        let seen = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                // One that the client leaves ends with an error, as it should.
                tokio::spawn(async move { drop(visit(stream, kind, acceptor, require_tls, &seen).await) });
            }
        });
        LabHost { port, certificate, taken, task }
    }
}

async fn visit(
    mut stream: tokio::net::TcpStream,
    kind: Kind,
    acceptor: Option<TlsAcceptor>,
    require_tls: bool,
    taken: &Mutex<Vec<Taken>>,
) -> std::io::Result<()> {
    stream.write_all(b"220 mx.lab.test ESMTP\r\n").await?;
    let offer = match kind {
        Kind::NoStartTls => "250-REQUIRETLS\r\n", // counts for nothing in clear
        Kind::Stripped => "250-XXXXXXXX\r\n",
        Kind::Good
        | Kind::SelfSigned
        | Kind::Expired
        | Kind::WrongName
        | Kind::Declined
        | Kind::Broken
        | Kind::Injected => "250-STARTTLS\r\n",
    };
    let hello = format!("250-mx.lab.test\r\n{offer}250 SIZE 10000\r\n");
    if !dialogue(&mut stream, &hello, (false, kind), taken).await? {
        return Ok(());
    }
    match kind {
        Kind::Broken => {
            stream.write_all(b"220 go ahead\r\n").await?;
            // Only after the client's hello: what comes before it is no handshake but an injection.
            let mut rest = vec![0; 5];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await?;
            stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28garbage").await?;
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await?;
        }
        Kind::Injected => {
            stream.write_all(b"220 go ahead\r\n250-mx.lab.test\r\n250 REQUIRETLS\r\n").await?;
            let mut rest = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await?;
        }
        Kind::Good | Kind::SelfSigned | Kind::Expired | Kind::WrongName => {
            stream.write_all(b"220 go ahead\r\n").await?;
            let Some(acceptor) = acceptor else { return Ok(()) };
            let mut stream = acceptor.accept(stream).await?;
            let offer = if require_tls { "250-REQUIRETLS\r\n" } else { "" };
            let hello = format!("250-mx.lab.test\r\n{offer}250 SIZE 10000\r\n");
            dialogue(&mut stream, &hello, (true, kind), taken).await?;
        }
        Kind::NoStartTls | Kind::Stripped | Kind::Declined => {}
    }
    Ok(())
}

/// Answers commands; true when the client said STARTTLS and the handshake shall begin.
async fn dialogue<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    hello: &str,
    (under_tls, kind): (bool, Kind),
    taken: &Mutex<Vec<Taken>>,
) -> std::io::Result<bool> {
    let mut lines = BufReader::new(stream);
    let (mut mail, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let verb = line.trim_end().to_ascii_uppercase();
        let reply = if verb.starts_with("EHLO") {
            hello
        } else if verb == "STARTTLS" {
            if kind == Kind::Declined {
                "454 4.7.0 TLS not available\r\n"
            } else {
                return Ok(true);
            }
        } else if verb.starts_with("MAIL") {
            mail = line.trim_end().to_owned();
            "250 ok\r\n"
        } else if verb == "DATA" {
            lines.get_mut().write_all(b"354 go\r\n").await?;
            while line.trim_end() != "." {
                line.clear();
                if lines.read_line(&mut line).await? == 0 {
                    return Ok(false);
                }
            }
            taken.lock().expect("no panic").push(Taken { under_tls, mail: mail.clone() });
            "250 taken\r\n"
        } else if verb == "QUIT" {
            "221 bye\r\n"
        } else {
            "250 ok\r\n"
        };
        lines.get_mut().write_all(reply.as_bytes()).await?;
        if verb == "QUIT" {
            return Ok(false);
        }
    }
}

pub fn params() -> OpenParams {
    OpenParams {
        ehlo_name: "us.test".to_owned(),
        host: HOST.to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        tls: TlsMode::Never,
        credentials: None,
        timeouts: Timeouts::all(Duration::from_secs(10)),
    }
}

/// A record that names a certificate by its whole self.
pub fn names(usage: u8, certificate: &[u8]) -> Tlsa {
    Tlsa { usage, selector: 0, matching: 0, data: certificate.to_vec() }
}
