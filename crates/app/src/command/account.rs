//! `postrider account …`

use super::{Show, all, first_line, show_all};
use crate::cli::AccountCommand;
use crate::client::Client;
use anyhow::Context;
use hyper::Method;
use serde_json::json;
use std::path::Path;

/// Makes, resets or lists accounts.
pub async fn run(client: &Client, show: Show, command: AccountCommand) -> anyhow::Result<()> {
    match command {
        AccountCommand::Create { mailbox, role, password_stdin } => {
            let (password, made) = password(password_stdin)?;
            let body = json!({ "mailbox": mailbox, "role": role, "password": password });
            let mut account = client.post("/api/v1/accounts", &body).await?;
            if made {
                account["password"] = password.into();
            }
            show.print(&account, |a| said(a, "made"));
        }
        AccountCommand::Reset { mailbox, password_stdin } => {
            let id = find(client, &mailbox).await?;
            let (password, made) = password(password_stdin)?;
            let path = format!("/api/v1/accounts/{id}/password");
            client.good(Method::PUT, &path, &json!({ "password": password })).await?;
            let mut account = json!({ "id": id, "mailbox": mailbox });
            if made {
                account["password"] = password.into();
            }
            show.print(&account, |a| said(a, "has a new password; its sessions are ended"));
        }
        AccountCommand::List => {
            let columns = [("id", "id"), ("mailbox", "mailbox"), ("role", "role"), ("made", "created_at")];
            show_all(client, show, "/api/v1/accounts", &columns).await?;
        }
    }
    Ok(())
}

fn said(account: &serde_json::Value, what: &str) -> String {
    let mailbox = account["mailbox"].as_str().unwrap_or_default();
    match account["password"].as_str() {
        Some(password) => format!("account {mailbox} {what}\npassword (shown once): {password}"),
        None => format!("account {mailbox} {what}"),
    }
}

/// The password from standard input, or one of our own making.
fn password(stdin: bool) -> anyhow::Result<(String, bool)> {
    if stdin {
        return Ok((first_line(Path::new("-"))?, false));
    }
    Ok((postrider_store::secret::Secret::random()?.reveal().to_owned(), true))
}

/// The id of the account with a mailbox.
pub async fn find(client: &Client, mailbox: &str) -> anyhow::Result<String> {
    let rows = all(client, "/api/v1/accounts").await?;
    let wanted = mailbox.to_lowercase();
    let row = rows.iter().find(|r| r["mailbox"].as_str().is_some_and(|m| m.to_lowercase() == wanted));
    let row = row.with_context(|| format!("there is no account `{mailbox}`: see `postrider account list`"))?;
    Ok(row["id"].as_str().unwrap_or_default().to_owned())
}
