//! Small forms in either encoding that browsers and mailbox providers use (RFC 8058 3.1): fields by name.
//!
//! Must not know: what the fields mean.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};

use crate::input::RECEIVE;
use crate::multipart::{Multipart, boundary};

/// Most bytes of a form on a public page.
pub const MAX_FORM: usize = 64 * 1024;

/// The fields of a form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Every value of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether a field has a value, both without regard to letter case.
    pub fn says(&self, name: &str, value: &str) -> bool {
        self.0.iter().any(|(n, v)| n.trim().eq_ignore_ascii_case(name) && v.trim().eq_ignore_ascii_case(value))
    }
}

/// Reads a form. What cannot be read gives the fields read so far: a provider's odd body must not keep
/// anybody subscribed, and the page asks again when a field is missing.
pub async fn read(headers: &HeaderMap, body: Body) -> Form {
    let received = tokio::time::timeout(RECEIVE, Limited::new(body, MAX_FORM).collect()).await;
    let Ok(Ok(collected)) = received else { return Form::default() };
    let bytes = collected.to_bytes();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match boundary(content_type) {
        Some(boundary) => multipart(bytes, &boundary).await,
        None => Form(urlencoded(&bytes)),
    }
}

async fn multipart(bytes: bytes::Bytes, boundary: &str) -> Form {
    let source = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut multipart = Multipart::new(source, boundary);
    let mut fields = Vec::new();
    while let Ok(Some(head)) = multipart.next_part().await {
        let mut value = Vec::new();
        let ended = loop {
            match multipart.chunk().await {
                Ok(Some(piece)) => value.extend_from_slice(&piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let value = String::from_utf8_lossy(&value).into_owned();
        // Without a closing boundary the line break before it is missing or part of the value: trimmed.
        fields.push((head.name, if ended { value } else { value.trim_end().to_owned() }));
    }
    Form(fields)
}

/// `application/x-www-form-urlencoded` (the URL standard, 5.1).
pub fn urlencoded(bytes: &[u8]) -> Vec<(String, String)> {
    bytes
        .split(|b| *b == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |b| *b == b'=');
            (decode(halves.next().unwrap_or_default()), decode(halves.next().unwrap_or_default()))
        })
        .collect()
}

fn decode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => out.push(b' '),
            b'%' => match after
                .get(..2)
                .and_then(|h| std::str::from_utf8(h).ok())
                .and_then(|h| u8::from_str_radix(h, 16).ok())
            {
                Some(byte) => {
                    out.push(byte);
                    rest = &after[2..];
                }
                None => out.push(b'%'),
            },
            other => out.push(*other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(content_type: &str, body: &'static str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(read(&headers, Body::from(body)))
    }

    #[test]
    fn one_click_is_read_in_both_encodings_and_in_odd_spellings() {
        let url = "application/x-www-form-urlencoded";
        for (content_type, body) in [
            (url, "List-Unsubscribe=One-Click"),
            (url, "List-Unsubscribe=One-Click\r\n"),
            (url, "List%2DUnsubscribe=One%2DClick&x"),
            ("application/x-www-form-urlencoded; charset=UTF-8", "a=b&List-Unsubscribe=One-Click"),
            (
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n",
            ),
            (
                "multipart/form-data; boundary=\"b\"",
                "--b\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=List-Unsubscribe\r\n\r\nOne-Click\r\n--b--",
            ),
            (
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b",
            ),
        ] {
            assert!(form(content_type, body).says("List-Unsubscribe", "One-Click"), "{content_type} {body}");
        }
    }

    #[test]
    fn percent_signs_that_mean_nothing_stay() {
        assert_eq!(urlencoded(b"a=%zz%4&b=%41+c"), [("a".into(), "%zz%4".into()), ("b".into(), "A c".into())]);
    }
}
