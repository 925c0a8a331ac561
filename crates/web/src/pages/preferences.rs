//! The preference page: every purpose of the workspace with its state, and a button to stop it (LAW-26).
//!
//! It only takes consent back. Giving it needs more proof than holding a link that can be forwarded.

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use postrider_domain::consent::ConsentState;
use postrider_domain::id::{ContactId, PurposeId};
use postrider_mail::token::OptOutToken;
use postrider_store::StoreError;
use postrider_store::opt_out::{OptOutRoad, OutOf};
use postrider_store::workspace::Workspace;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::client::Client;
use crate::form;
use crate::pages::texts::Texts;
use crate::pages::unsubscribe::leave;
use crate::pages::{STYLE, Sender, no_such_link, page, reader, token};
use crate::problem::Problem;
use crate::rule::Rule;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/p/{token}",
        Rule::Public,
        Op::new("public", "preference_page", "The preference page; changes nothing").gives_content(
            200,
            "text/html",
            "The page. 404 for a token that is not ours.",
        ),
        show,
    );
    api.add(
        Method::POST,
        "/p/{token}",
        Rule::Public,
        Op::new("public", "set_preferences", "Stop one mailing or all of them")
            .takes_content(json!({
                "application/x-www-form-urlencoded": { "schema": { "type": "string" }, "example": "withdraw=all" }
            }))
            .gives_content(200, "text/html", "The page as it is now. 404 for a token that is not ours."),
        act,
    );
}

#[derive(Template)]
#[template(path = "preferences.html")]
struct PreferencesPage<'a> {
    texts: &'static Texts,
    style: &'static str,
    controller: &'a str,
    postal_address: &'a str,
    privacy_url: &'a str,
    mailbox: &'a str,
    token: &'a str,
    saved: bool,
    purposes: Vec<Choice>,
}

struct Choice {
    id: String,
    name: String,
    granted: bool,
}

async fn choices(web: &Web, workspace: &Workspace, facts: &OptOutToken) -> Result<Vec<Choice>, Problem> {
    let consents = match web.store().consents(workspace.id, ContactId(facts.contact)).await {
        Ok(consents) => consents,
        Err(StoreError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let purposes = web.store().purposes(workspace.id).await?;
    Ok(purposes
        .into_iter()
        .map(|purpose| Choice {
            id: purpose.id.to_string(),
            granted: consents.iter().any(|c| c.purpose == purpose.id && c.state == ConsentState::Granted),
            name: purpose.name,
        })
        .collect())
}

/// Whether something was just saved.
enum Shown {
    Plain,
    Saved,
}

async fn render(
    web: &Web,
    workspace: &Workspace,
    facts: &OptOutToken,
    token: &str,
    headers: &HeaderMap,
    shown: Shown,
) -> Result<Response, Problem> {
    let who = reader(web, workspace.id, facts.contact, headers).await?;
    let sender = Sender::from(workspace);
    let template = PreferencesPage {
        texts: who.texts,
        style: STYLE,
        controller: &sender.controller,
        postal_address: &sender.postal_address,
        privacy_url: &sender.privacy_url,
        mailbox: &who.mailbox,
        token,
        saved: matches!(shown, Shown::Saved),
        purposes: choices(web, workspace, facts).await?,
    };
    Ok(page(StatusCode::OK, &template))
}

async fn show(State(web): State<Web>, Path(token): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some((workspace, facts)) = token::opt_out(&web, &token).await? else { return Ok(no_such_link()) };
    render(&web, &workspace, &facts, &token, &headers, Shown::Plain).await
}

async fn act(
    State(web): State<Web>,
    client: Client,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Some((workspace, facts)) = token::opt_out(&web, &token).await? else { return Ok(no_such_link()) };
    let form = form::read(&headers, body).await;
    let wanted: Vec<&str> = form.all("withdraw").collect();
    if wanted.contains(&"all") {
        leave(&web, &workspace, &facts, OutOf::Everything, OptOutRoad::Page, &client).await?;
        return render(&web, &workspace, &facts, &token, &headers, Shown::Saved).await;
    }
    // A purpose of another workspace is unknown to the store and changes nothing.
    let purposes: Vec<PurposeId> = wanted.iter().take(100).filter_map(|text| text.parse().ok()).collect();
    for purpose in &purposes {
        leave(&web, &workspace, &facts, OutOf::Purpose(*purpose), OptOutRoad::Page, &client).await?;
    }
    let shown = if purposes.is_empty() { Shown::Plain } else { Shown::Saved };
    render(&web, &workspace, &facts, &token, &headers, shown).await
}
