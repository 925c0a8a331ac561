//! How mail is protected on its way: fetched MTA-STS policies, rules for single domains, and counts of what TLS came to.
//!
//! Must not know how a policy is fetched or followed: the engine does both and tells.

use postrider_domain::id::WorkspaceId;
use postrider_domain::route::TlsDemand;
use serde_json::json;

use crate::actor::Actor;
use crate::db::Lane;
use crate::error::Result;
use crate::node::Node;
use crate::read::{not_found, word};
use crate::sql::{Row, args, sql};
use crate::store::Store;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Counts of domains without a policy, of which there are most, are kept so many days: a report is sent the day after.
const REPORT_DAYS: i64 = 3;
/// Most rules of one workspace.
const MOST_RULES: i64 = 10_000;
/// Most lines of one answer of counts.
const MOST_RESULTS: u32 = 10_000;

/// A fetched MTA-STS policy (RFC 8461), as it is kept for later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRow {
    /// The policy domain, lowercase, A-labels.
    pub domain: String,
    /// The id of the TXT record under which it was fetched.
    pub policy_id: String,
    /// `enforce`, `testing` or `none`.
    pub mode: String,
    /// Its host patterns.
    pub mx: Vec<String>,
    /// How long it may be followed after it was fetched, in seconds.
    pub max_age: i64,
    /// When it was fetched, milliseconds UTC.
    pub fetched_at: i64,
}

/// A rule for one recipient domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRule {
    /// Whose rule.
    pub workspace: WorkspaceId,
    /// The recipient domain, lowercase, A-labels.
    pub domain: String,
    /// What is asked.
    pub demand: TlsDemand,
    /// Why, in the words of who made it.
    pub reason: String,
    /// When it was made, milliseconds UTC.
    pub created_at: i64,
}

/// How often something came of TLS with one host on one day (RFC 8460 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsResult {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// The policy domain.
    pub domain: String,
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy: String,
    /// `success` or a result type of RFC 8460.
    pub result: String,
    /// The MX host; empty where the fault is the policy's own.
    pub mx_host: String,
    /// Sessions.
    pub n: i64,
}

/// The day of a moment, for [`TlsResult::day`].
pub const fn day_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}

impl Store {
    /// The policy that was last fetched for a domain.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn sts_policy(&self, domain: &str) -> Result<Option<StsRow>> {
        self.read()
            .await?
            .opt(
                sql!("SELECT domain, policy_id, mode, mx, max_age, fetched_at FROM sts_policy WHERE domain = $1"),
                args![domain],
            )
            .await?
            .map(|row| {
                Ok(StsRow {
                    domain: row.text("domain")?,
                    policy_id: row.text("policy_id")?,
                    mode: row.text("mode")?,
                    mx: row.text("mx")?.lines().map(str::to_owned).collect(),
                    max_age: row.int("max_age")?,
                    fetched_at: row.int("fetched_at")?,
                })
            })
            .transpose()
    }

    /// Keeps a fetched policy in place of the one before. Of two nodes that fetch at once the later word stays.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_sts_policy(&self, policy: &StsRow) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO sts_policy (domain, policy_id, mode, mx, max_age, fetched_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (domain) DO UPDATE SET policy_id = excluded.policy_id, mode = excluded.mode, \
                   mx = excluded.mx, max_age = excluded.max_age, fetched_at = excluded.fetched_at \
                 WHERE excluded.fetched_at >= sts_policy.fetched_at"
            ),
            args![
                policy.domain.as_str(),
                policy.policy_id.as_str(),
                policy.mode.as_str(),
                policy.mx.join("\n"),
                policy.max_age,
                policy.fetched_at
            ],
        )
        .await?;
        tx.commit().await
    }

    /// Makes or changes the rule of a workspace for a recipient domain.
    ///
    /// # Errors
    /// There is no such workspace, or the database cannot be written.
    pub async fn set_tls_rule(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        domain: &str,
        demand: TlsDemand,
        reason: &str,
    ) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.opt(sql!("SELECT id FROM workspace WHERE id = $1 {for_update}"), args![workspace])
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        tx.execute(
            sql!(
                "INSERT INTO tls_rule (workspace_id, domain, demand, reason, created_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (workspace_id, domain) DO UPDATE SET demand = excluded.demand, \
                   reason = excluded.reason, created_at = excluded.created_at"
            ),
            args![workspace, domain, demand.as_str(), reason, self.now()],
        )
        .await?;
        let detail = json!({"demand": demand.as_str(), "reason": reason});
        self.note(&mut tx, Some(workspace), by, "tls_rule.set", domain, detail).await?;
        tx.commit().await
    }

    /// Removes a rule, so that the ladder decides again.
    ///
    /// # Errors
    /// There is no such rule, or the database cannot be written.
    pub async fn remove_tls_rule(&self, workspace: WorkspaceId, by: &Actor, domain: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let gone = tx
            .execute(sql!("DELETE FROM tls_rule WHERE workspace_id = $1 AND domain = $2"), args![workspace, domain])
            .await?;
        if gone == 0 {
            return Err(not_found("rule"));
        }
        self.note(&mut tx, Some(workspace), by, "tls_rule.remove", domain, json!({})).await?;
        tx.commit().await
    }

    /// The rules of a workspace by domain, at most 10,000.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tls_rules(&self, workspace: WorkspaceId) -> Result<Vec<TlsRule>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT workspace_id, domain, demand, reason, created_at FROM tls_rule WHERE workspace_id = $1 \
                     ORDER BY domain LIMIT $2"
                ),
                args![workspace, MOST_RULES],
            )
            .await?;
        rows.iter().map(rule).collect()
    }

    /// Counts what TLS came to, in this node's own rows.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn count_tls(&self, node: Node, results: &[TlsResult]) -> Result<()> {
        if results.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<&TlsResult> = results.iter().collect();
        sorted.sort_by(|a, b| {
            (a.day, &a.domain, &a.policy, &a.result, &a.mx_host)
                .cmp(&(b.day, &b.domain, &b.policy, &b.result, &b.mx_host))
        });
        let rows: Vec<serde_json::Value> = sorted
            .iter()
            .map(|r| json!({"d": r.day, "o": r.domain, "p": r.policy, "r": r.result, "h": r.mx_host, "n": r.n}))
            .collect();
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO tls_result (day, domain, policy, result, mx_host, node_id, n) \
                 SELECT r.d, r.o, r.p, r.r, r.h, $2, r.n \
                 FROM {rows $1 (d bigint, o text, p text, r text, h text, n bigint)} r WHERE TRUE \
                 ON CONFLICT (day, domain, policy, result, mx_host, node_id) DO UPDATE SET n = tls_result.n + excluded.n"
            ),
            args![serde_json::Value::Array(rows), node.id],
        )
        .await?;
        tx.commit().await
    }

    /// What TLS came to from one day to another, both included, with one policy domain or with all; at most 10,000
    /// lines, by day and domain.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tls_results(&self, from_day: i64, to_day: i64, domain: Option<&str>) -> Result<Vec<TlsResult>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT day, domain, policy, result, mx_host, CAST(sum(n) AS BIGINT) AS n FROM tls_result \
                     WHERE day >= $1 AND day <= $2 AND (CAST($3 AS TEXT) IS NULL OR domain = $3) \
                     GROUP BY day, domain, policy, result, mx_host \
                     ORDER BY day, domain, policy, result, mx_host LIMIT $4"
                ),
                args![from_day, to_day, domain.map(str::to_owned), MOST_RESULTS],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TlsResult {
                    day: row.int("day")?,
                    domain: row.text("domain")?,
                    policy: row.text("policy")?,
                    result: row.text("result")?,
                    mx_host: row.text("mx_host")?,
                    n: row.int("n")?,
                })
            })
            .collect()
    }

    /// Deletes a slice of what is too old: counts of days before this one, counts without a policy three days after
    /// they can be reported no more, and policies that nobody may follow. Returns the number of rows; call until 0.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_transport(&self, before_day: i64, today: i64, slice: u32) -> Result<u64> {
        let mut tx = self.begin(Lane::Bulk).await?;
        let counts = tx
            .execute(
                sql!(
                    "DELETE FROM tls_result WHERE (day, domain, policy, result, mx_host, node_id) IN \
                     (SELECT t.day, t.domain, t.policy, t.result, t.mx_host, t.node_id FROM tls_result t \
                      WHERE t.day < $1 OR (t.policy = 'no-policy-found' AND t.day < $2) LIMIT $3)"
                ),
                args![before_day, today - REPORT_DAYS, slice],
            )
            .await?;
        let policies = tx
            .execute(
                sql!(
                    "DELETE FROM sts_policy WHERE domain IN \
                     (SELECT s.domain FROM sts_policy s WHERE s.fetched_at + s.max_age * 1000 < $1 LIMIT $2)"
                ),
                args![today * DAY_MS, slice],
            )
            .await?;
        tx.commit().await?;
        Ok(counts + policies)
    }
}

fn rule(row: &Row) -> Result<TlsRule> {
    Ok(TlsRule {
        workspace: WorkspaceId(row.int("workspace_id")?),
        domain: row.text("domain")?,
        demand: word(row, "demand", TlsDemand::parse)?,
        reason: row.text("reason")?,
        created_at: row.int("created_at")?,
    })
}

#[cfg(test)]
mod tests {
    use postrider_domain::retry::RetryPolicy;

    use super::*;
    use crate::testing::{TestStore, open_postgres, open_sqlite, write_book};

    async fn story(store: TestStore) {
        let book = write_book(&store, 1, &RetryPolicy::preset("rehearsal").expect("a preset")).await.unwrap();
        let by = Actor::Console;
        assert_eq!(store.sts_policy("a.example").await.unwrap(), None);
        let policy = StsRow {
            domain: "a.example".into(),
            policy_id: "1".into(),
            mode: "enforce".into(),
            mx: vec!["mx.a.example".into(), "*.b.example".into()],
            max_age: 86_400,
            fetched_at: 1_000,
        };
        store.keep_sts_policy(&policy).await.unwrap();
        assert_eq!(store.sts_policy("a.example").await.unwrap(), Some(policy.clone()));
        let older = StsRow { policy_id: "0".into(), fetched_at: 999, ..policy.clone() };
        store.keep_sts_policy(&older).await.unwrap();
        assert_eq!(store.sts_policy("a.example").await.unwrap(), Some(policy.clone()), "the later word stays");

        store.set_tls_rule(book.workspace, &by, "b.example", TlsDemand::Clear, "old scanner").await.unwrap();
        store.set_tls_rule(book.workspace, &by, "b.example", TlsDemand::Verified, "bank").await.unwrap();
        let rules = store.tls_rules(book.workspace).await.unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!((rules[0].demand, rules[0].reason.as_str()), (TlsDemand::Verified, "bank"));
        assert!(store.set_tls_rule(WorkspaceId(99), &by, "b.example", TlsDemand::Clear, "").await.is_err());
        store.remove_tls_rule(book.workspace, &by, "b.example").await.unwrap();
        assert!(store.remove_tls_rule(book.workspace, &by, "b.example").await.is_err());

        let node = store.register_node().await.unwrap();
        let line = |day, result: &str, n| TlsResult {
            day,
            domain: "a.example".into(),
            policy: "sts".into(),
            result: result.into(),
            mx_host: "mx.a.example".into(),
            n,
        };
        store.count_tls(node, &[line(7, "success", 2), line(7, "certificate-expired", 1)]).await.unwrap();
        store.count_tls(node, &[line(7, "success", 3), line(8, "success", 1)]).await.unwrap();
        let seen = store.tls_results(7, 7, Some("a.example")).await.unwrap();
        assert_eq!(seen, [line(7, "certificate-expired", 1), line(7, "success", 5)]);
        assert_eq!(store.tls_results(0, 99, None).await.unwrap().len(), 3);
        assert_eq!(store.tls_results(0, 99, Some("c.example")).await.unwrap(), []);
        assert_eq!(store.forget_transport(8, 9, 2).await.unwrap(), 3, "two lines, and a policy that is long over");
        assert_eq!(store.forget_transport(8, 9, 2).await.unwrap(), 0);
        store
            .count_tls(node, &[TlsResult { policy: "no-policy-found".into(), ..line(8, "success", 1) }])
            .await
            .unwrap();
        assert_eq!(store.forget_transport(8, 12, 9).await.unwrap(), 1, "most domains have no policy");
    }

    #[tokio::test]
    async fn what_is_kept_of_transport_on_sqlite() {
        story(open_sqlite("transport").await).await;
    }

    #[tokio::test]
    async fn what_is_kept_of_transport_on_postgres() {
        story(open_postgres("transport").await).await;
    }
}
