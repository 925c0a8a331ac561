//! The engine on both databases against the simulated mail world.

#![allow(clippy::unwrap_used)]

mod delivery;
mod imports;
mod limits;
mod nodes;
mod rig;
mod stops;
