//! Bounce rules of the operator: those of a file for the whole installation, and those of workspaces before them.
//!
//! Read again when they change; rules that cannot be used are told and the ones before stay. Must not know what a rule says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use postrider_domain::bounce::{RuleBook, RuleError};
use postrider_domain::id::WorkspaceId;
use postrider_store::StoreError;

use crate::shared::Shared;

/// Why the rules of a file cannot be used; reads after "could not".
#[derive(Debug, thiserror::Error)]
pub enum RuleFileError {
    /// The file.
    #[error("read the bounce rules in {path}: {error}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// What it says.
    #[error("{error} (in {path})")]
    Rules {
        /// Which.
        path: String,
        /// What is wrong.
        error: RuleError,
    },
}

/// A file as it was when it was read.
type Stamp = Option<(SystemTime, u64)>;

#[derive(Default)]
struct Loaded {
    /// The text of the file, and the rules that ship with it before them.
    file: Option<(String, Arc<RuleBook>)>,
    stamp: Stamp,
    /// By workspace: when its rules were set, and all rules that count for it; `None` when they could not be used.
    own: HashMap<WorkspaceId, (i64, Option<Arc<RuleBook>>)>,
}

/// The rules of this process.
pub(crate) struct Rules {
    path: Option<PathBuf>,
    loaded: RwLock<Loaded>,
}

fn read(path: &Path) -> Result<(String, Stamp), RuleFileError> {
    let cannot = |error| RuleFileError::File { path: path.display().to_string(), error };
    let stamp = stamp(path);
    Ok((std::fs::read_to_string(path).map_err(cannot)?, stamp))
}

fn stamp(path: &Path) -> Stamp {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

impl Rules {
    /// Reads the file, if one is named.
    ///
    /// # Errors
    /// It cannot be read, or its rules cannot be used.
    pub(crate) fn open(path: Option<&Path>) -> Result<Rules, RuleFileError> {
        let mut loaded = Loaded::default();
        if let Some(path) = path {
            let (text, stamp) = read(path)?;
            let book = RuleBook::with_own(&[&text])
                .map_err(|error| RuleFileError::Rules { path: path.display().to_string(), error })?;
            loaded.file = Some((text, Arc::new(book)));
            loaded.stamp = stamp;
        }
        Ok(Rules { path: path.map(Path::to_owned), loaded: RwLock::new(loaded) })
    }

    /// The rules that count for a workspace; `None` where those that ship are all there are.
    pub(crate) fn of(&self, workspace: WorkspaceId) -> Option<Arc<RuleBook>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let own = loaded.own.get(&workspace).and_then(|(_, book)| book.as_ref());
        own.or(loaded.file.as_ref().map(|(_, book)| book)).map(Arc::clone)
    }

    /// Reads again what has changed.
    pub(crate) async fn refresh(&self, shared: &Shared) {
        self.refresh_file().await;
        if let Err(error) = self.refresh_own(shared).await {
            shared.complain("read the bounce rules of workspaces", &error);
        }
    }

    async fn refresh_file(&self) {
        let Some(path) = self.path.clone() else { return };
        let known = self.loaded.read().unwrap_or_else(PoisonError::into_inner).stamp;
        let now = stamp(&path);
        if now == known {
            return;
        }
        let tried = tokio::task::spawn_blocking(move || {
            let (text, stamp) = read(&path)?;
            RuleBook::with_own(&[&text])
                .map(|book| (text, stamp, Arc::new(book)))
                .map_err(|error| RuleFileError::Rules { path: path.display().to_string(), error })
        })
        .await;
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        match tried {
            Ok(Ok((text, stamp, book))) => {
                tracing::info!(event = "bounce_rules.read", version = book.version());
                loaded.file = Some((text, book));
                loaded.stamp = stamp;
                // The rules of workspaces stand before these: they are put together anew.
                loaded.own.values_mut().for_each(|(at, _)| *at = i64::MIN);
            }
            Ok(Err(error)) => {
                tracing::error!(event = "bounce_rules.refused", %error, kept = "the rules before");
                loaded.stamp = now;
            }
            Err(error) => tracing::error!(event = "bounce_rules.refused", %error),
        }
    }

    async fn refresh_own(&self, shared: &Shared) -> Result<(), StoreError> {
        let present = shared.store.bounce_rule_times().await?;
        let changed: Vec<WorkspaceId> = {
            let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
            loaded.own.retain(|workspace, _| present.iter().any(|(w, _)| w == workspace));
            let differs = |(w, at): &&(WorkspaceId, i64)| loaded.own.get(w).is_none_or(|(known, _)| known != at);
            present.iter().filter(differs).map(|(w, _)| *w).collect()
        };
        for workspace in changed {
            let Some(own) = shared.store.bounce_rules(workspace).await? else { continue };
            let file = {
                let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
                loaded.file.as_ref().map(|(text, _)| text.clone())
            };
            let updated_at = own.updated_at;
            let tried = tokio::task::spawn_blocking(move || {
                let texts: Vec<&str> = std::iter::once(own.text.as_str()).chain(file.as_deref()).collect();
                RuleBook::with_own(&texts)
            })
            .await;
            let book = match tried {
                Ok(Ok(book)) => Some(Arc::new(book)),
                Ok(Err(error)) => {
                    tracing::error!(event = "bounce_rules.refused", %workspace, %error);
                    None
                }
                Err(_) => None,
            };
            let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
            let before = loaded.own.get(&workspace).and_then(|(_, book)| book.clone());
            loaded.own.insert(workspace, (updated_at, book.or(before)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version = \"ours\"\n[[rule]]\nid = \"ours.fishing\"\nclass = \"C4\"\npatterns = [\"gone fishing\"]\n\
                        source = \"our observation\"\nyes = [\"550 gone fishing\"]\nno = [\"550 gone\"]\n";

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("postrider-rules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("bounces.toml");
        assert!(matches!(Rules::open(Some(&path)), Err(RuleFileError::File { .. })));
        std::fs::write(&path, GOOD.replace("C4", "C99")).unwrap();
        let error = Rules::open(Some(&path)).err().unwrap().to_string();
        assert!(error.contains("C99") && error.contains("bounces.toml"), "{error}");

        std::fs::write(&path, GOOD).unwrap();
        let rules = Rules::open(Some(&path)).unwrap();
        let version = |rules: &Rules| rules.of(WorkspaceId(1)).unwrap().version().to_owned();
        assert!(version(&rules).ends_with("+ours"));
        std::fs::write(&path, "version = \"longer than before, and bad\"\n[[rule]]\n").unwrap();
        rules.refresh_file().await;
        assert!(version(&rules).ends_with("+ours"), "the old rules stay");
        std::fs::write(&path, GOOD.replace("\"ours\"", "\"another version\"")).unwrap();
        rules.refresh_file().await;
        assert!(version(&rules).ends_with("+another version"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
