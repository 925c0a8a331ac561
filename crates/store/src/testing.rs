//! For tests and measurements of every crate: temporary stores on both databases, and a small book to begin with.
//!
//! Never called by the program itself. Must not know any test.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use postrider_domain::campaign::Audience;
use postrider_domain::id::{CampaignId, ContactId, ListId, PurposeId, VariantId, VersionId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::Stream;
use serde_json::json;
use sqlx::{Connection, Executor};

use crate::clock::HandClock;
use crate::db::{Durability, Lane};
use crate::error::Result;
use crate::folder::HandDisk;
use crate::read::to_json;
use crate::sql::{args, sql};
use crate::store::{Database, Store, StoreConfig};

/// The time at which hand-wound clocks begin: 2026-11-21 12:00 UTC.
pub const NOON: i64 = 1_795_262_400_000;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A store of its own, gone when dropped.
pub struct TestStore {
    store: Option<Store>,
    /// Its hand-wound clock.
    pub clock: HandClock,
    /// Its disk: room enough, until a test says otherwise. The database lies on a real one.
    pub disk: HandDisk,
    /// `sqlite` or `postgres`, for messages.
    pub kind: &'static str,
    folder: PathBuf,
    /// Server and name of the temporary database.
    postgres: Option<(String, String)>,
    nodes: AtomicU32,
}

impl Deref for TestStore {
    type Target = Store;
    fn deref(&self) -> &Store {
        self.store.as_ref().expect("open until dropped")
    }
}

/// A store on SQLite and one on PostgreSQL, on the server at this address (see `postrider_testkit::postgres::shared`).
///
/// # Panics
/// When one of them cannot be opened: a test must fail then, not be skipped.
pub async fn open_both_at(test: &str, server: &std::result::Result<String, String>) -> Vec<TestStore> {
    vec![open_sqlite(test).await, open_postgres_at(test, server).await]
}

/// As [`open_both_at`], on the server that the test kit finds or starts.
#[cfg(test)]
pub(crate) async fn open_both(test: &str) -> Vec<TestStore> {
    open_both_at(test, &postrider_testkit::postgres::shared()).await
}

/// A temporary store on PostgreSQL, on the server that the test kit finds or starts.
#[cfg(test)]
pub(crate) async fn open_postgres(test: &str) -> TestStore {
    open_postgres_at(test, &postrider_testkit::postgres::shared()).await
}

fn folder(test: &str) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("postrider-{test}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

/// A temporary store on SQLite.
///
/// # Panics
/// When it cannot be opened.
pub async fn open_sqlite(test: &str) -> TestStore {
    let folder = folder(test);
    let clock = HandClock::at(NOON);
    let disk = HandDisk::empty();
    let config = StoreConfig {
        clock: Arc::new(clock.clone()),
        disk: Arc::new(disk.clone()),
        ..StoreConfig::sqlite(folder.join("main"))
    };
    let store = Store::open(config).await.expect("a temporary SQLite store opens");
    TestStore { store: Some(store), clock, disk, kind: "sqlite", folder, postgres: None, nodes: AtomicU32::new(1) }
}

/// A temporary store on PostgreSQL.
///
/// # Panics
/// When there is no server or the store cannot be opened.
pub async fn open_postgres_at(test: &str, server: &std::result::Result<String, String>) -> TestStore {
    let server = server.as_ref().unwrap_or_else(|why| panic!("this test needs PostgreSQL: {why}")).clone();
    let folder = folder(test);
    let name = format!("postrider_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = sqlx::PgConnection::connect(&server).await.expect("the PostgreSQL server answers");
    let made = admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"))).await;
    made.expect("a temporary database can be made");
    // Tests kill processes, not machines: they need not wait for the disk.
    let quick = admin.execute(sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} SET synchronous_commit = off"))).await;
    quick.expect("a temporary database can be set up");
    let _ = admin.close().await;
    let clock = HandClock::at(NOON);
    let mut test = TestStore {
        store: None,
        clock,
        disk: HandDisk::empty(),
        kind: "postgres",
        folder,
        postgres: Some((server, name)),
        nodes: AtomicU32::new(1),
    };
    test.store = Some(Store::open(test.config("main")).await.expect("a temporary PostgreSQL store opens"));
    test
}

impl TestStore {
    fn config(&self, node: &str) -> StoreConfig {
        let database = match &self.postgres {
            None => Database::Sqlite,
            Some((server, name)) => {
                let (base, _) = server.rsplit_once('/').unwrap_or((server, ""));
                Database::Postgres { url: format!("{base}/{name}"), durability: Durability::NotPromised }
            }
        };
        StoreConfig {
            database,
            clock: Arc::new(self.clock.clone()),
            disk: Arc::new(self.disk.clone()),
            node_name: node.into(),
            node_dead_after_ms: 1_000,
            master_key: Some(self.folder.join("main").join("master.key")),
            ..StoreConfig::sqlite(self.folder.join(node))
        }
    }

    /// The store as another process would have it: a second node with a data folder of its own. PostgreSQL only.
    ///
    /// # Panics
    /// On SQLite, or when it cannot be opened.
    pub async fn second_node(&self) -> Store {
        assert!(self.postgres.is_some(), "SQLite has one node");
        let number = self.nodes.fetch_add(1, Ordering::Relaxed);
        Store::open(self.config(&format!("node{number}"))).await.expect("a second node opens")
    }

    /// What a killed process leaves, opened by the next one: nothing is closed in order.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn kill_and_reopen(&mut self) {
        if let Err(error) = self.try_reopen().await {
            panic!("could not open the store again: {error}");
        }
    }

    /// As [`TestStore::kill_and_reopen`], for tests that want it refused.
    ///
    /// # Errors
    /// As [`Store::open`]; the store is then gone.
    pub async fn try_reopen(&mut self) -> Result<()> {
        drop(self.store.take());
        for _ in 0..200 {
            match Store::open(self.config("main")).await {
                Ok(store) => {
                    self.store = Some(store);
                    return Ok(());
                }
                // Tasks of the old process may hold it for a moment.
                Err(crate::StoreError::InUse { .. }) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                Err(error) => return Err(error),
            }
        }
        panic!("the data folder stayed locked: some clone of the store is alive");
    }

    /// Takes a table away, so that every statement about it fails, until [`TestStore::show_table`].
    ///
    /// # Panics
    /// When there is no such table.
    pub async fn hide_table(&self, table: &str) {
        self.alter(&format!("ALTER TABLE {table} RENAME TO hidden_{table}")).await;
    }

    /// Gives a table back.
    ///
    /// # Panics
    /// When it was not hidden.
    pub async fn show_table(&self, table: &str) {
        self.alter(&format!("ALTER TABLE hidden_{table} RENAME TO {table}")).await;
    }

    async fn alter(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        match &self.postgres {
            None => {
                let path = self.data().join("postrider.db");
                let path = path.to_str().expect("a temporary folder has a plain name");
                let mut database = sqlx::SqliteConnection::connect(path).await.expect("the database opens");
                database.execute(statement).await.expect("the table is there");
            }
            Some(_) => {
                let mut database = sqlx::PgConnection::connect(&self.url()).await.expect("the database answers");
                database.execute(statement).await.expect("the table is there");
            }
        }
    }

    /// The address of the database, for tests that talk to it themselves; empty on SQLite.
    pub fn url(&self) -> String {
        match &self.config("main").database {
            Database::Sqlite => String::new(),
            Database::Postgres { url, .. } => url.clone(),
        }
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        drop(self.store.take());
        if let Some((server, name)) = self.postgres.take() {
            // A thread of its own, because dropping cannot wait for the runtime that is being left.
            let dropped = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
                runtime.block_on(async {
                    let mut admin = sqlx::PgConnection::connect(&server).await.ok()?;
                    let text = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                    admin.execute(sqlx::AssertSqlSafe(text)).await.ok()
                })
            });
            let _ = dropped.join();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A small book: one workspace, one list of consenting contacts, one campaign that may be started.
#[derive(Debug, Clone)]
pub struct Book {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its list, which holds every contact.
    pub list: ListId,
    /// The purpose to which every contact agreed.
    pub purpose: PurposeId,
    /// A scheduled campaign whose time has come.
    pub campaign: CampaignId,
    /// The campaign's version.
    pub version: VersionId,
    /// The contacts, `person<i>@d<i mod 10>.example`.
    pub contacts: Vec<ContactId>,
}

/// Writes a [`Book`] with `n` contacts, straight into the tables.
///
/// # Errors
/// The database cannot be written.
pub async fn write_book(store: &Store, n: usize, policy: &RetryPolicy) -> Result<Book> {
    let now = store.clock().now_ms();
    let mut ids = store.next_ids(6);
    let mut id = || ids.next().unwrap_or_default();
    let workspace = WorkspaceId(id());
    let (list, purpose) = (ListId(id()), PurposeId(id()));
    let (campaign, variant, version) = (CampaignId(id()), VariantId(id()), VersionId(id()));
    let mut tx = store.begin(Lane::Web).await?;
    tx.execute(
        sql!(
            "INSERT INTO workspace (id, name, controller_name, postal_address, privacy_url, time_zone, public_url, settings, \
                                    undo_seconds, hosted_copies, created_at) \
             VALUES ($1, 'Test', 'Test', 'Street 1', '', 'UTC', 'https://example.org', {jsonb '{}'}, 0, FALSE, $2)"
        ),
        args![workspace, now],
    )
    .await?;
    tx.execute(
        sql!("INSERT INTO list (id, workspace_id, name, description, created_at) VALUES ($1, $2, 'All', '', $3)"),
        args![list, workspace, now],
    )
    .await?;
    tx.execute(
        sql!(
            "INSERT INTO purpose (id, workspace_id, kind, name, created_at) VALUES ($1, $2, 'newsletter', 'News', $3)"
        ),
        args![purpose, workspace, now],
    )
    .await?;
    let audience = Audience { include: vec![list], exclude: vec![], purpose: Some(purpose) };
    tx.execute(
        sql!(
            "INSERT INTO campaign (id, workspace_id, name, objective, stream, state, audience, policy, start_at, rev, created_at, \
                                   updated_at) \
             VALUES ($1, $2, 'Test', 'information', $3, 'scheduled', {jsonb $4}, {jsonb $5}, $6, 1, $6, $6)"
        ),
        args![campaign, workspace, Stream::Marketing.as_str(), to_json(&audience), to_json(policy), now],
    )
    .await?;
    tx.execute(
        sql!(
            "INSERT INTO variant (id, campaign_id, workspace_id, label, draft, rev, updated_at) \
             VALUES ($1, $2, $3, 'A', {jsonb '{}'}, 1, $4)"
        ),
        args![variant, campaign, workspace, now],
    )
    .await?;
    tx.execute(
        sql!(
            "INSERT INTO version (id, variant_id, campaign_id, workspace_id, renderer, hash, compiled, uses, created_at) \
             VALUES ($1, $2, $3, $4, 1, $5, $5, {jsonb $6}, $7)"
        ),
        args![version, variant, campaign, workspace, vec![0u8; 4], to_json(&["name"]), now],
    )
    .await?;
    tx.commit().await?;
    let contacts = write_contacts(store, workspace, list, purpose, n).await?;
    Ok(Book { workspace, list, purpose, campaign, version, contacts })
}

async fn write_contacts(
    store: &Store,
    workspace: WorkspaceId,
    list: ListId,
    purpose: PurposeId,
    n: usize,
) -> Result<Vec<ContactId>> {
    let now = store.now();
    let ids: Vec<i64> = store.next_ids(n).collect();
    for (chunk, first) in ids.chunks(5_000).zip((0usize..).step_by(5_000)) {
        let rows: Vec<serde_json::Value> = chunk
            .iter()
            .enumerate()
            .map(|(i, id)| {
                let i = first + i;
                json!({"i": id, "b": format!("person{i}@d{}.example", i % 10), "d": format!("d{}.example", i % 10),
                       "a": json!({"name": format!("Person {i}"), "city": "Turin"}).to_string()})
            })
            .collect();
        let rows = serde_json::Value::Array(rows).to_string();
        let mut tx = store.begin(Lane::Bulk).await?;
        tx.execute(
            sql!(
                "INSERT INTO contact (id, workspace_id, mailbox, mailbox_norm, domain, attributes, address_state, marks, created_at, \
                                      updated_at) \
                 SELECT r.i, $2, r.b, r.b, r.d, {jsonb r.a}, 'mailable', '', $3, $3 \
                 FROM {rows $1 (i bigint, b text, d text, a text)} r"
            ),
            args![rows.as_str(), workspace, now],
        )
        .await?;
        tx.execute(
            sql!(
                "INSERT INTO membership (list_id, contact_id, added_at) SELECT $2, r.i, $3 FROM {rows $1 (i bigint)} r"
            ),
            args![rows.as_str(), list, now],
        )
        .await?;
        tx.execute(
            sql!(
                "INSERT INTO consent (contact_id, purpose_id, workspace_id, state, basis, since, ledger_seq) \
                 SELECT r.i, $2, $3, 'granted', 'consent', $4, 0 FROM {rows $1 (i bigint)} r"
            ),
            args![rows.as_str(), purpose, workspace, now],
        )
        .await?;
        tx.commit().await?;
    }
    Ok(ids.into_iter().map(ContactId).collect())
}
