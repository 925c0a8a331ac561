//! What the words of the command line do: every command is a call of the API (see `client`).

pub mod account;
pub mod alarms;
pub mod campaign;
pub mod doctor;
pub mod domain;
pub mod egress;
pub mod explain;
pub mod import;
pub mod key;
pub mod list;
pub mod purpose;
pub mod queue;
pub mod relay;
pub mod route;
pub mod sessions;
pub mod workspace;

use crate::client::Client;
use crate::table;
use anyhow::bail;
use serde_json::Value;

/// How a command shows what it got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// For people.
    Text,
    /// One JSON value on the last line, for programs.
    Json,
}

impl Show {
    /// Prints `value` for programs, or what `text` makes of it for people.
    pub fn print(self, value: &Value, text: impl FnOnce(&Value) -> String) {
        match self {
            Show::Json => println!("{value}"),
            Show::Text => {
                let text = text(value);
                println!("{}", text.trim_end());
            }
        }
    }
}

/// Every row of a listing, page by page.
pub async fn all(client: &Client, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{mark}limit=500{cursor}")).await?;
        rows.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", query_value(next)),
            None => return Ok(rows),
        }
    }
}

/// A listing as a table, or as a JSON array.
pub async fn show_all(client: &Client, show: Show, path: &str, columns: &[(&str, &str)]) -> anyhow::Result<()> {
    let rows = Value::Array(all(client, path).await?);
    show.print(&rows, |rows| {
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        let cells: Vec<Vec<String>> = rows
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| columns.iter().map(|(_, field)| table::text(row, field)).collect())
            .collect();
        table::table(&headings, &cells)
    });
    Ok(())
}

/// The id of the thing that a person named: the id itself, or the name of exactly one.
pub async fn find(client: &Client, path: &str, what: &str, prefix: &str, named: &str) -> anyhow::Result<String> {
    if named.starts_with(&format!("{prefix}_")) && named.len() == prefix.len() + 14 {
        return Ok(named.to_owned());
    }
    let rows = all(client, path).await?;
    let name = |row: &Value| row["name"].as_str() == Some(named) || row["settings"]["name"].as_str() == Some(named);
    let found: Vec<&Value> = rows.iter().filter(|row| name(row)).collect();
    match found.as_slice() {
        [one] => Ok(one["id"].as_str().unwrap_or_default().to_owned()),
        [] => bail!("there is no {what} named `{named}`: list them to see their names"),
        _ => bail!("several {what}s are named `{named}`: give the id"),
    }
}

/// A text as the value of a query parameter.
pub fn query_value(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The first line of a file, or of standard input for `-`, without its line end.
pub fn first_line(path: &std::path::Path) -> anyhow::Result<String> {
    use std::io::BufRead;
    let mut line = String::new();
    if path == std::path::Path::new("-") {
        std::io::stdin().lock().read_line(&mut line)?;
    } else {
        std::io::BufReader::new(std::fs::File::open(path)?).read_line(&mut line)?;
    }
    let line = line.trim_end_matches(['\r', '\n']).to_owned();
    if line.is_empty() {
        bail!("the first line of {} is empty", path.display());
    }
    Ok(line)
}
