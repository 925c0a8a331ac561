//! What one connection's client and the simulated host cost: `cargo run --release -p postrider-sim --example speed`.
//!
//! Arguments: messages (20,000), bytes a message (4,096), connections (1), port on 127.0.0.1 of another host that is
//! sent to in place of a world (`smtp-sink`, say). Client and world run on one thread each, and each thread's CPU time
//! is read from Linux's accounting.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use postrider_mail::Mailbox;
use postrider_mail::stuffing::stuff;
use postrider_sim::{World, WorldConfig};
use postrider_smtp::{
    AddressPolicy, Connection, Dialer, Envelope, OpenParams, Port, Roots, Target, TcpDialer, Timeouts, TlsClient,
    TlsMode,
};

type Anything = Box<dyn Error + Send + Sync>;

fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// CPU time of this thread so far.
fn cpu() -> Result<Duration, Anything> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}

/// The most memory that this process has had.
fn peak_memory() -> Result<String, Anything> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    Ok(line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
}

fn main() -> Result<(), Anything> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default: usize| arguments.next().transpose().map(|given| given.unwrap_or(default));
    let (messages, bytes, connections, other) = (next(20_000)?, next(4_096)?, next(1)?, u16::try_from(next(0)?)?);
    if other != 0 {
        let (client, wall) = send_all(other, messages, bytes, connections)?;
        println!(
            "to port {other}: {:.0}/s, client {:.1} us CPU a message",
            messages as f64 / wall.as_secs_f64(),
            client.as_secs_f64() * 1e6 / messages as f64
        );
        return Ok(());
    }
    for (name, config) in [("sink only", WorldConfig::sink_only()), ("full record", WorldConfig::default())] {
        let (port_out, port_in) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let world = std::thread::spawn(move || -> Result<(Duration, u64), Anything> {
            runtime()?.block_on(async {
                let world = World::start(config).await?;
                let before = cpu()?;
                port_out.send(world.mx_port())?;
                let _ = stopped.await;
                Ok((cpu()? - before, world.stats().accepted))
            })
        });
        let port = port_in.recv()?;
        let (client, wall) = send_all(port, messages, bytes, connections)?;
        let _ = stop.send(());
        let (host, accepted) = world.join().map_err(|_| "the world panicked")??;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / accepted.max(1) as f64;
        println!(
            "{name}: {accepted} messages of {bytes} bytes over {connections} connections, {:.0}/s; CPU a message: client \
             {:.1} us, world {:.1} us ({:.0}/s a core)",
            accepted as f64 / wall.as_secs_f64(),
            each(client),
            each(host),
            1e6 / each(host),
        );
    }
    println!("peak memory of the process: {}", peak_memory()?);
    Ok(())
}

/// Sends everything; the client's CPU time and the time on the wall.
fn send_all(port: u16, messages: usize, bytes: usize, connections: usize) -> Result<(Duration, Duration), Anything> {
    let begun = Instant::now();
    let client = runtime()?.block_on(async {
        let before = cpu()?;
        let local = tokio::task::LocalSet::new();
        for n in 0..connections {
            local.spawn_local(async move {
                if let Err(error) = converse(port, messages / connections, bytes, n).await {
                    eprintln!("connection {n}: {error}");
                }
            });
        }
        local.await;
        Ok::<_, Anything>(cpu()? - before)
    })?;
    Ok((client, begun.elapsed()))
}

async fn converse(port: u16, messages: usize, bytes: usize, number: usize) -> Result<(), Anything> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let dialer = TcpDialer { mx_port: port, ..TcpDialer::new(AddressPolicy::allow_loopback()) };
    let tls = TlsClient::new(&Roots::Empty)?;
    let params = OpenParams {
        ehlo_name: "us.test".to_owned(),
        host: "mx1.mail1.test".to_owned(),
        address,
        tls: TlsMode::Never,
        credentials: None,
        timeouts: Timeouts::rfc5321(),
    };
    let stream = dialer.dial(Target { address, port: Port::Mx, source: None }).await?;
    let mut connection = Connection::open(stream, &params, &tls).await?;
    let mut envelope = Envelope {
        reverse_path: Some(Mailbox::parse("bounce@sender.test")?),
        forward_path: Mailbox::parse("someone@mail1.test")?,
        size: bytes as u64,
        smtputf8: false,
        require_tls: false,
    };
    let line = "The quick brown fox jumps over the lazy dog, as it does each time.\r\n";
    let mut stuffed = Vec::new();
    for n in 0..messages {
        envelope.forward_path = Mailbox::parse(&format!("r{number}-{n}@mail1.test"))?;
        let mut message = format!("Message-ID: <{number}.{n}@sender.test>\r\n\r\n");
        while message.len() + line.len() <= bytes {
            message.push_str(line);
        }
        stuffed.clear();
        stuff(message.as_bytes(), &mut stuffed)?;
        connection.begin(&envelope).await?;
        connection.finish(&stuffed).await?;
    }
    connection.quit().await;
    Ok(())
}
