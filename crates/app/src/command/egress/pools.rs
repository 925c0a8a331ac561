//! `postrider egress pools …`.

use super::PoolsCommand;
use super::sources::id_of;
use crate::client::Client;
use crate::command::{Show, all, find};
use crate::table;
use anyhow::{Context, bail};
use hyper::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/egress/pools";

/// Lists or changes pools.
pub(super) async fn run(client: &Client, show: Show, command: PoolsCommand) -> anyhow::Result<()> {
    match command {
        PoolsCommand::List => list(client, show).await,
        PoolsCommand::Set { pool, name, source, workspaces, for_all } => {
            let mut members = Vec::new();
            for named in &source {
                members.push(member(client, named).await?);
            }
            let mut open_to = Vec::new();
            for named in &workspaces {
                open_to.push(find(client, "/api/v1/workspaces", "workspace", "wsp", named).await?);
            }
            let there = all(client, PATH).await?;
            let by_name: Vec<&Value> = there.iter().filter(|p| p["name"] == pool.as_str()).collect();
            let found = there.iter().find(|p| p["id"] == pool.as_str()).or(by_name.first().copied());
            let mut body = match found {
                Some(p) => json!({ "name": p["name"], "members": p["members"], "workspaces": p["workspaces"] }),
                None if pool.starts_with("pol_") => {
                    bail!("there is no pool {pool}: `postrider egress pools` lists them")
                }
                None if members.is_empty() => {
                    bail!("there is no pool named `{pool}`: to make it, name its sources: --source mta1 mta2=3")
                }
                None => json!({ "name": pool, "members": [], "workspaces": null }),
            };
            let before = body.clone();
            if let Some(name) = name {
                body["name"] = name.into();
            }
            if !members.is_empty() {
                body["members"] = members.into();
            }
            if for_all {
                body["workspaces"] = Value::Null;
            } else if !open_to.is_empty() {
                body["workspaces"] = open_to.into();
            }
            let (saved, what) = match found {
                Some(_) if body == before => {
                    bail!("say what changes: --source, --for, --for-all or --name");
                }
                Some(p) => {
                    let path = format!("{PATH}/{}", p["id"].as_str().unwrap_or_default());
                    (client.good(Method::PUT, &path, &body).await?, "changed")
                }
                None => (client.post(PATH, &body).await?, "made; nothing leaves by it before a route names it"),
            };
            show.print(&saved, |p| format!("pool {} ({}) {what}", table::text(p, "name"), table::text(p, "id")));
            Ok(())
        }
        PoolsCommand::Remove { pool } => {
            let id = find(client, PATH, "pool", "pol", &pool).await?;
            client.good(Method::DELETE, &format!("{PATH}/{id}"), &Value::Null).await?;
            show.print(&json!({ "removed": id }), |_| format!("pool {pool} removed"));
            Ok(())
        }
    }
}

/// `mta1` or `mta1=3`. A name may have the sign in it: what is behind the last one is a weight when it is a number.
async fn member(client: &Client, named: &str) -> anyhow::Result<Value> {
    let (source, weight) = match named.rsplit_once('=') {
        Some((source, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let weight: u32 = digits.parse().with_context(|| format!("the weight in `{named}` should be 1 to 1000"))?;
            (source, weight)
        }
        Some(_) | None => (named, 1),
    };
    Ok(json!({ "source": id_of(client, source).await?, "weight": weight }))
}

async fn list(client: &Client, show: Show) -> anyhow::Result<()> {
    let pools = Value::Array(all(client, PATH).await?);
    if show == Show::Json {
        show.print(&pools, |_| String::new());
        return Ok(());
    }
    let names_of = |rows: Vec<Value>| {
        move |id: &Value| {
            let row = rows.iter().find(|row| row["id"] == *id);
            row.map_or_else(|| table::plain(id.as_str().unwrap_or_default(), 40), |row| table::text(row, "name"))
        }
    };
    let source = names_of(all(client, "/api/v1/egress/sources").await?);
    let workspace = names_of(all(client, "/api/v1/workspaces").await?);
    show.print(&pools, |pools| {
        let rows: Vec<&Value> = pools.as_array().into_iter().flatten().collect();
        if rows.is_empty() {
            return "no pool".to_owned();
        }
        let join = |list: &Value, one: &dyn Fn(&Value) -> String| {
            list.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
        };
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|p| {
                let members = join(&p["members"], &|m| format!("{}={}", source(&m["source"]), m["weight"]));
                let open = if p["workspaces"].is_null() {
                    "all".to_owned()
                } else {
                    join(&p["workspaces"], &|w| workspace(w))
                };
                vec![table::text(p, "id"), table::text(p, "name"), members, open]
            })
            .collect();
        table::table(&["id", "name", "sources", "for workspaces"], &cells)
    });
    Ok(())
}
