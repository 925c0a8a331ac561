//! Credentials of the relay: what an application hands its mail to us with, and what was refused.
//!
//! Must not know SMTP: the engine's listeners ask the store.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::{CredentialId, RelayNoteId, RouteId};
use postrider_domain::relay::{CredentialKind, CredentialSettings, RecipientMode, RefusedFor};
use postrider_domain::stream::Stream;
use postrider_fetch::Cidr;
use postrider_store::credential::Credential;
use postrider_store::relay_message::DeliveryType;
use postrider_store::relay_note::RelayNote;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::{Listed, listing, paging, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let admin = Rule::Scope(Scope::Admin);
    let example = json!({ "name": "shop", "from_domains": ["example.org"], "per_second": 20 });
    api.add(
        Method::GET,
        "/api/v1/relay/credentials",
        admin,
        Op::new("relay", "list_credentials", "The credentials of applications, revoked ones included")
            .gives_list::<CredentialView>("The credentials, newest first; never a password."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/relay/credentials",
        admin,
        Op::new("relay", "create_credential", "Make a credential for an application")
            .about(
                "With a password (the default), or for an address alone, which must then name its networks and From domains. \
                 The password is shown in this answer only.",
            )
            .takes::<CredentialInput>(example.clone())
            .gives::<NewCredential>(201, "The credential and its password.")
            .retry(Retry::Replay),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/relay/credentials/{credential}",
        admin,
        Op::new("relay", "get_credential", "One credential").gives::<CredentialView>(200, "The credential."),
        get,
    );
    api.add(
        Method::PUT,
        "/api/v1/relay/credentials/{credential}",
        admin,
        Op::new("relay", "change_credential", "Change what a credential may do")
            .about("Replaces all settings. Counts for the next message; `rev` is the one that was seen.")
            .takes::<CredentialInput>(
                json!({ "rev": 1, "name": "shop", "from_domains": ["example.org"], "per_second": 20 }),
            )
            .gives::<CredentialView>(200, "The credential as it is now."),
        change,
    );
    api.add(
        Method::POST,
        "/api/v1/relay/credentials/{credential}/password",
        admin,
        Op::new("relay", "renew_password", "Give a credential another password")
            .about("The one before stops at once. The new one is shown in this answer only.")
            .gives::<PasswordView>(200, "The password.")
            .retry(Retry::Replay),
        renew,
    );
    api.add(
        Method::DELETE,
        "/api/v1/relay/credentials/{credential}",
        admin,
        Op::new("relay", "revoke_credential", "Revoke a credential at once")
            .about("What waits of it is held; release or cancel it at /api/v1/queue.")
            .gives::<Revoked>(200, "How many deliveries are held."),
        revoke,
    );
    api.add(
        Method::GET,
        "/api/v1/relay/types",
        Rule::Scope(Scope::CampaignsRead),
        Op::new("relay", "list_delivery_types", "The kinds of messages that applications named")
            .gives_list::<TypeView>("The kinds, by number."),
        types,
    );
    api.add(
        Method::GET,
        "/api/v1/relay/refusals",
        admin,
        Op::new("relay", "list_refusals", "What the relay refused or ignored, newest first")
            .about("The same thing again within an hour only counts. `strangers=true` adds clients that nobody knows.")
            .query::<NotesQuery>()
            .gives_page::<NoteView>("Newest first."),
        notes,
    );
}

/// The settings of a credential.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CredentialInput {
    /// Only when it is made: `password` (default), or `address`, the client's address alone.
    #[schema(value_type = Option<s::CredentialKind>)]
    kind: Option<CredentialKind>,
    /// Only when it is changed: the `rev` that was seen.
    rev: Option<i64>,
    /// A name for people.
    name: String,
    /// Networks that it may come from, such as `192.0.2.0/24`; with a password none means from anywhere.
    #[serde(default)]
    networks: Vec<String>,
    /// From domains that it may use; none means each sending domain of the workspace.
    #[serde(default)]
    from_domains: Vec<String>,
    /// Several recipients: `split` into deliveries (default), or `strict`, one a message.
    #[schema(value_type = Option<s::RecipientMode>)]
    recipients: Option<RecipientMode>,
    /// Most recipients of one message; 100 when not given.
    most_recipients: Option<u32>,
    /// Messages a second, 0 for no limit; 4 when not given.
    per_second: Option<u32>,
    /// Messages an hour, 0 for no limit (default): a guard against a hijacked application.
    #[serde(default)]
    per_hour: u32,
    /// Connections at once from one client network; 8 when not given.
    connections: Option<u32>,
    /// The route by which its mail leaves; the workspace's default one when not given.
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// Whether hidden inputs in the HTML part count as special headers (docs/relay-headers.md).
    #[serde(default)]
    html_inputs: bool,
}

impl CredentialInput {
    fn read(self) -> Result<CredentialSettings, Problem> {
        let usual = CredentialSettings::default();
        for network in &self.networks {
            network.parse::<Cidr>().map_err(|_| {
                Problem::refused(format!("`{network}` in `networks` is no network: write 192.0.2.1 or 192.0.2.0/24"))
            })?;
        }
        Ok(CredentialSettings {
            name: self.name,
            networks: self.networks,
            from_domains: self.from_domains,
            recipients: self.recipients.unwrap_or(usual.recipients),
            most_recipients: self.most_recipients.unwrap_or(usual.most_recipients),
            per_second: self.per_second.unwrap_or(usual.per_second),
            per_hour: self.per_hour,
            connections: self.connections.unwrap_or(usual.connections),
            route: self.route,
            html_inputs: self.html_inputs,
        })
    }
}

/// A credential without its password.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct CredentialView {
    /// Its id.
    #[schema(value_type = s::CredentialId)]
    id: CredentialId,
    /// How its client shows who it is.
    #[schema(value_type = s::CredentialKind)]
    kind: CredentialKind,
    /// The user name.
    username: Option<String>,
    /// A name for people.
    name: String,
    /// Networks that it may come from.
    networks: Vec<String>,
    /// From domains that it may use; empty for each sending domain.
    from_domains: Vec<String>,
    /// What happens with several recipients.
    #[schema(value_type = s::RecipientMode)]
    recipients: RecipientMode,
    /// Most recipients of one message.
    most_recipients: u32,
    /// Messages a second; 0 for no limit.
    per_second: u32,
    /// Messages an hour; 0 for no limit.
    per_hour: u32,
    /// Connections at once from one client network.
    connections: u32,
    /// The route by which its mail leaves.
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// Whether hidden inputs count.
    html_inputs: bool,
    /// Grows with each change.
    rev: i64,
    /// When it was made.
    created_at: Time,
    /// When it was revoked.
    revoked_at: Option<Time>,
    /// When its first message was taken.
    first_message_at: Option<Time>,
    /// When it was used last, to the minute.
    last_used_at: Option<Time>,
}

impl From<Credential> for CredentialView {
    fn from(c: Credential) -> CredentialView {
        let set = c.settings;
        CredentialView {
            id: c.id,
            kind: c.kind,
            username: c.username,
            name: set.name,
            networks: set.networks,
            from_domains: set.from_domains,
            recipients: set.recipients,
            most_recipients: set.most_recipients,
            per_second: set.per_second,
            per_hour: set.per_hour,
            connections: set.connections,
            route: set.route,
            html_inputs: set.html_inputs,
            rev: c.rev,
            created_at: Time(c.created_at),
            revoked_at: c.revoked_at.map(Time),
            first_message_at: c.first_message_at.map(Time),
            last_used_at: c.last_used_at.map(Time),
        }
    }
}

/// A new credential with its password.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct NewCredential {
    #[serde(flatten)]
    credential: CredentialView,
    /// The password: nobody can read it again. None for an address alone.
    password: Option<String>,
}

/// A password.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct PasswordView {
    /// The password: nobody can read it again.
    password: String,
}

/// What a revocation did.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct Revoked {
    /// Deliveries that are held now.
    held: u64,
}

/// A kind of messages.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct TypeView {
    /// Its number, from 1.
    number: i64,
    /// Its label; the first one that came stays.
    label: Option<String>,
    /// Its stream.
    #[schema(value_type = s::Stream)]
    stream: Stream,
    /// When its first message came.
    created_at: Time,
}

impl From<DeliveryType> for TypeView {
    fn from(t: DeliveryType) -> TypeView {
        TypeView { number: t.number, label: t.label, stream: t.stream, created_at: Time(t.created_at) }
    }
}

/// Which notes.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct NotesQuery {
    /// Adds clients that nobody knows.
    #[serde(default)]
    strangers: bool,
    #[param(ignore)]
    limit: Option<u32>,
    #[param(ignore)]
    cursor: Option<String>,
}

/// Something that was refused or ignored.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct NoteView {
    /// Its id.
    #[schema(value_type = s::RelayNoteId)]
    id: RelayNoteId,
    /// By which credential.
    #[schema(value_type = Option<s::CredentialId>)]
    credential: Option<CredentialId>,
    /// Why.
    #[schema(value_type = s::RefusedFor)]
    reason: RefusedFor,
    /// The client's address.
    client: String,
    /// What it was about.
    detail: String,
    /// What the client was told.
    reply: String,
    /// When it was seen first.
    first_at: Time,
    /// And last.
    last_at: Time,
    /// How often.
    count: i64,
}

impl From<RelayNote> for NoteView {
    fn from(n: RelayNote) -> NoteView {
        NoteView {
            id: n.id,
            credential: n.note.credential,
            reason: n.note.reason,
            client: n.note.client,
            detail: n.note.detail,
            reply: n.note.reply,
            first_at: Time(n.first_at),
            last_at: Time(n.last_at),
            count: n.count,
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<CredentialView> {
    Ok(whole(web.store().credentials(caller.workspace).await?))
}

async fn create(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<CredentialInput>,
) -> Result<Response, Problem> {
    let kind = input.kind.unwrap_or(CredentialKind::Password);
    let settings = input.read()?;
    let (credential, secret) = web.store().create_credential(caller.workspace, &caller.actor, kind, settings).await?;
    let password = secret.map(|secret| secret.reveal().to_owned());
    let answer = NewCredential { credential: credential.into(), password };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CredentialId>,
) -> Result<axum::Json<CredentialView>, Problem> {
    Ok(axum::Json(web.store().credential(caller.workspace, id).await?.into()))
}

async fn change(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CredentialId>,
    Json(input): Json<CredentialInput>,
) -> Result<axum::Json<CredentialView>, Problem> {
    let rev = input.rev.ok_or_else(|| Problem::refused("name in `rev` the one that you saw"))?;
    if input.kind.is_some() {
        return Err(Problem::refused("leave `kind` out: it stays as it was made"));
    }
    let settings = input.read()?;
    let changed = web.store().put_credential(caller.workspace, &caller.actor, id, rev, settings).await?;
    Ok(axum::Json(changed.into()))
}

async fn renew(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CredentialId>,
) -> Result<axum::Json<PasswordView>, Problem> {
    let secret = web.store().renew_password(caller.workspace, &caller.actor, id).await?;
    Ok(axum::Json(PasswordView { password: secret.reveal().to_owned() }))
}

async fn revoke(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<CredentialId>,
) -> Result<axum::Json<Revoked>, Problem> {
    let held = web.store().revoke_credential(caller.workspace, &caller.actor, id).await?;
    Ok(axum::Json(Revoked { held }))
}

async fn types(State(web): State<Web>, caller: Caller) -> Listed<TypeView> {
    Ok(whole(web.store().delivery_types(caller.workspace).await?))
}

async fn notes(State(web): State<Web>, caller: Caller, Query(query): Query<NotesQuery>) -> Listed<NoteView> {
    let request = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().relay_notes(caller.workspace, query.strangers, &request).await?))
}
