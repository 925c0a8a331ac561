//! Opening refuses everything that could lose mail, and the writer's gate is fair and survives who lets go.

use std::sync::{Arc, Mutex};

use crate::db::{Db, Lane};
use crate::error::StoreError;
use crate::sql::{args, sql};
use crate::store::{Store, StoreConfig};
use crate::testing::{open_both, open_sqlite};

#[tokio::test]
async fn one_process_per_data_folder() {
    for store in open_both("lock").await {
        let config = StoreConfig::sqlite(store.data());
        let Err(StoreError::InUse { pid, .. }) = Store::open(config).await else { panic!("two in one folder") };
        assert_eq!(pid, std::process::id().to_string());
    }
}

#[tokio::test]
async fn a_master_key_that_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::sqlite(folder.path());
    let store = Store::open(config.clone()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    std::fs::remove_file(folder.path().join("master.key")).unwrap();
    let error = Store::open(config).await.err().unwrap();
    assert!(matches!(error, StoreError::Sealed(_)), "{error}");
    assert!(error.to_string().contains("master.key"), "{error}");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    for mut store in open_both("newer").await {
        let insert = sql!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', TRUE, $1, 0)"
        );
        let mut tx = store.begin(Lane::Web).await.unwrap();
        tx.execute(insert, args![vec![1u8]]).await.unwrap();
        tx.commit().await.unwrap();
        let error = store.try_reopen().await.err().unwrap();
        assert!(matches!(error, StoreError::Migration(_)), "{error}");
        assert!(error.to_string().contains("newer"), "{error}");
    }
}

#[tokio::test]
async fn after_an_unclean_stop_a_damaged_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::sqlite(folder.path());
    let store = Store::open(config.clone()).await.unwrap();
    crate::testing::write_book(&store, 3_000, &postrider_domain::retry::RetryPolicy::preset("rehearsal").unwrap())
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    // As if the process had been killed, and the disk had lost a page.
    std::fs::write(folder.path().join("postrider.lock"), "1 running").unwrap();
    let file = folder.path().join("postrider.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(&file, bytes).unwrap();
    let error = Store::open(config).await.err().unwrap();
    assert!(matches!(error, StoreError::Corrupt(_) | StoreError::Database(_)), "{error}");
}

#[tokio::test]
async fn the_gate_lets_the_queue_go_first_and_nobody_starve() {
    let store = open_sqlite("gate").await;
    let Db::Sqlite { gate, .. } = &store.inner.db else { panic!("SQLite") };
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = gate.acquire(Lane::Bulk).await.unwrap();
    let mut tasks = Vec::new();
    let lanes = std::iter::once(Lane::Bulk).chain([Lane::Web; 2]).chain([Lane::Queue; 12]);
    for lane in lanes {
        let (gate, order) = (Arc::clone(gate), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let held = gate.acquire(lane).await.unwrap();
            order.lock().unwrap().push(lane);
            drop(held);
        }));
        // One thread: the task runs until it waits at the gate.
        tokio::task::yield_now().await;
    }
    // Somebody who stops waiting is passed over and takes nothing with him.
    tasks[14].abort();
    tokio::task::yield_now().await;
    drop(held);
    for task in tasks {
        let _ = task.await;
    }
    let order = order.lock().unwrap().clone();
    assert_eq!(order.len(), 14);
    assert!(order[..8].iter().all(|l| *l == Lane::Queue), "{order:?}");
    let last = order.iter().rposition(|l| *l == Lane::Queue).unwrap();
    assert!(order[..last].contains(&Lane::Bulk), "after eight times the lower lanes get their turn: {order:?}");
}

#[tokio::test]
async fn a_transaction_that_is_let_go_never_was() {
    for store in open_both("letgo").await {
        let insert = sql!("INSERT INTO event_head (node, seq) VALUES ($1, 1)");
        let mut tx = store.begin(Lane::Web).await.unwrap();
        tx.execute(insert, args![77i64]).await.unwrap();
        drop(tx);
        let mut tx = store.begin(Lane::Queue).await.unwrap();
        tx.execute(insert, args![78i64]).await.unwrap();
        tx.commit().await.unwrap();
        let rows =
            store.read().await.unwrap().all(sql!("SELECT node FROM event_head ORDER BY node"), args![]).await.unwrap();
        let nodes: Vec<i64> = rows.iter().map(|r| r.int("node").unwrap()).collect();
        assert_eq!(nodes, [78], "{}", store.kind);
    }
}

#[tokio::test]
async fn a_snapshot_stands_still_and_a_plain_reader_does_not() {
    for store in open_both("snapshot").await {
        let count = sql!("SELECT count(*) AS n FROM event_head");
        let mut still = store.snapshot().await.unwrap();
        let mut plain = store.read().await.unwrap();
        let before = still.one(count, args![]).await.unwrap().int("n").unwrap();
        let mut tx = store.begin(Lane::Web).await.unwrap();
        tx.execute(sql!("INSERT INTO event_head (node, seq) VALUES (5, 1)"), args![]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(still.one(count, args![]).await.unwrap().int("n").unwrap(), before);
        assert_eq!(plain.one(count, args![]).await.unwrap().int("n").unwrap(), before + 1);
    }
}

#[tokio::test]
async fn values_come_back_as_they_went_and_a_wrong_kind_is_told_by_its_column() {
    for store in open_both("values").await {
        let row = store
            .read()
            .await
            .unwrap()
            .one(
                sql!(
                    "SELECT CAST($1 AS BIGINT) AS a, CAST($2 AS TEXT) AS b, CAST($3 AS BIGINT) AS c, 7 AS d, {json {jsonb $4}} AS e"
                ),
                args![i64::MIN, "α\u{10ffff}'\"", Option::<i64>::None, serde_json::json!({"k": [1, null, "x"]})],
            )
            .await
            .unwrap();
        assert_eq!(row.int("a").unwrap(), i64::MIN);
        assert_eq!(row.text("b").unwrap(), "α\u{10ffff}'\"");
        assert_eq!(row.int_opt("c").unwrap(), None);
        assert_eq!(row.int("d").unwrap(), 7);
        let value: serde_json::Value = serde_json::from_str(&row.text("e").unwrap()).unwrap();
        assert_eq!(value, serde_json::json!({"k": [1, null, "x"]}));
        for error in [row.int("b").err(), row.text("a").err(), row.int("c").err(), row.int("nothing").err()] {
            let Some(StoreError::Corrupt(text)) = error else { panic!("{error:?} ({})", store.kind) };
            assert!(text.starts_with("column "), "{text}");
        }
    }
}
