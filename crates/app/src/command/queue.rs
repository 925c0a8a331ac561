//! `postrider queue …`: what waits and why, and what is done about it. The words are those of the API.

use super::{Show, all, find, query_value};
use crate::client::Client;
use crate::table;
use anyhow::bail;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// The queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Where mail waits or is on its way: each site, with its sources beneath.
    List,
    /// What happened to one delivery, or to the deliveries of a message, and what holds it back.
    Show {
        /// Delivery or message id.
        what: String,
    },
    /// The rules that stand or are at work.
    Rules {
        /// Those that are over.
        #[arg(long)]
        past: bool,
    },
    /// Hand out nothing of it until resumed; it stays ready.
    Suspend(Standing),
    /// Hold it until released.
    Hold(Standing),
    /// Send it by another route.
    Reroute {
        /// The other route: name or id.
        #[arg(long)]
        to: String,
        #[command(flatten)]
        standing: Standing,
    },
    /// Send it at this speed.
    Speed {
        /// Messages per second.
        #[arg(long)]
        per_second: Option<f64>,
        /// Connections at most to each site.
        #[arg(long)]
        connections: Option<u32>,
        #[command(flatten)]
        standing: Standing,
    },
    /// End rules that suspend, reroute or set a speed: one by its id, or those with exactly this scope.
    Resume(Ending),
    /// End rules that hold, and let go what else is held: one rule by its id, or by scope.
    Release(Ending),
    /// Cancel what is queued now. Without --yes: say how much that is.
    Cancel(Once),
    /// End what is queued now as bounced, with your words. Without --yes: say how much that is.
    Bounce {
        /// What reports will show.
        #[arg(long)]
        text: String,
        #[command(flatten)]
        once: Once,
    },
}

/// Which deliveries: all that is named must be true.
#[derive(Debug, Default, Args)]
pub struct ScopeArgs {
    /// Of this campaign: id or name.
    #[arg(long)]
    campaign: Option<String>,
    /// To this site, as `queue list` names it.
    #[arg(long)]
    site: Option<String>,
    /// To recipients at this domain.
    #[arg(long)]
    domain: Option<String>,
    /// With this From domain.
    #[arg(long)]
    sending_domain: Option<String>,
    /// transactional or marketing.
    #[arg(long)]
    stream: Option<String>,
    /// From this source, as `queue list` names it.
    #[arg(long)]
    source: Option<String>,
    /// Of this single message.
    #[arg(long)]
    message: Option<String>,
    /// This one.
    #[arg(long)]
    delivery: Option<String>,
    /// Everything of the workspace (--workspace when there are several).
    #[arg(long)]
    everything: bool,
    /// Of all workspaces.
    #[arg(long)]
    everywhere: bool,
}

/// A rule that stands until it is ended.
#[derive(Debug, Args)]
pub struct Standing {
    #[command(flatten)]
    scope: ScopeArgs,
    /// It ends by itself after this time: 90s, 30m, 2h, 7d.
    #[arg(long = "for", value_parser = seconds)]
    lasts: Option<u32>,
    /// Why; others read it where mail waits.
    #[arg(long)]
    reason: String,
}

/// Something that is done once.
#[derive(Debug, Args)]
pub struct Once {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// The end of rules.
#[derive(Debug, Args)]
pub struct Ending {
    /// Rule id.
    rule: Option<String>,
    #[command(flatten)]
    scope: ScopeArgs,
}

/// Reads 90s, 30m, 2h or 7d.
fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no time: write 90s, 30m, 2h or 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let times = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let n: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    n.checked_mul(times).filter(|s| *s > 0).ok_or_else(wrong)
}

impl ScopeArgs {
    fn is_empty(&self) -> bool {
        let named = [
            &self.campaign,
            &self.site,
            &self.domain,
            &self.sending_domain,
            &self.stream,
            &self.source,
            &self.message,
            &self.delivery,
        ];
        named.into_iter().all(Option::is_none) && !self.everything && !self.everywhere
    }

    /// The scope as the API takes it. The whole installation is everything, unless a part of it is named.
    async fn body(&self, client: &Client) -> anyhow::Result<Value> {
        if self.is_empty() {
            bail!(
                "say what is concerned: --campaign, --site, --domain, --sending-domain, --stream, --source, --message, --delivery, or --everything"
            );
        }
        let mut scope = json!({});
        if let Some(campaign) = &self.campaign {
            scope["campaign"] = find(client, "/api/v1/campaigns", "campaign", "cmp", campaign).await?.into();
        }
        let texts = [
            ("site", &self.site),
            ("domain", &self.domain),
            ("sending_domain", &self.sending_domain),
            ("stream", &self.stream),
            ("source", &self.source),
            ("message", &self.message),
            ("delivery", &self.delivery),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                scope[name] = text.clone().into();
            }
        }
        if self.everything || scope == json!({}) {
            scope["everything"] = true.into();
        }
        Ok(scope)
    }
}

/// Shows or steers the queue.
pub async fn run(client: &Client, show: Show, command: QueueCommand) -> anyhow::Result<()> {
    match command {
        QueueCommand::List => list(client, show).await,
        QueueCommand::Show { what } => one(client, show, &what).await,
        QueueCommand::Rules { past } => rules(client, show, past).await,
        QueueCommand::Suspend(standing) => stand(client, show, "suspend", &standing, json!({})).await,
        QueueCommand::Hold(standing) => stand(client, show, "hold", &standing, json!({})).await,
        QueueCommand::Reroute { to, standing } => {
            let route = find(client, "/api/v1/routes", "route", "rte", &to).await?;
            stand(client, show, "reroute", &standing, json!({ "route": route })).await
        }
        QueueCommand::Speed { per_second, connections, standing } => {
            let more = json!({ "per_second": per_second, "connections": connections });
            stand(client, show, "speed", &standing, more).await
        }
        QueueCommand::Resume(ending) => end(client, show, &ending, &["suspend", "reroute", "speed"]).await,
        QueueCommand::Release(ending) => end(client, show, &ending, &["hold"]).await,
        QueueCommand::Cancel(once) => act(client, show, "cancel", &once, "").await,
        QueueCommand::Bounce { text, once } => act(client, show, "bounce", &once, &text).await,
    }
}

/// Sets a rule that stands.
async fn stand(client: &Client, show: Show, action: &str, standing: &Standing, more: Value) -> anyhow::Result<()> {
    let mut body = json!({
        "action": action, "scope": standing.scope.body(client).await?, "reason": standing.reason,
        "for_seconds": standing.lasts, "everywhere": standing.scope.everywhere,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let rule = client.post("/api/v1/queue/rules", &body).await?;
    show.print(&rule, |r| {
        let until = r["until"].as_str().map_or(String::new(), |until| format!(" until {until}"));
        format!("{}: {} {}{until}", table::text(r, "id"), table::text(r, "action"), table::text(r, "concerns"))
    });
    Ok(())
}

/// Ends one rule by its id, or those that have exactly a scope; then lets go what else is held.
async fn end(client: &Client, show: Show, ending: &Ending, actions: &[&str]) -> anyhow::Result<()> {
    let release = actions.contains(&"hold");
    let mut ended = Vec::new();
    let mut released = Value::Null;
    if let Some(rule) = &ending.rule {
        if !ending.scope.is_empty() {
            bail!("name a rule or a scope, not both");
        }
        let found = client.get(&format!("/api/v1/queue/rules/{}", query_value(rule))).await?;
        let action = found["action"].as_str().unwrap_or_default();
        if !actions.contains(&action) {
            let verb = if action == "hold" { "release" } else { "resume" };
            bail!("the rule does `{action}`: end it with `postrider queue {verb} {rule}`");
        }
        ended.push(delete(client, rule).await?);
    } else {
        let scope = ending.scope.body(client).await?;
        for rule in all(client, "/api/v1/queue/rules").await? {
            let same = rule["scope"] == scope && rule["everywhere"] == ending.scope.everywhere;
            let stands = rule["state"] == "stands" && actions.iter().any(|a| rule["action"] == *a);
            if same && stands {
                ended.push(delete(client, rule["id"].as_str().unwrap_or_default()).await?);
            }
        }
        if release {
            let body = json!({
                "action": "release", "scope": scope, "reason": "released", "everywhere": ending.scope.everywhere,
            });
            released = client.post("/api/v1/queue/actions", &body).await?;
        } else if ended.is_empty() {
            bail!("no rule has exactly this scope: `postrider queue rules` shows those that stand");
        }
    }
    let answer = json!({ "ended": ended, "released": released });
    show.print(&answer, |a| {
        let mut lines: Vec<String> = a["ended"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|r| {
                format!("{}: {} {} ended", table::text(r, "id"), table::text(r, "action"), table::text(r, "concerns"))
            })
            .collect();
        if let Some(n) = a["released"]["deliveries"].as_i64() {
            lines.push(format!("{n} held deliveries are let go"));
        }
        lines.join("\n")
    });
    Ok(())
}

async fn delete(client: &Client, rule: &str) -> anyhow::Result<Value> {
    client.good(Method::DELETE, &format!("/api/v1/queue/rules/{}", query_value(rule)), &Value::Null).await
}

/// Counts, and does it when it is confirmed.
async fn act(client: &Client, show: Show, action: &str, once: &Once, text: &str) -> anyhow::Result<()> {
    let mut body = json!({
        "action": action, "scope": once.scope.body(client).await?, "everywhere": once.scope.everywhere, "dry_run": true,
    });
    let counted = client.post("/api/v1/queue/actions", &body).await?;
    let n = counted["deliveries"].as_i64().unwrap_or(0);
    if !once.yes {
        show.print(&counted, |_| format!("{n} deliveries would be concerned; repeat with --yes to {action} them"));
        return Ok(());
    }
    if once.reason.trim().is_empty() {
        bail!("give a --reason: the audit keeps it");
    }
    body["dry_run"] = false.into();
    body["expect"] = n.into();
    body["reason"] = once.reason.clone().into();
    body["text"] = text.into();
    let done = client.post("/api/v1/queue/actions", &body).await?;
    show.print(&done, |d| {
        let rule = &d["rule"];
        format!(
            "{}: {action} {} deliveries; nothing of them leaves from now on",
            table::text(rule, "id"),
            d["deliveries"]
        )
    });
    Ok(())
}

/// Rules as a table.
async fn rules(client: &Client, show: Show, past: bool) -> anyhow::Result<()> {
    let path = if past { "/api/v1/queue/rules?past=true" } else { "/api/v1/queue/rules" };
    super::show_all(
        client,
        show,
        path,
        &[
            ("id", "id"),
            ("action", "action"),
            ("concerns", "concerns"),
            ("by", "by"),
            ("since", "since"),
            ("until", "until"),
            ("done", "done"),
            ("of", "expected"),
            ("state", "state"),
            ("reason", "reason"),
        ],
    )
    .await
}

/// Each site, with its sources beneath.
async fn list(client: &Client, show: Show) -> anyhow::Result<()> {
    let sites = Value::Array(all(client, "/api/v1/queue/sites").await?);
    show.print(&sites, sites_table);
    Ok(())
}

/// A line for each site; where mail leaves by several sources, a line for each of them follows. What waits is the site's.
fn sites_table(sites: &Value) -> String {
    let rows: Vec<&Value> = sites.as_array().into_iter().flatten().collect();
    if rows.is_empty() {
        return "nothing waits, and nothing is on its way".to_owned();
    }
    let allowed = |r: &Value, field: &str| if r[field].is_null() { "-".to_owned() } else { table::text(r, field) };
    let flows = |r: &Value| {
        vec![
            format!("{} of {}", table::text(r, "connections"), allowed(r, "connections_allowed")),
            format!("{} of {}", table::text(r, "rate"), allowed(r, "rate_allowed")),
        ]
    };
    let reply = |sources: &[Value]| {
        let newest = sources.iter().flat_map(|s| s["replies"].as_array().into_iter().flatten());
        let newest = newest.max_by_key(|reply| reply["at"].as_str().unwrap_or_default());
        newest.map_or(String::new(), |reply| table::plain(reply["text"].as_str().unwrap_or_default(), 60))
    };
    let why = |r: &Value| {
        let flow = r["flows"].as_array().into_iter().flatten().find_map(|f| f["hold"]["sentence"].as_str());
        table::plain(r["hold"]["sentence"].as_str().or(flow).unwrap_or_default(), 160)
    };
    let mut cells: Vec<Vec<String>> = Vec::new();
    for r in rows {
        let sources = r["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let source = match sources {
            [one] => table::text(one, "source"),
            several => format!("{} sources", several.len()),
        };
        let more = if r["more"] == true { "+" } else { "" };
        let mut line = vec![table::text(r, "site"), source, format!("{}{more}", r["ready"])];
        line.extend([table::text(r, "claimed"), table::text(r, "held")]);
        line.extend(flows(r));
        line.extend([reply(sources), why(r)]);
        cells.push(line);
        for s in sources.iter().filter(|_| sources.len() > 1) {
            let mut line = vec![String::new(), format!("  {}", table::text(s, "source"))];
            line.extend([String::new(), String::new(), String::new()]);
            line.extend(flows(s));
            line.extend([reply(std::slice::from_ref(s)), why(s)]);
            cells.push(line);
        }
    }
    let headings =
        ["site", "source", "ready", "in the air", "held", "connections", "rate/s", "last reply", "waits for"];
    table::table(&headings, &cells)
}

/// One delivery, or those of a message: what happened, in its order, and what holds it back.
async fn one(client: &Client, show: Show, what: &str) -> anyhow::Result<()> {
    let deliveries = match what.split_once('_').map(|(kind, _)| kind) {
        Some("dlv") => vec![client.get(&format!("/api/v1/deliveries/{}", query_value(what))).await?],
        Some("msg") => all(client, &format!("/api/v1/deliveries?message={}", query_value(what))).await?,
        _ => bail!("`{what}` is neither a delivery (dlv_…) nor a message (msg_…): give its id"),
    };
    let mut told = Vec::new();
    for delivery in deliveries {
        let id = delivery["id"].as_str().unwrap_or_default();
        let attempts = all(client, &format!("/api/v1/deliveries/{id}/attempts")).await?;
        told.push(json!({ "delivery": delivery, "attempts": attempts }));
    }
    show.print(&Value::Array(told), |told| {
        told.as_array().into_iter().flatten().map(timeline).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

fn timeline(one: &Value) -> String {
    let delivery = &one["delivery"];
    let mut lines = vec![format!(
        "{}  {}  {}  attempts {}",
        table::text(delivery, "id"),
        table::text(delivery, "mailbox"),
        table::text(delivery, "status"),
        table::text(delivery, "attempts")
    )];
    for attempt in one["attempts"].as_array().into_iter().flatten() {
        let host = [table::text(attempt, "host"), table::text(attempt, "ip")].join(" ");
        lines.push(format!(
            "  {}  try {}: {} at {}  {}  {}",
            table::text(attempt, "at"),
            attempt["n"],
            table::text(attempt, "result"),
            table::text(attempt, "stage"),
            host.trim(),
            table::text(attempt, "text")
        ));
    }
    if let Some(at) = delivery["outcome_at"].as_str() {
        lines.push(format!("  {at}  {}: {}", table::text(delivery, "status"), table::text(delivery, "detail")));
    }
    if let Some(sentence) = delivery["waiting_for"]["sentence"].as_str() {
        lines.push(format!("  now: {}", table::plain(sentence, 400)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_with_several_sources_says_once_what_waits() {
        let source = |name: &str, text: &str, at: &str| {
            json!({ "source": name, "connections": 1, "connections_allowed": 2, "rate": 0.5, "rate_allowed": null,
                "replies": [{ "at": at, "text": text, "times": 1 }], "hold": null })
        };
        let site = |sources: Value| {
            json!({ "site": "google", "ready": 7, "more": true, "claimed": 3, "held": 0, "connections": 2,
                "connections_allowed": 4, "rate": 1.0, "rate_allowed": null, "hold": null, "flows": [], "sources": sources })
        };
        let two = json!([source("src_1", "421 old", "2026-01-01"), source("src_2", "421 new", "2026-01-02")]);
        let shown = sites_table(&json!([site(two)]));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 4, "{shown}");
        assert!(lines[1].starts_with("google") && lines[1].contains("2 sources") && lines[1].contains("7+"), "{shown}");
        assert!(lines[1].contains("421 new") && lines[1].contains("2 of 4"), "{shown}");
        assert!(lines[2].contains("  src_1") && lines[2].contains("421 old") && !lines[2].contains('7'), "{shown}");
        let one = sites_table(&json!([site(json!([source("direct", "421 x", "2026-01-01")]))]));
        assert_eq!(one.lines().count(), 2, "{one}");
        assert!(one.contains("direct"), "{one}");
        assert!(sites_table(&json!([])).contains("nothing waits"));
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, want) in [("90s", Some(90)), ("30m", Some(1_800)), ("2h", Some(7_200)), ("7d", Some(604_800))] {
            assert_eq!(seconds(text).ok(), want, "{text}");
        }
        for bad in ["", "2", "h", "0m", "-1h", "2 h", "1y", "99999999d", "2ä"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
