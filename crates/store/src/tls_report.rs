//! Reports about TLS that we owe to other domains (RFC 8460): whose turn it is, where they go, and that each goes once.
//!
//! Rows are made for each policy domain and day, and claimed for a time, so that several nodes share the work and a crash
//! repeats nothing that was mailed. Must not know DNS, nor what a report says.

use postrider_domain::id::WorkspaceId;

use crate::bell::Topic;
use crate::counter::Tally;
use crate::db::Lane;
use crate::error::Result;
use crate::message::{NewMessage, accept};
use crate::node::Node;
use crate::sql::{args, rows_json, sql};
use crate::store::Store;

/// Rows made in one transaction.
const SLICE: u32 = 500;
/// Reports of one day are made for so many domains; beyond that the node has more than reports to think of.
const MOST_DOMAINS: i64 = 50_000;

postrider_domain::words! {
    /// How a report fares.
    pub enum ReportState {
        /// It is to be made or sent.
        Due = "due",
        /// The domain asks for none.
        NotWanted = "not_wanted",
        /// Where reports go is known: each place has a row of its own.
        Placed = "placed",
        /// It is on its way by mail, or was taken over https.
        Sent = "sent",
        /// It was given up.
        Failed = "failed",
    }
}

/// A report that is to be worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueReport {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// The policy domain.
    pub domain: String,
    /// Where it goes, a `mailto:` or `https:` URL; empty while that is not known.
    pub place: String,
    /// Tries so far.
    pub attempts: u32,
}

/// A report as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// Which.
    pub report: DueReport,
    /// How it fares.
    pub state: ReportState,
    /// When it is worked on, milliseconds UTC.
    pub due_at: i64,
    /// What the last try said.
    pub detail: String,
    /// When it ended, milliseconds UTC.
    pub done_at: Option<i64>,
}

#[derive(serde::Serialize)]
struct Opened<'a> {
    o: &'a str,
    t: i64,
}

impl Store {
    /// Makes the rows of a day for all domains that TLS was spoken with, unless they are there. `due_at` says when each is
    /// worked on; it must say the same on every node.
    ///
    /// # Errors
    /// The database fails; what was made stays, and the rest is made by the next call.
    pub async fn open_tls_reports(&self, day: i64, due_at: impl Fn(&str) -> i64) -> Result<u64> {
        let (mut after, mut made, mut seen) = (String::new(), 0, 0);
        loop {
            let rows = self
                .read()
                .await?
                .all(
                    sql!(
                        "SELECT DISTINCT domain FROM tls_result WHERE day = $1 AND domain > $2 ORDER BY domain LIMIT $3"
                    ),
                    args![day, after.as_str(), SLICE],
                )
                .await?;
            let domains = rows.iter().map(|row| row.text("domain")).collect::<Result<Vec<_>>>()?;
            let Some(last) = domains.last() else { return Ok(made) };
            after.clone_from(last);
            seen += i64::try_from(domains.len()).unwrap_or(MOST_DOMAINS);
            let opened: Vec<Opened<'_>> = domains.iter().map(|name| Opened { o: name, t: due_at(name) }).collect();
            let mut tx = self.begin(Lane::Bulk).await?;
            made += tx
                .execute(
                    sql!(
                        "INSERT INTO tls_report (day, domain, place, state, due_at, attempts, claimed_until, detail) \
                         SELECT $2, r.o, '', 'due', r.t, 0, 0, '' FROM {rows $1 (o text, t bigint)} r WHERE TRUE \
                         ON CONFLICT (day, domain, place) DO NOTHING"
                    ),
                    args![rows_json(&opened), day],
                )
                .await?;
            tx.commit().await?;
            if seen >= MOST_DOMAINS {
                tracing::warn!(event = "tls_report.too_many", day, domains = seen);
                return Ok(made);
            }
        }
    }

    /// Takes reports whose time has come, until a moment, milliseconds UTC; nobody else is given them before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim_tls_reports(&self, until: i64, limit: u32) -> Result<Vec<DueReport>> {
        let mut tx = self.begin(Lane::Web).await?;
        let rows = tx
            .all(
                sql!(
                    "UPDATE tls_report SET claimed_until = $2, attempts = attempts + 1 WHERE (day, domain, place) IN ( \
                       SELECT t.day, t.domain, t.place FROM tls_report t \
                       WHERE t.state = 'due' AND t.due_at <= $1 AND t.claimed_until <= $1 \
                       ORDER BY t.due_at, t.day, t.domain, t.place LIMIT $3 {for_update} {skip_locked}) \
                     RETURNING day, domain, place, attempts"
                ),
                args![self.now(), until, limit],
            )
            .await?;
        let mut claimed = rows
            .iter()
            .map(|row| {
                Ok(DueReport {
                    day: row.int("day")?,
                    domain: row.text("domain")?,
                    place: row.text("place")?,
                    attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        tx.commit().await?;
        claimed.sort_by(|a, b| (&a.day, &a.domain, &a.place).cmp(&(&b.day, &b.domain, &b.place)));
        Ok(claimed)
    }

    /// Notes where the reports of a domain go; each place is worked on at once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn place_tls_report(&self, report: &DueReport, places: &[String]) -> Result<()> {
        let now = self.now();
        let opened: Vec<Opened<'_>> = places.iter().map(|place| Opened { o: place, t: now }).collect();
        let mut tx = self.begin(Lane::Web).await?;
        let moved = tx
            .execute(
                sql!(
                    "UPDATE tls_report SET state = 'placed', done_at = $3 \
                     WHERE day = $1 AND domain = $2 AND place = '' AND state = 'due'"
                ),
                args![report.day, report.domain.as_str(), now],
            )
            .await?;
        if moved > 0 {
            tx.execute(
                sql!(
                    "INSERT INTO tls_report (day, domain, place, state, due_at, attempts, claimed_until, detail) \
                     SELECT $2, $3, r.o, 'due', r.t, 0, 0, '' FROM {rows $1 (o text, t bigint)} r WHERE TRUE \
                     ON CONFLICT (day, domain, place) DO NOTHING"
                ),
                args![rows_json(&opened), report.day, report.domain.as_str()],
            )
            .await?;
        }
        tx.commit().await
    }

    /// Ends a report, or puts it off when `again_at`, milliseconds UTC, is given.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_tls_report(
        &self,
        report: &DueReport,
        state: ReportState,
        detail: &str,
        again_at: Option<i64>,
    ) -> Result<()> {
        let detail: String = detail.chars().filter(|c| *c != '\0').take(500).collect();
        let now = self.now();
        let done_at = if again_at.is_none() { Some(now) } else { None };
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "UPDATE tls_report SET state = $4, detail = $5, due_at = coalesce($6, due_at), claimed_until = 0, done_at = $7 \
                 WHERE day = $1 AND domain = $2 AND place = $3 AND state = 'due'"
            ),
            args![report.day, report.domain.as_str(), report.place.as_str(), state.as_str(), detail, again_at, done_at],
        )
        .await?;
        tx.commit().await
    }

    /// Takes the report's message like any other single message and ends the report, in one transaction; false when it had
    /// been ended before, so that no report is mailed twice.
    ///
    /// # Errors
    /// The database fails, or this process was replaced.
    pub async fn mail_tls_report(&self, node: Node, report: &DueReport, message: &NewMessage) -> Result<bool> {
        let now = self.now();
        let mut tx = self.begin(Lane::Queue).await?;
        crate::node::hold_epoch(&mut tx, node).await?;
        let ended = tx
            .execute(
                sql!(
                    "UPDATE tls_report SET state = 'sent', detail = $4, claimed_until = 0, done_at = $5 \
                     WHERE day = $1 AND domain = $2 AND place = $3 AND state = 'due'"
                ),
                args![report.day, report.domain.as_str(), report.place.as_str(), message.id.to_string(), now],
            )
            .await?;
        if ended == 0 {
            return Ok(false);
        }
        let mut tally = Tally::default();
        accept(&mut tx, self, &[message], &[self.next_id()], now, &mut tally).await?;
        tally.write(&mut tx, node.id).await?;
        tx.ring(Topic::Work);
        tx.commit().await?;
        Ok(true)
    }

    /// The workspace that may sign for a domain, the oldest one when several may.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn workspace_of_domain(&self, domain: &str) -> Result<Option<WorkspaceId>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT d.workspace_id FROM domain d JOIN dkim_key k ON k.domain_id = d.id \
                     WHERE d.name = $1 AND k.activated_at IS NOT NULL AND k.retired_at IS NULL ORDER BY d.id LIMIT 1"
                ),
                args![domain],
            )
            .await?;
        row.map(|row| Ok(WorkspaceId(row.int("workspace_id")?))).transpose()
    }

    /// The newest reports, at most 1,000.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tls_reports(&self, from_day: i64) -> Result<Vec<ReportRow>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT day, domain, place, state, due_at, attempts, detail, done_at FROM tls_report \
                     WHERE day >= $1 ORDER BY day DESC, domain, place LIMIT 1000"
                ),
                args![from_day],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ReportRow {
                    report: DueReport {
                        day: row.int("day")?,
                        domain: row.text("domain")?,
                        place: row.text("place")?,
                        attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
                    },
                    state: crate::read::word(row, "state", ReportState::parse)?,
                    due_at: row.int("due_at")?,
                    detail: row.text("detail")?,
                    done_at: row.int_opt("done_at")?,
                })
            })
            .collect()
    }

    /// Deletes a slice of the reports of days before this one; the number of rows. Call until 0.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_tls_reports(&self, before_day: i64, slice: u32) -> Result<u64> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let gone = tx
            .execute(
                sql!(
                    "DELETE FROM tls_report WHERE (day, domain, place) IN \
                     (SELECT t.day, t.domain, t.place FROM tls_report t WHERE t.day < $1 LIMIT $2)"
                ),
                args![before_day, slice],
            )
            .await?;
        tx.commit().await?;
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use postrider_domain::retry::RetryPolicy;

    use super::*;
    use crate::queue_rig::message;
    use crate::testing::{TestStore, open_both, write_book};
    use crate::transport::TlsResult;

    async fn story(store: TestStore) {
        let book = write_book(&store, 1, &RetryPolicy::preset("rehearsal").expect("a preset")).await.unwrap();
        let node = store.register_node().await.unwrap();
        let line = |domain: &str, host: &str| TlsResult {
            day: 7,
            domain: domain.into(),
            policy: "sts".into(),
            result: "success".into(),
            mx_host: host.into(),
            n: 1,
        };
        let lines = [line("a.example", "one"), line("a.example", "two"), line("b.example", "one")];
        store.count_tls(node, &lines).await.unwrap();
        let now = store.now();
        let due = |name: &str| if name == "a.example" { now } else { now + 1_000 };
        assert_eq!(store.open_tls_reports(7, due).await.unwrap(), 2);
        assert_eq!(store.open_tls_reports(7, due).await.unwrap(), 0, "once a day and domain");
        assert_eq!(store.open_tls_reports(8, due).await.unwrap(), 0);

        let first = store.claim_tls_reports(now + 500, 10).await.unwrap();
        assert_eq!(first.len(), 1, "the other's time has not come");
        assert_eq!((first[0].domain.as_str(), first[0].attempts), ("a.example", 1));
        assert_eq!(store.claim_tls_reports(now + 500, 10).await.unwrap(), [], "somebody has it");
        store.clock.advance(600);
        let again = store.claim_tls_reports(store.now() + 500, 10).await.unwrap();
        assert_eq!(again[0].attempts, 2, "who had it is gone");

        let places = ["mailto:t@a.example".to_owned(), "https://a.example/t".to_owned()];
        store.place_tls_report(&again[0], &places).await.unwrap();
        store.place_tls_report(&again[0], &["mailto:late@a.example".to_owned()]).await.unwrap();
        let placed = store.claim_tls_reports(store.now() + 500, 10).await.unwrap();
        let found: Vec<&str> = placed.iter().map(|report| report.place.as_str()).collect();
        assert_eq!(found, ["https://a.example/t", "mailto:t@a.example"]);

        let mail = message(&store, book.workspace, &["t@a.example"]);
        assert!(store.mail_tls_report(node, &placed[1], &mail).await.unwrap());
        let twice = message(&store, book.workspace, &["t@a.example"]);
        assert!(!store.mail_tls_report(node, &placed[1], &twice).await.unwrap(), "mailed once");
        assert!(store.message(book.workspace, twice.id).await.is_err());
        assert_eq!(store.message(book.workspace, mail.id).await.unwrap().subject, "Receipt");

        store.end_tls_report(&placed[0], ReportState::Due, "503", Some(store.now() + 5_000)).await.unwrap();
        assert_eq!(store.claim_tls_reports(store.now() + 1, 1).await.unwrap(), []);
        store.clock.advance(5_000);
        let both = store.claim_tls_reports(store.now() + 1, 10).await.unwrap();
        assert_eq!(both.len(), 2, "the one put off and the other domain: {both:?}");
        store.end_tls_report(&both[0], ReportState::Failed, "gave up", None).await.unwrap();
        let rows = store.tls_reports(0).await.unwrap();
        let states: Vec<(&str, ReportState)> = rows.iter().map(|row| (row.report.place.as_str(), row.state)).collect();
        assert_eq!(
            states,
            [
                ("", ReportState::Placed),
                ("https://a.example/t", ReportState::Failed),
                ("mailto:t@a.example", ReportState::Sent),
                ("", ReportState::Due)
            ]
        );
        assert_eq!(store.forget_tls_reports(7, 10).await.unwrap(), 0);
        assert_eq!(store.forget_tls_reports(8, 10).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn each_report_is_made_once_whoever_makes_it() {
        for store in open_both("tlsreport").await {
            story(store).await;
        }
    }
}
