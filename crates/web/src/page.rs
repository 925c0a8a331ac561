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

/// A file of the admin application, or 304 when the browser has it.
pub fn asset(request: &Request, asset: Asset) -> Response {
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(asset.bytes));
        if let Ok(mime) = HeaderValue::from_str(&asset.mime) {
            response.headers_mut().insert(header::CONTENT_TYPE, mime);
        }
        response
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(APP_POLICY));
    response
}
