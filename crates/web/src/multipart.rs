//! A small streaming reader of `multipart/form-data` (RFC 7578), for one-click posts and for uploads of any size.
//!
//! Must not know: what the parts mean. It keeps at most one chunk and a boundary's length in memory.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

/// Most bytes that the header lines of one part may have.
const MAX_HEADERS: usize = 16 * 1024;

/// Why a body cannot be read as multipart.
#[derive(Debug, thiserror::Error)]
pub enum MultipartError {
    /// The content type names no usable boundary.
    #[error("the content type should name a boundary of 1 to 70 characters (RFC 2046 5.1.1)")]
    Boundary,
    /// The body ends before the closing boundary.
    #[error("the body ends before the closing boundary: send it again")]
    Truncated,
    /// The headers of a part are too long or malformed.
    #[error("a part has headers that cannot be read")]
    Headers,
    /// The connection broke.
    #[error("the body could not be received in full: send it again")]
    Receive,
}

/// The `boundary` parameter of a `multipart/form-data` content type; quotes and letter case tolerated.
pub fn boundary(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (!value.is_empty() && value.len() <= 70 && !value.contains(['\r', '\n'])).then_some(value)
}

/// What the header lines of a part say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartHead {
    /// The field's name.
    pub name: String,
    /// The name of the file, when the part is one.
    pub file_name: Option<String>,
}

/// A multipart body being read. Call [`Multipart::next_part`], then [`Multipart::chunk`] until it gives `None`.
pub struct Multipart<S> {
    source: S,
    source_ended: bool,
    buffer: BytesMut,
    /// CRLF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// Bytes of the blank line that still stand before the part's content: they may belong to its delimiter.
    lead: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the preamble or in a part.
    Inside,
    /// Right after a delimiter.
    Between,
    /// After the closing delimiter.
    End,
}

impl<S, E> Multipart<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// Starts reading.
    pub fn new(source: S, boundary: &str) -> Multipart<S> {
        // A CRLF in front makes the first delimiter look like all the others.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        Multipart { source, source_ended: false, buffer, delimiter, lead: 0, state: State::Inside }
    }

    async fn fill(&mut self) -> Result<(), MultipartError> {
        if self.source_ended {
            return Err(MultipartError::Truncated);
        }
        match self.source.next().await {
            Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
            Some(Err(_)) => return Err(MultipartError::Receive),
            None => self.source_ended = true,
        }
        Ok(())
    }

    /// The head of the next part; what was left of the part before is skipped. `None` after the last.
    ///
    /// # Errors
    /// The body is malformed, ends too early, or the connection broke.
    pub async fn next_part(&mut self) -> Result<Option<PartHead>, MultipartError> {
        while self.chunk().await?.is_some() {}
        if self.state == State::End {
            return Ok(None);
        }
        loop {
            if self.buffer.starts_with(b"--") {
                self.state = State::End;
                return Ok(None);
            }
            if self.buffer.len() >= 2
                && let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n")
            {
                let head = self.buffer.split_to(at + 2);
                self.lead = 2;
                self.state = State::Inside;
                return read_head(&head).map(Some);
            }
            if self.buffer.len() > MAX_HEADERS {
                return Err(MultipartError::Headers);
            }
            self.fill().await?;
        }
    }

    /// The next piece of the part's content; `None` at its end.
    ///
    /// # Errors
    /// The body ends too early, or the connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, MultipartError> {
        while self.state == State::Inside {
            if let Some(at) = memchr::memmem::find(&self.buffer, &self.delimiter) {
                let mut piece = self.buffer.split_to(at);
                let _ = self.buffer.split_to(self.delimiter.len());
                self.state = State::Between;
                let _ = piece.split_to(self.lead.min(at));
                self.lead = 0;
                if !piece.is_empty() {
                    return Ok(Some(piece.freeze()));
                }
            } else if self.buffer.len() >= self.delimiter.len() + self.lead {
                // The last bytes may be the beginning of a delimiter: they stay.
                let mut piece = self.buffer.split_to(self.buffer.len() - (self.delimiter.len() - 1));
                let _ = piece.split_to(self.lead);
                self.lead = 0;
                return Ok(Some(piece.freeze()));
            } else {
                self.fill().await?;
            }
        }
        Ok(None)
    }
}

/// Reads `Content-Disposition` out of the header lines of a part.
fn read_head(head: &[u8]) -> Result<PartHead, MultipartError> {
    let text = String::from_utf8_lossy(head);
    let mut found = PartHead::default();
    for line in text.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        if !name.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        for (name, value) in parameters(value) {
            match name.as_str() {
                "name" => found.name = value,
                "filename" => found.file_name = Some(value),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The `name=value` pairs after the first `;`, quoted or not.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some((_, mut rest)) = value.split_once(';') else { return found };
    loop {
        let Some((name, after)) = rest.split_once('=') else { return found };
        let name = name.trim().trim_start_matches(';').trim().to_ascii_lowercase();
        let after = after.trim_start();
        let mut text = String::new();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut end = quoted.len();
            let mut escaped = false;
            for (at, c) in quoted.char_indices() {
                match c {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = at + 1;
                        break;
                    }
                    _ => {
                        escaped = false;
                        text.push(c);
                    }
                }
            }
            rest = &quoted[end.min(quoted.len())..];
        } else {
            let (plain, more) = after.split_once(';').unwrap_or((after, ""));
            plain.trim().clone_into(&mut text);
            rest = more;
        }
        found.push((name, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn read(body: &[u8], piece: usize) -> Result<Vec<(PartHead, Vec<u8>)>, MultipartError> {
        let pieces: Vec<Result<Bytes, std::convert::Infallible>> =
            body.chunks(piece.max(1)).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let mut multipart = Multipart::new(futures_util::stream::iter(pieces), "XX");
        let mut parts = Vec::new();
        while let Some(head) = multipart.next_part().await? {
            let mut content = Vec::new();
            while let Some(bytes) = multipart.chunk().await? {
                content.extend_from_slice(&bytes);
            }
            parts.push((head, content));
        }
        Ok(parts)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn the_boundary_is_found_in_every_usual_spelling() {
        for (text, want) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("text/plain; boundary=abc", None),
        ] {
            assert_eq!(boundary(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn parts_are_the_same_however_the_bytes_arrive() {
        let body = b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--X not the end\r\n\
            --XX\r\ncontent-disposition: form-data; name=file; filename=\"x\\\"y;z.csv\"\r\nContent-Type: text/csv\r\n\r\n\r\n\r\n\
            --XX \r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX--\r\nepilogue";
        for piece in 1..body.len() {
            let parts = run(read(body, piece)).unwrap();
            let head =
                |name: &str, file: Option<&str>| PartHead { name: name.into(), file_name: file.map(str::to_owned) };
            assert_eq!(
                parts,
                vec![
                    (head("a", None), b"one\r\n--X not the end".to_vec()),
                    (head("file", Some("x\"y;z.csv")), b"\r\n".to_vec()),
                    (head("empty", None), Vec::new()),
                ],
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XX--";
        assert!(run(read(body, 3)).is_ok());
        for end in 0..body.len() - 2 {
            assert!(matches!(run(read(&body[..end], 5)), Err(MultipartError::Truncated)), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_content_comes_back(content in proptest::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
            let _ = run(read(&content, piece));
            prop_assume!(memchr::memmem::find(&content, b"--XX").is_none());
            let body = [b"--XX\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n".as_slice(), &content, b"\r\n--XX--\r\n"].concat();
            let parts = run(read(&body, piece)).unwrap();
            prop_assert_eq!(parts.len(), 1);
            prop_assert_eq!(&parts[0].1, &content);
        }
    }
}
