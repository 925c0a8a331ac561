//! Requests to an authority, through the one guarded HTTP client. Must not know what they say.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use postrider_fetch::{FetchRequest, Fetcher};

/// The guarded client, as the ACME library wants one.
pub(super) struct Guarded(pub(super) Fetcher);

type Answer = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Guarded {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let fetcher = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let url = head.uri.to_string();
            let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let mut fetch = match head.method {
                Method::GET => FetchRequest::get(url),
                Method::HEAD => FetchRequest::head(url),
                Method::POST => {
                    let kind = head.headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
                    FetchRequest::post(url, &kind, body)
                }
                other => return Err(Error::Other(format!("{other} is not asked of any authority").into())),
            };
            for (name, value) in head.headers.iter().filter(|(name, _)| **name != CONTENT_TYPE) {
                fetch = fetch.header(name.as_str(), text(value));
            }
            let answer = fetcher.fetch(fetch).await.map_err(|error| Error::Other(Box::new(error)))?;
            let mut response = Response::builder().status(answer.status);
            for (name, value) in &answer.headers {
                response = response.header(name.as_str(), &value[..]);
            }
            Ok(BytesResponse::from(response.body(Full::new(answer.body))?))
        })
    }
}
