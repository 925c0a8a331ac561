//! Shapes of answers: pages of a listing, files of the admin application.
//!
//! Must not know: any single resource.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_store::page::{MAX_LIMIT, Page, PageRequest};

use crate::Asset;
use crate::problem::Problem;

/// Rows of a listing and where it goes on.
#[derive(Debug, serde::Serialize)]
pub struct Listing<T> {
    /// The rows.
    pub items: Vec<T>,
    /// `cursor` of the next page; null when this was the last.
    pub next_cursor: Option<String>,
}

/// The answer of a listing handler.
pub type Listed<T> = Result<Json<Listing<T>>, Problem>;

/// A page of the store as an answer.
pub fn listing<S, T: From<S>>(page: Page<S>) -> Json<Listing<T>> {
    Json(Listing { items: page.items.into_iter().map(T::from).collect(), next_cursor: page.next })
}

/// A short list that is never cut.
pub fn whole<S, T: From<S>>(rows: Vec<S>) -> Json<Listing<T>> {
    Json(Listing { items: rows.into_iter().map(T::from).collect(), next_cursor: None })
}

/// Reads `limit` and `cursor`.
///
/// # Errors
/// 400 for a limit outside 1 to 500.
pub fn paging(limit: Option<u32>, cursor: Option<String>) -> Result<PageRequest, Problem> {
    match limit {
        Some(n) if !(1..=MAX_LIMIT).contains(&n) => {
            Err(Problem::bad_request(format!("`limit` should be 1 to {MAX_LIMIT}")))
        }
        given => Ok(PageRequest { limit: given.unwrap_or(postrider_store::page::DEFAULT_LIMIT), cursor }),
    }
}

/// The content security policy of the admin application: its own files, nothing inline, nobody's frame (SEC-23).
const APP_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-src 'self'; frame-ancestors 'none'";

/// Whether `Accept-Encoding` names gzip without refusing it (RFC 9110 12.5.3).
fn takes_gzip(request: &Request) -> bool {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"))
            && !parts.any(|weight| matches!(weight.replace(' ', "").as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The policy of `frame.html`, which shows a message: its own script puts it into a frame in which nothing runs. Messages
/// have styles of their own and images from anywhere; the sandbox takes the page's origin away.
const FRAME_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src https: http: data:; font-src https:; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox allow-scripts";

/// A file of the admin application, or 304 when the browser has it.
pub fn asset(request: &Request, asset: Asset) -> Response {
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag));
    // Packed and plain are two representations: the tag of both is a weak one (RFC 9110 8.8.1).
    let etag = if asset.gzip.is_some() { format!("W/{}", asset.etag) } else { asset.etag.clone() };
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let packed = asset.gzip.filter(|_| takes_gzip(request));
        let is_packed = packed.is_some();
        let mut response = Response::new(Body::from(packed.unwrap_or(asset.bytes)));
        if is_packed {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Ok(mime) = HeaderValue::from_str(&asset.mime) {
            response.headers_mut().insert(header::CONTENT_TYPE, mime);
        }
        response
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // Files below assets/ have a digest of their content in their name.
    let lasting = request.uri().path().starts_with("/assets/");
    let keep = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    let policy = if request.uri().path() == "/frame.html" { FRAME_POLICY } else { APP_POLICY };
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if request.uri().path() == "/frame.js" {
        // The frame has no origin, so its script comes from elsewhere to it.
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}
