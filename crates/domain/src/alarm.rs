//! Alarms: what needs a person. Which kinds there are, how bad each is, when one is raised and when it is over, and what
//! to do about it, in words.
//!
//! Pure: what was seen and a time go in. Must not know how anything is looked at, nor who is told.

mod decide;
mod rates;
mod settings;
mod told;

pub use decide::{Sight, Standing, Step, Wrong, decide};
pub use rates::{Rates, Verdict};
pub use settings::{AlarmSettings, SettingsError};
pub use told::{remedy, sentence};

use crate::id::WorkspaceId;

crate::words! {
    /// What is wrong.
    pub enum AlarmKind {
        /// The disk of a node is nearly full: nothing new is taken or sent.
        Disk = "disk",
        /// The database refuses, or is very slow.
        Database = "database",
        /// The clock of a node jumped, or two nodes differ.
        Clock = "clock",
        /// No question to DNS is answered.
        Dns = "dns",
        /// A certificate of ours has expired or is about to.
        Certificate = "certificate",
        /// A sending domain was in order and is not any more.
        DomainRed = "domain_red",
        /// A host that offered TLS offers none, or its certificate fails where a policy asks for it.
        TlsLost = "tls_lost",
        /// A site refuses us: our address, our domain, our signature or what we send.
        Block = "block",
        /// More than 5 % of a campaign's messages were refused for good.
        Bounces = "bounces",
        /// More than 0.3 % of a campaign's recipients complained, of at least 1,000 accepted.
        Complaints = "complaints",
        /// An alarm paused a campaign.
        CampaignPaused = "campaign_paused",
        /// The time of a campaign passed and nothing left.
        CampaignMissed = "campaign_missed",
        /// A site suddenly says "unknown user" of nearly everybody: it is held and nobody is suppressed.
        MassUnknown = "mass_unknown",
        /// An egress source that is configured cannot be used.
        SourceMissing = "source_missing",
        /// The warm-up of a source was paused.
        WarmupPaused = "warmup_paused",
    }
}

crate::words! {
    /// How bad it is.
    pub enum AlarmSeverity {
        /// Something should be looked at soon.
        Warning = "warning",
        /// Mail does not leave, or harm is done, until somebody acts.
        Critical = "critical",
    }
}

/// Which alarm: at most one of a key is open at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlarmKey {
    /// Whose; `None` for the installation.
    pub workspace: Option<WorkspaceId>,
    /// What is wrong.
    pub kind: AlarmKind,
    /// With what: a campaign's id, a domain, a host, a site, a node.
    pub subject: String,
}

impl AlarmKey {
    /// An alarm of the installation as a whole.
    pub fn of_installation(kind: AlarmKind, subject: impl Into<String>) -> AlarmKey {
        AlarmKey { workspace: None, kind, subject: subject.into() }
    }

    /// An alarm of a workspace.
    pub fn of(workspace: WorkspaceId, kind: AlarmKind, subject: impl Into<String>) -> AlarmKey {
        AlarmKey { workspace: Some(workspace), kind, subject: subject.into() }
    }
}

/// When an alarm is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// When nobody has seen it wrong for so many milliseconds, and whoever looks has looked for as long.
    WhenCalm(i64),
    /// When whoever raised it says so.
    WhenTold,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

impl AlarmKind {
    /// When an alarm of this kind is over. The time keeps what comes and goes from being told again and again.
    pub const fn ends(self) -> Ends {
        match self {
            AlarmKind::Disk | AlarmKind::Database | AlarmKind::Dns => Ends::WhenCalm(5 * MINUTE),
            // A jump is seen once; people should have the chance to read of it.
            AlarmKind::Clock | AlarmKind::Block => Ends::WhenCalm(HOUR),
            AlarmKind::DomainRed => Ends::WhenCalm(10 * MINUTE),
            // Nothing was sent there since, so nobody knows; good news are told apart.
            AlarmKind::TlsLost => Ends::WhenCalm(24 * HOUR),
            AlarmKind::Certificate | AlarmKind::Bounces | AlarmKind::Complaints => Ends::WhenCalm(MINUTE),
            // What the state of a row says; the row cannot flap.
            AlarmKind::CampaignPaused | AlarmKind::CampaignMissed | AlarmKind::MassUnknown => Ends::WhenCalm(0),
            AlarmKind::SourceMissing | AlarmKind::WarmupPaused => Ends::WhenTold,
        }
    }

    /// For how long something must have been well, after somebody has seen it well, before the alarm is over.
    pub const fn good_news_ms(self) -> i64 {
        match self.ends() {
            Ends::WhenCalm(ms) if ms > 10 * MINUTE => 10 * MINUTE,
            Ends::WhenCalm(ms) => ms,
            Ends::WhenTold => 0,
        }
    }

    /// How often the time at which it was seen last is written down while it lasts, in milliseconds.
    pub const fn touch_ms(self) -> i64 {
        match self.ends() {
            Ends::WhenCalm(ms) if ms >= HOUR => 5 * MINUTE,
            Ends::WhenCalm(ms) if ms >= 4 * MINUTE => ms / 5,
            Ends::WhenCalm(_) | Ends::WhenTold => MINUTE / 4,
        }
    }

    /// Whether it pauses its campaign, when the workspace wants that.
    pub const fn pauses(self) -> bool {
        match self {
            AlarmKind::Bounces | AlarmKind::Complaints => true,
            AlarmKind::Disk
            | AlarmKind::Database
            | AlarmKind::Clock
            | AlarmKind::Dns
            | AlarmKind::Certificate
            | AlarmKind::DomainRed
            | AlarmKind::TlsLost
            | AlarmKind::Block
            | AlarmKind::CampaignPaused
            | AlarmKind::CampaignMissed
            | AlarmKind::MassUnknown
            | AlarmKind::SourceMissing
            | AlarmKind::WarmupPaused => false,
        }
    }
}
