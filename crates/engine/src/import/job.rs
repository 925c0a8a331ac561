//! The import job: reads the file on a thread of its own, looks at domains, and hands slices to the store.
//!
//! A slice and its place in the file are one transaction, so a kill anywhere costs nothing but the slice at work. Memory
//! does not grow with the file. Must not know how contacts are stored.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use postrider_domain::contact::AddressState;
use postrider_domain::import::RefusedReason;
use postrider_sheet::Sheet;
use postrider_sheet::columns::Candidate;
use postrider_sheet::rows::{Row, Rows};
use postrider_sheet::text::SAMPLE;
use postrider_store::import::{Import, ImportEnd, RefusedRow};
use postrider_store::import_slice::{ImportRow, SliceAnswer, SliceProgress};
use postrider_store::{StoreError, Topic};
use tokio::sync::mpsc;

use super::domains::Domains;
use crate::shared::{Phase, Shared};

/// Rows of one slice.
const SLICE_ROWS: usize = 1_000;
/// Bytes of one slice, in case the rows are long.
const SLICE_BYTES: u64 = 2 << 20;
/// Slices that are read ahead.
const AHEAD: usize = 2;
/// Longest raw row that is kept for a refused one, in bytes.
const RAW_MAX: usize = 64 << 10;

/// A stretch of the file, parsed.
struct Slice {
    rows: Vec<(i64, Candidate)>,
    refused: Vec<RefusedRow>,
    to: u64,
}

/// What the reading thread sends.
enum Piece {
    /// What it found out about the file.
    Detected(serde_json::Value),
    Slice(Slice),
    /// The end of the file.
    End,
    /// It cannot go on; the text says what to do.
    Failed(String),
}

/// Runs imports one after the other until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut bell = shared.store.bell().listen();
    let domains = Arc::new(Domains::new(Arc::clone(&shared)));
    while shared.is_running() {
        match next(&shared).await {
            Ok(Some(import)) => {
                work(&shared, &domains, import).await;
                continue;
            }
            Ok(None) => {}
            Err(error) => shared.complain("ask for the next import", &error),
        }
        tokio::select! {
            () = tokio::time::sleep(shared.config.times.poll) => {}
            () = shared.reached(Phase::Stopping) => return,
            () = ring(&mut bell) => {}
        }
    }
}

async fn ring(bell: &mut tokio::sync::broadcast::Receiver<Topic>) {
    loop {
        match bell.recv().await {
            Ok(Topic::Import) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => return,
            Ok(Topic::Work | Topic::Campaign | Topic::Inquiry | Topic::Live { .. }) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The next import: one that waits, or that ran on a node that has ended.
async fn next(shared: &Shared) -> Result<Option<Import>, StoreError> {
    let ended: Vec<_> = shared.store.nodes().await?.into_iter().filter(|n| !n.running).map(|n| n.id).collect();
    shared.store.next_import(&ended).await
}

async fn work(shared: &Arc<Shared>, domains: &Arc<Domains>, import: Import) {
    let begun = std::time::Instant::now();
    tracing::info!(event = "import.running", import = %import.id, from_byte = import.byte_offset, size = import.size);
    match carry_out(shared, domains, &import).await {
        Ok(Some(end)) => {
            let word = match &end {
                ImportEnd::Done => "done",
                ImportEnd::Failed(_) => "failed",
            };
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(event = "import.ended", import = %import.id, end = word, ms);
            match shared.store.finish_import(&import, end).await {
                Ok(()) if word == "done" => forget_file(shared, &import),
                // Stopped in this moment, or failed: the file is needed to go on.
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => shared.complain("end an import", &error),
            }
        }
        Ok(None) => tracing::info!(event = "import.left", import = %import.id),
        Err(error) => {
            shared.complain("import contacts", &error);
            // The import stays `running` here and is taken up again where it was.
            shared.rest(shared.config.times.poll).await;
        }
    }
}

/// Where the file lies: a relative path begins in the data folder.
fn place(shared: &Shared, import: &Import) -> PathBuf {
    shared.store.data().join(&import.file_path)
}

/// An uploaded copy holds personal data and has served; a file outside of the data folder is not ours to delete.
fn forget_file(shared: &Shared, import: &Import) {
    let path = place(shared, import);
    if path.starts_with(shared.store.data())
        && let Err(error) = std::fs::remove_file(&path)
    {
        tracing::warn!(event = "import.file_left", import = %import.id, error = %error);
    }
}

/// Carries an import out; `None` when it was stopped or the engine stops.
async fn carry_out(
    shared: &Arc<Shared>,
    domains: &Arc<Domains>,
    import: &Import,
) -> Result<Option<ImportEnd>, StoreError> {
    let (sender, mut pieces) = mpsc::channel(AHEAD);
    let mut job = import.clone();
    job.file_path = place(shared, import).display().to_string();
    let reader = tokio::task::spawn_blocking(move || read(&job, &sender));
    let mut from = import.byte_offset;
    let mut end = None;
    while let Some(piece) = pieces.recv().await {
        if !shared.is_running() {
            break;
        }
        match piece {
            Piece::Detected(detected) => match shared.store.import_detected(import, &detected).await {
                Ok(()) => {}
                Err(StoreError::NotFound { .. }) => break,
                Err(error) => return Err(error),
            },
            Piece::Slice(slice) => {
                let (rows, refused) = check_domains(domains, slice.rows, slice.refused).await?;
                let to = i64::try_from(slice.to).unwrap_or(i64::MAX);
                match shared.store.upsert_rows(import, &rows, &refused, SliceProgress { from, to }).await? {
                    SliceAnswer::Committed(_) => from = to,
                    SliceAnswer::NotRunning => break,
                }
                shared.metrics.rows_imported(rows.len() as u64, refused.len() as u64);
            }
            Piece::End => {
                end = Some(ImportEnd::Done);
                break;
            }
            Piece::Failed(why) => {
                end = Some(ImportEnd::Failed(why));
                break;
            }
        }
    }
    drop(pieces);
    // The thread ends at its next piece, since nobody takes it any more.
    if reader.await.is_err() {
        return Ok(Some(ImportEnd::Failed("the file could not be read through: see the log of the server".into())));
    }
    Ok(end)
}

/// Looks at the domains of a slice: rows whose domain takes no mail are refused.
async fn check_domains(
    domains: &Domains,
    candidates: Vec<(i64, Candidate)>,
    mut refused: Vec<RefusedRow>,
) -> Result<(Vec<ImportRow>, Vec<RefusedRow>), StoreError> {
    let states = domains.look(candidates.iter().map(|(_, c)| c.mailbox.domain())).await?;
    let mut rows = Vec::with_capacity(candidates.len());
    for (row, candidate) in candidates {
        let domain = candidate.mailbox.domain().as_str().to_owned();
        let state = states.get(&domain).copied().unwrap_or(AddressState::Unchecked);
        let reason = match state {
            AddressState::Mailable | AddressState::Unchecked => None,
            AddressState::NoMailServer => Some(RefusedReason::NoMailServer),
            AddressState::NullMx => Some(RefusedReason::NullMx),
        };
        match reason {
            Some(reason) => refused.push(RefusedRow { row, reason, detail: domain, raw: candidate.mailbox.wire() }),
            None => rows.push(ImportRow {
                row,
                mailbox: candidate.mailbox.wire(),
                mailbox_norm: candidate.mailbox.normalised(),
                domain,
                attributes: candidate.attributes,
                zone: candidate.zone,
                language: candidate.language,
                address_state: state,
                marks: candidate.marks,
                hint: candidate.hint,
            }),
        }
    }
    refused.sort_by_key(|r| r.row);
    Ok((rows, refused))
}

/// Reads the file on its own thread; ends early when nobody takes the pieces any more.
fn read(import: &Import, pieces: &mpsc::Sender<Piece>) {
    let last = match read_through(import, pieces) {
        Ok(Some(piece)) => piece,
        Ok(None) => return,
        Err(error) => Piece::Failed(format!("the file cannot be read: {error}; put it back and resume the import")),
    };
    let _ = pieces.blocking_send(last);
}

/// `Ok(None)` when nobody takes the pieces any more.
fn read_through(import: &Import, pieces: &mpsc::Sender<Piece>) -> io::Result<Option<Piece>> {
    let mut sample = Vec::new();
    File::open(&import.file_path)?.take(SAMPLE as u64).read_to_end(&mut sample)?;
    let sheet = match Sheet::look(&sample, &import.mapping) {
        Ok(sheet) => sheet,
        Err(why) => return Ok(Some(Piece::Failed(why))),
    };
    drop(sample);
    let columns = match &sheet.columns {
        Ok(columns) => columns,
        Err(why) => return Ok(Some(Piece::Failed(why.clone()))),
    };
    let detected = serde_json::json!({
        "charset": sheet.charset.encoding.name(),
        "delimiter": sheet.delimiter_text(),
        "heading": columns.has_heading,
        "columns": columns.describe(),
    });
    if pieces.blocking_send(Piece::Detected(detected)).is_err() {
        return Ok(None);
    }
    let committed = u64::try_from(import.byte_offset).unwrap_or(0);
    let offset = if committed == 0 { sheet.begin() } else { committed };
    let file = File::open(&import.file_path)?;
    let mut rows = Rows::new(sheet.source(file, offset)?, sheet.delimiter, offset);
    let mut number = import.rows;
    let mut row = Row::default();
    loop {
        let begin = offset.max(row.end);
        let mut slice = Slice { rows: Vec::new(), refused: Vec::new(), to: begin };
        while slice.rows.len() + slice.refused.len() < SLICE_ROWS && slice.to - begin < SLICE_BYTES {
            if !rows.read(&mut row)? {
                break;
            }
            number += 1;
            slice.to = row.end;
            match columns.candidate(&row) {
                Ok(candidate) => slice.rows.push((number, candidate)),
                Err(why) => slice.refused.push(RefusedRow {
                    row: number,
                    reason: why.reason,
                    detail: why.detail,
                    raw: raw_text(rows.raw(&row)),
                }),
            }
        }
        if slice.rows.is_empty() && slice.refused.is_empty() {
            return Ok(Some(Piece::End));
        }
        if pieces.blocking_send(Piece::Slice(slice)).is_err() {
            return Ok(None);
        }
    }
}

fn raw_text(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(RAW_MAX)]).into_owned()
}
