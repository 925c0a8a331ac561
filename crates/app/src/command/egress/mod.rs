//! `postrider egress …`: sources, pools, warm-up and weights. The words are those of the API.

mod pools;
mod sources;
mod weights;

use super::Show;
use crate::client::Client;
use clap::{Args, Subcommand, ValueEnum};

/// From where mail leaves.
#[derive(Debug, Subcommand)]
pub enum EgressCommand {
    /// Sources: the addresses of this installation and the names that are said from them.
    Sources {
        /// What to do; without it they are listed.
        #[command(subcommand)]
        command: Option<SourcesCommand>,
    },
    /// Pools: which sources share mail, and which workspaces may use them.
    Pools {
        /// What to do; without it they are listed.
        #[command(subcommand)]
        command: Option<PoolsCommand>,
    },
    /// How warm sources are at each site.
    WarmUp {
        /// What to do; without it all that warm up are listed.
        #[command(subcommand)]
        command: Option<WarmUpCommand>,
    },
    /// Weights: who gets how much where several draw on one limit.
    Weight {
        /// What to do; without it they are listed.
        #[command(subcommand)]
        command: Option<WeightCommand>,
    },
}

/// What is done with sources.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "parsed once in the life of a process")]
pub enum SourcesCommand {
    /// All of them, with what is wrong with them.
    List,
    /// Add one; nothing leaves by it before a pool names it.
    Add {
        /// Its name, for people and for attempts.
        name: String,
        /// The name said in EHLO; the PTR records of the addresses should say the same.
        #[arg(long)]
        ehlo_name: String,
        /// The rest.
        #[command(flatten)]
        settings: SourceArgs,
    },
    /// Change one; what is not named stays as it is. Counts within a second.
    Set {
        /// Name or id.
        source: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Another name to be said in EHLO.
        #[arg(long)]
        ehlo_name: Option<String>,
        /// The rest.
        #[command(flatten)]
        settings: SourceArgs,
    },
    /// Remove one that is not active and in no pool.
    Remove {
        /// Name or id.
        source: String,
    },
}

/// Settings of a source.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Local IPv4 address; `none` takes it away.
    #[arg(long)]
    pub ipv4: Option<String>,
    /// Local IPv6 address; `none` takes it away.
    #[arg(long)]
    pub ipv6: Option<String>,
    /// The only node that uses it (`nod_…`); `any` for each that has the address.
    #[arg(long)]
    pub node: Option<String>,
    /// `draining` takes nothing new, `off` also gives back what has not begun.
    #[arg(long, value_enum)]
    pub state: Option<StateArg>,
    /// Messages per second over all sites, 0: no limit.
    #[arg(long)]
    pub per_second: Option<u32>,
    /// Messages per hour over all sites, 0: no limit.
    #[arg(long)]
    pub per_hour: Option<u32>,
    /// Messages per day (UTC) over all sites, 0: no limit.
    #[arg(long)]
    pub per_day: Option<u32>,
    /// Warm it up by the plan that comes with the program; one that is under way goes on.
    #[arg(long, conflicts_with_all = ["plan", "no_warm_up"])]
    pub warm_up: bool,
    /// Warm it up by this plan: messages a day to each site, as 50,80,120.
    #[arg(long, value_delimiter = ',', conflicts_with = "no_warm_up")]
    pub plan: Vec<u32>,
    /// When the warm-up begins (2026-12-01T08:00:00Z); now, or as it was, when not given.
    #[arg(long, conflicts_with = "no_warm_up")]
    pub since: Option<String>,
    /// It is warm: no warm-up any more.
    #[arg(long)]
    pub no_warm_up: bool,
}

/// Whether a source takes mail.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateArg {
    /// It takes its share.
    Active,
    /// It takes nothing new.
    Draining,
    /// It takes nothing.
    Off,
}

/// What is done with pools.
#[derive(Debug, Subcommand)]
pub enum PoolsCommand {
    /// All of them.
    List,
    /// Make the pool of this name, or change it; what is not named stays as it is.
    Set {
        /// Name or id.
        pool: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Its sources, each by name or id with its weight: mta1 or mta1=3. Those before are replaced.
        #[arg(long, num_args = 1.., value_name = "SOURCE[=WEIGHT]")]
        source: Vec<String>,
        /// The workspaces that may use it: name or id. Those before are replaced.
        #[arg(long = "for", num_args = 1.., value_name = "WORKSPACE", conflicts_with = "for_all")]
        workspaces: Vec<String>,
        /// All workspaces may use it.
        #[arg(long)]
        for_all: bool,
    },
    /// Remove one that no route names.
    Remove {
        /// Name or id.
        pool: String,
    },
}

/// What is done with warm-ups.
#[derive(Debug, Subcommand)]
pub enum WarmUpCommand {
    /// Step, ceiling, what went and pauses at each site.
    List {
        /// Only of this source: name or id.
        source: Option<String>,
    },
    /// End a pause before its time; it goes on, on its lower step.
    Resume {
        /// The source: name or id.
        source: String,
        /// The site, as the list names it.
        #[arg(long)]
        site: String,
    },
}

/// What is done with weights.
#[derive(Debug, Subcommand)]
pub enum WeightCommand {
    /// Those of the workspaces, and of the campaigns that are under way or whose weight is not 1.
    List,
    /// Set the share of a workspace where several draw on one limit.
    Workspace {
        /// Name or id.
        workspace: String,
        /// 1 to 1000; 1 when nobody has set it.
        weight: u32,
    },
    /// Set the share of a campaign against the others of its workspace; also while it is under way.
    Campaign {
        /// Name or id.
        campaign: String,
        /// 1 to 1000; 1 when nobody has set it.
        weight: u32,
    },
}

/// Lists or changes from where mail leaves.
pub async fn run(client: &Client, show: Show, command: EgressCommand) -> anyhow::Result<()> {
    match command {
        EgressCommand::Sources { command } => sources::run(client, show, command.unwrap_or(SourcesCommand::List)).await,
        EgressCommand::Pools { command } => pools::run(client, show, command.unwrap_or(PoolsCommand::List)).await,
        EgressCommand::WarmUp { command } => {
            sources::warm_up(client, show, command.unwrap_or(WarmUpCommand::List { source: None })).await
        }
        EgressCommand::Weight { command } => weights::run(client, show, command.unwrap_or(WeightCommand::List)).await,
    }
}
