//! Single messages: taken durably before 202 is said, then they go the way of every delivery, before campaigns.

use axum::Extension;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_content::{SingleMessage, compose_single};
use postrider_domain::access::Scope;
use postrider_domain::id::{CampaignId, CredentialId, DeliveryId, MessageId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::stream::{Stream, TlsWish};
use postrider_mail::message_id;
use postrider_mail::tls_required::{TLS_REQUIRED_NO, asks_no_tls};
use postrider_store::KeyPurpose;
use postrider_store::access::Who;
use postrider_store::message::{NewMessage, StoredAnswer};
use postrider_store::page::PageRequest;
use postrider_store::relay_message::KeptFacts;
use postrider_store::report::DeliveriesOf;
use serde_json::{Map, Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::{Caller, Known};
use crate::idempotency::{Completed, Key};
use crate::input::{Json, Path};
use crate::launch::{accept, recipient, site};
use crate::problem::Problem;
use crate::resource::contact::mailbox;
use crate::resource::delivery::DeliveryView;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Most recipients of one message.
const MOST: usize = 50;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::POST,
        "/api/v1/messages",
        Rule::Scope(Scope::Send),
        Op::new("messages", "send_message", "Send one transactional message")
            .about("For answers to what one person did. 202 says that it is stored durably and will be sent. The From domain must be a sending domain.")
            .takes::<MessageInput>(json!({
                "from": "orders@example.org", "from_name": "Bakery", "to": ["anna@example.net"],
                "subject": "Your order", "text": "It is on its way."
            }))
            .gives::<MessageAnswer>(202, "Taken.")
            .retry(Retry::Replay),
        send,
    );
    api.add(
        Method::GET,
        "/api/v1/messages/{message}",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("messages", "get_message", "One message and how it fares").gives::<MessageView>(200, "The message."),
        get,
    );
}

/// A message to be sent.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct MessageInput {
    /// From mailbox; its domain must be a sending domain of the workspace.
    from: String,
    /// From display name.
    #[serde(default)]
    from_name: String,
    /// 1 to 50 recipients; each sees the others.
    to: Vec<String>,
    /// Reply-To mailbox.
    reply_to: Option<String>,
    /// Subject.
    subject: String,
    /// Text part; derived from the HTML when not given.
    text: Option<String>,
    /// HTML part.
    html: Option<String>,
    /// `true`: REQUIRETLS (RFC 8689), so that it goes only where every host proves itself and promises the same, else it
    /// fails with 5.7.30. `false`: `TLS-Required: No`, so that no policy of a recipient's domain holds it up. Not given:
    /// as the policies of the recipients' domains say.
    require_tls: Option<bool>,
}

/// A recipient's delivery.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct Taken {
    /// The delivery.
    #[schema(value_type = s::DeliveryId)]
    id: DeliveryId,
    /// The recipient.
    mailbox: String,
}

/// A message that was taken.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct MessageAnswer {
    /// Its id.
    #[schema(value_type = s::MessageId)]
    id: MessageId,
    /// One delivery for each recipient.
    deliveries: Vec<Taken>,
}

/// A message and how it fares.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct MessageView {
    /// Its id.
    #[schema(value_type = s::MessageId)]
    id: MessageId,
    /// Its stream.
    #[schema(value_type = s::Stream)]
    stream: Stream,
    /// From mailbox.
    from: String,
    /// Subject.
    subject: String,
    /// When it was taken.
    created_at: Time,
    /// The campaign of which it is a test.
    #[schema(value_type = Option<s::CampaignId>)]
    test_of: Option<CampaignId>,
    /// What it carried, when an application handed it in by SMTP.
    relay: Option<RelayView>,
    /// Its deliveries.
    deliveries: Vec<DeliveryView>,
}

/// What a message of the relay carried beside its bytes.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RelayView {
    /// The credential that handed it in.
    #[schema(value_type = Option<s::CredentialId>)]
    credential: Option<CredentialId>,
    /// The client's address.
    client: String,
    /// Its size as handed in, bytes.
    size: u64,
    /// The reverse-path as handed in; ours leaves in its place.
    reverse_path: Option<String>,
    /// Its Message-ID as handed in.
    header_id: Option<String>,
    /// ENVID (RFC 3461).
    envid: Option<String>,
    /// The number of its kind; 1 when it named none.
    delivery_type: i64,
    /// The label of the kind.
    label: Option<String>,
    /// The application's own number.
    external_id: Option<String>,
    /// The application's own words.
    external_description: Option<String>,
    /// The application's own values.
    metadata: Option<Map<String, Value>>,
    /// The application's own marks.
    tags: Option<Vec<String>>,
}

impl From<KeptFacts> for RelayView {
    fn from(f: KeptFacts) -> RelayView {
        RelayView {
            credential: f.credential,
            client: f.client,
            size: f.size,
            reverse_path: f.reverse_path,
            header_id: f.header_id,
            envid: f.envid,
            delivery_type: f.delivery_type,
            label: f.label,
            external_id: f.external_id,
            external_description: f.external_desc,
            metadata: f.metadata,
            tags: f.tags,
        }
    }
}

async fn send(
    State(web): State<Web>,
    caller: Caller,
    key: Option<Extension<Key>>,
    Json(input): Json<MessageInput>,
) -> Result<Response, Problem> {
    if input.to.is_empty() || input.to.len() > MOST {
        return Err(Problem::refused(format!("name 1 to {MOST} mailboxes in `to`")));
    }
    let from = mailbox(&input.from)?;
    let to = input.to.iter().map(|text| mailbox(text)).collect::<Result<Vec<_>, _>>()?;
    for (at, one) in to.iter().enumerate() {
        if to[..at].iter().any(|other| other.normalised() == one.normalised()) {
            return Err(Problem::refused("`to` names a mailbox twice: name each once"));
        }
    }
    let reply_to = input.reply_to.as_deref().filter(|t| !t.trim().is_empty()).map(mailbox).transpose()?;
    let store = web.store();
    if store.signing_key(caller.workspace, from.domain().as_str()).await?.is_none() {
        return Err(Problem::refused(
            "the From domain is not a sending domain of this workspace: add it at POST /api/v1/domains",
        ));
    }
    let site = site(&web, &caller, None).await?;
    let id = store.new_message_id();
    let secret = store.derived_key(KeyPurpose::MessageId);
    let now = web.now();
    let bytes = compose_single(&SingleMessage {
        from_name: &input.from_name,
        from: &from,
        to: &to,
        reply_to: reply_to.as_ref(),
        subject: &input.subject,
        text: input.text.as_deref(),
        html: input.html.as_deref(),
        message_id: &message_id::message_id(id.get(), from.domain(), &secret),
        date_ms: now,
        number: id.get(),
    })
    .map_err(|error| Problem::refused(format!("could not make the message: {error}")))?;
    let bytes = match input.require_tls {
        Some(false) => [TLS_REQUIRED_NO.as_bytes(), &bytes].concat(),
        Some(true) | None => bytes,
    };
    let tls = match input.require_tls {
        Some(true) => Some(TlsWish::Require),
        Some(false) | None => asks_no_tls(&bytes).then_some(TlsWish::Optional),
    };
    let recipients: Vec<_> = to.iter().map(|mailbox| recipient(&web, mailbox)).collect();
    let deliveries = recipients.iter().map(|r| Taken { id: r.delivery, mailbox: r.mailbox.clone() }).collect();
    let body = serde_json::to_vec(&MessageAnswer { id, deliveries }).map_err(|_| Problem::internal())?;
    let policy = RetryPolicy::default_for(Stream::Transactional);
    let answer = key.as_ref().map(|key| StoredAnswer {
        key: key.0.0.clone(),
        status: StatusCode::ACCEPTED.as_u16(),
        body: body.clone(),
    });
    let completed = answer.is_some();
    let api_key = match &caller.known {
        Known::Local => None,
        Known::Identity(identity) => match identity.who {
            Who::Key(key) => Some(key),
            Who::Account(_) => None,
        },
    };
    accept(
        &web,
        NewMessage {
            id,
            workspace: caller.workspace,
            stream: Stream::Transactional,
            from_mailbox: from.wire(),
            subject: input.subject,
            bytes,
            recipients,
            api_key,
            test_of: None,
            version: None,
            max_attempts: policy.max_attempts,
            expires_at: Some(now + policy.lifetime_ms),
            site,
            tls,
            answer,
            relay: None,
        },
    )
    .await?;
    let mut response = (StatusCode::ACCEPTED, [("content-type", "application/json")], body).into_response();
    if completed {
        response.extensions_mut().insert(Completed);
    }
    Ok(response)
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<MessageId>,
) -> Result<axum::Json<MessageView>, Problem> {
    let message = web.store().message(caller.workspace, id).await?;
    let page = web.store().deliveries(caller.workspace, DeliveriesOf::Message(id), &PageRequest::first(500)).await?;
    let relay = web.store().relay_facts(caller.workspace, id).await?.map(RelayView::from);
    Ok(axum::Json(MessageView {
        relay,
        id,
        stream: message.stream,
        from: message.from_mailbox,
        subject: message.subject,
        created_at: Time(message.created_at),
        test_of: message.test_of,
        deliveries: page.items.into_iter().map(DeliveryView::from).collect(),
    }))
}
