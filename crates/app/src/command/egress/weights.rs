//! `postrider egress weight …`: the shares of workspaces and campaigns.

use super::WeightCommand;
use crate::client::Client;
use crate::command::{Show, all, find};
use crate::table;
use hyper::Method;
use serde_json::{Value, json};

/// States in which a campaign shares with others.
const UNDER_WAY: [&str; 3] = ["freezing", "sending", "paused"];

/// Lists or sets weights.
pub(super) async fn run(client: &Client, show: Show, command: WeightCommand) -> anyhow::Result<()> {
    let (kind, path, prefix, named, weight) = match command {
        WeightCommand::List => return list(client, show).await,
        WeightCommand::Workspace { workspace, weight } => ("workspace", "/api/v1/workspaces", "wsp", workspace, weight),
        WeightCommand::Campaign { campaign, weight } => ("campaign", "/api/v1/campaigns", "cmp", campaign, weight),
    };
    let id = find(client, path, kind, prefix, &named).await?;
    client.good(Method::PUT, &format!("{path}/{id}/weight"), &json!({ "weight": weight })).await?;
    show.print(&json!({ kind: id, "weight": weight }), |_| {
        format!("the {kind} {named} has weight {weight}; it counts within a second")
    });
    Ok(())
}

async fn list(client: &Client, show: Show) -> anyhow::Result<()> {
    let pick = |rows: Vec<Value>| -> Vec<Value> {
        let few = |row: Value| {
            let mut one = json!({ "id": row["id"], "name": row["name"], "weight": row["weight"] });
            if !row["state"].is_null() {
                one["state"] = row["state"].clone();
            }
            one
        };
        rows.into_iter().map(few).collect()
    };
    let workspaces = pick(all(client, "/api/v1/workspaces").await?);
    let mut campaigns = all(client, "/api/v1/campaigns").await?;
    campaigns.retain(|c| c["weight"] != 1 || UNDER_WAY.iter().any(|state| c["state"] == *state));
    let weights = json!({ "workspaces": workspaces, "campaigns": pick(campaigns) });
    show.print(&weights, |w| {
        let rows = |kind: &'static str, word: &'static str| {
            let cells = |row: &Value| {
                vec![
                    word.to_owned(),
                    table::text(row, "id"),
                    table::text(row, "name"),
                    table::text(row, "weight"),
                    table::text(row, "state"),
                ]
            };
            w[kind].as_array().into_iter().flatten().map(cells).collect::<Vec<_>>()
        };
        let mut cells = rows("workspaces", "workspace");
        cells.extend(rows("campaigns", "campaign"));
        table::table(&["of", "id", "name", "weight", "state"], &cells)
    });
    Ok(())
}
