//! `postrider serve`: runs until it is told to end, and ends in order.

use crate::config::Config;
use crate::system::System;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGINT or SIGTERM.
pub async fn told_to_end() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Runs the server.
pub async fn run(config: Config) -> anyhow::Result<ExitCode> {
    crate::log::start(&config.log.level);
    let grace = config.engine.grace_seconds;
    let data_dir = config.data_dir.clone();
    let mut system = System::open(config).await?;
    let bound = system.listen().await?;
    let address = bound.http;
    if let Some(code) = system.store().begin_setup().await? {
        // The one secret that is ever printed: on the console only, valid for 30 minutes (SEC-80).
        println!(
            "Postrider is not set up yet. Set-up code, valid for 30 minutes: {0}\n  Open http://{address}/#code={0} on this machine, POST \
             http://{address}/api/v1/setup, or use the command line.",
            code.reveal()
        );
    }
    println!("Postrider listens on http://{address}; data in {}", data_dir.display());
    if let Some(https) = bound.https {
        println!("HTTPS on {https}");
    }
    for relay in &bound.submission {
        println!("Mail of applications on {relay}");
    }
    tracing::info!(event = "server.started", http = %address, data = %data_dir.display(), version = env!("CARGO_PKG_VERSION"));
    let mut hang_up = signal(SignalKind::hangup())?;
    let end = told_to_end();
    tokio::pin!(end);
    let fatal = loop {
        tokio::select! {
            told = &mut end => { told?; break None }
            why = system.failed() => break Some(why),
            _ = hang_up.recv() => {
                tracing::info!(event = "server.reload");
                system.reload_certificate();
            }
        }
    };
    match fatal {
        None => {
            tracing::info!(event = "server.ending", grace_seconds = grace);
            system.end(grace).await?;
            tracing::info!(event = "server.ended");
            Ok(ExitCode::SUCCESS)
        }
        Some(why) => {
            tracing::error!(event = "server.failed", %why);
            eprintln!(
                "postrider: stopped because {why}. Nothing that was accepted is lost; start again when the cause is gone."
            );
            Ok(ExitCode::from(2))
        }
    }
}
