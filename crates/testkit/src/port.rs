//! Free TCP and UDP ports on 127.0.0.1 for servers that a test starts. Nothing here opens a port for longer than
//! the search takes, so a server should still be given port 0 where it can tell which port it got.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// A port that is free for TCP and UDP on 127.0.0.1 right now.
///
/// # Panics
/// When the machine has no free port.
pub fn free() -> u16 {
    many(1)[0]
}

/// `count` different ports, each free for TCP and UDP on 127.0.0.1 right now.
///
/// # Panics
/// When the machine has not that many free ports.
pub fn many(count: usize) -> Vec<u16> {
    // All are held until all are found: so no port comes twice.
    let mut held = Vec::new();
    let mut ports = BTreeSet::new();
    for _ in 0..count * 20 + 20 {
        if ports.len() == count {
            return ports.into_iter().collect();
        }
        let Ok(tcp) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let Ok(address) = tcp.local_addr() else { continue };
        // A DNS server of a test listens on both.
        let Ok(udp) = UdpSocket::bind(address) else { continue };
        ports.insert(address.port());
        held.push((tcp, udp));
    }
    panic!("could not find {count} free ports on 127.0.0.1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = many(20);
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free for TCP");
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("free for UDP");
        }
    }
}
