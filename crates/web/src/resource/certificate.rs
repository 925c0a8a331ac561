//! Our own certificates: how they fare, and the answers that an authority asks for to prove our names (RFC 8555 8.3).

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use postrider_domain::access::Scope;
use postrider_store::certificate::Certificate;

use crate::Web;
use crate::api::{Api, Op};
use crate::input::Path;
use crate::page::{Listed, whole};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::Time;

/// Tokens are base64url (RFC 8555 8.3); none is longer in practice.
const LONGEST_TOKEN: usize = 200;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::GET,
        "/api/v1/certificates",
        Rule::Scope(Scope::Admin),
        Op::new("certificates", "list_certificates", "Our own certificates and how their renewal goes")
            .about("Of the whole installation: one that an authority issued is shared by all nodes, own files are told by node.")
            .gives_list::<CertificateView>("The certificates."),
        list,
    );
    api.add(
        Method::GET,
        "/.well-known/acme-challenge/{token}",
        Rule::Public,
        Op::new("certificates", "answer_challenge", "Proves to a certificate authority that a name is ours")
            .gives_content(200, "text/plain", "The answer, while an order is on its way."),
        challenge,
    );
}

/// A certificate of our own.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct CertificateView {
    /// `acme` (issued by an authority) or `files`.
    origin: &'static str,
    /// The node whose files they are.
    node: Option<i64>,
    /// The names that it is for.
    names: Vec<String>,
    /// From when.
    not_before: Option<Time>,
    /// Until when; null while there is none yet.
    expires_at: Option<Time>,
    /// Failed tries since the last good one.
    failures: u32,
    /// What the last try said, when it failed.
    last_error: Option<String>,
    /// When that was.
    failed_at: Option<Time>,
    /// No try before this time.
    next_try_at: Option<Time>,
}

impl From<Certificate> for CertificateView {
    fn from(row: Certificate) -> CertificateView {
        let node = row.place.strip_prefix("files ").and_then(|node| node.parse().ok());
        CertificateView {
            origin: if row.place.starts_with("files ") { "files" } else { "acme" },
            node,
            names: row.names,
            not_before: row.not_before.map(Time),
            expires_at: row.not_after.map(Time),
            failures: row.failures,
            last_error: row.last_error,
            failed_at: row.failed_at.map(Time),
            next_try_at: row.next_try_at.map(Time),
        }
    }
}

async fn list(State(web): State<Web>) -> Listed<CertificateView> {
    Ok(whole(web.store().certificates().await?))
}

async fn challenge(State(web): State<Web>, Path(token): Path<String>) -> Result<Response, Problem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(plain) {
        return Err(Problem::not_found("challenge"));
    }
    let answer = web.store().acme_challenge(&token).await?.ok_or_else(|| Problem::not_found("challenge"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], answer).into_response())
}
