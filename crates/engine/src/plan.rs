//! How the deliveries of one lane are to be sent: policy, route, purpose. Loaded once, looked at by every step.
//!
//! Must not know SQL or sockets.

use std::sync::Arc;

use postrider_domain::id::{CampaignId, PurposeId, RouteId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::{RouteKind, RouteSettings};
use postrider_domain::shaping::HoldReason;
use postrider_domain::stream::{InDoubtPolicy, Stream};
use zeroize::Zeroizing;

/// A route with its secret.
pub(crate) struct Route {
    pub(crate) id: RouteId,
    pub(crate) settings: RouteSettings,
    pub(crate) password: Option<Zeroizing<String>>,
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
}

impl Plan {
    /// Where deliveries of a lane with this site go.
    pub(crate) fn place(&self, site: &str) -> Place {
        match self.route.settings.kind {
            RouteKind::Mx => Place { route: self.route.id, site: site.to_owned() },
            RouteKind::Smarthost => Place { route: self.route.id, site: crate::sites::route_site(self.route.id) },
        }
    }

    /// From where deliveries leave: limits are kept by source and site.
    pub(crate) fn source(&self) -> Source {
        match self.route.settings.kind {
            RouteKind::Mx => Source::Direct,
            RouteKind::Smarthost => Source::Route(self.route.id),
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
    pub(crate) site: String,
}

/// From where mail leaves: what a site sees of us. All routes to MX hosts leave from the addresses of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The addresses of this machine.
    Direct,
    /// A smarthost, whose operator sees the account of the route.
    Route(RouteId),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Direct => f.write_str("direct"),
            Source::Route(route) => route.fmt(f),
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
            WaitingFor::Pace => "messages per second",
            WaitingFor::DailyLimit => "daily limit",
            WaitingFor::LearnedPace => "learned pace",
            WaitingFor::HourlyLimit => "hourly limit",
            WaitingFor::Stop => "stop",
            WaitingFor::BackOff => "back-off",
            WaitingFor::Recovery => "recovery",
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
            WaitingFor::Pace => HoldReason::Rate,
            WaitingFor::DailyLimit => HoldReason::Day,
            WaitingFor::LearnedPace => HoldReason::LearnedRate,
            WaitingFor::HourlyLimit => HoldReason::Hour,
            WaitingFor::Stop => HoldReason::Stop,
            WaitingFor::BackOff => HoldReason::BackOff,
            WaitingFor::Recovery => HoldReason::Recovery,
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
            HoldReason::Paused | HoldReason::Held | HoldReason::InDoubt => WaitingFor::Resume,
            HoldReason::Suspended => WaitingFor::Suspension,
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
