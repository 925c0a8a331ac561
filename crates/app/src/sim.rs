//! `postrider sim`: the simulated world alone, until it is told to end.

use crate::cli::SimArgs;
use crate::command::Show;
use anyhow::Context;
use postrider_sim::{Depth, Keep, Trace, World, WorldConfig};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

/// Starts a world, says where it is, and waits for SIGINT or SIGTERM.
pub async fn run(show: Show, args: SimArgs) -> anyhow::Result<ExitCode> {
    if args.list {
        print!("{}", postrider_sim::list());
        return Ok(ExitCode::SUCCESS);
    }
    let keep = match &args.keep_bodies {
        Some(folder) => Keep::Folder(folder.clone()),
        None => Keep::Last(100),
    };
    let world = World::start(WorldConfig {
        seed: args.seed,
        dns_bind: args.dns,
        mx_port: args.smtp_port,
        control_bind: Some(args.control),
        journal: args.journal.clone(),
        keep,
        depth: Depth::Full,
        trace: if args.trace { Trace::On } else { Trace::Off },
        ..WorldConfig::default()
    })
    .await
    .context("could not start the simulated world")?;
    let control = world.control_addr().map(|a| a.to_string()).unwrap_or_default();
    let place = json!({ "dns": world.dns_addr().to_string(), "smtp_port": world.mx_port(), "control": control });
    show.print(&place, |_| {
        format!(
            "The simulated world runs (seed {}).\n\nStart a server whose mail goes there:\n\n  POSTRIDER_DNS_SERVER={} POSTRIDER_MX_PORT={} \
             POSTRIDER_ALLOW_PRIVATE_MX=127.0.0.0/8 postrider serve\n\nAsk it: echo STATS | nc {}\nWhat its domains do: postrider sim --list",
            args.seed,
            world.dns_addr(),
            world.mx_port(),
            control.replace(':', " ")
        )
    });
    std::io::stdout().flush()?;
    crate::serve::told_to_end().await?;
    world.stop().await;
    Ok(ExitCode::SUCCESS)
}
