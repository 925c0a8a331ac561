//! Temporary folders that vanish with the test, unless somebody wants to look at what a failed test left.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// With this variable set, folders stay and their paths are printed.
pub const KEEP_VARIABLE: &str = "POSTRIDER_TEST_KEEP";

/// A folder that is removed when the value is dropped.
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
    // `None` when the folder shall stay.
    _guard: Option<TempDir>,
}

impl TempFolder {
    /// A new, empty folder whose name starts with `name`.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new(name: &str) -> Self {
        let made = tempfile::Builder::new()
            .prefix(&format!("postrider-{name}-"))
            .tempdir()
            .unwrap_or_else(|error| panic!("could not make a temporary folder for {name}: {error}"));
        if std::env::var_os(KEEP_VARIABLE).is_some() {
            let path = made.keep();
            eprintln!("kept: {}", path.display());
            return Self { path, _guard: None };
        }
        Self { path: made.path().to_owned(), _guard: Some(made) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_vanishes_with_its_content() {
        let folder = TempFolder::new("folder-test");
        std::fs::write(folder.join("a"), b"1").expect("a file");
        let path = folder.path().to_owned();
        drop(folder);
        assert_eq!(path.exists(), std::env::var_os(KEEP_VARIABLE).is_some());
    }
}
