//! Figures for `/metrics`. No label names a recipient, a domain or a workspace: their number is unbounded, and they are
//! nobody's business.

use std::sync::atomic::{AtomicI64, AtomicU64};

use postrider_domain::alarm::{AlarmKind, AlarmSeverity};
use postrider_domain::outcome::{AttemptResult, OutcomeKind};
use postrider_domain::relay::RefusedFor;
use postrider_domain::stream::Stream;
use postrider_mail::Stage;
use postrider_store::resolve::Resolved;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Count = Counter<u64, AtomicU64>;
type Level = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    stream: &'static str,
    result: &'static str,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    stream: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    kind: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    kind: &'static str,
}

/// The engine's figures; clones share them.
#[derive(Clone)]
pub struct Metrics {
    attempts: Family<AttemptLabels, Count>,
    outcomes: Family<OutcomeLabels, Count>,
    marks: Family<Word, Count>,
    doubts: Family<Word, Count>,
    troubles: Family<Word, Count>,
    connections_opened: Family<Word, Count>,
    rows_imported: Family<Word, Count>,
    taken: Family<Word, Count>,
    refused_submissions: Family<Word, Count>,
    alarms: Family<AlarmLabels, Level>,
    frozen: Count,
    looks: Count,
    connections: Level,
    lanes: Level,
    in_air: Level,
    stale_settles: Level,
    free_bytes: Level,
    mark_seconds: Histogram,
    attempt_seconds: Histogram,
    sign_seconds: Histogram,
    settle_seconds: Histogram,
}

impl Metrics {
    /// New figures, all zero, listed in `registry`.
    pub fn register(registry: &mut Registry) -> Metrics {
        let buckets = || Histogram::new(exponential_buckets(0.000_5, 2.0, 18));
        let m = Metrics {
            attempts: Family::default(),
            outcomes: Family::default(),
            marks: Family::default(),
            doubts: Family::default(),
            troubles: Family::default(),
            connections_opened: Family::default(),
            rows_imported: Family::default(),
            taken: Family::default(),
            refused_submissions: Family::default(),
            alarms: Family::default(),
            frozen: Count::default(),
            looks: Count::default(),
            connections: Level::default(),
            lanes: Level::default(),
            in_air: Level::default(),
            stale_settles: Level::default(),
            free_bytes: Level::default(),
            mark_seconds: buckets(),
            attempt_seconds: Histogram::new(exponential_buckets(0.001, 3.0, 14)),
            sign_seconds: buckets(),
            settle_seconds: buckets(),
        };
        registry.register("postrider_attempts", "Attempts by stream, result and last stage", m.attempts.clone());
        registry.register("postrider_outcomes", "Deliveries that reached their outcome", m.outcomes.clone());
        registry.register("postrider_marks", "Marks asked for, by answer", m.marks.clone());
        registry.register("postrider_in_doubt_resolved", "Deliveries in doubt, by what was decided", m.doubts.clone());
        registry.register(
            "postrider_troubles",
            "Errors of the store that were not fatal, by activity",
            m.troubles.clone(),
        );
        registry.register(
            "postrider_connections_opened",
            "Connections opened, by protection",
            m.connections_opened.clone(),
        );
        registry.register("postrider_import_rows", "Rows of imports, by fate", m.rows_imported.clone());
        registry.register("postrider_submitted", "Messages taken from applications, by stream", m.taken.clone());
        registry.register(
            "postrider_submissions_refused",
            "Connections, logins and messages of applications that were refused, by reason",
            m.refused_submissions.clone(),
        );
        registry.register("postrider_frozen", "Deliveries made by freezing", m.frozen.clone());
        registry.register("postrider_alarm_looks", "Looks at what could be wrong", m.looks.clone());
        registry.register("postrider_connections", "Connections open or being opened", m.connections.clone());
        registry.register("postrider_alarm", "Open alarms of all workspaces and the installation", m.alarms.clone());
        registry.register("postrider_lanes", "Lanes owned", m.lanes.clone());
        registry.register("postrider_in_air", "Deliveries handed out and not settled", m.in_air.clone());
        registry.register("postrider_stale_settles", "Settles that came too late", m.stale_settles.clone());
        registry.register("postrider_free_bytes", "Free bytes on the disk of the data folder", m.free_bytes.clone());
        registry.register("postrider_mark_seconds", "Waiting for a mark", m.mark_seconds.clone());
        registry.register("postrider_attempt_seconds", "Duration of attempts", m.attempt_seconds.clone());
        registry.register(
            "postrider_sign_seconds",
            "Rendering and signing one message, waiting included",
            m.sign_seconds.clone(),
        );
        registry.register("postrider_settle_seconds", "Until settles are durable", m.settle_seconds.clone());
        m
    }

    pub(crate) fn attempt(&self, stream: Stream, result: AttemptResult, stage: Stage, ms: i64) {
        let labels = AttemptLabels { stream: stream.as_str(), result: result.as_str(), stage: stage.as_str() };
        self.attempts.get_or_create(&labels).inc();
        self.attempt_seconds.observe(ms as f64 / 1_000.0);
    }

    pub(crate) fn outcome(&self, stream: Stream, outcome: OutcomeKind) {
        self.outcomes.get_or_create(&OutcomeLabels { stream: stream.as_str(), outcome: outcome.as_str() }).inc();
    }

    pub(crate) fn mark(&self, answer: &'static str, waited: std::time::Duration) {
        self.marks.get_or_create(&Word { kind: answer }).inc();
        self.mark_seconds.observe(waited.as_secs_f64());
    }

    pub(crate) fn doubts(&self, resolved: &Resolved) {
        for (kind, n) in [("resent", resolved.resent), ("assumed", resolved.assumed), ("held", resolved.held)] {
            self.doubts.get_or_create(&Word { kind }).inc_by(n);
        }
    }

    pub(crate) fn trouble(&self, doing: &'static str) {
        self.troubles.get_or_create(&Word { kind: doing }).inc();
    }

    /// The look-out has looked at everything, and did what followed.
    pub(crate) fn looked(&self) {
        self.looks.inc();
    }

    pub(crate) fn connection_opened(&self, protection: &'static str) {
        self.connections_opened.get_or_create(&Word { kind: protection }).inc();
    }

    pub(crate) fn rows_imported(&self, accepted: u64, refused: u64) {
        self.rows_imported.get_or_create(&Word { kind: "read" }).inc_by(accepted);
        self.rows_imported.get_or_create(&Word { kind: "refused" }).inc_by(refused);
    }

    pub(crate) fn submitted(&self, stream: Stream) {
        self.taken.get_or_create(&Word { kind: stream.as_str() }).inc();
    }

    pub(crate) fn refused_submission(&self, reason: RefusedFor) {
        self.refused_submissions.get_or_create(&Word { kind: reason.as_str() }).inc();
    }

    /// The open alarms, each as kind and severity; what is not among them is none.
    pub(crate) fn alarms(&self, open: impl Iterator<Item = (&'static str, &'static str)>) {
        let mut counts: std::collections::BTreeMap<(&str, &str), i64> = std::collections::BTreeMap::new();
        for kind in AlarmKind::ALL {
            for severity in AlarmSeverity::ALL {
                counts.insert((kind.as_str(), severity.as_str()), 0);
            }
        }
        for alarm in open {
            *counts.entry(alarm).or_default() += 1;
        }
        for ((kind, severity), n) in counts {
            self.alarms.get_or_create(&AlarmLabels { kind, severity }).set(n);
        }
    }

    pub(crate) fn frozen(&self, n: u64) {
        self.frozen.inc_by(n);
    }

    pub(crate) fn connections(&self, n: usize) {
        self.connections.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub(crate) fn lanes(&self, n: usize) {
        self.lanes.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub(crate) fn in_air(&self, n: usize) {
        self.in_air.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub(crate) fn stale_settles(&self, n: u64) {
        self.stale_settles.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub(crate) fn free_bytes(&self, n: u64) {
        self.free_bytes.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    pub(crate) fn signed(&self, took: std::time::Duration) {
        self.sign_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn settled(&self, took: std::time::Duration) {
        self.settle_seconds.observe(took.as_secs_f64());
    }
}
