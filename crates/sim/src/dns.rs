//! The DNS server of the world: packets in, packets out, over UDP and TCP. What it says is in `zone`.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CAA, CNAME, MX, PTR, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::tally::Tally;
use crate::zone::{Data, Kind, Said, Zone};

/// The TTL of all answers, in seconds.
const TTL: u32 = 60;
/// How long a name that does not exist may be remembered, in seconds: short, since a rehearsal changes names.
const NEGATIVE_TTL: u32 = 5;
/// How long a TCP client may be silent.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) struct DnsServer {
    pub(crate) zone: Arc<RwLock<Zone>>,
    pub(crate) tally: Arc<Tally>,
}

impl DnsServer {
    pub(crate) async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let mut room = [0; 4096];
        loop {
            // An error here is the echo of an answer that did not arrive (ICMP); the socket is fine.
            let Ok((count, from)) = socket.recv_from(&mut room).await else { continue };
            if let Some((reply, limit)) = self.reply(&room[..count])
                && let Some(packet) = encode(&reply, Some(limit))
            {
                let _ = socket.send_to(&packet, from).await;
            }
        }
    }

    pub(crate) async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await; // out of file handles, say
                continue;
            };
            let server = Arc::clone(&self);
            tokio::spawn(async move {
                let _ = server.tcp_session(stream).await;
            });
        }
    }

    async fn tcp_session(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        loop {
            let Ok(length) = tokio::time::timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
            let mut packet = vec![0; usize::from(length?)];
            stream.read_exact(&mut packet).await?;
            let Some((reply, _)) = self.reply(&packet) else { continue };
            let Some(packet) = encode(&reply, None) else { return Ok(()) };
            let length = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes(), &packet[..]].concat()).await?;
        }
    }

    /// The reply and the client's packet limit; `None` when nothing is to be said.
    fn reply(&self, packet: &[u8]) -> Option<(Message, usize)> {
        let request = Message::from_vec(packet).ok()?;
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        self.tally.dns_questions.add(1);
        let mut reply = Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
        reply.metadata = Metadata::response_from_request(&request.metadata);
        reply.metadata.authoritative = true;
        if request.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            reply.set_edns(edns);
        }
        let [query] = &request.queries[..] else {
            reply.metadata.response_code = ResponseCode::FormErr;
            return Some((reply, 512));
        };
        reply.add_query(query.clone());
        if request.metadata.op_code == OpCode::Query {
            let kind = kind_of(query.query_type());
            let name = query.name().to_ascii();
            let (said, apex) = {
                let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
                (zone.answer(&name, kind), zone.apex(&name))
            };
            fill(&mut reply, query, said, apex.as_deref())?;
        } else {
            reply.metadata.response_code = ResponseCode::NotImp;
        }
        Some((reply, usize::from(request.max_payload()).clamp(512, 1232)))
    }
}

fn kind_of(kind: RecordType) -> Kind {
    match kind {
        RecordType::MX => Kind::Mx,
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::TXT => Kind::Txt,
        RecordType::SOA => Kind::Soa,
        RecordType::PTR => Kind::Ptr,
        RecordType::CAA => Kind::Caa,
        _ => Kind::Other, // the library's list of types grows
    }
}

/// Puts the answer into the reply; `None` when nothing is to be said.
fn fill(reply: &mut Message, query: &Query, said: Said, apex: Option<&str>) -> Option<()> {
    match said {
        Said::Silence => return None,
        Said::Failure => reply.metadata.response_code = ResponseCode::ServFail,
        Said::Refused => reply.metadata.response_code = ResponseCode::Refused,
        Said::NoSuchName => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(soa(query.name(), apex));
        }
        Said::Records(records) if records.is_empty() => {
            reply.add_authority(soa(query.name(), apex));
        }
        Said::Records(records) => {
            for data in records {
                let data = rdata(data).unwrap_or_else(|| RData::TXT(TXT::new(vec!["unusable name".to_owned()])));
                reply.add_answer(Record::from_rdata(query.name().clone(), TTL, data));
            }
        }
    }
    Some(())
}

fn rdata(data: Data) -> Option<RData> {
    Some(match data {
        Data::Mx(preference, host) => RData::MX(MX::new(preference, name(&host)?)),
        Data::A(address) => RData::A(A(address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(address)),
        Data::Cname(target) => RData::CNAME(CNAME(name(&target)?)),
        Data::Soa => soa_data(),
        Data::Ptr(target) => RData::PTR(PTR(name(&target)?)),
        Data::CaaIssue(authority) => RData::CAA(CAA::new_issue(false, Some(name(&authority)?), Vec::new())),
        // RFC 1035 3.3.14: strings of at most 255 bytes.
        Data::Txt(value) => RData::TXT(TXT::from_bytes(value.as_bytes().chunks(255).collect())),
    })
}

fn name(text: &str) -> Option<Name> {
    if text.is_empty() {
        return Some(Name::root());
    }
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn soa(question: &Name, apex: Option<&str>) -> Record {
    // The zone is the last label of the name that was asked for, where none was made by hand.
    let zone = apex.and_then(name).unwrap_or_else(|| question.trim_to(1));
    Record::from_rdata(zone, NEGATIVE_TTL, soa_data())
}

fn soa_data() -> RData {
    let host = |label: &str| Name::from_ascii(label).unwrap_or_else(|_| Name::root());
    RData::SOA(SOA::new(host("ns.test."), host("hostmaster.test."), 1, 3600, 600, 86_400, NEGATIVE_TTL))
}

fn encode(reply: &Message, limit: Option<usize>) -> Option<Vec<u8>> {
    let packet = reply.to_vec().ok()?;
    match limit {
        Some(limit) if packet.len() > limit => reply.truncate().to_vec().ok(),
        Some(_) | None => Some(packet),
    }
}
