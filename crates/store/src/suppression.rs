//! Suppressions: addresses that we do not write to. Found by keyed digest, so that they outlive the text (LAW-32).
//!
//! Must not know consent: an address can be suppressed and consented to at once, and the gate decides.

use postrider_domain::bounce::soft::SoftEvidence;
use postrider_domain::id::{DeliveryId, SuppressionId, WorkspaceId};
use postrider_domain::suppression::{SuppressionReason, SuppressionScope};
use postrider_mail::mailbox::{DomainName, Mailbox};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{check_text, json_opt, not_found, refused, word};
use crate::sql::{Row, args, sql};

/// A suppression.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// The normalised mailbox; `None` for a domain, and after erasure, when only the keyed digest is left.
    pub mailbox: Option<String>,
    /// The domain, when all of it is suppressed.
    pub domain: Option<String>,
    /// Why.
    pub reason: SuppressionReason,
    /// What it covers.
    pub scope: SuppressionScope,
    /// Where it came from: an operator's words, or the road of the news.
    pub source: String,
    /// Since when, i64 milliseconds UTC.
    pub since: i64,
    /// Until when, i64 milliseconds UTC; `None`: for good.
    pub until: Option<i64>,
    /// The delivery that proved it.
    pub delivery: Option<DeliveryId>,
    /// The soft bounces by which a limit was reached.
    pub evidence: Option<SoftEvidence>,
}

impl std::fmt::Debug for Suppression {
    /// Redacted: the mailbox must not reach a log by accident (SEC-74).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suppression").field("id", &self.id).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// What a suppression covers.
#[derive(Debug, Clone)]
pub enum Whom {
    /// One mailbox.
    Mailbox(Mailbox),
    /// Every mailbox of a domain.
    Domain(DomainName),
}

/// A suppression to be made.
#[derive(Debug, Clone)]
pub struct NewSuppression {
    /// Whom.
    pub whom: Whom,
    /// Why.
    pub reason: SuppressionReason,
    /// What it covers; `None`: the reason's own scope.
    pub scope: Option<SuppressionScope>,
    /// Where it came from, in words.
    pub source: String,
    /// Until when, i64 milliseconds UTC; `None`: for good.
    pub until: Option<i64>,
    /// The delivery that proved it.
    pub delivery: Option<DeliveryId>,
}

/// Which suppressions a listing shows.
#[derive(Debug, Clone, Default)]
pub struct SuppressionFilter {
    /// Of this mailbox or its domain only.
    pub mailbox: Option<Mailbox>,
    /// With this reason only.
    pub reason: Option<SuppressionReason>,
}

impl Suppression {
    fn read(row: &Row) -> Result<Suppression> {
        Ok(Suppression {
            id: SuppressionId(row.int("id")?),
            mailbox: row.text_opt("mailbox_norm")?,
            domain: row.text_opt("domain")?,
            reason: word(row, "reason", SuppressionReason::parse)?,
            scope: word(row, "scope", SuppressionScope::parse)?,
            source: row.text("source")?,
            since: row.int("since")?,
            until: row.int_opt("until")?,
            delivery: row.int_opt("delivery_id")?.map(DeliveryId),
            evidence: json_opt(row, "evidence")?,
        })
    }
}

/// Whether an operator may lift it: what the person said only the person takes back (LAW-34).
const fn operator_may_lift(reason: SuppressionReason) -> bool {
    match reason {
        SuppressionReason::NoSuchMailbox
        | SuppressionReason::Disabled
        | SuppressionReason::BadDomain
        | SuppressionReason::BounceLimit
        | SuppressionReason::Manual => true,
        SuppressionReason::Complaint | SuppressionReason::OptOut | SuppressionReason::Erased => false,
    }
}

impl Store {
    /// The digest under which a whole domain is suppressed.
    pub(crate) fn domain_digest(&self, domain: &str) -> [u8; 32] {
        self.digest(&format!("@{domain}"))
    }

    /// Suppresses a mailbox or a domain. One that is in force already stays as it is.
    ///
    /// # Errors
    /// The source is refused, or the workspace does not exist.
    pub async fn suppress(&self, workspace: WorkspaceId, by: &Actor, new: NewSuppression) -> Result<Suppression> {
        check_text("source", &new.source, 500)?;
        let mut tx = self.begin(Lane::Web).await?;
        let (id, _) = self.put_suppression(&mut tx, workspace, &new).await?;
        self.note(&mut tx, Some(workspace), by, "suppression.add", &id.to_string(), json!({ "reason": new.reason }))
            .await?;
        tx.commit().await?;
        self.suppression(workspace, id).await
    }

    /// As [`Store::suppress`], inside a transaction; the id of the one now in force, and whether it is new.
    pub(crate) async fn put_suppression(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        new: &NewSuppression,
    ) -> Result<(SuppressionId, bool)> {
        let (digest, mailbox, domain) = match &new.whom {
            Whom::Mailbox(mailbox) => {
                let norm = mailbox.normalised();
                (self.digest(&norm), Some(norm), None)
            }
            Whom::Domain(domain) => (self.domain_digest(domain.as_str()), None, Some(domain.as_str().to_owned())),
        };
        if let Some(mailbox) = &mailbox {
            self.closures().close_mailbox(mailbox);
        }
        if let Some(domain) = &domain {
            self.closures().close_domain(domain);
        }
        let scope = new.scope.unwrap_or_else(|| new.reason.default_scope());
        let now = self.now();
        // An expired one is made anew, and one for good takes the place of one that would end by itself or that only a
        // bounce limit made: what the person said must not end with what a mailbox did. One that only an erasure left keeps its digest-only form.
        let put = tx.execute(
            sql!(
                "INSERT INTO suppression (id, workspace_id, digest, mailbox_norm, domain, reason, scope, source, since, until, \
                 delivery_id) SELECT $1, w.id, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM workspace w WHERE w.id = $2 \
                 ON CONFLICT (workspace_id, digest, scope) DO UPDATE SET mailbox_norm = excluded.mailbox_norm, \
                 reason = excluded.reason, source = excluded.source, since = excluded.since, until = excluded.until, \
                 delivery_id = excluded.delivery_id, evidence = NULL \
                 WHERE (suppression.until IS NOT NULL AND suppression.until <= $9) OR (excluded.until IS NULL \
                   AND (suppression.until IS NOT NULL OR suppression.reason = 'bounce_limit'))"
            ),
            args![
                SuppressionId(self.next_id()),
                workspace,
                digest,
                mailbox,
                domain,
                new.reason.as_str(),
                scope.as_str(),
                new.source.as_str(),
                now,
                new.until,
                new.delivery
            ],
        )
        .await?;
        let row = tx
            .opt(
                sql!("SELECT id FROM suppression WHERE workspace_id = $1 AND digest = $2 AND scope = $3"),
                args![workspace, digest, scope.as_str()],
            )
            .await?
            .ok_or_else(|| not_found("workspace"))?;
        Ok((SuppressionId(row.int("id")?), put > 0))
    }

    /// A suppression by id.
    ///
    /// # Errors
    /// The workspace has no such suppression.
    pub async fn suppression(&self, workspace: WorkspaceId, id: SuppressionId) -> Result<Suppression> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, mailbox_norm, domain, reason, scope, source, since, until, delivery_id, {json evidence} AS evidence FROM suppression \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Suppression::read(&row.ok_or_else(|| not_found("suppression"))?)
    }

    /// Lifts a suppression that an operator may lift: faults of the mailbox and manual ones.
    ///
    /// # Errors
    /// The workspace has no such suppression, or only the person can take it back.
    pub async fn lift_suppression(&self, workspace: WorkspaceId, by: &Actor, id: SuppressionId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        // Its mailbox begins anew: one more bounce must not suppress it again. The count first, as those who settle do.
        tx.execute(
            sql!(
                "DELETE FROM soft_bounce WHERE workspace_id = $1 \
                 AND digest = (SELECT digest FROM suppression WHERE workspace_id = $1 AND id = $2)"
            ),
            args![workspace, id],
        )
        .await?;
        let row = tx
            .opt(
                sql!("SELECT reason FROM suppression WHERE workspace_id = $1 AND id = $2 {for_update}"),
                args![workspace, id],
            )
            .await?
            .ok_or_else(|| not_found("suppression"))?;
        let reason = word(&row, "reason", SuppressionReason::parse)?;
        if !operator_may_lift(reason) {
            return Err(refused(format!(
                "lift the suppression: its reason is `{reason}`, and only the person can take that back, by agreeing anew"
            )));
        }
        tx.execute(sql!("DELETE FROM suppression WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
        self.note(&mut tx, Some(workspace), by, "suppression.lift", &id.to_string(), json!({ "reason": reason }))
            .await?;
        tx.commit().await
    }

    /// Lifts what the person's own objection set, because the person agrees anew; faults of the mailbox stay (LAW-32).
    pub(crate) async fn lift_objections(&self, tx: &mut Tx, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<()> {
        tx.execute(
            sql!(
                "DELETE FROM suppression WHERE workspace_id = $1 AND digest = $2 AND reason IN ('opt_out', 'erased') \
                 AND scope = 'marketing'"
            ),
            args![workspace, self.digest(&mailbox.normalised())],
        )
        .await?;
        Ok(())
    }

    /// The suppressions in force for a mailbox, those of its domain included.
    ///
    /// # Errors
    /// The database fails.
    pub async fn check_suppression(&self, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<Vec<Suppression>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, mailbox_norm, domain, reason, scope, source, since, until, delivery_id, {json evidence} AS evidence FROM suppression \
                     WHERE workspace_id = $1 AND (digest = $2 OR digest = $3) AND (until IS NULL OR until > $4) ORDER BY id"
                ),
                args![
                    workspace,
                    self.digest(&mailbox.normalised()),
                    self.domain_digest(mailbox.domain().as_str()),
                    self.now()
                ],
            )
            .await?
            .iter()
            .map(Suppression::read)
            .collect()
    }

    /// A page of suppressions, newest first; expired ones are shown with their end.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn suppressions(
        &self,
        workspace: WorkspaceId,
        filter: &SuppressionFilter,
        page: &PageRequest,
    ) -> Result<Page<Suppression>> {
        let before: i64 = page.position("suppression")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let mut reader = self.read().await?;
        let rows =
            match &filter.mailbox {
                Some(mailbox) => {
                    reader
                        .all(
                            sql!(
                                "SELECT id, mailbox_norm, domain, reason, scope, source, since, until, delivery_id, {json evidence} AS evidence \
                             FROM suppression WHERE workspace_id = $1 AND (digest = $2 OR digest = $3) AND id + 0 < $4 \
                             AND (CAST($5 AS TEXT) IS NULL OR reason = $5) ORDER BY id + 0 DESC LIMIT $6"
                            ),
                            args![
                                workspace,
                                self.digest(&mailbox.normalised()),
                                self.domain_digest(mailbox.domain().as_str()),
                                before,
                                filter.reason.map(SuppressionReason::as_str),
                                limit + 1
                            ],
                        )
                        .await?
                }
                None => {
                    match filter.reason {
                        None => reader
                            .all(
                                sql!(
                                    "SELECT id, mailbox_norm, domain, reason, scope, source, since, until, delivery_id, {json evidence} AS evidence \
                                 FROM suppression WHERE workspace_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
                                ),
                                args![workspace, before, limit + 1],
                            )
                            .await?,
                        Some(reason) => reader
                            .all(
                                sql!(
                                    "SELECT id, mailbox_norm, domain, reason, scope, source, since, until, delivery_id, {json evidence} AS evidence \
                                 FROM suppression WHERE workspace_id = $1 AND reason = $2 AND id < $3 \
                                 ORDER BY id DESC LIMIT $4"
                                ),
                                args![workspace, reason.as_str(), before, limit + 1],
                            )
                            .await?,
                    }
                }
            };
        let found = rows.iter().map(Suppression::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(found, limit, "suppression", |suppression| suppression.id.get()))
    }
}
