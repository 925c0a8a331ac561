//! What a message of the relay carried beside its bytes: who handed it in, from where, what its special headers said.
//!
//! Written in the transaction that takes the message. Must not know headers or SMTP.

use postrider_domain::id::{CredentialId, DeliveryId, MessageId, RouteId, WorkspaceId};
use postrider_domain::stream::Stream;
use serde_json::{Map, Value, json};

use crate::Store;
use crate::db::Tx;
use crate::error::Result;
use crate::message::NewMessage;
use crate::read::{json_opt, to_json, word};
use crate::sql::{args, sql};

/// The number of messages that name no kind of their own.
pub const PLAIN_TYPE: i64 = 1;

/// What a message carried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayFacts {
    /// By which credential; none by an API key.
    pub credential: Option<CredentialId>,
    /// The route of its lane, when not the workspace's default one.
    pub route: Option<RouteId>,
    /// The client's address, as text.
    pub client: String,
    /// Its size as handed in, bytes.
    pub size: u64,
    /// The reverse-path as handed in; none when it was null.
    pub reverse_path: Option<String>,
    /// Its Message-ID as handed in.
    pub header_id: Option<String>,
    /// ENVID, decoded (RFC 3461 4.4).
    pub envid: Option<String>,
    /// RET: `FULL` or `HDRS`.
    pub ret: Option<String>,
    /// Its kind, for statistics; 0 stands for [`PLAIN_TYPE`].
    pub delivery_type: u32,
    /// The label of the kind; the first one stays.
    pub label: Option<String>,
    /// The stream of a new kind.
    pub type_stream: Option<Stream>,
    /// The application's own number.
    pub external_id: Option<u64>,
    /// The application's own words.
    pub external_desc: Option<String>,
    /// The application's own values.
    pub metadata: Map<String, Value>,
    /// The application's own marks.
    pub tags: Vec<String>,
    /// What RCPT said of single recipients.
    pub recipients: Vec<RecipientFacts>,
}

/// What RCPT said of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientFacts {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// NOTIFY as written.
    pub notify: Option<String>,
    /// ORCPT as written, still in xtext.
    pub orcpt: Option<String>,
}

/// What is kept of a message of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFacts {
    /// By which credential.
    pub credential: Option<CredentialId>,
    /// The client's address.
    pub client: String,
    /// Its size as handed in, bytes.
    pub size: u64,
    /// The reverse-path as handed in.
    pub reverse_path: Option<String>,
    /// Its Message-ID as handed in.
    pub header_id: Option<String>,
    /// ENVID.
    pub envid: Option<String>,
    /// Its kind.
    pub delivery_type: i64,
    /// The label of the kind.
    pub label: Option<String>,
    /// The application's own number.
    pub external_id: Option<String>,
    /// The application's own words.
    pub external_desc: Option<String>,
    /// The application's own values.
    pub metadata: Option<Map<String, Value>>,
    /// The application's own marks.
    pub tags: Option<Vec<String>>,
}

/// A kind of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryType {
    /// Its number, from 1.
    pub number: i64,
    /// Its label.
    pub label: Option<String>,
    /// Its stream.
    pub stream: Stream,
    /// When its first message came, i64 milliseconds UTC.
    pub created_at: i64,
}

/// Writes what a message carried; its row in `message` is there already.
pub(crate) async fn keep(tx: &mut Tx, message: &NewMessage, facts: &RelayFacts, now: i64) -> Result<()> {
    let kind = i64::from(facts.delivery_type).max(PLAIN_TYPE);
    tx.execute(
        sql!(
            "INSERT INTO relay_message (message_id, workspace_id, credential_id, client, size, reverse_path, header_id, \
             envid, ret, delivery_type, external_id, external_desc, metadata, tags) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        ),
        args![
            message.id,
            message.workspace,
            facts.credential,
            facts.client.as_str(),
            i64::try_from(facts.size).unwrap_or(i64::MAX),
            facts.reverse_path.as_deref(),
            facts.header_id.as_deref(),
            facts.envid.as_deref(),
            facts.ret.as_deref(),
            kind,
            facts.external_id.map(|id| id.to_string()),
            facts.external_desc.as_deref(),
            (!facts.metadata.is_empty()).then(|| to_json(&facts.metadata)),
            (!facts.tags.is_empty()).then(|| to_json(&facts.tags))
        ],
    )
    .await?;
    if kind != PLAIN_TYPE || facts.label.is_some() {
        let stream = facts.type_stream.unwrap_or(message.stream);
        tx.execute(
            sql!(
                "INSERT INTO delivery_type (workspace_id, number, label, stream, created_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (workspace_id, number) DO UPDATE SET label = coalesce(delivery_type.label, excluded.label)"
            ),
            args![message.workspace, kind, facts.label.as_deref(), stream.as_str(), now],
        )
        .await?;
    }
    if !facts.recipients.is_empty() {
        let rows: Vec<Value> =
            facts.recipients.iter().map(|r| json!({ "d": r.delivery.get(), "n": r.notify, "o": r.orcpt })).collect();
        tx.execute(
            sql!(
                "INSERT INTO relay_recipient (delivery_id, message_id, notify, orcpt) \
                 SELECT r.d, $2, r.n, r.o FROM {rows $1 (d bigint, n text, o text)} r"
            ),
            args![Value::Array(rows), message.id],
        )
        .await?;
    }
    Ok(())
}

impl Store {
    /// What a message carried; `None` when it was not handed in by an application.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn relay_facts(&self, workspace: WorkspaceId, message: MessageId) -> Result<Option<KeptFacts>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT m.credential_id, m.client, m.size, m.reverse_path, m.header_id, m.envid, m.delivery_type, t.label, \
                     m.external_id, m.external_desc, m.metadata, m.tags FROM relay_message m \
                     LEFT JOIN delivery_type t ON t.workspace_id = m.workspace_id AND t.number = m.delivery_type \
                     WHERE m.workspace_id = $1 AND m.message_id = $2"
                ),
                args![workspace, message],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(KeptFacts {
            credential: row.int_opt("credential_id")?.map(CredentialId),
            client: row.text("client")?,
            size: u64::try_from(row.int("size")?).unwrap_or(0),
            reverse_path: row.text_opt("reverse_path")?,
            header_id: row.text_opt("header_id")?,
            envid: row.text_opt("envid")?,
            delivery_type: row.int("delivery_type")?,
            label: row.text_opt("label")?,
            external_id: row.text_opt("external_id")?,
            external_desc: row.text_opt("external_desc")?,
            metadata: json_opt(&row, "metadata")?,
            tags: json_opt(&row, "tags")?,
        }))
    }

    /// The kinds of messages of a workspace, by number; at most 1,000.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn delivery_types(&self, workspace: WorkspaceId) -> Result<Vec<DeliveryType>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT number, label, stream, created_at FROM delivery_type WHERE workspace_id = $1 \
                     ORDER BY number LIMIT 1000"
                ),
                args![workspace],
            )
            .await?
            .iter()
            .map(|row| {
                Ok(DeliveryType {
                    number: row.int("number")?,
                    label: row.text_opt("label")?,
                    stream: word(row, "stream", Stream::parse)?,
                    created_at: row.int("created_at")?,
                })
            })
            .collect()
    }
}
