//! Sending domains: the DKIM key is made here, sealed by the store, and only its public half is ever shown (SEC-70).

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_domain::id::{DkimKeyId, DomainId};
use postrider_domain::schedule::rfc3339;
use postrider_domain::signing_key::{KeyState, keep_until};
use postrider_mail::dkim::SigningKey;
use postrider_mail::mailbox::DomainName;
use postrider_store::domain::{DkimKey, NewDkimKey, SendingDomain};
use postrider_store::secret::SecretBytes;
use serde_json::{Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::input::{Json, Path, Query};
use crate::page::Listed;
use crate::problem::Problem;
use crate::resource::probe::{Answer, ask};
use crate::rule::Rule;
use crate::schema::{self as s, Time};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let rule = Rule::Scope(Scope::Admin);
    api.add(
        Method::GET,
        "/api/v1/domains",
        rule,
        Op::new("domains", "list_domains", "The sending domains of the workspace")
            .gives_list::<DomainView>("The domains."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/domains",
        rule,
        Op::new("domains", "add_domain", "Add a sending domain and make its DKIM key")
            .takes::<DomainInput>(json!({ "name": "example.org" }))
            .gives::<DomainView>(201, "The domain with the DNS records to publish.")
            .retry(Retry::Replay),
        add,
    );
    api.add(
        Method::GET,
        "/api/v1/domains/{domain}",
        rule,
        Op::new("domains", "get_domain", "One sending domain").gives::<DomainView>(200, "The domain."),
        get,
    );
    api.add(
        Method::DELETE,
        "/api/v1/domains/{domain}",
        rule,
        Op::new("domains", "remove_domain", "Remove a sending domain and its keys")
            .about("Refused while a campaign is on its way.")
            .gives_nothing("It is gone."),
        remove,
    );
    api.add(
        Method::POST,
        "/api/v1/domains/{domain}/keys",
        rule,
        Op::new("domains", "rotate_dkim_key", "Make a new DKIM key")
            .about("It waits until its record has been seen in DNS for an hour; then it signs, and the one before it signs nothing new. Messages that were tried before keep their key. `at_once` lets it sign now: only for a key that got into wrong hands.")
            .query::<RotateQuery>()
            .gives::<DomainView>(201, "The domain with the DNS records to publish.")
            .retry(Retry::Replay),
        rotate,
    );
    api.add(
        Method::POST,
        "/api/v1/domains/{domain}/keys/{dkim_key}/activate",
        rule,
        Op::new("domains", "activate_dkim_key", "Let a waiting DKIM key sign now")
            .about("Without waiting until its record has been seen for an hour: receivers that do not find it refuse what it signs.")
            .gives::<DomainView>(200, "The domain."),
        activate,
    );
    api.add(
        Method::DELETE,
        "/api/v1/domains/{domain}/keys/{dkim_key}",
        rule,
        Op::new("domains", "drop_dkim_key", "Drop a DKIM key that has never signed").gives_nothing("It is gone."),
        drop_key,
    );
    api.add(
        Method::POST,
        "/api/v1/domains/{domain}/check",
        rule,
        Op::new("domains", "check_domain", "Look at the domain's DNS records now")
            .about("Asked of the engine; waits up to 15 seconds, then answers 202 and the id to ask again with. The answer has `ok` (nothing red), `state` (red, amber, green), `at`, `records` as they are wished and found, and `findings` with code, state, about, found, want and remedy (docs/domains.md). The newest answer is kept as `checked`.")
            .gives::<Answer>(200, "What was found."),
        check,
    );
}

/// A domain to be added.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DomainInput {
    /// The From domain.
    name: String,
    /// The host part of the return-path; `bounces.` and the name when not given.
    return_path_host: Option<String>,
}

/// How a new key begins.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct RotateQuery {
    /// Whether it signs before anybody can have seen its record; false when not given.
    at_once: Option<bool>,
}

/// A DNS record to publish.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RecordView {
    /// `TXT` or `MX`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The owner name.
    name: String,
    /// The value.
    value: String,
    /// Whether messages are refused or unsigned without it.
    required: bool,
    /// What it is for.
    purpose: &'static str,
}

/// A DKIM key without its private half.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct DkimKeyView {
    /// Its id.
    #[schema(value_type = s::DkimKeyId)]
    id: DkimKeyId,
    /// The selector.
    selector: String,
    /// `rsa2048` or `ed25519`.
    algorithm: String,
    /// When it was made.
    created_at: Time,
    /// Where it stands: `pending` (waits for its record in DNS), `active`, `retired` (its record must stay), `revocable` (its
    /// record should be taken back), `revoked`.
    #[schema(value_type = s::KeyState)]
    state: KeyState,
    /// Since when its record has been in DNS.
    seen_at: Option<Time>,
    /// Since when it signs.
    activated_at: Option<Time>,
    /// Since when it signs nothing new.
    retired_at: Option<Time>,
    /// Until when its record must stay.
    keep_until: Option<Time>,
    /// When its record was seen to be taken back.
    revoked_at: Option<Time>,
}

/// A sending domain.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct DomainView {
    /// Its id.
    #[schema(value_type = s::DomainId)]
    id: DomainId,
    /// Its name, an A-label.
    name: String,
    /// The host part of the return-path.
    return_path_host: String,
    /// The DNS records to publish.
    records: Vec<RecordView>,
    /// Its keys, newest first.
    keys: Vec<DkimKeyView>,
    /// What the last look at DNS found.
    #[schema(value_type = Option<Object>)]
    checked: Option<Value>,
    /// When it was added.
    created_at: Time,
}

impl DkimKeyView {
    fn of(k: DkimKey, now: i64) -> DkimKeyView {
        DkimKeyView {
            state: k.state(now),
            seen_at: k.seen_at.map(Time),
            activated_at: k.activated_at.map(Time),
            keep_until: k.retired_at.map(|retired| Time(keep_until(retired))),
            revoked_at: k.revoked_at.map(Time),
            id: k.id,
            selector: k.selector,
            algorithm: k.algorithm,
            created_at: Time(k.created_at),
            retired_at: k.retired_at.map(Time),
        }
    }
}

/// The host of the public URL: it takes the reports, and is named by SPF.
fn public_host(public_url: &str) -> Option<String> {
    let rest = public_url.split_once("://")?.1;
    let authority = rest.split('/').next()?;
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, port)| if port.bytes().all(|b| b.is_ascii_digit()) { host } else { authority });
    (!host.is_empty()).then(|| host.to_owned())
}

fn records(domain: &SendingDomain, public_url: &str, now: i64) -> Vec<RecordView> {
    let mut records = Vec::new();
    for key in &domain.keys {
        let (value, required, purpose) = match key.state(now) {
            KeyState::Active => (key.public_txt.clone(), true, "DKIM: receivers verify our signature with it"),
            KeyState::Pending => {
                (key.public_txt.clone(), false, "DKIM: the new key signs when this has been seen for an hour")
            }
            KeyState::Retired => (
                key.public_txt.clone(),
                false,
                "DKIM: the key before; its record must stay while messages that it signed are on their way",
            ),
            KeyState::Revocable => {
                ("v=DKIM1; p=".to_owned(), false, "DKIM: an old key, to be taken back with an empty p=")
            }
            KeyState::Revoked => continue,
        };
        records.push(RecordView {
            kind: "TXT",
            name: format!("{}._domainkey.{}", key.selector, domain.name),
            value,
            required,
            purpose,
        });
    }
    let host = public_host(public_url).and_then(|host| DomainName::parse(&host).ok());
    let who = host.as_ref().map_or_else(|| "mx".to_owned(), |host| format!("a:{host}", host = host.as_str()));
    records.push(RecordView {
        kind: "TXT",
        name: domain.return_path_host.clone(),
        value: format!("v=spf1 {who} ~all"),
        required: true,
        purpose: "SPF of the return-path: name the hosts that send, those of a smarthost too",
    });
    if let Some(host) = &host {
        records.push(RecordView {
            kind: "MX",
            name: domain.return_path_host.clone(),
            value: format!("10 {}.", host.as_str()),
            required: false,
            purpose: "reports come back here",
        });
    }
    records.push(RecordView {
        kind: "TXT",
        name: format!("_dmarc.{}", domain.name),
        value: "v=DMARC1; p=none".to_owned(),
        required: false,
        purpose: "DMARC: large providers ask bulk senders for it; an existing policy stays as it is",
    });
    records
}

fn view(domain: SendingDomain, public_url: &str, now: i64) -> DomainView {
    DomainView {
        records: records(&domain, public_url, now),
        id: domain.id,
        name: domain.name,
        return_path_host: domain.return_path_host,
        keys: domain.keys.into_iter().map(|key| DkimKeyView::of(key, now)).collect(),
        checked: domain.checked,
        created_at: Time(domain.created_at),
    }
}

/// A new key with a selector of its own; made on a thread where it stops nobody.
async fn new_key(web: &Web) -> Result<NewDkimKey, Problem> {
    let made = tokio::task::spawn_blocking(|| -> Result<_, postrider_mail::dkim::DkimError> {
        let key = SigningKey::generate_rsa2048()?;
        Ok((key.to_pkcs8()?, key.public_txt()))
    })
    .await;
    let (private, public_txt) = match made {
        Ok(Ok(made)) => made,
        Ok(Err(_)) | Err(_) => return Err(Problem::internal()),
    };
    // The day for people, the rest so that two keys of one day differ.
    let mut random = [0u8; 3];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Problem::internal())?;
    let [a, b, c] = random;
    let day: String = rfc3339(web.now()).chars().take(10).filter(char::is_ascii_digit).collect();
    let selector = format!("pr{day}{a:02x}{b:02x}{c:02x}");
    Ok(NewDkimKey { selector, algorithm: "rsa2048".into(), private: SecretBytes::new(private), public_txt })
}

async fn public_url(web: &Web, caller: &Caller) -> Result<String, Problem> {
    Ok(web.store().workspace(caller.workspace).await?.public_url)
}

async fn list(State(web): State<Web>, caller: Caller) -> Listed<DomainView> {
    let url = public_url(&web, &caller).await?;
    let domains = web.store().domains(caller.workspace).await?;
    let items = domains.into_iter().map(|domain| view(domain, &url, web.now())).collect();
    Ok(axum::Json(crate::page::Listing { items, next_cursor: None }))
}

fn name(text: &str) -> Result<DomainName, Problem> {
    DomainName::parse(text.trim()).map_err(|error| Problem::refused(format!("the domain is not usable: {error}")))
}

async fn add(State(web): State<Web>, caller: Caller, Json(input): Json<DomainInput>) -> Result<Response, Problem> {
    let domain = name(&input.name)?;
    let host = match input.return_path_host {
        Some(host) => name(&host)?,
        None => name(&format!("bounces.{}", domain.as_str()))?,
    };
    let key = new_key(&web).await?;
    let made = web.store().add_domain(caller.workspace, &caller.actor, &domain, &host, key).await?;
    let url = public_url(&web, &caller).await?;
    Ok((StatusCode::CREATED, axum::Json(view(made, &url, web.now()))).into_response())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<DomainId>,
) -> Result<axum::Json<DomainView>, Problem> {
    let url = public_url(&web, &caller).await?;
    Ok(axum::Json(view(web.store().domain(caller.workspace, id).await?, &url, web.now())))
}

async fn remove(State(web): State<Web>, caller: Caller, Path(id): Path<DomainId>) -> Result<StatusCode, Problem> {
    web.store().remove_domain(caller.workspace, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<DomainId>,
    Query(query): Query<RotateQuery>,
) -> Result<Response, Problem> {
    web.store().domain(caller.workspace, id).await?;
    let key = new_key(&web).await?;
    let (store, workspace, by) = (web.store(), caller.workspace, &caller.actor);
    let domain = match query.at_once {
        Some(true) => store.rotate_dkim_key(workspace, by, id, key).await?,
        Some(false) | None => store.announce_dkim_key(workspace, by, id, key).await?,
    };
    let url = public_url(&web, &caller).await?;
    Ok((StatusCode::CREATED, axum::Json(view(domain, &url, web.now()))).into_response())
}

async fn activate(
    State(web): State<Web>,
    caller: Caller,
    Path((id, key)): Path<(DomainId, DkimKeyId)>,
) -> Result<axum::Json<DomainView>, Problem> {
    let domain = web.store().activate_dkim_key(caller.workspace, &caller.actor, id, key).await?;
    let url = public_url(&web, &caller).await?;
    Ok(axum::Json(view(domain, &url, web.now())))
}

async fn drop_key(
    State(web): State<Web>,
    caller: Caller,
    Path((id, key)): Path<(DomainId, DkimKeyId)>,
) -> Result<StatusCode, Problem> {
    web.store().drop_dkim_key(caller.workspace, &caller.actor, id, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn check(State(web): State<Web>, caller: Caller, Path(id): Path<DomainId>) -> Result<Response, Problem> {
    let domain = web.store().domain(caller.workspace, id).await?;
    let url = public_url(&web, &caller).await?;
    let args = json!({ "domain": id, "name": domain.name, "records": records(&domain, &url, web.now()) });
    ask(&web, &caller, "domain_check", &args).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_host_has_no_port_and_no_path() {
        for (url, want) in [
            ("https://mail.example.org", Some("mail.example.org")),
            ("http://127.0.0.1:8080/x", Some("127.0.0.1")),
            ("https://mail.example.org:8443", Some("mail.example.org")),
            ("", None),
        ] {
            assert_eq!(public_host(url).as_deref(), want, "{url}");
        }
    }
}
