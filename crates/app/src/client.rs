//! The command line's side of the API: over the socket of the running server, or on a router in this process.
//!
//! There is one way to do a thing: every command is an API call, so that the same rules, checks and audit apply.

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tower::ServiceExt;

/// Where the API is.
pub enum Client {
    /// A running server, through its socket in the data folder (mode 0600: whoever may open it is local admin).
    Socket(std::path::PathBuf, Option<String>),
    /// No server runs: the router is here, over a store that this process has opened.
    Here(Box<Router>, Option<String>),
}

/// What came back.
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The body as JSON; null when it is empty, a string when it is no JSON.
    pub body: Value,
}

impl Client {
    /// Chooses the workspace that calls are about.
    #[must_use]
    pub fn in_workspace(self, workspace: Option<String>) -> Client {
        match self {
            Client::Socket(path, _) => Client::Socket(path, workspace),
            Client::Here(router, _) => Client::Here(router, workspace),
        }
    }

    /// Sends a request with a body in memory and returns whatever came back.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let content_type = (!body.is_empty()).then_some(content_type);
        self.send_body(method, path, content_type, Body::from(body)).await
    }

    /// Uploads a file without holding it in memory.
    pub async fn upload(&self, path: &str, content_type: &str, file: &Path) -> anyhow::Result<Answer> {
        let file = tokio::fs::File::open(file).await.with_context(|| format!("could not read {}", file.display()))?;
        let pieces = futures_util::stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; 256 * 1024];
            let n = file.read(&mut piece).await?;
            piece.truncate(n);
            Ok::<_, std::io::Error>((n > 0).then(|| (Bytes::from(piece), file)))
        });
        let (status, bytes) = self.send_body(Method::POST, path, Some(content_type), Body::from_stream(pieces)).await?;
        Ok(answer(status, &bytes))
    }

    async fn send_body(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        match self {
            Client::Socket(socket, workspace) => {
                if let Some(w) = workspace {
                    request = request.header("postrider-workspace", w);
                }
                send_over(socket, request.body(body)?).await
            }
            Client::Here(router, workspace) => {
                if let Some(w) = workspace {
                    request = request.header("postrider-workspace", w);
                }
                let mut request = request.body(body)?;
                request.extensions_mut().insert(postrider_web::LocalAdmin);
                let answer = router.as_ref().clone().oneshot(request).await.unwrap_or_else(|never| match never {});
                let status = answer.status();
                Ok((status, answer.into_body().collect().await?.to_bytes()))
            }
        }
    }

    /// A call with a JSON body (`Value::Null`: none); the answer whatever its status.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let (status, bytes) = self.send(method, path, "application/json", bytes).await?;
        Ok(answer(status, &bytes))
    }

    /// GET; anything but 2xx is an error in the server's own words.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.good(Method::GET, path, &Value::Null).await
    }

    /// POST; anything but 2xx is an error in the server's own words.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.good(Method::POST, path, body).await
    }

    /// A call that must succeed.
    pub async fn good(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer =
            self.call(method.clone(), path, body).await.with_context(|| format!("could not {method} {path}"))?;
        if !answer.status.is_success() {
            bail!("{}", problem_text(answer.status, &answer.body));
        }
        Ok(answer.body)
    }
}

fn answer(status: StatusCode, bytes: &[u8]) -> Answer {
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
    };
    Answer { status, body }
}

/// A problem document in words, with every finding on a line of its own.
pub fn problem_text(status: StatusCode, body: &Value) -> String {
    let mut text = match (body["title"].as_str(), body["detail"].as_str()) {
        (Some(title), Some(detail)) => format!("{title}: {detail}"),
        (Some(title), None) => title.to_owned(),
        _ => format!("the server answered {status}"),
    };
    for finding in body["findings"].as_array().into_iter().flatten() {
        let word = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!("\n  {} {}: {}", word("severity"), word("field"), word("message")));
        if let Some(line) = finding["line"].as_u64() {
            text.push_str(&format!(" (line {line}, column {})", finding["column"].as_u64().unwrap_or(1)));
        }
    }
    text
}

async fn send_over(socket: &Path, request: Request<Body>) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .with_context(|| format!("could not reach the server at {}", socket.display()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    drop(sender);
    driver.abort();
    Ok((status, bytes))
}
