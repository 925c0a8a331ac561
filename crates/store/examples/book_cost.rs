//! What the book costs: CPU and wall time of an import per row, and how long pages take when everything is long.
//!
//! `cargo run --release -p postrider-store --example book_cost [rows] [sqlite|postgres] [import]`

use std::future::Future;
use std::time::Instant;

use postrider_domain::campaign::{Audience, Draft, Objective};
use postrider_domain::consent::LegalBasis;
use postrider_domain::contact::{AddressState, Attributes};
use postrider_domain::gate::may_send;
use postrider_domain::import::{ImportConsent, Mapping};
use postrider_domain::outcome::ReportStatus;
use postrider_domain::stream::TrackingMode;
use postrider_store::actor::Actor;
use postrider_store::campaign::{NewCampaign, NewVersion};
use postrider_store::contact::ContactFilter;
use postrider_store::freeze::FrozenRow;
use postrider_store::import::{Import, ImportEnd, NewImport};
use postrider_store::import_slice::{ImportRow, SliceProgress};
use postrider_store::page::{Page, PageRequest};
use postrider_store::report::DeliveriesOf;
use postrider_store::workspace::{FirstPurposes, NewWorkspace};
use postrider_store::{Store, testing};

/// User and system time of this process in microseconds, as the kernel counts it (100 ticks a second).
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(100_000), |a| a.parse())?;
    let database = arguments.next().unwrap_or_else(|| "sqlite".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let store = match database.as_str() {
            "postgres" => testing::open_postgres_at("book_cost", &postrider_testkit::postgres::shared()).await,
            _ => testing::open_sqlite("book_cost").await,
        };
        measure(&store, n).await
    })
}

fn row(n: usize) -> ImportRow {
    // Mixed, so that the key's index is not written from left to right.
    let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24;
    let mailbox = format!("p{mixed:010x}@d{}.example", n % 1_000);
    ImportRow {
        row: n as i64 + 1,
        mailbox_norm: mailbox.clone(),
        mailbox,
        domain: format!("d{}.example", n % 1_000),
        attributes: Attributes::from([
            ("first_name".to_owned(), format!("Ann{n}").into()),
            ("city".to_owned(), "Turin".into()),
            ("points".to_owned(), (n as i64).into()),
        ]),
        zone: None,
        language: Some("it".into()),
        address_state: AddressState::Mailable,
        marks: Vec::new(),
        hint: None,
    }
}

async fn import(store: &Store, import: &Import, n: usize, what: &str) -> Result<(), Fault> {
    let (cpu, begun) = (cpu_us(), Instant::now());
    let mut longest = 0;
    for from in (0..n).step_by(1_000) {
        let rows: Vec<ImportRow> = (from..n.min(from + 1_000)).map(row).collect();
        let progress = SliceProgress { from: from as i64, to: (from + rows.len()) as i64 };
        let slice = Instant::now();
        store.upsert_rows(import, &rows, &[], progress).await?;
        longest = longest.max(slice.elapsed().as_millis());
    }
    let (cpu, wall) = ((cpu_us() - cpu) as f64 / n as f64, begun.elapsed());
    println!(
        "{what}: {n} rows in {wall:.1?}; {:.1} us a row, own CPU {cpu:.1} us; longest slice {longest} ms",
        wall.as_secs_f64() * 1e6 / n as f64
    );
    store.finish_import(import, ImportEnd::Done).await?;
    Ok(())
}

/// The 95th percentile of one page after the other, in milliseconds.
async fn pages<T, F: Future<Output = postrider_store::Result<Page<T>>>>(
    what: &str,
    read: impl Fn(PageRequest) -> F,
) -> Result<(), Fault> {
    let mut times = Vec::new();
    let mut rows = 0;
    let mut page = PageRequest::first(100);
    for _ in 0..60 {
        let begun = Instant::now();
        let got = read(page.clone()).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        rows += got.items.len();
        page = page.after(got.next);
        if page.cursor.is_none() {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let at = (times.len() * 95 / 100).min(times.len() - 1);
    println!(
        "{what}: {} pages, {rows} rows, p95 {:.2} ms, longest {:.2} ms",
        times.len(),
        times[at],
        times[times.len() - 1]
    );
    Ok(())
}

async fn measure(store: &Store, n: usize) -> Result<(), Fault> {
    let by = Actor::Console;
    let new = NewWorkspace { name: "Cost".into(), purposes: FirstPurposes::OneOfEachKind, ..NewWorkspace::default() };
    let w = store.create_workspace(&by, new).await?.id;
    let list = store.create_list(w, &by, "All", "").await?.id;
    let purpose = store.purposes(w).await?[0].id;
    let wording = store.wordings(w, purpose).await?[0].id;
    let new = || NewImport {
        file_path: "x".into(),
        file_name: "x.csv".into(),
        size: 1,
        mapping: Mapping { lists: vec![list], ..Mapping::default() },
        consent: ImportConsent {
            source: "the old newsletter of our shop".into(),
            basis: Some(LegalBasis::Consent),
            given_at: Some(store.now()),
            purpose: Some(purpose),
            wording: Some(wording),
        },
    };
    for what in ["import, new", "import, again"] {
        store.create_import(w, &by, new()).await?;
        let running = store.next_import(&[]).await?.ok_or("no import")?;
        import(store, &running, n, what).await?;
    }
    if std::env::args().nth(3).is_some_and(|a| a == "import") {
        return Ok(());
    }
    let begun = Instant::now();
    let report = store.verify_ledger(w).await?;
    println!("verify: {} entries in {:.1?}, whole: {}", report.entries, begun.elapsed(), report.is_whole());

    let all = |f: ContactFilter| {
        move |p: PageRequest| {
            let f = f.clone();
            async move { store.contacts(w, &f, &p).await }
        }
    };
    pages("contacts, newest", all(ContactFilter::default())).await?;
    pages("contacts, prefix p0", all(ContactFilter { mailbox_prefix: Some("p0".into()), list: None })).await?;
    pages("contacts of a list", all(ContactFilter { list: Some(list), mailbox_prefix: None })).await?;
    pages("ledger", |p| async move { store.ledger_entries(w, None, &p).await }).await?;

    let campaign = NewCampaign {
        name: "Cost".into(),
        objective: Objective::Information,
        audience: Audience { include: vec![list], exclude: vec![], purpose: Some(purpose) },
        policy: None,
        route: None,
        draft: Draft::default(),
    };
    let campaign = store.create_campaign(w, &by, campaign).await?.id;
    let variant = store.variants(w, campaign).await?[0].id;
    let version = NewVersion { renderer: 1, hash: vec![1], compiled: vec![1], uses: vec!["city".into()] };
    store.save_version(w, variant, version).await?;
    let begun = Instant::now();
    let facts = store.launch_facts(w, campaign, &Draft::default()).await?;
    println!("launch facts: {:.1?}, recipients {:?}", begun.elapsed(), facts.recipients);
    store.start_campaign(w, campaign, store.now()).await?;
    let node = store.register_node().await?;
    let begun = Instant::now();
    let mut freezer = store.begin_freeze(campaign, node, Some("route:test".into())).await?;
    loop {
        let page = freezer.next_page(1_000).await?;
        if page.is_empty() {
            break;
        }
        let rows: Vec<FrozenRow> = page
            .into_iter()
            .filter(|c| may_send(&c.facts).is_ok())
            .map(|c| FrozenRow {
                contact: c.contact,
                mailbox: c.mailbox,
                mailbox_norm: c.mailbox_norm,
                domain: c.domain,
                vars: c.attributes.into_iter().collect(),
                tracking: TrackingMode::None,
            })
            .collect();
        freezer.insert(&rows, &[]).await?;
    }
    println!("frozen: {} in {:.1?}", freezer.finish().await?, begun.elapsed());
    let of = |of: DeliveriesOf| move |p: PageRequest| async move { store.deliveries(w, of, &p).await };
    pages("deliveries, all", of(DeliveriesOf::Campaign(campaign, None))).await?;
    pages("deliveries, queued", of(DeliveriesOf::Campaign(campaign, Some(ReportStatus::Queued)))).await?;
    pages("deliveries, bounced (none)", of(DeliveriesOf::Campaign(campaign, Some(ReportStatus::Bounced)))).await?;
    pages("deliveries, in doubt (none)", of(DeliveriesOf::Campaign(campaign, Some(ReportStatus::InDoubt)))).await?;
    store.stop_campaign(w, campaign).await?;
    while store.cancel_slice(node.id, campaign, 1_000).await?.rows > 0 {}
    pages("deliveries, cancelled", of(DeliveriesOf::Campaign(campaign, Some(ReportStatus::Cancelled)))).await?;
    pages("deliveries, all, settled", of(DeliveriesOf::Campaign(campaign, None))).await?;
    let begun = Instant::now();
    let report = store.campaign_report(w, campaign).await?;
    println!("report: {:.2?}, balances: {}", begun.elapsed(), report.ledger.balances());
    let someone = store.contacts(w, &ContactFilter::default(), &PageRequest::first(1)).await?.items[0].id;
    let begun = Instant::now();
    let entries = store.timeline(w, someone, 100).await?.len();
    println!("timeline: {entries} entries in {:.2?}", begun.elapsed());
    let begun = Instant::now();
    let erasure = store.erase_contact(w, &by, someone).await?;
    println!("erasure: {:.2?}, {erasure:?}", begun.elapsed());
    Ok(())
}
