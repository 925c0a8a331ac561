//! The web part as a whole: an in-process router over a store, on both databases.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alarms;
mod campaigns;
mod certificates;
mod egress;
mod filters;
mod idempotent;
mod imports;
mod matrix;
mod openapi;
mod pages;
mod people;
mod pictures;
mod problems;
mod public;
mod queue;
mod secrets;
mod steering;
mod tls;
mod world;
mod wrong_types;
