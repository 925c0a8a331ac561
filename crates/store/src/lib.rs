//! The only SQL of Postrider: what is kept, and the transactions that change it.
//!
//! Public functions are transactions named by verbs of the field. Must not know HTTP, SMTP or how a message is rendered.

pub mod bell;
pub mod clock;
pub mod error;

mod db;
mod dialect;
mod folder;
mod gate;
mod id_maker;
mod seal;
mod sql;
mod store;

pub use bell::{Bell, Topic};
pub use clock::{Clock, HandClock, SystemClock};
pub use db::{Durability, Lane};
pub use error::{Result, StoreError};
pub use folder::Space;
pub use seal::KeyPurpose;
pub use store::{Database, Store, StoreConfig};
