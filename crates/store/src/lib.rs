//! The only SQL of Postrider: what is kept, and the transactions that change it.
//!
//! Public functions are transactions named by verbs of the field. Must not know HTTP, SMTP or how a message is rendered.

pub mod access;
pub mod account;
pub mod actor;
pub mod alarm;
pub mod alarm_mail;
pub mod alarm_watch;
pub mod api_key;
pub mod attribute;
pub mod audience_count;
pub mod audit;
pub mod bell;
pub mod bounce_rules;
pub mod breaker;
pub mod campaign;
pub mod campaign_run;
pub mod certificate;
mod checkpoint;
pub mod clock;
pub mod closures;
pub mod consent;
pub mod contact;
pub mod contact_bulk;
pub mod contact_pages;
pub mod counter;
pub mod credential;
pub mod doctor;
pub mod domain;
pub mod egress;
pub mod erase;
pub mod error;
pub mod event;
pub mod freeze;
pub mod history;
pub mod home;
pub mod idempotency;
pub mod import;
pub mod import_preview;
pub mod import_slice;
pub mod inquiry;
pub mod lane;
pub mod ledger;
pub mod list;
pub mod mark;
pub mod message;
pub mod node;
pub mod opt_out;
pub mod page;
pub mod picture;
pub mod purpose;
pub mod relay;
pub mod relay_message;
pub mod relay_note;
pub mod report;
pub mod resolve;
pub mod route;
pub mod saved_view;
pub mod secret;
pub mod series;
pub mod session;
pub mod settle;
pub mod setup;
pub mod shaping;
pub mod site;
pub mod soft_bounce;
pub mod steering;
pub mod suppression;
pub mod template;
pub mod testing;
pub mod timeline;
pub mod tls_report;
pub mod transport;
pub mod variant;
pub mod warm_up;
pub mod workspace;
pub mod writer;

mod audience;
mod db;
mod delivery_pages;
mod dialect;
mod dkim_key;
mod engine_needs;
mod folder;
mod gate;
mod id_maker;
mod import_merge;
mod keyring;
mod launch;
mod password;
mod read;
mod road;
mod seal;
mod sql;
mod store;
mod tally;

pub use bell::{Bell, Topic};
pub use clock::{Clock, HandClock, SystemClock};
pub use db::{Durability, Lane};
pub use error::{Result, StoreError};
pub use folder::{Disk, HandDisk, Space, SystemDisk};
pub use seal::KeyPurpose;
pub use store::{Database, Store, StoreConfig};

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod alarm_tests;
#[cfg(test)]
mod book_rig;
#[cfg(test)]
mod book_tests;
#[cfg(test)]
mod bulk_tests;
#[cfg(test)]
mod catalogue_tests;
#[cfg(test)]
mod consent_tests;
#[cfg(test)]
mod egress_tests;
#[cfg(test)]
mod erase_tests;
#[cfg(test)]
mod freeze_tests;
#[cfg(test)]
mod import_tests;
#[cfg(test)]
mod pages_tests;
#[cfg(test)]
mod picture_tests;
#[cfg(test)]
mod queue_rig;
#[cfg(test)]
mod queue_states_tests;
#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod shaping_tests;
#[cfg(test)]
mod soft_bounce_tests;
#[cfg(test)]
mod store_tests;
