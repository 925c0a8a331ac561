//! `postrider demo`: the whole road in one process, against the simulated world.
//!
//! Contacts are made up, imported and written to; some servers defer, refuse or never answer; the report says for
//! each recipient what happened. Everything goes through the API, as a person's clicks would.

mod people;

use crate::cli::DemoArgs;
use crate::client::Client;
use crate::command::Show;
use crate::command::campaign::{report_text, report_value, rows_text};
use crate::config::Config;
use crate::system::System;
use anyhow::{Context, bail};
use postrider_sim::{World, WorldConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longest time that the demo's campaign may take, for two million contacts.
const LONGEST: Duration = Duration::from_secs(7_200);

/// Runs the demo.
pub async fn run(mut config: Config, data_given: bool, show: Show, args: DemoArgs) -> anyhow::Result<ExitCode> {
    crate::log::start(if config.log.level == "info" { "warn" } else { &config.log.level });
    let began = Instant::now();
    if !data_given {
        config.data_dir = std::env::temp_dir().join(format!("postrider-demo-{}", std::process::id()));
    }
    if config.data_dir.join("postrider.db").exists() {
        bail!("{} holds an installation already: the demo wants an empty folder", config.data_dir.display());
    }
    let world = World::start(WorldConfig { seed: args.seed, ..WorldConfig::default() })
        .await
        .context("could not start the simulated world")?;
    config.smtp.dns_server = Some(world.dns_addr());
    config.smtp.mx_port = world.mx_port();
    config.smtp.allow_private_mx = vec!["127.0.0.0/8".into(), "::1/128".into()];
    config.smtp.ehlo_name = "mta.postrider-demo.test".into();
    config.database.url.clear();
    let data_dir = config.data_dir.clone();
    let grace = config.engine.grace_seconds;
    let mut system = System::open(config).await?;
    let address = system.listen().await?.http;
    let told = tell(
        show,
        &format!(
            "Simulated world: DNS {}, MX port {}. Data: {}",
            world.dns_addr(),
            world.mx_port(),
            data_dir.display()
        ),
    );
    told(&format!("Server: http://{address}"));
    let client = system.client();
    let story =
        Story { client: &client, world: &world, show, args: &args, folder: &data_dir, address: address.to_string() };
    let password = story.furnish().await?;
    let (campaign, seconds) = story.send().await?;
    let outcome = story.report(&campaign, seconds, began.elapsed().as_secs_f64()).await?;
    let good = outcome["balances"] == true;
    if args.exit {
        system.end(grace).await?;
        world.stop().await;
        if !data_given {
            // Only what this run made itself, in a folder that was not there before.
            std::fs::remove_dir_all(&data_dir).ok();
        }
        show.print(&outcome, |_| String::new());
        return Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    show.print(&outcome, |_| {
        format!(
            "The server goes on at http://{address}\n  log in as admin@postrider-demo.test with {password}\n  postrider --data {} campaign list\n\
             Ctrl-C ends it.",
            data_dir.display()
        )
    });
    crate::serve::told_to_end().await?;
    system.end(grace).await?;
    world.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Prints for people; programs get only the last line.
fn tell(show: Show, first: &str) -> impl Fn(&str) + use<> {
    let say = move |line: &str| match show {
        Show::Text => println!("{line}"),
        Show::Json => eprintln!("{line}"),
    };
    say(first);
    say
}

struct Story<'a> {
    client: &'a Client,
    world: &'a World,
    show: Show,
    args: &'a DemoArgs,
    folder: &'a Path,
    address: String,
}

impl Story<'_> {
    fn say(&self, line: &str) {
        match self.show {
            Show::Text => println!("{line}"),
            Show::Json => eprintln!("{line}"),
        }
    }

    /// Workspace, administrator, sending domain, route, contacts; the administrator's password.
    async fn furnish(&self) -> anyhow::Result<String> {
        let client = self.client;
        client
            .post(
                "/api/v1/workspaces",
                &json!({
                    "name": "Demo", "controller_name": "Postrider Demo Society", "postal_address": "Piazza della Posta 1, 27100 Pavia, Italy",
                    "privacy_url": "https://postrider-demo.test/privacy", "time_zone": "Europe/Rome",
                    "public_url": format!("http://{}", self.address),
                }),
            )
            .await?;
        let password = postrider_store::secret::Secret::random()?.reveal().to_owned();
        let account = json!({ "mailbox": "admin@postrider-demo.test", "role": "administrator", "password": password });
        client.post("/api/v1/accounts", &account).await?;
        let domain = client.post("/api/v1/domains", &json!({ "name": "postrider-demo.test" })).await?;
        for record in domain["records"].as_array().into_iter().flatten() {
            if let (Some("TXT"), Some(name), Some(value)) =
                (record["type"].as_str(), record["name"].as_str(), record["value"].as_str())
            {
                self.world.publish_txt(name, value);
            }
        }
        let route = json!({
            "settings": { "name": "direct to MX", "kind": "mx", "tls": "opportunistic", "connections": 20 }, "is_default": true,
        });
        client.post("/api/v1/routes", &route).await?;
        let list = client.post("/api/v1/lists", &json!({ "name": "Readers" })).await?["id"].clone();
        // A workspace begins with a purpose of each kind.
        let purposes = client.get("/api/v1/purposes").await?;
        let purpose = purposes["items"]
            .as_array()
            .and_then(|all| all.iter().find(|p| p["kind"] == "newsletter"))
            .map(|p| p["id"].clone())
            .unwrap_or_default();
        let wordings = format!("/api/v1/purposes/{}/wordings", purpose.as_str().unwrap_or_default());
        let words =
            json!({ "language": "en", "text": "Yes, send me the newsletter. I can take this back at any time." });
        let wording = client.post(&wordings, &words).await?["id"].clone();
        let consent = json!({ "source": "made up for the demo", "basis": "consent", "given_at": "2026-05-01T10:00:00Z", "purpose": purpose, "wording": wording });
        let bare = (self.args.contacts / 50).max(1);
        self.import("readers.csv", 0, self.args.contacts - bare, &list, consent).await?;
        self.import("without-consent.csv", self.args.contacts - bare, bare, &list, json!({})).await?;
        self.campaign_files(&list, &purpose)?;
        Ok(password)
    }

    async fn import(&self, name: &str, first: u32, count: u32, list: &Value, consent: Value) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        let mut file = std::io::BufWriter::new(
            std::fs::File::create(&path).with_context(|| format!("could not write {}", path.display()))?,
        );
        people::write_csv(&mut file, first, count, self.args.seed)?;
        std::io::Write::flush(&mut file)?;
        drop(file);
        let params = json!({ "lists": [list], "consent": consent });
        let made = crate::command::import::upload(self.client, &params, &path).await?;
        let id = made["id"].as_str().unwrap_or_default().to_owned();
        let done = crate::command::import::wait(self.client, self.show, &id).await?;
        self.say(&format!("Imported {name}: created {}, refused {}", done["created"], done["refused"]));
        if done["state"] != "done" {
            bail!("the import ended as {}: {}", done["state"], done["error"]);
        }
        Ok(())
    }

    fn draft_path(&self) -> PathBuf {
        self.folder.join("campaign.json")
    }

    /// Keeps the request that makes the campaign, so that a curious person can look at it.
    fn campaign_files(&self, list: &Value, purpose: &Value) -> anyhow::Result<()> {
        let request = json!({
            "name": "First newsletter", "objective": "information", "policy": "rehearsal",
            "audience": { "include": [list], "purpose": purpose },
            "draft": {
                "from_mailbox": "news@postrider-demo.test", "from_name": "Postrider Demo Society",
                "subject": "{{ first_name|default('Hello') }}, the news from {{ city|default('town') }}",
                "preheader": "Three short stories for your week", "format": "markdown",
                "body": include_str!("newsletter.md"),
            },
        });
        std::fs::write(self.draft_path(), serde_json::to_vec_pretty(&request)?)?;
        Ok(())
    }

    /// Makes and starts the campaign and waits for its end; its id and the seconds that it took.
    async fn send(&self) -> anyhow::Result<(String, f64)> {
        let request: Value = serde_json::from_slice(&std::fs::read(self.draft_path())?)?;
        let campaign = self.client.post("/api/v1/campaigns", &request).await?;
        let id = campaign["id"].as_str().unwrap_or_default().to_owned();
        self.say("Policy `rehearsal`: 3 attempts, 2 s apart, time-outs of 2 s.");
        self.client.post(&format!("/api/v1/campaigns/{id}/start"), &json!({ "undo_seconds": 0 })).await?;
        let began = Instant::now();
        let bar = match self.show {
            Show::Text => indicatif::ProgressBar::new(u64::from(self.args.contacts)),
            Show::Json => indicatif::ProgressBar::hidden(),
        };
        loop {
            let report = self.client.get(&format!("/api/v1/campaigns/{id}/report")).await?;
            let ledger = &report["ledger"];
            let n = |field: &str| ledger[field].as_u64().unwrap_or(0);
            if n("frozen") > 0 {
                bar.set_length(n("frozen"));
                bar.set_position(n("frozen") - n("queued"));
            }
            if report["state"] == "done" {
                bar.finish_and_clear();
                return Ok((id, began.elapsed().as_secs_f64()));
            }
            if began.elapsed() > LONGEST {
                bail!("the campaign has not ended: {report}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Prints the report and counts at the other side.
    async fn report(&self, campaign: &str, seconds: f64, all_seconds: f64) -> anyhow::Result<Value> {
        let mut report = report_value(self.client, campaign, None, 0).await?;
        let mut rows = Vec::new();
        for status in ["SENT", "TIMEOUT", "BOUNCED", "EXPIRED"] {
            let some = report_value(self.client, campaign, Some(status), 400).await?;
            let mut shown = std::collections::HashMap::new();
            for row in some["rows"].as_array().into_iter().flatten() {
                // A few rows for each number of attempts and each kind of refusal are enough to see what happens.
                let domain = row["mailbox"].as_str().and_then(|m| m.split_once('@')).map(|(_, d)| d.to_owned());
                let kind = (row["attempts"].clone().to_string(), domain.filter(|d| !d.starts_with("mail")));
                let times = shown.entry(kind).or_insert(0);
                *times += 1;
                if *times <= 2 {
                    rows.push(row.clone());
                }
            }
        }
        report["rows"] = json!([]);
        self.say(&format!("\n{}\n{}", report_text(&report), rows_text(&rows)));
        let stats = self.world.stats();
        let ledger = &report["ledger"];
        let n = |field: &str| ledger[field].as_i64().unwrap_or(0);
        let accepted = n("accepted");
        let lost = accepted - i64::try_from(stats.messages).unwrap_or(i64::MAX);
        let balances = report["balances"] == true
            && n("frozen") == accepted + n("rejected") + n("expired") + n("withheld") + n("queued")
            && lost == 0
            && stats.duplicates == 0;
        self.say(&format!(
            "Counted at the other side: {} messages, {lost} lost, {} duplicates. {:.0} messages/s, {:.1} s in all.",
            stats.messages,
            stats.duplicates,
            accepted as f64 / seconds.max(0.001),
            all_seconds
        ));
        Ok(json!({
            "recipients": n("frozen"), "excluded": report["excluded"], "accepted": accepted, "bounced": n("rejected"),
            "expired": n("expired"), "withheld": n("withheld"), "in_doubt": n("queued"), "attempts": report["attempts"],
            "lost": lost, "duplicates": stats.duplicates, "seconds": seconds,
            "messages_per_second": accepted as f64 / seconds.max(0.001), "peak_rss_bytes": crate::system::peak_rss_bytes(),
            "balances": balances,
        }))
    }
}
