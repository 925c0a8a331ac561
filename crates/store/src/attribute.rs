//! Which attributes the contacts of a workspace have, from a sample: for completion and for the check of a text.
//!
//! Must not hand out values: names and shares only.

use std::collections::BTreeMap;

use postrider_domain::id::WorkspaceId;

use crate::Store;
use crate::error::Result;
use crate::page::PageRequest;
use crate::sql::{args, sql};

/// Contacts looked at from either end of the book.
const SAMPLE: i64 = 1_000;
/// Imports whose columns are named too.
const IMPORTS: u32 = 50;

/// The attributes of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Contacts that were looked at: the newest and the oldest ones.
    pub sampled: i64,
    /// By name: how many of them have a value. Names that only an import knows have none.
    pub with_value: BTreeMap<String, i64>,
}

impl Store {
    /// The attribute names of a workspace and how many of the sampled contacts have each.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn attributes(&self, workspace: WorkspaceId) -> Result<Attributes> {
        let rows: Vec<(i64, serde_json::Value)> = self
            .read()
            .await?
            .one(
                sql!(
                    "SELECT {pack p.id, p.attributes} AS packed FROM ( \
                       SELECT id, {json attributes} AS attributes FROM (SELECT id, attributes FROM contact \
                         WHERE workspace_id = $1 AND erased_at IS NULL ORDER BY id DESC LIMIT $2) newest \
                       UNION \
                       SELECT id, {json attributes} AS attributes FROM (SELECT id, attributes FROM contact \
                         WHERE workspace_id = $1 AND erased_at IS NULL ORDER BY id LIMIT $2) oldest) p"
                ),
                args![workspace, SAMPLE],
            )
            .await?
            .packed()?;
        let mut found = Attributes { sampled: i64::try_from(rows.len()).unwrap_or(0), with_value: BTreeMap::new() };
        for (_, attributes) in rows {
            // SQLite nests JSON in JSON or hands it over as text, as PostgreSQL does.
            let attributes = match attributes {
                serde_json::Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
                other => other,
            };
            for (name, value) in attributes.as_object().into_iter().flatten() {
                let n = found.with_value.entry(name.clone()).or_default();
                *n += i64::from(!value.is_null() && value.as_str() != Some(""));
            }
        }
        for import in self.imports(workspace, &PageRequest::first(IMPORTS)).await?.items {
            let columns = import.detected.as_ref().and_then(|d| d.get("columns")).and_then(|c| c.as_array());
            for column in columns.into_iter().flatten().filter_map(|c| c.as_str()) {
                if let Some(name) = column.strip_prefix("attribute ") {
                    found.with_value.entry(name.to_owned()).or_default();
                }
            }
        }
        Ok(found)
    }
}
