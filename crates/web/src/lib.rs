//! The REST API with its OpenAPI 3.1 file, the public pages and live events: everything that speaks HTTP to the outside.
//!
//! Writes rows and rings the bell; what only the engine may do is asked by an `inquiry` row. Must not know SQL, SMTP or
//! the engine. A route exists only with an access rule ([`rule::Rule`]); host names in links come from the workspace's
//! `public_url`, never from the `Host` header.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use postrider_store::Store;
use postrider_store::clock::Clock;
use postrider_store::setup::SetupState;
use postrider_store::writer::QueueWriter;

pub mod api;
pub mod caller;
pub mod client;
pub mod csv;
mod error;
mod figures;
pub mod form;
mod guard;
mod health;
pub mod https;
mod idempotency;
pub mod input;
mod launch;
mod live;
pub mod multipart;
mod outer;
mod page;
mod pages;
mod picture;
pub mod problem;
mod resource;
pub mod rule;
pub mod schema;
mod throttle;
mod upload;

pub use caller::LocalAdmin;

/// A file of the admin application.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Its content.
    pub bytes: Bytes,
    /// The same packed by gzip, when that is worth while.
    pub gzip: Option<Bytes>,
    /// Its media type.
    pub mime: String,
    /// A strong entity tag, quotes included (RFC 9110 8.8.3).
    pub etag: String,
}

/// Where the files of the admin application come from.
pub trait Assets: Send + Sync {
    /// The file of a path such as `index.html` or `assets/app.js`; `None` when there is none.
    fn get(&self, path: &str) -> Option<Asset>;
}

/// No admin application.
pub struct NoAssets;

impl Assets for NoAssets {
    fn get(&self, _: &str) -> Option<Asset> {
        None
    }
}

/// Everything that the web part needs.
#[derive(Clone)]
pub struct WebConfig {
    /// The book and the queue.
    pub store: Store,
    /// The group-commit writer of this node, which takes messages; without it single messages and test sends are
    /// refused with 503.
    pub writer: Option<QueueWriter>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The text of `/metrics`, in the format of Prometheus.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether the process can do its work; `Err` says in words what is missing.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The admin application.
    pub assets: Arc<dyn Assets>,
    /// Where uploaded files wait for their import.
    pub import_dir: PathBuf,
    /// Largest file that may be uploaded, in bytes; 10 GiB by default.
    pub max_import_bytes: u64,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long a request waits for the engine's answer to an inquiry.
    pub inquiry_wait: Duration,
}

impl WebConfig {
    /// A configuration without metrics, writer and admin application that is always ready.
    pub fn new(store: Store, clock: Arc<dyn Clock>, import_dir: PathBuf) -> WebConfig {
        WebConfig {
            store,
            writer: None,
            clock,
            metrics: Arc::new(String::new),
            ready: Arc::new(|| Ok(())),
            assets: Arc::new(NoAssets),
            import_dir,
            max_import_bytes: 10 * 1024 * 1024 * 1024,
            trusted_proxies: Vec::new(),
            inquiry_wait: Duration::from_secs(15),
        }
    }
}

/// What every handler shares.
#[derive(Clone)]
pub struct Web(Arc<Shared>);

struct Shared {
    config: WebConfig,
    openapi: Bytes,
    set_up: AtomicBool,
    log_ins: throttle::Throttle,
    figures: figures::Figures,
    /// One picture is worked on at a time: each may take hundreds of megabytes while it lasts.
    easel: tokio::sync::Semaphore,
}

impl Web {
    pub(crate) fn config(&self) -> &WebConfig {
        &self.0.config
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.config.store
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.config.clock.now_ms()
    }

    pub(crate) fn openapi(&self) -> Bytes {
        self.0.openapi.clone()
    }

    pub(crate) fn figures(&self) -> &figures::Figures {
        &self.0.figures
    }

    pub(crate) fn log_ins(&self) -> &throttle::Throttle {
        &self.0.log_ins
    }

    pub(crate) fn easel(&self) -> &tokio::sync::Semaphore {
        &self.0.easel
    }

    /// Whether there is an administrator. Once it is so it stays so, and is not asked again.
    pub(crate) async fn is_set_up(&self) -> Result<bool, problem::Problem> {
        if self.0.set_up.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let done = match self.store().setup_state().await? {
            SetupState::Done => true,
            SetupState::Open => false,
        };
        if done {
            self.0.set_up.store(true, Ordering::Relaxed);
        }
        Ok(done)
    }
}

/// Every route, in the order of the OpenAPI file's tags.
fn routes() -> api::Api {
    let mut api = api::Api::default();
    health::routes(&mut api);
    resource::routes(&mut api);
    live::routes(&mut api);
    pages::routes(&mut api);
    api
}

/// The OpenAPI 3.1 document of this version, as committed in docs/openapi.json.
pub fn openapi() -> String {
    let (_, document) = routes().finish();
    serde_json::to_string_pretty(&document).expect("the document is plain data") + "\n"
}

/// The whole web part. Give the peer's address as `ConnectInfo<SocketAddr>` in the extensions of each request that came
/// over TCP, and [`LocalAdmin`] for those that came over the program's own unix socket.
pub fn router(config: WebConfig) -> axum::Router {
    let (router, document) = routes().finish();
    let openapi = serde_json::to_vec(&document).expect("the document is plain data").into();
    outer::wrap(router, web(config, openapi))
}

fn web(config: WebConfig, openapi: Bytes) -> Web {
    let log_ins = throttle::Throttle::new(config.clock.clone());
    Web(Arc::new(Shared {
        config,
        openapi,
        set_up: AtomicBool::new(false),
        log_ins,
        figures: figures::Figures::default(),
        easel: tokio::sync::Semaphore::new(1),
    }))
}
