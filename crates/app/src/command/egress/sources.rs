//! `postrider egress sources …` and `postrider egress warm-up …`.

use super::{SourceArgs, SourcesCommand, StateArg, WarmUpCommand};
use crate::client::Client;
use crate::command::{Show, all, find};
use crate::table;
use anyhow::bail;
use hyper::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/egress/sources";

/// The id of a source that a person named.
pub(super) async fn id_of(client: &Client, named: &str) -> anyhow::Result<String> {
    find(client, PATH, "egress source", "src", named).await
}

/// Lists or changes sources.
pub(super) async fn run(client: &Client, show: Show, command: SourcesCommand) -> anyhow::Result<()> {
    match command {
        SourcesCommand::List => {
            let sources = Value::Array(all(client, PATH).await?);
            show.print(&sources, listing);
        }
        SourcesCommand::Add { name, ehlo_name, settings } => {
            let mut body = json!({ "name": name, "ehlo_name": ehlo_name });
            put_in(&mut body, &settings)?;
            let made = client.post(PATH, &body).await?;
            show.print(&made, |s| said(s, "added; nothing leaves by it before a pool names it"));
        }
        SourcesCommand::Set { source, name, ehlo_name, settings } => {
            let path = format!("{PATH}/{}", id_of(client, &source).await?);
            let mut body = client.get(&path).await?;
            for about_it in ["id", "problems", "created_at", "updated_at"] {
                if let Some(fields) = body.as_object_mut() {
                    fields.remove(about_it);
                }
            }
            let before = body.clone();
            for (field, text) in [("name", name), ("ehlo_name", ehlo_name)] {
                if let Some(text) = text {
                    body[field] = text.into();
                }
            }
            put_in(&mut body, &settings)?;
            if body == before {
                bail!("say what changes: `postrider egress sources set --help` lists the settings");
            }
            let changed = client.good(Method::PUT, &path, &body).await?;
            show.print(&changed, |s| said(s, "changed"));
        }
        SourcesCommand::Remove { source } => {
            let id = id_of(client, &source).await?;
            client.good(Method::DELETE, &format!("{PATH}/{id}"), &Value::Null).await?;
            show.print(&json!({ "removed": id }), |_| format!("source {source} removed"));
        }
    }
    Ok(())
}

/// What was named on the command line, over what is there.
fn put_in(body: &mut Value, args: &SourceArgs) -> anyhow::Result<()> {
    for (field, text, nothing) in
        [("ipv4", &args.ipv4, "none"), ("ipv6", &args.ipv6, "none"), ("node", &args.node, "any")]
    {
        if let Some(text) = text {
            body[field] = if text == nothing { Value::Null } else { text.clone().into() };
        }
    }
    if let Some(state) = args.state {
        body["state"] = match state {
            StateArg::Active => "active",
            StateArg::Draining => "draining",
            StateArg::Off => "off",
        }
        .into();
    }
    for (field, n) in [("per_second", args.per_second), ("per_hour", args.per_hour), ("per_day", args.per_day)] {
        if let Some(n) = n {
            body[field] = n.into();
        }
    }
    if args.no_warm_up {
        body["warm_up"] = Value::Null;
    } else if args.warm_up || !args.plan.is_empty() {
        // Without a time it goes on if there is one, else it begins now.
        body["warm_up"] = json!({ "plan": args.plan });
    }
    if let Some(since) = &args.since {
        if !body["warm_up"].is_object() {
            bail!("--since is the beginning of a warm-up: give --warm-up or --plan as well");
        }
        body["warm_up"]["since"] = since.clone().into();
    }
    Ok(())
}

fn said(source: &Value, what: &str) -> String {
    let mut text = format!("source {} ({}) {what}", table::text(source, "name"), table::text(source, "id"));
    for problem in problems(source) {
        text.push_str(&format!("\n  {problem}"));
    }
    text
}

fn problems(source: &Value) -> Vec<String> {
    let found = source["problems"].as_array().into_iter().flatten();
    found.map(|p| table::plain(p.as_str().unwrap_or_default(), 300)).collect()
}

fn listing(sources: &Value) -> String {
    let rows: Vec<&Value> = sources.as_array().into_iter().flatten().collect();
    if rows.is_empty() {
        return "no source: mail leaves from the address that the system chooses".to_owned();
    }
    let limits = |s: &Value| {
        let of = |field: &str, unit: &str| s[field].as_u64().filter(|n| *n > 0).map(|n| format!("{n}/{unit}"));
        let set = [of("per_second", "s"), of("per_hour", "h"), of("per_day", "day")];
        set.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let warm = |s: &Value| s["warm_up"]["since"].as_str().map_or(String::new(), |since| format!("since {since}"));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|s| {
            let mut cells: Vec<String> =
                ["id", "name", "state", "ipv4", "ipv6", "ehlo_name"].iter().map(|f| table::text(s, f)).collect();
            cells.extend([limits(s), warm(s), problems(s).join("; ")]);
            cells
        })
        .collect();
    table::table(&["id", "name", "state", "IPv4", "IPv6", "EHLO name", "limits", "warm-up", "problems"], &cells)
}

/// Shows how warm sources are, or ends a pause.
pub(super) async fn warm_up(client: &Client, show: Show, command: WarmUpCommand) -> anyhow::Result<()> {
    match command {
        WarmUpCommand::List { source } => {
            let mut sources = all(client, PATH).await?;
            if let Some(named) = &source {
                let id = id_of(client, named).await?;
                sources.retain(|s| s["id"] == id.as_str());
                let Some(one) = sources.first() else { bail!("there is no egress source {named}") };
                if one["warm_up"].is_null() && show == Show::Text {
                    println!("{} has no warm-up: it is taken to be warm", table::text(one, "name"));
                    return Ok(());
                }
            }
            let mut told = Vec::new();
            for source in sources.iter().filter(|s| !s["warm_up"].is_null()) {
                let id = source["id"].as_str().unwrap_or_default();
                let sites = all(client, &format!("{PATH}/{id}/warm-up")).await?;
                told.push(json!({
                    "source": id, "name": source["name"], "since": source["warm_up"]["since"],
                    "steps": source["warm_up"]["plan"].as_array().map_or(0, Vec::len), "sites": sites,
                }));
            }
            show.print(&Value::Array(told), warm_listing);
        }
        WarmUpCommand::Resume { source, site } => {
            let id = id_of(client, &source).await?;
            client.post(&format!("{PATH}/{id}/warm-up/resume"), &json!({ "site": site })).await?;
            show.print(&json!({ "source": id, "site": site, "resumed": true }), |_| {
                format!("the warm-up of {source} at {site} goes on, on its lower step")
            });
        }
    }
    Ok(())
}

fn warm_listing(told: &Value) -> String {
    let sources: Vec<&Value> = told.as_array().into_iter().flatten().collect();
    if sources.is_empty() {
        return "no source warms up".to_owned();
    }
    let mut cells = Vec::new();
    for source in sources {
        let sites: Vec<&Value> = source["sites"].as_array().into_iter().flatten().collect();
        if sites.is_empty() {
            let mut row = vec![table::text(source, "name"), "(nothing sent yet)".to_owned()];
            row.resize(7, String::new());
            cells.push(row);
        }
        for site in sites {
            let ceiling = if site["ceiling"].is_null() { "warm".to_owned() } else { table::text(site, "ceiling") };
            cells.push(vec![
                table::text(source, "name"),
                table::text(site, "site"),
                format!("{} of {}", site["step"], source["steps"]),
                format!("{} of {ceiling}", site["carried"]),
                table::text(site, "day"),
                table::text(site, "paused_until"),
                table::text(site, "reason"),
            ]);
        }
    }
    table::table(&["source", "site", "step", "went", "on the day", "paused until", "paused last because"], &cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::command::egress::EgressCommand;
    use clap::Parser;

    fn settings(words: &[&str]) -> SourceArgs {
        let words = ["postrider", "egress", "sources", "set", "mta1"].iter().chain(words);
        match Cli::try_parse_from(words).map(|cli| cli.command) {
            Ok(Command::Egress(EgressCommand::Sources { command: Some(SourcesCommand::Set { settings, .. }) })) => {
                settings
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_named_changes_and_nothing_else() {
        let there = json!({ "ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "node": "nod_1", "state": "active", "per_hour": 9,
            "warm_up": { "since": "2026-01-01T00:00:00.000Z", "plan": [5, 10] } });
        let mut body = there.clone();
        put_in(&mut body, &settings(&[])).unwrap();
        assert_eq!(body, there);
        put_in(&mut body, &settings(&["--ipv6", "none", "--node", "any", "--state", "off", "--per-hour", "0"]))
            .unwrap();
        assert_eq!((&body["ipv4"], &body["ipv6"], &body["node"]), (&json!("192.0.2.1"), &Value::Null, &Value::Null));
        assert_eq!((&body["state"], &body["per_hour"]), (&json!("off"), &json!(0)));
        assert_eq!(body["warm_up"], there["warm_up"]);
        put_in(&mut body, &settings(&["--plan", "50,80"])).unwrap();
        assert_eq!(body["warm_up"], json!({ "plan": [50, 80] }), "without a time it goes on");
        put_in(&mut body, &settings(&["--no-warm-up"])).unwrap();
        assert!(body["warm_up"].is_null());
        assert!(put_in(&mut body, &settings(&["--since", "2026-01-01T00:00:00Z"])).is_err(), "since of nothing");
        put_in(&mut body, &settings(&["--warm-up", "--since", "2026-01-01T00:00:00Z"])).unwrap();
        assert_eq!(body["warm_up"], json!({ "plan": [], "since": "2026-01-01T00:00:00Z" }));
        assert!(
            Cli::try_parse_from(["postrider", "egress", "sources", "set", "a", "--warm-up", "--no-warm-up"]).is_err()
        );
    }
}
