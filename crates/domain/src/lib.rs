//! Postrider's own rules as pure code: facts and a time go in, a decision comes out.
//!
//! Must not know: SQL, sockets, async, the clock (every time is a parameter, i64 milliseconds UTC).

pub mod access;
pub mod alarm;
pub mod bounce;
pub mod campaign;
pub mod consent;
pub mod contact;
pub mod egress;
pub mod event;
pub mod gate;
pub mod id;
pub mod import;
pub mod outcome;
pub mod queue;
pub mod relay;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod shaping;
pub mod signing_key;
pub mod steering;
pub mod stream;
pub mod suppression;
pub mod warmup;
mod words;
