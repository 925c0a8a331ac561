//! For the tests of the queue: a store with a frozen campaign, a registered node, its lanes and its writer.

use std::collections::HashMap;

use postrider_domain::gate::{Withheld, may_send};
use postrider_domain::id::{ContactId, DeliveryId, LaneId, WorkspaceId};
use postrider_domain::outcome::AttemptResult;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::{Stream, TrackingMode};
use postrider_mail::Stage;

use crate::freeze::{Candidate, Freezer, FrozenRow};
use crate::lane::{LaneLease, QueueRow};
use crate::mark::{MarkAnswer, MarkRequest};
use crate::message::{NewMessage, Recipient};
use crate::node::Node;
use crate::settle::{AttemptRecord, Next, Settle};
use crate::store::Store;
use crate::testing::{Book, write_book};
use crate::writer::QueueWriter;

pub(crate) const SITE: &str = "route:test";

pub(crate) struct Rig<'s> {
    pub(crate) store: &'s Store,
    pub(crate) book: Book,
    pub(crate) node: Node,
    pub(crate) writer: QueueWriter,
    pub(crate) lanes: Vec<LaneLease>,
    /// Lane of each delivery.
    places: HashMap<DeliveryId, LaneId>,
}

/// An attempt like most.
pub(crate) fn attempt(at: i64) -> AttemptRecord {
    AttemptRecord {
        at,
        duration_ms: 7,
        stage: Stage::Dot,
        result: AttemptResult::Accepted,
        code: Some(250),
        enhanced: Some("2.0.0".into()),
        text: "ok".into(),
        class: None,
        host: "mx.example".into(),
        ip: "192.0.2.1".into(),
        source: "192.0.2.9".into(),
        tls: String::new(),
        rule: None,
    }
}

pub(crate) fn frozen(candidate: Candidate) -> FrozenRow {
    FrozenRow {
        contact: candidate.contact,
        mailbox: candidate.mailbox,
        mailbox_norm: candidate.mailbox_norm,
        domain: candidate.domain,
        vars: candidate.attributes.into_iter().collect(),
        tracking: TrackingMode::None,
    }
}

/// Freezes all that is left of an audience.
pub(crate) async fn freeze_all(freezer: &mut Freezer) {
    loop {
        let page = freezer.next_page(100).await.unwrap();
        if page.is_empty() {
            return;
        }
        let mut rows = Vec::new();
        let mut exclusions: Vec<(ContactId, Withheld)> = Vec::new();
        for candidate in page {
            match may_send(&candidate.facts) {
                Ok(()) => rows.push(frozen(candidate)),
                Err(reason) => exclusions.push((candidate.contact, reason)),
            }
        }
        freezer.insert(&rows, &exclusions).await.unwrap();
    }
}

impl<'s> Rig<'s> {
    /// A book of `n` contacts whose campaign is frozen and sends, on a registered node that owns its lanes.
    pub(crate) async fn start(store: &'s Store, n: usize, policy: &RetryPolicy) -> Rig<'s> {
        let book = write_book(store, n, policy).await.unwrap();
        let node = store.register_node().await.unwrap();
        let mut freezer = store.begin_freeze(book.campaign, node, Some(SITE.into())).await.unwrap();
        freeze_all(&mut freezer).await;
        assert_eq!(freezer.finish().await.unwrap(), n as i64);
        let mut rig =
            Rig { store, book, node, writer: store.queue_writer(node), lanes: Vec::new(), places: HashMap::new() };
        store.lease_lanes(node).await.unwrap();
        rig.see_lanes().await;
        rig
    }

    /// As after a crash: the same name registers again, with a new epoch and a new writer.
    pub(crate) async fn restart(&mut self) {
        self.node = self.store.register_node().await.unwrap();
        self.writer = self.store.queue_writer(self.node);
        self.see_lanes().await;
    }

    pub(crate) async fn see_lanes(&mut self) {
        self.lanes = self.store.my_lanes(self.node).await.unwrap();
        self.lanes.retain(|l| l.campaign == Some(self.book.campaign));
        for row in self.rows().await {
            self.places.entry(row.1.delivery).or_insert(row.0);
        }
    }

    /// Rows that are ready, with their lanes.
    pub(crate) async fn rows(&self) -> Vec<(LaneId, QueueRow)> {
        let mut rows = Vec::new();
        for lease in &self.lanes {
            let mut cursor = None;
            loop {
                let page = self.store.read_lane(lease.lane, cursor, i64::MAX, 500).await.unwrap();
                let Some(last) = page.last() else { break };
                cursor = Some(last.cursor());
                rows.extend(page.into_iter().map(|r| (lease.lane, r)));
            }
        }
        rows
    }

    pub(crate) async fn deliveries(&self) -> Vec<DeliveryId> {
        self.rows().await.into_iter().map(|(_, row)| row.delivery).collect()
    }

    pub(crate) fn lane_of(&self, delivery: DeliveryId) -> (LaneId, i64) {
        let lane = self.places[&delivery];
        (lane, self.lanes.iter().find(|l| l.lane == lane).map_or(-1, |l| l.epoch))
    }

    pub(crate) fn request(&self, delivery: DeliveryId) -> MarkRequest {
        let (lane, lane_epoch) = self.lane_of(delivery);
        MarkRequest {
            delivery,
            lane,
            lane_epoch,
            first_try_at: self.store.now(),
            dkim_key: None,
            link_key: 1,
            rules: 0,
        }
    }

    pub(crate) async fn mark(&self, delivery: DeliveryId) -> MarkAnswer {
        self.writer.mark(self.request(delivery)).await.unwrap()
    }

    pub(crate) fn word(&self, delivery: DeliveryId, next: Next) -> Settle {
        let (lane, lane_epoch) = self.lane_of(delivery);
        Settle {
            delivery,
            lane,
            lane_epoch,
            attempt: Some(attempt(self.store.now())),
            next,
            suppress: None,
            soft: None,
        }
    }

    pub(crate) async fn settle(&self, delivery: DeliveryId, next: Next) {
        self.writer.settle(self.word(delivery, next)).unwrap();
        self.writer.flush().await.unwrap();
    }
}

/// A receipt to these mailboxes.
pub(crate) fn message(store: &Store, workspace: WorkspaceId, to: &[&str]) -> NewMessage {
    NewMessage {
        id: store.new_message_id(),
        workspace,
        stream: Stream::Transactional,
        from_mailbox: "shop@example.org".into(),
        subject: "Receipt".into(),
        bytes: b"Subject: Receipt\r\n\r\nThanks\r\n".to_vec(),
        recipients: to
            .iter()
            .map(|m| Recipient {
                delivery: store.new_delivery_id(),
                mailbox: (*m).into(),
                mailbox_norm: (*m).into(),
                domain: m.rsplit('@').next().unwrap_or("").into(),
                contact: None,
            })
            .collect(),
        api_key: None,
        test_of: None,
        version: None,
        max_attempts: 35,
        expires_at: None,
        site: "unresolved".into(),
        tls: None,
        answer: None,
        relay: None,
    }
}
