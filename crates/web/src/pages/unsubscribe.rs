//! The unsubscribe address of every marketing message: GET shows a page, POST acts, also as one-click (RFC 8058, SR-12…17).
//!
//! A POST needs no cookie, no origin check and no field: whoever holds the token may leave. It is never redirected, and
//! an unknown or erased contact gets the same answer as everybody.

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postrider_domain::id::{ContactId, DeliveryId, PurposeId};
use postrider_mail::token::OptOutToken;
use postrider_store::StoreError;
use postrider_store::actor::Actor;
use postrider_store::opt_out::{OptOut, OptOutRoad, OutOf};
use postrider_store::workspace::Workspace;
use serde_json::json;

use crate::Web;
use crate::api::{Api, Op};
use crate::client::Client;
use crate::form;
use crate::pages::texts::Texts;
use crate::pages::{DonePage, STYLE, Sender, no_such_link, page, reader, token};
use crate::problem::Problem;
use crate::rule::Rule;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/u/{token}",
        Rule::Public,
        Op::new("public", "unsubscribe_page", "The unsubscribe page; changes nothing").gives_content(
            200,
            "text/html",
            "The page. 404 for a token that is not ours.",
        ),
        show,
    );
    api.add(
        Method::POST,
        "/u/{token}",
        Rule::Public,
        Op::new("public", "unsubscribe", "Unsubscribe: one-click (RFC 8058) and the button of the page")
            .about("Any body will do; `choice=all` leaves every mailing of the sender. Repeating it changes nothing.")
            .takes_content(json!({
                "application/x-www-form-urlencoded": { "schema": { "type": "string" }, "example": "List-Unsubscribe=One-Click" },
                "multipart/form-data": { "schema": { "type": "object" } }
            }))
            .gives_content(200, "text/html", "Done, also for contacts that are unknown by now. 404 for a token that is not ours."),
        act,
    );
}

#[derive(Template)]
#[template(path = "unsubscribe.html")]
struct UnsubscribePage<'a> {
    texts: &'static Texts,
    style: &'static str,
    controller: &'a str,
    postal_address: &'a str,
    privacy_url: &'a str,
    mailing: &'a str,
    mailbox: &'a str,
    token: &'a str,
}

/// The name of the purpose; a purpose that is gone has none.
async fn mailing(web: &Web, workspace: &Workspace, facts: &OptOutToken, texts: &Texts) -> Result<String, Problem> {
    match web.store().purpose(workspace.id, PurposeId(facts.purpose)).await {
        Ok(purpose) => Ok(purpose.name),
        Err(StoreError::NotFound { .. }) => Ok(texts.this_mailing.to_owned()),
        Err(error) => Err(error.into()),
    }
}

async fn show(State(web): State<Web>, Path(token): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some((workspace, facts)) = token::opt_out(&web, &token).await? else { return Ok(no_such_link()) };
    let who = reader(&web, workspace.id, facts.contact, &headers).await?;
    let sender = Sender::from(&workspace);
    let template = UnsubscribePage {
        texts: who.texts,
        style: STYLE,
        controller: &sender.controller,
        postal_address: &sender.postal_address,
        privacy_url: &sender.privacy_url,
        mailing: &mailing(&web, &workspace, &facts, who.texts).await?,
        mailbox: &who.mailbox,
        token: &token,
    };
    Ok(page(StatusCode::OK, &template))
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
    let all = form.get("choice") == Some("all");
    let road = if form.says("List-Unsubscribe", "One-Click") { OptOutRoad::OneClick } else { OptOutRoad::Page };
    let who = reader(&web, workspace.id, facts.contact, &headers).await?;
    leave(
        &web,
        &workspace,
        &facts,
        if all { OutOf::Everything } else { OutOf::Purpose(PurposeId(facts.purpose)) },
        road,
        &client,
    )
    .await?;
    let sender = Sender::from(&workspace);
    let template = DonePage {
        texts: who.texts,
        style: STYLE,
        controller: &sender.controller,
        postal_address: &sender.postal_address,
        privacy_url: &sender.privacy_url,
        title: who.texts.done_title,
        text: if all { who.texts.done_all } else { who.texts.done_one },
        token: &token,
    };
    Ok(page(StatusCode::OK, &template).into_response())
}

/// Carries an opt-out out. Repeated ones and those of unknown contacts change nothing.
pub async fn leave(
    web: &Web,
    workspace: &Workspace,
    facts: &OptOutToken,
    out_of: OutOf,
    road: OptOutRoad,
    client: &Client,
) -> Result<(), Problem> {
    // A mail provider's button sends the provider's address and agent, not the person's: they prove nothing and are not kept.
    let person = match road {
        OptOutRoad::Page => Some(client),
        OptOutRoad::OneClick | OptOutRoad::Mailto | OptOutRoad::Api => None,
    };
    let opt_out = OptOut {
        contact: ContactId(facts.contact),
        out_of,
        delivery: Some(DeliveryId(facts.delivery)),
        road,
        ip: person.and_then(|c| c.ip).map(|ip| ip.to_string()),
        agent: person.map(|c| c.agent.clone()).filter(|agent| !agent.is_empty()),
    };
    web.store().opt_out(workspace.id, &Actor::Person, opt_out).await?;
    Ok(())
}
