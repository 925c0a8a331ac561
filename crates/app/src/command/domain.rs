//! `postrider domain …`

use super::{Show, find, show_all};
use crate::cli::DomainCommand;
use crate::client::Client;
use crate::table;
use serde_json::{Value, json};

/// Adds, lists or checks sending domains.
pub async fn run(client: &Client, show: Show, command: DomainCommand) -> anyhow::Result<()> {
    match command {
        DomainCommand::Add { name, return_path_host } => {
            let mut body = json!({ "name": name });
            if let Some(host) = return_path_host {
                body["return_path_host"] = host.into();
            }
            let made = client.post("/api/v1/domains", &body).await?;
            show.print(&made, |d| {
                format!("domain {} added. Publish these records:\n\n{}", table::text(d, "name"), records(d))
            });
        }
        DomainCommand::List => {
            show_all(
                client,
                show,
                "/api/v1/domains",
                &[("id", "id"), ("name", "name"), ("return-path", "return_path_host")],
            )
            .await?;
        }
        DomainCommand::Check { domain } => {
            let id = find(client, "/api/v1/domains", "sending domain", "dom", &domain).await?;
            let answer = client.post(&format!("/api/v1/domains/{id}/check"), &Value::Null).await?;
            show.print(&answer, |a| {
                let rows: Vec<Vec<String>> = a["answer"]["records"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|r| {
                        let state = if r["ok"].as_bool() == Some(true) { "ok" } else { "missing" };
                        vec![
                            state.to_owned(),
                            table::text(r, "type"),
                            table::text(r, "name"),
                            table::text(r, "problem"),
                        ]
                    })
                    .collect();
                if rows.is_empty() {
                    return a.to_string();
                }
                format!("{}\n{}", table::table(&["state", "type", "name", "detail"], &rows), findings(&a["answer"]))
            });
        }
        DomainCommand::NewKey { domain, at_once } => {
            let id = find(client, "/api/v1/domains", "sending domain", "dom", &domain).await?;
            let made = client.post(&format!("/api/v1/domains/{id}/keys?at_once={at_once}"), &Value::Null).await?;
            show.print(&made, |d| {
                format!("Publish these records; those that are there already stay:\n\n{}", records(d))
            });
        }
    }
    Ok(())
}

/// What was found, worst first, with the remedy of each.
fn findings(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|f| ["state", "code", "about", "found", "remedy"].iter().map(|c| table::long_text(f, c, 600)).collect())
        .collect();
    table::table(&["state", "code", "about", "found", "remedy"], &rows)
}

/// The DNS records to publish, one under the other, values whole so that they can be copied.
fn records(domain: &Value) -> String {
    let mut text = String::new();
    for record in domain["records"].as_array().into_iter().flatten() {
        let field = |name: &str| record[name].as_str().unwrap_or_default();
        text.push_str(&format!("{}  {}\n    {}\n", field("type"), field("name"), field("value")));
    }
    text
}
