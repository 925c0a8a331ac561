//! The simulated world, asked by the real resolver and the real client.

mod control;
mod dns;
mod hosts;
mod memory;
mod recipients;
mod rig;
