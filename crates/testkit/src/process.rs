//! A child process that never outlives its test: it is ended by its own process number when the guard is dropped.
//!
//! Knows processes and files only; what the child is, the test says.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a child may take to end in order when the guard is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// A running child with its output in a file.
#[derive(Debug)]
pub struct ProcessGuard {
    child: Child,
    log: PathBuf,
}

impl ProcessGuard {
    /// Starts the command; standard output and standard error are appended to `log`.
    ///
    /// # Errors
    /// When the log file cannot be opened or the program cannot be started.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let errors = output.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the child, and children before it with the same log file, have written so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the log contains the text and returns the first line with it.
    ///
    /// # Errors
    /// When the child ends or `within` is over before; the message carries what it has written.
    pub fn wait_for_text(&mut self, text: &str, within: Duration) -> Result<String, String> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self.child.try_wait().ok().flatten();
            let output = self.output();
            if let Some(line) = output.lines().find(|line| line.contains(text)) {
                return Ok(line.to_owned());
            }
            if let Some(status) = ended {
                return Err(format!("it ended ({status}) without writing {text:?}; it wrote:\n{output}"));
            }
            if Instant::now() > deadline {
                return Err(format!("it did not write {text:?} within {within:?}; it wrote:\n{output}"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits for the end; `None` when the child still runs after `within`.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait(&mut self, within: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait()? {
                None if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                status => return Ok(status),
            }
        }
    }

    /// Asks the child to end in order (SIGTERM). Does nothing when it has ended.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&mut self) -> io::Result<()> {
        // While the child is not waited for, its number cannot be given to another process.
        if self.child.try_wait()?.is_none() {
            Command::new("kill").args(["-TERM", &self.pid().to_string()]).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// Ends the child at once, as a power cut would (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        let asked = self.terminate();
        if asked.is_err() || !matches!(self.wait(GRACE), Ok(Some(_))) {
            let _ = self.kill();
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::folder::TempFolder;

    fn shell(script: &str, folder: &TempFolder) -> ProcessGuard {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ProcessGuard::start(command, &folder.join("log")).expect("sh starts")
    }

    fn lives(pid: u32) -> bool {
        Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status().expect("kill").success()
    }

    #[test]
    fn a_dropped_guard_ends_the_child() {
        let folder = TempFolder::new("process");
        let mut guard = shell("echo started; exec sleep 600", &folder);
        let pid = guard.pid();
        guard.wait_for_text("started", Duration::from_secs(10)).expect("started");
        assert!(lives(pid));
        drop(guard);
        assert!(!lives(pid));
    }

    #[test]
    fn terminate_lets_the_child_end_in_order() {
        let folder = TempFolder::new("process");
        let mut guard = shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done", &folder);
        guard.wait_for_text("ready", Duration::from_secs(10)).expect("ready");
        guard.terminate().expect("signal");
        let status = guard.wait(Duration::from_secs(10)).expect("wait").expect("ended");
        assert_eq!(status.code(), Some(3));
        assert!(guard.output().contains("bye"));
    }

    #[test]
    fn a_child_that_ends_early_is_told_with_its_output() {
        let folder = TempFolder::new("process");
        let mut guard = shell("echo no luck >&2; exit 1", &folder);
        let error = guard.wait_for_text("ready", Duration::from_secs(10)).expect_err("it ended");
        assert!(error.contains("no luck"), "{error}");
    }
}
