//! How the deliveries of one lane are to be sent: policy, route, purpose. Loaded once, looked at by every step.
//!
//! Must not know SQL or sockets.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_domain::id::{CampaignId, PoolId, PurposeId, RouteId, SourceId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::{RouteKind, RouteSettings};
use postrider_domain::shaping::HoldReason;
use postrider_domain::stream::{InDoubtPolicy, Stream};
use postrider_store::lane::QueueRow;
use zeroize::Zeroizing;

/// A route with its secret.
pub(crate) struct Route {
    pub(crate) id: RouteId,
    pub(crate) settings: RouteSettings,
    pub(crate) password: Option<Zeroizing<String>>,
    /// The passwords of several hosts, by host.
    pub(crate) host_passwords: HashMap<String, Zeroizing<String>>,
    /// From domains for which a received message has proved that the relay signs.
    pub(crate) proved: Vec<String>,
}

/// How a lane's deliveries are sent.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) workspace: WorkspaceId,
    pub(crate) campaign: Option<CampaignId>,
    pub(crate) stream: Stream,
    pub(crate) purpose: Option<PurposeId>,
    pub(crate) policy: RetryPolicy,
    pub(crate) route: Arc<Route>,
    /// IANA zone of the workspace: its days are the days of daily limits.
    pub(crate) zone: String,
    /// The pools that its mail may leave by, each once; several only where single messages of several sending domains do.
    pub(crate) pools: Vec<Option<PoolId>>,
}

impl Plan {
    /// The site to which deliveries of a lane with this site are connected.
    pub(crate) fn site(&self, lane_site: &str) -> String {
        match self.route.settings.kind {
            RouteKind::Mx => lane_site.to_owned(),
            RouteKind::Smarthost => crate::sites::route_site(self.route.id),
        }
    }

    /// The pool by which a delivery leaves.
    pub(crate) fn pool_of(&self, row: &QueueRow) -> Option<PoolId> {
        match self.pools.as_slice() {
            [one] => *one,
            _ => self.route.settings.egress.pool_of(self.stream, row.from_domain.as_deref()),
        }
    }

    /// How many messages may be marked ahead on one connection.
    pub(crate) fn ahead(&self, most: usize) -> usize {
        match self.policy.in_doubt {
            InDoubtPolicy::Resend => most.clamp(1, 8),
            InDoubtPolicy::Assume | InDoubtPolicy::Hold => 1,
        }
    }
}

/// Where connections go: limits are kept by this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) route: RouteId,
    pub(crate) pool: Option<PoolId>,
    pub(crate) source: Source,
    pub(crate) site: String,
}

/// From where mail leaves: what a site sees of us.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The addresses of this machine, as the system chooses them.
    Direct,
    /// A smarthost, whose operator sees the account of the route.
    Route(RouteId),
    /// One of several hosts of a smarthost.
    Host(RouteId, Arc<str>),
    /// An egress source.
    Egress(SourceId),
}

impl Source {
    /// As rules of the queue name it: all hosts of a smarthost are its route.
    pub(crate) fn rule_name(&self) -> String {
        match self {
            Source::Host(route, _) => route.to_string(),
            Source::Direct | Source::Route(_) | Source::Egress(_) => self.to_string(),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Direct => f.write_str("direct"),
            Source::Route(route) => route.fmt(f),
            Source::Host(route, host) => write!(f, "{route}/{host}"),
            Source::Egress(source) => source.fmt(f),
        }
    }
}

/// Flows between which a place is fair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Flow {
    /// A campaign.
    Campaign(CampaignId),
    /// The single messages of a workspace.
    Single(WorkspaceId, Stream),
}

impl Flow {
    pub(crate) fn of(plan: &Plan) -> Flow {
        plan.campaign.map_or(Flow::Single(plan.workspace, plan.stream), Flow::Campaign)
    }
}

/// Why deliveries that are ready do not leave. None of these is an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// A person: the campaign is paused.
    Resume,
    /// The workspace is suspended.
    Suspension,
    /// A rule that somebody set for the queue.
    Rule,
    /// The speed that somebody set for the queue.
    Speed,
    /// The route's messages per second.
    Pace,
    /// The route's messages per day.
    DailyLimit,
    /// The pace that the site was found to accept.
    LearnedPace,
    /// The site's messages per hour.
    HourlyLimit,
    /// The end of a stop that a rule for a reply of the site began.
    Stop,
    /// The end of a pause: the site refused several times in a row.
    BackOff,
    /// Connections that come back one by one after a stop.
    Recovery,
    /// The warm-up of the egress source.
    WarmUp,
    /// An egress source, or a host of a smarthost, that can be used.
    Egress,
    /// A free connection: all that the site or the node may have are busy.
    Connection,
    /// Room on the disk.
    Space,
    /// Something is missing: the route, the sending domain or its key. The log says what.
    Setup,
}

impl WaitingFor {
    /// The word of the log and of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            WaitingFor::Resume => "resume",
            WaitingFor::Suspension => "suspension",
            WaitingFor::Rule => "queue rule",
            WaitingFor::Speed => "queue speed",
            WaitingFor::Pace => "messages per second",
            WaitingFor::DailyLimit => "daily limit",
            WaitingFor::LearnedPace => "learned pace",
            WaitingFor::HourlyLimit => "hourly limit",
            WaitingFor::Stop => "stop",
            WaitingFor::BackOff => "back-off",
            WaitingFor::Recovery => "recovery",
            WaitingFor::WarmUp => "warm-up",
            WaitingFor::Egress => "egress source",
            WaitingFor::Connection => "connection",
            WaitingFor::Space => "disk space",
            WaitingFor::Setup => "setup",
        }
    }
}

impl WaitingFor {
    /// The same as people read it.
    pub(crate) const fn reason(self) -> HoldReason {
        match self {
            WaitingFor::Resume => HoldReason::Paused,
            WaitingFor::Suspension => HoldReason::Suspended,
            WaitingFor::Rule => HoldReason::Rule,
            WaitingFor::Speed => HoldReason::Speed,
            WaitingFor::Pace => HoldReason::Rate,
            WaitingFor::DailyLimit => HoldReason::Day,
            WaitingFor::LearnedPace => HoldReason::LearnedRate,
            WaitingFor::HourlyLimit => HoldReason::Hour,
            WaitingFor::Stop => HoldReason::Stop,
            WaitingFor::BackOff => HoldReason::BackOff,
            WaitingFor::Recovery => HoldReason::Recovery,
            WaitingFor::WarmUp => HoldReason::WarmUp,
            WaitingFor::Egress => HoldReason::Egress,
            WaitingFor::Connection => HoldReason::Connection,
            WaitingFor::Space => HoldReason::Space,
            WaitingFor::Setup => HoldReason::Setup,
        }
    }

    /// What a hold of a place is.
    pub(crate) const fn of(reason: HoldReason) -> WaitingFor {
        match reason {
            HoldReason::Connection | HoldReason::Dns | HoldReason::Retry => WaitingFor::Connection,
            HoldReason::LearnedRate => WaitingFor::LearnedPace,
            HoldReason::Rate => WaitingFor::Pace,
            HoldReason::Hour => WaitingFor::HourlyLimit,
            HoldReason::Day => WaitingFor::DailyLimit,
            HoldReason::BackOff => WaitingFor::BackOff,
            HoldReason::Stop => WaitingFor::Stop,
            HoldReason::Recovery => WaitingFor::Recovery,
            HoldReason::WarmUp => WaitingFor::WarmUp,
            HoldReason::Egress => WaitingFor::Egress,
            HoldReason::Paused | HoldReason::Held | HoldReason::InDoubt => WaitingFor::Resume,
            HoldReason::Suspended => WaitingFor::Suspension,
            HoldReason::Rule => WaitingFor::Rule,
            HoldReason::Speed => WaitingFor::Speed,
            HoldReason::Space => WaitingFor::Space,
            HoldReason::Setup => WaitingFor::Setup,
        }
    }
}

/// What waits, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The campaign, or none for single messages.
    pub campaign: Option<CampaignId>,
    /// Whose.
    pub workspace: WorkspaceId,
    /// The site at which it waits.
    pub site: String,
    /// For what.
    pub reason: WaitingFor,
    /// Until when at most, milliseconds UTC, when that is known.
    pub until: Option<i64>,
}
