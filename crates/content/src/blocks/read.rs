//! From JSON to a document. When it cannot be read, the block that is to blame is looked for and named.
//!
//! Must not know templates or MJML.

use postrider_domain::campaign::Finding;
use serde::Deserialize;
use serde_json::Value;

use super::document::{Block, Document, Theme, VERSION};
use super::label::Label;
use crate::limits;

/// Reads a document and checks it against every limit.
///
/// # Errors
/// Findings, each with the block that it is about; at least one is an error.
pub fn read(json: &str) -> Result<Document, Vec<Finding>> {
    if json.len() > limits::TEMPLATE_BYTES {
        let message = format!("the blocks are longer than {} bytes: shorten them", limits::TEMPLATE_BYTES);
        return Err(vec![Finding::error("too_long", "body", message)]);
    }
    match serde_json::from_str::<Document>(json) {
        Ok(document) if document.version == VERSION => {
            let findings = super::check::check(&document);
            if findings.is_empty() { Ok(document) } else { Err(findings) }
        }
        Ok(document) => Err(vec![version(u64::from(document.version))]),
        Err(error) => Err(vec![blame(json, &error)]),
    }
}

fn version(found: u64) -> Finding {
    let message =
        format!("the blocks have version {found}, this build knows {VERSION}: save them in version {VERSION}");
    Finding::error("blocks_version", "body", message)
}

/// The finding for JSON that is no document.
fn blame(json: &str, error: &serde_json::Error) -> Finding {
    let at = |finding: Finding| {
        finding.at(u32::try_from(error.line()).unwrap_or(u32::MAX), u32::try_from(error.column()).unwrap_or(u32::MAX))
    };
    let Ok(value) = serde_json::from_str::<Value>(json) else {
        return at(Finding::error(
            "blocks_syntax",
            "body",
            format!("the blocks are no JSON ({}): correct it", plain(error)),
        ));
    };
    if let Some(found) = value.get("version").and_then(Value::as_u64)
        && found != u64::from(VERSION)
    {
        return version(found);
    }
    if let Some(theme) = value.get("theme")
        && let Err(error) = Theme::deserialize(theme)
    {
        return Finding::error(
            "blocks_shape",
            "body",
            format!("the theme is not right ({}): correct it", plain(&error)),
        );
    }
    if let Some(blocks) = value.get("blocks").and_then(Value::as_array)
        && let Some(finding) = blame_one(blocks, "", 1, 0)
    {
        return finding;
    }
    at(Finding::error("blocks_shape", "body", format!("this is no block document ({}): correct it", plain(error))))
}

/// The first block that is not right by itself, or that holds one. Numbers begin at `first`.
fn blame_one(blocks: &[Value], path: &str, first: usize, depth: usize) -> Option<Finding> {
    if depth > limits::BLOCKS_DEPTH {
        return None;
    }
    for (block, number) in blocks.iter().zip(first..) {
        let path = format!("{path}{number}");
        let word = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        let label = Label::new(&path, if word("type").is_empty() { "no type" } else { word("type") }, word("id"));
        let mut alone = block.clone();
        // What it holds is looked at by itself.
        let mut inner: Vec<(String, usize, Vec<Value>)> = Vec::new();
        let mut next = 1;
        for name in ["blocks", "otherwise"] {
            if let Some(list) = take_list(&mut alone, name) {
                let count = list.len();
                inner.push((format!("{path}."), next, list));
                next += count;
            }
        }
        if let Some(columns) = alone.get_mut("columns").and_then(Value::as_array_mut) {
            for (column, number) in columns.iter_mut().zip(1..) {
                if let Some(list) = take_list(column, "blocks") {
                    inner.push((format!("{path}.{number}."), 1, list));
                }
            }
        }
        if let Err(error) = Block::deserialize(&alone) {
            return Some(label.error("blocks_shape", &format!("{}: correct it", plain(&error))));
        }
        if let Some(found) = inner.iter().find_map(|(path, first, list)| blame_one(list, path, *first, depth + 1)) {
            return Some(found);
        }
    }
    None
}

/// Takes a list out and leaves an empty one.
fn take_list(value: &mut Value, name: &str) -> Option<Vec<Value>> {
    match value.get_mut(name)? {
        Value::Array(list) => Some(std::mem::take(list)),
        _ => None,
    }
}

/// serde's words without their place, at most a line of them, with nothing that could not be shown.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect()
}
