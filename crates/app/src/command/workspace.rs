//! `postrider workspace …`

use super::{Show, show_all};
use crate::cli::WorkspaceCommand;
use crate::client::Client;
use serde_json::json;

/// Makes or lists workspaces.
pub async fn run(client: &Client, show: Show, command: WorkspaceCommand) -> anyhow::Result<()> {
    match command {
        WorkspaceCommand::Create { name, controller, address, privacy_url, zone, public_url } => {
            let body = json!({
                "name": name, "controller_name": controller, "postal_address": address, "privacy_url": privacy_url,
                "time_zone": zone, "public_url": public_url,
            });
            let made = client.post("/api/v1/workspaces", &body).await?;
            show.print(&made, |w| format!("workspace {} made: {}", w["id"].as_str().unwrap_or_default(), w["name"]));
        }
        WorkspaceCommand::List => {
            let columns = [
                ("id", "id"),
                ("name", "name"),
                ("controller", "controller_name"),
                ("zone", "time_zone"),
                ("public URL", "public_url"),
            ];
            show_all(client, show, "/api/v1/workspaces", &columns).await?;
        }
    }
    Ok(())
}
