//! `postrider purpose …`

use super::{Show, all, show_all};
use crate::cli::PurposeCommand;
use crate::client::Client;
use serde_json::json;

/// Makes or lists purposes.
pub async fn run(client: &Client, show: Show, command: PurposeCommand) -> anyhow::Result<()> {
    match command {
        PurposeCommand::Create { name, kind, wording, language } => {
            let there = all(client, "/api/v1/purposes").await?;
            let purpose = match there
                .into_iter()
                .find(|p| p["name"].as_str() == Some(&name) && p["kind"].as_str() == Some(&kind))
            {
                Some(purpose) => purpose,
                None => client.post("/api/v1/purposes", &json!({ "name": name, "kind": kind })).await?,
            };
            let id = purpose["id"].as_str().unwrap_or_default().to_owned();
            let words = json!({ "language": language, "text": wording });
            let wording = client.post(&format!("/api/v1/purposes/{id}/wordings"), &words).await?;
            let both = json!({ "id": id, "name": purpose["name"], "kind": purpose["kind"], "wording": wording });
            show.print(&both, |_| {
                format!("purpose {id} has the wording {}", wording["id"].as_str().unwrap_or_default())
            });
        }
        PurposeCommand::List => {
            show_all(client, show, "/api/v1/purposes", &[("id", "id"), ("name", "name"), ("kind", "kind")]).await?;
        }
    }
    Ok(())
}
