//! Imports of contacts: a file is taken to disk, the engine reads it, this shows how far it is.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_domain::access::Scope;
use postrider_domain::consent::LegalBasis;
use postrider_domain::id::{ImportId, ListId, PurposeId, WordingId};
use postrider_domain::import::{ImportConsent, ImportState, Mapping};
use postrider_store::import::{Import, NewImport};
use postrider_store::page::PageRequest;
use serde_json::{Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::csv;
use crate::idempotency;
use crate::input::{Paging, Path, Query};
use crate::page::{Listed, listing, paging};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema::{self as s, Time};
use crate::upload;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    let read = Rule::Scope(Scope::ContactsRead);
    let write = Rule::Scope(Scope::ContactsWrite);
    api.add(
        Method::GET,
        "/api/v1/imports",
        read,
        Op::new("imports", "list_imports", "The imports of the workspace").gives_page::<ImportView>("Newest first."),
        list,
    );
    api.add(
        Method::POST,
        "/api/v1/imports",
        write,
        Op::new("imports", "create_import", "Upload a file of contacts and read it")
            .about(
                "Send `multipart/form-data` with a part `params` (JSON, see ImportParams) and a part `file`; or the bare \
                 file as `text/csv` with the same JSON in the query parameter `params` and the name in `file_name`. \
                 Without source, basis, date, purpose and wording the contacts are stored but not mailable.",
            )
            .query::<UploadQuery>()
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
            .gives::<ImportView>(202, "The file is on disk; the engine reads it.")
            .retry(Retry::ReplayByHandler),
        create,
    );
    api.add(
        Method::GET,
        "/api/v1/imports/{import}",
        read,
        Op::new("imports", "get_import", "One import and how far it is").gives::<ImportView>(200, "The import."),
        get,
    );
    api.add(
        Method::POST,
        "/api/v1/imports/{import}/stop",
        write,
        Op::new("imports", "stop_import", "Stop an import; what was read stays")
            .gives::<ImportView>(200, "The import."),
        stop,
    );
    api.add(
        Method::POST,
        "/api/v1/imports/{import}/resume",
        write,
        Op::new("imports", "resume_import", "Let a stopped or failed import go on")
            .gives::<ImportView>(200, "The import.")
            .retry(Retry::Replay),
        resume,
    );
    api.add(
        Method::GET,
        "/api/v1/imports/{import}/refused.csv",
        Rule::Scope(Scope::Export),
        Op::new("imports", "refused_rows", "The refused rows with their reason").gives_content(
            200,
            "text/csv",
            "row, reason, sentence, detail, and the row as it stood in the file.",
        ),
        refused,
    );
}

/// With a bare file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct UploadQuery {
    /// The ImportParams as JSON.
    params: Option<String>,
    /// The name of the file.
    file_name: Option<String>,
}

/// How a file is read and what its contacts agreed to.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportParams {
    /// Heading (or 1-based number) of the mailbox column; empty: guessed.
    mailbox: String,
    /// Heading of the zone column.
    zone: String,
    /// Heading of the language column.
    language: String,
    /// Heading to attribute name; headings not named become attributes of their own name.
    attributes: std::collections::BTreeMap<String, String>,
    /// Headings that are left out.
    ignore: Vec<String>,
    /// `,` `;` tab or `|`; empty: detected.
    delimiter: String,
    /// Character set label; empty: detected.
    charset: String,
    /// Lists that the contacts join.
    #[schema(value_type = Vec<s::ListId>)]
    lists: Vec<ListId>,
    /// The consent that the file claims.
    consent: ImportConsentView,
}

/// The consent that an import claims.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct ImportConsentView {
    /// Where the contacts come from, in words.
    source: String,
    /// The legal basis.
    #[schema(value_type = Option<s::LegalBasis>)]
    basis: Option<LegalBasis>,
    /// When they agreed.
    given_at: Option<Time>,
    /// The purpose.
    #[schema(value_type = Option<s::PurposeId>)]
    purpose: Option<PurposeId>,
    /// The wording that they agreed to.
    #[schema(value_type = Option<s::WordingId>)]
    wording: Option<WordingId>,
}

impl ImportParams {
    /// The mapping and the consent.
    pub fn split(self) -> (Mapping, ImportConsent) {
        let mapping = Mapping {
            mailbox: self.mailbox,
            zone: self.zone,
            language: self.language,
            attributes: self.attributes,
            ignore: self.ignore,
            delimiter: self.delimiter,
            charset: self.charset,
            lists: self.lists,
        };
        let consent = ImportConsent {
            source: self.consent.source,
            basis: self.consent.basis,
            given_at: self.consent.given_at.map(|t| t.0),
            purpose: self.consent.purpose,
            wording: self.consent.wording,
        };
        (mapping, consent)
    }

    fn join(mapping: Mapping, consent: ImportConsent) -> ImportParams {
        ImportParams {
            mailbox: mapping.mailbox,
            zone: mapping.zone,
            language: mapping.language,
            attributes: mapping.attributes,
            ignore: mapping.ignore,
            delimiter: mapping.delimiter,
            charset: mapping.charset,
            lists: mapping.lists,
            consent: ImportConsentView {
                source: consent.source,
                basis: consent.basis,
                given_at: consent.given_at.map(Time),
                purpose: consent.purpose,
                wording: consent.wording,
            },
        }
    }
}

/// An import and how far it is.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct ImportView {
    /// Its id.
    #[schema(value_type = s::ImportId)]
    id: ImportId,
    /// Where it stands.
    #[schema(value_type = s::ImportState)]
    state: ImportState,
    /// The name of the file.
    file_name: String,
    /// Its size in bytes.
    size: i64,
    /// How much of it is read and committed, in bytes.
    byte_offset: i64,
    /// Rows read and committed.
    rows: i64,
    /// New contacts.
    created: i64,
    /// Contacts with changed fields.
    updated: i64,
    /// Contacts that were already so.
    unchanged: i64,
    /// Refused rows by reason.
    refused: std::collections::BTreeMap<String, i64>,
    /// Whether its contacts become mailable; if not, `consent_missing` says why.
    mailable: bool,
    /// What the consent lacks.
    consent_missing: Vec<String>,
    /// How it is read.
    params: ImportParams,
    /// What was detected in the file: character set, delimiter, headings.
    #[schema(value_type = Option<Object>)]
    detected: Option<Value>,
    /// Why it failed and what to do.
    error: Option<String>,
    /// When it was made.
    created_at: Time,
    /// When reading began.
    started_at: Option<Time>,
    /// When it ended.
    finished_at: Option<Time>,
}

impl From<Import> for ImportView {
    fn from(i: Import) -> ImportView {
        ImportView {
            id: i.id,
            state: i.state,
            file_name: i.file_name,
            size: i.size,
            byte_offset: i.byte_offset,
            rows: i.rows,
            created: i.counts.created,
            updated: i.counts.updated,
            unchanged: i.counts.unchanged,
            refused: i.counts.refused,
            mailable: i.consent.is_complete(),
            consent_missing: i.consent.missing().into_iter().map(str::to_owned).collect(),
            params: ImportParams::join(i.mapping, i.consent),
            detected: i.detected,
            error: i.error,
            created_at: Time(i.created_at),
            started_at: i.started_at.map(Time),
            finished_at: i.finished_at.map(Time),
        }
    }
}

async fn list(State(web): State<Web>, caller: Caller, Query(query): Query<Paging>) -> Listed<ImportView> {
    let page = paging(query.limit, query.cursor)?;
    Ok(listing(web.store().imports(caller.workspace, &page).await?))
}

/// Reads the parameters of an import; nothing is the default.
///
/// # Errors
/// 4xx for what is no such JSON.
pub fn params(text: &str) -> Result<ImportParams, Problem> {
    if text.trim().is_empty() {
        return Ok(ImportParams::default());
    }
    crate::input::json_text(text.as_bytes())
}

async fn create(
    State(web): State<Web>,
    caller: Caller,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let key = idempotency::key(request.headers())?;
    let asker = idempotency::Asker::from(&caller);
    let file = upload::receive(&web, request).await?;
    let params = params(file.params.as_deref().or(query.params.as_deref()).unwrap_or_default())?;
    let name =
        file.name.clone().or(query.file_name).filter(|n| !n.trim().is_empty()).unwrap_or_else(|| "contacts.csv".into());
    let name: String =
        name.rsplit(['/', '\\']).next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    let said = serde_json::to_vec(&(&params, &name, &file.sha256)).map_err(|_| Problem::internal())?;
    let begun = match key {
        None => None,
        Some(key) => match idempotency::begin(&web, &asker, &key, &Method::POST, "/api/v1/imports", &said).await? {
            idempotency::Begun::Replay(response) => return Ok(response),
            idempotency::Begun::Fresh => Some(key),
        },
    };
    let made = make(&web, &caller, params, name, file).await;
    match (made, begun) {
        (Ok(view), key) => {
            let body = serde_json::to_vec(&view).map_err(|_| Problem::internal())?;
            if let Some(key) = key {
                idempotency::finish(&web, &asker, &key, StatusCode::ACCEPTED, &body).await?;
            }
            Ok((StatusCode::ACCEPTED, [("content-type", "application/json")], body).into_response())
        }
        (Err(problem), key) => {
            if let Some(key) = key {
                idempotency::forget(&web, &asker, &key).await?;
            }
            Err(problem)
        }
    }
}

async fn make(
    web: &Web,
    caller: &Caller,
    params: ImportParams,
    file_name: String,
    file: upload::Upload,
) -> Result<ImportView, Problem> {
    let (mapping, consent) = params.split();
    let new = NewImport {
        file_path: file.path.display().to_string(),
        file_name,
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        mapping,
        consent,
    };
    let made = web.store().create_import(caller.workspace, &caller.actor, new).await?;
    file.keep();
    Ok(made.into())
}

async fn get(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ImportId>,
) -> Result<axum::Json<ImportView>, Problem> {
    Ok(axum::Json(web.store().import(caller.workspace, id).await?.into()))
}

async fn stop(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ImportId>,
) -> Result<axum::Json<ImportView>, Problem> {
    Ok(axum::Json(web.store().stop_import(caller.workspace, &caller.actor, id).await?.into()))
}

async fn resume(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<ImportId>,
) -> Result<axum::Json<ImportView>, Problem> {
    Ok(axum::Json(web.store().resume_import(caller.workspace, &caller.actor, id).await?.into()))
}

async fn refused(State(web): State<Web>, caller: Caller, Path(id): Path<ImportId>) -> Result<Response, Problem> {
    let import = web.store().import(caller.workspace, id).await?;
    web.store()
        .note_act(Some(caller.workspace), &caller.actor, "import.refused_rows", &id.to_string(), json!({}))
        .await?;
    let workspace = caller.workspace;
    Ok(csv::pages("refused.csv", "row,reason,sentence,detail,raw", move |cursor| {
        let web = web.clone();
        async move {
            let page = PageRequest { limit: 500, cursor };
            let page = web.store().refused_rows(workspace, import.id, &page).await?;
            let mut out = String::new();
            for row in &page.items {
                csv::row(
                    [row.row.to_string().as_str(), row.reason.as_str(), row.reason.sentence(), &row.detail, &row.raw],
                    &mut out,
                );
            }
            Ok((Bytes::from(out), page.next))
        }
    }))
}
