//! What comes with a request, read strictly: JSON bodies, query parameters and path ids. Every fault is a problem document.
//!
//! Must not know: any single resource. Messages never repeat a value that was sent, only its place and kind.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::Web;
use crate::problem::Problem;

/// Most bytes of a JSON body: a campaign with a 512 KiB template, escaped, fits.
pub const MAX_JSON: usize = 2 * 1024 * 1024;

/// Longest time that a body of this size may take.
pub const RECEIVE: std::time::Duration = std::time::Duration::from_secs(60);

/// A JSON body of a known form; unknown fields are refused by the types themselves.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Web> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Web) -> Result<Json<T>, Problem> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "send the body as JSON with `Content-Type: application/json`",
            ));
        }
        let bytes = collect(body, MAX_JSON).await?;
        json_text(&bytes).map(Json)
    }
}

/// Reads a JSON text of a known form, which is never an array.
///
/// # Errors
/// 400 for a text that is no JSON, 422 for another form.
pub fn json_text<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    // serde takes an array for the fields in their order; nobody means that.
    if text.trim_ascii_start().starts_with(b"[") {
        let detail = "the body has the wrong type: expected an object";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_form", detail));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|e| bad_json(&e))
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The whole body, at most `limit` bytes.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let Ok(received) = tokio::time::timeout(RECEIVE, Limited::new(body, limit).collect()).await else {
        return Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the body took longer than a minute: send it again",
        ));
    };
    match received {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body may have at most {limit} bytes: send less at once"),
        )),
        Err(_) => Err(Problem::bad_request("the body could not be received in full: send it again")),
    }
}

/// What is wrong with a JSON body: syntax is 400, another form is 422.
fn bad_json(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_form", format!("{} ({place})", without_value(error)))
        }
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
            Problem::new(StatusCode::BAD_REQUEST, "bad_json", format!("the body is no valid JSON ({place})"))
        }
    }
}

/// serde's message without the value: it may be a password in the wrong place.
fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(head, _)| head);
    for (prefix, words) in
        [("invalid type: ", "a value has the wrong type"), ("invalid value: ", "a value is not possible")]
    {
        if let Some(rest) = text.strip_prefix(prefix) {
            let expected = rest.rsplit_once(", expected ").map(|(_, e)| e);
            return expected.map_or(words.to_owned(), |e| format!("{words}: expected {e}"));
        }
    }
    text.to_owned()
}

/// Query parameters of a known form.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Web> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Query<T>, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|query| Query(query.0)).map_err(|error| {
            let detail = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Problem::new(StatusCode::BAD_REQUEST, "bad_query", format!("a query parameter cannot be read: {detail}"))
        })
    }
}

/// The ids of a path. One that is no id of the kind is "not found", like one that does not exist.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Web> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Path<T>, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, web).await.map(|path| Path(path.0)).map_err(|_| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "the path holds an id that is none of its kind: ids look like `cmp_` and 13 letters",
            )
        })
    }
}

/// `?limit=&cursor=` of a listing.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        password: String,
        #[allow(dead_code)]
        n: i64,
    }

    #[test]
    fn a_problem_with_a_body_never_repeats_what_was_sent() {
        for (body, status, says) in [
            (r#"{"password": 987654321, "n": 1}"#, 422, "expected a string"),
            (r#"{"password": "x", "n": "hunter2"}"#, 422, "expected i64"),
            (r#"{"password": "x", "n": 1.5e300}"#, 422, "expected i64"),
            (r#"{"password": "x", "n": 1, "extra": 1}"#, 422, "unknown field `extra`"),
            (r#"{"password": "x"}"#, 422, "missing field `n`"),
            (r#"{"password": "hunter2"#, 400, "no valid JSON"),
        ] {
            let error = serde_json::from_str::<Sample>(body).unwrap_err();
            let problem = bad_json(&error);
            assert_eq!(problem.status, status, "{body}");
            assert!(problem.detail.contains(says), "{body}: {}", problem.detail);
            assert!(!problem.detail.contains("hunter2") && !problem.detail.contains("987654321"), "{}", problem.detail);
        }
    }
}
