//! From what each node told of its sources × sites to one row a site, with figures that add up.
//!
//! Pure: what was told goes in, rows come out. Must not know requests.

use std::collections::{BTreeMap, BTreeSet};

use postrider_domain::id::{CampaignId, WorkspaceId};
use postrider_domain::shaping::{FlowView, Hold, ReplyView, SiteView};
use postrider_domain::stream::Stream;
use postrider_store::shaping::NodeSites;
use postrider_store::steering::HeldSeen;

use super::{FlowRow, HoldView, ReplyRow, SiteRow, SiteSource};
use crate::schema::Time;

/// A campaign, or a stream of single messages.
type Flow = (Option<CampaignId>, Stream);

/// A source of a node at the site, and the flows of the workspace there.
struct Way {
    node: i64,
    at: i64,
    view: SiteView,
}

/// What was told of a flow, at all sources.
#[derive(Default)]
struct Told {
    ready: usize,
    more: bool,
    claimed: usize,
    /// What holds it back at each source, by node and by the site of its lanes.
    holds: BTreeMap<(i64, String), Vec<Option<Hold>>>,
}

impl Told {
    /// What one source does not take another one of the node does: held is only what all of them hold. Of several nodes, or
    /// of lanes for several sites behind a relay, one that is held is told.
    fn hold(&self) -> Option<Hold> {
        self.holds.values().find_map(|at_sources| first_to_end(at_sources))
    }
}

/// When all of them are held: the one that ends first.
fn first_to_end(holds: &[Option<Hold>]) -> Option<Hold> {
    let all: Vec<&Hold> = holds.iter().map(Option::as_ref).collect::<Option<_>>()?;
    all.into_iter().min_by_key(|hold| hold.until.unwrap_or(i64::MAX)).cloned()
}

/// A sum of limits, when each of them has one.
fn sum<T: std::iter::Sum<T>>(mut limits: impl Iterator<Item = Option<T>>) -> Option<T> {
    limits.by_ref().sum()
}

/// The sites at which a workspace has mail, by name.
pub(super) fn rows(told: Vec<NodeSites>, workspace: WorkspaceId, held: &[HeldSeen]) -> Vec<SiteRow> {
    let mut sites: BTreeMap<String, Vec<Way>> = BTreeMap::new();
    for node in told {
        for mut view in node.sites {
            view.flows.retain(|flow| flow.workspace == workspace);
            if !view.flows.is_empty() {
                let way = Way { node: node.node, at: node.at, view };
                sites.entry(way.view.site.clone()).or_default().push(way);
            }
        }
    }
    sites.into_iter().map(|(site, ways)| row(site, ways, held)).collect()
}

fn row(site: String, ways: Vec<Way>, held: &[HeldSeen]) -> SiteRow {
    let mut flows: BTreeMap<Flow, Told> = BTreeMap::new();
    let mut lane_sites: BTreeMap<Flow, BTreeSet<String>> = BTreeMap::new();
    for way in &ways {
        for flow in &way.view.flows {
            let key = (flow.campaign, flow.stream);
            let told = flows.entry(key).or_default();
            told.ready += flow.ready;
            told.more |= flow.more;
            told.claimed += flow.claimed;
            told.holds.entry((way.node, flow.lane_site.clone())).or_default().push(flow.hold.clone());
            lane_sites.entry(key).or_default().insert(flow.lane_site.clone());
        }
    }
    let held_of = |key: &Flow| -> i64 {
        let names = lane_sites.get(key);
        let same = |h: &&HeldSeen| (h.campaign, h.stream) == *key && names.is_some_and(|names| names.contains(&h.site));
        held.iter().filter(same).map(|h| h.deliveries).sum()
    };
    let flow_rows: Vec<FlowRow> = flows
        .iter()
        .map(|(key, told)| FlowRow {
            campaign: key.0,
            stream: key.1,
            ready: told.ready,
            more: told.more,
            claimed: told.claimed,
            held: held_of(key),
            hold: told.hold().map(HoldView::from),
        })
        .collect();
    let of_sources: Vec<Option<Hold>> = ways.iter().map(|way| way.view.hold.clone()).collect();
    SiteRow {
        own_limits: ways.iter().any(|way| way.view.own.is_some()),
        ready: flow_rows.iter().map(|f| f.ready).sum(),
        more: flow_rows.iter().any(|f| f.more),
        claimed: flow_rows.iter().map(|f| f.claimed).sum(),
        held: flow_rows.iter().map(|f| f.held).sum(),
        connections: ways.iter().map(|way| way.view.connections).sum(),
        connections_allowed: sum(ways.iter().map(|way| way.view.connections_allowed)),
        rate: hundredths(ways.iter().map(|way| way.view.rate).sum()),
        rate_allowed: sum(ways.iter().map(|way| way.view.rate_allowed)),
        hold: first_to_end(&of_sources).map(HoldView::from),
        sources: ways.into_iter().map(|way| source(way, &flows)).collect(),
        flows: flow_rows,
        site,
    }
}

fn hundredths(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

fn source(way: Way, flows: &BTreeMap<Flow, Told>) -> SiteSource {
    let view = way.view;
    // What holds a flow here and not at the other sources is said of the source.
    let only_here = |flow: &FlowView| {
        let elsewhere = flows.get(&(flow.campaign, flow.stream)).and_then(Told::hold);
        flow.hold.clone().filter(|_| elsewhere.is_none())
    };
    let hold = view.hold.clone().or_else(|| view.flows.iter().find_map(only_here));
    SiteSource {
        node: way.node,
        at: Time(way.at),
        source: view.source,
        connections: view.connections,
        connections_allowed: view.connections_allowed,
        rate: view.rate,
        rate_allowed: view.rate_allowed,
        per_connection: view.per_connection,
        replies: view
            .replies
            .into_iter()
            .map(|ReplyView { at, text, times }| ReplyRow { at: Time(at), text, times })
            .collect(),
        hold: hold.map(HoldView::from),
    }
}
