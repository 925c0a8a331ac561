//! The simulated mail world: DNS for made-up domains and mail hosts with every behaviour that a sender must cope
//! with, for rehearsals, the demo, tests and measurements. Everything is on loopback addresses.
//!
//! A mailbox says how it wants to be treated, by its domain or by a tag: `ann@defer2.test` and
//! `ann+defer2@mail1.test` are both deferred twice and then accepted. What must act before a recipient is known (a
//! block at connect, TLS, limits) goes by domain only, since each such host has an address of its own.
//! [`list`] prints the whole table. Everything that is drawn is drawn from one seed.
//!
//! Must not know the store or the engine: it sees of Postrider what the internet sees.

mod behaviour;
mod certificates;
mod control;
mod dns;
mod hash;
mod journal;
mod keep;
mod memory;
mod mx;
mod place;
mod record;
mod shared;
mod tally;
mod world;
mod zone;

pub use behaviour::{BEHAVIOURS, Behaviour, Described, MIX, Times};
pub use keep::{Keep, Kept};
pub use memory::MemoryWorld;
pub use place::{Manner, PLACES, Place, Tls};
pub use record::{Duplicate, Receipt, Record};
pub use shared::{Depth, Login, Seen};
pub use tally::Stats;
pub use world::{Trace, World, WorldConfig, WorldError};
pub use zone::{Data, OtherDomains, SUFFIXES, ZONES};

/// The table of all behaviours, as `postrider sim --list` prints it.
pub fn list() -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut section = |title: &str, rows: &mut dyn Iterator<Item = (&str, &str)>| {
        let _ = writeln!(text, "{title}");
        for (name, what) in rows {
            let _ = writeln!(text, "  {name:<16} {what}");
        }
    };
    section(
        "By recipient: anything@NAME.test, anything@shop.NAME.test or anything+NAME@any.test",
        &mut BEHAVIOURS.iter().map(|row| (row.name, row.what)),
    );
    section("By host: anything@NAME.test", &mut PLACES.iter().skip(1).map(|place| (place.name, place.what)));
    section("By DNS: anything@NAME.test", &mut ZONES.iter().map(|row| (row.name, row.what)));
    text
}
