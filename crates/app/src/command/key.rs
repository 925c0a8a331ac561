//! `postrider key …`

use super::{Show, show_all};
use crate::cli::KeyCommand;
use crate::client::Client;
use hyper::Method;
use serde_json::{Value, json};

/// Makes, lists or revokes API keys.
pub async fn run(client: &Client, show: Show, command: KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create { name, scope } => {
            let made = client.post("/api/v1/keys", &json!({ "name": name, "scopes": scope })).await?;
            show.print(&made, |k| {
                format!("{}\nThis key is shown once; it may: {}", k["secret"].as_str().unwrap_or_default(), k["scopes"])
            });
        }
        KeyCommand::List => {
            let columns = [
                ("id", "id"),
                ("name", "name"),
                ("scopes", "scopes"),
                ("made", "created_at"),
                ("last used", "last_used_at"),
                ("revoked", "revoked_at"),
            ];
            show_all(client, show, "/api/v1/keys", &columns).await?;
        }
        KeyCommand::Revoke { key } => {
            client.good(Method::DELETE, &format!("/api/v1/keys/{key}"), &Value::Null).await?;
            show.print(&json!({ "id": key, "revoked": true }), |_| format!("key {key} revoked"));
        }
    }
    Ok(())
}
