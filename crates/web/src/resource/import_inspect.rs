//! A look at a file before it is imported: how it would be read, and, of a whole file, what its rows would become.
//!
//! The importer's own code reads it. Nothing is stored; the file is gone when the answer is given.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;

use axum::extract::{Request, State};
use axum::http::Method;
use postrider_domain::access::Scope;
use postrider_domain::import::{Mapping, RefusedReason};
use postrider_sheet::Sheet;
use postrider_sheet::rows::{Row, Rows};
use postrider_sheet::text::SAMPLE;
use serde_json::json;
use tokio::sync::mpsc;

use crate::Web;
use crate::api::{Api, Op};
use crate::caller::Caller;
use crate::input::Query;
use crate::problem::Problem;
use crate::resource::import::{ImportParams, params};
use crate::rule::Rule;
use crate::upload::{self, Upload};

/// Rows that are shown.
const ROWS: usize = 20;
/// Longest text of a shown cell, in characters.
const CELL: usize = 200;
/// Values shown of a column.
const EXAMPLES: usize = 3;
/// Refused rows shown of each reason.
const REFUSED: usize = 5;
/// Longest text of a shown refused row, in characters.
const RAW: usize = 300;
/// Mailboxes that are looked up at once.
const BATCH: usize = 2_000;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::POST,
        "/api/v1/imports/inspect",
        Rule::Scope(Scope::ContactsWrite),
        Op::new("imports", "inspect_import", "Look at a file before it is imported; nothing is stored")
            .about(
                "Send the first 64 KiB to 1 MiB of the file, as with `create_import`, to see how it would be read. With \
                 `whole=true` and the whole file, `dry_run` tells what its rows would become. Domains are looked up by the \
                 import itself only: rows whose domain takes no mail are not known yet.",
            )
            .query::<InspectQuery>()
            .schema::<ImportParams>()
            .takes_content(json!({
                "multipart/form-data": { "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "params": { "$ref": "#/components/schemas/ImportParams" },
                        "file": { "type": "string", "contentMediaType": "text/csv" }
                    }
                } },
                "text/csv": { "schema": { "type": "string" }, "example": "mailbox,first_name\r\nelena@example.org,Elena\r\n" }
            }))
            .gives::<InspectView>(200, "How the file would be read."),
        inspect,
    );
}

/// How the file is looked at.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct InspectQuery {
    /// The ImportParams as JSON, with a bare file.
    params: Option<String>,
    /// Whether the whole file is sent, so that every row is looked at.
    whole: Option<bool>,
}

/// How a file would be read.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct InspectView {
    /// Its character set.
    charset: String,
    /// `,` `;` `|` or `tab`.
    delimiter: String,
    /// Whether its first row holds headings.
    heading: bool,
    /// Its columns.
    columns: Vec<ColumnView>,
    /// The first twenty rows, the heading apart; long cells are cut.
    rows: Vec<Vec<String>>,
    /// Why it cannot be imported like this and what to change; usually the column of mailboxes was not found.
    problem: Option<String>,
    /// What its rows would become; only of a whole file that can be imported.
    dry_run: Option<DryRunView>,
}

/// A column.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ColumnView {
    /// Its number, from 1; usable in the mapping.
    number: usize,
    /// Its heading; empty when the file has none.
    heading: String,
    /// `mailbox`, `zone`, `language`, `attribute`, `ignored`; `unknown` while no column of mailboxes is found.
    role: String,
    /// The name of the attribute.
    attribute: Option<String>,
    /// Why: `named` (the mapping says so), `heading` (a usual heading for this), `content` (its values look like it),
    /// `own_name` (nothing is known; it becomes an attribute of its heading's name).
    confidence: String,
    /// Its first values.
    examples: Vec<String>,
}

/// What the rows of a file would become.
#[derive(Default, serde::Serialize, utoipa::ToSchema)]
struct DryRunView {
    /// Rows, the heading apart.
    rows: i64,
    /// Mailboxes that would become new contacts.
    new: i64,
    /// Mailboxes that are in the book already; their fields would be set.
    known: i64,
    /// Further rows of a mailbox that came earlier in the file; they are merged.
    repeated: i64,
    /// Of the new and known ones: mailboxes that are suppressed and stay so.
    suppressed: i64,
    /// Rows that would be refused, by reason.
    refused: BTreeMap<String, i64>,
    /// The first refused rows of each reason.
    examples: Vec<RefusedExample>,
}

/// A row that would be refused.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct RefusedExample {
    /// Its number, from 1, the heading apart.
    row: i64,
    /// The reason.
    reason: String,
    /// The reason as a sentence.
    sentence: String,
    /// What exactly.
    detail: String,
    /// The row as it stands in the file; long ones are cut.
    raw: String,
}

async fn inspect(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<InspectQuery>,
    request: Request,
) -> Result<axum::Json<InspectView>, Problem> {
    let file = upload::receive(&web, request).await?;
    let params = params(file.params.as_deref().or(query.params.as_deref()).unwrap_or_default())?;
    let mapping = params.split().0;
    let (file, sheet) = look(file, mapping).await?;
    let sheet = sheet.map_err(Problem::refused)?;
    let mut view = view(&sheet);
    if query.whole == Some(true) && sheet.columns.is_ok() {
        view.dry_run = Some(dry_run(&web, &caller, file, sheet).await?);
    }
    Ok(axum::Json(view))
}

/// Reads the begin of a file where it stops nobody.
async fn look(file: Upload, mapping: Mapping) -> Result<(Upload, Result<Sheet, String>), Problem> {
    let read = tokio::task::spawn_blocking(move || {
        let mut sample = Vec::new();
        File::open(&file.path)?.take(SAMPLE as u64).read_to_end(&mut sample)?;
        Ok::<_, std::io::Error>((file, Sheet::look(&sample, &mapping)))
    });
    read.await.ok().and_then(Result::ok).ok_or_else(Problem::internal)
}

fn view(sheet: &Sheet) -> InspectView {
    let rows = sheet.sample_rows(ROWS, CELL);
    let heading = sheet.has_heading();
    let known = sheet.columns.as_ref().map(|columns| columns.explain()).unwrap_or_default();
    let columns = sheet
        .first
        .iter()
        .enumerate()
        .map(|(i, first)| ColumnView {
            number: i + 1,
            heading: if heading { first.trim().chars().take(CELL).collect() } else { String::new() },
            role: known.get(i).map_or("unknown", |c| c.role).to_owned(),
            attribute: known.get(i).and_then(|c| c.attribute.clone()),
            confidence: known.get(i).map_or("own_name", |c| c.confidence.as_str()).to_owned(),
            examples: rows
                .iter()
                .filter_map(|row| row.get(i))
                .filter(|cell| !cell.trim().is_empty())
                .take(EXAMPLES)
                .cloned()
                .collect(),
        })
        .collect();
    InspectView {
        charset: sheet.charset.encoding.name().to_owned(),
        delimiter: sheet.delimiter_text(),
        heading,
        columns,
        rows,
        problem: sheet.columns.as_ref().err().cloned(),
        dry_run: None,
    }
}

/// Reads every row on a thread of its own; mailboxes come back in batches to be looked up in the book.
async fn dry_run(web: &Web, caller: &Caller, file: Upload, sheet: Sheet) -> Result<DryRunView, Problem> {
    let (sender, mut batches) = mpsc::channel(2);
    let reader = tokio::task::spawn_blocking(move || read_all(&file, &sheet, &sender));
    let (mut known, mut new, mut suppressed) = (0, 0, 0);
    while let Some(batch) = batches.recv().await {
        let met = web.store().meet(caller.workspace, &batch).await?;
        known += met.known;
        new += i64::try_from(batch.len()).unwrap_or(0) - met.known;
        suppressed += met.suppressed;
    }
    match reader.await {
        Ok(Ok(found)) => Ok(DryRunView { known, new, suppressed, ..found }),
        Ok(Err(_)) | Err(_) => Err(Problem::internal()),
    }
}

type Batch = Vec<(String, String)>;

fn read_all(file: &Upload, sheet: &Sheet, batches: &mpsc::Sender<Batch>) -> std::io::Result<DryRunView> {
    use std::hash::BuildHasher;
    let mut found = DryRunView::default();
    let Ok(columns) = &sheet.columns else { return Ok(found) };
    let begin = sheet.begin();
    let mut rows = Rows::new(sheet.source(File::open(&file.path)?, begin)?, sheet.delimiter, begin);
    let mut row = Row::default();
    // Only hashes are kept of what was seen, so that a file of millions costs some tens of megabytes.
    let hasher = std::collections::hash_map::RandomState::new();
    let mut seen: HashSet<u64> = HashSet::new();
    let mut batch: Batch = Vec::with_capacity(BATCH);
    while rows.read(&mut row)? {
        found.rows += 1;
        match columns.candidate(&row) {
            Ok(candidate) => {
                let norm = candidate.mailbox.normalised();
                if !seen.insert(hasher.hash_one(&norm)) {
                    found.repeated += 1;
                    continue;
                }
                batch.push((norm, candidate.mailbox.domain().as_str().to_owned()));
                if batch.len() == BATCH && batches.blocking_send(std::mem::take(&mut batch)).is_err() {
                    // The one who asked is gone.
                    return Ok(found);
                }
            }
            Err(why) => {
                let n = found.refused.entry(why.reason.to_string()).or_default();
                *n += 1;
                if *n <= REFUSED as i64 {
                    found.examples.push(example(found.rows, why.reason, why.detail, rows.raw(&row)));
                }
            }
        }
    }
    if !batch.is_empty() {
        let _ = batches.blocking_send(batch);
    }
    Ok(found)
}

fn example(row: i64, reason: RefusedReason, detail: String, raw: &[u8]) -> RefusedExample {
    let raw = String::from_utf8_lossy(&raw[..raw.len().min(RAW * 4)]).chars().take(RAW).collect();
    RefusedExample { row, reason: reason.to_string(), sentence: reason.sentence().to_owned(), detail, raw }
}
