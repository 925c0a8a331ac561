//! The words of the command line. What they do is in `command/`, one file a subject.

use crate::command::relay::RelayArgs;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Self-hosted e-mail for organisations that write to many people and must be trusted.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, max_term_width = 100)]
pub struct Cli {
    /// Settings file (default: postrider.toml here, if there is one).
    #[arg(long, global = true)]
    pub config: Option<PathBuf>,
    /// Data folder (default: postrider-data here, or as the settings say).
    #[arg(long, global = true)]
    pub data: Option<PathBuf>,
    /// Workspace id, when there are several.
    #[arg(long, global = true)]
    pub workspace: Option<String>,
    /// Print JSON for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: API, public pages and the engine.
    Serve,
    /// Show the whole road in a simulated world: contacts, campaign, retries, report.
    Demo(DemoArgs),
    /// Run the simulated mail world alone, to rehearse a campaign against it.
    Sim(SimArgs),
    /// Import a file of contacts.
    Import(ImportArgs),
    /// How an import stands.
    ImportStatus {
        /// Import id.
        import: String,
        /// Wait until it has ended.
        #[arg(long)]
        wait: bool,
    },
    /// Campaigns.
    #[command(subcommand)]
    Campaign(CampaignCommand),
    /// Lists of contacts.
    #[command(subcommand)]
    List(ListCommand),
    /// Purposes of consent and their wordings.
    #[command(subcommand)]
    Purpose(PurposeCommand),
    /// Sending domains.
    #[command(subcommand)]
    Domain(DomainCommand),
    /// Routes: how mail leaves.
    #[command(subcommand)]
    Route(RouteCommand),
    /// The queue: see it, suspend, hold, reroute, slow down, cancel, bounce.
    #[command(subcommand)]
    Queue(crate::command::queue::QueueCommand),
    /// Egress: from which addresses mail leaves, and who gets which share.
    #[command(subcommand)]
    Egress(crate::command::egress::EgressCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Accounts of people who may log in.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Log-ins.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Workspaces.
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Look at database, clock, DNS, keys and ledger and say what is wrong.
    Doctor,
    /// What is wrong, and what to do about it.
    Alarms(AlarmsArgs),
    /// Applications that hand in their mail: credentials, and what was refused.
    Relay(RelayArgs),
    /// Say what a reply or a bounce means: whose fault, whether to try again, what follows.
    Explain(ExplainArgs),
    /// Print the OpenAPI document.
    Openapi,
}

/// See [`Command::Demo`].
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many contacts to make.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(20..=2_000_000))]
    pub contacts: u32,
    /// End when the campaign has ended; exit code 0 only if the ledger balances.
    #[arg(long)]
    pub exit: bool,
    /// Seed of the simulated world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// See [`Command::Alarms`].
#[derive(Debug, Args)]
pub struct AlarmsArgs {
    /// Those that are over, too.
    #[arg(long)]
    pub all: bool,
    /// What to do with one.
    #[command(subcommand)]
    pub command: Option<AlarmsCommand>,
}

/// What is done with alarms.
#[derive(Debug, Subcommand)]
pub enum AlarmsCommand {
    /// Say that somebody knows of it.
    Ack {
        /// Alarm id.
        alarm: String,
    },
    /// Say that a site is right when it denies nearly everybody; its mail goes on at once.
    Believe {
        /// Id of an alarm `mass_unknown`.
        alarm: String,
    },
    /// Take back what such a site suppressed shortly before it was doubted.
    TakeBack {
        /// Id of an alarm `mass_unknown`.
        alarm: String,
    },
    /// Who is written to; without options it shows them.
    Mail {
        /// Mailboxes of those who are told.
        #[arg(long, num_args = 1..)]
        to: Vec<String>,
        /// The mailbox that writes, of a sending domain.
        #[arg(long)]
        from: Option<String>,
        /// Route: name or id (default: the default route).
        #[arg(long)]
        route: Option<String>,
        /// Write to nobody.
        #[arg(long, conflicts_with = "to")]
        off: bool,
    },
}

/// See [`Command::Explain`].
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A reply ('550 5.1.1 No such user here'), or files with messages; `-` reads one message from standard input.
    #[arg(required = true, value_name = "REPLY|FILE")]
    pub what: Vec<String>,
    /// The step at which the reply came: connect, greeting, ehlo, mail, rcpt, data, dot, ….
    #[arg(long, default_value = "rcpt")]
    pub stage: String,
    /// The provider, or the name of its host: gmail, microsoft, mx.example.org, ….
    #[arg(long)]
    pub site: Option<String>,
    /// File with bounce rules of your own, before those that ship (default: `rules.bounces` of the settings).
    #[arg(long)]
    pub rules: Option<PathBuf>,
}

/// See [`Command::Sim`].
#[derive(Debug, Args)]
pub struct SimArgs {
    /// Seed: the same seed behaves the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Address of the DNS server.
    #[arg(long, default_value = "127.0.0.1:5300")]
    pub dns: SocketAddr,
    /// Port of the MX hosts on 127.0.0.x.
    #[arg(long, default_value_t = 2525)]
    pub smtp_port: u16,
    /// Address of the control port.
    #[arg(long, default_value = "127.0.0.1:2526")]
    pub control: SocketAddr,
    /// File to which every accepted message is recorded.
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Folder in which bodies are kept.
    #[arg(long)]
    pub keep_bodies: Option<PathBuf>,
    /// Remember each RCPT and dot with its reply, for the control port's SEEN.
    #[arg(long)]
    pub trace: bool,
    /// Print the domains and local-part tags and what they do.
    #[arg(long)]
    pub list: bool,
}

/// See [`Command::Import`].
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The CSV file.
    pub file: PathBuf,
    /// List(s) that the contacts join: name or id.
    #[arg(long)]
    pub list: Vec<String>,
    /// Where the contacts come from, in words.
    #[arg(long)]
    pub source: Option<String>,
    /// Legal basis: consent, soft_opt_in, contract, legal_obligation, legitimate_interest.
    #[arg(long)]
    pub basis: Option<String>,
    /// When they agreed: 2026-05-01 or 2026-05-01T10:00:00Z.
    #[arg(long)]
    pub given_at: Option<String>,
    /// Purpose that they agreed to: name or id.
    #[arg(long)]
    pub purpose: Option<String>,
    /// Heading of the mailbox column, when it cannot be guessed.
    #[arg(long)]
    pub mailbox_column: Option<String>,
    /// Return at once instead of waiting for the end.
    #[arg(long)]
    pub no_wait: bool,
    /// Write refused rows with their reasons to this file.
    #[arg(long)]
    pub refused: Option<PathBuf>,
}

/// Campaigns.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "parsed once in the life of a process")]
pub enum CampaignCommand {
    /// Make a draft.
    Create {
        /// Name for yourselves.
        #[arg(long)]
        name: String,
        /// From mailbox; its domain must be a sending domain.
        #[arg(long)]
        from: String,
        /// From display name.
        #[arg(long, default_value = "")]
        from_name: String,
        /// Reply-To mailbox.
        #[arg(long, default_value = "")]
        reply_to: String,
        /// Subject.
        #[arg(long)]
        subject: String,
        /// Preheader.
        #[arg(long, default_value = "")]
        preheader: String,
        /// File with the body: .html, .md, .txt, .mjml, or .json for a block document.
        #[arg(long)]
        body: PathBuf,
        /// Lists: name or id.
        #[arg(long, required = true)]
        list: Vec<String>,
        /// Lists to leave out: name or id.
        #[arg(long)]
        exclude: Vec<String>,
        /// Purpose: name or id.
        #[arg(long)]
        purpose: String,
        /// Objective: information, awareness, promotion, conversion, engagement.
        #[arg(long, default_value = "information")]
        objective: String,
        /// Route: name or id (default: the default route).
        #[arg(long)]
        route: Option<String>,
        /// Retry policy: marketing, janusmail, rehearsal.
        #[arg(long, default_value = "marketing")]
        policy: String,
    },
    /// All campaigns.
    List,
    /// Say what is wrong before the start.
    Check {
        /// Campaign id.
        campaign: String,
    },
    /// Send a test message to an address.
    Test {
        /// Campaign id.
        campaign: String,
        /// Where to.
        #[arg(long)]
        to: String,
    },
    /// Start now (after the undo window), or at a local time.
    Start {
        /// Campaign id.
        campaign: String,
        /// Local time, 2026-12-01T10:00.
        #[arg(long)]
        at: Option<String>,
        /// IANA zone of the time (default: the workspace's).
        #[arg(long)]
        zone: Option<String>,
        /// Do not start more than this many minutes late.
        #[arg(long)]
        not_later_than: Option<u32>,
        /// Leave at once, without the undo window.
        #[arg(long)]
        no_undo: bool,
        /// Start although DNS of the From domain is red; the reason is kept in the audit.
        #[arg(long, value_name = "REASON")]
        despite_red_domain: Option<String>,
    },
    /// Begin no new transaction until resumed.
    Pause {
        /// Campaign id.
        campaign: String,
    },
    /// Go on.
    Resume {
        /// Campaign id.
        campaign: String,
    },
    /// End it; what has not left is cancelled. A scheduled one goes back to draft with `--undo`.
    Stop {
        /// Campaign id.
        campaign: String,
        /// Only take the start time back.
        #[arg(long)]
        undo: bool,
    },
    /// Totals, and rows: sent at · status · detail · attempt n of m.
    Report {
        /// Campaign id.
        campaign: String,
        /// Rows with this status only (SENT, BOUNCED, TIMEOUT, …).
        #[arg(long)]
        status: Option<String>,
        /// How many rows.
        #[arg(long, default_value_t = 20)]
        rows: u32,
        /// Write all rows as CSV to this file.
        #[arg(long)]
        csv: Option<PathBuf>,
    },
    /// Recipients whose delivery a crash left in doubt: they may have the same message twice.
    Doubted {
        /// Campaign id.
        campaign: String,
    },
}

/// Lists.
#[derive(Debug, Subcommand)]
pub enum ListCommand {
    /// Make a list.
    Create {
        /// Its name.
        name: String,
    },
    /// All lists.
    List,
}

/// Purposes.
#[derive(Debug, Subcommand)]
pub enum PurposeCommand {
    /// Make a purpose with its first wording; a purpose of this name that exists gets the wording as its newest.
    Create {
        /// Its name.
        name: String,
        /// newsletter, commercial or tracking.
        #[arg(long, default_value = "newsletter")]
        kind: String,
        /// The words that people agree to.
        #[arg(long)]
        wording: String,
        /// Language of the words.
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// All purposes.
    List,
}

/// Sending domains.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Add a domain: makes its key and prints the DNS records.
    Add {
        /// The domain, e.g. news.example.org.
        name: String,
        /// Host of the return-path (default: bounce.DOMAIN).
        #[arg(long)]
        return_path_host: Option<String>,
    },
    /// All domains.
    List,
    /// Look at the records in DNS.
    Check {
        /// Domain name or id.
        domain: String,
    },
    /// Make a new DKIM key: it signs when its record has been in DNS for an hour.
    NewKey {
        /// Domain name or id.
        domain: String,
        /// Let it sign at once: only when the key before got into wrong hands.
        #[arg(long)]
        at_once: bool,
    },
}

/// Routes.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Add a route.
    Add {
        /// Its name.
        name: String,
        /// mx or smarthost.
        #[arg(long, default_value = "mx")]
        kind: String,
        /// Host of a smarthost.
        #[arg(long, default_value = "")]
        host: String,
        /// Port of a smarthost.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// opportunistic, required, implicit or none.
        #[arg(long, default_value = "opportunistic")]
        tls: String,
        /// AUTH user.
        #[arg(long, default_value = "")]
        username: String,
        /// File with the AUTH password (first line); `-` reads standard input.
        #[arg(long)]
        password_file: Option<PathBuf>,
        /// Messages per second, 0: no limit.
        #[arg(long, default_value_t = 0)]
        per_second: u32,
        /// Messages per local day, 0: no limit.
        #[arg(long, default_value_t = 0)]
        per_day: u32,
        /// Simultaneous connections to one site.
        #[arg(long, default_value_t = 10)]
        connections: u16,
        /// Accept a certificate that does not verify.
        #[arg(long)]
        accept_any_certificate: bool,
        /// The pool of egress sources that it leaves by: name or id (mx only).
        #[arg(long)]
        pool: Option<String>,
        /// Make it the default route.
        #[arg(long)]
        default: bool,
    },
    /// All routes.
    List,
    /// Try it: connect, TLS, AUTH; shows the server's own words.
    Test {
        /// Route id or name.
        route: String,
    },
}

/// API keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; it is shown once.
    Create {
        /// Its name.
        #[arg(long)]
        name: String,
        /// Scopes: send contacts:read contacts:write campaigns:read campaigns:write export admin.
        #[arg(long, num_args = 1.., required = true)]
        scope: Vec<String>,
    },
    /// All keys.
    List,
    /// Revoke a key.
    Revoke {
        /// Key id.
        key: String,
    },
}

/// Accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account; the password is read from standard input or made and shown once.
    Create {
        /// Mailbox to log in with.
        mailbox: String,
        /// administrator, editor or viewer.
        #[arg(long, default_value = "administrator")]
        role: String,
        /// Read the password's first line from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give an account a new password; ends its sessions.
    Reset {
        /// Mailbox of the account.
        mailbox: String,
        /// Read the password's first line from standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// All accounts.
    List,
}

/// Log-ins.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// End all sessions, or those of one account.
    Revoke {
        /// Mailbox of the account.
        #[arg(long)]
        account: Option<String>,
    },
}

/// Workspaces.
#[derive(Debug, Subcommand)]
pub enum WorkspaceCommand {
    /// Make a workspace.
    Create {
        /// Its name.
        #[arg(long)]
        name: String,
        /// Legal name of the controller; in every footer.
        #[arg(long)]
        controller: String,
        /// Postal address; in every footer.
        #[arg(long)]
        address: String,
        /// Link to the privacy notice.
        #[arg(long, default_value = "")]
        privacy_url: String,
        /// IANA zone.
        #[arg(long, default_value = "UTC")]
        zone: String,
        /// Public address of this installation, https://…
        #[arg(long)]
        public_url: String,
    },
    /// All workspaces.
    List,
}
