//! One HTTP request and its answer over a connection that stands. Knows HTTP, not who is at the other end.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::rt::{Read, Write};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::error::FetchError;
use crate::target::Target;

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// The most header lines of an answer.
const MAX_HEADERS: usize = 100;
/// How much of a redirect's target is shown in a message, in characters.
pub(crate) const LOCATION_SHOWN: usize = 200;
/// A longer redirect is cut off, and then leads nowhere.
const LOCATION_READ: usize = 2_000;

/// What to ask for.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) redirects: u8,
}

impl FetchRequest {
    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), headers: Vec::new(), body: Bytes::new(), redirects: 0 }
    }

    /// A HEAD: what a GET would answer, without its body.
    pub fn head(url: impl Into<String>) -> Self {
        Self { method: Method::HEAD, ..Self::get(url) }
    }

    /// A POST with a body of the given media type.
    pub fn post(url: impl Into<String>, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, url: url.into(), headers: Vec::new(), body: body.into(), redirects: 0 }
            .header("content-type", media_type)
    }

    /// Follows up to so many redirects of a GET. Each hop is checked like the first address, goes never from `https` to
    /// `http`, and takes no header of the caller's to another host.
    #[must_use]
    pub fn follow_redirects(mut self, most: u8) -> Self {
        self.redirects = most;
        self
    }

    /// Adds a header. Headers that frame the message or name the host are refused when the request is sent.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct FetchResponse {
    /// The HTTP status; a redirect (301, 302, 303, 307, 308) that is not followed is an error instead.
    pub status: u16,
    /// The headers in the order in which they came, names in lower case.
    pub headers: Vec<(String, Bytes)>,
    /// The body, not decoded in any way.
    pub body: Bytes,
    /// The address that answered.
    pub address: IpAddr,
}

impl FetchResponse {
    /// The first header of that name, if its value is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }
}

/// What an exchange came to.
#[derive(Debug)]
pub(crate) enum Answer {
    Response(FetchResponse),
    Redirect { status: u16, location: String },
}

/// What the connection was, for the exchange.
pub(crate) struct Line<S> {
    pub(crate) stream: S,
    pub(crate) address: IpAddr,
    pub(crate) max_bytes: usize,
}

/// Sends the request and reads the whole answer; the caller keeps the time.
pub(crate) async fn exchange<S>(line: Line<S>, target: &Target, request: FetchRequest) -> Result<Answer, FetchError>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let request = build(target, request)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake::<_, Full<Bytes>>(line.stream)
        .await?;
    let talk = async {
        let answer = sender.send_request(request).await?;
        read(answer, line.address, line.max_bytes).await
    };
    tokio::pin!(talk, connection);
    // Nothing runs beside this future: dropping it at the deadline closes the connection.
    tokio::select! {
        answer = &mut talk => answer,
        _ = &mut connection => talk.await,
    }
}

fn build(target: &Target, request: FetchRequest) -> Result<Request<Full<Bytes>>, FetchError> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let reserved = |name: &HeaderName| RESERVED.contains(name);
        match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
            (Ok(known), Ok(value)) if !reserved(&known) => headers.append(known, value),
            _ => return Err(FetchError::Header(name)),
        };
    }
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static("postrider"));
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    // A compressed body would make the size cap worthless.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let host = HeaderValue::try_from(target.host_header()).map_err(|_| FetchError::Header("host".to_owned()))?;
    headers.insert(header::HOST, host);

    let mut built = Request::new(Full::new(request.body));
    *built.method_mut() = request.method;
    *built.uri_mut() = target.path.parse().map_err(|_| FetchError::Url("its path is malformed"))?;
    *built.headers_mut() = headers;
    Ok(built)
}

/// Framing and addressing belong to this crate.
const RESERVED: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::ACCEPT_ENCODING,
];

async fn read(answer: Response<Incoming>, address: IpAddr, max_bytes: usize) -> Result<Answer, FetchError> {
    let (head, mut body) = answer.into_parts();
    if is_redirect(head.status) {
        let location = head.headers.get(header::LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let location = String::from_utf8_lossy(location).chars().take(LOCATION_READ).collect();
        return Ok(Answer::Redirect { status: head.status.as_u16(), location });
    }
    let too_large = || FetchError::TooLarge { max_bytes };
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are of no use to anybody here.
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    let headers =
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    let status = head.status.as_u16();
    Ok(Answer::Response(FetchResponse { status, headers: headers.collect(), body: bytes.into(), address }))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
