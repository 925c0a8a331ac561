//! From columns to values of the field: words of closed enums and JSON, with the column named when it is corrupt.
//!
//! Must not know any table.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, StoreError};
use crate::sql::Row;

/// The value of a column that holds a word of a closed enum.
pub(crate) fn word<T>(row: &Row, column: &str, parse: fn(&str) -> Option<T>) -> Result<T> {
    let text = row.text(column)?;
    parse(&text).ok_or_else(|| StoreError::Corrupt(format!("column {column} holds the unknown word `{text}`")))
}

/// As [`word`], for a column that may be NULL.
pub(crate) fn word_opt<T>(row: &Row, column: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>> {
    match row.text_opt(column)? {
        None => Ok(None),
        Some(text) => parse(&text)
            .map(Some)
            .ok_or_else(|| StoreError::Corrupt(format!("column {column} holds the unknown word `{text}`"))),
    }
}

/// The value of a column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &Row, column: &str) -> Result<T> {
    parse_json(&row.text(column)?, column)
}

/// As [`json`], for a column that may be NULL.
pub(crate) fn json_opt<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>> {
    row.text_opt(column)?.map(|text| parse_json(&text, column)).transpose()
}

fn parse_json<T: DeserializeOwned>(text: &str, column: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        // The error text of serde_json can quote the value; the place is enough and holds no personal data.
        StoreError::Corrupt(format!(
            "column {column} holds JSON of another form (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// The JSON text of a value of ours.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("our own values have text keys and no failing serializer")
}

/// "Not found", also when the id belongs to another workspace: nobody learns that it exists there.
pub(crate) fn not_found(what: &'static str) -> StoreError {
    StoreError::NotFound { what }
}

/// A rule of ours says no.
pub(crate) fn refused(message: impl Into<String>) -> StoreError {
    StoreError::Refused { message: message.into() }
}

/// Somebody else changed it first, or it exists already.
pub(crate) fn conflict(message: impl Into<String>) -> StoreError {
    StoreError::Conflict { message: message.into() }
}

/// Refuses names that are empty, over `longest` characters or hold control characters.
pub(crate) fn check_name(what: &str, name: &str, longest: usize) -> Result<()> {
    if name.trim().is_empty() {
        return Err(refused(format!("save the {what}: it is empty; write 1 to {longest} characters")));
    }
    check_text(what, name, longest)
}

/// As [`check_name`], but the text may be empty.
pub(crate) fn check_text(what: &str, text: &str, longest: usize) -> Result<()> {
    if text.chars().count() > longest {
        return Err(refused(format!("save the {what}: it is longer than {longest} characters; shorten it")));
    }
    if postrider_domain::contact::has_control(text) {
        return Err(refused(format!("save the {what}: it has a control character or line break; remove it")));
    }
    Ok(())
}

/// Refuses a text that may hold line breaks but no other control character.
pub(crate) fn check_lines(what: &str, text: &str, longest_bytes: usize) -> Result<()> {
    if text.len() > longest_bytes {
        return Err(refused(format!("save the {what}: it is longer than {longest_bytes} bytes; shorten it")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(refused(format!("save the {what}: it has a control character; remove it")));
    }
    Ok(())
}
