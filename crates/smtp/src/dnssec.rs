//! The DNS look-ups of DANE: asked of one local resolver that validates, whose AD bit is believed (RFC 7672 2.1).
//!
//! Without DNSSEC of our own there is one way to know that an answer is signed: a validating resolver says so, and
//! nobody can change its word on the way. So only an address that the operator names is asked, and it should be on this
//! machine. Knows DNS messages; does not know what follows from an answer.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::dane::{Dane, DaneRecords, Tlsa};
use crate::dial::BoxFuture;
use crate::dns::Negative;
use crate::dns_cache::Cache;

/// TLSA records belong to the port of the MX hosts of the internet, also in a rehearsal on another one (RFC 7672 2.2.3).
const PORT_LABELS: &str = "_25._tcp";
/// Answers are believed this long: long enough for a campaign, short enough for a change of keys.
const KEEP: Duration = Duration::from_secs(60);
/// A failed look-up is asked again after this time.
const KEEP_FAILED: Duration = Duration::from_secs(15);
/// More TLSA records than this are not read.
const MOST_RECORDS: usize = 32;
/// More aliases than this on the way to an address are a loop.
const MOST_ALIASES: usize = 8;

/// Whether a domain's MX records are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MxSecurity {
    /// They are, and the signatures verify; so is the statement that there are none.
    Secure,
    /// They are not signed.
    Insecure,
    /// The look-up failed or the signatures do not verify.
    Failed(String),
}

/// Asks for what DANE needs. The engine gets one from outside.
pub trait SecureLookup: Send + Sync {
    /// Whether the MX records of a domain are signed.
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, MxSecurity>;

    /// The TLSA records of an MX host.
    fn tlsa<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Dane>;
}

/// [`SecureLookup`] over one validating resolver. Clones share the cache.
#[derive(Clone)]
pub struct TrustedResolver {
    inner: Arc<Inner>,
}

struct Inner {
    server: SocketAddr,
    timeout: Duration,
    tries: u32,
    mx: Cache<MxSecurity>,
    hosts: Cache<Dane>,
}

impl TrustedResolver {
    /// A resolver that believes what this server says about signatures.
    pub fn new(server: SocketAddr, timeout: Duration) -> Self {
        let inner = Inner { server, timeout, tries: 2, mx: Cache::new(50_000), hosts: Cache::new(50_000) };
        Self { inner: Arc::new(inner) }
    }

    /// Forgets everything, so that the next question goes to the server.
    pub fn forget(&self) {
        self.inner.mx.clear();
        self.inner.hosts.clear();
    }
}

impl SecureLookup for TrustedResolver {
    fn mx<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, MxSecurity> {
        let inner = &self.inner;
        Box::pin(async move {
            let ask = || async {
                let answer = match inner.ask(domain, RecordType::MX).await {
                    Ok(answer) if answer.secure => MxSecurity::Secure,
                    Ok(_) => MxSecurity::Insecure,
                    Err(why) => MxSecurity::Failed(why),
                };
                let keep = if matches!(answer, MxSecurity::Failed(_)) { KEEP_FAILED } else { KEEP };
                Ok::<_, Negative>((answer, keep))
            };
            let answer = inner.mx.get_or_ask(domain, ask).await;
            answer.unwrap_or_else(|error| MxSecurity::Failed(error.to_string()))
        })
    }

    fn tlsa<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Dane> {
        let inner = &self.inner;
        Box::pin(async move {
            let ask = || async {
                let answer = inner.ask_host(host).await.unwrap_or_else(Dane::Failed);
                let keep = if matches!(answer, Dane::Failed(_)) { KEEP_FAILED } else { KEEP };
                Ok::<_, Negative>((answer, keep))
            };
            inner.hosts.get_or_ask(host, ask).await.unwrap_or_else(|error| Dane::Failed(error.to_string()))
        })
    }
}

/// One answer: whether the resolver says that it is validated, and its records.
struct Answer {
    secure: bool,
    records: Vec<(String, RData)>,
}

impl Inner {
    /// RFC 7672 2.2: where the addresses are not signed nobody asks for TLSA, since servers that cannot sign often
    /// cannot answer that either.
    async fn ask_host(&self, host: &str) -> Result<Dane, String> {
        let (v4, v6) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        let answers: Vec<Answer> = match (v4, v6) {
            (Err(why), Err(_)) => return Err(why),
            (v4, v6) => [v4, v6].into_iter().flatten().collect(),
        };
        let own = canonical(host);
        let end = answers.iter().map(|answer| alias_end(answer, &own)).find(|end| *end != own);
        let mut bases = Vec::new();
        if answers.iter().all(|answer| answer.secure) {
            // RFC 7672 2.2.3: the expanded name first, the name of the MX record where that has no records.
            bases.extend(end);
            bases.push(own);
        } else if end.is_some() {
            // The alias may be signed where what it leads to is not.
            let alias = self.ask(host, RecordType::CNAME).await?;
            if !alias.secure {
                return Ok(Dane::Insecure);
            }
            bases.push(own);
        } else {
            return Ok(Dane::Insecure);
        }
        for base in bases {
            let answer = self.ask(&format!("{PORT_LABELS}.{base}"), RecordType::TLSA).await?;
            let records: Vec<Tlsa> =
                answer.records.iter().filter_map(|(_, data)| tlsa(data)).take(MOST_RECORDS).collect();
            if answer.secure && !records.is_empty() {
                return Ok(Dane::Records(Arc::new(DaneRecords { base, records })));
            }
        }
        Ok(Dane::NoRecords)
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Answer, String> {
        let mut name = Name::from_ascii(name).map_err(|_| format!("{name:?} is no name of DNS"))?;
        name.set_fqdn(true);
        let query = Query::query(name, kind);
        let mut why = String::new();
        for _ in 0..self.tries.max(1) {
            match within(self.timeout, self.by_udp(&query)).await {
                Ok(reply) => return answer(&reply),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn by_udp(&self, query: &Query) -> Result<Message, String> {
        // A socket of its own for each question: its random port is half of the protection against forged answers.
        let any = if self.server.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let (id, packet) = question(query)?;
        let socket = UdpSocket::bind(any).await.map_err(text)?;
        socket.connect(self.server).await.map_err(text)?;
        socket.send(&packet).await.map_err(text)?;
        let mut room = vec![0; 4096];
        loop {
            let count = socket.recv(&mut room).await.map_err(text)?;
            let Ok(reply) = Message::from_vec(&room[..count]) else { continue };
            if !answers(&reply, id, query) {
                continue;
            }
            return if reply.metadata.truncation { self.by_tcp(query).await } else { Ok(reply) };
        }
    }

    async fn by_tcp(&self, query: &Query) -> Result<Message, String> {
        let (id, packet) = question(query)?;
        let mut stream = TcpStream::connect(self.server).await.map_err(text)?;
        let length = u16::try_from(packet.len()).map_err(text)?;
        stream.write_all(&[&length.to_be_bytes(), &packet[..]].concat()).await.map_err(text)?;
        let length = stream.read_u16().await.map_err(text)?;
        let mut packet = vec![0; usize::from(length)];
        stream.read_exact(&mut packet).await.map_err(text)?;
        let reply = Message::from_vec(&packet).map_err(text)?;
        if answers(&reply, id, query) { Ok(reply) } else { Err("the server answered something else".to_owned()) }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn within<T>(time: Duration, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(time, future).await.unwrap_or_else(|_| Err(format!("no answer within {time:?}")))
}

fn question(query: &Query) -> Result<(u16, Vec<u8>), String> {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| "the system gives no random numbers".to_owned())?;
    let id = u16::from_be_bytes(id);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    // RFC 6840 5.7: asks for the AD bit without the signatures themselves.
    message.metadata.authentic_data = true;
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message.add_query(query.clone());
    Ok((id, message.to_vec().map_err(text)?))
}

fn answers(reply: &Message, id: u16, query: &Query) -> bool {
    reply.metadata.id == id
        && reply.metadata.message_type == MessageType::Response
        && matches!(&reply.queries[..], [asked] if asked.name() == query.name() && asked.query_type() == query.query_type())
}

/// NXDOMAIN and NODATA are answers, signed or not; everything else but NOERROR is none.
fn answer(reply: &Message) -> Result<Answer, String> {
    match reply.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(Answer {
            secure: reply.metadata.authentic_data,
            records: reply.answers.iter().map(|r| (canonical(&r.name.to_ascii()), r.data.clone())).collect(),
        }),
        code => Err(format!("the validating resolver answered {code}")),
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The name at the end of the aliases in an answer.
fn alias_end(answer: &Answer, name: &str) -> String {
    let mut name = name.to_owned();
    for _ in 0..MOST_ALIASES {
        let next = answer.records.iter().find_map(|(owner, data)| match data {
            RData::CNAME(target) if *owner == name => Some(canonical(&target.0.to_ascii())),
            _ => None, // the library's record types
        });
        match next {
            Some(next) => name = next,
            None => break,
        }
    }
    name
}

fn tlsa(data: &RData) -> Option<Tlsa> {
    match data {
        RData::TLSA(record) => Some(Tlsa {
            usage: record.cert_usage.into(),
            selector: record.selector.into(),
            matching: record.matching.into(),
            data: record.cert_data.clone(),
        }),
        _ => None, // the library's record types
    }
}
