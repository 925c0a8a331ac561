//! `postrider import FILE`: uploads the file, waits with a progress line, shows what was refused and why.

use super::{Show, all, find, query_value};
use crate::cli::ImportArgs;
use crate::client::Client;
use crate::table;
use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Imports a file of contacts.
pub async fn run(client: &Client, show: Show, args: ImportArgs) -> anyhow::Result<()> {
    let path = args.file.canonicalize().with_context(|| format!("could not read {}", args.file.display()))?;
    let params = params(client, &args).await?;
    let made = upload(client, &params, &path).await?;
    let id = made["id"].as_str().unwrap_or_default().to_owned();
    if args.no_wait {
        show.print(&made, |_| format!("import {id} began: postrider import-status {id}"));
        return Ok(());
    }
    let done = wait(client, show, &id).await?;
    if let Some(file) = &args.refused {
        let (status, bytes) = client
            .send(Method::GET, &format!("/api/v1/imports/{id}/refused.csv"), "application/json", Vec::new())
            .await?;
        if !status.is_success() {
            bail!("could not fetch the refused rows: {status}");
        }
        std::fs::write(file, &bytes).with_context(|| format!("could not write {}", file.display()))?;
    }
    show.print(&done, summary);
    if done["state"].as_str() != Some("done") {
        bail!("the import ended as {}: {}", table::text(&done, "state"), table::text(&done, "error"));
    }
    Ok(())
}

/// Uploads a file of contacts; the import that it began.
pub async fn upload(client: &Client, params: &Value, file: &std::path::Path) -> anyhow::Result<Value> {
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let path = format!("/api/v1/imports?params={}&file_name={}", query_value(&params.to_string()), query_value(&name));
    let answer = client.upload(&path, "text/csv", file).await?;
    if !answer.status.is_success() {
        bail!("{}", crate::client::problem_text(answer.status, &answer.body));
    }
    Ok(answer.body)
}

async fn params(client: &Client, args: &ImportArgs) -> anyhow::Result<Value> {
    let mut lists = Vec::new();
    for list in &args.list {
        lists.push(find(client, "/api/v1/lists", "list", "lst", list).await?);
    }
    let mut consent = json!({ "source": args.source.clone().unwrap_or_default() });
    if let Some(basis) = &args.basis {
        consent["basis"] = basis.clone().into();
    }
    if let Some(at) = &args.given_at {
        let at = if at.contains('T') { at.clone() } else { format!("{at}T00:00:00Z") };
        consent["given_at"] = at.into();
    }
    if let Some(purpose) = &args.purpose {
        let id = find(client, "/api/v1/purposes", "purpose", "pur", purpose).await?;
        let wordings = all(client, &format!("/api/v1/purposes/{id}/wordings")).await?;
        let newest = wordings.iter().max_by_key(|w| w["version"].as_i64());
        let newest = newest.context("the purpose has no wording: people agree to words, add them first")?;
        consent["purpose"] = id.into();
        consent["wording"] = newest["id"].clone();
    }
    let mut params = json!({ "lists": lists, "consent": consent });
    if let Some(column) = &args.mailbox_column {
        params["mailbox"] = column.clone().into();
    }
    Ok(params)
}

/// Waits until an import has ended; shows its progress to people.
pub async fn wait(client: &Client, show: Show, id: &str) -> anyhow::Result<Value> {
    let path = format!("/api/v1/imports/{}", query_value(id));
    let bar = match show {
        Show::Text => Some(indicatif::ProgressBar::new(0)),
        Show::Json => None,
    };
    loop {
        let import = client.get(&path).await?;
        if let Some(bar) = &bar {
            bar.set_length(import["size"].as_u64().unwrap_or(0));
            bar.set_position(import["byte_offset"].as_u64().unwrap_or(0));
        }
        if !matches!(import["state"].as_str(), Some("waiting" | "running")) {
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            return Ok(import);
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

/// `postrider import-status`.
pub async fn status(client: &Client, show: Show, id: &str, until_done: bool) -> anyhow::Result<()> {
    let import = match until_done {
        true => wait(client, show, id).await?,
        false => client.get(&format!("/api/v1/imports/{}", query_value(id))).await?,
    };
    show.print(&import, |i| format!("{}: {}", table::text(i, "state"), summary(i)));
    Ok(())
}

fn summary(import: &Value) -> String {
    let mut text = format!(
        "rows {}: created {}, updated {}, unchanged {}",
        table::text(import, "rows"),
        table::text(import, "created"),
        table::text(import, "updated"),
        table::text(import, "unchanged")
    );
    for (reason, n) in import["refused"].as_object().into_iter().flatten() {
        text.push_str(&format!("\n  refused {n}: {reason}"));
    }
    let missing: Vec<&str> =
        import["consent_missing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !missing.is_empty() {
        text.push_str(&format!(
            "\nThese contacts are stored but get no marketing: {} of their consent was not named.",
            missing.join(", ")
        ));
    }
    text
}
