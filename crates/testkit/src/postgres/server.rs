//! Starts, finds and describes the private server. The caller holds the lock of the base folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::binaries::{self, ServerAccount};
use super::could_not;

/// How long `postgres` may take until it accepts connections.
const START_WAIT: Duration = Duration::from_secs(60);
/// How often a start is tried again, because the free port that we chose may be taken meanwhile.
const START_TRIES: u32 = 3;

/// A running server.
pub(super) struct Server {
    /// Its port on 127.0.0.1.
    pub(super) port: u16,
    /// Its process.
    pub(super) pid: u32,
}

impl Server {
    /// The server that the `current` file names, if it answers and its supervisor still watches it.
    pub(super) fn find(base: &Path) -> Option<Self> {
        let current = fs::read_to_string(base.join("current")).ok()?;
        let mut lines = current.lines();
        let run = base.join(lines.next()?);
        let supervisor: u32 = lines.next()?.parse().ok()?;
        let server = Self::ready(&run.join("data"))?;
        (process_lives(supervisor) && answers(server.port)).then_some(server)
    }

    /// Makes a data folder and starts a server on it.
    pub(super) fn start(base: &Path, idle_minutes: &str) -> Result<Self, String> {
        let bin = binaries::find()?;
        let account = binaries::server_account()?;
        remove_left_overs(base);
        let mut last = String::new();
        for _ in 0..START_TRIES {
            let run = make_run_folder(base, account.as_ref())?;
            init(&bin, &run, account.as_ref())?;
            match launch(&bin, base, &run, account.as_ref(), idle_minutes) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Reads `postmaster.pid`: process, data folder, start time, port, socket folder, address, memory key, status.
    fn ready(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let (pid, port, status) = (lines.first()?, lines.get(3)?, lines.get(7)?);
        if *status != "ready" {
            return None;
        }
        Some(Self { port: port.parse().ok()?, pid: pid.parse().ok()? })
    }
}

/// A server whose supervisor was killed is stopped here, so that none stays behind for ever.
fn remove_left_overs(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("run-") {
            continue;
        }
        if let Some(left) = Server::ready(&entry.path().join("data"))
            && answers(left.port)
        {
            let _ = Command::new("kill").args(["-INT", &left.pid_text()]).status();
        }
        let _ = fs::remove_dir_all(entry.path());
    }
}

impl Server {
    fn pid_text(&self) -> String {
        self.pid.to_string()
    }
}

fn make_run_folder(base: &Path, account: Option<&ServerAccount>) -> Result<PathBuf, String> {
    let run = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(base)
        .map_err(|error| could_not("make a folder in", base, &error))?
        .keep();
    #[cfg(unix)]
    if let Some(account) = account {
        std::os::unix::fs::chown(&run, Some(account.user), Some(account.group))
            .map_err(|error| could_not("hand over", &run, &error))?;
    }
    Ok(run)
}

fn init(bin: &Path, run: &Path, account: Option<&ServerAccount>) -> Result<(), String> {
    let output = command(account, &bin.join("initdb"))
        .args(["--username=postgres", "--auth-host=trust", "--auth-local=reject"])
        .args(["--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"])
        .arg(run.join("data"))
        .current_dir(run)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| could_not("run", &bin.join("initdb"), &error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "could not make a PostgreSQL data folder in {}: {}",
        run.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

fn launch(
    bin: &Path,
    base: &Path,
    run: &Path,
    account: Option<&ServerAccount>,
    idle_minutes: &str,
) -> Result<Server, String> {
    let port = free_port()?;
    let log = run.join("supervisor.log");
    let log_file = File::create(&log).map_err(|error| could_not("write", &log, &error))?;
    let log_copy = log_file.try_clone().map_err(|error| could_not("write", &log, &error))?;
    let mut supervisor = Command::new("sh");
    supervisor
        .args(["-c", include_str!("supervise.sh"), "postrider-test-postgres"])
        .arg(base.join("lock"))
        .arg(run)
        .arg(base.join("heartbeat"))
        .args([idle_minutes, if idle_minutes == super::IDLE_MINUTES { "5" } else { "1" }])
        .args(account.into_iter().flat_map(|account| &account.prefix))
        .arg(bin.join("postgres"))
        .arg("-D")
        .arg(run.join("data"))
        .args(settings(port).iter().flat_map(|setting| ["-c", setting]))
        .current_dir(run)
        .stdin(Stdio::null())
        .stdout(log_file)
        .stderr(log_copy);
    // A group of its own: a Ctrl-C or a test runner that ends one test must not end everybody's server.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut supervisor, 0);
    let mut supervisor = supervisor.spawn().map_err(|error| could_not("start a shell for", run, &error))?;

    let deadline = Instant::now() + START_WAIT;
    while Instant::now() < deadline {
        if let Some(server) = Server::ready(&run.join("data"))
            && answers(server.port)
        {
            let name = run.file_name().expect("the run folder was made inside the base folder").to_string_lossy();
            write_current(base, &format!("{name}\n{}\n", supervisor.id()))?;
            return Ok(server);
        }
        if supervisor.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = Command::new("kill").arg(supervisor.id().to_string()).status();
    let _ = supervisor.wait();
    Err(format!("could not start PostgreSQL: {}", tail(&run.join("server.log"), &log)))
}

fn settings(port: u16) -> [String; 6] {
    [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        // Many test processes with a small pool each.
        "max_connections=300".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
    ]
}

fn command(account: Option<&ServerAccount>, program: &Path) -> Command {
    match account {
        None => Command::new(program),
        Some(account) => {
            let mut command = Command::new(&account.prefix[0]);
            command.args(&account.prefix[1..]).arg(program);
            command
        }
    }
}

fn write_current(base: &Path, text: &str) -> Result<(), String> {
    let (new, current) = (base.join("current.new"), base.join("current"));
    fs::write(&new, text).map_err(|error| could_not("write", &new, &error))?;
    fs::rename(&new, &current).map_err(|error| could_not("write", &current, &error))
}

fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("could not find a free port on 127.0.0.1: {error}"))
}

/// Asks for TLS, as every client may (PostgreSQL protocol, SSLRequest): one byte back means that it is a server.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<u8> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    };
    matches!(ask(), Ok(b'N' | b'S'))
}

pub(super) fn process_lives(pid: u32) -> bool {
    Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn tail(server_log: &Path, supervisor_log: &Path) -> String {
    let text: String = [server_log, supervisor_log].iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return format!("it wrote nothing to {}", server_log.display());
    }
    lines[lines.len().saturating_sub(12)..].join(" | ")
}
