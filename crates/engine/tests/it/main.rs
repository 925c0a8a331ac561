//! The engine on both databases against the simulated mail world.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alarm_stories;
mod alarms;
mod bounces;
mod certificates;
mod delivery;
mod dns;
mod domains;
mod doubts;
mod egress;
mod imports;
mod keys;
mod limits;
mod nodes;
mod policies;
mod questions;
mod rig;
mod shaping;
mod steering;
mod stops;
mod tls_reports;
mod transport;
