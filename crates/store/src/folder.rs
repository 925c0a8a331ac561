//! The data folder: one process at a time, a local disk, and how much room is left.
//!
//! Must not know what lies in the folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Result, StoreError};

/// The held lock of a data folder; released when dropped, or by the system when the process dies.
pub(crate) struct FolderLock {
    file: File,
    /// The process before us did not end in order.
    pub(crate) unclean: bool,
}

impl FolderLock {
    /// Locks `postrider.lock`, and notes our process id in it.
    pub(crate) fn take(folder: &Path) -> Result<FolderLock> {
        let path = folder.join("postrider.lock");
        let trouble = |e| StoreError::file(&path, e);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(trouble)?;
        let mut before = String::new();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // Best effort: the note only makes the message clearer.
                let _ = file.read_to_string(&mut before);
                let pid = before.split_whitespace().next().unwrap_or("unknown").to_owned();
                return Err(StoreError::InUse { path: folder.display().to_string(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(trouble(e)),
        }
        file.read_to_string(&mut before).map_err(trouble)?;
        let unclean = before.contains("running");
        let mut lock = FolderLock { file, unclean };
        lock.note("running").map_err(trouble)?;
        Ok(lock)
    }

    /// Notes that everything was closed in order.
    pub(crate) fn ended_in_order(&mut self) -> std::io::Result<()> {
        self.note("ended")
    }

    fn note(&mut self, word: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{} {word}", std::process::id())?;
        self.file.sync_data()
    }
}

/// Refuses folders on file systems that several machines share: SQLite's locks do not hold there.
pub(crate) fn refuse_network(folder: &Path) -> Result<()> {
    // Only Linux has this file; elsewhere nothing is known and nothing is refused.
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    let whole = folder.canonicalize().map_err(|e| StoreError::file(folder, e))?;
    match file_system(&mounts, &whole) {
        Some(kind) if is_network(&kind) => {
            Err(StoreError::NetworkFileSystem { path: whole.display().to_string(), kind })
        }
        Some(_) | None => Ok(()),
    }
}

/// The type of the file system that holds `path`, by the longest mount point; the later mount wins.
fn file_system(mountinfo: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for line in mountinfo.lines() {
        // proc(5): ... (5) mount point ... - (1) type
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else { continue };
        let point = PathBuf::from(unescape(point));
        let length = point.as_os_str().len();
        if path.starts_with(&point) && best.as_ref().is_none_or(|(l, _)| length >= *l) {
            best = Some((length, kind.to_owned()));
        }
    }
    best.map(|(_, kind)| kind)
}

/// Blank, tab, newline and backslash are written as octal in mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn is_network(kind: &str) -> bool {
    let plain = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs", "coda"];
    let fuse =
        ["fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.ceph", "fuse.davfs", "fuse.curlftpfs"];
    plain.contains(&kind) || fuse.contains(&kind)
}

/// Room on the disk of the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free bytes.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Less than the larger of 5 % and 1 GiB is free: nothing new is taken or marked (REL-9).
    pub low: bool,
}

impl Space {
    /// What `free` of `total` bytes means.
    pub fn of(free: u64, total: u64) -> Space {
        Space { free, total, low: free < Space::needed(total) }
    }

    /// Free bytes that must remain: the larger of 5 % and 1 GiB, on small disks at most a quarter.
    pub fn needed(total: u64) -> u64 {
        (total / 20).max(1 << 30).min(total / 4)
    }
}

/// Tells how much room there is. Passed in like a clock, so that a test can fill a disk.
pub trait Disk: Send + Sync {
    /// Room on the disk that holds `folder`.
    ///
    /// # Errors
    /// The folder cannot be looked at.
    fn space(&self, folder: &Path) -> Result<Space>;
}

/// The disks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn space(&self, folder: &Path) -> Result<Space> {
        let stat = rustix::fs::statvfs(folder).map_err(|e| StoreError::file(folder, e.into()))?;
        Ok(Space::of(stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
    }
}

/// A disk whose room a test sets. Clones share it.
#[derive(Debug, Clone)]
pub struct HandDisk {
    free: Arc<AtomicU64>,
}

impl HandDisk {
    /// All of its bytes.
    pub const TOTAL: u64 = 100 << 30;

    /// An empty one.
    pub fn empty() -> HandDisk {
        HandDisk { free: Arc::new(AtomicU64::new(HandDisk::TOTAL)) }
    }

    /// Leaves so many bytes free.
    pub fn leave(&self, free: u64) {
        self.free.store(free, Ordering::SeqCst);
    }
}

impl Disk for HandDisk {
    fn space(&self, _: &Path) -> Result<Space> {
        Ok(Space::of(self.free.load(Ordering::SeqCst), HandDisk::TOTAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_process_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        assert!(!first.unclean);
        let Err(StoreError::InUse { pid, .. }) = FolderLock::take(folder.path()) else { panic!("two holders") };
        assert_eq!(pid, std::process::id().to_string());
    }

    #[test]
    fn an_end_without_a_note_is_seen_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        drop(FolderLock::take(folder.path()).unwrap());
        let mut second = FolderLock::take(folder.path()).unwrap();
        assert!(second.unclean);
        second.ended_in_order().unwrap();
        drop(second);
        assert!(!FolderLock::take(folder.path()).unwrap().unclean);
    }

    #[test]
    fn the_longest_mount_point_decides() {
        let mounts = "21 1 8:1 / / rw - ext4 /dev/vda rw\n\
                      30 21 0:30 / /srv/mail\\040data rw,noatime shared:1 - nfs4 host:/x rw\n\
                      31 21 0:31 / /srv rw - fuse.sshfs y rw\n";
        let kind = |path: &str| file_system(mounts, Path::new(path)).unwrap();
        assert_eq!(kind("/srv/mail data/postrider"), "nfs4");
        assert_eq!(kind("/srv/other"), "fuse.sshfs");
        assert_eq!(kind("/var/lib/postrider"), "ext4");
        assert_eq!(kind("/srvx"), "ext4");
        assert!(is_network("nfs4") && is_network("fuse.sshfs") && !is_network("ext4") && !is_network("fuse.mergerfs"));
    }

    #[test]
    fn low_is_the_larger_of_five_percent_and_a_gibibyte() {
        let gib = 1u64 << 30;
        assert!(Space::of(gib - 1, 10 * gib).low);
        assert!(!Space::of(gib, 10 * gib).low);
        assert!(Space::of(4 * gib, 100 * gib).low);
        assert!(!Space::of(5 * gib, 100 * gib).low);
        assert!(!Space::of(gib / 2, 2 * gib).low, "a small disk can be used at all");
    }
}
