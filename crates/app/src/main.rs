//! `postrider`: one binary. Wiring only: no rule, no SQL, no handler lives here.

mod arenas;
mod certificate;
mod cli;
mod client;
mod command;
mod config;
mod demo;
mod https;
mod log;
mod serve;
mod sim;
mod submission;
mod system;
mod table;
mod tls_report;

use anyhow::Context;
use clap::Parser;
use cli::{Cli, Command};
use client::Client;
use command::Show;
use config::Config;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Serve | Command::Demo(_)) {
        arenas::keep_few();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.context("could not start the runtime").and_then(|runtime| runtime.block_on(run(cli)));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postrider: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let show = if cli.json { Show::Json } else { Show::Text };
    // Needs no server, no data folder and no settings, not even good ones.
    if let Command::Explain(args) = &cli.command {
        let configured = Config::load(cli.config.as_deref(), cli.data.as_deref()).map(|config| config.rules.bounces);
        return command::explain::run(show, args, configured);
    }
    let config = Config::load(cli.config.as_deref(), cli.data.as_deref())?;
    match cli.command {
        Command::Serve => return serve::run(config).await,
        Command::Demo(args) => return demo::run(config, cli.data.is_some(), show, args).await,
        Command::Sim(args) => return sim::run(show, args).await,
        Command::Openapi => {
            print!("{}", postrider_web::openapi());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Doctor
        | Command::Alarms(_)
        | Command::Relay(_)
        | Command::Explain(_)
        | Command::Import(_)
        | Command::ImportStatus { .. }
        | Command::Campaign(_)
        | Command::List(_)
        | Command::Purpose(_)
        | Command::Domain(_)
        | Command::Route(_)
        | Command::Queue(_)
        | Command::Egress(_)
        | Command::Key(_)
        | Command::Account(_)
        | Command::Sessions(_)
        | Command::Workspace(_) => {}
    }
    log::start(if std::env::var_os("POSTRIDER_LOG").is_some() { &config.log.level } else { "warn" });
    let (client, here) = system::reach(&config).await?;
    let client = client.in_workspace(cli.workspace);
    let ended = call(&client, show, cli.command).await;
    if let Some(here) = here {
        here.end().await?;
    }
    ended.map(|()| ExitCode::SUCCESS)
}

async fn call(client: &Client, show: Show, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve | Command::Demo(_) | Command::Sim(_) | Command::Explain(_) | Command::Openapi => Ok(()),
        Command::Doctor => command::doctor::run(client, show).await,
        Command::Alarms(args) => command::alarms::run(client, show, args).await,
        Command::Relay(args) => command::relay::run(client, show, args).await,
        Command::Import(args) => command::import::run(client, show, args).await,
        Command::ImportStatus { import, wait } => command::import::status(client, show, &import, wait).await,
        Command::Campaign(c) => command::campaign::run(client, show, c).await,
        Command::List(c) => command::list::run(client, show, c).await,
        Command::Purpose(c) => command::purpose::run(client, show, c).await,
        Command::Domain(c) => command::domain::run(client, show, c).await,
        Command::Route(c) => command::route::run(client, show, c).await,
        Command::Queue(c) => command::queue::run(client, show, c).await,
        Command::Egress(c) => command::egress::run(client, show, c).await,
        Command::Key(c) => command::key::run(client, show, c).await,
        Command::Account(c) => command::account::run(client, show, c).await,
        Command::Sessions(c) => command::sessions::run(client, show, c).await,
        Command::Workspace(c) => command::workspace::run(client, show, c).await,
    }
}
