//! Whole messages, for those who want to look at them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Which bodies are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// None: counts and hashes are enough.
    Nothing,
    /// The last so many, in memory.
    Last(usize),
    /// All, one file each in this folder: `<number>-<recipient's hash>.eml`.
    Folder(PathBuf),
}

/// One kept message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The reverse-path; empty for the null one.
    pub reverse_path: String,
    /// The recipients of this copy.
    pub recipients: Vec<String>,
    /// The bytes as they came, without dot-stuffing.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Shelf {
    keep: Keep,
    last: Mutex<VecDeque<Kept>>,
}

impl Shelf {
    pub(crate) fn new(keep: Keep) -> std::io::Result<Self> {
        if let Keep::Folder(folder) = &keep {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self { keep, last: Mutex::default() })
    }

    pub(crate) fn wants_bodies(&self) -> bool {
        match &self.keep {
            Keep::Nothing => false,
            Keep::Last(count) => *count > 0,
            Keep::Folder(_) => true,
        }
    }

    pub(crate) fn put(&self, number: u64, kept: Kept) -> std::io::Result<()> {
        match &self.keep {
            Keep::Nothing => Ok(()),
            Keep::Last(most) => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                last.push_back(kept);
                while last.len() > *most {
                    last.pop_front();
                }
                Ok(())
            }
            Keep::Folder(folder) => {
                // A mailbox is no file name: its hash is.
                let who = crate::hash::hash(0, &kept.recipients.iter().map(String::as_str).collect::<Vec<_>>());
                std::fs::write(folder.join(format!("{number:08}-{who:016x}.eml")), &kept.bytes)
            }
        }
    }

    pub(crate) fn last(&self) -> Vec<Kept> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
