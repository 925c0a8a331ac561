//! The scheduler's memory on a hand-wound clock: rates whatever the host's delay, shares, and no bursts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use postrider_domain::id::{CampaignId, DeliveryId, LaneId, RouteId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteSettings;
use postrider_domain::stream::{Stream, TrackingMode};
use postrider_store::lane::{LaneLease, QueueRow};

use super::hand_out::Take;
use super::site::Word;
use super::state::{Gate, State};
use crate::judge::Ended;
use crate::plan::{Place, Plan, Route};

const SITE: &str = "host.test";

fn plan(campaign: Option<i64>, stream: Stream, per_second: u32) -> Arc<Plan> {
    let settings = RouteSettings { per_second, connections: 1_000, ..RouteSettings::default() };
    Arc::new(Plan {
        workspace: WorkspaceId(1),
        campaign: campaign.map(CampaignId),
        stream,
        purpose: None,
        policy: RetryPolicy::default_for(stream),
        route: Arc::new(route(1, settings)),
        zone: "UTC".into(),
        pools: vec![None],
    })
}

pub(super) fn route(id: i64, settings: RouteSettings) -> Route {
    Route { id: RouteId(id), settings, password: None, host_passwords: HashMap::new(), proved: Vec::new() }
}

/// A node with one site, lanes that never run dry, and a host that takes its time.
struct Node {
    state: State,
    place: Place,
    now: i64,
    next_row: i64,
    lanes: Vec<(LaneId, Arc<Plan>)>,
    /// When the batches of busy connections are over, and how many connections wait.
    busy: BinaryHeap<Reverse<i64>>,
    idle: usize,
    /// Nobody asks for the pace before this time: one connection keeps it for all.
    ask_at: i64,
    accepted: Word,
    most: usize,
    /// When a message began and of which lane it was.
    sent: Vec<(i64, LaneId)>,
}

impl Node {
    fn new(plans: &[Arc<Plan>]) -> Node {
        let mut state = State::new(10_000);
        let mut lanes = Vec::new();
        for (n, plan) in plans.iter().enumerate() {
            let lane = LaneId(n as i64 + 1);
            if let Some(campaign) = plan.campaign {
                state.campaigns.insert(campaign, Gate::Open);
            }
            let lease = LaneLease {
                lane,
                epoch: 1,
                workspace: plan.workspace,
                campaign: plan.campaign,
                stream: plan.stream,
                site: SITE.into(),
                part: 0,
                route: None,
                next_at: None,
            };
            state.put_lane(lease, Arc::clone(plan), 1);
            lanes.push((lane, Arc::clone(plan)));
        }
        let place = state.spots.keys().next().unwrap().clone();
        let ok = postrider_mail::reply::Reply { code: 250, enhanced: None, lines: vec!["ok".into()] };
        Node {
            state,
            place,
            now: 0,
            next_row: 0,
            lanes,
            busy: BinaryHeap::new(),
            idle: 0,
            ask_at: 0,
            accepted: Word::of(SITE, &Ended::accepted(&ok)),
            most: 1_000,
            sent: Vec::new(),
        }
    }

    fn fill(&mut self) {
        for (id, plan) in &self.lanes {
            let lane = self.state.lanes.get_mut(id).unwrap();
            while lane.buffer.len() < 200 {
                self.next_row += 1;
                lane.buffer.push_back(row(self.next_row, plan));
            }
            self.state.queue_up(*id);
        }
    }

    /// One millisecond. `delay` is the time of a transaction.
    fn step(&mut self, delay: i64) {
        if self.now % 50 == 0 {
            self.fill();
        }
        let number = self.state.spots[&self.place].site;
        let (may, open) = self.state.sites.connections(number, self.now);
        for _ in open..may.min(self.most) {
            self.state.sites.courier_begins(number);
            self.idle += 1;
        }
        while self.busy.peek().is_some_and(|Reverse(end)| self.now >= *end) {
            self.busy.pop();
            self.idle += 1;
            self.state.sites.hear(number, &self.accepted, self.now, self.now);
        }
        let want = usize::try_from(400 / delay.max(1)).unwrap().clamp(1, 8);
        while self.idle > 0 && self.now >= self.ask_at {
            match self.state.take(&self.place, want, None, self.now, self.now) {
                Take::Batch(batch, _) => {
                    self.idle -= 1;
                    self.busy.push(Reverse(self.now + delay.max(1) * batch.len() as i64));
                    for (i, handed) in batch.iter().enumerate() {
                        self.sent.push((self.now + delay * i as i64, handed.lease.lane));
                        let lane = self.state.lanes.get_mut(&handed.lease.lane).unwrap();
                        lane.air.remove(&handed.row.delivery);
                    }
                }
                Take::Wait(ms) => self.ask_at = self.now + ms.max(5),
                Take::Grant(..) | Take::WarmUp(_) | Take::Nothing => break,
            }
        }
        self.now += 1;
    }

    fn run(&mut self, ms: i64, delay: i64) {
        for _ in 0..ms {
            self.step(delay);
        }
    }

    /// Messages from `from` on within `ms`.
    fn between(&self, from: i64, ms: i64, lane: Option<LaneId>) -> usize {
        self.sent.iter().filter(|(t, l)| (from..from + ms).contains(t) && lane.is_none_or(|lane| lane == *l)).count()
    }
}

pub(super) fn row(n: i64, plan: &Plan) -> QueueRow {
    QueueRow {
        delivery: DeliveryId(n),
        workspace: plan.workspace,
        ready_at: 0,
        attempts: 0,
        max_attempts: 5,
        first_try_at: None,
        dkim_key: None,
        link_key: None,
        expires_at: None,
        mailbox: String::new(),
        mailbox_norm: String::new(),
        domain: SITE.into(),
        contact: None,
        campaign: plan.campaign,
        message: None,
        version: None,
        vars: None,
        stream: plan.stream,
        tracking: TrackingMode::None,
        tls: None,
        from_domain: None,
    }
}

/// Within 2 % of the rate over a minute, and in no ten seconds more than a fifth too much.
fn is_met(node: &Node, from: i64, rate: u32, what: &str) {
    let sent = node.between(from, 60_000, None) as f64 / (f64::from(rate) * 60.0);
    assert!((0.98..=1.02).contains(&sent), "{what}: {sent:.4} of the rate");
    let mut times: Vec<i64> = node.sent.iter().map(|(t, _)| *t).collect();
    times.sort_unstable();
    let most = times.iter().enumerate().map(|(i, t)| times[i..].partition_point(|u| *u < t + 10_000)).max().unwrap();
    assert!(most as f64 <= f64::from(rate) * 12.0, "{what}: {most} in ten seconds");
}

#[test]
fn rates_are_met_whatever_the_delay() {
    for rate in [10, 100, 1_000] {
        for delay in [0, 20, 300, 2_000] {
            let mut node = Node::new(&[plan(Some(1), Stream::Marketing, rate)]);
            node.most = 3_000;
            // Connections double with each round of replies: what a slow host needs is there after some of them.
            let ramp = if delay > 1_000 { 25_000 } else { 5_000 };
            node.run(ramp + 61_000, delay);
            is_met(&node, ramp, rate, &format!("{rate}/s at a delay of {delay} ms"));
        }
    }
}

#[test]
fn two_campaigns_share_within_a_tenth() {
    for (rate, delay) in [(10, 300), (100, 20), (1_000, 0)] {
        let plans = [plan(Some(1), Stream::Marketing, rate), plan(Some(2), Stream::Marketing, rate)];
        let mut node = Node::new(&plans);
        node.run(65_000, delay);
        is_met(&node, 5_000, rate, &format!("two campaigns at {rate}/s"));
        let [one, two] = [1, 2].map(|lane| node.between(5_000, 60_000, Some(LaneId(lane))) as f64);
        assert!((one / two - 1.0).abs() <= 0.1, "{one} and {two} at {rate}/s");
    }
}

#[test]
fn transactional_mail_takes_the_next_message_of_the_pace() {
    let plans = [plan(Some(1), Stream::Marketing, 10), plan(None, Stream::Transactional, 10)];
    let mut node = Node::new(&plans);
    // The transactional lane runs dry here: only what is put into it is there.
    let transactional = node.lanes.pop().unwrap();
    node.run(20_000, 100);
    assert_eq!(node.between(0, 30_000, Some(transactional.0)), 0);
    node.state.lanes.get_mut(&transactional.0).unwrap().buffer.push_back(row(-1, &transactional.1));
    node.state.queue_up(transactional.0);
    let from = node.now;
    node.run(150, 100);
    assert_eq!(node.between(from, 150, Some(transactional.0)), 1);
}

#[test]
fn a_stop_ends_everything_at_once_and_says_so() {
    let mut node = Node::new(&[plan(Some(1), Stream::Marketing, 100)]);
    node.run(5_000, 20);
    let number = node.state.spots[&node.place].site;
    let reply = postrider_mail::reply::Reply {
        code: 451,
        enhanced: None,
        lines: vec!["4.7.1 Rate limit exceeded for ann@example.org".into()],
    };
    for _ in 0..6 {
        node.now += 4_000;
        let ended = crate::judge::of_failure(
            "mx.bakery.test",
            &postrider_smtp::Failure {
                stage: postrider_mail::Stage::Mail,
                kind: postrider_smtp::FailureKind::Refused(reply.clone()),
                connection_usable: true,
                dot_sent: false,
            },
        );
        node.state.sites.hear(number, &Word::of(SITE, &ended), node.now, node.now);
    }
    assert!(node.state.should_yield(&node.place, node.now, node.now));
    assert!(matches!(node.state.take(&node.place, 8, None, node.now, node.now), Take::Wait(_)));
    let views = node.state.views(node.now, node.now);
    let view = &views[0];
    assert_eq!((view.site.as_str(), view.source.as_str(), view.connections_allowed), (SITE, "direct", Some(0)));
    let hold = view.flows[0].hold.as_ref().unwrap();
    assert!(hold.sentence().starts_with("The site refused several times in a row"), "{}", hold.sentence());
    assert!(hold.since.is_some() && hold.until.is_some());
    assert_eq!(view.replies[0].text, "451 4.7.1 Rate limit exceeded for <mailbox>");
}
