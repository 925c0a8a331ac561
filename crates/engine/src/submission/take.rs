//! From the bytes that a client sent to the message that is kept, durably, with one delivery for each recipient.
//!
//! Who may write in whose name is decided here; what the header says is read by `postrider_mail::relay`.

use std::net::IpAddr;
use std::sync::Arc;

use postrider_domain::id::MessageId;
use postrider_domain::relay::RefusedFor;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::{Stream, TlsWish};
use postrider_mail::command::{MailParams, Notify, RcptParams, Return};
use postrider_mail::mailbox::{DomainName, Mailbox};
use postrider_mail::message_id;
use postrider_mail::relay::{
    Additions, BodyForm, HeaderForm, HtmlInputs, Incoming, NewDeliveryType, OwnListFields, ReadRules, ReceivedFacts,
    StreamWish, With, read, received, rewrite,
};
use postrider_store::StoreError;
use postrider_store::message::{NewMessage, Recipient};
use postrider_store::relay_message::{RecipientFacts, RelayFacts};

use super::desk::{Desk, Known};

/// What a client handed over.
pub(super) struct Arrived<'a> {
    pub(super) client: IpAddr,
    pub(super) helo: &'a str,
    pub(super) with: With,
    /// Who may be sending it; several when an address is all that is known.
    pub(super) known: &'a [Arc<Known>],
    pub(super) reverse_path: Option<&'a Mailbox>,
    pub(super) params: &'a MailParams,
    pub(super) recipients: &'a [(Mailbox, RcptParams)],
    pub(super) bytes: Vec<u8>,
    pub(super) size: u64,
}

/// What became of it.
pub(super) enum Taken {
    /// It is durable.
    Kept {
        id: MessageId,
        known: Arc<Known>,
        /// What in it did not count as written.
        ignored: Vec<String>,
    },
    /// It was not taken.
    Refused { known: Option<Arc<Known>>, reason: RefusedFor, detail: String, reply: String },
}

/// A refusal before it is said.
struct No {
    reason: RefusedFor,
    detail: String,
    reply: String,
}

impl No {
    fn new(reason: RefusedFor, detail: impl Into<String>, reply: impl Into<String>) -> No {
        No { reason, detail: detail.into(), reply: reply.into() }
    }

    /// The database, the disk or the configuration: the client keeps the message and comes back.
    fn ours(error: &StoreError) -> No {
        match error {
            StoreError::Full { .. } => No::new(
                RefusedFor::Ours,
                "the disk is nearly full",
                "452 4.3.1 No room for messages now, try again later",
            ),
            StoreError::Refused { message } => {
                No::new(RefusedFor::Ours, message.clone(), "451 4.3.5 This host is not set up to send this yet")
            }
            error => {
                No::new(RefusedFor::Ours, error.to_string(), "451 4.3.0 Could not keep the message, try again later")
            }
        }
    }
}

impl Desk {
    /// Reads, judges, rewrites and keeps a message.
    pub(super) async fn take(&self, arrived: Arrived<'_>) -> Taken {
        let rules = ReadRules {
            own_hosts: DomainName::parse(&self.name).into_iter().collect(),
            html_inputs: arrived.known.iter().any(|k| k.settings().html_inputs).then(HtmlInputs::default),
            ..ReadRules::default()
        };
        let incoming = match read(&arrived.bytes, &rules) {
            Ok(incoming) => incoming,
            Err(refusal) => {
                let reply = String::from_utf8_lossy(refusal.reply().wire().trim_ascii_end()).into_owned();
                return Taken::Refused { known: None, reason: RefusedFor::Message, detail: refusal.to_string(), reply };
            }
        };
        if let Some(no) = beyond_us(&incoming) {
            return Taken::Refused { known: None, reason: no.reason, detail: no.detail, reply: no.reply };
        }
        let known = match self.author(&arrived, &incoming).await {
            Ok(known) => known,
            Err(no) => return Taken::Refused { known: None, reason: no.reason, detail: no.detail, reply: no.reply },
        };
        match self.keep(&known, &arrived, &incoming).await {
            Ok(id) => Taken::Kept { id, known, ignored: incoming.problems.iter().map(ToString::to_string).collect() },
            Err(no) => Taken::Refused { known: Some(known), reason: no.reason, detail: no.detail, reply: no.reply },
        }
    }

    /// The credential that may write in the name of every author.
    async fn author(&self, arrived: &Arrived<'_>, incoming: &Incoming) -> Result<Arc<Known>, No> {
        let mut why = None;
        'credentials: for known in arrived.known {
            for from in &incoming.from {
                let domain = from.domain().as_str();
                if !known.settings().may_use(domain) {
                    why.get_or_insert_with(|| {
                        let reply = format!("550 5.7.1 The From domain {domain} is not one of this client's");
                        No::new(RefusedFor::FromDomain, domain, reply)
                    });
                    continue 'credentials;
                }
                if !self.signs(known.workspace(), domain).await.map_err(|error| No::ours(&error))? {
                    why.get_or_insert_with(|| {
                        let reply = format!("550 5.7.1 The From domain {domain} is no sending domain here");
                        No::new(RefusedFor::FromDomain, domain, reply)
                    });
                    continue 'credentials;
                }
            }
            return Ok(Arc::clone(known));
        }
        Err(why.unwrap_or_else(|| No::new(RefusedFor::FromDomain, "no author", "550 5.7.1 Nobody may send this")))
    }

    async fn keep(&self, known: &Known, arrived: &Arrived<'_>, incoming: &Incoming) -> Result<MessageId, No> {
        let (shared, settings) = (self.shared(), known.settings());
        let store = &shared.store;
        let site = self.site(known.workspace(), settings.route).await.map_err(|error| No::ours(&error))?;
        let (id, now) = (store.new_message_id(), shared.now());
        let from = &incoming.from[0];
        let made = message_id::message_id(id.get(), from.domain(), &shared.message_id_key);
        let field = self.received(arrived, id, now);
        let rewritten = rewrite(
            &arrived.bytes,
            incoming,
            &Additions {
                received: &field,
                message_id: &made,
                date_ms: now,
                own_list_fields: OwnListFields::Kept,
                body: BodyForm::SevenBit,
                header: HeaderForm::Encoded,
                unsubscribe_url: None,
            },
        );
        if rewritten.needs.is_some() {
            let reply = "554 5.6.3 A signed part, or an address, has bytes beyond ASCII: encode it in seven bits";
            return Err(No::new(RefusedFor::Message, "needs eight bits", reply));
        }
        let recipients: Vec<Recipient> = arrived
            .recipients
            .iter()
            .map(|(mailbox, _)| Recipient {
                delivery: store.new_delivery_id(),
                mailbox: mailbox.wire(),
                mailbox_norm: mailbox.normalised(),
                domain: mailbox.domain().as_str().to_owned(),
                contact: None,
            })
            .collect();
        let facts = relay_facts(known, arrived, incoming, &recipients);
        let policy = RetryPolicy::default_for(Stream::Transactional);
        let tls = match (arrived.params.require_tls, incoming.tls_required_no) {
            (true, _) => Some(TlsWish::Require),
            (false, true) => Some(TlsWish::Optional),
            (false, false) => None,
        };
        let message = NewMessage {
            id,
            workspace: known.workspace(),
            stream: Stream::Transactional,
            from_mailbox: from.wire(),
            subject: incoming.subject.clone(),
            bytes: rewritten.bytes,
            recipients,
            api_key: None,
            test_of: None,
            version: None,
            max_attempts: policy.max_attempts,
            expires_at: Some(now + policy.lifetime_ms),
            site,
            tls,
            answer: None,
            relay: Some(Box::new(facts)),
        };
        shared.writer.accept_message(message).await.map_err(|error| No::ours(&error))?;
        shared.metrics.submitted(Stream::Transactional);
        Ok(id)
    }

    fn received(&self, arrived: &Arrived<'_>, id: MessageId, now: i64) -> String {
        let Ok(by) = DomainName::parse(&self.name) else { return String::new() };
        let only = match arrived.recipients {
            [(mailbox, _)] => Some(mailbox),
            _ => None,
        };
        received(&ReceivedFacts {
            from: arrived.helo,
            from_ip: Some(arrived.client),
            from_name: None,
            by: &by,
            with: arrived.with,
            id: &id.to_string(),
            for_mailbox: only,
            at_ms: now,
        })
    }
}

/// What the message asks for and does not get here: better refused than sent in another way than was meant.
fn beyond_us(incoming: &Incoming) -> Option<No> {
    let special = &incoming.special;
    if special.stream == Some(StreamWish::Marketing) || special.new_delivery_type == Some(NewDeliveryType::Newsletter) {
        let reply = "550 5.7.1 The relay takes transactional mail only: send marketing as a campaign";
        return Some(No::new(RefusedFor::Message, "marketing", reply));
    }
    if special.send_at.is_some() {
        let reply = "554 5.6.0 The relay sends at once: leave Send-At out";
        return Some(No::new(RefusedFor::Message, "Send-At", reply));
    }
    None
}

/// What is kept beside the bytes.
fn relay_facts(known: &Known, arrived: &Arrived<'_>, incoming: &Incoming, recipients: &[Recipient]) -> RelayFacts {
    let special = &incoming.special;
    let said = recipients
        .iter()
        .zip(arrived.recipients)
        .filter(|(_, (_, params))| params.notify.is_some() || params.orcpt.is_some());
    RelayFacts {
        credential: Some(known.id()),
        route: known.settings().route,
        client: arrived.client.to_string(),
        size: arrived.size,
        reverse_path: arrived.reverse_path.map(Mailbox::wire),
        header_id: incoming.message_id.clone(),
        envid: arrived.params.envid.clone(),
        ret: arrived.params.ret.map(|ret| match ret {
            Return::Full => "FULL".to_owned(),
            Return::Headers => "HDRS".to_owned(),
        }),
        delivery_type: special.delivery_type_id,
        label: special.delivery_label.clone(),
        type_stream: special.new_delivery_type.map(|kind| match kind {
            NewDeliveryType::Transactional => Stream::Transactional,
            NewDeliveryType::Newsletter => Stream::Marketing,
        }),
        external_id: special.external_id,
        external_desc: special.external_description.clone(),
        metadata: special.metadata.clone(),
        tags: special.tags.clone(),
        recipients: said
            .map(|(recipient, (_, params))| RecipientFacts {
                delivery: recipient.delivery,
                notify: params.notify.map(notify),
                orcpt: params.orcpt.clone(),
            })
            .collect(),
    }
}

/// NOTIFY as it is written (RFC 3461 4.1).
fn notify(wanted: Notify) -> String {
    match wanted {
        Notify::Never => "NEVER".to_owned(),
        Notify::On(on) => {
            let words = [(on.success, "SUCCESS"), (on.failure, "FAILURE"), (on.delay, "DELAY")];
            let words: Vec<&str> = words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
            words.join(",")
        }
    }
}
