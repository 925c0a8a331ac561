//! Answers that are not a success: RFC 9457 problem documents in words that say what to do.
//!
//! Must not know: which handler made them. A problem never carries SQL, paths, secrets or a stack.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_domain::campaign::Finding;

use crate::schema::FindingView;

/// An `application/problem+json` answer (RFC 9457).
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI reference that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words.
    pub title: &'static str,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What is wrong here and what to do about it.
    pub detail: String,
    /// Fixed word for programs.
    pub code: &'static str,
    /// What must be put right first; only with `not_ready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<FindingView>>,
    /// What is stored now; only with `outdated`, so that both can be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub current: Option<Box<serde_json::Value>>,
}

impl Problem {
    /// A problem of a given status; `code` is the fixed word for programs, `detail` says what to do.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            findings: None,
            current: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 401: nobody, or nobody that we know.
    pub fn unauthenticated() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "send `Authorization: Bearer pr_…` with a valid API key, or log in at POST /api/v1/session",
        )
    }

    /// 403: known, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: not there, or in another workspace (the two are not told apart).
    pub fn not_found(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what} in this workspace"))
    }

    /// 409: the present state does not allow it.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 409 with what is stored now: the change was made from an older revision.
    pub fn outdated(detail: impl Into<String>, current: serde_json::Value) -> Problem {
        let mut problem = Problem::new(StatusCode::CONFLICT, "outdated", detail);
        problem.current = Some(Box::new(current));
        problem
    }

    /// 422: readable, but a rule refuses it.
    pub fn refused(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", detail)
    }

    /// 422 with the list of what must be put right first.
    pub fn not_ready(findings: Vec<Finding>) -> Problem {
        let mut problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "not_ready",
            "the campaign cannot be tested, scheduled or started yet: put the findings of severity `error` right",
        );
        problem.findings = Some(findings.into_iter().map(FindingView::from).collect());
        problem
    }

    /// 500 without details; the log has them.
    pub fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something broke inside; the log of the server has the details. Try again, and report it when it stays",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let challenge = status == StatusCode::UNAUTHORIZED;
        let retry = status == StatusCode::SERVICE_UNAVAILABLE;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"postrider\""));
        }
        if retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
