//! What the program does about its own memory.

use crate::harness::{Sim, Site};

#[test]
fn a_server_runs_with_few_arenas_and_under_the_same_process_id() {
    let sim = Sim::start(12, &[]);
    let mut site = Site::new(&sim, "");
    site.serve();
    let environment = site.environment_of_server();
    assert!(environment.iter().any(|v| v == "MALLOC_ARENA_MAX=2"), "{environment:?}");
    assert_eq!(site.terminate(), Some(0));
    // Who sets a number has it.
    site.set("MALLOC_ARENA_MAX", "5");
    site.serve();
    let environment = site.environment_of_server();
    assert!(environment.iter().any(|v| v == "MALLOC_ARENA_MAX=5"), "{environment:?}");
}
