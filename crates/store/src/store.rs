//! The store as one handle: opened once per process, cloned freely.
//!
//! Opening checks everything that could lose mail: lock, file system, version, durability, master key.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use postrider_domain::id::NodeId;
use zeroize::Zeroizing;

use crate::bell::{Bell, hear_others};
use crate::clock::{Clock, SystemClock};
use crate::closures::Closures;
use crate::db::{Db, Durability, Lane, Reader, Tx};
use crate::error::{Result, StoreError};
use crate::folder::{Disk, FolderLock, Space, SystemDisk, refuse_network};
use crate::id_maker::{IdMaker, MAX_NODES};
use crate::seal::{KeyPurpose, Sealer, master_key, random};
use crate::sql::{args, sql};

/// Which database.
#[derive(Clone)]
pub enum Database {
    /// `postrider.db` in the data folder.
    Sqlite,
    /// A PostgreSQL database that several nodes may share.
    Postgres {
        /// `postgres://user:password@host/name`.
        url: String,
        /// What the server must promise.
        durability: Durability,
    },
}

/// How a store is opened.
#[derive(Clone)]
pub struct StoreConfig {
    /// The data folder; made when missing, held by one process.
    pub data: PathBuf,
    /// Which database.
    pub database: Database,
    /// The master key file; `master.key` in the data folder when not given. Nodes that share a database share it.
    pub master_key: Option<PathBuf>,
    /// Name of this node; unique among the nodes that share a database.
    pub node_name: String,
    /// A node whose beat has not changed for so many milliseconds is dead.
    pub node_dead_after_ms: i64,
    /// Into how many parts the lanes of one site are divided, so that several nodes can share a site.
    pub parts: u16,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Tells how much room there is.
    pub disk: Arc<dyn Disk>,
}

impl StoreConfig {
    /// SQLite in this folder, with the usual settings.
    pub fn sqlite(data: impl Into<PathBuf>) -> StoreConfig {
        StoreConfig {
            data: data.into(),
            database: Database::Sqlite,
            master_key: None,
            node_name: "main".into(),
            node_dead_after_ms: 30_000,
            parts: 1,
            clock: Arc::new(SystemClock::new()),
            disk: Arc::new(SystemDisk),
        }
    }

    /// PostgreSQL at this address, with the usual settings.
    pub fn postgres(data: impl Into<PathBuf>, url: impl Into<String>, node_name: impl Into<String>) -> StoreConfig {
        StoreConfig {
            database: Database::Postgres { url: url.into(), durability: Durability::Required },
            node_name: node_name.into(),
            parts: 4,
            ..StoreConfig::sqlite(data)
        }
    }
}

/// The open store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) config: StoreConfig,
    pub(crate) ids: IdMaker,
    pub(crate) sealer: Sealer,
    pub(crate) bell: Bell,
    pub(crate) closures: Closures,
    pub(crate) node: NodeId,
    /// Tells our own rings on PostgreSQL from those of others.
    instance: i64,
    lock: Mutex<FolderLock>,
    listener: Option<tokio::task::AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Store {
    /// Opens the store: locks the data folder, checks the database, runs the migrations.
    ///
    /// # Errors
    /// Everything that could lose mail, in words that say what to do; see [`StoreError`].
    pub async fn open(config: StoreConfig) -> Result<Store> {
        std::fs::create_dir_all(&config.data).map_err(|e| StoreError::file(&config.data, e))?;
        let lock = FolderLock::take(&config.data)?;
        let key_path = config.master_key.clone().unwrap_or_else(|| config.data.join("master.key"));
        let db = match &config.database {
            Database::Sqlite => {
                refuse_network(&config.data)?;
                Db::open_sqlite(&config.data.join("postrider.db"), lock.unclean).await?
            }
            Database::Postgres { url, durability } => Db::open_postgres(url, *durability).await?,
        };
        db.migrate().await?;
        let sealer = Sealer::new(&*master_key(&key_path)?);
        let bell = Bell::new();
        let instance = i64::from_be_bytes(random::<8>()?);
        let now = config.clock.now_ms();
        let mut tx = db.begin(Lane::Web, &bell, instance).await?;
        check_key(&mut tx, &sealer, now).await?;
        let (node, highest) = introduce(&mut tx, &config.node_name, now).await?;
        tx.commit().await?;
        let listener = match &db {
            Db::Sqlite { .. } => None,
            Db::Postgres { web, .. } => {
                Some(tokio::spawn(hear_others(web.clone(), bell.clone(), instance)).abort_handle())
            }
        };
        let ids = IdMaker::new(node.get(), highest);
        let lock = Mutex::new(lock);
        let closures = Closures::new(Arc::clone(&config.clock));
        Ok(Store { inner: Arc::new(Inner { db, config, ids, sealer, bell, closures, node, instance, lock, listener }) })
    }

    /// Closes connections and notes that the process ended in order. Call it last.
    ///
    /// # Errors
    /// A transaction is still open, or the lock file cannot be written.
    pub async fn close(&self) -> Result<()> {
        self.inner.db.close().await?;
        let mut lock = self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.ended_in_order().map_err(|e| StoreError::file(&self.inner.config.data, e))
    }

    /// The clock that the store was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.config.clock
    }

    /// Milliseconds UTC.
    pub fn now(&self) -> i64 {
        self.inner.config.clock.now_ms()
    }

    /// The bell of this process.
    pub fn bell(&self) -> &Bell {
        &self.inner.bell
    }

    /// The data folder.
    pub fn data(&self) -> &std::path::Path {
        &self.inner.config.data
    }

    /// The node that this process is.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Whether the database is SQLite.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.inner.db, Db::Sqlite { .. })
    }

    /// A key derived from the master key, for one purpose.
    pub fn derived_key(&self, purpose: KeyPurpose) -> Zeroizing<[u8; 32]> {
        self.inner.sealer.derived(purpose)
    }

    /// The keyed digest of a normalised mailbox, as suppressions keep it.
    pub fn digest(&self, mailbox_norm: &str) -> [u8; 32] {
        self.inner.sealer.digest(mailbox_norm)
    }

    /// Room on the disk of the data folder.
    ///
    /// # Errors
    /// The folder cannot be looked at.
    pub fn space(&self) -> Result<Space> {
        self.inner.config.disk.space(&self.inner.config.data)
    }

    pub(crate) async fn begin(&self, lane: Lane) -> Result<Tx> {
        self.inner.db.begin(lane, &self.inner.bell, self.inner.instance).await
    }

    pub(crate) async fn read(&self) -> Result<Reader> {
        self.inner.db.read().await
    }

    pub(crate) async fn snapshot(&self) -> Result<Reader> {
        self.inner.db.snapshot().await
    }

    /// A new id.
    pub(crate) fn next_id(&self) -> i64 {
        self.inner.ids.next(self.now())
    }

    /// `n` new ids, ascending.
    pub(crate) fn next_ids(&self, n: usize) -> impl ExactSizeIterator<Item = i64> + use<> {
        self.inner.ids.take(self.now(), n)
    }

    /// Seals a secret for `table.row.column`.
    pub(crate) fn seal(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>> {
        self.inner.sealer.seal(place, secret)
    }

    /// Opens what [`Store::seal`] made for the same place.
    pub(crate) fn unseal(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.inner.sealer.open(place, sealed)
    }
}

/// The master key must be the one with which this database was begun.
async fn check_key(tx: &mut Tx, sealer: &Sealer, now: i64) -> Result<()> {
    let check = sealer.derived(KeyPurpose::Check);
    tx.execute(
        sql!("INSERT INTO installation (id, key_check, created_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING"),
        args![check.as_slice(), now],
    )
    .await?;
    let stored = tx.one(sql!("SELECT key_check FROM installation WHERE id = 1"), args![]).await?.bytes("key_check")?;
    if stored != check.as_slice() {
        return Err(StoreError::Sealed(
            "the master key is not the one of this database: restore the file master.key that belongs to it".into(),
        ));
    }
    Ok(())
}

/// Finds or makes the row of this node, and the highest id that was ever stored.
async fn introduce(tx: &mut Tx, name: &str, now: i64) -> Result<(NodeId, i64)> {
    // The one row that every node has in common: two that start at once get two numbers.
    tx.one(sql!("SELECT id FROM installation WHERE id = 1 {for_update}"), args![]).await?;
    let known = tx.opt(sql!("SELECT id FROM node WHERE name = $1"), args![name]).await?;
    let id = match known {
        Some(row) => row.int("id")?,
        None => {
            let id = tx.one(sql!("SELECT coalesce(max(id), 0) + 1 AS id FROM node"), args![]).await?.int("id")?;
            if id > MAX_NODES {
                return Err(StoreError::refused(format!(
                    "there are {MAX_NODES} nodes already: reuse the name of a dead one"
                )));
            }
            tx.execute(
                sql!("INSERT INTO node (id, name, epoch, beat, started_at, stopped_at) VALUES ($1, $2, 0, 0, $3, $3)"),
                args![id, name, now],
            )
            .await?;
            id
        }
    };
    let highest = tx
        .one(
            sql!(
                "SELECT {greatest coalesce((SELECT max(id) FROM delivery), 0), coalesce((SELECT max(id) FROM contact), 0), \
                 coalesce((SELECT max(id) FROM attempt), 0), coalesce((SELECT max(id) FROM campaign), 0), \
                 coalesce((SELECT max(id) FROM message), 0), coalesce((SELECT max(id) FROM lane), 0)} AS highest"
            ),
            args![],
        )
        .await?
        .int("highest")?;
    Ok((NodeId(id), highest))
}
