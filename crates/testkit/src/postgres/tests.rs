//! The server is started for real: these tests fail, with the command to install it, where PostgreSQL is missing.

use std::time::{Duration, Instant};

use super::server::{Server, process_lives};
use super::*;

#[test]
fn the_shared_server_is_the_same_for_all_callers() {
    let callers: Vec<_> = (0..4).map(|_| thread::spawn(shared)).collect();
    let answers: Vec<String> =
        callers.into_iter().map(|caller| caller.join().expect("no panic").expect("a server")).collect();
    assert!(answers[0].starts_with("postgres://"), "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn a_server_that_nobody_uses_stops_and_leaves_nothing() {
    let base = tempfile::tempdir_in("/tmp").expect("a folder");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(base.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    take_lock(&base.path().join("lock")).expect("a lock file");
    touch(&base.path().join("heartbeat")).expect("a heartbeat");
    let server = Server::start(base.path(), "0.1").expect("a server");
    let again = Server::find(base.path()).expect("the same server");
    assert_eq!((server.pid, server.port), (again.pid, again.port));

    let deadline = Instant::now() + Duration::from_secs(60);
    while process_lives(server.pid) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!process_lives(server.pid), "the server has stopped");
    assert!(Server::find(base.path()).is_none());
    let left = || std::fs::read_dir(base.path()).expect("the folder").flatten().any(|entry| entry.path().is_dir());
    while left() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!left(), "its data folder is gone");
}
