//! `postrider sessions …`

use super::Show;
use crate::cli::SessionsCommand;
use crate::client::Client;
use hyper::Method;
use serde_json::Value;

/// Ends log-ins.
pub async fn run(client: &Client, show: Show, command: SessionsCommand) -> anyhow::Result<()> {
    match command {
        SessionsCommand::Revoke { account } => {
            let path = match account {
                Some(mailbox) => {
                    let id = super::account::find(client, &mailbox).await?;
                    format!("/api/v1/accounts/{id}/sessions")
                }
                None => "/api/v1/sessions".to_owned(),
            };
            let ended = client.good(Method::DELETE, &path, &Value::Null).await?;
            show.print(&ended, |e| format!("sessions ended: {}", e["ended"]));
        }
    }
    Ok(())
}
