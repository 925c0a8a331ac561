//! Everything that runs by itself: freezing, scheduling, delivering, importing, answering, cleaning up.
//!
//! Time, randomness, DNS and dialling are handed in, so that the whole engine runs in a test on a hand-wound clock.
//! Must not know HTTP: web writes a row and rings the bell.

mod fair;
mod import;
mod limits;
mod sites;
