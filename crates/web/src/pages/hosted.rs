//! The hosted copy: a message read in a browser. Off unless the workspace has it on; shown without any right (SEC-24).

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use postrider_content::{Compiled, Prepared, RecipientView};
use postrider_domain::id::{ContactId, DeliveryId};
use postrider_mail::mailbox::Mailbox;
use postrider_mail::token::{HostedToken, OptOutToken};
use postrider_store::StoreError;
use postrider_store::workspace::Workspace;

use crate::Web;
use crate::api::{Api, Op};
use crate::pages::{no_such_link, token};
use crate::problem::Problem;
use crate::rule::Rule;

/// What a hosted copy may do: show pictures and its own styles. No script, no form, no frame, an origin of its own.
const POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src https: http: data:; \
    style-src 'unsafe-inline'; font-src https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/h/{token}",
        Rule::Public,
        Op::new("public", "hosted_copy", "A message in a browser").gives_content(
            200,
            "text/html",
            "The message. 404 unless the workspace has hosted copies on.",
        ),
        show,
    );
}

async fn show(State(web): State<Web>, Path(token): Path<String>) -> Result<Response, Problem> {
    let Some((workspace, facts)) = token::hosted(&web, &token).await? else { return Ok(no_such_link()) };
    if !workspace.hosted_copies {
        return Ok(no_such_link());
    }
    match html(&web, &workspace, &facts).await? {
        None => Ok(no_such_link()),
        Some(html) => {
            let mut response = (StatusCode::OK, Html(html)).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(
                HeaderName::from_static("x-robots-tag"),
                HeaderValue::from_static("noindex, nofollow, noarchive"),
            );
            Ok(response)
        }
    }
}

/// The message anew from its version and the contact's present attributes; `None` once one of them is gone.
async fn html(web: &Web, workspace: &Workspace, facts: &HostedToken) -> Result<Option<String>, Problem> {
    let store = web.store();
    let gone = |error: StoreError| match error {
        StoreError::NotFound { .. } => Ok(None),
        other => Err(Problem::from(other)),
    };
    let delivery = match store.delivery(workspace.id, DeliveryId(facts.delivery)).await {
        Ok(delivery) => delivery,
        Err(error) => return gone(error),
    };
    let contact = match store.contact(workspace.id, ContactId(facts.contact)).await {
        Ok(contact) => contact,
        Err(error) => return gone(error),
    };
    let Some(campaign) = delivery.campaign.filter(|_| delivery.contact == Some(contact.id)) else { return Ok(None) };
    let Some(variant) = store.variants(workspace.id, campaign).await?.into_iter().next() else { return Ok(None) };
    let Some(version) = store.latest_version(workspace.id, variant.id).await? else { return Ok(None) };
    let version = store.version(workspace.id, version).await?;
    let keys = store.link_keys(workspace.id).await?;
    let opt_out = OptOutToken {
        workspace: facts.workspace,
        contact: facts.contact,
        purpose: facts.purpose,
        delivery: facts.delivery,
    }
    .encode(&keys.current);
    let Ok(mailbox) = Mailbox::parse(&contact.mailbox) else { return Ok(None) };
    let vars: serde_json::Map<String, serde_json::Value> = contact.attributes.into_iter().collect();
    let base = workspace.public_url.clone();
    let made = tokio::task::spawn_blocking(move || {
        let prepared = Compiled::from_bytes(&version.compiled).and_then(Prepared::new).ok()?;
        let rendered = prepared
            .preview(&RecipientView {
                mailbox: &mailbox,
                vars: &vars,
                unsubscribe_url: &format!("{base}/u/{opt_out}"),
                preferences_url: &format!("{base}/p/{opt_out}"),
                hosted_url: None,
            })
            .ok()?;
        Some(rendered.html.unwrap_or_else(|| preformatted(&rendered.text)))
    })
    .await
    .map_err(|_| Problem::internal())?;
    Ok(made)
}

/// A message that was written as plain text.
fn preformatted(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"></head><body><pre style=\"white-space:pre-wrap\">{text}</pre></body></html>"
    )
}
