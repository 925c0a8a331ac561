//! What mark and settle cost a delivery: own CPU time of the process, on SQLite, with the writer's groups as they come.
//!
//! `cargo run --release -p postrider-store --example queue_cost [deliveries] [in the air]`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use postrider_domain::gate::may_send;
use postrider_domain::id::DeliveryId;
use postrider_domain::outcome::{AttemptResult, Outcome};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::TrackingMode;
use postrider_mail::Stage;
use postrider_store::freeze::FrozenRow;
use postrider_store::lane::{LaneLease, QueueRow};
use postrider_store::mark::{MarkAnswer, MarkRequest};
use postrider_store::settle::{AttemptRecord, Next, Settle};
use postrider_store::{Store, StoreConfig, testing};

/// User and system time of this process in microseconds, as the kernel counts it (100 ticks a second).
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * 10_000
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(50_000), |a| a.parse())?;
    let in_the_air: usize = arguments.next().map_or(Ok(256), |a| a.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(n, in_the_air))
}

async fn measure(n: usize, in_the_air: usize) -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("postrider-queue-cost-{}", std::process::id()));
    let store = Store::open(StoreConfig::sqlite(&folder)).await?;
    let book = testing::write_book(&store, n, &RetryPolicy::preset("rehearsal").expect("a preset")).await?;
    let node = store.register_node().await?;

    let (cpu, begun) = (cpu_us(), Instant::now());
    let mut freezer = store.begin_freeze(book.campaign, node, Some("route:test".into())).await?;
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
    let frozen = freezer.finish().await?;
    report("freeze", frozen as usize, cpu_us() - cpu, begun);

    let writer = store.queue_writer(node);
    let lanes = store.lease_lanes(node).await?.new;
    let (cpu, begun) = (cpu_us(), Instant::now());
    let mut rows: Vec<(QueueRow, LaneLease)> = Vec::with_capacity(n);
    for lease in &lanes {
        let mut cursor = None;
        loop {
            let page = store.read_lane(lease.lane, cursor, store.now(), 500).await?;
            let Some(last) = page.last() else { break };
            cursor = Some(last.cursor());
            rows.extend(page.into_iter().map(|r| (r, lease.clone())));
        }
    }
    report("read lanes", rows.len(), cpu_us() - cpu, begun);

    let (cpu, begun) = (cpu_us(), Instant::now());
    let next = Arc::new(AtomicUsize::new(0));
    let rows = Arc::new(rows);
    let tasks: Vec<_> = (0..in_the_air)
        .map(|_| {
            let (writer, rows, next, store) = (writer.clone(), Arc::clone(&rows), Arc::clone(&next), store.clone());
            tokio::spawn(async move {
                while let Some((row, lease)) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let request = MarkRequest {
                        delivery: row.delivery,
                        lane: lease.lane,
                        lane_epoch: lease.epoch,
                        first_try_at: store.now(),
                        dkim_key: None,
                        link_key: 1,
                        rules: 0,
                    };
                    let answer = writer.mark(request).await.expect("the mark is answered");
                    assert_eq!(answer, MarkAnswer::Granted);
                    writer.settle(accepted(row.delivery, lease, store.now())).expect("the settle is taken");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    writer.flush().await?;
    report("mark + settle", n, cpu_us() - cpu, begun);
    let ledger = store.recount(book.workspace, book.campaign).await?;
    assert!(ledger.balances() && ledger.accepted == frozen, "{ledger:?}");
    drop(writer);
    store.close().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn accepted(delivery: DeliveryId, lease: &LaneLease, now: i64) -> Settle {
    Settle {
        delivery,
        lane: lease.lane,
        lane_epoch: lease.epoch,
        attempt: Some(AttemptRecord {
            at: now,
            duration_ms: 12,
            stage: Stage::Dot,
            result: AttemptResult::Accepted,
            code: Some(250),
            enhanced: Some("2.0.0".into()),
            text: "2.0.0 Ok: queued as 4XyZ12345".into(),
            class: None,
            host: "mx1.example.net".into(),
            ip: "192.0.2.1".into(),
            source: "192.0.2.200".into(),
            tls: "TLSv1.3 TLS13_AES_256_GCM_SHA384".into(),
            rule: None,
        }),
        next: Next::Done(Outcome::Accepted),
        suppress: None,
        soft: None,
    }
}

fn report(what: &str, n: usize, cpu_us: u64, begun: Instant) {
    let wall = begun.elapsed().as_secs_f64();
    let n = n.max(1);
    println!(
        "{what:14} {n:8} rows  {:6.1} us CPU a row  {:8.0} rows/s  {wall:.1} s",
        cpu_us as f64 / n as f64,
        n as f64 / wall
    );
}
