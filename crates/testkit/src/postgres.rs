//! One private PostgreSQL server that all test processes of a machine share.
//!
//! The first caller starts it under a file lock, later callers find it by the `current` file, and it stops by
//! itself when nobody has used it for ten minutes. It knows nothing of our schema: the store's tests make and
//! drop a database each on the server whose address they get here.

mod binaries;
mod server;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use server::Server;

/// The variable that names a ready server instead of the private one.
pub const ADDRESS_VARIABLE: &str = "POSTRIDER_TEST_POSTGRES";

/// How long the server waits for a sign of life from any test process before it stops, in minutes.
const IDLE_MINUTES: &str = "10";
/// How often a living test process gives that sign.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// How long to wait for another process that is starting the server.
const LOCK_WAIT: Duration = Duration::from_secs(180);

static SHARED: Mutex<Option<Result<String, String>>> = Mutex::new(None);

/// The address of a PostgreSQL server (15 or later) for tests, such as
/// `postgres://postgres@127.0.0.1:40123/postgres`; its account may create databases.
///
/// With [`ADDRESS_VARIABLE`] set, that address is returned as it is. Otherwise a private server is started or
/// reused. The error names the command that installs what is missing; a test should fail with it, not skip.
pub fn shared() -> Result<String, String> {
    if let Ok(address) = std::env::var(ADDRESS_VARIABLE)
        && !address.trim().is_empty()
    {
        return Ok(address.trim().to_owned());
    }
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.get_or_insert_with(|| find_or_start(&base_folder(), IDLE_MINUTES)).clone()
}

fn find_or_start(base: &Path, idle_minutes: &str) -> Result<String, String> {
    make_base_folder(base)?;
    let lock = take_lock(&base.join("lock"))?;
    let beat = base.join("heartbeat");
    touch(&beat)?;
    let port = match Server::find(base) {
        Some(server) => server.port,
        None => Server::start(base, idle_minutes)?.port,
    };
    keep_touching(beat);
    drop(lock);
    Ok(format!("postgres://postgres@127.0.0.1:{port}/postgres"))
}

/// The server runs as another account when the tests run as root, so its folder must be reachable for everybody.
fn base_folder() -> PathBuf {
    let name = format!("postrider-test-postgres-{}", binaries::own_account());
    let candidates = [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
    let reachable = candidates.iter().find(|folder| everybody_may_enter(folder));
    reachable.unwrap_or(&candidates[0]).join(name)
}

#[cfg(unix)]
fn everybody_may_enter(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    folder
        .ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .all(|part| part.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0))
}

#[cfg(not(unix))]
fn everybody_may_enter(_: &Path) -> bool {
    true
}

fn make_base_folder(base: &Path) -> Result<(), String> {
    std::fs::create_dir_all(base).map_err(|error| could_not("make the folder", base, &error))?;
    // The name is guessable and the place open to everybody: do not write into somebody else's folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let owner = base.metadata().map_err(|error| could_not("look at", base, &error))?.uid();
        if owner != binaries::own_account() {
            return Err(format!("could not use {}: it belongs to another account; remove it", base.display()));
        }
    }
    Ok(())
}

fn take_lock(path: &Path) -> Result<File, String> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .open(path)
        .map_err(|error| could_not("open the lock file", path, &error))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::WouldBlock) => {
                return Err(format!(
                    "could not get the lock {} within {} s; another process is stuck while it starts PostgreSQL",
                    path.display(),
                    LOCK_WAIT.as_secs()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(could_not("lock", path, &error)),
        }
    }
}

fn touch(beat: &Path) -> Result<(), String> {
    std::fs::write(beat, b"").map_err(|error| could_not("touch", beat, &error))
}

/// The thread ends with the process; a long test so keeps its server.
fn keep_touching(beat: PathBuf) {
    thread::spawn(move || {
        loop {
            thread::sleep(HEARTBEAT_EVERY);
            if touch(&beat).is_err() {
                return;
            }
        }
    });
}

fn could_not(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("could not {what} {}: {error}", path.display())
}

#[cfg(test)]
mod tests;
