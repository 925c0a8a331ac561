//! What is done to all contacts that a search finds, as a query and not as ids: onto a list, off a list, into a file.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use postrider_domain::access::Scope;
use postrider_domain::id::ListId;
use postrider_domain::schedule::report_time;
use postrider_store::contact::ContactFilter;
use postrider_store::contact_bulk::{BulkAct, BulkDone};
use postrider_store::page::PageRequest;
use serde_json::{Map, Value, json};

use crate::Web;
use crate::api::{Api, Op, Retry};
use crate::caller::Caller;
use crate::csv;
use crate::input::{Json, Query};
use crate::problem::Problem;
use crate::rule::Rule;
use crate::schema as s;

/// Adds the routes.
pub fn routes(api: &mut Api) {
    api.add(
        Method::POST,
        "/api/v1/contacts/bulk",
        Rule::Scope(Scope::ContactsWrite),
        Op::new("contacts", "bulk_contacts", "Put every contact that matches on a list, or take it off")
            .about(
                "Ask GET /api/v1/contacts/count with `exact=true` first and send its number as `expected`: when another \
                 number matches by then, nothing is changed (409).",
            )
            .takes::<BulkInput>(json!({
                "search": "carla", "act": "add", "target": "lst_0000000000000", "expected": 1
            }))
            .gives::<BulkView>(200, "What was done.")
            .retry(Retry::Replay),
        bulk,
    );
    api.add(
        Method::GET,
        "/api/v1/contacts.csv",
        Rule::Scope(Scope::Export),
        Op::new("contacts", "export_contacts", "Every contact that matches, as a file")
            .query::<ExportQuery>()
            .gives_content(
                200,
                "text/csv",
                "mailbox, language, zone, source, since, a column for each usual attribute, more.",
            ),
        export,
    );
}

/// What is done with the list.
#[derive(Clone, Copy, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Act {
    /// Onto the list.
    Add,
    /// Off the list.
    Remove,
}

/// What is done, and to whom.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkInput {
    /// Mailboxes that begin with this text.
    search: Option<String>,
    /// Members of this list only.
    #[schema(value_type = Option<s::ListId>)]
    list: Option<ListId>,
    /// `add` or `remove`.
    act: Act,
    /// The list that they join or leave.
    #[schema(value_type = s::ListId)]
    target: ListId,
    /// How many contacts match, as they were counted.
    expected: i64,
}

/// What was done.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct BulkView {
    /// Contacts that matched.
    matched: i64,
    /// Of these, the ones that joined or left.
    changed: i64,
}

impl From<BulkDone> for BulkView {
    fn from(done: BulkDone) -> BulkView {
        BulkView { matched: done.matched, changed: done.changed }
    }
}

/// Who goes into the file.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// Mailboxes that begin with this text.
    search: Option<String>,
    /// Members of this list only.
    #[param(value_type = Option<s::ListId>)]
    list: Option<ListId>,
}

fn filter(search: Option<String>, list: Option<ListId>) -> ContactFilter {
    ContactFilter { mailbox_prefix: search.filter(|text| !text.trim().is_empty()), list }
}

async fn bulk(
    State(web): State<Web>,
    caller: Caller,
    Json(input): Json<BulkInput>,
) -> Result<axum::Json<BulkView>, Problem> {
    let act = match input.act {
        Act::Add => BulkAct::Join(input.target),
        Act::Remove => BulkAct::Leave(input.target),
    };
    let filter = filter(input.search, input.list);
    let done = web.store().bulk_members(caller.workspace, &caller.actor, &filter, act, input.expected).await?;
    Ok(axum::Json(done.into()))
}

/// A value as a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

async fn export(State(web): State<Web>, caller: Caller, Query(query): Query<ExportQuery>) -> Result<Response, Problem> {
    let filter = filter(query.search, query.list);
    let matched = web.store().count_all_contacts(caller.workspace, &filter).await?;
    let zone = web.store().workspace(caller.workspace).await?.time_zone;
    let names: BTreeSet<String> = web.store().attributes(caller.workspace).await?.with_value.into_keys().collect();
    let object = query.list.map(|list| list.to_string()).unwrap_or_default();
    web.store()
        .note_act(Some(caller.workspace), &caller.actor, "contacts.export", &object, json!({ "matched": matched }))
        .await?;
    let mut heading = "mailbox,language,zone,source,since".to_owned();
    for name in &names {
        heading.push(',');
        heading.push_str(name);
    }
    heading.push_str(",more");
    Ok(csv::pages("contacts.csv", &heading, move |cursor| {
        let (web, zone, filter, names) = (web.clone(), zone.clone(), filter.clone(), names.clone());
        async move {
            let page = PageRequest { limit: 500, cursor };
            let page = web.store().contacts(caller.workspace, &filter, &page).await?;
            let mut out = String::new();
            for mut contact in page.items {
                let mut cells = vec![
                    contact.mailbox,
                    contact.language.unwrap_or_default(),
                    contact.zone.unwrap_or_default(),
                    contact.source.unwrap_or_default(),
                    report_time(contact.created_at, &zone),
                ];
                cells.extend(
                    names.iter().map(|name| contact.attributes.remove(name).as_ref().map(cell).unwrap_or_default()),
                );
                // Rare attributes have no column of their own; nothing is left out.
                let more: Map<String, Value> = contact.attributes.into_iter().collect();
                cells.push(if more.is_empty() { String::new() } else { Value::from(more).to_string() });
                csv::row(cells.iter().map(String::as_str), &mut out);
            }
            Ok((Bytes::from(out), page.next))
        }
    }))
}
