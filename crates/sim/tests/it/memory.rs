//! The world in memory agrees with the one on sockets, and its clock can be wound by hand.

use std::time::Duration;

use postrider_mail::Stage;
use postrider_sim::{MemoryWorld, Trace, WorldConfig};
use postrider_smtp::{
    Connection, Dialer, Failure, FailureKind, MxAnswer, OpenParams, Port, Resolver, Roots, Target, Timeouts, TlsClient,
    TlsMode,
};

use crate::rig::{Rig, code, domain, mailbox, send};

fn world() -> MemoryWorld {
    MemoryWorld::new(&WorldConfig { trace: Trace::On, ..WorldConfig::default() }).expect("a world")
}

async fn deliver(world: &MemoryWorld, recipient: &str) -> Result<(), Failure> {
    let to = mailbox(recipient);
    let MxAnswer::Hosts(hosts) = world.mx(to.domain()).await.expect("an MX") else { panic!("null MX") };
    let address = world.addresses(&hosts[0].name).await.expect("an address")[0];
    let stream = world.dial(Target { address, port: Port::Mx, source: None }).await.expect("the host listens");
    let params = OpenParams {
        ehlo_name: "us.test".to_owned(),
        host: hosts[0].name.clone(),
        address,
        tls: TlsMode::Opportunistic,
        credentials: None,
        timeouts: Timeouts::rfc5321(),
    };
    let tls = TlsClient::new(&Roots::Empty).expect("TLS");
    let mut connection = Connection::open(stream, &params, &tls).await?;
    send(&mut connection, recipient, recipient).await.map(drop)
}

#[tokio::test]
async fn both_worlds_resolve_alike() {
    let rig = Rig::new().await;
    let memory = world();
    for name in [
        "mail3.test",
        "tenant1.shared.test",
        "multi.test",
        "implicit.test",
        "cname.test",
        "nullmx.test",
        "nodata.test",
        "nxdomain.test",
        "loop.test",
        "mxcname.test",
        "v6.test",
        "defer2.test",
        "limit1.test",
        "gmail.com",
    ] {
        let (wire, here) = (rig.resolver.mx(&domain(name)).await, memory.mx(&domain(name)).await);
        assert_eq!(wire, here, "{name}");
        if let Ok(MxAnswer::Hosts(hosts)) = wire {
            for host in hosts {
                let pair = (rig.resolver.addresses(&host.name).await, memory.addresses(&host.name).await);
                assert_eq!(pair.0, pair.1, "{}", host.name);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hours_pass_in_no_time() {
    let world = world();
    let begun = tokio::time::Instant::now();
    deliver(&world, "ann@mail1.test").await.expect("accepted");
    assert_eq!(code(&deliver(&world, "ann@greylist900.test").await.expect_err("greylisted")), 451);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(code(&deliver(&world, "ann@greylist900.test").await.expect_err("still")), 451);
    tokio::time::sleep(Duration::from_secs(600)).await;
    deliver(&world, "ann@greylist900.test").await.expect("accepted after 20 minutes");
    let failure = deliver(&world, "ann@hang-dot.test").await.expect_err("never answers");
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.in_doubt());
    let failure = deliver(&world, "ann@never.test").await.expect_err("never greets");
    assert_eq!((failure.stage, failure.kind), (Stage::Greeting, FailureKind::Timeout));
    assert!(begun.elapsed() >= Duration::from_secs(20 * 60 + 10 * 60 + 5 * 60));
    assert_eq!(world.stats().accepted, 2);
    assert_eq!(world.seen("ann@greylist900.test").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn tls_and_refusals_without_sockets() {
    let world = world();
    deliver(&world, "ann@tls.test").await.expect("accepted");
    assert_eq!(world.stats().tls_handshakes, 1);
    let address = world.addresses("mx1.refused.test").await.expect("an address")[0];
    assert!(world.dial(Target { address, port: Port::Mx, source: None }).await.is_err());
    assert!(world.behave("mail1.test", "unknown"));
    assert_eq!(code(&deliver(&world, "ann@mail1.test").await.expect_err("unknown")), 550);
}
