//! `postrider campaign …`

use super::{Show, all, find, query_value, show_all};
use crate::cli::CampaignCommand;
use crate::client::Client;
use crate::table;
use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Everything about campaigns.
pub async fn run(client: &Client, show: Show, command: CampaignCommand) -> anyhow::Result<()> {
    match command {
        CampaignCommand::Create {
            name,
            from,
            from_name,
            reply_to,
            subject,
            preheader,
            body,
            list,
            exclude,
            purpose,
            objective,
            route,
            policy,
        } => {
            let purpose = find(client, "/api/v1/purposes", "purpose", "pur", &purpose).await?;
            let mut request = json!({
                "name": name, "objective": objective, "policy": policy,
                "audience": { "include": lists(client, &list).await?, "exclude": lists(client, &exclude).await?, "purpose": purpose },
                "draft": {
                    "from_mailbox": from, "from_name": from_name, "reply_to": reply_to, "subject": subject, "preheader": preheader,
                    "format": format(&body), "body": read(&body)?,
                },
            });
            if let Some(route) = route {
                request["route"] = find(client, "/api/v1/routes", "route", "rte", &route).await?.into();
            }
            let made = client.post("/api/v1/campaigns", &request).await?;
            show.print(&made, |c| format!("campaign {} saved as a draft", c["id"].as_str().unwrap_or_default()));
        }
        CampaignCommand::List => {
            let columns =
                [("id", "id"), ("name", "name"), ("state", "state"), ("start", "start_at"), ("made", "created_at")];
            show_all(client, show, "/api/v1/campaigns", &columns).await?;
        }
        CampaignCommand::Check { campaign } => {
            let found = client.get(&format!("/api/v1/campaigns/{campaign}/check")).await?;
            let bad = found["findings"].as_array().is_some_and(|f| f.iter().any(|f| f["severity"] == "error"));
            show.print(&found, |f| findings(&f["findings"]));
            if bad {
                bail!("the campaign cannot start yet");
            }
        }
        CampaignCommand::Test { campaign, to } => {
            let sent = client.post(&format!("/api/v1/campaigns/{campaign}/test"), &json!({ "to": [to] })).await?;
            show.print(&sent, |s| format!("test message {} is on its way", s["id"].as_str().unwrap_or_default()));
        }
        CampaignCommand::Start { campaign, at, zone, not_later_than, no_undo, despite_red_domain } => {
            start(client, show, &campaign, (at, zone, not_later_than), no_undo, despite_red_domain).await?;
        }
        CampaignCommand::Pause { campaign } => act(client, show, &campaign, "pause").await?,
        CampaignCommand::Resume { campaign } => resume(client, show, &campaign).await?,
        CampaignCommand::Stop { campaign, undo } => {
            act(client, show, &campaign, if undo { "unschedule" } else { "stop" }).await?;
        }
        CampaignCommand::Report { campaign, status, rows, csv } => {
            report(client, show, &campaign, status, rows, csv).await?
        }
        CampaignCommand::Doubted { campaign } => doubted(client, show, &campaign).await?,
    }
    Ok(())
}

async fn lists(client: &Client, named: &[String]) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for name in named {
        ids.push(find(client, "/api/v1/lists", "list", "lst", name).await?);
    }
    Ok(ids)
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {} as UTF-8 text", path.display()))
}

/// The format that a file's ending says.
fn format(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("md" | "markdown") => "markdown",
        Some("txt") => "text",
        Some("mjml") => "mjml",
        Some("json") => "blocks",
        _ => "html",
    }
}

async fn act(client: &Client, show: Show, campaign: &str, action: &str) -> anyhow::Result<()> {
    let now = client.post(&format!("/api/v1/campaigns/{campaign}/{action}"), &Value::Null).await?;
    show.print(&now, |c| format!("campaign {campaign} is {}", table::text(c, "state")));
    Ok(())
}

/// Lets a campaign go on; of one that an alarm paused it says what that means.
async fn resume(client: &Client, show: Show, campaign: &str) -> anyhow::Result<()> {
    let before = client.get(&format!("/api/v1/campaigns/{campaign}")).await?;
    let because = &before["paused_because"];
    act(client, show, campaign, "resume").await?;
    if show == Show::Text && because.is_object() {
        println!(
            "It goes on although: {} It is paused again only when that gets worse by a step.",
            table::long_text(because, "sentence", 500)
        );
    }
    Ok(())
}

type When = (Option<String>, Option<String>, Option<u32>);

async fn start(
    client: &Client,
    show: Show,
    campaign: &str,
    (at, zone, late): When,
    no_undo: bool,
    reason: Option<String>,
) -> anyhow::Result<()> {
    let now = match at {
        None => {
            let mut body = if no_undo { json!({ "undo_seconds": 0 }) } else { json!({}) };
            if let Some(reason) = reason {
                body["override_red_domain"] = reason.into();
            }
            client.post(&format!("/api/v1/campaigns/{campaign}/start"), &body).await?
        }
        Some(local) => {
            let mut body = json!({ "local": local });
            if let Some(zone) = zone {
                body["zone"] = zone.into();
            }
            if let Some(minutes) = late {
                body["not_later_than_minutes"] = minutes.into();
            }
            if let Some(reason) = reason {
                body["override_red_domain"] = reason.into();
            }
            client.post(&format!("/api/v1/campaigns/{campaign}/schedule"), &body).await?
        }
    };
    show.print(&now, |c| match c["undo_until"].as_str().or(c["start_at"].as_str()) {
        Some(until) => format!(
            "campaign {campaign} is {}; it leaves at {until}; until then `stop --undo` takes it back",
            table::text(c, "state")
        ),
        None => format!("campaign {campaign} is {}", table::text(c, "state")),
    });
    Ok(())
}

/// The report of a campaign with its first rows, as one value.
pub async fn report_value(client: &Client, campaign: &str, status: Option<&str>, rows: u32) -> anyhow::Result<Value> {
    let mut report = client.get(&format!("/api/v1/campaigns/{campaign}/report")).await?;
    let mut items = Vec::new();
    let mut cursor = String::new();
    while (items.len() as u32) < rows {
        let filter = status.map(|s| format!("&status={}", query_value(s))).unwrap_or_default();
        let limit = (rows - items.len() as u32).min(500);
        let page = client.get(&format!("/api/v1/campaigns/{campaign}/rows?limit={limit}{filter}{cursor}")).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", query_value(next)),
            None => break,
        }
    }
    report["rows"] = Value::Array(items);
    Ok(report)
}

async fn report(
    client: &Client,
    show: Show,
    campaign: &str,
    status: Option<String>,
    rows: u32,
    csv: Option<PathBuf>,
) -> anyhow::Result<()> {
    let report = report_value(client, campaign, status.as_deref(), rows).await?;
    if let Some(file) = csv {
        let path = format!("/api/v1/campaigns/{campaign}/rows.csv");
        let (code, bytes) = client.send(Method::GET, &path, "application/json", Vec::new()).await?;
        if !code.is_success() {
            bail!("could not fetch the rows: {code}");
        }
        std::fs::write(&file, &bytes).with_context(|| format!("could not write {}", file.display()))?;
    }
    show.print(&report, report_text);
    Ok(())
}

/// A report for people.
pub fn report_text(report: &Value) -> String {
    let mut text = format!("{} · {}\n\n", table::text(report, "name"), table::text(report, "state"));
    let ledger = &report["ledger"];
    for name in
        ["frozen", "accepted", "rejected", "expired", "withheld", "cancelled", "assumed", "held", "queued", "in_doubt"]
    {
        text.push_str(&format!("{name:>10} {:>9}\n", table::text(ledger, name)));
    }
    text.push_str(&format!(
        "{:>10} {:>9}\n",
        "balance",
        if report["balances"].as_bool() == Some(true) { "ok" } else { "WRONG" }
    ));
    let excluded = report["excluded"].as_object();
    if excluded.is_some_and(|e| !e.is_empty()) {
        text.push_str("\nNot written to:\n");
        for (reason, n) in excluded.into_iter().flatten() {
            text.push_str(&format!("{n:>10} {reason}\n"));
        }
    }
    let rows = report["rows"].as_array().cloned().unwrap_or_default();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&rows_text(&rows));
    }
    text
}

/// Rows *sent at · status · detail · attempt n of m*.
pub fn rows_text(rows: &[Value]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                table::text(row, "sent_at"),
                table::text(row, "status"),
                table::text(row, "attempts"),
                table::text(row, "mailbox"),
                table::plain(row["detail"].as_str().unwrap_or_default(), 90),
            ]
        })
        .collect();
    table::table(&["sent at", "status", "attempts", "mailbox", "detail"], &cells)
}

/// Findings, one a line.
fn findings(found: &Value) -> String {
    let found = found.as_array().cloned().unwrap_or_default();
    if found.is_empty() {
        return "nothing is wrong".into();
    }
    let lines: Vec<String> = found
        .iter()
        .map(|f| {
            let place =
                f["line"].as_u64().map(|l| format!(" (line {l}, column {})", f["column"].as_u64().unwrap_or(1)));
            format!(
                "{:8} {}: {}{}",
                table::text(f, "severity"),
                table::text(f, "field"),
                table::text(f, "message"),
                place.unwrap_or_default()
            )
        })
        .collect();
    lines.join("\n")
}

/// The recipients whose delivery was ever in doubt: those whom a crash may have sent the same message twice.
async fn doubted(client: &Client, show: Show, campaign: &str) -> anyhow::Result<()> {
    let rows = all(client, &format!("/api/v1/attempts?campaign={campaign}&doubted=true")).await?;
    let mailboxes: Vec<Value> = rows.iter().map(|r| r["mailbox"].clone()).collect();
    show.print(&json!({ "mailboxes": mailboxes }), |v| {
        v["mailboxes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
