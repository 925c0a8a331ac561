//! Texts of a draft as they were saved: kept at each save, thinned, and never more than a person could look through.
//!
//! Must not decide what a text may be: it was saved already.

use postrider_domain::campaign::Draft;
use postrider_domain::id::{VariantId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::Tx;
use crate::error::Result;
use crate::read::{json as read_json, not_found};
use crate::sql::{args, sql};

/// Most texts kept of one variant.
const MOST: usize = 50;
/// The newest ones, kept whatever their age.
const NEWEST: usize = 10;
/// Older ones are kept at most one for so many milliseconds.
const APART: i64 = 60_000;
/// Most bytes kept of one variant, the newest text apart.
const MOST_BYTES: i64 = 16 * 1024 * 1024;

/// A saved text without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number: `rev` of the text when it was saved.
    pub rev: i64,
    /// When it was saved, i64 milliseconds UTC.
    pub saved_at: i64,
    /// Who saved it: an id as text, empty for the command line and for texts from before there was a history.
    pub saved_by: String,
    /// Its size in bytes.
    pub size: i64,
    /// Its subject.
    pub subject: String,
}

/// A saved text.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedDraft {
    /// What is known of it.
    pub revision: Revision,
    /// The text.
    pub draft: Draft,
}

/// A kept text as thinning sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    rev: i64,
    saved_at: i64,
    size: i64,
}

/// Which texts go; `kept` is newest first.
fn thin(kept: &[Kept]) -> Vec<i64> {
    let mut gone = Vec::new();
    let (mut left, mut bytes) = (0, 0);
    let minute = |text: &Kept| text.saved_at.div_euclid(APART);
    for (i, text) in kept.iter().enumerate() {
        // The first of each minute stays. To ask how far the newer one is would let every text go as it grows old.
        let crowded = i >= NEWEST && kept.get(i + 1).is_some_and(|older| minute(older) == minute(text));
        let full = left >= MOST || (i > 0 && bytes + text.size > MOST_BYTES);
        if crowded || full {
            gone.push(text.rev);
            continue;
        }
        left += 1;
        // The newest text is the draft itself and costs the history nothing.
        bytes += if i == 0 { 0 } else { text.size };
    }
    gone
}

impl Store {
    /// Keeps the present text of a variant, and thins those before it.
    pub(crate) async fn keep_revision(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        variant: VariantId,
        by: &Actor,
    ) -> Result<()> {
        tx.execute(
            sql!(
                "INSERT INTO draft_revision (variant_id, rev, workspace_id, draft, size, saved_at, saved_by) \
                 SELECT v.id, v.rev, v.workspace_id, v.draft, length({json v.draft}), $3, $4 FROM variant v \
                 WHERE v.workspace_id = $1 AND v.id = $2 ON CONFLICT (variant_id, rev) DO NOTHING"
            ),
            args![workspace, variant, self.now(), by.id()],
        )
        .await?;
        let rows = tx
            .all(
                sql!(
                    "SELECT rev, saved_at, size FROM draft_revision WHERE variant_id = $1 ORDER BY rev DESC LIMIT 500"
                ),
                args![variant],
            )
            .await?;
        let mut kept = Vec::with_capacity(rows.len());
        for row in &rows {
            kept.push(Kept { rev: row.int("rev")?, saved_at: row.int("saved_at")?, size: row.int("size")? });
        }
        let gone = thin(&kept);
        if !gone.is_empty() {
            tx.execute(
                sql!("DELETE FROM draft_revision WHERE variant_id = $1 AND rev IN {ids $2}"),
                args![variant, json!(gone)],
            )
            .await?;
        }
        Ok(())
    }

    /// The kept texts of a variant, newest first; the first is the present one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn revisions(&self, workspace: WorkspaceId, variant: VariantId) -> Result<Vec<Revision>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT rev, saved_at, saved_by, size, coalesce(draft ->> 'subject', '') AS subject \
                     FROM draft_revision WHERE workspace_id = $1 AND variant_id = $2 ORDER BY rev DESC LIMIT 500"
                ),
                args![workspace, variant],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Revision {
                    rev: row.int("rev")?,
                    saved_at: row.int("saved_at")?,
                    saved_by: row.text("saved_by")?,
                    size: row.int("size")?,
                    subject: row.text("subject")?,
                })
            })
            .collect()
    }

    /// One kept text.
    ///
    /// # Errors
    /// It was never saved, or has been thinned out.
    pub async fn revision(&self, workspace: WorkspaceId, variant: VariantId, rev: i64) -> Result<SavedDraft> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT saved_at, saved_by, size, {json draft} AS draft FROM draft_revision \
                     WHERE workspace_id = $1 AND variant_id = $2 AND rev = $3"
                ),
                args![workspace, variant, rev],
            )
            .await?
            .ok_or_else(|| not_found("revision"))?;
        let draft: Draft = read_json(&row, "draft")?;
        let revision = Revision {
            rev,
            saved_at: row.int("saved_at")?,
            saved_by: row.text("saved_by")?,
            size: row.int("size")?,
            subject: draft.subject.clone(),
        };
        Ok(SavedDraft { revision, draft })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saves(n: i64, apart: i64, size: i64) -> Vec<Kept> {
        (0..n).rev().map(|i| Kept { rev: i + 1, saved_at: i * apart, size }).collect()
    }

    #[test]
    fn the_newest_stay_older_ones_a_minute_apart_fifty_in_all() {
        assert_eq!(thin(&saves(10, 1, 10)), [0i64; 0]);
        let all = saves(300, 1_000, 10);
        let gone = thin(&all);
        let left: Vec<&Kept> = all.iter().filter(|k| !gone.contains(&k.rev)).collect();
        assert!(left[..NEWEST].iter().zip(&all).all(|(a, b)| *a == b), "the newest ten stay");
        assert!(left[NEWEST..].windows(2).all(|w| w[0].saved_at - w[1].saved_at >= APART));
        assert_eq!(left.len(), NEWEST + 5);
        assert_eq!(saves(200, APART, 10).len() - thin(&saves(200, APART, 10)).len(), MOST);
    }

    #[test]
    fn large_texts_are_fewer_but_the_present_one_always_stays() {
        let all = saves(20, APART, MOST_BYTES / 4);
        assert_eq!(all.len() - thin(&all).len(), 5);
        assert_eq!(thin(&saves(1, APART, MOST_BYTES * 2)), [0i64; 0]);
    }

    #[test]
    fn thinning_at_each_save_ends_where_thinning_once_does_not_lose_more() {
        let mut kept: Vec<Kept> = Vec::new();
        for i in 0..1_000 {
            kept.insert(0, Kept { rev: i + 1, saved_at: i * 7_000, size: 100 });
            let gone = thin(&kept);
            kept.retain(|k| !gone.contains(&k.rev));
            assert!(kept.len() <= MOST);
        }
        // Two hours of saves every seven seconds: the oldest kept text is far back.
        assert!(kept[0].saved_at - kept[kept.len() - 1].saved_at > 30 * APART, "{kept:?}");
    }
}
