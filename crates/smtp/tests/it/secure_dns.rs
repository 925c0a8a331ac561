//! What the trusted resolver's word leads to: signed, unsigned, bogus, aliased.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, TLSA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use postrider_smtp::dane::Dane;
use postrider_smtp::dnssec::{MxSecurity, SecureLookup, TrustedResolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// One answer of the lab's resolver.
#[derive(Clone)]
struct Said {
    code: ResponseCode,
    /// The AD bit.
    signed: bool,
    records: Vec<(String, RData)>,
    /// UDP says only that it does not fit.
    large: bool,
}

type Zone = HashMap<(String, RecordType), Said>;

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name of the test");
    name.set_fqdn(true);
    name
}

fn reply(zone: &Zone, packet: &[u8], udp: bool) -> Option<Vec<u8>> {
    let request = Message::from_vec(packet).ok()?;
    let query = request.queries.first()?.clone();
    let mut reply = Message::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&request.metadata);
    reply.add_query(query.clone());
    let asked = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    match zone.get(&(asked, query.query_type())) {
        // Silence is an answer of the lab, too.
        None => return None,
        Some(said) => {
            reply.metadata.response_code = said.code;
            // The AD bit comes only to those who ask for it (RFC 6840 5.7).
            reply.metadata.authentic_data = said.signed && request.metadata.authentic_data;
            if udp && said.large {
                reply.metadata.truncation = true;
            } else {
                for (owner, data) in &said.records {
                    reply.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
                }
            }
        }
    }
    reply.to_vec().ok()
}

async fn resolver(zone: Zone) -> TrustedResolver {
    let zone = Arc::new(zone);
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = udp.local_addr().expect("bound").port();
        if let Ok(tcp) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            break (udp, tcp);
        }
    };
    let server: SocketAddr = udp.local_addr().expect("bound");
    let by_udp = Arc::clone(&zone);
    tokio::spawn(async move {
        let mut room = [0; 4096];
        while let Ok((count, from)) = udp.recv_from(&mut room).await {
            if let Some(packet) = reply(&by_udp, &room[..count], true) {
                let _ = udp.send_to(&packet, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let Ok(length) = stream.read_u16().await else { continue };
            let mut packet = vec![0; usize::from(length)];
            if stream.read_exact(&mut packet).await.is_err() {
                continue;
            }
            if let Some(packet) = reply(&zone, &packet, false) {
                let length = u16::try_from(packet.len()).expect("small").to_be_bytes();
                let _ = stream.write_all(&[&length[..], &packet].concat()).await;
            }
        }
    });
    TrustedResolver::new(server, Duration::from_millis(250))
}

fn said(signed: bool, records: &[(&str, RData)]) -> Said {
    let records = records.iter().map(|(owner, data)| ((*owner).to_owned(), data.clone())).collect();
    Said { code: ResponseCode::NoError, signed, records, large: false }
}

fn failed() -> Said {
    Said { code: ResponseCode::ServFail, ..said(false, &[]) }
}

fn a() -> RData {
    RData::A(A(Ipv4Addr::LOCALHOST))
}

fn alias(to: &str) -> RData {
    RData::CNAME(CNAME(name(to)))
}

fn tlsa(usage: CertUsage) -> RData {
    RData::TLSA(TLSA::new(usage, Selector::Spki, Matching::Sha256, vec![7; 32]))
}

/// A zone in which a host has an address, signed or not, and these TLSA records.
fn host(zone: &mut Zone, host: &str, signed: bool, tlsa: Option<Said>) {
    zone.insert((host.to_owned(), RecordType::A), said(signed, &[(host, a())]));
    zone.insert((host.to_owned(), RecordType::AAAA), said(signed, &[]));
    if let Some(said) = tlsa {
        zone.insert((format!("_25._tcp.{host}"), RecordType::TLSA), said);
    }
}

#[tokio::test]
async fn mx_records_are_signed_or_not_or_nobody_knows() {
    let mx = RData::MX(MX::new(10, name("mx.signed.test")));
    let mut zone = Zone::new();
    for (domain, answer) in [
        ("signed.test", said(true, &[("signed.test", mx.clone())])),
        ("unsigned.test", said(false, &[("unsigned.test", mx)])),
        ("none.test", said(true, &[])),
        ("bogus.test", failed()),
    ] {
        zone.insert((domain.to_owned(), RecordType::MX), answer);
    }
    let resolver = resolver(zone).await;
    assert_eq!(resolver.mx("signed.test").await, MxSecurity::Secure);
    assert_eq!(resolver.mx("unsigned.test").await, MxSecurity::Insecure);
    assert_eq!(resolver.mx("none.test").await, MxSecurity::Secure, "signed proof that there is none");
    assert!(matches!(resolver.mx("bogus.test").await, MxSecurity::Failed(why) if why.contains("Server Failure")));
    assert!(matches!(resolver.mx("silent.test").await, MxSecurity::Failed(why) if why.contains("no answer")));
}

#[tokio::test]
async fn tlsa_records_count_only_with_a_signature_over_the_whole_way() {
    let mut zone = Zone::new();
    let records = |host: &str| said(true, &[(&format!("_25._tcp.{host}"), tlsa(CertUsage::DaneEe))]);
    host(&mut zone, "good.test", true, Some(records("good.test")));
    host(&mut zone, "none.test", true, Some(said(true, &[])));
    let gone = Said { code: ResponseCode::NXDomain, ..said(true, &[]) };
    host(&mut zone, "nxdomain.test", true, Some(gone));
    host(&mut zone, "bogus.test", true, Some(failed()));
    host(&mut zone, "silent.test", true, None);
    let unsigned = Said { signed: false, ..records("half.test") };
    host(&mut zone, "half.test", true, Some(unsigned));
    // Its TLSA answer would be an error; nobody asks for it (RFC 7672 2.2.2).
    host(&mut zone, "insecure.test", false, Some(failed()));
    host(&mut zone, "large.test", true, Some(Said { large: true, ..records("large.test") }));
    host(&mut zone, "odd.test", true, Some(said(true, &[("_25._tcp.odd.test", tlsa(CertUsage::PkixEe))])));
    zone.insert(("dead.test".to_owned(), RecordType::A), failed());
    zone.insert(("dead.test".to_owned(), RecordType::AAAA), failed());

    let resolver = resolver(zone).await;
    for (host, usable) in [("good.test", true), ("large.test", true), ("odd.test", false)] {
        let Dane::Records(found) = resolver.tlsa(host).await else { panic!("{host} has records") };
        assert_eq!((found.base.as_str(), found.usable()), (host, usable));
    }
    for host in ["none.test", "nxdomain.test", "half.test"] {
        assert_eq!(resolver.tlsa(host).await, Dane::NoRecords, "{host}");
    }
    assert_eq!(resolver.tlsa("insecure.test").await, Dane::Insecure);
    for host in ["bogus.test", "silent.test", "dead.test"] {
        assert!(matches!(resolver.tlsa(host).await, Dane::Failed(_)), "{host}: never taken for `no records`");
    }
}

#[tokio::test]
async fn aliases_are_followed_as_rfc_7672_says() {
    let mut zone = Zone::new();
    let aliased = |zone: &mut Zone, from: &str, to: &str, signed: bool| {
        let way = [(from, alias(to)), (to, a())];
        zone.insert((from.to_owned(), RecordType::A), said(signed, &way));
        zone.insert((from.to_owned(), RecordType::AAAA), said(signed, &way[..1]));
    };
    let records = |base: &str| said(true, &[(&format!("_25._tcp.{base}"), tlsa(CertUsage::DaneEe))]);
    let at = |base: &str| (format!("_25._tcp.{base}"), RecordType::TLSA);

    // Signed all the way: the name at the end first, then the name at the start.
    aliased(&mut zone, "a.test", "end.test", true);
    zone.insert(at("end.test"), records("end.test"));
    aliased(&mut zone, "b.test", "empty.test", true);
    zone.insert(at("empty.test"), said(true, &[]));
    zone.insert(at("b.test"), records("b.test"));
    // The alias is signed, what it leads to is not: the name at the start only.
    aliased(&mut zone, "c.test", "unsigned.test", false);
    zone.insert(("c.test".to_owned(), RecordType::CNAME), said(true, &[("c.test", alias("unsigned.test"))]));
    zone.insert(at("c.test"), records("c.test"));
    // Nothing is signed.
    aliased(&mut zone, "d.test", "unsigned.test", false);
    zone.insert(("d.test".to_owned(), RecordType::CNAME), said(false, &[("d.test", alias("unsigned.test"))]));

    let resolver = resolver(zone).await;
    for (host, base) in [("a.test", "end.test"), ("b.test", "b.test"), ("c.test", "c.test")] {
        let Dane::Records(found) = resolver.tlsa(host).await else { panic!("{host} has records") };
        assert_eq!(found.base, base, "{host}");
    }
    assert_eq!(resolver.tlsa("d.test").await, Dane::Insecure);
}
