//! Why the store could not do something. Messages read after "could not ..." and say what to do.

/// The result of every public function of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database answered: {0}")]
    Database(#[from] sqlx::Error),
    /// The migrations could not be run.
    #[error("the tables could not be brought up to date: {0}; a newer postrider may have written them")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// No such row in this workspace.
    #[error("there is no such {what}")]
    NotFound {
        /// What was looked for, e.g. `campaign`.
        what: &'static str,
    },
    /// Somebody else changed it, or it exists already.
    #[error("{message}")]
    Conflict {
        /// What is in the way and what to do.
        message: String,
    },
    /// A rule forbids it.
    #[error("{message}")]
    Refused {
        /// The rule and what to do.
        message: String,
    },
    /// Another process holds the data folder.
    #[error("the data folder {path} is in use by process {pid}: stop it, or let the command talk to it")]
    InUse {
        /// The folder.
        path: String,
        /// Process id as written in the lock file, or `unknown`.
        pid: String,
    },
    /// A database version that loses data or lacks what we need (SEC-61).
    #[error("{product} {found} must not be used here: use {need}")]
    BadVersion {
        /// `SQLite` or `PostgreSQL`.
        product: &'static str,
        /// The version found.
        found: String,
        /// The version needed.
        need: &'static str,
    },
    /// SQLite on a network file system loses locks and data.
    #[error("the data folder {path} lies on a network file system ({kind}): choose a local disk, or PostgreSQL")]
    NetworkFileSystem {
        /// The folder.
        path: String,
        /// The type of the file system.
        kind: String,
    },
    /// A secret cannot be sealed or opened.
    #[error("a sealed secret cannot be used: {0}")]
    Sealed(String),
    /// Something stored has a form that it cannot have.
    #[error("stored data are damaged: {0}; run `postrider doctor` and restore a backup if it agrees")]
    Corrupt(String),
    /// The disk is nearly full.
    #[error("only {free} bytes are free and {need} are wanted: make room in the data folder")]
    Full {
        /// Free bytes.
        free: u64,
        /// Bytes under which nothing new is taken.
        need: u64,
    },
    /// A commit failed in a way after which nothing may be promised: the process must end (REL-11).
    #[error("a commit failed for good and the process must end: {0}")]
    Fatal(String),
    /// A setting cannot be worked with.
    #[error("{0}")]
    Config(String),
    /// A file of the data folder.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StoreError {
    /// A [`StoreError::Refused`] with this message.
    pub fn refused(message: impl Into<String>) -> StoreError {
        StoreError::Refused { message: message.into() }
    }

    /// A [`StoreError::Conflict`] with this message.
    pub fn conflict(message: impl Into<String>) -> StoreError {
        StoreError::Conflict { message: message.into() }
    }

    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> StoreError {
        StoreError::File { path: path.display().to_string(), source }
    }

    /// Whether a unique key was in the way.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, StoreError::Database(sqlx::Error::Database(e)) if e.is_unique_violation())
    }

    /// Whether the same transaction may succeed when it is begun again: a deadlock or serialisation failure.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(e)) => {
                e.code().is_some_and(|c| matches!(c.as_ref(), "40001" | "40P01" | "55P03"))
            }
            _ => false,
        }
    }

    /// Whether the disk or the database itself failed, as opposed to one statement (REL-11).
    pub fn is_storage_failure(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(e)) => e.code().is_some_and(|code| {
                let sqlite = e.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
                if sqlite { is_sqlite_storage(&code) } else { is_postgres_storage(&code) }
            }),
            StoreError::Fatal(_) => true,
            _ => false,
        }
    }
}

/// SQLITE_IOERR (10), SQLITE_CORRUPT (11), SQLITE_FULL (13), SQLITE_NOTADB (26), extended codes included.
fn is_sqlite_storage(code: &str) -> bool {
    code.parse::<i32>().is_ok_and(|n| matches!(n & 0xff, 10 | 11 | 13 | 26))
}

/// Disk full, system errors, damaged data.
fn is_postgres_storage(code: &str) -> bool {
    code == "53100" || code.starts_with("58") || code.starts_with("XX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_disk_is_told_from_a_failing_statement() {
        for code in ["10", "13", "11", "26", "778", "1034"] {
            assert!(is_sqlite_storage(code), "{code}");
        }
        for code in ["1", "19", "2067", "5", "x"] {
            assert!(!is_sqlite_storage(code), "{code}");
        }
        for code in ["53100", "58030", "XX001"] {
            assert!(is_postgres_storage(code), "{code}");
        }
        for code in ["23505", "40P01", "57P01", "53300"] {
            assert!(!is_postgres_storage(code), "{code}");
        }
    }
}
