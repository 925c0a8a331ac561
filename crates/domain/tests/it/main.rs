//! Tests of the domain crate that read files of the repository: bounce scores and the tables of docs/bounces.md.

#![allow(clippy::unwrap_used)]

mod bounces;
mod replies;
