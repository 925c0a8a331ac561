//! The steps `render` and `sign`: from a queue row to the bytes that go out. The same row gives the same bytes at each try.
//!
//! Pure: runs on the threads of the workshop. Must not know sockets or SQL.

use std::sync::Arc;

use postrider_content::{ListFacts, MessageFacts, RecipientView, RenderError};
use postrider_domain::id::DkimKeyId;
use postrider_mail::mailbox::Mailbox;
use postrider_mail::token::{HostedToken, LinkKey, MailtoToken, OptOutToken, ReturnPathToken};
use postrider_mail::{message_id, stuffing};
use postrider_smtp::Envelope;
use postrider_store::lane::QueueRow;

use crate::book::{Identity, Office, Text};
use crate::config::Signing;
use crate::plan::Plan;

const DAY_MS: i64 = 86_400_000;

/// Everything that a message is made from.
pub(crate) struct Order {
    pub(crate) row: QueueRow,
    pub(crate) plan: Arc<Plan>,
    pub(crate) office: Arc<Office>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) text: Text,
    /// Time of the first try: Date, `t=` and the day of the return-path.
    pub(crate) first_try_at: i64,
    pub(crate) message_id_key: [u8; 32],
    pub(crate) signing: Signing,
}

/// A message that can go out.
pub(crate) struct Ready {
    /// As DATA carries it, the final dot included.
    pub(crate) stuffed: Vec<u8>,
    pub(crate) envelope: Envelope,
    pub(crate) first_try_at: i64,
    pub(crate) dkim_key: Option<DkimKeyId>,
    pub(crate) link_key: u8,
}

/// Why no message can be made for this recipient; reads after "could not make the message".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unmakable {
    #[error("the mailbox cannot be used: {0}")]
    Mailbox(postrider_mail::MailboxError),
    #[error("{0}")]
    Render(#[from] RenderError),
    #[error("{0}")]
    Sign(#[from] postrider_mail::dkim::DkimError),
    #[error("{0}")]
    Stuff(#[from] postrider_mail::stuffing::StuffError),
    #[error("the campaign has no purpose for its unsubscribe links")]
    NoPurpose,
}

/// Makes the message: render, sign, stuff.
pub(crate) fn make(order: &Order) -> Result<Ready, Unmakable> {
    let recipient = Mailbox::parse(&order.row.mailbox).map_err(Unmakable::Mailbox)?;
    let keys = &order.office.link_keys;
    let link = order.row.link_key.and_then(|id| keys.find(id)).unwrap_or(&keys.current);
    let unsigned = match &order.text {
        Text::Version { .. } => render(order, &recipient, link)?,
        Text::Whole { bytes, .. } => bytes.as_ref().clone(),
    };
    let mut envelope = Envelope {
        reverse_path: Some(return_path(order, link)?),
        forward_path: recipient,
        size: 0,
        smtputf8: false,
        require_tls: false,
    };
    let (message, dkim_key) = match order.signing {
        // The relay rewrites what a signature of ours would cover.
        Signing::On if !order.plan.route.settings.signing.is_ours() => (unsigned, None),
        Signing::On => (sign(order, unsigned, &envelope)?, Some(order.identity.key)),
        Signing::OffForMeasurements => (unsigned, None),
    };
    envelope.size = message.len() as u64;
    // Few lines begin with a dot: the copy seldom has to grow.
    let mut stuffed = Vec::with_capacity(message.len() + message.len() / 64 + 64);
    stuffing::stuff(&message, &mut stuffed)?;
    Ok(Ready { stuffed, envelope, first_try_at: order.first_try_at, dkim_key, link_key: link.id() })
}

/// The message with its signature in front. The one place where signatures are made: at the attempt, for one recipient, with
/// what MAIL and RCPT will say (docs/decisions/0012). The row keeps key and time, so a retry makes the same bytes.
fn sign(order: &Order, message: Vec<u8>, _envelope: &Envelope) -> Result<Vec<u8>, Unmakable> {
    // DKIM (RFC 6376) covers the message alone; DKIM2 will cover the envelope, too.
    let mut signed = order.identity.signer.sign(&message, order.first_try_at)?;
    signed.extend_from_slice(&message);
    Ok(signed)
}

/// The reverse-path of a delivery: a signed token at the domain's return-path host (RFC 5321 4.4).
fn return_path(order: &Order, link: &LinkKey) -> Result<Mailbox, Unmakable> {
    let day = u16::try_from(order.first_try_at.max(0) / DAY_MS).unwrap_or(u16::MAX);
    let local = ReturnPathToken { delivery: order.row.delivery.get(), day }.encode(link);
    Mailbox::from_parts(&local, order.identity.return_path_host.clone()).map_err(Unmakable::Mailbox)
}

fn render(order: &Order, recipient: &Mailbox, link: &LinkKey) -> Result<Vec<u8>, Unmakable> {
    let Text::Version { prepared, purpose } = &order.text else { return Ok(Vec::new()) };
    let purpose = purpose.ok_or(Unmakable::NoPurpose)?;
    let (row, office) = (&order.row, &order.office);
    let (workspace, delivery) = (row.workspace.get(), row.delivery.get());
    // A test send may go to somebody who is no contact: its links lead to the page and change nothing.
    let contact = row.contact.map_or(0, |contact| contact.get());
    let purpose_id = purpose.get();
    let token = OptOutToken { workspace, contact, purpose: purpose_id, delivery }.encode(link);
    let unsubscribe_url = format!("{}/u/{token}", office.public_url);
    let preferences_url = format!("{}/p/{token}", office.public_url);
    let hosted_url = office.hosted_copies.then(|| {
        let token = HostedToken { workspace, contact, purpose: purpose_id, delivery }.encode(link);
        format!("{}/h/{token}", office.public_url)
    });
    let from_domain = prepared.compiled().from_mailbox().domain();
    let message_id = message_id::message_id(delivery, from_domain, &order.message_id_key);
    // Stable for a purpose, whatever the campaign (RFC 2919 2).
    let list_id = format!("{}.list.{from_domain}", postrider_domain::id::letters(purpose_id));
    let unsubscribe_mailbox = format!("{}@{}", MailtoToken { delivery }.encode(link), order.identity.return_path_host);
    let feedback_id = match row.campaign {
        Some(campaign) => format!("{campaign}:{}:{}:postrider", row.workspace, order.plan.stream),
        None => format!("test:{}:{}:postrider", row.workspace, order.plan.stream),
    };
    let empty = serde_json::Map::new();
    let view = RecipientView {
        mailbox: recipient,
        vars: row.vars.as_ref().unwrap_or(&empty),
        unsubscribe_url: &unsubscribe_url,
        preferences_url: &preferences_url,
        hosted_url: hosted_url.as_deref(),
    };
    let facts = MessageFacts {
        delivery: row.delivery,
        message_id: &message_id,
        date_ms: order.first_try_at,
        list: Some(ListFacts {
            list_id: &list_id,
            unsubscribe_url: &unsubscribe_url,
            unsubscribe_mailbox: &unsubscribe_mailbox,
            feedback_id: &feedback_id,
        }),
    };
    let mut out = Vec::new();
    prepared.render(&view, &facts, &mut out)?;
    Ok(out)
}
