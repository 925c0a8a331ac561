//! The only SQL of Postrider: what is kept, and the transactions that change it.
//!
//! Public functions are transactions named by verbs of the field. Must not know HTTP, SMTP or how a message is rendered.

pub mod access;
pub mod account;
pub mod actor;
pub mod api_key;
pub mod audit;
pub mod bell;
pub mod campaign_run;
pub mod clock;
pub mod consent;
pub mod contact;
pub mod counter;
pub mod error;
pub mod event;
pub mod freeze;
pub mod lane;
pub mod ledger;
pub mod list;
pub mod mark;
pub mod message;
pub mod node;
pub mod page;
pub mod purpose;
pub mod resolve;
pub mod secret;
pub mod session;
pub mod settle;
pub mod setup;
pub mod site;
pub mod suppression;
pub mod testing;
pub mod workspace;
pub mod writer;

mod db;
mod dialect;
mod folder;
mod gate;
mod id_maker;
mod keyring;
mod password;
mod read;
mod seal;
mod sql;
mod store;
mod tally;

pub use bell::{Bell, Topic};
pub use clock::{Clock, HandClock, SystemClock};
pub use db::{Durability, Lane};
pub use error::{Result, StoreError};
pub use folder::Space;
pub use seal::KeyPurpose;
pub use store::{Database, Store, StoreConfig};

#[cfg(test)]
mod catalogue_tests;
