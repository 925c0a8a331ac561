//! `postrider alarms`: what is wrong, and what somebody says to it.

use hyper::Method;
use serde_json::{Value, json};

use super::{Show, all, find};
use crate::cli::{AlarmsArgs, AlarmsCommand};
use crate::client::Client;
use crate::table;

/// Lists alarms, or does what was said with one.
pub async fn run(client: &Client, show: Show, args: AlarmsArgs) -> anyhow::Result<()> {
    let act =
        async |alarm: &str, verb: &str| client.post(&format!("/api/v1/alarms/{alarm}/{verb}"), &Value::Null).await;
    match args.command {
        None => list(client, show, args.all).await,
        Some(AlarmsCommand::Ack { alarm }) => {
            let known = act(&alarm, "acknowledge").await?;
            show.print(&known, |a| format!("acknowledged: {}", table::text(a, "sentence")));
            Ok(())
        }
        Some(AlarmsCommand::Believe { alarm }) => {
            let believed = act(&alarm, "believe").await?;
            show.print(&believed, |a| format!("the site {} is believed: its mail goes on", table::text(a, "subject")));
            Ok(())
        }
        Some(AlarmsCommand::TakeBack { alarm }) => {
            let done = act(&alarm, "take-back").await?;
            show.print(&done, |a| format!("{} suppressions are taken back", a["suppressions"]));
            Ok(())
        }
        Some(AlarmsCommand::Mail { to, from, route, off }) => mail(client, show, to, from, route, off).await,
    }
}

async fn list(client: &Client, show: Show, with_resolved: bool) -> anyhow::Result<()> {
    let path = if with_resolved { "/api/v1/alarms?state=all" } else { "/api/v1/alarms" };
    let alarms = Value::Array(all(client, path).await?);
    show.print(&alarms, |alarms| {
        let rows = alarms.as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            return "no alarm".to_owned();
        }
        let mut text = String::new();
        for a in rows {
            let word = |name: &str| table::long_text(a, name, 1_200);
            text.push_str(&format!(
                "{}  {}  {}  {}  since {}\n  {}\n",
                word("id"),
                word("severity"),
                word("state"),
                word("kind"),
                word("raised_at"),
                word("sentence")
            ));
            if a["state"].as_str() != Some("resolved") {
                text.push_str(&format!("  {}\n", word("remedy")));
            }
        }
        text
    });
    Ok(())
}

/// Changes who is written to, and leaves the rest of the settings as they are; without words it shows them.
async fn mail(
    client: &Client,
    show: Show,
    to: Vec<String>,
    from: Option<String>,
    route: Option<String>,
    off: bool,
) -> anyhow::Result<()> {
    const PATH: &str = "/api/v1/alarms/settings";
    let mut settings = client.get(PATH).await?;
    let asked = to.is_empty() && from.is_none() && route.is_none() && !off;
    if off {
        settings["to"] = json!([]);
    } else if !to.is_empty() {
        settings["to"] = json!(to);
    }
    if let Some(from) = from {
        settings["from"] = json!(from);
    }
    if let Some(route) = route {
        settings["route"] = json!(find(client, "/api/v1/routes", "route", "rte", &route).await?);
    }
    if !asked {
        settings = client.good(Method::PUT, PATH, &settings).await?;
    }
    show.print(&settings, |s| {
        let to: Vec<&str> = s["to"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match to.as_slice() {
            [] => "nobody is written to about alarms".to_owned(),
            to => format!("{} is told of alarms, by {}", to.join(", "), table::text(s, "from")),
        }
    });
    Ok(())
}
