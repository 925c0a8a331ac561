//! Chain and key in files of the operator. Must not know when they are looked at.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use postrider_smtp::{CertificateFault, CertificatePair};

/// The largest file that is read, in bytes: chains have some kilobytes.
const MOST: u64 = 1 << 20;

/// Where chain and key lie, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why the files give no certificate; reads after "could not use the certificate".
#[derive(Debug, thiserror::Error)]
pub enum FilesFault {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// What they hold is no good.
    #[error("{0}")]
    Content(#[from] CertificateFault),
}

/// Tells whether a file has changed.
pub(super) type Stamp = (Option<SystemTime>, u64);

impl CertificateFiles {
    /// Reads both; `now` in milliseconds UTC.
    ///
    /// # Errors
    /// One cannot be read, or they are no good.
    pub async fn read(&self, now: i64) -> Result<CertificatePair, FilesFault> {
        let (chain, key) = (read(&self.chain).await?, read(&self.key).await?);
        let key = zeroize::Zeroizing::new(key);
        Ok(CertificatePair::read(&chain, &key, now)?)
    }

    /// Time and size of both; `None` while one is missing.
    pub(super) async fn stamp(&self) -> Option<(Stamp, Stamp)> {
        Some((stamp(&self.chain).await?, stamp(&self.key).await?))
    }
}

async fn stamp(path: &Path) -> Option<Stamp> {
    // Symbolic links are followed: certbot's `live` folder holds nothing else.
    let found = tokio::fs::metadata(path).await.ok()?;
    Some((found.modified().ok(), found.len()))
}

async fn read(path: &Path) -> Result<Vec<u8>, FilesFault> {
    let fault = |error| FilesFault::File { path: path.display().to_string(), error };
    let found = tokio::fs::metadata(path).await.map_err(fault)?;
    if !found.is_file() || found.len() > MOST {
        return Err(fault(std::io::Error::other("it is no file of less than 1 MiB")));
    }
    tokio::fs::read(path).await.map_err(fault)
}
