//! Finds PostgreSQL's programs and the account that may run them. It starts no server.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest version that the product supports.
const OLDEST: u32 = 15;

/// The folder with `initdb` and `postgres`, of version 15 or later.
pub(super) fn find() -> Result<PathBuf, String> {
    let mut too_old = Vec::new();
    for folder in candidates() {
        if !folder.join("initdb").is_file() || !folder.join("postgres").is_file() {
            continue;
        }
        match version(&folder) {
            Some(version) if version >= OLDEST => return Ok(folder),
            Some(version) => too_old.push(format!("{} is version {version}", folder.display())),
            None => too_old.push(format!("{} tells no version", folder.display())),
        }
    }
    let found = if too_old.is_empty() { String::new() } else { format!(" ({})", too_old.join(", ")) };
    Err(format!(
        "could not find PostgreSQL {OLDEST} or later{found}; install it with: apt-get install -y postgresql \
         (or set {} to the address of a server whose account may create databases)",
        super::ADDRESS_VARIABLE
    ))
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    folders.extend(packaged());
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path));
    }
    folders
}

/// Debian puts each version into a folder of its own; the newest comes first.
fn packaged() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn version(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "postgres (PostgreSQL) 15.12 (Debian ...)"
    let number = text.split(')').nth(1)?.trim_start();
    number.split(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()
}

/// The number of the account that runs the tests; 0 is root.
pub(super) fn own_account() -> u32 {
    number_of(&["-u"]).unwrap_or(0)
}

/// Who runs the server, since `initdb` and `postgres` refuse to run as root.
pub(super) struct ServerAccount {
    /// Number of the account.
    pub(super) user: u32,
    /// Number of its group.
    pub(super) group: u32,
    /// The command that becomes that account, to be put before the server's own.
    pub(super) prefix: Vec<String>,
}

/// `None` when the tests do not run as root: the server then runs as the same account.
pub(super) fn server_account() -> Result<Option<ServerAccount>, String> {
    if own_account() != 0 {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Some(user), Some(group)) = (number_of(&["-u", name]), number_of(&["-g", name])) {
            return Ok(Some(ServerAccount { user, group, prefix: become_command(name, user, group)? }));
        }
    }
    Err("could not find an account to run PostgreSQL with: there is neither postgres nor nobody; \
         run the tests as an ordinary account"
        .to_owned())
}

fn become_command(name: &str, user: u32, group: u32) -> Result<Vec<String>, String> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    if runs("setpriv") {
        let (user, group) = (format!("--reuid={user}"), format!("--regid={group}"));
        Ok(words(&["setpriv", &user, &group, "--clear-groups", "--"]))
    } else if runs("runuser") {
        Ok(words(&["runuser", "-u", name, "--"]))
    } else {
        Err("could not find setpriv or runuser, which root needs to run PostgreSQL as another account; \
             install them with: apt-get install -y util-linux"
            .to_owned())
    }
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn number_of(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok())?
}
