//! Single messages: taken durably, one delivery for each recipient, then they go the way of every delivery.
//!
//! Must not know what the bytes say.

use std::collections::HashSet;

use postrider_domain::id::{ApiKeyId, CampaignId, ContactId, DeliveryId, MessageId, RouteId, VersionId, WorkspaceId};
use postrider_domain::stream::{Stream, TlsWish, TrackingMode};
use serde_json::json;

use crate::bell::Topic;
use crate::counter::{self, Tally};
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::lane::{Place, lane_at};
use crate::read::word;
use crate::relay_message::RelayFacts;
use crate::sql::{args, sql};
use crate::store::Store;

/// One recipient of a single message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Made by [`Store::new_delivery_id`].
    pub delivery: DeliveryId,
    /// The mailbox as spelt.
    pub mailbox: String,
    /// The mailbox in the form in which it is compared.
    pub mailbox_norm: String,
    /// Its domain.
    pub domain: String,
    /// The contact, when it is one.
    pub contact: Option<ContactId>,
}

/// The stored answer of an Idempotency-Key, completed in the transaction that takes the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The key.
    pub key: String,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A message to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Made by [`Store::new_message_id`].
    pub id: MessageId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// The stream.
    pub stream: Stream,
    /// The From mailbox.
    pub from_mailbox: String,
    /// The subject, for lists.
    pub subject: String,
    /// The whole message, signed or to be signed when it leaves.
    pub bytes: Vec<u8>,
    /// To whom.
    pub recipients: Vec<Recipient>,
    /// The API key that submitted it.
    pub api_key: Option<ApiKeyId>,
    /// The campaign of which it is a test.
    pub test_of: Option<CampaignId>,
    /// The content that it renders, when it has no bytes of its own.
    pub version: Option<VersionId>,
    /// Most attempts.
    pub max_attempts: u32,
    /// No try after this time, milliseconds UTC, when set.
    pub expires_at: Option<i64>,
    /// The site of its lane: [`crate::lane::UNRESOLVED`] or `route:<id>`.
    pub site: String,
    /// What its sender wants of TLS (RFC 8689).
    pub tls: Option<TlsWish>,
    /// Completes an Idempotency-Key in the same transaction.
    pub answer: Option<StoredAnswer>,
    /// What it carried beside its bytes when an application handed it in.
    pub relay: Option<Box<RelayFacts>>,
}

/// A single message as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Which.
    pub id: MessageId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// The stream.
    pub stream: Stream,
    /// The From mailbox.
    pub from_mailbox: String,
    /// The subject.
    pub subject: String,
    /// When it was taken, milliseconds UTC.
    pub created_at: i64,
    /// The campaign of which it is a test.
    pub test_of: Option<CampaignId>,
}

/// Writes messages with their bodies, deliveries and queue rows. `lane_ids` are fresh ids, one for each message.
pub(crate) async fn accept(
    tx: &mut Tx,
    store: &Store,
    batch: &[&NewMessage],
    lane_ids: &[i64],
    now: i64,
    tally: &mut Tally,
) -> Result<()> {
    accept_by(tx, store, batch, lane_ids, now, tally, None).await
}

/// As [`accept`], by another route than the workspace's default one.
pub(crate) async fn accept_by(
    tx: &mut Tx,
    store: &Store,
    batch: &[&NewMessage],
    lane_ids: &[i64],
    now: i64,
    tally: &mut Tally,
    route: Option<RouteId>,
) -> Result<()> {
    let mut deliveries = Vec::new();
    let mut rows = Vec::new();
    for (message, lane_id) in batch.iter().zip(lane_ids) {
        tx.execute(
            sql!(
                "INSERT INTO message (id, workspace_id, stream, from_mailbox, subject, created_at, api_key, test_of) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            ),
            args![
                message.id,
                message.workspace,
                message.stream.as_str(),
                message.from_mailbox.as_str(),
                message.subject.as_str(),
                now,
                message.api_key,
                message.test_of
            ],
        )
        .await?;
        tx.execute(
            sql!("INSERT INTO body (message_id, bytes) VALUES ($1, $2)"),
            args![message.id, message.bytes.as_slice()],
        )
        .await?;
        let place = Place {
            workspace: message.workspace,
            campaign: None,
            stream: message.stream,
            site: message.site.clone(),
            part: 0,
            route: route.or_else(|| message.relay.as_ref().and_then(|facts| facts.route)),
        };
        let lane = lane_at(tx, &place, *lane_id).await?;
        for r in &message.recipients {
            deliveries.push(delivery_row(message, r, &store.digest(&r.mailbox_norm)));
            rows.push(json!({
                "i": r.delivery.get(), "l": lane.get(), "w": message.workspace.get(), "e": message.expires_at,
            }));
        }
        let n = i64::try_from(message.recipients.len()).unwrap_or(i64::MAX);
        tally.add(message.workspace, None, counter::FROZEN, n);
        complete_answer(tx, message).await?;
        if let Some(facts) = &message.relay {
            crate::relay_message::keep(tx, message, facts, now).await?;
        }
    }
    tx.execute(
        sql!(
            "INSERT INTO delivery (id, workspace_id, message_id, contact_id, version_id, mailbox, mailbox_norm, domain, digest, \
                                   stream, tracking, attempts, max_attempts, tls_wish) \
             SELECT r.i, r.w, r.m, r.c, r.v, r.b, r.bn, r.d, {unhex r.h}, r.s, r.t, 0, r.x, r.l \
             FROM {rows $1 (i bigint, w bigint, m bigint, c bigint, v bigint, b text, bn text, d text, h text, s text, t text, \
                            x bigint, l text)} r"
        ),
        args![serde_json::Value::Array(deliveries)],
    )
    .await?;
    tx.execute(
        sql!(
            "INSERT INTO queue (delivery_id, lane_id, workspace_id, ready_at, attempts, expires_at) \
             SELECT r.i, r.l, r.w, $2, 0, r.e FROM {rows $1 (i bigint, l bigint, w bigint, e bigint)} r"
        ),
        args![serde_json::Value::Array(rows), now],
    )
    .await?;
    tx.ring(Topic::Work);
    Ok(())
}

/// Which of these messages are in the database: after a commit of unknown end.
pub(crate) async fn already_taken(tx: &mut Tx, batch: &[&NewMessage]) -> Result<HashSet<MessageId>> {
    let ids: Vec<i64> = batch.iter().map(|m| m.id.get()).collect();
    let rows = tx.all(sql!("SELECT id FROM message WHERE id IN {ids $1}"), args![json!(ids)]).await?;
    rows.iter().map(|row| Ok(MessageId(row.int("id")?))).collect()
}

fn delivery_row(message: &NewMessage, r: &Recipient, digest: &[u8; 32]) -> serde_json::Value {
    json!({
        "i": r.delivery.get(), "w": message.workspace.get(), "m": message.id.get(), "c": r.contact.map(ContactId::get),
        "v": message.version.map(VersionId::get), "b": r.mailbox, "bn": r.mailbox_norm, "d": r.domain,
        "h": hex(digest), "s": message.stream.as_str(), "t": TrackingMode::None.as_str(), "x": message.max_attempts,
        "l": message.tls.map(TlsWish::as_str),
    })
}

async fn complete_answer(tx: &mut Tx, message: &NewMessage) -> Result<()> {
    let Some(answer) = &message.answer else { return Ok(()) };
    let done = tx
        .execute(
            sql!(
                "UPDATE idempotency SET status = $3, body = $4 WHERE workspace_id = $1 AND key = $2 AND status IS NULL"
            ),
            args![message.workspace, answer.key.as_str(), answer.status, answer.body.as_slice()],
        )
        .await?;
    if done == 0 {
        return Err(StoreError::conflict("the Idempotency-Key was completed by another request: ask again with it"));
    }
    Ok(())
}

/// Lowercase hexadecimal, the form in which bytes travel inside JSON parameters.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// The bytes of a single message are kept so long at least, milliseconds.
const BODY_MS: i64 = 86_400_000;

impl Store {
    /// Deletes the bytes of messages that are a day old and of which no delivery is waiting, looking at `slice` at a time; how many.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_bodies(&self, slice: u32) -> Result<u64> {
        // Ids tell the time, so the young ones are not even looked at.
        let (mut after, until) = (0, crate::id_maker::lowest_at(self.now() - BODY_MS));
        let mut gone = 0;
        loop {
            let rows = self
                .read()
                .await?
                .all(
                    sql!(
                        "SELECT b.message_id, (SELECT count(*) FROM delivery d WHERE d.message_id = b.message_id AND d.outcome IS NULL) \
                         AS waiting FROM body b WHERE b.message_id > $1 AND b.message_id < $2 ORDER BY b.message_id LIMIT $3"
                    ),
                    args![after, until, slice],
                )
                .await?;
            let Some(last) = rows.last() else { return Ok(gone) };
            after = last.int("message_id")?;
            let mut done = Vec::new();
            for row in &rows {
                if row.int("waiting")? == 0 {
                    done.push(row.int("message_id")?);
                }
            }
            if !done.is_empty() {
                let mut tx = self.begin(Lane::Bulk).await?;
                // What has an outcome keeps it: nothing comes to wait again in between.
                gone += tx.execute(sql!("DELETE FROM body WHERE message_id IN {ids $1}"), args![json!(done)]).await?;
                tx.commit().await?;
            }
        }
    }

    /// A new id for a message.
    pub fn new_message_id(&self) -> MessageId {
        MessageId(self.next_id())
    }

    /// A new id for a delivery.
    pub fn new_delivery_id(&self) -> DeliveryId {
        DeliveryId(self.next_id())
    }

    /// The bytes of a single message.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is gone or belongs to another workspace.
    pub async fn message_bytes(&self, workspace: WorkspaceId, message: MessageId) -> Result<Vec<u8>> {
        self.read()
            .await?
            .opt(
                sql!(
                    "SELECT b.bytes FROM body b JOIN message m ON m.id = b.message_id WHERE m.workspace_id = $1 AND m.id = $2"
                ),
                args![workspace, message],
            )
            .await?
            .ok_or(StoreError::NotFound { what: "message" })?
            .bytes("bytes")
    }

    /// A single message without its bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is gone or belongs to another workspace.
    pub async fn message(&self, workspace: WorkspaceId, message: MessageId) -> Result<StoredMessage> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, stream, from_mailbox, subject, created_at, test_of FROM message \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, message],
            )
            .await?
            .ok_or(StoreError::NotFound { what: "message" })?;
        Ok(StoredMessage {
            id: message,
            workspace,
            stream: word(&row, "stream", Stream::parse)?,
            from_mailbox: row.text("from_mailbox")?,
            subject: row.text("subject")?,
            created_at: row.int("created_at")?,
            test_of: row.int_opt("test_of")?.map(CampaignId),
        })
    }
}
