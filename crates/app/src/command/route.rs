//! `postrider route …`

use super::{Show, find, first_line, show_all};
use crate::cli::RouteCommand;
use crate::client::Client;
use crate::table;
use anyhow::bail;
use serde_json::{Value, json};

/// Adds, lists or tests routes.
pub async fn run(client: &Client, show: Show, command: RouteCommand) -> anyhow::Result<()> {
    match command {
        RouteCommand::Add {
            name,
            kind,
            host,
            port,
            tls,
            username,
            password_file,
            per_second,
            per_day,
            connections,
            accept_any_certificate,
            pool,
            default,
        } => {
            let mut body = json!({
                "settings": {
                    "name": name, "kind": kind, "host": host, "port": port, "tls": tls, "username": username, "per_second": per_second,
                    "per_day": per_day, "connections": connections, "accept_any_certificate": accept_any_certificate,
                },
                "is_default": default,
            });
            if let Some(pool) = pool {
                let pool = find(client, "/api/v1/egress/pools", "pool", "pol", &pool).await?;
                body["settings"]["egress"] = json!({ "pool": pool });
            }
            if let Some(path) = password_file {
                body["password"] = first_line(&path)?.into();
            }
            let made = client.post("/api/v1/routes", &body).await?;
            show.print(&made, |r| format!("route {} added", r["id"].as_str().unwrap_or_default()));
        }
        RouteCommand::List => {
            show_all(
                client,
                show,
                "/api/v1/routes",
                &[("id", "id"), ("settings", "settings"), ("default", "is_default")],
            )
            .await?;
        }
        RouteCommand::Test { route } => {
            let id = find(client, "/api/v1/routes", "route", "rte", &route).await?;
            let answer = client.post(&format!("/api/v1/routes/{id}/test"), &Value::Null).await?;
            let good = answer["answer"]["ok"].as_bool() == Some(true);
            show.print(&answer, said);
            if !good {
                bail!("the route does not work: {}", table::text(&answer["answer"], "text"));
            }
        }
    }
    Ok(())
}

/// The dialogue, line by line, in the server's own words.
fn said(answer: &Value) -> String {
    let answer = &answer["answer"];
    let mut lines: Vec<String> = answer["dialogue"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| table::plain(line.as_str().unwrap_or_default(), 300))
        .collect();
    for field in ["greeting", "tls", "text"] {
        if let Some(text) = answer[field].as_str() {
            lines.push(format!("{field}: {}", table::plain(text, 300)));
        }
    }
    if lines.is_empty() { table::plain(&answer.to_string(), 2_000) } else { lines.join("\n") }
}
