//! Whole-binary stories: the real program, started and used as a person or an application would.
//!
//! Sizes come from `POSTRIDER_TORTURE`: unset for CI's reduced counts, `full` for `make torture`. Seeds are printed;
//! `POSTRIDER_SEED` replays one.

mod harness;

mod consent;
mod crash;
mod demo;
mod doctor;
mod egress;
mod https;
mod leak;
mod memory;
mod nodes;
mod people;
mod queue;
mod relay;

/// Whether the full counts of "make torture" are wanted.
pub fn torture() -> bool {
    std::env::var("POSTRIDER_TORTURE").is_ok_and(|v| v == "full")
}

/// The seed of this run, printed so that a failure replays.
pub fn seed() -> u64 {
    let seed = match std::env::var("POSTRIDER_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => seed,
        None => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64),
    };
    println!("seed {seed}: POSTRIDER_SEED={seed} replays this run");
    seed
}

/// A fresh PostgreSQL database for a story, on the private server of the tests.
pub fn postgres_url(name: &str) -> String {
    let base = postrider_testkit::postgres::shared().expect("PostgreSQL for tests");
    let (server, _) = base.rsplit_once('/').expect("the address ends with a database");
    let name = format!("e2e_{name}_{}", std::process::id());
    let made = std::process::Command::new("psql")
        .args([base.as_str(), "-qc", &format!("CREATE DATABASE {name}")])
        .status()
        .expect("psql comes with PostgreSQL");
    assert!(made.success(), "could not make the database {name}");
    format!("{server}/{name}")
}
