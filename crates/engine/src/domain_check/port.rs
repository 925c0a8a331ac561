//! Whether port 25 of other hosts can be reached from here: what lately came of real connections tells best, else a host that the
//! operator named is tried. No host of anybody else is ever connected to for this.

use std::time::Duration;

use postrider_smtp::{BoxStream, Port, Target};
use postrider_store::transport::day_of;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Finding, FindingCode, Leaves};
use crate::shared::Shared;

/// A person waits for the answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Addresses of the named host that are tried.
const MOST_ADDRESSES: usize = 2;
/// As much of a greeting as is read, in bytes.
const GREETING: usize = 512;

/// What is known; nothing when port 25 works, or when relays send.
pub(super) async fn check(shared: &Shared, leaves: Leaves) -> Option<Finding> {
    match leaves {
        Leaves::Directly => {}
        Leaves::ThroughRelays => return None,
    }
    let ehlo = shared.config.ehlo_name.as_str();
    let today = day_of(shared.now());
    // Sessions with MX hosts are counted by host: one that was reached is proof.
    let reached = shared.store.tls_results(today - 1, today, None).await;
    if reached.is_ok_and(|lines| lines.iter().any(|line| !line.mx_host.is_empty())) {
        return None;
    }
    let Some(host) = &shared.config.port_probe else {
        let text = "no connection to port 25 was tried, and no mail left directly since yesterday";
        return Some(Finding::new(FindingCode::PortNotProbed, ehlo, text));
    };
    match tokio::time::timeout(PATIENCE, probe(shared, host)).await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(Finding::new(FindingCode::PortBlocked, host.as_str(), why)),
        Err(_) => Some(Finding::new(FindingCode::PortBlocked, host.as_str(), "no answer")),
    }
}

/// Connects to the named host as to an MX host, reads its greeting and says goodbye.
async fn probe(shared: &Shared, host: &str) -> Result<(), String> {
    let addresses = shared.config.resolver.addresses(host).await.map_err(|error| error.to_string())?;
    let mut why = "it has no address".to_owned();
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        let target = Target { address, port: Port::Mx, source: None };
        match shared.config.dialer.dial(target).await {
            Ok(stream) => return greeted(stream).await,
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

async fn greeted(mut stream: BoxStream) -> Result<(), String> {
    let mut seen = Vec::new();
    while !seen.contains(&b'\n') && seen.len() < GREETING {
        let mut room = [0; 128];
        match stream.read(&mut room).await {
            Ok(0) => break,
            Ok(count) => seen.extend_from_slice(&room[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
    // A proxy that answers for everybody, as some providers have, says something else.
    if !seen.starts_with(b"220") {
        return Err(format!("it greets with {:?}", String::from_utf8_lossy(&seen)));
    }
    // Who does not hear it anymore is no worse off.
    let _ = stream.write_all(b"QUIT\r\n").await;
    Ok(())
}
