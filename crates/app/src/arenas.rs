//! Starts the program anew with few arenas for memory, where the C library would make many.
//!
//! glibc gives nearly every thread an arena of its own, and none gives back what it has: a server with a dozen threads
//! holds a quarter more memory than it uses (mallopt(3), M_ARENA_MAX). The number is read when a program begins, so a
//! server begins a second time, in the same process. Must not know what the program does.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The variable that glibc reads.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
/// What it is set to. `docs/performance.md` has the figures.
const ARENAS: &str = "2";

/// Becomes the same program with few arenas; returns when that is so already, when somebody set another number, or when
/// it is not possible.
pub fn keep_few() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    // `exec` comes back only when it failed; then the program goes on with more memory.
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).env(VARIABLE, ARENAS);
    if let Some(name) = std::env::args_os().next() {
        again.arg0(name);
    }
    let _error = again.exec();
}
