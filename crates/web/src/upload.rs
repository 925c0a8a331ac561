//! Takes an uploaded file to disk, piece by piece: bounded memory, a cap, and nothing left behind when it breaks off.
//!
//! Must not know: what is in the file.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use crate::Web;
use crate::input::RECEIVE;
use crate::multipart::{Multipart, MultipartError, boundary};
use crate::problem::Problem;

/// Most bytes of the `params` part.
const MAX_PARAMS: usize = 1024 * 1024;

/// A file that arrived in full and is synced to disk. Dropped without [`Upload::keep`] it is deleted.
pub struct Upload {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content.
    pub sha256: Vec<u8>,
    /// The name that the sender gave it.
    pub name: Option<String>,
    /// The `params` part.
    pub params: Option<String>,
    kept: bool,
}

impl Upload {
    /// Leaves the file where it is.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A file being written; deleted unless it becomes an [`Upload`].
struct Growing {
    file: tokio::fs::File,
    upload: Upload,
    digest: aws_lc_rs::digest::Context,
    most: u64,
}

fn too_large(most: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!(
            "the file may have at most {most} bytes: divide it, or import it with `postrider import` on the server"
        ),
    )
}

fn disk(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "an upload could not be written");
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_space",
        "the file could not be written to the disk of the server: make room there, then send it again",
    )
}

impl Growing {
    async fn begin(web: &Web) -> Result<Growing, Problem> {
        let most = web.config().max_import_bytes;
        let folder = &web.config().import_dir;
        tokio::fs::create_dir_all(folder).await.map_err(|e| disk(&e))?;
        let mut random = [0u8; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| Problem::internal())?;
        let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let path = folder.join(format!("{name}.csv"));
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await.map_err(|e| disk(&e))?;
        let upload = Upload { path, size: 0, sha256: Vec::new(), name: None, params: None, kept: false };
        Ok(Growing { file, upload, digest: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256), most })
    }

    async fn write(&mut self, bytes: &Bytes) -> Result<(), Problem> {
        self.upload.size += bytes.len() as u64;
        if self.upload.size > self.most {
            return Err(too_large(self.most));
        }
        self.digest.update(bytes);
        self.file.write_all(bytes).await.map_err(|e| disk(&e))
    }

    async fn end(mut self) -> Result<Upload, Problem> {
        self.file.flush().await.map_err(|e| disk(&e))?;
        self.file.sync_all().await.map_err(|e| disk(&e))?;
        if let Some(folder) = self.upload.path.parent() {
            // The name must survive a crash too.
            let folder = tokio::fs::File::open(folder).await.map_err(|e| disk(&e))?;
            folder.sync_all().await.map_err(|e| disk(&e))?;
        }
        self.upload.sha256 = self.digest.finish().as_ref().to_vec();
        if self.upload.size == 0 {
            return Err(Problem::refused("the file is empty"));
        }
        Ok(self.upload)
    }
}

/// The pieces of a body; one that stops coming for a minute is a broken one.
fn pieces(body: Body) -> impl Stream<Item = Result<Bytes, axum::Error>> + Unpin {
    Box::pin(futures_util::stream::unfold(Some(body.into_data_stream()), |stream| async move {
        let mut stream = stream?;
        match tokio::time::timeout(RECEIVE, stream.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(stream))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(late) => Some((Err(axum::Error::new(late)), None)),
        }
    }))
}

/// Takes the body of a request to disk: `multipart/form-data` with `params` and `file`, or the bare file.
///
/// # Errors
/// 4xx for a body that cannot be read or is too large, 503 when the disk is full.
pub async fn receive(web: &Web, request: Request) -> Result<Upload, Problem> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let most = web.config().max_import_bytes;
    if length.is_some_and(|length| length > most.saturating_add(MAX_PARAMS as u64)) {
        return Err(too_large(most));
    }
    let space = web.store().space()?;
    if space.low {
        return Err(postrider_store::StoreError::Full {
            free: space.free,
            need: postrider_store::Space::needed(space.total),
        }
        .into());
    }
    match kind.as_str() {
        "multipart/form-data" => {
            let boundary =
                boundary(content_type).ok_or_else(|| Problem::bad_request(MultipartError::Boundary.to_string()))?;
            multipart(web, body, &boundary).await
        }
        "text/csv" | "text/plain" | "text/tab-separated-values" | "application/octet-stream" | "application/csv" => {
            let mut growing = Growing::begin(web).await?;
            let mut pieces = pieces(body);
            while let Some(piece) = pieces.next().await {
                let piece =
                    piece.map_err(|_| Problem::bad_request("the file could not be received in full: send it again"))?;
                growing.write(&piece).await?;
            }
            growing.end().await
        }
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_a_file",
            "send the file as multipart/form-data (parts `params` and `file`) or bare as text/csv",
        )),
    }
}

async fn multipart(web: &Web, body: Body, boundary: &str) -> Result<Upload, Problem> {
    let unreadable = |error: MultipartError| Problem::bad_request(format!("the upload cannot be read: {error}"));
    let mut parts = Multipart::new(pieces(body), boundary);
    let mut growing = None;
    let mut params = None;
    while let Some(head) = parts.next_part().await.map_err(unreadable)? {
        match head.name.as_str() {
            "file" if growing.is_none() => {
                let mut file = Growing::begin(web).await?;
                file.upload.name = head.file_name;
                while let Some(piece) = parts.chunk().await.map_err(unreadable)? {
                    file.write(&piece).await?;
                }
                growing = Some(file);
            }
            "params" if params.is_none() => {
                let mut text = Vec::new();
                while let Some(piece) = parts.chunk().await.map_err(unreadable)? {
                    text.extend_from_slice(&piece);
                    if text.len() > MAX_PARAMS {
                        return Err(Problem::bad_request("the part `params` is larger than 1 MiB"));
                    }
                }
                params =
                    Some(String::from_utf8(text).map_err(|_| Problem::bad_request("the part `params` is no UTF-8"))?);
            }
            _ => {
                return Err(Problem::bad_request(
                    "the upload should have one part `params` and one part `file`, nothing else",
                ));
            }
        }
    }
    let growing = growing.ok_or_else(|| Problem::bad_request("the upload has no part `file`"))?;
    let mut upload = growing.end().await?;
    upload.params = params;
    Ok(upload)
}
