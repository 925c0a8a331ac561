//! `postrider relay`: credentials of applications, and what was refused.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::{Show, find, show_all};
use crate::client::Client;
use crate::table;

const CREDENTIALS: &str = "/api/v1/relay/credentials";

/// What an application logs in with, and what was refused.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RelayCommand,
}

/// What is done with the relay.
#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Makes a credential; its password is shown once.
    Add(Box<AddArgs>),
    /// Lists the credentials.
    List,
    /// Gives a credential another password; the one before stops at once.
    Password {
        /// Id or name.
        credential: String,
    },
    /// Revokes a credential at once and holds what waits of it.
    Revoke {
        /// Id or name.
        credential: String,
    },
    /// What was refused or ignored, newest first.
    Refusals {
        /// Also of clients that nobody knows.
        #[arg(long)]
        strangers: bool,
    },
    /// A message by its code, with what happened to it.
    Show {
        /// The code of the reply: `msg_…`.
        code: String,
    },
}

/// A credential to be made.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// A name for people.
    pub name: String,
    /// From domain that it may use; several times for several. Without it each sending domain.
    #[arg(long = "from-domain", value_name = "DOMAIN")]
    pub from_domains: Vec<String>,
    /// Network that it may come from, such as 192.0.2.0/24; several times for several.
    #[arg(long = "network", value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// No password: the address alone shows who it is. Needs --network and --from-domain.
    #[arg(long)]
    pub address_alone: bool,
    /// Messages a second; 0 for no limit.
    #[arg(long, value_name = "N")]
    pub per_second: Option<u32>,
    /// Messages an hour; 0 for no limit.
    #[arg(long, value_name = "N")]
    pub per_hour: Option<u32>,
    /// Connections at once from one client network.
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// One recipient a message instead of many.
    #[arg(long)]
    pub strict: bool,
    /// Most recipients of one message.
    #[arg(long, value_name = "N")]
    pub most_recipients: Option<u32>,
    /// The route by which its mail leaves, by id or name.
    #[arg(long)]
    pub route: Option<String>,
    /// Hidden inputs in the HTML part count as special headers.
    #[arg(long)]
    pub html_inputs: bool,
}

/// Does what was said.
pub async fn run(client: &Client, show: Show, args: RelayArgs) -> anyhow::Result<()> {
    match args.command {
        RelayCommand::Add(args) => add(client, show, *args).await,
        RelayCommand::List => {
            let columns = [
                ("ID", "id"),
                ("NAME", "name"),
                ("USER", "username"),
                ("FROM", "from_domains"),
                ("NETWORKS", "networks"),
                ("LAST USED", "last_used_at"),
                ("REVOKED", "revoked_at"),
            ];
            show_all(client, show, CREDENTIALS, &columns).await
        }
        RelayCommand::Password { credential } => {
            let id = find(client, CREDENTIALS, "credential", "crd", &credential).await?;
            let made = client.post(&format!("{CREDENTIALS}/{id}/password"), &Value::Null).await?;
            show.print(&made, |m| format!("password, shown this once: {}", table::long_text(m, "password", 200)));
            Ok(())
        }
        RelayCommand::Revoke { credential } => {
            let id = find(client, CREDENTIALS, "credential", "crd", &credential).await?;
            let done = client.good(Method::DELETE, &format!("{CREDENTIALS}/{id}"), &Value::Null).await?;
            show.print(&done, |d| format!("revoked; {} deliveries of it are held (see `postrider queue`)", d["held"]));
            Ok(())
        }
        RelayCommand::Refusals { strangers } => {
            let columns = [
                ("LAST", "last_at"),
                ("N", "count"),
                ("REASON", "reason"),
                ("CLIENT", "client"),
                ("ABOUT", "detail"),
                ("REPLY", "reply"),
            ];
            show_all(client, show, &format!("/api/v1/relay/refusals?strangers={strangers}"), &columns).await
        }
        RelayCommand::Show { code } => message(client, show, &code).await,
    }
}

async fn add(client: &Client, show: Show, args: AddArgs) -> anyhow::Result<()> {
    let route = match &args.route {
        Some(route) => Some(find(client, "/api/v1/routes", "route", "rte", route).await?),
        None => None,
    };
    let made = client
        .post(
            CREDENTIALS,
            &json!({
                "kind": if args.address_alone { "address" } else { "password" },
                "name": args.name,
                "networks": args.networks,
                "from_domains": args.from_domains,
                "recipients": if args.strict { "strict" } else { "split" },
                "most_recipients": args.most_recipients,
                "per_second": args.per_second,
                "per_hour": args.per_hour.unwrap_or(0),
                "connections": args.connections,
                "route": route,
                "html_inputs": args.html_inputs,
            }),
        )
        .await?;
    show.print(&made, |m| match m["password"].as_str() {
        Some(password) => format!(
            "credential {}\n  user:     {}\n  password: {password}  (shown this once)",
            table::text(m, "id"),
            table::text(m, "username")
        ),
        None => format!("credential {}: its address alone shows who it is", table::text(m, "id")),
    });
    Ok(())
}

async fn message(client: &Client, show: Show, code: &str) -> anyhow::Result<()> {
    let found = client.get(&format!("/api/v1/messages/{code}")).await?;
    show.print(&found, |m| {
        let mut text = format!(
            "{}  {}  from {}  {}\n",
            table::text(m, "id"),
            table::text(m, "created_at"),
            table::text(m, "from"),
            table::long_text(m, "subject", 120)
        );
        for delivery in m["deliveries"].as_array().into_iter().flatten() {
            text.push_str(&format!(
                "  {}  {}  {}  {}\n",
                table::text(delivery, "id"),
                table::text(delivery, "mailbox"),
                table::text(delivery, "status"),
                table::long_text(delivery, "detail", 200)
            ));
        }
        text
    });
    Ok(())
}
