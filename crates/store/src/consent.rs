//! Consent of a contact for a purpose: a fact with evidence, written to the ledger in the same transaction.
//!
//! Must not know suppressions, except that a person's own new consent lifts what the person's own objection set (LAW-32).

use postrider_domain::consent::{ConsentState, Evidence, LedgerKind, LegalBasis};
use postrider_domain::id::{ContactId, PurposeId, WordingId, WorkspaceId};
use serde::Serialize;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::ledger::Payload;
use crate::read::{check_lines, check_text, not_found, refused, word, word_opt};
use crate::secret::hex;
use crate::sql::{Row, args, sql};

/// Where the consent of one contact for one purpose stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// The purpose.
    pub purpose: PurposeId,
    /// The state.
    pub state: ConsentState,
    /// The legal basis that was named.
    pub basis: Option<LegalBasis>,
    /// Since when, i64 milliseconds UTC: when the person agreed, or when the withdrawal reached us.
    pub since: i64,
    /// The number of the ledger's entry that it rests on.
    pub ledger_seq: i64,
}

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct NewConsent {
    /// The contact.
    pub contact: ContactId,
    /// The purpose.
    pub purpose: PurposeId,
    /// The state that it gets.
    pub state: ConsentState,
    /// The wording that the person saw; needed to grant on the basis `consent`.
    pub wording: Option<WordingId>,
    /// The evidence; its `wording` is filled in from the field above.
    pub evidence: Evidence,
}

impl Consent {
    fn read(row: &Row) -> Result<Consent> {
        Ok(Consent {
            purpose: PurposeId(row.int("purpose_id")?),
            state: word(row, "state", ConsentState::parse)?,
            basis: word_opt(row, "basis", LegalBasis::parse)?,
            since: row.int("since")?,
            ledger_seq: row.int("ledger_seq")?,
        })
    }
}

/// The kind of entry that leaves a state behind.
pub(crate) const fn entry_for(state: ConsentState) -> LedgerKind {
    match state {
        ConsentState::Requested => LedgerKind::Requested,
        ConsentState::Granted => LedgerKind::Granted,
        ConsentState::Refused => LedgerKind::Refused,
        ConsentState::Withdrawn => LedgerKind::Withdrawn,
    }
}

/// Refuses evidence that proves nothing or could break a page that shows it.
fn check_evidence(new: &NewConsent, present: Option<&Consent>) -> Result<()> {
    let evidence = &new.evidence;
    for (what, text) in [
        ("source", Some(&evidence.source)),
        ("page", evidence.page.as_ref()),
        ("IP address", evidence.ip.as_ref()),
        ("user agent", evidence.agent.as_ref()),
        ("method", Some(&evidence.method)),
        ("delivery", evidence.delivery.as_ref()),
    ] {
        if let Some(text) = text {
            check_text(what, text, 1000)?;
        }
    }
    if let Some(note) = &evidence.note {
        check_lines("note", note, 4000)?;
    }
    match new.state {
        ConsentState::Requested | ConsentState::Refused | ConsentState::Withdrawn => return Ok(()),
        ConsentState::Granted => {}
    }
    if evidence.source.trim().is_empty() || evidence.method.trim().is_empty() {
        return Err(refused("grant the consent: name its source and method (LAW-20)"));
    }
    match evidence.basis {
        None => return Err(refused("grant the consent: name its legal basis (LAW-20)")),
        Some(LegalBasis::Consent) if new.wording.is_none() => {
            return Err(refused("grant the consent: name the wording that the person agreed to (LAW-20)"));
        }
        Some(LegalBasis::LegitimateInterest) if evidence.note.as_deref().unwrap_or_default().trim().is_empty() => {
            return Err(refused("grant the consent: a legitimate interest needs a note that explains it (LAW-20)"));
        }
        Some(
            LegalBasis::Consent
            | LegalBasis::SoftOptIn
            | LegalBasis::Contract
            | LegalBasis::LegalObligation
            | LegalBasis::LegitimateInterest,
        ) => {}
    }
    let Some(present) = present else { return Ok(()) };
    match present.state {
        ConsentState::Requested | ConsentState::Granted => Ok(()),
        // What a person took back only a later word of the same person brings back.
        ConsentState::Refused | ConsentState::Withdrawn => {
            if evidence.given_at.is_some_and(|given| given > present.since) {
                Ok(())
            } else {
                Err(refused(
                    "grant the consent: the person refused it or took it back; `given_at` must name a later moment at which the person agreed anew",
                ))
            }
        }
    }
}

impl Store {
    /// Records a consent, a request, a refusal or a withdrawal, with its evidence. Repeating the present state adds
    /// evidence to the ledger and changes nothing else.
    ///
    /// # Errors
    /// Contact, purpose or wording are not in the workspace, or the evidence does not carry the state.
    pub async fn record_consent(&self, workspace: WorkspaceId, by: &Actor, new: NewConsent) -> Result<Consent> {
        let mut tx = self.begin(Lane::Web).await?;
        let consent = self.put_consent(&mut tx, workspace, by, new).await?;
        tx.commit().await?;
        Ok(consent)
    }

    pub(crate) async fn put_consent(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        by: &Actor,
        mut new: NewConsent,
    ) -> Result<Consent> {
        if new.state != ConsentState::Granted {
            self.closures().close_contact(new.contact);
            // Other nodes hear of it with the commit.
            tx.ring(crate::bell::Topic::Live { workspace, what: format!("contact:{}", new.contact) });
        }
        let contact = self.contact_for_update(tx, workspace, new.contact).await?;
        tx.opt(sql!("SELECT id FROM purpose WHERE workspace_id = $1 AND id = $2"), args![workspace, new.purpose])
            .await?
            .ok_or_else(|| not_found("purpose"))?;
        let present = self.consent_in(tx, workspace, new.contact, new.purpose).await?;
        check_evidence(&new, present.as_ref())?;
        if let Some(wording) = new.wording {
            let row = tx
                .opt(
                    sql!("SELECT text_hash FROM wording WHERE workspace_id = $1 AND purpose_id = $2 AND id = $3"),
                    args![workspace, new.purpose, wording],
                )
                .await?
                .ok_or_else(|| not_found("wording"))?;
            new.evidence.wording = Some((wording.to_string(), hex(&row.bytes("text_hash")?)));
        }
        let now = self.now();
        let since = match new.state {
            ConsentState::Granted => new.evidence.given_at.unwrap_or(now).min(now),
            ConsentState::Requested | ConsentState::Refused | ConsentState::Withdrawn => now,
        };
        let mut consent =
            Consent { purpose: new.purpose, state: new.state, basis: new.evidence.basis, since, ledger_seq: 0 };
        if new.state == ConsentState::Granted && by.kind() == Actor::Person.kind() {
            let mailbox = postrider_mail::mailbox::Mailbox::parse(&contact.mailbox)
                .map_err(|_| crate::StoreError::Corrupt("column contact.mailbox holds no mailbox".into()))?;
            self.lift_objections(tx, workspace, &mailbox).await?;
        }
        let payload = Payload {
            kind: entry_for(new.state),
            contact: Some(new.contact),
            purpose: Some(new.purpose),
            at: now,
            actor: by.in_ledger(),
            by: by.id(),
            evidence: Some(new.evidence),
            erased: Vec::new(),
        };
        consent.ledger_seq = self.append_to_ledger(tx, workspace, &[payload]).await?;
        if let Some(present) = present
            && present.state == consent.state
        {
            consent.since = present.since;
        }
        tx.execute(
            sql!(
                "INSERT INTO consent (contact_id, purpose_id, workspace_id, state, basis, since, ledger_seq) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT (contact_id, purpose_id) DO UPDATE SET state = excluded.state, basis = excluded.basis, \
                 since = excluded.since, ledger_seq = excluded.ledger_seq"
            ),
            args![
                new.contact,
                new.purpose,
                workspace,
                consent.state.as_str(),
                consent.basis.map(LegalBasis::as_str),
                consent.since,
                consent.ledger_seq
            ],
        )
        .await?;
        Ok(consent)
    }

    /// The consent of a contact for a purpose, inside a transaction that holds the contact.
    pub(crate) async fn consent_in(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        contact: ContactId,
        purpose: PurposeId,
    ) -> Result<Option<Consent>> {
        let row = tx
            .opt(
                sql!(
                    "SELECT purpose_id, state, basis, since, ledger_seq FROM consent \
                     WHERE contact_id = $1 AND purpose_id = $2 AND workspace_id = $3"
                ),
                args![contact, purpose, workspace],
            )
            .await?;
        row.as_ref().map(Consent::read).transpose()
    }

    /// What a contact agreed to, refused and took back, by purpose.
    ///
    /// # Errors
    /// The workspace has no such contact.
    pub async fn consents(&self, workspace: WorkspaceId, contact: ContactId) -> Result<Vec<Consent>> {
        self.contact(workspace, contact).await?;
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT purpose_id, state, basis, since, ledger_seq FROM consent \
                     WHERE contact_id = $1 AND workspace_id = $2 ORDER BY purpose_id"
                ),
                args![contact, workspace],
            )
            .await?
            .iter()
            .map(Consent::read)
            .collect()
    }
}
