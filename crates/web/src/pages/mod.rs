//! The public pages: unsubscribe, preferences, hosted copy. Plain HTML without scripts, cookies or redirects.
//!
//! Identity comes from the token in the URL only (SR-14); whoever holds it may only take consent back, never give it.
//! GET, HEAD and OPTIONS change nothing (SR-15).

mod hosted;
mod preferences;
pub mod texts;
mod token;
mod unsubscribe;

use askama::Template;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use postrider_domain::id::{ContactId, WorkspaceId};
use postrider_store::StoreError;
use postrider_store::workspace::Workspace;

use crate::Web;
use crate::api::Api;
use crate::problem::Problem;
use texts::{ENGLISH, Texts, accepted, texts};

/// Adds the routes.
pub fn routes(api: &mut Api) {
    unsubscribe::routes(api);
    preferences::routes(api);
    hosted::routes(api);
}

/// The style of every public page; part of the page, named by its hash in the policy.
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;margin:0;color:#1c1c1c;background:#f6f6f4}\
main{max-width:34rem;margin:2rem auto;padding:1.5rem;background:#fff;border-radius:.5rem}\
h1{font-size:1.4rem;margin-top:0}footer{max-width:34rem;margin:1rem auto;padding:0 1.5rem;font-size:.85rem;color:#555}\
button{font:inherit;padding:.6rem 1.1rem;border:1px solid #1c4d8c;border-radius:.3rem;background:#1c4d8c;color:#fff;cursor:pointer}\
button.second{background:#fff;color:#1c4d8c}button:focus-visible,a:focus-visible{outline:3px solid #e0a100;outline-offset:2px}\
form{margin:1rem 0}.row{display:flex;gap:1rem;justify-content:space-between;align-items:center;border-top:1px solid #ddd;padding-top:1rem}\
.note{background:#e8f3e8;padding:.6rem}a{color:#1c4d8c}\
@media(prefers-color-scheme:dark){body{background:#151515;color:#eee}main{background:#222}footer{color:#aaa}\
a{color:#8ab8f5}button.second{background:#222;color:#8ab8f5;border-color:#8ab8f5}.note{background:#203820}}";

/// The policy of the pages, with the hash of [`STYLE`] (CSP3 8.2).
fn policy() -> &'static HeaderValue {
    use base64::Engine as _;
    static POLICY: std::sync::OnceLock<HeaderValue> = std::sync::OnceLock::new();
    POLICY.get_or_init(|| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(digest.as_ref());
        let text = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        HeaderValue::from_str(&text).expect("base64 is ASCII")
    })
}

/// Who writes, for the foot of a page.
struct Sender {
    controller: String,
    postal_address: String,
    privacy_url: String,
}

impl From<&Workspace> for Sender {
    fn from(w: &Workspace) -> Sender {
        let controller = if w.controller_name.is_empty() { &w.name } else { &w.controller_name };
        Sender {
            controller: controller.clone(),
            postal_address: w.postal_address.clone(),
            privacy_url: w.privacy_url.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "done.html")]
struct DonePage<'a> {
    texts: &'static Texts,
    style: &'static str,
    controller: &'a str,
    postal_address: &'a str,
    privacy_url: &'a str,
    title: &'a str,
    text: &'a str,
    token: &'a str,
}

/// A rendered page as an answer.
fn page(status: StatusCode, template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a public page could not be rendered");
            return Problem::internal().into_response();
        }
    };
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy().clone());
    headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow"));
    response
}

/// 404: a link that we did not make, or a changed one.
fn no_such_link() -> Response {
    let template = DonePage {
        texts: &ENGLISH,
        style: STYLE,
        controller: "",
        postal_address: "",
        privacy_url: "",
        title: ENGLISH.bad_link_title,
        text: ENGLISH.bad_link_text,
        token: "",
    };
    page(StatusCode::NOT_FOUND, &template)
}

/// What a page says of the contact: the mailbox with its middle left out, and its language, else the browser's.
struct Reader {
    mailbox: String,
    texts: &'static Texts,
}

/// The contact of a token; one that is unknown or erased is nobody, and no fault.
async fn reader(web: &Web, workspace: WorkspaceId, contact: i64, headers: &HeaderMap) -> Result<Reader, Problem> {
    let browser = accepted(headers);
    match web.store().contact(workspace, ContactId(contact)).await {
        Ok(contact) => Ok(Reader {
            mailbox: shortened(&contact.mailbox),
            texts: texts(contact.language.as_deref().into_iter().chain(browser)),
        }),
        Err(StoreError::NotFound { .. }) => Ok(Reader { mailbox: String::new(), texts: texts(browser) }),
        Err(error) => Err(error.into()),
    }
}

/// Enough of a mailbox for its owner to know it; links are forwarded, so never all of it.
fn shortened(mailbox: &str) -> String {
    let Some((local, domain)) = mailbox.rsplit_once('@') else { return String::new() };
    let first: String = local.chars().take(1).collect();
    format!("{first}…@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_shown_shortened() {
        assert_eq!(shortened("carla@example.org"), "c…@example.org");
        assert_eq!(shortened("\"a@b\"@example.org"), "\"…@example.org");
        assert_eq!(shortened("nonsense"), "");
    }

    #[test]
    fn the_policy_names_the_style_by_hash() {
        let text = policy().to_str().unwrap();
        assert!(
            text.contains("'sha256-") && text.contains("frame-ancestors 'none'") && !text.contains("unsafe"),
            "{text}"
        );
    }
}
