//! Sources, pools, warm-up and several hosts of a smarthost, over real sockets: the other side notes who came, by which
//! name, and with which login.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use postrider_domain::alarm::AlarmKind;
use postrider_domain::campaign::CampaignState;
use postrider_domain::egress::{Member, PoolChoice, PoolSettings, SourceSettings, SourceState};
use postrider_domain::id::{PoolId, SourceId};
use postrider_domain::outcome::ReportStatus;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::{RelayHost, RouteKind, RouteSettings, Signing, TlsMode};
use postrider_domain::warmup::WarmUp;
use postrider_engine::WaitingFor;
use postrider_sim::Data;
use postrider_store::alarm::AlarmState;
use postrider_store::route::PasswordChange;
use postrider_store::secret::Secret;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::alarms::states;
use crate::on_both;
use crate::rig::{CONSOLE, Rig, mx_route, rehearsal};

on_both!(
    two_sources_share_a_campaign_and_say_their_own_names,
    an_address_that_is_not_here_passes_its_share_and_is_told,
    a_host_of_the_other_family_is_left_to_the_source_that_has_it,
    a_smarthost_stands_in_for_another_and_nothing_is_an_attempt,
    a_warm_up_keeps_its_day_over_real_lanes_and_a_block_pauses_it,
    a_relay_that_rewrites_gets_no_signature_of_ours_and_marketing_waits_for_proof,
);

/// What a host saw of one message.
#[derive(Debug, Clone)]
struct Came {
    peer: IpAddr,
    name: String,
    login: String,
    to: String,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    /// 421 in place of a greeting.
    Busy,
    /// Every recipient is refused because of our address.
    Blocks,
}

/// A host of our own.
struct Host {
    addr: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
    mood: Arc<Mutex<Mood>>,
}

impl Host {
    async fn at(addr: SocketAddr, mood: Mood) -> Host {
        let listener = tokio::net::TcpListener::bind(addr).await.expect("a loopback address");
        let addr = listener.local_addr().unwrap();
        let (came, mood) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(mood)));
        let host = Host { addr, came: Arc::clone(&came), mood: Arc::clone(&mood) };
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (came, mood) = (Arc::clone(&came), Arc::clone(&mood));
                tokio::spawn(async move {
                    let _ = talk(stream, peer.ip(), &came, &mood).await;
                });
            }
        });
        host
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

async fn talk(
    stream: tokio::net::TcpStream,
    peer: IpAddr,
    came: &Mutex<Vec<Came>>,
    mood: &Mutex<Mood>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if *mood.lock().unwrap() == Mood::Busy {
        return stream.write_all(b"421 4.3.2 busy\r\n").await;
    }
    stream.write_all(b"220 host.test ready\r\n").await?;
    let (mut name, mut login, mut to) = (String::new(), String::new(), String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let reply = match word.as_str() {
            "EHLO" => {
                name = line[5..].to_owned();
                "250-host.test\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 SIZE 1000000\r\n".to_owned()
            }
            "AUTH" => {
                let plain = line.rsplit(' ').next().unwrap_or_default();
                let plain = base64::engine::general_purpose::STANDARD.decode(plain).unwrap_or_default();
                login = String::from_utf8_lossy(&plain).replace('\0', "/");
                "235 2.7.0 in\r\n".to_owned()
            }
            "RCPT" if *mood.lock().unwrap() == Mood::Blocks => {
                "554 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org\r\n".to_owned()
            }
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                "250 2.1.5 ok\r\n".to_owned()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut message = Vec::new();
                while !message.ends_with(b"\r\n.\r\n") {
                    message.push(stream.read_u8().await?);
                }
                let message = String::from_utf8_lossy(&message).into_owned();
                let new = Came { peer, name: name.clone(), login: login.clone(), to: to.clone(), message };
                came.lock().unwrap().push(new);
                "250 2.0.0 taken\r\n".to_owned()
            }
            "QUIT" => return stream.write_all(b"221 2.0.0 bye\r\n").await,
            _ => "250 2.0.0 ok\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await?;
    }
}

fn source(name: &str, last: u8) -> SourceSettings {
    SourceSettings {
        name: name.into(),
        ipv4: Some(Ipv4Addr::new(127, 0, 0, last)),
        ipv6: None,
        ehlo_name: format!("{name}.sender.example.org"),
        node: None,
        state: SourceState::Active,
        per_second: 0,
        per_hour: 0,
        per_day: 0,
        warm_up: None,
    }
}

/// Sources in one pool, by which the rig's route sends.
async fn pool(rig: &Rig, sources: &[SourceSettings]) -> (Vec<SourceId>, PoolId) {
    let mut ids = Vec::new();
    for settings in sources {
        ids.push(rig.store.add_egress_source(&CONSOLE, settings).await.expect("a source").id);
    }
    let members = ids.iter().map(|source| Member { source: *source, weight: 1 }).collect();
    let settings = PoolSettings { name: "pool".into(), members, workspaces: None };
    let pool = rig.store.add_egress_pool(&CONSOLE, &settings).await.expect("a pool").id;
    let egress = PoolChoice { pool: Some(pool), rules: vec![] };
    route(rig, &RouteSettings { egress, ..mx_route() }).await;
    (ids, pool)
}

async fn route(rig: &Rig, settings: &RouteSettings) {
    rig.store.change_route(rig.workspace, &CONSOLE, rig.route, settings, PasswordChange::Keep).await.expect("changed");
}

/// A host for `pool.test`, at the port of MX hosts.
async fn mx(rig: &Rig, last: u8) -> Host {
    let host = Host::at(SocketAddr::from(([127, 0, 0, last], rig.world.mx_port())), Mood::Takes).await;
    rig.world.publish("pool.test", Data::Mx(10, "mx.pool.test".into()));
    rig.world.publish("mx.pool.test", Data::A(Ipv4Addr::new(127, 0, 0, last)));
    host
}

async fn people(rig: &Rig, n: usize) {
    let people: Vec<String> = (0..n).map(|n| format!("p{n}@pool.test")).collect();
    rig.people(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn two_sources_share_a_campaign_and_say_their_own_names(rig: Rig) {
    let host = mx(&rig, 77).await;
    pool(&rig, &[source("one", 2), source("two", 3)]).await;
    people(&rig, 120).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_state(campaign, CampaignState::Done).await;
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for came in host.came() {
        *counts.entry((came.peer.to_string(), came.name)).or_default() += 1;
    }
    let keys: Vec<(&str, &str)> = counts.keys().map(|(ip, name)| (ip.as_str(), name.as_str())).collect();
    assert_eq!(keys, [("127.0.0.2", "one.sender.example.org"), ("127.0.0.3", "two.sender.example.org")]);
    assert!(counts.values().all(|n| (40..=80).contains(n)), "{counts:?}");
    let row = &rig.rows(campaign).await[0];
    let attempts = rig.attempts(row.id).await;
    assert!(["one", "two"].contains(&attempts[0].source.as_str()), "{attempts:?}");
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn an_address_that_is_not_here_passes_its_share_and_is_told(rig: Rig) {
    let host = mx(&rig, 77).await;
    let elsewhere = SourceSettings { ipv4: Some(Ipv4Addr::new(192, 0, 2, 9)), ..source("lost", 9) };
    let (ids, _) = pool(&rig, &[source("one", 2), elsewhere.clone()]).await;
    people(&rig, 30).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_state(campaign, CampaignState::Done).await;
    assert!(host.came().iter().all(|came| came.peer == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))));
    assert!(rig.rows(campaign).await.iter().all(|r| (r.status, r.attempt) == (ReportStatus::Sent, 1)));
    let trouble = rig.store.egress_trouble().await.unwrap();
    assert_eq!(trouble.iter().map(|t| t.source).collect::<Vec<_>>(), [ids[1]]);
    assert!(trouble[0].problem.contains("192.0.2.9"), "{trouble:?}");
    rig.until("the alarm", || async { states(&rig, AlarmKind::SourceMissing).await == [AlarmState::Open] }).await;
    // Without the other one nothing leaves, and nothing is an attempt.
    let off = SourceSettings { state: SourceState::Off, ..source("one", 2) };
    rig.store.change_egress_source(&CONSOLE, ids[0], &off).await.unwrap();
    let before = host.came().len();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let second = rig.campaign(rehearsal()).await;
    rig.until("the reason", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::Egress) }).await;
    assert_eq!(host.came().len(), before);
    // The address is corrected.
    rig.store.change_egress_source(&CONSOLE, ids[1], &source("lost", 4)).await.unwrap();
    rig.until_state(second, CampaignState::Done).await;
    assert!(host.came()[before..].iter().all(|came| came.peer == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 4))));
    assert!(rig.rows(second).await.iter().all(|r| r.attempt == 1));
    rig.until("the trouble to be over", || async { rig.store.egress_trouble().await.unwrap().is_empty() }).await;
    rig.until("the end of the alarm", || async {
        states(&rig, AlarmKind::SourceMissing).await == [AlarmState::Resolved]
    })
    .await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_host_of_the_other_family_is_left_to_the_source_that_has_it(rig: Rig) {
    let loopback: IpAddr = "::1".parse().unwrap();
    if !postrider_smtp::dial::is_own(loopback) {
        return eprintln!("this machine has no IPv6 loopback: nothing to see");
    }
    // The simulated world listens there itself.
    rig.world.publish("pool.test", Data::Mx(10, "mx.pool.test".into()));
    rig.world.publish("mx.pool.test", Data::Aaaa("::1".parse().unwrap()));
    let six = SourceSettings { ipv4: None, ipv6: Some("::1".parse().unwrap()), ..source("six", 5) };
    pool(&rig, &[source("four", 2), six]).await;
    people(&rig, 20).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_state(campaign, CampaignState::Done).await;
    for row in rig.rows(campaign).await {
        assert_eq!((row.status, row.attempt), (ReportStatus::Sent, 1), "{row:?}");
        let attempt = &rig.attempts(row.id).await[0];
        assert_eq!((attempt.source.as_str(), attempt.ip.as_str()), ("six", "::1"));
    }
    engine.shutdown(Duration::from_secs(10)).await;
}

fn relay(addr: SocketAddr, user: &str, priority: u16) -> RelayHost {
    RelayHost {
        host: addr.ip().to_string(),
        port: addr.port(),
        username: user.into(),
        priority,
        weight: 1,
        per_second: 0,
        per_hour: 0,
        per_day: 0,
    }
}

async fn a_smarthost_stands_in_for_another_and_nothing_is_an_attempt(rig: Rig) {
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.81:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let busy = Host::at("127.0.0.82:0".parse().unwrap(), Mood::Busy).await;
    let good = Host::at("127.0.0.83:0".parse().unwrap(), Mood::Takes).await;
    let settings = RouteSettings {
        name: "Relays".into(),
        kind: RouteKind::Smarthost,
        tls: TlsMode::None,
        hosts: vec![relay(gone, "", 0), relay(busy.addr, "", 0), relay(good.addr, "three", 1)],
        ..RouteSettings::default()
    };
    route(&rig, &settings).await;
    let password = PasswordChange::Set(Secret::new("secret of three".into()));
    rig.store.set_host_password(rig.workspace, &CONSOLE, rig.route, "127.0.0.83", password).await.unwrap();
    people(&rig, 40).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 100).await;
    let rows = rig.rows(campaign).await;
    assert!(rows.iter().all(|r| (r.status, r.attempt) == (ReportStatus::Sent, 1)), "{rows:?}");
    let came = good.came();
    assert_eq!(came.len(), 40);
    assert!(came.iter().all(|c| c.login == "/three/secret of three"), "{:?}", came[0].login);
    assert!(came.iter().all(|c| c.to.ends_with("@pool.test")));
    // The first ones are back: they take what comes later.
    *busy.mood.lock().unwrap() = Mood::Takes;
    rig.store.clock.advance(20 * 60_000);
    let second = rig.campaign(rehearsal()).await;
    rig.until_done_winding(second, 100).await;
    assert_eq!((busy.came().len(), good.came().len()), (40, 40));
    assert!(rig.rows(second).await.iter().all(|r| r.attempt == 1));
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_warm_up_keeps_its_day_over_real_lanes_and_a_block_pauses_it(rig: Rig) {
    let host = mx(&rig, 77).await;
    let warm = WarmUp { since: 0, plan: vec![12, 16, 24] };
    let (ids, _) = pool(&rig, &[SourceSettings { warm_up: Some(warm), ..source("new", 6) }]).await;
    people(&rig, 40).await;
    let engine = rig.engine().await;
    let policy = RetryPolicy { max_attempts: 9, ..rehearsal() };
    let campaign = rig.campaign(policy).await;
    rig.until("the first", || async { !host.came().is_empty() }).await;
    rig.until("the reason", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::WarmUp) }).await;
    let day = 86_400_000;
    // Winds on to a moment of the first days, in steps in which everybody may ask.
    let wind = async |to: i64| {
        while rig.store.now().rem_euclid(day) + day * rig.store.now().div_euclid(day) < to {
            rig.store.clock.advance(15 * 60_000);
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
    };
    let midnight = (rig.store.now().div_euclid(day) + 1) * day;
    wind(midnight - 16 * 60_000).await;
    let first = host.came().len();
    assert!((11..=12).contains(&first), "{first} on the first day");
    let rows = rig.store.warm_ups(ids[0]).await.unwrap();
    assert_eq!((rows[0].state.step, rows[0].site.as_str()), (0, "pool.test"));
    wind(midnight + day / 2).await;
    let second = host.came().len() - first;
    assert!((7..=9).contains(&second), "{second} on the morning of the second day");
    // A block at noon: the next that leaves meets it.
    *host.mood.lock().unwrap() = Mood::Blocks;
    let mut paused = rig.store.warm_ups(ids[0]).await.unwrap().remove(0);
    for _ in 0..40 {
        if paused.state.paused_until.is_some() {
            break;
        }
        rig.store.clock.advance(15 * 60_000);
        tokio::time::sleep(Duration::from_millis(200)).await;
        paused = rig.store.warm_ups(ids[0]).await.unwrap().remove(0);
    }
    let until = paused.state.paused_until.expect("paused");
    assert!(paused.reason.contains("blocked using"), "{paused:?}");
    rig.until("the alarm", || async { states(&rig, AlarmKind::WarmupPaused).await == [AlarmState::Open] }).await;
    assert!((22 * 3_600_000..=24 * 3_600_000).contains(&(until - rig.store.now())), "{paused:?}");
    *host.mood.lock().unwrap() = Mood::Takes;
    let before = host.came().len();
    wind(until - 2 * 3_600_000).await;
    assert_eq!(host.came().len(), before, "nothing while it is paused");
    let waiting = engine.waiting();
    assert!(waiting.iter().any(|w| w.reason == WaitingFor::WarmUp), "{waiting:?}");
    wind(until + 6 * 3_600_000).await;
    let after = host.came().len() - before;
    assert!((1..=12).contains(&after), "{after} after the pause, on a lower step");
    rig.until("its end", || async { states(&rig, AlarmKind::WarmupPaused).await == [AlarmState::Resolved] }).await;
    rig.store.stop_campaign(rig.workspace, campaign).await.unwrap();
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_relay_that_rewrites_gets_no_signature_of_ours_and_marketing_waits_for_proof(rig: Rig) {
    let host = Host::at("127.0.0.84:0".parse().unwrap(), Mood::Takes).await;
    let settings = RouteSettings {
        name: "Relay".into(),
        kind: RouteKind::Smarthost,
        tls: TlsMode::None,
        host: "127.0.0.84".into(),
        port: host.addr.port(),
        signing: Signing::RelayRewrites,
        ..RouteSettings::default()
    };
    route(&rig, &settings).await;
    people(&rig, 3).await;
    let engine = rig.engine().await;
    let campaign = rig.campaign(rehearsal()).await;
    rig.until("it to be stuck", || async { engine.waiting().iter().any(|w| w.reason == WaitingFor::Setup) }).await;
    assert!(host.came().is_empty(), "unsigned marketing never starts");
    // Transactional mail may go: it is how a proof comes about.
    crate::limits::single(&rig, &engine, "me@pool.test").await;
    rig.until("the receipt", || async { host.came().len() == 1 }).await;
    assert!(!host.came()[0].message.contains("DKIM-Signature"), "left unsigned");
    let proof = ("news.example.org", "example.org", "rel1");
    rig.store.keep_relay_proof(rig.workspace, &CONSOLE, rig.route, proof).await.unwrap();
    rig.store.clock.advance(31_000);
    rig.until_done_winding(campaign, 500).await;
    assert_eq!(host.came().len(), 4);
    assert!(host.came().iter().all(|c| !c.message.contains("DKIM-Signature")));
    // Another host, and the proof is gone.
    route(&rig, &RouteSettings { host: "127.0.0.85".into(), ..settings }).await;
    assert_eq!(rig.store.relay_proofs(rig.workspace, rig.route).await.unwrap(), []);
    engine.shutdown(Duration::from_secs(10)).await;
}
