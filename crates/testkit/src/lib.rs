//! What our tests share: a certificate authority on loopback, a temporary PostgreSQL, SMTP dialogue scripts, child processes that end with the test.
//!
//! Used under `[dev-dependencies]` only. It must not know the store, the engine or the web: a test brings those.

pub mod acme;
pub mod dialogue;
pub mod folder;
pub mod port;
pub mod postgres;
pub mod process;
