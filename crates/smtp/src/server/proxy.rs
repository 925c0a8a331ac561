//! PROXY protocol version 2 (binary): who the client of a proxy in front is.
//!
//! Whose headers are believed is the caller's matter: it reads one from trusted hosts only, and from them always.
//! Knows no SMTP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::dial::BoxStream;

/// The first twelve bytes of each header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The most that may follow the first sixteen bytes: addresses and what a proxy adds (certificate names, ids).
const LENGTH_MAX: u16 = 4_096;

/// Why no PROXY header could be read; reads after "could not". Close the connection without a word: only a
/// misconfigured proxy, or somebody who is none, gets here.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The first bytes are something else, version 1 (text) among others.
    #[error(
        "read the PROXY header: the connection does not begin with one of version 2; set the proxy to send version 2"
    )]
    NoHeader,
    /// Neither version 2 nor one of its two commands.
    #[error("read the PROXY header: version and command {0:#04x} are unknown; set the proxy to send version 2")]
    Command(u8),
    /// Datagrams, local sockets or an unknown family.
    #[error(
        "read the PROXY header: address family {0:#04x} is not TCP over IPv4 or IPv6; set the proxy to forward TCP"
    )]
    Family(u8),
    /// Too short for its addresses.
    #[error("read the PROXY header: {0} bytes do not hold the two addresses; look at the proxy")]
    TooShort(u16),
    /// Over 4,096 bytes.
    #[error("read the PROXY header: {0} bytes are more than the 4,096 that are read; let the proxy add less")]
    TooLong(u16),
    /// Nothing, or not all of it, came in time.
    #[error("read the PROXY header: it did not come in time; check that the proxy sends one")]
    TimedOut,
    /// The connection broke or ended.
    #[error("read the PROXY header: {0}; the connection ended before it was whole")]
    Io(#[from] io::Error),
}

/// Reads one header and leaves the stream right behind it: no byte of what follows is lost.
///
/// The address is that of the proxy's client; `None` when the proxy speaks for itself (LOCAL, a health check) or
/// does not know (UNSPEC). IPv4 addresses in IPv6 form come as IPv4. Additional fields are skipped.
///
/// # Errors
/// [`ProxyError`]; the stream is then useless.
pub async fn read_proxy_header(
    mut stream: BoxStream,
    deadline: Instant,
) -> Result<(Option<SocketAddr>, BoxStream), ProxyError> {
    match tokio::time::timeout_at(deadline, header(&mut stream)).await {
        Ok(source) => Ok((source?, stream)),
        Err(_) => Err(ProxyError::TimedOut),
    }
}

async fn header(stream: &mut BoxStream) -> Result<Option<SocketAddr>, ProxyError> {
    // Exactly as many bytes as belong to the header are ever asked for, so none behind it can be taken.
    let mut fixed = [0; 16];
    // The signature first: whoever speaks something else is not waited for.
    stream.read_exact(&mut fixed[..1]).await?;
    let mut have = 1;
    while have < fixed.len() {
        if fixed[..have.min(12)] != SIGNATURE[..have.min(12)] {
            return Err(ProxyError::NoHeader);
        }
        match stream.read(&mut fixed[have..]).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => have += count,
        }
    }
    if fixed[..12] != SIGNATURE {
        return Err(ProxyError::NoHeader);
    }
    let length = u16::from_be_bytes([fixed[14], fixed[15]]);
    if length > LENGTH_MAX {
        return Err(ProxyError::TooLong(length));
    }
    let mut addresses = [0; 36];
    let wanted = match (fixed[12], fixed[13]) {
        (0x20, _) | (0x21, 0x00) => 0,
        (0x21, 0x11) => 12,
        (0x21, 0x21) => 36,
        (0x21, family) => return Err(ProxyError::Family(family)),
        (command, _) => return Err(ProxyError::Command(command)),
    };
    let extra = length.checked_sub(wanted).ok_or(ProxyError::TooShort(length))?;
    stream.read_exact(&mut addresses[..usize::from(wanted)]).await?;
    skip(stream, extra).await?;
    Ok(match wanted {
        12 => {
            let [a, b, c, d] = [addresses[0], addresses[1], addresses[2], addresses[3]];
            let port = u16::from_be_bytes([addresses[8], addresses[9]]);
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port))
        }
        36 => {
            let octets: [u8; 16] = addresses[..16].try_into().expect("sixteen of thirty-six bytes");
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(), port))
        }
        _ => None,
    })
}

async fn skip(stream: &mut BoxStream, mut count: u16) -> io::Result<()> {
    let mut room = [0; 256];
    while count > 0 {
        let part = count.min(256);
        stream.read_exact(&mut room[..usize::from(part)]).await?;
        count -= part;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
