//! The engine on both databases against the simulated mail world.

mod delivery;
mod imports;
mod limits;
mod nodes;
mod rig;
mod stops;
