//! Comma-separated answers that spreadsheets may open: quoted, guarded against formulas, streamed page by page.
//!
//! Must not know: where the rows come from.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use postrider_store::StoreError;

/// Appends one row. A cell that a spreadsheet would take for a formula gets an apostrophe in front (SEC-25).
pub fn row<'a>(cells: impl IntoIterator<Item = &'a str>, out: &mut String) {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let guard = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
        if guard || cell.contains(['"', ',', '\r', '\n', ';', '\t']) {
            out.push('"');
            if guard {
                out.push('\'');
            }
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

/// A download whose rows come from a stream; `name` is our own word, never a person's text.
fn download<S>(name: &'static str, rows: S) -> Response
where
    S: Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Body::from_stream(rows)).into_response()
}

/// A download made of pages: `next` gives the lines of the page at a cursor and the cursor after it. At most one page is
/// in memory; a fault in the middle breaks the connection, so that a cut file is never taken for a whole one.
pub fn pages<F, R>(name: &'static str, heading: &str, next: F) -> Response
where
    F: Fn(Option<String>) -> R + Send + 'static,
    R: Future<Output = Result<(Bytes, Option<String>), StoreError>> + Send,
{
    enum At {
        Start(String),
        Page(Option<String>),
        End,
    }
    let start = At::Start(format!("{heading}\r\n"));
    let rows = futures_util::stream::unfold((start, next), |(at, next)| async move {
        match at {
            At::Start(heading) => Some((Ok(Bytes::from(heading)), (At::Page(None), next))),
            At::Page(cursor) => match next(cursor).await {
                Ok((rows, Some(after))) => Some((Ok(rows), (At::Page(Some(after)), next))),
                Ok((rows, None)) => Some((Ok(rows), (At::End, next))),
                Err(error) => {
                    tracing::error!(%error, "a download broke off");
                    Some((Err(std::io::Error::other("the download broke off")), (At::End, next)))
                }
            },
            At::End => None,
        }
    });
    download(name, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_guarded_and_cells_quoted() {
        for (cell, want) in [
            ("plain", "plain"),
            ("=1+1", "\"'=1+1\""),
            ("+39 06", "\"'+39 06\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\tx", "\"'\tx\""),
            ("\rx", "\"'\rx\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("", ""),
        ] {
            let mut out = String::new();
            row([cell], &mut out);
            assert_eq!(out, format!("{want}\r\n"), "{cell:?}");
        }
    }
}
