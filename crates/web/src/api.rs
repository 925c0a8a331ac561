//! The only way to add a route: method, path, access rule, description and handler in one call.
//!
//! From these calls come both the router and the OpenAPI 3.1 file, so that neither can lie about the other.
//! Must not know: any single resource.

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodFilter, on};
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::Web;
use crate::guard::{Guard, guard};
use crate::problem::Problem;
use crate::rule::Rule;

/// What the OpenAPI file says of one route.
pub struct Op {
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Map<String, Value>,
    retry: Retry,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// What a repeated request with the same `Idempotency-Key` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The header is ignored.
    Plain,
    /// The stored answer is given again; kept by the guard around the handler.
    Replay,
    /// As `Replay`, but the handler itself sees to it because the body is too large to be kept in memory.
    ReplayByHandler,
}

fn reference<T: utoipa::ToSchema>() -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

impl Op {
    /// Describes a route: the tag groups, the id names it for generated clients.
    pub fn new(tag: &'static str, id: &'static str, summary: &'static str) -> Op {
        Op {
            tag,
            id,
            summary,
            description: None,
            parameters: Vec::new(),
            body: None,
            answers: Map::new(),
            retry: Retry::Plain,
            schemas: Vec::new(),
        }
    }

    /// Adds a longer text.
    #[must_use]
    pub fn about(mut self, text: &'static str) -> Op {
        self.description = Some(text);
        self
    }

    fn keep<T: utoipa::ToSchema>(&mut self) {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
    }

    /// The query parameters.
    #[must_use]
    pub fn query<T: utoipa::IntoParams>(mut self) -> Op {
        for parameter in T::into_params(|| Some(utoipa::openapi::path::ParameterIn::Query)) {
            self.parameters.push(serde_json::to_value(parameter).expect("parameters are plain data"));
        }
        self
    }

    /// The JSON body, with an example that the tests also send.
    #[must_use]
    pub fn takes<T: utoipa::ToSchema>(mut self, example: Value) -> Op {
        self.keep::<T>();
        self.body = Some(json!({
            "required": true,
            "content": { "application/json": { "schema": reference::<T>(), "example": example } }
        }));
        self
    }

    /// Describes a type that the body or an answer names.
    #[must_use]
    pub fn schema<T: utoipa::ToSchema>(mut self) -> Op {
        self.keep::<T>();
        self
    }

    /// A body of other media types.
    #[must_use]
    pub fn takes_content(mut self, content: Value) -> Op {
        self.body = Some(json!({ "required": true, "content": content }));
        self
    }

    /// A JSON answer.
    #[must_use]
    pub fn gives<T: utoipa::ToSchema>(mut self, status: u16, what: &str) -> Op {
        self.keep::<T>();
        let content = json!({ "application/json": { "schema": reference::<T>() } });
        self.answers.insert(status.to_string(), json!({ "description": what, "content": content }));
        self
    }

    /// A JSON answer that is a whole listing, never cut.
    #[must_use]
    pub fn gives_list<T: utoipa::ToSchema>(mut self, what: &str) -> Op {
        self.keep::<T>();
        let schema = json!({
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": { "type": "array", "items": reference::<T>() },
                "next_cursor": { "type": ["string", "null"], "description": "Give it back as `cursor` for the next page." }
            }
        });
        let content = json!({ "application/json": { "schema": schema } });
        self.answers.insert("200".into(), json!({ "description": what, "content": content }));
        self
    }

    /// A JSON answer that is a page of a listing; adds `limit` and `cursor`.
    #[must_use]
    pub fn gives_page<T: utoipa::ToSchema>(self, what: &str) -> Op {
        let mut op = self.gives_list::<T>(what);
        op.parameters.push(json!({
            "name": "limit", "in": "query", "required": false, "description": "Rows of a page.",
            "schema": { "type": "integer", "minimum": 1, "maximum": 500, "default": 50 }
        }));
        op.parameters.push(json!({
            "name": "cursor", "in": "query", "required": false, "description": "`next_cursor` of the page before.",
            "schema": { "type": "string" }
        }));
        op
    }

    /// An answer of another media type.
    #[must_use]
    pub fn gives_content(mut self, status: u16, media_type: &str, what: &str) -> Op {
        let content = json!({ media_type: { "schema": { "type": "string" } } });
        self.answers.insert(status.to_string(), json!({ "description": what, "content": content }));
        self
    }

    /// An answer without a body.
    #[must_use]
    pub fn gives_nothing(mut self, what: &str) -> Op {
        self.answers.insert("204".into(), json!({ "description": what }));
        self
    }

    /// A repeated request with the same `Idempotency-Key` gets the stored answer.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Op {
        self.retry = retry;
        if retry != Retry::Plain {
            self.parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "1 to 200 visible ASCII characters of your choice. The same key with the same request \
                    gives the stored answer again for at least 24 hours; with another request it is refused with 422.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 200 }
            }));
        }
        self
    }

    fn document(&self, path: &str, rule: Rule) -> Value {
        let mut parameters = path_parameters(path);
        parameters.extend(self.parameters.iter().cloned());
        let mut answers = self.answers.clone();
        answers.insert("default".into(), json!({ "$ref": "#/components/responses/Problem" }));
        let mut operation = json!({
            "tags": [self.tag],
            "operationId": self.id,
            "summary": self.summary,
            "security": rule.security(),
            "x-postrider-scope": rule.word(),
            "responses": answers,
        });
        if let Some(text) = self.description {
            operation["description"] = text.into();
        }
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = &self.body {
            operation["requestBody"] = body.clone();
        }
        operation
    }
}

/// Names in paths and what they stand for: an id's prefix, or nothing for other texts.
const PATH_NAMES: &[(&str, Option<&str>)] = &[
    ("workspace", Some("wsp")),
    ("alarm", Some("alm")),
    ("contact", Some("con")),
    ("list", Some("lst")),
    ("purpose", Some("pur")),
    ("campaign", Some("cmp")),
    ("delivery", Some("dlv")),
    ("message", Some("msg")),
    ("suppression", Some("sup")),
    ("domain", Some("dom")),
    ("dkim_key", Some("dkk")),
    ("recipient_domain", None),
    ("route", Some("rte")),
    ("account", Some("acc")),
    ("key", Some("key")),
    ("import", Some("imp")),
    ("inquiry", Some("inq")),
    ("template", Some("tpl")),
    ("view", Some("viw")),
    ("picture", Some("pic")),
    ("rule", Some("rul")),
    ("source", Some("src")),
    ("pool", Some("pol")),
    ("credential", Some("crd")),
    ("rev", None),
    ("session", None),
    ("token", None),
];

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let known = PATH_NAMES.iter().find(|(n, _)| *n == name).expect("path names are listed in PATH_NAMES");
            let schema = match known.1 {
                Some(prefix) => serde_json::to_value(crate::schema::id(prefix)).expect("schemas are plain data"),
                None => json!({ "type": "string" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect()
}

/// Collects routes.
#[derive(Default)]
pub struct Api {
    router: axum::Router<Web>,
    paths: Map<String, Value>,
    schemas: std::collections::BTreeMap<String, Value>,
}

impl Api {
    /// Adds a route. `GET` also answers `HEAD`.
    pub fn add<H, T>(&mut self, method: Method, path: &'static str, rule: Rule, op: Op, handler: H)
    where
        H: Handler<T, Web>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("routes use the usual methods");
        let with = Guard { rule, retry: op.retry };
        let routed =
            on(filter, handler).route_layer(from_fn(move |request: Request, next: Next| guard(with, request, next)));
        self.router = std::mem::take(&mut self.router).route(path, routed);
        let entry = self.paths.entry(path).or_insert_with(|| json!({}));
        let word = method.as_str().to_ascii_lowercase();
        assert!(entry.get(&word).is_none(), "{word} {path} is added twice");
        entry[word] = op.document(path, rule);
        self.keep_schemas(op.schemas);
    }

    /// Keeps forms by their names. Two types of one name in two files would show clients one form for both.
    fn keep_schemas(&mut self, schemas: Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in schemas {
            let schema = serde_json::to_value(schema).expect("schemas are plain data");
            let before = self.schemas.entry(name.clone()).or_insert_with(|| schema.clone());
            assert!(*before == schema, "two forms are called {name}: give one another name by #[schema(as = ...)]");
        }
    }

    /// The router and the OpenAPI document.
    pub fn finish(mut self) -> (axum::Router<Web>, Value) {
        let mut problem = Op::new("", "", "");
        problem.keep::<Problem>();
        self.keep_schemas(problem.schemas);
        let mut paths = self.paths;
        paths.sort_keys();
        let document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Postrider",
                "version": "1",
                "description": "Contacts with consent, campaigns and their accounts, single messages. Times are RFC 3339 in UTC, \
                    ids are a prefix and 13 letters, listings are paged by cursor, errors are RFC 9457 problem documents.",
                "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" }
            },
            "servers": [{ "url": "/" }],
            "paths": paths,
            "components": {
                "schemas": self.schemas,
                "responses": {
                    "Problem": {
                        "description": "What is wrong and what to do about it.",
                        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
                    }
                },
                "securitySchemes": {
                    "key": { "type": "http", "scheme": "bearer", "description": "An API key (`pr_…`) with scopes." },
                    "session": { "type": "apiKey", "in": "cookie", "name": "__Host-postrider", "description": "A log-in of a person." },
                    "local": { "type": "http", "scheme": "local", "description": "The command line on the same machine; nothing is sent." }
                }
            }
        });
        (self.router, document)
    }
}
