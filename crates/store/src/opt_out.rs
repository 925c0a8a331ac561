//! The opt-out: whatever road it came by, one transaction that withdraws, writes the ledger and tells the campaign.
//!
//! Repeating it changes nothing (SR-16). Must not know tokens or requests: who calls has verified the token.

use postrider_domain::consent::{ConsentState, Evidence};
use postrider_domain::event::{Consequence, EventKind, News, consequences};
use postrider_domain::id::{CampaignId, ContactId, DeliveryId, PurposeId, WorkspaceId};
use postrider_mail::mailbox::Mailbox;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::consent::NewConsent;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::event::{NewEvent, record};
pub use crate::road::OptOutRoad;
use crate::sql::{args, sql};
use crate::suppression::{NewSuppression, Whom};
use crate::tally::OPT_OUTS;

/// Out of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOf {
    /// One purpose.
    Purpose(PurposeId),
    /// Every purpose; the mailbox is suppressed for marketing as well.
    Everything,
}

/// An opt-out whose token has been verified, or that an operator passes on.
#[derive(Debug, Clone)]
pub struct OptOut {
    /// Whose.
    pub contact: ContactId,
    /// Out of what.
    pub out_of: OutOf,
    /// The delivery whose link it was.
    pub delivery: Option<DeliveryId>,
    /// The road.
    pub road: OptOutRoad,
    /// IP address of the request, when it is kept.
    pub ip: Option<String>,
    /// User agent of the request, when it is kept.
    pub agent: Option<String>,
}

/// What an opt-out did. A person is told the same in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptOutAnswer {
    /// Recorded.
    Recorded,
    /// The person was out already.
    AlreadyOut,
    /// The book has no such contact any more; nothing is sent to it.
    Unknown,
}

/// Text of a foreign header, made fit for the ledger: no control characters, at most 300 characters.
fn tame(text: Option<String>) -> Option<String> {
    text.map(|text| {
        text.chars().filter(|c| !c.is_control() && *c != '\u{2028}' && *c != '\u{2029}').take(300).collect()
    })
}

impl Store {
    /// Opts a contact out. After the commit no MAIL FROM of a marketing message to it begins (LAW-21, LAW-42).
    ///
    /// # Errors
    /// The database fails. An unknown contact is an answer, not an error.
    pub async fn opt_out(&self, workspace: WorkspaceId, by: &Actor, opt_out: OptOut) -> Result<OptOutAnswer> {
        let mut tx = self.begin(Lane::Web).await?;
        let contact = match self.contact_for_update(&mut tx, workspace, opt_out.contact).await {
            Ok(contact) => contact,
            Err(StoreError::NotFound { .. }) => return Ok(OptOutAnswer::Unknown),
            Err(error) => return Err(error),
        };
        let consents = tx
            .all(
                sql!(
                    "SELECT p.id, c.state FROM purpose p \
                     LEFT JOIN consent c ON c.purpose_id = p.id AND c.contact_id = $2 WHERE p.workspace_id = $1 ORDER BY p.id"
                ),
                args![workspace, opt_out.contact],
            )
            .await?;
        let mut states = Vec::new();
        for row in &consents {
            states.push((PurposeId(row.int("id")?), crate::read::word_opt(row, "state", ConsentState::parse)?));
        }
        let news = match opt_out.out_of {
            OutOf::Purpose(_) => News::OptOut,
            OutOf::Everything => News::OptOutOfAll,
        };
        let present = match opt_out.out_of {
            OutOf::Purpose(purpose) => match states.iter().find(|(id, _)| *id == purpose) {
                Some((_, state)) => *state,
                // A purpose that is gone: there is nothing to withdraw from.
                None => return Ok(OptOutAnswer::Unknown),
            },
            OutOf::Everything => None,
        };
        let evidence = Evidence {
            source: "opt-out by the person".into(),
            given_at: Some(self.now()),
            ip: tame(opt_out.ip.clone()),
            agent: tame(opt_out.agent.clone()),
            method: opt_out.road.as_str().into(),
            delivery: opt_out.delivery.map(|delivery| delivery.to_string()),
            ..Evidence::default()
        };
        let mut changed = false;
        for consequence in consequences(news, present) {
            changed |= match consequence {
                Consequence::Withdraw => {
                    let OutOf::Purpose(purpose) = opt_out.out_of else { continue };
                    self.withdraw(&mut tx, workspace, by, opt_out.contact, purpose, &evidence).await?;
                    true
                }
                Consequence::WithdrawAll => {
                    let mut any = false;
                    for (purpose, state) in &states {
                        if state.is_some_and(|state| state != ConsentState::Withdrawn) {
                            self.withdraw(&mut tx, workspace, by, opt_out.contact, *purpose, &evidence).await?;
                            any = true;
                        }
                    }
                    any
                }
                Consequence::Suppress(reason, scope) => {
                    let mailbox = Mailbox::parse(&contact.mailbox)
                        .map_err(|_| StoreError::Corrupt("column contact.mailbox holds no mailbox".into()))?;
                    let new = NewSuppression {
                        whom: Whom::Mailbox(mailbox),
                        reason,
                        scope: Some(scope),
                        source: opt_out.road.as_str().into(),
                        until: None,
                        delivery: opt_out.delivery,
                    };
                    self.put_suppression(&mut tx, workspace, &new).await?.1
                }
            };
        }
        if !changed {
            return Ok(OptOutAnswer::AlreadyOut);
        }
        self.tell_campaign(&mut tx, workspace, &opt_out).await?;
        tx.commit().await?;
        Ok(OptOutAnswer::Recorded)
    }

    async fn withdraw(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        by: &Actor,
        contact: ContactId,
        purpose: PurposeId,
        evidence: &Evidence,
    ) -> Result<()> {
        let new =
            NewConsent { contact, purpose, state: ConsentState::Withdrawn, wording: None, evidence: evidence.clone() };
        self.put_consent(tx, workspace, by, new).await.map(|_| ())
    }

    /// The event and the counter of the campaign whose link was followed; its delivery may be gone.
    async fn tell_campaign(&self, tx: &mut Tx, workspace: WorkspaceId, opt_out: &OptOut) -> Result<()> {
        let campaign = match opt_out.delivery {
            None => None,
            Some(delivery) => tx
                .opt(
                    sql!("SELECT campaign_id FROM delivery WHERE workspace_id = $1 AND id = $2 AND contact_id = $3"),
                    args![workspace, delivery, opt_out.contact],
                )
                .await?
                .map(|row| row.int_opt("campaign_id"))
                .transpose()?
                .flatten()
                .map(CampaignId),
        };
        let event = NewEvent {
            workspace,
            at: self.now(),
            kind: EventKind::OptOut,
            delivery: opt_out.delivery,
            contact: Some(opt_out.contact),
            campaign,
            attempt: None,
            data: Some(json!({ "road": opt_out.road })),
        };
        record(tx, self.node(), &[event]).await?;
        if let Some(campaign) = campaign {
            self.count(tx, workspace, Some(campaign), &[(OPT_OUTS.to_owned(), 1)]).await?;
            tx.ring(Topic::Live { workspace, what: format!("campaign:{campaign}") });
        }
        Ok(())
    }
}
