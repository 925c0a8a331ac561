//! `postrider list …`

use super::{Show, show_all};
use crate::cli::ListCommand;
use crate::client::Client;
use serde_json::json;

/// Makes or lists lists.
pub async fn run(client: &Client, show: Show, command: ListCommand) -> anyhow::Result<()> {
    match command {
        ListCommand::Create { name } => {
            let made = client.post("/api/v1/lists", &json!({ "name": name })).await?;
            show.print(&made, |l| format!("list {} made", l["id"].as_str().unwrap_or_default()));
        }
        ListCommand::List => show_all(client, show, "/api/v1/lists", &[("id", "id"), ("name", "name")]).await?,
    }
    Ok(())
}
