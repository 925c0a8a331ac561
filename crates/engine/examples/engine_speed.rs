//! How fast the engine imports, freezes and sends on this machine, into a simulated host of the same process.
//!
//! `cargo run --release -p postrider-engine --example engine_speed -- [contacts] [signed|unsigned] [postgres-url]`

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_content::{CompileInput, RENDERER, Sender, compile};
use postrider_domain::campaign::{Audience, BodyFormat, CampaignState, Draft, Objective};
use postrider_domain::consent::{LegalBasis, PurposeKind};
use postrider_domain::import::{ImportConsent, ImportState, Mapping};
use postrider_domain::route::{RouteKind, RouteSettings, TlsMode};
use postrider_domain::stream::Stream;
use postrider_engine::{Engine, EngineConfig, Signing};
use postrider_mail::dkim::SigningKey;
use postrider_mail::mailbox::DomainName;
use postrider_sim::{OtherDomains, World, WorldConfig};
use postrider_smtp::{AddressPolicy, DnsConfig, DnsResolver, NameServer, Roots, TcpDialer, TlsClient};
use postrider_store::actor::Actor;
use postrider_store::campaign::{NewCampaign, NewVersion};
use postrider_store::domain::NewDkimKey;
use postrider_store::import::NewImport;
use postrider_store::secret::SecretBytes;
use postrider_store::workspace::{FirstPurposes, NewWorkspace};
use postrider_store::{Store, StoreConfig};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BY: Actor = Actor::Console;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let contacts: usize = args.next().map_or(Ok(20_000), |n| n.parse())?;
    let signing = if args.next().as_deref() == Some("unsigned") { Signing::OffForMeasurements } else { Signing::On };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let folder = tempfile::tempdir()?;
    let config = match args.next() {
        None => StoreConfig::sqlite(folder.path().join("data")),
        Some(url) => StoreConfig::postgres(folder.path().join("data"), url, "speed"),
    };
    let store = Store::open(config).await?;
    let world = World::start(WorldConfig { other_domains: OtherDomains::Accept, ..WorldConfig::sink_only() }).await?;
    let engine = start(&store, &world, signing).await?;

    let begun = Instant::now();
    let (workspace, list, purpose) = book(&store, &world, folder.path(), contacts).await?;
    say("import", contacts, begun.elapsed());

    let campaign = draft(&store, workspace, list, purpose).await?;
    let begun = Instant::now();
    store.start_campaign(workspace, campaign, 0).await?;
    let state = |wanted: &'static [CampaignState]| {
        let store = store.clone();
        async move {
            loop {
                let campaign = store.campaign(workspace, campaign).await?;
                if wanted.contains(&campaign.state) {
                    return Ok::<_, Box<dyn std::error::Error>>(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    state(&[CampaignState::Sending, CampaignState::Done]).await?;
    say("freeze", contacts, begun.elapsed());
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    state(&[CampaignState::Done]).await?;
    say("send", contacts, begun.elapsed());
    println!("cpu     {:>8.0} us a message, sink included", (cpu_seconds() - cpu) * 1e6 / contacts as f64);
    println!("ledger  {:?}", store.ledger_counts(workspace, campaign).await?);
    println!("peak    {} MB", peak_mb());
    let report = engine.shutdown(Duration::from_secs(20)).await;
    println!("stop    {report:?}");
    Ok(())
}

fn say(what: &str, n: usize, took: Duration) {
    println!("{what:<7} {:>8.2} s  {:>9.0}/s", took.as_secs_f64(), n as f64 / took.as_secs_f64());
}

async fn start(store: &Store, world: &World, signing: Signing) -> Outcome<Engine> {
    let dns = DnsConfig { name_server: NameServer::At(world.dns_addr()), ..DnsConfig::default() };
    let dialer = TcpDialer { mx_port: world.mx_port(), ..TcpDialer::new(AddressPolicy::allow_loopback()) };
    let smarthosts = TcpDialer::new(AddressPolicy::allow_all());
    let tls = TlsClient::new(&Roots::Empty)?;
    let resolver = Arc::new(DnsResolver::new(&dns)?);
    let mut config =
        EngineConfig::new(store.clone(), resolver, Arc::new(dialer), Arc::new(smarthosts), tls, "sender.example.org");
    config.address_policy = AddressPolicy::allow_loopback();
    config.limits.signing = signing;
    Ok(Engine::start(config).await?)
}

type Ids = (postrider_domain::id::WorkspaceId, postrider_domain::id::ListId, postrider_domain::id::PurposeId);

/// A workspace with a domain, a route and contacts from a file.
async fn book(store: &Store, world: &World, folder: &std::path::Path, contacts: usize) -> Outcome<Ids> {
    let new = NewWorkspace {
        name: "Speed".into(),
        controller_name: "Speed S.r.l.".into(),
        postal_address: "Via Roma 1\n27100 Pavia".into(),
        public_url: "https://mail.example.org".into(),
        purposes: FirstPurposes::OneOfEachKind,
        ..NewWorkspace::default()
    };
    let workspace = store.create_workspace(&BY, new).await?.id;
    let purposes = store.purposes(workspace).await?;
    let purpose = purposes.iter().find(|p| p.kind == PurposeKind::Newsletter).ok_or("no purpose")?.id;
    let wording = store.wordings(workspace, purpose).await?.first().ok_or("no wording")?.id;
    let list = store.create_list(workspace, &BY, "Everybody", "").await?.id;
    let key = SigningKey::generate_rsa2048()?;
    let key = NewDkimKey {
        selector: "s1".into(),
        algorithm: "rsa2048".into(),
        private: SecretBytes::new(key.to_pkcs8()?),
        public_txt: key.public_txt(),
    };
    let (name, host) = (DomainName::parse("news.example.org")?, DomainName::parse("bounce.news.example.org")?);
    store.add_domain(workspace, &BY, &name, &host, key).await?;
    let route = RouteSettings {
        name: "Sink".into(),
        kind: RouteKind::Smarthost,
        host: "127.0.0.1".into(),
        port: world.mx_port(),
        tls: TlsMode::None,
        connections: 16,
        ..RouteSettings::default()
    };
    store.add_route(workspace, &BY, &route, None).await?;
    let path = folder.join("people.csv");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    writeln!(file, "email,name,city,note")?;
    for n in 0..contacts {
        writeln!(file, "person{n}@mail{}.test,Person {n},Pavia,something about person {n}", n % 200)?;
    }
    file.flush()?;
    let new = NewImport {
        size: i64::try_from(path.metadata()?.len())?,
        file_path: path.display().to_string(),
        file_name: "people.csv".into(),
        mapping: Mapping { lists: vec![list], ..Mapping::default() },
        consent: ImportConsent {
            source: "speed".into(),
            basis: Some(LegalBasis::Consent),
            given_at: Some(store.now()),
            purpose: Some(purpose),
            wording: Some(wording),
        },
    };
    let import = store.create_import(workspace, &BY, new).await?.id;
    loop {
        let import = store.import(workspace, import).await?;
        match import.state {
            ImportState::Done => return Ok((workspace, list, purpose)),
            ImportState::Failed | ImportState::Stopped => return Err(format!("{import:?}").into()),
            ImportState::Waiting | ImportState::Running => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn draft(
    store: &Store,
    workspace: postrider_domain::id::WorkspaceId,
    list: postrider_domain::id::ListId,
    purpose: postrider_domain::id::PurposeId,
) -> Outcome<postrider_domain::id::CampaignId> {
    let paragraph =
        "<p>Dear {{ name }} of {{ city }}, this is some news that fills a paragraph of ordinary length.</p>\n";
    let draft = Draft {
        from_mailbox: "info@news.example.org".into(),
        from_name: "News".into(),
        subject: "Hello {{ name }}".into(),
        format: Some(BodyFormat::Html),
        body: paragraph.repeat(12),
        ..Draft::default()
    };
    let new = NewCampaign {
        name: "Speed".into(),
        objective: Objective::Information,
        audience: Audience { include: vec![list], exclude: vec![], purpose: Some(purpose) },
        policy: None,
        route: None,
        draft: draft.clone(),
    };
    let campaign = store.create_campaign(workspace, &BY, new).await?.id;
    let variant = store.variants(workspace, campaign).await?.remove(0).id;
    let sender = Sender { controller_name: "Speed".into(), postal_address: "Via Roma 1".into(), ..Sender::default() };
    let attributes = ["name".to_owned(), "city".to_owned()].into();
    let input = CompileInput { draft: &draft, stream: Stream::Marketing, sender: &sender, attributes: &attributes };
    let compilation = compile(&input);
    let compiled = compilation.compiled.ok_or_else(|| format!("{:?}", compilation.findings))?;
    let version = NewVersion {
        renderer: i64::from(RENDERER),
        hash: vec![1],
        compiled: compiled.to_bytes(),
        uses: compiled.variables().to_vec(),
    };
    store.save_version(workspace, variant, version).await?;
    Ok(campaign)
}

/// Processor time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}
