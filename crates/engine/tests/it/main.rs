//! The engine on both databases against the simulated mail world.

mod delivery;
mod rig;
