//! Log-in and log-out of people. The token lives in one cookie and nowhere else (SEC-35, SEC-81).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::{AccountId, ApiKeyId, WorkspaceId};
use postrider_store::access::Who;
use postrider_store::account::{KeysThen, LogIn};
use postrider_store::session::{NewSession, SESSION_LIFE_MS, Session, session_of_token};
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::{COOKIE, Known, Person};
use crate::client::{Client, Origin, check_origin, cookie};
use crate::input::{Json, Path};
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Password, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::POST,
        "/api/v1/session",
        Rule::Public,
        Op::new("session", "log_in", "Log in")
            .about("The session comes as a cookie. After five failures the account waits, after ten the address does.")
            .takes::<LogInInput>(json!({ "mailbox": "anna@example.org", "password": "correct horse battery" }))
            .gives::<LogInAnswer>(200, "Welcome; the cookie is set."),
        log_in,
    );
    api.add(
        Method::GET,
        "/api/v1/session",
        Rule::AnyKey,
        Op::new("session", "who_am_i", "Who I am and what I may do where").gives::<WhoAmI>(200, "Identity and rights."),
        who_am_i,
    );
    api.add(
        Method::DELETE,
        "/api/v1/session",
        Rule::Session,
        Op::new("session", "log_out", "Log out").gives_nothing("The session has ended."),
        log_out,
    );
    api.add(
        Method::PUT,
        "/api/v1/session/password",
        Rule::Session,
        Op::new("session", "change_password", "Change one's own password; every session ends")
            .takes::<PasswordInput>(
                json!({ "present": "correct horse battery", "new": "staple battery horse", "keep_keys": false }),
            )
            .gives_nothing("Changed. Log in again."),
        change_password,
    );
    api.add(
        Method::GET,
        "/api/v1/sessions",
        Rule::Session,
        Op::new("session", "list_sessions", "One's own open sessions")
            .gives_list::<SessionView>("The sessions, newest first."),
        sessions,
    );
    api.add(
        Method::DELETE,
        "/api/v1/sessions/{session}",
        Rule::Session,
        Op::new("session", "end_session", "End one of one's own sessions").gives_nothing("It has ended."),
        end_one,
    );
    api.add(
        Method::DELETE,
        "/api/v1/sessions",
        Rule::Session,
        Op::new("session", "end_sessions", "Log out everywhere")
            .about("Ends every session of the account; sent by the command line on the server, every session of everybody.")
            .gives::<Ended>(200, "How many sessions ended."),
        end_sessions,
    );
}

/// Mailbox and password.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LogInInput {
    /// The account's mailbox.
    mailbox: String,
    /// Its password.
    #[schema(value_type = Password)]
    password: Password,
}

/// Who logged in.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct LogInAnswer {
    /// The account.
    #[schema(value_type = s::AccountId)]
    account: AccountId,
}

/// A change of one's own password.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordInput {
    /// The present password.
    #[schema(value_type = Password)]
    present: Password,
    /// The new one: 12 characters or more.
    #[schema(value_type = Password)]
    new: Password,
    /// Whether API keys that the account made stay valid.
    #[serde(default)]
    keep_keys: bool,
}

/// Identity and rights.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct WhoAmI {
    /// The account, for a person.
    #[schema(value_type = Option<s::AccountId>)]
    account: Option<AccountId>,
    /// The key, for a program.
    #[schema(value_type = Option<s::ApiKeyId>)]
    key: Option<ApiKeyId>,
    /// Whether it is the command line on the server itself, which may do everything everywhere.
    local: bool,
    /// What it may do, by workspace.
    grants: Vec<GrantView>,
}

/// Rights in one workspace.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct GrantView {
    /// The workspace.
    #[schema(value_type = s::WorkspaceId)]
    workspace: WorkspaceId,
    /// What may be done there.
    #[schema(value_type = Vec<s::Scope>)]
    scopes: Vec<Scope>,
}

/// An open session.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct SessionView {
    /// Its name, to end it with; it opens nothing.
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// When it began.
    created_at: Time,
    /// When it ends at the latest.
    expires_at: Time,
    /// When it was used last, to the minute.
    last_used_at: Time,
    /// The browser at log-in.
    agent: Option<String>,
    /// The address at log-in.
    ip: Option<String>,
}

impl From<Session> for SessionView {
    fn from(s: Session) -> SessionView {
        SessionView {
            id: s.id,
            current: false,
            created_at: Time(s.created_at),
            expires_at: Time(s.expires_at),
            last_used_at: Time(s.last_used_at),
            agent: s.agent,
            ip: s.ip,
        }
    }
}

/// How many ended.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct Ended {
    /// The number of sessions.
    pub ended: u64,
}

/// 429: wait.
pub fn too_many() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_failures",
        "too many failures from this address: wait ten minutes, or use the command line on the server",
    )
}

async fn log_in(
    State(web): State<Web>,
    client: Client,
    headers: HeaderMap,
    Json(input): Json<LogInInput>,
) -> Result<Response, Problem> {
    check_origin(&headers, Origin::NotForeign)?;
    if let Some((host, port)) = keeps_no_cookie(&headers) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not_encrypted",
            format!(
                "over plain http a browser keeps no log-in for {host}: put a reverse proxy with https in front and open its \
                 address, or run `ssh -N -L {port}:127.0.0.1:{port} {host}` on your own computer and open http://127.0.0.1:{port} \
                 there. The password was not looked at"
            ),
        ));
    }
    if !web.log_ins().may_try(client.ip) {
        return Err(too_many());
    }
    let from = NewSession { agent: Some(client.agent.clone()), ip: client.ip.map(|ip| ip.to_string()) };
    match web.store().log_in(&input.mailbox, &input.password.0, &from).await? {
        LogIn::Refused => {
            web.log_ins().failed(client.ip);
            Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "log_in_refused",
                "mailbox and password do not fit, or there were too many failures: wait a minute and try again, or run \
                 `postrider account reset` on the server",
            ))
        }
        LogIn::Welcome { account, token } => {
            web.log_ins().succeeded(client.ip);
            let mut response = axum::Json(LogInAnswer { account }).into_response();
            set_cookie(&mut response, token.reveal(), SESSION_LIFE_MS / 1000)?;
            Ok(response)
        }
    }
}

/// The host of a page that came over plain http from another machine: its browser drops cookies that are `Secure`, so that a
/// log-in would seem to work and be forgotten at once. Programs send no `Origin` and keep the cookie themselves.
fn keeps_no_cookie(headers: &HeaderMap) -> Option<(String, u16)> {
    let origin = headers.get(header::ORIGIN)?.to_str().ok()?;
    let authority = origin.strip_prefix("http://")?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let local = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    (!loopback && !local).then(|| (if plain { host.to_owned() } else { "server".to_owned() }, port))
}

fn set_cookie(response: &mut Response, token: &str, seconds: i64) -> Result<(), Problem> {
    let text = format!("{COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    let mut value = HeaderValue::from_str(&text).map_err(|_| Problem::internal())?;
    value.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

async fn who_am_i(person: Person) -> axum::Json<WhoAmI> {
    let (account, key, grants) = match &person.known {
        Known::Local => (None, None, Vec::new()),
        Known::Identity(identity) => {
            let grants = identity
                .grants
                .iter()
                .map(|g| GrantView { workspace: g.workspace, scopes: g.scopes.clone() })
                .collect();
            match identity.who {
                Who::Account(id) => (Some(id), None, grants),
                Who::Key(id) => (None, Some(id), grants),
            }
        }
    };
    let local = account.is_none() && key.is_none();
    axum::Json(WhoAmI { account, key, local, grants })
}

async fn log_out(State(web): State<Web>, request: Request) -> Result<Response, Problem> {
    if let Some(token) = cookie(request.headers(), COOKIE) {
        web.store().end_session(token).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, "", 0)?;
    Ok(response)
}

/// The account of a logged-in person; the command line has none.
fn account_of(person: &Person) -> Result<AccountId, Problem> {
    person.known.account().ok_or_else(|| Problem::forbidden("this is about one's own account: log in as a person"))
}

async fn change_password(
    State(web): State<Web>,
    person: Person,
    Json(input): Json<PasswordInput>,
) -> Result<StatusCode, Problem> {
    let keys = if input.keep_keys { KeysThen::Keep } else { KeysThen::Revoke };
    let account = account_of(&person)?;
    if !web.log_ins().may_try(person.client.ip) {
        return Err(too_many());
    }
    let changed = web.store().change_password(account, &input.present.0, &input.new.0, keys).await;
    if changed.is_err() {
        web.log_ins().failed(person.client.ip);
    }
    changed?;
    Ok(StatusCode::NO_CONTENT)
}

async fn sessions(State(web): State<Web>, person: Person, headers: HeaderMap) -> Listed<SessionView> {
    let Some(account) = person.known.account() else { return Ok(whole::<Session, _>(Vec::new())) };
    let mine = cookie(&headers, COOKIE).map(session_of_token);
    let mut listing = whole::<Session, SessionView>(web.store().sessions(account).await?);
    for session in &mut listing.items {
        session.current = mine.as_deref() == Some(session.id.as_str());
    }
    Ok(listing)
}

async fn end_one(State(web): State<Web>, person: Person, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    web.store().end_session_named(&person.known.actor(), account_of(&person)?, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_sessions(State(web): State<Web>, person: Person) -> Result<axum::Json<Ended>, Problem> {
    let ended = match person.known.account() {
        Some(account) => web.store().end_sessions(&person.known.actor(), account).await?,
        None => web.store().end_all_sessions().await?,
    };
    Ok(axum::Json(Ended { ended }))
}
